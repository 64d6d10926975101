//! Packages: `monocle plugins pack`, `push`, `install`, `update`, `remove`, `verify`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use monocle_fetch::registry::Reference;
use monocle_packages::installed::{Done, Home, is_newer};
use monocle_packages::signature::Key;
use monocle_packages::source::{Fetched, Source, push};
use monocle_packages::{Package, PackageError};
use monocle_runtime::model::locate::Places;
use monocle_runtime::plugin::file;
use monocle_runtime::plugin::stamp::Stamp;
use monocle_runtime::plugin::wasm::{self, component::Component};

use super::project::Project;
use super::test;
use crate::compile::Patience;
use crate::{Misuse, output};

#[derive(Debug, Args)]
pub struct Pack {
    /// The plugin's folder
    #[arg(default_value = ".")]
    folder: PathBuf,

    /// The package's file [default: NAME-VERSION.monocle here]
    #[arg(short, long)]
    output: Option<PathBuf>,

    /// Do not test the plugin, and put no report into the package
    #[arg(long)]
    untested: bool,
}

#[derive(Debug, Args)]
pub struct Push {
    /// A package's file, or a plugin's folder, which is packed
    package: PathBuf,

    /// Where it goes: `oci://REGISTRY/NAME`, by the plugin's version and as `latest`; or `oci://REGISTRY/NAME:TAG`, by this tag alone.
    /// MONOCLE_REGISTRY_USER and MONOCLE_REGISTRY_PASSWORD say who you are
    to: String,

    /// A signature of the package's file, as `minisign -S` makes it [default: the file beside the package that ends in `.minisig`]
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,

    /// Do not test the plugin of a folder
    #[arg(long)]
    untested: bool,
}

#[derive(Debug, Args)]
pub struct Install {
    /// A package's file, an address that begins with https:, or `oci://REGISTRY/NAME:TAG`
    source: String,

    /// The author's public key (minisign): the package must be signed by it, and so must later versions
    #[arg(long, value_name = "KEY|FILE")]
    key: Option<String>,
}

#[derive(Debug, Args)]
pub struct Update {
    /// The plugins [default: all that were installed]
    names: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Remove {
    /// The plugin
    name: String,
}

#[derive(Debug, Args)]
pub struct Verify {
    /// Ask where each came from, too: whether it is still there, and the same
    #[arg(long)]
    online: bool,

