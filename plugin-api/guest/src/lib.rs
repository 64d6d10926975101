//! What a plugin author writes a model with.
//!
//! A plugin is a crate of type `cdylib` that implements [`Processor`] (how a request becomes tokens and pictures become pixels)
//! and, if it brings a whole architecture, [`Network`] (the forward pass), and exports them with one macro. It is built for
//! `wasm32-unknown-unknown`; the host runs it in a sandbox, and everything it does, it asks of the host: there is no file,
//! no network, no clock, and no tensor has values that a plugin could read.
//!
//! The smallest useful adapter, for a model whose pictures are squeezed to a square and take one token a patch:
//!
//! ```
//! use monocle_plugin::prelude::*;
//!
//! pub struct Square {
//!     squash: Squash,
//!     features: u32,
//! }
//!
//! impl Processor for Square {
//!     /// What is kept of each picture between its plan and its pixels.
//!     type Picture = ();
//!
//!     fn configure(files: &ModelFiles) -> Result<Self> {
//!         let vision = files.config()?.section("vision_config")?;
//!         let (side, patch): (u32, u32) = (vision.get("image_size")?, vision.get("patch_size")?);
//!         let squash = Squash::read(&files.preprocessor()?, side, Filter::Bicubic, Normalisation::half())?;
//!         Ok(Self { squash, features: (side / patch).pow(2) })
//!     }
//!
//!     fn picture(&self, _size: Size) -> Result<()> {
//!         Ok(())
//!     }
//!
//!     fn plan(&self, request: &Request, pictures: &[()]) -> Result<Plan> {
//!         let media = pictures.iter().map(|_| self.squash.plan(self.features)).collect();
//!         Prompt::of("<image>").render(request)?.plan(media, |_, features| features)
//!     }
//!
//!     fn pixels(&self, _picture: &(), image: &Image) -> Result<Vec<Pixels>> {
//!         Ok(self.squash.pixels(image))
//!     }
//! }
//!
//! monocle_plugin::export_adapter!(Square, model_types: ["square"]);
//! ```
//!
//! A whole model adds a [`Network`], usually put together from [`towers`], [`decoders`] and [`nn`], and is exported with
//! [`export_model!`].
//!
//! # Recording
//!
//! [`Network::encode`] and [`Network::forward`] are called once for each signature (the shapes of everything that they are
//! given); the host records the operations that they ask for, and replays them. So they must be functions of shapes alone; a
//! plugin that asks for different operations the second time is refused.
//!
//! # Errors
//!
//! Functions that can fail for a reason of the user's (a config that makes no sense) return [`Result`]; `?` works on any
//! error. An operation that cannot be done (shapes that do not fit, a weight that is not there) ends the call, and the host
//! says which. A panic is written to the host's log first.

#[allow(missing_docs, clippy::missing_safety_doc)]
#[doc(hidden)]
pub mod bindings;
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod component;
pub mod config;
pub mod decoders;
#[doc(hidden)]
pub mod entry;
mod error;
mod image;
pub mod log;
#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
pub mod native;
pub mod nn;
mod pixel_budget;
mod plugin;
pub mod prompt;
mod request;
pub mod rope;
mod squash;
mod tensor;
mod tiling;
pub mod tokenizer;
pub mod towers;
pub mod weights;

pub use bindings::imports::batches::{Batch, CachedAttention};
pub use bindings::imports::images::{Filter, Image, Layout, Normalisation, Pixels, stack};
pub use bindings::imports::prompts::RenderOptions;
pub use bindings::imports::tensors::{
    BinaryOperation, Interpolation, Kind, Pairing, Pooling, Reduction, RopeAngles, SelfAttention, Tensor,
    UnaryOperation, Window, concat, floats, full, ints,
};
pub use bindings::imports::types::{
    AnswerLabel, AnswerOutline, AnswerPart, AnswerPoint, AnswerRectangle, AttentionScheme, Audio, Content,
    ContextRange, EncoderPlan, ExplicitPositions, FeatureUse, Mark, Medium, MediumPlan, Message, ModelFiles,
    Part, Piece, Place, Plan, PositionScheme, Request, Size, Slot, ToolCall, Video,
};
pub use error::{Context, Error, Result};
pub use image::PixelRules;
pub use pixel_budget::PixelBudget;
pub use plugin::{Network, Processor};
pub use prompt::Prompt;
pub use squash::Squash;
pub use tensor::Axis;
pub use tiling::Grid;

/// What most plugins use.
pub mod prelude {
    pub use crate::config::Section;
    pub use crate::decoders::{Decoder, LlamaConfig};
    pub use crate::nn::{Activation, Attention, Conv2d, Embedding, Linear, Mlp, Norm, Parameter};
    pub use crate::weights::{self, Weights};
    pub use crate::{
        AttentionScheme, Batch, CachedAttention, Context, Error, FeatureUse, Filter, Grid, Image, Kind,
        Layout, MediumPlan, Message, ModelFiles, Network, Normalisation, Piece, PixelBudget, PixelRules,
        Pixels, Plan, PositionScheme, Processor, Prompt, Request, Result, RopeAngles, SelfAttention, Size,
        Slot, Squash, Tensor, concat, ensure, floats, full, ints, log, nn, prompt, stack, tokenizer,
    };
}
