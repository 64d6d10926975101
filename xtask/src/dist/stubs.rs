//! Stubs of macOS' own libraries, to link with where there are none: text files that name a library and its symbols (`.tbd`), in the folders
//! where a linker looks for them below an SDK's root.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::process::write_if_changed;
use crate::wheel::MACOS;

/// The libraries and their symbols.
pub const SYMBOLS: &str = "packaging/macos/symbols.txt";

/// A library's own name (its path on a Mac), and the symbols that are taken from it.
pub type Libraries = BTreeMap<String, Vec<String>>;

/// Writes the stubs below `sdk`; libSystem's comes with zig. Gives the libraries, without libSystem.
pub fn write(sdk: &Path, zig: &Path) -> Result<Libraries> {
    let text = fs::read_to_string(SYMBOLS).with_context(|| format!("reading `{SYMBOLS}`"))?;
    let libraries = read(&text).with_context(|| format!("reading `{SYMBOLS}`"))?;
    for (library, symbols) in &libraries {
        put(&sdk.join(place(library)?), &stub(library, symbols))?;
    }
    let system = zig.join("lib/libc/darwin/libSystem.tbd");
    let system = fs::read_to_string(&system).with_context(|| format!("reading `{}`", system.display()))?;
    let system = for_programs(&system);
    // C's own libraries are other names of it there.
    for name in ["libSystem", "libc", "libm"] {
        put(&sdk.join(format!("usr/lib/{name}.tbd")), &system)?;
    }
    let about = format!("{{\"Version\":\"{MACOS}\",\"CanonicalName\":\"macosx{MACOS}\"}}\n");
    put(&sdk.join("SDKSettings.json"), &about)?;
    Ok(libraries)
}

fn put(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("creating `{}`", folder.display()))?;
    }
    write_if_changed(path, text.as_bytes())?;
    Ok(())
}

/// Lines that begin with a path name a library; those below it that begin with a blank, its symbols.
fn read(text: &str) -> Result<Libraries> {
    let mut libraries = Libraries::new();
    let mut library: Option<&mut Vec<String>> = None;
    for line in text.lines() {
        let word = line.trim();
        if word.is_empty() || word.starts_with('#') {
            continue;
        }
        match (line.starts_with('/'), library.as_deref_mut()) {
            (true, _) => library = Some(libraries.entry(word.to_owned()).or_default()),
            (false, Some(symbols)) => symbols.push(word.to_owned()),
            (false, None) => bail!("`{word}` stands before any library"),
        }
    }
    Ok(libraries)
}

/// Where a linker looks for a library's stub: `-framework F`, `-lF`.
fn place(library: &str) -> Result<PathBuf> {
    let name = library.rsplit('/').next().unwrap_or_default();
    if library.starts_with("/System/Library/Frameworks/") {
        return Ok(format!("System/Library/Frameworks/{name}.framework/{name}.tbd").into());
    }
    match (library.strip_prefix("/usr/lib/"), name.split_once('.')) {
        (Some(_), Some((stem, _))) => Ok(format!("usr/lib/{stem}.tbd").into()),
        _ => bail!("`{library}` is neither a framework nor in `/usr/lib`"),
    }
}

/// A stub, in version 4 of the format.
fn stub(library: &str, symbols: &[String]) -> String {
    let names: Vec<String> = symbols.iter().map(|symbol| format!("'{symbol}'")).collect();
    format!(
        "--- !tapi-tbd\ntbd-version: 4\ntargets: [ arm64-macos ]\ninstall-name: '{library}'\ncurrent-version: 1\n\
         exports:\n  - targets: [ arm64-macos ]\n    symbols: [ {} ]\n...\n",
        names.join(", ")
    )
}

/// What the linker takes for calls that are bound when they are first made: the one name that C did not put a line before.
const BINDER: &str = "dyld_stub_binder";

/// All names in a stub.
pub fn names(stub: &str) -> BTreeSet<String> {
    let words = stub.split(|letter: char| letter.is_whitespace() || "[],'".contains(letter));
    words
        .filter(|word| word.starts_with('_') || *word == BINDER)
        .map(str::to_owned)
        .collect()
}

/// zig's stub of libSystem is for the system's own programs (`arm64e`): all of it is there for others, too. A newer kind of these is left out,
/// which linkers do not know yet.
fn for_programs(system: &str) -> String {
    let mut text = system.to_owned();
    while let Some(at) = text.find("arm64e.x1-") {
        let end = text[at..]
            .find([',', ']'])
            .map_or(text.len(), |length| at + length);
        // With the comma before it, or where it is the first, the one after it.
        let before = text[..at].rfind([',', '[']).unwrap_or(at);
        let (start, end) = match text[before..].starts_with(',') {
            true => (before, end),
            false => (at, end + usize::from(text[end..].starts_with(','))),
        };
        text.replace_range(start..end, " ");
    }
    text.replace("arm64e-", "arm64-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_and_have_their_places() {
        let text = "# what\n\n/usr/lib/libc++.1.dylib\n    __Znwm\n    __ZdlPv\n/System/Library/Frameworks/A.framework/Versions/A/A\n";
        let libraries = read(text).unwrap();
        assert_eq!(libraries["/usr/lib/libc++.1.dylib"], ["__Znwm", "__ZdlPv"]);
        let places: Vec<PathBuf> = libraries.keys().map(|library| place(library).unwrap()).collect();
        let framework = "System/Library/Frameworks/A.framework/A.tbd";
        assert_eq!(places, [Path::new(framework), Path::new("usr/lib/libc++.tbd")]);
        assert!(read("    _lost\n").unwrap_err().to_string().contains("`_lost`"));
        assert!(place("/opt/a.dylib").is_err());
        let stub = stub("/usr/lib/libc++.1.dylib", &libraries["/usr/lib/libc++.1.dylib"]);
        let system = "targets: [ x86_64-macos, arm64e-macos, \n   arm64e.x1-macos, arm64e.x1-maccatalyst ]\n[ arm64e.x1-macos, arm64e-macos ]";
        let found: Vec<String> = for_programs(system)
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        assert_eq!(
            found.join(" "),
            "targets: [ x86_64-macos, arm64-macos ] [ arm64-macos ]"
        );
        let named: Vec<String> = names(&stub).into_iter().collect();
        assert_eq!(named, ["__ZdlPv", "__Znwm"]);
        // As SDKs of Apple list it.
        let bound = names("symbols: [ _free,\n                       dyld_stub_binder ]");
        assert_eq!(
            bound.into_iter().collect::<Vec<_>>(),
            ["_free", "dyld_stub_binder"]
        );
    }
}
