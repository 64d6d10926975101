//! A request's pictures: out of base 64, from addresses that may be asked, from folders that may be read.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use monocle_fetch::hosts::AllowedHosts;
use monocle_fetch::picture::{self, Fetched, PictureAddress, PictureFetcher, Place};
use monocle_files::FileError;
use monocle_runtime::request::pictures::PictureInput;

use super::request::{ChatPicture, PictureSource};
use crate::failure::Failure;

/// The most pictures of one request.
const MOST_PICTURES: usize = 256;

/// Where pictures may come from besides the request itself.
#[derive(Debug, Clone, Default)]
pub struct PicturePlaces {
    /// Servers.
    pub hosts: AllowedHosts,
    /// Folders, each without links in its path.
    pub folders: Vec<PathBuf>,
}

/// Clients leave padding out, and now and then put bits into the last character that mean nothing.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The bytes of base 64 in either alphabet, with or without padding, white space skipped.
pub fn base64(text: &str) -> Result<Vec<u8>, String> {
    let plain: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => other,
        })
        .collect();
    LENIENT.decode(plain).map_err(|error| error.to_string())
}

/// Gets the pictures, in their order. Servers are asked here, so this takes as long as they do; `gone` says that nobody waits any more.
pub fn get(
    pictures: &[&ChatPicture],
    places: &PicturePlaces,
    max_pixels: Option<u64>,
    gone: &dyn Fn() -> bool,
) -> Result<Vec<PictureInput>, Failure> {
    if pictures.len() > MOST_PICTURES {
        return Err(Failure::invalid(format!(
            "the request has {} pictures, and may have {MOST_PICTURES}",
            pictures.len()
        )));
    }
    let mut fetcher = PictureFetcher::among(places.hosts.clone());
    let mut inputs = Vec::with_capacity(pictures.len());
    for (index, picture) in pictures.iter().enumerate() {
        if gone() {
            return Err(Failure::invalid("the client is gone"));
        }
        let input = one(picture, index + 1, places, &mut fetcher).map_err(|message| {
            Failure::invalid(message)
                .at(picture.path.clone())
                .code("invalid_image")
        })?;
        let most = [picture.detail.max_pixels(), max_pixels]
            .into_iter()
            .flatten()
            .min();
        inputs.push(match most {
            Some(max_pixels) => PictureInput::Capped {
                of: Box::new(input),
                max_pixels,
            },
            None => input,
        });
    }
    Ok(inputs)
}

fn one(
    picture: &ChatPicture,
    number: usize,
    places: &PicturePlaces,
    fetcher: &mut PictureFetcher,
) -> Result<PictureInput, String> {
    let in_request = |bytes: Vec<u8>| match bytes.is_empty() {
        true => Err("the picture is empty".to_owned()),
        false => Ok(PictureInput::Bytes {
            name: format!("picture {number}"),
            bytes,
        }),
    };
    let text = match &picture.source {
        PictureSource::Base64(text) => {
            return in_request(base64(text).map_err(|error| format!("its base 64 is damaged: {error}"))?);
        }
        PictureSource::Address(text) => text.trim(),
    };
    if text
        .get(..5)
        .is_some_and(|start| start.eq_ignore_ascii_case("data:"))
    {
        let (head, data) = text
            .split_once(',')
            .ok_or("a `data:` address needs a comma before the data")?;
        // What the label says is not believed: the bytes tell.
        if head.to_ascii_lowercase().ends_with(";base64") {
            return in_request(base64(data).map_err(|error| format!("its base 64 is damaged: {error}"))?);
        }
        let fetched = picture::data(text).map_err(|error| error.to_string())?;
        return in_request(fetched.bytes);
    }
    let address = match PictureAddress::parse(text) {
        Some(address) => address.map_err(|error| error.to_string())?,
        None => {
            return Err(
                "expected a picture as `data:image/png;base64,…`, or an address that begins with https:"
                    .to_owned(),
            );
        }
    };
    match address.place {
        Place::Data(_) => Err("expected `data:image/png;base64,…`".to_owned()),
        Place::Web(_) if places.hosts.is_empty() => Err(
            "this server fetches no pictures by address; send the picture's bytes, or start the server with `--allow-url HOST`"
                .to_owned(),
        ),
        Place::Web(url) => {
            let Fetched { name, bytes } = fetcher.web(&url).map_err(|error| error.to_string())?;
            Ok(of_page(PictureInput::Bytes { name, bytes }, address.page))
        }
        Place::File(path) => Ok(of_page(file(&path, &places.folders)?, address.page)),
    }
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

/// A file below one of the folders, links followed. Whether others exist is not told.
fn file(path: &Path, folders: &[PathBuf]) -> Result<PictureInput, String> {
    if folders.is_empty() {
        return Err("this server reads no files; send the picture's bytes, or start the server with `--allow-files DIR`".to_owned());
    }
    let real = std::fs::canonicalize(path).ok();
    let inside = real.filter(|real| folders.iter().any(|folder| real.starts_with(folder)) && real.is_file());
    let real = inside.ok_or("there is no such file below the folders that this server may read")?;
    let bytes = monocle_files::read(&real, monocle_files::PICTURE).map_err(|error| match error {
        FileError::Io(_) => "the file cannot be read".to_owned(),
        unfit => format!("the file cannot be read: {unfit}"),
    })?;
    Ok(PictureInput::Bytes {
        name: path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        bytes,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn base64_is_read_as_clients_write_it() {
        // printf 'a>b?c' | base64 is YT5iP2M=
        for text in ["YT5iP2M=", "YT5iP2M", "YT5i\nP2M=", " YT5iP2M= "] {
            assert_eq!(base64(text).as_deref(), Ok(&b"a>b?c"[..]), "{text:?}");
        }
        // printf '\xfb\xff' | base64 is +/8=
        assert_eq!(base64("-_8").as_deref(), Ok(&b"\xfb\xff"[..]));
        assert!(base64("!!").is_err());
    }

    #[test]
    fn files_are_no_larger_than_pictures() {
        let folder = std::env::temp_dir().join(format!("monocle-served-files-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder");
        let folder = folder.canonicalize().expect("it is there");
        let giant = std::fs::File::create(folder.join("giant.png")).expect("a file");
        giant.set_len(9_000_000_000).expect("a hole");
        let refused = file(&folder.join("giant.png"), std::slice::from_ref(&folder)).err();
        assert_eq!(
            refused.as_deref(),
            Some("the file cannot be read: it has 9000000000 bytes; expected at most 536870912")
        );
        let _ = std::fs::remove_dir_all(&folder);
    }

    proptest! {
        #[test]
        fn what_is_no_picture_is_refused_and_never_panics(text in ".{0,60}") {
            let picture = ChatPicture {
                source: PictureSource::Address(text),
                detail: Default::default(),
                path: "x".to_owned(),
            };
            let places = PicturePlaces::default();
            // With no server and no folder allowed, only `data:` gives anything.
            let given = get(&[&picture], &places, None, &|| false);
            let is_data = matches!(&picture.source, PictureSource::Address(text) if text.trim().to_lowercase().starts_with("data:"));
            prop_assert!(given.is_err() || is_data);
        }
    }
}
