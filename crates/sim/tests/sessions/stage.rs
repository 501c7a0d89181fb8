//! What the sessions share: a platform, a world, a journal that can crash, and ways to tell what happened.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use landfall_engine::{DefinitionFolder, Library, Seen, plan_apply, plan_destroy};
use landfall_model::definition::StepKind;
use landfall_model::id::{PlanId, RunId};
use landfall_model::journal::{Entry, Record};
use landfall_model::plan::{Action, Plan};
use landfall_model::provider::{Outcome, Outputs, Owned};
use landfall_model::template::{TemplateInterface, TemplateParameter, TemplateResource};
use landfall_model::wanted::Wanted;
use landfall_model::yaml::{self, Node};
use landfall_model::{Diagnostics, SourceFile, StepId};
use landfall_runner::{
    Clock, Ended, Event, Execution, Journal, JournalError, Look, Providers, Remembered, Sweeper as _,
    Watcher, look, resume,
};
use landfall_sim::{Fault, SimSweeper, VirtualClock, World, WorldConfig};
use tokio::sync::{Notify, watch};

pub(crate) const ACCOUNT: &str = "111122223333";
pub(crate) const REGION: &str = "us-east-1";

/// Definitions by name, each with its files.
pub(crate) struct Shelf(pub(crate) BTreeMap<String, BTreeMap<String, String>>);

impl Library for Shelf {
    fn find(&self, name: &str) -> Result<Option<DefinitionFolder>, String> {
        Ok(self.0.get(name).map(|files| DefinitionFolder {
            origin: format!("components/{name}"),
            files: files.clone(),
        }))
    }

    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// Reads as much of a template as these sessions write.
    fn read_template(&self, file: &Arc<SourceFile>) -> Result<TemplateInterface, Diagnostics> {
        let root = yaml::parse(file)?;
        let section = |name: &str| root.get(name).map(Node::entries).unwrap_or_default();
        let text = |node: &Node, key: &str| node.get(key).and_then(Node::text).map(str::to_owned);
        let mut interface = TemplateInterface {
            outputs: section("Outputs").iter().map(|entry| entry.key.clone()).collect(),
            ..TemplateInterface::default()
        };
        for entry in section("Parameters") {
            let parameter = TemplateParameter {
                has_default: entry.node.get("Default").is_some(),
                default: text(&entry.node, "Default"),
                no_echo: entry.node.get("NoEcho").is_some(),
                allowed: Vec::new(),
                fetched: false,
            };
            interface.parameters.insert(entry.key.clone(), parameter);
        }
        for entry in section("Resources") {
            let after = entry.node.get("DependsOn").map(Node::items).unwrap_or_default();
            let resource = TemplateResource {
                kind: text(&entry.node, "Type").unwrap_or_default(),
                condition: None,
                after: after.iter().filter_map(Node::text).map(str::to_owned).collect(),
                kept: text(&entry.node, "DeletionPolicy").is_some(),
                snapshot: text(&entry.node, "DeletionPolicy").as_deref() == Some("Snapshot"),
            };
            interface.resources.insert(entry.key.clone(), resource);
        }
        Ok(interface)
    }

    fn is_large(&self, _: &str) -> bool {
        false
    }
}

/// Reads a platform file against some definitions.
pub(crate) fn read(platform: &str, definitions: &[(&str, &[(&str, &str)])]) -> Wanted {
    let shelf = Shelf(
        definitions
            .iter()
            .map(|(name, files)| {
                let files = files
                    .iter()
                    .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
                ((*name).to_owned(), files.collect())
            })
            .collect(),
    );
    read_from(platform, &shelf)
}

pub(crate) fn read_from(platform: &str, shelf: &Shelf) -> Wanted {
    landfall_engine::read(&SourceFile::new("platform.yaml", platform), shelf)
        .unwrap_or_else(|found| panic!("{}", landfall_engine::render::diagnostics(&found, false)))
}

/// A small platform: an account's access, and sign-in that needs a role of it and a secret.
pub(crate) fn acme() -> Wanted {
    read(PLATFORM, &[("access", ACCESS), ("sign-in", SIGN_IN)])
}

