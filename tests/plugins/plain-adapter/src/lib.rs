//! An adapter in one screen. It borrows the forward pass of a model whose vision tower takes square pictures, and asks it in another
//! way: no chat template, one line of text, each picture whole; and what the model says comes out on one line.
//!
//! Options: `tokens`, how many features the model makes of a picture; `ask`, what stands before the user's words; `thing`, a picture's
//! number and a rectangle in it, which the adapter says every answer is
//! about; `add`, special tokens that the tokenizer lacks.

use monocle_plugin::prelude::*;
use monocle_plugin::{AnswerPart, AnswerRectangle, Content, Part, Place};

struct Plain {
    side: u32,
    tokens: u32,
    ask: String,
    /// Medium and corners.
    thing: Option<(u32, [f32; 4])>,
}

impl Processor for Plain {
    type Picture = ();

    fn configure(files: &ModelFiles) -> Result<Self> {
        let options = files.options()?.only(&["tokens", "ask", "thing", "add"])?;
        if let Some(tokens) = options.find::<Vec<String>>("add")? {
            log::info(&format!(
                "added {:?}, the beginning is {:?}",
                tokenizer::add(&tokens, true),
                tokenizer::beginning()
            ));
        }
        Ok(Self {
            side: files.config()?.section("vision_config")?.get("image_size")?,
            tokens: options.get("tokens")?,
            ask: options.get_or("ask", "Question: ".to_owned())?,
            thing: options.find("thing")?,
        })
    }

    fn picture(&self, _size: Size) -> Result<()> {
        Ok(())
    }

    fn plan(&self, request: &Request, pictures: &[()]) -> Result<Plan> {
        let mut prompt = Prompt::of("<image>");
        let (marks, words) = ("<image>".repeat(pictures.len()), words(&request.messages));
        prompt.text = format!("{marks}{}{words} Answer:", self.ask);
        let picture = MediumPlan::whole(Size::square(self.side), self.tokens);
        prompt.plan(vec![picture; pictures.len()], |_, features| features)
    }

    fn pixels(&self, _picture: &(), image: &Image) -> Result<Vec<Pixels>> {
        let whole = image.resize(self.side, self.side, Filter::Lanczos);
        Ok(vec![stack(
            &[&whole],
            Normalisation::half(),
            Layout::ChannelsLast,
        )])
    }

    fn output(&mut self, text: &str, _last: bool) -> String {
        text.replace(char::is_control, " ")
    }

    fn parts(&self, answer: &str, _pictures: &[()]) -> Vec<AnswerPart> {
        let Some((medium, [left, top, right, bottom])) = self.thing else {
            return vec![];
        };
        let rectangle = AnswerPart::Rectangle(AnswerRectangle {
            medium,
            label: Some(answer.to_owned()),
            upper_left: Place { x: left, y: top },
            lower_right: Place { x: right, y: bottom },
        });
        vec![AnswerPart::Text("Here:".to_owned()), rectangle]
    }
}

/// What the user says, all turns together.
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
        Part::Medium(_) => None,
    }
}

monocle_plugin::export_adapter!(Plain, model_types: [], filters_output: true, answers_parts: true);
