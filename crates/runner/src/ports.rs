//! The ports: what the runner needs from rooms it does not know.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use landfall_engine::schedule::Limits;
use landfall_model::StepId;
use landfall_model::definition::StepKind;
use landfall_model::journal::{Entry, Record};
use landfall_model::leftover::{Found, Marks, Swept};
use landfall_model::provider::{Applied, Change, Failure, Observed, Owned, Removed};
use landfall_model::question::{Answer, Question};
use landfall_model::work::Step;

/// Carries out one kind of step against one world.
#[async_trait]
pub trait Provider: Send + Sync {
    /// What stands now, as far as this world can tell. Never changes anything. Values of `step` that
    /// wait for others are not known yet; what names the thing always is.
    async fn observe(&self, step: &Step) -> Result<Observed, ObserveError>;

    /// What `apply` would change of something that stands, every value being known.
    async fn preview(&self, step: &Step, seen: &Observed) -> Result<Vec<Change>, ObserveError>;

    /// Everything of this world that carries the platform's mark.
    async fn owned(&self, platform: &str) -> Result<Vec<Owned>, ObserveError>;

    /// Whether something remembered still stands, asked when `owned` did not list it.
    async fn stands(&self, owned: &Owned) -> Result<bool, ObserveError>;

    /// Brings the step about. Safe to call again after a crash: the intent's token names it in the world.
    async fn apply(&self, step: &Step, intent: &Intent, progress: &Progress) -> Result<Applied, ApplyError>;

    /// Removes what a step brought about. Succeeds when it is already gone.
    async fn remove(
        &self,
        owned: &Owned,
        intent: &Intent,
        progress: &Progress,
    ) -> Result<Removed, ApplyError>;

    /// Stops whatever in it makes things anew, or more of them, as a teardown begins: self-healing, autoscalers.
    /// Removes nothing. Says what was stopped, a sentence each; most kinds of things have nothing to stop.
    async fn quiesce(
        &self,
        _owned: &Owned,
        _intent: &Intent,
        _progress: &Progress,
    ) -> Result<Vec<String>, ApplyError> {
        Ok(Vec::new())
    }

    /// How many of its steps may be under way at once, when its world wants fewer than people ask for.
    fn at_once(&self) -> Option<usize> {
        None
    }

    /// Takes in what was recorded before, told before anything is looked at or done. Only those need it whose world
    /// does not list what a platform owns.
    fn remember(&self, _owned: &[Owned]) {}

    /// Reads credentials anew after they expired. Succeeds when the world answers again.
    async fn renew(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Finds everything in a world that carries a platform's marks, and removes what controllers left.
#[async_trait]
pub trait Sweeper: Send + Sync {
    /// By what the platform's things are recognised, from what it owns. Changes nothing.
    async fn marks(&self, platform: &str, owned: &[Owned]) -> Result<Marks, ObserveError>;

    /// Everything that carries these marks: what stacks hold (with [`Found::stack`] set) and what is left
    /// over, what uses others before what is used. What goes by itself with its network (default security group, main route table) is not listed.
    async fn search(&self, marks: &Marks) -> Result<Vec<Found>, ObserveError>;

    /// Removes one leftover, or says why it cannot go yet. Never waits long: the caller asks again. Succeeds
    /// when it is already gone, and refuses what belongs to a stack.
    async fn sweep(&self, leftover: &Found, progress: &Progress) -> Result<Swept, ApplyError>;
}

/// Answers what is asked before the first change.
#[async_trait]
pub trait Preflight: Send + Sync {
    /// Asks the world one question. Never changes anything, and never waits long: a question that is not
    /// answered does not keep anybody from going on.
    async fn ask(&self, question: &Question) -> Result<Answer, ObserveError>;
}

/// Whose credentials are in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The account they belong to.
    pub account: String,
    /// Who they are, as an ARN.
    pub arn: String,
    /// Whether they are of the kind that expires.
    pub temporary: bool,
    /// How long they still last, when that is known.
    pub lasts: Option<Duration>,
}

/// Tells whose credentials are in use.
#[async_trait]
pub trait WhoAmI: Send + Sync {
    /// Asks the world, not a configuration file.
    async fn who_am_i(&self) -> Result<Identity, ApplyError>;
}

/// A role in an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// Its ARN, path included.
    pub arn: String,
}

