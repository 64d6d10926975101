//! A model's folder: its small files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::convert::unfinished;
use crate::error::WeightsError;
use crate::files::{POINTER_BYTES, refuse_pointer};
use crate::gguf::{GgufFiles, Made, Tables, is_gguf};
use crate::json::{read_json, read_text};

/// Files that say what GGUF files have no key-values for; where one lies beside them, it counts.
pub(crate) const BESIDE: [&str; 3] = [
    "preprocessor_config.json",
    "processor_config.json",
    "generation_config.json",
];

/// A model's folder, laid out as Hugging Face repositories are.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    path: PathBuf,
    config: Value,
    generation_config: Option<Value>,
    preprocessor_config: Option<Value>,
    processor_config: Option<Value>,
    tokenizer_config: Option<Value>,
    made: Option<Arc<Made>>,
}

impl ModelFolder {
    /// Opens a model wherever it lies: in a folder, or in GGUF files, of which `tables` say what they hold.
    pub fn open_any(
        path: &Path,
        tables: impl FnOnce() -> Result<Tables, WeightsError>,
    ) -> Result<Self, WeightsError> {
        match is_gguf(path) {
            true => {
                let files = GgufFiles::open(path)?;
                let mut made = Made::of(&files, &tables()?)?;
                let folder = if path.is_dir() { Some(path) } else { path.parent() };
                // What sees may lie in the folder above.
                let sees = files.projector.as_ref().and_then(|file| file.path().parent());
                let sees = sees.filter(|sees| Some(*sees) != folder);
                let folders: Vec<&Path> = folder.into_iter().chain(sees).collect();
                for name in BESIDE {
                    let mut text = None;
                    for folder in &folders {
                        text = match text {
                            None => read_text(&folder.join(name))?,
                            found => found,
                        };
                    }
                    if let Some(text) = text {
                        made.notes.push(format!("`{name}` beside the GGUF file is used"));
                        made.texts.insert(name.to_owned(), text);
                    }
                }
                Ok(Self::of_made(path, made))
            }
            false => Self::open(path),
        }
    }

    fn of_made(path: &Path, made: Made) -> Self {
        let read = |name: &str| serde_json::from_str(made.texts.get(name)?).ok();
        Self {
            path: path.to_owned(),
            config: made.config.clone(),
            generation_config: read("generation_config.json"),
            preprocessor_config: read("preprocessor_config.json"),
            processor_config: read("processor_config.json"),
            tokenizer_config: read("tokenizer_config.json"),
            made: Some(Arc::new(made)),
        }
    }

    /// The small files, where they were made of GGUF files and lie nowhere.
    pub fn made_texts(&self) -> Option<&BTreeMap<String, String>> {
        self.made.as_ref().map(|made| &made.texts)
    }

    /// Why no tokenizer can be made of a model's GGUF files, where that is so.
    pub fn check_vocabulary(&self) -> Result<(), WeightsError> {
        let Some(made) = &self.made else { return Ok(()) };
        match &made.no_vocabulary {
            None => Ok(()),
            Some(problem) => Err(WeightsError::GgufContents {
                file: made.first.clone(),
                problem: problem.clone(),
            }),
        }
    }

    /// How most of a model's GGUF files are stored, in llama.cpp's words: `Q4_K_M`.
    pub fn stored_as(&self) -> Option<&str> {
        self.made.as_ref()?.stored_as.as_deref()
    }

    pub(crate) fn made(&self) -> Option<&Made> {
        self.made.as_deref()
    }

    /// Reads the folder's configuration files; only `config.json` must be there.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        if let Err(error) = std::fs::read_dir(path) {
            return Err(WeightsError::io("open the model folder", path, error));
        }
        refuse_pointers(path)?;
        let read = |name: &str| read_json(&path.join(name));
        let config = read("config.json")?.ok_or_else(|| {
            let folder = path.to_owned();
            match unfinished(path) {
                Some(begun) => WeightsError::Unfinished { folder, begun },
                None => WeightsError::NoConfig { folder },
            }
        })?;
        if !config.is_object() {
            return Err(WeightsError::BadText {
                file: path.join("config.json"),
                expected: "a JSON object",
                reason: "it holds something else".to_owned(),
            });
        }
        Ok(Self {
            path: path.to_owned(),
            config,
            generation_config: read("generation_config.json")?,
            preprocessor_config: read("preprocessor_config.json")?,
            processor_config: read("processor_config.json")?,
            tokenizer_config: read("tokenizer_config.json")?,
            made: None,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `config.json`: a JSON object.
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// The architecture's family, as `config.json` names it.
    pub fn model_type(&self) -> Option<&str> {
        self.config["model_type"].as_str()
    }

    /// `generation_config.json`.
    pub fn generation_config(&self) -> Option<&Value> {
        self.generation_config.as_ref()
    }

    /// `preprocessor_config.json`: how pictures are prepared.
    pub fn preprocessor_config(&self) -> Option<&Value> {
        self.preprocessor_config.as_ref()
    }

    /// `processor_config.json`: how pictures and text are joined.
    pub fn processor_config(&self) -> Option<&Value> {
        self.processor_config.as_ref()
    }

    /// `tokenizer_config.json`.
    pub fn tokenizer_config(&self) -> Option<&Value> {
        self.tokenizer_config.as_ref()
    }

    /// Any file of the folder itself as text, for instance `tokenizer.json` or `chat_template.jinja`; `None` when there is
    /// none. It is read anew each time.
    pub fn text(&self, name: &str) -> Result<Option<String>, WeightsError> {
        if let Some(made) = &self.made {
            return Ok(made.texts.get(name).cloned());
        }
        // A name that leads elsewhere is no file of the folder.
        if Path::new(name).file_name() != Some(name.as_ref()) {
            return Ok(None);
        }
        read_text(&self.path.join(name))
    }
}

/// Refuses Git LFS pointers in place of files that are read elsewhere.
fn refuse_pointers(folder: &Path) -> Result<(), WeightsError> {
    const USUAL: &str = "tokenizer.json";
    // Where there is no `tokenizer.json`, it would be made of one of these.
    const OTHERS: [&str; 4] = ["tokenizer.model", "tiktoken.model", "vocab.json", "merges.txt"];
    const ALWAYS: [&str; 3] = [
        "chat_template.jinja",
        "chat_template.json",
        "special_tokens_map.json",
    ];
    let others = OTHERS.iter().filter(|_| !folder.join(USUAL).exists());
    for name in [USUAL].iter().chain(ALWAYS.iter()).chain(others) {
        let path = folder.join(name);
        let found = std::fs::metadata(&path);
        if found.is_ok_and(|found| found.is_file() && found.len() < POINTER_BYTES) {
            let contents = monocle_files::read(&path, POINTER_BYTES)
                .map_err(|error| WeightsError::io("read", &path, error.into()))?;
            refuse_pointer(&path, &contents)?;
        }
    }
    Ok(())
}
