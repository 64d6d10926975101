//! Who made a package: signatures of minisign (jedisct1.github.io/minisign), checked against keys that the user accepted.

use minisign_verify::{PublicKey, Signature};

use crate::PackageError;

/// A key that the user gave, as `minisign -G` prints it, or as its file holds it.
#[derive(Debug, Clone)]
pub struct Key {
    /// Its text, which names it.
    pub text: String,
    key: PublicKey,
}

impl Key {
    /// Reads a key, or the file that holds one.
    pub fn read(text: &str) -> Result<Self, PackageError> {
        let line = text
            .lines()
            .rfind(|line| !line.trim().is_empty())
            .unwrap_or_default()
            .trim();
        let key = PublicKey::from_base64(line).map_err(|error| {
            PackageError::Signature(format!(
                "this is no public key of minisign ({error}): expected a line that begins with `RW`"
            ))
        })?;
        Ok(Self {
            text: line.to_owned(),
            key,
        })
    }

    /// Checks that a signature is this key's, and of these bytes.
    pub fn check(&self, bytes: &[u8], signature: &str, name: &str) -> Result<(), PackageError> {
        let wrong = |reason: String| PackageError::Signature(format!("`{name}`: {reason}"));
        let signature = Signature::decode(signature)
            .map_err(|error| wrong(format!("its signature is malformed: {error}")))?;
        // Signatures over the bytes themselves, as minisign wrote them long ago, are good too.
        self.key.verify(bytes, &signature, true).map_err(|error| {
            wrong(format!(
                "its signature is not that of the key {}: {error}",
                self.text
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use minisign::KeyPair;

    use super::*;

    fn sign(pair: &KeyPair, bytes: &[u8]) -> String {
        minisign::sign(None, &pair.sk, Cursor::new(bytes), None, None)
            .unwrap()
            .into_string()
    }

    #[test]
    fn a_signature_is_one_keys_and_of_these_bytes() {
        let (mine, other) = (
            KeyPair::generate_unencrypted_keypair().unwrap(),
            KeyPair::generate_unencrypted_keypair().unwrap(),
        );
        let key = Key::read(&mine.pk.to_box().unwrap().into_string()).unwrap();
        let signature = sign(&mine, b"bytes");
        key.check(b"bytes", &signature, "x").unwrap();
        assert!(key.check(b"other", &signature, "x").is_err());
        let words = key
            .check(b"bytes", &sign(&other, b"bytes"), "x")
            .unwrap_err()
            .to_string();
        assert!(words.contains("is not that of the key RW"), "{words}");
        assert!(
            key.check(b"bytes", "nothing", "x")
                .unwrap_err()
                .to_string()
                .contains("malformed")
        );
        // As people copy it: the line alone.
        Key::read(&key.text)
            .unwrap()
            .check(b"bytes", &signature, "x")
            .unwrap();
        assert!(Key::read("RWnonsense").is_err());
        assert!(Key::read("").is_err());
    }
}
