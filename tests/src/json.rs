//! What references wrote as JSON.

use serde_json::Value;

/// A list of numbers.
pub fn numbers(values: &Value) -> Vec<f32> {
    let values = values.as_array().expect("a list").iter();
    values
        .map(|value| value.as_f64().expect("a number") as f32)
        .collect()
}

/// A list of ids.
pub fn ids(values: &Value) -> Vec<u32> {
    let values = values.as_array().expect("a list").iter();
    values
        .map(|value| value.as_u64().expect("an id") as u32)
        .collect()
}
