//! What goes wrong in one session: faults of the world, deaths and naps of processes, lost answers of the
//! place where records are kept, and other people.

use fastrand::Rng;
use landfall_model::wanted::Wanted;
use landfall_sim::{Fault, Target};

/// Everything that goes wrong in one session.
#[derive(Clone, Debug, Default)]
pub struct Troubles {
    /// From the beginning on.
    pub while_applying: Vec<Fault>,
    /// From when the teardown begins.
    pub while_destroying: Vec<Fault>,
    /// What becomes of one process after the other; those without an entry live on.
    pub fates: Vec<Fate>,
    /// Somebody else, who comes by while the first is at work.
    pub visitor: Option<Visitor>,
    /// Of a hundred calls to the place of records, so many lose their answer.
    pub lost_answers: u8,
}

/// What becomes of a process.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// It lives until its work is done.
    Lives,
    /// It dies at its n-th call to the place of records.
    DiesAtCall(usize),
    /// It dies some time after it began.
    DiesAfter {
        /// In milliseconds.
        millis: u64,
    },
    /// It is put to sleep at its n-th call, and wakes up later.
    Naps {
        /// At which call.
        at_call: usize,
        /// For how long.
        for_ms: u64,
    },
}

/// Somebody else.
#[derive(Clone, Copy, Debug)]
pub struct Visitor {
    /// When they come.
    pub after_ms: u64,
    /// Whether they want everything removed; otherwise they apply the same platform.
    pub destroys: bool,
    /// What becomes of their process.
    pub fate: Fate,
}

impl Troubles {
    /// Whether nothing goes wrong at all.
    pub fn none(&self) -> bool {
        self.while_applying.is_empty()
            && self.while_destroying.is_empty()
            && self.fates.iter().all(|fate| matches!(fate, Fate::Lives))
            && self.visitor.is_none()
            && self.lost_answers == 0
    }

    /// Draws what goes wrong with a platform.
    pub(crate) fn draw(rng: &mut Rng, wanted: &Wanted) -> Troubles {
        // One in ten sessions is a quiet one: what fails there fails by itself.
        if rng.u8(..10) == 0 {
            return Troubles::default();
        }
        let mut draw_faults = |usual: usize, removing: bool| -> Vec<Fault> {
            let count = rng.usize(..=usual);
            (0..count)
                .filter_map(|_| fault(rng, wanted, removing))
                .flatten()
                .collect()
        };
        let while_applying = draw_faults(3, false);
        let while_destroying = draw_faults(3, true);
        let mut troubles = Troubles {
            while_applying,
            while_destroying,
            fates: (0..rng.usize(..5)).map(|_| fate(rng)).collect(),
            visitor: (rng.u8(..100) < 35).then(|| Visitor {
                after_ms: rng.u64(..900_000),
                destroys: rng.u8(..100) < 30,
                fate: fate(rng),
            }),
            lost_answers: if rng.u8(..100) < 30 { rng.u8(1..8) } else { 0 },
        };
        // Drawn last, so that a seed still means what it meant.
        for _ in 0..rng.usize(..=2) {
            troubles.while_applying.extend(fault_in_cluster(rng, wanted));
        }
        for _ in 0..rng.usize(..=2) {
            troubles.while_destroying.extend(fault_in_cluster(rng, wanted));
        }
        troubles
    }
}

/// What goes wrong inside a cluster.
fn fault_in_cluster(rng: &mut Rng, wanted: &Wanted) -> Option<Fault> {
    let has = |component: &str| wanted.components.contains_key(component);
    if !has("cluster") {
        return None;
    }
    let millis = rng.u64(..1_500_000);
    let for_millis = rng.u64(5_000..240_000);
    let web = Target::Object {
        cluster: wanted.facts.name.clone(),
        kind: "Deployment".to_owned(),
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
    };
    Some(match rng.u8(..8) {
        0 => Fault::ApiServerUnavailable { millis, for_millis },
        1 => Fault::AnswersLost { calls: rng.u32(1..6) },
        2 => Fault::WebhookRefuses {
            webhook: String::new(),
            reason: "the policy server starts".to_owned(),
            millis,
            for_millis,
        },
        3 if has("shop") => Fault::FinalizerStuck {
            target: web,
            finalizer: "example.com/hook".to_owned(),
        },
        4 if has("shop") => Fault::HumanChanges {
            target: web,
            path: "spec.replicas".to_owned(),
            value: Some(rng.u8(1..5).to_string()),
            millis,
        },
        5 if has("shop") => Fault::HumanChanges {
            target: web,
            path: "spec.template.spec.containers.0.image".to_owned(),
            value: Some("\"registry.example/shop:by-hand\"".to_owned()),
            millis,
        },
        6 if has("shop") => Fault::HumanDeletes { target: web, millis },
        7 if has("shop") => Fault::FieldConflict {
            target: web,
            manager: "autoscaler".to_owned(),
            path: "spec.replicas".to_owned(),
            value: "3".to_owned(),
            millis,
        },
        _ => return None,
    })
}

