//! Whether two traces agree, row by row, for people and for programs.

use serde::Serialize;

use super::file::{Array, Numbers, TraceFile};

/// How far numbers may be from the reference's.
#[derive(Debug, Clone, Copy)]
pub struct Tolerances {
    /// Pixels.
    pub pixels: f32,
    /// Features, and rows of context.
    pub features: f32,
    /// Logits.
    pub logits: f32,
}

/// What was compared, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What.
    pub what: String,
    /// Whether it agrees; absent where it could not be compared.
    pub agrees: Option<bool>,
    /// In words.
    pub words: String,
    /// The largest difference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worst: Option<f32>,
}

impl Row {
    fn new(what: &str, agrees: bool, words: impl Into<String>) -> Self {
        Self {
            what: what.to_owned(),
            agrees: Some(agrees),
            words: words.into(),
            worst: None,
        }
    }

    fn skipped(what: &str, words: impl Into<String>) -> Self {
        Self {
            agrees: None,
            ..Self::new(what, true, words)
        }
    }
}

/// Compares what both have. `token` gives a token's text.
pub fn compare(
    found: &TraceFile,
    golden: &TraceFile,
    tolerances: Tolerances,
    token: &dyn Fn(i64) -> String,
) -> Vec<Row> {
    let mut rows = Vec::new();
    if let (Some(ours), Some(theirs)) = (found.texts.get("prompt"), golden.texts.get("prompt")) {
        rows.push(prompts(ours, theirs));
    }
    for name in ["input_ids", "encoder_ids"] {
        if let Some(theirs) = golden.ids(name) {
            rows.push(ids(name, found.ids(name).unwrap_or_default(), theirs, token));
        }
    }
    rows.extend(pixels(found, golden, tolerances.pixels));
    let pairs = golden.starting("features.").chain(golden.starting("context"));
    rows.extend(pairs.map(|(name, theirs)| match found.arrays.get(name) {
        Some(ours) => floats(name, ours, theirs, tolerances.features),
        None => Row::new(name, false, "the model gives none"),
    }));
    if let Some(theirs) = golden.ids("prompt_argmax") {
        let name = "prompt_argmax";
        rows.push(match found.ids(name) {
            Some(ours) => ids(name, ours, theirs, token),
            None => Row::skipped(name, "not traced: `--all-logits`"),
        });
    }
    for name in ["prompt_logits", "step_logits"] {
        if let Some(theirs) = golden.arrays.get(name) {
            rows.push(match found.arrays.get(name) {
                Some(ours) => floats(name, ours, theirs, tolerances.logits),
                None => Row::skipped(name, "not traced: `--all-logits`"),
            });
        }
    }
    if let (Some(theirs), Some((shape, logits))) = (golden.ids("greedy_tokens"), found.floats("step_logits"))
    {
        rows.push(likeliest(theirs, shape, logits, token));
    }
    rows
}

