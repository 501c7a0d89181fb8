//! Waiting until a step's objects are ready, and saying what holds them up.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use landfall_model::provider::{Cause, Failure};
use landfall_runner::ApplyError;
use serde_json::Value;

use crate::address;
use crate::advice;
use crate::apply::Applying;
use crate::applyset::list_all;
use crate::desired::Desired;
use crate::explain::{Explanation, explain};
use crate::key::{GroupKind, Key};
use crate::looks::Looks;
use crate::readiness::{Readiness, condition, readiness, webhooks_answer};
use crate::related;
use crate::trouble::Trouble;

/// How long something is waited for before anybody asks why.
const ASKED_AFTER_MS: u64 = 10_000;
/// How often it is asked why.
const ASKED_EVERY_MS: u64 = 15_000;
/// For how long something must say that it has failed: just after a change, it may still speak of what was before.
const FAILED_FOR_MS: u64 = 10_000;
/// How many of those that are not ready are asked why, at the end.
const ASKED_AT_ONCE: usize = 5;

/// Something that is not ready.
struct Awaited<'a> {
    key: &'a Key,
    why: String,
    /// Whether waiting does not help any more.
    failed: bool,
}

impl Applying<'_> {
    /// Waits until every object is ready, and gives them as they stand then.
    pub(crate) async fn ready(&self, wanted: &[Desired]) -> Result<BTreeMap<Key, Value>, ApplyError> {
        let clock = self.link.clock.clone();
        let began = clock.millis();
        let mut asked_at = began;
        let mut looks = Looks::new();
        let mut told = String::new();
        let mut live: BTreeMap<Key, Value> = BTreeMap::new();
        let mut pending: BTreeSet<GroupKind> = kinds(wanted);
        let mut failing: BTreeMap<&Key, u64> = BTreeMap::new();
        let mut known: Option<(&Key, String)> = None;
        loop {
            let everything = pending.len() == kinds(wanted).len();
            self.look(&mut live, &pending)
                .await
                .map_err(|trouble| self.failing(trouble))?;
            let slices = self
                .slices(wanted)
                .await
                .map_err(|trouble| self.failing(trouble))?;
            let awaited = self.awaited(wanted, &live, &slices);
            let Some(first) = awaited.first() else {
                if everything {
                    live.retain(|key, _| wanted.iter().any(|one| one.key == *key));
                    return Ok(live);
                }
                // What was ready a while ago is looked at once more, all together.
                pending = kinds(wanted);
                continue;
            };
            failing.retain(|key, _| awaited.iter().any(|one| one.failed && one.key == *key));
            let now = clock.millis();
            for one in awaited.iter().filter(|one| one.failed) {
                failing.entry(one.key).or_insert(now);
            }
            let failed = failing
                .values()
                .any(|since| now.saturating_sub(*since) >= FAILED_FOR_MS);
            if failed || self.is_over() {
                let failure = self.not_ready(&awaited, &live).await;
                return Err(failure.map_err(|trouble| self.failing(trouble))?.into());
            }
            if now.saturating_sub(began) >= ASKED_AFTER_MS && now.saturating_sub(asked_at) >= ASKED_EVERY_MS {
                asked_at = now;
                let why = self
                    .explained(first, &live)
                    .await
                    .map_err(|trouble| self.failing(trouble))?;
                known = why.map(|explained| (first.key, explained.why));
            }
            // What was found out is not forgotten while the same thing is waited for.
            let why = known
                .as_ref()
                .filter(|(key, _)| *key == first.key)
                .map_or(&first.why, |(_, why)| why);
            let message = format!("waiting for {}: {why}", first.key.said());
            if message != told {
                self.progress
                    .count(wanted.len() - awaited.len(), wanted.len(), message.clone());
                told = message;
            }
            pending = awaited.iter().map(|one| one.key.group_kind()).collect();
            clock.sleep(looks.next()).await;
        }
    }

    /// Reads the objects of these kinds anew.
    async fn look(
        &self,
        live: &mut BTreeMap<Key, Value>,
        kinds: &BTreeSet<GroupKind>,
    ) -> Result<(), Trouble> {
        let discovery = self.link.discovery().await?;
        let found = list_all(self.link, &discovery, kinds.iter().cloned(), &self.selector()).await?;
        live.retain(|key, _| !kinds.contains(&key.group_kind()));
        live.extend(found.into_iter().map(|object| (Key::of(&object), object)));
        Ok(())
    }

    /// The endpoints behind webhooks that this step brings together with their services. Others may come later.
    async fn slices(&self, wanted: &[Desired]) -> Result<Vec<Value>, Trouble> {
        let discovery = self.link.discovery().await?;
        let Some(kind) = discovery.core("discovery.k8s.io", "EndpointSlice") else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for (namespace, name) in wanted.iter().filter(|one| is_webhooks(one)).flat_map(services) {
            if has_service(wanted, namespace, name) {
                let selector = format!("kubernetes.io/service-name={name}");
                found.extend(
                    self.link
                        .list(kind, namespace, &[("labelSelector", &selector)])
                        .await?,
                );
            }
        }
        Ok(found)
    }

    fn awaited<'b>(
        &self,
        wanted: &'b [Desired],
        live: &BTreeMap<Key, Value>,
        slices: &[Value],
    ) -> Vec<Awaited<'b>> {
        let now = self.link.now();
        let began = self.began();
        let judge = |one: &Desired, object: &Value| match readiness(object, now) {
            Readiness::Failed { why } if is_stale(object, began) => Readiness::Waiting { why },
            Readiness::Ready
                if is_webhooks(one)
                    && services(one).any(|(space, name)| has_service(wanted, space, name)) =>
            {
                webhooks_answer(object, slices)
            }
            readiness => readiness,
        };
        let of = |one: &'b Desired| {
            let (why, failed) = match live.get(&one.key).map(|object| judge(one, object)) {
                Some(Readiness::Ready) => return None,
                Some(Readiness::Waiting { why }) => (why, false),
                Some(Readiness::Failed { why }) => (why, true),
                // It was done, and has cleared itself away.
                None if one.body["kind"] == "Job"
                    && !one.body["spec"]["ttlSecondsAfterFinished"].is_null() =>
                {
                    return None;
                }
                None => (
                    "it is gone: somebody deleted it since it was applied".to_owned(),
                    false,
                ),
            };
            Some(Awaited {
                key: &one.key,
                why,
                failed,
            })
        };
        wanted.iter().filter_map(of).collect()
    }

    async fn explained(
        &self,
        one: &Awaited<'_>,
        live: &BTreeMap<Key, Value>,
    ) -> Result<Option<Explanation>, Trouble> {
        let Some(object) = live.get(one.key) else {
            return Ok(Some(Explanation {
                why: one.why.clone(),
                way_out: advice::deleted(one.key),
                subject: None,
            }));
        };
        // Without a controller there are no events either, or only old ones.
        if let Some(nobody) = address::nobody_gives_one(self.link, one.key, object).await? {
            return Ok(Some(nobody));
        }
        let related = related::of(self.link, one.key, object).await?;
        Ok(explain(object, &related))
    }

    /// Why a step is given up: what failed, or else the first that tells why it is not ready.
    async fn not_ready(
        &self,
        awaited: &[Awaited<'_>],
        live: &BTreeMap<Key, Value>,
    ) -> Result<Failure, Trouble> {
        let mut by_weight: Vec<&Awaited<'_>> = awaited.iter().collect();
        by_weight.sort_by_key(|one| !one.failed);
        let mut found = None;
        for one in by_weight.iter().take(ASKED_AT_ONCE) {
            if let Some(explained) = self.explained(one, live).await? {
                found = Some((*one, explained));
                break;
            }
        }
        let first = by_weight[0];
        let (one, why, way_out, subject) = match found {
            Some((
                one,
                Explanation {
                    why,
                    way_out,
                    subject,
                },
            )) => (one, why, way_out, subject),
            None => (first, first.why.clone(), advice::slow(first.key), None),
        };
        let said = one.key.said();
        let summary = match one.failed {
            true => format!("the {said} has failed"),
            false => format!("the {said} is not ready after {}", self.within()),
        };
        let cause = self.cause(one.key, if one.failed { "Failed" } else { "NotReady" }, why);
        let cause = match subject {
            Some((kind, resource)) => Cause {
                resource,
                kind,
                ..cause
            },
            None => cause,
        };
        Ok(Failure {
            summary,
            cause: Some(cause),
            way_out: Some(way_out),
        })
    }
}

