//! What a request holds.

use crate::{Content, Error, Medium, Message, Part, Piece, Request, Result, Size, Slot};

impl Request {
    /// The sizes of its pictures, in the order of the conversation. Fails for a request with media that are no pictures.
    pub fn pictures(&self) -> Result<Vec<Size>> {
        let size = |(index, medium): (usize, &Medium)| match medium {
            Medium::Picture(size) => Ok(*size),
            Medium::Video(_) => Err(Error::new(format_args!(
                "medium {index} is a video; this model looks at pictures only"
            ))),
            Medium::Audio(_) => Err(Error::new(format_args!(
                "medium {index} is sound; this model looks at pictures only"
            ))),
        };
        self.media.iter().enumerate().map(size).collect()
    }

    /// The same request with other messages.
    pub fn with_messages(&self, messages: Vec<Message>) -> Self {
        Self {
            messages,
            ..self.clone()
        }
    }
}

impl Message {
    /// A message that has to do with no tool.
    pub fn new(role: impl Into<String>, content: Content) -> Self {
        Self {
            role: role.into(),
            content,
            reasoning: None,
            tool_calls: vec![],
            tool_call: None,
            name: None,
        }
    }

    /// The same message with another content.
    pub fn with_content(&self, content: Content) -> Self {
        Self {
            content,
            ..self.clone()
        }
    }
}

impl Piece {
    /// Room for all features of a medium, so many; `token_id` stands at them in the list of ids.
    pub fn medium(number: u32, features: u32, token_id: u32) -> Self {
        Self::Features(Slot {
            medium: number,
            offset: 0,
            tokens: features,
            token_id,
        })
    }
}

impl Content {
    /// The same in one string; `mark` gives what is written for the medium of a number, counted from 0.
    pub fn as_string(&self, mark: impl Fn(u32) -> String) -> String {
        let text = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Medium(index) => mark(*index),
        };
        match self {
            Self::Text(text) => text.clone(),
            Self::Parts(parts) => parts.iter().map(text).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_that_are_no_pictures_are_refused() {
        let request = |media| Request {
            messages: vec![],
            media,
            tools: vec![],
            variables: "{}".to_owned(),
        };
        let picture = Medium::Picture(Size::square(4));
        assert_eq!(
            request(vec![picture.clone(), picture.clone()])
                .pictures()
                .unwrap(),
            [Size::square(4); 2]
        );
        let sound = Medium::Audio(crate::Audio {
            rate: 16_000,
            channels: 1,
            samples: 5,
        });
        let error = request(vec![picture, sound]).pictures().unwrap_err().to_string();
        assert_eq!(error, "medium 1 is sound; this model looks at pictures only");
    }
}
