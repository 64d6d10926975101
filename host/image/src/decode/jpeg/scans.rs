//! Whether a JPEG file's scans hold all the data that its header promises.
//!
//! Decoders fill in what is missing and say nothing. Here the data are walked through, code by code (ITU-T T.81, annexes F and G),
//! without making pixels of them.

use super::segments::{Segments, is_restart};

/// The most scans that are walked through; files have ten or so.
const MOST_SCANS: usize = 100;
/// Codes of up to so many bits are found by table.
const QUICK: u32 = 8;

/// What scans lack: the worst of them, in minimal coded units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lack {
    pub missing: u64,
    pub of: u64,
    /// The first row of pixels that is touched.
    pub row: u32,
}

impl std::fmt::Display for Lack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let percent = (self.missing * 100).div_ceil(self.of);
        let Lack { row, .. } = self;
        write!(
            f,
            "{percent} % of its data are missing or flawed, from row {row} on"
        )
    }
}

/// What the scans of a file lack, as far as it can be known; `None`: nothing.
pub(super) fn lack(bytes: &[u8]) -> Option<Lack> {
    walk(bytes, false)?.1
}

/// The coefficients of a sequential picture, whatever scans they come in, and what the scans lack.
pub(super) fn coefficients(bytes: &[u8]) -> Option<(Frame, Option<Lack>)> {
    walk(bytes, true)
}

fn walk(bytes: &[u8], keeps: bool) -> Option<(Frame, Option<Lack>)> {
    let mut tables = Tables::default();
    let mut frame: Option<Frame> = None;
    let mut worst: Option<Lack> = None;
    let mut scans = 0;
    let mut segments = Segments::new(bytes);
    while let Some(segment) = segments.next() {
        match segment.marker {
            0xc0..=0xc2 if frame.is_none() => {
                frame = Some(Frame::read(segment.marker, segment.data, keeps)?);
            }
            0xc4 => tables.read(segment.data)?,
            0xdd => tables.restart = u64::from(u16::from_be_bytes(*segment.data.first_chunk()?)),
            0xda => {
                let scan = Scan::read(segment.data, frame.as_mut()?)?;
                let (lack, used) = Walk::new(segments.rest(), &tables, frame.as_mut()?, &scan).run();
                segments.pass(used);
                worst = worse(worst, lack);
                scans += 1;
                if scans == MOST_SCANS {
                    break;
                }
            }
            0xd9 => break,
            _ => {}
        }
    }
    let frame = frame?;
    let unseen = frame
        .components
        .iter()
        .filter(|component| !component.is_seen)
        .count() as u64;
    let absent = (unseen > 0).then_some(Lack {
        missing: unseen,
        of: frame.components.len() as u64,
        row: 0,
    });
    Some((frame, worse(worst, absent)))
}

fn worse(one: Option<Lack>, other: Option<Lack>) -> Option<Lack> {
    let share = |lack: Lack| lack.missing as f64 / lack.of as f64;
    match (one, other) {
        (Some(one), Some(other)) if share(other) > share(one) => Some(other),
        (one, other) => one.or(other),
    }
}

/// A picture's size and components.
pub(super) struct Frame {
    is_progressive: bool,
    height: u32,
    pub components: Vec<Component>,
    /// Units of a scan of several components: across and down.
    pub units: (u64, u64),
}

pub(super) struct Component {
    pub id: u8,
    /// Blocks of a unit: across and down.
    pub wide: u32,
    pub high: u32,
    /// Blocks of the component when it is alone in a scan.
    blocks: (u64, u64),
    /// Blocks in a row, with those that fill up the last unit.
    pub stride: u64,
    /// For each block, which coefficients are not zero; for progressive pictures only.
    known: Vec<u64>,
    /// For each block its coefficients, in the order of the file, where they are kept.
    pub values: Vec<[i16; 64]>,
    /// Whether a scan holds it.
    is_seen: bool,
}

