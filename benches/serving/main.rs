//! `monocle serve` beside llama.cpp's `llama-server`, on the same files and in turns: requests a second and the time to the first piece of text, of
//! 1, 4 and 16 clients, each request about a picture of its own or all about one.
//!
//! `cargo bench -p monocle-tests --bench serving [-- MODEL.gguf MMPROJ.gguf LLAMA_SERVER [TOKENS]]`, after `cargo xtask build`. Without arguments, the
//! model is the project's own, written as GGUF files, and the program the one that `cargo xtask verify servers` builds. Both servers have two
//! threads of computation and the same limit on tokens. The middle of three rounds counts; in each, the two servers take turns.

use std::collections::VecDeque;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use monocle_fetch::endpoint::{Endpoint, Question};
use monocle_tests::gguf::idefics3::convert;
use monocle_tests::pictures::drawn;
use monocle_tests::program;
use monocle_tests::project;
use monocle_tests::server::base64;
use serde_json::{Map, Value, json};

const CLIENTS: [usize; 3] = [1, 4, 16];
const ROUNDS: usize = 3;
/// Requests of each client in a round.
const EACH: usize = 2;
/// How long a server may take to be ready, and an answer to come.
const PATIENCE: Duration = Duration::from_secs(600);

/// A server that runs until this is dropped.
struct Server {
    name: &'static str,
    child: Child,
    endpoint: Endpoint,
    model: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a round gave.
#[derive(Debug, Clone, Copy)]
struct Round {
    requests_per_s: f64,
    first_s: f64,
}

fn main() {
    // `cargo bench` adds options of its own.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let made;
    let (model, projector, llama, rest) = match arguments.as_slice() {
        [model, projector, llama, rest @ ..] => (model, projector, llama, rest),
        [] => {
            made = own();
            let [model, projector, llama] = &made;
            if !Path::new(llama).is_file() {
                println!("not measured: `{llama}` is missing; `cargo xtask verify servers` builds it");
                return;
            }
            (model, projector, llama, [].as_slice())
        }
        _ => {
            println!("not measured: expected MODEL.gguf MMPROJ.gguf LLAMA_SERVER [TOKENS]");
            return;
        }
    };
    let tokens = rest
        .first()
        .map_or(32, |tokens| tokens.parse().expect("a number of tokens"));
    let servers = [monocle(model), llama_server(llama, model, projector)];
    // Whatever is made at the first request is made now.
    for server in &servers {
        round(server, 1, true, tokens, 0);
    }
    println!(
        "| clients | picture | {} | {} | ratio | first piece | first piece | ratio |",
        servers[0].name, servers[1].name
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut number = 1;
    for clients in CLIENTS {
        for is_one in [false, true] {
            let mut rounds = [Vec::new(), Vec::new()];
            for _ in 0..ROUNDS {
                for (server, rounds) in servers.iter().zip(&mut rounds) {
                    rounds.push(round(server, clients, is_one, tokens, number));
                    number += clients * EACH;
                }
            }
            let [ours, theirs] = rounds.map(middle);
            println!(
                "| {clients} | {} | {:.2}/s | {:.2}/s | {:.2} | {:.2} s | {:.2} s | {:.2} |",
                if is_one { "one" } else { "each its own" },
                ours.requests_per_s,
                theirs.requests_per_s,
                ours.requests_per_s / theirs.requests_per_s,
                ours.first_s,
                theirs.first_s,
                theirs.first_s / ours.first_s,
            );
        }
    }
}

/// The project's model in GGUF files, and llama.cpp's server where `cargo xtask` puts it.
fn own() -> [String; 3] {
    let tools = project::target().join("tools");
    let folder = tools.join("shapes-gguf");
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    let (model, _) = convert(&project::root().join("models/shapes"), &folder, |_, _| None);
    let projector = folder.join("mmproj-Tiny-f32.gguf");
    let llama = tools.join("llama/build/bin/llama-server");
    [model, projector, llama].map(|path| path.display().to_string())
}

/// The middle of each figure.
fn middle(rounds: Vec<Round>) -> Round {
    let of = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
    Round {
        requests_per_s: of(|round| round.requests_per_s),
        first_s: of(|round| round.first_s),
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// So many clients at once, each with one request after another.
fn round(server: &Server, clients: usize, is_one: bool, tokens: u32, number: usize) -> Round {
    let queue: VecDeque<usize> = (number..number + clients * EACH).collect();
    let queue = Mutex::new(queue);
    let firsts = Mutex::new(Vec::new());
    let mut options = Map::new();
    options.insert("temperature".to_owned(), json!(0));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                while let Some(number) = { queue.lock().expect("nobody panics with it").pop_front() } {
                    let question = Question {
                        model: &server.model,
                        messages: about(if is_one { 0 } else { number }, number),
                        max_tokens: tokens,
                        options: &options,
                        silence: PATIENCE,
                        total: Some(PATIENCE),
                    };
                    let reply = server
                        .endpoint
                        .ask(&question)
                        .unwrap_or_else(|error| panic!("{}: {error}", server.name));
                    let first = reply.first.unwrap_or(reply.total).as_secs_f64();
                    firsts.lock().expect("nobody panics with it").push(first);
                }
            });
        }
    });
    let firsts = firsts.into_inner().expect("nobody panics with it");
    Round {
        requests_per_s: firsts.len() as f64 / started.elapsed().as_secs_f64(),
        first_s: median(firsts),
    }
}

/// A question that nobody asked before, about a drawn picture.
fn about(picture: usize, number: usize) -> Value {
    let url = format!(
        "data:image/x-portable-pixmap;base64,{}",
        base64(&drawn(picture as u64))
    );
    json!([{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": format!("Question {number}: describe this image.")},
    ]}])
}

fn monocle(model: &str) -> Server {
    let port = port();
    let mut command = Command::new(program::path());
    command.args([
        "serve",
        "--quiet",
        "--threads",
        "2",
        "--preload",
        model,
        "--port",
        &port.to_string(),
        model,
    ]);
    ready("monocle serve", command, port)
}

fn llama_server(program: &str, model: &str, projector: &str) -> Server {
    let port = port();
    let mut command = Command::new(program);
    command.args([
        "-m",
        model,
        "--mmproj",
        projector,
        "--host",
        "127.0.0.1",
        "--port",
        &port.to_string(),
    ]);
    // A slot for each client, of its own context; its default otherwise.
    let slots = CLIENTS[CLIENTS.len() - 1].to_string();
    command.args([
        "--threads",
        "2",
        "--threads-batch",
        "2",
        "--parallel",
        &slots,
        "--ctx-size",
        "32768",
    ]);
    ready("llama-server", command, port)
}

fn port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it has an address").port()
}

fn ready(name: &'static str, mut command: Command, port: u16) -> Server {
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = quiet
        .spawn()
        .unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
    let base = format!("http://127.0.0.1:{port}");
    let mut server = Server {
        name,
        child,
        endpoint: Endpoint::new(&format!("{base}/v1"), None),
        model: String::new(),
    };
    let started = Instant::now();
    while !server
        .endpoint
        .is_ready(&format!("{base}/health"), Duration::from_secs(5))
    {
        assert!(started.elapsed() < PATIENCE, "{name} is not ready");
        let ended = server.child.try_wait().expect("it can be asked");
        assert!(ended.is_none(), "{name} ended: {ended:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    let models = server.endpoint.models(PATIENCE).expect("it lists its models");
    let own = models
        .iter()
        .find(|listed| Path::new(listed).is_file())
        .or(models.first());
    server.model.clone_from(own.expect("it has a model"));
    server
}