pub(crate) const PLATFORM: &str = r#"
apiVersion: landfall.dev/v1
kind: Platform
metadata: { name: acme }
spec:
  region: us-east-1
  account: "111122223333"
  tags: { CostCenter: platform }
  components:
    access: { uses: access, with: { prefix: acme } }
    signIn: { uses: sign-in, with: { callbackRole: "${components.access.pipelineRoleArn}" } }
"#;

pub(crate) const ACCESS: &[(&str, &str)] = &[
    (
        "component.yaml",
        r#"
apiVersion: landfall.dev/v1
kind: Component
metadata: { name: access }
spec:
  inputs:
    prefix: { type: string }
    keepState: { type: boolean, default: false }
  steps:
    - name: identity
      check: { identity: { account: "${platform.account}", minimumLifetime: 15m, temporary: true }, within: 30s }
    - name: boundary
      after: [identity]
      stack: { template: boundary.cfn.yaml, terminationProtection: true }
    - name: oidc
      after: [identity]
      existing:
        oidcProvider: { url: "https://token.actions.githubusercontent.com", audience: sts.amazonaws.com }
        outputs: { ProviderArn: "arn:aws:iam::${platform.account}:oidc-provider/token.actions.githubusercontent.com" }
      stack: { template: oidc.cfn.yaml }
    - name: state
      after: [identity]
      retain: "${inputs.keepState}"
      stack:
        template: state.cfn.yaml
        parameters: { BucketName: "${inputs.prefix}-tfstate-${platform.account}" }
        empty: [Bucket]
    - name: pipeline
      stack:
        template: role.cfn.yaml
        parameters:
          RoleName: "${inputs.prefix}-pipeline"
          BoundaryArn: "${steps.boundary.outputs.BoundaryArn}"
          ProviderArn: "${steps.oidc.outputs.ProviderArn}"
          BucketArn: "${steps.state.outputs.BucketArn}"
  outputs:
    pipelineRoleArn: { type: string, value: "${steps.pipeline.outputs.RoleArn}" }
"#,
    ),
    (
        "boundary.cfn.yaml",
        "Resources:\n  Boundary: { Type: AWS::IAM::ManagedPolicy }\nOutputs:\n  BoundaryArn: { Value: !Ref Boundary }\n",
    ),
    (
        "oidc.cfn.yaml",
        "Resources:\n  Provider: { Type: AWS::IAM::OIDCProvider }\nOutputs:\n  ProviderArn: { Value: !Ref Provider }\n",
    ),
    (
        "state.cfn.yaml",
        "Parameters:\n  BucketName: { Type: String }\n\
         Resources:\n\
         \x20 Bucket: { Type: AWS::S3::Bucket, Properties: { BucketName: !Ref BucketName } }\n\
         \x20 BucketPolicy: { Type: AWS::S3::BucketPolicy, DependsOn: [Bucket] }\n\
         Outputs:\n  BucketName: { Value: !Ref Bucket }\n  BucketArn: { Value: !GetAtt Bucket.Arn }\n",
    ),
    (
        "role.cfn.yaml",
        "Parameters:\n  RoleName: { Type: String }\n  BoundaryArn: { Type: String }\n  ProviderArn: { Type: String }\n  BucketArn: { Type: String }\n\
         Resources:\n\
         \x20 Role:\n    Type: AWS::IAM::Role\n    Properties: { RoleName: !Ref RoleName, PermissionsBoundary: !Ref BoundaryArn }\n\
         Outputs:\n  RoleArn: { Value: !GetAtt Role.Arn }\n",
    ),
];

