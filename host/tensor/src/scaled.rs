//! Matrices of small floats: elements of 4 or 8 bits, and a scale for each block of neighbours. That is how MXFP4, MXFP8 and the 8-bit floats of
//! transformers and compressed-tensors are stored.

use crate::stored::StoredType;

/// How an element is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SmallFloat {
    /// 4 bits: 2 exponent bits and 1 mantissa bit; the first of two lies in a byte's lower half (Microscaling Formats 1.0, section 5.3.3).
    E2M1,
    /// 8 bits, as [`StoredType::F8E4M3`].
    E4M3,
    /// 8 bits, as [`StoredType::F8E5M2`].
    E5M2,
}

impl SmallFloat {
    /// Bits of an element.
    pub fn bits(self) -> usize {
        match self {
            Self::E2M1 => 4,
            Self::E4M3 | Self::E5M2 => 8,
        }
    }

    /// The name that its specification gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::E2M1 => "FP4 (E2M1)",
            Self::E4M3 => "FP8 (E4M3)",
            Self::E5M2 => "FP8 (E5M2)",
        }
    }

    fn table(self) -> &'static [f32; 256] {
        static TABLES: [[f32; 256]; 3] = [table(0), table(1), table(2)];
        &TABLES[self as usize]
    }
}

/// What each byte stands for; of `E2M1`, its lower half.
const fn table(float: usize) -> [f32; 256] {
    let mut table = [0.0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match float {
            0 => small(byte as u32 & 15, 2, 1, 1, false),
            1 => small(byte as u32, 4, 3, 7, true),
            _ => small(byte as u32, 5, 2, 15, false),
        };
        byte += 1;
    }
    table
}

/// A float with a sign, so many exponent and mantissa bits, and this bias. `one_nan`: the largest number of each sign is none, and there are no
/// infinities; else E5M2 has them as binary16 has, and E2M1 has none.
const fn small(bits: u32, exponents: u32, mantissas: u32, bias: u32, one_nan: bool) -> f32 {
    let sign = bits >> (exponents + mantissas) & 1;
    let exponent = bits >> mantissas & ((1 << exponents) - 1);
    let mantissa = bits & ((1 << mantissas) - 1);
    let most = (1 << exponents) - 1;
    let is_nan = one_nan && exponent == most && mantissa == (1 << mantissas) - 1;
    let magnitude = if is_nan {
        0x7fc0_0000
    } else if exponents == 5 && exponent == most {
        0x7f80_0000 | mantissa << (23 - mantissas)
    } else if exponent == 0 {
        // mantissa * 2^(1 - bias - mantissas), which binary32 holds as a normal number.
        let unit = f32::from_bits((127 + 1 - bias - mantissas) << 23);
        (mantissa as f32 * unit).to_bits()
    } else {
        (exponent + 127 - bias) << 23 | mantissa << (23 - mantissas)
    };
    f32::from_bits(magnitude | sign << 31)
}

/// The rows of a matrix of small floats, or of a stack of matrices.
#[derive(Debug, Clone, Copy)]
pub struct ScaledRows<'a> {
    /// `[rows, columns * bits / 8]`
    pub elements: &'a [u8],
    /// How they are stored.
    pub float: SmallFloat,
    /// Of each matrix `[ceil(rows / block[0]), ceil(columns / block[1])]`.
    pub scales: &'a [u8],
    /// F32, F16, BF16 or F8E8M0.
    pub scale: StoredType,
    /// Rows and columns that share a scale.
    pub block: [usize; 2],
    /// Rows of each matrix.
    pub rows_each: usize,
    /// Elements of a row.
    pub columns: usize,
}

impl ScaledRows<'_> {
    /// Turns the elements `start..start + out.len()` of a row to floats. `start` is even.
    pub fn decode(&self, row: usize, start: usize, out: &mut [f32]) {
        let [block_rows, block_columns] = self.block;
        let (matrix, within) = (row / self.rows_each, row % self.rows_each);
        let scales_each = self.rows_each.div_ceil(block_rows);
        let across = self.columns.div_ceil(block_columns);
        let first_scale = (matrix * scales_each + within / block_rows) * across;
        let row_bytes = self.columns * self.float.bits() / 8;
        let row = &self.elements[row * row_bytes..(row + 1) * row_bytes];
        let table = self.float.table();
        let mut done = 0;
        while done < out.len() {
            let at = start + done;
            let block = at / block_columns;
            let count = ((block + 1) * block_columns - at).min(out.len() - done);
            let scale = self.scale_at(first_scale + block);
            let part = &mut out[done..done + count];
            match self.float {
                SmallFloat::E2M1 => {
                    for (index, out) in part.iter_mut().enumerate() {
                        let at = at + index;
                        let byte = row[at / 2] >> (at % 2 * 4);
                        *out = table[usize::from(byte & 15)] * scale;
                    }
                }
                SmallFloat::E4M3 | SmallFloat::E5M2 => {
                    for (byte, out) in row[at..at + count].iter().zip(part) {
                        *out = table[usize::from(*byte)] * scale;
                    }
                }
            }
            done += count;
        }
    }

    fn scale_at(&self, index: usize) -> f32 {
        let size = self.scale.size();
        self.scale.decode(&self.scales[index * size..(index + 1) * size])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables against the definitions of the stored types, which have a test of their own, and the list of the specification.
    #[test]
    fn elements_are_what_their_types_say() {
        for byte in 0..=255_u8 {
            for (float, kind) in [
                (SmallFloat::E4M3, StoredType::F8E4M3),
                (SmallFloat::E5M2, StoredType::F8E5M2),
            ] {
                let (found, expected) = (float.table()[usize::from(byte)], kind.decode(&[byte]));
                let same = found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
                assert!(same, "{} {byte}: {found}, expected {expected}", float.name());
            }
        }
        let list = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];
        for (code, expected) in list.into_iter().chain(list.map(|value: f32| -value)).enumerate() {
            assert_eq!(SmallFloat::E2M1.table()[code], expected);
        }
    }

    #[test]
    fn scales_belong_to_blocks_of_each_matrix() {
        // Two matrices of 3 rows and 5 columns, all ones, in blocks of 2 and 4; scales 1 to 8.
        let scales: Vec<u8> = (1..=8)
            .flat_map(|scale: u8| f32::from(scale).to_le_bytes())
            .collect();
        let rows = ScaledRows {
            elements: &[0x38; 30],
            float: SmallFloat::E4M3,
            scales: &scales,
            scale: StoredType::F32,
            block: [2, 4],
            rows_each: 3,
            columns: 5,
        };
        let expected = [
            [1.0, 1.0, 1.0, 1.0, 2.0],
            [1.0, 1.0, 1.0, 1.0, 2.0],
            [3.0, 3.0, 3.0, 3.0, 4.0],
            [5.0, 5.0, 5.0, 5.0, 6.0],
            [5.0, 5.0, 5.0, 5.0, 6.0],
            [7.0, 7.0, 7.0, 7.0, 8.0],
        ];
        for (row, expected) in expected.into_iter().enumerate() {
            let mut out = [0.0; 5];
            rows.decode(row, 0, &mut out);
            assert_eq!(out, expected);
            let mut part = [0.0; 3];
            rows.decode(row, 2, &mut part);
            assert_eq!(part, expected[2..]);
        }
    }
}
