//! Random schedules on an engine whose logits are a hash of exactly what a row may see: arrivals, chunk sizes, budgets, cancels, failures of the
//! engine, memory for few, caches, working ahead; on families that differ in positions, windows, cross attention, convolutions and in what sees
//! itself. Whatever the schedule, each request answers what it answers alone.
//!
//! What must hold, and where it is looked at (`host` is host/runtime/src/scheduler):
//!
//! | property | where |
//! |---|---|
//! | 1 a request's tokens are a function of the request alone | [`Watch::end`]: tokens, text and finish reason of each |
//! | 2 every row is computed once for each residence, without gaps | `Sequences::begin` refuses any other step, which would fail a session that was not to fail |
//! | 3 a row reads only its own sequence's keys, which are there | the hashing engine's `faults`, [`Watch::step`] |
//! | 4 rows, sessions and encoder work of a step stay within their budgets | [`Watch::step`]; exactly: `host/policy.rs` |
//! | 5 each step does something | [`Watch::step`] |
//! | 6 bounded waits, first come first served | [`Watch::step`] (an answer goes on at every step), [`Watch::end`] (order); `host/policy.rs`, `turns.rs` |
//! | 7 what is counted is what is there | [`Watch::step`] (limits), [`Watch::end`] (to the byte); `host/prefixes.rs`, `host/features.rs` |
//! | 8 each request ends once, nothing after that, the text is what was shown | [`Ends::take`], [`Watch::end`] |
//! | 9 nothing is left but what is kept, and that can be given back | [`Watch::end`] |
//! | 10 a cancelled request ends and is gone with the next step | [`Watch::cancel`], [`Watch::cancel_all`]; `containment.rs` |
//! | 11 giving memory up changes no token and gives none twice | [`Watch::end`] of schedules with little memory; who gives up: `turns.rs` |
//! | 12 what is kept changes no answer | [`Watch::end`] of schedules with caches; pictures share ids and differ in pixels |
//! | 13 a failure ends one request, and nothing of a failed step is kept | [`Watch::end`]; the engine leaves wrong keys behind |
//! | 14 what can never fit is refused with the numbers; all else is answered where one fits | [`Watch::submit`], [`Watch::end`] |
//! | 15 one step ahead at most, no row beyond the last token | the engine's `faults`; [`Watch::end`]: every row is one that some answer needs |
//! | 16 the same arrivals give the same schedule | [`the_same_arrivals_give_the_same_schedule`] |

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use monocle_runtime::error::RequestError;
use monocle_runtime::model::Model;
use monocle_runtime::request::pictures::PictureInput;
use monocle_runtime::request::{GenerateOptions, Request};
use monocle_runtime::scheduler::terms::{Class, Terms};
use monocle_runtime::scheduler::{Scheduler, SchedulerOptions, SessionId};
use monocle_tensor::backend::SequenceId;
use monocle_tests::hashing::{HashingEngine, Log, Work, mix};
use monocle_tests::oracle::Oracle;
use monocle_tests::project;
use monocle_text::{FinishReason, SamplingOptions};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use super::Ends;

/// Families by their folders: plain, windows and pictures that see themselves, positions of three axes, the same with features in several
/// layers, convolutions, cross attention, a prefix that sees itself.
const FAMILIES: [&str; 7] = [
    "smolvlm",
    "gemma3",
    "qwen2_vl",
    "qwen3_vl",
    "lfm2_vl",
    "mllama",
    "paligemma2",
];

/// Schedules of all families together; `MONOCLE_SCHEDULES` asks for more.
fn schedules() -> u32 {
    let asked = std::env::var("MONOCLE_SCHEDULES");
    asked.map_or(350, |text| text.parse().expect("MONOCLE_SCHEDULES is a number"))
}

/// Tokens of a long answer.
const LONG: usize = 600;

/// What one client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ask {
    request: usize,
    tokens: usize,
    chunk: usize,
    way: Way,
    bulk: bool,
    /// Steps that it may wait to begin, and that it may take.
    times: [Option<u64>; 2],
}

/// How tokens are chosen, and what else ends an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Likeliest,
    Sampled,
    /// With a penalty on what is in the history.
    Penalised,
    Stopped,
    /// Whatever the model says, as long as it may be.
    Endless,
}