fn fate(rng: &mut Rng) -> Fate {
    match rng.u8(..10) {
        0..4 => Fate::DiesAtCall(rng.usize(1..120)),
        4..6 => Fate::DiesAfter {
            millis: rng.u64(..1_500_000),
        },
        6..8 => Fate::Naps {
            at_call: rng.usize(1..100),
            for_ms: rng.u64(1_000..240_000),
        },
        _ => Fate::Lives,
    }
}

/// A stack of the platform with one of its resources, by logical id and type.
fn resource(rng: &mut Rng, wanted: &Wanted) -> Option<(String, String, String)> {
    let stacks: Vec<_> = wanted
        .steps
        .iter()
        .filter_map(|step| Some((step, step.template.as_ref()?)))
        .collect();
    let (step, template) = rng.choice(stacks)?;
    let resources: Vec<_> = template.interface.resources.iter().collect();
    let (id, resource) = rng.choice(resources)?;
    let stack = format!("{}-{}-{}", wanted.facts.name, step.id.component(), step.id.step());
    Some((stack, id.clone(), resource.kind.clone()))
}

fn fault(rng: &mut Rng, wanted: &Wanted, removing: bool) -> Option<Vec<Fault>> {
    let (stack, resource, kind) = resource(rng, wanted)?;
    let has = |component: &str| wanted.components.contains_key(component);
    let reason = Fault::usual_reason(&kind);
    let soon = rng.u64(..1_200_000);
    let one = match rng.u8(..if removing { 14 } else { 17 }) {
        0 => Fault::Throttling {
            calls: rng.u32(1..30),
        },
        1 => Fault::ThrottlingBurst {
            millis: soon,
            for_millis: rng.u64(5_000..240_000),
        },
        2 => Fault::CredentialsExpireAt { millis: soon },
        3 | 4 if removing => {
            let times = rng.usize(1..3);
            let fails = Fault::DeleteFails {
                stack,
                resource,
                reason,
            };
            return Some(vec![fails; times]);
        }
        5 if removing => Fault::LoadBalancerLeftover,
        6 if removing => Fault::VolumeLeftover,
        7 if removing => Fault::NodeLeftover,
        8 => Fault::InterfacesLinger {
            millis: rng.u64(30_000..900_000),
        },
        9 if has("shop") => Fault::NamespaceStuck {
            namespace: "shop".to_owned(),
            finalizer: "example.com/hook".to_owned(),
        },
        10 => Fault::LogGroupRecreated {
            name: format!("/aws/eks/{}/cluster", wanted.facts.name),
            times: rng.u32(1..3),
        },
        11 if has("network") => Fault::GuardDutyEndpoint {
            network: format!("{}-network-vpc", wanted.facts.name),
        },
        12 => Fault::HumanDeletes {
            target: human_target(rng, wanted, &stack),
            millis: soon,
        },
        13 if has("shop") => Fault::HumanChanges {
            target: Target::LoadBalancer {
                of: "Ingress shop/web".to_owned(),
            },
            path: "landfall:platform".to_owned(),
            value: None,
            millis: soon,
        },
        3 => Fault::StackFails {
            stack,
            resource,
            reason,
        },
        4 => {
            let fails = Fault::StackFails {
                stack: stack.clone(),
                resource,
                reason: reason.clone(),
            };
            return Some(vec![fails, Fault::RollbackFails { stack, reason }]);
        }
        5 => Fault::CreateTimesOutButSucceeds { stack },
        6 => Fault::IamVisibleLate {
            millis: rng.u64(1_000..30_000),
        },
        7 => Fault::OutputsAppearLate {
            stack,
            millis: rng.u64(1_000..60_000),
        },
        14 => Fault::LimitExceeded { stack, resource },
        15 if has("shop") => Fault::PodsNeverReady {
            object: "Deployment/web".to_owned(),
            reason: "CrashLoopBackOff".to_owned(),
        },
        16 if has("shop") => Fault::ImagePullFails {
            object: "Deployment/web".to_owned(),
            image: "registry.example/shop:1".to_owned(),
        },
        _ => return None,
    };
    Some(vec![one])
}

fn human_target(rng: &mut Rng, wanted: &Wanted, stack: &str) -> Target {
    let shop = wanted.components.contains_key("shop");
    match rng.u8(..3) {
        0 if shop => Target::LoadBalancer {
            of: "Ingress shop/web".to_owned(),
        },
        1 if shop => Target::Object {
            cluster: wanted.facts.name.clone(),
            kind: "Deployment".to_owned(),
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
        },
        _ => Target::Stack {
            name: stack.to_owned(),
        },
    }
}
