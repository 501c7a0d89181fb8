//! Carries out `request` steps: things that a web API keeps, brought to what a definition says.
//!
//! Reads before it writes, so doing it again changes nothing. Nothing is changed or removed that does not carry this
//! step's mark or lie inside of something that does. Secrets are read for the moment in which they are sent.

mod compare;
mod place;
pub(crate) mod reference;
mod session;
mod transport;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use landfall_model::StepId;
use landfall_model::definition::{RequestAuth, RequestCall, RequestLists, RequestResource, StepKind};
use landfall_model::id::Digest;
use landfall_model::provider::{
    Applied, Change, Effect, Failure, Observed, Outcome, Outputs, Owned, PropertyChange, Removed, Standing,
};
use landfall_model::work::{Known, RequestWork, Step, Work};
use landfall_runner::{ApplyError, Clock, Intent, ObserveError, Progress, Provider, SecretReader};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use place::Missing;
use session::{Session, Trouble};
pub use transport::{Answer, Http, Request, Transport, Unreached};

/// How long looking goes on while the answer is that it will pass: a plan should not wait.
const LOOK: Duration = Duration::from_secs(10);

/// Carries out `request` steps.
pub struct Requests {
    transport: Arc<dyn Transport>,
    secrets: Arc<dyn SecretReader>,
    clock: Arc<dyn Clock>,
    /// What was recorded of steps before: what is no longer asked for is found by it.
    remembered: Mutex<HashMap<StepId, Address>>,
}

/// How the things of a step are found again. Holds references, never secrets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Address {
    url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    auth: Option<RequestAuth>,
    within_s: u64,
    mark: String,
    resources: Vec<RequestResource>,
}

impl Address {
    fn of(owned: &Owned) -> Option<Address> {
        serde_json::from_value(owned.address.clone()).ok()
    }

    fn owned(&self, step: &StepId) -> Owned {
        let address = serde_json::to_value(self).expect("an address is plain data");
        Owned::new(step.clone(), StepKind::Request, address)
    }
}

/// A step with every value known.
struct Ready<'a> {
    url: &'a str,
    auth: Option<&'a RequestAuth>,
    resources: Vec<&'a RequestResource>,
    mark: String,
    within_s: u64,
}

/// How one thing stands.
#[derive(Clone, Debug, PartialEq)]
enum Stands {
    Absent,
    Here(Value),
    /// Somebody else's: it has another mark, or none.
    Theirs(Value),
}

impl Requests {
    /// Requests that go by `transport`, with secrets from `secrets`.
    pub fn new(
        transport: Arc<dyn Transport>,
        secrets: Arc<dyn SecretReader>,
        clock: Arc<dyn Clock>,
    ) -> Requests {
        Requests {
            transport,
            secrets,
            clock,
            remembered: Mutex::default(),
        }
    }

    fn session(
        &self,
        url: &str,
        auth: Option<&RequestAuth>,
        within: Duration,
    ) -> Result<Session<'_>, ApplyError> {
        Session::new(
            self.transport.as_ref(),
            Some(self.secrets.as_ref()),
            self.clock.as_ref(),
            url,
            auth.cloned(),
            within,
        )
    }

    fn before(&self, step: &StepId) -> Option<Address> {
        self.remembered
            .lock()
            .expect("nobody panics while holding memories")
            .get(step)
            .cloned()
    }

    /// Things of this step that were asked for before and are not any more.
    fn former(&self, step: &StepId, ready: &Ready<'_>) -> Vec<RequestResource> {
        let Some(before) = self.before(step) else {
            return Vec::new();
        };
        let key = |resource: &RequestResource| {
            (
                resource.path.clone(),
                resource.list.clone(),
                resource.r#match.clone(),
            )
        };
        let now: Vec<_> = ready.resources.iter().map(|resource| key(resource)).collect();
        before
            .resources
            .into_iter()
            .filter(|resource| !now.contains(&key(resource)))
            .collect()
    }

    /// Everything that stands of `resources`, in their order.
    async fn standing(
        session: &Session<'_>,
        resources: &[&RequestResource],
        mark: &str,
    ) -> Result<(Vec<Stands>, place::Known), Trouble> {
        let mut known = known(resources);
        let mut all = Vec::with_capacity(resources.len());
        for resource in resources {
            let stands = read(session, resource, mark, &known).await?;
            if let Stands::Here(value) | Stands::Theirs(value) = &stands {
                known.standing.insert(resource.name.clone(), value.clone());
            }
            all.push(stands);
        }
        Ok((all, known))
    }
}

