//! Prompts and pixels.

use monocle_plugin::prelude::*;

use crate::tiling::{Rules, Tiling};

const IMAGE: &str = "<image>";

/// For folders without a chat template.
const TEMPLATE: &str = "<|startoftext|>{% for message in messages %}<|im_start|>{{ message.role }}\n\
    {% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}\
    {% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}\
    {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// The rules of `preprocessor_config.json`.
pub struct Lfm2VlProcessor {
    rules: Rules,
    pixels: PixelRules,
}

impl Processor for Lfm2VlProcessor {
    type Picture = Tiling;

    fn configure(files: &ModelFiles) -> Result<Self> {
        let rules = files.preprocessor()?;
        let mut pixels = PixelRules::read(&rules, Filter::Bilinear, Normalisation::half())?;
        if pixels.filter == Filter::Bilinear {
            // The reference processor knows torchvision only, whose bilinear filter is not quite Pillow's.
            pixels.filter = Filter::TorchBilinear;
        }
        Ok(Self {
            rules: Rules::read(&rules, &files.config()?)?,
            pixels,
        })
    }

    fn picture(&self, size: Size) -> Result<Tiling> {
        Ok(self.rules.tiling(size))
    }

    fn plan(&self, request: &Request, pictures: &[Tiling]) -> Result<Plan> {
        let media = pictures.iter().map(|tiling| self.medium(tiling)).collect();
        let prompt = Prompt::of(IMAGE).fallback(TEMPLATE).render(request)?;
        let plan = prompt.plan(media, |index, _| expansion(&self.rules, &pictures[index]))?;
        // The template's end of a turn.
        Ok(plan.stop_at(&["<|im_end|>"]))
    }

    fn pixels(&self, tiling: &Tiling, image: &Image) -> Result<Vec<Pixels>> {
        let (grid, side) = (tiling.grid, self.rules.tile);
        let mut pixels = vec![];
        if grid.tiles() > 0 {
            let cut = self.pixels.resize(image, grid.size(side));
            pixels.push(self.pixels.stack(&cut.tiles(grid, side)));
        }
        if self.rules.seen_whole(tiling) {
            pixels.push(self.pixels.stack(&[self.pixels.resize(image, tiling.whole)]));
        }
        Ok(pixels)
    }
}

impl Lfm2VlProcessor {
    fn medium(&self, tiling: &Tiling) -> MediumPlan {
        let (rules, tiles) = (&self.rules, tiling.grid.tiles());
        let whole = MediumPlan::whole(tiling.whole, rules.whole_features(tiling));
        if tiles == 0 {
            return whole;
        }
        let used = tiling.grid.size(rules.tile);
        let mut plan = MediumPlan::tiles(used, tiles, rules.tile, tiles * rules.tile_features());
        if rules.overview {
            plan.pieces += 1;
            plan.tensors.extend(whole.tensors);
            plan.features += whole.features;
        }
        plan
    }
}

/// What stands in the prompt for a picture: each tile after its row and column, and the overview.
pub fn expansion(rules: &Rules, tiling: &Tiling) -> String {
    let features = |count: u32| IMAGE.repeat(count as usize);
    let Grid { columns, rows } = tiling.grid;
    let mut text = "<|image_start|>".to_owned();
    for row in 1..=rows {
        for column in 1..=columns {
            text += &format!("<|img_row_{row}_col_{column}|>");
            text += &features(rules.tile_features());
        }
    }
    if rows > 0 && rules.overview {
        text += "<|img_thumbnail|>";
    }
    if rules.seen_whole(tiling) {
        text += &features(rules.whole_features(tiling));
    }
    text + "<|image_end|>"
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
        whole: [u32; 2],
        features: u32,
        /// What stands in the prompt, less the features.
        text: String,
    }

    #[test]
    fn plans_are_those_of_transformers() {
        let text = include_str!("../../../tests/oracle/lfm2_vl/plans.json");
        let cases: Vec<Case> = serde_json::from_str(text).unwrap();
        let processor = Lfm2VlProcessor::configure(&ModelFiles {
            config: "{}".to_owned(),
            preprocessor: None,
            processor: None,
            generation: None,
            options: "{}".to_owned(),
        })
        .unwrap();
        for case in cases {
            let place = format!("{:?}", case.size);
            let [width, height] = case.size;
            let tiling = processor.rules.tiling(Size { width, height });
            let grid = (tiling.grid.columns.max(1), tiling.grid.rows.max(1));
            assert_eq!(grid, (case.columns, case.rows), "{place}");
            assert_eq!([tiling.whole.width, tiling.whole.height], case.whole, "{place}");
            assert_eq!(processor.medium(&tiling).features, case.features, "{place}");
            let expanded = expansion(&processor.rules, &tiling);
            assert_eq!(expanded.matches(IMAGE).count() as u32, case.features, "{place}");
            assert_eq!(expanded.replace(IMAGE, ""), case.text, "{place}");
        }
    }
}
