//! Files beside the platform file: folders written from skeletons, and catalog entries.
//!
//! A skeleton is a start. What people have edited since it was written is theirs: it is neither
//! changed nor removed, only named. What was never written from here is not touched at all.
//!
//! A manifest for each step says what was written, as digests. It is saved with what is about to be
//! written before anything is, so that a process that dies half way never takes its own files for
//! someone else's.

mod decide;
mod folder;
mod git;
mod manifest;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use async_trait::async_trait;
use landfall_model::definition::StepKind;
use landfall_model::id::Digest;
use landfall_model::provider::{
    Applied, Change, Effect, Observed, Outcome, Outputs, Owned, Removed, Standing,
};
use landfall_model::work::{FilesWork, Known, Step, Work};
use landfall_runner::{ApplyError, Intent, ObserveError, Progress, Provider};
use serde::{Deserialize, Serialize};

use crate::decide::{Verdict, decide};
use crate::folder::{Disk, Folder};
use crate::manifest::{Manifest, Manifests, Written};
use crate::trouble::Trouble;

/// Carries out `files` and `entity` steps.
pub struct Files {
    folder: Folder,
    manifests: Manifests,
}

impl Files {
    /// Files below `base`, the platform file's folder, with their manifests in `state`, usually
    /// `.landfall/files`. Nothing is made yet.
    pub fn new(base: PathBuf, state: PathBuf) -> Files {
        Files {
            folder: Folder::new(base),
            manifests: Manifests::new(state),
        }
    }

    /// What is there of the files that were written and of those that are wanted.
    fn look(&self, work: &FilesWork, before: Option<&Manifest>) -> Result<Seen, Trouble> {
        let wanted = match &work.files {
            Known::Value(files) => Some(
                files
                    .iter()
                    .map(|(path, text)| Ok((folder::join(&work.root, path)?, Digest::of(text))))
                    .collect::<Result<BTreeMap<_, _>, Trouble>>()?,
            ),
            Known::After(_) => None,
        };
        self.folder.refuse_obstacle(&work.root)?;
        let written = before.iter().flat_map(|before| before.files.keys());
        let disk = written
            .chain(wanted.iter().flat_map(BTreeMap::keys))
            .map(|path| Ok((path.clone(), self.folder.look(path)?)))
            .collect::<Result<BTreeMap<_, _>, Trouble>>()?;
        Ok(Seen { disk, wanted })
    }

    fn observed(&self, step: &Step, work: &FilesWork) -> Result<Observed, Trouble> {
        let before = self.manifests.read(&step.facts.name, &step.id)?;
        let seen = self.look(work, before.as_ref())?;
        seen.refuse(before.as_ref())?;
        if before.is_none() && !seen.wanted_is_there() {
            return Ok(Observed::absent());
        }
        let (state, standing) = if before.as_ref().is_some_and(|before| before.unfinished) {
            let state = "half written".to_owned();
            // Also when only the commit is missing, which no look at the files would show.
            let why = "writing it was interrupted and is taken up again".to_owned();
            (state.clone(), Standing::Stuck { state, why })
        } else {
            let state = "written".to_owned();
            (state.clone(), Standing::Present { state })
        };
        Ok(Observed {
            fingerprint: format!("{state}@{}", seen.digest().short()),
            standing,
            outputs: outputs(step.kind(), work, before.as_ref()),
            // What happens to be there as wanted is ours only once it is taken over.
            owned: before.as_ref().map(owned),
        })
    }

    fn changes(&self, step: &Step, work: &FilesWork) -> Result<Vec<Change>, Trouble> {
        let before = self.manifests.read(&step.facts.name, &step.id)?;
        let seen = self.look(work, before.as_ref())?;
        seen.refuse(before.as_ref())?;
        let change = |path: &str, effect| Change {
            effect,
            // As in a plan that makes them: below the step's folder.
            subject: folder::below(&work.root, path).unwrap_or(path).to_owned(),
            kind: String::new(),
            properties: Vec::new(),
        };
        Ok(seen
            .verdicts(before.as_ref())
            .filter_map(|(path, disk, verdict)| match (verdict, disk) {
                (Verdict::Write, Disk::Missing) => Some(change(path, Effect::Add)),
                (Verdict::Write, _) => Some(change(path, Effect::Modify)),
                (Verdict::Delete, _) => Some(change(path, Effect::Remove)),
                _ => None,
            })
            .collect())
    }

