//! Fills a step in with the values there are: the same for a plan, where some are not known yet,
//! and for a run, where all are.

mod request;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use landfall_model::StepId;
use landfall_model::definition::{
    CheckSpec, EntitySpec, FilesSpec, ObjectsSpec, OpenSpec, SecretSpec, StackSetSpec, StackSpec, StepKind,
};
use landfall_model::provider::Outputs;
use landfall_model::wanted::{Wanted, WantedStep, WantedTemplate};
use landfall_model::work::{
    FilesWork, Known, ObjectWork, ObjectsWork, SecretWork, StackSetWork, StackWork, Step, TAG_PLATFORM,
    Targets, Work,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub use crate::expression::EvaluateError;
use crate::expression::{self, Compiler, Lookup, Scope, unknown, waits_for};

/// What a step gives, as far as that is known.
#[derive(Clone, Copy, Debug)]
pub enum Given<'a> {
    /// It has given these.
    Outputs(&'a Outputs),
    /// It will, later.
    NotYet,
    /// There is no such step: it was left out.
    LeftOut,
}

/// Tells what steps give.
pub trait StepOutputs {
    /// What `step` gives.
    fn outputs(&self, step: &StepId) -> Given<'_>;
}

/// Outputs by step; `None` for a step that has not given its outputs yet.
impl<S: std::hash::BuildHasher> StepOutputs for HashMap<StepId, Option<Outputs>, S> {
    fn outputs(&self, step: &StepId) -> Given<'_> {
        match self.get(step) {
            Some(Some(outputs)) => Given::Outputs(outputs),
            Some(None) => Given::NotYet,
            None => Given::LeftOut,
        }
    }
}

/// Why a step cannot be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct StepError {
    /// Why.
    pub reason: String,
    /// The way out, when there is one to name.
    pub help: Option<String>,
}

impl StepError {
    fn new(reason: impl Into<String>) -> StepError {
        StepError {
            reason: reason.into(),
            help: None,
        }
    }
}

impl From<EvaluateError> for StepError {
    fn from(error: EvaluateError) -> StepError {
        StepError::new(error.to_string())
    }
}

/// Evaluates values of one platform against what is known now.
pub struct Evaluator<'a> {
    wanted: &'a Wanted,
    compiler: &'a Compiler,
    known: &'a dyn StepOutputs,
    /// Values of inputs; `None` while one is being evaluated.
    inputs: RefCell<HashMap<(String, String), Option<Value>>>,
}

/// Compiles expressions once, for as many evaluations as there are.
#[derive(Debug, Default)]
pub struct Expressions(Compiler);

