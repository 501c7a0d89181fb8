//! Selecting objects by labels and by fields.

use serde_json::Value;

use crate::served::Served;
use crate::status::Status;

/// What is asked of one label or field.
#[derive(Clone, Debug, PartialEq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

impl Test {
    fn fits(&self, value: Option<&str>) -> bool {
        match self {
            Test::In(values) => value.is_some_and(|value| values.iter().any(|it| it == value)),
            Test::NotIn(values) => !value.is_some_and(|value| values.iter().any(|it| it == value)),
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
        }
    }
}

/// What a list or a watch selects.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Selection {
    labels: Vec<(String, Test)>,
    fields: Vec<(String, Test)>,
}

impl Selection {
    /// Reads `labelSelector` and `fieldSelector` of a request.
    pub(crate) fn read(labels: &str, fields: &str, served: &Served) -> Result<Selection, Status> {
        let labels = read_labels(labels)
            .map_err(|why| Status::bad_request(format!("unable to parse requirement: {why}")))?;
        let mut tests = Vec::new();
        for part in fields.split(',').filter(|part| !part.is_empty()) {
            let (field, test) = read_field(part)
                .ok_or_else(|| Status::bad_request(format!("invalid field selector: {part:?}")))?;
            if !selectable(served, &field) {
                return Err(Status::bad_request(format!(
                    "Unable to find {:?} that match label selector \"\", field selector {fields:?}: field \
                     label not supported: {field}",
                    served.api_version()
                )));
            }
            tests.push((field, test));
        }
        Ok(Selection {
            labels,
            fields: tests,
        })
    }

    /// Whether an object is selected.
    pub(crate) fn takes(&self, object: &Value) -> bool {
        self.labels.iter().all(|(label, test)| {
            let value = object
                .get("metadata")
                .and_then(|metadata| metadata.get("labels"))
                .and_then(|labels| labels.get(label))
                .and_then(Value::as_str);
            test.fits(value)
        }) && self.fields.iter().all(|(field, test)| {
            // Fields that are not set count as empty.
            test.fits(Some(&field_value(object, field)))
        })
    }
}

fn read_field(part: &str) -> Option<(String, Test)> {
    let (field, test): (&str, fn(Vec<String>) -> Test) = if part.contains("!=") {
        ("!=", Test::NotIn)
    } else if part.contains("==") {
        ("==", Test::In)
    } else {
        ("=", Test::In)
    };
    let (name, value) = part.split_once(field)?;
    Some((name.trim().to_owned(), test(vec![value.trim().to_owned()])))
}

fn selectable(served: &Served, field: &str) -> bool {
    if matches!(field, "metadata.name" | "metadata.namespace") {
        return true;
    }
    let fields: &[&str] = match (served.group.as_str(), served.kind.as_str()) {
        ("", "Pod") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        ("", "Event") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("events.k8s.io", "Event") => &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "reason",
            "reportingController",
            "type",
        ],
        ("", "Secret") => &["type"],
        ("", "Namespace") => &["status.phase"],
        ("", "Node") => &["spec.unschedulable"],
        ("", "ReplicationController") | ("apps", "ReplicaSet") => &["status.replicas"],
        ("batch", "Job") => &["status.successful"],
        _ => &[],
    };
    fields.contains(&field)
}

fn field_value(object: &Value, field: &str) -> String {
    // Who reported an event stands in one of two places.
    let field = if field == "source" {
        "source.component"
    } else {
        field
    };
    match object.pointer(&format!("/{}", field.replace('.', "/"))) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) if field == "spec.unschedulable" => "false".to_owned(),
        None | Some(Value::Null) => String::new(),
        Some(other) => other.to_string(),
    }
}

/// Reads `a=b,c in (d,e),!f`.
fn read_labels(text: &str) -> Result<Vec<(String, Test)>, String> {
    split_outside_brackets(text)
        .into_iter()
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(read_label)
        .collect()
}

fn split_outside_brackets(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut from, mut depth) = (0, 0_usize);
    for (place, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[from..place]);
                from = place + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

fn read_label(part: &str) -> Result<(String, Test), String> {
    let one = |value: &str| vec![value.trim().to_owned()];
    if let Some(name) = part.strip_prefix('!') {
        return Ok((name.trim().to_owned(), Test::Absent));
    }
    for (word, test) in [
        (" notin ", Test::NotIn as fn(Vec<String>) -> Test),
        (" in ", Test::In),
    ] {
        // `a in(b)` is allowed too, so a bracket ends the word as a blank does.
        let spaced = part.replacen('(', " (", 1);
        if let Some((name, values)) = spaced.split_once(word) {
            let values = values
                .trim()
                .strip_prefix('(')
                .and_then(|values| values.strip_suffix(')'))
                .ok_or_else(|| format!("found {part:?}, expected: '('"))?;
            let values = values.split(',').map(|value| value.trim().to_owned()).collect();
            return Ok((name.trim().to_owned(), test(values)));
        }
    }
    if let Some((name, value)) = part.split_once("!=") {
        return Ok((name.trim().to_owned(), Test::NotIn(one(value))));
    }
    if let Some((name, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Ok((name.trim().to_owned(), Test::In(one(value))));
    }
    if part.contains(char::is_whitespace) {
        return Err(format!("found {part:?}, expected: an operator"));
    }
    Ok((part.to_owned(), Test::Exists))
}

/// Whether labels fit a `LabelSelector` object.
pub(crate) fn label_selector_fits(selector: &Value, labels: &Value) -> bool {
    let label = |name: &str| labels.get(name).and_then(Value::as_str);
    let equal = selector.get("matchLabels").and_then(Value::as_object);
    let equal = equal
        .into_iter()
        .flatten()
        .all(|(name, value)| label(name) == value.as_str());
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    equal
        && expressions.into_iter().flatten().all(|expression| {
            let text = |field: &str| expression.get(field).and_then(Value::as_str).unwrap_or_default();
            let values = expression
                .get("values")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect();
            let test = match text("operator") {
                "In" => Test::In(values),
                "NotIn" => Test::NotIn(values),
                "Exists" => Test::Exists,
                _ => Test::Absent,
            };
            test.fits(label(text("key")))
        })
}
