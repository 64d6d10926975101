//! Models from GGUF files answer as their safetensors do.

mod families;
mod files;
mod latent;
mod merged_patches;
mod per_layer;
mod server;

use monocle_tensor::scheme::Scheme;
use monocle_tests::gguf::idefics3::convert;
use monocle_tests::gguf::{Field, GgufTensor, float, floats, json, number, renamed, vocabulary, write};
use monocle_tests::oracle::Oracle;
use monocle_tests::parity::{LOGITS, Parity, close};
use monocle_tests::program::Monocle;
use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use monocle_tests::variant;
use monocle_weights::to_f32;

/// How `conversion/qwenvl.py` of llama.cpp calls tensors.
const TWO_NAMES: [(&str, &str); 15] = [
    (r"lm_head\.weight", "output.weight"),
    (r"model\.embed_tokens\.weight", "token_embd.weight"),
    (r"model\.norm\.weight", "output_norm.weight"),
    (
        r"model\.layers\.(\d+)\.input_layernorm\.weight",
        "blk.$1.attn_norm.weight",
    ),
    (
        r"model\.layers\.(\d+)\.post_attention_layernorm\.weight",
        "blk.$1.ffn_norm.weight",
    ),
    (
        r"model\.layers\.(\d+)\.mlp\.(gate|up|down)_proj\.weight",
        "blk.$1.ffn_$2.weight",
    ),
    (
        r"model\.layers\.(\d+)\.self_attn\.([qkv])_proj\.(\w+)",
        "blk.$1.attn_$2.$3",
    ),
    (
        r"model\.layers\.(\d+)\.self_attn\.o_proj\.weight",
        "blk.$1.attn_output.weight",
    ),
    (r"visual\.blocks\.(\d+)\.norm([12])\.(\w+)", "v.blk.$1.ln$2.$3"),
    (
        r"visual\.blocks\.(\d+)\.attn\.([qkv])\.(\w+)",
        "v.blk.$1.attn_$2.$3",
    ),
    (
        r"visual\.blocks\.(\d+)\.attn\.proj\.(\w+)",
        "v.blk.$1.attn_out.$2",
    ),
    (r"visual\.blocks\.(\d+)\.mlp\.fc1\.(\w+)", "v.blk.$1.ffn_up.$2"),
    (r"visual\.blocks\.(\d+)\.mlp\.fc2\.(\w+)", "v.blk.$1.ffn_down.$2"),
    (r"visual\.merger\.ln_q\.(\w+)", "v.post_ln.$1"),
    (r"visual\.merger\.mlp\.(\d)\.(\w+)", "mm.$1.$2"),
];

/// The vision tower's joint projections are cut into three, its kernel over two pictures into two.
#[test]
fn tensors_that_the_conversion_cuts_are_put_together() {
    let (family, scratch) = ("qwen2_vl", Scratch::new("gguf"));
    let source = project::oracle(family);
    let (config, pictures) = (
        json(&source, "config.json"),
        json(&source, "preprocessor_config.json"),
    );
    let vision = &config["vision_config"];
    let checkpoint = variant::checkpoint(&source);
    let (mut language, mut projector) = (Vec::new(), Vec::new());
    let plain = |name: String, shape: &[usize], values: Vec<f32>| GgufTensor {
        name,
        shape: shape.to_vec(),
        values,
        scheme: None,
    };
    for name in checkpoint.names() {
        let tensor = checkpoint.tensor(name).unwrap();
        let (shape, values) = (&tensor.shape, to_f32(&tensor).unwrap());
        if name.contains(".qkv.") {
            let rows = [&[shape[0] / 3], &shape[1..]].concat();
            for (part, values) in ["q", "k", "v"].iter().zip(values.chunks(values.len() / 3)) {
                let name = renamed(&TWO_NAMES, &name.replace("qkv", part));
                projector.push(plain(name, &rows, values.to_vec()));
            }
        } else if name.contains("patch_embed") {
            let (one, cut) = (shape[3] * shape[4], [shape[0], shape[1], shape[3], shape[4]]);
            for time in 0..2 {
                let half = values
                    .chunks(one)
                    .skip(time)
                    .step_by(2)
                    .flatten()
                    .copied()
                    .collect();
                let name = if time == 0 {
                    "v.patch_embd.weight"
                } else {
                    "v.patch_embd.weight.1"
                };
                projector.push(plain(name.to_owned(), &cut, half));
            }
        } else {
            let new = plain(renamed(&TWO_NAMES, name), shape, values);
            match name.starts_with("visual") {
                true => projector.push(new),
                false => language.push(new),
            }
        }
    }
    let text_of = |words: &str| Field::Text(words.to_owned());
    let mut sections: Vec<i32> = Vec::new();
    for section in config["rope_scaling"]["mrope_section"].as_array().unwrap() {
        sections.push(section.as_i64().unwrap() as i32);
    }
    sections.push(0);
    let mut fields = vec![
        ("general.architecture", text_of("qwen2vl")),
        ("qwen2vl.block_count", number(&config["num_hidden_layers"])),
        (
            "qwen2vl.context_length",
            number(&config["max_position_embeddings"]),
        ),
        ("qwen2vl.embedding_length", number(&config["hidden_size"])),
        (
            "qwen2vl.feed_forward_length",
            number(&config["intermediate_size"]),
        ),
        (
            "qwen2vl.attention.head_count",
            number(&config["num_attention_heads"]),
        ),
        (
            "qwen2vl.attention.head_count_kv",
            number(&config["num_key_value_heads"]),
        ),
        ("qwen2vl.rope.dimension_sections", Field::Numbers(sections)),
        ("qwen2vl.rope.freq_base", float(&config["rope_theta"])),
        (
            "qwen2vl.attention.layer_norm_rms_epsilon",
            float(&config["rms_norm_eps"]),
        ),
    ];
    fields.extend(vocabulary(&source, "qwen2"));
    let model = scratch.file("Tiny-F32.gguf");
    write(&model, &fields, &language);
    let fields = [
        ("general.architecture", text_of("clip")),
        ("clip.has_vision_encoder", Field::Flag(true)),
        ("clip.projector_type", text_of("qwen2vl_merger")),
        ("clip.vision.projection_dim", number(&config["hidden_size"])),
        ("clip.vision.image_size", Field::Number(560)),
        ("clip.vision.patch_size", number(&vision["patch_size"])),
        ("clip.vision.embedding_length", number(&vision["embed_dim"])),
        ("clip.vision.feed_forward_length", number(&vision["hidden_size"])),
        ("clip.vision.block_count", number(&vision["depth"])),
        ("clip.vision.attention.head_count", number(&vision["num_heads"])),
        ("clip.vision.attention.layer_norm_epsilon", Field::Float(1e-6)),
        ("clip.vision.image_mean", floats(&pictures["image_mean"])),
        ("clip.vision.image_std", floats(&pictures["image_std"])),
    ];
    write(&scratch.file("mmproj-Tiny-F32.gguf"), &fields, &projector);
    // How many pixels a picture may have is in no key-value.
    let rules = std::fs::read(source.join("preprocessor_config.json")).unwrap();
    scratch.write("preprocessor_config.json", rules);
    // Pixels are those of the safetensors' test.
    let parity = Parity {
        pixels: None,
        ..Parity::new(family)
    };
    parity.compare(&mut project::open_folder(&model));
}

