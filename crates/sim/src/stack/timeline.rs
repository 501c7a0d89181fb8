//! What will happen in a stack, and when: computed at once when an operation begins.
//!
//! Pure: takes what has to be done and how long each part takes, returns events with their times.

use std::collections::BTreeSet;

use super::spec::STACK;

/// Something that happens in a stack at some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) at: u64,
    /// The resource's logical id; none for the stack itself.
    pub(crate) resource: Option<String>,
    pub(crate) kind: String,
    pub(crate) physical: String,
    pub(crate) status: &'static str,
    pub(crate) reason: Option<String>,
}

/// One resource to act on.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) physical: String,
    /// Resources it needs first.
    pub(super) after: Vec<String>,
    /// How long making or changing it takes, and how long removing it.
    pub(super) making_ms: u64,
    pub(super) removing_ms: u64,
    /// Whether it stays when the stack goes.
    pub(super) kept: bool,
    /// Whether a snapshot of it stays when it goes.
    pub(super) snapshot: bool,
    /// Whether it is new, or changed in place.
    pub(super) new: bool,
    /// Whether its name was asked for, so that it can be taken already.
    pub(super) named: bool,
    /// How much longer than planned its removal has been tried already.
    pub(super) held_ms: u64,
}

/// A resource that fails, and what is said about it.
#[derive(Clone, Debug)]
pub(super) struct Failing {
    pub(super) id: String,
    pub(super) reason: String,
}

/// What will go wrong in an operation.
#[derive(Clone, Debug, Default)]
pub(super) struct Mishaps {
    /// A resource that cannot be made, changed or removed.
    pub(super) failing: Option<Failing>,
    /// Why rolling back fails, too.
    pub(super) rollback: Option<String>,
    /// Resources that cannot be removed.
    pub(super) removals: Vec<Failing>,
}

/// The events of an operation on one stack, as they are put together.
pub(super) struct Timeline {
    stack: String,
    stack_id: String,
    /// How long the stack itself takes between its resources.
    pause_ms: u64,
    events: Vec<Event>,
}

impl Timeline {
    pub(super) fn new(stack: &str, stack_id: &str, pause_ms: u64) -> Timeline {
        Timeline {
            stack: stack.to_owned(),
            stack_id: stack_id.to_owned(),
            pause_ms,
            events: Vec::new(),
        }
    }

    /// Makes every part; when one fails, removes what was begun.
    pub(super) fn create(mut self, parts: &[Part], from: u64, mishaps: &Mishaps) -> Vec<Event> {
        self.own(from, "CREATE_IN_PROGRESS", Some("User Initiated".to_owned()));
        let made = self.make(parts, from + self.pause_ms, mishaps.failing.as_ref());
        let Some(failing) = mishaps.failing.as_ref() else {
            self.own(made.until + self.pause_ms, "CREATE_COMPLETE", None);
            return self.ended();
        };
        self.own(
            made.until,
            "ROLLBACK_IN_PROGRESS",
            Some(format!(
                "The following resource(s) failed to create: [{}]. Rollback requested by user.",
                failing.id
            )),
        );
        let begun = made.begun(parts);
        let mut stuck = mishaps.removals.clone();
        stuck.extend(mishaps.rollback.as_ref().map(|reason| Failing {
            id: failing.id.clone(),
            reason: reason.clone(),
        }));
        let until = self.remove(&begun, made.until + self.pause_ms, &stuck);
        let status = if stuck.is_empty() {
            "ROLLBACK_COMPLETE"
        } else {
            "ROLLBACK_FAILED"
        };
        let reason = stuck.last().map(|stuck| stuck.reason.clone());
        self.own(until + self.pause_ms, status, reason);
        self.ended()
    }

