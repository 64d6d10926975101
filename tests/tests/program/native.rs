//! Native libraries as users and authors meet them: none runs before it is trusted, and what was trusted is what runs.

use std::env::consts::DLL_SUFFIX;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use monocle_tests::program::Monocle;
use monocle_tests::project::{self, Carrier};
use monocle_tests::scratch::Scratch;

/// A home with one library, which goes before the component of its name.
struct Home(Scratch);

impl Home {
    fn new(name: &str) -> Self {
        let home = Scratch::new(name);
        let [libraries, _] = Carrier::Library.folders();
        let library = std::fs::read(libraries.join(format!("smolvlm{DLL_SUFFIX}"))).expect("it was built");
        home.write(&format!("plugins/smolvlm{DLL_SUFFIX}"), library);
        Self(home)
    }

    fn library(&self) -> PathBuf {
        self.0.file(&format!("plugins/smolvlm{DLL_SUFFIX}"))
    }

    /// Another library, which has these bytes in place of those.
    fn changed(&self, those: &[u8], these: &[u8]) -> PathBuf {
        let library = std::fs::read(self.library()).expect("it is there");
        let at = library.windows(those.len()).position(|part| part == those);
        let at = at.expect("it has such bytes");
        let changed = [&library[..at], these, &library[at + those.len()..]].concat();
        self.0.write(&format!("other/smolvlm{DLL_SUFFIX}"), changed)
    }

    fn trusted(&self) -> PathBuf {
        self.0.file(".local/share/monocle/trusted")
    }

    fn monocle(&self, arguments: &[&str]) -> Monocle {
        Monocle::new(arguments)
            .within(self.0.path())
            .env("HOME", self.0.path())
            .env("MONOCLE_PLUGINS", self.0.file("plugins"))
    }

    /// An answer of the model that the library serves, named by a manifest.
    fn run(&self, more: &[&str]) -> Monocle {
        let source = project::oracle("smolvlm");
        let text = format!(
            "schema = 1\nname = \"native\"\nplugin = \"smolvlm\"\nsource = {{ path = {source:?} }}\n"
        );
        self.0.write("native.toml", text);
        let picture = source.join("image.png");
        self.monocle(&["run", "native.toml"])
            .args([picture])
            .args(["-p", "hi", "--max-tokens", "4", "--plain"])
            .args(more)
    }
}

/// What the component answers.
fn of_component() -> String {
    let home = Home::new("native-component");
    home.run(&[]).env("MONOCLE_PLUGINS", "").succeeds().stdout
}

#[test]
fn a_library_runs_when_it_is_trusted_and_as_it_was_then() {
    let home = Home::new("native-trust");
    let library = home.library();
    let name = library.to_str().expect("a plain path");
    const MEANING: &str = "it can do anything that you can";

    // Not before: not named by a manifest, not for a model's type.
    home.run(&[]).fails(
        1,
        &[
            "that you have not trusted (SHA-256 ",
            MEANING,
            "monocle plugins trust ",
        ],
    );
    let list = home.monocle(&["plugins", "list"]).succeeds().stdout;
    assert!(
        list.contains("not usable") && list.contains("you have not trusted"),
        "{list}"
    );
    let none = home.monocle(&["plugins", "--trusted"]).succeeds().stdout;
    assert_eq!(none, "no native library is trusted\n");

    let given = home.monocle(&["plugins", "trust", name]).succeeds();
    assert!(given.stdout.starts_with("trusted: smolvlm "), "{}", given.stdout);
    assert!(given.stderr.contains(MEANING), "{}", given.stderr);
    assert_eq!(home.run(&[]).succeeds().stdout, of_component());
    let list = home.monocle(&["plugins", "list"]).succeeds().stdout;
    assert!(list.contains("(native library)"), "{list}");
    let all = home.monocle(&["plugins", "--trusted", "--json"]).json();
    assert_eq!(
        (&all[0]["name"], &all[0]["path"]),
        (&"smolvlm".into(), &name.into())
    );

    // Another file at its place is not what was trusted, even if one byte differs.
    let mut bytes = std::fs::read(&library).expect("it is there");
    bytes.push(0);
    std::fs::write(&library, &bytes).expect("it can be written");
    home.run(&[])
        .fails(1, &["has changed since you trusted it", MEANING]);
    home.monocle(&["plugins", "trust", name]).succeeds();
    home.run(&[]).succeeds();

    let taken = home.monocle(&["plugins", "untrust", "smolvlm"]).succeeds().stdout;
    assert_eq!(taken.lines().count(), 2, "both are called so: {taken}");
    home.run(&[]).fails(1, &["that you have not trusted"]);
    home.monocle(&["plugins", "untrust", "smolvlm"])
        .fails(1, &["no trusted library is called `smolvlm`"]);
    let left = std::fs::read_dir(home.trusted())
        .expect("the folder stays")
        .count();
    assert_eq!(left, 0);
}

