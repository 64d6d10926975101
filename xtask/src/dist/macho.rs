//! A program for macOS, as far as it can be looked at without a Mac: which system it is for, which libraries it asks for and what it takes
//! from each, where it looks for them, and whether its signature is that of its bytes.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use object::endian::LittleEndian;
use object::macho::{CPU_TYPE_ARM64, LC_CODE_SIGNATURE, MH_EXECUTE, MachHeader64, N_EXT, PLATFORM_MACOS};
use object::read::macho::{LoadCommandVariant, MachHeader, Nlist};
use sha2::{Digest, Sha256};

type Header = MachHeader64<LittleEndian>;

/// Numbers of Apple's `cs_blobs.h` (xnu, `osfmk/kern/cs_blobs.h`): a signature is a list of blobs, one of which has a hash of each page.
const SIGNATURE: u32 = 0xfade_0cc0;
const CODE_DIRECTORY: u32 = 0xfade_0c02;
const AD_HOC: u32 = 2;
const SHA256: u8 = 2;

/// What a file for macOS says of itself.
#[derive(Debug, Default)]
pub struct Image {
    /// Whether it is a program, and no library.
    pub is_program: bool,
    /// The oldest system that it runs on, if it says so: `MAJOR << 16 | MINOR << 8`.
    pub oldest_system: Option<u32>,
    /// The libraries that it asks for, in their order.
    pub libraries: Vec<String>,
    /// Where libraries called `@rpath/…` are looked for.
    pub search: Vec<String>,
    /// What it takes: a library's number in that order, from 1, or one of the special ones; and the symbol.
    pub imports: Vec<(u8, String)>,
    /// What others may take from it.
    pub exports: BTreeSet<String>,
    /// Where its signature begins, and how long it is.
    signature: Option<(usize, usize)>,
}

