//! An engine that computes no numbers: each row's logits are a hash of exactly what the row may see.
//!
//! It interprets the programs that real plugins recorded. A value is a hash for each row of the batch; an operation mixes the hashes of its
//! operands' rows. `batch.attend` mixes in the keys that the row's interval and the layer's window let it see, one by one, with their places;
//! `batch.short-conv` the rows before it, `batch.cross-attend` the rows of the context, and spliced features are hashes of all pixels. So two rows
//! have the same logits if and only if the same tokens, positions and pictures are visible to them, however they were computed.
//!
//! It is strict where real engines may be lucky: keys that a window has passed are gone, a step that fails leaves wrong keys behind, and
//! reading what is not there is noted ([`Log::faults`]).

mod state;
mod value;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use monocle_tensor::backend::{Backend, BackendError, MemoryUse, SequenceId, Step, Tensor};
use monocle_tensor::check::check;
use monocle_tensor::operation::Op;
use monocle_tensor::operations::{Kept, Rows};
use monocle_tensor::program::{Program, ProgramId, ValueType};
use monocle_tensor::sequences::Sequences;
use monocle_tensor::stored::Weight;

use state::State;
pub use value::mix;
use value::{Held, Memory, Value};

/// What is about to be done.
#[derive(Debug, Clone, Copy)]
pub enum Work<'a> {
    /// A forward pass.
    Forward(&'a Step),
    /// A program over pixels, or a part of one.
    Encode,
}

/// What an engine was asked for, for those who watch.
#[derive(Default)]
pub struct Log {
    /// What must never happen: keys read that are not there, steps asked for too far ahead.
    pub faults: Vec<String>,
    /// For each forward pass, each sequence's tokens before it and its rows in it.
    pub passes: Vec<Vec<(SequenceId, usize, usize)>>,
    /// For each row computed, a hash of the token ids up to it.
    pub rows: Vec<u64>,
    /// Programs run over pixels.
    pub encodes: usize,
    /// Sequences that began as others did.
    pub forks: usize,
    /// Forks that were not possible.
    pub forks_refused: usize,
    /// Sequences made.
    pub sequences: usize,
    /// Sequences dropped.
    pub dropped: usize,
    /// Forward passes that were made to fail, by the number of their sequences.
    pub failed: BTreeMap<usize, usize>,
    /// Encoder runs that were made to fail.
    pub failed_encodes: usize,
}

/// See the module.
pub struct HashingEngine {
    /// What it says of itself.
    pub ahead: bool,
    /// Whether this is to fail.
    pub fails: Box<dyn FnMut(Work<'_>) -> bool>,
    log: Rc<RefCell<Log>>,
    memory: Memory,
    sequences: Sequences<State>,
    salts: HashMap<ProgramId, Rc<[u64]>>,
    /// Sequences whose own step failed: what they hold may be why.
    failed: BTreeSet<SequenceId>,
}

impl Default for HashingEngine {
    fn default() -> Self {
        Self {
            ahead: false,
            fails: Box::new(|_| false),
            log: Rc::default(),
            memory: Memory::default(),
            sequences: Sequences::default(),
            salts: HashMap::new(),
            failed: BTreeSet::new(),
        }
    }
}

impl HashingEngine {
    /// What it is asked for from now on.
    pub fn log(&self) -> Rc<RefCell<Log>> {
        Rc::clone(&self.log)
    }

    /// What tells each operation of a program from others.
    fn salts(&mut self, program: &Program) -> Rc<[u64]> {
        let salts = self.salts.entry(program.id).or_insert_with(|| {
            let salt = |op: &Op| match op {
                Op::Weight(id) | Op::Linear(id) | Op::Embed(id) | Op::ExpertLinear(id) => {
                    mix(value::text(op.name()), u64::from(id.0))
                }
                Op::Floats(values) => values.iter().fold(value::text(op.name()), |hash, value| {
                    mix(hash, u64::from(value.to_bits()))
                }),
                Op::Ints(values) => values
                    .iter()
                    .fold(value::text(op.name()), |hash, value| mix(hash, *value as u64)),
                Op::Full(value) => mix(value::text(op.name()), u64::from(value.to_bits())),
                op => value::text(&op.full_name()),
            };
            program.nodes.iter().map(|node| salt(&node.op)).collect()
        });
        Rc::clone(salts)
    }