#[test]
fn unquantised_files_answer_as_the_reference() {
    for family in ["smolvlm", "idefics3"] {
        let scratch = Scratch::new("gguf");
        let (model, _) = convert(&project::oracle(family), scratch.path(), |_, _| None);
        scratch.write("about-mmproj.txt", "no part of the model");
        // By the file, and by the folder.
        for path in [model.as_path(), scratch.path()] {
            let mut opened = project::open_folder(path);
            let notes = opened.model().notes();
            assert!(
                !notes.iter().any(|note| note.contains("about-mmproj")),
                "{notes:?}"
            );
            // What fills up a vocabulary is no text.
            let tokens = (0..4096).filter_map(|id| opened.model().tokenizer().token(id));
            assert_eq!(tokens.filter(|token| token.starts_with("[PAD")).count(), 0);
            Parity::new(family).compare(&mut opened);
        }
    }
}

#[test]
fn quantised_files_answer_as_their_dequantised_numbers() {
    let scratch = Scratch::new("gguf");
    let blocks = |name: &str, shape: &[usize]| {
        let fits = shape.len() == 2 && shape[1].is_multiple_of(32) && !name.contains("position");
        let scheme = if name.contains("mlp") {
            Scheme::Q4_0
        } else {
            Scheme::Q8_0
        };
        fits.then_some(scheme)
    };
    let (model, plain) = convert(&project::oracle("smolvlm"), scratch.path(), blocks);
    let dequantised = variant::copy("smolvlm", "smolvlm-dequantised", &["golden.safetensors"]);
    variant::write_weights(&dequantised, &plain);
    let outcome = Monocle::new(["convert"])
        .args([scratch.path()])
        .args(["--verify"])
        .args([&dequantised])
        .run();
    assert_eq!(outcome.code, 0, "{outcome:?}");
    // How often a product is rounded differs, by less than a ten-thousandth of a percent.
    let equal = plain.len() - outcome.stdout.matches("  0.0000 %").count();
    assert!(
        outcome.stdout.starts_with(&format!("{equal} tensors equal\n")),
        "{}",
        outcome.stdout
    );
    let oracle = Oracle::open(&project::oracle("smolvlm"));
    let [found, expected] = [model, dequantised].map(|path| {
        let trace = project::open_folder(&path).trace(&oracle.request("image"), 512, 16);
        trace.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    });
    assert_eq!(found.prompt_ids, expected.prompt_ids);
    assert_eq!(found.tokens, expected.tokens);
    close(
        "gguf",
        &found.step_logits.concat(),
        &expected.step_logits.concat(),
        LOGITS,
    );
    let (_, original) = oracle.floats("image/step_logits").expect("a case has logits");
    let differs = found
        .step_logits
        .concat()
        .iter()
        .zip(&original)
        .any(|(a, b)| (a - b).abs() > LOGITS);
    assert!(differs, "quantisation changes the numbers");
}
