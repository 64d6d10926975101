//! From a request to everything that is known before the first number is computed: the plan, the recorded programs, the feature
//! counts. It needs no engine, and what comes out can be handed to another thread.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use monocle_image::Picture;
use monocle_tensor::operation::Op;
use monocle_tensor::program::Program;
use monocle_tensor::recorder::BatchShape;
use serde_json::{Map, Value};

use super::Request;
use super::pictures::{self, Opened};
use super::prompt::Prompt;
use crate::budget::{Bounds, Budget};
use crate::error::RequestError;
use crate::memory::MemoryEstimate;
use crate::model::Model;
use crate::model::services::RequestServices;
use crate::model::settings::Settings;
use crate::plugin::contract::{EncoderPlan, Plan, PlanRequest};
use crate::plugin::error::{Fault, PluginError};
use crate::plugin::instance::Instance;
use crate::plugin::state::PixelTensor;
use crate::recordings::Recordings;
use crate::report::{ImageReport, PromptReport};
use crate::slices::Encoder;

/// Bytes that decoding may take whatever the limit on memory is: a limit that is too small for the model is better refused with the
/// estimate, which needs the pictures.
const SMALL_PICTURES: u64 = 16 << 20;

/// The same for what a plugin makes of them: pictures in other sizes, and pixels of four bytes.
const SMALL_PIXELS: usize = 64 << 20;

/// A request, planned and checked.
pub struct PreparedRequest {
    /// The plan.
    pub plan: Plan,
    /// The prompt.
    pub prompt: Prompt,
    /// The pictures.
    pub pictures: Vec<Opened>,
    /// Tokens of one prefill step.
    pub chunk: usize,
    /// What it is expected to take, once an engine has been asked.
    pub estimate: MemoryEstimate,
    /// Whether one was.
    pub(crate) is_estimated: bool,
    /// What the user said last.
    pub(crate) question: String,
    /// The token that its answer should begin with, and does not.
    ignored_first: Option<u32>,
    /// Whether it names tools.
    has_tools: bool,
    /// The template's variables that it brings.
    variables: Map<String, Value>,
    pub(crate) processor: Instance,
    pub(crate) encoders: Vec<Arc<Encoder>>,
    /// What makes context of an encoder's prompt, where there is one.
    pub(crate) prompt_encoder: Option<PromptEncoder>,
    /// The programs of its prefill steps, each with the tokens in the caches after it, and last its decode step with all tokens that
    /// may come.
    pub(crate) programs: Vec<(Arc<Program>, usize)>,
    pub(crate) image_time: Duration,
    pub(crate) plan_time: Duration,
    pub(crate) record_time: Duration,
    /// Calls of the plugin that recorded for it.
    pub(crate) recording_calls: u64,
    /// The plugin that computes.
    network: String,
    /// What the plugin that prepared it had of the model.
    pub(crate) services: Arc<RequestServices>,
}

/// An encoder's prompt and its program.
pub struct PromptEncoder {
    /// The prompt.
    pub prompt: Prompt,
    /// Gives `[tokens, hidden]`.
    pub program: Arc<Program>,
}

impl PromptEncoder {
    fn new(
        plan: &EncoderPlan,
        recordings: &Recordings,
        encoders: &[Arc<Encoder>],
    ) -> Result<Self, PluginError> {
        let prompt = Prompt::of_encoder(plan);
        let shape = BatchShape {
            tokens: prompt.len(),
            axes: prompt.axes(),
            marks: prompt.mark_names().to_vec(),
            wanted: 0,
            features: prompt
                .has_features(&(0..prompt.len()))
                .then(|| widths_of_all(encoders)),
            has_context: false,
            new_context: None,
        };
        let program = recordings.encode_prompt(&shape)?;
        Ok(Self { prompt, program })
    }

    /// `[rows, hidden]` of what it gives.
    fn context(&self) -> [usize; 2] {
        [self.prompt.len(), widths(&self.program)[0]]
    }
}

