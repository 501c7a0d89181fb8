//! Plans the removal of everything: what is left in place, what goes first, and where leftovers are swept.
//!
//! The order is the order of making, backwards, and three things that no reference in a file shows: what
//! makes things anew is quiesced before anything goes; a controller stays until everything it looks after is
//! gone; leftovers are swept once the controllers are dead and before the network that they would block.

use std::collections::{BTreeSet, HashMap, HashSet};

use landfall_model::StepId;
use landfall_model::definition::StepKind;
use landfall_model::id::PlanId;
use landfall_model::leftover::{Landmark, LandmarkKind, Marks};
use landfall_model::plan::{Action, FORMAT, Plan, PlannedStep, Purpose};
use landfall_model::planted;
use landfall_model::provider::{Outputs, Owned};
use landfall_model::wanted::Wanted;

use crate::planner::{Seen, in_order};

/// The step that sweeps what would block a network, before the network goes.
pub const SWEEP_IN_NETWORKS: &str = "leftovers:in-networks";
/// The step that sweeps everything, at the end.
pub const SWEEP_ALL: &str = "leftovers";

/// Plans how to remove everything the platform owns, `retained` things only when asked, and every leftover
/// that carries its marks, when those were asked for.
pub fn plan_destroy(wanted: Wanted, seen: &Seen, retained_too: bool, id: PlanId, made_at: String) -> Plan {
    let through = through_what_is_not_owned(&wanted, &seen.owned);
    let owned: Vec<Owned> = seen
        .owned
        .iter()
        .map(|owned| Owned {
            retain: owned.retain && !retained_too,
            after: through
                .get(&owned.step)
                .cloned()
                .unwrap_or_else(|| owned.after.clone()),
            ..owned.clone()
        })
        .collect();
    let kept_for = kept_for(&owned);
    let mut steps: Vec<PlannedStep> = owned
        .iter()
        .map(|one| {
            let mut step = no_longer_wanted(one, &owned, "belongs to this platform");
            if let (Action::Delete, Some(retained)) = (step.action, kept_for.get(&one.step)) {
                step.action = Action::None;
                step.reason = format!("kept for {retained}, which is retained and needs it");
            }
            step
        })
        .collect();
    let marks = seen.marks.clone().map(|marks| without_what_stays(marks, &steps));
    let marks = marks.as_ref();
    let clusters: Vec<&str> = of_kind(marks, LandmarkKind::Cluster)
        .map(|cluster| cluster.id.as_str())
        .collect();
    for owned in steps.iter_mut().filter_map(|step| step.owned.as_mut()) {
        let cluster = owned.address.get("cluster").and_then(serde_json::Value::as_str);
        owned.goes_along = cluster.is_some_and(|cluster| clusters.contains(&cluster));
    }
    let mut order = Order::of(&steps);
    controllers_last(&owned, &mut order);
    retained_last(&seen.owned, &mut order);
    if let Some(marks) = marks {
        machines_last(&owned, marks, &mut order);
    }
    if planted!(OrderForgotten) {
        order.after.values_mut().for_each(BTreeSet::clear);
    }
    for step in &mut steps {
        step.after = order
            .after
            .remove(&step.id)
            .unwrap_or_default()
            .into_iter()
            .collect();
    }
    quiesce(&mut steps, marks);
    if let Some(marks) = marks {
        sweep(&mut steps, marks);
    }
    Plan {
        format: FORMAT,
        id,
        made_at,
        purpose: Purpose::Destroy,
        steps: in_order(steps),
        wanted,
        marks: marks.cloned(),
        findings: Vec::new(),
    }
}

/// Removes something, once everything that was made after it is gone.
pub(crate) fn no_longer_wanted(owned: &Owned, all: &[Owned], reason: &str) -> PlannedStep {
    let (action, reason) = if owned.adopted {
        (Action::None, "made by someone else; left in place")
    } else if owned.retain {
        (Action::None, "retained on purpose")
    } else {
        (Action::Delete, reason)
    };
    let made_after_it = all.iter().filter(|other| other.after.contains(&owned.step));
    step(
        owned.step.clone(),
        owned.kind,
        action,
        reason,
        made_after_it.map(|other| other.step.clone()).collect(),
        Some(owned.clone()),
    )
}

fn step(
    id: StepId,
    kind: StepKind,
    action: Action,
    reason: &str,
    after: Vec<StepId>,
    owned: Option<Owned>,
) -> PlannedStep {
    PlannedStep {
        id,
        kind,
        action,
        reason: reason.to_owned(),
        after,
        unknown_until: BTreeSet::new(),
        changes: Vec::new(),
        seen: String::new(),
        outputs: Outputs::new(),
        owned,
        estimate: None,
    }
}

