//! Places in answers: `<|ref|>a cat<|/ref|><|det|>[[52, 332, 932, 774]]<|/det|>`, corners in thousandths of the picture's sides (999 is its end), as
//! `parse_ref_bbox` of the original's `serve/app_modules/utils.py` reads them.

use monocle_plugin::{AnswerPart, AnswerRectangle, Place, Size};

/// Marks of places, which are special tokens: `<|ref|>` and `<|/ref|>` around what is there, `<|det|>` and `<|/det|>` around where.
pub const MARKS: [&str; 5] = ["<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>", "<|grounding|>"];

/// What stands for a picture's end.
const END: f32 = 999.0;

/// Rectangles in an answer, in a picture of this number and size.
pub fn read(answer: &str, medium: u32, size: Size) -> Vec<AnswerPart> {
    let [reference, referred, places, placed, _] = MARKS;
    let mut parts = vec![];
    let mut rest = answer;
    while let Some((label, after)) = between(rest, reference, referred) {
        rest = after;
        // Places belong to what was named right before.
        let next = rest.find(reference).unwrap_or(rest.len());
        if let Some((boxes, _)) = between(&rest[..next], places, placed) {
            let rectangles = boxes.split('[').filter_map(|numbers| corners(numbers, size));
            parts.extend(rectangles.map(|[upper_left, lower_right]| {
                AnswerPart::Rectangle(AnswerRectangle {
                    medium,
                    label: Some(label.trim().to_owned()).filter(|label| !label.is_empty()),
                    upper_left,
                    lower_right,
                })
            }));
        }
    }
    parts
}

/// What stands between two marks, and what comes after.
fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<(&'a str, &'a str)> {
    let (_, inner) = text.split_once(open)?;
    inner.split_once(close)
}

/// Two corners of four numbers, up to the bracket that closes them.
fn corners(numbers: &str, size: Size) -> Option<[Place; 2]> {
    let (numbers, _) = numbers.split_once(']')?;
    let numbers: Option<Vec<f32>> = numbers
        .split(',')
        .map(|number| number.trim().parse().ok())
        .collect();
    let &[left, top, right, bottom] = numbers?.as_slice() else {
        return None;
    };
    let place = |x: f32, y: f32| Place {
        x: x / END * size.width as f32,
        y: y / END * size.height as f32,
    };
    Some([place(left, top), place(right, bottom)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rectangles(answer: &str) -> Vec<(Option<String>, [f32; 4])> {
        let size = Size {
            width: 999,
            height: 1998,
        };
        let read = read(answer, 0, size).into_iter();
        read.map(|part| match part {
            AnswerPart::Rectangle(part) => {
                let (from, to) = (part.upper_left, part.lower_right);
                (part.label, [from.x, from.y, to.x, to.y].map(f32::round))
            }
            other => panic!("{other:?}"),
        })
        .collect()
    }

    #[test]
    fn places_are_thousandths_of_the_sides() {
        let one = "It is <|ref|>the giraffe<|/ref|><|det|>[[580, 270, 999, 900]]<|/det|>.";
        let expected = (Some("the giraffe".to_owned()), [580.0, 540.0, 999.0, 1800.0]);
        assert_eq!(rectangles(one), [expected]);
        let several = "<|ref|>a<|/ref|><|det|>[[1, 2, 3, 4], [5, 6, 7, 8]]<|/det|> and <|ref|>b<|/ref|><|det|>[[9, 9, 9, 9]]<|/det|>";
        let labels: Vec<_> = rectangles(several)
            .into_iter()
            .map(|(label, _)| label.unwrap())
            .collect();
        assert_eq!(labels, ["a", "a", "b"]);
    }

    #[test]
    fn what_is_no_place_is_left_out() {
        for answer in [
            "no marks",
            "<|ref|>a<|/ref|>",
            "<|ref|>a<|/ref|><|det|>[[1, 2, 3]]<|/det|>",
            "<|ref|>a<|/ref|><|det|>[[1, 2, 3, x]]<|/det|>",
            "<|ref|>a<|/ref|><|det|>[[1, 2, 3, 4",
            "<|det|>[[1, 2, 3, 4]]<|/det|>",
            "<|/ref|><|ref|><|det|>",
        ] {
            assert_eq!(rectangles(answer), [], "{answer}");
        }
        let unplaced = "<|ref|>a<|/ref|> <|ref|>b<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|>";
        assert_eq!(rectangles(unplaced).len(), 1);
    }
}
