//! What a photo is asked, and whether the answer will do.

use std::path::{Path, PathBuf};

use monocle_constraint::Constraint;
use monocle_runtime::plugin::contract::{Content, Message, Part};
use monocle_runtime::request::Request;
use monocle_runtime::request::pictures::PictureInput;
use monocle_survey::findings::{self, Asked, Rule, Said};
use monocle_survey::journal::Known;
use monocle_survey::metadata::Metadata;
use monocle_survey::sidecar;
use monocle_survey::structure::Structure;
use serde_json::json;

/// The most keywords of one answer.
const KEYWORDS: usize = 60;
/// The longest keyword, in characters; more is a sentence.
const LONGEST_KEYWORD: usize = 64;

/// What is asked where nobody says what.
const PROMPT: &str = "Describe this photo for a catalogue, in {language}. Answer with a JSON object of three keys:\n\
     \"title\": 3 to 12 words that name what is shown;\n\
     \"description\": one to three sentences on subject, place and action, only what can be seen;\n\
     \"keywords\": a list of 8 to 30 keywords, the most specific first.";

/// What a constrained answer may have, in characters and in number: even of a model that rambles, all of it comes to an end within 500 tokens
/// of four characters.
const TITLE: usize = 100;
const DESCRIPTION: usize = 500;
const CONSTRAINED_KEYWORDS: usize = 30;
const CONSTRAINED_KEYWORD: usize = 40;

/// What is asked of every photo.
#[derive(Debug, Clone)]
pub struct Questions {
    prompt: String,
    /// Whether an answer can be nothing but the JSON object that is asked for.
    pub is_json: bool,
    /// As sidecars name them: `en`, `pt-BR`.
    pub languages: Vec<String>,
    system: Option<String>,
    /// Whether what the photo says of itself goes in.
    with_context: bool,
    with_position: bool,
}

/// An answer, looked at.
#[derive(Debug, Clone, Default)]
pub struct Judged {
    /// Its parts.
    pub structure: Structure,
    /// What is wrong with it, in words.
    pub wrong: Vec<String>,
    /// Whether it is of no use.
    is_useless: bool,
}

impl Questions {
    pub fn new(
        (prompt, is_json): (Option<String>, bool),
        languages: Vec<String>,
        system: Option<String>,
        with_context: bool,
        with_position: bool,
    ) -> Self {
        Self {
            prompt: prompt.unwrap_or_else(|| PROMPT.to_owned()),
            is_json,
            languages,
            system,
            with_context,
            with_position,
        }
    }

    /// Of all that an answer depends on, beside the photo and the model.
    pub fn key(&self) -> String {
        format!("{self:?}")
    }

    /// What every answer must look like, where it can be nothing else.
    pub fn constraint(&self) -> Option<Constraint> {
        let text = |longest: usize| json!({"type": "string", "minLength": 1, "maxLength": longest});
        let schema = json!({
            "type": "object",
            "properties": {
                "title": text(TITLE),
                "description": text(DESCRIPTION),
                "keywords": {"type": "array", "items": text(CONSTRAINED_KEYWORD), "minItems": 1, "maxItems": CONSTRAINED_KEYWORDS},
            },
            "required": ["title", "description", "keywords"],
            "additionalProperties": false,
        });
        self.is_json
            .then_some(Constraint::JsonSchema { schema, strict: true })
    }

    /// The prompt for a language.
    pub fn prompt(&self, language: &str) -> String {
        self.prompt.replace("{language}", &language_name(language))
    }

    /// What is known of a photo already; nothing that Monocle said itself.
    pub fn context(&self, root: &Path, files: &[PathBuf], known: &Known) -> String {
        if !self.with_context {
            return String::new();
        }
        let shown = &files[0];
        let mut sidecar = None;
        for naming in [sidecar::Naming::Darktable, sidecar::Naming::Adobe] {
            for file in files {
                let below = naming.of(file);
                sidecar = sidecar.or_else(|| {
                    let bytes = sidecar::read(&root.join(&below)).ok()??;
                    let ours = below.to_str().and_then(|below| known.written(below));
                    match ours {
                        Some((writing, _)) => sidecar::take_out(&bytes, &writing.added).ok(),
                        None => Some(bytes),
                    }
                });
            }
        }
        Metadata::read(&root.join(shown), sidecar.as_deref()).in_words(self.with_position)
    }

