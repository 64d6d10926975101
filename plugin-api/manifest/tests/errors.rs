//! Each way of getting a manifest wrong, and the words that say so.

use monocle_manifest::{Manifest, ManifestError};

const GOOD: &str = "schema = 1\nname = \"m\"\nplugin = \"p\"\n[source]\nrepo = \"o/r\"\n";

/// The error for `text`, as a user sees it.
fn refusal(text: &str) -> String {
    match Manifest::from_str(text, "m.toml") {
        Ok(manifest) => panic!("accepted: {manifest:?}"),
        Err(error) => error.to_string(),
    }
}

/// The error for a good manifest followed by `more`; its first line is line 6.
fn refusal_of(more: &str) -> String {
    refusal(&format!("{GOOD}{more}"))
}

#[test]
fn unknown_keys_name_the_nearest_right_one() {
    assert_eq!(
        refusal_of("[prompt]\ntempalte = \"x\"\n"),
        "m.toml:7:1: unknown key `tempalte` in `[prompt]`; did you mean `template`?"
    );
    assert_eq!(
        refusal_of("[output]\nreasoning = { start = \"a\", ned = \"b\" }\n"),
        "m.toml:7:28: unknown key `ned` in `[output.reasoning]`; did you mean `end`?"
    );
    assert_eq!(
        refusal_of("[iamge]\nmax_pixels = 4\n"),
        "m.toml:6:2: unknown key `iamge` in the manifest; did you mean `image`?"
    );
    assert_eq!(
        refusal_of("[prompt]\nmax_pixels = 4\n"),
        "m.toml:7:1: unknown key `max_pixels` in `[prompt]`; it belongs in `[image]`"
    );
    assert_eq!(
        refusal_of("[prompt]\nzzzzzzzz = 4\n"),
        "m.toml:7:1: unknown key `zzzzzzzz` in `[prompt]`; known keys: `template`, `system`, `plain`, `variables`"
    );
}

#[test]
fn variables_that_the_host_gives_are_refused() {
    assert_eq!(
        refusal_of("[prompt]\nvariables = { messages = 1 }\n"),
        "m.toml:7:26: `messages` is what Monocle itself gives to templates; choose another name for `prompt.variables`"
    );
}

#[test]
fn missing_keys_are_named() {
    assert_eq!(
        refusal("schema = 1\nname = \"m\"\nplugin = \"p\"\n"),
        "m.toml:1:1: the manifest lacks the key `source`"
    );
    assert_eq!(
        refusal_of("[output]\nreasoning = { start = \"a\" }\n"),
        "m.toml:7:13: `[output.reasoning]` lacks the key `end`"
    );
}

#[test]
fn wrong_types_say_expected_and_found() {
    for (more, expected) in [
        (
            "[prompt]\nplain = \"yes\"\n",
            "m.toml:7:9: `prompt.plain` must be true or false, but is a string",
        ),
        (
            "[image]\nmax_pixels = 1.5\n",
            "m.toml:7:14: `image.max_pixels` must be an integer, but is a number with a decimal point",
        ),
        (
            "[generation]\nstop = \"x\"\n",
            "m.toml:7:8: `generation.stop` must be a list, but is a string",
        ),
        (
            "[generation]\nstop = [\"a\", 3]\n",
            "m.toml:7:14: `generation.stop[1]` must be a string, but is an integer",
        ),
        (
            "[image]\nover = 3\n",
            "m.toml:7:8: `image.over` must be a string, but is an integer",
        ),
    ] {
        assert_eq!(refusal_of(more), expected);
    }
    assert_eq!(
        refusal(&GOOD.replace("\"p\"", "3")),
        "m.toml:3:10: `plugin` must be a string or a table, but is an integer"
    );
}

#[test]
fn values_out_of_range_say_the_range() {
    for (more, expected) in [
        (
            "[generation]\ntop_p = 1.5\n",
            "m.toml:7:9: `generation.top_p` must be from 0 to 1, but is 1.5",
        ),
        (
            "[generation]\ntemperature = nan\n",
            "m.toml:7:15: `generation.temperature` must be from 0 to 100, but is nan",
        ),
        (
            "[image]\nmax_pixels = 0\n",
            "m.toml:7:14: `image.max_pixels` must be at least 1, but is 0",
        ),
        ("[image]\nmax_pixels = -0x0\n", "m.toml:7:"),
        (
            "[generation]\nmax_tokens = 5000000000\n",
            "m.toml:7:14: `generation.max_tokens` must be from 1 to 4294967295, but is 5000000000",
        ),
        (
            "[generation]\nstop = [\"\"]\n",
            "m.toml:7:9: `generation.stop[0]` must be a text that is not empty, but is empty",
        ),
        (
            "[weights]\nrename = [[\"a\"]]\n",
            "m.toml:7:11: `weights.rename[0]` must be a list of 2, but is a list of 1",
        ),
        (
            "[image]\nover = \"shrnk\"\n",
            "m.toml:7:8: `image.over` must be one of `shrink`, `refuse`, but is `shrnk`; did you mean `shrink`?",
        ),
    ] {
        let message = refusal_of(more);
        assert!(message.starts_with(expected), "{message}");
    }
}

/// Each expression is compiled, and may take long and much.
#[test]
fn expressions_are_few_and_small() {
    let ignore = |count: usize, pattern: &str| {
        let patterns = vec![format!("{pattern:?}"); count];
        format!("[weights]\nignore = [{}]\n", patterns.join(", "))
    };
    assert_eq!(
        refusal_of(&ignore(65, "a")),
        "m.toml:7:10: `weights.ignore` must be a list of at most 64, but is a list of 65"
    );
    let large = refusal_of(&ignore(1, "\\w{1000}"));
    assert!(
        large.contains("which is not a regular expression: Compiled regex exceeds size limit"),
        "{large}"
    );
    let sound = GOOD.to_owned() + &ignore(64, r"^model\.(\w+)\.layers\.(\d+)\.(\w+)$");
    assert!(Manifest::from_str(&sound, "m.toml").is_ok());
}

