//! Quantisations that other programs write, told by `config.json` or by the names and types of tensors, so that they are refused by
//! their own name. Sources: the quantisation configurations of transformers 5 (`transformers/utils/quantization_config.py`), the
//! formats of compressed-tensors (`compressed_tensors/config/base.py`), and files that each of these programs has written.

use monocle_tensor::stored::{StoredTensor, StoredType};
use serde_json::Value;

use crate::damaged;
use crate::error::WeightsError;

/// Refuses a model whose `config.json` says that its weights are in a form that no engine computes with. It needs nothing else, so it
/// can be asked before weights are fetched.
pub fn refuse_foreign(config: &Value) -> Result<(), WeightsError> {
    // What MLX writes goes first: its conversions may keep what the original said.
    if let Some(settings) = own(&config["quantization"]) {
        return refuse_mode(settings);
    }
    let parts = config.as_object().into_iter().flatten();
    let places = [("", config)]
        .into_iter()
        .chain(parts.map(|(key, part)| (key.as_str(), part)));
    for (place, part) in places {
        for key in ["quantization", "quantization_config", "compression_config"] {
            let settings = &part[key];
            if let Some(settings) = own(settings) {
                refuse_mode(settings)?;
            } else if let Some((said, method)) = method(settings) {
                let dot = if place.is_empty() { "" } else { "." };
                return Err(WeightsError::ForeignQuantisation {
                    method,
                    told_by: format!("`config.json` says {said} in `{place}{dot}{key}`"),
                });
            }
        }
    }
    Ok(())
}

/// The settings, if they are of MLX's kind: bits and a group size, and no other program's name.
pub(crate) fn own(settings: &Value) -> Option<&Value> {
    let numbers = settings["group_size"].is_u64() && settings["bits"].is_u64();
    (numbers && settings["quant_method"].is_null()).then_some(settings)
}

fn refuse_mode(settings: &Value) -> Result<(), WeightsError> {
    match settings["mode"].as_str() {
        None | Some("affine" | "mxfp4" | "mxfp8") => Ok(()),
        Some(mode) => Err(WeightsError::ForeignQuantisation {
            method: format!("MLX's {mode}"),
            told_by: format!(
                "`config.json` says mode `{mode}`; only `affine`, `mxfp4` and `mxfp8` are supported"
            ),
        }),
    }
}

/// What a `quantization_config` says, in its words and in ours; nothing where it says that nothing is quantised.
fn method(settings: &Value) -> Option<(String, String)> {
    let text = |key: &str| settings[key].as_str().map(str::to_lowercase);
    let said = |key: &str| format!("`{key}` is `{}`", settings[key].as_str().unwrap_or_default());
    let bits = || {
        let bits = settings["bits"].as_u64().or(settings["w_bit"].as_u64());
        bits.map_or(String::new(), |bits| format!(" in {bits} bits"))
    };
    let yes = |key: &str| settings[key].as_bool().unwrap_or(false);
    let Some(method) = text("quant_method") else {
        if yes("load_in_8bit") || yes("load_in_4bit") {
            let name = bitsandbytes(yes("load_in_4bit"));
            return Some(("to load with bitsandbytes".to_owned(), name));
        }
        return text("quant_algo").map(|algorithm| (said("quant_algo"), algorithm.to_uppercase()));
    };
    let name = match method.as_str() {
        // As `packed` reads it: 4 bits, in the order of its first kernels.
        "awq" => {
            let bits_are_4 = settings["bits"].as_u64().or(settings["w_bit"].as_u64()) == Some(4);
            match text("version").as_deref() {
                None | Some("gemm") if bits_are_4 && settings["zero_point"] != Value::Bool(false) => {
                    return None;
                }
                None | Some("gemm") => format!("AWQ{}", bits()),
                Some(version) => format!("AWQ{} for `{version}`", bits()),
            }
        }
        "gptq" => format!("GPTQ{}", bits()),
        "auto-round" | "intel/auto-round" => format!("AutoRound{}", bits()),
        "bitsandbytes" | "bitsandbytes_4bit" | "bitsandbytes_8bit" => {
            let eight = yes("load_in_8bit") || method.ends_with("8bit");
            let four = yes("load_in_4bit") || method.ends_with("4bit");
            let is_off = settings["load_in_8bit"] == Value::Bool(false)
                && settings["load_in_4bit"] == Value::Bool(false);
            match (eight, four) {
                (false, false) if is_off => return None,
                (false, false) => "bitsandbytes".to_owned(),
                _ => bitsandbytes(four),
            }
        }
        "fp8" | "fbgemm_fp8" | "finegrained_fp8" | "mxfp4" => return None,
        "modelopt" | "modelopt_fp4" | "modelopt_fp8" => match text("quant_algo") {
            Some(algorithm) if algorithm == "fp8" => return None,
            Some(algorithm) => format!("ModelOpt's {}", algorithm.to_uppercase()),
            None => "ModelOpt".to_owned(),
        },
        "compressed-tensors" | "compressed_tensors" | "sparseml" => compressed(settings)?,
        other => format!("`{other}`"),
    };
    Some((said("quant_method"), name))
}

