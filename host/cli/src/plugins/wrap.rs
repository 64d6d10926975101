//! `monocle plugins wrap`: from the module that `cargo build` makes to a plugin.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use monocle_runtime::plugin::file;
use monocle_runtime::plugin::stamp::Stamp;

use super::place::Placed;
use crate::output;

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
        let module = file::read(&self.module)?;
        let component =
            monocle_component::wrap(&module).with_context(|| format!("`{from}` cannot be wrapped"))?;
        let placed = put(&component, &self.module, self.output)?;
        output::print(&format!("{placed}\n"))
    }
}

/// Puts what was made of a file where it was asked for, and not over that file.
pub fn put(component: &[u8], source: &Path, output: Option<PathBuf>) -> anyhow::Result<Placed> {
    let from = source.display().to_string();
    let stamp = Stamp::read(component).map_err(|reason| anyhow::anyhow!("`{from}`: {reason}"))?;
    // A stamp's name is a plain name: it leads nowhere else.
    let file = format!("{}.wasm", stamp.name);
    let to = match output {
        Some(folder) if folder.is_dir() => folder.join(file),
        Some(path) => path,
        None => file.into(),
    };
    anyhow::ensure!(
        !same_file(source, &to),
        "`{}` would be overwritten by itself\n\nhint: name another place with `--output`",
        to.display()
    );
    Placed::put(component, &to, &from)
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((std::fs::canonicalize(a), std::fs::canonicalize(b)), (Ok(a), Ok(b)) if a == b)
}
