//! The operations that a program is made of. One enum; what each means stands in `plugin-api/wit`, which it mirrors. What is known of
//! each without running it is in [`crate::operations`].

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

/// A weight that the plugin asked for at load: an index into the list handed to [`crate::backend::Backend::load`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WeightId(pub u32);

/// What the elements of a tensor are. Engines choose the precision of floats; integers are 32-bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Real numbers.
    Float,
    /// Whole numbers: token ids, positions, indices, conditions (0 or 1).
    Int,
}

/// One operand, element by element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unary {
    /// `-x`
    Negate,
    /// `|x|`
    Absolute,
    /// `eˣ`
    Exponential,
    /// `ln x`
    Logarithm,
    /// `√x`
    SquareRoot,
    /// `1/√x`
    ReciprocalSquareRoot,
    /// `x²`
    Square,
    /// `sin x`
    Sine,
    /// `cos x`
    Cosine,
    /// `tanh x`
    HyperbolicTangent,
    /// `1/(1+e⁻ˣ)`
    Sigmoid,
    /// `max(x, 0)`
    Relu,
    /// `x·sigmoid(x)`, arXiv:1702.03118.
    Silu,
    /// `x·Φ(x)` with the exact error function, arXiv:1606.08415.
    Gelu,
    /// The tanh approximation of GELU, arXiv:1606.08415 section 2.
    GeluTanh,
    /// `x·sigmoid(1.702x)`, arXiv:1606.08415 section 2.
    QuickGelu,
    /// `ln(1+eˣ)`
    Softplus,
}

/// Two operands, element by element, broadcast as NumPy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// `a + b`
    Add,
    /// `a - b`
    Subtract,
    /// `a · b`
    Multiply,
    /// `a / b`, floats only
    Divide,
    /// The larger.
    Maximum,
    /// The smaller.
    Minimum,
    /// `aᵇ`, floats only
    Power,
    /// 1 where equal, else 0; an integer tensor.
    Equal,
    /// 1 where `a < b`, else 0; an integer tensor.
    Less,
    /// 1 where `a > b`, else 0; an integer tensor.
    Greater,
}

/// How a reduction combines elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// Their sum.
    Sum,
    /// Their arithmetic mean.
    Mean,
    /// The largest.
    Maximum,
}

/// How a pooling window combines elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// Their arithmetic mean.
    Average,
    /// The largest.
    Maximum,
}

/// How interpolation finds values between samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interpolation {
    /// The sample at `floor(i · in / out)`.
    Nearest,
    /// Linear in both directions.
    Bilinear,
    /// Cubic convolution with a = -0.75, or -0.5 when antialiased (as PyTorch has them).
    Bicubic,
}

/// Which two elements of a head rotary embedding turns together (arXiv:2104.09864).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairing {
    /// Element `i` with element `i + n` of the `2n` that rotate: GPT-NeoX, Llama in Hugging Face layout.
    Halves,
    /// Element `2i` with element `2i + 1`: GPT-J's layout, and that of the original Llama releases.
    Neighbours,
}

/// The angles of a rotary embedding.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Radians a position step, one for each pair that rotates; the elements after them pass through.
    pub frequencies: Vec<f32>,
    /// Which row of the positions each frequency uses; empty: row 0 for all.
    pub axes: Vec<u8>,
    /// Which elements make a pair.
    pub pairing: Pairing,
    /// Multiplies sines and cosines (YaRN's attention factor, arXiv:2309.00071); 1 normally.
    pub scale: f32,
}

impl Rope {
    /// The same number for equal ropes, to look them up by.
    pub fn content_hash(&self, hasher: &RandomState) -> u64 {
        let mut hash = hasher.build_hasher();
        for value in &self.frequencies {
            // Zeros are equal whatever their sign.
            hash.write_u32((value + 0.0).to_bits());
        }
        hash.write(&self.axes);
        hash.finish()
    }
}

/// Attention without a cache.
#[derive(Debug, Clone, PartialEq)]
pub struct Attention {
    /// Multiplies the scores.
    pub scale: f32,
    /// `softcap · tanh(score / softcap)` before the softmax, when given.
    pub softcap: Option<f32>,
    /// Row `i` sees rows `0..=i` of its segment only.
    pub causal: bool,
    /// Where segments start and end (first 0, last the number of rows); rows attend within their segment. Empty:
    /// one segment.
    pub segments: Arc<[u32]>,
}

/// Attention over a sequence's key-value cache.
#[derive(Debug, Clone, PartialEq)]
pub struct CachedAttention {
    /// Which cache: the decoder layer's number.
    pub layer: u32,
    /// Multiplies the scores.
    pub scale: f32,
    /// As in [`Attention`].
    pub softcap: Option<f32>,
    /// A row at position `p` sees positions greater than `p - window` only.
    pub window: Option<u32>,
    /// Values are the first so many elements of each key, stored once with it (latent attention, arXiv:2405.04434).
    pub value_dim: Option<u32>,
}