    async fn write(
        &self,
        step: &Step,
        work: &FilesWork,
        texts: &BTreeMap<String, String>,
        progress: &Progress,
    ) -> Result<Applied, Trouble> {
        let before = self.manifests.read(&step.facts.name, &step.id)?;
        let seen = self.look(work, before.as_ref())?;
        seen.refuse(before.as_ref())?;
        let verdicts: Vec<(&str, &Disk, Verdict)> = seen.verdicts(before.as_ref()).collect();
        let to_do = verdicts
            .iter()
            .filter(|(_, _, verdict)| matches!(verdict, Verdict::Write | Verdict::Delete))
            .count();
        let resumed = before.as_ref().is_some_and(|before| before.unfinished);
        let mut manifest = intended(step, work, before.as_ref(), &verdicts, &seen);
        self.manifests.save(&manifest)?;
        self.sweep(before.as_ref())?;

        let mut done = 0;
        for (path, _, verdict) in &verdicts {
            match verdict {
                Verdict::Write => {
                    let inner = folder::below(&work.root, path).unwrap_or(path);
                    let text = texts
                        .get(inner)
                        .expect("only wanted files are written, and every wanted file has a text");
                    self.folder.write(path, text)?;
                    done += 1;
                    progress.count(done, to_do, format!("wrote {path}"));
                }
                Verdict::Delete => {
                    self.folder.delete(path)?;
                    done += 1;
                    progress.count(done, to_do, format!("removed {path}"));
                }
                _ => {}
            }
        }

        let mut notes = notes(&verdicts, before.as_ref());
        // A commit that an earlier run did not come to is made up for.
        if let Some(message) = work
            .commit
            .as_ref()
            .filter(|_| to_do > 0 || resumed || before.is_none())
        {
            progress.say("committing");
            let commit = git::Commit {
                base: self.folder.path(),
                root: &work.root,
                message,
                present: below_root(&work.root, &verdicts, &[Verdict::Write, Verdict::Leave]),
                gone: below_root(&work.root, &verdicts, &[Verdict::Delete, Verdict::Forget]),
            };
            notes.extend(commit.make().await?);
        }
        manifest.finish(|path| {
            verdicts.iter().any(|(known, _, verdict)| {
                *known == path && matches!(verdict, Verdict::Write | Verdict::Leave | Verdict::Keep)
            })
        });
        self.manifests.save(&manifest)?;
        Ok(Applied {
            outcome: match &before {
                _ if to_do == 0 && !resumed => Outcome::Unchanged,
                Some(before) if before.was_finished() => Outcome::Updated,
                _ => Outcome::Created,
            },
            outputs: outputs(step.kind(), work, Some(&manifest)),
            owned: Some(owned(&manifest)),
            notes,
        })
    }

    /// Clears away what was being written beside its place when the process died.
    fn sweep(&self, before: Option<&Manifest>) -> Result<(), Trouble> {
        before
            .into_iter()
            .flat_map(|before| &before.files)
            .filter(|(_, written)| written.pending.is_some())
            .try_for_each(|(path, _)| self.folder.sweep(path))
    }

    fn take_away(&self, one: &Owned, progress: &Progress) -> Result<Removed, Trouble> {
        let address = Address::of(one)?;
        let before = self.manifests.read(&address.platform, &one.step)?;
        let mut kept = Vec::new();
        let Some(before) = before else {
            // Without a manifest nobody can say what has been edited, so nothing is removed.
            for path in &address.paths {
                if self.folder.look(path)?.is_file() {
                    kept.push(format!("{path}: whether it was edited is not known any more"));
                }
            }
            return Ok(Removed { kept });
        };
        self.sweep(Some(&before))?;
        for (done, (path, written)) in before.files.iter().enumerate() {
            let disk = self.folder.look(path)?;
            let message = match decide(&disk, Some(written), None) {
                Verdict::Delete | Verdict::Forget => {
                    self.folder.delete(path)?;
                    format!("removed {path}")
                }
                _ => {
                    kept.push(kept_because(path, &disk));
                    format!("kept {path}")
                }
            };
            progress.count(done + 1, before.files.len(), message);
        }
        // A catalog file may lie in the same folder; one step tells of the repository.
        if before.kind == StepKind::Files
            && before.root != "."
            && self.folder.path().join(&before.root).join(".git").exists()
        {
            kept.push(format!(
                "{}/.git: a repository's history is never removed",
                before.root
            ));
        }
        // Last: until then, what is still there is known to be ours.
        self.manifests.delete(&before)?;
        Ok(Removed { kept })
    }
}

/// What is there, and what should be, by path below the platform file's folder.
struct Seen {
    disk: BTreeMap<String, Disk>,
    /// Digests of the wanted texts, once they are known.
    wanted: Option<BTreeMap<String, Digest>>,
}

