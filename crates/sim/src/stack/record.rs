//! The simulated CloudFormation: stacks, and the operations on them.

use std::collections::BTreeMap;
use std::sync::Arc;

use landfall_policy::Verb as Handler;

use super::spec::Spec;
use super::timeline::{Event, Failing, Mishaps, Part, Timeline};
use crate::durations;
use crate::fault::Fault;
use crate::queue::Due;
use crate::random::Random;
use crate::trouble::Trouble;
use crate::world::State;

/// One stack that was made, with everything that ever happens to it.
#[derive(Clone, Debug)]
pub(crate) struct StackRecord {
    pub(crate) name: String,
    pub(crate) region: String,
    pub(crate) id: String,
    pub(super) protected: bool,
    /// What it was made from. An operation never begins before the one before it has ended.
    operations: Vec<Operation>,
    /// How many events of the last operation have happened.
    happened: usize,
    /// Its status, in CloudFormation's words.
    pub(crate) status: &'static str,
    /// Its resources that are there, or on their way.
    pub(crate) resources: BTreeMap<String, Resource>,
    /// What it left in place because its template says so.
    pub(crate) left: Vec<Event>,
    /// From when on its outputs are shown.
    pub(crate) outputs_from: u64,
}

/// One operation on a stack: all that happens in it, as far as it was decided when it began.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    /// The intent that began it.
    pub(super) token: String,
    pub(super) verb: Verb,
    /// What the stack is once it has ended well.
    goal: Option<Arc<Spec>>,
    recipe: Recipe,
    pub(super) events: Vec<Event>,
}

/// What the events of an operation follow from. What is found out only on the way (a name that is taken,
/// a network that is not empty) is written in here, and the events that are still to come are worked out
/// anew.
#[derive(Clone, Debug)]
struct Recipe {
    from: u64,
    pause_ms: u64,
    parts: Vec<Part>,
    /// Removed in an update, or when a rollback goes on.
    others: Vec<Part>,
    mishaps: Mishaps,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Create,
    Update,
    ContinueRollback,
    Delete,
}

/// A resource of a stack at some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resource {
    pub(crate) kind: String,
    pub(crate) physical: String,
    pub(crate) status: &'static str,
}

/// What came of asking for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    /// It has begun; or had, under the same token.
    Yes,
    /// There was nothing to change.
    NothingToDo,
}

/// For how long CloudFormation goes on trying to remove something that is in use, and how often.
const HELD_MS: (u64, u64) = (300_000, 15_000);
/// How long it takes until AWS refuses something.
const REFUSED_MS: u64 = 2_000;

impl Operation {
    fn new(
        stack: &StackRecord,
        token: &str,
        verb: Verb,
        goal: Option<Arc<Spec>>,
        recipe: Recipe,
    ) -> Operation {
        let mut operation = Operation {
            token: token.to_owned(),
            verb,
            goal,
            recipe,
            events: Vec::new(),
        };
        operation.work_out(&stack.name, &stack.id);
        operation
    }

    fn work_out(&mut self, name: &str, id: &str) {
        let Recipe {
            from,
            pause_ms,
            parts,
            others,
            mishaps,
        } = &self.recipe;
        let timeline = Timeline::new(name, id, *pause_ms);
        self.events = match self.verb {
            Verb::Create => timeline.create(parts, *from, mishaps),
            Verb::Update => timeline.update(parts, others, *from, mishaps),
            Verb::ContinueRollback => timeline.continue_rollback(parts, others, *from),
            Verb::Delete => timeline.delete(parts, *from, &mishaps.removals),
        };
    }

    fn last(&self) -> (u64, &'static str) {
        self.events
            .last()
            .map_or((0, ""), |event| (event.at, event.status))
    }

    fn ended_well(&self, now: u64) -> bool {
        let (at, status) = self.last();
        at <= now && matches!(status, "CREATE_COMPLETE" | "UPDATE_COMPLETE")
    }
}

