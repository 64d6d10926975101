//! Answers over HTTP, in the words of the interfaces that clients already speak.
//!
//! [`chat`] is what they all come to: one form of request, one way to answer it. [`models`] loads models and lets them go; [`engine`] is a loaded one,
//! on a thread of its own. [`api`] has a file for each interface, [`http`] what they share.

pub mod api;
pub mod app;
pub mod chat;
pub mod engine;
pub mod failure;
pub mod http;
pub mod late;
pub mod metrics;
pub mod models;
pub mod page;
pub mod server;
