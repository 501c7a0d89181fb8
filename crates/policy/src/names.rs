//! ARNs of what a template will make, as far as the template tells.
//!
//! A form is an ARN with `${Property}` for what the resource's properties tell, `${Property|default}` for what
//! they may leave out. `@Property form` is the ARN of what a property refers to, with `${}` for its name.

use landfall_cloudformation::resolve::{Place, Resolved, Resource, partition, pattern, refers_to, resolve};
use landfall_model::work::{Step, Work};
use serde_json::Value;

use crate::facts::{TypeFacts, at, type_facts};

/// One template of the platform, filled in.
pub(crate) struct Made<'a> {
    pub(crate) place: Place<'a>,
    pub(crate) resolved: Resolved,
}

/// All templates of the platform: what one step makes, another may refer to.
pub(crate) struct Names<'a> {
    pub(crate) made: Vec<Made<'a>>,
}

impl<'a> Names<'a> {
    /// Every stack's template, filled in.
    pub(crate) fn of(steps: &'a [Step]) -> Names<'a> {
        let made = steps.iter().filter_map(|step| {
            let Work::Stack(work) = &step.work else {
                return None;
            };
            let place = Place::of(step, work);
            let resolved = resolve(&work.template, &work.parameters, &place);
            Some(Made { place, resolved })
        });
        Names { made: made.collect() }
    }
}

impl Made<'_> {
    /// What a form comes to for a resource of this template.
    pub(crate) fn arns(&self, form: &str, id: &str, resource: &Resource, names: &Names<'_>) -> Vec<String> {
        match form.strip_prefix('@').and_then(|form| form.split_once(' ')) {
            Some((path, form)) => {
                let referred = at(&resource.properties, path).into_iter();
                referred
                    .flat_map(|value| self.referred(value, &self.placed(form), names))
                    .collect()
            }
            None => vec![self.filled(&self.placed(form), id, resource, names)],
        }
    }

    /// A form with the place filled in.
    fn placed(&self, form: &str) -> String {
        form.replace("${Partition}", self.place.partition)
            .replace("${Region}", self.place.region)
            .replace("${Account}", self.place.account)
    }

    /// A form with a resource's properties filled in; `*` for what they do not tell.
    fn filled(&self, form: &str, id: &str, resource: &Resource, names: &Names<'_>) -> String {
        let mut text = String::new();
        let mut rest = form;
        while let Some((before, after)) = rest.split_once("${") {
            text.push_str(before);
            let (hole, after) = after.split_once('}').expect("a form's holes are closed");
            rest = after;
            let (hole, shape) = hole.split_once('#').unwrap_or((hole, ""));
            let (path, default) = hole.split_once('|').unwrap_or((hole, "*"));
            let value = match at(&resource.properties, path).first() {
                Some(value) => match self.named(value) {
                    unknown if unknown == "*" && path == "ClusterName" => names.cluster(),
                    name => name,
                },
                None => match type_facts(&resource.kind) {
                    Some(facts) if facts.name.as_deref() == Some(path) => self.made_up(facts, id),
                    _ => default.to_owned(),
                },
            };
            text.push_str(match shape {
                "host" => value.trim_start_matches("https://").trim_end_matches('/'),
                "slash" => value.trim_start_matches('/'),
                _ => &value,
            });
        }
        text.push_str(rest);
        text
    }

    /// The name CloudFormation will make up.
    fn made_up(&self, facts: &TypeFacts, id: &str) -> String {
        let name = match &facts.unnamed {
            Some(form) => form.replace("{id}", id),
            // Long names are cut, the stack's name first.
            None if self.place.stack.len() + id.len() > MADE_UP_MOST => {
                format!("{}*", cut(self.place.stack, MADE_UP_LEAST))
            }
            None => format!("{}-{id}*", self.place.stack),
        };
        if facts.lower { name.to_lowercase() } else { name }
    }

    /// The name of what a value is, or refers to; `*` for what is unknown of it.
    fn named(&self, value: &Value) -> String {
        if let Some((id, _)) = refers_to(value) {
            return self.name_of(id).unwrap_or_else(|| "*".to_owned());
        }
        match (value, pattern(value)) {
            (Value::Number(_) | Value::Bool(_), _) => value.to_string(),
            (_, Some(text)) => match text.strip_prefix("arn:") {
                Some(arn) => arn.rsplit([':', '/']).next().unwrap_or("*").to_owned(),
                None => text.to_owned(),
            },
            _ => "*".to_owned(),
        }
    }

    /// The name of a resource of this template, when it has one that is not an id.
    fn name_of(&self, id: &str) -> Option<String> {
        let resource = self.resolved.resources.get(id)?;
        let facts = type_facts(&resource.kind)?;
        let value = at(&resource.properties, facts.name.as_deref()?);
        Some(match value.first() {
            Some(value) => self.named(value),
            None => self.made_up(facts, id),
        })
    }

