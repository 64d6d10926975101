//! Places in answers: what `Florence2PostProcessor` reads, with two differences. Coordinates are not rounded down, and letters beyond ASCII stay in
//! labels.

use monocle_plugin::{AnswerOutline, AnswerPart, AnswerRectangle, Place, Size};

use crate::tasks::Places;

/// How many places lie along a side.
const PLACES: f32 = 1000.0;

/// An answer's words and tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Item<'a> {
    Words(&'a str),
    Place(u32),
    /// `<sep>`, `<poly>`, `</poly>`
    Mark(&'a str),
}

/// Rectangles and outlines in an answer about a picture of this size. `banned` are phrases that stand for nothing.
pub fn read(answer: &str, places: Places, size: Size, banned: &[String]) -> Vec<AnswerPart> {
    let items = items(answer);
    let mut parts = vec![];
    let (polygons, labelled) = match places {
        Places::None => return parts,
        Places::Boxes | Places::Phrases => (false, true),
        Places::Proposals => (false, false),
        Places::Polygons => (true, false),
        Places::BoxesOrPolygons => (items.contains(&Item::Mark("<poly>")), true),
        Places::Quads => return quads(&items, size),
    };
    let mut at = 0;
    while at < items.len() {
        let label = match items[at] {
            Item::Words(words) => Some(words.trim()),
            _ => None,
        };
        at += usize::from(label.is_some());
        let wanted =
            |item: &Item| matches!(item, Item::Place(_)) || polygons && matches!(item, Item::Mark(_));
        let run = items[at..].iter().take_while(|item| wanted(item)).count();
        let found = &items[at..at + run];
        at += run.max(usize::from(label.is_none()));
        let unnamed = labelled && label.is_none_or(str::is_empty);
        let stands_for_nothing =
            places == Places::Phrases && label.is_some_and(|label| banned.iter().any(|word| word == label));
        if run < 4 || unnamed || stands_for_nothing {
            continue;
        }
        let label = label.filter(|_| labelled).map(str::to_owned);
        match polygons {
            true => parts.extend(
                outlines(found, size)
                    .into_iter()
                    .map(|points| outline(label.clone(), points)),
            ),
            false => {
                let corners = points(found, size);
                parts.extend(corners.chunks_exact(2).map(|corners| {
                    AnswerPart::Rectangle(AnswerRectangle {
                        medium: 0,
                        label: label.clone(),
                        upper_left: corners[0],
                        lower_right: corners[1],
                    })
                }));
            }
        }
    }
    parts
}

/// Words, and then eight places: corners.
fn quads(items: &[Item], size: Size) -> Vec<AnswerPart> {
    let mut label = String::new();
    let mut parts = vec![];
    for run in items.chunk_by(|a, b| matches!((a, b), (Item::Place(_), Item::Place(_)))) {
        match run {
            [Item::Words(words)] => label += words,
            [Item::Place(_), ..] if run.len() >= 8 => {
                let words =
                    Some(std::mem::take(&mut label).trim().to_owned()).filter(|words| !words.is_empty());
                parts.push(outline(words, points(&run[..8], size)));
            }
            _ => {}
        }
    }
    parts
}

/// Outlines of a run: within `<poly>` and `</poly>` where it has both, each ended by `<sep>` or by the end.
fn outlines(run: &[Item], size: Size) -> Vec<Vec<Place>> {
    let bounded = [Item::Mark("<poly>"), Item::Mark("</poly>")]
        .iter()
        .all(|mark| run.contains(mark));
    let parts = run.split(|item| matches!(item, Item::Mark(mark) if bounded || *mark == "<sep>"));
    let outlines = parts.map(|part| points(part, size));
    outlines.filter(|points| !points.is_empty()).collect()
}

fn outline(label: Option<String>, points: Vec<Place>) -> AnswerPart {
    AnswerPart::Outline(AnswerOutline {
        medium: 0,
        label,
        points,
    })
}

/// Places, two a point, at their middle; an odd one at the end is left out.
fn points(items: &[Item], size: Size) -> Vec<Place> {
    let places = items.iter().filter_map(|item| match item {
        Item::Place(place) => Some(*place as f32 + 0.5),
        _ => None,
    });
    let places: Vec<f32> = places.collect();
    let point = |pair: &[f32]| Place {
        x: pair[0] * size.width as f32 / PLACES,
        y: pair[1] * size.height as f32 / PLACES,
    };
    places.chunks_exact(2).map(point).collect()
}

/// What an answer consists of; other tokens end words and are left out.
fn items(answer: &str) -> Vec<Item<'_>> {
    let mut items = vec![];
    for piece in answer.split_inclusive('>').flat_map(|piece| {
        piece
            .find('<')
            .map_or([piece, ""], |at| piece.split_at(at).into())
    }) {
        let place = piece
            .strip_prefix("<loc_")
            .and_then(|rest| rest.strip_suffix('>'));
        match (
            piece,
            place
                .and_then(|place| place.parse().ok())
                .filter(|&place: &u32| place < PLACES as u32),
        ) {
            ("", _) => {}
            (_, Some(place)) => items.push(Item::Place(place)),
            ("<sep>" | "<poly>" | "</poly>", _) => items.push(Item::Mark(piece)),
            (tag, _) if tag.starts_with('<') => {}
            (words, _) => items.push(Item::Words(words)),
        }
    }
    items
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::tasks;

    /// Rectangles as two points, outlines as many, and each with its label.
    fn found(answer: &str, task: &str) -> Vec<(String, Vec<i64>)> {
        let (_, places) = tasks::sentence(task)
            .or_else(|_| tasks::sentence(&format!("{task}it")))
            .unwrap();
        let banned = ["it", "this", "the image"].map(str::to_owned);
        let parts = read(answer, places, Size::new(333, 217), &banned).into_iter();
        let numbers = |points: &[Place]| {
            points
                .iter()
                .flat_map(|place| [place.x as i64, place.y as i64])
                .collect()
        };
        let part = |part| match part {
            AnswerPart::Rectangle(part) => (
                part.label.unwrap_or_default(),
                numbers(&[part.upper_left, part.lower_right]),
            ),
            AnswerPart::Outline(part) => (part.label.unwrap_or_default(), numbers(&part.points)),
            other => panic!("{other:?}"),
        };
        parts.map(part).collect()
    }

    /// The reference's answer: lists of rectangles, corners or polygons, and of labels.
    fn expected(answer: &Value) -> Vec<(String, Vec<i64>)> {
        let Value::Object(answer) = answer else {
            return vec![];
        };
        let kinds = [
            ("bboxes", "labels"),
            ("bboxes", "bboxes_labels"),
            ("quad_boxes", "labels"),
            ("polygons", "labels"),
            ("polygons", "polygons_labels"),
        ];
        let mut parts = vec![];
        for (places, labels) in kinds {
            let (Some(places), Some(labels)) = (answer.get(places), answer.get(labels)) else {
                continue;
            };
            for (place, label) in places.as_array().unwrap().iter().zip(labels.as_array().unwrap()) {
                let outlines = match &place[0] {
                    Value::Array(_) => place.as_array().unwrap().clone(),
                    _ => vec![place.clone()],
                };
                let numbers = |outline: &Value| {
                    outline
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|number| number.as_i64().unwrap())
                        .collect()
                };
                parts.extend(
                    outlines
                        .iter()
                        .map(|outline| (label.as_str().unwrap().to_owned(), numbers(outline))),
                );
            }
        }
        parts
    }

    #[test]
    fn places_are_those_that_the_reference_reads() {
        let golden: Vec<Value> =
            serde_json::from_str(include_str!("../../../tests/oracle/florence2/regions.json")).unwrap();
        assert!(golden.len() > 10);
        for case in golden {
            let (task, answer) = (case["task"].as_str().unwrap(), case["answer"].as_str().unwrap());
            assert_eq!(found(answer, task), expected(&case[task]), "{task}: {answer}");
        }
    }

    #[test]
    fn what_is_cut_short_is_left_out() {
        assert_eq!(found("car<loc_1><loc_2><loc_3", "<OD>"), []);
        assert_eq!(found("car<loc_1><loc_2><loc_3><loc_4000>", "<OD>"), []);
        assert_eq!(found("<", "<OD>"), []);
    }
}
