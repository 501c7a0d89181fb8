//! A place in memory that several holders share, for tests: it can keep anyone waiting, lose answers, and
//! let writes land late, as a network does. It keeps a history of everything that was written.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use landfall_runner::{Kept, Place, PlaceError, When, Written};

/// A call as the hook sees it, before it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call<'a> {
    /// Something is to be read.
    Read(&'a str),
    /// Something is to be written.
    Write(&'a str, &'a [u8]),
    /// Names with this prefix are to be listed.
    List(&'a str),
    /// Something is to be removed.
    Remove(&'a str),
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// How long it takes to arrive. The caller waits that long, and it is done only then.
    pub arrives_after: Duration,
    /// What the caller hears.
    pub answer: Answer,
}

impl Turn {
    /// At once, with its answer.
    pub fn well() -> Turn {
        Turn::default()
    }

    /// As `answer` says, at once.
    pub fn with(answer: Answer) -> Turn {
        Turn {
            answer,
            ..Turn::default()
        }
    }

    /// With its answer, but later.
    pub fn after(arrives_after: Duration) -> Turn {
        Turn {
            arrives_after,
            ..Turn::default()
        }
    }
}

/// What the caller hears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// The answer.
    #[default]
    Comes,
    /// An error, although it was done.
    Lost,
    /// An error at once, and it is done this much later all the same.
    LostAndLate(Duration),
    /// An error, and nothing was done.
    Refused,
}

/// One write or removal that took effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrote {
    /// Under which name.
    pub name: String,
    /// What; none when it was removed.
    pub bytes: Option<Vec<u8>>,
}

type Hook = Arc<dyn Fn(Call<'_>) -> Turn + Send + Sync>;

/// A place in memory. Clones share what is kept.
#[derive(Clone)]
pub struct MemoryPlace {
    kept: Arc<Mutex<Content>>,
    hook: Hook,
}

#[derive(Default)]
struct Content {
    files: BTreeMap<String, Kept>,
    history: Vec<Wrote>,
}

impl Default for MemoryPlace {
    fn default() -> MemoryPlace {
        MemoryPlace {
            kept: Arc::default(),
            hook: Arc::new(|_| Turn::well()),
        }
    }
}

impl MemoryPlace {
    /// The same content, seen through `hook`: it is asked before each call what becomes of it.
    #[must_use]
    pub fn through(&self, hook: impl Fn(Call<'_>) -> Turn + Send + Sync + 'static) -> MemoryPlace {
        MemoryPlace {
            kept: self.kept.clone(),
            hook: Arc::new(hook),
        }
    }

    /// Everything that took effect, in order.
    pub fn history(&self) -> Vec<Wrote> {
        self.kept().history.clone()
    }

    /// Everything that is kept, by name, as text.
    pub fn texts(&self) -> BTreeMap<String, String> {
        let text = |kept: &Kept| String::from_utf8_lossy(&kept.bytes).into_owned();
        let kept = self.kept();
        kept.files
            .iter()
            .map(|(name, kept)| (name.clone(), text(kept)))
            .collect()
    }

    fn kept(&self) -> MutexGuard<'_, Content> {
        self.kept.lock().expect("nobody panics while holding memory")
    }

    /// Lets a call arrive, or not; `act` is the doing of it.
    async fn call<T: Send + 'static>(
        &self,
        call: Call<'_>,
        act: impl FnOnce(&mut Content) -> T + Send + 'static,
    ) -> Result<T, PlaceError> {
        let Turn {
            arrives_after,
            answer,
        } = (self.hook)(call);
        if !arrives_after.is_zero() {
            tokio::time::sleep(arrives_after).await;
        }
        let (doing, name) = match call {
            Call::Read(name) => ("read", name),
            Call::Write(name, _) => ("write", name),
            Call::List(name) => ("list", name),
            Call::Remove(name) => ("remove", name),
        };
        let lost = |why: &str| PlaceError {
            doing,
            what: format!("memory/{name}"),
            source: why.into(),
        };
        match answer {
            Answer::Comes => Ok(act(&mut self.kept())),
            Answer::Lost => {
                act(&mut self.kept());
                Err(lost("the answer was lost"))
            }
            Answer::LostAndLate(late) => {
                let place = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(late).await;
                    act(&mut place.kept());
                });
                Err(lost("the answer was lost"))
            }
            Answer::Refused => Err(lost("the place could not be reached")),
        }
    }
}

impl Content {
    fn write(&mut self, name: String, bytes: Vec<u8>, when: &When) -> Written {
        let there = self.files.get(&name);
        let may = match when {
            When::Always => true,
            When::Absent => there.is_none(),
            When::Is(version) => there.is_some_and(|kept| kept.version == *version),
        };
        if !may {
            return Written::Conflict;
        }
        self.history.push(Wrote {
            name: name.clone(),
            bytes: Some(bytes.clone()),
        });
        let version = self.history.len().to_string();
        self.files.insert(
            name,
            Kept {
                bytes,
                version: version.clone(),
            },
        );
        Written::Done(version)
    }

    fn remove(&mut self, name: String) {
        if self.files.remove(&name).is_some() {
            self.history.push(Wrote { name, bytes: None });
        }
    }
}

#[async_trait]
impl Place for MemoryPlace {
    fn name(&self) -> String {
        "memory".to_owned()
    }

    async fn read(&self, name: &str) -> Result<Option<Kept>, PlaceError> {
        let key = name.to_owned();
        self.call(Call::Read(name), move |content| content.files.get(&key).cloned())
            .await
    }

    async fn write(&self, name: &str, bytes: &[u8], when: When) -> Result<Written, PlaceError> {
        let (key, content) = (name.to_owned(), bytes.to_vec());
        self.call(Call::Write(name, bytes), move |kept| {
            kept.write(key, content, &when)
        })
        .await
    }

    async fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, PlaceError> {
        let (start, after) = (prefix.to_owned(), after.to_owned());
        self.call(Call::List(prefix), move |content| {
            let names = content.files.keys();
            names
                .filter(|name| name.starts_with(&start) && **name > after)
                .cloned()
                .collect()
        })
        .await
    }

    async fn remove(&self, name: &str) -> Result<(), PlaceError> {
        let key = name.to_owned();
        self.call(Call::Remove(name), move |content| content.remove(key))
            .await
    }
}
