//! What a stack is to be: its template with every parameter filled in, what differs from another such
//! state, and what it gives.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use landfall_cloudformation::resolve::{Place, Resolved, Template, refers_to};
use landfall_model::SourceFile;
use landfall_model::provider::{Change, Effect, Outputs, PropertyChange};
use landfall_model::template::TemplateInterface;
use landfall_model::work::{Known, StackWork, Step};
use landfall_model::yaml;
use serde_json::Value;

use crate::random::Random;

/// The type of a stack among resources.
pub(super) const STACK: &str = "AWS::CloudFormation::Stack";

/// What a stack is to be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spec {
    pub(crate) tags: BTreeMap<String, String>,
    /// What the template promises, without resources and outputs whose conditions do not hold.
    pub(super) interface: TemplateInterface,
    /// The template with its parameters filled in.
    pub(super) resolved: Arc<Resolved>,
    /// Given ones and defaults.
    parameters: BTreeMap<String, String>,
    written: Arc<Written>,
    /// The host of the identity provider the step is about, when it is about one.
    pub(super) issuer: Option<String>,
}

/// A template as it is written; empty when it cannot be read. That is not refused here: it is for others.
#[derive(Debug, Default, PartialEq)]
struct Written {
    /// Resources, by logical id.
    resources: BTreeMap<String, Value>,
    /// The values of outputs.
    outputs: BTreeMap<String, Value>,
    /// The same, to be filled in.
    template: Template,
}

/// What has to be done to resources to come from one state to another, by logical id.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Differences {
    pub(super) added: BTreeSet<String>,
    pub(super) changed: BTreeSet<String>,
    pub(super) removed: BTreeSet<String>,
}

impl Spec {
    /// What a step asks for. The error says why CloudFormation would not take it.
    pub(super) fn of(step: &Step, work: &StackWork) -> Result<Spec, String> {
        let mut parameters = BTreeMap::new();
        for (name, parameter) in &work.interface.parameters {
            let value = match work.parameters.get(name) {
                Some(Known::Value(value)) => value.clone(),
                Some(Known::After(_)) => {
                    return Err(format!("the parameter `{name}` still waits for other steps"));
                }
                None => match &parameter.default {
                    Some(default) => default.clone(),
                    None if parameter.has_default => String::new(),
                    None => return Err(format!("Parameters: [{name}] must have values")),
                },
            };
            if !parameter.allowed.is_empty() && !parameter.allowed.contains(&value) {
                return Err(format!(
                    "Template error: parameter {name} must be one of [{}]",
                    parameter.allowed.join(", ")
                ));
            }
            parameters.insert(name.clone(), value);
        }
        if let Some(unknown) = work
            .parameters
            .keys()
            .find(|name| !parameters.contains_key(*name))
        {
            return Err(format!("Parameters: [{unknown}] do not exist in the template"));
        }
        let issuer = work.existing.as_ref().map(|existing| {
            let url = existing.oidc_provider.url.as_str();
            host(url).to_owned()
        });
        let written = Written::of(&work.template);
        let known = parameters
            .iter()
            .map(|(name, value)| (name.clone(), Known::Value(value.clone())))
            .collect();
        let resolved = written.template.resolve(&known, &Place::of(step, work));
        let mut interface = work.interface.clone();
        let stays = |exists: Option<bool>| exists != Some(false);
        interface.resources.retain(|id, _| {
            let resource = resolved.resources.get(id);
            resource.is_none_or(|resource| stays(resource.exists))
        });
        interface.outputs.retain(|name| {
            let output = resolved.outputs.get(name);
            output.is_none_or(|output| stays(output.exists))
        });
        Ok(Spec {
            tags: step.tags(),
            interface,
            resolved: Arc::new(resolved),
            parameters,
            written,
            issuer,
        })
    }

    /// What has to be done to come here from `before`.
    pub(super) fn since(&self, before: &Spec) -> Differences {
        let parameters = self.changed_parameters(before);
        let mut differences = Differences::default();
        for (id, resource) in &self.interface.resources {
            let Some(old) = before.interface.resources.get(id) else {
                differences.added.insert(id.clone());
                continue;
            };
            let body = self.written.resources.get(id);
            let differs = match body {
                Some(_) => body != before.written.resources.get(id),
                None => resource != old,
            };
            let takes = |name: &String| body.is_some_and(|body| mentions(body, name));
            // What a parameter decides is not always mentioned where it is decided: conditions are elsewhere.
            let comes_to_another = self.comes_to(id) != before.comes_to(id);
            if differs || comes_to_another || parameters.iter().any(takes) {
                differences.changed.insert(id.clone());
            }
        }
        for id in before.interface.resources.keys() {
            if !self.interface.resources.contains_key(id) {
                differences.removed.insert(id.clone());
            }
        }
        differences
    }

