//! `sbom.cdx.json` of an archive: what it is made of, for programs that look for known faults. CycloneDX 1.5,
//! https://cyclonedx.org/docs/1.5/json/.

use serde_json::{Value, json};

use super::archive::{Tree, sha256};
use super::dependencies::Crate;
use super::others::Other;

/// The description, with the plugins, the model and the libraries as they lie in the archive.
pub fn describe(version: &str, triple: &str, crates: &[Crate], others: &[Other], tree: &Tree) -> Value {
    let program = format!("pkg:generic/monocle@{version}?target={triple}");
    let mut components: Vec<Value> = crates
        .iter()
        .filter(|one| !is_program(one))
        .map(library)
        .collect();
    components.extend(others.iter().map(of_others));
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
    let inside = |holder: Option<&str>| -> Vec<Value> {
        let inside = others.iter().filter(|one| one.inside.as_deref() == holder);
        inside.map(|one| Value::from(one.reference())).collect()
    };
    needs_of_program.extend(inside(None));
    needs_of_program.extend(parts);
    dependencies.extend(others.iter().map(|one| {
        let reference = one.reference();
        let parts = inside(Some(&reference));
        json!({"ref": reference, "dependsOn": parts})
    }));
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

/// What is no crate.
fn of_others(other: &Other) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": other.reference(),
        "name": other.name,
        "licenses": [{"expression": other.licence}],
        "purl": other.reference(),
    });
    if let Some(version) = &other.version {
        component["version"] = json!(version);
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use super::*;

    fn named(name: &str, checksum: Option<&str>, needs: &[&str]) -> Crate {
        Crate {
            id: name.to_owned(),
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            licence: "MIT OR Apache-2.0".to_owned(),
            folder: PathBuf::new(),
            checksum: checksum.map(str::to_owned),
            needs: needs.iter().map(|&need| need.to_owned()).collect(),
        }
    }

    fn other(package: &str, inside: Option<&str>) -> Other {
        Other {
            name: package.to_owned(),
            version: Some("3".to_owned()),
            licence: "Zlib",
            package: format!("generic/{package}"),
            inside: inside.map(str::to_owned),
            files: Vec::new(),
        }
    }

    #[test]
    fn all_that_is_in_an_archive_is_named_with_its_hash() {
        let crates = [
            named("a", Some("00ff"), &[]),
            named("b", None, &["a"]),
            named("monocle", None, &["b"]),
        ];
        let others = [other("mlx", None), other("json", Some("pkg:generic/mlx@3"))];
        let mut tree = Tree::default();
        let files = [
            "lib/libmlx.dylib",
            "lib/mlx.metallib",
            "share/p.wasm",
            "share/m.safetensors",
        ];
        for path in files {
            tree.add(path, *b"abc");
        }
        tree.add("README.md", *b"abc");
        let said = describe("9.8.7", "some-triple", &crates, &others, &tree);

        let program = "pkg:generic/monocle@9.8.7?target=some-triple";
        assert_eq!(said["metadata"]["component"]["bom-ref"], program);
        let components = said["components"].as_array().unwrap();
        let find = |reference: &str| {
            let mut found = components.iter().filter(|one| one["bom-ref"] == reference);
            let one = found.next().unwrap_or_else(|| panic!("`{reference}` is missing"));
            assert!(found.next().is_none(), "`{reference}` is there twice");
            one
        };
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for path in files {
            let hashes = json!([{"alg": "SHA-256", "content": abc}]);
            assert_eq!(find(path)["hashes"], hashes, "{path}");
        }
        assert_eq!(find("pkg:cargo/a@1.0.0")["hashes"][0]["content"], "00ff");
        assert_eq!(
            find("pkg:generic/json@3")["licenses"],
            json!([{"expression": "Zlib"}])
        );
        assert_eq!(components.len(), 2 + 2 + files.len());

        // Who needs whom, as the format has it: each is named once, and nothing that is not there.
        let mut known: BTreeSet<&str> = components
            .iter()
            .map(|one| one["bom-ref"].as_str().unwrap())
            .collect();
        known.insert(program);
        let list = said["dependencies"].as_array().unwrap();
        let needs = |reference: &str| {
            let found: Vec<&Value> = list.iter().filter(|one| one["ref"] == reference).collect();
            assert_eq!(found.len(), 1, "{reference}");
            let needs = found[0]["dependsOn"].as_array().unwrap().iter();
            needs
                .map(|need| need.as_str().unwrap())
                .collect::<BTreeSet<&str>>()
        };
        for one in list {
            let reference = one["ref"].as_str().unwrap();
            assert!(known.contains(reference), "{reference}");
            assert!(needs(reference).is_subset(&known), "{reference}");
        }
        let wanted = [&["pkg:generic/b@1.0.0", "pkg:generic/mlx@3"][..], &files].concat();
        assert_eq!(needs(program), BTreeSet::from_iter(wanted));
        assert_eq!(
            needs("pkg:generic/b@1.0.0"),
            BTreeSet::from(["pkg:cargo/a@1.0.0"])
        );
        assert_eq!(needs("pkg:generic/mlx@3"), BTreeSet::from(["pkg:generic/json@3"]));
    }
}