#[derive(Debug, Clone)]
enum Action {
    Ask(Ask),
    Steps(usize),
    /// One of those asked for so far.
    Cancel(prop::sample::Index),
    CancelAll,
}

#[derive(Debug, Clone)]
struct Schedule {
    cache_limit: usize,
    token_budget: usize,
    max_sessions: usize,
    /// Quarters of what the largest request needs that are free beside it.
    spare: Option<usize>,
    ahead: bool,
    /// One in so many runs of the engine fails.
    failures: Option<u64>,
    actions: Vec<Action>,
}

fn schedule(requests: usize) -> impl Strategy<Value = Schedule> {
    let way = prop_oneof![
        4 => Just(Way::Likeliest),
        1 => Just(Way::Sampled),
        1 => Just(Way::Penalised),
        1 => Just(Way::Stopped),
    ];
    let ask = (
        0..requests,
        prop_oneof![
            8 => prop::sample::select(vec![1, 2, 3, 6, 11, 19]),
            // More than what caches are counted for when it begins.
            2 => Just(LONG),
        ],
        prop::sample::select(vec![1, 5, 17, 64, 512]),
        way,
        prop::bool::weighted(0.3),
        [
            prop::option::weighted(0.1, 0_u64..20),
            prop::option::weighted(0.1, 0_u64..40),
        ],
    );
    let ask = ask.prop_map(|(request, tokens, chunk, way, bulk, times)| {
        Action::Ask(Ask {
            request,
            tokens,
            chunk,
            way,
            bulk,
            times,
        })
    });
    let action = prop_oneof![
        6 => ask,
        6 => (1_usize..8).prop_map(Action::Steps),
        2 => any::<prop::sample::Index>().prop_map(Action::Cancel),
        1 => Just(Action::CancelAll),
    ];
    (
        prop::sample::select(vec![0, 20_000, 150_000, 8 << 20]),
        prop::sample::select(vec![1, 3, 16, 64, 512]),
        1_usize..7,
        prop::option::weighted(0.5, 0_usize..7),
        any::<bool>(),
        prop::option::weighted(0.3, 4_u64..40),
        prop::collection::vec(action, 4..28),
    )
        .prop_map(
            |(cache_limit, token_budget, max_sessions, spare, ahead, failures, actions)| Schedule {
                cache_limit,
                token_budget,
                max_sessions,
                spare,
                ahead,
                failures,
                actions,
            },
        )
}

/// Long answers that begin together where not all of them can end together.
fn crowd(requests: usize) -> impl Strategy<Value = Schedule> {
    let ask = (0..requests, prop::sample::select(vec![17, 512]), any::<bool>());
    let ask = ask.prop_map(|(request, chunk, bulk)| Ask {
        request,
        tokens: LONG,
        chunk,
        way: Way::Endless,
        bulk,
        times: [None; 2],
    });
    let cancel = (any::<prop::sample::Index>(), 200_usize..600);
    (
        prop::collection::vec(ask, 2..4),
        0_usize..5,
        any::<bool>(),
        prop::option::weighted(0.5, cancel),
        prop::sample::select(vec![0, 8 << 20]),
    )
        .prop_map(|(asks, spare, ahead, cancel, cache_limit)| {
            let mut actions: Vec<Action> = asks.into_iter().map(Action::Ask).collect();
            if let Some((who, steps)) = cancel {
                actions.extend([Action::Steps(steps), Action::Cancel(who)]);
            }
            Schedule {
                cache_limit,
                token_budget: 64,
                max_sessions: 4,
                spare: Some(spare),
                ahead,
                failures: None,
                actions,
            }
        })
}

fn options(ask: Ask) -> GenerateOptions {
    let sampling = match ask.way {
        Way::Likeliest | Way::Stopped | Way::Endless => SamplingOptions::default(),
        Way::Sampled => SamplingOptions {
            temperature: 1.0,
            seed: ask.request as u64,
            ..SamplingOptions::default()
        },
        Way::Penalised => SamplingOptions {
            repetition_penalty: 1.5,
            no_repeat_ngram_size: 2,
            ..SamplingOptions::default()
        },
    };
    GenerateOptions {
        max_tokens: ask.tokens,
        sampling,
        stop: match ask.way {
            // Texts that end with the beginning of one are held back.
            Way::Stopped => ["te", "et", "1"].map(str::to_owned).into(),
            _ => Vec::new(),
        },
        prefill_chunk: ask.chunk,
        ignore_end: ask.way == Way::Endless,
        ..GenerateOptions::default()
    }
}

