//! Generated from the contract of version 0.2.
#![allow(missing_docs, reason = "the documentation stands in plugin-api/wit")]

pub use crate::plugin::wasm::host_side::{
    BatchHandle, EmbeddingHandle, ExpertsHandle, ImageHandle, LinearHandle, ParameterHandle, PixelsHandle,
    TensorHandle,
};

wasmtime::component::bindgen!({
    path: "../../plugin-api/wit/v0.2",
    world: "model",
    imports: { default: trappable },
    with: {
        "monocle:plugin/tensors.tensor": TensorHandle,
        "monocle:plugin/weights.parameter": ParameterHandle,
        "monocle:plugin/weights.linear": LinearHandle,
        "monocle:plugin/weights.embedding": EmbeddingHandle,
        "monocle:plugin/weights.experts": ExpertsHandle,
        "monocle:plugin/batches.batch": BatchHandle,
        "monocle:plugin/images.image": ImageHandle,
        "monocle:plugin/images.pixels": PixelsHandle,
    },
});

pub use monocle::plugin::*;
