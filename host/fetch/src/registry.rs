//! Registries of OCI artifacts (github.com/opencontainers/distribution-spec, version 1.1): manifests and blobs, got and put.

use std::cell::RefCell;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;
use url::Url;

use crate::http::{self, Answer, Client, HttpError, Limits, Sending, shown, shown_url};

/// What a manifest is.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Bytes of a manifest, and of what else is said in JSON.
const LARGEST_MANIFEST: u64 = 1 << 20;
/// Redirects of one blob.
const REDIRECTS: usize = 5;

const LIMITS: Limits = Limits {
    silence: Duration::from_secs(60),
    total: Some(Duration::from_secs(1800)),
    redirects: REDIRECTS,
};

/// Why a registry did not do what it was asked for.
#[derive(Debug, Error)]
pub enum RegistryError {
    /// Not the name of an artifact.
    #[error("`{0}` names no artifact, expected `oci://REGISTRY/NAME:TAG` or `oci://REGISTRY/NAME@sha256:…`")]
    Reference(String),
    /// It cannot be asked.
    #[error("`{url}`: {source}")]
    Http {
        /// The address.
        url: String,
        /// Why.
        source: HttpError,
    },
    /// It says no.
    #[error("`{url}`: the registry answers {status}{}", if .says.is_empty() { String::new() } else { format!(": {says}") })]
    Status {
        /// The address.
        url: String,
        /// Its answer.
        status: u16,
        /// In its words.
        says: String,
    },
    /// It wants to know who asks.
    #[error(
        "`{url}`: the registry wants a name and a password\n\nhint: set MONOCLE_REGISTRY_USER and MONOCLE_REGISTRY_PASSWORD"
    )]
    Credentials {
        /// The address.
        url: String,
    },
    /// What came is not what its digest says.
    #[error("`{url}`: what came has the digest {found}, expected {expected}")]
    Digest {
        /// The address.
        url: String,
        /// What should have come.
        expected: String,
        /// What came.
        found: String,
    },
    /// What came makes no sense.
    #[error("`{url}`: {reason}")]
    Malformed {
        /// The address.
        url: String,
        /// Why not.
        reason: String,
    },
}

/// An artifact's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Host, and port where one is named.
    pub registry: String,
    /// The repository.
    pub name: String,
    /// A tag, or a digest.
    pub version: String,
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mark = if self.version.starts_with("sha256:") {
            '@'
        } else {
            ':'
        };
        write!(f, "oci://{}/{}{mark}{}", self.registry, self.name, self.version)
    }
}

impl Reference {
    /// Reads `oci://REGISTRY/NAME:TAG`; without a tag it is `latest`. `None` where it does not begin so.
    pub fn parse(text: &str) -> Option<Result<Self, RegistryError>> {
        let rest = text.strip_prefix("oci://")?;
        Some(Self::read(rest).ok_or_else(|| RegistryError::Reference(shown(text))))
    }

    fn read(text: &str) -> Option<Self> {
        let (registry, rest) = text.split_once('/')?;
        let (name, version) = match (rest.split_once('@'), rest.rsplit_once(':')) {
            (Some((name, digest)), _) if is_digest(digest) => (name, digest),
            (Some(_), _) => return None,
            (None, Some((name, tag))) => (name, tag),
            (None, None) => (rest, "latest"),
        };
        // As the specification has them, a little stricter.
        let word = |part: &str, most: usize| {
            let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
            (1..=most).contains(&part.len())
                && part.chars().all(letter)
                && part.starts_with(|c: char| c.is_ascii_alphanumeric())
        };
        let tag = |tag: &str| {
            let letter = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            (1..=128).contains(&tag.len()) && tag.chars().all(letter) && !tag.starts_with(['.', '-'])
        };
        let (host, port) = registry.split_once(':').unwrap_or((registry, "443"));
        let good = word(host, 253)
            && port.parse::<u16>().is_ok()
            && name.len() <= 255
            && name.split('/').all(|part| word(part, 128))
            && (is_digest(version) || tag(version));
        good.then(|| Self {
            registry: registry.to_owned(),
            name: name.to_owned(),
            version: version.to_owned(),
        })
    }

