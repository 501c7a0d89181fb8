//! Policies as IAM would judge them, as far as ours say anything.
//!
//! Identity policies only. Whatever is not understood (`NotAction`, an operator nobody here uses) is refused
//! when it is read: a judge that skips what it does not know would allow or refuse the wrong things quietly.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// What whoever runs things is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    statements: Vec<Statement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Statement {
    allows: bool,
    /// In lower case: IAM does not tell capitals apart in them.
    actions: Vec<String>,
    resources: Vec<String>,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    operator: Operator,
    /// Whether one of several values of a request is enough; otherwise it has just one.
    any: bool,
    key: String,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    StringEquals,
    StringLike,
    ArnLike,
    Bool,
    Null,
}

/// A part of a policy that this judge does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a policy with {what} cannot be judged here")]
pub struct Unsupported {
    what: String,
}

/// What comes with a call, by condition key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Context(BTreeMap<String, Vec<String>>);

/// How a call is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allowed,
    /// No statement allows it.
    NotAllowed,
    /// A statement denies it.
    Denied,
}

impl Context {
    pub(crate) fn with(mut self, key: &str, value: &str) -> Context {
        let values = self.0.entry(key.to_lowercase()).or_default();
        values.push(value.to_owned());
        self
    }

    /// A call that CloudFormation makes for whoever asked it.
    pub(crate) fn through_cloudformation() -> Context {
        Context::default()
            .with("aws:CalledVia", "cloudformation.amazonaws.com")
            .with("aws:ViaAWSService", "true")
    }

    /// About something that carries these tags.
    pub(crate) fn tagged(self, tags: &BTreeMap<String, String>) -> Context {
        tags.iter().fold(self, |context, (key, value)| {
            context.with(&format!("aws:ResourceTag/{key}"), value)
        })
    }
}

impl Allowed {
    /// Reads policy documents.
    ///
    /// # Errors
    /// One of them says something that is not judged here.
    pub fn read<'a>(documents: impl IntoIterator<Item = &'a Value>) -> Result<Allowed, Unsupported> {
        let statements = documents
            .into_iter()
            .flat_map(|document| one_or_more(&document["Statement"]))
            .map(Statement::read)
            .collect::<Result<_, _>>()?;
        Ok(Allowed { statements })
    }

    pub(crate) fn judge(&self, action: &str, resource: &str, context: &Context) -> Verdict {
        let mut verdict = Verdict::NotAllowed;
        let action = &action.to_lowercase();
        let fitting = self
            .statements
            .iter()
            .filter(|one| one.fits(action, resource, context));
        for statement in fitting {
            if !statement.allows {
                return Verdict::Denied;
            }
            verdict = Verdict::Allowed;
        }
        verdict
    }

    /// How a call will be judged of which nothing more is known yet. What conditions ask for is left open, and so
    /// forbids nothing, as IAM's own simulator has it.
    pub(crate) fn foresee(&self, action: &str, resource: &str) -> Verdict {
        let action = action.to_lowercase();
        let about = |one: &&Statement| one.is_about(&action, resource);
        let mut verdict = Verdict::NotAllowed;
        for statement in self.statements.iter().filter(about) {
            if statement.allows {
                verdict = Verdict::Allowed;
            } else if statement.conditions.is_empty() {
                return Verdict::Denied;
            }
        }
        verdict
    }
}

impl Statement {
    fn read(body: &Value) -> Result<Statement, Unsupported> {
        let empty = Map::new();
        let fields = body.as_object().unwrap_or(&empty);
        if let Some(unknown) = fields
            .keys()
            .find(|key| !["Sid", "Effect", "Action", "Resource", "Condition"].contains(&key.as_str()))
        {
            return Err(unsupported(unknown));
        }
        let mut conditions = Vec::new();
        for (operator, keys) in body["Condition"].as_object().unwrap_or(&empty) {
            for (key, values) in keys.as_object().unwrap_or(&empty) {
                conditions.push(Condition::read(operator, key, values)?);
            }
        }
        Ok(Statement {
            allows: match body["Effect"].as_str() {
                Some("Allow") => true,
                Some("Deny") => false,
                _ => return Err(unsupported("no Effect")),
            },
            actions: texts(&body["Action"])
                .iter()
                .map(|action| action.to_lowercase())
                .collect(),
            resources: texts(&body["Resource"]),
            conditions,
        })
    }

    /// Whether it says anything of such a call, whatever its conditions; the action is in lower case.
    fn is_about(&self, action: &str, resource: &str) -> bool {
        self.actions.iter().any(|pattern| like(pattern, action))
            && self.resources.iter().any(|pattern| like(pattern, resource))
    }

    fn fits(&self, action: &str, resource: &str, context: &Context) -> bool {
        self.is_about(action, resource) && self.conditions.iter().all(|condition| condition.holds(context))
    }
}

impl Condition {
    fn read(operator: &str, key: &str, values: &Value) -> Result<Condition, Unsupported> {
        let (any, word) = match operator.strip_prefix("ForAnyValue:") {
            Some(word) => (true, word),
            None => (false, operator),
        };
        let operator = match word {
            "StringEquals" => Operator::StringEquals,
            "StringLike" => Operator::StringLike,
            "ArnLike" | "ArnEquals" => Operator::ArnLike,
            "Bool" => Operator::Bool,
            "Null" => Operator::Null,
            _ => return Err(unsupported(operator)),
        };
        Ok(Condition {
            operator,
            any,
            key: key.to_lowercase(),
            values: texts(values),
        })
    }

