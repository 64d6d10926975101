//! Models fetched before they are used, counted and removed: a server of this machine stands in for the hub.

use monocle_tests::gguf::idefics3::convert;
use monocle_tests::gguf::rewrite;
use monocle_tests::hub::FakeHub;
use monocle_tests::oracle::Oracle;
use monocle_tests::program::Monocle;
use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use serde_json::{Value, json};

/// What is done to a folder.
type Deed<'a> = &'a dyn Fn(&Scratch);

struct Place {
    hub: FakeHub,
    cache: Scratch,
    manifests: Scratch,
}

impl Place {
    fn new(name: &str, model: &Scratch) -> Self {
        let manifests = Scratch::new(&format!("{name}-manifests"));
        manifests.write(
            "tiny.toml",
            "schema = 1\nname = \"tiny\"\nplugin = \"smolvlm\"\n[source]\nrepo = \"org/model\"\n",
        );
        Self {
            hub: FakeHub::serve(model.path()),
            cache: Scratch::new(&format!("{name}-cache")),
            manifests,
        }
    }

    fn monocle(&self, arguments: &[&str]) -> Monocle {
        Monocle::new(arguments)
            .env("HF_HUB_OFFLINE", "0")
            .env("HF_ENDPOINT", &self.hub.endpoint)
            .env("HF_HOME", self.cache.path())
    }

    fn with_manifest(&self, arguments: &[&str]) -> Monocle {
        self.monocle(arguments)
            .env("MONOCLE_MANIFESTS", self.manifests.path())
    }

    fn rows(&self, arguments: &[&str]) -> Vec<Value> {
        let rows = self.monocle(arguments).json();
        let named = |row: &&Value| {
            row["source"]
                .as_str()
                .is_some_and(|source| source.starts_with("org/model"))
        };
        rows.as_array()
            .expect("a list")
            .iter()
            .filter(named)
            .cloned()
            .collect()
    }
}

