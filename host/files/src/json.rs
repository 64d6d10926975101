//! What a JSON text takes once it is parsed, seen before it is.

/// A value as `serde_json` keeps it, in a list that may be twice as long as what is in it.
const VALUE: u64 = 72;
/// What a key takes beside its value: its text's place and its hash, and room for others.
const KEY: u64 = 112;
/// A list has room for four values from the first on.
const LIST: u64 = 4 * VALUE + 16;
/// An object has room for three keys and values from the first on, and a table of their places.
const OBJECT: u64 = 256;
/// Half of the least that is taken for a text: each has two quotation marks.
const QUOTE: u64 = 16;

/// Bytes of memory that the values of a JSON text take when all are parsed, and a little more: some hundred each, however short they are written.
/// Of what is no JSON, nothing is promised.
pub fn parsed_bytes(json: &[u8]) -> u64 {
    let (mut bytes, mut in_string, mut escaped) = (json.len() as u64, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => {
                in_string = !in_string;
                bytes += QUOTE;
            }
            b',' if !in_string => bytes += VALUE,
            b':' if !in_string => bytes += KEY,
            b'[' if !in_string => bytes += LIST,
            b'{' if !in_string => bytes += OBJECT,
            _ => {}
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::parsed_bytes;

    #[test]
    fn values_are_counted_outside_of_texts() {
        let [letters, lists, objects, commas, colons, quotes] = [37, 304, 2 * 256, 3 * 72, 3 * 112, 8 * 16];
        assert_eq!(
            parsed_bytes(br#"{"a": [1, 2], "b,[": "\"{,", "c": {}}"#),
            letters + lists + objects + commas + colons + quotes
        );
        assert_eq!(parsed_bytes(br#"["\\", 1]"#), 9 + 304 + 72 + 2 * 16);
        assert_eq!(parsed_bytes(b"1"), 1);
    }
}