    fn holds(&self, context: &Context) -> bool {
        let given = context.0.get(&self.key);
        if self.operator == Operator::Null {
            let wanted = self.values.iter().any(|value| value == "true");
            return given.is_none() == wanted;
        }
        let Some(given) = given else { return false };
        // A key with several values is compared only by operators for sets.
        if !self.any && given.len() != 1 {
            return false;
        }
        let fits = |value: &String| {
            self.values.iter().any(|wanted| match self.operator {
                Operator::StringEquals => wanted == value,
                Operator::Bool => wanted.eq_ignore_ascii_case(value),
                _ => like(wanted, value),
            })
        };
        given.iter().any(fits)
    }
}

fn unsupported(what: &str) -> Unsupported {
    Unsupported {
        what: format!("`{what}`"),
    }
}

fn one_or_more(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Null => Vec::new(),
        one => vec![one],
    }
}

fn texts(value: &Value) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    one_or_more(value).into_iter().map(text).collect()
}

/// Whether a pattern with `*` and `?` fits a text.
fn like(pattern: &str, text: &str) -> bool {
    let Some(first) = pattern.chars().next() else {
        return text.is_empty();
    };
    let rest = &pattern[first.len_utf8()..];
    match first {
        '*' => {
            // All that a star may take, the least first.
            let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            rest.is_empty() || ends.into_iter().any(|end| like(rest, &text[end..]))
        }
        _ => match text.chars().next() {
            Some(letter) if first == '?' || first == letter => like(rest, &text[letter.len_utf8()..]),
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn verdict(statements: &Value, action: &str, resource: &str, context: &Context) -> Verdict {
        Allowed::read([&json!({ "Statement": statements })])
            .unwrap()
            .judge(action, resource, context)
    }

    #[test]
    fn a_call_needs_an_action_a_resource_and_every_condition() {
        let statements = json!([{
            "Effect": "Allow", "Action": ["s3:Get*", "S3:putobject"], "Resource": "arn:aws:s3:::a-?/*",
            "Condition": {
                "ForAnyValue:StringEquals": { "aws:CalledVia": ["x", "cloudformation.amazonaws.com"] },
                "StringLike": { "aws:ResourceTag/team": "plat*" },
            },
        }]);
        let tags = BTreeMap::from([("team".to_owned(), "platform".to_owned())]);
        let through = Context::through_cloudformation().tagged(&tags);
        let of = |action, resource, context: &Context| verdict(&statements, action, resource, context);
        assert_eq!(
            of("s3:GetObject", "arn:aws:s3:::a-1/k/l", &through),
            Verdict::Allowed
        );
        assert_eq!(
            of("s3:PutObject", "arn:aws:s3:::a-1/k", &through),
            Verdict::Allowed
        );
        assert_eq!(
            of("s3:DeleteObject", "arn:aws:s3:::a-1/k", &through),
            Verdict::NotAllowed
        );
        assert_eq!(
            of("s3:GetObject", "arn:aws:s3:::a-12/k", &through),
            Verdict::NotAllowed
        );
        assert_eq!(
            of(
                "s3:GetObject",
                "arn:aws:s3:::a-1/k",
                &Context::default().tagged(&tags)
            ),
            Verdict::NotAllowed
        );
        assert_eq!(
            of(
                "s3:GetObject",
                "arn:aws:s3:::a-1/k",
                &Context::through_cloudformation()
            ),
            Verdict::NotAllowed
        );
    }

    #[test]
    fn a_denial_is_stronger_than_any_allowance() {
        let statements = json!([
            { "Effect": "Allow", "Action": "*", "Resource": "*" },
            { "Effect": "Deny", "Action": "iam:*", "Resource": "*", "Condition": { "Null": { "iam:PassedToService": "true" } } },
            { "Effect": "Deny", "Action": "ec2:*", "Resource": "*", "Condition": { "Bool": { "aws:ViaAWSService": "true" } } },
        ]);
        let plain = Context::default();
        assert_eq!(verdict(&statements, "iam:GetRole", "*", &plain), Verdict::Denied);
        let passed = plain.clone().with("iam:PassedToService", "eks.amazonaws.com");
        assert_eq!(
            verdict(&statements, "iam:PassRole", "*", &passed),
            Verdict::Allowed
        );
        assert_eq!(
            verdict(&statements, "ec2:RunInstances", "*", &plain),
            Verdict::Allowed
        );
        let through = Context::through_cloudformation();
        assert_eq!(
            verdict(&statements, "ec2:RunInstances", "*", &through),
            Verdict::Denied
        );
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        let read = |statement: Value| Allowed::read([&json!({ "Statement": [statement] })]);
        for statement in [
            json!({ "Effect": "Allow", "NotAction": "iam:*", "Resource": "*" }),
            json!({ "Effect": "Allow", "Action": "*", "NotResource": "*" }),
            json!({ "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": { "IpAddress": { "aws:SourceIp": "10.0.0.0/8" } } }),
            json!({ "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": { "StringEqualsIfExists": { "a": "b" } } }),
        ] {
            assert!(read(statement.clone()).is_err(), "{statement}");
        }
        let error = read(json!({ "Effect": "Allow", "NotAction": "iam:*", "Resource": "*" })).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a policy with `NotAction` cannot be judged here"
        );
    }
}
