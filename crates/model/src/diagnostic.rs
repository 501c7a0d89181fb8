//! What is wrong with a file, and where: plain data that a front door renders.

use std::ops::Range;
use std::sync::Arc;

/// A file that was read: its name as the user knows it, and its text.
#[derive(Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// The path as the user would type it, or `embedded:<path>` for a definition inside the binary.
    pub name: String,
    /// The whole text.
    pub text: String,
}

impl SourceFile {
    /// Wraps a text with the name that errors call it by.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<SourceFile> {
        Arc::new(SourceFile {
            name: name.into(),
            text: text.into(),
        })
    }

    /// The line of a byte offset, counted from 1.
    pub fn line_of(&self, offset: usize) -> usize {
        self.text.as_bytes()[..offset.min(self.text.len())]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1
    }
}

/// A range of bytes in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The file.
    pub file: Arc<SourceFile>,
    /// Byte offsets into the file's text.
    pub range: Range<usize>,
}

impl Span {
    /// `file:line`, as compilers write it.
    pub fn place(&self) -> String {
        format!("{}:{}", self.file.name, self.file.line_of(self.range.start))
    }

    /// A part of this span, by byte offsets from its start; the whole span where they do not fit.
    pub fn within(&self, part: Range<usize>) -> Span {
        let range = self.range.start + part.start..self.range.start + part.end;
        let fits = range.end <= self.range.end
            && self
                .file
                .text
                .get(range.clone())
                .is_some_and(|text| !text.is_empty());
        Span {
            file: self.file.clone(),
            range: if fits { range } else { self.range.clone() },
        }
    }
}

/// Whether a diagnostic stops the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is done until it is mended.
    Error,
    /// Worth knowing; the work goes on.
    Warning,
}

/// One thing wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether it stops the work.
    pub severity: Severity,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// Where, with what to say there. The first is the primary place.
    pub labels: Vec<(Span, String)>,
    /// The way out.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error at `span`; `label` is printed under the caret.
    pub fn error(message: impl Into<String>, span: Span, label: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            message: message.into(),
            labels: vec![(span, label.into())],
            help: None,
        }
    }

    /// Adds the way out.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// Adds the way out when there is one.
    #[must_use]
    pub fn maybe_help(mut self, help: Option<String>) -> Diagnostic {
        self.help = help.or(self.help);
        self
    }

    /// Adds another place that explains the first.
    #[must_use]
    pub fn and(mut self, span: Span, label: impl Into<String>) -> Diagnostic {
        self.labels.push((span, label.into()));
        self
    }
}

/// Everything found wrong in one reading, in the order of the files.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{} in the files that describe the platform", count(.0.len()))]
pub struct Diagnostics(pub Vec<Diagnostic>);

fn count(errors: usize) -> String {
    if errors == 1 {
        "1 error".to_owned()
    } else {
        format!("{errors} errors")
    }
}

impl Diagnostics {
    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if !self.0.contains(&diagnostic) {
            self.0.push(diagnostic);
        }
    }

    /// Adds several.
    pub fn extend(&mut self, others: Diagnostics) {
        for diagnostic in others.0 {
            self.push(diagnostic);
        }
    }

    /// Whether any of them stops the work.
    pub fn has_errors(&self) -> bool {
        self.0
            .iter()
            .any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// `value` when nothing stops the work, else these diagnostics.
    pub fn or_ok<T>(self, value: T) -> Result<T, Diagnostics> {
        if self.has_errors() { Err(self) } else { Ok(value) }
    }
}
