//! What stands where a file should be: pointers, folders, pipes, and names without end.

use monocle_tensor::stored::StoredType::F32;
use monocle_weights::{NameRules, WeightsError};
use serde_json::json;

use super::folder::Folder;

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\n\
    oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 4418050848\n";

#[test]
fn git_lfs_pointers_are_called_so() {
    let folder = Folder::new("pointers");
    let sound = |folder: &Folder| {
        folder.file("model.safetensors", &[("a.weight", F32, &[2, 2])], 0);
        folder
            .json("config.json", json!({}))
            .json("tokenizer.json", json!({}));
        for name in [
            "model.safetensors.index.json",
            "chat_template.jinja",
            "tokenizer.model",
        ] {
            let _ = std::fs::remove_file(folder.0.join(name));
        }
    };
    for name in [
        "model.safetensors",
        "config.json",
        "tokenizer.json",
        "model.safetensors.index.json",
        "chat_template.jinja",
    ] {
        sound(&folder);
        folder.open().unwrap();
        std::fs::write(folder.0.join(name), POINTER).unwrap();
        assert_eq!(
            folder.refusal(),
            format!(
                "`FOLDER/{name}` is a Git LFS pointer, and not the file itself, which has 4418050848 bytes; run `git lfs pull` in the \
                 model's folder, or download the model again without git"
            )
        );
    }
    // The tokenizer is made of another file only where there is no `tokenizer.json`.
    sound(&folder);
    std::fs::write(folder.0.join("tokenizer.model"), POINTER).unwrap();
    folder.open().unwrap();
    std::fs::remove_file(folder.0.join("tokenizer.json")).unwrap();
    assert!(
        folder
            .refusal()
            .starts_with("`FOLDER/tokenizer.model` is a Git LFS pointer")
    );
    // A pointer without its size.
    sound(&folder);
    std::fs::write(folder.0.join("model.safetensors"), &POINTER[..60]).unwrap();
    assert!(
        folder
            .refusal()
            .contains("is a Git LFS pointer, and not the file itself; run"),
        "{}",
        folder.refusal()
    );
}

#[test]
fn only_files_are_opened() {
    let folder = Folder::new("no-files");
    std::fs::remove_file(folder.0.join("config.json")).unwrap();
    std::fs::create_dir(folder.0.join("config.json")).unwrap();
    assert_eq!(
        folder.refusal(),
        "`FOLDER/config.json` is a folder, and not a file; put the model's own file there"
    );
    let error = monocle_weights::SafetensorsFile::open(&folder.0).unwrap_err();
    assert!(matches!(error, WeightsError::NotAFile { .. }), "{error}");
}

/// Opening a pipe that nobody writes to would wait for ever; a device may never end.
#[cfg(unix)]
#[test]
fn pipes_and_devices_are_not_opened() {
    let folder = Folder::new("pipes");
    let make = |name: &str| {
        let path = folder.0.join(name);
        let _ = std::fs::remove_file(&path);
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
    };
    make("config.json");
    assert_eq!(
        folder.refusal(),
        "`FOLDER/config.json` is a pipe, and not a file; put the model's own file there"
    );
    std::fs::remove_file(folder.0.join("config.json")).unwrap();
    folder.json("config.json", json!({}));
    make("model.safetensors.index.json");
    assert!(folder.refusal().contains("index.json` is a pipe"));
    std::fs::remove_file(folder.0.join("model.safetensors.index.json")).unwrap();
    make("model.safetensors");
    assert!(
        folder.refusal().contains("has no weights"),
        "{}",
        folder.refusal()
    );
    let error = monocle_weights::SafetensorsFile::open(&folder.0.join("model.safetensors")).unwrap_err();
    assert!(matches!(error, WeightsError::NotAFile { .. }), "{error}");
    for (name, target) in [("config.json", "/dev/zero"), ("tokenizer.json", "/dev/zero")] {
        let _ = std::fs::remove_file(folder.0.join(name));
        std::os::unix::fs::symlink(target, folder.0.join(name)).unwrap();
    }
    assert!(folder.refusal().contains("config.json` is a device"));
}

#[test]
fn messages_stay_short_whatever_names_say() {
    let long = "x".repeat(1 << 16);
    let folder = Folder::new("long-names");
    let weight = format!("{long}.weight");
    folder.file(
        "model.safetensors",
        &[(weight.as_str(), F32, &[2]), ("a.weight", F32, &[2, 2])],
        0,
    );
    let checkpoint = folder.open().unwrap();
    let mut messages = vec![
        checkpoint.linear(&format!("y{long}")).unwrap_err().to_string(),
        checkpoint.linear(&long).unwrap_err().to_string(),
        checkpoint.linear("b").unwrap_err().to_string(),
    ];
    let doubling = NameRules::new([("^(.*)$", "$1$1"); 40], []).unwrap();
    messages.push(folder.open_with(&doubling).unwrap_err().to_string());
    let both = NameRules::new([("(.).*", "n")], []).unwrap();
    messages.push(folder.open_with(&both).unwrap_err().to_string());
    let index: serde_json::Map<_, _> = (0..10)
        .map(|at| (format!("{at}{long}"), json!(format!("{at}{long}.safetensors"))))
        .collect();
    folder.index(index.clone().into());
    messages.push(
        folder
            .open()
            .unwrap()
            .linear(&format!("0{long}"))
            .unwrap_err()
            .to_string(),
    );
    std::fs::remove_file(folder.0.join("model.safetensors")).unwrap();
    messages.push(folder.refusal());
    folder.index(json!({ long.as_str(): format!("/{long}") }));
    messages.push(folder.refusal());
    folder.json(
        "config.json",
        json!({ "quantization_config": { "quant_method": long } }),
    );
    messages.push(folder.refusal());
    let header =
        json!({ long.as_str(): { "dtype": long, "shape": vec![1; 100_000], "data_offsets": [0, 4] } })
            .to_string();
    let file = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 4]].concat();
    std::fs::write(folder.0.join("model.safetensors"), file).unwrap();
    let broken = monocle_weights::SafetensorsFile::open(&folder.0.join("model.safetensors"));
    messages.push(broken.unwrap_err().to_string());
    for message in messages {
        assert!(message.len() < 4096, "{}: {}", message.len(), &message[..200]);
    }
}