#[test]
fn a_model_is_pulled_counted_and_removed() {
    let model = Scratch::checkpoint("smolvlm");
    let place = Place::new("pulled", &model);
    let first = place.monocle(&["pull", "org/model"]).succeeds().stdout;
    assert!(first.starts_with("org/model: fetched "), "{first}");
    let before = place.hub.requests();
    let second = place.monocle(&["pull", "org/model"]).succeeds().stdout;
    assert!(second.starts_with("org/model: was here already: "), "{second}");
    // What the revision is and which files it has, and no file.
    assert_eq!(place.hub.requests(), before + 2);

    let wanted = |name: &str| !name.ends_with(".safetensors") || name == "model.safetensors";
    let files = std::fs::read_dir(model.path())
        .expect("the folder can be read")
        .flatten();
    let bytes: u64 = files
        .filter(|entry| wanted(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.metadata().expect("it is there").len())
        .sum();
    assert_eq!(place.rows(&["models", "--json"]), [] as [Value; 0]);
    let rows = place.rows(&["models", "--sizes", "--json"]);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(
        (rows[0]["state"].as_str(), rows[0]["bytes"].as_u64()),
        (Some("present"), Some(bytes))
    );
    assert_eq!(
        (rows[0]["name"].as_str(), rows[0]["manifest"].as_str()),
        (Some("org/model"), None)
    );
    let text = place.monocle(&["models", "--sizes"]).succeeds().stdout;
    assert!(text.contains(" in all in the cache "), "{text}");

    let asked = place.monocle(&["rm", "org/model"]).run();
    assert_eq!(asked.code, 2, "{asked:?}");
    assert!(
        asked
            .stderr
            .contains("asks before it removes, and nobody can answer here"),
        "{asked:?}"
    );
    place
        .monocle(&["rm", "org/model", "org/other", "--yes"])
        .fails(1, &["`org/other` is not in the cache", "nothing was removed"]);
    assert_eq!(place.rows(&["models", "--sizes", "--json"]).len(), 1);
    let removed = place.monocle(&["rm", "org/model", "--yes"]).succeeds().stdout;
    assert!(removed.starts_with("org/model: removed, "), "{removed}");
    assert_eq!(place.rows(&["models", "--sizes", "--json"]).len(), 0);
    place
        .monocle(&["rm", "org/model", "--yes"])
        .fails(1, &["is not in the cache"]);
}

#[test]
fn one_of_several_gguf_models_is_pulled_counted_and_removed() {
    let model = Scratch::new("gguf-repository");
    for (name, bytes) in [
        ("Thing-Q4_K_M.gguf", 400),
        ("Thing-Q8_0.gguf", 800),
        ("mmproj-Thing-f16.gguf", 7),
    ] {
        model.write(name, vec![b'x'; bytes]);
    }
    let place = Place::new("gguf", &model);
    for tag in ["Q4_K_M", "Q8_0"] {
        place.monocle(&["pull", &format!("org/model:{tag}")]).succeeds();
    }
    let rows = || {
        let rows = place.rows(&["models", "--sizes", "--json"]);
        let told = |row: &Value| (row["name"].as_str().unwrap().to_owned(), row["bytes"].as_u64());
        rows.iter().map(told).collect::<Vec<_>>()
    };
    let eight = ("org/model:Q8_0".to_owned(), Some(807));
    assert_eq!(
        rows(),
        [("org/model:Q4_K_M".to_owned(), Some(407)), eight.clone()]
    );
    let told = place.monocle(&["rm", "org/model:Q4_K_M"]).run();
    assert!(
        told.stderr.contains("400 B") && told.stderr.contains("Q8_0 of main stays"),
        "{told:?}"
    );
    place.monocle(&["rm", "org/model:Q4_K_M", "--yes"]).succeeds();
    assert_eq!(rows(), [eight]);
    place
        .monocle(&["rm", "org/model:Q4_K_M", "--yes"])
        .fails(1, &["`org/model:Q4_K_M` is not in the cache"]);
    place.monocle(&["rm", "org/model:Q8_0", "--yes"]).succeeds();
    assert_eq!(rows(), []);
}

/// A repository may have safetensors and conversions of them.
#[test]
fn a_gguf_model_beside_safetensors_is_counted_and_removed_by_itself() {
    let model = Scratch::checkpoint("smolvlm");
    for (name, bytes) in [("Thing-Q8_0.gguf", 800), ("mmproj-Thing-f16.gguf", 7)] {
        model.write(name, vec![b'x'; bytes]);
    }
    let place = Place::new("mixed", &model);
    for name in ["org/model", "org/model:Q8_0"] {
        place.monocle(&["pull", name]).succeeds();
    }
    let rows = || {
        let rows = place.rows(&["models", "--sizes", "--json"]);
        let told = |row: &Value| {
            (
                row["name"].as_str().unwrap().to_owned(),
                row["bytes"].as_u64().unwrap(),
            )
        };
        rows.iter().map(told).collect::<Vec<_>>()
    };
    let both = rows();
    assert_eq!(both.len(), 2, "{both:?}");
    assert_eq!(both[0], ("org/model:Q8_0".to_owned(), 807));
    assert_eq!(both[1].0, "org/model");
    let told = place.monocle(&["rm", "org/model:Q8_0"]).run();
    assert!(
        told.stderr.contains("807 B become free") && told.stderr.contains("the revision main stays"),
        "{told:?}"
    );
    place.monocle(&["rm", "org/model:Q8_0", "--yes"]).succeeds();
    assert_eq!(rows(), both[1..]);
    let picture = project::oracle("smolvlm").join("image.png").display().to_string();
    place
        .monocle(&[
            "run",
            "org/model",
            &picture,
            "-p",
            "Describe it.",
            "--max-tokens",
            "2",
        ])
        .env("HF_HUB_OFFLINE", "1")
        .succeeds();
}

/// The cache's files are links to blobs: a model is what its links are called, and what lies beside them.
#[test]
fn one_of_several_gguf_models_runs_by_its_tag_and_by_a_manifest() {
    let model = Scratch::new("gguf-run");
    let source = project::oracle("smolvlm");
    let (file, _) = convert(&source, model.path(), |_, _| None);
    model.write("Tiny-Q4_0.gguf", "not to be fetched");
    let place = Place::new("gguf-run", &model);
    place.manifests.write(
        "one.toml",
        "schema = 1\nname = \"one\"\nplugin = \"smolvlm\"\n[source]\nrepo = \"org/model\"\ngguf = \"Q8_0\"\n",
    );
    let by_path = format!(
        "schema = 1\nname = \"by-path\"\nplugin = \"smolvlm\"\n[source]\npath = '{}'\n",
        file.display()
    );
    place.manifests.write("by-path.toml", by_path);
    let oracle = Oracle::open(&source);
    let words = oracle.case("image")["greedy_text"]
        .as_str()
        .expect("a case has a text");
    let words = words.replace("<|reserved_special_token_3|>", "");
    let picture = source.join("image.png").display().to_string();
    let question = "Describe the image in one short sentence.";
    let question = [picture.as_str(), "-p", question, "--max-tokens", "16", "--json"];
    let run = |name: &str, more: &[&str]| {
        let answer = place
            .with_manifest(&[&["run", name], &question[..], more].concat())
            .json();
        assert_eq!(answer["output"]["text"], words.as_str(), "{name}");
    };
    place.monocle(&["pull", "org/model:Q8_0"]).succeeds();
    let answer = place
        .monocle(&[&["run", "org/model:Q8_0"], &question[..]].concat())
        .json();
    assert_eq!(answer["output"]["text"], words.as_str());
    run("org/model:Q8_0", &[]);
    run("one", &[]);
    run("by-path", &[]);
    // The file in the cache, and a link to it and to what sees from elsewhere.
    let rows = place.with_manifest(&["models", "--json"]).json();
    let row = |name: &str| {
        let mut rows = rows.as_array().expect("a list").iter();
        rows.find(|row| row["name"] == name)
            .expect("it is listed")
            .clone()
    };
    assert_eq!(
        (&row("one")["state"], &row("by-path")["state"]),
        (&json!("present"), &json!("present"))
    );
    let cached = row("one")["folder"].as_str().expect("a file").to_owned();
    assert!(cached.ends_with("/Tiny-Q8_0.gguf"), "{cached}");
    run(&cached, &[]);
    // A branch is looked up behind the wall too.
    #[cfg(target_os = "linux")]
    for name in [&cached, "one"] {
        run(name, &["--isolate"]);
    }
    let out = Scratch::new("gguf-checked");
    let folder = out.file("report");
    place
        .with_manifest(&[
            "check",
            "--models",
            "one",
            "--image",
            &picture,
            "--max-tokens",
            "8",
        ])
        .args([
            "-p".as_ref(),
            "Describe it.".as_ref(),
            "--out".as_ref(),
            folder.as_path(),
        ])
        .succeeds();
    #[cfg(unix)]
    {
        let links = Scratch::new("gguf-links");
        for name in ["Tiny-Q8_0.gguf", "mmproj-Tiny-f32.gguf"] {
            std::os::unix::fs::symlink(model.file(name), links.file(name)).expect("links can be made");
        }
        let link = links.file("Tiny-Q8_0.gguf").display().to_string();
        run(&link, &[]);
        #[cfg(target_os = "linux")]
        run(&link, &["--isolate"]);
    }
    // Listed once, by the manifest's name; it goes by that name, too.
    let listed = place.with_manifest(&["models", "--sizes", "--json"]).json();
    let here = listed.as_array().expect("a list").iter();
    let here = here.filter(|row| row["folder"].as_str() == Some(&cached)).count();
    assert_eq!(here, 1, "{listed}");
    place
        .with_manifest(&["run", "org/model:Q2_K", "-p", "x"])
        .env("HF_HUB_OFFLINE", "1")
        .fails(1, &["`org/model:Q2_K` is not complete in the cache"]);
    let told = place.with_manifest(&["rm", "org/model"]).run();
    assert!(told.stderr.contains("`one`"), "{told:?}");
    place.with_manifest(&["rm", "one", "--yes"]).succeeds();
    assert!(!std::path::Path::new(&cached).exists());
}

/// Large conversions have a folder each, and what sees lies above them all.
#[test]
fn a_gguf_model_in_a_folder_of_its_repository_is_one_by_its_tag() {
    let made = Scratch::new("gguf-made");
    let source = project::oracle("smolvlm");
    let (file, _) = convert(&source, made.path(), |_, _| None);
    let model = Scratch::new("gguf-folders");
    for (from, to) in [
        (file.as_path(), "Q8_0/Tiny-Q8_0.gguf"),
        (
            made.file("mmproj-Tiny-f32.gguf").as_path(),
            "mmproj-Tiny-f32.gguf",
        ),
    ] {
        let to = model.file(to);
        std::fs::create_dir_all(to.parent().expect("it has a folder")).expect("it can be made");
        std::fs::copy(from, to).expect("it can be copied");
    }
    std::fs::create_dir_all(model.file("Q4_0")).expect("it can be made");
    model.write("Q4_0/Tiny-Q4_0.gguf", "not to be fetched");
    let place = Place::new("gguf-folders", &model);
    let oracle = Oracle::open(&source);
    let words = oracle.case("image")["greedy_text"]
        .as_str()
        .expect("a case has a text");
    let words = words.replace("<|reserved_special_token_3|>", "");
    let picture = source.join("image.png").display().to_string();
    let question = "Describe the image in one short sentence.";
    let question = [picture.as_str(), "-p", question, "--max-tokens", "16", "--json"];
    let run = |name: &str, more: &[&str]| {
        let answer = place
            .monocle(&[&["run", name], &question[..], more].concat())
            .json();
        assert_eq!(answer["output"]["text"], words.as_str(), "{name}");
    };
    place.monocle(&["pull", "org/model:Q8_0"]).succeeds();
    run("org/model:Q8_0", &[]);
    #[cfg(target_os = "linux")]
    run("org/model:Q8_0", &["--isolate"]);
    // A folder of the user's own that is laid out so.
    let own = model.file("Q8_0/Tiny-Q8_0.gguf").display().to_string();
    run(&own, &[]);
    #[cfg(target_os = "linux")]
    run(&own, &["--isolate"]);
    let rows = place.rows(&["models", "--sizes", "--json"]);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(
        (rows[0]["name"].as_str(), rows[0]["state"].as_str()),
        (Some("org/model:Q8_0"), Some("present"))
    );
    place.monocle(&["pull", "org/model:Q2_K"]).fails(
        1,
        &["no GGUF file has `Q2_K` at its name's end; there are `Q4_0`, `Q8_0`"],
    );
    place.monocle(&["rm", "org/model:Q8_0", "--yes"]).succeeds();
    assert_eq!(place.rows(&["models", "--sizes", "--json"]), [] as [Value; 0]);
}

/// A vocabulary that no table knows is another repository's to give, and its template where the file has none.
#[test]
fn a_gguf_models_tokenizer_may_be_the_original_repositorys() {
    let model = Scratch::new("gguf-words");
    let source = project::oracle("smolvlm");
    let (file, _) = convert(&source, model.path(), |_, _| None);
    let change = |values: &mut Vec<(String, Value)>| {
        values.retain(|(key, _)| key != "tokenizer.chat_template" && key != "tokenizer.ggml.pre");
    };
    rewrite(&file, change, |_| true);
    let words = Scratch::checkpoint("smolvlm");
    words.remove("model.safetensors");
    let place = Place::new("gguf-words", &words);
    let manifest = format!(
        "schema = 1\nname = \"two\"\nplugin = \"smolvlm\"\n[source]\npath = '{}'\n[tokenizer]\nrepo = \"org/model\"\n",
        file.display()
    );
    place.manifests.write("two.toml", manifest);
    let ids = |name: &str, more: &[&str]| {
        let question = ["inspect", name, "-p", "How many?", "--json"];
        let inspected = place.with_manifest(&[&question[..], more].concat()).json();
        inspected["token_ids"].clone()
    };
    let own = ids(&source.display().to_string(), &[]);
    assert!(!own.is_null());
    assert_eq!(ids("two", &[]), own);
    #[cfg(target_os = "linux")]
    assert_eq!(ids("two", &["--isolate"]), own);
}

#[test]
fn a_manifests_model_is_its_revision() {
    let model = Scratch::checkpoint("smolvlm");
    let place = Place::new("declared", &model);
    place.with_manifest(&["pull", "tiny"]).succeeds();
    let told = place.with_manifest(&["rm", "org/model"]).run();
    assert_eq!(told.code, 2, "{told:?}");
    assert!(
        told.stderr.contains("the same files are those of `tiny`"),
        "{told:?}"
    );
    let removed = place.with_manifest(&["rm", "tiny", "--yes"]).succeeds().stdout;
    assert!(removed.starts_with("tiny: removed, "), "{removed}");

    let folder = model.path().display().to_string();
    place
        .monocle(&["rm", &folder, "--yes"])
        .fails(1, &["not a model in the cache", "as you would any folder"]);
    assert!(model.file("config.json").is_file());
    let own = place.monocle(&["pull", &folder]).succeeds().stdout;
    assert!(own.contains("nothing to fetch"), "{own}");
}

/// A conversion that a manifest names besides goes by its own name, and is run as the manifest says.
#[test]
fn a_model_stored_otherwise_goes_by_its_own_name() {
    let model = Scratch::checkpoint("smolvlm");
    let place = Place::new("besides", &model);
    // Another revision than the manifest's, and other settings than a repository without a manifest has.
    place.manifests.write(
        "tiny.toml",
        "schema = 1\nname = \"tiny\"\nplugin = \"smolvlm\"\n[source]\nrepo = \"org/large\"\nrevision = \"v1\"\nalso = [\"org/model\"]\n\
         [generation]\nmax_tokens = 1\n",
    );
    let pulled = place.with_manifest(&["pull", "org/model"]).succeeds().stdout;
    assert!(pulled.starts_with("org/model: fetched "), "{pulled}");
    let rows = place.with_manifest(&["models", "--sizes", "--json"]).json();
    let row = |name: &str| {
        let mut rows = rows.as_array().expect("a list").iter();
        rows.find(|row| row["name"] == name)
            .expect("it is listed")
            .clone()
    };
    let (own, besides) = (row("tiny"), row("org/model"));
    assert_eq!(
        (&own["state"], &own["source"]),
        (&json!("absent"), &json!("org/large@v1"))
    );
    assert_eq!(
        (&besides["state"], &besides["plugin"], &besides["manifest"]),
        (&json!("present"), &json!("smolvlm"), &own["manifest"])
    );
    let inspected = place
        .with_manifest(&["inspect", "org/model", "-p", "Hello", "--json"])
        .json();
    assert_eq!(inspected["model"]["name"], "org/model");
    let answer = place
        .with_manifest(&["run", "org/model", "-p", "Hello", "--json"])
        .json();
    assert_eq!(answer["model"]["name"], "org/model");
    assert_eq!(
        (&answer["output"]["tokens"], &answer["output"]["finish"]["reason"]),
        (&json!(1), &json!("max_tokens"))
    );
    let removed = place
        .with_manifest(&["rm", "org/model", "--yes"])
        .succeeds()
        .stdout;
    assert!(removed.starts_with("org/model: removed, "), "{removed}");
}

#[test]
fn several_are_pulled_though_one_fails() {
    let model = Scratch::checkpoint("smolvlm");
    let place = Place::new("several", &model);
    let outcome = place.monocle(&["pull", "org/none", "org/model"]).run();
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert!(outcome.stdout.starts_with("org/model: fetched "), "{outcome:?}");
    assert!(
        outcome.stderr.contains("note: `org/none` was not fetched: ")
            && outcome.stderr.contains("error: 1 of 2 models"),
        "{outcome:?}"
    );
}

/// The tokenizer and the architecture are known from the small files: the weights stay where they are.
#[test]
fn what_cannot_be_run_is_refused_before_its_weights_are_fetched() {
    let no_tokenizer = |model: &Scratch| model.edit("tokenizer.json", |_| "{\"a\": 1}".to_owned());
    let no_plugin = |model: &Scratch| {
        model.edit("config.json", |text| {
            text.replace("\"idefics3\"", "\"unheard-of\"")
                .replace("\"smolvlm\"", "\"unheard-of\"")
        })
    };
    let cases: [(&str, Deed, &str); 2] = [
        ("tokenizer", &no_tokenizer, "is not a valid tokenizer"),
        ("architecture", &no_plugin, "no installed plugin understands"),
    ];
    for (name, change, words) in cases {
        let model = Scratch::checkpoint("smolvlm");
        change(&model);
        let place = Place::new(name, &model);
        for arguments in [&["pull", "org/model"][..], &["run", "org/model", "-p", "x"]] {
            place
                .monocle(arguments)
                .fails(1, &["the weights of `org/model` are not fetched", words]);
        }
        let rows = place.rows(&["models", "--sizes", "--json"]);
        assert_eq!(rows[0]["state"], "partial", "{rows:?}");
    }
}

/// Moondream 2's repository holds the tokenizer of an older model; its code takes another repository's.
#[test]
fn a_tokenizer_may_be_another_repositorys() {
    let model = Scratch::checkpoint("smolvlm");
    let words = Scratch::new("words");
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        let bytes = std::fs::read(model.file(name)).expect("the file can be read");
        words.write(name, bytes);
        model.remove(name);
    }
    // One that would be taken if the manifest were not heard.
    model.write("tokenizer.json", "{}");
    let place = Place::new("words", &words);
    let manifest = format!(
        "schema = 1\nname = \"two\"\nplugin = \"smolvlm\"\n[source]\npath = '{}'\n[tokenizer]\nrepo = \"org/model\"\n",
        model.path().display()
    );
    place.manifests.write("two.toml", manifest);
    let inspected = place
        .with_manifest(&["inspect", "two", "-p", "How many?", "--json"])
        .json();
    let own = place
        .monocle(&[
            "inspect",
            &monocle_tests::project::oracle("smolvlm").display().to_string(),
            "-p",
            "How many?",
            "--json",
        ])
        .json();
    assert_eq!(inspected["token_ids"], own["token_ids"]);
    assert!(!inspected["token_ids"].is_null(), "{inspected}");
    // It is in the cache now, and is not asked for again.
    let requests = place.hub.requests();
    place
        .with_manifest(&["inspect", "two", "-p", "How many?"])
        .succeeds();
    assert_eq!(place.hub.requests(), requests);
    let offline = Scratch::new("words-offline");
    place
        .with_manifest(&["inspect", "two", "-p", "How many?"])
        .env("HF_HUB_OFFLINE", "1")
        .env("HF_HOME", offline.path())
        .fails(1, &["`org/model`"]);
}

