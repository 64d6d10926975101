//! Names of weights: the manifest's rules for them, and the nearest ones when one is missing.

use std::time::{Duration, Instant};

use regex::{Regex, RegexBuilder};

use crate::error::{WeightsError, list};

/// The most bytes of a name that a rule makes, and of a rule's replacement: together with the names that there are, no rule can make
/// more than half a MiB in one step.
const MAX_NAME_BYTES: usize = 1024;
/// Bytes of a compiled regular expression; manifests have the same bound.
const LARGEST_REGEX: usize = 512 << 10;
/// Bytes that each may use while it searches.
const REGEX_CACHE: usize = 128 << 10;
/// How long all rules may take for all names of a checkpoint. Those of real models take milliseconds.
const LONGEST: Duration = Duration::from_secs(10);

/// How names in a checkpoint become the names that a plugin asks for.
#[derive(Debug, Clone, Default)]
pub struct NameRules {
    rename: Vec<(Regex, String)>,
    ignore: Vec<Regex>,
    turn: Vec<Regex>,
}

/// How long rules have been at work, for all names of a checkpoint.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
    longest: Duration,
}

impl Clock {
    /// It starts now.
    pub(crate) fn start() -> Self {
        Self {
            started: Instant::now(),
            longest: LONGEST,
        }
    }

    /// Refuses the next step, which is this pattern's, where the time is over.
    fn look(&self, pattern: &Regex) -> Result<(), WeightsError> {
        match self.started.elapsed() > self.longest {
            true => Err(WeightsError::SlowRules {
                pattern: pattern.as_str().to_owned(),
                seconds: self.longest.as_secs(),
            }),
            false => Ok(()),
        }
    }
}

impl NameRules {
    /// `rename`: pairs of a regular expression and its replacement; `ignore`: regular expressions.
    pub fn new<'a>(
        rename: impl IntoIterator<Item = (&'a str, &'a str)>,
        ignore: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, WeightsError> {
        let rename = rename
            .into_iter()
            .map(|(pattern, new)| {
                let pattern = regex("weights.rename", pattern)?;
                if new.len() > MAX_NAME_BYTES {
                    return Err(WeightsError::LongName {
                        pattern: pattern.as_str().to_owned(),
                        made: format!("names with a replacement of {} bytes", new.len()),
                        limit: MAX_NAME_BYTES,
                    });
                }
                Ok((pattern, new.to_owned()))
            })
            .collect::<Result<_, WeightsError>>()?;
        let ignore = ignore
            .into_iter()
            .map(|pattern| regex("weights.ignore", pattern))
            .collect::<Result<_, _>>()?;
        let turn = Vec::new();
        Ok(Self { rename, ignore, turn })
    }

    /// The same, and the last two dimensions of tensors change places whose names in the checkpoint match one of these.
    pub fn with_turned<'a>(mut self, turn: impl IntoIterator<Item = &'a str>) -> Result<Self, WeightsError> {
        let turn = turn.into_iter().map(|pattern| regex("weights.turn", pattern));
        self.turn = turn.collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// Whether the last two dimensions of a tensor change places.
    pub(crate) fn turns(&self, stored: &str, clock: Clock) -> Result<bool, WeightsError> {
        matches_any(&self.turn, stored, clock)
    }

    /// The name for `stored`: every rule applied, one after another; `None` when it is to be left out. What a rule makes may have
    /// 1 KiB, and so may the names that rules are applied to: a step takes time with the length of the name.
    pub(crate) fn apply(&self, stored: &str, clock: Clock) -> Result<Option<String>, WeightsError> {
        let has_rules = !(self.ignore.is_empty() && self.rename.is_empty());
        if has_rules && stored.len() > MAX_NAME_BYTES {
            return Err(WeightsError::LongStoredName {
                start: cut_short(stored).to_owned(),
                bytes: stored.len(),
                limit: MAX_NAME_BYTES,
            });
        }
        if matches_any(&self.ignore, stored, clock)? {
            return Ok(None);
        }
        let mut name = stored.to_owned();
        for (pattern, new) in &self.rename {
            if let Some(renamed) = replace(pattern, new, &name, clock)? {
                name = renamed;
            }
        }
        Ok(Some(name))
    }
}

