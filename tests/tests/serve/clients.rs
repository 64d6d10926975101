//! Client libraries, as their users run them: `tests/clients/sdks.py`; and a program that asks for everything that the description of the
//! interfaces lets it.

use std::process::Command;

use monocle_tests::project;
use monocle_tests::server::Server;

use super::alone;

#[test]
fn client_libraries_get_what_they_expect() {
    let python = project::target().join("tools/clients/bin/python");
    if !python.is_file() {
        eprintln!("skipped: `cargo xtask tools` prepares the client libraries");
        return;
    }
    let server = Server::start(&[]);
    let script = project::root().join("tests/clients/sdks.py");
    let picture = project::root().join("models/shapes/pictures/shapes.png");
    let address = format!("http://{}", server.address);
    let mut command = Command::new(python);
    command.arg(script).arg(address).arg(picture).arg(alone("shapes"));
    let output = command.output().expect("Python can be started");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
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