/// Tells which roles an account has.
#[async_trait]
pub trait Roles: Send + Sync {
    /// All roles whose path begins so.
    async fn roles(&self, path_prefix: &str) -> Result<Vec<Role>, ApplyError>;
}

/// A provider for each kind of step, and who sweeps behind them.
#[derive(Clone, Default)]
pub struct Providers {
    of_kind: HashMap<StepKind, Arc<dyn Provider>>,
    sweeper: Option<Arc<dyn Sweeper>>,
    preflight: Option<Arc<dyn Preflight>>,
}

impl Providers {
    /// Lets `provider` carry out steps of this kind.
    #[must_use]
    pub fn with(mut self, kind: StepKind, provider: Arc<dyn Provider>) -> Providers {
        self.of_kind.insert(kind, provider);
        self
    }

    /// Lets `sweeper` find and remove leftovers. Without one, nobody looks for any.
    #[must_use]
    pub fn with_sweeper(mut self, sweeper: Arc<dyn Sweeper>) -> Providers {
        self.sweeper = Some(sweeper);
        self
    }

    /// Who sweeps, when somebody does.
    pub fn sweeper(&self) -> Option<&Arc<dyn Sweeper>> {
        self.sweeper.as_ref()
    }

    /// Lets nobody be asked before the first change.
    #[must_use]
    pub fn without_preflight(mut self) -> Providers {
        self.preflight = None;
        self
    }

    /// Lets `preflight` be asked before the first change. Without one, only what needs no world is looked at.
    #[must_use]
    pub fn with_preflight(mut self, preflight: Arc<dyn Preflight>) -> Providers {
        self.preflight = Some(preflight);
        self
    }

    /// Who is asked before the first change, when somebody is.
    pub fn preflight(&self) -> Option<&Arc<dyn Preflight>> {
        self.preflight.as_ref()
    }

    /// Whether steps of this kind can be carried out.
    pub fn knows(&self, kind: StepKind) -> bool {
        self.of_kind.contains_key(&kind)
    }

    /// How many steps may be under way at once: `all` together, fewer of a kind whose provider wants that.
    pub fn limits(&self, all: usize) -> Limits {
        let of_kind = self
            .of_kind
            .iter()
            .filter_map(|(kind, provider)| Some((*kind, provider.at_once()?)));
        Limits {
            of_kind: of_kind.collect(),
            ..Limits::of(all)
        }
    }

    /// The provider of a kind.
    ///
    /// # Panics
    /// When the front door forgot one: every kind the engine reads must have a provider.
    pub fn of(&self, kind: StepKind) -> &Arc<dyn Provider> {
        self.of_kind
            .get(&kind)
            .unwrap_or_else(|| panic!("no provider was given for `{}` steps", kind.word()))
    }

    /// Every provider, each once.
    pub fn all(&self) -> Vec<Arc<dyn Provider>> {
        let mut all: Vec<Arc<dyn Provider>> = Vec::new();
        for (kind, _) in StepKind::ALL {
            if let Some(provider) = self.of_kind.get(&kind)
                && !all.iter().any(|one| Arc::ptr_eq(one, provider))
            {
                all.push(provider.clone());
            }
        }
        all
    }
}

/// One intent to act: the same name before and after a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Letters, digits and hyphens; unique to one step of one run.
    pub token: String,
}

/// Why the world could not be looked at.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct ObserveError {
    /// What was being done, to what.
    pub doing: String,
    /// What went wrong.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
    /// The way out, when there is one to name.
    pub way_out: Option<String>,
    /// Whether the credentials have expired: a run that looks while it acts waits until they are renewed.
    pub expired: bool,
}