impl<'a> Evaluator<'a> {
    pub(crate) fn new(
        wanted: &'a Wanted,
        compiler: &'a Compiler,
        known: &'a dyn StepOutputs,
    ) -> Evaluator<'a> {
        Evaluator {
            wanted,
            compiler,
            known,
            inputs: RefCell::new(HashMap::new()),
        }
    }

    /// An evaluator that shares compiled expressions with others.
    pub fn with(
        wanted: &'a Wanted,
        expressions: &'a Expressions,
        known: &'a dyn StepOutputs,
    ) -> Evaluator<'a> {
        Evaluator::new(wanted, &expressions.0, known)
    }

    /// The value of an input, unknown parts marked.
    pub(crate) fn input(&self, component: &str, input: &str) -> Result<Value, EvaluateError> {
        let key = (component.to_owned(), input.to_owned());
        match self.inputs.borrow().get(&key) {
            Some(Some(value)) => return Ok(value.clone()),
            Some(None) => {
                return Err(EvaluateError {
                    expression: format!("{component}.{input}"),
                    reason: "it goes round in a circle: in the end it is made from itself".to_owned(),
                });
            }
            None => {}
        }
        self.inputs.borrow_mut().insert(key.clone(), None);
        let written = self
            .wanted
            .components
            .get(component)
            .and_then(|component| component.inputs.get(input));
        let value = match written {
            Some(written) => expression::evaluate_tree(self.compiler, written, &PlatformScope(self)),
            None => Ok(Value::Null),
        };
        let value = value.inspect_err(|_| {
            self.inputs.borrow_mut().remove(&key);
        })?;
        self.inputs.borrow_mut().insert(key, Some(value.clone()));
        Ok(value)
    }

    /// The value of an output of a component, unknown parts marked.
    ///
    /// # Errors
    /// The expression that has no value.
    pub fn output(&self, component: &str, output: &str) -> Result<Option<Value>, EvaluateError> {
        let written = self
            .wanted
            .components
            .get(component)
            .and_then(|component| component.outputs.get(output));
        written
            .map(|written| self.in_component(component, written))
            .transpose()
    }

    /// What is opened of a component; nothing when its definition opens nothing.
    ///
    /// # Errors
    /// An expression that has no value; what it gives is not of the right form.
    pub fn open(&self, component: &str) -> Result<Option<Known<OpenSpec>>, StepError> {
        let wanted = self.wanted.components.get(component);
        let Some(written) = wanted.and_then(|component| component.open.as_ref()) else {
            return Ok(None);
        };
        let value = self.in_component(component, written)?;
        let after = waits_for(&value);
        Ok(Some(if after.is_empty() {
            Known::Value(typed(value)?)
        } else {
            Known::After(after)
        }))
    }

    /// The known outputs of a component; those still waiting are left out.
    ///
    /// # Errors
    /// The expression that has no value.
    pub fn known_outputs(&self, component: &str) -> Result<Outputs, EvaluateError> {
        let mut outputs = Outputs::new();
        for name in self
            .wanted
            .components
            .get(component)
            .into_iter()
            .flat_map(|component| component.outputs.keys())
        {
            if let Some(value) = self
                .output(component, name)?
                .filter(|value| waits_for(value).is_empty())
            {
                outputs.insert(name.clone(), value);
            }
        }
        Ok(outputs)
    }

    /// Evaluates something a definition wrote, for one component that uses it.
    pub(crate) fn in_component(&self, component: &str, written: &Value) -> Result<Value, EvaluateError> {
        expression::evaluate_tree(
            self.compiler,
            written,
            &ComponentScope {
                evaluator: self,
                component,
            },
        )
    }

    fn platform(&self) -> Value {
        let facts = &self.wanted.facts;
        let mut marks = facts.tags.clone();
        marks.insert(TAG_PLATFORM.to_owned(), facts.name.clone());
        serde_json::json!({
            "name": facts.name, "region": facts.region, "account": facts.account, "tags": facts.tags, "marks": marks,
        })
    }

    /// Fills a step in.
    ///
    /// # Errors
    /// A value that cannot be had, or does not fit where it goes.
    pub fn step(&self, wanted: &WantedStep) -> Result<Step, StepError> {
        let component = wanted.id.component();
        // What is made for each item of a list is filled in item by item.
        let spec = match wanted.kind {
            StepKind::Request => Value::Null,
            _ => self.in_component(component, &wanted.spec)?,
        };
        let work = match wanted.kind {
            StepKind::Request => Work::Request(Box::new(self.request(wanted)?)),
            StepKind::Stack => Work::Stack(Box::new(self.stack(wanted, spec)?)),
            StepKind::StackSet => Work::StackSet(Box::new(self.stack_set(wanted, spec)?)),
            StepKind::Objects => Work::Objects(Box::new(objects(spec)?)),
            StepKind::Secret => Work::Secret(SecretWork {
                name: self.name_of(&wanted.id),
                spec: typed::<SecretSpec>(spec)?,
            }),
            StepKind::Files => Work::Files(self.files(wanted, spec)?),
            StepKind::Entity => Work::Entity(self.entity(wanted, spec)?),
            StepKind::Leftovers => return Err(StepError::new("no definition can ask for leftovers")),
            StepKind::Check => {
                let after = waits_for(&spec);
                Work::Check(if after.is_empty() {
                    Known::Value(Box::new(typed::<CheckSpec>(spec)?))
                } else {
                    Known::After(after)
                })
            }
        };
        Ok(Step {
            id: wanted.id.clone(),
            facts: self.wanted.facts.clone(),
            work,
        })
    }

    fn name_of(&self, id: &StepId) -> String {
        format!("{}-{}-{}", self.wanted.facts.name, id.component(), id.step())
    }

    fn stack(&self, wanted: &WantedStep, mut spec: Value) -> Result<StackWork, StepError> {
        // Parameters may wait for other steps; nothing else of a stack may.
        let given = spec.as_object_mut().and_then(|spec| spec.remove("parameters"));
        let StackSpec {
            template: _,
            parameters: _,
            region,
            termination_protection,
            empty,
        } = typed(spec)?;
        let template = template(wanted)?;
        let parameters = self.parameters(template, given.as_ref())?;
        let artifact_bucket = self.artifact_bucket(template)?;
        let existing = match &wanted.existing {
            None => None,
            Some(existing) => {
                let written =
                    serde_json::to_value(existing).map_err(|error| StepError::new(error.to_string()))?;
                Some(typed(self.in_component(wanted.id.component(), &written)?)?)
            }
        };
        Ok(StackWork {
            name: self.name_of(&wanted.id),
            region: region.unwrap_or_else(|| self.wanted.facts.region.clone()),
            template: self.content(&template.digest)?.to_owned(),
            interface: template.interface.clone(),
            parameters,
            termination_protection,
            empty,
            existing,
            artifact_bucket,
        })
    }

    fn stack_set(&self, wanted: &WantedStep, mut spec: Value) -> Result<StackSetWork, StepError> {
        // Parameters and the role may wait for other steps; where it goes may not.
        let mut take = |key: &str| spec.as_object_mut().and_then(|spec| spec.remove(key));
        let given = take("parameters");
        let administration_role = match take("administrationRoleArn").unwrap_or_default() {
            Value::Null => None,
            value => Some(known_text(value, "`administrationRoleArn`")?)
                .filter(|role| role.value().is_none_or(|role| !role.is_empty())),
        };
        let StackSetSpec {
            template: _,
            parameters: _,
            accounts,
            organizational_units,
            regions,
            administration_role_arn: _,
            execution_role_name,
            auto_deployment,
            call_as,
            max_concurrent_percentage,
            failure_tolerance_percentage,
            region_concurrency,
        } = typed(spec)?;
        let template = template(wanted)?;
        let regions = if regions.is_empty() {
            vec![self.wanted.facts.region.clone()]
        } else {
            regions
        };
        Ok(StackSetWork {
            name: self.name_of(&wanted.id),
            region: self.wanted.facts.region.clone(),
            template: self.content(&template.digest)?.to_owned(),
            interface: template.interface.clone(),
            parameters: self.parameters(template, given.as_ref())?,
            targets: match (accounts.is_empty(), organizational_units.is_empty()) {
                (false, true) => Targets::Accounts {
                    ids: each_once(accounts, "an account id is twelve digits", is_account)?,
                    administration_role,
                    execution_role: execution_role_name,
                },
                (true, false) => Targets::Units {
                    ids: each_once(
                        organizational_units,
                        "an organizational unit looks like `ou-ab12-cdef3456`, the root like `r-ab12`",
                        is_unit,
                    )?,
                    auto_deployment,
                    call_as,
                },
                (no_accounts, _) => {
                    return Err(StepError {
                        reason: if no_accounts {
                            "the stack set goes nowhere: `accounts` and `organizationalUnits` are both empty"
                                .to_owned()
                        } else {
                            "`accounts` and `organizationalUnits` both name something".to_owned()
                        },
                        help: Some(
                            "name either accounts or organizational units: the permissions differ".to_owned(),
                        ),
                    });
                }
            },
            regions: each_once(regions, "a region looks like `us-east-1`", is_region)?,
            max_concurrent_percentage: percentage(max_concurrent_percentage, 1, "maxConcurrentPercentage")?,
            failure_tolerance_percentage: percentage(
                failure_tolerance_percentage,
                0,
                "failureTolerancePercentage",
            )?,
            region_concurrency,
            artifact_bucket: self.artifact_bucket(template)?,
        })
    }

    fn parameters(
        &self,
        template: &WantedTemplate,
        given: Option<&Value>,
    ) -> Result<BTreeMap<String, Known<String>>, StepError> {
        let mut parameters = BTreeMap::new();
        for (name, value) in given.and_then(Value::as_object).into_iter().flatten() {
            let after = waits_for(value);
            let value = match value {
                // No value: CloudFormation takes the template's default.
                Value::Null => continue,
                _ if !after.is_empty() => Known::After(after),
                value => Known::Value(expression::as_text(value).map_err(|why| {
                    StepError::new(format!("the parameter `{name}` takes text, but {why}"))
                })?),
            };
            self.no_secret(template, name, &value)?;
            parameters.insert(name.clone(), value);
        }
        Ok(parameters)
    }

    fn artifact_bucket(&self, template: &WantedTemplate) -> Result<Option<Known<String>>, StepError> {
        let Some(text) = self.wanted.artifact_bucket.as_ref().filter(|_| template.large) else {
            return Ok(None);
        };
        let bucket = expression::evaluate_text(self.compiler, text, &PlatformScope(self))?;
        Ok(Some(known_text(bucket, "`artifactBucket`")?))
    }

    /// A plan and a journal hold parameter values, so a secret may only come as a reference that
    /// CloudFormation resolves itself.
    fn no_secret(
        &self,
        template: &WantedTemplate,
        name: &str,
        value: &Known<String>,
    ) -> Result<(), StepError> {
        let hidden = template
            .interface
            .parameters
            .get(name)
            .is_some_and(|parameter| parameter.no_echo);
        let literal = value
            .value()
            .is_some_and(|text| !text.is_empty() && !text.starts_with("{{resolve:"));
        if hidden && literal {
            return Err(StepError {
                reason: format!("the parameter `{name}` is a secret (NoEcho) but gets a plain value"),
                help: Some(
                    "pass a dynamic reference that CloudFormation resolves, such as a secret step's output `reference`"
                        .to_owned(),
                ),
            });
        }
        Ok(())
    }

    fn content(&self, digest: &landfall_model::id::Digest) -> Result<&str, StepError> {
        self.wanted
            .contents
            .get(digest)
            .map(String::as_str)
            .ok_or_else(|| StepError::new(format!("the content {} is missing from the plan", digest.short())))
    }

    fn files(&self, wanted: &WantedStep, mut spec: Value) -> Result<FilesWork, StepError> {
        let values = spec
            .as_object_mut()
            .and_then(|spec| spec.remove("values"))
            .unwrap_or_default();
        let FilesSpec {
            from: _,
            to,
            values: _,
            commit,
        } = typed(spec)?;
        let after = waits_for(&values);
        let files = if after.is_empty() {
            let scope = SkeletonScope {
                values,
                platform: self.platform(),
            };
            let mut files = BTreeMap::new();
            for (path, digest) in &wanted.skeleton {
                let text = self.content(digest)?;
                match path.strip_suffix(".tmpl") {
                    None => files.insert(path.clone(), text.to_owned()),
                    Some(path) => {
                        let rendered =
                            expression::evaluate_text(self.compiler, text, &scope).map_err(|error| {
                                StepError::new(format!("in the skeleton's {path}.tmpl, {error}"))
                            })?;
                        let rendered = expression::as_text(&rendered)
                            .map_err(|why| StepError::new(format!("{path}.tmpl is not text: {why}")))?;
                        files.insert(path.to_owned(), rendered)
                    }
                };
            }
            Known::Value(files)
        } else {
            Known::After(after)
        };
        Ok(FilesWork {
            root: inside(&to, "to")?,
            files,
            commit,
        })
    }

    fn entity(&self, wanted: &WantedStep, mut spec: Value) -> Result<FilesWork, StepError> {
        let entities = spec
            .as_object_mut()
            .and_then(|spec| spec.remove("entities"))
            .unwrap_or_default();
        let after = waits_for(&entities);
        if let Some(spec) = spec.as_object_mut() {
            spec.insert("entities".to_owned(), Value::Array(Vec::new()));
        }
        let EntitySpec { file, entities: _ } = typed(spec)?;
        let file = inside(&file, "file")?;
        let (root, name) = file.rsplit_once('/').unwrap_or((".", &file));
        let files = if after.is_empty() {
            let text = catalog_file(&self.wanted.facts.name, &wanted.id, &entities)?;
            Known::Value(BTreeMap::from([(name.to_owned(), text)]))
        } else {
            Known::After(after)
        };
        Ok(FilesWork {
            root: root.to_owned(),
            files,
            commit: None,
        })
    }
}

