//! Contract 0.2: written by `cargo run --release -p monocle-tests --example native_abi` from `plugin-api/wit/v0.2`; do not edit. What everything means stands there, and in
//! `plugin-api/include/monocle_plugin.h`.
#![allow(missing_docs, reason = "the documentation stands in plugin-api/wit")]

use std::ffi::c_void;

use crate::{List, Optional, Status, Text};

#[repr(C)]
#[derive(Clone, Copy)]
pub struct ModelFiles {
    pub config: Text,
    pub preprocessor: Optional<Text>,
    pub processor: Optional<Text>,
    pub generation: Optional<Text>,
    pub options: Text,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Size {
    pub width: u32,
    pub height: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Video {
    pub size: Size,
    pub times: List<f64>,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Audio {
    pub rate: u32,
    pub channels: u32,
    pub samples: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Medium {
    pub tag: u32,
    pub value: MediumValue,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub union MediumValue {
    pub none: u8,
    pub picture: Size,
    pub video: Video,
    pub audio: Audio,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Part {
    pub tag: u32,
    pub value: PartValue,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub union PartValue {
    pub none: u8,
    pub text: Text,
    pub medium: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Content {
    pub tag: u32,
    pub value: ContentValue,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub union ContentValue {
    pub none: u8,
    pub text: Text,
    pub parts: List<Part>,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct ToolCall {
    pub id: Optional<Text>,
    pub name: Text,
    pub arguments: Text,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Message {
    pub role: Text,
    pub content: Content,
    pub reasoning: Optional<Text>,
    pub tool_calls: List<ToolCall>,
    pub tool_call: Optional<Text>,
    pub name: Optional<Text>,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Request {
    pub messages: List<Message>,
    pub media: List<Medium>,
    pub tools: List<Text>,
    pub variables: Text,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Slot {
    pub medium: u32,
    pub offset: u32,
    pub tokens: u32,
    pub token_id: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Piece {
    pub tag: u32,
    pub value: PieceValue,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub union PieceValue {
    pub none: u8,
    pub tokens: List<u32>,
    pub features: Slot,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct MediumPlan {
    pub used: Size,
    pub pieces: u32,
    pub tensors: List<List<u32>>,
    pub layout: List<u32>,
    pub features: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct ExplicitPositions {
    pub axes: u32,
    pub values: List<i32>,
    pub next: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct PositionScheme {
    pub tag: u32,
    pub value: PositionSchemeValue,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub union PositionSchemeValue {
    pub none: u8,
    pub explicit: ExplicitPositions,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Mark {
    pub name: Text,
    pub values: List<i32>,
    pub generated: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct AttentionScheme {
    pub tag: u32,
    pub value: AttentionSchemeValue,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub union AttentionSchemeValue {
    pub none: u8,
    pub prefix: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct ContextRange {
    pub from_token: u32,
    pub to_token: u32,
    pub from_row: u32,
    pub to_row: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct FeatureUse {
    pub tag: u32,
    pub value: FeatureUseValue,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub union FeatureUseValue {
    pub none: u8,
    pub context: List<ContextRange>,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct EncoderPlan {
    pub pieces: List<Piece>,
    pub positions: PositionScheme,
    pub marks: List<Mark>,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Plan {
    pub text: Text,
    pub pieces: List<Piece>,
    pub media: List<MediumPlan>,
    pub encoder: Optional<EncoderPlan>,
    pub positions: PositionScheme,
    pub marks: List<Mark>,
    pub attention: AttentionScheme,
    pub feature_use: FeatureUse,
    pub stop_tokens: List<u32>,
    pub keep_tokens: List<u32>,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Place {
    pub x: f32,
    pub y: f32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct AnswerRectangle {
    pub medium: u32,
    pub label: Optional<Text>,
    pub upper_left: Place,
    pub lower_right: Place,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct AnswerPoint {
    pub medium: u32,
    pub label: Optional<Text>,
    pub at: Place,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct AnswerOutline {
    pub medium: u32,
    pub label: Optional<Text>,
    pub points: List<Place>,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct AnswerLabel {
    pub medium: u32,
    pub label: Text,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct AnswerPart {
    pub tag: u32,
    pub value: AnswerPartValue,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub union AnswerPartValue {
    pub none: u8,
    pub text: Text,
    pub rectangle: AnswerRectangle,
    pub point: AnswerPoint,
    pub outline: AnswerOutline,
    pub label: AnswerLabel,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct RenderOptions {
    pub fallback: Optional<Text>,
    pub variables: Text,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Normalisation {
    pub rescale: f64,
    pub mean: [f32; 3],
    pub deviation: [f32; 3],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct RopeAngles {
    pub frequencies: List<f32>,
    pub axes: List<u8>,
    pub pairing: u32,
    pub scale: f32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct SelfAttention {
    pub scale: f32,
    pub softcap: Optional<f32>,
    pub causal: u8,
    pub segments: List<u32>,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Window {
    pub size: [u32; 2],
    pub stride: [u32; 2],
    pub padding: [u32; 2],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CachedAttention {
    pub layer: u32,
    pub scale: f32,
    pub softcap: Optional<f32>,
    pub window: Optional<u32>,
    pub value_dim: Optional<u32>,
}

/// `interface log`
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LogTable {
    pub size: usize,
    pub write: unsafe extern "C" fn(host: *const Host, level: u32, text: Text) -> Status,
}

/// `interface tokenizers`
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct TokenizersTable {
    pub size: usize,
    pub encode: unsafe extern "C" fn(host: *const Host, text: Text, add_special_tokens: u8, result: *mut List<u32>) -> Status,
    pub add: unsafe extern "C" fn(host: *const Host, tokens: List<Text>, special: u8, result: *mut List<u32>) -> Status,
    pub adds_beginning: unsafe extern "C" fn(host: *const Host, result: *mut Optional<u32>) -> Status,
    pub token_id: unsafe extern "C" fn(host: *const Host, token: Text, result: *mut Optional<u32>) -> Status,
    pub token: unsafe extern "C" fn(host: *const Host, id: u32, result: *mut Optional<Text>) -> Status,
}

/// `interface prompts`
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct PromptsTable {
    pub size: usize,
    pub render: unsafe extern "C" fn(host: *const Host, request: *const Request, options: *const RenderOptions, result: *mut Text, words: *mut Text) -> Status,
}

/// `interface images`
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ImagesTable {
    pub size: usize,
    pub image_size: unsafe extern "C" fn(host: *const Host, this: u32, result: *mut Size) -> Status,
    pub image_resize: unsafe extern "C" fn(host: *const Host, this: u32, width: u32, height: u32, filter: u32, result: *mut u32) -> Status,
    pub image_crop: unsafe extern "C" fn(host: *const Host, this: u32, left: i32, top: i32, width: u32, height: u32, result: *mut u32) -> Status,
    pub image_pad: unsafe extern "C" fn(host: *const Host, this: u32, left: u32, top: u32, right: u32, bottom: u32, red: u8, green: u8, blue: u8, result: *mut u32) -> Status,
    pub pixels_shape: unsafe extern "C" fn(host: *const Host, this: u32, result: *mut List<u32>) -> Status,
    pub stack: unsafe extern "C" fn(host: *const Host, images: List<u32>, normalisation: *const Normalisation, layout: u32, result: *mut u32) -> Status,
    pub image_drop: unsafe extern "C" fn(host: *const Host, this: u32) -> Status,
    pub pixels_drop: unsafe extern "C" fn(host: *const Host, this: u32) -> Status,
}

/// `interface tensors`
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct TensorsTable {
    pub size: usize,
    pub tensor_shape: unsafe extern "C" fn(host: *const Host, this: u32, result: *mut List<u32>) -> Status,
    pub tensor_kind: unsafe extern "C" fn(host: *const Host, this: u32, result: *mut u32) -> Status,
    pub tensor_unary: unsafe extern "C" fn(host: *const Host, this: u32, operation: u32, result: *mut u32) -> Status,
    pub tensor_binary: unsafe extern "C" fn(host: *const Host, this: u32, operation: u32, other: u32, result: *mut u32) -> Status,
    pub tensor_scale_shift: unsafe extern "C" fn(host: *const Host, this: u32, scale: f32, shift: f32, result: *mut u32) -> Status,
    pub tensor_clamp: unsafe extern "C" fn(host: *const Host, this: u32, low: f32, high: f32, result: *mut u32) -> Status,
    pub tensor_select: unsafe extern "C" fn(host: *const Host, this: u32, a: u32, b: u32, result: *mut u32) -> Status,
    pub tensor_cast: unsafe extern "C" fn(host: *const Host, this: u32, kind: u32, result: *mut u32) -> Status,
    pub tensor_matmul: unsafe extern "C" fn(host: *const Host, this: u32, right: u32, transpose_right: u8, result: *mut u32) -> Status,
    pub tensor_rms_norm: unsafe extern "C" fn(host: *const Host, this: u32, weight: Optional<u32>, epsilon: f32, offset: f32, result: *mut u32) -> Status,
    pub tensor_layer_norm: unsafe extern "C" fn(host: *const Host, this: u32, weight: u32, bias: Optional<u32>, epsilon: f32, result: *mut u32) -> Status,
    pub tensor_softmax: unsafe extern "C" fn(host: *const Host, this: u32, result: *mut u32) -> Status,
    pub tensor_top_k: unsafe extern "C" fn(host: *const Host, this: u32, k: u32, result: *mut u32) -> Status,
    pub tensor_gather_last: unsafe extern "C" fn(host: *const Host, this: u32, indices: u32, result: *mut u32) -> Status,
    pub tensor_reduce: unsafe extern "C" fn(host: *const Host, this: u32, reduction: u32, axes: List<u32>, keep: u8, result: *mut u32) -> Status,
    pub tensor_reshape: unsafe extern "C" fn(host: *const Host, this: u32, shape: List<u32>, result: *mut u32) -> Status,
    pub tensor_permute: unsafe extern "C" fn(host: *const Host, this: u32, axes: List<u32>, result: *mut u32) -> Status,
    pub tensor_slice: unsafe extern "C" fn(host: *const Host, this: u32, axis: u32, start: u32, end: u32, step: u32, result: *mut u32) -> Status,
    pub tensor_broadcast: unsafe extern "C" fn(host: *const Host, this: u32, shape: List<u32>, result: *mut u32) -> Status,
    pub tensor_pad: unsafe extern "C" fn(host: *const Host, this: u32, axis: u32, before: u32, after: u32, value: f32, result: *mut u32) -> Status,
    pub tensor_take_rows: unsafe extern "C" fn(host: *const Host, this: u32, indices: u32, result: *mut u32) -> Status,
    pub tensor_put_rows: unsafe extern "C" fn(host: *const Host, this: u32, indices: u32, rows: u32, result: *mut u32) -> Status,
    pub tensor_conv2d: unsafe extern "C" fn(host: *const Host, this: u32, kernel: u32, bias: Optional<u32>, window: *const Window, groups: u32, result: *mut u32) -> Status,
    pub tensor_pool2d: unsafe extern "C" fn(host: *const Host, this: u32, pooling: u32, window: *const Window, result: *mut u32) -> Status,
    pub tensor_interpolate: unsafe extern "C" fn(host: *const Host, this: u32, height: u32, width: u32, method: u32, align_corners: u8, antialias: u8, result: *mut u32) -> Status,
    pub tensor_rope: unsafe extern "C" fn(host: *const Host, this: u32, positions: u32, angles: *const RopeAngles, result: *mut u32) -> Status,
    pub tensor_attention: unsafe extern "C" fn(host: *const Host, this: u32, k: u32, v: u32, attention: *const SelfAttention, result: *mut u32) -> Status,
    pub floats: unsafe extern "C" fn(host: *const Host, shape: List<u32>, values: List<f32>, result: *mut u32) -> Status,
    pub ints: unsafe extern "C" fn(host: *const Host, shape: List<u32>, values: List<i32>, result: *mut u32) -> Status,
    pub full: unsafe extern "C" fn(host: *const Host, shape: List<u32>, value: f32, result: *mut u32) -> Status,
    pub concat: unsafe extern "C" fn(host: *const Host, tensors: List<u32>, axis: u32, result: *mut u32) -> Status,
    pub tensor_drop: unsafe extern "C" fn(host: *const Host, this: u32) -> Status,
}

/// `interface weights`
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct WeightsTable {
    pub size: usize,
    pub parameter_shape: unsafe extern "C" fn(host: *const Host, this: u32, result: *mut List<u32>) -> Status,
    pub parameter_value: unsafe extern "C" fn(host: *const Host, this: u32, result: *mut u32) -> Status,
    pub linear_shape: unsafe extern "C" fn(host: *const Host, this: u32, result: *mut List<u32>) -> Status,
    pub linear_forward: unsafe extern "C" fn(host: *const Host, this: u32, x: u32, result: *mut u32) -> Status,
    pub linear_forward_heads: unsafe extern "C" fn(host: *const Host, this: u32, x: u32, heads: u32, transposed: u8, result: *mut u32) -> Status,
    pub embedding_shape: unsafe extern "C" fn(host: *const Host, this: u32, result: *mut List<u32>) -> Status,
    pub embedding_forward: unsafe extern "C" fn(host: *const Host, this: u32, ids: u32, result: *mut u32) -> Status,
    pub experts_shape: unsafe extern "C" fn(host: *const Host, this: u32, result: *mut List<u32>) -> Status,
    pub experts_forward: unsafe extern "C" fn(host: *const Host, this: u32, x: u32, indices: u32, result: *mut u32) -> Status,
    pub has: unsafe extern "C" fn(host: *const Host, name: Text, result: *mut u8) -> Status,
    pub names: unsafe extern "C" fn(host: *const Host, prefix: Text, result: *mut List<Text>) -> Status,
    pub get_parameter: unsafe extern "C" fn(host: *const Host, name: Text, result: *mut u32) -> Status,
    pub get_linear: unsafe extern "C" fn(host: *const Host, name: Text, result: *mut u32) -> Status,
    pub get_embedding: unsafe extern "C" fn(host: *const Host, name: Text, result: *mut u32) -> Status,
    pub stack_experts: unsafe extern "C" fn(host: *const Host, names: List<Text>, result: *mut u32) -> Status,
    pub get_experts: unsafe extern "C" fn(host: *const Host, name: Text, result: *mut u32) -> Status,
    pub parameter_drop: unsafe extern "C" fn(host: *const Host, this: u32) -> Status,
    pub linear_drop: unsafe extern "C" fn(host: *const Host, this: u32) -> Status,
    pub embedding_drop: unsafe extern "C" fn(host: *const Host, this: u32) -> Status,
    pub experts_drop: unsafe extern "C" fn(host: *const Host, this: u32) -> Status,
}

/// `interface batches`
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct BatchesTable {
    pub size: usize,
    pub batch_tokens: unsafe extern "C" fn(host: *const Host, this: u32, result: *mut u32) -> Status,
    pub batch_ids: unsafe extern "C" fn(host: *const Host, this: u32, result: *mut u32) -> Status,
    pub batch_positions: unsafe extern "C" fn(host: *const Host, this: u32, result: *mut u32) -> Status,
    pub batch_mark: unsafe extern "C" fn(host: *const Host, this: u32, name: Text, result: *mut u32) -> Status,
    pub batch_medium_mask: unsafe extern "C" fn(host: *const Host, this: u32, result: *mut u32) -> Status,
    pub batch_splice_features: unsafe extern "C" fn(host: *const Host, this: u32, x: u32, set: u32, result: *mut u32) -> Status,
    pub batch_add_features: unsafe extern "C" fn(host: *const Host, this: u32, x: u32, set: u32, result: *mut u32) -> Status,
    pub batch_select_logits: unsafe extern "C" fn(host: *const Host, this: u32, x: u32, result: *mut u32) -> Status,
    pub batch_attend: unsafe extern "C" fn(host: *const Host, this: u32, q: u32, k: u32, v: Optional<u32>, attention: *const CachedAttention, result: *mut u32) -> Status,
    pub batch_attend_shared: unsafe extern "C" fn(host: *const Host, this: u32, q: u32, attention: *const CachedAttention, result: *mut u32) -> Status,
    pub batch_short_conv: unsafe extern "C" fn(host: *const Host, this: u32, x: u32, kernel: u32, bias: Optional<u32>, layer: u32, result: *mut u32) -> Status,
    pub batch_recurrent: unsafe extern "C" fn(host: *const Host, this: u32, q: u32, k: u32, v: u32, gate: u32, beta: u32, layer: u32, result: *mut u32) -> Status,
    pub batch_has_context: unsafe extern "C" fn(host: *const Host, this: u32, result: *mut u8) -> Status,
    pub batch_new_context: unsafe extern "C" fn(host: *const Host, this: u32, result: *mut Optional<u32>) -> Status,
    pub batch_context_mask: unsafe extern "C" fn(host: *const Host, this: u32, result: *mut u32) -> Status,
    pub batch_cross_attend: unsafe extern "C" fn(host: *const Host, this: u32, q: u32, k: Optional<u32>, v: Optional<u32>, attention: *const CachedAttention, result: *mut u32) -> Status,
    pub batch_drop: unsafe extern "C" fn(host: *const Host, this: u32) -> Status,
}

/// `interface processor`
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ProcessorTable {
    pub size: usize,
    pub configure: unsafe extern "C" fn(instance: *mut Instance, host: *const Host, files: *const ModelFiles, words: *mut Text) -> Status,
    pub plan: unsafe extern "C" fn(instance: *mut Instance, host: *const Host, request: *const Request, result: *mut Plan, words: *mut Text) -> Status,
    pub pixels: unsafe extern "C" fn(instance: *mut Instance, host: *const Host, index: u32, image: u32, result: *mut List<u32>, words: *mut Text) -> Status,
    pub output: unsafe extern "C" fn(instance: *mut Instance, host: *const Host, text: Text, last: u8, result: *mut Text) -> Status,
    pub parts: unsafe extern "C" fn(instance: *mut Instance, host: *const Host, answer: Text, result: *mut List<AnswerPart>) -> Status,
}

/// `interface network`
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct NetworkTable {
    pub size: usize,
    pub load: unsafe extern "C" fn(instance: *mut Instance, host: *const Host, files: *const ModelFiles, words: *mut Text) -> Status,
    pub encode: unsafe extern "C" fn(instance: *mut Instance, host: *const Host, pixels: List<u32>, layout: List<u32>, result: *mut List<u32>, words: *mut Text) -> Status,
    pub encode_prompt: unsafe extern "C" fn(instance: *mut Instance, host: *const Host, batch: u32, result: *mut u32, words: *mut Text) -> Status,
    pub forward: unsafe extern "C" fn(instance: *mut Instance, host: *const Host, batch: u32, result: *mut u32, words: *mut Text) -> Status,
}

/// What the host gives to a call. Tables are null that a plugin of this kind does not get.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Host {
    pub size: usize,
    pub abi: u32,
    pub context: *mut c_void,
    pub log: *const LogTable,
    pub tokenizers: *const TokenizersTable,
    pub prompts: *const PromptsTable,
    pub images: *const ImagesTable,
    pub tensors: *const TensorsTable,
    pub weights: *const WeightsTable,
    pub batches: *const BatchesTable,
}

/// What a plugin keeps of one request.
#[repr(C)]
#[derive(Debug)]
pub struct Instance {
    _private: [u8; 0],
}

/// What a plugin gives.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Plugin {
    pub size: usize,
    pub abi: u32,
    pub stamp: Text,
    pub create: unsafe extern "C" fn() -> *mut Instance,
    pub destroy: unsafe extern "C" fn(instance: *mut Instance),
    pub processor: *const ProcessorTable,
    pub network: *const NetworkTable,
}
