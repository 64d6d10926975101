//! Which rows the next step computes: a function of plain numbers, without a clock, so that the same arrivals give the same schedule.

use std::ops::Range;

use super::terms::Class;

/// So many steps running a prompt of bulk work may have no rows because of others; then it goes before them for a step.
pub const PATIENCE: usize = 16;

/// What there is to know of a session that may have rows computed.
pub struct Candidate<'a> {
    /// Tokens that are computed.
    pub computed: usize,
    /// Tokens that are known.
    pub known: usize,
    /// The most rows of one step.
    pub chunk: usize,
    /// Whom it goes before.
    pub class: Class,
    /// Steps running in which it had no rows.
    pub passed: usize,
    /// Where rows that begin here, and should be so many, must end: tokens that see each other stay together.
    pub end: &'a dyn Fn(usize, usize) -> usize,
}

/// Answers that have a row in the next step, and whether somebody reads one of them.
pub fn answers(candidates: &[Candidate<'_>]) -> (usize, bool) {
    let answering = candidates
        .iter()
        .filter(|candidate| candidate.known - candidate.computed == 1);
    let is_read = answering
        .clone()
        .any(|candidate| candidate.class == Class::Interactive);
    (answering.count(), is_read)
}

/// The most rows of the next step, where it may have `most`: where somebody waits for the next token of one of these [`answers`], prompts
/// have `beside`, or what would be filled up.
pub fn budget(answers: (usize, bool), most: usize, beside: usize) -> usize {
    match answers {
        (count, true) => most.min(rounded(count + beside)),
        (_, false) => most,
    }
}

/// The rows of the next step: for each session that has any, its place in `candidates` and which of its tokens. Candidates come in the order
/// of their arrival.
///
/// Sessions that wait for one token's row come first, all of them: their answers go on. What is left of `budget` rows goes to prompts, the
/// oldest first and bulk work last, unless it has waited for long; the first always gets a row at least, and tokens that must stay together
/// may exceed the budget for it.
pub fn schedule(candidates: &[Candidate<'_>], budget: usize) -> Vec<(usize, Range<usize>)> {
    let mut rows = Vec::new();
    let mut left = budget;
    for (index, candidate) in candidates.iter().enumerate() {
        if candidate.known - candidate.computed == 1 {
            rows.push((index, candidate.computed..candidate.known));
            left = left.saturating_sub(1);
        }
    }
    let mut prompts: Vec<_> = candidates.iter().enumerate().collect();
    prompts.retain(|(_, candidate)| candidate.known - candidate.computed > 1);
    prompts.sort_by_key(|(_, candidate)| match candidate.class {
        Class::Bulk if candidate.passed >= PATIENCE => 0,
        Class::Interactive => 1,
        Class::Bulk => 2,
    });
    let mut first = true;
    for (index, candidate) in prompts {
        let size = match first {
            true => left.max(1),
            false => left,
        };
        if size == 0 {
            break;
        }
        let end = (candidate.end)(candidate.computed, size.min(candidate.chunk));
        let count = end - candidate.computed;
        // What must stay together is not begun beside others if it does not fit.
        if !first && count > left {
            break;
        }
        rows.push((index, candidate.computed..end));
        left = left.saturating_sub(count);
        first = false;
    }
    rows.sort_by_key(|(index, _)| *index);
    rows
}

/// So many rows or a few more: steps of several sessions come in few sizes, so that few programs are recorded.
pub fn rounded(rows: usize) -> usize {
    match rows {
        0..=4 => rows.next_power_of_two(),
        5..=16 => rows.next_multiple_of(4),
        17..=64 => rows.next_multiple_of(8),
        _ => rows.next_multiple_of(32),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn anywhere(known: usize) -> impl Fn(usize, usize) -> usize {
        move |start, size| (start + size).min(known)
    }

    fn schedule_of(sessions: &[(usize, usize)], budget: usize) -> Vec<(usize, Range<usize>)> {
        let ends: Vec<_> = sessions.iter().map(|(_, known)| anywhere(*known)).collect();
        let candidates: Vec<_> = sessions
            .iter()
            .zip(&ends)
            .map(|((computed, known), end)| Candidate {
                computed: *computed,
                known: *known,
                chunk: 512,
                class: Class::Interactive,
                passed: 0,
                end,
            })
            .collect();
        schedule(&candidates, budget)
    }

    #[test]
    fn answers_go_on_beside_a_long_prompt() {
        let rows = schedule_of(&[(0, 4000), (30, 31), (7, 8)], 512);
        assert_eq!(rows, [(0, 0..510), (1, 30..31), (2, 7..8)]);
    }

    #[test]
    fn a_prompt_has_few_rows_beside_answers_that_somebody_reads() {
        let end = anywhere(4000);
        let candidate = |class, known| Candidate {
            computed: 0,
            known,
            chunk: 512,
            class,
            passed: 0,
            end: &end,
        };
        let (bulk, other) = (Class::Bulk, Class::Interactive);
        let budget_of = |sessions: &[(Class, usize)]| {
            let candidates: Vec<_> = sessions
                .iter()
                .map(|(class, known)| candidate(*class, *known))
                .collect();
            budget(answers(&candidates), 512, 16)
        };
        assert_eq!(budget_of(&[(other, 4000), (bulk, 1)]), 512);
        // 17, 18: both are filled up to 24.
        assert_eq!(budget_of(&[(other, 4000), (other, 1)]), 24);
        assert_eq!(budget_of(&[(other, 4000), (other, 1), (bulk, 1)]), 24);
        assert_eq!(budget_of(&vec![(other, 1); 40]), 56);
        assert_eq!(budget_of(&vec![(other, 1); 300]), 320);
    }

    #[test]
    fn what_is_left_goes_to_the_next_prompt() {
        let rows = schedule_of(&[(100, 110), (0, 700), (0, 5)], 512);
        assert_eq!(rows, [(0, 100..110), (1, 0..502)]);
    }

    #[test]
    fn the_oldest_prompt_goes_on_where_answers_take_all_rows() {
        let rows = schedule_of(&[(3, 4), (0, 10), (5, 6), (0, 10)], 2);
        assert_eq!(rows, [(0, 3..4), (1, 0..1), (2, 5..6)]);
    }

    #[test]
    fn what_must_stay_together_may_exceed_the_budget_once() {
        let together = |_: usize, _: usize| 900;
        let candidate = || Candidate {
            computed: 0,
            known: 1000,
            chunk: 512,
            class: Class::Interactive,
            passed: 0,
            end: &together,
        };
        assert_eq!(schedule(&[candidate(), candidate()], 512), [(0, 0..900)]);
    }

    #[test]
    fn what_must_stay_together_is_not_begun_beside_others_where_it_does_not_fit() {
        let (first, block) = (anywhere(100), |_: usize, _: usize| 900);
        let candidate = |known, end| Candidate {
            computed: 0,
            known,
            chunk: 512,
            class: Class::Interactive,
            passed: 0,
            end,
        };
        let candidates = [
            candidate(100, &first as &dyn Fn(_, _) -> _),
            candidate(1000, &block),
        ];
        assert_eq!(schedule(&candidates, 512), [(0, 0..100)]);
        assert_eq!(schedule(&candidates, 1000), [(0, 0..100), (1, 0..900)]);
    }

    #[test]
    fn sizes_are_few() {
        let sizes: Vec<_> = [1, 2, 3, 4, 5, 8, 9, 13, 17, 33, 64, 65, 512].map(rounded).into();
        assert_eq!(sizes, [1, 2, 4, 4, 8, 8, 12, 16, 24, 40, 64, 96, 512]);
    }

    #[test]
    fn bulk_work_has_what_is_left_and_its_turn_now_and_then() {
        let end = anywhere(100);
        let candidate = |class, passed| Candidate {
            computed: 0,
            known: 100,
            chunk: 512,
            class,
            passed,
            end: &end,
        };
        let (bulk, other) = (Class::Bulk, Class::Interactive);
        let rows = |passed| schedule(&[candidate(bulk, passed), candidate(other, 0)], 120);
        assert_eq!(rows(0), [(0, 0..20), (1, 0..100)]);
        assert_eq!(rows(PATIENCE), [(0, 0..100), (1, 0..20)]);
    }

    proptest! {
        /// Prompts of the first class come and come; one of bulk work has rows at least every so many steps.
        #[test]
        fn bulk_work_is_not_left_waiting(
            others in prop::collection::vec(2_usize..400, 1..6),
            bulk in 2_usize..300,
            budget in 1_usize..200,
        ) {
            let (mut computed, mut passed, mut steps) = (0, 0, 0);
            while bulk - computed > 1 {
                let ends: Vec<_> = others.iter().map(|known| anywhere(*known)).collect();
                let own = anywhere(bulk);
                let candidate = |computed, known, class, passed, end| Candidate {
                    computed,
                    known,
                    chunk: 512,
                    class,
                    passed,
                    end,
                };
                let mut candidates = vec![candidate(computed, bulk, Class::Bulk, passed, &own as &dyn Fn(_, _) -> _)];
                let new = others.iter().zip(&ends);
                candidates.extend(new.map(|(known, end)| candidate(0, *known, Class::Interactive, 0, end as &dyn Fn(_, _) -> _)));
                let rows = schedule(&candidates, budget);
                match rows.iter().find(|(index, _)| *index == 0) {
                    Some((_, range)) => {
                        computed = range.end;
                        passed = 0;
                    }
                    None => passed += 1,
                }
                steps += 1;
                prop_assert!(passed <= PATIENCE);
                prop_assert!(steps <= bulk * (PATIENCE + 1));
            }
        }

        #[test]
        fn every_session_with_one_token_goes_on_and_somebody_does(
            sessions in prop::collection::vec((0_usize..50, 1_usize..600), 1..20),
            budget in 1_usize..600,
        ) {
            let sessions: Vec<_> = sessions.into_iter().map(|(computed, more)| (computed, computed + more)).collect();
            let rows = schedule_of(&sessions, budget);
            prop_assert!(!rows.is_empty());
            let mut total = 0;
            for (index, range) in &rows {
                prop_assert_eq!(range.start, sessions[*index].0);
                prop_assert!(range.end <= sessions[*index].1 && !range.is_empty());
                total += range.len();
            }
            let single = sessions.iter().filter(|(computed, known)| known - computed == 1).count();
            for (index, (computed, known)) in sessions.iter().enumerate() {
                prop_assert!(known - computed > 1 || rows.iter().any(|(scheduled, _)| *scheduled == index));
            }
            prop_assert!(total <= budget.max(single + 1));
            // The oldest prompt is not passed over.
            if let Some(oldest) = sessions.iter().position(|(computed, known)| known - computed > 1) {
                prop_assert!(rows.iter().any(|(index, _)| *index == oldest));
            }
        }
    }
}
