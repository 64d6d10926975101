//! `monocle plugins new`: a plugin's folder that builds and passes its test as it is.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use monocle_manifest::schema::Source;
use monocle_runtime::model::locate::Places;
use monocle_runtime::plugin::stamp::is_name;

use super::project::Language;
use super::sdk;
use crate::{Misuse, output, trace};

/// Files of the model that comes with Monocle which are no part of it.
const NOT_THE_MODEL: [&str; 2] = ["README.md", "evaluation.json"];

#[derive(Debug, Args)]
pub struct New {
    /// What the plugin is called; its folder is made here
    name: String,

    /// Prompt and pictures only; the forward pass is another plugin's (this is the default)
    #[arg(long, conflicts_with = "model")]
    adapter: bool,

    /// A whole model: its forward pass too
    #[arg(long)]
    model: bool,

    /// What it is written in
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    lang: Language,
}

/// A file of a template: where it goes, and what is in it.
type File = (&'static str, &'static str);

macro_rules! template {
    ($to:literal, $from:literal) => {
        (
            $to,
            include_str!(concat!("../../../../plugin-api/templates/", $from)),
        )
    };
}

const RUST: [File; 2] = [
    template!("Cargo.toml", "rust/Cargo.toml"),
    template!("src/processor.rs", "rust/processor.rs"),
];
const RUST_ADAPTER: [File; 1] = [template!("src/lib.rs", "rust/lib_adapter.rs")];
const RUST_MODEL: [File; 2] = [
    template!("src/lib.rs", "rust/lib_model.rs"),
    template!("src/network.rs", "rust/network.rs"),
];
const C: [File; 5] = [
    template!("plugin.c", "c/plugin.c"),
    template!("monocle.h", "c/monocle.h"),
    template!("libc/libc.c", "c/libc/libc.c"),
    template!("libc/stdlib.h", "c/libc/stdlib.h"),
    template!("libc/string.h", "c/libc/string.h"),
];
const JS: [File; 3] = [
    template!("package.json", "js/package.json"),
    template!("plugin.js", "js/plugin.js"),
    template!("monocle.js", "js/monocle.js"),
];
const PYTHON: [File; 3] = [
    template!("requirements.txt", "python/requirements.txt"),
    template!("plugin.py", "python/plugin.py"),
    template!("monocle.py", "python/monocle.py"),
];
const MANIFEST: File = template!("model.toml", "shared/model.toml");
const IGNORED: File = template!(".gitignore", "shared/gitignore");
const README: File = template!("README.md", "shared/README.md");
const DESCRIPTION: File = template!("plugin.json", "shared/plugin.json");

