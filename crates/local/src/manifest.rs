//! What was written, by step. One JSON file each, saved whole or not at all.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use landfall_model::StepId;
use landfall_model::definition::StepKind;
use landfall_model::id::Digest;
use serde::{Deserialize, Serialize};

use crate::trouble::Trouble;

/// What one step wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) platform: String,
    pub(crate) step: StepId,
    pub(crate) kind: StepKind,
    /// The step's folder, relative to the platform file.
    pub(crate) root: String,
    /// Whether writing began and has not come to its end, the commit included.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unfinished: bool,
    /// Whether it had come to its end before that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) finished_once: bool,
    /// By path, relative to the platform file.
    pub(crate) files: BTreeMap<String, Written>,
}

/// What is known of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Written {
    /// What was written last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) written: Option<Digest>,
    /// What is about to be written: until that is done, either may be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pending: Option<Digest>,
}

impl Written {
    /// Whether this content may come from us.
    pub(crate) fn may_be(&self, content: &Digest) -> bool {
        self.written.as_ref() == Some(content) || self.pending.as_ref() == Some(content)
    }
}

impl Manifest {
    /// Whether everything was written at least once.
    pub(crate) fn was_finished(&self) -> bool {
        self.finished_once || !self.unfinished
    }

    /// Everything has been written: forgets what is not `wanted`.
    pub(crate) fn finish(&mut self, wanted: impl Fn(&str) -> bool) {
        self.unfinished = false;
        self.finished_once = false;
        self.files.retain(|path, _| wanted(path));
        for written in self.files.values_mut() {
            if let Some(pending) = written.pending.take() {
                written.written = Some(pending);
            }
        }
    }
}

/// The folder of manifests.
#[derive(Debug)]
pub(crate) struct Manifests {
    folder: PathBuf,
}

impl Manifests {
    /// Manifests in `folder`, which is made when the first one is saved.
    pub(crate) fn new(folder: PathBuf) -> Manifests {
        Manifests { folder }
    }

    fn path(&self, platform: &str, step: &StepId) -> PathBuf {
        // Names are checked when files are read; this only keeps a wrong one from leaving the folder.
        let name = format!("{platform}.{step}.json").replace(['/', '\\'], "_");
        self.folder.join(name)
    }

    /// What `step` wrote, when it did.
    pub(crate) fn read(&self, platform: &str, step: &StepId) -> Result<Option<Manifest>, Trouble> {
        let path = self.path(platform, step);
        let manifest = read(&path)?;
        match &manifest {
            Some(other) if other.platform != platform || other.step != *step => Err(Trouble::OtherManifest {
                path: path.display().to_string(),
                platform: other.platform.clone(),
                step: other.step.clone(),
            }),
            _ => Ok(manifest),
        }
    }

    /// Every manifest, of every platform.
    pub(crate) fn all(&self) -> Result<Vec<Manifest>, Trouble> {
        let list = || match fs::read_dir(&self.folder) {
            Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        let mut paths: Vec<PathBuf> = list().map_err(Trouble::file(
            "list the manifests in",
            &self.folder.display().to_string(),
        ))?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        let read = |path: &PathBuf| read(path).transpose();
        paths.iter().filter_map(read).collect()
    }

    /// Saves a manifest. Once this returns, it is on the disk.
    pub(crate) fn save(&self, manifest: &Manifest) -> Result<(), Trouble> {
        let path = self.path(&manifest.platform, &manifest.step);
        let beside = path.with_extension("new");
        let mut text =
            serde_json::to_string_pretty(manifest).expect("a manifest's keys are all texts, as JSON wants");
        text.push('\n');
        let write = || {
            fs::create_dir_all(&self.folder)?;
            let mut file = File::create(&beside)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&beside, &path)
        };
        write().map_err(Trouble::file("write", &path.display().to_string()))
    }

    /// Removes a manifest, unless it is gone.
    pub(crate) fn delete(&self, manifest: &Manifest) -> Result<(), Trouble> {
        let path = self.path(&manifest.platform, &manifest.step);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Trouble::file("remove", &path.display().to_string())(error))
            }
            _ => Ok(()),
        }
    }
}

fn read(path: &Path) -> Result<Option<Manifest>, Trouble> {
    let shown = path.display().to_string();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Trouble::file("read", &shown)(error)),
    };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|source| Trouble::Manifest { path: shown, source })
}
