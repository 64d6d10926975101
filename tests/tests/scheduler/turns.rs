//! Whose turn it is where memory is short: the engine that hashes what a row may see writes down which rows it was asked for, and in which order.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use monocle_runtime::request::pictures::PictureInput;
use monocle_runtime::request::{GenerateOptions, Request};
use monocle_runtime::scheduler::terms::{Class, Terms};
use monocle_runtime::scheduler::{Scheduler, SchedulerOptions, SessionId};
use monocle_tests::hashing::{HashingEngine, Log, mix};
use monocle_tests::project;

use super::{Ends, run, text};

/// Tokens of a long answer: more than what caches are counted for when it begins.
const LONG: usize = 600;

/// A scheduler with room for the caches of so many tokens of text, beside what the largest of its requests computes.
struct Scene {
    scheduler: Scheduler,
    log: Rc<RefCell<Log>>,
    ends: Ends,
}

/// What a request needs, in tokens.
struct Sizes {
    prompt: usize,
    /// As many bytes as so many tokens' caches.
    pictures: usize,
}

impl Scene {
    /// Room for the caches of so many tokens beside what a prompt of these words computes.
    fn new(tokens: usize, prompt: &str) -> Self {
        Self::with_room(&text(prompt), |_| tokens)
    }

    /// As [`Scene::new`]; how many tokens, a function says of the sizes of this request.
    fn with_room(request: &Request, tokens: impl FnOnce(Sizes) -> usize) -> Self {
        let open = |memory_limit| {
            let engine = HashingEngine::default();
            let log = engine.log();
            let options = SchedulerOptions {
                memory_limit,
                max_sessions: 3,
                ..SchedulerOptions::default()
            };
            let folder = project::oracle("smolvlm");
            (project::open_folder_with(&folder, Box::new(engine), options), log)
        };
        let (mut roomy, _) = open(None);
        let prompt = roomy.prepare(request, 1, 512).unwrap().prompt.len();
        // What a token's caches take, and what is there in any case.
        let mut estimate = |tokens| roomy.prepare(request, tokens, 512).unwrap().estimate;
        let [few, many] = [1, 1001].map(&mut estimate);
        let token = (many.cache_bytes - few.cache_bytes) / 1000;
        let fixed = few.weights_bytes + few.program_bytes + few.slices_bytes;
        let pictures = (few.picture_bytes + few.feature_bytes).div_ceil(token);
        let (scheduler, log) = open(Some(fixed + tokens(Sizes { prompt, pictures }) * token));
        Self {
            scheduler,
            log,
            ends: Ends::default(),
        }
    }

    fn ask(&mut self, words: &str, tokens: usize, class: Class) -> SessionId {
        self.ask_for(&text(words), tokens, class)
    }

    fn ask_for(&mut self, request: &Request, tokens: usize, class: Class) -> SessionId {
        let options = GenerateOptions {
            max_tokens: tokens,
            ignore_end: true,
            ..GenerateOptions::default()
        };
        let prepared = self.scheduler.prepare(request, tokens, 512).unwrap();
        let terms = Terms {
            class,
            ..Terms::from(Instant::now())
        };
        self.scheduler.submit(prepared, options, terms).unwrap()
    }

    fn step(&mut self) {
        let events = self.scheduler.step();
        self.ends.take(events);
    }

    /// Numbers of the rows that were the last of this prompt: one for each time that it was computed.
    fn prompts(&mut self, words: &str) -> Vec<usize> {
        let prepared = self.scheduler.prepare(&text(words), 1, 512).unwrap();
        let ids = prepared.prompt.ids().iter();
        let last = ids.fold(0, |hash, id| mix(hash, u64::from(*id)));
        let log = self.log.borrow();
        let rows = log.rows.iter().enumerate();
        rows.filter(|(_, row)| **row == last)
            .map(|(number, _)| number)
            .collect()
    }
}

/// Words whose prompt has so many tokens, or a few more.
fn words(tokens: usize) -> String {
    let folder = project::oracle("smolvlm");
    let engine = Box::new(HashingEngine::default());
    let mut scheduler = project::open_folder_with(&folder, engine, SchedulerOptions::default());
    let mut words = String::new();
    loop {
        let prepared = scheduler.prepare(&text(&words), 1, 512).unwrap();
        let missing = tokens.saturating_sub(prepared.prompt.len());
        if missing == 0 {
            return words;
        }
        words += &"a ".repeat(missing.div_ceil(4));
    }
}

