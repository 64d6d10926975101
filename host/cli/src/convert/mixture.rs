//! How many bits a conversion has, in the words of its flags.

use monocle_weights::BITS;

/// `--mixed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mixture {
    /// Bits of the weights that matter most.
    pub more: u32,
    /// Bits of the others, where the mixture's name says them.
    rest: Option<u32>,
}

/// Reads `--bits`.
pub fn bits(text: &str) -> Result<u32, String> {
    let bits = text.parse::<u32>().ok().filter(|bits| BITS.contains(bits));
    bits.ok_or_else(|| "expected 2, 3, 4, 5, 6 or 8".to_owned())
}

/// Reads `--mixed`: bits, or a name like `mixed_3_6`.
pub fn mixture(text: &str) -> Result<Mixture, String> {
    let named = text.strip_prefix("mixed_").and_then(|bits| bits.split_once('_'));
    let found = match named {
        None => bits(text).map(|more| Mixture { more, rest: None }),
        Some((rest, more)) => bits(rest).and_then(|rest| {
            let rest = Some(rest);
            bits(more).map(|more| Mixture { more, rest })
        }),
    };
    let found = found
        .ok()
        .filter(|mixture| mixture.more > mixture.rest.unwrap_or(BITS[0]));
    found.ok_or_else(|| "expected 3, 4, 5, 6, 8, or mlx-vlm's name of a mixture, like `mixed_3_6`".to_owned())
}

/// The bits of what a mixture does not give more.
pub fn together(bits: Option<u32>, mixed: Option<Mixture>) -> Result<u32, String> {
    const USUAL: u32 = 4;
    let Some(Mixture { more, rest }) = mixed else {
        return Ok(bits.unwrap_or(USUAL));
    };
    match (bits, rest) {
        (Some(bits), Some(rest)) if bits != rest => Err(format!(
            "--mixed mixed_{rest}_{more} says {rest} bits, and --bits says {bits}: leave one of them out"
        )),
        _ => {
            let bits = bits.or(rest).unwrap_or(USUAL);
            match more > bits {
                true => Ok(bits),
                false => Err(format!(
                    "--mixed {more} with {bits} bits: the weights that matter most are to get more bits than the others; give more with \
                     --mixed or fewer with --bits"
                )),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixtures_are_read_as_bits_and_by_name() {
        // The names of mlx-vlm 0.7.10 (mlx_vlm/convert.py, QUANT_RECIPES).
        for (name, rest, more) in [
            ("mixed_2_6", 2, 6),
            ("mixed_3_4", 3, 4),
            ("mixed_3_5", 3, 5),
            ("mixed_3_6", 3, 6),
            ("mixed_3_8", 3, 8),
            ("mixed_4_6", 4, 6),
            ("mixed_4_8", 4, 8),
        ] {
            let found = mixture(name).unwrap();
            assert_eq!((found.rest, found.more), (Some(rest), more));
            assert_eq!(together(None, Some(found)), Ok(rest));
            assert_eq!(together(Some(rest), Some(found)), Ok(rest));
            let other = together(Some(5), Some(found)).unwrap_err();
            assert!(other.contains("leave one of them out"), "{other}");
        }
        assert_eq!(mixture("6"), Ok(Mixture { more: 6, rest: None }));
        for wrong in [
            "2",
            "7",
            "x",
            "",
            "mixed",
            "mixed_3",
            "mixed_6_3",
            "mixed_4_4",
            "mixed_3_7",
            "mixed_3_6_8",
        ] {
            let error = mixture(wrong).unwrap_err();
            assert!(error.contains("like `mixed_3_6`"), "{wrong}: {error}");
        }
    }

    #[test]
    fn what_matters_most_gets_more() {
        let six = Some(Mixture { more: 6, rest: None });
        assert_eq!(together(None, None), Ok(4));
        assert_eq!(together(Some(3), None), Ok(3));
        assert_eq!(together(None, six), Ok(4));
        assert_eq!(together(Some(5), six), Ok(5));
        for bits in [6, 8] {
            let error = together(Some(bits), six).unwrap_err();
            assert!(error.contains("more bits than the others"), "{error}");
        }
    }

    #[test]
    fn bits_are_those_that_mlx_has() {
        for text in ["2", "3", "4", "5", "6", "8"] {
            assert_eq!(bits(text).map(|bits| bits.to_string()).as_deref(), Ok(text));
        }
        for text in ["1", "7", "16", "x", "", "-4"] {
            assert_eq!(bits(text), Err("expected 2, 3, 4, 5, 6 or 8".to_owned()));
        }
    }
}
