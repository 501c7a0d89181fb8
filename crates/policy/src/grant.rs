//! Single permissions, and the statements they are put together to.

use std::collections::{BTreeMap, BTreeSet};

use landfall_model::question::Permission;

use crate::resources::is_looking;

/// One action on one thing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Grant {
    action: String,
    resource: String,
    conditions: BTreeSet<Condition>,
    /// What it is for, when that is not told by the action and what it is done on.
    purpose: Option<&'static str>,
}

/// When a statement applies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Condition {
    /// How the values are compared.
    pub operator: Operator,
    /// What is compared, such as `aws:ResourceTag/team`.
    pub key: String,
    /// Values of which one must fit.
    pub values: BTreeSet<String>,
}

/// How a condition compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operator {
    /// The text is the same.
    StringEquals,
    /// One of several texts is the same.
    AnyStringEquals,
}

impl Operator {
    /// In IAM's words.
    pub fn word(self) -> &'static str {
        match self {
            Operator::StringEquals => "StringEquals",
            Operator::AnyStringEquals => "ForAnyValue:StringEquals",
        }
    }
}

impl Condition {
    fn equals(key: &str, value: &str) -> Condition {
        Condition {
            operator: Operator::StringEquals,
            key: key.to_owned(),
            values: BTreeSet::from([value.to_owned()]),
        }
    }

    /// Only for calls that CloudFormation makes with the permissions of whoever asked it (source:
    /// CloudFormation User Guide, "Forward access sessions requests and permission evaluation").
    pub(crate) fn through_cloudformation() -> Condition {
        Condition {
            operator: Operator::AnyStringEquals,
            ..Condition::equals("aws:CalledVia", "cloudformation.amazonaws.com")
        }
    }

    /// Only for what carries a tag.
    pub(crate) fn tagged(key: &str, value: &str) -> Condition {
        Condition::equals(&format!("aws:ResourceTag/{key}"), value)
    }

    /// Only when a role goes to this service.
    pub(crate) fn passed_to(service: &str) -> Condition {
        Condition::equals(PASSED_TO, service)
    }

    /// Only for this service's own role.
    pub(crate) fn linked_to(service: &str) -> Condition {
        Condition::equals("iam:AWSServiceName", service)
    }
}

const PASSED_TO: &str = "iam:PassedToService";
const CREATE_LINKED: &str = "iam:CreateServiceLinkedRole";

impl Grant {
    pub(crate) fn new(action: &str, resource: impl Into<String>) -> Grant {
        Grant {
            action: action.to_owned(),
            resource: resource.into(),
            conditions: BTreeSet::new(),
            purpose: None,
        }
    }

    pub(crate) fn when(mut self, condition: Condition) -> Grant {
        self.conditions.insert(condition);
        self
    }

    /// For what Landfall itself does: the statement is named after it.
    pub(crate) fn purpose(mut self, purpose: &'static str) -> Grant {
        self.purpose = Some(purpose);
        self
    }

    pub(crate) fn permission(&self) -> Permission {
        Permission {
            action: self.action.clone(),
            resource: self.resource.clone(),
        }
    }

    /// The name of the statement it belongs to.
    fn topic(&self) -> String {
        if let Some(purpose) = self.purpose {
            return purpose.to_owned();
        }
        if self.action == CREATE_LINKED {
            return "LinkedRoles".to_owned();
        }
        if let Some(to) = self
            .conditions
            .iter()
            .find(|condition| condition.key == PASSED_TO)
        {
            let service = to.values.first().map_or("", String::as_str);
            return format!("PassRolesTo{}", camel(service.trim_end_matches(".amazonaws.com")));
        }
        let service = camel(self.action.split(':').next().unwrap_or_default());
        if self.resource == "*" {
            return if is_looking(&self.action) {
                "Look".to_owned()
            } else {
                format!("{service}Anywhere")
            };
        }
        let of_this_platform = self
            .conditions
            .iter()
            .any(|condition| condition.key.contains("ResourceTag"));
        if of_this_platform {
            return format!("{service}OfThisPlatform");
        }
        // Not by kind of resource: many actions are judged for resources of several kinds at once.
        service
    }
}

/// A statement of a policy; it allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its name.
    pub sid: String,
    /// What is allowed.
    pub actions: BTreeSet<String>,
    /// On what.
    pub resources: BTreeSet<String>,
    /// When.
    pub conditions: BTreeSet<Condition>,
}

/// Grants of one topic, under the same conditions.
struct Group {
    topic: String,
    conditions: BTreeSet<Condition>,
    grants: BTreeSet<Grant>,
}

impl Group {
    /// Whether it allows what a grant does, with what all of its grants come to together.
    fn covers(&self, grant: &Grant) -> bool {
        self.conditions.is_subset(&grant.conditions)
            && self.grants.iter().any(|own| own.action == grant.action)
            && self
                .grants
                .iter()
                .any(|own| matches(&own.resource, &grant.resource))
    }

