//! Pictures by address: `http:` and `https:`, `data:`, and `file:`.
//!
//! An address may come from a web page, a mail or a model, so what it leads to is trusted as little as the server there: only public
//! addresses are asked, unless whoever runs Monocle says otherwise; sizes and times are bounded; nothing is sent but the question.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use data_url::DataUrl;
use thiserror::Error;
use url::{Host, Url};

use crate::hosts::AllowedHosts;
use crate::http::{Client, HttpError, Limits, Request, shown, shown_url, stay_on_the_web};

/// The most bytes of one picture.
pub const MOST_BYTES: u64 = 20 << 20;
/// The most bytes of all pictures that one [`PictureFetcher`] gets.
pub const MOST_BYTES_TOGETHER: u64 = 256 << 20;
/// How long a server may be silent, and how long a picture may take.
const LIMITS: Limits = Limits {
    silence: Duration::from_secs(10),
    total: Some(Duration::from_secs(30)),
    redirects: 3,
};

/// Where a picture lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On a server.
    Web(Url),
    /// In the address itself.
    Data(String),
    /// In a file.
    File(PathBuf),
}

/// A picture's address, as people write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PictureAddress {
    /// Where it lies.
    pub place: Place,
    /// The page or frame that a number behind `#` asks for.
    pub page: Option<u32>,
}

/// Why an address gives no picture.
#[derive(Debug, Error)]
pub enum PictureError {
    /// No such address can be.
    #[error("`{address}` is not the address of a picture: {reason}")]
    BadAddress {
        /// As far as it may be shown.
        address: String,
        /// What is wrong.
        reason: String,
    },
    /// It did not come.
    #[error("cannot fetch the picture `{url}`: {source}")]
    Http {
        /// The address, without its query.
        url: String,
        /// Why not.
        source: HttpError,
    },
    /// The server has none.
    #[error("cannot fetch the picture `{url}`: the server answers with status {status}{}", meaning(*status))]
    Status {
        /// The address, without its query.
        url: String,
        /// What it answers with.
        status: u16,
    },
    /// It is something else.
    #[error(
        "`{url}` is not a picture: the server says that it is `{kind}`; give the address of the picture itself"
    )]
    NotAPicture {
        /// The address, without its query.
        url: String,
        /// The content type.
        kind: String,
    },
    /// All pictures together are too much.
    #[error("the pictures fetched for one request have more than {} MiB together; fetch fewer, or save them as files first", .limit >> 20)]
    TooMuchTogether {
        /// The most bytes.
        limit: u64,
    },
}

fn meaning(status: u16) -> &'static str {
    match status {
        401 | 403 => " (it does not give it to everybody; save the picture as a file, and give that)",
        404 | 410 => " (there is nothing at this address)",
        408 | 429 | 500.. => " (it cannot answer now; try again later)",
        _ => "",
    }
}

