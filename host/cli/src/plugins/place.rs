//! Putting a plugin where it belongs: checked as a host would check it, and never half written.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use monocle_runtime::plugin::loaded::Plugin;
use monocle_runtime::plugin::native;
use monocle_runtime::plugin::stamp::Stamp;
use monocle_runtime::plugin::trust::Trust;

use crate::compile::Patience;

/// A plugin that was written.
#[derive(Debug)]
pub struct Placed {
    /// Where it is.
    pub path: PathBuf,
    /// What it says of itself.
    pub stamp: Stamp,
    bytes: usize,
}

impl Placed {
    /// Puts a component or a native library into a folder, or at a path that is called as it calls itself. `from` is what people call the source.
    pub fn put(plugin: &[u8], to: &Path, from: &str) -> anyhow::Result<Self> {
        let stamp = Stamp::read(plugin).map_err(|reason| anyhow::anyhow!("`{from}`: {reason}"))?;
        // A stamp's name is a plain name: it leads nowhere else.
        let is_native = native::is_library(plugin);
        let ending = if is_native { native::ENDING } else { ".wasm" };
        let file = format!("{}{ending}", stamp.name);
        let to = match to.is_dir() {
            true => to.join(&file),
            false => to.to_owned(),
        };
        anyhow::ensure!(
            to.file_name().is_some_and(|name| name == file.as_str()),
            "`{}` is not where a plugin `{}` is looked for\n\nhint: `--output` names a folder, or a file {file}",
            to.display(),
            stamp.name,
        );
        let written =
            NewFile::write(&to, plugin).with_context(|| format!("cannot write `{}`", to.display()))?;
        // Whatever a host would refuse, the author should hear now, while what was there before is still there.
        // (A library is not run before it is trusted.)
        if !is_native {
            let _patience = Patience::with(&stamp.name);
            Plugin::load(&written.0, &Trust::nothing())?;
        }
        written
            .keep_as(&to)
            .with_context(|| format!("cannot write `{}`", to.display()))?;
        Ok(Self {
            path: to,
            stamp,
            bytes: plugin.len(),
        })
    }
}

impl std::fmt::Display for Placed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} ({} {}, {}, contract {}, {} kB)",
            self.path.display(),
            self.stamp.name,
            self.stamp.version,
            self.stamp.kind,
            self.stamp.contract,
            self.bytes / 1000
        )
    }
}

/// A file beside the one that it is to become: a host that is about to read that sees the old one or the new one, never half of one. Gone when
/// it is dropped.
struct NewFile(PathBuf);

impl NewFile {
    fn write(beside: &Path, bytes: &[u8]) -> std::io::Result<Self> {
        let new = Self(beside.with_extension(format!("wasm.{}.new", std::process::id())));
        let options = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&new.0);
        options?.write_all(bytes)?;
        Ok(new)
    }

    fn keep_as(self, path: &Path) -> std::io::Result<()> {
        std::fs::rename(&self.0, path)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // Renamed, it is gone already.
        let _ = std::fs::remove_file(&self.0);
    }
}
