//! The part of a SentencePiece model file that is needed: a Protocol Buffers message, of which a dozen fields matter.
//!
//! Field numbers: `sentencepiece_model.proto` of github.com/google/sentencepiece. Encoding:
//! <https://protobuf.dev/programming-guides/encoding/>.

/// A model as the file has it.
#[derive(Debug, Clone)]
pub struct ModelProto {
    /// The vocabulary; the place is the id.
    pub pieces: Vec<Piece>,
    /// How pieces are found in a text.
    pub kind: Kind,
    /// Unknown characters become their bytes' pieces.
    pub byte_fallback: bool,
    /// The dummy space comes behind a text and not before it.
    pub space_behind: bool,
    /// Ids of unknown, begin, end and padding; negative where there is none.
    pub ids: [i64; 4],
    /// The strings of the same.
    pub names: [String; 4],
    /// Rules that replace characters, in the form of `Charsmap`.
    pub charsmap: Vec<u8>,
    /// A space is put before a text.
    pub dummy_prefix: bool,
    /// Spaces around a text, and all but one in it, are dropped.
    pub fewer_spaces: bool,
    /// Spaces become `▁`.
    pub escape_spaces: bool,
}

/// One piece of a vocabulary.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// Its text.
    pub text: String,
    /// Its logarithmic probability, or the negative place of its merge.
    pub score: f32,
    /// What it is.
    pub kind: PieceKind,
}

/// `SentencePiece.Type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PieceKind {
    /// Text.
    Normal,
    /// Stands for text that has no piece.
    Unknown,
    /// Structure; never found in a text.
    Control,
    /// Found in every text, before anything else.
    UserDefined,
    /// Dropped from the vocabulary.
    Unused,
    /// A byte.
    Byte,
}

impl PieceKind {
    /// By its number in the file.
    pub fn of(number: u64) -> Option<Self> {
        Some(match number {
            1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => return None,
        })
    }
}

/// `TrainerSpec.ModelType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The likeliest way to cut a text.
    Unigram,
    /// Byte pair encoding.
    BytePairs,
    /// Whole words.
    Words,
    /// Single characters.
    Characters,
}

/// A field's value.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Float(f32),
}

/// The fields of a message, one by one.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The next field's number and value; `Ok(None)` at the end.
    fn next(&mut self) -> Result<Option<(u64, Field<'a>)>, String> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let field = match key & 7 {
            0 => Field::Number(self.varint()?),
            1 => {
                self.take(8)?;
                Field::Number(0)
            }
            2 => {
                let length = self.varint()?;
                Field::Bytes(self.take(length)?)
            }
            5 => {
                let bytes = self.take(4)?;
                Field::Float(f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            }
            kind => return Err(format!("it has a field of wire type {kind}")),
        };
        Ok(Some((key >> 3, field)))
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0u64;
        for place in 0..10 {
            let (&byte, rest) = self.rest.split_first().ok_or_else(ends)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7F) << (7 * place);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number in it has more than ten bytes".to_owned())
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], String> {
        let length = usize::try_from(length).map_err(|_| ends())?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(ends)?;
        self.rest = rest;
        Ok(taken)
    }
}

fn ends() -> String {
    "it ends within a field".to_owned()
}

fn text(bytes: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "a string in it is not UTF-8".to_owned())?;
    Ok(text.to_owned())
}

