//! Programs of tensor operations, and the engines that run them.

pub mod stored;
