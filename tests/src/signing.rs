//! Signs files as `minisign` does. It lies in the library, and not in a test, so that a build with and without tests has the same features of
//! the crates that it uses, and none is compiled twice.

use std::io::Cursor;
use std::path::Path;

use minisign::KeyPair;

/// A pair of keys without a password.
pub struct Signer {
    pair: KeyPair,
}

impl Default for Signer {
    fn default() -> Self {
        Self::new()
    }
}

impl Signer {
    /// New keys.
    pub fn new() -> Self {
        Self {
            pair: KeyPair::generate_unencrypted_keypair().expect("there is randomness"),
        }
    }

    /// The public key, as it is given on a command line.
    pub fn key(&self) -> String {
        let key = self.pair.pk.to_box().expect("a key can be written").into_string();
        key.lines().last().expect("a key has a line").to_owned()
    }

    /// Writes the signature of a file beside it.
    pub fn sign(&self, file: &Path) {
        let bytes = std::fs::read(file).expect("it was packed");
        let signature =
            minisign::sign(None, &self.pair.sk, Cursor::new(bytes), None, None).expect("it can be signed");
        let mut name = file.as_os_str().to_owned();
        name.push(".minisig");
        std::fs::write(name, signature.into_string()).expect("it can be written");
    }
}
