//! `tests/c/native.c`, built against `monocle_plugin.h` alone, does what the adapter in Rust (`tests/plugins/plain-adapter`) does; and what it does
//! wrong ends its request with words, and nothing else.
//!
//! It needs clang. Where there is none, nothing is compared, and a line says so; with `MONOCLE_TEST_C` set, that is a failure.

use std::env::consts::DLL_SUFFIX;
use std::path::PathBuf;
use std::process::Command;

use monocle_runtime::plugin::folders::PluginFolders;
use monocle_runtime::plugin::trust::Trust;
use monocle_runtime::request::Request;
use monocle_runtime::request::pictures::PictureInput;
use monocle_runtime::scheduler::Scheduler;
use monocle_tests::project::{self, Carrier};
use monocle_tests::scratch::Scratch;

fn has_compiler() -> bool {
    let has = Command::new("clang").arg("--version").output().is_ok();
    if !has {
        assert!(
            std::env::var_os("MONOCLE_TEST_C").is_none(),
            "clang is missing: apt-get install clang"
        );
        eprintln!("clang is missing, so the native adapter in C was not built");
    }
    has
}

/// The library, in this folder.
fn build(folder: &Scratch, defines: &[&str]) -> PathBuf {
    let library = folder.file(&format!("native-in-c{DLL_SUFFIX}"));
    let output = Command::new("clang")
        .args([
            "-std=c99",
            "-Wall",
            "-Wextra",
            "-Wpedantic",
            "-Werror",
            "-O2",
            "-shared",
            "-fPIC",
        ])
        .arg("-fvisibility=hidden")
        .args(defines)
        .arg("-I")
        .arg(project::root().join("plugin-api/include"))
        .arg(project::root().join("tests/c/native.c"))
        .arg("-o")
        .arg(&library)
        .output()
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    library
}

/// The project's components, and a folder whose library is trusted.
fn plugins(folder: &Scratch) -> PluginFolders {
    let trust = Trust::noted_in(folder.file("trusted"));
    let library = folder.file(&format!("native-in-c{DLL_SUFFIX}"));
    trust.trust(&library).unwrap_or_else(|error| panic!("{error}"));
    let [plugins, of_tests] = Carrier::Component.folders();
    PluginFolders::new(vec![plugins, of_tests, folder.path().to_owned()]).trusting(trust)
}

fn manifest(adapter: &str) -> String {
    let source = project::oracle("smolvlm");
    format!(
        "schema = 1\nname = \"adapted\"\nsource = {{ path = {source:?} }}\nplugin = \"smolvlm\"\nadapter = {{ name = {adapter} }}"
    )
}

fn request(pictures: &[&str]) -> Request {
    let source = project::oracle("smolvlm");
    let pictures = pictures.iter().map(|name| PictureInput::File(source.join(name)));
    Request::single(None, pictures.collect(), "What is this? \u{e9}")
}

#[test]
fn an_adapter_in_c_does_what_the_one_in_rust_does() {
    if !has_compiler() {
        return;
    }
    let folder = Scratch::new("native-in-c");
    build(&folder, &[]);
    let mut in_c = project::try_open_manifest_of(plugins(&folder), &manifest("\"native-in-c\""))
        .unwrap_or_else(|error| panic!("{error}"));
    let mut in_rust = project::open_manifest(&manifest("\"plain-adapter\", options = { tokens = 4 }"));
    for pictures in [&[][..], &["image.png"], &["image2.png", "image.png"]] {
        let trace = |model: &mut Scheduler| {
            let trace = model.trace(&request(pictures), 7, 8);
            trace.unwrap_or_else(|error| panic!("{error}"))
        };
        let (found, expected) = (trace(&mut in_c), trace(&mut in_rust));
        assert_eq!(found.prompt, expected.prompt);
        assert_eq!(found.prompt_ids, expected.prompt_ids);
        assert_eq!(found.pixels, expected.pixels);
        assert_eq!(found.tokens, expected.tokens);
        assert_eq!(found.step_logits, expected.step_logits);
    }
}

#[test]
fn its_errors_are_words_and_its_mistakes_end_a_request() {
    if !has_compiler() {
        return;
    }
    let folder = Scratch::new("native-in-c-wrong");
    build(&folder, &[]);
    let plugins = plugins(&folder);
    let fails = |options: &str| {
        let adapter = format!("\"native-in-c\", options = {{ {options} }}");
        let limits = match options.contains("late") {
            true => "[limits]\ncall_timeout_ms = 200",
            false => "",
        };
        let text = format!("{}\n{limits}\n", manifest(&adapter));
        let mut model =
            project::try_open_manifest_of(plugins.clone(), &text).unwrap_or_else(|error| panic!("{error}"));
        let error = model.trace(&request(&[]), 7, 1).err();
        error.expect(options).to_string()
    };
    for (options, words) in [
        ("side = 3", "this adapter takes no options"),
        (
            "wrong = \"tag\"",
            "what it returned is no answer: a `attention-scheme` is none of the contract's",
        ),
        (
            "wrong = \"not UTF-8\"",
            "what it returned is no answer: a text is not UTF-8",
        ),
        (
            "wrong = \"nowhere\"",
            "what it returned is no answer: a list is nowhere",
        ),
        ("wrong = \"status\"", "it returned the status 99, which is none"),
        (
            "wrong = \"ended\"",
            "it says that the host ended the call, which it did not",
        ),
        ("wrong = \"broken\"", "its last words: the last words"),
        (
            "wrong = \"tensors\"",
            "it cannot go on because of a mistake in it",
        ),
        ("wrong = \"goes on\"", "a picture was used after it was dropped"),
        ("wrong = \"late\"", "it came back when its 200 ms were over"),
        (
            "wrong = \"level\"",
            "it called the host wrongly: a `level` is none of the contract's",
        ),
        (
            "wrong = \"no text\"",
            "it called the host wrongly: a text is nowhere",
        ),
    ] {
        let error = fails(options);
        assert!(
            error.contains(words) && error.contains("native-in-c"),
            "{options}: {error}"
        );
    }
}

/// A library that is of another carrier, or gives nothing, is refused when it is loaded.
#[test]
fn tables_that_do_not_fit_are_refused() {
    if !has_compiler() {
        return;
    }
    for (define, words) in [
        ("-DVERSION=7", "version 7 of the native carrier"),
        ("-DTABLE=NULL", "it gives no processor"),
        (
            "-DSAID=MONOCLE_STAMP \"{\\\"name\\\":\\\"native-in-c\\\",\\\"version\\\":\\\"0.1.0\\\",\\\"contract\\\":\\\"0.2.0\\\",\\\"kind\\\":\\\"model\\\"}\"",
            "it calls itself a model, and gives no network",
        ),
    ] {
        let folder = Scratch::new("native-in-c-tables");
        build(
            &folder,
            &[define, "-Wno-unused-const-variable", "-Wno-unused-function"],
        );
        let error = project::try_open_manifest_of(plugins(&folder), &manifest("\"native-in-c\""));
        let error = error.err().expect(define).to_string();
        assert!(error.contains(words), "{define}: {error}");
    }
}
