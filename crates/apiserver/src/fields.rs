//! Sets of fields, in the form managed fields are written in (`FieldsV1`).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// One part of the way to a field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// A key of an object.
    Field(String),
    /// An item of a list of objects, by its key fields: JSON with the fields in order of name.
    Key(String),
    /// An item of a set, as JSON.
    Value(String),
    /// An item by its place.
    Index(usize),
}

impl Part {
    fn read(text: &str) -> Option<Part> {
        let (sort, rest) = text.split_once(':')?;
        match sort {
            "f" => Some(Part::Field(rest.to_owned())),
            "k" => {
                let keys: BTreeMap<String, Value> = serde_json::from_str(rest).ok()?;
                Some(Part::keys(keys))
            }
            "v" => {
                let value: Value = serde_json::from_str(rest).ok()?;
                Some(Part::Value(value.to_string()))
            }
            "i" => Some(Part::Index(rest.parse().ok()?)),
            _ => None,
        }
    }

    /// The part for an item with these key fields.
    pub(crate) fn keys(keys: BTreeMap<String, Value>) -> Part {
        let keys: Map<String, Value> = keys.into_iter().collect();
        Part::Key(Value::Object(keys).to_string())
    }

    fn written(&self) -> String {
        match self {
            Part::Field(name) => format!("f:{name}"),
            Part::Key(keys) => format!("k:{keys}"),
            Part::Value(value) => format!("v:{value}"),
            Part::Index(place) => format!("i:{place}"),
        }
    }

    /// As in messages: `.spec`, `[name="web"]`.
    fn said(&self) -> String {
        match self {
            Part::Field(name) => format!(".{name}"),
            Part::Key(keys) => {
                let keys: BTreeMap<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
                format!("[{}]", keys.join(","))
            }
            Part::Value(value) => format!("[={value}]"),
            Part::Index(place) => format!("[{place}]"),
        }
    }
}

/// A set of fields: a tree of parts in which some nodes are members.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Fields {
    /// Whether this very node is a member.
    pub(crate) own: bool,
    pub(crate) children: BTreeMap<Part, Fields>,
}

impl Fields {
    /// A single node that is a member.
    pub(crate) fn leaf() -> Fields {
        Fields {
            own: true,
            children: BTreeMap::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.own && self.children.is_empty()
    }

    /// Puts a child in, unless there is nothing in it.
    pub(crate) fn put(&mut self, part: Part, child: Fields) {
        if !child.is_empty() {
            self.children.insert(part, child);
        }
    }

    /// Makes sure that there is a node for a field, member or not.
    pub(crate) fn keep(&mut self, name: &str) {
        self.children.entry(Part::Field(name.to_owned())).or_default();
    }

    pub(crate) fn union(&self, other: &Fields) -> Fields {
        let mut all = self.clone();
        all.add(other);
        all
    }

    pub(crate) fn add(&mut self, other: &Fields) {
        self.own |= other.own;
        for (part, child) in &other.children {
            match self.children.get_mut(part) {
                Some(mine) => mine.add(child),
                None => {
                    self.children.insert(part.clone(), child.clone());
                }
            }
        }
    }

    pub(crate) fn intersection(&self, other: &Fields) -> Fields {
        let mut both = Fields {
            own: self.own && other.own,
            children: BTreeMap::new(),
        };
        for (part, child) in &self.children {
            if let Some(theirs) = other.children.get(part) {
                both.put(part.clone(), child.intersection(theirs));
            }
        }
        both
    }

    pub(crate) fn difference(&self, other: &Fields) -> Fields {
        let mut left = Fields {
            own: self.own && !other.own,
            children: BTreeMap::new(),
        };
        for (part, child) in &self.children {
            match other.children.get(part) {
                Some(theirs) => left.put(part.clone(), child.difference(theirs)),
                None => left.put(part.clone(), child.clone()),
            }
        }
        left
    }

    /// Takes out everything below a path of plain fields, and the node itself.
    pub(crate) fn forget(&mut self, path: &[&str]) {
        let [first, rest @ ..] = path else { return };
        let part = Part::Field((*first).to_owned());
        if rest.is_empty() {
            self.children.remove(&part);
        } else if let Some(child) = self.children.get_mut(&part) {
            child.forget(rest);
            if child.is_empty() {
                self.children.remove(&part);
            }
        }
    }

    /// The members as in messages: `.spec.replicas`.
    pub(crate) fn said(&self) -> Vec<String> {
        let mut said = Vec::new();
        self.say("", &mut said);
        said
    }

    fn say(&self, path: &str, said: &mut Vec<String>) {
        if self.own {
            said.push(path.to_owned());
        }
        for (part, child) in &self.children {
            child.say(&format!("{path}{}", part.said()), said);
        }
    }

    /// Reads `fieldsV1`.
    pub(crate) fn read(fields: &Value) -> Fields {
        let Some(fields) = fields.as_object() else {
            return Fields::default();
        };
        let mut read = Fields {
            own: fields.contains_key("."),
            children: BTreeMap::new(),
        };
        for (text, child) in fields {
            let Some(part) = Part::read(text) else { continue };
            let mut child = Fields::read(child);
            child.own |= child.children.is_empty();
            read.children.insert(part, child);
        }
        read
    }

    /// As `fieldsV1`.
    pub(crate) fn written(&self) -> Value {
        let mut written = Map::new();
        if self.own && !self.children.is_empty() {
            written.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for (part, child) in &self.children {
            written.insert(part.written(), child.written());
        }
        Value::Object(written)
    }
}
