//! Stack sets: what one still needs to be as its step wants it, and why an operation on one failed. The same
//! for a real stack set and a simulated one.
//!
//! CloudFormation has no change sets for stack sets, so what would change is told by comparing here.

use std::collections::{BTreeMap, BTreeSet};

use landfall_model::SourceFile;
use landfall_model::definition::AutoDeployment;
use landfall_model::id::Digest;
use landfall_model::provider::{Cause, Change, Effect, Failure, PropertyChange};
use landfall_model::work::{Known, StackSetWork, Step, TAG_PLATFORM, Targets};
use landfall_model::yaml;
use serde_json::Value;

use crate::advice::way_out;
use crate::in_the_way::InTheWay;
use crate::resolve::{Place, Template, partition};

/// The usual name of the role that CloudFormation assumes where the stack set is looked after.
const ADMINISTRATION_ROLE: &str = "AWSCloudFormationStackSetAdministrationRole";

/// The state of an instance that is as the stack set says.
pub const CURRENT: &str = "CURRENT";
/// The state of an instance whose deletion failed: nothing can be done with it but letting go of it.
pub const INOPERABLE: &str = "INOPERABLE";

/// A stack set as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Its template.
    pub template: String,
    /// Its parameters; hidden ones are masked.
    pub parameters: BTreeMap<String, String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// What it says of itself.
    pub description: String,
    /// Whether the organization gives the permissions.
    pub service_managed: bool,
    /// The role in the account where it is looked after, by ARN.
    pub administration_role: Option<String>,
    /// The name of the role in the accounts it goes to.
    pub execution_role: Option<String>,
    /// What happens when accounts join or leave.
    pub auto_deployment: AutoDeployment,
    /// The organizational units it goes to.
    pub units: BTreeSet<String>,
    /// The regions it has instances in.
    pub regions: BTreeSet<String>,
    /// Its instances.
    pub instances: Vec<Instance>,
}

/// The state of an instance whose account is suspended: CloudFormation passes it over.
pub const SUSPENDED: &str = "SUSPENDED";

/// One stack of a stack set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    /// Its account.
    pub account: String,
    /// Its region.
    pub region: String,
    /// The organizational unit it came with.
    pub unit: Option<String>,
    /// Its state: `CURRENT`, `OUTDATED`, `INOPERABLE` or `SUSPENDED`.
    pub state: String,
    /// Why, when it is not current.
    pub reason: String,
}

impl Instance {
    /// Whether an operation could bring it further than it is.
    fn lags(&self) -> bool {
        self.state != CURRENT && self.state != SUSPENDED
    }
}

/// What is to be done, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Todo {
    /// Where it should not go any more.
    pub remove: Vec<Group>,
    /// Whether the set itself changes, or an instance lags behind it.
    pub update: bool,
    /// Where it should go as well.
    pub add: Vec<Group>,
    /// Instances that nothing can be done with.
    pub inoperable: Vec<Instance>,
}

impl Todo {
    /// Whether there is nothing to do.
    pub fn is_nothing(&self) -> bool {
        let Todo {
            remove,
            update,
            add,
            inoperable,
        } = self;
        remove.is_empty() && !update && add.is_empty() && inoperable.is_empty()
    }
}

/// Accounts, or organizational units, in each of some regions: what one operation works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The accounts or units.
    pub ids: Vec<String>,
    /// The regions.
    pub regions: Vec<String>,
}

impl Group {
    /// The name of an operation on this group: the same after a crash, as long as the same is to be done.
    pub fn operation(&self, token: &str, verb: &str) -> String {
        let what = format!("{}/{}", self.ids.join(","), self.regions.join(","));
        format!("{token}-{verb}-{}", Digest::of(what).short())
    }

    /// How many places it stands for.
    pub fn places(&self) -> usize {
        self.ids.len() * self.regions.len()
    }
}

