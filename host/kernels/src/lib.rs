//! What the engine `cpu` computes with: vectors of the processor at hand, matrices as they are stored, products, attention, a pool of threads,
//! and counted buffers. It knows no program and no model.
//!
//! In a release it is the one crate of the host whose arithmetic is not checked for overflow: the checks keep compilers from unrolling the
//! innermost loops. What is multiplied here are lengths of buffers that exist; sizes of buffers that do not exist yet are computed with
//! saturating arithmetic.

pub mod attention;
pub mod bf16_product;
pub mod convolution;
pub mod elementwise;
mod few_rows;
pub mod integers;
pub mod interpolation;
pub mod lanes;
mod math;
pub mod matrix;
pub mod memory;
pub mod output;
pub mod product;
pub mod recurrence;
pub mod rotary;
pub mod rows;
pub mod shape;
pub mod stored_heads;
mod sync;
pub mod threads;
