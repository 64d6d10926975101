//! `monocle plugins build`: from an author's folder to a plugin, whatever it is written in.

use std::env::consts::DLL_EXTENSION;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use clap::Args;
use monocle_runtime::plugin::trust::MEANING;
use serde::Deserialize;

use super::place::Placed;
use super::project::{Description, Language, Project};
use crate::output;

/// Interfaces of componentize-js that would import WASI.
const NO_WASI: [&str; 5] = ["stdio", "random", "clocks", "http", "fetch-event"];

#[derive(Debug, Args)]
pub struct Build {
    /// The plugin's folder
    #[arg(default_value = ".")]
    folder: PathBuf,

    /// Build a native library in place of a component: only for plugins in Rust, and it runs only where it is trusted
    #[arg(long)]
    native: bool,

    /// Where the plugin goes: a folder [default: `plugins` in the plugin's folder]
    #[arg(short, long)]
    output: Option<PathBuf>,
}

impl Build {
    pub fn run(self) -> anyhow::Result<()> {
        let project = Project::must_open(&self.folder)?;
        let placed = match self.native {
            true => build_native(&project, self.output)?,
            false => build(&project, self.output)?,
        };
        output::print(&format!("{placed}\n"))?;
        if self.native {
            output::note(&format!(
                "it runs after `monocle plugins trust {}`: {MEANING}",
                placed.path.display()
            ));
        }
        Ok(())
    }
}

/// Builds a project's plugin into a folder.
pub fn build(project: &Project, to: Option<PathBuf>) -> anyhow::Result<Placed> {
    let component = match &project.description {
        None => {
            let module = cargo(
                project,
                &["--target", TARGET],
                "wasm",
                &format!("if the standard library for `{TARGET}` is missing: `rustup target add {TARGET}`"),
            )?;
            monocle_component::wrap(&read(&module)?)
                .with_context(|| format!("`{}` cannot be wrapped", module.display()))?
        }
        Some(description) => {
            let made = match description.language {
                Language::Rust => anyhow::bail!(
                    "a plugin in Rust needs no `plugin.json`: its crate and its export macro say what is in it"
                ),
                Language::C => c(project)?,
                Language::Js => js(project, description)?,
                Language::Python => python(project, description)?,
            };
            monocle_component::stamp(&made, &description.stamp())
                .with_context(|| format!("what was built of `{}` is no plugin", project.folder.display()))?
        }
    };
    let folder = to.unwrap_or_else(|| project.plugins());
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
    Placed::put(&component, &folder, &project.folder.display().to_string())
}

/// Builds a project's plugin as a native library into a folder.
fn build_native(project: &Project, to: Option<PathBuf>) -> anyhow::Result<Placed> {
    anyhow::ensure!(
        project.description.is_none(),
        "`--native` builds plugins in Rust; for C there is `plugin-api/include/monocle_plugin.h`, and any compiler"
    );
    // A panic must not end the host, and where components are built, one is a trap.
    let unwind = ["--config", "profile.release.panic=\"unwind\""];
    let made = cargo(
        project,
        &unwind,
        DLL_EXTENSION,
        "a native library is built for this machine",
    )?;
    let folder = to.unwrap_or_else(|| project.plugins());
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
    Placed::put(&read(&made)?, &folder, &project.folder.display().to_string())
}

/// A program's run; what it says goes to standard error. `missing` says how to get it.
fn run(command: &mut Command, missing: &str) -> anyhow::Result<Vec<u8>> {
    let name = command.get_program().display().to_string();
    let output = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .output();
    let output = match output {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            anyhow::bail!("`{name}` is missing\n\nhint: {missing}")
        }
        output => output.with_context(|| format!("`{name}` cannot be started"))?,
    };
    if !output.status.success() {
        output::note(&String::from_utf8_lossy(&output.stdout));
        anyhow::bail!("`{name}` failed ({}): what it said stands above", output.status);
    }
    Ok(output.stdout)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    monocle_files::read(path, monocle_runtime::plugin::file::LARGEST)
        .with_context(|| format!("cannot read `{}`", path.display()))
}

/// A file that cargo made.
#[derive(Deserialize)]
struct Artifact {
    reason: String,
    #[serde(default)]
    filenames: Vec<PathBuf>,
    #[serde(default)]
    manifest_path: PathBuf,
}

/// What components in Rust are built for.
const TARGET: &str = "wasm32-unknown-unknown";

/// The library that cargo makes of the project's own crate with these arguments: its path.
fn cargo(project: &Project, arguments: &[&str], ending: &str, hint: &str) -> anyhow::Result<PathBuf> {
    let missing = "Rust is installed with rustup: https://rustup.rs";
    let said = run(
        Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--release"])
            .args(arguments)
            .args(["--message-format", "json-render-diagnostics"])
            .current_dir(&project.folder),
        missing,
    )
    .with_context(|| hint.to_owned())?;
    let own = std::fs::canonicalize(project.folder.join("Cargo.toml"))?;
    let said = String::from_utf8_lossy(&said);
    let artifacts = said
        .lines()
        .filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    let of_this = |artifact: &Artifact| {
        artifact.reason == "compiler-artifact"
            && std::fs::canonicalize(&artifact.manifest_path).is_ok_and(|path| path == own)
    };
    let made = artifacts
        .filter(of_this)
        .flat_map(|artifact| artifact.filenames)
        .find(|path| path.extension() == Some(OsStr::new(ending)));
    made.context("cargo made no library\n\nhint: `[lib] crate-type = [\"cdylib\"]` in `Cargo.toml`")
}

