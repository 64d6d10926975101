//! The same requests on two engines in turn, so that whatever else the machine does befalls both.

use monocle::engine::generate::{Flow, GenerateOptions};
use monocle::engine::pictures::PictureInput;
use monocle::engine::prepare::Request;
use monocle::model::Model;
use monocle_mlx::{MlxBackend, Precision};
use monocle_tests::project;

use super::{activations, checkpoint};

/// Tries of each; the median counts.
const TRIES: usize = 10;
/// Tokens of an answer.
const TOKENS: usize = 9;

/// Prints all there is.
pub fn all() {
    for precision in [Precision::Single, Precision::Brain] {
        activations::compare(precision);
    }
    let folder = project::target().join("bench-models").join("256m-one-tile");
    checkpoint::write(&folder).expect("the checkpoint can be written");
    // One tile a picture.
    let file = folder.join("preprocessor_config.json");
    let config = std::fs::read_to_string(&file).expect("the checkpoint has it");
    let config = config.replace(r#""do_image_splitting": true"#, r#""do_image_splitting": false"#);
    std::fs::write(&file, config).expect("the checkpoint can be written");
    for precision in [Precision::Single, Precision::Brain] {
        let manifest =
            format!("schema = 1\nname = \"256m\"\nplugin = \"smolvlm\"\nsource = {{ path = {folder:?} }}\n");
        let mut models = [false, true].map(|fuses| {
            let engine = MlxBackend::new(precision).fusing(fuses);
            assert_eq!(engine.fuses(), fuses, "MLX cannot compile on this machine");
            project::open_manifest_with(&manifest, Box::new(engine))
        });
        compare(precision, &mut models);
    }
    std::fs::remove_dir_all(&folder).expect("the checkpoint can be removed");
}

/// Seconds of one run each.
struct Seconds {
    encode: f64,
    prefill: f64,
    step: f64,
}

fn compare(precision: Precision, models: &mut [Model; 2]) {
    let mut found = [Vec::new(), Vec::new()];
    // The first run of each records, loads and compiles.
    models.iter_mut().for_each(|model| drop(run(model)));
    for index in 0..TRIES {
        // Whoever comes second finds another machine.
        for which in [index % 2, (index + 1) % 2] {
            found[which].push(run(&mut models[which]));
        }
    }
    let phases: [(&str, fn(&Seconds) -> f64); 3] = [
        ("encoder run", |seconds| seconds.encode),
        ("prefill", |seconds| seconds.prefill),
        ("decode step", |seconds| seconds.step),
    ];
    for (name, phase) in phases {
        let [without, with] = [0, 1].map(|which| 1e3 * median(found[which].iter().map(phase).collect()));
        println!(
            "{precision:?}: {name}: {without:.2} ms one by one, {with:.2} ms compiled: {:.3} of it",
            with / without
        );
    }
}

fn run(model: &mut Model) -> Seconds {
    let picture = project::root().join("models/shapes/pictures/shapes.png");
    let request = Request::single(None, vec![PictureInput::File(picture)], "Describe this picture.");
    let options = GenerateOptions {
        max_tokens: TOKENS,
        sampling: Default::default(),
        stop: Vec::new(),
        prefill_chunk: 512,
        thinking_budget: None,
    };
    let report = model.generate(&request, &options, &mut |_| Flow::Continue);
    let report = report.expect("it can be run");
    assert_eq!(report.images[0].tiles, 1);
    Seconds {
        encode: report.timings.encode.as_secs_f64(),
        prefill: report.timings.prefill.as_secs_f64(),
        step: report.timings.decode.as_secs_f64() / (report.output.tokens - 1) as f64,
    }
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
