//! The engines that fuzz targets compare: portable code, and what this processor can run besides.

use std::cell::RefCell;

use monocle_cpu::{CpuBackend, Instructions};
use monocle_tensor::backend::Backend;

thread_local! {
    /// Those that a target runs everything on.
    pub static ENGINES: RefCell<Vec<Box<dyn Backend>>> = RefCell::new(engines());
}

/// New ones.
pub fn engines() -> Vec<Box<dyn Backend>> {
    let forms = Instructions::available().into_iter();
    forms
        .map(|form| -> Box<dyn Backend> {
            Box::new(CpuBackend::with_instructions(Some(1), form).expect("it is available"))
        })
        .collect()
}
