//! Random programs: portable code and this processor's best, one thread and three, say the same.

use std::cell::RefCell;

use monocle_tensor::backend::Backend;
use proptest::prelude::*;

use crate::{engines, programs};

thread_local! {
    static ENGINES: RefCell<Vec<Box<dyn Backend>>> = RefCell::new(engines());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn any_program_runs_alike_or_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let checked = ENGINES.with_borrow_mut(|engines| programs::check(&bytes, engines));
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
        let checked = ENGINES.with_borrow_mut(|engines| programs::check(bytes, engines));
        assert_eq!(checked, Ok(()));
    }
}
