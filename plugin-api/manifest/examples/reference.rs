//! Refreshes the files that are made from the manifest's types: the reference page and the JSON Schema.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let schema = format!("{:#}\n", monocle_manifest::json_schema());
    std::fs::write(
        project.join("docs/manifest.md"),
        monocle_manifest::reference_page(),
    )?;
    std::fs::write(project.join("manifests/manifest.schema.json"), schema)
}
