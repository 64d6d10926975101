//! Why a request could not be answered.

use monocle_image::ImageError;
use monocle_tensor::backend::BackendError;
use monocle_text::{SamplingError, TokenizerError};

use crate::plugin::contract::Size;
use crate::plugin::error::PluginError;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
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
    /// More memory than there is.
    #[error(
        "the request needs {} MiB besides the weights, and this machine has {} MiB\n\nhint: use fewer or smaller \
         pictures, a shorter prompt, or a smaller `--prefill-chunk`", .needed >> 20, .installed >> 20
    )]
    TooLarge {
        /// Bytes of caches, features and intermediate results.
        needed: usize,
        /// Bytes of memory.
        installed: usize,
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
    /// The sampling options are no good, or the logits are not.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
}

/// Errors of files name the file already.
fn picture(name: &str, source: &ImageError) -> String {
    match source {
        ImageError::Read { .. } | ImageError::InFile { .. } => source.to_string(),
        other => format!("picture `{name}`: {other}"),
    }
}
