//! How many values a JSON text has, seen before it is parsed: each takes some hundred bytes of memory, however short it is written.

/// Values of a JSON text, those in objects and lists included. Of what is no JSON, nothing is promised.
pub fn json_values(json: &[u8]) -> usize {
    let (mut values, mut in_string, mut escaped) = (0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b',' | b'[' | b'{' if !in_string => values += 1,
            _ => {}
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::json_values;

    #[test]
    fn values_are_counted_outside_of_texts() {
        assert_eq!(json_values(br#"{"a": [1, 2], "b,[": "\"{,", "c": {}}"#), 6);
        assert_eq!(json_values(br#"["\\", 1]"#), 2);
        assert_eq!(json_values(b"1"), 0);
    }
}
