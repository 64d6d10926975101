//! What authors of plugins do: `plugins new`, `build`, `test`, `inspect`, `stamp`, and what each mistake looks like.

use std::path::{Path, PathBuf};
use std::process::Command;

use monocle_tests::program::{Monocle, Outcome};
use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use serde_json::Value;

/// A new plugin's folder.
fn new(folder: &Scratch, name: &str, arguments: &[&str]) -> PathBuf {
    Monocle::new(["plugins", "new", name])
        .args(arguments)
        .within(folder.path())
        .succeeds();
    let made = folder.file(name);
    if made.join("Cargo.toml").is_file() {
        // The versions of everything else are the project's, and nothing is fetched.
        std::fs::copy(project::root().join("Cargo.lock"), made.join("Cargo.lock"))
            .expect("the project has a lock file");
    }
    made
}

fn monocle(arguments: &[&str], folder: &Path) -> Monocle {
    let tools = project::target().join("tools");
    Monocle::new(arguments)
        .within(folder)
        .with_compilers()
        .env("CARGO_TARGET_DIR", project::target().join("guide"))
        .env("MONOCLE_JS_TOOLS", tools.join("js"))
        .env("MONOCLE_PYTHON_TOOLS", tools.join("componentize"))
}

fn build(folder: &Path) -> Outcome {
    monocle(&["plugins", "build"], folder).succeeds()
}

/// The verdict of each check, by its name.
fn verdicts(tested: &Value) -> Vec<(String, String)> {
    let checks = tested["checks"].as_array().expect("checks are listed");
    checks
        .iter()
        .map(|check| {
            let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
            (text("name"), text("verdict"))
        })
        .collect()
}

/// What the test says must be like this: every check but those named passed, and those were skipped.
fn passes_all_but(folder: &Path, skipped: &[&str]) -> Value {
    let tested = monocle(&["plugins", "test", "--json"], folder).json();
    for (name, verdict) in verdicts(&tested) {
        let expected = match skipped.contains(&name.as_str()) {
            true => "skipped",
            false => "passed",
        };
        assert_eq!(verdict, expected, "{name}: {tested:#}");
    }
    tested
}

/// Changes a file, builds, and lets the test say what is wrong; then takes the change back.
fn broken(folder: &Path, file: &str, from: &str, to: &str, check: &str, words: &[&str]) {
    let path = folder.join(file);
    let text = std::fs::read_to_string(&path).expect("the file is there");
    assert!(text.contains(from), "{file} has no `{from}`");
    std::fs::write(&path, text.replacen(from, to, 1)).expect("the file can be written");
    build(folder);
    let outcome = monocle(&["plugins", "test"], folder).run();
    assert_eq!(outcome.code, 1, "{outcome:?}");
    let failed = outcome.stdout.lines().find(|line| line.starts_with("FAILED"));
    let failed = failed.unwrap_or_else(|| panic!("nothing failed: {outcome:?}"));
    assert!(failed.contains(check), "{check}: {}", outcome.stdout);
    for part in words {
        assert!(
            outcome.stdout.contains(part),
            "`{part}` is not in:\n{}",
            outcome.stdout
        );
    }
    std::fs::write(&path, text).expect("the file can be written");
}

#[test]
fn an_adapter_in_rust_builds_and_passes_at_once() {
    let scratch = Scratch::new("authors-adapter");
    let folder = new(&scratch, "one-square", &[]);
    let built = build(&folder);
    assert!(
        built
            .stdout
            .contains("plugins/one-square.wasm (one-square 0.1.0, adapter, contract 0.2.0"),
        "{built:?}"
    );
    let tested = passes_all_but(&folder, &["prompts", "output", "reference"]);
    assert_eq!(tested["plugins"][0], "one-square 0.1.0 (adapter)");

    // Accepted prompts hold, until they change.
    monocle(&["plugins", "test", "--accept"], &folder).succeeds();
    passes_all_but(&folder, &["output", "reference"]);
    let accepted = folder.join("goldens/prompts.json");
    let text = std::fs::read_to_string(&accepted).expect("prompts were written");
    assert!(text.contains("What is this?"), "{text}");
    std::fs::write(&accepted, text.replacen("What is this?", "What was this?", 1))
        .expect("it can be changed");
    let outcome = monocle(&["plugins", "test"], &folder).run();
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert!(
        outcome.stdout.contains("accepted was") && outcome.stdout.contains("FAILED  prompts"),
        "{outcome:?}"
    );
    std::fs::write(&accepted, text).expect("it can be written");

    // Each mistake is found by the check that is for it, in words that say what is wrong.
    let source = "src/processor.rs";
    broken(
        &folder,
        source,
        "self.squash.plan(self.features); pictures",
        "self.squash.plan(self.features + 1); pictures",
        "sizes",
        &["expected float[17, hidden] as planned"],
    );
    broken(
        &folder,
        source,
        "Ok(self.squash.pixels(image))",
        "Ok([self.squash.pixels(image), self.squash.pixels(image)].into_iter().flatten().collect())",
        "pixels",
        &["1x1", "and the plan said [[1, 96, 96, 3]]"],
    );
    broken(
        &folder,
        source,
        "fn picture(&self, _size: Size) -> Result<()> {",
        "fn picture(&self, size: Size) -> Result<()> {\n        assert!(size.width < 8000, \"far too wide\");",
        "sizes",
        &["8000x1", "far too wide", "processor.rs"],
    );
    broken(
        &folder,
        source,
        "fn picture(&self, _size: Size) -> Result<()> {",
        "fn picture(&self, _size: Size) -> Result<()> {\n        return Err(Error::new(\"no pictures today\"));\n        #[allow(unreachable_code)]",
        "sizes",
        &["every size is refused", "no pictures today"],
    );
    broken(
        &folder,
        source,
        "Prompt::of(\"<image>\").render(request)?",
        "static ASKED: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);\n        let asked = ASKED.fetch_add(1, std::sync::atomic::Ordering::Relaxed);\n        let mut request = request.clone();\n        request.messages.push(Message { role: \"user\".into(), content: monocle_plugin::Content::Text(asked.to_string()), reasoning: None, tool_calls: vec![], tool_call: None, name: None });\n        let request = &request;\n        Prompt::of(\"<image>\").render(request)?",
        "repeats",
        &["an instance that planned before plans otherwise: another text"],
    );
}