fn prompts(ours: &str, theirs: &str) -> Row {
    if ours == theirs {
        return Row::new("prompt", true, format!("equal, {} letters", ours.chars().count()));
    }
    let at = ours
        .bytes()
        .zip(theirs.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    let around = |text: &str| {
        let start = text.floor_char_boundary(at.saturating_sub(20));
        let end = text.ceil_char_boundary((at + 20).min(text.len()));
        format!("{:?}", &text[start.min(end)..end])
    };
    Row::new(
        "prompt",
        false,
        format!(
            "differs at byte {at}: {}, expected {}",
            around(ours),
            around(theirs)
        ),
    )
}

fn ids(what: &str, ours: &[i64], theirs: &[i64], token: &dyn Fn(i64) -> String) -> Row {
    if ours == theirs {
        return Row::new(what, true, format!("equal, {} tokens", ours.len()));
    }
    let at = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
    let at_place = |ids: &[i64]| {
        ids.get(at)
            .map_or("the end".to_owned(), |&id| format!("{id} {}", token(id)))
    };
    Row::new(
        what,
        false,
        format!(
            "{} tokens, expected {}; token {at} is {}, expected {}",
            ours.len(),
            theirs.len(),
            at_place(ours),
            at_place(theirs)
        ),
    )
}

/// The likeliest token of each step must be the one that the reference took. Both were given the same tokens before it.
fn likeliest(theirs: &[i64], shape: &[usize], logits: &[f32], token: &dyn Fn(i64) -> String) -> Row {
    let what = "greedy_tokens";
    let width = shape.get(1).copied().unwrap_or(0).max(1);
    for (step, (row, &expected)) in logits.chunks(width).zip(theirs).enumerate() {
        let best = i64::from(monocle_runtime::trace::argmax(row));
        if best != expected {
            let value = |id: i64| usize::try_from(id).ok().and_then(|id| row.get(id)).copied();
            let ahead = value(best).zip(value(expected)).map(|(a, b)| a - b);
            let ahead = ahead.map_or(String::new(), |ahead| {
                format!("; its logit is {ahead:.1e} greater")
            });
            return Row::new(
                what,
                false,
                format!(
                    "step {step}: {best} {}, expected {expected} {}{ahead}",
                    token(best),
                    token(expected)
                ),
            );
        }
    }
    Row::new(what, true, format!("equal, {} tokens", theirs.len()))
}

/// Pixels are compared tensor by tensor where the file has ours, and else as one list: references have their own order of dimensions.
fn pixels(found: &TraceFile, golden: &TraceFile, tolerance: f32) -> Vec<Row> {
    let own: Vec<Row> = golden
        .starting("pixels.")
        .map(|(name, theirs)| match found.arrays.get(name) {
            Some(ours) => floats(name, ours, theirs, tolerance),
            None => Row::new(name, false, "the plugin makes none"),
        })
        .collect();
    let Some((shape, theirs)) = golden.floats("pixel_values") else {
        return own;
    };
    let ours: Vec<(&[usize], &[f32])> = found
        .starting("pixels.")
        .filter_map(|(name, _)| found.floats(name))
        .collect();
    let straight: Vec<f32> = ours
        .iter()
        .flat_map(|(_, values)| values.iter().copied())
        .collect();
    let swapped: Vec<f32> = ours
        .iter()
        .flat_map(|(shape, values)| channels_first(shape, values))
        .collect();
    let what = "pixel_values";
    if straight.len() != theirs.len() {
        let row = Row::skipped(
            what,
            format!(
                "not compared: {} numbers, the reference has {} as {shape:?}",
                straight.len(),
                theirs.len()
            ),
        );
        return [own, vec![row]].concat();
    }
    let orders = [
        (&straight, "in the plugin's order"),
        (&swapped, "with channels first"),
    ];
    let (worst, ours, order) = orders
        .map(|(ours, order)| (difference(ours, theirs), ours, order))
        .into_iter()
        .min_by(|(a, ..), (b, ..)| a.1.total_cmp(&b.1))
        .expect("there are two orders");
    let mut row = within(what, worst, ours, theirs, tolerance);
    row.words = format!("{} ({order})", row.words);
    [own, vec![row]].concat()
}

/// `[n, height, width, 3]` as `[n, 3, height, width]`.
fn channels_first(shape: &[usize], values: &[f32]) -> Vec<f32> {
    let [_, height, width, channels] = *shape else {
        return values.to_vec();
    };
    let tile = (height * width * channels).max(1);
    let tiles = values.chunks(tile);
    tiles
        .flat_map(|tile| (0..channels).flat_map(move |channel| tile.iter().skip(channel).step_by(channels)))
        .copied()
        .collect()
}

fn floats(what: &str, ours: &Array, theirs: &Array, tolerance: f32) -> Row {
    let (Numbers::Floats(found), Numbers::Floats(expected)) = (&ours.numbers, &theirs.numbers) else {
        return Row::new(what, false, "expected floats");
    };
    // Tables of weights are often longer than the vocabulary: the reference may give fewer logits.
    let (ours_wide, theirs_wide) = (ours.shape.last(), theirs.shape.last());
    let narrowed: Vec<f32>;
    let found = match (ours_wide, theirs_wide) {
        (Some(&wide), Some(&narrow)) if wide > narrow && what.ends_with("logits") => {
            narrowed = found
                .chunks(wide)
                .flat_map(|row| &row[..narrow])
                .copied()
                .collect();
            &narrowed
        }
        _ => found,
    };
    if found.len() != expected.len() {
        return Row::new(
            what,
            false,
            format!("{:?}, expected {:?}", ours.shape, theirs.shape),
        );
    }
    within(what, difference(found, expected), found, expected, tolerance)
}

fn within(what: &str, (place, worst): (usize, f32), ours: &[f32], theirs: &[f32], tolerance: f32) -> Row {
    let agrees = worst <= tolerance;
    let words = match agrees {
        true => format!("within {worst:.1e} of {tolerance:.0e}, {} numbers", theirs.len()),
        false => format!(
            "off by {worst:.1e}, more than {tolerance:.0e}: number {place} is {}, expected {}",
            ours.get(place).copied().unwrap_or(f32::NAN),
            theirs.get(place).copied().unwrap_or(f32::NAN)
        ),
    };
    Row {
        worst: Some(worst),
        ..Row::new(what, agrees, words)
    }
}

/// Where two lists differ most, and by how much; what is no number differs by more than anything.
fn difference(ours: &[f32], theirs: &[f32]) -> (usize, f32) {
    let mut worst = (0, 0.0_f32);
    for (place, (a, b)) in ours.iter().zip(theirs).enumerate() {
        let off = match (a - b).abs() {
            off if off.is_nan() && a.to_bits() != b.to_bits() => f32::INFINITY,
            off if off.is_nan() => 0.0,
            off => off,
        };
        if off > worst.1 {
            worst = (place, off);
        }
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(shape: &[usize], values: &[f32]) -> Array {
        Array {
            shape: shape.to_vec(),
            numbers: Numbers::Floats(values.to_vec()),
        }
    }

    fn file(arrays: &[(&str, Array)]) -> TraceFile {
        let mut file = TraceFile::default();
        let named = arrays
            .iter()
            .map(|(name, array)| ((*name).to_owned(), array.clone()));
        file.arrays = named.collect();
        file
    }

    const TIGHT: Tolerances = Tolerances {
        pixels: 1e-6,
        features: 1e-4,
        logits: 1e-4,
    };

    #[test]
    fn references_have_their_own_order_of_pixels() {
        // Two pixels of three channels, side by side: r1 g1 b1 r2 g2 b2, and r1 r2 g1 g2 b1 b2.
        let ours = file(&[(
            "pixels.0.0",
            array(&[1, 1, 2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        )]);
        let values = [1.0, 4.0, 2.0, 5.0, 3.0, 6.0];
        let theirs = file(&[("pixel_values", array(&[1, 3, 1, 2], &values))]);
        let rows = compare(&ours, &theirs, TIGHT, &|_| String::new());
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].agrees, Some(true), "{rows:?}");
        assert!(rows[0].words.contains("channels first"), "{rows:?}");
        let theirs = file(&[(
            "pixel_values",
            array(&[1, 3, 1, 2], &[1.0, 4.0, 2.0, 5.0, 3.0, 6.1]),
        )]);
        let rows = compare(&ours, &theirs, TIGHT, &|_| String::new());
        assert_eq!(rows[0].agrees, Some(false), "{rows:?}");
        assert!(rows[0].words.contains("number 5 is 6, expected 6.1"), "{rows:?}");
    }

    #[test]
    fn what_is_no_number_agrees_with_nothing() {
        let ours = file(&[("step_logits", array(&[1, 2], &[f32::NAN, 1.0]))]);
        let theirs = file(&[("step_logits", array(&[1, 2], &[0.0, 1.0]))]);
        let rows = compare(&ours, &theirs, TIGHT, &|_| String::new());
        assert_eq!(rows[0].agrees, Some(false), "{rows:?}");
    }

    #[test]
    fn the_first_other_token_is_named() {
        let words = ids("input_ids", &[5, 6, 7], &[5, 9], &|id| format!("`{id}`")).words;
        assert_eq!(words, "3 tokens, expected 2; token 1 is 6 `6`, expected 9 `9`");
        let words = prompts("User: hello", "User: hallo").words;
        assert_eq!(
            words,
            "differs at byte 7: \"User: hello\", expected \"User: hallo\""
        );
    }

    #[test]
    fn the_likeliest_token_of_each_step_counts() {
        let logits = [0.0, 1.0, 0.5, 0.75];
        let row = likeliest(&[1, 0], &[2, 2], &logits, &|_| String::new());
        assert_eq!(row.agrees, Some(false));
        assert!(row.words.starts_with("step 1: 1"), "{}", row.words);
        assert!(row.words.contains("2.5e-1 greater"), "{}", row.words);
    }
}
