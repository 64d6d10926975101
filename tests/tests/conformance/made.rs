//! Whatever a plugin answers, a manifest asks for or a server says: it is refused, or what was promised holds. Fuzz targets make the same things
//! (`tests/fuzz`).

use monocle_tests::made::{answers, lifted, manifests, plans};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_plan_is_refused_or_can_be_cut(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(plans::check(&bytes), Ok(()));
    }

    #[test]
    fn any_answer_of_a_plugin_is_refused_or_passes_the_checks(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert_eq!(lifted::check(&bytes), Ok(()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_manifest_is_refused_or_its_model_answers(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        prop_assert_eq!(manifests::check(&bytes), Ok(()));
    }

    #[test]
    fn any_server_is_refused_or_gives_what_it_lists(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(answers::check(&bytes), Ok(()));
    }
}
