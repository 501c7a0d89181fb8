//! Applying a step's objects, and taking away those that are no longer wanted.
//!
//! Every part may be called again after a crash at any moment: what is wanted is written before it is made, what is
//! unwanted is found by its label.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use landfall_model::provider::{Applied, Cause, Failure, Outcome};
use landfall_model::work::{ObjectsWork, Step};
use landfall_runner::{ApplyError, Clock, Progress};
use serde_json::Value;

use crate::applyset::{Members, Set, foreign, kinds_of};
use crate::conflict;
use crate::desired::{self, Desired};
use crate::hangs::{Hanging, finalizers};
use crate::key::{GroupKind, Key};
use crate::link::{APPLY, Dialled, Link};
use crate::looks::Looks;
use crate::stand::{self, Standing};
use crate::trouble::{DELETING, FOREIGN, NO_KIND, Refusal, Trouble};
use crate::{MANAGER, Objects, advice, quiesce, remove};

/// How many objects are applied at once.
const AT_ONCE: usize = 8;

/// What came of applying an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Put {
    Made,
    Changed,
    Same,
}

/// One step's objects being applied.
pub(crate) struct Applying<'a> {
    pub(crate) link: &'a Link,
    pub(crate) step: &'a Step,
    pub(crate) work: &'a ObjectsWork,
    pub(crate) progress: &'a Progress,
    set: Set,
    deadline: Deadline<'a>,
    notes: Mutex<BTreeSet<String>>,
}

/// Until when something is waited for.
#[derive(Clone, Copy)]
struct Deadline<'a> {
    clock: &'a dyn Clock,
    began: u64,
    within_s: u64,
}

impl Deadline<'_> {
    fn is_over(self) -> bool {
        self.clock.millis().saturating_sub(self.began) >= self.within_s * 1000
    }

    fn within(self) -> String {
        let seconds = self.within_s;
        if seconds.is_multiple_of(60) {
            format!("{} min", seconds / 60)
        } else {
            format!("{seconds} s")
        }
    }
}

fn unknown(why: String) -> Failure {
    Failure::new(why)
        .way_out("let the step that gives the value be done before this one: take it from its outputs")
}

impl Objects {
    pub(crate) async fn apply_all(
        &self,
        step: &Step,
        work: &ObjectsWork,
        progress: &Progress,
    ) -> Result<Applied, ApplyError> {
        let cluster = work
            .cluster
            .value()
            .ok_or_else(|| unknown("the cluster is not known yet".to_owned()))?;
        let deadline = Deadline {
            clock: self.clock.as_ref(),
            began: self.clock.millis(),
            within_s: work.within_s,
        };
        let link = self.cluster_is_there(step, cluster, deadline, progress).await?;
        let applying = Applying {
            link: &link,
            step,
            work,
            progress,
            set: Set::of(step),
            deadline,
            notes: Mutex::default(),
        };
        applying.run().await
    }

    /// Waits for a cluster that is still being made.
    async fn cluster_is_there(
        &self,
        step: &Step,
        cluster: &str,
        deadline: Deadline<'_>,
        progress: &Progress,
    ) -> Result<Box<Link>, ApplyError> {
        let region = step.facts.region.as_str();
        let cause = |state: &str, reason: &str| Cause {
            resource: cluster.to_owned(),
            kind: "AWS::EKS::Cluster".to_owned(),
            state: state.to_owned(),
            reason: reason.to_owned(),
            at: self.clock.now(),
        };
        let mut looks = Looks::new();
        let mut said = false;
        loop {
            let dialled = self
                .dial(region, cluster, Some(progress))
                .await
                .map_err(|trouble| trouble.failing(&applying_to(cluster)))?;
            let state = match dialled {
                Dialled::Connected(link) => return Ok(link),
                Dialled::Absent => {
                    let summary = format!("there is no EKS cluster `{cluster}` in {region}");
                    return Err(Failure {
                        cause: Some(cause("absent", "no cluster of this name was found")),
                        ..Failure::new(summary)
                    }
                    .way_out(
                        "let the step that makes the cluster be done before this one: take the name from its outputs \
                         (`aws eks list-clusters` shows those that stand)",
                    )
                    .into());
                }
                Dialled::Starting(state) => state,
            };
            if deadline.is_over() {
                let summary = format!(
                    "the EKS cluster `{cluster}` does not answer after {}",
                    deadline.within()
                );
                return Err(Failure {
                    cause: Some(cause(&state, "its API server does not answer yet")),
                    ..Failure::new(summary)
                }
                .way_out(format!(
                    "look at its status with `aws eks describe-cluster --name {cluster}`; once it is ACTIVE, run the command again: it \
                     goes on from here"
                ))
                .into());
            }
            if !said {
                said = true;
                progress.say(format!("waiting for the cluster {cluster} to be there"));
            }
            self.clock.sleep(looks.next()).await;
        }
    }
}

