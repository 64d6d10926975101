//! What the cache holds, and taking models out of it: caches laid out by hand, as huggingface_hub lays them out.

#![cfg(unix)]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use monocle_weights::hub::{Hub, HubError, Stays};

/// A cache that ends with the test.
struct Cache {
    folder: PathBuf,
}

const OLD: &str = "0123456789abcdef0123456789abcdef01234567";
const NEW: &str = "89abcdef0123456789abcdef0123456789abcdef";

impl Cache {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("monocle-removal-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("hub")).unwrap();
        Self { folder }
    }

    fn hub(&self) -> Hub {
        Hub::from_variables(|name| {
            (name == "HF_HUB_CACHE").then(|| self.folder.join("hub").display().to_string())
        })
    }

    fn home(&self, repo: &str) -> PathBuf {
        self.folder
            .join("hub")
            .join(format!("models--{}", repo.replace('/', "--")))
    }

    fn write(&self, path: &str, bytes: usize) -> PathBuf {
        let path = self.folder.join("hub").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, vec![b'x'; bytes]).unwrap();
        path
    }

    /// A revision whose files are links to blobs: a name, the blob, and its bytes.
    fn snapshot(&self, repo: &str, revision: &str, commit: &str, files: &[(&str, &str, usize)]) {
        let home = self.home(repo);
        for (name, blob, bytes) in files {
            let name = home.join("snapshots").join(commit).join(name);
            std::fs::create_dir_all(name.parent().unwrap()).unwrap();
            std::fs::create_dir_all(home.join("blobs")).unwrap();
            std::fs::write(home.join("blobs").join(blob), vec![b'x'; *bytes]).unwrap();
            symlink(home.join("blobs").join(blob), name).unwrap();
        }
        let reference = home.join("refs").join(revision);
        std::fs::create_dir_all(reference.parent().unwrap()).unwrap();
        std::fs::write(reference, commit).unwrap();
    }

    /// `org/model` in two revisions that share their weights.
    fn of_two(name: &str) -> Self {
        let cache = Self::new(name);
        let files = |config, size| {
            [
                ("config.json", config, size),
                ("tokenizer.json", "t", 30),
                ("model.safetensors", "w", 1000),
            ]
        };
        cache.snapshot("org/model", "v1", OLD, &files("c1", 10));
        cache.snapshot("org/model", "main", NEW, &files("c2", 20));
        cache.snapshot("org/model", "refs/pr/1", NEW, &[("onnx/a.json", "deep", 5)]);
        cache.snapshot("org/other", "main", NEW, &[("config.json", "c", 7)]);
        cache.write("datasets--org--data/blobs/x", 999);
        cache
    }

    fn has(&self, path: &str) -> bool {
        std::fs::symlink_metadata(self.folder.join("hub").join(path)).is_ok()
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn the_cache_is_counted_each_blob_once() {
    let cache = Cache::of_two("counted");
    cache.write("models--org--model/blobs/left.incomplete", 400);
    let found = cache.hub().cached();
    let names: Vec<&str> = found.iter().map(|cached| cached.repo.as_str()).collect();
    assert_eq!(names, ["org/model", "org/other"]);
    let model = &found[0];
    assert_eq!(
        (model.bytes(), model.left_over()),
        (10 + 20 + 30 + 1000 + 5 + 400, 400)
    );
    let told: Vec<_> = model
        .snapshots
        .iter()
        .map(|snapshot| (snapshot.name(), snapshot.is_complete, model.bytes_of(snapshot)))
        .collect();
    assert_eq!(
        told,
        [
            ("v1".to_owned(), true, 1040),
            ("main, refs/pr/1".to_owned(), true, 1055)
        ]
    );
    assert!(!found[1].snapshots[0].is_complete);
    // A file elsewhere that is called as a blob is not that blob.
    cache.write("models--org--other/blobs/left", 50);
    let elsewhere = cache.write("elsewhere/left", 1);
    symlink(
        elsewhere,
        cache.home("org/other").join("snapshots").join(NEW).join("link"),
    )
    .unwrap();
    assert_eq!(cache.hub().cached()[1].left_over(), 50);
    assert!(
        Hub::from_variables(|_| Some("/nowhere".to_owned()))
            .cached()
            .is_empty()
    );
}

#[test]
fn one_revision_goes_and_what_others_need_stays() {
    let cache = Cache::of_two("revision");
    let hub = cache.hub();
    let removal = hub.removal("org/model", Some("main")).unwrap().unwrap();
    assert_eq!(
        (removal.goes.clone(), removal.stays.clone()),
        (
            vec!["main, refs/pr/1".to_owned()],
            vec![(Stays::Revision("v1".to_owned()), 1030)]
        )
    );
    assert_eq!(removal.bytes, 25);
    hub.remove(&removal).unwrap();
    for gone in [
        "refs/main",
        "refs/refs/pr/1",
        &format!("snapshots/{NEW}"),
        "blobs/c2",
        "blobs/deep",
    ] {
        assert!(!cache.has(&format!("models--org--model/{gone}")), "{gone}");
    }
    assert!(hub.locate("org/model", "v1").unwrap().unwrap().is_complete());
    assert_eq!(hub.cached()[0].bytes(), 1040);
    assert!(hub.removal("org/model", Some("main")).unwrap().is_none());

    // The last one takes the folder along.
    cache.write("models--org--model/blobs/left.incomplete", 400);
    cache.write(".locks/models--org--model/w.lock", 0);
    let removal = hub.removal("org/model", Some(OLD)).unwrap().unwrap();
    assert_eq!((removal.bytes, removal.stays.len()), (1440, 0));
    hub.remove(&removal).unwrap();
    assert!(!cache.has("models--org--model") && !cache.has(".locks/models--org--model"));
    assert!(cache.has("models--org--other/blobs/c") && cache.has("datasets--org--data/blobs/x"));
}

#[test]
fn a_whole_repository_goes_with_what_is_left_of_downloads() {
    let cache = Cache::of_two("whole");
    let hub = cache.hub();
    let removal = hub.removal("org/model", None).unwrap().unwrap();
    assert_eq!(
        (removal.goes.len(), removal.stays.len(), removal.bytes),
        (2, 0, 1065)
    );
    hub.remove(&removal).unwrap();
    assert!(!cache.has("models--org--model") && cache.has("models--org--other"));
    for revision in [None, Some("main"), Some(OLD)] {
        assert!(hub.removal("org/model", revision).unwrap().is_none());
    }
    assert!(matches!(hub.removal("../x", None), Err(HubError::BadName { .. })));

    cache.write("models--org--third/blobs/a.incomplete", 12);
    let removal = hub.removal("org/third", None).unwrap().unwrap();
    assert_eq!((removal.goes.len(), removal.bytes), (0, 12));
    hub.remove(&removal).unwrap();
    assert!(!cache.has("models--org--third"));
}

#[test]
fn nothing_outside_of_the_cache_is_removed() {
    let cache = Cache::of_two("outside");
    let hub = cache.hub();
    let outside = cache.folder.join("outside");
    let put = |path: &Path| {
        std::fs::create_dir_all(path).unwrap();
        std::fs::write(path.join("precious"), "x").unwrap();
    };
    put(&outside);

    // A link in a snapshot, to a file or a folder elsewhere, goes; what it leads to stays.
    let snapshot = cache.home("org/other").join("snapshots").join(NEW);
    symlink(&outside, snapshot.join("folder")).unwrap();
    symlink(outside.join("precious"), snapshot.join("file")).unwrap();
    let removal = hub.removal("org/other", None).unwrap().unwrap();
    assert_eq!(removal.bytes, 7);
    hub.remove(&removal).unwrap();
    assert!(outside.join("precious").exists());

    // A folder of the cache that lies elsewhere is left alone, whole.
    for part in ["", "blobs", "snapshots", "refs"] {
        let cache = Cache::of_two("outside-part");
        let home = cache.home("org/model");
        let inner = if part.is_empty() { home } else { home.join(part) };
        let moved = cache.folder.join("moved");
        std::fs::rename(&inner, &moved).unwrap();
        symlink(&moved, &inner).unwrap();
        std::fs::write(moved.join("precious"), "x").unwrap();
        let hub = cache.hub();
        let removal = hub.removal("org/model", None).unwrap().unwrap();
        let message = hub.remove(&removal).unwrap_err().to_string();
        assert!(message.contains("outside of the cache"), "{part}: {message}");
        assert!(
            moved.join("precious").exists() && cache.has("models--org--model/refs/main"),
            "{part}"
        );
    }
}

#[test]
fn what_another_process_fetches_is_left_alone() {
    let cache = Cache::of_two("locked");
    let hub = cache.hub();
    let lock = cache.write(".locks/models--org--model/w.lock", 0);
    let held = std::fs::File::open(&lock).unwrap();
    held.lock().unwrap();
    let removal = hub.removal("org/model", None).unwrap().unwrap();
    assert!(matches!(hub.remove(&removal), Err(HubError::InUse { .. })));
    assert!(hub.locate("org/model", "main").unwrap().unwrap().is_complete());
    drop(held);
    hub.remove(&removal).unwrap();
    assert!(!cache.has("models--org--model"));
}

#[test]
fn a_gguf_model_leaves_the_safetensors_of_its_repository() {
    let cache = Cache::new("mixed");
    let files = [
        ("config.json", "c", 10),
        ("tokenizer.json", "t", 30),
        ("model.safetensors", "w", 1000),
        ("Thing-Q8_0.gguf", "eight", 800),
        ("mmproj-Thing-f16.gguf", "sees", 7),
    ];
    cache.snapshot("org/model", "main", NEW, &files);
    let hub = cache.hub();
    let removal = hub.removal_of_gguf("org/model", None, "Q8_0").unwrap().unwrap();
    assert_eq!(removal.stays, [(Stays::Revision("main".to_owned()), 0)]);
    assert_eq!(removal.bytes, 807);
    let snapshot = cache.home("org/model").join("snapshots").join(NEW);
    assert!(!removal.takes(&snapshot) && removal.takes(&snapshot.join("Thing-Q8_0.gguf")));
    hub.remove(&removal).unwrap();
    for (name, blob, _) in files {
        let stays = !name.ends_with(".gguf");
        assert_eq!(
            cache.has(&format!("models--org--model/snapshots/{NEW}/{name}")),
            stays,
            "{name}"
        );
        assert_eq!(
            cache.has(&format!("models--org--model/blobs/{blob}")),
            stays,
            "{blob}"
        );
    }
    assert!(hub.locate("org/model", "main").unwrap().unwrap().is_complete());
    assert!(hub.removal_of_gguf("org/model", None, "Q8_0").unwrap().is_none());
}

#[test]
fn one_of_several_gguf_models_goes() {
    let cache = Cache::new("gguf");
    let (four, eight) = ("Thing-Q4_K_M.gguf", "Thing-Q8_0.gguf");
    let sees = ("mmproj-Thing-f16.gguf", "sees", 7);
    // Both are in the newer revision, and only one in the older.
    cache.snapshot("org/model", "v1", OLD, &[(four, "four", 400), sees]);
    cache.snapshot(
        "org/model",
        "main",
        NEW,
        &[(four, "four", 400), (eight, "eight", 800), sees],
    );
    let hub = cache.hub();
    assert!(hub.removal_of_gguf("org/model", None, "Q2_K").unwrap().is_none());
    assert!(hub.removal_of_gguf("org/none", None, "Q8_0").unwrap().is_none());

    // Of one revision alone: the other needs its blob.
    let removal = hub
        .removal_of_gguf("org/model", Some("main"), "q4_k_m")
        .unwrap()
        .unwrap();
    assert_eq!(
        (removal.bytes, removal.goes.clone()),
        (0, vec!["q4_k_m of main".to_owned()])
    );
    // Of all revisions: the older one is empty then.
    let removal = hub.removal_of_gguf("org/model", None, "Q4_K_M").unwrap().unwrap();
    assert_eq!(removal.stays, [(Stays::Models("Q8_0 of main".to_owned()), 7)]);
    assert_eq!(removal.bytes, 400);
    hub.remove(&removal).unwrap();
    for gone in [
        "blobs/four",
        "refs/v1",
        &format!("snapshots/{OLD}"),
        &format!("snapshots/{NEW}/{four}"),
    ] {
        assert!(!cache.has(&format!("models--org--model/{gone}")), "{gone}");
    }
    assert!(hub.locate("org/model", "main").unwrap().unwrap().is_complete());

    // The last one takes along what sees.
    let removal = hub.removal_of_gguf("org/model", None, "Q8_0").unwrap().unwrap();
    assert_eq!((removal.bytes, removal.stays.len()), (807, 0));
    hub.remove(&removal).unwrap();
    assert!(!cache.has("models--org--model"));
}
