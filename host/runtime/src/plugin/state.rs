//! What the host keeps for one plugin instance, whatever carries it: handles, the recording in progress, limits. Handles are numbers here.

use std::collections::{HashMap, VecDeque};
use std::hash::RandomState;
use std::sync::Arc;
use std::time::{Duration, Instant};

use monocle_image::Picture;
use monocle_tensor::operation::{Op, Rope, WeightId};
use monocle_tensor::program::ValueId;
use monocle_tensor::recorder::Recorder;
use monocle_tensor::stored::{Matrix, StoredTensor, Weight};
use monocle_text::clock;

use crate::budget::{Budget, Exhausted};
use crate::plugin::error::Fault;
use crate::plugin::limits::Limits;
use crate::plugin::services::{Role, Services};

/// Prepared pixels of one tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct PixelTensor {
    /// `[n, height, width, 3]` or `[n, 3, height, width]`
    pub shape: Vec<usize>,
    /// Row-major.
    pub values: Vec<f32>,
}

/// How serious a line of the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// For a plugin's author.
    Debug,
    /// For the curious.
    Info,
    /// For the user, with the result.
    Warn,
}

/// A plugin's line for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// For whom.
    pub level: LogLevel,
    /// What.
    pub text: String,
}

/// The low bits of a tensor handle are the value's number, the high bits the recording's.
const VALUE_BITS: u32 = 20;
/// Recordings that one instance can tell apart.
const RECORDINGS: u32 = 1 << (32 - VALUE_BITS);
/// Pictures, and likewise tensors of pixels, that one instance can hold at once.
const PICTURES: usize = 4096;
/// Layers of one stack.
const STACK: usize = 4096;
/// Bytes of all stacks, and of the names in them: those of a hundred layers with a hundred experts each have less than 8 MiB.
const STACKS: usize = 16 << 20;
/// Bytes of angles that are kept to be shared.
const MOST_ROPE_BYTES: usize = 1 << 20;
/// Bytes of all tokens that are added to a tokenizer, which keeps many times as much to find them: 16,000 of ten letters.
const ADDED_TOKENS: usize = 512 << 10;
/// Lines of log kept for one instance.
const LOG_LINES: usize = 256;
/// Bytes kept of a line.
const LOG_BYTES: usize = 4096;
/// What is wrong with a handle of an earlier recording.
const DEAD: &str =
    "a tensor of an earlier call was used: handles are valid during the call in which they were made";

/// An instance's side of the host.
pub struct State {
    /// The model that it serves.
    pub services: Arc<dyn Services>,
    /// Its bounds.
    pub limits: Limits,
    /// When the call in progress must end.
    call_ends: Option<Instant>,
    /// What it wrote to the log.
    pub log: VecDeque<LogLine>,
    /// How many calls of the plugin were made.
    pub calls: u64,
    /// The weights it asked for, in order.
    pub weights: Vec<Weight>,
    /// Whether it may ask for weights now.
    pub loading: bool,
    /// Whether it may add tokens now.
    pub configuring: bool,
    /// Variables of the request, for plugins that cannot hand them back.
    pub request_variables: serde_json::Map<String, serde_json::Value>,
    weight_ids: HashMap<(String, Role), WeightId>,
    stack_ids: HashMap<Vec<String>, WeightId>,
    /// For them and the names in them.
    stacks: Budget,
    /// For the tokens that it adds.
    pub added_tokens: Budget,
    /// Of the request that it serves.
    pub budget: Budget,
    recorder: Option<Recorder>,
    recording: u32,
    /// What recordings have taken of the budget and not given back.
    recorded_bytes: usize,
    /// Angles by the hash of their content.
    ropes: HashMap<u64, Vec<Arc<Rope>>>,
    rope_hasher: RandomState,
    rope_bytes: usize,
    images: Vec<Option<Picture>>,
    pixels: Vec<Option<PixelTensor>>,
    pixel_bytes: usize,
}

