//! Prompts and pixels.

use monocle_plugin::config::Section;
use monocle_plugin::prelude::*;

use crate::model::Geometry;
use crate::tiling::{Target, Tiling};

const IMAGE: &str = "<image>";
const AROUND: &str = "<fake_token_around_image>";
const GLOBAL: &str = "<global-img>";
/// Ends each turn; the configurations of some conversions name the tokenizer's own end token only.
const END: &str = "<end_of_utterance>";

/// The rules of `preprocessor_config.json`, and how many tokens a tile takes.
pub struct SmolVlmProcessor {
    target: Target,
    tile: u32,
    split: bool,
    filter: Filter,
    normalisation: Normalisation,
    tokens_per_tile: u32,
    tilings: Vec<Tiling>,
}

impl Processor for SmolVlmProcessor {
    fn configure(files: &ModelFiles) -> Result<Self> {
        let rules = files.preprocessor()?;
        let tile: u32 = rules.section("max_image_size")?.get_or("longest_edge", 364)?;
        let geometry = Geometry::read(&files.config()?)?;
        Ok(Self {
            target: target(&rules)?,
            tile,
            split: rules.get_or("do_image_splitting", true)?,
            filter: Filter::read(&rules, Filter::Lanczos)?,
            normalisation: Normalisation::read(&rules, Normalisation::half())?,
            tokens_per_tile: geometry.tokens_per_tile(tile)?,
            tilings: vec![],
        })
    }

    fn plan(&mut self, request: &Request) -> Result<Plan> {
        let sizes = request.pictures()?;
        let tiling = |size: &Size| Ok(Tiling::new(size.checked()?, self.target, self.tile, self.split));
        self.tilings = sizes.iter().map(tiling).collect::<Result<_>>()?;
        let text = prompt::render_with_pictures(request, None, &[IMAGE], IMAGE)?;
        let image = prompt::Placeholder::find(IMAGE)?;
        let expansion = |index: usize, _| expansion(&self.tilings[index], self.tokens_per_tile);
        let expanded = prompt::expand(&text, &image, &sizes, expansion)?;
        let pictures = self.tilings.iter().map(|tiling| MediumPlan {
            used: tiling.cut,
            pieces: tiling.tiles(),
            tensors: vec![vec![tiling.tiles(), self.tile, self.tile, 3]],
            layout: vec![],
            features: tiling.tiles() * self.tokens_per_tile,
        });
        let mut plan = prompt::plan(text, &expanded, &image, pictures.collect())?;
        plan.stop_tokens.extend(tokenizer::find(END));
        Ok(plan)
    }

    fn pixels(&mut self, index: usize, image: &Image) -> Result<Vec<Pixels>> {
        let tiling = self
            .tilings
            .get(index)
            .context("pixels of a picture that was not planned")?;
        let Tiling {
            first,
            cut,
            rows,
            columns,
        } = *tiling;
        let resize = |image: &Image, size: Size| image.resize(size.width, size.height, self.filter);
        let cut = resize(&resize(image, first), cut);
        let side = self.tile;
        let corner = |index: u32| (index * side) as i32;
        let tiles = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
        let mut views: Vec<Image> = tiles
            .map(|(row, column)| cut.crop(corner(column), corner(row), side, side))
            .collect();
        views.push(resize(&cut, Size::square(side)));
        let views: Vec<&Image> = views.iter().collect();
        Ok(vec![stack(
            &views,
            self.normalisation,
            monocle_plugin::Layout::ChannelsLast,
        )])
    }
}

/// What stands in the prompt for a picture: each tile after its row and column, a line for each row of them, the overview.
pub fn expansion(tiling: &Tiling, tokens_per_tile: u32) -> String {
    let features = IMAGE.repeat(tokens_per_tile as usize);
    let mut text = String::new();
    for row in 1..=tiling.rows {
        for column in 1..=tiling.columns {
            text += &format!("{AROUND}<row_{row}_col_{column}>{features}");
        }
        text += "\n";
    }
    if tiling.rows > 0 {
        text += "\n";
    }
    text + &format!("{AROUND}{GLOBAL}{features}{AROUND}")
}

fn target(rules: &Section) -> Result<Target> {
    let size = rules.section("size")?;
    if !rules.get_or("do_resize", true)? {
        return Ok(Target::Keep);
    }
    match (
        size.find("longest_edge")?,
        size.find("width")?,
        size.find("height")?,
    ) {
        (Some(edge), _, _) => Ok(Target::LongestEdge(edge)),
        (None, Some(width), Some(height)) => Ok(Target::Exactly(Size { width, height }.checked()?)),
        _ => Ok(Target::LongestEdge(4 * 364)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Golden {
        expansions: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        rows: u32,
        columns: u32,
        tokens: u32,
        text: String,
    }

    #[test]
    fn prompts_are_those_of_transformers() {
        let golden: Golden =
            serde_json::from_str(include_str!("../../../tests/oracle/smolvlm/tiling.json")).unwrap();
        for Case {
            rows,
            columns,
            tokens,
            text,
        } in golden.expansions
        {
            let size = Size::square(1);
            let tiling = Tiling {
                first: size,
                cut: size,
                rows,
                columns,
            };
            assert_eq!(expansion(&tiling, tokens), text);
        }
    }

    fn configure(config: &str, preprocessor: Option<&str>) -> Result<SmolVlmProcessor> {
        SmolVlmProcessor::configure(&ModelFiles {
            config: config.to_owned(),
            preprocessor: preprocessor.map(str::to_owned),
            processor: None,
            generation: None,
            options: "{}".to_owned(),
        })
    }

    #[test]
    fn rules_left_out_are_the_reference_s() {
        // transformers 5.23: Idefics3ImageProcessorPil and Idefics3VisionConfig; 364 / 14 / 2 = 13, squared.
        let processor = configure(r#"{"vision_config": {"patch_size": 14}}"#, None).unwrap();
        assert_eq!(
            (processor.target, processor.tile),
            (Target::LongestEdge(1456), 364)
        );
        assert_eq!((processor.split, processor.filter), (true, Filter::Lanczos));
        assert_eq!(processor.normalisation, Normalisation::half());
        assert_eq!(processor.tokens_per_tile, 169);
    }

    #[test]
    fn rules_given_are_followed() {
        let rules = r#"{"do_resize": false, "do_image_splitting": false, "resample": 3, "do_normalize": false,
                        "rescale_factor": 0.5, "max_image_size": {"longest_edge": 384}}"#;
        let config = r#"{"scale_factor": 3, "vision_config": {"patch_size": 14}}"#;
        let processor = configure(config, Some(rules)).unwrap();
        assert_eq!(
            (processor.target, processor.split, processor.filter),
            (Target::Keep, false, Filter::Bicubic)
        );
        assert_eq!(
            processor.normalisation,
            Normalisation::new(0.5, [0.0; 3], [1.0; 3])
        );
        assert_eq!(processor.tokens_per_tile, 81); // 384 / 14 = 27 patches, 27 / 3 = 9
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let error = configure(r#"{"vision_config": {"patch_size": 28}}"#, None)
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("364 pixels hold 13 patches of 28"), "{error}");
        let huge = r#"{"max_image_size": {"longest_edge": 4000000000}}"#;
        let error = configure(r#"{"vision_config": {"patch_size": 1}}"#, Some(huge))
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("at most 65536 tokens"), "{error}");
    }
}
