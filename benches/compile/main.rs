//! What the engine `mlx` gains when it compiles groups of operations: `cargo xtask bench --engine mlx compile`.
//!
//! Prints milliseconds of a decode step and of an encoder run, with and without, for a model of SmolVLM-256M's size.

#[cfg(any(target_os = "macos", feature = "mlx"))]
mod activations;
#[cfg(any(target_os = "macos", feature = "mlx"))]
#[path = "../plugins/checkpoint.rs"]
mod checkpoint;
#[cfg(any(target_os = "macos", feature = "mlx"))]
mod measure;

#[cfg(any(target_os = "macos", feature = "mlx"))]
fn main() {
    measure::all();
}

#[cfg(not(any(target_os = "macos", feature = "mlx")))]
fn main() {
    println!("this measures the engine `mlx`: run `cargo xtask bench --engine mlx compile`");
}
