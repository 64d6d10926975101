//! Medians, spreads, and the ratio of two paired rows of figures with its interval.
//!
//! The interval makes no assumption on how figures are distributed. Of n independent values each lies below the median of what they are
//! drawn from with probability 1/2, so the median lies between the k-th least and the k-th largest value with probability
//! `1 - 2 P(B < k)`, B binomial (n, 1/2): the interval that belongs to the sign test (W. J. Conover, Practical Nonparametric Statistics,
//! 3rd edition, sections 3.1 and 3.2; H. A. David and H. N. Nagaraja, Order Statistics, 3rd edition, section 7.1).

use serde::Serialize;

/// How sure an interval is at least.
pub const CONFIDENCE: f64 = 0.95;
/// The fewest values whose least and largest make an interval: `1 - 2 / 2^6` is 96.9 %, and of five values 93.8 %.
pub const FEWEST: usize = 6;
/// The most values that the binomial sums here are exact enough for.
pub const MOST: usize = 1000;

/// Where values lie.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    /// A quarter lies below.
    pub lower_quartile: f64,
    /// A quarter lies above.
    pub upper_quartile: f64,
    /// The least.
    pub least: f64,
    /// The largest.
    pub largest: f64,
}

impl Spread {
    /// Of values in any order; `None` of none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let sorted = sorted(values);
        Some(Self {
            median: quantile(&sorted, 0.5)?,
            lower_quartile: quantile(&sorted, 0.25)?,
            upper_quartile: quantile(&sorted, 0.75)?,
            least: *sorted.first()?,
            largest: *sorted.last()?,
        })
    }
}

/// The ratio b/a over pairs, with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ratio {
    /// The median of the pairs' ratios (of their logarithms: b/a and a/b agree).
    pub median: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
    /// How sure the interval is: at least [`CONFIDENCE`].
    pub confidence: f64,
}

/// Whether two figures are nearer to each other than a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Within {
    /// The whole interval is.
    Yes,
    /// No part of the interval is.
    No,
    /// A part of it is: more pairs, or a quieter machine, would tell.
    Undecided,
}

impl Ratio {
    /// Of rows of equal length, pair by pair; `None` of fewer than [`FEWEST`] or more than [`MOST`] pairs. Figures must be above 0.
    pub fn of(a: &[f64], b: &[f64]) -> Option<Self> {
        if a.len() != b.len() {
            return None;
        }
        let logarithms: Vec<f64> = a.iter().zip(b).map(|(a, b)| b.ln() - a.ln()).collect();
        let sorted = sorted(&logarithms);
        let (rank, confidence) = interval_rank(sorted.len())?;
        Some(Self {
            median: quantile(&sorted, 0.5)?.exp(),
            low: sorted[rank - 1].exp(),
            high: sorted[sorted.len() - rank].exp(),
            confidence,
        })
    }

    /// Whether the interval holds 1, that is: whether no difference was found.
    pub fn is_equal(&self) -> bool {
        self.low <= 1.0 && 1.0 <= self.high
    }

    /// The least difference, as a share, that this run would have told from none: how far the interval reaches from its median.
    pub fn resolution(&self) -> f64 {
        (self.median / self.low).max(self.high / self.median) - 1.0
    }

    /// Whether the figures differ by less than a share: the ratio lies between `1 / (1 + limit)` and `1 + limit`.
    pub fn within(&self, limit: f64) -> Within {
        let (low, high) = (1.0 / (1.0 + limit), 1.0 + limit);
        if low <= self.low && self.high <= high {
            Within::Yes
        } else if self.high < low || high < self.low {
            Within::No
        } else {
            Within::Undecided
        }
    }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// Between the two nearest values, in proportion.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let place = share * sorted.len().checked_sub(1)? as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    Some(below + (above - below) * place.fract())
}

