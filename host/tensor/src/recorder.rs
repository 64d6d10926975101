//! Recording: a plugin asks for operations one by one; each is checked against its operands' shapes and written down.
//! Nothing is computed here, so a mistake costs no memory and is found before the first weight is read.

// What is recorded is a plugin's: a sum that wraps would pass a bound.
#![deny(clippy::arithmetic_side_effects)]

use std::collections::HashSet;
use std::sync::Arc;

use crate::operation::{CachedAttention, CachedHeads, Op, WeightId};
use crate::operations::{Facts, Kept, Operands, Rows};
use crate::program::{Node, Program, ValueId, ValueType};
use crate::stored::Weight;

/// What is known of the batch that a recorded forward pass will run on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BatchShape {
    /// Rows of all sequences together.
    pub tokens: usize,
    /// Rows of the positions: 1, or 3 for multimodal rotary embeddings.
    pub axes: usize,
    /// Names of the marks that each row has, ascending.
    pub marks: Vec<String>,
    /// Rows whose logits are wanted.
    pub wanted: usize,
    /// Whether any row holds an image feature, and the width of each feature set.
    pub features: Option<Vec<usize>>,
    /// Whether sequences have context to attend to (cross attention).
    pub has_context: bool,
    /// `[rows, hidden]` of context that this step brings.
    pub new_context: Option<[usize; 2]>,
}

/// Dimensions of one tensor.
const DIMENSIONS: usize = 8;

/// Bounds on one recording.
#[derive(Debug, Clone, Copy)]
pub struct RecordingLimits {
    /// Operations in one program.
    pub operations: usize,
    /// Bytes of what the plugin hands over with its operations: constants, angles, segments, lists of operands.
    pub constant_bytes: usize,
    /// Elements of one tensor.
    pub elements: usize,
}

impl Default for RecordingLimits {
    fn default() -> Self {
        Self {
            operations: 100_000,
            constant_bytes: 16 << 20,
            elements: 1 << 34,
        }
    }
}

/// An operation that cannot be: which, on what, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("operation {index} `{operation}` on ({}): {reason}{}", .inputs.join(", "), .near.as_ref().map(|name| format!(", near weight `{name}`")).unwrap_or_default())]
pub struct OperationError {
    /// How many operations came before it.
    pub index: usize,
    /// Its name in the contract.
    pub operation: String,
    /// Types of its operands.
    pub inputs: Vec<String>,
    /// What was expected and what was found.
    pub reason: String,
    /// The weight that it uses, or the last one used before it: it tells the layer.
    pub near: Option<String>,
}

/// Writes down one program.
#[derive(Debug)]
pub struct Recorder {
    weights: Arc<Vec<Weight>>,
    batch: Option<BatchShape>,
    limits: RecordingLimits,
    nodes: Vec<Node>,
    inputs: Vec<ValueType>,
    constant_bytes: usize,
    held_bytes: usize,
    last_weight: Option<WeightId>,
    /// Names of operations, and numbers of the states that they keep.
    states: HashSet<(&'static str, u32)>,
    of_encoder: bool,
}

impl Recorder {
    /// A recording of a program over these inputs; `batch` is given when it is a decoder's forward pass.
    pub fn new(
        weights: Arc<Vec<Weight>>,
        inputs: Vec<ValueType>,
        batch: Option<BatchShape>,
        limits: RecordingLimits,
    ) -> Self {
        let nodes = inputs
            .iter()
            .enumerate()
            .map(|(index, input)| Node {
                op: Op::Input(index as u32),
                inputs: Vec::new(),
                output: input.clone(),
            })
            .collect();
        Self {
            weights,
            batch,
            limits,
            nodes,
            inputs,
            constant_bytes: 0,
            held_bytes: 0,
            last_weight: None,
            states: HashSet::new(),
            of_encoder: false,
        }
    }

    /// A recording of what an encoder makes of its prompt: it runs once, so nothing can be kept for later steps.
    pub fn of_encoder(weights: Arc<Vec<Weight>>, batch: BatchShape, limits: RecordingLimits) -> Self {
        Self {
            of_encoder: true,
            ..Self::new(weights, Vec::new(), Some(batch), limits)
        }
    }

    /// The values of the program's inputs, in order.
    pub fn input_values(&self) -> Vec<ValueId> {
        (0..self.inputs.len() as u32).map(ValueId).collect()
    }

    /// The batch that this is recorded for.
    pub fn batch(&self) -> Option<&BatchShape> {
        self.batch.as_ref()
    }

    /// The type of a value, if there is such a value.
    pub fn value(&self, id: ValueId) -> Option<&ValueType> {
        self.nodes.get(id.index()).map(|node| &node.output)
    }

