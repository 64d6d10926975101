//! Random programs and sequences: this engine says what the engine `cpu` says.

use std::cell::RefCell;

use monocle_cpu::CpuBackend;
use monocle_tensor::backend::Backend;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::{engines, programs, steps};

thread_local! {
    static ENGINES: RefCell<Vec<Box<dyn Backend>>> = RefCell::new(both());
}

fn both() -> Vec<Box<dyn Backend>> {
    let mut both: Vec<Box<dyn Backend>> = vec![Box::new(CpuBackend::new(Some(1)))];
    both.extend(engines());
    both
}

/// The same ones at each run: `PROPTEST_RNG_SEED` names others.
fn cases(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let rng_seed = match default.rng_seed {
        RngSeed::Random => RngSeed::Fixed(1),
        fixed => fixed,
    };
    ProptestConfig {
        cases,
        rng_seed,
        ..default
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn any_program_runs_as_on_the_engine_cpu(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let checked = ENGINES.with_borrow_mut(|engines| programs::check(&bytes, engines, None));
        prop_assert!(checked.is_ok(), "{}", checked.unwrap_err());
    }
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn any_sequence_is_computed_as_on_the_engine_cpu(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let checked = ENGINES.with_borrow_mut(|engines| steps::check(&bytes, engines));
        prop_assert!(checked.is_ok(), "{}", checked.unwrap_err());
    }
}