/// Three begin, and not all can grow. The newest gives up its caches, and begins again before one that came later and never began.
#[test]
fn the_newest_gives_up_and_is_the_next_to_begin() {
    use Class::Interactive;
    let mut scene = Scene::new(1500, "three");
    let all: Vec<_> = ["one", "two", "three"]
        .into_iter()
        .map(|words| scene.ask(words, LONG, Interactive))
        .collect();
    scene.step();
    let late = scene.ask("late", 2, Interactive);
    run(&mut scene.scheduler, &mut scene.ends);
    assert!(scene.ends.done.contains_key(&late));
    for id in all {
        assert_eq!(scene.ends.done[&id].output.tokens, LONG);
    }
    assert_eq!(scene.prompts("one").len(), 1);
    assert_eq!(scene.prompts("two").len(), 1);
    let newest = scene.prompts("three");
    assert_eq!(newest.len(), 2, "it began twice");
    assert!(newest[1] < scene.prompts("late")[0]);
}

/// The same, but for bulk work in the middle: it gives its caches up, and the newest goes on.
#[test]
fn bulk_work_gives_up_before_others() {
    use Class::{Bulk, Interactive};
    let mut scene = Scene::new(1500, "three");
    for (words, class) in [("one", Interactive), ("two", Bulk), ("three", Interactive)] {
        scene.ask(words, LONG, class);
        // Each begins before the next one comes.
        scene.step();
    }
    run(&mut scene.scheduler, &mut scene.ends);
    assert_eq!(scene.ends.done.len(), 3);
    assert_eq!(scene.prompts("one").len(), 1);
    assert_eq!(scene.prompts("two").len(), 2, "it began twice");
    assert_eq!(scene.prompts("three").len(), 1);
}

/// One that gave its caches up is as old as it was: when it has begun again, a newer one gives up before it.
#[test]
fn one_that_begins_again_is_as_old_as_before() {
    use Class::{Bulk, Interactive};
    // Three may begin, two may have 512 tokens of an answer each, and two whole answers do not fit.
    let mut scene = Scene::with_room(&text("three"), |sizes| 2 * sizes.prompt + 1100);
    for (words, tokens, class) in [
        ("one", 300, Interactive),
        ("two", LONG, Bulk),
        ("three", LONG, Interactive),
    ] {
        scene.ask(words, tokens, class);
        scene.step();
    }
    run(&mut scene.scheduler, &mut scene.ends);
    assert_eq!(scene.ends.done.len(), 3);
    assert_eq!(scene.prompts("one").len(), 1);
    assert_eq!(scene.prompts("two").len(), 2, "it gave up once");
    assert_eq!(scene.prompts("three").len(), 2, "then it was the newest");
}

/// A large picture, and words about it.
fn photo(words: &str) -> Request {
    let picture = PictureInput::Bytes {
        name: "photo.ppm".to_owned(),
        bytes: [b"P6 400 300 255\n".to_vec(), vec![77; 400 * 300 * 3]].concat(),
    };
    Request::single(None, vec![picture], words)
}

/// Two requests with pictures, where there is room for the pictures of one.
#[test]
fn pictures_of_those_that_run_are_counted() {
    let mut scene = Scene::with_room(&photo("one"), |sizes| {
        2 * (sizes.prompt + 2) + sizes.pictures + sizes.pictures / 2
    });
    let first = scene.ask_for(&photo("one"), 2, Class::Interactive);
    let second = scene.ask_for(&photo("two"), 2, Class::Interactive);
    while !scene.ends.is_over(first) {
        scene.step();
        let [waiting, running] = scene.scheduler.counts();
        assert!(running <= 1, "there is room for one's pictures");
        assert!(waiting <= 1);
    }
    run(&mut scene.scheduler, &mut scene.ends);
    assert!(scene.ends.done.contains_key(&second));
}

