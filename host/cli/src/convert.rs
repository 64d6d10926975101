//! `monocle convert`: quantises a model's weights, or compares two models' weights.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;
use monocle_runtime::model::locate::Places;
use monocle_weights::{Checkpoint, ModelFolder, NameRules, QuantiseOptions, compare, quantise_folder_with};

use super::{Misuse, output, progress, stats};

/// Names of the parts that see, and of what joins them to the language model, as checkpoints have them.
const VISION: &str = r"(^|\.)(vision|visual|image|multi_modal|multimodal|mm_|connector|mlp1)";

#[derive(Debug, Args)]
pub struct Convert {
    /// A manifest's name or path, a folder, or a Hugging Face repository, with unquantised weights in safetensors
    model: String,

    /// Bits of a weight: 2, 3, 4, 5, 6 or 8
    #[arg(long, default_value_t = 4)]
    bits: u32,

    /// How many neighbours share a scale: 32, 64 or 128
    #[arg(long, default_value_t = 64, value_name = "SIZE")]
    group: usize,

    /// Leave what sees as it is, and quantise the language model only
    #[arg(long)]
    keep_vision: bool,

    /// Leave weights as they are whose name matches this regular expression
    #[arg(long, value_name = "PATTERN")]
    keep: Vec<String>,

    /// The folder to write: a new one, or one whose conversion was cut off
    #[arg(short, long, value_name = "FOLDER", required_unless_present = "verify")]
    output: Option<PathBuf>,

    /// Compare the model's weights with those of this folder, tensor by tensor, and write nothing
    #[arg(long, value_name = "FOLDER", conflicts_with = "output")]
    verify: Option<PathBuf>,
}

impl Convert {
    pub fn run(self) -> anyhow::Result<()> {
        if !monocle_weights::BITS.contains(&self.bits) {
            return Err(Misuse(format!("--bits {}: expected 2, 3, 4, 5, 6 or 8", self.bits)).into());
        }
        if !monocle_weights::GROUP_SIZES.contains(&self.group) {
            return Err(Misuse(format!("--group {}: expected 32, 64 or 128", self.group)).into());
        }
        let quiet = !std::io::stderr().is_terminal();
        let places = Places::from_env();
        let mut bar = progress::DownloadBar::new(quiet);
        let declaration = places.find(&self.model, &mut |progress| bar.update(progress))?;
        let path = places.folder(&declaration.manifest, &mut |progress| bar.update(progress))?;
        bar.finish();
        let source = ModelFolder::open(&path)?;
        match (&self.verify, &self.output) {
            (Some(other), _) => verify(&source, other),
            (None, Some(target)) => self.quantise(&source, target, quiet),
            (None, None) => Err(Misuse("name a folder to write with -o".to_owned()).into()),
        }
    }

    fn quantise(&self, source: &ModelFolder, target: &Path, quiet: bool) -> anyhow::Result<()> {
        let mut options = QuantiseOptions::new(self.bits, self.group);
        options.keep.extend(self.keep.iter().cloned());
        if self.keep_vision {
            options.keep.push(VISION.to_owned());
        }
        let mut bar: Option<ProgressBar> = None;
        let layers = quantise_folder_with(source, target, &options, &mut |state| {
            if !quiet {
                let bar = bar.get_or_insert_with(|| progress::bytes_bar("converting"));
                bar.set_length(state.total);
                bar.set_position(state.done);
                bar.set_message(state.tensor.clone());
            }
        })?;
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        let bytes: u64 = std::fs::read_dir(target)?
            .flatten()
            .filter_map(|entry| entry.metadata().ok())
            .map(|found| found.len())
            .sum();
        output::print(&format!(
            "{}: {} in {} bits with groups of {}: {} in {}\n",
            self.model,
            stats::count(layers.len(), "layer"),
            self.bits,
            self.group,
            stats::bytes(bytes as usize),
            target.display()
        ))?;
        Ok(())
    }
}

/// Prints the tensors that differ, the most different last.
fn verify(source: &ModelFolder, other: &Path) -> anyhow::Result<()> {
    let rules = NameRules::default();
    let first = Checkpoint::open(source, &rules)?;
    let second = Checkpoint::open(&ModelFolder::open(other)?, &rules)?;
    let (mut equal, mut problems, mut different) = (0, Vec::new(), Vec::new());
    compare(
        &first,
        &second,
        &mut |difference| match (difference.relative, &difference.problem) {
            (Some(0.0), _) => equal += 1,
            (Some(relative), _) => different.push((relative, difference.name.clone())),
            (None, problem) => problems.push((difference.name.clone(), problem.clone().unwrap_or_default())),
        },
    )?;
    different.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut text = format!("{} equal\n", stats::count(equal, "tensor"));
    for (relative, name) in &different {
        text += &format!("{:8.4} %  {name}\n", relative * 100.0);
    }
    for (name, problem) in &problems {
        text += &format!("{name}: {problem}\n");
    }
    output::print(&text)?;
    if !problems.is_empty() {
        anyhow::bail!("{} cannot be compared", stats::count(problems.len(), "tensor"));
    }
    Ok(())
}