    fn forward(&mut self, program: &Program, step: &Step) -> Result<Vec<Tensor>, BackendError> {
        self.sequences.begin(step)?;
        let fails = (self.fails)(Work::Forward(step));
        if fails {
            let mut log = self.log.borrow_mut();
            *log.failed.entry(step.sequences.len()).or_default() += 1;
            // One that was asked for ahead of its token is asked for again.
            if let ([only], None) = (&step.sequences[..], &step.device_tokens) {
                self.failed.insert(only.sequence);
            }
        }
        let (ids, after) = self.tokens(step);
        let hashes = self.note(step, &ids);
        let salts = self.salts(program);
        let mut run = StepRun {
            step,
            ids: &ids,
            program,
            salts: &salts,
            sequences: &mut self.sequences,
            faults: Vec::new(),
            values: Vec::with_capacity(program.nodes.len()),
        };
        let end = match fails {
            true => program.nodes.len() / 2,
            false => program.nodes.len(),
        };
        let done = (0..end).try_for_each(|index| {
            let value = run.node(index)?;
            run.values.push(value);
            Ok(())
        });
        let values = std::mem::take(&mut run.values);
        self.log.borrow_mut().faults.append(&mut run.faults);
        let failed = match fails {
            true => Err(failure()),
            false => done,
        };
        let mut row = 0;
        for (number, rows) in step.sequences.iter().enumerate() {
            let state = self.sequences.get(rows.sequence)?;
            let brings = step.new_context.get(number).is_some_and(Option::is_some);
            let context = match brings {
                true => program.kept_context().sum::<usize>(),
                false => 0,
            };
            let bytes = [program.cached_elements(), context].map(|elements| elements * size_of::<f32>());
            match failed {
                Ok(()) => state.finish(rows.past, &hashes[row..row + rows.rows], bytes, &self.memory),
                Err(_) => state.spoil(rows.past),
            }
            row += rows.rows;
        }
        failed?;
        self.sequences.finish(step);
        let outputs = program.outputs.iter().map(|output| {
            let kind = program.value(*output);
            let logits = values[output.index()].rows(kind.shape[0]);
            let numbers = logits
                .iter()
                .flat_map(|row| (0..kind.shape[1] as u64).map(|token| value::logit(*row, token)));
            self.hold(kind.clone(), Value::Numbers(numbers.collect()), after.clone())
        });
        Ok(outputs.collect())
    }

    /// The ids of a step, which the host may not know; and whether those were read, in that case.
    fn tokens(&mut self, step: &Step) -> (Vec<i32>, Option<Rc<Cell<bool>>>) {
        let Some(held) = step.device_tokens.as_ref().and_then(Tensor::get::<Held>) else {
            return (step.tokens.clone(), None);
        };
        // Those that chose these tokens must be known by now: one step ahead, not two.
        if held.after.as_ref().is_some_and(|read| !read.get()) {
            let fault = "a step was asked for two steps ahead of what was read";
            self.log.borrow_mut().faults.push(fault.to_owned());
        }
        let Value::Ids(ids) = &held.value else {
            return (step.tokens.clone(), None);
        };
        (ids.clone(), Some(Rc::clone(&held.read)))
    }

    /// Writes down what is asked for; gives a hash of the ids up to each row.
    fn note(&mut self, step: &Step, ids: &[i32]) -> Vec<u64> {
        let mut log = self.log.borrow_mut();
        let mut all = Vec::with_capacity(ids.len());
        let mut row = 0;
        for rows in &step.sequences {
            let so_far = self
                .sequences
                .look(rows.sequence)
                .map_or(0, |state| state.ids_hash());
            let hashes = ids[row..row + rows.rows].iter().scan(so_far, |hash, id| {
                *hash = mix(*hash, *id as u64);
                Some(*hash)
            });
            let first = all.len();
            all.extend(hashes);
            row += rows.rows;
            // Rows that belong to nobody begin at no token, and may come before their ids are known.
            if step.device_tokens.is_none() || rows.past > 0 {
                log.rows.extend(&all[first..]);
            }
        }
        let parts = step.sequences.iter();
        log.passes
            .push(parts.map(|rows| (rows.sequence, rows.past, rows.rows)).collect());
        all
    }