impl PictureAddress {
    /// What a word of a command line or a message names; nothing where it is no address but a path.
    pub fn parse(text: &str) -> Option<Result<Self, PictureError>> {
        let (scheme, rest) = text.split_once(':')?;
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" => Some(Self::web(text)),
            "data" if rest.contains(',') => Some(Self::data(text)),
            "file" if rest.starts_with('/') => Some(Self::file(text)),
            // `s3://bucket/x.png` would otherwise be looked for as a file.
            other if rest.starts_with("//") && is_scheme(other) => Some(Err(PictureError::BadAddress {
                address: shown(text),
                reason: format!("expected http, https, data or file before `:`, found `{other}`"),
            })),
            _ => None,
        }
    }

    fn web(text: &str) -> Result<Self, PictureError> {
        let bad = |reason: String| PictureError::BadAddress {
            address: shown(text.split(['?', '#']).next().unwrap_or_default()),
            reason,
        };
        let mut url = Url::parse(text).map_err(|error| bad(error.to_string()))?;
        // `https:x/y.png` would be repaired to a host that nobody named.
        if !text.contains("://") {
            return Err(bad("expected `//` behind the scheme".to_owned()));
        }
        let page = url.fragment().and_then(page);
        url.set_fragment(None);
        Ok(Self {
            place: Place::Web(url),
            page,
        })
    }

    fn data(text: &str) -> Result<Self, PictureError> {
        let page = text.rsplit_once('#').and_then(|(_, fragment)| page(fragment));
        Ok(Self {
            place: Place::Data(text.to_owned()),
            page,
        })
    }

    fn file(text: &str) -> Result<Self, PictureError> {
        let bad = |reason: &str| PictureError::BadAddress {
            address: shown(text),
            reason: reason.to_owned(),
        };
        let url = Url::parse(text).map_err(|error| bad(&error.to_string()))?;
        if let Some(host) = url.host()
            && host != Host::Domain("localhost")
        {
            return Err(bad(&format!(
                "it names a file of another machine, `{host}`; a file of this one begins with `file:///`"
            )));
        }
        if url.query().is_some() {
            return Err(bad("a file has no query; write `?` in a name as `%3F`"));
        }
        let path = url
            .to_file_path()
            .map_err(|()| bad("it names no file of this system"))?;
        Ok(Self {
            place: Place::File(path),
            page: url.fragment().and_then(page),
        })
    }
}

/// A number that asks for a page; other fragments are places in a document, and mean nothing for a picture.
fn page(fragment: &str) -> Option<u32> {
    let is_number = !fragment.is_empty() && fragment.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| fragment.parse().unwrap_or(u32::MAX))
}

/// RFC 3986, section 3.1; a single letter is a drive.
fn is_scheme(word: &str) -> bool {
    word.len() > 1
        && word.starts_with(|first: char| first.is_ascii_alphabetic())
        && word
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

/// A picture's bytes, and what to call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// For messages: the address without its query, or what a `data:` address holds.
    pub name: String,
    /// The bytes, of whatever kind.
    pub bytes: Vec<u8>,
}

/// Gets the pictures of one request; each address is asked once.
#[derive(Debug)]
pub struct PictureFetcher {
    client: Client,
    limits: Limits,
    left: u64,
    known: BTreeMap<Url, Vec<u8>>,
    /// Where only these servers are asked: them, and what asks those in local networks.
    among: Option<(AllowedHosts, Client)>,
}

impl PictureFetcher {
    /// Asks the servers of a list only; redirects, too, stay among them.
    pub fn among(hosts: AllowedHosts) -> Self {
        Self {
            among: Some((hosts, Client::without_proxy())),
            ..Self::new(false)
        }
    }

    /// `private`: addresses of this machine and of local networks are asked too.
    pub fn new(private: bool) -> Self {
        Self {
            client: match private {
                true => Client::without_proxy(),
                false => Client::of_public_addresses(),
            },
            limits: LIMITS,
            left: MOST_BYTES_TOGETHER,
            known: BTreeMap::new(),
            among: None,
        }
    }

