//! `monocle convert`: quantises a model's weights, or compares two models' weights.

mod card;
mod loss;
mod mixture;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;
use mixture::Mixture;
use monocle_runtime::model::locate::{Declaration, Places};
use monocle_weights::gguf::is_gguf;
use monocle_weights::{
    BITS, Checkpoint, Converted, GROUP_SIZES, ModelFolder, NameRules, Otherwise, Part, QuantiseOptions,
    SEEING, compare, finish_conversion, quantise_folder_with,
};

use super::request::EngineArguments;
use super::{Misuse, output, progress, stats};

/// The flags that say what is written.
const WRITING: [&str; 12] = [
    "output",
    "bits",
    "group",
    "mixed",
    "embeddings",
    "head",
    "keep_vision",
    "keep",
    "file_size",
    "no_loss",
    "text",
    "picture",
];

#[derive(Debug, Args)]
pub struct Convert {
    /// A manifest's name or path, a folder, or a Hugging Face repository, with unquantised weights in safetensors
    model: String,

    /// Bits of a weight: 2, 3, 4, 5, 6 or 8 [default: 4, or what `--mixed` names]
    #[arg(long, value_parser = mixture::bits)]
    bits: Option<u32>,

    /// How many neighbours share a scale: 32, 64 or 128
    #[arg(long, default_value_t = 64, value_name = "SIZE", value_parser = group)]
    group: usize,

    /// Bits of the weights that matter most: embeddings, head, and in some of the layers values and the last matrix of the feed-forward part;
    /// or the name of a mixture as mlx-vlm has them, which says the other bits too: mixed_2_6, mixed_3_4, mixed_3_5, mixed_3_6, mixed_3_8,
    /// mixed_4_6 or mixed_4_8
    #[arg(long, value_name = "BITS", value_parser = mixture::mixture)]
    mixed: Option<Mixture>,

    /// Bits of the embeddings, or `keep` to leave them as they are
    #[arg(long, value_name = "BITS", value_parser = part)]
    embeddings: Option<Part>,

    /// Bits of the head that gives the logits, or `keep` to leave it as it is
    #[arg(long, value_name = "BITS", value_parser = part)]
    head: Option<Part>,

    /// Leave what sees as it is, and quantise the language model only
    #[arg(long)]
    keep_vision: bool,

    /// Leave weights as they are whose name matches this regular expression
    #[arg(long, value_name = "PATTERN")]
    keep: Vec<String>,

    /// The most bytes of a file of weights
    #[arg(long, value_name = "SIZE", default_value = "5GiB", value_parser = super::size::parse)]
    file_size: usize,

    /// The folder to write: a new one, or one whose conversion was cut off
    #[arg(short, long, value_name = "FOLDER", required_unless_present = "verify")]
    output: Option<PathBuf>,

    /// Do not run the model and its copy to measure what is lost
    #[arg(long, conflicts_with_all = ["text", "picture"])]
    no_loss: bool,

    /// Measure the loss on the beginning of this text [default: a text that is built in]
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,

    /// Measure the loss on this picture (may be given several times) [default: two that are drawn]
    #[arg(long, value_name = "FILE")]
    picture: Vec<PathBuf>,

    /// Compare the model's weights with those of this one, tensor by tensor, and write nothing: a folder, or whatever else names a model
    #[arg(long, value_name = "MODEL", conflicts_with_all = WRITING)]
    verify: Option<String>,

    #[command(flatten)]
    engine: EngineArguments,
}

/// `keep`, or bits.
fn part(text: &str) -> Result<Part, String> {
    match text {
        "keep" => Ok(Part::Keep),
        _ => match text.parse() {
            Ok(bits) if BITS.contains(&bits) => Ok(Part::Bits(bits)),
            _ => Err("expected 2, 3, 4, 5, 6, 8 or `keep`".to_owned()),
        },
    }
}

/// A group's size.
fn group(text: &str) -> Result<usize, String> {
    let size = text.parse().ok().filter(|size| GROUP_SIZES.contains(size));
    size.ok_or_else(|| "expected 32, 64 or 128".to_owned())
}

impl Convert {
    pub fn run(self) -> anyhow::Result<()> {
        let bits = mixture::together(self.bits, self.mixed).map_err(Misuse)?;
        let cases = match (&self.verify, self.no_loss) {
            (None, false) => Some(loss::Cases::new(self.text.as_deref(), &self.picture)?),
            _ => None,
        };
        let places = Places::from_env();
        // A folder that is not run needs no plugin.
        let (name, path, declaration) = found(&places, &self.model, cases.is_some())?;
        let source = places.open(&path)?;
        match (&self.verify, &self.output) {
            (Some(other), _) => {
                let (_, other, _) = found(&places, other, false)?;
                verify(&source, &places.open(&other)?)
            }
            (None, Some(target)) => {
                let measure = || {
                    let (cases, declaration) = cases.zip(declaration)?;
                    Some(loss::measure(&places, &declaration, target, &cases, self.engine))
                };
                self.convert(&name, &source, target, self.options(bits), measure)
            }
            (None, None) => Err(Misuse("name a folder to write with -o".to_owned()).into()),
        }
    }

