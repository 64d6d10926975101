//! What wit-bindgen makes of the contract for components, for native libraries: written by `cargo run --release -p monocle-tests --example native_abi` from
//! `plugin-api/wit/v0.2`; do not edit.
#![allow(clippy::too_many_arguments, dead_code, unused_imports, reason = "it is as the contract has it")]
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
}

pub mod log {
    use monocle_plugin_abi::{Keep, Lift, Lower, Malformed, v0_2 as abi};
    use crate::native::host;
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
    pub fn write(level: Level, text: &str) {
        host::call_for_nothing(|host| host.log, |table, host, held| {
            // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
            unsafe { (table.write)(host, level.lower(held), text.lower(held), ) }
        })
    }
}

pub mod tokenizers {
    use monocle_plugin_abi::Lower;
    use crate::native::host;
    pub fn encode(text: &str, add_special_tokens: bool) -> Vec<u32> {
        host::call(|host| host.tokenizers, |table, host, held, result| {
            // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
            unsafe { (table.encode)(host, text.lower(held), add_special_tokens.lower(held), result) }
        })
    }
    pub fn add(tokens: &[String], special: bool) -> Vec<u32> {
        host::call(|host| host.tokenizers, |table, host, held, result| {
            // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
            unsafe { (table.add)(host, tokens.lower(held), special.lower(held), result) }
        })
    }
    pub fn adds_beginning() -> Option<u32> {
        host::call(|host| host.tokenizers, |table, host, _, result| {
            // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
            unsafe { (table.adds_beginning)(host, result) }
        })
    }
    pub fn token_id(token: &str) -> Option<u32> {
        host::call(|host| host.tokenizers, |table, host, held, result| {
            // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
            unsafe { (table.token_id)(host, token.lower(held), result) }
        })
    }
    pub fn token(id: u32) -> Option<String> {
        host::call(|host| host.tokenizers, |table, host, held, result| {
            // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
            unsafe { (table.token)(host, id.lower(held), result) }
        })
    }
}

pub mod prompts {
    use monocle_plugin_abi::{Keep, Lift, Lower, Malformed, v0_2 as abi};
    use crate::native::host;
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
    pub fn render(request: &super::types::Request, options: &RenderOptions) -> Result<String, String> {
        host::call_that_may_fail(|host| host.prompts, |table, host, held, result, words| {
            // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
            unsafe { (table.render)(host, &request.lower(held), &options.lower(held), result, words) }
        })
    }
}

pub mod images {
    use monocle_plugin_abi::{Keep, Lift, Lower, Malformed, v0_2 as abi};
    use crate::native::host;
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
    #[derive(Debug)]
    pub struct Image(u32);
    impl Image {
        /// # Safety
        /// It is a handle of such a resource, and nothing else drops it.
        pub unsafe fn from_handle(handle: u32) -> Self {
            Self(handle)
        }
        pub fn handle(&self) -> u32 {
            self.0
        }
        pub(crate) fn into_handle(self) -> u32 {
            std::mem::ManuallyDrop::new(self).0
        }
        pub fn size(&self) -> super::types::Size {
            host::call(|host| host.images, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.image_size)(host, self.lower(held), result) }
            })
        }
        pub fn resize(&self, width: u32, height: u32, filter: Filter) -> Image {
            host::call(|host| host.images, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.image_resize)(host, self.lower(held), width.lower(held), height.lower(held), filter.lower(held), result) }
            })
        }
        pub fn crop(&self, left: i32, top: i32, width: u32, height: u32) -> Image {
            host::call(|host| host.images, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.image_crop)(host, self.lower(held), left.lower(held), top.lower(held), width.lower(held), height.lower(held), result) }
            })
        }
        pub fn pad(&self, left: u32, top: u32, right: u32, bottom: u32, red: u8, green: u8, blue: u8) -> Image {
            host::call(|host| host.images, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.image_pad)(host, self.lower(held), left.lower(held), top.lower(held), right.lower(held), bottom.lower(held), red.lower(held), green.lower(held), blue.lower(held), result) }
            })
        }
    }
    impl Drop for Image {
        fn drop(&mut self) {
            host::drop(|host| host.images, |table| table.image_drop, self.0);
        }
    }
    impl Lower for Image {
        type Abi = u32;
        fn lower(&self, _keep: &Keep) -> u32 {
            self.0
        }
    }
    impl Lift for Image {
        type Abi = u32;
        unsafe fn lift(abi: &u32) -> Result<Self, Malformed> {
            Ok(Self(*abi))
        }
    }
    #[derive(Debug)]
    pub struct Pixels(u32);
    impl Pixels {
        /// # Safety
        /// It is a handle of such a resource, and nothing else drops it.
        pub unsafe fn from_handle(handle: u32) -> Self {
            Self(handle)
        }
        pub fn handle(&self) -> u32 {
            self.0
        }
        pub(crate) fn into_handle(self) -> u32 {
            std::mem::ManuallyDrop::new(self).0
        }
        pub fn shape(&self) -> Vec<u32> {
            host::call(|host| host.images, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.pixels_shape)(host, self.lower(held), result) }
            })
        }
    }
    impl Drop for Pixels {
        fn drop(&mut self) {
            host::drop(|host| host.images, |table| table.pixels_drop, self.0);
        }
    }
    impl Lower for Pixels {
        type Abi = u32;
        fn lower(&self, _keep: &Keep) -> u32 {
            self.0
        }
    }
    impl Lift for Pixels {
        type Abi = u32;
        unsafe fn lift(abi: &u32) -> Result<Self, Malformed> {
            Ok(Self(*abi))
        }
    }
    pub fn stack(images: &[&Image], normalisation: Normalisation, layout: Layout) -> Pixels {
        host::call(|host| host.images, |table, host, held, result| {
            // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
            unsafe { (table.stack)(host, images.lower(held), &normalisation.lower(held), layout.lower(held), result) }
        })
    }
}