impl StackRecord {
    pub(crate) fn is_gone(&self) -> bool {
        self.status == "DELETE_COMPLETE"
    }

    pub(super) fn is_busy(&self) -> bool {
        self.status.ends_with("_IN_PROGRESS")
    }

    /// What it is: the goal of the last operation that ended well.
    pub(crate) fn spec(&self, now: u64) -> Option<&Arc<Spec>> {
        self.operations
            .iter()
            .rev()
            .find(|operation| operation.goal.is_some() && operation.ended_well(now))
            .and_then(|operation| operation.goal.as_ref())
    }

    /// What it is becoming, or is.
    pub(crate) fn newest_spec(&self) -> Option<&Arc<Spec>> {
        let mut operations = self.operations.iter().rev();
        operations.find_map(|operation| operation.goal.as_ref())
    }

    /// The newest of what it was to be in which there is such a resource.
    pub(super) fn spec_with(&self, id: &str) -> Option<&Arc<Spec>> {
        let goals = self
            .operations
            .iter()
            .rev()
            .filter_map(|operation| operation.goal.as_ref());
        goals
            .into_iter()
            .find(|goal| goal.interface.resources.contains_key(id))
    }

    /// Its tags, which it has from the beginning.
    pub(crate) fn tags(&self, now: u64) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        let first = self
            .operations
            .iter()
            .find_map(|operation| operation.goal.as_ref());
        self.spec(now).or(first).map_or(&NONE, |spec| &spec.tags)
    }

    /// Sets a tag, or takes it away, by hand.
    pub(crate) fn retag(&mut self, key: &str, value: Option<&str>) {
        let goals = self
            .operations
            .iter_mut()
            .filter_map(|operation| operation.goal.as_mut());
        for goal in goals {
            let tags = &mut Arc::make_mut(goal).tags;
            match value {
                Some(value) => tags.insert(key.to_owned(), value.to_owned()),
                None => tags.remove(key),
            };
        }
    }

    /// When something was last begun.
    pub(super) fn touched(&self) -> u64 {
        self.operations
            .last()
            .map_or(0, |operation| operation.recipe.from)
    }

    /// What has happened in the last operation.
    pub(super) fn latest(&self) -> &[Event] {
        let last = self.operations.last();
        last.map_or(&[], |operation| &operation.events[..self.happened])
    }

    /// The names of the intents that began something with it.
    pub(crate) fn intents(&self) -> impl Iterator<Item = &str> {
        self.operations.iter().map(|operation| operation.token.as_str())
    }

    /// The operation that an intent began, however far it has come.
    pub(super) fn begun_by(&self, token: &str) -> Option<&Operation> {
        self.operations.iter().find(|operation| operation.token == token)
    }

    fn next_event(&self) -> Option<&Event> {
        self.operations.last()?.events.get(self.happened)
    }

    /// The resources of a spec that are among `ids`, as parts to be acted on.
    fn parts<'a>(
        &self,
        spec: &Spec,
        ids: impl IntoIterator<Item = &'a String>,
        new: bool,
        random: &mut Random,
    ) -> Vec<Part> {
        let part = |id: &String| {
            let resource = spec.interface.resources.get(id)?;
            let (physical, named) = spec.physical(&self.name, &self.id, id);
            Some(Part {
                id: id.clone(),
                kind: resource.kind.clone(),
                physical,
                after: resource.after.clone(),
                making_ms: durations::resource_ms(&resource.kind, false, random),
                removing_ms: durations::resource_ms(&resource.kind, true, random),
                kept: resource.kept && !resource.snapshot,
                snapshot: resource.snapshot,
                new,
                named,
                held_ms: 0,
            })
        };
        ids.into_iter().filter_map(part).collect()
    }

    /// Takes in the next event.
    fn take(&mut self) -> Event {
        let event = self.next_event().expect("an event is due").clone();
        self.happened += 1;
        match (&event.resource, event.status) {
            (None, status) => self.status = status,
            (Some(id), "DELETE_COMPLETE") => {
                let gone = self.resources.remove(id);
                if gone.is_some_and(|gone| gone.status != "CREATE_FAILED") && self.leaves_snapshot(id) {
                    self.left.push(snapshot_of(&event));
                }
            }
            (Some(id), "DELETE_SKIPPED") => {
                self.resources.remove(id);
                self.left.push(event.clone());
            }
            (Some(id), status) => {
                let resource = Resource {
                    kind: event.kind.clone(),
                    physical: event.physical.clone(),
                    status,
                };
                self.resources.insert(id.clone(), resource);
            }
        }
        event
    }

    /// Whether the last operation takes a snapshot of this resource before it removes it.
    fn leaves_snapshot(&self, id: &str) -> bool {
        let parts = self.operations.last().map(|operation| &operation.recipe.parts);
        parts
            .into_iter()
            .flatten()
            .any(|part| part.id == id && part.snapshot && !part.new)
    }

    /// Works the events of the last operation out anew, after something was found out.
    fn rework(&mut self, change: impl FnOnce(&mut Recipe)) {
        let (name, id) = (self.name.clone(), self.id.clone());
        let operation = self.operations.last_mut().expect("an operation is going on");
        change(&mut operation.recipe);
        operation.work_out(&name, &id);
    }
}

