//! Prompts and pixels.

use monocle_plugin::prelude::*;

use crate::config::Geometry;
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
    pixels: PixelRules,
    tokens_per_tile: u32,
}

impl Processor for SmolVlmProcessor {
    type Picture = Tiling;

    fn configure(files: &ModelFiles) -> Result<Self> {
        let rules = files.preprocessor()?;
        let tile: u32 = rules.section("max_image_size")?.get_or("longest_edge", 364)?;
        Ok(Self {
            target: Target::read(&rules)?,
            tile,
            split: rules.get_or("do_image_splitting", true)?,
            pixels: PixelRules::read(&rules, Filter::Lanczos, Normalisation::half())?,
            tokens_per_tile: Geometry::read(&files.config()?)?.tokens_per_tile(tile)?,
        })
    }

    fn picture(&self, size: Size) -> Result<Tiling> {
        Ok(Tiling::new(size, self.target, self.tile, self.split))
    }

    fn plan(&self, request: &Request, pictures: &[Tiling]) -> Result<Plan> {
        let media = pictures.iter().map(|tiling| {
            let features = tiling.tiles() * self.tokens_per_tile;
            MediumPlan::tiles(tiling.cut, tiling.tiles(), self.tile, features)
        });
        let prompt = Prompt::of(IMAGE).render(request)?;
        let plan = prompt.plan(media.collect(), |index, _| {
            expansion(&pictures[index], self.tokens_per_tile)
        })?;
        Ok(plan.stop_at(&[END]))
    }

    fn pixels(&self, tiling: &Tiling, image: &Image) -> Result<Vec<Pixels>> {
        let first = self.pixels.resize(image, tiling.first);
        let cut = self.pixels.resize(&first, tiling.cut);
        let mut views = cut.tiles(tiling.grid, self.tile);
        views.push(self.pixels.resize(&cut, Size::square(self.tile)));
        Ok(vec![self.pixels.stack(&views)])
    }
}

/// What stands in the prompt for a picture: each tile after its row and column, a line for each row of them, the overview.
pub fn expansion(tiling: &Tiling, tokens_per_tile: u32) -> String {
    let features = IMAGE.repeat(tokens_per_tile as usize);
    let Grid { columns, rows } = tiling.grid;
    let mut text = String::new();
    for row in 1..=rows {
        for column in 1..=columns {
            text += &format!("{AROUND}<row_{row}_col_{column}>{features}");
        }
        text += "\n";
    }
    if rows > 0 {
        text += "\n";
    }
    text + &format!("{AROUND}{GLOBAL}{features}{AROUND}")
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
                grid: Grid { columns, rows },
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
        assert_eq!(
            (processor.split, processor.pixels.filter),
            (true, Filter::Lanczos)
        );
        assert_eq!(processor.pixels.normalisation, Normalisation::half());
        assert_eq!(processor.tokens_per_tile, 169);
    }

    #[test]
    fn rules_given_are_followed() {
        let rules = r#"{"do_resize": false, "do_image_splitting": false, "resample": 3, "do_normalize": false,
                        "rescale_factor": 0.5, "max_image_size": {"longest_edge": 384}}"#;
        let config = r#"{"scale_factor": 3, "vision_config": {"patch_size": 14}}"#;
        let processor = configure(config, Some(rules)).unwrap();
        assert_eq!(
            (processor.target, processor.split, processor.pixels.filter),
            (Target::Keep, false, Filter::Bicubic)
        );
        assert_eq!(
            processor.pixels.normalisation,
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
