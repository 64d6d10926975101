//! What wasmtime makes of the contract for components, for native libraries: written by `cargo run --release -p monocle-tests --example native_abi` from
//! `plugin-api/wit/v0.2`; do not edit.
#![allow(missing_docs, dead_code, unused_imports, clippy::redundant_closure, clippy::too_many_arguments, reason = "it is as the contract has it, which is documented in plugin-api/wit")]
#![allow(clippy::undocumented_unsafe_blocks, reason = "lifting passes its caller's promise on")]

pub mod types {
    use monocle_plugin_abi::{Keep, Lift, Lower, Malformed, v0_2 as abi};
    #[derive(Debug, Clone, PartialEq)]
    pub struct ModelFiles {
        pub config: String,
        pub preprocessor: Option<String>,
        pub processor: Option<String>,
        pub generation: Option<String>,
        pub options: String,
    }
    impl Lower for ModelFiles {
        type Abi = abi::ModelFiles;
        fn lower(&self, keep: &Keep) -> abi::ModelFiles {
            abi::ModelFiles { config: self.config.lower(keep), preprocessor: self.preprocessor.lower(keep), processor: self.processor.lower(keep), generation: self.generation.lower(keep), options: self.options.lower(keep),  }
        }
    }
    impl Lift for ModelFiles {
        type Abi = abi::ModelFiles;
        unsafe fn lift(abi: &abi::ModelFiles) -> std::result::Result<Self, Malformed> {
            // SAFETY: the caller's promise.
            unsafe { Ok(Self { config: Lift::lift(&abi.config)?, preprocessor: Lift::lift(&abi.preprocessor)?, processor: Lift::lift(&abi.processor)?, generation: Lift::lift(&abi.generation)?, options: Lift::lift(&abi.options)?,  }) }
        }
    }
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub struct Size {
        pub width: u32,
        pub height: u32,
    }
    impl Lower for Size {
        type Abi = abi::Size;
        fn lower(&self, keep: &Keep) -> abi::Size {
            abi::Size { width: self.width.lower(keep), height: self.height.lower(keep),  }
        }
    }
    impl Lift for Size {
        type Abi = abi::Size;
        unsafe fn lift(abi: &abi::Size) -> std::result::Result<Self, Malformed> {
            // SAFETY: the caller's promise.
            unsafe { Ok(Self { width: Lift::lift(&abi.width)?, height: Lift::lift(&abi.height)?,  }) }
        }
    }
    #[derive(Debug, Clone, PartialEq)]
    pub struct Video {
        pub size: Size,
        pub times: Vec<f64>,
    }
    impl Lower for Video {
        type Abi = abi::Video;
        fn lower(&self, keep: &Keep) -> abi::Video {
            abi::Video { size: self.size.lower(keep), times: self.times.lower(keep),  }
        }
    }
    impl Lift for Video {
        type Abi = abi::Video;
        unsafe fn lift(abi: &abi::Video) -> std::result::Result<Self, Malformed> {
            // SAFETY: the caller's promise.
            unsafe { Ok(Self { size: Lift::lift(&abi.size)?, times: Lift::lift(&abi.times)?,  }) }
        }
    }
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub struct Audio {
        pub rate: u32,
        pub channels: u32,
        pub samples: u64,
    }
    impl Lower for Audio {
        type Abi = abi::Audio;
        fn lower(&self, keep: &Keep) -> abi::Audio {
            abi::Audio { rate: self.rate.lower(keep), channels: self.channels.lower(keep), samples: self.samples.lower(keep),  }
        }
    }
    impl Lift for Audio {
        type Abi = abi::Audio;
        unsafe fn lift(abi: &abi::Audio) -> std::result::Result<Self, Malformed> {
            // SAFETY: the caller's promise.
            unsafe { Ok(Self { rate: Lift::lift(&abi.rate)?, channels: Lift::lift(&abi.channels)?, samples: Lift::lift(&abi.samples)?,  }) }
        }
    }
    #[derive(Debug, Clone, PartialEq)]
    pub enum Medium {
        Picture(Size),
        Video(Video),
        Audio(Audio),
    }
    impl Lower for Medium {
        type Abi = abi::Medium;
        fn lower(&self, keep: &Keep) -> abi::Medium {
            match self { Self::Picture(value) => abi::Medium { tag: 0, value: abi::MediumValue { picture: value.lower(keep) } }, Self::Video(value) => abi::Medium { tag: 1, value: abi::MediumValue { video: value.lower(keep) } }, Self::Audio(value) => abi::Medium { tag: 2, value: abi::MediumValue { audio: value.lower(keep) } }, }
        }
    }
    impl Lift for Medium {
        type Abi = abi::Medium;
        unsafe fn lift(abi: &abi::Medium) -> std::result::Result<Self, Malformed> {
            // SAFETY: the caller's promise.
            match abi.tag { 0 => unsafe { Lift::lift(&abi.value.picture).map(Self::Picture) }, 1 => unsafe { Lift::lift(&abi.value.video).map(Self::Video) }, 2 => unsafe { Lift::lift(&abi.value.audio).map(Self::Audio) }, _ => Err(Malformed("a `medium` is none of the contract's")), }
        }
    }
    #[derive(Debug, Clone, PartialEq)]
    pub enum Part {
        Text(String),
        Medium(u32),
    }
    impl Lower for Part {
        type Abi = abi::Part;
        fn lower(&self, keep: &Keep) -> abi::Part {
            match self { Self::Text(value) => abi::Part { tag: 0, value: abi::PartValue { text: value.lower(keep) } }, Self::Medium(value) => abi::Part { tag: 1, value: abi::PartValue { medium: value.lower(keep) } }, }
        }
    }
    impl Lift for Part {
        type Abi = abi::Part;
        unsafe fn lift(abi: &abi::Part) -> std::result::Result<Self, Malformed> {
            // SAFETY: the caller's promise.
            match abi.tag { 0 => unsafe { Lift::lift(&abi.value.text).map(Self::Text) }, 1 => unsafe { Lift::lift(&abi.value.medium).map(Self::Medium) }, _ => Err(Malformed("a `part` is none of the contract's")), }
        }
    }
    #[derive(Debug, Clone, PartialEq)]
    pub enum Content {
        Text(String),
        Parts(Vec<Part>),
    }
    impl Lower for Content {
        type Abi = abi::Content;
        fn lower(&self, keep: &Keep) -> abi::Content {
            match self { Self::Text(value) => abi::Content { tag: 0, value: abi::ContentValue { text: value.lower(keep) } }, Self::Parts(value) => abi::Content { tag: 1, value: abi::ContentValue { parts: value.lower(keep) } }, }
        }
    }
    impl Lift for Content {
        type Abi = abi::Content;
        unsafe fn lift(abi: &abi::Content) -> std::result::Result<Self, Malformed> {
            // SAFETY: the caller's promise.
            match abi.tag { 0 => unsafe { Lift::lift(&abi.value.text).map(Self::Text) }, 1 => unsafe { Lift::lift(&abi.value.parts).map(Self::Parts) }, _ => Err(Malformed("a `content` is none of the contract's")), }
        }
    }
    #[derive(Debug, Clone, PartialEq)]
    pub struct ToolCall {
        pub id: Option<String>,
        pub name: String,
        pub arguments: String,
    }
    impl Lower for ToolCall {
        type Abi = abi::ToolCall;
        fn lower(&self, keep: &Keep) -> abi::ToolCall {
            abi::ToolCall { id: self.id.lower(keep), name: self.name.lower(keep), arguments: self.arguments.lower(keep),  }
        }
    }
    impl Lift for ToolCall {
        type Abi = abi::ToolCall;
        unsafe fn lift(abi: &abi::ToolCall) -> std::result::Result<Self, Malformed> {
            // SAFETY: the caller's promise.
            unsafe { Ok(Self { id: Lift::lift(&abi.id)?, name: Lift::lift(&abi.name)?, arguments: Lift::lift(&abi.arguments)?,  }) }
        }
    }
    #[derive(Debug, Clone, PartialEq)]
    pub struct Message {
        pub role: String,
        pub content: Content,
        pub reasoning: Option<String>,
        pub tool_calls: Vec<ToolCall>,
        pub tool_call: Option<String>,
        pub name: Option<String>,
    }
    impl Lower for Message {
        type Abi = abi::Message;
        fn lower(&self, keep: &Keep) -> abi::Message {
            abi::Message { role: self.role.lower(keep), content: self.content.lower(keep), reasoning: self.reasoning.lower(keep), tool_calls: self.tool_calls.lower(keep), tool_call: self.tool_call.lower(keep), name: self.name.lower(keep),  }
        }
    }
    impl Lift for Message {
        type Abi = abi::Message;
        unsafe fn lift(abi: &abi::Message) -> std::result::Result<Self, Malformed> {
            // SAFETY: the caller's promise.
            unsafe { Ok(Self { role: Lift::lift(&abi.role)?, content: Lift::lift(&abi.content)?, reasoning: Lift::lift(&abi.reasoning)?, tool_calls: Lift::lift(&abi.tool_calls)?, tool_call: Lift::lift(&abi.tool_call)?, name: Lift::lift(&abi.name)?,  }) }
        }
    }
    #[derive(Debug, Clone, PartialEq)]
    pub struct Request {
        pub messages: Vec<Message>,
        pub media: Vec<Medium>,
        pub tools: Vec<String>,
        pub variables: String,
    }
    impl Lower for Request {
        type Abi = abi::Request;
        fn lower(&self, keep: &Keep) -> abi::Request {
            abi::Request { messages: self.messages.lower(keep), media: self.media.lower(keep), tools: self.tools.lower(keep), variables: self.variables.lower(keep),  }
        }
    }
    impl Lift for Request {
        type Abi = abi::Request;
        unsafe fn lift(abi: &abi::Request) -> std::result::Result<Self, Malformed> {
            // SAFETY: the caller's promise.
            unsafe { Ok(Self { messages: Lift::lift(&abi.messages)?, media: Lift::lift(&abi.media)?, tools: Lift::lift(&abi.tools)?, variables: Lift::lift(&abi.variables)?,  }) }
        }
    }
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub struct Slot {
        pub medium: u32,
        pub offset: u32,
        pub tokens: u32,
        pub token_id: u32,
    }
    impl Lower for Slot {
        type Abi = abi::Slot;
        fn lower(&self, keep: &Keep) -> abi::Slot {
            abi::Slot { medium: self.medium.lower(keep), offset: self.offset.lower(keep), tokens: self.tokens.lower(keep), token_id: self.token_id.lower(keep),  }
        }
    }
    impl Lift for Slot {
        type Abi = abi::Slot;
        unsafe fn lift(abi: &abi::Slot) -> std::result::Result<Self, Malformed> {
            // SAFETY: the caller's promise.
            unsafe { Ok(Self { medium: Lift::lift(&abi.medium)?, offset: Lift::lift(&abi.offset)?, tokens: Lift::lift(&abi.tokens)?, token_id: Lift::lift(&abi.token_id)?,  }) }
        }
    }
    #[derive(Debug, Clone, PartialEq)]
    pub enum Piece {
        Tokens(Vec<u32>),
        Features(Slot),
    }
    impl Lower for Piece {
        type Abi = abi::Piece;
        fn lower(&self, keep: &Keep) -> abi::Piece {
            match self { Self::Tokens(value) => abi::Piece { tag: 0, value: abi::PieceValue { tokens: value.lower(keep) } }, Self::Features(value) => abi::Piece { tag: 1, value: abi::PieceValue { features: value.lower(keep) } }, }
        }
    }
    impl Lift for Piece {
        type Abi = abi::Piece;
        unsafe fn lift(abi: &abi::Piece) -> std::result::Result<Self, Malformed> {
            // SAFETY: the caller's promise.
            match abi.tag { 0 => unsafe { Lift::lift(&abi.value.tokens).map(Self::Tokens) }, 1 => unsafe { Lift::lift(&abi.value.features).map(Self::Features) }, _ => Err(Malformed("a `piece` is none of the contract's")), }
        }
    }
    #[derive(Debug, Clone, PartialEq)]
    pub struct MediumPlan {
        pub used: Size,
        pub pieces: u32,
        pub tensors: Vec<Vec<u32>>,
        pub layout: Vec<u32>,
        pub features: u32,
    }
    impl Lower for MediumPlan {
        type Abi = abi::MediumPlan;
        fn lower(&self, keep: &Keep) -> abi::MediumPlan {
            abi::MediumPlan { used: self.used.lower(keep), pieces: self.pieces.lower(keep), tensors: self.tensors.lower(keep), layout: self.layout.lower(keep), features: self.features.lower(keep),  }
        }
    }
    impl Lift for MediumPlan {
        type Abi = abi::MediumPlan;
        unsafe fn lift(abi: &abi::MediumPlan) -> std::result::Result<Self, Malformed> {
            // SAFETY: the caller's promise.
            unsafe { Ok(Self { used: Lift::lift(&abi.used)?, pieces: Lift::lift(&abi.pieces)?, tensors: Lift::lift(&abi.tensors)?, layout: Lift::lift(&abi.layout)?, features: Lift::lift(&abi.features)?,  }) }
        }
    }
    #[derive(Debug, Clone, PartialEq)]
    pub struct ExplicitPositions {
        pub axes: u32,
        pub values: Vec<i32>,
        pub next: i32,
    }
    impl Lower for ExplicitPositions {
        type Abi = abi::ExplicitPositions;
        fn lower(&self, keep: &Keep) -> abi::ExplicitPositions {
            abi::ExplicitPositions { axes: self.axes.lower(keep), values: self.values.lower(keep), next: self.next.lower(keep),  }
        }
    }
    impl Lift for ExplicitPositions {
        type Abi = abi::ExplicitPositions;
        unsafe fn lift(abi: &abi::ExplicitPositions) -> std::result::Result<Self, Malformed> {
            // SAFETY: the caller's promise.
            unsafe { Ok(Self { axes: Lift::lift(&abi.axes)?, values: Lift::lift(&abi.values)?, next: Lift::lift(&abi.next)?,  }) }
        }
    }
    #[derive(Debug, Clone, PartialEq)]
    pub enum PositionScheme {
        Sequential,
        Explicit(ExplicitPositions),
    }
    impl Lower for PositionScheme {
        type Abi = abi::PositionScheme;
        fn lower(&self, keep: &Keep) -> abi::PositionScheme {
            match self { Self::Sequential => abi::PositionScheme { tag: 0, value: abi::PositionSchemeValue { none: 0 } }, Self::Explicit(value) => abi::PositionScheme { tag: 1, value: abi::PositionSchemeValue { explicit: value.lower(keep) } }, }
        }
    }
    impl Lift for PositionScheme {
        type Abi = abi::PositionScheme;
        unsafe fn lift(abi: &abi::PositionScheme) -> std::result::Result<Self, Malformed> {
            // SAFETY: the caller's promise.
            match abi.tag { 0 => Ok(Self::Sequential), 1 => unsafe { Lift::lift(&abi.value.explicit).map(Self::Explicit) }, _ => Err(Malformed("a `position-scheme` is none of the contract's")), }
        }
    }
    #[derive(Debug, Clone, PartialEq)]
    pub struct Mark {
        pub name: String,
        pub values: Vec<i32>,
        pub generated: i32,
    }
    impl Lower for Mark {
        type Abi = abi::Mark;
        fn lower(&self, keep: &Keep) -> abi::Mark {
            abi::Mark { name: self.name.lower(keep), values: self.values.lower(keep), generated: self.generated.lower(keep),  }
        }
    }
    impl Lift for Mark {
        type Abi = abi::Mark;
        unsafe fn lift(abi: &abi::Mark) -> std::result::Result<Self, Malformed> {
            // SAFETY: the caller's promise.
            unsafe { Ok(Self { name: Lift::lift(&abi.name)?, values: Lift::lift(&abi.values)?, generated: Lift::lift(&abi.generated)?,  }) }
        }
    }
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub enum AttentionScheme {
        Causal,
        Prefix(u32),
        MediumBlocks,
    }
    impl Lower for AttentionScheme {
        type Abi = abi::AttentionScheme;
        fn lower(&self, keep: &Keep) -> abi::AttentionScheme {
            match self { Self::Causal => abi::AttentionScheme { tag: 0, value: abi::AttentionSchemeValue { none: 0 } }, Self::Prefix(value) => abi::AttentionScheme { tag: 1, value: abi::AttentionSchemeValue { prefix: value.lower(keep) } }, Self::MediumBlocks => abi::AttentionScheme { tag: 2, value: abi::AttentionSchemeValue { none: 0 } }, }
        }
    }
    impl Lift for AttentionScheme {
        type Abi = abi::AttentionScheme;
        unsafe fn lift(abi: &abi::AttentionScheme) -> std::result::Result<Self, Malformed> {
            // SAFETY: the caller's promise.
            match abi.tag { 0 => Ok(Self::Causal), 1 => unsafe { Lift::lift(&abi.value.prefix).map(Self::Prefix) }, 2 => Ok(Self::MediumBlocks), _ => Err(Malformed("a `attention-scheme` is none of the contract's")), }
        }
    }
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub struct ContextRange {
        pub from_token: u32,
        pub to_token: u32,
        pub from_row: u32,
        pub to_row: u32,
    }
    impl Lower for ContextRange {
        type Abi = abi::ContextRange;
        fn lower(&self, keep: &Keep) -> abi::ContextRange {
            abi::ContextRange { from_token: self.from_token.lower(keep), to_token: self.to_token.lower(keep), from_row: self.from_row.lower(keep), to_row: self.to_row.lower(keep),  }
        }
    }
    impl Lift for ContextRange {
        type Abi = abi::ContextRange;
        unsafe fn lift(abi: &abi::ContextRange) -> std::result::Result<Self, Malformed> {
            // SAFETY: the caller's promise.
            unsafe { Ok(Self { from_token: Lift::lift(&abi.from_token)?, to_token: Lift::lift(&abi.to_token)?, from_row: Lift::lift(&abi.from_row)?, to_row: Lift::lift(&abi.to_row)?,  }) }
        }
    }
    #[derive(Debug, Clone, PartialEq)]
    pub enum FeatureUse {
        Splice,
        Context(Vec<ContextRange>),
    }
    impl Lower for FeatureUse {
        type Abi = abi::FeatureUse;
        fn lower(&self, keep: &Keep) -> abi::FeatureUse {
            match self { Self::Splice => abi::FeatureUse { tag: 0, value: abi::FeatureUseValue { none: 0 } }, Self::Context(value) => abi::FeatureUse { tag: 1, value: abi::FeatureUseValue { context: value.lower(keep) } }, }
        }
    }
    impl Lift for FeatureUse {
        type Abi = abi::FeatureUse;
        unsafe fn lift(abi: &abi::FeatureUse) -> std::result::Result<Self, Malformed> {
            // SAFETY: the caller's promise.
            match abi.tag { 0 => Ok(Self::Splice), 1 => unsafe { Lift::lift(&abi.value.context).map(Self::Context) }, _ => Err(Malformed("a `feature-use` is none of the contract's")), }
        }
    }
    #[derive(Debug, Clone, PartialEq)]
    pub struct EncoderPlan {
        pub pieces: Vec<Piece>,
        pub positions: PositionScheme,
        pub marks: Vec<Mark>,
    }
    impl Lower for EncoderPlan {
        type Abi = abi::EncoderPlan;
        fn lower(&self, keep: &Keep) -> abi::EncoderPlan {
            abi::EncoderPlan { pieces: self.pieces.lower(keep), positions: self.positions.lower(keep), marks: self.marks.lower(keep),  }
        }
    }
    impl Lift for EncoderPlan {
        type Abi = abi::EncoderPlan;
        unsafe fn lift(abi: &abi::EncoderPlan) -> std::result::Result<Self, Malformed> {
            // SAFETY: the caller's promise.
            unsafe { Ok(Self { pieces: Lift::lift(&abi.pieces)?, positions: Lift::lift(&abi.positions)?, marks: Lift::lift(&abi.marks)?,  }) }
        }
    }
    #[derive(Debug, Clone, PartialEq)]
    pub struct Plan {
        pub text: String,
        pub pieces: Vec<Piece>,
        pub media: Vec<MediumPlan>,
        pub encoder: Option<EncoderPlan>,
        pub positions: PositionScheme,
        pub marks: Vec<Mark>,
        pub attention: AttentionScheme,
        pub feature_use: FeatureUse,
        pub stop_tokens: Vec<u32>,
        pub keep_tokens: Vec<u32>,
    }
    impl Lower for Plan {
        type Abi = abi::Plan;
        fn lower(&self, keep: &Keep) -> abi::Plan {
            abi::Plan { text: self.text.lower(keep), pieces: self.pieces.lower(keep), media: self.media.lower(keep), encoder: self.encoder.lower(keep), positions: self.positions.lower(keep), marks: self.marks.lower(keep), attention: self.attention.lower(keep), feature_use: self.feature_use.lower(keep), stop_tokens: self.stop_tokens.lower(keep), keep_tokens: self.keep_tokens.lower(keep),  }
        }
    }
    impl Lift for Plan {
        type Abi = abi::Plan;
        unsafe fn lift(abi: &abi::Plan) -> std::result::Result<Self, Malformed> {
            // SAFETY: the caller's promise.
            unsafe { Ok(Self { text: Lift::lift(&abi.text)?, pieces: Lift::lift(&abi.pieces)?, media: Lift::lift(&abi.media)?, encoder: Lift::lift(&abi.encoder)?, positions: Lift::lift(&abi.positions)?, marks: Lift::lift(&abi.marks)?, attention: Lift::lift(&abi.attention)?, feature_use: Lift::lift(&abi.feature_use)?, stop_tokens: Lift::lift(&abi.stop_tokens)?, keep_tokens: Lift::lift(&abi.keep_tokens)?,  }) }
        }
    }
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub struct Place {
        pub x: f32,
        pub y: f32,
    }
    impl Lower for Place {
        type Abi = abi::Place;
        fn lower(&self, keep: &Keep) -> abi::Place {
            abi::Place { x: self.x.lower(keep), y: self.y.lower(keep),  }
        }
    }
    impl Lift for Place {
        type Abi = abi::Place;
        unsafe fn lift(abi: &abi::Place) -> std::result::Result<Self, Malformed> {
            // SAFETY: the caller's promise.
            unsafe { Ok(Self { x: Lift::lift(&abi.x)?, y: Lift::lift(&abi.y)?,  }) }
        }
    }
    #[derive(Debug, Clone, PartialEq)]
    pub struct AnswerRectangle {
        pub medium: u32,
        pub label: Option<String>,
        pub upper_left: Place,
        pub lower_right: Place,
    }
    impl Lower for AnswerRectangle {
        type Abi = abi::AnswerRectangle;
        fn lower(&self, keep: &Keep) -> abi::AnswerRectangle {
            abi::AnswerRectangle { medium: self.medium.lower(keep), label: self.label.lower(keep), upper_left: self.upper_left.lower(keep), lower_right: self.lower_right.lower(keep),  }
        }
    }
    impl Lift for AnswerRectangle {
        type Abi = abi::AnswerRectangle;
        unsafe fn lift(abi: &abi::AnswerRectangle) -> std::result::Result<Self, Malformed> {
            // SAFETY: the caller's promise.
            unsafe { Ok(Self { medium: Lift::lift(&abi.medium)?, label: Lift::lift(&abi.label)?, upper_left: Lift::lift(&abi.upper_left)?, lower_right: Lift::lift(&abi.lower_right)?,  }) }
        }
    }
    #[derive(Debug, Clone, PartialEq)]
    pub struct AnswerPoint {
        pub medium: u32,
        pub label: Option<String>,
        pub at: Place,
    }
    impl Lower for AnswerPoint {
        type Abi = abi::AnswerPoint;
        fn lower(&self, keep: &Keep) -> abi::AnswerPoint {
            abi::AnswerPoint { medium: self.medium.lower(keep), label: self.label.lower(keep), at: self.at.lower(keep),  }
        }
    }
    impl Lift for AnswerPoint {
        type Abi = abi::AnswerPoint;
        unsafe fn lift(abi: &abi::AnswerPoint) -> std::result::Result<Self, Malformed> {
            // SAFETY: the caller's promise.
            unsafe { Ok(Self { medium: Lift::lift(&abi.medium)?, label: Lift::lift(&abi.label)?, at: Lift::lift(&abi.at)?,  }) }
        }
    }
    #[derive(Debug, Clone, PartialEq)]
    pub struct AnswerOutline {
        pub medium: u32,
        pub label: Option<String>,
        pub points: Vec<Place>,
    }
    impl Lower for AnswerOutline {
        type Abi = abi::AnswerOutline;
        fn lower(&self, keep: &Keep) -> abi::AnswerOutline {
            abi::AnswerOutline { medium: self.medium.lower(keep), label: self.label.lower(keep), points: self.points.lower(keep),  }
        }
    }
    impl Lift for AnswerOutline {
        type Abi = abi::AnswerOutline;
        unsafe fn lift(abi: &abi::AnswerOutline) -> std::result::Result<Self, Malformed> {
            // SAFETY: the caller's promise.
            unsafe { Ok(Self { medium: Lift::lift(&abi.medium)?, label: Lift::lift(&abi.label)?, points: Lift::lift(&abi.points)?,  }) }
        }
    }
    #[derive(Debug, Clone, PartialEq)]
    pub struct AnswerLabel {
        pub medium: u32,
        pub label: String,
    }
    impl Lower for AnswerLabel {
        type Abi = abi::AnswerLabel;
        fn lower(&self, keep: &Keep) -> abi::AnswerLabel {
            abi::AnswerLabel { medium: self.medium.lower(keep), label: self.label.lower(keep),  }
        }
    }
    impl Lift for AnswerLabel {
        type Abi = abi::AnswerLabel;
        unsafe fn lift(abi: &abi::AnswerLabel) -> std::result::Result<Self, Malformed> {
            // SAFETY: the caller's promise.
            unsafe { Ok(Self { medium: Lift::lift(&abi.medium)?, label: Lift::lift(&abi.label)?,  }) }
        }
    }
    #[derive(Debug, Clone, PartialEq)]
    pub enum AnswerPart {
        Text(String),
        Rectangle(AnswerRectangle),
        Point(AnswerPoint),
        Outline(AnswerOutline),
        Label(AnswerLabel),
    }
    impl Lower for AnswerPart {
        type Abi = abi::AnswerPart;
        fn lower(&self, keep: &Keep) -> abi::AnswerPart {
            match self { Self::Text(value) => abi::AnswerPart { tag: 0, value: abi::AnswerPartValue { text: value.lower(keep) } }, Self::Rectangle(value) => abi::AnswerPart { tag: 1, value: abi::AnswerPartValue { rectangle: value.lower(keep) } }, Self::Point(value) => abi::AnswerPart { tag: 2, value: abi::AnswerPartValue { point: value.lower(keep) } }, Self::Outline(value) => abi::AnswerPart { tag: 3, value: abi::AnswerPartValue { outline: value.lower(keep) } }, Self::Label(value) => abi::AnswerPart { tag: 4, value: abi::AnswerPartValue { label: value.lower(keep) } }, }
        }
    }
    impl Lift for AnswerPart {
        type Abi = abi::AnswerPart;
        unsafe fn lift(abi: &abi::AnswerPart) -> std::result::Result<Self, Malformed> {
            // SAFETY: the caller's promise.
            match abi.tag { 0 => unsafe { Lift::lift(&abi.value.text).map(Self::Text) }, 1 => unsafe { Lift::lift(&abi.value.rectangle).map(Self::Rectangle) }, 2 => unsafe { Lift::lift(&abi.value.point).map(Self::Point) }, 3 => unsafe { Lift::lift(&abi.value.outline).map(Self::Outline) }, 4 => unsafe { Lift::lift(&abi.value.label).map(Self::Label) }, _ => Err(Malformed("a `answer-part` is none of the contract's")), }
        }
    }
    pub trait Host {
    }
}

