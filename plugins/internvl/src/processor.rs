//! Prompts and pixels.

use monocle_plugin::prelude::*;

use crate::config::Config;

/// The token whose embeddings are features.
const CONTEXT: &str = "<IMG_CONTEXT>";
/// What templates of the original layout write for a picture.
const IMAGE: &str = "<image>";
/// A picture in a message that is one string, as the original code writes it.
const IN_TEXT: &str = "<image>\n";
/// Ends a turn. The original code stops there, whatever the folder's files say.
const END: &str = "<|im_end|>";
/// More tiles than this are a mistake in the config; published models have at most 40.
const MOST_TILES: u32 = 4096;

/// For folders without a chat template.
const TEMPLATE: &str = "{% for message in messages %}<|im_start|>{{ message.role }}\n\
    {% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}\
    {% if part.type == 'image' %}<image>\n{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}\
    {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// The rules of `preprocessor_config.json` and `config.json`, and how many features a tile becomes.
pub struct InternVlProcessor {
    tile: u32,
    features: u32,
    /// The least and the most tiles, the overview not counted.
    tiles: (u32, u32),
    overview: bool,
    pixels: PixelRules,
}

impl Processor for InternVlProcessor {
    type Picture = Grid;

    fn configure(files: &ModelFiles) -> Result<Self> {
        let (rules, file) = (files.preprocessor()?, files.config()?);
        let mut config = Config::read(&file)?;
        let (tiles, overview, normalisation) = match config.original {
            true => (
                original_tiles(&file)?,
                file.get_or("use_thumbnail", false)?,
                Normalisation::imagenet(),
            ),
            false => {
                config.tile = rules.section("size")?.get_or("height", 384)?;
                let tiles = (rules.get_or("min_patches", 1)?, rules.get_or("max_patches", 12)?);
                (tiles, true, Normalisation::clip())
            }
        };
        ensure!(
            (1..=MOST_TILES).contains(&tiles.1),
            "pictures may have {} tiles, expected 1 to {MOST_TILES}",
            tiles.1
        );
        Ok(Self {
            features: config.features()?,
            tile: config.tile,
            tiles,
            overview,
            pixels: PixelRules::read(&rules, Filter::Bicubic, normalisation)?,
        })
    }

    fn picture(&self, size: Size) -> Result<Grid> {
        Ok(Grid::nearest(size, self.tile, self.tiles.0, self.tiles.1))
    }

    fn plan(&self, request: &Request, pictures: &[Grid]) -> Result<Plan> {
        let media = pictures.iter().map(|grid| self.medium(*grid)).collect();
        let prompt = Prompt::of(IMAGE).feature(CONTEXT).in_text(IN_TEXT);
        let prompt = prompt.fallback(TEMPLATE).render(request)?;
        let plan = prompt.plan(media, |_, features| format!("<img>{features}</img>"))?;
        Ok(plan.stop_at(&[END]))
    }

    fn pixels(&self, grid: &Grid, image: &Image) -> Result<Vec<Pixels>> {
        let cut = self.pixels.resize(image, grid.size(self.tile));
        let mut views = cut.tiles(*grid, self.tile);
        if self.has_overview(*grid) {
            views.push(self.pixels.resize(image, Size::square(self.tile)));
        }
        Ok(vec![self.pixels.stack(&views)])
    }
}

impl InternVlProcessor {
    fn has_overview(&self, grid: Grid) -> bool {
        self.overview && grid.tiles() > 1
    }

    fn medium(&self, grid: Grid) -> MediumPlan {
        let tiles = grid.tiles() + u32::from(self.has_overview(grid));
        MediumPlan::tiles(grid.size(self.tile), tiles, self.tile, tiles * self.features)
    }
}

/// The least and the most tiles; what the file leaves out is as in the original `InternVLChatConfig`.
fn original_tiles(config: &Section) -> Result<(u32, u32)> {
    if !config.get_or("dynamic_image_size", false)? {
        return Ok((1, 1));
    }
    Ok((
        config.get_or("min_dynamic_patch", 1)?,
        config.get_or("max_dynamic_patch", 6)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Case {
        size: [u32; 2],
        columns: u32,
        rows: u32,
        tiles: u32,
    }

    fn configure(config: &str, preprocessor: &str) -> Result<InternVlProcessor> {
        InternVlProcessor::configure(&ModelFiles {
            config: config.to_owned(),
            preprocessor: Some(preprocessor.to_owned()),
            processor: None,
            generation: None,
            options: "{}".to_owned(),
        })
    }

    #[test]
    fn grids_and_tiles_are_those_of_transformers() {
        let text = include_str!("../../../tests/oracle/internvl/plans.json");
        let cases: Vec<Case> = serde_json::from_str(text).unwrap();
        let processor = configure("{}", r#"{"size": {"height": 448, "width": 448}}"#).unwrap();
        for case in cases {
            let [width, height] = case.size;
            let grid = Grid::nearest(Size { width, height }, 448, 1, 12);
            assert_eq!(grid, Grid::new(case.columns, case.rows), "{:?}", case.size);
            let plan = processor.medium(grid);
            assert_eq!(
                (plan.pieces, plan.features),
                (case.tiles, 256 * case.tiles),
                "{:?}",
                case.size
            );
        }
    }

    #[test]
    fn rules_of_the_original_layout_are_in_the_config() {
        let vision = r#""vision_config": {"image_size": 448, "patch_size": 14}, "llm_config": {}"#;
        // The old files have plain numbers for sizes, which transformers' layout has not.
        let old = r#"{"size": 448, "crop_size": 448}"#;
        let plain = configure(&format!("{{{vision}}}"), old).unwrap();
        assert_eq!(
            (plain.tiles, plain.overview, plain.features),
            ((1, 1), false, 256)
        );
        assert_eq!(plain.pixels.normalisation, Normalisation::imagenet());
        let dynamic = format!(
            r#"{{{vision}, "dynamic_image_size": true, "use_thumbnail": true, "max_dynamic_patch": 12}}"#
        );
        let dynamic = configure(&dynamic, old).unwrap();
        assert_eq!((dynamic.tiles, dynamic.overview), ((1, 12), true));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refusal = |config: &str, rules: &str| configure(config, rules).err().unwrap().to_string();
        let size = r#"{"size": {"height": 448}, "max_patches": 0}"#;
        assert!(refusal("{}", size).contains("0 tiles"));
        let error = refusal("{}", r#"{"size": {"height": 434}}"#);
        assert!(error.contains("434 pixels hold 31 patches"), "{error}");
        let error = refusal(r#"{"downsample_ratio": 0.0}"#, "{}");
        assert!(error.contains("`downsample_ratio`"), "{error}");
        let error = refusal(r#"{"vision_config": {"patch_size": [14, 7]}}"#, "{}");
        assert!(error.contains("`patch_size`"), "{error}");
    }
}
