//! Fills a `request` step in: one thing for each item of its lists.

use std::collections::{BTreeSet, HashSet};

use landfall_model::definition::{RequestAuth, RequestResource, RequestSpec, duration};
use landfall_model::request::{is_secret_reference, unmarked};
use landfall_model::wanted::WantedStep;
use landfall_model::work::{Known, RequestWork, ResourceWork};
use serde_json::{Value, json};

use super::{ComponentScope, EvaluateError, Evaluator, StepError, follow, known_text, typed, waits_for};
use crate::expression::{self, Lookup, Scope};

/// What expressions in a thing made for each item of a list see.
struct EachScope<'a> {
    component: ComponentScope<'a>,
    item: &'a Value,
}

impl Scope for EachScope<'_> {
    fn lookup(&self, path: &[String]) -> Result<Lookup, EvaluateError> {
        match path {
            [root, rest @ ..] if root == "each" => Ok(follow(self.item.clone(), rest)),
            _ => self.component.lookup(path),
        }
    }
}

impl Evaluator<'_> {
    pub(super) fn request(&self, wanted: &WantedStep) -> Result<RequestWork, StepError> {
        let component = wanted.id.component();
        let mut spec = wanted.spec.clone();
        let resources = spec.as_object_mut().and_then(|spec| spec.remove("resources"));
        let mut spec = self.in_component(component, &spec)?;
        let mut take = |key: &str| {
            let value = spec.as_object_mut().and_then(|spec| spec.remove(key));
            value.unwrap_or_default()
        };
        let url = known_text(take("url"), "`url`")?;
        let auth = auth(take("auth"))?;
        if let Some(spec) = spec.as_object_mut() {
            spec.insert("url".to_owned(), json!(""));
            spec.insert("resources".to_owned(), json!([]));
        }
        let RequestSpec { within, .. } = typed(spec)?;
        let within = duration(&within)
            .ok_or_else(|| StepError::new(format!("`within` is `{within}`, which is no time")))?;
        let mut filled = Vec::new();
        for written in resources.as_ref().and_then(Value::as_array).into_iter().flatten() {
            self.resource(component, written, &mut filled)?;
        }
        sound(&filled)?;
        Ok(RequestWork {
            url,
            auth,
            resources: filled,
            within_s: within.as_secs(),
        })
    }

    fn resource(
        &self,
        component: &str,
        written: &Value,
        filled: &mut Vec<ResourceWork>,
    ) -> Result<(), StepError> {
        let name = written["name"].as_str().unwrap_or_default();
        let Some(each) = written.get("each") else {
            filled.push(one(name, self.in_component(component, written)?)?);
            return Ok(());
        };
        let items = self.in_component(component, each)?;
        let after = waits_for(&items);
        if !after.is_empty() {
            filled.push(ResourceWork {
                name: name.to_owned(),
                spec: Known::After(after),
            });
            return Ok(());
        }
        let Value::Array(items) = items else {
            return Err(StepError::new(format!("`each` of `{name}` is not a list")));
        };
        let mut written = written.clone();
        if let Some(written) = written.as_object_mut() {
            written.remove("each");
        }
        for item in &items {
            let scope = EachScope {
                component: ComponentScope {
                    evaluator: self,
                    component,
                },
                item,
            };
            filled.push(one(
                name,
                expression::evaluate_tree(self.compiler, &written, &scope)?,
            )?);
        }
        Ok(())
    }
}

fn one(written: &str, value: Value) -> Result<ResourceWork, StepError> {
    let after = waits_for(&value);
    if !after.is_empty() {
        let name = value["name"].as_str().unwrap_or(written);
        return Ok(ResourceWork {
            name: name.to_owned(),
            spec: Known::After(after),
        });
    }
    let resource: RequestResource = typed(value)?;
    let found = resource.list.is_some();
    if resource.path.is_empty() && !found {
        return Err(StepError {
            reason: format!("`{}` has neither `path` nor `list`", resource.name),
            help: Some("`path` is where it is read; `list` with `match` finds it among others".to_owned()),
        });
    }
    if found && resource.r#match.is_empty() {
        return Err(StepError {
            reason: format!(
                "`{}` is searched for in a list, but nothing says what fits it",
                resource.name
            ),
            help: Some("add `match`, such as `match: { clientId: portal }`".to_owned()),
        });
    }
    Ok(ResourceWork {
        name: resource.name.clone(),
        spec: Known::Value(Box::new(resource)),
    })
}

/// Every thing has a name of its own, and it can be told afterwards whose it is.
fn sound(filled: &[ResourceWork]) -> Result<(), StepError> {
    let mut names = HashSet::new();
    if let Some(twice) = filled.iter().find(|resource| !names.insert(&resource.name)) {
        return Err(StepError {
            reason: format!("two things of one step are called `{}`", twice.name),
            help: Some("with `each`, let `name` say which item it is: `role-${each}`".to_owned()),
        });
    }
    let known: Vec<&RequestResource> = filled
        .iter()
        .filter_map(|resource| resource.spec.value().map(AsRef::as_ref))
        .collect();
    // What is not known yet may hold the mark; it is judged again when it is.
    if known.len() < filled.len() {
        return Ok(());
    }
    match unmarked(known.iter().copied()).next() {
        None => Ok(()),
        Some(resource) => Err(StepError {
            reason: format!("nobody could tell later that `{}` was made by this platform", resource.name),
            help: Some(
                "give it `mark`, a field that holds the platform's mark; put it below the path of something that has \
                 one; or say `keep: true`, and it stays when the step is removed"
                    .to_owned(),
            ),
        }),
    }
}

fn auth(value: Value) -> Result<Known<Option<RequestAuth>>, StepError> {
    let after: BTreeSet<_> = waits_for(&value);
    if !after.is_empty() {
        return Ok(Known::After(after));
    }
    if value.is_null() {
        return Ok(Known::Value(None));
    }
    let auth: RequestAuth = typed(value)?;
    let RequestAuth {
        token_url,
        client_id,
        client_secret,
        username,
        password,
        bearer,
        scope: _,
    } = &auth;
    for (field, secret) in [
        ("clientSecret", client_secret),
        ("password", password),
        ("bearer", bearer),
    ] {
        if secret.as_ref().is_some_and(|secret| !is_secret_reference(secret)) {
            return Err(StepError {
                reason: format!("`{field}` takes a secret, and plans and journals hold this value"),
                help: Some(
                    "put the secret into AWS Secrets Manager and give a dynamic reference: \
                     `{{resolve:secretsmanager:ARN:SecretString:password}}`, or the `reference` of a secret step"
                        .to_owned(),
                ),
            });
        }
    }
    let complete = match (token_url, bearer) {
        (Some(_), None) => {
            client_id.is_some()
                && if username.is_some() {
                    password.is_some()
                } else {
                    client_secret.is_some()
                }
        }
        (None, None) => username.is_some() && password.is_some(),
        (None, Some(_)) => username.is_none() && password.is_none(),
        (Some(_), Some(_)) => false,
    };
    if !complete {
        return Err(StepError {
            reason: "`auth` does not say one way to sign in".to_owned(),
            help: Some(
                "give `tokenUrl` and `clientId` with `username` and `password` or with `clientSecret`; or `username` and \
                 `password` alone; or `bearer` alone"
                    .to_owned(),
            ),
        });
    }
    Ok(Known::Value(Some(auth)))
}