pub(crate) const SIGN_IN: &[(&str, &str)] = &[
    (
        "component.yaml",
        r#"
apiVersion: landfall.dev/v1
kind: Component
metadata: { name: sign-in }
spec:
  inputs:
    callbackRole: { type: string }
  steps:
    - name: clientSecret
      secret: { length: 32 }
    - name: pool
      stack:
        template: pool.cfn.yaml
        parameters: { Secret: "${steps.clientSecret.outputs.reference}", Role: "${inputs.callbackRole}" }
    - name: discovery
      after: [pool]
      check: { http: { url: "https://auth.acme.example/.well-known/openid-configuration" }, within: 2m }
"#,
    ),
    (
        "pool.cfn.yaml",
        "Parameters:\n  Secret: { Type: String, NoEcho: true }\n  Role: { Type: String }\n\
         Resources:\n\
         \x20 Pool: { Type: AWS::Cognito::UserPool, Properties: { Role: !Ref Role }, DeletionPolicy: Retain }\n\
         \x20 Client: { Type: AWS::Cognito::UserPoolClient, DependsOn: [Pool] }\n\
         \x20 Domain: { Type: AWS::Cognito::UserPoolDomain, DependsOn: [Pool] }\n\
         Outputs:\n  IssuerUrl: { Value: made-up }\n",
    ),
];

/// A world with a platform, and what its inventory remembers.
pub(crate) struct Stage {
    pub(crate) world: Arc<World>,
    pub(crate) clock: Arc<VirtualClock>,
    pub(crate) providers: Providers,
    pub(crate) wanted: Wanted,
    pub(crate) remembered: BTreeMap<StepId, Owned>,
    pub(crate) at_once: usize,
    runs: usize,
}

/// One run, across all its crashes.
pub(crate) struct Told {
    pub(crate) id: RunId,
    pub(crate) plan: Plan,
    pub(crate) records: Arc<Mutex<Vec<Record>>>,
    /// What was said while it went on.
    pub(crate) said: Arc<Mutex<Vec<String>>>,
}

/// A death at the n-th record that is written, counted from 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crash {
    pub(crate) at: usize,
    /// Before the record is on the disk, or after.
    pub(crate) before: bool,
}

/// How one process that worked on a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    Ended(Ended),
    Crashed,
}

impl Stage {
    pub(crate) fn new(wanted: Wanted, faults: Vec<Fault>) -> Stage {
        Stage::with(wanted, |config| config.faults = faults)
    }

    pub(crate) fn with(wanted: Wanted, configure: impl FnOnce(&mut WorldConfig)) -> Stage {
        let mut config = WorldConfig::new(ACCOUNT, REGION);
        configure(&mut config);
        let clock = Arc::new(VirtualClock::new());
        let world = World::new(config, clock.clone());
        Stage {
            providers: landfall_sim::providers(&world),
            world,
            clock,
            wanted,
            remembered: BTreeMap::new(),
            at_once: 10,
            runs: 0,
        }
    }

    /// What stands. Whoever looks signs in again when credentials expire meanwhile.
    pub(crate) async fn seen(&self) -> Seen {
        self.look().await
    }

    async fn look(&self) -> Seen {
        let remembered = Remembered {
            owned: self.remembered.values().cloned().collect(),
            ..Remembered::default()
        };
        match look(&self.wanted, &self.providers, remembered.clone(), Look::AtChanges).await {
            Ok(seen) => seen,
            Err(_) => {
                self.world.renew_credentials();
                look(&self.wanted, &self.providers, remembered, Look::AtChanges)
                    .await
                    .unwrap()
            }
        }
    }

    /// Plans to bring the world to what the platform asks for.
    pub(crate) async fn plan(&self) -> Plan {
        let seen = self.look().await;
        plan_apply(
            self.wanted.clone(),
            &seen,
            PlanId("plan".to_owned()),
            self.clock.now(),
        )
        .unwrap()
    }

    /// Plans to remove everything; what controllers left, too, where there are networks or clusters.
    pub(crate) async fn plan_destroy(&self) -> Plan {
        let mut seen = self.look().await;
        let sweeper = SimSweeper::new(self.world.clone());
        if let Ok(marks) = sweeper.marks(&self.wanted.facts.name, &seen.owned).await
            && !marks.landmarks.is_empty()
        {
            seen.found = sweeper.search(&marks).await.unwrap();
            seen.marks = Some(marks);
        }
        plan_destroy(
            self.wanted.clone(),
            &seen,
            false,
            PlanId("plan".to_owned()),
            self.clock.now(),
        )
    }

