//! Errors of a plugin: words for the user.

use std::fmt::{self, Display};

/// Why a plugin cannot do what it was asked to. The host shows it after the plugin's name.
pub struct Error(String);

/// What a plugin's functions return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with these words: what was expected, what was found, where.
    pub fn new(text: impl Display) -> Self {
        Self(text.to_string())
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// So that `?` works on other crates' errors. (For this reason `Error` is not a `std::error::Error` itself.)
impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        Self::new(error)
    }
}

/// Ends the function with an error unless the condition holds: `ensure!(side > 0, "a picture has a side of {side}")`.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($words:tt)+) => {
        if !$condition {
            return ::std::result::Result::Err($crate::Error::new(::std::format_args!($($words)+)));
        }
    };
}

/// Says what was being done when an error arose, or turns a missing value into an error.
pub trait Context<T> {
    /// Puts `text` before the error's words.
    fn context(self, text: impl Display) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, text: impl Display) -> Result<T> {
        self.map_err(|error| Error(format!("{text}: {}", error.into())))
    }
}

impl<T> Context<T> for Option<T> {
    fn context(self, text: impl Display) -> Result<T> {
        self.ok_or_else(|| Error::new(text))
    }
}
