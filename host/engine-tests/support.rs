//! What the tests of engines share: goldens, programs of one operation, comparisons.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use monocle_tensor::backend::{Backend, BackendError, Step, Tensor};
use monocle_tensor::operation::Op;
use monocle_tensor::program::{Program, ValueId, ValueType};
use monocle_tensor::recorder::{BatchShape, Recorder, RecordingLimits};
use monocle_tensor::stored::{Bytes, Matrix, StoredTensor, StoredType, Weight};
use serde_json::Value as Json;

/// The tensors of a safetensors file. (`weights` reads them properly; this trusts its file.)
pub struct Goldens(HashMap<String, StoredTensor>);

impl Goldens {
    pub fn read(path: &Path) -> Self {
        let bytes = Bytes::new(std::fs::read(path).expect("the goldens are in the project"));
        let header_len = u64::from_le_bytes(bytes.as_slice()[..8].try_into().unwrap()) as usize;
        let header: HashMap<String, Json> =
            serde_json::from_slice(&bytes.as_slice()[8..8 + header_len]).unwrap();
        let tensors = header.into_iter().filter(|(name, _)| name != "__metadata__");
        Self(
            tensors
                .map(|(name, entry)| {
                    let kind = match entry["dtype"].as_str().unwrap() {
                        "F32" => StoredType::F32,
                        "F16" => StoredType::F16,
                        "BF16" => StoredType::BF16,
                        "I32" => StoredType::I32,
                        other => panic!("goldens of {other}"),
                    };
                    let offsets = usizes(&entry["data_offsets"]);
                    let start = 8 + header_len;
                    let tensor = StoredTensor {
                        name: name.clone(),
                        kind,
                        shape: usizes(&entry["shape"]),
                        bytes: bytes.slice(start + offsets[0]..start + offsets[1]).unwrap(),
                    };
                    (name, tensor)
                })
                .collect(),
        )
    }

    pub fn get(&self, name: &str) -> &StoredTensor {
        &self.0[name]
    }
}

pub fn usizes(json: &Json) -> Vec<usize> {
    let numbers = json.as_array().into_iter().flatten();
    numbers.map(|number| number.as_u64().unwrap() as usize).collect()
}

pub fn floats(tensor: &StoredTensor) -> Vec<f32> {
    let words = tensor.bytes.as_slice().chunks_exact(4);
    let words = words.map(|word| u32::from_le_bytes(word.try_into().unwrap()));
    match tensor.kind {
        StoredType::F32 => words.map(f32::from_bits).collect(),
        StoredType::I32 => words.map(|word| word as i32 as f32).collect(),
        other => panic!("floats of {other:?}"),
    }
}

pub fn ints(tensor: &StoredTensor) -> Vec<i32> {
    floats(tensor).into_iter().map(|x| x as i32).collect()
}

/// A weight in the role that an operation asks for.
pub fn weight_for(op: &Op, tensor: StoredTensor, bias: Option<StoredTensor>) -> Weight {
    let matrix = Matrix::Dense(tensor.clone());
    match op {
        Op::Linear(_) | Op::LinearHeads { .. } => Weight::Linear { matrix, bias },
        Op::Embed(_) => Weight::Embedding(matrix),
        Op::ExpertLinear(_) => Weight::Experts { matrix, bias },
        _ => Weight::Tensor(tensor),
    }
}

/// What one operand is: floats come in as inputs, integers as constants (nothing else brings integers in).
#[derive(Clone)]
pub enum Operand {
    Floats(Vec<usize>, Vec<f32>),
    Ints(Vec<usize>, Vec<i32>),
}

impl Operand {
    pub fn of(tensor: &StoredTensor) -> Self {
        match tensor.kind {
            StoredType::I32 => Self::Ints(tensor.shape.clone(), ints(tensor)),
            _ => Self::Floats(tensor.shape.clone(), floats(tensor)),
        }
    }

    /// Rows `range` of it.
    pub fn rows(&self, range: std::ops::Range<usize>) -> Self {
        match self {
            Self::Floats(shape, values) => {
                let width: usize = shape[1..].iter().product();
                let shape = [&[range.len()], &shape[1..]].concat();
                Self::Floats(shape, values[range.start * width..range.end * width].to_vec())
            }
            Self::Ints(..) => panic!("rows of integers"),
        }
    }
}

/// A shape and the floats in it.
pub type Input = (Vec<usize>, Vec<f32>);

/// A program of one operation, with its inputs.
pub fn program_of(
    op: Op,
    operands: &[Operand],
    shape: Option<&[usize]>,
    weights: &Arc<Vec<Weight>>,
    batch: Option<BatchShape>,
) -> (Program, Vec<Input>) {
    let inputs: Vec<Input> = operands
        .iter()
        .filter_map(|operand| match operand {
            Operand::Floats(shape, values) => Some((shape.clone(), values.clone())),
            Operand::Ints(..) => None,
        })
        .collect();
    let types = inputs
        .iter()
        .map(|(shape, _)| ValueType::float(shape.clone()))
        .collect();
    let mut recorder = Recorder::new(Arc::clone(weights), types, batch, RecordingLimits::default());
    let mut next = 0_u32;
    let ids: Vec<ValueId> = operands
        .iter()
        .map(|operand| match operand {
            Operand::Floats(..) => {
                next += 1;
                ValueId(next - 1)
            }
            Operand::Ints(shape, values) => {
                let values: Arc<[i32]> = values.as_slice().into();
                recorder.push(Op::Ints(values), &[], Some(shape)).unwrap()
            }
        })
        .collect();
    let out = recorder
        .push(op, &ids, shape)
        .unwrap_or_else(|error| panic!("{error}"));
    (recorder.finish(vec![out]), inputs)
}

/// Runs it and gives its one result.
pub fn run(
    engine: &mut dyn Backend,
    program: &Program,
    inputs: &[Input],
    step: Option<&Step>,
) -> Result<Vec<f32>, BackendError> {
    let inputs: Vec<Tensor> = inputs
        .iter()
        .map(|(shape, values)| engine.upload(shape, values.clone()).unwrap())
        .collect();
    let outputs = engine.run(program, &inputs, step)?;
    engine.download(&outputs[0])
}

/// Fails unless values are equal up to `tolerance`, relative where they are large.
pub fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    if let Err(difference) = compare(found, expected, tolerance) {
        panic!("{what}: {difference}");
    }
}

/// Whether values are equal up to `tolerance`, relative where they are large; where they first differ if not.
pub fn compare(found: &[f32], expected: &[f32], tolerance: f32) -> Result<(), String> {
    if found.len() != expected.len() {
        return Err(format!("{} elements, expected {}", found.len(), expected.len()));
    }
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let same = found == expected || (found.is_nan() && expected.is_nan());
        let close = (found - expected).abs() <= tolerance * expected.abs().max(1.0);
        if !same && !close {
            return Err(format!("element {index} is {found}, expected {expected}"));
        }
    }
    Ok(())
}

/// Numbers that look random, the same each time: xorshift64* (Vigna 2016).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number less than `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end
    }

    /// Floats between -1 and 1.
    pub fn floats(&mut self, len: usize) -> Vec<f32> {
        (0..len)
            .map(|_| (self.next() >> 40) as f32 / (1_u64 << 23) as f32 - 1.0)
            .collect()
    }
}