impl Image {
    /// Reads a file for Apple's own processors.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let header = Header::parse(bytes, 0).context("it is no Mach-O file of 64 bits")?;
        if header.cputype(LittleEndian) != CPU_TYPE_ARM64 {
            bail!("it is for another processor than Apple's");
        }
        let mut image = Self {
            is_program: header.filetype(LittleEndian) == MH_EXECUTE,
            ..Self::default()
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut commands = header.load_commands(LittleEndian, bytes, 0)?;
        while let Some(command) = commands.next()? {
            match command.variant()? {
                LoadCommandVariant::BuildVersion(about) => {
                    if about.platform.get(LittleEndian) != PLATFORM_MACOS {
                        bail!("it is for another system than macOS");
                    }
                    image.oldest_system = Some(about.minos.get(LittleEndian));
                }
                // (A library's own name is a command of another kind.)
                LoadCommandVariant::Dylib(library) => {
                    let name = command.string(LittleEndian, library.dylib.name)?;
                    image.libraries.push(text(name));
                }
                LoadCommandVariant::Rpath(path) => {
                    image.search.push(text(command.string(LittleEndian, path.path)?));
                }
                LoadCommandVariant::LinkeditData(data) if command.cmd() == LC_CODE_SIGNATURE => {
                    let place = [data.dataoff, data.datasize].map(|number| number.get(LittleEndian) as usize);
                    image.signature = Some((place[0], place[1]));
                }
                LoadCommandVariant::Symtab(table) => {
                    let table = table.symbols::<Header, _>(LittleEndian, bytes)?;
                    for symbol in table.iter() {
                        let name = text(symbol.name(LittleEndian, table.strings())?);
                        if symbol.is_undefined() {
                            image.imports.push((symbol.library_ordinal(LittleEndian), name));
                        } else if !symbol.is_stab() && symbol.n_type() & N_EXT != 0 {
                            image.exports.insert(name);
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(image)
    }

    /// Whether each page has the hash that the signature says. Gives the number of pages.
    pub fn check_signature(&self, bytes: &[u8]) -> Result<usize> {
        let (at, length) = self.signature.context("it is not signed")?;
        let signature = bytes
            .get(at..at.saturating_add(length))
            .context("its signature lies beyond its end")?;
        if number(signature, 0)? != SIGNATURE {
            bail!("its signature does not begin as one does");
        }
        let blobs = number(signature, 8)? as usize;
        let mut directory = None;
        for blob in 0..blobs {
            let at = number(signature, 16 + 8 * blob)? as usize;
            if number(signature, at)? == CODE_DIRECTORY {
                directory = signature.get(at..);
            }
        }
        let directory = directory.context("its signature has no hashes")?;
        if number(directory, 12)? & AD_HOC == 0 {
            bail!("its signature is not an ad-hoc one");
        }
        let [hashes, pages, limit] =
            [16, 28, 32].map(|at| number(directory, at).map(|number| number as usize));
        let (hashes, pages, limit) = (hashes?, pages?, limit?);
        let kinds = directory.get(36..40).context("its signature is cut off")?;
        if (kinds[0], kinds[1]) != (32, SHA256) {
            bail!("its signature has other hashes than SHA-256");
        }
        let page = 1_usize
            .checked_shl(kinds[3].into())
            .context("its signature's pages have no size")?;
        let signed = bytes
            .get(..limit)
            .context("its signature is for more bytes than there are")?;
        if limit != at || signed.chunks(page).count() != pages {
            bail!("its signature is for {limit} bytes in {pages} pages; {at} lie before it");
        }
        for (index, content) in signed.chunks(page).enumerate() {
            let said = directory.get(hashes + 32 * index..hashes + 32 * (index + 1));
            if said != Some(Sha256::digest(content).as_slice()) {
                bail!("page {index} of {pages} is not what was signed");
            }
        }
        Ok(pages)
    }

    /// Whether it is for this system and newer ones, and says so.
    pub fn check_system(&self, system: u32) -> Result<()> {
        let version = |one: u32| format!("{}.{}", one >> 16, one >> 8 & 0xff);
        match self.oldest_system {
            Some(found) if found == system => Ok(()),
            Some(found) => bail!(
                "it is for macOS {} and newer, expected {}",
                version(found),
                version(system)
            ),
            None => bail!(
                "it does not say for which macOS it is, expected {}",
                version(system)
            ),
        }
    }

    /// Whether all libraries that it asks for are macOS' own. What it takes from them is not looked at.
    pub fn check_libraries(&self) -> Result<()> {
        let is_own = |library: &&String| {
            ["/usr/lib/", "/System/Library/Frameworks/"]
                .iter()
                .any(|folder| library.starts_with(folder))
        };
        match self.libraries.iter().find(|library| !is_own(library)) {
            Some(other) => bail!("it asks for the library `{other}`, which is not macOS' own"),
            None => Ok(()),
        }
    }

    /// Whether the libraries that it asks for have all that it takes from them. `known`: the libraries that may be asked for, and the symbols of
    /// each.
    pub fn check_imports(&self, known: &BTreeMap<String, BTreeSet<String>>) -> Result<()> {
        for library in &self.libraries {
            if !known.contains_key(library) {
                bail!("it asks for the library `{library}`, which no Mac is known to have");
            }
        }
        for (number, symbol) in &self.imports {
            // Libraries are counted from 1; the other numbers let the system look in any of them.
            let library = self.libraries.get(usize::from(*number).wrapping_sub(1));
            let is_known = match library {
                Some(library) => known[library].contains(symbol),
                None => self
                    .libraries
                    .iter()
                    .any(|library| known[library].contains(symbol)),
            };
            if !is_known {
                bail!(
                    "it takes `{symbol}` from {}, which has none",
                    library.map_or("any library", String::as_str)
                );
            }
        }
        Ok(())
    }
}

/// Numbers in signatures have their largest byte first.
fn number(bytes: &[u8], at: usize) -> Result<u32> {
    let four = bytes
        .get(at..at.saturating_add(4))
        .context("its signature is cut off")?;
    Ok(u32::from_be_bytes(four.try_into()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A command as it lies in a file: its kind, its length, what is in it, up to a multiple of 8 bytes.
    fn command(kind: u32, content: &[u8]) -> Vec<u8> {
        let length = (8 + content.len()).next_multiple_of(8);
        let mut bytes = [kind.to_le_bytes(), (length as u32).to_le_bytes()].concat();
        bytes.extend(content);
        bytes.resize(length, 0);
        bytes
    }

    fn numbers(numbers: &[u32]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    fn named(start: &[u32], name: &str) -> Vec<u8> {
        [numbers(start), name.as_bytes().to_vec(), vec![0]].concat()
    }

    /// A program by the headers `mach-o/loader.h` and `nlist.h`, and `cs_blobs.h`: for macOS 14.0, with a library of which it takes `_a`, and
    /// a signature with pages of 256 bytes.
    fn program() -> Vec<u8> {
        let (symbols, strings, signature) = (320_u32, 336_u32, 340_u32);
        let commands = [
            command(0x32, &numbers(&[1, 14 << 16, 14 << 16, 0])),
            command(0xc, &named(&[24, 0, 0, 0], "/usr/lib/libx.dylib")),
            command(0x8000_001c, &named(&[12], "@executable_path/../lib")),
            command(2, &numbers(&[symbols, 1, strings, 4])),
            command(0x1d, &numbers(&[signature, 20 + 44 + 64])),
        ];
        let length: usize = commands.iter().map(Vec::len).sum();
        let mut bytes = numbers(&[0xfeed_facf, 0x0100_000c, 0, 2, 5, length as u32, 0, 0]);
        bytes.extend(commands.concat());
        assert!(bytes.len() <= symbols as usize);
        bytes.resize(symbols as usize, 0);
        // One symbol: the name at 1; undefined and external; no section; from the first library; no value.
        bytes.extend([1, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(*b"\0_a\0");
        let big =
            |numbers: &[u32]| -> Vec<u8> { numbers.iter().flat_map(|number| number.to_be_bytes()).collect() };
        let mut directory = big(&[CODE_DIRECTORY, 44 + 64, 0x2_0400, AD_HOC, 44, 44, 0, 2, signature]);
        // Hashes of 32 bytes, SHA-256, no platform, pages of 2^8 bytes; nothing more.
        directory.extend([32, SHA256, 0, 8, 0, 0, 0, 0]);
        directory.extend(Sha256::digest(&bytes[..256]));
        directory.extend(Sha256::digest(&bytes[256..]));
        // The list of blobs is 20 bytes long with its one entry.
        bytes.extend(big(&[SIGNATURE, 20 + directory.len() as u32, 1, 0, 20]));
        bytes.extend(directory);
        bytes
    }

    fn known(symbol: &str) -> BTreeMap<String, BTreeSet<String>> {
        BTreeMap::from([(
            "/usr/lib/libx.dylib".to_owned(),
            BTreeSet::from([symbol.to_owned()]),
        )])
    }

    #[test]
    fn a_program_is_read_and_its_signature_is_that_of_its_bytes() {
        let bytes = program();
        let image = Image::read(&bytes).unwrap();
        assert!(image.is_program);
        assert_eq!(image.search, ["@executable_path/../lib"]);
        assert_eq!(image.imports, [(1, "_a".to_owned())]);
        assert_eq!(image.check_signature(&bytes).unwrap(), 2);
        image.check_imports(&known("_a")).unwrap();
        image.check_system(14 << 16).unwrap();
        image.check_libraries().unwrap();
        for at in [0, 100, 255, 256, 339] {
            let mut other = bytes.clone();
            other[at] ^= 1;
            let error = image.check_signature(&other).unwrap_err().to_string();
            assert!(
                error.contains(&format!("page {} of 2", at / 256)),
                "{at}: {error}"
            );
        }
    }

    #[test]
    fn what_would_not_start_is_said() {
        let bytes = program();
        let image = Image::read(&bytes).unwrap();
        let says = |known: &BTreeMap<_, _>| image.check_imports(known).unwrap_err().to_string();
        assert!(says(&known("_b")).contains("`_a` from /usr/lib/libx.dylib"));
        assert!(says(&BTreeMap::new()).contains("no Mac is known to have"));
        let for_system = |image: &Image, system: u32| image.check_system(system).unwrap_err().to_string();
        for (system, name) in [((13 << 16) + (3 << 8), "13.3"), (15 << 16, "15.0")] {
            let said = for_system(&image, system);
            assert!(
                said.contains(&format!("macOS 14.0 and newer, expected {name}")),
                "{said}"
            );
        }
        // The command that says for which system becomes one that says something else (LC_SOURCE_VERSION).
        let mut silent = bytes.clone();
        assert_eq!(silent[32..36], [0x32, 0, 0, 0]);
        silent[32] = 0x2a;
        let silent = Image::read(&silent).unwrap();
        assert!(for_system(&silent, 14 << 16).contains("does not say for which macOS"));
        // A library's name, as its own (LC_ID_DYLIB) and as another's; beside the program, where macOS' own lie, and elsewhere.
        let renamed = |kind: u8, name: &[u8; 19]| {
            let mut bytes = bytes.clone();
            let at = 32 + 24;
            assert_eq!(
                (bytes[at], &bytes[at + 24..at + 43]),
                (0xc, &b"/usr/lib/libx.dylib"[..])
            );
            bytes[at] = kind;
            bytes[at + 24..at + 43].copy_from_slice(name);
            Image::read(&bytes).unwrap()
        };
        let other = renamed(0xc, b"@rpath/libxyz.dylib");
        let said = other.check_libraries().unwrap_err().to_string();
        assert!(said.contains("`@rpath/libxyz.dylib`"), "{said}");
        renamed(0xd, b"@rpath/libxyz.dylib").check_libraries().unwrap();
        // Cut off anywhere, it is a fault and no panic.
        for length in 0..bytes.len() {
            let cut = &bytes[..length];
            assert!(
                Image::read(cut)
                    .and_then(|image| image.check_signature(cut))
                    .is_err(),
                "{length}"
            );
        }
        assert!(Image::read(b"\x7fELF").is_err());
    }
}
