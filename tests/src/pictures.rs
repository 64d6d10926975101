//! Pictures made for a test.

use monocle_runtime::request::pictures::PictureInput;

/// Sizes at which processors went wrong: one pixel, very thin, odd, square.
pub const SIZES: [(usize, usize); 5] = [(1, 1), (16, 3000), (3000, 16), (333, 217), (1024, 1024)];

/// The photo of the field reports that took 135 GB.
pub const PHOTO: (usize, usize) = (5477, 7819);

/// A picture of this size, with some structure, as a PGM file (Netpbm's grey map).
pub fn grey(width: usize, height: usize) -> PictureInput {
    let mut bytes = format!("P5 {width} {height} 255\n").into_bytes();
    let row = |y: usize| (0..width).map(move |x| ((x * 7 + y * 13) % 251) as u8);
    bytes.extend((0..height).flat_map(row));
    PictureInput::Bytes {
        name: format!("{width} by {height}"),
        bytes,
    }
}

/// A drawn picture as a PPM file (Netpbm's pixel map), 96 pixels square: one to four discs and squares of the demo model's colours on a light
/// ground. Each number gives another.
pub fn drawn(number: u64) -> Vec<u8> {
    const SIDE: usize = 96;
    const COLOURS: [[u8; 3]; 8] = [
        [220, 35, 35],
        [245, 140, 20],
        [245, 220, 35],
        [35, 160, 55],
        [40, 95, 215],
        [130, 45, 170],
        [248, 130, 185],
        [20, 20, 20],
    ];
    // A linear congruential generator, with Knuth's numbers.
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed;
    let mut random = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let ground = 225 + random(25) as u8;
    let mut pixels = vec![[ground; 3]; SIDE * SIDE];
    let mut quarters = [0, 1, 2, 3];
    for last in (1..4).rev() {
        quarters.swap(last, random(last as u64 + 1) as usize);
    }
    for quarter in &quarters[..1 + random(4) as usize] {
        let place = |side: usize, random: u64| (side * 48 + 18 + random as usize) as i32;
        let (x, y) = (place(quarter % 2, random(12)), place(quarter / 2, random(12)));
        let radius = 9 + random(8) as i32;
        let colour = COLOURS[random(8) as usize];
        let is_disc = random(2) == 0;
        for (at, pixel) in pixels.iter_mut().enumerate() {
            let (dx, dy) = ((at % SIDE) as i32 - x, (at / SIDE) as i32 - y);
            let is_in = match is_disc {
                true => dx * dx + dy * dy <= radius * radius,
                false => dx.abs().max(dy.abs()) <= radius,
            };
            if is_in {
                *pixel = colour;
            }
        }
    }
    let mut bytes = format!("P6 {SIDE} {SIDE} 255\n").into_bytes();
    bytes.extend(pixels.into_iter().flatten());
    bytes
}
