//! The program as its users meet it: arguments in, text or JSON out, exit codes.
//!
//! Expected words are those of the reference implementation (`golden.json` of `tests/oracle/smolvlm` says which version).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use monocle_tests::hub::FakeHub;
use monocle_tests::oracle::Oracle;
use monocle_tests::program::{self, Monocle};
use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use serde_json::Value;

const QUESTION: &str = "Describe the image in one short sentence.";

fn folder() -> PathBuf {
    project::oracle("smolvlm")
}

fn picture() -> String {
    folder().join("image.png").display().to_string()
}

/// `monocle COMMAND FOLDER picture -p QUESTION --max-tokens 16`: the golden case `image`.
fn golden(command: &str) -> Monocle {
    let folder = folder().display().to_string();
    Monocle::new([command, &folder, &picture(), "-p", QUESTION, "--max-tokens", "16"])
}

/// The reference's words, without the special token among them.
fn words() -> String {
    let oracle = Oracle::open(&folder());
    let text = oracle.case("image")["greedy_text"]
        .as_str()
        .expect("a case has a text");
    assert!(
        text.contains("<|reserved_special_token_3|>"),
        "the case has a special token"
    );
    text.replace("<|reserved_special_token_3|>", "")
}

fn manifest(extra: &str) -> String {
    let folder = folder().display().to_string();
    format!("schema = 1\nname = \"tiny\"\nplugin = \"smolvlm\"\n[source]\npath = {folder:?}\n{extra}")
}

/// A second page is noted until it is asked for; grey of 16 bits is scaled, unless the manifest asks for Pillow's way.
#[test]
fn what_a_picture_lost_is_noted_in_a_plain_run() {
    let notes = |model: &str, picture: &str| {
        let picture = project::oracle("decode").join(picture).display().to_string();
        let arguments = ["run", model, &picture, "-p", QUESTION, "--max-tokens", "2"];
        Monocle::new(arguments).succeeds().stderr
    };
    let model = folder().display().to_string();
    let both = notes(&model, "two_pages.tiff");
    assert!(
        both.contains("two_pages.tiff`: only the first of 2 pages or frames used"),
        "{both}"
    );
    let second = notes(&model, "two_pages.tiff#2");
    assert!(!second.contains("pages"), "{second}");
    let scaled = notes(&model, "grey16.tiff");
    assert!(scaled.contains("16-bit grey scaled to 8 bits"), "{scaled}");

    let scratch = Scratch::new("wide-grey");
    let path = scratch.write("tiny.toml", manifest("[image]\nwide_grey = \"pillow\"\n"));
    let cut = notes(&path.display().to_string(), "grey16.tiff");
    assert!(cut.contains("grey values above 255 cut off"), "{cut}");
}

#[test]
fn the_answer_goes_to_standard_output_and_notes_to_standard_error() {
    let outcome = golden("run").succeeds();
    assert_eq!(outcome.stdout, words() + "\n");
    // The model is made of random numbers, and its table of embeddings is larger than the vocabulary.
    assert_eq!(
        outcome.stderr,
        "note: not used: `golden.safetensors`\n\
         note: the model chose tokens that the tokenizer lacks, 1 in all, first id 560; they add no text\n"
    );
    let plain = golden("run").args(["--plain"]).succeeds();
    assert_eq!((plain.stdout, plain.stderr), (words() + "\n", String::new()));
}

#[test]
fn how_the_prompt_is_cut_and_how_many_threads_compute_change_nothing() {
    for flags in [
        ["--prefill-chunk", "1"],
        ["--prefill-chunk", "7"],
        ["--threads", "1"],
    ] {
        assert_eq!(
            golden("run").args(flags).succeeds().stdout,
            words() + "\n",
            "{flags:?}"
        );
    }
}

/// Two key-value heads of 16 in each of two layers: in blocks of 64 tokens, with a scale for each head of 8 bits.
#[test]
fn keys_and_values_are_stored_as_asked() {
    for (kind, words) in [("f32", 16), ("bf16", 8), ("f16", 8), ("q8", 5)] {
        let report = golden("run").args(["--kv-type", kind, "--json"]).json();
        let device = report["host"]["device"].as_str().unwrap();
        assert!(
            device.ends_with(&format!("keys and values in {kind}")),
            "{device}"
        );
        let caches = report["memory"]["estimate"]["cache_bytes"].as_u64().unwrap();
        assert_eq!(caches % (64 * 2 * 2 * 2 * words * 4), 0, "{kind}: {caches}");
        assert_ne!(caches, 0);
    }
}

