//! One plugin instance: it serves one request, and nothing of it outlives that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use monocle_image::Picture;
use monocle_tensor::operation::Kind;
use monocle_tensor::program::{Program, ValueType};
use monocle_tensor::recorder::{BatchShape, Recorder};
use monocle_tensor::stored::Weight;
use wasmtime::component::Resource;
use wasmtime::{Store, Trap};

use super::component::{Plugin, TICK};
use super::recording::{LogLevel, LogLine, PixelTensor, State};
use super::version::{Answer, Calls};
use crate::budget::Budget;
use crate::plugin::contract::{AnswerPart, ImagePlan, ModelFiles, Plan, PlanRequest};
use crate::plugin::error::{Fault, PluginError};
use crate::plugin::limits::Limits;
use crate::plugin::services::Services;

/// Bytes that a plugin may hand over in one call, its own answers included: constants, texts, plans.
const HANDED_OVER: usize = 16 << 20;

/// A running plugin.
pub struct Instance {
    plugin: Arc<Plugin>,
    store: Store<State>,
    calls: Box<dyn Calls>,
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
        let mut store = Store::new(plugin.instance.component().engine(), State::new(services, limits));
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(HANDED_OVER);
        let left = store.data_mut().begin_call();
        store.set_epoch_deadline(ticks(left));
        let started = plugin.instance.instantiate(&mut store);
        let started = started.and_then(|instance| plugin.exports.load(&mut store, &instance));
        let calls = started.map_err(|error| not_started(plugin, &mut store, &error))?;
        let mut this = Self {
            plugin: Arc::clone(plugin),
            store,
            calls,
            weights: Arc::default(),
        };
        this.store.data_mut().configuring = true;
        let configured = this.call("processor.configure", |calls, store| {
            calls.configure(store, files)
        });
        this.store.data_mut().configuring = false;
        configured?;
        Ok(this)
    }

    /// When the request that it works for must end.
    pub fn until(&mut self, until: Option<Instant>) {
        self.store.data_mut().limits.until = until;
    }

    /// The budget of the request that it serves.
    pub fn budget(&self) -> &Budget {
        &self.store.data().budget
    }

    /// It serves a request with this budget from now on.
    pub fn set_budget(&mut self, budget: Budget) {
        self.store.data_mut().budget = budget;
    }

    /// The plugin behind it.
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// `processor.plan`, checked against itself and the request.
    pub fn plan(&mut self, request: &PlanRequest) -> Result<Plan, PluginError> {
        const FUNCTION: &str = "processor.plan";
        let plan = self.call(FUNCTION, |calls, store| calls.plan(store, request))?;
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
        let image = match self.store.data_mut().add_image(picture) {
            Ok(image) => image,
            Err(error) => {
                let fault = self.fault(error);
                return Err(self.error(FUNCTION, fault));
            }
        };
        let handles = self.call(FUNCTION, |calls, store| {
            calls.pixels(store, index as u32, Resource::new_own(image))
        });
        self.store.data_mut().drop_image(image);
        let mut tensors = Vec::new();
        for handle in handles? {
            match self.store.data_mut().remove_pixels(handle.rep()) {
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
        self.call("processor.output", |calls, store| {
            calls.output(store, text, last).map(Ok)
        })
    }

    /// `processor.parts`: what an answer about so many media says beside its words, checked.
    pub fn parts(&mut self, answer: &str, media: usize) -> Result<Vec<AnswerPart>, PluginError> {
        const FUNCTION: &str = "processor.parts";
        let parts = self.call(FUNCTION, |calls, store| calls.parts(store, answer).map(Ok))?;
        for part in &parts {
            part.check(media)
                .map_err(|reason| self.error(FUNCTION, Fault::Inconsistent(reason)))?;
        }
        Ok(parts)
    }

    /// `network.load`: the weights that the plugin asks for.
    pub fn load(&mut self, files: &ModelFiles) -> Result<Arc<Vec<Weight>>, PluginError> {
        const FUNCTION: &str = "network.load";
        self.store.data_mut().loading = true;
        let loaded = self.call(FUNCTION, |calls, store| calls.load(store, files));
        self.store.data_mut().loading = false;
        loaded?;
        self.weights = Arc::new(std::mem::take(&mut self.store.data_mut().weights));
        self.store.data_mut().weights = self.weights.to_vec();
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
                this.store.data().limits.recording,
            );
            let values = recorder.input_values();
            this.begin(FUNCTION, recorder)?;
            let pixels: Vec<_> = values
                .iter()
                .map(|value| this.store.data().tensor_handle(*value))
                .collect();
            let outputs = this.call(FUNCTION, |calls, store| {
                calls.encode(store, &pixels, &plan.layout)
            });
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
            let limits = this.store.data().limits.recording;
            let recorder = Recorder::new(Arc::clone(&this.weights), Vec::new(), Some(batch.clone()), limits);
            this.begin(FUNCTION, recorder)?;
            let output = this.call(FUNCTION, |calls, store| calls.forward(store));
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
            let limits = this.store.data().limits.recording;
            let recorder = Recorder::of_encoder(Arc::clone(&this.weights), batch.clone(), limits);
            this.begin(FUNCTION, recorder)?;
            let output = this.call(FUNCTION, |calls, store| calls.encode_prompt(store));
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
        self.store.data().calls
    }

    /// Takes what it wrote to the log.
    pub fn take_log(&mut self) -> Vec<LogLine> {
        std::mem::take(&mut self.store.data_mut().log).into()
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
        self.store
            .data_mut()
            .begin_recording(recorder)
            .map_err(|fault| self.error(function, fault))
    }

    fn finish(
        &mut self,
        function: &'static str,
        outputs: Vec<Resource<super::recording::TensorHandle>>,
    ) -> Result<Program, PluginError> {
        let mut values = Vec::with_capacity(outputs.len());
        for output in &outputs {
            match self.store.data_mut().value(output) {
                Ok(value) => values.push(value),
                Err(error) => {
                    let fault = self.fault(error);
                    return Err(self.error(function, fault));
                }
            }
        }
        let recorder = self
            .store
            .data_mut()
            .end_recording()
            .expect("a recording is in progress");
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
        self.store.data_mut().give_recorded();
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
        call: impl FnOnce(&dyn Calls, &mut Store<State>) -> Answer<T>,
    ) -> Result<T, PluginError> {
        let left = self.store.data_mut().begin_call();
        self.store.set_epoch_deadline(ticks(left));
        self.store.data_mut().calls += 1;
        match call(&*self.calls, &mut self.store) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(words)) => Err(self.error(function, Fault::Refused(words))),
            Err(error) => {
                let fault = self.fault(error);
                Err(self.error(function, fault))
            }
        }
    }

    /// What lies behind a trap.
    fn fault(&mut self, error: wasmtime::Error) -> Fault {
        let state = self.store.data_mut();
        if let Some(fault) = state.fault.take() {
            return fault;
        }
        if let Some((limit, wanted)) = state.memory.take_refused() {
            return Fault::Memory {
                wanted_mib: wanted >> 20,
                limit_mib: limit >> 20,
            };
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => state.over(),
            Some(trap) => {
                let last = state.log.back().filter(|line| line.level == LogLevel::Warn);
                Fault::Trap {
                    reason: trap.to_string(),
                    last_words: last.map(|line| line.text.clone()),
                }
            }
            // The component model's own checks: a dropped handle, a string that is not UTF-8.
            None => Fault::Misuse(format!("{:#}", error.root_cause())),
        }
    }
}

/// Why an instance did not start: a limit is named as in calls.
fn not_started(plugin: &Plugin, store: &mut Store<State>, error: &wasmtime::Error) -> PluginError {
    let refused = store.data_mut().memory.take_refused();
    let fault = match (refused, error.downcast_ref::<Trap>()) {
        (Some((limit, wanted)), _) => Fault::Memory {
            wanted_mib: wanted.div_ceil(1 << 20),
            limit_mib: limit >> 20,
        },
        (None, Some(Trap::Interrupt)) => store.data().over(),
        _ => {
            return PluginError::NotAPlugin {
                path: plugin.path.clone(),
                reason: format!("it cannot be started: {error:#}"),
            };
        }
    };
    PluginError::Call {
        plugin: plugin.stamp.name.clone(),
        version: plugin.stamp.version.clone(),
        function: "start",
        fault,
    }
}

fn ticks(time: Duration) -> u64 {
    (time.as_millis() / TICK.as_millis()).max(1) as u64
}
