//! Which strings may become paths. What a server or a user says is taken only if it looks as such a string must look.

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// A commit: 40 hexadecimal digits.
pub fn is_commit(text: &str) -> bool {
    is_hex(text, 40)
}

/// A file's name, without a folder, that means the same on every system: letters, digits and common signs of ASCII.
pub fn is_file_name(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+=@,()~!# ".contains(&byte);
    let bytes = name.as_bytes();
    // Windows gives these names to devices, whatever ending follows.
    const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];
    let stem = name
        .split('.')
        .next()
        .unwrap_or_default()
        .trim_end()
        .to_ascii_lowercase();
    let numbered = |device: &str| {
        let number = stem.strip_prefix(device);
        number.is_some_and(|number| number.len() == 1 && number.as_bytes()[0].is_ascii_digit())
    };
    let is_device = DEVICES.contains(&stem.as_str()) || numbered("com") || numbered("lpt");
    bytes.len() <= 200
        && bytes.iter().copied().all(known)
        && !matches!(bytes.first(), Some(b'.' | b' ' | b'~' | b'-') | None)
        && !matches!(bytes.last(), Some(b'.' | b' '))
        && !is_device
}

/// A file's name, or that of one in a folder, `FOLDER/FILE`: each as [`is_file_name`] says.
pub fn is_file_path(path: &str) -> bool {
    let mut parts = path.split('/');
    parts.by_ref().take(2).all(is_file_name) && parts.next().is_none()
}

/// Whether git can have a file of this path: relative, and nowhere upwards.
pub fn is_in_tree(path: &str) -> bool {
    !path.contains('\0') && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

fn is_hex(text: &str, digits: usize) -> bool {
    let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == digits && text.bytes().all(hexadecimal)
}

/// What a file's bytes hash to. It is also the file's name among the cache's blobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Oid {
    /// Git's name for a small file's bytes: SHA-1 over `blob SIZE\0` and the bytes.
    Git(String),
    /// SHA-256 over the bytes of a large file.
    Sha256(String),
}

impl Oid {
    /// From 40 or 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        Self::git(text).or_else(|| Self::sha256(text))
    }

    /// From 40 hexadecimal digits.
    pub fn git(text: &str) -> Option<Self> {
        is_hex(text, 40).then(|| Self::Git(text.to_owned()))
    }

    /// From 64 hexadecimal digits.
    pub fn sha256(text: &str) -> Option<Self> {
        is_hex(text, 64).then(|| Self::Sha256(text.to_owned()))
    }

    /// The digits.
    pub fn digits(&self) -> &str {
        match self {
            Self::Git(digits) | Self::Sha256(digits) => digits,
        }
    }

    /// What it is, for people.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Git(_) => "git hash",
            Self::Sha256(_) => "SHA-256",
        }
    }

    /// Begins to hash a file of `size` bytes.
    pub fn hasher(&self, size: u64) -> Hasher {
        match self {
            Self::Git(_) => {
                let mut sha1 = Sha1::new();
                sha1.update(format!("blob {size}\0"));
                Hasher::Git(sha1)
            }
            Self::Sha256(_) => Hasher::Sha256(Sha256::new()),
        }
    }
}

/// A hash under way.
pub enum Hasher {
    /// See [`Oid::Git`].
    Git(Sha1),
    /// See [`Oid::Sha256`].
    Sha256(Sha256),
}