impl Frame {
    fn read(marker: u8, data: &[u8], keeps: bool) -> Option<Frame> {
        let side = |at: usize| Some(u32::from(u16::from_be_bytes(*data.get(at..)?.first_chunk()?)));
        let (height, width) = (side(1)?, side(3)?);
        let parts = data.get(6..6 + 3 * usize::from(*data.get(5)?))?;
        let of = |part: &[u8]| (u32::from(part[1] >> 4), u32::from(part[1] & 15));
        let parts: Vec<&[u8]> = parts.chunks_exact(3).collect();
        let most = |side: fn((u32, u32)) -> u32| parts.iter().map(|part| side(of(part))).max();
        let (most_wide, most_high) = (most(|(wide, _)| wide)?, most(|(_, high)| high)?);
        let valid = |part: &&[u8]| matches!(of(part), (1..=4, 1..=4));
        if height == 0 || width == 0 || parts.len() > 4 || !parts.iter().all(valid) {
            return None;
        }
        let units = (
            u64::from(width.div_ceil(8 * most_wide)),
            u64::from(height.div_ceil(8 * most_high)),
        );
        let is_progressive = marker == 0xc2;
        let component = |part: &&[u8]| {
            let (wide, high) = of(part);
            let blocks = (
                u64::from((width * wide).div_ceil(most_wide).div_ceil(8)),
                u64::from((height * high).div_ceil(most_high).div_ceil(8)),
            );
            let stride = units.0 * u64::from(wide);
            let count = stride * units.1 * u64::from(high);
            Component {
                id: part[0],
                wide,
                high,
                blocks,
                stride,
                known: vec![0; if is_progressive { count as usize } else { 0 }],
                values: vec![[0; 64]; if keeps { count as usize } else { 0 }],
                is_seen: false,
            }
        };
        Some(Frame {
            is_progressive,
            height,
            components: parts.iter().map(component).collect(),
            units,
        })
    }
}

/// What a scan holds: components (by their place in the frame, with their tables), a band of coefficients, and bits of them.
struct Scan {
    components: Vec<(usize, usize, usize)>,
    band: (u32, u32),
    is_first: bool,
}

impl Scan {
    fn read(data: &[u8], frame: &mut Frame) -> Option<Scan> {
        let count = usize::from(*data.first()?);
        let parts = data.get(1..1 + 2 * count)?;
        let tail = data.get(1 + 2 * count..)?.first_chunk::<3>()?;
        let components = parts.as_chunks::<2>().0.iter().map(|[id, tables]| {
            let place = frame
                .components
                .iter()
                .position(|component| component.id == *id)?;
            frame.components[place].is_seen = true;
            Some((place, usize::from(tables >> 4) & 3, usize::from(tables & 15) & 3))
        });
        let band = match frame.is_progressive {
            true => (u32::from(tail[0]), u32::from(tail[1]).min(63)),
            false => (0, 63),
        };
        let components: Vec<_> = components.collect::<Option<_>>()?;
        // A band beyond the first coefficient is of one component.
        let is_valid = !components.is_empty() && (components.len() == 1 || band.0 == 0) && band.0 <= 63;
        is_valid.then_some(Scan {
            components,
            band,
            is_first: tail[2] >> 4 == 0 || !frame.is_progressive,
        })
    }
}

/// Codes, and how often the decoder starts afresh.
#[derive(Default)]
struct Tables {
    dc: [Option<Codes>; 4],
    ac: [Option<Codes>; 4],
    restart: u64,
}

impl Tables {
    fn read(&mut self, mut data: &[u8]) -> Option<()> {
        while let Some((kind, after)) = data.split_first() {
            let (counts, after) = after.split_first_chunk::<16>()?;
            let total = counts.iter().map(|count| usize::from(*count)).sum();
            let (values, after) = after.split_at_checked(total)?;
            let place = usize::from(kind & 3);
            match kind >> 4 {
                0 => self.dc[place] = Some(Codes::new(counts, values)),
                _ => self.ac[place] = Some(Codes::new(counts, values)),
            }
            data = after;
        }
        Some(())
    }
}

/// A Huffman code (T.81, annex C).
struct Codes {
    /// Length and value of the code that these bits begin with; length 0: it is longer.
    quick: [(u8, u8); 1 << QUICK],
    /// For each length: the first code that is too large for it, filled up to 16 bits, and what to add to a code for its place.
    ends: [(u32, i32); 17],
    values: Vec<u8>,
}

impl Codes {
    fn new(counts: &[u8; 16], values: &[u8]) -> Codes {
        let mut codes = Codes {
            quick: [(0, 0); 1 << QUICK],
            ends: [(0, 0); 17],
            values: values.to_vec(),
        };
        let (mut code, mut place) = (0u32, 0usize);
        for (length, count) in (1u32..).zip(counts) {
            codes.ends[length as usize].1 = place as i32 - code as i32;
            for _ in 0..*count {
                if length <= QUICK {
                    let first = (code << (QUICK - length)) as usize;
                    let last = first + (1 << (QUICK - length));
                    if let Some(entries) = codes.quick.get_mut(first..last) {
                        entries.fill((length as u8, values[place]));
                    }
                }
                code += 1;
                place += 1;
            }
            codes.ends[length as usize].0 = code << (16 - length);
            code <<= 1;
        }
        codes
    }

