//! One file with a plugin and what belongs to it: a tar archive, not compressed, so that nothing in it is larger than the file.
//!
//! `package.json` says what it is, `plugin.wasm` is the component. Beside them may lie `manifests/NAME.toml`, `manifests/NAME.jinja`,
//! `manifests/tools/NAME.toml`, `LICENSE` and `report.json`. Nothing else may be in it: no other name, no folder outside, no link. The same
//! files give the same bytes, so what is signed is what is hashed.

use std::collections::BTreeMap;
use std::io::Read;

use monocle_manifest::Manifest;
use monocle_manifest::schema::Source;
use serde::{Deserialize, Serialize};
use tar::{Archive, Builder, EntryType, Header};

use crate::PackageError;

/// Bytes of a component.
const LARGEST_PLUGIN: u64 = 64 << 20;
/// Bytes of any other file.
const LARGEST_FILE: u64 = 1 << 20;
/// Files of one package.
const MOST_FILES: usize = 256;
/// Bytes of a whole package: what no file in it can exceed.
pub const LARGEST: u64 = LARGEST_PLUGIN + (16 << 20);

/// The component's place in a package.
pub const PLUGIN: &str = "plugin.wasm";
const ABOUT: &str = "package.json";
const LICENCE: &str = "LICENSE";
const REPORT: &str = "report.json";

/// What a package says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// 1
    pub format: u32,
    /// The plugin's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The contract that it was built for.
    pub contract: String,
    /// `adapter` or `model`.
    pub kind: String,
}

/// A plugin and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    about: About,
    /// By their places in the package, without `package.json`.
    files: BTreeMap<String, Vec<u8>>,
}

impl Package {
    /// A package of a component, checked: it must be stamped, and call itself what it is called.
    pub fn new(component: Vec<u8>, others: BTreeMap<String, Vec<u8>>) -> Result<Self, PackageError> {
        let stamp = stamp(&component).map_err(|reason| not_a_package("the plugin", reason))?;
        let about = About {
            format: 1,
            name: stamp.name,
            version: stamp.version,
            contract: stamp.contract,
            kind: stamp.kind,
        };
        let mut files = others;
        files.insert(PLUGIN.to_owned(), component);
        let package = Self { about, files };
        package
            .check()
            .map_err(|reason| not_a_package("the package", reason))?;
        Ok(package)
    }

    /// What it says of itself.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// The component.
    pub fn component(&self) -> &[u8] {
        &self.files[PLUGIN]
    }

    /// Manifests, templates and tables of tools, by their places below `manifests`.
    pub fn manifests(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files
            .iter()
            .filter_map(|(name, bytes)| Some((name.strip_prefix("manifests/")?, bytes.as_slice())))
    }

    /// What its test said when it was packed.
    pub fn report(&self) -> Option<&[u8]> {
        self.files.get(REPORT).map(Vec::as_slice)
    }

