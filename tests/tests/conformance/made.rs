//! Whatever a plugin answers, a manifest asks for or a server says: it is refused, or what was promised holds. Fuzz targets make the same things
//! (`tests/fuzz`).

use monocle_tests::made::{answers, components, lifted, manifests, plans};
use monocle_tests::project;
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
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_component_and_stamp_is_refused_or_what_it_says(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        prop_assert_eq!(components::check(&bytes), Ok(()));
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

/// Plugins that are made here are compiled in this process: what is kept of them is not kept among the user's (`.cargo/config.toml`).
#[test]
fn the_cache_is_not_the_users() {
    assert!(
        std::env::var_os("MONOCLE_CACHE").is_some(),
        "run this test by cargo"
    );
}

/// What fuzzers begin with.
#[test]
fn the_corpora_hold() {
    type Check = fn(&[u8]) -> Result<(), String>;
    let targets: [(&str, Check); 5] = [
        ("answers", answers::check),
        ("component", components::check),
        ("lifted", lifted::check),
        ("model_manifest", manifests::check),
        ("plan", plans::check),
    ];
    for (target, check) in targets {
        let folder = project::root().join("tests/fuzz/corpus").join(target);
        let entries =
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut files = 0;
        for entry in entries {
            let path = entry.expect("the folder can be read").path();
            let bytes = std::fs::read(&path).expect("the file can be read");
            assert_eq!(check(&bytes), Ok(()), "{}", path.display());
            files += 1;
        }
        assert!(files >= 3, "{target}: {files} files");
    }
}
