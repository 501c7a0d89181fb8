//! The world: what stands in the simulated account, and what calls to it are like.
//!
//! It outlives every provider made for it, as a real account outlives a program that was killed. Nothing
//! runs in the background: what goes on by itself (a stack being made, a controller at work) waits in a
//! queue, and happens, in the order of time, when someone next asks the world anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use landfall_runner::{Clock, Progress};

use crate::authorization::Allowed;
use crate::clock;
use crate::cluster::Cluster;
use crate::fault::Fault;
use crate::network::Network;
use crate::preflight::Others;
use crate::queue::Queue;
use crate::request::Keycloaks;
use crate::secret::SecretRecord;
use crate::stack::StackRecord;
use crate::stack_set::StackSetRecord;
use crate::thing::{Thing, ThingId};
use crate::trouble::Trouble;

/// What a world starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorldConfig {
    /// The account's id, twelve digits.
    pub account: String,
    /// The region that is asked first.
    pub region: String,
    /// What chance grows from: the same seed, the same world.
    pub seed: u64,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// OpenID Connect providers that someone made before: the audiences of each, by its URL.
    pub identity_providers: BTreeMap<String, Vec<String>>,
    /// What repositories hold, for Argo CD and Flux: the objects at `repoURL/path`, `repoURL/chart`, or
    /// `repoURL`. What is neither here nor among the charts cannot be read.
    pub repositories: BTreeMap<String, Vec<serde_json::Value>>,
    /// What others made in the account before, use up of its limits, or forbid.
    pub others: Others,
    /// What whoever runs things is allowed; everything when nothing is said.
    pub allowed: Option<Allowed>,
    /// Names of secrets that stand empty and into which nobody puts a value. Into all others people do, at once.
    pub empty_secrets: BTreeSet<String>,
}

impl WorldConfig {
    /// An empty account in which nothing goes wrong.
    pub fn new(account: impl Into<String>, region: impl Into<String>) -> WorldConfig {
        WorldConfig {
            account: account.into(),
            region: region.into(),
            seed: 0,
            faults: Vec::new(),
            identity_providers: BTreeMap::new(),
            repositories: BTreeMap::new(),
            others: Others::default(),
            allowed: None,
            empty_secrets: BTreeSet::new(),
        }
    }
}

/// A simulated world with one account.
pub struct World {
    clock: Arc<dyn Clock>,
    /// The clock's time at its millisecond 0.
    origin: Timestamp,
    state: Mutex<State>,
}

/// What stands, and what is still to go wrong.
pub(crate) struct State {
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) seed: u64,
    /// The time at millisecond 0 of the world's clock.
    pub(crate) origin: Timestamp,
    pub(crate) identity_providers: BTreeMap<String, Vec<String>>,
    /// Every stack that ever was, in the order they were made.
    pub(crate) stacks: Vec<StackRecord>,
    /// Every stack set that ever was, in the order they were made.
    pub(crate) stack_sets: Vec<StackSetRecord>,
    /// Every secret that ever was, in the order they were made.
    pub(crate) secrets: Vec<SecretRecord>,
    /// What answers in the world's web.
    pub(crate) keycloaks: Keycloaks,
    pub(crate) networks: Vec<Network>,
    pub(crate) clusters: Vec<Cluster>,
    /// How many clusters were ever made.
    pub(crate) cluster_count: u64,
    /// What no stack's template names.
    pub(crate) things: BTreeMap<ThingId, Thing>,
    /// How many of them were ever made.
    pub(crate) thing_count: u64,
    pub(crate) repositories: BTreeMap<String, Vec<Arc<serde_json::Value>>>,
    pub(crate) others: Others,
    pub(crate) allowed: Option<Allowed>,
    /// Secrets into which nobody puts a value.
    pub(crate) empty_secrets: BTreeSet<String>,
    /// Names that lead somewhere, and the cluster, by uid, whose ExternalDNS wrote them.
    pub(crate) records: BTreeMap<String, u64>,
    pub(crate) queue: Queue,
    /// From when on roles can be assumed.
    pub(crate) roles_visible_at: u64,
    /// Log groups that come back: when, where, and their names.
    pub(crate) returning: Vec<(u64, String, String)>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) calls: u64,
}

