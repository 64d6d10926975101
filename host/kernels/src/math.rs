//! Functions on vectors of floats. The polynomials were fitted for this (near-minimax, in double precision); their
//! errors are below 2e-9 before rounding.

use crate::lanes::Lanes;

/// `c[0] + c[1] x + c[2] x² + …`
#[inline(always)]
fn polynomial<V: Lanes, const N: usize>(x: V, coefficients: [f32; N]) -> V {
    let mut sum = V::splat(coefficients[N - 1]);
    for index in (0..N - 1).rev() {
        sum = sum.mul_add(x, V::splat(coefficients[index]));
    }
    sum
}

/// `eˣ`
#[inline(always)]
pub fn exp<V: Lanes>(x: V) -> V {
    // Beyond these the result is 0 or infinite. `max` and `min` keep what is not a number.
    let x = V::splat(89.0).min(V::splat(-104.0).max(x));
    let n = x.mul(V::splat(std::f32::consts::LOG2_E)).round();
    // ln 2 in two parts, the first with few enough bits that its product with n is exact.
    let r = n.mul_add(V::splat(-0.693_359_4), x);
    let r = n.mul_add(V::splat(2.121_944_4e-4), r);
    let tail = polynomial(
        r,
        [
            0.5,
            0.166_666_67,
            0.041_666_467,
            0.008_333_286,
            0.001_393_364_5,
            0.000_199_075_72,
        ],
    );
    let fraction = tail.mul(r).mul_add(r, r).add(V::splat(1.0));
    // In two steps, for the least and the largest exponents.
    let half = n.mul(V::splat(0.5)).round();
    fraction.mul(half.power_of_two()).mul(n.sub(half).power_of_two())
}

/// `1 / (1 + e⁻ˣ)`
#[inline(always)]
pub fn sigmoid<V: Lanes>(x: V) -> V {
    let one = V::splat(1.0);
    one.div(one.add(exp(V::splat(0.0).sub(x))))
}

/// `tanh x`
#[inline(always)]
pub fn tanh<V: Lanes>(x: V) -> V {
    let one = V::splat(1.0);
    let square = x.mul(x);
    let small = polynomial(
        square,
        [
            -0.333_333_34,
            0.133_333_06,
            -0.053_959_552,
            0.021_770_997,
            -0.008_350_012,
            0.002_298_945,
        ],
    );
    let small = small.mul(square).mul_add(x, x);
    let large = one.sub(V::splat(2.0).div(exp(x.add(x)).add(one)));
    square.where_less(V::splat(0.625 * 0.625), small, large)
}

/// The error function.
#[inline(always)]
pub fn erf<V: Lanes>(x: V) -> V {
    let (zero, one) = (V::splat(0.0), V::splat(1.0));
    let square = x.mul(x);
    let small = polynomial(
        square,
        [
            std::f32::consts::FRAC_2_SQRT_PI,
            -0.376_126_26,
            0.112_836,
            -0.026_854_444,
            0.005_189_535,
            -0.000_802_084_1,
            0.000_078_891_19,
        ],
    )
    .mul(x);
    // 1 - e^(-x²) P(1 / (1 + |x|/2))
    let magnitude = x.max(zero.sub(x)).min(V::splat(4.2));
    let inverse = one.div(magnitude.mul_add(V::splat(0.5), one));
    let scaled = polynomial(
        inverse,
        [
            0.001_822_479_2,
            0.259_700_63,
            0.396_802,
            -0.064_460_49,
            0.636_679_9,
            -0.230_801_62,
        ],
    );
    let large = one.sub(scaled.mul(exp(zero.sub(magnitude.mul(magnitude)))));
    let large = x.where_less(zero, zero.sub(large), large);
    square.where_less(one, small, large)
}

