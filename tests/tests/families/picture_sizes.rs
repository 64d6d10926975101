//! Pictures of awkward sizes: as many tokens as features, in the plan and after encoding, and no more memory for a large photo.

use monocle_runtime::plugin::contract::{FeatureUse, Piece};
use monocle_runtime::request::Request;
use monocle_runtime::scheduler::Scheduler;
use monocle_tests::pictures::{PHOTO, SIZES, grey};
use monocle_tests::project;
use serde_json::Value;

use crate::awkward_pixels::padded;

fn request((width, height): (usize, usize)) -> Request {
    Request::single(None, vec![grey(width, height)], "caption en")
}

/// Plans every size, and encodes and answers all but the photo. `expected` gives the features of a size, where they depend on it.
fn check(folder: &str, expected: impl Fn((usize, usize)) -> Option<usize>) {
    check_model(
        folder,
        &mut project::open_folder(&project::oracle(folder)),
        expected,
    );
}

/// As [`check`], with a model that is open already.
fn check_model(folder: &str, model: &mut Scheduler, expected: impl Fn((usize, usize)) -> Option<usize>) {
    for size in SIZES.into_iter().chain([PHOTO]) {
        let what = format!("{folder}, {size:?}");
        let prepared = model
            .prepare(&request(size), 2, 64)
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        let pieces = match &prepared.plan.encoder {
            Some(encoder) => &encoder.pieces,
            None => &prepared.plan.pieces,
        };
        let slots = pieces.iter().map(|piece| match piece {
            Piece::Features(slot) => slot.tokens as usize,
            Piece::Tokens(_) => 0,
        });
        let seen = match &prepared.plan.feature_use {
            FeatureUse::Splice => slots.sum::<usize>(),
            FeatureUse::Context(ranges) => ranges
                .iter()
                .map(|range| range.to_row as usize)
                .max()
                .unwrap_or(0),
        };
        let features = prepared.plan.images[0].features as usize;
        assert_eq!(seen, features, "{what}: tokens");
        if let Some(expected) = expected(size) {
            assert_eq!(features, expected, "{what}: features");
        }
        let megabytes = prepared.estimate.total() >> 20;
        assert!(megabytes < 256, "{what}: {megabytes} MiB for a tiny model");
        if size != PHOTO {
            // Fails when encoding gives another number of features than the plan.
            let trace = model
                .trace(&request(size), 64, 2)
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(
                trace.features[0][0].len() % features,
                0,
                "{what}: values of the features"
            );
        }
    }
}

/// What the reference's processor makes of a size, with the tiny checkpoint's rules: see make_sizes.py.
fn golden(folder: &str, select: impl Fn(&Value) -> bool) -> Vec<Value> {
    listed(&format!("{folder}/sizes.json"), "cases", select)
}

/// Entries of a list in a file of goldens.
fn listed(file: &str, list: &str, select: impl Fn(&Value) -> bool) -> Vec<Value> {
    let text = std::fs::read_to_string(project::oracle(file));
    let text = text.unwrap_or_else(|error| panic!("{file}: {error}"));
    let golden: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
    let entries = golden[list].as_array();
    let entries = entries.unwrap_or_else(|| panic!("{file} has no list `{list}`"));
    entries.iter().filter(|entry| select(entry)).cloned().collect()
}

/// Checks the features of every size, as the reference counts them with the tiny checkpoint's rules: see make_awkward_pictures.py.
fn check_counted(folder: &str) {
    let cases = listed("awkward/golden.json", "features", |case| case["folder"] == folder);
    check(folder, |size| {
        let case = find(&cases, size).unwrap_or_else(|| panic!("{folder}, {size:?}: no golden"));
        Some(case["features"].as_u64().expect("a number of features") as usize)
    });
}

fn find(cases: &[Value], (width, height): (usize, usize)) -> Option<&Value> {
    cases
        .iter()
        .find(|case| case["size"] == serde_json::json!([width, height]))
}

fn patches(case: &Value, unit: u64) -> usize {
    let side = |index: usize| case["used"][index].as_u64().expect("a side") / unit;
    (side(0) * side(1)) as usize
}

#[test]
fn gemma3() {
    check("gemma3", |_| Some(4)); // `image_seq_length`
}

#[test]
fn gemma3n() {
    check("gemma3n", |_| Some(4)); // `image_seq_length`
}

#[test]
fn molmo() {
    // The published geometry's counts are held by the plugin's own tests.
    check_counted("molmo");
}

#[test]
fn florence2() {
    check("florence2", |_| Some(10)); // `image_seq_length`
}

