//! Folders for one test, and checkpoints to break in them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::project;

/// A folder that ends with the test.
pub struct Scratch(PathBuf);

impl Scratch {
    /// An empty folder.
    pub fn new(name: &str) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("monocle-test-{}-{number}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("the system has room for temporary files");
        Self(folder)
    }

    /// A folder with the model files of a folder of `tests/oracle`, without its golden answers.
    pub fn checkpoint(name: &str) -> Self {
        let scratch = Self::new(name);
        for entry in std::fs::read_dir(project::oracle(name)).expect("the oracle folder is there") {
            let path = entry.expect("the folder can be read").path();
            let file = path.file_name().expect("a file has a name").to_string_lossy();
            let model = [".json", ".jinja", ".model", ".safetensors"]
                .iter()
                .any(|end| file.ends_with(end));
            if model && !file.starts_with("golden") && file != "tiling.json" {
                let bytes = std::fs::read(&path).expect("the file can be read");
                scratch.write(&file, bytes);
            }
        }
        scratch
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file; gives its path.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.file(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).expect("the folder can be made");
        }
        std::fs::write(&path, bytes).expect("the file can be written");
        path
    }

    /// A file's text, changed.
    pub fn edit(&self, name: &str, change: impl FnOnce(String) -> String) {
        let text = std::fs::read_to_string(self.file(name)).expect("the file holds text");
        self.write(name, change(text));
    }

    /// Takes a file away.
    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.file(name)).expect("the file was there");
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
