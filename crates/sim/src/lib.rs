//! A simulated AWS with Kubernetes in it, as providers: stacks, networks, clusters and their objects, the
//! controllers that live there, secrets, and whose credentials these are.
//!
//! A [`World`] is grown from a seed and lives by a [`Clock`](landfall_runner::Clock). Stacks take as long
//! as real ones do, go on by themselves when whoever started them is gone, and roll back when something
//! fails. Controllers make load balancers, volumes and machines, make them anew when they are swept, and
//! leave them behind when they die; networks do not go while anything stands in them. Calls are throttled,
//! answers are lost, credentials expire and people interfere when a [`Fault`] says so.
//!
//! It exists to show how Landfall behaves, not to imitate an API: whether a template is right is for
//! CloudFormation to say. It makes nothing, costs nothing and reaches no network.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use landfall_sim::{ScaledClock, World, WorldConfig};
//! let clock = Arc::new(ScaledClock::new(20.0));
//! let world = World::new(WorldConfig::new("111122223333", "us-east-1"), clock);
//! let providers = landfall_sim::providers(&world);
//! ```

mod account;
mod authorization;
mod backend;
mod check;
mod clock;
mod cluster;
mod controller;
pub mod demo;
mod durations;
mod fault;
mod ground_truth;
mod human;
mod kubernetes;
mod network;
mod preflight;
mod queue;
mod random;
mod request;
mod secret;
mod stack;
mod stack_set;
mod sweep;
mod thing;
mod trouble;
mod usually;
mod world;

use std::sync::Arc;

use landfall_model::definition::StepKind;
use landfall_runner::Providers;

pub use account::SimAccount;
pub use authorization::{Allowed, Unsupported};
pub use check::SimChecks;
pub use clock::{ScaledClock, VirtualClock};
pub use durations::typical_ms;
pub use fault::{Fault, Target};
pub use ground_truth::{ClusterView, ThingView};
pub use kubernetes::SimClusters;
pub use preflight::{LimitOfOthers, Others, SimPreflight};
pub use request::{Answered, Asked, Keycloak, SimWeb};
pub use secret::SimSecrets;
pub use stack::SimStacks;
pub use stack_set::SimStackSets;
pub use sweep::SimSweeper;
pub use usually::usually_ms;
pub use world::{SecretView, StackView, World, WorldConfig};

/// What a front door prints before it shows anything from here.
pub const BANNER: &str = "\
SIMULATED CLOUD: no AWS account is reached, nothing is made and nothing costs money.
Accounts, ARNs and durations shown from here on are made up.";

/// The real provider of `request` steps, in this world's web.
fn requests(world: &Arc<World>) -> landfall_web::Requests {
    let web = Arc::new(SimWeb::new(world.clone()));
    landfall_web::Requests::new(web.clone(), web, world.clock().clone())
}

/// Providers for the kinds of steps this world knows, `stack`, `stackSet`, `objects`, `secret`,
/// `request` and `check`, and its sweeper.
pub fn providers(world: &Arc<World>) -> Providers {
    Providers::default()
        .with(StepKind::Stack, Arc::new(SimStacks::new(world.clone())))
        .with(StepKind::StackSet, Arc::new(SimStackSets::new(world.clone())))
        .with(StepKind::Objects, Arc::new(kubernetes::objects(world)))
        .with(StepKind::Secret, Arc::new(SimSecrets::new(world.clone())))
        .with(StepKind::Request, Arc::new(requests(world)))
        .with(StepKind::Check, Arc::new(SimChecks::new(world.clone())))
        .with_sweeper(Arc::new(SimSweeper::new(world.clone())))
        .with_preflight(Arc::new(SimPreflight::new(world.clone())))
}
