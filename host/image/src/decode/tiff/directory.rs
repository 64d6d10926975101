//! A TIFF file's pages: what each says of itself (TIFF 6.0, section 2; BigTIFF has the same with wider numbers).

use std::collections::HashSet;

/// The most pages that are counted.
const MOST_PAGES: usize = 100_000;
/// The most numbers of an entry that are read: strips of a picture of the largest height.
const MOST_NUMBERS: u64 = 1 << 22;

/// A file, seen as a chain of pages.
pub(in crate::decode) struct Tiff<'a> {
    bytes: &'a [u8],
    is_little: bool,
    is_big: bool,
    /// Where each page begins.
    pages: Vec<usize>,
}

/// A page.
#[derive(Clone, Copy)]
pub(in crate::decode) struct Page<'a> {
    tiff: &'a Tiff<'a>,
    at: usize,
}

/// What a page says under one tag.
#[derive(Clone, Copy)]
struct Entry {
    /// Bytes of one number.
    size: usize,
    count: u64,
    /// Where its numbers are.
    at: usize,
}

impl<'a> Tiff<'a> {
    pub(in crate::decode) fn new(bytes: &'a [u8]) -> Tiff<'a> {
        let mut tiff = Tiff {
            bytes,
            is_little: bytes.starts_with(b"II"),
            is_big: bytes.get(2..4).is_some_and(|version| version.contains(&0x2b)),
            pages: Vec::new(),
        };
        let mut pointer = tiff.first_pointer();
        // A chain may come back on itself.
        let mut seen = HashSet::new();
        while let Some(at) = tiff.offset(pointer).filter(|at| *at > 0) {
            let Some(entries) = tiff.entries_at(at) else { break };
            if tiff.pages.len() == MOST_PAGES || !seen.insert(at) {
                break;
            }
            tiff.pages.push(at);
            pointer = entries.end;
        }
        tiff
    }

    pub(in crate::decode) fn page_count(&self) -> u32 {
        self.pages.len() as u32
    }

    /// A page, counted from 0.
    pub(in crate::decode) fn page(&'a self, index: u32) -> Option<Page<'a>> {
        let at = *self.pages.get(index as usize)?;
        Some(Page { tiff: self, at })
    }

    fn first_pointer(&self) -> usize {
        if self.is_big { 8 } else { 4 }
    }

    /// A number of so many bytes.
    fn number(&self, at: usize, size: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..at.checked_add(size)?)?;
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Some(match self.is_little {
            true => bytes.iter().rev().fold(0, add),
            false => bytes.iter().fold(0, add),
        })
    }

    /// A place in the file, as it is pointed to.
    fn offset(&self, at: usize) -> Option<usize> {
        self.number(at, self.offset_size())?.try_into().ok()
    }

    fn offset_size(&self) -> usize {
        if self.is_big { 8 } else { 4 }
    }

    fn entry_size(&self) -> usize {
        if self.is_big { 20 } else { 12 }
    }

    /// Where the entries of the page at this place are.
    fn entries_at(&self, at: usize) -> Option<std::ops::Range<usize>> {
        let size = if self.is_big { 8 } else { 2 };
        let count = usize::try_from(self.number(at, size)?).ok()?;
        let start = at.checked_add(size)?;
        let end = start.checked_add(count.checked_mul(self.entry_size())?)?;
        (end <= self.bytes.len()).then_some(start..end)
    }
}

impl<'a> Page<'a> {
    fn entry(&self, tag: u16) -> Option<Entry> {
        let tiff = self.tiff;
        let mut entries = tiff.entries_at(self.at)?.step_by(tiff.entry_size());
        let at = entries.find(|at| tiff.number(*at, 2) == Some(tag.into()))?;
        let size = match tiff.number(at + 2, 2)? {
            1 | 2 | 6 | 7 => 1,
            3 | 8 => 2,
            4 | 9 | 13 => 4,
            16..=18 => 8,
            _ => return None,
        };
        let count = tiff.number(at + 4, tiff.offset_size())?;
        let value = at + 4 + tiff.offset_size();
        // What fits stands in place of the pointer to it.
        let is_inside = count.checked_mul(size as u64)? <= tiff.offset_size() as u64;
        Some(Entry {
            size,
            count,
            at: if is_inside { value } else { tiff.offset(value)? },
        })
    }

    /// An entry's first number.
    pub(in crate::decode) fn number(&self, tag: u16) -> Option<u64> {
        let entry = self.entry(tag).filter(|entry| entry.count > 0)?;
        self.tiff.number(entry.at, entry.size)
    }

    /// An entry's numbers.
    pub(in crate::decode) fn numbers(&self, tag: u16) -> Option<Vec<u64>> {
        let entry = self.entry(tag).filter(|entry| entry.count <= MOST_NUMBERS)?;
        // All of them must be there before room is made for any.
        let length = entry.count as usize * entry.size;
        self.tiff.bytes.get(entry.at..entry.at.checked_add(length)?)?;
        (0..entry.count as usize)
            .map(|index| self.tiff.number(entry.at + index * entry.size, entry.size))
            .collect()
    }

    /// The pages that an entry points to.
    pub(in crate::decode) fn below(&self, tag: u16) -> Vec<Page<'a>> {
        let tiff = self.tiff;
        let pointers = self.numbers(tag).unwrap_or_default();
        let places = pointers.into_iter().filter_map(|at| usize::try_from(at).ok());
        places
            .filter(|at| tiff.entries_at(*at).is_some())
            .map(|at| Page { tiff, at })
            .collect()
    }

    /// An entry's bytes.
    pub(in crate::decode) fn bytes(&self, tag: u16) -> Option<&'a [u8]> {
        self.tiff.bytes.get(self.place(tag)?)
    }

    /// Where in the file an entry's bytes are.
    pub(in crate::decode) fn place(&self, tag: u16) -> Option<std::ops::Range<usize>> {
        let entry = self.entry(tag).filter(|entry| entry.size == 1)?;
        let end = entry.at.checked_add(usize::try_from(entry.count).ok()?)?;
        Some(entry.at..end)
    }

    /// The file with this page as its first, and with another number under one of the page's tags.
    pub(super) fn rewritten(&self, change: Option<(u16, u16)>) -> Vec<u8> {
        let tiff = self.tiff;
        let mut file = tiff.bytes.to_vec();
        let mut write = |at: usize, size: usize, number: u64| {
            let bytes = match tiff.is_little {
                true => number.to_le_bytes()[..size].to_vec(),
                false => number.to_be_bytes()[8 - size..].to_vec(),
            };
            file[at..at + size].copy_from_slice(&bytes);
        };
        write(tiff.first_pointer(), tiff.offset_size(), self.at as u64);
        if let Some((tag, number)) = change
            && let Some(entry) = self.entry(tag)
            && tiff.number(entry.at, entry.size).is_some()
        {
            write(entry.at, entry.size, number.into());
        }
        file
    }
}
