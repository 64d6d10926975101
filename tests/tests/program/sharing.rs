//! Plugins given to others: packed, pushed into a registry, installed in another home, run there, updated, withdrawn. The stranger's path in C
//! and in Rust, with what each command says.

use std::path::{Path, PathBuf};
use std::process::Command;

use monocle_tests::program::{Monocle, Outcome};
use monocle_tests::project;
use monocle_tests::registry::Registry;
use monocle_tests::scratch::Scratch;
use monocle_tests::signing::Signer;

/// One person's machine.
struct Person {
    home: Scratch,
}

impl Person {
    fn new(name: &str) -> Self {
        Self {
            home: Scratch::new(&format!("home-{name}")),
        }
    }

    /// `monocle …` in their home.
    fn monocle(&self, arguments: &[&str]) -> Monocle {
        Monocle::new(arguments)
            .within(self.home.path())
            .with_compilers()
            .env("CARGO_TARGET_DIR", project::target().join("guide"))
            .env("HOME", self.home.path())
    }

    fn says(&self, arguments: &[&str], words: &[&str]) -> Outcome {
        let outcome = self.monocle(arguments).succeeds();
        for part in words {
            assert!(
                outcome.stdout.contains(part),
                "`{part}` is not in:\n{}",
                outcome.stdout
            );
        }
        outcome
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.file(name)
    }
}

/// A package of the tests' plain adapter by another name and version.
fn package(folder: &Scratch, name: &str, version: &str, more: &str) -> PathBuf {
    let project = folder.file(&format!("{name}-project"));
    std::fs::create_dir_all(project.join("plugins")).expect("the folder can be made");
    let description =
        format!("{{\"name\":\"{name}\",\"version\":\"{version}\",\"language\":\"c\",\"world\":\"adapter\"}}");
    std::fs::write(project.join("plugin.json"), description).expect("it can be written");
    std::fs::write(project.join("LICENSE"), more).expect("it can be written");
    let manifests = project.join("manifests");
    std::fs::create_dir_all(&manifests).expect("the folder can be made");
    let manifest = format!(
        "schema = 1\nname = \"{name}-model\"\nplugin = \"smolvlm\"\nadapter = \"{name}\"\n[source]\nrepo = \"org/{name}\"\n"
    );
    std::fs::write(manifests.join(format!("{name}-model.toml")), manifest).expect("it can be written");
    Monocle::new(["plugins", "stamp"])
        .args([project::test_plugins().join("plain-adapter.wasm")])
        .args(["--name", name, "--version", version, "-o"])
        .args([project.join("plugins")])
        .succeeds();
    let file = folder.file(&format!("{name}-{version}.monocle"));
    Monocle::new(["plugins", "pack", "--untested"])
        .args([project.as_os_str(), "-o".as_ref(), file.as_os_str()])
        .succeeds();
    file
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of a test is text")
}

#[test]
fn a_stranger_makes_shares_and_runs_a_plugin_in_rust() {
    let (author, user) = (Person::new("author"), Person::new("user"));
    author.says(
        &["plugins", "new", "shared-square"],
        &[
            "shared-square/: an adapter in Rust",
            "monocle plugins build",
            "monocle plugins test",
        ],
    );
    std::fs::copy(
        project::root().join("Cargo.lock"),
        author.file("shared-square/Cargo.lock"),
    )
    .expect("the project has a lock file");
    shares_and_runs(&author, &user, "shared-square");
}

#[test]
fn a_stranger_makes_shares_and_runs_a_plugin_in_c() {
    if Command::new("clang").arg("--version").output().is_err() {
        eprintln!("clang is missing, so nothing was made in C");
        return;
    }
    let (author, user) = (Person::new("author-c"), Person::new("user-c"));
    author.says(
        &["plugins", "new", "in-c", "--lang", "c"],
        &["in-c/: an adapter in C"],
    );
    shares_and_runs(&author, &user, "in-c");
}

