//! Sidecars: what goes in, what stays, what comes out again. Layouts are those that darktable, Lightroom and digiKam write.

use monocle_survey::dataset;
use monocle_survey::files::hash_of_photo;
use monocle_survey::metadata::Metadata;
use monocle_survey::sidecar::{self, Added, Entry, Naming, merge, take_out};
use monocle_survey::xmp::{DC, Element, LR, Packet};
use proptest::prelude::*;

/// As darktable writes: values as attributes, lists as elements.
const DARKTABLE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:lr="http://ns.adobe.com/lightroom/1.0/"
    xmlns:darktable="http://darktable.sf.net/"
   xmp:Rating="3"
   darktable:xmp_version="5"
   darktable:raw_params="0">
   <dc:subject>
    <rdf:Bag>
     <rdf:li>Oma</rdf:li>
     <rdf:li>Church</rdf:li>
    </rdf:Bag>
   </dc:subject>
   <lr:hierarchicalSubject>
    <rdf:Bag>
     <rdf:li>people|Oma</rdf:li>
    </rdf:Bag>
   </lr:hierarchicalSubject>
   <!-- history follows -->
   <darktable:history>
    <rdf:Seq>
     <rdf:li darktable:operation="exposure" darktable:params="0000&amp;00"/>
    </rdf:Seq>
   </darktable:history>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
"#;