impl ObserveError {
    /// An error while `doing` something.
    pub fn new(
        doing: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> ObserveError {
        ObserveError {
            doing: doing.into(),
            source: source.into(),
            way_out: None,
            expired: false,
        }
    }
}

/// Why a step could not be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// It failed; trying again as it is will not help.
    Failed(Box<Failure>),
    /// The credentials have expired. The step goes on once they are renewed.
    CredentialsExpired(String),
    /// The run was asked to stop, and the step could be left where it was: it goes on when the run does.
    Stopped,
}

impl ApplyError {
    /// A failure told in one sentence.
    pub fn failed(summary: impl Into<String>) -> ApplyError {
        ApplyError::Failed(Box::new(Failure::new(summary)))
    }
}

impl From<Failure> for ApplyError {
    fn from(failure: Failure) -> ApplyError {
        ApplyError::Failed(Box::new(failure))
    }
}

/// Keeps records. What `append` has returned from is not lost, whatever happens next.
#[async_trait]
pub trait Journal: Send {
    /// Adds a record.
    async fn append(&mut self, record: &Record) -> Result<(), JournalError>;
}

/// Why a record was not added. The run stops: nothing is done that is not recorded.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The journal cannot be written.
    #[error("could not write the journal {name}")]
    Write {
        /// Which journal.
        name: String,
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another process has taken over: this one may not write any more, whatever it was doing.
    #[error("another process has taken this platform over: {by} (epoch {epoch})")]
    Fenced {
        /// Who, as far as that is known.
        by: String,
        /// Since which epoch.
        epoch: u64,
    },
}

/// Time, which tests and the simulated world run at their own pace.
pub trait Clock: Send + Sync {
    /// Now, RFC 3339 with milliseconds.
    fn now(&self) -> String;
    /// Milliseconds since some fixed moment.
    fn millis(&self) -> u64;
    /// Waits.
    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// The machine's own time.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> String {
        jiff::Timestamp::now()
            .strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
            .to_string()
    }

    fn millis(&self) -> u64 {
        u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default()
    }

    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(time))
    }
}

/// What happens while a run goes on, for those who watch.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Something was recorded.
    Recorded(Box<Entry>),
    /// A running step says how far it is.
    Progress {
        /// Which step.
        step: StepId,
        /// Parts done, and parts there are, when they can be counted.
        parts: Option<(u64, u64)>,
        /// What is going on, in a few words.
        message: String,
    },
    /// Between two runs: it waits for something only a person can do.
    Paused {
        /// For what.
        reason: String,
    },
    /// The run was asked to stop and waits for what is in flight.
    Stopping {
        /// The steps in flight.
        in_flight: Vec<StepId>,
    },
}

/// Watches runs.
pub trait Watcher: Send + Sync {
    /// Takes an event in. Must not wait.
    fn event(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync> Watcher for F {
    fn event(&self, event: &Event) {
        self(event);
    }
}

/// Lets one running step say how far it is.
#[derive(Clone)]
pub struct Progress {
    step: StepId,
    watcher: Arc<dyn Watcher>,
}

impl Progress {
    /// Progress of `step`, told to `watcher`.
    pub fn new(step: StepId, watcher: Arc<dyn Watcher>) -> Progress {
        Progress { step, watcher }
    }

    /// Says what is going on.
    pub fn say(&self, message: impl Into<String>) {
        self.tell(None, message.into());
    }

    /// Says how many parts are done.
    pub fn count(&self, done: usize, all: usize, message: impl Into<String>) {
        self.tell(Some((done as u64, all as u64)), message.into());
    }

    fn tell(&self, parts: Option<(u64, u64)>, message: String) {
        self.watcher.event(&Event::Progress {
            step: self.step.clone(),
            parts,
            message,
        });
    }
}