pub mod log {
    use monocle_plugin_abi::{List, Optional, Status, Text, v0_2 as abi};
    use crate::plugin::native::edge;
    use crate::plugin::native::host_side::*;
    use monocle_plugin_abi::{Keep, Lift, Lower, Malformed};
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Level {
        Debug,
        Info,
        Warn,
    }
    impl Lower for Level {
        type Abi = u32;
        fn lower(&self, _keep: &Keep) -> u32 {
            *self as u32
        }
    }
    impl Lift for Level {
        type Abi = u32;
        unsafe fn lift(abi: &u32) -> std::result::Result<Self, Malformed> {
            match abi { 0 => Ok(Self::Debug), 1 => Ok(Self::Info), 2 => Ok(Self::Warn), _ => Err(Malformed("a `level` is none of the contract's")), }
        }
    }
    pub trait Host {
        fn write(&mut self, level: Level, text: String) -> Result<()>;
    }
    unsafe extern "C" fn write(host: *const abi::Host, level: u32, text: Text) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::nothing(host, |side| Host::write(side, edge::lift(&level)?, edge::lift(&text)?)) }
    }
    pub static TABLE: abi::LogTable = abi::LogTable { size: size_of::<abi::LogTable>(), write, };
}

pub mod tokenizers {
    use monocle_plugin_abi::{List, Optional, Status, Text, v0_2 as abi};
    use crate::plugin::native::edge;
    use crate::plugin::native::host_side::*;
    pub trait Host {
        fn encode(&mut self, text: String, add_special_tokens: bool) -> Result<Vec<u32>>;
        fn add(&mut self, tokens: Vec<String>, special: bool) -> Result<Vec<u32>>;
        fn adds_beginning(&mut self) -> Result<Option<u32>>;
        fn token_id(&mut self, token: String) -> Result<Option<u32>>;
        fn token(&mut self, id: u32) -> Result<Option<String>>;
    }
    unsafe extern "C" fn encode(host: *const abi::Host, text: Text, add_special_tokens: u8, result: *mut List<u32>) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| Host::encode(side, edge::lift(&text)?, edge::lift(&add_special_tokens)?)) }
    }
    unsafe extern "C" fn add(host: *const abi::Host, tokens: List<Text>, special: u8, result: *mut List<u32>) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| Host::add(side, edge::lift(&tokens)?, edge::lift(&special)?)) }
    }
    unsafe extern "C" fn adds_beginning(host: *const abi::Host, result: *mut Optional<u32>) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| Host::adds_beginning(side)) }
    }
    unsafe extern "C" fn token_id(host: *const abi::Host, token: Text, result: *mut Optional<u32>) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| Host::token_id(side, edge::lift(&token)?)) }
    }
    unsafe extern "C" fn token(host: *const abi::Host, id: u32, result: *mut Optional<Text>) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| Host::token(side, edge::lift(&id)?)) }
    }
    pub static TABLE: abi::TokenizersTable = abi::TokenizersTable { size: size_of::<abi::TokenizersTable>(), encode, add, adds_beginning, token_id, token, };
}

