//! Running operations that compute on rows: products, norms, convolutions.

use super::run::{Activations, ProgramRun};
use super::value::Value;
use monocle_kernels::bf16_product::Bf16Product;
use monocle_kernels::convolution::Convolution;
use monocle_kernels::integers::{IntegerProduct, Width};
use monocle_kernels::interpolation::Interpolate;
use monocle_kernels::matrix::{Decode, MatrixView};
use monocle_kernels::output::{Shared, by_rows};
use monocle_kernels::product::{Product, Right};
use monocle_kernels::rows::{LayerNorm, RmsNorm, Softmax};
use monocle_tensor::backend::BackendError;
use monocle_tensor::interpolation::Sampling;
use monocle_tensor::operation::{Pooling, WeightId, Window};

type Result<T = Value> = std::result::Result<T, BackendError>;

pub fn linear(run: &mut ProgramRun<'_>, id: WeightId) -> Result {
    let (matrix, bias) = run.matrix(id)?;
    let matrix = matrix.view();
    let x = run.input(0)?.floats();
    let (n, k) = (matrix.rows(), matrix.columns());
    let product = Product {
        m: x.len() / k.max(1),
        n,
        k,
        a: x,
        b: Right::Rows(matrix),
        bias,
    };
    if run.node().output.len() != product.m * n {
        return Err(BackendError::Input(format!(
            "weight {} is not what the program was recorded with",
            id.0
        )));
    }
    if let Some(integers) = integers(run, product.m, x, matrix, bias) {
        let of = run.node().inputs[0];
        let (processor, threads, memory) = (run.processor, run.threads, run.memory);
        let mut kept = run.rounded.borrow_mut();
        let mut rows = kept.take().filter(|kept| kept.0 == of).map(|kept| kept.1);
        let result = run.floats(|out| integers.run(processor, threads, memory, &mut rows, out));
        *kept = rows.map(|rows| (of, rows));
        return Ok(result);
    }
    if run.activations == Activations::Bf16
        && let Some(product) = Bf16Product::of(product.m, x, matrix, bias)
    {
        return Ok(run.floats(|out| product.run(run.processor, run.threads, run.memory, out)));
    }
    Ok(run.floats(|out| product.run(run.processor, run.threads, run.memory, out)))
}

/// The product with rounded activations, where the engine may round them and the matrix is quantised.
fn integers<'a>(
    run: &ProgramRun<'_>,
    m: usize,
    x: &'a [f32],
    matrix: MatrixView<'a>,
    bias: Option<&'a [f32]>,
) -> Option<IntegerProduct<'a>> {
    let width = match run.activations {
        Activations::Floats => return None,
        Activations::Integers | Activations::Bf16 => Width::Sixteen,
        Activations::Bytes => Width::Eight,
    };
    IntegerProduct::of(m, x, matrix, bias, width)
}

pub fn matmul(run: &mut ProgramRun<'_>, transpose_right: bool) -> Result {
    let (a_shape, b_shape) = (run.input_shape(0), run.input_shape(1));
    let out_shape = &run.node().output.shape;
    let rank = out_shape.len();
    let (m, n) = (out_shape[rank - 2], out_shape[rank - 1]);
    let k = a_shape[a_shape.len() - 1];
    let leading = |shape: &[usize]| shape[..shape.len() - 2].to_vec();
    let (a_leading, b_leading) = (leading(a_shape), leading(b_shape));
    let (a, b) = (run.input(0)?.floats(), run.input(1)?.floats());
    let batch: usize = out_shape[..rank - 2].iter().product();
    // Which matrix of an operand belongs to matrix `index` of the result.
    let pick = |shape: &[usize], index: usize| {
        let (mut rest, mut stride, mut at) = (index, 1, 0);
        for axis in (0..rank - 2).rev() {
            let position = rest % out_shape[axis];
            rest /= out_shape[axis];
            let missing = rank - 2 - shape.len();
            if axis >= missing && shape[axis - missing] != 1 {
                at += position * stride;
                stride *= shape[axis - missing];
            }
        }
        at
    };
    let product = |index: usize| {
        let b = &b[pick(&b_leading, index) * k * n..][..k * n];
        Product {
            m,
            n,
            k,
            a: &a[pick(&a_leading, index) * m * k..][..m * k],
            b: if transpose_right {
                Right::Rows(MatrixView::of_floats(b, k))
            } else {
                Right::Columns(b)
            },
            bias: None,
        }
    };
    let (processor, threads, memory) = (run.processor, run.threads, run.memory);
    Ok(run.floats(|out| {
        if out.is_empty() {
            return;
        }
        if batch >= 2 * threads.count() {
            let shared = Shared::new(out);
            threads.parallel(batch, |index| {
                // SAFETY: the matrices of a batch do not overlap.
                let part = unsafe { shared.part(index * m * n, m * n) };
                product(index).run_alone(processor, part);
            });
        } else {
            for (index, part) in out.chunks_exact_mut(m * n).enumerate() {
                product(index).run(processor, threads, memory, part);
            }
        }
    }))
}

