//! What a plugin instance may ask of the model that it serves.

use monocle_tensor::stored::Weight;

use super::contract::Rendering;

/// In which role a plugin asks for a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// As a tensor.
    Parameter,
    /// As a linear layer.
    Linear,
    /// As an embedding table.
    Embedding,
    /// As the stacked layers of experts.
    Experts,
}

/// The model behind an instance. Instances are made and used on any thread.
pub trait Services: Send + Sync {
    /// Token ids of a text.
    fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, String>;
    /// The id of a token by its text.
    fn token_id(&self, token: &str) -> Option<u32>;
    /// The text of a token by its id.
    fn token(&self, id: u32) -> Option<String>;
    /// Adds tokens that the vocabulary lacks, after its last; gives the ids of all.
    fn add_tokens(&self, tokens: &[String], special: bool) -> Result<Vec<u32>, String>;
    /// Renders a conversation with the template in force.
    fn render(&self, rendering: &Rendering) -> Result<String, String>;
    /// Whether the checkpoint has a tensor of this name.
    fn has_weight(&self, name: &str) -> bool;
    /// Names of the checkpoint's tensors that start with a prefix, sorted.
    fn weight_names(&self, prefix: &str) -> Vec<String>;
    /// A weight, or why it cannot be had, with the nearest names.
    fn weight(&self, name: &str, role: Role) -> Result<Weight, String>;
    /// Layers that are stored one by one, as the stacked layers of experts.
    fn stack(&self, names: &[String]) -> Result<Weight, String>;
}
