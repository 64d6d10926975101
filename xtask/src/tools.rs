//! `cargo xtask tools`: what tests and scripts of several kinds need besides Rust, in one place under the target folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail};

use crate::process::{run, works, write_if_changed};

/// What the scripts that make reference answers need, for pip.
const REQUIREMENTS: &str = "tests/oracle/requirements.txt";

/// The client libraries that are run against a server, and those of them that every test run tries.
const CLIENTS: &str = "tests/clients/requirements.txt";
const SDKS: &str = "tests/clients/sdks.txt";

/// What drives a browser, for npm.
const PAGE: &str = "tests/clients/package.json";

/// What makes plugins of Python, for pip.
const COMPONENTIZE: &str = "plugin-api/templates/python/requirements.txt";

/// What makes plugins of JavaScript, for npm.
const JS: &str = "plugin-api/templates/js/package.json";

/// Makes or refreshes the Python environments and what drives a browser, and says where a browser is.
pub fn prepare(target: &Path) -> Result<()> {
    references(target)?;
    clients(target)?;
    page(target)?;
    languages(target)?;
    match browser() {
        Some(browser) => println!("browser: {browser}"),
        None => println!("browser: none; on Debian: apt-get install chromium"),
    }
    Ok(())
}

/// Makes or refreshes the environment of the scripts that make reference answers; gives its Python.
pub fn references(target: &Path) -> Result<PathBuf> {
    environment(target, "venv", "requirements.txt", &[REQUIREMENTS])?;
    let python = target.join("tools").join("venv").join("bin").join("python");
    // Not its target: that is the system's.
    std::path::absolute(python).context("finding Python")
}

/// Makes or refreshes the environment with the client libraries alone.
pub fn clients(target: &Path) -> Result<()> {
    environment(target, "clients", "clients.txt", &[SDKS, CLIENTS])
}

/// Makes or refreshes the environment with the three libraries that every test run tries. Without Python or PyPI, that is said: their test is
/// skipped then.
pub fn sdks(target: &Path) {
    if target.join("tools/clients.txt").is_file() {
        return;
    }
    if let Err(error) = environment(target, "sdks", "sdks.txt", &[SDKS]) {
        println!("client libraries: none, so their test is skipped: {error:#}");
    }
}

/// Makes or refreshes what makes plugins of other languages.
pub fn languages(target: &Path) -> Result<()> {
    environment(target, "componentize", "componentize.txt", &[COMPONENTIZE])?;
    packages(target, "js", JS, "componentize-js")
}

/// Makes or refreshes the folder with what drives a browser.
pub fn page(target: &Path) -> Result<()> {
    packages(target, "page", PAGE, "browser's driver")
}

/// What builds the program for other systems, for pip.
const ZIG: &str = "packaging/zig.txt";

/// Makes or refreshes the environment with zig; gives the folder of its programs.
pub fn zig(target: &Path) -> Result<PathBuf> {
    environment(target, "zig", "zig.txt", &[ZIG])?;
    let programs = target.join("tools").join("zig").join("bin");
    programs.canonicalize().context("finding zig")
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
fn environment(target: &Path, name: &str, note: &str, requirements: &[&str]) -> Result<()> {
    let place = target.join("tools");
    let environment = place.join(name);
    let mut wanted = Vec::new();
    for list in requirements {
        wanted.extend(fs::read(list).with_context(|| format!("reading `{list}`"))?);
    }
    // Written last: what is there is whole, and what was asked for.
    let note = place.join(note);
    if !fs::read(&note).is_ok_and(|there| there == wanted) {
        fs::create_dir_all(&place).with_context(|| format!("creating `{}`", place.display()))?;
        if !works(Command::new("python3").args(["-m", "venv", "--help"])) {
            bail!("python3 with venv is missing; on Debian: apt-get install python3-venv");
        }
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
        let pip = environment.join("bin").join("pip");
        let mut install = Command::new(pip);
        // Where nothing can be reached, that is soon known.
        install.args(["install", "--quiet", "--retries", "1", "--timeout", "20"]);
        for list in requirements {
            install.args(["--requirement", list]);
        }
        run(&mut install)?;
        write_if_changed(&note, &wanted)?;
    }
    println!("python: {}", environment.join("bin").join("python").display());
    Ok(())
}

/// The source distribution that llama.cpp's tree lies in, as PyPI has it.
const LLAMA: &str = "llama-cpp-python==0.3.36";

/// Builds llama.cpp's server, unless it is there; gives the program's file.
pub fn llama_server(target: &Path) -> Result<PathBuf> {
    let place = target.join("tools").join("llama");
    let program = place.join("build").join("bin").join("llama-server");
    let note = place.join("built.txt");
    if program.is_file() && fs::read_to_string(&note).is_ok_and(|built| built == LLAMA) {
        return program.canonicalize().context("finding llama-server");
    }
    if !works(Command::new("cmake").arg("--version")) {
        bail!("cmake is missing; on Debian: apt-get install cmake g++");
    }
    fs::create_dir_all(&place).with_context(|| format!("creating `{}`", place.display()))?;
    let environment = place.join("venv");
    run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    let pip = environment.join("bin").join("pip");
    // What pip asks of a source distribution before it keeps it.
    run(Command::new(&pip).args(["install", "--quiet", "scikit-build-core"]))?;
    let mut download = Command::new(&pip);
    download.args([
        "download",
        "--quiet",
        "--no-deps",
        "--no-binary",
        ":all:",
        "--no-build-isolation",
    ]);
    run(download.arg("--dest").arg(&place).arg(LLAMA))?;
    let name = LLAMA
        .replace("==", "-")
        .replace("llama-cpp-python", "llama_cpp_python");
    let archive = place.join(format!("{name}.tar.gz"));
    run(Command::new("tar").arg("xzf").arg(&archive).arg("-C").arg(&place))?;
    let (source, build) = (place.join(&name).join("vendor/llama.cpp"), place.join("build"));
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(&source).arg("-B").arg(&build).args([
        "-DCMAKE_BUILD_TYPE=Release",
        "-DBUILD_SHARED_LIBS=OFF",
        "-DGGML_NATIVE=ON",
        "-DLLAMA_BUILD_TESTS=OFF",
        "-DLLAMA_BUILD_EXAMPLES=OFF",
        "-DLLAMA_OPENSSL=OFF",
    ]);
    run(&mut configure)?;
    let mut make = Command::new("cmake");
    make.arg("--build").arg(&build);
    run(make.args(["--target", "llama-server", "--parallel"]))?;
    // The sources are large, and not needed any more.
    fs::remove_file(&archive).with_context(|| format!("removing `{}`", archive.display()))?;
    fs::remove_dir_all(place.join(&name)).with_context(|| format!("removing `{name}`"))?;
    write_if_changed(&note, LLAMA.as_bytes())?;
    program.canonicalize().context("finding llama-server")
}

/// A Chromium on the path.
pub fn browser() -> Option<String> {
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders)
        .flat_map(|folder| ["chromium", "chromium-browser", "google-chrome"].map(|name| folder.join(name)))
        .find(|file| file.is_file())
        .map(|file| file.display().to_string())
}
