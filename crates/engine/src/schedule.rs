//! How long a plan should take, and what to start first.
//!
//! The longest remaining path goes first: whatever everything else will wait for in the end must not wait
//! itself. (Source: Graham, "Bounds on multiprocessing timing anomalies", 1969; critical-path list scheduling
//! is never more than twice as long as the best there is, and on platforms it is nearly always the best.)

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

use landfall_model::StepId;
use landfall_model::definition::StepKind;
use landfall_model::plan::{Action, Estimate, Plan, PlannedStep};

/// What a step is taken to need when nothing is known about it, in milliseconds.
pub const UNKNOWN_MS: u64 = 10_000;

/// How many steps may be under way at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of all kinds together.
    pub all: usize,
    /// Of one kind, where its provider wants fewer.
    pub of_kind: HashMap<StepKind, usize>,
}

impl Limits {
    /// So many at once, whatever they are.
    pub fn of(all: usize) -> Limits {
        Limits {
            all: all.max(1),
            of_kind: HashMap::new(),
        }
    }

    /// How many of a kind may be under way.
    pub fn of_kind(&self, kind: StepKind) -> usize {
        self.of_kind
            .get(&kind)
            .copied()
            .unwrap_or(self.all)
            .clamp(1, self.all)
    }
}

/// When a plan should be done, and why not earlier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forecast {
    /// How long it takes with these limits, in milliseconds.
    pub takes_ms: u64,
    /// How long it would take if any number of steps could be under way at once.
    pub at_least_ms: u64,
    /// How long it would take one step after the other.
    pub one_by_one_ms: u64,
    /// The steps that wait for each other the longest, in their order: nothing is done sooner than these.
    pub critical: Vec<StepId>,
    /// Steps that have something to do.
    pub steps: usize,
    /// Those of them whose time was measured before on this platform.
    pub timed: usize,
}

/// Notes how long each step should take.
pub fn estimate(plan: &mut Plan, of: impl Fn(&Plan, &PlannedStep) -> Option<Estimate>) {
    let estimates: Vec<Option<Estimate>> = plan
        .steps
        .iter()
        .map(|step| step.action.runs().then(|| of(plan, step)).flatten())
        .collect();
    for (step, estimate) in plan.steps.iter_mut().zip(estimates) {
        step.estimate = estimate;
    }
}

/// How long a step is taken to need.
pub fn takes_ms(step: &PlannedStep) -> u64 {
    match (step.action, step.estimate) {
        (Action::None, _) => 0,
        (_, Some(estimate)) => estimate.takes_ms,
        (_, None) => UNKNOWN_MS,
    }
}

/// For each step of the plan, by its place in it: the steps it waits for, by theirs.
pub(crate) fn before(plan: &Plan) -> Vec<Vec<usize>> {
    let index: HashMap<&StepId, usize> = plan
        .steps
        .iter()
        .enumerate()
        .map(|(index, step)| (&step.id, index))
        .collect();
    plan.steps
        .iter()
        .map(|step| {
            step.after
                .iter()
                .filter_map(|id| index.get(id).copied())
                .collect()
        })
        .collect()
}

/// For each step: how long it is from its start until everything that waits for it could be done.
pub(crate) fn remaining_ms(plan: &Plan, before: &[Vec<usize>]) -> Vec<u64> {
    let mut remaining: Vec<u64> = plan.steps.iter().map(takes_ms).collect();
    // The plan's order puts every step after all it waits for, so one pass backwards reaches everything.
    for at in (0..plan.steps.len()).rev() {
        for earlier in &before[at] {
            let through = takes_ms(&plan.steps[*earlier]) + remaining[at];
            remaining[*earlier] = remaining[*earlier].max(through);
        }
    }
    remaining
}

/// What a plan will take.
pub fn forecast(plan: &Plan, limits: &Limits) -> Forecast {
    forecast_rest(plan, limits, |step| Some(takes_ms(step)))
}

