//! Makes a program of any bytes and runs it on portable code and on this processor's best: see `host/engine-tests/programs.rs`.

#![no_main]

#[path = "../engines.rs"]
mod engines;
#[path = "../../../engine-tests/programs.rs"]
mod programs;

use engines::{ENGINES, engines};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut fresh = |number| engines().swap_remove(number);
    let checked = ENGINES.with_borrow_mut(|engines| programs::check(bytes, engines, Some(&mut fresh)));
    if let Err(reason) = checked {
        panic!("{reason}");
    }
});
