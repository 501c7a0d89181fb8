//! Reads the platform file and finds definitions: the user's own beside it, then those embedded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use landfall_engine::{DefinitionFolder, Library, ObjectProblem};
use landfall_model::template::TemplateInterface;
use landfall_model::wanted::Wanted;
use landfall_model::{Diagnostics, SourceFile};

use crate::trouble::Usage;

/// A platform file and what it asks for.
pub(crate) struct Loaded {
    pub(crate) wanted: Wanted,
    /// The folder the file lies in: relative paths start here.
    pub(crate) folder: PathBuf,
}

/// Reads and checks a platform.
pub(crate) fn load(path: &Path) -> anyhow::Result<Loaded> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Usage::error(
                format!("there is no platform file {}", path.display()),
                "`landfall init` writes one; `--platform FILE` names another",
            ));
        }
        Err(error) => return Err(error).with_context(|| format!("could not read {}", path.display())),
    };
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let file = SourceFile::new(path.display().to_string(), text);
    let wanted = landfall_engine::read(
        &file,
        &Definitions {
            beside: folder.join("components"),
        },
    )?;
    Ok(Loaded { wanted, folder })
}

/// Definitions beside the platform file, then those that come with Landfall.
struct Definitions {
    beside: PathBuf,
}

impl Library for Definitions {
    fn find(&self, name: &str) -> Result<Option<DefinitionFolder>, String> {
        let folder = self.beside.join(name);
        let is_name = !name.is_empty() && !name.contains(['/', '\\', '.']);
        if is_name && folder.join("component.yaml").exists() {
            let mut files = BTreeMap::new();
            read_folder(&folder, &folder, &mut files)?;
            let origin = folder.strip_prefix(".").unwrap_or(&folder).display().to_string();
            return Ok(Some(DefinitionFolder { origin, files }));
        }
        let files = landfall_catalogue::definition(name);
        Ok((!files.is_empty()).then(|| DefinitionFolder {
            origin: format!("embedded:components/{name}"),
            files,
        }))
    }

    fn names(&self) -> Vec<String> {
        let mut names = landfall_catalogue::definitions();
        if let Ok(entries) = std::fs::read_dir(&self.beside) {
            names.extend(
                entries
                    .filter_map(Result::ok)
                    .map(|entry| entry.file_name().to_string_lossy().into_owned()),
            );
        }
        names
    }

    fn read_template(&self, file: &Arc<SourceFile>) -> Result<TemplateInterface, Diagnostics> {
        landfall_cloudformation::read_template(file)
    }

    fn is_large(&self, template: &str) -> bool {
        template.len() > landfall_cloudformation::INLINE_LIMIT
    }

    fn check_object(&self, object: &serde_json::Value) -> Vec<ObjectProblem> {
        landfall_kinds::check(object).into_iter().map(told).collect()
    }
}

fn told(problem: landfall_kinds::Problem) -> ObjectProblem {
    let landfall_kinds::Problem {
        path,
        message,
        help,
        is_sure,
    } = problem;
    ObjectProblem {
        path,
        message,
        help,
        is_sure,
    }
}

fn read_folder(root: &Path, folder: &Path, files: &mut BTreeMap<String, String>) -> Result<(), String> {
    let failed = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    for entry in std::fs::read_dir(folder).map_err(|error| failed(folder, &error))? {
        let entry = entry.map_err(|error| failed(folder, &error))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(|error| failed(&path, &error))?;
        if kind.is_dir() {
            read_folder(root, &path, files)?;
        } else if kind.is_file() {
            let bytes = std::fs::read(&path).map_err(|error| failed(&path, &error))?;
            let text = String::from_utf8(bytes)
                .map_err(|_| failed(&path, &"not UTF-8 text; definitions hold text files only"))?;
            let inner = path
                .strip_prefix(root)
                .unwrap_or(&path)
                .to_string_lossy()
                .replace('\\', "/");
            files.insert(inner, text);
        }
    }
    Ok(())
}
