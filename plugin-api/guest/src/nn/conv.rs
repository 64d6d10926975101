//! Convolutions.

use crate::weights::{Parameter, Weights};
use crate::{Batch, Error, Result, Tensor, Window, ensure};

/// A convolution over height and width: `[n, height, width, in]` to `[n, height, width, out]`.
pub struct Conv2d {
    kernel: Parameter,
    bias: Option<Parameter>,
    window: Window,
    groups: u32,
    channels_last: bool,
}

impl Conv2d {
    /// `weight` at this place, a kernel of `side` by `side`, and, where it exists, `bias` `[out]`. The kernel is
    /// `[out, in / groups, side, side]` as PyTorch stores it, or `[out, side, side, in / groups]` as MLX does (where both are possible, it is
    /// PyTorch's). Its stride is 1, there is no padding, and one group.
    pub fn load(place: &Weights, side: u32) -> Result<Self> {
        let kernel = place.parameter("weight");
        let shape = kernel.shape();
        let channels_last = match shape[..] {
            [_, _, height, width] if (height, width) == (side, side) => false,
            [_, height, width, _] if (height, width) == (side, side) => true,
            _ => {
                return Err(Error::new(format_args!(
                    "`{}` has shape {shape:?}, expected a kernel [out, in, {side}, {side}]",
                    place.name("weight")
                )));
            }
        };
        Ok(Self {
            kernel,
            bias: place.has("bias").then(|| place.parameter("bias")),
            window: Window {
                size: (side, side),
                stride: (1, 1),
                padding: (0, 0),
            },
            groups: 1,
            channels_last,
        })
    }

    /// Cuts a picture into patches of `side` by `side`: what does not fill one at the right and lower edge is left out.
    pub fn patches(place: &Weights, side: u32) -> Result<Self> {
        Ok(Self::load(place, side)?.stride(side))
    }

    /// The same with this stride, down and across.
    #[must_use]
    pub fn stride(mut self, stride: u32) -> Self {
        self.window.stride = (stride, stride);
        self
    }

    /// The same with so many zeros on each side.
    #[must_use]
    pub fn padding(mut self, padding: u32) -> Self {
        self.window.padding = (padding, padding);
        self
    }

    /// The same with channels in so many groups; as many as there are channels: each by itself.
    #[must_use]
    pub fn groups(mut self, groups: u32) -> Self {
        self.groups = groups;
        self
    }

    /// The same with the kernel in this order, where its shape fits both: as MLX stores it, or as PyTorch does.
    #[must_use]
    pub fn channels_last(mut self, channels_last: bool) -> Self {
        self.channels_last = channels_last;
        self
    }

    /// Channels that come out.
    pub fn channels(&self) -> u32 {
        self.kernel.shape()[0]
    }

    /// Applies it.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let [_, height, width, _] = x.dimensions("what a convolution gets")?;
        let ((rows, columns), (above, left)) = (self.window.size, self.window.padding);
        let fits = height + 2 * above >= rows && width + 2 * left >= columns;
        ensure!(
            fits,
            "a picture of {width} by {height} pixels holds no patch of {columns}"
        );
        let kernel = match self.channels_last {
            true => self.kernel.value().permute(&[0, 3, 1, 2]),
            false => self.kernel.value(),
        };
        let bias = self.bias.as_ref().map(Parameter::value);
        Ok(x.conv2d(&kernel, bias.as_ref(), self.window, self.groups))
    }
}

/// A causal convolution along a sequence, each channel by itself: `[tokens, channels]` to the same. What came before is kept for it.
pub struct Conv1d {
    kernel: Parameter,
    bias: Option<Parameter>,
}

impl Conv1d {
    /// `weight` at this place and, where it exists, `bias` `[channels]`. The kernel is `[channels, 1, taps]` as PyTorch stores it, or
    /// `[channels, taps, 1]` as MLX does.
    pub fn load(place: &Weights) -> Self {
        Self {
            kernel: place.parameter("weight"),
            bias: place.has("bias").then(|| place.parameter("bias")),
        }
    }

    /// Applies it, as the convolution of this number.
    pub fn forward(&self, x: &Tensor, batch: &Batch, number: u32) -> Tensor {
        let kernel = self.kernel.value().flatten(1, 2); // [channels, taps]
        let bias = self.bias.as_ref().map(Parameter::value);
        batch.short_conv(x, &kernel, bias.as_ref(), number)
    }
}
