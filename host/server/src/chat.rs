//! What every interface asks of a model, in one form; and the one way in which it is answered.

pub mod answer;
pub mod calls;
pub mod pictures;
pub mod prepare;
pub mod request;