/// The largest k for which the k-th least and k-th largest of `count` values enclose the median with [`CONFIDENCE`], and how surely
/// they do.
fn interval_rank(count: usize) -> Option<(usize, f64)> {
    if !(FEWEST..=MOST).contains(&count) {
        return None;
    }
    // The term is P(B = rank), the tail P(B < rank); of one more value and 2^-1000 both are normal numbers.
    let mut term = 0.5f64.powi(i32::try_from(count).ok()?);
    let (mut rank, mut tail) = (0, 0.0);
    while 2.0 * (tail + term) <= 1.0 - CONFIDENCE {
        tail += term;
        rank += 1;
        term *= (count - rank + 1) as f64 / rank as f64;
    }
    Some((rank, 1.0 - 2.0 * tail))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn near(found: f64, expected: f64) {
        assert!(
            (found - expected).abs() <= 1e-12 * expected.abs(),
            "expected {expected}, found {found}"
        );
    }

    #[test]
    fn spread_by_hand() {
        // Of 1 2 4 8: the median is (2 + 4) / 2; quartiles lie at places 0.75 and 2.25: 1 + 0.75 and 4 + 0.25 * 4.
        let spread = Spread::of(&[8.0, 1.0, 4.0, 2.0]).unwrap();
        assert_eq!(
            spread,
            Spread {
                median: 3.0,
                lower_quartile: 1.75,
                upper_quartile: 5.0,
                least: 1.0,
                largest: 8.0
            }
        );
        assert_eq!(Spread::of(&[7.0]).unwrap().upper_quartile, 7.0);
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn ranks_by_hand() {
        // Of 6: P(B = 0) = 1/64. Of 5, 2/32 is more than 5 %: no interval.
        assert_eq!(interval_rank(5), None);
        assert_eq!(interval_rank(6), Some((1, 1.0 - 2.0 / 64.0)));
        // Of 20: 1 + 20 + 190 + 1140 + 4845 + 15504 = 21700 of 2^20 = 1048576, twice that is 4.1 %; with 38760 more it is 11.5 %.
        let (rank, confidence) = interval_rank(20).unwrap();
        assert_eq!(rank, 6);
        near(confidence, 1.0 - 2.0 * 21_700.0 / 1_048_576.0);
        // Of 10: 1 + 10 of 1024, twice that is 2.1 %; with 45 more it is 10.9 %.
        let (rank, confidence) = interval_rank(10).unwrap();
        assert_eq!(rank, 2);
        near(confidence, 1.0 - 2.0 * 11.0 / 1024.0);
        // Of 1000 the normal approximation says 500 - 1.96 * sqrt(1000) / 2 = 469.01, as the tail's middle: rank 469.
        assert_eq!(interval_rank(1000).unwrap().0, 469);
        assert_eq!(interval_rank(1001), None);
    }

    #[test]
    fn ratio_by_hand() {
        // Ratios 1/2, 1, 2, 2, 4, 8: the median is 2, and of six values the least and the largest are the interval.
        let ratio = Ratio::of(&[2.0, 1.0, 3.0, 5.0, 1.0, 1.0], &[1.0, 1.0, 6.0, 10.0, 4.0, 8.0]).unwrap();
        near(ratio.median, 2.0);
        near(ratio.low, 0.5);
        near(ratio.high, 8.0);
        near(ratio.resolution(), 3.0);
        assert!(ratio.is_equal());
        assert_eq!(Ratio::of(&[1.0; 6], &[1.0; 7]), None);
    }

    #[test]
    fn middle_of_an_even_count_is_geometric() {
        // The two middle ratios are 1 and 4: 2, not 2.5.
        let ratio = Ratio::of(&[1.0; 6], &[1.0, 1.0, 1.0, 4.0, 4.0, 4.0]).unwrap();
        near(ratio.median, 2.0);
    }

    #[test]
    fn within_looks_at_the_whole_interval() {
        let ratio = |low, high| Ratio {
            median: 1.0,
            low,
            high,
            confidence: 0.95,
        };
        assert_eq!(ratio(0.995, 1.005).within(0.01), Within::Yes);
        assert_eq!(ratio(0.985, 1.005).within(0.01), Within::Undecided);
        assert_eq!(ratio(0.98, 0.99).within(0.01), Within::No);
        assert_eq!(ratio(1.011, 1.02).within(0.01), Within::No);
        // Within 1 % and different all the same.
        assert_eq!(ratio(1.002, 1.004).within(0.01), Within::Yes);
        assert!(!ratio(1.002, 1.004).is_equal());
        assert!(!ratio(0.996, 0.998).is_equal());
    }

    #[test]
    fn interval_covers_as_often_as_it_says() {
        // Ratios drawn around 1 with a long tail: exponents of (e1 - e2)^3, of exponential e1 and e2, lie symmetrically around 0.
        let mut random = fastrand::Rng::with_seed(9);
        let mut exponential = || -(1.0 - random.f64()).ln();
        let rounds = 4000;
        let covered = (0..rounds)
            .filter(|_| {
                let figures: Vec<f64> = (0..20)
                    .map(|_| (exponential() - exponential()).powi(3).exp())
                    .collect();
                Ratio::of(&[1.0; 20], &figures).unwrap().is_equal()
            })
            .count();
        // 95.86 %; one standard deviation of the share is 0.31 %.
        let share = covered as f64 / f64::from(rounds);
        assert!((share - 0.9586).abs() < 0.0125, "{share}");
    }

    fn figures() -> impl Strategy<Value = Vec<(f64, f64)>> {
        prop::collection::vec((1e-6..1e6, 1e-6..1e6), FEWEST..60)
    }

    fn ratio_of(pairs: &[(f64, f64)]) -> Ratio {
        let (a, b): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
        Ratio::of(&a, &b).unwrap()
    }

    proptest! {
        #[test]
        fn interval_holds_the_median(pairs in figures()) {
            let ratio = ratio_of(&pairs);
            prop_assert!(ratio.low <= ratio.median && ratio.median <= ratio.high);
            prop_assert!(ratio.confidence >= CONFIDENCE);
            prop_assert!(ratio.resolution() >= 0.0);
        }

        #[test]
        fn order_of_pairs_does_not_matter(
            (pairs, shuffled) in figures().prop_flat_map(|pairs| (Just(pairs.clone()), Just(pairs).prop_shuffle()))
        ) {
            prop_assert_eq!(ratio_of(&pairs), ratio_of(&shuffled));
        }

        #[test]
        fn scale_of_both_does_not_matter_and_of_one_carries_over(pairs in figures(), scale in 1e-3..1e3) {
            let plain = ratio_of(&pairs);
            let both: Vec<_> = pairs.iter().map(|(a, b)| (a * scale, b * scale)).collect();
            let one: Vec<_> = pairs.iter().map(|(a, b)| (*a, b * scale)).collect();
            let (both, one) = (ratio_of(&both), ratio_of(&one));
            for (of, expected) in [(both, 1.0), (one, scale)] {
                for (found, plain) in [(of.median, plain.median), (of.low, plain.low), (of.high, plain.high)] {
                    prop_assert!((found / plain / expected - 1.0).abs() < 1e-9);
                }
            }
        }

        #[test]
        fn exchanged_sides_turn_the_ratio_over(pairs in figures()) {
            let plain = ratio_of(&pairs);
            let turned = ratio_of(&pairs.iter().map(|(a, b)| (*b, *a)).collect::<Vec<_>>());
            prop_assert!((plain.median * turned.median - 1.0).abs() < 1e-9);
            prop_assert!((plain.low * turned.high - 1.0).abs() < 1e-9);
        }
    }
}