    fn statement(&self) -> Statement {
        let all = |of: fn(&Grant) -> &String| self.grants.iter().map(|grant| of(grant).clone()).collect();
        Statement {
            sid: self.topic.clone(),
            actions: all(|grant| &grant.action),
            resources: all(|grant| &grant.resource),
            conditions: self.conditions.clone(),
        }
    }
}

/// Puts grants together to statements, without what another statement allows anyway.
pub(crate) fn statements(grants: Vec<Grant>) -> Vec<Statement> {
    let mut groups: BTreeMap<(String, BTreeSet<Condition>), BTreeSet<Grant>> = BTreeMap::new();
    for grant in grants {
        let mut topic = grant.topic();
        if grant.conditions.contains(&Condition::through_cloudformation()) {
            topic.push_str("ThroughCloudFormation");
        }
        // Each role of a service is told by its ARN already.
        let conditions = if grant.action == CREATE_LINKED {
            BTreeSet::new()
        } else {
            grant.conditions.clone()
        };
        groups.entry((topic, conditions)).or_default().insert(grant);
    }
    let mut groups: Vec<Group> = groups
        .into_iter()
        .map(|((topic, conditions), grants)| Group {
            topic,
            conditions,
            grants,
        })
        .collect();
    // The small ones first: rather one statement less than two that are shorter.
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.sort_by_key(|at| groups[*at].grants.len());
    for at in order {
        for grant in groups[at].grants.clone() {
            let others = groups.iter().enumerate().filter(|(other, _)| *other != at);
            if others.map(|(_, group)| group).any(|group| group.covers(&grant)) {
                groups[at].grants.remove(&grant);
            }
        }
    }
    let mut statements: Vec<Statement> = groups
        .iter()
        .filter(|group| !group.grants.is_empty())
        .map(|group| {
            let mut statement = group.statement();
            if group.topic == "LinkedRoles" {
                let all = group.grants.iter().flat_map(|grant| &grant.conditions);
                let mut whole = Condition::linked_to("");
                whole.values = all.flat_map(|condition| condition.values.clone()).collect();
                statement.conditions.insert(whole);
            }
            statement
        })
        .collect();
    number(&mut statements);
    statements
}

/// Gives statements of one topic numbers.
fn number(statements: &mut [Statement]) {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for statement in statements {
        let count = seen.entry(statement.sid.clone()).or_default();
        *count += 1;
        if *count > 1 {
            statement.sid = format!("{}{count}", statement.sid);
        }
    }
}

/// Whether a pattern with `*` and `?` fits everything that `text` does, which may be a pattern itself.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(b'?') if text[from] != b'*' => {
                at += 1;
                from += 1;
            }
            Some(byte) if *byte == text[from] => {
                at += 1;
                from += 1;
            }
            _ => match star {
                Some((begin, taken)) => {
                    at = begin + 1;
                    from = taken + 1;
                    star = Some((begin, taken + 1));
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// `log-group` as `LogGroup`: names of statements take letters and digits only.
fn camel(text: &str) -> String {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric());
    words
        .filter_map(|word| {
            let mut letters = word.chars();
            let first = letters.next()?.to_ascii_uppercase();
            Some(std::iter::once(first).chain(letters).collect::<String>())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_what_is_narrower() {
        for (pattern, text, expected) in [
            ("*", "arn:aws:s3:::a", true),
            ("arn:aws:s3:::*", "arn:aws:s3:::a*", true),
            ("arn:aws:s3:::a*", "arn:aws:s3:::*", false),
            ("a-??", "a-bc", true),
            ("a-?", "a-*", false),
            ("a*c", "abbc", true),
            ("a*c", "abb", false),
            ("abc", "abc", true),
            ("abc", "ab", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn what_another_statement_allows_anyway_is_left_out() {
        let own = |action: &str, resource: &str| Grant::new(action, resource);
        let statements = statements(vec![
            own("iam:GetRole", "arn:aws:iam::1:role/a"),
            own("iam:CreateRole", "arn:aws:iam::1:role/a"),
            own("iam:GetRole", "arn:aws:iam::1:role/a").purpose("LookAtRoles"),
            own("iam:GetRole", "arn:aws:iam::1:role/b").when(Condition::through_cloudformation()),
        ]);
        let shown: Vec<String> = statements
            .iter()
            .map(|statement| {
                format!(
                    "{} {:?} {:?}",
                    statement.sid, statement.actions, statement.resources
                )
            })
            .collect();
        insta::assert_snapshot!(shown.join("\n"), @r#"
        Iam {"iam:CreateRole", "iam:GetRole"} {"arn:aws:iam::1:role/a"}
        IamThroughCloudFormation {"iam:GetRole"} {"arn:aws:iam::1:role/b"}
        "#);
    }
}
