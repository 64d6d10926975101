//! Servers of GGUF files: Monocle's own, and llama.cpp's beside it, on the same files, in one report. `MONOCLE_LLAMA_SERVER` names the other
//! program; without it, it is not asked. (`cargo xtask verify servers` builds it.)

use std::net::TcpListener;
use std::path::Path;

use monocle_tests::gguf::idefics3::convert;
use monocle_tests::program::Monocle;
use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use monocle_tests::server::{Server, base64};
use serde_json::{Value, json};

#[test]
fn another_programs_server_stands_in_the_same_table() {
    let Some(program) = std::env::var_os("MONOCLE_LLAMA_SERVER") else {
        eprintln!(
            "skipped: `cargo xtask verify servers` builds llama.cpp's server and sets MONOCLE_LLAMA_SERVER"
        );
        return;
    };
    let scratch = Scratch::new("gguf-server");
    let (model, _) = convert(&project::oracle("smolvlm"), scratch.path(), |_, _| None);
    let projector = scratch.file("mmproj-Tiny-f32.gguf");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it has an address").port();
    drop(listener);
    let text = format!(
        "schema = 1\nname = \"llama-server\"\n[server]\nurl = \"http://127.0.0.1:{port}/v1\"\nhealth = \"/health\"\noptions = {{ temperature = 0 }}\n\
         command = [{program:?}, \"-m\", {model:?}, \"--mmproj\", {projector:?}, \"--host\", \"127.0.0.1\", \"--port\", \"{port}\", \
         \"--threads\", \"2\", \"--ctx-size\", \"2048\", \"--parallel\", \"1\"]\n",
    );
    let other = scratch.write("llama-server.toml", text);
    let picture = project::root().join("models/shapes/pictures/shapes.png");
    let out = scratch.file("report");
    let models = format!("{},{}", other.display(), model.display());
    let run = Monocle::new([
        "check",
        "--models",
        &models,
        "-p",
        "What is this?",
        "--max-tokens",
        "16",
    ])
    .args([Path::new("--image"), &picture, Path::new("--out"), &out])
    .run();
    let text = std::fs::read_to_string(out.join("results.jsonl")).expect("there are results");
    let rows: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a row is JSON"))
        .collect();
    assert_eq!((run.code, rows.len()), (0, 2), "{run:?}\n{text}");
    for row in &rows {
        let figures = &row["figures"];
        let number = |name: &str| figures[name].as_f64().unwrap_or_else(|| panic!("{name}: {row}"));
        assert!((1.0..=16.0).contains(&number("answer_tokens")), "{row}");
        assert!(number("prompt_tokens") > 10.0, "{row}");
        assert!(
            number("load_s") > 0.0 && number("total_s") >= number("first_token_s"),
            "{row}"
        );
        assert!(number("process_peak_bytes") > 1e6, "{row}");
    }
    println!("{text}");
}

/// Files are served as `run` takes them, by their path.
#[test]
fn gguf_files_are_served() {
    let scratch = Scratch::new("gguf-serve");
    let (model, _) = convert(&project::oracle("smolvlm"), scratch.path(), |_, _| None);
    let path = model.display().to_string();
    let picture = project::oracle("smolvlm").join("image.png");
    let run = Monocle::new([
        "run",
        "--plain",
        &path,
        "-p",
        "What is this?",
        "--max-tokens",
        "6",
    ])
    .args([&picture]);
    let expected = run.succeeds().stdout;
    let server = Server::start(&["--preload", &path, &path]);
    let named = server.get("/api/ps").json()["models"][0]["name"].clone();
    let bytes = base64(&std::fs::read(&picture).expect("it is there"));
    let body = json!({
        "model": named, "stream": false, "prompt": "What is this?", "images": [bytes], "options": {"num_predict": 6},
    });
    let answer = server.post("/api/generate", &body).json();
    assert_eq!(
        answer["response"].as_str().map(str::trim),
        Some(expected.trim()),
        "{answer}"
    );
    let tags = server.get("/api/tags").json();
    let mut entries = tags["models"].as_array().expect("a list").iter();
    let own = entries
        .find(|entry| entry["name"] == named)
        .expect("it is listed");
    assert_eq!(own["details"]["format"], "gguf");
    // All its tensors are binary32, and no `general.file_type` says something else.
    assert_eq!(own["details"]["quantization_level"], "F32");
    let size: u64 = [model, scratch.file("mmproj-Tiny-f32.gguf")]
        .iter()
        .map(|file| std::fs::metadata(file).expect("it is there").len())
        .sum();
    assert_eq!(own["size"], size);
}
