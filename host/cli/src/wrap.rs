//! `monocle plugins wrap`: from the module that `cargo build` makes to a plugin.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use monocle_runtime::plugin::stamp::Stamp;
use monocle_runtime::plugin::wasm::component::{self, Plugin};

use super::output;

#[derive(Debug, Args)]
pub struct Wrap {
    /// What `cargo build --release --target wasm32-unknown-unknown` made
    module: PathBuf,

    /// Where the plugin goes: a file, or a folder [default: NAME.wasm here, as the plugin is called]
    #[arg(short, long)]
    output: Option<PathBuf>,
}

impl Wrap {
    pub fn run(self) -> anyhow::Result<()> {
        let from = self.module.display();
        let module = component::read(&self.module)?;
        let component =
            monocle_component::wrap(&module).with_context(|| format!("`{from}` cannot be wrapped"))?;
        let stamp = Stamp::read(&component).map_err(|reason| anyhow::anyhow!("`{from}`: {reason}"))?;
        // A stamp's name is a plain name: it leads nowhere else.
        let file = format!("{}.wasm", stamp.name);
        let to = match self.output {
            Some(folder) if folder.is_dir() => folder.join(file),
            Some(path) => path,
            None => file.into(),
        };
        anyhow::ensure!(
            !same_file(&self.module, &to),
            "`{}` would be overwritten by itself\n\nhint: name another place with `--output`",
            to.display()
        );
        anyhow::ensure!(
            to.file_name()
                .is_some_and(|name| name == format!("{}.wasm", stamp.name).as_str()),
            "`{}` is not where a plugin `{}` is looked for\n\nhint: `--output` names a folder, or a file {}.wasm",
            to.display(),
            stamp.name,
            stamp.name
        );
        let written =
            NewFile::write(&to, &component).with_context(|| format!("cannot write `{}`", to.display()))?;
        // Whatever a host would refuse, the author should hear now, while what was there before is still there.
        Plugin::load(&written.0)?;
        written
            .keep_as(&to)
            .with_context(|| format!("cannot write `{}`", to.display()))?;
        output::print(&format!(
            "{} ({} {}, {}, contract {}, {} kB)\n",
            to.display(),
            stamp.name,
            stamp.version,
            stamp.kind,
            stamp.contract,
            component.len() / 1000
        ))
    }
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((std::fs::canonicalize(a), std::fs::canonicalize(b)), (Ok(a), Ok(b)) if a == b)
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