    fn decode(&self, bits: &mut Bits) -> Option<u8> {
        let next = bits.peek16();
        let (length, value) = self.quick[(next >> (16 - QUICK)) as usize];
        if length > 0 {
            return bits.pass(length.into()).map(|()| value);
        }
        let length = (QUICK as usize + 1..=16).find(|length| next < self.ends[*length].0)?;
        let code = (next >> (16 - length)) as i32;
        bits.pass(length as u32)?;
        let place = usize::try_from(code + self.ends[length].1).ok()?;
        self.values.get(place).copied()
    }
}

/// Bits of a scan, up to the next marker.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    held: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8], at: usize) -> Bits<'a> {
        Bits {
            bytes,
            at,
            held: 0,
            count: 0,
        }
    }

    fn fill(&mut self) {
        while self.count <= 48 {
            let Some(byte) = self.bytes.get(self.at) else {
                return;
            };
            if *byte == 0xff {
                // A zero is stuffed behind this byte where it is data; else it begins a marker.
                match self.bytes.get(self.at + 1) {
                    Some(0) => self.at += 1,
                    _ => return,
                }
            }
            self.held = self.held << 8 | u64::from(*byte);
            self.count += 8;
            self.at += 1;
        }
    }

    /// The next 16 bits; ones follow the last, which no code is.
    fn peek16(&mut self) -> u32 {
        if self.count < 16 {
            self.fill();
        }
        let bits = match self.count {
            0..16 => (self.held << (16 - self.count)) | ((1 << (16 - self.count)) - 1),
            count => self.held >> (count - 16),
        };
        (bits & 0xffff) as u32
    }

    /// Goes on by so many bits, if they are there.
    fn pass(&mut self, bits: u32) -> Option<()> {
        if self.count < bits {
            self.fill();
        }
        self.count = self.count.checked_sub(bits)?;
        Some(())
    }

    fn take(&mut self, bits: u32) -> Option<u32> {
        self.pass(bits)?;
        Some((self.held >> self.count) as u32 & ((1 << bits) - 1))
    }
}

/// The way through one scan.
struct Walk<'a> {
    bits: Bits<'a>,
    tables: &'a Tables,
    frame: &'a mut Frame,
    scan: &'a Scan,
    /// Blocks to come that have nothing more in this band.
    empty: u32,
    /// Each component's first coefficient of the block before.
    before: [i32; 4],
}

impl<'a> Walk<'a> {
    fn new(bytes: &'a [u8], tables: &'a Tables, frame: &'a mut Frame, scan: &'a Scan) -> Walk<'a> {
        Walk {
            bits: Bits::new(bytes, 0),
            tables,
            frame,
            scan,
            empty: 0,
            before: [0; 4],
        }
    }

    /// Goes through to the end, from restart to restart where data are flawed. Gives what was lacking, and the bytes used.
    fn run(mut self) -> (Option<Lack>, usize) {
        let (across, down) = match self.scan.components[..] {
            [(only, ..)] => self.frame.components[only].blocks,
            _ => self.frame.units,
        };
        let units = across * down;
        let interval = match self.tables.restart {
            0 => units,
            interval => interval,
        };
        let (mut unit, mut missing, mut first_missing) = (0, 0, None);
        while unit < units {
            let end = (unit + interval).min(units);
            self.empty = 0;
            self.before = [0; 4];
            while unit < end && self.unit(unit, across).is_some() {
                unit += 1;
            }
            if unit < end {
                missing += end - unit;
                first_missing = first_missing.or(Some(unit));
                unit = end;
            }
            if unit < units && !self.restart() {
                missing += units - unit;
                first_missing = first_missing.or(Some(unit));
                break;
            }
        }
        let rows = self.frame.height;
        let lack = first_missing.map(|first| Lack {
            missing,
            of: units,
            row: ((first / across * u64::from(rows)) / down) as u32,
        });
        (lack, self.bits.at)
    }

    /// Goes to the next marker, and behind it if it is a restart.
    fn restart(&mut self) -> bool {
        let mut at = self.bits.at;
        loop {
            let Some(pair) = self.bits.bytes.get(at..at + 2) else {
                return false;
            };
            match pair {
                [0xff, marker] if is_restart(*marker) => break,
                [0xff, 0 | 0xff] => at += 1,
                [0xff, _] => return false,
                _ => at += 1,
            }
        }
        self.bits = Bits::new(self.bits.bytes, at + 2);
        true
    }

    /// One minimal coded unit.
    fn unit(&mut self, unit: u64, across: u64) -> Option<()> {
        let (column, row) = (unit % across, unit / across);
        if let [(only, dc, ac)] = self.scan.components[..] {
            return self.block(only, dc, ac, column, row);
        }
        for &(place, dc, ac) in &self.scan.components {
            let (wide, high) = (
                self.frame.components[place].wide,
                self.frame.components[place].high,
            );
            for down in 0..u64::from(high) {
                for right in 0..u64::from(wide) {
                    let (x, y) = (column * u64::from(wide) + right, row * u64::from(high) + down);
                    self.block(place, dc, ac, x, y)?;
                }
            }
        }
        Some(())
    }

    fn block(&mut self, place: usize, dc: usize, ac: usize, x: u64, y: u64) -> Option<()> {
        let (dc, ac) = (self.tables.dc[dc].as_ref(), self.tables.ac[ac].as_ref());
        let bits = &mut self.bits;
        let (start, end) = self.scan.band;
        if !self.frame.is_progressive {
            let size = u32::from(dc?.decode(bits)? & 15);
            let first = self.before[place].wrapping_add(signed(bits.take(size)?, size));
            self.before[place] = first;
            let component = &mut self.frame.components[place];
            let values = component.values.get_mut((y * component.stride + x) as usize);
            return match values {
                None => band(bits, ac?, 1, 63, |_, _| {}).map(|_| ()),
                Some(values) => {
                    values[0] = first as i16;
                    band(bits, ac?, 1, 63, |at, value| values[at as usize] = value as i16).map(|_| ())
                }
            };
        }
        match (start, self.scan.is_first) {
            (0, true) => {
                let size = dc?.decode(bits)?;
                bits.pass(u32::from(size & 15))
            }
            (0, false) => bits.pass(1),
            (_, is_first) => {
                let component = &mut self.frame.components[place];
                let known = component.known.get_mut((y * component.stride + x) as usize)?;
                if is_first {
                    if self.empty > 0 {
                        self.empty -= 1;
                        return Some(());
                    }
                    self.empty = band(bits, ac?, start, end, |at, _| *known |= 1 << at)?;
                    return Some(());
                }
                refine(bits, ac?, (start, end), known, &mut self.empty)
            }
        }
    }
}

