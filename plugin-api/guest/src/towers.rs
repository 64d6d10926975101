//! Vision transformers that several families share.

mod block;
mod clip;
mod config;
mod positions;
mod siglip;

pub use block::Block;
pub use clip::Clip;
pub use config::{VisionConfig, layers_before};
pub use positions::{Positions, fractional_positions};
pub use siglip::Siglip;