    /// Makes or changes every part, then removes what is no longer wanted; when one fails, takes it back.
    pub(super) fn update(
        mut self,
        parts: &[Part],
        unwanted: &[Part],
        from: u64,
        mishaps: &Mishaps,
    ) -> Vec<Event> {
        self.own(from, "UPDATE_IN_PROGRESS", Some("User Initiated".to_owned()));
        let made = self.make(parts, from + self.pause_ms, mishaps.failing.as_ref());
        let Some(failing) = mishaps.failing.as_ref() else {
            let at = made.until + self.pause_ms;
            self.own(at, "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", None);
            let until = self.remove(unwanted, at, &[]);
            self.own(until + self.pause_ms, "UPDATE_COMPLETE", None);
            return self.ended();
        };
        self.own(
            made.until,
            "UPDATE_ROLLBACK_IN_PROGRESS",
            Some(format!(
                "The following resource(s) failed to update: [{}].",
                failing.id
            )),
        );
        let (new, changed): (Vec<Part>, Vec<Part>) = made.begun(parts).into_iter().partition(|part| part.new);
        let stuck = mishaps.rollback.as_ref().map(|reason| Failing {
            id: failing.id.clone(),
            reason: reason.clone(),
        });
        let at = made.until + self.pause_ms;
        self.take_back(&changed, &new, at, stuck.as_ref())
    }

    /// Goes on with a rollback that had failed.
    pub(super) fn continue_rollback(mut self, changed: &[Part], new: &[Part], from: u64) -> Vec<Event> {
        self.own(
            from,
            "UPDATE_ROLLBACK_IN_PROGRESS",
            Some("User Initiated".to_owned()),
        );
        let at = from + self.pause_ms;
        self.take_back(changed, new, at, None)
    }

    /// Removes every part.
    pub(super) fn delete(mut self, parts: &[Part], from: u64, failing: &[Failing]) -> Vec<Event> {
        self.own(from, "DELETE_IN_PROGRESS", Some("User Initiated".to_owned()));
        let until = self.remove(parts, from + self.pause_ms, failing) + self.pause_ms;
        let names: Vec<&str> = failing.iter().map(|failing| failing.id.as_str()).collect();
        if failing.is_empty() {
            self.own(until, "DELETE_COMPLETE", None);
        } else {
            self.own(
                until,
                "DELETE_FAILED",
                Some(format!(
                    "The following resource(s) failed to delete: [{}].",
                    names.join(", ")
                )),
            );
        }
        self.ended()
    }

    /// Makes or changes parts, each once all it needs is there. The first failure cancels what is under
    /// way and keeps the rest from beginning.
    fn make(&mut self, parts: &[Part], from: u64, failing: Option<&Failing>) -> Made {
        let times = place(parts, from, |part| part.making_ms, |part| part.after.clone());
        let failed = failing.and_then(|failing| {
            let at = parts.iter().position(|part| part.id == failing.id)?;
            Some((failing, times[at].1))
        });
        let mut made = Made {
            until: times.iter().map(|(_, end)| *end).max().unwrap_or(from),
            ..Made::default()
        };
        if let Some((_, cut)) = failed {
            made.until = cut;
        }
        for (part, (start, end)) in parts.iter().zip(&times) {
            let fails = failed.filter(|(failing, _)| failing.id == part.id);
            if failed.is_some_and(|(_, cut)| *start >= cut) && fails.is_none() {
                continue;
            }
            made.begun.insert(part.id.clone());
            let [in_progress, complete, broken] = if part.new {
                ["CREATE_IN_PROGRESS", "CREATE_COMPLETE", "CREATE_FAILED"]
            } else {
                ["UPDATE_IN_PROGRESS", "UPDATE_COMPLETE", "UPDATE_FAILED"]
            };
            self.of(part, *start, in_progress, None);
            match (fails, failed) {
                (Some((failing, cut)), _) => {
                    made.incomplete.insert(part.id.clone());
                    self.of(part, cut, broken, Some(failing.reason.clone()));
                }
                (None, Some((_, cut))) if *end > cut => {
                    made.incomplete.insert(part.id.clone());
                    let cancelled = if part.new {
                        "Resource creation cancelled"
                    } else {
                        "Resource update cancelled"
                    };
                    self.of(part, cut, broken, Some(cancelled.to_owned()));
                }
                _ => self.of(part, *end, complete, None),
            }
        }
        made
    }

