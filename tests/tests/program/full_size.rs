//! Models as large as people run, whose weights are holes: what a request may take of the host is enough for them.
//!
//! `cargo xtask verify full-size` makes the models (`tests/oracle/make_full_size.py`) and names their folder; without it nothing is tried.

use std::io::Write;
use std::path::{Path, PathBuf};

use monocle_tests::program::Monocle;
use monocle_tests::scratch::Scratch;
use serde_json::Value;

/// A model, and the tokens of a picture of 5477x7819, by the rules of its processor:
const TOKENS: [(&str, u64); 22] = [
    // 1536x2048 in 3x4 tiles of 512 and one of the whole, 64 tokens each.
    ("smolvlm", 13 * 64),
    // 1092x1456 in 3x4 tiles of 364 and one of the whole; (364 / 14 / 2)² tokens each.
    ("idefics3", 13 * 169),
    // At most 12,845,056 pixels: √(5477 · 7819 / 12845056) = 1.8259; 107 by 152 squares of 28.
    ("qwen2_vl", 107 * 152),
    ("qwen2_5_vl", 107 * 152),
    // At most 16,777,216 pixels: 1.5977; 107 by 152 squares of 32.
    ("qwen3_vl", 107 * 152),
    ("gemma3", 256),
    // The longer side 1540: 1079x1540, 39 by 55 squares of 28.
    ("mistral3", 39 * 55),
    // 0.70 is nearest to 2:3: six tiles and one of the whole, 256 tokens each.
    ("internvl", 7 * 256),
    // It is context beside the prompt.
    ("mllama", 0),
    // 24 by 24 features and one of them all, whatever its shape.
    ("florence2", 577),
    ("moondream2", 729),
    ("gemma3n", 256),
    // 3 by 4 crops of 24 patches that share eight: 56 by 72 patches, pooled two by two; and 12 by 12 features of the whole.
    ("molmo", 28 * 36 + 12 * 12),
    // At most 16,384 patches: 2142x1500, then whole squares of 28.
    ("kimi_vl", 77 * 54),
    // 3x3 tiles, 42 rows of 42 features and an end each, one of the whole with 14 rows of 14, and a mark between.
    ("deepseek_vl2", 42 * 43 + 1 + 14 * 15),
    ("deepseek_vl2_small", 42 * 43 + 1 + 14 * 15),
    ("deepseek_vl2_base", 42 * 43 + 1 + 14 * 15),
    // At most 4,816,896 pixels: 2.9817; 65 by 93 squares of 28.
    ("ernie4_5_vl", 65 * 93),
    // At most 11,760,000 pixels, each twice: 2.6987; 72 by 103 squares of 28.
    ("glm4v_moe", 72 * 103),
    // As `qwen3_vl`.
    ("qwen3_vl_moe", 107 * 152),
    // Of 5 by 6 tiles the part that the picture fills, stretched to about nine tiles, 27 by 27 features of one of the whole, and an end a row:
    // the number is the reference's, see llava_onevision/sizes.json.
    ("llava_onevision", 7257),
    // At most 2,822,400 pixels: 3.8953; 50 by 71 squares of 28.
    ("paddleocr_vl", 50 * 71),
];

#[test]
fn a_large_photo_fits_into_the_budget_of_a_large_model() {
    let Some(models) = std::env::var_os("MONOCLE_FULL_SIZE").map(PathBuf::from) else {
        eprintln!("nothing is tried: `cargo xtask verify full-size` makes the models");
        return;
    };
    let scratch = Scratch::new("full-size");
    let photos = [(5477, 7819), (1024, 768), (60, 4000)].map(|size| black(&scratch, size));
    for (name, tokens) in TOKENS {
        let inspected = photos
            .each_ref()
            .map(|photo| inspect(&models.join(name), &[photo]));
        let found = &inspected[0]["prompt"]["image_tokens"];
        assert_eq!(found.as_u64(), Some(tokens), "{name}");
    }
    // Twenty at once, where the context holds them.
    for name in ["idefics3", "mistral3"] {
        let many = inspect(&models.join(name), &[&photos[0]; 20]);
        let tokens = TOKENS.iter().find(|(of, _)| *of == name).expect("it is there").1;
        assert_eq!(
            many["prompt"]["image_tokens"].as_u64(),
            Some(20 * tokens),
            "{name}"
        );
    }
}

fn inspect(model: &Path, pictures: &[&PathBuf]) -> Value {
    Monocle::new([Path::new("inspect"), model])
        .args(pictures)
        .args(["-p", "What is this?", "--json", "--memory-limit", "1000GiB"])
        .json()
}

/// A black picture; its pixels are a hole in the file, too.
fn black(scratch: &Scratch, (width, height): (u64, u64)) -> PathBuf {
    let path = scratch.file(&format!("{width}x{height}.ppm"));
    let mut file = std::fs::File::create(&path).expect("a file can be made");
    let header = format!("P6\n{width} {height}\n255\n");
    file.write_all(header.as_bytes()).expect("it can be written");
    file.set_len(header.len() as u64 + width * height * 3)
        .expect("it can be made longer");
    path
}
