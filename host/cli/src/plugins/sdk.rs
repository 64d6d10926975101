//! The crate `monocle-plugin` and the contract, as they are written into an author's folder.

use std::path::Path;

include!(concat!(env!("OUT_DIR"), "/sdk.rs"));

/// Writes all of it into a folder.
pub fn write(folder: &Path) -> std::io::Result<()> {
    FILES
        .iter()
        .try_for_each(|(name, text)| write_file(&folder.join(name), text.as_bytes()))
}

/// Writes the contract alone.
pub fn write_contract(folder: &Path) -> std::io::Result<()> {
    contract().try_for_each(|(name, text)| write_file(&folder.join(name), text.as_bytes()))
}

/// The contract's files.
pub fn contract() -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES
        .iter()
        .filter_map(|(name, text)| Some((name.strip_prefix("wit/v0.2/")?, *text)))
}

fn write_file(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crate_stands_alone() {
        let of = |name: &str| {
            FILES
                .iter()
                .find(|(file, _)| *file == name)
                .map(|(_, text)| *text)
        };
        let manifest = of("guest/Cargo.toml").unwrap();
        assert!(!manifest.contains("workspace"), "{manifest}");
        assert!(manifest.contains("serde_json = { version"), "{manifest}");
        assert!(of("guest/src/lib.rs").is_some() && of("wit/v0.2/world.wit").is_some());
        assert!(contract().any(|(name, _)| name == "tensors.wit"));
    }
}
