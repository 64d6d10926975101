//! What came of each check, for people and for programs.

use serde::Serialize;

/// One check.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// What came of it.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// What came of a check, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", content = "words", rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Passed(String),
    /// Not.
    Failed(Vec<String>),
    /// Not looked at, and why.
    Skipped(String),
}

impl Verdict {
    /// Failed where there are problems; of many, the first few are named.
    pub fn of(problems: &[String], fine: impl Into<String>) -> Self {
        const NAMED: usize = 4;
        if problems.is_empty() {
            return Self::Passed(fine.into());
        }
        let mut named: Vec<String> = problems.iter().take(NAMED).cloned().collect();
        if problems.len() > NAMED {
            named.push(format!("and {} more", problems.len() - NAMED));
        }
        Self::Failed(named)
    }
}

impl Check {
    /// A check.
    pub fn new(name: &'static str, verdict: Verdict) -> Self {
        Self { name, verdict }
    }

    /// Whether something is wrong.
    pub fn failed(&self) -> bool {
        matches!(self.verdict, Verdict::Failed(_))
    }
}

/// A line or more for each.
pub fn text(checks: &[Check]) -> String {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Check { name, verdict } in checks {
        let (mark, words) = match verdict {
            Verdict::Passed(words) => ("ok    ", words.clone()),
            Verdict::Skipped(words) => ("-     ", words.clone()),
            Verdict::Failed(problems) => ("FAILED", problems.join("\n")),
        };
        let words = words.replace('\n', &format!("\n{:1$}", "", width + 10));
        text.push_str(&format!("{mark}  {name:width$}  {words}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_problems_the_first_are_named() {
        let problems: Vec<String> = (0..9).map(|number| format!("problem {number}")).collect();
        let checks = [
            Check::new("a", Verdict::Passed("fine".to_owned())),
            Check::new("sizes", Verdict::of(&problems, "")),
        ];
        assert_eq!(
            text(&checks),
            "ok      a      fine\nFAILED  sizes  problem 0\n               problem 1\n               problem 2\n               \
             problem 3\n               and 5 more\n"
        );
        assert!(checks[1].failed() && !checks[0].failed());
    }
}
