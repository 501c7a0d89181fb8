//! The definitions and blueprints that come with Landfall, embedded as they stand in the repository.
//!
//! Hands out files and nothing more: reading and judging them is the engine's.

use std::collections::BTreeMap;

use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "../../components"]
struct Components;

#[derive(RustEmbed)]
#[folder = "../../blueprints"]
struct Blueprints;

/// The names of all definitions.
pub fn definitions() -> Vec<String> {
    folders(Components::iter())
}

/// The files of a definition by their path in its folder; none when there is no such definition.
pub fn definition(name: &str) -> BTreeMap<String, String> {
    files(Components::iter(), name, Components::get)
}

/// The names of all blueprints.
pub fn blueprints() -> Vec<String> {
    folders(Blueprints::iter())
}

/// The files of a blueprint by their path in its folder; none when there is no such blueprint.
pub fn blueprint(name: &str) -> BTreeMap<String, String> {
    files(Blueprints::iter(), name, Blueprints::get)
}

fn folders(paths: impl Iterator<Item = std::borrow::Cow<'static, str>>) -> Vec<String> {
    let mut names: Vec<String> = paths
        .filter_map(|path| path.split_once('/').map(|(folder, _)| folder.to_owned()))
        .collect();
    names.sort();
    names.dedup();
    names
}

fn files(
    paths: impl Iterator<Item = std::borrow::Cow<'static, str>>,
    name: &str,
    get: impl Fn(&str) -> Option<rust_embed::EmbeddedFile>,
) -> BTreeMap<String, String> {
    let prefix = format!("{name}/");
    paths
        .filter_map(|path| {
            let inner = path.strip_prefix(&prefix)?.to_owned();
            let text = String::from_utf8(get(&path)?.data.into_owned()).ok()?;
            Some((inner, text))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_comes_whole_with_its_hidden_files() {
        assert!(definitions().contains(&"account-bootstrap".to_owned()));
        let files = definition("account-bootstrap");
        assert!(files.contains_key("component.yaml"));
        assert!(files.contains_key("skeleton/.gitignore"), "{:?}", files.keys());
        assert!(definition("account").is_empty());
        assert!(blueprint("account-bootstrap").contains_key("platform.yaml"));
    }
}