    fn convert(
        &self,
        name: &str,
        source: &ModelFolder,
        target: &Path,
        options: QuantiseOptions,
        measure: impl FnOnce() -> Option<anyhow::Result<loss::Loss>>,
    ) -> anyhow::Result<()> {
        let quiet = !std::io::stderr().is_terminal();
        let converted = quantise(source, target, &options, quiet)?;
        let layers = &converted.layers;
        for note in &converted.notes {
            output::note(&format!("note: {note}"));
        }
        let lost = measure();
        let card = card::text(name, &options, &converted, lost.as_ref());
        let path = target.join("README.md");
        std::fs::write(&path, card).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
        finish_conversion(target)?;
        let bytes: u64 = std::fs::read_dir(target)?
            .flatten()
            .filter_map(|entry| entry.metadata().ok())
            .map(|found| found.len())
            .sum();
        let mut text = format!(
            "{}: {}, groups of {}: {} in {}\n",
            self.model,
            card::bits(layers),
            self.group,
            stats::bytes(bytes as usize),
            target.display()
        );
        match lost {
            None => {}
            Some(Ok(lost)) => text += &lost.lines().join("\n"),
            Some(Err(error)) => {
                let why = crate::in_words(&error);
                output::note(&format!("note: the loss was not measured: {why}"));
            }
        }
        output::print(text.trim_end())?;
        output::print("\n")
    }

    fn options(&self, bits: u32) -> QuantiseOptions {
        let mut options = QuantiseOptions::new(bits, self.group);
        options.mixed = self.mixed.map(|mixture| mixture.more);
        options.embeddings = self.embeddings;
        options.head = self.head;
        options.file_bytes = self.file_size as u64;
        options.keep.extend(self.keep.iter().cloned());
        if self.keep_vision {
            options.keep.push(SEEING.to_owned());
        }
        options
    }
}

/// A model's name, where it is, and how it is declared; a folder's declaration only where it is needed.
fn found(
    places: &Places,
    asked: &str,
    is_run: bool,
) -> anyhow::Result<(String, PathBuf, Option<Declaration>)> {
    let folder = Path::new(asked);
    if !is_run && (folder.is_dir() || folder.is_file() && is_gguf(folder)) {
        let name = std::path::absolute(folder)?;
        let name = name
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        return Ok((name, folder.to_owned(), None));
    }
    let mut bar = progress::DownloadBar::new(!std::io::stderr().is_terminal());
    let declaration = places.find(asked, &mut |progress| bar.update(progress))?;
    let path = places.folder(&declaration.manifest, &mut |progress| bar.update(progress))?;
    bar.finish();
    Ok((declaration.manifest.name.clone(), path, Some(declaration)))
}

/// Writes the copy.
fn quantise(
    source: &ModelFolder,
    target: &Path,
    options: &QuantiseOptions,
    quiet: bool,
) -> anyhow::Result<Converted> {
    let mut bar: Option<ProgressBar> = None;
    let converted = quantise_folder_with(source, target, options, &mut |state| {
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
    Ok(converted)
}

/// Says which tensors were compared though they have other names or lie otherwise.
fn laid_out_otherwise(found: &[Otherwise]) -> String {
    const SHOWN: usize = 3;
    let listed = |names: &[String]| match names {
        [first, .., last] if names.len() > SHOWN => {
            format!("`{first}` to `{last}` ({} tensors)", names.len())
        }
        _ => {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            names.join(" and ")
        }
    };
    let lines = found.iter().take(SHOWN).map(|otherwise| {
        format!(
            "  {} of the first as {} of the second\n",
            listed(&otherwise.first),
            listed(&otherwise.second)
        )
    });
    let more = match found.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!("  and {more} more\n"),
    };
    match found.is_empty() {
        true => String::new(),
        false => format!(
            "compared, though named or laid out otherwise ({}):\n{}{more}",
            found.len(),
            lines.collect::<String>()
        ),
    }
}

/// Prints the tensors that differ, the most different last.
fn verify(source: &ModelFolder, other: &ModelFolder) -> anyhow::Result<()> {
    let rules = NameRules::default();
    let first = Checkpoint::open(source, &rules)?;
    let second = Checkpoint::open(other, &rules)?;
    let (mut equal, mut problems, mut different) = (0, Vec::new(), Vec::new());
    let otherwise = compare(&first, &second, &mut |difference| match (
        difference.relative,
        &difference.problem,
    ) {
        (Some(0.0), _) => equal += 1,
        (Some(relative), _) => different.push((relative, difference.name.clone())),
        (None, problem) => problems.push((difference.name.clone(), problem.clone().unwrap_or_default())),
    });
    different.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut text = format!("{} equal\n", stats::count(equal, "tensor"));
    text += &laid_out_otherwise(&otherwise);
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