pub mod prompts {
    use monocle_plugin_abi::{List, Optional, Status, Text, v0_2 as abi};
    use crate::plugin::native::edge;
    use crate::plugin::native::host_side::*;
    use monocle_plugin_abi::{Keep, Lift, Lower, Malformed};
    pub use super::types::Request;
    #[derive(Debug, Clone, PartialEq)]
    pub struct RenderOptions {
        pub fallback: Option<String>,
        pub variables: String,
    }
    impl Lower for RenderOptions {
        type Abi = abi::RenderOptions;
        fn lower(&self, keep: &Keep) -> abi::RenderOptions {
            abi::RenderOptions { fallback: self.fallback.lower(keep), variables: self.variables.lower(keep),  }
        }
    }
    impl Lift for RenderOptions {
        type Abi = abi::RenderOptions;
        unsafe fn lift(abi: &abi::RenderOptions) -> std::result::Result<Self, Malformed> {
            // SAFETY: the caller's promise.
            unsafe { Ok(Self { fallback: Lift::lift(&abi.fallback)?, variables: Lift::lift(&abi.variables)?,  }) }
        }
    }
    pub trait Host {
        fn render(&mut self, request: super::types::Request, options: RenderOptions) -> Result<std::result::Result<String, String>>;
    }
    unsafe extern "C" fn render(host: *const abi::Host, request: *const abi::Request, options: *const abi::RenderOptions, result: *mut Text, words: *mut Text) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result_or_words(host, result, words, |side| Host::render(side, edge::lift_at(request)?, edge::lift_at(options)?)) }
    }
    pub static TABLE: abi::PromptsTable = abi::PromptsTable { size: size_of::<abi::PromptsTable>(), render, };
}

