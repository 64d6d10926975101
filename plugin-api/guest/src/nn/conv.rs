//! The convolution that cuts a picture into patches.

use crate::weights::{self, Parameter};
use crate::{Context, Error, Result, Tensor, Window};

/// Patches of a picture as rows: `[n, height, width, 3]` to `[n, height / patch, width / patch, hidden]`; what does not fill
/// a patch at the right and lower edge is left out.
pub struct PatchEmbedding {
    kernel: Parameter,
    bias: Option<Parameter>,
    patch: u32,
    channels_last: bool,
}

impl PatchEmbedding {
    /// `NAME.weight` and, where it exists, `NAME.bias` `[hidden]`. The kernel is `[hidden, 3, patch, patch]` as PyTorch stores
    /// it, or `[hidden, patch, patch, 3]` as MLX does.
    pub fn load(name: &str, patch: u32) -> Result<Self> {
        let kernel = weights::parameter(&format!("{name}.weight"));
        let shape = kernel.shape();
        let channels_last = match shape.as_slice() {
            [_, 3, height, width] if (*height, *width) == (patch, patch) => false,
            [_, height, width, 3] if (*height, *width) == (patch, patch) => true,
            _ => {
                return Err(Error::new(format_args!(
                    "`{name}.weight` has shape {shape:?}, expected [hidden, 3, {patch}, {patch}]"
                )));
            }
        };
        let bias = format!("{name}.bias");
        let bias = weights::has(&bias).then(|| weights::parameter(&bias));
        Ok(Self {
            kernel,
            bias,
            patch,
            channels_last,
        })
    }

    /// Embeds the patches.
    pub fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        let [_, height, width, _] = pixels.dimensions("the pixel tensor")?;
        let fits = height >= self.patch && width >= self.patch;
        fits.then_some(()).context(format_args!(
            "a picture of {width} by {height} pixels holds no patch of {}",
            self.patch
        ))?;
        let kernel = self.kernel.value();
        let kernel = if self.channels_last {
            kernel.permute(&[0, 3, 1, 2])
        } else {
            kernel
        };
        let bias = self.bias.as_ref().map(Parameter::value);
        let side = (self.patch, self.patch);
        let window = Window {
            size: side,
            stride: side,
            padding: (0, 0),
        };
        Ok(pixels.conv2d(&kernel, bias.as_ref(), window, 1))
    }
}
