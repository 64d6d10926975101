//! Files whose paths others named: only regular ones are opened, and only so much of them is read.
//!
//! A path may lead to a pipe, which waits for ever, to a device, which never ends, or to a file that is larger than all memory. Links are
//! followed: what they lead to is looked at.

mod json;

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use thiserror::Error;

pub use json::parsed_bytes;

/// The largest picture or photo: of raw photos, the largest known have some 250 MB.
pub const PICTURE: u64 = 512 << 20;
/// The largest text that somebody wrote: a prompt, a list, a sidecar.
pub const TEXT: u64 = 16 << 20;

/// Why a file was not read. The text does not name it: whoever asked does.
#[derive(Debug, Error)]
pub enum FileError {
    /// The system refuses.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Something else lies there.
    #[error("it is {found}; expected a regular file")]
    NotAFile {
        /// In words.
        found: &'static str,
    },
    /// It is larger than it may be.
    #[error("it has {bytes} bytes; expected at most {most}")]
    TooLarge {
        /// How many it has, as far as was seen.
        bytes: u64,
        /// How many it may have.
        most: u64,
    },
    /// It is no text.
    #[error("it is not UTF-8 text, from byte {at} on")]
    NotText {
        /// Where it stops being text.
        at: usize,
    },
}

impl From<FileError> for io::Error {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Io(error) => error,
            // A folder is what the system, too, has a word for.
            other => Self::new(io::ErrorKind::InvalidInput, other),
        }
    }
}

/// Opens a regular file for reading, and gives its state as it was opened. Nothing else is opened, and nothing is waited for.
pub fn open(path: &Path) -> Result<(File, Metadata), FileError> {
    // Looked at first: to open some devices does something.
    check(&std::fs::metadata(path)?)?;
    // It may have been replaced by a pipe meanwhile: without `O_NONBLOCK`, opening that waits for a writer. Regular files do not care.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    let metadata = file.metadata()?;
    check(&metadata)?;
    Ok((file, metadata))
}

/// As [`open`], of a file that has at most so many bytes.
pub fn open_within(path: &Path, most: u64) -> Result<(File, Metadata), FileError> {
    let (file, metadata) = open(path)?;
    match metadata.len() {
        bytes if bytes > most => Err(FileError::TooLarge { bytes, most }),
        _ => Ok((file, metadata)),
    }
}

/// All of a regular file that has at most so many bytes.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, FileError> {
    let (file, metadata) = open_within(path, most)?;
    all_of(file, metadata.len(), most)
}

/// As [`read`], of a text.
pub fn read_text(path: &Path, most: u64) -> Result<String, FileError> {
    text(read(path, most)?)
}

/// As [`read_text`], of a file that the user names on the command line. It may be a pipe, as a shell's `<(…)` is: then its writer is waited
/// for.
pub fn read_given_text(path: &Path, most: u64) -> Result<String, FileError> {
    if !std::fs::metadata(path)?.file_type().is_fifo() {
        return read_text(path, most);
    }
    text(all_of(File::open(path)?, 0, most)?)
}

/// All that a file or a pipe gives, at most so many bytes. Room is made for the expected ones at once.
fn all_of(file: File, expected: u64, most: u64) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    // Where memory is short, this is an error and not the end of the process.
    let expected = usize::try_from(expected).unwrap_or(usize::MAX);
    bytes.try_reserve(expected).map_err(io::Error::from)?;
    // It may grow while it is read, and some files of the system say that they are empty, and are not.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 {
        bytes if bytes > most => Err(FileError::TooLarge { bytes, most }),
        _ => Ok(bytes),
    }
}

fn text(bytes: Vec<u8>) -> Result<String, FileError> {
    String::from_utf8(bytes).map_err(|error| FileError::NotText {
        at: error.utf8_error().valid_up_to(),
    })
}

