//! Where the project's files are, and models opened from them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use monocle_manifest::Manifest;
use monocle_runtime::engines::{EngineName, EngineOptions, KeyValueType, Precision};
use monocle_runtime::model::error::ModelError;
use monocle_runtime::model::locate::{Declaration, Places};
use monocle_runtime::model::{Model, OpenOptions};
use monocle_runtime::plugin::folders::PluginFolders;
use monocle_runtime::plugin::trust::Trust;
use monocle_runtime::scheduler::{Scheduler, SchedulerOptions};
use monocle_tensor::backend::Backend;
use monocle_weights::hub::Hub;

/// The project's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies in the project")
        .to_owned()
}

/// A folder of `tests/oracle`.
pub fn oracle(name: &str) -> PathBuf {
    root().join("tests/oracle").join(name)
}

/// The folders of `tests/oracle` that hold a checkpoint with its reference's answers, by name.
pub fn checkpoints() -> Vec<String> {
    let folder = root().join("tests/oracle");
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("the folder can be read").path());
    let whole = paths.filter(|path| {
        let files = [
            "golden.json",
            "golden.safetensors",
            "config.json",
            "model.safetensors",
        ];
        files.iter().all(|file| path.join(file).is_file())
    });
    let mut names: Vec<String> = whole
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names
}

/// The folder that cargo builds into, found from the test's own program.
pub fn target() -> PathBuf {
    let program = std::env::current_exe().expect("a test has a program");
    let release = program
        .parent()
        .and_then(Path::parent)
        .expect("tests are built into target/PROFILE/deps");
    release
        .parent()
        .expect("tests are built into target/PROFILE/deps")
        .to_owned()
}

/// The plugins that `cargo xtask build-plugins` made.
pub fn plugins() -> PathBuf {
    let folder = target().join("plugins");
    assert!(
        folder.is_dir(),
        "{} is missing: run `cargo xtask build-plugins` first",
        folder.display()
    );
    folder
}

/// The plugins of `tests/plugins`, made likewise; only tests look there.
pub fn test_plugins() -> PathBuf {
    target().join("test-plugins")
}

/// What carries the plugins of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// WebAssembly, in the sandbox.
    Component,
    /// Native libraries.
    Library,
}

impl Carrier {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Component, Self::Library];

    /// The folders of its plugins: the project's, and the tests' own.
    pub fn folders(self) -> [PathBuf; 2] {
        let [plugins, of_tests] = match self {
            Self::Component => ["plugins", "test-plugins"],
            Self::Library => ["native-plugins", "native-test-plugins"],
        };
        let plugins = target().join(plugins);
        assert!(
            plugins.is_dir(),
            "{} is missing: run `cargo xtask build` first",
            plugins.display()
        );
        [plugins, target().join(of_tests)]
    }

    /// Its plugins, which may run.
    pub fn plugins(self) -> PluginFolders {
        let folders = PluginFolders::new(self.folders().to_vec());
        match self {
            Self::Component => folders,
            Self::Library => folders.trusting(trust()),
        }
    }
}

/// The project's native libraries are trusted.
fn trust() -> Trust {
    static TRUST: OnceLock<Trust> = OnceLock::new();
    let make = || {
        let trust = Trust::noted_in(target().join("native-trust"));
        for folder in Carrier::Library.folders() {
            for found in PluginFolders::new(vec![folder]).list() {
                trust
                    .trust(&found.path)
                    .unwrap_or_else(|error| panic!("{}: {error}", found.path.display()));
            }
        }
        trust
    };
    TRUST.get_or_init(make).clone()
}

/// The project's manifests and plugins, and no hub.
pub fn places() -> Places {
    places_with(PluginFolders::new(vec![plugins()]))
}

fn places_with(plugins: PluginFolders) -> Places {
    Places {
        manifests: vec![root().join("manifests")],
        plugins,
        hub: Hub::from_variables(|name| match name {
            "HF_HUB_OFFLINE" => Some("1".to_owned()),
            "HF_HOME" => Some(target().join("no-hub").display().to_string()),
            _ => None,
        }),
    }
}

/// The model of a folder, by its `model_type`.
pub fn open_folder(folder: &Path) -> Scheduler {
    open_with(folder, engine())
}

/// As [`open_folder`], with plugins in this carrier.
pub fn open_folder_in(carrier: Carrier, folder: &Path) -> Scheduler {
    open_in_places(
        &places_with(carrier.plugins()),
        folder,
        engine(),
        SchedulerOptions::default(),
    )
}

/// The model of a folder, on an engine.
pub fn open_with(folder: &Path, engine: Box<dyn Backend>) -> Scheduler {
    open_folder_with(folder, engine, SchedulerOptions::default())
}

