//! Walking along a schema: what a field is, how its list is keyed.

use serde_json::Value;

/// A place in a schema. No node means that nothing is known from here on.
#[derive(Clone, Copy)]
pub(crate) struct Schema<'a> {
    root: &'a Value,
    node: Option<&'a Value>,
}

/// How the items of a list are told apart.
pub(crate) enum Listing<'a> {
    /// The list is one value.
    Atomic,
    /// Items are scalars, each once.
    Set,
    /// Items are objects, told apart by these fields.
    Map(&'a [Value]),
}

impl<'a> Schema<'a> {
    pub(crate) fn of(root: &'a Value) -> Schema<'a> {
        Schema {
            root,
            node: Some(root),
        }
        .resolved()
    }

    /// The schema's own text here.
    pub(crate) fn node(&self) -> Option<&'a Value> {
        self.node
    }

    fn at(self, node: Option<&'a Value>) -> Schema<'a> {
        Schema {
            root: self.root,
            node,
        }
        .resolved()
    }

    /// Follows references, and looks through the wrapping that stands for "or null".
    fn resolved(self) -> Schema<'a> {
        let mut node = self.node;
        // References to references end; a cycle of them would be a broken schema.
        for _ in 0..16 {
            let Some(here) = node.and_then(Value::as_object) else {
                break;
            };
            if let Some(reference) = here.get("$ref").and_then(Value::as_str) {
                node = reference
                    .strip_prefix('#')
                    .and_then(|path| self.root.pointer(path));
            } else if here.contains_key("type") || here.contains_key("properties") {
                break;
            } else if let Some(only) = one_of(here) {
                node = Some(only);
            } else {
                break;
            }
        }
        Schema {
            root: self.root,
            node,
        }
    }

    /// What stands under a key of an object.
    pub(crate) fn field(self, name: &str) -> Schema<'a> {
        let found = self.node.and_then(|node| {
            node.get("properties")
                .and_then(|properties| properties.get(name))
                .or_else(|| node.get("additionalProperties").filter(|more| more.is_object()))
        });
        self.at(found)
    }

    /// Whether the schema names this field, so that it belongs to a structure rather than a map.
    pub(crate) fn names(self, field: &str) -> bool {
        self.node
            .and_then(|node| node.get("properties"))
            .is_some_and(|properties| properties.get(field).is_some())
    }

    /// What stands in a list.
    pub(crate) fn items(self) -> Schema<'a> {
        self.at(self.node.and_then(|node| node.get("items")))
    }

    /// How the items of the list here are told apart.
    pub(crate) fn listing(self) -> Listing<'a> {
        let Some(node) = self.node else {
            return Listing::Atomic;
        };
        match node.get("x-kubernetes-list-type").and_then(Value::as_str) {
            Some("set") => Listing::Set,
            Some("map") => match node.get("x-kubernetes-list-map-keys").and_then(Value::as_array) {
                Some(keys) => Listing::Map(keys),
                None => Listing::Atomic,
            },
            _ => Listing::Atomic,
        }
    }

    /// Whether the object here is one value.
    pub(crate) fn atomic_map(self) -> bool {
        self.node
            .and_then(|node| node.get("x-kubernetes-map-type"))
            .and_then(Value::as_str)
            == Some("atomic")
    }

    /// Whether nothing is said of what may stand here.
    pub(crate) fn open(self) -> bool {
        let Some(node) = self.node else { return true };
        node.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true))
    }

    /// The default of a field of the object here.
    pub(crate) fn default_of(self, field: &str) -> Option<&'a Value> {
        self.field(field).node.and_then(|node| node.get("default"))
    }
}

/// The one schema in `allOf: [x]`, `anyOf: [x, null]` and the like.
fn one_of(node: &serde_json::Map<String, Value>) -> Option<&Value> {
    for word in ["allOf", "anyOf", "oneOf"] {
        if let Some(Value::Array(several)) = node.get(word) {
            let mut real = several
                .iter()
                .filter(|one| one.get("type").and_then(Value::as_str) != Some("null"));
            if let (Some(only), None) = (real.next(), real.next()) {
                return Some(only);
            }
        }
    }
    None
}
