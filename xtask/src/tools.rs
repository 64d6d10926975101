//! `cargo xtask tools`: what tests and scripts of several kinds need besides Rust, in one place under the target folder.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail};

use crate::process::{run, works, write_if_changed};

/// What the scripts that make reference answers need, for pip.
const REQUIREMENTS: &str = "tests/oracle/requirements.txt";

/// Makes or refreshes the Python environment, and says where a browser is.
pub fn prepare(target: &Path) -> Result<()> {
    let place = target.join("tools");
    let environment = place.join("venv");
    let wanted = fs::read(REQUIREMENTS).with_context(|| format!("reading `{REQUIREMENTS}`"))?;
    // Written last: what is there is whole, and what was asked for.
    let note = place.join("requirements.txt");
    if !fs::read(&note).is_ok_and(|there| there == wanted) {
        fs::create_dir_all(&place).with_context(|| format!("creating `{}`", place.display()))?;
        if !works(Command::new("python3").args(["-m", "venv", "--help"])) {
            bail!("python3 with venv is missing; on Debian: apt-get install python3-venv");
        }
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
        let pip = environment.join("bin").join("pip");
        run(Command::new(pip).args(["install", "--quiet", "--requirement", REQUIREMENTS]))?;
        write_if_changed(&note, &wanted)?;
    }
    println!("python: {}", environment.join("bin").join("python").display());
    match browser() {
        Some(browser) => println!("browser: {browser}"),
        None => println!("browser: none; on Debian: apt-get install chromium"),
    }
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