/// `x Φ(x)`
#[inline(always)]
pub fn gelu<V: Lanes>(x: V) -> V {
    let half = x.mul(V::splat(0.5));
    half.mul(erf(x.mul(V::splat(std::f32::consts::FRAC_1_SQRT_2))).add(V::splat(1.0)))
}

/// GELU's approximation by a hyperbolic tangent.
#[inline(always)]
pub fn gelu_tanh<V: Lanes>(x: V) -> V {
    let cube = x.mul(x).mul(x);
    let inner = cube.mul_add(V::splat(0.044_715), x).mul(V::splat(0.797_884_6));
    x.mul(V::splat(0.5)).mul(tanh(inner).add(V::splat(1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::{Instructions, Kernel, Processor};

    /// One function on eight floats.
    struct Eight(Name, [f32; 8]);

    #[derive(Clone, Copy, Debug)]
    enum Name {
        Exp,
        Tanh,
        Erf,
    }

    impl Kernel for Eight {
        type Output = [f32; 8];

        #[inline(always)]
        fn run<V: Lanes>(self) -> [f32; 8] {
            let mut memory = [0.0; 64];
            memory[..8].copy_from_slice(&self.1);
            // SAFETY: `memory` holds any vector.
            unsafe {
                let x = V::load(memory.as_ptr());
                let y = match self.0 {
                    Name::Exp => exp(x),
                    Name::Tanh => tanh(x),
                    Name::Erf => erf(x),
                };
                y.store(memory.as_mut_ptr());
            }
            let mut out = [0.0; 8];
            out.copy_from_slice(&memory[..8]);
            out
        }
    }

    fn all(name: Name, values: &[f32]) -> Vec<Vec<f32>> {
        Instructions::available()
            .into_iter()
            .filter_map(Processor::with)
            .map(|processor| {
                let eights = values.chunks_exact(8);
                eights
                    .flat_map(|eight| processor.run(Eight(name, eight.try_into().unwrap())))
                    .collect()
            })
            .collect()
    }

    fn grid(low: f32, high: f32) -> Vec<f32> {
        (0..80_000)
            .map(|index| low + (high - low) * index as f32 / 80_000.0)
            .collect()
    }

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        let x = grid(-87.3, 88.7);
        for found in all(Name::Exp, &x) {
            for (x, found) in x.iter().zip(found) {
                let exact = f64::from(*x).exp();
                let unit = f64::from((exact as f32).next_up()) - f64::from(exact as f32);
                assert!(
                    (f64::from(found) - exact).abs() <= 2.0 * unit,
                    "exp({x}) = {found}, not {exact}"
                );
            }
        }
    }

    #[test]
    fn tanh_is_close_also_relative_to_small_results() {
        let x = grid(-10.0, 10.0);
        for found in all(Name::Tanh, &x) {
            for (x, found) in x.iter().zip(found) {
                let exact = f64::from(*x).tanh();
                assert!(
                    (f64::from(found) - exact).abs() <= 3e-7 * exact.abs(),
                    "tanh({x}) = {found}, not {exact}"
                );
            }
        }
    }

    /// Abramowitz and Stegun, table 7.1; 7.1.2 beyond it.
    #[test]
    fn erf_equals_its_table() {
        let table = [
            (0.0, 0.0),
            (0.02, 0.0225645747),
            (0.5, 0.5204998778),
            (0.98, 0.8342315043),
            (1.0, 0.8427007929),
            (1.02, 0.8508380177),
            (1.5, 0.9661051465),
            (2.0, 0.9953222650),
            (3.0, 0.9999779095),
            (4.0, 0.9999999846),
            (6.0, 1.0),
        ];
        for (x, exact) in table {
            for sign in [1.0, -1.0] {
                for found in all(Name::Erf, &[sign * x; 8]) {
                    let error = f64::from(found[0]) - f64::from(sign) * exact;
                    assert!(error.abs() <= 1.2e-7, "erf({x}) = {}, not {exact}", found[0]);
                }
            }
        }
    }
}