pub mod images {
    use monocle_plugin_abi::{List, Optional, Status, Text, v0_2 as abi};
    use crate::plugin::native::edge;
    use crate::plugin::native::host_side::*;
    use monocle_plugin_abi::{Keep, Lift, Lower, Malformed};
    pub use super::types::Size;
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Filter {
        Nearest,
        Box,
        Bilinear,
        Hamming,
        Bicubic,
        Lanczos,
        TorchBilinear,
    }
    impl Lower for Filter {
        type Abi = u32;
        fn lower(&self, _keep: &Keep) -> u32 {
            *self as u32
        }
    }
    impl Lift for Filter {
        type Abi = u32;
        unsafe fn lift(abi: &u32) -> std::result::Result<Self, Malformed> {
            match abi { 0 => Ok(Self::Nearest), 1 => Ok(Self::Box), 2 => Ok(Self::Bilinear), 3 => Ok(Self::Hamming), 4 => Ok(Self::Bicubic), 5 => Ok(Self::Lanczos), 6 => Ok(Self::TorchBilinear), _ => Err(Malformed("a `filter` is none of the contract's")), }
        }
    }
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Layout {
        ChannelsLast,
        ChannelsFirst,
    }
    impl Lower for Layout {
        type Abi = u32;
        fn lower(&self, _keep: &Keep) -> u32 {
            *self as u32
        }
    }
    impl Lift for Layout {
        type Abi = u32;
        unsafe fn lift(abi: &u32) -> std::result::Result<Self, Malformed> {
            match abi { 0 => Ok(Self::ChannelsLast), 1 => Ok(Self::ChannelsFirst), _ => Err(Malformed("a `layout` is none of the contract's")), }
        }
    }
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub struct Normalisation {
        pub rescale: f64,
        pub mean: (f32, f32, f32),
        pub deviation: (f32, f32, f32),
    }
    impl Lower for Normalisation {
        type Abi = abi::Normalisation;
        fn lower(&self, keep: &Keep) -> abi::Normalisation {
            abi::Normalisation { rescale: self.rescale.lower(keep), mean: self.mean.lower(keep), deviation: self.deviation.lower(keep),  }
        }
    }
    impl Lift for Normalisation {
        type Abi = abi::Normalisation;
        unsafe fn lift(abi: &abi::Normalisation) -> std::result::Result<Self, Malformed> {
            // SAFETY: the caller's promise.
            unsafe { Ok(Self { rescale: Lift::lift(&abi.rescale)?, mean: Lift::lift(&abi.mean)?, deviation: Lift::lift(&abi.deviation)?,  }) }
        }
    }
    pub trait HostImage {
        fn size(&mut self, this: Resource<ImageHandle>) -> Result<super::types::Size>;
        fn resize(&mut self, this: Resource<ImageHandle>, width: u32, height: u32, filter: Filter) -> Result<Resource<ImageHandle>>;
        fn crop(&mut self, this: Resource<ImageHandle>, left: i32, top: i32, width: u32, height: u32) -> Result<Resource<ImageHandle>>;
        fn pad(&mut self, this: Resource<ImageHandle>, left: u32, top: u32, right: u32, bottom: u32, red: u8, green: u8, blue: u8) -> Result<Resource<ImageHandle>>;
        fn drop(&mut self, this: Resource<ImageHandle>) -> Result<()>;
    }
    pub trait HostPixels {
        fn shape(&mut self, this: Resource<PixelsHandle>) -> Result<Vec<u32>>;
        fn drop(&mut self, this: Resource<PixelsHandle>) -> Result<()>;
    }
    pub trait Host {
        fn stack(&mut self, images: Vec<Resource<ImageHandle>>, normalisation: Normalisation, layout: Layout) -> Result<Resource<PixelsHandle>>;
    }
    unsafe extern "C" fn image_size(host: *const abi::Host, this: u32, result: *mut abi::Size) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostImage::size(side, edge::lift(&this)?)) }
    }
    unsafe extern "C" fn image_resize(host: *const abi::Host, this: u32, width: u32, height: u32, filter: u32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostImage::resize(side, edge::lift(&this)?, edge::lift(&width)?, edge::lift(&height)?, edge::lift(&filter)?)) }
    }
    unsafe extern "C" fn image_crop(host: *const abi::Host, this: u32, left: i32, top: i32, width: u32, height: u32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostImage::crop(side, edge::lift(&this)?, edge::lift(&left)?, edge::lift(&top)?, edge::lift(&width)?, edge::lift(&height)?)) }
    }
    unsafe extern "C" fn image_pad(host: *const abi::Host, this: u32, left: u32, top: u32, right: u32, bottom: u32, red: u8, green: u8, blue: u8, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostImage::pad(side, edge::lift(&this)?, edge::lift(&left)?, edge::lift(&top)?, edge::lift(&right)?, edge::lift(&bottom)?, edge::lift(&red)?, edge::lift(&green)?, edge::lift(&blue)?)) }
    }
    unsafe extern "C" fn pixels_shape(host: *const abi::Host, this: u32, result: *mut List<u32>) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostPixels::shape(side, edge::lift(&this)?)) }
    }
    unsafe extern "C" fn stack(host: *const abi::Host, images: List<u32>, normalisation: *const abi::Normalisation, layout: u32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| Host::stack(side, edge::lift(&images)?, edge::lift_at(normalisation)?, edge::lift(&layout)?)) }
    }
    unsafe extern "C" fn image_drop(host: *const abi::Host, this: u32) -> Status {
        // SAFETY: as above.
        unsafe { edge::nothing(host, |side| HostImage::drop(side, edge::lift(&this)?)) }
    }
    unsafe extern "C" fn pixels_drop(host: *const abi::Host, this: u32) -> Status {
        // SAFETY: as above.
        unsafe { edge::nothing(host, |side| HostPixels::drop(side, edge::lift(&this)?)) }
    }
    pub static TABLE: abi::ImagesTable = abi::ImagesTable { size: size_of::<abi::ImagesTable>(), image_size, image_resize, image_crop, image_pad, pixels_shape, stack, image_drop, pixels_drop, };
}