/// Linux counts what the process that starts another one held into that one's resource usage.
#[test]
fn peak_memory_is_the_program_s_own() {
    const HELD: usize = 400 << 20;
    let held = vec![1_u8; HELD];
    let touched: usize = held.iter().step_by(4096).map(|byte| usize::from(*byte)).sum();
    assert_eq!(touched, HELD / 4096);
    let report = golden("run").args(["--json"]).json();
    let peak = report["memory"]["process_peak_bytes"].as_u64().unwrap();
    assert!(peak > 1 << 20 && peak < HELD as u64 / 2, "{peak}");
    drop(held);
}

#[test]
fn the_instruction_set_can_be_chosen() {
    let portable = golden("run")
        .args(["--json"])
        .env("MONOCLE_CPU", "portable")
        .json();
    let device = portable["host"]["device"].as_str().unwrap();
    assert!(
        device.contains("portable instructions") && device.contains("16-bit integers for quantised weights"),
        "{device}"
    );
    assert_eq!(portable["output"]["text"], words());
    for (mode, said) in [
        ("f32", "floats for quantised weights,"),
        ("auto", "16-bit integers for quantised weights,"),
        ("int8", "8-bit integers for quantised weights,"),
        (
            "bf16",
            "16-bit integers for quantised weights, bf16 for weights of bf16",
        ),
    ] {
        let report = golden("run").args(["--json", "--precision", mode]).json();
        let device = report["host"]["device"].as_str().unwrap();
        assert!(device.contains(said), "{mode}: {device}");
    }
    golden("run")
        .env("MONOCLE_CPU", "avx1024")
        .fails(2, &["`MONOCLE_CPU` is `avx1024`", "portable"]);
}

