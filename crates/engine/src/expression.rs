//! CEL inside `${ }`: finding it in text, checking it before values exist, and evaluating it
//! when they do.
//!
//! Parsing and evaluation are the `cel` crate's. Here stand the text around expressions, the
//! static check against declared names and types, and values that are not known yet.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::{Arc, LazyLock, Mutex};

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue, operators};
use cel::{Context, Env, Program};
use landfall_model::yaml::Node;
use landfall_model::{Diagnostic, Diagnostics, Span, StepId};
use serde_json::{Map, Value};

use crate::suggest;
use crate::types::Type;

/// Whether a text has an expression in it (and not only `$${`, the literal).
pub(crate) fn has_expression(text: &str) -> bool {
    split(text).is_ok_and(|parts| parts.iter().any(|part| matches!(part, Part::Expression(_))))
        || split(text).is_err()
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
    for extension in [cel::extensions::strings, cel::extensions::lists] {
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
    let start = (line_start + usize::try_from(column - 1).unwrap_or(0)).min(source.len());
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

// ---------------------------------------------------------------------------------------------
// Checking, before there are values

/// The names an expression may use, with their types.
pub(crate) type Names = BTreeMap<&'static str, Type>;

/// Checks every expression in a tree; returns the tree's references and what is wrong.
pub(crate) struct Checker<'a> {
    pub(crate) compiler: &'a Compiler,
    pub(crate) names: &'a Names,
    pub(crate) found: Diagnostics,
    /// Every path referred to, such as `[steps, pool, outputs, IssuerUrl]`.
    pub(crate) references: BTreeSet<Vec<String>>,
}

impl<'a> Checker<'a> {
    pub(crate) fn new(compiler: &'a Compiler, names: &'a Names) -> Checker<'a> {
        Checker {
            compiler,
            names,
            found: Diagnostics::default(),
            references: BTreeSet::new(),
        }
    }

    /// Checks all texts in a tree.
    pub(crate) fn tree(&mut self, node: &Node) {
        for entry in node.entries() {
            self.tree(&entry.node);
        }
        for item in node.items() {
            self.tree(item);
        }
        self.node(node);
    }

    /// Checks one node and tells the type its value will have; `None` when it is not a text
    /// with expressions, or is wrong.
    pub(crate) fn node(&mut self, node: &Node) -> Option<Type> {
        let text = node.text()?;
        self.text(text, &node.span)
    }

    /// Checks one text that stands at `span`.
    pub(crate) fn text(&mut self, text: &str, span: &Span) -> Option<Type> {
        let parts = match split(text) {
            Ok(parts) => parts,
            Err(at) => {
                self.found.push(
                    Diagnostic::error(
                        "an expression is not closed",
                        locate(span, &text[at..]),
                        "no `}` for this `${`",
                    )
                    .help("close it with `}`, or write `$${` for a literal `${`"),
                );
                return None;
            }
        };
        let whole = parts.len() == 1;
        let mut result = None;
        for part in parts {
            let Part::Expression(range) = part else { continue };
            let source = &text[range.clone()];
            let place = locate(span, &text[range.start - 2..range.end + 1]);
            let kind = self.expression(source, &place)?;
            if !whole && !kind.fits_in_text() {
                self.found.push(
                    Diagnostic::error(
                        format!("{kind} cannot stand inside a text"),
                        place,
                        format!("this is {kind}"),
                    )
                    .maybe_help(matches!(kind, Type::List(_)).then(|| {
                        "join it, for example with `.join(',')`, or let the expression be the whole value"
                            .to_owned()
                    })),
                );
                return None;
            }
            result = Some(if whole { kind } else { Type::Text });
        }
        result
    }

    fn expression(&mut self, source: &str, place: &Span) -> Option<Type> {
        if source.trim().is_empty() {
            self.found.push(
                Diagnostic::error(
                    "an expression is empty",
                    place.clone(),
                    "nothing between the braces",
                )
                .help("write a CEL expression, or `$${` for a literal `${`"),
            );
            return None;
        }
        let inner = |range: Range<usize>| place.within(range.start + 2..range.end + 2);
        match self.compiler.compile(source) {
            Err((message, range)) => {
                self.found.push(
                    Diagnostic::error("this is not valid CEL", inner(range), message).help(
                        "expressions are CEL: `inputs.name`, `a ? b : c`, `list.join(',')`, `size(list) > 1`",
                    ),
                );
                None
            }
            Ok(compiled) => {
                let mut inference = Inference {
                    checker: self,
                    place,
                    bound: Vec::new(),
                    offsets: None,
                };
                match &*compiled {
                    Compiled::Path(path) => inference.path(path),
                    Compiled::Program(program) => {
                        inference.offsets = Some(program.source_info());
                        inference.infer(program.expression())
                    }
                }
            }
        }
    }
}

