//! Many models, many pictures: what a survey of them needs that needs no model itself.
//!
//! [`findings`] and [`grade`] judge an answer, [`structure`] reads one that has parts. [`process`] runs each model apart, [`row`] is what comes
//! of it, or a [`failure`]; [`report`] shows rows, [`compare`] two runs. [`dataset`] reads questions, [`vqa`] scores their answers, [`interval`] says
//! how sure that is. [`photos`] finds photos, [`metadata`] reads what is known of one, [`sidecar`] writes what was found beside it, [`journal`]
//! remembers. [`server`] asks other programs.

pub mod failure;
pub mod findings;
pub mod grade;
pub mod metadata;
pub mod process;
pub mod row;
pub mod sidecar;
pub mod structure;
pub mod xmp;