impl Seen {
    /// What is to be done about each file; nothing while it is not known what is wanted.
    fn verdicts<'a>(
        &'a self,
        before: Option<&'a Manifest>,
    ) -> impl Iterator<Item = (&'a str, &'a Disk, Verdict)> {
        self.wanted.iter().flat_map(move |wanted| {
            self.disk.iter().map(move |(path, disk)| {
                let written = before.and_then(|before| before.files.get(path));
                (path.as_str(), disk, decide(disk, written, wanted.get(path)))
            })
        })
    }

    /// Refuses to go on where others' files are in the way. All of them count, the first few are named.
    fn refuse(&self, before: Option<&Manifest>) -> Result<(), Trouble> {
        let in_the_way: Vec<String> = self
            .verdicts(before)
            .filter(|(_, _, verdict)| *verdict == Verdict::Refuse)
            .map(|(path, disk, _)| match disk {
                Disk::Other(what) => format!("{path} ({what})"),
                Disk::Blocked(why) => format!("{path} ({why})"),
                Disk::Missing | Disk::File(_) => path.to_owned(),
            })
            .collect();
        if in_the_way.is_empty() {
            return Ok(());
        }
        const NAMED: usize = 3;
        let more = in_the_way.len().saturating_sub(NAMED);
        let mut named = in_the_way[..in_the_way.len().min(NAMED)].join(", ");
        if more > 0 {
            named.push_str(&format!(" and {more} more"));
        }
        Err(Trouble::Refused {
            what: format!("in the way, and not written by this step: {named}"),
            way_out: if in_the_way.len() == 1 {
                "move it away, or choose another folder".to_owned()
            } else {
                "move them away, or choose another folder".to_owned()
            },
        })
    }

    fn wanted_is_there(&self) -> bool {
        self.wanted
            .iter()
            .flat_map(BTreeMap::keys)
            .any(|path| self.disk.get(path).is_some_and(|disk| *disk != Disk::Missing))
    }

    /// Changes whenever one of the files does.
    fn digest(&self) -> Digest {
        let lines: Vec<String> = self
            .disk
            .iter()
            .map(|(path, disk)| match disk {
                Disk::Missing => format!("{path} missing"),
                Disk::File(digest) => format!("{path} {digest}"),
                Disk::Other(what) => format!("{path} {what}"),
                Disk::Blocked(why) => format!("{path} {why}"),
            })
            .collect();
        Digest::of(lines.join("\n"))
    }
}

/// The manifest to save before anything is written: every file may be as it was or as it will be.
fn intended(
    step: &Step,
    work: &FilesWork,
    before: Option<&Manifest>,
    verdicts: &[(&str, &Disk, Verdict)],
    seen: &Seen,
) -> Manifest {
    let known = |path: &str| before.and_then(|before| before.files.get(path)).cloned();
    let files = verdicts
        .iter()
        .map(|(path, disk, verdict)| {
            let written = known(path).unwrap_or_default();
            let is = disk.digest().cloned();
            let written = match verdict {
                Verdict::Write => Written {
                    // What stands there is ours, perhaps from a run that died: remember that one, or
                    // the next run that dies would leave it unaccounted for.
                    written: is.or(written.written),
                    pending: seen.wanted.as_ref().and_then(|wanted| wanted.get(*path)).cloned(),
                },
                Verdict::Leave => Written {
                    written: is,
                    pending: None,
                },
                _ => written,
            };
            ((*path).to_owned(), written)
        })
        .collect();
    Manifest {
        platform: step.facts.name.clone(),
        step: step.id.clone(),
        kind: step.kind(),
        root: work.root.clone(),
        unfinished: true,
        finished_once: before.is_some_and(Manifest::was_finished),
        files,
    }
}

fn notes(verdicts: &[(&str, &Disk, Verdict)], before: Option<&Manifest>) -> Vec<String> {
    let is_known = |path: &str| before.is_some_and(|before| before.files.contains_key(path));
    verdicts
        .iter()
        .filter_map(|(path, disk, verdict)| match verdict {
            Verdict::Keep => Some(format!("kept {}", kept_because(path, disk))),
            Verdict::LeaveBehind => Some(format!(
                "left {path} behind: it is no longer wanted, but was edited since it was written"
            )),
            Verdict::Leave if !is_known(path) => {
                Some(format!("took over {path}: it was there already, just as wanted"))
            }
            _ => None,
        })
        .collect()
}

