//! Which files count, with an index that is right, wrong or missing.

use monocle_tensor::stored::StoredType::{self, F32};
use serde_json::{Value, json};

use super::folder::Folder;

const ONE: &[(&str, StoredType, &[usize])] = &[("a.weight", F32, &[2, 2])];
const TWO: &[(&str, StoredType, &[usize])] = &[("b.weight", F32, &[2, 2])];
const FIRST: &str = "model-00001-of-00002.safetensors";
const SECOND: &str = "model-00002-of-00002.safetensors";
const INDEX: &str = "model.safetensors.index.json";

#[test]
fn shards_are_joined() {
    let folder = Folder::new("joined");
    folder
        .file(FIRST, ONE, 0)
        .file(SECOND, TWO, 0)
        .index(json!({ "a.weight": FIRST, "b.weight": SECOND }));
    let checkpoint = folder.open().unwrap();
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a.weight", "b.weight"]);
    assert_eq!(checkpoint.notes(), [] as [String; 0]);
    let summary = checkpoint.summary();
    assert_eq!(
        (summary.files, summary.tensors, summary.parameters, summary.bytes),
        (2, 2, 8, 32)
    );
    assert_eq!(
        (summary.by_kind[&F32].tensors, summary.by_kind[&F32].bytes),
        (2, 32)
    );
}

#[test]
fn missing_files_are_named() {
    let folder = Folder::new("missing");
    assert_eq!(
        folder.refusal(),
        "`FOLDER` has no weights: expected `model.safetensors` or `model.safetensors.index.json`"
    );
    folder.file(FIRST, ONE, 0);
    let expected = format!("`FOLDER` lacks 1 of its 2 weight files: `{SECOND}`; download them again");
    assert_eq!(folder.refusal(), expected, "by the shard's own name");
    folder.index(json!({ "a.weight": FIRST, "b.weight": SECOND }));
    let lost = format!(
        " (tensor `b.weight`, for one, is promised in `{SECOND}`, and no file has it; there: `{FIRST}`)"
    );
    assert_eq!(folder.refusal(), format!("{expected}{lost}"), "by the index");
}

#[test]
fn a_broken_index_is_refused() {
    let folder = Folder::new("broken-index");
    folder.file(FIRST, ONE, 0).file(SECOND, TWO, 0);
    folder.index(json!({ "a.weight": "../other.safetensors" }));
    assert!(
        folder
            .refusal()
            .contains("tensor `a.weight` should name a `.safetensors` file"),
        "{}",
        folder.refusal()
    );
    folder.json("model.safetensors.index.json", json!([]));
    assert!(
        folder.refusal().contains("it has no `weight_map`"),
        "{}",
        folder.refusal()
    );
    std::fs::write(folder.0.join("model.safetensors.index.json"), "{").unwrap();
    assert!(
        folder.refusal().contains("is not JSON: EOF"),
        "{}",
        folder.refusal()
    );
}

#[test]
fn odd_folders_are_used_and_noted() {
    let both = Folder::new("both");
    both.file(FIRST, ONE, 1)
        .file(SECOND, TWO, 1)
        .file("model.safetensors", ONE, 2);
    both.index(json!({ "a.weight": FIRST, "b.weight": SECOND }));
    let checkpoint = both.open().unwrap();
    assert_eq!(
        checkpoint.notes(),
        ["`model.safetensors` is not used: `model.safetensors.index.json` lists other files"]
    );
    assert_eq!(checkpoint.tensor("a.weight").unwrap().bytes.as_slice(), [1; 16]);

    std::fs::remove_file(both.0.join(SECOND)).unwrap();
    let checkpoint = both.open().unwrap();
    assert_eq!(checkpoint.notes().len(), 2, "{:?}", checkpoint.notes());
    assert!(checkpoint.notes()[0].contains("lists files that are missing, and `model.safetensors` is there"));
    assert_eq!(checkpoint.tensor("a.weight").unwrap().bytes.as_slice(), [2; 16]);

    let twice = Folder::new("twice");
    let all = [ONE, TWO].concat();
    twice
        .file(FIRST, ONE, 1)
        .file(SECOND, &all, 2)
        .file("other.safetensors", ONE, 3);
    twice.index(json!({ "a.weight": FIRST, "b.weight": SECOND }));
    let checkpoint = twice.open().unwrap();
    let expected = [
        "not used: `other.safetensors`".to_owned(),
        format!("`a.weight` is in `{SECOND}` too, which is not used"),
    ];
    assert_eq!(checkpoint.notes(), expected);
    assert_eq!(checkpoint.tensor("a.weight").unwrap().bytes.as_slice(), [1; 16]);

    std::fs::remove_file(twice.0.join("model.safetensors.index.json")).unwrap();
    std::fs::remove_file(twice.0.join("other.safetensors")).unwrap();
    let expected = format!(
        "tensor `a.weight` is both in `{FIRST}` and in `{SECOND}`, and no index says which one counts; \
         download the model again"
    );
    assert_eq!(twice.refusal(), expected);
}

