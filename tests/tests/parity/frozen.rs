//! Plugins built for earlier versions of the contract, kept as files: they run, and compute what the references compute.

use monocle_tests::parity::Parity;
use monocle_tests::project;

const VERSIONS: [&str; 2] = ["contract-0.1", "contract-0.2"];

/// Compares a folder's goldens with what a frozen plugin computes.
fn check(parity: &Parity, plugin: &str) {
    let folder = project::oracle(parity.folder);
    for version in VERSIONS {
        let manifest = format!(
            "schema = 1\nname = \"frozen\"\nplugin = \"{plugin}\"\nsource = {{ path = {folder:?} }}\n"
        );
        let mut model = project::open_frozen(version, &manifest);
        parity.compare(&mut model);
    }
}

#[test]
fn smolvlm() {
    check(&Parity::new("smolvlm"), "smolvlm");
}

/// Positions of three axes, windows in the vision tower.
#[test]
fn qwen_vl() {
    let parity = Parity {
        pixels: None,
        ..Parity::new("qwen2_5_vl")
    };
    check(&parity, "qwen-vl");
}

/// Cross attention.
#[test]
fn mllama() {
    let parity = Parity {
        pixels: None,
        ..Parity::new("mllama")
    };
    check(&parity, "mllama");
}

/// An adapter whose prompts are those of a template.
#[test]
fn an_adapter() {
    let folder = project::oracle("smolvlm");
    let head =
        format!("schema = 1\nname = \"frozen\"\nplugin = \"smolvlm\"\nsource = {{ path = {folder:?} }}\n");
    let words = "What is this?";
    let request = monocle_runtime::request::Request::single(None, Vec::new(), words);
    for version in VERSIONS {
        let adapter = "adapter = { name = \"plain-adapter\", options = { tokens = 4 } }\n";
        let template = "[prompt]\ntemplate = \"Question: {{ messages[0].content[0].text }} Answer:\"\n";
        let [adapted, templated] = [adapter, template].map(|rest| {
            let mut model = project::open_frozen(version, &format!("{head}{rest}"));
            model
                .trace(&request, 512, 8)
                .unwrap_or_else(|error| panic!("{error}"))
        });
        assert_eq!(adapted.prompt, format!("Question: {words} Answer:"));
        assert_eq!(adapted.prompt_ids, templated.prompt_ids);
        assert_eq!(adapted.tokens, templated.tokens);
    }
}
