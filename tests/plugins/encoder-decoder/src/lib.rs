//! BART (arXiv:1910.13461) as transformers' `modeling_bart.py` has it, whose encoder reads pictures before the words: the tests' example of
//! an encoder-decoder. `tests/oracle/make_encoder_decoder.py` makes the checkpoint.

use monocle_plugin::nn::{Activation, LayerNorm, Mlp};
use monocle_plugin::prelude::*;
use monocle_plugin::weights::{Embedding, Linear, Parameter};
use monocle_plugin::{
    AttentionScheme, CachedAttention, Content, EncoderPlan, FeatureUse, Mark, Part, Piece, PositionScheme,
    Slot, Window, ints,
};

/// Positions begin here in BART's tables.
const FIRST_POSITION: i32 = 2;
/// 1 at tokens of pictures.
const KIND: &str = "kind";

struct Reader {
    side: u32,
    features: u32,
    start: u32,
    vocabulary: u32,
}

impl Processor for Reader {
    fn configure(files: &ModelFiles) -> Result<Self> {
        let config = files.config()?;
        let (side, patch): (u32, u32) = (config.get("picture_side")?, config.get("picture_patch")?);
        Ok(Self {
            side,
            features: (side / patch).pow(2),
            start: config.get("decoder_start_token_id")?,
            vocabulary: config.get("vocab_size")?,
        })
    }

    fn plan(&mut self, request: &Request) -> Result<Plan> {
        let sizes = request.pictures()?;
        let text = words(&request.messages);
        let ids = tokenizer::encode(&text);
        let slots = (0..sizes.len() as u32).map(|image| {
            Piece::Features(Slot {
                medium: image,
                offset: 0,
                tokens: self.features,
                token_id: self.vocabulary - 1,
            })
        });
        let mut kinds = vec![1; sizes.len() * self.features as usize];
        kinds.extend(vec![0; ids.len()]);
        let picture = MediumPlan {
            used: Size::square(self.side),
            pieces: 1,
            tensors: vec![vec![1, self.side, self.side, 3]],
            layout: vec![],
            features: self.features,
        };
        Ok(Plan {
            text,
            pieces: vec![Piece::Tokens(vec![self.start])],
            media: vec![picture; sizes.len()],
            encoder: Some(EncoderPlan {
                pieces: slots.chain([Piece::Tokens(ids)]).collect(),
                positions: PositionScheme::Sequential,
                marks: vec![Mark {
                    name: KIND.to_owned(),
                    values: kinds,
                    generated: 0,
                }],
            }),
            positions: PositionScheme::Sequential,
            marks: vec![],
            attention: AttentionScheme::Causal,
            feature_use: FeatureUse::Splice,
            stop_tokens: vec![],
            keep_tokens: vec![],
        })
    }

    fn pixels(&mut self, _index: usize, image: &Image) -> Result<Vec<Pixels>> {
        let whole = image.resize(self.side, self.side, Filter::Bicubic);
        Ok(vec![stack(
            &[&whole],
            Normalisation::half(),
            Layout::ChannelsLast,
        )])
    }
}

fn words(messages: &[Message]) -> String {
    let parts = messages.iter().flat_map(|message| match &message.content {
        Content::Text(text) => vec![text.as_str()],
        Content::Parts(parts) => parts.iter().filter_map(text).collect(),
    });
    parts.collect::<Vec<_>>().join(" ")
}

fn text(part: &Part) -> Option<&str> {
    match part {
        Part::Text(text) => Some(text),
        _ => None,
    }
}

struct Bart {
    picture: [Parameter; 2],
    kinds: Embedding,
    words: Embedding,
    encoder: Side,
    decoder: Side,
    head: Linear,
}

/// The encoder or the decoder.
struct Side {
    positions: Embedding,
    norm: LayerNorm,
    layers: Vec<Layer>,
}

struct Layer {
    own: Attention,
    own_norm: LayerNorm,
    other: Option<(Attention, LayerNorm)>,
    mlp: Mlp,
    mlp_norm: LayerNorm,
}

struct Attention {
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    heads: u32,
    layer: u32,
}

impl Network for Bart {
    fn load(files: &ModelFiles) -> Result<Self> {
        let config = files.config()?;
        let heads = config.get("encoder_attention_heads")?;
        Ok(Self {
            picture: ["weight", "bias"].map(|part| weights::parameter(&format!("picture.{part}"))),
            kinds: weights::embedding("kinds"),
            words: weights::embedding("model.shared"),
            encoder: Side::load("model.encoder", config.get("encoder_layers")?, heads),
            decoder: Side::load("model.decoder", config.get("decoder_layers")?, heads),
            head: weights::linear("lm_head"),
        })
    }

    fn encode(&self, pixels: &[Tensor], _layout: &[u32]) -> Result<Vec<Tensor>> {
        let [kernel, bias] = self.picture.each_ref().map(Parameter::value);
        let [hidden, _, height, width] = kernel.dimensions("the kernel")?;
        let window = Window {
            size: (height, width),
            stride: (height, width),
            padding: (0, 0),
        };
        let features = pixels[0].conv2d(&kernel, Some(&bias), window, 1); // [1, rows, columns, hidden]
        let count = features.dimension(1) * features.dimension(2);
        Ok(vec![features.reshape(&[count, hidden])])
    }