fn template(wanted: &WantedStep) -> Result<&WantedTemplate, StepError> {
    let template = wanted.template.as_ref();
    template.ok_or_else(|| StepError::new("its template was not read"))
}

/// What an expression gave is not judged by the schema of the file: it is judged here.
fn each_once(given: Vec<String>, form: &str, is_one: fn(&str) -> bool) -> Result<Vec<String>, StepError> {
    let mut each: Vec<String> = Vec::new();
    for one in given {
        if !is_one(&one) {
            return Err(StepError {
                reason: format!("`{one}` is not where a stack set can go"),
                help: Some(form.to_owned()),
            });
        }
        if !each.contains(&one) {
            each.push(one);
        }
    }
    Ok(each)
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_unit(text: &str) -> bool {
    let is_part = |part: &str, least: usize| {
        (least..=32).contains(&part.len())
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    match text.split('-').collect::<Vec<_>>().as_slice() {
        ["r", root] => is_part(root, 4),
        ["ou", root, unit] => is_part(root, 4) && is_part(unit, 8),
        _ => false,
    }
}

fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.len() >= 3
        && parts[0].len() == 2
        && parts[parts.len() - 1].bytes().all(|byte| byte.is_ascii_digit())
        && parts[..parts.len() - 1]
            .iter()
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase()))
}

