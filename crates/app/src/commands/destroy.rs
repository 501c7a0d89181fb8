//! `landfall destroy`: a rehearsal, a question, then everything in reverse.

use landfall_model::plan::{Action, Purpose};
use landfall_runner::Look;

use super::apply::{Run, catch_up, report};
use super::{Session, confirmed, plan_id, print_json, unfinished};
use crate::show::{self, Paint};
use crate::trouble::Usage;

/// Removes everything the platform owns.
pub(crate) async fn destroy(arguments: &crate::cli::Destroy, paint: Paint) -> anyhow::Result<u8> {
    let session = Session::open(&arguments.common).await?;
    let json = arguments.common.json;
    let lock = session.world.store.lock()?;
    let run = Run {
        world: &session.world,
        json,
        parallel: arguments.parallel.into(),
        paint,
    };
    catch_up(&session.world.store)?;
    if let Some(past) = unfinished(&session.world, Purpose::Destroy)?.filter(|_| !arguments.rehearse) {
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
        let done = run.again(past, &lock).await?;
        let code = report(&done, "destroy", json, paint);
        return ended(&session, code, json).await;
    }
    let seen = session.look(Look::AtWhatStands).await?;
    let clock = session.world.clock.as_ref();
    let plan = landfall_engine::plan_destroy(
        session.loaded.wanted.clone(),
        &seen,
        arguments.include_retained,
        plan_id(clock),
        clock.now(),
    );
    if arguments.rehearse && json {
        print_json(&plan)?;
        return Ok(0);
    }
    if !json {
        println!("{}", show::destroy_rehearsal(&plan, paint));
    }
    if arguments.rehearse {
        return Ok(0);
    }
    if plan.count(Action::Delete) == 0 {
        if !json {
            println!("Nothing to remove.");
        }
        return Ok(0);
    }
    let name = &session.loaded.wanted.facts.name;
    if !arguments.yes
        && !confirmed(
            &format!("Type the platform's name ({name}) to remove all this:"),
            name,
        )?
    {
        println!("Nothing was removed.");
        return Ok(1);
    }
    let done = run.recorded(&plan, &lock).await?;
    let code = report(&done, "destroy", json, paint);
    ended(&session, code, json).await
}

/// After a destroy that went well: looks once more, and fails when something is still there.
async fn ended(session: &Session, code: u8, json: bool) -> anyhow::Result<u8> {
    if code != 0 {
        return Ok(code);
    }
    forget_adopted(&session.world.store)?;
    let left = Left::find(session).await?;
    if !json {
        println!("{}", left.text());
    }
    Ok(u8::from(!left.is_clean()))
}

/// What someone else made is no longer used by this platform; it is not ours to remember.
pub(crate) fn forget_adopted(store: &landfall_store::Store) -> anyhow::Result<()> {
    let mut inventory = store.inventory()?;
    inventory.owned.retain(|owned| !owned.adopted);
    Ok(store.save_inventory(&inventory)?)
}

/// What a fresh search finds after everything was removed.
pub(crate) struct Left {
    platform: String,
    owned: Vec<landfall_model::provider::Owned>,
}

impl Left {
    /// Looks once more.
    pub(crate) async fn find(session: &Session) -> anyhow::Result<Left> {
        let platform = session.loaded.wanted.facts.name.clone();
        Ok(Left {
            platform,
            owned: session.look(Look::AtWhatStands).await?.owned,
        })
    }

    /// Whether only what is retained on purpose is left.
    pub(crate) fn is_clean(&self) -> bool {
        self.owned.iter().all(|owned| owned.retain)
    }

    /// What was found, a line each.
    pub(crate) fn text(&self) -> String {
        if self.owned.is_empty() {
            return format!("A fresh search found nothing that belongs to {}.", self.platform);
        }
        let why = |retain| {
            if retain {
                "retained on purpose; `--include-retained` removes it"
            } else {
                "STILL THERE"
            }
        };
        let list: Vec<String> = self
            .owned
            .iter()
            .map(|owned| format!("  {}  {}", owned.step, why(owned.retain)))
            .collect();
        format!("A fresh search found:\n{}", list.join("\n"))
    }
}
