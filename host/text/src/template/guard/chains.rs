//! Refuses templates whose expressions are chained too long: `a.b.b.b…`, `1 + 1 + 1 …`, `elif` after `elif`. The engine bounds brackets
//! within brackets, but it builds such chains as trees as deep as they are long and follows them by recursion, and a stack that has run out
//! cannot be caught. So they are counted on the template's tokens, before it is parsed.

use minijinja::machinery::{Token, tokenize};
use minijinja::syntax::SyntaxConfig;

/// Operations of a chain. The longest found in published templates has some forty.
const LONGEST: usize = 400;
/// Brackets within brackets. The engine's parser gives up at fewer, but not in the targets of loops.
const DEEPEST: usize = 100;

/// A template is chained or nested more than the engine can follow.
#[derive(Debug, PartialEq, Eq)]
pub struct TooNested {
    /// The line, counted from 1.
    pub line: usize,
    /// What there is too much of.
    pub reason: String,
}

/// What stands in one pair of brackets, or in a tag: how deep the tree is that the engine makes of it.
#[derive(Default)]
struct Level {
    /// Of the item that is being read.
    now: usize,
    /// Of the deepest one before it.
    before: usize,
}

/// Looks for chains. What is not valid is left to the engine, which says why.
pub fn check_nesting(template: &str) -> Result<(), TooNested> {
    let mut levels = vec![Level::default()];
    // For each `if` that is open, the number of its `elif`s.
    let mut branches: Vec<usize> = Vec::new();
    // The sum of them.
    let mut elifs = 0;
    let mut first = false;
    for token in tokenize(template, false, SyntaxConfig::default()) {
        let Ok((token, span)) = token else { return Ok(()) };
        let too_nested = |reason: String| {
            let before = template.get(..span.start_offset as usize).unwrap_or(template);
            let line = before.matches('\n').count() + 1;
            Err(TooNested { line, reason })
        };
        match &token {
            Token::VariableStart | Token::BlockStart => {
                levels.clear();
                levels.push(Level::default());
            }
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => {
                levels.push(Level::default());
                if levels.len() > DEEPEST {
                    return too_nested(format!("brackets are nested more than {DEEPEST} deep"));
                }
            }
            Token::ParenClose | Token::BracketClose | Token::BraceClose => {
                let inner = levels.pop().map_or(0, |level| level.now.max(level.before));
                match levels.last_mut() {
                    Some(level) => level.now = level.now.max(inner) + 1,
                    // One that was never opened: the parser will say so.
                    None => levels.push(Level::default()),
                }
            }
            Token::Comma | Token::Colon => {
                if let Some(level) = levels.last_mut() {
                    level.before = level.before.max(level.now);
                    level.now = 0;
                }
            }
            Token::Ident(name) if first => match *name {
                "if" => branches.push(0),
                "elif" => {
                    if let Some(open) = branches.last_mut() {
                        *open += 1;
                        elifs += 1;
                    }
                }
                "endif" => elifs -= branches.pop().unwrap_or(0),
                _ => {}
            },
            Token::Ident("and" | "or" | "not" | "in" | "is" | "if" | "else") => chain(&mut levels),
            Token::Plus
            | Token::Minus
            | Token::Mul
            | Token::Div
            | Token::FloorDiv
            | Token::Pow
            | Token::Mod
            | Token::Dot
            | Token::Tilde
            | Token::Pipe
            | Token::Eq
            | Token::Ne
            | Token::Gt
            | Token::Gte
            | Token::Lt
            | Token::Lte => chain(&mut levels),
            _ => {}
        }
        first = matches!(token, Token::BlockStart);
        if levels.last().is_some_and(|level| level.now > LONGEST) {
            return too_nested(format!(
                "an expression is a chain of more than {LONGEST} operations"
            ));
        }
        if elifs > LONGEST {
            return too_nested(format!("more than {LONGEST} times `elif` in one `if`"));
        }
    }
    Ok(())
}

fn chain(levels: &mut [Level]) {
    if let Some(level) = levels.last_mut() {
        level.now += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn chains_of_every_kind_are_counted() {
        let long = |piece: &str| piece.repeat(LONGEST + 1);
        for template in [
            format!("{{{{ a{} }}}}", long(".b")),
            format!("{{{{ a{} }}}}", long("[0]")),
            format!("{{{{ a{} }}}}", long("()")),
            format!("{{{{ a{} }}}}", long("|string")),
            format!("{{{{ a{} }}}}", long("+1")),
            format!("{{{{ a{} }}}}", long("~a")),
            format!("{{{{ a{} }}}}", long(" and a")),
            format!("{{{{ a{} }}}}", long(" if a else a")),
            format!("{{{{ a{} }}}}", long(" is defined")),
            format!("{{{{ {}a }}}}", long("not ")),
            format!("{{{{ {}a }}}}", long("-")),
            format!("{{% set x = [1, (a{})] %}}", long(".b")),
            format!("{{{{ {}a{} }}}}", "(".repeat(90), "+1+1+1+1+1)".repeat(90)),
            format!("{{{{ {}a{} }}}}", "(".repeat(101), ")".repeat(101)),
            format!(
                "{{% for {}a{} in b %}}{{% endfor %}}",
                "(".repeat(101),
                ")".repeat(101)
            ),
            format!("{{% if a %}}{}{{% endif %}}", long("{% elif a %}")),
        ] {
            let found = check_nesting(&format!("a\n{template}"));
            assert_eq!(found.unwrap_err().line, 2, "{template}");
        }
    }

    #[test]
    fn many_open_tags_are_looked_through_at_once() {
        let started = Instant::now();
        let open = "{% if a %}{% elif b %}{% endif %}{% if a %}".repeat(200_000);
        assert_eq!(check_nesting(&open), Ok(()));
        // A promise of two seconds; looking at all that is open for each token took hours.
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{:?}",
            started.elapsed()
        );
        let many = format!(
            "{}{}",
            "{% if a %}".repeat(1000),
            "{% elif b %}".repeat(LONGEST + 1)
        );
        assert!(check_nesting(&many).is_err());
    }

    #[test]
    fn what_is_long_without_being_deep_is_not_refused() {
        for template in [
            format!("{{% set x = [{}] %}}", "a.b + 1, ".repeat(5000)),
            format!("{{% set x = {{{}}} %}}", "'a': a.b, ".repeat(5000)),
            "{{ a.b + 1 }}".repeat(5000),
            "{% if a %}{% elif b %}{% endif %}".repeat(5000),
            format!("{{{{ a{} }}}}", ".b".repeat(LONGEST)),
            ") ] }".repeat(10),
        ] {
            assert_eq!(check_nesting(&template), Ok(()));
        }
    }
}