/// A stack as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackView {
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// Its status, in CloudFormation's words.
    pub status: String,
    /// Type and status of each of its resources, by logical id.
    pub resources: BTreeMap<String, (String, String)>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// How many stacks of this name and region were ever made, this one included.
    pub created_count: usize,
}

/// A secret as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretView {
    /// Its name.
    pub name: String,
    /// Whether it is scheduled for deletion and can still be restored.
    pub deleted: bool,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// How many secrets of this name were ever made, this one included.
    pub created_count: usize,
}

/// How long a call takes each way.
pub(crate) const LATENCY: Duration = Duration::from_millis(60);
/// How long an answer is waited for.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
/// The first wait before a call is made again, and the longest.
const BACKOFF_MS: (u64, u64) = (500, 20_000);
/// How long throttling and lost answers are waited out before a step fails for them.
const PATIENCE_MS: u64 = 15 * 60 * 1000;
/// How long credentials last of which nothing else is said.
const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

impl World {
    /// Makes a world that lives by `clock`.
    pub fn new(config: WorldConfig, clock: Arc<dyn Clock>) -> Arc<World> {
        let WorldConfig {
            account,
            region,
            seed,
            faults,
            identity_providers,
            repositories,
            others,
            allowed,
            empty_secrets,
        } = config;
        let now: Timestamp = clock.now().parse().unwrap_or(Timestamp::UNIX_EPOCH);
        let origin = now.checked_sub(millis(clock.millis())).unwrap_or(now);
        let repositories = repositories.into_iter().map(|(url, objects)| {
            let objects = objects.into_iter().map(Arc::new).collect();
            (url, objects)
        });
        let mut state = State {
            account,
            region,
            seed,
            origin,
            identity_providers,
            stacks: Vec::new(),
            stack_sets: Vec::new(),
            secrets: Vec::new(),
            keycloaks: Keycloaks::new(),
            networks: Vec::new(),
            clusters: Vec::new(),
            cluster_count: 0,
            things: BTreeMap::new(),
            thing_count: 0,
            repositories: repositories.collect(),
            others,
            allowed,
            empty_secrets,
            records: BTreeMap::new(),
            queue: Queue::default(),
            roles_visible_at: 0,
            returning: Vec::new(),
            faults: Vec::new(),
            calls: 0,
        };
        for fault in faults {
            state.add_fault(fault, 0);
        }
        Arc::new(World {
            clock,
            origin,
            state: Mutex::new(state),
        })
    }

    /// Lets something more go wrong.
    pub fn add_fault(&self, fault: Fault) {
        let (mut state, now) = self.at();
        state.add_fault(fault, now);
    }

    /// What has not gone wrong yet.
    pub fn faults(&self) -> Vec<Fault> {
        self.state().faults.clone()
    }

    /// Lets nothing more go wrong.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// Signs in again: credentials that have expired are replaced. An expiry still to come stays.
    pub fn renew_credentials(&self) {
        let (mut state, now) = self.at();
        state
            .faults
            .retain(|fault| !matches!(fault, Fault::CredentialsExpireAt { millis } if *millis <= now));
    }

    /// Signs in anew, before the credentials have expired: those in use from now on last.
    pub fn sign_in(&self) {
        let (mut state, _) = self.at();
        state
            .faults
            .retain(|fault| !matches!(fault, Fault::CredentialsExpireAt { .. }));
    }