#[test]
fn a_model_in_rust_builds_and_passes_at_once() {
    let scratch = Scratch::new("authors-model");
    let folder = new(&scratch, "own-model", &["--model"]);
    let built = build(&folder);
    assert!(built.stdout.contains("own-model 0.1.0, model"), "{built:?}");
    passes_all_but(&folder, &["prompts", "output", "reference"]);

    // A trace of its own is a reference like any other.
    let golden = folder.join("goldens/shapes.safetensors");
    monocle(
        &[
            "trace",
            "own-model.toml",
            "picture.png",
            "-p",
            "What is this?",
            "--max-tokens",
            "4",
            "-o",
        ],
        &folder,
    )
    .args([&golden])
    .env("MONOCLE_PLUGINS", folder.join("plugins"))
    .succeeds();
    let tested = passes_all_but(&folder, &["prompts", "output"]);
    assert!(tested.to_string().contains("shapes.safetensors"), "{tested:#}");
    // A row must not depend on how many there are.
    broken(
        &folder,
        "src/network.rs",
        "fn decoder(&self) -> Option<&Decoder> {",
        "fn forward(&self, batch: &Batch) -> Result<Tensor> {\n        let x = batch.splice_features(&self.language.embed(batch), 0);\n        let rows = x.dimension(0) as f32;\n        let x = x * (1.0 + 0.01 * rows);\n        Ok(self.language.logits(&self.language.forward(x, &self.step(batch)), batch))\n    }\n\n    fn decoder(&self) -> Option<&Decoder> {",
        "chunks",
        &["in steps of 7 tokens logits are off by", "DIFFERS"],
    );
}

#[test]
fn an_adapter_in_c_builds_and_passes_at_once() {
    if Command::new("clang").arg("--version").output().is_err() {
        eprintln!("clang is missing, so the template in C was not built");
        return;
    }
    let scratch = Scratch::new("authors-c");
    let folder = new(&scratch, "in-c", &["--lang", "c"]);
    build(&folder);
    passes_all_but(&folder, &["prompts", "output", "reference"]);
    broken(
        &folder,
        "plugin.c",
        "FEATURES = 16",
        "FEATURES = 15",
        "sizes",
        &["expected float[15, hidden] as planned"],
    );
}

#[test]
fn an_adapter_in_javascript_builds_and_passes_at_once() {
    if !project::target()
        .join("tools/js/node_modules/.bin/componentize-js")
        .is_file()
    {
        eprintln!(
            "componentize-js is missing, so the template in JavaScript was not built: `cargo xtask tools`"
        );
        return;
    }
    let scratch = Scratch::new("authors-js");
    let folder = new(&scratch, "in-js", &["--lang", "js"]);
    // It is compiled once, which takes so long that a word is said.
    let cache = scratch.file("cache");
    let built = monocle(&["plugins", "build"], &folder)
        .env("MONOCLE_CACHE", &cache)
        .succeeds();
    assert!(
        built
            .stderr
            .contains("note: compiling the plugin `in-js` (12 MB), once"),
        "{built:?}"
    );
    let tested = monocle(&["plugins", "test", "--plans-only"], &folder)
        .env("MONOCLE_CACHE", &cache)
        .succeeds();
    assert!(!tested.stderr.contains("compiling"), "{tested:?}");
    passes_all_but(&folder, &["prompts", "output", "reference"]);
    // An exception has words, and says where.
    broken(
        &folder,
        "plugin.js",
        "const config = JSON.parse(files.config);",
        "const config = undefined.x;",
        "sizes",
        &["undefined", "configure", "plugin.js"],
    );
}

