//! What can be wrong with a model's files, and what to do about it.

use std::borrow::Cow;
use std::path::PathBuf;

use thiserror::Error;

/// Why weights, or the folder that holds them, cannot be used.
#[derive(Debug, Error)]
pub enum WeightsError {
    /// The system refuses a file.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Something else stands where a file should be.
    #[error("`{}` is {found}, and not a file; put the model's own file there", path.display())]
    NotAFile {
        /// What was to be opened.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// A repository was cloned without its large files.
    #[error("`{}` is a Git LFS pointer, and not the file itself{}; run `git lfs pull` in the model's folder, or download the model again without git", file.display(), promised(*size))]
    LfsPointer {
        /// The file.
        file: PathBuf,
        /// How many bytes the file itself has, as the pointer says.
        size: Option<u64>,
    },
    /// A safetensors file is broken.
    #[error("`{}` is not a sound safetensors file: {}; download it again", file.display(), cut(problem))]
    BrokenFile {
        /// The file.
        file: PathBuf,
        /// What was expected and found, with the tensor's name if it is about one.
        problem: String,
    },
    /// A GGUF file is broken.
    #[error("`{}` is not a sound GGUF file: {}; download it again", file.display(), cut(problem))]
    BrokenGguf {
        /// The file.
        file: PathBuf,
        /// What was expected and found.
        problem: String,
    },
    /// A GGUF file is sound, but cannot be used.
    #[error("`{}` cannot be used: {problem}", file.display())]
    GgufContents {
        /// The language model's file.
        file: PathBuf,
        /// What was expected and found, and what to do.
        problem: String,
    },
    /// It is not clear which GGUF files are meant.
    #[error("`{}`: {problem}", path.display())]
    GgufChoice {
        /// What was asked for.
        path: PathBuf,
        /// What there is.
        problem: String,
    },
    /// There is nothing to load.
    #[error("`{}` has no weights: expected `model.safetensors` or `model.safetensors.index.json`", folder.display())]
    NoWeights {
        /// The folder.
        folder: PathBuf,
    },
    /// Part of a checkpoint is not there.
    #[error("`{}` lacks {} of its {total} weight files: {}; download them again{}", folder.display(), missing.len(), list(missing), cut(lost))]
    MissingShards {
        /// The folder.
        folder: PathBuf,
        /// Names of the missing files.
        missing: Vec<String>,
        /// How many there should be.
        total: usize,
        /// A tensor that went with them, and what files there are; empty where nobody knows.
        lost: String,
    },
    /// The index and the shards disagree.
    #[error("`{}` does not fit its weight files: {}; download both again", index.display(), cut(problem))]
    BrokenIndex {
        /// The index.
        index: PathBuf,
        /// What was expected and found.
        problem: String,
    },
    /// One name, two tensors.
    #[error(
        "tensor `{}` is both in `{first}` and in `{second}`, and no index says which one counts; download the model again",
        cut(name)
    )]
    Twice {
        /// The tensor.
        name: String,
        /// A file.
        first: String,
        /// Another file.
        second: String,
    },
    /// Two names became one by renaming.
    #[error(
        "`weights.rename` makes both `{}` and `{}` into `{}`; make its patterns narrower",
        cut(first),
        cut(second),
        cut(name)
    )]
    Collision {
        /// The new name.
        name: String,
        /// A name in the checkpoint.
        first: String,
        /// Another.
        second: String,
    },
    /// A broken regular expression.
    #[error("`{}` in `{key}` is not a regular expression: {}", cut(pattern), cut(reason))]
    BadPattern {
        /// The manifest's key.
        key: &'static str,
        /// The pattern.
        pattern: String,
        /// Why.
        reason: String,
    },
    /// A rule that makes names too long.
    #[error(
        "`{}` in `weights.rename` makes {}; names may have {limit} bytes: make its pattern or its replacement narrower",
        cut(pattern),
        cut(made)
    )]
    LongName {
        /// The rule's pattern.
        pattern: String,
        /// What it makes of what.
        made: String,
        /// The most bytes of a name.
        limit: usize,
    },
    /// A checkpoint's name is too long for rules.
    #[error(
        "the checkpoint has a name of {bytes} bytes, `{}`…; the manifest's `weights.rename` and `weights.ignore` are applied to names of at most \
         {limit} bytes: leave the rules out, or give the tensor a shorter name",
        cut(start)
    )]
    LongStoredName {
        /// How it begins.
        start: String,
        /// How long it is.
        bytes: usize,
        /// The most bytes of a name.
        limit: usize,
    },
    /// The rules for names take too long.
    #[error(
        "the rules for names in the manifest's `weights` took longer than {seconds} s, the last one `{}`: there are too many names, or its pattern is \
         too costly; make it narrower",
        cut(pattern)
    )]
    SlowRules {
        /// The rule's pattern at which the time was over.
        pattern: String,
        /// How long all may take.
        seconds: u64,
    },
    /// A weight that the plugin asks for is not there.
    #[error(
        "the checkpoint has no weight `{}`{hint} ({total} weights are there; `weights.rename` in the manifest can change their names)",
        cut(name)
    )]
    Missing {
        /// The name asked for.
        name: String,
        /// The nearest names that exist.
        hint: String,
        /// How many weights there are.
        total: usize,
    },
    /// A weight that the plugin asks for is not in GGUF files.
    #[error(
        "there is no tensor {} in {}, where {total} are; take another conversion of the model",
        in_gguf(name, own.as_deref()), list(files)
    )]
    MissingInGguf {
        /// The name asked for.
        name: String,
        /// What the files would call it, where that is known.
        own: Option<String>,
        /// The files' names.
        files: Vec<String>,
        /// How many tensors are used.
        total: usize,
    },
    /// A weight that the plugin asks for, and that the index promises, is not there.
    #[error(
        "the checkpoint has no weight `{}`: `model.safetensors.index.json` promises it in `{}`, which {}; there are {total} weights in {}; \
         download both again",
        cut(name), cut(file), if *is_there { "does not hold it" } else { "is not there" }, list(files)
    )]
    Promised {
        /// The name asked for.
        name: String,
        /// The file that the index names.
        file: String,
        /// Whether there is such a file.
        is_there: bool,
        /// The files that are used.
        files: Vec<String>,
        /// How many weights they hold.
        total: usize,
    },
    /// Weights in a form that the engines do not compute with.
    #[error(
        "the model is quantised with {} ({}), which cannot be run; take the original in bf16, f16 or f32 instead, or a conversion of it \
         to MLX's affine quantisation (2 to 8 bits; `monocle convert` makes one of the original)",
        cut(method),
        cut(told_by)
    )]
    ForeignQuantisation {
        /// What it is called.
        method: String,
        /// What says so.
        told_by: String,
    },
    /// A weight that another program packed in a way that is read, but whose tensors do not fit together.
    #[error(
        "{} holds {method}, and does not fit what unpacks it: expected {}, found {}; the file is incomplete or damaged: download it again; \
         if it is the same then, it is packed in a way that is not read: take the original in bf16, f16 or f32",
        cut(packed),
        cut(expected),
        cut(found)
    )]
    Packed {
        /// The tensor: its name, shape and type.
        packed: String,
        /// What its elements are.
        method: &'static str,
        /// What should be beside it.
        expected: String,
        /// What is.
        found: String,
    },
    /// A weight that cannot serve as what it was asked for.
    #[error(
        "weight `{}` cannot be used as {role}: expected {}, found {}",
        cut(name),
        cut(expected),
        cut(found)
    )]
    Unfit {
        /// The name.
        name: String,
        /// The role: a linear layer, an embedding, …
        role: &'static str,
        /// What that takes.
        expected: String,
        /// What is stored.
        found: String,
    },
    /// The same of a tensor in GGUF files.
    #[error(
        "tensor {} cannot be used as {role}: expected {}, found {}; take another conversion of the model",
        in_gguf(name, Some(own)),
        cut(expected),
        cut(found)
    )]
    UnfitInGguf {
        /// The name that the plugin asks for.
        name: String,
        /// The file's own.
        own: String,
        /// The role: a linear layer, an embedding, …
        role: &'static str,
        /// What that takes.
        expected: String,
        /// What is stored.
        found: String,
    },
    /// A quantisation that is inconsistent or not supported.
    #[error("quantised weight `{}`: {}", cut(name), cut(problem))]
    Quantisation {
        /// The layer.
        name: String,
        /// What was expected and found.
        problem: String,
    },
    /// A number that no scale holds.
    #[error(
        "weight `{}` has {value} in row {row}, column {column}, and cannot be quantised; download the model again, or leave this weight as \
         it is (`--keep`)",
        cut(name)
    )]
    NotFinite {
        /// The weight.
        name: String,
        /// An infinity, or what is no number.
        value: f32,
        /// Its row, counted from 0, through all matrices of a stack.
        row: usize,
        /// Its column, counted from 0.
        column: usize,
    },
    /// The folder of a conversion that did not end.
    #[error(
        "`{}` is no whole model: it is the beginning of a conversion {}; the same command goes on with it",
        folder.display(),
        cut(begun)
    )]
    Unfinished {
        /// The folder.
        folder: PathBuf,
        /// Of what, and how.
        begun: String,
    },
    /// The folder is not a model's.
    #[error("`{}` is not a model folder: it has no `config.json`", folder.display())]
    NoConfig {
        /// The folder.
        folder: PathBuf,
    },
    /// A file that should hold JSON, or text, does not.
    #[error("`{}` is not {expected}: {}; download it again", file.display(), cut(reason))]
    BadText {
        /// The file.
        file: PathBuf,
        /// JSON, or UTF-8 text.
        expected: &'static str,
        /// Why not.
        reason: String,
    },
    /// What is to be quantised is so already.
    #[error("`{}` is quantised already ({how}); convert the original in bf16, f16 or f32", path.display())]
    QuantisedAlready {
        /// The model.
        path: PathBuf,
        /// What it is stored as.
        how: &'static str,
    },
    /// What is to be quantised is in files that are not read for that.
    #[error(
        "`{}` is a model in GGUF files, and `monocle convert` reads safetensors; convert the original in bf16, f16 or f32",
        path.display()
    )]
    GgufSource {
        /// The model.
        path: PathBuf,
    },
    /// Options that change nothing.
    #[error("nothing of `{}` would be quantised: {}", path.display(), cut(problem))]
    NothingQuantised {
        /// The model.
        path: PathBuf,
        /// Why, and what to do.
        problem: String,
    },
    /// Experts that a conversion cannot take apart.
    #[error(
        "`{}` of shape {shape:?} holds experts, most of the model, and would stay as it is: expected `mlp.experts.gate_up_proj` and \
         `mlp.experts.down_proj` of shapes that fit together, or a tensor for each expert; keep all of them as they are with `--keep 'experts'`, \
         or take a conversion that others made",
        cut(name)
    )]
    UnknownExperts {
        /// The tensor.
        name: String,
        /// Its dimensions.
        shape: Vec<usize>,
    },
    /// A mixture where nobody knows which weights matter.
    #[error(
        "which weights get more bits in a mixture is told by `down_proj` and `feed_forward.w2` in the language model's layers, and this model \
         has no weight of such a name; leave out `--mixed`, and give more bits with `--embeddings` and `--head`"
    )]
    NoMixture,
    /// A folder that holds the beginning of another conversion.
    #[error(
        "`{}` is the beginning of another conversion, {}, or its source has changed since; name a new folder, or go on with that one",
        folder.display(),
        cut(begun)
    )]
    OtherConversion {
        /// The folder.
        folder: PathBuf,
        /// Of what, and how.
        begun: String,
    },
    /// A file where a folder is to be written.
    #[error("`{}` is a file; name a new folder", path.display())]
    NoFolder {
        /// The file.
        path: PathBuf,
    },
    /// A folder that would be overwritten.
    #[error("`{}` exists and is not empty; name a new folder", folder.display())]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
    },
}

