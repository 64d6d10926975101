//! Plans: of pictures of every size, of several requests, again and again.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use monocle_image::Picture;
use monocle_runtime::model::Model;
use monocle_runtime::plugin::contract::{Content, Message, Part, Plan, PlanRequest, Size};
use monocle_runtime::plugin::error::{Fault, PluginError};
use monocle_runtime::probe::Probe;
use monocle_runtime::recordings::Recordings;

use super::report::Verdict;

/// Sides of pictures: the smallest, those around sizes of patches and of tiles, those of cameras.
const SIDES: [u32; 31] = [
    1, 2, 3, 7, 14, 27, 28, 29, 32, 55, 56, 64, 100, 196, 224, 225, 299, 336, 384, 448, 512, 640, 768, 1000,
    1024, 1344, 1920, 2688, 3000, 4032, 8000,
];
/// The most rows of pixels.
const TALLEST: u32 = 3000;
/// Signatures of `encode` that are recorded: each is recorded twice.
const RECORDED: usize = 96;

/// A user's turn: so many pictures, then words.
pub fn turn(pictures: std::ops::Range<u32>, words: &str) -> Message {
    let parts = pictures.map(Part::Image).chain([Part::Text(words.to_owned())]);
    Message::new("user", Content::Parts(parts.collect()))
}

/// One question about pictures of these sizes.
pub fn question(sizes: &[Size], words: &str) -> PlanRequest {
    PlanRequest {
        messages: vec![turn(0..sizes.len() as u32, words)],
        pictures: sizes.to_vec(),
        ..PlanRequest::default()
    }
}

/// Requests of every kind, by name.
pub fn requests() -> Vec<(&'static str, PlanRequest)> {
    let size = |width, height| Size { width, height };
    let sizes = [size(640, 480), size(333, 777), size(96, 96)];
    let system = Message::new("system", Content::Parts(vec![Part::Text("Be brief.".to_owned())]));
    let answer = Message::new("assistant", Content::Text("A red square.".to_owned()));
    let conversation = PlanRequest {
        messages: vec![
            system,
            turn(0..1, "What is this?"),
            answer,
            turn(1..2, "And this, \u{e9}?"),
        ],
        pictures: sizes[..2].to_vec(),
        ..PlanRequest::default()
    };
    vec![
        ("words", question(&[], "What is the capital of France?")),
        ("picture", question(&sizes[..1], "What is this?")),
        ("pictures", question(&sizes, "Compare these.")),
        ("conversation", conversation),
        (
            "mark",
            question(&sizes[..1], "What does <image> mean? <|im_start|>"),
        ),
    ]
}

/// What the plugin says of a request: a plan, or no in words.
pub enum Said {
    /// A plan.
    Plan(Box<Plan>),
    /// No, in its own words.
    No(String),
}

/// A plan by this instance. Whatever is neither a plan nor a refusal in words is an error.
pub fn plan(probe: &mut Probe, request: &PlanRequest) -> Result<Said, PluginError> {
    match probe.plan(request) {
        Ok(plan) => Ok(Said::Plan(Box::new(plan))),
        Err(PluginError::Call {
            fault: Fault::Refused(words),
            ..
        }) => Ok(Said::No(words)),
        Err(error) => Err(error),
    }
}

/// Every size is planned, and `encode` gives as many features as planned.
pub fn sizes(model: &Model, recordings: &Recordings) -> Result<Verdict, PluginError> {
    let mut probe = Probe::new(model)?;
    let (mut problems, mut refused) = (Vec::new(), Vec::new());
    let (mut planned, mut signatures, mut recorded) = (0_usize, HashSet::new(), 0_usize);
    let (mut slowest, mut operations) = (Duration::ZERO, 0);
    let sizes = SIDES.iter().flat_map(|&width| {
        let heights = SIDES.iter().filter(|height| **height <= TALLEST);
        heights.map(move |&height| Size { width, height })
    });
    for size in sizes {
        let request = question(&[size], "What is this?");
        let started = Instant::now();
        let said = plan(&mut probe, &request);
        slowest = slowest.max(started.elapsed());
        match said {
            Ok(Said::No(words)) => refused.push(format!("{size}: {words}")),
            Ok(Said::Plan(plan)) => {
                planned += 1;
                let picture = &plan.images[0];
                let is_new = signatures.insert((picture.pixels.clone(), picture.layout.clone()));
                if is_new && recorded < RECORDED {
                    recorded += 1;
                    match recordings.encode(picture) {
                        Ok(encoder) => operations = operations.max(encoder.program.nodes.len()),
                        Err(error) => problems.push(format!("{size}: {error}")),
                    }
                } else if !is_new && let Err(error) = recordings.encode(picture) {
                    // Equal tensors, and another number of features.
                    problems.push(format!("{size}: {error}"));
                }
            }
            Err(error) => {
                problems.push(format!("{size}: {error}"));
                // What has failed is not asked again.
                probe = Probe::new(model)?;
            }
        }
    }
    if planned == 0 && problems.is_empty() {
        problems.push(format!(
            "every size is refused: {}",
            refused.join("; ").chars().take(300).collect::<String>()
        ));
    }
    let mut fine = format!(
        "{planned} sizes from 1x1 to 8000x3000; features as planned for {recorded} of {} signatures; slowest plan {:.1} ms, at most {operations} \
         operations",
        signatures.len(),
        slowest.as_secs_f64() * 1e3
    );
    if let Some(first) = refused.first() {
        fine.push_str(&format!(
            "\nrefused in words: {} sizes, the first {first}",
            refused.len()
        ));
    }
    Ok(Verdict::of(&problems, fine))
}

