//! XMP sidecars: title, description and keywords beside a photo, never in it.
//!
//! An existing sidecar is changed by putting text into it, or taking out what was put in. Whatever else it holds stays byte for byte: other
//! programs' properties, human keywords, comments, white space.

mod edits;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::files;
use crate::xmp::{DC, LR, Packet, RDF, XMP, XmpError};
use edits::Edits;

/// Monocle's own properties: which model wrote.
pub const OWN: &str = "urn:monocle:catalogue:1.0:";

/// How sidecars are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Naming {
    /// `a.jpg.xmp`
    Darktable,
    /// `a.xmp`
    Adobe,
}

impl Naming {
    /// The sidecar of a photo.
    pub fn of(self, photo: &Path) -> PathBuf {
        match self {
            Self::Adobe => photo.with_extension("xmp"),
            Self::Darktable => {
                let mut name = photo.as_os_str().to_owned();
                name.push(".xmp");
                name.into()
            }
        }
    }
}

/// What was found of a photo.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// Titles by language (`en`, `de`); the first is the default's too.
    pub titles: Vec<(String, String)>,
    /// Descriptions likewise.
    pub descriptions: Vec<(String, String)>,
    /// Keywords of all languages.
    pub keywords: Vec<String>,
    /// Keywords in levels: `subject|animal|dog`.
    pub hierarchical: Vec<String>,
    /// Which model.
    pub model: String,
    /// Which program.
    pub tool: String,
}

/// What a merge put in: taken out when a run is taken back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Added {
    /// Titles, with their languages as the sidecar has them (`x-default` among them).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub titles: Vec<(String, String)>,
    /// Descriptions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub descriptions: Vec<(String, String)>,
    /// Keywords that were not there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<String>,
    /// Keywords in levels that were not there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hierarchical: Vec<String>,
    /// The program's name, where none stood there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The model's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// Why a sidecar cannot be written.
#[derive(Debug, Error)]
pub enum SidecarError {
    /// The disk.
    #[error("cannot {deed} `{}`: {source}", .path.display())]
    Io {
        /// Read or write.
        deed: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is there, and is no XMP.
    #[error("`{}` is there and cannot be merged: {source}\n\nhint: move it away to have a new one written", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: XmpError,
    },
}

/// A sidecar with an entry, from what stood in it before, if anything did.
pub fn merge(before: Option<&[u8]>, entry: &Entry) -> Result<(Vec<u8>, Added), XmpError> {
    let fresh;
    let bytes = match before {
        Some(bytes) if !bytes.iter().all(u8::is_ascii_whitespace) => bytes,
        _ => {
            fresh = empty_packet();
            fresh.as_bytes()
        }
    };
    let packet = Packet::read(bytes)?;
    let mut edits = Edits::new(&packet);
    let mut added = Added {
        titles: edits.alternatives("title", &entry.titles),
        descriptions: edits.alternatives("description", &entry.descriptions),
        keywords: edits.bag(DC, "dc", "subject", &entry.keywords),
        hierarchical: edits.bag(LR, "lr", "hierarchicalSubject", &entry.hierarchical),
        ..Added::default()
    };
    if added != Added::default() {
        added.tool = edits.once(XMP, "xmp", "CreatorTool", &entry.tool);
        added.model = edits.once(OWN, "monocle", "Model", &entry.model);
    }
    Ok((edits.apply(), added))
}

/// A sidecar without what a merge put in; what people changed of it since stays.
pub fn take_out(bytes: &[u8], added: &Added) -> Result<Vec<u8>, XmpError> {
    let packet = Packet::read(bytes)?;
    let mut edits = Edits::new(&packet);
    edits.remove_alternatives("title", &added.titles);
    edits.remove_alternatives("description", &added.descriptions);
    edits.remove_words(DC, "subject", &added.keywords);
    edits.remove_words(LR, "hierarchicalSubject", &added.hierarchical);
    edits.remove_value(XMP, "CreatorTool", added.tool.as_deref());
    edits.remove_value(OWN, "Model", added.model.as_deref());
    Ok(edits.apply())
}

fn empty_packet() -> String {
    format!(
        "<?xpacket begin=\"\u{feff}\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n<x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\n <rdf:RDF \
         xmlns:rdf=\"{RDF}\">\n  <rdf:Description rdf:about=\"\">\n  </rdf:Description>\n </rdf:RDF>\n</x:xmpmeta>\n<?xpacket \
         end=\"w\"?>\n"
    )
}

/// Reads a sidecar that may not be there.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, SidecarError> {
    match monocle_files::read(path, monocle_files::TEXT).map_err(std::io::Error::from) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SidecarError::Io {
            deed: "read",
            path: path.to_owned(),
            source,
        }),
    }
}

/// Writes a sidecar whole or not at all.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), SidecarError> {
    // What a link means is replaced, not the link.
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    files::write(&real, bytes).map_err(|source| SidecarError::Io {
        deed: "write",
        path: path.to_owned(),
        source,
    })
}
