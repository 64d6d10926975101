//! Pixels of pictures of one pixel and of very thin ones, against reference processors: see make_awkward_pictures.py.

use std::collections::HashSet;

use monocle_runtime::request::Request;
use monocle_runtime::request::pictures::PictureInput;
use monocle_runtime::scheduler::Scheduler;
use monocle_tests::oracle::Oracle;
use monocle_tests::parity::{PIXELS, channels_first, close};
use monocle_tests::project;

/// Sizes of the golden.
const SIZES: [(usize, usize); 5] = [(1, 1), (16, 3000), (3000, 16), (41, 3000), (3000, 41)];

/// The picture of the golden: each channel differs, and each pixel from its neighbours.
fn picture(width: usize, height: usize) -> PictureInput {
    let mut bytes = format!("P6\n{width} {height}\n255\n").into_bytes();
    for y in 0..height {
        let values = (0..width * 3).map(|place| (place / 3 * 7 + y * 13 + place % 3 * 59) % 251);
        bytes.extend(values.map(|value| value as u8));
    }
    PictureInput::Bytes {
        name: format!("{width}x{height}"),
        bytes,
    }
}

/// Compares the sizes of which the reference makes something; of the others no side is less than a pixel here.
fn check(folder: &str, model: &mut Scheduler) {
    check_with(folder, folder, model);
}

/// As [`check`], with the golden of a folder that has the same rules.
fn check_with(folder: &str, judge: &str, model: &mut Scheduler) {
    let oracle = Oracle::open(&project::oracle("awkward"));
    let nothing_left = oracle.golden["nothing_left"].as_array().expect("a list");
    let every = oracle.golden["sparser"][judge].as_u64().unwrap_or(37) as usize;
    for (width, height) in SIZES {
        let what = format!("{folder}, {width} by {height}");
        let size = serde_json::json!({ "folder": judge, "size": [width, height] });
        let expected = oracle.floats(&format!("{judge}/{width}x{height}/pixel_values"));
        assert_eq!(expected.is_none(), nothing_left.contains(&size), "{what}");
        let request = Request::single(None, vec![picture(width, height)], "<OD>");
        let trace = model
            .trace(&request, 1024, 1)
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        let found = channels_first(&trace.pixels);
        let Some((_, expected)) = expected else {
            // A border and one colour would be two values a channel: something is seen of the picture.
            let values: HashSet<u32> = found.iter().map(|value| value.to_bits()).collect();
            assert!(values.len() > 6, "{what}: {} values", values.len());
            continue;
        };
        let found: Vec<f32> = found.into_iter().step_by(every).collect();
        close(&what, &found, &expected, PIXELS);
    }
}

#[test]
fn pixels_of_awkward_pictures_are_the_reference_s() {
    for folder in [
        "deepseek_vl2",
        "ernie4_5_vl",
        "florence2",
        "kimi_vl",
        "molmo",
        "moondream2",
    ] {
        check(folder, &mut project::open_folder(&project::oracle(folder)));
    }
}

#[test]
fn pixels_of_pictures_of_any_size_are_the_reference_s() {
    for folder in [
        "glm4v",
        "mistral3",
        "paddleocr_vl",
        "pixtral",
        "qwen2_vl",
        "qwen3_vl",
    ] {
        check(folder, &mut project::open_folder(&project::oracle(folder)));
    }
}

#[test]
fn pixels_of_tiles_are_the_reference_s() {
    for folder in [
        "idefics3",
        "internvl",
        "lfm2_vl",
        "llava_next",
        "llava_onevision",
        "mllama",
        "phi3_v",
        "smolvlm",
    ] {
        check(folder, &mut project::open_folder(&project::oracle(folder)));
    }
    // The same rules, read from other keys.
    let original = "internvl_chat";
    check_with(
        original,
        "internvl",
        &mut project::open_folder(&project::oracle(original)),
    );
}

#[test]
fn pixels_of_squares_are_the_reference_s() {
    for folder in ["gemma3", "gemma3n", "llava", "paligemma2"] {
        check(folder, &mut project::open_folder(&project::oracle(folder)));
    }
}

#[test]
fn pictures_that_references_refuse_are_refused() {
    let golden = Oracle::open(&project::oracle("awkward")).golden;
    let refused = golden["refused"].as_array().expect("a list");
    for folder in ["ernie4_5_vl", "glm4v", "paddleocr_vl", "qwen2_vl", "qwen3_vl"] {
        let mut model = project::open_folder(&project::oracle(folder));
        for (width, height) in [(14, 3000), (3000, 14)] {
            let what = format!("{folder}, {width} by {height}");
            let size = serde_json::json!({ "folder": folder, "size": [width, height] });
            assert!(refused.contains(&size), "{what}");
            let request = Request::single(None, vec![picture(width, height)], "<OD>");
            let error = match model.prepare(&request, 1, 1024) {
                Ok(_) => panic!("{what} is taken"),
                Err(error) => error.to_string(),
            };
            assert!(error.contains("200 times as long as wide"), "{what}: {error}");
        }
    }
}

/// As the shipped manifests have it.
#[test]
fn nanollava_s_border_is_the_original_s() {
    check("nanollava", &mut project::open_manifest(&padded()));
}

/// nanoLLaVA's checkpoint with the option of the shipped manifests.
pub fn padded() -> String {
    let folder = project::oracle("nanollava");
    format!(
        "schema = 1\nname = \"padded\"\nsource = {{ path = {folder:?} }}\n\
         plugin = {{ name = \"nanollava\", version = \"0.1\", options = {{ pad = true }} }}\n"
    )
}