pub mod tensors {
    use monocle_plugin_abi::{List, Optional, Status, Text, v0_2 as abi};
    use crate::plugin::native::edge;
    use crate::plugin::native::host_side::*;
    use monocle_plugin_abi::{Keep, Lift, Lower, Malformed};
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Kind {
        Float,
        Int,
    }
    impl Lower for Kind {
        type Abi = u32;
        fn lower(&self, _keep: &Keep) -> u32 {
            *self as u32
        }
    }
    impl Lift for Kind {
        type Abi = u32;
        unsafe fn lift(abi: &u32) -> std::result::Result<Self, Malformed> {
            match abi { 0 => Ok(Self::Float), 1 => Ok(Self::Int), _ => Err(Malformed("a `kind` is none of the contract's")), }
        }
    }
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum UnaryOperation {
        Negate,
        Absolute,
        Exponential,
        Logarithm,
        SquareRoot,
        ReciprocalSquareRoot,
        Square,
        Sine,
        Cosine,
        HyperbolicTangent,
        Sigmoid,
        Relu,
        Silu,
        Gelu,
        GeluTanh,
        QuickGelu,
        Softplus,
    }
    impl Lower for UnaryOperation {
        type Abi = u32;
        fn lower(&self, _keep: &Keep) -> u32 {
            *self as u32
        }
    }
    impl Lift for UnaryOperation {
        type Abi = u32;
        unsafe fn lift(abi: &u32) -> std::result::Result<Self, Malformed> {
            match abi { 0 => Ok(Self::Negate), 1 => Ok(Self::Absolute), 2 => Ok(Self::Exponential), 3 => Ok(Self::Logarithm), 4 => Ok(Self::SquareRoot), 5 => Ok(Self::ReciprocalSquareRoot), 6 => Ok(Self::Square), 7 => Ok(Self::Sine), 8 => Ok(Self::Cosine), 9 => Ok(Self::HyperbolicTangent), 10 => Ok(Self::Sigmoid), 11 => Ok(Self::Relu), 12 => Ok(Self::Silu), 13 => Ok(Self::Gelu), 14 => Ok(Self::GeluTanh), 15 => Ok(Self::QuickGelu), 16 => Ok(Self::Softplus), _ => Err(Malformed("a `unary-operation` is none of the contract's")), }
        }
    }
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum BinaryOperation {
        Add,
        Subtract,
        Multiply,
        Divide,
        Maximum,
        Minimum,
        Power,
        Equal,
        Less,
        Greater,
    }
    impl Lower for BinaryOperation {
        type Abi = u32;
        fn lower(&self, _keep: &Keep) -> u32 {
            *self as u32
        }
    }
    impl Lift for BinaryOperation {
        type Abi = u32;
        unsafe fn lift(abi: &u32) -> std::result::Result<Self, Malformed> {
            match abi { 0 => Ok(Self::Add), 1 => Ok(Self::Subtract), 2 => Ok(Self::Multiply), 3 => Ok(Self::Divide), 4 => Ok(Self::Maximum), 5 => Ok(Self::Minimum), 6 => Ok(Self::Power), 7 => Ok(Self::Equal), 8 => Ok(Self::Less), 9 => Ok(Self::Greater), _ => Err(Malformed("a `binary-operation` is none of the contract's")), }
        }
    }
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Reduction {
        Sum,
        Mean,
        Maximum,
    }
    impl Lower for Reduction {
        type Abi = u32;
        fn lower(&self, _keep: &Keep) -> u32 {
            *self as u32
        }
    }
    impl Lift for Reduction {
        type Abi = u32;
        unsafe fn lift(abi: &u32) -> std::result::Result<Self, Malformed> {
            match abi { 0 => Ok(Self::Sum), 1 => Ok(Self::Mean), 2 => Ok(Self::Maximum), _ => Err(Malformed("a `reduction` is none of the contract's")), }
        }
    }
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Pooling {
        Average,
        Maximum,
    }
    impl Lower for Pooling {
        type Abi = u32;
        fn lower(&self, _keep: &Keep) -> u32 {
            *self as u32
        }
    }
    impl Lift for Pooling {
        type Abi = u32;
        unsafe fn lift(abi: &u32) -> std::result::Result<Self, Malformed> {
            match abi { 0 => Ok(Self::Average), 1 => Ok(Self::Maximum), _ => Err(Malformed("a `pooling` is none of the contract's")), }
        }
    }
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Interpolation {
        Nearest,
        Bilinear,
        Bicubic,
    }
    impl Lower for Interpolation {
        type Abi = u32;
        fn lower(&self, _keep: &Keep) -> u32 {
            *self as u32
        }
    }
    impl Lift for Interpolation {
        type Abi = u32;
        unsafe fn lift(abi: &u32) -> std::result::Result<Self, Malformed> {
            match abi { 0 => Ok(Self::Nearest), 1 => Ok(Self::Bilinear), 2 => Ok(Self::Bicubic), _ => Err(Malformed("a `interpolation` is none of the contract's")), }
        }
    }
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Pairing {
        Halves,
        Neighbours,
    }
    impl Lower for Pairing {
        type Abi = u32;
        fn lower(&self, _keep: &Keep) -> u32 {
            *self as u32
        }
    }
    impl Lift for Pairing {
        type Abi = u32;
        unsafe fn lift(abi: &u32) -> std::result::Result<Self, Malformed> {
            match abi { 0 => Ok(Self::Halves), 1 => Ok(Self::Neighbours), _ => Err(Malformed("a `pairing` is none of the contract's")), }
        }
    }
    #[derive(Debug, Clone, PartialEq)]
    pub struct RopeAngles {
        pub frequencies: Vec<f32>,
        pub axes: Vec<u8>,
        pub pairing: Pairing,
        pub scale: f32,
    }
    impl Lower for RopeAngles {
        type Abi = abi::RopeAngles;
        fn lower(&self, keep: &Keep) -> abi::RopeAngles {
            abi::RopeAngles { frequencies: self.frequencies.lower(keep), axes: self.axes.lower(keep), pairing: self.pairing.lower(keep), scale: self.scale.lower(keep),  }
        }
    }
    impl Lift for RopeAngles {
        type Abi = abi::RopeAngles;
        unsafe fn lift(abi: &abi::RopeAngles) -> std::result::Result<Self, Malformed> {
            // SAFETY: the caller's promise.
            unsafe { Ok(Self { frequencies: Lift::lift(&abi.frequencies)?, axes: Lift::lift(&abi.axes)?, pairing: Lift::lift(&abi.pairing)?, scale: Lift::lift(&abi.scale)?,  }) }
        }
    }
    #[derive(Debug, Clone, PartialEq)]
    pub struct SelfAttention {
        pub scale: f32,
        pub softcap: Option<f32>,
        pub causal: bool,
        pub segments: Vec<u32>,
    }
    impl Lower for SelfAttention {
        type Abi = abi::SelfAttention;
        fn lower(&self, keep: &Keep) -> abi::SelfAttention {
            abi::SelfAttention { scale: self.scale.lower(keep), softcap: self.softcap.lower(keep), causal: self.causal.lower(keep), segments: self.segments.lower(keep),  }
        }
    }
    impl Lift for SelfAttention {
        type Abi = abi::SelfAttention;
        unsafe fn lift(abi: &abi::SelfAttention) -> std::result::Result<Self, Malformed> {
            // SAFETY: the caller's promise.
            unsafe { Ok(Self { scale: Lift::lift(&abi.scale)?, softcap: Lift::lift(&abi.softcap)?, causal: Lift::lift(&abi.causal)?, segments: Lift::lift(&abi.segments)?,  }) }
        }
    }
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub struct Window {
        pub size: (u32, u32),
        pub stride: (u32, u32),
        pub padding: (u32, u32),
    }
    impl Lower for Window {
        type Abi = abi::Window;
        fn lower(&self, keep: &Keep) -> abi::Window {
            abi::Window { size: self.size.lower(keep), stride: self.stride.lower(keep), padding: self.padding.lower(keep),  }
        }
    }
    impl Lift for Window {
        type Abi = abi::Window;
        unsafe fn lift(abi: &abi::Window) -> std::result::Result<Self, Malformed> {
            // SAFETY: the caller's promise.
            unsafe { Ok(Self { size: Lift::lift(&abi.size)?, stride: Lift::lift(&abi.stride)?, padding: Lift::lift(&abi.padding)?,  }) }
        }
    }
    pub trait HostTensor {
        fn shape(&mut self, this: Resource<TensorHandle>) -> Result<Vec<u32>>;
        fn kind(&mut self, this: Resource<TensorHandle>) -> Result<Kind>;
        fn unary(&mut self, this: Resource<TensorHandle>, operation: UnaryOperation) -> Result<Resource<TensorHandle>>;
        fn binary(&mut self, this: Resource<TensorHandle>, operation: BinaryOperation, other: Resource<TensorHandle>) -> Result<Resource<TensorHandle>>;
        fn scale_shift(&mut self, this: Resource<TensorHandle>, scale: f32, shift: f32) -> Result<Resource<TensorHandle>>;
        fn clamp(&mut self, this: Resource<TensorHandle>, low: f32, high: f32) -> Result<Resource<TensorHandle>>;
        fn select(&mut self, this: Resource<TensorHandle>, a: Resource<TensorHandle>, b: Resource<TensorHandle>) -> Result<Resource<TensorHandle>>;
        fn cast(&mut self, this: Resource<TensorHandle>, kind: Kind) -> Result<Resource<TensorHandle>>;
        fn matmul(&mut self, this: Resource<TensorHandle>, right: Resource<TensorHandle>, transpose_right: bool) -> Result<Resource<TensorHandle>>;
        fn rms_norm(&mut self, this: Resource<TensorHandle>, weight: Option<Resource<TensorHandle>>, epsilon: f32, offset: f32) -> Result<Resource<TensorHandle>>;
        fn layer_norm(&mut self, this: Resource<TensorHandle>, weight: Resource<TensorHandle>, bias: Option<Resource<TensorHandle>>, epsilon: f32) -> Result<Resource<TensorHandle>>;
        fn softmax(&mut self, this: Resource<TensorHandle>) -> Result<Resource<TensorHandle>>;
        fn top_k(&mut self, this: Resource<TensorHandle>, k: u32) -> Result<Resource<TensorHandle>>;
        fn gather_last(&mut self, this: Resource<TensorHandle>, indices: Resource<TensorHandle>) -> Result<Resource<TensorHandle>>;
        fn reduce(&mut self, this: Resource<TensorHandle>, reduction: Reduction, axes: Vec<u32>, keep: bool) -> Result<Resource<TensorHandle>>;
        fn reshape(&mut self, this: Resource<TensorHandle>, shape: Vec<u32>) -> Result<Resource<TensorHandle>>;
        fn permute(&mut self, this: Resource<TensorHandle>, axes: Vec<u32>) -> Result<Resource<TensorHandle>>;
        fn slice(&mut self, this: Resource<TensorHandle>, axis: u32, start: u32, end: u32, step: u32) -> Result<Resource<TensorHandle>>;
        fn broadcast(&mut self, this: Resource<TensorHandle>, shape: Vec<u32>) -> Result<Resource<TensorHandle>>;
        fn pad(&mut self, this: Resource<TensorHandle>, axis: u32, before: u32, after: u32, value: f32) -> Result<Resource<TensorHandle>>;
        fn take_rows(&mut self, this: Resource<TensorHandle>, indices: Resource<TensorHandle>) -> Result<Resource<TensorHandle>>;
        fn put_rows(&mut self, this: Resource<TensorHandle>, indices: Resource<TensorHandle>, rows: Resource<TensorHandle>) -> Result<Resource<TensorHandle>>;
        fn conv2d(&mut self, this: Resource<TensorHandle>, kernel: Resource<TensorHandle>, bias: Option<Resource<TensorHandle>>, window: Window, groups: u32) -> Result<Resource<TensorHandle>>;
        fn pool2d(&mut self, this: Resource<TensorHandle>, pooling: Pooling, window: Window) -> Result<Resource<TensorHandle>>;
        fn interpolate(&mut self, this: Resource<TensorHandle>, height: u32, width: u32, method: Interpolation, align_corners: bool, antialias: bool) -> Result<Resource<TensorHandle>>;
        fn rope(&mut self, this: Resource<TensorHandle>, positions: Resource<TensorHandle>, angles: RopeAngles) -> Result<Resource<TensorHandle>>;
        fn attention(&mut self, this: Resource<TensorHandle>, k: Resource<TensorHandle>, v: Resource<TensorHandle>, attention: SelfAttention) -> Result<Resource<TensorHandle>>;
        fn drop(&mut self, this: Resource<TensorHandle>) -> Result<()>;
    }
    pub trait Host {
        fn floats(&mut self, shape: Vec<u32>, values: Vec<f32>) -> Result<Resource<TensorHandle>>;
        fn ints(&mut self, shape: Vec<u32>, values: Vec<i32>) -> Result<Resource<TensorHandle>>;
        fn full(&mut self, shape: Vec<u32>, value: f32) -> Result<Resource<TensorHandle>>;
        fn concat(&mut self, tensors: Vec<Resource<TensorHandle>>, axis: u32) -> Result<Resource<TensorHandle>>;
    }
    unsafe extern "C" fn tensor_shape(host: *const abi::Host, this: u32, result: *mut List<u32>) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostTensor::shape(side, edge::lift(&this)?)) }
    }
    unsafe extern "C" fn tensor_kind(host: *const abi::Host, this: u32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostTensor::kind(side, edge::lift(&this)?)) }
    }
    unsafe extern "C" fn tensor_unary(host: *const abi::Host, this: u32, operation: u32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostTensor::unary(side, edge::lift(&this)?, edge::lift(&operation)?)) }
    }
    unsafe extern "C" fn tensor_binary(host: *const abi::Host, this: u32, operation: u32, other: u32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostTensor::binary(side, edge::lift(&this)?, edge::lift(&operation)?, edge::lift(&other)?)) }
    }
    unsafe extern "C" fn tensor_scale_shift(host: *const abi::Host, this: u32, scale: f32, shift: f32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostTensor::scale_shift(side, edge::lift(&this)?, edge::lift(&scale)?, edge::lift(&shift)?)) }
    }
    unsafe extern "C" fn tensor_clamp(host: *const abi::Host, this: u32, low: f32, high: f32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostTensor::clamp(side, edge::lift(&this)?, edge::lift(&low)?, edge::lift(&high)?)) }
    }
    unsafe extern "C" fn tensor_select(host: *const abi::Host, this: u32, a: u32, b: u32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostTensor::select(side, edge::lift(&this)?, edge::lift(&a)?, edge::lift(&b)?)) }
    }
    unsafe extern "C" fn tensor_cast(host: *const abi::Host, this: u32, kind: u32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostTensor::cast(side, edge::lift(&this)?, edge::lift(&kind)?)) }
    }
    unsafe extern "C" fn tensor_matmul(host: *const abi::Host, this: u32, right: u32, transpose_right: u8, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostTensor::matmul(side, edge::lift(&this)?, edge::lift(&right)?, edge::lift(&transpose_right)?)) }
    }
    unsafe extern "C" fn tensor_rms_norm(host: *const abi::Host, this: u32, weight: Optional<u32>, epsilon: f32, offset: f32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostTensor::rms_norm(side, edge::lift(&this)?, edge::lift(&weight)?, edge::lift(&epsilon)?, edge::lift(&offset)?)) }
    }
    unsafe extern "C" fn tensor_layer_norm(host: *const abi::Host, this: u32, weight: u32, bias: Optional<u32>, epsilon: f32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostTensor::layer_norm(side, edge::lift(&this)?, edge::lift(&weight)?, edge::lift(&bias)?, edge::lift(&epsilon)?)) }
    }
    unsafe extern "C" fn tensor_softmax(host: *const abi::Host, this: u32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostTensor::softmax(side, edge::lift(&this)?)) }
    }
    unsafe extern "C" fn tensor_top_k(host: *const abi::Host, this: u32, k: u32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostTensor::top_k(side, edge::lift(&this)?, edge::lift(&k)?)) }
    }
    unsafe extern "C" fn tensor_gather_last(host: *const abi::Host, this: u32, indices: u32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostTensor::gather_last(side, edge::lift(&this)?, edge::lift(&indices)?)) }
    }
    unsafe extern "C" fn tensor_reduce(host: *const abi::Host, this: u32, reduction: u32, axes: List<u32>, keep: u8, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostTensor::reduce(side, edge::lift(&this)?, edge::lift(&reduction)?, edge::lift(&axes)?, edge::lift(&keep)?)) }
    }
    unsafe extern "C" fn tensor_reshape(host: *const abi::Host, this: u32, shape: List<u32>, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostTensor::reshape(side, edge::lift(&this)?, edge::lift(&shape)?)) }
    }
    unsafe extern "C" fn tensor_permute(host: *const abi::Host, this: u32, axes: List<u32>, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostTensor::permute(side, edge::lift(&this)?, edge::lift(&axes)?)) }
    }
    unsafe extern "C" fn tensor_slice(host: *const abi::Host, this: u32, axis: u32, start: u32, end: u32, step: u32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostTensor::slice(side, edge::lift(&this)?, edge::lift(&axis)?, edge::lift(&start)?, edge::lift(&end)?, edge::lift(&step)?)) }
    }
    unsafe extern "C" fn tensor_broadcast(host: *const abi::Host, this: u32, shape: List<u32>, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostTensor::broadcast(side, edge::lift(&this)?, edge::lift(&shape)?)) }
    }
    unsafe extern "C" fn tensor_pad(host: *const abi::Host, this: u32, axis: u32, before: u32, after: u32, value: f32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostTensor::pad(side, edge::lift(&this)?, edge::lift(&axis)?, edge::lift(&before)?, edge::lift(&after)?, edge::lift(&value)?)) }
    }
    unsafe extern "C" fn tensor_take_rows(host: *const abi::Host, this: u32, indices: u32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostTensor::take_rows(side, edge::lift(&this)?, edge::lift(&indices)?)) }
    }
    unsafe extern "C" fn tensor_put_rows(host: *const abi::Host, this: u32, indices: u32, rows: u32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostTensor::put_rows(side, edge::lift(&this)?, edge::lift(&indices)?, edge::lift(&rows)?)) }
    }
    unsafe extern "C" fn tensor_conv2d(host: *const abi::Host, this: u32, kernel: u32, bias: Optional<u32>, window: *const abi::Window, groups: u32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostTensor::conv2d(side, edge::lift(&this)?, edge::lift(&kernel)?, edge::lift(&bias)?, edge::lift_at(window)?, edge::lift(&groups)?)) }
    }
    unsafe extern "C" fn tensor_pool2d(host: *const abi::Host, this: u32, pooling: u32, window: *const abi::Window, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostTensor::pool2d(side, edge::lift(&this)?, edge::lift(&pooling)?, edge::lift_at(window)?)) }
    }
    unsafe extern "C" fn tensor_interpolate(host: *const abi::Host, this: u32, height: u32, width: u32, method: u32, align_corners: u8, antialias: u8, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostTensor::interpolate(side, edge::lift(&this)?, edge::lift(&height)?, edge::lift(&width)?, edge::lift(&method)?, edge::lift(&align_corners)?, edge::lift(&antialias)?)) }
    }
    unsafe extern "C" fn tensor_rope(host: *const abi::Host, this: u32, positions: u32, angles: *const abi::RopeAngles, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostTensor::rope(side, edge::lift(&this)?, edge::lift(&positions)?, edge::lift_at(angles)?)) }
    }
    unsafe extern "C" fn tensor_attention(host: *const abi::Host, this: u32, k: u32, v: u32, attention: *const abi::SelfAttention, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostTensor::attention(side, edge::lift(&this)?, edge::lift(&k)?, edge::lift(&v)?, edge::lift_at(attention)?)) }
    }
    unsafe extern "C" fn floats(host: *const abi::Host, shape: List<u32>, values: List<f32>, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| Host::floats(side, edge::lift(&shape)?, edge::lift(&values)?)) }
    }
    unsafe extern "C" fn ints(host: *const abi::Host, shape: List<u32>, values: List<i32>, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| Host::ints(side, edge::lift(&shape)?, edge::lift(&values)?)) }
    }
    unsafe extern "C" fn full(host: *const abi::Host, shape: List<u32>, value: f32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| Host::full(side, edge::lift(&shape)?, edge::lift(&value)?)) }
    }
    unsafe extern "C" fn concat(host: *const abi::Host, tensors: List<u32>, axis: u32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| Host::concat(side, edge::lift(&tensors)?, edge::lift(&axis)?)) }
    }
    unsafe extern "C" fn tensor_drop(host: *const abi::Host, this: u32) -> Status {
        // SAFETY: as above.
        unsafe { edge::nothing(host, |side| HostTensor::drop(side, edge::lift(&this)?)) }
    }
    pub static TABLE: abi::TensorsTable = abi::TensorsTable { size: size_of::<abi::TensorsTable>(), tensor_shape, tensor_kind, tensor_unary, tensor_binary, tensor_scale_shift, tensor_clamp, tensor_select, tensor_cast, tensor_matmul, tensor_rms_norm, tensor_layer_norm, tensor_softmax, tensor_top_k, tensor_gather_last, tensor_reduce, tensor_reshape, tensor_permute, tensor_slice, tensor_broadcast, tensor_pad, tensor_take_rows, tensor_put_rows, tensor_conv2d, tensor_pool2d, tensor_interpolate, tensor_rope, tensor_attention, floats, ints, full, concat, tensor_drop, };
}

