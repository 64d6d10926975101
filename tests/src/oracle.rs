//! Golden answers of reference implementations: `golden.json` and `golden.safetensors` of a folder in `tests/oracle`.
//!
//! The files say themselves which versions made them (`reference` and `mlx_vlm` in `golden.json`).

use std::path::{Path, PathBuf};

use monocle_runtime::plugin::contract::{Content, Message, Part};
use monocle_runtime::request::Request;
use monocle_runtime::request::pictures::PictureInput;
use monocle_tensor::stored::StoredType;
use monocle_weights::Header;
use serde_json::Value;

/// A folder of golden answers.
pub struct Oracle {
    /// The checkpoint and its answers.
    pub folder: PathBuf,
    /// `golden.json`
    pub golden: Value,
    header: Header,
    bytes: Vec<u8>,
}

impl Oracle {
    /// Opens a folder.
    pub fn open(folder: &Path) -> Self {
        let text = std::fs::read_to_string(folder.join("golden.json"))
            .unwrap_or_else(|error| panic!("{}/golden.json: {error}", folder.display()));
        let golden = serde_json::from_str(&text).expect("golden.json is JSON");
        let bytes = std::fs::read(folder.join("golden.safetensors"))
            .unwrap_or_else(|error| panic!("{}/golden.safetensors: {error}", folder.display()));
        let header = Header::parse(&bytes).expect("golden.safetensors is sound");
        Self {
            folder: folder.to_owned(),
            golden,
            header,
            bytes,
        }
    }

    /// A text of `golden.json`'s own.
    pub fn text(&self, key: &str) -> String {
        self.golden[key].as_str().unwrap_or_default().to_owned()
    }

    /// The reference implementation and its version: the published code where that is what answers.
    pub fn reference(&self) -> String {
        let of = |key: &str| self.golden["reference"][key].as_str();
        match (of("code"), of("transformers")) {
            (Some(place), _) => format!("the published code, {place}"),
            (None, Some(version)) => format!("transformers {version}"),
            (None, None) => format!("mlx-vlm {}", of("mlx-vlm").unwrap_or("?")),
        }
    }

    /// Names of the cases: `image`, `two_images`, `text`.
    pub fn cases(&self) -> Vec<String> {
        self.golden["cases"]
            .as_object()
            .expect("golden.json has cases")
            .keys()
            .cloned()
            .collect()
    }

    /// A case's part of `golden.json`.
    pub fn case(&self, name: &str) -> &Value {
        &self.golden["cases"][name]
    }

    /// The request of a case.
    pub fn request(&self, name: &str) -> Request {
        let case = self.case(name);
        let messages = case["messages"].as_array().expect("a case has messages");
        let mut pictures = 0;
        let messages = messages
            .iter()
            .map(|message| message_of(message, &mut pictures))
            .collect();
        let images = case["images"].as_array().expect("a case has images");
        let pictures = images
            .iter()
            .map(|image| PictureInput::File(self.folder.join(image.as_str().expect("an image has a name"))))
            .collect();
        Request {
            messages,
            pictures,
            ..Request::default()
        }
    }

    /// Floats of an array, row-major, and its shape.
    pub fn floats(&self, name: &str) -> Option<(Vec<usize>, Vec<f32>)> {
        if let Some((_, levels)) = self.floats_as_stored(&format!("{name}/levels")) {
            // As `packed` in collect_parity.py stores few different values.
            let (shape, bytes) = self.array(name, StoredType::U16)?;
            let (places, _) = bytes.as_chunks::<2>();
            let values = places
                .iter()
                .map(|place| levels[usize::from(u16::from_le_bytes(*place))]);
            return Some((shape, values.collect()));
        }
        self.floats_as_stored(name)
    }

    fn floats_as_stored(&self, name: &str) -> Option<(Vec<usize>, Vec<f32>)> {
        let (shape, bytes) = self.array(name, StoredType::F32)?;
        let (values, _) = bytes.as_chunks::<4>();
        Some((
            shape,
            values.iter().map(|value| f32::from_le_bytes(*value)).collect(),
        ))
    }

    /// Integers of an array.
    pub fn ints(&self, name: &str) -> Option<Vec<i64>> {
        let (_, bytes) = self.array(name, StoredType::I64)?;
        let (values, _) = bytes.as_chunks::<8>();
        Some(values.iter().map(|value| i64::from_le_bytes(*value)).collect())
    }

    fn array(&self, name: &str, kind: StoredType) -> Option<(Vec<usize>, &[u8])> {
        let tensor = self.header.tensors.iter().find(|tensor| tensor.name == name)?;
        assert_eq!(tensor.kind, kind, "{name}");
        Some((tensor.shape.clone(), &self.bytes[tensor.range.clone()]))
    }
}

/// A message as the goldens write it; counts the pictures in it.
pub fn message_of(message: &Value, pictures: &mut u32) -> Message {
    let role = message["role"].as_str().expect("a message has a role").to_owned();
    let content = match &message["content"] {
        Value::String(text) => Content::Text(text.clone()),
        parts => {
            let parts = parts.as_array().expect("content is a string or a list");
            let part = |part: &Value| match part["type"].as_str() {
                Some("image") => {
                    *pictures += 1;
                    Part::Image(*pictures - 1)
                }
                _ => Part::Text(part["text"].as_str().expect("a text part has text").to_owned()),
            };
            Content::Parts(parts.iter().map(part).collect())
        }
    };
    Message::new(role, content)
}