/// What is answered alone.
struct Alone {
    tokens: Vec<u32>,
    text: String,
    finish: FinishReason,
}

/// A model, and what its requests answer alone.
struct Family {
    model: Arc<Model>,
    requests: Vec<Request>,
    prompts: Vec<Vec<u32>>,
    /// Estimates for the longest answers in one chunk, which are the largest.
    largest: usize,
    /// Its caches and intermediate results alone.
    needs: usize,
    /// Tokens that must be computed together, at most.
    together: usize,
    plain: Scheduler,
    alone: BTreeMap<(usize, usize, Way), Alone>,
}

/// What all schedules together went through: a test of many must have come to each.
#[derive(Debug, Default)]
struct Coverage {
    asked: usize,
    done: usize,
    cancelled: usize,
    failed: usize,
    forks: usize,
    forks_refused: usize,
    begun_again: usize,
    failed_together: usize,
    cached_pictures: usize,
    late: usize,
}

impl Family {
    fn open(folder: &'static str) -> Self {
        let path = project::oracle(folder);
        let mut plain = project::open_folder_with(
            &path,
            Box::new(HashingEngine::default()),
            SchedulerOptions::default(),
        );
        let oracle = Oracle::open(&path);
        let picture = |colour: [u8; 3], width: usize| PictureInput::Bytes {
            name: format!("{colour:?}"),
            bytes: [
                format!("P6 {width} 30 255\n").into_bytes(),
                colour.repeat(width * 30),
            ]
            .concat(),
        };
        let [red, blue, wide] = [
            picture([255, 0, 0], 40),
            picture([0, 0, 255], 40),
            picture([255, 0, 0], 90),
        ];
        let about = |pictures: Vec<PictureInput>| Request::single(None, pictures, "What colour is it?");
        let mut requests = vec![
            about(vec![red.clone()]),
            about(vec![blue.clone()]),
            about(vec![wide]),
        ];
        requests.push(Request::single(None, vec![red.clone()], "What colour is that?"));
        requests.extend(oracle.cases().iter().map(|case| oracle.request(case)));
        if oracle.cases().iter().any(|case| case == "two_images") {
            requests.push(about(vec![red.clone(), blue.clone()]));
            requests.push(about(vec![blue, red]));
            requests.push(Request::single(None, Vec::new(), "Hello?"));
            requests.push(Request::single(None, Vec::new(), &"Say a word. ".repeat(12)));
        }
        let (mut prompts, mut largest, mut needs, mut together) = (Vec::new(), 0, 0, 0);
        for request in &requests {
            for chunk in [1, 512] {
                let prepared = plain.prepare(request, LONG, chunk).unwrap();
                largest = largest.max(prepared.estimate.total());
                needs = needs.max(prepared.estimate.cache_bytes + prepared.estimate.program_bytes);
                if chunk == 512 {
                    let prompt = &prepared.prompt;
                    let end = (0..prompt.len()).map(|start| prompt.chunk_end(start, 1) - start);
                    together = together.max(end.max().unwrap_or(0));
                    prompts.push(prompt.ids().to_vec());
                }
            }
        }
        Self {
            model: Arc::clone(plain.model()),
            requests,
            prompts,
            largest,
            needs,
            together,
            plain,
            alone: BTreeMap::new(),
        }
    }

    /// What a request answers when nothing else runs.
    fn alone(&mut self, ask: Ask) -> &Alone {
        let Self {
            plain,
            requests,
            alone,
            ..
        } = self;
        alone
            .entry((ask.request, ask.tokens, ask.way))
            .or_insert_with(|| {
                let options = GenerateOptions {
                    prefill_chunk: 512,
                    ..options(ask)
                };
                let go_on = &mut |_: &_| monocle_runtime::scheduler::Flow::Continue;
                let report = plain.answer(&requests[ask.request], &options, go_on).unwrap();
                Alone {
                    tokens: report.token_ids,
                    text: report.output.text,
                    finish: report.output.finish,
                }
            })
    }
}

