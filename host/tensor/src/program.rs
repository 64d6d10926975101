//! Recorded programs: what a plugin asked for, as a list of operations in the order in which it asked.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::operation::{Kind, Op, WeightId};
use crate::operations::{Kept, Placement, Rows};
use crate::stored::Weight;

/// The result of one node: its index in [`Program::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub u32);

impl ValueId {
    /// As an index into [`Program::nodes`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What is known of a value before anything is computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueType {
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// What its elements are.
    pub kind: Kind,
}

impl ValueType {
    /// Floats of this shape.
    pub fn float(shape: impl Into<Vec<usize>>) -> Self {
        Self {
            shape: shape.into(),
            kind: Kind::Float,
        }
    }

    /// Integers of this shape.
    pub fn int(shape: impl Into<Vec<usize>>) -> Self {
        Self {
            shape: shape.into(),
            kind: Kind::Int,
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl std::fmt::Display for ValueType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            Kind::Float => "float",
            Kind::Int => "int",
        };
        write!(f, "{kind}{:?}", self.shape)
    }
}

/// One operation with its operands and the type of its result.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What is done.
    pub op: Op,
    /// To what; always earlier nodes.
    pub inputs: Vec<ValueId>,
    /// What comes out.
    pub output: ValueType,
}

impl Node {
    /// Bytes of its numbers and lists, and of itself.
    pub fn held_bytes(&self) -> usize {
        let lists = size_of_val(&self.inputs[..]).saturating_add(size_of_val(&self.output.shape[..]));
        let own = lists.saturating_add(size_of::<Self>());
        self.op.held_bytes().saturating_add(own)
    }
}

/// Tells programs apart for as long as the process lives; engines keep what they prepared for a program under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProgramId(u64);

impl ProgramId {
    /// An id that no other program has.
    pub(crate) fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A checked list of operations: every operand exists and every shape fits.
#[derive(Debug)]
pub struct Program {
    /// Its own; never that of another program, even after this one is gone.
    pub id: ProgramId,
    /// The operations, in an order in which they can run.
    pub nodes: Vec<Node>,
    /// Types of the program's inputs.
    pub inputs: Vec<ValueType>,
    /// The results that the caller gets.
    pub outputs: Vec<ValueId>,
    /// The nodes that need a step, with what their rows are in it.
    rows: Vec<(usize, Rows)>,
    /// Weights that are integers in groups.
    quantised: BTreeSet<u32>,
}

/// Where two recordings of one signature differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Number of the first operation that is not the same.
    pub index: usize,
    /// What the first recording has there.
    pub first: String,
    /// What the second recording has there.
    pub second: String,
}

impl Program {
    pub(crate) fn new(
        nodes: Vec<Node>,
        inputs: Vec<ValueType>,
        outputs: Vec<ValueId>,
        weights: &[Weight],
    ) -> Self {
        let used = nodes.iter().filter_map(|node| node.op.facts().weight);
        let quantised = used
            .map(|id| id.0)
            .filter(|id| weights.get(*id as usize).is_some_and(Weight::is_quantised))
            .collect();
        let rows = nodes.iter().map(|node| node.op.facts().rows).enumerate();
        Self {
            id: ProgramId::unique(),
            rows: rows.filter(|(_, rows)| *rows != Rows::Free).collect(),
            nodes,
            inputs,
            outputs,
            quantised,
        }
    }

    /// Whether a weight that the program multiplies by is integers in groups ([`Weight::is_quantised`]).
    pub fn is_quantised(&self, weight: WeightId) -> bool {
        self.quantised.contains(&weight.0)
    }

    /// The nodes that need a step, with what their rows are in it.
    pub(crate) fn of_step(&self) -> impl Iterator<Item = (&Node, Rows)> {
        self.rows.iter().map(|(index, rows)| (&self.nodes[*index], *rows))
    }

    /// The types of a node's operands.
    pub fn operands(&self, node: &Node) -> Vec<&ValueType> {
        node.inputs.iter().map(|id| self.value(*id)).collect()
    }

    /// The type of a value.
    pub fn value(&self, id: ValueId) -> &ValueType {
        &self.nodes[id.index()].output
    }

    /// For each node, the values that nothing after it needs: they can be freed once it has run.
    pub fn dying(&self) -> Vec<Vec<ValueId>> {
        self.dying_where(|index| index)
    }

    /// As [`Program::dying`], where a node may run later: with the node that `runs_at` says.
    pub fn dying_where(&self, runs_at: impl Fn(usize) -> usize) -> Vec<Vec<ValueId>> {
        let mut last_use: Vec<usize> = (0..self.nodes.len()).map(&runs_at).collect();
        for (index, node) in self.nodes.iter().enumerate() {
            for input in &node.inputs {
                let last = &mut last_use[input.index()];
                *last = (*last).max(runs_at(index));
            }
        }
        let mut dying = vec![Vec::new(); self.nodes.len()];
        let outputs: HashSet<ValueId> = self.outputs.iter().copied().collect();
        for (value, index) in last_use.into_iter().enumerate() {
            let id = ValueId(value as u32);
            if !outputs.contains(&id) {
                dying[index].push(id);
            }
        }
        dying
    }

