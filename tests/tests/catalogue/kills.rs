//! Killed at random moments. `MONOCLE_CATALOGUE_KILLS` and `MONOCLE_CATALOGUE_PHOTOS` ask for more than the 20 and 200 of every test run.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use monocle_tests::{program, project};

use super::folders::{PROMPT, answers, catalogue, files, photos, read};

fn number(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn a_kill_at_any_moment_loses_what_was_in_flight_and_nothing_else() {
    let count = number("MONOCLE_CATALOGUE_PHOTOS", 200);
    let kills = number("MONOCLE_CATALOGUE_KILLS", 20);
    let folder = photos("catalogue-kills", count);
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut cut = 0;
    for kill in 0..kills {
        let mut child = Command::new(program::path())
            .args([
                "catalogue",
                "--model",
                "shapes",
                "--prompt",
                PROMPT,
                "--threads",
                "1",
            ])
            .arg(folder.path())
            .env_clear()
            .env("HOME", project::target().join("no-home"))
            .env("MONOCLE_CACHE", project::target().join("plugin-cache"))
            .env("HF_HUB_OFFLINE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program can be started");
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // From before the model is open to when many photos are done.
        std::thread::sleep(Duration::from_millis(40 + random % 260));
        cut += u64::from(child.try_wait().expect("it can be asked").is_none());
        child.kill().expect("it can be killed");
        child.wait().expect("it can be waited for");
        // Whatever is there is whole.
        for sidecar in files(folder.path(), ".xmp") {
            let (title, keywords) = read(&sidecar);
            assert!(
                !title.is_empty() && !keywords.is_empty(),
                "kill {kill}: {}",
                sidecar.display()
            );
        }
        if let Some((hash, times)) = std::fs::exists(folder.file(".monocle-catalogue/journal.jsonl"))
            .expect("it can be asked")
            .then(|| answers(folder.path()))
            .into_iter()
            .flatten()
            .find(|(_, times)| *times > 1)
        {
            panic!("kill {kill}: {hash} was answered {times} times");
        }
    }
    let before = files(folder.path(), ".xmp").len();
    println!("{kills} kills, {cut} of them while it ran: {before} of {count} sidecars were written");
    catalogue(folder.path(), &[]).succeeds();
    let sidecars = files(folder.path(), ".xmp");
    assert_eq!(sidecars.len() as u64, count, "none is missing");
    for sidecar in &sidecars {
        let photo = sidecar.with_extension("");
        assert!(photo.is_file(), "{} belongs to no photo", sidecar.display());
        let (title, keywords) = read(sidecar);
        // `x-default` and `en`; and no keyword twice, as after a second merge.
        assert_eq!(title.len(), 2, "{}", sidecar.display());
        let mut once = keywords.clone();
        once.dedup();
        assert_eq!(once, keywords, "{}", sidecar.display());
    }
    let answers = answers(folder.path());
    assert_eq!(answers.len() as u64, count);
    assert!(answers.values().all(|times| *times == 1), "none is done twice");
    let left = files(folder.path(), "-part");
    assert!(left.is_empty(), "{left:?}");
    // All of it, begun and gone on with so often, is one run.
    let undone = super::folders::undo(folder.path()).succeeds();
    assert!(
        undone.stdout.contains(&format!("{count} sidecars removed")),
        "{undone:?}"
    );
    assert!(files(folder.path(), ".xmp").is_empty());
}

#[test]
fn several_at_once_say_what_one_at_a_time_says() {
    let count = number("MONOCLE_CATALOGUE_PHOTOS", 40);
    let alone = photos("catalogue-alone", count);
    let together = photos("catalogue-together", count);
    let timed = |folder: &monocle_tests::scratch::Scratch, at_once: &str| {
        let started = Instant::now();
        catalogue(folder.path(), &["--at-once", at_once]).succeeds();
        started.elapsed()
    };
    let (one, many) = (timed(&alone, "1"), timed(&together, "8"));
    let speed = |took: Duration| count as f64 / took.as_secs_f64();
    println!(
        "{count} photos: {:.2} photos/s one at a time, {:.2} photos/s eight at once",
        speed(one),
        speed(many)
    );
    let of = |folder: &monocle_tests::scratch::Scratch| -> Vec<_> {
        files(folder.path(), ".xmp")
            .iter()
            .map(|sidecar| read(sidecar))
            .collect()
    };
    assert_eq!(of(&alone), of(&together));
}
