//! Words for the host's log. Nothing is printed unless the user asked for it, except warnings, which go with the result.

use crate::bindings::imports::log::{Level, write};

/// For the plugin's author.
pub fn debug(text: &str) {
    write(Level::Debug, text);
}

/// For the curious user.
pub fn info(text: &str) {
    write(Level::Info, text);
}

/// For every user: a default that was assumed, a picture that was ignored.
pub fn warn(text: &str) {
    write(Level::Warn, text);
}
