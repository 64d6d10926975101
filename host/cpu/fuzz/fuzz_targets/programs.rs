//! Makes a program of any bytes and runs it on portable code and on this processor's best: see `host/engine-tests/programs.rs`.

#![no_main]

#[path = "../../../engine-tests/programs.rs"]
mod programs;

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
    let mut fresh = |number| engines().swap_remove(number);
    let checked = ENGINES.with_borrow_mut(|engines| programs::check(bytes, engines, Some(&mut fresh)));
    if let Err(reason) = checked {
        panic!("{reason}");
    }
});
