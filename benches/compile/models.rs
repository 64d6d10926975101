//! Requests to a model, phase by phase.

use monocle_runtime::engines::Precision;
use monocle_runtime::request::GenerateOptions;
use monocle_runtime::request::Request;
use monocle_runtime::request::pictures::PictureInput;
use monocle_runtime::scheduler::Flow;
use monocle_runtime::scheduler::Scheduler;
use monocle_tests::full_checkpoint as checkpoint;
use monocle_tests::project;

use super::{compared, engines, line};

const TRIES: usize = 11;
/// Tokens of an answer.
const TOKENS: usize = 9;

/// Prints what each phase takes.
pub fn compare(precision: Precision) {
    let folder = project::target().join("bench-models").join("256m-one-tile");
    checkpoint::write(&folder, checkpoint::LAYERS, checkpoint::SMALL).expect("the checkpoint can be written");
    // One tile a picture.
    let file = folder.join("preprocessor_config.json");
    let config = std::fs::read_to_string(&file).expect("the checkpoint has it");
    let config = config.replace(r#""do_image_splitting": true"#, r#""do_image_splitting": false"#);
    std::fs::write(&file, config).expect("the checkpoint can be written");
    let manifest =
        format!("schema = 1\nname = \"256m\"\nplugin = \"smolvlm\"\nsource = {{ path = {folder:?} }}\n");
    let mut models = engines(precision).map(|engine| project::open_manifest_with(&manifest, engine));
    let [without, with] = compared(&mut models, TRIES, run);
    for (index, phase) in ["encoder run", "prefill", "decode step"].into_iter().enumerate() {
        line(precision, phase, [without[index], with[index]]);
    }
    std::fs::remove_dir_all(&folder).expect("the checkpoint can be removed");
}

fn run(model: &mut Scheduler) -> [f64; 3] {
    let picture = project::root().join("models/shapes/pictures/shapes.png");
    let request = Request::single(None, vec![PictureInput::File(picture)], "Describe this picture.");
    let options = GenerateOptions {
        max_tokens: TOKENS,
        ..GenerateOptions::default()
    };
    let report = model.answer(&request, &options, &mut |_| Flow::Continue);
    let report = report.expect("it can be run");
    assert_eq!(report.images[0].tiles, 1);
    let timings = &report.timings;
    let step = timings.decode.as_secs_f64() / (report.output.tokens - 1) as f64;
    [timings.encode.as_secs_f64(), timings.prefill.as_secs_f64(), step]
}