/// The model of a folder, on an engine, with a scheduler that may use so much.
pub fn open_folder_with(folder: &Path, engine: Box<dyn Backend>, options: SchedulerOptions) -> Scheduler {
    open_in_places(&places(), folder, engine, options)
}

fn open_in_places(
    places: &Places,
    folder: &Path,
    engine: Box<dyn Backend>,
    options: SchedulerOptions,
) -> Scheduler {
    let declaration = places
        .find(&folder.display().to_string(), &mut |_| {})
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let model = Model::open(places, &declaration, OpenOptions::default(), &mut |_| {})
        .unwrap_or_else(|error| panic!("{}: {error}", declaration.declared_by));
    Scheduler::new(Arc::new(model), engine, options)
}

/// The model of a manifest, written here: paths in it must be absolute.
pub fn open_manifest(text: &str) -> Scheduler {
    try_open_manifest(text).unwrap_or_else(|error| panic!("{error}"))
}

/// As [`open_manifest`], with the tests' own plugins too; what is wrong is the caller's.
pub fn try_open_manifest(text: &str) -> Result<Scheduler, ModelError> {
    try_open(text, SchedulerOptions::default(), engine())
}

/// As [`open_manifest`], on an engine.
pub fn open_manifest_with(text: &str, engine: Box<dyn Backend>) -> Scheduler {
    try_open(text, SchedulerOptions::default(), engine).unwrap_or_else(|error| panic!("{error}"))
}

/// As [`open_manifest`], with a limit on memory, in bytes.
pub fn open_manifest_within(text: &str, memory_limit: usize) -> Scheduler {
    let options = SchedulerOptions {
        memory_limit: Some(memory_limit),
        ..SchedulerOptions::default()
    };
    try_open(text, options, engine()).unwrap_or_else(|error| panic!("{error}"))
}

/// As [`open_manifest`], with the plugins that were built for this version of the contract: see `tests/frozen`.
pub fn open_frozen(version: &str, text: &str) -> Scheduler {
    let folder = root().join("tests/frozen").join(version);
    let folders = PluginFolders::new(vec![folder]);
    try_open_in(folders, text, SchedulerOptions::default(), engine())
        .unwrap_or_else(|error| panic!("{error}"))
}

/// As [`try_open_manifest`], with these plugins.
pub fn try_open_manifest_of(plugins: PluginFolders, text: &str) -> Result<Scheduler, ModelError> {
    try_open_in(plugins, text, SchedulerOptions::default(), engine())
}

/// As [`open_manifest`], with plugins in this carrier.
pub fn open_manifest_in(carrier: Carrier, text: &str) -> Scheduler {
    try_open_manifest_of(carrier.plugins(), text).unwrap_or_else(|error| panic!("{error}"))
}

/// As [`open_manifest`], with the plugins of this folder too.
pub fn open_manifest_beside(folder: &Path, text: &str) -> Scheduler {
    let folders = PluginFolders::new(vec![plugins(), test_plugins(), folder.to_owned()]);
    try_open_in(folders, text, SchedulerOptions::default(), engine())
        .unwrap_or_else(|error| panic!("{error}"))
}

fn try_open(
    text: &str,
    options: SchedulerOptions,
    engine: Box<dyn Backend>,
) -> Result<Scheduler, ModelError> {
    try_open_in(Carrier::Component.plugins(), text, options, engine)
}

fn try_open_in(
    plugins: PluginFolders,
    text: &str,
    options: SchedulerOptions,
    engine: Box<dyn Backend>,
) -> Result<Scheduler, ModelError> {
    let declaration = Declaration {
        manifest: Manifest::from_str(text, "test.toml")?,
        declared_by: "test.toml".to_owned(),
    };
    let places = places_with(plugins);
    let model = Model::open(&places, &declaration, OpenOptions::default(), &mut |_| {})?;
    Ok(Scheduler::new(Arc::new(model), engine, options))
}

/// Names the engine that tests run on, `cpu` or `mlx`; without it they run on `cpu`.
pub const ENGINE: &str = "MONOCLE_TEST_ENGINE";

/// The engine that tests run on.
pub fn engine() -> Box<dyn Backend> {
    let engine = match std::env::var(ENGINE).as_deref() {
        Ok("mlx") => EngineName::Mlx,
        Ok("cpu") | Err(_) => EngineName::Cpu,
        Ok(other) => panic!("`{ENGINE}` is `{other}`: expected `cpu` or `mlx`"),
    };
    let options = EngineOptions {
        threads: Some(2),
        fuses: Some(true),
        // Nothing is rounded that the reference does not round. The other engine stores what it computes in.
        key_values: (engine == EngineName::Cpu).then_some(KeyValueType::F32),
        precision: Precision::F32,
    };
    engine.start(options).unwrap_or_else(|error| panic!("{error}"))
}
