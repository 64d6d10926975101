//! Loading a plugin's component: checked, compiled (or taken from the cache), linked to what its kind may have.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use sha2::{Digest, Sha256};
use wasmtime::component::{Component, HasSelf, InstancePre, Linker};
use wasmtime::{Cache, CacheConfig, Config, Engine};

use super::bindings::exports::monocle::plugin::{network, processor};
use super::bindings::monocle::plugin::{batches, images, log, prompts, tensors, tokenizers, types, weights};
use super::recording::State;
use crate::plugin::error::PluginError;
use crate::plugin::stamp::{CONTRACT, PluginKind, Stamp};

/// How often the clock of call deadlines ticks.
pub const TICK: Duration = Duration::from_millis(10);
/// Larger files are no plugins.
const LARGEST: u64 = 256 << 20;

/// A plugin, ready to be instantiated.
pub struct Plugin {
    /// What it says of itself.
    pub stamp: Stamp,
    /// Where it was read from.
    pub path: PathBuf,
    /// SHA-256 of the file, in hexadecimal.
    pub hash: String,
    pub(super) instance: InstancePre<State>,
    pub(super) processor: processor::GuestIndices,
    pub(super) network: Option<network::GuestIndices>,
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
        if !stamp.is_served() {
            let advice = format!(
                "its author can rebuild it with `monocle-plugin` {CONTRACT}; its user can look for a newer release of it"
            );
            return Err(PluginError::Incompatible {
                name: stamp.name,
                version: stamp.version,
                found: stamp.contract,
                served: CONTRACT.to_owned(),
                advice,
            });
        }
        let engine = engine();
        let component = Component::from_binary(engine, &wasm)
            .map_err(|error| unusable(format!("it does not compile: {error:#}")))?;
        let instance = linker(engine, stamp.kind)
            .and_then(|linker| linker.instantiate_pre(&component))
            .map_err(|error| {
                unusable(format!(
                    "it asks for what {} plugins do not get: {error:#}",
                    stamp.kind
                ))
            })?;
        let missing =
            |error: wasmtime::Error| unusable(format!("it does not give what the contract asks: {error:#}"));
        let processor = processor::GuestIndices::new(&instance).map_err(missing)?;
        let network = match stamp.kind {
            PluginKind::Adapter => None,
            PluginKind::Model => Some(network::GuestIndices::new(&instance).map_err(missing)?),
        };
        let hash = Sha256::digest(&wasm)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(Self {
            stamp,
            path: path.to_owned(),
            hash,
            instance,
            processor,
            network,
        })
    }
}

impl Plugin {
    /// Whether a word stands anywhere in the file: what a plugin looks for by name stands there. A file that cannot be read any more is not
    /// accused of anything.
    pub fn mentions(&self, word: &str) -> bool {
        let found = |bytes: Vec<u8>| {
            bytes
                .windows(word.len().max(1))
                .any(|part| part == word.as_bytes())
        };
        word.is_empty() || read(&self.path).map_or(true, found)
    }
}

/// Reads a file that may be a plugin.
pub fn read(path: &Path) -> Result<Vec<u8>, PluginError> {
    let unreadable = |source| PluginError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > LARGEST {
        let reason = format!(
            "it has {} MiB, more than the {} that a plugin may have",
            size >> 20,
            LARGEST >> 20
        );
        return Err(PluginError::NotAPlugin {
            path: path.to_owned(),
            reason,
        });
    }
    std::fs::read(path).map_err(unreadable)
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// One engine for the process: its clock thread ticks for all instances.
fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let mut config = Config::new();
        config.epoch_interruption(true);
        config.max_wasm_stack(1 << 20);
        // A cache that cannot be used costs time, nothing else.
        config.cache(cache_folder().and_then(|folder| {
            let mut cache = CacheConfig::new();
            cache.with_directory(folder);
            Cache::new(cache).ok()
        }));
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
    std::path::absolute(base.join("plugins")).ok()
}

/// What a kind of plugin may import. An adapter gets no tensor: what is not linked cannot be called.
fn linker(engine: &Engine, kind: PluginKind) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    types::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    log::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    tokenizers::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    prompts::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    images::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    if kind == PluginKind::Model {
        tensors::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
        weights::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
        batches::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    }
    Ok(linker)
}