    /// The request; where an answer would not do, what was wrong with it.
    pub fn request(
        &self,
        picture: PictureInput,
        language: &str,
        context: &str,
        before: Option<(&str, &Judged)>,
    ) -> Request {
        let mut words = self.prompt(language);
        if !context.is_empty() {
            words += &format!("\n\nWhat is known of the photo:\n{context}");
        }
        let mut request = Request::single(self.system.as_deref(), vec![picture], &words);
        if let Some((answer, judged)) = before {
            // A useless answer would only be continued.
            let again = format!("{} ({})", self.prompt(language), judged.wrong.join("; "));
            if judged.is_useless {
                let parts = vec![Part::Image(0), Part::Text(format!("{words}\n\n{again}"))];
                request.messages.pop();
                request.messages.push(Message::new("user", Content::Parts(parts)));
            } else {
                request.add_answer(answer);
                request.add_user([], &again);
            }
        }
        request
    }

    /// Whether an answer will do.
    pub fn judge(&self, language: &str, text: &str, is_cut: bool) -> Judged {
        let mut structure = Structure::of(text);
        tidy(&mut structure);
        let missing = structure.missing();
        let mut wrong: Vec<String> = missing.iter().map(|part| format!("{part} is missing")).collect();
        let words = in_lines(&structure);
        let asked = Asked {
            prompt: self.prompt(language),
            ..Asked::default()
        };
        let said = Said {
            text: if missing.len() == 3 {
                text.to_owned()
            } else {
                words
            },
            is_cut,
        };
        let counts = |rule: Rule| {
            rule.is_grave() || matches!(rule, Rule::Cut | Rule::SpecialTokens | Rule::ReasoningLeaked)
        };
        let found = findings::find(&asked, &said);
        let found: Vec<_> = found.into_iter().filter(|finding| counts(finding.rule)).collect();
        wrong.extend(
            found
                .iter()
                .map(|finding| format!("{}: {}", finding.rule.name(), finding.detail)),
        );
        let is_useless = missing.len() == 3 || found.iter().any(|finding| finding.rule.is_grave());
        Judged {
            structure,
            wrong,
            is_useless,
        }
    }
}

impl Judged {
    /// The better of two answers.
    pub fn better(self, other: Self) -> Self {
        let worth = |judged: &Self| (judged.is_useless, judged.wrong.len());
        if worth(&self) <= worth(&other) {
            self
        } else {
            other
        }
    }

    /// What of it may be written down.
    pub fn usable(self) -> Structure {
        match self.is_useless {
            true => Structure::default(),
            false => self.structure,
        }
    }
}

/// Each keyword once, and none that is a sentence.
fn tidy(structure: &mut Structure) {
    let mut seen = std::collections::HashSet::new();
    structure
        .keywords
        .retain(|word| word.chars().count() <= LONGEST_KEYWORD && seen.insert(word.to_lowercase()));
    structure.keywords.truncate(KEYWORDS);
}

fn in_lines(structure: &Structure) -> String {
    let line = |text: &Option<String>| text.clone().unwrap_or_default();
    format!(
        "{}\n{}\n{}",
        line(&structure.title),
        line(&structure.description),
        structure.keywords.join(", ")
    )
}

/// A language in English words; one that is not known here as it stands: models know its code, as a rule.
fn language_name(code: &str) -> String {
    let main = code.split(['-', '_']).next().unwrap_or(code).to_lowercase();
    let name = match main.as_str() {
        "ar" => "Arabic",
        "cs" => "Czech",
        "da" => "Danish",
        "de" => "German",
        "el" => "Greek",
        "en" => "English",
        "es" => "Spanish",
        "fi" => "Finnish",
        "fr" => "French",
        "he" => "Hebrew",
        "hi" => "Hindi",
        "hu" => "Hungarian",
        "id" => "Indonesian",
        "it" => "Italian",
        "ja" => "Japanese",
        "ko" => "Korean",
        "nb" | "no" => "Norwegian",
        "nl" => "Dutch",
        "pl" => "Polish",
        "pt" => "Portuguese",
        "ro" => "Romanian",
        "ru" => "Russian",
        "sv" => "Swedish",
        "tr" => "Turkish",
        "uk" => "Ukrainian",
        "vi" => "Vietnamese",
        "zh" => "Chinese",
        _ => return code.to_owned(),
    };
    match code.len() > main.len() {
        true => format!("{name} ({code})"),
        false => name.to_owned(),
    }
}
