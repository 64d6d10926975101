//! Reading manifests.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::check;
use crate::error::{ManifestError, Place, Problem};
use crate::reference::{json_schema, served_schema};
use crate::schema::{Manifest, Source, Template, WeightRules};
use crate::served::Served;

/// The most bytes of a manifest, or of a template beside one, that are read.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// Variables of templates that nobody but the host gives.
const GIVEN_VARIABLES: [&str; 4] = ["messages", "tools", "documents", "add_generation_prompt"];

impl Manifest {
    /// Reads a manifest from its text. `file_name` is only for errors; no file is touched, and paths stay as written.
    pub fn from_str(text: &str, file_name: &str) -> Result<Self, ManifestError> {
        Document::parse(text, file_name).and_then(|document| document.manifest())
    }

    /// Reads a manifest from its file, makes its paths absolute (through the manifest's folder) and checks that what
    /// they name is there.
    pub fn load(path: &Path) -> Result<Self, ManifestError> {
        let text = read_text(path)?;
        let name = path.display().to_string();
        let document = Document::parse(&text, &name)?;
        let mut manifest = document.manifest()?;
        let folder = path.parent().unwrap_or(Path::new(""));
        if let Some(Template::File(file)) = &mut manifest.prompt.template {
            *file = folder.join(&*file);
            let unreadable = |reason| document.unreadable(&["prompt", "template"], file, reason);
            match read_text(file) {
                // What it names is shown to the model and to whoever asks it: a manifest gets no file from elsewhere.
                Ok(_) if !is_inside(folder, file) => {
                    return Err(unreadable("leads out of the manifest's folder".to_owned()));
                }
                Ok(_) => {}
                Err(ManifestError::Read { source, .. }) => return Err(unreadable(in_words(&source))),
                Err(ManifestError::NotText { .. }) => return Err(unreadable("is not UTF-8 text".to_owned())),
                Err(other) => return Err(other),
            }
        }
        if let Source::Path(model) = &mut manifest.source {
            *model = folder.join(&*model);
            let reason = match std::fs::metadata(&*model) {
                Ok(found) if found.is_dir() || (found.is_file() && is_gguf_name(model)) => None,
                Ok(_) => Some("is neither a folder nor a `.gguf` file".to_owned()),
                Err(error) => Some(in_words(&error)),
            };
            if let Some(reason) = reason {
                return Err(document.unreadable(&["source", "path"], model, reason));
            }
        }
        Ok(manifest)
    }
}

impl Served {
    /// Reads a manifest of a served model; none where the file's manifest is of another kind, or is none.
    pub fn load(path: &Path) -> Option<Result<Self, ManifestError>> {
        let text = read_text(path).ok()?;
        let name = path.display().to_string();
        let document = Document::parse(&text, &name).ok()?;
        document.is_served().then(|| {
            let mut served = document.served()?;
            path.parent()
                .unwrap_or(Path::new(""))
                .clone_into(&mut served.server.folder);
            Ok(served)
        })
    }

    /// Reads such a manifest from its text; `file_name` is only for errors.
    pub fn from_str(text: &str, file_name: &str) -> Result<Self, ManifestError> {
        Document::parse(text, file_name).and_then(|document| document.served())
    }
}

impl Template {
    /// The template's text; reads the file anew each time, so that an edit takes effect at once.
    pub fn read(&self) -> Result<String, ManifestError> {
        match self {
            Self::Inline(text) => Ok(text.clone()),
            Self::File(path) => read_text(path),
        }
    }
}

/// A manifest's text, parsed, with the places of its parts.
struct Document<'a> {
    file: &'a str,
    text: &'a str,
    root: Spanned<DeTable<'a>>,
}

impl<'a> Document<'a> {
    fn parse(text: &'a str, file: &'a str) -> Result<Self, ManifestError> {
        match DeTable::parse(text) {
            Ok(root) => Ok(Self { file, text, root }),
            Err(error) => Err(invalid(
                file,
                text,
                error.span(),
                Problem::Message(one_line(error.message())),
            )),
        }
    }

    /// Whether it declares a model that another program serves.
    fn is_served(&self) -> bool {
        lookup(self.root.get_ref(), "server").is_some()
    }

    fn served(&self) -> Result<Served, ManifestError> {
        let invalid = |(span, problem): check::Found| invalid(self.file, self.text, Some(span), *problem);
        self.schema_version().map_err(invalid)?;
        check::check(&self.root, &served_schema()).map_err(invalid)?;
        let served: Served = toml::from_str(self.text).map_err(|error| {
            let span = error.span().unwrap_or_default();
            invalid((span, Problem::Message(one_line(error.message())).into()))
        })?;
        if served.server.command.as_ref().is_some_and(Vec::is_empty) {
            let problem = Problem::OutOfRange {
                key: "server.command".to_owned(),
                expected: "a list that is not empty".to_owned(),
                found: "empty".to_owned(),
            };
            return Err(invalid((self.span(&["server", "command"]), problem.into())));
        }
        Ok(served)
    }

