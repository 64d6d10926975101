//! Compares the speed of two commands on a machine that does not hold still.
//!
//! The commands run in pairs, in an order that lets drift cancel. Before each of them a probe reads memory as fast as it goes, so that a
//! figure can be held against what the machine gave at that moment. What counts is the ratio within each pair, and the interval of
//! its median. [`comparison::compare`] does all of it; [`report::Report`] is what comes out.

pub mod command;
pub mod comparison;
pub mod machine;
pub mod measure;
pub mod order;
pub mod others;
pub mod probe;
pub mod report;
pub mod statistics;
pub mod table;
