//! What is installed in a home folder, and the list that says so: `~/.config/monocle/plugins.lock`, in JSON.
//!
//! The list has the hash of every file, and of itself: an edit shows. It protects against accidents, not against somebody who can write into
//! the home folder, who needs no list.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::package::is_name;
use crate::signature::Key;
use crate::source::{Fetched, read_file};
use crate::{PackageError, sha256};

/// Where a user's plugins and manifests are.
#[derive(Debug, Clone)]
pub struct Home {
    plugins: PathBuf,
    manifests: PathBuf,
    list: PathBuf,
}

/// What is installed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    format: u32,
    /// By the plugins' names.
    pub packages: BTreeMap<String, Entry>,
    /// SHA-256 of `packages` as JSON.
    sum: String,
}

/// One installed package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its version.
    pub version: String,
    /// Where it came from.
    pub source: String,
    /// SHA-256 of the package.
    pub package: String,
    /// The key that signed it, where one was asked for. Later versions must be signed by it, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// SHA-256 of each file: `plugins/NAME.wasm`, `manifests/NAME.toml` and so on.
    pub files: BTreeMap<String, String>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// It was not there before.
    Installed,
    /// Another version was.
    Replaced(String),
    /// The very same was.
    Current,
}

/// What is wrong with what is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The package.
    pub package: String,
    /// In words.
    pub problem: String,
}

impl Home {
    /// Below a user's home folder.
    pub fn of(home: &Path) -> Self {
        let config = home.join(".config/monocle");
        Self {
            plugins: home.join(".local/share/monocle/plugins"),
            manifests: config.join("manifests"),
            list: config.join("plugins.lock"),
        }
    }

    /// The list's file.
    pub fn list_path(&self) -> &Path {
        &self.list
    }

    /// The list; empty where nothing was installed.
    pub fn list(&self) -> Result<List, PackageError> {
        let list = self.unchecked_list()?;
        let changed = |reason: &str| PackageError::Lock {
            path: self.list.clone(),
            reason: reason.to_owned(),
        };
        if list.sum != list.own_sum() {
            return Err(changed("its sum is not that of its content"));
        }
        Ok(list)
    }