/// The index of another build, which had so many shards.
fn foreign_index(shards: usize, tensors: &[&str]) -> Value {
    let entry = |(at, name): (usize, &&str)| {
        let shard = format!("model-{:05}-of-{shards:05}.safetensors", 1 + at % shards);
        ((*name).to_owned(), json!(shard))
    };
    Value::Object(tensors.iter().enumerate().map(entry).collect())
}

#[test]
fn the_index_of_another_build_is_not_used() {
    let single = Folder::new("stale-single");
    single
        .file("model.safetensors", &[ONE, TWO].concat(), 3)
        .index(foreign_index(2, &["a.weight", "b.weight"]));
    let checkpoint = single.open().unwrap();
    assert_eq!(
        checkpoint.notes(),
        [format!(
            "`{INDEX}` is not used: it lists files that are missing, and `model.safetensors` is there"
        )]
    );
    assert_eq!(checkpoint.tensor("b.weight").unwrap().bytes.as_slice(), [3; 16]);

    let shards = Folder::new("stale-shards");
    shards
        .file(FIRST, ONE, 1)
        .file(SECOND, TWO, 2)
        .index(foreign_index(5, &["a.weight", "b.weight"]));
    let checkpoint = shards.open().unwrap();
    assert_eq!(
        checkpoint.notes(),
        [format!(
            "`{INDEX}` is not used: it lists files that are missing, and `{FIRST}`, `{SECOND}` are there"
        )]
    );
    assert_eq!(checkpoint.tensor("b.weight").unwrap().bytes.as_slice(), [2; 16]);

    // Half of the other build, too: what is whole counts.
    shards.file("model-00001-of-00005.safetensors", ONE, 5);
    let checkpoint = shards.open().unwrap();
    assert_eq!(checkpoint.tensor("a.weight").unwrap().bytes.as_slice(), [1; 16]);

    // All of what the index lists is there, but only the single file has the tensors.
    let both = Folder::new("stale-both");
    both.file(FIRST, &[("old", F32, &[1])], 1)
        .file("model.safetensors", &[ONE, TWO].concat(), 3)
        .index(json!({ "a.weight": FIRST, "b.weight": FIRST }));
    let checkpoint = both.open().unwrap();
    let expected = [
        format!(
            "`{INDEX}` is not used: the files that it lists lack tensors that it names, and `model.safetensors` is there"
        ),
        format!("not used: `{FIRST}`"),
    ];
    assert_eq!(checkpoint.notes(), expected);
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a.weight", "b.weight"]);

    // A shard is broken, and the single file is whole.
    std::fs::write(both.0.join(FIRST), "half of").unwrap();
    let checkpoint = both.open().unwrap();
    assert!(
        checkpoint.notes()[0].contains("a file that it lists is broken, and `model.safetensors` is there"),
        "{:?}",
        checkpoint.notes()
    );
}

