//! BART (arXiv:1910.13461) as transformers' `modeling_bart.py` has it, whose encoder reads pictures before the words: the tests' example of
//! an encoder-decoder. `tests/oracle/make_encoder_decoder.py` makes the checkpoint.

use monocle_plugin::decoders::{self, CrossAttention, Layer, Residual, Step};
use monocle_plugin::prelude::*;
use monocle_plugin::{Content, Mark, Part};

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
    type Picture = ();

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

    fn picture(&self, _size: Size) -> Result<()> {
        Ok(())
    }

    fn plan(&self, request: &Request, pictures: &[()]) -> Result<Plan> {
        let text = words(&request.messages);
        let ids = tokenizer::encode(&text);
        let picture = |number| Piece::medium(number, self.features, self.vocabulary - 1);
        let mut pieces: Vec<Piece> = (0..pictures.len() as u32).map(picture).collect();
        let kinds = [
            vec![1; pictures.len() * self.features as usize],
            vec![0; ids.len()],
        ]
        .concat();
        pieces.push(Piece::Tokens(ids));
        let medium = MediumPlan::whole(Size::square(self.side), self.features);
        let begin = vec![Piece::Tokens(vec![self.start])];
        let mut plan = Plan::new(&text, begin, vec![medium; pictures.len()]).with_encoder(pieces);
        plan.encoder.as_mut().context("there is an encoder")?.marks = vec![Mark {
            name: KIND.to_owned(),
            values: kinds,
            generated: 0,
        }];
        Ok(plan)
    }

    fn pixels(&self, _picture: &(), image: &Image) -> Result<Vec<Pixels>> {
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
    picture: Conv2d,
    kinds: Embedding,
    words: Embedding,
    encoder: Side,
    decoder: Side,
    head: Linear,
}

/// The encoder or the decoder.
struct Side {
    positions: Embedding,
    norm: Norm,
    layers: Vec<Layer>,
}

impl Network for Bart {
    fn load(files: &ModelFiles) -> Result<Self> {
        let (config, root) = (files.config()?, Weights::root());
        let side = |name: &str| {
            let heads = config.get("encoder_attention_heads")?;
            let layers = config.get(&format!("{name}_layers"))?;
            Side::load(&root.at("model").at(name), layers, heads)
        };
        let patch: u32 = config.get("picture_patch")?;
        Ok(Self {
            picture: Conv2d::patches(&root.at("picture"), patch)?,
            kinds: root.embedding("kinds"),
            words: root.embedding("model.shared"),
            encoder: side("encoder")?,
            decoder: side("decoder")?,
            head: root.linear("lm_head"),
        })
    }

    fn encode(&self, pixels: &[Tensor], _layout: &[u32]) -> Result<Vec<Tensor>> {
        let features = self.picture.forward(&pixels[0])?; // [1, rows, columns, hidden]
        Ok(vec![features.flatten(0, 2)])
    }

    fn encode_prompt(&self, batch: &Batch) -> Result<Tensor> {
        let x = batch.splice_features(&self.words.forward(&batch.ids()), 0); // [tokens, hidden]
        let x = x + self.kinds.forward(&batch.mark(KIND));
        Ok(self.encoder.forward(x, batch))
    }

    fn forward(&self, batch: &Batch) -> Result<Tensor> {
        let x = self.decoder.forward(self.words.forward(&batch.ids()), batch);
        Ok(self.head.forward(&batch.select_logits(&x)))
    }
}

impl Side {
    fn load(place: &Weights, layers: u32, heads: u32) -> Result<Self> {
        let layers = (0..layers).map(|number| layer(&place.at("layers").at(number), number, heads));
        Ok(Self {
            positions: place.embedding("embed_positions"),
            norm: place.norm("layernorm_embedding", 1e-5),
            layers: layers.collect::<Result<_>>()?,
        })
    }

    fn forward(&self, x: Tensor, batch: &Batch) -> Tensor {
        let step = Step::new(batch);
        let positions = step.positions.flatten(0, 1) + ints(&[1], &[FIRST_POSITION]);
        let x = self.norm.forward(&(x + self.positions.forward(&positions)));
        self.layers.iter().fold(x, |x, layer| layer.forward(x, &step))
    }
}

/// A layer of the decoder where it has attention to the encoder, else one of the encoder.
fn layer(place: &Weights, number: u32, heads: u32) -> Result<Layer> {
    let norm = |name: &str| place.norm(name, 1e-5);
    let attention = |name: &str| Attention::load(&place.at(name), heads, 1e-5);
    let (own, own_norm) = (attention("self_attn")?, norm("self_attn_layer_norm"));
    let mlp = Residual::post_norm(Mlp::load(place, Activation::Gelu), norm("final_layer_norm"));
    if !place.has("encoder_attn.q_proj.weight") {
        return Ok(Layer::new(vec![Residual::post_norm(own, own_norm), mlp]));
    }
    let other = CrossAttention::new(attention("encoder_attn")?, number);
    Ok(Layer::new(vec![
        Residual::post_norm(decoders::Attention::plain(own, number), own_norm),
        Residual::post_norm(other, norm("encoder_attn_layer_norm")),
        mlp,
    ]))
}

monocle_plugin::export_model!(Reader, Bart, model_types: ["encoder-decoder-of-tests"]);
