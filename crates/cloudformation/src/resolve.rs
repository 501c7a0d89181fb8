//! A template with its parameters filled in, as far as they are known: which resources there will be, and
//! with which properties.
//!
//! It foresees what CloudFormation does with a template, and judges nothing: a function used wrongly gives
//! something unknown, never an error. What only CloudFormation can know (the id of a resource, an export,
//! the zones of a region) is marked as unknown, and dynamic references stay the texts they are.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use landfall_model::SourceFile;
use landfall_model::work::{Known, StackWork, Step};
use landfall_model::yaml::{self, Node};
use serde_json::{Map, Value, json};

use crate::functions;

/// The partition a region belongs to.
pub fn partition(region: &str) -> &'static str {
    match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

/// Where a stack stands: what pseudo parameters are made of.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The partition, such as `aws`.
    pub partition: &'a str,
    /// The region.
    pub region: &'a str,
    /// The account's id.
    pub account: &'a str,
    /// The stack's name.
    pub stack: &'a str,
}

impl<'a> Place<'a> {
    /// Where a step's stack is, or will be.
    pub fn of(step: &'a Step, work: &'a StackWork) -> Place<'a> {
        Place {
            partition: partition(&work.region),
            region: &work.region,
            account: &step.facts.account,
            stack: &work.name,
        }
    }
}

/// A template with its parameters filled in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resolved {
    /// Its resources by logical id, in the order of the file.
    pub resources: IndexMap<String, Resource>,
    /// What its conditions come to; none when that is not known yet.
    pub conditions: BTreeMap<String, Option<bool>>,
    /// Its outputs, in the order of the file.
    pub outputs: IndexMap<String, Output>,
}

/// One output of a template.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Whether it will exist; none when its condition is not known yet.
    pub exists: Option<bool>,
    /// Its value, with markers where something is unknown.
    pub value: Value,
}

/// One resource of a template.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// Its type, such as `AWS::S3::Bucket`.
    pub kind: String,
    /// Whether it will exist; none when its condition is not known yet.
    pub exists: Option<bool>,
    /// Its properties, with markers where something is unknown ([`is_unknown`]).
    pub properties: Value,
    /// What happens to it when it goes, when the template says so.
    pub deletion_policy: Option<String>,
}

/// The key of a marker.
const UNKNOWN: &str = "Landfall::Unknown";

/// Whether a value is not known before CloudFormation has made something, or a step has run.
pub fn is_unknown(value: &Value) -> bool {
    marked(value).is_some()
}

/// The logical id of the resource an unknown value refers to, and the attribute that is meant when it is
/// not the resource itself. None when the value is known, or made of more than that.
pub fn refers_to(value: &Value) -> Option<(&str, Option<&str>)> {
    let marked = marked(value)?;
    if let Some(id) = marked["Ref"].as_str() {
        return Some((id, None));
    }
    let path = marked["Fn::GetAtt"].as_array()?;
    Some((path.first()?.as_str()?, path.get(1)?.as_str()))
}

/// A text as it will look, with `*` for each part that is unknown. None when the value is no text, or
/// nothing of it is known.
pub fn pattern(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        other => marked(other)?["like"].as_str(),
    }
}

fn marked(value: &Value) -> Option<&Value> {
    value.as_object().filter(|map| map.len() == 1)?.get(UNKNOWN)
}

/// Something of which nothing is known.
pub fn unknown() -> Value {
    json!({ UNKNOWN: {} })
}

/// A text of which some parts are unknown: those are `*` in it.
pub(crate) fn unknown_text(pattern: &str) -> Value {
    let pattern = squeezed(pattern);
    match pattern.as_str() {
        "*" => unknown(),
        _ => json!({ UNKNOWN: { "like": pattern } }),
    }
}

/// Several stars in a row say no more than one.
fn squeezed(pattern: &str) -> String {
    let mut text = String::with_capacity(pattern.len());
    for character in pattern.chars() {
        if character != '*' || !text.ends_with('*') {
            text.push(character);
        }
    }
    text
}