/// What a cache of keys and values holds for each token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CachedHeads {
    /// Heads of keys and of values.
    pub kv_heads: usize,
    /// Elements of a key.
    pub dim: usize,
    /// Elements of a value.
    pub value_dim: usize,
    /// Values are not stored: they are the first elements of the keys.
    pub latent: bool,
}

impl CachedHeads {
    /// Elements of a token's keys and of its values that are stored, of each head.
    pub fn stored_dims(&self) -> [usize; 2] {
        [self.dim, if self.latent { 0 } else { self.value_dim }]
    }
}

/// A 2-D window over `[batch, height, width, channels]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Height and width of the window (pooling; a convolution takes them from its kernel).
    pub size: [u32; 2],
    /// Steps down and right.
    pub stride: [u32; 2],
    /// Zeros added on both sides, above/below and left/right.
    pub padding: [u32; 2],
}

/// One operation. Inputs are listed in the node; attributes here.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// The program's input of this number.
    Input(u32),
    /// Token ids of the batch: `[tokens]`, int.
    Tokens,
    /// Positions of the batch: `[axes, tokens]`, int.
    Positions,
    /// The mark of this number in [`crate::recorder::BatchShape::marks`]: `[tokens]`, int.
    Mark(u32),
    /// 1 at rows that hold an image feature: `[tokens]`, int.
    ImageMask,
    /// States that cross attention reads, of the sequences that bring new ones: `[context, hidden]`.
    Context,
    /// 1 at rows that see any context: `[tokens]`, int.
    ContextMask,
    /// Fixed floats, with the node's shape.
    Floats(Arc<[f32]>),
    /// Fixed integers, with the node's shape.
    Ints(Arc<[i32]>),
    /// One float everywhere.
    Full(f32),
    /// A weight used as a tensor.
    Weight(WeightId),

    /// Element by element.
    Unary(Unary),
    /// Element by element, two operands.
    Binary(Binary),
    /// `x · scale + shift`
    ScaleShift {
        /// Multiplies.
        scale: f32,
        /// Is added.
        shift: f32,
    },
    /// `min(max(x, low), high)`
    Clamp {
        /// The least result.
        low: f32,
        /// The greatest result.
        high: f32,
    },
    /// Second operand where the first (int) is not 0, else the third; broadcast.
    Select,
    /// To floats.
    ToFloat,
    /// To integers, towards zero.
    ToInt,

    /// `x Wᵀ + b`: `[.., in]` to `[.., out]`.
    Linear(WeightId),
    /// A matrix `[heads · size, in]` as one of `[size, in]` a head: x `[tokens, heads, in]` to `[tokens, heads, size]`, or, transposed,
    /// `[tokens, heads, size]` to `[tokens, heads, in]`.
    LinearHeads {
        /// The matrix; no bias is added.
        weight: WeightId,
        /// How many heads.
        heads: usize,
        /// The transposed matrix of each head.
        transposed: bool,
    },
    /// `a b`, or `a bᵀ`: `[.., m, k]` with `[.., k, n]`; leading dimensions broadcast.
    MatMul {
        /// The right operand is `[.., n, k]`.
        transpose_right: bool,
    },
    /// Rows of the table: int `[..]` to `[.., hidden]`.
    Embed(WeightId),
    /// Each row through the experts chosen for it: x `[tokens, in]` or `[tokens, k, in]`, indices `[tokens, k]`, to
    /// `[tokens, k, out]`.
    ExpertLinear(WeightId),

    /// `x / √(mean(x²) + eps) · (weight + offset)` over the last dimension, arXiv:1910.07467; inputs x, weight?
    RmsNorm {
        /// Added to the mean of squares.
        epsilon: f32,
        /// Added to the weight (1 for checkpoints that store it around zero).
        offset: f32,
    },
    /// `(x - mean) / √(variance + eps) · weight + bias` over the last dimension, arXiv:1607.06450; inputs x, weight,
    /// bias?
    LayerNorm {
        /// Added to the variance.
        epsilon: f32,
    },
    /// Over the last dimension.
    Softmax,
    /// Over the listed dimensions.
    Reduce {
        /// How elements combine.
        reduction: Reduction,
        /// Which dimensions, ascending.
        axes: Vec<usize>,
        /// They stay, with size 1.
        keep: bool,
    },
    /// Indices of the `k` largest along the last dimension, largest first, lowest index first among equals; int.
    TopK {
        /// How many.
        k: usize,
    },
    /// `x[.., indices[.., j]]`: leading dimensions equal.
    GatherLast,

    /// The same elements in the node's shape.
    Reshape,
    /// Dimension `i` of the result is dimension `axes[i]` of the operand.
    Permute(Vec<usize>),
    /// Elements `start, start + step, ..` before `end` along one dimension.
    Slice {
        /// Which dimension.
        axis: usize,
        /// First index.
        start: usize,
        /// One past the last index.
        end: usize,
        /// Distance between indices.
        step: usize,
    },
    /// The operands one after another along one dimension.
    Concat {
        /// Which dimension.
        axis: usize,
    },
    /// Repeated to the node's shape as NumPy broadcasting does.
    Broadcast,
    /// `value` before and after along one dimension.
    Pad {
        /// Which dimension.
        axis: usize,
        /// How many before.
        before: usize,
        /// How many after.
        after: usize,
        /// What is put there.
        value: f32,
    },
    /// `x[indices]` along the first dimension; indices of any shape.
    TakeRows,
    /// A copy of x `[n, ..]` in which row `indices[i]` is `rows[i]`; inputs x, indices `[m]`, rows `[m, ..]`.
    PutRows,

    /// Inputs x `[batch, height, width, in]`, kernel `[out, in / groups, kh, kw]`, bias?; to `[batch, h, w, out]`.
    Conv2d {
        /// Steps and zeros; the size is the kernel's.
        window: Window,
        /// Channel groups; `groups = in` is a depthwise convolution.
        groups: usize,
    },
    /// Windows of `[batch, height, width, channels]`; padding does not count in an average.
    Pool2d {
        /// How elements combine.
        pooling: Pooling,
        /// The window.
        window: Window,
    },
    /// `[batch, height, width, channels]` to another height and width.
    Interpolate {
        /// New height and width.
        size: [usize; 2],
        /// How values between samples are found.
        method: Interpolation,
        /// Corner samples coincide (otherwise pixel areas do).
        align_corners: bool,
        /// When shrinking, widen the filter so that every sample counts.
        antialias: bool,
    },

    /// q `[tokens, heads, dim]`, k `[tokens, kv_heads, dim]`, v `[tokens, kv_heads, value_dim]`, to
    /// `[tokens, heads, value_dim]`; a leading batch dimension on all three is allowed.
    Attention(Attention),
    /// x `[tokens, heads, dim]` (or `[batch, tokens, heads, dim]`), positions `[axes, tokens]`.
    Rope(Arc<Rope>),

    /// x `[tokens, hidden]` with the rows of image slots replaced by features of this set.
    SpliceFeatures {
        /// Which of the tensors that `encode` returned.
        set: u32,
    },
    /// x `[tokens, hidden]` with features of this set added at the rows of image slots.
    AddFeatures {
        /// Which of the tensors that `encode` returned.
        set: u32,
    },
    /// The rows of x whose logits the host wants: `[tokens, ..]` to `[wanted, ..]`.
    SelectLogits,
    /// Appends k and v to the cache of each row's sequence and attends to it; shapes as [`Op::Attention`]. With
    /// [`CachedAttention::value_dim`] no v comes.
    Attend(CachedAttention),
    /// q `[tokens, heads, dim]` attends to a cache that an earlier [`Op::Attend`] of the program has filled; nothing is stored.
    AttendShared(CachedAttention, CachedHeads),
    /// q attends to the context; inputs q, and k and v `[context, kv_heads, dim]` where the batch brings new context
    /// (they are stored for later steps).
    CrossAttend(CachedAttention),
    /// Causal depthwise convolution over each sequence, its last rows kept as state: inputs x `[tokens, channels]`,
    /// kernel `[channels, taps]`, bias?
    ShortConv {
        /// Which state: the decoder layer's number.
        layer: u32,
    },
    /// The gated delta rule along each sequence (arXiv:2412.06464), its state kept: inputs q and k `[tokens, heads, key dim]`, v
    /// `[tokens, value heads, value dim]`, gate and beta `[tokens, value heads]`, to `[tokens, value heads, value dim]`.
    Recurrent {
        /// Which state: the decoder layer's number.
        layer: u32,
    },
}

impl Op {
    /// Whether two operations are the same, bit for bit where they hold numbers: nothing is unlike itself.
    pub fn is_same(&self, other: &Self) -> bool {
        let bits = |a: &[f32], b: &[f32]| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
        };
        match (self, other) {
            _ if self == other => true,
            (Self::Floats(a), Self::Floats(b)) => bits(a, b),
            (Self::Full(a), Self::Full(b)) => bits(&[*a], &[*b]),
            (Self::Rope(a), Self::Rope(b)) => {
                bits(&a.frequencies, &b.frequencies)
                    && bits(&[a.scale], &[b.scale])
                    && a.axes == b.axes
                    && a.pairing == b.pairing
            }
            (Self::Floats(_) | Self::Full(_) | Self::Rope(_), _) => false,
            // What is left holds few numbers, which are written as they are, and not-a-number as `NaN`.
            _ => {
                std::mem::discriminant(self) == std::mem::discriminant(other)
                    && format!("{self:?}") == format!("{other:?}")
            }
        }
    }

    /// Bytes of what it holds by itself: constants, angles, segments.
    pub fn held_bytes(&self) -> usize {
        self.facts().numbers.saturating_mul(4)
    }
}
