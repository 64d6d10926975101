//! One plugin instance: it serves one request, and nothing of it outlives that.

use std::sync::Arc;
use std::time::Instant;

use monocle_image::Picture;
use monocle_tensor::operation::Kind;
use monocle_tensor::program::{Program, ValueType};
use monocle_tensor::recorder::{BatchShape, Recorder};
use monocle_tensor::stored::Weight;

use super::carrier::{Answer, NotStarted, Running};
use super::contract::{AnswerPart, ImagePlan, ModelFiles, Plan, PlanRequest};
use super::error::{Fault, PluginError};
use super::limits::Limits;
use super::loaded::Plugin;
use super::services::Services;
use super::state::{LogLine, PixelTensor, State};
use crate::budget::Budget;

/// A running plugin.
pub struct Instance {
    plugin: Arc<Plugin>,
    running: Box<dyn Running>,
    weights: Arc<Vec<Weight>>,
}

impl Instance {
    /// A fresh instance, configured with the model's files.
    pub fn new(
        plugin: &Arc<Plugin>,
        services: Arc<dyn Services>,
        limits: Limits,
        files: &ModelFiles,
    ) -> Result<Self, PluginError> {
        let started = plugin.carrier.start(State::new(services, limits));
        let mut this = Self {
            plugin: Arc::clone(plugin),
            running: started.map_err(|reason| not_started(plugin, reason))?,
            weights: Arc::default(),
        };
        this.state().configuring = true;
        let configured = this.call("processor.configure", |plugin| plugin.configure(files));
        this.state().configuring = false;
        configured?;
        Ok(this)
    }

    /// When the request that it works for must end.
    pub fn until(&mut self, until: Option<Instant>) {
        self.state().limits.until = until;
    }

    /// The budget of the request that it serves.
    pub fn budget(&self) -> &Budget {
        &self.running.state().budget
    }

    /// It serves a request with this budget from now on.
    pub fn set_budget(&mut self, budget: Budget) {
        self.state().budget = budget;
    }

    /// The pictures and pixels that the host holds for it may have no more than so many bytes.
    pub fn limit_pictures(&mut self, bytes: usize) {
        let most = &mut self.state().limits.pixel_bytes;
        *most = (*most).min(bytes);
    }

    /// The plugin behind it.
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// `processor.plan`, checked against itself and the request.
    pub fn plan(&mut self, request: &PlanRequest) -> Result<Plan, PluginError> {
        const FUNCTION: &str = "processor.plan";
        let plan = self.call(FUNCTION, |plugin| plugin.plan(request))?;
        plan.check(request.pictures.len())
            .map_err(|reason| self.error(FUNCTION, Fault::Inconsistent(reason)))?;
        let kept = self.budget().charge(plan.held_bytes());
        kept.map_err(|error| {
            let reason = format!("the plan and the prompt that it makes: {error}");
            self.error(FUNCTION, Fault::Inconsistent(reason))
        })?;
        Ok(plan)
    }

    /// `processor.pixels`: one picture's tensors, checked against its plan.
    pub fn pixels(
        &mut self,
        index: usize,
        picture: Picture,
        plan: &ImagePlan,
    ) -> Result<Vec<PixelTensor>, PluginError> {
        const FUNCTION: &str = "processor.pixels";
        let image = match self.state().add_image(picture) {
            Ok(image) => image,
            Err(fault) => return Err(self.error(FUNCTION, fault)),
        };
        let handles = self.call(FUNCTION, |plugin| plugin.pixels(index as u32, image));
        self.state().drop_image(image);
        let mut tensors = Vec::new();
        for handle in handles? {
            match self.state().remove_pixels(handle) {
                Some(tensor) => tensors.push(tensor),
                None => {
                    let fault = Fault::Misuse("the same pixels were returned twice".to_owned());
                    return Err(self.error(FUNCTION, fault));
                }
            }
        }
        let shapes: Vec<_> = tensors.iter().map(|tensor| tensor.shape.clone()).collect();
        if shapes != plan.pixels {
            let reason = format!(
                "picture {index}: pixels of {shapes:?}, and the plan said {:?}",
                plan.pixels
            );
            return Err(self.error(FUNCTION, Fault::Inconsistent(reason)));
        }
        Ok(tensors)
    }

