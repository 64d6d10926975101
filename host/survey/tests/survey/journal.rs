//! Journals: what a crash leaves, and what a run that was taken back leaves.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use monocle_survey::journal::{Answered, FOLDER, Failed, Journal, JournalError, Line, Run, Seen, Writing};
use monocle_survey::sidecar::{Added, Naming};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("monocle-journal-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("there is room");
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join(FOLDER).join("journal.jsonl")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Opens a folder's journal that nobody has open. A process that another test is starting holds what was open here for a moment, locks among
/// it.
fn opened(folder: &Folder) -> Journal {
    let started = Instant::now();
    loop {
        match Journal::open(&folder.0) {
            Err(JournalError::InUse { .. }) if started.elapsed() < Duration::from_secs(10) => {
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => return opened.expect("it can be opened"),
        }
    }
}

fn run(run: u64) -> Line {
    Line::Run(Run {
        run,
        time: 1,
        tool: "t".to_owned(),
        model: "m".to_owned(),
        key: "k".to_owned(),
        settings: String::new(),
    })
}

fn answered(run: u64, hash: &str) -> Line {
    Line::Answered(Box::new(Answered {
        run,
        hash: hash.to_owned(),
        key: "k".to_owned(),
        path: format!("{hash}.jpg"),
        time: 2,
        parts: Vec::new(),
        marks: Vec::new(),
        asked: 1,
        tokens: 3,
        seconds: 0.5,
    }))
}

fn writing(run: u64, hash: &str) -> Line {
    Line::Writing(Box::new(Writing {
        run,
        hash: hash.to_owned(),
        form: "k".to_owned(),
        path: format!("{hash}.jpg"),
        sidecar: format!("{hash}.jpg.xmp"),
        naming: Naming::Darktable,
        before: None,
        after: format!("after {hash}"),
        added: Added::default(),
    }))
}

#[test]
fn a_line_that_was_cut_off_is_lost_and_no_other() {
    let folder = Folder::new("cut");
    let mut journal = opened(&folder);
    for line in [run(1), answered(1, "a"), answered(1, "b")] {
        journal.add(line).expect("there is room");
    }
    drop(journal);
    let whole = std::fs::read(folder.file()).expect("it is there");
    let last = whole[..whole.len() - 1]
        .iter()
        .rposition(|&byte| byte == b'\n')
        .expect("lines")
        + 1;
    for length in last..whole.len() {
        std::fs::write(folder.file(), &whole[..length]).expect("there is room");
        let mut journal = opened(&folder);
        assert!(journal.known.answer("a", "k").is_some());
        assert!(journal.known.answer("b", "k").is_none(), "cut at {length}");
        journal.add(answered(1, "c")).expect("there is room");
        drop(journal);
        let known = Journal::look(&folder.0).expect("it can be read");
        assert_eq!(known.answers(), 2, "cut at {length}");
    }
    // In the middle it is no crash's work.
    std::fs::write(folder.file(), [&whole[..10], b"\n", &whole[..]].concat()).expect("there is room");
    match Journal::look(&folder.0) {
        Err(JournalError::Unreadable { line: 1, .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn two_cannot_write_it_at_once() {
    let folder = Folder::new("two");
    let first = opened(&folder);
    assert!(matches!(
        Journal::open(&folder.0),
        Err(JournalError::InUse { .. })
    ));
    drop(first);
    opened(&folder);
}

#[test]
fn a_run_taken_back_leaves_those_before_it() {
    let folder = Folder::new("undo");
    let mut journal = opened(&folder);
    for line in [
        run(1),
        answered(1, "a"),
        writing(1, "a"),
        Line::Finished { run: 1 },
    ] {
        journal.add(line).expect("there is room");
    }
    assert_eq!(journal.known.unfinished("k"), None);
    for line in [run(2), answered(2, "b"), writing(2, "b")] {
        journal.add(line).expect("there is room");
    }
    assert_eq!(journal.known.unfinished("k"), Some(2));
    assert_eq!(journal.known.unfinished("other"), None);
    journal.add(Line::Undone { run: 2 }).expect("there is room");
    assert_eq!(journal.known.unfinished("k"), None);
    drop(journal);
    let known = Journal::look(&folder.0).expect("it can be read");
    assert_eq!(known.last_run().map(|run| run.run), Some(1));
    assert_eq!(known.next_run(), 3);
    assert!(known.answer("a", "k").is_some() && known.answer("b", "k").is_none());
    assert!(known.written("a.jpg.xmp").is_some() && known.written("b.jpg.xmp").is_none());
    // One that found nothing to do is not in the way of taking back what was done.
    let mut journal = opened(&folder);
    journal.add(run(3)).expect("there is room");
    let numbers = [journal.known.last_run(), journal.known.last_written_run()];
    assert_eq!(numbers.map(|run| run.map(|run| run.run)), [Some(3), Some(1)]);
    journal.add(Line::Undone { run: 1 }).expect("there is room");
    assert_eq!(journal.known.last_written_run().map(|run| run.run), Some(3));
}

#[test]
fn a_hash_holds_as_long_as_the_file_is_as_it_was() {
    let folder = Folder::new("seen");
    let mut journal = opened(&folder);
    let seen = Seen {
        path: "a.jpg".to_owned(),
        size: 10,
        changed: 99,
        hash: "h".to_owned(),
    };
    journal.add(Line::Seen(seen)).expect("there is room");
    assert_eq!(journal.known.hash_of("a.jpg", 10, 99), Some("h"));
    assert_eq!(journal.known.hash_of("a.jpg", 11, 99), None);
    assert_eq!(journal.known.hash_of("a.jpg", 10, 98), None);
    assert_eq!(journal.known.hash_of("b.jpg", 10, 99), None);
}

#[test]
fn an_answer_ends_what_failed_before() {
    let folder = Folder::new("failed");
    let mut journal = opened(&folder);
    let failed = |path: &str| {
        Line::Failed(Failed {
            run: 1,
            path: path.to_owned(),
            reason: "it cannot be read".to_owned(),
        })
    };
    for line in [run(1), failed("a.jpg"), failed("b.jpg"), answered(1, "a")] {
        journal.add(line).expect("there is room");
    }
    drop(journal);
    let known = Journal::look(&folder.0).expect("it can be read");
    assert!(known.failure("a.jpg").is_none() && known.failure("b.jpg").is_some());
}
