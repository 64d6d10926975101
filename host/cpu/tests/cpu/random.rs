//! Random programs and sequences: portable code and this processor's best, one thread and three, say the same, and say it again.

use std::cell::RefCell;

use monocle_tensor::backend::Backend;
use proptest::prelude::*;

use crate::{engines, programs, steps};

thread_local! {
    static ENGINES: RefCell<Vec<Box<dyn Backend>>> = RefCell::new(engines());
}

/// A program of these bytes on all engines.
fn check(bytes: &[u8]) -> Result<(), String> {
    let mut fresh = |number| engines().swap_remove(number);
    ENGINES.with_borrow_mut(|engines| programs::check(bytes, engines, Some(&mut fresh)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn any_program_runs_alike_or_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let checked = check(&bytes);
        prop_assert!(checked.is_ok(), "{}", checked.unwrap_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_is_computed_alike_within_its_estimate(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let checked = ENGINES.with_borrow_mut(|engines| steps::check(&bytes, engines));
        prop_assert!(checked.is_ok(), "{}", checked.unwrap_err());
    }
}

/// What fuzzing has found: rows that are put into themselves need a buffer that no estimate had; squares of squares cancel to any small number.
#[test]
fn what_was_found_once_is_right_now() {
    let found: [&[u8]; 2] = [
        include_bytes!("../../fuzz/corpus/programs/rows-put-into-themselves"),
        include_bytes!("../../fuzz/corpus/programs/large-numbers-cancel"),
    ];
    for bytes in found {
        assert_eq!(check(bytes), Ok(()));
    }
}

/// What fuzzers begin with.
#[test]
fn the_corpus_of_sequences_holds() {
    let mut files = 0;
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/steps")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let checked = ENGINES.with_borrow_mut(|engines| steps::check(&bytes, engines));
        assert_eq!(checked, Ok(()), "{}", path.display());
        files += 1;
    }
    assert!(files >= 3, "{files}");
}
