//! The pictures that a command line names: files, folders, addresses, `-` for standard input.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use monocle_fetch::http::HttpError;
use monocle_fetch::picture::{self, Fetched, PictureAddress, PictureError, PictureFetcher, Place};
use monocle_image::{FilePage, ImageError, Limits};
use monocle_runtime::request::pictures::PictureInput;

use super::Misuse;

/// The most pictures that a folder may stand for: all of them are one question.
const MOST_IN_A_FOLDER: usize = 64;

/// How files end that are taken from a folder.
const ENDINGS: [&str; 18] = [
    "png", "jpg", "jpeg", "jpe", "jfif", "webp", "gif", "bmp", "dib", "tif", "tiff", "pbm", "pgm", "ppm",
    "pnm", "heic", "heif", "avif",
];

/// The pictures that arguments stand for: fetched, and read from standard input. `private`: addresses of this machine and of local
/// networks are asked too.
pub fn read(arguments: &[PathBuf], private: bool) -> anyhow::Result<Vec<PictureInput>> {
    let from_input = arguments.iter().filter(|path| is_standard_input(path));
    if from_input.count() > 1 {
        return Err(misuse("standard input is one picture; give `-` only once"));
    }
    // Names first: nobody waits for a server, or types a picture into a terminal, for a list with a typing error.
    let mut named = Vec::new();
    for argument in arguments {
        let address = argument.to_str().and_then(PictureAddress::parse).transpose()?;
        match address {
            _ if is_standard_input(argument) => named.push(Named::StandardInput),
            None => named.extend(
                files(argument)?
                    .into_iter()
                    .map(PictureInput::File)
                    .map(Named::Known),
            ),
            Some(PictureAddress {
                place: Place::File(path),
                page,
            }) => {
                let found = files(&path)?.into_iter().map(PictureInput::File);
                named.extend(found.map(|input| Named::Known(of_page(input, page))));
            }
            Some(PictureAddress {
                place: Place::Data(text),
                page,
            }) => {
                named.push(Named::Known(of_page(bytes(picture::data(&text)?), page)));
            }
            Some(PictureAddress {
                place: Place::Web(url),
                page,
            }) => named.push(Named::Web(url, page)),
        }
    }
    let mut fetcher = PictureFetcher::new(private);
    let mut get = |named| match named {
        Named::Known(input) => Ok(input),
        Named::StandardInput => standard_input(),
        Named::Web(url, page) => match fetcher.web(&url) {
            Ok(fetched) => Ok(of_page(bytes(fetched), page)),
            Err(error) => Err(with_advice(error)),
        },
    };
    named.into_iter().map(&mut get).collect()
}

/// What an argument names.
enum Named {
    Known(PictureInput),
    StandardInput,
    Web(url::Url, Option<u32>),
}

fn bytes(Fetched { name, bytes }: Fetched) -> PictureInput {
    PictureInput::Bytes { name, bytes }
}

fn of_page(of: PictureInput, page: Option<u32>) -> PictureInput {
    match page {
        Some(page) => PictureInput::Page {
            of: Box::new(of),
            page,
        },
        None => of,
    }
}

fn with_advice(error: PictureError) -> anyhow::Error {
    let by_proxy = [
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
        "HTTP_PROXY",
        "http_proxy",
    ];
    let advice = match &error {
        PictureError::Http {
            source: HttpError::NotPublic { .. },
            ..
        } => "`--allow-private-addresses` allows this machine and its local network",
        PictureError::Http {
            source: HttpError::Unreachable(_),
            ..
        } if by_proxy.iter().any(|name| std::env::var_os(name).is_some()) => {
            "pictures are fetched without the proxy that the environment names; fetch this one by other means, and give its file"
        }
        PictureError::Http {
            source: HttpError::TooLong(_),
            ..
        } => "save the picture as a file, and give that",
        _ => return error.into(),
    };
    anyhow::anyhow!("{error}\n\nhint: {advice}")
}

/// Whether an argument means standard input; a file of that name is `./-`.
pub fn is_standard_input(path: &Path) -> bool {
    path == Path::new("-")
}

/// The file, or the files of a folder.
fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let file = FilePage::of(path).path;
    match std::fs::metadata(file) {
        Ok(found) if found.is_dir() => folder(path),
        Ok(_) => Ok(vec![path.to_owned()]),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound && is_pattern(path) => {
            anyhow::bail!(
                "no file matches `{}`: a pattern that matches nothing comes as it stands\n\nhint: check the folder and the \
                 ending, or give the folder itself for all its pictures",
                path.display()
            )
        }
        Err(source) => Err(unreadable(path, source)),
    }
}

/// The pictures of a folder, not of folders in it, in the order of their names.
fn folder(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|source| unreadable(path, source))? {
        let file = entry.map_err(|source| unreadable(path, source))?.path();
        let hidden = file
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let ending = file.extension().map(|ending| ending.to_ascii_lowercase());
        let picture = ending.is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known));
        if picture && !hidden && file.is_file() {
            found.push(file);
        }
    }
    found.sort();
    match found.len() {
        0 => anyhow::bail!(
            "the folder `{}` has no picture files; expected names that end in {}",
            path.display(),
            ENDINGS.map(|ending| format!(".{ending}")).join(", ")
        ),
        many if many > MOST_IN_A_FOLDER => anyhow::bail!(
            "the folder `{}` has {many} pictures, and one question takes at most {MOST_IN_A_FOLDER} of a folder\n\nhint: to ask \
             about each picture alone, run `monocle` once for each file",
            path.display()
        ),
        _ => Ok(found),
    }
}

/// What shells replace by names.
fn is_pattern(path: &Path) -> bool {
    path.to_string_lossy().contains(['*', '?', '['])
}

fn standard_input() -> anyhow::Result<PictureInput> {
    let input = std::io::stdin();
    if input.is_terminal() {
        return Err(misuse(
            "`-` takes a picture from standard input, and nothing is piped into it\n\nhint: monocle run MODEL - < photo.jpg",
        ));
    }
    let limit = Limits::default().max_file_bytes;
    let mut bytes = Vec::new();
    input
        .lock()
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| unreadable(Path::new("-"), source))?;
    anyhow::ensure!(
        !bytes.is_empty(),
        "standard input is empty; `-` expects a picture's bytes there"
    );
    anyhow::ensure!(
        bytes.len() as u64 <= limit,
        "the picture on standard input is longer than {} MiB",
        limit >> 20
    );
    Ok(PictureInput::Bytes {
        name: "standard input".to_owned(),
        bytes,
    })
}

fn unreadable(path: &Path, source: std::io::Error) -> anyhow::Error {
    let path = path.to_owned();
    ImageError::Read { path, source }.into()
}

fn misuse(text: &str) -> anyhow::Error {
    Misuse(text.to_owned()).into()
}