/// Puts places together, so that each operation covers as many as it can. An operation works on every account
/// in every region it is given, so only regions with the very same accounts go together.
pub fn groups<'a>(places: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<Group> {
    let mut by_region: Vec<(&str, Vec<String>)> = Vec::new();
    for (id, region) in places {
        let at = by_region.iter().position(|(known, _)| *known == region);
        let at = at.unwrap_or_else(|| {
            by_region.push((region, Vec::new()));
            by_region.len() - 1
        });
        if !by_region[at].1.iter().any(|known| known == id) {
            by_region[at].1.push(id.to_owned());
        }
    }
    let mut groups: Vec<Group> = Vec::new();
    for (region, ids) in by_region {
        match groups.iter_mut().find(|group| group.ids == ids) {
            Some(group) => group.regions.push(region.to_owned()),
            None => groups.push(Group {
                ids,
                regions: vec![region.to_owned()],
            }),
        }
    }
    groups
}

impl Standing {
    /// Everywhere it goes, as account or unit, and region.
    pub fn places(&self, otherwise: &[String]) -> BTreeSet<(String, String)> {
        if !self.service_managed {
            let instances = self.instances.iter();
            return instances
                .map(|one| (one.account.clone(), one.region.clone()))
                .collect();
        }
        let of_instances = self
            .instances
            .iter()
            .filter_map(|one| Some((one.unit.clone()?, one.region.clone())));
        let mut places: BTreeSet<(String, String)> = of_instances.collect();
        // A unit without accounts has no instances to be seen by: it goes where the others go.
        for unit in &self.units {
            if places.iter().any(|(known, _)| known == unit) {
                continue;
            }
            let regions: Vec<&String> = if self.regions.is_empty() {
                otherwise.iter().collect()
            } else {
                self.regions.iter().collect()
            };
            places.extend(regions.into_iter().map(|region| (unit.clone(), region.clone())));
        }
        places
    }

    /// The accounts that have an instance, each once.
    pub fn accounts(&self) -> Vec<String> {
        let accounts: BTreeSet<&String> = self.instances.iter().map(|one| &one.account).collect();
        accounts.into_iter().cloned().collect()
    }

    /// Its state as one word, for people and fingerprints.
    pub fn state(&self) -> String {
        let all = self.instances.len();
        let current = self.instances.iter().filter(|one| one.state == CURRENT).count();
        if current == all {
            format!("ACTIVE, {all} current")
        } else {
            format!("ACTIVE, {current} of {all} current")
        }
    }

    /// What stays where the instances of a group are deleted, because the template says so; a sentence each.
    pub fn kept(&self, name: &str, group: &Group) -> Vec<String> {
        let known: BTreeMap<String, Known<String>> = self
            .parameters
            .iter()
            .map(|(name, value)| (name.clone(), Known::Value(value.clone())))
            .collect();
        // There may be thousands of instances, and the template is the same for all.
        let template = Template::read(&self.template);
        let mut kept = Vec::new();
        for one in &self.instances {
            let id = one.unit.as_ref().filter(|_| self.service_managed);
            let id = id.unwrap_or(&one.account);
            if !group.ids.contains(id) || !group.regions.contains(&one.region) {
                continue;
            }
            let place = Place {
                partition: partition(&one.region),
                region: &one.region,
                account: &one.account,
                stack: name,
            };
            for (id, resource) in template.resolve(&known, &place).resources {
                let stays = resource
                    .deletion_policy
                    .as_deref()
                    .is_some_and(|policy| policy != "Delete");
                if !stays || resource.exists == Some(false) {
                    continue;
                }
                // Most types that are worth keeping have their name in such a property.
                let property = format!("{}Name", resource.kind.rsplit("::").next().unwrap_or_default());
                let called = resource.properties[&property].as_str().unwrap_or(&id);
                kept.push(format!(
                    "{} {called} is kept by its template in {}/{} ({id})",
                    resource.kind, one.account, one.region
                ));
            }
        }
        kept
    }

    fn is_at(&self, instance: &Instance, places: &BTreeSet<(&str, &str)>) -> bool {
        let id = if self.service_managed {
            instance.unit.as_deref().unwrap_or_default()
        } else {
            &instance.account
        };
        places.contains(&(id, instance.region.as_str()))
    }
}

/// What a stack set says of itself. Hidden parameters are masked when it is read, so that a digest of what they
/// refer to stands here: otherwise it could not be told whether they changed.
pub fn description(step: &Step, work: &StackSetWork) -> String {
    let hidden: Vec<String> = work
        .parameters
        .iter()
        .filter(|(name, _)| is_hidden(work, name))
        .filter_map(|(name, value)| Some(format!("{name}={}", value.value()?)))
        .collect();
    if hidden.is_empty() {
        return format!("Landfall, {}", step.id);
    }
    format!(
        "Landfall, {} ({})",
        step.id,
        Digest::of(hidden.join("\n")).short()
    )
}