    /// `processor.output`: cleaned text.
    pub fn output(&mut self, text: &str, last: bool) -> Result<String, PluginError> {
        self.call("processor.output", |plugin| plugin.output(text, last).map(Ok))
    }

    /// `processor.parts`: what an answer about so many media says beside its words, checked.
    pub fn parts(&mut self, answer: &str, media: usize) -> Result<Vec<AnswerPart>, PluginError> {
        const FUNCTION: &str = "processor.parts";
        let parts = self.call(FUNCTION, |plugin| plugin.parts(answer).map(Ok))?;
        for part in &parts {
            part.check(media)
                .map_err(|reason| self.error(FUNCTION, Fault::Inconsistent(reason)))?;
        }
        Ok(parts)
    }

    /// `network.load`: the weights that the plugin asks for.
    pub fn load(&mut self, files: &ModelFiles) -> Result<Arc<Vec<Weight>>, PluginError> {
        const FUNCTION: &str = "network.load";
        self.state().loading = true;
        let loaded = self.call(FUNCTION, |plugin| plugin.load(files));
        self.state().loading = false;
        loaded?;
        self.weights = Arc::new(std::mem::take(&mut self.state().weights));
        self.state().weights = self.weights.to_vec();
        Ok(Arc::clone(&self.weights))
    }

    /// Records `network.encode` for one picture.
    pub fn record_encode(&mut self, plan: &ImagePlan) -> Result<Program, PluginError> {
        const FUNCTION: &str = "network.encode";
        let inputs: Vec<ValueType> = plan
            .pixels
            .iter()
            .map(|shape| ValueType::float(shape.clone()))
            .collect();
        let signature = format!("pixels {:?}, layout {:?}", plan.pixels, plan.layout);
        let program = self.record_twice(FUNCTION, &signature, |this| {
            let recorder = Recorder::new(
                Arc::clone(&this.weights),
                inputs.clone(),
                None,
                this.state().limits.recording,
            );
            let values = recorder.input_values();
            this.begin(FUNCTION, recorder)?;
            let pixels: Vec<_> = values
                .iter()
                .map(|value| this.state().tensor_handle(*value))
                .collect();
            let outputs = this.call(FUNCTION, |plugin| plugin.encode(&pixels, &plan.layout));
            this.finish(FUNCTION, outputs?)
        })?;
        self.check_features(&program, plan)?;
        Ok(program)
    }

    /// Checks that a program of `network.encode` gives what the plan of a picture says.
    pub fn check_features(&self, program: &Program, plan: &ImagePlan) -> Result<(), PluginError> {
        const FUNCTION: &str = "network.encode";
        let rows = plan.features as usize;
        for (set, output) in program.outputs.iter().enumerate() {
            let found = program.value(*output);
            let fits = found.kind == Kind::Float && found.shape.len() == 2;
            if !fits || (set == 0 && found.shape[0] != rows) {
                let reason =
                    format!("features of set {set} are {found}, expected float[{rows}, hidden] as planned");
                return Err(self.error(FUNCTION, Fault::Inconsistent(reason)));
            }
        }
        if program.outputs.is_empty() {
            let reason = "returned no features".to_owned();
            return Err(self.error(FUNCTION, Fault::Inconsistent(reason)));
        }
        Ok(())
    }

    /// Records `network.forward` for a shape of batch.
    pub fn record_forward(&mut self, batch: &BatchShape) -> Result<Program, PluginError> {
        const FUNCTION: &str = "network.forward";
        let signature = format!("{batch:?}");
        let program = self.record_twice(FUNCTION, &signature, |this| {
            let limits = this.state().limits.recording;
            let recorder = Recorder::new(Arc::clone(&this.weights), Vec::new(), Some(batch.clone()), limits);
            this.begin(FUNCTION, recorder)?;
            let output = this.call(FUNCTION, |plugin| plugin.forward());
            this.finish(FUNCTION, vec![output?])
        })?;
        let found = program.value(program.outputs[0]);
        let fits = found.kind == Kind::Float && found.shape.len() == 2;
        if !fits || found.shape[0] != batch.wanted || found.shape[1] == 0 {
            let reason = format!("logits are {found}, expected float[{}, vocabulary]", batch.wanted);
            return Err(self.error(FUNCTION, Fault::Inconsistent(reason)));
        }
        Ok(program)
    }

