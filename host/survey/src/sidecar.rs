//! XMP sidecars: title, description and keywords beside a photo, never in it.
//!
//! An existing sidecar is changed by putting text into it. Whatever else it holds stays byte for byte: other programs' properties, human
//! keywords, comments, white space.

use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use quick_xml::escape::escape;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::xmp::{DC, Element, LR, Packet, RDF, XMP, XmpError, list};

/// Monocle's own properties: which model wrote, and what of it.
pub const OWN: &str = "urn:monocle:catalogue:1.0:";

/// How sidecars are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

/// What a merge put in; a run that is taken back takes this out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Added {
    /// Texts by property.
    pub texts: usize,
    /// Keywords that were not there.
    pub keywords: Vec<String>,
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
    let mut added = Added::default();
    for (name, texts) in [("title", &entry.titles), ("description", &entry.descriptions)] {
        added.texts += edits.alternatives(name, texts);
    }
    added.keywords = edits.bag(DC, "dc", "subject", &entry.keywords);
    edits.bag(LR, "lr", "hierarchicalSubject", &entry.hierarchical);
    if added != Added::default() {
        edits.once(XMP, "xmp", "CreatorTool", &entry.tool);
        edits.once(OWN, "monocle", "Model", &entry.model);
    }
    Ok((edits.apply(), added))
}

fn empty_packet() -> String {
    format!(
        "<?xpacket begin=\"\u{feff}\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n<x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\n <rdf:RDF \
         xmlns:rdf=\"{RDF}\">\n  <rdf:Description rdf:about=\"\">\n  </rdf:Description>\n </rdf:RDF>\n</x:xmpmeta>\n<?xpacket \
         end=\"w\"?>\n"
    )
}

/// Texts to put into a packet.
struct Edits<'a> {
    packet: &'a Packet<'a>,
    made: Vec<(Range<usize>, String)>,
    /// Whole properties, for the first description.
    properties: String,
}

impl<'a> Edits<'a> {
    fn new(packet: &'a Packet<'a>) -> Self {
        Self {
            packet,
            made: Vec::new(),
            properties: String::new(),
        }
    }

    /// Texts in languages that have none; gives how many were put in. What people wrote stays.
    fn alternatives(&mut self, name: &str, texts: &[(String, String)]) -> usize {
        let known = self.packet.items(DC, name);
        let has = |language: &str| {
            let same = |known: &str| known.eq_ignore_ascii_case(language);
            known
                .iter()
                .any(|(known, item)| known.is_some_and(same) && !item.text.trim().is_empty())
        };
        let mut fresh: Vec<(&str, &str)> = Vec::new();
        if let Some((_, text)) = texts.first()
            && !has("x-default")
            && known.iter().all(|(_, item)| item.text.trim().is_empty())
        {
            fresh.push(("x-default", text));
        }
        // A text without a language, or of the default only, is of a language that nobody names: ours go beside it where they are asked for.
        fresh.extend(
            texts
                .iter()
                .filter(|(language, _)| !has(language))
                .map(|(l, t)| (l.as_str(), t.as_str())),
        );
        let only_default_is_theirs = !known.is_empty() && texts.len() == 1;
        if only_default_is_theirs && known.iter().any(|(_, item)| !item.text.trim().is_empty()) {
            return 0;
        }
        let item = |rdf: &str, (language, text): &(&str, &str)| {
            format!(
                "<{rdf}li xml:lang=\"{}\">{}</{rdf}li>",
                escape(*language),
                escaped(text)
            )
        };
        let count = fresh.len();
        self.put_items(DC, "dc", name, "Alt", &fresh, &item);
        count
    }

    /// Words that a list has not, case aside; gives them.
    fn bag(&mut self, space: &str, prefix: &str, name: &str, words: &[String]) -> Vec<String> {
        let known = self.packet.texts(space, name);
        let mut fresh: Vec<String> = Vec::new();
        for word in words {
            let same = |other: &String| other.to_lowercase() == word.to_lowercase();
            if !word.trim().is_empty() && !known.iter().any(same) && !fresh.iter().any(same) {
                fresh.push(word.clone());
            }
        }
        let item = |rdf: &str, word: &String| format!("<{rdf}li>{}</{rdf}li>", escaped(word));
        self.put_items(space, prefix, name, "Bag", &fresh, &item);
        fresh
    }