impl State {
    /// The state of a fresh instance.
    pub fn new(services: Arc<dyn Services>, limits: Limits) -> Self {
        Self {
            services,
            limits,
            call_ends: None,
            log: VecDeque::new(),
            calls: 0,
            weights: Vec::new(),
            loading: false,
            configuring: false,
            request_variables: serde_json::Map::new(),
            weight_ids: HashMap::new(),
            stack_ids: HashMap::new(),
            stacks: Budget::new(STACKS),
            added_tokens: Budget::new(ADDED_TOKENS),
            budget: Budget::of_request(0),
            recorder: None,
            recording: 0,
            recorded_bytes: 0,
            ropes: HashMap::new(),
            rope_hasher: RandomState::new(),
            rope_bytes: 0,
            images: Vec::new(),
            pixels: Vec::new(),
            pixel_bytes: 0,
        }
    }

    /// A call begins; gives the time that it has.
    pub fn begin_call(&mut self) -> Duration {
        let now = Instant::now();
        let rest = self
            .limits
            .until
            .map(|until| until.saturating_duration_since(now));
        let left = rest.map_or(self.limits.call, |rest| rest.min(self.limits.call));
        self.call_ends = now.checked_add(left);
        left
    }

    /// Ends the call if its time is over. The clock of the plugin's own code does not stop the host's, so what can take long asks.
    pub fn in_time(&self) -> Result<(), Fault> {
        match self.call_ends.is_some_and(|ends| ends <= Instant::now()) {
            true => Err(self.over()),
            false => Ok(()),
        }
    }

    /// The clock of what the host runs for the call and cannot ask: templates and tokenizers.
    pub fn time(&self) -> clock::Time {
        clock::Time::until(self.call_ends)
    }

    /// What it is that a call's time is over.
    pub fn over(&self) -> Fault {
        match self.limits.until.is_some_and(|until| until <= Instant::now()) {
            true => Fault::Late,
            false => Fault::Timeout(self.limits.call.as_millis() as u64),
        }
    }

    /// Keeps a line of the log, the oldest making room.
    pub fn write_log(&mut self, level: LogLevel, text: &str) {
        // A copy of the start: a text that is cut keeps all of its memory.
        let end = text.floor_char_boundary(LOG_BYTES);
        if self.log.len() == LOG_LINES {
            self.log.pop_front();
        }
        self.log.push_back(LogLine {
            level,
            text: text[..end].to_owned(),
        });
    }

    /// The line that it wrote last, if that is for the user: what it said before it stopped.
    pub fn last_words(&self) -> Option<String> {
        let last = self.log.back().filter(|line| line.level == LogLevel::Warn);
        last.map(|line| line.text.clone())
    }

    // ---- tensors ----

    /// Starts a recording; handles of earlier ones are dead from now on.
    pub fn begin_recording(&mut self, recorder: Recorder) -> Result<(), Fault> {
        if self.recording + 1 >= RECORDINGS {
            return Err(Fault::Misuse(format!(
                "one instance can record {RECORDINGS} programs at most"
            )));
        }
        self.recording += 1;
        self.recorder = Some(recorder);
        Ok(())
    }

    /// Ends the recording.
    pub fn end_recording(&mut self) -> Option<Recorder> {
        self.recorder.take()
    }

    /// The recording in progress.
    pub fn recorder(&mut self) -> Result<&mut Recorder, Fault> {
        if self.recorder.is_none() {
            return Err(Fault::Misuse(
                "tensors can be used in `network.encode` and `network.forward` only".to_owned(),
            ));
        }
        Ok(self.recorder.as_mut().expect("checked above"))
    }

    /// The handle of a value of the current recording.
    pub fn tensor_handle(&self, value: ValueId) -> u32 {
        (self.recording << VALUE_BITS) | value.0
    }

    /// The value that a handle stands for.
    pub fn value(&self, handle: u32) -> Result<ValueId, Fault> {
        match self.live_value(handle) {
            Some(value) => Ok(value),
            None => Err(Fault::Misuse(DEAD.to_owned())),
        }
    }

    /// The value that a handle stands for, if it is one of the current recording.
    fn live_value(&self, handle: u32) -> Option<ValueId> {
        let (recording, value) = (handle >> VALUE_BITS, handle & ((1 << VALUE_BITS) - 1));
        (recording == self.recording && self.recorder.is_some()).then_some(ValueId(value))
    }