fn is_hidden(work: &StackSetWork, parameter: &str) -> bool {
    let declared = work.interface.parameters.get(parameter);
    declared.is_some_and(|declared| declared.no_echo)
}

/// The role to name in an update, so that the one with the usual name is used again after another was.
pub fn administration_role(work: &StackSetWork, standing: Option<&Standing>) -> Option<String> {
    let Targets::Accounts {
        administration_role, ..
    } = &work.targets
    else {
        return None;
    };
    match administration_role {
        Some(role) => role.value().cloned(),
        None => {
            let now = standing?.administration_role.as_deref()?;
            let (account, _) = now.split_once(":role/")?;
            Some(format!("{account}:role/{ADMINISTRATION_ROLE}"))
        }
    }
}

/// Why we must not touch a stack set: it is not marked as this platform's.
pub fn foreign(name: &str, tags: &BTreeMap<String, String>, platform: &str) -> Option<InTheWay> {
    match tags.get(TAG_PLATFORM) {
        Some(owner) if owner == platform => None,
        Some(owner) => Some(InTheWay {
            what: format!("the stack set `{name}` belongs to the platform `{owner}`"),
            way_out: "rename this platform or the component",
        }),
        None => Some(InTheWay {
            what: format!("the stack set `{name}` was not made by Landfall (it has no `{TAG_PLATFORM}` tag)"),
            way_out: "rename the component or remove the stack set",
        }),
    }
}

/// Why a stack set of ours cannot become what is wanted: who gives the permissions is decided when it is made.
pub fn other_permissions(work: &StackSetWork, standing: &Standing) -> Option<InTheWay> {
    let wants_service = matches!(work.targets, Targets::Units { .. });
    let (now, then) = match (standing.service_managed, wants_service) {
        (true, false) => ("organizational units", "accounts"),
        (false, true) => ("accounts", "organizational units"),
        _ => return None,
    };
    Some(InTheWay {
        what: format!(
            "the stack set `{}` goes to {now}, the file wants {then}, and a stack set cannot change that",
            work.name
        ),
        way_out: "give the component or the step another name: the new one is made and the old one removed",
    })
}

/// What is to be done so that a stack set is as its step wants it.
pub fn todo(step: &Step, work: &StackSetWork, standing: &Standing) -> Todo {
    let wanted: BTreeSet<(&str, &str)> = work.places().collect();
    let stands = standing.places(&work.regions);
    let stays: Vec<&Instance> = standing
        .instances
        .iter()
        .filter(|one| standing.is_at(one, &wanted))
        .collect();
    Todo {
        remove: groups(
            stands
                .iter()
                .map(|(id, region)| (id.as_str(), region.as_str()))
                .filter(|place| !wanted.contains(place)),
        ),
        update: !own_changes(step, work, standing).is_empty()
            || stays.iter().any(|one| one.lags() && one.state != INOPERABLE),
        add: groups(
            work.places()
                .filter(|(id, region)| !stands.contains(&((*id).to_owned(), (*region).to_owned()))),
        ),
        inoperable: stays
            .into_iter()
            .filter(|one| one.state == INOPERABLE)
            .cloned()
            .collect(),
    }
}

/// What applying a step would change, in the order in which it is done.
pub fn changes(step: &Step, work: &StackSetWork, standing: &Standing) -> Vec<Change> {
    let place = |effect: Effect, id: &str, region: &str| Change {
        effect,
        subject: format!("instance {id}/{region}"),
        kind: String::new(),
        properties: Vec::new(),
    };
    let each = |effect: Effect, group: &Group| -> Vec<Change> {
        let regions = group.regions.iter();
        regions
            .flat_map(|region| group.ids.iter().map(move |id| (id, region)))
            .map(|(id, region)| place(effect, id, region))
            .collect()
    };
    let todo = todo(step, work, standing);
    let wanted: BTreeSet<(&str, &str)> = work.places().collect();
    let behind = standing
        .instances
        .iter()
        .filter(|one| one.lags() && standing.is_at(one, &wanted))
        .map(|one| Change {
            properties: vec![PropertyChange {
                path: "state".to_owned(),
                before: Some(match one.reason.as_str() {
                    "" => one.state.clone(),
                    reason => format!("{} ({reason})", one.state),
                }),
                after: Some(CURRENT.to_owned()),
                replaces: false,
            }],
            ..place(Effect::Modify, &one.account, &one.region)
        });
    let mut changes: Vec<Change> = todo
        .remove
        .iter()
        .flat_map(|group| each(Effect::Remove, group))
        .collect();
    changes.extend(own_changes(step, work, standing));
    changes.extend(behind);
    changes.extend(todo.add.iter().flat_map(|group| each(Effect::Add, group)));
    changes
}

