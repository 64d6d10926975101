//! Questions about pictures, with the answers that are expected: lines of JSON, or the files of VQA 2.0 as they are.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

/// The largest file of a data set. The largest of VQA 2.0 has some 400 MB.
const LARGEST: u64 = 2 << 30;

/// What kind of answer is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Yes or no.
    YesNo,
    /// A number.
    Number,
    /// Anything else.
    Other,
}

impl Kind {
    /// All of them, in the order of reports.
    pub const ALL: [Kind; 3] = [Kind::YesNo, Kind::Number, Kind::Other];

    /// The name, as VQA 2.0 has it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::YesNo => "yes/no",
            Kind::Number => "number",
            Kind::Other => "other",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// By the commonest of the expected answers.
    fn guessed(answers: &[String]) -> Self {
        let count = |answer: &String| answers.iter().filter(|other| *other == answer).count();
        let commonest = answers.iter().max_by_key(|answer| count(answer));
        let answer = crate::vqa::normalised(commonest.map_or("", String::as_str));
        match answer.as_str() {
            "yes" | "no" => Self::YesNo,
            number if !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()) => Self::Number,
            _ => Self::Other,
        }
    }
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Names it in its data set.
    pub id: String,
    /// The picture.
    pub picture: PathBuf,
    /// What was said about the picture before, a question and its answer each. The picture comes with the first question only.
    pub before: Vec<(String, String)>,
    /// What is asked.
    pub question: String,
    /// What people answered.
    pub answers: Vec<String>,
    /// What kind of answer is expected.
    pub kind: Kind,
}

