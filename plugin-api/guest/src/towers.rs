//! Vision transformers that several families share.

mod clip;
mod encoder;
mod pixtral;
mod positions;
mod siglip;
mod siglip2;

pub use clip::Clip;
pub use encoder::{Encoder, VisionConfig, layers_before};
pub use pixtral::Pixtral;
pub use positions::{Positions, fractional_positions};
pub use siglip::Siglip;
pub use siglip2::Siglip2;
