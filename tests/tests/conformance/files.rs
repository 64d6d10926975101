//! Files that are no plugins, or none for this host, are refused before any of their code runs.

use std::path::PathBuf;

use monocle_runtime::plugin::folders::PluginFolders;
use monocle_runtime::plugin::loaded::Plugin;
use monocle_runtime::plugin::stamp::{CONTRACT, Stamp};
use monocle_runtime::plugin::trust::Trust;
use monocle_runtime::plugin::wasm::served;
use monocle_tests::project;

/// A folder for one test's files.
fn folder(name: &str) -> PathBuf {
    let folder = project::target()
        .join("test-files")
        .join(format!("{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn plugin(name: &str) -> Vec<u8> {
    let path = [project::plugins(), project::test_plugins()]
        .map(|folder| folder.join(format!("{name}.wasm")))
        .into_iter()
        .find(|path| path.exists());
    std::fs::read(path.unwrap_or_else(|| panic!("no plugin `{name}`"))).unwrap()
}

/// The plugin with words of its stamp exchanged, in the modules inside as well. What became shorter is filled up with blanks.
fn restamped(mut wasm: Vec<u8>, changes: &[(&str, &str)]) -> Vec<u8> {
    let start = br#"{"name":""#;
    let places: Vec<usize> = (0..wasm.len())
        .filter(|at| wasm[*at..].starts_with(start))
        .collect();
    assert!(!places.is_empty(), "a plugin has a stamp");
    for at in places {
        let length = wasm[at..]
            .iter()
            .position(|byte| *byte == b'}')
            .expect("a stamp ends");
        let mut stamp = String::from_utf8(wasm[at..at + length].to_vec()).unwrap();
        for (old, new) in changes {
            assert!(stamp.contains(old), "{stamp} has no {old}");
            stamp = stamp.replace(old, new);
        }
        assert!(stamp.len() <= length, "the new stamp is longer");
        wasm[at..at + length].copy_from_slice(format!("{stamp:length$}").as_bytes());
    }
    wasm
}

/// The error of loading a file of this content, without its path.
fn refusal(name: &str, content: &[u8]) -> String {
    let folder = folder(name);
    let path = folder.join(format!("{name}.wasm"));
    std::fs::write(&path, content).unwrap();
    let refused = Plugin::load(&path, &Trust::nothing()).err();
    std::fs::remove_dir_all(&folder).unwrap();
    let error = refused.unwrap_or_else(|| panic!("{name} was loaded")).to_string();
    error.replace(&path.display().to_string(), "FILE")
}

#[test]
fn what_is_no_component_is_refused() {
    let cases: [(&str, &[u8], &str); 5] = [
        ("text", b"hello", "is not a usable plugin: it is not WebAssembly"),
        ("empty", b"", "is not a usable plugin: it is not WebAssembly"),
        (
            "module",
            b"\0asm\x01\0\0\0",
            "it is a core WebAssembly module, not a component",
        ),
        ("bare", b"\0asm\x0d\0\x01\0", "it has no section `monocle:plugin`"),
        ("newer", b"\0asm\x63\0\x01\0", "is not a usable plugin: "),
    ];
    for (name, content, words) in cases {
        let error = refusal(name, content);
        assert!(error.contains(words), "{name}: {error}");
    }
}

#[test]
fn what_is_cut_off_is_refused() {
    let whole = plugin("smolvlm");
    let error = refusal("half", &whole[..whole.len() / 2]);
    assert!(error.contains("it is damaged: "), "{error}");
    let step = whole.len() / 50;
    for length in (0..whole.len()).step_by(step).chain([whole.len() - 1]) {
        assert!(
            Stamp::read(&whole[..length]).is_err(),
            "{length} of {} bytes",
            whole.len()
        );
    }
    assert!(Stamp::read(&whole).is_ok());
}

#[test]
fn what_is_too_large_is_refused_unread() {
    let folder = folder("large");
    let path = folder.join("large.wasm");
    std::fs::File::create(&path).unwrap().set_len(300 << 20).unwrap();
    let error = Plugin::load(&path, &Trust::nothing())
        .err()
        .expect("it is too large")
        .to_string();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(error.contains("it has 300 MiB, more than the 64"), "{error}");
}

#[test]
fn a_folder_is_no_plugin() {
    let folder = folder("directory.wasm");
    let error = Plugin::load(&folder, &Trust::nothing())
        .err()
        .expect("it is a folder")
        .to_string();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(error.contains("cannot read plugin"), "{error}");
}

#[test]
fn a_contract_of_another_time_is_named_with_advice() {
    let contract = format!("\"contract\":\"{CONTRACT}\"");
    for found in ["9.9.0", "0.9.0", "1.1.0", "x.y.z"] {
        let wasm = restamped(
            plugin("hostile"),
            &[(&contract, &format!("\"contract\":\"{found}\""))],
        );
        let error = refusal("contract", &wasm);
        let words = format!(
            "plugin `hostile` {} was built for contract {found}, this host serves {}",
            env!("CARGO_PKG_VERSION"),
            served()
        );
        assert!(error.contains(&words), "{error}");
        assert!(
            error.contains("hint: ") && error.contains("rebuild") && error.contains("newer release"),
            "{error}"
        );
    }
}

#[test]
fn a_stamp_that_makes_no_sense_is_refused() {
    let wasm = restamped(plugin("hostile"), &[("\"kind\":\"model\"", "\"kind\":\"molde\"")]);
    let error = refusal("kind", &wasm);
    assert!(
        error.contains("its section `monocle:plugin` is malformed") && error.contains("molde"),
        "{error}"
    );
}

#[test]
fn an_adapter_gets_no_tensors() {
    let changes = [
        ("\"kind\":\"model\"", "\"kind\":\"adapter\""),
        ("\"name\":\"hostile\"", "\"name\":\"host\""),
    ];
    let error = refusal("sly", &restamped(plugin("hostile"), &changes));
    assert!(
        error.contains("it asks for what adapter plugins do not get"),
        "{error}"
    );
    assert!(error.contains("monocle:plugin/"), "{error}");
}

#[test]
fn a_model_must_have_a_network() {
    let changes = [("\"kind\":\"adapter\"", "\"kind\":\"model\"")];
    let error = refusal("headless", &restamped(plugin("plain-adapter"), &changes));
    assert!(
        error.contains("it does not give what the contract asks") && error.contains("network"),
        "{error}"
    );
}

/// Two plugins that understand one type: the folder decides, then the name, and before both the user.
#[test]
fn the_order_of_plugins_decides_who_takes_a_type() {
    let (first, second) = (folder("first"), folder("second"));
    let named = |name: &str| {
        restamped(
            plugin("smolvlm"),
            &[("\"name\":\"smolvlm\"", &format!("\"name\":\"{name}\""))],
        )
    };
    std::fs::write(first.join("zebra.wasm"), named("zebra")).unwrap();
    for name in ["monkey", "adder"] {
        std::fs::write(second.join(format!("{name}.wasm")), named(name)).unwrap();
    }
    let order = |preferred: &[&str]| {
        let preferred = preferred.iter().map(|name| (*name).to_owned()).collect();
        let folders = PluginFolders::new(vec![first.clone(), second.clone()]).preferring(preferred);
        let takers = folders.for_model_type("smolvlm").into_iter();
        takers.map(|(_, stamp)| stamp.name).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(order(&[]), "zebra adder monkey");
    // One that calls itself otherwise than its file takes nothing.
    std::fs::write(first.join("aardvark.wasm"), named("owl")).unwrap();
    assert_eq!(order(&["aardvark", "owl"]), "zebra adder monkey");
    let listed = PluginFolders::new(vec![first.clone()]).list();
    let error = listed[0].stamp.as_ref().unwrap_err();
    assert!(error.contains("calls itself `owl`"), "{error}");
    assert_eq!(order(&["monkey", "nobody", "adder"]), "monkey adder zebra");
    std::fs::remove_dir_all(&first).unwrap();
    std::fs::remove_dir_all(&second).unwrap();
}

#[test]
fn a_bad_file_beside_good_ones_spoils_nothing() {
    let folder = folder("beside");
    std::fs::write(folder.join("aaa.wasm"), b"no plugin").unwrap();
    std::fs::write(folder.join("smolvlm.wasm"), plugin("smolvlm")).unwrap();
    let folders = PluginFolders::new(vec![folder.clone(), folder.join("nowhere")]);
    let listed: Vec<bool> = folders.list().iter().map(|found| found.stamp.is_ok()).collect();
    let known = folders
        .for_model_type("smolvlm")
        .into_iter()
        .map(|(_, stamp)| stamp.name)
        .next();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(listed, [false, true]);
    assert_eq!(known.as_deref(), Some("smolvlm"));
}
