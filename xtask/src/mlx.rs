//! Tests of the engine `mlx`: on macOS like all others, elsewhere on the MLX library of a Python wheel.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::{env, fs};

use anyhow::{Context, Result, bail};

use crate::process::{self, Workspace, cargo_command, run, works};
use crate::{mirror, wheel};

/// Debian's names for what the build needs besides a C++ compiler.
const PACKAGES: &str = "clang libclang-dev libfmt-dev python3-pip";

/// The tests that run on this engine: its own, those of every family, of the loop, of batches and of memory, and those of both engines side by side.
/// Two halves that take about as long.
const TESTS: [&[&str]; 2] = [
    &["parity", "families", "engines", "ahead", "memory"],
    &["scheduler", "soak", "mlx"],
];
/// Tests of these that no engine has a part in.
const WITHOUT_ENGINE: [&str; 1] = ["hashed"];

/// Has a Mac take MLX from its Python wheel where `MONOCLE_MLX` is `wheel`. Otherwise mlx-sys builds MLX, for which it needs Xcode.
pub fn choose(target: &Path) -> Result<()> {
    let Some(choice) = env::var_os("MONOCLE_MLX") else {
        return Ok(());
    };
    if choice != "wheel" {
        bail!("`MONOCLE_MLX` can be `wheel`, and is {choice:?}");
    }
    if !cfg!(target_os = "macos") {
        bail!(
            "`MONOCLE_MLX=wheel` is for macOS; on this system, `cargo xtask run --engine mlx` does the same"
        );
    }
    let place = absolute(&target.join("mlx"))?;
    let library = wheel::fetch(&place, wheel::METAL, None)?;
    let folder = mirror::make(&place, Path::new(wheel::OVERLAY))?;
    process::work_in(Workspace {
        folder,
        variables: on_wheel(&library, &absolute(target)?),
    })
}

/// What builds on a Mac are told: where the wheel's folder is, and that programs look for its library there.
fn on_wheel(library: &Path, target: &Path) -> Vec<(&'static str, OsString)> {
    let mut search = OsString::from("-Clink-arg=-Wl,-rpath,");
    search.push(library.join("lib"));
    vec![
        ("MLX_ROOT", library.into()),
        ("CARGO_TARGET_DIR", target.into()),
        ("CARGO_TARGET_AARCH64_APPLE_DARWIN_RUSTFLAGS", search),
    ]
}

/// Runs them.
pub fn test(target: &Path) -> Result<()> {
    let mut command = tests(target, &TESTS.concat())?;
    run(command.arg("--no-run"))?;
    // Each half uses one core, most of the time.
    let halves = TESTS.map(|names| run_half(target, names));
    let mut failed = Vec::new();
    for half in halves {
        let (names, mut half) = half?;
        let status = half.wait().with_context(|| format!("waiting for {names}"))?;
        if !status.success() {
            failed.push(format!("{names} ({status})"));
        }
    }
    if !failed.is_empty() {
        bail!("tests of the engine `mlx` failed: {}", failed.join(" and "));
    }
    let mut command = cargo_command();
    command.args(["clippy", "--release", "--all-targets"]);
    for package in ["monocle", "monocle-mlx", "monocle-runtime", "monocle-tests"] {
        command.args(["--package", package]);
    }
    prepare(&mut command, target)?;
    run(command.args(["--", "-D", "warnings"]))
}

/// Starts some of them.
fn run_half(target: &Path, names: &[&str]) -> Result<(String, Child)> {
    let mut command = tests(target, names)?;
    command.arg("--");
    for skipped in WITHOUT_ENGINE {
        command.args(["--skip", skipped]);
    }
    let half = command.spawn();
    Ok((
        names.join(", "),
        half.with_context(|| format!("running {command:?}"))?,
    ))
}

/// Runs one further test on this engine.
pub fn test_one(target: &Path, name: &str) -> Result<()> {
    run(&mut tests(target, &[name])?)
}

