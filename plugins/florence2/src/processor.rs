//! Prompts, pixels, places in answers.

use std::cell::Cell;

use monocle_plugin::AnswerPart;
use monocle_plugin::decoders::BartConfig;
use monocle_plugin::prelude::*;

use crate::config::VisionConfig;
use crate::regions;
use crate::tasks::{self, Places};

/// What was said, for repositories without a template: they have none.
const TEMPLATE: &str = "{% for message in messages %}{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content \
                        %}{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}{% endif %}{% endfor %}";

/// The rules of `preprocessor_config.json`; what it leaves out is as in the published repositories.
pub struct Florence2Processor {
    squash: Squash,
    features: u32,
    /// Stands at features in the list of ids.
    image_token: u32,
    /// Of answers and regions.
    tokens: Vec<u32>,
    /// What answers begin with.
    start: Vec<u32>,
    longest: u32,
    banned: Vec<String>,
    places: Cell<Places>,
}

impl Processor for Florence2Processor {
    type Picture = Size;

    fn configure(files: &ModelFiles) -> Result<Self> {
        let config = files.config()?;
        let text = config.section("text_config")?;
        let squash = Squash::read(
            &files.preprocessor()?,
            768,
            Filter::Bicubic,
            Normalisation::imagenet(),
        )?;
        let vision = VisionConfig::read(&config)?;
        let bart = BartConfig::read(&text)?;
        let forced: Option<u32> = files.generation()?.or(&text).find("forced_bos_token_id")?;
        let grounding = files
            .processor()?
            .section("post_processor_config")?
            .section("phrase_grounding")?;
        Ok(Self {
            squash,
            features: vision.patches(squash.size.height)? * vision.patches(squash.size.width)? + 1,
            image_token: config.get_or("image_token_id", text.get_or("pad_token_id", 1)?)?,
            tokens: tokenizer::add(&tasks::tokens(), true),
            start: [Some(bart.decoder_start_token_id), forced]
                .into_iter()
                .flatten()
                .collect(),
            longest: bart.max_position_embeddings,
            banned: grounding.get_or("banned_grounding_tokens", vec![])?,
            places: Cell::default(),
        })
    }

    fn picture(&self, size: Size) -> Result<Size> {
        Ok(size)
    }

    fn plan(&self, request: &Request, pictures: &[Size]) -> Result<Plan> {
        ensure!(
            pictures.len() == 1,
            "Florence-2 answers about one picture; the request has {}",
            pictures.len()
        );
        let turns = request.messages.len();
        ensure!(
            turns == 1,
            "Florence-2 does one task at a time; the request has {turns} messages"
        );
        let (asked, places) = tasks::sentence(prompt::render(request, Some(TEMPLATE))?.trim())?;
        self.places.set(places);
        let words = tokenizer::encode(&format!("<s>{asked}</s>"));
        let tokens = self.features + words.len() as u32;
        ensure!(
            tokens <= self.longest,
            "the prompt has {tokens} tokens with the picture's, the model reads {}",
            self.longest
        );
        let begin = vec![Piece::Tokens(self.start.clone())];
        let mut plan = Plan::new(&asked, begin, vec![self.squash.plan(self.features)]).with_encoder(vec![
            Piece::medium(0, self.features, self.image_token),
            Piece::Tokens(words),
        ]);
        plan.keep_tokens = self.tokens.clone();
        Ok(plan)
    }

    fn pixels(&self, _picture: &Size, image: &Image) -> Result<Vec<Pixels>> {
        Ok(self.squash.pixels(image))
    }

    fn parts(&self, answer: &str, pictures: &[Size]) -> Vec<AnswerPart> {
        let read = |size: &Size| regions::read(answer, self.places.get(), *size, &self.banned);
        pictures.first().map(read).unwrap_or_default()
    }
}
