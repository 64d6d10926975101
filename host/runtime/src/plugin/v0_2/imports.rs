//! The host's side of the contract: what plugins import. One source for both carriers, each of which gives it its types (`bindings`) and its
//! handles (`host_side`): what a function does cannot differ between them.

use super::{bindings, convert, host_side};

mod images;
mod tensors;
mod texts;
mod weights;