pub mod weights {
    use monocle_plugin_abi::{List, Optional, Status, Text, v0_2 as abi};
    use crate::plugin::native::edge;
    use crate::plugin::native::host_side::*;
    pub trait HostParameter {
        fn shape(&mut self, this: Resource<ParameterHandle>) -> Result<Vec<u32>>;
        fn value(&mut self, this: Resource<ParameterHandle>) -> Result<Resource<TensorHandle>>;
        fn drop(&mut self, this: Resource<ParameterHandle>) -> Result<()>;
    }
    pub trait HostLinear {
        fn shape(&mut self, this: Resource<LinearHandle>) -> Result<Vec<u32>>;
        fn forward(&mut self, this: Resource<LinearHandle>, x: Resource<TensorHandle>) -> Result<Resource<TensorHandle>>;
        fn forward_heads(&mut self, this: Resource<LinearHandle>, x: Resource<TensorHandle>, heads: u32, transposed: bool) -> Result<Resource<TensorHandle>>;
        fn drop(&mut self, this: Resource<LinearHandle>) -> Result<()>;
    }
    pub trait HostEmbedding {
        fn shape(&mut self, this: Resource<EmbeddingHandle>) -> Result<Vec<u32>>;
        fn forward(&mut self, this: Resource<EmbeddingHandle>, ids: Resource<TensorHandle>) -> Result<Resource<TensorHandle>>;
        fn drop(&mut self, this: Resource<EmbeddingHandle>) -> Result<()>;
    }
    pub trait HostExperts {
        fn shape(&mut self, this: Resource<ExpertsHandle>) -> Result<Vec<u32>>;
        fn forward(&mut self, this: Resource<ExpertsHandle>, x: Resource<TensorHandle>, indices: Resource<TensorHandle>) -> Result<Resource<TensorHandle>>;
        fn drop(&mut self, this: Resource<ExpertsHandle>) -> Result<()>;
    }
    pub trait Host {
        fn has(&mut self, name: String) -> Result<bool>;
        fn names(&mut self, prefix: String) -> Result<Vec<String>>;
        fn get_parameter(&mut self, name: String) -> Result<Resource<ParameterHandle>>;
        fn get_linear(&mut self, name: String) -> Result<Resource<LinearHandle>>;
        fn get_embedding(&mut self, name: String) -> Result<Resource<EmbeddingHandle>>;
        fn stack_experts(&mut self, names: Vec<String>) -> Result<Resource<ExpertsHandle>>;
        fn get_experts(&mut self, name: String) -> Result<Resource<ExpertsHandle>>;
    }
    unsafe extern "C" fn parameter_shape(host: *const abi::Host, this: u32, result: *mut List<u32>) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostParameter::shape(side, edge::lift(&this)?)) }
    }
    unsafe extern "C" fn parameter_value(host: *const abi::Host, this: u32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostParameter::value(side, edge::lift(&this)?)) }
    }
    unsafe extern "C" fn linear_shape(host: *const abi::Host, this: u32, result: *mut List<u32>) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostLinear::shape(side, edge::lift(&this)?)) }
    }
    unsafe extern "C" fn linear_forward(host: *const abi::Host, this: u32, x: u32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostLinear::forward(side, edge::lift(&this)?, edge::lift(&x)?)) }
    }
    unsafe extern "C" fn linear_forward_heads(host: *const abi::Host, this: u32, x: u32, heads: u32, transposed: u8, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostLinear::forward_heads(side, edge::lift(&this)?, edge::lift(&x)?, edge::lift(&heads)?, edge::lift(&transposed)?)) }
    }
    unsafe extern "C" fn embedding_shape(host: *const abi::Host, this: u32, result: *mut List<u32>) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostEmbedding::shape(side, edge::lift(&this)?)) }
    }
    unsafe extern "C" fn embedding_forward(host: *const abi::Host, this: u32, ids: u32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostEmbedding::forward(side, edge::lift(&this)?, edge::lift(&ids)?)) }
    }
    unsafe extern "C" fn experts_shape(host: *const abi::Host, this: u32, result: *mut List<u32>) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostExperts::shape(side, edge::lift(&this)?)) }
    }
    unsafe extern "C" fn experts_forward(host: *const abi::Host, this: u32, x: u32, indices: u32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostExperts::forward(side, edge::lift(&this)?, edge::lift(&x)?, edge::lift(&indices)?)) }
    }
    unsafe extern "C" fn has(host: *const abi::Host, name: Text, result: *mut u8) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| Host::has(side, edge::lift(&name)?)) }
    }
    unsafe extern "C" fn names(host: *const abi::Host, prefix: Text, result: *mut List<Text>) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| Host::names(side, edge::lift(&prefix)?)) }
    }
    unsafe extern "C" fn get_parameter(host: *const abi::Host, name: Text, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| Host::get_parameter(side, edge::lift(&name)?)) }
    }
    unsafe extern "C" fn get_linear(host: *const abi::Host, name: Text, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| Host::get_linear(side, edge::lift(&name)?)) }
    }
    unsafe extern "C" fn get_embedding(host: *const abi::Host, name: Text, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| Host::get_embedding(side, edge::lift(&name)?)) }
    }
    unsafe extern "C" fn stack_experts(host: *const abi::Host, names: List<Text>, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| Host::stack_experts(side, edge::lift(&names)?)) }
    }
    unsafe extern "C" fn get_experts(host: *const abi::Host, name: Text, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| Host::get_experts(side, edge::lift(&name)?)) }
    }
    unsafe extern "C" fn parameter_drop(host: *const abi::Host, this: u32) -> Status {
        // SAFETY: as above.
        unsafe { edge::nothing(host, |side| HostParameter::drop(side, edge::lift(&this)?)) }
    }
    unsafe extern "C" fn linear_drop(host: *const abi::Host, this: u32) -> Status {
        // SAFETY: as above.
        unsafe { edge::nothing(host, |side| HostLinear::drop(side, edge::lift(&this)?)) }
    }
    unsafe extern "C" fn embedding_drop(host: *const abi::Host, this: u32) -> Status {
        // SAFETY: as above.
        unsafe { edge::nothing(host, |side| HostEmbedding::drop(side, edge::lift(&this)?)) }
    }
    unsafe extern "C" fn experts_drop(host: *const abi::Host, this: u32) -> Status {
        // SAFETY: as above.
        unsafe { edge::nothing(host, |side| HostExperts::drop(side, edge::lift(&this)?)) }
    }
    pub static TABLE: abi::WeightsTable = abi::WeightsTable { size: size_of::<abi::WeightsTable>(), parameter_shape, parameter_value, linear_shape, linear_forward, linear_forward_heads, embedding_shape, embedding_forward, experts_shape, experts_forward, has, names, get_parameter, get_linear, get_embedding, stack_experts, get_experts, parameter_drop, linear_drop, embedding_drop, experts_drop, };
}