    /// An estimate of the most bytes that are alive at once while it runs, with floats of `float_bytes` bytes.
    /// What only looks at its operand shares its memory, and weights are not counted.
    pub fn peak_bytes(&self, float_bytes: usize) -> usize {
        let placements = self.nodes.iter().map(|node| {
            let facts = node.op.facts();
            facts.placement(&self.operands(node), &node.output)
        });
        let placements: Vec<Placement> = placements.collect();
        let size = |index: usize| match (placements[index], self.nodes[index].output.kind) {
            (Placement::Given | Placement::Shared, _) => 0,
            (Placement::InPlace | Placement::New, Kind::Float) => {
                self.nodes[index].output.len().saturating_mul(float_bytes)
            }
            (Placement::InPlace | Placement::New, Kind::Int) => {
                self.nodes[index].output.len().saturating_mul(4)
            }
        };
        // What shares its operand's memory keeps it alive: count it until the last alias dies.
        let owner: Vec<usize> = {
            let mut owner: Vec<usize> = (0..self.nodes.len()).collect();
            for (index, node) in self.nodes.iter().enumerate() {
                if placements[index] == Placement::Shared {
                    owner[index] = owner[node.inputs[0].index()];
                }
            }
            owner
        };
        let mut aliases = vec![0_usize; self.nodes.len()];
        for &root in &owner {
            aliases[root] += 1;
        }
        let (mut live, mut peak) = (0_usize, 0_usize);
        for (index, dying) in self.dying().into_iter().enumerate() {
            live = live.saturating_add(size(index));
            peak = peak.max(live);
            for value in dying {
                let root = owner[value.index()];
                aliases[root] -= 1;
                if aliases[root] == 0 {
                    live = live.saturating_sub(size(root));
                }
            }
        }
        peak
    }

    /// Elements that one token adds to the caches of this forward pass: keys and values of each attention.
    pub fn cached_elements(&self) -> usize {
        self.kept(Kept::EachToken)
            .map(|kept| saturating_product(&kept.shape[1..]))
            .fold(0, usize::saturating_add)
    }

    /// Elements of the keys and of the values that a run of this program keeps for cross attention, layer by layer; none where the
    /// step brings no new context.
    pub fn kept_context(&self) -> impl Iterator<Item = usize> {
        self.kept(Kept::Context).map(ValueType::len)
    }

    /// Elements of each state that a sequence keeps in 32 bits, whatever its length.
    pub fn kept_states(&self) -> impl Iterator<Item = usize> {
        let shape = |node: &Node, input: usize| self.value(node.inputs[input]).shape.as_slice();
        self.nodes
            .iter()
            .filter_map(move |node| match node.op.facts().kept {
                Kept::State => {
                    let (keys, values) = (shape(node, 1), shape(node, 2));
                    Some(saturating_product(values[1..].iter().chain([&keys[2]])))
                }
                // A row less than the kernel has taps.
                Kept::LastRows => {
                    let kernel = shape(node, 1);
                    Some(saturating_product(&[kernel[0], kernel[1].saturating_sub(1)]))
                }
                Kept::Nothing | Kept::EachToken | Kept::Context => None,
            })
    }

    /// Elements of all of [`Program::kept_states`].
    pub fn kept_state(&self) -> usize {
        self.kept_states().fold(0, usize::saturating_add)
    }

    /// The types of what a run keeps for later steps in this way, operation by operation: all operands but the first.
    pub fn kept(&self, kept: Kept) -> impl Iterator<Item = &ValueType> {
        let keeping = self.nodes.iter().filter(move |node| node.op.facts().kept == kept);
        keeping
            .flat_map(|node| &node.inputs[1..])
            .map(|id| self.value(*id))
    }

    /// Bytes of constants, angles and lists that it holds, and of its operations.
    pub fn held_bytes(&self) -> usize {
        let bytes = self.nodes.iter().map(Node::held_bytes);
        bytes.fold(0, usize::saturating_add)
    }

    /// The first operation in which another recording of the same signature differs.
    pub fn difference(&self, other: &Self) -> Option<Difference> {
        let describe = |program: &Self, index: usize| match program.nodes.get(index) {
            Some(node) => {
                let inputs: Vec<String> = node
                    .inputs
                    .iter()
                    .map(|input| program.value(*input).to_string())
                    .collect();
                format!(
                    "`{}` of ({}) giving {}",
                    node.op.full_name(),
                    inputs.join(", "),
                    node.output
                )
            }
            None => "nothing more".to_owned(),
        };
        let shared = self
            .nodes
            .iter()
            .zip(&other.nodes)
            .take_while(|(a, b)| a.op.is_same(&b.op) && a.inputs == b.inputs && a.output == b.output)
            .count();
        if shared < self.nodes.len() || shared < other.nodes.len() {
            let (mut first, mut second) = (describe(self, shared), describe(other, shared));
            if first == second {
                // Same shapes: the attributes or operands tell them apart.
                first = format!("{first} with {:?}", self.nodes[shared]);
                second = format!("{second} with {:?}", other.nodes[shared]);
            }
            return Some(Difference {
                index: shared,
                first,
                second,
            });
        }
        (self.outputs != other.outputs).then(|| Difference {
            index: shared,
            first: format!("results {:?}", self.outputs),
            second: format!("results {:?}", other.outputs),
        })
    }
}

fn saturating_product<'a>(factors: impl IntoIterator<Item = &'a usize>) -> usize {
    let mut factors: Vec<usize> = factors.into_iter().copied().collect();
    // An empty factor makes all of it empty, however large the others are.
    factors.sort_unstable();
    factors.into_iter().fold(1, usize::saturating_mul)
}
