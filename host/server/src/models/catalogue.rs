//! The models that may be asked for, by name. What a client sends is only ever compared with these names: it is never a path or an address.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use monocle_manifest::schema::Source;
use monocle_runtime::model::abilities::Abilities;
use monocle_runtime::model::locate::{Declaration, Places};
use monocle_runtime::model::stamp::{Stamp, stat};
use monocle_weights::gguf::is_gguf;

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
    /// Why its manifest, which changed, cannot be used; the one from before is.
    pub note: Option<String>,
}

impl Listed {
    /// Whether this manifest's file declares it.
    fn is_of(&self, declared_by: &str) -> bool {
        self.declaration.declared_by == declared_by
    }
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
    /// What models can do, by name; it holds as long as their files are as they were.
    abilities: Mutex<HashMap<String, (Stamp, Arc<Abilities>)>>,
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
            read: Mutex::default(),
            abilities: Mutex::default(),
        }
    }

    /// All of them, those that were named first.
    pub fn list(&self) -> Vec<Listed> {
        let models = self.declared().into_iter();
        models.map(|model| self.located(model)).collect()
    }

    /// What a model can do; nothing where its files are not here, or cannot be read.
    pub fn abilities(&self, model: &Listed) -> Option<Arc<Abilities>> {
        let folder = model.folder.as_deref()?;
        let stamp = self.stamp(model);
        let known = self.abilities.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = known.get(&model.name).filter(|(known, _)| *known == stamp) {
            return Some(Arc::clone(known));
        }
        drop(known);
        let found = Abilities::of(&self.places, &model.declaration.manifest, folder).ok()?;
        let found = Arc::new(found);
        let mut known = self.abilities.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(model.name.clone(), (stamp, Arc::clone(&found)));
        Some(found)
    }

    /// Of the files that decide how a model answers.
    pub fn stamp(&self, model: &Listed) -> Stamp {
        let declared_by = Path::new(&model.declaration.declared_by);
        let folder = model.folder.as_deref();
        Stamp::of(&self.places, &model.declaration.manifest, declared_by, folder)
    }

    /// A model's files may have come, or gone, since its manifest was read.
    fn located(&self, model: Listed) -> Listed {
        match model.folder.as_deref().is_some_and(Path::exists) {
            true => model,
            false => Listed {
                note: model.note,
                ..listed(&self.places, model.declaration, model.stem)
            },
        }
    }

    /// All models, their files where they were when manifests were read. Manifests are read anew when one changed.
    fn declared(&self) -> Vec<Listed> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let signature = self.signature();
        match read.as_ref() {
            Some((known, models)) if *known == signature => models.clone(),
            last => {
                let last: Vec<&Listed> = last.iter().flat_map(|(_, models)| models).collect();
                let named = self.named.iter();
                let mut models: Vec<Listed> = named.map(|named| self.again(named, &last)).collect();
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
                        Err(error) => {
                            // All that it declared: its own model, and those that it names besides.
                            let before = last.iter().filter(|model| model.is_of(&declared_by));
                            for model in before {
                                if models.iter().all(|other| other.name != model.name) {
                                    models.push(as_before(model, &error.to_string()));
                                }
                            }
                            continue;
                        }
                    };
                    if models.iter().all(|other| other.name != model.name) {
                        models.push(model);
                    }
                }
                for declaration in self.places.stored_otherwise() {
                    if models.iter().all(|other| other.name != declaration.manifest.name) {
                        models.push(listed(&self.places, declaration, None));
                    }
                }
                *read = Some((signature, models.clone()));
                models
            }
        }
    }

    /// A model that was named, read again if its manifest can be.
    fn again(&self, named: &Listed, last: &[&Listed]) -> Listed {
        let declared_by = named.declaration.declared_by.clone();
        let path = Path::new(&declared_by);
        let manifest = path.extension().is_some_and(|end| end == "toml");
        match manifest.then(|| monocle_manifest::Manifest::load(path)) {
            None => named.clone(),
            Some(Ok(manifest)) => {
                let stem = named.stem.clone();
                // It was named by a repository that the manifest names besides.
                let manifest = manifest.stored_in(&named.name).unwrap_or(manifest);
                let declaration = Declaration {
                    manifest,
                    declared_by,
                };
                listed(&self.places, declaration, stem)
            }
            Some(Err(error)) => {
                let of_it: Vec<&Listed> = last
                    .iter()
                    .copied()
                    .filter(|model| model.is_of(&declared_by))
                    .collect();
                let last = of_it.iter().find(|model| model.name == named.name);
                let last = last.or(of_it.first()).copied();
                as_before(last.unwrap_or(named), &error.to_string())
            }
        }
    }

    /// The model of a name, an alias, a manifest's file or a repository; `:latest`, which Ollama's clients add, is no part of a name.
    pub fn find(&self, asked: &str) -> Option<Listed> {
        let asked = asked.strip_suffix(":latest").unwrap_or(asked);
        let alias = self.aliases.iter().find(|(alias, _)| alias == asked);
        let asked = alias.map_or(asked, |(_, name)| name.as_str());
        let models = self.declared();
        if asked.is_empty() {
            // The first that was named, or that is here.
            let mut models = models.into_iter().map(|model| self.located(model));
            return models.find(|model| model.folder.is_some());
        }
        let repo = |model: &Listed| match &model.declaration.manifest.source {
            Source::Repo { repo, gguf: None, .. } => repo == asked,
            Source::Repo {
                repo,
                gguf: Some(tag),
                ..
            } => asked
                .split_once(':')
                .is_some_and(|(other, own)| repo == other && tag.eq_ignore_ascii_case(own)),
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
        models.into_iter().nth(place).map(|model| self.located(model))
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

/// The last good one stays.
fn as_before(model: &Listed, error: &str) -> Listed {
    Listed {
        note: Some(format!(
            "the model's manifest changed and cannot be used, so it is as before: {error}"
        )),
        ..model.clone()
    }
}

fn listed(places: &Places, declaration: Declaration, stem: Option<String>) -> Listed {
    let folder = match &declaration.manifest.source {
        Source::Path(path) => (path.join("config.json").is_file() || is_gguf(path)).then(|| path.clone()),
        Source::Repo {
            repo, revision, gguf, ..
        } => match places.hub.locate_one(repo, revision, gguf.as_deref()) {
            Ok(Some(located)) if located.is_complete() => Some(located.folder),
            _ => None,
        },
    };
    Listed {
        name: declaration.manifest.name.clone(),
        stem,
        declaration,
        folder,
        note: None,
    }
}

#[cfg(test)]
mod tests {
    use monocle_runtime::plugin::folders::PluginFolders;
    use monocle_weights::hub::Hub;

    use super::*;

    /// By its own name, whether the server was started with it or not, and as its manifest says even after that was read again.
    #[test]
    fn a_model_stored_otherwise_is_found_by_its_repositorys_name() {
        let root = std::env::temp_dir().join(format!("monocle-catalogue-{}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        let text = "schema = 1\nname = \"a\"\nplugin = \"p\"\n[source]\nrepo = \"org/a\"\nalso = [\"org/a-4bit\"]\n[image]\nmax_images = 3\n";
        std::fs::write(root.join("a.toml"), text).unwrap();
        let places = Places {
            manifests: vec![root.clone()],
            plugins: PluginFolders::new(Vec::new()),
            hub: Hub::from_variables(|name| {
                (name == "HF_HOME").then(|| root.join("hub").display().to_string())
            }),
        };
        let named = places.find("org/a-4bit", &mut |_| {}).unwrap();
        for (named, first) in [(vec![], "a"), (vec![named], "org/a-4bit")] {
            let catalogue = Catalogue::new(places.clone(), named, Vec::new());
            // Who asks for none gets the first that is here.
            assert_eq!(catalogue.list()[0].name, first);
            for asked in ["org/a-4bit", "org/a", "a"] {
                let found = catalogue.find(asked).expect(asked);
                let Source::Repo { repo, .. } = &found.declaration.manifest.source else {
                    panic!("{asked} is a folder");
                };
                let name = if asked == "org/a-4bit" { asked } else { "a" };
                let own = if asked == "org/a-4bit" { asked } else { "org/a" };
                assert_eq!((found.name.as_str(), repo.as_str()), (name, own));
                assert_eq!(found.declaration.manifest.image.max_images, Some(3));
            }
            assert!(catalogue.find("org/a-8bit").is_none());
            // Broken, it stays as it was, and so does what it names besides.
            std::fs::write(root.join("a.toml"), "schema =").unwrap();
            for asked in ["org/a-4bit", "a"] {
                let found = catalogue.find(asked).expect(asked);
                assert_eq!(found.name, asked);
                assert!(found.note.is_some_and(|note| note.contains("cannot be used")));
            }
            std::fs::write(root.join("a.toml"), text).unwrap();
        }
        std::fs::remove_dir_all(&root).unwrap();
    }
}