    /// Items into a property's list, which is made where it is not there.
    fn put_items<T>(
        &mut self,
        space: &str,
        prefix: &str,
        name: &str,
        kind: &str,
        items: &[T],
        shown: &dyn Fn(&str, &T) -> String,
    ) {
        if items.is_empty() {
            return;
        }
        let lines = |rdf: &str, indent: &str| -> String {
            items
                .iter()
                .map(|item| format!("{indent}{}\n", shown(rdf, item)))
                .collect()
        };
        let property = self.packet.property(space, name);
        match property.and_then(|property| Some((property, list(property)?))) {
            Some((_, list)) => {
                let rdf = with_colon(&list.prefix);
                self.put(list, &lines(&rdf, "     "));
            }
            None => {
                let body = format!(
                    "    <rdf:{kind} xmlns:rdf=\"{RDF}\">\n{}    </rdf:{kind}>\n",
                    lines("rdf:", "     ")
                );
                match property {
                    // A property without a list: an empty one, as a rule.
                    Some(property) if property.text.trim().is_empty() => self.put(property, &body),
                    Some(_) => {}
                    None => {
                        self.properties += &format!(
                            "   <{prefix}:{name} xmlns:{prefix}=\"{space}\">\n{body}   </{prefix}:{name}>\n"
                        );
                    }
                }
            }
        }
    }

    /// A property of one value, where there is none.
    fn once(&mut self, space: &str, prefix: &str, name: &str, value: &str) {
        if !value.is_empty()
            && self.packet.value(space, name).is_none()
            && self.packet.property(space, name).is_none()
        {
            self.properties += &format!(
                "   <{prefix}:{name} xmlns:{prefix}=\"{space}\">{}</{prefix}:{name}>\n",
                escaped(value)
            );
        }
    }

    /// Text before an element's end.
    fn put(&mut self, element: &Element, text: &str) {
        if !element.is_closed_at_once() {
            // Before the white space that indents the end.
            let inside = &self.packet.text[element.start.end..element.end.start];
            let kept = inside.trim_end_matches([' ', '\t']).len();
            let at = element.start.end + kept;
            let line = if inside[..kept].ends_with('\n') { "" } else { "\n" };
            self.made.push((at..at, format!("{line}{text}")));
            return;
        }
        // `<a/>` becomes `<a>…</a>`.
        let start = &self.packet.text[element.start.clone()];
        let slash = start.rfind('/').unwrap_or(start.len() - 1);
        let name = format!("{}{}", with_colon(&element.prefix), element.name);
        let range = element.start.start + slash..element.start.end;
        self.made.push((range, format!(">\n{text}</{name}>")));
    }

    fn apply(mut self) -> Vec<u8> {
        if !self.properties.is_empty()
            && let Some(description) = self.packet.descriptions().next()
        {
            let properties = std::mem::take(&mut self.properties);
            self.put(description, &properties);
        }
        self.made.sort_by_key(|(range, _)| range.start);
        let mut text = self.packet.text.to_owned();
        for (range, new) in self.made.into_iter().rev() {
            text.replace_range(range, &new);
        }
        text.into_bytes()
    }
}

fn with_colon(prefix: &str) -> String {
    match prefix {
        "" => String::new(),
        prefix => format!("{prefix}:"),
    }
}

/// Without what XML cannot hold: control characters, and the two that are no characters.
fn escaped(text: &str) -> String {
    let allowed = |c: &char| !matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    let text: String = text.chars().filter(allowed).collect();
    escape(text.as_str()).into_owned()
}

/// Reads a file that may not be there.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, SidecarError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SidecarError::Io {
            deed: "read",
            path: path.to_owned(),
            source,
        }),
    }
}

/// Writes a file whole or not at all: under another name first, then in its place.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), SidecarError> {
    let io = |source| SidecarError::Io {
        deed: "write",
        path: path.to_owned(),
        source,
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Hidden, so that no program takes it for a sidecar; of one name, so that a crash leaves one at most and the next run takes it over.
    let temporary = path.with_file_name(format!(".{name}.monocle-part"));
    let written = std::fs::File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let done = written.and_then(|()| {
        // What others may do with it stays as it was.
        if let Ok(before) = std::fs::metadata(path) {
            std::fs::set_permissions(&temporary, before.permissions())?;
        }
        std::fs::rename(&temporary, path)
    });
    done.map_err(|source| {
        let _ = std::fs::remove_file(&temporary);
        io(source)
    })
}
