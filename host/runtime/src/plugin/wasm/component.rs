//! Loading a plugin's component: checked, compiled (or taken from the cache), linked to what its kind may have.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use sha2::{Digest, Sha256};
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Config, Engine};

use super::compiled::{Examined, Store};
use super::recording::State;
use super::version::{self, Exports};
use crate::plugin::bounds;
use crate::plugin::error::PluginError;
use crate::plugin::stamp::{CONTRACT, Stamp};

/// How often the clock of call deadlines ticks.
pub const TICK: Duration = Duration::from_millis(10);
/// Larger files are no plugins.
const LARGEST: u64 = 64 << 20;

/// A plugin, ready to be instantiated.
pub struct Plugin {
    /// What it says of itself.
    pub stamp: Stamp,
    /// Where it was read from.
    pub path: PathBuf,
    /// SHA-256 of the file, in hexadecimal.
    pub hash: String,
    pub(super) instance: InstancePre<State>,
    pub(super) exports: Box<dyn Exports>,
}

impl Plugin {
    /// Loads a plugin. Compiled code is cached between runs, keyed by the file's content.
    pub fn load(path: &Path) -> Result<Self, PluginError> {
        let unusable = |reason: String| PluginError::NotAPlugin {
            path: path.to_owned(),
            reason,
        };
        let wasm = read(path)?;
        let stamp = Stamp::read(&wasm).map_err(unusable)?;
        let Some(version) = version::of(&stamp) else {
            let advice = format!(
                "its author can rebuild it with `monocle-plugin` {CONTRACT}; its user can look for a newer release of it"
            );
            return Err(PluginError::Incompatible {
                name: stamp.name,
                version: stamp.version,
                found: stamp.contract,
                served: version::served(),
                advice,
            });
        };
        bounds::check(&wasm).map_err(unusable)?;
        let engine = engine();
        let component = compile(engine, &wasm, &stamp.name)
            .map_err(|error| unusable(format!("it does not compile: {error:#}")))?;
        let mut linker = Linker::new(engine);
        let instance = version
            .link(&mut linker, stamp.kind)
            .and_then(|()| linker.instantiate_pre(&component))
            .map_err(|error| {
                unusable(format!(
                    "it asks for what {} plugins do not get: {error:#}",
                    stamp.kind
                ))
            })?;
        let exports = version
            .exports(&instance, stamp.kind)
            .map_err(|error| unusable(format!("it does not give what the contract asks: {error:#}")))?;
        let hash = sha256(&wasm);
        Ok(Self {
            stamp,
            path: path.to_owned(),
            hash,
            instance,
            exports,
        })
    }
}

impl Plugin {
    /// Whether a word stands anywhere in the file: what a plugin looks for by name stands there. A file that cannot be read any more is not
    /// accused of anything.
    pub fn mentions(&self, word: &str) -> bool {
        self.unmentioned([word]).is_empty()
    }

    /// Those of some words that stand nowhere in the file.
    pub fn unmentioned<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
        let Ok(bytes) = read(&self.path) else {
            return Vec::new();
        };
        let stands = |word: &&str| {
            let mut parts = bytes.windows(word.len().max(1));
            word.is_empty() || parts.any(|part| part == word.as_bytes())
        };
        words.into_iter().filter(|word| !stands(word)).collect()
    }
}

