//! This program's own file: what comes with it lies beside it, and commands start it again for work in processes of their own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Neither the system nor the way that the program was started says where its file is.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot find this program's own file: the system does not say ({system}), and it was started as {started:?}\n\nhint: start it by its path, \
     like `/opt/monocle/bin/monocle`"
)]
pub struct NotFound {
    system: std::io::Error,
    started: OsString,
}

/// The program's file, with all links followed.
pub fn own_file() -> Result<PathBuf, NotFound> {
    // Linux asks /proc, which a container may not have, and which names a file that is gone if the program was replaced while it runs.
    let system = match std::env::current_exe().and_then(std::fs::canonicalize) {
        Ok(file) => return Ok(file),
        Err(system) => system,
    };
    let started = std::env::args_os().next().unwrap_or_default();
    let folders = std::env::var_os("PATH").unwrap_or_default();
    started_as(&started, &folders).ok_or(NotFound { system, started })
}

/// The file that a shell or another program means by this: a path as it is, a name in one of the folders.
fn started_as(started: &OsString, folders: &OsString) -> Option<PathBuf> {
    let named = Path::new(started);
    let is_name = named.components().count() == 1 && !started.as_encoded_bytes().contains(&b'/');
    let places: Vec<PathBuf> = match is_name {
        true => std::env::split_paths(folders)
            .map(|folder| folder.join(named))
            .collect(),
        false => vec![named.to_owned()],
    };
    places
        .into_iter()
        .filter_map(|place| std::fs::canonicalize(place).ok())
        .find(|place| is_program(place))
}

#[cfg(unix)]
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let found = path.metadata();
    found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(path: &Path) -> bool {
    path.is_file()
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A folder of this test's own, which goes with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let folder = std::env::temp_dir().join(format!("monocle-program-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&folder);
            std::fs::create_dir_all(&folder).unwrap();
            Self(folder.canonicalize().unwrap())
        }

        fn file(&self, name: &str, mode: u32) -> PathBuf {
            let path = self.0.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_way_it_was_started_names_the_file() {
        let folder = Folder::new();
        let program = folder.file("opt/bin/monocle", 0o755);
        // A file of that name that cannot be started is passed over, as shells do.
        folder.file("first/monocle", 0o644);
        std::fs::create_dir_all(folder.0.join("links")).unwrap();
        symlink("../opt/bin/monocle", folder.0.join("links/monocle")).unwrap();
        let folders = std::env::join_paths([folder.0.join("first"), folder.0.join("links")]).unwrap();
        let found = |started: &str| started_as(&started.into(), &folders);
        assert_eq!(found("monocle"), Some(program.clone()));
        assert_eq!(found(&program.display().to_string()), Some(program.clone()));
        let link = folder.0.join("links/monocle").display().to_string();
        assert_eq!(found(&link), Some(program));
        assert_eq!(found("other"), None);
        assert_eq!(found(""), None);
        // A path is not looked for on the PATH.
        assert_eq!(found("./monocle"), None);
    }

    #[test]
    fn the_system_says_it_first() {
        let own = std::env::current_exe().unwrap().canonicalize().unwrap();
        assert_eq!(own_file().unwrap(), own);
    }
}
