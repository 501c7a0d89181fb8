//! One function for each command, and what they share.

mod apply;
mod destroy;
mod offline;
mod up;

use std::io::{IsTerminal as _, Write as _};

use landfall_engine::Seen;
use landfall_model::id::{PlanId, RunId};
use landfall_model::plan::{Action, Plan, Purpose};
use landfall_runner::{Clock, Look, Remembered};

use crate::cli::{Arguments, Command, Common};
use crate::files::{self, Loaded};
use crate::show::{self, Paint};
use crate::trouble::Usage;
use crate::world::{self, World};

/// Runs the command; the number is the exit code.
pub(crate) async fn run(arguments: Arguments, paint: Paint) -> anyhow::Result<u8> {
    match arguments.command {
        Command::Init(arguments) => offline::init(&arguments),
        Command::Schema(arguments) => offline::schema(&arguments),
        Command::Completions(arguments) => offline::completions(&arguments),
        Command::Render(arguments) => offline::render(&arguments),
        Command::Graph(arguments) => graph(&arguments).await,
        Command::Plan(arguments) => plan(&arguments, paint).await,
        Command::Apply(arguments) => apply::apply(&arguments, paint).await,
        Command::Verify(arguments) => verify(&arguments.common, paint).await,
        Command::Status(arguments) => status(&arguments.common, paint).await,
        Command::Destroy(arguments) => destroy::destroy(&arguments, paint).await,
        Command::Up(arguments) => up::up(&arguments, paint).await,
    }
}

/// A platform opened in its world.
pub(crate) struct Session {
    pub(crate) loaded: Loaded,
    pub(crate) world: World,
}

impl Session {
    pub(crate) async fn open(common: &Common) -> anyhow::Result<Session> {
        let loaded = files::load(&common.platform)?;
        let world = world::aws(&loaded.wanted.facts, &loaded.folder).await?;
        Ok(Session { loaded, world })
    }

    /// Looks at the world.
    pub(crate) async fn look(&self, closely: Look) -> anyhow::Result<Seen> {
        let remembered = self.remembered()?;
        Ok(landfall_runner::look(&self.loaded.wanted, &self.world.providers, remembered, closely).await?)
    }

    /// What was recorded before.
    pub(crate) fn remembered(&self) -> anyhow::Result<Remembered> {
        let landfall_store::Inventory { owned, checked } = self.world.store.inventory()?;
        Ok(Remembered {
            owned,
            checked: checked.into_iter().collect(),
        })
    }

    /// Looks at the world and plans.
    pub(crate) async fn plan(&self) -> anyhow::Result<Plan> {
        let seen = self.look(Look::AtChanges).await?;
        let clock = self.world.clock.as_ref();
        Ok(landfall_engine::plan_apply(
            self.loaded.wanted.clone(),
            &seen,
            plan_id(clock),
            clock.now(),
        )?)
    }
}

pub(crate) fn plan_id(clock: &dyn Clock) -> PlanId {
    PlanId(format!("plan-{}", unique(clock)))
}

pub(crate) fn run_id(clock: &dyn Clock) -> RunId {
    RunId(unique(clock))
}

/// Time first, so that names sort; then a part no two share.
fn unique(clock: &dyn Clock) -> String {
    let time: String = clock
        .now()
        .chars()
        .filter(char::is_ascii_digit)
        .take(14)
        .collect();
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("{time}-{}", &random[..6])
}

/// Prints JSON in its stable form.
pub(crate) fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
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
    let session = Session::open(&arguments.common).await?;
    let plan = session.plan().await?;
    if let Some(file) = &arguments.out {
        landfall_store::save_plan(file, &plan)?;
    }
    if arguments.common.json {
        print_json(&plan)?;
    } else {
        print!("{}", show::plan(&plan, paint));
        if let Some(past) = session.world.store.unfinished()? {
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
    Ok(if arguments.detailed_exitcode && plan.has_changes() {
        3
    } else {
        0
    })
}

async fn status(common: &Common, paint: Paint) -> anyhow::Result<u8> {
    let session = Session::open(common).await?;
    // What would change is good to know, but not needed to tell what stands.
    let seen = match session.look(Look::AtChanges).await {
        Ok(seen) => seen,
        Err(_) => session.look(Look::AtWhatStands).await?,
    };
    let last = session.world.store.last_run()?;
    if common.json {
        print_json(&show::status_json(&session.loaded.wanted, &seen, last.as_ref()))?;
    } else {
        print!(
            "{}",
            show::status(&session.loaded.wanted, &seen, last.as_ref(), paint)
        );
    }
    Ok(0)
}

/// A plan that only looks: every check, with what stands taken as it is.
async fn verify(common: &Common, paint: Paint) -> anyhow::Result<u8> {
    let session = Session::open(common).await?;
    let seen = session.look(Look::AtWhatStands).await?;
    let clock = session.world.clock.clone();
    let mut plan = landfall_engine::plan_apply(
        session.loaded.wanted.clone(),
        &seen,
        plan_id(clock.as_ref()),
        clock.now(),
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
        println!("This platform has no checks.");
        return Ok(0);
    }
    let run = apply::Run {
        world: &session.world,
        json: common.json,
        parallel: 10,
        paint,
    };
    let done = run.without_record(&plan).await?;
    if !common.json {
        print!(
            "\n{}{}",
            show::failures(&done.records, paint),
            show::summary(&plan, &done.records, done.took_ms, paint)
        );
    }
    Ok(done.code())
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

/// A run that stopped before its end, when it was for the same purpose.
pub(crate) fn unfinished(world: &World, purpose: Purpose) -> anyhow::Result<Option<landfall_store::PastRun>> {
    Ok(world
        .store
        .unfinished()?
        .filter(|run| run.plan.purpose == purpose))
}
