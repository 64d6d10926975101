//! The system says no at any moment: each call that reads, writes, opens, renames or maps fails once. The answer is right or there is an error; nothing
//! half-written stays.

use std::path::{Path, PathBuf};
use std::process::Command;

use monocle_tests::program::{Monocle, Outcome};
use monocle_tests::project;
use monocle_tests::scratch::Scratch;

/// Moments that are tried, of some hundred.
const MOMENTS: usize = 60;

/// The library that counts calls and fails one; none where there is no compiler for it.
fn shim(scratch: &Scratch) -> Option<PathBuf> {
    let library = scratch.file("faults.so");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &project::root().join("tests/c/faults.c")])
        .arg("-ldl")
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{said}");
    Some(library)
}

fn run(cache: &Path, shim: Option<&Path>, variables: &[(&str, &str)]) -> Outcome {
    let folder = project::oracle("smolvlm");
    let mut run = Monocle::new(["run"])
        .args([&folder, &folder.join("image.png")])
        .args(["-p", "hi", "--max-tokens", "4", "--plain", "--threads", "1"])
        .env("MONOCLE_CACHE", cache);
    if let Some(shim) = shim {
        run = run.env("LD_PRELOAD", shim);
    }
    let variables = variables.iter();
    variables
        .fold(run, |run, (name, value)| run.env(name, value))
        .run()
}

#[test]
fn any_call_of_the_system_may_fail() {
    let scratch = Scratch::new("faults");
    let Some(shim) = shim(&scratch) else {
        eprintln!("not tried: there is no C compiler `cc`");
        return;
    };
    let (cache, count) = (scratch.file("cache"), scratch.file("count"));
    let right = run(&cache, None, &[]).stdout;
    assert!(!right.is_empty());
    let counted = run(
        &cache,
        Some(&shim),
        &[("FAULT_COUNT", &count.display().to_string())],
    );
    assert_eq!((counted.code, &counted.stdout), (0, &right), "{counted:?}");
    let calls = std::fs::read_to_string(&count).expect("it counted");
    let calls: usize = calls.trim().parse().expect("a number");
    assert!(calls > MOMENTS, "{calls}");
    let mut failed = 0;
    for moment in 0..MOMENTS {
        let at = (moment * calls / MOMENTS).to_string();
        let outcome = run(&cache, Some(&shim), &[("FAULT_AT", &at)]);
        match outcome.code {
            0 => assert_eq!(outcome.stdout, right, "call {at}"),
            // The error itself may be what could not be written.
            1 => {
                assert!(
                    outcome.stderr.is_empty() || outcome.stderr.contains("error: "),
                    "call {at}: {outcome:?}"
                );
                failed += 1;
            }
            _ => panic!("call {at}: {outcome:?}"),
        }
    }
    assert!(failed > 0, "nothing failed");
    let after = run(&cache, None, &[]);
    assert_eq!((after.code, after.stdout), (0, right));
}