fn of_kind(marks: Option<&Marks>, kind: LandmarkKind) -> impl Iterator<Item = &Landmark> {
    let landmarks = marks.into_iter().flat_map(|marks| &marks.landmarks);
    landmarks.filter(move |landmark| landmark.kind == kind)
}

/// After what each owned thing was made, looking through what nobody owns: a check that both wait for, a stack
/// that is gone already. Otherwise what lies behind them would be taken for unrelated.
fn through_what_is_not_owned(wanted: &Wanted, owned: &[Owned]) -> HashMap<StepId, Vec<StepId>> {
    let is_owned: HashSet<&StepId> = owned.iter().map(|one| &one.step).collect();
    let asked: HashMap<&StepId, &[StepId]> = wanted
        .steps
        .iter()
        .map(|step| (&step.id, step.after.as_slice()))
        .collect();
    owned
        .iter()
        .map(|one| {
            let mut after = BTreeSet::new();
            let mut seen: HashSet<&StepId> = HashSet::new();
            let mut open: Vec<&StepId> = one.after.iter().collect();
            while let Some(before) = open.pop() {
                if !seen.insert(before) {
                    continue;
                }
                if is_owned.contains(before) {
                    after.insert(before.clone());
                } else {
                    open.extend(asked.get(before).copied().unwrap_or_default());
                }
            }
            (one.step.clone(), after.into_iter().collect())
        })
        .collect()
}

/// Nothing is swept in a network that stays: what stands in it belongs to what is retained there.
fn without_what_stays(mut marks: Marks, steps: &[PlannedStep]) -> Marks {
    let stays: HashSet<&StepId> = steps
        .iter()
        .filter(|step| step.action == Action::None)
        .map(|step| &step.id)
        .collect();
    marks.landmarks.retain(|landmark| !stays.contains(&landmark.step));
    marks
}

/// What something retained was made from, each with one such thing: its network, its key, its password. Without
/// them it would be of no use, or could not stand at all.
fn kept_for(owned: &[Owned]) -> HashMap<StepId, StepId> {
    let by_step: HashMap<&StepId, &Owned> = owned.iter().map(|one| (&one.step, one)).collect();
    let mut kept = HashMap::new();
    for retained in owned.iter().filter(|one| one.retain) {
        let mut open = vec![retained];
        let mut seen: HashSet<&StepId> = HashSet::new();
        while let Some(one) = open.pop() {
            for before in one.after.iter().filter_map(|before| by_step.get(before)) {
                if seen.insert(&before.step) {
                    kept.entry(before.step.clone())
                        .or_insert_with(|| retained.step.clone());
                    open.push(before);
                }
            }
        }
    }
    kept
}

/// Which step goes after which, and a way to add to that without going round in a circle.
struct Order {
    after: HashMap<StepId, BTreeSet<StepId>>,
}

impl Order {
    fn of(steps: &[PlannedStep]) -> Order {
        Order {
            after: steps
                .iter()
                .map(|step| (step.id.clone(), step.after.iter().cloned().collect()))
                .collect(),
        }
    }

    /// Lets `later` go after `earlier`, unless it must already go before it: what the files say counts for
    /// more than what we infer.
    fn add(&mut self, later: &StepId, earlier: &StepId) {
        if later != earlier && !self.goes_after(earlier, later) {
            self.after
                .entry(later.clone())
                .or_default()
                .insert(earlier.clone());
        }
    }

    /// Everything that goes after a step.
    fn all_after(&self, step: &StepId) -> HashSet<StepId> {
        let mut followers: HashMap<&StepId, Vec<&StepId>> = HashMap::new();
        for (later, before) in &self.after {
            for earlier in before {
                followers.entry(earlier).or_default().push(later);
            }
        }
        let mut all = HashSet::new();
        let mut open = vec![step];
        while let Some(step) = open.pop() {
            for later in followers.get(step).into_iter().flatten() {
                if all.insert((*later).clone()) {
                    open.push(later);
                }
            }
        }
        all
    }

    fn goes_after(&self, later: &StepId, earlier: &StepId) -> bool {
        let mut open = vec![later];
        let mut seen = HashSet::new();
        while let Some(step) = open.pop() {
            for before in self.after.get(step).into_iter().flatten() {
                if before == earlier {
                    return true;
                }
                if seen.insert(before) {
                    open.push(before);
                }
            }
        }
        false
    }
}

/// What looks after objects goes after everything that holds such objects.
fn controllers_last(owned: &[Owned], order: &mut Order) {
    if planted!(ControllersFirst) {
        return;
    }
    for controller in owned.iter().filter(|one| !one.controls.is_empty()) {
        let cares_for = |one: &&Owned| {
            let kinds = &controller.controls;
            one.holds
                .iter()
                .any(|kind| kind == Owned::ANYTHING || kinds.contains(kind))
        };
        for holder in owned.iter().filter(cares_for) {
            order.add(&controller.step, &holder.step);
        }
    }
}

