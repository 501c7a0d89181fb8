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
                self.clock
                    .sleep(if late { SETTLED_AFTER_A_CLUSTER } else { SETTLED })
                    .await;
                continue;
            }
            empty_before = false;
            let mut held_up: Vec<(Found, String)> = Vec::new();
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
                if let Swept::NotYet(why) = self.sweeper.sweep(one, self.progress).await? {
                    held_up.push((one.clone(), why));
                }
            }
            if planted!(SweptOnce) {
                return Ok(told(&gone));
            }
            if self.clock.millis() > until {
                return Err(still_there(&left, &held_up).into());
            }
            if let Some((one, why)) = held_up.first() {
                self.progress.count(
                    gone.len(),
                    gone.len() + left.len(),
                    format!("{} {} cannot go yet: {why}", one.kind, one.id),
                );
            }
            self.clock.sleep(wait).await;
            wait = (wait * 3 / 2).min(longest);
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

fn still_there(left: &[Found], held_up: &[(Found, String)]) -> Failure {
    let (one, why) = held_up.first().map_or_else(
        || (&left[0], "it was asked to go, and is still found".to_owned()),
        |(one, why)| (one, why.clone()),
    );
    let list: Vec<String> = left
        .iter()
        .map(|one| format!("{} {}", one.kind, one.id))
        .collect();
    Failure {
        summary: format!(
            "still there after {} min: {}",
            PATIENCE_MS / 60_000,
            list.join(", ")
        ),
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
/// landmarks there were: the stacks that told of them may be gone by now.
///
/// # Errors
/// A world that cannot be searched.
pub async fn search(
    providers: &Providers,
    platform: &str,
    remembered: &BTreeSet<Landmark>,
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
    let regions = marks
        .regions
        .drain(..)
        .chain(landmarks.iter().map(|landmark| landmark.region.clone()));
    marks.regions = regions.collect::<BTreeSet<String>>().into_iter().collect();
    marks.landmarks = landmarks.into_iter().collect();
    seen.found = sweeper.search(&marks).await?;
    seen.marks = Some(marks);
    Ok(())
}
