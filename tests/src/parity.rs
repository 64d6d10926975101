//! Whether a plugin computes what the reference implementation computes: prompt, ids, pixels, features, logits, greedy tokens.

use monocle_runtime::plugin::state::PixelTensor;
use monocle_runtime::scheduler::Scheduler;
use monocle_runtime::trace::{Trace, argmax};

use crate::oracle::Oracle;
use crate::project::{self, Carrier};
use crate::record::{self, CaseRecord, ParityRecord};

/// How far pixels may be off: one rounding of an f32 near 2.
pub const PIXELS: f32 = 1e-6;
/// How far logits may be off: the reference implementations differ from each other by about 5e-6.
pub const LOGITS: f32 = 1e-4;
/// Chunk sizes of prefill: all at once, one by one, smaller than any picture, about one picture. What carries the plugin has nothing to do with
/// them: one will do for libraries.
fn chunks(carrier: Carrier) -> &'static [usize] {
    match carrier {
        Carrier::Component => &[4096, 1, 7, 64],
        Carrier::Library => &[7],
    }
}

/// Puts pixels in the order of the reference.
pub type PixelOrder = fn(&[Vec<PixelTensor>]) -> Vec<f32>;

/// How a family's goldens are read.
pub struct Parity {
    /// A folder of `tests/oracle`.
    pub folder: &'static str,
    /// Brings a case's pixel tensors into the golden's order; `None`: pixels are not compared.
    pub pixels: Option<PixelOrder>,
    /// Ids that the golden has where ours have another (the reference's placeholder, ours): `(golden, ours)`.
    pub placeholder: Option<(i64, i64)>,
    /// A picture's mark in the golden's prompts where ours have another: `(golden, ours)`.
    pub mark: Option<(&'static str, &'static str)>,
}

impl Parity {
    /// The usual case: pixels `[n, 3, height, width]`, one picture after another.
    pub fn new(folder: &'static str) -> Self {
        Self {
            folder,
            pixels: Some(channels_first),
            placeholder: None,
            mark: None,
        }
    }

    /// Compares every case of the folder, with the plugin in both carriers, at every chunk size.
    pub fn check(&self) {
        let folder = project::oracle(self.folder);
        let open = |carrier| project::open_folder_in(carrier, &folder);
        self.compare_in(Carrier::Library, &mut open(Carrier::Library));
        let model = &mut open(Carrier::Component);
        let (oracle, cases) = self.compare(model);
        let plugin = model
            .model()
            .plugins()
            .last()
            .map(|plugin| plugin.stamp.name.clone());
        record::write(&ParityRecord {
            folder: self.folder.to_owned(),
            plugin: plugin.unwrap_or_default(),
            stands_for: oracle.text("stands_for"),
            reference: oracle.reference(),
            cases,
        });
    }

    /// Compares every case with a model that was opened some other way, and keeps no record: for variants of a model.
    pub fn compare(&self, model: &mut Scheduler) -> (Oracle, Vec<CaseRecord>) {
        self.compare_in(Carrier::Component, model)
    }

    fn compare_in(&self, carrier: Carrier, model: &mut Scheduler) -> (Oracle, Vec<CaseRecord>) {
        let oracle = Oracle::open(&project::oracle(self.folder));
        let mut cases = Vec::new();
        for case in oracle.cases() {
            let request = oracle.request(&case);
            let mut record = CaseRecord {
                name: case.clone(),
                ..CaseRecord::default()
            };
            for &chunk in chunks(carrier) {
                let name = format!("{} {case} ({carrier:?}), chunks of {chunk}", self.folder);
                let trace = model
                    .trace(&request, chunk, 16)
                    .unwrap_or_else(|error| panic!("{name}: {error}"));
                self.check_trace(&name, &case, &oracle, &trace, &mut record);
            }
            cases.push(record);
        }
        (oracle, cases)
    }

