//! Whatever is wrong with what a user gives: an error that names the file and says what to do, exit code 1, and never a panic
//! (`Monocle::run` looks for one each time).

use monocle_runtime::request::GenerateOptions;
use monocle_runtime::request::Request;
use monocle_runtime::request::pictures::PictureInput;
use monocle_runtime::scheduler::Flow;
use monocle_runtime::scheduler::Scheduler;
use monocle_tests::program::{Monocle, Outcome};
use monocle_tests::project;
use monocle_tests::scratch::Scratch;

/// `monocle run FOLDER -p hi`: must fail with these words.
fn refused(folder: &Scratch, words: &[&str]) -> Outcome {
    Monocle::new(["run"])
        .args([folder.path()])
        .args(["-p", "hi", "--max-tokens", "2"])
        .fails(1, words)
}

fn picture_refused(name: &str, bytes: &[u8], words: &[&str]) {
    let scratch = Scratch::new("picture");
    let path = scratch.write(name, bytes);
    let mut expected = words.to_vec();
    // The file is named once, and as the user wrote it.
    let path = path.display().to_string();
    expected.push(&path);
    let run = Monocle::new(["run"]).args([project::oracle("smolvlm")]);
    let outcome = run.args([path.as_str(), "-p", "hi"]).fails(1, &expected);
    assert_eq!(outcome.stderr.matches(name).count(), 1, "{}", outcome.stderr);
}

fn png() -> Vec<u8> {
    std::fs::read(project::oracle("smolvlm").join("image.png")).expect("the picture is there")
}

/// CRC-32 of a PNG chunk (W3C PNG, annex D).
fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    };
    !bytes.iter().fold(u32::MAX, step)
}

/// The picture, its header saying that it is of another size; the header's checksum is right.
fn lying(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = png();
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let sum = crc(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&sum.to_be_bytes());
    bytes
}

#[test]
fn pictures_that_are_none() {
    picture_refused("empty.png", b"", &["is empty (0 bytes)", "expected a PNG"]);
    picture_refused(
        "text.jpg",
        b"hello, this is a text",
        &["of a kind that cannot be read", "convert it first"],
    );
    let whole = png();
    picture_refused(
        "cut.png",
        &whole[..whole.len() / 2],
        &["damaged or truncated", "get a whole copy"],
    );
    picture_refused("stub.png", &whole[..20], &["PNG"]);
    let smolvlm = project::oracle("smolvlm");
    Monocle::new(["run"])
        .args([&smolvlm, &project::oracle("sampling")])
        .args(["-p", "hi"])
        .fails(1, &["the folder", "has no picture files", ".png"]);
    Monocle::new(["run"])
        .args([&smolvlm, &smolvlm.join("none.png")])
        .fails(1, &["cannot read picture", "none.png", "No such file"]);
}

#[test]
fn pictures_that_lie_about_their_size() {
    // 200000 x 200000 pixels would take 112 GiB.
    picture_refused(
        "bomb.png",
        &lying(200_000, 200_000),
        &["200000 x 200000", "more than the limit", "shrink it"],
    );
    picture_refused("tall.png", &lying(333, 9999), &["damaged or truncated"]);
    picture_refused("nothing.png", &lying(0, 10), &["PNG"]);
}