    /// The same artifact by another tag or digest.
    pub fn at(&self, version: &str) -> Self {
        Self {
            version: version.to_owned(),
            ..self.clone()
        }
    }
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64
            && hex
                .chars()
                .all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
    })
}

/// The SHA-256 of bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The digest of bytes.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256(bytes))
}

/// Something that a manifest names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// Its digest.
    pub digest: String,
    /// Its bytes.
    pub size: u64,
}

impl Descriptor {
    /// Of bytes.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: digest(bytes),
            size: bytes.len() as u64,
        }
    }
}

/// A manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// 2.
    pub schema_version: u32,
    /// [`MANIFEST`].
    #[serde(default)]
    pub media_type: String,
    /// What the artifact is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// What is said of it.
    pub config: Descriptor,
    /// What it is made of.
    pub layers: Vec<Descriptor>,
    /// Notes.
    #[serde(default)]
    pub annotations: std::collections::BTreeMap<String, String>,
}

/// One repository of a registry.
pub struct Repository {
    client: Client,
    base: Url,
    user: Option<(String, String)>,
    /// What goes into `Authorization`, once the registry has asked.
    proof: RefCell<Option<String>>,
}

impl Repository {
    /// The repository of a reference. This machine is spoken with unencrypted, everybody else by https.
    pub fn new(reference: &Reference, user: Option<(String, String)>) -> Result<Self, RegistryError> {
        let wrong = || RegistryError::Reference(shown(&reference.to_string()));
        let of = |scheme: &str| {
            let address = format!("{scheme}://{}/v2/{}/", reference.registry, reference.name);
            Url::parse(&address).map_err(|_| wrong())
        };
        let plain = of("http")?;
        let base = match http::is_private(&plain) {
            true => plain,
            false => of("https")?,
        };
        Ok(Self {
            client: Client::default(),
            base,
            user,
            proof: RefCell::new(None),
        })
    }

    /// A manifest and its digest; `None` where there is none of that name.
    pub fn manifest(&self, version: &str) -> Result<Option<(Manifest, String)>, RegistryError> {
        let url = self.url(&format!("manifests/{version}"))?;
        let accept = vec![("Accept", MANIFEST.to_owned())];
        let answer = self.send("GET", &url, accept, &[])?;
        if answer.status == 404 {
            return Ok(None);
        }
        let answer = expect(&url, answer, &[200])?;
        let bytes = answer.read_all(LARGEST_MANIFEST).map_err(at(&url))?;
        let found = digest(&bytes);
        if is_digest(version) && found != version {
            return Err(RegistryError::Digest {
                url: shown_url(&url),
                expected: version.to_owned(),
                found,
            });
        }
        let manifest = serde_json::from_slice(&bytes).map_err(|error| RegistryError::Malformed {
            url: shown_url(&url),
            reason: format!("it is no manifest: {error}"),
        })?;
        Ok(Some((manifest, found)))
    }

    /// What a descriptor names, checked; it may have so many bytes.
    pub fn blob(&self, descriptor: &Descriptor, most: u64) -> Result<Vec<u8>, RegistryError> {
        let malformed = |url: &Url, reason: String| RegistryError::Malformed {
            url: shown_url(url),
            reason,
        };
        if !is_digest(&descriptor.digest) {
            return Err(malformed(
                &self.base,
                format!("{} is no digest", shown(&descriptor.digest)),
            ));
        }
        let mut url = self.url(&format!("blobs/{}", descriptor.digest))?;
        if descriptor.size > most {
            return Err(malformed(
                &url,
                format!("it has {} bytes, more than {most}", descriptor.size),
            ));
        }
        let mut answer = self.send("GET", &url, Vec::new(), &[])?;
        for _ in 0..REDIRECTS {
            if ![301, 302, 303, 307, 308].contains(&answer.status) {
                break;
            }
            let to = answer.header("location").and_then(|to| url.join(to).ok());
            let to = to.ok_or_else(|| malformed(&url, "a redirect that leads nowhere".to_owned()))?;
            if http::is_private(&url) && !http::is_private(&to) {
                return Err(malformed(&url, "a redirect must stay on https".to_owned()));
            }
            url = to;
            // Who asks is nobody else's business.
            answer = self.ask("GET", &url, Vec::new(), &[], None)?;
        }
        let answer = expect(&url, answer, &[200])?;
        let bytes = answer.read_all(descriptor.size).map_err(at(&url))?;
        let found = digest(&bytes);
        match found == descriptor.digest {
            true => Ok(bytes),
            false => Err(RegistryError::Digest {
                url: shown_url(&url),
                expected: descriptor.digest.clone(),
                found,
            }),
        }
    }