    fn check_trace(&self, name: &str, case: &str, oracle: &Oracle, trace: &Trace, record: &mut CaseRecord) {
        let expected = oracle.case(case)["prompt"].as_str().expect("a case has a prompt");
        let expected = match self.mark {
            Some((golden, ours)) => expected.replace(golden, ours),
            None => expected.to_owned(),
        };
        assert_eq!(trace.prompt, expected, "{name}: rendered prompt");

        let ids: Vec<i64> = oracle.ints(&format!("{case}/input_ids")).expect("a case has ids");
        let with_placeholders = |ids: &[u32]| -> Vec<i64> {
            let as_golden = |&id: &u32| match self.placeholder {
                Some((golden, placeholder)) if i64::from(id) == placeholder => golden,
                _ => i64::from(id),
            };
            ids.iter().map(as_golden).collect()
        };
        assert_eq!(with_placeholders(&trace.prompt_ids), ids, "{name}: token ids");

        if let Some(read) = oracle.ints(&format!("{case}/encoder_ids")) {
            let ours = with_placeholders(&trace.encoder_ids);
            assert_eq!(ours, read, "{name}: token ids of the encoder's prompt");
        }

        if let (Some(reorder), Some((_, pixels))) =
            (self.pixels, oracle.floats(&format!("{case}/pixel_values")))
        {
            let error = close(
                &format!("{name}: pixels"),
                &reorder(&trace.pixels),
                &pixels,
                PIXELS,
            );
            record.pixels = Some(record.pixels.unwrap_or(0.0).max(error));
        }

        if let Some((_, last)) = oracle.floats(&format!("{case}/prefill_last_logits")) {
            let found = trace.prompt_logits.last().expect("a prompt has tokens");
            close(&format!("{name}: logits after the prompt"), found, &last, LOGITS);
        }

        if let Some(best) = oracle.ints(&format!("{case}/prefill_argmax")) {
            let found: Vec<i64> = trace
                .prompt_logits
                .iter()
                .map(|row| i64::from(argmax(row)))
                .collect();
            assert_eq!(
                found, best,
                "{name}: likeliest token after each token of the prompt"
            );
        }

        assert_eq!(trace.tokens, greedy_tokens(oracle, case), "{name}: greedy tokens");

        let (found, steps) = step_logits(oracle, case, trace);
        let error = close(&format!("{name}: logits of each step"), &found, &steps, LOGITS);
        record.logits = record.logits.max(error);
        println!("{name}: logits within {error:.1e}");
    }
}

/// The logits before each token of the answer, as traced and as expected; logarithms of probabilities where the reference gives
/// those.
pub fn step_logits(oracle: &Oracle, case: &str, trace: &Trace) -> (Vec<f32>, Vec<f32>) {
    let rows = &trace.step_logits;
    let (found, (shape, expected)) = match oracle.floats(&format!("{case}/step_logits")) {
        Some(expected) => (rows.clone(), expected),
        None => {
            let expected = oracle.floats(&format!("{case}/mlx_step_logprobs"));
            let found = rows.iter().map(|row| log_probabilities(row)).collect();
            (found, expected.expect("a case has logits of each step"))
        }
    };
    // Some have rows of weights for tokens that nothing asks for.
    let found = found.iter().flat_map(|row| &row[..shape[1]]).copied();
    (found.collect(), expected)
}

/// The tokens that the reference answered.
pub fn greedy_tokens(oracle: &Oracle, case: &str) -> Vec<u32> {
    let tokens = oracle.case(case)["greedy_tokens"].as_array();
    let tokens = tokens.expect("a case has greedy tokens").iter();
    tokens
        .map(|id| id.as_u64().expect("an id is a number") as u32)
        .collect()
}

/// Logarithms of the softmax, which mlx-vlm gives in place of logits.
fn log_probabilities(logits: &[f32]) -> Vec<f32> {
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
    logits
        .iter()
        .map(|&logit| (f64::from(logit) - sum.ln()) as f32)
        .collect()
}

/// Asserts that numbers agree within a tolerance; gives the largest difference.
pub fn close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) -> f32 {
    assert_eq!(found.len(), expected.len(), "{what}: number of values");
    let mut worst = (0, 0.0_f32);
    for (index, (a, b)) in found.iter().zip(expected).enumerate() {
        let difference = (a - b).abs();
        if difference > worst.1 || difference.is_nan() {
            worst = (index, difference);
            if difference.is_nan() {
                break;
            }
        }
    }
    let (index, difference) = worst;
    assert!(
        difference <= tolerance,
        "{what}: value {index} is {}, expected {}: off by {difference}, more than {tolerance}",
        found[index],
        expected[index]
    );
    difference
}

/// Pixel tensors `[n, height, width, 3]` as `[n, 3, height, width]`, one after another.
pub fn channels_first(pictures: &[Vec<PixelTensor>]) -> Vec<f32> {
    let mut values = Vec::new();
    for tensor in pictures.iter().flatten() {
        let [n, height, width, channels] = tensor.shape[..] else {
            panic!("pixels of {:?}", tensor.shape)
        };
        for tile in tensor.values.chunks(height * width * channels).take(n) {
            for channel in 0..channels {
                values.extend(tile.iter().skip(channel).step_by(channels));
            }
        }
    }
    values
}
