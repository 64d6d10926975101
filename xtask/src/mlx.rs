//! Tests of the engine `mlx`: on macOS like all others, elsewhere on the MLX library of a Python wheel.

use std::ffi::{OsStr, OsString};
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

/// Where a Mac has MLX from.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Origin {
    /// mlx-sys builds it: that takes Xcode, with Apple's compiler for Metal.
    Sources,
    /// Its Python wheel.
    Wheel,
}

/// Has a Mac take MLX from its Python wheel where `MONOCLE_MLX` is `wheel`, or where it says nothing and there is no compiler for Metal.
pub fn choose(target: &Path) -> Result<()> {
    let asked = env::var_os("MONOCLE_MLX");
    let has_compiler = || works(Command::new("xcrun").args(["--find", "metal"]));
    if origin(asked.as_deref(), cfg!(target_os = "macos"), has_compiler)? == Origin::Sources {
        return Ok(());
    }
    if asked.is_none() {
        println!(
            "no compiler for Metal is here (`xcrun --find metal`; it comes with Xcode): MLX is taken from its Python wheel, as with \
             MONOCLE_MLX=wheel"
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

/// What is asked for, or else what this system can do.
fn origin(asked: Option<&OsStr>, is_mac: bool, has_compiler: impl FnOnce() -> bool) -> Result<Origin> {
    match asked.map(|asked| asked.to_str().unwrap_or_default()) {
        Some("wheel") if is_mac => Ok(Origin::Wheel),
        Some("wheel") => bail!(
            "`MONOCLE_MLX=wheel` is for macOS; on this system, `cargo xtask run --engine mlx` does the same"
        ),
        Some("sources") => Ok(Origin::Sources),
        Some(other) => bail!("`MONOCLE_MLX` can be `wheel` or `sources`, and is `{other}`"),
        None if is_mac && !has_compiler() => Ok(Origin::Wheel),
        None => Ok(Origin::Sources),
    }
}

/// What builds on a Mac are told: where the wheel's folder is, that programs look for its library there, and the oldest system that there is a
/// wheel for: of an older one, C++ would lack what MLX's headers use.
fn on_wheel(library: &Path, target: &Path) -> Vec<(&'static str, OsString)> {
    let mut search = OsString::from("-Clink-arg=-Wl,-rpath,");
    search.push(library.join("lib"));
    vec![
        ("MLX_ROOT", library.into()),
        ("CARGO_TARGET_DIR", target.into()),
        ("CARGO_TARGET_AARCH64_APPLE_DARWIN_RUSTFLAGS", search),
        ("MACOSX_DEPLOYMENT_TARGET", wheel::MACOS.into()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_without_a_compiler_for_metal_takes_the_wheel() {
        let on_mac = |asked: Option<&str>, has_compiler: bool| {
            origin(asked.map(OsStr::new), true, || has_compiler).map_err(|error| error.to_string())
        };
        assert_eq!(on_mac(None, false), Ok(Origin::Wheel));
        assert_eq!(on_mac(None, true), Ok(Origin::Sources));
        assert_eq!(on_mac(Some("wheel"), true), Ok(Origin::Wheel));
        assert_eq!(on_mac(Some("sources"), false), Ok(Origin::Sources));
        assert!(
            on_mac(Some("xcode"), true)
                .unwrap_err()
                .contains("`wheel` or `sources`, and is `xcode`")
        );
        let elsewhere =
            |asked: Option<&str>| origin(asked.map(OsStr::new), false, || unreachable!("it is not asked"));
        assert_eq!(elsewhere(None).unwrap(), Origin::Sources);
        let refused = elsewhere(Some("wheel")).unwrap_err().to_string();
        assert!(refused.contains("cargo xtask run --engine mlx"), "{refused}");
    }

    #[test]
    fn builds_on_the_wheel_are_for_its_oldest_system_and_find_its_library() {
        let told = on_wheel(Path::new("/w/mlx"), Path::new("/t"));
        let value = |name: &str| {
            let found = told.iter().find(|(told, _)| *told == name);
            found.map(|(_, value)| value.to_str().unwrap())
        };
        assert_eq!(value("MLX_ROOT"), Some("/w/mlx"));
        assert_eq!(value("CARGO_TARGET_DIR"), Some("/t"));
        assert_eq!(
            value("CARGO_TARGET_AARCH64_APPLE_DARWIN_RUSTFLAGS"),
            Some("-Clink-arg=-Wl,-rpath,/w/mlx/lib")
        );
        assert_eq!(value("MACOSX_DEPLOYMENT_TARGET"), Some("14.0"));
        let version = wheel::MACOS.replace('.', "_");
        assert_eq!(wheel::OLDEST_MACOS, format!("macosx_{version}_arm64"));
    }
}
