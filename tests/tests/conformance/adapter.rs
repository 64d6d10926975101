//! An adapter brings prompt, pixels and the last touch on the text, and borrows the forward pass of another plugin. The example is
//! `tests/plugins/plain-adapter`.

use monocle_runtime::plugin::stamp::PluginKind;
use monocle_runtime::report::Report;
use monocle_runtime::request::GenerateOptions;
use monocle_runtime::request::Request;
use monocle_runtime::request::pictures::PictureInput;
use monocle_runtime::scheduler::Flow;
use monocle_runtime::scheduler::Scheduler;
use monocle_tests::project::{self, Carrier};

const QUESTION: &str = "What is this?";

/// A model of the small checkpoint, by the rest of its manifest.
fn open(carrier: Carrier, manifest: &str) -> Result<Scheduler, String> {
    let head = "schema = 1\nname = \"adapted\"\nsource = ";
    let source = project::oracle("smolvlm");
    let text = format!("{head}{{ path = {source:?} }}\n{manifest}");
    project::try_open_manifest_of(carrier.plugins(), &text).map_err(|error| error.to_string())
}

fn adapted(carrier: Carrier) -> Scheduler {
    open(
        carrier,
        "plugin = \"smolvlm\"\nadapter = { name = \"plain-adapter\", options = { tokens = 4 } }",
    )
    .unwrap()
}

/// The same prompts without the adapter, by a template.
fn templated(carrier: Carrier) -> Scheduler {
    open(
        carrier,
        "plugin = \"smolvlm\"\n[prompt]\ntemplate = \"Question: {{ messages[0].content[0].text }} Answer:\"",
    )
    .unwrap()
}

fn request(pictures: &[&str], question: &str) -> Request {
    let folder = project::oracle("smolvlm");
    let pictures = pictures
        .iter()
        .map(|name| PictureInput::File(folder.join(name)))
        .collect();
    Request::single(None, pictures, question)
}

fn answer(model: &mut Scheduler, request: &Request) -> (Report, String) {
    let options = GenerateOptions {
        max_tokens: 48,
        ..GenerateOptions::default()
    };
    let mut streamed = String::new();
    let report = model.answer(request, &options, &mut |delta| {
        streamed += &delta.text;
        Flow::Continue
    });
    (report.unwrap_or_else(|error| panic!("{error}")), streamed)
}

#[test]
fn the_forward_pass_is_borrowed() {
    for carrier in Carrier::ALL {
        let request = request(&[], QUESTION);
        let (borrowed, own) = (
            adapted(carrier).trace(&request, 64, 8).unwrap(),
            templated(carrier).trace(&request, 64, 8).unwrap(),
        );
        assert_eq!(borrowed.prompt, "Question: What is this? Answer:");
        assert_eq!(own.prompt, borrowed.prompt);
        assert_eq!(borrowed.prompt_ids, own.prompt_ids);
        assert_eq!(borrowed.tokens, own.tokens);
        assert!(
            borrowed.step_logits == own.step_logits,
            "the same program on the same tokens gives the same logits"
        );
    }
}

#[test]
fn pictures_go_the_adapters_way() {
    for carrier in Carrier::ALL {
        let mut model = adapted(carrier);
        let two = request(&["image.png", "image2.png"], QUESTION);
        let trace = model.trace(&two, 64, 1).unwrap();
        assert_eq!(trace.prompt, "<image><image>Question: What is this? Answer:");
        let shapes: Vec<_> = trace
            .pixels
            .iter()
            .flatten()
            .map(|pixels| pixels.shape.clone())
            .collect();
        assert_eq!(shapes, [[1, 56, 56, 3], [1, 56, 56, 3]]);
        // 56 / 14 = 4 patches a side; pixel shuffle packs squares of 2: 2 · 2 features of 64.
        let features: Vec<_> = trace.features.iter().map(|sets| sets[0].len()).collect();
        assert_eq!(features, [4 * 64, 4 * 64]);
        assert_ne!(trace.features[0], trace.features[1]);
    }
}

#[test]
fn the_output_filter_has_the_last_word() {
    for carrier in Carrier::ALL {
        // The small model babbles bytes: look for a question that makes it say control characters.
        let (mut adapted, mut templated) = (adapted(carrier), templated(carrier));
        let mut filtered = 0;
        for question in ["What?", "Who is there?", QUESTION, "Describe it", "1 2 3"] {
            let request = request(&[], question);
            let (raw, _) = answer(&mut templated, &request);
            let (report, streamed) = answer(&mut adapted, &request);
            assert_eq!(report.token_ids, raw.token_ids);
            assert_eq!(report.output.text, raw.output.text.replace(char::is_control, " "));
            assert_eq!(streamed, report.output.text);
            filtered += usize::from(report.output.text != raw.output.text);
        }
        assert!(filtered > 0, "no answer had anything to filter");
    }
}

#[test]
fn both_plugins_are_reported() {
    for carrier in Carrier::ALL {
        let (report, _) = answer(&mut adapted(carrier), &request(&["image.png"], QUESTION));
        let plugins: Vec<_> = report
            .host
            .plugins
            .iter()
            .map(|plugin| (plugin.name.as_str(), plugin.kind))
            .collect();
        assert_eq!(
            plugins,
            [
                ("plain-adapter", PluginKind::Adapter),
                ("smolvlm", PluginKind::Model)
            ]
        );
        assert_eq!(report.prompt.template, "the plugin (no template was rendered)");
        assert_eq!((report.images[0].tokens, report.prompt.image_tokens), (4, 4));
    }
}

