//! Sidecars as other programs read them: exiftool and exempi (Debian's packages `libimage-exiftool-perl` and `exempi`). Where they are not
//! installed, nothing is compared.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::folders::{catalogue, files, photos, read};

/// What a program says; `None` where there is no such program.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    match Command::new(program).args(arguments).output() {
        Ok(output) => {
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{program}: {error}");
            Some(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("`{program}` is not installed: nothing is compared");
            None
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

#[test]
fn exiftool_and_exempi_read_what_was_written() {
    let folder = photos("catalogue-readers", 9);
    // exempi finds packets by the instructions around them.
    let theirs = "<?xpacket begin='\u{feff}' id='W5M0MpCehiHzreSzNTczkc9d'?>\n<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'><rdf:Description \
                  rdf:about='' xmlns:xmp='http://ns.adobe.com/xap/1.0/' xmp:Rating='2' xmlns:dc='http://purl.org/dc/elements/1.1/'>\
                  <dc:subject><rdf:Bag><rdf:li>Größe &amp; Form</rdf:li></rdf:Bag></dc:subject><dc:title><rdf:Alt><rdf:li \
                  xml:lang='de'>Meins</rdf:li></rdf:Alt></dc:title></rdf:Description></rdf:RDF></x:xmpmeta>\n<?xpacket end='w'?>";
    folder.write("trip 0/0000.ppm.xmp", theirs);
    catalogue(folder.path(), &["--under", "AI", "--blind"]).succeeds();
    for sidecar in files(folder.path(), ".xmp") {
        let path = sidecar.display().to_string();
        let (titles, keywords) = read(&sidecar);
        if let Some(json) = said(
            "exiftool",
            &[
                "-j",
                "-struct",
                "-a",
                "-G1",
                "-XMP:all",
                "-validate",
                "-warning",
                &path,
            ],
        ) {
            let found: Value = serde_json::from_str(&json).expect("exiftool writes JSON");
            let found = &found[0];
            // A word of digits is a number there.
            let word = |word: &Value| word.as_str().map_or_else(|| word.to_string(), str::to_owned);
            let list = |name: &str| -> Vec<String> {
                match &found[name] {
                    Value::Array(list) => list.iter().map(word).collect(),
                    Value::Null => Vec::new(),
                    one => vec![word(one)],
                }
            };
            assert_eq!(list("XMP-dc:Subject"), keywords, "{path}");
            // Each of Monocle's keywords is in levels, too; the human one is not.
            let own = keywords.iter().filter(|word| *word != "Größe & Form");
            let levels: Vec<String> = own.map(|word| format!("AI|{word}")).collect();
            assert_eq!(list("XMP-lr:HierarchicalSubject"), levels, "{path}");
            let expected = if path.ends_with("0000.ppm.xmp") {
                "Meins"
            } else {
                titles[0].as_str()
            };
            let title = found["XMP-dc:Title"]
                .as_str()
                .or(found["XMP-dc:Title-de"].as_str());
            assert_eq!(title, Some(expected), "{path}: {json}");
            assert!(list("XMP-xmp:CreatorTool")[0].starts_with("Monocle "), "{json}");
            assert_eq!(found["ExifTool:Warning"], Value::Null, "{path}: {json}");
            if path.ends_with("0000.ppm.xmp") {
                assert_eq!(found["XMP-xmp:Rating"], 2, "{json}");
            }
        }
        if let Some(text) = said("exempi", &["-x", &path]) {
            for keyword in &keywords {
                let escaped = keyword.replace('&', "&amp;");
                assert!(
                    text.contains(&format!("<rdf:li>{escaped}</rdf:li>")),
                    "{path}: {keyword}: {text}"
                );
            }
        }
    }
    fs::remove_dir_all(folder.file(".monocle-catalogue")).expect("the journal is there");
}