    /// Puts changed parts back as they were and removes new ones; or fails at one, and stays there.
    fn take_back(mut self, changed: &[Part], new: &[Part], from: u64, stuck: Option<&Failing>) -> Vec<Event> {
        let times = place(changed, from, |part| part.making_ms, |part| part.after.clone());
        let mut until = times.iter().map(|(_, end)| *end).max().unwrap_or(from);
        for (part, (start, end)) in changed.iter().zip(times) {
            self.of(part, start, "UPDATE_IN_PROGRESS", None);
            match stuck.filter(|stuck| stuck.id == part.id) {
                Some(stuck) => self.of(part, end, "UPDATE_FAILED", Some(stuck.reason.clone())),
                None => self.of(part, end, "UPDATE_COMPLETE", None),
            }
        }
        until += self.pause_ms;
        if let Some(stuck) = stuck {
            self.own(until, "UPDATE_ROLLBACK_FAILED", Some(stuck.reason.clone()));
            return self.ended();
        }
        self.own(until, "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", None);
        let until = self.remove(new, until, &[]);
        self.own(until + self.pause_ms, "UPDATE_ROLLBACK_COMPLETE", None);
        self.ended()
    }

    /// Removes parts, each once all that needs it is gone. One that fails keeps what it needs in place.
    /// Kept parts are skipped. Returns when the last is done.
    fn remove(&mut self, parts: &[Part], from: u64, failing: &[Failing]) -> u64 {
        let users = |part: &Part| {
            let users = parts.iter().filter(|other| other.after.contains(&part.id));
            users.map(|other| other.id.clone()).collect()
        };
        let takes = |part: &Part| if part.kept { 0 } else { part.removing_ms };
        let times = place(parts, from, takes, users);
        let blocked: BTreeSet<&str> = failing
            .iter()
            .flat_map(|failing| needed(parts, &failing.id))
            .collect();
        let mut until = from;
        for (part, (start, end)) in parts.iter().zip(times) {
            match failing.iter().find(|failing| failing.id == part.id) {
                Some(failing) => {
                    self.of(part, start, "DELETE_IN_PROGRESS", None);
                    self.of(part, end, "DELETE_FAILED", Some(failing.reason.clone()));
                }
                None if blocked.contains(part.id.as_str()) => continue,
                None if part.kept => self.of(part, start, "DELETE_SKIPPED", None),
                None => {
                    self.of(part, start, "DELETE_IN_PROGRESS", None);
                    self.of(part, end, "DELETE_COMPLETE", None);
                }
            }
            until = until.max(end);
        }
        until
    }

    /// An event of the stack itself.
    fn own(&mut self, at: u64, status: &'static str, reason: Option<String>) {
        self.events.push(Event {
            at,
            resource: None,
            kind: STACK.to_owned(),
            physical: self.stack_id.clone(),
            status,
            reason,
        });
    }

    fn of(&mut self, part: &Part, at: u64, status: &'static str, reason: Option<String>) {
        self.events.push(Event {
            at,
            resource: Some(part.id.clone()),
            kind: part.kind.clone(),
            physical: part.physical.clone(),
            status,
            reason,
        });
    }