impl PreparedRequest {
    /// Plans a request and checks it, computing nothing. `max_tokens` bounds the answer, `chunk` is the size of a prefill step; pictures
    /// take no more than the limit on memory while they are decoded.
    pub fn new(
        model: &Model,
        recordings: &Recordings,
        request: &Request,
        max_tokens: usize,
        chunk: usize,
        bounds: Bounds,
    ) -> Result<Self, RequestError> {
        let budget = Budget::of_request(request.pictures.len());
        let recordings = recordings.serving(bounds.terms.deadline(), &budget);
        let prepared = Self::within(model, &recordings, request, max_tokens, chunk, bounds, &budget);
        // What was stopped says that it was; that all of it is late is the reason.
        match (prepared, bounds.late()) {
            (Err(_), Some(late)) => Err(late),
            (prepared, _) => prepared,
        }
    }

    fn within(
        model: &Model,
        recordings: &Recordings,
        request: &Request,
        max_tokens: usize,
        chunk: usize,
        bounds: Bounds,
        budget: &Budget,
    ) -> Result<Self, RequestError> {
        let in_time = || bounds.late().map_or(Ok(()), Err);
        let settings = &model.settings;
        if let Some(limit) = settings
            .max_images
            .filter(|limit| request.pictures.len() > *limit)
        {
            return Err(RequestError::TooManyImages {
                found: request.pictures.len(),
                limit,
            });
        }
        let started = Instant::now();
        let opened = open_pictures(settings, request, bounds)?;
        let image_time = started.elapsed();

        let started = Instant::now();
        let (mut processor, services) = model.processor_instance(bounds.terms.deadline())?;
        processor.set_budget(budget.clone());
        if let Some(limit) = bounds.memory {
            processor.limit_pictures(limit.bytes.max(SMALL_PIXELS));
        }
        let asked = PlanRequest {
            messages: request.messages.clone(),
            pictures: opened.iter().map(|opened| opened.seen).collect(),
            tools: request.tools.clone(),
            variables: request.variables.clone(),
        };
        let plan = processor.plan(&asked)?;
        let prompt = Prompt::new(&plan);
        if let Some(limit) = settings.context.filter(|limit| prompt.len() > *limit) {
            let (tokens, image_tokens) = (prompt.len(), prompt.image_tokens());
            return Err(RequestError::PromptTooLong {
                tokens,
                image_tokens,
                limit,
            });
        }
        let plan_time = started.elapsed();

        let started = Instant::now();
        let calls = recordings.calls();
        recordings.weights()?;
        let mut known = HashSet::new();
        let mut keep = |function, program: &Program| {
            if !known.insert(program.id) {
                return Ok(());
            }
            budget.charge(program.held_bytes()).map_err(|error| {
                let reason = format!("its programs of several sizes hold too much: {error}");
                recordings.error(function, Fault::Misuse(reason))
            })
        };
        let encode = |image| {
            in_time()?;
            let encoder = recordings.encode(image)?;
            keep("network.encode", &encoder.program)?;
            Ok::<_, RequestError>(encoder)
        };
        let encoders = plan.images.iter().map(encode).collect::<Result<Vec<_>, _>>()?;
        check_widths(recordings, &encoders)?;
        let prompt_encoder = plan.encoder.as_ref();
        let prompt_encoder = prompt_encoder
            .map(|plan| PromptEncoder::new(plan, recordings, &encoders))
            .transpose()?;
        let mut prepared = Self {
            question: request.last_words(),
            ignored_first: settings
                .forced_first
                .filter(|first| prompt.ids().last() != Some(first)),
            has_tools: !request.tools.is_empty(),
            variables: request.variables.clone(),
            processor,
            plan,
            prompt,
            pictures: opened,
            encoders,
            prompt_encoder,
            programs: Vec::new(),
            chunk,
            estimate: MemoryEstimate::default(),
            is_estimated: false,
            image_time,
            plan_time,
            record_time: Duration::ZERO,
            recording_calls: 0,
            network: model.network_plugin().stamp.name.clone(),
            services,
        };
        // Every signature is recorded here: a mistake shows before the first picture is encoded.
        let mut record = |shape: &BatchShape| {
            let program = recordings.forward(shape)?;
            keep("network.forward", &program)?;
            Ok::<_, PluginError>(program)
        };
        let mut start = 0;
        while start < prepared.prompt.len() {
            in_time()?;
            let end = prepared.prompt.chunk_end(start, chunk);
            let shape = prepared.batch_shape(start..end, 1);
            prepared.programs.push((record(&shape)?, end));
            start = end;
        }
        // The decode step too, so that no plugin code runs once tokens flow.
        let decode = record(&prepared.decode_shape())?;
        let tokens = prepared.prompt.len().saturating_add(max_tokens);
        prepared.programs.push((decode, tokens));
        prepared.recording_calls = recordings.calls() - calls;
        prepared.record_time = started.elapsed();
        Ok(prepared)
    }