impl ModelProto {
    /// Reads a file's bytes.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut model = Self {
            pieces: Vec::new(),
            kind: Kind::Unigram,
            byte_fallback: false,
            space_behind: false,
            ids: [0, 1, 2, -1],
            names: ["<unk>", "<s>", "</s>", "<pad>"].map(str::to_owned),
            charsmap: Vec::new(),
            dummy_prefix: true,
            fewer_spaces: true,
            escape_spaces: true,
        };
        let mut fields = Fields { rest: bytes };
        while let Some((number, field)) = fields.next()? {
            match (number, field) {
                (1, Field::Bytes(message)) => model.pieces.push(Piece::read(message)?),
                (2, Field::Bytes(message)) => model.trainer(message)?,
                (3, Field::Bytes(message)) => model.normalizer(message)?,
                _ => {}
            }
        }
        match model.pieces.is_empty() {
            true => Err("it has no pieces".to_owned()),
            false => Ok(model),
        }
    }

    fn trainer(&mut self, message: &[u8]) -> Result<(), String> {
        let mut fields = Fields { rest: message };
        while let Some(field) = fields.next()? {
            match field {
                (3, Field::Number(kind)) => {
                    self.kind = match kind {
                        1 => Kind::Unigram,
                        2 => Kind::BytePairs,
                        3 => Kind::Words,
                        4 => Kind::Characters,
                        other => return Err(format!("it is of the unknown kind {other}")),
                    };
                }
                (24, Field::Number(flag)) => self.space_behind = flag != 0,
                (35, Field::Number(flag)) => self.byte_fallback = flag != 0,
                // Negative numbers are written as the 64 bits of their two's complement.
                (number @ 40..=43, Field::Number(id)) => self.ids[number as usize - 40] = id.cast_signed(),
                (number @ 45..=48, Field::Bytes(name)) => self.names[number as usize - 45] = text(name)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn normalizer(&mut self, message: &[u8]) -> Result<(), String> {
        let mut fields = Fields { rest: message };
        while let Some(field) = fields.next()? {
            match field {
                (2, Field::Bytes(charsmap)) => self.charsmap = charsmap.to_vec(),
                (3, Field::Number(flag)) => self.dummy_prefix = flag != 0,
                (4, Field::Number(flag)) => self.fewer_spaces = flag != 0,
                (5, Field::Number(flag)) => self.escape_spaces = flag != 0,
                _ => {}
            }
        }
        Ok(())
    }
}

impl Piece {
    fn read(message: &[u8]) -> Result<Self, String> {
        let mut piece = Self {
            text: String::new(),
            score: 0.0,
            kind: PieceKind::Normal,
        };
        let mut fields = Fields { rest: message };
        while let Some(field) = fields.next()? {
            match field {
                (1, Field::Bytes(bytes)) => piece.text = text(bytes)?,
                (2, Field::Float(score)) => piece.score = score,
                (3, Field::Number(kind)) => {
                    piece.kind = match kind {
                        1 => PieceKind::Normal,
                        2 => PieceKind::Unknown,
                        3 => PieceKind::Control,
                        4 => PieceKind::UserDefined,
                        5 => PieceKind::Unused,
                        6 => PieceKind::Byte,
                        other => return Err(format!("a piece in it is of the unknown kind {other}")),
                    };
                }
                _ => {}
            }
        }
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_message_written_by_hand_is_read() {
        // pieces { piece: "▁a" score: -1.5 type: USER_DEFINED } trainer_spec { model_type: BPE byte_fallback: true
        // pad_id: -1 unk_piece: "?" } normalizer_spec { add_dummy_prefix: false }
        let mut bytes = vec![0x0A, 13, 0x0A, 4, 0xE2, 0x96, 0x81, b'a', 0x15];
        bytes.extend((-1.5f32).to_le_bytes());
        bytes.extend([0x18, 4]);
        let mut trainer = vec![0x18, 2, 0x98, 0x02, 1, 0xD8, 0x02];
        trainer.extend([0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]);
        trainer.extend([0xEA, 0x02, 1, b'?']);
        bytes.extend([0x12, trainer.len() as u8]);
        bytes.extend(trainer);
        bytes.extend([0x1A, 2, 0x18, 0]);
        let model = ModelProto::read(&bytes).unwrap();
        let piece = Piece {
            text: "▁a".to_owned(),
            score: -1.5,
            kind: PieceKind::UserDefined,
        };
        assert_eq!(model.pieces, [piece]);
        assert_eq!((model.kind, model.byte_fallback), (Kind::BytePairs, true));
        assert_eq!((model.ids[3], model.names[0].as_str()), (-1, "?"));
        assert_eq!((model.dummy_prefix, model.fewer_spaces), (false, true));
        assert!(ModelProto::read(&bytes[..bytes.len() - 1]).is_err());
        assert_eq!(ModelProto::read(&[]).unwrap_err(), "it has no pieces");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = ModelProto::read(&bytes);
        }
    }
}
