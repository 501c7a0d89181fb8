//! Removing everything, round after round, until a fresh search finds nothing.

use landfall_engine::Seen;
use landfall_engine::certificate::{TeardownRun, certify};
use landfall_model::certificate::Certificate;
use landfall_model::journal::Entry;
use landfall_model::plan::{Action, Plan, Purpose};
use landfall_model::planted;
use landfall_model::provider::Outcome;
use landfall_runner::{Ended, Look};
use landfall_store::{Lock, PastRun};

use crate::{Done, Error, Session, Steering};

/// How many runs are made before a person is asked. Each must have removed something for the next to begin.
const ROUNDS: usize = 5;

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
        let seen = self.look_and_search().await?;
        let mut plan = landfall_engine::plan_destroy(
            self.wanted.clone(),
            &seen,
            retained_too,
            self.plan_id(),
            self.clock.now(),
        );
        self.estimate(&mut plan).await?;
        Ok((plan, seen))
    }

    /// What stands and what carries the platform's marks.
    async fn look_and_search(&self) -> Result<Seen, Error> {
        let mut seen = self.look(Look::AtWhatStands).await?;
        let mut landmarks = self.store.inventory().await?.landmarks;
        if planted!(MarksForgotten) {
            landmarks.clear();
        }
        let name = &self.wanted.facts.name;
        landfall_runner::search(&self.providers, name, &landmarks, &mut seen).await?;
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
        self.until_clean(lock, first, retained_too, steering).await
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
        self.until_clean(lock, first, retained_too, steering).await
    }

    async fn until_clean(
        &self,
        lock: &Lock,
        first: Done,
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
            let (plan, seen) = self.rehearse(retained_too).await?;
            let certificate = self.certify(&runs, &seen);
            lock.keep_certificate(&certificate).await?;
            // A run that failed proves nothing, even when nothing is found now: another one has to succeed.
            let nothing_to_do = certificate.clean && plan.count(Action::Delete) == 0;
            let is_over = nothing_to_do && last.ended == Ended::Succeeded;
            let is_stuck = !nothing_to_do && !removed_something(last);
            if is_over || is_stuck || runs.len() == ROUNDS || planted!(SweptOnce) {
                return Ok(Teardown {
                    runs,
                    certificate: Some(certificate),
                });
            }
            runs.push(self.run(lock, &plan, steering).await?);
        }
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