    fn encode_prompt(&self, batch: &Batch) -> Result<Tensor> {
        let x = batch.splice_features(&self.words.forward(&batch.ids()), 0); // [tokens, hidden]
        let x = x + self.kinds.forward(&batch.mark(KIND));
        let mut x = self.encoder.begin(x, batch);
        for layer in &self.encoder.layers {
            let [q, k, v] = layer.own.project(&x, &x);
            let seen = q.attention(&k, &v, &SelfAttention::of_heads(q.dimension(2)));
            x = layer.own_norm.forward(&(x + layer.own.merge(&seen)));
            x = layer.feed(x);
        }
        Ok(x)
    }

    fn forward(&self, batch: &Batch) -> Result<Tensor> {
        let mut x = self.decoder.begin(self.words.forward(&batch.ids()), batch);
        let context = batch.new_context();
        for layer in &self.decoder.layers {
            let [q, k, v] = layer.own.project(&x, &x);
            let seen = batch.attend(&q, &k, Some(&v), layer.own.cached(&q));
            x = layer.own_norm.forward(&(x + layer.own.merge(&seen)));
            let (other, norm) = layer.other.as_ref().context("a decoder's layer reads context")?;
            let q = other.split(&other.q.forward(&x));
            let new = context
                .as_ref()
                .map(|context| [&other.k, &other.v].map(|part| other.split(&part.forward(context))));
            let [k, v] = [0, 1].map(|index| new.as_ref().map(|new| &new[index]));
            let seen = batch.cross_attend(&q, k, v, other.cached(&q));
            x = norm.forward(&(x + other.merge(&seen)));
            x = layer.feed(x);
        }
        Ok(self.head.forward(&batch.select_logits(&x)))
    }
}

impl Side {
    fn load(name: &str, layers: u32, heads: u32) -> Self {
        Self {
            positions: weights::embedding(&format!("{name}.embed_positions")),
            norm: LayerNorm::load(&format!("{name}.layernorm_embedding"), 1e-5),
            layers: (0..layers)
                .map(|layer| Layer::load(&format!("{name}.layers.{layer}"), layer, heads))
                .collect(),
        }
    }

    fn begin(&self, x: Tensor, batch: &Batch) -> Tensor {
        let positions = batch.positions().reshape(&[batch.tokens()]) + ints(&[1], &[FIRST_POSITION]);
        self.norm.forward(&(x + self.positions.forward(&positions)))
    }
}

impl Layer {
    fn load(name: &str, layer: u32, heads: u32) -> Self {
        let norm = |part: &str| LayerNorm::load(&format!("{name}.{part}"), 1e-5);
        let attention = |part: &str| Attention::load(&format!("{name}.{part}"), layer, heads);
        let reads = weights::has(&format!("{name}.encoder_attn.q_proj.weight"));
        Self {
            own: attention("self_attn"),
            own_norm: norm("self_attn_layer_norm"),
            other: reads.then(|| (attention("encoder_attn"), norm("encoder_attn_layer_norm"))),
            mlp: Mlp::load(&format!("{name}.fc1"), Activation::Gelu, &format!("{name}.fc2")),
            mlp_norm: norm("final_layer_norm"),
        }
    }

    fn feed(&self, x: Tensor) -> Tensor {
        self.mlp_norm.forward(&(&x + self.mlp.forward(&x)))
    }
}

impl Attention {
    fn load(name: &str, layer: u32, heads: u32) -> Self {
        let linear = |part: &str| weights::linear(&format!("{name}.{part}"));
        Self {
            q: linear("q_proj"),
            k: linear("k_proj"),
            v: linear("v_proj"),
            out: linear("out_proj"),
            heads,
            layer,
        }
    }

    /// `[tokens, hidden]` to `[tokens, heads, dim]`.
    fn split(&self, x: &Tensor) -> Tensor {
        x.reshape(&[x.dimension(0), self.heads, x.dimension(1) / self.heads])
    }

    fn project(&self, x: &Tensor, context: &Tensor) -> [Tensor; 3] {
        [(&self.q, x), (&self.k, context), (&self.v, context)].map(|(part, x)| self.split(&part.forward(x)))
    }

    fn merge(&self, seen: &Tensor) -> Tensor {
        let [tokens, heads, dim] = [0, 1, 2].map(|axis| seen.dimension(axis));
        self.out.forward(&seen.reshape(&[tokens, heads * dim]))
    }

    fn cached(&self, q: &Tensor) -> CachedAttention {
        CachedAttention {
            layer: self.layer,
            scale: 1.0 / (q.dimension(2) as f32).sqrt(),
            softcap: None,
            window: None,
            value_dim: None,
        }
    }
}

monocle_plugin::export_model!(Reader, Bart, model_types: ["encoder-decoder-of-tests"]);