fn applying_to(cluster: &str) -> String {
    format!("applying objects to the cluster `{cluster}`")
}

impl Applying<'_> {
    pub(crate) fn failing(&self, trouble: Trouble) -> ApplyError {
        trouble.failing(&applying_to(&self.link.name))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.deadline.is_over()
    }

    pub(crate) fn within(&self) -> String {
        self.deadline.within()
    }

    /// When this began, as objects tell time.
    pub(crate) fn began(&self) -> Timestamp {
        let spent = self.link.clock.millis().saturating_sub(self.deadline.began);
        let spent = SignedDuration::from_millis(i64::try_from(spent).unwrap_or(i64::MAX));
        self.link.now().checked_sub(spent).unwrap_or(Timestamp::MIN)
    }

    pub(crate) fn note(&self, note: String) {
        self.notes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(note);
    }

    pub(crate) fn selector(&self) -> String {
        format!("{}={}", crate::applyset::PART_OF, self.set.id())
    }

    async fn run(self) -> Result<Applied, ApplyError> {
        let discovery = self
            .link
            .recent_discovery()
            .await
            .map_err(|trouble| self.failing(trouble))?;
        let mut wanted = desired::all(self.step, self.work, &discovery).map_err(unknown)?;
        let kinds: BTreeSet<_> = wanted.iter().map(|one| one.key.group_kind()).collect();
        let members = self
            .set
            .members(self.link, &discovery, kinds)
            .await
            .map_err(|trouble| self.failing(trouble))?;
        // The parent names every kind before the first object of it is made, so that none is ever forgotten.
        if members.parent.is_none() {
            self.set
                .refuse_others(self.link)
                .await
                .map_err(|trouble| self.refused_parent(trouble))?;
        }
        let all: BTreeSet<Key> = wanted
            .iter()
            .map(|one| one.key.clone())
            .chain(members.objects.keys().cloned())
            .collect();
        // Kinds that the cluster does not tell of just now may come back, and objects of them with them.
        let named = members.parent.iter().flat_map(kinds_of);
        let unseen: Vec<_> = named.filter(|kind| discovery.preferred(kind).is_none()).collect();
        self.write_parent(&all, &unseen).await?;
        let (made, changed) = self.put_all(&wanted, &members).await?;
        let discovery = self
            .link
            .discovery()
            .await
            .map_err(|trouble| self.failing(trouble))?;
        for one in &mut wanted {
            one.known_to(&discovery);
        }
        let kept: BTreeSet<Key> = wanted.iter().map(|one| one.key.clone()).collect();
        let pruned = self.prune(&kept).await?;
        if kept != all {
            self.write_parent(&kept, &unseen).await?;
        }
        let live = self.ready(&wanted).await?;
        let outcome = match (made, changed, pruned) {
            (0, 0, 0) => Outcome::Unchanged,
            (made, ..) if made == wanted.len() => Outcome::Created,
            _ => Outcome::Updated,
        };
        let given = stand::outputs(&discovery, self.work, &live);
        for name in self.work.outputs.keys() {
            if !given.contains_key(name) {
                return Err(self.lacks(name, &discovery).into());
            }
        }
        let standing = Standing {
            set: &self.set,
            cluster: &self.link.name,
            region: &self.link.region,
            controls: self.work.controls.clone(),
        };
        let notes = self.notes.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Applied {
            outcome,
            outputs: given,
            owned: Some(standing.owned(&live)),
            notes: notes.into_iter().collect(),
        })
    }

    /// The parent belongs to somebody else: so would everything in the set.
    fn refused_parent(&self, trouble: Trouble) -> ApplyError {
        let Trouble::Refused(refusal) = &trouble else {
            return self.failing(trouble);
        };
        let way_out = advice::refused(&Key::default(), refusal);
        Failure::new(refusal.message.clone()).way_out(way_out).into()
    }

    async fn write_parent(&self, keys: &BTreeSet<Key>, more: &[GroupKind]) -> Result<(), ApplyError> {
        let key = self.set.parent_key();
        let mut patience = Patience::new(self, &key);
        loop {
            let controls = &self.work.controls;
            match self.set.write_parent(self.link, keys, more, controls).await {
                Ok(()) => return Ok(()),
                Err(Trouble::Refused(refusal)) => patience.wait(*refusal).await?,
                Err(trouble) => return Err(self.failing(trouble)),
            }
        }
    }

    /// Applies everything, rank by rank. Tells how many were made and how many changed.
    async fn put_all(&self, wanted: &[Desired], members: &Members) -> Result<(usize, usize), ApplyError> {
        let (mut made, mut changed) = (0, 0);
        let done = AtomicUsize::new(0);
        for rank in wanted.chunk_by(|a, b| desired::rank(&a.key) == desired::rank(&b.key)) {
            let puts: Vec<_> = rank
                .iter()
                .map(|one| self.put(one, members, (&done, wanted.len())))
                .collect();
            let puts: Vec<Put> = stream::iter(puts).buffer_unordered(AT_ONCE).try_collect().await?;
            made += puts.iter().filter(|put| **put == Put::Made).count();
            changed += puts.iter().filter(|put| **put == Put::Changed).count();
            let defines = rank
                .first()
                .is_some_and(|one| desired::rank(&one.key) == desired::DEFINITIONS);
            if defines && done.load(Ordering::Relaxed) < wanted.len() {
                self.ready(rank).await?;
                self.link
                    .discover()
                    .await
                    .map_err(|trouble| self.failing(trouble))?;
            }
        }
        Ok((made, changed))
    }

    /// Applies one object, once it is taken.
    async fn put(
        &self,
        one: &Desired,
        members: &Members,
        (done, all): (&AtomicUsize, usize),
    ) -> Result<Put, ApplyError> {
        let key = one.key.clone();
        let mut patience = Patience::new(self, &key);
        let mut seen = members.objects.get(&one.key).cloned();
        let mut one = one.clone();
        let mut outcome = None;
        loop {
            match self.try_put(&mut one, seen.take(), &mut outcome).await {
                Ok(put) => {
                    let count = done.fetch_add(1, Ordering::Relaxed) + 1;
                    self.progress
                        .count(count, all, format!("applied {}", one.key.said()));
                    return Ok(outcome.unwrap_or(put));
                }
                Err(Trouble::Refused(refusal)) => patience.wait(*refusal).await?,
                Err(trouble) => return Err(self.failing(trouble)),
            }
        }
    }

    /// Applies one object once. `outcome` keeps what it comes to when it takes more than one try.
    async fn try_put(
        &self,
        one: &mut Desired,
        seen: Option<Value>,
        outcome: &mut Option<Put>,
    ) -> Result<Put, Trouble> {
        let kind = one.key.kind.clone();
        let mut discovery = self.link.discovery().await?;
        if discovery.version(&one.api_version, &kind).is_none() {
            discovery = self.link.discover_again().await?;
        }
        let Some(resource) = discovery.version(&one.api_version, &kind) else {
            return Err(no_kind(one).into());
        };
        one.known_to(&discovery);
        let path = resource.path_of(&one.key);
        let live = match seen {
            Some(live) => Some(live),
            None => self.link.get(&path).await?,
        };
        if let Some(live) = &live {
            if !live["metadata"]["deletionTimestamp"].is_null() {
                return Err(being_deleted(&one.key, live).into());
            }
            if let Some(why) = foreign(&one.key, live, &self.set) {
                return Err(Refusal::known(FOREIGN, why).into());
            }
            if is_over_and_done_with(live) {
                self.replace(&one.key, &path, live, "it has run already", outcome)
                    .await?;
            }
        }
        if let Some(live) = &live {
            let stopped = quiesce::left_behind(&one.key, live, &one.body);
            if !stopped.is_empty() {
                self.link.merge(&path, &quiesce::without(&stopped)).await?;
            }
        }
        let force = self.work.force;
        let applied = match self.send(&path, &one.body, force).await {
            Err(Trouble::Refused(refusal)) if refusal.is_field_conflict() => {
                let conflicts = conflict::conflicts(&refusal);
                if !conflicts.iter().all(conflict::may_be_taken) {
                    let (fields, _) = conflict::kept_by_others(&conflicts);
                    return Err(Refusal {
                        reason: FOREIGN.to_owned(),
                        code: 0,
                        message: fields,
                        causes: refusal.causes,
                    }
                    .into());
                }
                let applied = self.send(&path, &one.body, true).await?;
                if let Some(note) = conflict::taken_back(&one.key, &conflicts) {
                    self.note(note);
                }
                applied
            }
            Err(Trouble::Refused(refusal)) if refusal.is_immutable() && kind == "Job" => match &live {
                Some(live) => {
                    let why = "what a Job runs cannot be changed in place";
                    return self
                        .replace(&one.key, &path, live, why, outcome)
                        .await
                        .map(|()| Put::Changed);
                }
                None => return Err(Trouble::Refused(refusal)),
            },
            other => other?,
        };
        Ok(match live {
            None => Put::Made,
            Some(live) if stand::same(&live, &applied) => Put::Same,
            Some(_) => Put::Changed,
        })
    }

    async fn send(&self, path: &str, body: &Value, force: bool) -> Result<Value, Trouble> {
        let path = format!("{path}?fieldManager={MANAGER}&force={force}");
        let (_, applied) = self.link.put(http::Method::PATCH, path, APPLY, body).await?;
        Ok(applied)
    }

    /// Deletes a Job so that it is made anew. Says no until the old one is gone.
    async fn replace(
        &self,
        key: &Key,
        path: &str,
        live: &Value,
        why: &str,
        outcome: &mut Option<Put>,
    ) -> Result<(), Trouble> {
        self.link.delete(path, live, "Foreground").await?;
        *outcome = Some(Put::Changed);
        self.note(format!("the {} was made anew: {why}", key.said()));
        Err(being_deleted(key, live).into())
    }

    pub(crate) fn cause(&self, key: &Key, state: &str, reason: String) -> Cause {
        Cause {
            resource: key.place(),
            kind: key.kind.clone(),
            state: state.to_owned(),
            reason,
            at: self.link.clock.now(),
        }
    }

    /// Why an output cannot be given: its object stands and has nothing there.
    fn lacks(&self, output: &str, discovery: &crate::discovery::Discovery) -> Failure {
        let declared = &self.work.outputs[output];
        let of = declared.of.replacen('/', " ", 1);
        let (kind, name) = declared.of.split_once('/').unwrap_or(("", &declared.of));
        let key = stand::key_of_output(discovery, self.work, kind, name).unwrap_or_default();
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
                at: self.link.clock.now(),
            }),
            way_out: Some(format!(
                "`kubectl get {} -o yaml` shows what it has: name a path that is there in the step's outputs, then run the command \
                 again",
                key.for_kubectl()
            )),
        }
    }

    /// Deletes objects of this step that the manifests no longer have, and waits until they are gone.
    async fn prune(&self, wanted: &BTreeSet<Key>) -> Result<usize, ApplyError> {
        let mut looks = Looks::new();
        let mut unwanted: Option<usize> = None;
        let mut told = String::new();
        let mut asked: BTreeSet<String> = BTreeSet::new();
        loop {
            let left = self
                .unwanted(wanted, &mut asked)
                .await
                .map_err(|trouble| self.failing(trouble))?;
            let count = *unwanted.get_or_insert(left.len());
            let Some((first, object)) = left.iter().next() else {
                return Ok(count);
            };
            if self.is_over() {
                let hanging = Hanging::look(self.link, first, object);
                let hanging = hanging.await.map_err(|trouble| self.failing(trouble))?;
                return Err(hanging.failure(&self.within(), self.link.clock.now()).into());
            }
            let message = format!("removing {}, no longer in the manifests", first.said());
            if told != message {
                self.progress.say(message.clone());
                told = message;
            }
            self.link.clock.sleep(looks.next()).await;
        }
    }

    /// What of this step still stands and is not wanted, asked to go.
    async fn unwanted(
        &self,
        wanted: &BTreeSet<Key>,
        asked: &mut BTreeSet<String>,
    ) -> Result<BTreeMap<Key, Value>, Trouble> {
        let discovery = self.link.discovery().await?;
        let mut left = self.set.members(self.link, &discovery, []).await?.objects;
        left.retain(|key, _| !wanted.contains(key));
        // In the order of a removal: what has a finalizer goes while the controller of it still runs.
        let rank = |key: &Key| remove::rank(key, true);
        let next = left.keys().map(rank).min();
        let deletes = left.iter().filter(|(key, _)| Some(rank(key)) == next);
        let deletes = deletes.filter_map(|(key, object)| {
            let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
            let path = discovery.preferred(&key.group_kind())?.path_of(key);
            asked.insert(uid.to_owned()).then_some((path, object))
        });
        let deletes: Vec<_> = deletes
            .map(|(path, object)| async move { self.link.delete(&path, object, "Background").await })
            .collect();
        let deleted: Vec<Result<(), Trouble>> =
            stream::iter(deletes).buffer_unordered(AT_ONCE).collect().await;
        deleted.into_iter().collect::<Result<(), Trouble>>()?;
        Ok(left)
    }
}

