//! YAML as a tree that remembers where everything stood.
//!
//! The parser is `granit-parser`; this adds the tree, duplicate-key errors, and
//! the tags that CloudFormation uses (`!Ref X` reads as `{Ref: X}`). Anchors and
//! aliases are refused: `${ }` references do their work here and keep spans honest.

use std::collections::HashMap;
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Number, Value};

use crate::diagnostic::{Diagnostic, Diagnostics, SourceFile, Span};

/// A value and where it stood.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where the value stood.
    pub span: Span,
    /// The value.
    pub kind: Kind,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Null, a bool, a number or a text.
    Scalar(Value),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Map(Vec<Entry>),
}

/// One key of a mapping.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stood.
    pub key_span: Span,
    /// The value under it.
    pub node: Node,
}

impl Node {
    /// The plain value.
    pub fn value(&self) -> Value {
        match &self.kind {
            Kind::Scalar(value) => value.clone(),
            Kind::List(items) => Value::Array(items.iter().map(Node::value).collect()),
            Kind::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|entry| (entry.key.clone(), entry.node.value()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }

    /// The value under `key`, when this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// The entry of `key`, when this is a mapping that has it.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The entries of a mapping; none for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.kind {
            Kind::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a sequence; none for anything else.
    pub fn items(&self) -> &[Node] {
        match &self.kind {
            Kind::List(items) => items,
            _ => &[],
        }
    }

    /// The text, when this is one.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// The node a path leads to, by keys and indices.
    pub fn at<'p>(&self, path: impl IntoIterator<Item = &'p str>) -> Option<&Node> {
        path.into_iter().try_fold(self, |node, part| match &node.kind {
            Kind::Map(_) => node.get(part),
            Kind::List(items) => items.get(part.parse::<usize>().ok()?),
            Kind::Scalar(_) => None,
        })
    }

    /// The nearest node on the way to `path`: where to point when the path ends in nothing.
    pub fn nearest<'p>(&self, path: impl IntoIterator<Item = &'p str>) -> &Node {
        let mut node = self;
        for part in path {
            match node.at([part]) {
                Some(next) => node = next,
                None => break,
            }
        }
        node
    }
}

/// Reads one YAML document.
///
/// # Errors
/// A syntax error, a duplicate key, an anchor, or more than one document; each with its place.
pub fn parse(file: &Arc<SourceFile>) -> Result<Node, Diagnostics> {
    let mut reader = Reader {
        file,
        parser: Parser::new_from_str(&file.text),
        errors: Diagnostics::default(),
    };
    let node = reader.document();
    match node {
        Ok(node) => reader.errors.or_ok(node),
        Err(diagnostic) => {
            reader.errors.push(*diagnostic);
            Err(reader.errors)
        }
    }
}

/// Reads every YAML document of a file; empty ones are passed over.
///
/// # Errors
/// A syntax error, a duplicate key or an anchor; each with its place.
pub fn parse_all(file: &Arc<SourceFile>) -> Result<Vec<Node>, Diagnostics> {
    let mut reader = Reader {
        file,
        parser: Parser::new_from_str(&file.text),
        errors: Diagnostics::default(),
    };
    match reader.documents() {
        Ok(nodes) => reader.errors.or_ok(nodes),
        Err(diagnostic) => {
            reader.errors.push(*diagnostic);
            Err(reader.errors)
        }
    }
}

struct Reader<'a, T: granit_parser::BorrowedInput<'a>> {
    file: &'a Arc<SourceFile>,
    parser: Parser<'a, T>,
    errors: Diagnostics,
}

type Step<T> = Result<T, Box<Diagnostic>>;