    /// The stacks that stand, by name.
    pub fn stacks(&self) -> Vec<StackView> {
        let (state, now) = self.at();
        let mut views: Vec<StackView> = state
            .stacks
            .iter()
            .filter(|stack| !stack.is_gone())
            .map(|stack| StackView {
                name: stack.name.clone(),
                region: stack.region.clone(),
                status: stack.status.to_owned(),
                resources: stack
                    .resources
                    .iter()
                    .map(|(id, resource)| (id.clone(), (resource.kind.clone(), resource.status.to_owned())))
                    .collect(),
                tags: stack.tags(now).clone(),
                created_count: state
                    .stacks
                    .iter()
                    .filter(|other| (&other.name, &other.region) == (&stack.name, &stack.region))
                    .count(),
            })
            .collect();
        views.sort_by(|a, b| (&a.name, &a.region).cmp(&(&b.name, &b.region)));
        views
    }

    /// The secrets that stand or can still be restored, by name.
    pub fn secrets(&self) -> Vec<SecretView> {
        let (state, now) = self.at();
        let mut views: Vec<SecretView> = state
            .secrets
            .iter()
            .filter(|secret| !secret.is_gone(now))
            .map(|secret| SecretView {
                name: secret.name.clone(),
                deleted: secret.is_deleted(),
                tags: secret.tags.clone(),
                created_count: state
                    .secrets
                    .iter()
                    .filter(|other| other.name == secret.name)
                    .count(),
            })
            .collect();
        views.sort_by(|a, b| a.name.cmp(&b.name));
        views
    }

    /// What stacks that were rolled back or deleted have left in place because their templates say so,
    /// as `type physical-id`.
    pub fn left_in_place(&self) -> Vec<String> {
        let (state, _) = self.at();
        let kept = state
            .stacks
            .iter()
            .flat_map(|stack| &stack.left)
            .map(|kept| format!("{} {}", kept.kind, kept.physical));
        let of_sets = state
            .stack_sets
            .iter()
            .flat_map(|set| &set.left)
            .map(|(place, kind, id)| format!("{kind} {id} in {place}"));
        kept.chain(of_sets).collect()
    }

    /// How many resources stand: those of stacks and of the instances of stack sets, those left in place when
    /// their stacks went, and secrets that are not deleted.
    pub fn resources_standing(&self) -> usize {
        let left = self.left_in_place().len();
        let (state, _) = self.at();
        let in_stacks: usize = state.stacks.iter().map(|stack| stack.resources.len()).sum();
        let secrets = state.secrets.iter().filter(|secret| !secret.is_deleted()).count();
        let instances = state.stack_sets.iter().flat_map(|set| &set.instances);
        let in_instances: usize = instances.map(|instance| instance.resources.len()).sum();
        in_stacks + in_instances + left + secrets
    }

    /// How many calls were made, refused ones included.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// The clock it lives by.
    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The world as it stands now.
    pub(crate) fn at(&self) -> (MutexGuard<'_, State>, u64) {
        let (mut state, now) = (self.state(), self.clock.millis());
        state.advance(now);
        (state, now)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing panics while it holds the world")
    }

    /// Whether there ever was a stack set.
    pub(crate) fn has_stack_sets(&self) -> bool {
        !self.state().stack_sets.is_empty()
    }

    /// The account's id.
    pub(crate) fn account(&self) -> String {
        self.state().account.clone()
    }

    /// The region that is asked first.
    pub(crate) fn region(&self) -> String {
        self.state().region.clone()
    }

    /// The world's clock, in milliseconds.
    pub(crate) fn now(&self) -> u64 {
        self.clock.millis()
    }

    /// A moment of the world's clock, RFC 3339.
    pub(crate) fn text(&self, at: u64) -> String {
        clock::text(self.origin.checked_add(millis(at)).unwrap_or(Timestamp::MAX))
    }

    /// Waits.
    pub(crate) async fn sleep(&self, time: Duration) {
        self.clock.sleep(time).await;
    }