    /// The signature of a forward pass over these tokens of the prompt alone.
    pub(crate) fn batch_shape(&self, range: Range<usize>, wanted: usize) -> BatchShape {
        BatchShape {
            tokens: range.len(),
            axes: self.prompt.axes(),
            marks: self.prompt.mark_names().to_vec(),
            wanted,
            features: self.prompt.has_features(&range).then(|| self.feature_widths()),
            has_context: self.has_context(),
            new_context: self.new_context(range.start),
        }
    }

    /// The signature of a decode step alone.
    pub(crate) fn decode_shape(&self) -> BatchShape {
        BatchShape {
            tokens: 1,
            axes: self.prompt.axes(),
            marks: self.prompt.mark_names().to_vec(),
            wanted: 1,
            features: None,
            has_context: self.has_context(),
            new_context: None,
        }
    }

    /// Whether its rows attend to pictures, or to what an encoder gives, by cross attention.
    pub(crate) fn has_context(&self) -> bool {
        self.prompt.uses_context() && (self.prompt_encoder.is_some() || !self.encoders.is_empty())
    }

    /// `[rows, hidden]` of the context that a step which begins here brings.
    pub(crate) fn new_context(&self, start: usize) -> Option<[usize; 2]> {
        (self.has_context() && start == 0).then(|| {
            if let Some(encoder) = &self.prompt_encoder {
                return encoder.context();
            }
            let rows = self.plan.images.iter().map(|image| image.features as usize).sum();
            [rows, self.feature_widths()[0]]
        })
    }

    /// Width of each feature set; the same for all pictures.
    pub(crate) fn feature_widths(&self) -> Vec<usize> {
        widths_of_all(&self.encoders)
    }

    /// The pixel tensors of a picture. The picture itself is needed no longer then, and is given up.
    pub(crate) fn take_pixels(&mut self, index: usize) -> Result<Vec<PixelTensor>, PluginError> {
        let nothing = Picture::filled(1, 1, [0; 3]).expect("one pixel is a picture");
        let picture = std::mem::replace(&mut self.pictures[index].picture, nothing);
        self.processor.pixels(index, picture, &self.plan.images[index])
    }

    /// Token ids of the encoder's prompt, if there is one.
    pub fn encoder_ids(&self) -> Option<&[u32]> {
        self.prompt_encoder.as_ref().map(|encoder| encoder.prompt.ids())
    }

    /// How many tokens hold picture features, of the encoder's prompt if there is one.
    pub fn image_tokens(&self) -> usize {
        let encoder = self.prompt_encoder.as_ref().map(|encoder| &encoder.prompt);
        encoder.unwrap_or(&self.prompt).image_tokens()
    }

