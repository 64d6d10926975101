//! How many prompt rows go beside answers that somebody reads: so many that a step takes less than twice as long as one of answers alone. On a
//! GPU a hundred rows cost little, on a few cores each one counts, so this is learned from the times of the steps themselves. The clock is the
//! caller's ([`Scheduler::step_at`](super::Scheduler::step_at)): the same arrivals at the same times give the same schedule.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::policy::rounded;

/// Rows before anything is known.
const FIRST: usize = 16;
/// However slow they are, a prompt comes in at last.
pub const LEAST: usize = 4;

/// What a step had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Had {
    /// Rows of so many answers.
    Answers(usize),
    /// These, and as many prompt rows as they may have beside them.
    PromptsToo(usize),
    /// Anything else: its time says nothing.
    Other,
}

/// See the module.
pub struct Pace {
    rows: usize,
    most: usize,
    /// Times of steps of answers alone, by the number of rows that are computed for them.
    usual: BTreeMap<usize, Duration>,
    last: Option<(Instant, Had)>,
}

impl Pace {
    /// Nothing is known. There are never more rows than `most`.
    pub fn new(most: usize) -> Self {
        Self {
            rows: FIRST.min(most),
            most,
            usual: BTreeMap::new(),
            last: None,
        }
    }

    /// Prompt rows of the next step.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// A step begins, and so the one before it has ended.
    pub fn begins(&mut self, now: Instant) {
        let Some((began, had)) = self.last.replace((now, Had::Other)) else {
            return;
        };
        let took = now.saturating_duration_since(began);
        match had {
            Had::Other => {}
            Had::Answers(answers) => {
                let usual = self.usual.entry(rounded(answers)).or_insert(took);
                // A pause is not the machine's pace.
                *usual = (*usual * 7 + took.min(*usual * 4)) / 8;
            }
            Had::PromptsToo(answers) => {
                let Some(usual) = self.usual.get(&rounded(answers)) else {
                    return;
                };
                let rows = self.rows;
                if took > *usual * 17 / 10 {
                    self.rows = (rows - rows.div_ceil(4)).max(LEAST.min(self.most));
                } else if took < *usual * 13 / 10 {
                    self.rows = (rows + rows.div_ceil(4)).min(self.most);
                }
            }
        }
    }

    /// What the step that began last has.
    pub fn has(&mut self, had: Had) {
        if let Some((_, last)) = &mut self.last {
            *last = had;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps beside eight answers, which take 10 ms alone, on a machine where each prompt row takes so long.
    fn settled(row: Duration) -> usize {
        let mut pace = Pace::new(512);
        let mut now = Instant::now();
        for _ in 0..4 {
            pace.begins(now);
            pace.has(Had::Answers(8));
            now += Duration::from_millis(10);
        }
        for _ in 0..100 {
            pace.begins(now);
            pace.has(Had::PromptsToo(8));
            now += Duration::from_millis(10) + row * pace.rows() as u32;
        }
        pace.rows()
    }

    #[test]
    fn a_step_takes_less_than_twice_the_usual() {
        // Between 1.3 and 1.7 times as long.
        let rows = settled(Duration::from_micros(500));
        assert!((6..=14).contains(&rows), "{rows}");
        assert_eq!(settled(Duration::from_micros(1)), 512);
        assert_eq!(settled(Duration::from_secs(1)), LEAST);
    }

    #[test]
    fn steps_of_other_sizes_say_nothing() {
        let mut pace = Pace::new(512);
        let start = Instant::now();
        pace.begins(start);
        pace.has(Had::Answers(1));
        pace.begins(start + Duration::from_millis(1));
        // Of so many answers nothing is known.
        pace.has(Had::PromptsToo(32));
        pace.begins(start + Duration::from_secs(1));
        assert_eq!(pace.rows(), FIRST);
        pace.has(Had::PromptsToo(1));
        pace.begins(start + Duration::from_millis(1001));
        assert_eq!(pace.rows(), FIRST + FIRST / 4);
        // Nor of a step whose kind nobody told.
        pace.begins(start + Duration::from_secs(2));
        assert_eq!(pace.rows(), FIRST + FIRST / 4);
    }

    #[test]
    fn a_pause_hardly_changes_what_is_usual() {
        let mut pace = Pace::new(512);
        let mut now = Instant::now();
        for pause in [10, 10, 10, 60_000, 10, 0] {
            pace.begins(now);
            pace.has(Had::Answers(1));
            now += Duration::from_millis(pause);
        }
        // (7 * 10 + 4 * 10) / 8 = 13.75, then (7 * 13.75 + 10) / 8.
        let usual = pace.usual[&1].as_secs_f64();
        assert!((usual - 0.01328).abs() < 1e-4, "{usual}");
    }
}