pub fn linear_heads(run: &mut ProgramRun<'_>, id: WeightId, heads: usize, transposed: bool) -> Result {
    let matrix = run.matrix(id)?.0.view();
    let (rows, columns) = (matrix.rows() / heads, matrix.columns());
    let (tokens, k) = (run.input_shape(0)[0], run.input_shape(0)[2]);
    let n = run.node().output.shape[2];
    let x = run.input(0)?.floats();
    let mut gathered = run.memory.take(tokens * k);
    let mut products = run.memory.take(tokens * n);
    let mut unpacked = run.memory.take(if transposed { rows * columns } else { 0 });
    Ok(run.floats(|out| {
        for head in 0..heads {
            let a = &mut gathered.floats_mut()[..tokens * k];
            for (token, a) in a.chunks_exact_mut(k.max(1)).enumerate() {
                a.copy_from_slice(&x[(token * heads + head) * k..][..k]);
            }
            let part = matrix.part(head * rows, rows);
            let b = match transposed {
                false => Right::Rows(part),
                true => {
                    let unpacked = &mut unpacked.floats_mut()[..rows * columns];
                    by_rows(run.threads, unpacked, columns, columns, |first, rows| {
                        for (row, out) in rows.chunks_exact_mut(columns).enumerate() {
                            run.processor.run(Decode {
                                matrix: part,
                                row: first + row,
                                start: 0,
                                out,
                            });
                        }
                    });
                    Right::Columns(unpacked)
                }
            };
            let product = Product {
                m: tokens,
                n,
                k,
                a,
                b,
                bias: None,
            };
            let results = &mut products.floats_mut()[..tokens * n];
            let integers = match transposed {
                true => None,
                false => integers(run, tokens, product.a, part, None),
            };
            match integers {
                Some(integers) => integers.run(run.processor, run.threads, run.memory, &mut None, results),
                None => product.run(run.processor, run.threads, run.memory, results),
            }
            for (token, result) in results.chunks_exact(n.max(1)).enumerate() {
                out[(token * heads + head) * n..][..n].copy_from_slice(result);
            }
        }
    }))
}

pub fn expert_linear(run: &mut ProgramRun<'_>, id: WeightId) -> Result {
    let shape = &run.node().output.shape;
    let (chosen, outputs) = (shape[1], shape[2]);
    let inner = run.input_shape(0).last().copied().unwrap_or(1);
    let (matrices, bias) = run.experts(id, outputs)?;
    let experts = matrices.count();
    let one_row_a_token = run.input_shape(0).len() == 2;
    let (x, indices) = (run.input(0)?.floats(), run.input(1)?.ints());
    // Rows in the order of their experts.
    let mut rows_of = run.memory.list(indices.len());
    for (row, index) in indices.iter().enumerate() {
        match usize::try_from(*index).ok().filter(|index| *index < experts) {
            Some(expert) => rows_of.push((expert, row)),
            None => return Err(run.value_error(format!("expert {index} is not among {experts}"))),
        }
    }
    rows_of.sort_unstable();
    let by_expert = || rows_of.chunk_by(|(one, _), (other, _)| one == other);
    let most = by_expert().map(<[_]>::len).max().unwrap_or(0);
    let mut gathered = run.memory.take(most * inner);
    let mut products = run.memory.take(most * outputs);
    Ok(run.floats(|out| {
        for rows in by_expert() {
            let expert = rows[0].0;
            let a = &mut gathered.floats_mut()[..rows.len() * inner];
            for (a, (_, row)) in a.chunks_exact_mut(inner.max(1)).zip(rows) {
                let from = if one_row_a_token { row / chosen } else { *row };
                a.copy_from_slice(&x[from * inner..][..inner]);
            }
            let part = matrices.matrix(expert);
            let product = Product {
                m: rows.len(),
                n: outputs,
                k: inner,
                a,
                b: Right::Rows(part),
                bias: bias.map(|bias| &bias[expert * outputs..][..outputs]),
            };
            let results = &mut products.floats_mut()[..rows.len() * outputs];
            match integers(run, product.m, product.a, part, product.bias) {
                Some(integers) => integers.run(run.processor, run.threads, run.memory, &mut None, results),
                None => product.run(run.processor, run.threads, run.memory, results),
            }
            for ((_, row), result) in rows.iter().zip(results.chunks_exact(outputs.max(1))) {
                out[row * outputs..][..outputs].copy_from_slice(result);
            }
        }
    }))
}