pub mod tensors {
    use monocle_plugin_abi::{Keep, Lift, Lower, Malformed, v0_2 as abi};
    use crate::native::host;
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
    #[derive(Debug)]
    pub struct Tensor(u32);
    impl Tensor {
        /// # Safety
        /// It is a handle of such a resource, and nothing else drops it.
        pub unsafe fn from_handle(handle: u32) -> Self {
            Self(handle)
        }
        pub fn handle(&self) -> u32 {
            self.0
        }
        pub(crate) fn into_handle(self) -> u32 {
            std::mem::ManuallyDrop::new(self).0
        }
        pub fn shape(&self) -> Vec<u32> {
            host::call(|host| host.tensors, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.tensor_shape)(host, self.lower(held), result) }
            })
        }
        pub fn kind(&self) -> Kind {
            host::call(|host| host.tensors, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.tensor_kind)(host, self.lower(held), result) }
            })
        }
        pub fn unary(&self, operation: UnaryOperation) -> Tensor {
            host::call(|host| host.tensors, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.tensor_unary)(host, self.lower(held), operation.lower(held), result) }
            })
        }
        pub fn binary(&self, operation: BinaryOperation, other: &Tensor) -> Tensor {
            host::call(|host| host.tensors, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.tensor_binary)(host, self.lower(held), operation.lower(held), other.lower(held), result) }
            })
        }
        pub fn scale_shift(&self, scale: f32, shift: f32) -> Tensor {
            host::call(|host| host.tensors, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.tensor_scale_shift)(host, self.lower(held), scale.lower(held), shift.lower(held), result) }
            })
        }
        pub fn clamp(&self, low: f32, high: f32) -> Tensor {
            host::call(|host| host.tensors, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.tensor_clamp)(host, self.lower(held), low.lower(held), high.lower(held), result) }
            })
        }
        pub fn select(&self, a: &Tensor, b: &Tensor) -> Tensor {
            host::call(|host| host.tensors, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.tensor_select)(host, self.lower(held), a.lower(held), b.lower(held), result) }
            })
        }
        pub fn cast(&self, kind: Kind) -> Tensor {
            host::call(|host| host.tensors, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.tensor_cast)(host, self.lower(held), kind.lower(held), result) }
            })
        }
        pub fn matmul(&self, right: &Tensor, transpose_right: bool) -> Tensor {
            host::call(|host| host.tensors, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.tensor_matmul)(host, self.lower(held), right.lower(held), transpose_right.lower(held), result) }
            })
        }
        pub fn rms_norm(&self, weight: Option<&Tensor>, epsilon: f32, offset: f32) -> Tensor {
            host::call(|host| host.tensors, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.tensor_rms_norm)(host, self.lower(held), weight.lower(held), epsilon.lower(held), offset.lower(held), result) }
            })
        }
        pub fn layer_norm(&self, weight: &Tensor, bias: Option<&Tensor>, epsilon: f32) -> Tensor {
            host::call(|host| host.tensors, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.tensor_layer_norm)(host, self.lower(held), weight.lower(held), bias.lower(held), epsilon.lower(held), result) }
            })
        }
        pub fn softmax(&self) -> Tensor {
            host::call(|host| host.tensors, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.tensor_softmax)(host, self.lower(held), result) }
            })
        }
        pub fn top_k(&self, k: u32) -> Tensor {
            host::call(|host| host.tensors, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.tensor_top_k)(host, self.lower(held), k.lower(held), result) }
            })
        }
        pub fn gather_last(&self, indices: &Tensor) -> Tensor {
            host::call(|host| host.tensors, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.tensor_gather_last)(host, self.lower(held), indices.lower(held), result) }
            })
        }
        pub fn reduce(&self, reduction: Reduction, axes: &[u32], keep: bool) -> Tensor {
            host::call(|host| host.tensors, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.tensor_reduce)(host, self.lower(held), reduction.lower(held), axes.lower(held), keep.lower(held), result) }
            })
        }
        pub fn reshape(&self, shape: &[u32]) -> Tensor {
            host::call(|host| host.tensors, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.tensor_reshape)(host, self.lower(held), shape.lower(held), result) }
            })
        }
        pub fn permute(&self, axes: &[u32]) -> Tensor {
            host::call(|host| host.tensors, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.tensor_permute)(host, self.lower(held), axes.lower(held), result) }
            })
        }
        pub fn slice(&self, axis: u32, start: u32, end: u32, step: u32) -> Tensor {
            host::call(|host| host.tensors, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.tensor_slice)(host, self.lower(held), axis.lower(held), start.lower(held), end.lower(held), step.lower(held), result) }
            })
        }
        pub fn broadcast(&self, shape: &[u32]) -> Tensor {
            host::call(|host| host.tensors, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.tensor_broadcast)(host, self.lower(held), shape.lower(held), result) }
            })
        }
        pub fn pad(&self, axis: u32, before: u32, after: u32, value: f32) -> Tensor {
            host::call(|host| host.tensors, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.tensor_pad)(host, self.lower(held), axis.lower(held), before.lower(held), after.lower(held), value.lower(held), result) }
            })
        }
        pub fn take_rows(&self, indices: &Tensor) -> Tensor {
            host::call(|host| host.tensors, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.tensor_take_rows)(host, self.lower(held), indices.lower(held), result) }
            })
        }
        pub fn put_rows(&self, indices: &Tensor, rows: &Tensor) -> Tensor {
            host::call(|host| host.tensors, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.tensor_put_rows)(host, self.lower(held), indices.lower(held), rows.lower(held), result) }
            })
        }
        pub fn conv2d(&self, kernel: &Tensor, bias: Option<&Tensor>, window: Window, groups: u32) -> Tensor {
            host::call(|host| host.tensors, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.tensor_conv2d)(host, self.lower(held), kernel.lower(held), bias.lower(held), &window.lower(held), groups.lower(held), result) }
            })
        }
        pub fn pool2d(&self, pooling: Pooling, window: Window) -> Tensor {
            host::call(|host| host.tensors, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.tensor_pool2d)(host, self.lower(held), pooling.lower(held), &window.lower(held), result) }
            })
        }
        pub fn interpolate(&self, height: u32, width: u32, method: Interpolation, align_corners: bool, antialias: bool) -> Tensor {
            host::call(|host| host.tensors, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.tensor_interpolate)(host, self.lower(held), height.lower(held), width.lower(held), method.lower(held), align_corners.lower(held), antialias.lower(held), result) }
            })
        }
        pub fn rope(&self, positions: &Tensor, angles: &RopeAngles) -> Tensor {
            host::call(|host| host.tensors, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.tensor_rope)(host, self.lower(held), positions.lower(held), &angles.lower(held), result) }
            })
        }
        pub fn attention(&self, k: &Tensor, v: &Tensor, attention: &SelfAttention) -> Tensor {
            host::call(|host| host.tensors, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.tensor_attention)(host, self.lower(held), k.lower(held), v.lower(held), &attention.lower(held), result) }
            })
        }
    }
    impl Drop for Tensor {
        fn drop(&mut self) {
            host::drop(|host| host.tensors, |table| table.tensor_drop, self.0);
        }
    }
    impl Lower for Tensor {
        type Abi = u32;
        fn lower(&self, _keep: &Keep) -> u32 {
            self.0
        }
    }
    impl Lift for Tensor {
        type Abi = u32;
        unsafe fn lift(abi: &u32) -> Result<Self, Malformed> {
            Ok(Self(*abi))
        }
    }
    pub fn floats(shape: &[u32], values: &[f32]) -> Tensor {
        host::call(|host| host.tensors, |table, host, held, result| {
            // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
            unsafe { (table.floats)(host, shape.lower(held), values.lower(held), result) }
        })
    }
    pub fn ints(shape: &[u32], values: &[i32]) -> Tensor {
        host::call(|host| host.tensors, |table, host, held, result| {
            // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
            unsafe { (table.ints)(host, shape.lower(held), values.lower(held), result) }
        })
    }
    pub fn full(shape: &[u32], value: f32) -> Tensor {
        host::call(|host| host.tensors, |table, host, held, result| {
            // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
            unsafe { (table.full)(host, shape.lower(held), value.lower(held), result) }
        })
    }
    pub fn concat(tensors: &[&Tensor], axis: u32) -> Tensor {
        host::call(|host| host.tensors, |table, host, held, result| {
            // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
            unsafe { (table.concat)(host, tensors.lower(held), axis.lower(held), result) }
        })
    }
}

