//! Configurations as transformers saves them again, which is how fine-tuned copies have them: see make_resaved.py.

use monocle_tests::oracle::Oracle;
use monocle_tests::parity::greedy_tokens;
use monocle_tests::{project, variant};
use serde_json::Value;

#[test]
fn what_transformers_saved_again_answers_the_same() {
    let text = std::fs::read_to_string(project::oracle("resaved.json")).expect("the goldens are there");
    let golden: Value = serde_json::from_str(&text).expect("they are JSON");
    let folders = golden["folders"].as_object().expect("it has folders");
    assert!(folders.len() >= 26, "{} folders", folders.len());
    for (folder, files) in folders {
        let files = files.as_object().expect("a folder has files");
        let mut without = vec!["golden.json", "golden.safetensors", "preprocessor_config.json"];
        without.extend(files.keys().map(String::as_str));
        let copy = variant::copy(folder, &format!("{folder}-resaved"), &without);
        for (name, content) in files {
            std::fs::write(copy.join(name), content.to_string()).expect("a file can be written");
        }
        let oracle = Oracle::open(&project::oracle(folder));
        let case = oracle.cases().remove(0);
        let trace = project::open_folder(&copy)
            .trace(&oracle.request(&case), 4096, 16)
            .unwrap_or_else(|error| panic!("{folder}: {error}"));
        assert_eq!(trace.tokens, greedy_tokens(&oracle, &case), "{folder}");
    }
}