fn shares_and_runs(author: &Person, user: &Person, name: &str) {
    author.says(
        &["plugins", "build", name],
        &[&format!(
            "{name}/plugins/{name}.wasm ({name} 0.1.0, adapter, contract 0.2.0"
        )],
    );
    author.says(
        &["plugins", "test", name],
        &["ok      sizes", "ok      batches", "899 sizes"],
    );
    let packed = author.says(
        &["plugins", "pack", name],
        &[
            &format!("{name}-0.1.0.monocle ({name} 0.1.0, adapter"),
            "no licence",
        ],
    );
    assert!(packed.stdout.contains("no manifests"), "{packed:?}");
    let registry = Registry::own();
    let to = format!("oci://{}/people/{name}", registry.address);
    author.says(
        &["plugins", "push", &format!("{name}-0.1.0.monocle"), &to],
        &[&format!("{to}:0.1.0 (sha256:"), &format!("{to}:latest (sha256:")],
    );
    user.says(
        &["plugins", "install", &to],
        &[
            &format!("{name} 0.1.0 installed (adapter, sha256 "),
            "not signed, its author tested it",
        ],
    );
    user.says(&["plugins", "list"], &[name, "adapter"]);
    let manifest = format!(
        "schema = 1\nname = \"mine\"\nplugin = \"smolvlm\"\nadapter = \"{name}\"\n[source]\npath = {:?}\n",
        project::root().join("models/shapes")
    );
    std::fs::write(user.file("mine.toml"), manifest).expect("it can be written");
    let picture = project::root().join("models/shapes/pictures/shapes.png");
    let answer = user
        .monocle(&["run", "mine.toml", text(&picture), "--max-tokens", "4", "--json"])
        .json();
    assert_eq!(answer["host"]["plugins"][0]["name"], name, "{answer:#}");
    assert!(
        answer["token_ids"].as_array().is_some_and(|ids| !ids.is_empty()),
        "{answer:#}"
    );
    user.says(
        &["plugins", "verify", "--online"],
        &[&format!("{name} 0.1.0  as it was installed")],
    );
    user.says(&["plugins", "remove", name], &[&format!("{name} removed")]);
    user.monocle(&["run", "mine.toml", text(&picture)])
        .fails(1, &[&format!("no plugin `{name}`")]);
}

#[test]
fn packages_go_through_registries() {
    through(&Registry::own());
    match Registry::docker() {
        Some(registry) => through(&registry),
        None => eprintln!(
            "docker-registry is missing, so only the tests' own registry was asked: apt-get install docker-registry"
        ),
    }
}

/// Pushed, installed, updated, changed, withdrawn.
fn through(registry: &Registry) {
    let (made, user) = (Scratch::new("packages"), Person::new("through"));
    let to = format!("oci://{}/people/thing", registry.address);
    let first = package(&made, "thing", "1.0.0", "MIT");
    user.says(
        &["plugins", "push", text(&first), &to],
        &[&format!("{to}:1.0.0 (sha256:")],
    );
    // An artifact as wasm-pkg-tools reads it: a config of this type, the component in the first layer.
    let manifest = registry.manifest("people/thing", "1.0.0");
    assert_eq!(
        manifest["config"]["mediaType"], "application/vnd.wasm.config.v0+json",
        "{manifest:#}"
    );
    assert_eq!(manifest["layers"][0]["mediaType"], "application/wasm");
    user.says(
        &["plugins", "install", &to],
        &["thing 1.0.0 installed", "monocle run thing-model"],
    );
    assert!(user.file(".config/monocle/manifests/thing-model.toml").is_file());
    user.says(
        &["plugins", "install", &to],
        &["thing 1.0.0 is installed already"],
    );
    user.says(&["plugins", "update"], &["thing 1.0.0 is the newest at"]);
    // The same version stays what it is.
    let other = package(&made, "thing", "1.0.0", "another licence");
    user.monocle(&["plugins", "push", text(&other), &to])
        .fails(1, &["is there with other content", "another version"]);
    let second = package(&made, "thing", "1.1.0", "MIT");
    user.says(
        &["plugins", "push", text(&second), &to],
        &[&format!("{to}:latest")],
    );
    user.says(
        &["plugins", "update"],
        &["thing 1.1.0 installed in place of 1.0.0"],
    );
    user.says(
        &["plugins", "verify", "--online"],
        &["thing 1.1.0  as it was installed"],
    );
    // Somebody changes what `latest` is, and then takes it away.
    let changed = package(&made, "thing", "1.1.0", "another licence");
    user.says(&["plugins", "push", text(&changed), &format!("{to}:latest")], &[]);
    let outcome = user.monocle(&["plugins", "verify", "--online"]).run();
    assert!(
        outcome.code == 1 && outcome.stdout.contains("has 1.1.0 with other content now"),
        "{outcome:?}"
    );
    let outcome = user.monocle(&["plugins", "update", "thing"]).run();
    assert!(
        outcome.code == 1 && outcome.stderr.contains("same version with other content"),
        "{outcome:?}"
    );
    registry.withdraw("people/thing", "latest");
    let outcome = user.monocle(&["plugins", "verify", "--online"]).run();
    assert!(
        outcome.code == 1 && outcome.stdout.contains("was withdrawn"),
        "{outcome:?}"
    );
    user.monocle(&["plugins", "install", &to])
        .fails(1, &["is not there: it was never published, or was withdrawn"]);
    user.monocle(&["plugins", "install", "oci://nonsense"])
        .fails(1, &["names no artifact"]);
}

