//! CEL inside `${ }`: finding it in text, checking it before values exist, and evaluating it
//! when they do.
//!
//! Parsing and evaluation are the `cel` crate's. Here stand the text around expressions, the
//! static check against declared names and types, and values that are not known yet.

mod check;
mod cidr;
mod value;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, LazyLock, Mutex};

use cel::common::ast::{Expr, IdedExpr, LiteralValue, operators};
use cel::{Env, Program};

pub(crate) use check::{Checker, Names};
pub use value::EvaluateError;
pub(crate) use value::{Lookup, Scope, as_text, evaluate_text, evaluate_tree, unknown, waits_for};

/// Whether a text has an expression in it, also one that is not closed (and not only `$${`, the literal).
pub(crate) fn has_expression(text: &str) -> bool {
    split(text).map_or(true, |parts| {
        parts.iter().any(|part| matches!(part, Part::Expression(_)))
    })
}

/// A piece of a text with expressions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    /// Text as it stands, `$${` already turned into `${`.
    Literal(String),
    /// Where an expression's source stands in the text.
    Expression(Range<usize>),
}

/// Splits a text at its expressions. The error is the offset of a `${` without its `}`.
pub(crate) fn split(text: &str) -> Result<Vec<Part>, usize> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = 0;
    while let Some(found) = text[rest..].find("${").map(|at| rest + at) {
        if found > rest && text.as_bytes()[found - 1] == b'$' {
            literal.push_str(&text[rest..found - 1]);
            literal.push_str("${");
            rest = found + 2;
            continue;
        }
        literal.push_str(&text[rest..found]);
        let end = closing_brace(text, found + 2).ok_or(found)?;
        if !literal.is_empty() {
            parts.push(Part::Literal(std::mem::take(&mut literal)));
        }
        parts.push(Part::Expression(found + 2..end));
        rest = end + 1;
    }
    literal.push_str(&text[rest..]);
    if !literal.is_empty() || parts.is_empty() {
        parts.push(Part::Literal(literal));
    }
    Ok(parts)
}

/// The `}` that closes an expression: braces inside it pair up, those inside quotes do not count.
fn closing_brace(text: &str, start: usize) -> Option<usize> {
    let mut depth = 0;
    let mut quote = None;
    let mut escaped = false;
    for (offset, byte) in text.bytes().enumerate().skip(start) {
        match (quote, byte) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(open), _) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'{') => depth += 1,
            (None, b'}') if depth == 0 => return Some(offset),
            (None, b'}') => depth -= 1,
            (None, _) => {}
        }
    }
    None
}

/// A compiled expression.
#[derive(Debug)]
pub(crate) enum Compiled {
    /// A plain reference such as `steps.pool.outputs.IssuerUrl`: by far the most common, and
    /// looked up without the interpreter.
    Path(Vec<String>),
    /// Everything else.
    Program(Box<Program>),
}

/// Compiles expressions, each text once.
#[derive(Debug, Default)]
pub(crate) struct Compiler {
    cache: Mutex<HashMap<String, Arc<Compiled>>>,
}

static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    for extension in [cel::extensions::strings, cel::extensions::lists, cidr::extension] {
        env.add_extension(extension)
            .expect("an extension is added to a fresh environment once");
    }
    Arc::new(env)
});

impl Compiler {
    /// Compiles one expression; the error says what is wrong with it and where in it.
    pub(crate) fn compile(&self, source: &str) -> Result<Arc<Compiled>, (String, Range<usize>)> {
        let mut cache = self.cache.lock().expect("nobody panics while holding the cache");
        if let Some(compiled) = cache.get(source) {
            return Ok(compiled.clone());
        }
        let compiled = Arc::new(match plain_path(source) {
            Some(path) => Compiled::Path(path),
            None => Compiled::Program(Box::new(
                ENV.compile(source)
                    .map_err(|errors| parse_error(&errors, source))?,
            )),
        });
        cache.insert(source.to_owned(), compiled.clone());
        Ok(compiled)
    }
}

fn parse_error(errors: &cel::ParseErrors, source: &str) -> (String, Range<usize>) {
    let Some(first) = errors.errors.first() else {
        return ("not valid CEL".to_owned(), 0..source.len());
    };
    let (line, column) = first.pos;
    let line_start: usize = source
        .split_inclusive('\n')
        .take(usize::try_from(line - 1).unwrap_or(0))
        .map(str::len)
        .sum();
    // Columns count characters.
    let column = usize::try_from(column - 1).unwrap_or(0);
    let line = source.get(line_start..).unwrap_or_default();
    let start = line_start
        + line
            .char_indices()
            .nth(column)
            .map_or(line.len(), |(offset, _)| offset);
    let message = first
        .msg
        .lines()
        .next()
        .unwrap_or_default()
        .trim_start_matches("Syntax error: ");
    (message.to_owned(), start..source.len().max(start))
}

/// `a.b.c`, all identifiers and none a word of CEL.
fn plain_path(source: &str) -> Option<Vec<String>> {
    let source = source.trim();
    let parts: Vec<&str> = source.split('.').collect();
    let is_name = |part: &&str| {
        part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && part
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    };
    let is_word = matches!(source, "true" | "false" | "null" | "in");
    (parts.iter().all(is_name) && !is_word).then(|| parts.into_iter().map(str::to_owned).collect())
}

/// `a.b['c'].d` as a path, when it is nothing but that.
fn as_path(expression: &IdedExpr) -> Option<Vec<&str>> {
    match &expression.expr {
        Expr::Ident(name) => Some(vec![name]),
        Expr::Select(select) if !select.test => {
            let mut path = as_path(&select.operand)?;
            path.push(&select.field);
            Some(path)
        }
        Expr::Call(call) if call.func_name == operators::INDEX => {
            let [operand, index] = call.args.as_slice() else {
                return None;
            };
            let Expr::Literal(LiteralValue::String(key)) = &index.expr else {
                return None;
            };
            let mut path = as_path(operand)?;
            path.push(key.inner());
            Some(path)
        }
        _ => None,
    }
}
