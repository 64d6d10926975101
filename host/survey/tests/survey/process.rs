//! Children that answer, crash, hang, and are stopped.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use monocle_survey::process::*;

fn shell(script: &str, limit: Option<Duration>, go_on: &dyn Fn() -> bool) -> (Ran, Vec<Value>) {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    let mut heard = Vec::new();
    let ran = run(command, "{\"task\":1}", limit, go_on, &mut |line: Value| {
        heard.push(line)
    })
    .unwrap();
    (ran, heard)
}

#[test]
fn a_child_hears_its_task_and_is_heard() {
    let (ran, heard) = shell(
        "read task; echo noise; echo $task; echo oops >&2; exit 3",
        None,
        &|| true,
    );
    assert_eq!(heard, [serde_json::json!({"task": 1})]);
    assert_eq!(
        ran.end,
        End::Exit {
            code: Some(3),
            signal: None
        }
    );
    assert_eq!(ran.stderr, "oops\n");
}

#[test]
fn a_crash_is_told_by_its_signal() {
    let (ran, _) = shell("kill -SEGV $$", None, &|| true);
    assert_eq!(
        ran.end,
        End::Exit {
            code: None,
            signal: Some(11)
        }
    );
}

#[test]
fn a_hang_is_ended_in_time() {
    let (ran, heard) = shell(
        "echo '{}'; exec sleep 60",
        Some(Duration::from_millis(300)),
        &|| true,
    );
    assert_eq!((ran.end, heard.len()), (End::Late, 1));
    assert!(ran.took < Duration::from_secs(10), "{:?}", ran.took);
}

#[test]
fn a_caller_may_stop_it() {
    let started = Instant::now();
    let (ran, _) = shell("exec sleep 60", None, &|| {
        started.elapsed() < Duration::from_millis(200)
    });
    assert_eq!(ran.end, End::Stopped);
}

#[test]
fn much_on_standard_error_is_cut_at_its_beginning() {
    let (ran, _) = shell(
        "i=0; while [ $i -lt 9000 ]; do echo 'a line of words' >&2; i=$((i+1)); done; echo last >&2",
        None,
        &|| true,
    );
    assert!(ran.stderr.len() <= (128 << 10) + 4096 && ran.stderr.ends_with("last\n"));
}
