//! Diagnostics as text with the line, a caret and the way out.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use landfall_model::diagnostic::{Diagnostics, Severity};
use landfall_model::{Diagnostic, SourceFile};
use std::sync::Arc;

/// Renders all of them, `coloured` for a terminal.
pub fn diagnostics(found: &Diagnostics, coloured: bool) -> String {
    let renderer = if coloured {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    let texts: Vec<String> = found
        .0
        .iter()
        .map(|diagnostic| one(&renderer, diagnostic))
        .collect();
    texts.join("\n\n")
}

fn one(renderer: &Renderer, diagnostic: &Diagnostic) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    // One snippet per file, the primary label's file first.
    let mut files: Vec<&Arc<SourceFile>> = Vec::new();
    for (span, _) in &diagnostic.labels {
        if !files.iter().any(|file| Arc::ptr_eq(file, &span.file)) {
            files.push(&span.file);
        }
    }
    let mut group = Group::with_title(level.primary_title(diagnostic.message.as_str()));
    for file in files {
        let mut snippet = Snippet::source(file.text.as_str())
            .path(file.name.as_str())
            .fold(true);
        for (index, (span, label)) in diagnostic.labels.iter().enumerate() {
            if Arc::ptr_eq(&span.file, file) {
                let kind = if index == 0 {
                    AnnotationKind::Primary
                } else {
                    AnnotationKind::Context
                };
                snippet = snippet.annotation(kind.span(first_line(span)).label(label.as_str()));
            }
        }
        group = group.element(snippet);
    }
    let mut report = vec![group];
    if let Some(help) = &diagnostic.help {
        report.push(Group::with_title(Level::HELP.secondary_title(help.as_str())));
    }
    renderer.render(&report).to_string()
}

/// A caret under many lines says less than one under the first.
fn first_line(span: &landfall_model::Span) -> std::ops::Range<usize> {
    let text = &span.file.text[span.range.clone()];
    let end = text
        .find('\n')
        .map_or(span.range.end, |line| span.range.start + line);
    span.range.start..end
}

/// A value as YAML.
pub fn yaml(value: &serde_json::Value) -> String {
    serde_saphyr::to_string(value).expect("any JSON value can be written as YAML")
}
