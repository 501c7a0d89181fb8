//! Adding a cluster to a kubeconfig file. Whatever else is in the file stays as it is; only comments may go.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use k8s_openapi::ByteString;
use serde_json::{Map, Value, json};

/// A cluster as `kubectl` is to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What its context, cluster and user are called in the file.
    pub context: String,
    /// Where its API server is.
    pub endpoint: String,
    /// The certificate that has signed the server's.
    pub ca_pem: String,
    /// What lets people in.
    pub user: User,
}

/// What lets people into a cluster.
#[derive(Clone, PartialEq, Eq)]
pub enum User {
    /// A program that is asked for a token whenever one is needed.
    Exec {
        /// The program.
        command: String,
        /// Its arguments.
        arguments: Vec<String>,
        /// Variables it needs, such as `AWS_PROFILE`.
        variables: Vec<(String, String)>,
    },
    /// A token, for a cluster that lives no longer than the file.
    Token(String),
}

impl std::fmt::Debug for User {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            User::Exec { command, .. } => write!(to, "Exec({command})"),
            User::Token(_) => to.write_str("Token(…)"),
        }
    }
}

/// Why the file was not changed.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// It cannot be read.
    #[error("could not read {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is no kubeconfig.
    #[error("{path} is not a kubeconfig file: {why}")]
    Strange {
        /// Which file.
        path: PathBuf,
        /// What is strange.
        why: String,
    },
    /// It cannot be written.
    #[error("could not write {path}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Adds a cluster to the file at `path`, which need not be there, or brings it up to date. `current` makes its context
/// the one that `kubectl` uses when none is named. At every moment the file is either as it was or as it is to be.
pub fn write(path: &Path, entry: &Entry, current: bool) -> Result<(), KubeconfigError> {
    // A link is followed: what it points to is changed, not the link.
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(source) => {
            return Err(KubeconfigError::Read {
                path: path.clone(),
                source,
            });
        }
    };
    let merged = merged(&text, entry, current).map_err(|why| KubeconfigError::Strange {
        path: path.clone(),
        why,
    })?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let replace = || {
        std::fs::create_dir_all(folder)?;
        // Only its owner may read a temporary file, and so it stays.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(merged.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    replace().map_err(|source| KubeconfigError::Write {
        path: path.clone(),
        source,
    })
}

/// The text of a kubeconfig with a cluster added to it.
fn merged(text: &str, entry: &Entry, current: bool) -> Result<String, String> {
    let mut all: Value = match text.trim() {
        "" => Value::Null,
        text => serde_saphyr::from_str(text).map_err(|error| error.to_string())?,
    };
    if all.is_null() {
        all = json!({ "apiVersion": "v1", "kind": "Config" });
    }
    let Some(all) = all.as_object_mut() else {
        return Err("it is not a map".to_owned());
    };
    let name = entry.context.as_str();
    let cluster = json!({
        "server": entry.endpoint,
        "certificate-authority-data": ByteString(entry.ca_pem.as_bytes().to_vec()),
    });
    put(all, "clusters", name, "cluster", cluster)?;
    let user = match &entry.user {
        User::Token(token) => json!({ "token": token }),
        User::Exec {
            command,
            arguments,
            variables,
        } => {
            let mut exec = json!({
                "apiVersion": "client.authentication.k8s.io/v1",
                "command": command,
                "args": arguments,
                "interactiveMode": "IfAvailable",
                "provideClusterInfo": false,
            });
            if !variables.is_empty() {
                let variables = variables
                    .iter()
                    .map(|(name, value)| json!({ "name": name, "value": value }));
                exec["env"] = variables.collect();
            }
            json!({ "exec": exec })
        }
    };
    put(all, "users", name, "user", user)?;
    // The namespace that somebody chose for this context stays.
    let mut context = of_name(all, "contexts", name).map_or_else(|| json!({}), |one| one["context"].clone());
    if !context.is_object() {
        context = json!({});
    }
    context["cluster"] = name.into();
    context["user"] = name.into();
    put(all, "contexts", name, "context", context)?;
    let none = all.get("current-context").is_none_or(|current| current.is_null());
    if current {
        all.insert("current-context".to_owned(), name.into());
    } else if none {
        all.insert("current-context".to_owned(), "".into());
    }
    serde_saphyr::to_string(all).map_err(|error| error.to_string())
}

fn of_name<'a>(all: &'a Map<String, Value>, list: &str, name: &str) -> Option<&'a Value> {
    all.get(list)?.as_array()?.iter().find(|one| one["name"] == name)
}

/// Puts something into one of the lists, in place of what has its name.
fn put(all: &mut Map<String, Value>, list: &str, name: &str, what: &str, value: Value) -> Result<(), String> {
    let items = all.entry(list).or_insert(Value::Null);
    if items.is_null() {
        *items = json!([]);
    }
    let Some(items) = items.as_array_mut() else {
        return Err(format!("`{list}` is not a list"));
    };
    let item = json!({ "name": name, what: value });
    match items.iter_mut().find(|one| one["name"] == name) {
        Some(old) => *old = item,
        None => items.push(item),
    }
    Ok(())
}
