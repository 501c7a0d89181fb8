//! `landfall destroy`: a rehearsal, a question, then everything in reverse, until a fresh search finds nothing.

use landfall_engine::Seen;
use landfall_model::plan::{Action, Plan, Purpose};
use landfall_session::{Session, Teardown};
use landfall_store::Lock;

use super::apply::{report, steering};
use super::{confirmed, forecast, opened, print_json, released, take, taker, tell, unfinished};
use crate::show::{self, Paint};
use crate::trouble::Usage;

/// Removes everything the platform owns, and what controllers made on its behalf.
pub(crate) async fn destroy(arguments: &crate::cli::Destroy, paint: Paint) -> anyhow::Result<u8> {
    let (mut session, records) = opened(&arguments.common).await?;
    if arguments.rehearse {
        // Only looks: needs no lock and waits for nobody.
        let (plan, seen) = session.rehearse(arguments.include_retained).await?;
        rehearsal(&session, &plan, &seen, arguments, paint)?;
        return Ok(0);
    }
    if arguments.include_retained {
        // The bucket that the records are in may be among what goes.
        session.store = records.move_out_of_bucket(&taker(), &tell).await?;
    }
    let lock = take(&session).await?;
    let outcome = held(arguments, &session, &lock, paint).await;
    let code = released(lock, outcome).await?;
    if arguments.include_retained {
        records.move_back_into_bucket(&taker(), &tell).await?;
    }
    Ok(code)
}

async fn held(
    arguments: &crate::cli::Destroy,
    session: &Session,
    lock: &Lock,
    paint: Paint,
) -> anyhow::Result<u8> {
    let json = arguments.common.json;
    let steering = steering(json, arguments.parallel, paint);
    if let Some(past) = unfinished(session, Purpose::Destroy).await? {
        if !json {
            println!("Going on with the run {}.\n", past.run);
        }
        if arguments.include_retained {
            return Err(Usage::error(
                format!(
                    "the run {} was begun before and goes on as it was planned",
                    past.run
                ),
                "run `landfall destroy` without `--include-retained` first, then with it",
            ));
        }
        let teardown = session.go_on_destroying(lock, past, false, &steering).await?;
        return ended(session, &teardown, json, paint);
    }
    let (plan, seen) = session.rehearse(arguments.include_retained).await?;
    if !json {
        rehearsal(session, &plan, &seen, arguments, paint)?;
    }
    let leftovers = seen
        .found
        .iter()
        .any(landfall_model::leftover::Found::is_leftover);
    if plan.count(Action::Delete) == 0 && !leftovers {
        if !json {
            println!("Nothing to remove.");
        }
        return Ok(0);
    }
    let name = &session.wanted.facts.name;
    if !arguments.yes
        && !confirmed(
            &format!("Type the platform's name ({name}) to remove all this:"),
            name,
        )?
    {
        println!("Nothing was removed.");
        return Ok(1);
    }
    let teardown = session
        .destroy(lock, &plan, arguments.include_retained, &steering)
        .await?;
    ended(session, &teardown, json, paint)
}

fn rehearsal(
    session: &Session,
    plan: &Plan,
    seen: &Seen,
    arguments: &crate::cli::Destroy,
    paint: Paint,
) -> anyhow::Result<()> {
    let forecast = forecast(session, plan, arguments.parallel);
    if arguments.common.json {
        return print_json(&serde_json::json!({
            "plan": plan,
            "found": seen.found,
            "keepingCostsUsdMonthly": show::cost::monthly(plan, &seen.found),
            "takesMs": forecast.takes_ms,
            "criticalPath": forecast.critical,
        }));
    }
    println!("{}", show::destroy_rehearsal(plan, &seen.found, &forecast, paint));
    Ok(())
}

/// Tells how a teardown ended: every run's report, then the certificate. Returns the exit code.
pub(crate) fn ended(session: &Session, teardown: &Teardown, json: bool, paint: Paint) -> anyhow::Result<u8> {
    for (round, done) in teardown.runs.iter().enumerate() {
        if round > 0 && !json {
            println!("\nSomething was still there; round {}:", round + 1);
        }
        report(done, "destroy", json, paint);
    }
    if let Some(certificate) = &teardown.certificate {
        if json {
            println!(
                "{}",
                serde_json::to_string(
                    &serde_json::json!({ "entry": "certificate", "certificate": certificate })
                )?
            );
        } else {
            println!("\n{}", show::certificate(certificate, paint));
            println!(
                "The certificate is kept as {}/{}.",
                session.store.name(),
                landfall_store::CERTIFICATE
            );
        }
    }
    Ok(u8::from(!teardown.is_clean()))
}
