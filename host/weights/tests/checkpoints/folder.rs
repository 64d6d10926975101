//! A model folder for a test.

use std::path::PathBuf;

use monocle_tensor::stored::StoredType;
use monocle_weights::{Checkpoint, ModelFolder, NameRules, WeightsError};
use serde_json::{Value, json};

/// A model folder that goes away with the test.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("monocle-checkpoints-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("config.json"), "{}").unwrap();
        Self(path)
    }

    /// Writes a safetensors file; each tensor is filled with `fill`.
    pub fn file(&self, name: &str, tensors: &[(&str, StoredType, &[usize])], fill: u8) -> &Self {
        let mut header = json!({});
        let mut at = 0;
        for (name, kind, shape) in tensors {
            let end = at + shape.iter().product::<usize>() * kind.size();
            header[*name] = json!({ "dtype": kind.name(), "shape": shape, "data_offsets": [at, end] });
            at = end;
        }
        let header = header.to_string();
        let file = [
            &(header.len() as u64).to_le_bytes(),
            header.as_bytes(),
            &vec![fill; at],
        ]
        .concat();
        std::fs::write(self.0.join(name), file).unwrap();
        self
    }

    pub fn json(&self, name: &str, value: Value) -> &Self {
        std::fs::write(self.0.join(name), value.to_string()).unwrap();
        self
    }

    pub fn index(&self, map: Value) -> &Self {
        self.json("model.safetensors.index.json", json!({ "weight_map": map }))
    }

    pub fn open(&self) -> Result<Checkpoint, WeightsError> {
        self.open_with(&NameRules::default())
    }

    pub fn open_with(&self, rules: &NameRules) -> Result<Checkpoint, WeightsError> {
        Checkpoint::open(&ModelFolder::open(&self.0)?, rules)
    }

    /// The error, the folder's own path left out.
    pub fn refusal(&self) -> String {
        self.open()
            .unwrap_err()
            .to_string()
            .replace(&self.0.display().to_string(), "FOLDER")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