    /// Its licence.
    pub fn licence(&self) -> Option<&[u8]> {
        self.files.get(LICENCE).map(Vec::as_slice)
    }

    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        archive(&self.about, &self.files)
    }

    /// The file without the component, which registries hold apart.
    pub fn rest_to_bytes(&self) -> Vec<u8> {
        let mut rest = self.files.clone();
        rest.remove(PLUGIN);
        archive(&self.about, &rest)
    }

    /// Reads a file; `name` is what people call it.
    pub fn read(bytes: &[u8], name: &str) -> Result<Self, PackageError> {
        Self::read_with(bytes, None, name)
    }

    /// Reads a file without a component, and a component.
    pub fn read_parts(rest: &[u8], component: Vec<u8>, name: &str) -> Result<Self, PackageError> {
        Self::read_with(rest, Some(component), name)
    }

    fn read_with(bytes: &[u8], component: Option<Vec<u8>>, name: &str) -> Result<Self, PackageError> {
        let read = || -> Result<Self, String> {
            let mut files = unpack(bytes)?;
            let about = files.remove(ABOUT).ok_or("it has no `package.json`")?;
            let about: About =
                serde_json::from_slice(&about).map_err(|error| format!("`package.json`: {error}"))?;
            if let Some(component) = component
                && files.insert(PLUGIN.to_owned(), component).is_some()
            {
                return Err("it has two components".to_owned());
            }
            let package = Self { about, files };
            package.check()?;
            // What was signed is what is installed: there is one way to write the same files.
            Ok(package)
        };
        read().map_err(|reason| not_a_package(name, reason))
    }

    fn check(&self) -> Result<(), String> {
        let about = &self.about;
        if about.format != 1 {
            return Err(format!(
                "it is of format {}, and this version of Monocle knows 1",
                about.format
            ));
        }
        let component = self.files.get(PLUGIN).ok_or("it has no `plugin.wasm`")?;
        let stamp = stamp(component)?;
        let claims = [
            ("name", &about.name, &stamp.name),
            ("version", &about.version, &stamp.version),
            ("contract", &about.contract, &stamp.contract),
            ("kind", &about.kind, &stamp.kind),
        ];
        for (what, claimed, found) in claims {
            if claimed != found {
                return Err(format!(
                    "its {what} is said to be `{}`, and the plugin in it says `{}`",
                    plain(claimed),
                    plain(found)
                ));
            }
        }
        if !is_name(&about.name) {
            return Err(format!("a plugin cannot be called `{}`", plain(&about.name)));
        }
        if self.files.len() > MOST_FILES {
            return Err(format!(
                "it has {} files, more than {MOST_FILES}",
                self.files.len()
            ));
        }
        for (name, bytes) in &self.files {
            let most = match name == PLUGIN {
                true => LARGEST_PLUGIN,
                false => LARGEST_FILE,
            };
            if bytes.len() as u64 > most {
                return Err(format!("`{name}` has {} bytes, more than {most}", bytes.len()));
            }
            if !belongs(name) {
                return Err(format!("`{}` does not belong into a package", plain(name)));
            }
        }
        for (name, bytes) in self.manifests().filter(|(name, _)| is_manifest(name)) {
            check_manifest(name, bytes)?;
        }
        Ok(())
    }
}

/// What a stamp says, as far as it matters here. Whether it is sound, the host says when it loads the plugin.
#[derive(Deserialize)]
struct Stamped {
    name: String,
    version: String,
    contract: String,
    kind: String,
}

fn stamp(component: &[u8]) -> Result<Stamped, String> {
    let section = monocle_component::section(component).map_err(|error| error.to_string())?;
    let section = section.ok_or("the component has no stamp: `monocle plugins stamp` gives it one")?;
    serde_json::from_slice(section).map_err(|error| format!("the component's stamp is malformed: {error}"))
}

/// Models of other people's machines are no models: a manifest in a package names a repository.
fn check_manifest(name: &str, bytes: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(bytes).map_err(|_| format!("`{name}` is no text"))?;
    let manifest = Manifest::from_str(text, name).map_err(|error| error.to_string())?;
    match manifest.source {
        Source::Repo { .. } => Ok(()),
        Source::Path(path) => Err(format!(
            "`{name}` names the folder `{}` as its source: what is shared names a repository (`repo = \"organisation/name\"`)",
            plain(&path.display().to_string())
        )),
    }
}

/// A manifest of a model, not a table of tools.
fn is_manifest(name: &str) -> bool {
    name.ends_with(".toml") && !name.contains('/')
}

/// Places that a package's file may have.
fn belongs(name: &str) -> bool {
    let file = |name: &str, ends: &[&str]| {
        ends.iter().any(|end| {
            name.strip_suffix(end)
                .is_some_and(|stem| is_name(stem) && !stem.is_empty())
        })
    };
    match name.split('/').collect::<Vec<_>>()[..] {
        [file] => [PLUGIN, LICENCE, REPORT, ABOUT].contains(&file),
        ["manifests", name] => file(name, &[".toml", ".jinja"]),
        ["manifests", "tools", name] => file(name, &[".toml"]),
        _ => false,
    }
}

