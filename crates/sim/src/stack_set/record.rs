//! A stack set in the simulated account, its instances in others, and the operations on it. What goes on is
//! settled by the clock: whoever asks the world anything first lets happen what was due.

use std::collections::{BTreeMap, BTreeSet};

use landfall_cloudformation::stack_set::{
    self, CURRENT, Ended, Group, INOPERABLE, Instance, Standing as Set,
};
use landfall_cloudformation::{Place, resolve};
use landfall_model::definition::RegionConcurrency;
use landfall_model::work::{Known, StackSetWork, Step, Targets};

use crate::durations::{resource_ms, stack_ms};
use crate::fault::Fault;
use crate::random::Random;
use crate::trouble::Trouble;
use crate::world::State;

/// One stack set that was made.
#[derive(Debug)]
pub(crate) struct StackSetRecord {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) region: String,
    /// The intent that made it.
    token: String,
    deleted: bool,
    /// As CloudFormation describes it, but for its instances.
    set: Set,
    pub(crate) instances: Vec<InstanceRecord>,
    /// What the template kept of instances that are gone, as account and region, type and logical id.
    pub(crate) left: Vec<(String, String, String)>,
    operations: Vec<Operation>,
}

/// One of its stacks.
#[derive(Clone, Debug)]
pub(crate) struct InstanceRecord {
    pub(crate) account: String,
    pub(crate) region: String,
    unit: Option<String>,
    state: &'static str,
    reason: String,
    /// What stands in the account, as type by logical id.
    pub(crate) resources: BTreeMap<String, String>,
}

/// What an operation does to each instance it works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Create,
    Update,
    Delete,
}

#[derive(Debug)]
struct Operation {
    id: String,
    /// None for somebody else's.
    verb: Option<Verb>,
    /// What is to stand in each account afterwards, by account and region.
    goal: BTreeMap<(String, String), BTreeMap<String, String>>,
    /// What the template keeps when an instance goes, by logical id.
    kept: BTreeSet<String>,
    parts: Vec<Part>,
    /// Whether more failed than may.
    failed: bool,
    ends_at: u64,
}

/// What an operation does in one place.
#[derive(Debug)]
struct Part {
    account: String,
    region: String,
    /// When it is over; none when it is never begun.
    at: Option<u64>,
    refusal: Option<String>,
    done: bool,
}

/// What of an operation can be seen.
#[derive(Clone, Debug)]
pub(super) struct Going {
    pub(super) id: String,
    pub(super) word: &'static str,
    pub(super) over: bool,
    pub(super) failed: bool,
    pub(super) ended: Vec<Ended>,
}

/// Whether an operation was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    /// It was, now or before.
    Yes,
    /// Another one is in progress.
    InProgress,
}

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Verb::Create => "CREATE",
            Verb::Update => "UPDATE",
            Verb::Delete => "DELETE",
        }
    }
}

impl StackSetRecord {
    /// As CloudFormation describes it.
    pub(super) fn shown(&self) -> Set {
        let mut set = self.set.clone();
        set.instances = self
            .instances
            .iter()
            .map(|one| Instance {
                account: one.account.clone(),
                region: one.region.clone(),
                unit: one.unit.clone(),
                state: one.state.to_owned(),
                reason: one.reason.clone(),
            })
            .collect();
        set.regions = self.instances.iter().map(|one| one.region.clone()).collect();
        set
    }

    /// The intent that made it.
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    pub(crate) fn stands(&self) -> bool {
        !self.deleted
    }

    pub(crate) fn tags(&self) -> &BTreeMap<String, String> {
        &self.set.tags
    }

