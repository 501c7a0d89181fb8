//! `landfall destroy`: a rehearsal, a question, then everything in reverse, until a fresh search finds nothing.

use landfall_engine::Seen;
use landfall_model::certificate::Certificate;
use landfall_model::plan::{Action, Plan, Purpose};
use landfall_session::{Session, Teardown};
use landfall_store::{Lock, PastRun};

use super::apply::{report, steering};
use super::{asks_nobody, confirmed, forecast, opened, print_json, released, take, taker, tell, unfinished};
use crate::show::{self, Paint};
use crate::trouble::{Declined, Usage};
use crate::world::Records;

/// Removes everything the platform owns, and what controllers made on its behalf.
pub(crate) async fn destroy(arguments: &crate::cli::Destroy, paint: Paint) -> anyhow::Result<u8> {
    let (mut session, records) = opened(&arguments.common).await?;
    if arguments.rehearse {
        // Only looks: needs no lock and waits for nobody.
        let (plan, seen) = session.rehearse(arguments.include_retained).await?;
        rehearsal(&session, &plan, &seen, arguments, paint)?;
        return Ok(0);
    }
    asks_nobody(arguments.common.json, arguments.yes)?;
    let mut lock = take(&session).await?;
    let agreed = match agreed(arguments, &session, paint).await {
        Ok(Some(agreed)) => agreed,
        Ok(None) => return released(lock, Ok(0)).await,
        Err(error) => return released(lock, Err(error)).await,
    };
    if removes_the_records(&session, &records, &agreed) {
        lock = lock.move_to(records.beside(), &taker(), &tell).await?;
        session.store = records.beside().clone();
    }
    let outcome = held(arguments, &session, &lock, agreed, paint).await;
    released(lock, outcome).await
}

/// What somebody agreed to.
struct Agreed {
    plan: Plan,
    seen: Seen,
    /// The run that is gone on with first.
    past: Option<PastRun>,
}

/// Rehearses and asks. None when there is nothing to remove, or somebody thought better of it.
async fn agreed(
    arguments: &crate::cli::Destroy,
    session: &Session,
    paint: Paint,
) -> anyhow::Result<Option<Agreed>> {
    let json = arguments.common.json;
    let past = unfinished(session, Purpose::Destroy).await?;
    if let (Some(past), true) = (&past, arguments.include_retained) {
        return Err(Usage::error(
            format!(
                "the run {} was begun before and goes on as it was planned",
                past.run
            ),
            "run `landfall destroy` without `--include-retained` first, then with it",
        ));
    }
    let (plan, seen) = session.rehearse(arguments.include_retained).await?;
    if !json {
        rehearsal(session, &plan, &seen, arguments, paint)?;
    }
    let leftovers = seen
        .found
        .iter()
        .any(landfall_model::leftover::Found::is_leftover);
    match &past {
        Some(past) if !json => println!(
            "The run {} has not come to its end, and is gone on with.\n",
            past.run
        ),
        None if plan.count(Action::Delete) == 0 && !leftovers => {
            if json {
                print_certificate(&session.certificate(&seen))?;
            } else {
                println!("Nothing to remove.");
            }
            return Ok(None);
        }
        _ => {}
    }
    let name = &session.wanted.facts.name;
    let question = format!("Type the platform's name ({name}) to remove all this:");
    if !arguments.yes && !confirmed(&question, name)? {
        return Err(Declined.into());
    }
    Ok(Some(Agreed { plan, seen, past }))
}

/// Whether the bucket that the records are in is among what goes.
fn removes_the_records(session: &Session, records: &Records, agreed: &Agreed) -> bool {
    let Some(bucket) = records
        .bucket_name()
        .filter(|_| records.is_in_bucket(&session.store))
    else {
        return false;
    };
    let arn = format!(":::{bucket}");
    let found = agreed.seen.found.iter().find(|one| one.id.ends_with(&arn));
    let stack = found.and_then(|one| one.stack.as_deref());
    let plans = std::iter::once(&agreed.plan).chain(agreed.past.iter().map(|past| &past.plan));
    let mut removed = plans
        .flat_map(|plan| &plan.steps)
        .filter(|step| step.action == Action::Delete);
    // A bucket that no search finds may be in any stack.
    stack.is_none()
        || removed.any(|step| {
            let owned = step.owned.as_ref();
            owned.is_some_and(|owned| owned.address["id"].as_str() == stack)
        })
}

async fn held(
    arguments: &crate::cli::Destroy,
    session: &Session,
    lock: &Lock,
    agreed: Agreed,
    paint: Paint,
) -> anyhow::Result<u8> {
    let json = arguments.common.json;
    let steering = steering(json, arguments.parallel, paint);
    let teardown = match agreed.past {
        Some(past) => session.go_on_destroying(lock, past, false, &steering).await?,
        None => {
            session
                .destroy(lock, &agreed.plan, arguments.include_retained, &steering)
                .await?
        }
    };
    ended(session, &teardown, json, paint)
}

fn print_certificate(certificate: &Certificate) -> anyhow::Result<()> {
    let line = serde_json::json!({ "entry": "certificate", "certificate": certificate });
    println!("{}", serde_json::to_string(&line)?);
    Ok(())
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
            print_certificate(certificate)?;
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
