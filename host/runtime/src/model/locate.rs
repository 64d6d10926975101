//! From what a user types to a manifest and a folder: a manifest's name or path, a model's folder, a repository or its address.

use std::path::{Path, PathBuf};

use monocle_manifest::schema::{Plugin, Source, Template};
use monocle_manifest::served::Served;
use monocle_manifest::{Manifest, ManifestError};
use monocle_text::{Tokenizer, TokenizerRules};
use monocle_weights::gguf::{Tables, files_of, is_gguf, is_gguf_name, names_in};
use monocle_weights::hub::{Hub, Progress};
use monocle_weights::{ModelFolder, WeightsError};

use super::address::Address;
use super::error::ModelError;
use super::tokenizer_rules;
use crate::plugin::folders::PluginFolders;
use crate::plugin::trust::Trust;
use crate::plugin::wasm::component;
use crate::program;

/// Where manifests, plugins and repositories are looked for.
#[derive(Debug, Clone)]
pub struct Places {
    /// Folders of manifests, the first that has a name wins.
    pub manifests: Vec<PathBuf>,
    /// Folders of plugins.
    pub plugins: PluginFolders,
    /// The hub and its cache.
    pub hub: Hub,
}

/// A model's declaration.
#[derive(Debug, Clone)]
pub struct Declaration {
    /// The manifest; made up when the model has none.
    pub manifest: Manifest,
    /// Where it came from, for people.
    pub declared_by: String,
}

/// What a user means by a word.
pub(super) enum Meant {
    /// A manifest's model.
    Declared(Box<Declaration>),
    /// A folder without a manifest.
    Folder(PathBuf),
    /// A repository without a manifest.
    Repository {
        /// `organisation/name`
        repo: String,
        /// Where one is named.
        revision: Option<String>,
        /// Which of its GGUF conversions, where one is named.
        tag: Option<String>,
    },
}

/// A manifest in one of the folders, readable or not.
#[derive(Debug)]
pub struct Listed {
    /// The file.
    pub path: PathBuf,
    /// What it says.
    pub manifest: Result<Manifest, ModelError>,
}

impl Places {
    /// As the environment says: `MONOCLE_MANIFESTS` and `MONOCLE_PLUGINS` (lists of folders, searched first), then those that come
    /// with the program (`share/monocle` beside its folder) and the user's own; the hub by the variables that Hugging Face's tools share. `MONOCLE_PLUGIN_ORDER` (names with commas
    /// between) says which plugins go first where several understand a `model_type`.
    pub fn from_env() -> Self {
        let listed = |name: &str| -> Vec<PathBuf> {
            std::env::var_os(name)
                .map(|list| std::env::split_paths(&list).collect())
                .unwrap_or_default()
        };
        let mut manifests = listed("MONOCLE_MANIFESTS");
        let mut plugins = listed("MONOCLE_PLUGINS");
        if let Some(shipped) = shipped() {
            manifests.push(shipped.join("manifests"));
            plugins.push(shipped.join("plugins"));
        }
        if let Some(home) = std::env::var_os("HOME").map(PathBuf::from) {
            manifests.push(home.join(".config/monocle/manifests"));
            plugins.push(home.join(".local/share/monocle/plugins"));
        }
        let order = std::env::var("MONOCLE_PLUGIN_ORDER").unwrap_or_default();
        let order = order.split(',').map(|name| name.trim().to_owned()).collect();
        let existing = |folders: Vec<PathBuf>| {
            let mut existing: Vec<PathBuf> = Vec::new();
            for folder in folders
                .into_iter()
                .filter_map(|folder| std::fs::canonicalize(folder).ok())
            {
                if folder.is_dir() && !existing.contains(&folder) {
                    existing.push(folder);
                }
            }
            existing
        };
        Self {
            manifests: existing(manifests),
            plugins: PluginFolders::new(existing(plugins))
                .preferring(order)
                .trusting(Trust::of_user()),
            hub: Hub::from_env(),
        }
    }

    /// All manifests of models that run here, by file name.
    pub fn list(&self) -> Vec<Listed> {
        let own = self
            .files()
            .into_iter()
            .filter(|path| Served::load(path).is_none());
        own.map(|path| Listed {
            manifest: Manifest::load(&path).map_err(ModelError::from),
            path,
        })
        .collect()
    }