fn bitsandbytes(four: bool) -> String {
    format!("bitsandbytes in {} bits", if four { 4 } else { 8 })
}

/// What compressed-tensors' `format` stands for; nothing for plain numbers, and for what `packed` reads.
fn compressed(settings: &Value) -> Option<String> {
    let groups = settings["config_groups"].as_object();
    let weights = groups
        .and_then(|groups| groups.values().next())
        .map(|group| &group["weights"]);
    let bits = weights.and_then(|weights| weights["num_bits"].as_u64());
    let is_float = weights.is_some_and(|weights| weights["type"] == "float");
    let format = settings["format"].as_str().unwrap_or_default();
    let name = match format {
        "dense" | "float-quantized" | "mxfp4-pack-quantized" => return None,
        "int-quantized" => format!("{}-bit integers", bits.unwrap_or(8)),
        "pack-quantized" => format!("packed {}-bit integers", bits.unwrap_or(4)),
        "nvfp4-pack-quantized" => "NVFP4".to_owned(),
        _ => match (is_float, bits) {
            (true, Some(8)) => return None,
            (false, Some(bits)) => format!("{bits}-bit integers"),
            _ => return Some("compressed-tensors".to_owned()),
        },
    };
    Some(format!("{name} by compressed-tensors"))
}

/// What the tensors of a layer say that cannot be used, where `config.json` is silent: another program's quantisation, or one that is read,
/// but whose tensors do not fit together. `get` finds a tensor by its full name.
pub(crate) fn of_layer<'a>(
    layer: &str,
    get: &dyn Fn(&str) -> Option<&'a StoredTensor>,
) -> Option<WeightsError> {
    let part = |ending: &str| get(&format!("{layer}{ending}"));
    let weight = part(".weight").or_else(|| part(""));
    let found = |method: &str, told_by: &StoredTensor| {
        let (name, kind) = (&told_by.name, told_by.kind.name());
        Some(WeightsError::ForeignQuantisation {
            method: method.to_owned(),
            told_by: format!("told by the tensor `{name}`, {kind}"),
        })
    };
    if let Some(packed) = part(".qweight") {
        // AWQ packs along the outputs, GPTQ along the inputs: its rows have as many values as its scales.
        let columns = |tensor: &StoredTensor| tensor.shape.last().copied();
        let is_gptq = part(".g_idx").is_some()
            || part(".scales").is_some_and(|scales| columns(scales) == columns(packed));
        return match is_gptq {
            true => found("GPTQ", packed),
            false => Some(damaged::awq(layer, packed, get)),
        };
    }
    if let Some(scales) = part(".weight.absmax") {
        return found(&bitsandbytes(true), scales);
    }
    if let Some(scales) = part(".SCB") {
        return found(&bitsandbytes(false), scales);
    }
    if let Some(packed) = part(".weight_packed") {
        if part(".weight_global_scale").is_some() {
            return found("NVFP4 by compressed-tensors", packed);
        }
        return match packed.kind {
            StoredType::U8 => {
                let scales = format!("{layer}.weight_scale");
                Some(damaged::exponents(packed, scales, &[16], get))
            }
            _ => found("packed integers by compressed-tensors", packed),
        };
    }
    if let Some(blocks) = part("_blocks").filter(|blocks| blocks.kind == StoredType::U8) {
        return Some(damaged::experts(layer, blocks, get));
    }
    let weight = weight?;
    match weight.kind {
        StoredType::F8E4M3 | StoredType::F8E5M2 => Some(damaged::float8(weight, get)),
        StoredType::I8 if part(".weight_scale").is_some() => {
            found("8-bit integers by compressed-tensors", weight)
        }
        StoredType::U8 if part(".weight_scale_2").is_some() => found("ModelOpt's NVFP4", weight),
        StoredType::U32 if part(".biases").is_none() => {
            let exponents =
                |scales: &&StoredTensor| matches!(scales.kind, StoredType::U8 | StoredType::F8E8M0);
            let scales = part(".scales").filter(exponents)?;
            let (words, groups) = (weight.shape.last()?, scales.shape.last()?);
            // nvfp4 has 64 bits for a scale: 16 values of 4. MLX's mxfp4 has 4 words, its mxfp8 has 8.
            match words.checked_mul(32).and_then(|bits| bits.checked_div(*groups)) {
                Some(64) => found("MLX's nvfp4", scales),
                _ => {
                    let scales = format!("{layer}.scales");
                    Some(damaged::exponents(weight, scales, &[4, 8], get))
                }
            }
        }
        _ => None,
    }
}

/// As [`of_layer`], for the first of all layers that says anything.
pub(crate) fn of_any_layer<'a>(
    names: impl Iterator<Item = &'a str>,
    get: &dyn Fn(&str) -> Option<&'a StoredTensor>,
) -> Option<WeightsError> {
    const TELLING: [&str; 7] = [
        ".qweight",
        ".weight.absmax",
        ".SCB",
        ".weight_packed",
        "_blocks",
        ".weight_scale",
        ".weight_scale_inv",
    ];
    let mut layers = names.filter_map(|name| TELLING.iter().find_map(|ending| name.strip_suffix(ending)));
    layers.find_map(|layer| of_layer(layer, get))
}