fn kept_because(path: &str, disk: &Disk) -> String {
    match disk {
        Disk::Other(what) => format!("{path}: it is {what} now"),
        Disk::Blocked(why) => format!("{path}: {why}"),
        Disk::Missing | Disk::File(_) => format!("{path}: edited since it was written"),
    }
}

fn below_root(root: &str, verdicts: &[(&str, &Disk, Verdict)], which: &[Verdict]) -> Vec<String> {
    verdicts
        .iter()
        .filter(|(_, _, verdict)| which.contains(verdict))
        // What was written to another folder before the step moved is in no repository of ours.
        .filter_map(|(path, _, _)| folder::below(root, path))
        .map(str::to_owned)
        .collect()
}

/// A folder gives its path; a catalog file gives the file's.
fn outputs(kind: StepKind, work: &FilesWork, manifest: Option<&Manifest>) -> Outputs {
    let file = match &work.files {
        Known::Value(files) => files
            .keys()
            .next()
            .and_then(|file| folder::join(&work.root, file).ok()),
        Known::After(_) => manifest.and_then(|manifest| manifest.files.keys().next().cloned()),
    };
    let path = match (kind, file) {
        (StepKind::Entity, Some(file)) => file,
        _ => work.root.clone(),
    };
    Outputs::from_iter([("path".to_owned(), path.into())])
}

/// How to find a step's files again. Paths are below the platform file's folder.
#[derive(Debug, Serialize, Deserialize)]
struct Address {
    platform: String,
    root: String,
    paths: BTreeSet<String>,
}

impl Address {
    fn of(owned: &Owned) -> Result<Address, Trouble> {
        serde_json::from_value(owned.address.clone()).map_err(|source| Trouble::Address {
            step: owned.step.clone(),
            source,
        })
    }
}

fn owned(manifest: &Manifest) -> Owned {
    let address = Address {
        platform: manifest.platform.clone(),
        root: manifest.root.clone(),
        paths: manifest.files.keys().cloned().collect(),
    };
    let address = serde_json::to_value(address).expect("texts and lists of texts are JSON");
    Owned::new(manifest.step.clone(), manifest.kind, address)
}

fn work(step: &Step) -> Result<&FilesWork, Trouble> {
    match &step.work {
        Work::Files(work) | Work::Entity(work) => Ok(work),
        _ => Err(Trouble::NotFiles {
            step: step.id.clone(),
        }),
    }
}

#[async_trait]
impl Provider for Files {
    async fn observe(&self, step: &Step) -> Result<Observed, ObserveError> {
        match work(step).and_then(|work| self.observed(step, work)) {
            Err(refused @ Trouble::Refused { .. }) => Ok(Observed {
                fingerprint: format!("foreign@{}", Digest::of(refused.to_string()).short()),
                standing: Standing::Foreign {
                    why: refused.in_full(),
                },
                ..Observed::absent()
            }),
            other => other.map_err(|trouble| trouble.while_looking_at(&step.id)),
        }
    }

    async fn preview(&self, step: &Step, _: &Observed) -> Result<Vec<Change>, ObserveError> {
        work(step)
            .and_then(|work| self.changes(step, work))
            .map_err(|trouble| trouble.while_looking_at(&step.id))
    }

    async fn owned(&self, platform: &str) -> Result<Vec<Owned>, ObserveError> {
        let manifests = self.manifests.all().map_err(Trouble::while_listing)?;
        Ok(manifests
            .iter()
            .filter(|manifest| manifest.platform == platform)
            .map(owned)
            .collect())
    }

    async fn stands(&self, owned: &Owned) -> Result<bool, ObserveError> {
        let stands = || {
            let address = Address::of(owned)?;
            if self.manifests.read(&address.platform, &owned.step)?.is_some() {
                return Ok(true);
            }
            for path in &address.paths {
                if self.folder.look(path)?.is_file() {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        stands().map_err(|trouble: Trouble| trouble.while_looking_at(&owned.step))
    }

    async fn apply(&self, step: &Step, _: &Intent, progress: &Progress) -> Result<Applied, ApplyError> {
        let work = work(step)?;
        let Known::Value(texts) = &work.files else {
            return Err(ApplyError::failed(format!(
                "the texts of `{}` are not known, so they cannot be written",
                step.id
            )));
        };
        Ok(self.write(step, work, texts, progress).await?)
    }

    async fn remove(&self, owned: &Owned, _: &Intent, progress: &Progress) -> Result<Removed, ApplyError> {
        Ok(self.take_away(owned, progress)?)
    }
}

#[cfg(test)]
mod tests;