pub fn rms_norm(run: &mut ProgramRun<'_>, epsilon: f32, offset: f32) -> Result {
    let x = run.input(0)?.floats();
    let weight = match run.node().inputs.len() {
        1 => None,
        _ => Some(run.input(1)?.floats()),
    };
    let width = run.input_shape(0).last().copied().unwrap_or(1);
    Ok(run.floats(|out| {
        by_rows(run.threads, out, width, width, |first, out| {
            run.processor.run(RmsNorm {
                x: &x[first * width..][..out.len()],
                weight,
                epsilon,
                offset,
                width,
                out,
            });
        });
    }))
}

pub fn layer_norm(run: &mut ProgramRun<'_>, epsilon: f32) -> Result {
    let (x, weight) = (run.input(0)?.floats(), run.input(1)?.floats());
    let bias = match run.node().inputs.len() {
        2 => None,
        _ => Some(run.input(2)?.floats()),
    };
    let width = run.input_shape(0).last().copied().unwrap_or(1);
    Ok(run.floats(|out| {
        by_rows(run.threads, out, width, width, |first, out| {
            run.processor.run(LayerNorm {
                x: &x[first * width..][..out.len()],
                weight,
                bias,
                epsilon,
                width,
                out,
            });
        });
    }))
}

pub fn softmax(run: &mut ProgramRun<'_>) -> Result {
    let width = run.input_shape(0).last().copied().unwrap_or(1);
    let mut x = run.take_input(0)?;
    if x.unique_floats().is_none() {
        x = Value::from_floats(run.memory, x.floats());
    }
    if let Some(values) = x.unique_floats() {
        by_rows(run.threads, values, width, width * 4, |_, values| {
            run.processor.run(Softmax { width, values });
        });
    }
    Ok(x)
}

fn four(shape: &[usize]) -> [usize; 4] {
    [shape[0], shape[1], shape[2], shape[3]]
}

pub fn conv2d(run: &mut ProgramRun<'_>, window: &Window, groups: usize) -> Result {
    let kernel = run.input_shape(1);
    let convolution = Convolution {
        x: four(run.input_shape(0)),
        out: four(&run.node().output.shape),
        kernel: [kernel[2], kernel[3]],
        window,
        groups,
    };
    let operands = [run.input(0)?.floats(), run.input(1)?.floats()];
    let bias = match run.node().inputs.len() {
        2 => None,
        _ => Some(run.input(2)?.floats()),
    };
    Ok(run.floats(|out| {
        if !out.is_empty() {
            let engine = (run.processor, run.threads, run.memory);
            convolution.run(engine, operands, bias, out);
        }
    }))
}

pub fn pool2d(run: &mut ProgramRun<'_>, pooling: Pooling, window: &Window) -> Result {
    let convolution = Convolution {
        x: four(run.input_shape(0)),
        out: four(&run.node().output.shape),
        kernel: window.size.map(|size| size as usize),
        window,
        groups: 1,
    };
    let x = run.input(0)?.floats();
    Ok(run.floats(|out| convolution.pool(run.threads, pooling, x, out)))
}

pub fn interpolate(run: &mut ProgramRun<'_>, size: [usize; 2], sampling: Sampling) -> Result {
    let interpolate = Interpolate {
        x: four(run.input_shape(0)),
        size,
        sampling,
    };
    let x = run.input(0)?.floats();
    Ok(run.floats(|out| {
        if !out.is_empty() {
            interpolate.run(run.threads, run.memory, x, out);
        }
    }))
}
