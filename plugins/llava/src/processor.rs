//! Prompts and pixels.

use std::cell::Cell;

use monocle_plugin::prelude::*;

use crate::config::{Vision, is_mistral};
use crate::tiling::Anyres;

const IMAGE: &str = "<image>";
/// A picture in a message that is one string, as the original code writes it.
const IN_TEXT: &str = "<image>\n";

/// For folders without a chat template: that of LLaVA-1.5, on Vicuna.
const VICUNA: &str = "{% for message in messages %}{% if message.role != 'system' %}{{ message.role | upper + ': ' }}{% endif %}\
    {% if message.content is string %}{{ message.content + ' ' }}{% else %}\
    {% for part in message.content if part.type == 'image' %}<image>\n{% endfor %}\
    {% for part in message.content if part.type == 'text' %}{{ part.text + ' ' }}{% endfor %}{% endif %}{% endfor %}\
    {% if add_generation_prompt %}ASSISTANT:{% endif %}";

/// As above, of LLaVA-1.6 on Mistral.
const MISTRAL: &str = "{% for message in messages %}{% if message.role == 'user' %}[INST] {% elif message.role == 'assistant' %} \
    {% endif %}{% if message.content is string %}{{ message.content }}{% else %}\
    {% for part in message.content if part.type == 'image' %}<image>\n{% endfor %}\
    {% for part in message.content if part.type == 'text' %}{{ part.text }}{% endfor %}{% endif %}\
    {% if message.role == 'user' %} [/INST]{% elif message.role == 'assistant' %}</s> {% else %}\n\n{% endif %}{% endfor %}";

/// As above, of LLaVA-OneVision on Qwen.
const QWEN: &str = "{% for message in messages %}{{ '<|im_start|>' + message.role + ' ' }}\
    {% if message.content is string %}{{ '\n' + message.content }}{% else %}\
    {% for part in message.content if part.type == 'image' %}<image>{% endfor %}\
    {% for part in message.content if part.type == 'text' %}{{ '\n' + part.text }}{% endfor %}{% endif %}<|im_end|>{% endfor %}\
    {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// The rules of `preprocessor_config.json`, and how many features a square of pixels becomes.
pub struct LlavaProcessor {
    resize: Resize,
    side: u32,
    pixels: PixelRules,
    features: u32,
    patches: u32,
    /// Sizes that pictures are fitted into before they are cut (LLaVA-1.6 and later).
    sizes: Option<Vec<Size>>,
    /// Features of at most so many tiles; and of several pictures, none is cut (LLaVA-OneVision).
    most: Option<u32>,
    several: Cell<bool>,
    fallback: &'static str,
}

/// The size a picture gets before its middle is cut out.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Resize {
    ShortestEdge(u32),
    Exactly(Size),
}

/// What is done with one picture.
pub enum Cut {
    /// It is resized, and its middle is cut out.
    Middle(Size),
    /// It is seen whole and in tiles.
    Tiles(Anyres),
}

impl Processor for LlavaProcessor {
    type Picture = Cut;

    fn configure(files: &ModelFiles) -> Result<Self> {
        let (rules, config) = (files.preprocessor()?, files.config()?);
        let vision = Vision::read(&config)?;
        let resize = Resize::read(&rules, vision.is_siglip)?;
        let side = side(&rules, resize)?;
        let trained = vision.config.image_size;
        ensure!(
            side == trained,
            "`crop_size` in `preprocessor_config.json` is {side} pixels, but the vision tower takes pictures of {trained}"
        );
        Ok(Self {
            resize,
            side,
            pixels: PixelRules::read(&rules, Filter::Bicubic, Normalisation::clip())?,
            features: vision.features(),
            patches: vision.config.patches_per_side(),
            sizes: vision
                .tiled
                .then(|| sizes(&rules, &config, &vision, side))
                .transpose()?,
            most: vision.most,
            several: Cell::new(false),
            fallback: match (vision.is_siglip, is_mistral(&config)?) {
                (true, _) => QWEN,
                (false, true) => MISTRAL,
                (false, false) => VICUNA,
            },
        })
    }

    fn picture(&self, size: Size) -> Result<Cut> {
        Ok(match &self.sizes {
            Some(sizes) => Cut::Tiles(Anyres::new(size, sizes, self.side, self.patches, self.most)),
            None => Cut::Middle(self.resize.size(size)?),
        })
    }

