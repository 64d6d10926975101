//! What a server says of a repository: which commit a revision is, and which files it has.

use std::collections::BTreeMap;
use std::fmt;

use monocle_fetch::http::shown;
use serde::de::{DeserializeSeed, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use url::Url;

use crate::gguf::is_gguf_name;
use crate::hub::names::{Oid, is_commit, is_file_name, is_file_path, is_in_tree};

/// The longest answer that is no file, all pages of a listing together.
pub const LONGEST: u64 = 16 << 20;
/// The most pages of a listing; the hub puts 1000 files on one.
pub const MOST_PAGES: usize = 100;
/// The most files in a repository's root that a model could want: no model has a hundredth of them.
const MOST_FILES: usize = 20_000;

/// The most folders of a repository that are looked into.
const MOST_FOLDERS: usize = 32;

/// The commit that a revision is, from the answer about it.
pub fn commit(answer: &[u8]) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Info {
        sha: Option<String>,
    }
    let info: Info = serde_json::from_slice(answer).map_err(|error| no_json(&error))?;
    match info.sha {
        Some(sha) if is_commit(&sha) => Ok(sha),
        Some(sha) => Err(format!(
            "it says that the revision is `{}`, which is no commit",
            shown(&sha)
        )),
        None => Err("it does not say which commit the revision is".to_owned()),
    }
}

/// A file of a repository, as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its bytes.
    pub size: u64,
    /// What they hash to; none where the server does not say.
    pub oid: Option<Oid>,
}

/// The files of a repository that could be wanted: those of its root, and GGUF files of folders that were asked for. Their names are [`is_file_path`].
#[derive(Debug, Default)]
pub struct Listing {
    files: BTreeMap<String, Listed>,
    /// Some names of all, for messages.
    seen: Vec<String>,
    /// Some folders.
    folders: Vec<String>,
}

impl Listing {
    /// Adds a page. A path that git cannot have is refused; what could be no file of a model is passed over.
    pub fn add(&mut self, page: &[u8]) -> Result<(), String> {
        self.add_where(page, is_file_name)
    }

    /// Adds a page of one of the folders, of which only GGUF files are wanted.
    pub fn add_folder(&mut self, page: &[u8]) -> Result<(), String> {
        self.add_where(page, |path| is_file_path(path) && is_gguf_name(path))
    }

    fn add_where(&mut self, page: &[u8], is_wanted: fn(&str) -> bool) -> Result<(), String> {
        let mut refused = None;
        let mut json = serde_json::Deserializer::from_slice(page);
        let entries = Entries {
            listing: self,
            is_wanted,
            refused: &mut refused,
        };
        let read = entries.deserialize(&mut json).and_then(|()| json.end());
        match refused {
            Some(reason) => Err(reason),
            None => read.map_err(|error| no_json(&error)),
        }
    }

    fn take(&mut self, entry: Entry, is_wanted: fn(&str) -> bool) -> Result<(), String> {
        const SHOWN: usize = 12;
        if !is_in_tree(&entry.path) {
            return Err(format!(
                "it lists `{}`, which no repository can have",
                shown(&entry.path)
            ));
        }
        if entry.r#type != "file" {
            if entry.r#type == "directory" && self.folders.len() < MOST_FOLDERS && is_file_name(&entry.path) {
                self.folders.push(entry.path);
            }
            return Ok(());
        }
        if self.seen.len() < SHOWN {
            self.seen.push(shown(&entry.path));
        }
        if !is_wanted(&entry.path) {
            return Ok(());
        }
        if self.files.len() >= MOST_FILES {
            return Err(format!("it lists more than {MOST_FILES} files of a model"));
        }
        let oid = match &entry.lfs {
            Some(lfs) => Oid::sha256(&lfs.oid),
            None => entry.oid.as_deref().and_then(Oid::git),
        };
        let size = entry.size.unwrap_or(0);
        self.files.insert(entry.path, Listed { size, oid });
        Ok(())
    }

    /// A file.
    pub fn get(&self, name: &str) -> Option<&Listed> {
        self.files.get(name)
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Its folders, at most so many as are looked into.
    pub fn folders(&self) -> &[String] {
        &self.folders
    }

    /// Some of what there is, for messages.
    pub fn in_words(&self) -> String {
        match self.seen.is_empty() {
            true => "nothing".to_owned(),
            false => self.seen.join(", "),
        }
    }
}

/// A line of a page.
#[derive(Deserialize)]
struct Entry {
    r#type: String,
    path: String,
    size: Option<u64>,
    oid: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    oid: String,
}

/// Takes a page's entries one by one: all at once would take many times what the page has.
struct Entries<'a> {
    listing: &'a mut Listing,
    is_wanted: fn(&str) -> bool,
    /// Why an entry was refused, which is not the JSON's fault.
    refused: &'a mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Entries<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, page: D) -> Result<(), D::Error> {
        page.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = ();

    fn expecting(&self, words: &mut fmt::Formatter<'_>) -> fmt::Result {
        words.write_str("a list of files")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut page: A) -> Result<(), A::Error> {
        while let Some(entry) = page.next_element()? {
            if let Err(reason) = self.listing.take(entry, self.is_wanted) {
                *self.refused = Some(reason);
                return Err(serde::de::Error::custom("an entry was refused"));
            }
        }
        Ok(())
    }
}