    /// What there is to say of the prompt.
    pub fn prompt_report(&self) -> PromptReport {
        PromptReport {
            text: self.plan.text.clone(),
            template: self
                .services
                .template_source()
                .unwrap_or_else(|| "the plugin (no template was rendered)".to_owned()),
            tokens: self.prompt.len(),
            image_tokens: self.image_tokens(),
            encoder_tokens: self.prompt_encoder.as_ref().map(|encoder| encoder.prompt.len()),
            cached_tokens: 0,
            cached_pictures: 0,
            attention: self.plan.attention,
        }
    }

    /// What the user should know of it: what pictures lost on their way in, and what the template was given in vain.
    pub fn notes(&self) -> Vec<String> {
        let lossy = self.pictures.iter().filter(|opened| !opened.losses.is_empty());
        let losses = lossy.map(|opened| format!("picture `{}`: {}", opened.name, opened.losses.join("; ")));
        let unread = self.services.unread_variables(&self.variables).into_iter();
        let unread = unread.map(|name| {
            format!("the chat template never reads the variable `{name}`, which was given to it")
        });
        let ignored = (!self.plan.images.is_empty() && !self.reads_pictures()).then(|| {
            format!(
                "the network of the plugin `{}` reads nothing of the pictures: the answer is not about them",
                self.network
            )
        });
        let deaf = (self.has_tools && !self.services.reads("tools")).then(|| {
            "the chat template never reads `tools`: the model does not know of the tools".to_owned()
        });
        let first = self
            .ignored_first
            .map(|id| format!("generation_config.json: not obeyed: `forced_bos_token_id`: {id}"));
        losses
            .chain(unread)
            .chain(deaf)
            .chain(ignored)
            .chain(first)
            .collect()
    }

    /// Whether any of its programs has to do with what the pictures gave.
    fn reads_pictures(&self) -> bool {
        let reads = |op: &Op| {
            matches!(
                op,
                Op::SpliceFeatures { .. } | Op::AddFeatures { .. } | Op::Context | Op::CrossAttend(_)
            )
        };
        let encoder = self.prompt_encoder.as_ref().map(|encoder| &encoder.program);
        let programs = self.programs.iter().map(|(program, _)| program);
        encoder
            .into_iter()
            .chain(programs)
            .any(|program| program.nodes.iter().any(|node| reads(&node.op)))
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
                cached: false,
            });
        each.collect()
    }
}

/// Decodes a request's pictures, within what memory there is.
fn open_pictures(
    settings: &Settings,
    request: &Request,
    bounds: Bounds,
) -> Result<Vec<Opened>, RequestError> {
    let mut opened = Vec::with_capacity(request.pictures.len());
    let mut decode = settings.decode;
    if let Some(limit) = bounds.memory {
        let bytes = &mut decode.limits.max_memory_bytes;
        *bytes = (*bytes).min((limit.bytes as u64).max(SMALL_PICTURES));
    }
    for input in &request.pictures {
        bounds.late().map_or(Ok(()), Err)?;
        let next = pictures::open(input, &decode, settings.pixel_cap)?;
        // Each picture is kept beside those that are decoded after it.
        let bytes = &mut decode.limits.max_memory_bytes;
        *bytes = bytes.saturating_sub(next.picture.byte_len() as u64);
        opened.push(next);
    }
    Ok(opened)
}

fn widths_of_all(encoders: &[Arc<Encoder>]) -> Vec<usize> {
    let first = encoders.first();
    first.map(|encoder| widths(&encoder.program)).unwrap_or_default()
}

fn widths(program: &Program) -> Vec<usize> {
    program
        .outputs
        .iter()
        .map(|output| program.value(*output).shape[1])
        .collect()
}