#[test]
fn forms_are_checked() {
    assert_eq!(
        refusal_of("[weights]\nrename = [[\"^a\", \"b\"], [\"(c\", \"d\"]]\n"),
        "m.toml:7:25: `weights.rename[1][0]` is `(c`, which is not a regular expression: unclosed group"
    );
    let version = refusal(&GOOD.replace("\"p\"", "{ name = \"p\", version = \"latest\" }"));
    assert!(
        version.starts_with(
            "m.toml:3:34: `plugin.version` is `latest`, which is not a version requirement such as `0.1`: "
        ),
        "{version}"
    );
    let name = refusal(&GOOD.replace("\"m\"", "\"a/b\""));
    assert!(
        name.starts_with("m.toml:2:8: `name` is `a/b`, which is not of the right form: it must match"),
        "{name}"
    );
    assert!(refusal(&GOOD.replace("o/r", "r")).starts_with("m.toml:5:8: `source.repo` is `r`"));
}

#[test]
fn rules_between_keys_hold() {
    assert_eq!(
        refusal_of("path = \"x\"\n"),
        "m.toml:4:1: `[source]` has both `repo` and `path`; keep one of them"
    );
    assert_eq!(
        refusal(&GOOD.replace("repo = \"o/r\"", "")),
        "m.toml:4:1: `[source]` needs one of `repo` and `path`; it has neither"
    );
    assert_eq!(
        refusal(&GOOD.replace("repo = \"o/r\"", "path = \"x\"\nrevision = \"v1\"")),
        "m.toml:4:1: `revision` in `[source]` goes with `repo`, not with `path`; remove it"
    );
    assert_eq!(
        refusal(&GOOD.replace("repo = \"o/r\"", "path = \"x\"\ngguf = \"Q8_0\"")),
        "m.toml:4:1: `gguf` in `[source]` goes with `repo`; name the GGUF file in `path`"
    );
    assert!(refusal_of("gguf = \"a/b\"\n").contains("`source.gguf` is `a/b`"));
    assert_eq!(
        refusal_of("[prompt]\ntemplate = \"x\"\nplain = true\n"),
        "m.toml:8:9: `plain = true` means no template, but `[prompt]` has `template` too; keep one of them"
    );
}

#[test]
fn another_schema_is_said_before_its_unknown_keys() {
    assert_eq!(
        refusal("future = true\nschema = 2\n"),
        "m.toml:2:10: this manifest has schema 2; this Monocle reads schema 1: update Monocle, or write `schema = 1`"
    );
}

#[test]
fn syntax_errors_have_a_place() {
    let message = refusal("schema = 1\nname = \n");
    assert!(message.starts_with("m.toml:2:"), "{message}");
    let message = refusal(&format!("{GOOD}{GOOD}"));
    assert!(message.starts_with("m.toml:9:2: duplicate key"), "{message}");
}

#[test]
fn columns_count_characters() {
    // `é` is two bytes and one column.
    let message = refusal(&GOOD.replace("\"p\"", "{ name = \"p\", options = { \"é\" = 1979-05-27 } }"));
    assert_eq!(
        message,
        "m.toml:3:42: `plugin.options.é` must be something that JSON can hold, but is a date or time"
    );
}

#[test]
fn what_a_manifest_names_must_be_there() {
    let folder = std::env::temp_dir().join(format!("monocle-manifest-errors-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("m.toml");
    let load = |text: &str| {
        std::fs::write(&file, text).unwrap();
        Manifest::load(&file)
    };
    let message = load(&format!("{GOOD}[prompt]\ntemplate = \"none.jinja\"\n"))
        .unwrap_err()
        .to_string();
    let expected = format!(
        "{}:7:12: `prompt.template` names `{}`, which does not exist",
        file.display(),
        folder.join("none.jinja").display()
    );
    assert_eq!(message, expected);

    let message = load(&GOOD.replace("repo = \"o/r\"", "path = \"nowhere\""))
        .unwrap_err()
        .to_string();
    assert!(
        message.ends_with("nowhere`, which does not exist") && message.contains(":5:8: `source.path`"),
        "{message}"
    );
    let message = load(&GOOD.replace("repo = \"o/r\"", "path = \"m.toml\""))
        .unwrap_err()
        .to_string();
    assert!(
        message.ends_with("m.toml`, which is neither a folder nor a `.gguf` file"),
        "{message}"
    );

    std::fs::write(&file, [0xff, 0xfe]).unwrap();
    assert!(matches!(
        Manifest::load(&file),
        Err(ManifestError::NotText { .. })
    ));
    std::fs::write(&file, vec![b'#'; 1 << 20]).unwrap();
    let message = Manifest::load(&file).unwrap_err().to_string();
    assert!(
        message.contains("lacks the key"),
        "exactly the limit is read: {message}"
    );
    std::fs::write(&file, vec![b'#'; (1 << 20) + 1]).unwrap();
    assert!(matches!(
        Manifest::load(&file),
        Err(ManifestError::TooLarge { .. })
    ));
    assert!(matches!(
        Manifest::load(&folder.join("no.toml")),
        Err(ManifestError::Read { .. })
    ));
    std::fs::remove_dir_all(&folder).unwrap();
}