impl<'a, T: granit_parser::BorrowedInput<'a>> Reader<'a, T> {
    fn document(&mut self) -> Step<Node> {
        loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(..), _) => {}
                (Event::StreamEnd | Event::DocumentEnd { .. }, span) => {
                    return Err(Box::new(
                        Diagnostic::error(format!("{} is empty", self.file.name), span, "nothing to read")
                            .help("`landfall init` writes a file to start from"),
                    ));
                }
                (event, span) => {
                    let node = self.node(event, span)?;
                    return self.end_of_document(node);
                }
            }
        }
    }

    fn documents(&mut self) -> Step<Vec<Node>> {
        let mut nodes = Vec::new();
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(nodes),
                (Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd { .. }, _) => {}
                (event, span) => {
                    let node = self.node(event, span)?;
                    if !matches!(node.kind, Kind::Scalar(Value::Null)) {
                        nodes.push(node);
                    }
                }
            }
        }
    }

    fn end_of_document(&mut self, node: Node) -> Step<Node> {
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(node),
                (Event::DocumentStart(..), span) => {
                    return Err(Box::new(
                        Diagnostic::error("a second document in one file", span, "starts here")
                            .help("keep one document per file"),
                    ));
                }
                _ => {}
            }
        }
    }

    fn next(&mut self) -> Step<(Event<'a>, Span)> {
        loop {
            let Some(next) = self.parser.next_event() else {
                return Ok((
                    Event::StreamEnd,
                    self.span(self.file.text.len()..self.file.text.len()),
                ));
            };
            match next {
                Ok((Event::Comment(..) | Event::Anchor(..), _)) => {}
                Ok((event, span)) => {
                    let range = span.byte_range().unwrap_or(0..0);
                    return Ok((event, self.span(range)));
                }
                Err(error) => {
                    let start = error
                        .marker()
                        .byte_offset()
                        .unwrap_or(0)
                        .min(self.file.text.len());
                    let end = self.file.text[start..]
                        .find('\n')
                        .map_or(self.file.text.len(), |line| start + line);
                    let reason = error.info().to_string();
                    return Err(Box::new(
                        Diagnostic::error("this is not valid YAML", self.span(start..end.max(start)), reason)
                            .help("check the indentation and the quotes on this line and the one above it"),
                    ));
                }
            }
        }
    }

    fn span(&self, range: std::ops::Range<usize>) -> Span {
        Span {
            file: self.file.clone(),
            range,
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Step<Node> {
        match event {
            Event::Scalar(text, style, _, tag) => {
                let value = scalar(
                    &text,
                    style,
                    tag.as_ref().is_some_and(|tag| tag.core_suffix() == Some("str")),
                );
                let node = Node {
                    span,
                    kind: Kind::Scalar(value),
                };
                Ok(tagged(node, tag.as_deref()))
            }
            Event::SequenceStart(_, _, tag) => {
                let mut items = Vec::new();
                let mut whole = span;
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, end) => {
                            whole.range.end = end.range.end.max(whole.range.end);
                            let node = Node {
                                span: trimmed(whole),
                                kind: Kind::List(items),
                            };
                            return Ok(tagged(node, tag.as_deref()));
                        }
                        (event, span) => items.push(self.node(event, span)?),
                    }
                }
            }
            Event::MappingStart(_, _, tag) => {
                let mut entries: Vec<Entry> = Vec::new();
                let mut known: HashMap<String, usize> = HashMap::new();
                let mut whole = span;
                loop {
                    match self.next()? {
                        (Event::MappingEnd, end) => {
                            whole.range.end = end.range.end.max(whole.range.end);
                            let node = Node {
                                span: trimmed(whole),
                                kind: Kind::Map(entries),
                            };
                            return Ok(tagged(node, tag.as_deref()));
                        }
                        (Event::Scalar(key, ..), key_span) => {
                            let key = key.into_owned();
                            let (event, span) = self.next()?;
                            let node = self.node(event, span)?;
                            match known.get(&key).map(|at| &entries[*at]) {
                                Some(first) => self.errors.push(
                                    Diagnostic::error(
                                        format!("`{key}` is given twice"),
                                        key_span,
                                        "given again here",
                                    )
                                    .and(first.key_span.clone(), "first given here")
                                    .help("keep one of the two, or give them different names"),
                                ),
                                None => {
                                    known.insert(key.clone(), entries.len());
                                    entries.push(Entry { key, key_span, node });
                                }
                            }
                        }
                        (_, span) => {
                            return Err(Box::new(Diagnostic::error(
                                "a key must be plain text",
                                span,
                                "not a text",
                            )));
                        }
                    }
                }
            }
            _ => Err(Box::new(
                Diagnostic::error("anchors and aliases are not read here", span, "an alias")
                    .help("write the value out, or refer to it with `${ }`"),
            )),
        }
    }
}

