//! From a request to everything that is known before the first number is computed: the plan, the recorded encoders, the
//! feature counts, the memory that it will take.

use std::rc::Rc;
use std::time::{Duration, Instant};

use monocle_image::Picture;
use monocle_tensor::backend::BackendError;
use monocle_tensor::program::Program;
use monocle_tensor::recorder::BatchShape;

use super::error::EngineError;
use super::memory::MemoryEstimate;
use super::pictures::{self, Opened, PictureInput};
use super::programs::EncodeSignature;
use super::prompt::Prompt;
use super::report::ImageReport;
use crate::model::Model;
use crate::plugin::contract::{Content, Message, Part, Plan};
use crate::plugin::error::{Fault, PluginError};
use crate::plugin::instance::Instance;
use crate::plugin::state::PixelTensor;

/// Bytes that decoding may take whatever the limit on memory is: a limit that is too small for the model is better refused with the
/// estimate, which needs the pictures.
const SMALL_PICTURES: u64 = 16 << 20;

/// What is asked of a model.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The conversation; pictures are numbered in the order of its parts.
    pub messages: Vec<Message>,
    /// The pictures.
    pub pictures: Vec<PictureInput>,
}

impl Request {
    /// What the user said last.
    pub(super) fn last_words(&self) -> String {
        let said = self.messages.iter().rev().find(|message| message.role == "user");
        match said.map(|message| &message.content) {
            Some(Content::Text(text)) => text.clone(),
            Some(Content::Parts(parts)) => {
                let texts = parts.iter().filter_map(|part| match part {
                    Part::Text(text) => Some(text.as_str()),
                    Part::Image(_) => None,
                });
                texts.collect::<Vec<_>>().join(" ")
            }
            None => String::new(),
        }
    }

    /// One user turn: pictures, then words.
    pub fn single(system: Option<&str>, pictures: Vec<PictureInput>, prompt: &str) -> Self {
        let text = |text: &str| Part::Text(text.to_owned());
        let mut messages = Vec::new();
        if let Some(system) = system {
            messages.push(Message {
                role: "system".to_owned(),
                content: Content::Parts(vec![text(system)]),
            });
        }
        let parts = (0..pictures.len() as u32)
            .map(Part::Image)
            .chain([text(prompt)])
            .collect();
        messages.push(Message {
            role: "user".to_owned(),
            content: Content::Parts(parts),
        });
        Self { messages, pictures }
    }
}

/// A request, planned and checked.
pub struct Prepared {
    pub(super) processor: Instance,
    /// When the processor is an adapter.
    pub(super) network: Option<Instance>,
    /// The plan.
    pub plan: Plan,
    /// The prompt.
    pub prompt: Prompt,
    /// The pictures.
    pub pictures: Vec<Opened>,
    pub(super) encoders: Vec<Rc<Program>>,
    /// Tokens of one prefill step.
    pub chunk: usize,
    /// What it is expected to take.
    pub estimate: MemoryEstimate,
    pub(super) image_time: Duration,
    pub(super) plan_time: Duration,
    pub(super) record_time: Duration,
}

impl Model {
    /// Plans a request and checks it, computing nothing. `max_tokens` bounds the answer, `chunk` is the size of a prefill step.
    pub fn prepare(
        &mut self,
        request: &Request,
        max_tokens: usize,
        chunk: usize,
    ) -> Result<Prepared, EngineError> {
        if let Some(limit) = self
            .settings
            .max_images
            .filter(|limit| request.pictures.len() > *limit)
        {
            return Err(EngineError::TooManyImages {
                found: request.pictures.len(),
                limit,
            });
        }
        let started = Instant::now();
        let mut opened = Vec::with_capacity(request.pictures.len());
        let mut decode = self.settings.decode;
        if let Some(limit) = self.memory.limit {
            let bytes = &mut decode.limits.max_memory_bytes;
            *bytes = (*bytes).min((limit.bytes as u64).max(SMALL_PICTURES));
        }
        for input in &request.pictures {
            let next = pictures::open(input, &decode, self.settings.pixel_cap)?;
            // Each picture is kept beside those that are decoded after it.
            let bytes = &mut decode.limits.max_memory_bytes;
            *bytes = bytes.saturating_sub(next.picture.byte_len() as u64);
            opened.push(next);
        }
        let image_time = started.elapsed();

        let started = Instant::now();
        let mut processor = self.processor_instance()?;
        let sizes: Vec<_> = opened
            .iter()
            .map(|opened| crate::plugin::contract::Size {
                width: opened.picture.width(),
                height: opened.picture.height(),
            })
            .collect();
        let plan = processor.plan(&request.messages, &sizes)?;
        let prompt = Prompt::new(&plan);
        if let Some(limit) = self.settings.context.filter(|limit| prompt.len() > *limit) {
            let (tokens, image_tokens) = (prompt.len(), prompt.image_tokens());
            return Err(EngineError::PromptTooLong {
                tokens,
                image_tokens,
                limit,
            });
        }
        let plan_time = started.elapsed();

        let started = Instant::now();
        let mut network = self.network_instance()?;
        let instance = network.as_mut().unwrap_or(&mut processor);
        self.load_instance(instance)?;
        let mut encoders = Vec::with_capacity(plan.images.len());
        for image in &plan.images {
            let signature = EncodeSignature {
                pixels: image.pixels.clone(),
                layout: image.layout.clone(),
            };
            encoders.push(
                self.programs
                    .encode(signature, || instance.record_encode(image))?,
            );
        }
        check_widths(instance, &encoders)?;
        let mut prepared = Prepared {
            processor,
            network,
            plan,
            prompt,
            pictures: opened,
            encoders,
            chunk,
            estimate: MemoryEstimate::default(),
            image_time,
            plan_time,
            record_time: Duration::ZERO,
        };
        // Every signature is recorded here: a mistake shows before the first picture is encoded.
        let mut programs = Vec::new();
        let mut start = 0;
        while start < prepared.prompt.len() {
            let end = prepared.prompt.chunk_end(start, chunk);
            let shape = prepared.batch_shape(start..end, 1);
            programs.push((self.forward_program(&mut prepared, shape)?, end));
            start = end;
        }
        // The decode step too, so that no plugin code runs once tokens flow.
        let decode = prepared.decode_shape();
        let tokens = prepared.prompt.len().saturating_add(max_tokens);
        programs.push((self.forward_program(&mut prepared, decode)?, tokens));
        prepared.estimate = self.estimate(&prepared, &programs);
        prepared.record_time = started.elapsed();
        Ok(prepared)
    }