/// Reads a file that may be a plugin.
pub fn read(path: &Path) -> Result<Vec<u8>, PluginError> {
    let unreadable = |source| PluginError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let unusable = |reason: String| PluginError::NotAPlugin {
        path: path.to_owned(),
        reason,
    };
    // Looked at before it is opened: a named pipe would wait for a writer.
    let found = std::fs::metadata(path).map_err(unreadable)?;
    if !found.is_file() {
        return Err(unreadable(std::io::Error::other("it is not a file")));
    }
    let too_large = || {
        unusable(format!(
            "it has {} MiB, more than the {} that a plugin may have",
            found.len() >> 20,
            LARGEST >> 20
        ))
    };
    if found.len() > LARGEST {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let read = file.take(LARGEST + 1).read_to_end(&mut bytes);
    if read.map_err(unreadable)? as u64 > LARGEST {
        return Err(too_large());
    }
    Ok(bytes)
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    super::compiled::hex(&Sha256::digest(bytes))
}

/// Who is told before something large is compiled.
static TOLD: OnceLock<fn(&str, usize)> = OnceLock::new();
/// Components of so many bytes take seconds: those of JavaScript's and Python's tools.
const TAKES_SECONDS: usize = 2 << 20;

/// Has somebody told of each plugin that is about to be compiled and is so large that it takes seconds: its name, and its bytes. The first who
/// asks is told.
pub fn tell_of_compiling(told: fn(&str, usize)) {
    let _ = TOLD.set(told);
}

/// Compiled code from the store, or made now and put there.
fn compile(engine: &Engine, wasm: &[u8], name: &str) -> wasmtime::Result<Component> {
    let tell = || match TOLD.get() {
        Some(told) if wasm.len() >= TAKES_SECONDS => told(name, wasm.len()),
        _ => {}
    };
    let Ok(store) = store() else {
        tell();
        return Component::from_binary(engine, wasm);
    };
    if let Some(component) = store.load(engine, wasm) {
        return Ok(component);
    }
    tell();
    let code = engine.precompile_component(wasm)?;
    store.keep(engine, wasm, &code);
    // SAFETY: the compiler made these bytes just now, for this engine.
    unsafe { Component::deserialize(engine, &code) }
}

fn store() -> &'static Result<Store, String> {
    static STORE: OnceLock<Result<Store, String>> = OnceLock::new();
    STORE.get_or_init(|| match cache_folder() {
        Some(folder) => Store::open(&folder),
        None => Err("no folder for caches is known: neither MONOCLE_CACHE nor HOME is set".to_owned()),
    })
}

/// Why compiled plugins are not kept between runs, where they are not.
pub fn not_kept() -> Option<String> {
    let reason = store().as_ref().err()?;
    Some(format!("plugins are compiled each time: {reason}"))
}

/// Where compiled plugins are kept, if they are.
pub fn kept_folder() -> Option<PathBuf> {
    let store = store().as_ref().ok()?;
    Some(store.folder().to_owned())
}

/// Looks at the compiled plugins that are kept: the folder and what lies in it; or why none are.
pub fn examine_kept() -> Result<(PathBuf, Examined), String> {
    let store = store().as_ref().map_err(String::clone)?;
    Ok((store.folder().to_owned(), store.examine(engine())))
}

/// One engine for the process: its clock thread ticks for all instances.
fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let mut config = Config::new();
        config.epoch_interruption(true);
        config.max_wasm_stack(1 << 20);
        // Nothing that makes plugins has more than one memory in a module.
        config.wasm_multi_memory(false);
        let engine = Engine::new(&config).expect("the configuration is fixed and valid");
        let weak = engine.weak();
        std::thread::Builder::new()
            .name("plugin-clock".to_owned())
            .spawn(move || {
                while let Some(engine) = weak.upgrade() {
                    engine.increment_epoch();
                    drop(engine);
                    std::thread::sleep(TICK);
                }
            })
            .expect("a thread can be started");
        engine
    })
}

/// Where compiled plugins are kept: `MONOCLE_CACHE`, else the user's cache folder.
fn cache_folder() -> Option<PathBuf> {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let base = set("MONOCLE_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|base| base.join("monocle")))
        .or_else(|| {
            let home = set("HOME")?;
            let cache = if cfg!(target_os = "macos") {
                home.join("Library/Caches")
            } else {
                home.join(".cache")
            };
            Some(cache.join("monocle"))
        })?;
    std::path::absolute(base.join("compiled")).ok()
}