    /// The names of all intents under which anything was begun.
    pub(crate) fn intents(&self) -> impl Iterator<Item = &str> {
        // An operation is named after its intent, what it does, and to what.
        let of_operation = |one: &'_ Operation| {
            let verb = format!("-{}", one.verb?.word().to_lowercase());
            one.id.find(&verb)
        };
        let operations = self
            .operations
            .iter()
            .filter_map(move |one| Some(&one.id[..of_operation(one)?]));
        std::iter::once(self.token.as_str()).chain(operations)
    }

    /// The operations there were, the oldest first.
    pub(super) fn operations(&self, now: u64) -> Vec<Going> {
        self.operations.iter().map(|one| one.shown(now)).collect()
    }

    fn is_busy(&self, now: u64) -> bool {
        self.operations.iter().any(|one| one.ends_at > now)
    }

    fn settle(&mut self, now: u64) {
        for operation in &mut self.operations {
            let Some(verb) = operation.verb else { continue };
            for part in &mut operation.parts {
                if part.done || part.at.is_none_or(|at| at > now) {
                    continue;
                }
                part.done = true;
                let at = self
                    .instances
                    .iter()
                    .position(|one| one.account == part.account && one.region == part.region);
                let Some(at) = at else { continue };
                let place = (part.account.clone(), part.region.clone());
                match (&part.refusal, verb) {
                    (None, Verb::Delete) => {
                        let gone = self.instances.remove(at);
                        for (id, kind) in gone.resources {
                            if operation.kept.contains(&id) {
                                let place = format!("{}/{}", gone.account, gone.region);
                                self.left.push((place, kind, id));
                            }
                        }
                    }
                    (None, _) => {
                        let one = &mut self.instances[at];
                        one.state = CURRENT;
                        one.reason.clear();
                        one.resources = operation.goal.get(&place).cloned().unwrap_or_default();
                    }
                    (Some(reason), verb) => {
                        let one = &mut self.instances[at];
                        one.state = if verb == Verb::Delete {
                            INOPERABLE
                        } else {
                            "OUTDATED"
                        };
                        one.reason.clone_from(reason);
                    }
                }
            }
        }
    }
}

impl Operation {
    fn shown(&self, now: u64) -> Going {
        let ended = self.parts.iter().map(|part| Ended {
            account: part.account.clone(),
            region: part.region.clone(),
            state: match (part.at, &part.refusal) {
                (None, _) => "CANCELLED",
                (Some(at), _) if at > now => "RUNNING",
                (Some(_), Some(_)) => "FAILED",
                (Some(_), None) => "SUCCEEDED",
            }
            .to_owned(),
            reason: part
                .refusal
                .clone()
                .filter(|_| part.at.is_some_and(|at| at <= now))
                .unwrap_or_default(),
        });
        Going {
            id: self.id.clone(),
            word: self.verb.map_or("UPDATE", Verb::word),
            over: self.ends_at <= now,
            failed: self.failed,
            ended: ended.collect(),
        }
    }
}

/// How an operation goes through accounts and regions.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    concurrent_percent: u8,
    tolerated_percent: u8,
    regions: RegionConcurrency,
}

impl Pace {
    pub(super) fn of(work: &StackSetWork) -> Pace {
        Pace {
            concurrent_percent: work.max_concurrent_percentage,
            tolerated_percent: work.failure_tolerance_percentage,
            regions: work.region_concurrency,
        }
    }

    /// A removal stops for nobody.
    pub(super) fn of_a_removal() -> Pace {
        Pace {
            concurrent_percent: 100,
            tolerated_percent: 100,
            regions: RegionConcurrency::Parallel,
        }
    }
}

impl State {
    /// Lets every operation on stack sets go on until `now`.
    pub(crate) fn settle_stack_sets(&mut self, now: u64) {
        for set in &mut self.stack_sets {
            set.settle(now);
        }
    }

    /// The stack set with this name or id, unless it is deleted.
    pub(super) fn stack_set(&mut self, name: &str) -> Option<&mut StackSetRecord> {
        self.stack_sets
            .iter_mut()
            .find(|set| set.stands() && (set.name == name || set.id == name))
    }