/// A block collection ends where the next token starts; pull the end back over white space.
fn trimmed(mut span: Span) -> Span {
    let text = &span.file.text[span.range.clone()];
    span.range.end = span.range.start + text.trim_end().len();
    span
}

/// CloudFormation's short forms: `!Ref X` is `{Ref: X}`, `!GetAtt a.b` is `{Fn::GetAtt: [a, b]}`,
/// any other `!Name` is `{Fn::Name: …}` (source: CloudFormation, intrinsic function reference).
fn tagged(node: Node, tag: Option<&granit_parser::Tag>) -> Node {
    let Some(tag) = tag.filter(|tag| tag.is_custom() && tag.core_suffix().is_none()) else {
        return node;
    };
    let name = tag.suffix();
    let key = match name {
        "Ref" | "Condition" => name.to_owned(),
        other => format!("Fn::{other}"),
    };
    let span = node.span.clone();
    let inner = match (name, node.text().and_then(|text| text.split_once('.'))) {
        ("GetAtt", Some((resource, attribute))) => Node {
            span: span.clone(),
            kind: Kind::List(
                [resource, attribute]
                    .map(|part| Node {
                        span: span.clone(),
                        kind: Kind::Scalar(Value::String(part.to_owned())),
                    })
                    .into(),
            ),
        },
        _ => node,
    };
    let key_span = span.clone();
    Node {
        span,
        kind: Kind::Map(vec![Entry {
            key,
            key_span,
            node: inner,
        }]),
    }
}

/// Plain scalars by YAML 1.2's core schema; everything quoted, and everything else, is text.
fn scalar(text: &str, style: ScalarStyle, is_text: bool) -> Value {
    if style != ScalarStyle::Plain || is_text {
        return Value::String(text.to_owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    let digits = text.trim_start_matches(['-', '+']);
    if !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return None;
    }
    if let Ok(whole) = text.parse::<i64>() {
        return Some(whole.into());
    }
    // "1.2.3" and "10.0.0.0/16" are text; `parse` refuses them, and infinities have no JSON number.
    text.parse::<f64>().ok().and_then(Number::from_f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Value {
        parse(&SourceFile::new("test.yaml", text)).unwrap().value()
    }

    #[test]
    fn scalars_follow_the_core_schema() {
        assert_eq!(
            read("[1, -2, 1.5, true, ~, '1', 10.52.16.0/20, 1.35, \"1.35\", 2012-10-17, yes]"),
            serde_json::json!([
                1,
                -2,
                1.5,
                true,
                null,
                "1",
                "10.52.16.0/20",
                1.35,
                "1.35",
                "2012-10-17",
                "yes"
            ])
        );
    }

    #[test]
    fn short_forms_of_cloudformation_become_their_long_forms() {
        assert_eq!(
            read("a: !Ref X\nb: !GetAtt Role.Arn\nc: !Sub '${X}-y'\nd: !If [A, !Ref B, !Ref AWS::NoValue]\n"),
            serde_json::json!({
                "a": {"Ref": "X"},
                "b": {"Fn::GetAtt": ["Role", "Arn"]},
                "c": {"Fn::Sub": "${X}-y"},
                "d": {"Fn::If": ["A", {"Ref": "B"}, {"Ref": "AWS::NoValue"}]},
            })
        );
    }

    #[test]
    fn a_span_covers_the_value_and_nothing_after_it() {
        let file = SourceFile::new("test.yaml", "a:\n  b: one\n  c: [1, 2]\n\n# end\nd: two\n");
        let root = parse(&file).unwrap();
        let text = |path: &[&str]| {
            let span = &root.at(path.iter().copied()).unwrap().span;
            file.text[span.range.clone()].to_owned()
        };
        assert_eq!(text(&["a", "b"]), "one");
        assert_eq!(text(&["a", "c"]), "[1, 2]");
        assert_eq!(text(&["d"]), "two");
        assert_eq!(root.entry("d").unwrap().key_span.place(), "test.yaml:6");
    }
}
