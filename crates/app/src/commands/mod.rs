//! One function for each command, and what they share.

mod apply;
mod destroy;
mod offline;
mod open;
mod policy;
mod token;
mod up;

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;

use anyhow::Context as _;
use landfall_engine::Seen;
use landfall_engine::schedule::{self, Forecast};
use landfall_model::id::PlanId;
use landfall_model::plan::{Action, Plan, Purpose};
use landfall_runner::{Look, SystemClock};
use landfall_session::Session;
use landfall_store::{Holder, Lock, PastRun, Taker, Waiting};

use crate::cli::{Arguments, Command, Common};
use crate::files::Loaded;
use crate::show::{self, Paint};
use crate::trouble::Usage;
use crate::world::Records;
use crate::{files, world};

/// Runs the command; the number is the exit code.
pub(crate) async fn run(arguments: Arguments, paint: Paint) -> anyhow::Result<u8> {
    match arguments.command {
        Command::Init(arguments) => offline::init(&arguments),
        Command::Schema(arguments) => offline::schema(&arguments),
        Command::Completions(arguments) => offline::completions(&arguments),
        Command::Render(arguments) => offline::render(&arguments),
        Command::Graph(arguments) => graph(&arguments).await,
        Command::Policy(arguments) => policy::policy(&arguments),
        Command::Plan(arguments) => plan(&arguments, paint).await,
        Command::Apply(arguments) => apply::apply(&arguments, paint).await,
        Command::Verify(arguments) => verify(&arguments.common, paint).await,
        Command::Status(arguments) => status(&arguments, paint).await,
        Command::Destroy(arguments) => destroy::destroy(&arguments, paint).await,
        Command::Open(arguments) => open::open(&arguments, paint).await,
        Command::Kubeconfig(arguments) => open::kubeconfig(&arguments).await,
        Command::Token(arguments) => token::token(&arguments).await,
        Command::Up(arguments) => up::up(&arguments, paint).await,
    }
}

/// A platform opened in its account.
pub(crate) async fn open(common: &Common) -> anyhow::Result<Session> {
    Ok(opened(common).await?.0)
}

/// The same for those who write: with the places where records can be.
pub(crate) async fn opened(common: &Common) -> anyhow::Result<(Session, Records)> {
    let world = world::aws(&files::load(&common.platform)?, common.kubeconfig.as_deref()).await?;
    Ok((world.session, world.records))
}

/// This process, as one that wants to hold a platform.
pub(crate) fn taker() -> Taker {
    Taker {
        holder: Holder::this_process(),
        nonce: uuid::Uuid::new_v4().simple().to_string(),
        // Other processes live in real time, whatever the world does.
        clock: Arc::new(SystemClock),
    }
}

/// Says that somebody who holds the platform is waited for.
pub(crate) fn tell(waiting: &Waiting) {
    eprintln!("{waiting}");
}

/// Takes the platform, saying so when it has to be waited for, and takes in what a process that died had
/// recorded. To be released when done.
pub(crate) async fn take(session: &Session) -> anyhow::Result<Lock> {
    let lock = session.store.lock(&taker(), &tell).await?;
    match lock.settle().await {
        Ok(_) => Ok(lock),
        Err(error) => released(lock, Err(error.into())).await,
    }
}

/// Moves the records into their bucket, when it has come to exist, and says so. Returns what is held from
/// then on; when it cannot be done, nothing is.
pub(crate) async fn move_in(
    records: &Records,
    session: &mut Session,
    lock: Lock,
    json: bool,
) -> anyhow::Result<Lock> {
    let (lock, moved) = records.move_in(lock, &mut session.store, &taker(), &tell).await?;
    if moved && !json {
        println!("The records are kept in {} from now on.", session.store.name());
    }
    Ok(lock)
}

/// How long a plan should take with so many steps at once.
pub(crate) fn forecast(session: &Session, plan: &Plan, parallel: u16) -> Forecast {
    schedule::forecast(plan, &session.providers.limits(parallel.into()))
}

/// Prints JSON in its stable form.
pub(crate) fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// With `--json` there is nobody to ask: what is agreed to could not be shown.
pub(crate) fn asks_nobody(json: bool, yes: bool) -> anyhow::Result<()> {
    if json && !yes {
        return Err(Usage::error(
            "`--json` is for programs, and programs are not asked",
            "give `--yes` too; `plan --json` and `destroy --rehearse --json` show what would be done",
        ));
    }
    Ok(())
}

/// Asks for a word; anything else is a no.
pub(crate) fn confirmed(question: &str, word: &str) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(Usage::error(
            "there is nobody to ask: standard input is not a terminal",
            "give `--yes` to go ahead without asking",
        ));
    }
    print!("{question} ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim() == word)
}

async fn plan(arguments: &crate::cli::Plan, paint: Paint) -> anyhow::Result<u8> {
    if arguments.empty {
        return plan_for_nothing(&arguments.common, paint).await;
    }
    let session = open(&arguments.common).await?;
    let plan = session.plan().await?;
    if let Some(file) = &arguments.out {
        landfall_store::save_plan(file, &plan)?;
    }
    if arguments.common.json {
        print_json(&plan)?;
    } else {
        let forecast = forecast(&session, &plan, crate::cli::AT_ONCE);
        print!("{}", show::plan(&plan, &forecast, paint));
        if let Some(past) = session.store.unfinished().await? {
            let word = past.plan.purpose.word();
            println!(
                "The run {} has not come to its end; `landfall {word}` goes on with it first.",
                past.run
            );
        }
        if let Some(file) = &arguments.out {
            println!(
                "Saved. `landfall apply {}` carries out just this.",
                file.display()
            );
        }
    }
    Ok(if plan.is_refused() {
        1
    } else if arguments.detailed_exitcode && plan.has_changes() {
        3
    } else {
        0
    })
}

