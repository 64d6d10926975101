//! What a good manifest is read as, and that the project's own are good.

use std::path::{Path, PathBuf};

use monocle_manifest::schema::WideGrey;
use monocle_manifest::served::Served;
use monocle_manifest::{Manifest, Oversize, Pattern, Reasoning, Source, Template};
use serde_json::{Map, Value, json};

const FULL: &str = include_str!("../fuzz/corpus/manifest/full.toml");

#[test]
fn every_key_arrives() {
    let manifest = Manifest::from_str(FULL, "full.toml").unwrap();
    assert_eq!((manifest.schema, manifest.name.as_str()), (1, "smolvlm-500m"));
    assert_eq!(manifest.description.as_deref(), Some("a test"));
    assert_eq!(manifest.plugin.name, "smolvlm");
    let version = manifest.plugin.version.unwrap();
    assert!(version.matches(&"0.1.7".parse().unwrap()) && !version.matches(&"0.2.0".parse().unwrap()));
    let options = json!({"tiles": 4, "names": ["a", "b"], "deep": {"x": 1.5}});
    assert_eq!(serde_json::Value::Object(manifest.plugin.options), options);
    assert_eq!(manifest.adapter.unwrap().name, "captions");
    let (repo, revision) = ("HuggingFaceTB/SmolVLM-500M-Instruct".to_owned(), "v1".to_owned());
    let gguf = Some("Q8_0".to_owned());
    let also = Vec::new();
    assert_eq!(
        manifest.source,
        Source::Repo {
            repo,
            revision,
            gguf,
            also
        }
    );
    assert_eq!(manifest.tokenizer.pattern.as_deref(), Some(r"\s+(?!\S)|\S+"));
    assert_eq!(
        manifest.prompt.template,
        Some(Template::File(PathBuf::from("chatml.jinja")))
    );
    assert_eq!(manifest.prompt.system.as_deref(), Some("Be brief."));
    assert!(!manifest.prompt.plain);
    let variables = json!({"enable_thinking": false, "date": "1 May"});
    assert_eq!(serde_json::Value::Object(manifest.prompt.variables), variables);
    assert_eq!(manifest.image.max_pixels, Some(4_000_000));
    assert_eq!(
        (manifest.image.over, manifest.image.max_images),
        (Oversize::Refuse, Some(3))
    );
    assert_eq!(manifest.image.wide_grey, WideGrey::Pillow);
    let generation = manifest.generation;
    assert_eq!(
        (generation.max_tokens, generation.top_k, generation.seed),
        (Some(100), Some(50), Some(7))
    );
    assert_eq!(
        (generation.temperature, generation.top_p, generation.min_p),
        (Some(1.0), Some(0.9), Some(0.05))
    );
    assert_eq!(generation.repetition_penalty, Some(1.1));
    assert_eq!(
        (generation.stop, generation.stop_tokens),
        (vec!["Question:".into()], vec!["<end_of_utterance>".into()])
    );
    let reasoning = Reasoning {
        start: "<think>".into(),
        end: "</think>".into(),
        opened: true,
        budget: Some(200),
    };
    assert_eq!(
        (manifest.output.reasoning, manifest.output.trim),
        (Some(reasoning), true)
    );
    assert_eq!(manifest.output.strip, ["<fake>"]);
    assert_eq!(
        manifest.weights.rename,
        [(Pattern(r"^language_model\.model\.".into()), "model.".into())]
    );
    assert_eq!(manifest.weights.ignore, [Pattern("rotary_emb".into())]);
    let limits = manifest.limits;
    assert_eq!((limits.memory_mib, limits.call_timeout_ms), (Some(64), Some(500)));
    assert_eq!((limits.tensors, limits.operations), (Some(1000), Some(5000)));
}

#[test]
fn the_least_manifest_equals_one_made_in_code() {
    let text = "schema = 1\nname = \"m\"\nplugin = \"p\"\nsource = { repo = \"o/r\" }\n";
    let (repo, revision) = ("o/r".to_owned(), "main".to_owned());
    let made = Manifest::new(
        "m",
        monocle_manifest::Plugin::named("p"),
        Source::Repo {
            repo,
            revision,
            gguf: None,
            also: Vec::new(),
        },
    );
    assert_eq!(Manifest::from_str(text, "m.toml").unwrap(), made);
    assert_eq!(made.image.over, Oversize::Shrink);
    assert_eq!(made.image.wide_grey, WideGrey::Scale);
}

