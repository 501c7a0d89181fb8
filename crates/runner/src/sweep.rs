//! Sweeps leftovers until a fresh search finds nothing: removing one thing often lets the next go, and what
//! nobody expected turns up late.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use landfall_engine::Seen;
use landfall_engine::teardown::SWEEP_IN_NETWORKS;
use landfall_model::StepId;
use landfall_model::journal::Entry;
use landfall_model::leftover::{Found, Landmark, Marks, Swept};
use landfall_model::planted;
use landfall_model::provider::{Cause, Failure, Owned};
use tokio::sync::watch;

use crate::notes::Notes;
use crate::ports::{ApplyError, Clock, ObserveError, Progress, Providers, Sweeper};

/// How long leftovers are waited for to go. Network interfaces take up to ten minutes to follow their load
/// balancer, and an instance some minutes to end.
const PATIENCE_MS: u64 = 30 * 60 * 1000;
/// The first wait before looking again, and the longest.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(30));
/// How long nothing has to be found before that counts: searches lag behind the world.
const SETTLED: Duration = Duration::from_secs(15);
/// The same at the end of a cluster: what still writes makes its log group anew a minute later.
const SETTLED_AFTER_A_CLUSTER: Duration = Duration::from_secs(90);

/// One step that sweeps.
pub(crate) struct Sweep<'a> {
    pub(crate) sweeper: &'a dyn Sweeper,
    pub(crate) step: &'a StepId,
    pub(crate) marks: &'a Marks,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) notes: &'a Notes,
    pub(crate) progress: &'a Progress,
    /// Turns true when the run should stop: a sweep may be left anywhere, and goes on anew.
    pub(crate) stop: watch::Receiver<bool>,
}

impl Sweep<'_> {
    /// Searches and removes until two searches in a row find nothing. Returns what people should know.
    pub(crate) async fn until_nothing_is_left(&self) -> Result<Vec<String>, ApplyError> {
        let until = self.clock.millis() + PATIENCE_MS;
        let mut begun: BTreeMap<String, Found> = BTreeMap::new();
        let mut gone: BTreeSet<Found> = BTreeSet::new();
        let (mut wait, longest) = LOOK_AGAIN;
        let mut empty_before = false;
        loop {
            let left = self.search().await?;
            for one in take_absent(&mut begun, &left) {
                self.notes
                    .write(Entry::SweptAway {
                        step: self.step.clone(),
                        leftover: one.clone(),
                    })
                    .await;
                gone.insert(one);
            }
            if left.is_empty() {
                if empty_before || planted!(SweptOnce) {
                    return Ok(told(&gone));
                }
                empty_before = true;
                let late = !self.marks.landmarks.is_empty() && !self.only_in_networks();
                self.pause(if late { SETTLED_AFTER_A_CLUSTER } else { SETTLED })
                    .await?;
                continue;
            }
            empty_before = false;
            let mut held_up: Vec<(Found, String)> = Vec::new();
            let mut hopeless = true;
            for (count, one) in left.iter().enumerate() {
                self.progress
                    .count(count, left.len(), format!("sweeping {} {}", one.kind, one.id));
                if !begun.contains_key(&one.id) {
                    self.notes
                        .write(Entry::Sweeping {
                            step: self.step.clone(),
                            leftover: one.clone(),
                        })
                        .await;
                    begun.insert(one.id.clone(), one.clone());
                }
                match self.sweeper.sweep(one, self.progress).await? {
                    Swept::Gone => hopeless = false,
                    Swept::NotYet(why) => {
                        hopeless = false;
                        held_up.push((one.clone(), why));
                    }
                    Swept::Never(why) => held_up.push((one.clone(), why)),
                }
                if *self.stop.borrow() {
                    return Err(ApplyError::Stopped);
                }
            }
            if hopeless {
                return Err(still_there(&left, &held_up, None).into());
            }
            if planted!(SweptOnce) {
                return Ok(told(&gone));
            }
            if self.clock.millis() > until {
                return Err(still_there(&left, &held_up, Some(PATIENCE_MS / 60_000)).into());
            }
            if let Some((one, why)) = held_up.first() {
                self.progress.count(
                    gone.len(),
                    gone.len() + left.len(),
                    format!("{} {} cannot go yet: {why}", one.kind, one.id),
                );
            }
            self.pause(wait).await?;
            wait = (wait * 3 / 2).min(longest);
        }
    }

    /// Waits, unless the run is asked to stop meanwhile.
    async fn pause(&self, time: Duration) -> Result<(), ApplyError> {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = self.clock.sleep(time) => Ok(()),
            Ok(_) = stop.wait_for(|stop| *stop) => Err(ApplyError::Stopped),
        }
    }

    fn only_in_networks(&self) -> bool {
        self.step.as_str() == SWEEP_IN_NETWORKS
    }

    /// The leftovers there are that this step is for.
    async fn search(&self) -> Result<Vec<Found>, ApplyError> {
        let found = self.sweeper.search(self.marks).await.map_err(searching)?;
        Ok(found
            .into_iter()
            .filter(Found::is_leftover)
            .filter(|one| one.is_in_a_network() || !self.only_in_networks())
            .filter(|one| !(planted!(NetworksNotSearched) && one.is_in_a_network()))
            .collect())
    }
}