/// One that gave its caches up keeps its pictures: another does not begin in their room.
#[test]
fn pictures_of_those_that_gave_up_are_counted() {
    use Class::{Bulk, Interactive};
    let photo = photo("two");
    let mut prompt = 0;
    let mut scene = Scene::with_room(&photo, |sizes| {
        assert!(sizes.pictures > 400, "{} tokens", sizes.pictures);
        prompt = sizes.prompt;
        // Two may begin, and both may not have 512 tokens of an answer each.
        2 * sizes.prompt + sizes.pictures + 620
    });
    // Prompts of about the same length.
    let [first, third] = ["one", "three"].map(|word| format!("{word} {}", words(prompt)));
    let one = scene.ask(&first, LONG, Interactive);
    let two = scene.ask_for(&photo, LONG, Bulk);
    scene.step();
    assert_eq!(scene.scheduler.counts(), [0, 2], "both begin");
    while scene.scheduler.counts() == [0, 2] {
        scene.step();
    }
    assert_eq!(scene.ends.count(), 0, "one of them gave up");
    // Beside an answer and these pictures there is no room for another of so many tokens; without the pictures there was.
    let three = scene.ask(&third, LONG, Interactive);
    while !scene.ends.is_over(one) {
        scene.step();
        assert!(scene.ends.is_over(one) || scene.prompts(&third).is_empty());
    }
    run(&mut scene.scheduler, &mut scene.ends);
    assert!([two, three].iter().all(|id| scene.ends.done.contains_key(id)));
}

/// Two prompts fit side by side, but not what their rows compute together: each has a pass of its own.
#[test]
fn rows_that_need_too_much_together_are_computed_apart() {
    let [one, two] = ["one", "two"].map(|word| format!("{word} {}", words(200)));
    let mut scene = Scene::with_room(&text(&one), |sizes| 2 * (sizes.prompt + 8));
    let ids = [&one, &two].map(|words| scene.ask(words, 4, Class::Interactive));
    scene.step();
    assert_eq!(scene.scheduler.counts(), [0, 2], "both begin");
    run(&mut scene.scheduler, &mut scene.ends);
    assert!(ids.iter().all(|id| scene.ends.done.contains_key(id)));
    for pass in &scene.log.borrow().passes {
        let prompts = pass.iter().filter(|(_, _, rows)| *rows > 16);
        assert!(prompts.count() <= 1, "{pass:?}");
    }
}

/// One that needs much waits for room, and a small one that came later does not go before it.
#[test]
fn the_one_whose_turn_it_is_is_not_passed_over() {
    use Class::Interactive;
    let words = words(720);
    let mut scene = Scene::new(950, &words);
    let long = scene.ask("long", LONG, Interactive);
    scene.step();
    let large = scene.ask(&words, 2, Interactive);
    let small = scene.ask("small", 2, Interactive);
    run(&mut scene.scheduler, &mut scene.ends);
    assert_eq!(scene.ends.done.len(), 3);
    assert!(
        scene.prompts(&words)[0] < scene.prompts("small")[0],
        "the small one went first"
    );
    // The large one has waited: there was no room for both.
    let place = |id| scene.ends.order.iter().position(|other| *other == id);
    assert!(place(long) < place(large) && place(long) < place(small));
}

/// Where one runs at a time, another ends when it has waited as long as it may; the time to wait is over for one that has begun.
#[test]
fn one_that_has_waited_too_long_ends() {
    let options = SchedulerOptions {
        max_sessions: 1,
        ..SchedulerOptions::default()
    };
    let folder = project::oracle("smolvlm");
    let engine = Box::new(HashingEngine::default());
    let mut scheduler = project::open_folder_with(&folder, engine, options);
    let start = Instant::now();
    let after = |milliseconds| start + Duration::from_millis(milliseconds);
    let endless = GenerateOptions {
        max_tokens: 50,
        ignore_end: true,
        ..GenerateOptions::default()
    };
    let [first, second] = ["one", "two"].map(|words| {
        let prepared = scheduler.prepare(&text(words), 50, 512).unwrap();
        let terms = Terms {
            longest_wait: Some(Duration::from_millis(5)),
            ..Terms::from(start)
        };
        scheduler.submit(prepared, endless.clone(), terms).unwrap()
    });
    let mut ends = Ends::default();
    for milliseconds in 0..=5 {
        ends.take(scheduler.step_at(after(milliseconds)));
    }
    assert_eq!(ends.count(), 0);
    ends.take(scheduler.step_at(after(6)));
    assert!(ends.failed[&second].starts_with("the request has waited "));
    run(&mut scheduler, &mut ends);
    assert_eq!(ends.done[&first].output.tokens, 50);
}
