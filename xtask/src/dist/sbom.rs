//! `sbom.cdx.json` of an archive: what it is made of, for programs that look for known faults. CycloneDX 1.5,
//! https://cyclonedx.org/docs/1.5/json/.

use serde_json::{Value, json};

use super::archive::{Tree, sha256};
use super::dependencies::Crate;

/// The description, with the plugins and the model as they lie in the archive.
pub fn describe(version: &str, triple: &str, crates: &[Crate], tree: &Tree) -> Value {
    let program = format!("pkg:generic/monocle@{version}?target={triple}");
    let mut components: Vec<Value> = crates
        .iter()
        .filter(|one| !is_program(one))
        .map(library)
        .collect();
    components.extend(tree.files().filter_map(|(path, file)| part(path, &file.bytes)));
    let parts = components.iter().filter(|part| part["type"] != "library");
    let parts: Vec<Value> = parts.map(|part| part["bom-ref"].clone()).collect();
    let mut dependencies: Vec<Value> = crates
        .iter()
        .filter(|one| !is_program(one))
        .map(|one| json!({"ref": reference(one), "dependsOn": needs(one, crates)}))
        .collect();
    let own = crates.iter().find(|one| is_program(one));
    let mut needs_of_program: Vec<Value> = own
        .map_or(Vec::new(), |one| needs(one, crates))
        .into_iter()
        .map(Value::from)
        .collect();
    needs_of_program.extend(parts);
    dependencies.insert(0, json!({"ref": program, "dependsOn": needs_of_program}));
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": program,
                "name": "monocle",
                "version": version,
                "description": "Runs vision-language models",
                "licenses": [{"license": {"id": "MIT"}}],
                "purl": program,
            },
        },
        "components": components,
        "dependencies": dependencies,
    })
}

fn is_program(one: &Crate) -> bool {
    one.is_own() && one.name == "monocle"
}

fn reference(one: &Crate) -> String {
    match one.is_own() {
        // Not in a registry.
        true => format!("pkg:generic/{}@{}", one.name, one.version),
        false => format!("pkg:cargo/{}@{}", one.name, one.version),
    }
}

fn library(one: &Crate) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": reference(one),
        "name": one.name,
        "version": one.version,
        "licenses": [{"expression": one.licence}],
        "purl": reference(one),
    });
    if let Some(sum) = &one.checksum {
        component["hashes"] = json!([{"alg": "SHA-256", "content": sum}]);
    }
    component
}

fn needs(one: &Crate, crates: &[Crate]) -> Vec<String> {
    let mut needs: Vec<String> = crates
        .iter()
        .filter(|other| one.needs.contains(&other.id))
        .map(reference)
        .collect();
    needs.dedup();
    needs
}

/// A plugin, a model's weights, or a library of others, as a component with its hash.
fn part(path: &str, bytes: &[u8]) -> Option<Value> {
    let kind = match path.rsplit_once('.')?.1 {
        "wasm" | "dylib" | "metallib" => "file",
        "safetensors" => "machine-learning-model",
        _ => return None,
    };
    Some(json!({
        "type": kind,
        "bom-ref": path,
        "name": path,
        "hashes": [{"alg": "SHA-256", "content": sha256(bytes)}],
    }))
}
