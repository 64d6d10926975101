//! The program as a user runs it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

/// A loop of a shell, which takes some milliseconds.
const LOOP: &str = "sh -c 'i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done'";

/// As few as there may be, and for a ratio that is held against a clock enough that two outliers on either side do no harm.
const PAIRS: &str = "6";
const MORE_PAIRS: &str = "12";

fn paired() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_monocle-paired"));
    command.args(["--probe-mib", "4", "--threads", "2"]);
    command.args(["--pairs", PAIRS]);
    command
}

fn run(arguments: &[&str]) -> Output {
    paired()
        .args(arguments)
        .output()
        .expect("the program can be started")
}

/// What it prints and what it writes, if it ends well.
fn report(arguments: &[&str]) -> (String, Value) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let output = paired()
        .args(arguments)
        .arg("--json")
        .arg(&file)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let json = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    (String::from_utf8(output.stdout).unwrap(), json)
}

fn number(json: &Value, pointer: &str) -> f64 {
    let found = json.pointer(pointer).and_then(Value::as_f64);
    found.unwrap_or_else(|| panic!("no number at {pointer} in {json:#}"))
}

#[test]
fn equal_commands_give_a_whole_report() {
    let (table, json) = report(&["--a", LOOP, "--b", LOOP]);
    for expected in [
        LOOP,
        "6 pairs, wall time in seconds, lower is better",
        "probe, GB/s",
        "b/a ",
        "within 1 %: ",
        "flags: ",
        "fewer than 20 pairs",
    ] {
        assert!(table.contains(expected), "expected `{expected}` in:\n{table}");
    }
    let pairs = json["pairs"].as_array().unwrap();
    assert_eq!(pairs.len(), 6);
    for two in pairs.chunks(2) {
        assert_ne!(two[0]["first"], two[1]["first"]);
    }
    for pair in pairs {
        let ratio = number(pair, "/b/figure") / number(pair, "/a/figure");
        assert!((number(pair, "/ratio") / ratio - 1.0).abs() < 1e-12);
        assert!(number(pair, "/a/probe_bytes_per_s") > 0.0 && number(pair, "/b/probe_bytes_per_s") > 0.0);
    }
    let ratio = |name: &str| number(&json, &format!("/summary/ratio/{name}"));
    assert!(ratio("low") <= ratio("median") && ratio("median") <= ratio("high"));
    let holds_1 = ratio("low") <= 1.0 && 1.0 <= ratio("high");
    assert_eq!(json["summary"]["equal"], holds_1);
    assert!(!json["machine"]["flags"].as_array().unwrap().is_empty());
    assert_eq!(json["asked"]["a"], LOOP);
    assert_eq!(json["probe"]["bytes"], 4 << 20);
}

#[test]
fn twice_as_slow_is_seen() {
    let (table, json) = report(&["--a", "sleep 0.1", "--b", "sleep 0.2", "--pairs", MORE_PAIRS]);
    let ratio = number(&json, "/summary/ratio/median");
    assert!((1.5..2.3).contains(&ratio), "{ratio}");
    assert!(table.contains("b is worse by"), "{table}");
    assert_eq!(json["summary"]["equal"], false);
    assert_eq!(json["summary"]["within_limit"], "no");
}

