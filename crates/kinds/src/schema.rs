//! Walks a structural schema: fields, items, and how lists and mappings are merged.

use serde_json::Value;

/// One step of a path through a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathPart<'a> {
    /// Into a field of a mapping.
    Field(&'a str),
    /// Into the items of a list.
    Item,
}

/// How a list is merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListType<'a> {
    /// As a whole.
    Atomic,
    /// By its items.
    Set,
    /// By these fields of its items.
    Map(Vec<&'a str>),
}

/// A place in a schema.
#[derive(Clone, Copy, Debug)]
pub struct Schema<'a> {
    value: &'a Value,
}

impl<'a> Schema<'a> {
    /// The schema that this value writes down.
    pub fn of(value: &'a Value) -> Schema<'a> {
        Schema { value }
    }

    /// What stands at one keyword of the schema.
    pub fn get(self, keyword: &str) -> Option<&'a Value> {
        self.value.get(keyword)
    }

    /// The schema as it is written.
    pub fn value(self) -> &'a Value {
        self.value
    }

    /// Whether an extension such as `x-kubernetes-int-or-string` is set.
    pub fn is(self, extension: &str) -> bool {
        self.get(extension).and_then(Value::as_bool).unwrap_or(false)
    }

    /// Whether anything may stand here.
    pub fn is_open(self) -> bool {
        self.is("x-kubernetes-preserve-unknown-fields")
            || self.value.as_object().is_none_or(|map| map.is_empty())
    }

    /// `object`, `array`, `string`, `integer`, `number` or `boolean`.
    pub fn kind(self) -> Option<&'a str> {
        self.get("type").and_then(Value::as_str)
    }

    /// The schema of a field, of one the mapping names or of any other.
    pub fn field(self, name: &str) -> Option<Schema<'a>> {
        if let Some(field) = self.get("properties").and_then(|fields| fields.get(name)) {
            return Some(Schema::of(field));
        }
        self.get("additionalProperties")
            .filter(|others| others.is_object())
            .map(Schema::of)
    }

    /// The names of the fields a mapping has.
    pub fn fields(self) -> impl Iterator<Item = &'a str> {
        self.get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(|fields| fields.keys().map(String::as_str))
    }

    /// The schema of a list's items.
    pub fn items(self) -> Option<Schema<'a>> {
        self.get("items").map(Schema::of)
    }

    /// The names of the fields that must be there.
    pub fn required(self) -> impl Iterator<Item = &'a str> {
        texts(self.get("required"))
    }

    /// How this list is merged.
    pub fn list_type(self) -> ListType<'a> {
        match self.get("x-kubernetes-list-type").and_then(Value::as_str) {
            Some("set") => ListType::Set,
            Some("map") => ListType::Map(texts(self.get("x-kubernetes-list-map-keys")).collect()),
            _ => ListType::Atomic,
        }
    }

    /// Whether this mapping is merged as a whole.
    pub fn is_atomic_map(self) -> bool {
        self.get("x-kubernetes-map-type").and_then(Value::as_str) == Some("atomic")
    }
}

fn texts(list: Option<&Value>) -> impl Iterator<Item = &str> {
    list.and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}