    /// What changes on the way here from `before`: of the stack `name` itself, then of its resources.
    pub(super) fn changes(&self, name: &str, before: &Spec) -> Vec<Change> {
        let own = self.own_changes(before);
        let Differences {
            added,
            changed,
            removed,
        } = self.since(before);
        let one = |effect: Effect, spec: &Spec, id: &str, properties: Vec<PropertyChange>| Change {
            effect,
            subject: id.to_owned(),
            kind: spec
                .interface
                .resources
                .get(id)
                .map(|resource| resource.kind.clone())
                .unwrap_or_default(),
            properties,
        };
        let stack = (!own.is_empty()).then(|| Change {
            effect: Effect::Modify,
            subject: name.to_owned(),
            kind: STACK.to_owned(),
            properties: own,
        });
        stack
            .into_iter()
            .chain(added.iter().map(|id| one(Effect::Add, self, id, Vec::new())))
            .chain(
                changed
                    .iter()
                    .map(|id| one(Effect::Modify, self, id, self.property_changes(before, id))),
            )
            .chain(
                removed
                    .iter()
                    .map(|id| one(Effect::Remove, before, id, Vec::new())),
            )
            .collect()
    }

    /// The properties of a resource, filled in.
    fn comes_to(&self, id: &str) -> Option<&Value> {
        self.resolved
            .resources
            .get(id)
            .map(|resource| &resource.properties)
    }

    fn changed_parameters(&self, before: &Spec) -> BTreeSet<String> {
        let names = self.parameters.keys().chain(before.parameters.keys());
        names
            .filter(|name| self.parameters.get(*name) != before.parameters.get(*name))
            .cloned()
            .collect()
    }

    /// What changes of the stack itself: parameters, tags, and which outputs there are.
    fn own_changes(&self, before: &Spec) -> Vec<PropertyChange> {
        let mut changes: Vec<PropertyChange> = self
            .changed_parameters(before)
            .iter()
            .map(|name| PropertyChange {
                path: format!("Parameters.{name}"),
                before: before.shown(name),
                after: self.shown(name),
                replaces: false,
            })
            .collect();
        let keys: BTreeSet<&String> = self.tags.keys().chain(before.tags.keys()).collect();
        for key in keys {
            let (old, new) = (before.tags.get(key), self.tags.get(key));
            if old != new {
                changes.push(PropertyChange {
                    path: format!("Tags.{key}"),
                    before: old.cloned(),
                    after: new.cloned(),
                    replaces: false,
                });
            }
        }
        if self.interface.outputs != before.interface.outputs {
            changes.push(PropertyChange {
                path: "Outputs".to_owned(),
                before: Some(before.interface.outputs.join(", ")),
                after: Some(self.interface.outputs.join(", ")),
                replaces: false,
            });
        }
        changes
    }

    /// A parameter's value, unless CloudFormation hides it.
    fn shown(&self, parameter: &str) -> Option<String> {
        let value = self.parameters.get(parameter)?;
        let hidden = self
            .interface
            .parameters
            .get(parameter)
            .is_some_and(|declared| declared.no_echo);
        Some(if hidden { "****".to_owned() } else { value.clone() })
    }

    /// The properties of a resource that change, as far as the two templates tell.
    fn property_changes(&self, before: &Spec, id: &str) -> Vec<PropertyChange> {
        let parameters = self.changed_parameters(before);
        let empty = serde_json::Map::new();
        let of = |spec: &Spec| {
            let body = spec
                .written
                .resources
                .get(id)
                .and_then(|body| body["Properties"].as_object());
            body.unwrap_or(&empty).clone()
        };
        let (old, new) = (of(before), of(self));
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        names
            .into_iter()
            .filter(|name| {
                let filled_in = |spec: &Spec| {
                    spec.comes_to(id)
                        .and_then(|properties| properties.get(name))
                        .cloned()
                };
                old.get(*name) != new.get(*name)
                    || filled_in(before) != filled_in(self)
                    || new
                        .get(*name)
                        .is_some_and(|value| parameters.iter().any(|parameter| mentions(value, parameter)))
            })
            .map(|name| PropertyChange {
                path: name.clone(),
                before: old.get(name).and_then(|value| before.plain(value)),
                after: new.get(name).and_then(|value| self.plain(value)),
                replaces: false,
            })
            .collect()
    }

