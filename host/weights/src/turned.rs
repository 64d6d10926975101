//! Tensors whose last two dimensions change places.

use std::sync::OnceLock;

use monocle_tensor::stored::{Bytes, StoredTensor};

/// The same numbers as `[.., columns, rows]`, in new memory as soon as they are read; none for tensors that are no matrices.
pub fn turned(tensor: &StoredTensor) -> Option<StoredTensor> {
    let &[.., rows, columns] = &tensor.shape[..] else {
        return None;
    };
    let mut turned = tensor.clone();
    let last = turned.shape.len();
    turned.shape.swap(last - 2, last - 1);
    turned.bytes = Bytes::later(
        tensor.bytes.len(),
        Turned {
            bytes: tensor.bytes.clone(),
            sizes: [rows, columns, tensor.kind.size()],
            done: OnceLock::new(),
        },
    );
    Some(turned)
}

struct Turned {
    bytes: Bytes,
    /// Of a matrix, and bytes of an element.
    sizes: [usize; 3],
    done: OnceLock<Vec<u8>>,
}

impl AsRef<[u8]> for Turned {
    fn as_ref(&self) -> &[u8] {
        self.done.get_or_init(|| {
            let (bytes, [rows, columns, size]) = (self.bytes.as_slice(), self.sizes);
            let mut out = vec![0; bytes.len()];
            let of_matrix = (rows * columns * size).max(1);
            for (from, to) in bytes.chunks(of_matrix).zip(out.chunks_mut(of_matrix)) {
                for column in 0..columns {
                    for row in 0..rows {
                        let [from_at, to_at] =
                            [row * columns + column, column * rows + row].map(|at| at * size);
                        to[to_at..to_at + size].copy_from_slice(&from[from_at..from_at + size]);
                    }
                }
            }
            out
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use monocle_tensor::stored::StoredType;

    #[test]
    fn each_matrix_is_turned() {
        let bytes: Vec<u8> = (0..24).collect();
        let tensor = StoredTensor {
            name: "experts".to_owned(),
            kind: StoredType::F16,
            shape: vec![2, 2, 3],
            bytes: Bytes::new(bytes),
        };
        let turned = turned(&tensor).unwrap();
        assert_eq!(turned.shape, [2, 3, 2]);
        let expected: Vec<u8> = [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]
            .iter()
            .flat_map(|number| [number * 2, number * 2 + 1])
            .collect();
        assert_eq!(turned.bytes.as_slice(), expected);
        let row = StoredTensor {
            shape: vec![12],
            ..tensor
        };
        assert!(super::turned(&row).is_none());
    }
}