#[test]
fn templates_are_files_or_text() {
    let template = |text: &str| {
        let manifest = format!(
            "schema = 1\nname = \"m\"\nplugin = \"p\"\nsource = {{ repo = \"o/r\" }}\nprompt = {{ template = '{text}' }}\n"
        );
        Manifest::from_str(&manifest, "m.toml")
            .unwrap()
            .prompt
            .template
            .unwrap()
    };
    assert_eq!(template("a.jinja"), Template::File("a.jinja".into()));
    assert_eq!(
        template("{{ x }}.jinja"),
        Template::Inline("{{ x }}.jinja".into())
    );
    assert_eq!(template("User: "), Template::Inline("User: ".into()));
}

#[test]
fn paths_are_relative_to_the_manifest() {
    let folder = std::env::temp_dir().join(format!("monocle-manifest-paths-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("manifests")).unwrap();
    std::fs::create_dir_all(folder.join("model")).unwrap();
    let file = folder.join("manifests/m.toml");
    let text = "schema = 1\nname = \"m\"\nplugin = \"p\"\nsource = { path = \"../model\" }\nprompt = { template = \"t.jinja\" }\n";
    std::fs::write(&file, text).unwrap();
    std::fs::write(folder.join("manifests/t.jinja"), "one").unwrap();
    let manifest = Manifest::load(&file).unwrap();
    assert_eq!(manifest.source, Source::Path(folder.join("manifests/../model")));
    let template = manifest.prompt.template.unwrap();
    // A GGUF file is named by itself; no other file is a model.
    std::fs::write(folder.join("model/m.gguf"), "").unwrap();
    std::fs::write(folder.join("model/m.bin"), "").unwrap();
    std::fs::write(&file, text.replace("../model", "../model/m.gguf")).unwrap();
    let named = Source::Path(folder.join("manifests/../model/m.gguf"));
    assert_eq!(Manifest::load(&file).unwrap().source, named);
    std::fs::write(&file, text.replace("../model", "../model/m.bin")).unwrap();
    let error = Manifest::load(&file).unwrap_err().to_string();
    assert!(error.contains("neither a folder nor a `.gguf` file"), "{error}");
    assert_eq!(template.read().unwrap(), "one");
    std::fs::write(folder.join("manifests/t.jinja"), "two").unwrap();
    assert_eq!(template.read().unwrap(), "two", "an edit takes effect at once");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_manifests_of_the_project_are_good() {
    let folder = project().join("manifests");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = std::fs::read_to_string(&path).unwrap();
            let manifest = Manifest::from_str(&text, &path.display().to_string()).unwrap();
            assert_eq!(
                path.file_stem().unwrap().to_str(),
                Some(manifest.name.as_str()),
                "a manifest's file has its name"
            );
            names.push(manifest.name);
        }
    }
    for name in [
        "smolvlm",
        "smolvlm-500m",
        "smolvlm-256m",
        "smolvlm2",
        "smolvlm2-500m",
        "idefics3-8b",
        "shapes",
    ] {
        assert!(
            names.iter().any(|found| found == name),
            "{name} is not among {names:?}"
        );
    }
}

/// Repositories that people run, as three reports name them, and what each needs of its manifest: a cap on pixels where a photo filled the memory, the
/// marks of reasoning where it was mixed into the answer, a plain prompt where there is no template, and so on.
#[test]
fn every_reported_model_is_declared_as_it_needs() {
    let manifests: Vec<Manifest> = std::fs::read_dir(project().join("manifests"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| Manifest::from_str(&std::fs::read_to_string(&path).unwrap(), "m.toml").unwrap())
        .collect();
    let rows = std::fs::read(project().join("tests/oracle/reported_models.json")).unwrap();
    let rows: Vec<Map<String, Value>> = serde_json::from_slice(&rows).unwrap();
    assert_eq!(rows.len(), 53);
    for mut row in rows {
        let asked = row.remove("repo").unwrap();
        let asked = asked.as_str().unwrap();
        let declared: Vec<Manifest> = manifests
            .iter()
            .filter_map(|manifest| match &manifest.source {
                Source::Repo { repo, gguf: None, .. } if repo == asked => Some(manifest.clone()),
                Source::Repo {
                    repo,
                    gguf: Some(tag),
                    ..
                } if format!("{repo}:{tag}") == asked => Some(manifest.clone()),
                _ => manifest.stored_in(asked),
            })
            .collect();
        let [manifest] = &declared[..] else {
            panic!("{asked} is declared {} times", declared.len());
        };
        assert_eq!(needs(manifest), row, "{asked}");
    }
}

/// What of a manifest the rows tell, where it is not as if it were absent.
fn needs(manifest: &Manifest) -> Map<String, Value> {
    // 0.1 as it is written, not as the next larger `f32` is in `f64`.
    let number = |number: Option<f32>| number.map(|number| json!(number.to_string().parse::<f64>().unwrap()));
    let list = |list: &[String]| (!list.is_empty()).then(|| json!(list));
    let (generation, output) = (&manifest.generation, &manifest.output);
    let reasoning = output.reasoning.as_ref();
    let yes = |is: bool| is.then_some(json!(true));
    let all = [
        ("plugin", Some(json!(manifest.plugin.name))),
        ("pad", manifest.plugin.options.get("pad").cloned()),
        (
            "tokenizer",
            manifest.tokenizer.repo.as_ref().map(|repo| json!(repo)),
        ),
        ("plain", yes(manifest.prompt.plain)),
        (
            "max_pixels",
            manifest.image.max_pixels.map(|pixels| json!(pixels)),
        ),
        (
            "max_images",
            manifest.image.max_images.map(|images| json!(images)),
        ),
        ("temperature", number(generation.temperature)),
        ("top_p", number(generation.top_p)),
        ("top_k", generation.top_k.map(|count| json!(count))),
        ("min_p", number(generation.min_p)),
        ("repetition_penalty", number(generation.repetition_penalty)),
        ("presence_penalty", number(generation.presence_penalty)),
        ("stop_tokens", list(&generation.stop_tokens)),
        ("reasoning", reasoning.map(|reasoning| json!(reasoning.end))),
        ("opened", yes(reasoning.is_some_and(|reasoning| reasoning.opened))),
        ("strip", list(&output.strip)),
        ("trim", yes(output.trim)),
    ];
    all.into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect()
}

#[test]
fn repositories_with_the_same_model_are_named_besides() {
    let with = |source: &str, more: &str| {
        let text = format!("schema = 1\nname = \"m\"\nplugin = \"p\"\n[source]\n{source}\n{more}");
        Manifest::from_str(&text, "m.toml").map_err(|error| error.to_string())
    };
    let also = "also = [\"o/r-4bit\", \"p/r\"]";
    let manifest = with(
        &format!("repo = \"o/r\"\nrevision = \"v1\"\n{also}"),
        "[image]\nmax_pixels = 9\n",
    )
    .unwrap();
    assert_eq!(manifest.also(), ["o/r-4bit", "p/r"]);
    // Under its own name, at its newest revision, and everything else as the manifest says.
    let stored = manifest.stored_in("p/r").unwrap();
    let expected = Manifest {
        name: "p/r".to_owned(),
        source: Source::Repo {
            repo: "p/r".to_owned(),
            revision: "main".to_owned(),
            gguf: None,
            also: Vec::new(),
        },
        ..manifest.clone()
    };
    assert_eq!(stored, expected);
    assert_eq!(stored.image.max_pixels, Some(9));
    // Its own repository is not one of the others.
    assert_eq!(
        ["o/r", "o/R-4bit", "r-4bit"].map(|asked| manifest.stored_in(asked)),
        [None, None, None]
    );
    let repo = format!("repo = \"o/r\"\n{also}");
    for (source, more, words) in [
        (
            &format!("path = \"x\"\n{also}"),
            "",
            "`also` in `[source]` goes with `repo`, not with `path`; remove it",
        ),
        (
            &format!("{repo}\ngguf = \"Q8_0\""),
            "",
            "and `gguf` one model of several; keep one of them",
        ),
        (
            &repo,
            "[weights]\nturn = ['experts']\n",
            "m.toml:6:8: `also` names other repositories with the same model, and `[weights]` is about the files of one; give the others a manifest of their own",
        ),
        (
            &repo,
            "[tokenizer]\nrepo = \"o/t\"\n",
            "`repo` in `[tokenizer]` is about the files of one",
        ),
        (
            &"repo = \"o/r\"\nalso = [\"o/r\", \"r\"]".to_owned(),
            "",
            "m.toml:6:16: `source.also[1]` is `r`, which is not of the right form",
        ),
    ] {
        let refused = with(source, more).unwrap_err();
        assert!(refused.contains(words), "{refused}");
    }
}

#[test]
fn the_reference_page_and_the_json_schema_are_up_to_date() {
    let refresh = "run `cargo run --release -p monocle-manifest --example reference`";
    let page = std::fs::read_to_string(project().join("docs/manifest.md")).unwrap_or_default();
    assert!(
        page == monocle_manifest::reference_page(),
        "docs/manifest.md is out of date; {refresh}"
    );
    let schema =
        std::fs::read_to_string(project().join("manifests/manifest.schema.json")).unwrap_or_default();
    let fresh = format!("{:#}\n", monocle_manifest::json_schema());
    assert!(
        schema == fresh,
        "manifests/manifest.schema.json is out of date; {refresh}"
    );
}

#[test]
fn a_server_is_named_by_a_manifest_of_its_own() {
    let folder = std::env::temp_dir().join(format!("monocle-manifest-served-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("other.toml");
    let text = "schema = 1\nname = \"other\"\n[server]\nurl = \"http://127.0.0.1:8080/v1/\"\ncommand = [\"./run.sh\", \"--port\", \"8080\"]\n\
                options = { temperature = 0 }\n";
    std::fs::write(&file, text).unwrap();
    let served = Served::load(&file).expect("it names a server").unwrap();
    let server = &served.server;
    assert_eq!((served.name.as_str(), server.ready_within), ("other", None));
    assert_eq!(server.health_url(), "http://127.0.0.1:8080/v1/models");
    let (program, arguments) = server.started_by().expect("it says how");
    assert_eq!(program, folder.join("./run.sh"));
    assert_eq!(arguments, ["--port", "8080"]);
    assert_eq!(server.options["temperature"], 0);
    // As a manifest of a model that runs here, it is refused in words.
    let refused = Manifest::load(&file).unwrap_err().to_string();
    assert!(refused.ends_with("other.toml:3:1: this manifest names another program's server (`[server]`); only `monocle check` and `monocle eval` ask those"), "{refused}");
    std::fs::write(
        &file,
        "schema = 1\nname = \"m\"\nplugin = \"p\"\n[source]\nrepo = \"o/r\"\n",
    )
    .unwrap();
    assert!(Served::load(&file).is_none());
    std::fs::remove_dir_all(&folder).unwrap();

    let with = |more: &str| {
        let text =
            format!("schema = 1\nname = \"other\"\n[server]\nurl = \"https://example.org/api\"\n{more}");
        Served::from_str(&text, "m.toml").map_err(|error| error.to_string())
    };
    let health = |more: &str| with(more).unwrap().server.health_url();
    assert_eq!(health("health = \"/health\"\n"), "https://example.org/health");
    // Found on the path, and started as it stands.
    let named = with("command = [\"llama-server\"]\n").unwrap();
    assert_eq!(named.server.started_by().unwrap().0, Path::new("llama-server"));
    assert_eq!(with("").unwrap().server.started_by(), None);
    for (more, words) in [
        (
            "helth = \"/\"\n",
            "m.toml:5:1: unknown key `helth` in `[server]`; did you mean `health`?",
        ),
        (
            "health = \"health\"\n",
            "m.toml:5:10: `server.health` is `health`, which is not of the right form",
        ),
        (
            "ready_within = 0\n",
            "`server.ready_within` must be from 1 to 4294967295, but is 0",
        ),
        (
            "command = []\n",
            "`server.command` must be a list that is not empty, but is empty",
        ),
        (
            "command = \"run\"\n",
            "`server.command` must be a list, but is a string",
        ),
        (
            "[source]\nrepo = \"o/r\"\n",
            "unknown key `source` in the manifest",
        ),
    ] {
        let refused = with(more).unwrap_err();
        assert!(refused.contains(words), "{refused}");
    }
    for url in ["127.0.0.1:8080", "file:///etc", "http://a b", "http://a/?x"] {
        let text = format!("schema = 1\nname = \"other\"\n[server]\nurl = \"{url}\"\n");
        assert!(Served::from_str(&text, "m.toml").is_err(), "{url}");
    }
}

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What a template's file says is shown to the model and to whoever asks it.
#[test]
#[cfg(unix)]
fn a_template_from_elsewhere_is_refused() {
    let base = std::env::temp_dir().join(format!("monocle-manifest-elsewhere-{}", std::process::id()));
    let folder = base.join("manifests");
    std::fs::create_dir_all(base.join("model")).unwrap();
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(base.join("secret.jinja"), "secret").unwrap();
    std::fs::write(folder.join("own.jinja"), "own").unwrap();
    std::os::unix::fs::symlink(base.join("secret.jinja"), folder.join("link.jinja")).unwrap();
    std::os::unix::fs::symlink("own.jinja", folder.join("beside.jinja")).unwrap();
    let load = |template: &str| {
        let text = format!(
            "schema = 1\nname = \"m\"\nplugin = \"p\"\nsource = {{ path = \"../model\" }}\nprompt = {{ template = {template:?} }}\n"
        );
        std::fs::write(folder.join("m.toml"), text).unwrap();
        Manifest::load(&folder.join("m.toml"))
    };
    let absolute = base.join("secret.jinja").display().to_string();
    let refused =
        ["link.jinja", "../secret.jinja", &absolute].map(|template| load(template).unwrap_err().to_string());
    let taken = ["own.jinja", "beside.jinja"].map(|template| load(template).is_ok());
    std::fs::remove_dir_all(&base).unwrap();
    for error in refused {
        assert!(error.contains("leads out of the manifest's folder"), "{error}");
    }
    assert_eq!(taken, [true, true]);
}