#[test]
fn llava_onevision() {
    // The published geometry's counts are held by the plugin's own tests.
    check_counted("llava_onevision");
}

#[test]
fn moondream2() {
    check("moondream2", |_| Some(729)); // 27 squared, whatever is cut
}

#[test]
fn ernie4_5_vl() {
    let cases = golden("ernie4_5_vl", |case| case["most"] == 15680);
    check("ernie4_5_vl", |size| {
        find(&cases, size).map(|case| patches(case, 28))
    });
}

#[test]
fn paligemma2() {
    check("paligemma2", |_| Some(16)); // 56 / 14, squared
}

#[test]
fn pixtral() {
    let cases = golden("mistral3", |case| case["longest"] == 112 && case["unit"] == 14);
    check("pixtral", |size| find(&cases, size).map(|case| patches(case, 14)));
}

#[test]
fn ministral3() {
    let cases = golden("mistral3", |case| case["longest"] == 112 && case["unit"] == 28);
    check("ministral3", |size| {
        find(&cases, size).map(|case| patches(case, 28))
    });
}

#[test]
fn phi3_v() {
    let cases = golden("phi3_v", |case| case["crops"] == 4);
    check("phi3_v", |size| {
        Some(find(&cases, size)?["features"].as_u64()? as usize)
    });
}

#[test]
fn qwen2_vl() {
    let cases = golden("qwen2_vl", |case| case["most"] == 31360);
    for folder in ["qwen2_vl", "qwen2_5_vl"] {
        check(folder, |size| find(&cases, size).map(|case| patches(case, 28)));
    }
}

#[test]
fn qwen3_vl() {
    let cases = golden("qwen2_vl", |case| case["most"] == 36864);
    check("qwen3_vl", |size| {
        find(&cases, size).map(|case| patches(case, 32))
    });
}

#[test]
fn glm4v() {
    let cases = golden("qwen2_vl", |case| case["most"] == 62720);
    for folder in ["glm4v", "glm4v_moe", "glm_ocr"] {
        check(folder, |size| find(&cases, size).map(|case| patches(case, 28)));
    }
}

#[test]
fn smolvlm() {
    // The rules of both tiny checkpoints, whose tiles have 4 features (`image_seq_len`).
    let cases = listed("smolvlm/tiling.json", "tilings", |case| {
        case["longest_edge"] == 224 && case["tile"] == 56
    });
    for folder in ["smolvlm", "idefics3"] {
        check(folder, |size| {
            let case = find(&cases, size).unwrap_or_else(|| panic!("{size:?}: no golden"));
            Some(case["tiles"].as_u64().expect("a number of tiles") as usize * 4)
        });
    }
}

#[test]
fn nanollava() {
    check("nanollava", |_| Some(729)); // 384 / 14, squared
    let mut padded = project::open_manifest(&padded());
    check_model("nanollava with a border", &mut padded, |_| Some(729));
}

#[test]
fn deepseek_vl2() {
    check_counted("deepseek_vl2");
}

#[test]
fn kimi_vl() {
    let cases = golden("kimi_vl", |case| case["patches"] == 60);
    check("kimi_vl", |size| {
        let padded = find(&cases, size)?["padded"].as_array()?;
        let side = |index: usize| padded[index].as_u64().expect("a side") as usize / 28;
        Some(side(0) * side(1))
    });
}

#[test]
fn paddleocr_vl() {
    let cases = golden("paddleocr_vl", |case| case["most"] == 31360);
    check("paddleocr_vl", |size| {
        find(&cases, size).map(|case| patches(case, 28))
    });
}

#[test]
fn mllama() {
    check("mllama", |_| Some(4 * 17)); // four tiles of (56 / 14)² patches and a class token, whether they are filled or not
    let cases = golden("mllama", |case| case["tile"] == 56);
    let mut model = project::open_folder(&project::oracle("mllama"));
    for size in SIZES.into_iter().chain([PHOTO]) {
        let prepared = model
            .prepare(&request(size), 2, 64)
            .unwrap_or_else(|error| panic!("{size:?}: {error}"));
        let (plan, case) = (&prepared.plan.images[0], find(&cases, size).expect("a golden"));
        assert_eq!(
            serde_json::json!([plan.used.width, plan.used.height]),
            case["used"],
            "{size:?}"
        );
        let tiles = case["tiles"][0].as_u64().zip(case["tiles"][1].as_u64());
        assert_eq!(
            Some(plan.tiles.into()),
            tiles.map(|(rows, columns)| rows * columns),
            "{size:?}"
        );
    }
}
