//! `monocle plugins wrap`: from the module that `cargo build` makes to a plugin.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use monocle_runtime::plugin::stamp::Stamp;
use monocle_runtime::plugin::wasm::component::Plugin;

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
        let module = std::fs::read(&self.module).with_context(|| format!("cannot read `{from}`"))?;
        let component =
            monocle_component::wrap(&module).with_context(|| format!("`{from}` cannot be wrapped"))?;
        let stamp = Stamp::read(&component).map_err(|reason| anyhow::anyhow!("`{from}`: {reason}"))?;
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
        write(&to, &component).with_context(|| format!("cannot write `{}`", to.display()))?;
        // Whatever a host would refuse, the author should hear now.
        Plugin::load(&to)?;
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

/// A host that is about to read the file sees the old one or the new one, never half of one.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let new = path.with_extension("wasm.new");
    std::fs::write(&new, bytes)?;
    std::fs::rename(&new, path)
}
