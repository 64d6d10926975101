//! `cargo xtask tools`: what tests and scripts of several kinds need besides Rust, in one place under the target folder.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail};

use crate::process::{run, works, write_if_changed};

/// What the scripts that make reference answers need, for pip.
const REQUIREMENTS: &str = "tests/oracle/requirements.txt";

/// The client libraries that are run against a server.
const CLIENTS: &str = "tests/clients/requirements.txt";

/// Makes or refreshes the Python environments, and says where a browser is.
pub fn prepare(target: &Path) -> Result<()> {
    environment(target, "venv", "requirements.txt", REQUIREMENTS)?;
    clients(target)?;
    match browser() {
        Some(browser) => println!("browser: {browser}"),
        None => println!("browser: none; on Debian: apt-get install chromium"),
    }
    Ok(())
}

/// Makes or refreshes the environment with the client libraries alone.
pub fn clients(target: &Path) -> Result<()> {
    environment(target, "clients", "clients.txt", CLIENTS)
}

/// Makes or refreshes a Python environment; `note` is a file that says what is in it.
fn environment(target: &Path, name: &str, note: &str, requirements: &str) -> Result<()> {
    let place = target.join("tools");
    let environment = place.join(name);
    let wanted = fs::read(requirements).with_context(|| format!("reading `{requirements}`"))?;
    // Written last: what is there is whole, and what was asked for.
    let note = place.join(note);
    if !fs::read(&note).is_ok_and(|there| there == wanted) {
        fs::create_dir_all(&place).with_context(|| format!("creating `{}`", place.display()))?;
        if !works(Command::new("python3").args(["-m", "venv", "--help"])) {
            bail!("python3 with venv is missing; on Debian: apt-get install python3-venv");
        }
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
        let pip = environment.join("bin").join("pip");
        run(Command::new(pip).args(["install", "--quiet", "--requirement", requirements]))?;
        write_if_changed(&note, &wanted)?;
    }
    println!("python: {}", environment.join("bin").join("python").display());
    Ok(())
}

/// A Chromium on the path.
fn browser() -> Option<String> {
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders)
        .flat_map(|folder| ["chromium", "chromium-browser", "google-chrome"].map(|name| folder.join(name)))
        .find(|file| file.is_file())
        .map(|file| file.display().to_string())
}