    /// A program without a batch: over pixels, features or logits.
    fn plain(&mut self, program: &Program, inputs: &[Tensor]) -> Result<Vec<Tensor>, BackendError> {
        let picks = program
            .nodes
            .iter()
            .any(|node| matches!(node.op, Op::TopK { .. }));
        let joins = |op: &Op| matches!(op, Op::Input(_) | Op::Concat { axis: 0 });
        if !picks && !program.nodes.iter().all(|node| joins(&node.op)) {
            self.log.borrow_mut().encodes += 1;
            if (self.fails)(Work::Encode) {
                self.log.borrow_mut().failed_encodes += 1;
                return Err(failure());
            }
        }
        let salts = self.salts(program);
        let held = |tensor: &Tensor| {
            let held = tensor.get::<Held>();
            held.ok_or_else(|| BackendError::Input("a tensor of another engine".to_owned()))
                .cloned()
        };
        let inputs = inputs.iter().map(held).collect::<Result<Vec<_>, _>>()?;
        let after = inputs.iter().find_map(|held| held.after.clone());
        let mut values: Vec<Value> = Vec::with_capacity(program.nodes.len());
        for (node, salt) in program.nodes.iter().zip(&*salts) {
            let operands: Vec<_> = node.inputs.iter().map(|id| &values[id.index()]).collect();
            let value = match (&node.op, &operands[..]) {
                (Op::Input(index), _) => inputs[*index as usize].value.clone(),
                (Op::TopK { k: 1 }, [Value::Numbers(logits)]) => {
                    let rows = logits.chunks(logits.len() / node.output.shape[0]);
                    Value::Ids(
                        rows.map(|row| monocle_runtime::trace::argmax(row) as i32)
                            .collect(),
                    )
                }
                (Op::GatherLast, [Value::Numbers(logits), Value::Ids(ids)]) => {
                    let rows = logits.chunks(logits.len() / ids.len()).zip(ids);
                    Value::Numbers(rows.map(|(row, id)| row[*id as usize]).collect())
                }
                (Op::Reshape, [Value::Numbers(_) | Value::Ids(_)]) if picks => operands[0].clone(),
                (Op::Concat { axis: 0 }, _) => {
                    let parts = node.inputs.iter().zip(&operands);
                    let rows = parts.flat_map(|(id, value)| value.rows(program.value(*id).shape[0]));
                    Value::Rows(rows.collect())
                }
                _ => Value::Whole(
                    operands
                        .iter()
                        .fold(*salt, |hash, value| mix(hash, value.whole())),
                ),
            };
            values.push(value);
        }
        let outputs = program.outputs.iter().map(|output| {
            let kind = program.value(*output).clone();
            self.hold(kind, values[output.index()].clone(), after.clone())
        });
        Ok(outputs.collect())
    }

    fn hold(&self, kind: ValueType, value: Value, after: Option<Rc<Cell<bool>>>) -> Tensor {
        let bytes = kind.len() * size_of::<f32>();
        Tensor::new(kind, Held::new(value, after, self.memory.take(bytes)))
    }
}

fn failure() -> BackendError {
    BackendError::Device {
        engine: "hashing",
        reason: "it was to fail".to_owned(),
    }
}

fn owns(tensor: &Tensor) -> bool {
    tensor.get::<Held>().is_some()
}

/// A forward pass on its way.
struct StepRun<'a> {
    step: &'a Step,
    ids: &'a [i32],
    program: &'a Program,
    salts: &'a [u64],
    sequences: &'a mut Sequences<State>,
    faults: Vec<String>,
    values: Vec<Value>,
}

