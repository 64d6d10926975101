//! Client libraries and a browser, as their users run them: `tests/clients/sdks.py` and `tests/clients/page.mjs`; and a program that asks for
//! everything that the description of the interfaces lets it.

use std::process::Command;

use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use monocle_tests::server::Server;
use serde_json::json;

use super::alone;

/// Libraries that every test run tries, and those that `cargo xtask verify clients` tries besides.
const SDKS: [&str; 3] = ["openai", "anthropic", "ollama"];
const OTHERS: [&str; 3] = ["litellm", "langchain", "llm"];

#[test]
fn client_libraries_get_what_they_expect() {
    let tools = project::target().join("tools");
    // The lists are written when all that is in them is there.
    let is_there = |name: &str| tools.join(format!("{name}.txt")).is_file();
    let (place, libraries) = if is_there("clients") {
        ("clients", [SDKS, OTHERS].concat())
    } else if is_there("sdks") {
        ("sdks", SDKS.to_vec())
    } else {
        eprintln!(
            "skipped: `cargo xtask test` and `cargo xtask tools` prepare the client libraries, where PyPI can be reached"
        );
        return;
    };
    let server = Server::start(&[super::tools::manifest()]);
    // One that answers somebody who does not read it, and takes nobody else in: with all that is told of its tokens, the answer is longer than what
    // the system holds for him.
    let endless = project::oracle("smolvlm").display().to_string();
    let busy = Server::start(&[&endless, "--max-requests", "1"]);
    let body = json!({
        "model": "smolvlm", "max_tokens": 8000, "stream": true, "logprobs": true, "top_logprobs": 20,
        "messages": [{"role": "user", "content": "Go on."}],
    });
    let _running = busy.send("POST", "/v1/chat/completions", &[], &body.to_string());
    busy.waits_for("monocle_num_requests_running", 1.0);
    let script = project::root().join("tests/clients/sdks.py");
    let picture = project::root().join("models/shapes/pictures/shapes.png");
    let address = format!("http://{}", server.address);
    let mut command = Command::new(tools.join(place).join("bin/python"));
    command.arg(script).arg(address).arg(picture).arg(alone("shapes"));
    let output = command
        .arg("caller")
        .arg(format!("http://{}", busy.address))
        .args(&libraries)
        .output()
        .expect("Python can be started");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    println!("{}", String::from_utf8_lossy(&output.stdout));
    server.waits_for("monocle_http_requests_in_flight", 0.0);
}

/// Thousands of requests that are good by the description, or nearly: none may make the server fail.
#[test]
fn clients_that_try_everything_never_make_it_fail() {
    let program = project::target().join("tools/clients/bin/schemathesis");
    if !program.is_file() {
        eprintln!("skipped: `cargo xtask tools` prepares schemathesis");
        return;
    }
    let server = Server::start(&["--preload", "shapes"]);
    let mut command = Command::new(program);
    // It leaves a folder of its own where it runs.
    command.current_dir(project::target());
    command
        .arg("run")
        .arg(format!("http://{}/openapi.json", server.address));
    command.args([
        "--checks",
        "not_a_server_error",
        "--phases",
        "fuzzing",
        "--max-examples",
        "40",
    ]);
    command.args([
        "--seed",
        "1",
        "--request-timeout",
        "60",
        "--no-color",
        "--generation-database",
        "none",
    ]);
    let output = command.output().expect("schemathesis can be started");
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{words}");
    server.waits_for("monocle_http_requests_in_flight", 0.0);
}

#[test]
fn the_page_does_in_a_browser_what_it_says() {
    let modules = project::target().join("tools/page");
    let browser = ["chromium", "chromium-browser", "google-chrome"]
        .map(|name| std::path::Path::new("/usr/bin").join(name))
        .into_iter()
        .find(|file| file.is_file());
    let (Some(browser), true) = (browser, modules.join("installed.json").is_file()) else {
        eprintln!(
            "skipped: `cargo xtask tools` prepares what drives a browser, and says whether there is one"
        );
        return;
    };
    let endless = project::oracle("smolvlm");
    // A model all of whose answers name a rectangle in their first picture.
    let scratch = Scratch::new("serve-page");
    let pointer = format!(
        "schema = 1\nname = \"pointer\"\nplugin = \"smolvlm\"\nsource = {{ path = {endless:?} }}\n\
         adapter = {{ name = \"plain-adapter\", options = {{ tokens = 4, thing = [0, [32.0, 48.0, 160.0, 240.0]] }} }}\n"
    );
    let pointer = scratch.write("pointer.toml", pointer).display().to_string();
    let endless = endless.display().to_string();
    let server = Server::start(&[&endless, &pointer, super::accounts::reasoner()]);
    let key = "sesame";
    let keyed = Server::start(&["--api-key", key]);
    let address = |server: &Server| format!("http://{}/", server.address);
    let mut command = Command::new("node");
    command.arg(project::root().join("tests/clients/page.mjs"));
    command.arg(browser).arg(modules).arg(address(&server));
    command.arg(project::root().join("models/shapes/pictures/shapes.png"));
    command.arg(alone("shapes")).arg(address(&keyed)).arg(key);
    // Browsers write below the home folder.
    let home = project::target().join("tmp").join("browser-home");
    std::fs::create_dir_all(&home).expect("a folder can be made");
    // For people to look at: where a folder for pictures of the page is named.
    command.args(std::env::var_os("MONOCLE_SCREENSHOTS"));
    let output = command.env("HOME", home).output().expect("node can be started");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
}
