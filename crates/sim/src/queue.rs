//! What is still to happen, in the order of time. Nothing runs in the background: whoever asks the world
//! something first lets everything happen that was due until then.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::fault::Fault;
use crate::thing::ThingId;
use crate::world::State;

/// Something that is due at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// The next event of a stack, by its place among all stacks.
    Stack(usize),
    /// A thing that was going is gone.
    Thing(ThingId),
    /// Kubernetes' own controllers have their turn in a cluster.
    Turn(u64),
    /// The other controllers of a cluster look at it.
    Reconcile(u64),
    /// Somebody, or something, interferes.
    Interference,
}

/// What is due, earliest first; at one moment in the order it was scheduled.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    due: BinaryHeap<Reverse<(u64, u64, Due)>>,
    count: u64,
}

impl State {
    pub(crate) fn schedule(&mut self, at: u64, due: Due) {
        self.queue.count += 1;
        self.queue.due.push(Reverse((at, self.queue.count, due)));
    }

    /// Lets everything happen that is due until `now`.
    pub(crate) fn advance(&mut self, now: u64) {
        self.settle_stack_sets(now);
        while let Some(Reverse((at, _, due))) = self.queue.due.peek().copied() {
            if at > now {
                return;
            }
            self.queue.due.pop();
            match due {
                Due::Stack(place) => self.stack_is_due(place, at),
                Due::Thing(id) => self.thing_is_due(id, at),
                Due::Turn(cluster) => self.turn(cluster, at),
                Due::Reconcile(cluster) => self.reconcile(cluster, at),
                Due::Interference => self.interfere(at),
            }
        }
    }

    /// When something is due next. Turns that were brought forward since stand twice, and count once.
    pub(crate) fn next_due(&self) -> Option<u64> {
        let cluster = |uid: u64| self.clusters.iter().find(|one| one.uid == uid);
        let holds = |at: u64, due: Due| match due {
            Due::Turn(uid) => cluster(uid).is_some_and(|one| one.next_turn == Some(at)),
            Due::Reconcile(uid) => cluster(uid).is_some_and(|one| one.next_look == Some(at)),
            _ => true,
        };
        let due = self.queue.due.iter().map(|Reverse((at, _, due))| (*at, *due));
        due.filter(|(at, due)| holds(*at, *due)).map(|(at, _)| at).min()
    }

    /// Lets the faults that have their own time come when it comes.
    pub(crate) fn schedule_fault(&mut self, fault: &Fault, now: u64) {
        if let Some(at) = fault.comes_at() {
            self.schedule(at.max(now), Due::Interference);
        }
    }
}
