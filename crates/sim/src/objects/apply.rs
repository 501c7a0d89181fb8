//! Applying a step's objects, and waiting until they are ready.

use std::time::Duration;

use landfall_model::provider::{Applied, Cause, Failure, Outcome};
use landfall_model::work::{ObjectsWork, Step};
use landfall_runner::{ApplyError, Progress};

use super::desired::{self, Desired};
use super::{SimObjects, foreign, of_step, outputs, owned};
use crate::cluster::{Key, Put, Refusal, Status, advice};
use crate::trouble::Trouble;

/// How often what is waited for is looked at: often at first.
pub(super) const LOOK_MS: (u64, u64) = (1_000, 10_000);

/// Waits that grow.
pub(super) struct Looks(u64);

impl Looks {
    pub(super) fn new() -> Looks {
        Looks(LOOK_MS.0)
    }

    pub(super) fn next(&mut self) -> Duration {
        let wait = self.0;
        self.0 = (wait * 3 / 2).min(LOOK_MS.1);
        Duration::from_millis(wait)
    }
}

/// Something that is not ready.
struct Awaited {
    key: Key,
    why: String,
    way_out: String,
}

/// What the first that is not ready waits for itself, when that is among the others.
fn first_cause(mut awaited: Vec<Awaited>) -> Awaited {
    let claim = awaited[0]
        .why
        .rsplit_once("PersistentVolumeClaims: ")
        .map(|(_, name)| name.to_owned());
    let is_claim =
        |one: &Awaited| one.key.kind == "PersistentVolumeClaim" && claim.as_ref() == Some(&one.key.name);
    let place = awaited.iter().position(is_claim).unwrap_or(0);
    awaited.swap_remove(place)
}

/// A cluster, as far as it is there.
enum There {
    Not,
    NotYet,
    Yes,
}

/// One step's objects being applied.
struct Applying<'a> {
    objects: &'a SimObjects,
    step: &'a Step,
    work: &'a ObjectsWork,
    cluster: &'a str,
    progress: &'a Progress,
    began: u64,
}

impl SimObjects {
    pub(super) async fn apply_all(
        &self,
        step: &Step,
        work: &ObjectsWork,
        progress: &Progress,
    ) -> Result<Applied, ApplyError> {
        let unknown = |why: String| {
            Failure::new(why).way_out(
                "let the step that gives the value be done before this one: take it from its outputs",
            )
        };
        let wanted = desired::all(step, work).map_err(unknown)?;
        let cluster = work
            .cluster
            .value()
            .ok_or_else(|| unknown("the cluster is not known yet".to_owned()))?;
        let began = self.world.now();
        let applying = Applying {
            objects: self,
            step,
            work,
            cluster,
            progress,
            began,
        };
        applying.cluster_is_there().await?;
        let mut made = 0;
        let mut changed = 0;
        for (at, one) in wanted.iter().enumerate() {
            match applying.put(one).await? {
                Put::Made => made += 1,
                Put::Changed => changed += 1,
                Put::Same => {}
            }
            progress.count(at + 1, wanted.len(), format!("applied {}", one.key.said()));
        }
        let pruned = applying.prune(&wanted).await?;
        applying.ready(&wanted).await?;
        let (given, owned) = applying.result().await?;
        for name in work.outputs.keys() {
            if !given.contains_key(name) {
                return Err(applying.lacks(name).into());
            }
        }
        let outcome = match (made, changed, pruned) {
            (0, 0, 0) => Outcome::Unchanged,
            (made, ..) if made == wanted.len() => Outcome::Created,
            _ => Outcome::Updated,
        };
        Ok(Applied {
            outcome,
            outputs: given,
            owned: Some(owned),
            notes: Vec::new(),
        })
    }
}