#[test]
fn tokens_are_added_after_the_last() {
    for carrier in Carrier::ALL {
        let open_with = |tokens: &str, ask: &str| {
            open(
                carrier,
                &format!(
                    "plugin = \"smolvlm\"\nadapter = {{ name = \"plain-adapter\", options = {{ tokens = 4, ask = {ask:?}, add = {tokens} }} }}"
                ),
            )
        };
        // The vocabulary's ids end at 536; `<image>` is in it.
        let mut model = open_with("[\"<one>\", \"<image>\", \"<two>\"]", "<two><one>").unwrap();
        let (report, _) = answer(&mut model, &request(&[], "Q"));
        let image = adapted(carrier)
            .trace(&request(&["image.png"], "Q"), 64, 1)
            .unwrap()
            .prompt_ids[0];
        let added = format!("added [537, {image}, 538], the beginning is None");
        assert!(
            report.log.iter().any(|line| line.contains(&added)),
            "{:?}",
            report.log
        );
        let prompt = model.trace(&request(&[], "Q"), 64, 1).unwrap().prompt_ids;
        assert_eq!(prompt[..2], [538, 537]);
        let error = open_with("[\"\"]", "")
            .unwrap()
            .prepare(&request(&[], "Q"), 4, 64);
        let error = error.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(
            error.contains("`tokenizers.add` got a token of 0 bytes, expected 1 to 256"),
            "{error}"
        );
    }
}

#[test]
fn an_answer_has_parts_beside_its_words() {
    for carrier in Carrier::ALL {
        let report = |thing: &str| {
            let options = format!("tokens = 4, thing = {thing}");
            let adapter = format!(
                "plugin = \"smolvlm\"\nadapter = {{ name = \"plain-adapter\", options = {{ {options} }} }}"
            );
            let mut model = open(carrier, &adapter).unwrap();
            answer(&mut model, &request(&["image.png"], QUESTION)).0
        };
        let found = report("[0, [1.5, 2.0, 30.25, 40.0]]");
        let json = serde_json::to_value(&found).unwrap();
        let expected = serde_json::json!([
            { "kind": "text", "text": "Here:" },
            {
                "kind": "rectangle", "medium": 0, "label": found.output.text,
                "upper-left": { "x": 1.5, "y": 2.0 }, "lower-right": { "x": 30.25, "y": 40.0 },
            },
        ]);
        assert_eq!(json["parts"], expected);
        // The plugin sees a smaller picture; places are in the one that was given, of 333 by 217 pixels.
        let capped = format!(
            "plugin = \"smolvlm\"\nadapter = {{ name = \"plain-adapter\", options = {{ tokens = 4, thing = [0, [0.0, 0.0, 1.0, 2.0]] }} }}\n\
             [image]\nmax_pixels = {}",
            333 * 217 / 4
        );
        let mut capped = open(carrier, &capped).unwrap();
        let (shrunk, _) = answer(&mut capped, &request(&["image.png"], QUESTION));
        let part = &serde_json::to_value(&shrunk).unwrap()["parts"][1];
        let corner = ["x", "y"].map(|name| part["lower-right"][name].as_f64().unwrap());
        assert!(
            (corner[0] - 2.0).abs() < 0.1 && (corner[1] - 4.0).abs() < 0.1,
            "{part}"
        );
        // What makes no sense is left out, and the answer stays.
        let wrong = report("[1, [1.5, 2.0, 30.25, 40.0]]");
        assert_eq!((wrong.parts.len(), &wrong.output.text), (0, &found.output.text));
        let note = "`processor.parts`: a part of the answer is of medium 1, of 1";
        assert!(
            wrong.notes.iter().any(|found| found.contains(note)),
            "{:?}",
            wrong.notes
        );
        let (none, _) = answer(&mut adapted(carrier), &request(&[], QUESTION));
        assert!(serde_json::to_value(&none).unwrap().get("parts").is_none());
    }
}

#[test]
fn kinds_are_not_mixed_up() {
    for carrier in Carrier::ALL {
        let error = open(carrier, "plugin = \"plain-adapter\"")
            .err()
            .expect("an adapter alone is no model");
        assert!(
            error.contains("names `plain-adapter` as `plugin`, and it is an adapter plugin"),
            "{error}"
        );
        let error = open(carrier, "plugin = \"smolvlm\"\nadapter = \"smolvlm\"")
            .err()
            .expect("a model is no adapter");
        assert!(
            error.contains("names `smolvlm` as `adapter`, and it is a model plugin"),
            "{error}"
        );
    }
}

#[test]
fn an_adapter_s_options_are_checked_by_it() {
    for carrier in Carrier::ALL {
        let mut model = open(carrier, "plugin = \"smolvlm\"\nadapter = \"plain-adapter\"").unwrap();
        let error = model
            .prepare(&request(&[], QUESTION), 1, 64)
            .err()
            .expect("`tokens` is missing")
            .to_string();
        assert!(
            error.starts_with(concat!(
                "plugin `plain-adapter` ",
                env!("CARGO_PKG_VERSION"),
                ", `processor.configure`: "
            )),
            "{error}"
        );
        assert!(error.contains("`plugin.options` lacks `tokens`"), "{error}");
    }
}