impl WeightsError {
    pub(crate) fn io(action: &'static str, path: &std::path::Path, source: std::io::Error) -> Self {
        let path = path.to_owned();
        Self::Io { action, path, source }
    }
}

/// Text for a message: cut in its middle when it is long. Names and reasons come from files and plugins, and may have megabytes.
pub(crate) fn cut(text: &str) -> Cow<'_, str> {
    const MOST: usize = 480;
    if text.len() <= MOST {
        return Cow::Borrowed(text);
    }
    let start = text.floor_char_boundary(MOST / 2);
    let end = text.ceil_char_boundary(text.len() - MOST / 2);
    let left = end - start;
    Cow::Owned(format!("{}[… {left} bytes …]{}", &text[..start], &text[end..]))
}

/// A tensor by its name in GGUF files, and by that which the plugin asks for.
fn in_gguf(name: &str, own: Option<&str>) -> String {
    match own {
        None => format!("that is `{}`", cut(name)),
        Some(own) => format!("`{}` (`{}` to the plugin)", cut(own), cut(name)),
    }
}

/// What a pointer says of the file's size.
fn promised(size: Option<u64>) -> String {
    size.map_or(String::new(), |size| format!(", which has {size} bytes"))
}

/// Names for a message: some of them, when there are many.
pub(crate) fn list(names: &[String]) -> String {
    const SHOWN: usize = 8;
    // Together with what is cut elsewhere, a message stays below 4 KiB.
    const LONGEST: usize = 160;
    let name = |name: &String| match name.len() {
        0..=LONGEST => format!("`{name}`"),
        _ => format!("`{}…`", &name[..name.floor_char_boundary(LONGEST)]),
    };
    let shown: Vec<String> = names.iter().take(SHOWN).map(name).collect();
    let more = names.len().saturating_sub(SHOWN);
    let tail = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!("{}{tail}", shown.join(", "))
}
