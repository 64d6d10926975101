//! Which models are loaded, for how long, and what becomes of them when their files change.

use std::path::Path;
use std::time::Duration;

use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use monocle_tests::server::{Server, read};
use serde_json::{Value, json};

use super::{about, alone};

fn loaded(server: &Server) -> Vec<String> {
    let listed = server.get("/api/ps").json();
    let entries = listed["models"].as_array().expect("a list").iter();
    entries
        .map(|entry| entry["name"].as_str().expect("a name").to_owned())
        .collect()
}

fn load(server: &Server, name: &str) {
    let answer = server.post("/api/generate", &json!({"model": name}));
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn a_model_goes_when_its_time_is_over() {
    let server = Server::start(&["--preload", "shapes", "--ttl", "200ms"]);
    server.waits_for("monocle_models_loaded", 0.0);
    // Whoever asks may say how long it stays.
    let mut body = about("wide");
    body["keep_alive"] = "-1".into();
    let answer = server.post("/v1/chat/completions", &body).json();
    assert_eq!(answer["choices"][0]["message"]["content"], alone("wide"));
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(loaded(&server), ["shapes"]);
    body["keep_alive"] = json!(0);
    server.post("/v1/chat/completions", &body);
    server.waits_for("monocle_models_loaded", 0.0);
}

/// There is room for two models of three.
#[test]
fn the_one_that_was_used_longest_ago_makes_room() {
    let [first, second] = ["smolvlm", "gemma3"].map(|name| project::oracle(name).display().to_string());
    let server = Server::start(&[&first, &second, "--memory-limit", "170MB", "--cache-limit", "0"]);
    load(&server, "shapes");
    load(&server, "smolvlm");
    let ask = || {
        let answer = server.post("/v1/chat/completions", &about("wide")).json();
        assert_eq!(
            answer["choices"][0]["message"]["content"],
            alone("wide"),
            "{answer}"
        );
    };
    ask();
    load(&server, "gemma3");
    assert_eq!(loaded(&server), ["gemma3", "shapes"]);
    load(&server, "smolvlm");
    assert_eq!(loaded(&server), ["gemma3", "smolvlm"]);
    // One that answers stays, however long ago it was asked.
    let long = json!({"model": "smolvlm", "max_tokens": 4000, "stream": true, "messages": [{"role": "user", "content": "Go on."}]});
    let running = server.send("POST", "/v1/chat/completions", &[], &long.to_string());
    server.waits_for("monocle_num_requests_running", 1.0);
    ask();
    assert_eq!(loaded(&server), ["shapes", "smolvlm"]);
    load(&server, "gemma3");
    assert_eq!(loaded(&server), ["gemma3", "smolvlm"]);
    let answer = read(running);
    assert!(
        answer.status == 200
            && answer.body.ends_with("data: [DONE]\n\n")
            && !answer.body.contains("\"error\"")
    );
}

/// A manifest of the demo model whose prompt begins with these words.
fn manifest(before: &str) -> String {
    let template = format!(
        "<|im_start|>User:{before}{{% for message in messages %}}{{% for part in message['content'] %}}\
         {{% if part['type'] == 'text' %}}{{{{ part['text'] }}}}{{% else %}}<image>{{% endif %}}{{% endfor %}}{{% endfor %}}\
         <end_of_utterance>\\nAssistant:"
    );
    let model = project::root().join("models/shapes");
    format!(
        "schema = 1\nname = \"changing\"\nplugin = {{ name = \"smolvlm\", version = \"0.1\" }}\n[source]\npath = {model:?}\n\
         [prompt]\ntemplate = \"{template}\"\n"
    )
}

/// Tokens of a prompt, and the notes about its answer.
fn asked(server: &Server) -> (u64, String) {
    let mut body = about("wide");
    body["model"] = "changing".into();
    let answer = server.post("/v1/chat/completions", &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = answer.json();
    let tokens = answer["usage"]["prompt_tokens"].as_u64().expect("a number");
    (tokens, answer["monocle"]["notes"].to_string())
}

#[test]
fn what_changes_is_used_from_the_next_request_on_and_the_last_good_one_stays() {
    let scratch = Scratch::new("serve-changes");
    let write = |text: &str| {
        // File systems tell times apart that lie a few milliseconds apart.
        std::thread::sleep(Duration::from_millis(20));
        scratch.write("changing.toml", text).display().to_string()
    };
    let server = Server::start(&[&write(&manifest(""))]);
    let (short, notes) = asked(&server);
    assert!(!notes.contains("as before"), "{notes}");
    write(&manifest("red red red"));
    let (long, notes) = asked(&server);
    assert!(
        long > short && !notes.contains("as before"),
        "{short}, {long}, {notes}"
    );
    // What is no manifest; one of a plugin that is not there; one whose template is none.
    let good = manifest("red red red");
    for (bad, words) in [
        ("schema = 1\nnmae = \"changing\"\n".to_owned(), "nmae"),
        (good.replace("name = \"smolvlm\"", "name = \"nobody\""), "nobody"),
        (good.replace("{% for", "{% fro"), "syntax error"),
    ] {
        write(&bad);
        for _ in 0..2 {
            let (tokens, notes) = asked(&server);
            assert_eq!(tokens, long, "{words}");
            assert!(
                notes.contains("as before") && notes.contains(words),
                "{words}: {notes}"
            );
        }
    }
    write(&manifest(""));
    let (tokens, notes) = asked(&server);
    assert_eq!(tokens, short);
    assert!(!notes.contains("as before"), "{notes}");
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        if path.is_file() {
            let name = path.file_name().expect("a file has a name");
            std::fs::copy(&path, to.join(name)).expect("it can be copied");
        }
    }
}

/// Models are put there by `monocle pull`, or by hand, while the server runs.
#[test]
fn a_model_whose_files_come_later_is_there_then() {
    let scratch = Scratch::new("serve-later");
    let text = manifest("").replace(
        &format!("{:?}", project::root().join("models/shapes")),
        &format!("{:?}", scratch.file("model")),
    );
    let file = scratch.write("changing.toml", text).display().to_string();
    std::fs::create_dir(scratch.file("model")).expect("it can be made");
    let server = Server::start(&[&file]);
    let is_listed = || {
        let listed = server.get("/v1/models").json();
        let mut entries = listed["data"].as_array().expect("a list").iter();
        entries.any(|entry| entry["id"] == "changing")
    };
    let mut body = about("wide");
    body["model"] = "changing".into();
    let answer = server.post("/v1/chat/completions", &body);
    assert_eq!(answer.status, 404, "{answer:?}");
    assert!(
        answer.body.contains("are not on this machine") && !is_listed(),
        "{answer:?}"
    );
    copy(&project::root().join("models/shapes"), &scratch.file("model"));
    assert!(is_listed());
    asked(&server);
}

/// What a model can do is told by its files, before it is loaded.
#[test]
fn lists_tell_which_models_call_tools_and_reason() {
    let scratch = Scratch::new("serve-abilities");
    let template = "Tools: <tool_call> {{ tools }} arguments </tool_call><think></think>";
    let named = |name: &str, more: &str| {
        let model = project::root().join("models/shapes");
        let text = format!(
            "schema = 1\nname = \"{name}\"\nplugin = {{ name = \"smolvlm\", version = \"0.1\" }}\n[source]\npath = {model:?}\n{more}"
        );
        scratch.write(&format!("{name}.toml"), text).display().to_string()
    };
    let both = named(
        "both",
        &format!(
            "[prompt]\ntemplate = '''{template}'''\n[generation]\nstop = [\"END\"]\ntemperature = 0.5\n"
        ),
    );
    let server = Server::start(&[&both]);
    let show = |name: &str| server.post("/api/show", &json!({"model": name})).json();
    assert_eq!(
        show("both")["capabilities"],
        json!(["completion", "vision", "tools", "thinking"])
    );
    assert_eq!(show("shapes")["capabilities"], json!(["completion", "vision"]));
    assert_eq!(show("both")["template"], template);
    let own = std::fs::read_to_string(project::root().join("models/shapes/chat_template.jinja"));
    assert_eq!(show("shapes")["template"], own.expect("it is there"));
    let parameters = show("both")["parameters"].as_str().expect("a text").to_owned();
    for line in ["num_ctx 2048", "temperature 0.5", "stop \"END\""] {
        assert!(
            parameters.lines().any(|other| other == line),
            "{line}: {parameters}"
        );
    }
    let props = |name: &str| server.get(&format!("/props?model={name}")).json();
    assert_eq!(props("both")["chat_template_caps"]["supports_tools"], true);
    assert_eq!(props("shapes")["chat_template_caps"]["supports_tools"], false);
    assert_eq!(props("both")["chat_template"], template);
    let studio = server.get("/api/v0/models").json();
    let can = |name: &str| -> Value {
        let mut entries = studio["data"].as_array().expect("a list").iter();
        let entry = entries.find(|entry| entry["id"] == name).expect("it is listed");
        // The two kinds that LM Studio's clients know.
        assert!(["gguf", "mlx"].contains(&entry["compatibility_type"].as_str().expect("a text")));
        entry["capabilities"].clone()
    };
    assert_eq!(
        (can("both"), can("shapes")),
        (json!(["vision", "tool_use"]), json!(["vision"]))
    );
    // What is known of a model is forgotten when its manifest changes, and when its files do.
    std::thread::sleep(Duration::from_millis(20));
    named("both", "");
    assert_eq!(show("both")["capabilities"], show("shapes")["capabilities"]);
    assert_eq!(show("both")["template"], show("shapes")["template"]);
    // Nothing of this loads a model.
    assert_eq!(server.metric("monocle_models_loaded"), 0.0);
}

/// The same, where the model's own files change under a manifest that stays.
#[test]
fn lists_tell_what_a_models_files_say_now() {
    let scratch = Scratch::new("serve-files-change");
    std::fs::create_dir(scratch.file("model")).expect("it can be made");
    copy(&project::root().join("models/shapes"), &scratch.file("model"));
    let text = format!(
        "schema = 1\nname = \"changing\"\nplugin = {{ name = \"smolvlm\", version = \"0.1\" }}\n[source]\npath = {:?}\n",
        scratch.file("model")
    );
    let file = scratch.write("changing.toml", text).display().to_string();
    let server = Server::start(&[&file]);
    let can = || {
        let body = json!({"model": "changing"});
        server.post("/api/show", &body).json()["capabilities"].clone()
    };
    assert_eq!(can(), json!(["completion", "vision"]));
    std::thread::sleep(Duration::from_millis(20));
    let template = "Tools: <tool_call> {{ tools }} arguments </tool_call>";
    scratch.write("model/chat_template.jinja", template);
    assert_eq!(can(), json!(["completion", "vision", "tools"]));
}