    /// With other times, shorter ones for instance.
    pub fn within(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The picture at an address of the web.
    pub fn web(&mut self, url: &Url) -> Result<Fetched, PictureError> {
        let name = shown_url(url);
        if let Some(bytes) = self.known.get(url) {
            return Ok(Fetched {
                name,
                bytes: bytes.clone(),
            });
        }
        let failed = |source| PictureError::Http {
            url: name.clone(),
            source,
        };
        let request = Request {
            url: url.clone(),
            token: None,
            from: 0,
            limits: self.limits,
        };
        let on_the_web = stay_on_the_web(url);
        let answer = match &self.among {
            None => self.client.get(&request, &on_the_web),
            Some((hosts, any)) => {
                // What may lead to a local network stays with the addresses that were named.
                let private = hosts.names_address(url);
                let client = if private { any } else { &self.client };
                client.get(&request, &|from, to: &Url| {
                    on_the_web(from, to)?;
                    hosts.check(to)?;
                    match private && !hosts.names_address(to) {
                        true => Err("a redirect must not lead from a named address elsewhere".to_owned()),
                        false => Ok(()),
                    }
                })
            }
        }
        .map_err(failed)?;
        if answer.status != 200 {
            return Err(PictureError::Status {
                url: name,
                status: answer.status,
            });
        }
        if let Some(kind) = answer.header("content-type").and_then(other_than_a_picture) {
            return Err(PictureError::NotAPicture { url: name, kind });
        }
        if answer
            .length()
            .is_some_and(|length| length <= MOST_BYTES && length > self.left)
        {
            return Err(PictureError::TooMuchTogether {
                limit: MOST_BYTES_TOGETHER,
            });
        }
        let bytes = answer.read_all(MOST_BYTES).map_err(failed)?;
        self.left = self
            .left
            .checked_sub(bytes.len() as u64)
            .ok_or(PictureError::TooMuchTogether {
                limit: MOST_BYTES_TOGETHER,
            })?;
        self.known.insert(url.clone(), bytes.clone());
        Ok(Fetched { name, bytes })
    }
}

/// The picture in a `data:` address (RFC 2397).
pub fn data(address: &str) -> Result<Fetched, PictureError> {
    let head = address.split(',').next().unwrap_or_default();
    let bad = |reason: String| PictureError::BadAddress {
        address: format!("{},…", shown(head)),
        reason,
    };
    let parsed = DataUrl::process(address).map_err(|_| {
        bad("expected `data:image/png;base64,` and the picture's bytes in base 64".to_owned())
    })?;
    let kind = parsed.mime_type().to_string();
    let (bytes, _) = parsed
        .decode_to_vec()
        .map_err(|error| bad(format!("its base 64 is damaged: {error}")))?;
    if bytes.is_empty() {
        return Err(bad("nothing stands behind the comma".to_owned()));
    }
    let kind = kind.split(';').next().unwrap_or_default();
    Ok(Fetched {
        name: format!("data:{} ({} bytes)", shown(kind), bytes.len()),
        bytes,
    })
}

/// The content type, where it says that this cannot be a picture that is read. Servers call pictures many things
/// (`application/octet-stream`, `text/plain` for endings that they do not know): then the bytes tell.
fn other_than_a_picture(content_type: &str) -> Option<String> {
    let kind = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let documents = [
        "text/html",
        "text/css",
        "text/javascript",
        "text/xml",
        "application/xhtml+xml",
        "application/xml",
        "application/json",
        "application/pdf",
        "image/svg+xml",
    ];
    let other = documents.contains(&kind.as_str())
        || ["audio/", "video/", "multipart/"]
            .iter()
            .any(|start| kind.starts_with(start));
    other.then(|| shown(&kind))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(text: &str) -> Option<Result<PictureAddress, String>> {
        Some(PictureAddress::parse(text)?.map_err(|error| error.to_string()))
    }

    fn refusal(text: &str) -> String {
        place(text).expect("it is an address").expect_err("it is refused")
    }

    #[test]
    fn addresses_are_told_from_paths() {
        for path in [
            "photo.jpg",
            "./https:",
            "/a/b.png",
            "a:b.png",
            "C:/photo.png",
            "C:\\photo.png",
            "c://x.png",
            "data:",
            "data:photo.png",
            "file:photo.png",
            "",
            ":",
            "://x",
            "1a://x",
            "~/photo.png",
            "photo.tif#2",
        ] {
            assert!(place(path).is_none(), "{path}");
        }
        let web = |text: &str| {
            Some(Ok(PictureAddress {
                place: Place::Web(Url::parse(text).unwrap()),
                page: None,
            }))
        };
        assert_eq!(place("https://a.org/b.png"), web("https://a.org/b.png"));
        assert_eq!(
            place("HTTPS://A.org/b.png?x=1#top"),
            web("https://a.org/b.png?x=1")
        );
        let second = place("http://a.org/b.tif#2").unwrap().unwrap();
        assert_eq!(
            (second.place, second.page),
            (Place::Web(Url::parse("http://a.org/b.tif").unwrap()), Some(2))
        );
        assert!(refusal("https://").contains("empty host"));
        assert!(refusal("https:a.org/b.png").contains("expected `//`"));
        assert!(refusal("https://[fe80::1%25eth0]/x.png").contains("IPv6"));
        let secret = refusal("https://a b/x.png?token=secret");
        assert!(!secret.contains("secret"), "{secret}");
        assert!(
            refusal("s3://bucket/x.png")
                .contains("expected http, https, data or file before `:`, found `s3`")
        );
    }

    #[cfg(unix)]
    #[test]
    fn files_have_addresses_too() {
        let file = |text: &str| place(text).unwrap().map(|address| (address.place, address.page));
        let path = |path: &str| Place::File(path.into());
        assert_eq!(file("file:///a/b%20c.png"), Ok((path("/a/b c.png"), None)));
        assert_eq!(file("file://localhost/a.tif#2"), Ok((path("/a.tif"), Some(2))));
        assert_eq!(file("file:/a%23b.tif"), Ok((path("/a#b.tif"), None)));
        assert!(refusal("file://server/a.png").contains("another machine, `server`"));
        assert!(refusal("file:///a.png?x").contains("%3F"));
    }

    #[test]
    fn a_picture_may_stand_in_its_address() {
        // printf 'hello\n' | base64
        for address in [
            "data:image/png;base64,aGVsbG8K",
            "data:image/png;base64,aGVs%62G8K",
            "data:image/png;base64,aGVs bG8K",
            "DATA:image/png,hello%0A",
        ] {
            let fetched = data(address).unwrap();
            assert_eq!(
                (fetched.bytes.as_slice(), fetched.name.as_str()),
                (&b"hello\n"[..], "data:image/png (6 bytes)")
            );
        }
        assert_eq!(
            place("data:image/tiff;base64,aGVsbG8K#2").unwrap().unwrap().page,
            Some(2)
        );
        for (address, words) in [
            ("data:image/png;base64,aGVsbG8", None),
            ("data:image/png;base64,a", Some("damaged")),
            ("data:image/png;base64,****", Some("damaged")),
            ("data:image/png;base64,", Some("nothing")),
        ] {
            match words {
                None => assert!(data(address).is_ok()),
                Some(words) => assert!(
                    data(address).unwrap_err().to_string().contains(words),
                    "{address}"
                ),
            }
        }
        let long = format!("data:image/png;base64,{}*", "aGVs".repeat(1000));
        assert!(data(&long).unwrap_err().to_string().len() < 200);
    }

    #[test]
    fn what_says_that_it_is_no_picture_is_none() {
        for kind in [
            "text/html; charset=utf-8",
            "TEXT/HTML",
            "application/json",
            "image/svg+xml",
            "video/mp4",
        ] {
            assert!(other_than_a_picture(kind).is_some(), "{kind}");
        }
        for kind in [
            "image/png",
            "image/x-whatever",
            "application/octet-stream",
            "binary/octet-stream",
            "text/plain",
            "",
        ] {
            assert_eq!(other_than_a_picture(kind), None, "{kind}");
        }
    }

    proptest! {
        #[test]
        fn no_word_makes_a_panic(text in "\\PC*", scheme in "(https?|data|file|ftp):/{0,3}\\PC*", base in "data:[a-z/;]*(;base64)?,[ -~]*") {
            for text in [&text, &scheme, &base] {
                match PictureAddress::parse(text) {
                    Some(Ok(PictureAddress { place: Place::Data(address), .. })) => { let _ = data(&address); }
                    Some(Ok(PictureAddress { place: Place::Web(url), .. })) => prop_assert!(url.has_host()),
                    Some(Ok(PictureAddress { place: Place::File(path), .. })) => prop_assert!(path.is_absolute()),
                    Some(Err(error)) => prop_assert!(error.to_string().chars().count() < 400),
                    None => {}
                }
            }
        }
    }
}
