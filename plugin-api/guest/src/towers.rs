//! Vision transformers that several families share.

mod block;
mod clip;
mod config;
mod pixtral;
mod positions;
mod siglip;
mod siglip2;

pub use block::Block;
pub use clip::Clip;
pub use config::{VisionConfig, layers_before};
pub use pixtral::Pixtral;
pub use positions::{Positions, fractional_positions};
pub use siglip::Siglip;
pub use siglip2::Siglip2;
