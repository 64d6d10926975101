//! docs/plugin-guide.md, followed word for word: its files, built outside the workspace, wrapped, run.

use std::env::consts::DLL_SUFFIX;
use std::path::Path;
use std::process::Command;

use monocle_tests::program::Monocle;
use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use serde_json::Value;

/// The guide's files, in order: `<!-- file: NAME -->`, then a code block. A name may come twice; the later one replaces the first.
fn files(guide: &str) -> Vec<(&str, &str)> {
    let parts = guide.split("<!-- file: ").skip(1);
    parts
        .map(|part| {
            let (name, rest) = part
                .split_once(" -->\n```")
                .expect("a file is followed by its code");
            let (_, code) = rest.split_once('\n').expect("a block has lines");
            let (code, _) = code.split_once("\n```").expect("a block ends");
            (name, code)
        })
        .collect()
}

/// Every passage that the guide takes from a file of the project: `<!-- from: PATH -->`, then a code block.
fn passages(guide: &str) -> Vec<(&str, &str)> {
    let parts = guide.split("<!-- from: ").skip(1);
    parts
        .map(|part| {
            let (path, rest) = part
                .split_once(" -->\n```rust\n")
                .expect("a passage is followed by its code");
            let (code, _) = rest.split_once("\n```").expect("a block ends");
            (path, code)
        })
        .collect()
}

/// Lines of the guide's shell blocks that call the program.
fn commands(guide: &str) -> Vec<Vec<&str>> {
    let blocks = guide.split("```sh\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().unwrap_or_default().lines());
    let lines = lines.filter_map(|line| line.strip_prefix("monocle "));
    lines
        .map(|line| {
            line.split('#')
                .next()
                .unwrap_or_default()
                .split_whitespace()
                .collect()
        })
        .collect()
}

/// Writes a file of the guide, with paths of this machine in place of the guide's.
fn write(folder: &Scratch, name: &str, code: &str) {
    let guest = project::root().join("plugin-api/guest").display().to_string();
    let repository = "repo = \"HuggingFaceTB/SmolVLM-500M-Instruct\"";
    let model = format!("path = {:?}", project::oracle("smolvlm"));
    let code = code
        .replace("../monocle/plugin-api/guest", &guest)
        .replace(repository, &model);
    folder.write(name, code);
}

fn build(folder: &Path) {
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "build",
            "--quiet",
            "--offline",
            "--release",
            "--target",
            "wasm32-unknown-unknown",
        ])
        .env("CARGO_TARGET_DIR", project::target().join("guide"))
        .current_dir(folder)
        .status()
        .expect("cargo can be started");
    assert!(status.success(), "the guide's crate does not build");
}

fn wrap(folder: &Scratch) {
    let module = project::target().join("guide/wasm32-unknown-unknown/release/quick.wasm");
    Monocle::new(["plugins", "wrap"])
        .args([module])
        .args(["-o".as_ref(), folder.file("plugins").as_os_str()])
        .succeeds();
}

fn ask(folder: &Scratch, manifest: &str) -> Value {
    let picture = project::oracle("smolvlm").join("image.png");
    Monocle::new(["run"])
        .args([folder.file(manifest), picture])
        .args(["-p", "What is this?", "--max-tokens", "8", "--json"])
        .env("MONOCLE_PLUGINS", folder.file("plugins"))
        .json()
}

#[test]
fn the_guide_works_as_written() {
    let guide =
        std::fs::read_to_string(project::root().join("docs/plugin-guide.md")).expect("the guide is there");
    let files = files(&guide);
    let second = files
        .iter()
        .position(|(name, _)| *name == "src/network.rs")
        .expect("the guide goes on to a model");
    let third = files
        .iter()
        .position(|(name, _)| *name == "src/tower.rs")
        .expect("the guide goes on to a model from nothing");
    let folder = Scratch::new("guide");
    // The versions of everything else are the project's, and nothing is fetched.
    folder.write(
        "Cargo.lock",
        std::fs::read(project::root().join("Cargo.lock")).expect("the project has a lock file"),
    );
    std::fs::create_dir(folder.file("plugins")).expect("the folder can be made");

    files[..second]
        .iter()
        .for_each(|(name, code)| write(&folder, name, code));
    build(folder.path());
    wrap(&folder);
    let adapter = ask(&folder, "quick.toml");
    let plugins = adapter["host"]["plugins"].as_array().expect("plugins are listed");
    let kinds: Vec<_> = plugins
        .iter()
        .map(|plugin| (&plugin["name"], &plugin["kind"]))
        .collect();
    assert_eq!(
        kinds,
        [
            (&"quick".into(), &"adapter".into()),
            (&"smolvlm".into(), &"model".into())
        ]
    );
    // One tile of 56 x 56: (56 / 14)^2 patches, 2 x 2 of them in a token.
    let image = &adapter["images"][0];
    assert_eq!((&image["tiles"], &image["tokens"]), (&1.into(), &4.into()));
    assert_eq!(image["used"], serde_json::json!({ "width": 56, "height": 56 }));

    for arguments in commands(&guide) {
        let picture = project::oracle("smolvlm").join("image.png").display().to_string();
        let module = project::target().join("guide/wasm32-unknown-unknown/release/quick.wasm");
        let arguments = arguments
            .iter()
            .enumerate()
            .map(|(at, argument)| match *argument {
                "photo.jpg" => picture.clone(),
                "target/wasm32-unknown-unknown/release/quick.wasm" => module.display().to_string(),
                "plugins/quick.so" => format!("plugins/quick{DLL_SUFFIX}"),
                "plugins" | "quick.toml" if at > 0 => folder.file(argument).display().to_string(),
                other => other.to_owned(),
            });
        Monocle::new(arguments)
            .within(folder.path())
            .with_compilers()
            .env("CARGO_TARGET_DIR", project::target().join("guide"))
            .env("HOME", folder.path())
            .env("MONOCLE_PLUGINS", folder.file("plugins"))
            .succeeds();
    }
    assert!(folder.file(&format!("plugins/quick{DLL_SUFFIX}")).is_file());

    files[second..third]
        .iter()
        .for_each(|(name, code)| write(&folder, name, code));
    build(folder.path());
    wrap(&folder);
    let model = ask(&folder, "own.toml");
    assert_eq!(model["host"]["plugins"][0]["kind"], "model");
    // The same architecture as the project's own plugin, which is compared with the reference elsewhere.
    assert_eq!(model["token_ids"], adapter["token_ids"]);
    assert_eq!(model["prompt"], adapter["prompt"]);

    files[third..]
        .iter()
        .for_each(|(name, code)| write(&folder, name, code));
    build(folder.path());
    wrap(&folder);
    let from_nothing = ask(&folder, "own.toml");
    assert_eq!(
        from_nothing["host"]["plugins"].as_array().expect("a list").len(),
        1
    );
    assert_eq!(from_nothing["token_ids"], adapter["token_ids"]);
}

#[test]
fn passages_are_those_of_the_sources() {
    let guide =
        std::fs::read_to_string(project::root().join("docs/plugin-guide.md")).expect("the guide is there");
    let passages = passages(&guide);
    assert!(passages.len() >= 5);
    for (path, code) in passages {
        let source = std::fs::read_to_string(project::root().join(path))
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(
            source.contains(code),
            "{path} does not have what the guide shows of it:\n{code}"
        );
    }
}
