//! Which files of a folder are photos, and which are one photo.

use std::path::Path;

use monocle_survey::photos::find;

#[test]
fn raw_files_and_what_lies_beside_them_are_one_photo() {
    let folder = std::env::temp_dir().join(format!("monocle-photos-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    for file in [
        "a.JPG",
        "a.NEF",
        "b.jpg",
        "b.png",
        "c.cr3",
        "d.jpg",
        "d.jpeg",
        "d.dng",
        "sub/a.jpg",
        "sub/a.nef.xmp",
        "sub/notes.txt",
        ".hidden.jpg",
        ".git/e.jpg",
        "f.heic",
        "f.arw",
        "f.png",
    ] {
        let path = folder.join(file);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).expect("there is room");
        std::fs::write(path, b"x").expect("there is room");
    }
    let found = find(&folder);
    let shown: Vec<String> = found
        .photos
        .iter()
        .map(|photo| {
            photo
                .files
                .iter()
                .map(|file| file.display().to_string())
                .collect::<Vec<_>>()
                .join("+")
        })
        .collect();
    // Two JPEGs beside a raw file: nobody knows which is its own.
    let expected = [
        "a.JPG+a.NEF",
        "b.jpg",
        "b.png",
        "c.cr3",
        "d.dng",
        "d.jpeg",
        "d.jpg",
        "f.heic+f.arw",
        "f.png",
        "sub/a.jpg",
    ];
    assert_eq!(shown, expected);
    assert!(found.unread.is_empty());
    std::fs::remove_dir_all(&folder).expect("it was there");
}