impl New {
    pub fn run(self) -> anyhow::Result<()> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        // A crate's name, too.
        if !is_name(&self.name)
            || !self.name.chars().all(plain)
            || !self.name.starts_with(|c: char| c.is_ascii_lowercase())
        {
            return Err(Misuse(format!(
                "a plugin is called by lower-case letters, digits and `-`, a letter first; found {:?}",
                self.name
            ))
            .into());
        }
        if self.model && self.lang != Language::Rust {
            return Err(Misuse(
                "there is a template for whole models in Rust only; start with `--adapter`, and add the functions of `network`"
                    .to_owned(),
            )
            .into());
        }
        let shapes = shipped_model()?;
        let folder = PathBuf::from(&self.name);
        std::fs::create_dir(&folder).with_context(|| format!("cannot make the folder `{}`", self.name))?;
        let made = self.write(&folder, &shapes);
        if made.is_err() {
            // Nothing of ours is left half made; the folder was not there before.
            let _ = std::fs::remove_dir_all(&folder);
        }
        made?;
        output::print(&format!(
            "{name}/: {kind} in {language}, tried on the model that comes with Monocle\n\n    cd {name}\n    monocle plugins build\n    monocle plugins test\n",
            name = self.name,
            kind = if self.model { "a model" } else { "an adapter" },
            language = match self.lang {
                Language::Rust => "Rust",
                Language::C => "C",
                Language::Js => "JavaScript",
                Language::Python => "Python",
            },
        ))
    }

    fn write(&self, folder: &Path, shapes: &Shipped) -> anyhow::Result<()> {
        let put = |name: &str, text: &str| {
            let path = folder.join(name);
            let text = self.filled(text, &shapes.plugin);
            let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
            made.and_then(|()| std::fs::write(&path, text))
                .with_context(|| format!("cannot write `{}`", path.display()))
        };
        let own: Vec<File> = match self.lang {
            Language::Rust if self.model => RUST.into_iter().chain(RUST_MODEL).collect(),
            Language::Rust => RUST.into_iter().chain(RUST_ADAPTER).collect(),
            Language::C => C.into_iter().chain([DESCRIPTION]).collect(),
            Language::Js => JS.into_iter().chain([DESCRIPTION]).collect(),
            Language::Python => PYTHON.into_iter().chain([DESCRIPTION]).collect(),
        };
        for (name, text) in own.iter().chain(&[IGNORED, README]) {
            put(name, text)?;
        }
        put(&format!("{}.toml", self.name), MANIFEST.1)?;
        put("trace_transformers.py", trace::SCRIPT)?;
        let cannot = || format!("cannot write into `{}`", folder.display());
        match self.lang {
            Language::Rust => sdk::write(&folder.join("sdk")).with_context(cannot)?,
            Language::C | Language::Js | Language::Python => {
                sdk::write_contract(&folder.join("wit")).with_context(cannot)?;
            }
        }
        if self.lang == Language::C {
            bindings_for_c(&folder.join("wit"), &folder.join("bindings"))?;
        }
        std::fs::create_dir_all(folder.join("goldens")).with_context(cannot)?;
        copy_model(&shapes.folder, &folder.join("model")).with_context(cannot)?;
        let picture = shapes.folder.join("pictures/shapes.png");
        std::fs::copy(&picture, folder.join("picture.png"))
            .with_context(|| format!("cannot copy `{}`", picture.display()))?;
        Ok(())
    }

    /// A template's text with its blanks filled; `network` is the plugin that computes the model which comes with Monocle.
    fn filled(&self, text: &str, network: &str) -> String {
        let uses = match self.model {
            true => format!("plugin = \"{}\"", self.name),
            false => format!(
                "plugin  = \"{network}\"    # the forward pass\nadapter = \"{}\"",
                self.name
            ),
        };
        let (files, needs, more) = match self.lang {
            Language::Rust => (
                "| `src` | the plugin; `cargo test` runs what is arithmetic |\n| `sdk` | the crate `monocle-plugin` and the contract, as this version of Monocle has them |\n",
                " (needs Rust, and `rustup target add wasm32-unknown-unknown`)",
                "",
            ),
            Language::C => (
                "| `plugin.c` | the plugin |\n| `monocle.h` | what most adapters need besides the contract |\n| `wit` | the contract |\n| `bindings` | the contract in C: `wit-bindgen c wit --world adapter` makes it |\n| `libc` | the few functions of a C library that these need |\n| `plugin.json` | name, version and kind |\n",
                " (needs clang, and `wasm-ld` or Rust's own linker)",
                "",
            ),
            Language::Js => (
                "| `plugin.js` | the plugin |\n| `monocle.js` | what most adapters need besides the contract |\n| `wit` | the contract |\n| `plugin.json` | name, version and kind |\n",
                " (needs node and npm)",
                "\nThe component has a whole JavaScript engine in it (12 MB): Monocle compiles it once, which takes ten seconds to a minute.\n",
            ),
            Language::Python => (
                "| `plugin.py` | the plugin |\n| `monocle.py` | what most adapters need besides the contract |\n| `wit` | the contract |\n| `plugin.json` | name, version and kind |\n",
                " (needs Python 3.10 or newer, with venv)",
                "\nThe component has a whole Python in it (18 MB): Monocle compiles it once, which takes ten seconds to a minute.\n",
            ),
        };
        text.replace("{name}", &self.name)
            .replace("{use}", &uses)
            .replace("{language}", self.lang.name())
            .replace(
                "{what}",
                "each picture is squeezed into one square, so the model sees less and answers sooner",
            )
            .replace("{files}", files)
            .replace("{needs}", needs)
            .replace("{more}", more)
    }
}

/// The model that comes with Monocle.
struct Shipped {
    folder: PathBuf,
    /// The plugin that computes it.
    plugin: String,
}

fn shipped_model() -> anyhow::Result<Shipped> {
    let places = Places::from_env();
    let manifests = places.manifests.iter().map(|folder| folder.join("shapes.toml"));
    let manifest = manifests.into_iter().find(|path| path.is_file()).context(
        "the model `shapes`, which comes with Monocle, is not beside this program: plugins are tried on it",
    )?;
    let manifest = monocle_manifest::Manifest::load(&manifest)?;
    match manifest.source {
        Source::Path(folder) => Ok(Shipped {
            folder,
            plugin: manifest.plugin.name,
        }),
        Source::Repo { repo, .. } => anyhow::bail!("`shapes` is declared as `{repo}`, expected a folder"),
    }
}

fn copy_model(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type()?.is_file() && !NOT_THE_MODEL.iter().any(|other| name == *other) {
            std::fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}

/// Header, source and an object with the world's type, as wit-bindgen makes them of the contract in a folder.
fn bindings_for_c(contract: &Path, folder: &Path) -> anyhow::Result<()> {
    let mut resolve = wit_bindgen_core::wit_parser::Resolve::default();
    let (package, _) = resolve.push_dir(contract)?;
    let world = resolve.select_world(&[package], Some("adapter"))?;
    let mut files = wit_bindgen_core::Files::default();
    wit_bindgen_c::Opts::default()
        .build()
        .generate(&mut resolve, world, &mut files)?;
    std::fs::create_dir_all(folder)?;
    for (name, bytes) in files.iter() {
        std::fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}
