//! Florence-2 against transformers, in both layouts of its repositories.

use std::path::Path;

use monocle_runtime::plugin::contract::AnswerPart;
use monocle_runtime::request::{GenerateOptions, Request};
use monocle_runtime::scheduler::Flow;
use monocle_tests::oracle::Oracle;
use monocle_tests::parity::{Parity, close};
use monocle_tests::project;
use monocle_tests::variant::{self, NewTensor};
use monocle_weights::to_f32;
use serde_json::{Value, json};

#[test]
fn florence2() {
    Parity::new("florence2").check();
}

#[test]
fn features_are_the_reference_s() {
    let folder = project::oracle("florence2");
    let (oracle, mut model) = (Oracle::open(&folder), project::open_folder(&folder));
    for case in oracle.cases() {
        let (_, expected) = oracle
            .floats(&format!("{case}/image_features"))
            .expect("a case has features");
        let trace = model
            .trace(&oracle.request(&case), 64, 1)
            .unwrap_or_else(|error| panic!("{case}: {error}"));
        close(&case, &trace.features[0][0], &expected, 1e-4);
    }
}

/// As microsoft/Florence-2-base has it: names of its own, a bare matrix, no id for pictures.
#[test]
fn the_first_layout() {
    let original = variant::checkpoint(&project::oracle("florence2"));
    let tensors: Vec<NewTensor> = original
        .names()
        .map(|name| {
            let tensor = original.tensor(name).unwrap_or_else(|error| panic!("{error}"));
            let (shape, values) = (
                tensor.shape.clone(),
                to_f32(&tensor).unwrap_or_else(|error| panic!("{error}")),
            );
            match name.ends_with("image_projection.weight") {
                true => transposed(&shape, &values),
                false => (first_name(name), shape, values),
            }
        })
        .collect();
    let folder = variant::copy("florence2", "florence2-first-layout", &[]);
    first_config(&folder);
    let check = |tensors: &[NewTensor]| {
        variant::write_weights(&folder, tensors);
        Parity {
            placeholder: Some((1505, 1)),
            ..Parity::new("florence2")
        }
        .compare(&mut project::open_folder(&folder));
    };
    check(&tensors);

    // As mlx-vlm converts it (mlx_vlm/models/florence2): kernels with their channels last, and a head that is the table of words.
    let mut converted: Vec<NewTensor> = tensors.into_iter().map(channels_last).collect();
    let (_, shape, values) = converted
        .iter()
        .find(|(name, ..)| name == "language_model.model.shared.weight")
        .expect("a table of words");
    let head = (
        "language_model.lm_head.weight".to_owned(),
        shape.clone(),
        values.clone(),
    );
    converted.push(head);
    check(&converted);
}

/// `[out, in, height, width]` as `[out, height, width, in]`; others as they are.
fn channels_last((name, shape, values): NewTensor) -> NewTensor {
    let [out, channels, height, width] = shape[..] else {
        return (name, shape, values);
    };
    let plane = height * width;
    let turned = (0..out).flat_map(|kernel| {
        (0..plane).flat_map(move |place| {
            (0..channels).map(move |channel| (kernel * channels + channel) * plane + place)
        })
    });
    let turned = turned.map(|from| values[from]).collect();
    (name, vec![out, height, width, channels], turned)
}

fn transposed(shape: &[usize], values: &[f32]) -> NewTensor {
    let (rows, columns) = (shape[0], shape[1]);
    let turned = (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column]));
    (
        "image_projection".to_owned(),
        vec![columns, rows],
        turned.collect(),
    )
}

fn first_name(name: &str) -> String {
    let places = [
        ("model.language_model.", "language_model.model."),
        ("model.multi_modal_projector.", ""),
        ("image_position_embed.", "image_pos_embed."),
        ("model.vision_tower.", "vision_tower."),
        (".conv.", ".proj."),
        ("_block.conv1.", "_block.conv1.fn.dw."),
        ("_block.conv2.", "_block.conv2.fn.dw."),
        ("spatial_block.norm1.", "spatial_block.window_attn.norm."),
        ("channel_block.norm1.", "channel_block.channel_attn.norm."),
        ("_block.norm2.", "_block.ffn.norm."),
        ("_attn.qkv.", "_attn.fn.qkv."),
        ("_attn.proj.", "_attn.fn.proj."),
        (".ffn.fc", ".ffn.fn.net.fc"),
    ];
    places
        .iter()
        .fold(name.to_owned(), |name, (ours, theirs)| name.replace(ours, theirs))
}

fn first_config(folder: &Path) {
    let path = folder.join("config.json");
    let text = std::fs::read_to_string(&path).expect("the config is there");
    let mut config: Value = serde_json::from_str(&text).expect("it is JSON");
    config
        .as_object_mut()
        .expect("an object")
        .remove("image_token_id");
    let vision = config["vision_config"].as_object_mut().expect("an object");
    let widths = vision.remove("embed_dim").expect("widths");
    vision.remove("activation_function");
    vision.insert("dim_embed".to_owned(), widths);
    vision.insert(
        "image_feature_source".to_owned(),
        json!(["spatial_avg_pool", "temporal_avg_pool"]),
    );
    config["text_config"]["model_type"] = "florence2_language".into();
    std::fs::write(&path, config.to_string()).expect("the config can be written");
}

fn answer(request: &Request) -> Result<monocle_runtime::report::Report, String> {
    let mut model = project::open_folder(&project::oracle("florence2"));
    let options = GenerateOptions {
        max_tokens: 16,
        ignore_end: true,
        ..GenerateOptions::default()
    };
    model
        .answer(request, &options, &mut |_| Flow::Continue)
        .map_err(|error| error.to_string())
}

/// Tokens of places stay in the text, and are read as places in the picture as it was given.
#[test]
fn places_are_answered() {
    let oracle = Oracle::open(&project::oracle("florence2"));
    for case in oracle.cases() {
        let report = answer(&oracle.request(&case)).unwrap();
        let expected = oracle.case(&case)["greedy_text"].as_str().expect("a text");
        let places = |text: &str| text.matches("<loc_").count();
        assert!(places(expected) > 0, "{case}: the reference's answer has places");
        assert_eq!(
            places(&report.output.text),
            places(expected),
            "{case}: {}",
            report.output.text
        );
        // The first token that the checkpoint forces is the prompt's last.
        let notes = report.notes.join("\n");
        assert!(!notes.contains("forced_bos_token_id"), "{notes}");
        for part in &report.parts {
            assert!(
                matches!(part, AnswerPart::Rectangle { .. } | AnswerPart::Outline { .. }),
                "{part:?}"
            );
        }
    }
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let oracle = Oracle::open(&project::oracle("florence2"));
    let mut request = oracle.request("caption");
    let pictures = std::mem::take(&mut request.pictures);
    let asked = |text: &str, count: usize| {
        Request::single(None, pictures.iter().cycle().take(count).cloned().collect(), text)
    };
    let refused = |text: &str, count: usize| answer(&asked(text, count)).unwrap_err();
    let none = refused("<OD>", 0);
    assert!(
        none.contains("answers about one picture; the request has 0"),
        "{none}"
    );
    let two = refused("<OD>", 2);
    assert!(two.contains("the request has 2"), "{two}");
    let more = refused("<OD> cats", 1);
    assert!(more.contains("takes no words beside it; found `cats`"), "{more}");
    let long = refused(&"very ".repeat(80), 1);
    assert!(long.contains("the model reads 80"), "{long}");
}