/// Whether a Deployment speaks of an attempt before this one. It says so until its pods get on, even when what held them
/// up was mended since, and it does not say it anew.
fn is_stale(object: &Value, began: Timestamp) -> bool {
    let status = &object["status"];
    let late =
        condition(status, "Progressing").filter(|progress| progress["reason"] == "ProgressDeadlineExceeded");
    let Some(late) = late.filter(|_| object["kind"] == "Deployment") else {
        return false;
    };
    let at = late["lastUpdateTime"]
        .as_str()
        .or(late["lastTransitionTime"].as_str());
    let at = at.and_then(|at| at.parse::<Timestamp>().ok());
    // Objects tell whole seconds.
    at.is_some_and(|at| at.as_second() < began.as_second())
}

fn is_webhooks(one: &Desired) -> bool {
    one.key.kind.ends_with("WebhookConfiguration")
}

/// The namespaces and names of the services behind webhooks.
fn services(one: &Desired) -> impl Iterator<Item = (&str, &str)> {
    let webhooks = one.body["webhooks"].as_array().into_iter().flatten();
    webhooks.filter_map(|webhook| {
        let service = &webhook["clientConfig"]["service"];
        Some((service["namespace"].as_str()?, service["name"].as_str()?))
    })
}

fn has_service(wanted: &[Desired], namespace: &str, name: &str) -> bool {
    wanted
        .iter()
        .any(|one| one.key.kind == "Service" && one.key.namespace == namespace && one.key.name == name)
}

fn kinds(wanted: &[Desired]) -> BTreeSet<GroupKind> {
    wanted.iter().map(|one| one.key.group_kind()).collect()
}
