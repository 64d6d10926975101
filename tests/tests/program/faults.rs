//! The system says no at any moment: each call that reads, writes, opens, renames or maps fails once. The answer is right or there is an error; nothing
//! half-written stays. Two hundred calls fail in all, or, with `MONOCLE_FAULTS=all`, each.

use std::path::{Path, PathBuf};
use std::process::Command;

use monocle_tests::program::{Monocle, Outcome};
use monocle_tests::project;
use monocle_tests::scratch::Scratch;

/// `all`: each call fails in turn, and not only those that a test has time for.
const ALL: &str = "MONOCLE_FAULTS";
/// Calls that fail in runs which find the plugin compiled.
const WARM: usize = 110;
/// In runs which compile it and keep it, each in a cache of its own.
const COLD: usize = 30;
/// In runs which make a plugin's file.
const WRAPS: usize = 60;

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

/// The kinds of all calls of a run, as the library tells them.
fn counted(count: &Path, run: impl FnOnce(&[(&str, &str)]) -> Outcome, right: &str) -> Vec<u8> {
    let outcome = run(&[("FAULT_COUNT", &count.display().to_string())]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, right), "{outcome:?}");
    let kinds = std::fs::read(count).expect("it counted");
    assert!(kinds.len() > 20, "{} calls", kinds.len());
    kinds
}

/// The calls that are to fail: those that change something or map a file, and so many others that there are `most`.
fn chosen(kinds: &[u8], most: usize) -> Vec<usize> {
    let all = std::env::var(ALL).is_ok_and(|value| value == "all");
    let (mut chosen, others): (Vec<usize>, Vec<usize>) =
        (0..kinds.len()).partition(|at| all || b"wnm".contains(&kinds[*at]));
    let more = most.saturating_sub(chosen.len()).min(others.len());
    chosen.extend((0..more).map(|index| others[index * others.len() / more]));
    chosen
}

/// A run in which a call failed gave the right answer all the same, or says what is wrong.
fn is_sound(at: usize, outcome: &Outcome, right: &str) -> bool {
    match outcome.code {
        0 => assert_eq!(outcome.stdout, right, "call {at}"),
        // The error itself may be what could not be written.
        1 => assert!(
            outcome.stderr.is_empty() || outcome.stderr.contains("error: "),
            "call {at}: {outcome:?}"
        ),
        _ => panic!("call {at}: {outcome:?}"),
    }
    outcome.code == 0
}

/// The names in a folder, which may not be there.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let names = entries.map(|entry| entry.expect("the folder can be read").file_name());
    names.map(|name| name.to_string_lossy().into_owned()).collect()
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
    let kinds = counted(&count, |variables| run(&cache, Some(&shim), variables), &right);
    let chosen = chosen(&kinds, WARM);
    let failing = |at: &usize| {
        let outcome = run(&cache, Some(&shim), &[("FAULT_AT", &at.to_string())]);
        !is_sound(*at, &outcome, &right)
    };
    let failed = chosen.iter().filter(|at| failing(at)).count();
    println!("{failed} of {} runs failed", chosen.len());
    assert!(failed > 0, "nothing failed");
    let after = run(&cache, None, &[]);
    assert_eq!((after.code, after.stdout), (0, right));
}

/// What is compiled and kept is whole, or it is not there.
#[test]
fn any_call_may_fail_while_a_plugin_is_compiled_and_kept() {
    let scratch = Scratch::new("cold-faults");
    let Some(shim) = shim(&scratch) else {
        eprintln!("not tried: there is no C compiler `cc`");
        return;
    };
    let (first, count) = (scratch.file("first"), scratch.file("count"));
    let right = run(&scratch.file("cache"), None, &[]).stdout;
    let kinds = counted(&count, |variables| run(&first, Some(&shim), variables), &right);
    assert!(kinds.contains(&b'n'), "it renames nothing: {kinds:?}");
    let (mut failed, mut kept) = (0, 0);
    for at in chosen(&kinds, COLD) {
        let cache = scratch.file(&format!("cache-{at}"));
        let outcome = run(&cache, Some(&shim), &[("FAULT_AT", &at.to_string())]);
        failed += usize::from(!is_sound(at, &outcome, &right));
        let names = names(&cache.join("compiled"));
        let odd = names
            .iter()
            .find(|name| *name != "key" && !name.ends_with(".code"));
        assert_eq!(odd, None, "call {at}");
        kept += usize::from(names.iter().any(|name| name.ends_with(".code")));
        let said = Monocle::new(["doctor"]).env("MONOCLE_CACHE", &cache).run();
        assert!(said.stdout.contains(", 0 damaged"), "call {at}: {said:?}");
        if b"wn".contains(&kinds[at]) {
            let after = run(&cache, None, &[]);
            assert_eq!((after.code, &after.stdout), (0, &right), "call {at}");
        }
        let _ = std::fs::remove_dir_all(&cache);
    }
    println!("{failed} runs failed, {kept} left compiled code");
    assert!(kept > 0, "nothing was kept");
}

/// A plugin's file is the old one or the new one, and nothing lies beside it.
#[test]
fn any_call_may_fail_while_a_plugin_is_wrapped() {
    let scratch = Scratch::new("wrap-faults");
    let Some(shim) = shim(&scratch) else {
        eprintln!("not tried: there is no C compiler `cc`");
        return;
    };
    let (cache, count, folder) = (scratch.file("cache"), scratch.file("count"), scratch.file("out"));
    let module = project::target().join("wasm32-unknown-unknown/plugin/smolvlm.wasm");
    let wrap = |variables: &[(&str, &str)]| {
        let wrap = Monocle::new(["plugins", "wrap"])
            .args([module.as_os_str(), "-o".as_ref(), folder.as_os_str()])
            .env("MONOCLE_CACHE", &cache);
        let variables = variables.iter();
        variables
            .fold(wrap, |wrap, (name, value)| wrap.env(name, value))
            .run()
    };
    let preloaded = shim.display().to_string();
    let with_shim = |variables: &[(&str, &str)]| {
        let shim = [("LD_PRELOAD", preloaded.as_str())];
        wrap(&[&shim[..], variables].concat())
    };
    let file = scratch.write("out/smolvlm.wasm", "older");
    let right = wrap(&[]).stdout;
    let newer = std::fs::read(&file).expect("it was made");
    let kinds = counted(&count, with_shim, &right);
    let (mut failed, mut replaced) = (0, 0);
    for at in chosen(&kinds, WRAPS) {
        scratch.write("out/smolvlm.wasm", "older");
        let outcome = with_shim(&[("FAULT_AT", &at.to_string())]);
        let succeeded = is_sound(at, &outcome, &right);
        assert_eq!(names(&folder), ["smolvlm.wasm"], "call {at}");
        let found = std::fs::read(&file).expect("it is there");
        // That it was made may be what could not be said.
        assert!(
            found == newer || (found == b"older" && !succeeded),
            "call {at}: {} bytes after {outcome:?}",
            found.len()
        );
        failed += usize::from(!succeeded);
        replaced += usize::from(found == newer);
    }
    println!("{failed} runs failed, {replaced} made the file");
    assert!(
        failed > 0 && replaced > 0,
        "{failed} failed, {replaced} made the file"
    );
}
