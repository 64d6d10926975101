//! Pixels of pictures of one pixel and of very thin ones, against reference processors: see make_awkward_pictures.py.

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

/// Compares the sizes of which the reference makes something.
fn check(folder: &str, model: &mut Scheduler) {
    let oracle = Oracle::open(&project::oracle("awkward"));
    let nothing_left = oracle.golden["nothing_left"].as_array().expect("a list");
    for (width, height) in SIZES {
        let what = format!("{folder}, {width} by {height}");
        let size = serde_json::json!({ "folder": folder, "size": [width, height] });
        let expected = oracle.floats(&format!("{folder}/{width}x{height}/pixel_values"));
        assert_eq!(expected.is_none(), nothing_left.contains(&size), "{what}");
        let Some((_, expected)) = expected else { continue };
        let request = Request::single(None, vec![picture(width, height)], "<OD>");
        let trace = model
            .trace(&request, 1024, 1)
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        let found: Vec<f32> = channels_first(&trace.pixels).into_iter().step_by(37).collect();
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