    /// The events in the order they happen. At one moment: what ended, what that cancelled, the stack's own
    /// word, and then what begins.
    fn ended(mut self) -> Vec<Event> {
        let rank = |event: &Event| {
            let cancelled = event
                .reason
                .as_ref()
                .is_some_and(|reason| reason.ends_with("cancelled"));
            match (&event.resource, event.status.ends_with("_IN_PROGRESS")) {
                (Some(_), false) if cancelled => 1,
                (Some(_), false) => 0,
                (None, _) => 2,
                (Some(_), true) => 3,
            }
        };
        self.events.sort_by_key(|event| (event.at, rank(event)));
        debug_assert!(
            self.events.last().is_some_and(|event| event.resource.is_none()),
            "an operation on {} ends with the stack's own word",
            self.stack
        );
        self.events
    }
}

/// What came of making parts.
#[derive(Default)]
struct Made {
    /// When the last was done, or the first failed.
    until: u64,
    begun: BTreeSet<String>,
    /// Begun, but never complete.
    incomplete: BTreeSet<String>,
}

impl Made {
    /// The parts that were begun. One that never came to be is not kept.
    fn begun(&self, parts: &[Part]) -> Vec<Part> {
        let begun = parts.iter().filter(|part| self.begun.contains(&part.id));
        begun
            .cloned()
            .map(|mut part| {
                part.kept &= !self.incomplete.contains(&part.id);
                part
            })
            .collect()
    }
}

/// A part and all it needs, directly or through others.
fn needed<'a>(parts: &'a [Part], id: &'a str) -> BTreeSet<&'a str> {
    let mut needed = BTreeSet::new();
    let mut next = vec![id];
    while let Some(id) = next.pop() {
        if needed.insert(id) {
            let found = parts.iter().filter(|part| part.id == id);
            next.extend(found.flat_map(|part| part.after.iter().map(String::as_str)));
        }
    }
    needed
}