/// Plans as for an empty account: a simulated one, in which nothing stands.
async fn plan_for_nothing(common: &Common, paint: Paint) -> anyhow::Result<u8> {
    let elsewhere = tempfile::tempdir().context("could not make a folder for the files")?;
    let loaded = Loaded {
        folder: elsewhere.path().to_owned(),
        ..files::load(&common.platform)?
    };
    let session = world::empty(&loaded);
    let plan = session.plan().await?;
    if common.json {
        print_json(&plan)?;
    } else {
        println!("As for an empty account: nobody was asked what stands.\n");
        let forecast = forecast(&session, &plan, crate::cli::AT_ONCE);
        print!("{}", show::plan(&plan, &forecast, paint));
    }
    Ok(u8::from(plan.is_refused()))
}

async fn status(arguments: &crate::cli::Status, paint: Paint) -> anyhow::Result<u8> {
    let json = arguments.common.json;
    let session = open(&arguments.common).await?;
    if arguments.rebuild {
        let lock = take(&session).await?;
        let rebuilt = session.rebuild(&lock).await.map_err(Into::into);
        let (before, after) = released(lock, rebuilt).await?;
        if !json {
            print!("{}", show::rebuilt(&before, &after, paint));
        }
    }
    // What would change is good to know, but not needed to tell what stands.
    let seen = match session.look(Look::AtChanges).await {
        Ok(seen) => seen,
        Err(_) => session.look(Look::AtWhatStands).await?,
    };
    let last = session.store.last_run().await?;
    let live = last.as_ref().filter(|past| !past.is_finished()).and_then(|past| {
        let limits = session.providers.limits(crate::cli::AT_ONCE.into());
        show::live(past, &session.clock.now(), &limits)
    });
    if json {
        print_json(&show::status_json(
            &session.wanted,
            &seen,
            last.as_ref(),
            live.as_ref(),
        ))?;
    } else {
        print!(
            "{}",
            show::status(&session.wanted, &seen, last.as_ref(), live.as_ref(), paint)
        );
    }
    Ok(0)
}

/// A plan that only looks: every check, with what stands taken as it is.
async fn verify(common: &Common, paint: Paint) -> anyhow::Result<u8> {
    let session = open(common).await?;
    let seen = session.look(Look::AtWhatStands).await?;
    let mut plan = landfall_engine::plan_apply(
        session.wanted.clone(),
        &seen,
        session.plan_id(),
        session.clock.now(),
    )?;
    for step in &mut plan.steps {
        if step.action != Action::Check {
            step.action = Action::None;
            step.outputs = seen
                .steps
                .get(&step.id)
                .map(|seen| seen.observed.outputs.clone())
                .unwrap_or_default();
        }
    }
    if plan.count(Action::Check) == 0 {
        if !common.json {
            println!("This platform has no checks.");
        }
        return Ok(0);
    }
    let steering = apply::steering(common.json, crate::cli::AT_ONCE, paint);
    let done = session.run_off_the_record(&plan, &steering).await?;
    if !common.json {
        print!(
            "\n{}{}",
            show::failures(&done.records, paint),
            show::summary(&plan, &done.records, done.took_ms, paint)
        );
    }
    Ok(apply::code(&done))
}

async fn graph(arguments: &crate::cli::Graph) -> anyhow::Result<u8> {
    let loaded = files::load(&arguments.common.platform)?;
    // The graph is the file's own: drawn without asking any account, as if nothing stood yet.
    let plan = landfall_engine::plan_apply(
        loaded.wanted,
        &Seen::default(),
        PlanId("graph".to_owned()),
        String::new(),
    )?;
    if arguments.common.json {
        let steps: Vec<serde_json::Value> = plan
            .steps
            .iter()
            .map(|step| serde_json::json!({ "id": step.id, "kind": step.kind, "after": step.after }))
            .collect();
        print_json(&steps)?;
        return Ok(0);
    }
    let text = match arguments.format {
        crate::cli::GraphFormat::Svg => landfall_engine::draw::svg(&plan),
        crate::cli::GraphFormat::Dot => landfall_engine::draw::dot(&plan),
        crate::cli::GraphFormat::Mermaid => landfall_engine::draw::mermaid(&plan),
    };
    match &arguments.out {
        Some(file) => std::fs::write(file, text)?,
        None => print!("{text}"),
    }
    Ok(0)
}

/// Lets go of the platform, whatever came of the work.
pub(crate) async fn released<T>(lock: Lock, outcome: anyhow::Result<T>) -> anyhow::Result<T> {
    let released = lock.release().await;
    let value = outcome?;
    released?;
    Ok(value)
}

/// A run that stopped before its end, when it was for the same purpose.
pub(crate) async fn unfinished(session: &Session, purpose: Purpose) -> anyhow::Result<Option<PastRun>> {
    let unfinished = session.store.unfinished().await?;
    Ok(unfinished.filter(|run| run.plan.purpose == purpose))
}