/// Where a piece of a scalar stands in the file; the whole scalar where escapes hide it.
fn locate(span: &Span, piece: &str) -> Span {
    let text = &span.file.text[span.range.clone()];
    match text.find(piece) {
        Some(at) => Span {
            file: span.file.clone(),
            range: span.range.start + at..span.range.start + at + piece.len(),
        },
        None => span.clone(),
    }
}

struct Inference<'c, 'a> {
    checker: &'c mut Checker<'a>,
    place: &'c Span,
    bound: Vec<(String, Type)>,
    offsets: Option<&'c cel::common::ast::SourceInfo>,
}

impl Inference<'_, '_> {
    fn path(&mut self, path: &[String]) -> Option<Type> {
        let parts: Vec<&str> = path.iter().map(String::as_str).collect();
        self.resolve(&parts)
    }

    /// The type of what a path leads to, which is noted as a reference.
    fn resolve(&mut self, path: &[&str]) -> Option<Type> {
        let root = *path.first()?;
        if let Some((_, kind)) = self.bound.iter().rev().find(|(name, _)| name == root) {
            let kind = kind.clone();
            return self.select_all(kind, &path[..1], &path[1..]);
        }
        let Some(kind) = self.checker.names.get(root) else {
            let names = self.checker.names.keys().copied();
            let help = suggest::help(root, names, "names in scope");
            self.wrong(
                format!("unknown name `{root}`"),
                "nothing in scope has this name",
                help,
            );
            return None;
        };
        self.checker
            .references
            .insert(path.iter().map(|part| (*part).to_owned()).collect());
        let kind = kind.clone();
        self.select_all(kind, &path[..1], &path[1..])
    }

    fn select_all(&mut self, mut kind: Type, before: &[&str], fields: &[&str]) -> Option<Type> {
        let mut walked: Vec<&str> = before.to_vec();
        for field in fields {
            kind = self.select(&kind, &walked, field)?;
            walked.push(field);
        }
        Some(kind)
    }

    fn select(&mut self, kind: &Type, walked: &[&str], field: &str) -> Option<Type> {
        let whole = walked.join(".");
        match kind {
            Type::Any => Some(Type::Any),
            Type::Map(item) => Some((**item).clone()),
            Type::Object(called, fields) => match fields.get(field) {
                Some(kind) => Some(kind.clone()),
                None => {
                    let hyphen = fields
                        .keys()
                        .find(|name| name.contains('-') && name.starts_with(field));
                    let help = match hyphen {
                        Some(name) => format!("a name with a hyphen is written `{whole}['{name}']`"),
                        None => {
                            suggest::help(field, fields.keys().map(String::as_str), &format!("{called}s"))
                        }
                    };
                    self.wrong(
                        format!("`{whole}` has no {called} `{field}`"),
                        &format!("no such {called}"),
                        help,
                    );
                    None
                }
            },
            other => {
                self.wrong(
                    format!("`{whole}` is {other} and has no fields"),
                    &format!("`.{field}` of {other}"),
                    String::new(),
                );
                None
            }
        }
    }

    fn wrong(&mut self, message: String, label: &str, help: String) {
        let diagnostic = Diagnostic::error(message, self.place.clone(), label)
            .maybe_help((!help.is_empty()).then_some(help));
        self.checker.found.push(diagnostic);
    }

