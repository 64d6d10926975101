//! The host's side of the contract: what plugins import.

mod images;
mod tensors;
mod texts;
mod weights;