    /// The last attention that writes to this cache, and what it stores for each token.
    pub fn cache(&self, layer: u32) -> Option<(&CachedAttention, CachedHeads)> {
        self.nodes.iter().rev().find_map(|node| {
            let Op::Attend(attention) = &node.op else {
                return None;
            };
            let k = &self.nodes[node.inputs[1].index()].output.shape;
            let heads = CachedHeads {
                kv_heads: k[1],
                dim: k[2],
                value_dim: node.output.shape[2],
                latent: attention.value_dim.is_some(),
            };
            (attention.layer == layer).then_some((attention, heads))
        })
    }

    /// How many operations are recorded.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Bytes of the operations that were recorded, with their constants.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Whether nothing is recorded.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Records one operation. `shape` is what [`Op::Reshape`], [`Op::Broadcast`] and the constants are to become.
    pub fn push(
        &mut self,
        op: Op,
        inputs: &[ValueId],
        shape: Option<&[usize]>,
    ) -> Result<ValueId, OperationError> {
        let facts = op.facts();
        self.last_weight = facts.weight.or(self.last_weight);
        let checked = self.check(&facts, inputs, shape);
        drop(facts);
        match checked {
            // A batch without images or a step without context leaves x as it is: no operation is needed.
            Ok(None) => Ok(inputs[0]),
            Ok(Some(output)) => {
                let id = ValueId(self.nodes.len() as u32);
                let node = Node {
                    op,
                    inputs: inputs.to_vec(),
                    output,
                };
                self.held_bytes = self.held_bytes.saturating_add(node.held_bytes());
                self.nodes.push(node);
                Ok(id)
            }
            Err(reason) => Err(OperationError {
                index: self.nodes.len(),
                operation: op.full_name(),
                inputs: inputs
                    .iter()
                    .map(|id| {
                        self.value(*id)
                            .map_or("no such value".to_owned(), ValueType::to_string)
                    })
                    .collect(),
                reason,
                near: self
                    .last_weight
                    .and_then(|id| self.weights.get(id.0 as usize))
                    .map(|weight| weight.name().to_owned()),
            }),
        }
    }

    /// Ends the recording.
    pub fn finish(self, outputs: Vec<ValueId>) -> Program {
        Program::new(self.nodes, self.inputs, outputs, &self.weights)
    }

    fn check(
        &mut self,
        facts: &Facts<'_>,
        inputs: &[ValueId],
        shape: Option<&[usize]>,
    ) -> Result<Option<ValueType>, String> {
        if self.nodes.len() >= self.limits.operations {
            return Err(format!(
                "a program may hold {} operations at most",
                self.limits.operations
            ));
        }
        if facts.needs_features && self.batch.as_ref().is_some_and(|batch| batch.features.is_none()) {
            return Ok(None);
        }
        let mut operands = Vec::with_capacity(inputs.len());
        for id in inputs {
            operands.push(
                self.nodes
                    .get(id.index())
                    .map(|node| &node.output)
                    .ok_or("no such value")?,
            );
        }
        let output = facts.output(&Operands {
            inputs: &operands,
            shape,
            weights: &self.weights,
            batch: self.batch.as_ref(),
        })?;
        if self.of_encoder && (facts.kept != Kept::Nothing || facts.rows == Rows::Wanted) {
            return Err(
                "an encoder's prompt has no caches and no wanted rows: all its tokens are there, and `tensor.attention` sees them"
                    .to_owned(),
            );
        }
        // What only reads a state has one operand.
        let keeps = facts.state.filter(|_| inputs.len() > 1);
        if let Some(number) = keeps
            && self.states.contains(&(facts.name, number))
        {
            return Err(format!(
                "number {number} was taken by an earlier `{}` of this call: what each keeps would be lost",
                facts.name
            ));
        }
        if output.shape.len() > DIMENSIONS {
            return Err(format!(
                "the result has {} dimensions, more than the {DIMENSIONS} that a tensor may have",
                output.shape.len()
            ));
        }
        let elements = output
            .shape
            .iter()
            .try_fold(1_usize, |product, &size| product.checked_mul(size));
        if elements.is_none_or(|elements| elements > self.limits.elements) {
            return Err(format!(
                "the result {output} has more than the {} elements that one tensor may have",
                self.limits.elements
            ));
        }
        let numbers = facts.numbers.saturating_add(inputs.len());
        self.constant_bytes = self.constant_bytes.saturating_add(numbers.saturating_mul(4));
        if self.constant_bytes > self.limits.constant_bytes {
            return Err(format!(
                "constants, angles and lists of operands take more than {} bytes",
                self.limits.constant_bytes
            ));
        }
        self.states.extend(keeps.map(|number| (facts.name, number)));
        Ok(Some(output))
    }
}