/// What is retained unless asked for, such as the bucket of states, goes when everything else is gone.
fn retained_last(owned: &[Owned], order: &mut Order) {
    for retained in owned.iter().filter(|one| one.retain) {
        let followers = order.all_after(&retained.step);
        let others = owned.iter().filter(|one| !one.retain && !one.adopted);
        let others = others
            .map(|one| &one.step)
            .filter(|step| !followers.contains(*step));
        order
            .after
            .entry(retained.step.clone())
            .or_default()
            .extend(others.cloned());
    }
}

/// The machines that controllers run on go after all objects, the cluster after its machines.
fn machines_last(owned: &[Owned], marks: &Marks, order: &mut Order) {
    let of = |kind: LandmarkKind| of_kind(Some(marks), kind).map(|landmark| &landmark.step);
    let objects = || owned.iter().filter(|one| one.kind == StepKind::Objects);
    for place in of(LandmarkKind::Nodes).chain(of(LandmarkKind::Cluster)) {
        for one in objects() {
            order.add(place, &one.step);
        }
    }
    for cluster in of(LandmarkKind::Cluster) {
        for nodes in of(LandmarkKind::Nodes) {
            order.add(cluster, nodes);
        }
    }
    for network in of(LandmarkKind::Network) {
        for place in of(LandmarkKind::Nodes).chain(of(LandmarkKind::Cluster)) {
            order.add(network, place);
        }
    }
}

/// The step that quiesces another.
fn quiescing(step: &StepId) -> StepId {
    StepId::new(step.component(), &format!("{}:quiesce", step.step()))
}

/// Stops what makes things anew in all objects, before any of them, or what they stand on, is removed.
fn quiesce(steps: &mut Vec<PlannedStep>, marks: Option<&Marks>) {
    let first: Vec<PlannedStep> = steps
        .iter()
        .filter(|one| one.kind == StepKind::Objects && one.action == Action::Delete)
        .map(|one| {
            step(
                quiescing(&one.id),
                StepKind::Objects,
                Action::Quiesce,
                "so that nothing removed comes back",
                Vec::new(),
                one.owned.clone(),
            )
        })
        .collect();
    let ids: Vec<StepId> = first.iter().map(|step| step.id.clone()).collect();
    let landmarks: HashSet<&StepId> = marks
        .iter()
        .flat_map(|marks| &marks.landmarks)
        .map(|landmark| &landmark.step)
        .collect();
    for step in steps.iter_mut() {
        if step.kind == StepKind::Objects || landmarks.contains(&step.id) {
            step.after.extend(ids.iter().cloned());
        }
    }
    steps.splice(0..0, first);
}

/// Sweeps before the networks go, and once more at the end.
fn sweep(steps: &mut Vec<PlannedStep>, marks: &Marks) {
    let is = |step: &PlannedStep, kind| {
        let mut landmarks = marks.landmarks.iter();
        landmarks.any(|landmark| landmark.step == step.id && landmark.kind == kind)
    };
    // A stack that makes both a network and its cluster takes them away together: nothing can come between.
    let is_network = |step: &PlannedStep| {
        step.action == Action::Delete && is(step, LandmarkKind::Network) && !is(step, LandmarkKind::Cluster)
    };
    let all: Vec<StepId> = steps
        .iter()
        .filter(|step| step.action == Action::Delete)
        .map(|step| step.id.clone())
        .collect();
    let networks: BTreeSet<StepId> = steps
        .iter()
        .filter(|step| is_network(step))
        .map(|step| step.id.clone())
        .collect();
    if !networks.is_empty() {
        let first = StepId::phase(SWEEP_IN_NETWORKS);
        let mut after = BTreeSet::new();
        for network in steps.iter_mut().filter(|step| networks.contains(&step.id)) {
            // Whatever a network goes after, the sweep goes after; only another network comes between.
            let (others, rest): (Vec<StepId>, Vec<StepId>) = network
                .after
                .drain(..)
                .partition(|before| networks.contains(before));
            after.extend(rest);
            network.after.extend(others);
            network.after.push(first.clone());
        }
        steps.push(step(
            first,
            StepKind::Leftovers,
            Action::Sweep,
            "what controllers left would block the network",
            if planted!(SweptFirst) {
                Vec::new()
            } else {
                after.into_iter().collect()
            },
            None,
        ));
    }
    steps.push(step(
        StepId::phase(SWEEP_ALL),
        StepKind::Leftovers,
        Action::Sweep,
        "until a fresh search finds nothing",
        all,
        None,
    ));
}