/// Fills a template in. One that cannot be read has no resources: saying why is `read_template`'s.
pub fn resolve(template: &str, parameters: &BTreeMap<String, Known<String>>, place: &Place<'_>) -> Resolved {
    Template::read(template).resolve(parameters, place)
}

/// A template that was read once, to be filled in many times.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Template {
    parameters: BTreeMap<String, Declared>,
    mappings: Value,
    conditions: BTreeMap<String, Value>,
    resources: IndexMap<String, Value>,
    outputs: IndexMap<String, Value>,
}

/// A parameter as the template declares it.
#[derive(Clone, Debug, PartialEq)]
struct Declared {
    kind: String,
    default: Option<String>,
}

impl Template {
    /// Reads a template; it is empty when that cannot be done.
    pub fn read(template: &str) -> Template {
        let Ok(root) = yaml::parse(&SourceFile::new("template", template)) else {
            return Template::default();
        };
        let section = |name: &str| root.get(name).map(Node::entries).unwrap_or_default().iter();
        let bodies = |name: &str| section(name).map(|entry| (entry.key.clone(), entry.node.value()));
        Template {
            parameters: section("Parameters")
                .map(|entry| (entry.key.clone(), Declared::of(&entry.node)))
                .collect(),
            mappings: root.get("Mappings").map(Node::value).unwrap_or_default(),
            conditions: bodies("Conditions").collect(),
            resources: bodies("Resources").collect(),
            outputs: bodies("Outputs").collect(),
        }
    }

    /// Fills it in.
    pub fn resolve(&self, parameters: &BTreeMap<String, Known<String>>, place: &Place<'_>) -> Resolved {
        let reader = Reader {
            template: self,
            parameters,
            place: *place,
            judged: RefCell::default(),
            judging: RefCell::default(),
        };
        let resource = |(id, body): (&String, &Value)| {
            let kind = body["Type"].as_str()?.to_owned();
            let resource = Resource {
                kind,
                exists: reader.exists(body),
                properties: reader.value(&body["Properties"]).unwrap_or_default(),
                deletion_policy: body["DeletionPolicy"].as_str().map(str::to_owned),
            };
            Some((id.clone(), resource))
        };
        let output = |(name, body): (&String, &Value)| {
            let output = Output {
                exists: reader.exists(body),
                value: reader.value(&body["Value"]).unwrap_or_default(),
            };
            (name.clone(), output)
        };
        Resolved {
            resources: self.resources.iter().filter_map(resource).collect(),
            conditions: self
                .conditions
                .keys()
                .map(|name| (name.clone(), reader.condition(name)))
                .collect(),
            outputs: self.outputs.iter().map(output).collect(),
        }
    }
}

impl Declared {
    fn of(node: &Node) -> Declared {
        let kind = node.get("Type").and_then(Node::text).unwrap_or("String");
        Declared {
            kind: kind.to_owned(),
            default: node
                .get("Default")
                .and_then(|node| functions::text(&node.value())),
        }
    }

    /// What a reference to it gives.
    fn value(&self, text: &str) -> Value {
        let kind = self.kind.as_str();
        if kind.starts_with("AWS::SSM::Parameter::Value<") {
            return unknown();
        }
        if kind == "CommaDelimitedList" || kind.starts_with("List<") {
            return text
                .split(',')
                .map(|item| Value::from(item.trim()))
                .filter(|item| item != "")
                .collect();
        }
        text.into()
    }
}

/// A template that is being filled in.
struct Reader<'a> {
    template: &'a Template,
    parameters: &'a BTreeMap<String, Known<String>>,
    place: Place<'a>,
    /// Conditions that were judged already.
    judged: RefCell<BTreeMap<String, Option<bool>>>,
    /// Conditions that are being judged: one that needs itself is never known.
    judging: RefCell<BTreeSet<String>>,
}

