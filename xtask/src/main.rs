//! `cargo xtask`: builds the program and the plugins, runs the demo and the tests.

mod dist;
mod macos;
mod mirror;
mod mlx;
mod process;
mod tools;
mod verify;
mod wheel;

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail};

use process::{cargo, run, write_if_changed};

const HELP: &str = "\
cargo xtask build           build the program and the plugins, as components and as native libraries
cargo xtask build-plugins   build the plugins only, into target/plugins, and those of the tests into target/test-plugins
cargo xtask demo [ARGS]     build, then describe a picture (yours, or the project's) with the model that ships with the project
cargo xtask test            build, then run all tests and checks
cargo xtask test --engine mlx      the tests of the engine `mlx` (elsewhere than on macOS: on MLX's build for processors)
cargo xtask run --engine mlx ARGS  build the program with the engine `mlx` too, and run `monocle ARGS` (`run MODEL --engine mlx ..`)
cargo xtask bench --engine mlx NAME [ARGS]  a bench of `benches` on the engine `mlx`
cargo xtask check-macos     check, from here, what only macOS builds
cargo xtask dist [TRIPLE..] [--from ADDRESS]   archives for machines without Rust, into target/dist: docs/release.md
cargo xtask dist --here     one of the program as it is built here, tried in a bare system
cargo xtask verify [PART..] what is too slow for `test`: fuzzing, long soaks; results are noted in docs/verification.md
cargo xtask tools           Python environments and npm packages under the target folder: for scripts that make reference answers, clients,
                            and plugins in JavaScript and Python
MONOCLE_MLX=wheel cargo xtask ..   on macOS: MLX is taken from its Python wheel and not built, so Xcode is not needed; without a word, that is
                            done where there is no compiler for Metal (MONOCLE_MLX=sources: build it)";

const DEMO_PICTURE: &str = "models/shapes/pictures/shapes.png";
const TARGET: &str = "wasm32-unknown-unknown";
/// Folders with plugins.
const SOURCES: [&str; 2] = ["plugins", "tests/plugins"];

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (task, rest) = arguments
        .split_first()
        .map_or(("", [].as_slice()), |(task, rest)| (task.as_str(), rest));
    env::set_current_dir(root())?;
    if !matches!(task, "" | "help" | "--help") {
        mlx::choose(&target_folder())?;
    }
    match task {
        "build" => build(),
        "build-plugins" => build_plugins(),
        "demo" => demo(rest),
        "test" => match rest {
            [] => test(),
            [flag, engine] if flag == "--engine" && engine == "mlx" => {
                build()?;
                mlx::test(&target_folder())
            }
            [flag, engine] if flag == "--engine" && engine == "cpu" => test(),
            other => bail!("`cargo xtask test` takes `--engine cpu` or `--engine mlx`, not {other:?}"),
        },
        "run" => match rest {
            [flag, engine, arguments @ ..] if flag == "--engine" && engine == "mlx" => {
                build_plugins()?;
                mlx::program(&target_folder(), arguments)
            }
            other => bail!("expected `cargo xtask run --engine mlx ARGS`, found {other:?}"),
        },
        "bench" => match rest {
            [flag, engine, name, arguments @ ..] if flag == "--engine" && engine == "mlx" => {
                build_plugins()?;
                mlx::bench(&target_folder(), name, arguments)
            }
            other => bail!("expected `cargo xtask bench --engine mlx NAME [ARGS]`, found {other:?}"),
        },
        "check-macos" => macos::check(&target_folder()),
        "dist" => dist::dist(&target_folder(), rest),
        "verify" => {
            build()?;
            verify::verify(&target_folder(), rest)
        }
        "tools" => tools::prepare(&target_folder()),
        "" | "help" | "--help" => {
            println!("{HELP}");
            Ok(())
        }
        other => bail!("there is no task `{other}`; the tasks are:\n{HELP}"),
    }
}

fn build() -> Result<()> {
    build_plugins()?;
    // The whole workspace: its features are then those of the tests, and nothing is compiled twice.
    cargo(&["build", "--release", "--workspace"])?;
    native_plugins()
}

/// The same crates, built for this machine with the workspace, are native libraries: into `target/native-plugins` and
/// `target/native-test-plugins`.
fn native_plugins() -> Result<()> {
    for source in SOURCES {
        let folder = target_folder().join(format!("native-{}", place(source)));
        fs::create_dir_all(&folder).with_context(|| format!("creating `{}`", folder.display()))?;
        for name in plugins(Path::new(source))? {
            let built = format!("{DLL_PREFIX}{}{DLL_SUFFIX}", name.replace('-', "_"));
            let built = target_folder().join("release").join(built);
            let bytes = fs::read(&built).with_context(|| format!("reading `{}`", built.display()))?;
            write_if_changed(&folder.join(format!("{name}{DLL_SUFFIX}")), &bytes)?;
        }
    }
    Ok(())
}

/// Where a folder's plugins go below the target folder: those of `tests/plugins` to `test-plugins`.
fn place(source: &str) -> String {
    source.replace("tests/", "test-")
}

/// Builds every crate in `plugins` for WASM and wraps it as a component in `target/plugins`; likewise those in `tests/plugins`,
/// which are apart: nobody should come upon them who looks for a plugin.
fn build_plugins() -> Result<()> {
    build_plugins_into(&target_folder(), &SOURCES, None)?;
    lay_out()
}

/// Builds the plugins of some of the project's folders below a target folder, where the compiler is given flags as in
/// `CARGO_ENCODED_RUSTFLAGS`.
fn build_plugins_into(target: &Path, sources: &[&str], flags: Option<&str>) -> Result<()> {
    ensure_target()?;
    let mut command = process::cargo_command();
    command.args(["build", "--target", TARGET, "--profile", "plugin"]);
    command.env(
        "CARGO_TARGET_DIR",
        std::path::absolute(target).context("finding the target folder")?,
    );
    command.envs(flags.map(|flags| ("CARGO_ENCODED_RUSTFLAGS", flags)));
    let mut names = Vec::new();
    for source in sources {
        let plugins = plugins(Path::new(source))?;
        names.extend(plugins.into_iter().map(|name| (name, place(source))));
    }
    for (name, _) in &names {
        command.args(["--package", name]);
    }
    run(&mut command)?;
    let built = target.join(TARGET).join("plugin");
    for (name, place) in &names {
        let folder = target.join(place);
        fs::create_dir_all(&folder).with_context(|| format!("creating `{}`", folder.display()))?;
        let module = built.join(format!("{}.wasm", name.replace('-', "_")));
        let bytes = fs::read(&module).with_context(|| format!("reading `{}`", module.display()))?;
        let component =
            monocle_component::wrap(&bytes).with_context(|| format!("wrapping plugin `{name}`"))?;
        let file = folder.join(format!("{name}.wasm"));
        if write_if_changed(&file, &component)? {
            println!("{} ({} kB)", file.display(), component.len() / 1000);
        }
    }
    Ok(())
}

/// Lets a built program find what comes with it as an installed one does: in `share/monocle`, beside its own folder.
fn lay_out() -> Result<()> {
    let shared = target_folder().join("share/monocle");
    fs::create_dir_all(&shared).with_context(|| format!("creating `{}`", shared.display()))?;
    let project = env::current_dir().context("finding the project's folder")?;
    for name in ["manifests", "models"] {
        process::link(&project.join(name), &shared.join(name))?;
    }
    process::link(Path::new("../../plugins"), &shared.join("plugins"))
}

fn demo(arguments: &[String]) -> Result<()> {
    build()?;
    let mut command = Command::new(target_folder().join("release").join("monocle"));
    command.args(["run", "shapes"]);
    // A picture of the user's own, or the one that ships with the project.
    if arguments.first().is_none_or(|first| first.starts_with('-')) {
        println!("describing {DEMO_PICTURE}");
        command.arg(DEMO_PICTURE);
    }
    run(command.args(arguments))
}

fn test() -> Result<()> {
    build()?;
    tools::sdks(&target_folder());
    cargo(&["test", "--release", "--workspace"])?;
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&[
        "clippy",
        "--release",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ])
}