    /// A run of a plan, not yet begun.
    pub(crate) fn run(&mut self, plan: Plan) -> Told {
        self.runs += 1;
        Told {
            id: RunId(format!("run-{}", self.runs)),
            plan,
            records: Arc::default(),
            said: Arc::default(),
        }
    }

    /// Works on a run until it ends, stops or dies. Credentials are renewed a minute after it asks.
    pub(crate) async fn attempt(&mut self, told: &Told, crash: Option<Crash>) -> Attempt {
        let (_go_on, stop) = watch::channel(false);
        self.attempt_until(told, crash, stop).await
    }

    pub(crate) async fn attempt_until(
        &mut self,
        told: &Told,
        crash: Option<Crash>,
        stop: watch::Receiver<bool>,
    ) -> Attempt {
        let died = Arc::new(Notify::new());
        let mut diary = Diary {
            records: told.records.clone(),
            crash,
            count: 0,
            died: died.clone(),
        };
        let asked = Arc::new(Notify::new());
        let records = told.records.lock().unwrap().clone();
        let execution = Execution {
            plan: &told.plan,
            run: told.id.clone(),
            providers: &self.providers,
            journal: &mut diary,
            clock: self.clock.clone(),
            watcher: watcher(told.said.clone(), asked.clone()),
            stop,
            at_once: self.at_once,
        };
        let run = async {
            if records.is_empty() {
                return execution.start().await.unwrap();
            }
            let run = resume(&told.plan, &records).expect("the journal hangs together");
            // Death came after the last word: there is nothing left to go on with.
            match (run.is_finished(), run.succeeded()) {
                (true, true) => Ended::Succeeded,
                (true, false) => Ended::Failed,
                (false, _) => execution.go_on(run).await.unwrap(),
            }
        };
        let renewing = async {
            loop {
                asked.notified().await;
                self.clock.sleep(Duration::from_secs(60)).await;
                self.world.renew_credentials();
            }
        };
        let attempt = tokio::select! {
            biased;
            () = died.notified() => Attempt::Crashed,
            ended = run => Attempt::Ended(ended),
            () = renewing => unreachable!("credentials are renewed for as long as the run goes on"),
        };
        self.remember(&told.records.lock().unwrap());
        attempt
    }

    /// Plans and carries out, from the beginning to the end.
    pub(crate) async fn apply(&mut self) -> (Ended, Told) {
        let plan = self.plan().await;
        let told = self.run(plan);
        match self.attempt(&told, None).await {
            Attempt::Ended(ended) => (ended, told),
            Attempt::Crashed => unreachable!("no crash was asked for"),
        }
    }

    /// Plans and carries out the removal of everything.
    pub(crate) async fn destroy(&mut self) -> (Ended, Told) {
        let plan = self.plan_destroy().await;
        let told = self.run(plan);
        match self.attempt(&told, None).await {
            Attempt::Ended(ended) => (ended, told),
            Attempt::Crashed => unreachable!("no crash was asked for"),
        }
    }

    /// What the world says a step of objects owns.
    pub(crate) async fn world_owned(&self, step: &str) -> Owned {
        let provider = self.providers.of(StepKind::Objects);
        let all = provider.owned(&self.wanted.facts.name).await.unwrap();
        let found = all.into_iter().find(|owned| owned.step.as_str() == step);
        found.expect("the step owns objects")
    }

    pub(crate) async fn wait(&self, time: Duration) {
        self.clock.sleep(time).await;
    }

    /// What the inventory takes from a journal.
    fn remember(&mut self, records: &[Record]) {
        for record in records {
            match &record.entry {
                Entry::StepDone {
                    step,
                    outcome: Outcome::Removed,
                    ..
                } => {
                    self.remembered.remove(step);
                }
                Entry::StepDone {
                    step,
                    owned: Some(owned),
                    ..
                } => {
                    self.remembered.insert(step.clone(), owned.clone());
                }
                _ => {}
            }
        }
    }