/// Every kind of request is planned, or refused in words, and the same whenever and by whichever instance it is asked.
pub fn repeats(model: &Model) -> Result<Verdict, PluginError> {
    let mut problems = Vec::new();
    let mut notes = Vec::new();
    let mut used = Probe::new(model)?;
    for (name, request) in requests() {
        let first = Probe::new(model).and_then(|mut probe| plan(&mut probe, &request));
        let first = match first {
            Ok(Said::Plan(plan)) => plan,
            Ok(Said::No(words)) => {
                notes.push(format!("{name} refused in words: {words}"));
                continue;
            }
            Err(error) => {
                problems.push(format!("{name}: {error}"));
                continue;
            }
        };
        for (who, is_fresh) in [
            ("another instance", true),
            ("an instance that planned before", false),
        ] {
            let again = match is_fresh {
                false => plan(&mut used, &request),
                true => Probe::new(model).and_then(|mut probe| plan(&mut probe, &request)),
            };
            match again {
                Ok(Said::Plan(again)) if again == first => {}
                Ok(Said::Plan(again)) => {
                    problems.push(format!(
                        "{name}: {who} plans otherwise: {}",
                        difference(&first, &again)
                    ));
                }
                Ok(Said::No(words)) => problems.push(format!("{name}: {who} refuses: {words}")),
                Err(error) => {
                    problems.push(format!("{name}: {who}: {error}"));
                    used = Probe::new(model)?;
                }
            }
        }
    }
    let mut fine =
        "words, one picture, three, a conversation, a mark that was typed: each planned alike three times"
            .to_owned();
    notes.iter().for_each(|note| fine.push_str(&format!("\n{note}")));
    Ok(Verdict::of(&problems, fine))
}

fn difference(a: &Plan, b: &Plan) -> String {
    if a.text != b.text {
        return "another text".to_owned();
    }
    if a.pieces != b.pieces {
        return format!(
            "other tokens, {} and then {}",
            a.token_ids().len(),
            b.token_ids().len()
        );
    }
    match a.images == b.images {
        false => "other pictures".to_owned(),
        true => "other positions, marks or tokens that end it".to_owned(),
    }
}

/// Pixels have the shapes that were planned, and are the same each time.
pub fn pixels(model: &Model) -> Result<Verdict, PluginError> {
    const SIZES: [(u32, u32); 7] = [
        (1, 1),
        (3, 200),
        (200, 3),
        (96, 96),
        (640, 480),
        (333, 777),
        (1500, 1000),
    ];
    let mut problems = Vec::new();
    let mut made = 0;
    for (width, height) in SIZES {
        let size = Size { width, height };
        let request = question(&[size], "What is this?");
        let make = || -> Result<Option<_>, PluginError> {
            let mut probe = Probe::new(model)?;
            let Said::Plan(plan) = plan(&mut probe, &request)? else {
                return Ok(None);
            };
            probe.pixels(0, picture(size), &plan.images[0]).map(Some)
        };
        match (make(), make()) {
            (Ok(first), Ok(second)) if first == second => made += usize::from(first.is_some()),
            (Ok(_), Ok(_)) => problems.push(format!("{size}: other pixels the second time")),
            (Err(error), _) | (_, Err(error)) => problems.push(format!("{size}: {error}")),
        }
    }
    Ok(Verdict::of(
        &problems,
        format!("{made} pictures, shapes as planned, the same twice"),
    ))
}

/// A picture in which each place has its own colour.
pub fn picture(size: Size) -> Picture {
    let bytes = rgb(size);
    Picture::from_rgb(size.width, size.height, bytes).expect("it has as many bytes as it should")
}

/// The bytes of such a picture.
fn rgb(Size { width, height }: Size) -> Vec<u8> {
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    places
        .flat_map(|(x, y)| [(x * 7 + y) as u8, (y * 5) as u8, (x ^ y) as u8])
        .collect()
}

/// The same as a file.
pub fn file(size: Size) -> Vec<u8> {
    let mut file = format!("P6 {} {} 255\n", size.width, size.height).into_bytes();
    file.extend(rgb(size));
    file
}
