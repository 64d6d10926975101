//! The host's side of the contract: what plugins import.

mod images;
mod plain;
mod tensors;
mod weights;
