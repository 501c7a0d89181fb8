//! What an operator reads when something goes wrong, one report for each way it can: each names what failed, the
//! resource it began with, why, and a way out; and that way leads out. What passes by itself must not end a run.

#[path = "reports/cases.rs"]
mod cases;
#[path = "reports/platforms.rs"]
mod platforms;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::future::Future;
use std::time::Duration;

use landfall_sim::Fault;
use landfall_swarm::{Outcome, Platform, Scene};

use cases::{cases, passing};

/// The seed of every world here: what differs between two reports is the fault.
const SEED: u64 = 7;
/// How many reports are promised.
const PROMISED: usize = 50;

/// One way in which a run ends badly.
struct Case {
    name: &'static str,
    platform: Platform,
    /// What was applied, and went well, before; none when nothing stands.
    stands: Option<Platform>,
    /// Log groups somebody else has made.
    log_groups: Vec<&'static str>,
    command: Command,
    faults: Vec<Fault>,
    /// What the cause says.
    says: String,
    /// The resource it began with.
    resource: &'static str,
    then: Then,
}

#[derive(Clone, Copy, PartialEq)]
enum Command {
    Apply,
    Destroy,
    /// A teardown that fails, and an apply after it.
    DestroyThenApply,
}

/// What the operator does who has read the report; then the command is run again, and succeeds.
enum Then {
    /// Mends what the reason names: nothing goes wrong any more.
    Mends,
    /// Takes a finalizer off: cluster, kind, namespace, name, finalizer.
    Frees([&'static str; 5]),
    /// Mends the platform file or a manifest.
    Writes(Platform),
    /// Waits so many minutes: it goes by itself.
    Waits(u64),
    /// Finishes the teardown first.
    FinishesTheTeardown,
}

impl Case {
    fn new(name: &'static str, platform: Platform, says: impl Into<String>, resource: &'static str) -> Case {
        Case {
            name,
            platform,
            stands: None,
            log_groups: Vec::new(),
            command: Command::Apply,
            faults: Vec::new(),
            says: says.into(),
            resource,
            then: Then::Mends,
        }
    }

    fn fault(mut self, fault: Fault) -> Case {
        self.faults.push(fault);
        self
    }

    /// The same fault, as often as it is tried.
    fn every_time(mut self, fault: &Fault) -> Case {
        self.faults.extend(std::iter::repeat_n(fault.clone(), 24));
        self
    }

    fn destroying(mut self) -> Case {
        self.stands = Some(self.platform.clone());
        self.command = Command::Destroy;
        self
    }

    fn over(mut self, stands: Platform) -> Case {
        self.stands = Some(stands);
        self
    }

    fn then(mut self, then: Then) -> Case {
        self.then = then;
        self
    }
}

fn in_virtual_time<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing from the system")
        .block_on(work)
}

/// Plays a case until it has failed. The error says what is wrong with its report.
async fn play(case: &Case) -> Result<String, String> {
    let scene = Scene::new(SEED);
    for name in &case.log_groups {
        scene.world.write_log("us-east-1", name);
    }
    if let Some(stands) = &case.stands {
        let before = scene.apply(stands).await;
        if !before.succeeded {
            return Err(format!("it does not stand: {before:?}"));
        }
    }
    scene.befall(case.faults.clone());
    let failed = match case.command {
        Command::Apply => scene.apply(&case.platform).await,
        Command::Destroy => scene.destroy(&case.platform).await,
        Command::DestroyThenApply => {
            scene.destroy(&case.platform).await;
            scene.apply(&case.platform).await
        }
    };
    judge(case, &failed)?;
    follow(case, &scene).await?;
    Ok(failed.report)
}

/// What is wrong with a report.
fn judge(case: &Case, failed: &Outcome) -> Result<(), String> {
    if failed.failures.is_empty() {
        return Err(format!(
            "no step failed: {:?}, of {} lines",
            failed.refused,
            failed.said.len()
        ));
    }
    for (step, failure) in &failed.failures {
        if failure.way_out.as_deref().is_none_or(str::is_empty) {
            return Err(format!("{step} failed without a way out: {failure:?}"));
        }
    }
    if !failed.report.contains(&case.says) {
        return Err(format!("`{}` is not in\n{}", case.says, failed.report));
    }
    let named = failed.failures.iter().any(|(_, failure)| {
        let of_cause = failure
            .cause
            .as_ref()
            .is_some_and(|cause| cause.resource.contains(case.resource));
        of_cause || failure.cause.is_none() && failure.summary.contains(case.resource)
    });
    if !named {
        return Err(format!("`{}` is not named in\n{}", case.resource, failed.report));
    }
    Ok(())
}

/// Does what the report says, and runs the command again.
async fn follow(case: &Case, scene: &Scene) -> Result<(), String> {
    let mut platform = &case.platform;
    match &case.then {
        Then::Mends => scene.world.clear_faults(),
        Then::Waits(minutes) => scene.wait(Duration::from_secs(minutes * 60)).await,
        Then::Frees([cluster, kind, namespace, name, finalizer]) => {
            if !scene
                .world
                .remove_finalizer(cluster, kind, namespace, name, finalizer)
            {
                return Err(format!("the {kind} {name} has no finalizer {finalizer}"));
            }
        }
        Then::Writes(mended) => {
            scene.world.clear_faults();
            platform = mended;
        }
        Then::FinishesTheTeardown => {
            scene.world.clear_faults();
            let finished = scene.destroy(platform).await;
            if !finished.succeeded {
                return Err(format!("the teardown cannot be finished: {finished:?}"));
            }
        }
    }
    scene.wait(Duration::from_secs(60)).await;
    let again = match case.command {
        Command::Destroy => scene.destroy(platform).await,
        _ => scene.apply(platform).await,
    };
    if again.succeeded && again.refused.is_none() {
        Ok(())
    } else {
        Err(format!(
            "what it says does not lead out: {:?}\n{}",
            again.refused, again.report
        ))
    }
}

#[test]
fn every_fault_is_told_with_its_cause_its_resource_and_a_way_out() {
    let cases = cases();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases.len(), "two cases have one name");
    assert!(cases.len() >= PROMISED, "only {} cases", cases.len());
    let mut wrong = String::new();
    for case in &cases {
        match in_virtual_time(play(case)) {
            Ok(report) => insta::assert_snapshot!(case.name, report),
            Err(why) => {
                let _ = writeln!(wrong, "{}: {why}\n", case.name);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Something that goes wrong and passes, or is dealt with.
struct Passing {
    name: &'static str,
    platform: Platform,
    destroying: bool,
    faults: Vec<Fault>,
}

#[test]
fn what_passes_by_itself_ends_no_run_and_is_told_meanwhile() {
    let mut told = "What was said beyond what is said of every run.\n\n".to_owned();
    for one in passing() {
        let run = async |faults: &[Fault]| {
            let scene = Scene::new(SEED);
            if one.destroying {
                let before = scene.apply(&one.platform).await;
                assert!(before.succeeded, "{}: {before:?}", one.name);
            }
            scene.befall(faults.to_vec());
            if one.destroying {
                return scene.destroy(&one.platform).await;
            }
            let applied = scene.apply(&one.platform).await;
            if !applied.succeeded {
                return applied;
            }
            // And back: what was made meanwhile goes, too.
            let mut back = scene.destroy(&one.platform).await;
            back.said.splice(0..0, applied.said);
            back
        };
        let outcome = in_virtual_time(run(&one.faults));
        assert!(
            outcome.succeeded && outcome.refused.is_none(),
            "{} ended a run: {:?}\n{}",
            one.name,
            outcome.refused,
            outcome.report
        );
        let _ = writeln!(told, "{}", one.name);
        // What is said of a run in which nothing goes wrong is no news.
        let quiet = in_virtual_time(run(&[])).said;
        for line in outcome.said.iter().filter(|line| !quiet.contains(line)) {
            let _ = writeln!(told, "  {line}");
        }
        told.push('\n');
    }
    insta::assert_snapshot!("passing", told);
}