    /// The ARNs of what a value refers to, by the form of such ARNs.
    fn referred(&self, value: &Value, form: &str, names: &Names<'_>) -> Vec<String> {
        let hole = |name: &str| form.replace("${}", name);
        if let Some((id, _)) = refers_to(value)
            && let Some(resource) = self.resolved.resources.get(id)
        {
            let own = type_facts(&resource.kind).map_or(&[] as &[String], |facts| &facts.arn);
            // With a path in it, the ARN says more than the name.
            if let Some(own) = own.iter().find(|own| own.contains("${Path|")) {
                return self.arns(own, id, resource, names);
            }
            return vec![hole(&self.name_of(id).unwrap_or_else(|| "*".to_owned()))];
        }
        match pattern(value) {
            Some(arn) if arn.starts_with("arn:") || arn.starts_with("*:") => {
                let service = |arn: &str| arn.split(':').nth(2).unwrap_or_default().to_owned();
                let after = form.split_once("${}").map_or("", |(_, after)| after);
                // A property may take ARNs of several services; this form is for one of them.
                let same = service(arn) == service(form) || service(arn) == "*";
                same.then(|| format!("{arn}{after}")).into_iter().collect()
            }
            // An alias does not tell the key.
            Some(name) if name.starts_with("alias/") => vec![hole("*")],
            // The address of a queue ends with its name.
            Some(name) if name.contains("://") => vec![hole(name.rsplit('/').next().unwrap_or(name))],
            Some(name) => vec![hole(name)],
            None if refers_to(value).is_some() => vec![hole("*")],
            None => names.of_the_platform(form).unwrap_or_else(|| vec![hole("*")]),
        }
    }
}

/// The longest stack name and logical id together of which nothing is cut: a role's name has 64 characters,
/// 12 of them are chance and two are hyphens. The shortest part of a stack's name that is left after cutting.
/// Other names may be longer; then this only allows a little more than is needed.
const MADE_UP_MOST: usize = 48;
const MADE_UP_LEAST: usize = 20;

fn cut(text: &str, most: usize) -> &str {
    text.char_indices()
        .nth(most)
        .map_or(text, |(end, _)| &text[..end])
}

impl Names<'_> {
    /// What the platform makes of this form, or anything of the form.
    pub(crate) fn or_any(&self, form: &str, step: &Step) -> Vec<String> {
        let region = &step.facts.region;
        let form = form
            .replace("${Partition}", partition(region))
            .replace("${Region}", region)
            .replace("${Account}", &step.facts.account);
        self.of_the_platform(&form)
            .unwrap_or_else(|| vec![form.replace("${}", "*")])
    }

    /// The name of the platform's cluster, when it makes just one.
    fn cluster(&self) -> String {
        let clusters = self.made.iter().flat_map(|made| {
            let all = made.resolved.resources.iter();
            let clusters =
                all.filter(|(_, one)| one.kind == "AWS::EKS::Cluster" && one.exists != Some(false));
            clusters.filter_map(|(id, _)| made.name_of(id))
        });
        let mut names: Vec<String> = clusters.collect();
        match names.len() {
            1 => names.remove(0),
            _ => "*".to_owned(),
        }
    }

    /// Whether the platform makes anything of this type.
    pub(crate) fn make(&self, kind: &str) -> bool {
        let resources = self.made.iter().flat_map(|made| made.resolved.resources.values());
        resources
            .filter(|resource| resource.exists != Some(false))
            .any(|resource| resource.kind == kind)
    }

    /// What the platform itself makes of this form. What is unknown of a value comes from another of its
    /// steps. None when it makes nothing of the kind.
    fn of_the_platform(&self, form: &str) -> Option<Vec<String>> {
        let begins = begin(form);
        let suffix = form.split_once("${}").map_or("", |(_, suffix)| suffix);
        let mut found = Vec::new();
        for made in &self.made {
            for (id, resource) in &made.resolved.resources {
                let facts = type_facts(&resource.kind).filter(|_| resource.exists != Some(false));
                // What has no name of its own could be anything of the kind.
                let named = facts.filter(|facts| facts.name.is_some());
                for own in named.iter().flat_map(|facts| &facts.arn) {
                    if begin(&made.placed(own)) == begins && !own.starts_with('@') {
                        let arn = made.filled(&made.placed(own), id, resource, self);
                        found.push(format!("{arn}{suffix}"));
                    }
                }
            }
        }
        found.sort();
        found.dedup();
        (!found.is_empty()).then_some(found)
    }
}

/// What an ARN of this form begins with, whatever its name.
fn begin(form: &str) -> &str {
    let begin = form.split_once("${").map_or(form, |(begin, _)| begin);
    begin.trim_end_matches('/')
}
