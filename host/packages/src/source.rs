//! Where packages come from, and where they are put: files, addresses, registries of OCI artifacts.
//!
//! In a registry, a package is an artifact as wasm-pkg-tools' convention has it (github.com/bytecodealliance/wasm-pkg-tools; CNCF's "Wasm OCI
//! Artifact layout"): the config is of the type `application/vnd.wasm.config.v0+json`, the first layer is the component. A second layer has
//! the other files. A signature stands in the manifest's annotations.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use monocle_fetch::http::{Client, Limits, Request, shown_url, stay_encrypted};
use monocle_fetch::registry::{MANIFEST, Manifest, Reference, Repository};
use serde_json::json;
use url::Url;

use crate::package::{LARGEST, Package};
use crate::{PackageError, sha256};

/// Types of a WebAssembly artifact's parts.
const CONFIG: &str = "application/vnd.wasm.config.v0+json";
const COMPONENT: &str = "application/wasm";
/// The other files of a package.
const REST: &str = "application/vnd.monocle.package.v1.tar";
/// The annotation that holds a signature.
const SIGNATURE: &str = "monocle.package.minisig";
/// Bytes of a signature.
const LARGEST_SIGNATURE: u64 = 4096;

/// Where a package is.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file here.
    File(PathBuf),
    /// An address.
    Web(Url),
    /// A registry's artifact.
    Registry(Reference),
}

/// A package as it came.
#[derive(Debug)]
pub struct Fetched {
    /// What is in it.
    pub package: Package,
    /// Its bytes: what was signed.
    pub bytes: Vec<u8>,
    /// The signature, where there is one.
    pub signature: Option<String>,
}

impl Fetched {
    /// SHA-256 of its bytes.
    pub fn sha256(&self) -> String {
        sha256(&self.bytes)
    }
}

impl Source {
    /// Reads what a user typed.
    pub fn parse(text: &str) -> Result<Self, PackageError> {
        if let Some(reference) = Reference::parse(text) {
            return Ok(Self::Registry(reference?));
        }
        match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(Self::Web(url)),
            _ => Ok(Self::File(PathBuf::from(text))),
        }
    }

    /// What it is called, so that it can be found again: the path of a file is made absolute.
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => std::path::absolute(path)
                .unwrap_or_else(|_| path.clone())
                .display()
                .to_string(),
            Self::Web(url) => url.to_string(),
            Self::Registry(reference) => reference.to_string(),
        }
    }

    /// Gets the package that is there.
    pub fn fetch(&self, user: Option<(String, String)>) -> Result<Fetched, PackageError> {
        let name = self.name();
        match self {
            Self::File(path) => {
                let bytes = read_file(path, LARGEST)?;
                let beside = with_ending(path);
                let signature = match beside.is_file() {
                    true => Some(text(read_file(&beside, LARGEST_SIGNATURE)?, &name)?),
                    false => None,
                };
                Fetched::new(bytes, signature, &name)
            }
            Self::Web(url) => {
                let bytes = get(url, LARGEST)?.ok_or_else(|| PackageError::Absent(shown_url(url)))?;
                let mut beside = url.clone();
                beside.set_path(&format!("{}.minisig", url.path()));
                let signature = get(&beside, LARGEST_SIGNATURE)?;
                let signature = signature.map(|bytes| text(bytes, &name)).transpose()?;
                Fetched::new(bytes, signature, &name)
            }
            Self::Registry(reference) => pull(reference, user),
        }
    }
}

impl Fetched {
    fn new(bytes: Vec<u8>, signature: Option<String>, name: &str) -> Result<Self, PackageError> {
        let package = Package::read(&bytes, name)?;
        Ok(Self {
            package,
            bytes,
            signature,
        })
    }
}

fn text(bytes: Vec<u8>, name: &str) -> Result<String, PackageError> {
    String::from_utf8(bytes)
        .map_err(|_| PackageError::Signature(format!("`{name}`: its signature is no text")))
}

