//! The host's side of a library's instance: its state, and the functions of the contract on handles that are numbers.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use monocle_image::{Filter, ImageError, Layout, Normalise, Picture};
use monocle_plugin_abi::{Keep, Lift, Lower, Malformed};
use monocle_tensor::operation::Op;

use crate::plugin::error::Fault;
use crate::plugin::state::State;

/// What functions of the contract give; an error ends the library's call.
pub type Result<T> = std::result::Result<T, Fault>;

/// Stands for a tensor of a recording.
pub struct TensorHandle;
/// Stands for a weight used as a tensor.
pub struct ParameterHandle;
/// Stands for a linear layer's weight.
pub struct LinearHandle;
/// Stands for an embedding table.
pub struct EmbeddingHandle;
/// Stands for the stacked weights of experts.
pub struct ExpertsHandle;
/// Stands for the batch of a forward pass.
pub struct BatchHandle;
/// Stands for a picture.
pub struct ImageHandle;
/// Stands for prepared pixels.
pub struct PixelsHandle;

/// A handle of something.
pub struct Resource<T> {
    rep: u32,
    of: PhantomData<T>,
}

impl<T> Resource<T> {
    /// Of this number.
    pub fn new_own(rep: u32) -> Self {
        Self { rep, of: PhantomData }
    }

    /// Its number.
    pub fn rep(&self) -> u32 {
        self.rep
    }
}

impl<T> Lower for Resource<T> {
    type Abi = u32;
    const POINTS: bool = false;

    fn lower(&self, _keep: &Keep) -> u32 {
        self.rep
    }
}

impl<T> Lift for Resource<T> {
    type Abi = u32;

    unsafe fn lift(abi: &u32) -> std::result::Result<Self, Malformed> {
        Ok(Self::new_own(*abi))
    }
}

/// See the module.
pub struct HostSide {
    state: State,
}

impl HostSide {
    /// Of a fresh instance.
    pub fn new(state: State) -> Self {
        Self { state }
    }

    /// Ends the plugin's call with this fault.
    pub fn fail<T>(&mut self, fault: Fault) -> Result<T> {
        Err(fault)
    }

    /// Records an operation.
    pub fn record(
        &mut self,
        op: Op,
        operands: &[&Resource<TensorHandle>],
        shape: Option<&[u32]>,
    ) -> Result<Resource<TensorHandle>> {
        let operands: Vec<u32> = operands.iter().map(|operand| operand.rep()).collect();
        Ok(Resource::new_own(self.state.record(op, &operands, shape)?))
    }

    /// The shape of a weight.
    pub fn weight_shape(&mut self, id: u32) -> Result<Vec<u32>> {
        self.state.weight_shape(id)
    }

    /// A picture at another size.
    pub fn resize_image(
        &mut self,
        image: &Resource<ImageHandle>,
        size: [u32; 2],
        filter: Filter,
    ) -> Result<Resource<ImageHandle>> {
        Ok(Resource::new_own(self.state.resize_image(
            image.rep(),
            size,
            filter,
        )?))
    }

    /// A new picture made from another.
    pub fn derive(
        &mut self,
        image: &Resource<ImageHandle>,
        size: [u32; 2],
        make: impl FnOnce(&Picture) -> std::result::Result<Picture, ImageError>,
    ) -> Result<Resource<ImageHandle>> {
        Ok(Resource::new_own(self.state.derive(image.rep(), size, make)?))
    }

    /// Pictures of one size as one tensor.
    pub fn stack_images(
        &mut self,
        images: &[Resource<ImageHandle>],
        normalise: &Normalise,
        layout: Layout,
    ) -> Result<Resource<PixelsHandle>> {
        let images: Vec<u32> = images.iter().map(Resource::rep).collect();
        Ok(Resource::new_own(
            self.state.stack_images(&images, normalise, layout)?,
        ))
    }

    /// Adds tokens to the tokenizer.
    pub fn add_tokens(&mut self, tokens: &[String], special: bool) -> Result<Vec<u32>> {
        self.state.add_tokens(tokens, special)
    }

    /// Token ids of a text.
    pub fn encode_text(&mut self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>> {
        self.state.encode_text(text, add_special_tokens)
    }
}

impl Deref for HostSide {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for HostSide {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}
