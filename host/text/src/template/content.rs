//! Messages as templates see them, and which form a template takes their content in: one string, or a list of parts.
//!
//! Templates do not say it, so they are asked: a message with a known word is rendered in both forms, and a form is taken when the word comes
//! out. A list that is printed would come out too, in Python's notation; so parts know when they are printed.

use std::cell::Cell;
use std::sync::Arc;

use minijinja::Value;
use minijinja::value::{Enumerator, Object, ObjectRepr};

use super::environment::to_value;
use crate::conversation::{Content, Conversation, Message, Part};

/// The word that is looked for. No template has it, and none changes it.
pub const PROBE: &str = "Wqmonocleprobe";

thread_local! {
    /// Whether parts were printed in this thread's render.
    static PRINTED: Cell<bool> = const { Cell::new(false) };
}

/// Forgets what an earlier render printed.
pub fn start() {
    PRINTED.set(false);
}

/// Whether a list of parts was printed, in the prompt or on the way to it.
pub fn was_printed() -> bool {
    PRINTED.get()
}

/// Called for values that are about to be printed in Python's notation.
pub fn note_printed(value: &Value) {
    if value.downcast_object_ref::<PartList>().is_some() || value.downcast_object_ref::<PartMap>().is_some() {
        PRINTED.set(true);
    }
}

/// In which forms a template takes a role's content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Accepts {
    /// As one string.
    pub text: bool,
    /// As a list of parts.
    pub parts: bool,
}

/// What decides about the form: the role, and whether pictures are among the parts.
pub type Kind = (String, bool);

/// The kind of a message.
pub fn kind(message: &Message) -> Kind {
    (message.role.clone(), message.content.image_count() > 0)
}

impl Accepts {
    /// The content in a form that is taken. Where none is, it stays as it is, and the template says why. A string has no
    /// place for pictures: they are left out of it.
    pub fn fit(self, content: &Content) -> Content {
        match content {
            Content::Parts(parts) if self.text && !self.parts => {
                let texts = parts.iter().filter_map(|part| match part {
                    Part::Text { text } => Some(text.as_str()),
                    Part::Image => None,
                });
                Content::Text(texts.collect())
            }
            Content::Text(text) if self.parts && !self.text => Content::Parts(vec![Part::text(text.clone())]),
            content => content.clone(),
        }
    }
}

/// Conversations that show whether a content of this form is taken; the first that is rendered at all decides. `user` is what is known of
/// the role `user`, which others need beside them.
pub fn probes((role, pictures): &Kind, parts: bool, user: Accepts) -> Vec<Conversation> {
    let content = |text: &str, parts: bool, pictures: bool| match parts {
        false => Content::Text(text.to_owned()),
        true => {
            let image = pictures.then_some(Part::Image);
            Content::Parts(image.into_iter().chain([Part::text(text)]).collect())
        }
    };
    let asked = || Message::new(role.clone(), content(PROBE, parts, *pictures));
    let other = |role: &str, parts: bool| Message::new(role, content("And?", parts, false));
    let beside = || other("user", user.parts && !user.text);
    let lists: Vec<Vec<Message>> = match role.as_str() {
        "system" | "developer" => {
            return vec![Conversation {
                messages: vec![asked(), beside()],
            }];
        }
        "user" => vec![vec![asked()]],
        "assistant" => vec![vec![beside(), asked(), beside()], vec![beside(), asked()]],
        _ => vec![
            vec![beside(), asked()],
            vec![beside(), other("assistant", false), asked()],
        ],
    };
    // Templates may want a system message first.
    let first = [None, Some(other("system", false)), Some(other("system", true))];
    let with = first.iter().flat_map(|first| {
        let lists = lists.iter().cloned();
        lists.map(move |list| Conversation {
            messages: first.iter().cloned().chain(list).collect(),
        })
    });
    with.collect()
}

/// A message as templates see it.
pub fn message_value(message: &Message) -> Value {
    let content = match &message.content {
        Content::Text(text) => Value::from(text.as_str()),
        Content::Parts(parts) => Value::from_object(PartList(parts.iter().map(part_value).collect())),
    };
    let fixed = [
        ("role".to_owned(), Value::from(message.role.as_str())),
        ("content".to_owned(), content),
    ];
    let extra = message
        .extra
        .iter()
        .map(|(key, value)| (key.clone(), to_value(value)));
    Value::from_pairs(fixed.into_iter().chain(extra))
}

fn part_value(part: &Part) -> Value {
    Value::from_object(PartMap(match part {
        Part::Text { text } => Value::from_pairs([("type", "text"), ("text", text.as_str())]),
        Part::Image => Value::from_pairs([("type", "image")]),
    }))
}

/// A list of parts.
#[derive(Debug)]
struct PartList(Vec<Value>);

impl Object for PartList {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.get(key.as_usize()?).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.0.len())
    }

    fn render(self: &Arc<Self>, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        PRINTED.set(true);
        write!(f, "{} parts", self.0.len())
    }
}

/// One part: a map.
#[derive(Debug)]
struct PartMap(Value);

impl Object for PartMap {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.as_object()?.get_value(key)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match self.0.try_iter() {
            Ok(keys) => Enumerator::Values(keys.collect()),
            Err(_) => Enumerator::Empty,
        }
    }

    fn render(self: &Arc<Self>, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        PRINTED.set(true);
        f.write_str("a part")
    }
}