impl Reader<'_> {
    /// Whether a resource or an output will be there.
    fn exists(&self, body: &Value) -> Option<bool> {
        match body["Condition"].as_str() {
            Some(condition) => self.condition(condition),
            None => Some(true),
        }
    }

    fn condition(&self, name: &str) -> Option<bool> {
        if let Some(known) = self.judged.borrow().get(name) {
            return *known;
        }
        let body = self.template.conditions.get(name)?;
        if !self.judging.borrow_mut().insert(name.to_owned()) {
            return None;
        }
        let holds = self.holds(body);
        self.judging.borrow_mut().remove(name);
        self.judged.borrow_mut().insert(name.to_owned(), holds);
        holds
    }

    /// What a part of a condition comes to. One known part can decide while another is unknown.
    fn holds(&self, body: &Value) -> Option<bool> {
        let Some((name, arguments)) = single(body) else {
            return functions::truth(body);
        };
        let parts = || {
            arguments
                .as_array()
                .into_iter()
                .flatten()
                .map(|part| self.holds(part))
        };
        match name {
            "Condition" => self.condition(arguments.as_str()?),
            "Fn::Equals" => {
                let [left, right] = arguments.as_array()?.as_slice() else {
                    return None;
                };
                functions::equal(&self.value(left)?, &self.value(right)?)
            }
            "Fn::Not" => parts().next()?.map(|holds| !holds),
            "Fn::And" => all(parts()),
            "Fn::Or" => all(parts().map(|part| part.map(|holds| !holds))).map(|none| !none),
            _ => functions::truth(&self.value(body)?),
        }
    }

    /// A value with its functions carried out; none when it is `AWS::NoValue`.
    fn value(&self, body: &Value) -> Option<Value> {
        match body {
            Value::Object(map) => match single(body) {
                Some((name, arguments)) if name == "Ref" || name.starts_with("Fn::") => {
                    self.function(name, arguments)
                }
                // `Condition` is a function only inside conditions; here it is a statement's key.
                _ => {
                    let kept = map
                        .iter()
                        .filter_map(|(key, value)| Some((key.clone(), self.value(value)?)));
                    Some(Value::Object(kept.collect::<Map<_, _>>()))
                }
            },
            Value::Array(items) => Some(items.iter().filter_map(|item| self.value(item)).collect()),
            plain => Some(plain.clone()),
        }
    }

    fn function(&self, name: &str, arguments: &Value) -> Option<Value> {
        match name {
            "Ref" => return self.reference(arguments.as_str().unwrap_or_default()),
            "Fn::If" => {
                let [condition, yes, no] = arguments.as_array().map(Vec::as_slice).unwrap_or_default() else {
                    return Some(unknown());
                };
                return match self.condition(condition.as_str().unwrap_or_default()) {
                    Some(true) => self.value(yes),
                    Some(false) => self.value(no),
                    None => {
                        // Where both ways lead to the same, the condition does not matter.
                        let (yes, no) = (self.value(yes), self.value(no));
                        if yes == no { yes } else { Some(unknown()) }
                    }
                };
            }
            _ => {}
        }
        let value = match name {
            "Fn::GetAtt" => attribute(arguments),
            "Fn::Sub" => self.substituted(arguments),
            "Fn::FindInMap" => self.mapped(arguments),
            "Fn::Equals" | "Fn::And" | "Fn::Or" | "Fn::Not" => self
                .holds(&json!({ name: arguments }))
                .map_or_else(unknown, Value::Bool),
            _ => functions::call(name, &self.value(arguments)?),
        };
        Some(value)
    }

    /// What `Ref` gives; none for `AWS::NoValue`.
    fn reference(&self, name: &str) -> Option<Value> {
        let suffix = match self.place.partition {
            "aws-cn" => "amazonaws.com.cn",
            _ => "amazonaws.com",
        };
        Some(match name {
            "AWS::NoValue" => return None,
            "AWS::AccountId" => self.place.account.into(),
            "AWS::Partition" => self.place.partition.into(),
            "AWS::Region" => self.place.region.into(),
            "AWS::StackName" => self.place.stack.into(),
            "AWS::URLSuffix" => suffix.into(),
            "AWS::NotificationARNs" => json!([]),
            "AWS::StackId" => {
                let Place {
                    partition,
                    region,
                    account,
                    stack,
                } = self.place;
                unknown_text(&format!(
                    "arn:{partition}:cloudformation:{region}:{account}:stack/{stack}/*"
                ))
            }
            _ => match self.template.parameters.get(name) {
                Some(declared) => match (self.parameters.get(name), &declared.default) {
                    (Some(Known::Value(text)), _) => declared.value(text),
                    (None, Some(default)) => declared.value(default),
                    _ => unknown(),
                },
                None => json!({ UNKNOWN: { "Ref": name } }),
            },
        })
    }

    /// `Fn::Sub`, in both its forms.
    fn substituted(&self, arguments: &Value) -> Value {
        let (text, own) = match arguments {
            Value::String(text) => (text.as_str(), None),
            Value::Array(items) => match items.as_slice() {
                [Value::String(text), own] => (text.as_str(), own.as_object()),
                [Value::String(text)] => (text.as_str(), None),
                _ => return unknown(),
            },
            _ => return unknown(),
        };
        let mut whole = functions::Text::default();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            whole.push(before);
            let Some((name, after)) = after.split_once('}') else {
                whole.push("${");
                rest = after;
                continue;
            };
            rest = after;
            if let Some(literal) = name.strip_prefix('!') {
                whole.push(&format!("${{{literal}}}"));
                continue;
            }
            let value = match (own.and_then(|own| own.get(name)), name.split_once('.')) {
                (Some(own), _) => self.value(own),
                (None, Some((id, path))) => Some(attribute(&json!([id, path]))),
                (None, None) => self.reference(name),
            };
            whole.add(&value.unwrap_or_default());
        }
        whole.push(rest);
        whole.value()
    }

    fn mapped(&self, arguments: &Value) -> Value {
        let path = arguments.as_array().map(Vec::as_slice).unwrap_or_default();
        let mut found = &self.template.mappings;
        for part in path.iter().take(3) {
            let key = self.value(part).as_ref().and_then(functions::text);
            match key.and_then(|key| found.get(key)) {
                Some(next) => found = next,
                None => {
                    // A default may only step in where the keys themselves are known.
                    let keys = path.iter().take(3).map(|part| self.value(part));
                    let known = keys.flatten().all(|key| !is_unknown(&key));
                    let default = path.get(3).and_then(|more| more.get("DefaultValue"));
                    return default
                        .filter(|_| known)
                        .and_then(|value| self.value(value))
                        .unwrap_or_else(unknown);
                }
            }
        }
        found.clone()
    }
}

/// An attribute of a resource, which only CloudFormation knows. The short form may be one text with dots.
fn attribute(arguments: &Value) -> Value {
    let path = match arguments {
        Value::String(text) => text.split_once('.').map(|(id, path)| json!([id, path])),
        Value::Array(items) if items.iter().all(Value::is_string) => Some(arguments.clone()),
        _ => None,
    };
    path.map_or_else(unknown, |path| json!({ UNKNOWN: { "Fn::GetAtt": path } }))
}

/// The one key of an object that has just one, and its value.
fn single(body: &Value) -> Option<(&str, &Value)> {
    let map = body.as_object().filter(|map| map.len() == 1)?;
    map.iter().next().map(|(key, value)| (key.as_str(), value))
}

/// Whether all parts hold: one that does not decides, whatever is unknown of the others.
fn all(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut known = Some(true);
    for part in parts {
        match part {
            Some(false) => return Some(false),
            Some(true) => {}
            None => known = None,
        }
    }
    known
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
