//! Getting what lies at an address. Nothing else in Monocle uses the network.
//!
//! [`http`] asks servers that may lie, stall or hang up; [`address`] tells public addresses from those of a local network; [`picture`] gets
//! pictures, of which a user or a web page may name any address; [`endpoint`] asks models that other programs serve; [`registry`] speaks with
//! registries of OCI artifacts.

pub mod address;
pub mod endpoint;
pub mod hosts;
pub mod http;
pub mod picture;
pub mod registry;