/// The snapshot that stays of a resource whose removal this event reports.
fn snapshot_of(event: &Event) -> Event {
    let (_, digits) = event.physical.split_once('-').unwrap_or(("", &event.physical));
    Event {
        kind: "AWS::EC2::Snapshot".to_owned(),
        physical: format!("snap-{digits}"),
        ..event.clone()
    }
}

impl Recipe {
    fn new(parts: Vec<Part>, others: Vec<Part>, from: u64, mishaps: Mishaps, random: &mut Random) -> Recipe {
        Recipe {
            from,
            pause_ms: durations::stack_ms(random),
            parts,
            others,
            mishaps,
        }
    }

    fn part(&mut self, id: &str) -> Option<&mut Part> {
        self.parts.iter_mut().find(|part| part.id == id)
    }
}

impl State {
    /// The stack of this name that stands.
    pub(super) fn stack(&mut self, region: &str, name: &str) -> Option<&mut StackRecord> {
        self.stacks
            .iter_mut()
            .rev()
            .find(|stack| stack.name == name && stack.region == region && !stack.is_gone())
    }

    /// Begins an operation, and takes in what happens in it at once.
    fn begin(&mut self, at: usize, operation: Operation, now: u64) {
        let stack = &mut self.stacks[at];
        stack.operations.push(operation);
        stack.happened = 0;
        self.stack_is_due(at, now);
    }

    /// Takes in everything that has happened in a stack until now, and what follows from it.
    pub(crate) fn stack_is_due(&mut self, at: usize, now: u64) {
        loop {
            let Some(event) = self.stacks[at].next_event() else {
                return;
            };
            if event.at > now {
                let next = event.at;
                self.schedule(next, Due::Stack(at));
                return;
            }
            if self.is_decided_otherwise(at) {
                continue;
            }
            let event = self.stacks[at].take();
            self.happened(at, &event);
        }
    }

    /// Why a resource cannot be made at this moment.
    fn refused(&self, at: usize, part: &Part, now: u64) -> Option<String> {
        if let Some(reason) = self.forbidden(at, &part.id, &[Handler::Create, Handler::Read]) {
            return Some(reason);
        }
        let runs_as_role = matches!(
            part.kind.as_str(),
            "AWS::EKS::Cluster" | "AWS::EKS::Nodegroup" | "AWS::Lambda::Function"
        );
        if runs_as_role && now < self.roles_visible_at {
            return Some(if part.kind == "AWS::Lambda::Function" {
                Fault::usual_reason(&part.kind)
            } else {
                "The role with name eks-role cannot be assumed. (Service: Eks, Status Code: 400)".to_owned()
            });
        }
        if !part.named {
            return None;
        }
        self.name_taken(&part.kind, &part.physical, &self.stacks[at].region)
    }