    /// All manifests of models that other programs serve, with their files.
    pub fn served(&self) -> Vec<(PathBuf, Result<Served, ManifestError>)> {
        let files = self.files().into_iter();
        files
            .filter_map(|path| Served::load(&path).map(|served| (path, served)))
            .collect()
    }

    /// The model of another program's server that is meant, if one is: a manifest's path, its name, or its file's.
    pub fn find_served(&self, asked: &str) -> Option<Result<Served, ManifestError>> {
        if asked.ends_with(".toml") {
            return Served::load(Path::new(asked));
        }
        let found = self.served().into_iter().find(|(path, served)| {
            let is_named = served.as_ref().is_ok_and(|served| served.name == asked);
            is_named || path.file_stem().is_some_and(|stem| stem == asked)
        });
        found.map(|(_, served)| served)
    }

    /// The files of all manifests; of two with one name, that in the folder that is searched first.
    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = Vec::new();
        for folder in &self.manifests {
            let Ok(entries) = std::fs::read_dir(folder) else {
                continue;
            };
            let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
            paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
            paths.sort();
            for path in paths {
                if !files.iter().any(|other| other.file_name() == path.file_name()) {
                    files.push(path);
                }
            }
        }
        files
    }

    /// The model that a user means.
    pub fn find(&self, asked: &str, progress: &mut dyn FnMut(&Progress)) -> Result<Declaration, ModelError> {
        match self.meant(asked)? {
            Meant::Declared(declaration) => Ok(*declaration),
            Meant::Folder(folder) => {
                let declared_by = match is_gguf(&folder) {
                    true => format!("the key-values of `{}`", folder.display()),
                    false => format!("the folder's config.json, `{}`", folder.display()),
                };
                self.by_folder(&folder, declared_by)
            }
            Meant::Repository { repo, revision, tag } => {
                let revision = revision.as_deref().unwrap_or("main");
                let folder = match tag {
                    Some(tag) => self.hub.fetch_gguf(&repo, revision, &tag, progress)?,
                    None => self.fetch(&repo, revision, progress)?,
                };
                let declared_by = match is_gguf(&folder) {
                    true => format!("the key-values of GGUF files of `{repo}`"),
                    false => format!("the repository's config.json, `{repo}`"),
                };
                self.by_folder(&folder, declared_by)
            }
        }
    }

    /// What a user means, without looking into it.
    pub(super) fn meant(&self, asked: &str) -> Result<Meant, ModelError> {
        let path = Path::new(asked);
        if asked.ends_with(".toml") {
            return by_manifest(path).map(Box::new).map(Meant::Declared);
        }
        if path.is_dir() || (path.is_file() && is_gguf(path)) {
            return Ok(Meant::Folder(path.to_owned()));
        }
        if let Some((Address { repo, revision }, tag)) = tagged(asked, &self.hub.endpoint) {
            let named = |manifest: &Manifest| names_gguf(&manifest.source, &repo, &tag);
            if let Some(declaration) = self.declared(named).filter(|_| revision.is_none()) {
                return Ok(Meant::Declared(Box::new(declaration)));
            }
            return Ok(Meant::Repository {
                repo,
                revision,
                tag: Some(tag),
            });
        }
        if let Some(address) = Address::parse(asked, &self.hub.endpoint) {
            let Address { repo, revision } = address?;
            return self.by_name(&repo, revision.as_deref());
        }
        match self.by_name(asked, None) {
            // A file's name, or one that is none, and no repository's: the hub is not asked for it.
            Ok(Meant::Repository { .. }) | Err(ModelError::Unknown { .. }) if path.is_file() => {
                Err(ModelError::File {
                    path: path.to_owned(),
                })
            }
            Ok(Meant::Repository { .. }) | Err(ModelError::Unknown { .. }) if is_gguf_name(asked) => {
                Err(no_file(path))
            }
            meant => meant,
        }
    }

    /// The first manifest that names what is wanted.
    fn declared(&self, wanted: impl Fn(&Manifest) -> bool) -> Option<Declaration> {
        self.list().into_iter().find_map(|listed| {
            let manifest = listed.manifest.ok().filter(&wanted)?;
            Some(Declaration {
                manifest,
                declared_by: listed.path.display().to_string(),
            })
        })
    }

    /// The models that manifests name as stored otherwise (`also`), but those that have a manifest of their own.
    pub fn stored_otherwise(&self) -> Vec<Declaration> {
        let listed: Vec<(Manifest, String)> = self
            .list()
            .into_iter()
            .filter_map(|listed| Some((listed.manifest.ok()?, listed.path.display().to_string())))
            .collect();
        let has_own = |asked: &str| listed.iter().any(|(manifest, _)| is_of(manifest, asked));
        let mut found: Vec<Declaration> = Vec::new();
        for (manifest, declared_by) in &listed {
            for repo in manifest.also().iter().filter(|repo| !has_own(repo)) {
                let is_new = found.iter().all(|other| other.manifest.name != *repo);
                if let Some(manifest) = manifest.stored_in(repo).filter(|_| is_new) {
                    found.push(Declaration {
                        manifest,
                        declared_by: declared_by.clone(),
                    });
                }
            }
        }
        found
    }

    /// A manifest's model, or a repository; another revision than the manifest's where one is given.
    fn by_name(&self, asked: &str, revision: Option<&str>) -> Result<Meant, ModelError> {
        let mut near = Vec::new();
        // Whoever names a repository as its own goes before those who name it besides.
        let mut besides: Option<Declaration> = None;
        for listed in self.list() {
            let file = listed.path.file_stem().is_some_and(|stem| stem == asked);
            let declared_by = listed.path.display().to_string();
            match listed.manifest {
                Ok(manifest) if file || manifest.name == asked => {
                    return Ok(Meant::Declared(Box::new(Declaration {
                        manifest,
                        declared_by,
                    })));
                }
                Ok(mut manifest) => {
                    if is_of(&manifest, asked) {
                        at_revision(&mut manifest.source, revision);
                        return Ok(Meant::Declared(Box::new(Declaration {
                            manifest,
                            declared_by,
                        })));
                    }
                    if besides.is_none()
                        && let Some(mut manifest) = manifest.stored_in(asked)
                    {
                        at_revision(&mut manifest.source, revision);
                        besides = Some(Declaration {
                            manifest,
                            declared_by,
                        });
                    }
                    near.push(manifest.name);
                }
                Err(error) if file => return Err(error),
                // Another manifest's mistakes are not this model's.
                Err(_) => {}
            }
        }
        if let Some(declaration) = besides {
            return Ok(Meant::Declared(Box::new(declaration)));
        }
        if is_repository(asked) {
            return Ok(Meant::Repository {
                repo: asked.to_owned(),
                revision: revision.map(str::to_owned),
                tag: None,
            });
        }
        near.retain(|name| similar(name, asked));
        near.sort_by(|a, b| likeness(b, asked).total_cmp(&likeness(a, asked)));
        near.truncate(3);
        Err(ModelError::Unknown {
            asked: asked.to_owned(),
            near,
        })
    }

    /// The newest state of a repository without a manifest. Its weights are fetched only if a plugin knows what it is.
    pub(super) fn fetch(
        &self,
        repo: &str,
        revision: &str,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<PathBuf, ModelError> {
        let suits = |folder: &Path| {
            let known = self.by_folder(folder, String::new());
            known.map_err(|error| error.to_string())?;
            self.has_tokenizer(folder, &TokenizerRules::default())
        };
        Ok(self.hub.fetch(repo, revision, &suits, progress)?)
    }

    /// Where the model's files are, fetching what is missing or damaged of a repository.
    pub fn folder(
        &self,
        manifest: &Manifest,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<PathBuf, ModelError> {
        match &manifest.source {
            Source::Path(path) => Ok(tidy(path)),
            Source::Repo {
                repo,
                revision,
                gguf: Some(tag),
                ..
            } => Ok(self.hub.obtain_gguf(repo, revision, tag, progress)?),
            Source::Repo {
                repo,
                revision,
                gguf: None,
                ..
            } => {
                let suits = |folder: &Path| self.has_own_tokenizer(folder, manifest);
                Ok(self.hub.obtain(repo, revision, &suits, progress)?)
            }
        }
    }

    /// Fetches all that a model needs and is not here. Gives all places that are read when it is opened: the model's own and another repository's
    /// tokenizer with the files that their links lead to, the manifests, the plugins, a template's file.
    pub fn fetch_all(
        &self,
        manifest: &Manifest,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Vec<PathBuf>, ModelError> {
        let mut folders = vec![self.folder(manifest, progress)?];
        folders.extend(self.other_tokenizer(manifest, progress)?);
        // GGUF files may be links that lead anywhere.
        let files = folders.iter().filter(|path| is_gguf(path));
        let files = files.flat_map(|path| files_of(path));
        let files: Vec<PathBuf> = files.filter_map(|file| file.canonicalize().ok()).collect();
        // One is read with those beside it, or in the folder above.
        let above = files_above(&folders);
        for folder in folders.iter_mut().filter(|path| path.is_file()) {
            folder.pop();
        }
        folders.extend(above);
        let of_cache: Vec<PathBuf> = folders
            .iter()
            .flat_map(|folder| beside_snapshots(folder))
            .collect();
        folders.extend(of_cache);
        folders.extend(files);
        folders.extend(self.manifests.iter().cloned());
        folders.extend(self.plugins.folders().iter().cloned());
        folders.extend(component::kept_folder());
        folders.extend(self.plugins.trust().folder().map(Path::to_owned));
        if let Some(Template::File(path)) = &manifest.prompt.template {
            folders.push(path.clone());
        }
        Ok(folders)
    }

    /// The folder of another repository's tokenizer, where the manifest names one; fetched where it is not in the cache.
    pub(super) fn other_tokenizer(
        &self,
        manifest: &Manifest,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Option<PathBuf>, ModelError> {
        let Some(repo) = &manifest.tokenizer.repo else {
            return Ok(None);
        };
        let revision = manifest.tokenizer.revision.as_deref().unwrap_or("main");
        let rules = tokenizer_rules(manifest);
        let suits = |folder: &Path| has_tokenizer(folder, &rules);
        let folder = self.hub.obtain_small(repo, revision, &suits, progress)?;
        Ok(Some(folder))
    }

    /// Whether a tokenizer can be made of a model's files, where it is not another repository's; else why not.
    pub(super) fn has_own_tokenizer(&self, path: &Path, manifest: &Manifest) -> Result<(), String> {
        match manifest.tokenizer.repo {
            Some(_) => Ok(()),
            None => self.has_tokenizer(path, &tokenizer_rules(manifest)),
        }
    }

    /// The small files of a model, and where its weights are.
    pub fn open(&self, path: &Path) -> Result<ModelFolder, WeightsError> {
        ModelFolder::open_any(path, || Tables::read(self.manifests.iter().map(PathBuf::as_path)))
    }

    /// Whether a tokenizer can be made of a model's files; else why not.
    pub(super) fn has_tokenizer(&self, path: &Path, rules: &TokenizerRules) -> Result<(), String> {
        match is_gguf(path) {
            true => {
                let folder = self.open(path).map_err(|error| error.to_string())?;
                let tokenizer = tokenizer(&folder, rules);
                tokenizer.map(drop).map_err(|error| error.to_string())
            }
            false => has_tokenizer(path, rules),
        }
    }

    /// A folder without a manifest: the plugin is the one that knows its `model_type`.
    fn by_folder(&self, folder: &Path, declared_by: String) -> Result<Declaration, ModelError> {
        let files = self.open(folder)?;
        let Some(model_type) = files.model_type() else {
            return Err(ModelError::NoModelType {
                folder: folder.to_owned(),
            });
        };
        // A type may be shared by architectures that differ in their vision tower: `TYPE/TOWER` is more exact than `TYPE`.
        let tower = files.config()["vision_config"]["model_type"].as_str();
        let exact = tower.map(|tower| format!("{model_type}/{tower}"));
        let mut claims = exact.map_or(Vec::new(), |exact| self.plugins.for_model_type(&exact));
        if claims.is_empty() {
            claims = self.plugins.for_model_type(model_type);
        }
        let mut claims = claims.into_iter().map(|(_, stamp)| stamp.name);
        let Some(plugin) = claims.next() else {
            let mut known: Vec<String> = self
                .plugins
                .list()
                .into_iter()
                .filter_map(|found| found.stamp.ok())
                .flat_map(|stamp| stamp.model_types)
                .collect();
            known.sort();
            known.dedup();
            let known = if known.is_empty() {
                "no plugin is installed".to_owned()
            } else {
                known.join(", ")
            };
            return Err(ModelError::NoPlugin {
                folder: folder.to_owned(),
                model_type: model_type.to_owned(),
                known,
            });
        };
        let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let name = absolute
            .file_name()
            .map_or("model".to_owned(), |name| name.to_string_lossy().into_owned());
        let name = name.strip_suffix(".gguf").map(str::to_owned).unwrap_or(name);
        let others: Vec<String> = claims.map(|name| format!("`{name}`")).collect();
        let declared_by = match others.is_empty() {
            true => declared_by,
            false => format!(
                "{declared_by}; the plugin `{plugin}` goes before {}, see `monocle plugins`",
                others.join(", ")
            ),
        };
        let manifest = Manifest::new(name, Plugin::named(plugin), Source::Path(absolute));
        Ok(Declaration {
            manifest,
            declared_by,
        })
    }
}

/// What comes with the program: bin/monocle lies beside share/monocle where it is installed, and target/release/monocle beside
/// target/share/monocle where it was built (`cargo xtask build-plugins`).
pub fn shipped() -> Option<PathBuf> {
    let program = program::own_file().ok()?;
    let shipped = program.parent()?.join("../share/monocle");
    std::fs::canonicalize(shipped).ok()
}

/// A path without `..` and links, so that messages and reports are easy to read. A file stays in the folder where it was named: the files that
/// belong to it are beside it there, and not where a link leads.
pub fn tidy(path: &Path) -> PathBuf {
    let tidied = match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) if path.is_file() => {
            let folder = match folder.as_os_str().is_empty() {
                true => Path::new("."),
                false => folder,
            };
            folder.canonicalize().map(|folder| folder.join(name))
        }
        _ => path.canonicalize(),
    };
    tidied.unwrap_or_else(|_| path.to_owned())
}

/// The folders above those of GGUF models whose `mmproj` file lies there.
fn files_above(models: &[PathBuf]) -> Vec<PathBuf> {
    let files = models
        .iter()
        .filter(|path| is_gguf(path))
        .flat_map(|path| files_of(path));
    let folders = files.filter_map(|file| file.parent().map(Path::to_owned));
    folders
        .filter(|folder| folder.ends_with(".."))
        .filter_map(|folder| folder.canonicalize().ok())
        .collect()
}

/// What is read of the hub's cache beside a snapshot: files are links into `blobs`, and `refs` says which snapshot a branch is. Nothing for a
/// folder that is no snapshot, or in none.
fn beside_snapshots(folder: &Path) -> Vec<PathBuf> {
    let mut above = folder.ancestors().skip(1).take(2);
    let snapshots = above.find(|folder| folder.ends_with("snapshots"));
    let home = snapshots.and_then(Path::parent);
    home.map_or(Vec::new(), |home| {
        ["blobs", "refs"].map(|name| home.join(name)).to_vec()
    })
}

/// The tokenizer of a model's files.
pub(super) fn tokenizer(folder: &ModelFolder, rules: &TokenizerRules) -> Result<Tokenizer, ModelError> {
    folder.check_vocabulary()?;
    Ok(match folder.made_texts() {
        Some(texts) => Tokenizer::of_texts(folder.path(), texts)?,
        None => Tokenizer::with_rules(folder.path(), rules)?,
    })
}

fn has_tokenizer(folder: &Path, rules: &TokenizerRules) -> Result<(), String> {
    let tokenizer = Tokenizer::with_rules(folder, rules);
    tokenizer.map(drop).map_err(|error| error.to_string())
}

/// Whether a manifest's model is a repository. One of a repository's GGUF models is meant only where it is named.
fn is_of(manifest: &Manifest, asked: &str) -> bool {
    matches!(&manifest.source, Source::Repo { repo, gguf: None, .. } if repo == asked)
}

/// Another revision than the source's, where one is asked for.
fn at_revision(source: &mut Source, asked: Option<&str>) {
    if let (Source::Repo { revision, .. }, Some(asked)) = (source, asked) {
        asked.clone_into(revision);
    }
}

fn by_manifest(path: &Path) -> Result<Declaration, ModelError> {
    let manifest = Manifest::load(path)?;
    Ok(Declaration {
        manifest,
        declared_by: path.display().to_string(),
    })
}

/// `organisation/name`, and nothing that could be a path.
pub(super) fn is_repository(asked: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty()
            && !word.starts_with('.')
            && word
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    matches!(asked.split('/').collect::<Vec<_>>()[..], [organisation, name] if word(organisation) && word(name))
}

/// `organisation/name:Q4_K_M`, one of a repository's GGUF conversions; the repository may be given by its address.
fn tagged(asked: &str, endpoint: &str) -> Option<(Address, String)> {
    let (before, tag) = asked.rsplit_once(':')?;
    let is_word = !tag.is_empty()
        && tag
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    let address = match Address::parse(before, endpoint) {
        Some(address) => address.ok()?,
        None => Address {
            repo: Some(before).filter(|repo| is_repository(repo))?.to_owned(),
            revision: None,
        },
    };
    is_word.then(|| (address, tag.to_owned()))
}

/// Whether a manifest's source is one of a repository's GGUF models.
fn names_gguf(source: &Source, repo: &str, tag: &str) -> bool {
    match source {
        Source::Repo {
            repo: own,
            gguf: Some(own_tag),
            ..
        } => own == repo && own_tag.eq_ignore_ascii_case(tag),
        _ => false,
    }
}

/// A GGUF file that is not there, with those that are.
fn no_file(path: &Path) -> ModelError {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut there = names_in(folder);
    there.retain(|name| is_gguf_name(name));
    ModelError::NoFile {
        path: path.to_owned(),
        there,
    }
}

/// Whether two names are near enough to be mistaken for each other.
fn similar(name: &str, asked: &str) -> bool {
    let (name, asked) = (name.to_lowercase(), asked.to_lowercase());
    let contained = asked.len() >= 3 && (name.contains(&asked) || asked.contains(&name));
    contained || likeness(&name, &asked) > 0.85
}

fn likeness(name: &str, asked: &str) -> f64 {
    strsim::jaro_winkler(name, asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_told_from_paths() {
        assert!(is_repository("HuggingFaceTB/SmolThing-256M"));
        for path in ["./models/x", "models", "/models/x", "a/b/c", "../x", "a/", "a/.b"] {
            assert!(!is_repository(path), "{path}");
        }
    }

    #[test]
    fn conversions_are_told_from_addresses() {
        let told = |asked: &str| {
            let (address, tag) = tagged(asked, "http://127.0.0.1:8080")?;
            Some((address.repo, address.revision, tag))
        };
        let some = |revision: Option<&str>| {
            let revision = revision.map(str::to_owned);
            Some(("Org/Thing-GGUF".to_owned(), revision, "Q4_K_M".to_owned()))
        };
        for asked in [
            "Org/Thing-GGUF:Q4_K_M",
            "hf.co/Org/Thing-GGUF:Q4_K_M",
            "https://huggingface.co/Org/Thing-GGUF:Q4_K_M",
            "http://127.0.0.1:8080/Org/Thing-GGUF:Q4_K_M",
        ] {
            assert_eq!(told(asked), some(None), "{asked}");
        }
        let page = "https://huggingface.co/Org/Thing-GGUF/tree/v1:Q4_K_M";
        assert_eq!(told(page), some(Some("v1")));
        for other in [
            "https://hub.example/a",
            "https://hub.example/Org/Thing:Q4_K_M",
            "http://127.0.0.1:8080/Org/Thing",
            "Org/Thing",
            "Org/Thing:",
            "thing:Q4",
            "C:/models",
        ] {
            assert_eq!(told(other), None, "{other}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_file_stays_beside_the_files_that_belong_to_it() {
        let root = std::env::temp_dir().join(format!("monocle-tidy-{}", std::process::id()));
        for folder in ["blobs", "snapshots/one"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::write(root.join("blobs/0123"), "").unwrap();
        let link = root.join("snapshots/one/Model-Q8_0.gguf");
        std::os::unix::fs::symlink("../../blobs/0123", &link).unwrap();
        let root = root.canonicalize().unwrap();
        let asked = root.join("snapshots/one/../one/Model-Q8_0.gguf");
        assert_eq!(tidy(&asked), root.join("snapshots/one/Model-Q8_0.gguf"));
        assert_eq!(tidy(&root.join("snapshots/../snapshots")), root.join("snapshots"));
        assert_eq!(tidy(&root.join("none/../x")), root.join("none/../x"));
        std::fs::remove_dir_all(&root).unwrap();
    }

    fn places(manifests: PathBuf) -> Places {
        Places {
            manifests: vec![manifests],
            plugins: PluginFolders::new(Vec::new()),
            hub: Hub::from_variables(|_| None),
        }
    }

    fn declared(places: &Places, asked: &str) -> Manifest {
        match places.meant(asked) {
            Ok(Meant::Declared(declaration)) => declaration.manifest,
            Ok(Meant::Folder(_) | Meant::Repository { .. }) => panic!("{asked}: no manifest"),
            Err(error) => panic!("{asked}: {error}"),
        }
    }

    /// The repositories that people run by their names; what each needs of its manifest is a test of the manifests.
    #[test]
    fn every_reported_repository_has_a_manifest() {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let rows = std::fs::read(project.join("tests/oracle/reported_models.json")).unwrap();
        let rows: Vec<serde_json::Value> = serde_json::from_slice(&rows).unwrap();
        let places = places(project.join("manifests"));
        for row in rows {
            let asked = row["repo"].as_str().unwrap();
            let Source::Repo { repo, gguf, .. } = declared(&places, asked).source else {
                panic!("{asked} is a folder");
            };
            let found = gguf.map_or(repo.clone(), |tag| format!("{repo}:{tag}"));
            assert_eq!(found, asked);
        }
    }

    #[test]
    fn who_names_a_repository_as_its_own_goes_before_who_names_it_besides() {
        let root = std::env::temp_dir().join(format!("monocle-besides-{}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        let write = |name: &str, source: &str| {
            let text = format!(
                "schema = 1\nname = \"{name}\"\nplugin = \"p\"\n[source]\n{source}\n[image]\nmax_images = 3\n"
            );
            std::fs::write(root.join(format!("{name}.toml")), text).unwrap();
        };
        write(
            "a",
            "repo = \"org/a\"\nrevision = \"v1\"\nalso = [\"org/a-4bit\", \"org/b\"]",
        );
        write("b", "repo = \"org/b\"\nalso = [\"org/a-4bit\"]");
        let places = places(root.clone());
        let told = |asked: &str| {
            let manifest = declared(&places, asked);
            let Source::Repo { repo, revision, .. } = manifest.source else {
                panic!("{asked} is a folder");
            };
            assert_eq!(manifest.image.max_images, Some(3));
            (manifest.name, repo, revision)
        };
        let is =
            |name: &str, repo: &str, revision: &str| (name.to_owned(), repo.to_owned(), revision.to_owned());
        assert_eq!(told("org/a"), is("a", "org/a", "v1"));
        assert_eq!(told("org/a-4bit"), is("org/a-4bit", "org/a-4bit", "main"));
        assert_eq!(told("org/b"), is("b", "org/b", "main"));
        let address = "https://huggingface.co/org/a-4bit/tree/x";
        assert_eq!(told(address), is("org/a-4bit", "org/a-4bit", "x"));
        let others = places.stored_otherwise();
        let others: Vec<&str> = others.iter().map(|other| other.manifest.name.as_str()).collect();
        assert_eq!(others, ["org/a-4bit"]);
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn a_file_that_is_no_model_is_not_asked_of_the_hub() {
        let root = std::env::temp_dir().join(format!("monocle-a-file-{}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        let file = root.join("model.safetensors");
        std::fs::write(&file, "").unwrap();
        let places = places(root.clone());
        let found = places.meant(&file.display().to_string());
        assert!(matches!(found, Err(ModelError::File { path }) if path == file));
        let none = places.meant(&root.join("none.gguf").display().to_string());
        assert!(matches!(none, Err(ModelError::NoFile { .. })));
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn a_snapshot_is_read_with_what_names_it_and_holds_its_bytes() {
        let home = Path::new("/cache/models--org--name");
        let expected = [home.join("blobs"), home.join("refs")];
        for folder in ["snapshots/0123", "snapshots/0123/Q4_K_M"] {
            assert_eq!(beside_snapshots(&home.join(folder)), expected, "{folder}");
        }
        assert_eq!(beside_snapshots(Path::new("/models/name")), [] as [PathBuf; 0]);
    }

    #[test]
    fn near_names_are_offered() {
        assert!(similar("shapes", "shape"));
        assert!(similar("something-500m", "somthing-500m"));
        assert!(!similar("shapes", "qqq"));
    }
}
