//! Names of weights: the manifest's rules for them, and the nearest ones when one is missing.

use std::borrow::Cow;

use regex::Regex;

use crate::error::{WeightsError, list};

/// How names in a checkpoint become the names that a plugin asks for.
#[derive(Debug, Clone, Default)]
pub struct NameRules {
    rename: Vec<(Regex, String)>,
    ignore: Vec<Regex>,
}

impl NameRules {
    /// `rename`: pairs of a regular expression and its replacement; `ignore`: regular expressions.
    pub fn new<'a>(
        rename: impl IntoIterator<Item = (&'a str, &'a str)>,
        ignore: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, WeightsError> {
        let rename = rename
            .into_iter()
            .map(|(pattern, new)| Ok((regex("weights.rename", pattern)?, new.to_owned())))
            .collect::<Result<_, WeightsError>>()?;
        let ignore = ignore
            .into_iter()
            .map(|pattern| regex("weights.ignore", pattern))
            .collect::<Result<_, _>>()?;
        Ok(Self { rename, ignore })
    }

    /// The name for `stored`: every rule applied, one after another; `None` when it is to be left out.
    pub fn apply(&self, stored: &str) -> Option<String> {
        if self.ignore.iter().any(|pattern| pattern.is_match(stored)) {
            return None;
        }
        let mut name = Cow::Borrowed(stored);
        for (pattern, new) in &self.rename {
            if let Cow::Owned(renamed) = pattern.replace_all(&name, new) {
                name = Cow::Owned(renamed);
            }
        }
        Some(name.into_owned())
    }
}

pub(crate) fn regex(key: &'static str, pattern: &str) -> Result<Regex, WeightsError> {
    Regex::new(pattern).map_err(|error| {
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
/// number of letters that differ.
pub(crate) fn hint<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 3;
    let mut near: Vec<(usize, &str)> = known
        .filter_map(|candidate| {
            if candidate.ends_with(&format!(".{name}")) || name.ends_with(&format!(".{candidate}")) {
                return Some((0, candidate));
            }
            let distance = strsim::levenshtein(name, candidate);
            (distance <= name.len().max(candidate.len()) / 3).then_some((distance, candidate))
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