#[test]
fn doctor_finds_what_is_damaged() {
    let model = Scratch::checkpoint("smolvlm");
    let place = Place::new("doctor", &model);
    let compiled = Scratch::new("doctor-compiled");
    place.with_manifest(&["pull", "tiny"]).succeeds();
    let doctor = |more: &[&str]| {
        place
            .monocle(&[&["doctor", "--json"], more].concat())
            .env("MONOCLE_CACHE", compiled.path())
            .run()
    };
    let findings = |outcome: &monocle_tests::program::Outcome| -> Vec<(String, bool, String)> {
        let found: Value = serde_json::from_str(&outcome.stdout).expect("it is JSON");
        let found = found.as_array().expect("a list").iter();
        found
            .map(|finding| {
                let text = |key: &str| finding[key].as_str().expect("a text").to_owned();
                (text("what"), finding["is_well"] == true, text("said"))
            })
            .collect()
    };
    // A first use leaves a compiled plugin there.
    let picture = monocle_tests::project::oracle("smolvlm").join("image.png");
    place
        .with_manifest(&[
            "run",
            "tiny",
            &picture.display().to_string(),
            "-p",
            "hi",
            "--max-tokens",
            "1",
        ])
        .env("MONOCLE_CACHE", compiled.path())
        .succeeds();
    let well = doctor(&[]);
    assert_eq!(well.code, 0, "{well:?}");
    assert!(findings(&well).iter().all(|(_, is_well, _)| *is_well), "{well:?}");

    let entry = std::fs::read_dir(compiled.file("compiled"))
        .expect("compiled plugins are kept there")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|end| end == "code"))
        .expect("one was compiled");
    let sound = std::fs::read(&entry).expect("it can be read");
    let mut flipped = sound.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    std::fs::write(&entry, &flipped).expect("it is ours");
    let damaged = doctor(&[]);
    assert_eq!(damaged.code, 1, "{damaged:?}");
    let name = entry
        .file_name()
        .expect("it has a name")
        .to_string_lossy()
        .into_owned();
    let said: Vec<_> = findings(&damaged)
        .into_iter()
        .filter(|(_, is_well, _)| !is_well)
        .collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].2.contains(&name), "{said:?}");
    std::fs::write(&entry, &sound).expect("it is ours");
    assert_eq!(doctor(&[]).code, 0);

    // The same size and time, other bytes: only who hashes again sees it.
    let blobs = place.cache.file("hub/models--org--model/blobs");
    let blob = std::fs::read_dir(&blobs)
        .expect("it was pulled")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .max_by_key(|path| std::fs::metadata(path).map_or(0, |found| found.len()))
        .expect("a file");
    let time = std::fs::metadata(&blob)
        .and_then(|found| found.modified())
        .expect("it has a time");
    let mut bytes = std::fs::read(&blob).expect("it can be read");
    *bytes.last_mut().expect("it has bytes") ^= 1;
    std::fs::write(&blob, &bytes).expect("it is ours");
    let file = std::fs::File::options()
        .write(true)
        .open(&blob)
        .expect("it is ours");
    file.set_modified(time).expect("it is ours");
    assert_eq!(doctor(&[]).code, 0);
    let damaged = doctor(&["--again"]);
    assert_eq!(damaged.code, 1, "{damaged:?}");
    let of_models = findings(&damaged)
        .into_iter()
        .filter(|(what, ..)| what == "model");
    let said: Vec<_> = of_models.map(|(_, is_well, said)| (is_well, said)).collect();
    assert!(
        !said[0].0 && said[0].1.contains("`model.safetensors`"),
        "{said:?}"
    );
}
