//! `landfall up`: everything here, now, in a simulated cloud. No account, no cluster, no server.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use landfall_apiserver::serve::ServerTls;
use landfall_kube::kubeconfig;
use landfall_model::plan::Plan;
use landfall_runner::{Clock, Look};
use landfall_session::Session;
use landfall_sim::{ScaledClock, World, WorldConfig, demo};
use landfall_store::Lock;
use tokio::io::AsyncBufReadExt as _;

use super::apply::{report, steering};
use super::{forecast, released, take};
use crate::cli::AT_ONCE;
use crate::show::{self, Paint};
use crate::trouble::Usage;
use crate::{files, world};

/// Makes a platform in a simulated cloud, looks at it, and takes it back.
pub(crate) async fn up(arguments: &crate::cli::Up, paint: Paint) -> anyhow::Result<u8> {
    if !(arguments.speed > 0.0 && arguments.speed <= 100_000.0) {
        return Err(Usage::error(
            "`--speed` must be more than 0 and at most 100000",
            "60 is a good speed to watch",
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
    let (session, cloud) = simulated(&folder, arguments)?;
    let served = folder.join("kubeconfig");
    let _serving = Serving::begin(cloud, served.clone());
    println!("{}\n", paint.magenta(landfall_sim::BANNER));
    let file = std::fs::read_to_string(folder.join("platform.yaml"))?;
    part(paint, "The platform file", "platform.yaml");
    println!("{}", paint.dim(file.trim_end()));

    part(paint, "What would happen", "landfall plan");
    let plan = session.plan().await?;
    print!(
        "{}",
        show::plan(&plan, &forecast(&session, &plan, AT_ONCE), paint)
    );
    if plan.is_refused() {
        return Ok(1);
    }

    let lock = take(&session).await?;
    let outcome = there_and_back(&session, &lock, &plan, &folder, arguments.stay, paint).await;
    let code = released(lock, outcome).await?;
    if code != 0 {
        return Ok(code);
    }

    println!(
        "\n{} Next: `landfall init {}`, put your account in, and `landfall plan`.",
        paint.bold("That was simulated; nothing of it touched AWS."),
        if arguments.play == CLUSTER {
            "portal-on-eks"
        } else {
            &arguments.play
        }
    );
    if arguments.folder.is_some() {
        println!("The files are in {}.", folder.display());
    }
    Ok(code)
}

/// Carries the plan out, looks at what it made, and takes it all back.
async fn there_and_back(
    session: &Session,
    lock: &Lock,
    plan: &Plan,
    folder: &Path,
    stay: bool,
    paint: Paint,
) -> anyhow::Result<u8> {
    part(paint, "Make it so", "landfall apply");
    let steering = steering(false, AT_ONCE, paint);
    let done = session.run(lock, plan, &steering).await?;
    let code = report(&done, "apply", false, paint);
    if code != 0 {
        return Ok(code);
    }

    let files = written(&folder.join("repository"), folder);
    if !files.is_empty() {
        part(paint, "What was written for the repository", "ls repository");
    }
    for path in files {
        println!("  {path}");
    }

    part(paint, "What is running", "landfall status");
    let seen = session.look(Look::AtWhatStands).await?;
    let last = session.store.last_run().await?;
    print!(
        "{}",
        show::status(&session.wanted, &seen, last.as_ref(), None, paint)
    );

    part(paint, "Is anything left to do?", "landfall plan");
    let again = session.plan().await?;
    print!(
        "{}",
        show::plan(&again, &forecast(session, &again, AT_ONCE), paint)
    );

    look_around(&folder.join("kubeconfig"), stay, paint).await?;

    part(paint, "Take it all back", "landfall destroy --include-retained");
    let (plan, seen) = session.rehearse(true).await?;
    let forecast = forecast(session, &plan, AT_ONCE);
    println!(
        "{}",
        show::destroy_rehearsal(&plan, &seen.found, &forecast, paint)
    );
    let teardown = session.destroy(lock, &plan, true, &steering).await?;
    super::destroy::ended(session, &teardown, false, paint)
}

/// What kubectl shows of the clusters, and time to look around.
async fn look_around(kubeconfig: &Path, stay: bool, paint: Paint) -> anyhow::Result<()> {
    if !kubeconfig.exists() {
        return Ok(());
    }
    let file = kubeconfig.display();
    part(
        paint,
        "What is in the cluster",
        "kubectl get pods --all-namespaces",
    );
    let shown = tokio::process::Command::new("kubectl")
        .args(["get", "pods", "--all-namespaces", "--kubeconfig"])
        .arg(kubeconfig)
        .output()
        .await;
    match shown {
        Ok(shown) if shown.status.success() => print!("{}", String::from_utf8_lossy(&shown.stdout)),
        Ok(shown) => eprint!("{}", String::from_utf8_lossy(&shown.stderr)),
        Err(_) => println!("There is no kubectl here; any Kubernetes client takes {file}."),
    }
    if stay {
        println!("\nThe cluster answers at `kubectl --kubeconfig {file}`. Enter or Ctrl-C goes on.");
        let mut line = String::new();
        let mut input = tokio::io::BufReader::new(tokio::io::stdin());
        tokio::select! {
            read = input.read_line(&mut line) => { read?; }
            _ = tokio::signal::ctrl_c() => {}
        }
    }
    Ok(())
}

/// Serves every cluster of a simulated cloud on this machine, as soon as it answers, and ends with this.
struct Serving(tokio::task::JoinHandle<()>);

impl Serving {
    /// Writes a kubeconfig once there is a cluster, with a context for each, called like it.
    fn begin(cloud: Arc<World>, file: PathBuf) -> Serving {
        Serving(tokio::spawn(async move {
            let mut served = tokio::task::JoinSet::new();
            let mut known: Vec<(String, String)> = Vec::new();
            loop {
                for cluster in cloud.clusters().into_iter().filter(|cluster| cluster.active) {
                    let name = (cluster.region, cluster.name);
                    if known.contains(&name) {
                        continue;
                    }
                    match serve(&cloud, &name.0, &name.1, &file).await {
                        Ok(serving) => drop(served.spawn(serving)),
                        Err(error) => eprintln!("the cluster `{}` cannot be looked at: {error:#}", name.1),
                    }
                    known.push(name);
                }
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        }))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Serves one cluster, and tells how it is reached.
async fn serve(
    cloud: &Arc<World>,
    region: &str,
    name: &str,
    file: &Path,
) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let token = uuid::Uuid::new_v4().simple().to_string();
    let backend = cloud.served(region, name, &token).context("it is gone")?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let url = format!("https://{}", listener.local_addr()?);
    let tls = ServerTls::generate(&["127.0.0.1", "localhost"])?;
    let entry = kubeconfig::Entry {
        context: name.to_owned(),
        endpoint: url,
        ca_pem: tls.ca_pem.clone(),
        user: kubeconfig::User::Token(token),
    };
    kubeconfig::write(file, &entry, true)?;
    Ok(landfall_apiserver::serve::serve(listener, tls, backend))
}

fn simulated(folder: &Path, arguments: &crate::cli::Up) -> anyhow::Result<(Session, Arc<World>)> {
    std::fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
    let path = folder.join("platform.yaml");
    if !path.exists() {
        for (name, text) in play(&arguments.play)? {
            let path = folder.join(name);
            let parent = path.parent().unwrap_or(folder);
            std::fs::create_dir_all(parent)
                .with_context(|| format!("could not make {}", parent.display()))?;
            std::fs::write(&path, text).with_context(|| format!("could not write {}", path.display()))?;
        }
    }
    let loaded = files::load(&path)?;
    let facts = &loaded.wanted.facts;
    let clock: Arc<dyn Clock> = Arc::new(ScaledClock::new(arguments.speed));
    let config = WorldConfig {
        seed: arguments.seed,
        repositories: [(demo::REPOSITORY.to_owned(), demo::repository())].into(),
        ..WorldConfig::new(&facts.account, &facts.region)
    };
    let cloud = landfall_sim::World::new(config, clock.clone());
    Ok((world::simulated(&loaded, clock, &cloud), cloud))
}

/// The play that is no blueprint.
const CLUSTER: &str = "cluster";

/// The files of a play, by path.
fn play(name: &str) -> anyhow::Result<Vec<(String, String)>> {
    if name == CLUSTER {
        let definitions = demo::names().flat_map(|name| {
            let files = demo::definition(name).into_iter();
            files.map(move |(path, text)| (format!("components/{name}/{path}"), text))
        });
        let platform = ("platform.yaml".to_owned(), demo::PLATFORM.to_owned());
        return Ok(std::iter::once(platform).chain(definitions).collect());
    }
    match landfall_catalogue::blueprint(name).remove("platform.yaml") {
        Some(text) => Ok(vec![("platform.yaml".to_owned(), text)]),
        None => Err(Usage::error(
            format!("there is no blueprint `{name}`"),
            format!(
                "there are {CLUSTER}, {}",
                landfall_catalogue::blueprints().join(", ")
            ),
        )),
    }
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
