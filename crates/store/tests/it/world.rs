//! Processes, plans and records to play with, in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use landfall_model::StepId;
use landfall_model::definition::StepKind;
use landfall_model::id::{PlanId, RunId};
use landfall_model::journal::{Entry, Record};
use landfall_model::plan::{Action, FORMAT, Plan, Purpose};
use landfall_model::provider::{Outcome, Outputs, Owned};
use landfall_runner::{Clock, Journal as _};
use landfall_store::{Error, Holder, Lock, RENEW, RunJournal, Store, Taker, Waiting};
use serde_json::json;
use tokio::time::Instant;

/// Virtual time, on a wall clock of its own that may be wrong.
#[derive(Clone)]
pub(crate) struct TestClock {
    began: Instant,
    wrong_by_ms: u64,
    stands_still: bool,
}

impl TestClock {
    pub(crate) fn new() -> TestClock {
        TestClock::wrong_by(0)
    }

    pub(crate) fn wrong_by(wrong_by_ms: u64) -> TestClock {
        TestClock {
            began: Instant::now(),
            wrong_by_ms,
            stands_still: false,
        }
    }

    /// Stands still, and never wakes who waits to renew.
    pub(crate) fn stopped(mut self) -> TestClock {
        self.stands_still = true;
        self
    }
}

impl Clock for TestClock {
    fn now(&self) -> String {
        let seconds = self.millis() / 1000;
        format!(
            "2026-01-01T{:02}:{:02}:{:02}Z",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        )
    }

    fn millis(&self) -> u64 {
        if self.stands_still {
            return self.wrong_by_ms;
        }
        self.wrong_by_ms + u64::try_from(self.began.elapsed().as_millis()).unwrap()
    }

    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        if self.stands_still && time == RENEW {
            return Box::pin(std::future::pending());
        }
        Box::pin(tokio::time::sleep(time))
    }
}

/// A process of a person at a machine.
pub(crate) fn taker(who: &str, nonce: &str, clock: &TestClock) -> Taker {
    Taker {
        holder: Holder {
            who: who.to_owned(),
            machine: who.split('@').next_back().unwrap().to_owned(),
            pid: 7,
        },
        nonce: nonce.to_owned(),
        clock: Arc::new(clock.clone()),
    }
}

/// Takes the platform, and tells what was said while waiting.
pub(crate) async fn lock(store: &Store, taker: &Taker) -> (Result<Lock, Error>, Vec<String>) {
    let said = Mutex::new(Vec::new());
    let tell = |waiting: &Waiting| said.lock().unwrap().push(waiting.to_string());
    let lock = store.lock(taker, &tell).await;
    (lock, said.into_inner().unwrap())
}

/// Takes the platform, which must work.
pub(crate) async fn locked(store: &Store, taker: &Taker) -> Lock {
    lock(store, taker).await.0.unwrap()
}

pub(crate) fn run_id(name: &str) -> RunId {
    RunId(name.to_owned())
}

/// A plan over a `net`, defined as `network`, with two steps.
pub(crate) fn plan(purpose: Purpose) -> Plan {
    let action = match purpose {
        Purpose::Apply => Action::Create,
        Purpose::Destroy => Action::Delete,
    };
    let step = |id: &str| json!({ "id": id, "kind": "stack", "action": action, "reason": "", "seen": "" });
    let plan = json!({
        "format": FORMAT,
        "id": "plan",
        "madeAt": "2026-01-01T00:00:00Z",
        "purpose": purpose,
        "wanted": {
            "facts": { "name": "acme", "account": "111122223333", "region": "us-east-1", "tags": {} },
            "components": { "net": { "uses": "network", "inputs": {}, "outputs": {} } },
            "steps": [],
            "contents": {},
        },
        "steps": [step("net.vpc"), step("net.dns")],
    });
    serde_json::from_value(plan).unwrap()
}

pub(crate) fn record(at: &str, entry: Entry) -> Record {
    Record {
        at: at.to_owned(),
        entry,
    }
}

/// A record that says nothing but its reason.
pub(crate) fn note(text: &str) -> Record {
    let reason = text.to_owned();
    record("2026-01-01T00:00:00Z", Entry::Paused { reason })
}

pub(crate) fn done(step: &str, outcome: Outcome, took_ms: u64) -> Record {
    let id: StepId = serde_json::from_value(json!(step)).unwrap();
    let mut owned = Owned::new(id.clone(), StepKind::Stack, json!({ "id": step }));
    owned.adopted = outcome == Outcome::Adopted;
    let entry = Entry::StepDone {
        step: id,
        outcome,
        outputs: Outputs::new(),
        owned: Some(owned).filter(|_| outcome != Outcome::Removed),
        notes: Vec::new(),
        landmarks: Vec::new(),
        took_ms,
    };
    record("2026-01-01T00:00:00Z", entry)
}

pub(crate) fn started(run: &str) -> Record {
    let entry = Entry::RunStarted {
        run: run_id(run),
        plan: PlanId("plan".to_owned()),
        purpose: Purpose::Apply,
    };
    record("2026-01-01T00:00:00Z", entry)
}

pub(crate) fn finished() -> Record {
    record("2026-01-01T00:00:00Z", Entry::RunFinished { succeeded: true })
}

/// Begins a run and adds these records to it.
pub(crate) async fn begin(lock: &Lock, run: &str, purpose: Purpose, records: &[Record]) -> RunJournal {
    let mut journal = lock.begin(&run_id(run), &plan(purpose)).await.unwrap();
    for record in records {
        journal.append(record).await.unwrap();
    }
    journal
}

/// What records say, a word or a reason each.
pub(crate) fn words(records: &[Record]) -> Vec<String> {
    let word = |record: &Record| match &record.entry {
        Entry::Paused { reason } => reason.clone(),
        entry => {
            let value = serde_json::to_value(entry).unwrap();
            let step = value
                .get("step")
                .map(|step| format!(" {}", step.as_str().unwrap()));
            format!("{}{}", value["entry"].as_str().unwrap(), step.unwrap_or_default())
        }
    };
    records.iter().map(word).collect()
}

/// An error with all its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// The numbered records as they lie there: number, epoch, and what they say.
pub(crate) fn numbered(texts: &BTreeMap<String, String>) -> String {
    let lines: Vec<String> = texts
        .iter()
        .filter_map(|(name, text)| {
            let number = name.strip_prefix("journal/")?.strip_suffix(".json")?;
            let line: serde_json::Value = serde_json::from_str(text).unwrap();
            let what = line["reason"].as_str().or(line["entry"].as_str()).unwrap();
            Some(format!(
                "{} epoch {} {what}",
                number.trim_start_matches('0'),
                line["epoch"]
            ))
        })
        .collect();
    lines.join("\n")
}

/// The names that are kept.
pub(crate) fn names(texts: &BTreeMap<String, String>) -> BTreeSet<&str> {
    texts.keys().map(String::as_str).collect()
}