/// Why a data set cannot be read.
#[derive(Debug, Error)]
pub enum DatasetError {
    /// The disk.
    #[error("cannot read `{}`: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No data set.
    #[error(
        "`{}` is no data set; expected a file of lines like {{\"image\": \"a.jpg\", \"question\": \"…\", \"answers\": [\"…\"]}}, a folder with \
         such a file (`questions.jsonl`), or the questions of VQA 2.0 (`…_questions.json`) with their annotations beside them", .path.display()
    )]
    Unknown {
        /// The path.
        path: PathBuf,
    },
    /// A line that is none.
    #[error("`{}`, line {line}: {reason}", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Why.
        reason: String,
    },
    /// A JSON file that is of another kind.
    #[error("`{}` is not as VQA 2.0 has it: {reason}", .path.display())]
    Vqa {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A picture that is nowhere.
    #[error("no picture `{name}` is in `{}` or in its folders", .folder.display())]
    NoPicture {
        /// Its file's name.
        name: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(alias = "picture")]
    image: PathBuf,
    question: String,
    #[serde(default)]
    answers: Vec<String>,
    answer: Option<String>,
    id: Option<serde_json::Value>,
    answer_type: Option<String>,
    #[serde(default)]
    before: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct VqaQuestions {
    data_subtype: String,
    questions: Vec<VqaQuestion>,
}

#[derive(Deserialize)]
struct VqaQuestion {
    image_id: u64,
    question: String,
    question_id: u64,
}

#[derive(Deserialize)]
struct VqaAnnotations {
    annotations: Vec<VqaAnnotation>,
}

#[derive(Deserialize)]
struct VqaAnnotation {
    question_id: u64,
    answer_type: Option<String>,
    answers: Vec<VqaAnswer>,
}

#[derive(Deserialize)]
struct VqaAnswer {
    answer: String,
}

/// Reads a data set; `pictures` is where VQA 2.0's are, if not beside the questions.
pub fn read(path: &Path, pictures: Option<&Path>) -> Result<Vec<Question>, DatasetError> {
    let name = path.to_string_lossy();
    if path.is_dir() {
        let lines = path.join("questions.jsonl");
        if lines.is_file() {
            return of_lines(&lines);
        }
        let entries = std::fs::read_dir(path).map_err(|source| io(path, source))?;
        let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.sort();
        let questions = files
            .iter()
            .find(|file| file.to_string_lossy().ends_with("_questions.json"));
        return match questions {
            Some(questions) => of_vqa(questions, pictures),
            None => Err(DatasetError::Unknown {
                path: path.to_owned(),
            }),
        };
    }
    match () {
        () if name.ends_with("_questions.json") => of_vqa(path, pictures),
        () if name.ends_with(".jsonl") => of_lines(path),
        () if path.is_file() => Err(DatasetError::Unknown {
            path: path.to_owned(),
        }),
        () => of_lines(path),
    }
}

fn io(path: &Path, source: std::io::Error) -> DatasetError {
    DatasetError::Io {
        path: path.to_owned(),
        source,
    }
}

fn of_lines(path: &Path) -> Result<Vec<Question>, DatasetError> {
    let text = monocle_files::read_text(path, LARGEST).map_err(|error| io(path, error.into()))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut questions = Vec::new();
    for (index, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let wrong = |reason: String| DatasetError::Line {
            path: path.to_owned(),
            line: index + 1,
            reason,
        };
        let line: Line = serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
        let answers = match (line.answers.is_empty(), line.answer) {
            (false, None) => line.answers,
            (true, Some(answer)) => vec![answer],
            _ => {
                return Err(wrong(
                    "expected either `answers`, a list, or `answer`, a text".to_owned(),
                ));
            }
        };
        let kind = match &line.answer_type {
            Some(name) => Kind::named(name).ok_or_else(|| {
                wrong(format!(
                    "`answer_type` is `{name}`; expected `yes/no`, `number` or `other`"
                ))
            })?,
            None => Kind::guessed(&answers),
        };
        let id = match line.id {
            Some(serde_json::Value::String(id)) => id,
            Some(id) => id.to_string(),
            None => (index + 1).to_string(),
        };
        questions.push(Question {
            id,
            picture: folder.join(line.image),
            before: line.before,
            question: line.question,
            answers,
            kind,
        });
    }
    Ok(questions)
}

fn of_vqa(path: &Path, pictures: Option<&Path>) -> Result<Vec<Question>, DatasetError> {
    let wrong = |path: &Path, reason: String| DatasetError::Vqa {
        path: path.to_owned(),
        reason,
    };
    let read = |path: &Path| monocle_files::read(path, LARGEST).map_err(|error| io(path, error.into()));
    let asked: VqaQuestions =
        serde_json::from_slice(&read(path)?).map_err(|error| wrong(path, error.to_string()))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    // `v2_OpenEnded_mscoco_val2014_questions.json` has its answers in `v2_mscoco_val2014_annotations.json`.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name
        .replace("OpenEnded_", "")
        .replace("_questions.json", "_annotations.json");
    let annotations = folder.join(name);
    let answered: VqaAnnotations = serde_json::from_slice(&read(&annotations)?)
        .map_err(|error| wrong(&annotations, error.to_string()))?;
    let mut answers: HashMap<u64, VqaAnnotation> = HashMap::new();
    for annotation in answered.annotations {
        answers.insert(annotation.question_id, annotation);
    }
    let searched = pictures.unwrap_or(folder);
    let subtype = &asked.data_subtype;
    let places = [
        searched.to_owned(),
        searched.join(subtype),
        searched.join("images"),
    ];
    let mut questions = Vec::new();
    for asked in asked.questions {
        let id = asked.question_id;
        let Some(annotation) = answers.remove(&id) else {
            return Err(wrong(&annotations, format!("it has no answers to question {id}")));
        };
        let name = format!("COCO_{subtype}_{:012}.jpg", asked.image_id);
        let picture = places
            .iter()
            .map(|place| place.join(&name))
            .find(|file| file.is_file());
        let picture = picture.ok_or_else(|| DatasetError::NoPicture {
            name,
            folder: searched.to_owned(),
        })?;
        let answers: Vec<String> = annotation
            .answers
            .into_iter()
            .map(|answer| answer.answer)
            .collect();
        let kind = annotation.answer_type.as_deref().and_then(Kind::named);
        questions.push(Question {
            id: id.to_string(),
            picture,
            before: Vec::new(),
            question: asked.question,
            kind: kind.unwrap_or_else(|| Kind::guessed(&answers)),
            answers,
        });
    }
    Ok(questions)
}

/// Each question once more, after another one about the same picture has been asked and answered: the picture is not sent again. Pictures with
/// one question have none.
pub fn second_turns(questions: &[Question]) -> Vec<Question> {
    let mut of_picture: HashMap<&Path, Vec<&Question>> = HashMap::new();
    for question in questions.iter().filter(|question| question.before.is_empty()) {
        of_picture.entry(&question.picture).or_default().push(question);
    }
    let mut found = Vec::new();
    for question in questions.iter().filter(|question| question.before.is_empty()) {
        let all = &of_picture[question.picture.as_path()];
        let place = all.iter().position(|other| other.id == question.id).unwrap_or(0);
        let first = all[(place + all.len() - 1) % all.len()];
        if let Some(answer) = first.answers.first().filter(|_| all.len() > 1) {
            found.push(Question {
                id: format!("{} after {}", question.id, first.id),
                before: vec![(first.question.clone(), answer.clone())],
                ..question.clone()
            });
        }
    }
    found
}