/// A plain name: nothing that leads elsewhere.
pub(crate) fn is_name(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=64).contains(&name.len()) && !name.starts_with('.') && name.chars().all(letter)
}

fn plain(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

fn not_a_package(name: &str, reason: impl Into<String>) -> PackageError {
    PackageError::NotAPackage {
        source_name: name.to_owned(),
        reason: reason.into(),
    }
}

/// The same files give the same bytes: in the order of their names, of no time and nobody's.
fn archive(about: &About, files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let about = serde_json::to_vec_pretty(about).expect("it is plain data");
    let mut builder = Builder::new(Vec::new());
    let all = [(ABOUT, about.as_slice())].into_iter();
    for (name, bytes) in all.chain(
        files
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice())),
    ) {
        let mut header = Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_entry_type(EntryType::Regular);
        builder
            .append_data(&mut header, name, bytes)
            .expect("names are short, and memory is written to");
    }
    builder.into_inner().expect("memory is written to")
}

/// The files of an archive. Nothing is written anywhere; a name is only a name.
fn unpack(bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let damaged = |error: std::io::Error| format!("it is no sound archive: {error}");
    let mut files = BTreeMap::new();
    for entry in Archive::new(bytes).entries().map_err(damaged)? {
        let entry = entry.map_err(damaged)?;
        let name =
            String::from_utf8(entry.path_bytes().into_owned()).map_err(|_| "a name in it is no text")?;
        if entry.header().entry_type() != EntryType::Regular {
            return Err(format!("`{}` in it is no plain file", plain(&name)));
        }
        if !belongs(&name) {
            return Err(format!("`{}` does not belong into a package", plain(&name)));
        }
        let size = entry.size();
        let most = if name == PLUGIN {
            LARGEST_PLUGIN
        } else {
            LARGEST_FILE
        };
        if size > most {
            return Err(format!("`{name}` has {size} bytes, more than {most}"));
        }
        let mut content = Vec::new();
        entry.take(most + 1).read_to_end(&mut content).map_err(damaged)?;
        if content.len() as u64 != size {
            return Err(format!("`{name}` is cut short"));
        }
        if files.len() == MOST_FILES {
            return Err(format!("it has more than {MOST_FILES} files"));
        }
        if files.insert(name.clone(), content).is_some() {
            return Err(format!("`{name}` is in it twice"));
        }
    }
    Ok(files)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A component with a stamp and nothing else.
    pub fn component(name: &str, version: &str) -> Vec<u8> {
        let stamp = monocle_component::NewStamp {
            name: name.to_owned(),
            version: version.to_owned(),
            model_types: vec![],
            filters_output: false,
            answers_parts: false,
        };
        let text = r#"(component (instance $p) (export "monocle:plugin/processor@0.2.0" (instance $p)))"#;
        let bytes = wat::parse_str(text).expect("the text is well-formed");
        monocle_component::stamp(&bytes, &stamp).expect("it can be stamped")
    }

    pub fn others() -> BTreeMap<String, Vec<u8>> {
        let manifest = "schema = 1\nname = \"m\"\nplugin = \"a\"\n[source]\nrepo = \"org/name\"\n";
        BTreeMap::from([
            ("manifests/m.toml".to_owned(), manifest.into()),
            ("manifests/chat.jinja".to_owned(), b"{{ x }}".to_vec()),
            ("LICENSE".to_owned(), b"MIT".to_vec()),
        ])
    }

    fn refusal(bytes: &[u8]) -> String {
        Package::read(bytes, "x").expect_err("it is refused").to_string()
    }

    #[test]
    fn packages_come_back_as_they_were() {
        let package = Package::new(component("a", "1.0.0"), others()).unwrap();
        let bytes = package.to_bytes();
        let read = Package::read(&bytes, "x").unwrap();
        assert_eq!(read, package);
        assert_eq!(read.to_bytes(), bytes);
        assert_eq!(read.about().kind, "adapter");
        let names: Vec<_> = read.manifests().map(|(name, _)| name).collect();
        assert_eq!(names, ["chat.jinja", "m.toml"]);
        let parts = Package::read_parts(&package.rest_to_bytes(), package.component().to_vec(), "x").unwrap();
        assert_eq!(parts.to_bytes(), bytes);
    }

    /// An archive with anything in it.
    fn raw(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, kind, content) in entries {
            let mut header = Header::new_ustar();
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(content.len() as u64);
            header.set_mode(0o777);
            header.set_entry_type(*kind);
            if *kind == EntryType::Symlink {
                header.set_link_name("/etc/passwd").unwrap();
            }
            header.set_cksum();
            bytes.extend_from_slice(header.as_bytes());
            bytes.extend_from_slice(content);
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    }

    #[test]
    fn nothing_leads_outside() {
        for name in [
            "../x",
            "/etc/x",
            "manifests/../../x.toml",
            "manifests/a/b.toml",
            "manifests/.toml",
            "manifests/..toml",
            "manifests/x.sh",
            "C:\\x",
            "manifests\\x.toml",
            "plugin.wasm/x",
        ] {
            let words = refusal(&raw(&[(name, EntryType::Regular, b"x")]));
            assert!(
                words.contains("does not belong") || words.contains("no sound archive"),
                "{name}: {words}"
            );
        }
        for kind in [
            EntryType::Symlink,
            EntryType::Link,
            EntryType::Directory,
            EntryType::Fifo,
        ] {
            let words = refusal(&raw(&[("LICENSE", kind, b"")]));
            assert!(words.contains("no plain file"), "{kind:?}: {words}");
        }
        let twice = raw(&[
            ("LICENSE", EntryType::Regular, b"a"),
            ("LICENSE", EntryType::Regular, b"b"),
        ]);
        assert!(refusal(&twice).contains("twice"));
    }

    #[test]
    fn names_that_lie_are_refused() {
        let package = Package::new(component("a", "1.0.0"), others()).unwrap();
        let about = |name: &str, version: &str| {
            let about = About {
                name: name.to_owned(),
                version: version.to_owned(),
                ..package.about.clone()
            };
            refusal(&archive(&about, &package.files))
        };
        assert!(about("b", "1.0.0").contains("its name is said to be `b`, and the plugin in it says `a`"));
        assert!(about("a", "2.0.0").contains("its version is said to be `2.0.0`"));
    }

    #[test]
    fn manifests_of_folders_are_not_shared() {
        let mut files = others();
        files.insert(
            "manifests/m.toml".to_owned(),
            b"schema = 1\nname = \"m\"\nplugin = \"a\"\n[source]\npath = \"/home/me\"\n".to_vec(),
        );
        let words = Package::new(component("a", "1.0.0"), files)
            .unwrap_err()
            .to_string();
        assert!(words.contains("names the folder `/home/me`"), "{words}");
    }

    #[test]
    fn what_is_too_large_is_refused_before_it_is_read() {
        let mut bytes = raw(&[("LICENSE", EntryType::Regular, b"x")]);
        // The size in octal, at its place in a header of ustar.
        bytes[124..136].copy_from_slice(b"77777777777\0");
        let mut header = Header::new_ustar();
        header.as_mut_bytes().copy_from_slice(&bytes[..512]);
        header.set_cksum();
        bytes[..512].copy_from_slice(header.as_bytes());
        assert!(refusal(&bytes).contains("more than"), "{}", refusal(&bytes));
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
            prop_assert!(Package::read(&bytes, "x").is_err());
        }

        #[test]
        fn no_flipped_byte_changes_what_is_said_unnoticed(place in 0_usize..4096, bit in 0_u8..8) {
            let package = Package::new(component("a", "1.0.0"), others()).unwrap();
            let mut bytes = package.to_bytes();
            let place = place % bytes.len();
            bytes[place] ^= 1 << bit;
            if let Ok(read) = Package::read(&bytes, "x") {
                // The same names: what differs is in a file, or is nothing that is read.
                prop_assert_eq!(read.about(), package.about());
            }
        }
    }
}