/// What changes of the set itself: what is made in each account, and how.
fn own_changes(step: &Step, work: &StackSetWork, standing: &Standing) -> Vec<Change> {
    let mut changes = template_changes(&standing.template, &work.template);
    let mut own = Vec::new();
    for (name, declared) in &work.interface.parameters {
        let wanted = work.parameters.get(name).and_then(Known::value);
        let wanted = wanted.or(declared.default.as_ref());
        let now = standing.parameters.get(name);
        if !declared.no_echo && now.or(declared.default.as_ref()) != wanted {
            own.push(property(format!("Parameters.{name}"), now, wanted));
        }
    }
    for name in standing.parameters.keys() {
        if !work.interface.parameters.contains_key(name) {
            own.push(property(
                format!("Parameters.{name}"),
                standing.parameters.get(name),
                None,
            ));
        }
    }
    let description = description(step, work);
    if standing.description != description {
        own.push(property(
            "Description".to_owned(),
            Some(&standing.description),
            Some(&description),
        ));
    }
    let tags = step.tags();
    let keys: BTreeSet<&String> = tags.keys().chain(standing.tags.keys()).collect();
    for key in keys {
        if tags.get(key) != standing.tags.get(key) {
            own.push(property(
                format!("Tags.{key}"),
                standing.tags.get(key),
                tags.get(key),
            ));
        }
    }
    match &work.targets {
        Targets::Accounts { execution_role, .. } => {
            let wanted = administration_role(work, Some(standing));
            if wanted.is_some() && wanted != standing.administration_role {
                own.push(property(
                    "AdministrationRoleARN".to_owned(),
                    standing.administration_role.as_ref(),
                    wanted.as_ref(),
                ));
            }
            if standing
                .execution_role
                .as_ref()
                .is_some_and(|now| now != execution_role)
            {
                own.push(property(
                    "ExecutionRoleName".to_owned(),
                    standing.execution_role.as_ref(),
                    Some(execution_role),
                ));
            }
        }
        Targets::Units { auto_deployment, .. } => {
            if said(&standing.auto_deployment) != said(auto_deployment) {
                own.push(property(
                    "AutoDeployment".to_owned(),
                    Some(&said(&standing.auto_deployment)),
                    Some(&said(auto_deployment)),
                ));
            }
        }
    }
    if !own.is_empty() {
        changes.push(Change {
            effect: Effect::Modify,
            subject: work.name.clone(),
            kind: "AWS::CloudFormation::StackSet".to_owned(),
            properties: own,
        });
    }
    changes
}

fn said(auto: &AutoDeployment) -> String {
    match (auto.enabled, auto.retain_stacks_on_account_removal) {
        (false, _) => "off".to_owned(),
        (true, false) => "on".to_owned(),
        (true, true) => "on, stacks stay when accounts leave".to_owned(),
    }
}

fn property(path: String, before: Option<&String>, after: Option<&String>) -> PropertyChange {
    PropertyChange {
        path,
        before: before.cloned(),
        after: after.cloned(),
        replaces: false,
    }
}