    /// `a.b['c'].d` as a path, when it is nothing but that.
    fn as_path(expression: &IdedExpr) -> Option<Vec<&str>> {
        match &expression.expr {
            Expr::Ident(name) => Some(vec![name]),
            Expr::Select(select) if !select.test => {
                let mut path = Self::as_path(&select.operand)?;
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
                let mut path = Self::as_path(operand)?;
                path.push(key.inner());
                Some(path)
            }
            _ => None,
        }
    }

    fn infer(&mut self, expression: &IdedExpr) -> Option<Type> {
        if let Some(path) = Self::as_path(expression) {
            return self.resolve(&path);
        }
        match &expression.expr {
            Expr::Literal(literal) => Some(match literal {
                LiteralValue::Boolean(_) => Type::Bool,
                LiteralValue::Double(_) => Type::Double,
                LiteralValue::Int(_) | LiteralValue::UInt(_) => Type::Int,
                LiteralValue::Null => Type::Null,
                LiteralValue::String(_) => Type::Text,
                LiteralValue::Bytes(_) => Type::Any,
            }),
            Expr::List(list) => {
                let mut item: Option<Type> = None;
                for element in &list.elements {
                    let kind = self.infer(element)?;
                    item = Some(item.map_or(kind.clone(), |before| before.join(kind)));
                }
                Some(Type::List(Box::new(item.unwrap_or(Type::Any))))
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.infer(&entry.key)?;
                        self.infer(&entry.value)?;
                    }
                }
                Some(Type::Map(Box::new(Type::Any)))
            }
            Expr::Select(select) if select.test => {
                // `has(a.b)`: the field may be missing, what it is looked for in may not.
                let path = Self::as_path(&select.operand);
                match path.as_deref() {
                    Some(path) => self.resolve(path)?,
                    None => self.infer(&select.operand)?,
                };
                Some(Type::Bool)
            }
            Expr::Select(select) => {
                let operand = self.infer(&select.operand)?;
                self.select(&operand, &["it"], &select.field)
            }
            Expr::Comprehension(comprehension) => {
                let range = self.infer(&comprehension.iter_range)?;
                let item = match range {
                    Type::List(item) => *item,
                    Type::Any => Type::Any,
                    Type::Map(_) | Type::Object(..) => Type::Text,
                    other => {
                        self.wrong(
                            format!("{other} has no items to go through"),
                            "not a list",
                            String::new(),
                        );
                        return None;
                    }
                };
                let start = self.infer(&comprehension.accu_init)?;
                let depth = self.bound.len();
                self.bound.push((comprehension.iter_var.clone(), item));
                if let Some(second) = &comprehension.iter_var2 {
                    self.bound.push((second.clone(), Type::Any));
                }
                self.bound.push((comprehension.accu_var.clone(), start));
                let step = self.infer(&comprehension.loop_step);
                let condition = self.infer(&comprehension.loop_cond);
                let result = self.infer(&comprehension.result);
                self.bound.truncate(depth);
                step.and(condition).and(result)
            }
            Expr::Call(call) => self.call(call, expression.id),
            _ => Some(Type::Any),
        }
    }

    fn call(&mut self, call: &cel::common::ast::CallExpr, id: u64) -> Option<Type> {
        let target = match &call.target {
            Some(target) => Some(self.infer(target)?),
            None => None,
        };
        let mut arguments = Vec::with_capacity(call.args.len());
        for argument in &call.args {
            arguments.push(self.infer(argument)?);
        }
        let name = call.func_name.as_str();
        if let Some(operator) = operator_sign(name) {
            return self.operator(name, operator, &arguments);
        }
        let given: Vec<&Type> = target.iter().chain(&arguments).collect();
        match signature(name, target.is_some(), &given) {
            Signature::Returns(kind) => Some(kind),
            Signature::NoSuchFunction => {
                let place = self.place_of(id, name);
                let help = suggest::help(name, FUNCTIONS.iter().map(|function| function.0), "functions");
                self.checker.found.push(
                    Diagnostic::error(
                        format!("unknown function `{name}`"),
                        place,
                        "CEL has no such function here",
                    )
                    .help(help),
                );
                None
            }
            Signature::WrongArguments(usage) => {
                let list: Vec<String> = given.iter().map(ToString::to_string).collect();
                self.wrong(
                    format!("`{name}` does not take {}", list.join(", ")),
                    &format!("`{name}` cannot be used like this"),
                    format!("it is used as `{usage}`"),
                );
                None
            }
        }
    }

    fn place_of(&self, id: u64, name: &str) -> Span {
        let text = &self.place.file.text[self.place.range.clone()];
        let from = self
            .offsets
            .and_then(|info| info.offset_for(id))
            .map_or(0, |(start, _)| start as usize);
        match text
            .get(from..)
            .and_then(|rest| rest.find(name))
            .or_else(|| text.find(name).map(|at| at - from.min(at)))
        {
            Some(at) => self.place.within(from + at..from + at + name.len()),
            None => self.place.clone(),
        }
    }

    fn operator(&mut self, name: &str, sign: &str, arguments: &[Type]) -> Option<Type> {
        let kind = match (name, arguments) {
            (operators::CONDITIONAL, [condition, yes, no]) if Type::Bool.accepts(condition) => {
                Some(yes.clone().join(no.clone()))
            }
            (operators::LOGICAL_AND | operators::LOGICAL_OR, [a, b])
                if Type::Bool.accepts(a) && Type::Bool.accepts(b) =>
            {
                Some(Type::Bool)
            }
            (operators::LOGICAL_NOT, [a]) if Type::Bool.accepts(a) => Some(Type::Bool),
            (operators::NOT_STRICTLY_FALSE, _) => Some(Type::Bool),
            (operators::EQUALS | operators::NOT_EQUALS, [a, b]) => {
                let comparable = a.accepts(b) || b.accepts(a) || *a == Type::Null || *b == Type::Null;
                comparable.then_some(Type::Bool)
            }
            (
                operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS,
                [a, b],
            ) => {
                ((a.accepts(b) || b.accepts(a)) && a.fits_in_text() && b.fits_in_text()).then_some(Type::Bool)
            }
            (operators::IN, [_, Type::List(_) | Type::Map(_) | Type::Object(..) | Type::Any]) => {
                Some(Type::Bool)
            }
            (operators::INDEX | operators::OPT_INDEX, [Type::List(item), Type::Int | Type::Any]) => {
                Some((**item).clone())
            }
            (operators::INDEX | operators::OPT_INDEX, [Type::Map(item), Type::Text | Type::Any]) => {
                Some((**item).clone())
            }
            (operators::INDEX | operators::OPT_INDEX, [Type::Object(..) | Type::Any, _]) => Some(Type::Any),
            (operators::ADD, [Type::List(a), Type::List(b)]) => {
                Some(Type::List(Box::new((**a).clone().join((**b).clone()))))
            }
            (operators::ADD, [a, b])
                if (a.accepts(b) || b.accepts(a))
                    && !matches!(a, Type::Bool | Type::Map(_) | Type::Object(..)) =>
            {
                Some(a.clone().join(b.clone()))
            }
            (operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE | operators::MODULO, [a, b])
                if (Type::Double.accepts(a) && a == b) || *a == Type::Any || *b == Type::Any =>
            {
                Some(a.clone())
            }
            (operators::NEGATE, [a]) if Type::Double.accepts(a) => Some(a.clone()),
            _ => None,
        };
        if kind.is_none() {
            let list: Vec<String> = arguments.iter().map(ToString::to_string).collect();
            let help = match (name, arguments) {
                (operators::ADD, [Type::Text, _] | [_, Type::Text]) => {
                    "turn the other side into text with `string(…)`"
                }
                (operators::CONDITIONAL, _) => "what stands before `?` must be a boolean",
                _ => "both sides must have types that go together",
            };
            self.wrong(
                format!("`{sign}` does not go with {}", list.join(" and ")),
                "these types do not go together",
                help.to_owned(),
            );
        }
        kind
    }
}