    fn unchecked_list(&self) -> Result<List, PackageError> {
        let text = match std::fs::read(&self.list) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(List::of(BTreeMap::new()));
            }
            Err(error) => return Err(PackageError::io("read", &self.list, error)),
        };
        let changed = |reason: String| PackageError::Lock {
            path: self.list.clone(),
            reason,
        };
        let list: List = serde_json::from_slice(&text).map_err(|error| changed(error.to_string()))?;
        if list.format != 1 {
            return Err(changed(format!("it is of format {}, expected 1", list.format)));
        }
        let files = list
            .packages
            .iter()
            .flat_map(|(name, entry)| entry.files.keys().map(move |file| (name, file)));
        for (name, file) in files {
            if self.place(name, file).is_none() {
                return Err(changed(format!(
                    "`{}` cannot be a file of `{}`",
                    plain(file),
                    plain(name)
                )));
            }
        }
        Ok(list)
    }

    /// Where a file of a package lies; `None` for a name that none can have.
    fn place(&self, package: &str, file: &str) -> Option<PathBuf> {
        let parts: Vec<&str> = file.split('/').collect();
        match parts[..] {
            ["plugins", name] if is_name(package) && name == format!("{package}.wasm") => {
                Some(self.plugins.join(name))
            }
            ["manifests", name] if is_name(name) => Some(self.manifests.join(name)),
            ["manifests", "tools", name] if is_name(name) => Some(self.manifests.join("tools").join(name)),
            _ => None,
        }
    }

    /// Installs a package. `shipped` says which plugins come with the program: their names are not to be had.
    pub fn install(
        &self,
        fetched: &Fetched,
        source: &str,
        key: Option<&Key>,
        shipped: &dyn Fn(&str) -> bool,
    ) -> Result<Done, PackageError> {
        let about = fetched.package.about();
        let mut list = self.list()?;
        let before = list.packages.get(&about.name).cloned();
        if shipped(&about.name) {
            return Err(PackageError::Refused(format!(
                "`{}` is a plugin that comes with Monocle: another of that name would never be used",
                about.name
            )));
        }
        let signed_by = self.check_signature(fetched, source, key, before.as_ref())?;
        let package = fetched.sha256();
        if let Some(before) = &before {
            if before.package == package && before.key == signed_by {
                return Ok(Done::Current);
            }
            if before.version == about.version && before.package != package {
                return Err(PackageError::Refused(format!(
                    "`{name}` {version} is installed, and `{source}` has the same version with other content (sha256 {new}, installed {old}): what is \
                     published under a version should not change\n\nhint: ask its author; `monocle plugins remove {name}` makes room if you know why",
                    name = about.name,
                    version = about.version,
                    new = &package[..12],
                    old = &before.package[..before.package.len().min(12)],
                )));
            }
        }
        let mut files: BTreeMap<String, &[u8]> = BTreeMap::new();
        files.insert(
            format!("plugins/{}.wasm", about.name),
            fetched.package.component(),
        );
        files.extend(
            fetched
                .package
                .manifests()
                .map(|(name, bytes)| (format!("manifests/{name}"), bytes)),
        );
        let owned = |file: &str| {
            before
                .as_ref()
                .is_some_and(|before| before.files.contains_key(file))
        };
        for (file, bytes) in &files {
            let place = self.must_place(&about.name, file)?;
            // The very same is what an install left that was cut off.
            let is_same = || read_file(&place, bytes.len() as u64).is_ok_and(|found| found == **bytes);
            if !owned(file) && place.exists() && !is_same() {
                return Err(PackageError::Refused(format!(
                    "`{}` is there already, and is not of `{}`: it is left as it is",
                    place.display(),
                    about.name
                )));
            }
        }
        for (file, bytes) in &files {
            write(&self.must_place(&about.name, file)?, bytes)?;
        }
        for file in before.iter().flat_map(|before| before.files.keys()) {
            if !files.contains_key(file) {
                let place = self.must_place(&about.name, file)?;
                remove(&place)?;
            }
        }
        let entry = Entry {
            version: about.version.clone(),
            source: source.to_owned(),
            package,
            key: signed_by,
            files: files
                .iter()
                .map(|(file, bytes)| (file.clone(), sha256(bytes)))
                .collect(),
        };
        list.packages.insert(about.name.clone(), entry);
        self.write_list(list)?;
        Ok(match before {
            None => Done::Installed,
            Some(before) => Done::Replaced(before.version),
        })
    }

    /// The key that signed it, where one was asked for, now or when it was installed first.
    fn check_signature(
        &self,
        fetched: &Fetched,
        source: &str,
        key: Option<&Key>,
        before: Option<&Entry>,
    ) -> Result<Option<String>, PackageError> {
        let known = before
            .and_then(|before| before.key.as_deref())
            .map(Key::read)
            .transpose()?;
        let Some(key) = key.or(known.as_ref()) else {
            return Ok(None);
        };
        let Some(signature) = &fetched.signature else {
            return Err(PackageError::Signature(format!(
                "`{source}` is not signed, and the key {} was asked for",
                key.text
            )));
        };
        key.check(&fetched.bytes, signature, source)?;
        Ok(Some(key.text.clone()))
    }

    /// Removes a package; gives the files that were changed since, which stay.
    pub fn remove(&self, name: &str) -> Result<Vec<PathBuf>, PackageError> {
        let mut list = self.list()?;
        let Some(entry) = list.packages.remove(name) else {
            return Err(PackageError::Refused(format!(
                "no package `{}` is installed\n\nhint: `monocle plugins list` shows those that are",
                plain(name)
            )));
        };
        let mut kept = Vec::new();
        for (file, hash) in &entry.files {
            let place = self.must_place(name, file)?;
            match hash_of(&place)? {
                Some(found) if found != *hash => kept.push(place),
                _ => remove(&place)?,
            }
        }
        self.write_list(list)?;
        Ok(kept)
    }

    /// What of the installed files is not as it was installed.
    pub fn verify(&self) -> Result<Vec<Finding>, PackageError> {
        let mut findings = Vec::new();
        for (name, entry) in &self.list()?.packages {
            for (file, hash) in &entry.files {
                let place = self.must_place(name, file)?;
                let problem = match hash_of(&place)? {
                    None => format!("`{}` is gone", place.display()),
                    Some(found) if found != *hash => {
                        format!(
                            "`{}` was changed: sha256 {}, installed {}",
                            place.display(),
                            &found[..12],
                            &hash[..hash.len().min(12)]
                        )
                    }
                    Some(_) => continue,
                };
                findings.push(Finding {
                    package: name.clone(),
                    problem,
                });
            }
        }
        Ok(findings)
    }

    /// Takes the files as they are now for what was installed; those that are gone are forgotten.
    pub fn accept(&self) -> Result<(), PackageError> {
        let mut list = self.unchecked_list()?;
        for (name, entry) in &mut list.packages {
            let mut files = BTreeMap::new();
            for file in entry.files.keys() {
                if let Some(hash) = hash_of(&self.must_place(name, file)?)? {
                    files.insert(file.clone(), hash);
                }
            }
            entry.files = files;
        }
        list.packages.retain(|_, entry| !entry.files.is_empty());
        self.write_list(list)
    }

    fn must_place(&self, package: &str, file: &str) -> Result<PathBuf, PackageError> {
        self.place(package, file).ok_or_else(|| {
            PackageError::Refused(format!(
                "`{}` cannot be a file of `{}`",
                plain(file),
                plain(package)
            ))
        })
    }

    fn write_list(&self, list: List) -> Result<(), PackageError> {
        let list = List::of(list.packages);
        let mut text = serde_json::to_string_pretty(&list).expect("it is plain data");
        text.push('\n');
        write(&self.list, text.as_bytes())
    }
}