/// Which resources differ between two templates. Whether a changed property makes a resource anew is not told
/// by anybody beforehand, so it may.
fn template_changes(before: &str, after: &str) -> Vec<Change> {
    let read = |text: &str| {
        let node = yaml::parse(&SourceFile::new("template", text)).ok()?;
        Some(node.value())
    };
    if before == after {
        return Vec::new();
    }
    let whole = |properties| {
        vec![Change {
            effect: Effect::Modify,
            subject: "template".to_owned(),
            kind: String::new(),
            properties,
        }]
    };
    let (Some(before), Some(after)) = (read(before), read(after)) else {
        return whole(Vec::new());
    };
    // Comments and layout change nothing.
    if before == after {
        return Vec::new();
    }
    let resources = |template: &Value| template.get("Resources").and_then(Value::as_object).cloned();
    let old = resources(&before).unwrap_or_default();
    let new = resources(&after).unwrap_or_default();
    let kind = |resource: &Value| resource["Type"].as_str().unwrap_or_default().to_owned();
    let mut changes = Vec::new();
    for (id, resource) in &new {
        let (effect, properties) = match old.get(id) {
            None => (Effect::Add, Vec::new()),
            Some(before) if before == resource => continue,
            Some(before) if kind(before) != kind(resource) => (Effect::Replace, Vec::new()),
            Some(before) => (Effect::MayReplace, property_changes(before, resource)),
        };
        changes.push(Change {
            effect,
            subject: id.clone(),
            kind: kind(resource),
            properties,
        });
    }
    for (id, resource) in &old {
        if !new.contains_key(id) {
            changes.push(Change {
                effect: Effect::Remove,
                subject: id.clone(),
                kind: kind(resource),
                properties: Vec::new(),
            });
        }
    }
    if changes.is_empty() {
        let sections = (before.as_object().into_iter()).chain(after.as_object());
        let sections: BTreeSet<&String> = sections.flat_map(|template| template.keys()).collect();
        let differs = |section: &&String| before.get(section.as_str()) != after.get(section.as_str());
        let differing = sections.into_iter().filter(differs);
        return whole(
            differing
                .map(|section| property(section.clone(), None, None))
                .collect(),
        );
    }
    changes
}

fn property_changes(before: &Value, after: &Value) -> Vec<PropertyChange> {
    let fields = |resource: &Value| -> BTreeMap<String, String> {
        let mut fields = BTreeMap::new();
        for (key, value) in resource.as_object().into_iter().flatten() {
            match (key.as_str(), value.as_object()) {
                ("Properties", Some(properties)) => fields.extend(
                    properties
                        .iter()
                        .map(|(name, value)| (name.clone(), shown(value))),
                ),
                _ => {
                    fields.insert(key.clone(), shown(value));
                }
            }
        }
        fields
    };
    let (old, new) = (fields(before), fields(after));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    names
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name))
        .map(|name| property(name.clone(), old.get(name), new.get(name)))
        .collect()
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What came of an operation in one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// The account.
    pub account: String,
    /// The region.
    pub region: String,
    /// `SUCCEEDED`, `FAILED`, `CANCELLED`.
    pub state: String,
    /// Why, in CloudFormation's words.
    pub reason: String,
}

impl Ended {
    fn place(&self) -> String {
        format!("{}/{}", self.account, self.region)
    }

    /// A sentence about a failure that was tolerated.
    pub fn said(&self) -> String {
        format!("{}: {} ({})", self.place(), self.state, self.reason)
    }
}

/// Why an operation on the stack set `name` failed while `doing` something, by what came of it in each place.
/// `status` is the operation's, `reason` what CloudFormation says of the operation as a whole.
pub fn failure(name: &str, doing: &str, status: &str, reason: &str, ended: &[Ended]) -> Failure {
    let failed: Vec<&Ended> = ended.iter().filter(|one| one.state == "FAILED").collect();
    let cancelled = ended.iter().filter(|one| one.state == "CANCELLED").count();
    let Some(first) = failed.first() else {
        let mut summary = format!("{doing} of the stack set `{name}` ended as {status}");
        if !reason.is_empty() {
            summary = format!("{summary}: {reason}");
        }
        let advice = advice(name, "", reason).unwrap_or_else(|| {
            format!(
                "see who stopped it (`aws cloudformation list-stack-set-operations --stack-set-name {name}`), then run the \
                 command again: it goes on from here"
            )
        });
        return Failure::new(summary).way_out(advice);
    };
    let mut summary = format!(
        "{doing} of the stack set `{name}` failed in {}",
        failed
            .iter()
            .map(|one| one.place())
            .collect::<Vec<_>>()
            .join(", ")
    );
    if cancelled > 0 {
        summary = format!("{summary} and was left alone in {cancelled} more");
    }
    for other in &failed[1..] {
        if other.reason != first.reason {
            let (resource, _, why) = told(&other.reason);
            let colon = if resource.is_empty() { "" } else { ": " };
            summary = format!("{summary}; {}: {resource}{colon}{why}", other.place());
        }
    }
    let (resource, kind, why) = told(&first.reason);
    let cause = Cause {
        resource: if resource.is_empty() {
            format!("instance {}", first.place())
        } else {
            format!("{resource} in {}", first.place())
        },
        kind: kind.to_owned(),
        state: first.state.clone(),
        reason: if why.is_empty() {
            "CloudFormation gave no reason".to_owned()
        } else {
            why.to_owned()
        },
        at: String::new(),
    };
    let advice = advice(name, kind, why).unwrap_or_else(|| {
        format!(
            "look at the events of the stack `StackSet-{name}-…` in account {} ({}), mend what they name, then run the command \
             again: what is done stays done",
            first.account, first.region
        )
    });
    Failure {
        summary,
        cause: Some(cause),
        way_out: Some(advice),
    }
}