    /// How long the credentials still last.
    pub(crate) fn credentials_last(&self) -> Duration {
        let (state, now) = self.at();
        let expiries = state.faults.iter().filter_map(|fault| match fault {
            Fault::CredentialsExpireAt { millis } => Some(Duration::from_millis(millis.saturating_sub(now))),
            _ => None,
        });
        expiries.min().unwrap_or(LIFETIME)
    }

    /// Whether calls are answered.
    pub(crate) fn renewed(&self) -> Result<(), String> {
        let (state, now) = self.at();
        if state.expired(now) {
            Err(Trouble::Expired.to_string())
        } else {
            Ok(())
        }
    }

    /// Makes a call, again and again while only waiting is needed. `act` sees the world as it stands at
    /// one moment, and must be safe to repeat: an answer may be lost.
    pub(crate) async fn call<T>(
        &self,
        progress: Option<&Progress>,
        mut act: impl FnMut(&mut State, u64) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let began = self.clock.millis();
        let (mut wait, longest) = BACKOFF_MS;
        loop {
            let trouble = match self.call_once(&mut act).await {
                Err(trouble) if trouble.passes_by_itself() => trouble,
                result => return result,
            };
            if self.clock.millis().saturating_sub(began) > PATIENCE_MS {
                return Err(trouble);
            }
            if let Some(progress) = progress {
                progress.say(match trouble {
                    Trouble::Throttled => "AWS asks for patience (throttled); trying again",
                    _ => "no answer from AWS; trying again",
                });
            }
            self.sleep(Duration::from_millis(wait)).await;
            wait = (wait * 2).min(longest);
        }
    }

    async fn call_once<T>(
        &self,
        act: &mut impl FnMut(&mut State, u64) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        self.sleep(LATENCY).await;
        let result = {
            let (mut state, now) = self.at();
            match state.refusal(now) {
                Some(trouble) => Err(trouble),
                None => act(&mut state, now),
            }
        };
        let answer = match result {
            Err(Trouble::NoAnswer) => TIMEOUT,
            _ => LATENCY,
        };
        self.sleep(answer).await;
        result
    }
}

impl State {
    /// Counts a call, and refuses it when a fault says so.
    pub(crate) fn refusal(&mut self, now: u64) -> Option<Trouble> {
        self.calls += 1;
        if self.expired(now) {
            return Some(Trouble::Expired);
        }
        let throttled = self.faults.iter_mut().find_map(|fault| match fault {
            Fault::Throttling { calls } if *calls > 0 => {
                *calls -= 1;
                Some(Trouble::Throttled)
            }
            _ => None,
        });
        self.faults
            .retain(|fault| !matches!(fault, Fault::Throttling { calls: 0 }));
        let bursts = self.faults.iter().any(|fault| {
            matches!(fault, Fault::ThrottlingBurst { millis, for_millis }
                if *millis <= now && now < millis.saturating_add(*for_millis))
        });
        self.faults.retain(|fault| {
            !matches!(fault, Fault::ThrottlingBurst { millis, for_millis }
                if millis.saturating_add(*for_millis) <= now)
        });
        throttled.or(bursts.then_some(Trouble::Throttled))
    }

    fn add_fault(&mut self, fault: Fault, now: u64) {
        self.schedule_fault(&fault, now);
        self.faults.push(fault);
    }

    fn expired(&self, now: u64) -> bool {
        self.faults
            .iter()
            .any(|fault| matches!(fault, Fault::CredentialsExpireAt { millis } if *millis <= now))
    }

    /// Uses a fault up, when there is one that applies.
    pub(crate) fn take_fault<T>(&mut self, applies: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        let at = self.faults.iter().position(|fault| applies(fault).is_some())?;
        applies(&self.faults.remove(at))
    }
}

fn millis(count: u64) -> SignedDuration {
    SignedDuration::from_millis(i64::try_from(count).unwrap_or(i64::MAX))
}