impl List {
    fn of(packages: BTreeMap<String, Entry>) -> Self {
        let mut list = Self {
            format: 1,
            packages,
            sum: String::new(),
        };
        list.sum = list.own_sum();
        list
    }

    fn own_sum(&self) -> String {
        sha256(&serde_json::to_vec(&self.packages).expect("it is plain data"))
    }
}

/// Whether a version is newer than another. What is no version is never newer.
pub fn is_newer(version: &str, than: &str) -> bool {
    match (Version::parse(version), Version::parse(than)) {
        (Ok(version), Ok(than)) => version > than,
        _ => false,
    }
}

fn plain(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

/// SHA-256 of a file; `None` where there is none.
fn hash_of(path: &Path) -> Result<Option<String>, PackageError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(sha256(&bytes))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(PackageError::io("read", path, error)),
    }
}

fn remove(path: &Path) -> Result<(), PackageError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(PackageError::io("remove", path, error))
        }
        _ => Ok(()),
    }
}

/// Writes a file whole: whoever reads it sees the old one or the new one.
fn write(path: &Path, bytes: &[u8]) -> Result<(), PackageError> {
    let failed = |error| PackageError::io("write", path, error);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let put = || {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    };
    put().map_err(|error| {
        let _ = std::fs::remove_file(&new);
        failed(error)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use minisign::KeyPair;

    use super::*;
    use crate::Package;
    use crate::package::tests::{component, others};

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("monocle-packages-{}-{name}", std::process::id()));
            let _ = std::fs::remove_dir_all(&folder);
            std::fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        fn home(&self) -> Home {
            Home::of(&self.0)
        }

        fn file(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn fetched(name: &str, version: &str, others: BTreeMap<String, Vec<u8>>) -> Fetched {
        let package = Package::new(component(name, version), others).unwrap();
        Fetched {
            bytes: package.to_bytes(),
            package,
            signature: None,
        }
    }

    fn install(home: &Home, fetched: &Fetched) -> Result<Done, PackageError> {
        home.install(fetched, "somewhere", None, &|name| name == "shipped")
    }

    const PLUGIN: &str = ".local/share/monocle/plugins/a.wasm";
    const MANIFEST: &str = ".config/monocle/manifests/m.toml";

    #[test]
    fn what_is_installed_can_be_replaced_and_removed() {
        let folder = Folder::new("replaced");
        let home = folder.home();
        assert_eq!(
            install(&home, &fetched("a", "1.0.0", others())).unwrap(),
            Done::Installed
        );
        assert!(folder.file(PLUGIN).is_file() && folder.file(MANIFEST).is_file());
        assert_eq!(home.verify().unwrap(), []);
        assert_eq!(
            install(&home, &fetched("a", "1.0.0", others())).unwrap(),
            Done::Current
        );
        // The next version has no manifest any more.
        let next = fetched("a", "1.1.0", BTreeMap::new());
        assert_eq!(install(&home, &next).unwrap(), Done::Replaced("1.0.0".to_owned()));
        assert!(folder.file(PLUGIN).is_file() && !folder.file(MANIFEST).exists());
        assert_eq!(
            std::fs::read(folder.file(PLUGIN)).unwrap(),
            component("a", "1.1.0")
        );
        assert_eq!(home.remove("a").unwrap(), Vec::<PathBuf>::new());
        assert!(!folder.file(PLUGIN).exists());
        assert!(home.list().unwrap().packages.is_empty());
        assert!(
            home.remove("a")
                .unwrap_err()
                .to_string()
                .contains("no package `a`")
        );
    }

    #[test]
    fn what_is_in_the_way_stays() {
        let folder = Folder::new("in-the-way");
        let home = folder.home();
        write(&folder.file(MANIFEST), b"mine").unwrap();
        let words = install(&home, &fetched("a", "1.0.0", others()))
            .unwrap_err()
            .to_string();
        assert!(words.contains("is there already"), "{words}");
        assert_eq!(std::fs::read(folder.file(MANIFEST)).unwrap(), b"mine");
        assert!(!folder.file(PLUGIN).exists());
        let words = install(&home, &fetched("shipped", "1.0.0", BTreeMap::new()))
            .unwrap_err()
            .to_string();
        assert!(words.contains("comes with Monocle"), "{words}");
    }

    #[test]
    fn an_install_that_was_cut_off_can_be_done_again() {
        let folder = Folder::new("cut-off");
        let home = folder.home();
        write(&folder.file(PLUGIN), &component("a", "1.0.0")).unwrap();
        assert_eq!(
            install(&home, &fetched("a", "1.0.0", others())).unwrap(),
            Done::Installed
        );
        assert_eq!(home.verify().unwrap(), []);
    }

    #[test]
    fn a_version_with_other_content_is_reported() {
        let folder = Folder::new("other-content");
        let home = folder.home();
        install(&home, &fetched("a", "1.0.0", others())).unwrap();
        let words = install(&home, &fetched("a", "1.0.0", BTreeMap::new()))
            .unwrap_err()
            .to_string();
        assert!(words.contains("same version with other content"), "{words}");
        assert!(folder.file(MANIFEST).is_file());
    }

    #[test]
    fn changed_files_are_found_and_kept() {
        let folder = Folder::new("changed");
        let home = folder.home();
        install(&home, &fetched("a", "1.0.0", others())).unwrap();
        std::fs::write(folder.file(MANIFEST), "mine now").unwrap();
        std::fs::remove_file(folder.file(PLUGIN)).unwrap();
        let found: Vec<String> = home
            .verify()
            .unwrap()
            .into_iter()
            .map(|finding| finding.problem)
            .collect();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].contains("m.toml` was changed") && found[1].contains("a.wasm` is gone"),
            "{found:?}"
        );
        assert_eq!(home.remove("a").unwrap(), [folder.file(MANIFEST)]);
        assert_eq!(std::fs::read(folder.file(MANIFEST)).unwrap(), b"mine now");
    }

    #[test]
    fn an_edited_list_is_noticed() {
        let folder = Folder::new("edited");
        let home = folder.home();
        install(&home, &fetched("a", "1.0.0", others())).unwrap();
        let text = std::fs::read_to_string(home.list_path()).unwrap();
        let edit = |from: &str, to: &str| {
            assert!(text.contains(from), "{text}");
            std::fs::write(home.list_path(), text.replace(from, to)).unwrap();
            home.list().unwrap_err().to_string()
        };
        assert!(edit("1.0.0", "1.0.1").contains("its sum is not that of its content"));
        assert!(edit("manifests/m.toml", "manifests/../../../m.toml").contains("cannot be a file of `a`"));
        assert!(edit("plugins/a.wasm", "plugins/b.wasm").contains("cannot be a file of `a`"));
        assert!(edit("{", "[").contains("was changed by something else"));
        std::fs::write(home.list_path(), text.replace("1.0.0", "1.0.1")).unwrap();
        assert!(home.remove("a").is_err() && home.verify().is_err());
        home.accept().unwrap();
        assert_eq!(home.list().unwrap().packages["a"].version, "1.0.1");
    }

    #[test]
    fn signed_once_is_signed_for_ever() {
        let folder = Folder::new("signed");
        let home = folder.home();
        let [mine, other] = [(); 2].map(|()| KeyPair::generate_unencrypted_keypair().unwrap());
        let key = Key::read(&mine.pk.to_box().unwrap().into_string()).unwrap();
        let signed = |version: &str, pair: &KeyPair| {
            let mut fetched = fetched("a", version, others());
            let signature = minisign::sign(None, &pair.sk, Cursor::new(&fetched.bytes), None, None).unwrap();
            fetched.signature = Some(signature.into_string());
            fetched
        };
        let with_key = |fetched: &Fetched, key| home.install(fetched, "somewhere", key, &|_| false);
        assert!(
            with_key(&fetched("a", "1.0.0", others()), Some(&key))
                .unwrap_err()
                .to_string()
                .contains("is not signed")
        );
        assert!(with_key(&signed("1.0.0", &other), Some(&key)).is_err());
        with_key(&signed("1.0.0", &mine), Some(&key)).unwrap();
        // From now on it must be this key, whether one is named or not.
        assert!(with_key(&fetched("a", "1.1.0", others()), None).is_err());
        assert!(with_key(&signed("1.1.0", &other), None).is_err());
        assert_eq!(
            with_key(&signed("1.1.0", &mine), None).unwrap(),
            Done::Replaced("1.0.0".to_owned())
        );
    }

    #[test]
    fn versions_are_compared_as_such() {
        assert!(
            is_newer("1.10.0", "1.9.0") && !is_newer("1.9.0", "1.9.0") && !is_newer("1.0.0-rc.1", "1.0.0")
        );
        assert!(!is_newer("new", "1.0.0"));
    }
}