    /// Puts bytes there, unless they are there.
    pub fn push_blob(&self, media_type: &str, bytes: &[u8]) -> Result<Descriptor, RegistryError> {
        let descriptor = Descriptor::of(media_type, bytes);
        let there = self.url(&format!("blobs/{}", descriptor.digest))?;
        if self.send("HEAD", &there, Vec::new(), &[])?.status == 200 {
            return Ok(descriptor);
        }
        let url = self.url("blobs/uploads/")?;
        let answer = expect(&url, self.send("POST", &url, Vec::new(), &[])?, &[202])?;
        let place = answer.header("location").and_then(|place| url.join(place).ok());
        let mut place = place.ok_or_else(|| RegistryError::Malformed {
            url: shown_url(&url),
            reason: "it does not say where to upload".to_owned(),
        })?;
        if place.origin() != self.base.origin() && !(http::is_private(&place)) {
            return Err(RegistryError::Malformed {
                url: shown_url(&place),
                reason: "uploads must go by https".to_owned(),
            });
        }
        place.query_pairs_mut().append_pair("digest", &descriptor.digest);
        let kind = vec![("Content-Type", "application/octet-stream".to_owned())];
        expect(&place, self.send("PUT", &place, kind, bytes)?, &[201])?;
        Ok(descriptor)
    }

    /// Puts a manifest there; gives its digest.
    pub fn push_manifest(&self, tag: &str, manifest: &Manifest) -> Result<String, RegistryError> {
        let url = self.url(&format!("manifests/{tag}"))?;
        let bytes = serde_json::to_vec(manifest).map_err(|error| RegistryError::Malformed {
            url: shown_url(&url),
            reason: error.to_string(),
        })?;
        let kind = vec![("Content-Type", MANIFEST.to_owned())];
        expect(&url, self.send("PUT", &url, kind, &bytes)?, &[201])?;
        Ok(digest(&bytes))
    }

    fn url(&self, path: &str) -> Result<Url, RegistryError> {
        self.base
            .join(path)
            .map_err(|_| RegistryError::Reference(shown(path)))
    }

    /// Asks, and proves who asks if the registry wants to know.
    fn send(
        &self,
        method: &str,
        url: &Url,
        headers: Vec<(&str, String)>,
        body: &[u8],
    ) -> Result<Answer, RegistryError> {
        let own = url.origin() == self.base.origin();
        let proof = self.proof.borrow().clone().filter(|_| own);
        let answer = self.ask(method, url, headers.clone(), body, proof.as_deref())?;
        if answer.status != 401 || !own {
            return Ok(answer);
        }
        let asked = answer.header("www-authenticate").unwrap_or_default().to_owned();
        let proof = self.proof_for(url, &asked)?;
        *self.proof.borrow_mut() = Some(proof.clone());
        self.ask(method, url, headers, body, Some(&proof))
    }

    fn ask(
        &self,
        method: &str,
        url: &Url,
        mut headers: Vec<(&str, String)>,
        body: &[u8],
        proof: Option<&str>,
    ) -> Result<Answer, RegistryError> {
        headers.extend(proof.map(|proof| ("Authorization", proof.to_owned())));
        let sending = Sending {
            method,
            url: url.clone(),
            headers,
            body,
            limits: LIMITS,
        };
        self.client.send(&sending).map_err(at(url))
    }

