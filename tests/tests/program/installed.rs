//! The program as it lies on a user's machine: beside what came with it, reached by a link, far from where it was built; and a home folder
//! that another version has used.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use monocle_manifest::Manifest;
use monocle_tests::program;
use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use serde_json::Value;

/// A machine with Monocle in `opt/monocle`, a link to it in `usr/bin`, and a home.
struct Machine {
    root: Scratch,
}

impl Machine {
    /// With what comes with the program, or with the program alone.
    fn new(name: &str, is_whole: bool) -> Self {
        let root = Scratch::new(&format!("installed-{name}"));
        let place = |name: &str| root.file(name);
        for folder in ["opt/monocle/bin", "usr/bin", "home", "elsewhere"] {
            std::fs::create_dir_all(place(folder)).expect("the folder can be made");
        }
        let program = place("opt/monocle/bin/monocle");
        // A copy, as links are followed; one of the file's names where that can be had.
        if std::fs::hard_link(program::path(), &program).is_err() {
            std::fs::copy(program::path(), &program).expect("there is room for it");
        }
        std::os::unix::fs::symlink("../../opt/monocle/bin/monocle", place("usr/bin/monocle"))
            .expect("a link can be made");
        if is_whole {
            let share = place("opt/monocle/share/monocle");
            copy(&project::root().join("manifests"), &share.join("manifests"));
            copy(
                &project::root().join("models/shapes"),
                &share.join("models/shapes"),
            );
            let plugin = std::fs::read(project::plugins().join("smolvlm.wasm")).expect("it was built");
            root.write("opt/monocle/share/monocle/plugins/smolvlm.wasm", plugin);
        }
        Self { root }
    }

    /// The program by its name, found on the PATH.
    fn monocle(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("monocle");
        command
            .args(arguments)
            .env_clear()
            .env("PATH", self.root.file("usr/bin"))
            .env("HOME", self.root.file("home"))
            .env("HF_HUB_OFFLINE", "1")
            .current_dir(self.root.file("elsewhere"));
        // Where the system looks for shared libraries is not the user's choice.
        if let Some(libraries) = std::env::var_os("LD_LIBRARY_PATH") {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        ended(
            self.monocle(arguments)
                .output()
                .expect("the program can be started"),
        )
    }

    fn succeeds(&self, arguments: &[&str]) -> String {
        let (code, said, noted) = self.run(arguments);
        assert_eq!(code, 0, "{said}{noted}");
        said
    }
}

fn ended(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).expect("the program writes UTF-8");
    (
        output.status.code().unwrap_or(-1),
        text(output.stdout),
        text(output.stderr),
    )
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("the folder can be made");
    for entry in std::fs::read_dir(from).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        let place = to.join(path.file_name().expect("a file has a name"));
        match path.is_dir() {
            true => copy(&path, &place),
            false => drop(std::fs::copy(&path, &place).expect("there is room for it")),
        }
    }
}

fn picture() -> String {
    let picture = project::root().join("models/shapes/pictures/shapes.png");
    picture.display().to_string()
}

/// What is in the picture, as the program that drew it wrote down.
fn caption() -> String {
    let truth = project::root().join("models/shapes/pictures/truth.json");
    let truth = std::fs::read(truth).expect("it can be read");
    let truth: Value = serde_json::from_slice(&truth).expect("it is JSON");
    let caption = truth["pictures"]["shapes.png"]["caption"].as_str();
    caption.expect("a caption").to_owned()
}

#[test]
fn it_runs_through_a_link_wherever_it_lies_and_whoever_stands_where() {
    let machine = Machine::new("link", true);
    let said = machine.succeeds(&["run", "shapes", &picture(), "--plain"]);
    assert_eq!(said.trim(), caption());
}

