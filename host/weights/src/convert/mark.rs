//! What a conversion's folder holds while it is not whole: of what and how it is made.

use std::path::Path;
use std::time::UNIX_EPOCH;

use serde_json::{Value, json};

use super::{QuantiseOptions, write_json};
use crate::error::WeightsError;
use crate::folder::ModelFolder;
use crate::json::read_json;
use crate::shards::Shards;

/// The mark's file.
const MARK: &str = ".monocle-convert.json";

/// How a conversion began.
pub(super) struct Begun {
    /// Its folder holds the beginning of this very conversion.
    pub goes_on: bool,
    /// Its folder was not there before.
    made_folder: bool,
}

/// Makes the folder ready.
pub(super) fn begin(
    source: &ModelFolder,
    shards: &Shards,
    target: &Path,
    options: &QuantiseOptions,
) -> Result<Begun, WeightsError> {
    if target.is_file() {
        return Err(WeightsError::NoFolder {
            path: target.to_owned(),
        });
    }
    let create = |error| WeightsError::io("create", target, error);
    let made_folder = !target.exists();
    std::fs::create_dir_all(target).map_err(create)?;
    let from = std::fs::canonicalize(source.path()).unwrap_or_else(|_| source.path().to_owned());
    let mut files = Vec::new();
    for file in &shards.files {
        let found = std::fs::metadata(file.path());
        let found = found.map_err(|error| WeightsError::io("read", file.path(), error))?;
        let changed = found.modified().ok();
        let changed = changed.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        files.push(json!([
            file.name(),
            found.len(),
            changed.map(|time| time.as_nanos().to_string())
        ]));
    }
    let mark = json!({
        "source": from.display().to_string(), "files": files, "flags": options.flags(), "options": format!("{options:?}"),
    });
    let path = target.join(MARK);
    let found = read_json(&path)?;
    if found.as_ref() == Some(&mark) {
        return Ok(Begun {
            goes_on: true,
            made_folder,
        });
    }
    if let Some(found) = found {
        return Err(WeightsError::OtherConversion {
            folder: target.to_owned(),
            begun: described(&found),
        });
    }
    if std::fs::read_dir(target).map_err(create)?.next().is_some() {
        return Err(WeightsError::NotEmpty {
            folder: target.to_owned(),
        });
    }
    write_json(&path, &mark)?;
    Ok(Begun {
        goes_on: false,
        made_folder,
    })
}

impl Begun {
    /// Leaves nothing of a conversion that failed before any of its files was whole.
    pub fn undo(&self, target: &Path) {
        // Whatever cannot be removed is still named by the mark, or empty.
        if !self.goes_on && std::fs::remove_file(target.join(MARK)).is_ok() && self.made_folder {
            let _ = std::fs::remove_dir(target);
        }
    }
}

/// Says that a conversion's folder is whole and will not be gone on with.
pub fn finish_conversion(target: &Path) -> Result<(), WeightsError> {
    let mark = target.join(MARK);
    std::fs::remove_file(&mark).map_err(|error| WeightsError::io("remove", &mark, error))
}

/// What a folder is the beginning of, if it is that of a conversion.
pub(crate) fn unfinished(folder: &Path) -> Option<String> {
    let mark = read_json(&folder.join(MARK)).ok().flatten()?;
    Some(described(&mark))
}

fn described(mark: &Value) -> String {
    let text = |key: &str| mark[key].as_str().unwrap_or("?").to_owned();
    format!("of `{}` with `{}`", text("source"), text("flags"))
}