    fn manifest(&self) -> Result<Manifest, ManifestError> {
        let invalid = |(span, problem): check::Found| invalid(self.file, self.text, Some(span), *problem);
        self.schema_version().map_err(invalid)?;
        if self.is_served() {
            let problem = "this manifest names another program's server (`[server]`); only `monocle check` and `monocle eval` ask those";
            return Err(invalid((
                self.span(&["server"]),
                Problem::Message(problem.to_owned()).into(),
            )));
        }
        check::check(&self.root, &json_schema()).map_err(invalid)?;
        let manifest: Manifest = toml::from_str(self.text).map_err(|error| {
            let span = error.span().unwrap_or_default();
            invalid((span, Problem::Message(one_line(error.message())).into()))
        })?;
        if manifest.prompt.plain && manifest.prompt.template.is_some() {
            let problem =
                "`plain = true` means no template, but `[prompt]` has `template` too; keep one of them";
            return Err(invalid((
                self.span(&["prompt", "plain"]),
                Problem::Message(problem.to_owned()).into(),
            )));
        }
        if !manifest.also().is_empty() {
            // Both are about the files of one repository.
            let own = [
                (manifest.tokenizer.repo.is_some(), "`repo` in `[tokenizer]`"),
                (manifest.weights != WeightRules::default(), "`[weights]`"),
            ];
            if let Some((_, what)) = own.into_iter().find(|(is_there, _)| *is_there) {
                let problem = format!(
                    "`also` names other repositories with the same model, and {what} is about the files of one; give the others a manifest of their own"
                );
                return Err(invalid((
                    self.span(&["source", "also"]),
                    Problem::Message(problem).into(),
                )));
            }
        }
        if let Some(name) = GIVEN_VARIABLES
            .iter()
            .find(|name| manifest.prompt.variables.contains_key(**name))
        {
            let problem = format!(
                "`{name}` is what Monocle itself gives to templates; choose another name for `prompt.variables`"
            );
            return Err(invalid((
                self.span(&["prompt", "variables", name]),
                Problem::Message(problem).into(),
            )));
        }
        Ok(manifest)
    }

    /// Another version is said before anything else: its keys may be other ones.
    fn schema_version(&self) -> Result<(), check::Found> {
        let Some(value) = lookup(self.root.get_ref(), "schema") else {
            return Ok(());
        };
        let Some(integer) = value.get_ref().as_integer() else {
            return Ok(());
        };
        match i128::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(found) if found != i128::from(crate::SCHEMA_VERSION) => {
                let known = crate::SCHEMA_VERSION;
                Err((value.span(), Problem::SchemaVersion { found, known }.into()))
            }
            _ => Ok(()),
        }
    }

    /// The bytes of the value at `path`.
    fn span(&self, path: &[&str]) -> Range<usize> {
        let mut table = self.root.get_ref();
        let mut span = self.root.span();
        for key in path {
            let Some(value) = lookup(table, key) else { break };
            span = value.span();
            match value.get_ref() {
                DeValue::Table(inner) => table = inner,
                _ => break,
            }
        }
        span
    }

    fn unreadable(&self, key: &[&str], path: &Path, reason: String) -> ManifestError {
        let problem = Problem::Unreadable {
            key: key.join("."),
            path: path.to_owned(),
            reason,
        };
        invalid(self.file, self.text, Some(self.span(key)), problem)
    }
}

fn lookup<'t, 'a>(table: &'t DeTable<'a>, key: &str) -> Option<&'t Spanned<DeValue<'a>>> {
    table
        .iter()
        .find(|(name, _)| name.get_ref() == key)
        .map(|(_, value)| value)
}

fn invalid(file: &str, text: &str, span: Option<Range<usize>>, problem: Problem) -> ManifestError {
    let place = Place::at(file, text, span.map_or(0, |span| span.start));
    ManifestError::Invalid {
        place,
        problem: problem.into(),
    }
}

fn read_text(path: &Path) -> Result<String, ManifestError> {
    let owned = || PathBuf::from(path);
    let read = |bytes: &mut Vec<u8>| {
        // Looked at before it is opened: a named pipe would wait for a writer.
        if !std::fs::metadata(path)?.is_file() {
            return Err(std::io::Error::other("it is not a file"));
        }
        File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(bytes)
    };
    let mut bytes = Vec::new();
    read(&mut bytes).map_err(|source| ManifestError::Read {
        path: owned(),
        source,
    })?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(ManifestError::TooLarge {
            path: owned(),
            limit: MAX_FILE_BYTES,
        });
    }
    String::from_utf8(bytes).map_err(|_| ManifestError::NotText { path: owned() })
}

fn is_gguf_name(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
}

/// Whether a file lies in a folder, links followed.
fn is_inside(folder: &Path, file: &Path) -> bool {
    let folder = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    matches!((folder.canonicalize(), file.canonicalize()), (Ok(folder), Ok(file)) if file.starts_with(&folder))
}

fn in_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "does not exist".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

fn one_line(message: &str) -> String {
    message.lines().collect::<Vec<_>>().join("; ")
}
