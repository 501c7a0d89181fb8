//! The simulated CloudFormation: stacks, and the operations on them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::spec::Spec;
use super::timeline::{Event, Failing, Mishaps, Part, Timeline};
use crate::durations;
use crate::fault::Fault;
use crate::random::Random;
use crate::trouble::Trouble;
use crate::world::State;

/// One stack that was made, with everything that ever happens to it.
#[derive(Clone, Debug)]
pub(crate) struct StackRecord {
    pub(crate) name: String,
    pub(crate) region: String,
    pub(super) id: String,
    pub(super) protected: bool,
    /// What it was made from. An operation never begins before the one before it has ended.
    operations: Vec<Operation>,
}

/// One operation on a stack: all that happens in it, decided when it began.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    /// The intent that began it.
    pub(super) token: String,
    pub(super) verb: Verb,
    /// What the stack is once it has ended well.
    goal: Option<Arc<Spec>>,
    pub(super) events: Vec<Event>,
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

impl Operation {
    fn began(&self) -> u64 {
        self.events.first().map_or(0, |event| event.at)
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
    fn events(&self, now: u64) -> impl Iterator<Item = &Event> {
        let all = self.operations.iter().flat_map(|operation| &operation.events);
        all.filter(move |event| event.at <= now)
    }

    /// Its status, in CloudFormation's words.
    pub(crate) fn status(&self, now: u64) -> &'static str {
        self.events(now)
            .filter(|event| event.resource.is_none())
            .last()
            .map_or("", |event| event.status)
    }

    pub(crate) fn is_gone(&self, now: u64) -> bool {
        self.status(now) == "DELETE_COMPLETE"
    }

    pub(super) fn is_busy(&self, now: u64) -> bool {
        self.status(now).ends_with("_IN_PROGRESS")
    }

    /// Its resources that are there, or on their way.
    pub(crate) fn resources(&self, now: u64) -> BTreeMap<String, Resource> {
        let mut resources = BTreeMap::new();
        for event in self.events(now) {
            let Some(id) = &event.resource else { continue };
            match event.status {
                "DELETE_COMPLETE" | "DELETE_SKIPPED" => {
                    resources.remove(id);
                }
                status => {
                    let resource = Resource {
                        kind: event.kind.clone(),
                        physical: event.physical.clone(),
                        status,
                    };
                    resources.insert(id.clone(), resource);
                }
            }
        }
        resources
    }

    /// What it left in place because its template says so.
    pub(crate) fn left_in_place(&self, now: u64) -> impl Iterator<Item = &Event> {
        self.events(now).filter(|event| event.status == "DELETE_SKIPPED")
    }

    /// What it is: the goal of the last operation that ended well.
    pub(super) fn spec(&self, now: u64) -> Option<&Arc<Spec>> {
        self.operations
            .iter()
            .rev()
            .find(|operation| operation.goal.is_some() && operation.ended_well(now))
            .and_then(|operation| operation.goal.as_ref())
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

    /// When something was last begun.
    pub(super) fn touched(&self) -> u64 {
        self.operations.last().map_or(0, Operation::began)
    }

    /// The last operation, as far as it has come.
    pub(super) fn latest(&self, now: u64) -> Operation {
        let mut operation = self
            .operations
            .last()
            .cloned()
            .expect("a stack begins with the operation that makes it");
        operation.events.retain(|event| event.at <= now);
        operation
    }

    /// The operation that an intent began, however far it has come.
    pub(super) fn begun_by(&self, token: &str) -> Option<&Operation> {
        self.operations.iter().find(|operation| operation.token == token)
    }

    fn timeline(&self, random: &mut Random) -> Timeline {
        Timeline::new(&self.name, &self.id, durations::stack_ms(random))
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
            Some(Part {
                id: id.clone(),
                kind: resource.kind.clone(),
                physical: spec.physical(&self.name, id),
                after: resource.after.clone(),
                making_ms: durations::resource_ms(&resource.kind, false, random),
                removing_ms: durations::resource_ms(&resource.kind, true, random),
                kept: resource.kept,
                new,
            })
        };
        ids.into_iter().filter_map(part).collect()
    }
}

impl State {
    /// The stack of this name that stands.
    pub(super) fn stack(&mut self, region: &str, name: &str, now: u64) -> Option<&mut StackRecord> {
        self.stacks
            .iter_mut()
            .rev()
            .find(|stack| stack.name == name && stack.region == region && !stack.is_gone(now))
    }

