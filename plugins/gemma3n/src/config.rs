//! `config.json`; what `text_config` leaves out is as in transformers' `Gemma3nTextConfig`.

use monocle_plugin::prelude::*;
use monocle_plugin::rope::RopeConfig;
use serde::Deserialize;

/// The decoder.
pub struct TextConfig {
    /// Sizes, windows and rotary positions.
    pub llama: LlamaConfig,
    pub keys: Keys,
    /// For each layer the layer whose cache it uses, where that is not its own.
    pub shared: Vec<Option<u32>>,
    /// For each layer, what share of its feed-forward block is silent.
    pub sparsity: Vec<f32>,
}

/// What `LlamaConfig` does not have.
#[derive(Deserialize)]
#[serde(default)]
pub struct Keys {
    /// Rows of the table of each layer's embeddings; tokens beyond have that of token 0.
    pub vocab_size_per_layer_input: u32,
    pub hidden_size_per_layer_input: u32,
    pub altup_active_idx: u32,
    pub altup_num_inputs: u32,
    pub altup_correct_scale: bool,
    num_kv_shared_layers: u32,
    activation_sparsity_pattern: Option<Pattern>,
}

/// One number a layer, or one for all.
#[derive(Deserialize)]
#[serde(untagged)]
enum Pattern {
    Each(Vec<f32>),
    All(f32),
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            vocab_size_per_layer_input: 262_144,
            hidden_size_per_layer_input: 256,
            altup_active_idx: 0,
            altup_num_inputs: 4,
            altup_correct_scale: true,
            num_kv_shared_layers: 15,
            activation_sparsity_pattern: None,
        }
    }
}

impl TextConfig {
    /// From `text_config`.
    pub fn read(config: &Section) -> Result<Self> {
        let text = config.section("text_config")?.with_defaults([
            ("hidden_size", 2048.into()),
            ("num_hidden_layers", 35.into()),
            ("num_attention_heads", 8.into()),
            ("head_dim", 256.into()),
            ("sliding_window", 512.into()),
            ("rope_theta", 1e6.into()),
            ("final_logit_softcapping", 30.0.into()),
        ]);
        let mut llama = LlamaConfig::read(&text)?;
        llama.hidden_act = text.get_or("hidden_activation", Activation::GeluTanh)?;
        llama.windows = llama.read_windows(&text, 5)?;
        let parameters = text.section("rope_parameters")?;
        if parameters.has("full_attention") {
            llama.rope = RopeConfig::read_parameters(&parameters.section("full_attention")?, &text, false)?;
        }
        let base = text.get_or("rope_local_base_freq", 10_000.0)?;
        let local = parameters
            .section("sliding_attention")?
            .with_defaults([("rope_theta", base.into())]);
        llama.window_rope = Some(RopeConfig::read_parameters(&local, &text, false)?);
        let keys: Keys = text.read()?;
        ensure!(
            keys.altup_active_idx < keys.altup_num_inputs && keys.hidden_size_per_layer_input > 0,
            "`altup_active_idx` of the text config is {}, of {} rows a token; `hidden_size_per_layer_input` is {}",
            keys.altup_active_idx,
            keys.altup_num_inputs,
            keys.hidden_size_per_layer_input
        );
        Ok(Self {
            shared: shared(&llama.windows, keys.num_kv_shared_layers)?,
            sparsity: sparsity(keys.activation_sparsity_pattern.as_ref(), llama.num_hidden_layers)?,
            llama,
            keys,
        })
    }
}

/// The last layers use the cache of the last layer before them with the same window.
fn shared(windows: &[Option<u32>], count: u32) -> Result<Vec<Option<u32>>> {
    let first = windows.len().checked_sub(count as usize).context(format_args!(
        "`num_kv_shared_layers` of the text config is {count}, of {} layers",
        windows.len()
    ))?;
    let source = |layer: usize| {
        let found = (0..first).rev().find(|&before| windows[before] == windows[layer]);
        found.map(|before| before as u32).context(format_args!(
            "layer {layer} shares a cache, and no layer before {first} is of its type"
        ))
    };
    (0..windows.len())
        .map(|layer| {
            if layer < first {
                Ok(None)
            } else {
                source(layer).map(Some)
            }
        })
        .collect()
}

fn sparsity(pattern: Option<&Pattern>, layers: u32) -> Result<Vec<f32>> {
    let pattern = match pattern {
        Some(Pattern::Each(pattern)) => pattern.clone(),
        Some(Pattern::All(share)) => vec![*share; layers as usize],
        None => (0..layers)
            .map(|layer| if layers > 10 && layer < 10 { 0.95 } else { 0.0 })
            .collect(),
    };
    let fits = pattern.len() == layers as usize && pattern.iter().all(|share| (0.0..1.0).contains(share));
    ensure!(
        fits,
        "`activation_sparsity_pattern` of the text config is {pattern:?}, expected a share from 0 to 1 for each of {layers} layers"
    );
    Ok(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<TextConfig> {
        TextConfig::read(&Section::parse("config.json", text)?)
    }

    #[test]
    fn defaults_are_those_of_the_reference_s_config_class() {
        // transformers 5.23: Gemma3nTextConfig(), the sizes of E4B
        let config = read("{}").unwrap();
        assert_eq!(
            (config.llama.hidden_size, config.llama.num_hidden_layers),
            (2048, 35)
        );
        assert_eq!(
            (config.llama.head_dim(), config.llama.final_logit_softcapping),
            (256, Some(30.0))
        );
        assert_eq!(config.llama.rope, RopeConfig::plain(1e6));
        assert_eq!(config.llama.window_rope, Some(RopeConfig::plain(1e4)));
        // kv_sharing_modes: 18 is the last layer with a window before layer 20, 19 the last without.
        assert_eq!(config.shared[..20], [None; 20]);
        assert_eq!(
            config.shared[20..25],
            [Some(18), Some(18), Some(18), Some(18), Some(19)]
        );
        assert_eq!(config.sparsity[9..11], [0.95, 0.0]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let error = |text| read(text).err().unwrap().to_string();
        let alone = error(r#"{"text_config": {"num_hidden_layers": 5, "num_kv_shared_layers": 2}}"#);
        assert!(alone.contains("layer 4 shares a cache"), "{alone}");
        let more = error(r#"{"text_config": {"num_hidden_layers": 5, "num_kv_shared_layers": 6}}"#);
        assert!(more.contains("is 6, of 5 layers"), "{more}");
        let sparse = error(
            r#"{"text_config": {"num_hidden_layers": 5, "num_kv_shared_layers": 0, "activation_sparsity_pattern": [1.0]}}"#,
        );
        assert!(sparse.contains("for each of 5 layers"), "{sparse}");
    }
}
