//! What carries a plugin: a WebAssembly component or a native library. Everything else in the host is the same for both.

use super::contract::{AnswerPart, ModelFiles, Plan, PlanRequest};
use super::error::Fault;
use super::state::State;

/// What a plugin says to a call: its answer, or its words for the user. The outer error is what ended the call.
pub type Answer<T> = Result<Result<T, String>, Fault>;

/// What an adapter answers where a network is asked.
pub const NO_NETWORK: &str =
    "an adapter has no forward pass: the manifest must name a model plugin beside it";

/// A plugin's code, loaded and linked to what its kind may have.
pub trait Carrier: Send + Sync {
    /// Starts an instance, which keeps this state.
    fn start(&self, state: State) -> Result<Box<dyn Running>, NotStarted>;
}

/// Why an instance did not start.
#[derive(Debug)]
pub enum NotStarted {
    /// It exceeded a limit.
    Fault(Fault),
    /// It cannot be started at all.
    Unusable(String),
}

/// An instance. Tensors, pictures and pixels are handles of its [`State`]. Functions of the network answer with words where the plugin is an
/// adapter.
pub trait Running: Send {
    /// What the host keeps for it.
    fn state(&self) -> &State;

    /// What the host keeps for it.
    fn state_mut(&mut self) -> &mut State;

    /// A call begins: from now on its time counts.
    fn begin_call(&mut self);

    /// `processor.configure`
    fn configure(&mut self, files: &ModelFiles) -> Answer<()>;

    /// `processor.plan`
    fn plan(&mut self, request: &PlanRequest) -> Answer<Plan>;

    /// `processor.pixels`: the pixels of one picture.
    fn pixels(&mut self, index: u32, image: u32) -> Answer<Vec<u32>>;

    /// `processor.output`
    fn output(&mut self, text: &str, last: bool) -> Result<String, Fault>;

    /// `processor.parts`
    fn parts(&mut self, answer: &str) -> Result<Vec<AnswerPart>, Fault>;

    /// `network.load`
    fn load(&mut self, files: &ModelFiles) -> Answer<()>;

    /// `network.encode`
    fn encode(&mut self, pixels: &[u32], layout: &[u32]) -> Answer<Vec<u32>>;

    /// `network.encode-prompt`
    fn encode_prompt(&mut self) -> Answer<u32>;

    /// `network.forward`
    fn forward(&mut self) -> Answer<u32>;
}
