//! `docs/contract-reference.md` says what the newest contract says.

use monocle_tests::contract_page::{COMMAND, contract, page, path};

#[test]
fn the_reference_is_the_contract_s() {
    let written = std::fs::read_to_string(path()).expect("the page is there");
    assert!(
        written == page(&contract()),
        "docs/contract-reference.md is out of date: run `{COMMAND}`"
    );
}

#[test]
fn every_function_says_what_it_does() {
    let contract = contract();
    let silent = |functions: &wit_parser::IndexMap<String, wit_parser::Function>| -> Vec<String> {
        let silent = functions
            .values()
            .filter(|function| function.docs.contents.is_none());
        silent.map(|function| function.name.clone()).collect()
    };
    for (_, interface) in contract.interfaces.iter() {
        assert_eq!(silent(&interface.functions), Vec::<String>::new());
    }
}

/// The native carrier's header, tables and types say what the newest contract says.
#[test]
fn the_native_carrier_is_the_contract_s() {
    use monocle_tests::native_abi;

    for (path, text) in native_abi::files(&contract()) {
        let written = std::fs::read_to_string(&path).expect("the file is there");
        assert!(
            written == text,
            "{} is out of date: run `{}`",
            path.display(),
            native_abi::COMMAND
        );
    }
}

/// Libraries that were built before must not find other tables than they know.
#[test]
fn another_layout_is_another_version_of_the_carrier() {
    use monocle_tests::native_abi;
    use sha2::{Digest, Sha256};

    let [(_, header), (_, structures), ..] = native_abi::files(&contract());
    let version = header
        .lines()
        .find_map(|line| line.strip_prefix("#define MONOCLE_ABI "))
        .expect("the header has one");
    let hash: String = Sha256::digest(structures)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let known = (
        "1u",
        "a12e36cd1c5ad17e99278746cfd6985b48ba3d9eb3a2bb0bea247c81edb32d3b",
    );
    assert_eq!(
        (version, hash.as_str()),
        known,
        "raise `MONOCLE_ABI` and `monocle_plugin_abi::ABI`, and note the hash here"
    );
}