#[test]
fn a_registry_that_lies_is_refused() {
    let (made, user) = (Scratch::new("packages-lies"), Person::new("lies"));
    let registry = Registry::own();
    let to = format!("oci://{}/people/thing", registry.address);
    let publish = |name: &str, version: &str| {
        let file = package(&made, name, version, "MIT");
        user.says(&["plugins", "push", text(&file), &format!("{to}:latest")], &[]);
    };
    let refused = |words: &[&str]| user.monocle(&["plugins", "install", &to]).fails(1, words);
    publish("thing", "1.0.0");

    registry.change(|held| held.elsewhere = Some("http://registry.example/blob".to_owned()));
    refused(&["a redirect must stay on https"]);
    registry.change(|held| held.elsewhere = None);

    let place = "people/thing/manifests/latest";
    let honest = registry.manifest("people/thing", "latest");
    let mut huge = honest.clone();
    huge["layers"][0]["size"] = (1_u64 << 40).into();
    registry.change(|held| {
        held.manifests
            .insert(place.to_owned(), huge.to_string().into_bytes());
    });
    refused(&["it has 1099511627776 bytes, more than"]);

    // What is asked for by its digest is what has it.
    let pinned = format!("sha256:{}", "0".repeat(64));
    registry.change(|held| {
        let honest = honest.to_string().into_bytes();
        held.manifests
            .insert(format!("people/thing/manifests/{pinned}"), honest.clone());
        held.manifests.insert(place.to_owned(), honest);
    });
    let by_digest = format!("{to}@{pinned}");
    user.monocle(&["plugins", "install", &by_digest]).fails(
        1,
        &["what came has the digest sha256:", &format!("expected {pinned}")],
    );

    // As long as before, and another byte.
    registry.change(|held| {
        for blob in held.blobs.values_mut() {
            *blob.last_mut().expect("no blob is empty") ^= 1;
        }
    });
    refused(&["what came has the digest sha256:"]);
    assert!(!user.file(".local/share/monocle/plugins/thing.wasm").exists());

    // An older version, and another plugin, in place of what was installed.
    registry.change(|held| held.blobs.clear());
    publish("thing", "1.1.0");
    user.says(&["plugins", "install", &to], &["thing 1.1.0 installed"]);
    publish("thing", "1.0.0");
    let update = || user.monocle(&["plugins", "update", "thing"]).run();
    let outcome = update();
    assert!(
        outcome.code == 1 && outcome.stderr.contains("has 1.0.0 now, older than 1.1.0"),
        "{outcome:?}"
    );
    publish("other", "1.2.0");
    let outcome = update();
    assert!(
        outcome.code == 1 && outcome.stderr.contains("has a plugin `other` now"),
        "{outcome:?}"
    );
    user.says(&["plugins", "verify"], &["thing 1.1.0  as it was installed"]);
}

#[test]
fn registries_that_ask_are_told() {
    let made = Scratch::new("packages-asked");
    let person = Person::new("asked");
    let file = package(&made, "thing", "1.0.0", "MIT");
    // Base64 (RFC 4648) of `me:secret`.
    let proof = "Basic bWU6c2VjcmV0";
    for registry in [Registry::wanting(proof), Registry::with_tokens(proof)] {
        let to = format!("oci://{}/thing", registry.address);
        let push = || person.monocle(&["plugins", "push", text(&file), &to]);
        push().fails(1, &["wants a name and a password", "MONOCLE_REGISTRY_USER"]);
        let as_me = |command: Monocle| {
            command
                .env("MONOCLE_REGISTRY_USER", "me")
                .env("MONOCLE_REGISTRY_PASSWORD", "secret")
                .succeeds()
        };
        as_me(push());
        as_me(person.monocle(&["plugins", "install", &to]));
    }
}

