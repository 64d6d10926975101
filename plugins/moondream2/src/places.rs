//! Places in answers: `<x_512><y_100>` is a point, in parts of 1,024 of the picture's sides; with `<w_900><h_900>` after it, it is the middle of a
//! rectangle of that width and height, which are counted in powers of two.

use monocle_plugin::{AnswerPart, AnswerPoint, AnswerRectangle, Place, Size};

/// Parts along a side, and widths and heights.
pub const PARTS: u32 = 1024;

/// What tokens of places begin with, in the order of their ids and of answers.
const KINDS: [char; 4] = ['x', 'y', 'w', 'h'];

/// All tokens of places: across, down, widths, heights.
pub fn tokens() -> Vec<String> {
    let kind = |kind: char| (0..PARTS).map(move |part| format!("<{kind}_{part}>"));
    KINDS.into_iter().flat_map(kind).collect()
}

/// A width or height as part of the picture's side: `decode_size` of the original.
pub fn extent(part: u32) -> f32 {
    2.0_f32.powf(part as f32 / (PARTS - 1) as f32 * 10.0 - 10.0)
}

/// The points and rectangles in an answer about a picture of this size.
pub fn read(answer: &str, size: Size) -> Vec<AnswerPart> {
    let mut parts = vec![];
    let mut held = vec![];
    for token in answer.split('<') {
        let found = place(token);
        if found.is_none_or(|(kind, _)| kind != held.len()) {
            parts.extend(point(&held, size));
            held.clear();
        }
        if let Some((_, part)) = found.filter(|(kind, _)| *kind == held.len()) {
            held.push(part);
        }
        if let Some(rectangle) = rectangle(&held, size) {
            parts.push(rectangle);
            held.clear();
        }
    }
    parts.extend(point(&held, size));
    parts
}

/// The kind and the number of `x_512>`.
fn place(token: &str) -> Option<(usize, u32)> {
    let (kind, number) = token.trim_end().strip_suffix('>')?.split_once('_')?;
    let kind = KINDS.iter().position(|letter| kind.chars().eq([*letter]))?;
    let number = number.parse().ok()?;
    (number < PARTS).then_some((kind, number))
}

fn point(held: &[u32], size: Size) -> Option<AnswerPart> {
    let [x, y] = held else { return None };
    Some(AnswerPart::Point(AnswerPoint {
        medium: 0,
        label: None,
        at: at(middle(*x), middle(*y), size),
    }))
}

/// May reach beyond the picture, as the original's do.
fn rectangle(held: &[u32], size: Size) -> Option<AnswerPart> {
    let [x, y, width, height] = held else { return None };
    let (x, y) = (middle(*x), middle(*y));
    let (width, height) = (extent(*width) / 2.0, extent(*height) / 2.0);
    Some(AnswerPart::Rectangle(AnswerRectangle {
        medium: 0,
        label: None,
        upper_left: at(x - width, y - height, size),
        lower_right: at(x + width, y + height, size),
    }))
}

fn middle(part: u32) -> f32 {
    part as f32 / PARTS as f32
}

/// Parts of the sides in pixels.
fn at(x: f32, y: f32, size: Size) -> Place {
    Place {
        x: x * size.width as f32,
        y: y * size.height as f32,
    }
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

    #[test]
    fn rectangles_lie_around_points() {
        // By hand: the width of part 1023 is 2^0, the height of part 0 is 2^-10.
        let found = read("<x_512><y_512><w_1023><h_0><x_0><y_0><w_1>", Size::square(1024));
        let [AnswerPart::Rectangle(part)] = &found[..] else {
            panic!("{found:?}")
        };
        assert_eq!((part.upper_left.x, part.upper_left.y), (0.0, 511.5));
        assert_eq!((part.lower_right.x, part.lower_right.y), (1024.0, 512.5));
    }
}
