//! What host functions do in every version of the contract and in every carrier, on the host's own types.

use monocle_image::{Filter, ImageError, Layout, Normalise, Picture, stack};

use super::contract::Rendering;
use super::error::Fault;
use super::state::{PixelTensor, State};

/// Bytes of a token that a plugin adds.
const LONGEST_TOKEN: usize = 256;
/// Bytes of a conversation for a template, of which there are some copies while it is rendered.
const LONGEST_CONVERSATION: usize = 8 << 20;
/// Bytes that each counts as besides.
const ADDED_TOKEN: usize = 16;
/// Caches that one model may name.
const LAYERS: u32 = 4096;

impl State {
    /// A picture at another size, within the limits: what it is made with counts while it is made.
    pub fn resize_image(&mut self, image: u32, size: [u32; 2], filter: Filter) -> Result<u32, Fault> {
        self.in_time()?;
        self.check_picture(size)?;
        let bytes = self.image(image)?.resize_bytes(size[0], size[1], filter);
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.take_memory(bytes)?;
        let resized = self.derive(image, size, |image| image.resize(size[0], size[1], filter));
        self.give_memory(bytes);
        resized
    }

    /// Whether a picture of this size may be held at all.
    fn check_picture(&mut self, [width, height]: [u32; 2]) -> Result<(), Fault> {
        let bytes = u128::from(width) * u128::from(height) * 3;
        if bytes > self.limits.pixel_bytes as u128 {
            return Err(Fault::Misuse(format!(
                "a picture of {width}x{height} takes more than the {} MiB that pictures may",
                self.limits.pixel_bytes >> 20
            )));
        }
        Ok(())
    }

    /// A new picture made from another, within the limits.
    pub fn derive(
        &mut self,
        image: u32,
        [width, height]: [u32; 2],
        make: impl FnOnce(&Picture) -> Result<Picture, ImageError>,
    ) -> Result<u32, Fault> {
        self.in_time()?;
        self.check_picture([width, height])?;
        match make(self.image(image)?) {
            Ok(image) => self.add_image(image),
            Err(error) => Err(Fault::Misuse(error.to_string())),
        }
    }

    /// Pictures of one size as one tensor.
    pub fn stack_images(
        &mut self,
        images: &[u32],
        normalise: &Normalise,
        layout: Layout,
    ) -> Result<u32, Fault> {
        let Some(&first) = images.first() else {
            return Err(Fault::Misuse(
                "`images.stack` needs one picture at least".to_owned(),
            ));
        };
        let (width, height) = {
            let first = self.image(first)?;
            (first.width(), first.height())
        };
        let count = images.len();
        let each = (width as usize).saturating_mul(height as usize).saturating_mul(3);
        self.take_memory(each.saturating_mul(count).saturating_mul(4))?;
        let shape = match layout {
            Layout::ChannelsLast => vec![count, height as usize, width as usize, 3],
            Layout::ChannelsFirst => vec![count, 3, height as usize, width as usize],
        };
        let mut pictures = Vec::with_capacity(count);
        for &image in images {
            let image = self.image(image)?;
            if (image.width(), image.height()) != (width, height) {
                let found = format!("{}x{}", image.width(), image.height());
                return Err(Fault::Misuse(format!(
                    "`images.stack` takes pictures of one size: the first is {width}x{height}, another {found}"
                )));
            }
            pictures.push(image);
        }
        self.in_time()?;
        let values = stack(&pictures, normalise, layout);
        self.add_pixels(PixelTensor { shape, values })
    }

    /// Refuses numbers of caches beyond the largest.
    pub fn check_layer(&mut self, layer: u32) -> Result<(), Fault> {
        if layer >= LAYERS {
            return Err(Fault::Misuse(format!(
                "cache {layer} was named; numbers below {LAYERS} are allowed"
            )));
        }
        Ok(())
    }

    /// Adds tokens to the tokenizer.
    pub fn add_tokens(&mut self, tokens: &[String], special: bool) -> Result<Vec<u32>, Fault> {
        if !self.configuring {
            return Err(Fault::Misuse(
                "`tokenizers.add` was called outside of `processor.configure`".to_owned(),
            ));
        }
        if let Some(token) = tokens
            .iter()
            .find(|token| token.is_empty() || token.len() > LONGEST_TOKEN)
        {
            return Err(Fault::Misuse(format!(
                "`tokenizers.add` got a token of {} bytes, expected 1 to {LONGEST_TOKEN}",
                token.len()
            )));
        }
        let bytes = tokens.iter().map(|token| token.len() + ADDED_TOKEN).sum();
        if let Err(error) = self.added_tokens.charge(bytes) {
            return Err(Fault::Misuse(format!("`tokenizers.add`: {error}")));
        }
        let _time = self.time();
        let added = self.services.add_tokens(tokens, special);
        self.in_time()?;
        match added {
            Ok(ids) => Ok(ids),
            Err(reason) => Err(Fault::Misuse(reason)),
        }
    }

    /// The prompt of a conversation.
    pub fn render(&mut self, rendering: &Rendering) -> Result<Result<String, String>, Fault> {
        let bytes = rendering.text_bytes();
        if bytes > LONGEST_CONVERSATION {
            return Err(Fault::Misuse(format!(
                "a conversation of {bytes} bytes for the template, more than {LONGEST_CONVERSATION}"
            )));
        }
        let _time = self.time();
        let rendered = self.services.render(rendering);
        self.in_time()?;
        if let Ok(prompt) = &rendered {
            self.check_text("the chat template's prompt", prompt)?;
        }
        Ok(rendered)
    }

    /// Refuses what would be more tokens than the model's context holds, before anything is made of it.
    fn check_text(&self, what: &str, text: &str) -> Result<(), Fault> {
        match text.len() <= self.limits.text_bytes {
            true => Ok(()),
            false => Err(Fault::Misuse(format!(
                "{what} has {} bytes, more than the {} that text for this model may have; shorten the prompt",
                text.len(),
                self.limits.text_bytes
            ))),
        }
    }

    /// Token ids of a text.
    pub fn encode_text(&mut self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, Fault> {
        self.check_text("a text for the tokenizer", text)?;
        let _time = self.time();
        let encoded = self.services.encode(text, add_special_tokens);
        self.in_time()?;
        match encoded {
            Ok(ids) => Ok(ids),
            Err(reason) => Err(Fault::Misuse(format!("the tokenizer refused a text: {reason}"))),
        }
    }
}
