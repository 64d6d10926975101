//! Client libraries, as their users run them: `tests/clients/sdks.py`.

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
