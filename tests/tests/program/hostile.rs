//! What strangers made takes little more memory than what friends made, whatever it tries, and ends in an error of one request.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use monocle_tests::made::lifted::{component, stamped};
use monocle_tests::program::{Monocle, path};
use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use serde_json::{Value, json};

/// More than a harmless request takes: what is refused may have taken so much before it was.
const MORE: u64 = 64 << 20;
/// No attack goes on for so long.
const PATIENCE: Duration = Duration::from_secs(120);

/// What became of a run.
struct Ran {
    code: Option<i32>,
    output: String,
    error: String,
    /// The most bytes that were resident.
    resident: u64,
}

fn environment(command: &mut Command) -> &mut Command {
    command
        .env_clear()
        .env("HOME", project::target().join("no-home"))
        .env("MONOCLE_CACHE", project::target().join("plugin-cache"))
        .env("HF_HUB_OFFLINE", "1")
        .env("MONOCLE_PLUGINS", project::target().join("test-plugins"))
}

/// `VmHWM` of a process, in bytes (proc_pid_status(5)); none once it has ended.
fn resident(child: &Child) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// `monocle run MODEL PICTURE`, watched.
fn watched(model: &Path, picture: &Path) -> Ran {
    watched_with(model, picture, &project::target().join("test-plugins"))
}

/// The same with the plugins of another folder.
fn watched_with(model: &Path, picture: &Path, plugins: &Path) -> Ran {
    watched_in(model, picture, plugins, &project::target().join("plugin-cache"))
}

/// The same with compiled plugins kept in another folder.
fn watched_in(model: &Path, picture: &Path, plugins: &Path, cache: &Path) -> Ran {
    watch(
        environment(Command::new(path()).arg("run").args([model, picture]).args([
            "-p",
            "hi",
            "--max-tokens",
            "4",
            "--memory-limit",
            "100MB",
            "--threads",
            "1",
        ]))
        .env("MONOCLE_PLUGINS", plugins)
        .env("MONOCLE_CACHE", cache),
    )
}

/// Any command, watched.
fn watch(command: &mut Command) -> Ran {
    let scratch = Scratch::new("watched");
    let [output, error] = ["output", "error"].map(|name| scratch.file(name));
    let file = |path: &Path| std::fs::File::create(path).expect("the folder is ours");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file(&output))
        .stderr(file(&error))
        .spawn()
        .expect("the program can be started");
    let (started, mut most) = (Instant::now(), 0);
    let status = loop {
        // The mark only rises: what is seen last is all there was, but for the very end.
        most = most.max(resident(&child).unwrap_or(0));
        if let Some(status) = child.try_wait().expect("it can be waited for") {
            break status;
        }
        if started.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("{command:?} did not end");
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let text = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    Ran {
        code: status.code(),
        output: text(&output),
        error: text(&error),
        resident: most,
    }
}

impl Ran {
    /// That it took little more than a harmless request.
    #[track_caller]
    fn took_little(&self, name: &str, usual: u64) {
        println!("{:4} MiB  {name}: {}", self.resident >> 20, self.error);
        assert!(
            self.resident <= usual + MORE,
            "{name}: {} MiB, usual are {}",
            self.resident >> 20,
            usual >> 20
        );
    }

    /// That it was refused in these words, and took little for it.
    #[track_caller]
    fn refused(&self, name: &str, words: &[&str], usual: u64) {
        assert_eq!(self.code, Some(1), "{name}: {}", self.error);
        for word in words {
            assert!(self.error.contains(word), "{name}: {}", self.error);
        }
        assert!(self.error.len() <= 4096, "{name}: {}", self.error);
        self.took_little(name, usual);
    }
}

/// A manifest for the small model; `more` are its further lines.
fn manifest(scratch: &Scratch, name: &str, more: &str) -> PathBuf {
    let folder = project::oracle("smolvlm");
    let text = format!("schema = 1\nname = \"hostile\"\nsource = {{ path = {folder:?} }}\n{more}\n");
    scratch.write(&format!("{name}.toml"), text)
}

fn deed(scratch: &Scratch, number: usize, told: &str) -> PathBuf {
    let more = format!(
        "plugin = {{ name = \"hostile\", options = {{ misbehave = {told:?} }} }}\n[limits]\nmemory_mib = 32\ncall_timeout_ms = 5000"
    );
    manifest(scratch, &number.to_string(), &more)
}

fn template(scratch: &Scratch, number: usize, text: &str) -> PathBuf {
    // A call may last longer than a template, so that it is the template's own limit that is met.
    let more =
        format!("plugin = \"smolvlm\"\n[limits]\ncall_timeout_ms = 60000\n[prompt]\ntemplate = {text:?}");
    manifest(scratch, &number.to_string(), &more)
}

