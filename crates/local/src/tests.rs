//! Sessions in temporary folders.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use landfall_model::StepId;
use landfall_model::wanted::Facts;
use landfall_runner::Event;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

/// A platform file's folder, and what the step `bootstrap.repository` wants in it.
struct Session {
    base: TempDir,
    files: Files,
    root: String,
    wanted: BTreeMap<String, String>,
    commit: Option<String>,
    said: Arc<Mutex<Vec<String>>>,
}

impl Session {
    fn new(wanted: &[(&str, &str)]) -> Session {
        let base = tempfile::tempdir().unwrap();
        let files = Files::new(base.path().to_owned(), base.path().join(".landfall/files"));
        let mut session = Session {
            base,
            files,
            root: "repository".to_owned(),
            wanted: BTreeMap::new(),
            commit: None,
            said: Arc::default(),
        };
        session.want(wanted);
        session
    }

    fn want(&mut self, wanted: &[(&str, &str)]) {
        self.wanted = wanted
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
            .collect();
    }

    fn step(&self) -> Step {
        self.step_with(Known::Value(self.wanted.clone()))
    }

    /// As the step looks before the values in its files are known.
    fn early_step(&self) -> Step {
        self.step_with(Known::After(BTreeSet::from([StepId::new("bootstrap", "state")])))
    }

    fn step_with(&self, files: Known<BTreeMap<String, String>>) -> Step {
        Step {
            id: StepId::new("bootstrap", "repository"),
            facts: facts("acme-dev"),
            work: Work::Files(FilesWork {
                root: self.root.clone(),
                files,
                commit: self.commit.clone(),
            }),
        }
    }

    fn progress(&self) -> Progress {
        let said = self.said.clone();
        let watcher = move |event: &Event| {
            if let Event::Progress { message, .. } = event {
                said.lock().unwrap().push(message.clone());
            }
        };
        Progress::new(StepId::new("bootstrap", "repository"), Arc::new(watcher))
    }

    async fn observe(&self) -> Observed {
        self.files.observe(&self.step()).await.unwrap()
    }

    async fn foreign(&self) -> String {
        match self.observe().await.standing {
            Standing::Foreign { why } => why,
            other => panic!("something should be in the way, but the files are {other:?}"),
        }
    }

    async fn preview(&self) -> Vec<String> {
        let seen = self.observe().await;
        let changes = self.files.preview(&self.step(), &seen).await.unwrap();
        changes
            .iter()
            .map(|change| format!("{:?} {}", change.effect, change.subject))
            .collect()
    }

    async fn apply(&self) -> Applied {
        self.try_apply().await.unwrap()
    }

    async fn try_apply(&self) -> Result<Applied, ApplyError> {
        self.files.apply(&self.step(), &intent(), &self.progress()).await
    }

    async fn remove(&self) -> Removed {
        let owned = self.files.owned("acme-dev").await.unwrap();
        let [owned] = owned.as_slice() else {
            panic!("one step should own files, not {owned:?}");
        };
        self.files
            .remove(owned, &intent(), &self.progress())
            .await
            .unwrap()
    }

    fn path(&self, path: &str) -> PathBuf {
        self.base.path().join(path)
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    /// Everything below the folder, manifests and the insides of repositories aside.
    fn tree(&self) -> Vec<String> {
        fn walk(base: &Path, folder: &Path, found: &mut Vec<String>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(base).unwrap().to_str().unwrap().to_owned();
                if name == ".landfall" || name.ends_with(".git") {
                    continue;
                }
                if path.is_dir() && !path.is_symlink() {
                    found.push(format!("{name}/"));
                    walk(base, &path, found);
                } else {
                    found.push(name);
                }
            }
        }
        let mut found = Vec::new();
        walk(self.base.path(), self.base.path(), &mut found);
        found.sort();
        found
    }

    fn manifest(&self) -> Option<Manifest> {
        self.files
            .manifests
            .read("acme-dev", &StepId::new("bootstrap", "repository"))
            .unwrap()
    }