fn operator_sign(name: &str) -> Option<&'static str> {
    Some(match name {
        operators::CONDITIONAL => "? :",
        operators::LOGICAL_AND => "&&",
        operators::LOGICAL_OR => "||",
        operators::LOGICAL_NOT => "!",
        operators::SUBSTRACT => "-",
        operators::ADD => "+",
        operators::MULTIPLY => "*",
        operators::DIVIDE => "/",
        operators::MODULO => "%",
        operators::EQUALS => "==",
        operators::NOT_EQUALS => "!=",
        operators::GREATER_EQUALS => ">=",
        operators::LESS_EQUALS => "<=",
        operators::GREATER => ">",
        operators::LESS => "<",
        operators::NEGATE => "-",
        operators::INDEX | operators::OPT_INDEX => "[ ]",
        operators::IN => "in",
        operators::NOT_STRICTLY_FALSE => "",
        _ => return None,
    })
}

enum Signature {
    Returns(Type),
    NoSuchFunction,
    WrongArguments(&'static str),
}

/// Functions by name: how they are used, the types they take (the target first), and what they return.
/// Source: the CEL specification's standard definitions, and the `strings` and `lists` extensions.
const FUNCTIONS: [(&str, &str, &str, &str); 28] = [
    ("size", "size(list)", "a", "int"),
    ("contains", "text.contains('part')", "tt", "bool"),
    ("startsWith", "text.startsWith('part')", "tt", "bool"),
    ("endsWith", "text.endsWith('part')", "tt", "bool"),
    ("matches", "text.matches('^regex$')", "tt", "bool"),
    ("string", "string(value)", "a", "text"),
    ("int", "int(value)", "a", "int"),
    ("double", "double(value)", "a", "double"),
    ("bool", "bool(value)", "a", "bool"),
    ("join", "list.join(',')", "l[t]", "text"),
    ("split", "text.split(',')", "tt[i]", "texts"),
    ("replace", "text.replace('from', 'to')", "ttt[i]", "text"),
    ("trim", "text.trim()", "t", "text"),
    ("lowerAscii", "text.lowerAscii()", "t", "text"),
    ("upperAscii", "text.upperAscii()", "t", "text"),
    ("substring", "text.substring(0, 3)", "ti[i]", "text"),
    ("charAt", "text.charAt(0)", "ti", "text"),
    ("indexOf", "text.indexOf('part')", "tt[i]", "int"),
    ("lastIndexOf", "text.lastIndexOf('part')", "tt[i]", "int"),
    ("format", "'%s-%s'.format([a, b])", "tl", "text"),
    ("reverse", "list.reverse()", "a", "same"),
    ("distinct", "list.distinct()", "l", "same"),
    ("sort", "list.sort()", "l", "same"),
    ("slice", "list.slice(0, 2)", "lii", "same"),
    ("flatten", "list.flatten()", "l[i]", "list"),
    ("range", "lists.range(3)", "ai", "list"),
    ("type", "type(value)", "a", "any"),
    ("dyn", "dyn(value)", "a", "any"),
];

fn signature(name: &str, _member: bool, given: &[&Type]) -> Signature {
    let Some((_, usage, takes, returns)) = FUNCTIONS.iter().find(|function| function.0 == name) else {
        return Signature::NoSuchFunction;
    };
    let mut optional = false;
    let mut position = 0;
    for letter in takes.chars() {
        let fits = match letter {
            '[' | ']' => {
                optional = letter == '[';
                continue;
            }
            't' => given.get(position).map(|kind| Type::Text.accepts(kind)),
            'i' => given.get(position).map(|kind| Type::Int.accepts(kind)),
            'l' => given
                .get(position)
                .map(|kind| matches!(kind, Type::List(_) | Type::Any)),
            _ => given.get(position).map(|_| true),
        };
        match fits {
            Some(true) => position += 1,
            None if optional => {}
            Some(false) | None => return Signature::WrongArguments(usage),
        }
    }
    if position != given.len() {
        return Signature::WrongArguments(usage);
    }
    Signature::Returns(match *returns {
        "int" => Type::Int,
        "bool" => Type::Bool,
        "text" => Type::Text,
        "double" => Type::Double,
        "texts" => Type::List(Box::new(Type::Text)),
        "list" => Type::List(Box::new(Type::Any)),
        "same" => given.first().map_or(Type::Any, |kind| (*kind).clone()),
        _ => Type::Any,
    })
}

// ---------------------------------------------------------------------------------------------
// Evaluating, once there are values

/// Where an evaluation finds the values of paths.
pub(crate) trait Scope {
    /// What a path leads to. A value may contain parts that are not known yet (see [`unknown`]).
    fn lookup(&self, path: &[String]) -> Result<Lookup, EvaluateError>;
}

/// What a path leads to.
pub(crate) enum Lookup {
    /// A value.
    Value(Value),
    /// Nothing: a step that was left out, an output that does not exist.
    Missing,
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{expression}` has no value: {reason}")]
pub struct EvaluateError {
    /// The expression.
    pub expression: String,
    /// Why.
    pub reason: String,
}

/// The key of the mapping that stands for a value not known yet. No YAML key of ours starts with it.
const UNKNOWN: &str = "\u{0}after";

/// A stand-in for a value known once `steps` are done.
pub(crate) fn unknown(steps: impl IntoIterator<Item = StepId>) -> Value {
    let steps = steps
        .into_iter()
        .map(|step| Value::String(step.as_str().to_owned()))
        .collect();
    Value::Object(Map::from_iter([(UNKNOWN.to_owned(), Value::Array(steps))]))
}

/// The steps that values inside `value` wait for.
pub(crate) fn waits_for(value: &Value) -> BTreeSet<StepId> {
    let mut found = BTreeSet::new();
    collect_unknown(value, &mut found);
    found
}

fn collect_unknown(value: &Value, found: &mut BTreeSet<StepId>) {
    match value {
        Value::Object(map) => match map.get(UNKNOWN).and_then(Value::as_array) {
            Some(steps) => found.extend(
                steps
                    .iter()
                    .filter_map(Value::as_str)
                    .filter_map(|id| id.split_once('.'))
                    .map(|(component, step)| StepId::new(component, step)),
            ),
            None => map.values().for_each(|value| collect_unknown(value, found)),
        },
        Value::Array(items) => items.iter().for_each(|value| collect_unknown(value, found)),
        _ => {}
    }
}

/// Evaluates every expression in a tree.
pub(crate) fn evaluate_tree(
    compiler: &Compiler,
    value: &Value,
    scope: &dyn Scope,
) -> Result<Value, EvaluateError> {
    Ok(match value {
        Value::String(text) => evaluate_text(compiler, text, scope)?,
        Value::Array(items) => Value::Array(
            items
                .iter()
                .map(|item| evaluate_tree(compiler, item, scope))
                .collect::<Result<_, _>>()?,
        ),
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(key, value)| Ok((key.clone(), evaluate_tree(compiler, value, scope)?)))
                .collect::<Result<_, EvaluateError>>()?,
        ),
        other => other.clone(),
    })
}

/// Evaluates one text: a whole expression keeps its type, one inside text becomes text.
pub(crate) fn evaluate_text(
    compiler: &Compiler,
    text: &str,
    scope: &dyn Scope,
) -> Result<Value, EvaluateError> {
    if !text.contains("${") {
        return Ok(Value::String(text.to_owned()));
    }
    let failed = |reason: &str| EvaluateError {
        expression: text.to_owned(),
        reason: reason.to_owned(),
    };
    let parts = split(text).map_err(|_| failed("it is not closed"))?;
    if let [Part::Expression(range)] = parts.as_slice() {
        return evaluate(compiler, &text[range.clone()], scope);
    }
    let mut whole = String::new();
    let mut waiting = BTreeSet::new();
    for part in parts {
        match part {
            Part::Literal(literal) => whole.push_str(&literal),
            Part::Expression(range) => {
                let value = evaluate(compiler, &text[range.clone()], scope)?;
                let after = waits_for(&value);
                if after.is_empty() {
                    whole.push_str(&as_text(&value).map_err(|reason| EvaluateError {
                        expression: text[range].to_owned(),
                        reason,
                    })?);
                } else {
                    waiting.extend(after);
                }
            }
        }
    }
    Ok(if waiting.is_empty() {
        Value::String(whole)
    } else {
        unknown(waiting)
    })
}

/// A plain value as text: what CloudFormation and files get.
pub(crate) fn as_text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Number(value) => Ok(value.to_string()),
        Value::Null => Err("it is null, which has no text".to_owned()),
        Value::Array(_) => Err("it is a list; join it, for example with `.join(',')`".to_owned()),
        Value::Object(_) => Err("it is a mapping, which has no text".to_owned()),
    }
}

fn evaluate(compiler: &Compiler, source: &str, scope: &dyn Scope) -> Result<Value, EvaluateError> {
    let failed = |reason: String| EvaluateError {
        expression: source.trim().to_owned(),
        reason,
    };
    let compiled = compiler.compile(source).map_err(|(message, _)| failed(message))?;
    match &*compiled {
        Compiled::Path(path) => match scope.lookup(path)? {
            Lookup::Value(value) => Ok(value),
            Lookup::Missing => Err(failed(
                "nothing has this name now; was its step left out by `when`?".to_owned(),
            )),
        },
        Compiled::Program(program) => {
            let mut values = Needed {
                scope,
                roots: Map::new(),
                waiting: BTreeSet::new(),
                bound: Vec::new(),
            };
            values.collect(program.expression())?;
            if !values.waiting.is_empty() {
                return Ok(unknown(values.waiting));
            }
            let value = values
                .context()
                .resolve(program.expression())
                .map_err(|error| failed(error.to_string()))?;
            value.json().map_err(|error| failed(error.to_string()))
        }
    }
}

/// Gathers just the values an expression needs: the branch a known condition rules out is not
/// looked at, so `inputs.lock ? steps.lock.outputs.Name : ''` works when the step is left out.
struct Needed<'s> {
    scope: &'s dyn Scope,
    roots: Map<String, Value>,
    waiting: BTreeSet<StepId>,
    bound: Vec<String>,
}

impl Needed<'_> {
    fn collect(&mut self, expression: &IdedExpr) -> Result<(), EvaluateError> {
        if let Some(path) = Inference::as_path(expression) {
            return self.path(&path);
        }
        match &expression.expr {
            Expr::List(list) => list.elements.iter().try_for_each(|element| self.collect(element)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.collect(&entry.key)?;
                    self.collect(&entry.value)
                }
                EntryExpr::StructField(field) => self.collect(&field.value),
            }),
            Expr::Select(select) => self.collect(&select.operand),
            Expr::Comprehension(comprehension) => {
                self.collect(&comprehension.iter_range)?;
                self.collect(&comprehension.accu_init)?;
                let depth = self.bound.len();
                self.bound.push(comprehension.iter_var.clone());
                self.bound.extend(comprehension.iter_var2.clone());
                self.bound.push(comprehension.accu_var.clone());
                let inner = self
                    .collect(&comprehension.loop_cond)
                    .and_then(|()| self.collect(&comprehension.loop_step))
                    .and_then(|()| self.collect(&comprehension.result));
                self.bound.truncate(depth);
                inner
            }
            Expr::Call(call) if call.func_name == operators::CONDITIONAL && call.args.len() == 3 => {
                let waiting = std::mem::take(&mut self.waiting);
                self.collect(&call.args[0])?;
                let chosen = if self.waiting.is_empty() && self.bound.is_empty() {
                    self.context().resolve(&call.args[0]).ok()
                } else {
                    None
                };
                self.waiting.extend(waiting);
                match chosen {
                    Some(cel::Value::Bool(true)) => self.collect(&call.args[1]),
                    Some(cel::Value::Bool(false)) => self.collect(&call.args[2]),
                    _ => {
                        self.collect(&call.args[1])?;
                        self.collect(&call.args[2])
                    }
                }
            }
            Expr::Call(call) => call
                .target
                .as_deref()
                .into_iter()
                .chain(&call.args)
                .try_for_each(|part| self.collect(part)),
            _ => Ok(()),
        }
    }

    fn path(&mut self, path: &[&str]) -> Result<(), EvaluateError> {
        if self.bound.iter().any(|bound| bound == path[0]) {
            return Ok(());
        }
        let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
        if let Lookup::Value(value) = self.scope.lookup(&path)? {
            let waiting = waits_for(&value);
            if waiting.is_empty() {
                place(&mut self.roots, &path, value);
            }
            self.waiting.extend(waiting);
        }
        Ok(())
    }

    fn context(&self) -> Context<'static, 'static> {
        let mut context = Context::with_env(ENV.clone());
        for (name, value) in &self.roots {
            context.add_variable_from_value(name.as_str(), to_cel(value));
        }
        context
    }
}

fn place(map: &mut Map<String, Value>, path: &[String], value: Value) {
    match path {
        [] => {}
        [last] => {
            map.insert(last.clone(), value);
        }
        [first, rest @ ..] => {
            let inner = map
                .entry(first.clone())
                .or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                place(inner, rest, value);
            }
        }
    }
}

/// JSON's whole numbers are CEL's `int`: left to serde they would become `uint`, which CEL does not
/// add to an `int`.
fn to_cel(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => cel::Value::Int(whole),
            None => cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => cel::Value::String(Arc::new(text.clone())),
        Value::Array(items) => cel::Value::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(map) => {
            let map: HashMap<String, cel::Value> = map
                .iter()
                .map(|(key, value)| (key.clone(), to_cel(value)))
                .collect();
            cel::Value::from(map)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(Value);

    impl Scope for Fixed {
        fn lookup(&self, path: &[String]) -> Result<Lookup, EvaluateError> {
            let found = path.iter().try_fold(&self.0, |value, part| {
                if value.get(UNKNOWN).is_some() {
                    Some(value)
                } else {
                    value.get(part)
                }
            });
            Ok(found.cloned().map_or(Lookup::Missing, Lookup::Value))
        }
    }

    fn scope() -> Fixed {
        Fixed(serde_json::json!({
            "inputs": { "name": "acme", "zones": ["a", "b"], "count": 2, "lock": false, "map": {"k": "v"} },
            "steps": { "vpc": unknown([StepId::new("network", "vpc")]) },
        }))
    }

    fn evaluated(text: &str) -> String {
        match evaluate_text(&Compiler::default(), text, &scope()) {
            Ok(value) if waits_for(&value).is_empty() => value.to_string(),
            Ok(value) => format!("after {:?}", waits_for(&value)),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn a_whole_expression_keeps_its_type_and_one_in_text_becomes_text() {
        assert_eq!(evaluated("${inputs.zones}"), r#"["a","b"]"#);
        assert_eq!(evaluated("${inputs.count + 1}"), "3");
        assert_eq!(evaluated("${inputs.name}-${inputs.count}"), r#""acme-2""#);
        assert_eq!(
            evaluated("${inputs.zones.map(z, inputs.name + z).join(',')}"),
            r#""acmea,acmeb""#
        );
        assert_eq!(evaluated("${'a-b'.split('-')}"), r#"["a","b"]"#);
        assert_eq!(evaluated("${inputs.map['k']}"), r#""v""#);
    }

    #[test]
    fn a_doubled_dollar_is_a_literal() {
        assert_eq!(
            evaluated("$${{ github.ref }} ${inputs.name}"),
            r#""${{ github.ref }} acme""#
        );
        assert_eq!(evaluated("${'}' + inputs.name}"), r#""}acme""#);
    }

    #[test]
    fn what_is_not_known_stays_unknown_unless_a_condition_rules_it_out() {
        assert_eq!(
            evaluated("${steps.vpc.outputs.Id}"),
            "after {StepId(network.vpc)}"
        );
        assert_eq!(
            evaluated("id: ${steps.vpc.outputs.Id}"),
            "after {StepId(network.vpc)}"
        );
        assert_eq!(evaluated("${inputs.lock ? steps.vpc.outputs.Id : ''}"), r#""""#);
        assert_eq!(
            evaluated("${inputs.lock ? steps.gone.outputs.Id : 'none'}"),
            r#""none""#
        );
        assert_eq!(
            evaluated("${steps.gone.outputs.Id}"),
            "error: `steps.gone.outputs.Id` has no value: nothing has this name now; was its step left out by `when`?"
        );
    }
}