#[test]
fn an_adapter_in_python_builds_and_passes_at_once() {
    if !project::target()
        .join("tools/componentize/bin/componentize-py")
        .is_file()
    {
        eprintln!("componentize-py is missing, so the template in Python was not built: `cargo xtask tools`");
        return;
    }
    let scratch = Scratch::new("authors-python");
    let folder = new(&scratch, "in-python", &["--lang", "python"]);
    build(&folder);
    passes_all_but(&folder, &["prompts", "output", "reference"]);
    broken(
        &folder,
        "plugin.py",
        "rules[\"max_image_size\"]",
        "rules[\"max_size\"]",
        "sizes",
        &["max_size", "plugin.py", "configure"],
    );
}

/// What authors are told to do holds for what Monocle comes with: every plugin, on the checkpoints of its families.
#[test]
fn the_projects_own_plugins_pass() {
    let mut failed = Vec::new();
    for checkpoint in project::checkpoints() {
        let outcome = Monocle::new(["plugins", "test"])
            .args([project::oracle(&checkpoint)])
            .run();
        if outcome.code != 0 {
            failed.push(format!("{checkpoint}: {}\n{}", outcome.stderr, outcome.stdout));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn what_cannot_be_made_is_refused_in_words() {
    let scratch = Scratch::new("authors-refused");
    let refused = |arguments: &[&str], code: i32, words: &[&str]| {
        Monocle::new(["plugins"])
            .args(arguments)
            .within(scratch.path())
            .fails(code, words);
    };
    refused(&["new", "../x"], 2, &["a letter first", "../x"]);
    refused(&["new", "Upper"], 2, &["lower-case letters"]);
    refused(&["new", "x", "--model", "--lang", "c"], 2, &["in Rust only"]);
    scratch.write("there/file", "kept");
    refused(&["new", "there"], 1, &["cannot make the folder `there`"]);
    assert!(scratch.file("there/file").is_file());
    refused(
        &["build"],
        1,
        &[
            "neither `Cargo.toml` nor `plugin.json`",
            "monocle plugins new NAME",
        ],
    );
    new(&scratch, "unbuilt", &["--lang", "c"]);
    refused(
        &["test", "unbuilt"],
        1,
        &["unbuilt.wasm` is not there", "monocle plugins build"],
    );
    scratch.write("unbuilt/plugin.json", "{\"name\": \"unbuilt\"}");
    refused(
        &["build", "unbuilt"],
        1,
        &["plugin.json` is malformed", "version"],
    );
    let adapter = project::test_plugins()
        .join("plain-adapter.wasm")
        .display()
        .to_string();
    refused(
        &["stamp", "there/file", "--name", "x", "--version", "1.0.0"],
        1,
        &["is not a WebAssembly component"],
    );
    refused(
        &["stamp", &adapter, "--name", "x", "--version", "1"],
        1,
        &["expected a semantic version"],
    );
    refused(&["inspect", "nobody"], 1, &["no plugin `nobody`"]);
}

#[test]
fn components_are_stamped_and_inspected() {
    let scratch = Scratch::new("authors-stamp");
    let adapter = project::test_plugins().join("plain-adapter.wasm");
    Monocle::new(["plugins", "stamp"])
        .args([&adapter])
        .args([
            "--name",
            "renamed",
            "--version",
            "2.0.1",
            "--model-type",
            "thing",
            "--filters-output",
        ])
        .within(scratch.path())
        .succeeds();
    let shown = Monocle::new(["plugins", "inspect", "renamed.wasm", "--json"])
        .within(scratch.path())
        .json();
    let stamp = &shown["stamp"];
    assert_eq!(
        (&stamp["name"], &stamp["version"], &stamp["kind"]),
        (&"renamed".into(), &"2.0.1".into(), &"adapter".into())
    );
    assert_eq!(
        (&stamp["model-types"][0], &stamp["filters-output"]),
        (&"thing".into(), &true.into())
    );
    assert_eq!(shown["problem"], Value::Null);
    let imports = shown["imports"].as_array().expect("imports are listed");
    assert!(
        imports.contains(&"monocle:plugin/tokenizers@0.2.0".into()),
        "{shown:#}"
    );
    assert!(
        shown["exports"]
            .as_array()
            .expect("exports are listed")
            .contains(&"monocle:plugin/processor@0.2.0".into())
    );
    let bytes = std::fs::read(scratch.file("renamed.wasm")).expect("it was written");
    assert_eq!(shown["bytes"], bytes.len());
    let text = Monocle::new(["plugins", "inspect", "renamed.wasm"])
        .within(scratch.path())
        .succeeds();
    assert!(
        text.stdout.contains("usable  yes") && text.stdout.contains("asks for  monocle:plugin/images@0.2.0"),
        "{text:?}"
    );
    // A component from nowhere is looked at, too.
    scratch.write("other.wasm", "\0asm\u{d}\0\u{1}\0");
    let other = Monocle::new(["plugins", "inspect", "other.wasm", "--json"])
        .within(scratch.path())
        .json();
    assert!(
        other["problem"]
            .as_str()
            .is_some_and(|words| words.contains("monocle:plugin")),
        "{other:#}"
    );
}