impl StepRun<'_> {
    fn node(&mut self, index: usize) -> Result<Value, BackendError> {
        let (node, salt) = (&self.program.nodes[index], self.salts[index]);
        let step = self.step;
        let count = self.ids.len();
        let operand = |number: usize| &self.values[node.inputs[number].index()];
        Ok(match &node.op {
            Op::Tokens => Value::Rows(self.ids.iter().map(|id| mix(salt, *id as u64)).collect()),
            Op::Positions => {
                let position = |axis: usize, row: usize| step.positions[axis * count + row] as u64;
                let row = |row| (0..step.axes).fold(salt, |hash, axis| mix(hash, position(axis, row)));
                Value::Rows((0..count).map(row).collect())
            }
            Op::Mark(mark) => {
                let marks = &step.marks[*mark as usize];
                Value::Rows(marks.iter().map(|mark| mix(salt, *mark as u64)).collect())
            }
            Op::ImageMask => {
                let mut mask = vec![mix(salt, 0); count];
                for splice in &step.splices {
                    mask[splice.row..splice.row + splice.count].fill(mix(salt, 1));
                }
                Value::Rows(mask)
            }
            Op::Context => {
                let contexts = step.new_context.iter().flatten();
                let rows = contexts.filter_map(|context| {
                    let held = context.get::<Held>()?;
                    Some(held.value.rows(context.value_type().shape[0]))
                });
                Value::Rows(rows.flatten().collect())
            }
            Op::ContextMask => {
                let sees = |row: usize| {
                    step.visible_context
                        .get(row)
                        .is_some_and(|seen| seen.start < seen.end)
                };
                Value::Rows((0..count).map(|row| mix(salt, u64::from(sees(row)))).collect())
            }
            Op::SpliceFeatures { set } => self.features(operand(0).rows(count), *set, |_, feature| feature),
            Op::AddFeatures { set } => self.features(operand(0).rows(count), *set, mix),
            Op::SelectLogits => {
                let rows = operand(0).rows(count);
                Value::Rows(step.wanted.iter().map(|row| rows[*row as usize]).collect())
            }
            Op::Attend(attention) => {
                let [queries, keys, values] = [0, 1, 2].map(|number| operand(number).rows(count));
                let mut results = Vec::with_capacity(count);
                let mut row = 0;
                for rows in &step.sequences {
                    let range = row..row + rows.rows;
                    let state = self.sequences.get(rows.sequence)?;
                    let cache = state.cache(attention.layer, attention.window);
                    cache.append(rows.past, range.clone().map(|row| mix(keys[row], values[row])));
                    for row in range.clone() {
                        let at = rows.past + (row - range.start);
                        let [start, end] = step.visible[row].keys(at, attention.window);
                        let seen = cache.fold(mix(salt, queries[row]), start..end);
                        results.push(seen.unwrap_or_else(|place| {
                            self.faults.push(format!(
                                "token {at} of sequence {} reads token {place} of layer {}, which is not there",
                                rows.sequence.0, attention.layer
                            ));
                            0
                        }));
                    }
                    row = range.end;
                }
                Value::Rows(results)
            }
            Op::CrossAttend(attention) => {
                let queries = operand(0).rows(count);
                let brought = (node.inputs.len() == 3).then(|| {
                    let rows = self.program.value(node.inputs[1]).shape[0];
                    let [keys, values] = [1, 2].map(|number| operand(number).rows(rows));
                    keys.iter()
                        .zip(values)
                        .map(|(key, value)| mix(*key, value))
                        .collect::<Vec<_>>()
                });
                let mut results = Vec::with_capacity(count);
                let mut row = 0;
                for (number, rows) in step.sequences.iter().enumerate() {
                    let state = self.sequences.get(rows.sequence)?;
                    if let (Some(brought), Some(Some(_))) = (&brought, step.new_context.get(number)) {
                        state.contexts.insert(attention.layer, brought.clone());
                    }
                    let context = state.contexts.get(&attention.layer);
                    for (row, query) in queries.iter().enumerate().skip(row).take(rows.rows) {
                        let seen = step.visible_context[row];
                        let mut hash = mix(salt, *query);
                        for place in seen.start..seen.end {
                            match context.and_then(|context| context.get(place as usize)) {
                                Some(key) => hash = mix(hash, mix(*key, u64::from(place))),
                                None => self.faults.push(format!("row {place} of a context is not there")),
                            }
                        }
                        results.push(hash);
                    }
                    row += rows.rows;
                }
                Value::Rows(results)
            }
            Op::ShortConv { layer } => {
                let x = operand(0).rows(count);
                let taps = self
                    .program
                    .value(node.inputs[1])
                    .shape
                    .last()
                    .copied()
                    .unwrap_or(1);
                let mut results = Vec::with_capacity(count);
                let mut row = 0;
                for rows in &step.sequences {
                    let state = self.sequences.get(rows.sequence)?;
                    let past = state.convolutions.entry(*layer).or_default();
                    past.truncate(rows.past);
                    past.extend(&x[row..row + rows.rows]);
                    for at in rows.past..rows.past + rows.rows {
                        let seen = &past[(at + 1).saturating_sub(taps)..=at];
                        results.push(seen.iter().fold(salt, |hash, row| mix(hash, *row)));
                    }
                    row += rows.rows;
                }
                Value::Rows(results)
            }
            other => {
                // What keeps a state, or has rows of its own, is above.
                let facts = other.facts();
                if facts.kept != Kept::Nothing || facts.rows != Rows::Free {
                    let reason = format!("the hashing engine does not know `{}`", facts.name);
                    return Err(BackendError::Input(reason));
                }
                let operands: Vec<_> = node.inputs.iter().map(|id| &self.values[id.index()]).collect();
                value::combine(salt, &operands).map_err(|counts| {
                    BackendError::Input(format!("`{}` mixes rows of {counts:?}", node.op.name()))
                })?
            }
        })
    }

    /// Rows with features in the places of pictures.
    fn features(&self, mut rows: Vec<u64>, set: u32, put: impl Fn(u64, u64) -> u64) -> Value {
        for splice in &self.step.splices {
            let tensor = &splice.features[set as usize];
            let Some(held) = tensor.get::<Held>() else {
                continue;
            };
            let features = held.value.rows(tensor.value_type().shape[0]);
            for number in 0..splice.count {
                let row = &mut rows[splice.row + number];
                *row = put(*row, features[splice.offset + number]);
            }
        }
        Value::Rows(rows)
    }
}

