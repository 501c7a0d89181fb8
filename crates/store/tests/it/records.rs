//! What becomes of records: put away, folded, learned from, and read from older layouts.

use std::sync::Arc;

use landfall_model::plan::Purpose;
use landfall_model::provider::Outcome;
use landfall_runner::{Journal as _, Place as _, When};
use landfall_store::{Durations, MemoryPlace, Store};

use crate::world::{
    TestClock, begin, chain, done, finished, lock, locked, names, note, plan, started, taker, words,
};

fn store() -> (MemoryPlace, Store, TestClock) {
    let place = MemoryPlace::default();
    (place.clone(), Store::over(Arc::new(place)), TestClock::new())
}

async fn put(place: &MemoryPlace, name: &str, text: &str) {
    place.write(name, text.as_bytes(), When::Always).await.unwrap();
}

fn kept(place: &MemoryPlace) -> String {
    names(&place.texts()).into_iter().collect::<Vec<_>>().join("\n")
}

#[tokio::test(start_paused = true)]
async fn a_finished_run_is_put_away_and_the_numbers_go_on() {
    let (place, store, clock) = store();
    let ada = locked(&store, &taker("ada@laptop", "a", &clock)).await;
    let records = [started("r1"), done("net.vpc", Outcome::Created, 10), finished()];
    begin(&ada, "r1", Purpose::Apply, &records).await;
    ada.settle().await.unwrap();
    ada.release().await.unwrap();
    insta::assert_snapshot!(kept(&place), @r"
    inventory.json
    journal/0000000004.json
    lease.json
    runs/r1/journal.jsonl
    runs/r1/plan.json
    ");
    insta::assert_snapshot!(place.texts()["runs/r1/journal.jsonl"], @r#"
    {"at":"2026-01-01T00:00:00Z","entry":"runStarted","run":"r1","plan":"plan","purpose":"apply"}
    {"at":"2026-01-01T00:00:00Z","entry":"stepDone","step":"net.vpc","outcome":"created","owned":{"step":"net.vpc","kind":"stack","address":{"id":"net.vpc"}},"tookMs":10}
    {"at":"2026-01-01T00:00:00Z","entry":"runFinished","succeeded":true}
    "#);
    insta::assert_snapshot!(place.texts()["inventory.json"], @r#"
    {
      "owned": [
        {
          "step": "net.vpc",
          "kind": "stack",
          "address": {
            "id": "net.vpc"
          }
        }
      ],
      "durations": {
        "network/vpc:create": {
          "count": 1,
          "meanMs": 10
        }
      },
      "lastRun": "r1",
      "through": 4
    }
    "#);
    let bob = locked(&store, &taker("bob@ci", "b", &clock)).await;
    begin(&bob, "r2", Purpose::Apply, &[started("r2")]).await;
    insta::assert_snapshot!(place.texts()["journal/0000000005.json"], @r#"{"epoch":2,"nonce":"b","entry":"epochOpened","at":"2026-01-01T00:00:00Z","holder":{"who":"bob@ci","machine":"ci","pid":7},"released":true}"#);
    insta::assert_snapshot!(place.texts()["journal/0000000006.json"], @r#"{"epoch":2,"nonce":"b","run":"r2","at":"2026-01-01T00:00:00Z","entry":"runStarted","plan":"plan","purpose":"apply"}"#);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_another_came_after_is_put_away_unfinished() {
    let (place, store, clock) = store();
    let ada = locked(&store, &taker("ada@laptop", "a", &clock)).await;
    begin(&ada, "r1", Purpose::Apply, &[started("r1"), note("1")]).await;
    ada.settle().await.unwrap();
    assert!(store.unfinished().await.unwrap().is_some());
    // A settle in the middle keeps its numbers, as it may be gone on with; `destroy` comes instead.
    begin(&ada, "r2", Purpose::Destroy, &[started("r2"), finished()]).await;
    ada.settle().await.unwrap();
    insta::assert_snapshot!(kept(&place), @r"
    inventory.json
    journal/0000000005.json
    lease.json
    runs/r1/journal.jsonl
    runs/r1/plan.json
    runs/r2/journal.jsonl
    runs/r2/plan.json
    ");
    assert!(store.unfinished().await.unwrap().is_none());
    let all = store.all_runs().await.unwrap();
    let all: Vec<_> = all
        .iter()
        .map(|run| (run.is_finished(), words(&run.records)))
        .collect();
    insta::assert_debug_snapshot!(all, @r#"
    [
        (
            false,
            [
                "runStarted",
                "1",
            ],
        ),
        (
            true,
            [
                "runStarted",
                "runFinished",
            ],
        ),
    ]
    "#);
}

#[tokio::test(start_paused = true)]
async fn durations_are_learned_and_recent_ones_weigh_more() {
    let (_, store, clock) = store();
    let ada = locked(&store, &taker("ada@laptop", "a", &clock)).await;
    let times: Vec<_> = [100; 20]
        .into_iter()
        .chain([200; 20])
        .map(|took| done("net.vpc", Outcome::Created, took))
        .collect();
    let mut journal = begin(&ada, "r1", Purpose::Apply, &[started("r1")]).await;
    let mut means = Vec::new();
    let plan = plan(Purpose::Apply);
    for record in &times {
        journal.append(record).await.unwrap();
        let inventory = store.inventory().await.unwrap();
        let learned = inventory.durations.of_step(&plan, &plan.steps[0]).unwrap();
        means.push(learned.mean_ms);
    }
    // Neither what was there already nor checks tell how long making something takes.
    journal
        .append(&done("net.dns", Outcome::Unchanged, 1))
        .await
        .unwrap();
    journal
        .append(&done("net.dns", Outcome::Passed, 1))
        .await
        .unwrap();
    insta::assert_snapshot!(format!("{:?}", &means[18..]), @"[100, 100, 113, 124, 134, 142, 149, 155, 161, 166, 170, 174, 177, 180, 183, 185, 187, 189, 190, 191, 192, 193]");
    let inventory = ada.settle().await.unwrap();
    insta::assert_debug_snapshot!(inventory.durations, @r#"
    Durations(
        {
            "network/vpc:create": Learned {
                count: 40,
                mean_ms: 193,
            },
        },
    )
    "#);
    assert_eq!(
        Durations::key(&plan, &plan.steps[0]).as_deref(),
        Some("network/vpc:create")
    );
}

#[tokio::test(start_paused = true)]
async fn what_others_made_is_forgotten_after_a_destroy_that_succeeded() {
    let (_, store, clock) = store();
    let owned = async |store: &Store| {
        let inventory = store.inventory().await.unwrap();
        let steps = inventory.owned.iter().map(|owned| owned.step.to_string());
        steps.collect::<Vec<_>>()
    };
    let ada = locked(&store, &taker("ada@laptop", "a", &clock)).await;
    let made = [
        done("net.vpc", Outcome::Created, 1),
        done("net.dns", Outcome::Adopted, 1),
        finished(),
    ];
    begin(&ada, "r1", Purpose::Apply, &made).await;
    ada.settle().await.unwrap();
    assert_eq!(owned(&store).await, ["net.dns", "net.vpc"]);
    let mut journal = begin(
        &ada,
        "r2",
        Purpose::Destroy,
        &[done("net.vpc", Outcome::Removed, 1)],
    )
    .await;
    assert_eq!(owned(&store).await, ["net.dns"]);
    journal.append(&finished()).await.unwrap();
    assert_eq!(owned(&store).await, Vec::<String>::new());
    assert_eq!(ada.settle().await.unwrap().owned, []);
}

/// As version 0.1 left it.
async fn old_layout(place: &MemoryPlace, last: &str) {
    let plan = serde_json::to_string(&plan(Purpose::Apply)).unwrap();
    let line = |record| serde_json::to_string(&record).unwrap();
    put(place, "runs/20260101-a/plan.json", &plan).await;
    let finished = [
        started("20260101-a"),
        done("net.vpc", Outcome::Created, 5),
        finished(),
    ];
    let text: String = finished.map(|record| line(record) + "\n").concat();
    put(place, "runs/20260101-a/journal.jsonl", &text).await;
    put(place, "inventory.json", r#"{ "owned": [] }"#).await;
    put(place, "runs/20260102-b/plan.json", &plan).await;
    put(place, "runs/20260102-b/journal.jsonl", last).await;
    // A plan that was kept right before the process died: nothing was done.
    put(place, "runs/20260103-c/plan.json", &plan).await;
}

#[tokio::test(start_paused = true)]
async fn an_older_layouts_unfinished_run_is_gone_on_with() {
    let (place, store, clock) = store();
    let line = |record| serde_json::to_string(&record).unwrap() + "\n";
    let whole = line(started("20260102-b")) + &line(done("net.dns", Outcome::Created, 5));
    // The last record was cut short when the process died.
    old_layout(&place, &format!("{whole}{}", &line(finished())[..10])).await;
    let past = store.unfinished().await.unwrap().unwrap();
    assert_eq!(past.run.0, "20260102-b");
    assert_eq!(words(&past.records), ["runStarted", "stepDone net.dns"]);
    assert_eq!(store.inventory().await.unwrap().owned.len(), 1);

    let ada = locked(&store, &taker("ada@laptop", "a", &clock)).await;
    ada.settle().await.unwrap();
    let mut journal = ada.go_on(&past.run);
    journal.append(&note("gone on")).await.unwrap();
    let words_now = ["runStarted", "stepDone net.dns", "gone on"];
    assert_eq!(words(&store.run(&past.run).await.unwrap().records), words_now);
    ada.settle().await.unwrap();
    assert_eq!(
        words(&store.unfinished().await.unwrap().unwrap().records),
        words_now
    );
    journal.append(&finished()).await.unwrap();
    ada.settle().await.unwrap();
    let records = store.last_run().await.unwrap().unwrap().records;
    assert_eq!(words(&records), [&words_now[..], &["runFinished"]].concat());
    insta::assert_snapshot!(kept(&place), @r"
    inventory.json
    journal/0000000003.json
    lease.json
    runs/20260101-a/journal.jsonl
    runs/20260101-a/plan.json
    runs/20260102-b/journal.jsonl
    runs/20260102-b/plan.json
    runs/20260103-c/plan.json
    ");
}

#[tokio::test(start_paused = true)]
async fn an_inventory_that_was_lost_is_made_anew_from_the_runs() {
    let (place, store, clock) = store();
    let ada = locked(&store, &taker("ada@laptop", "a", &clock)).await;
    for run in ["r1", "r2"] {
        let step = if run == "r1" { "net.vpc" } else { "net.dns" };
        let records = [started(run), done(step, Outcome::Created, 10), finished()];
        begin(&ada, run, Purpose::Apply, &records).await;
        ada.settle().await.unwrap();
    }
    begin(
        &ada,
        "r3",
        Purpose::Apply,
        &[started("r3"), done("net.vpc", Outcome::Updated, 20)],
    )
    .await;
    let before = store.inventory().await.unwrap();
    place.remove("inventory.json").await.unwrap();
    let after = store.inventory().await.unwrap();
    assert_eq!(after, before);
    assert_eq!(ada.settle().await.unwrap(), before);
}

#[tokio::test(start_paused = true)]
async fn spoilt_files_are_named() {
    let mut told = Vec::new();
    for (name, text) in [
        ("inventory.json", "{\n  \"owned\": 7\n}"),
        ("journal/0000000003.json", ""),
        (
            "journal/0000000003.json",
            "{\"epoch\":1,\"nonce\":\"a\",\"entry\":\"runResumed\",\"at\":\"\"}",
        ),
        ("runs/r1/plan.json", "{ \"format\": 99 }"),
        ("runs/r0/journal.jsonl", "{}\n"),
    ] {
        let (place, store, clock) = store();
        let ada = locked(&store, &taker("ada@laptop", "a", &clock)).await;
        begin(&ada, "r0", Purpose::Apply, &[started("r0"), finished()]).await;
        ada.settle().await.unwrap();
        begin(&ada, "r1", Purpose::Apply, &[started("r1"), note("1"), note("2")]).await;
        put(&place, name, text).await;
        let error = match store.all_runs().await {
            Err(error) => error,
            Ok(_) => store.inventory().await.unwrap_err(),
        };
        told.push(format!("{}\n  {}", chain(&error), error.way_out().unwrap_or("-")));
    }
    let (place, store, clock) = store();
    put(&place, "lease.json", "me").await;
    let error = lock(&store, &taker("ada@laptop", "a", &clock))
        .await
        .0
        .err()
        .unwrap();
    told.push(format!("{}\n  {}", chain(&error), error.way_out().unwrap_or("-")));
    // A record that somebody removed.
    place.remove("lease.json").await.unwrap();
    let ada = locked(&store, &taker("ada@laptop", "a", &clock)).await;
    ada.settle().await.unwrap();
    begin(&ada, "r1", Purpose::Apply, &[started("r1"), note("1"), note("2")]).await;
    place.remove("journal/0000000003.json").await.unwrap();
    let error = store.inventory().await.unwrap_err();
    told.push(format!("{}\n  {}", chain(&error), error.way_out().unwrap_or("-")));
    insta::assert_snapshot!(told.join("\n"), @r"
    memory/inventory.json does not hold what it should: invalid type: integer `7`, expected a sequence at line 2 column 12
      restore it from a copy, or move it away: it is made anew from what runs recorded
    memory/journal/0000000003.json does not hold what it should: EOF while parsing a value at line 1 column 0
      something other than Landfall changed it; restore it from a copy
    memory/journal/0000000003.json does not hold what it should: missing field `run`
      something other than Landfall changed it; restore it from a copy
    memory/runs/r1/plan.json has plan format 99; this version reads format 1. Make the plan again
      -
    memory/runs/r0/journal.jsonl does not hold what it should in line 1: missing field `at` at line 1 column 2
      something other than Landfall changed it; restore it from a copy
    memory/lease.json does not hold what it should: expected value at line 1 column 1
      make sure that nobody is changing this platform, then remove it: the records say who came last
    memory/journal/0000000003.json is missing, although later records are there
      something other than Landfall changed it; restore it from a copy
    ");
}
