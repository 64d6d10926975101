//! What mlx-vlm calls a layer: the names under which it looks for the bits of that layer in `config.json`.

use std::sync::LazyLock;

use regex::Regex;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    rule: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    /// A regular expression.
    from: String,
    /// What takes the place of what it matches, with `$1`.
    to: String,
}

static RULES: LazyLock<Vec<(Regex, String)>> = LazyLock::new(|| {
    let rules: Rules = toml::from_str(include_str!("../../data/mlx_modules.toml"))
        .expect("the file is part of the program, and a test reads it");
    let compiled = |rule: Rule| {
        let from = Regex::new(&rule.from).expect("a test reads the patterns");
        (from, rule.to)
    };
    rules.rule.into_iter().map(compiled).collect()
});

/// The names that mlx-vlm may have for a layer of a checkpoint, without the checkpoint's own.
pub(crate) fn of(layer: &str) -> Vec<String> {
    let mut names = vec![layer.to_owned()];
    for (from, to) in RULES.iter() {
        for name in names.clone() {
            let made = from.replace(&name, to.as_str()).into_owned();
            if !names.contains(&made) {
                names.push(made);
            }
        }
    }
    names.remove(0);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand, from mlx-vlm's `sanitize` functions.
    #[test]
    fn layers_have_the_names_of_their_modules() {
        for (layer, expected) in [
            ("model.text_model.embed_tokens", "language_model.embed_tokens"),
            (
                "model.language_model.layers.3.self_attn.v_proj",
                "language_model.model.layers.3.self_attn.v_proj",
            ),
            ("model.embed_tokens", "language_model.model.embed_tokens"),
            ("lm_head", "language_model.lm_head"),
            ("lm_head", "language_model.model.lm_head"),
            (
                "language.model.layers.1.mlp.experts.63.down_proj",
                "language_model.model.layers.1.mlp.switch_mlp.down_proj",
            ),
            (
                "model.layers.1.mlp.experts.64.down_proj",
                "language_model.model.layers.1.mlp.switch_mlp_1.down_proj",
            ),
            (
                "model.visual.blocks.0.mlp.down_proj",
                "vision_tower.blocks.0.mlp.down_proj",
            ),
            (
                "model.vision_tower.transformer.layers.0.attention.v_proj",
                "vision_tower.vision_model.transformer.layers.0.attention.v_proj",
            ),
            (
                "model.vision_tower.vision_model.encoder.layers.0.self_attn.v_proj",
                "vision_tower.encoder.layers.0.self_attn.v_proj",
            ),
        ] {
            let found = of(layer);
            assert!(found.iter().any(|name| name == expected), "{layer}: {found:?}");
            assert!(!found.iter().any(|name| name == layer), "{layer}: {found:?}");
        }
        assert_eq!(of("language_model.model.layers.0.mlp.down_proj"), [] as [&str; 0]);
    }
}
