//! A prompt format is data: one built program, two manifests that differ in the template only.

use std::path::Path;
use std::process::Command;

use monocle_tests::project;
use serde_json::Value;

/// What the program says of a request to the model of a manifest.
fn run(manifest: &Path) -> Value {
    let program = project::target().join("release/monocle");
    assert!(
        program.exists(),
        "{} is missing: run `cargo xtask build` first",
        program.display()
    );
    let output = Command::new(program)
        .arg("run")
        .arg(manifest)
        .arg(project::oracle("smolvlm/image.png"))
        .args([
            "-p",
            "Describe it",
            "--max-tokens",
            "8",
            "--temperature",
            "0",
            "--json",
        ])
        .env("MONOCLE_PLUGINS", project::plugins())
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn two_templates_give_two_prompts_and_two_outputs() {
    let folder = project::target()
        .join("test-files")
        .join(format!("templates-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    // The second is a file of its own, beside the manifest.
    let each = "{% for part in messages[0].content %}{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}{% endfor %}";
    std::fs::write(folder.join("second.jinja"), format!("User said [{each}] so:")).unwrap();
    let templates = [
        format!("{:?}", format!("Q. {each} A.")),
        "\"second.jinja\"".to_owned(),
    ];
    let [first, second] = templates.map(|template| {
        let source = project::oracle("smolvlm");
        let text = format!(
            "schema = 1\nname = \"templates\"\nplugin = \"smolvlm\"\nsource = {{ path = {source:?} }}\n[prompt]\ntemplate = {template}\n"
        );
        let path = folder.join("model.toml");
        std::fs::write(&path, text).unwrap();
        run(&path)
    });
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(first["prompt"]["text"], "Q. <image>Describe it A.");
    assert_eq!(second["prompt"]["text"], "User said [<image>Describe it] so:");
    assert_eq!(first["host"]["plugins"], second["host"]["plugins"]);
    let text = |report: &Value| report["output"]["text"].as_str().unwrap().to_owned();
    assert_ne!(text(&first), text(&second));
    assert_eq!(first["images"][0]["tokens"], second["images"][0]["tokens"]);
}