#[test]
fn nothing_is_found_where_it_was_built() {
    let machine = Machine::new("alone", false);
    assert_eq!(machine.succeeds(&["models", "--json"]).trim(), "[]");
    assert_eq!(machine.succeeds(&["plugins", "--json"]).trim(), "[]");
    let (code, said, _) = machine.run(&["doctor"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("no folder `share/monocle` lies beside"), "{said}");
}

#[test]
fn it_names_no_folder_of_the_project() {
    let program = std::fs::read(program::path()).expect("it can be read");
    for folder in ["manifests", "plugins", "plugin-api", "host", "models"] {
        let name = project::root().join(folder).display().to_string();
        let found = program
            .windows(name.len())
            .position(|bytes| bytes == name.as_bytes());
        assert_eq!(found, None, "`{name}` is in the program");
    }
}

#[test]
fn its_version_names_all_that_came_with_it() {
    let machine = Machine::new("version", true);
    let number = env!("CARGO_PKG_VERSION");
    assert_eq!(machine.succeeds(&["-V"]), format!("monocle {number}\n"));
    let said = machine.succeeds(&["--version", "--verbose"]);
    let place = |name: &str| {
        let path = machine.root.file("opt/monocle").join(name);
        path.canonicalize().expect("it is there").display().to_string()
    };
    for line in [
        format!("monocle {number}"),
        "contract   0.2.0; plugins built for 0.1.0 and 0.2.0 run".to_owned(),
        format!("program    {}", place("bin/monocle")),
        format!("manifests  {}", place("share/monocle/manifests")),
        format!("plugins    {}", place("share/monocle/plugins")),
        format!("           smolvlm {number}, contract 0.2.0"),
    ] {
        assert!(
            said.lines().any(|said| said == line),
            "`{line}` is not in:\n{said}"
        );
    }
    let (code, _, noted) = machine.run(&["--verbose"]);
    assert!(code == 2 && noted.contains("--version"), "{noted}");
}

#[test]
fn program_and_plugins_have_one_number() {
    for entry in std::fs::read_dir(project::plugins()).expect("plugins were built") {
        let path = entry.expect("the folder can be read").path();
        let wasm = std::fs::read(&path).expect("it can be read");
        let stamp = monocle_runtime::plugin::stamp::Stamp::read(&wasm).expect("it has a stamp");
        assert_eq!(stamp.version, env!("CARGO_PKG_VERSION"), "{}", path.display());
    }
}

/// The manifests of a release are for its plugins: a new number must fit what they ask for.
#[test]
fn manifests_take_plugins_of_this_number() {
    let number = env!("CARGO_PKG_VERSION").parse().expect("it is a version");
    let folder = project::root().join("manifests");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        if path.extension().is_none_or(|end| end != "toml") {
            continue;
        }
        let manifest = Manifest::load(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let fits = manifest
            .plugin
            .version
            .is_none_or(|wanted| wanted.matches(&number));
        assert!(fits, "{} takes another version than {number}", path.display());
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn doctor_tries_the_engine_with_what_came_with_the_program() {
    let machine = Machine::new("doctor", true);
    let said = machine.succeeds(&["doctor"]);
    assert!(
        said.contains("well   engine: `cpu`: the demo's answer is right"),
        "{said}"
    );
    // Another model in its place is found out.
    let picture = "opt/monocle/share/monocle/models/shapes/pictures";
    let other = std::fs::read(machine.root.file(picture).join("wide.png")).expect("it is there");
    machine.root.write(&format!("{picture}/shapes.png"), other);
    let (code, said, _) = machine.run(&["doctor"]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("WRONG  engine: `cpu`: it describes `shapes.png` as"),
        "{said}"
    );
}

#[test]
fn shells_and_manuals_know_the_commands() {
    let machine = Machine::new("manual", false);
    for (shell, word) in [
        ("bash", "complete -F _monocle"),
        ("zsh", "#compdef monocle"),
        ("fish", "complete -c monocle"),
    ] {
        let script = machine.succeeds(&["completions", shell]);
        assert!(script.contains(word) && script.contains("catalogue"), "{shell}");
        // What only the program itself starts is nobody's to type.
        assert!(!script.contains("eval-one"), "{shell}");
    }
    machine.succeeds(&["manual", "pages"]);
    let page = |name: &str| {
        let path = machine.root.file("elsewhere/pages").join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let first = page("monocle.1");
    assert!(
        first.contains("monocle\\-catalogue(1)") && !first.contains("eval\\-one"),
        "{first}"
    );
    assert!(
        first.contains(&format!("\"monocle {}\"", env!("CARGO_PKG_VERSION"))),
        "{first}"
    );
    assert!(page("monocle-plugins-new.1").contains("Make a folder with a plugin"));
}

/// What is in a folder: paths and bytes.
fn content(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        match path.is_dir() {
            true => found.extend(content(&path)),
            false => found.push((path.clone(), std::fs::read(&path).expect("it can be read"))),
        }
    }
    found.sort();
    found
}

/// What a newer version may have left in a home: each thing is passed over or refused by itself, none is changed, and all else works. The same
/// program then finds the home as a newer one left it.
#[test]
fn a_home_that_a_newer_version_used_is_left_as_it_is() {
    let machine = Machine::new("newer", true);
    let home = machine.root.file("home");
    let ask = ["run", "shapes", &picture(), "--plain"];
    machine.succeeds(&ask);
    let smolvlm = std::fs::read(project::plugins().join("smolvlm.wasm")).expect("it was built");
    // The same length, so that nothing else in the file moves; the stamp is there more than once.
    let stamp = |bytes: &[u8], from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let mut bytes = bytes.to_vec();
        let places = 0..bytes.len() - from.len();
        let places: Vec<usize> = places
            .filter(|at| bytes[*at..].starts_with(from.as_bytes()))
            .collect();
        assert!(!places.is_empty(), "the stamp says {from}");
        for at in places {
            bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        }
        bytes
    };
    let newer = stamp(&smolvlm, "\"contract\":\"0.2.0\"", "\"contract\":\"0.9.0\"");
    let newer = stamp(&newer, "\"name\":\"smolvlm\"", "\"name\":\"smolnew\"");
    machine
        .root
        .write("home/.local/share/monocle/plugins/smolnew.wasm", newer);
    machine.root.write(
        "home/.config/monocle/manifests/newer.toml",
        "schema = 9\nname = \"newer\"\nplugin = \"smolnew\"\n[source]\nrepo = \"org/newer\"\n",
    );
    machine.root.write(
        "home/.config/monocle/plugins.lock",
        "{\"format\":9,\"packages\":{},\"sum\":\"\"}",
    );
    machine
        .root
        .write("home/.cache/monocle/compiled/of-another-version", "x");
    let before = content(&home);

    assert_eq!(machine.succeeds(&ask).trim(), caption());
    let plugins = machine.succeeds(&["plugins"]);
    assert!(
        plugins.contains("not usable: built for contract 0.9.0, this host serves 0.1.0 and 0.2.0"),
        "{plugins}"
    );
    let (code, _, noted) = machine.run(&["inspect", "newer", "-p", "What?"]);
    assert!(code == 1 && noted.contains("newer.toml"), "{noted}");
    let (code, _, noted) = machine.run(&["plugins", "install", "any.monocle"]);
    assert_ne!(code, 0, "{noted}");
    let (code, _, noted) = machine.run(&["plugins", "verify"]);
    assert!(code == 1 && noted.contains("format 9, expected 1"), "{noted}");
    assert_eq!(content(&home), before);
}

/// A manifest, as a package brought it.
const ADAPTED: &str = "schema = 1
name = \"adapted\"
plugin = \"smolvlm\"
adapter = { name = \"plain-adapter\", options = { tokens = 4 } }
[source]
path = \"../../../../opt/monocle/share/monocle/models/shapes\"
";

/// The list of installed packages in its first format, with the plugin of `tests/frozen/contract-0.1` and the manifest above. The sums were
/// computed by Python's hashlib.
const LIST: &str = r#"{
  "format": 1,
  "packages": {
    "plain-adapter": {
      "version": "0.1.0",
      "source": "plain-adapter-0.1.0.monocle",
      "package": "c0cd5ccfdb563a59366e33e73001b78fdb8cca5a6c48e2f90fffcde44b81f1f6",
      "files": {
        "manifests/adapted.toml": "faeb44f6daa2bd51e397c471ea6e8e0fb7fd3872ee90c55fa94c2119f7c48803",
        "plugins/plain-adapter.wasm": "fd358ab9a279beb0b834cf5673aba2488025e6abf7e3b48741ee9ddfefee944c"
      }
    }
  },
  "sum": "e2c42aa7dd400b9d37fabbb7f66d1879440150b63bb12c7f3edd2ec353216ea2"
}"#;

/// An older home under this version: a plugin of the contract's first version that its user installed runs as it is, and its list is read. Where a
/// plugin of that name comes with the program by now, that goes first, and `doctor` says so.
#[test]
fn what_was_installed_under_an_older_version_runs() {
    let machine = Machine::new("older", true);
    let plugin = project::root().join("tests/frozen/contract-0.1/plain-adapter.wasm");
    let plugin = std::fs::read(plugin).expect("it is there");
    machine
        .root
        .write("home/.local/share/monocle/plugins/plain-adapter.wasm", &plugin);
    machine
        .root
        .write("home/.config/monocle/manifests/adapted.toml", ADAPTED);
    machine.root.write("home/.config/monocle/plugins.lock", LIST);
    let verified = machine.succeeds(&["plugins", "verify"]);
    assert!(
        verified.contains("plain-adapter 0.1.0  as it was installed"),
        "{verified}"
    );
    let report = machine.succeeds(&[
        "run",
        "adapted",
        "-p",
        "What is this?",
        "--max-tokens",
        "4",
        "--json",
    ]);
    let report: Value = serde_json::from_str(&report).expect("it is JSON");
    let plugins = report["host"]["plugins"].as_array().expect("a list");
    let versions: Vec<(&str, &str)> = plugins
        .iter()
        .map(|plugin| {
            (
                plugin["name"].as_str().unwrap_or(""),
                plugin["contract"].as_str().unwrap_or(""),
            )
        })
        .collect();
    assert!(versions.contains(&("plain-adapter", "0.1.0")), "{versions:?}");
    assert!(versions.contains(&("smolvlm", "0.2.0")), "{versions:?}");
    machine.succeeds(&["doctor"]);

    machine
        .root
        .write("opt/monocle/share/monocle/plugins/plain-adapter.wasm", &plugin);
    let (code, said, _) = machine.run(&["doctor"]);
    assert_eq!(code, 1, "{said}");
    let unused = "installed and not used, as it comes with this version: `plain-adapter`";
    assert!(said.contains(unused), "{said}");
}

/// Of two manifests with one file name, that of the release is used, and a user's, which is not read then, makes no other use of the name.
#[test]
fn a_release_s_manifest_goes_before_a_user_s_of_the_same_file_name() {
    let machine = Machine::new("manifests", true);
    let of_release = machine
        .root
        .file("opt/monocle/share/monocle/manifests/adapted.toml");
    let of_user = "home/.config/monocle/manifests/adapted.toml";
    let plugin = project::root().join("tests/frozen/contract-0.1/plain-adapter.wasm");
    let plugin = std::fs::read(plugin).expect("it is there");
    machine
        .root
        .write("home/.local/share/monocle/plugins/plain-adapter.wasm", &plugin);
    machine.root.write(of_user, ADAPTED);
    let ask = [
        "run",
        "adapted",
        "-p",
        "What is this?",
        "--max-tokens",
        "4",
        "--json",
    ];
    let plugins = || {
        let report = machine.succeeds(&ask);
        let report: Value = serde_json::from_str(&report).expect("it is JSON");
        let plugins = report["host"]["plugins"].as_array().expect("a list").iter();
        let mut names: Vec<String> = plugins
            .map(|plugin| plugin["name"].as_str().expect("a name").to_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(plugins(), ["plain-adapter", "smolvlm"]);
    // The new release has one, without the adapter.
    let shapes = of_release.with_file_name("shapes.toml");
    let shapes = std::fs::read_to_string(&shapes).expect("it can be read");
    std::fs::write(&of_release, shapes.replace("\"shapes\"", "\"adapted\"")).expect("there is room for it");
    assert_eq!(plugins(), ["smolvlm"]);
    // Back in the old one, the user's is what it was.
    std::fs::remove_file(&of_release).expect("it can be removed");
    assert_eq!(plugins(), ["plain-adapter", "smolvlm"]);
    let kept = std::fs::read_to_string(machine.root.file(of_user)).expect("it can be read");
    assert_eq!(kept, ADAPTED);
}

/// Code that another version's compiler made lies under another name: it is neither run nor removed, and the plugin is compiled anew, once.
#[test]
fn code_of_another_version_is_compiled_anew() {
    let machine = Machine::new("compiled", true);
    let ask = ["run", "shapes", &picture(), "--plain"];
    let code = || -> Vec<PathBuf> {
        let files = content(&machine.root.file("home")).into_iter();
        files
            .map(|(path, _)| path)
            .filter(|path| path.extension().is_some_and(|end| end == "code"))
            .collect()
    };
    assert_eq!(machine.succeeds(&ask).trim(), caption());
    let made = code();
    assert_eq!(made.len(), 1, "{made:?}");
    // `PLUGIN-COMPILER.code`: as another compiler would call it, with code that cannot be run.
    let name = made[0].file_name().expect("a file has a name").to_string_lossy();
    let (plugin, _) = name.split_once('-').expect("the plugin and the compiler");
    let older = made[0].with_file_name(format!("{plugin}-0123456789abcdef.code"));
    std::fs::rename(&made[0], &older).expect("it can be renamed");
    std::fs::write(&older, "code of long ago").expect("there is room for it");
    let doctor = machine.succeeds(&["doctor"]);
    assert!(
        doctor.contains("0 as written, 1 of other versions, 0 damaged"),
        "{doctor}"
    );
    for _ in 0..2 {
        assert_eq!(machine.succeeds(&ask).trim(), caption());
        let mut expected = vec![made[0].clone(), older.clone()];
        expected.sort();
        assert_eq!(code(), expected);
    }
    let doctor = machine.succeeds(&["doctor"]);
    assert!(
        doctor.contains("1 as written, 1 of other versions, 0 damaged"),
        "{doctor}"
    );
    assert_eq!(
        std::fs::read_to_string(&older).expect("it can be read"),
        "code of long ago"
    );
}