    /// Take the files as they are now for what was installed
    #[arg(long, conflicts_with = "online")]
    accept: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Who asks registries.
fn user() -> Option<(String, String)> {
    let name = std::env::var("MONOCLE_REGISTRY_USER").ok()?;
    Some((
        name,
        std::env::var("MONOCLE_REGISTRY_PASSWORD").unwrap_or_default(),
    ))
}

fn home() -> anyhow::Result<Home> {
    let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
    Ok(Home::of(
        &home.context("no home folder is known: HOME is not set")?,
    ))
}

/// The package of a plugin's folder.
fn pack(folder: &Path, untested: bool) -> anyhow::Result<Package> {
    let project = Project::must_open(folder)?;
    let built = project.plugins().join(format!("{}.wasm", project.name));
    let component = monocle_files::read(&built, file::LARGEST).with_context(|| {
        format!(
            "cannot read `{}`\n\nhint: `monocle plugins build` makes it",
            built.display()
        )
    })?;
    let mut files = BTreeMap::new();
    for (place, ends) in [
        ("manifests", &["toml", "jinja"][..]),
        ("manifests/tools", &["toml"]),
    ] {
        let Ok(entries) = std::fs::read_dir(folder.join(place)) else {
            continue;
        };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let wanted = path
                .extension()
                .is_some_and(|end| ends.iter().any(|wanted| end == *wanted));
            if let Some(name) = path.file_name().filter(|_| wanted) {
                files.insert(format!("{place}/{}", name.to_string_lossy()), read(&path)?);
            }
        }
    }
    let licence = folder.join("LICENSE");
    if licence.is_file() {
        files.insert("LICENSE".to_owned(), read(&licence)?);
    }
    if !untested {
        let report = test::of_project(&project).context(
            "a package says that its plugin passed its test; `--untested` makes one that does not say so",
        )?;
        files.insert("report.json".to_owned(), report);
    }
    Ok(Package::new(component, files)?)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    monocle_files::read(path, file::LARGEST).with_context(|| format!("cannot read `{}`", path.display()))
}

impl Pack {
    pub fn run(self) -> anyhow::Result<()> {
        let package = pack(&self.folder, self.untested)?;
        let about = package.about();
        let file = format!("{}-{}.monocle", about.name, about.version);
        let to = match self.output {
            Some(folder) if folder.is_dir() => folder.join(file),
            Some(path) => path,
            None => file.into(),
        };
        let bytes = package.to_bytes();
        std::fs::write(&to, &bytes).with_context(|| format!("cannot write `{}`", to.display()))?;
        let manifests: Vec<&str> = package.manifests().map(|(name, _)| name).collect();
        let mut text = format!(
            "{} ({} {}, {}, {} kB, sha256 {})\n",
            to.display(),
            about.name,
            about.version,
            about.kind,
            bytes.len() / 1000,
            monocle_packages::sha256(&bytes)
        );
        if manifests.is_empty() {
            text.push_str("no manifests: those of a folder `manifests` would be in it, so that others can run a model by its name\n");
        } else {
            text.push_str(&format!("with {}\n", manifests.join(", ")));
        }
        if package.licence().is_none() {
            text.push_str("no licence: a file `LICENSE` would be in it\n");
        }
        output::print(&text)
    }
}

impl Push {
    pub fn run(self) -> anyhow::Result<()> {
        let Some(reference) = Reference::parse(&self.to) else {
            return Err(Misuse(format!(
                "packages are pushed to `oci://REGISTRY/NAME`, found {:?}",
                self.to
            ))
            .into());
        };
        let reference = reference?;
        let (package, beside) = match self.package.is_dir() {
            true => (pack(&self.package, self.untested)?, None),
            false => {
                let fetched = Source::File(self.package.clone()).fetch(None)?;
                (fetched.package, fetched.signature)
            }
        };
        let signature = match &self.signature {
            Some(path) => Some(String::from_utf8(read(path)?).context("a signature is text")?),
            None => beside,
        };
        // A name without a tag: the version, which stays, and what is newest.
        let last = self.to.rsplit('/').next().unwrap_or_default();
        let tags = match last.contains([':', '@']) {
            true => vec![reference.version.clone()],
            false => vec![package.about().version.clone(), "latest".to_owned()],
        };
        for tag in tags {
            let to = reference.at(&tag);
            let digest = push(&package, signature.clone(), &to, user())?;
            output::print(&format!("{to} ({digest})\n"))?;
        }
        Ok(())
    }
}

/// What the host says of a package before it is installed: a plugin that nobody could load is not.
fn check(fetched: &Fetched, source: &str) -> anyhow::Result<()> {
    let component = fetched.package.component();
    let stamp = Stamp::read(component).map_err(|reason| anyhow::anyhow!("{reason}"))?;
    anyhow::ensure!(
        wasm::is_served(&stamp),
        "`{}` was built for contract {}, this version of Monocle serves {}",
        stamp.name,
        stamp.contract,
        wasm::served()
    );
    // It is compiled now, with time to do it, and not when somebody waits for an answer.
    let _patience = Patience::with(&stamp.name);
    Component::load(Path::new(source), component, &stamp)?;
    Ok(())
}

/// Whether a plugin of this name lies beside the program, or where `MONOCLE_PLUGINS` says: it would go first.
fn is_shipped(home: &Path, name: &str) -> bool {
    let own = home.join(".local/share/monocle/plugins");
    let own = std::fs::canonicalize(&own).unwrap_or(own);
    let folders = Places::from_env().plugins;
    let mut others = folders.folders().iter().filter(|folder| **folder != own);
    others.any(|folder| folder.join(format!("{name}.wasm")).is_file())
}

fn install(fetched: &Fetched, source: &str, key: Option<&Key>) -> anyhow::Result<String> {
    check(fetched, source)?;
    let place = std::env::home_dir().unwrap_or_default();
    let done = home()?.install(fetched, source, key, &|name| is_shipped(&place, name))?;
    let about = fetched.package.about();
    let what = match done {
        Done::Installed => "installed".to_owned(),
        Done::Replaced(before) => format!("installed in place of {before}"),
        Done::Current => "is installed already".to_owned(),
    };
    let signed = match (
        &fetched.signature,
        home()?
            .list()?
            .packages
            .get(&about.name)
            .and_then(|entry| entry.key.clone()),
    ) {
        (_, Some(key)) => format!("signed by {key}"),
        (Some(_), None) => "signed, but nobody said by whom: `--key` checks it".to_owned(),
        (None, None) => "not signed".to_owned(),
    };
    let tested = match fetched.package.report() {
        Some(_) => "its author tested it",
        None => "without a report of a test",
    };
    let mut text = format!(
        "{} {} {what} ({}, sha256 {}, {signed}, {tested})\n",
        about.name,
        about.version,
        about.kind,
        &fetched.sha256()[..12]
    );
    let manifests = fetched
        .package
        .manifests()
        .filter_map(|(name, _)| name.strip_suffix(".toml"));
    for model in manifests.filter(|name| !name.contains('/')) {
        text.push_str(&format!("monocle run {model}\n"));
    }
    Ok(text)
}

impl Install {
    pub fn run(self) -> anyhow::Result<()> {
        let key = match &self.key {
            Some(key) if Path::new(key).is_file() => {
                Some(Key::read(&String::from_utf8_lossy(&read(Path::new(key))?))?)
            }
            Some(key) => Some(Key::read(key)?),
            None => None,
        };
        let source = Source::parse(&self.source)?;
        let fetched = source.fetch(user())?;
        output::print(&install(&fetched, &source.name(), key.as_ref())?)
    }
}

impl Update {
    pub fn run(self) -> anyhow::Result<()> {
        let list = home()?.list()?;
        for name in &self.names {
            anyhow::ensure!(
                list.packages.contains_key(name),
                "no package `{name}` is installed\n\nhint: `monocle plugins` shows those that are"
            );
        }
        let wanted = |name: &String| self.names.is_empty() || self.names.contains(name);
        let mut failed = 0;
        for (name, entry) in list.packages.iter().filter(|(name, _)| wanted(name)) {
            match updated(name, &entry.version, &entry.package, &entry.source) {
                Ok(text) => output::print(&text)?,
                Err(error) => {
                    failed += 1;
                    output::note(&format!("{name}: {}", crate::in_words(&error)));
                }
            }
        }
        anyhow::ensure!(failed == 0, "{failed} could not be updated");
        Ok(())
    }
}

fn updated(name: &str, version: &str, hash: &str, source: &str) -> anyhow::Result<String> {
    let fetched = Source::parse(source)?.fetch(user())?;
    let about = fetched.package.about();
    anyhow::ensure!(
        about.name == name,
        "`{source}` has a plugin `{}` now: what is installed stays",
        about.name
    );
    if fetched.sha256() == hash {
        return Ok(format!("{name} {version} is the newest at `{source}`\n"));
    }
    anyhow::ensure!(
        about.version == version || is_newer(&about.version, version),
        "`{source}` has {} now, older than {version}: what is installed stays",
        about.version
    );
    // The same version with other content is refused there, in words.
    install(&fetched, source, None)
}

impl Remove {
    pub fn run(self) -> anyhow::Result<()> {
        let kept = home()?.remove(&self.name)?;
        for path in kept {
            output::note(&format!("note: `{}` was changed, and stays", path.display()));
        }
        output::print(&format!("{} removed\n", self.name))
    }
}

impl Verify {
    pub fn run(self) -> anyhow::Result<()> {
        let home = home()?;
        if self.accept {
            home.accept()?;
        }
        let mut findings = home.verify()?;
        let list = home.list()?;
        if self.online {
            for (name, entry) in &list.packages {
                let problem = match Source::parse(&entry.source).and_then(|source| source.fetch(user())) {
                    Err(PackageError::Absent(at)) => {
                        format!("`{at}` is not there any more: it was withdrawn")
                    }
                    Err(error) => error.to_string(),
                    Ok(there) if there.package.about().version != entry.version => continue,
                    Ok(there) if there.sha256() == entry.package => continue,
                    Ok(_) => format!("`{}` has {} with other content now", entry.source, entry.version),
                };
                findings.push(monocle_packages::installed::Finding {
                    package: name.clone(),
                    problem,
                });
            }
        }
        if self.json {
            output::print_json(&findings)?;
        } else {
            for (name, entry) in &list.packages {
                let own: Vec<&str> = findings
                    .iter()
                    .filter(|finding| finding.package == *name)
                    .map(|finding| finding.problem.as_str())
                    .collect();
                let words = match own.is_empty() {
                    true => "as it was installed".to_owned(),
                    false => own.join("; "),
                };
                output::print(&format!("{name} {}  {words}\n", entry.version))?;
            }
        }
        anyhow::ensure!(
            findings.is_empty(),
            "{} of what is installed is not as it should be",
            findings.len()
        );
        Ok(())
    }
}
