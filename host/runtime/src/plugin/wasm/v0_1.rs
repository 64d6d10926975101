//! Version 0.1 of the contract. It is frozen: plugins that were built for it run as they are (`tests/frozen`).

mod bindings;
mod convert;
mod imports;

use wasmtime::component::{HasSelf, Instance, InstancePre, Linker, Resource};
use wasmtime::{Result, Store};

use super::host_side::{HostSide, ImageHandle, PixelsHandle, TensorHandle};
use super::version::{Answer, Calls, Exports, Version};
use crate::plugin::carrier::NO_NETWORK;
use crate::plugin::contract::{AnswerPart, Message, ModelFiles, Plan, PlanRequest};
use crate::plugin::stamp::PluginKind;
use bindings::exports::monocle::plugin::{network, processor};
use bindings::monocle::plugin::{batches, images, log, prompts, tensors, tokenizers, types, weights};

/// What plugins of this version answer where tools are asked for.
const NO_TOOLS: &str = "it was built for contract 0.1, which has no tools: give the request without tools, or build the plugin for 0.2";

/// See the module.
pub struct V0_1;

impl Version for V0_1 {
    fn number(&self) -> &'static str {
        "0.1.0"
    }

    fn serves(&self, contract: &str) -> bool {
        contract.starts_with("0.1.")
    }

    fn link(&self, linker: &mut Linker<HostSide>, kind: PluginKind) -> Result<()> {
        types::add_to_linker::<_, HasSelf<HostSide>>(linker, |state| state)?;
        log::add_to_linker::<_, HasSelf<HostSide>>(linker, |state| state)?;
        tokenizers::add_to_linker::<_, HasSelf<HostSide>>(linker, |state| state)?;
        prompts::add_to_linker::<_, HasSelf<HostSide>>(linker, |state| state)?;
        images::add_to_linker::<_, HasSelf<HostSide>>(linker, |state| state)?;
        if kind == PluginKind::Model {
            tensors::add_to_linker::<_, HasSelf<HostSide>>(linker, |state| state)?;
            weights::add_to_linker::<_, HasSelf<HostSide>>(linker, |state| state)?;
            batches::add_to_linker::<_, HasSelf<HostSide>>(linker, |state| state)?;
        }
        Ok(())
    }

    fn exports(&self, instance: &InstancePre<HostSide>, kind: PluginKind) -> Result<Box<dyn Exports>> {
        Ok(Box::new(Indices {
            processor: processor::GuestIndices::new(instance)?,
            network: match kind {
                PluginKind::Adapter => None,
                PluginKind::Model => Some(network::GuestIndices::new(instance)?),
            },
        }))
    }
}

struct Indices {
    processor: processor::GuestIndices,
    network: Option<network::GuestIndices>,
}

impl Exports for Indices {
    fn load(&self, store: &mut Store<HostSide>, instance: &Instance) -> Result<Box<dyn Calls>> {
        Ok(Box::new(Guests {
            processor: self.processor.load(&mut *store, instance)?,
            network: match &self.network {
                Some(indices) => Some(indices.load(&mut *store, instance)?),
                None => None,
            },
        }))
    }
}

struct Guests {
    processor: processor::Guest,
    network: Option<network::Guest>,
}

impl Calls for Guests {
    fn configure(&self, store: &mut Store<HostSide>, files: &ModelFiles) -> Answer<()> {
        self.processor
            .call_configure(store, &convert::files_to_plugin(files))
    }

    fn plan(&self, store: &mut Store<HostSide>, request: &PlanRequest) -> Answer<Plan> {
        if !request.tools.is_empty() || request.messages.iter().any(Message::is_of_tools) {
            return Ok(Err(NO_TOOLS.to_owned()));
        }
        // The plugin gives back no more than it gets.
        store.data_mut().request_variables = request.variables.clone();
        let messages: Vec<_> = request.messages.iter().map(convert::message_to_plugin).collect();
        let sizes = request.pictures.iter();
        let sizes: Vec<_> = sizes.map(|size| convert::size_to_plugin(*size)).collect();
        let plan = self.processor.call_plan(store, &messages, &sizes)?;
        Ok(plan.map(convert::plan_from_plugin))
    }

    fn pixels(
        &self,
        store: &mut Store<HostSide>,
        index: u32,
        image: Resource<ImageHandle>,
    ) -> Answer<Vec<Resource<PixelsHandle>>> {
        self.processor.call_pixels(store, index, image)
    }

    fn output(&self, store: &mut Store<HostSide>, text: &str, last: bool) -> Result<String> {
        self.processor.call_output(store, text, last)
    }

    fn parts(&self, _store: &mut Store<HostSide>, _answer: &str) -> Result<Vec<AnswerPart>> {
        Ok(Vec::new())
    }

    fn load(&self, store: &mut Store<HostSide>, files: &ModelFiles) -> Answer<()> {
        match &self.network {
            Some(network) => network.call_load(store, &convert::files_to_plugin(files)),
            None => Ok(Err(NO_NETWORK.to_owned())),
        }
    }

    fn encode(
        &self,
        store: &mut Store<HostSide>,
        pixels: &[Resource<TensorHandle>],
        layout: &[u32],
    ) -> Answer<Vec<Resource<TensorHandle>>> {
        match &self.network {
            Some(network) => network.call_encode(store, pixels, layout),
            None => Ok(Err(NO_NETWORK.to_owned())),
        }
    }

    fn encode_prompt(&self, _store: &mut Store<HostSide>) -> Answer<Resource<TensorHandle>> {
        Ok(Err(
            "a plugin of contract 0.1 has no encoder of prompts".to_owned()
        ))
    }

    fn forward(&self, store: &mut Store<HostSide>) -> Answer<Resource<TensorHandle>> {
        match &self.network {
            Some(network) => network.call_forward(store, Resource::new_own(0)),
            None => Ok(Err(NO_NETWORK.to_owned())),
        }
    }
}
