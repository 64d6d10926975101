//! Which models there are, which are loaded, and which go when memory is short.

pub mod catalogue;
pub mod keep;
pub mod registry;