    /// A value as text, when it is a plain one or a parameter's.
    fn plain(&self, value: &Value) -> Option<String> {
        match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
            Value::Object(map) if map.len() == 1 => self.shown(map.get("Ref")?.as_str()?),
            _ => None,
        }
    }

    /// What the stack gives: made up, but the same every time, and of the right shape.
    pub(super) fn outputs(&self, account: &str, region: &str, stack: &str, stack_id: &str) -> Outputs {
        self.interface
            .outputs
            .iter()
            .map(|name| {
                let what = name.strip_suffix("Arn");
                let value = self
                    .referred(name, account, region, stack, stack_id)
                    .or_else(|| Some(self.arn(what?, account, region, stack, stack_id)))
                    .or_else(|| self.given_name(name))
                    .unwrap_or_else(|| format!("{stack}-{name}"));
                (name.clone(), value.into())
            })
            .collect()
    }

    /// The value of a parameter that names something, such as `BucketName`.
    fn given_name(&self, name: &str) -> Option<String> {
        let value = self.parameters.get(name).filter(|value| !value.is_empty())?;
        name.ends_with("Name").then(|| value.clone())
    }

    /// The ARN of the resource that an output such as `RoleArn` most likely means.
    fn arn(&self, what: &str, account: &str, region: &str, stack: &str, stack_id: &str) -> String {
        let resources = &self.interface.resources;
        let found = resources
            .iter()
            .find(|(id, resource)| *id == what || resource.kind.ends_with(&format!("::{what}")))
            .or_else(|| resources.iter().find(|(id, _)| id.contains(what)))
            .or_else(|| resources.first());
        let Some((id, resource)) = found else {
            return format!("arn:aws:cloudformation:{region}:{account}:output/{stack}/{what}");
        };
        let (name, _) = self.physical(stack, stack_id, id);
        match resource.kind.as_str() {
            "AWS::S3::Bucket" => format!("arn:aws:s3:::{name}"),
            "AWS::IAM::Role" => format!("arn:aws:iam::{account}:role/{name}"),
            "AWS::IAM::ManagedPolicy" => format!("arn:aws:iam::{account}:policy/{name}"),
            "AWS::IAM::OIDCProvider" => {
                let host = self.issuer.as_deref().unwrap_or(&name);
                format!("arn:aws:iam::{account}:oidc-provider/{host}")
            }
            kind => {
                let kind = kind.to_lowercase();
                let mut parts = kind.split("::").skip(1);
                let service = parts.next().unwrap_or("cloudformation");
                let noun = parts.next().unwrap_or("resource");
                format!("arn:aws:{service}:{region}:{account}:{noun}/{name}")
            }
        }
    }

    /// The physical name of a resource, and whether it was asked for: the one a parameter or the template
    /// gives it, or one made of the stack's, or an id where AWS gives ids.
    pub(super) fn physical(&self, stack: &str, stack_id: &str, id: &str) -> (String, bool) {
        let kind = self.kind(id);
        if let Some(prefix) = id_prefix(kind) {
            let digits = Random::of(0, &[stack_id, id]).hex(17);
            return (format!("{prefix}-{digits}"), false);
        }
        let noun = kind.rsplit("::").next().unwrap_or_default();
        let given = self
            .property(id, &format!("{noun}Name"))
            .or_else(|| self.property(id, "Name"))
            .or_else(|| self.given_name(&format!("{noun}Name")));
        match given {
            Some(name) => (name, true),
            // Names of buckets have no capitals, those that CloudFormation makes up neither.
            None if kind == "AWS::SecretsManager::Secret" => {
                let random = Random::of(0, &[stack_id, id]).suffix(12);
                (format!("{id}-{random}"), false)
            }
            None if kind == "AWS::S3::Bucket" => (format!("{stack}-{id}").to_lowercase(), false),
            None => (format!("{stack}-{id}"), false),
        }
    }

    /// The type of a resource.
    pub(crate) fn kind(&self, id: &str) -> &str {
        let resource = self.interface.resources.get(id);
        resource.map_or("", |resource| resource.kind.as_str())
    }

    /// A property of a resource, by its path with dots, as text: when it is plain, a parameter's, or made of
    /// such.
    pub(crate) fn property(&self, id: &str, name: &str) -> Option<String> {
        let mut value = &self.resolved.resources.get(id)?.properties;
        for part in name.split('.') {
            value = &value[part];
        }
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            _ => return None,
        };
        (!text.is_empty()).then_some(text)
    }

    /// Its parameters' values.
    /// A property of a resource as it comes out, by its path with dots; all of them without one.
    pub(crate) fn value(&self, id: &str, name: &str) -> Option<&Value> {
        let mut value = &self.resolved.resources.get(id)?.properties;
        for part in name.split('.').filter(|part| !part.is_empty()) {
            value = &value[part];
        }
        (!value.is_null()).then_some(value)
    }

    /// The resource of the same stack that a value means, when it plainly means one.
    pub(crate) fn refers<'a>(&self, value: &'a Value) -> Option<&'a str> {
        refers_to(value)
            .map(|(id, _)| id)
            .filter(|id| self.interface.resources.contains_key(*id))
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &String> {
        self.parameters.values()
    }

    /// What an output refers to, when the template says so plainly: a parameter, a resource or its ARN.
    fn referred(
        &self,
        output: &str,
        account: &str,
        region: &str,
        stack: &str,
        stack_id: &str,
    ) -> Option<String> {
        let value = self.written.outputs.get(output)?;
        let map = value.as_object().filter(|map| map.len() == 1)?;
        if let Some(parameter) = map.get("Ref").and_then(Value::as_str)
            && let Some(value) = self.parameters.get(parameter)
        {
            return Some(value.clone());
        }
        let (id, attribute) = refers_to(&self.resolved.outputs.get(output)?.value)?;
        let known = self.interface.resources.contains_key(id);
        let plain = attribute.is_none_or(|attribute| attribute.ends_with("Arn"));
        (known && plain).then(|| self.reference(stack, stack_id, region, account, id, attribute))
    }
}