fn with_ending(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".minisig");
    name.into()
}

/// A file of at most so many bytes.
pub(crate) fn read_file(path: &Path, most: u64) -> Result<Vec<u8>, PackageError> {
    let failed = |source| PackageError::io("read", path, source);
    monocle_files::read(path, most).map_err(|error| failed(error.into()))
}

/// What lies at an address; `None` where nothing does.
fn get(url: &Url, most: u64) -> Result<Option<Vec<u8>>, PackageError> {
    let failed = |source| PackageError::Http {
        url: shown_url(url),
        source,
    };
    let request = Request {
        url: url.clone(),
        token: None,
        from: 0,
        limits: Limits {
            silence: Duration::from_secs(30),
            total: Some(Duration::from_secs(1800)),
            redirects: 5,
        },
    };
    let answer = Client::default().get(&request, &stay_encrypted).map_err(failed)?;
    match answer.status {
        200 => answer.read_all(most).map(Some).map_err(failed),
        404 | 410 => Ok(None),
        status => Err(PackageError::Status {
            url: shown_url(url),
            status,
        }),
    }
}

fn pull(reference: &Reference, user: Option<(String, String)>) -> Result<Fetched, PackageError> {
    let name = reference.to_string();
    let repository = Repository::new(reference, user)?;
    let (manifest, _) = repository
        .manifest(&reference.version)?
        .ok_or_else(|| PackageError::Absent(name.clone()))?;
    let layer = |kind: &str| manifest.layers.iter().find(|layer| layer.media_type == kind);
    let missing = |kind: &str| PackageError::NotAPackage {
        source_name: name.clone(),
        reason: format!("it has no layer of the type `{kind}`"),
    };
    let component = repository.blob(layer(COMPONENT).ok_or_else(|| missing(COMPONENT))?, LARGEST)?;
    let package = match layer(REST) {
        Some(rest) => Package::read_parts(&repository.blob(rest, LARGEST)?, component, &name)?,
        // Somebody else's tool put a plugin there.
        None => Package::new(component, BTreeMap::new())?,
    };
    Ok(Fetched {
        bytes: package.to_bytes(),
        package,
        signature: manifest.annotations.get(SIGNATURE).cloned(),
    })
}

/// Puts a package into a registry; gives the manifest's digest. A version that is there with other content stays as it is.
pub fn push(
    package: &Package,
    signature: Option<String>,
    reference: &Reference,
    user: Option<(String, String)>,
) -> Result<String, PackageError> {
    let repository = Repository::new(reference, user)?;
    let about = package.about();
    let component = repository.push_blob(COMPONENT, package.component())?;
    let rest = repository.push_blob(REST, &package.rest_to_bytes())?;
    let world = monocle_component::world(package.component()).map_err(|error| PackageError::NotAPackage {
        source_name: about.name.clone(),
        reason: error.to_string(),
    })?;
    let config = json!({
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [component.digest],
        "component": { "exports": world.exports, "imports": world.imports, "target": null },
    });
    let config = repository.push_blob(CONFIG, config.to_string().as_bytes())?;
    let mut annotations = BTreeMap::from([
        ("org.opencontainers.image.title".to_owned(), about.name.clone()),
        (
            "org.opencontainers.image.version".to_owned(),
            about.version.clone(),
        ),
    ]);
    annotations.extend(signature.map(|signature| (SIGNATURE.to_owned(), signature)));
    let manifest = Manifest {
        schema_version: 2,
        media_type: MANIFEST.to_owned(),
        artifact_type: None,
        config,
        layers: vec![component, rest],
        annotations,
    };
    if let Some((there, digest)) = repository.manifest(&reference.version)?
        && reference.version == about.version
    {
        return match there == manifest {
            true => Ok(digest),
            false => Err(PackageError::Refused(format!(
                "`{reference}` is there with other content, and those who have it rely on it\n\nhint: give the plugin another version"
            ))),
        };
    }
    Ok(repository.push_manifest(&reference.version, &manifest)?)
}
