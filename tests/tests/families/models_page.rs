//! `docs/models.md` knows every manifest, every plugin and every checkpoint that is compared.

use monocle_tests::models_page::{COMMAND, manifests, plugins};
use monocle_tests::project;

#[test]
fn nothing_is_missing_from_the_page() {
    let page = std::fs::read_to_string(project::root().join("docs/models.md")).unwrap_or_default();
    let missing = |what: &str, row: String| {
        assert!(
            page.contains(&row),
            "{what} is missing from docs/models.md: write it anew with `{COMMAND}`"
        );
    };
    for manifest in manifests() {
        missing(
            &manifest.name,
            format!("| `{}` | `{}` |", manifest.name, manifest.plugin.name),
        );
    }
    for plugin in plugins() {
        missing(&plugin, format!("| `{plugin}` | "));
    }
    for entry in std::fs::read_dir(project::root().join("tests/oracle")).expect("there are goldens") {
        let path = entry.expect("the folder can be read").path();
        if path.join("golden.safetensors").is_file() {
            let name = path
                .file_name()
                .expect("it has a name")
                .to_string_lossy()
                .into_owned();
            missing(&name, format!("| {name} | "));
        }
    }
}
