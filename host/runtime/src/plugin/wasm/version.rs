//! What one version of the contract does, whatever it is called in it.
//!
//! The host speaks in its own types (`plugin::contract`); a version's module turns them into what its plugins understand, and back. To serve
//! another version is to add a folder under `plugin-api/wit` and a module beside this one.

use wasmtime::component::{Instance, InstancePre, Linker, Resource};
use wasmtime::{Result, Store};

use super::host_side::{HostSide, ImageHandle, PixelsHandle, TensorHandle};
use super::{v0_1, v0_2};
use crate::plugin::contract::{AnswerPart, ModelFiles, Plan, PlanRequest};
use crate::plugin::stamp::{PluginKind, Stamp};

/// What a plugin says to a call: its answer, or its words for the user. The outer error is a trap.
pub type Answer<T> = Result<std::result::Result<T, String>>;

/// A version of the contract.
pub trait Version: Send + Sync {
    /// As stamps name it.
    fn number(&self) -> &'static str;

    /// Whether plugins that were built for this version of the contract can be served.
    fn serves(&self, contract: &str) -> bool;

    /// Gives plugins of this kind what they may import. An adapter gets no tensor: what is not linked cannot be called.
    fn link(&self, linker: &mut Linker<HostSide>, kind: PluginKind) -> Result<()>;

    /// Finds what a plugin exports.
    fn exports(&self, instance: &InstancePre<HostSide>, kind: PluginKind) -> Result<Box<dyn Exports>>;
}

/// What a plugin exports.
pub trait Exports: Send + Sync {
    /// The same of an instance.
    fn load(&self, store: &mut Store<HostSide>, instance: &Instance) -> Result<Box<dyn Calls>>;
}

/// The functions of one instance. Those of a network answer with words where the plugin is an adapter.
pub trait Calls: Send {
    /// `processor.configure`
    fn configure(&self, store: &mut Store<HostSide>, files: &ModelFiles) -> Answer<()>;

    /// `processor.plan`
    fn plan(&self, store: &mut Store<HostSide>, request: &PlanRequest) -> Answer<Plan>;

    /// The pixels of one picture.
    fn pixels(
        &self,
        store: &mut Store<HostSide>,
        index: u32,
        image: Resource<ImageHandle>,
    ) -> Answer<Vec<Resource<PixelsHandle>>>;

    /// `processor.output`
    fn output(&self, store: &mut Store<HostSide>, text: &str, last: bool) -> Result<String>;

    /// `processor.parts`
    fn parts(&self, store: &mut Store<HostSide>, answer: &str) -> Result<Vec<AnswerPart>>;

    /// `network.load`
    fn load(&self, store: &mut Store<HostSide>, files: &ModelFiles) -> Answer<()>;

    /// `network.encode`
    fn encode(
        &self,
        store: &mut Store<HostSide>,
        pixels: &[Resource<TensorHandle>],
        layout: &[u32],
    ) -> Answer<Vec<Resource<TensorHandle>>>;

    /// `network.encode-prompt`
    fn encode_prompt(&self, store: &mut Store<HostSide>) -> Answer<Resource<TensorHandle>>;

    /// `network.forward`
    fn forward(&self, store: &mut Store<HostSide>) -> Answer<Resource<TensorHandle>>;
}

/// The versions that this host serves, oldest first.
pub const VERSIONS: [&dyn Version; 2] = [&v0_1::V0_1, &v0_2::V0_2];

/// The version that serves a plugin.
pub fn of(stamp: &Stamp) -> Option<&'static dyn Version> {
    VERSIONS
        .into_iter()
        .find(|version| version.serves(&stamp.contract))
}

/// Whether a plugin can be served.
pub fn is_served(stamp: &Stamp) -> bool {
    of(stamp).is_some()
}

/// Their numbers, for people.
pub fn served() -> String {
    VERSIONS.map(Version::number).join(" and ")
}
