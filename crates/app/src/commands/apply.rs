//! `landfall apply`, and running plans in general.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use landfall_engine::planner;
use landfall_model::journal::{Entry, Record};
use landfall_model::plan::{Plan, Purpose};
use landfall_runner::{Ended, Execution, Journal, JournalError, Look, Watcher};
use landfall_store::{Lock, PastRun, Store};
use tokio::sync::watch;

use super::{Session, confirmed, run_id, unfinished};
use crate::show::{self, Paint, Screen};
use crate::trouble::Usage;
use crate::world::World;

/// Brings the platform to what its file says.
pub(crate) async fn apply(arguments: &crate::cli::Apply, paint: Paint) -> anyhow::Result<u8> {
    let session = Session::open(&arguments.common).await?;
    let lock = session.world.store.lock()?;
    let json = arguments.common.json;
    let run = Run {
        world: &session.world,
        json,
        parallel: arguments.parallel.into(),
        paint,
    };
    catch_up(&session.world.store)?;
    if let Some(past) = unfinished(&session.world, Purpose::Apply)? {
        if arguments.plan.is_some() {
            return Err(Usage::error(
                format!("the run {} has not come to its end", past.run),
                "run `landfall apply` without a plan first: it goes on with that run",
            ));
        }
        if !json {
            println!(
                "Going on with the run {}, which carries out the plan made {}.",
                past.run, past.plan.made_at
            );
            if past.plan.wanted != session.loaded.wanted {
                println!(
                    "The platform file has changed since; run `landfall apply` again afterwards for that."
                );
            }
            println!();
        }
        let done = run.again(past, &lock).await?;
        return Ok(report(&done, "apply", json, paint));
    }
    let plan = match &arguments.plan {
        Some(file) => saved(&session, file).await?,
        None => {
            let plan = session.plan().await?;
            if !json {
                println!("{}", show::plan(&plan, paint));
            }
            let ask = plan.has_changes() && !arguments.yes;
            if ask && !confirmed("Apply this? Only `yes` is taken for a yes:", "yes")? {
                println!("Nothing was done.");
                return Ok(1);
            }
            plan
        }
    };
    let done = run.recorded(&plan, &lock).await?;
    Ok(report(&done, "apply", json, paint))
}

/// Reads a saved plan and makes sure that the world still is as it was when the plan was made.
async fn saved(session: &Session, file: &std::path::Path) -> anyhow::Result<Plan> {
    let plan = landfall_store::read_plan(file)?;
    let (planned, facts) = (&plan.wanted.facts, &session.loaded.wanted.facts);
    if (&planned.name, &planned.account, &planned.region) != (&facts.name, &facts.account, &facts.region) {
        return Err(Usage::error(
            format!(
                "the plan {} is for {} in account {} ({}), not for this platform",
                file.display(),
                planned.name,
                planned.account,
                planned.region
            ),
            "make a plan with `landfall plan --out FILE`",
        ));
    }
    let remembered = session.remembered()?;
    let seen = landfall_runner::look(
        &plan.wanted,
        &session.world.providers,
        remembered,
        Look::AtWhatStands,
    )
    .await?;
    let moved = planner::moved(&plan, &seen);
    if moved.is_empty() {
        return Ok(plan);
    }
    Err(Usage::error(
        format!(
            "the world has moved since the plan was made:\n  {}",
            moved.join("\n  ")
        ),
        "nothing was changed; make a new plan with `landfall plan --out FILE`",
    ))
}

/// What a process that died had recorded is the inventory's before anything else.
pub(crate) fn catch_up(store: &Store) -> anyhow::Result<()> {
    if let Some(last) = store.last_run()? {
        store.take_into_inventory(&last.records)?;
    }
    Ok(())
}

/// Prints what a run came to; returns the exit code.
pub(crate) fn report(done: &Done, command: &str, json: bool, paint: Paint) -> u8 {
    if json {
        return done.code();
    }
    println!();
    let failures = show::failures(&done.records, paint);
    if !failures.is_empty() {
        println!("{failures}");
    }
    if done.ended == Ended::Interrupted {
        println!(
            "{} `landfall {command}` goes on where this run stopped.",
            paint.yellow("Stopped.")
        );
        return done.code();
    }
    print!(
        "{}",
        show::summary(&done.plan, &done.records, done.took_ms, paint)
    );
    if done.ended == Ended::Succeeded && done.plan.purpose == Purpose::Apply {
        print!("{}", show::outputs(&done.plan, &done.run, paint));
    }
    done.code()
}

