//! The kinds a server serves: those built in, and those that custom resource definitions bring.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};

use crate::rules::Rules;
use crate::schema::Schema;
use crate::table::Column;

/// One kind in one version, as it is served.
pub(crate) struct Served {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
    pub(crate) status: bool,
    pub(crate) scale: bool,
    pub(crate) schema: Arc<Value>,
    /// What only custom resources have.
    pub(crate) custom: Option<Custom>,
}

/// What a custom resource definition says of one of its versions.
pub(crate) struct Custom {
    /// Where the number of replicas is asked for, as a JSON pointer.
    pub(crate) spec_replicas: String,
    /// Where the number of replicas is reported, as a JSON pointer.
    pub(crate) status_replicas: String,
    pub(crate) columns: Vec<Column>,
    pub(crate) rules: Rules,
    /// The version in which objects are kept.
    pub(crate) storage: String,
    /// Whether objects can be given out in this version: a webhook that converts is not asked.
    pub(crate) convertible: bool,
    /// The warning for clients of a deprecated version.
    pub(crate) deprecated: Option<String>,
}

impl Served {
    pub(crate) fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    /// As in messages: `deployments.apps`, `pods`.
    pub(crate) fn said(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// `details` of a `Status` about an object of this kind.
    pub(crate) fn details(&self, name: &str) -> Value {
        let mut details = json!({});
        if !name.is_empty() {
            details["name"] = name.into();
        }
        if !self.group.is_empty() {
            details["group"] = self.group.clone().into();
        }
        details["kind"] = self.plural.clone().into();
        details
    }

    pub(crate) fn schema(&self) -> Schema<'_> {
        Schema::of(&self.schema)
    }

    /// The version in which objects of this kind are kept.
    pub(crate) fn storage(&self) -> &str {
        self.custom
            .as_ref()
            .map_or(self.version.as_str(), |custom| &custom.storage)
    }

    pub(crate) fn is(&self, group: &str, kind: &str) -> bool {
        self.group == group && self.kind == kind
    }
}

pub(crate) fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// The kinds of one server.
#[derive(Default)]
pub(crate) struct Registry {
    /// Custom kinds by group and plural, each with its versions.
    custom: BTreeMap<(String, String), Vec<Arc<Served>>>,
}

/// The kinds built in to every server.
struct Core {
    all: Vec<Arc<Served>>,
    by_plural: HashMap<(&'static str, &'static str, &'static str), usize>,
    by_kind: HashMap<(&'static str, &'static str), usize>,
}

fn core() -> &'static Core {
    static CORE: OnceLock<Core> = OnceLock::new();
    CORE.get_or_init(|| {
        let kinds = landfall_kinds::core();
        let mut core = Core {
            all: Vec::with_capacity(kinds.len()),
            by_plural: HashMap::new(),
            by_kind: HashMap::new(),
        };
        for (place, kind) in kinds.iter().enumerate() {
            core.by_plural
                .insert((&kind.group, &kind.version, &kind.plural), place);
            core.by_kind.entry((&kind.group, &kind.kind)).or_insert(place);
            core.all.push(Arc::new(Served {
                group: kind.group.clone(),
                version: kind.version.clone(),
                kind: kind.kind.clone(),
                plural: kind.plural.clone(),
                singular: kind.singular.clone(),
                short_names: kind.short_names.clone(),
                categories: kind.categories.clone(),
                namespaced: kind.namespaced,
                status: kind.status,
                scale: kind.scale,
                schema: kind.schema.clone(),
                custom: None,
            }));
        }
        core
    })
}

impl Registry {
    /// The kind behind `/apis/<group>/<version>/<plural>`.
    pub(crate) fn by_plural(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Served>> {
        let core = core();
        if let Some(&place) = core.by_plural.get(&(group, version, plural)) {
            return core.all.get(place);
        }
        if group.is_empty() || self.custom.is_empty() {
            return None;
        }
        self.custom
            .get(&(group.to_owned(), plural.to_owned()))?
            .iter()
            .find(|served| served.version == version)
    }

    /// The kind an object says it is.
    pub(crate) fn by_kind(&self, api_version: &str, kind: &str) -> Option<&Arc<Served>> {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let core = core();
        if let Some(&place) = core.by_kind.get(&(group, kind)) {
            if let Some(served) = core.all.get(place).filter(|served| served.version == version) {
                return Some(served);
            }
            // A second version of the same built-in kind is rare enough for a walk.
            return core
                .all
                .iter()
                .find(|served| served.is(group, kind) && served.version == version);
        }
        self.of_group(group)
            .find(|served| served.kind == kind && served.version == version)
    }

    /// The kind in the version in which its objects are kept.
    pub(crate) fn stored(&self, group: &str, kind: &str) -> Option<&Arc<Served>> {
        let core = core();
        if let Some(&place) = core.by_kind.get(&(group, kind)) {
            return core.all.get(place);
        }
        self.of_group(group)
            .find(|served| served.kind == kind && served.version == served.storage())
    }

    fn of_group(&self, group: &str) -> impl Iterator<Item = &Arc<Served>> {
        let from = (group.to_owned(), String::new());
        let group = group.to_owned();
        self.custom
            .range(from..)
            .take_while(move |((other, _), _)| *other == group)
            .flat_map(|(_, versions)| versions)
    }

    /// All kinds in all versions.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Served>> {
        core().all.iter().chain(self.custom.values().flatten())
    }

    pub(crate) fn put(&mut self, group: &str, plural: &str, versions: Vec<Arc<Served>>) {
        self.custom
            .insert((group.to_owned(), plural.to_owned()), versions);
    }

    pub(crate) fn take(&mut self, group: &str, plural: &str) {
        self.custom.remove(&(group.to_owned(), plural.to_owned()));
    }
}
