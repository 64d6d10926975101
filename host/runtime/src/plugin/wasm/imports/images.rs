//! `images`: pictures stay in the host, a plugin says what is to be done with them.

use monocle_image::{Filter, ImageError, Layout, Normalise, Picture};
use wasmtime::Result;
use wasmtime::component::Resource;

use crate::plugin::error::Fault;
use crate::plugin::wasm::bindings::monocle::plugin::{images, types};
use crate::plugin::wasm::recording::{ImageHandle, PixelTensor, PixelsHandle, State};

type Image = Resource<ImageHandle>;
type Pixels = Resource<PixelsHandle>;

impl images::HostImage for State {
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
        self.derive(image, [width, height], |image| {
            image.resize(width, height, filter)
        })
    }

    fn crop(&mut self, image: Image, left: i32, top: i32, width: u32, height: u32) -> Result<Image> {
        self.derive(image, [width, height], |image| {
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
        self.derive(image, size, |image| {
            image.pad(left, top, right, bottom, [red, green, blue])
        })
    }

    fn drop(&mut self, image: Image) -> Result<()> {
        self.drop_image(image.rep());
        Ok(())
    }
}

impl images::HostPixels for State {
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

impl images::Host for State {
    fn stack(
        &mut self,
        images: Vec<Image>,
        normalisation: images::Normalisation,
        layout: images::Layout,
    ) -> Result<Pixels> {
        let Some(first) = images.first() else {
            return self.fail(Fault::Misuse(
                "`images.stack` needs one picture at least".to_owned(),
            ));
        };
        let (width, height) = {
            let first = self.image(first.rep())?;
            (first.width(), first.height())
        };
        let count = images.len();
        let each = width as usize * height as usize * 3;
        self.take_memory(each.saturating_mul(count).saturating_mul(4))?;
        let (layout, shape) = match layout {
            images::Layout::ChannelsLast => (
                Layout::ChannelsLast,
                vec![count, height as usize, width as usize, 3],
            ),
            images::Layout::ChannelsFirst => (
                Layout::ChannelsFirst,
                vec![count, 3, height as usize, width as usize],
            ),
        };
        let triple = |(red, green, blue)| [red, green, blue];
        let normalise = Normalise {
            rescale: normalisation.rescale,
            mean: triple(normalisation.mean),
            std: triple(normalisation.deviation),
        };
        let mut values = Vec::with_capacity(each * count);
        for image in &images {
            let image = self.image(image.rep())?;
            if (image.width(), image.height()) != (width, height) {
                let found = format!("{}x{}", image.width(), image.height());
                return self.fail(Fault::Misuse(format!(
                    "`images.stack` takes pictures of one size: the first is {width}x{height}, another {found}"
                )));
            }
            values.extend(image.to_tensor(&normalise, layout));
        }
        Ok(Resource::new_own(self.add_pixels(PixelTensor { shape, values })?))
    }
}

impl State {
    /// A new picture made from another, within the limits.
    fn derive(
        &mut self,
        image: Image,
        [width, height]: [u32; 2],
        make: impl FnOnce(&Picture) -> std::result::Result<Picture, ImageError>,
    ) -> Result<Image> {
        let bytes = u64::from(width) * u64::from(height) * 3;
        if bytes > self.limits.pixel_bytes as u64 {
            return self.fail(Fault::Misuse(format!(
                "a picture of {width}x{height} takes more than the {} MiB that pictures may",
                self.limits.pixel_bytes >> 20
            )));
        }
        match make(self.image(image.rep())?) {
            Ok(image) => Ok(Resource::new_own(self.add_image(image)?)),
            Err(error) => self.fail(Fault::Misuse(error.to_string())),
        }
    }
}