fn c(project: &Project) -> anyhow::Result<Vec<u8>> {
    let folder = &project.folder;
    let build = folder.join("build");
    std::fs::create_dir_all(&build).with_context(|| format!("cannot make `{}`", build.display()))?;
    let mut sources = vec![folder.join("bindings/adapter.c"), folder.join("libc/libc.c")];
    let own = std::fs::read_dir(folder).with_context(|| format!("cannot read `{}`", folder.display()))?;
    let own = own.filter_map(|entry| Some(entry.ok()?.path()));
    sources.extend(own.filter(|path| path.extension() == Some(OsStr::new("c"))));
    sources.sort();
    let mut objects = Vec::new();
    for source in &sources {
        let name = source.file_name().unwrap_or_default();
        let object = build.join(name).with_extension("o");
        run(
            Command::new("clang")
                .args(["--target=wasm32", "-O2", "-nostdlibinc", "-fno-builtin"])
                .args(["-Wall", "-Wextra", "-c"])
                .arg("-isystem")
                .arg(folder.join("libc"))
                .arg("-I")
                .arg(folder)
                .arg(source)
                .arg("-o")
                .arg(&object),
            "on Debian: apt-get install clang; on macOS: brew install llvm",
        )?;
        objects.push(object);
    }
    let module = build.join("module.wasm");
    let (linker, arguments) = linker();
    run(
        Command::new(linker)
            .args(arguments)
            .args(["--no-entry", "--export-dynamic", "--gc-sections"])
            .args(&objects)
            .arg(folder.join("bindings/adapter_component_type.o"))
            .arg("-o")
            .arg(&module),
        "on Debian: apt-get install lld; Rust's own linker is taken where Rust is installed",
    )?;
    monocle_component::componentize(&read(&module)?).context("what clang made is no component")
}

/// `wasm-ld`, or the same linker that comes with Rust.
fn linker() -> (PathBuf, &'static [&'static str]) {
    let of_rust = || {
        let said = Command::new("rustc")
            .args(["--print", "target-libdir"])
            .output()
            .ok()?;
        let libraries = PathBuf::from(String::from_utf8(said.stdout).ok()?.trim());
        let linker = libraries.with_file_name("bin").join("rust-lld");
        linker.is_file().then_some(linker)
    };
    let works = Command::new("wasm-ld").arg("--version").output().is_ok();
    match (works, of_rust()) {
        (false, Some(linker)) => (linker, &["-flavor", "wasm"]),
        _ => ("wasm-ld".into(), &[]),
    }
}

fn js(project: &Project, description: &Description) -> anyhow::Result<Vec<u8>> {
    let missing = "on Debian: apt-get install nodejs npm; on macOS: brew install node";
    // A folder of tools that somebody has prepared, else the project's own, made now.
    let tool = match std::env::var_os("MONOCLE_JS_TOOLS") {
        Some(tools) => PathBuf::from(tools).join("node_modules/.bin/componentize-js"),
        None => {
            let own = project.folder.join("node_modules/.bin/componentize-js");
            if !own.is_file() {
                output::note("npm installs what `package.json` names, once");
                let mut npm = Command::new("npm");
                npm.args(["install", "--no-audit", "--no-fund", "--silent"])
                    .current_dir(&project.folder);
                run(&mut npm, missing)?;
            }
            own
        }
    };
    let made = made(project, "component.wasm")?;
    run(
        Command::new(std::path::absolute(tool)?)
            .current_dir(&project.folder)
            .args(["plugin.js", "-w", "wit", "-n", &description.world, "-d"])
            .args(NO_WASI)
            .arg("-o")
            .arg(&made),
        missing,
    )?;
    read(&made)
}

fn python(project: &Project, description: &Description) -> anyhow::Result<Vec<u8>> {
    let missing = "on Debian: apt-get install python3 python3-venv; on macOS: brew install python";
    let environment = match std::env::var_os("MONOCLE_PYTHON_TOOLS") {
        Some(tools) => PathBuf::from(tools),
        None => {
            let own = project.folder.join(".venv");
            if !own.join("bin/componentize-py").is_file() {
                output::note("pip installs what `requirements.txt` names into `.venv`, once");
                run(Command::new("python3").args(["-m", "venv"]).arg(&own), missing)?;
                let mut pip = Command::new(own.join("bin/pip"));
                pip.args(["install", "--quiet", "--requirement"])
                    .arg(project.folder.join("requirements.txt"));
                run(&mut pip, missing)?;
            }
            own
        }
    };
    let made = made(project, "component.wasm")?;
    run(
        Command::new(std::path::absolute(environment.join("bin/componentize-py"))?)
            .current_dir(&project.folder)
            .args([
                "-d",
                "wit",
                "-w",
                &description.world,
                "componentize",
                "--stub-wasi",
            ])
            .args(["-p", ".", "plugin", "-o"])
            .arg(&made),
        missing,
    )?;
    read(&made)
}

/// Where a tool puts what it makes.
fn made(project: &Project, name: &str) -> anyhow::Result<PathBuf> {
    let folder = std::path::absolute(project.folder.join("build"))?;
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
    Ok(folder.join(name))
}