/// The standard library for WASM must be there; rustup installs it if it can.
fn ensure_target() -> Result<()> {
    let output = Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()
        .context("running `rustc`")?;
    let sysroot = String::from_utf8(output.stdout).context("the path that `rustc --print sysroot` gives")?;
    if Path::new(sysroot.trim())
        .join("lib/rustlib")
        .join(TARGET)
        .exists()
    {
        return Ok(());
    }
    let added = Command::new("rustup").args(["target", "add", TARGET]).status();
    if added.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    bail!(
        "plugins are built for `{TARGET}`, whose standard library is not installed, and `rustup target add {TARGET}` \
         did not work; install Rust with rustup (https://rustup.rs), or your system's package for that target"
    )
}

/// Names of the plugin crates in a folder: those of their own folders.
fn plugins(place: &Path) -> Result<Vec<String>> {
    let folders = sorted_entries(place)?
        .into_iter()
        .filter(|path| path.join("Cargo.toml").exists());
    let name = |path: PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(folders.filter_map(name).collect())
}

fn sorted_entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("reading the folder `{}`", folder.display()))?;
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn target_folder() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Crates and their features, as cargo resolves them for these kinds of dependencies.
    fn resolved(kinds: &str) -> BTreeSet<String> {
        let mut command = process::cargo_command();
        command.current_dir(root());
        command.args(["tree", "--workspace", "--locked", "--offline", "--edges", kinds]);
        command.args(["--prefix", "none", "--no-dedupe", "--format", "{p} {f}"]);
        let text = process::output(&mut command).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Crates that are compiled without checks of overflow: with them, the innermost loops of kernels are not unrolled, and what they multiply
    /// are lengths of buffers that exist (`host/kernels/src/lib.rs`); the other crate is the plugins' and no part of the host.
    const UNCHECKED: [&str; 2] = ["monocle-kernels", "monocle-plugin"];

    #[test]
    fn sums_of_the_host_never_wrap() {
        let profiles = fs::read_to_string(root().join("Cargo.toml")).unwrap();
        let mut seen = 0;
        for folder in ["host", "plugin-api"] {
            for entry in fs::read_dir(root().join(folder)).unwrap() {
                let Ok(about) = fs::read_to_string(entry.unwrap().path().join("Cargo.toml")) else {
                    continue;
                };
                let name = about.lines().find_map(|line| line.strip_prefix("name = \""));
                let name = name.and_then(|name| name.strip_suffix('"')).unwrap();
                let checked = format!("[profile.release.package.{name}]\noverflow-checks = true\n");
                assert_eq!(profiles.contains(&checked), !UNCHECKED.contains(&name), "{name}");
                seen += 1;
            }
        }
        assert!(seen >= 20, "{seen} crates");
    }

    /// Else `cargo test` compiles them again, and all that depends on them: minutes.
    #[test]
    fn tests_ask_for_the_features_that_the_build_has() {
        let built = resolved("normal,build");
        let name = |line: &str| line.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" ");
        let names: BTreeSet<String> = built.iter().map(|line| name(line)).collect();
        let tested = resolved("normal,build,dev");
        let other: Vec<&String> = tested
            .difference(&built)
            .filter(|line| names.contains(&name(line)))
            .collect();
        assert!(
            other.is_empty(),
            "a development dependency turns features on; let `tests/Cargo.toml` depend on it: {other:#?}"
        );
    }
}
