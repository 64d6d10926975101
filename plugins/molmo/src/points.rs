//! Points in answers: `<point x="61.5" y="40.6" alt="a dog">a dog</point>` and `<points x1=".." y1=".." x2=".." ..>`, in percent of the picture's
//! sides.

use monocle_plugin::{AnswerPart, AnswerPoint, Place, Size};

/// The points in an answer about a picture of this size.
pub fn read(answer: &str, size: Size) -> Vec<AnswerPart> {
    let mut parts = vec![];
    for piece in answer.split("<point").skip(1) {
        let Some((attributes, after)) = piece.split_once('>') else {
            continue;
        };
        let label = attribute(attributes, "alt").or_else(|| Some(after.split_once("</point")?.0));
        let label = label.map(str::trim).filter(|label| !label.is_empty());
        let number = |name: &str| attribute(attributes, name)?.trim().parse::<f32>().ok();
        let place = |suffix: &str| Some((number(&format!("x{suffix}"))?, number(&format!("y{suffix}"))?));
        // One without a number, or those with numbers one after another.
        let found: Vec<(f32, f32)> = match place("") {
            Some(place) => vec![place],
            None => (1..)
                .map_while(|number: u32| place(&number.to_string()))
                .collect(),
        };
        let inside = |(x, y): &(f32, f32)| (0.0..=100.0).contains(x) && (0.0..=100.0).contains(y);
        parts.extend(found.into_iter().filter(inside).map(|(x, y)| {
            AnswerPart::Point(AnswerPoint {
                medium: 0,
                label: label.map(str::to_owned),
                at: Place {
                    x: x / 100.0 * size.width as f32,
                    y: y / 100.0 * size.height as f32,
                },
            })
        }));
    }
    parts
}

/// The value of `name="value"`.
fn attribute<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    let start = format!(" {name}=\"");
    let (_, value) = attributes.split_once(start.as_str())?;
    Some(value.split_once('"')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(answer: &str) -> Vec<(String, f32, f32)> {
        let point = |part: &AnswerPart| match part {
            AnswerPart::Point(point) => (point.label.clone().unwrap_or_default(), point.at.x, point.at.y),
            other => panic!("{other:?}"),
        };
        read(answer, Size::new(200, 50)).iter().map(point).collect()
    }

    #[test]
    fn points_are_percent_of_the_sides() {
        // The forms that the model card and the paper's appendix show.
        let one = points(r#"There: <point x="61.5" y="40" alt="a dog">a dog</point>."#);
        assert_eq!(one, [("a dog".to_owned(), 123.0, 20.0)]);
        let two = points(r#"<points x1="10.0" y1="20.0" x2="50" y2="100" alt="eyes">eyes</points>"#);
        assert_eq!(
            two,
            [("eyes".to_owned(), 20.0, 10.0), ("eyes".to_owned(), 100.0, 50.0)]
        );
    }

    #[test]
    fn what_is_no_point_is_left_out() {
        for answer in [
            "no points",
            r#"<point x="1" y="2""#,
            r#"<point x="one" y="2">a</point>"#,
            r#"<point x="101" y="2">a</point>"#,
            r#"<point x="NaN" y="2">a</point>"#,
            r#"<points x2="1" y2="2">a</points>"#,
        ] {
            assert_eq!(points(answer), [], "{answer}");
        }
    }
}
