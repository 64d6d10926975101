//! A photo of 43 million pixels: neither a buffer that is quadratic in tokens, nor more than the limit.

use std::path::Path;

use monocle_runtime::report::Report;
use monocle_runtime::request::Request;
use monocle_tests::pictures::{PHOTO, grey};
use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use serde_json::{Map, json};

use super::{generate, manifest};

/// What these tiny models may take with the photo (128 MB as decoded) and its pixels.
const LIMIT: usize = 512 << 20;

fn photo() -> Request {
    let (width, height) = PHOTO;
    Request::single(None, vec![grey(width, height)], "Describe this picture.")
}

fn answer(manifest: &str) -> Report {
    let mut model = project::open_manifest_within(manifest, LIMIT);
    let report = generate(&mut model, &photo(), 4, 512).unwrap();
    let memory = &report.memory;
    assert!(
        memory.engine_peak() + memory.estimate.picture_bytes <= LIMIT,
        "{memory:?}"
    );
    report
}

#[test]
fn tiles_of_a_smolvlm() {
    // As Idefics3 cuts: up to 4 tiles of 364 pixels along the longer side, 26 x 26 patches each.
    let folder = Scratch::checkpoint("smolvlm");
    folder.edit("preprocessor_config.json", |rules| {
        rules
            .replace("\"longest_edge\": 56", "\"longest_edge\": 364")
            .replace("224", "1456")
    });
    folder.edit("config.json", |config| {
        config.replace("\"image_size\": 56", "\"image_size\": 364")
    });
    with_positions(&folder, 26 * 26);
    let report = answer(&manifest("smolvlm", folder.path(), ""));
    // 5477 x 7819 becomes 1020 x 1456: 3 x 4 tiles and the whole, (26 / 2)^2 tokens each.
    assert_eq!((report.images[0].tiles, report.images[0].tokens), (13, 13 * 169));
    // Scores of one tile's patches for each head and tile would take 13 x 4 x 676^2 x 4 bytes = 95 MB. Pixels, and pixels side by
    // side for the first layer, take 21 MB each.
    assert!(
        report.memory.encode.peak_bytes < 80 << 20,
        "{:?}",
        report.memory.encode
    );
}

#[test]
fn tokens_of_a_qwen_vl() {
    // The processor's own rules let the photo have 65 056 patches: quadratic would be 17 GB for each head.
    let folder = Scratch::checkpoint("qwen2_vl");
    folder.edit("preprocessor_config.json", |rules| {
        rules.replace("31360", "12845056")
    });
    let free = manifest("qwen-vl", folder.path(), "");
    let prepared = project::open_manifest_within(&free, LIMIT)
        .prepare(&photo(), 4, 512)
        .unwrap();
    let patches = 4 * prepared.plan.images[0].features as usize;
    assert_eq!(patches, 214 * 304);
    let expected = prepared.estimate;
    // In numbers of 4 bytes a patch: 1176 pixels, and a few times the tower's 48 and 96.
    assert!(expected.encode_peak_bytes < patches * 4 * 2500, "{expected:?}");
    assert!(expected.total() < 2 * LIMIT, "{expected:?}");

    // With the cap of the manifests that ship, it runs.
    let capped = manifest("qwen-vl", folder.path(), "[image]\nmax_pixels = 1003520");
    let report = answer(&capped);
    let patches = 4 * report.images[0].tokens as usize;
    assert!(patches > 4800, "{patches}");
    // Scores of one head alone would take 4 bytes a pair of patches.
    let peak = report.memory.encode.peak_bytes;
    assert!(peak < patches * patches * 4, "{peak} bytes for {patches} patches");
}

/// Gives the vision tower as many position embeddings, made up, in place of its own.
fn with_positions(folder: &Scratch, count: usize) {
    const NAME: &str = "model.vision_model.embeddings.position_embedding.weight";
    let (mut header, data) = read(&folder.file("model.safetensors"));
    // What it had stays in the file, under a name that nobody asks for.
    let own = header.remove(NAME).unwrap();
    let width = own["shape"][1].as_u64().unwrap() as usize;
    header.insert("replaced".to_owned(), own);
    let (start, end) = (data.len(), data.len() + count * width * 4);
    header.insert(
        NAME.to_owned(),
        json!({"dtype": "F32", "shape": [count, width], "data_offsets": [start, end]}),
    );
    let numbers = (0..count * width).flat_map(|index| ((index % 17) as f32 / 50.0 - 0.16).to_le_bytes());
    let data = data.into_iter().chain(numbers);
    let header = json!(header).to_string().into_bytes();
    let length = (header.len() as u64).to_le_bytes();
    folder.write(
        "model.safetensors",
        length.into_iter().chain(header).chain(data).collect::<Vec<u8>>(),
    );
}

/// Header and data of a safetensors file.
fn read(path: &Path) -> (Map<String, serde_json::Value>, Vec<u8>) {
    let bytes = std::fs::read(path).unwrap();
    let (length, rest) = bytes.split_at(8);
    let (header, data) = rest.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
    (serde_json::from_slice(header).unwrap(), data.to_vec())
}