fn percentage(given: u8, least: u8, field: &str) -> Result<u8, StepError> {
    if (least..=100).contains(&given) {
        return Ok(given);
    }
    Err(StepError::new(format!(
        "`{field}` is {given}; it goes from {least} to 100"
    )))
}

/// Objects may wait for other steps, as a whole each; what they are called may not.
fn objects(mut spec: Value) -> Result<ObjectsWork, StepError> {
    let mut take = |key: &str| spec.as_object_mut().and_then(|spec| spec.remove(key));
    let cluster = known_text(take("cluster").unwrap_or_default(), "`cluster`")?;
    let bodies = take("objects").unwrap_or_default();
    if let Some(spec) = spec.as_object_mut() {
        spec.insert("cluster".to_owned(), Value::String(String::new()));
        spec.insert("manifests".to_owned(), Value::Array(Vec::new()));
    }
    let ObjectsSpec {
        cluster: _,
        manifests: _,
        namespace,
        controls,
        force,
        outputs,
        within,
    } = typed(spec)?;
    let within = landfall_model::definition::duration(&within)
        .ok_or_else(|| StepError::new(format!("`within` is `{within}`, which is no time")))?;
    let objects = bodies
        .as_array()
        .into_iter()
        .flatten()
        .map(|body| object(body, namespace.as_deref()))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(ObjectsWork {
        cluster,
        objects,
        controls,
        force,
        outputs,
        within_s: within.as_secs(),
    })
}