    /// Every stack's name and status.
    pub(crate) fn statuses(&self) -> Vec<String> {
        let stacks = self.world.stacks().into_iter();
        stacks
            .map(|stack| format!("{} {}", stack.name, stack.status))
            .collect()
    }
}

fn watcher(said: Arc<Mutex<Vec<String>>>, asked: Arc<Notify>) -> Arc<dyn Watcher> {
    Arc::new(move |event: &Event| match event {
        Event::Recorded(entry) => {
            if let Entry::Paused { .. } = **entry {
                asked.notify_one();
            }
        }
        Event::Progress { step, message, .. } => said.lock().unwrap().push(format!("{step}: {message}")),
        Event::Paused { reason } => said.lock().unwrap().push(format!("paused: {reason}")),
        Event::Stopping { in_flight } => said.lock().unwrap().push(format!("stopping: {in_flight:?}")),
    })
}

/// A journal in memory, which can die like the process that writes it.
struct Diary {
    records: Arc<Mutex<Vec<Record>>>,
    crash: Option<Crash>,
    count: usize,
    died: Arc<Notify>,
}

#[async_trait]
impl Journal for Diary {
    async fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        self.count += 1;
        let dies = self.crash.filter(|crash| crash.at == self.count);
        if !dies.is_some_and(|crash| crash.before) {
            // As it is on a disk: what cannot be read back must not be written.
            let line = serde_json::to_string(record).unwrap();
            self.records
                .lock()
                .unwrap()
                .push(serde_json::from_str(&line).unwrap());
        }
        if dies.is_some() {
            self.died.notify_one();
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

impl Told {
    pub(crate) fn records(&self) -> Vec<Record> {
        self.records.lock().unwrap().clone()
    }

    /// What was said that contains `part`, sorted: what steps say at one moment has no order.
    pub(crate) fn said(&self, part: &str) -> Vec<String> {
        let said = self.said.lock().unwrap();
        let mut said: Vec<String> = said.iter().filter(|line| line.contains(part)).cloned().collect();
        said.sort();
        said
    }

    /// The last outputs of every step.
    pub(crate) fn outputs(&self) -> BTreeMap<StepId, Outputs> {
        self.records()
            .into_iter()
            .filter_map(|record| match record.entry {
                Entry::StepDone { step, outputs, .. } => Some((step, outputs)),
                _ => None,
            })
            .collect()
    }

    /// How every step ended.
    pub(crate) fn outcomes(&self) -> BTreeMap<StepId, Outcome> {
        self.records()
            .into_iter()
            .filter_map(|record| match record.entry {
                Entry::StepDone { step, outcome, .. } => Some((step, outcome)),
                _ => None,
            })
            .collect()
    }

    /// How every step ended, for good or ill, a line each.
    pub(crate) fn ends(&self) -> String {
        let mut ends: Vec<String> = self
            .records()
            .into_iter()
            .filter_map(|record| match record.entry {
                Entry::StepDone { step, outcome, .. } => Some(format!("{step} {outcome:?}")),
                Entry::StepFailed { step, failure, .. } => {
                    let reason = failure.cause.map(|cause| cause.reason);
                    Some(format!("{step} failed: {}", reason.unwrap_or(failure.summary)))
                }
                Entry::StepSkipped { step, because } => Some(format!("{step} skipped: {because}")),
                _ => None,
            })
            .collect();
        ends.sort();
        ends.join("\n")
    }

    /// Fails unless the journal hangs together: it can be folded, no step ends twice, the token of a step
    /// never changes, and a step starts only after all it waits for has ended well.
    pub(crate) fn assert_sound(&self) {
        let records = self.records();
        resume(&self.plan, &records).expect("the journal hangs together");
        let mut done: HashSet<StepId> = self
            .plan
            .steps
            .iter()
            .filter(|step| step.action == Action::None)
            .map(|step| step.id.clone())
            .collect();
        let mut tokens: HashMap<StepId, String> = HashMap::new();
        for record in records {
            match record.entry {
                Entry::StepStarted { step, token } => {
                    let planned = self.plan.step(&step).unwrap();
                    for before in &planned.after {
                        assert!(done.contains(before), "{step} started before {before} was done");
                    }
                    assert!(!done.contains(&step), "{step} started after it was done");
                    let first = tokens.entry(step).or_insert_with(|| token.clone());
                    assert_eq!(*first, token);
                }
                Entry::StepDone { step, .. } => assert!(done.insert(step), "a step is done once"),
                _ => {}
            }
        }
    }

    /// The whole journal, a paragraph for each record.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for record in self.records() {
            let at = record
                .at
                .trim_start_matches("2026-01-01T")
                .trim_end_matches('Z')
                .to_owned();
            let _ = writeln!(text, "{at}  {}", paragraph(&record.entry));
        }
        text
    }
}

