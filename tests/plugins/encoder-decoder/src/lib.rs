//! BART, whose encoder reads pictures before the words: the tests' example of
//! an encoder-decoder. `tests/oracle/make_encoder_decoder.py` makes the checkpoint.

use monocle_plugin::decoders::{Bart, BartConfig};
use monocle_plugin::prelude::*;
use monocle_plugin::{Content, Mark, Part};

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

struct Model {
    picture: Conv2d,
    kinds: Embedding,
    language: Bart,
}

impl Network for Model {
    fn load(files: &ModelFiles) -> Result<Self> {
        let (config, root) = (files.config()?, Weights::root());
        Ok(Self {
            picture: Conv2d::patches(&root.at("picture"), config.get("picture_patch")?)?,
            kinds: root.embedding("kinds"),
            language: Bart::load(&root.at("model"), &BartConfig::read(&config)?)?,
        })
    }

    fn encode(&self, pixels: &[Tensor], _layout: &[u32]) -> Result<Vec<Tensor>> {
        let features = self.picture.forward(&pixels[0])?; // [1, rows, columns, hidden]
        Ok(vec![features.flatten(0, 2)])
    }

    fn encode_prompt(&self, batch: &Batch) -> Result<Tensor> {
        let x = batch.splice_features(&self.language.embed(batch), 0); // [tokens, hidden]
        let x = x + self.kinds.forward(&batch.mark(KIND));
        Ok(self.language.encode(x, batch))
    }

    fn forward(&self, batch: &Batch) -> Result<Tensor> {
        Ok(self.language.forward(batch))
    }
}

monocle_plugin::export_model!(Reader, Model, model_types: ["encoder-decoder-of-tests"]);
