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
    filter: Filter,
    normalisation: Normalisation,
    tilings: Vec<Tiling>,
}

impl Processor for Lfm2VlProcessor {
    fn configure(files: &ModelFiles) -> Result<Self> {
        let (rules, config) = (files.preprocessor()?, files.config()?);
        // The reference processor knows torchvision only, whose bilinear filter is not quite Pillow's.
        let filter = match Filter::read(&rules, Filter::Bilinear)? {
            Filter::Bilinear => Filter::TorchBilinear,
            other => other,
        };
        Ok(Self {
            rules: Rules::read(&rules, &config)?,
            filter,
            normalisation: Normalisation::read(&rules, Normalisation::half())?,
            tilings: vec![],
        })
    }

    fn plan(&mut self, request: &Request) -> Result<Plan> {
        let sizes = request.pictures()?;
        let tiling = |size: &Size| Ok(self.rules.tiling(size.checked()?));
        self.tilings = sizes.iter().map(tiling).collect::<Result<_>>()?;
        let text = prompt::render_with_pictures(request, Some(TEMPLATE), &[IMAGE], IMAGE)?;
        let image = prompt::Placeholder::find(IMAGE)?;
        let expansion = |index: usize, _| expansion(&self.rules, &self.tilings[index]);
        let expanded = prompt::expand(&text, &image, &sizes, expansion)?;
        let pictures = self.tilings.iter().map(|tiling| self.picture(tiling));
        let mut plan = prompt::plan(text, &expanded, &image, pictures.collect())?;
        // The template's end of a turn.
        plan.stop_tokens.extend(tokenizer::find("<|im_end|>"));
        Ok(plan)
    }

    fn pixels(&mut self, index: usize, image: &Image) -> Result<Vec<Pixels>> {
        let tiling = self.tilings.get(index);
        let Tiling { columns, rows, whole } = *tiling.context("pixels of a picture that was not planned")?;
        let stacked = |views: &[&Image]| stack(views, self.normalisation, Layout::ChannelsLast);
        let mut pixels = vec![];
        if rows > 0 {
            let side = self.rules.tile;
            let cut = image.resize(columns * side, rows * side, self.filter);
            let corner = |index: u32| (index * side) as i32;
            let tiles = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
            let tiles: Vec<Image> = tiles
                .map(|(row, column)| cut.crop(corner(column), corner(row), side, side))
                .collect();
            pixels.push(stacked(&tiles.iter().collect::<Vec<_>>()));
        }
        if rows == 0 || self.rules.overview {
            pixels.push(stacked(&[&image.resize(whole.width, whole.height, self.filter)]));
        }
        Ok(pixels)
    }
}

impl Lfm2VlProcessor {
    fn picture(&self, tiling: &Tiling) -> MediumPlan {
        let Tiling { columns, rows, whole } = *tiling;
        let (side, tiles) = (self.rules.tile, rows * columns);
        let seen_whole = tiles == 0 || self.rules.overview;
        let mut plan = MediumPlan {
            used: whole,
            pieces: tiles + u32::from(seen_whole),
            tensors: vec![],
            layout: vec![],
            features: tiles * self.rules.tile_features(),
        };
        if tiles > 0 {
            plan.used = Size {
                width: columns * side,
                height: rows * side,
            };
            plan.tensors.push(vec![tiles, side, side, 3]);
        }
        if seen_whole {
            plan.tensors.push(vec![1, whole.height, whole.width, 3]);
            plan.features += self.rules.whole_features(tiling);
        }
        plan
    }
}

/// What stands in the prompt for a picture: each tile after its row and column, and the overview.
pub fn expansion(rules: &Rules, tiling: &Tiling) -> String {
    let features = |count: u32| IMAGE.repeat(count as usize);
    let mut text = "<|image_start|>".to_owned();
    for row in 1..=tiling.rows {
        for column in 1..=tiling.columns {
            text += &format!(
                "<|img_row_{row}_col_{column}|>{}",
                features(rules.tile_features())
            );
        }
    }
    if tiling.rows > 0 && rules.overview {
        text += "<|img_thumbnail|>";
    }
    if tiling.rows == 0 || rules.overview {
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
            let grid = (tiling.columns.max(1), tiling.rows.max(1));
            assert_eq!(grid, (case.columns, case.rows), "{place}");
            assert_eq!([tiling.whole.width, tiling.whole.height], case.whole, "{place}");
            assert_eq!(processor.picture(&tiling).features, case.features, "{place}");
            let expanded = expansion(&processor.rules, &tiling);
            assert_eq!(expanded.matches(IMAGE).count() as u32, case.features, "{place}");
            assert_eq!(expanded.replace(IMAGE, ""), case.text, "{place}");
        }
    }
}
