//! Running operations that look elements up by indices. Every index is checked before it is used.

use super::run::ProgramRun;
use super::value::Value;
use monocle_kernels::matrix::Decode;
use monocle_kernels::output::by_rows;
use monocle_kernels::rows;
use monocle_tensor::backend::BackendError;
use monocle_tensor::operation::WeightId;

type Result<T = Value> = std::result::Result<T, BackendError>;

fn check(run: &ProgramRun<'_>, indices: &[i32], size: usize) -> Result<()> {
    match indices
        .iter()
        .find(|index| usize::try_from(**index).map_or(true, |index| index >= size))
    {
        Some(index) => Err(run.value_error(format!("index {index} is not among {size} rows"))),
        None => Ok(()),
    }
}

pub fn embed(run: &mut ProgramRun<'_>, id: WeightId) -> Result {
    let (matrix, _) = run.matrix(id)?;
    let matrix = matrix.view();
    let ids = run.input(0)?.ints();
    check(run, ids, matrix.rows())?;
    let processor = run.processor;
    Ok(run.floats(|out| {
        let width = matrix.columns();
        by_rows(run.threads, out, width, width, |first, part| {
            for (out, id) in part.chunks_exact_mut(width).zip(&ids[first..]) {
                processor.run(Decode {
                    matrix,
                    row: *id as usize,
                    start: 0,
                    out,
                });
            }
        });
    }))
}

pub fn top_k(run: &mut ProgramRun<'_>, k: usize) -> Result {
    let x = run.input(0)?.floats();
    let size = run.input_shape(0).last().copied().unwrap_or(1);
    Ok(run.ints(|out| {
        by_rows(run.threads, out, k, size * 4, |first, part| {
            for (index, out) in part.chunks_exact_mut(k).enumerate() {
                rows::top_k(&x[(first + index) * size..][..size], out);
            }
        });
    }))
}

pub fn gather_last(run: &mut ProgramRun<'_>) -> Result {
    let size = run.input_shape(0).last().copied().unwrap_or(1);
    let count = run.input_shape(1).last().copied().unwrap_or(1);
    // As words: floats and integers alike.
    let (x, indices) = (run.input(0)?.ints(), run.input(1)?.ints());
    check(run, indices, size)?;
    Ok(run.ints(|out| {
        for (at, (out, index)) in out.iter_mut().zip(indices).enumerate() {
            *out = x[at / count * size + *index as usize];
        }
    }))
}

pub fn take_rows(run: &mut ProgramRun<'_>) -> Result {
    let shape = run.input_shape(0);
    let width: usize = shape[1..].iter().product();
    let (x, indices) = (run.input(0)?.floats(), run.input(1)?.ints());
    check(run, indices, shape[0])?;
    Ok(run.floats(|out| {
        by_rows(run.threads, out, width, width, |first, part| {
            for (out, index) in part.chunks_exact_mut(width).zip(&indices[first..]) {
                out.copy_from_slice(&x[*index as usize * width..][..width]);
            }
        });
    }))
}

pub fn put_rows(run: &mut ProgramRun<'_>) -> Result {
    let shape = run.input_shape(0);
    let width: usize = shape[1..].iter().product();
    check(run, run.input(1)?.ints(), shape[0])?;
    // Kept until the end: x itself may be among them, and is copied then.
    let (indices, rows) = (run.input(1)?.clone(), run.input(2)?.clone());
    let mut x = run.take_input(0)?;
    if x.unique_floats().is_none() {
        x = Value::from_floats(run.memory, x.floats());
    }
    if let Some(out) = x.unique_floats()
        && width > 0
    {
        for (index, row) in indices.ints().iter().zip(rows.floats().chunks_exact(width)) {
            out[*index as usize * width..][..width].copy_from_slice(row);
        }
    }
    Ok(x)
}