/// `cargo test` of some tests.
fn tests(target: &Path, names: &[&str]) -> Result<Command> {
    let mut command = cargo_command();
    command.args(["test", "--release", "--workspace"]);
    prepare(&mut command, target)?;
    for name in names {
        command.args(["--test", name]);
    }
    command.env("MONOCLE_TEST_ENGINE", "mlx");
    // MLX's counters of memory are those of the process.
    command.env("RUST_TEST_THREADS", "1");
    Ok(command)
}

/// Builds the program with this engine, and runs it.
pub fn program(target: &Path, arguments: &[String]) -> Result<()> {
    let mut build = cargo_command();
    build.args(["build", "--release", "--workspace"]);
    let libraries = prepare(&mut build, target)?;
    run(&mut build)?;
    let mut program = Command::new(absolute(target)?.join("release").join("monocle"));
    if let Some(libraries) = libraries {
        program.env("LD_LIBRARY_PATH", libraries);
    }
    run(program.args(arguments))
}

/// Runs a bench with this engine built in.
pub fn bench(target: &Path, name: &str, arguments: &[String]) -> Result<()> {
    let mut command = cargo_command();
    // The whole workspace: its features are then those of the tests, and nothing is compiled twice.
    command.args(["bench", "--workspace", "--bench", name]);
    prepare(&mut command, target)?;
    command.env("MONOCLE_TEST_ENGINE", "mlx");
    run(command.arg("--").args(arguments))
}

/// Lets a cargo command build the engine; gives the folder of MLX's library where that is not the system's.
fn prepare(command: &mut Command, target: &Path) -> Result<Option<PathBuf>> {
    if cfg!(target_os = "macos") {
        return Ok(None);
    }
    check_tools()?;
    let place = absolute(&target.join("mlx"))?;
    let library = wheel::fetch(&place, wheel::CPU, None)?;
    let workspace = mirror::make(&place, Path::new(wheel::OVERLAY))?;
    command.args(["--features", "monocle-mlx/installed,monocle-tests/mlx"]);
    command.current_dir(workspace);
    command.env("CARGO_TARGET_DIR", absolute(target)?);
    let libraries = library.join("lib");
    command.env("LD_LIBRARY_PATH", &libraries);
    command.env("MLX_ROOT", library);
    Ok(Some(libraries))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    fs::create_dir_all(path).with_context(|| format!("creating `{}`", path.display()))?;
    path.canonicalize()
        .with_context(|| format!("finding `{}`", path.display()))
}

fn check_tools() -> Result<()> {
    let mut missing = Vec::new();
    if !works(Command::new("python3").args(["-m", "pip", "--version"])) {
        missing.push("pip for Python 3");
    }
    if !has_libclang() {
        missing.push("libclang");
    }
    if !has_format() {
        missing.push("a C++ 20 compiler with <format>, or libfmt");
    }
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "the engine `mlx` cannot be built here without {}; on Debian: apt-get install build-essential {PACKAGES}",
        missing.join(", ")
    )
}

/// Where bindgen looks, and how the library is called there.
pub fn has_libclang() -> bool {
    if env::var_os("LIBCLANG_PATH").is_some() {
        return true;
    }
    let versions = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let versions = versions.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("llvm") || name.ends_with("-linux-gnu")
    });
    let folders = versions.flat_map(|path| [path.join("lib"), path]);
    let others = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from);
    let mut files = folders
        .chain(others)
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .flatten();
    files.any(|file| {
        let name = file.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libclang.so")
            || name.starts_with("libclang-") && name.contains(".so") && !name.contains("cpp")
    })
}

fn has_format() -> bool {
    let compiles = |header: &str| {
        let mut compiler = Command::new(env::var_os("CXX").unwrap_or_else(|| "c++".into()));
        compiler.args([
            "-std=c++20",
            "-fsyntax-only",
            "-include",
            header,
            "-x",
            "c++",
            "/dev/null",
        ]);
        works(&mut compiler)
    };
    compiles("format") || compiles("fmt/format.h")
}
