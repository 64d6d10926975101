//! How a picture is cut: `image_preprocessing_molmo.py` of the published repository. Crops share margins of patches, which are left out again once
//! patches are pooled two by two.

use monocle_plugin::prelude::*;

/// The rules of `preprocessor_config.json`; what it leaves out is as in the published code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// A crop's side in pixels.
    pub side: u32,
    pub patch: u32,
    pub most: u32,
    /// Patches at the left and upper border of a crop, and at the right and lower.
    pub margins: [u32; 2],
}

/// What becomes of a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cut {
    pub grid: Grid,
    /// Its size within the crops, and within the overview.
    pub inside: Size,
    pub overview: Size,
}

impl Rules {
    /// Reads them.
    pub fn read(rules: &Section) -> Result<Self> {
        let [height, width] = rules.get_or("base_image_input_size", [336, 336])?;
        let read = Self {
            side: height,
            patch: rules.get_or("image_patch_size", 14)?,
            most: rules.get_or("max_crops", 12)?,
            margins: rules.get_or("overlap_margins", [4, 4])?,
        };
        let [left, right] = read.margins;
        let fits = width == height
            && read.patch > 0
            && read.most > 0
            && read.side.is_multiple_of(read.patch)
            && left.is_multiple_of(2)
            && left + right < read.patches();
        ensure!(
            fits,
            "the sizes in `preprocessor_config.json` do not fit together: {read:?}"
        );
        Ok(read)
    }

    /// Patches along a side of a crop.
    pub fn patches(&self) -> u32 {
        self.side / self.patch
    }

    /// Pooled patches along a side of a crop.
    pub fn pooled(&self) -> u32 {
        self.patches().div_ceil(2)
    }

    /// Pixels from one crop to the next.
    pub fn step(&self) -> u32 {
        self.side - self.border()
    }

    fn border(&self) -> u32 {
        (self.margins[0] + self.margins[1]) * self.patch
    }

    /// The size of all crops together.
    pub fn canvas(&self, grid: Grid) -> Size {
        Size::new(
            grid.columns * self.step() + self.border(),
            grid.rows * self.step() + self.border(),
        )
    }

    /// Of `count` crops beside each other, which pooled patches of the crop of this number are kept.
    pub fn kept(&self, number: u32, count: u32) -> (u32, u32) {
        let [left, right] = self.margins;
        let first = if number == 0 { 0 } else { left / 2 };
        let mut patches = self.patches() - left - right;
        patches += if number == 0 { left } else { 0 };
        patches += if number + 1 == count { right } else { 0 };
        (first, first + patches.div_ceil(2))
    }

    /// Features beside each other of so many crops.
    pub fn features(&self, count: u32) -> u32 {
        (0..count)
            .map(|number| {
                let (first, end) = self.kept(number, count);
                end - first
            })
            .sum()
    }

    /// How a picture of this size is cut.
    pub fn cut(&self, size: Size) -> Cut {
        let border = i64::from(self.border());
        let grid = self.grid(i64::from(size.height) - border, i64::from(size.width) - border);
        Cut {
            grid,
            inside: fitted(size, self.canvas(grid)),
            overview: fitted(size, Size::square(self.side)),
        }
    }

    /// The grid that needs the least enlargement of a picture of this height and width, else the least shrinking; 32-bit floats as in the original,
    /// which divides by what may be 0 or less.
    fn grid(&self, height: i64, width: i64) -> Grid {
        let mut grids: Vec<Grid> = Grid::up_to(self.most).collect();
        grids.sort_by_key(|grid| (grid.tiles(), grid.rows));
        let scale = |grid: &Grid| {
            let part = |count: u32, side: i64| (count * self.step()) as f32 / side as f32;
            part(grid.rows, height).min(part(grid.columns, width))
        };
        let scales: Vec<f32> = grids.iter().map(scale).collect();
        let shrinks = scales.iter().all(|&scale| scale < 1.0);
        let cost = |scale: f32| match (shrinks, scale < 1.0) {
            (true, _) => -scale,
            (false, true) => 10e9,
            (false, false) => scale,
        };
        let mut best = 0;
        for (number, &scale) in scales.iter().enumerate() {
            if cost(scale) < cost(scales[best]) {
                best = number;
            }
        }
        grids[best]
    }
}

/// A picture's size when it fits into this one, proportions kept; 32-bit floats as in the original. No side is less than a pixel.
fn fitted(size: Size, into: Size) -> Size {
    let (width, height) = (size.width as f32, size.height as f32);
    let scale = (into.height as f32 / height).min(into.width as f32 / width);
    let scaled = |side: f32| ((side * scale) as u32).max(1);
    Size::new(scaled(width), scaled(height))
}

/// Where a picture of this size begins when it lies in the middle of a larger one: left and above.
pub fn corner(inside: Size, canvas: Size) -> [u32; 2] {
    [
        (canvas.width - inside.width) / 2,
        (canvas.height - inside.height) / 2,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISHED: Rules = Rules {
        side: 336,
        patch: 14,
        most: 12,
        margins: [4, 4],
    };

    #[test]
    fn crops_are_those_of_the_original() {
        // By make_molmo.py, which runs the original's functions.
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/oracle/molmo/sizes.json");
        let golden: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let cases = golden["cases"].as_array().unwrap();
        assert!(cases.len() > 9);
        for case in cases {
            let pair = |key: &str| [0, 1].map(|index: usize| case[key][index].as_u64().unwrap() as u32);
            let [width, height] = pair("size");
            let cut = PUBLISHED.cut(Size::new(width, height));
            assert_eq!(
                [cut.grid.columns, cut.grid.rows],
                pair("crops"),
                "{width} by {height}"
            );
            assert_eq!(
                [cut.inside.width, cut.inside.height],
                pair("inside"),
                "{width} by {height}"
            );
            let features = PUBLISHED.features(cut.grid.columns) * PUBLISHED.features(cut.grid.rows);
            assert_eq!(
                u64::from(144 + features),
                case["features"].as_u64().unwrap(),
                "{width} by {height}"
            );
        }
    }

    #[test]
    fn margins_are_left_out_where_crops_meet() {
        // Three crops of 12 pooled patches whose margins are 2 of them: 10, 8 and 10.
        assert_eq!(
            [0, 1, 2].map(|number| PUBLISHED.kept(number, 3)),
            [(0, 10), (2, 10), (2, 12)]
        );
        assert_eq!(PUBLISHED.kept(0, 1), (0, 12));
        assert_eq!(PUBLISHED.features(3), 28);
    }
}
