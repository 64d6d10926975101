//! Version 0.2 of the contract. It is frozen.

mod bindings;
mod convert;
mod imports;

use wasmtime::component::{HasSelf, Instance, InstancePre, Linker, Resource};
use wasmtime::{Result, Store};

use super::recording::{ImageHandle, PixelsHandle, State, TensorHandle};
use super::version::{Answer, Calls, Exports, NO_NETWORK, Version};
use crate::plugin::contract::{AnswerPart, ModelFiles, Plan, PlanRequest};
use crate::plugin::stamp::PluginKind;
use bindings::exports::monocle::plugin::{network, processor};
use bindings::monocle::plugin::{batches, images, log, prompts, tensors, tokenizers, types, weights};

/// Its number.
const NUMBER: &str = "0.2.0";

/// See the module.
pub struct V0_2;

impl Version for V0_2 {
    fn number(&self) -> &'static str {
        NUMBER
    }

    fn serves(&self, contract: &str) -> bool {
        contract.starts_with("0.2.") && !contract.contains('-')
    }

    fn link(&self, linker: &mut Linker<State>, kind: PluginKind) -> Result<()> {
        types::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
        log::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
        tokenizers::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
        prompts::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
        images::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
        if kind == PluginKind::Model {
            tensors::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
            weights::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
            batches::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
        }
        Ok(())
    }

    fn exports(&self, instance: &InstancePre<State>, kind: PluginKind) -> Result<Box<dyn Exports>> {
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
    fn load(&self, store: &mut Store<State>, instance: &Instance) -> Result<Box<dyn Calls>> {
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
    fn configure(&self, store: &mut Store<State>, files: &ModelFiles) -> Answer<()> {
        self.processor
            .call_configure(store, &convert::files_to_plugin(files))
    }

    fn plan(&self, store: &mut Store<State>, request: &PlanRequest) -> Answer<Plan> {
        let plan = self
            .processor
            .call_plan(store, &convert::request_to_plugin(request))?;
        Ok(plan.map(convert::plan_from_plugin))
    }

    fn pixels(
        &self,
        store: &mut Store<State>,
        index: u32,
        image: Resource<ImageHandle>,
    ) -> Answer<Vec<Resource<PixelsHandle>>> {
        self.processor.call_pixels(store, index, image)
    }

    fn output(&self, store: &mut Store<State>, text: &str, last: bool) -> Result<String> {
        self.processor.call_output(store, text, last)
    }

    fn parts(&self, store: &mut Store<State>, answer: &str) -> Result<Vec<AnswerPart>> {
        let parts = self.processor.call_parts(store, answer)?;
        Ok(parts.into_iter().map(convert::part_from_plugin).collect())
    }

    fn load(&self, store: &mut Store<State>, files: &ModelFiles) -> Answer<()> {
        match &self.network {
            Some(network) => network.call_load(store, &convert::files_to_plugin(files)),
            None => Ok(Err(NO_NETWORK.to_owned())),
        }
    }

    fn encode(
        &self,
        store: &mut Store<State>,
        pixels: &[Resource<TensorHandle>],
        layout: &[u32],
    ) -> Answer<Vec<Resource<TensorHandle>>> {
        match &self.network {
            Some(network) => network.call_encode(store, pixels, layout),
            None => Ok(Err(NO_NETWORK.to_owned())),
        }
    }

    fn encode_prompt(&self, store: &mut Store<State>) -> Answer<Resource<TensorHandle>> {
        match &self.network {
            Some(network) => network.call_encode_prompt(store, Resource::new_own(0)),
            None => Ok(Err(NO_NETWORK.to_owned())),
        }
    }

    fn forward(&self, store: &mut Store<State>) -> Answer<Resource<TensorHandle>> {
        match &self.network {
            Some(network) => network.call_forward(store, Resource::new_own(0)),
            None => Ok(Err(NO_NETWORK.to_owned())),
        }
    }
}