impl Applying<'_> {
    fn region(&self) -> &str {
        &self.step.facts.region
    }

    fn failing(&self, trouble: Trouble) -> ApplyError {
        trouble.failing(&format!("applying objects to the cluster `{}`", self.cluster))
    }

    fn is_over(&self) -> bool {
        let now = self.objects.world.now();
        now.saturating_sub(self.began) >= self.work.within_s * 1000
    }

    fn within(&self) -> String {
        let seconds = self.work.within_s;
        if seconds.is_multiple_of(60) {
            format!("{} min", seconds / 60)
        } else {
            format!("{seconds} s")
        }
    }

    /// Waits for a cluster that is still being made.
    async fn cluster_is_there(&self) -> Result<(), ApplyError> {
        let mut looks = Looks::new();
        let mut said = false;
        loop {
            let there = self
                .objects
                .world
                .call(Some(self.progress), |state, _| {
                    Ok(match state.cluster(self.region(), self.cluster) {
                        None => There::Not,
                        Some(cluster) if cluster.status == Status::Active => There::Yes,
                        Some(_) => There::NotYet,
                    })
                })
                .await
                .map_err(|trouble| self.failing(trouble))?;
            match there {
                There::Yes => return Ok(()),
                There::Not => {
                    let summary = format!("there is no EKS cluster `{}` in {}", self.cluster, self.region());
                    return Err(Failure {
                        cause: Some(self.cause_of_cluster("absent", "no cluster of this name was found")),
                        ..Failure::new(summary)
                    }
                    .way_out(
                        "let the step that makes the cluster be done before this one: take the name from its outputs \
                         (`aws eks list-clusters` shows those that stand)",
                    )
                    .into());
                }
                There::NotYet if self.is_over() => {
                    let summary = format!(
                        "the EKS cluster `{}` does not answer after {}",
                        self.cluster,
                        self.within()
                    );
                    return Err(Failure {
                        cause: Some(self.cause_of_cluster("CREATING", "its API server does not answer yet")),
                        ..Failure::new(summary)
                    }
                    .way_out(format!(
                        "look at its status with `aws eks describe-cluster --name {}`; once it is ACTIVE, run the command again: it \
                         goes on from here",
                        self.cluster
                    ))
                    .into());
                }
                There::NotYet if !said => {
                    said = true;
                    self.progress
                        .say(format!("waiting for the cluster {} to be there", self.cluster));
                }
                There::NotYet => {}
            }
            self.objects.world.sleep(looks.next()).await;
        }
    }

    /// Applies one object, once it is taken.
    async fn put(&self, one: &Desired) -> Result<Put, ApplyError> {
        let mut looks = Looks::new();
        let mut told = String::new();
        let (platform, id) = (self.step.facts.name.as_str(), &self.step.id);
        loop {
            let result = self
                .objects
                .world
                .call(Some(self.progress), |state, now| {
                    let seed = state.seed;
                    let put = state.with_cluster(self.region(), self.cluster, |state, cluster| {
                        if let Some(refusal) = cluster.refuses(&one.key, &one.api_version, now) {
                            return Err(refusal);
                        }
                        let stands = cluster.objects.get(&one.key);
                        if let Some(reason) =
                            stands.and_then(|object| foreign(&one.key, object, platform, id))
                        {
                            return Err(Refusal {
                                reason,
                                passes: false,
                            });
                        }
                        let put = cluster.put(&one.key, &one.body, true, None, seed, now);
                        if put == Put::Made {
                            state.late_definition(cluster, &one.key, now);
                        }
                        let starts = state.schedule_pods(cluster, now);
                        Ok((put, cluster.uid, starts))
                    });
                    match put {
                        None => Ok(Err(Refusal {
                            reason: format!("the cluster {} is gone", self.cluster),
                            passes: false,
                        })),
                        Some(Err(refusal)) => Ok(Err(refusal)),
                        Some(Ok((put, uid, starts))) => {
                            if put != Put::Same || starts.is_some() {
                                state.stir(uid, now);
                            }
                            Ok(Ok(put))
                        }
                    }
                })
                .await
                .map_err(|trouble| self.failing(trouble))?;
            let refusal = match result {
                Ok(put) => return Ok(put),
                Err(refusal) => refusal,
            };
            if !refusal.passes || self.is_over() {
                let way_out = advice::refused(&one.key, &refusal.reason);
                return Err(Failure {
                    summary: format!("the {} could not be applied", one.key.said()),
                    cause: Some(self.cause(&one.key, "Refused", refusal.reason)),
                    way_out: Some(way_out),
                }
                .into());
            }
            if told != refusal.reason {
                self.progress
                    .say(format!("{} is not taken yet: {}", one.key.said(), refusal.reason));
                told = refusal.reason;
            }
            self.objects.world.sleep(looks.next()).await;
        }
    }

    fn cause(&self, key: &Key, state: &str, reason: String) -> Cause {
        let now = self.objects.world.now();
        Cause {
            resource: if key.namespace.is_empty() {
                key.name.clone()
            } else {
                format!("{}/{}", key.namespace, key.name)
            },
            kind: key.kind.clone(),
            state: state.to_owned(),
            reason,
            at: self.objects.world.text(now),
        }
    }

    fn cause_of_cluster(&self, state: &str, reason: &str) -> Cause {
        Cause {
            resource: self.cluster.to_owned(),
            kind: "AWS::EKS::Cluster".to_owned(),
            state: state.to_owned(),
            reason: reason.to_owned(),
            at: self.objects.world.text(self.objects.world.now()),
        }
    }

    /// Why an output cannot be given: its object stands and has nothing there.
    fn lacks(&self, output: &str) -> Failure {
        let declared = &self.work.outputs[output];
        let of = declared.of.replacen('/', " ", 1);
        let (kind, name) = declared.of.split_once('/').unwrap_or(("", &declared.of));
        let mut objects = self.work.objects.iter();
        let key = objects
            .find(|one| one.kind == kind && one.name == name)
            .map(|one| Key::new(&one.api_version, kind, one.namespace.as_deref(), name))
            .unwrap_or_default();
        Failure {
            summary: format!(
                "the {of} has nothing at `{}`, which is to be the output `{output}`",
                declared.path
            ),
            cause: Some(Cause {
                resource: name.to_owned(),
                kind: kind.to_owned(),
                state: "Ready".to_owned(),
                reason: format!("it is ready, and `{}` is not in it", declared.path),
                at: self.objects.world.text(self.objects.world.now()),
            }),
            way_out: Some(format!(
                "`kubectl get {} -o yaml` shows what it has: name a path that is there in the step's outputs, then run the command \
                 again",
                key.for_kubectl()
            )),
        }
    }

    /// Deletes objects of this step that the manifests no longer have, and waits until they are gone.
    async fn prune(&self, wanted: &[Desired]) -> Result<usize, ApplyError> {
        let mut looks = Looks::new();
        let mut unwanted: Option<usize> = None;
        loop {
            let left: Vec<(Key, Failure)> = self
                .objects
                .world
                .call(Some(self.progress), |state, now| {
                    let left = state.with_cluster(self.region(), self.cluster, |state, cluster| {
                        let left: Vec<Key> = of_step(cluster, &self.step.facts.name, &self.step.id)
                            .filter(|(key, _)| !wanted.iter().any(|one| one.key == **key))
                            .map(|(key, _)| key.clone())
                            .collect();
                        for key in &left {
                            state.delete_object(cluster, key, now);
                        }
                        let at = self.objects.world.text(now);
                        let after = self.within();
                        let hang = |key: Key| {
                            let failure = super::remove::hangs(cluster, &key, now, &after, &at);
                            (key, failure)
                        };
                        (left.into_iter().map(hang).collect::<Vec<_>>(), cluster.uid)
                    });
                    Ok(left.map_or_else(Vec::new, |(left, uid)| {
                        if !left.is_empty() {
                            state.stir(uid, now);
                        }
                        left
                    }))
                })
                .await
                .map_err(|trouble| self.failing(trouble))?;
            let count = *unwanted.get_or_insert(left.len());
            let Some((first, failure)) = left.into_iter().next() else {
                return Ok(count);
            };
            if self.is_over() {
                return Err(failure.into());
            }
            self.progress
                .say(format!("removing {}, no longer in the manifests", first.said()));
            self.objects.world.sleep(looks.next()).await;
        }
    }

    /// Waits until every object is ready.
    async fn ready(&self, wanted: &[Desired]) -> Result<(), ApplyError> {
        let mut looks = Looks::new();
        let mut told = String::new();
        loop {
            let (awaited, done) = self
                .objects
                .world
                .call(Some(self.progress), |state, now| {
                    let Some(cluster) = state.cluster(self.region(), self.cluster) else {
                        return Err(Trouble::Refused(format!("the cluster {} is gone", self.cluster)));
                    };
                    let unready = |one: &Desired| {
                        let (why, way_out) = cluster.unready(&one.key, now)?;
                        let key = one.key.clone();
                        Some(Awaited { key, why, way_out })
                    };
                    let unready: Vec<Awaited> = wanted.iter().filter_map(unready).collect();
                    let done = wanted.len() - unready.len();
                    Ok((unready, done))
                })
                .await
                .map_err(|trouble| self.failing(trouble))?;
            let Some(Awaited { key, why, .. }) = awaited.first() else {
                return Ok(());
            };
            if self.is_over() {
                let Awaited { key, why, way_out } = first_cause(awaited);
                return Err(Failure {
                    summary: format!("the {} is not ready after {}", key.said(), self.within()),
                    cause: Some(self.cause(&key, "NotReady", why)),
                    way_out: Some(way_out),
                }
                .into());
            }
            let message = format!("waiting for {}: {why}", key.said());
            if message != told {
                self.progress.count(done, wanted.len(), message.clone());
                told = message;
            }
            self.objects.world.sleep(looks.next()).await;
        }
    }

    async fn result(
        &self,
    ) -> Result<(landfall_model::provider::Outputs, landfall_model::provider::Owned), ApplyError> {
        self.objects
            .world
            .call(Some(self.progress), |state, _| {
                let Some(cluster) = state.cluster(self.region(), self.cluster) else {
                    return Err(Trouble::Refused(format!("the cluster {} is gone", self.cluster)));
                };
                let platform = self.step.facts.name.as_str();
                let objects = of_step(cluster, platform, &self.step.id);
                Ok((
                    outputs(cluster, self.work),
                    owned(&self.step.id, platform, cluster, objects),
                ))
            })
            .await
            .map_err(|trouble| self.failing(trouble))
    }
}

impl crate::world::State {
    /// Makes a definition that was just applied late, when a fault says so.
    fn late_definition(&mut self, cluster: &mut crate::cluster::Cluster, key: &Key, now: u64) {
        let Some(object) = cluster.objects.get_mut(key) else {
            return;
        };
        if key.kind != "CustomResourceDefinition" {
            return;
        }
        let defines = object.spec()["names"]["kind"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let late = self.take_fault(|fault| match fault {
            crate::fault::Fault::CrdLate { kind, millis } if *kind == defines => Some(*millis),
            _ => None,
        });
        if let Some(millis) = late {
            object.ready_at = now + millis;
        }
    }
}