    /// Records an operation.
    pub fn record(&mut self, op: Op, operands: &[u32], shape: Option<&[u32]>) -> Result<u32, Fault> {
        self.in_time()?;
        self.recorder()?;
        let mut inputs = Vec::with_capacity(operands.len());
        for (number, operand) in operands.iter().enumerate() {
            match self.live_value(*operand) {
                Some(value) => inputs.push(value),
                None => {
                    return Err(Fault::Misuse(format!(
                        "`{}`, operand {number}: {DEAD}",
                        op.full_name()
                    )));
                }
            }
        }
        let shape: Option<Vec<usize>> = shape.map(|shape| shape.iter().map(|&size| size as usize).collect());
        let recorder = self.recorder()?;
        let before = recorder.held_bytes();
        let pushed = recorder.push(op, &inputs, shape.as_deref());
        let bytes = recorder.held_bytes().saturating_sub(before);
        match pushed {
            Ok(value) => {
                let taken = self.budget.charge(bytes);
                self.within(taken)?;
                self.recorded_bytes = self.recorded_bytes.saturating_add(bytes);
                Ok(self.tensor_handle(value))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Refuses so many numbers of four bytes, if there is no room for them, before they are copied.
    pub fn afford(&self, numbers: usize) -> Result<(), Fault> {
        let afforded = self.budget.afford(numbers.saturating_mul(4));
        self.within(afforded)
    }

    fn within(&self, taken: Result<(), Exhausted>) -> Result<(), Fault> {
        taken.map_err(|error| {
            let near = self.recorder.as_ref().map_or(0, Recorder::len);
            Fault::Misuse(format!(
                "its operations and their constants, {near} in this recording: {error}"
            ))
        })
    }

    /// Gives back what recordings took: those that are kept are charged to who keeps them.
    pub fn give_recorded(&mut self) {
        self.budget.give(std::mem::take(&mut self.recorded_bytes));
    }

    /// One copy of equal angles, so that engines can compute their sines once.
    pub fn intern_rope(&mut self, rope: Rope) -> Arc<Rope> {
        let hash = rope.content_hash(&self.rope_hasher);
        let known = self.ropes.get(&hash).into_iter().flatten();
        if let Some(known) = known.into_iter().find(|known| ***known == rope) {
            return Arc::clone(known);
        }
        // What is too much is forgotten: two programs then have a copy each.
        self.rope_bytes += size_of_val(&rope.frequencies[..]) + rope.axes.len() + size_of::<Rope>();
        if self.rope_bytes > MOST_ROPE_BYTES {
            self.ropes.clear();
            self.rope_bytes = 0;
        }
        let rope = Arc::new(rope);
        self.ropes.entry(hash).or_default().push(Arc::clone(&rope));
        rope
    }

    // ---- weights ----

    /// The number of a weight in a role, asked of the checkpoint the first time.
    pub fn weight_id(&mut self, name: &str, role: Role) -> Result<WeightId, Fault> {
        if !self.loading {
            return Err(Fault::Misuse(format!(
                "weight `{name}` was asked for outside of `network.load`"
            )));
        }
        self.in_time()?;
        let key = (name.to_owned(), role);
        if let Some(id) = self.weight_ids.get(&key) {
            return Ok(*id);
        }
        match self.services.weight(name, role) {
            Ok(weight) => {
                let id = self.add_weight(weight);
                self.weight_ids.insert(key, id);
                Ok(id)
            }
            Err(reason) => Err(Fault::Weight(reason)),
        }
    }

    /// The number of a stack of layers, asked of the checkpoint the first time.
    pub fn stack_id(&mut self, names: Vec<String>) -> Result<WeightId, Fault> {
        if names.is_empty() || names.len() > STACK {
            return Err(Fault::Misuse(format!(
                "`weights.stack-experts` got {} names, expected 1 to {STACK}",
                names.len()
            )));
        }
        if !self.loading {
            return Err(Fault::Misuse(format!(
                "weight `{}` was asked for outside of `network.load`",
                names[0]
            )));
        }
        if let Some(id) = self.stack_ids.get(&names) {
            return Ok(*id);
        }
        self.in_time()?;
        let each = size_of::<String>() + size_of::<(Matrix, Option<StoredTensor>)>();
        let bytes = names.iter().map(|name| name.len() + each).sum();
        if let Err(error) = self.stacks.charge(bytes) {
            return Err(Fault::Misuse(format!("its stacked weights: {error}")));
        }
        match self.services.stack(&names) {
            Ok(weight) => {
                let id = self.add_weight(weight);
                self.stack_ids.insert(names, id);
                Ok(id)
            }
            Err(reason) => Err(Fault::Weight(reason)),
        }
    }

    fn add_weight(&mut self, weight: Weight) -> WeightId {
        let id = WeightId(self.weights.len() as u32);
        self.weights.push(weight);
        id
    }

    /// The shape of a weight.
    pub fn weight_shape(&mut self, id: u32) -> Result<Vec<u32>, Fault> {
        match self.weights.get(id as usize) {
            Some(weight) => Ok(weight.shape().into_iter().map(|size| size as u32).collect()),
            None => Err(Fault::Misuse("no such weight".to_owned())),
        }
    }

    // ---- pictures ----

    /// Takes a picture in and gives its handle.
    pub fn add_image(&mut self, image: Picture) -> Result<u32, Fault> {
        self.take_memory(image.width() as usize * image.height() as usize * 3)?;
        match insert(&mut self.images, image) {
            Some(handle) => Ok(handle),
            None => Err(Fault::Misuse(format!(
                "more than the {PICTURES} pictures that a plugin may hold at once"
            ))),
        }
    }

    /// The picture of a handle.
    pub fn image(&self, handle: u32) -> Result<&Picture, Fault> {
        if self.images.get(handle as usize).is_none_or(Option::is_none) {
            return Err(Fault::Misuse(
                "a picture was used after it was dropped".to_owned(),
            ));
        }
        Ok(self.images[handle as usize].as_ref().expect("checked above"))
    }

    /// Forgets a picture.
    pub fn drop_image(&mut self, handle: u32) {
        if let Some(image) = self.images.get_mut(handle as usize).and_then(Option::take) {
            self.pixel_bytes -= image.width() as usize * image.height() as usize * 3;
        }
    }

    /// Checks that the host may hold this many bytes more for the plugin's pictures.
    pub fn take_memory(&mut self, bytes: usize) -> Result<(), Fault> {
        let total = self.pixel_bytes.saturating_add(bytes);
        if total > self.limits.pixel_bytes {
            let limit = self.limits.pixel_bytes >> 20;
            return Err(Fault::Misuse(format!(
                "pictures and pixels take more than the {limit} MiB that they may"
            )));
        }
        self.pixel_bytes = total;
        Ok(())
    }

    /// Bytes that were asked for and are not held any more.
    pub fn give_memory(&mut self, bytes: usize) {
        self.pixel_bytes = self.pixel_bytes.saturating_sub(bytes);
    }

    /// Takes pixels in, whose memory was asked for, and gives their handle.
    pub fn add_pixels(&mut self, pixels: PixelTensor) -> Result<u32, Fault> {
        match insert(&mut self.pixels, pixels) {
            Some(handle) => Ok(handle),
            None => Err(Fault::Misuse(format!(
                "more than the {PICTURES} tensors of pixels that a plugin may hold at once"
            ))),
        }
    }

    /// The pixels of a handle.
    pub fn pixels(&mut self, handle: u32) -> Result<&PixelTensor, Fault> {
        if self.pixels.get(handle as usize).is_none_or(Option::is_none) {
            return Err(Fault::Misuse(
                "pixels were used after they were dropped".to_owned(),
            ));
        }
        Ok(self.pixels[handle as usize].as_ref().expect("checked above"))
    }

    /// Takes pixels out.
    pub fn remove_pixels(&mut self, handle: u32) -> Option<PixelTensor> {
        let pixels = self.pixels.get_mut(handle as usize).and_then(Option::take)?;
        self.pixel_bytes -= pixels.values.len() * 4;
        Some(pixels)
    }
}

/// Puts a value into the first free place, if there is one.
fn insert<T>(slots: &mut Vec<Option<T>>, value: T) -> Option<u32> {
    if let Some(free) = slots.iter().position(Option::is_none) {
        slots[free] = Some(value);
        return Some(free as u32);
    }
    if slots.len() == PICTURES {
        return None;
    }
    slots.push(Some(value));
    Some(slots.len() as u32 - 1)
}
