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

/// What drives a browser, for npm.
const PAGE: &str = "tests/clients/package.json";

/// What makes plugins of Python, for pip.
const COMPONENTIZE: &str = "plugin-api/templates/python/requirements.txt";

/// What makes plugins of JavaScript, for npm.
const JS: &str = "plugin-api/templates/js/package.json";

/// Makes or refreshes the Python environments and what drives a browser, and says where a browser is.
pub fn prepare(target: &Path) -> Result<()> {
    environment(target, "venv", "requirements.txt", REQUIREMENTS)?;
    clients(target)?;
    page(target)?;
    languages(target)?;
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

/// Makes or refreshes what makes plugins of other languages.
pub fn languages(target: &Path) -> Result<()> {
    environment(target, "componentize", "componentize.txt", COMPONENTIZE)?;
    packages(target, "js", JS, "componentize-js")
}

/// Makes or refreshes the folder with what drives a browser.
pub fn page(target: &Path) -> Result<()> {
    packages(target, "page", PAGE, "browser's driver")
}

/// Makes or refreshes a folder of npm's packages.
fn packages(target: &Path, name: &str, list: &str, what: &str) -> Result<()> {
    let place = target.join("tools").join(name);
    let wanted = fs::read_to_string(list).with_context(|| format!("reading `{list}`"))?;
    // A template's blank.
    let wanted = wanted.replace("{name}", "plugin").into_bytes();
    // Written last, as below.
    let note = place.join("installed.json");
    if !fs::read(&note).is_ok_and(|there| there == wanted) {
        fs::create_dir_all(&place).with_context(|| format!("creating `{}`", place.display()))?;
        if !works(Command::new("npm").arg("--version")) {
            bail!("npm is missing; on Debian: apt-get install nodejs npm");
        }
        write_if_changed(&place.join("package.json"), &wanted)?;
        let mut npm = Command::new("npm");
        npm.current_dir(&place)
            .args(["install", "--no-audit", "--no-fund", "--silent"]);
        run(&mut npm)?;
        write_if_changed(&note, &wanted)?;
    }
    println!("{what}: {}", place.display());
    Ok(())
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
pub fn browser() -> Option<String> {
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders)
        .flat_map(|folder| ["chromium", "chromium-browser", "google-chrome"].map(|name| folder.join(name)))
        .find(|file| file.is_file())
        .map(|file| file.display().to_string())
}