    /// What a registry that says 401 wants to see.
    fn proof_for(&self, url: &Url, asked: &str) -> Result<String, RegistryError> {
        let basic = |(name, password): &(String, String)| {
            format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
        };
        let wanting = || RegistryError::Credentials { url: shown_url(url) };
        let Some(parameters) = asked.strip_prefix("Bearer ") else {
            return self.user.as_ref().map(basic).ok_or_else(wanting);
        };
        let parameter = |name: &str| {
            let parts = parameters
                .split(',')
                .filter_map(|part| part.trim().split_once('='));
            let value = parts.into_iter().find(|(key, _)| *key == name);
            value.map(|(_, value)| value.trim_matches('"').to_owned())
        };
        // A scope may have a comma in it: `repository:x:pull,push`.
        let scope = parameters
            .split_once("scope=\"")
            .and_then(|(_, rest)| Some(rest.split_once('"')?.0.to_owned()));
        let realm = parameter("realm").and_then(|realm| Url::parse(&realm).ok());
        let mut realm = realm.filter(http::is_private).ok_or_else(wanting)?;
        for (name, value) in [("service", parameter("service")), ("scope", scope)] {
            if let Some(value) = value {
                realm.query_pairs_mut().append_pair(name, &value);
            }
        }
        let who = self.user.as_ref().map(basic);
        let answer = self.ask("GET", &realm, Vec::new(), &[], who.as_deref())?;
        if answer.status == 401 {
            return Err(wanting());
        }
        let answer = expect(&realm, answer, &[200])?;
        let bytes = answer.read_all(LARGEST_MANIFEST).map_err(at(&realm))?;
        let said: Token = serde_json::from_slice(&bytes).map_err(|error| RegistryError::Malformed {
            url: shown_url(&realm),
            reason: format!("it gives no token: {error}"),
        })?;
        let token = said.token.or(said.access_token).ok_or_else(wanting)?;
        Ok(format!("Bearer {token}"))
    }
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

fn at(url: &Url) -> impl Fn(HttpError) -> RegistryError {
    let url = shown_url(url);
    move |source| RegistryError::Http {
        url: url.clone(),
        source,
    }
}

fn expect(url: &Url, answer: Answer, statuses: &[u16]) -> Result<Answer, RegistryError> {
    if statuses.contains(&answer.status) {
        return Ok(answer);
    }
    let status = answer.status;
    let says = answer.read_all(4096).unwrap_or_default();
    Err(RegistryError::Status {
        url: shown_url(url),
        status,
        says: shown(&String::from_utf8_lossy(&says)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read() {
        let read = |text: &str| Reference::parse(text).map(|read| read.map(|read| read.to_string()).ok());
        assert_eq!(read("plugin.wasm"), None);
        let same = |text: &str| assert_eq!(read(text), Some(Some(text.to_owned())));
        same("oci://127.0.0.1:5000/some/thing:1.2.3");
        same("oci://registry.example/thing:latest");
        let digest = digest(b"");
        // SHA-256 of nothing (FIPS 180-4's test value).
        assert_eq!(
            digest,
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        same(&format!("oci://registry.example/a/b@{digest}"));
        assert_eq!(
            read("oci://registry.example:5000/thing"),
            Some(Some("oci://registry.example:5000/thing:latest".to_owned()))
        );
        for wrong in [
            "oci://",
            "oci://host",
            "oci://host/",
            "oci://host/../x:1",
            "oci://host/a//b:1",
            "oci://host/Upper:1",
            "oci://host:port/a:1",
            "oci://user@host/a:1",
            "oci://host/a:",
            "oci://host/a:.x",
            "oci://host/a@sha256:12",
            "oci://host/a?x:1",
        ] {
            assert_eq!(read(wrong), Some(None), "{wrong}");
        }
    }
}