pub mod weights {
    use monocle_plugin_abi::{Keep, Lift, Lower, Malformed, v0_2 as abi};
    use crate::native::host;
    #[derive(Debug)]
    pub struct Parameter(u32);
    impl Parameter {
        /// # Safety
        /// It is a handle of such a resource, and nothing else drops it.
        pub unsafe fn from_handle(handle: u32) -> Self {
            Self(handle)
        }
        pub fn handle(&self) -> u32 {
            self.0
        }
        pub(crate) fn into_handle(self) -> u32 {
            std::mem::ManuallyDrop::new(self).0
        }
        pub fn shape(&self) -> Vec<u32> {
            host::call(|host| host.weights, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.parameter_shape)(host, self.lower(held), result) }
            })
        }
        pub fn value(&self) -> super::tensors::Tensor {
            host::call(|host| host.weights, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.parameter_value)(host, self.lower(held), result) }
            })
        }
    }
    impl Drop for Parameter {
        fn drop(&mut self) {
            host::drop(|host| host.weights, |table| table.parameter_drop, self.0);
        }
    }
    impl Lower for Parameter {
        type Abi = u32;
        fn lower(&self, _keep: &Keep) -> u32 {
            self.0
        }
    }
    impl Lift for Parameter {
        type Abi = u32;
        unsafe fn lift(abi: &u32) -> Result<Self, Malformed> {
            Ok(Self(*abi))
        }
    }
    #[derive(Debug)]
    pub struct Linear(u32);
    impl Linear {
        /// # Safety
        /// It is a handle of such a resource, and nothing else drops it.
        pub unsafe fn from_handle(handle: u32) -> Self {
            Self(handle)
        }
        pub fn handle(&self) -> u32 {
            self.0
        }
        pub(crate) fn into_handle(self) -> u32 {
            std::mem::ManuallyDrop::new(self).0
        }
        pub fn shape(&self) -> Vec<u32> {
            host::call(|host| host.weights, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.linear_shape)(host, self.lower(held), result) }
            })
        }
        pub fn forward(&self, x: &super::tensors::Tensor) -> super::tensors::Tensor {
            host::call(|host| host.weights, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.linear_forward)(host, self.lower(held), x.lower(held), result) }
            })
        }
        pub fn forward_heads(&self, x: &super::tensors::Tensor, heads: u32, transposed: bool) -> super::tensors::Tensor {
            host::call(|host| host.weights, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.linear_forward_heads)(host, self.lower(held), x.lower(held), heads.lower(held), transposed.lower(held), result) }
            })
        }
    }
    impl Drop for Linear {
        fn drop(&mut self) {
            host::drop(|host| host.weights, |table| table.linear_drop, self.0);
        }
    }
    impl Lower for Linear {
        type Abi = u32;
        fn lower(&self, _keep: &Keep) -> u32 {
            self.0
        }
    }
    impl Lift for Linear {
        type Abi = u32;
        unsafe fn lift(abi: &u32) -> Result<Self, Malformed> {
            Ok(Self(*abi))
        }
    }
    #[derive(Debug)]
    pub struct Embedding(u32);
    impl Embedding {
        /// # Safety
        /// It is a handle of such a resource, and nothing else drops it.
        pub unsafe fn from_handle(handle: u32) -> Self {
            Self(handle)
        }
        pub fn handle(&self) -> u32 {
            self.0
        }
        pub(crate) fn into_handle(self) -> u32 {
            std::mem::ManuallyDrop::new(self).0
        }
        pub fn shape(&self) -> Vec<u32> {
            host::call(|host| host.weights, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.embedding_shape)(host, self.lower(held), result) }
            })
        }
        pub fn forward(&self, ids: &super::tensors::Tensor) -> super::tensors::Tensor {
            host::call(|host| host.weights, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.embedding_forward)(host, self.lower(held), ids.lower(held), result) }
            })
        }
    }
    impl Drop for Embedding {
        fn drop(&mut self) {
            host::drop(|host| host.weights, |table| table.embedding_drop, self.0);
        }
    }
    impl Lower for Embedding {
        type Abi = u32;
        fn lower(&self, _keep: &Keep) -> u32 {
            self.0
        }
    }
    impl Lift for Embedding {
        type Abi = u32;
        unsafe fn lift(abi: &u32) -> Result<Self, Malformed> {
            Ok(Self(*abi))
        }
    }
    #[derive(Debug)]
    pub struct Experts(u32);
    impl Experts {
        /// # Safety
        /// It is a handle of such a resource, and nothing else drops it.
        pub unsafe fn from_handle(handle: u32) -> Self {
            Self(handle)
        }
        pub fn handle(&self) -> u32 {
            self.0
        }
        pub(crate) fn into_handle(self) -> u32 {
            std::mem::ManuallyDrop::new(self).0
        }
        pub fn shape(&self) -> Vec<u32> {
            host::call(|host| host.weights, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.experts_shape)(host, self.lower(held), result) }
            })
        }
        pub fn forward(&self, x: &super::tensors::Tensor, indices: &super::tensors::Tensor) -> super::tensors::Tensor {
            host::call(|host| host.weights, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.experts_forward)(host, self.lower(held), x.lower(held), indices.lower(held), result) }
            })
        }
    }
    impl Drop for Experts {
        fn drop(&mut self) {
            host::drop(|host| host.weights, |table| table.experts_drop, self.0);
        }
    }
    impl Lower for Experts {
        type Abi = u32;
        fn lower(&self, _keep: &Keep) -> u32 {
            self.0
        }
    }
    impl Lift for Experts {
        type Abi = u32;
        unsafe fn lift(abi: &u32) -> Result<Self, Malformed> {
            Ok(Self(*abi))
        }
    }
    pub fn has(name: &str) -> bool {
        host::call(|host| host.weights, |table, host, held, result| {
            // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
            unsafe { (table.has)(host, name.lower(held), result) }
        })
    }
    pub fn names(prefix: &str) -> Vec<String> {
        host::call(|host| host.weights, |table, host, held, result| {
            // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
            unsafe { (table.names)(host, prefix.lower(held), result) }
        })
    }
    pub fn get_parameter(name: &str) -> Parameter {
        host::call(|host| host.weights, |table, host, held, result| {
            // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
            unsafe { (table.get_parameter)(host, name.lower(held), result) }
        })
    }
    pub fn get_linear(name: &str) -> Linear {
        host::call(|host| host.weights, |table, host, held, result| {
            // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
            unsafe { (table.get_linear)(host, name.lower(held), result) }
        })
    }
    pub fn get_embedding(name: &str) -> Embedding {
        host::call(|host| host.weights, |table, host, held, result| {
            // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
            unsafe { (table.get_embedding)(host, name.lower(held), result) }
        })
    }
    pub fn stack_experts(names: &[String]) -> Experts {
        host::call(|host| host.weights, |table, host, held, result| {
            // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
            unsafe { (table.stack_experts)(host, names.lower(held), result) }
        })
    }
    pub fn get_experts(name: &str) -> Experts {
        host::call(|host| host.weights, |table, host, held, result| {
            // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
            unsafe { (table.get_experts)(host, name.lower(held), result) }
        })
    }
}