    /// Decides what could not be decided when the operation began: whether a name is free, and whether
    /// something that is to be removed is still in use. True when the events to come have changed.
    fn is_decided_otherwise(&mut self, at: usize) -> bool {
        let stack = &self.stacks[at];
        let (Some(event), Some(operation)) = (stack.next_event(), stack.operations.last()) else {
            return false;
        };
        let Some(id) = event.resource.clone() else {
            return false;
        };
        let recipe = &operation.recipe;
        let verb = operation.verb;
        let Some(part) = recipe.parts.iter().find(|part| part.id == id) else {
            return false;
        };
        match event.status {
            "CREATE_IN_PROGRESS" if recipe.mishaps.failing.as_ref().is_none_or(|one| one.id != id) => {
                let Some(reason) = self.refused(at, part, event.at) else {
                    return false;
                };
                self.stacks[at].rework(|recipe| {
                    if let Some(part) = recipe.part(&id) {
                        part.making_ms = REFUSED_MS;
                    }
                    recipe.mishaps.failing = Some(Failing { id, reason });
                });
                true
            }
            "UPDATE_IN_PROGRESS" if recipe.mishaps.failing.as_ref().is_none_or(|one| one.id != id) => {
                let Some(reason) = self.forbidden(at, &id, &[Handler::Update, Handler::Read]) else {
                    return false;
                };
                self.stacks[at].rework(|recipe| {
                    if let Some(part) = recipe.part(&id) {
                        part.making_ms = REFUSED_MS;
                    }
                    recipe.mishaps.failing = Some(Failing { id, reason });
                });
                true
            }
            "DELETE_IN_PROGRESS" | "DELETE_COMPLETE" if matches!(verb, Verb::Create | Verb::Delete) => {
                if recipe.mishaps.removals.iter().any(|one| one.id == id) {
                    return false;
                }
                let starts = event.status == "DELETE_IN_PROGRESS";
                let held = part.held_ms;
                let event = event.clone();
                // What was never made has nothing to be removed.
                let made = recipe.mishaps.failing.as_ref().is_none_or(|one| one.id != id);
                let forbidden = self
                    .forbidden(at, &id, &[Handler::Delete])
                    .filter(|_| starts && made);
                let forbidden = forbidden.map(|reason| (reason, true));
                let Some((reason, at_once)) =
                    forbidden.or_else(|| self.in_use(&self.stacks[at].region, &event))
                else {
                    return false;
                };
                if starts && !at_once {
                    return false;
                }
                let (longest, again) = HELD_MS;
                self.stacks[at].rework(|recipe| {
                    let Some(part) = recipe.part(&id) else { return };
                    if starts {
                        part.removing_ms = REFUSED_MS;
                    }
                    if starts || held >= longest {
                        recipe.mishaps.removals.push(Failing { id, reason });
                    } else {
                        part.held_ms += again;
                        part.removing_ms += again;
                    }
                });
                true
            }
            _ => false,
        }
    }

    /// A stack by its id, which finds it even after it is gone.
    pub(super) fn stack_by_id(&mut self, id: &str) -> Option<&mut StackRecord> {
        self.stacks.iter_mut().find(|stack| stack.id == id)
    }

    fn place(&self, id: &str) -> Option<usize> {
        self.stacks.iter().position(|stack| stack.id == id)
    }

