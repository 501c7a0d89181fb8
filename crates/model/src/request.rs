//! Requests: things that a web API keeps, such as a realm of an identity provider.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Things that a web API keeps, brought to what is written here and removed again. Secrets stand here as dynamic
/// references to AWS Secrets Manager; they are read when a request is sent, and kept nowhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestSpec {
    /// The address that all paths are below.
    pub url: String,
    /// How to sign in; left out for an API that is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<RequestAuth>,
    /// The things, in the order in which they are made. They are removed in the opposite order.
    #[schemars(length(min = 1))]
    pub resources: Vec<RequestResource>,
    /// How long to keep trying while nothing answers, or the answer is that it will later; such as `10m`.
    #[serde(default = "default_within")]
    #[schemars(regex(pattern = "^[0-9]+(s|m|h)$"))]
    pub within: String,
}

fn default_within() -> String {
    "10m".to_owned()
}

/// How to sign in to a web API. With `tokenUrl` a token is fetched there first, by password when there is a `username`
/// and by the client's own secret otherwise; with only `username` and `password` they are sent along each time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestAuth {
    /// Where an OAuth 2.0 token is given out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_url: Option<String>,
    /// The client that asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The client's secret, as a dynamic reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
    /// The user, or a dynamic reference to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The user's password, as a dynamic reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// A token that does not change, as a dynamic reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer: Option<String>,
    /// The scope to ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

/// One thing. In paths and bodies `{id}` is its id as `list` found it, and `{NAME.FIELD}` a field of a thing above it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestResource {
    /// What it is called; unique in the step. With `each` it says `${each}`, so that all have different names.
    pub name: String,
    /// A list: there is one such thing for each item, which `${each}` stands for everywhere in it.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub each: Value,
    /// Where it is: read with GET, which answers 404 when there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Where to search for it, when its path has an id that the API chose: the address of a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<String>,
    /// What fits it alone in that list.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub r#match: serde_json::Map<String, Value>,
    /// How it is made; by default with PUT at its path. A body here is sent then only, in addition to `body`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<RequestCall>,
    /// How it is changed; by default with PUT at its path: what stands is sent, with `body` laid over it. With any other
    /// method only `body` is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<RequestCall>,
    /// How it is removed; by default with DELETE at its path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete: Option<RequestCall>,
    /// What it must be. Fields that are not named here are not looked at. Secrets are sent, never compared.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub body: Value,
    /// How lists in `body` are compared.
    #[serde(default)]
    pub lists: RequestLists,
    /// A field where this platform writes its mark, such as `attributes.landfall`: without its own mark there it
    /// changes and removes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
    /// Whether it stays when the step is removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
    /// What the step gives: a name, and the field it is read from, such as `id`. Never a secret.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub outputs: IndexMap<String, String>,
}

/// How one request differs from what is usual.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestCall {
    /// The method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^(GET|POST|PUT|PATCH|DELETE)$"))]
    pub method: Option<String>,
    /// The path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What is sent.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub body: Value,
}

/// How lists are compared. Their order never counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RequestLists {
    /// They have just these items.
    #[default]
    Same,
    /// They have these items among others.
    Contain,
}

impl RequestResource {
    /// Whether its path is below that of `other`, so that it goes with it.
    pub fn is_inside(&self, other: &RequestResource) -> bool {
        let below = self.path.strip_prefix(other.path.as_str());
        !other.path.is_empty() && below.is_some_and(|rest| rest.starts_with(['/', '?']))
    }
}

/// Things of which nobody could tell afterwards whose they are: they have no mark, do not lie inside of something that
/// has one, and are not kept.
pub fn unmarked<'a>(
    resources: impl IntoIterator<Item = &'a RequestResource> + Clone,
) -> impl Iterator<Item = &'a RequestResource> {
    let marked: Vec<&RequestResource> = resources
        .clone()
        .into_iter()
        .filter(|resource| resource.mark.is_some())
        .collect();
    resources.into_iter().filter(move |resource| {
        resource.mark.is_none() && !resource.keep && !marked.iter().any(|marked| resource.is_inside(marked))
    })
}

/// Whether a text is one dynamic reference to AWS Secrets Manager, which may stand where a secret goes.
pub fn is_secret_reference(text: &str) -> bool {
    text.starts_with("{{resolve:secretsmanager:") && text.ends_with("}}")
}