    /// A stack by its id, which finds it even after it is gone.
    pub(super) fn stack_by_id(&mut self, id: &str) -> Option<&mut StackRecord> {
        self.stacks.iter_mut().find(|stack| stack.id == id)
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
        if let Some(stands) = self.stack(region, name, now) {
            return match stands.begun_by(token) {
                Some(_) => Ok(Begun::Yes),
                None => Err(Trouble::Refused(format!(
                    "Stack [{name}] already exists (AlreadyExistsException)"
                ))),
            };
        }
        let count = self.stacks.len().to_string();
        let mut random = Random::of(self.seed, &["stack", region, name, &count]);
        let mut stack = StackRecord {
            name: name.to_owned(),
            region: region.to_owned(),
            id: format!(
                "arn:aws:cloudformation:{region}:{}:stack/{name}/{}",
                self.account,
                random.uuid()
            ),
            protected: false,
            operations: Vec::new(),
        };
        let parts = stack.parts(goal, goal.interface.resources.keys(), true, &mut random);
        let mishaps = self.mishaps(name, &parts);
        stack.operations.push(Operation {
            token: token.to_owned(),
            verb: Verb::Create,
            goal: Some(goal.clone()),
            events: stack.timeline(&mut random).create(&parts, now, &mishaps),
        });
        self.stacks.push(stack);
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
        let stack = self.idle_stack(id, token, now)?;
        if stack.begun_by(token).is_some() {
            return Ok(Begun::Yes);
        }
        let Some(before) = stack.spec(now).cloned() else {
            return Err(Trouble::Refused(format!(
                "Stack:{id} is in {} state and can not be updated (ValidationError)",
                stack.status(now)
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
        if let Some(stack) = self.stack_by_id(id) {
            let events = stack
                .timeline(&mut random)
                .update(&parts, &unwanted, now, &mishaps);
            stack.operations.push(Operation {
                token: token.to_owned(),
                verb: Verb::Update,
                goal: Some(goal.clone()),
                events,
            });
        }
        Ok(Begun::Yes)
    }

    /// Goes on with a rollback that had failed.
    pub(super) fn continue_rollback(&mut self, id: &str, now: u64) -> Result<(), Trouble> {
        let mut random = self.random(id);
        let stack = self.idle_stack(id, "", now)?;
        if stack.status(now) != "UPDATE_ROLLBACK_FAILED" {
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
        let resources = stack.resources(now);
        let broken = resources
            .iter()
            .filter(|(_, resource)| resource.status.ends_with("_FAILED"));
        let broken = stack.parts(&settled, broken.map(|(id, _)| id), false, &mut random);
        let added = resources
            .keys()
            .filter(|id| !settled.interface.resources.contains_key(*id));
        let added = stack.parts(&failed, added, true, &mut random);
        let events = stack
            .timeline(&mut random)
            .continue_rollback(&broken, &added, now);
        stack.operations.push(Operation {
            token: String::new(),
            verb: Verb::ContinueRollback,
            goal: None,
            events,
        });
        Ok(())
    }

    /// Begins to delete a stack. Succeeds when that has begun already.
    pub(super) fn delete_stack(&mut self, id: &str, token: &str, now: u64) -> Result<(), Trouble> {
        let mut random = self.random(id);
        let Some(stack) = self.stack_by_id(id) else {
            return Ok(());
        };
        if stack.is_gone(now) || stack.status(now) == "DELETE_IN_PROGRESS" {
            return Ok(());
        }
        if stack.protected {
            return Err(Trouble::Refused(format!(
                "Stack [{}] cannot be deleted while TerminationProtection is enabled (ValidationError)",
                stack.name
            )));
        }
        let stack = self.idle_stack(id, "", now)?;
        let resources = stack.resources(now);
        // What there is may come from more than one template: an update that was left half done.
        let specs: Vec<Arc<Spec>> = stack
            .operations
            .iter()
            .rev()
            .filter_map(|operation| operation.goal.clone())
            .collect();
        let mut parts: Vec<Part> = Vec::new();
        for id in resources.keys() {
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
        if let Some(stack) = self.stack_by_id(id) {
            let events = stack.timeline(&mut random).delete(&parts, now, failing.as_ref());
            stack.operations.push(Operation {
                token: token.to_owned(),
                verb: Verb::Delete,
                goal: None,
                events,
            });
        }
        Ok(())
    }

    /// A stack to begin something with, unless something else is going on.
    fn idle_stack(&mut self, id: &str, token: &str, now: u64) -> Result<&mut StackRecord, Trouble> {
        let stack = self.stack_by_id(id).ok_or_else(|| {
            Trouble::Refused(format!("Stack with id {id} does not exist (ValidationError)"))
        })?;
        if stack.is_busy(now) && stack.begun_by(token).is_none() {
            return Err(Trouble::Refused(format!(
                "Stack:{id} is in {} state and can not be changed (ValidationError)",
                stack.status(now)
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
            _ => None,
        });
        let rollback = failing.as_ref().and_then(|_| {
            self.take_fault(|fault| match fault {
                Fault::RollbackFails { stack, reason } if stack == name => Some(reason.clone()),
                _ => None,
            })
        });
        Mishaps { failing, rollback }
    }
}
