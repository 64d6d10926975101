//! What an answer is worth to somebody who catalogues photos: 0 to 100 in parts, and a letter.

use serde::{Deserialize, Serialize};

use crate::findings::{Asked, Finding, Rule, Said, echoed_share, text::content_words};
use crate::structure::Structure;

/// A grade and its parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grade {
    /// `A` (85 and more), `B` (70), `C` (55), `D` (40), `F`.
    pub letter: char,
    /// Of 100.
    pub points: u32,
    /// What they are made of.
    pub parts: Vec<Part>,
}

/// A part of a grade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Of what.
    pub name: String,
    /// How many there are.
    pub points: u32,
    /// Of how many.
    pub of: u32,
}

/// Keywords that earn all points where no number is asked for.
const KEYWORDS: usize = 10;
/// Words of meaning in a description that earn all points.
const DESCRIPTION_WORDS: usize = 12;

/// The grade of an answer with these findings.
pub fn grade(asked: &Asked, said: &Said, findings: &[Finding]) -> Grade {
    let has = |rule: Rule| findings.iter().any(|finding| finding.rule == rule);
    let structure = Structure::of(&said.text);
    let described = structure
        .description
        .as_deref()
        .unwrap_or(match structure.missing().len() {
            3 => said.text.as_str(),
            _ => "",
        });
    let title = structure.title.as_ref().map_or(0, |title| {
        let words = title.split_whitespace().count();
        if (2..=15).contains(&words) { 15 } else { 8 }
    });
    let meant = content_words(described).len();
    let description = share(25, meant, DESCRIPTION_WORDS);
    let (least, most) = asked.keywords.unwrap_or((KEYWORDS, usize::MAX));
    let own = structure.keywords.len() - structure.duplicates().len();
    let keywords = match own {
        own if own > most => 25_u32.saturating_sub(share(10, own - most, most)),
        own => share(25, own, least),
    };
    // What the context said already adds nothing: all points up to half of it, none where there is nothing else.
    let new = match echoed_share(&asked.context, &said.text) {
        _ if has(Rule::Empty) => 0,
        Some(echoed) if asked.context.is_empty() || echoed <= 50 => 20,
        Some(echoed) => (100 - echoed as u32) * 20 / 50,
        None if asked.context.is_empty() => 20,
        None => share(20, content_words(&said.text).len(), DESCRIPTION_WORDS),
    };
    let ungrave = findings.iter().filter(|finding| !finding.rule.is_grave()).count() as u32;
    let clean = match has(Rule::Empty) {
        true => 0,
        false => 15_u32.saturating_sub(5 * ungrave),
    };
    let parts = [
        ("title", title, 15),
        ("description", description, 25),
        ("keywords", keywords, 25),
        ("not the context's words", new, 20),
        ("free of findings", clean, 15),
    ];
    let points: u32 = parts.iter().map(|(_, points, _)| points).sum();
    let most = match findings.iter().filter(|finding| finding.rule.is_grave()).count() {
        _ if has(Rule::Empty) || has(Rule::Refusal) => 0,
        0 => 100,
        _ => 39,
    };
    let points = points.min(most);
    Grade {
        letter: letter(points),
        points,
        parts: parts
            .into_iter()
            .map(|(name, points, of)| Part {
                name: name.to_owned(),
                points,
                of,
            })
            .collect(),
    }
}

fn share(of: u32, found: usize, enough: usize) -> u32 {
    (of as usize * found.min(enough) / enough.max(1)) as u32
}

fn letter(points: u32) -> char {
    match points {
        85.. => 'A',
        70.. => 'B',
        55.. => 'C',
        40.. => 'D',
        _ => 'F',
    }
}
