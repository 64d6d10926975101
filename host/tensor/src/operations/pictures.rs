//! Pictures: `[batch, height, width, channels]`.

use super::operands::{dimensions, float};
use super::{Facts, Parts};
use crate::operation::Window;
use crate::program::ValueType;

pub fn conv2d(window: &Window, groups: usize) -> Facts<'_> {
    let facts = Facts::new("conv2d", move |operands| {
        let (x, kernel, bias) = operands.two_or_three()?;
        let [batch, height, width, channels] = dimensions::<4>(&float(x)?.shape, "the operand")?;
        let [out, inner, kernel_height, kernel_width] = dimensions::<4>(&float(kernel)?.shape, "the kernel")?;
        if groups == 0 || inner.checked_mul(groups) != Some(channels) || !out.is_multiple_of(groups) {
            return Err(format!(
                "a kernel of {:?} in {groups} groups does not take {channels} channels",
                kernel.shape
            ));
        }
        if bias.is_some_and(|bias| bias.shape != [out]) {
            return Err(format!("expected a bias of [{out}]"));
        }
        let size = [kernel_height as u32, kernel_width as u32];
        let [height, width] = windows(height, width, size, window)?;
        Ok(ValueType::float([batch, height, width, out]))
    });
    facts
        .parted(Parts::First)
        .works(|inputs| inputs[1].shape[1..].iter().product())
}

pub fn pool2d(window: &Window) -> Facts<'_> {
    let facts = Facts::new("pool2d", |operands| {
        let x = float(operands.one()?)?;
        let [batch, height, width, channels] = dimensions::<4>(&x.shape, "the operand")?;
        let [height, width] = windows(height, width, window.size, window)?;
        Ok(ValueType::float([batch, height, width, channels]))
    });
    facts.parted(Parts::First)
}

pub fn interpolate(size: [usize; 2]) -> Facts<'static> {
    let facts = Facts::new("interpolate", move |operands| {
        let x = float(operands.one()?)?;
        let [batch, height, width, channels] = dimensions::<4>(&x.shape, "the operand")?;
        if height == 0 || width == 0 || size.contains(&0) {
            return Err(format!(
                "cannot interpolate {height} x {width} to {} x {}",
                size[0], size[1]
            ));
        }
        Ok(ValueType::float([batch, size[0], size[1], channels]))
    });
    facts.parted(Parts::First)
}

fn windows(height: usize, width: usize, size: [u32; 2], window: &Window) -> Result<[usize; 2], String> {
    let count = |extent: usize, axis: usize| {
        let (size, stride) = (size[axis] as usize, window.stride[axis] as usize);
        let padding = window.padding[axis] as usize;
        let padded = extent.checked_add(padding.checked_mul(2)?)?;
        let steps = padded.checked_sub(size)?.checked_div(stride)?;
        steps.checked_add(1).filter(|_| size > 0 && padding < size)
    };
    match (count(height, 0), count(width, 1)) {
        (Some(height), Some(width)) => Ok([height, width]),
        _ => Err(format!(
            "windows of {size:?}, stride {:?}, padding {:?} do not fit in {height} x {width}",
            window.stride, window.padding
        )),
    }
}