/// When each part starts and ends, given how long it takes and which parts come first. Parts that go
/// round in a circle start at once: templates are judged elsewhere, and time must not stand still here.
fn place(
    parts: &[Part],
    from: u64,
    takes: impl Fn(&Part) -> u64,
    after: impl Fn(&Part) -> Vec<String>,
) -> Vec<(u64, u64)> {
    let before: Vec<Vec<usize>> = parts
        .iter()
        .map(|part| {
            let ids = after(part);
            (0..parts.len())
                .filter(|other| ids.contains(&parts[*other].id))
                .collect()
        })
        .collect();
    let mut times: Vec<Option<(u64, u64)>> = vec![None; parts.len()];
    // In each round at least one part finds its place, unless there is a circle.
    for _ in 0..parts.len() {
        for at in 0..parts.len() {
            let ends: Option<Vec<u64>> = before[at]
                .iter()
                .map(|other| times[*other].map(|(_, end)| end))
                .collect();
            if let (None, Some(ends)) = (times[at], ends) {
                let start = ends.into_iter().max().unwrap_or(from);
                times[at] = Some((start, start + takes(&parts[at])));
            }
        }
    }
    times
        .into_iter()
        .zip(parts)
        .map(|(time, part)| time.unwrap_or((from, from + takes(part))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(id: &str, after: &[&str], seconds: u64) -> Part {
        Part {
            id: id.to_owned(),
            kind: "T".to_owned(),
            physical: id.to_lowercase(),
            after: after.iter().map(|id| (*id).to_owned()).collect(),
            making_ms: seconds * 1000,
            removing_ms: seconds * 500,
            kept: false,
            snapshot: false,
            new: true,
            named: false,
            held_ms: 0,
        }
    }

    /// A bucket, its policy, and a role that needs neither.
    fn parts() -> Vec<Part> {
        vec![
            part("Policy", &["Bucket"], 4),
            part("Bucket", &[], 20),
            part("Role", &[], 30),
        ]
    }

    fn timeline() -> Timeline {
        Timeline::new("s", "id", 1000)
    }

    fn fails(id: &str) -> Mishaps {
        Mishaps {
            failing: Some(Failing {
                id: id.to_owned(),
                reason: "it is not to be".to_owned(),
            }),
            ..Mishaps::default()
        }
    }

    fn told(events: &[Event]) -> String {
        let lines: Vec<String> = events
            .iter()
            .map(|event| {
                let reason = event.reason.as_ref().map(|reason| format!(": {reason}"));
                format!(
                    "{:5.1} {} {}{}",
                    event.at as f64 / 1000.0,
                    event.resource.as_deref().unwrap_or("stack"),
                    event.status,
                    reason.unwrap_or_default()
                )
            })
            .collect();
        lines.join("\n")
    }

    #[test]
    fn resources_are_made_in_parallel_as_far_as_they_allow() {
        insta::assert_snapshot!(told(&timeline().create(&parts(), 0, &Mishaps::default())), @"
         0.0 stack CREATE_IN_PROGRESS: User Initiated
         1.0 Bucket CREATE_IN_PROGRESS
         1.0 Role CREATE_IN_PROGRESS
        21.0 Bucket CREATE_COMPLETE
        21.0 Policy CREATE_IN_PROGRESS
        25.0 Policy CREATE_COMPLETE
        31.0 Role CREATE_COMPLETE
        32.0 stack CREATE_COMPLETE
        ");
    }

    #[test]
    fn the_first_failure_cancels_the_rest_and_everything_begun_is_removed() {
        insta::assert_snapshot!(told(&timeline().create(&parts(), 0, &fails("Bucket"))), @"
         0.0 stack CREATE_IN_PROGRESS: User Initiated
         1.0 Bucket CREATE_IN_PROGRESS
         1.0 Role CREATE_IN_PROGRESS
        21.0 Bucket CREATE_FAILED: it is not to be
        21.0 Role CREATE_FAILED: Resource creation cancelled
        21.0 stack ROLLBACK_IN_PROGRESS: The following resource(s) failed to create: [Bucket]. Rollback requested by user.
        22.0 Bucket DELETE_IN_PROGRESS
        22.0 Role DELETE_IN_PROGRESS
        32.0 Bucket DELETE_COMPLETE
        37.0 Role DELETE_COMPLETE
        38.0 stack ROLLBACK_COMPLETE
        ");
    }

    #[test]
    fn what_is_kept_is_skipped_by_a_rollback_only_once_it_was_there() {
        let mut parts = parts();
        parts.iter_mut().for_each(|part| part.kept = true);
        insta::assert_snapshot!(told(&timeline().create(&parts, 0, &fails("Policy"))), @"
         0.0 stack CREATE_IN_PROGRESS: User Initiated
         1.0 Bucket CREATE_IN_PROGRESS
         1.0 Role CREATE_IN_PROGRESS
        21.0 Bucket CREATE_COMPLETE
        21.0 Policy CREATE_IN_PROGRESS
        25.0 Policy CREATE_FAILED: it is not to be
        25.0 Role CREATE_FAILED: Resource creation cancelled
        25.0 stack ROLLBACK_IN_PROGRESS: The following resource(s) failed to create: [Policy]. Rollback requested by user.
        26.0 Policy DELETE_IN_PROGRESS
        26.0 Role DELETE_IN_PROGRESS
        28.0 Policy DELETE_COMPLETE
        28.0 Bucket DELETE_SKIPPED
        41.0 Role DELETE_COMPLETE
        42.0 stack ROLLBACK_COMPLETE
        ");
    }

    #[test]
    fn an_update_changes_adds_and_then_removes() {
        let mut changed = part("Bucket", &[], 20);
        changed.new = false;
        let events = timeline().update(
            &[changed, part("Policy", &["Bucket"], 4)],
            &[part("Role", &[], 30)],
            0,
            &Mishaps::default(),
        );
        insta::assert_snapshot!(told(&events), @"
         0.0 stack UPDATE_IN_PROGRESS: User Initiated
         1.0 Bucket UPDATE_IN_PROGRESS
        21.0 Bucket UPDATE_COMPLETE
        21.0 Policy CREATE_IN_PROGRESS
        25.0 Policy CREATE_COMPLETE
        26.0 stack UPDATE_COMPLETE_CLEANUP_IN_PROGRESS
        26.0 Role DELETE_IN_PROGRESS
        41.0 Role DELETE_COMPLETE
        42.0 stack UPDATE_COMPLETE
        ");
    }

    #[test]
    fn a_failed_update_is_taken_back_and_can_get_stuck_on_the_way() {
        let mut changed = part("Bucket", &[], 20);
        changed.new = false;
        let parts = [changed.clone(), part("Role", &[], 5)];
        insta::assert_snapshot!(told(&timeline().update(&parts, &[], 0, &fails("Bucket"))), @"
         0.0 stack UPDATE_IN_PROGRESS: User Initiated
         1.0 Bucket UPDATE_IN_PROGRESS
         1.0 Role CREATE_IN_PROGRESS
         6.0 Role CREATE_COMPLETE
        21.0 Bucket UPDATE_FAILED: it is not to be
        21.0 stack UPDATE_ROLLBACK_IN_PROGRESS: The following resource(s) failed to update: [Bucket].
        22.0 Bucket UPDATE_IN_PROGRESS
        42.0 Bucket UPDATE_COMPLETE
        43.0 stack UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS
        43.0 Role DELETE_IN_PROGRESS
        45.5 Role DELETE_COMPLETE
        46.5 stack UPDATE_ROLLBACK_COMPLETE
        ");
        let stuck = Mishaps {
            rollback: Some("nor to be again".to_owned()),
            ..fails("Bucket")
        };
        insta::assert_snapshot!(told(&timeline().update(&parts, &[], 0, &stuck)), @"
         0.0 stack UPDATE_IN_PROGRESS: User Initiated
         1.0 Bucket UPDATE_IN_PROGRESS
         1.0 Role CREATE_IN_PROGRESS
         6.0 Role CREATE_COMPLETE
        21.0 Bucket UPDATE_FAILED: it is not to be
        21.0 stack UPDATE_ROLLBACK_IN_PROGRESS: The following resource(s) failed to update: [Bucket].
        22.0 Bucket UPDATE_IN_PROGRESS
        42.0 Bucket UPDATE_FAILED: nor to be again
        43.0 stack UPDATE_ROLLBACK_FAILED: nor to be again
        ");
        let on = timeline().continue_rollback(&[changed], &[part("Role", &[], 5)], 0);
        insta::assert_snapshot!(told(&on), @"
         0.0 stack UPDATE_ROLLBACK_IN_PROGRESS: User Initiated
         1.0 Bucket UPDATE_IN_PROGRESS
        21.0 Bucket UPDATE_COMPLETE
        22.0 stack UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS
        22.0 Role DELETE_IN_PROGRESS
        24.5 Role DELETE_COMPLETE
        25.5 stack UPDATE_ROLLBACK_COMPLETE
        ");
    }

    #[test]
    fn what_cannot_be_removed_keeps_what_it_needs() {
        let policy: Vec<Failing> = fails("Policy").failing.into_iter().collect();
        insta::assert_snapshot!(told(&timeline().delete(&parts(), 0, &policy)), @"
         0.0 stack DELETE_IN_PROGRESS: User Initiated
         1.0 Policy DELETE_IN_PROGRESS
         1.0 Role DELETE_IN_PROGRESS
         3.0 Policy DELETE_FAILED: it is not to be
        16.0 Role DELETE_COMPLETE
        17.0 stack DELETE_FAILED: The following resource(s) failed to delete: [Policy].
        ");
    }

    #[test]
    fn a_circle_does_not_stop_time() {
        let circle = [part("A", &["B"], 1), part("B", &["A"], 2)];
        let events = timeline().create(&circle, 0, &Mishaps::default());
        assert_eq!(
            events.last().map(|event| (event.at, event.status)),
            Some((4000, "CREATE_COMPLETE"))
        );
    }
}