fn check(metadata: &Metadata) -> Result<(), FileError> {
    let kind = metadata.file_type();
    let found = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    };
    Err(FileError::NotAFile { found })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;
    use std::process::Command;
    use std::time::{Duration, Instant};

    use super::*;

    /// A folder of this test's own, which goes with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("monocle-files-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(&path).expect("it can be made");
            Self(path)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn refused(path: &Path) -> String {
        read(path, 10).expect_err("it is refused").to_string()
    }

    #[test]
    fn only_files_are_opened() {
        let folder = Folder::new("kinds");
        let pipe = folder.path("pipe");
        let made = Command::new("mkfifo").arg(&pipe).status().expect("mkfifo starts");
        assert!(made.success());
        let _listener = UnixListener::bind(folder.path("socket")).expect("a socket");
        std::os::unix::fs::symlink("/dev/zero", folder.path("zero")).expect("a link");
        std::os::unix::fs::symlink("pipe", folder.path("to-pipe")).expect("a link");
        let start = Instant::now();
        for (name, found) in [
            ("pipe", "a pipe"),
            ("to-pipe", "a pipe"),
            ("socket", "a socket"),
            ("zero", "a device"),
            ("", "a folder"),
        ] {
            assert_eq!(
                refused(&folder.path(name)),
                format!("it is {found}; expected a regular file"),
                "{name}"
            );
        }
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn what_is_not_there_is_told_apart() {
        let folder = Folder::new("absent");
        let error = io::Error::from(read(&folder.path("none"), 10).expect_err("it is not there"));
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn only_so_much_is_read() {
        let folder = Folder::new("sizes");
        let path = folder.path("file");
        std::fs::write(&path, "0123456789").expect("it can be written");
        assert_eq!(read(&path, 10).expect("it just fits"), b"0123456789");
        assert_eq!(refused_at(&path, 9), "it has 10 bytes; expected at most 9");
        // 9 GB that are nowhere: reading them would take them all.
        let sparse = File::create(folder.path("sparse")).expect("it can be made");
        sparse.set_len(9_000_000_000).expect("a file with a hole");
        let start = Instant::now();
        assert_eq!(
            refused(&folder.path("sparse")),
            "it has 9000000000 bytes; expected at most 10"
        );
        assert!(start.elapsed() < Duration::from_secs(1));
        // It says that it has no bytes, and has some.
        let proc = Path::new("/proc/self/cmdline");
        if proc.exists() {
            assert!(refused_at(proc, 0).ends_with("expected at most 0"));
        }
    }

    fn refused_at(path: &Path, most: u64) -> String {
        read(path, most).expect_err("it is refused").to_string()
    }

    #[test]
    fn text_is_text() {
        let folder = Folder::new("text");
        let path = folder.path("file");
        std::fs::write(&path, b"ab\xff").expect("it can be written");
        let error = read_text(&path, 10).expect_err("it is no text");
        assert_eq!(error.to_string(), "it is not UTF-8 text, from byte 2 on");
        std::fs::write(&path, "abö").expect("it can be written");
        assert_eq!(read_text(&path, 10).expect("it is text"), "abö");
        assert_eq!(read_given_text(&path, 10).expect("it is text"), "abö");
    }

    #[test]
    fn what_a_user_names_may_come_through_a_pipe() {
        let folder = Folder::new("given");
        let pipe = folder.path("pipe");
        let made = Command::new("mkfifo").arg(&pipe).status().expect("mkfifo starts");
        assert!(made.success());
        for (most, expected) in [(10, Ok("abö")), (3, Err("it has 4 bytes; expected at most 3"))] {
            let to = pipe.clone();
            let writer = std::thread::spawn(move || std::fs::write(to, "abö"));
            let read = read_given_text(&pipe, most).map_err(|error| error.to_string());
            assert_eq!(read.as_deref().map_err(String::as_str), expected);
            writer.join().expect("no panic").expect("it is written");
        }
    }
}
