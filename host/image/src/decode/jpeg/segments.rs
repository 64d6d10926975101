//! A JPEG file's segments (ITU-T T.81, annex B).

/// A marker and what belongs to it.
pub(super) struct Segment<'a> {
    pub marker: u8,
    /// Its data, without their length.
    pub data: &'a [u8],
}

/// Goes from segment to segment.
pub(super) struct Segments<'a> {
    rest: &'a [u8],
}

impl<'a> Segments<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Segments<'a> {
        Segments { rest: bytes }
    }

    /// What follows the last segment.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Goes on by so many bytes.
    pub(super) fn pass(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    /// The next segment. Data of a scan have no length; they are passed over like padding.
    fn next(&mut self) -> Option<Segment<'a>> {
        const START: u8 = 0xd8;
        const END: u8 = 0xd9;
        let mut pairs = self.rest.windows(2);
        let at = pairs.position(|pair| pair[0] == 0xff && is_marker(pair[1]))?;
        let marker = self.rest[at + 1];
        let after = &self.rest[at + 2..];
        if matches!(marker, START | END) {
            self.rest = after;
            return Some(Segment { marker, data: &[] });
        }
        let length = after.first_chunk().map(|length| u16::from_be_bytes(*length));
        let segment = length.and_then(|length| after.split_at_checked(usize::from(length)));
        let Some((data, rest)) = segment else {
            self.rest = &[];
            return None;
        };
        self.rest = rest;
        Some(Segment {
            marker,
            data: data.get(2..).unwrap_or_default(),
        })
    }
}

/// Whether this byte after an 0xff begins a segment; not so a stuffed zero, padding, TEM or a restart.
fn is_marker(byte: u8) -> bool {
    !matches!(byte, 0x00 | 0x01 | 0xff) && !is_restart(byte)
}

/// Whether this is a marker between two intervals of a scan.
pub(super) fn is_restart(marker: u8) -> bool {
    matches!(marker, 0xd0..=0xd7)
}