/// A registry that says that its blobs are elsewhere, and are to be put there: no password goes there.
#[test]
fn a_password_goes_to_its_registry_alone() {
    let made = Scratch::new("packages-elsewhere");
    let person = Person::new("elsewhere");
    let file = package(&made, "thing", "1.0.0", "MIT");
    // Base64 (RFC 4648) of `me:secret`.
    let (registry, other) = (Registry::wanting("Basic bWU6c2VjcmV0"), Registry::own());
    let place = format!("http://{}/v2/thing/blobs/uploads/1", other.address);
    registry.change(|held| held.elsewhere = Some(place));
    let to = format!("oci://{}/thing", registry.address);
    let as_me = |arguments: &[&str]| {
        let command = person.monocle(arguments);
        let command = command.env("MONOCLE_REGISTRY_USER", "me");
        command.env("MONOCLE_REGISTRY_PASSWORD", "secret")
    };
    as_me(&["plugins", "push", text(&file), &to]).succeeds();
    // There is nothing at the place that blobs are said to be.
    as_me(&["plugins", "install", &to]).fails(1, &[&other.address]);
    let mut seen = Vec::new();
    other.change(|held| seen = held.seen.clone());
    assert!(seen.len() > 2, "blobs were put and asked for there: {seen:?}");
    assert!(seen.iter().all(Option::is_none), "{seen:?}");
}

#[test]
fn what_is_installed_is_kept_as_it_was() {
    let (made, user) = (Scratch::new("packages-kept"), Person::new("kept"));
    let file = package(&made, "thing", "1.0.0", "MIT");
    user.says(
        &["plugins", "install", text(&file)],
        &[
            "thing 1.0.0 installed",
            "not signed",
            "without a report of a test",
        ],
    );
    user.says(&["plugins", "verify"], &["thing 1.0.0  as it was installed"]);
    let plugin = user.file(".local/share/monocle/plugins/thing.wasm");
    let bytes = std::fs::read(&plugin).expect("it is installed");
    std::fs::write(&plugin, [&bytes[..], b"x"].concat()).expect("it can be changed");
    let outcome = user.monocle(&["plugins", "verify"]).run();
    assert!(
        outcome.code == 1 && outcome.stdout.contains("thing.wasm` was changed"),
        "{outcome:?}"
    );
    std::fs::write(&plugin, bytes).expect("it can be written");
    let list = user.file(".config/monocle/plugins.lock");
    let text_of_list = std::fs::read_to_string(&list).expect("there is a list");
    std::fs::write(&list, text_of_list.replace("1.0.0", "1.0.1")).expect("it can be changed");
    user.monocle(&["plugins", "remove", "thing"]).fails(
        1,
        &[
            "was changed by something else than `monocle plugins`",
            "verify --accept",
        ],
    );
    user.says(&["plugins", "verify", "--accept"], &["as it was installed"]);
    user.says(&["plugins", "remove", "thing"], &["thing removed"]);
    assert!(!plugin.exists());
    // Names of the program's own plugins, names that lie, files that are none.
    let shipped = package(&made, "smolvlm", "9.0.0", "MIT");
    user.monocle(&["plugins", "install", text(&shipped)])
        .fails(1, &["comes with Monocle"]);
    let lying = std::fs::read(&file).expect("it was packed");
    let at = lying
        .windows(7)
        .position(|part| part == b"\"thing\"")
        .expect("the name stands there");
    let mut lying = lying;
    lying[at + 1] = b'a';
    let lying = made.write("lying.monocle", lying);
    user.monocle(&["plugins", "install", text(&lying)]).fails(
        1,
        &["its name is said to be `ahing`, and the plugin in it says `thing`"],
    );
    user.monocle(&["plugins", "install", "nowhere.monocle"])
        .fails(1, &["cannot read `nowhere.monocle`"]);
}

#[test]
fn signatures_are_asked_for_once_and_then_always() {
    let (made, user) = (Scratch::new("packages-signed"), Person::new("signed"));
    let signer = Signer::new();
    let key = signer.key();
    let first = package(&made, "thing", "1.0.0", "MIT");
    user.monocle(&["plugins", "install", text(&first), "--key", &key])
        .fails(1, &["is not signed"]);
    signer.sign(&first);
    user.says(
        &["plugins", "install", text(&first), "--key", &key],
        &[&format!("signed by {key}")],
    );
    let second = package(&made, "thing", "1.1.0", "MIT");
    user.monocle(&["plugins", "install", text(&second)])
        .fails(1, &["is not signed, and the key"]);
    signer.sign(&second);
    // By way of a registry, the signature goes along.
    let registry = Registry::own();
    let to = format!("oci://{}/thing", registry.address);
    user.says(&["plugins", "push", text(&second), &to], &["thing:1.1.0"]);
    user.says(
        &["plugins", "install", &to],
        &[
            "thing 1.1.0 installed in place of 1.0.0",
            &format!("signed by {key}"),
        ],
    );
    user.monocle(&["plugins", "install", text(&first), "--key", "RWnonsense"])
        .fails(1, &["no public key of minisign"]);
}
