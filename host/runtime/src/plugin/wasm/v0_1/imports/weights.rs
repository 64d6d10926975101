//! `weights`: the host says what there is; a plugin gets handles only.

use monocle_tensor::operation::{Op, WeightId};
use wasmtime::Result;
use wasmtime::component::Resource;

use crate::plugin::services::Role;
use crate::plugin::wasm::host_side::{
    EmbeddingHandle, ExpertsHandle, HostSide, LinearHandle, ParameterHandle, TensorHandle,
};
use crate::plugin::wasm::v0_1::bindings::monocle::plugin::weights;

type Tensor = Resource<TensorHandle>;

impl weights::HostParameter for HostSide {
    fn shape(&mut self, parameter: Resource<ParameterHandle>) -> Result<Vec<u32>> {
        self.weight_shape(parameter.rep())
    }

    fn value(&mut self, parameter: Resource<ParameterHandle>) -> Result<Tensor> {
        self.record(Op::Weight(WeightId(parameter.rep())), &[], None)
    }

    fn drop(&mut self, _parameter: Resource<ParameterHandle>) -> Result<()> {
        Ok(())
    }
}

impl weights::HostLinear for HostSide {
    fn shape(&mut self, linear: Resource<LinearHandle>) -> Result<Vec<u32>> {
        self.weight_shape(linear.rep())
    }

    fn forward(&mut self, linear: Resource<LinearHandle>, x: Tensor) -> Result<Tensor> {
        self.record(Op::Linear(WeightId(linear.rep())), &[&x], None)
    }

    fn drop(&mut self, _linear: Resource<LinearHandle>) -> Result<()> {
        Ok(())
    }
}

impl weights::HostEmbedding for HostSide {
    fn shape(&mut self, embedding: Resource<EmbeddingHandle>) -> Result<Vec<u32>> {
        self.weight_shape(embedding.rep())
    }

    fn forward(&mut self, embedding: Resource<EmbeddingHandle>, ids: Tensor) -> Result<Tensor> {
        self.record(Op::Embed(WeightId(embedding.rep())), &[&ids], None)
    }

    fn drop(&mut self, _embedding: Resource<EmbeddingHandle>) -> Result<()> {
        Ok(())
    }
}

impl weights::HostExperts for HostSide {
    fn shape(&mut self, experts: Resource<ExpertsHandle>) -> Result<Vec<u32>> {
        self.weight_shape(experts.rep())
    }

    fn forward(&mut self, experts: Resource<ExpertsHandle>, x: Tensor, indices: Tensor) -> Result<Tensor> {
        self.record(Op::ExpertLinear(WeightId(experts.rep())), &[&x, &indices], None)
    }

    fn drop(&mut self, _experts: Resource<ExpertsHandle>) -> Result<()> {
        Ok(())
    }
}

impl weights::Host for HostSide {
    fn has(&mut self, name: String) -> Result<bool> {
        Ok(self.services.has_weight(&name))
    }

    fn names(&mut self, prefix: String) -> Result<Vec<String>> {
        Ok(self.services.weight_names(&prefix))
    }

    fn get_parameter(&mut self, name: String) -> Result<Resource<ParameterHandle>> {
        Ok(Resource::new_own(self.weight_id(&name, Role::Parameter)?.0))
    }

    fn get_linear(&mut self, name: String) -> Result<Resource<LinearHandle>> {
        Ok(Resource::new_own(self.weight_id(&name, Role::Linear)?.0))
    }

    fn get_embedding(&mut self, name: String) -> Result<Resource<EmbeddingHandle>> {
        Ok(Resource::new_own(self.weight_id(&name, Role::Embedding)?.0))
    }

    fn get_experts(&mut self, name: String) -> Result<Resource<ExpertsHandle>> {
        Ok(Resource::new_own(self.weight_id(&name, Role::Experts)?.0))
    }
}
