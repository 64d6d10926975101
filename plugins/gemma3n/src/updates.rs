//! AltUp (arXiv:2301.13310): a token has several rows; each layer predicts all of them, computes one, and corrects the others by how far its
//! prediction was off.

use monocle_plugin::prelude::*;
use monocle_plugin::{Reduction, UnaryOperation};

/// A layer's predictor and corrector.
pub struct Updates {
    predict: Linear,
    correct: Linear,
    router: Linear,
    norm: Norm,
    count: u32,
    active: u32,
}

impl Updates {
    /// What is at this place; row `active` of `count` is computed.
    pub fn load(place: &Weights, [count, active]: [u32; 2], epsilon: f32) -> Self {
        Self {
            predict: place.linear("prediction_coefs"),
            correct: place.linear("correction_coefs"),
            router: place.linear("modality_router"),
            norm: Norm::rms(&place.at("router_norm"), epsilon),
            count,
            active,
        }
    }

    /// The row that is computed: `[tokens, rows, hidden]` to `[tokens, hidden]`.
    pub fn active(&self, rows: &Tensor) -> Tensor {
        row(rows, self.active)
    }

    /// `[tokens, rows, hidden]` to the same.
    pub fn predict(&self, rows: &Tensor) -> Tensor {
        let tokens = rows.dimension(0);
        let route = self.route(&self.active(rows));
        let mixing = self
            .predict
            .forward(&route)
            .reshape(&[tokens, self.count, self.count]);
        mixing.matmul(rows, false) + rows
    }

    /// Predictions `[tokens, rows, hidden]` corrected by what was computed, `[tokens, hidden]`.
    pub fn correct(&self, predictions: &Tensor, computed: &Tensor) -> Tensor {
        let shares = self.correct.forward(&self.route(computed)) + 1.0; // [tokens, rows]
        let off = computed - self.active(predictions);
        off.unsqueeze(1) * shares.unsqueeze(-1) + predictions
    }

    fn route(&self, x: &Tensor) -> Tensor {
        let x = self.norm.forward(x) * (1.0 / x.dimension(-1) as f32);
        self.router.forward(&x).unary(UnaryOperation::HyperbolicTangent)
    }
}

/// `[tokens, rows, hidden]` to `[tokens, hidden]`.
pub fn row(rows: &Tensor, number: u32) -> Tensor {
    rows.narrow(1, number, number + 1).flatten(1, 2)
}

/// One row a token to several: each other one projected, and made as large as the first.
pub fn spread(x: &Tensor, projections: &[Linear]) -> Tensor {
    let size = root_mean_square(x);
    let others = projections
        .iter()
        .map(|projection| resized(&projection.forward(x), &size).unsqueeze(1));
    let rows: Vec<Tensor> = std::iter::once(x.unsqueeze(1)).chain(others).collect();
    concat(&rows.iter().collect::<Vec<_>>(), 1)
}

/// Several rows a token to one: the mean of the first and of the others, projected and made as large as it.
pub fn join(rows: &Tensor, projections: &[Linear]) -> Tensor {
    let first = row(rows, 0);
    let size = root_mean_square(&first);
    let others = (1..)
        .zip(projections)
        .map(|(number, projection)| resized(&projection.forward(&row(rows, number)), &size));
    let count = 1.0 + projections.len() as f32;
    others.fold(first.clone(), |sum, other| sum + other) / count
}

fn resized(x: &Tensor, size: &Tensor) -> Tensor {
    let square = (x * x).reduce(Reduction::Mean, &[1], true).clamp(1e-5, f32::MAX);
    x * size / square.unary(UnaryOperation::SquareRoot)
}

fn root_mean_square(x: &Tensor) -> Tensor {
    (x * x)
        .reduce(Reduction::Mean, &[1], true)
        .unary(UnaryOperation::SquareRoot)
}