    fn lost_answer(&mut self, name: &str) -> Result<(), Trouble> {
        let lost = self.take_fault(|fault| match fault {
            Fault::CreateTimesOutButSucceeds { stack } if stack == name => Some(()),
            _ => None,
        });
        match lost {
            Some(()) => Err(Trouble::NoAnswer),
            None => Ok(()),
        }
    }

    /// Makes a stack set, which makes nothing in any account.
    pub(super) fn make_stack_set(
        &mut self,
        step: &Step,
        work: &StackSetWork,
        token: &str,
    ) -> Result<(), Trouble> {
        if let Some(stands) = self.stack_set(&work.name) {
            return if stands.token == token {
                Ok(())
            } else {
                Err(Trouble::Refused(format!(
                    "the stack set {} exists (NameAlreadyExistsException)",
                    work.name
                )))
            };
        }
        let count = self.stack_sets.len().to_string();
        let uuid = Random::of(self.seed, &["stack set", &work.name, &count]).uuid();
        self.stack_sets.push(StackSetRecord {
            name: work.name.clone(),
            id: format!("{}:{uuid}", work.name),
            region: work.region.clone(),
            token: token.to_owned(),
            deleted: false,
            set: goal(step, work, &self.account),
            instances: Vec::new(),
            left: Vec::new(),
            operations: Vec::new(),
        });
        Ok(())
    }