fn known(resources: &[&RequestResource]) -> place::Known {
    place::Known {
        names: resources.iter().map(|resource| resource.name.clone()).collect(),
        ..place::Known::default()
    }
}

/// Reads one thing. What is named after something that does not stand does not stand either.
async fn read(
    session: &Session<'_>,
    resource: &RequestResource,
    mark: &str,
    known: &place::Known,
) -> Result<Stands, Trouble> {
    let found = match &resource.list {
        None => {
            let Ok(path) = place::text(&resource.path, None, known, true) else {
                return Ok(Stands::Absent);
            };
            session.find(&path).await?
        }
        Some(list) => {
            let Ok(list) = place::text(list, None, known, true) else {
                return Ok(Stands::Absent);
            };
            let Ok(wanted) = place::tree(&Value::Object(resource.r#match.clone()), None, known) else {
                return Ok(Stands::Absent);
            };
            let items = session.find(&list).await?;
            let item = items
                .as_ref()
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .find(|item| compare::fits(&wanted, item, RequestLists::Contain));
            match item {
                None => None,
                // What stands in a list and nowhere else.
                Some(item) if resource.path.is_empty() || Some(&resource.path) == resource.list.as_ref() => {
                    Some(item.clone())
                }
                Some(item) => match place::text(&resource.path, Some(item), known, true) {
                    Err(_) => None,
                    // All of it: lists often leave fields out.
                    Ok(path) => session.find(&path).await?,
                },
            }
        }
    };
    Ok(match found {
        None => Stands::Absent,
        Some(value) => match resource.mark.as_deref().filter(|_| !resource.keep) {
            Some(at) if !carries(&value, at, mark) => Stands::Theirs(value),
            _ => Stands::Here(value),
        },
    })
}

/// Whether a thing carries the mark. Some APIs keep every attribute as a list.
fn carries(value: &Value, at: &str, mark: &str) -> bool {
    match place::field_of(value, at) {
        Some(Value::String(text)) => text == mark,
        Some(Value::Array(items)) => items.iter().any(|item| item == mark),
        _ => false,
    }
}

/// The body a thing must have, the mark in it.
fn body(
    resource: &RequestResource,
    mark: &str,
    own: Option<&Value>,
    known: &place::Known,
) -> Result<Value, Missing> {
    let mut body = place::tree(&resource.body, own, known)?;
    if let Some(at) = resource.mark.as_deref().filter(|_| !resource.keep) {
        place::set(&mut body, at, Value::String(mark.to_owned()));
    }
    Ok(body)
}

/// The mark itself is what a thing is recognised by: it never differs, whatever form the API keeps it in.
fn differences(resource: &RequestResource, wanted: &Value, seen: &Value) -> Vec<PropertyChange> {
    let mark = resource.mark.as_deref().unwrap_or_default();
    let mark = mark.trim_start_matches('/').replace('/', ".");
    compare::differences(wanted, seen, resource.lists)
        .into_iter()
        .filter(|change| change.path != mark || mark.is_empty())
        .collect()
}

impl<'a> Ready<'a> {
    /// The step's work as far as it is known; nothing when it is not known where to ask.
    fn of(step: &'a Step) -> Option<(Ready<'a>, bool)> {
        Ready::at(step, None)
    }

    /// As [`Ready::of`]; where the API is may come from what was remembered, when other steps have yet to say it.
    fn at(step: &'a Step, before: Option<&'a Address>) -> Option<(Ready<'a>, bool)> {
        let work = work(step);
        let (url, auth) = match (&work.url, &work.auth, before) {
            (Known::Value(url), Known::Value(auth), _) => (url, auth),
            (_, _, Some(before)) => (&before.url, &before.auth),
            _ => return None,
        };
        let resources: Vec<&RequestResource> = work
            .resources
            .iter()
            .filter_map(|resource| resource.spec.value().map(AsRef::as_ref))
            .collect();
        let complete = resources.len() == work.resources.len();
        Some((
            Ready {
                url,
                auth: auth.as_ref(),
                resources,
                mark: format!("{}/{}", step.facts.name, step.id),
                within_s: work.within_s,
            },
            complete,
        ))
    }

    fn address(&self) -> Address {
        let resources = self.resources.iter().map(|resource| RequestResource {
            // What it takes to find and to remove it.
            create: None,
            update: None,
            body: Value::Null,
            outputs: indexmap::IndexMap::new(),
            ..(*resource).clone()
        });
        Address {
            url: self.url.to_owned(),
            auth: self.auth.cloned(),
            within_s: self.within_s,
            mark: self.mark.clone(),
            resources: resources.collect(),
        }
    }

    fn outputs(&self, known: &place::Known) -> Outputs {
        let mut outputs = Outputs::new();
        for resource in &self.resources {
            let value = known.standing.get(&resource.name);
            for (name, path) in &resource.outputs {
                if let Some(field) = value.and_then(|value| place::field_of(value, path)) {
                    outputs.insert(name.clone(), field.clone());
                }
            }
        }
        outputs
    }
}

fn work(step: &Step) -> &RequestWork {
    match &step.work {
        Work::Request(work) => work,
        other => unreachable!("requests are only given request steps, not {other:?}"),
    }
}

fn theirs(resource: &RequestResource, url: &str) -> String {
    format!(
        "`{}` stands at {} and does not carry this step's mark in `{}`; remove it or give this one another name",
        resource.name,
        crate::http::shown(url),
        resource.mark.as_deref().unwrap_or_default(),
    )
}

fn observing(doing: String, trouble: Trouble) -> ObserveError {
    let expired = matches!(trouble, Trouble::Other(ApplyError::CredentialsExpired(_)));
    let way_out = match &trouble {
        Trouble::Other(ApplyError::Failed(failure)) => failure.way_out.clone(),
        Trouble::Refused(refusal) if refusal.status == 401 || refusal.status == 400 => {
            Some("check the user and the secret under `auth`".to_owned())
        }
        _ => None,
    };
    ObserveError {
        way_out,
        expired,
        ..ObserveError::new(doing, trouble.short())
    }
}

#[async_trait]
impl Provider for Requests {
    fn remember(&self, owned: &[Owned]) {
        let mut remembered = self
            .remembered
            .lock()
            .expect("nobody panics while holding memories");
        for owned in owned.iter().filter(|owned| owned.kind == StepKind::Request) {
            if let Some(address) = Address::of(owned) {
                remembered.insert(owned.step.clone(), address);
            }
        }
    }

    async fn observe(&self, step: &Step) -> Result<Observed, ObserveError> {
        let before = self.before(&step.id);
        let Some((ready, complete)) = Ready::at(step, before.as_ref()) else {
            return Ok(Observed::absent());
        };
        let doing = || format!("could not look at what {} keeps", crate::http::shown(ready.url));
        if let Some(before) = before.as_ref().filter(|before| before.url != ready.url) {
            return Ok(Observed {
                standing: Standing::Foreign {
                    why: format!(
                        "its things stand at {}, and cannot move to {}; put the address back, or take the step out of the \
                         file, apply, and add it again",
                        crate::http::shown(&before.url),
                        crate::http::shown(ready.url)
                    ),
                },
                ..Observed::absent()
            });
        }
        let session = self
            .session(ready.url, ready.auth, LOOK)
            .map_err(|error| observing(doing(), Trouble::Other(error)))?;
        let (all, known) = match Self::standing(&session, &ready.resources, &ready.mark).await {
            Ok(standing) => standing,
            // The server comes with an earlier step, or is being started: nothing of ours can be seen in it.
            Err(trouble) if trouble.is_absence() => return Ok(Observed::absent()),
            Err(trouble) => return Err(observing(doing(), trouble)),
        };
        let theirs_first = ready
            .resources
            .iter()
            .zip(&all)
            .find(|(_, stands)| matches!(stands, Stands::Theirs(_)));
        if let Some((resource, _)) = theirs_first {
            return Ok(Observed {
                standing: Standing::Foreign {
                    why: theirs(resource, ready.url),
                },
                ..Observed::absent()
            });
        }
        let here = all
            .iter()
            .filter(|stands| matches!(stands, Stands::Here(_)))
            .count();
        let former = self.former(&step.id, &ready);
        // While values are missing, what is not known yet looks like what is not asked for any more.
        if here == 0 && (former.is_empty() || !complete) {
            return Ok(Observed::absent());
        }
        let state = if complete && here == all.len() {
            "STANDS".to_owned()
        } else {
            format!("{here} OF {}", work(step).resources.len())
        };
        let mut address = ready.address();
        address.resources.extend(former);
        Ok(Observed {
            fingerprint: format!("{state}@{}", fingerprint(&ready, &all, &known)),
            standing: Standing::Present { state },
            outputs: ready.outputs(&known),
            owned: Some(address.owned(&step.id)),
        })
    }

    async fn preview(&self, step: &Step, _: &Observed) -> Result<Vec<Change>, ObserveError> {
        let Some((ready, _)) = Ready::of(step) else {
            return Ok(Vec::new());
        };
        let doing = || format!("could not look at what {} keeps", crate::http::shown(ready.url));
        let failed = |trouble| observing(doing(), trouble);
        let session = self
            .session(ready.url, ready.auth, LOOK)
            .map_err(|error| failed(Trouble::Other(error)))?;
        let (all, known) = Self::standing(&session, &ready.resources, &ready.mark)
            .await
            .map_err(failed)?;
        let change = |effect, resource: &RequestResource, properties| Change {
            effect,
            subject: resource.name.clone(),
            kind: String::new(),
            properties,
        };
        let mut changes = Vec::new();
        for (resource, stands) in ready.resources.iter().zip(&all) {
            let seen = match stands {
                Stands::Absent => {
                    changes.push(change(Effect::Add, resource, Vec::new()));
                    continue;
                }
                Stands::Here(seen) | Stands::Theirs(seen) => seen,
            };
            let properties = match body(resource, &ready.mark, Some(seen), &known) {
                Ok(wanted) => differences(resource, &wanted, seen),
                // What it mentions is made in the same run.
                Err(Missing(name)) => vec![PropertyChange {
                    path: format!("whatever comes of {name}"),
                    before: None,
                    after: None,
                    replaces: false,
                }],
            };
            if !properties.is_empty() {
                changes.push(change(Effect::Modify, resource, properties));
            }
        }
        let former = self.former(&step.id, &ready);
        let gone: Vec<&RequestResource> = former.iter().filter(|resource| !resource.keep).collect();
        let mut known = known;
        known
            .names
            .extend(gone.iter().map(|resource| resource.name.clone()));
        for resource in gone {
            if let Stands::Here(value) = read(&session, resource, &ready.mark, &known)
                .await
                .map_err(failed)?
            {
                known.standing.insert(resource.name.clone(), value);
                changes.push(change(Effect::Remove, resource, Vec::new()));
            }
        }
        Ok(changes)
    }

    /// An API cannot be asked what it keeps for a platform without knowing its address: that is remembered.
    async fn owned(&self, _: &str) -> Result<Vec<Owned>, ObserveError> {
        Ok(Vec::new())
    }

    async fn stands(&self, owned: &Owned) -> Result<bool, ObserveError> {
        let Some(address) = Address::of(owned) else {
            return Ok(false);
        };
        let doing = || {
            format!(
                "could not look at what {} keeps",
                crate::http::shown(&address.url)
            )
        };
        let session = self
            .session(&address.url, address.auth.as_ref(), LOOK)
            .map_err(|error| observing(doing(), Trouble::Other(error)))?;
        let resources: Vec<&RequestResource> = address.resources.iter().collect();
        match Self::standing(&session, &resources, &address.mark).await {
            Ok((all, _)) => Ok(all.iter().any(|stands| matches!(stands, Stands::Here(_)))),
            // What nobody can be asked about is taken to stand, until somebody says otherwise.
            Err(trouble) if trouble.is_absence() => Ok(true),
            Err(trouble) => Err(observing(doing(), trouble)),
        }
    }

    async fn apply(&self, step: &Step, _: &Intent, progress: &Progress) -> Result<Applied, ApplyError> {
        let Some((ready, true)) = Ready::of(step) else {
            return Err(ApplyError::failed(format!(
                "`{}` has values that are not known",
                step.id
            )));
        };
        let mut session = self.session(ready.url, ready.auth, Duration::from_secs(ready.within_s))?;
        session.progress = Some(progress);
        let mut known = known(&ready.resources);
        let (mut made, mut changed) = (0, 0);
        // Whether the first of them was: what the others lie in, as a rule.
        let mut anew = false;
        for (at, resource) in ready.resources.iter().enumerate() {
            progress.count(at, ready.resources.len(), resource.name.clone());
            let doing = format!("bringing about `{}`", resource.name);
            let failing = |trouble: Trouble| trouble.failing(&doing, self.clock.now());
            let missing = |Missing(name): Missing| {
                ApplyError::from(
                    Failure::new(format!(
                        "{doing} failed: `{name}`, which it mentions, does not stand"
                    ))
                    .way_out("put what is mentioned above what mentions it"),
                )
            };
            match read(&session, resource, &ready.mark, &known)
                .await
                .map_err(failing)?
            {
                Stands::Theirs(_) => return Err(Failure::new(theirs(resource, ready.url)).into()),
                Stands::Absent => {
                    let value = self.create(&session, resource, &ready.mark, &known).await?;
                    known.standing.insert(resource.name.clone(), value);
                    made += 1;
                    anew |= at == 0;
                }
                Stands::Here(seen) => {
                    let wanted = body(resource, &ready.mark, Some(&seen), &known).map_err(missing)?;
                    if differences(resource, &wanted, &seen).is_empty() {
                        known.standing.insert(resource.name.clone(), seen);
                        continue;
                    }
                    let call = resource.update.clone().unwrap_or_default();
                    let path = call.path.as_deref().unwrap_or(&resource.path);
                    let path = place::text(path, Some(&seen), &known, true).map_err(missing)?;
                    let method = call.method.as_deref().unwrap_or("PUT");
                    let sent = match (&call.body, method) {
                        (Value::Null, "PUT") => compare::merged(&seen, &wanted, resource.lists),
                        (Value::Null, _) => wanted,
                        (other, _) => place::tree(other, Some(&seen), &known).map_err(missing)?,
                    };
                    session.ask(method, &path, Some(&sent)).await.map_err(failing)?;
                    let value = read(&session, resource, &ready.mark, &known)
                        .await
                        .map_err(failing)?;
                    if let Stands::Here(value) = value {
                        known.standing.insert(resource.name.clone(), value);
                    }
                    changed += 1;
                }
            }
        }
        let former = self.former(&step.id, &ready);
        let gone: Vec<&RequestResource> = former.iter().collect();
        known
            .names
            .extend(gone.iter().map(|resource| resource.name.clone()));
        let mut notes = Vec::new();
        let cleared = delete(&session, &gone, &ready.mark, known, &mut notes, &self.clock.now()).await?;
        let (cleared, known) = cleared;
        let address = ready.address();
        let owned = address.owned(&step.id);
        self.remembered
            .lock()
            .expect("nobody panics while holding memories")
            .insert(step.id.clone(), address);
        Ok(Applied {
            outcome: match made + changed + cleared {
                0 => Outcome::Unchanged,
                _ if anew => Outcome::Created,
                _ => Outcome::Updated,
            },
            outputs: ready.outputs(&known),
            owned: Some(owned),
            notes,
        })
    }

    async fn remove(&self, owned: &Owned, _: &Intent, progress: &Progress) -> Result<Removed, ApplyError> {
        let Some(address) = Address::of(owned) else {
            return Err(ApplyError::failed(format!(
                "what was recorded of `{}` does not say where its things are",
                owned.step
            )));
        };
        let within = Duration::from_secs(address.within_s);
        let mut session = self.session(&address.url, address.auth.as_ref(), within)?;
        session.progress = Some(progress);
        let resources: Vec<&RequestResource> = address.resources.iter().collect();
        let mut kept = Vec::new();
        let known = known(&resources);
        match delete(
            &session,
            &resources,
            &address.mark,
            known,
            &mut kept,
            &self.clock.now(),
        )
        .await
        {
            Ok(_) => Ok(Removed { kept }),
            Err(Undone::NoServer(place)) => Ok(Removed {
                kept: vec![format!(
                    "{place} could not be asked any more, there is no such name; what it kept is taken to be gone with it"
                )],
            }),
            Err(Undone::Failed(error)) => Err(error),
        }
    }
}

/// Why things were not removed.
enum Undone {
    /// Their server's name does not exist any more.
    NoServer(String),
    Failed(ApplyError),
}

impl From<Undone> for ApplyError {
    fn from(undone: Undone) -> ApplyError {
        match undone {
            Undone::NoServer(place) => {
                ApplyError::failed(format!("{place} does not answer: there is no such name"))
            }
            Undone::Failed(error) => error,
        }
    }
}

/// Removes things, the last first. Says how many; what is left in place is noted.
async fn delete(
    session: &Session<'_>,
    resources: &[&RequestResource],
    mark: &str,
    mut known: place::Known,
    notes: &mut Vec<String>,
    now: &str,
) -> Result<(usize, place::Known), Undone> {
    let undone = |doing: &str, trouble: Trouble| match &trouble {
        Trouble::Unreached { place, unreached } if unreached.no_such_name => Undone::NoServer(place.clone()),
        _ => Undone::Failed(trouble.failing(doing, now.to_owned())),
    };
    let mut standing: Vec<(&RequestResource, Value)> = Vec::new();
    let mut foreign: Vec<&RequestResource> = Vec::new();
    for resource in resources {
        // What lies inside of something that is not ours is not ours.
        if foreign.iter().any(|theirs| resource.is_inside(theirs)) {
            continue;
        }
        let doing = format!("looking at `{}`", resource.name);
        let stands = read(session, resource, mark, &known)
            .await
            .map_err(|trouble| undone(&doing, trouble))?;
        match stands {
            Stands::Absent => {}
            Stands::Theirs(_) => {
                notes.push(format!(
                    "`{}` does not carry this step's mark, and is left in place",
                    resource.name
                ));
                foreign.push(resource);
            }
            Stands::Here(value) => {
                known.standing.insert(resource.name.clone(), value.clone());
                standing.push((resource, value));
            }
        }
    }
    let mut count = 0;
    for (at, (resource, value)) in standing.iter().enumerate().rev() {
        if resource.keep {
            // It goes with what it lies in; otherwise people should know that it is still there.
            if !standing[..at]
                .iter()
                .any(|(other, _)| !other.keep && resource.is_inside(other))
            {
                notes.push(format!("`{}` is kept", resource.name));
            }
            continue;
        }
        let RequestCall { method, path, body } = resource.delete.clone().unwrap_or_default();
        let path = path.unwrap_or_else(|| resource.path.clone());
        let (Ok(path), Ok(body)) = (
            place::text(&path, Some(value), &known, true),
            place::tree(&body, Some(value), &known),
        ) else {
            continue;
        };
        let body = Some(&body).filter(|body| !body.is_null());
        let doing = format!("removing `{}`", resource.name);
        match session
            .ask(method.as_deref().unwrap_or("DELETE"), &path, body)
            .await
        {
            Ok(_) => count += 1,
            Err(Trouble::Refused(refusal)) if matches!(refusal.status, 404 | 410) => {}
            Err(trouble) => return Err(undone(&doing, trouble)),
        }
    }
    Ok((count, known))
}

impl Requests {
    /// Makes a thing and reads what came of it. When an answer is lost, it looks before it tries again: many APIs make
    /// a second one without a word.
    async fn create(
        &self,
        session: &Session<'_>,
        resource: &RequestResource,
        mark: &str,
        known: &place::Known,
    ) -> Result<Value, ApplyError> {
        let doing = format!("making `{}`", resource.name);
        let failing = |trouble: Trouble| trouble.failing(&doing, self.clock.now());
        let missing = |Missing(name): Missing| {
            ApplyError::from(
                Failure::new(format!(
                    "{doing} failed: `{name}`, which it mentions, does not stand"
                ))
                .way_out("put what is mentioned above what mentions it"),
            )
        };
        let call = resource.create.clone().unwrap_or_default();
        let path = call.path.as_deref().unwrap_or(&resource.path);
        let path = place::text(path, None, known, true).map_err(missing)?;
        let only_then = place::tree(&call.body, None, known).map_err(missing)?;
        let always = body(resource, mark, None, known).map_err(missing)?;
        let sent = if only_then.is_null() {
            always
        } else {
            compare::merged(&always, &only_then, resource.lists)
        };
        let method = call.method.as_deref().unwrap_or("PUT");
        for attempt in 0.. {
            let refused = match session.once(method, &path, Some(&sent)).await {
                Ok(_) => None,
                Err(trouble) if trouble.passes() => {
                    if !session.waited(attempt, &path, &trouble).await {
                        return Err(failing(trouble));
                    }
                    Some(trouble)
                }
                // An earlier try made it, whose answer was lost.
                Err(Trouble::Refused(refusal)) if refusal.status == 409 => Some(Trouble::Refused(refusal)),
                Err(trouble) => return Err(failing(trouble)),
            };
            match read(session, resource, mark, known).await.map_err(failing)? {
                Stands::Here(value) => return Ok(value),
                Stands::Theirs(_) => return Err(Failure::new(theirs(resource, session.base.as_str())).into()),
                Stands::Absent => match refused {
                    Some(trouble) if trouble.passes() => {}
                    Some(trouble) => return Err(failing(trouble)),
                    None => {
                        return Err(Failure::new(format!(
                            "`{}` was made, and cannot be found where it should be",
                            resource.name
                        ))
                        .way_out("check `path`, or `list` and `match`: they must lead to what `create` makes")
                        .into());
                    }
                },
            }
        }
        unreachable!("attempts are counted without an end")
    }
}

/// Changes when any field does that is looked at.
fn fingerprint(ready: &Ready<'_>, all: &[Stands], known: &place::Known) -> String {
    let mut text = String::new();
    for (resource, stands) in ready.resources.iter().zip(all) {
        text.push_str(&resource.name);
        if let Stands::Here(seen) = stands {
            let wanted = body(resource, &ready.mark, Some(seen), known).unwrap_or_default();
            text.push_str(&looked_at(&wanted, seen).to_string());
        }
        text.push('\n');
    }
    Digest::of(&text).0[..16].to_owned()
}

/// The part of what stands that is compared.
fn looked_at(wanted: &Value, seen: &Value) -> Value {
    match (wanted, seen) {
        (Value::String(text), _) if reference::has_reference(text) => Value::Null,
        (Value::Object(wanted), seen) => Value::Object(
            wanted
                .iter()
                .map(|(key, wanted)| {
                    let seen = seen.get(key).unwrap_or(&Value::Null);
                    (key.clone(), looked_at(wanted, seen))
                })
                .collect(),
        ),
        (_, seen) => seen.clone(),
    }
}
