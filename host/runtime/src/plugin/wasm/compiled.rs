//! Compiled plugins, kept between runs. Such a file is native code: it is run only where it is certain that this program wrote it, for this
//! plugin, under this user's account.
//!
//! An entry is a header and the code. The header has SHA-256 of the plugin's file and of the code, and a code of authentication (HMAC, RFC 2104)
//! over them and the compiler's settings, under a random key that lies beside the entries and that only the user can read. A damaged entry, or
//! somebody else's, does not fit and is made anew.

use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::plugin::file::hex;
use crate::plugin::private::{self, own};

const MAGIC: &[u8; 8] = b"mnclcwa1";
const HASH: usize = 32;
const HEADER: usize = MAGIC.len() + 3 * HASH;
/// Larger entries are not ours.
const LARGEST: u64 = 1 << 30;
/// Entries that are kept; the oldest go.
const ENTRIES: usize = 128;

/// What lies in a store.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Examined {
    /// Entries as they were written.
    pub sound: usize,
    /// Entries of other versions of this program, or for another processor: they are not looked at.
    pub others: usize,
    /// Entries that are not what was written: the plugin is compiled again, and they are replaced, when it is next used.
    pub damaged: Vec<PathBuf>,
}

/// Where compiled code is kept, and may be: a folder that nobody else can write to.
pub struct Store {
    folder: PathBuf,
    key: [u8; HASH],
}

impl Store {
    /// Opens the folder, made if need be; the error says why it is not used.
    pub fn open(folder: &Path) -> Result<Self, String> {
        private::make(folder)?;
        let path = folder.join("key");
        let key = match read_key(&path) {
            Err(_) if !path.exists() => make_key(folder, &path),
            key => key,
        };
        let key = key.map_err(|reason| format!("`{}` {reason}: delete the folder", path.display()))?;
        Ok(Self {
            folder: folder.to_owned(),
            key,
        })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The compiled code of a plugin's file, if it is there and as it was written.
    pub fn load(&self, engine: &Engine, wasm: &[u8]) -> Option<Component> {
        let plugin = Sha256::digest(wasm);
        let entry = read_entry(&self.path(engine, &plugin))?;
        let (found, code) = self.authentic(engine, &entry)?;
        if found != &plugin[..] {
            return None;
        }
        // SAFETY: these bytes are what `Engine::precompile_component` gave, with these settings and for this file: only this user's
        // programs can have the key under which the header, with the hash of the bytes, was authenticated. They are a copy in memory,
        // which nobody can change after the check.
        unsafe { Component::deserialize(engine, code) }.ok()
    }

    /// Keeps compiled code. What cannot be kept is compiled again: that costs time, nothing else.
    pub fn keep(&self, engine: &Engine, wasm: &[u8], code: &[u8]) {
        let hashes: Vec<u8> = [Sha256::digest(wasm), Sha256::digest(code)].concat();
        let tag = self.authentication(engine, &hashes).finalize().into_bytes();
        let path = self.path(engine, &hashes[..HASH]);
        let new = path.with_extension(format!("{}.new", std::process::id()));
        let write = || {
            let mut file = OpenOptions::new();
            let mut file = file.write(true).create_new(true).mode(0o600).open(&new)?;
            [MAGIC, &hashes[..], &tag[..], code]
                .into_iter()
                .try_for_each(|part| file.write_all(part))?;
            std::fs::rename(&new, &path)
        };
        if write().is_err() {
            let _ = std::fs::remove_file(&new);
        }
        self.remove_oldest();
    }

    /// The hash of the plugin and the code of an entry, if this program wrote it.
    fn authentic<'a>(&self, engine: &Engine, entry: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let (header, code) = entry.split_at_checked(HEADER)?;
        let (hashes, tag) = header.strip_prefix(MAGIC)?.split_at(2 * HASH);
        let fits = hashes[HASH..] == Sha256::digest(code)[..];
        let written = fits && self.authentication(engine, hashes).verify_slice(tag).is_ok();
        written.then_some((&hashes[..HASH], code))
    }

    /// Looks at every entry.
    pub fn examine(&self, engine: &Engine) -> Examined {
        let mut examined = Examined::default();
        let ending = format!("-{:016x}.code", settings(engine));
        for path in entries(&self.folder) {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let Some(plugin) = name.as_deref().and_then(|name| name.strip_suffix(&ending)) else {
                examined.others += 1;
                continue;
            };
            let entry = read_entry(&path);
            let found = entry.as_deref().and_then(|entry| self.authentic(engine, entry));
            match found.is_some_and(|(hash, _)| hex(hash) == plugin) {
                true => examined.sound += 1,
                false => examined.damaged.push(path),
            }
        }
        examined.damaged.sort();
        examined
    }

    fn authentication(&self, engine: &Engine, hashes: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("a key of any length will do");
        mac.update(MAGIC);
        mac.update(&settings(engine).to_le_bytes());
        mac.update(hashes);
        mac
    }

    fn path(&self, engine: &Engine, plugin: &[u8]) -> PathBuf {
        let name = format!("{}-{:016x}.code", hex(plugin), settings(engine));
        self.folder.join(name)
    }