/// How an object that is refused for now is waited for.
struct Patience<'a> {
    applying: &'a Applying<'a>,
    key: &'a Key,
    looks: Looks,
    told: String,
    /// Since when it is forbidden, in milliseconds of the clock.
    forbidden: Option<u64>,
}

/// How long access that was just given takes until it is in force: EKS says "a few seconds" of access entries.
const ACCESS_MS: u64 = 60_000;

impl<'a> Patience<'a> {
    fn new(applying: &'a Applying<'a>, key: &'a Key) -> Patience<'a> {
        Patience {
            applying,
            key,
            looks: Looks::new(),
            told: String::new(),
            forbidden: None,
        }
    }

    /// Waits until it is worth another try, or says why it is not.
    async fn wait(&mut self, refusal: Refusal) -> Result<(), Failure> {
        let Patience { applying, key, .. } = self;
        let now = applying.link.clock.millis();
        let may_come =
            refusal.code == 403 && now.saturating_sub(*self.forbidden.get_or_insert(now)) < ACCESS_MS;
        if !(refusal.passes() || may_come) || applying.is_over() {
            let way_out = advice::refused(key, &refusal);
            return Err(Failure {
                summary: format!("the {} could not be applied", key.said()),
                cause: Some(applying.cause(key, "Refused", refusal.message)),
                way_out: Some(way_out),
            });
        }
        if self.told != refusal.message {
            let said = key.said();
            applying
                .progress
                .say(format!("{said} is not taken yet: {}", refusal.message));
            self.told = refusal.message;
        }
        applying.link.clock.sleep(self.looks.next()).await;
        Ok(())
    }
}

/// Nothing in the cluster defines the kind of an object.
fn no_kind(one: &Desired) -> Refusal {
    let message = format!(
        "no matches for kind \"{}\" in version \"{}\"",
        one.key.kind, one.api_version
    );
    let everyones = landfall_kinds::core()
        .iter()
        .any(|kind| kind.group == one.key.group);
    Refusal {
        // What belongs to every cluster does not come later.
        code: if everyones { 400 } else { 404 },
        ..Refusal::known(if everyones { FOREIGN } else { NO_KIND }, message)
    }
}

fn being_deleted(key: &Key, live: &Value) -> Refusal {
    let held = match finalizers(live).as_slice() {
        [] => String::new(),
        held => format!(", held by its finalizer {}", held.join(", ")),
    };
    let message = format!(
        "object is being deleted: {} \"{}\" already exists{held}",
        key.kind, key.name
    );
    Refusal::known(DELETING, message)
}

/// Whether an object is a Job that has failed, or that ran for a removal which was then given up: applied as it is,
/// it would never run again.
fn is_over_and_done_with(object: &Value) -> bool {
    if object["kind"] != "Job" {
        return false;
    }
    let is = |kind: &str| {
        let mut conditions = object["status"]["conditions"].as_array().into_iter().flatten();
        conditions.any(|one| one["type"] == kind && one["status"] == "True")
    };
    is("Failed") || desired::runs_on_removal(object) && is("Complete")
}