impl Backend for HashingEngine {
    fn name(&self) -> &'static str {
        "hashing"
    }

    fn device(&self) -> String {
        "hashes".to_owned()
    }

    fn load(
        &mut self,
        _weights: Arc<Vec<Weight>>,
        _progress: &mut dyn FnMut(usize, usize),
    ) -> Result<(), BackendError> {
        Ok(())
    }

    fn new_sequence(&mut self) -> SequenceId {
        self.log.borrow_mut().sequences += 1;
        self.sequences.create()
    }

    fn drop_sequence(&mut self, sequence: SequenceId) {
        if self.sequences.look(sequence).is_none() {
            let fault = format!("sequence {} was dropped twice", sequence.0);
            self.log.borrow_mut().faults.push(fault);
        }
        self.log.borrow_mut().dropped += 1;
        self.sequences.drop(sequence);
    }

    fn fork(&mut self, sequence: SequenceId, tokens: usize) -> Result<Option<SequenceId>, BackendError> {
        if self.failed.contains(&sequence) {
            let fault = format!("sequence {} goes on, and its step has failed", sequence.0);
            self.log.borrow_mut().faults.push(fault);
        }
        let fork = self
            .sequences
            .fork(sequence, tokens, |state| state.part(tokens))?;
        let mut log = self.log.borrow_mut();
        match fork {
            Some(_) => {
                log.forks += 1;
                log.sequences += 1;
            }
            None => log.forks_refused += 1,
        }
        Ok(fork)
    }

    fn truncate(&mut self, sequence: SequenceId, tokens: usize) -> Result<bool, BackendError> {
        self.sequences
            .truncate(sequence, tokens, |state| state.cut(tokens))
    }

    fn upload(&mut self, shape: &[usize], values: Vec<f32>) -> Result<Tensor, BackendError> {
        Ok(self.hold(ValueType::float(shape), Value::Numbers(values), None))
    }

    fn download(&mut self, tensor: &Tensor) -> Result<Vec<f32>, BackendError> {
        let held = tensor.get::<Held>();
        let held = held.ok_or_else(|| BackendError::Input("a tensor of another engine".to_owned()))?;
        held.read.set(true);
        Ok(match &held.value {
            Value::Numbers(values) => values.clone(),
            Value::Ids(ids) => ids.iter().map(|id| *id as f32).collect(),
            value => {
                let shape = &tensor.value_type().shape;
                let width: u64 = shape[1..].iter().product::<usize>() as u64;
                let rows = value.rows(shape[0]).into_iter();
                rows.flat_map(|row| (0..width).map(move |column| value::logit(row, column)))
                    .collect()
            }
        })
    }

    fn run(
        &mut self,
        program: &Program,
        inputs: &[Tensor],
        step: Option<&Step>,
    ) -> Result<Vec<Tensor>, BackendError> {
        check(program, inputs, step, owns)?;
        // Results are what is left of this.
        drop(self.memory.take(self.program_bytes(program, 0)));
        match step {
            Some(step) => self.forward(program, step),
            None => self.plain(program, inputs),
        }
    }

    fn memory(&self) -> MemoryUse {
        self.memory.usage()
    }

    fn reset_peak(&mut self) {
        self.memory.reset_peak();
    }

    fn is_ahead(&self) -> bool {
        self.ahead
    }

    fn weight_bytes(&self, _weights: &[Weight]) -> usize {
        0
    }

    fn cache_bytes(&self, program: &Program, tokens: usize) -> usize {
        let contexts: usize = program.kept_context().sum();
        (program.cached_elements().saturating_mul(tokens)).saturating_add(contexts) * size_of::<f32>()
    }
}