#[test]
fn weights_that_are_damaged() {
    let scratch = Scratch::checkpoint("smolvlm");
    let file = "model.safetensors";
    let whole = std::fs::read(scratch.file(file)).unwrap();
    let broken = |bytes: &[u8], words: &[&str]| {
        scratch.write(file, bytes);
        let outcome = refused(&scratch, words);
        let path = scratch.file(file).display().to_string();
        assert!(
            outcome.stderr.contains(&path) && outcome.stderr.contains("download it again"),
            "{}",
            outcome.stderr
        );
    };
    broken(b"", &["not a sound safetensors file"]);
    broken(&whole[..whole.len() - 1], &["not a sound safetensors file"]);
    broken(&whole[..100], &["not a sound safetensors file"]);
    let mut longer = whole.clone();
    longer.push(0);
    broken(&longer, &["not a sound safetensors file"]);
    let mut endless = whole.clone();
    endless[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    broken(&endless, &["not a sound safetensors file"]);
    // A shape that does not fit its bytes.
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let text = String::from_utf8(whole[8..header].to_vec()).unwrap();
    let shape = text.find("\"shape\":[").expect("a tensor has a shape") + 9;
    let mut wrong = whole.clone();
    wrong[8 + shape] = if wrong[8 + shape] == b'9' { b'8' } else { b'9' };
    broken(&wrong, &["not a sound safetensors file"]);

    scratch.remove(file);
    refused(&scratch, &["has no weights: expected `model.safetensors`"]);
}

#[test]
fn weights_of_other_programs_and_pointers() {
    let scratch = Scratch::checkpoint("smolvlm");
    let config = std::fs::read_to_string(scratch.file("config.json")).expect("the configuration is there");
    let said = config.replacen(
        '{',
        r#"{"quantization_config": {"quant_method": "gptq", "bits": 4},"#,
        1,
    );
    scratch.write("config.json", said);
    refused(
        &scratch,
        &[
            "quantised with GPTQ in 4 bits",
            "config.json",
            "take the original in bf16",
        ],
    );
    scratch.write("config.json", config);
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4418050848\n";
    for name in ["model.safetensors", "tokenizer.json", "config.json"] {
        let scratch = Scratch::checkpoint("smolvlm");
        scratch.write(name, pointer);
        let words =
            format!("{name}` is a Git LFS pointer, and not the file itself, which has 4418050848 bytes");
        refused(&scratch, &[&words, "git lfs pull"]);
    }
}

#[test]
fn shards_that_are_missing_or_disagree() {
    let scratch = Scratch::checkpoint("smolvlm");
    let whole = std::fs::read(scratch.file("model.safetensors")).unwrap();
    scratch.remove("model.safetensors");
    let index = r#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#;
    scratch.write("model.safetensors.index.json", index);
    scratch.write("model-1.safetensors", &whole);
    refused(
        &scratch,
        &[
            "lacks 1 of its 2 weight files: `model-2.safetensors`",
            "download them again",
            "tensor `b`, for one, is promised in `model-2.safetensors`, and no file has it; there: `model-1.safetensors`",
        ],
    );
    scratch.write("model-2.safetensors", &whole);
    refused(
        &scratch,
        &[
            "is both in `model-1.safetensors` and in `model-2.safetensors`",
            "download the model again",
        ],
    );
    // A tensor is really missing: the index says where it should be, and it is not there.
    let name = "model.text_model.layers.1.mlp.down_proj.weight";
    let at = whole.windows(name.len()).position(|part| part == name.as_bytes());
    let mut without = whole.clone();
    without[at.expect("the model has this tensor")] = b'x';
    scratch.write("model-1.safetensors", without);
    scratch.write("model-2.safetensors", [&2_u64.to_le_bytes()[..], b"{}"].concat());
    scratch.write(
        "model.safetensors.index.json",
        index.replace("\"b\"", &format!("\"{name}\"")),
    );
    refused(
        &scratch,
        &[
            &format!(
                "has no weight `{name}`: `model.safetensors.index.json` promises it in `model-2.safetensors`"
            ),
            "which does not hold it",
            "in `model-1.safetensors`, `model-2.safetensors`",
            "download both again",
        ],
    );
    // In another file than the index says, it will do, and a note tells. So will a tensor that nobody has and nobody asks for.
    scratch.write("model-1.safetensors", &whole);
    let run = Monocle::new(["run"]).args([scratch.path()]);
    let outcome = run.args(["-p", "hi", "--max-tokens", "2", "--stats"]).succeeds();
    for note in [
        format!("1 tensors are in other files than `model.safetensors.index.json` says: `{name}`"),
        "`model.safetensors.index.json` names 1 tensors that no file has: `a`".to_owned(),
    ] {
        assert!(outcome.stderr.contains(&note), "{}", outcome.stderr);
    }
    scratch.write("model.safetensors.index.json", "{");
    refused(&scratch, &["model.safetensors.index.json"]);
    // Nothing in an index may point out of the folder.
    scratch.write(
        "model.safetensors.index.json",
        r#"{"weight_map": {"a": "../other.safetensors"}}"#,
    );
    refused(
        &scratch,
        &["model.safetensors.index.json", "../other.safetensors"],
    );
}

#[test]
fn weights_that_do_not_fit_the_configuration() {
    let scratch = Scratch::checkpoint("smolvlm");
    let edit = |from: &str, to: &str| {
        scratch.edit("config.json", |text| {
            assert!(text.contains(from), "config.json has {from}");
            text.replace(from, to)
        });
    };
    edit("\"scale_factor\": 2", "\"scale_factor\": 0");
    refused(
        &scratch,
        &[
            concat!("plugin `smolvlm` ", env!("CARGO_PKG_VERSION")),
            "`scale_factor` in `config.json` must not be 0",
        ],
    );
    edit("\"scale_factor\": 0", "\"scale_factor\": \"two\"");
    refused(
        &scratch,
        &[
            concat!("plugin `smolvlm` ", env!("CARGO_PKG_VERSION")),
            "`scale_factor` in `config.json`",
        ],
    );
    edit("\"scale_factor\": \"two\"", "\"scale_factor\": 2");
    edit("\"num_hidden_layers\": ", "\"num_hidden_layers\": 1");
    refused(
        &scratch,
        &[
            concat!("plugin `smolvlm` ", env!("CARGO_PKG_VERSION")),
            "the checkpoint has no weight",
            "weights.rename",
        ],
    );
}

#[test]
fn configurations_that_are_missing_or_wrong() {
    let scratch = Scratch::checkpoint("smolvlm");
    let folder = scratch.path().display().to_string();
    scratch.write("config.json", "{\"model_type\": ");
    refused(&scratch, &["config.json` is not JSON", "download it again"]);
    scratch.write("config.json", b"\xff\xfe");
    refused(&scratch, &["config.json", "download it again"]);
    scratch.write("config.json", "[]");
    refused(&scratch, &["config.json"]);
    scratch.write("config.json", "{}");
    refused(&scratch, &[&folder, "no `model_type`", "hint: write a manifest"]);
    scratch.write("config.json", r#"{"model_type": "unheard_of"}"#);
    refused(
        &scratch,
        &[
            &folder,
            "`unheard_of`",
            "no installed plugin",
            "smolvlm",
            "hint: install a plugin",
        ],
    );
    scratch.remove("config.json");
    refused(&scratch, &[&folder, "no `config.json`"]);
}

#[test]
fn tokenizers_that_are_missing_or_broken() {
    let scratch = Scratch::checkpoint("smolvlm");
    let whole = std::fs::read_to_string(scratch.file("tokenizer.json")).unwrap();
    for text in ["", "{}", &whole[..whole.len() / 2]] {
        scratch.write("tokenizer.json", text);
        refused(
            &scratch,
            &["tokenizer.json` is not a valid tokenizer", "fetch it again"],
        );
    }
    scratch.remove("tokenizer.json");
    refused(&scratch, &["tokenizer.json"]);
    scratch.write("tokenizer.json", &whole);
    scratch.write("tokenizer_config.json", "{");
    refused(&scratch, &["tokenizer_config.json"]);
}

#[test]
fn chat_templates_that_are_broken_or_endless() {
    let scratch = Scratch::checkpoint("smolvlm");
    let template = |text: &str, words: &[&str]| {
        scratch.write("chat_template.jinja", text);
        let outcome = refused(&scratch, words);
        assert!(
            outcome.stderr.contains("`chat_template.jinja`"),
            "{}",
            outcome.stderr
        );
    };
    template("{% if %}", &["syntax error in line 1"]);
    template("{{ nothing.at.all }}", &["fails in line 1"]);
    template(
        "{{ raise_exception('users first') }}",
        &["refuses this conversation", "users first"],
    );
    let nested = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% set x = a * b %}\
                  {% endfor %}{% endfor %}{% endfor %}";
    template(nested, &["chat template"]);
    let longer = "{% for a in range(99999) %}{% for b in range(99999) %}{{ 'a long text, again and again' * 9 }}\
                  {% endfor %}{% endfor %}";
    template(longer, &["chat template"]);
    template(
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
        &["chat template"],
    );

    // There is no place for the picture, nor for the words that it could be written into: said before anything is computed.
    scratch.write("chat_template.jinja", "{{ messages[-1].role }}");
    let picture = project::oracle("smolvlm").join("image.png");
    Monocle::new(["run"])
        .args([scratch.path(), &picture])
        .fails(1, &["0 times `<image>` for 1 pictures", "check the template"]);
}

#[test]
fn manifests_that_are_wrong() {
    let scratch = Scratch::new("manifests");
    let model = project::oracle("smolvlm");
    let refused = |text: &str, words: &[&str]| {
        let path = scratch.write("wrong.toml", text).display().to_string();
        let outcome = Monocle::new(["run", &path, "-p", "hi"]).fails(1, words);
        assert!(
            outcome.stderr.contains(&path),
            "{path} is not named in:\n{}",
            outcome.stderr
        );
    };
    let with = |line: &str| {
        format!("schema = 1\nname = \"x\"\nplugin = \"smolvlm\"\n{line}\n[source]\npath = {model:?}\n")
    };
    refused(
        &with("promt = { system = \"x\" }"),
        &[":4:1: unknown key `promt`", "`prompt`"],
    );
    refused(
        &with("generation = { max_tokens = \"many\" }"),
        &[":4:", "`generation.max_tokens` must be"],
    );
    refused(
        &with("generation = { temperature = -1 }"),
        &["`generation.temperature` must be"],
    );
    refused(
        &with("weights = { rename = [[\"(\", \"x\"]] }"),
        &["weights.rename"],
    );
    refused(
        &with("prompt = { template = \"none.jinja\" }"),
        &["`prompt.template` names", "none.jinja", "does not exist"],
    );
    refused(
        "schema = 1\nname = \"x\"\nplugin = \"smolvlm\"\n[source]\npath = \"none\"\n",
        &["`source.path` names", "does not exist"],
    );
    refused("schema = 1\nname = \"x\"\n", &["lacks the key `plugin`"]);
    refused(
        &with("").replace("schema = 1", "schema = 2"),
        &["schema 2", "update Monocle"],
    );
    refused("= no toml", &[":1:1: "]);
    refused("\u{0}", &["wrong.toml:1:"]);

    let unknown = |choice: &str, words: &[&str]| {
        let text = with("").replace("plugin = \"smolvlm\"", choice);
        let path = scratch.write("plugin.toml", text).display().to_string();
        Monocle::new(["run", &path, "-p", "hi"]).fails(1, words);
    };
    unknown(
        "plugin = \"nobody\"",
        &["no plugin `nobody` in", "hint: `monocle plugins`"],
    );
    unknown(
        "plugin = { name = \"smolvlm\", version = \"9\" }",
        &[
            "asks for plugin `smolvlm` ^9",
            concat!("is version ", env!("CARGO_PKG_VERSION")),
            "hint: ",
        ],
    );
    unknown(
        "plugin = \"smolvlm\"\nadapter = \"smolvlm\"",
        &["names `smolvlm` as `adapter`", "a model plugin"],
    );
    unknown("plugin = \"../smolvlm\"", &["plugin"]);

    Monocle::new(["run", "nothing.toml", "-p", "hi"]).fails(1, &["cannot read manifest `nothing.toml`"]);
    Monocle::new(["run", "smolvml", "-p", "hi"]).fails(
        1,
        &[
            "no model `smolvml`",
            "did you mean `smolvlm`",
            "hint: `monocle models`",
        ],
    );
    Monocle::new(["run", "./smolvlm", "-p", "hi"]).fails(1, &["no model `./smolvlm`"]);
    Monocle::new(["run", "", "-p", "hi"]).fails(1, &["no model ``"]);
}

#[test]
fn plugins_that_are_none() {
    let scratch = Scratch::new("plugins");
    let good = std::fs::read(project::plugins().join("smolvlm.wasm")).unwrap();
    let run = |bytes: &[u8], words: &[&str]| {
        scratch.write("smolvlm.wasm", bytes);
        let model = project::oracle("smolvlm");
        let text = format!("schema = 1\nname = \"x\"\nplugin = \"smolvlm\"\n[source]\npath = {model:?}\n");
        let path = scratch.write("m.toml", text).display().to_string();
        let outcome = Monocle::new(["run", &path, "-p", "hi"])
            .env("MONOCLE_PLUGINS", scratch.path())
            .fails(1, words);
        assert!(outcome.stderr.contains("smolvlm.wasm"), "{}", outcome.stderr);
    };
    run(b"", &["not a usable plugin", "not WebAssembly"]);
    run(&good[..good.len() / 2], &["not a usable plugin"]);
    run(
        b"\0asm\x01\0\0\0",
        &["not a usable plugin", "monocle plugins wrap"],
    );
    run(
        b"\0asm\x0d\0\x01\0",
        &["not a usable plugin", "no section `monocle:plugin`"],
    );
    // Built for a contract of the future: both versions are named, and what to do.
    let stamp = b"\"contract\":\"0.2.0\"";
    let mut future = good.clone();
    let places: Vec<usize> = (0..good.len() - stamp.len())
        .filter(|&at| good[at..].starts_with(stamp))
        .collect();
    for at in &places {
        future[*at..at + stamp.len()].copy_from_slice(b"\"contract\":\"0.9.0\"");
    }
    assert!(!places.is_empty(), "the contract is stamped into the plugin");
    scratch.write("smolvlm.wasm", &future);
    let path = scratch.file("m.toml").display().to_string();
    Monocle::new(["run", &path, "-p", "hi"])
        .env("MONOCLE_PLUGINS", scratch.path())
        .fails(
            1,
            &[
                "contract 0.9.0",
                "this host serves 0.1.0 and 0.2.0",
                "hint: its author can rebuild",
            ],
        );
}

/// One process: after each refusal the next request is answered, and as before.
#[test]
fn a_refusal_is_not_the_end() {
    let mut model = project::open_folder(&project::oracle("smolvlm"));
    let picture = |name: &str, bytes: Vec<u8>| PictureInput::Bytes {
        name: name.to_owned(),
        bytes,
    };
    let answer = |model: &mut Scheduler, pictures: Vec<PictureInput>, prompt: &str| {
        let options = GenerateOptions {
            max_tokens: 8,
            ..GenerateOptions::default()
        };
        let request = Request::single(None, pictures, prompt);
        model
            .answer(&request, &options, &mut |_| Flow::Continue)
            .map(|report| report.token_ids)
            .map_err(|error| error.to_string())
    };
    let good = || vec![picture("good", png())];
    let first = answer(&mut model, good(), "hi").unwrap();
    let cut = png()[..500].to_vec();
    let refusals = [
        (
            vec![picture("cut", cut)],
            "hi".to_owned(),
            "picture `cut`: the PNG picture is damaged",
        ),
        (
            vec![picture("empty", Vec::new())],
            "hi".to_owned(),
            "picture `empty`: ",
        ),
        (good(), "word ".repeat(50_000), "the model's context holds"),
    ];
    // What looks like a second picture's place is a word.
    answer(&mut model, good(), "one more: <image>").unwrap();
    for (pictures, prompt, words) in refusals {
        let error = answer(&mut model, pictures, &prompt).unwrap_err();
        assert!(error.contains(words), "`{words}` is not in: {error}");
        assert_eq!(answer(&mut model, good(), "hi").unwrap(), first);
    }
}
