//! `monocle plugins stamp`: makes a plugin of a component that another tool made.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use monocle_component::NewStamp;
use monocle_runtime::plugin::file;

use super::wrap;
use crate::output;

#[derive(Debug, Args)]
pub struct Stamp {
    /// A component, as componentize-js, componentize-py or wasm-tools make it
    component: PathBuf,

    /// What the plugin is called
    #[arg(long)]
    name: String,

    /// Its version, like 1.2.3
    #[arg(long)]
    version: String,

    /// A value of `model_type` in `config.json` that it serves where no manifest names a plugin (may be given several times)
    #[arg(long = "model-type", value_name = "TYPE")]
    model_types: Vec<String>,

    /// It cleans answers: `processor.output` is to be called
    #[arg(long)]
    filters_output: bool,

    /// It finds places in answers: `processor.parts` is to be called
    #[arg(long)]
    answers_parts: bool,

    /// Where the plugin goes: a file, or a folder [default: NAME.wasm here]
    #[arg(short, long)]
    output: Option<PathBuf>,
}

impl Stamp {
    pub fn run(self) -> anyhow::Result<()> {
        let bytes = file::read(&self.component)?;
        let stamp = NewStamp {
            name: self.name,
            version: self.version,
            model_types: self.model_types,
            filters_output: self.filters_output,
            answers_parts: self.answers_parts,
        };
        let stamped = monocle_component::stamp(&bytes, &stamp)
            .with_context(|| format!("`{}` cannot be stamped", self.component.display()))?;
        let placed = wrap::put(&stamped, &self.component, self.output)?;
        output::print(&format!("{placed}\n"))
    }
}
