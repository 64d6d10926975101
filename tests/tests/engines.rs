//! The engines side by side: what one answers, the other answers.

#![cfg(any(target_os = "macos", feature = "mlx"))]

use monocle_runtime::engines::{EngineName, EngineOptions, KeyValueType, Precision};
use monocle_runtime::report::Report;
use monocle_runtime::request::GenerateOptions;
use monocle_runtime::request::Request;
use monocle_runtime::request::pictures::PictureInput;
use monocle_runtime::scheduler::Flow;
use monocle_tests::project;

fn answer(engine: EngineName, precision: Precision, picture: &str) -> Report {
    let options = EngineOptions {
        threads: Some(2),
        precision,
        key_values: (engine == EngineName::Cpu).then_some(KeyValueType::F32),
        fuses: None,
    };
    let mut model = project::open_with(
        &project::root().join("models/shapes"),
        engine.start(options).unwrap(),
    );
    let picture = project::root().join("models/shapes/pictures").join(picture);
    let request = Request::single(None, vec![PictureInput::File(picture)], "Describe this picture.");
    let options = GenerateOptions {
        max_tokens: 48,
        prefill_chunk: 64,
        ..GenerateOptions::default()
    };
    model.answer(&request, &options, &mut |_| Flow::Continue).unwrap()
}

fn pictures() -> Vec<String> {
    let folder = std::fs::read_dir(project::root().join("models/shapes/pictures")).unwrap();
    let mut names: Vec<String> = folder
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".png"))
        .collect();
    names.sort();
    names
}

#[test]
fn the_demo_model_says_the_same_on_both() {
    assert!(!pictures().is_empty());
    for picture in pictures() {
        let [cpu, mlx] =
            [EngineName::Cpu, EngineName::Mlx].map(|engine| answer(engine, Precision::F32, &picture));
        assert_eq!(
            (cpu.host.engine.as_str(), mlx.host.engine.as_str()),
            ("cpu", "mlx")
        );
        assert!(cpu.output.tokens > 4, "{picture}: {:?}", cpu.output);
        assert_eq!(cpu.token_ids, mlx.token_ids, "{picture}: {:?}", mlx.output.text);
        assert_eq!(cpu.output.text, mlx.output.text, "{picture}");
    }
}

#[test]
fn sixteen_bits_are_enough_for_the_demo_model() {
    let picture = &pictures()[0];
    let [single, brain] =
        [Precision::F32, Precision::Bf16].map(|precision| answer(EngineName::Mlx, precision, picture));
    assert_eq!(single.output.text, brain.output.text);
    // Half the bytes for every float.
    let [single, brain] = [single, brain].map(|report| report.memory.load.peak_bytes);
    assert!(brain < single, "{brain} and {single} bytes");
}
