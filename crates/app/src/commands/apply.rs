//! `landfall apply`: goes on where a run stopped, or plans, asks and runs.

use std::sync::Arc;

use landfall_engine::planner;
use landfall_model::plan::{Action, Plan, Purpose};
use landfall_model::provider::Owned;
use landfall_runner::{Ended, Look};
use landfall_session::{Done, Session, Steering};
use landfall_store::Lock;
use tokio::sync::watch;

use super::{asks_nobody, confirmed, forecast, move_in, opened, released, take, unfinished};
use crate::show::{self, Paint, Screen};
use crate::trouble::Usage;

/// Brings the platform to what its file says.
pub(crate) async fn apply(arguments: &crate::cli::Apply, paint: Paint) -> anyhow::Result<u8> {
    asks_nobody(arguments.common.json, arguments.yes)?;
    let (mut session, records) = opened(&arguments.common).await?;
    let json = arguments.common.json;
    let lock = take(&session).await?;
    let lock = move_in(&records, &mut session, lock, json).await?;
    let in_bucket = records
        .bucket_name()
        .filter(|_| records.is_in_bucket(&session.store));
    let code = match held(arguments, &session, &lock, in_bucket, paint).await {
        Ok(code) => code,
        failed @ Err(_) => return released(lock, failed).await,
    };
    // This very run may have made the bucket.
    let lock = move_in(&records, &mut session, lock, json).await?;
    lock.release().await?;
    Ok(code)
}

async fn held(
    arguments: &crate::cli::Apply,
    session: &Session,
    lock: &Lock,
    records_in: Option<&str>,
    paint: Paint,
) -> anyhow::Result<u8> {
    let json = arguments.common.json;
    if let Some(past) = unfinished(session, Purpose::Apply).await? {
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
            if past.plan.wanted != session.wanted {
                println!(
                    "The platform file has changed since; run `landfall apply` again afterwards for that."
                );
            }
            println!();
        }
        let steering = steering(json, arguments.parallel, paint);
        let done = session.go_on(lock, past, &steering).await?;
        return Ok(report(&done, "apply", json, paint));
    }
    let plan = match &arguments.plan {
        Some(file) => {
            let mut plan = saved(session, file).await?;
            // What was found when it was made may be mended by now, and something else be wrong.
            plan.findings = session.preflight(&plan).await;
            if !json {
                print!("{}", show::findings(&plan.findings, paint));
            }
            if !arguments.despite_findings && refused(&plan, json)? {
                return Ok(1);
            }
            plan
        }
        None => {
            let plan = session.plan().await?;
            if !json {
                let forecast = forecast(session, &plan, arguments.parallel);
                println!("{}", show::plan(&plan, &forecast, paint));
            }
            if !arguments.despite_findings && refused(&plan, json)? {
                return Ok(1);
            }
            let ask = plan.has_changes() && !arguments.yes;
            if ask && !confirmed("Apply this? Only `yes` is taken for a yes:", "yes")? {
                println!("Nothing was done.");
                return Ok(1);
            }
            plan
        }
    };
    if let Some(bucket) = records_in {
        keeps_the_records(&plan, bucket)?;
    }
    let steering = steering(json, arguments.parallel, paint);
    let done = session.run(lock, &plan, &steering).await?;
    Ok(report(&done, "apply", json, paint))
}

/// Whether something was found that would fail, and says that nothing was done for it.
fn refused(plan: &Plan, json: bool) -> anyhow::Result<bool> {
    let refused = plan.is_refused();
    if refused && json {
        super::print_json(&serde_json::json!({ "refused": true, "findings": plan.findings }))?;
    } else if refused {
        eprintln!(
            "Nothing was done: see what was found before the first change. Who knows better goes on with \
             --despite-findings."
        );
    }
    Ok(refused)
}

/// Refuses to empty a bucket while records are in one: it may be the same, and nobody asked for that.
fn keeps_the_records(plan: &Plan, bucket: &str) -> anyhow::Result<()> {
    let empties = |owned: &Owned| {
        owned.address["empty"]
            .as_array()
            .is_some_and(|empty| !empty.is_empty())
    };
    let mut removed = plan.steps.iter().filter(|step| step.action == Action::Delete);
    match removed.find(|step| step.owned.as_ref().is_some_and(empties)) {
        None => Ok(()),
        Some(step) => Err(Usage::error(
            format!(
                "this would empty and remove the buckets of `{}`, and the records of this platform are in the bucket {bucket}",
                step.id
            ),
            "put the component back into the file; `landfall destroy` moves the records out before their bucket goes",
        )),
    }
}

/// Reads a saved plan and makes sure that the world still is as it was when the plan was made.
async fn saved(session: &Session, file: &std::path::Path) -> anyhow::Result<Plan> {
    let plan = landfall_store::read_plan(file)?;
    let (planned, facts) = (&plan.wanted.facts, &session.wanted.facts);
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
    let planned_for = Session {
        wanted: plan.wanted.clone(),
        ..session.clone()
    };
    let seen = planned_for.look(Look::AtWhatStands).await?;
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

/// Prints what a run came to; returns the exit code.
pub(crate) fn report(done: &Done, command: &str, json: bool, paint: Paint) -> u8 {
    if json {
        return code(done);
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
        return code(done);
    }
    print!(
        "{}",
        show::summary(&done.plan, &done.records, done.took_ms, paint)
    );
    if done.ended == Ended::Succeeded && done.plan.purpose == Purpose::Apply {
        print!("{}", show::outputs(&done.plan, &done.run, paint));
    }
    code(done)
}

/// 0 when everything went well, 1 otherwise.
pub(crate) fn code(done: &Done) -> u8 {
    u8::from(done.ended != Ended::Succeeded)
}

/// Shows a run and lets ctrl-C stop it. Listening ends with the last copy of what this returns.
pub(crate) fn steering(json: bool, parallel: u16, paint: Paint) -> Steering {
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(listen(stop));
    Steering {
        watcher: Arc::new(move |plan: &Plan| Arc::new(Screen::new(plan, json, paint))),
        stop: stopped,
        at_once: parallel.into(),
    }
}

/// The first ctrl-C (or SIGTERM) asks the run to stop; the second leaves at once.
async fn listen(stop: watch::Sender<bool>) {
    tokio::select! {
        () = interrupted() => {}
        () = stop.closed() => return,
    }
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