    /// The program of a forward pass, recorded if its signature is new.
    pub(super) fn forward_program(
        &mut self,
        prepared: &mut Prepared,
        shape: BatchShape,
    ) -> Result<Rc<Program>, PluginError> {
        let instance = prepared.network.as_mut().unwrap_or(&mut prepared.processor);
        self.programs
            .forward(shape.clone(), || instance.record_forward(&shape))
    }
}

impl Prepared {
    /// The signature of a prefill step over these tokens.
    pub(super) fn batch_shape(&self, range: std::ops::Range<usize>, wanted: usize) -> BatchShape {
        let has_context = self.prompt.uses_context() && !self.encoders.is_empty();
        let new_context = (has_context && range.start == 0).then(|| {
            let rows = self.plan.images.iter().map(|image| image.features as usize).sum();
            [rows, self.feature_widths()[0]]
        });
        BatchShape {
            tokens: range.len(),
            axes: self.prompt.axes(),
            wanted,
            features: self.prompt.has_features(&range).then(|| self.feature_widths()),
            has_context,
            new_context,
        }
    }

    /// The signature of a decode step.
    pub(super) fn decode_shape(&self) -> BatchShape {
        BatchShape {
            tokens: 1,
            axes: self.prompt.axes(),
            wanted: 1,
            features: None,
            has_context: self.prompt.uses_context() && !self.encoders.is_empty(),
            new_context: None,
        }
    }

    /// The pixel tensors of a picture. The picture itself is needed no longer then, and is given up.
    pub(super) fn take_pixels(&mut self, index: usize) -> Result<Vec<PixelTensor>, PluginError> {
        let nothing = Picture::filled(1, 1, [0; 3]).expect("one pixel is a picture");
        let picture = std::mem::replace(&mut self.pictures[index].picture, nothing);
        self.processor.pixels(index, picture, &self.plan.images[index])
    }

    /// An engine's error while a program ran. Where the program is at fault, so is the plugin that asked for it.
    pub(super) fn blame(&self, function: &'static str, error: BackendError) -> EngineError {
        match error {
            BackendError::Device { .. } | BackendError::Weight { .. } => error.into(),
            BackendError::Input(_) | BackendError::Sequence(_) | BackendError::Value { .. } => {
                let instance = self.network.as_ref().unwrap_or(&self.processor);
                instance.error(function, Fault::Run(error)).into()
            }
        }
    }

    /// What there is to say of the pictures.
    pub fn image_reports(&self) -> Vec<ImageReport> {
        let each = self
            .pictures
            .iter()
            .zip(&self.plan.images)
            .map(|(opened, plan)| ImageReport {
                name: opened.name.clone(),
                format: opened.format.clone(),
                given: opened.given,
                used: plan.used,
                tiles: plan.tiles,
                tokens: plan.features,
                steps: opened.steps.clone(),
            });
        each.collect()
    }

    /// What pictures lost on their way in, for a note each.
    pub fn picture_losses(&self) -> Vec<String> {
        let each = self.pictures.iter().filter(|opened| !opened.losses.is_empty());
        each.map(|opened| format!("picture `{}`: {}", opened.name, opened.losses.join("; ")))
            .collect()
    }

    /// Width of each feature set; the same for all pictures.
    fn feature_widths(&self) -> Vec<usize> {
        self.encoders
            .first()
            .map(|program| widths(program))
            .unwrap_or_default()
    }
}

fn widths(program: &Program) -> Vec<usize> {
    program
        .outputs
        .iter()
        .map(|output| program.value(*output).shape[1])
        .collect()
}

/// All pictures of a request must give feature sets of the same widths.
fn check_widths(instance: &Instance, encoders: &[Rc<Program>]) -> Result<(), PluginError> {
    let Some((first, others)) = encoders.split_first() else {
        return Ok(());
    };
    match others.iter().find(|other| widths(other) != widths(first)) {
        None => Ok(()),
        Some(other) => {
            let reason = format!(
                "feature sets are {:?} wide for one picture and {:?} for another",
                widths(first),
                widths(other)
            );
            Err(instance.error("network.encode", Fault::Inconsistent(reason)))
        }
    }
}