pub mod batches {
    use monocle_plugin_abi::{List, Optional, Status, Text, v0_2 as abi};
    use crate::plugin::native::edge;
    use crate::plugin::native::host_side::*;
    use monocle_plugin_abi::{Keep, Lift, Lower, Malformed};
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub struct CachedAttention {
        pub layer: u32,
        pub scale: f32,
        pub softcap: Option<f32>,
        pub window: Option<u32>,
        pub value_dim: Option<u32>,
    }
    impl Lower for CachedAttention {
        type Abi = abi::CachedAttention;
        fn lower(&self, keep: &Keep) -> abi::CachedAttention {
            abi::CachedAttention { layer: self.layer.lower(keep), scale: self.scale.lower(keep), softcap: self.softcap.lower(keep), window: self.window.lower(keep), value_dim: self.value_dim.lower(keep),  }
        }
    }
    impl Lift for CachedAttention {
        type Abi = abi::CachedAttention;
        unsafe fn lift(abi: &abi::CachedAttention) -> std::result::Result<Self, Malformed> {
            // SAFETY: the caller's promise.
            unsafe { Ok(Self { layer: Lift::lift(&abi.layer)?, scale: Lift::lift(&abi.scale)?, softcap: Lift::lift(&abi.softcap)?, window: Lift::lift(&abi.window)?, value_dim: Lift::lift(&abi.value_dim)?,  }) }
        }
    }
    pub trait HostBatch {
        fn tokens(&mut self, this: Resource<BatchHandle>) -> Result<u32>;
        fn ids(&mut self, this: Resource<BatchHandle>) -> Result<Resource<TensorHandle>>;
        fn positions(&mut self, this: Resource<BatchHandle>) -> Result<Resource<TensorHandle>>;
        fn mark(&mut self, this: Resource<BatchHandle>, name: String) -> Result<Resource<TensorHandle>>;
        fn medium_mask(&mut self, this: Resource<BatchHandle>) -> Result<Resource<TensorHandle>>;
        fn splice_features(&mut self, this: Resource<BatchHandle>, x: Resource<TensorHandle>, set: u32) -> Result<Resource<TensorHandle>>;
        fn add_features(&mut self, this: Resource<BatchHandle>, x: Resource<TensorHandle>, set: u32) -> Result<Resource<TensorHandle>>;
        fn select_logits(&mut self, this: Resource<BatchHandle>, x: Resource<TensorHandle>) -> Result<Resource<TensorHandle>>;
        fn attend(&mut self, this: Resource<BatchHandle>, q: Resource<TensorHandle>, k: Resource<TensorHandle>, v: Option<Resource<TensorHandle>>, attention: CachedAttention) -> Result<Resource<TensorHandle>>;
        fn attend_shared(&mut self, this: Resource<BatchHandle>, q: Resource<TensorHandle>, attention: CachedAttention) -> Result<Resource<TensorHandle>>;
        fn short_conv(&mut self, this: Resource<BatchHandle>, x: Resource<TensorHandle>, kernel: Resource<TensorHandle>, bias: Option<Resource<TensorHandle>>, layer: u32) -> Result<Resource<TensorHandle>>;
        fn recurrent(&mut self, this: Resource<BatchHandle>, q: Resource<TensorHandle>, k: Resource<TensorHandle>, v: Resource<TensorHandle>, gate: Resource<TensorHandle>, beta: Resource<TensorHandle>, layer: u32) -> Result<Resource<TensorHandle>>;
        fn has_context(&mut self, this: Resource<BatchHandle>) -> Result<bool>;
        fn new_context(&mut self, this: Resource<BatchHandle>) -> Result<Option<Resource<TensorHandle>>>;
        fn context_mask(&mut self, this: Resource<BatchHandle>) -> Result<Resource<TensorHandle>>;
        fn cross_attend(&mut self, this: Resource<BatchHandle>, q: Resource<TensorHandle>, k: Option<Resource<TensorHandle>>, v: Option<Resource<TensorHandle>>, attention: CachedAttention) -> Result<Resource<TensorHandle>>;
        fn drop(&mut self, this: Resource<BatchHandle>) -> Result<()>;
    }
    pub trait Host {
    }
    unsafe extern "C" fn batch_tokens(host: *const abi::Host, this: u32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostBatch::tokens(side, edge::lift(&this)?)) }
    }
    unsafe extern "C" fn batch_ids(host: *const abi::Host, this: u32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostBatch::ids(side, edge::lift(&this)?)) }
    }
    unsafe extern "C" fn batch_positions(host: *const abi::Host, this: u32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostBatch::positions(side, edge::lift(&this)?)) }
    }
    unsafe extern "C" fn batch_mark(host: *const abi::Host, this: u32, name: Text, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostBatch::mark(side, edge::lift(&this)?, edge::lift(&name)?)) }
    }
    unsafe extern "C" fn batch_medium_mask(host: *const abi::Host, this: u32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostBatch::medium_mask(side, edge::lift(&this)?)) }
    }
    unsafe extern "C" fn batch_splice_features(host: *const abi::Host, this: u32, x: u32, set: u32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostBatch::splice_features(side, edge::lift(&this)?, edge::lift(&x)?, edge::lift(&set)?)) }
    }
    unsafe extern "C" fn batch_add_features(host: *const abi::Host, this: u32, x: u32, set: u32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostBatch::add_features(side, edge::lift(&this)?, edge::lift(&x)?, edge::lift(&set)?)) }
    }
    unsafe extern "C" fn batch_select_logits(host: *const abi::Host, this: u32, x: u32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostBatch::select_logits(side, edge::lift(&this)?, edge::lift(&x)?)) }
    }
    unsafe extern "C" fn batch_attend(host: *const abi::Host, this: u32, q: u32, k: u32, v: Optional<u32>, attention: *const abi::CachedAttention, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostBatch::attend(side, edge::lift(&this)?, edge::lift(&q)?, edge::lift(&k)?, edge::lift(&v)?, edge::lift_at(attention)?)) }
    }
    unsafe extern "C" fn batch_attend_shared(host: *const abi::Host, this: u32, q: u32, attention: *const abi::CachedAttention, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostBatch::attend_shared(side, edge::lift(&this)?, edge::lift(&q)?, edge::lift_at(attention)?)) }
    }
    unsafe extern "C" fn batch_short_conv(host: *const abi::Host, this: u32, x: u32, kernel: u32, bias: Optional<u32>, layer: u32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostBatch::short_conv(side, edge::lift(&this)?, edge::lift(&x)?, edge::lift(&kernel)?, edge::lift(&bias)?, edge::lift(&layer)?)) }
    }
    unsafe extern "C" fn batch_recurrent(host: *const abi::Host, this: u32, q: u32, k: u32, v: u32, gate: u32, beta: u32, layer: u32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostBatch::recurrent(side, edge::lift(&this)?, edge::lift(&q)?, edge::lift(&k)?, edge::lift(&v)?, edge::lift(&gate)?, edge::lift(&beta)?, edge::lift(&layer)?)) }
    }
    unsafe extern "C" fn batch_has_context(host: *const abi::Host, this: u32, result: *mut u8) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostBatch::has_context(side, edge::lift(&this)?)) }
    }
    unsafe extern "C" fn batch_new_context(host: *const abi::Host, this: u32, result: *mut Optional<u32>) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostBatch::new_context(side, edge::lift(&this)?)) }
    }
    unsafe extern "C" fn batch_context_mask(host: *const abi::Host, this: u32, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostBatch::context_mask(side, edge::lift(&this)?)) }
    }
    unsafe extern "C" fn batch_cross_attend(host: *const abi::Host, this: u32, q: u32, k: Optional<u32>, v: Optional<u32>, attention: *const abi::CachedAttention, result: *mut u32) -> Status {
        // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.
        unsafe { edge::result(host, result, |side| HostBatch::cross_attend(side, edge::lift(&this)?, edge::lift(&q)?, edge::lift(&k)?, edge::lift(&v)?, edge::lift_at(attention)?)) }
    }
    unsafe extern "C" fn batch_drop(host: *const abi::Host, this: u32) -> Status {
        // SAFETY: as above.
        unsafe { edge::nothing(host, |side| HostBatch::drop(side, edge::lift(&this)?)) }
    }
    pub static TABLE: abi::BatchesTable = abi::BatchesTable { size: size_of::<abi::BatchesTable>(), batch_tokens, batch_ids, batch_positions, batch_mark, batch_medium_mask, batch_splice_features, batch_add_features, batch_select_logits, batch_attend, batch_attend_shared, batch_short_conv, batch_recurrent, batch_has_context, batch_new_context, batch_context_mask, batch_cross_attend, batch_drop, };
}
