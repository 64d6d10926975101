//! A second workspace on the same sources, in which mlx-sys is built another way.
//!
//! A patch of a dependency changes `Cargo.lock`, and the project's own must stay as it is. So the second workspace lies
//! under the target folder: links to the project's folders, a `Cargo.toml` with the patch, a `Cargo.lock` of its own, and
//! mlx-sys. (Of a crate outside a workspace's folder, cargo lets the whole path into the names of what it builds.)

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result, bail};

use crate::process::{cargo_command, link, output, write_if_changed};

/// Where mlx-sys lies in the workspace.
pub const MLX_SYS: &str = "mlx-sys";

/// Makes or refreshes the workspace in `place`, with the files of `overlay` laid over mlx-sys; gives its folder.
pub fn make(place: &Path, overlay: &Path) -> Result<PathBuf> {
    let workspace = place.join("workspace");
    copy_changed(&mlx_sys_source()?, &workspace.join(MLX_SYS), &["build.rs"])?;
    copy_changed(overlay, &workspace.join(MLX_SYS), &[])?;
    fs::create_dir_all(&workspace).with_context(|| format!("creating `{}`", workspace.display()))?;
    let root = env::current_dir().context("finding the project's folder")?;
    for entry in fs::read_dir(&root).context("reading the project's folder")? {
        let name = entry?.file_name();
        let hidden = name.to_string_lossy().starts_with('.');
        if !hidden && !matches!(name.to_str(), Some("target" | "Cargo.toml" | "Cargo.lock")) {
            link(&root.join(&name), &workspace.join(&name))?;
        }
    }
    let manifest = fs::read_to_string("Cargo.toml").context("reading `Cargo.toml`")?;
    write_if_changed(&workspace.join("Cargo.toml"), patched(&manifest)?.as_bytes())?;
    fs::copy("Cargo.lock", workspace.join("Cargo.lock")).context("copying `Cargo.lock`")?;
    Ok(workspace)
}

/// The project's `Cargo.toml` with mlx-sys from the workspace's folder, of which it is no member.
fn patched(manifest: &str) -> Result<String> {
    const EXCLUDED: &str = "\nexclude = [\n";
    if manifest.matches(EXCLUDED).count() != 1 {
        bail!("`Cargo.toml` has no list `exclude` of one folder a line");
    }
    let manifest = manifest.replace(EXCLUDED, &format!("{EXCLUDED}    \"{MLX_SYS}\",\n"));
    Ok(format!(
        "{manifest}\n[patch.crates-io]\nmlx-sys = {{ path = \"{MLX_SYS}\" }}\n"
    ))
}

/// The folder into which cargo unpacked mlx-sys.
fn mlx_sys_source() -> Result<PathBuf> {
    let mut metadata = cargo_command();
    metadata.args(["metadata", "--format-version", "1", "--locked"]);
    // It is a dependency on macOS only.
    let metadata = output(metadata.args(["--filter-platform", "aarch64-apple-darwin"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata).context("reading cargo's metadata")?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let manifest = packages
        .filter(|package| package["name"] == "mlx-sys")
        .find_map(|package| package["manifest_path"].as_str());
    let Some(folder) = manifest.map(Path::new).and_then(Path::parent) else {
        bail!("`cargo metadata` names no package `mlx-sys`");
    };
    Ok(folder.to_owned())
}

/// Copies a folder's files; what is the same already is left alone, so that nothing is built anew for it.
fn copy_changed(from: &Path, to: &Path, except: &[&str]) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("creating `{}`", to.display()))?;
    let entries = fs::read_dir(from).with_context(|| format!("reading the folder `{}`", from.display()))?;
    for entry in entries {
        let (entry, target) = (entry?.path(), to);
        let Some(name) = entry.file_name() else { continue };
        let target = target.join(name);
        if except.iter().any(|except| name == *except) {
            continue;
        }
        if entry.is_dir() {
            copy_changed(&entry, &target, &[])?;
        } else {
            let bytes = fs::read(&entry).with_context(|| format!("reading `{}`", entry.display()))?;
            write_if_changed(&target, &bytes)?;
        }
    }
    Ok(())
}
