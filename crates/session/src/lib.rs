//! One session with a platform: look, plan, run on record, remember. Command line, portal and simulation
//! take this one way; they differ in whom they ask and what they show.

mod opening;
mod preflight;
mod resources;
mod teardown;

use std::sync::{Arc, Mutex};

use landfall_engine::planner::{self, Seen};
use landfall_engine::run::OutOfOrder;
use landfall_engine::schedule;
use landfall_model::id::{PlanId, RunId};
use landfall_model::journal::{Entry, Record};
use landfall_model::plan::{Estimate, Plan, PlannedStep};
use landfall_model::wanted::Wanted;
use landfall_runner::{
    Clock, Ended, Event, Execution, Journal, Look, LookError, Providers, Remembered, Stop, Watcher, look,
    resume,
};
use landfall_store::{Durations, Inventory, Lock, PastRun, Store};
use tokio::sync::watch;

pub use opening::Opening;
pub use teardown::Teardown;

/// Why a session cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The world could not be looked at.
    #[error(transparent)]
    Look(#[from] LookError),
    /// The world could not be searched.
    #[error(transparent)]
    Search(#[from] landfall_runner::ObserveError),
    /// There can be no plan.
    #[error(transparent)]
    Plan(#[from] planner::Error),
    /// Records cannot be read or written.
    #[error(transparent)]
    Store(#[from] landfall_store::Error),
    /// The run could not go on.
    #[error(transparent)]
    Stop(#[from] Stop),
    /// A journal contradicts itself.
    #[error("the journal of the run {run} does not hang together")]
    OutOfOrder {
        /// Which run.
        run: RunId,
        /// Where.
        #[source]
        source: OutOfOrder,
    },
}

impl Error {
    /// Whether the world could not be looked at because credentials have expired.
    fn expired(&self) -> bool {
        match self {
            Error::Search(error) | Error::Look(LookError::Provider(error)) => error.expired,
            _ => false,
        }
    }
}

/// Tells what a step of a plan usually takes, in milliseconds.
pub type Usually = dyn Fn(&Plan, &PlannedStep) -> Option<u64> + Send + Sync;

/// Makes who watches a run of a plan.
pub type WatcherOf = dyn Fn(&Plan) -> Arc<dyn Watcher> + Send + Sync;

/// A platform, the world it is to stand in, and its records.
#[derive(Clone)]
pub struct Session {
    /// What the platform file asks for.
    pub wanted: Wanted,
    /// Who acts in the world.
    pub providers: Providers,
    /// The world's time.
    pub clock: Arc<dyn Clock>,
    /// Where records are kept.
    pub store: Store,
    /// A part for names that no two plans or runs share.
    pub unique: Arc<dyn Fn() -> String + Send + Sync>,
    /// What a step usually takes, for those that were never timed here.
    pub usually: Arc<Usually>,
}

/// How a run is watched and steered.
#[derive(Clone)]
pub struct Steering {
    /// Who watches a run of this plan.
    pub watcher: Arc<WatcherOf>,
    /// Turns true when the run should stop.
    pub stop: watch::Receiver<bool>,
    /// How many steps may run at once.
    pub at_once: usize,
}

/// A run that has ended, one way or another.
#[derive(Debug)]
pub struct Done {
    /// Which run.
    pub id: RunId,
    /// What it carried out.
    pub plan: Plan,
    /// How it ended.
    pub ended: Ended,
    /// Where its steps stand.
    pub run: landfall_engine::Run,
    /// What was recorded, before a crash too.
    pub records: Vec<Record>,
    /// How long this part of it took, in milliseconds.
    pub took_ms: u64,
}

impl Session {
    /// What stands.
    ///
    /// # Errors
    /// The world cannot be looked at; the inventory cannot be read.
    pub async fn look(&self, closely: Look) -> Result<Seen, Error> {
        let Inventory { owned, checked, .. } = self.store.inventory().await?;
        let remembered = Remembered {
            owned,
            checked: checked.into_iter().collect(),
        };
        Ok(look(&self.wanted, &self.providers, remembered, closely).await?)
    }

    /// What has to be done to bring the platform to what its file says.
    ///
    /// # Errors
    /// As for [`Session::look`]; things in the way.
    pub async fn plan(&self) -> Result<Plan, Error> {
        let seen = self.look(Look::AtChanges).await?;
        let mut plan =
            landfall_engine::plan_apply(self.wanted.clone(), &seen, self.plan_id(), self.clock.now())?;
        let upcoming = landfall_engine::upcoming(&plan);
        resources::of_creations(&mut plan, &upcoming);
        self.estimate(&mut plan).await?;
        plan.findings = self.look_ahead(&plan, &upcoming).await;
        Ok(plan)
    }

    /// Notes how long each step should take: as it was learned here, or as such things usually take.
    ///
    /// # Errors
    /// The inventory cannot be read.
    pub async fn estimate(&self, plan: &mut Plan) -> Result<(), Error> {
        let Inventory { durations, .. } = self.store.inventory().await?;
        schedule::estimate(plan, |plan, step| self.estimate_of(&durations, plan, step));
        Ok(())
    }

    fn estimate_of(&self, durations: &Durations, plan: &Plan, step: &PlannedStep) -> Option<Estimate> {
        if let Some(learned) = durations.of_step(plan, step) {
            return Some(Estimate {
                takes_ms: learned.mean_ms,
                timed: u32::try_from(learned.count).unwrap_or(u32::MAX),
            });
        }
        let takes_ms = (self.usually)(plan, step)?;
        Some(Estimate { takes_ms, timed: 0 })
    }

    /// A name for a new plan.
    pub fn plan_id(&self) -> PlanId {
        PlanId(format!("plan-{}", self.name()))
    }

    /// Time first, so that names sort; then a part no two share.
    fn name(&self) -> String {
        let now = self.clock.now();
        let time: String = now.chars().filter(char::is_ascii_digit).take(14).collect();
        format!("{time}-{}", (self.unique)())
    }

    /// Runs a plan from its beginning, on record.
    ///
    /// # Errors
    /// Records cannot be written: the run stops, and can be gone on with.
    pub async fn run(&self, lock: &Lock, plan: &Plan, steering: &Steering) -> Result<Done, Error> {
        let id = RunId(self.name());
        let mut journal = lock.begin(&id, plan).await?;
        let done = self
            .execute(plan.clone(), id, &mut journal, None, steering)
            .await?;
        lock.settle().await?;
        Ok(done)
    }

    /// Goes on with a run that stopped.
    ///
    /// # Errors
    /// As for [`Session::run`].
    pub async fn go_on(&self, lock: &Lock, past: PastRun, steering: &Steering) -> Result<Done, Error> {
        let PastRun { run, plan, records } = past;
        let mut journal = lock.go_on(&run);
        let done = self
            .execute(plan, run, &mut journal, Some(records), steering)
            .await?;
        lock.settle().await?;
        Ok(done)
    }

    /// Runs a plan that changes nothing, off the record.
    ///
    /// # Errors
    /// The run cannot go on.
    pub async fn run_off_the_record(&self, plan: &Plan, steering: &Steering) -> Result<Done, Error> {
        let id = RunId(self.name());
        self.execute(plan.clone(), id, &mut Forgetful, None, steering)
            .await
    }

    async fn execute(
        &self,
        plan: Plan,
        id: RunId,
        journal: &mut dyn Journal,
        before: Option<Vec<Record>>,
        steering: &Steering,
    ) -> Result<Done, Error> {
        let Steering {
            watcher,
            stop,
            at_once,
        } = steering.clone();
        let kept = Arc::new(Kept {
            watcher: watcher(&plan),
            clock: self.clock.clone(),
            records: Mutex::default(),
        });
        let broken = |source| Error::OutOfOrder {
            run: id.clone(),
            source,
        };
        let began = self.clock.millis();
        let execution = Execution {
            plan: &plan,
            run: id.clone(),
            providers: &self.providers,
            journal,
            clock: self.clock.clone(),
            watcher: kept.clone(),
            stop,
            at_once,
        };
        let ended = match &before {
            None => execution.start().await?,
            Some(records) => {
                let run = resume(&plan, records).map_err(broken)?;
                execution.go_on(run).await?
            }
        };
        let mut records = before.unwrap_or_default();
        records.append(&mut kept.records.lock().expect("nobody panics while keeping records"));
        Ok(Done {
            run: resume(&plan, &records).map_err(broken)?,
            id: id.clone(),
            plan,
            ended,
            records,
            took_ms: self.clock.millis().saturating_sub(began),
        })
    }

    /// Makes the inventory anew from the world alone, and keeps what no world can tell: what runs recorded of
    /// things that stand without a mark, and how long steps took. Returns what was in the inventory before,
    /// and what is now.
    ///
    /// # Errors
    /// The world cannot be looked at; the inventory cannot be written.
    pub async fn rebuild(&self, lock: &Lock) -> Result<(Inventory, Inventory), Error> {
        let before = self.store.inventory().await?;
        let seen = self.look(Look::AtWhatStands).await?;
        let after = lock.replace_owned(seen.owned).await?;
        Ok((before, after))
    }
}

/// Passes events on, and keeps what was recorded for the report at the end.
struct Kept {
    watcher: Arc<dyn Watcher>,
    clock: Arc<dyn Clock>,
    records: Mutex<Vec<Record>>,
}

impl Watcher for Kept {
    fn event(&self, event: &Event) {
        if let Event::Recorded(entry) = event {
            let mut records = self.records.lock().expect("nobody panics while keeping records");
            records.push(Record {
                at: self.clock.now(),
                entry: Entry::clone(entry),
            });
        }
        self.watcher.event(event);
    }
}

/// A journal for runs that change nothing.
struct Forgetful;

#[async_trait::async_trait]
impl Journal for Forgetful {
    async fn append(&mut self, _: &Record) -> Result<(), landfall_runner::JournalError> {
        Ok(())
    }
}
