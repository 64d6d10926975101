//! What carries a plugin changes nothing that it does: every official plugin is there as a component and as a native library, and both ask for the
//! same. (Against reference implementations, the tests of parity compare them, in both carriers.)

use std::collections::{BTreeMap, BTreeSet};

use monocle_runtime::model::locate::Declaration;
use monocle_runtime::model::{Model, OpenOptions};
use monocle_runtime::plugin::error::PluginError;
use monocle_runtime::plugin::folders::PluginFolders;
use monocle_runtime::plugin::loaded::Plugin;
use monocle_runtime::plugin::stamp::Stamp;
use monocle_runtime::plugin::trust::Trust;
use monocle_runtime::scheduler::Scheduler;
use monocle_tests::oracle::Oracle;
use monocle_tests::parity::{LOGITS, close};
use monocle_tests::project::{self, Carrier};

/// Names of the crates in a folder.
fn crates(folder: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(project::root().join(folder)).expect("the folder is there");
    let folders = entries.map(|entry| entry.expect("it can be read").path());
    folders
        .filter(|path| path.join("Cargo.toml").is_file())
        .map(|path| {
            path.file_name()
                .expect("it has a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect()
}

#[test]
fn every_plugin_is_there_in_both_carriers() {
    let stamps = |carrier: Carrier| -> BTreeMap<String, Stamp> {
        let all = carrier.plugins().list().into_iter();
        all.map(|found| {
            let stamp = found
                .stamp
                .unwrap_or_else(|reason| panic!("{}: {reason}", found.path.display()));
            (stamp.name.clone(), stamp)
        })
        .collect()
    };
    let [components, libraries] = Carrier::ALL.map(stamps);
    assert_eq!(components, libraries);
    let names: BTreeSet<String> = libraries.into_keys().collect();
    let expected: BTreeSet<String> = crates("plugins")
        .union(&crates("tests/plugins"))
        .cloned()
        .collect();
    assert_eq!(names, expected);
}

/// Everything that comes of a request. What a plugin computes itself with powers and cosines (angles, positions) comes from the system's mathematical
/// library in one carrier and from Rust's in the other, so constants may differ in their last bit, and what is computed with them may differ as much
/// as from a reference.
#[test]
fn both_carriers_ask_for_the_same() {
    let mut used = BTreeSet::new();
    for name in project::checkpoints() {
        let folder = project::oracle(&name);
        let oracle = Oracle::open(&folder);
        let [mut component, mut library] =
            Carrier::ALL.map(|carrier| project::open_folder_in(carrier, &folder));
        used.extend(library.model().plugins().map(|plugin| plugin.stamp.name.clone()));
        for case in oracle.cases() {
            let trace = |model: &mut Scheduler| {
                let trace = model.trace(&oracle.request(&case), 64, 2);
                trace.unwrap_or_else(|error| panic!("{name} {case}: {error}"))
            };
            let (found, expected) = (trace(&mut library), trace(&mut component));
            let what = format!("{name} {case}");
            assert_eq!(found.prompt, expected.prompt, "{what}");
            assert_eq!(found.prompt_ids, expected.prompt_ids, "{what}");
            assert_eq!(found.encoder_ids, expected.encoder_ids, "{what}");
            assert_eq!(found.pixels, expected.pixels, "{what}");
            for (found, expected) in [
                (found.features.concat(), expected.features.concat()),
                (found.prompt_logits, expected.prompt_logits),
                (found.step_logits, expected.step_logits),
            ] {
                close(&what, &found.concat(), &expected.concat(), LOGITS);
            }
            assert_eq!(found.tokens, expected.tokens, "{what}");
        }
    }
    assert_eq!(used, crates("plugins"), "every plugin was asked");
}

/// A library that nobody trusts is not run: not by a manifest that names it, nor for a model's type.
#[test]
fn an_untrusted_library_is_refused() {
    let folders = PluginFolders::new(Carrier::Library.folders().to_vec());
    let path = folders.path("smolvlm").unwrap_or_else(|error| panic!("{error}"));
    let error = Plugin::load(&path, &Trust::nothing())
        .err()
        .expect("it is refused");
    assert!(
        matches!(error, PluginError::Untrusted { before: None, .. }),
        "{error}"
    );
    let words = error.to_string();
    for part in [
        "you have not trusted",
        "anything that you can",
        "monocle plugins trust",
    ] {
        assert!(words.contains(part), "{words}");
    }
    assert!(folders.for_model_type("idefics3").is_empty());
    assert!(!Carrier::Library.plugins().for_model_type("idefics3").is_empty());
    let source = project::oracle("smolvlm");
    let text =
        format!("schema = 1\nname = \"named\"\nplugin = \"smolvlm\"\nsource = {{ path = {source:?} }}\n");
    let error = project::try_open_manifest_of(folders.clone(), &text)
        .err()
        .expect("it is refused");
    assert!(error.to_string().contains("you have not trusted"), "{error}");
    let places = monocle_runtime::model::locate::Places {
        plugins: folders,
        ..project::places()
    };
    let found = places.find(&source.display().to_string(), &mut |_| {});
    let opened = found.and_then(|declaration: Declaration| {
        Model::open(&places, &declaration, OpenOptions::default(), &mut |_| {})
    });
    assert!(opened.is_err(), "no plugin may serve it");
}
