//! Running other programs, and writing files and links that they look at.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::{env, fs};

use anyhow::{Context, Result, bail};

/// Where cargo works, if not in the project's folder.
static WORKSPACE: OnceLock<Workspace> = OnceLock::new();

/// Another workspace on the same sources.
pub struct Workspace {
    /// Its folder.
    pub folder: PathBuf,
    /// What its builds are told.
    pub variables: Vec<(&'static str, OsString)>,
}

/// From now on, cargo works there.
pub fn work_in(workspace: Workspace) -> Result<()> {
    match WORKSPACE.set(workspace) {
        Ok(()) => Ok(()),
        Err(_) => bail!("cargo works in another workspace already"),
    }
}

/// Runs cargo; it must succeed.
pub fn cargo(arguments: &[&str]) -> Result<()> {
    run(cargo_command().args(arguments))
}

/// The cargo that runs this, as somebody would start it: some crates are built again where cargo's variables for `xtask` are set, or are not.
pub fn cargo_command() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        let is_of_xtask = ["CARGO_PKG_", "CARGO_MANIFEST_"]
            .iter()
            .any(|start| name.to_string_lossy().starts_with(start));
        if is_of_xtask {
            command.env_remove(&name);
        }
    }
    if let Some(workspace) = WORKSPACE.get() {
        command.current_dir(&workspace.folder);
        command.envs(workspace.variables.iter().cloned());
    }
    command
}

/// Runs a program; it must succeed.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("running {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed ({status})");
    }
    Ok(())
}

/// Runs a program; it must succeed. Gives what it prints.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("running {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed ({})", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("reading what {command:?} printed"))
}

/// Whether a program runs and succeeds, whatever it prints.
pub fn works(command: &mut Command) -> bool {
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// Somebody may be about to read the file: he sees the old one or the new one, never half of one. Gives whether it changed.
pub fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<bool> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(false);
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    fs::write(&new, bytes).with_context(|| format!("writing `{}`", new.display()))?;
    fs::rename(&new, path).with_context(|| format!("writing `{}`", path.display()))?;
    Ok(true)
}

/// Makes a link, in place of one that leads elsewhere.
#[cfg(unix)]
pub fn link(from: &Path, to: &Path) -> Result<()> {
    if fs::read_link(to).is_ok_and(|old| old == from) {
        return Ok(());
    }
    if fs::symlink_metadata(to).is_ok() {
        fs::remove_file(to).with_context(|| format!("removing the old link `{}`", to.display()))?;
    }
    std::os::unix::fs::symlink(from, to).with_context(|| format!("linking `{}`", to.display()))
}

/// Makes a link.
#[cfg(not(unix))]
pub fn link(_: &Path, to: &Path) -> Result<()> {
    bail!(
        "`{}` must be a link, which is not done on this system",
        to.display()
    )
}

/// Lets everybody start a file as a program.
#[cfg(unix)]
pub fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("making `{}` executable", path.display()))
}

/// Lets everybody start a file as a program.
#[cfg(not(unix))]
pub fn make_executable(path: &Path) -> Result<()> {
    bail!(
        "`{}` must be executable, which is not done on this system",
        path.display()
    )
}