#[test]
fn attacks_take_little_more_than_a_harmless_request() {
    let scratch = Scratch::new("resident");
    let picture = project::oracle("smolvlm").join("image.png");
    let harmless = deed(&scratch, 0, "");
    // The first run compiles the plugins, which takes more.
    let warm = [&harmless, &template(&scratch, 1, "{{ messages[0].content }}")];
    warm.iter().for_each(|model| drop(watched(model, &picture)));
    let usual = watched(&harmless, &picture);
    assert_eq!(usual.code, Some(0), "{}", usual.error);

    let deeds = [
        ("configure: write long lines", "tired of writing"),
        ("configure: allocate for ever", "may have 32"),
        // 100 MB, as the limit on memory is.
        ("pixels: a thin picture", "the 95 MiB that pictures may"),
        ("pixels: a huge picture", "takes more than"),
        ("pixels: a picture whose bytes wrap", "takes more than"),
        ("pixels: pictures without end", "4096 pictures"),
        ("encode: an estimate that wraps", "the request needs"),
        ("encode: one pixel made many", "the request needs"),
        ("configure: tokens without end", "`tokenizers.add`"),
        ("load: a name without end", "has no weight `xxx"),
        ("plan: pixels without end", "pixel tensors, more than the 64"),
        ("plan: slots without end", "the prompt has 300000 tokens"),
        ("plan: context ranges without end", "ranges of context"),
        ("plan: a prompt for days", "3000000 tokens"),
        ("plan: variables without end", "values, more than 131072"),
        (
            "plan: constants for each size",
            "that the host keeps for one request",
        ),
        ("forward: constants for ever", "constants, angles"),
        ("forward: angles for ever", "constants, angles"),
        ("forward: dimensions for ever", "1048576 dimensions"),
        ("forward: handles for ever", "handle limit exceeded"),
        ("forward: more than this machine has", "the request needs"),
        ("forward: a shape that overflows", "more than the"),
        ("output: a flood of text", "grows too large"),
    ];
    // Odd, and served: these harm nobody.
    let passed = ["encode: attention of nothing", "forward: what is not a number"];
    let each = (0..200).map(|index| format!("{{% set v{index} = 'a' * n ~ {index} %}}"));
    let kept = format!("{{% set n = 9000000 %}}{}", each.collect::<String>());
    let templates = [
        (
            "{% set ns = namespace(x='aa') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
            "values of more than",
        ),
        (
            "{{ range(9999)|list|tojson(separators=('x' * 1000000, ':')) }}",
            "values of more than",
        ),
        (
            "{{ range(9999)|list|tojson(indent='x' * 5000000) }}",
            "values of more than",
        ),
        ("{{ [1]|slice(2000000000)|list|length }}", "values of more than"),
        (
            "{{ [1]|batch(2000000000, 0)|list|length }}",
            "values of more than",
        ),
        (
            "{{ ('a' * 3000000)|__replace('a', 'b' * 3000000) }}",
            "unknown filter",
        ),
        ("{{ ['a', 'b']|__join('b' * 3000000) }}", "unknown filter"),
        ("{{ '%2000000000d'|__format(1) }}", "unknown filter"),
        ("{{ ('\\n' * 3000000)|__indent(3000000) }}", "unknown filter"),
        (
            "{% set a = 'a' * 6000000 %}{% set b = 'a' * 6000000 %}{% for i in range(99999) %}{% if a == b %}{% endif %}{% endfor %}",
            "did not end within",
        ),
        (kept.as_str(), "values of more than"),
        (
            "{% set b = 'a' * 4000000 %}{% set x %}{% for i in range(999) %}{{ b }}{% endfor %}{% endset %}",
            "values of more than",
        ),
    ];
    let deeds = deeds.iter().enumerate();
    let deeds = deeds.map(|(at, (told, words))| (told, deed(&scratch, 10 + at, told), words));
    let templates = templates.iter().enumerate();
    let templates = templates.map(|(at, (text, words))| (text, template(&scratch, 100 + at, text), words));
    let doubling = format!(
        "plugin = \"smolvlm\"\n[weights]\nrename = [{}]",
        vec!["[\"^(.*)$\", \"$1$1\"]"; 40].join(",")
    );
    let doubling = (
        &"rename",
        manifest(&scratch, "rename", &doubling),
        &"may have 1024 bytes",
    );
    let patterns = format!(
        "plugin = \"smolvlm\"\n[weights]\nignore = [{}]",
        vec![r#""\\w{40}x""#; 3000].join(",")
    );
    let patterns = (
        &"ignore",
        manifest(&scratch, "ignore", &patterns),
        &"a list of at most 64",
    );
    for (at, told) in passed.iter().enumerate() {
        let ran = watched(&deed(&scratch, 200 + at, told), &picture);
        assert_eq!(ran.code, Some(0), "{told}: {}", ran.error);
        ran.took_little(told, usual.resident);
    }
    let mut wrong = Vec::new();
    for (told, model, words) in deeds.chain(templates).chain([doubling, patterns]) {
        let ran = watched(&model, &picture);
        println!("{:4} MiB  {told}", ran.resident >> 20);
        if ran.code != Some(1) || !ran.error.contains(words) || ran.error.len() > 4096 {
            wrong.push(format!("{told}: {:?}, {}", ran.code, ran.error));
        }
        if ran.resident > usual.resident + MORE {
            wrong.push(format!(
                "{told}: {} MiB, usual are {}",
                ran.resident >> 20,
                usual.resident >> 20
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Tokenizers that make much of a text, or take long for it, and pictures that say they are large.
#[test]
fn tokenizers_and_pictures_take_little_more_than_harmless_ones() {
    let model = Scratch::checkpoint("smolvlm");
    let picture = project::oracle("smolvlm").join("image.png");
    drop(watched(model.path(), &picture));
    let usual = watched(model.path(), &picture);
    assert_eq!(usual.code, Some(0), "{}", usual.error);
    let mut wrong = Vec::new();
    let mut told = |name: &str, ran: Ran, words: &str| {
        println!(
            "{:4} MiB  {name}: {:?} {}",
            ran.resident >> 20,
            ran.code,
            ran.error
        );
        let as_said = match words {
            // Refused, or decoded as far as it goes.
            "" => matches!(ran.code, Some(0 | 1)),
            words => ran.code == Some(1) && ran.error.contains(words),
        };
        if !as_said || ran.error.len() > 4096 || ran.resident > usual.resident + MORE {
            wrong.push(format!(
                "{name}: {:?}, {} MiB, {}",
                ran.code,
                ran.resident >> 20,
                ran.error
            ));
        }
    };
    let sound: Value =
        serde_json::from_slice(&std::fs::read(model.file("tokenizer.json")).expect("it is there"))
            .expect("it is JSON");
    let replace =
        |from: &str, to: &str| json!({"type": "Replace", "pattern": {"String": from}, "content": to});
    let normalizers = |steps: Vec<Value>| json!({"type": "Sequence", "normalizers": steps});
    let split = |expression: &str| json!({"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": false});
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let long = "longer for it than it may";
    let cases = [
        (
            "doubled",
            "normalizer",
            normalizers(vec![replace("x", "xx"); 34]),
            "as long",
        ),
        (
            "filled",
            "normalizer",
            normalizers(vec![replace("", "12345678901234567890"); 12]),
            "as long",
        ),
        (
            "prepended",
            "normalizer",
            normalizers(vec![
                json!({"type": "Prepend", "prepend": "p".repeat(1 << 18)});
                40
            ]),
            "as long",
        ),
        (
            "repeated",
            "post_processor",
            json!({"type": "TemplateProcessing", "single": vec![text; 1000], "pair": [], "special_tokens": {}}),
            "repeats a text",
        ),
        (
            "decoded",
            "decoder",
            json!({"type": "Sequence", "decoders": vec![replace("x", "xx"); 30]}),
            "as long",
        ),
        ("cut slowly", "pre_tokenizer", split("(x+x+)+y"), long),
        (
            "seen far ahead",
            "pre_tokenizer",
            split("(?:[a-z]*1|[a-z])*2"),
            "the model's context holds",
        ),
        (
            "replaced slowly",
            "normalizer",
            json!({"type": "Replace", "pattern": {"Regex": "(x+x+)+y"}, "content": "a"}),
            long,
        ),
        (
            "called",
            "pre_tokenizer",
            split("(?<a>x\\g<a>)"),
            "regular expression",
        ),
    ];
    // A hundred kilobytes; then as much as text for a model may have whose context holds 8,192 tokens, 32 bytes for each.
    for (words_of_text, whole) in [(5_000, true), (12_400, false)] {
        model.write(
            "chat_template.jinja",
            format!("<image>{{{{ 'xxxxxxxxxxxxxxxxxxxx ' * {words_of_text} }}}}"),
        );
        for (name, part, value, words) in &cases {
            let mut file = sound.clone();
            file[*part] = value.clone();
            model.write("tokenizer.json", file.to_string());
            // The longer one may be refused for its length.
            told(
                name,
                watched(model.path(), &picture),
                if whole { words } else { "" },
            );
        }
    }
    // Each letter a word or a token of its own, and nothing wrong with that but that they are too many. What consists of a letter that is a token
    // has no place to cut.
    let many = "the model's context holds";
    let letters = [
        ("as it is", many, sound.clone()),
        ("letters found", many, {
            let mut file = sound.clone();
            file["pre_tokenizer"] = split(".");
            file
        }),
        ("letters added", "too long for the tokenizer", {
            let mut file = sound.clone();
            let tokens = file["added_tokens"].as_array_mut().expect("a list");
            let mut token = tokens[0].clone();
            token["content"] = "x".into();
            token["id"] = sound["model"]["vocab"]["x"].clone();
            assert!(token["id"].is_u64(), "{token}");
            tokens.push(token);
            file
        }),
    ];
    for (name, words, file) in letters {
        model.write("tokenizer.json", file.to_string());
        told(name, watched(model.path(), &picture), words);
    }
    // More is nothing for the tokenizer.
    model.write("chat_template.jinja", "<image>{{ 'xxx ' * 1000000 }}");
    told(
        "longer than its context",
        watched(model.path(), &picture),
        "text for this model may have",
    );

    let model = Scratch::checkpoint("smolvlm");
    let header = |width: u32, height: u32| {
        [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat()
    };
    let png = |parts: Vec<(&[u8; 4], Vec<u8>)>| {
        let chunk = |(kind, data): (&[u8; 4], Vec<u8>)| {
            let body = [&kind[..], &data].concat();
            [
                &(data.len() as u32).to_be_bytes()[..],
                &body,
                &crc(&body).to_be_bytes(),
            ]
            .concat()
        };
        let chunks: Vec<u8> = parts.into_iter().flat_map(chunk).collect();
        [&b"\x89PNG\r\n\x1a\n"[..], &chunks].concat()
    };
    let gif = |side: u16| {
        let [low, high] = side.to_le_bytes();
        let frame = [0x2c, 0, 0, 0, 0, low, high, low, high, 0, 2, 2, 0x4c, 1, 0, 0x3b];
        [
            &b"GIF89a"[..],
            &[low, high, low, high, 0x80, 0, 0, 0, 0, 0, 255, 255, 255],
            &frame,
        ]
        .concat()
    };
    let profile = [&b"name\0\0"[..], &repeated_zeros(1 << 30)].concat();
    for (name, bytes) in [
        (
            "png of a gigapixel",
            png(vec![
                (b"IHDR", header(32_000, 32_000)),
                (b"IDAT", repeated_zeros(1 << 28)),
                (b"IEND", vec![]),
            ]),
        ),
        (
            "png of a row",
            png(vec![
                (b"IHDR", header(1 << 30, 1)),
                (b"IDAT", repeated_zeros(1 << 28)),
                (b"IEND", vec![]),
            ]),
        ),
        (
            "png with a profile",
            png(vec![
                (b"IHDR", header(8, 8)),
                (b"iCCP", profile),
                (b"IDAT", repeated_zeros(200)),
                (b"IEND", vec![]),
            ]),
        ),
        ("gif", gif(65_535)),
        ("gif within the limit", gif(5_000)),
    ] {
        let picture = model.write("attack", bytes);
        told(name, watched(model.path(), &picture), "");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The checksum of PNG's chunks (PNG specification, annex D).
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| match sum & 1 {
            1 => sum >> 1 ^ 0xedb8_8320,
            _ => sum >> 1,
        })
    })
}

/// So many zeros or a few more, compressed (RFC 1950, 1951): one of them, and copies of 258 by the fixed codes. Its checksum is none.
fn repeated_zeros(count: usize) -> Vec<u8> {
    let mut bits: Vec<bool> = Vec::new();
    // The last block, with fixed codes (01, the low bit first); then the codes, the high bit first.
    bits.extend([true, true, false]);
    let mut code = |value: u32, length: u32| bits.extend((0..length).rev().map(|at| value >> at & 1 == 1));
    code(0x30, 8);
    for _ in 0..count / 258 {
        // Length 258 is symbol 285, distance 1 is symbol 0.
        code(0b1100_0101, 8);
        code(0, 5);
    }
    code(0, 7);
    let byte = |bits: &[bool]| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
    [
        &[0x78, 0x01][..],
        &bits.chunks(8).map(byte).collect::<Vec<u8>>(),
        &[0; 4],
    ]
    .concat()
}

/// Memories, tables and instances are summed, whether they come with the component or before its first call.
#[test]
fn components_of_many_parts_take_no_more_than_one() {
    let scratch = Scratch::new("parts");
    let harmless = deed(&scratch, 0, "");
    let picture = project::oracle("smolvlm").join("image.png");
    drop(watched(&harmless, &picture));
    let usual = watched(&harmless, &picture).resident;
    let touched = "(data (i32.const 0) \"x\") (func $go (memory.fill (i32.const 0) (i32.const 7) (i32.const 0x1000000))) (start $go)";
    let cases = [
        // Each has 16 MiB and touches them before anything is called.
        (
            "memories",
            format!("(core module $m (memory 256) {touched})"),
            8,
            "MiB of memory",
        ),
        (
            "tables",
            "(core module $m (table 150000 funcref))".to_owned(),
            8,
            "cannot be started",
        ),
        (
            "instances",
            "(core module $m)".to_owned(),
            900,
            "cannot be started",
        ),
        (
            "loop",
            "(core module $m (func $go (loop (br 0))) (start $go))".to_owned(),
            1,
            "still running after 5000 ms",
        ),
    ];
    for (name, module, count, words) in cases {
        let component = [component(), with_instances(&module, count)].concat();
        let component = stamped(&component, name);
        scratch.write(&format!("{name}.wasm"), component);
        let more = format!(
            "plugin = \"smolvlm\"\nadapter = {name:?}\n[limits]\nmemory_mib = 32\ncall_timeout_ms = 5000"
        );
        let model = manifest(&scratch, name, &more);
        let ran = watched_with(&model, &picture, scratch.path());
        ran.refused(name, &[words], usual);
    }
}

/// Sections of a component (component model, Binary.md): a second core module, and so many instances of it.
fn with_instances(module: &str, count: usize) -> Vec<u8> {
    let component = wat::parse_str(format!("(component {module})")).expect("the text is well-formed");
    let number = |mut rest: usize| {
        let mut bytes = Vec::new();
        loop {
            let low = (rest & 0x7f) as u8;
            rest >>= 7;
            if rest == 0 {
                bytes.push(low);
                return bytes;
            }
            bytes.push(low | 0x80);
        }
    };
    // Each: made of a module, of the second, with no arguments.
    let instances = [number(count), [0, 1, 0].repeat(count)].concat();
    [&component[8..], &[2], &number(instances.len()), &instances].concat()
}

/// Files of a folder that are short, and long once they are read.
#[test]
fn folders_of_very_many_values_are_refused() {
    let model = Scratch::checkpoint("smolvlm");
    let picture = project::oracle("smolvlm").join("image.png");
    drop(watched(model.path(), &picture));
    let usual = watched(model.path(), &picture);
    assert_eq!(usual.code, Some(0), "{}", usual.error);
    let usual = usual.resident;
    // Sixteen million values, which would take more than a gibibyte.
    let zeros = format!("{{\"x\": [{}0]}}", "0,".repeat(16 << 20));
    // As many of the smallest values, and of the smallest objects, as may be (`host/files/src/json.rs` counts 74 bytes for one and 479 for the
    // other). Some files are parsed more than once.
    let numbers = |bytes: usize| format!("{{\"x\": [{}0]}}", "0,".repeat(bytes / 74 - 16));
    let objects = |bytes: usize| format!("{{\"x\": [{}0]}}", "{\"\":0},".repeat(bytes / 479 - 16));
    for (name, most) in [
        ("config.json", 16 << 20),
        ("generation_config.json", 16 << 20),
        ("preprocessor_config.json", 8 << 20),
        ("processor_config.json", 8 << 20),
        ("tokenizer_config.json", 24 << 20),
        ("special_tokens_map.json", 24 << 20),
        ("added_tokens.json", 24 << 20),
        // Honest ones take more than this test's measure: see docs/threat-model.md.
        ("model.safetensors.index.json", 0),
        ("tokenizer.json", 0),
    ] {
        let file = model.file(name);
        let sound = std::fs::read(&file).ok();
        model.write(name, &zeros);
        let ran = watched(model.path(), &picture);
        ran.refused(name, &[name, "values"], usual);
        for made in [&numbers as &dyn Fn(usize) -> String, &objects] {
            if most == 0 {
                continue;
            }
            model.write(name, made(most));
            let ran = watched(model.path(), &picture);
            assert!(!ran.error.contains("values"), "{name}: {}", ran.error);
            ran.took_little(name, usual);
        }
        if most > 0 {
            // Twice as many are too many.
            model.write(name, numbers(2 * most));
            watched(model.path(), &picture).refused(name, &[name, "values"], usual);
        }
        match sound {
            Some(bytes) => drop(model.write(name, bytes)),
            None => model.remove(name),
        }
    }
}

/// A device without an end and a pipe without a writer under the name of each file that is read.
#[test]
fn what_never_ends_is_not_read() {
    let model = Scratch::checkpoint("smolvlm");
    let scratch = Scratch::new("never-ends");
    let picture = project::oracle("smolvlm").join("image.png");
    drop(watched(model.path(), &picture));
    let usual = watched(model.path(), &picture);
    assert_eq!(usual.code, Some(0), "{}", usual.error);
    let usual = usual.resident;
    let make = |kind: &str, path: &Path| match kind {
        "device" => std::os::unix::fs::symlink("/dev/zero", path).expect("a link"),
        _ => {
            let made = Command::new("mkfifo").arg(path).status();
            assert!(made.expect("mkfifo starts").success());
        }
    };
    for name in [
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "chat_template.jinja",
        "model.safetensors.index.json",
    ] {
        let file = model.file(name);
        let sound = std::fs::read(&file).ok();
        for kind in ["device", "pipe"] {
            let _ = std::fs::remove_file(&file);
            make(kind, &file);
            watched(model.path(), &picture).refused(name, &[name, kind], usual);
        }
        model.remove(name);
        if let Some(bytes) = sound {
            model.write(name, bytes);
        }
    }

    // A folder of plugins, where others go on to work, and what is to be made a plugin.
    let smolvlm = project::plugins().join("smolvlm.wasm");
    scratch.write("smolvlm.wasm", std::fs::read(smolvlm).expect("it was built"));
    make("device", &scratch.file("zero.wasm"));
    make("pipe", &scratch.file("pipe.wasm"));
    let ran = watched_with(model.path(), &picture, scratch.path());
    assert_eq!(ran.code, Some(0), "{}", ran.error);
    ran.took_little("beside plugins", usual);
    let listed = monocle(&["plugins"], scratch.path());
    assert_eq!(listed.code, Some(0), "{}", listed.error);
    for (name, words) in [
        ("smolvlm", "0.1.0"),
        ("zero", "it is a device"),
        ("pipe", "it is a pipe"),
    ] {
        assert!(row(&listed, name).contains(words), "{}", listed.output);
    }
    listed.took_little("plugins", usual);
    for name in ["zero.wasm", "pipe.wasm"] {
        let file = scratch.file(name).display().to_string();
        let made = scratch.file("made").display().to_string();
        let ran = monocle(&["plugins", "wrap", &file, "-o", &made], scratch.path());
        ran.refused("plugins wrap", &[name, "expected a regular file"], usual);
    }
}

/// `monocle ARGUMENTS…` with the plugins of a folder, watched.
fn monocle(arguments: &[&str], plugins: &Path) -> Ran {
    watch(environment(Command::new(path()).args(arguments)).env("MONOCLE_PLUGINS", plugins))
}

/// The line of a table that begins with this name.
fn row<'a>(table: &'a Ran, name: &str) -> &'a str {
    let is_its = |line: &&str| line.split_whitespace().next() == Some(name);
    table.output.lines().find(is_its).unwrap_or_default()
}

/// A stamp that says more than any may is a row of the table, and no other plugin's row is lost.
#[test]
fn odd_stamps_are_rows_of_the_table() {
    let scratch = Scratch::new("odd-stamps");
    let smolvlm = project::plugins().join("smolvlm.wasm");
    scratch.write("smolvlm.wasm", std::fs::read(smolvlm).expect("it was built"));
    let usual = monocle(&["plugins"], scratch.path()).resident;
    for (file, name) in [
        ("long", "x".repeat(70_000)),
        ("path", "../x".to_owned()),
        ("screen", "\u{1b}[2J".to_owned()),
    ] {
        let stamp = json!({"name": name, "version": "1.0.0", "contract": "0.2.0", "kind": "adapter", "model-types": []});
        let section = custom("monocle:plugin", stamp.to_string().as_bytes());
        scratch.write(&format!("{file}.wasm"), [component(), section].concat());
    }
    let listed = monocle(&["plugins"], scratch.path());
    assert_eq!(listed.code, Some(0), "{}", listed.error);
    assert!(row(&listed, "smolvlm").contains("0.1.0"), "{}", listed.output);
    for name in ["long", "path", "screen"] {
        let row = row(&listed, name);
        assert!(
            row.contains("not usable") && row.contains("malformed"),
            "{}",
            listed.output
        );
    }
    assert!(
        listed.output.len() < 4096 && !listed.output.contains('\u{1b}'),
        "{:?}",
        listed.output
    );
    listed.took_little("plugins", usual);
}

/// What strangers wrote comes to a terminal without what would clear it or name its window, whether it is an error, a note or a table.
#[test]
fn a_terminal_gets_no_controls_of_others() {
    let model = Scratch::checkpoint("smolvlm");
    let controls = "\u{1b}[2J\u{1b}]0;x\u{7}";
    model.edit("config.json", |text| {
        text.replacen("\"smolvlm\"", &json!(format!("odd{controls}")).to_string(), 1)
    });
    let plugins = Scratch::new("controls");
    let stamp = json!({"name": format!("odd{controls}"), "version": "1.0.0", "contract": "0.2.0", "kind": "adapter", "model-types": []});
    let section = custom("monocle:plugin", stamp.to_string().as_bytes());
    plugins.write("odd.wasm", [component(), section].concat());
    plugins.write(
        "smolvlm.wasm",
        std::fs::read(project::plugins().join("smolvlm.wasm")).expect("it was built"),
    );
    // Files that name a token in two ways are noted, and the model runs.
    let noted = Scratch::checkpoint("smolvlm");
    noted.edit("tokenizer_config.json", |text| {
        text.replacen('{', "{\"odd_token\": \"plain\", ", 1)
    });
    let tokens = json!({"odd_token": format!("odd{controls}")});
    noted.write("special_tokens_map.json", tokens.to_string());
    let [refused, noted] = [&model, &noted].map(|model| model.path().display().to_string());
    let run = |folder| ["run", folder, "-p", "hi", "--max-tokens", "1"];
    for arguments in [&run(&refused)[..], &run(&noted), &["plugins"]] {
        let command = Monocle::new(arguments).env("MONOCLE_PLUGINS", plugins.path());
        let Some(mut terminal) = command.on_terminal() else {
            println!("`script` is not installed: nothing is looked at");
            return;
        };
        let shown = terminal.waits_for("odd\u{fffd}[2J\u{fffd}]0;x\u{fffd}");
        assert!(
            !shown.contains("\u{1b}[2J") && !shown.contains("\u{1b}]0;"),
            "{shown:?}"
        );
    }
}

/// Answers that do not end, or have very many entries.
#[test]
fn servers_that_say_very_much_are_refused() {
    let picture = project::oracle("smolvlm").join("image.png");
    let model = project::oracle("smolvlm");
    drop(watched(&model, &picture));
    let usual = watched(&model, &picture).resident;
    // As small as an entry can be, and as a file's can be.
    let entry = r#"{"type":"","path":"a"}"#;
    let file = |at| format!(r#"{{"type":"file","path":"{at}.json"}}"#);
    let files: Vec<String> = (0..400_000).map(file).collect();
    let about = || Said::whole(r#"{"sha":"0123456789abcdef0123456789abcdef01234567"}"#.to_owned());
    for (name, answers, words) in [
        (
            "about without end",
            vec![Said::on_and_on(r#"{"x":""#, "a".repeat(1 << 16))],
            "longer than 16 MiB",
        ),
        (
            "list without end",
            vec![about(), Said::on_and_on("[", format!("{entry},").repeat(1 << 12))],
            "longer than 16 MiB",
        ),
        // All that may be said.
        (
            "entries",
            vec![
                about(),
                Said::whole(format!("[{}{entry}]", format!("{entry},").repeat(700_000))),
            ],
            "it has: nothing",
        ),
        (
            "files",
            vec![about(), Said::whole(format!("[{}]", files.join(",")))],
            "more than 20000 files",
        ),
    ] {
        let home = Scratch::new("hub");
        let ran = watch(
            environment(Command::new(path()).args(["run", "org/model", "-p", "hi"]))
                .env("HF_HUB_OFFLINE", "0")
                .env("HF_HOME", home.path())
                .env("HF_ENDPOINT", serve(answers)),
        );
        ran.refused(name, &[words], usual);
    }
}

/// A server's answer: how it begins, and what follows so many times.
struct Said {
    start: &'static str,
    rest: String,
    times: usize,
}

impl Said {
    fn whole(text: String) -> Self {
        Self {
            start: "",
            rest: text,
            times: 1,
        }
    }

    /// No test waits for its end.
    fn on_and_on(start: &'static str, rest: String) -> Self {
        Self {
            start,
            rest,
            times: 1 << 16,
        }
    }
}

/// A server on this machine that gives each connection the next answer, and then ends; its address.
fn serve(answers: Vec<Said>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = listener.local_addr().expect("the port is known");
    std::thread::spawn(move || {
        for (said, stream) in answers.iter().zip(listener.incoming().flatten()) {
            let _ = say(stream, said);
        }
    });
    format!("http://{address}")
}

fn say(mut stream: TcpStream, said: &Said) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.set_write_timeout(Some(Duration::from_secs(5)))?;
    let lines = BufReader::new(stream.try_clone()?).lines();
    lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .for_each(drop);
    let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", said.start);
    stream.write_all(head.as_bytes())?;
    // It ends where nobody reads any more.
    (0..said.times).try_for_each(|_| stream.write_all(said.rest.as_bytes()))?;
    stream.flush()
}

#[test]
fn programs_for_days_end_with_their_request() {
    let scratch = Scratch::new("days");
    let model = deed(&scratch, 0, "encode: products for days");
    let run = |seconds: &str| {
        Monocle::new(["run"])
            .args([&model, &project::oracle("smolvlm").join("image.png")])
            .args(["-p", "hi", "--timeout", seconds])
            .env("MONOCLE_PLUGINS", project::target().join("test-plugins"))
    };
    let started = Instant::now();
    run("2").fails(1, &["may take 2.0 s", "`--timeout`"]);
    // Recording its 20,000 operations twice is most of it.
    assert!(
        started.elapsed() < Duration::from_secs(60),
        "{:?}",
        started.elapsed()
    );
}

/// Work of the host that a plugin asks for grows with what it asks for, and no faster.
#[test]
fn very_many_tables_take_no_longer_than_a_call_may() {
    let scratch = Scratch::new("tables");
    let picture = project::oracle("smolvlm").join("image.png");
    let harmless = deed(&scratch, 1, "");
    drop(watched(&harmless, &picture));
    let usual = watched(&harmless, &picture).resident;
    let model = deed(&scratch, 0, "forward: angles of its own each");
    let started = Instant::now();
    let ran = watched(&model, &picture);
    // It is served, or its time is over; either is soon.
    assert!(
        ran.code == Some(0) || ran.error.contains("still running") || ran.error.contains("more than"),
        "{}",
        ran.error
    );
    assert!(
        started.elapsed() < Duration::from_secs(60),
        "{:?}",
        started.elapsed()
    );
    ran.took_little("tables", usual);
}

/// Whether this system's kernel has what the wall is made of; where it has not, that is said.
fn can_isolate() -> bool {
    let folder = project::oracle("smolvlm");
    let tried = Monocle::new(["run"])
        .args([&folder])
        .args(["-p", "hi", "--max-tokens", "1", "--plain", "--isolate"])
        .run();
    let lacks = tried.stderr.contains("this system cannot isolate the process");
    if lacks {
        println!("not tried: {}", tried.stderr);
    }
    !lacks
}

/// A link out of the model's folder is followed by this program, which the user started; behind the wall it leads nowhere.
#[test]
fn an_isolated_process_reads_the_model_and_nothing_else() {
    if !can_isolate() {
        return;
    }
    let model = Scratch::checkpoint("smolvlm");
    let elsewhere = Scratch::new("elsewhere");
    let picture = project::oracle("smolvlm").join("image.png");
    let run = |more: &[&str]| {
        Monocle::new(["run"])
            .args([model.path(), picture.as_path()])
            .args(["-p", "hi", "--max-tokens", "4", "--plain"])
            .args(more)
    };
    let open = run(&[]).succeeds().stdout;
    assert_eq!(run(&["--isolate"]).succeeds().stdout, open);
    let inside = model.file("tokenizer.json");
    let outside = elsewhere.write("tokenizer.json", std::fs::read(&inside).expect("it is there"));
    std::fs::remove_file(&inside).expect("it is ours");
    std::os::unix::fs::symlink(&outside, &inside).expect("a link");
    assert_eq!(run(&[]).succeeds().stdout, open);
    run(&["--isolate"]).fails(1, &["tokenizer.json", "Permission denied"]);
}

#[test]
fn the_end_of_an_isolated_process_is_an_error() {
    if !can_isolate() {
        return;
    }
    let mut command = Command::new(path());
    command.arg("run").arg(project::oracle("smolvlm"));
    // The child waits for a question that does not come.
    command.args(["--isolate", "-p", "-"]);
    let child = environment(&mut command)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let started = Instant::now();
    let inner = loop {
        let listed = std::fs::read_to_string(&children).unwrap_or_default();
        if let Some(inner) = listed.split_whitespace().next() {
            break inner.to_owned();
        }
        assert!(started.elapsed() < PATIENCE, "it started no process");
        std::thread::sleep(Duration::from_millis(2));
    };
    let killed = Command::new("kill").args(["-ABRT", &inner]).status();
    assert!(killed.is_ok_and(|status| status.success()));
    let outcome = child.wait_with_output().expect("it can be waited for");
    let error = String::from_utf8_lossy(&outcome.stderr);
    assert_eq!(outcome.status.code(), Some(1), "{error}");
    assert!(error.contains("ended by signal 6"), "{error}");
}

/// Rules that each are cheap enough, for names that each are short enough: together they would take minutes.
#[test]
fn rules_for_names_end_while_the_model_is_opened() {
    let model = Scratch::checkpoint("smolvlm");
    let header: serde_json::Map<String, serde_json::Value> = (0..40_000)
        .map(|at| {
            let name = format!("{at:05}{}", "a".repeat(495));
            let tensor = serde_json::json!({"dtype": "F32", "shape": [0], "data_offsets": [0, 0]});
            (name, tensor)
        })
        .collect();
    let header = serde_json::Value::Object(header).to_string();
    // Eight bytes of its length, little endian, and the header (github.com/huggingface/safetensors).
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    model.write("model.safetensors", file);
    let scratch = Scratch::new("slow-rules");
    let rules = vec!["[a-z]{0,1500}[A-Z]"; 64];
    let text = format!(
        "schema = 1\nname = \"hostile\"\nplugin = \"smolvlm\"\nsource = {{ path = {:?} }}\n[weights]\nignore = {rules:?}\n",
        model.path()
    );
    let manifest = scratch.write("slow.toml", text);
    let started = Instant::now();
    Monocle::new(["run"])
        .args([&manifest])
        .args(["-p", "hi", "--timeout", "3"])
        .fails(1, &["took longer than 10 s", "`[a-z]{0,1500}[A-Z]`"]);
    assert!(
        started.elapsed() < Duration::from_secs(100),
        "{:?}",
        started.elapsed()
    );
}

/// A pipe without a writer, and a device without an end, under the name of a picture.
#[test]
fn what_is_no_file_is_no_picture() {
    let scratch = Scratch::new("no-pictures");
    let pipe = scratch.file("pipe.png");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo starts").success());
    let zero = scratch.file("zero.png");
    std::os::unix::fs::symlink("/dev/zero", &zero).expect("a link");
    for (picture, found) in [
        (pipe, "it is a pipe; expected a regular file"),
        (zero, "it is a device; expected a regular file"),
    ] {
        let ran = watched(&project::oracle("smolvlm"), &picture);
        assert_eq!(ran.code, Some(1), "{}", ran.error);
        assert!(ran.error.contains(found), "{}", ran.error);
        let name = picture.display().to_string();
        Monocle::new(["check", "--image", &name, "--models", "nothing", "--out"])
            .args([scratch.file("report")])
            .fails(1, &[found]);
    }
}

/// Code in bytes as WebAssembly's files have numbers and sections (LEB128).
fn section(id: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![id];
    bytes.extend(number(content.len()));
    bytes.extend(content);
    bytes
}

/// A section of this name that only says something.
fn custom(name: &str, content: &[u8]) -> Vec<u8> {
    section(0, &[&number(name.len())[..], name.as_bytes(), content].concat())
}

fn number(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A module of functions with so many bytes of sums each.
fn plain_code(functions: usize, size: usize) -> Vec<u8> {
    // No locals besides the two parameters.
    let mut body = vec![0];
    let mut at = 0_u8;
    while body.len() < size {
        // Get the first, a constant, add, get the second, exclusive or, set the first.
        body.extend([0x20, 0, 0x41, at & 63, 0x6a, 0x20, 1, 0x73, 0x21, 0]);
        at = at.wrapping_add(7);
    }
    body.extend([0x20, 0, 0x0b]);
    let mut code = number(functions);
    for _ in 0..functions {
        code.extend(number(body.len()));
        code.extend(&body);
    }
    let mut types = number(functions);
    types.resize(types.len() + functions, 0);
    [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, &[1, 0x60, 2, 0x7f, 0x7f, 1, 0x7f]),
        section(3, &types),
        section(10, &code),
    ]
    .concat()
}

/// A compiler takes many times the memory of what it compiles: it is another process's, which ends with it.
#[test]
fn a_plugin_is_compiled_in_another_process() {
    let scratch = Scratch::new("compiled-apart");
    let plugins = Scratch::new("compiled-apart-plugins");
    // The lifted adapter's component with a module that nobody instantiates: it is compiled all the same.
    let large = [component(), section(1, &plain_code(12, 500_000))].concat();
    plugins.write("large.wasm", stamped(&large, "large"));
    let smolvlm = project::plugins().join("smolvlm.wasm");
    plugins.write("smolvlm.wasm", std::fs::read(smolvlm).expect("it was built"));
    let model = manifest(&scratch, "large", "plugin = \"smolvlm\"\nadapter = \"large\"");
    let picture = project::oracle("smolvlm").join("image.png");
    let usual = watched(&project::oracle("smolvlm"), &picture);
    assert_eq!(usual.code, Some(0), "{}", usual.error);
    let cache = Scratch::new("compiled-apart-cache");
    let compiling = watched_in(&model, &picture, plugins.path(), cache.path());
    // The adapter says what pleases nobody; it was compiled first.
    assert!(
        compiling.error.contains("compiling the plugin `large`"),
        "{}",
        compiling.error
    );
    compiling.took_little("compiled", usual.resident);
    let warm = watched_in(&model, &picture, plugins.path(), cache.path());
    assert!(!warm.error.contains("compiling"), "{}", warm.error);
    warm.took_little("kept", usual.resident);
}
