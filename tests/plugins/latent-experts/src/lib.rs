//! DeepSeek-V3's decoder (arXiv:2412.19437; `modeling_deepseek_v3.py` in transformers) as the guest crate's parts make it, on words alone: the tests'
//! example of latent attention and experts. `tests/oracle/make_latent_experts.py` makes the checkpoints.

use monocle_plugin::decoders::Layer;
use monocle_plugin::nn::{LatentAttention, LatentConfig, Mixture, MixtureConfig};
use monocle_plugin::prelude::*;

struct Words;

impl Processor for Words {
    type Picture = ();

    fn configure(_files: &ModelFiles) -> Result<Self> {
        Ok(Self)
    }

    fn picture(&self, _size: Size) -> Result<()> {
        Err(Error::new("this model looks at no pictures"))
    }

    fn plan(&self, request: &Request, _pictures: &[()]) -> Result<Plan> {
        let said = request.messages.iter();
        let text: String = said
            .map(|message| message.content.as_string(|_| String::new()))
            .collect();
        let ids = tokenizer::encode(&text);
        Ok(Plan::new(&text, vec![Piece::Tokens(ids)], vec![]))
    }

    fn pixels(&self, _picture: &(), _image: &Image) -> Result<Vec<Pixels>> {
        Err(Error::new("this model looks at no pictures"))
    }
}

struct Latent(Decoder);

impl Network for Latent {
    fn load(files: &ModelFiles) -> Result<Self> {
        let config = files.config()?;
        let (latent, experts) = (LatentConfig::read(&config)?, MixtureConfig::read(&config)?);
        let dense: u32 = config.get("first_k_dense_replace")?;
        let text = LlamaConfig::read(&config)?;
        let layer = |place: &Weights, number: u32| {
            let attention = LatentAttention::load(&place.at("self_attn"), &latent, number)?;
            let mlp = place.at("mlp");
            Ok(match number < dense {
                true => Layer::normed(place, &text, attention, Mlp::load(&mlp, text.hidden_act)),
                false => Layer::normed(
                    place,
                    &text,
                    attention,
                    Mixture::load(&mlp, text.hidden_act, &experts),
                ),
            })
        };
        Ok(Self(Decoder::with_layers(
            &Weights::root().at("model"),
            &text,
            layer,
        )?))
    }

    fn encode(&self, _pixels: &[Tensor], _layout: &[u32]) -> Result<Vec<Tensor>> {
        Err(Error::new("this model looks at no pictures"))
    }

    fn decoder(&self) -> Option<&Decoder> {
        Some(&self.0)
    }
}

monocle_plugin::export_model!(Words, Latent, model_types: ["latent-experts-of-tests"]);