    fn plan(&self, request: &Request, pictures: &[Cut]) -> Result<Plan> {
        self.several.set(self.most.is_some() && pictures.len() > 1);
        let media = pictures.iter().map(|cut| match cut {
            // And a newline.
            _ if self.several.get() => MediumPlan::whole(Size::square(self.side), self.features + 1),
            Cut::Middle(_) => MediumPlan::whole(Size::square(self.side), self.features),
            Cut::Tiles(anyres) => {
                let (tiles, features) = (1 + anyres.grid.tiles(), self.features + anyres.features());
                MediumPlan::tiles(anyres.fitted, tiles, self.side, features).with_layout(anyres.layout())
            }
        });
        let prompt = Prompt::of(IMAGE).in_text(IN_TEXT).fallback(self.fallback);
        let plan = prompt
            .render(request)?
            .plan(media.collect(), |_, features| features)?;
        Ok(match self.most {
            Some(_) => plan.stop_at(&["<|im_end|>"]),
            None => plan,
        })
    }

    fn pixels(&self, cut: &Cut, image: &Image) -> Result<Vec<Pixels>> {
        let side = self.side;
        let resize = |size: Size| self.pixels.resize(image, size);
        let views = match cut {
            _ if self.several.get() => {
                let square = square(image, self.pixels.normalisation.mean);
                vec![self.pixels.resize(&square, Size::square(side))]
            }
            Cut::Middle(size) => {
                let before = |length: u32| (i64::from(length) - i64::from(side)).div_euclid(2) as i32;
                vec![resize(*size).crop(before(size.width), before(size.height), side, side)]
            }
            Cut::Tiles(Anyres {
                fitted, padded, grid, ..
            }) => {
                let before = |all: u32, picture: u32| -(((all - picture) / 2) as i32);
                let (left, top) = (
                    before(padded.width, fitted.width),
                    before(padded.height, fitted.height),
                );
                // A crop that goes beyond the picture pads it with black.
                let picture = resize(*fitted).crop(left, top, padded.width, padded.height);
                let mut views = vec![resize(Size::square(side))];
                views.extend(picture.tiles(*grid, side));
                views
            }
        };
        Ok(vec![self.pixels.stack(&views)])
    }
}

impl Resize {
    fn read(rules: &Section, is_siglip: bool) -> Result<Self> {
        let mut size = rules.section("size")?;
        if is_siglip && !rules.has("size") {
            size = size.with_defaults([("width", 384.into()), ("height", 384.into())]);
        }
        Ok(
            match (
                size.find("shortest_edge")?,
                size.find("width")?,
                size.find("height")?,
            ) {
                (Some(edge), _, _) => Self::ShortestEdge(edge),
                (None, Some(width), Some(height)) => Self::Exactly(Size { width, height }.checked()?),
                _ => Self::ShortestEdge(224),
            },
        )
    }

    /// As `get_resize_output_image_size` of transformers has it.
    fn size(self, Size { width, height }: Size) -> Result<Size> {
        let short = match self {
            Self::Exactly(size) => return Ok(size),
            Self::ShortestEdge(short) => short,
        };
        let longer = u64::from(short) * u64::from(width.max(height)) / u64::from(width.min(height));
        let long = u32::try_from(longer).ok().context(format_args!(
            "a picture of {width} by {height} pixels is too long to be resized to {short} pixels at its shorter side"
        ))?;
        Ok(match width <= height {
            true => Size::new(short, long),
            false => Size::new(long, short),
        })
    }
}

/// The side of the square that is cut out of a resized picture.
fn side(rules: &Section, resize: Resize) -> Result<u32> {
    let crop = rules.section("crop_size")?;
    let resized = match resize {
        Resize::ShortestEdge(edge) => edge,
        Resize::Exactly(size) => size.height,
    };
    let (height, width) = (crop.get_or("height", resized)?, crop.get_or("width", resized)?);
    ensure!(
        height == width && height > 0,
        "`crop_size` in `preprocessor_config.json` is {width} by {height}, expected a square"
    );
    Ok(height)
}

/// A picture in the middle of a square of the mean colour.
fn square(image: &Image, mean: (f32, f32, f32)) -> Image {
    let Size { width, height } = image.size();
    let side = width.max(height);
    let (left, top) = ((side - width) / 2, (side - height) / 2);
    let (right, bottom) = (side - width - left, side - height - top);
    let [red, green, blue] = [mean.0, mean.1, mean.2].map(|mean| (f64::from(mean) * 255.0) as u8);
    image.pad(left, top, right, bottom, red, green, blue)
}

