//! Small safetensors files, written whole: numbers that were traced, say. Models are written by [`crate::quantise_folder`].

use std::collections::BTreeMap;

use monocle_tensor::stored::StoredType;
use serde_json::{Map, json};

/// One tensor of such a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTensor {
    /// Its name.
    pub name: String,
    /// How its elements are stored.
    pub kind: StoredType,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// The elements, little-endian, row-major.
    pub bytes: Vec<u8>,
}

/// The bytes of a file that holds these tensors, in this order, and what the writer notes.
pub fn to_safetensors(metadata: &BTreeMap<String, String>, tensors: &[NewTensor]) -> Vec<u8> {
    let mut header = Map::new();
    header.insert("__metadata__".to_owned(), json!(metadata));
    let mut at = 0;
    for tensor in tensors {
        let end = at + tensor.bytes.len();
        header.insert(
            tensor.name.clone(),
            json!({ "dtype": tensor.kind.name(), "shape": tensor.shape, "data_offsets": [at, end] }),
        );
        at = end;
    }
    let mut text = serde_json::Value::Object(header).to_string();
    // Tensors begin where every number of 8 bytes may.
    text.push_str(&" ".repeat(text.len().next_multiple_of(8) - text.len()));
    let mut file = Vec::with_capacity(8 + text.len() + at);
    file.extend((text.len() as u64).to_le_bytes());
    file.extend(text.as_bytes());
    tensors
        .iter()
        .for_each(|tensor| file.extend_from_slice(&tensor.bytes));
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Header;

    #[test]
    fn what_is_written_is_read_again() {
        let tensor = |name: &str, kind, shape: &[usize], bytes: &[u8]| NewTensor {
            name: name.to_owned(),
            kind,
            shape: shape.to_vec(),
            bytes: bytes.to_vec(),
        };
        let metadata = BTreeMap::from([("who".to_owned(), "me".to_owned())]);
        let tensors = [
            tensor("b", StoredType::F32, &[1, 2], &[1, 0, 0, 0, 2, 0, 0, 0]),
            tensor("a", StoredType::I64, &[1], &[7; 8]),
            tensor("none", StoredType::F32, &[0, 4], &[]),
        ];
        let file = to_safetensors(&metadata, &tensors);
        let header = Header::parse(&file).unwrap();
        assert_eq!(header.metadata, metadata);
        let mut found: Vec<_> = header
            .tensors
            .iter()
            .map(|tensor| {
                (
                    tensor.name.as_str(),
                    tensor.shape.clone(),
                    &file[tensor.range.clone()],
                )
            })
            .collect();
        found.sort();
        assert_eq!(
            found,
            [
                ("a", vec![1], &[7; 8][..]),
                ("b", vec![1, 2], &[1, 0, 0, 0, 2, 0, 0, 0]),
                ("none", vec![0, 4], &[]),
            ]
        );
    }
}
