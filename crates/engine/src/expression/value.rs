//! Evaluating expressions once there are values, some of which may not be known yet.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use cel::Context;
use cel::common::ast::{EntryExpr, Expr, IdedExpr, operators};
use landfall_model::StepId;
use serde_json::{Map, Value};

use super::{Compiled, Compiler, ENV, Part, as_path, split};

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
            let value = value.json().map_err(|error| failed(error.to_string()))?;
            Ok(in_order(value))
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
        if let Some(path) = as_path(expression) {
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
            Expr::Call(call) if call.func_name == operators::LOGICAL_AND => self.either(&call.args, false),
            Expr::Call(call) if call.func_name == operators::LOGICAL_OR => self.either(&call.args, true),
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

    /// The operands of `&&` and `||`: one of them alone may decide, whatever the other turns out to be
    /// (source: the CEL specification, logical operators).
    fn either(&mut self, operands: &[IdedExpr], decisive: bool) -> Result<(), EvaluateError> {
        let before = std::mem::take(&mut self.waiting);
        let mut waiting = BTreeSet::new();
        let mut decided = false;
        for operand in operands {
            self.collect(operand)?;
            let of_operand = std::mem::take(&mut self.waiting);
            decided |= of_operand.is_empty()
                && self.bound.is_empty()
                && self.context().resolve(operand).ok() == Some(cel::Value::Bool(decisive));
            waiting.extend(of_operand);
        }
        self.waiting = before;
        if !decided {
            self.waiting.extend(waiting);
        }
        Ok(())
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

/// CEL's mappings have no order, and a value that is written into a file must be the same in every run.
fn in_order(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().collect();
            entries.sort_by(|(one, _), (other, _)| one.cmp(other));
            let entries = entries.into_iter().map(|(key, value)| (key, in_order(value)));
            Value::Object(entries.collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(in_order).collect()),
        other => other,
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
    fn a_mapping_is_the_same_in_every_run() {
        let text = "${inputs.zones.map(z, {'name': z, 'at': {'two': 2, 'one': 1}})}";
        assert_eq!(
            evaluated(text),
            r#"[{"at":{"one":1,"two":2},"name":"a"},{"at":{"one":1,"two":2},"name":"b"}]"#
        );
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

    #[test]
    fn one_side_of_a_condition_can_decide_alone() {
        for (expression, value) in [
            ("${steps.vpc != '' && inputs.count > 2}", "false"),
            ("${inputs.count > 2 && steps.vpc != ''}", "false"),
            ("${steps.vpc != '' || inputs.count == 2}", "true"),
            (
                "${steps.vpc != '' && inputs.count > 2 ? steps.vpc : 'none'}",
                "\"none\"",
            ),
            (
                "${steps.vpc != '' && inputs.count == 2}",
                "after {StepId(network.vpc)}",
            ),
        ] {
            assert_eq!(evaluated(expression), value, "{expression}");
        }
    }

    #[test]
    fn networks_are_divided_as_terraform_divides_them() {
        for (expression, value) in [
            ("${cidrSubnet('10.52.16.0/20', 2, 0)}", "\"10.52.16.0/22\""),
            ("${cidrSubnet('10.52.16.0/20', 2, 2)}", "\"10.52.24.0/22\""),
            ("${cidrSubnet('10.52.16.0/20', 4, 12)}", "\"10.52.28.0/24\""),
            ("${cidrSubnet('10.52.16.0/20', 8, 242)}", "\"10.52.31.32/28\""),
            (
                "${cidrSubnet('0.0.0.0/0', 32, 4294967295)}",
                "\"255.255.255.255/32\"",
            ),
            ("${cidrContains('10.0.0.0/16', '10.0.2.0/24')}", "true"),
            ("${cidrContains('10.0.2.0/24', '10.0.0.0/16')}", "false"),
            ("${cidrContains('10.0.0.0/16', '10.0.255.255')}", "true"),
            ("${cidrOverlaps('10.0.2.0/24', '10.0.0.0/16')}", "true"),
            ("${cidrOverlaps('10.0.2.0/24', '10.0.3.0/24')}", "false"),
            ("${cidrPrefix('10.0.2.0/24')}", "24"),
            (
                "${lists.range(2).map(n, cidrSubnet('10.0.0.0/16', 8, n)).join(',')}",
                "\"10.0.0.0/24,10.0.1.0/24\"",
            ),
        ] {
            assert_eq!(evaluated(expression), value, "{expression}");
        }
    }
}
