//! `landfall up`: everything here, now, in a simulated cloud. No account, no cluster, no server.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use landfall_runner::{Clock, Look};
use landfall_sim::{ScaledClock, SimAccount, SimSecrets, SimStacks, WorldConfig};

use super::apply::Run;
use super::{Session, plan_id};
use crate::show::{self, Paint};
use crate::trouble::Usage;
use crate::{files, world};

const BLUEPRINT: &str = "account-bootstrap";

/// Bootstraps an account in a simulated cloud, looks at it, and takes it back.
pub(crate) async fn up(arguments: &crate::cli::Up, paint: Paint) -> anyhow::Result<u8> {
    if !(arguments.speed > 0.0 && arguments.speed <= 100_000.0) {
        return Err(Usage::error(
            "`--speed` must be more than 0 and at most 100000",
            "20 is a good speed to watch",
        ));
    }
    // Removed when dropped; a folder of the user's own is kept.
    let (folder, _removed) = match &arguments.folder {
        Some(folder) => (folder.clone(), None),
        None => {
            let folder = tempfile::tempdir().context("could not make a folder for the files")?;
            (folder.path().to_owned(), Some(folder))
        }
    };
    let session = simulated(&folder, arguments)?;
    println!("{}\n", paint.magenta(landfall_sim::BANNER));
    let file = std::fs::read_to_string(folder.join("platform.yaml"))?;
    part(paint, "The platform file", "platform.yaml");
    println!("{}", paint.dim(file.trim_end()));

    part(paint, "What would happen", "landfall plan");
    let plan = session.plan().await?;
    print!("{}", show::plan(&plan, paint));

    part(paint, "Make it so", "landfall apply");
    let lock = session.world.store.lock()?;
    let run = Run {
        world: &session.world,
        json: false,
        parallel: 10,
        paint,
    };
    let done = run.recorded(&plan, &lock).await?;
    let code = super::apply::report(&done, "apply", false, paint);
    if code != 0 {
        return Ok(code);
    }

    part(paint, "What was written for the repository", "ls repository");
    for path in written(&folder.join("repository"), &folder) {
        println!("  {path}");
    }

    part(paint, "What is running", "landfall status");
    let seen = session.look(Look::AtWhatStands).await?;
    let last = session.world.store.last_run()?;
    print!(
        "{}",
        show::status(&session.loaded.wanted, &seen, last.as_ref(), paint)
    );

    part(paint, "Is anything left to do?", "landfall plan");
    print!("{}", show::plan(&session.plan().await?, paint));

    part(paint, "Take it all back", "landfall destroy --include-retained");
    let clock = session.world.clock.clone();
    let plan = landfall_engine::plan_destroy(
        session.loaded.wanted.clone(),
        &session.look(Look::AtWhatStands).await?,
        true,
        plan_id(clock.as_ref()),
        clock.now(),
    );
    print!("{}", show::destroy_rehearsal(&plan, paint));
    println!();
    let done = run.recorded(&plan, &lock).await?;
    let code = super::apply::report(&done, "destroy", false, paint);
    super::destroy::forget_adopted(&session.world.store)?;
    println!("{}", super::destroy::Left::find(&session).await?.text());

    println!(
        "\n{} Next: `landfall init {BLUEPRINT}`, put your account in, and `landfall plan`.",
        paint.bold("That was simulated; nothing of it touched AWS.")
    );
    if arguments.folder.is_some() {
        println!("The files are in {}.", folder.display());
    }
    Ok(code)
}

fn simulated(folder: &Path, arguments: &crate::cli::Up) -> anyhow::Result<Session> {
    std::fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
    let path = folder.join("platform.yaml");
    if !path.exists() {
        let blueprint = landfall_catalogue::blueprint(BLUEPRINT);
        let text = blueprint
            .get("platform.yaml")
            .context("the blueprint has no platform file")?;
        std::fs::write(&path, text).with_context(|| format!("could not write {}", path.display()))?;
    }
    let loaded = files::load(&path)?;
    let facts = &loaded.wanted.facts;
    let clock: Arc<dyn Clock> = Arc::new(ScaledClock::new(arguments.speed));
    let config = WorldConfig {
        seed: arguments.seed,
        ..WorldConfig::new(&facts.account, &facts.region)
    };
    let cloud = landfall_sim::World::new(config, clock.clone());
    let world = world::world(
        facts,
        folder,
        clock,
        Arc::new(SimStacks::new(cloud.clone())),
        Arc::new(SimSecrets::new(cloud.clone())),
        Arc::new(SimAccount::new(cloud)),
    );
    Ok(Session { loaded, world })
}

fn part(paint: Paint, title: &str, command: &str) {
    println!(
        "\n{}  {}\n",
        paint.bold(&format!("━━ {title}")),
        paint.dim(&format!("$ {command}"))
    );
}

/// The files below a folder, as paths from `base`, sorted.
fn written(folder: &Path, base: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder)
            .into_iter()
            .flatten()
            .filter_map(Result::ok)
        {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(base).unwrap_or(&path).display().to_string());
            }
        }
    }
    found.sort();
    found
}