    /// Begins to make a stack.
    pub(super) fn create_stack(
        &mut self,
        region: &str,
        name: &str,
        goal: &Arc<Spec>,
        token: &str,
        now: u64,
    ) -> Result<Begun, Trouble> {
        if let Some(stands) = self.stack(region, name) {
            return match stands.begun_by(token) {
                Some(_) => Ok(Begun::Yes),
                None => Err(Trouble::Refused(format!(
                    "Stack [{name}] already exists (AlreadyExistsException)"
                ))),
            };
        }
        let count = self.stacks.len().to_string();
        let mut random = Random::of(self.seed, &["stack", region, name, &count]);
        let stack = StackRecord {
            name: name.to_owned(),
            region: region.to_owned(),
            id: format!(
                "arn:aws:cloudformation:{region}:{}:stack/{name}/{}",
                self.account,
                random.uuid()
            ),
            protected: false,
            operations: Vec::new(),
            happened: 0,
            status: "",
            resources: BTreeMap::new(),
            left: Vec::new(),
            outputs_from: 0,
        };
        let parts = stack.parts(goal, goal.interface.resources.keys(), true, &mut random);
        let mishaps = self.mishaps(name, &parts);
        let recipe = Recipe::new(parts, Vec::new(), now, mishaps, &mut random);
        let operation = Operation::new(&stack, token, Verb::Create, Some(goal.clone()), recipe);
        self.stacks.push(stack);
        self.begin(self.stacks.len() - 1, operation, now);
        let lost = self.take_fault(|fault| match fault {
            Fault::CreateTimesOutButSucceeds { stack } if stack == name => Some(()),
            _ => None,
        });
        match lost {
            Some(()) => Err(Trouble::NoAnswer),
            None => Ok(Begun::Yes),
        }
    }

    /// Begins to change a stack that stands well.
    pub(super) fn update_stack(
        &mut self,
        id: &str,
        goal: &Arc<Spec>,
        token: &str,
        now: u64,
    ) -> Result<Begun, Trouble> {
        let mut random = self.random(id);
        let stack = self.idle_stack(id, token)?;
        if stack.begun_by(token).is_some() {
            return Ok(Begun::Yes);
        }
        let Some(before) = stack.spec(now).cloned() else {
            return Err(Trouble::Refused(format!(
                "Stack:{id} is in {} state and can not be updated (ValidationError)",
                stack.status
            )));
        };
        if goal.changes(&stack.name, &before).is_empty() {
            return Ok(Begun::NothingToDo);
        }
        let differences = goal.since(&before);
        let mut parts = stack.parts(goal, &differences.changed, false, &mut random);
        parts.extend(stack.parts(goal, &differences.added, true, &mut random));
        let unwanted = stack.parts(&before, &differences.removed, false, &mut random);
        let name = stack.name.clone();
        let mishaps = self.mishaps(&name, &parts);
        let recipe = Recipe::new(parts, unwanted, now, mishaps, &mut random);
        if let Some(at) = self.place(id) {
            let operation = Operation::new(&self.stacks[at], token, Verb::Update, Some(goal.clone()), recipe);
            self.begin(at, operation, now);
        }
        Ok(Begun::Yes)
    }

    /// Goes on with a rollback that had failed.
    pub(super) fn continue_rollback(&mut self, id: &str, now: u64) -> Result<(), Trouble> {
        let mut random = self.random(id);
        let stack = self.idle_stack(id, "")?;
        if stack.status != "UPDATE_ROLLBACK_FAILED" {
            return Ok(());
        }
        let settled = stack.spec(now).cloned();
        let failed = stack
            .operations
            .last()
            .and_then(|operation| operation.goal.clone());
        let (Some(settled), Some(failed)) = (settled, failed) else {
            return Err(Trouble::Refused(format!("Stack {id} was never complete")));
        };
        let resources = &stack.resources;
        let broken = resources
            .iter()
            .filter(|(_, resource)| resource.status.ends_with("_FAILED"));
        let broken = stack.parts(&settled, broken.map(|(id, _)| id), false, &mut random);
        let added = resources
            .keys()
            .filter(|id| !settled.interface.resources.contains_key(*id));
        let added = stack.parts(&failed, added, true, &mut random);
        let recipe = Recipe::new(broken, added, now, Mishaps::default(), &mut random);
        let operation = Operation::new(stack, "", Verb::ContinueRollback, None, recipe);
        if let Some(at) = self.place(id) {
            self.begin(at, operation, now);
        }
        Ok(())
    }

