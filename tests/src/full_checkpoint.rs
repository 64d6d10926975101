//! A checkpoint of SmolVLM-256M's shapes, with made-up numbers: the tests' small one, its configuration enlarged.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::project;
use serde_json::{Map, Value, json};

/// Layers of the decoder as they are.
pub const LAYERS: usize = 30;
const VISION_LAYERS: usize = 12;
const HIDDEN: usize = 576;
const VISION: usize = 768;
const VOCABULARY: usize = 49_280;

/// What the vision tower sees.
#[derive(Clone, Copy)]
pub struct Pictures {
    /// Pixels along a side of a tile.
    tile: usize,
    /// Pixels along a side of a patch.
    patch: usize,
    /// Patches along a side of the squares that become one feature.
    shuffle: usize,
    /// Pixels along the longer side of a picture.
    longest_edge: usize,
}

/// Tiles of 16 patches, so that pictures cost little.
pub const SMALL: Pictures = Pictures {
    tile: 56,
    patch: 14,
    shuffle: 2,
    longest_edge: 224,
};

/// As SmolVLM-256M has them: tiles of 1,024 patches.
pub const FULL: Pictures = Pictures {
    tile: 512,
    patch: 16,
    shuffle: 4,
    longest_edge: 2048,
};

/// Writes the folder, the decoder with so many layers.
pub fn write(folder: &Path, layers: usize, pictures: Pictures) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let small = project::oracle("smolvlm");
    for file in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"] {
        std::fs::copy(small.join(file), folder.join(file))?;
    }
    let read = |file: &str| -> io::Result<Value> {
        Ok(serde_json::from_str(&std::fs::read_to_string(small.join(file))?)?)
    };
    let mut rules = read("preprocessor_config.json")?;
    rules["max_image_size"]["longest_edge"] = pictures.tile.into();
    rules["size"]["longest_edge"] = pictures.longest_edge.into();
    std::fs::write(folder.join("preprocessor_config.json"), rules.to_string())?;
    let mut config = read("config.json")?;
    config["scale_factor"] = pictures.shuffle.into();
    merge(
        &mut config["text_config"],
        json!({"hidden_size": HIDDEN, "intermediate_size": 1536, "num_hidden_layers": layers, "num_attention_heads": 9,
               "num_key_value_heads": 3, "head_dim": 64, "vocab_size": VOCABULARY}),
    );
    merge(
        &mut config["vision_config"],
        json!({"hidden_size": VISION, "intermediate_size": 3072, "num_hidden_layers": VISION_LAYERS,
               "num_attention_heads": 12, "image_size": pictures.tile, "patch_size": pictures.patch}),
    );
    std::fs::write(folder.join("config.json"), config.to_string())?;
    weights(&folder.join("model.safetensors"), layers, pictures)
}

fn merge(section: &mut Value, changes: Value) {
    let (Value::Object(section), Value::Object(changes)) = (section, changes) else {
        panic!("sections of config.json are objects")
    };
    section.extend(changes);
}

/// Names and shapes.
fn tensors(layers: usize, pictures: Pictures) -> Vec<(String, Vec<usize>)> {
    let Pictures {
        tile, patch, shuffle, ..
    } = pictures;
    let mut tensors = vec![
        ("lm_head.weight".to_owned(), vec![VOCABULARY, HIDDEN]),
        (
            "model.text_model.embed_tokens.weight".to_owned(),
            vec![VOCABULARY, HIDDEN],
        ),
        ("model.text_model.norm.weight".to_owned(), vec![HIDDEN]),
        (
            "model.connector.modality_projection.proj.weight".to_owned(),
            vec![HIDDEN, shuffle * shuffle * VISION],
        ),
        (
            "model.vision_model.embeddings.patch_embedding.weight".to_owned(),
            vec![VISION, 3, patch, patch],
        ),
        (
            "model.vision_model.embeddings.patch_embedding.bias".to_owned(),
            vec![VISION],
        ),
        (
            "model.vision_model.embeddings.position_embedding.weight".to_owned(),
            vec![(tile / patch).pow(2), VISION],
        ),
        (
            "model.vision_model.post_layernorm.weight".to_owned(),
            vec![VISION],
        ),
        ("model.vision_model.post_layernorm.bias".to_owned(), vec![VISION]),
    ];
    for layer in 0..layers {
        let mut add = |name: &str, shape: &[usize]| {
            tensors.push((
                format!("model.text_model.layers.{layer}.{name}.weight"),
                shape.to_vec(),
            ));
        };
        add("input_layernorm", &[HIDDEN]);
        add("post_attention_layernorm", &[HIDDEN]);
        add("self_attn.q_proj", &[HIDDEN, HIDDEN]);
        add("self_attn.k_proj", &[192, HIDDEN]);
        add("self_attn.v_proj", &[192, HIDDEN]);
        add("self_attn.o_proj", &[HIDDEN, HIDDEN]);
        add("mlp.gate_proj", &[1536, HIDDEN]);
        add("mlp.up_proj", &[1536, HIDDEN]);
        add("mlp.down_proj", &[HIDDEN, 1536]);
    }
    for layer in 0..VISION_LAYERS {
        let mut add = |name: &str, shape: &[usize]| {
            let name = format!("model.vision_model.encoder.layers.{layer}.{name}");
            tensors.push((format!("{name}.weight"), shape.to_vec()));
            tensors.push((format!("{name}.bias"), shape[..1].to_vec()));
        };
        add("layer_norm1", &[VISION]);
        add("layer_norm2", &[VISION]);
        for part in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            add(&format!("self_attn.{part}"), &[VISION, VISION]);
        }
        add("mlp.fc1", &[3072, VISION]);
        add("mlp.fc2", &[VISION, 3072]);
    }
    tensors
}

/// All of them in bf16: a length, a header of names, types, shapes and places, then the numbers.
fn weights(path: &Path, layers: usize, pictures: Pictures) -> io::Result<()> {
    let mut header = Map::new();
    let mut end = 0;
    for (name, shape) in tensors(layers, pictures) {
        let start = end;
        end += shape.iter().product::<usize>() * 2;
        header.insert(
            name,
            json!({"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}),
        );
    }
    let header = Value::Object(header).to_string();
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    // A linear congruential generator (Knuth's MMIX constants) gives the numbers, in +-0.03.
    let mut state = 1_u64;
    for _ in 0..end / 2 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let number = ((state >> 40) as f32 / (1 << 24) as f32 - 0.5) * 0.06;
        file.write_all(&((number.to_bits() >> 16) as u16).to_le_bytes())?;
    }
    file.flush()
}