/// `image_grid_pinpoints`, heights first; what neither file gives is as in transformers' `LlavaNextConfig` or `LlavaOnevisionConfig`.
fn sizes(rules: &Section, config: &Section, vision: &Vision, tile: u32) -> Result<Vec<Size>> {
    let key = "image_grid_pinpoints";
    let default = match vision.is_siglip {
        true => (6..42)
            .map(|place| [place / 6 * 384, (place % 6 + 1) * 384])
            .collect(),
        false => vec![[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]],
    };
    let sizes: Vec<[u32; 2]> = rules.clone().or(config).get_or(key, default)?;
    let fits = |side: &u32| *side > 0 && side.is_multiple_of(tile);
    ensure!(
        !sizes.is_empty() && sizes.as_flattened().iter().all(fits),
        "`{key}` is {sizes:?}, expected sizes that are multiples of the tile's {tile} pixels"
    );
    let sizes = sizes.iter().map(|&[height, width]| Size { width, height });
    Ok(sizes.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Case {
        size: [u32; 2],
        resized: [u32; 2],
    }

    fn configure(config: &str, preprocessor: &str) -> Result<LlavaProcessor> {
        LlavaProcessor::configure(&ModelFiles {
            config: config.to_owned(),
            preprocessor: Some(preprocessor.to_owned()),
            processor: None,
            generation: None,
            options: "{}".to_owned(),
        })
    }

    fn size_of(width: u32, height: u32) -> Size {
        Size { width, height }
    }

    fn refusal(config: &str, preprocessor: &str) -> String {
        configure(config, preprocessor).err().unwrap().to_string()
    }

    #[test]
    fn shorter_sides_are_those_of_transformers() {
        let text = include_str!("../../../tests/oracle/llava/plans.json");
        let cases: Vec<Case> = serde_json::from_str(text).unwrap();
        let size = |[width, height]: [u32; 2]| Size { width, height };
        for case in cases {
            let resized = Resize::ShortestEdge(336).size(size(case.size)).unwrap();
            assert_eq!(resized, size(case.resized), "{:?}", case.size);
        }
        assert!(Resize::ShortestEdge(336).size(size([1, u32::MAX])).is_err());
    }

    #[test]
    fn rules_left_out_are_the_reference_s() {
        // transformers 5.23: LlavaConfig's own vision tower, LlavaNextConfig's pinpoints.
        let rules = r#"{"size": {"shortest_edge": 336}}"#;
        let processor = configure("{}", rules).unwrap();
        assert_eq!(
            (processor.features, processor.patches, processor.side),
            (576, 24, 336)
        );
        assert_eq!(processor.pixels.normalisation, Normalisation::clip());
        assert_eq!(
            (processor.pixels.filter, processor.sizes),
            (Filter::Bicubic, None)
        );
        let one_vision = configure(r#"{"model_type": "llava_onevision"}"#, "{}").unwrap();
        let sizes = one_vision.sizes.unwrap();
        assert_eq!(
            (one_vision.side, one_vision.patches, one_vision.most),
            (384, 27, Some(9))
        );
        assert_eq!(
            (sizes.len(), sizes[1], sizes[35]),
            (36, size_of(768, 384), size_of(2304, 2304))
        );
        let tiled = configure(r#"{"model_type": "llava_next"}"#, rules).unwrap();
        assert_eq!(
            tiled.sizes.unwrap()[0],
            Size {
                width: 672,
                height: 336
            }
        );
    }

    #[test]
    fn class_tokens_are_kept_where_the_config_says_so() {
        let rules = r#"{"size": {"shortest_edge": 336}}"#;
        let full = configure(r#"{"vision_feature_select_strategy": "full"}"#, rules).unwrap();
        assert_eq!(full.features, 577);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let error = refusal("{}", r#"{"size": {"shortest_edge": 224}}"#);
        assert!(error.contains("224 pixels") && error.contains("336"), "{error}");
        let error = refusal(r#"{"vision_config": {"model_type": "pixtral"}}"#, "{}");
        assert!(error.contains("`pixtral`"), "{error}");
        let next = r#"{"model_type": "llava_next", "image_grid_pinpoints": [[336, 500]]}"#;
        let error = refusal(next, r#"{"size": {"shortest_edge": 336}}"#);
        assert!(error.contains("multiples of the tile's 336"), "{error}");
        let other = r#"{"model_type": "llava_onevision", "vision_aspect_ratio": "pad"}"#;
        let error = refusal(other, "{}");
        assert!(error.contains("`pad`"), "{error}");
        let error = refusal(r#"{"vision_feature_select_strategy": "class"}"#, "{}");
        assert!(error.contains("`class`"), "{error}");
    }
}