/// How to run plans.
pub(crate) struct Run<'a> {
    pub(crate) world: &'a World,
    pub(crate) json: bool,
    pub(crate) parallel: usize,
    pub(crate) paint: Paint,
}

/// A run that has ended, one way or another.
pub(crate) struct Done {
    pub(crate) plan: Plan,
    pub(crate) ended: Ended,
    pub(crate) run: landfall_engine::Run,
    pub(crate) records: Vec<Record>,
    pub(crate) took_ms: u64,
}

impl Done {
    /// 0 when everything went well, 1 otherwise.
    pub(crate) fn code(&self) -> u8 {
        u8::from(self.ended != Ended::Succeeded)
    }
}

impl Run<'_> {
    /// Runs a plan from its beginning, on record.
    pub(crate) async fn recorded(&self, plan: &Plan, _lock: &Lock) -> anyhow::Result<Done> {
        let store = &self.world.store;
        let run = run_id(self.world.clock.as_ref());
        let mut journal = store.begin(&run, plan)?;
        let done = self.execute(plan, run, &mut journal, None).await?;
        store.take_into_inventory(&done.records)?;
        Ok(done)
    }

    /// Goes on with a run that stopped.
    pub(crate) async fn again(&self, past: PastRun, _lock: &Lock) -> anyhow::Result<Done> {
        let store = &self.world.store;
        let mut journal = store.go_on(&past.run)?;
        let done = self
            .execute(&past.plan, past.run.clone(), &mut journal, Some(&past.records))
            .await?;
        store.take_into_inventory(&done.records)?;
        Ok(done)
    }

    /// Runs a plan that changes nothing, off the record.
    pub(crate) async fn without_record(&self, plan: &Plan) -> anyhow::Result<Done> {
        self.execute(plan, run_id(self.world.clock.as_ref()), &mut Forgetful, None)
            .await
    }

    async fn execute(
        &self,
        plan: &Plan,
        run: landfall_model::RunId,
        journal: &mut dyn Journal,
        before: Option<&[Record]>,
    ) -> anyhow::Result<Done> {
        let kept = Arc::new(Kept {
            screen: Screen::new(plan, self.json, self.paint),
            entries: Mutex::default(),
        });
        let (stop, stopped) = watch::channel(false);
        let listening = tokio::spawn(listen(stop));
        let clock = self.world.clock.clone();
        let began = clock.millis();
        let execution = Execution {
            plan,
            run,
            providers: &self.world.providers,
            journal,
            clock: clock.clone(),
            watcher: kept.clone(),
            stop: stopped,
            at_once: self.parallel,
        };
        let earlier = before.unwrap_or_default();
        let ended = match before {
            None => execution.start().await,
            Some(records) => execution.go_on(landfall_runner::resume(plan, records)?).await,
        };
        listening.abort();
        let ended = ended?;
        let entries = std::mem::take(&mut *kept.entries.lock().expect("nobody panics while keeping records"));
        let mut records = earlier.to_vec();
        records.extend(entries.into_iter().map(|entry| Record {
            at: clock.now(),
            entry,
        }));
        Ok(Done {
            plan: plan.clone(),
            ended,
            run: landfall_runner::resume(plan, &records)?,
            records,
            took_ms: clock.millis().saturating_sub(began),
        })
    }
}

/// Shows events and keeps what was recorded, for the report at the end.
struct Kept {
    screen: Screen,
    entries: Mutex<Vec<Entry>>,
}

impl Watcher for Kept {
    fn event(&self, event: &landfall_runner::Event) {
        if let landfall_runner::Event::Recorded(entry) = event {
            self.entries
                .lock()
                .expect("nobody panics while keeping records")
                .push((**entry).clone());
        }
        self.screen.event(event);
    }
}

/// The first ctrl-C (or SIGTERM) asks the run to stop; the second leaves at once.
async fn listen(stop: watch::Sender<bool>) {
    interrupted().await;
    let _ = stop.send(true);
    interrupted().await;
    std::process::exit(130);
}

async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// A journal for runs that change nothing.
struct Forgetful;

#[async_trait]
impl Journal for Forgetful {
    async fn append(&mut self, _record: &Record) -> Result<(), JournalError> {
        Ok(())
    }
}