    /// Deletes a stack set that has no instances.
    pub(super) fn delete_stack_set(&mut self, id: &str) -> Result<(), Trouble> {
        match self.stack_set(id) {
            Some(set) if !set.instances.is_empty() => Err(Trouble::Refused(
                "StackSet is not empty (StackSetNotEmptyException)".to_owned(),
            )),
            Some(set) => {
                set.deleted = true;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Begins an operation on the instances of a group, unless one of this name was begun already.
    pub(super) fn begin_on_stack_set(
        &mut self,
        id: &str,
        operation: &str,
        verb: Verb,
        on: On<'_>,
        pace: Pace,
        now: u64,
    ) -> Result<Begun, Trouble> {
        let (seed, account) = (self.seed, self.account.clone());
        let Some(set) = self.stack_set(id) else {
            return Err(Trouble::Refused(format!("StackSet {id} not found")));
        };
        let name = set.name.clone();
        if set.operations.iter().any(|one| one.id == operation) {
            return Ok(Begun::Yes);
        }
        let somebody = self.take_fault(|fault| match fault {
            Fault::StackSetBusy { set, millis } if *set == name => Some(*millis),
            _ => None,
        });
        let set = self.stack_set(id).expect("it was found a moment ago");
        if let Some(millis) = somebody {
            set.operations.push(Operation {
                id: format!("somebody-{now}"),
                verb: None,
                goal: BTreeMap::new(),
                kept: BTreeSet::new(),
                parts: Vec::new(),
                failed: false,
                ends_at: now + millis,
            });
        }
        if set.is_busy(now) {
            return Ok(Begun::InProgress);
        }
        if let On::All(step, work) = on {
            let units = std::mem::take(&mut set.set.units);
            set.set = Set {
                units,
                ..goal(step, work, &account)
            };
        }
        if let On::Group(group) = on {
            let units = set.set.service_managed;
            // CloudFormation tells the units that were ever worked on, with or without accounts in them.
            if units && verb == Verb::Delete {
                set.set.units.retain(|unit| !group.ids.contains(unit));
            } else if units {
                set.set.units.extend(group.ids.iter().cloned());
            }
        }
        let places: Vec<(String, String, Option<String>)> = match (on, set.set.service_managed) {
            (On::All(..), _) => set
                .instances
                .iter()
                .filter(|one| one.state != INOPERABLE)
                .map(|one| (one.account.clone(), one.region.clone(), one.unit.clone()))
                .collect(),
            (On::Group(group), units) => {
                let accounts: Vec<(String, Option<String>)> = group
                    .ids
                    .iter()
                    .flat_map(|id| {
                        let members = if units {
                            members(seed, id)
                        } else {
                            vec![id.clone()]
                        };
                        members
                            .into_iter()
                            .map(move |one| (one, units.then(|| id.clone())))
                    })
                    .collect();
                let all = group.regions.iter().flat_map(|region| {
                    accounts
                        .iter()
                        .map(move |(account, unit)| (account.clone(), region.clone(), unit.clone()))
                });
                all.collect()
            }
        };
        let template = set.set.template.clone();
        let mut kept = BTreeSet::new();
        let mut goal = BTreeMap::new();
        for (account, region, unit) in &places {
            let stands = set
                .instances
                .iter_mut()
                .find(|one| one.account == *account && one.region == *region);
            match (stands, verb) {
                (Some(one), _) => one.state = "OUTDATED",
                (None, Verb::Delete) => {}
                (None, _) => set.instances.push(InstanceRecord {
                    account: account.clone(),
                    region: region.clone(),
                    unit: unit.clone(),
                    state: "OUTDATED",
                    reason: String::new(),
                    resources: BTreeMap::new(),
                }),
            }
            let mut resources = resources(&template, &set.set.parameters, account, region, &name);
            kept.append(&mut resources.kept);
            goal.insert((account.clone(), region.clone()), resources.kinds);
        }
        let (parts, failed, ends_at) = self.parts(&name, operation, &places, &goal, verb, pace, now);
        let set = self.stack_set(id).expect("it was found a moment ago");
        set.operations.push(Operation {
            id: operation.to_owned(),
            verb: Some(verb),
            goal,
            kept,
            parts,
            failed,
            ends_at,
        });
        self.lost_answer(&name)?;
        Ok(Begun::Yes)
    }

    /// When each place is done, and which refuses: so many accounts at once, region after region, until more have
    /// failed than may.
    #[expect(
        clippy::too_many_arguments,
        reason = "what an operation is made of, used in one place"
    )]
    fn parts(
        &mut self,
        name: &str,
        operation: &str,
        places: &[(String, String, Option<String>)],
        goal: &BTreeMap<(String, String), BTreeMap<String, String>>,
        verb: Verb,
        pace: Pace,
        now: u64,
    ) -> (Vec<Part>, bool, u64) {
        let seed = self.seed;
        let mut parts: Vec<Part> = Vec::new();
        let mut regions: Vec<&String> = Vec::new();
        for (_, region, _) in places {
            if !regions.contains(&region) {
                regions.push(region);
            }
        }
        let mut random = Random::of(seed, &["stack set operation", name, operation]);
        let began = now + stack_ms(&mut random);
        let mut ends_at = began;
        let mut stopped = false;
        for region in regions {
            let accounts: Vec<&String> = places
                .iter()
                .filter(|(_, other, _)| other == region)
                .map(|(account, _, _)| account)
                .collect();
            let of_all = |percent: u8| accounts.len() * usize::from(percent) / 100;
            let at_once = of_all(pace.concurrent_percent).max(1);
            let tolerated = of_all(pace.tolerated_percent);
            let mut starts = match pace.regions {
                RegionConcurrency::Sequential => ends_at,
                RegionConcurrency::Parallel => began,
            };
            let mut failures = 0;
            for wave in accounts.chunks(at_once) {
                let mut over = starts;
                for account in wave {
                    if stopped || failures > tolerated {
                        parts.push(Part {
                            account: (*account).clone(),
                            region: region.clone(),
                            at: None,
                            refusal: None,
                            done: false,
                        });
                        continue;
                    }
                    let refusal = self.take_fault(|fault| match fault {
                        Fault::AccountRefuses { account: id, reason } if id == *account => {
                            Some(reason.clone())
                        }
                        _ => None,
                    });
                    let place = ((*account).clone(), region.clone());
                    let kinds = goal.get(&place).into_iter().flat_map(BTreeMap::values);
                    let mut random = Random::of(seed, &["instance", name, operation, account, region]);
                    let longest = kinds
                        .map(|kind| resource_ms(kind, verb == Verb::Delete, &mut random))
                        .max();
                    let at = starts + stack_ms(&mut random) + longest.unwrap_or_default();
                    failures += usize::from(refusal.is_some());
                    over = over.max(at);
                    parts.push(Part {
                        account: (*account).clone(),
                        region: region.clone(),
                        at: Some(at),
                        refusal,
                        done: false,
                    });
                }
                starts = over;
            }
            // A region in which too much failed ends the operation: no other is begun.
            stopped |= failures > tolerated;
            ends_at = ends_at.max(starts);
        }
        (parts, stopped, ends_at)
    }
}

/// What an operation is about.
#[derive(Clone, Copy)]
pub(super) enum On<'a> {
    /// The set itself, and every instance it has.
    All(&'a Step, &'a StackSetWork),
    /// Some accounts, or units, in some regions.
    Group(&'a Group),
}

/// The accounts of an organizational unit: two, made up.
fn members(seed: u64, unit: &str) -> Vec<String> {
    let mut random = Random::of(seed, &["unit", unit]);
    (0..2)
        .map(|_| format!("{:012}", random.between(200_000_000_000, 999_999_999_999)))
        .collect()
}

fn goal(step: &Step, work: &StackSetWork, account: &str) -> Set {
    let mut parameters = BTreeMap::new();
    for (name, declared) in &work.interface.parameters {
        let given = work.parameters.get(name).and_then(Known::value);
        if let Some(value) = given.or(declared.default.as_ref()) {
            let shown = if declared.no_echo { "****" } else { value };
            parameters.insert(name.clone(), shown.to_owned());
        }
    }
    let mut set = Set {
        template: work.template.clone(),
        parameters,
        tags: step.tags(),
        description: stack_set::description(step, work),
        ..Set::default()
    };
    match &work.targets {
        Targets::Accounts {
            administration_role,
            execution_role,
            ..
        } => {
            let named = administration_role.as_ref().and_then(Known::value).cloned();
            set.administration_role = named.or_else(|| {
                Some(format!(
                    "arn:aws:iam::{account}:role/AWSCloudFormationStackSetAdministrationRole"
                ))
            });
            set.execution_role = Some(execution_role.clone());
        }
        Targets::Units { auto_deployment, .. } => {
            set.service_managed = true;
            set.auto_deployment = auto_deployment.clone();
        }
    }
    set
}

/// What a template makes in one place.
struct Resources {
    /// Types by logical id.
    kinds: BTreeMap<String, String>,
    /// What stays when the rest goes.
    kept: BTreeSet<String>,
}

/// What stands in an account once the template was carried out there.
fn resources(
    template: &str,
    parameters: &BTreeMap<String, String>,
    account: &str,
    region: &str,
    name: &str,
) -> Resources {
    let known: BTreeMap<String, Known<String>> = parameters
        .iter()
        .map(|(name, value)| (name.clone(), Known::Value(value.clone())))
        .collect();
    let stack = format!("StackSet-{name}");
    let place = Place {
        partition: "aws",
        region,
        account,
        stack: &stack,
    };
    let resolved = resolve(template, &known, &place).resources.into_iter();
    let there: Vec<_> = resolved
        .filter(|(_, resource)| resource.exists != Some(false))
        .collect();
    Resources {
        kept: there
            .iter()
            .filter(|(_, resource)| {
                let policy = resource.deletion_policy.as_deref();
                policy.is_some_and(|policy| policy != "Delete")
            })
            .map(|(id, _)| id.clone())
            .collect(),
        kinds: there
            .into_iter()
            .map(|(id, resource)| (id, resource.kind))
            .collect(),
    }
}
