//! The program and the plugins as they are given to others: built by zig's C compiler and linker against an old glibc, so that they run on
//! every Linux of the last ten years, and with no trace of the machine that built them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail};

use super::origin::Folders;
use crate::process::{run, works};

/// The oldest glibc that the program runs with: 2.17, of 2012.
const GLIBC: u32 = 17;

/// What was built.
pub struct Built {
    /// The program's file.
    pub program: PathBuf,
    /// The folder of the plugins.
    pub plugins: PathBuf,
    /// What must not be named in them.
    pub folders: Folders,
    /// Files with the licences of what the compiler put into the program.
    pub licences: Vec<PathBuf>,
}

/// Builds for a Linux, below a folder of its own: it has other flags than any other build.
pub fn linux(target: &Path, place: &Path, triple: &str) -> Result<Built> {
    let tools = crate::tools::zig(target)?;
    let zig = zig_folder(&tools)?;
    if !works(Command::new("rustup").args(["target", "add", triple])) {
        bail!("`rustup target add {triple}` did not work: install Rust with rustup (https://rustup.rs)");
    }
    fs::create_dir_all(place).with_context(|| format!("creating `{}`", place.display()))?;
    let place = place.canonicalize().context("finding the folder to build in")?;
    let folders = Folders::here(&place)?.and(zig.clone(), "zig");
    crate::build_plugins_into(&place, &["plugins"], Some(&folders.for_rustc()))?;
    let path = env::var_os("PATH").unwrap_or_default();
    let path = [tools.clone()].into_iter().chain(env::split_paths(&path));
    let mut command = Command::new(tools.join("cargo-zigbuild"));
    command.args([
        "zigbuild",
        "--locked",
        "--release",
        "--package",
        "monocle",
        "--bin",
        "monocle",
    ]);
    command.args(["--target", &format!("{triple}.2.{GLIBC}")]);
    command
        .env("PATH", env::join_paths(path).context("the folders of PATH")?)
        .env("CARGO_TARGET_DIR", &place)
        .env("CARGO_ZIGBUILD_CACHE_DIR", place.join("zig-wrappers"))
        .env("ZIG_GLOBAL_CACHE_DIR", place.join("zig-cache"))
        .env("CARGO_ENCODED_RUSTFLAGS", folders.for_rustc())
        .env("CFLAGS", folders.for_c())
        .env("CXXFLAGS", folders.for_c())
        .env("CARGO_PROFILE_RELEASE_INCREMENTAL", "false")
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        .env_remove("RUSTFLAGS");
    run(&mut command)?;
    let program = place.join(triple).join("release").join("monocle");
    let bytes = fs::read(&program).with_context(|| format!("reading `{}`", program.display()))?;
    let newest = newest_glibc(&bytes);
    if newest > Some(GLIBC) {
        bail!(
            "the program asks for glibc 2.{}, expected 2.{GLIBC} at most",
            newest.unwrap_or(0)
        );
    }
    Ok(Built {
        program,
        plugins: place.join("plugins"),
        folders,
        licences: vec![zig.join("LICENSE"), zig.join("lib/libunwind/LICENSE.TXT")],
    })
}

/// Where pip put zig.
fn zig_folder(tools: &Path) -> Result<PathBuf> {
    let script = "import os, ziglang; print(os.path.dirname(ziglang.__file__))";
    let folder = crate::process::output(Command::new(tools.join("python")).args(["-c", script]))?;
    Ok(PathBuf::from(folder.trim()))
}

/// The newest version of glibc that a program's symbols are of: `2.N`.
fn newest_glibc(program: &[u8]) -> Option<u32> {
    const MARK: &[u8] = b"GLIBC_2.";
    let starts = program.windows(MARK.len()).enumerate();
    let starts = starts
        .filter(|(_, bytes)| *bytes == MARK)
        .map(|(at, _)| at + MARK.len());
    let number = |at: usize| {
        let digits = program[at..].iter().take_while(|byte| byte.is_ascii_digit());
        String::from_utf8_lossy(&digits.copied().collect::<Vec<u8>>())
            .parse()
            .ok()
    };
    starts.filter_map(number).max()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_newest_symbol_counts() {
        let symbols = b"\0GLIBC_2.2.5\0GLIBC_2.17\0GLIBC_2.3\0GLIBC_PRIVATE\0";
        assert_eq!(super::newest_glibc(symbols), Some(17));
        assert_eq!(super::newest_glibc(b"static"), None);
    }
}
