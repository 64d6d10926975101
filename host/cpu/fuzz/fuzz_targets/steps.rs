//! Makes a sequence of any bytes and computes it on portable code and on this processor's best: see `host/engine-tests/steps.rs`.

#![no_main]

#[path = "../../../engine-tests/batches.rs"]
mod batches;
#[path = "../../../engine-tests/programs.rs"]
mod programs;
#[path = "../../../engine-tests/steps.rs"]
mod steps;

use std::cell::RefCell;

use monocle_cpu::{CpuBackend, Instructions};
use monocle_tensor::backend::Backend;

thread_local! {
    static ENGINES: RefCell<Vec<Box<dyn Backend>>> = RefCell::new(engines());
}

fn engines() -> Vec<Box<dyn Backend>> {
    let forms = Instructions::available().into_iter();
    forms
        .map(|form| -> Box<dyn Backend> {
            Box::new(CpuBackend::with_instructions(Some(1), form).expect("it is available"))
        })
        .collect()
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Err(reason) = ENGINES.with_borrow_mut(|engines| steps::check(bytes, engines)) {
        panic!("{reason}");
    }
});
