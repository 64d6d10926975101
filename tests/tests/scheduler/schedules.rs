//! A few random schedules on a real engine: arrivals, chunk sizes, cancels, budgets. Whatever the schedule, a request answers what it answers
//! alone. Many more, with more in them, run in [`super::hashed`].

use monocle_runtime::scheduler::SchedulerOptions;

use super::{Ends, FAMILIES, alone, open, options, run, submit};

/// Schedules of each family.
const SCHEDULES: u64 = 6;

/// xorshift64*, whose sequence is the same everywhere (Vigna, arXiv:1402.6246).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % end
    }
}

#[test]
fn no_schedule_changes_an_answer() {
    for folder in FAMILIES {
        let (mut plain, requests) = open(folder, SchedulerOptions::default());
        let expected: Vec<_> = requests
            .iter()
            .map(|request| alone(&mut plain, request, &options(14)))
            .collect();
        for seed in 1..=SCHEDULES {
            let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let (mut scheduler, _) = open(
                folder,
                SchedulerOptions {
                    cache_limit: [0, 150_000, 8 << 20][random.below(3)],
                    token_budget: [1, 3, 16, 64, 512][random.below(5)],
                    max_sessions: 1 + random.below(6),
                    memory_limit: None,
                },
            );
            let mut ends = Ends::default();
            let mut asked = Vec::new();
            let mut cancelled = Vec::new();
            for _ in 0..4 + random.below(8) {
                let number = random.below(requests.len());
                let mut options = options(1 + random.below(14));
                options.prefill_chunk = [1, 5, 17, 64, 512][random.below(5)];
                let id = submit(&mut scheduler, &requests[number], &options);
                asked.push((id, number, options.max_tokens));
                for _ in 0..random.below(6) {
                    ends.take(scheduler.step());
                }
                if random.below(4) == 0 {
                    let (id, ..) = asked[random.below(asked.len())];
                    scheduler.cancel(id);
                    cancelled.push(id);
                }
            }
            run(&mut scheduler, &mut ends);
            assert_eq!(
                ends.count(),
                asked.len(),
                "{folder}, seed {seed}: {:?}",
                ends.failed
            );
            assert!(ends.failed.is_empty(), "{folder}, seed {seed}: {:?}", ends.failed);
            for (id, number, tokens) in asked {
                let Some(report) = ends.done.get(&id) else {
                    assert!(cancelled.contains(&id), "{folder}, seed {seed}");
                    continue;
                };
                let whole = &expected[number][..tokens.min(expected[number].len())];
                match cancelled.contains(&id) {
                    true => assert!(whole.starts_with(&report.token_ids), "{folder}, seed {seed}"),
                    false => assert_eq!(report.token_ids, whole, "{folder}, seed {seed}"),
                }
            }
            // Nothing is left but what is kept, and that can be given back.
            scheduler.clear_caches();
            assert_eq!(scheduler.cached_bytes(), [0, 0]);
        }
    }
}