/// What was begun and is not found any more.
fn take_absent(begun: &mut BTreeMap<String, Found>, left: &[Found]) -> Vec<Found> {
    let still: BTreeSet<&str> = left.iter().map(|one| one.id.as_str()).collect();
    let absent: Vec<String> = begun
        .keys()
        .filter(|id| !still.contains(id.as_str()))
        .cloned()
        .collect();
    absent.iter().filter_map(|id| begun.remove(id)).collect()
}

fn told(gone: &BTreeSet<Found>) -> Vec<String> {
    gone.iter()
        .map(|one| format!("swept away {} {} ({})", one.kind, one.id, one.because))
        .collect()
}

fn searching(error: ObserveError) -> ApplyError {
    if error.expired {
        return ApplyError::CredentialsExpired(error.source.to_string());
    }
    let failure = Failure::new(format!("{}: {}", error.doing, error.source));
    match error.way_out {
        Some(way_out) => failure.way_out(way_out),
        None => failure,
    }
    .into()
}

fn still_there(left: &[Found], held_up: &[(Found, String)], waited_min: Option<u64>) -> Failure {
    let (one, why) = held_up.first().map_or_else(
        || (&left[0], "it was asked to go, and is still found".to_owned()),
        |(one, why)| (one, why.clone()),
    );
    let list: Vec<String> = left
        .iter()
        .map(|one| format!("{} {}", one.kind, one.id))
        .collect();
    Failure {
        summary: match waited_min {
            Some(minutes) => format!("still there after {minutes} min: {}", list.join(", ")),
            None => format!("cannot be swept: {}", list.join(", ")),
        },
        cause: Some(Cause {
            resource: one.id.clone(),
            kind: one.kind.clone(),
            state: "NOT_REMOVED".to_owned(),
            reason: why,
            at: String::new(),
        }),
        way_out: Some(
            "see to what the reason names, then run `landfall destroy` again: it looks anew and goes on"
                .to_owned(),
        ),
    }
}

/// Looks for everything that carries the platform's marks, beside what its steps stand as. `remembered` are
/// landmarks there were, and `regions` those in which anything was made: the stacks that told of them may be gone
/// by now.
///
/// # Errors
/// A world that cannot be searched.
pub async fn search(
    providers: &Providers,
    platform: &str,
    remembered: &BTreeSet<Landmark>,
    regions: &BTreeSet<String>,
    seen: &mut Seen,
) -> Result<(), ObserveError> {
    let Some(sweeper) = providers.sweeper() else {
        return Ok(());
    };
    let ours: Vec<Owned> = seen
        .owned
        .iter()
        .filter(|owned| !owned.adopted)
        .cloned()
        .collect();
    let mut marks = sweeper.marks(platform, &ours).await?;
    let landmarks: BTreeSet<Landmark> = marks
        .landmarks
        .drain(..)
        .chain(remembered.iter().cloned())
        .collect();
    let regions_of = marks
        .regions
        .drain(..)
        .chain(landmarks.iter().map(|landmark| landmark.region.clone()));
    let regions = regions_of.chain(regions.iter().cloned());
    marks.regions = regions.collect::<BTreeSet<String>>().into_iter().collect();
    marks.landmarks = landmarks.into_iter().collect();
    seen.found = sweeper.search(&marks).await?;
    seen.marks = Some(marks);
    Ok(())
}
