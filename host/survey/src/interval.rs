//! How sure a share is.

/// The standard normal distribution's 97.5 % point.
const Z: f64 = 1.959_963_984_540_054;

/// Wilson's interval of 95 % (E. B. Wilson, 1927) for a share of so many cases: its two ends. For means of values between 0 and 1 that are not
/// 0 or 1 alone it is wider than need be.
pub fn wilson(share: f64, cases: usize) -> (f64, f64) {
    if cases == 0 {
        return (0.0, 1.0);
    }
    let n = cases as f64;
    let middle = share + Z * Z / (2.0 * n);
    let half = Z
        * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n))
            .max(0.0)
            .sqrt();
    let whole = 1.0 + Z * Z / n;
    (
        ((middle - half) / whole).max(0.0),
        ((middle + half) / whole).min(1.0),
    )
}
