//! What has to do with HTTP and with no interface in particular.

pub mod connections;
pub mod guard;
pub mod keys;
pub mod reply;
pub mod stream;
