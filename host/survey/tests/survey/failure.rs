//! How processes end.

use monocle_survey::failure::*;

#[test]
fn ends_of_processes_are_told_apart() {
    assert_eq!(Failure::ended(Some(9), None, "", "prefill").place, Place::Memory);
    let failed = "memory allocation of 99 bytes failed\n";
    assert_eq!(Failure::ended(Some(6), None, failed, "").place, Place::Memory);
    let crash = Failure::ended(Some(11), None, "", "decode");
    assert_eq!(
        (crash.place, crash.reason.as_str()),
        (Place::Host, "crashed by signal 11 (segmentation fault)")
    );
    let code = Failure::ended(None, Some(101), "thread 'main' panicked\n", "");
    assert!(
        code.error.contains("101") && code.error.contains("panicked"),
        "{}",
        code.error
    );
}

#[test]
fn the_reason_is_one_line() {
    let failure = Failure::new(Place::Weights, format!("\n{}\n\nhint: x", "a".repeat(300)));
    assert_eq!(failure.reason.chars().count(), 201);
    assert_eq!(failure.error.lines().count(), 4);
}