/// The address of a listing's next page, from the header `Link`. Only where it goes on is taken from it.
pub fn next_page(current: &Url, link: &str) -> Option<Url> {
    let is_next = |part: &&str| part.contains("rel=\"next\"");
    let part = link.split(',').find(is_next)?;
    let target = part.split_once('<')?.1.split_once('>')?.0;
    let target = current.join(target).ok()?;
    let mut next = current.clone();
    next.set_query(Some(target.query()?));
    Some(next)
}

fn no_json(error: &serde_json::Error) -> String {
    format!("its answer makes no sense: {}", shown(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_next_page_is_asked_of_the_same_server() {
        let current = Url::parse("https://hub/api/models/a/b/tree/c").unwrap();
        let next = |link: &str| next_page(&current, link).map(String::from);
        let expected = Some("https://hub/api/models/a/b/tree/c?cursor=x%3D".to_owned());
        assert_eq!(
            next("<https://hub/api/models/a/b/tree/c?cursor=x%3D>; rel=\"next\""),
            expected
        );
        assert_eq!(
            next("<http://127.0.0.1/evil?cursor=x%3D>; rel=\"next\""),
            expected
        );
        assert_eq!(next("<https://hub/x?y>; rel=\"prev\""), None);
        assert_eq!(next("<https://hub/x>; rel=\"next\""), None);
        assert_eq!(next("rel=\"next\""), None);
    }

    #[test]
    fn large_files_have_sha256_and_small_ones_a_git_hash() {
        let (git, sha256) = ("a".repeat(40), "b".repeat(64));
        let page = json!([
            { "type": "file", "path": "small.json", "size": 3, "oid": git },
            { "type": "file", "path": "large.safetensors", "size": 5, "oid": git, "lfs": { "oid": sha256, "size": 5 } },
            { "type": "file", "path": "lied.json", "size": 1, "oid": "../../x" },
            { "type": "file", "path": "lied.safetensors", "size": 1, "oid": git, "lfs": { "oid": git } },
            { "type": "directory", "path": "onnx", "oid": git, "size": 0 },
            { "type": "file", "path": "onnx/model.json", "size": 1, "oid": git },
        ]);
        let mut listing = Listing::default();
        listing.add(page.to_string().as_bytes()).unwrap();
        let oid = |name: &str| listing.get(name).unwrap().oid.clone();
        assert_eq!(oid("small.json"), Oid::git(&git));
        assert_eq!(oid("large.safetensors"), Oid::sha256(&sha256));
        assert_eq!((oid("lied.json"), oid("lied.safetensors")), (None, None));
        assert_eq!(listing.names().count(), 4);
        assert_eq!(listing.folders(), ["onnx"]);
        // Of a folder, GGUF files alone.
        let page = json!([
            { "type": "file", "path": "Q8_0/x.gguf", "size": 1, "oid": git },
            { "type": "file", "path": "Q8_0/x.json", "size": 1, "oid": git },
            { "type": "file", "path": "a/b/x.gguf", "size": 1, "oid": git },
        ]);
        listing.add_folder(page.to_string().as_bytes()).unwrap();
        assert_eq!(
            listing
                .names()
                .filter(|name| name.contains('/'))
                .collect::<Vec<_>>(),
            ["Q8_0/x.gguf"]
        );
    }

    #[test]
    fn very_many_files_are_refused() {
        let page = |files: std::ops::Range<usize>| {
            let entry = |at| format!(r#"{{"type":"file","path":"{at}.json"}}"#);
            format!("[{}]", files.map(entry).collect::<Vec<_>>().join(","))
        };
        let mut listing = Listing::default();
        listing.add(page(0..MOST_FILES - 1).as_bytes()).unwrap();
        listing.add(page(MOST_FILES - 1..MOST_FILES).as_bytes()).unwrap();
        let error = listing
            .add(page(MOST_FILES..MOST_FILES + 1).as_bytes())
            .unwrap_err();
        assert_eq!(error, "it lists more than 20000 files of a model");
        // What a model cannot want is not kept, however much of it there is.
        let others = vec![r#"{"type":"","path":"a"}"#; 100_000].join(",");
        let mut listing = Listing::default();
        listing.add(format!("[{others}]").as_bytes()).unwrap();
        assert_eq!(listing.in_words(), "nothing");
        let error = listing
            .add(b"[{\"type\":\"file\",\"path\":\"../x\"}]")
            .unwrap_err();
        assert_eq!(error, "it lists `../x`, which no repository can have");
        assert!(listing.add(b"[] x").is_err() && listing.add(b"{}").is_err());
    }

    proptest! {
        #[test]
        fn whatever_a_server_lists_only_names_of_files_come_out(paths in proptest::collection::vec("(?s).{0,8}|[./a]{0,8}|[a-z.]{1,9}", 0..5)) {
            let page: Vec<_> = paths.iter().map(|path| json!({ "type": "file", "path": path, "size": 1 })).collect();
            let mut listing = Listing::default();
            let _ = listing.add(json!(page).to_string().as_bytes());
            prop_assert!(listing.names().all(is_file_name));
            let _ = listing.add_folder(json!(page).to_string().as_bytes());
            prop_assert!(listing.names().all(is_file_path));
        }

        #[test]
        fn no_answer_makes_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), text in "[\\[\\]{}\",:a-z0-9]{0,40}") {
            for answer in [bytes.as_slice(), text.as_bytes()] {
                let _ = commit(answer);
                let _ = Listing::default().add(answer);
            }
        }
    }
}
