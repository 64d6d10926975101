//! MLX's kernels for Metal: a file beside its library, where the program asks for one and MLX is no part of the program itself. Which of them it
//! is, and where the library is looked for, is written at the beginning of the program's file (Apple's `mach-o/loader.h`).

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use monocle_runtime::program;

use super::Finding;

const WHAT: &str = "metallib";
/// How programs ask for MLX's library.
const LIBRARY: &str = "@rpath/libmlx.dylib";
/// More than what a program says of itself takes.
const BEGINNING: u64 = 1 << 20;

/// What can be said of them on macOS; elsewhere there are none.
pub fn found() -> Option<Finding> {
    if !cfg!(target_os = "macos") {
        return None;
    }
    let file = program::own_file().ok()?;
    let mut beginning = Vec::new();
    let read = File::open(&file).and_then(|file| file.take(BEGINNING).read_to_end(&mut beginning));
    if let Err(error) = read {
        let said = format!("`{}`: {error}", file.display());
        return Some(Finding::unwell(WHAT, said, "the program cannot read itself"));
    }
    Some(of(&file, &beginning))
}

/// What is said for a program with this beginning.
fn of(file: &Path, beginning: &[u8]) -> Finding {
    let Some(folders) = searched(file, beginning) else {
        return Finding::well(WHAT, "MLX is part of the program".to_owned());
    };
    let is_there = |folder: &&PathBuf| folder.join("libmlx.dylib").is_file();
    let Some(folder) = folders.iter().find(is_there) else {
        let names: Vec<String> = folders
            .iter()
            .map(|folder| format!("`{}`", folder.display()))
            .collect();
        let said = format!("`libmlx.dylib` is in none of {}", names.join(", "));
        return Finding::unwell(
            WHAT,
            said,
            "the archive's folders, or the clone's target folder, stay as they are",
        );
    };
    let kernels = folder.join("mlx.metallib");
    match kernels.metadata() {
        Ok(found) => Finding::well(
            WHAT,
            format!("`{}`, {} MB", kernels.display(), found.len() / 1_000_000),
        ),
        Err(error) => Finding::unwell(
            WHAT,
            format!("`{}`: {error}", kernels.display()),
            "it belongs beside `libmlx.dylib`: the archive's folders, or the clone's target folder, stay as they are",
        ),
    }
}

/// The folders in which macOS looks for MLX's library, in their order; none where the program does not ask for it.
fn searched(file: &Path, beginning: &[u8]) -> Option<Vec<PathBuf>> {
    const MAGIC: u32 = 0xfeed_facf;
    const ASKS_FOR: u32 = 0xc;
    const SEARCHES: u32 = 0x8000_001c;
    let number = |at: usize| {
        let four = beginning.get(at..at.checked_add(4)?)?;
        Some(u32::from_le_bytes(four.try_into().ok()?))
    };
    if number(0)? != MAGIC {
        return None;
    }
    let mut folders = Vec::new();
    let mut asks = false;
    // After a header of 32 bytes, one command after another: its kind, its length, and with these kinds, where in it a name begins.
    let mut at = 32;
    for _ in 0..number(16)? {
        let (kind, length) = (number(at)?, number(at + 4)? as usize);
        let command = beginning.get(at..at.checked_add(length)?)?;
        if kind == ASKS_FOR || kind == SEARCHES {
            let name = command.get(number(at + 8)? as usize..)?;
            let name = name.split(|byte| *byte == 0).next()?;
            let name = String::from_utf8_lossy(name);
            match kind {
                ASKS_FOR => asks |= name == LIBRARY,
                _ => folders.push(folder(file, &name)),
            }
        }
        // A length of nothing would be read for ever.
        at += length.max(8);
    }
    asks.then_some(folders)
}

/// A folder as the linker wrote it: by its path, or from the program's own folder.
fn folder(file: &Path, name: &str) -> PathBuf {
    let own = ["@executable_path/", "@loader_path/"]
        .iter()
        .find_map(|start| name.strip_prefix(start));
    match (own, file.parent()) {
        (Some(rest), Some(own)) => own.join(rest),
        _ => PathBuf::from(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The beginning of a program by `mach-o/loader.h`: commands of a name each.
    fn program(commands: &[(u32, u32, &str)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in [0xfeed_facf, 0x0100_000c, 0, 2, commands.len() as u32, 0, 0, 0] {
            bytes.extend(u32::to_le_bytes(number));
        }
        for (kind, start, name) in commands {
            let length = (*start as usize + name.len() + 1).next_multiple_of(8);
            let mut command: Vec<u8> = [*kind, length as u32, *start]
                .iter()
                .flat_map(|number| number.to_le_bytes())
                .collect();
            command.resize(*start as usize, 0);
            command.extend(name.as_bytes());
            command.resize(length, 0);
            bytes.extend(command);
        }
        bytes
    }

    #[test]
    fn where_mlx_is_looked_for_is_read_from_the_program() {
        let file = Path::new("/opt/monocle/bin/monocle");
        let archive = [
            (0xc, 24, "/usr/lib/libSystem.B.dylib"),
            (0xc, 24, "@rpath/libmlx.dylib"),
            (0x8000_001c, 12, "@executable_path/../lib"),
            (0x8000_001c, 12, "/t/mlx/wheel/mlx/lib"),
        ];
        let wanted = ["/opt/monocle/bin/../lib", "/t/mlx/wheel/mlx/lib"].map(PathBuf::from);
        assert_eq!(searched(file, &program(&archive)), Some(wanted.to_vec()));
        // One with MLX inside may have such folders, too.
        let whole = [archive[0], archive[2]];
        assert_eq!(searched(file, &program(&whole)), None);
        assert!(of(file, &program(&whole)).said.contains("part of the program"));
        let bytes = program(&archive);
        for length in 0..bytes.len() {
            assert_eq!(searched(file, &bytes[..length]), None, "{length}");
        }
        assert_eq!(searched(file, b"\x7fELF"), None);
    }

    #[test]
    fn kernels_are_looked_for_beside_the_library() {
        let place = std::env::temp_dir().join(format!("monocle-kernels-{}", std::process::id()));
        let [bin, wheel] = ["bin", "wheel"].map(|name| place.join(name));
        for folder in [&bin, &wheel] {
            std::fs::create_dir_all(folder).unwrap();
        }
        let name = wheel.display().to_string();
        let commands = [
            (0x8000_001c, 12, "@executable_path/../lib"),
            (0x8000_001c, 12, name.as_str()),
            (0xc, 24, "@rpath/libmlx.dylib"),
        ];
        let said = || {
            let finding = of(&bin.join("monocle"), &program(&commands));
            (finding.is_well, finding.said)
        };
        let (is_well, text) = said();
        assert!(!is_well && text.contains("is in none of"), "{text}");
        std::fs::write(wheel.join("libmlx.dylib"), "").unwrap();
        let (is_well, text) = said();
        assert!(!is_well && text.contains("mlx.metallib"), "{text}");
        std::fs::write(wheel.join("mlx.metallib"), vec![0; 2_000_000]).unwrap();
        let file = wheel.join("mlx.metallib").display().to_string();
        assert_eq!(said(), (true, format!("`{file}`, 2 MB")));
        std::fs::remove_dir_all(&place).unwrap();
    }
}
