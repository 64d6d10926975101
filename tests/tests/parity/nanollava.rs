//! nanoLLaVA against transformers (its parts put together there, since the original's code is not packaged).

use monocle_tests::parity::Parity;

#[test]
fn nanollava() {
    // The golden ids have the stand-in's image token where the original has -200, for which ours is 0.
    Parity {
        placeholder: Some((479, 0)),
        ..Parity::new("nanollava")
    }
    .check();
}