fn pairs(texts: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
    texts.iter().map(owned).collect()
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn entry() -> Entry {
    Entry {
        titles: pairs(&[("en", "A church <by> the sea"), ("de", "Eine Kirche am Meer")]),
        descriptions: pairs(&[("en", "White & small."), ("de", "Weiß und klein.")]),
        keywords: words(&["church", "sea", "white"]),
        hierarchical: words(&["AI|sea"]),
        model: "a-model".to_owned(),
        tool: "Monocle 1".to_owned(),
    }
}

fn merged(before: &str, entry: &Entry) -> (String, Added) {
    let (bytes, added) = merge(Some(before.as_bytes()), entry).expect("it can be merged");
    (String::from_utf8(bytes).expect("UTF-8"), added)
}

fn titles(text: &str) -> Vec<(String, String)> {
    let packet = Packet::read(text.as_bytes()).expect("a packet");
    let items = packet.items(DC, "title");
    let item =
        |(language, item): (Option<&str>, &Element)| (language.unwrap_or("").to_owned(), item.text.clone());
    items.into_iter().map(item).collect()
}

#[test]
fn a_new_sidecar_holds_all_of_it() {
    let (bytes, _) = merge(None, &entry()).expect("there is nothing to merge with");
    let text = String::from_utf8(bytes).expect("UTF-8");
    let packet = Packet::read(text.as_bytes()).expect("a packet");
    let expected = [
        ("x-default", "A church <by> the sea"),
        ("en", "A church <by> the sea"),
        ("de", "Eine Kirche am Meer"),
    ];
    assert_eq!(titles(&text), pairs(&expected));
    assert_eq!(packet.texts(DC, "subject"), ["church", "sea", "white"]);
    assert_eq!(packet.texts(LR, "hierarchicalSubject"), ["AI|sea"]);
    assert!(text.contains(">Monocle 1</xmp:CreatorTool>"), "{text}");
    assert!(text.contains(">a-model</monocle:Model>"), "{text}");
}

#[test]
fn what_others_wrote_stays_byte_for_byte() {
    let (text, added) = merged(DARKTABLE, &entry());
    // "Church" is there already, in a person's own spelling.
    assert_eq!(added.keywords, ["sea", "white"]);
    let packet = Packet::read(text.as_bytes()).expect("a packet");
    assert_eq!(packet.texts(DC, "subject"), ["Oma", "Church", "sea", "white"]);
    assert_eq!(packet.texts(LR, "hierarchicalSubject"), ["people|Oma", "AI|sea"]);
    let mut rest = text.lines();
    for line in DARKTABLE.lines() {
        assert!(
            rest.any(|other| other == line),
            "{line} is not there any more, or elsewhere"
        );
    }
    assert_eq!(
        take_out(text.as_bytes(), &added).expect("it is XMP"),
        DARKTABLE.as_bytes()
    );
}

#[test]
fn a_title_that_somebody_wrote_stays_the_title() {
    let theirs = |item: &str| {
        format!(
            "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\"><rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\"><rdf:Description \
             xmlns:dc=\"http://purl.org/dc/elements/1.1/\"{item}</rdf:Description></rdf:RDF></x:xmpmeta>"
        )
    };
    let alternatives = |items: &str| theirs(&format!("><dc:title><rdf:Alt>{items}</rdf:Alt></dc:title>"));
    // A text of no language is taken for the first one; the other language has room.
    let (text, added) = merged(
        &alternatives("<rdf:li xml:lang=\"x-default\">Mine</rdf:li>"),
        &entry(),
    );
    assert_eq!(
        titles(&text),
        pairs(&[("x-default", "Mine"), ("de", "Eine Kirche am Meer")])
    );
    assert_eq!(added.titles, pairs(&[("de", "Eine Kirche am Meer")]));
    // In another language, with no default: ours go beside it, and the default stays theirs to choose.
    let (text, _) = merged(&alternatives("<rdf:li xml:lang=\"DE\">Meins</rdf:li>"), &entry());
    assert_eq!(
        titles(&text),
        pairs(&[("DE", "Meins"), ("en", "A church <by> the sea")])
    );
    // Forms that have no list stay as they are.
    for item in [" dc:title=\"Mine\">", "><dc:title>Mine</dc:title>"] {
        let (text, added) = merged(&theirs(item), &entry());
        assert_eq!(added.titles, []);
        assert!(
            text.contains("Mine") && !text.contains("Kirche am Meer</rdf:li>"),
            "{text}"
        );
        assert_eq!(added.keywords.len(), 3, "the rest goes in: {text}");
    }
    // An empty one is no title.
    let (text, _) = merged(&theirs("><dc:title/>"), &entry());
    assert_eq!(titles(&text).len(), 3, "{text}");
}

#[test]
fn what_people_change_afterwards_stays_when_ours_is_taken_out() {
    let (text, added) = merged(DARKTABLE, &entry());
    let changed = text
        .replace(">White &amp; small.<", ">White, and very small.<")
        .replace(
            "<rdf:li>white</rdf:li>",
            "<rdf:li>white</rdf:li><rdf:li>mine</rdf:li>",
        );
    let rest = String::from_utf8(take_out(changed.as_bytes(), &added).expect("it is XMP")).expect("UTF-8");
    let packet = Packet::read(rest.as_bytes()).expect("a packet");
    assert_eq!(packet.texts(DC, "subject"), ["Oma", "Church", "mine"]);
    let kept = packet.texts(DC, "description");
    assert_eq!(kept, ["White, and very small."; 2], "{rest}");
    assert!(packet.property(DC, "title").is_none(), "{rest}");
}

#[test]
fn sidecars_that_are_no_xmp_are_refused() {
    let deep = "<a>".repeat(100);
    let many: String = (0..300).map(|n| format!(" xmlns:p{n}=\"urn:{n}\"")).collect();
    for text in [
        "no XML at all",
        "<x/>",
        "<rdf:RDF xmlns:rdf=\"urn:other\"><rdf:Description/></rdf:RDF>",
        "<a><b></a>",
        "<a>&unknown;</a>",
        deep.as_str(),
        &format!("<a{many}/>"),
    ] {
        assert!(merge(Some(text.as_bytes()), &entry()).is_err(), "{text}");
    }
    assert!(merge(Some(b"\xff\xfe<\0a\0"), &entry()).is_err());
    assert!(merge(Some(b" \n"), &entry()).is_ok(), "an empty file is as none");
}

#[test]
fn names_are_those_of_the_programs() {
    let photo = std::path::Path::new("a/b.c.jpg");
    assert_eq!(Naming::Darktable.of(photo).to_str(), Some("a/b.c.jpg.xmp"));
    assert_eq!(Naming::Adobe.of(photo).to_str(), Some("a/b.c.xmp"));
}

/// Packets as any program might write them.
fn foreign() -> impl Strategy<Value = String> {
    let word = "[a-zA-Zäß&<>\"' ]{1,12}";
    let list = proptest::collection::vec(word, 0..4);
    let line = prop_oneof![
        Just("\n".to_owned()),
        Just("\r\n".to_owned()),
        Just(String::new()),
        Just("\n\t ".to_owned())
    ];
    let extra = prop_oneof![
        Just("<!-- a > comment -->".to_owned()),
        Just("<f:a f:b='1' xmlns:f='urn:f'><f:c/>text</f:a>".to_owned()),
        Just("<f:d xmlns:f='urn:f'><![CDATA[<dc:subject>]]></f:d>".to_owned()),
        Just("<?pi dc:title?>".to_owned()),
        Just(String::new()),
    ];
    let prefix = prop_oneof![Just("rdf"), Just("R")];
    (list.clone(), list.clone(), list, line, extra.clone(), extra, prefix, any::<[bool; 3]>()).prop_map(
        |(subject, title, levels, line, one, two, prefix, [is_split, has_attributes, is_short])| {
            let safe = |text: &str| quick_xml::escape::escape(text).into_owned();
            let items = |words: &[String], language: bool| -> String {
                let items = words.iter().enumerate().map(|(index, word)| {
                    let of = match (language, index) {
                        (false, _) => String::new(),
                        (true, 0) => " xml:lang='x-default'".to_owned(),
                        (true, index) => format!(" xml:lang=\"l{index}\""),
                    };
                    format!("{line}<{prefix}:li{of}>{}</{prefix}:li>", safe(word))
                });
                items.collect()
            };
            let list = |name: &str, kind: &str, items: String| match items.is_empty() {
                true if is_short => format!("{line}<{name}><{prefix}:{kind}/></{name}>"),
                true => String::new(),
                false => format!("{line}<{name}>{line}<{prefix}:{kind}>{items}{line}</{prefix}:{kind}>{line}</{name}>"),
            };
            let attributes = if has_attributes { " xmlns:xmp='http://ns.adobe.com/xap/1.0/' xmp:CreatorTool='Theirs'" } else { "" };
            let open = format!(
                "<{prefix}:Description xmlns:dc='{DC}' xmlns:lr='{LR}' {prefix}:about=''{attributes}>"
            );
            let close = format!("</{prefix}:Description>");
            let between = if is_split { format!("{line}{close}{line}{open}{line}") } else { line.clone() };
            format!(
                "<x:xmpmeta xmlns:x='adobe:ns:meta/'>{line}<{prefix}:RDF xmlns:{prefix}='{}'>{line}{open}{one}{}{between}{}{}{two}{line}{close}{line}</{prefix}:RDF>{line}</x:xmpmeta>{line}",
                monocle_survey::xmp::RDF,
                list("dc:subject", "Bag", items(&subject, false)),
                list("dc:title", "Alt", items(&title, true)),
                list("lr:hierarchicalSubject", "Bag", items(&levels, false)),
            )
        },
    )
}

/// An element without white space between its parts, and without lists that are empty.
fn plain(element: &Element) -> String {
    let children: Vec<String> = element
        .children
        .iter()
        .map(plain)
        .filter(|child| !child.is_empty())
        .collect();
    let is_list =
        ["Bag", "Alt", "Seq", "subject", "title", "hierarchicalSubject"].contains(&element.name.as_str());
    if is_list && children.is_empty() {
        return String::new();
    }
    let text = if element.name == "li" {
        element.text.as_str()
    } else {
        element.text.trim()
    };
    format!(
        "{}{}{:?}{text:?}{children:?}",
        element.space, element.name, element.attributes
    )
}

fn is_subsequence(part: &str, whole: &str) -> bool {
    let mut rest = whole.chars();
    part.chars().all(|c| rest.any(|other| other == c))
}

proptest! {
    #[test]
    fn nothing_of_a_foreign_sidecar_is_lost(before in foreign(), keywords in proptest::collection::vec("[a-zÄ<&]{1,8}", 0..5), title in "[^\u{0}-\u{1f}]{1,20}") {
        let entry = Entry {
            titles: vec![("en".to_owned(), title.clone()), ("l1".to_owned(), title)],
            hierarchical: keywords.iter().map(|word| format!("AI|{word}")).collect(),
            keywords,
            model: "m".to_owned(),
            tool: "t".to_owned(),
            ..Entry::default()
        };
        let (after, added) = merged(&before, &entry);
        // An end that closes an element at once is the one thing that is written anew.
        prop_assert!(is_subsequence(&before.replace("/>", ""), &after), "{before}\n{after}");
        let packet = Packet::read(after.as_bytes()).expect("it is XMP still");
        let known: Vec<String> = packet.texts(DC, "subject").iter().map(|word| word.to_lowercase()).collect();
        for word in &entry.keywords {
            prop_assert!(known.contains(&word.to_lowercase()), "{word}: {after}");
        }
        let (again, nothing) = merged(&after, &entry);
        prop_assert_eq!(&again, &after);
        prop_assert_eq!(nothing, Added::default());
        let out = take_out(after.as_bytes(), &added).expect("it is XMP still");
        let out = String::from_utf8(out).expect("UTF-8");
        let (then, now) = (Packet::read(before.as_bytes()).expect("XMP"), Packet::read(out.as_bytes()).expect("XMP"));
        prop_assert_eq!(plain(&then.root), plain(&now.root), "{}\n{}", before, out);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = merge(Some(&bytes), &entry());
    }

    #[test]
    fn no_packet_with_a_few_bytes_changed_makes_it_panic(at in 0..DARKTABLE.len(), with in any::<[char; 2]>()) {
        let mut text: Vec<char> = DARKTABLE.chars().collect();
        text[at] = with[0];
        text.insert(at / 2, with[1]);
        let text: String = text.into_iter().collect();
        if let Ok((after, added)) = merge(Some(text.as_bytes()), &entry()) {
            prop_assert!(Packet::read(&after).is_ok());
            prop_assert!(take_out(&after, &added).is_ok());
        }
    }
}

/// A folder that others fill may hold anything under the names of photos, sidecars and data sets.
#[test]
fn only_files_are_read() {
    let folder = std::env::temp_dir().join(format!("monocle-survey-pipes-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    let pipe = folder.join("a.png.xmp");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo starts").success());
    let zero = folder.join("zero.png");
    std::os::unix::fs::symlink("/dev/zero", &zero).expect("a link");
    let giant = folder.join("giant.png");
    let sparse = std::fs::File::create(&giant).expect("a file");
    sparse.set_len(9_000_000_000).expect("a hole");
    let there = folder.clone();
    let (told, found) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for path in [&pipe, &zero, &giant] {
            let error = sidecar::read(path).expect_err("it is no sidecar");
            let _ = told.send(error.to_string());
        }
        for path in [&pipe, &zero, &giant] {
            let error = hash_of_photo(path).expect_err("it is no photo");
            let _ = told.send(error.to_string());
        }
        for path in [&pipe, &zero, &giant] {
            assert!(Metadata::read(path, None).is_empty());
        }
        std::fs::rename(&pipe, there.join("questions.jsonl")).expect("it is ours");
        let error = dataset::read(&there.join("questions.jsonl"), None).expect_err("it is no data set");
        let _ = told.send(error.to_string());
    });
    let next = |words: &str| {
        let error = found
            .recv_timeout(std::time::Duration::from_secs(20))
            .expect("it waits for nobody");
        assert!(error.contains(words), "{error}");
    };
    next("a pipe; expected a regular file");
    next("a device; expected a regular file");
    next("it has 9000000000 bytes; expected at most 16777216");
    next("a pipe; expected a regular file");
    next("a device; expected a regular file");
    next("it has 9000000000 bytes; expected at most 536870912");
    next("a pipe; expected a regular file");
    let _ = std::fs::remove_dir_all(&folder);
}

/// What is hashed piece by piece is what is hashed whole.
#[test]
fn a_photo_has_the_hash_of_its_bytes() {
    let path = std::env::temp_dir().join(format!("monocle-survey-hash-{}", std::process::id()));
    // Longer than a piece, and no multiple of one.
    let bytes: Vec<u8> = (0..200_001_u32).map(|at| (at % 251) as u8).collect();
    std::fs::write(&path, &bytes).expect("it can be written");
    assert_eq!(
        hash_of_photo(&path).expect("it is a file"),
        monocle_survey::sha256(&bytes)
    );
    // FIPS 180-2, appendix B.1.
    std::fs::write(&path, "abc").expect("it can be written");
    assert_eq!(
        hash_of_photo(&path).expect("it is a file"),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    let _ = std::fs::remove_file(&path);
}