    /// Begins to delete a stack. Succeeds when that has begun already.
    pub(crate) fn delete_stack(&mut self, id: &str, token: &str, now: u64) -> Result<(), Trouble> {
        let mut random = self.random(id);
        let Some(stack) = self.stack_by_id(id) else {
            return Ok(());
        };
        if stack.is_gone() || stack.status == "DELETE_IN_PROGRESS" {
            return Ok(());
        }
        if stack.protected {
            return Err(Trouble::Refused(format!(
                "Stack [{}] cannot be deleted while TerminationProtection is enabled (ValidationError)",
                stack.name
            )));
        }
        let stack = self.idle_stack(id, "")?;
        // What there is may come from more than one template: an update that was left half done.
        let specs: Vec<Arc<Spec>> = stack
            .operations
            .iter()
            .rev()
            .filter_map(|operation| operation.goal.clone())
            .collect();
        let mut parts: Vec<Part> = Vec::new();
        for id in stack.resources.keys() {
            let spec = specs
                .iter()
                .find(|spec| spec.interface.resources.contains_key(id));
            if let Some(spec) = spec {
                parts.extend(stack.parts(spec, [id], false, &mut random));
            }
        }
        let name = stack.name.clone();
        let failing = self.take_fault(|fault| match fault {
            Fault::DeleteFails {
                stack,
                resource,
                reason,
            } if *stack == name && parts.iter().any(|part| part.id == *resource && !part.kept) => {
                Some(Failing {
                    id: resource.clone(),
                    reason: reason.clone(),
                })
            }
            _ => None,
        });
        let mishaps = Mishaps {
            removals: failing.into_iter().collect(),
            ..Mishaps::default()
        };
        let recipe = Recipe::new(parts, Vec::new(), now, mishaps, &mut random);
        if let Some(at) = self.place(id) {
            let operation = Operation::new(&self.stacks[at], token, Verb::Delete, None, recipe);
            self.begin(at, operation, now);
        }
        Ok(())
    }

    /// A stack to begin something with, unless something else is going on.
    fn idle_stack(&mut self, id: &str, token: &str) -> Result<&mut StackRecord, Trouble> {
        let stack = self.stack_by_id(id).ok_or_else(|| {
            Trouble::Refused(format!("Stack with id {id} does not exist (ValidationError)"))
        })?;
        if stack.is_busy() && stack.begun_by(token).is_none() {
            return Err(Trouble::Refused(format!(
                "Stack:{id} is in {} state and can not be changed (ValidationError)",
                stack.status
            )));
        }
        Ok(stack)
    }

    /// Chance for the next operation on a stack.
    fn random(&mut self, id: &str) -> Random {
        let seed = self.seed;
        let count = self.stack_by_id(id).map_or(0, |stack| stack.operations.len());
        Random::of(seed, &["operation", id, &count.to_string()])
    }

    /// What goes wrong in the operation that is about to begin.
    fn mishaps(&mut self, name: &str, parts: &[Part]) -> Mishaps {
        let failing = self.take_fault(|fault| match fault {
            Fault::StackFails {
                stack,
                resource,
                reason,
            } if stack == name && parts.iter().any(|part| part.id == *resource) => Some(Failing {
                id: resource.clone(),
                reason: reason.clone(),
            }),
            Fault::LimitExceeded { stack, resource } if stack == name => {
                let mut parts = parts.iter();
                let part = parts.find(|part| part.id == *resource)?;
                Some(Failing {
                    id: resource.clone(),
                    reason: Fault::usual_reason(&part.kind),
                })
            }
            _ => None,
        });
        let rollback = failing.as_ref().and_then(|_| {
            self.take_fault(|fault| match fault {
                Fault::RollbackFails { stack, reason } if stack == name => Some(reason.clone()),
                _ => None,
            })
        });
        Mishaps {
            failing,
            rollback,
            removals: Vec::new(),
        }
    }
}