fn object(body: &Value, namespace: Option<&str>) -> Result<ObjectWork, StepError> {
    let text = |path: &str| {
        let value = body.pointer(path).unwrap_or(&Value::Null);
        match waits_for(value).first() {
            Some(step) => Err(StepError {
                reason: format!(
                    "`{}` of an object waits for `{step}`",
                    path[1..].replace('/', ".")
                ),
                help: Some("what names an object must be known when planning; make it of inputs".to_owned()),
            }),
            None => Ok(value.as_str().map(str::to_owned)),
        }
    };
    let after = waits_for(body);
    Ok(ObjectWork {
        api_version: text("/apiVersion")?.unwrap_or_default(),
        kind: text("/kind")?.unwrap_or_default(),
        namespace: text("/metadata/namespace")?.or_else(|| namespace.map(str::to_owned)),
        name: text("/metadata/name")?.unwrap_or_default(),
        body: if after.is_empty() {
            Known::Value(body.clone())
        } else {
            Known::After(after)
        },
    })
}

fn catalog_file(platform: &str, id: &StepId, entities: &Value) -> Result<String, StepError> {
    let mut text = format!("# Written by Landfall for the platform {platform}, step {id}.\n");
    for entity in entities.as_array().into_iter().flatten() {
        let name = entity
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if !is_entity_name(name) {
            return Err(StepError {
                reason: format!("`{name}` cannot be an entity's name"),
                help: Some(
                    "letters, digits and `-`, `_`, `.` between them; at most 63 characters".to_owned(),
                ),
            });
        }
        let yaml = serde_saphyr::to_string(entity).map_err(|error| {
            StepError::new(format!("the entity `{name}` cannot be written as YAML: {error}"))
        })?;
        text.push_str("---\n");
        text.push_str(&yaml);
    }
    Ok(text)
}

