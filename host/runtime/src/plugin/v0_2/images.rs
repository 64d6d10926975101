//! `images`: pictures stay in the host, a plugin says what is to be done with them.

use monocle_image::{Filter, Layout, Normalise};

use super::bindings::{images, types};
use super::host_side::{HostSide, ImageHandle, PixelsHandle, Resource, Result};

type Image = Resource<ImageHandle>;
type Pixels = Resource<PixelsHandle>;

impl images::HostImage for HostSide {
    fn size(&mut self, image: Image) -> Result<types::Size> {
        let image = self.image(image.rep())?;
        Ok(types::Size {
            width: image.width(),
            height: image.height(),
        })
    }

    fn resize(&mut self, image: Image, width: u32, height: u32, filter: images::Filter) -> Result<Image> {
        let filter = match filter {
            images::Filter::Nearest => Filter::Nearest,
            images::Filter::Box => Filter::Box,
            images::Filter::Bilinear => Filter::Bilinear,
            images::Filter::Hamming => Filter::Hamming,
            images::Filter::Bicubic => Filter::Bicubic,
            images::Filter::Lanczos => Filter::Lanczos,
            images::Filter::TorchBilinear => Filter::TorchBilinear,
        };
        self.resize_image(&image, [width, height], filter)
    }

    fn crop(&mut self, image: Image, left: i32, top: i32, width: u32, height: u32) -> Result<Image> {
        self.derive(&image, [width, height], |image| {
            image.crop(left.into(), top.into(), width, height)
        })
    }

    fn pad(
        &mut self,
        image: Image,
        left: u32,
        top: u32,
        right: u32,
        bottom: u32,
        red: u8,
        green: u8,
        blue: u8,
    ) -> Result<Image> {
        let (width, height) = {
            let image = self.image(image.rep())?;
            (image.width(), image.height())
        };
        let size = [
            width.saturating_add(left).saturating_add(right),
            height.saturating_add(top).saturating_add(bottom),
        ];
        self.derive(&image, size, |image| {
            image.pad(left, top, right, bottom, [red, green, blue])
        })
    }

    fn drop(&mut self, image: Image) -> Result<()> {
        self.drop_image(image.rep());
        Ok(())
    }
}

impl images::HostPixels for HostSide {
    fn shape(&mut self, pixels: Pixels) -> Result<Vec<u32>> {
        Ok(self
            .pixels(pixels.rep())?
            .shape
            .iter()
            .map(|&size| size as u32)
            .collect())
    }

    fn drop(&mut self, pixels: Pixels) -> Result<()> {
        self.remove_pixels(pixels.rep());
        Ok(())
    }
}

impl images::Host for HostSide {
    fn stack(
        &mut self,
        images: Vec<Image>,
        normalisation: images::Normalisation,
        layout: images::Layout,
    ) -> Result<Pixels> {
        let layout = match layout {
            images::Layout::ChannelsLast => Layout::ChannelsLast,
            images::Layout::ChannelsFirst => Layout::ChannelsFirst,
        };
        let triple = |(red, green, blue)| [red, green, blue];
        let normalise = Normalise {
            rescale: normalisation.rescale,
            mean: triple(normalisation.mean),
            std: triple(normalisation.deviation),
        };
        self.stack_images(&images, &normalise, layout)
    }
}
