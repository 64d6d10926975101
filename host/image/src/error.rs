//! What can be wrong with a picture, or with what is asked of it.

use std::path::PathBuf;

/// The kinds of file that can be decoded, as error texts name them.
#[cfg(not(feature = "heif"))]
pub(crate) const KINDS: &str = "PNG, JPEG, WebP, GIF, BMP, TIFF or PNM";
/// The kinds of file that can be decoded, as error texts name them.
#[cfg(feature = "heif")]
pub(crate) const KINDS: &str = "PNG, JPEG, WebP, GIF, BMP, TIFF, PNM, HEIC or AVIF";

/// Why a picture could not be read or prepared.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The file could not be read at all.
    #[error("cannot read picture `{}`: {source}; check the path and its permissions", path.display())]
    Read {
        /// The file asked for.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file was read, and something in it is wrong.
    #[error("picture `{}`: {source}", path.display())]
    InFile {
        /// The file asked for.
        path: PathBuf,
        /// What is wrong.
        source: Box<ImageError>,
    },
    /// There are no bytes.
    #[error("the picture is empty (0 bytes); expected a {KINDS} file")]
    Empty,
    /// The first bytes are those of no kind that can be decoded.
    #[error(
        "the picture is of a kind that cannot be read (found {found}); expected {KINDS}; convert it first"
    )]
    UnknownKind {
        /// What the bytes look like.
        found: String,
    },
    /// The kind can be decoded, but not by this build.
    #[error(
        "the picture is of a kind that this build cannot read (found {found}): it was made without the feature `{feature}`; expected {KINDS}; convert it first, or take a build with that feature"
    )]
    NotInThisBuild {
        /// What the file is.
        found: &'static str,
        /// The cargo feature that reads it.
        feature: &'static str,
    },
    /// The file has no such page or frame.
    #[error("the {format} file has {}, and number {page} was asked for{}", count(*.pages), counted(*.page))]
    NoSuchPage {
        /// The kind of file.
        format: &'static str,
        /// The page asked for, counted from 1.
        page: u32,
        /// How many there are.
        pages: u32,
    },
    /// The file is of a known kind but uses a part of it that cannot be decoded.
    #[error(
        "this {format} picture uses a feature that cannot be read: {what}; save it as 8-bit PNG or JPEG and try again"
    )]
    Unsupported {
        /// The kind of file.
        format: &'static str,
        /// The feature.
        what: String,
    },
    /// The file ends early or contradicts itself.
    #[error(
        "the {format} picture is damaged or truncated: {what} (the file has {bytes} bytes); get a whole copy of it and try again"
    )]
    Damaged {
        /// The kind of file.
        format: &'static str,
        /// What the decoder found.
        what: String,
        /// How long the file is.
        bytes: usize,
    },
    /// The header announces more pixels than allowed.
    #[error(
        "the {format} picture says it is {width} x {height} = {pixels} pixels, more than the limit of {limit}; shrink it, or raise the limit on pixels"
    )]
    TooManyPixels {
        /// The kind of file.
        format: &'static str,
        /// Width the header announces.
        width: u32,
        /// Height the header announces.
        height: u32,
        /// Their product.
        pixels: u64,
        /// The most that is allowed.
        limit: u64,
    },
    /// The header announces more decoded bytes than allowed.
    #[error(
        "the {format} picture of {width} x {height} pixels takes {bytes} bytes decoded, more than the limit of {limit}; shrink it, or raise the limit on decoded bytes"
    )]
    TooManyBytes {
        /// The kind of file.
        format: &'static str,
        /// Width the header announces.
        width: u32,
        /// Height the header announces.
        height: u32,
        /// Bytes the decoded picture takes, as stored in the file's own pixel type.
        bytes: u64,
        /// The most that is allowed.
        limit: u64,
    },
    /// The header announces more than may be held in memory at once.
    #[error(
        "decoding the {format} picture of {width} x {height} pixels takes {bytes} bytes of memory, more than the limit of {limit}; shrink the picture, or raise the limit on memory"
    )]
    TooMuchMemory {
        /// The kind of file.
        format: &'static str,
        /// Width the header announces.
        width: u32,
        /// Height the header announces.
        height: u32,
        /// Bytes at the peak.
        bytes: u64,
        /// The most that is allowed.
        limit: u64,
    },
    /// The decoder wanted more memory than the limits allow.
    #[error("decoding the {format} picture needs more memory than its limit of {limit} bytes allows: {what}")]
    DecoderMemory {
        /// The kind of file.
        format: &'static str,
        /// What the decoder said.
        what: String,
        /// The most decoded bytes that are allowed.
        limit: u64,
    },
    /// The file itself is longer than allowed.
    #[error("the file is longer than the limit of {limit} bytes; is it a picture?")]
    FileTooLong {
        /// The most bytes that are read.
        limit: u64,
    },
    /// A side of zero pixels was asked for.
    #[error("{operation} to {width} x {height} pixels: expected both sides to be at least 1")]
    ZeroSize {
        /// The operation asked for.
        operation: &'static str,
        /// Width asked for.
        width: u32,
        /// Height asked for.
        height: u32,
    },
    /// An operation would need a buffer beyond what one picture may take.
    #[error(
        "{operation} needs a buffer of {width} x {height} pixels, more than the {limit} that one picture may have"
    )]
    TooLarge {
        /// The operation asked for.
        operation: &'static str,
        /// Width of the buffer.
        width: u64,
        /// Height of the buffer.
        height: u64,
        /// The most pixels a picture may have.
        limit: u64,
    },
    /// Pixels were given whose number does not fit the size.
    #[error("{width} x {height} RGB pixels take {expected} bytes, but {found} were given")]
    WrongLength {
        /// Width given.
        width: u32,
        /// Height given.
        height: u32,
        /// Bytes such a picture takes.
        expected: u64,
        /// Bytes given.
        found: usize,
    },
}

fn count(pages: u32) -> String {
    match pages {
        1 => "1 page or frame".to_owned(),
        pages => format!("{pages} pages or frames"),
    }
}

fn counted(page: u32) -> &'static str {
    match page {
        0 => "; they are counted from 1",
        _ => "",
    }
}