/// Whether AWS gives resources of this type an id of its own, and how it begins.
fn id_prefix(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "AWS::EC2::VPC" => "vpc",
        "AWS::EC2::Subnet" => "subnet",
        "AWS::EC2::SecurityGroup" => "sg",
        "AWS::EC2::InternetGateway" => "igw",
        "AWS::EC2::NatGateway" => "nat",
        "AWS::EC2::RouteTable" => "rtb",
        "AWS::EC2::VPCEndpoint" => "vpce",
        "AWS::EC2::Volume" => "vol",
        _ => return None,
    })
}

/// The host and path of an identity provider's URL.
pub(super) fn host(url: &str) -> &str {
    url.trim_start_matches("https://").trim_end_matches('/')
}

impl Written {
    /// Reads a template, unless that was done a moment ago: the same few are looked at over and over.
    fn of(template: &str) -> Arc<Written> {
        thread_local! {
            static READ: RefCell<HashMap<String, Arc<Written>>> = RefCell::default();
        }
        const MOST: usize = 256;
        READ.with_borrow_mut(|read| {
            if let Some(written) = read.get(template) {
                return written.clone();
            }
            if read.len() >= MOST {
                read.clear();
            }
            let written = Arc::new(Written::read(template));
            read.insert(template.to_owned(), written.clone());
            written
        })
    }

    fn read(template: &str) -> Written {
        let Ok(root) = yaml::parse(&SourceFile::new("template", template)) else {
            return Written::default();
        };
        let entries = |name: &str| root.get(name).map(yaml::Node::entries).unwrap_or_default().iter();
        Written {
            resources: entries("Resources")
                .map(|entry| (entry.key.clone(), entry.node.value()))
                .collect(),
            outputs: entries("Outputs")
                .filter_map(|entry| Some((entry.key.clone(), entry.node.get("Value")?.value())))
                .collect(),
            template: Template::read(template),
        }
    }
}

/// Whether a part of a template takes the value of a parameter.
fn mentions(value: &Value, parameter: &str) -> bool {
    match value {
        Value::Object(map) => map.iter().any(|(key, value)| match value {
            Value::String(text) if key == "Ref" => text == parameter,
            value => mentions(value, parameter),
        }),
        Value::Array(items) => items.iter().any(|item| mentions(item, parameter)),
        Value::String(text) => text.contains(&format!("${{{parameter}}}")),
        _ => false,
    }
}
