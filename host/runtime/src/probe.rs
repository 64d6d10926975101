//! A model's processor, asked directly: for those who test plugins. Pictures need not exist to be planned.

use std::sync::Arc;

use monocle_image::Picture;

use crate::model::Model;
use crate::model::services::RequestServices;
use crate::plugin::contract::{ImagePlan, Plan, PlanRequest};
use crate::plugin::error::PluginError;
use crate::plugin::instance::Instance;
use crate::plugin::state::{LogLine, PixelTensor};

/// An instance of the plugin that prepares requests, as a request gets one.
pub struct Probe {
    processor: Instance,
    services: Arc<RequestServices>,
}

impl Probe {
    /// A fresh instance, configured.
    pub fn new(model: &Model) -> Result<Self, PluginError> {
        // A test plans as many pictures as it wants; each call has its own limit.
        let (processor, services) = model.processor_instance(None)?;
        Ok(Self { processor, services })
    }

    /// What a request comes to, checked against itself.
    pub fn plan(&mut self, request: &PlanRequest) -> Result<Plan, PluginError> {
        self.processor.plan(request)
    }

    /// The pixels of a picture that was planned, checked against its plan.
    pub fn pixels(
        &mut self,
        index: usize,
        picture: Picture,
        plan: &ImagePlan,
    ) -> Result<Vec<PixelTensor>, PluginError> {
        self.processor.pixels(index, picture, plan)
    }

    /// Whether it cleans answers.
    pub fn filters_output(&self) -> bool {
        self.processor.plugin().stamp.filters_output
    }

    /// A piece of an answer, cleaned.
    pub fn output(&mut self, text: &str, last: bool) -> Result<String, PluginError> {
        self.processor.output(text, last)
    }

    /// Takes what it wrote to its log.
    pub fn take_log(&mut self) -> Vec<LogLine> {
        self.processor.take_log()
    }

    /// The text of a token, with what the plugin added.
    pub fn token(&self, id: u32) -> Option<String> {
        self.services.tokenizer().token(id)
    }
}
