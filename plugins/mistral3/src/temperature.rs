//! Queries that grow with their position.

use monocle_plugin::prelude::*;

/// Llama 4's rule, which Ministral 3 has too: queries are multiplied by `1 + β ln(1 + ⌊position / original⌋)`, so that attention
/// stays sharp beyond the context that a model was trained on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Temperature {
    /// How much sharper.
    pub beta: f32,
    /// The context that the model was trained on first, in tokens.
    pub original: u32,
    /// The longest context, in tokens.
    pub maximum: u32,
}

impl Temperature {
    /// From `rope_parameters` (or `rope_scaling`) of a text config, if it has `llama_4_scaling_beta`.
    pub fn read(text_config: &Section) -> Result<Option<Self>> {
        let newer = text_config.has("rope_parameters");
        let section = text_config.section(if newer { "rope_parameters" } else { "rope_scaling" })?;
        let Some(beta) = section.find("llama_4_scaling_beta")? else {
            return Ok(None);
        };
        let original: u32 = section.get("original_max_position_embeddings")?;
        let maximum = text_config.get_or("max_position_embeddings", original)?;
        let temperature = Self {
            beta,
            original,
            maximum,
        };
        Ok((original > 0).then_some(temperature))
    }

    /// What queries at these positions `[axes, tokens]` are multiplied by: `[tokens, 1, 1]`.
    ///
    /// The division is a comparison of integers, since floats may be too coarse for positions.
    pub fn scales(&self, positions: &Tensor) -> Tensor {
        let tokens = positions.dimension(1);
        let table = self.table();
        let steps = table.len() as i32 - 1;
        let last: Vec<i32> = (1..=steps)
            .map(|step| (i64::from(step) * i64::from(self.original) - 1) as i32)
            .collect();
        let positions = positions.narrow(0, 0, 1).reshape(&[tokens, 1]);
        let passed = positions.greater(&ints(&[steps as u32], &last)); // [tokens, steps]
        let step = passed.to_float().sum(&[1]).cast(Kind::Int); // [tokens]
        floats(&[table.len() as u32, 1, 1], &table).take_rows(&step)
    }

    /// The factor of each stretch of `original` positions. Beyond `maximum` it stays what it is there.
    fn table(&self) -> Vec<f32> {
        let steps = (self.maximum / self.original).clamp(1, 1024);
        (0..=steps)
            .map(|step| 1.0 + self.beta * (1.0 + step as f32).ln())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configs_may_have_it() {
        let text = r#"{"max_position_embeddings": 1024, "rope_parameters":
                       {"llama_4_scaling_beta": 0.1, "original_max_position_embeddings": 256}}"#;
        let read = |text| Temperature::read(&Section::parse("config.json", text).unwrap()).unwrap();
        let temperature = read(text).unwrap();
        // 1 + 0.1 ln(1 + n)
        let expected = [1.0, 1.069_314_7, 1.109_861_2, 1.138_629_4, 1.160_943_8];
        let table = temperature.table();
        assert_eq!(table.len(), expected.len());
        for (found, expected) in table.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6);
        }
        assert_eq!(read(r#"{"rope_scaling": {"factor": 2.0}}"#), None);
    }
}
