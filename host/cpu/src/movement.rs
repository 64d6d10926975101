//! Running operations that broadcast, move or reduce elements.

use super::run::ProgramRun;
use super::value::Value;
use monocle_kernels::elementwise::{BinaryRun, Broadcast, arithmetic, by_runs, compare};
use monocle_kernels::shape;
use monocle_tensor::backend::BackendError;
use monocle_tensor::operation::{Binary, Kind, Reduction};
use monocle_tensor::operations::moves_nothing;

type Result<T = Value> = std::result::Result<T, BackendError>;

pub fn binary(run: &mut ProgramRun<'_>, binary: Binary) -> Result {
    let layout = Broadcast::new(&run.node().output.shape, [run.input_shape(0), run.input_shape(1)]);
    let [a_stride, b_stride] = layout.run_strides();
    let kind = run.program.value(run.node().inputs[0]).kind;
    let comparison = matches!(binary, Binary::Equal | Binary::Less | Binary::Greater);
    if kind == Kind::Int || comparison {
        let (a, b) = (run.input(0)?, run.input(1)?);
        return Ok(run.ints(|out| {
            if kind == Kind::Int {
                let (a, b) = (a.ints(), b.ints());
                by_runs(run.threads, &layout, out, |[from_a, from_b], out| {
                    for (index, out) in out.iter_mut().enumerate() {
                        *out = arithmetic(binary, a[from_a + index * a_stride], b[from_b + index * b_stride]);
                    }
                });
            } else {
                let (a, b) = (a.floats(), b.floats());
                by_runs(run.threads, &layout, out, |[from_a, from_b], out| {
                    for (index, out) in out.iter_mut().enumerate() {
                        *out = compare(binary, a[from_a + index * a_stride], b[from_b + index * b_stride]);
                    }
                });
            }
        }));
    }
    let (threads, processor) = (run.threads, run.processor);
    let (a, b) = (run.input(0)?, run.input(1)?);
    let (a, b) = (a.floats(), b.floats());
    Ok(run.floats(|out| {
        by_runs(threads, &layout, out, |[from_a, from_b], out| {
            processor.run(BinaryRun {
                binary,
                a: &a[from_a..],
                a_stride,
                b: &b[from_b..],
                b_stride,
                out,
            });
        });
    }))
}

pub fn select(run: &mut ProgramRun<'_>) -> Result {
    let shapes = [run.input_shape(0), run.input_shape(1), run.input_shape(2)];
    let layout = Broadcast::new(&run.node().output.shape, shapes);
    let strides = layout.run_strides();
    let condition = run.input(0)?.ints();
    // Chosen as words: floats and integers alike.
    let (yes, no) = (run.input(1)?.ints(), run.input(2)?.ints());
    Ok(run.ints(|out| {
        by_runs(run.threads, &layout, out, |from, out| {
            for (index, out) in out.iter_mut().enumerate() {
                *out = if condition[from[0] + index * strides[0]] != 0 {
                    yes[from[1] + index * strides[1]]
                } else {
                    no[from[2] + index * strides[2]]
                };
            }
        });
    }))
}

pub fn to_float(run: &mut ProgramRun<'_>) -> Result {
    if run.program.value(run.node().inputs[0]).kind == Kind::Float {
        return run.take_input(0);
    }
    let x = run.input(0)?.ints();
    Ok(run.floats(|out| out.iter_mut().zip(x).for_each(|(out, x)| *out = *x as f32)))
}

pub fn to_int(run: &mut ProgramRun<'_>) -> Result {
    if run.program.value(run.node().inputs[0]).kind == Kind::Int {
        return run.take_input(0);
    }
    let x = run.input(0)?.floats();
    Ok(run.ints(|out| out.iter_mut().zip(x).for_each(|(out, x)| *out = *x as i32)))
}

pub fn broadcast(run: &mut ProgramRun<'_>) -> Result {
    let shape = &run.node().output.shape;
    if run.input_shape(0) == shape {
        return run.take_input(0);
    }
    let layout = Broadcast::new(shape, [run.input_shape(0)]);
    let [stride] = layout.run_strides();
    let x = run.input(0)?.floats();
    Ok(run.floats(|out| {
        by_runs(run.threads, &layout, out, |[from], out| {
            if stride == 0 {
                out.fill(x[from]);
            } else {
                out.copy_from_slice(&x[from..from + out.len()]);
            }
        });
    }))
}

pub fn permute(run: &mut ProgramRun<'_>, axes: &[usize]) -> Result {
    let shape = run.input_shape(0);
    if moves_nothing(shape, axes) {
        return run.take_input(0);
    }
    let x = run.input(0)?.floats();
    Ok(run.floats(|out| shape::permute(run.threads, x, shape, axes, out)))
}

pub fn slice(run: &mut ProgramRun<'_>, axis: usize, start: usize, step: usize) -> Result {
    let sizes = shape::split(run.input_shape(0), axis);
    let count = run.node().output.shape[axis];
    let x = run.input(0)?;
    if sizes[0] == 1 && (step == 1 || count == 1) {
        return Ok(x.part(start * sizes[2], count * sizes[2]));
    }
    let x = x.floats();
    Ok(run.floats(|out| shape::slice(x, sizes, start, step, out)))
}

pub fn concat(run: &mut ProgramRun<'_>, axis: usize) -> Result {
    if run.node().inputs.len() == 1 {
        return run.take_input(0);
    }
    let total = run.node().output.shape[axis];
    let mut parts = Vec::with_capacity(run.node().inputs.len());
    for index in 0..run.node().inputs.len() {
        parts.push((
            run.input(index)?.floats(),
            shape::split(run.input_shape(index), axis),
        ));
    }
    Ok(run.floats(|out| {
        let mut start = 0;
        for (x, sizes) in parts {
            shape::place(x, sizes, total, start, out);
            start += sizes[1];
        }
    }))
}

pub fn pad(run: &mut ProgramRun<'_>, axis: usize, before: usize, value: f32) -> Result {
    let sizes = shape::split(run.input_shape(0), axis);
    let total = run.node().output.shape[axis];
    let x = run.input(0)?.floats();
    let kind = run.node().output.kind;
    let fill = match kind {
        Kind::Float => value,
        // Integers are moved as words.
        Kind::Int => f32::from_bits((value as i32) as u32),
    };
    Ok(run.floats(|out| {
        out.fill(fill);
        shape::place(x, sizes, total, before, out);
    }))
}

pub fn reduce(run: &mut ProgramRun<'_>, reduction: Reduction, axes: &[usize]) -> Result {
    let shape = run.input_shape(0);
    let order: Vec<usize> = (0..shape.len())
        .filter(|axis| !axes.contains(axis))
        .chain(axes.iter().copied())
        .collect();
    let x = run.input(0)?;
    let width: usize = axes.iter().map(|&axis| shape[axis]).product();
    let arranged;
    let x = if order.is_sorted() {
        x.floats()
    } else {
        let mut buffer = run.memory.take(x.len());
        shape::permute(
            run.threads,
            x.floats(),
            shape,
            &order,
            &mut buffer.floats_mut()[..x.len()],
        );
        arranged = Value::new(buffer, x.len());
        arranged.floats()
    };
    Ok(run.floats(|out| {
        monocle_kernels::output::by_rows(run.threads, out, 1, width, |first, part| {
            run.processor.run(monocle_kernels::rows::Reduce {
                reduction,
                width,
                x: &x[first * width..][..part.len() * width],
                out: part,
            });
        });
    }))
}