impl Hasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Git(hash) => hash.update(bytes),
            Self::Sha256(hash) => hash.update(bytes),
        }
    }

    /// The digits.
    pub fn finish(self) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self {
            Self::Git(hash) => hex(&hash.finalize()),
            Self::Sha256(hash) => hex(&hash.finalize()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hashes_are_those_of_git_and_sha256sum() {
        // printf 'hello\n' | git hash-object --stdin; printf 'hello\n' | sha256sum
        let git = Oid::git("ce013625030ba8dba906f756967f9e9ca394464a").unwrap();
        let sha256 = Oid::sha256("5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03").unwrap();
        for oid in [git, sha256] {
            let mut hasher = oid.hasher(6);
            hasher.update(b"hel");
            hasher.update(b"lo\n");
            assert_eq!(hasher.finish(), oid.digits());
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_none() {
        let long = "x".repeat(201);
        for name in [
            "",
            ".",
            "..",
            "../x.json",
            "/x.json",
            "a/b.json",
            "a\\b.json",
            "..\\x.json",
            "C:x.json",
            "x.json:stream",
            ".hidden",
            "~x",
            "-x",
            "x.",
            "x ",
            " x",
            "x\0",
            "x\n",
            "x\u{1b}",
            "é.json",
            "x\u{202e}",
            "nul",
            "NUL.json",
            "con.json",
            "com1.json",
            "LPT9",
            "a*b",
            "a?b",
            "a|b",
            "a\"b",
            "%2e%2e",
            &long,
        ] {
            assert!(!is_file_name(name), "{name:?}");
        }
        for name in [
            "config.json",
            "model-00001-of-00002.safetensors",
            "tokenizer.model",
            "a b (1).json",
            "_x",
            "console.json",
            "com.json",
            "com10.json",
            "model.safetensors.index.json",
        ] {
            assert!(is_file_name(name), "{name}");
        }
    }

    #[test]
    fn a_file_may_lie_in_one_folder() {
        for path in ["x.gguf", "Q4_K_M/x-00001-of-00002.gguf"] {
            assert!(is_file_path(path), "{path}");
        }
        for path in [
            "", "/", "/x", "x/", "../x", "a/..", "a/b/c", "a//b", ".git/x", "a/.x", "a\\b", "nul/x", "a/con",
        ] {
            assert!(!is_file_path(path), "{path}");
        }
    }

    proptest! {
        #[test]
        fn a_path_of_a_file_goes_down_at_most_once(path in "(?s).{0,12}|[./\\\\a-z~:]{0,8}|[a-z.]{1,4}/[a-z.]{1,4}") {
            if is_file_path(&path) {
                let count = Path::new(&path).components().count();
                prop_assert!(Path::new(&path).components().all(|part| matches!(part, Component::Normal(_))));
                prop_assert!((1..=2).contains(&count) && is_in_tree(&path));
            }
        }

        #[test]
        fn a_file_name_is_one_ordinary_component(name in "(?s).{0,12}|[./\\\\a-z~:]{0,6}|[a-zA-Z0-9._-]{1,8}") {
            if is_file_name(&name) {
                let parts: Vec<Component> = Path::new(&name).components().collect();
                prop_assert!(matches!(parts[..], [Component::Normal(part)] if part == name.as_str()));
                prop_assert!(is_in_tree(&name));
                prop_assert!(!name.contains(['\\', ':']) && !name.contains(char::is_control));
            }
        }

        #[test]
        fn a_path_of_a_tree_never_leads_upwards(path in "(?s).{0,12}|[./a]{0,8}") {
            if is_in_tree(&path) {
                prop_assert!(Path::new(&path).components().all(|part| matches!(part, Component::Normal(_))));
            }
        }

        #[test]
        fn only_hexadecimal_digits_are_commits_and_hashes(text in "(?s).{0,70}|[0-9a-f]{38,42}|[0-9a-f]{63,65}|[0-9a-g/.]{40}|[0-9a-g/.]{64}") {
            let hexadecimal = |length: usize| text.len() == length && text.chars().all(|c| "0123456789abcdef".contains(c));
            prop_assert_eq!(is_commit(&text), hexadecimal(40));
            prop_assert_eq!(Oid::parse(&text).is_some(), hexadecimal(40) || hexadecimal(64));
            prop_assert_eq!(Oid::git(&text).is_some(), hexadecimal(40));
            prop_assert_eq!(Oid::sha256(&text).is_some(), hexadecimal(64));
        }
    }
}