/// What is loaded is the copy, which is looked at again; and the folder of copies is the user's alone.
#[test]
fn what_was_trusted_is_what_is_loaded() {
    let home = Home::new("native-copies");
    let name = home.library();
    let name = name.to_str().expect("a plain path");
    home.monocle(&["plugins", "trust", name]).succeeds();
    let copies = |ending: &str| -> PathBuf {
        let entries = std::fs::read_dir(home.trusted()).expect("it is there");
        let mut paths = entries.map(|entry| entry.expect("it can be read").path());
        let ends = |path: &PathBuf| path.to_string_lossy().ends_with(ending);
        paths.find(ends).expect("a copy and a record")
    };
    let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    let copy = copies(DLL_SUFFIX);
    assert_eq!((mode(&home.trusted()), mode(&copy)), (0o700, 0o600));

    let whole = std::fs::read(&copy).expect("it is there");
    let mut bytes = whole.clone();
    *bytes.last_mut().expect("it has bytes") ^= 1;
    std::fs::write(&copy, &bytes).expect("it is ours");
    home.run(&[])
        .fails(1, &["the copy of a trusted library, and was changed"]);
    std::fs::write(&copy, &whole).expect("it is ours");
    home.run(&[]).succeeds();

    // A record that says another hash than its name is none.
    let record = copies(".json");
    let text = std::fs::read_to_string(&record).expect("it is there");
    let hash = record
        .file_stem()
        .expect("it has a name")
        .to_string_lossy()
        .into_owned();
    std::fs::write(&record, text.replace(&hash, &"0".repeat(64))).expect("it is ours");
    home.run(&[]).fails(1, &["that you have not trusted"]);
    std::fs::write(&record, &text).expect("it is ours");

    std::fs::set_permissions(home.trusted(), std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    home.run(&[]).fails(1, &["can be used by others than its owner"]);
}

/// Fewer than eight digits of a hash may be those of a library that was not meant.
#[test]
fn a_library_is_named_by_eight_digits_of_its_hash() {
    let home = Home::new("native-hash");
    let name = home.library();
    home.monocle(&["plugins", "trust", name.to_str().expect("a plain path")])
        .succeeds();
    let entries = std::fs::read_dir(home.trusted()).expect("it is there");
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    let hash = paths
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .find(|stem| stem.len() == 64)
        .expect("files are named by the hash");
    home.monocle(&["plugins", "untrust", &hash[..7]])
        .fails(1, &["no trusted library is called"]);
    home.monocle(&["plugins", "untrust", &hash[..8]]).succeeds();
    home.run(&[]).fails(1, &["that you have not trusted"]);
}

/// A library for a contract that this program does not know is refused before anybody trusts it.
#[test]
fn a_library_of_another_contract_is_not_trusted() {
    let home = Home::new("native-contract");
    let path = home.changed(b"\"contract\":\"0.2.0\"", b"\"contract\":\"9.9.0\"");
    home.monocle(&["plugins", "trust", path.to_str().expect("a plain path")])
        .fails(1, &["9.9.0"]);
    assert!(!home.trusted().exists(), "nothing was trusted");
}

/// Behind the wall a library is held as everything else.
#[test]
fn a_library_runs_behind_the_wall() {
    let home = Home::new("native-isolated");
    let name = home.library();
    home.monocle(&["plugins", "trust", name.to_str().expect("a plain path")])
        .succeeds();
    let open = home.run(&[]).succeeds().stdout;
    let isolated = home.run(&["--isolate"]).run();
    if isolated.stderr.contains("this system cannot isolate the process") {
        println!("not tried: {}", isolated.stderr);
        return;
    }
    assert_eq!((isolated.code, isolated.stdout), (0, open), "{}", isolated.stderr);
}

/// What is no plugin, or needs no trust, is not trusted; packages hold components.
#[test]
fn only_libraries_are_trusted() {
    let home = Home::new("native-odd");
    let [components, _] = Carrier::Component.folders();
    let component = components.join("smolvlm.wasm");
    let component = component.to_str().expect("a plain path");
    home.monocle(&["plugins", "trust", component])
        .fails(1, &["it runs in the sandbox, and needs no trust"]);
    let path = home.changed(b"monocle:plugin:stamp:", b"MONOCLE:plugin:stamp:");
    home.monocle(&["plugins", "trust", path.to_str().expect("a plain path")])
        .fails(1, &["no plugin of Monocle: it has no stamp"]);
    let inspected = home.monocle(&["plugins", "inspect", "smolvlm", "--json"]).json();
    assert_eq!(inspected["native"], true);
    let problem = inspected["problem"].as_str().expect("it is not trusted");
    assert!(problem.contains("you have not trusted"), "{problem}");
    let install = home.monocle(&[
        "plugins",
        "install",
        home.library().to_str().expect("a plain path"),
    ]);
    assert_eq!(install.run().code, 1, "a library is no package");
}

/// One source, both carriers: what an author does.
#[test]
fn an_author_builds_a_library() {
    let home = Home::new("native-author");
    let monocle = |arguments: &[&str], folder: &Path| {
        Monocle::new(arguments)
            .within(folder)
            .with_compilers()
            .env("CARGO_TARGET_DIR", project::target().join("guide"))
    };
    monocle(&["plugins", "new", "mine"], home.0.path()).succeeds();
    let folder = home.0.file("mine");
    std::fs::copy(project::root().join("Cargo.lock"), folder.join("Cargo.lock"))
        .expect("the project has one");
    let built = monocle(&["plugins", "build", "--native"], &folder).succeeds();
    assert!(
        built
            .stdout
            .contains(&format!("mine{DLL_SUFFIX} (mine 0.1.0, adapter, contract 0.2.0")),
        "{}",
        built.stdout
    );
    assert!(
        built.stderr.contains("it runs after `monocle plugins trust "),
        "{}",
        built.stderr
    );
    // The model beside it is the component that comes with the program.
    let at_home = |arguments: &[&str]| home.monocle(arguments).within(&folder).env("MONOCLE_PLUGINS", "");
    at_home(&["plugins", "test", "--plans-only"]).fails(1, &["that you have not trusted"]);
    at_home(&["plugins", "trust", &format!("plugins/mine{DLL_SUFFIX}")]).succeeds();
    let tested = at_home(&["plugins", "test", "--json"]).json();
    let checks = tested["checks"].as_array().expect("checks are listed");
    assert!(
        checks.iter().any(|check| check["verdict"] == "passed"),
        "{tested:#}"
    );
    assert!(
        checks.iter().all(|check| check["verdict"] != "failed"),
        "{tested:#}"
    );
}
