//! How a request becomes tokens, and pictures become pixels.

use monocle_plugin::prelude::*;

/// What the model's files say.
pub struct OneSquare {
    squash: Squash,
    features: u32,
}

impl Processor for OneSquare {
    /// What is kept of each picture between its plan and its pixels: nothing, as all are treated alike.
    type Picture = ();

    fn configure(files: &ModelFiles) -> Result<Self> {
        files.options()?.only(&[])?;
        let (config, rules) = (files.config()?, files.preprocessor()?);
        let side: u32 = rules.section("max_image_size")?.get("longest_edge")?;
        let patch: u32 = config.section("vision_config")?.get("patch_size")?;
        let packed: u32 = config.get("scale_factor")?;
        let pixels = PixelRules::read(&rules, Filter::Lanczos, Normalisation::half())?;
        Ok(Self {
            squash: Squash {
                size: Size::square(side),
                pixels,
            },
            features: features(side, patch, packed)?,
        })
    }

    fn picture(&self, _size: Size) -> Result<()> {
        Ok(())
    }

    fn plan(&self, request: &Request, pictures: &[()]) -> Result<Plan> {
        let media = vec![self.squash.plan(self.features); pictures.len()];
        Prompt::of("<image>").render(request)?.plan(media, |_, features| {
            format!("<fake_token_around_image><global-img>{features}<fake_token_around_image>")
        })
    }

    fn pixels(&self, _picture: &(), image: &Image) -> Result<Vec<Pixels>> {
        Ok(self.squash.pixels(image))
    }
}

/// How many features a square has: patches, packed by squares of `packed` a side.
fn features(side: u32, patch: u32, packed: u32) -> Result<u32> {
    let a_feature = patch.checked_mul(packed).filter(|&size| size > 0);
    let per_side = a_feature.and_then(|size| side.checked_div(size));
    let features = per_side.and_then(|count| count.checked_pow(2));
    features.filter(|&features| features > 0).context(format_args!(
        "pictures of {side} pixels have no features of {packed} x {packed} patches of {patch} pixels"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_packed_patches() {
        // 96 / 12 = 8 patches a side, packed two by two: 4 x 4.
        assert_eq!(features(96, 12, 2).unwrap(), 16);
        assert!(features(96, 0, 2).is_err());
        assert!(features(8, 12, 2).is_err());
    }
}