fn matches_any(patterns: &[Regex], name: &str, clock: Clock) -> Result<bool, WeightsError> {
    for pattern in patterns {
        clock.look(pattern)?;
        if pattern.is_match(name) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A name with every match replaced; `None` where there is no match. The length is looked at after each match, as one rule may have
/// many.
fn replace(pattern: &Regex, new: &str, name: &str, clock: Clock) -> Result<Option<String>, WeightsError> {
    let mut renamed = String::new();
    let mut at = 0;
    let mut matched = false;
    clock.look(pattern)?;
    for found in pattern.captures_iter(name) {
        clock.look(pattern)?;
        let whole = found.get_match();
        renamed.push_str(&name[at..whole.start()]);
        found.expand(new, &mut renamed);
        at = whole.end();
        matched = true;
        if renamed.len() > MAX_NAME_BYTES {
            break;
        }
    }
    if !matched {
        return Ok(None);
    }
    renamed.push_str(&name[at..]);
    if renamed.len() > MAX_NAME_BYTES {
        return Err(WeightsError::LongName {
            pattern: pattern.as_str().to_owned(),
            made: format!(
                "a name of {} bytes or more of `{}`",
                MAX_NAME_BYTES + 1,
                cut_short(name)
            ),
            limit: MAX_NAME_BYTES,
        });
    }
    Ok(Some(renamed))
}

/// The start of a name, for a message.
fn cut_short(name: &str) -> &str {
    const SHOWN: usize = 80;
    &name[..name.floor_char_boundary(SHOWN)]
}

pub(crate) fn regex(key: &'static str, pattern: &str) -> Result<Regex, WeightsError> {
    let built = RegexBuilder::new(pattern)
        .size_limit(LARGEST_REGEX)
        .dfa_size_limit(REGEX_CACHE)
        .build();
    built.map_err(|error| {
        // The regex crate draws the pattern over several lines; the reason is the last.
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or_default().trim();
        WeightsError::BadPattern {
            key,
            pattern: pattern.to_owned(),
            reason: reason.strip_prefix("error: ").unwrap_or(reason).to_owned(),
        }
    })
}

/// The names nearest to `name`, for an error message: first those that differ only by what stands before, then by the
/// number of letters that differ. Long names are not compared, and not all where there are very many: a hint is worth no wait.
pub(crate) fn hint<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 3;
    const LONGEST: usize = 256;
    // Steps of the comparison, a letter against a letter: tens of milliseconds.
    const MOST_STEPS: usize = 1 << 25;
    if name.len() > LONGEST {
        return String::new();
    }
    let tail = format!(".{name}");
    let mut steps = 0;
    let mut near: Vec<(usize, &str)> = known
        .filter(|candidate| candidate.len() <= LONGEST)
        .filter_map(|candidate| {
            let is_longer = name
                .strip_suffix(candidate)
                .is_some_and(|before| before.ends_with('.'));
            if candidate.ends_with(&tail) || is_longer {
                return Some((0, candidate));
            }
            let most = name.len().max(candidate.len()) / 3;
            steps += name.len() * candidate.len();
            if name.len().abs_diff(candidate.len()) > most || steps > MOST_STEPS {
                return None;
            }
            let distance = strsim::levenshtein(name, candidate);
            (distance <= most).then_some((distance, candidate))
        })
        .collect();
    near.sort_unstable();
    let near: Vec<String> = near
        .into_iter()
        .take(SHOWN)
        .map(|(_, name)| name.to_owned())
        .collect();
    if near.is_empty() {
        String::new()
    } else {
        format!("; nearest: {}", list(&near))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(rename: &[(&str, &str)]) -> Result<NameRules, WeightsError> {
        NameRules::new(rename.iter().copied(), [])
    }

    #[test]
    fn every_match_is_replaced() {
        let rules = rules(&[("l(ayer)?s?", "<$1>"), (r"\.$", "")]).unwrap();
        assert_eq!(
            rules.apply("a.layers.l.x.", Clock::start()).unwrap().as_deref(),
            Some("a.<ayer>.<>.x")
        );
        assert_eq!(rules.apply("a.", Clock::start()).unwrap().as_deref(), Some("a"));
        assert_eq!(rules.apply("", Clock::start()).unwrap().as_deref(), Some(""));
    }

    #[test]
    fn rules_that_make_names_long_are_refused() {
        let doubling = [("^(.*)$", "$1$1"); 40];
        let message = rules(&doubling)
            .unwrap()
            .apply("model.norm.weight", Clock::start())
            .unwrap_err()
            .to_string();
        assert_eq!(
            message,
            format!(
                "`^(.*)$` in `weights.rename` makes a name of 1025 bytes or more of `{}`; names may have 1024 bytes: make its \
                 pattern or its replacement narrower",
                &"model.norm.weight".repeat(32)[..80]
            )
        );
        // 17 bytes, doubled five times, are 544; six times, 1088.
        assert_eq!(
            rules(&doubling[..5])
                .unwrap()
                .apply("model.norm.weight", Clock::start())
                .unwrap(),
            Some("model.norm.weight".repeat(32))
        );
        assert!(
            rules(&doubling[..6])
                .unwrap()
                .apply("model.norm.weight", Clock::start())
                .is_err()
        );
        let long = "x".repeat(1025);
        let message = rules(&[("a", &long)]).unwrap_err().to_string();
        assert!(
            message.contains("`a` in `weights.rename` makes names with a replacement of 1025 bytes"),
            "{message}"
        );
        // Many matches in one name.
        let many = rules(&[("", &long[..1024])]).unwrap();
        let message = many.apply(&"n".repeat(1024), Clock::start()).unwrap_err();
        assert!(message.to_string().len() < 1000, "{message}");
        // A name that is too long for any rule.
        let message = many
            .apply(&"n".repeat(1 << 20), Clock::start())
            .unwrap_err()
            .to_string();
        assert!(
            message.len() < 1000 && message.contains("1048576 bytes"),
            "{message}"
        );
        let none = rules(&[]).unwrap();
        assert!(none.apply(&"n".repeat(1 << 20), Clock::start()).is_ok());
    }

    #[test]
    fn rules_look_at_a_clock() {
        // Each takes about as many steps as the pattern has states for each letter of a name.
        let costly = ["[a-z]{0,1500}[0-9]"; 64];
        let name = "a".repeat(500);
        let clock = Clock {
            started: Instant::now(),
            longest: Duration::from_millis(300),
        };
        let until_over = |apply: &dyn Fn() -> Result<(), WeightsError>| {
            let start = Instant::now();
            let error = loop {
                // All that a real checkpoint has, and more: the clock must be looked at between names and within them.
                match apply() {
                    Err(error) => break error,
                    Ok(()) => assert!(
                        start.elapsed() < Duration::from_secs(30),
                        "nobody looks at the clock"
                    ),
                }
            };
            assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
            let message = error.to_string();
            assert!(
                message.contains("`[a-z]{0,1500}[0-9]`") && message.contains("took longer than"),
                "{message}"
            );
        };
        let ignoring = NameRules::new([], costly).unwrap();
        until_over(&|| ignoring.apply(&name, clock).map(drop));
        let renaming = NameRules::new(costly.map(|pattern| (pattern, "x")), []).unwrap();
        until_over(&|| renaming.apply(&name, clock).map(drop));
        let turning = NameRules::default().with_turned(costly).unwrap();
        until_over(&|| turning.turns(&name, clock).map(drop));
    }

    #[test]
    fn hints_cost_little() {
        let start = std::time::Instant::now();
        let many: Vec<String> = (0..200_000)
            .map(|at| format!("model.layers.{at}.mlp.experts.down_proj.weight"))
            .collect();
        let near = hint(
            "model.layers.7.mlp.expert.down_proj.weight",
            many.iter().map(String::as_str),
        );
        assert!(
            near.contains("`model.layers.7.mlp.experts.down_proj.weight`"),
            "{near}"
        );
        let long = "x".repeat(1 << 20);
        assert_eq!(hint(&long, many.iter().map(String::as_str)), "");
        assert_eq!(hint("x.y", [long.as_str()].into_iter()), "");
        assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
    }
}