/// A schedule on its way, looked at from all sides.
struct Watch<'a> {
    family: &'a mut Family,
    schedule: &'a Schedule,
    scheduler: Scheduler,
    log: Rc<RefCell<Log>>,
    limit: Option<usize>,
    asked: BTreeMap<SessionId, Ask>,
    /// Steps before each came.
    came: BTreeMap<SessionId, usize>,
    /// When step 0 is; each takes a millisecond.
    start: Instant,
    cancelled: BTreeSet<SessionId>,
    ends: Ends,
    /// In which step each ended.
    ended_at: BTreeMap<SessionId, usize>,
    /// In which step something was first shown of each.
    shown_at: BTreeMap<SessionId, usize>,
    steps: usize,
    idle_steps: usize,
    /// How often a session gave its caches up, where that can be told.
    begun_again: usize,
}

type Outcome<T = ()> = Result<T, TestCaseError>;

impl<'a> Watch<'a> {
    fn new(family: &'a mut Family, schedule: &'a Schedule) -> Self {
        let mut engine = HashingEngine::default();
        engine.ahead = schedule.ahead;
        if let Some(one_in) = schedule.failures {
            let mut state = one_in;
            engine.fails = Box::new(move |_: Work<'_>| {
                state = mix(state, one_in);
                state.is_multiple_of(one_in)
            });
        }
        let log = engine.log();
        let limit = schedule
            .spare
            .map(|spare| family.largest + family.needs / 4 * spare);
        let options = SchedulerOptions {
            memory_limit: limit,
            cache_limit: schedule.cache_limit,
            token_budget: schedule.token_budget,
            max_sessions: schedule.max_sessions,
        };
        Self {
            scheduler: Scheduler::new(Arc::clone(&family.model), Box::new(engine), options),
            family,
            schedule,
            log,
            limit,
            asked: BTreeMap::new(),
            came: BTreeMap::new(),
            start: Instant::now(),
            cancelled: BTreeSet::new(),
            ends: Ends::default(),
            ended_at: BTreeMap::new(),
            shown_at: BTreeMap::new(),
            steps: 0,
            idle_steps: 0,
            begun_again: 0,
        }
    }

    fn run(&mut self) -> Outcome {
        for action in &self.schedule.actions {
            match action {
                Action::Ask(ask) => self.submit(*ask)?,
                Action::Steps(count) => {
                    for _ in 0..*count {
                        self.step()?;
                    }
                }
                Action::Cancel(index) if !self.asked.is_empty() => {
                    let ids: Vec<_> = self.asked.keys().copied().collect();
                    self.cancel(*index.get(&ids))?;
                }
                Action::Cancel(_) => {}
                Action::CancelAll => self.cancel_all()?,
            }
        }
        while !self.scheduler.is_idle() {
            prop_assert!(self.steps < 20_000, "it does not come to an end");
            self.step()?;
        }
        self.end()
    }

    fn submit(&mut self, ask: Ask) -> Outcome {
        let options = options(ask);
        let request = &self.family.requests[ask.request];
        // One that could never fit, beside those that do.
        if let Some(limit) = self.limit {
            let held = self.scheduler.backend().memory();
            let endless = self.scheduler.prepare(request, limit, ask.chunk).unwrap();
            let refused = self.scheduler.submit(endless, options.clone(), self.now());
            let refused = match refused {
                Err(RequestError::TooLarge {
                    estimate,
                    limit: told,
                }) => estimate.total() > limit && told.bytes == limit,
                _ => false,
            };
            prop_assert!(refused, "what can never fit is refused");
            prop_assert_eq!(self.scheduler.backend().memory(), held);
        }
        let prepared = self
            .scheduler
            .prepare(request, options.max_tokens, ask.chunk)
            .unwrap();
        let [longest_wait, longest] = ask.times.map(|steps| steps.map(Duration::from_millis));
        let terms = Terms {
            longest_wait,
            longest,
            class: match ask.bulk {
                true => Class::Bulk,
                false => Class::Interactive,
            },
            ..Terms::from(self.now())
        };
        let id = self.scheduler.submit(prepared, options, terms).unwrap();
        self.asked.insert(id, ask);
        self.came.insert(id, self.steps);
        Ok(())
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.steps as u64)
    }

    fn step(&mut self) -> Outcome {
        let idle = self.scheduler.is_idle();
        let (passes, encodes, sequences, dropped) = {
            let log = self.log.borrow();
            (log.passes.len(), log.encodes, log.sequences, log.dropped)
        };
        self.steps += 1;
        let is_late = |id: &SessionId| {
            let limit = self.asked[id].times[1];
            limit.is_some_and(|limit| self.steps - self.came[id] > limit as usize)
        };
        let answering = self
            .shown_at
            .keys()
            .any(|id| !self.ends.is_over(*id) && !self.cancelled.contains(id) && !is_late(id));
        let events = self.scheduler.step_at(self.now());
        let happened = !events.is_empty();
        for (id, _) in &events {
            self.shown_at.entry(*id).or_insert(self.steps);
        }
        let over = self.ends.count();
        self.ends.take(events);
        if self.ends.count() > over {
            for id in self.asked.keys() {
                if self.ends.is_over(*id) {
                    self.ended_at.entry(*id).or_insert(self.steps);
                }
            }
        }
        let log = self.log.borrow();
        prop_assert!(log.faults.is_empty(), "{:?}", log.faults);
        // 4: the budgets. Each of the passes of a step has its own padding; a pass that failed is run again one by one.
        if self.schedule.failures.is_none() {
            let rows = |pass: &Vec<(SequenceId, usize, usize)>| -> usize {
                pass.iter().map(|(_, _, rows)| rows).sum()
            };
            let all: usize = log.passes[passes..].iter().map(rows).sum();
            let budget = match log.passes[passes..].first().map_or(0, Vec::len) {
                0 | 1 => self.schedule.token_budget.max(512),
                _ => self.schedule.token_budget,
            };
            // Padding is less than a third, or 31 rows.
            let padded = 32 * (log.passes.len() - passes) + (budget + self.schedule.max_sessions) / 3;
            let most = budget + self.schedule.max_sessions + self.family.together + padded;
            prop_assert!(all <= most, "{all} rows in a step, and {most} may be");
        }
        // One slice while anybody waits for a token; a picture that goes on alone, some.
        let most = match answering && self.limit.is_none() {
            true => 1,
            false => 32,
        };
        prop_assert!(log.encodes <= encodes + most, "more than a slice in a step");
        for pass in &log.passes[passes..] {
            prop_assert!(pass.len() <= self.schedule.max_sessions + 1, "too many sessions");
        }
        // Nothing else drops more sequences than sessions end, where none is kept.
        if self.schedule.failures.is_none() && self.schedule.cache_limit == 0 {
            self.begun_again += (log.dropped - dropped).saturating_sub(self.ends.count() - over);
        }
        // 5: progress. A picture's pixels may be all that a step does.
        let worked = log.passes.len() > passes || log.encodes > encodes || log.sequences > sequences;
        self.idle_steps = match worked || happened || idle {
            true => 0,
            false => self.idle_steps + 1,
        };
        let most = match self.schedule.cache_limit {
            0 => 1,
            _ => 1 + 2 * self.schedule.max_sessions,
        };
        prop_assert!(
            self.idle_steps <= most,
            "{} steps running that do nothing",
            self.idle_steps
        );
        drop(log);
        // 7: the limits.
        let kept = self.scheduler.cached_bytes();
        prop_assert!(
            kept.iter().all(|bytes| *bytes <= self.schedule.cache_limit),
            "{kept:?} kept"
        );
        if let Some(limit) = self.limit {
            let usage = self.scheduler.backend().memory();
            let within = limit - self.scheduler.weight_bytes();
            prop_assert!(usage.peak <= within, "{usage:?}, and {within} may be");
        }
        Ok(())
    }

    fn cancel(&mut self, id: SessionId) -> Outcome {
        if !self.ends.is_over(id) {
            self.cancelled.insert(id);
        }
        self.scheduler.cancel(id);
        self.step()?;
        prop_assert!(self.ends.is_over(id), "{id:?} goes on after it was cancelled");
        Ok(())
    }

    fn cancel_all(&mut self) -> Outcome {
        let alive: Vec<_> = self
            .asked
            .keys()
            .filter(|id| !self.ends.is_over(**id))
            .copied()
            .collect();
        for id in &alive {
            self.scheduler.cancel(*id);
        }
        self.cancelled.extend(alive);
        self.step()?;
        prop_assert!(self.scheduler.is_idle());
        self.nothing_is_left()
    }

    /// 7 and 9, to the byte.
    fn nothing_is_left(&self) -> Outcome {
        let held = self.scheduler.backend().memory().active;
        let [features, sequences] = self.scheduler.cached_bytes();
        prop_assert_eq!(
            held,
            features + sequences,
            "bytes that are held, and that are kept"
        );
        Ok(())
    }

    fn end(&mut self) -> Outcome {
        prop_assert_eq!(self.ends.count(), self.asked.len());
        self.nothing_is_left()?;
        self.scheduler.clear_caches();
        prop_assert_eq!(self.scheduler.backend().memory().active, 0);
        let log = self.log.borrow();
        // Nobody's rows have one.
        prop_assert!(log.sequences <= log.dropped + 1, "sequences are left");
        // A failed pass of one sequence ends its session, and so does an encoder run.
        let alone = log.failed.get(&1).copied().unwrap_or(0) + log.failed_encodes;
        let (late, failed): (Vec<_>, Vec<_>) = self
            .ends
            .failed
            .iter()
            .partition(|(_, error)| error.starts_with("the request has "));
        prop_assert!(failed.len() <= alone, "{:?}", failed);
        // Those whose time is over end with the step in which it is, and no other.
        for (id, error) in late {
            let [wait, whole] = self.asked[id]
                .times
                .map(|steps| steps.map(|steps| steps as usize + 1));
            let limit = match error.contains("to begin") {
                true => wait,
                false => whole,
            };
            prop_assert_eq!(Some(self.ended_at[id] - self.came[id]), limit, "{}", error);
        }
        for (id, ask) in &self.asked {
            let whole = ask.times[1].map_or(usize::MAX, |steps| steps as usize + 1);
            prop_assert!(
                self.ended_at[id] - self.came[id] <= whole,
                "{id:?} was not ended in time"
            );
        }
        let mut needed: BTreeSet<u64> = BTreeSet::new();
        // Nobody's rows.
        needed.extend(hashes(&[0; 1024]));
        for (id, ask) in &self.asked {
            let prompt = self.family.prompts[ask.request].clone();
            let expected = self.family.alone(*ask);
            let name = format!("{id:?}, {ask:?}");
            // The last token needs no row, unless it was asked for before the token was known.
            let answer = &expected.tokens[..expected.tokens.len().min(ask.tokens - 1)];
            needed.extend(hashes(&[&prompt, answer].concat()));
            match self.ends.done.get(id) {
                // Without a token, it is empty.
                Some(report)
                    if report.output.finish == FinishReason::Cancelled
                        || (report.output.finish == FinishReason::Empty && self.cancelled.contains(id)) =>
                {
                    prop_assert!(self.cancelled.contains(id), "{}", name);
                    prop_assert!(expected.tokens.starts_with(&report.token_ids), "{}", name);
                }
                Some(report) => {
                    prop_assert_eq!(&report.token_ids, &expected.tokens, "{}", name);
                    prop_assert_eq!(&report.output.text, &expected.text, "{}", name);
                    prop_assert_eq!(&report.output.finish, &expected.finish, "{}", name);
                    // 6: an answer goes on at every step; what works ahead shows it one step later.
                    let undisturbed = self.limit.is_none() && self.schedule.failures.is_none();
                    let first = self.shown_at[id];
                    let steps = self.ended_at[id] - first;
                    prop_assert!(
                        !undisturbed || steps <= report.token_ids.len() + 1,
                        "{}: {} steps",
                        name,
                        steps
                    );
                }
                None => {
                    let known = self.cancelled.contains(id) || self.ends.failed.contains_key(id);
                    prop_assert!(known, "{}", name);
                }
            }
        }
        // 15: no row that nobody needs.
        let strange = log.rows.iter().filter(|row| !needed.contains(row)).count();
        prop_assert_eq!(strange, 0, "rows that no answer needs");
        // 6: where one runs at a time, the first to come is the first to end.
        if self.schedule.max_sessions == 1 {
            for bulk in [false, true] {
                let order = self.ends.order.iter();
                let order =
                    order.filter(|id| self.ends.done.contains_key(id) && !self.cancelled.contains(id));
                let order: Vec<_> = order.filter(|id| self.asked[id].bulk == bulk).collect();
                prop_assert!(order.is_sorted(), "{:?}", order);
            }
        }
        Ok(())
    }

    fn cover(&self, coverage: &mut Coverage) {
        let log = self.log.borrow();
        coverage.asked += self.asked.len();
        coverage.done += self.ends.done.len();
        coverage.cancelled += self.cancelled.len();
        coverage.failed += self.ends.failed.len();
        let late = |error: &&String| error.starts_with("the request has ");
        coverage.late += self.ends.failed.values().filter(late).count();
        coverage.forks += log.forks;
        coverage.forks_refused += log.forks_refused;
        coverage.begun_again += self.begun_again;
        coverage.failed_together += log.failed.iter().filter(|(count, _)| **count > 1).count();
        coverage.cached_pictures += self
            .ends
            .done
            .values()
            .map(|report| report.prompt.cached_pictures)
            .sum::<usize>();
    }
}

