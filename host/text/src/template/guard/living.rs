//! Which of the values that a render made are still there. The engine counts references, so it can be seen which ones it has let go.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use minijinja::Value;
use minijinja::value::ValueKind;

/// Texts this short lie in the value itself.
const SHORT: usize = 22;

/// See the module.
#[derive(Default)]
pub struct Living {
    /// By their addresses: one value may be looked at often.
    values: HashMap<*const u8, (Reference, usize)>,
    /// Of those, and of values that do not show whether they are still there.
    bytes: usize,
}

/// Does not keep a value.
enum Reference {
    Text(Weak<str>),
    List(Weak<Vec<Value>>),
}

impl Reference {
    fn is_alive(&self) -> bool {
        let count = match self {
            Self::Text(text) => text.strong_count(),
            Self::List(list) => list.strong_count(),
        };
        count > 0
    }
}

impl Living {
    /// Counts a value of so many bytes; whether all that are alive have no more than `most`.
    pub fn add(&mut self, value: &Value, bytes: usize, most: usize) -> bool {
        let (address, reference) = match value.kind() {
            ValueKind::String if value.as_str().is_some_and(|text| text.len() <= SHORT) => return true,
            ValueKind::String => {
                let Some(text) = value.to_str() else { return true };
                (text.as_ptr(), Reference::Text(Arc::downgrade(&text)))
            }
            // It holds no more than what it is made of.
            ValueKind::Iterable => return true,
            _ => {
                let Some(list) = value.downcast_object::<Vec<Value>>() else {
                    self.bytes = self.bytes.saturating_add(bytes);
                    return self.bytes <= most;
                };
                (Arc::as_ptr(&list).cast(), Reference::List(Arc::downgrade(&list)))
            }
        };
        // While it is referred to, no other value has its address.
        if self.values.contains_key(&address) {
            return true;
        }
        self.values.insert(address, (reference, bytes));
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > most {
            self.forget_the_dead();
        }
        self.bytes <= most
    }

    fn forget_the_dead(&mut self) {
        let bytes = &mut self.bytes;
        self.values.retain(|_, (reference, own)| {
            let is_alive = reference.is_alive();
            if !is_alive {
                *bytes = bytes.saturating_sub(*own);
            }
            is_alive
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(length: usize) -> Value {
        Value::from("x".repeat(length))
    }

    #[test]
    fn what_is_gone_counts_no_longer() {
        let mut living = Living::default();
        for _ in 0..100 {
            assert!(living.add(&text(60), 60, 100));
        }
        let kept = text(60);
        assert!(living.add(&kept, 60, 100));
        // The same again is nothing more.
        assert!(living.add(&kept.clone(), 60, 100));
        assert!(!living.add(&text(60), 60, 100));
        drop(kept);
        assert!(living.add(&text(60), 60, 100));
        let list = Value::from_object(vec![text(1)]);
        assert!(living.add(&list, 90, 100));
        assert!(!living.add(&text(60), 60, 100));
        drop(list);
        assert!(living.add(&text(60), 60, 100));
    }
}
