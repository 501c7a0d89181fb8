//! Installs what the tests need, into `.tools/`: Python environments and npm packages. Each is made
//! anew when the file that pins it changes.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::{root, run};

/// The folder everything goes to; ignored by git.
pub(crate) fn folder() -> PathBuf {
    root().join(".tools")
}

/// Installs everything that is missing or outdated.
pub(crate) fn install() -> anyhow::Result<PathBuf> {
    let tools = folder();
    std::fs::create_dir_all(&tools)?;
    for name in ["ministack", "moto", "lint"] {
        python(&tools, name)?;
    }
    npm(&tools, "backstage", &["check-entities.mjs"])?;
    npm(&tools, "functions", &[])?;
    npm(&tools, "keycloak", &["admin.mjs", "provider.mjs"])?;
    Ok(tools)
}

/// One virtual environment for each: ministack and moto pin different versions of the same library.
fn python(tools: &Path, name: &str) -> anyhow::Result<()> {
    let pins = std::fs::read_to_string(root().join("tools").join(format!("{name}.txt")))?;
    let folder = tools.join(name);
    let stamp = folder.join("installed.txt");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == pins) {
        return Ok(());
    }
    println!("Installing {name} into .tools/{name} …");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    run(Command::new(find_python()?).args(["-m", "venv"]).arg(&folder))
        .context("making a virtual environment (on Debian: apt-get install python3-venv)")?;
    run(Command::new(folder.join("bin/python"))
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--requirement",
        ])
        .arg(root().join("tools").join(format!("{name}.txt"))))?;
    std::fs::write(stamp, pins)?;
    Ok(())
}

fn find_python() -> anyhow::Result<String> {
    for name in ["python3", "python3.13", "python3.12", "python3.11", "python"] {
        let check = "import sys, venv; sys.exit(sys.version_info < (3, 10))";
        if Command::new(name)
            .args(["-c", check])
            .output()
            .is_ok_and(|output| output.status.success())
        {
            return Ok(name.to_owned());
        }
    }
    bail!(
        "the tests need Python 3.10 or later, with its venv module (on Debian: apt-get install python3-venv)"
    )
}

/// The packages that a folder's lock file names, with files of ours beside them that use them.
fn npm(tools: &Path, name: &str, files: &[&str]) -> anyhow::Result<()> {
    let source = root().join("tools").join(name);
    let folder = tools.join(name);
    let pins = std::fs::read_to_string(source.join("package-lock.json"))?;
    let stamp = folder.join("installed.json");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == pins) {
        return Ok(());
    }
    println!("Installing npm packages into .tools/{name} …");
    std::fs::create_dir_all(&folder)?;
    for file in ["package.json", "package-lock.json"].iter().chain(files) {
        std::fs::copy(source.join(file), folder.join(file))?;
    }
    run(Command::new("npm")
        .current_dir(&folder)
        .args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]))
    .context("installing npm packages (Node.js and npm are needed)")?;
    std::fs::write(stamp, pins)?;
    Ok(())
}