/// Backstage's rule for `metadata.name`: 1 to 63 of `[A-Za-z0-9]`, `-`, `_` and `.`, with letters or
/// digits at both ends and between separators (source: Backstage, descriptor format).
pub(crate) fn is_entity_name(name: &str) -> bool {
    name.len() <= 63
        && name
            .split(['-', '_', '.'])
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// A path that stays below the platform file's folder.
fn inside(path: &str, field: &str) -> Result<String, StepError> {
    let trimmed = path.trim_start_matches("./").trim_end_matches('/');
    if trimmed.is_empty() || path.starts_with('/') || trimmed.split('/').any(|part| part == "..") {
        return Err(StepError {
            reason: format!("`{field}` must stay below the platform file's folder, but is `{path}`"),
            help: Some("give a relative path without `..`".to_owned()),
        });
    }
    Ok(trimmed.to_owned())
}

fn known_text(value: Value, what: &str) -> Result<Known<String>, StepError> {
    let after = waits_for(&value);
    if !after.is_empty() {
        return Ok(Known::After(after));
    }
    expression::as_text(&value)
        .map(Known::Value)
        .map_err(|why| StepError::new(format!("{what} takes text, but {why}")))
}

fn typed<T: DeserializeOwned>(spec: Value) -> Result<T, StepError> {
    if let Some(step) = waits_for(&spec).first() {
        return Err(StepError {
            reason: format!("a field that must be known when planning waits for `{step}`"),
            help: Some(
                "only parameters, skeleton values, entities, requests and checks may wait for other steps"
                    .to_owned(),
            ),
        });
    }
    serde_json::from_value(spec).map_err(|error| StepError::new(format!("its values do not fit: {error}")))
}

/// What expressions in the platform file see.
struct PlatformScope<'a>(&'a Evaluator<'a>);

impl Scope for PlatformScope<'_> {
    fn lookup(&self, path: &[String]) -> Result<Lookup, EvaluateError> {
        match path {
            [root, component, output, rest @ ..] if root == "components" => {
                let value = self.0.output(component, output)?;
                Ok(value.map_or(Lookup::Missing, |value| follow(value, rest)))
            }
            [root, component] if root == "components" => {
                let mut all = Map::new();
                for name in self
                    .0
                    .wanted
                    .components
                    .get(component)
                    .into_iter()
                    .flat_map(|one| one.outputs.keys())
                {
                    all.extend(self.0.output(component, name)?.map(|value| (name.clone(), value)));
                }
                Ok(Lookup::Value(Value::Object(all)))
            }
            [root, rest @ ..] if root == "platform" => Ok(follow(self.0.platform(), rest)),
            _ => Ok(Lookup::Missing),
        }
    }
}

