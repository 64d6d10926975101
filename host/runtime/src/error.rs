//! Why a request could not be answered.

use std::time::Duration;

use monocle_constraint::ConstraintError;
use monocle_image::ImageError;
use monocle_tensor::backend::BackendError;
use monocle_text::{SamplingError, TokenizerError};

use crate::memory::{MemoryEstimate, MemoryLimit};
use crate::plugin::contract::Size;
use crate::plugin::error::PluginError;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// A picture cannot be used.
    #[error("{}", picture(.name, .source))]
    Image {
        /// What the user calls it.
        name: String,
        /// Why.
        source: ImageError,
    },
    /// A picture has more pixels than the manifest allows.
    #[error(
        "picture `{name}` is {given}, {pixels} pixels; the manifest refuses more than {limit}\n\nhint: set \
         `image.over = \"shrink\"` in the manifest, or shrink the picture"
    )]
    TooManyPixels {
        /// What the user calls it.
        name: String,
        /// Its size.
        given: Size,
        /// Its pixels.
        pixels: u64,
        /// The limit.
        limit: u64,
    },
    /// More pictures than the manifest allows.
    #[error("{found} pictures were given, and the manifest allows {limit}")]
    TooManyImages {
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The prompt is longer than the model's context.
    #[error(
        "the prompt has {tokens} tokens ({image_tokens} of them for pictures), and the model's context holds {limit}\n\n\
         hint: use fewer or smaller pictures, or a shorter prompt"
    )]
    PromptTooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// Those for pictures.
        image_tokens: usize,
        /// The context.
        limit: usize,
    },
    /// More memory than there may be.
    #[error("{}", too_large(.estimate, .limit))]
    TooLarge {
        /// What it would take.
        estimate: Box<MemoryEstimate>,
        /// What it may take.
        limit: MemoryLimit,
    },
    /// It could not begin in the time that it was given.
    #[error(
        "the request has waited {:.1} s to begin, and may wait {:.1} s: {before} others are before it",
        .waited.as_secs_f64(), .limit.as_secs_f64()
    )]
    WaitedTooLong {
        /// How long it has waited.
        waited: Duration,
        /// How long it may wait.
        limit: Duration,
        /// Requests that are computed or wait before it.
        before: usize,
    },
    /// It was not answered in the time that it was given.
    #[error("{}", too_late(*.took, *.limit, [*.computed, *.prompt, *.answered]))]
    TooLate {
        /// How long it has taken.
        took: Duration,
        /// How long it may take.
        limit: Duration,
        /// Tokens of the prompt that are computed.
        computed: usize,
        /// Tokens of the prompt; 0 where it was not made yet.
        prompt: usize,
        /// Tokens of the answer.
        answered: usize,
    },
    /// A plugin failed.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// The engine failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The tokenizer failed.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The answer cannot be held to what it must look like.
    #[error(transparent)]
    Constraint(#[from] ConstraintError),
    /// The sampling options are no good, or the logits are not.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
}

fn too_late(took: Duration, limit: Duration, [computed, prompt, answered]: [usize; 3]) -> String {
    let (took, limit) = (took.as_secs_f64(), limit.as_secs_f64());
    let state = match prompt {
        0 => "its prompt and its pictures are not ready".to_owned(),
        _ => format!("{computed} of the prompt's {prompt} tokens are computed, and {answered} of the answer"),
    };
    format!(
        "the request has taken {took:.1} s, and may take {limit:.1} s: {state}\n\nhint: give it more time (`--timeout`), or use smaller \
         pictures, a shorter prompt or fewer `--max-tokens`"
    )
}

fn too_large(estimate: &MemoryEstimate, limit: &MemoryLimit) -> String {
    let weights = amount(estimate.weights_bytes.max(estimate.engine_weights_bytes));
    let (limit, source) = (amount(limit.bytes), limit.source);
    if estimate.engine_peak() == estimate.load_peak_bytes.max(estimate.engine_weights_bytes) {
        let loading = match estimate.load_peak_bytes > estimate.engine_weights_bytes {
            true => format!(", and up to {} while they are loaded", amount(estimate.total())),
            false => String::new(),
        };
        return format!(
            "the weights take {weights}{loading}, and the limit is {limit} ({source})\n\nhint: use a smaller or more quantised model, or \
             raise `--memory-limit`"
        );
    }
    format!(
        "the request needs {}, and the limit is {limit} ({source}): {weights} of weights, {} of pictures, {} of features, {} of \
         caches, {} of intermediate results\n\nhint: use fewer or smaller pictures (`image.max_pixels` in the manifest shrinks \
         them), fewer `--max-tokens`, a smaller `--prefill-chunk`, or raise `--memory-limit`",
        amount(estimate.total()),
        amount(estimate.picture_bytes),
        amount(estimate.feature_bytes),
        amount(estimate.cache_bytes),
        amount(estimate.program_bytes)
    )
}

/// Whole units, rounded up, four digits or so of them.
fn amount(bytes: usize) -> String {
    let (unit, name) = match bytes {
        0..10_000 => (1, "bytes"),
        10_000..10_240_000 => (1 << 10, "KiB"),
        _ => (1 << 20, "MiB"),
    };
    format!("{} {name}", bytes.div_ceil(unit))
}

/// Errors of files name the file already.
fn picture(name: &str, source: &ImageError) -> String {
    match source {
        ImageError::Read { .. } | ImageError::InFile { .. } => source.to_string(),
        other => format!("picture `{name}`: {other}"),
    }
}