fn paragraph(entry: &Entry) -> String {
    match entry {
        Entry::RunStarted { run, plan, purpose } => format!("{run} of {plan} starts, to {purpose:?}"),
        Entry::RunResumed => "the run is gone on with".to_owned(),
        Entry::StepStarted { step, token } => format!("{step} starts as {token}"),
        Entry::StepDone {
            step,
            outcome,
            outputs,
            owned,
            notes,
            took_ms,
            landmarks: _,
        } => {
            let mut text = format!("{step} is done: {outcome:?} in {:.1} s", *took_ms as f64 / 1000.0);
            for (name, value) in outputs {
                let _ = write!(
                    text,
                    "\n    {name}: {}",
                    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
                );
            }
            if let Some(owned) = owned {
                let after: Vec<&str> = owned.after.iter().map(StepId::as_str).collect();
                let _ = write!(text, "\n    owns {}", owned.address);
                if !after.is_empty() {
                    let _ = write!(text, "\n    made after {}", after.join(", "));
                }
                let flags = [
                    (owned.retain, "kept by destroy"),
                    (owned.adopted, "made by someone else"),
                ];
                for (_, flag) in flags.iter().filter(|(is, _)| *is) {
                    let _ = write!(text, "\n    {flag}");
                }
            }
            for note in notes {
                let _ = write!(text, "\n    note: {note}");
            }
            text
        }
        Entry::StepFailed {
            step,
            failure,
            took_ms,
        } => {
            let mut text = format!(
                "{step} failed after {:.1} s: {}",
                *took_ms as f64 / 1000.0,
                failure.summary
            );
            if let Some(cause) = &failure.cause {
                let _ = write!(
                    text,
                    "\n    first: {} {} {} at {}: {}",
                    cause.kind, cause.resource, cause.state, cause.at, cause.reason
                );
            }
            if let Some(way_out) = &failure.way_out {
                let _ = write!(text, "\n    way out: {way_out}");
            }
            text
        }
        Entry::StepSkipped { step, because } => format!("{step} is skipped because of {because}"),
        Entry::Sweeping { step, leftover } => format!(
            "{step} sweeps {} {} ({})",
            leftover.kind, leftover.id, leftover.because
        ),
        Entry::SweptAway { step, leftover } => {
            format!("{step} has swept {} {}", leftover.kind, leftover.id)
        }
        Entry::Paused { reason } => format!("paused: {reason}"),
        Entry::Interrupted => "interrupted".to_owned(),
        Entry::RunFinished { succeeded } => {
            format!("finished, {}", if *succeeded { "well" } else { "badly" })
        }
    }
}

/// A plan in a few lines.
pub(crate) fn plan_text(plan: &Plan) -> String {
    let mut text = String::new();
    for step in &plan.steps {
        let _ = writeln!(text, "{} {}: {}", step.action.word(), step.id, step.reason);
        for change in &step.changes {
            let _ = writeln!(text, "  {:?} {} {}", change.effect, change.kind, change.subject);
            for one in &change.properties {
                let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "?".to_owned());
                let _ = writeln!(
                    text,
                    "    {}: {} -> {}",
                    one.path,
                    shown(&one.before),
                    shown(&one.after)
                );
            }
        }
    }
    text
}
