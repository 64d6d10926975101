//! The host knows no model: no family's name stands in its source. What tests need does not count.

use std::path::{Path, PathBuf};

use monocle_tests::project;
use regex::Regex;

const FAMILIES: &str = "(?i)qwen|llava|smol|idefics|gemma|\\bphi[-_0-9]|pixtral|mistral|internvl|mllama|\\blfm|florence|\
                        moondream|molmo|deepseek|kimi|ernie|\\bglm";

/// Lines that name a family, up to the tests that end a file.
fn mentions(source: &str) -> Vec<(usize, String)> {
    let families = Regex::new(FAMILIES).expect("the pattern is fixed");
    let end = source.find("#[cfg(test)]\nmod ").unwrap_or(source.len());
    let lines = source[..end].lines().enumerate();
    let named = lines.filter(|(_, line)| families.is_match(line));
    named
        .map(|(index, line)| (index + 1, line.trim().to_owned()))
        .collect()
}

/// Rust files below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The source folders of all crates of the host, by name, and the tests that engines share.
fn host() -> Vec<(String, PathBuf)> {
    let crates = std::fs::read_dir(project::root().join("host")).unwrap();
    let crates = crates.map(|entry| entry.unwrap());
    let folders = crates.map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let folder = match entry.path().join("Cargo.toml").exists() {
            true => entry.path().join("src"),
            false => entry.path(),
        };
        (name, folder)
    });
    folders.collect()
}

#[test]
fn the_host_names_no_family() {
    let mut files = Vec::new();
    for (name, folder) in host() {
        let before = files.len();
        sources(&folder, &mut files);
        assert!(files.len() > before, "nothing of host/{name} was looked at");
    }
    for part in [
        "runtime/src/scheduler.rs",
        "cli/src/main.rs",
        "cpu/src/lib.rs",
        "mlx/src/lib.rs",
        "tensor/src/program.rs",
        "text/src/template.rs",
        "image/src/resize.rs",
        "weights/src/hub.rs",
    ] {
        assert!(
            files.contains(&project::root().join("host").join(part)),
            "{part} was not looked at"
        );
    }
    let mut named = Vec::new();
    for path in &files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let source = std::fs::read_to_string(path).unwrap();
        for (line, text) in mentions(&name).into_iter().chain(mentions(&source)) {
            named.push(format!("{}:{line}: {text}", path.display()));
        }
    }
    assert!(named.is_empty(), "the host knows models:\n{}", named.join("\n"));
}

#[test]
fn a_name_would_be_found() {
    let source = "//! A host.\nfn a() {}\n// as Qwen2-VL has it\nlet x = \"SmolVLM\";\nif kind == \"phi3_v\" {}\n\n\
                  #[cfg(test)]\nmod tests {\n    const FOLDER: &str = \"llava\";\n}\n";
    let lines: Vec<usize> = mentions(source).into_iter().map(|(line, _)| line).collect();
    assert_eq!(lines, [3, 4, 5]);
    for innocent in [
        "the phi function",
        "let phi = 0.5 * (1.0 + erf);",
        "philosophy",
        "smallest",
        "a paradigm",
    ] {
        assert!(mentions(innocent).is_empty(), "{innocent}");
    }
    // Attributes in the middle of a file end nothing.
    assert_eq!(mentions("#[cfg(test)]\nuse std::fs;\n// gemma\n").len(), 1);
}
