//! `monocle check` and `monocle eval`, as a user runs them.

mod check;
mod eval;
mod other;
mod servers;
