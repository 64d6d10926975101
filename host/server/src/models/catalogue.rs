//! The models that may be asked for, by name. What a client sends is only ever compared with these names: it is never a path or an address.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use monocle_manifest::schema::Source;
use monocle_runtime::model::locate::{Declaration, Places};

use monocle_runtime::model::stamp::stat;

/// A model that may be asked for.
#[derive(Debug, Clone)]
pub struct Listed {
    /// What it is called.
    pub name: String,
    /// The manifest's file name, without its end.
    pub stem: Option<String>,
    /// What declares it.
    pub declaration: Declaration,
    /// Where its files are, if they are here.
    pub folder: Option<PathBuf>,
}

/// See the module.
pub struct Catalogue {
    /// Where manifests, plugins and models are; the network is never used.
    pub places: Places,
    /// Other names, and what they stand for.
    aliases: Vec<(String, String)>,
    /// Models that were named when the server was started.
    named: Vec<Listed>,
    read: Mutex<Option<(Signature, Vec<Listed>)>>,
}

type Signature = Vec<(PathBuf, Option<(u64, SystemTime)>)>;

impl Catalogue {
    /// The manifests' models, besides those that were named.
    pub fn new(mut places: Places, named: Vec<Declaration>, aliases: Vec<(String, String)>) -> Self {
        places.hub.offline = true;
        let named = named
            .into_iter()
            .map(|declaration| listed(&places, declaration, None))
            .collect();
        Self {
            places,
            aliases,
            named,
            read: Mutex::new(None),
        }
    }

    /// All of them, those that were named first. Manifests are read anew when one changed.
    pub fn list(&self) -> Vec<Listed> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let signature = self.signature();
        match read.as_ref() {
            Some((known, models)) if *known == signature => models.clone(),
            last => {
                let last: HashMap<&str, &Listed> = last
                    .iter()
                    .flat_map(|(_, models)| models)
                    .map(|listed| (listed.declaration.declared_by.as_str(), listed))
                    .collect();
                let mut models: Vec<Listed> = self.named.iter().map(|named| self.again(named)).collect();
                for found in self.places.list() {
                    let declared_by = found.path.display().to_string();
                    let stem = found
                        .path
                        .file_stem()
                        .map(|stem| stem.to_string_lossy().into_owned());
                    let model = match found.manifest {
                        Ok(manifest) => {
                            let declaration = Declaration {
                                manifest,
                                declared_by,
                            };
                            listed(&self.places, declaration, stem)
                        }
                        // The last good one stays.
                        Err(_) => match last.get(declared_by.as_str()) {
                            Some(model) => (*model).clone(),
                            None => continue,
                        },
                    };
                    if models.iter().all(|other| other.name != model.name) {
                        models.push(model);
                    }
                }
                *read = Some((signature, models.clone()));
                models
            }
        }
    }

    /// A model that was named, read again if its manifest can be.
    fn again(&self, named: &Listed) -> Listed {
        let path = std::path::Path::new(&named.declaration.declared_by);
        let manifest = path.extension().is_some_and(|end| end == "toml");
        match manifest.then(|| monocle_manifest::Manifest::load(path)) {
            Some(Ok(manifest)) => {
                let declared_by = named.declaration.declared_by.clone();
                listed(
                    &self.places,
                    Declaration {
                        manifest,
                        declared_by,
                    },
                    named.stem.clone(),
                )
            }
            _ => named.clone(),
        }
    }

    /// The model of a name, an alias, a manifest's file or a repository; `:latest`, which Ollama's clients add, is no part of a name.
    pub fn find(&self, asked: &str) -> Option<Listed> {
        let asked = asked.strip_suffix(":latest").unwrap_or(asked);
        let alias = self.aliases.iter().find(|(alias, _)| alias == asked);
        let asked = alias.map_or(asked, |(_, name)| name.as_str());
        let models = self.list();
        if asked.is_empty() {
            // The first that was named, or that is here.
            return models.into_iter().find(|model| model.folder.is_some());
        }
        let repo = |model: &Listed| match &model.declaration.manifest.source {
            Source::Repo { repo, .. } => repo == asked,
            Source::Path(_) => false,
        };
        let place = models
            .iter()
            .position(|model| model.name == asked)
            .or_else(|| {
                models
                    .iter()
                    .position(|model| model.stem.as_deref() == Some(asked))
            })
            .or_else(|| models.iter().position(repo))?;
        models.into_iter().nth(place)
    }

    /// The other names of a model.
    pub fn aliases(&self, name: &str) -> Vec<String> {
        let own = self.aliases.iter().filter(|(_, of)| of == name);
        own.map(|(alias, _)| alias.clone()).collect()
    }

    fn signature(&self) -> Signature {
        let mut files: Vec<PathBuf> = self
            .named
            .iter()
            .map(|named| PathBuf::from(&named.declaration.declared_by))
            .collect();
        for folder in &self.places.manifests {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let manifests = entries
                .map(|entry| entry.path())
                .filter(|path| path.extension().is_some_and(|end| end == "toml"));
            files.extend(manifests);
        }
        files.sort();
        files
            .into_iter()
            .map(|path| (path.clone(), stat(&path)))
            .collect()
    }
}

fn listed(places: &Places, declaration: Declaration, stem: Option<String>) -> Listed {
    let folder = match &declaration.manifest.source {
        Source::Path(path) => path.join("config.json").is_file().then(|| path.clone()),
        Source::Repo { repo, revision } => match places.hub.locate(repo, revision) {
            Ok(Some(located)) if located.is_complete() => Some(located.folder),
            _ => None,
        },
    };
    Listed {
        name: declaration.manifest.name.clone(),
        stem,
        declaration,
        folder,
    }
}
