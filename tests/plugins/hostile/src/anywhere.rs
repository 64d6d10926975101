//! Deeds that any code can do.

use std::hint::black_box;

use monocle_plugin::weights::Weights;
use monocle_plugin::{Image, full, log};

pub fn act(deed: &str) {
    match deed {
        "loop for ever" => loop {
            black_box(0);
        },
        "allocate for ever" => {
            let mut kept = vec![];
            loop {
                kept.push(black_box(vec![1_u8; 1 << 20]));
            }
        }
        "recurse for ever" => {
            black_box(recurse(0));
        }
        "panic" => panic!("the {} of my discontent", "winter"),
        "flood the log" => {
            for line in 0..100_000 {
                log::warn(&format!("line {line} {}", "x".repeat(10_000)));
            }
            panic!("tired of writing");
        }
        "write long lines" => {
            let line = "x".repeat(10 << 20);
            for _ in 0..100 {
                log::warn(&line);
            }
            panic!("tired of writing");
        }
        "make a tensor" => drop(full(&[2], 1.0)),
        "ask for a weight" => drop(Weights::root().parameter("lm_head.weight")),
        // SAFETY: no such handle was ever given to this instance; the host must notice.
        "forge a picture" => drop(unsafe { Image::from_handle(7777) }.size()),
        _ => {}
    }
}

fn recurse(depth: u64) -> u64 {
    if depth == u64::MAX {
        return 0;
    }
    let kept = black_box([depth; 64]);
    recurse(depth + 1) + kept[(depth % 64) as usize]
}