    fn remove_oldest(&self) {
        let dated = |path: PathBuf| Some((std::fs::symlink_metadata(&path).ok()?.modified().ok()?, path));
        let mut entries: Vec<_> = entries(&self.folder).filter_map(dated).collect();
        entries.sort();
        for (_, path) in entries.iter().rev().skip(ENTRIES) {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(|path| path.extension().is_some_and(|end| end == "code"))
}

fn read_entry(path: &Path) -> Option<Vec<u8>> {
    // Looked at before it is opened: a named pipe would wait for a writer.
    let found = std::fs::metadata(path).ok()?;
    if !found.is_file() || found.len() > LARGEST {
        return None;
    }
    let mut entry = Vec::new();
    File::open(path)
        .ok()?
        .take(LARGEST)
        .read_to_end(&mut entry)
        .ok()?;
    Some(entry)
}

/// A number for compiler, processor and settings. Another one is another entry.
fn settings(engine: &Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

fn read_key(path: &Path) -> Result<[u8; HASH], String> {
    let found = std::fs::symlink_metadata(path).map_err(|error| error.to_string())?;
    if !found.is_file() || found.len() != HASH as u64 {
        return Err("is not a key".to_owned());
    }
    own(&found)?;
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    bytes.try_into().map_err(|_| "is not a key".to_owned())
}

/// A new key, unless another process is first.
fn make_key(folder: &Path, path: &Path) -> Result<[u8; HASH], String> {
    let mut key = [0; HASH];
    getrandom::fill(&mut key).map_err(|error| error.to_string())?;
    let new = folder.join(format!("key.{}.new", std::process::id()));
    let mut file = OpenOptions::new();
    let written = file.write(true).create_new(true).mode(0o600).open(&new);
    let written = written.and_then(|mut file| file.write_all(&key));
    // A link, as it never takes another's place.
    let linked = written.and_then(|()| std::fs::hard_link(&new, path));
    let _ = std::fs::remove_file(&new);
    match linked {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error.to_string()),
        _ => read_key(path),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("monocle-compiled-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            Self(path)
        }

        fn entry(&self) -> PathBuf {
            let entries = std::fs::read_dir(&self.0).expect("it is there");
            let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
            paths
                .find(|path| path.extension().is_some_and(|end| end == "code"))
                .expect("an entry")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// Components of nothing; a section that nobody reads tells them apart.
    fn component(name: u8) -> Vec<u8> {
        let mut wasm = b"\0asm\x0d\0\x01\0".to_vec();
        wasm.extend([0, 3, 1, name, 0]);
        wasm
    }

    #[test]
    fn no_flipped_bit_is_run() {
        let folder = Folder::new("bits");
        let (engine, wasm) = (Engine::default(), component(b'a'));
        let store = Store::open(&folder.0).expect("a folder of its own");
        assert!(store.load(&engine, &wasm).is_none());
        let code = engine.precompile_component(&wasm).expect("it compiles");
        store.keep(&engine, &wasm, &code);
        assert!(store.load(&engine, &wasm).is_some());
        let entry = std::fs::read(folder.entry()).expect("it was written");
        // Each of the header; some of the code, which one hash covers.
        let rest = (HEADER * 8..entry.len() * 8).step_by(997);
        let bits: Vec<usize> = (0..HEADER * 8).chain(rest).collect();
        for (number, bit) in bits.into_iter().enumerate() {
            let mut bad = entry.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(folder.entry(), &bad).expect("it can be written");
            assert!(store.load(&engine, &wasm).is_none(), "bit {bit}");
            if number % 64 == 0 {
                let examined = store.examine(&engine);
                assert_eq!(
                    (examined.sound, examined.damaged),
                    (0, vec![folder.entry()]),
                    "bit {bit}"
                );
            }
        }
        for length in [0, 7, HEADER - 1, HEADER, entry.len() - 1] {
            std::fs::write(folder.entry(), &entry[..length]).expect("it can be written");
            assert!(store.load(&engine, &wasm).is_none(), "{length} bytes");
        }
        // What is compiled again takes its place.
        store.keep(&engine, &wasm, &code);
        assert!(store.load(&engine, &wasm).is_some());
        std::fs::write(folder.0.join("0-0.code"), "of another time").expect("it can be written");
        let expected = Examined {
            sound: 1,
            others: 1,
            damaged: vec![],
        };
        assert_eq!(store.examine(&engine), expected);
    }

    #[test]
    fn another_plugins_or_another_users_code_is_not_run() {
        let (ours, theirs) = (Folder::new("ours"), Folder::new("theirs"));
        let (engine, wasm, other) = (Engine::default(), component(b'a'), component(b'b'));
        let store = Store::open(&ours.0).expect("a folder of its own");
        let code = engine.precompile_component(&other).expect("it compiles");
        store.keep(&engine, &other, &code);
        let path = store.path(&engine, &Sha256::digest(&wasm));
        std::fs::rename(ours.entry(), &path).expect("it can be moved");
        assert!(store.load(&engine, &wasm).is_none());
        // The right hashes under another key.
        let stranger = Store::open(&theirs.0).expect("a folder of its own");
        stranger.keep(&engine, &wasm, &code);
        std::fs::copy(theirs.entry(), &path).expect("it can be copied");
        assert!(stranger.load(&engine, &wasm).is_some());
        assert!(store.load(&engine, &wasm).is_none());
    }

    #[test]
    fn a_folder_that_others_can_use_is_not_used() {
        let folder = Folder::new("modes");
        drop(Store::open(&folder.0).expect("a folder of its own"));
        let set = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
        };
        for mode in [0o777, 0o750, 0o701] {
            set(&folder.0, mode);
            let reason = Store::open(&folder.0).err().expect("others can use it");
            assert!(reason.contains("others than its owner"), "{reason}");
        }
        set(&folder.0, 0o700);
        set(&folder.0.join("key"), 0o644);
        assert!(Store::open(&folder.0).is_err());
        set(&folder.0.join("key"), 0o600);
        assert!(Store::open(&folder.0).is_ok());
        let linked = Folder::new("linked");
        std::os::unix::fs::symlink(&folder.0, &linked.0).expect("a link");
        let reason = Store::open(&linked.0).err().expect("it is a link");
        std::fs::remove_file(&linked.0).expect("it is ours");
        assert!(reason.contains("not a folder"), "{reason}");
    }
}