/// Hashes of the ids up to each token, as the engine writes them down.
fn hashes(ids: &[u32]) -> Vec<u64> {
    let hashes = ids.iter().scan(0, |hash, id| {
        *hash = mix(*hash, u64::from(*id));
        Some(*hash)
    });
    hashes.collect()
}

fn runner(cases: u32) -> TestRunner {
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 400,
        ..Config::default()
    };
    // The same schedules each time.
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]))
}

fn check(folder: &'static str) {
    let mut family = Family::open(folder);
    let cases = schedules().div_ceil(FAMILIES.len() as u32);
    let requests = family.requests.len();
    let mut coverage = Coverage::default();
    run(folder, &mut family, cases, &schedule(requests), &mut coverage);
    run(
        folder,
        &mut family,
        cases.div_ceil(10),
        &crowd(requests),
        &mut coverage,
    );
    println!("{folder}: {cases} schedules, {coverage:?}");
    let Coverage {
        done,
        cancelled,
        failed,
        begun_again,
        failed_together,
        late,
        ..
    } = coverage;
    let all = [done, cancelled, failed, begun_again, failed_together, late];
    // A few schedules need not come to all of it.
    assert!(
        cases < 30 || all.iter().all(|count| *count > 0),
        "not all was tried: {coverage:?}"
    );
}

