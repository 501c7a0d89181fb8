//! Says what is wrong with an object before a cluster sees it: misspelt fields, wrong types, and what the API refuses
//! although the shape is right.
//!
//! Only what surely is wrong is said. A text that contains `${` is a value that is not known yet, and fits everywhere; a
//! kind nobody here has heard of is let pass.

mod pods;
mod shape;
mod text;
mod traps;

use serde_json::Value;

use crate::Kind;

/// One thing that is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: the keys and list indexes that lead there, as text. What is missing is missing in what the path leads to.
    pub path: Vec<String>,
    /// What is wrong.
    pub message: String,
    /// The way out, when there is one to say.
    pub help: Option<String>,
    /// Whether a cluster surely refuses or drops it. What only looks like a slip is worth a warning.
    pub is_sure: bool,
}

/// What is wrong with an object.
pub fn check(object: &Value) -> Vec<Problem> {
    let text = |field: &str| object[field].as_str().filter(|text| !is_unknown(text));
    let (Some(version), Some(name)) = (text("apiVersion"), text("kind")) else {
        return Vec::new();
    };
    let mut found = Found::default();
    match crate::find(version, name) {
        Some(kind) => of_kind(kind, object, &mut found),
        None => unheard_of(version, name, &mut found),
    }
    found.problems
}

/// Whether a text is a value that is not known yet.
fn is_unknown(text: &str) -> bool {
    text.contains("${")
}

/// The problems found so far.
#[derive(Default)]
struct Found {
    problems: Vec<Problem>,
    /// Whether the schema may lack fields: controllers bring new ones, and those of custom kinds were written down by us.
    may_lack: bool,
}

impl Found {
    fn add(&mut self, path: &Path<'_>, message: impl Into<String>, help: Option<String>) {
        self.problems.push(Problem {
            path: path.texts(),
            message: message.into(),
            help,
            is_sure: true,
        });
    }

    /// What is wrong unless the schema lacks something.
    fn add_unless_lacking(
        &mut self,
        path: &Path<'_>,
        message: impl Into<String>,
        help: Option<String>,
        is_slip: bool,
    ) {
        self.add(path, message, help);
        if let Some(problem) = self.problems.last_mut() {
            problem.is_sure = is_slip || !self.may_lack;
        }
    }
}

/// Where a walk through an object stands: a chain back to its root.
#[derive(Clone, Copy)]
enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl Path<'_> {
    fn texts(&self) -> Vec<String> {
        match self {
            Path::Root => Vec::new(),
            Path::Key(before, key) => with(before.texts(), (*key).to_owned()),
            Path::Index(before, index) => with(before.texts(), index.to_string()),
        }
    }

    /// What to call the place: its last key.
    fn last(&self) -> String {
        match self {
            Path::Root => "the object".to_owned(),
            Path::Key(_, key) => format!("`{key}`"),
            Path::Index(before, _) => format!("an item of {}", before.last()),
        }
    }
}

fn with(mut texts: Vec<String>, last: String) -> Vec<String> {
    texts.push(last);
    texts
}

fn of_kind(kind: &Kind, object: &Value, found: &mut Found) {
    let is_builtin = kind.group.is_empty() || crate::core().iter().any(|one| one.group == kind.group);
    found.may_lack = !is_builtin;
    for (field, value) in object.as_object().into_iter().flatten() {
        // A status is written by controllers; in a manifest the server drops it.
        if field != "status" {
            shape::field(kind.root(), &kind.kind, field, value, &Path::Root, found);
        }
    }
    shape::missing(kind.root(), object, &Path::Root, found);
    text::metadata(kind, object, found);
    if is_builtin {
        traps::builtin(kind, object, found);
    } else {
        traps::custom(kind, object, found);
    }
}

/// A kind that is not known in this version: a slip, when something very like it is.
fn unheard_of(version: &str, name: &str, found: &mut Found) {
    let group = version.split_once('/').map_or("", |(group, _)| group);
    let same_name: Vec<&Kind> = crate::named(name).collect();
    let builtin: Vec<&Kind> = crate::core().iter().filter(|kind| kind.group == group).collect();
    let was = [
        "extensions",
        "apps",
        "batch",
        "networking.k8s.io",
        "policy",
        "autoscaling",
    ];
    if let Some(right) = same_name.iter().find(|kind| {
        let is_core = crate::core().iter().any(|one| one.group == kind.group);
        is_core && (!builtin.is_empty() || was.contains(&group) || group.is_empty())
    }) {
        let version_now = right.api_version();
        found.add(
            &Path::Key(&Path::Root, "apiVersion"),
            format!("there is no {name} in `{version}`"),
            Some(format!("write `apiVersion: {version_now}`")),
        );
        return;
    }
    let is_served = builtin.iter().any(|kind| kind.api_version() == version);
    if is_served {
        let known: Vec<&str> = builtin.iter().map(|kind| kind.kind.as_str()).collect();
        found.add(
            &Path::Key(&Path::Root, "kind"),
            format!("`{version}` has no kind `{name}`"),
            text::nearest(name, known.into_iter()).map(|near| format!("did you mean `{near}`?")),
        );
        return;
    }
    if let Some(right) = same_name.iter().find(|kind| {
        let distance = strsim::damerau_levenshtein(&kind.group, group);
        distance > 0 && distance <= 2
    }) {
        let problem = Problem {
            path: vec!["apiVersion".to_owned()],
            message: format!("no {name} is known in the group `{group}`"),
            help: Some(format!("did you mean `{}`?", right.api_version())),
            is_sure: false,
        };
        found.problems.push(problem);
    }
}