/// All pictures of a request must give feature sets of the same widths.
fn check_widths(recordings: &Recordings, encoders: &[Arc<Encoder>]) -> Result<(), PluginError> {
    let Some((first, others)) = encoders.split_first() else {
        return Ok(());
    };
    let widths = |encoder: &Encoder| widths(&encoder.program);
    match others.iter().find(|other| widths(other) != widths(first)) {
        None => Ok(()),
        Some(other) => {
            let reason = format!(
                "feature sets are {:?} wide for one picture and {:?} for another",
                widths(first),
                widths(other)
            );
            Err(recordings.error("network.encode", Fault::Inconsistent(reason)))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use monocle_weights::hub::Hub;

    use super::*;
    use crate::model::OpenOptions;
    use crate::model::locate::Places;
    use crate::plugin::folders::PluginFolders;

    /// Charges that are refused one by one; of more, some, or, with `MONOCLE_FAULTS=all`, each.
    const EACH: usize = 64;
    /// Of those, every so many.
    const STEP: usize = 29;

    /// A small model, by the plugin that `cargo xtask build-plugins` made.
    fn model() -> (Arc<Model>, Request) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let program = std::env::current_exe().expect("a test has a program");
        let target = program.ancestors().nth(3).map(PathBuf::from);
        let plugins = target
            .expect("tests are built into target/PROFILE/deps")
            .join("plugins");
        assert!(
            plugins.is_dir(),
            "{}: run `cargo xtask build-plugins` first",
            plugins.display()
        );
        let places = Places {
            manifests: Vec::new(),
            plugins: PluginFolders::new(vec![plugins]),
            hub: Hub::from_variables(|name| (name == "HF_HUB_OFFLINE").then(|| "1".to_owned())),
        };
        let folder = root.join("tests/oracle/smolvlm");
        let declaration = places.find(&folder.display().to_string(), &mut |_| {});
        let declaration = declaration.unwrap_or_else(|error| panic!("{error}"));
        let model = Model::open(&places, &declaration, OpenOptions::default(), &mut |_| {});
        let model = model.unwrap_or_else(|error| panic!("{error}"));
        let picture = pictures::PictureInput::File(folder.join("image.png"));
        (
            Arc::new(model),
            Request::single(None, vec![picture], "What is it?"),
        )
    }

    /// Each charge to a request's budget is refused in turn: an error that says so, and the next request is prepared by the same plugin as if
    /// nothing had been.
    #[test]
    fn any_charge_may_be_refused() {
        let (model, request) = model();
        let bounds = Bounds {
            memory: None,
            terms: Instant::now().into(),
        };
        let prepare = |recordings: &Recordings, budget: &Budget| {
            let recordings = recordings.serving(None, budget);
            let prepared = PreparedRequest::within(&model, &recordings, &request, 4, 512, bounds, budget)?;
            let programs = prepared.programs.iter().map(|(program, _)| program.nodes.len());
            Ok::<_, RequestError>((prepared.prompt.ids().to_vec(), programs.collect::<Vec<_>>()))
        };
        let anew = || Recordings::new(Arc::clone(&model));
        let right = prepare(&anew(), &Budget::of_request(1)).unwrap_or_else(|error| panic!("{error}"));
        let all = std::env::var("MONOCLE_FAULTS").is_ok_and(|value| value == "all");
        let mut granted = 0;
        loop {
            let (recordings, budget) = (anew(), Budget::of_request(1));
            budget.refuse_after(granted);
            match prepare(&recordings, &budget) {
                Ok(found) => {
                    assert_eq!(found, right, "charge {granted}");
                    // None was refused: a refusal is never passed over.
                    assert_ne!(budget.refuse_after(0), usize::MAX, "charge {granted}");
                    break;
                }
                Err(error) => {
                    let words = error.to_string();
                    assert!(
                        words.contains("that the host keeps for one request"),
                        "{granted}: {words}"
                    );
                }
            }
            let next = prepare(&recordings, &Budget::of_request(1));
            let next = next.unwrap_or_else(|error| panic!("after charge {granted}: {error}"));
            assert_eq!(next, right, "after charge {granted}");
            granted += if all || granted < EACH { 1 } else { STEP };
        }
        assert!(granted > EACH, "{granted} charges");
    }
}