fn run(
    folder: &str,
    family: &mut Family,
    cases: u32,
    strategy: &impl Strategy<Value = Schedule>,
    coverage: &mut Coverage,
) {
    let family = RefCell::new(family);
    let coverage = RefCell::new(coverage);
    let result = runner(cases).run(strategy, |schedule| {
        let mut family = family.borrow_mut();
        let mut watch = Watch::new(&mut family, &schedule);
        let outcome = watch.run();
        watch.cover(&mut coverage.borrow_mut());
        outcome
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, schedule)) => panic!("{folder}: {reason}\n{schedule:#?}"),
        Err(error) => panic!("{folder}: {error}"),
    }
}

#[test]
fn plain() {
    check("smolvlm");
}

#[test]
fn windows_and_pictures_that_see_themselves() {
    check("gemma3");
}

#[test]
fn positions_of_three_axes() {
    check("qwen2_vl");
}

#[test]
fn features_in_several_layers() {
    check("qwen3_vl");
}

#[test]
fn convolutions() {
    check("lfm2_vl");
}

#[test]
fn cross_attention() {
    check("mllama");
}

#[test]
fn a_prefix_that_sees_itself() {
    check("paligemma2");
}

#[test]
fn the_same_arrivals_give_the_same_schedule() {
    let mut family = Family::open("smolvlm");
    let strategy = schedule(family.requests.len());
    let mut runner = runner(1);
    let mut compared = 0;
    for _ in 0..12 {
        let schedule = strategy.new_tree(&mut runner).unwrap().current();
        let mut passes: [Vec<_>; 2] = [(); 2].map(|()| {
            let mut watch = Watch::new(&mut family, &schedule);
            watch.run().unwrap();
            std::mem::take(&mut watch.log.borrow_mut().passes)
        });
        // Sequences have numbers by the order in which they are made.
        let [first, second] = &mut passes;
        assert_eq!(first, second);
        compared += first.len();
    }
    assert!(compared > 100);
}

/// What a session answers alone here is what it answers without any scheduler.
#[test]
fn alone_is_without_a_scheduler() {
    for folder in FAMILIES {
        let mut family = Family::open(folder);
        for request in 0..family.requests.len() {
            let trace = family.plain.trace(&family.requests[request], 7, 19).unwrap();
            let ask = Ask {
                request,
                tokens: 19,
                chunk: 512,
                way: Way::Likeliest,
                bulk: false,
                times: [None; 2],
            };
            let alone = family.alone(ask);
            assert!(trace.tokens.starts_with(&alone.tokens), "{folder}, {request}");
        }
    }
}
