//! `monocle trace`: a reference implementation's numbers, and our own, compared from the command line.

use std::collections::BTreeMap;

use monocle_tensor::stored::StoredType;
use monocle_tests::oracle::Oracle;
use monocle_tests::program::Monocle;
use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use monocle_weights::{NewTensor, to_safetensors};

/// A case of an oracle as `trace_transformers.py` writes it; `change` may falsify it.
fn golden(case: &str, change: impl Fn(&mut BTreeMap<&str, Vec<f32>>, &mut Vec<i64>, &mut String)) -> Vec<u8> {
    let oracle = Oracle::open(&project::oracle("smolvlm"));
    let name = |array: &str| format!("{case}/{array}");
    let mut ids = oracle.ints(&name("input_ids")).expect("a case has ids");
    let mut prompt = oracle.case(case)["prompt"]
        .as_str()
        .expect("a case has a prompt")
        .to_owned();
    let (mut shapes, mut floats) = (BTreeMap::new(), BTreeMap::new());
    for array in ["pixel_values", "step_logits"] {
        if let Some((shape, values)) = oracle.floats(&name(array)) {
            shapes.insert(array, shape);
            floats.insert(array, values);
        }
    }
    change(&mut floats, &mut ids, &mut prompt);
    let answer = monocle_tests::parity::greedy_tokens(&oracle, case);
    let answer: Vec<i64> = answer.into_iter().map(i64::from).collect();
    let bytes = |ids: &[i64]| ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    let of_ids = |name: &str, ids: &[i64]| NewTensor {
        name: name.to_owned(),
        kind: StoredType::I64,
        shape: vec![ids.len()],
        bytes: bytes(ids),
    };
    let mut tensors = vec![of_ids("input_ids", &ids), of_ids("greedy_tokens", &answer)];
    tensors.extend(floats.iter().map(|(name, values)| NewTensor {
        name: (*name).to_owned(),
        kind: StoredType::F32,
        shape: shapes[name].clone(),
        bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    }));
    to_safetensors(&BTreeMap::from([("prompt".to_owned(), prompt)]), &tensors)
}

fn trace(scratch: &Scratch, more: &[&str]) -> Monocle {
    let folder = project::oracle("smolvlm");
    let oracle = Oracle::open(&folder);
    let words = oracle.request("image");
    let words = match &words.messages.last().expect("somebody speaks").content {
        monocle_runtime::plugin::contract::Content::Parts(parts) => parts
            .iter()
            .find_map(|part| match part {
                monocle_runtime::plugin::contract::Part::Text(text) => Some(text.clone()),
                monocle_runtime::plugin::contract::Part::Image(_) => None,
            })
            .expect("there are words"),
        monocle_runtime::plugin::contract::Content::Text(text) => text.clone(),
    };
    Monocle::new(["trace"])
        .args([&folder, &folder.join("image.png")])
        .args(["-p", &words, "--engine", "cpu", "--precision", "f32"])
        .args(more)
        .within(scratch.path())
}

#[test]
fn a_references_numbers_are_found_again_at_every_size_of_step() {
    let scratch = Scratch::new("traces-golden");
    scratch.write("golden.safetensors", golden("image", |_, _, _| ()));
    let against = ["--golden", "golden.safetensors", "--chunks", "4096,1,7,64"];
    let reports = trace(&scratch, &against).args(["--json"]).json();
    let reports = reports.as_array().expect("reports are listed");
    assert_eq!(reports.len(), 4);
    for report in reports {
        let rows = report["rows"].as_array().expect("rows are listed");
        let names: Vec<_> = rows
            .iter()
            .map(|row| row["what"].as_str().unwrap_or_default())
            .collect();
        assert_eq!(
            names,
            [
                "prompt",
                "input_ids",
                "pixel_values",
                "step_logits",
                "greedy_tokens"
            ]
        );
        assert!(rows.iter().all(|row| row["agrees"] == true), "{report:#}");
    }
    // What differs is named, with its place, and the exit code says so.
    type Change<'a> = &'a dyn Fn(&mut BTreeMap<&str, Vec<f32>>, &mut Vec<i64>, &mut String);
    let falsified: [(Change, &[&str]); 4] = [
        (
            &|floats, _, _| floats.get_mut("step_logits").expect("it is there")[5] += 0.01,
            &["DIFFERS step_logits", "number 5 is"],
        ),
        (
            &|floats, _, _| floats.get_mut("pixel_values").expect("it is there")[9] += 0.01,
            &["DIFFERS pixel_values", "number 9 is"],
        ),
        (&|_, ids, _| ids[3] += 1, &["DIFFERS input_ids", "token 3 is"]),
        (
            &|_, _, prompt| prompt.push('!'),
            &["DIFFERS prompt", "differs at byte"],
        ),
    ];
    for (change, words) in falsified {
        scratch.write("golden.safetensors", golden("image", change));
        let outcome = trace(&scratch, &["--golden", "golden.safetensors"]).run();
        assert_eq!(outcome.code, 1, "{outcome:?}");
        assert!(outcome.stderr.contains("1 of 1 traces differ"), "{outcome:?}");
        for part in words {
            assert!(
                outcome.stdout.contains(part),
                "`{part}` is not in:\n{}",
                outcome.stdout
            );
        }
    }
    scratch.write("golden.safetensors", "nothing");
    trace(&scratch, &["--golden", "golden.safetensors"]).fails(1, &["is no safetensors file"]);
    trace(&scratch, &[]).fails(2, &["--golden", "--output"]);
}

