//! The program and the plugins as they are given to others: built by zig's C compiler and linker against an old glibc, so that they run on
//! every Linux of the last ten years, and with no trace of the machine that built them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail};

use super::origin::Folders;
use crate::process::{output, run, works};

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
    /// Where zig lies.
    pub zig: PathBuf,
}

/// Builds for a Linux, below a folder of its own: it has other flags than any other build.
pub fn linux(target: &Path, place: &Path, triple: &str) -> Result<Built> {
    let zig = Zig::here(target)?;
    add_target(triple)?;
    fs::create_dir_all(place).with_context(|| format!("creating `{}`", place.display()))?;
    let place = place.canonicalize().context("finding the folder to build in")?;
    let folders = Folders::here(&place)?.and(zig.folder.clone(), "zig");
    crate::build_plugins_into(&place, &["plugins"], Some(&folders.for_rustc()))?;
    let mut command = zig.build(&place, &folders, &format!("{triple}.2.{GLIBC}"))?;
    run(command.arg("--locked"))?;
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
        zig: zig.folder,
    })
}

/// Lets Rust build for another system.
pub fn add_target(triple: &str) -> Result<()> {
    match works(Command::new("rustup").args(["target", "add", triple])) {
        true => Ok(()),
        false => {
            bail!("`rustup target add {triple}` did not work: install Rust with rustup (https://rustup.rs)")
        }
    }
}

/// zig, as pip installed it.
pub struct Zig {
    /// Its own folder.
    pub folder: PathBuf,
    /// That of the programs which pip installed with it.
    programs: PathBuf,
}

impl Zig {
    /// The one below a target folder; installed if need be.
    pub fn here(target: &Path) -> Result<Self> {
        let programs = crate::tools::zig(target)?;
        let script = "import os, ziglang; print(os.path.dirname(ziglang.__file__))";
        let folder = output(Command::new(programs.join("python")).args(["-c", script]))?;
        Ok(Self {
            folder: PathBuf::from(folder.trim()),
            programs,
        })
    }

    /// The command that builds the program for a system, in `place`.
    pub fn build(&self, place: &Path, folders: &Folders, system: &str) -> Result<Command> {
        let path = env::var_os("PATH").unwrap_or_default();
        let path = [self.programs.clone()].into_iter().chain(env::split_paths(&path));
        let mut command = Command::new(self.programs.join("cargo-zigbuild"));
        command.args(["zigbuild", "--release"]);
        command.args(["--package", "monocle", "--bin", "monocle"]);
        command.args(["--target", system]);
        command
            .env("PATH", env::join_paths(path).context("the folders of PATH")?)
            .env("CARGO_TARGET_DIR", place)
            .env("CARGO_ZIGBUILD_CACHE_DIR", place.join("zig-wrappers"))
            .env("ZIG_GLOBAL_CACHE_DIR", place.join("zig-cache"))
            .env("CARGO_ENCODED_RUSTFLAGS", folders.for_rustc())
            .env("CFLAGS", folders.for_c())
            .env("CXXFLAGS", folders.for_c())
            .env("CARGO_PROFILE_RELEASE_INCREMENTAL", "false")
            .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
            .env_remove("RUSTFLAGS");
        Ok(command)
    }
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
