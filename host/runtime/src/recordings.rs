//! Programs that a plugin records, shared by those who prepare requests and those who run them.
//!
//! They are recorded by an instance that was configured and loaded but never saw a request: a program may depend on nothing but shapes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use monocle_tensor::program::Program;
use monocle_tensor::recorder::BatchShape;
use monocle_tensor::stored::Weight;

use crate::budget::Budget;
use crate::model::Model;
use crate::plugin::contract::ImagePlan;
use crate::plugin::error::{Fault, PluginError};
use crate::plugin::instance::Instance;
use crate::plugin::state::LogLine;
use crate::programs::{EncodeSignature, Programs};
use crate::slices::Encoder;

/// See the module. Clones are the same, but for the request that they serve: when it must end, and what is kept for it.
#[derive(Clone)]
pub struct Recordings {
    shared: Arc<Mutex<Recorded>>,
    until: Option<Instant>,
    budget: Option<Budget>,
}

struct Recorded {
    model: Arc<Model>,
    /// Made when it is first needed, and again after it failed.
    instance: Option<Instance>,
    weights: Option<Arc<Vec<Weight>>>,
    programs: Programs,
    /// When the request must end that asks now.
    until: Option<Instant>,
    /// What is kept for it.
    budget: Option<Budget>,
    /// Calls of instances that are gone.
    past_calls: u64,
    past_log: Vec<LogLine>,
}

impl Recordings {
    /// Nothing recorded yet.
    pub fn new(model: Arc<Model>) -> Self {
        let recorded = Recorded {
            model,
            instance: None,
            weights: None,
            programs: Programs::default(),
            until: None,
            budget: None,
            past_calls: 0,
            past_log: Vec::new(),
        };
        Self {
            shared: Arc::new(Mutex::new(recorded)),
            until: None,
            budget: None,
        }
    }

    /// The same for a request that must end then, and for which the host keeps no more than the budget has.
    pub fn serving(&self, until: Option<Instant>, budget: &Budget) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            until,
            budget: Some(budget.clone()),
        }
    }

    /// The weights that the plugin asks for; programs name them by their place in this list.
    pub fn weights(&self) -> Result<Arc<Vec<Weight>>, PluginError> {
        self.lock().weights()
    }

    /// The weights, if they were asked for.
    pub fn known_weights(&self) -> Option<Arc<Vec<Weight>>> {
        self.lock().weights.clone()
    }

    /// What encodes a picture, recorded if its signature is new.
    pub fn encode(&self, plan: &ImagePlan) -> Result<Arc<Encoder>, PluginError> {
        let signature = EncodeSignature {
            pixels: plan.pixels.clone(),
            layout: plan.layout.clone(),
        };
        let mut recorded = self.lock();
        let weights = recorded.weights()?;
        let (programs, instance) = recorded.ready()?;
        let encoder = programs.encode(signature, || {
            let program = instance.record_encode(plan)?;
            Ok(Encoder::new(Arc::new(program), &weights))
        });
        let encoder = encoder.and_then(|encoder| {
            instance.check_features(&encoder.program, plan)?;
            Ok(encoder)
        });
        recorded.settled(encoder)
    }

    /// The program that encodes a prompt, recorded if its signature is new.
    pub fn encode_prompt(&self, shape: &BatchShape) -> Result<Arc<Program>, PluginError> {
        let mut recorded = self.lock();
        let (programs, instance) = recorded.ready()?;
        let program = programs.encode_prompt(shape.clone(), || instance.record_encode_prompt(shape));
        recorded.settled(program)
    }

    /// The program of a forward pass, recorded if its signature is new.
    pub fn forward(&self, shape: &BatchShape) -> Result<Arc<Program>, PluginError> {
        let mut recorded = self.lock();
        let (programs, instance) = recorded.ready()?;
        let program = programs.forward(shape.clone(), || instance.record_forward(shape));
        recorded.settled(program)
    }

    /// An error of one of the plugin's functions.
    pub fn error(&self, function: &'static str, fault: Fault) -> PluginError {
        let recorded = self.lock();
        let stamp = &recorded.model.network_plugin().stamp;
        PluginError::Call {
            plugin: stamp.name.clone(),
            version: stamp.version.clone(),
            function,
            fault,
        }
    }

    /// The folder of the model's files.
    pub fn folder(&self) -> PathBuf {
        PathBuf::from(&self.lock().model.report.folder)
    }

    /// Calls of the plugin made so far.
    pub fn calls(&self) -> u64 {
        let recorded = self.lock();
        recorded.past_calls + recorded.instance.as_ref().map_or(0, Instance::calls)
    }

    /// Takes what the plugin wrote to its log.
    pub fn take_log(&self) -> Vec<LogLine> {
        let mut recorded = self.lock();
        let mut log = std::mem::take(&mut recorded.past_log);
        log.extend(
            recorded
                .instance
                .as_mut()
                .map(Instance::take_log)
                .into_iter()
                .flatten(),
        );
        log
    }

    fn lock(&self) -> MutexGuard<'_, Recorded> {
        // What a panic may have left half done is an instance, and that is made anew after any failure.
        let mut recorded = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.until = self.until;
        recorded.budget.clone_from(&self.budget);
        recorded
    }
}

impl Recorded {
    fn weights(&mut self) -> Result<Arc<Vec<Weight>>, PluginError> {
        self.ready()?;
        Ok(self.weights.clone().unwrap_or_default())
    }

    /// An instance that has asked for its weights; all instances of a model must ask for the same.
    fn ready(&mut self) -> Result<(&mut Programs, &mut Instance), PluginError> {
        if self.instance.is_none() {
            let mut instance = self.model.recording_instance(self.until)?;
            let weights = instance.load(self.model.network_files())?;
            match &self.weights {
                None => self.weights = Some(weights),
                Some(known) if !same(known, &weights) => {
                    let reason = "asked for other weights than before, with the same files".to_owned();
                    return Err(instance.error("network.load", Fault::Inconsistent(reason)));
                }
                Some(_) => {}
            }
            self.instance = Some(instance);
        }
        let instance = self.instance.as_mut().expect("made above");
        instance.until(self.until);
        instance.set_budget(self.budget.clone().unwrap_or_else(|| Budget::of_request(0)));
        Ok((&mut self.programs, instance))
    }

    /// After a call that failed, the instance is not used again.
    fn settled<T>(&mut self, result: Result<T, PluginError>) -> Result<T, PluginError> {
        if result.is_err()
            && let Some(mut instance) = self.instance.take()
        {
            self.past_calls += instance.calls();
            self.past_log.extend(instance.take_log());
        }
        result
    }
}

fn same(a: &[Weight], b: &[Weight]) -> bool {
    let one = |a: &Weight, b: &Weight| {
        a.name() == b.name() && std::mem::discriminant(a) == std::mem::discriminant(b)
    };
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| one(a, b))
}
