//! Plugins need no Rust: `tests/c/plain.c`, built against what wit-bindgen's generator for C makes of the contract, does what the
//! adapter in Rust (`tests/plugins/plain-adapter`) does.
//!
//! It needs clang. Where there is none, nothing is compared, and a line says so; with `MONOCLE_TEST_C` set, that is a failure.

use std::path::{Path, PathBuf};
use std::process::Command;

use monocle_runtime::request::Request;
use monocle_runtime::request::pictures::PictureInput;
use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use wit_bindgen_core::{Files, wit_parser::Resolve};

/// Header, source and an object with the world's type, into this folder.
fn generate(folder: &Scratch) {
    let mut resolve = Resolve::default();
    let contract = project::root().join("plugin-api/wit/v0.2");
    let (package, _) = resolve.push_dir(contract).expect("the contract is sound");
    let world = resolve
        .select_world(&[package], Some("adapter"))
        .expect("it has the world");
    let mut files = Files::default();
    let mut generator = wit_bindgen_c::Opts::default().build();
    generator
        .generate(&mut resolve, world, &mut files)
        .expect("bindings can be made");
    for (name, content) in files.iter() {
        folder.write(name, content);
    }
}

fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The linker that comes with Rust.
fn linker() -> PathBuf {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir"])
        .output()
        .expect("rustc runs");
    let libraries = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    libraries.with_file_name("bin").join("rust-lld")
}

/// The component, in this folder.
fn build(folder: &Scratch) {
    generate(folder);
    let sources = project::root().join("tests/c");
    let library = project::root().join("plugin-api/templates/c/libc");
    let object = |source: &Path, name: &str| {
        let object = folder.file(name);
        run(Command::new("clang")
            .current_dir(&sources)
            .args([
                "--target=wasm32",
                "-O2",
                "-nostdlibinc",
                "-fno-builtin",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-Wno-unused-parameter",
                "-c",
            ])
            .arg("-isystem")
            .arg(&library)
            .arg("-I")
            .arg(folder.path())
            .arg(source)
            .arg("-o")
            .arg(&object));
        object
    };
    let module = folder.file("module.wasm");
    run(Command::new(linker())
        .args(["-flavor", "wasm", "--no-entry", "--export-dynamic"])
        .arg(object(&sources.join("plain.c"), "processor.o"))
        .arg(object(&library.join("libc.c"), "libc.o"))
        .arg(object(&folder.file("adapter.c"), "bindings.o"))
        .arg(folder.file("adapter_component_type.o"))
        .arg("-o")
        .arg(&module));
    let module = std::fs::read(module).expect("the module is there");
    let component = monocle_component::wrap(&module).unwrap_or_else(|error| panic!("{error}"));
    folder.write("adapter-in-c.wasm", component);
}

#[test]
fn an_adapter_in_c_does_what_the_one_in_rust_does() {
    if Command::new("clang").arg("--version").output().is_err() {
        assert!(
            std::env::var_os("MONOCLE_TEST_C").is_none(),
            "clang is missing: apt-get install clang"
        );
        eprintln!("clang is missing, so the adapter in C was not built");
        return;
    }
    let folder = Scratch::new("adapter-in-c");
    build(&folder);
    let source = project::oracle("smolvlm");
    let manifest = |adapter: &str| {
        format!(
            "schema = 1\nname = \"adapted\"\nsource = {{ path = {source:?} }}\nplugin = \"smolvlm\"\nadapter = {{ name = {adapter} }}"
        )
    };
    let in_c = manifest("\"adapter-in-c\"");
    let mut in_c = project::open_manifest_beside(folder.path(), &in_c);
    let mut in_rust = project::open_manifest(&manifest("\"plain-adapter\", options = { tokens = 4 }"));
    for pictures in [&[][..], &["image.png"], &["image2.png", "image.png"]] {
        let pictures = pictures
            .iter()
            .map(|name| PictureInput::File(source.join(name)))
            .collect();
        let request = Request::single(None, pictures, "What is this? \u{e9}");
        let (found, expected) = (
            in_c.trace(&request, 7, 8).unwrap(),
            in_rust.trace(&request, 7, 8).unwrap(),
        );
        assert_eq!(found.prompt, expected.prompt);
        assert_eq!(found.prompt_ids, expected.prompt_ids);
        assert_eq!(found.pixels, expected.pixels);
        assert_eq!(found.tokens, expected.tokens);
        assert_eq!(found.step_logits, expected.step_logits);
    }
}

/// What the adapter in C does not do is refused in its words.
#[test]
fn its_errors_are_words() {
    if Command::new("clang").arg("--version").output().is_err() {
        return;
    }
    let folder = Scratch::new("adapter-in-c-errors");
    build(&folder);
    let source = project::oracle("nanollava");
    let manifest = format!(
        "schema = 1\nname = \"adapted\"\nsource = {{ path = {source:?} }}\nplugin = \"nanollava\"\nadapter = {{ name = \"adapter-in-c\", options = {{ side = 3 }} }}"
    );
    let mut model = project::open_manifest_beside(folder.path(), &manifest);
    let error = model
        .trace(&Request::single(None, vec![], "What?"), 7, 1)
        .unwrap_err()
        .to_string();
    assert!(error.contains("this adapter takes no options"), "{error}");
}