    /// Records `network.encode-prompt` for an encoder's prompt of this shape.
    pub fn record_encode_prompt(&mut self, batch: &BatchShape) -> Result<Program, PluginError> {
        const FUNCTION: &str = "network.encode-prompt";
        let signature = format!("{batch:?}");
        let program = self.record_twice(FUNCTION, &signature, |this| {
            let limits = this.state().limits.recording;
            let recorder = Recorder::of_encoder(Arc::clone(&this.weights), batch.clone(), limits);
            this.begin(FUNCTION, recorder)?;
            let output = this.call(FUNCTION, |plugin| plugin.encode_prompt());
            this.finish(FUNCTION, vec![output?])
        })?;
        let found = program.value(program.outputs[0]);
        let fits = found.kind == Kind::Float && found.shape.len() == 2;
        if !fits || found.shape[0] != batch.tokens || found.shape[1] == 0 {
            let reason = format!(
                "rows of context are {found}, expected float[{}, hidden]",
                batch.tokens
            );
            return Err(self.error(FUNCTION, Fault::Inconsistent(reason)));
        }
        Ok(program)
    }

    /// Calls of the plugin made so far.
    pub fn calls(&self) -> u64 {
        self.running.state().calls
    }

    /// Takes what it wrote to the log.
    pub fn take_log(&mut self) -> Vec<LogLine> {
        std::mem::take(&mut self.state().log).into()
    }

    /// An error of one of its functions.
    pub fn error(&self, function: &'static str, fault: Fault) -> PluginError {
        PluginError::Call {
            plugin: self.plugin.stamp.name.clone(),
            version: self.plugin.stamp.version.clone(),
            function,
            fault,
        }
    }

    fn begin(&mut self, function: &'static str, recorder: Recorder) -> Result<(), PluginError> {
        self.state()
            .begin_recording(recorder)
            .map_err(|fault| self.error(function, fault))
    }

    fn finish(&mut self, function: &'static str, outputs: Vec<u32>) -> Result<Program, PluginError> {
        let values: Result<Vec<_>, Fault> = outputs
            .iter()
            .map(|output| self.running.state().value(*output))
            .collect();
        let values = values.map_err(|fault| self.error(function, fault))?;
        let recorder = self.state().end_recording().expect("a recording is in progress");
        Ok(recorder.finish(values))
    }

    /// Records twice: what depends on anything but shapes shows itself.
    fn record_twice(
        &mut self,
        function: &'static str,
        signature: &str,
        mut record: impl FnMut(&mut Self) -> Result<Program, PluginError>,
    ) -> Result<Program, PluginError> {
        let both = record(self).and_then(|first| Ok((first, record(self)?)));
        self.state().give_recorded();
        let (first, second) = both?;
        match first.difference(&second) {
            None => Ok(first),
            Some(difference) => {
                let fault = Fault::Unstable {
                    signature: signature.to_owned(),
                    index: difference.index,
                    first: difference.first,
                    second: difference.second,
                };
                Err(self.error(function, fault))
            }
        }
    }

    /// Calls the plugin within its limits, and says what went wrong if it does not answer.
    fn call<T>(
        &mut self,
        function: &'static str,
        call: impl FnOnce(&mut dyn Running) -> Answer<T>,
    ) -> Result<T, PluginError> {
        self.running.begin_call();
        self.state().calls += 1;
        match call(&mut *self.running) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(words)) => Err(self.error(function, Fault::Refused(words))),
            Err(fault) => Err(self.error(function, fault)),
        }
    }

    fn state(&mut self) -> &mut State {
        self.running.state_mut()
    }
}

/// Why an instance did not start: a limit is named as in calls.
fn not_started(plugin: &Plugin, reason: NotStarted) -> PluginError {
    match reason {
        NotStarted::Unusable(reason) => PluginError::NotAPlugin {
            path: plugin.path.clone(),
            reason: format!("it cannot be started: {reason}"),
        },
        NotStarted::Fault(fault) => PluginError::Call {
            plugin: plugin.stamp.name.clone(),
            version: plugin.stamp.version.clone(),
            function: "start",
            fault,
        },
    }
}
