//! Decoding and preparing pictures: the same numbers as the reference processors.
//!
//! [`decode`] and [`open`] turn a file into a [`Picture`] (8-bit RGB) and say in [`Source`] everything that was done
//! to it on the way. A picture is resized, cropped and padded with the numbers PIL gives, bit for bit, and
//! [`Picture::to_tensor`] ends in the floats a vision tower takes.

mod bands;
mod decode;
mod error;
mod filter;
mod picture;
mod resize;
mod source;
mod tensor;
mod zeros;

pub use bands::use_threads;
pub use decode::{AlphaHandling, DecodeOptions, Decoded, FilePage, Limits, WideGrey, decode, open, size};
pub use error::ImageError;
pub use filter::Filter;
pub use picture::Picture;
pub use source::{Format, Narrowed, Source};
pub use tensor::{Layout, Normalise, stack};
