//! `landfall open` and `landfall kubeconfig`: the ways from this machine into what runs in a cluster.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use anyhow::Context as _;
use landfall_kube::{Clusters as _, Reach, kubeconfig};
use landfall_model::definition::{OpenCredential, OpenService, OpenSpec};
use landfall_session::Opening;
use serde_json::json;

use crate::clusters::{self, EksClusters};
use crate::show::Paint;
use crate::trouble::Usage;
use crate::{files, world};

/// Opens what a component shows people, until Ctrl-C.
pub(crate) async fn open(arguments: &crate::cli::Open, paint: Paint) -> anyhow::Result<u8> {
    let common = &arguments.common;
    let loaded = files::load(&common.platform)?;
    let can_be_opened = || {
        let all = loaded.wanted.components.iter();
        let all = all.filter(|(_, component)| component.open.is_some());
        all.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let Some(component) = &arguments.component else {
        match can_be_opened() {
            none if none.is_empty() => println!("No component of this platform opens anything."),
            all => println!("Can be opened: {all}"),
        }
        return Ok(0);
    };
    let hint = || match can_be_opened() {
        none if none.is_empty() => "no component of this platform opens anything".to_owned(),
        all => format!("can be opened: {all}"),
    };
    if !loaded.wanted.components.contains_key(component) {
        return Err(Usage::error(
            format!("there is no component `{component}`"),
            hint(),
        ));
    }
    let world = world::aws(&loaded, common.kubeconfig.as_deref()).await?;
    let OpenSpec {
        service,
        url,
        credentials,
    } = match world.session.opening(component).await? {
        Opening::Of(open) => open,
        Opening::Nothing => return Err(Usage::error(format!("`{component}` opens nothing"), hint())),
        Opening::NotYet(steps) => {
            let steps: Vec<String> = steps.iter().map(ToString::to_string).collect();
            anyhow::bail!(
                "`{component}` cannot be opened yet: it waits for {}. `landfall apply` brings them about",
                steps.join(", ")
            );
        }
        Opening::Invalid(why) => anyhow::bail!("`{component}` cannot be opened: {why}"),
    };
    let client = match &service {
        Some(service) => Some(reached(&world.clusters, &loaded.wanted.facts.region, &service.cluster).await?),
        None => None,
    };
    let shown = if arguments.no_credentials {
        Vec::new()
    } else {
        values(credentials, client.as_ref()).await?
    };
    match (service, client, url) {
        (Some(service), Some(client), _) => {
            let local = tokio::net::TcpListener::bind(("127.0.0.1", arguments.port.unwrap_or(0)))
                .await
                .context("could not listen on this machine; `--port` names another port")?;
            let OpenService { scheme, path, .. } = &service;
            let port = service.port.to_string();
            landfall_kube::can_forward(&client, &service.namespace, &service.name, &port).await?;
            let url = format!("{}://{}{path}", scheme.word(), local.local_addr()?);
            tell(&url, &shown, common.json, paint)?;
            browse(&url, arguments.no_browser || common.json);
            if !common.json {
                println!("{}", paint.dim("Open until Ctrl-C."));
            }
            let failing = |why: String| eprintln!("a connection failed: {why}");
            tokio::select! {
                ended = landfall_kube::forward(&client, &service.namespace, &service.name, &port, local, failing) => ended?,
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        (_, _, Some(url)) => {
            tell(&url, &shown, common.json, paint)?;
            browse(&url, arguments.no_browser || common.json);
        }
        _ => {}
    }
    Ok(0)
}

/// A client of a cluster that has to be there.
async fn reached(clusters: &EksClusters, region: &str, name: &str) -> anyhow::Result<landfall_kube::Client> {
    match clusters.reach(region, name).await? {
        Reach::Ready(client) => Ok(client),
        Reach::Starting { state } => {
            anyhow::bail!("the cluster `{name}` is {state}: try again when it is ACTIVE")
        }
        Reach::Absent => anyhow::bail!("there is no cluster `{name}` in {region}; `landfall apply` makes it"),
    }
}

/// What to sign in with. Kept nowhere but in what is printed.
async fn values(
    credentials: Vec<OpenCredential>,
    client: Option<&landfall_kube::Client>,
) -> anyhow::Result<Vec<(String, String)>> {
    let mut shown = Vec::new();
    for OpenCredential { label, value, secret } in credentials {
        let value = match (value, secret, client) {
            (Some(value), ..) => value,
            (None, Some(secret), Some(client)) => {
                landfall_kube::secret_value(client, &secret.namespace, &secret.name, &secret.key).await?
            }
            _ => continue,
        };
        shown.push((label, value));
    }
    Ok(shown)
}

fn tell(url: &str, credentials: &[(String, String)], json: bool, paint: Paint) -> anyhow::Result<()> {
    if json {
        let credentials: serde_json::Map<String, serde_json::Value> = credentials
            .iter()
            .map(|(label, value)| (label.clone(), value.as_str().into()))
            .collect();
        return super::print_json(&json!({ "url": url, "credentials": credentials }));
    }
    println!("{}", paint.bold(url));
    for (label, value) in credentials {
        println!("  {label:<9} {value}");
    }
    Ok(())
}

/// Starts a browser for whoever sits in front of this machine.
fn browse(url: &str, not: bool) {
    if not || !std::io::stdout().is_terminal() {
        return;
    }
    if let Err(error) = open::that_detached(url) {
        eprintln!("no browser could be started ({error}); the address above works all the same");
    }
}

/// Adds the platform's clusters to a kubeconfig.
pub(crate) async fn kubeconfig(arguments: &crate::cli::Kubeconfig) -> anyhow::Result<u8> {
    let common = &arguments.common;
    let loaded = files::load(&common.platform)?;
    let world = world::aws(&loaded, None).await?;
    let facts = &loaded.wanted.facts;
    let mut clusters = world.clusters.marked(&facts.name).await?;
    clusters.retain(|cluster| {
        arguments
            .cluster
            .as_ref()
            .is_none_or(|name| *name == cluster.name)
    });
    clusters.retain(|cluster| !cluster.endpoint.is_empty());
    if clusters.is_empty() {
        return Err(Usage::error(
            match &arguments.cluster {
                Some(name) => format!("the platform {} has no cluster `{name}` that answers", facts.name),
                None => format!("the platform {} has no cluster that answers", facts.name),
            },
            "`landfall apply` makes it; `landfall status` shows what stands",
        ));
    }
    if arguments.set_current && clusters.len() > 1 {
        let names: Vec<&str> = clusters.iter().map(|cluster| cluster.name.as_str()).collect();
        return Err(Usage::error(
            format!("the platform has several clusters: {}", names.join(", ")),
            "say which is to be the current one: `landfall kubeconfig NAME --set-current`",
        ));
    }
    let file = match &arguments.to {
        Some(file) => file.clone(),
        None => usual_file()?,
    };
    let command = std::env::current_exe().context("where this program lies cannot be told")?;
    // Who calls the program later has to end up with the same credentials.
    let kept = [
        "AWS_PROFILE",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_ENDPOINT_URL",
    ];
    for cluster in &clusters {
        let variables = kept
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
        let call = [
            "token",
            "--cluster",
            &cluster.name,
            "--region",
            &facts.region,
            "--account",
            &facts.account,
        ];
        let entry = kubeconfig::Entry {
            context: cluster.name.clone(),
            endpoint: cluster.endpoint.clone(),
            ca_pem: clusters::certificate(cluster)?,
            user: kubeconfig::User::Exec {
                command: command.display().to_string(),
                arguments: call.map(str::to_owned).to_vec(),
                variables: variables.collect(),
            },
        };
        kubeconfig::write(&file, &entry, arguments.set_current)?;
    }
    let contexts: Vec<&str> = clusters.iter().map(|cluster| cluster.name.as_str()).collect();
    if common.json {
        super::print_json(&json!({ "file": file, "contexts": contexts }))?;
    } else {
        for context in contexts {
            println!(
                "kubectl --kubeconfig {} --context {context} get nodes",
                file.display()
            );
        }
    }
    Ok(0)
}

/// The file that kubectl reads first (source: Kubernetes, "Organizing Cluster Access Using kubeconfig Files").
fn usual_file() -> anyhow::Result<PathBuf> {
    if let Some(list) = std::env::var_os("KUBECONFIG")
        && let Some(first) = std::env::split_paths(&list).find(|path| !path.as_os_str().is_empty())
    {
        return Ok(first);
    }
    let home = std::env::home_dir().context("there is no home folder; name the file with `--to`")?;
    Ok(home.join(".kube").join("config"))
}
