//! What CloudFormation does to make, read, change and remove a resource of each type.
//!
//! `actions.json` is taken from the `handlers` of the resource provider schemas that AWS publishes, and its
//! forms of ARNs from the service authorization reference. What a handler lists for properties that a
//! template may leave out stands under `if`; what no template of ours can bring it to do stands in `leftOut`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

/// What CloudFormation does with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// It makes it.
    Create,
    /// It looks at it.
    Read,
    /// It changes it.
    Update,
    /// It removes it.
    Delete,
}

impl Verb {
    pub(crate) const ALL: [Verb; 4] = [Verb::Create, Verb::Read, Verb::Update, Verb::Delete];
}

/// What is known of a type.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TypeFacts {
    /// The forms of its ARN.
    pub(crate) arn: Vec<String>,
    /// The property that names it. Without one, its id is made up when it is made.
    pub(crate) name: Option<String>,
    /// The name CloudFormation makes up when the template gives none; `{id}` is the logical id.
    pub(crate) unnamed: Option<String>,
    /// Whether names that CloudFormation makes up are in lower case.
    #[serde(default)]
    pub(crate) lower: bool,
    /// What is done on what.
    pub(crate) grants: Vec<TypeGrant>,
    /// Roles it is given, as properties, and the service that gets them.
    #[serde(default)]
    pub(crate) pass: BTreeMap<String, String>,
    /// Services whose own role in the account is made along with it.
    #[serde(default)]
    linked: Vec<String>,
    /// The property without which that role is not made.
    linked_if: Option<String>,
    /// The property that names the service.
    linked_from: Option<String>,
    /// What a handler lists and no template of ours needs.
    #[serde(default, rename = "leftOut")]
    _left_out: Vec<String>,
}

/// Actions on one kind of thing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TypeGrant {
    /// On what; on the resource itself when nothing is said.
    #[serde(default)]
    pub(crate) on: Vec<String>,
    /// Only when one of these properties is given.
    #[serde(default, rename = "if")]
    pub(crate) given: Vec<String>,
    /// Only on what carries the platform's tag.
    #[serde(default)]
    pub(crate) mine: bool,
    #[serde(default)]
    create: Vec<String>,
    #[serde(default)]
    read: Vec<String>,
    #[serde(default)]
    update: Vec<String>,
    #[serde(default)]
    delete: Vec<String>,
}

impl TypeGrant {
    pub(crate) fn actions(&self, verb: Verb) -> &[String] {
        match verb {
            Verb::Create => &self.create,
            Verb::Read => &self.read,
            Verb::Update => &self.update,
            Verb::Delete => &self.delete,
        }
    }

    /// Whether the properties of a resource bring it about.
    pub(crate) fn applies(&self, properties: &Value) -> bool {
        self.given.is_empty() || self.given.iter().any(|path| !at(properties, path).is_empty())
    }
}

impl TypeFacts {
    /// The IAM actions of one verb for a resource with these properties. Roles that are passed on or made
    /// along with it are not among them.
    pub fn actions(&self, verb: Verb, properties: &Value) -> impl Iterator<Item = &str> {
        let apply = self.grants.iter().filter(|grant| grant.applies(properties));
        apply.flat_map(move |grant| grant.actions(verb).iter().map(String::as_str))
    }

    /// The roles it is given: values of its properties, each with the service that gets it.
    pub fn passed<'a>(&'a self, properties: &'a Value) -> impl Iterator<Item = (&'a Value, &'a str)> {
        self.pass.iter().flat_map(move |(path, service)| {
            let roles = at(properties, path).into_iter();
            roles.map(move |role| (role, service.as_str()))
        })
    }

    /// The services whose own role is made along with it.
    pub fn linked<'a>(&'a self, properties: &'a Value) -> impl Iterator<Item = &'a str> {
        let wanted = self
            .linked_if
            .as_ref()
            .is_none_or(|path| !at(properties, path).is_empty());
        let named = self.linked_from.iter().flat_map(|path| at(properties, path));
        self.linked
            .iter()
            .filter(move |_| wanted)
            .map(String::as_str)
            .chain(named.filter_map(Value::as_str))
    }
}

/// Every value a path with dots leads to, through lists.
pub(crate) fn at<'a>(value: &'a Value, path: &str) -> Vec<&'a Value> {
    let mut found = vec![value];
    for part in path.split('.') {
        found = found
            .into_iter()
            .flat_map(items)
            .filter_map(|value| value.get(part))
            .collect();
    }
    found
        .into_iter()
        .flat_map(items)
        .filter(|value| !value.is_null())
        .collect()
}

fn items(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        one => vec![one],
    }
}

/// What is known of a type, such as `AWS::S3::Bucket`.
pub fn type_facts(kind: &str) -> Option<&'static TypeFacts> {
    let custom = kind.starts_with("Custom::");
    TABLE.get(if custom {
        "AWS::CloudFormation::CustomResource"
    } else {
        kind
    })
}

/// The types that are known.
pub fn types() -> impl Iterator<Item = &'static str> {
    TABLE.keys().map(String::as_str)
}

static TABLE: LazyLock<BTreeMap<String, TypeFacts>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("actions.json")).expect("the table is checked by its tests")
});