/// What the rest of a plan will take: `left` tells how long a step still needs, `None` for one that is over.
pub fn forecast_rest(plan: &Plan, limits: &Limits, left: impl Fn(&PlannedStep) -> Option<u64>) -> Forecast {
    let before = before(plan);
    let needs: Vec<u64> = plan.steps.iter().map(|step| left(step).unwrap_or(0)).collect();
    let running = |at: usize| plan.steps[at].action.runs() && left(&plan.steps[at]).is_some();
    let ends = earliest_ends(&needs, &before);
    let at_least_ms = ends.iter().copied().max().unwrap_or(0);
    let counted: Vec<&PlannedStep> = (0..plan.steps.len())
        .filter(|at| running(*at))
        .map(|at| &plan.steps[at])
        .collect();
    Forecast {
        takes_ms: play(plan, &needs, &before, limits),
        at_least_ms,
        one_by_one_ms: needs.iter().sum(),
        critical: critical(&needs, &ends, &before)
            .into_iter()
            .filter(|at| running(*at))
            .map(|at| plan.steps[at].id.clone())
            .collect(),
        steps: counted.len(),
        timed: counted
            .iter()
            .filter(|step| step.estimate.is_some_and(|estimate| estimate.timed > 0))
            .count(),
    }
}

/// When each step would end if nothing but other steps held it up.
fn earliest_ends(needs: &[u64], before: &[Vec<usize>]) -> Vec<u64> {
    let mut ends: Vec<u64> = Vec::with_capacity(needs.len());
    for (at, need) in needs.iter().enumerate() {
        let start = before[at].iter().map(|earlier| ends[*earlier]).max().unwrap_or(0);
        ends.push(start + need);
    }
    ends
}

/// The steps of the longest path, in their order.
fn critical(needs: &[u64], ends: &[u64], before: &[Vec<usize>]) -> Vec<usize> {
    let Some(mut at) = (0..ends.len()).max_by_key(|at| (ends[*at], Reverse(*at))) else {
        return Vec::new();
    };
    let mut path = vec![at];
    while let Some(earlier) = before[at]
        .iter()
        .copied()
        .max_by_key(|earlier| (ends[*earlier], Reverse(*earlier)))
        .filter(|earlier| ends[*earlier] > 0)
    {
        debug_assert_eq!(
            ends[earlier] + needs[at],
            ends[at],
            "a step starts when the last it waits for ends"
        );
        path.push(earlier);
        at = earlier;
    }
    path.reverse();
    path
}

/// Plays the plan through as the runner would, and tells when it is over.
fn play(plan: &Plan, needs: &[u64], before: &[Vec<usize>], limits: &Limits) -> u64 {
    let remaining = remaining_ms(plan, before);
    let mut followers: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
    for (at, earlier) in before.iter().enumerate() {
        for one in earlier {
            followers[*one].push(at);
        }
    }
    let mut waits: Vec<usize> = before.iter().map(Vec::len).collect();
    let first = |at: usize| (Reverse(remaining[at]), at);
    let mut ready: BTreeSet<(Reverse<u64>, usize)> =
        (0..needs.len()).filter(|at| waits[*at] == 0).map(first).collect();
    let mut under_way: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    let mut of_kind: HashMap<StepKind, usize> = HashMap::new();
    let mut now = 0;
    loop {
        let next = ready.iter().copied().find(|(_, at)| {
            let step = &plan.steps[*at];
            // What needs no time needs no place either.
            needs[*at] == 0
                || under_way.len() < limits.all
                    && of_kind.get(&step.kind).copied().unwrap_or(0) < limits.of_kind(step.kind)
        });
        if let Some(one) = next {
            ready.remove(&one);
            let (_, at) = one;
            if needs[at] > 0 {
                *of_kind.entry(plan.steps[at].kind).or_default() += 1;
                under_way.push(Reverse((now + needs[at], at)));
                continue;
            }
            release(at, &followers, &mut waits, |at| {
                ready.insert(first(at));
            });
            continue;
        }
        let Some(Reverse((end, at))) = under_way.pop() else {
            return now;
        };
        now = end;
        *of_kind.entry(plan.steps[at].kind).or_default() -= 1;
        release(at, &followers, &mut waits, |at| {
            ready.insert(first(at));
        });
    }
}

fn release(at: usize, followers: &[Vec<usize>], waits: &mut [usize], mut ready: impl FnMut(usize)) {
    for follower in &followers[at] {
        waits[*follower] -= 1;
        if waits[*follower] == 0 {
            ready(*follower);
        }
    }
}