#[test]
fn a_tensor_that_nobody_has_is_missed_when_it_is_asked_for() {
    let folder = Folder::new("unused-tensor");
    folder.file(FIRST, ONE, 1).file(SECOND, TWO, 2).index(
        json!({ "a.weight": FIRST, "b.weight": SECOND, "mtp.weight": SECOND, "lm_head.weight": "gone.safetensors" }),
    );
    assert_eq!(
        folder.refusal(),
        format!(
            "`FOLDER` lacks 1 of its 3 weight files: `gone.safetensors`; download them again (tensor `lm_head.weight`, for one, is \
             promised in `gone.safetensors`, and no file has it; there: `{FIRST}`, `{SECOND}`)"
        )
    );
    folder.index(json!({ "a.weight": FIRST, "b.weight": SECOND, "mtp.weight": SECOND }));
    let checkpoint = folder.open().unwrap();
    assert_eq!(
        checkpoint.notes(),
        [format!(
            "`{INDEX}` names 1 tensors that no file has: `mtp.weight`"
        )]
    );
    assert!(!checkpoint.has("mtp.weight"));
    assert_eq!(
        checkpoint.linear("mtp").unwrap_err().to_string(),
        format!(
            "the checkpoint has no weight `mtp.weight`: `{INDEX}` promises it in `{SECOND}`, which does not hold it; there are 2 \
             weights in `{FIRST}`, `{SECOND}`; download both again"
        )
    );
    assert!(
        checkpoint
            .linear("other")
            .unwrap_err()
            .to_string()
            .starts_with("the checkpoint has no weight `other.weight`")
    );

    // In a file of another build, under the name that the plugin asks for.
    folder.index(foreign_index(5, &["a.weight", "b.weight", "x.weight"]));
    let rules = monocle_weights::NameRules::new([("^x", "model.x")], []).unwrap();
    assert_eq!(
        folder
            .open_with(&rules)
            .unwrap()
            .linear("model.x")
            .unwrap_err()
            .to_string(),
        format!(
            "the checkpoint has no weight `model.x.weight`: `{INDEX}` promises it in `model-00003-of-00005.safetensors`, which is \
             not there; there are 2 weights in `{FIRST}`, `{SECOND}`; download both again"
        )
    );
}

#[test]
fn a_shard_that_is_gone_is_not_missed_when_others_hold_its_tensors() {
    let folder = Folder::new("emptied");
    folder
        .file("one.safetensors", ONE, 1)
        .file("two.safetensors", TWO, 2)
        .index(json!({ "a.weight": "one.safetensors", "b.weight": "three.safetensors" }));
    let checkpoint = folder.open().unwrap();
    assert_eq!(
        checkpoint.notes(),
        [format!(
            "`{INDEX}` is not used: it lists files that are missing, and `one.safetensors`, `two.safetensors` are there"
        )]
    );
    folder.file("one.safetensors", &[ONE, TWO].concat(), 3);
    let expected = [
        format!(
            "`{INDEX}` lists files that are missing; those that are there hold every tensor that it names"
        ),
        "not used: `two.safetensors`".to_owned(),
        format!("1 tensors are in other files than `{INDEX}` says: `b.weight`"),
    ];
    assert_eq!(folder.open().unwrap().notes(), expected);
}

#[test]
fn files_of_a_repository_are_chosen_by_the_same_rule() {
    let fetched = |index: &[(&str, &str)], repository: &[&str]| {
        let index = index
            .iter()
            .map(|(tensor, file)| ((*tensor).to_owned(), (*file).to_owned()))
            .collect();
        monocle_weights::files_to_fetch(&index, repository.iter().copied())
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let single = "model.safetensors";
    let right = [("a", FIRST), ("b", SECOND)];
    let foreign = [("a", "model-00001-of-00005.safetensors")];
    for (index, repository, expected) in [
        // (the index, what there is, what is fetched)
        (
            right.as_slice(),
            [FIRST, SECOND, single].as_slice(),
            Ok(names(&[FIRST, SECOND])),
        ),
        (&right, &[FIRST, single], Ok(names(&[single]))),
        (&right, &[FIRST], Err(names(&[SECOND]))),
        (&foreign, &[single, "config.json"], Ok(names(&[single]))),
        (&foreign, &[FIRST, SECOND], Ok(names(&[FIRST, SECOND]))),
        (&foreign, &[FIRST], Err(names(&[foreign[0].1]))),
        (&foreign, &["x.safetensors"], Ok(names(&["x.safetensors"]))),
        (&[], &[single, "other.safetensors"], Ok(names(&[single]))),
        (
            &[],
            &[FIRST, SECOND, "consolidated.safetensors"],
            Ok(names(&[FIRST, SECOND])),
        ),
        (&[], &[SECOND], Err(names(&[FIRST]))),
        (
            &[],
            &["a.safetensors", "b.safetensors", "sub/c.safetensors"],
            Ok(names(&["a.safetensors", "b.safetensors"])),
        ),
        (&[], &["model.gguf"], Err(names(&[]))),
    ] {
        assert_eq!(fetched(index, repository), expected, "{index:?} {repository:?}");
    }
}