/// What expressions in a definition see.
struct ComponentScope<'a> {
    evaluator: &'a Evaluator<'a>,
    component: &'a str,
}

impl Scope for ComponentScope<'_> {
    fn lookup(&self, path: &[String]) -> Result<Lookup, EvaluateError> {
        match path {
            [root, input, rest @ ..] if root == "inputs" => {
                let declared = self.evaluator.wanted.components.get(self.component);
                if declared.is_none_or(|component| !component.inputs.contains_key(input)) {
                    return Ok(Lookup::Missing);
                }
                Ok(follow(self.evaluator.input(self.component, input)?, rest))
            }
            [root] if root == "inputs" => {
                let mut all = Map::new();
                for name in self
                    .evaluator
                    .wanted
                    .components
                    .get(self.component)
                    .into_iter()
                    .flat_map(|one| one.inputs.keys())
                {
                    all.insert(name.clone(), self.evaluator.input(self.component, name)?);
                }
                Ok(Lookup::Value(Value::Object(all)))
            }
            [root, step, rest @ ..] if root == "steps" => {
                let id = StepId::new(self.component, step);
                Ok(match (self.evaluator.known.outputs(&id), rest) {
                    (Given::LeftOut, _) => Lookup::Missing,
                    (Given::NotYet, _) => Lookup::Value(unknown([id])),
                    (Given::Outputs(outputs), [field, output, rest @ ..]) if field == "outputs" =>
                    // A stack made from an older template may lack an output that the definition has by now:
                    // it comes with the next update.
                    {
                        outputs.get(output).map_or_else(
                            || Lookup::Value(unknown([id])),
                            |value| follow(value.clone(), rest),
                        )
                    }
                    (Given::Outputs(outputs), _) => {
                        Lookup::Value(serde_json::json!({ "outputs": outputs.clone() }))
                    }
                })
            }
            [root, rest @ ..] if root == "platform" => Ok(follow(self.evaluator.platform(), rest)),
            _ => Ok(Lookup::Missing),
        }
    }
}

/// What expressions in a skeleton see.
struct SkeletonScope {
    values: Value,
    platform: Value,
}

impl Scope for SkeletonScope {
    fn lookup(&self, path: &[String]) -> Result<Lookup, EvaluateError> {
        Ok(match path {
            [root, rest @ ..] if root == "values" => follow(self.values.clone(), rest),
            [root, rest @ ..] if root == "platform" => follow(self.platform.clone(), rest),
            _ => Lookup::Missing,
        })
    }
}

/// Walks on into a value; what is unknown stays unknown however far one walks.
fn follow(value: Value, path: &[String]) -> Lookup {
    let mut value = value;
    for part in path {
        let after = waits_for(&value);
        let next = match &mut value {
            Value::Object(map) => map.get_mut(part).map(Value::take),
            Value::Array(items) => part
                .parse::<usize>()
                .ok()
                .and_then(|index| items.get_mut(index))
                .map(Value::take),
            _ => None,
        };
        match next {
            Some(next) => value = next,
            None if !after.is_empty() => return Lookup::Value(unknown(after)),
            None => return Lookup::Missing,
        }
    }
    Lookup::Value(value)
}
