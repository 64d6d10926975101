//! What the user said: messages of text and pictures, in the form chat templates expect.

use serde::{Deserialize, Serialize};

/// A whole exchange, oldest message first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Conversation {
    /// The messages, oldest first.
    pub messages: Vec<Message>,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, or a role of the model's own.
    pub role: String,
    /// What is said.
    pub content: Content,
    /// Further keys a template may read (`tool_calls`, `reasoning_content`, …), passed through as they are.
    #[serde(flatten)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}

/// The content of a message: one string, or a list of parts. Templates can tell the two apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    /// Plain text.
    Text(String),
    /// Text and pictures in order.
    Parts(Vec<Part>),
}

/// One part of a message: `{"type": "text", "text": …}` or `{"type": "image"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    /// A piece of text.
    Text {
        /// The text.
        text: String,
    },
    /// The place of a picture; pictures are numbered over the whole conversation in the order of their places.
    Image,
}

impl Conversation {
    /// One user message: `images` pictures, then the text, with a system message before it if one is given.
    pub fn single(system: Option<&str>, images: usize, text: &str) -> Self {
        let mut messages = Vec::new();
        if let Some(system) = system {
            messages.push(Message::new("system", Content::Parts(vec![Part::text(system)])));
        }
        let mut parts = vec![Part::Image; images];
        parts.push(Part::text(text));
        messages.push(Message::new("user", Content::Parts(parts)));
        Self { messages }
    }

    /// How many picture places the conversation has.
    pub fn image_count(&self) -> usize {
        self.messages
            .iter()
            .map(|message| message.content.image_count())
            .sum()
    }

    /// The same conversation with every content as one string, for templates that know no parts.
    ///
    /// `image_marker` gives the text that stands for a picture, by its number counted from 1.
    pub fn with_string_content(&self, image_marker: impl Fn(usize) -> String) -> Self {
        let mut image = 0;
        let mut messages = self.messages.clone();
        for message in &mut messages {
            if let Content::Parts(parts) = &message.content {
                let mut text = String::new();
                for part in parts {
                    match part {
                        Part::Text { text: piece } => text.push_str(piece),
                        Part::Image => {
                            image += 1;
                            text.push_str(&image_marker(image));
                        }
                    }
                }
                message.content = Content::Text(text);
            }
        }
        Self { messages }
    }
}

impl Message {
    /// A message without further keys.
    pub fn new(role: impl Into<String>, content: Content) -> Self {
        Self {
            role: role.into(),
            content,
            extra: serde_json::Map::new(),
        }
    }
}

impl Content {
    /// How many picture places the content has.
    pub fn image_count(&self) -> usize {
        match self {
            Content::Text(_) => 0,
            Content::Parts(parts) => parts.iter().filter(|part| **part == Part::Image).count(),
        }
    }
}

impl Part {
    /// A text part.
    pub fn text(text: impl Into<String>) -> Self {
        Part::Text { text: text.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_and_writes_the_form_templates_expect() {
        let value = json!([
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]},
            {"role": "assistant", "content": "A disc.", "reasoning_content": "round"},
        ]);
        let conversation: Conversation = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(conversation.image_count(), 1);
        assert_eq!(conversation.messages[1].extra["reasoning_content"], "round");
        assert_eq!(serde_json::to_value(&conversation).unwrap(), value);
    }

    #[test]
    fn unknown_part_types_are_refused() {
        let value = json!([{"role": "user", "content": [{"type": "audio"}]}]);
        assert!(serde_json::from_value::<Conversation>(value).is_err());
    }

    #[test]
    fn string_content_numbers_pictures_across_messages() {
        let mut conversation = Conversation::single(Some("Be brief."), 2, "Compare.");
        conversation.messages.push(Message::new(
            "user",
            Content::Parts(vec![Part::text("And "), Part::Image]),
        ));
        let flat = conversation.with_string_content(|n| format!("<{n}>"));
        let texts: Vec<_> = flat
            .messages
            .iter()
            .map(|message| message.content.clone())
            .collect();
        assert_eq!(
            texts,
            ["Be brief.", "<1><2>Compare.", "And <3>"].map(|text| Content::Text(text.to_owned()))
        );
    }
}
