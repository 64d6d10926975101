//! Makes a sequence of any bytes and computes it on portable code and on this processor's best: see `host/engine-tests/steps.rs`.

#![no_main]

#[path = "../../../engine-tests/batches.rs"]
mod batches;
#[path = "../engines.rs"]
mod engines;
#[path = "../../../engine-tests/programs.rs"]
mod programs;
#[path = "../../../engine-tests/steps.rs"]
mod steps;

use engines::ENGINES;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Err(reason) = ENGINES.with_borrow_mut(|engines| steps::check(bytes, engines)) {
        panic!("{reason}");
    }
});