#[test]
fn printed_figures_are_compared_exactly() {
    let (a, b) = (r#"echo '{"rate": 200}'"#, r#"echo '{"rate": 202}'"#);
    let arguments = ["--a", a, "--b", b, "--measure", "/rate", "--within", "2"];
    let (table, json) = report(&[arguments.as_slice(), &["--higher-is-better"]].concat());
    assert!((number(&json, "/summary/ratio/low") - 1.01).abs() < 1e-12);
    assert!((number(&json, "/summary/ratio/high") - 1.01).abs() < 1e-12);
    assert!(
        table.contains("b is better by 1 %") && table.contains("within 2 %: yes"),
        "{table}"
    );
    let (table, json) = report(&[arguments.as_slice(), &["--bytes-per-unit", "1e6"]].concat());
    assert!(
        table.contains("b is worse by 1 %") && table.contains("a, % of probe"),
        "{table}"
    );
    let share = 1e6 / 200.0 / number(&json, "/pairs/0/a/probe_bytes_per_s");
    let shares = [
        "/summary/a_share_of_probe/least",
        "/summary/a_share_of_probe/largest",
    ];
    assert!(number(&json, shares[0]) <= share * 1.000_001 && share * 0.999_999 <= number(&json, shares[1]));
}

#[test]
fn a_file_can_be_what_the_probe_reads() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), vec![1; 1 << 20]).unwrap();
    let path = file.path().to_str().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_monocle-paired"))
        .args(["--pairs", "6", "--a", "true", "--b", "true", "--probe-file", path])
        .output()
        .unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && table.contains("1 MiB of a mapped file"),
        "{table}"
    );
}

#[test]
fn failures_are_told_with_what_was_printed() {
    let output = run(&[
        "--a",
        "true",
        "--b",
        "sh -c 'echo loading; echo no such model >&2; exit 7'",
    ]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    for expected in ["exit status: 7", "loading", "no such model"] {
        assert!(errors.contains(expected), "expected `{expected}` in:\n{errors}");
    }
    let output = run(&["--a", "sleep 60", "--b", "true", "--timeout", "0.2"]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("did not end within 0.2 s"), "{errors}");
}

#[test]
fn misuse_is_told_before_anything_runs() {
    let both = ["--a", "true", "--b", "true"];
    for (arguments, expected) in [
        (["--pairs", "5"], "6 to 1000"),
        (["--measure", "[0-9]+"], "group `figure`"),
        (["--within", "0"], "above 0"),
        (["--timeout", "1e9"], "at most 86400"),
        (["--threads", "0"], "1..=1024"),
        (["--pages", "large"], "huge"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_monocle-paired"))
            .args(both)
            .args(arguments)
            .output()
            .unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains(expected), "expected `{expected}` in:\n{errors}");
    }
    let output = run(&["--a", "echo 'open", "--b", "true"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn an_old_report_stays_until_there_is_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    fs::write(&file, "old and much longer than nothing").unwrap();
    let path = file.to_str().unwrap();
    let output = run(&["--a", "false", "--b", "true", "--json", path]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        "old and much longer than nothing"
    );
    let output = run(&["--a", "true", "--b", "true", "--json", path]);
    assert!(output.status.success());
    assert!(serde_json::from_slice::<Value>(&fs::read(&file).unwrap()).is_ok());
    let nowhere = folder.path().join("missing/report.json");
    let output = run(&["--a", "true", "--b", "true", "--json", nowhere.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn an_output_that_is_full_loses_no_report() {
    let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") else {
        return; // Only Linux has one.
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let output = paired()
        .args(["--a", "true", "--b", "true", "--json"])
        .arg(&file)
        .stdout(full)
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("cannot write to standard output"), "{errors}");
    assert!(serde_json::from_slice::<Value>(&fs::read(&file).unwrap()).is_ok());
}

#[test]
fn ending_the_program_ends_its_command() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("process");
    let script = format!(
        "sh -c 'echo $$ > {trace}.new; mv {trace}.new {trace}; sleep 60; true'",
        trace = trace.display()
    );
    let mut program = paired().args(["--a", &script, "--b", "true"]).spawn().unwrap();
    let process = wait_for(|| process_in(&trace));
    kill_process(Pid::from_child(&program), Signal::TERM).unwrap();
    assert!(!program.wait().unwrap().success());
    wait_for(|| test_kill_process(process).is_err().then_some(()));
}

fn process_in(file: &Path) -> Option<Pid> {
    let number = fs::read_to_string(file).ok()?.trim().parse().ok()?;
    Pid::from_raw(number)
}

fn wait_for<T>(mut ready: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "nothing came in 30 seconds"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}
