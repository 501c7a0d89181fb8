//! Checking expressions before there are values: against declared names and types.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue, operators};
use landfall_model::yaml::Node;
use landfall_model::{Diagnostic, Diagnostics, Span};

use super::{Compiled, Compiler, Part, as_path, split};
use crate::suggest;
use crate::types::Type;

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

    fn infer(&mut self, expression: &IdedExpr) -> Option<Type> {
        if let Some(path) = as_path(expression) {
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
                let path = as_path(&select.operand);
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
            // `lists.range(3)`: the word before the point only says whose function it is.
            Some(target) if matches!(&target.expr, Expr::Ident(name) if name == "lists") => Some(Type::Any),
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
        match signature(name, &given) {
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

    /// Where a function's name stands: after the place the parser gives for its call, or anywhere.
    fn place_of(&self, id: u64, name: &str) -> Span {
        let text = &self.place.file.text[self.place.range.clone()];
        let call = self
            .offsets
            .and_then(|info| info.offset_for(id))
            .map_or(0, |(start, _)| start as usize);
        let after = text
            .get(call..)
            .and_then(|rest| rest.find(name))
            .map(|at| call + at);
        match after.or_else(|| text.find(name)) {
            Some(at) => self.place.within(at..at + name.len()),
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
/// Source: the CEL specification's standard definitions, the `strings` and `lists` extensions, and `cidr`.
const FUNCTIONS: [(&str, &str, &str, &str); 32] = [
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
    ("cidrSubnet", "cidrSubnet('10.0.0.0/16', 8, 2)", "tii", "text"),
    (
        "cidrContains",
        "cidrContains('10.0.0.0/16', '10.0.2.0/24')",
        "tt",
        "bool",
    ),
    (
        "cidrOverlaps",
        "cidrOverlaps('10.0.0.0/16', '10.0.2.0/24')",
        "tt",
        "bool",
    ),
    ("cidrPrefix", "cidrPrefix('10.0.0.0/16')", "t", "int"),
];

fn signature(name: &str, given: &[&Type]) -> Signature {
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
