//! Checks, without a Mac, all that only macOS builds: types and lints, nothing native.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::mirror;
use crate::mlx::has_libclang;
use crate::process::{cargo_command, make_executable, run, works, write_if_changed};

const TRIPLE: &str = "aarch64-apple-darwin";
/// What is laid over mlx-sys: bindings from its headers, and nothing built.
const OVERLAY: &str = "host/mlx/bindings";

/// A compiler and an archiver that make empty files: a check links nothing, but build scripts of native code want to see
/// their results.
const COMPILER: &str = "#!/bin/sh
# Stands in for a C compiler and an archiver: makes the file after `-o`, or the archive, empty.
for argument in \"$@\"; do
    case \"$previous\" in -o) : > \"$argument\" ;; esac
    case \"$argument\" in
        -E) echo clang ;;
        *.a) : > \"$argument\" ;;
    esac
    previous=$argument
done
";

/// Types and lints of all crates, as a Mac builds them.
pub fn check(target: &Path) -> Result<()> {
    if !has_libclang() {
        bail!(
            "bindings of MLX cannot be made here without libclang; on Debian: apt-get install libclang-dev"
        );
    }
    let installed = works(std::process::Command::new("rustup").args(["target", "add", TRIPLE]));
    if !installed {
        bail!("`rustup target add {TRIPLE}` did not work: install Rust with rustup (https://rustup.rs)");
    }
    fs::create_dir_all(target).with_context(|| format!("creating `{}`", target.display()))?;
    let target = target.canonicalize().context("finding the target folder")?;
    let place = target.join("macos");
    let workspace = mirror::make(&place, Path::new(OVERLAY))?;
    let compiler = place.join("no-compiler");
    write_if_changed(&compiler, COMPILER.as_bytes())?;
    make_executable(&compiler)?;
    let mut command = cargo_command();
    command.args([
        "clippy",
        "--release",
        "--target",
        TRIPLE,
        "--workspace",
        "--all-targets",
    ]);
    let name = TRIPLE.replace('-', "_");
    command.env(format!("CC_{name}"), &compiler);
    command.env(format!("CXX_{name}"), &compiler);
    command.env(format!("AR_{name}"), &compiler);
    command.env("SDKROOT", &place);
    command.env("CARGO_TARGET_DIR", &target);
    command.current_dir(workspace);
    run(command.args(["--", "-D", "warnings"]))
}