pub mod batches {
    use monocle_plugin_abi::{Keep, Lift, Lower, Malformed, v0_2 as abi};
    use crate::native::host;
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
    #[derive(Debug)]
    pub struct Batch(u32);
    impl Batch {
        /// # Safety
        /// It is a handle of such a resource, and nothing else drops it.
        pub unsafe fn from_handle(handle: u32) -> Self {
            Self(handle)
        }
        pub fn handle(&self) -> u32 {
            self.0
        }
        pub(crate) fn into_handle(self) -> u32 {
            std::mem::ManuallyDrop::new(self).0
        }
        pub fn tokens(&self) -> u32 {
            host::call(|host| host.batches, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.batch_tokens)(host, self.lower(held), result) }
            })
        }
        pub fn ids(&self) -> super::tensors::Tensor {
            host::call(|host| host.batches, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.batch_ids)(host, self.lower(held), result) }
            })
        }
        pub fn positions(&self) -> super::tensors::Tensor {
            host::call(|host| host.batches, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.batch_positions)(host, self.lower(held), result) }
            })
        }
        pub fn mark(&self, name: &str) -> super::tensors::Tensor {
            host::call(|host| host.batches, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.batch_mark)(host, self.lower(held), name.lower(held), result) }
            })
        }
        pub fn medium_mask(&self) -> super::tensors::Tensor {
            host::call(|host| host.batches, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.batch_medium_mask)(host, self.lower(held), result) }
            })
        }
        pub fn splice_features(&self, x: &super::tensors::Tensor, set: u32) -> super::tensors::Tensor {
            host::call(|host| host.batches, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.batch_splice_features)(host, self.lower(held), x.lower(held), set.lower(held), result) }
            })
        }
        pub fn add_features(&self, x: &super::tensors::Tensor, set: u32) -> super::tensors::Tensor {
            host::call(|host| host.batches, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.batch_add_features)(host, self.lower(held), x.lower(held), set.lower(held), result) }
            })
        }
        pub fn select_logits(&self, x: &super::tensors::Tensor) -> super::tensors::Tensor {
            host::call(|host| host.batches, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.batch_select_logits)(host, self.lower(held), x.lower(held), result) }
            })
        }
        pub fn attend(&self, q: &super::tensors::Tensor, k: &super::tensors::Tensor, v: Option<&super::tensors::Tensor>, attention: CachedAttention) -> super::tensors::Tensor {
            host::call(|host| host.batches, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.batch_attend)(host, self.lower(held), q.lower(held), k.lower(held), v.lower(held), &attention.lower(held), result) }
            })
        }
        pub fn attend_shared(&self, q: &super::tensors::Tensor, attention: CachedAttention) -> super::tensors::Tensor {
            host::call(|host| host.batches, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.batch_attend_shared)(host, self.lower(held), q.lower(held), &attention.lower(held), result) }
            })
        }
        pub fn short_conv(&self, x: &super::tensors::Tensor, kernel: &super::tensors::Tensor, bias: Option<&super::tensors::Tensor>, layer: u32) -> super::tensors::Tensor {
            host::call(|host| host.batches, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.batch_short_conv)(host, self.lower(held), x.lower(held), kernel.lower(held), bias.lower(held), layer.lower(held), result) }
            })
        }
        pub fn recurrent(&self, q: &super::tensors::Tensor, k: &super::tensors::Tensor, v: &super::tensors::Tensor, gate: &super::tensors::Tensor, beta: &super::tensors::Tensor, layer: u32) -> super::tensors::Tensor {
            host::call(|host| host.batches, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.batch_recurrent)(host, self.lower(held), q.lower(held), k.lower(held), v.lower(held), gate.lower(held), beta.lower(held), layer.lower(held), result) }
            })
        }
        pub fn has_context(&self) -> bool {
            host::call(|host| host.batches, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.batch_has_context)(host, self.lower(held), result) }
            })
        }
        pub fn new_context(&self) -> Option<super::tensors::Tensor> {
            host::call(|host| host.batches, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.batch_new_context)(host, self.lower(held), result) }
            })
        }
        pub fn context_mask(&self) -> super::tensors::Tensor {
            host::call(|host| host.batches, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.batch_context_mask)(host, self.lower(held), result) }
            })
        }
        pub fn cross_attend(&self, q: &super::tensors::Tensor, k: Option<&super::tensors::Tensor>, v: Option<&super::tensors::Tensor>, attention: CachedAttention) -> super::tensors::Tensor {
            host::call(|host| host.batches, |table, host, held, result| {
                // SAFETY: the table is the host's, for this call; what it is given lives until it returns.
                unsafe { (table.batch_cross_attend)(host, self.lower(held), q.lower(held), k.lower(held), v.lower(held), &attention.lower(held), result) }
            })
        }
    }
    impl Drop for Batch {
        fn drop(&mut self) {
            host::drop(|host| host.batches, |table| table.batch_drop, self.0);
        }
    }
    impl Lower for Batch {
        type Abi = u32;
        fn lower(&self, _keep: &Keep) -> u32 {
            self.0
        }
    }
    impl Lift for Batch {
        type Abi = u32;
        unsafe fn lift(abi: &u32) -> Result<Self, Malformed> {
            Ok(Self(*abi))
        }
    }
}