/// Takes apart what CloudFormation says of an instance: `ResourceLogicalId:Bucket, ResourceType:AWS::S3::Bucket,
/// ResourceStatusReason:…`, or plain words.
fn told(reason: &str) -> (&str, &str, &str) {
    let part = |key: &str| {
        let (_, rest) = reason.split_once(key)?;
        Some(rest.split(", Resource").next().unwrap_or(rest).trim())
    };
    let why = reason
        .split_once("ResourceStatusReason:")
        .map_or(reason, |(_, why)| why.trim());
    (
        part("ResourceLogicalId:").unwrap_or_default(),
        part("ResourceType:").unwrap_or_default(),
        why.trim_end_matches('.'),
    )
}

/// What to do about what CloudFormation says of the stack set `name`: what is special to stack sets first.
pub fn advice(name: &str, kind: &str, reason: &str) -> Option<String> {
    let low = reason.to_lowercase();
    let says = |words: &str| low.contains(words);
    if says("role with trust relationship") || (says("assume") && says("execution")) {
        return Some(
            "make the execution role in that account with a trust in the administration role (the definition \
             `account-bootstrap-set` has a template to hand out, `execution-role.cfn.yaml`), then run the command again"
                .to_owned(),
        );
    }
    if says("organizations access") || says("trusted access") {
        return Some(
            "let the management account turn it on: `aws cloudformation activate-organizations-access`, then run the command again"
                .to_owned(),
        );
    }
    if says("management account or delegated") || says("delegated admin") {
        return Some(
            "run it in the organization's management account, or let that register this account (`aws organizations \
             register-delegated-administrator --service-principal member.org.stacksets.cloudformation.amazonaws.com --account-id …`) \
             and set `callAs: delegatedAdmin`"
                .to_owned(),
        );
    }
    if says("suspended") || says("closed account") || says("is not a member of") {
        return Some(unreachable(name));
    }
    way_out(kind, reason)
}

/// The way out when accounts cannot be reached any more.
pub fn unreachable(name: &str) -> String {
    format!(
        "if the account is gone for good, let go of its stacks where they are: `aws cloudformation delete-stack-instances \
         --stack-set-name {name} --accounts ACCOUNT --regions REGION --retain-stacks`, then run the command again"
    )
}

/// Why instances that nothing can be done with stop a step.
pub fn inoperable(name: &str, instances: &[Instance]) -> Failure {
    let places: Vec<String> = instances
        .iter()
        .map(|one| format!("{}/{}", one.account, one.region))
        .collect();
    let first = instances.first();
    Failure {
        summary: format!(
            "the stack set `{name}` can do nothing with its instances in {}: their deletion failed before (INOPERABLE)",
            places.join(", ")
        ),
        cause: first.filter(|one| !one.reason.is_empty()).map(|one| Cause {
            resource: format!("instance {}/{}", one.account, one.region),
            kind: String::new(),
            state: INOPERABLE.to_owned(),
            reason: one.reason.clone(),
            at: String::new(),
        }),
        way_out: Some(format!(
            "delete what is left of the stack in that account by hand; {}",
            unreachable(name)
        )),
    }
}

#[cfg(test)]
#[path = "stack_set_tests.rs"]
mod tests;