#[test]
fn a_trace_is_written_and_agrees_with_itself() {
    let scratch = Scratch::new("traces-own");
    trace(
        &scratch,
        &[
            "-o",
            "own.safetensors",
            "--max-tokens",
            "5",
            "--all-logits",
            "--chunks",
            "4096,7",
        ],
    )
    .succeeds();
    let bytes = std::fs::read(scratch.file("own.safetensors")).expect("it was written");
    let header = monocle_weights::Header::parse(&bytes).expect("it is sound");
    assert_eq!(header.metadata["format"], "monocle trace 1");
    assert!(
        header.metadata["pictures"].contains("image.png"),
        "{:?}",
        header.metadata
    );
    let shape = |name: &str| {
        let tensor = header.tensors.iter().find(|tensor| tensor.name == name);
        tensor.unwrap_or_else(|| panic!("no `{name}`")).shape.clone()
    };
    let tokens = shape("input_ids")[0];
    assert_eq!(shape("prompt_logits")[0], tokens);
    assert_eq!(shape("prompt_argmax"), [tokens]);
    assert_eq!(shape("step_logits"), [5, shape("prompt_logits")[1]]);
    assert_eq!(shape("greedy_tokens"), [5]);
    assert_eq!(shape("pixels.0.0").len(), 4);
    assert_eq!(shape("features.0.0").len(), 2);
    let outcome = trace(&scratch, &["--golden", "own.safetensors", "--chunks", "1"]).succeeds();
    for what in ["pixels.0.0", "features.0.0", "prompt_logits", "prompt_argmax"] {
        assert!(
            outcome.stdout.contains(&format!("ok      {what}")),
            "{}",
            outcome.stdout
        );
    }
}

/// The script that `plugins new` writes, run with the transformers of `cargo xtask tools`.
#[test]
fn transformers_numbers_are_found_again() {
    let python = project::target().join("tools/venv/bin/python");
    if !python.is_file() {
        eprintln!("there is no transformers, so its script was not run: `cargo xtask tools`");
        return;
    }
    let scratch = Scratch::new("traces-transformers");
    let root = project::root();
    let (model, golden) = (root.join("models/shapes"), scratch.file("golden.safetensors"));
    let picture = model.join("pictures/shapes.png");
    let made = std::process::Command::new(python)
        .arg(root.join("plugin-api/reference/trace_transformers.py"))
        .args([&model, &picture])
        .args(["-p", "What is this?", "--all-logits", "-o"])
        .arg(&golden)
        .output()
        .expect("python can be started");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let outcome = Monocle::new(["trace"])
        .args([&model, &picture])
        .args(["-p", "What is this?", "--chunks", "4096,7,1", "--golden"])
        .args([&golden])
        .succeeds();
    for what in [
        "prompt ",
        "input_ids",
        "pixel_values",
        "prompt_logits",
        "step_logits",
        "greedy_tokens",
    ] {
        assert_eq!(
            outcome.stdout.matches(&format!("ok      {what}")).count(),
            3,
            "{what}: {}",
            outcome.stdout
        );
    }
}
