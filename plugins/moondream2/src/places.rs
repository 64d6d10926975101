//! Places in answers: `<x_512><y_100>` is a point, in parts of 1,024 of the picture's sides.

use monocle_plugin::{AnswerPart, AnswerPoint, Place, Size};

/// Parts along a side.
pub const PARTS: u32 = 1024;

/// All tokens of places, those across first.
pub fn tokens() -> Vec<String> {
    let axis = |axis: char| (0..PARTS).map(move |part| format!("<{axis}_{part}>"));
    axis('x').chain(axis('y')).collect()
}

/// The points in an answer about a picture of this size.
pub fn read(answer: &str, size: Size) -> Vec<AnswerPart> {
    let mut parts = vec![];
    let mut across = None;
    for token in answer.split('<') {
        let part = |axis: &str| {
            let number = token
                .trim_end()
                .strip_suffix('>')?
                .strip_prefix(axis)?
                .parse::<u32>()
                .ok()?;
            (number < PARTS).then(|| number as f32 / PARTS as f32)
        };
        if let Some(x) = part("x_") {
            across = Some(x);
        } else if let (Some(x), Some(y)) = (across.take(), part("y_")) {
            parts.push(AnswerPart::Point(AnswerPoint {
                medium: 0,
                label: None,
                at: Place {
                    x: x * size.width as f32,
                    y: y * size.height as f32,
                },
            }));
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_parts_of_the_sides() {
        let found = read("<x_512><y_256><x_0><x_1><y_1023>", Size::new(2048, 1024));
        let at = |part: &AnswerPart| match part {
            AnswerPart::Point(point) => [point.at.x, point.at.y],
            other => panic!("{other:?}"),
        };
        assert_eq!(
            found.iter().map(at).collect::<Vec<_>>(),
            [[1024.0, 256.0], [2.0, 1023.0]]
        );
        assert!(read("A dog <x_2000><y_1> <y_3>", Size::square(9)).is_empty());
    }
}
