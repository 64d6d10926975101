//! What goes wrong with a request, before an interface puts it into its own words.

use monocle_constraint::ConstraintError;
use monocle_runtime::error::RequestError;
use monocle_runtime::plugin::error::{Fault, PluginError};
use monocle_text::shown;

/// What kind of thing went wrong. It decides the status, and with it whether clients ask again: the usual ones do on 408, 409, 429 and all from 500
/// on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request makes no sense, or can never be answered here.
    Invalid,
    /// No key, or a wrong one.
    Unauthorised,
    /// Somebody who may not ask.
    Forbidden,
    /// No such thing.
    NotFound,
    /// Another method is wanted.
    Method,
    /// The body did not come in time.
    BodyLate,
    /// The body is too long.
    TooLong,
    /// This key asks too much at once.
    TooMany,
    /// What Monocle does not do, whoever asks.
    NotDone,
    /// Too much to do at the moment.
    Busy,
    /// The engine is gone.
    Dead,
    /// It took longer than it may.
    Late,
    /// A fault here.
    Internal,
}

impl Kind {
    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Unauthorised => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Method => 405,
            Self::BodyLate => 408,
            Self::TooLong => 413,
            Self::TooMany => 429,
            Self::NotDone => 501,
            Self::Busy | Self::Dead => 503,
            Self::Late => 504,
            Self::Internal => 500,
        }
    }

    /// Seconds after which it may be different.
    pub fn retry_after(self) -> Option<u32> {
        match self {
            Self::TooMany | Self::Busy => Some(2),
            Self::Dead => Some(30),
            _ => None,
        }
    }

    /// Whether asking again, the same, would end the same.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::BodyLate | Self::TooMany | Self::Busy | Self::Dead)
    }

    /// A word for metrics and logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Unauthorised => "unauthorised",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Method => "method",
            Self::BodyLate => "body_late",
            Self::TooLong => "too_long",
            Self::TooMany => "too_many",
            Self::NotDone => "not_done",
            Self::Busy => "busy",
            Self::Dead => "dead",
            Self::Late => "late",
            Self::Internal => "internal",
        }
    }
}

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What kind.
    pub kind: Kind,
    /// For people: short, and without controls, whatever a plugin or a template said.
    pub message: String,
    /// The path of the field that is wrong, like `messages[0].content[1]`.
    pub param: Option<String>,
    /// A word for programs.
    pub code: Option<&'static str>,
}

impl Failure {
    /// One of a kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: shown::message(&message.into()),
            param: None,
            code: None,
        }
    }

    /// A request that makes no sense.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    /// What a field asks for and this build cannot do.
    pub fn unsupported(field: &str, what: &str) -> Self {
        Self::invalid(format!("not supported yet by this build: {what}")).at(field)
    }

    /// With the place of the mistake.
    pub fn at(mut self, param: impl Into<String>) -> Self {
        self.param = Some(shown::message(&param.into()));
        self
    }

    /// With a word for programs.
    pub fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        let (kind, code) = match &error {
            RequestError::Image { .. } | RequestError::TooManyPixels { .. } => {
                (Kind::Invalid, Some("invalid_image"))
            }
            RequestError::TooManyImages { .. } => (Kind::Invalid, Some("too_many_images")),
            RequestError::PromptTooLong { .. } => (Kind::Invalid, Some("context_length_exceeded")),
            RequestError::TooLarge { .. } => (Kind::Invalid, Some("too_large")),
            RequestError::Sampling(monocle_text::SamplingError::OutOfRange { .. }) => (Kind::Invalid, None),
            RequestError::Constraint(error) => match error {
                ConstraintError::Busy { .. } => (Kind::Busy, None),
                ConstraintError::Lost { .. } | ConstraintError::Stuck { .. } => (Kind::Internal, None),
                _ => (Kind::Invalid, Some("invalid_schema")),
            },
            RequestError::WaitedTooLong { .. } => (Kind::Busy, None),
            RequestError::TooLate { .. } => (Kind::Late, None),
            // What a plugin or a template says no to is the request.
            RequestError::Plugin(PluginError::Call {
                fault: Fault::Refused(_) | Fault::Inconsistent(_),
                function,
                ..
            }) if function.starts_with("processor") => (Kind::Invalid, Some("prompt")),
            _ => (Kind::Internal, None),
        };
        Self {
            code,
            ..Self::new(kind, error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_short_and_without_controls() {
        let long = format!("no{}", "y\x1b".repeat(5_000_000));
        let error = RequestError::Plugin(PluginError::Call {
            plugin: "made".to_owned(),
            version: "1.0.0".to_owned(),
            function: "processor.plan",
            fault: Fault::Refused(long.clone()),
        });
        for failure in [
            Failure::from(error),
            Failure::invalid(long.clone()),
            Failure::invalid("no").at(long),
        ] {
            for told in [Some(&failure.message), failure.param.as_ref()]
                .into_iter()
                .flatten()
            {
                assert!(
                    told.contains("no") && told.len() <= 4096 && !told.contains('\x1b'),
                    "{}",
                    told.len()
                );
            }
        }
    }
}