    /// Saves the manifest that a process saved before it died while writing what is wanted now.
    fn die_before_writing(&self) {
        let step = self.step();
        let work = work(&step).unwrap();
        let before = self.manifest();
        let seen = self.files.look(work, before.as_ref()).unwrap();
        let verdicts: Vec<_> = seen.verdicts(before.as_ref()).collect();
        let manifest = intended(&step, work, before.as_ref(), &verdicts, &seen);
        self.files.manifests.save(&manifest).unwrap();
    }

    /// Does to one file what the process still came to.
    fn write_one(&self, path: &str) {
        let inner = path.strip_prefix("repository/").unwrap();
        self.files.folder.write(path, &self.wanted[inner]).unwrap();
    }

    /// Runs git in the repository as somebody called Ann, who has no settings of her own.
    fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .current_dir(self.path(&self.root))
            .args(["-c", "user.name=Ann", "-c", "user.email=ann@acme.example"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

fn facts(platform: &str) -> Facts {
    Facts {
        name: platform.to_owned(),
        region: "us-east-1".to_owned(),
        account: "111122223333".to_owned(),
        tags: BTreeMap::new(),
    }
}

fn intent() -> Intent {
    Intent {
        token: "landfall-test".to_owned(),
    }
}

fn failure(result: Result<Applied, ApplyError>) -> landfall_model::provider::Failure {
    match result {
        Err(ApplyError::Failed(failure)) => *failure,
        other => panic!("it should have failed, but gave {other:?}"),
    }
}

#[tokio::test]
async fn a_skeleton_is_written_and_removed() {
    let session = Session::new(&[("README.md", "# Acme\n"), ("bin/check.sh", "#!/bin/sh\n")]);
    assert_eq!(session.observe().await, Observed::absent());

    let applied = session.apply().await;
    assert_eq!(applied.outcome, Outcome::Created);
    assert_eq!(Value::Object(applied.outputs), json!({ "path": "repository" }));
    assert_eq!(applied.notes, Vec::<String>::new());
    assert_eq!(
        *session.said.lock().unwrap(),
        ["wrote repository/README.md", "wrote repository/bin/check.sh"]
    );
    assert_eq!(
        session.tree(),
        [
            "repository/",
            "repository/README.md",
            "repository/bin/",
            "repository/bin/check.sh"
        ]
    );
    let owned = applied.owned.unwrap();
    assert_eq!(
        owned.address,
        json!({
            "platform": "acme-dev",
            "root": "repository",
            "paths": ["repository/README.md", "repository/bin/check.sh"],
        })
    );

    let seen = session.observe().await;
    assert_eq!(
        seen.standing,
        Standing::Present {
            state: "written".to_owned()
        }
    );
    assert!(seen.fingerprint.starts_with("written@"), "{}", seen.fingerprint);
    assert_eq!(seen.owned.as_ref(), Some(&owned));
    assert_eq!(session.preview().await, Vec::<String>::new());
    assert_eq!(session.apply().await.outcome, Outcome::Unchanged);
    assert!(session.files.stands(&owned).await.unwrap());

    assert_eq!(session.remove().await, Removed::default());
    assert_eq!(session.tree(), Vec::<String>::new());
    assert_eq!(session.observe().await, Observed::absent());
    assert!(!session.files.stands(&owned).await.unwrap());
    let again = session.files.remove(&owned, &intent(), &session.progress()).await;
    assert_eq!(again.unwrap(), Removed::default());
}

#[cfg(unix)]
#[tokio::test]
async fn scripts_can_be_run_and_stay_so() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut session = Session::new(&[
        ("check.sh", "#!/bin/sh\n"),
        ("tool", "text\n"),
        ("plain", "text\n"),
    ]);
    session.apply().await;
    let is_program = |path: &str| {
        let path = session.path(&format!("repository/{path}"));
        fs::metadata(path).unwrap().permissions().mode() & 0o100 != 0
    };
    assert!(is_program("check.sh") && !is_program("tool") && !is_program("plain"));
    let tool = session.path("repository/tool");
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    session.want(&[
        ("check.sh", "#!/bin/sh\n"),
        ("tool", "more\n"),
        ("plain", "more\n"),
    ]);
    assert_eq!(session.apply().await.outcome, Outcome::Updated);
    let is_program = |path: &str| {
        let path = session.path(&format!("repository/{path}"));
        fs::metadata(path).unwrap().permissions().mode() & 0o100 != 0
    };
    assert!(is_program("check.sh") && is_program("tool") && !is_program("plain"));
}

#[tokio::test]
async fn a_new_skeleton_changes_what_was_not_edited() {
    let mut session = Session::new(&[("a", "1"), ("b", "1"), ("c/d", "1"), ("e", "1"), ("f", "1")]);
    session.apply().await;
    session.put("repository/b", "by Ann");
    session.put("repository/f", "by Ann");
    session.want(&[("a", "2"), ("b", "2"), ("g", "2")]);
    assert_eq!(
        session.preview().await,
        ["Modify a", "Remove c/d", "Remove e", "Add g"],
        "b is Ann's now"
    );
    let applied = session.apply().await;
    assert_eq!(applied.outcome, Outcome::Updated);
    assert_eq!(
        applied.notes,
        [
            "kept repository/b: edited since it was written",
            "left repository/f behind: it is no longer wanted, but was edited since it was written",
        ]
    );
    assert_eq!(
        session.tree(),
        [
            "repository/",
            "repository/a",
            "repository/b",
            "repository/f",
            "repository/g"
        ]
    );
    assert_eq!(
        (session.read("repository/a"), session.read("repository/b")),
        ("2".into(), "by Ann".into())
    );
    assert_eq!(session.preview().await, Vec::<String>::new());
    let removed = session.remove().await;
    assert_eq!(removed.kept, ["repository/b: edited since it was written"]);
    assert_eq!(session.tree(), ["repository/", "repository/b", "repository/f"]);
}

#[tokio::test]
async fn the_fingerprint_follows_the_files() {
    let session = Session::new(&[("a", "1"), ("b", "1")]);
    session.apply().await;
    let fingerprint = async || session.observe().await.fingerprint;
    let early = async || {
        let seen = session.files.observe(&session.early_step()).await.unwrap();
        seen.fingerprint
    };
    let (before, before_early) = (fingerprint().await, early().await);
    session.put("repository/other", "not ours");
    assert_eq!(
        (fingerprint().await, early().await),
        (before.clone(), before_early.clone())
    );
    session.put("repository/a", "edited");
    assert_ne!(fingerprint().await, before);
    assert_ne!(early().await, before_early);
    let edited = fingerprint().await;
    fs::remove_file(session.path("repository/b")).unwrap();
    assert_ne!(fingerprint().await, edited);
    assert_eq!(session.preview().await, ["Add b"]);
}

#[tokio::test]
async fn files_of_others_are_refused_before_anything_is_written() {
    let session = Session::new(&[
        ("a", "1"),
        ("b", "1"),
        ("c", "1"),
        ("d", "1"),
        ("e", "1"),
        ("f", "1"),
    ]);
    session.put("repository/b", "not ours");
    assert_eq!(
        session.foreign().await,
        "in the way, and not written by this step: repository/b; move it away, or choose another folder"
    );
    for path in ["c", "d", "e"] {
        session.put(&format!("repository/{path}"), "not ours");
    }
    let refused = failure(session.try_apply().await);
    assert_eq!(
        refused.summary,
        "in the way, and not written by this step: repository/b, repository/c, repository/d and 1 more"
    );
    assert_eq!(
        refused.way_out.as_deref(),
        Some("move them away, or choose another folder")
    );
    assert!(!session.path("repository/a").exists());
    assert_eq!(session.manifest(), None);
}

#[tokio::test]
async fn what_is_there_just_as_wanted_is_taken_over() {
    let session = Session::new(&[("a", "1"), ("b", "1")]);
    session.put("repository/a", "1");
    let seen = session.observe().await;
    assert!(matches!(seen.standing, Standing::Present { .. }), "{seen:?}");
    assert_eq!(seen.owned, None, "not ours yet");
    assert_eq!(session.preview().await, ["Add b"]);
    let applied = session.apply().await;
    assert_eq!(applied.outcome, Outcome::Created);
    assert_eq!(
        applied.notes,
        ["took over repository/a: it was there already, just as wanted"]
    );
    assert_eq!(session.apply().await.notes, Vec::<String>::new());
    session.remove().await;
    assert_eq!(session.tree(), Vec::<String>::new());
}

#[tokio::test]
async fn before_its_values_are_known_the_manifest_tells() {
    let session = Session::new(&[("a", "1")]);
    let early = session.early_step();
    assert_eq!(session.files.observe(&early).await.unwrap(), Observed::absent());
    session.put("repository/other", "not ours");
    assert_eq!(session.files.observe(&early).await.unwrap(), Observed::absent());
    session.apply().await;
    let seen = session.files.observe(&early).await.unwrap();
    assert!(matches!(seen.standing, Standing::Present { .. }), "{seen:?}");
    assert_eq!(seen.outputs["path"], json!("repository"));
    assert_eq!(session.files.preview(&early, &seen).await.unwrap(), []);
    let refused = session.files.apply(&early, &intent(), &session.progress()).await;
    assert!(failure(refused).summary.contains("are not known"));
}

#[tokio::test]
async fn a_step_that_moves_takes_its_files_along() {
    let mut session = Session::new(&[("a", "1"), ("b", "1")]);
    session.apply().await;
    session.put("repository/b", "by Ann");
    session.root = "repositories/acme".to_owned();
    assert_eq!(session.preview().await, ["Add a", "Add b", "Remove repository/a"]);
    session.apply().await;
    assert_eq!(
        session.tree(),
        [
            "repositories/",
            "repositories/acme/",
            "repositories/acme/a",
            "repositories/acme/b",
            "repository/",
            "repository/b",
        ]
    );
}

#[tokio::test]
async fn death_at_any_point_of_the_first_writing_is_made_up_for() {
    let paths = ["repository/a", "repository/b", "repository/c"];
    for written in 0..=paths.len() {
        let session = Session::new(&[("a", "1"), ("b", "1"), ("c", "1")]);
        session.die_before_writing();
        for path in &paths[..written] {
            session.write_one(path);
        }
        // Half a file, beside the place it was to have.
        session.files.folder.write("repository/half", "1").unwrap();
        let beside = session.path("repository/.landfall-half");
        fs::rename(session.path("repository/half"), &beside).unwrap();
        let digest = Digest::of("repository/c");
        fs::rename(
            &beside,
            session.path(&format!("repository/.landfall-{}", digest.short())),
        )
        .unwrap();

        let seen = session.observe().await;
        assert!(
            matches!(seen.standing, Standing::Stuck { .. }),
            "{written}: {seen:?}"
        );
        assert!(seen.fingerprint.starts_with("half written@"));
        let applied = session.apply().await;
        assert_eq!(applied.outcome, Outcome::Created, "{written}");
        assert_eq!(applied.notes, Vec::<String>::new(), "{written}");
        assert_eq!(
            session.tree(),
            ["repository/", "repository/a", "repository/b", "repository/c"]
        );
        assert_eq!(session.apply().await.outcome, Outcome::Unchanged);
    }
}

#[tokio::test]
async fn two_deaths_in_a_row_do_not_make_our_files_someone_elses() {
    let mut session = Session::new(&[("a", "1"), ("b", "1"), ("c", "1")]);
    session.apply().await;
    session.want(&[("a", "2"), ("b", "2")]);
    session.die_before_writing();
    session.write_one("repository/a");
    session.want(&[("a", "3"), ("b", "3")]);
    session.die_before_writing();
    // `a` is now as an unfinished run wrote it, `b` as the first one did, and `c` still to be removed.
    let applied = session.apply().await;
    assert_eq!(applied.outcome, Outcome::Updated);
    assert_eq!(applied.notes, Vec::<String>::new());
    assert_eq!(session.tree(), ["repository/", "repository/a", "repository/b"]);
    assert_eq!(
        (session.read("repository/a"), session.read("repository/b")),
        ("3".into(), "3".into())
    );
    assert_eq!(session.manifest().unwrap().files.len(), 2);
}

#[tokio::test]
async fn an_edit_between_death_and_the_next_run_is_kept() {
    let session = Session::new(&[("a", "1"), ("b", "1")]);
    session.die_before_writing();
    session.write_one("repository/a");
    session.put("repository/a", "by Ann");
    let applied = session.apply().await;
    assert_eq!(applied.notes, ["kept repository/a: edited since it was written"]);
    assert_eq!(session.read("repository/a"), "by Ann");
    assert_eq!(session.preview().await, Vec::<String>::new());
    assert_eq!(session.remove().await.kept.len(), 1);
}

#[tokio::test]
async fn removal_goes_on_where_it_died() {
    let session = Session::new(&[("a", "1"), ("b/c", "1")]);
    let owned = session.apply().await.owned.unwrap();
    fs::remove_file(session.path("repository/a")).unwrap();
    fs::remove_file(session.path("repository/b/c")).unwrap();
    assert_eq!(session.remove().await, Removed::default());
    assert_eq!(session.tree(), Vec::<String>::new(), "the empty folders too");
    // The manifest went with it; the folder may be someone's again.
    session.put("repository/a", "1");
    assert!(session.files.stands(&owned).await.unwrap());
    let removed = session.files.remove(&owned, &intent(), &session.progress()).await;
    assert_eq!(
        removed.unwrap().kept,
        ["repository/a: whether it was edited is not known any more"]
    );
    assert_eq!(session.read("repository/a"), "1");
}

#[cfg(unix)]
#[tokio::test]
async fn links_on_the_way_are_refused() {
    use std::os::unix::fs::symlink;
    let outside = tempfile::tempdir().unwrap();
    let session = Session::new(&[("a/b", "1")]);
    symlink(outside.path(), session.path("repository")).unwrap();
    assert_eq!(
        session.foreign().await,
        "files cannot be written to repository: repository is a symbolic link; put a folder in its place, \
         or choose another one"
    );
    assert!(session.try_apply().await.is_err());

    fs::remove_file(session.path("repository")).unwrap();
    fs::create_dir(session.path("repository")).unwrap();
    symlink(outside.path(), session.path("repository/a")).unwrap();
    assert!(
        session
            .foreign()
            .await
            .contains("repository/a/b (repository/a is a symbolic link)")
    );
    assert!(session.try_apply().await.is_err());
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[cfg(unix)]
#[tokio::test]
async fn nothing_is_written_or_removed_through_links_made_later() {
    use std::os::unix::fs::symlink;
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("b"), "1").unwrap();
    let mut session = Session::new(&[("a/b", "1"), ("c", "1"), ("d", "1")]);
    session.apply().await;
    fs::remove_dir_all(session.path("repository/a")).unwrap();
    symlink(outside.path(), session.path("repository/a")).unwrap();
    fs::remove_file(session.path("repository/c")).unwrap();
    symlink(outside.path().join("b"), session.path("repository/c")).unwrap();

    session.want(&[("c", "2"), ("d", "2")]);
    assert_eq!(session.preview().await, ["Modify d"]);
    let applied = session.apply().await;
    assert_eq!(
        applied.notes,
        [
            "left repository/a/b behind: it is no longer wanted, but was edited since it was written",
            "kept repository/c: it is a symbolic link now",
        ]
    );
    session.remove().await;
    assert_eq!(fs::read_to_string(outside.path().join("b")).unwrap(), "1");
    assert!(session.path("repository/c").is_symlink());
}

#[tokio::test]
async fn nothing_is_written_outside_of_the_folder() {
    for path in [
        "../escaped",
        "a/../../escaped",
        "/escaped",
        ".git/hooks/post-commit",
        "a//b",
        "",
    ] {
        let session = Session::new(&[(path, "1")]);
        assert!(
            session
                .foreign()
                .await
                .contains("below the platform file's folder"),
            "{path}"
        );
        let refused = failure(session.try_apply().await);
        assert!(refused.summary.starts_with(&format!("`{path}` ")), "{refused:?}");
        assert_eq!(session.tree(), Vec::<String>::new());
    }
    let mut session = Session::new(&[("a", "1")]);
    session.root = "../outside".to_owned();
    assert!(session.try_apply().await.is_err());

    // Not even when what was remembered has been tampered with.
    let inside = Session::new(&[("a", "1")]);
    let mut owned = inside.apply().await.owned.unwrap();
    owned.step = StepId::new("bootstrap", "other");
    owned.address["paths"] = json!(["../../escaped"]);
    assert!(
        inside
            .files
            .remove(&owned, &intent(), &inside.progress())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_folder_where_a_file_should_be_is_in_the_way() {
    let session = Session::new(&[("a", "1"), ("b/c", "1")]);
    fs::create_dir_all(session.path("repository/a")).unwrap();
    session.put("repository/b", "not ours");
    assert!(
        session
            .foreign()
            .await
            .contains("repository/a (a folder), repository/b/c (repository/b is a file)")
    );
}

#[tokio::test]
async fn each_platform_sees_its_own() {
    let session = Session::new(&[("a", "1")]);
    session.apply().await;
    let mut other = session.step();
    other.facts = facts("acme-prod");
    if let Work::Files(work) = &mut other.work {
        work.root = "production".to_owned();
    }
    session
        .files
        .apply(&other, &intent(), &session.progress())
        .await
        .unwrap();
    let roots = async |platform: &str| -> Vec<String> {
        let owned = session.files.owned(platform).await.unwrap();
        owned
            .iter()
            .map(|owned| owned.address["root"].to_string())
            .collect()
    };
    assert_eq!(roots("acme-dev").await, ["\"repository\""]);
    assert_eq!(roots("acme-prod").await, ["\"production\""]);
    assert_eq!(roots("acme").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_manifest_that_cannot_be_read_is_named() {
    let session = Session::new(&[("a", "1")]);
    session.put(".landfall/files/acme-dev.bootstrap.repository.json", "{");
    let error = session.files.observe(&session.step()).await.unwrap_err();
    assert_eq!(error.doing, "could not look at the files of bootstrap.repository");
    assert!(
        error
            .source
            .to_string()
            .contains("acme-dev.bootstrap.repository.json")
    );
    assert!(error.way_out.unwrap().starts_with("move it away"));
    assert!(session.files.owned("acme-dev").await.is_err());
    assert!(failure(session.try_apply().await).summary.contains("EOF"));
}

#[tokio::test]
async fn a_catalog_file_gives_its_own_path() {
    let session = Session::new(&[]);
    let entity = |root: &str, files| Step {
        id: StepId::new("bootstrap", "catalog"),
        facts: facts("acme-dev"),
        work: Work::Entity(FilesWork {
            root: root.to_owned(),
            files,
            commit: None,
        }),
    };
    let text = || BTreeMap::from([("catalog-info.yaml".to_owned(), "kind: System\n".to_owned())]);
    let step = entity(".", Known::Value(text()));
    let applied = session
        .files
        .apply(&step, &intent(), &session.progress())
        .await
        .unwrap();
    assert_eq!(applied.outputs["path"], json!("catalog-info.yaml"));
    assert_eq!(applied.owned.as_ref().unwrap().kind, StepKind::Entity);
    let early = entity(
        ".",
        Known::After(BTreeSet::from([StepId::new("bootstrap", "state")])),
    );
    let seen = session.files.observe(&early).await.unwrap();
    assert_eq!(seen.outputs["path"], json!("catalog-info.yaml"));

    let moved = entity("docs", Known::Value(text()));
    let applied = session
        .files
        .apply(&moved, &intent(), &session.progress())
        .await
        .unwrap();
    assert_eq!(applied.outputs["path"], json!("docs/catalog-info.yaml"));
    assert_eq!(session.tree(), ["docs/", "docs/catalog-info.yaml"]);
}

#[tokio::test]
async fn what_was_written_is_committed() {
    let mut session = Session::new(&[("README.md", "1"), ("old.md", "1"), ("*.md", "1")]);
    session.commit = Some("Start from the skeleton".to_owned());
    let applied = session.apply().await;
    assert_eq!(
        applied.notes,
        [
            "made a git repository of repository",
            "committed to the repository repository"
        ]
    );
    assert_eq!(
        session.git(&["log", "--format=%s %D"]),
        "Start from the skeleton HEAD -> main"
    );
    assert_eq!(session.git(&["status", "--porcelain"]), "");
    // Those who run the tests may have told git their name.
    let configured = Command::new("git")
        .args(["-c", "user.useConfigOnly=true", "var", "GIT_AUTHOR_IDENT"])
        .output()
        .unwrap();
    assert_eq!(
        session.git(&["log", "--format=%an <%ae>"]) == "Landfall <landfall@localhost>",
        !configured.status.success()
    );
    assert_eq!(session.apply().await.notes, Vec::<String>::new());

    // What people are in the middle of stays as they have it.
    session.put("repository/README.md", "by Ann");
    session.put("repository/ann.md", "staged by Ann");
    session.put("repository/note.md", "not staged");
    session.git(&["add", "ann.md"]);
    session.want(&[("README.md", "2"), ("*.md", "2"), ("new/deep.md", "2")]);
    session.commit = Some("Follow the skeleton".to_owned());
    let applied = session.apply().await;
    assert_eq!(
        applied.notes,
        [
            "kept repository/README.md: edited since it was written",
            "committed to the repository repository"
        ]
    );
    assert_eq!(
        session.git(&["show", "--format=%s", "--name-status"]),
        "Follow the skeleton\n\nM\t*.md\nA\tnew/deep.md\nD\told.md"
    );
    assert_eq!(
        session.git(&["status", "--porcelain"]),
        "M README.md\nA  ann.md\n?? note.md"
    );

    let removed = session.remove().await;
    assert_eq!(
        removed.kept,
        [
            "repository/README.md: edited since it was written",
            "repository/.git: a repository's history is never removed",
        ]
    );
    assert!(session.path("repository/.git").is_dir());
}

#[tokio::test]
async fn a_commit_that_was_not_come_to_is_made_up_for() {
    let mut session = Session::new(&[("a", "1"), ("b", "1")]);
    session.apply().await;
    session.commit = Some("Start".to_owned());
    session.want(&[("a", "2")]);
    session.die_before_writing();
    session.write_one("repository/a");
    fs::remove_file(session.path("repository/b")).unwrap();
    assert!(matches!(session.observe().await.standing, Standing::Stuck { .. }));
    let applied = session.apply().await;
    assert_eq!(applied.outcome, Outcome::Updated);
    assert_eq!(session.git(&["show", "--format=%s", "--name-only"]), "Start\n\na");
}

#[tokio::test]
async fn the_platforms_own_repository_is_not_committed_to() {
    let mut session = Session::new(&[("a", "1")]);
    session.root = ".".to_owned();
    session.git(&["init", "--quiet", "-b", "trunk"]);
    session.git(&["commit", "--quiet", "--allow-empty", "-m", "The platform"]);
    session.root = "repository".to_owned();
    session.commit = Some("Start".to_owned());
    session.apply().await;
    assert_eq!(session.git(&["log", "--format=%s"]), "Start");
    session.root = ".".to_owned();
    assert_eq!(session.git(&["log", "--format=%s"]), "The platform");
}

#[tokio::test]
async fn a_repository_that_is_there_is_used_as_its_owner_set_it_up() {
    let mut session = Session::new(&[("a", "1"), ("b.log", "1")]);
    fs::create_dir(session.path("repository")).unwrap();
    session.git(&["init", "--quiet", "-b", "trunk"]);
    session.git(&["config", "user.name", "Ann"]);
    session.git(&["config", "user.email", "ann@acme.example"]);
    session.put("repository/.gitignore", "*.log\n");
    session.commit = Some("Start".to_owned());
    let applied = session.apply().await;
    assert_eq!(
        applied.notes,
        [
            "did not commit repository/b.log: git ignores it",
            "committed to the repository repository",
        ]
    );
    assert_eq!(
        session.git(&["log", "--format=%an <%ae> %D"]),
        "Ann <ann@acme.example> HEAD -> trunk"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn when_git_refuses_its_words_are_passed_on_and_the_commit_is_made_later() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut session = Session::new(&[("a", "1")]);
    fs::create_dir(session.path("repository")).unwrap();
    session.git(&["init", "--quiet"]);
    let hook = "repository/.git/hooks/pre-commit";
    session.put(hook, "#!/bin/sh\necho 'no commits on Fridays' >&2\nexit 1\n");
    fs::set_permissions(session.path(hook), fs::Permissions::from_mode(0o755)).unwrap();
    session.commit = Some("Start".to_owned());
    let refused = failure(session.try_apply().await);
    assert_eq!(
        refused.summary,
        "git could not commit the files in repository: no commits on Fridays"
    );
    assert!(refused.way_out.unwrap().contains("apply again"));
    fs::remove_file(session.path(hook)).unwrap();
    assert!(matches!(session.observe().await.standing, Standing::Stuck { .. }));
    assert_eq!(
        session.apply().await.notes,
        ["committed to the repository repository"]
    );
}