/// A number of so many bits: those that begin with a zero stand for negative ones (T.81, F.2.2.1).
fn signed(bits: u32, size: u32) -> i32 {
    match size {
        0 => 0,
        _ if bits >> (size - 1) == 0 => bits as i32 + 1 - (1 << size),
        _ => bits as i32,
    }
}

/// The coefficients of a block from `start` on; tells those that are not zero, and gives how many blocks after it have none.
fn band(
    bits: &mut Bits,
    codes: &Codes,
    start: u32,
    end: u32,
    mut found: impl FnMut(u32, i32),
) -> Option<u32> {
    let mut at = start;
    while at <= end {
        let code = codes.decode(bits)?;
        let (zeros, size) = (u32::from(code >> 4), u32::from(code & 15));
        match (zeros, size) {
            (15, 0) => at += 16,
            (_, 0) => return Some((1 << zeros) + bits.take(zeros)? - 1),
            _ => {
                at += zeros;
                if at > end {
                    return None;
                }
                found(at, signed(bits.take(size)?, size));
                at += 1;
            }
        }
    }
    Some(0)
}

/// One more bit of each coefficient that is not zero, and coefficients that are so from this bit on (T.81, G.1.2.3).
fn refine(bits: &mut Bits, codes: &Codes, band: (u32, u32), known: &mut u64, empty: &mut u32) -> Option<()> {
    let (mut at, end) = band;
    let was = *known;
    let is_known = |at: u32| was >> at & 1 == 1;
    while at <= end && *empty == 0 {
        let code = codes.decode(bits)?;
        let (mut zeros, size) = (u32::from(code >> 4), u32::from(code & 15));
        match (zeros, size) {
            (15, 0) | (_, 1) => {}
            (_, 0) => {
                *empty = (1 << zeros) + bits.take(zeros)?;
                break;
            }
            _ => return None,
        }
        bits.pass(size)?;
        // Past so many coefficients that stay zero; those that are not have their bit here.
        while at <= end {
            if is_known(at) {
                bits.pass(1)?;
            } else if zeros == 0 {
                break;
            } else {
                zeros -= 1;
            }
            at += 1;
        }
        if size == 1 && at <= end {
            *known |= 1 << at;
        }
        at += 1;
    }
    if *empty > 0 {
        while at <= end {
            if is_known(at) {
                bits.pass(1)?;
            }
            at += 1;
        }
        *empty -= 1;
    }
    Some(())
}
