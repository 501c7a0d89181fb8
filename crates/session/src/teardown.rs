//! Removing everything, round after round, until a fresh search finds nothing.

use std::time::Duration;

use landfall_engine::Seen;
use landfall_engine::certificate::{TeardownRun, certify};
use landfall_model::certificate::Certificate;
use landfall_model::journal::Entry;
use landfall_model::plan::{Action, Plan, Purpose};
use landfall_model::planted;
use landfall_model::provider::Outcome;
use landfall_runner::{Ended, Event, Look, Watcher};
use landfall_store::{Inventory, Lock, PastRun};

use crate::{Done, Error, Session, Steering, resources};

/// How many runs are made before a person is asked. Each must have removed something for the next to begin.
const ROUNDS: usize = 5;

/// How often renewed credentials are looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// A teardown that has come as far as it comes.
#[derive(Debug)]
pub struct Teardown {
    /// Its runs, the first first.
    pub runs: Vec<Done>,
    /// What is left; none when it was asked to stop.
    pub certificate: Option<Certificate>,
}

impl Teardown {
    /// Whether everything is gone.
    pub fn is_clean(&self) -> bool {
        self.certificate
            .as_ref()
            .is_some_and(|certificate| certificate.clean)
            && self.runs.last().is_some_and(|run| run.ended == Ended::Succeeded)
    }
}

impl Session {
    /// Rehearses the removal of everything: the plan, and what stands and is found now.
    ///
    /// # Errors
    /// The world cannot be looked at or searched.
    pub async fn rehearse(&self, retained_too: bool) -> Result<(Plan, Seen), Error> {
        let mut seen = self.look_and_search().await?;
        let mut plan = landfall_engine::plan_destroy(
            self.wanted.clone(),
            &seen,
            retained_too,
            self.plan_id(),
            self.clock.now(),
        );
        resources::of_removals(&mut plan, &seen);
        self.estimate(&mut plan).await?;
        if let Some(marks) = &plan.marks {
            // What stands in a network that stays is none of a teardown's business.
            seen.found.retain(|one| one.is_marked_by(marks));
        }
        Ok((plan, seen))
    }

    /// What stands and what carries the platform's marks.
    async fn look_and_search(&self) -> Result<Seen, Error> {
        let mut seen = self.look(Look::AtWhatStands).await?;
        let Inventory {
            mut landmarks,
            regions,
            ..
        } = self.store.inventory().await?;
        if planted!(MarksForgotten) {
            landmarks.clear();
        }
        let name = &self.wanted.facts.name;
        landfall_runner::search(&self.providers, name, &landmarks, &regions, &mut seen).await?;
        Ok(seen)
    }

    /// Removes everything the plan says, and plans again as long as that helps: something may fail because of
    /// what turned up late, and go once that is swept.
    ///
    /// # Errors
    /// Records cannot be written; the world cannot be looked at.
    pub async fn destroy(
        &self,
        lock: &Lock,
        plan: &Plan,
        retained_too: bool,
        steering: &Steering,
    ) -> Result<Teardown, Error> {
        let first = self.run(lock, plan, steering).await?;
        self.until_clean(lock, first, false, retained_too, steering).await
    }

    /// Goes on with a teardown that stopped.
    ///
    /// # Errors
    /// As for [`Session::destroy`].
    pub async fn go_on_destroying(
        &self,
        lock: &Lock,
        past: PastRun,
        retained_too: bool,
        steering: &Steering,
    ) -> Result<Teardown, Error> {
        let first = self.go_on(lock, past, steering).await?;
        self.until_clean(lock, first, true, retained_too, steering).await
    }

    async fn until_clean(
        &self,
        lock: &Lock,
        first: Done,
        resumed: bool,
        retained_too: bool,
        steering: &Steering,
    ) -> Result<Teardown, Error> {
        let mut runs = vec![first];
        loop {
            let last = runs.last().expect("there is a first run");
            if last.ended == Ended::Interrupted {
                return Ok(Teardown {
                    runs,
                    certificate: None,
                });
            }
            let watcher = (steering.watcher)(&last.plan);
            let (plan, seen) = self
                .rehearse_patiently(retained_too, steering, watcher.as_ref())
                .await?;
            let certificate = self.certify(&runs, &seen);
            lock.keep_certificate(&certificate).await?;
            // A run that failed proves nothing, even when nothing is found now: another one has to succeed.
            let nothing_to_do = certificate.clean && plan.count(Action::Delete) == 0;
            let is_over = nothing_to_do && last.ended == Ended::Succeeded;
            // What failed before it was gone on with is tried once more, whatever came of the rest.
            let tried = runs.len() > 1 || !resumed;
            let is_stuck = !nothing_to_do && tried && !removed_something(last);
            if is_over || is_stuck || runs.len() == ROUNDS || planted!(SweptOnce) {
                return Ok(Teardown {
                    runs,
                    certificate: Some(certificate),
                });
            }
            runs.push(self.run(lock, &plan, steering).await?);
        }
    }

    /// Rehearses, waiting for credentials that have expired to be renewed, unless the run is asked to stop.
    async fn rehearse_patiently(
        &self,
        retained_too: bool,
        steering: &Steering,
        watcher: &dyn Watcher,
    ) -> Result<(Plan, Seen), Error> {
        let mut told = false;
        loop {
            let error = match self.rehearse(retained_too).await {
                Err(error) if error.expired() && !*steering.stop.borrow() => error,
                result => return result,
            };
            if !told {
                told = true;
                watcher.event(&Event::Paused {
                    reason: error.to_string(),
                });
            }
            self.clock.sleep(LOOK_AGAIN).await;
            for provider in self.providers.all() {
                // Whether that helped, the next look tells.
                let _ = provider.renew().await;
            }
        }
    }

    /// What stands and is found of a platform of which nothing has to be removed.
    pub fn certificate(&self, seen: &Seen) -> Certificate {
        self.certify(&[], seen)
    }

    /// What is left after these runs, given what was seen since.
    fn certify(&self, runs: &[Done], seen: &Seen) -> Certificate {
        let runs: Vec<TeardownRun<'_>> = runs
            .iter()
            .filter(|done| done.plan.purpose == Purpose::Destroy)
            .map(|done| TeardownRun {
                run: &done.id,
                plan: &done.plan,
                records: &done.records,
            })
            .collect();
        certify(&self.wanted.facts, &runs, seen, self.clock.now())
    }
}

fn removed_something(done: &Done) -> bool {
    done.records.iter().any(|record| {
        matches!(
            record.entry,
            Entry::SweptAway { .. }
                | Entry::StepDone {
                    outcome: Outcome::Removed,
                    ..
                }
        )
    })
}