#[test]
fn json_carries_everything_that_was_done() {
    let report = golden("run").args(["--json"]).json();
    let oracle = Oracle::open(&folder());
    let case = oracle.case("image");

    assert_eq!(report["model"]["name"], "smolvlm");
    assert!(
        report["model"]["declared_by"]
            .as_str()
            .unwrap()
            .contains("config.json")
    );
    assert_eq!(report["model"]["folder"], folder().display().to_string());

    let host = &report["host"];
    assert_eq!(host["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(
        (&host["contract"], &host["engine"]),
        (&"0.2.0".into(), &"cpu".into())
    );
    assert!(host["device"].as_str().unwrap().contains("thread"));
    let plugin = &host["plugins"][0];
    assert_eq!(
        (
            &plugin["name"],
            &plugin["version"],
            &plugin["contract"],
            &plugin["kind"]
        ),
        (
            &"smolvlm".into(),
            &env!("CARGO_PKG_VERSION").into(),
            &"0.2.0".into(),
            &"model".into()
        )
    );
    assert_eq!(plugin["sha256"].as_str().unwrap().len(), 64);

    let prompt = &report["prompt"];
    assert_eq!(prompt["text"], case["prompt"]);
    assert_eq!(prompt["template"], "the repository's `chat_template.jinja`");
    let ids = oracle.ints("image/input_ids").unwrap();
    assert_eq!(prompt["tokens"], ids.len());
    assert_eq!(prompt["attention"], "causal");

    // 333 x 217 to the longest edge 224 is 224 x 146, cut into 4 x 3 tiles of 56 and an overview; each tile holds (56 / 14)^2
    // patches, packed by 2 x 2 into 4 features.
    let image = &report["images"][0];
    assert_eq!(image["name"], picture());
    assert_eq!(image["format"], "PNG");
    let size = |value: &Value| {
        (
            value["width"].as_u64().unwrap(),
            value["height"].as_u64().unwrap(),
        )
    };
    assert_eq!(
        (size(&image["given"]), size(&image["used"])),
        ((333, 217), (224, 168))
    );
    assert_eq!((&image["tiles"], &image["tokens"]), (&13.into(), &52.into()));
    assert_eq!(prompt["image_tokens"], 52);
    assert!(image["steps"].is_array());

    let output = &report["output"];
    assert_eq!(output["text"], words());
    assert_eq!(report["token_ids"], case["greedy_tokens"]);
    assert_eq!(output["finish"]["reason"], "max_tokens");
    assert_eq!(output["tokens"], 16);
    let removed = &output["removed"][0];
    assert_eq!(
        (&removed["kind"], &removed["what"], &removed["count"]),
        (
            &"special_token".into(),
            &"<|reserved_special_token_3|>".into(),
            &1.into()
        )
    );

    for time in [
        "load_s",
        "images_s",
        "plan_s",
        "record_s",
        "encode_s",
        "prefill_s",
        "first_token_s",
        "decode_s",
        "total_s",
    ] {
        assert!(report["timings"][time].as_f64().unwrap() > 0.0, "{time}");
    }
    let memory = &report["memory"];
    for bytes in ["weights_bytes", "limit_bytes", "process_peak_bytes"] {
        assert!(memory[bytes].as_u64().unwrap() > 0, "{bytes}");
    }
    for phase in ["load", "encode", "prefill", "decode"] {
        for bytes in ["peak_bytes", "active_bytes", "process_bytes"] {
            assert!(memory[phase][bytes].as_u64().unwrap() > 0, "{phase} {bytes}");
        }
        assert!(memory[phase]["cached_bytes"].is_u64(), "{phase}");
    }
    assert_eq!(report["plugin_calls"]["during_decode"], 0);
}

#[test]
fn stats_say_the_same_for_people() {
    let outcome = golden("run").args(["--stats"]).succeeds();
    assert_eq!(outcome.stdout, words() + "\n");
    for part in [
        "model  smolvlm",
        concat!(
            "plugin  smolvlm ",
            env!("CARGO_PKG_VERSION"),
            ", contract 0.2.0, model, sha256 "
        ),
        concat!("host  monocle ", env!("CARGO_PKG_VERSION"), ", contract 0.2.0"),
        "template  from the repository's `chat_template.jinja`",
        "PNG 333x217, used as 224x168 in 13 tiles, 52 tokens",
        "answer  16 tokens; the most tokens that were asked for were generated",
        "special token `<|reserved_special_token_3|>` x1",
        "first token  ",
        "peak ",
        "0 after (0.00 a token)",
    ] {
        assert!(
            outcome.stderr.contains(part),
            "`{part}` is not in:\n{}",
            outcome.stderr
        );
    }
}

#[test]
fn stop_strings_and_token_limits_end_the_answer() {
    let report = golden("run").args(["--json", "--stop", "fu"]).json();
    let before = words()
        .split_once("fu")
        .expect("the answer holds it")
        .0
        .to_owned();
    assert_eq!(report["output"]["text"], before);
    assert_eq!(report["output"]["finish"]["reason"], "stop_string");
    assert_eq!(report["output"]["finish"]["stop"], "fu");
    let removed = report["output"]["removed"].as_array().unwrap();
    assert!(
        removed
            .iter()
            .any(|removed| removed["kind"] == "stop_string" && removed["what"] == "fu")
    );

    let folder = folder().display().to_string();
    let report = Monocle::new(["run", &folder, "-p", "hi", "--max-tokens", "3", "--json"]).json();
    assert_eq!(report["output"]["tokens"], 3);
    assert_eq!(report["images"], Value::Array(Vec::new()));
}

#[test]
fn sampling_is_repeatable() {
    let sample = |seed: &str| {
        let flags = ["--json", "--temperature", "1.5", "--seed", seed];
        golden("run").args(flags).json()["token_ids"].clone()
    };
    let first = sample("7");
    assert_eq!(first, sample("7"));
    assert_ne!(first, sample("8"));
    // Only the likeliest token is left: sampling is greedy again, at any temperature.
    let flags = ["--temperature", "1.5", "--top-k", "1"];
    assert_eq!(golden("run").args(flags).succeeds().stdout, words() + "\n");
}

#[test]
fn a_prompt_format_is_data() {
    let scratch = Scratch::new("formats");
    let template = "{% for m in messages %}{% for p in m.content %}{{ '<image>' if p.type == 'image' else p.text }}{% endfor %}{% endfor %}";
    scratch.write("other.jinja", template.to_owned() + " Answer:");
    scratch.write(
        "one.toml",
        manifest(&format!("[prompt]\ntemplate = \"{template}\"\n")),
    );
    scratch.write("two.toml", manifest("[prompt]\ntemplate = \"other.jinja\"\n"));
    let ask = |file: &str| {
        let path = scratch.file(file).display().to_string();
        Monocle::new([
            "run",
            &path,
            &picture(),
            "-p",
            QUESTION,
            "--max-tokens",
            "16",
            "--json",
        ])
        .json()
    };
    let (one, two) = (ask("one.toml"), ask("two.toml"));
    assert_eq!(one["prompt"]["text"], format!("<image>{QUESTION}"));
    assert_eq!(two["prompt"]["text"], format!("<image>{QUESTION} Answer:"));
    assert_eq!(one["prompt"]["template"], "the manifest");
    assert_ne!(one["token_ids"], two["token_ids"]);
    assert_eq!(one["host"], two["host"]);
}

#[test]
fn a_template_flag_goes_before_all_others() {
    let scratch = Scratch::new("template");
    let text =
        "Q{% for p in messages[-1].content %}{{ '<image>' if p.type == 'image' else p.text }}{% endfor %}";
    let file = scratch.write("own.jinja", text).display().to_string();
    for template in [text, file.as_str()] {
        let report = golden("run").args(["--json", "--template", template]).json();
        assert_eq!(report["prompt"]["text"], format!("Q<image>{QUESTION}"));
        assert_eq!(report["prompt"]["template"], "`--template`");
    }
    let report = golden("run").args(["--json", "--system", "Be brief."]).json();
    assert!(
        report["prompt"]["text"].as_str().unwrap().contains("Be brief."),
        "{}",
        report["prompt"]["text"]
    );
}

#[test]
fn a_model_is_found_by_name_by_manifest_and_by_folder() {
    let scratch = Scratch::new("names");
    let path = scratch
        .write("tiny-file.toml", manifest(""))
        .display()
        .to_string();
    for asked in ["tiny", "tiny-file", &path] {
        let flags = [
            "run",
            asked,
            &picture(),
            "-p",
            QUESTION,
            "--max-tokens",
            "16",
            "--json",
        ];
        let report = Monocle::new(flags)
            .env("MONOCLE_MANIFESTS", scratch.path())
            .json();
        assert_eq!(report["output"]["text"], words(), "{asked}");
        assert_eq!(report["model"]["name"], "tiny");
        assert!(
            report["model"]["declared_by"]
                .as_str()
                .unwrap()
                .ends_with("tiny-file.toml")
        );
    }
}

#[test]
fn a_question_may_come_from_standard_input() {
    let folder = folder().display().to_string();
    let ask = |arguments: &[&str]| {
        let flags = ["run", &folder, "--max-tokens", "1", "--json"];
        Monocle::new(flags)
            .args(arguments)
            .input(" What is \n this?\n")
            .json()["prompt"]["text"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert!(ask(&["-p", "-"]).contains("User: What is \n this?<end_of_utterance>"));
    assert!(ask(&[]).contains("User: What is \n this?<end_of_utterance>"));
    assert!(ask(&[&picture(), "-p", "-"]).contains("<image>What is \n this?<end_of_utterance>"));
    // With a picture there is a question already, and nobody waits for an input that may never come.
    assert!(ask(&[&picture()]).contains("<image>Describe this image.<end_of_utterance>"));
}

/// Texts may begin with a dash, as those of a list or of a rule do.
#[test]
fn values_may_begin_with_a_dash() {
    let folder = folder().display().to_string();
    let prompt = |flags: &[&str]| {
        let inspected = Monocle::new(["inspect", &folder, "--json"]).args(flags).json();
        inspected["prompt"]["text"]
            .as_str()
            .expect("it has a text")
            .to_owned()
    };
    for question in ["- What is this?", "--", "---", "-1", "--verbose"] {
        let text = prompt(&["-p", question]);
        assert!(
            text.contains(&format!("User: {question}<end_of_utterance>")),
            "{text}"
        );
        assert_eq!(text, prompt(&[&format!("--prompt={question}")]));
    }
    let system = prompt(&["-p", "x", "--system", "-- rules: be brief"]);
    assert!(system.contains("-- rules: be brief"), "{system}");
    let template = prompt(&["-p", "x", "--template", "--- {{ messages[-1].content[-1].text }}"]);
    assert_eq!(template, "--- x");
    let run = [
        "run",
        &folder,
        "-p",
        "x",
        "--max-tokens",
        "1",
        "--stop",
        "---",
        "--stop",
        "--end",
    ];
    Monocle::new(run).succeeds();
    Monocle::new(["run", &folder, "-p", "x", "--temperature", "-1"])
        .fails(2, &["`temperature` is -1; expected 0"]);
    Monocle::new(["run", &folder, "-p", "x", "--seed", "-1"]).fails(2, &["--seed"]);
}

#[test]
fn misuse_ends_with_2() {
    let folder = folder().display().to_string();
    Monocle::new(["run"]).fails(2, &["<MODEL>"]);
    Monocle::new(["walk"]).fails(2, &["unrecognized subcommand 'walk'"]);
    Monocle::new(["run", &folder, "--max-tokens", "0", "-p", "x"]).fails(2, &["--max-tokens"]);
    Monocle::new(["run", &folder, "-p", "x", "--temperature=-1"])
        .fails(2, &["`temperature` is -1; expected 0"]);
    Monocle::new(["run", &folder, "-p", "x", "--top-p", "2"]).fails(2, &["`top_p` is 2"]);
    let cpu = ["run", &folder, "-p", "x", "--engine", "cpu", "--precision", "f16"];
    Monocle::new(cpu).fails(
        2,
        &[
            "does not compute in f16",
            "auto, f32, bf16 and int8",
            "leave out `--precision`",
        ],
    );
    Monocle::new(["run", &folder, "-p", "x", "--kv-type", "q4"])
        .fails(2, &["--kv-type", "f32, bf16, f16, q8"]);
    // Where it is built in, the tests of the engines use it.
    if cfg!(not(any(target_os = "macos", feature = "mlx"))) {
        let mlx = ["run", &folder, "-p", "x", "--engine", "mlx"];
        Monocle::new(mlx).fails(2, &["`mlx` is not built into this program", "--engine cpu"]);
    }
    Monocle::new(["run", &folder]).fails(2, &["nothing to answer", "\n\nhint: "]);
    Monocle::new(["run", &folder, "-p", "-"]).fails(2, &["nothing to answer"]);
    // A model alone can be looked at.
    let asked = |more: &[&str]| Monocle::new(["inspect", &folder, "--json"]).args(more).json();
    assert_eq!(
        asked(&[])["prompt"],
        asked(&["-p", "Describe this image."])["prompt"]
    );
}

#[test]
fn a_limit_on_memory_is_kept() {
    golden("run")
        .args(["--memory-limit", "4 apples"])
        .fails(2, &["a size like `4GB`"]);
    // The checkpoint alone takes about half a megabyte.
    golden("run")
        .args(["--memory-limit", "100kB"])
        .fails(1, &["the weights take", "the limit is 98 KiB (as asked)"]);
    let memory = &golden("run").args(["--memory-limit", "2GiB", "--json"]).json()["memory"];
    assert_eq!(memory["limit_bytes"], 2_u64 << 30);

    // `inspect` tells, whether it fits or not.
    let report = golden("inspect")
        .args(["--memory-limit", "100kB", "--json"])
        .json();
    assert_eq!(report["memory"]["fits"], false);
    let total = report["memory"]["total_bytes"].as_u64().unwrap();
    let weights = report["memory"]["weights_bytes"].as_u64().unwrap();
    assert!(weights > 100_000 && total > weights, "{weights} {total}");
    let limit = (total - 1).to_string();
    let words = [
        "the request needs ",
        " of caches, ",
        "hint: use fewer or smaller pictures",
    ];
    golden("run").args(["--memory-limit", &limit]).fails(1, &words);
    let text = golden("inspect")
        .args(["--memory-limit", "2GiB"])
        .succeeds()
        .stdout;
    assert!(text.contains("fits the limit of 2.00 GiB"), "{text}");
}

#[test]
fn inspect_says_what_a_request_would_come_to() {
    let report = golden("inspect").args(["--kv-type", "f32", "--json"]).json();
    let oracle = Oracle::open(&folder());
    assert_eq!(report["prompt"]["text"], oracle.case("image")["prompt"]);
    let ids: Vec<Value> = oracle
        .ints("image/input_ids")
        .unwrap()
        .into_iter()
        .map(Value::from)
        .collect();
    assert_eq!(report["token_ids"], Value::Array(ids));
    assert_eq!(report["images"][0]["tokens"], 52);
    assert_eq!(report["weights"]["files"], 1);
    assert!(report["weights"]["parameters"].as_u64().unwrap() > 100_000);
    // Two key-value heads of 16 in each of the layers, keys and values, 4 bytes a float, for the prompt and 16 tokens more.
    let config: Value =
        serde_json::from_str(&std::fs::read_to_string(folder().join("config.json")).unwrap()).unwrap();
    let text = &config["text_config"];
    let number = |key: &str| text[key].as_u64().unwrap();
    let head = text["head_dim"]
        .as_u64()
        .unwrap_or(number("hidden_size") / number("num_attention_heads"));
    let per_token = number("num_hidden_layers") * number("num_key_value_heads") * head * 2 * 4;
    // The engine's caches grow by 64 tokens.
    let tokens = (report["prompt"]["tokens"].as_u64().unwrap() + 16).next_multiple_of(64);
    assert_eq!(report["memory"]["cache_bytes"], per_token * tokens);

    let text = golden("inspect").succeeds().stdout;
    assert!(text.contains("16-bit integers for quantised weights"), "{text}");
    assert!(
        text.contains("52 of them for pictures") && text.contains("<|im_start|>User:<image>"),
        "{text}"
    );
}

#[test]
fn models_are_listed_with_their_state() {
    let scratch = Scratch::new("models");
    scratch.write("present.toml", manifest(""));
    scratch.write(
        "absent.toml",
        "schema = 1\nname = \"gone\"\nplugin = \"p\"\n[source]\nrepo = \"org/gone\"\n",
    );
    scratch.write("broken.toml", "schema = 1\nnam = \"x\"\n");
    let rows = Monocle::new(["models", "--json"])
        .env("MONOCLE_MANIFESTS", scratch.path())
        .json();
    let row = |name: &str| {
        let mut rows = rows.as_array().unwrap().iter();
        rows.find(|row| row["name"] == name)
            .unwrap_or_else(|| panic!("{name} is not listed"))
            .clone()
    };
    assert_eq!(
        (&row("tiny")["state"], &row("tiny")["plugin"]),
        (&"present".into(), &"smolvlm".into())
    );
    assert_eq!(row("tiny")["folder"], folder().display().to_string());
    assert_eq!(
        (&row("gone")["state"], &row("gone")["source"]),
        (&"absent".into(), &"org/gone@main".into())
    );
    assert_eq!(row("broken")["state"], "broken");
    assert!(
        row("broken")["error"]
            .as_str()
            .unwrap()
            .contains("unknown key `nam`"),
        "{}",
        row("broken")
    );
    // The project's own are listed too, whatever the state of their weights.
    assert_eq!(
        row("smolvlm-500m")["source"],
        "HuggingFaceTB/SmolVLM-500M-Instruct@main"
    );
    let text = Monocle::new(["models"]).succeeds().stdout;
    assert!(
        text.lines().any(|line| line.starts_with("smolvlm-500m ")),
        "{text}"
    );
}

#[test]
fn plugins_are_listed_and_wrapped() {
    let scratch = Scratch::new("plugins");
    let module = project::target().join("wasm32-unknown-unknown/plugin/smolvlm.wasm");
    scratch.write(
        "module.wasm",
        std::fs::read(&module).expect("the plugins were built"),
    );
    scratch.write("text.wasm", "no plugin");
    let rows = |folder: &Scratch| {
        Monocle::new(["plugins", "--json"])
            .env("MONOCLE_PLUGINS", folder.path())
            .json()
    };
    let row = |rows: &Value, path: &str| {
        let mut rows = rows.as_array().unwrap().iter();
        rows.find(|row| row["path"].as_str().unwrap().ends_with(path))
            .unwrap_or_else(|| panic!("{path} is not listed"))
            .clone()
    };
    let before = rows(&scratch);
    let error = |file: &str| row(&before, file)["error"].as_str().unwrap().to_owned();
    assert!(
        error("module.wasm").contains("monocle plugins wrap"),
        "{}",
        error("module.wasm")
    );
    assert_eq!(error("text.wasm"), "it is not WebAssembly");

    let wrap = |module: &str, to: &str| {
        Monocle::new([
            "plugins",
            "wrap",
            &scratch.file(module).display().to_string(),
            "-o",
        ])
        .args([scratch.file(to)])
    };
    let said = wrap("module.wasm", "").succeeds().stdout;
    assert!(
        said.contains(concat!(
            "smolvlm.wasm (smolvlm ",
            env!("CARGO_PKG_VERSION"),
            ", model, contract 0.2.0"
        )),
        "{said}"
    );
    let after = rows(&scratch);
    let wrapped = row(&after, &scratch.file("smolvlm.wasm").display().to_string());
    assert_eq!(
        (
            &wrapped["name"],
            &wrapped["version"],
            &wrapped["contract"],
            &wrapped["kind"]
        ),
        (
            &"smolvlm".into(),
            &env!("CARGO_PKG_VERSION").into(),
            &"0.2.0".into(),
            &"model".into()
        )
    );
    assert_eq!(wrapped["error"], Value::Null);
    // The same module wrapped by the project's own task is the same file.
    let built = std::fs::read(project::plugins().join("smolvlm.wasm")).unwrap();
    assert_eq!(std::fs::read(scratch.file("smolvlm.wasm")).unwrap(), built);

    wrap("smolvlm.wasm", "again.wasm").fails(1, &["smolvlm.wasm` cannot be wrapped", "component already"]);
    wrap("text.wasm", "x.wasm").fails(1, &["text.wasm` cannot be wrapped", "not a WebAssembly module"]);
    wrap("none.wasm", "x.wasm").fails(1, &["cannot read", "none.wasm"]);
    wrap("module.wasm", "module.wasm").fails(1, &["overwritten", "--output"]);
    assert!(!scratch.file("x.wasm").exists());
}

/// A module may call itself anything: nothing is written elsewhere, and what worked stays.
#[test]
fn a_module_that_lies_replaces_nothing() {
    let scratch = Scratch::new("lies");
    let module = project::target().join("wasm32-unknown-unknown/plugin/smolvlm.wasm");
    let module = std::fs::read(&module).expect("the plugins were built");
    let lying = |old: &str, new: &str| {
        assert_eq!(old.len(), new.len());
        let mut bytes = module.clone();
        let places: Vec<usize> = bytes
            .windows(old.len())
            .enumerate()
            .filter(|(_, window)| *window == old.as_bytes())
            .map(|(at, _)| at)
            .collect();
        assert!(!places.is_empty(), "{old}");
        for at in places {
            bytes[at..at + old.len()].copy_from_slice(new.as_bytes());
        }
        bytes
    };
    scratch.write("good.wasm", &module);
    scratch.write(
        "upwards.wasm",
        lying(r#""name":"smolvlm""#, r#""name":"../vlmx""#),
    );
    scratch.write(
        "future.wasm",
        lying(r#""contract":"0.2.0""#, r#""contract":"9.9.0""#),
    );
    scratch.write("out/notes.txt", "mine");
    let wrap = |module: &str, to: &str| {
        let (module, to) = (scratch.file(module), scratch.file(to));
        Monocle::new(["plugins", "wrap"]).args([module.as_os_str(), "-o".as_ref(), to.as_os_str()])
    };
    wrap("good.wasm", "out").succeeds();
    let worked = std::fs::read(scratch.file("out/smolvlm.wasm")).unwrap();
    wrap("upwards.wasm", "out").fails(1, &["the name is `../vlmx`"]);
    wrap("future.wasm", "out").fails(1, &["9.9.0"]);
    wrap("good.wasm", "out/notes.txt").fails(1, &["smolvlm.wasm", "--output"]);
    assert_eq!(std::fs::read(scratch.file("out/smolvlm.wasm")).unwrap(), worked);
    assert_eq!(
        std::fs::read_to_string(scratch.file("out/notes.txt")).unwrap(),
        "mine"
    );
    let names = |folder: &Path| {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&scratch.file("out")), ["notes.txt", "smolvlm.wasm"]);
    assert_eq!(
        names(scratch.path()),
        ["future.wasm", "good.wasm", "out", "upwards.wasm"]
    );
}

#[test]
fn a_repository_is_fetched_once_and_matched_to_a_plugin() {
    let checkpoint = Scratch::checkpoint("smolvlm");
    let hub = FakeHub::serve(checkpoint.path());
    let cache = Scratch::new("cache");
    let ask = |offline: &str| {
        let flags = [
            "run",
            "org/model",
            &picture(),
            "-p",
            QUESTION,
            "--max-tokens",
            "16",
            "--json",
        ];
        Monocle::new(flags)
            .env("HF_ENDPOINT", &hub.endpoint)
            .env("HF_HOME", cache.path())
            .env("HF_HUB_OFFLINE", offline)
    };
    ask("1").fails(1, &["`org/model` is not complete in the cache", "HF_HUB_OFFLINE"]);
    assert_eq!(hub.requests(), 0);
    let report = ask("0").json();
    assert_eq!(report["output"]["text"], words());
    assert_eq!(report["host"]["plugins"][0]["name"], "smolvlm");
    assert!(
        report["model"]["declared_by"]
            .as_str()
            .unwrap()
            .contains("`org/model`")
    );
    assert!(hub.requests() > 0);
    let fetched = hub.requests();
    assert_eq!(ask("1").json()["output"]["text"], words());
    assert_eq!(hub.requests(), fetched);

    // The same as people paste it.
    let by_address = |address: &str| {
        Monocle::new(["inspect", address, "-p", "x", "--json"])
            .env("HF_ENDPOINT", &hub.endpoint)
            .env("HF_HOME", cache.path())
    };
    let name = by_address("org/model").json()["prompt"].clone();
    for address in [
        "https://huggingface.co/org/model",
        "hf.co/org/model/",
        "https://huggingface.co/org/model/tree/main?x=y",
        &format!("{}/org/model", hub.endpoint),
    ] {
        assert_eq!(by_address(address).json()["prompt"], name, "{address}");
    }
    by_address("https://huggingface.co/org/model/tree/v2").fails(1, &["`org/model` is not complete"]);
    by_address("https://huggingface.co/datasets/model")
        .fails(1, &["is no model's address", "/tree/REVISION"]);

    Monocle::new(["run", "org/other", "-p", "x"])
        .env("HF_ENDPOINT", &hub.endpoint)
        .env("HF_HOME", cache.path())
        .env("HF_HUB_OFFLINE", "0")
        .fails(
            1,
            &["has no `org/other` at revision `main`", "check the spelling"],
        );
}

/// A reader that leaves early is no failure, and a full disk is no panic.
#[test]
fn output_that_cannot_be_written_is_no_panic() {
    let folder = folder().display().to_string();
    let commands = [
        vec!["run", &folder, "-p", "x", "--max-tokens", "3"],
        vec!["run", &folder, "-p", "x", "--max-tokens", "3", "--json"],
        vec!["inspect", &folder, "-p", "x"],
        vec!["models"],
        vec!["plugins"],
    ];
    for command in commands {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let run = |stdout: Stdio| {
            let mut process = Command::new(program::path());
            process.args(&command).stdin(Stdio::null()).stdout(stdout);
            let output = process
                .env("HF_HUB_OFFLINE", "1")
                .stderr(Stdio::piped())
                .spawn()
                .and_then(|child| child.wait_with_output())
                .unwrap();
            (output.status.code(), String::from_utf8(output.stderr).unwrap())
        };
        let (code, words) = run(writer.into());
        assert_eq!(code, Some(0), "{command:?}: {words}");
        assert!(!words.contains("error"), "{command:?}: {words}");
        // Not every system has a disk that is always full.
        let full = std::fs::File::options().write(true).open("/dev/full");
        let Ok(full) = full else { continue };
        let (code, words) = run(full.into());
        assert_eq!(code, Some(1), "{command:?}: {words}");
        assert!(
            words.contains("error: cannot write") && words.contains("No space left"),
            "{command:?}: {words}"
        );
    }
}

/// PaliGemma and LLaVA-1.6 passed over what the request told them, nanoLLaVA echoed it, Llama 3.2 refused: users are told.
#[test]
fn an_answer_that_passes_over_the_request_is_flagged() {
    let shapes = project::root().join("models/shapes");
    let picture = shapes.join("pictures/shapes.png");
    let words = "Describe everything in this picture. It is of Whitby, Saltburn and Staithes.";
    let run = || Monocle::new(["run".as_ref(), shapes.as_os_str(), picture.as_os_str()]).args(["-p", words]);
    let report = run().args(["--json"]).json();
    let flag = &report["output"]["flags"][0];
    assert_eq!(flag["flag"], "context_ignored");
    assert_eq!(
        flag["names"],
        serde_json::json!(["Whitby", "Saltburn", "Staithes"])
    );
    let outcome = run().succeeds();
    assert!(
        outcome.stderr.contains("Whitby, Saltburn, Staithes"),
        "{}",
        outcome.stderr
    );
}

/// Two plugins that understand one type: which takes it is shown, and the user's to change.
#[test]
fn the_order_of_plugins_is_shown_and_can_be_changed() {
    let scratch = Scratch::new("plugin-order");
    let plugin = std::fs::read(project::plugins().join("smolvlm.wasm")).expect("it was built");
    // Another name of as many letters: sections keep their lengths.
    let (old, new) = (b"\"name\":\"smolvlm\"", b"\"name\":\"another\"");
    let mut renamed = plugin.clone();
    for at in 0..plugin.len() - old.len() {
        if plugin[at..].starts_with(old) {
            renamed[at..at + new.len()].copy_from_slice(new);
        }
    }
    assert!(renamed != plugin, "the name is in the stamp");
    scratch.write("smolvlm.wasm", &plugin);
    scratch.write("another.wasm", &renamed);
    let monocle = |arguments: &[&str], order: &str| {
        Monocle::new(arguments)
            .env("MONOCLE_PLUGINS", scratch.path())
            .env("MONOCLE_PLUGIN_ORDER", order)
    };
    let folder = folder().display().to_string();
    // By name, where nobody says otherwise.
    for (order, first, second) in [
        ("", "another", "smolvlm"),
        ("smolvlm", "smolvlm", "another"),
        ("nobody,another", "another", "smolvlm"),
    ] {
        let listed = monocle(&["plugins"], order).succeeds().stdout;
        let words =
            format!("models of the type `smolvlm` are taken by `{first}`, which goes before `{second}`");
        assert!(
            listed.contains(&words) && listed.contains("`MONOCLE_PLUGIN_ORDER`"),
            "{order}: {listed}"
        );
        let rows = monocle(&["plugins", "--json"], order).json();
        for row in rows.as_array().expect("a list") {
            let yields = row["yields"].as_array().map_or(0, Vec::len);
            assert_eq!(yields > 0, row["name"] == second, "{order}: {row}");
        }
        let used = monocle(&["inspect", &folder, "-p", "hi", "--json"], order).json();
        assert_eq!(used["plugins"][0]["name"], first, "{order}");
    }
}
