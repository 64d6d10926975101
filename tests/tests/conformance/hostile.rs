//! A bad plugin hurts nobody: each deed of `tests/plugins/hostile` ends in an error that names plugin, version, function and what was
//! wrong, and a model beside it in the same process goes on giving the reference's tokens.

use monocle_runtime::error::RequestError;
use monocle_runtime::report::Report;
use monocle_runtime::request::GenerateOptions;
use monocle_runtime::request::Request;
use monocle_runtime::scheduler::Flow;
use monocle_runtime::scheduler::Scheduler;
use monocle_tests::oracle::Oracle;
use monocle_tests::project::{self, Carrier};

/// A model that behaves, and what it is asked.
struct Good {
    model: Scheduler,
    request: Request,
    greedy: Vec<u64>,
}

impl Good {
    fn open() -> Self {
        let oracle = Oracle::open(&project::oracle("smolvlm"));
        let greedy = oracle.case("image")["greedy_tokens"].as_array().unwrap();
        Self {
            model: project::open_folder(&oracle.folder),
            request: oracle.request("image"),
            greedy: greedy.iter().map(|id| id.as_u64().unwrap()).collect(),
        }
    }

    /// Whether it still gives the reference's tokens.
    fn check(&mut self, after: &str) {
        let report = generate(&mut self.model, &self.request, 3)
            .unwrap_or_else(|error| panic!("after {after}: {error}"));
        let found: Vec<u64> = report.token_ids.iter().map(|&id| id.into()).collect();
        assert_eq!(found, self.greedy[..3], "after {after}");
    }
}

fn generate(model: &mut Scheduler, request: &Request, max_tokens: usize) -> Result<Report, RequestError> {
    let options = GenerateOptions {
        max_tokens,
        ..GenerateOptions::default()
    };
    model.answer(request, &options, &mut |_| Flow::Continue)
}

/// Asks the hostile plugin, told to misbehave; loops are given little time, everything else the usual.
fn misbehave(told: &str, request: &Request) -> Result<Report, String> {
    misbehave_in(Carrier::Component, told, request)
}

/// As [`misbehave`], with the plugin in this carrier.
fn misbehave_in(carrier: Carrier, told: &str, request: &Request) -> Result<Report, String> {
    let milliseconds = if told.contains("loop") { 300 } else { 10_000 };
    let manifest = format!(
        "schema = 1\nname = \"hostile\"\nplugin = {{ name = \"hostile\", options = {{ misbehave = {told:?} }} }}\n\
         source = {{ path = {:?} }}\n[limits]\nmemory_mib = 64\noperations = 2000\ncall_timeout_ms = {milliseconds}\n",
        project::oracle("smolvlm")
    );
    let opened = project::try_open_manifest_of(carrier.plugins(), &manifest);
    let mut model = opened.map_err(|error| error.to_string())?;
    generate(&mut model, request, 3).map_err(|error| error.to_string())
}

/// What only a sandbox ends: a library that does it is trusted not to.
const WITHOUT_END: [&str; 3] = ["loop for ever", "allocate for ever", "recurse for ever"];
/// What the component model notices by itself, in its own words. In a library, handles are numbers, and the host has words of its own.
/// (And variables of a library are not an instance's: what it counts, it counts on.)
const OF_LIBRARIES: [(&str, &str); 5] = [
    ("forge a picture", "a picture was used after it was dropped"),
    ("of a dropped picture", "a picture was used after it was dropped"),
    ("the same twice", "the same pixels were returned twice"),
    ("the batch", ""),
    ("another number each time", "not a function of shapes alone"),
];

/// For each deed at a place, in either carrier: the error names the function and has all these words; then the good model is asked.
fn check(function: &str, deeds: &[(&str, &[&str])]) {
    let mut good = Good::open();
    let place = function.split_once('.').expect("INTERFACE.FUNCTION").1;
    let version = env!("CARGO_PKG_VERSION");
    let start = format!("plugin `hostile` {version}, `{function}`: ");
    let mut wrong = Vec::new();
    let both = deeds
        .iter()
        .flat_map(|deed| Carrier::ALL.map(|carrier| (carrier, deed)));
    for (carrier, (deed, words)) in both {
        let mut words = *words;
        let of_library;
        if carrier == Carrier::Library {
            if WITHOUT_END.contains(deed) {
                continue;
            }
            if let Some((_, own)) = OF_LIBRARIES.iter().find(|(known, _)| known == deed) {
                of_library = [*own];
                words = &of_library;
            }
        }
        let told = format!("{place}: {deed}");
        match misbehave_in(carrier, &told, &good.request) {
            Ok(report) => wrong.push(format!("{told}: was answered with {:?}", report.output.text)),
            Err(error) => {
                println!("{told}\n    {}\n", error.replace('\n', "\n    "));
                let missing: Vec<_> = words.iter().filter(|words| !error.contains(**words)).collect();
                if !error.starts_with(&start) || !missing.is_empty() {
                    wrong.push(format!(
                        "{told} ({carrier:?}): {error}\n  lacks {start:?} or {missing:?}"
                    ));
                }
            }
        }
        good.check(&told);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn without_a_deed_it_answers() {
    let mut good = Good::open();
    let report = misbehave("", &good.request).unwrap();
    assert_eq!(report.token_ids.len(), 3);
    assert_eq!((report.images[0].tokens, report.prompt.image_tokens), (4, 4));
    good.check("a good answer");
}

/// Not an error: the network of a model may have no use for a picture. But nobody should take the answer for one about it.
#[test]
fn pictures_that_the_network_does_not_read_are_noted() {
    let good = Good::open();
    let note =
        "the network of the plugin `hostile` reads nothing of the pictures: the answer is not about them";
    let noted = |told: &str| {
        let report = misbehave(told, &good.request).expect("it answers");
        report.notes.iter().any(|found| found == note)
    };
    assert!(noted("forward: pictures passed over"));
    assert!(!noted(""));
}

const LOOP: (&str, &[&str]) = (
    "loop for ever",
    &["still running after 300 ms", "limits.call_timeout_ms"],
);
const MEMORY: (&str, &[&str]) = (
    "allocate for ever",
    &["MiB of memory, and may have 64", "limits.memory_mib"],
);
const STACK: (&str, &[&str]) = ("recurse for ever", &["stopped: "]);
const PANIC: (&str, &[&str]) = (
    "panic",
    &["stopped: ", "its last words: ", "the winter of my discontent"],
);
const FLOOD: (&str, &[&str]) = ("flood the log", &["tired of writing"]);
const REFUSE: (&str, &[&str]) = ("refuse", &["I was told to refuse"]);
const TENSOR: (&str, &[&str]) = (
    "make a tensor",
    &["tensors can be used in `network.encode` and `network.forward` only"],
);
const WEIGHT: (&str, &[&str]) = (
    "ask for a weight",
    &["`lm_head.weight` was asked for outside of `network.load`"],
);
const FORGED: (&str, &[&str]) = ("forge a picture", &["unknown handle index 7777"]);

#[test]
fn configure() {
    check(
        "processor.configure",
        &[LOOP, MEMORY, STACK, PANIC, FLOOD, REFUSE, TENSOR, WEIGHT, FORGED],
    );
}

#[test]
fn plan() {
    check(
        "processor.plan",
        &[
            LOOP,
            MEMORY,
            STACK,
            PANIC,
            REFUSE,
            TENSOR,
            WEIGHT,
            FORGED,
            (
                "slots that disagree with features",
                &["picture 0: 4 features for 3 image tokens in the prompt"],
            ),
            (
                "slots out of order",
                &["a slot of picture 0 starts at feature 1, the one before ended at 0"],
            ),
            ("a slot of no picture", &["a slot is for picture 7, of 1"]),
            ("a slot of nothing", &["a slot of picture 0 has no tokens"]),
            ("a huge slot", &["more than the 16777216 that any may have"]),
            ("no tokens", &["the prompt has no tokens"]),
            (
                "an empty prompt for an encoder",
                &["the encoder's prompt: the prompt has no tokens"],
            ),
            (
                "slots for both",
                &["a slot stands in the decoder's prompt: with an encoder, slots stand in its prompt"],
            ),
            ("no pictures", &["planned 0 pictures of 1"]),
            ("huge pixels", &["picture 0: pixels of [4294967295, 4294967295"]),
            (
                "pixels without end",
                &["picture 0: 300000 pixel tensors, more than the 64"],
            ),
            ("too few positions", &["5 positions on 3 axes for "]),
            ("a mark for some tokens", &["mark `kind` has 1 values for "]),
            ("two marks of one name", &["two marks are called `kind`"]),
            (
                "a mark without a name",
                &["a mark's name has 0 bytes, expected 1 to 64"],
            ),
            ("marks without end", &["17 marks, more than the 16"]),
            (
                "a prefix beyond the prompt",
                &["a prefix of 1000 tokens in a prompt of "],
            ),
            ("context that is not there", &["lies outside 4 rows of context"]),
            ("context ranges without end", &["1000000 ranges of context for "]),
        ],
    );
}

#[test]
fn pixels() {
    check(
        "processor.pixels",
        &[
            LOOP,
            MEMORY,
            STACK,
            PANIC,
            REFUSE,
            TENSOR,
            WEIGHT,
            FORGED,
            (
                "another shape",
                &["picture 0: pixels of [[1, 16, 8, 3]], and the plan said [[1, 8, 8, 3]]"],
            ),
            ("two for one", &["pixels of [[1, 8, 8, 3], [1, 8, 8, 3]]"]),
            ("none", &["pixels of [], and the plan said"]),
            ("the same twice", &["unknown handle index"]),
            ("of a dropped picture", &["unknown handle index"]),
            ("a picture of no size", &["resize to 0 x 5 pixels"]),
            (
                "a huge picture",
                &["a picture of 4294967295x4294967295 takes more than the 1024 MiB"],
            ),
            (
                "a picture whose bytes wrap",
                &["a picture of 2007567422x3062868337 takes more than the 1024 MiB"],
            ),
            (
                "a huge border",
                &["a picture of 4294967295x4294967295 takes more than"],
            ),
            (
                "a stack of nothing",
                &["`images.stack` needs one picture at least"],
            ),
            (
                "a stack of two sizes",
                &["`images.stack` takes pictures of one size: the first is 8x8, another 2x2"],
            ),
            ("pictures without end", &["more than the 4096 pictures"]),
            ("pixels without end", &["more than the 4096 tensors of pixels"]),
        ],
    );
}

#[test]
fn load() {
    check(
        "network.load",
        &[
            LOOP,
            MEMORY,
            STACK,
            PANIC,
            REFUSE,
            TENSOR,
            FORGED,
            (
                "a weight that is not there",
                &[
                    "self_attn.q_porj",
                    "model.text_model.layers.0.self_attn.q_proj.weight",
                ],
            ),
            (
                "a vector as a layer",
                &["model.text_model.layers.0.input_layernorm", "[64]"],
            ),
            ("experts that are none", &["lm_head", "[576, 64]"]),
            (
                "a stack of nothing",
                &["`weights.stack-experts` got 0 names, expected 1 to 4096"],
            ),
            (
                "a stack of two shapes",
                &[
                    "`model.text_model.layers.0.mlp.gate_proj.weight`",
                    "[64, 64] in F32, no bias, as `model.text_model.layers.0.self_attn.q_proj.weight` has it",
                ],
            ),
        ],
    );
}

#[test]
fn encode() {
    check(
        "network.encode",
        &[
            LOOP,
            MEMORY,
            STACK,
            PANIC,
            REFUSE,
            WEIGHT,
            FORGED,
            ("nothing", &["returned no features"]),
            (
                "too few features",
                &["features of set 0 are float[3, 64], expected float[4, hidden]"],
            ),
            ("flat features", &["features of set 0 are float[256]"]),
            ("whole numbers", &["features of set 0 are int[4, 64]"]),
            ("the batch", &["handle index 1 used with the wrong type"]),
            (
                "a wrong reshape",
                &["`reshape` on (float[4, 64]): 256 elements do not fill [5, 64]"],
            ),
            (
                "a wrong convolution",
                &["`conv2d` on (float[1, 8, 8, 3], float[8, 3, 2, 2]): windows of [2, 2], stride [0, 1]"],
            ),
            (
                "a wrong pool",
                &[
                    "`pool2d` on (float[1, 8, 8, 3]): windows of [9, 9]",
                    "do not fit in 8 x 8",
                ],
            ),
        ],
    );
}

#[test]
fn forward() {
    const NEAR: &str = "near weight `model.text_model.embed_tokens.weight`";
    check(
        "network.forward",
        &[
            LOOP,
            MEMORY,
            STACK,
            PANIC,
            REFUSE,
            WEIGHT,
            FORGED,
            (
                "operations for ever",
                &["`scale-shift`", "2000 operations at most", NEAR],
            ),
            (
                "handles for ever",
                &["`scale-shift`", "2000 operations at most", NEAR],
            ),
            (
                "a dead handle",
                &[
                    "`binary Add`, operand 1",
                    "operand 1: a tensor of an earlier call was used",
                ],
            ),
            (
                "another operation each time",
                &["not a function of shapes alone", "Silu", "Sigmoid"],
            ),
            (
                "one operation more each time",
                &["not a function of shapes alone", "scale-shift"],
            ),
            (
                "another number each time",
                &["not a function of shapes alone", "shift: 1.0"],
            ),
            (
                "another operand each time",
                &["not a function of shapes alone", "ValueId"],
            ),
            (
                "a wrong linear",
                &[
                    "`linear` on (float[",
                    ", 63]): weight `lm_head.weight` is [576, 64]",
                ],
            ),
            (
                "a wrong matmul",
                &[
                    "`matmul` on (float[",
                    "float[65, 8]): inner dimensions 64 and 65 differ",
                    NEAR,
                ],
            ),
            ("a wrong sum", &["and [3, 5] do not broadcast", NEAR]),
            (
                "a wrong concat",
                &[
                    "`concat` on (float[",
                    "float[1, 63])",
                    "differ beside dimension 0",
                    NEAR,
                ],
            ),
            (
                "a concat of nothing",
                &["`concat` on (): there is nothing to concatenate"],
            ),
            (
                "a wrong slice",
                &["`slice` on", "slice 5..900 by 1 of dimension 1, which has 64"],
            ),
            ("a step of nothing", &["`slice` on", "slice 0..5 by 0"]),
            ("a dimension that is none", &["`reduce` on", "has no dimension 9"]),
            (
                "a wrong permutation",
                &["`permute` on", "[0, 0] is no order of 2 dimensions"],
            ),
            (
                "a wrong rope",
                &["`rope` on", "9 frequencies rotate more than 16 elements"],
            ),
            (
                "a rope of axes that are not there",
                &["`rope` on", "the positions have 1 axes"],
            ),
            (
                "whole numbers for floats",
                &["`unary Silu` on", "expected floats, found int["],
            ),
            (
                "the largest of too few",
                &["`top-k` on", "cannot take the 1000 largest of 64"],
            ),
            (
                "features that are not there",
                &["`batch.splice-features` on", "there is no set 5"],
            ),
            (
                "context that is not there",
                &["`batch.cross-attend` on", "no context"],
            ),
            (
                "constants for ever",
                &["`floats` on", "take more than 16777216 bytes"],
            ),
            ("wrong constants", &["`floats` on", "2 values do not fill [64]"]),
            ("angles for ever", &["`rope` on", "take more than 16777216 bytes"]),
            ("dimensions for ever", &["`full` on", "1048576 dimensions"]),
            (
                "a shape that overflows",
                &["`full` on", "elements that one tensor may have"],
            ),
            (
                "a broadcast that overflows",
                &["`broadcast` on", "elements that one tensor may have"],
            ),
            (
                "padding that overflows",
                &["`pad` on", "elements that one tensor may have"],
            ),
            ("a wrong attend", &["`batch.attend` on", "do not fit together"]),
            (
                "a window of nothing",
                &["`batch.attend` on", "a window of 0 sees nothing"],
            ),
            (
                "a cache that nobody wrote",
                &["reads cache 9, to which no `attend` of this call has written"],
            ),
            (
                "a cache seen further than it was written",
                &["looks further back in cache 1", "Some(5), of Some(4)"],
            ),
            (
                "a cache of other heads",
                &["`batch.attend-shared` on", "cache 0 holds keys of "],
            ),
            (
                "a part of a cache that was written",
                &[
                    "`batch.attend-shared` on",
                    "`value-dim` is for the `attend` that writes",
                ],
            ),
            (
                "heads that do not divide",
                &[
                    "`linear.forward-heads` on",
                    "`lm_head.weight` is [576, 64]: 576 rows are not 7 heads",
                ],
            ),
            (
                "heads of another width",
                &["`lm_head.weight` is [576, 64]: expected [tokens, 4, 64]"],
            ),
            (
                "a recurrence of heads that do not fit",
                &[
                    "`batch.recurrent` on",
                    "3 value heads of 16 elements cannot share 4 key heads of 16",
                ],
            ),
            (
                "a gate of another shape",
                &[
                    "`batch.recurrent` on",
                    "the gate must be [",
                    ", 4], one for each value head",
                ],
            ),
            (
                "recur twice",
                &["number 0 was taken by an earlier `batch.recurrent` of this call"],
            ),
            ("attend twice", &["`batch.attend` on", "number 0 was taken"]),
            ("values twice", &["`batch.attend` on", "values are given, and"]),
            ("no values", &["`batch.attend` on", "no values are given"]),
            (
                "values wider than keys",
                &["`batch.attend` on", "`value-dim` is 17"],
            ),
            ("values of nothing", &["`batch.attend` on", "`value-dim` is 0"]),
            (
                "a mark that is not there",
                &["`batch.mark` asks for `nowhere`", "have none"],
            ),
            ("a layer out of bounds", &["cache 4096 was named"]),
            (
                "logits for every token",
                &["logits are float[", ", 576], expected float[1, vocabulary]"],
            ),
            (
                "no logits",
                &["logits are float[1], expected float[1, vocabulary]"],
            ),
            (
                "whole logits",
                &["logits are int[1, 576], expected float[1, vocabulary]"],
            ),
            // What only values can show, while its program runs.
            (
                "a row out of bounds",
                &["while running", "`take-rows`: index 9999"],
            ),
            (
                "a row before the first",
                &["while running", "`put-rows`: index -1"],
            ),
            (
                "an element out of bounds",
                &["while running", "`gather-last`: index -5"],
            ),
            ("narrower heads when decoding", &["while running", "layer 0"]),
            ("another layer when decoding", &["while running", "layer 1"]),
        ],
    );
}

#[test]
fn encode_prompt() {
    let kept: &[&str] = &["an encoder's prompt has no caches and no wanted rows"];
    check(
        "network.encode-prompt",
        &[
            LOOP,
            PANIC,
            REFUSE,
            ("a cache", kept),
            (
                "a cache read",
                &["cache 0, to which no `attend` of this call has written"],
            ),
            ("a convolution", kept),
            ("wanted rows", kept),
            ("context", &["these sequences have no context"]),
            (
                "too few rows",
                &["rows of context are float[5, 64], expected float[6, hidden]"],
            ),
            (
                "heads",
                &["rows of context are float[6, 4, 16], expected float[6, hidden]"],
            ),
            ("another number", &["not a function of shapes alone"]),
        ],
    );
}

#[test]
fn output() {
    check(
        "processor.output",
        &[LOOP, MEMORY, STACK, PANIC, TENSOR, WEIGHT, FORGED],
    );
}

/// What is found later than in the function that caused it, or by another part of the host.
#[test]
fn lies_that_come_out_later() {
    let mut good = Good::open();
    let cases = [
        (
            "plan: a token that is none",
            concat!(
                "plugin `hostile` ",
                env!("CARGO_PKG_VERSION"),
                ", `network.forward`: while running"
            ),
        ),
        (
            "plan: other pixels",
            concat!(
                "plugin `hostile` ",
                env!("CARGO_PKG_VERSION"),
                ", `network.encode`: operation"
            ),
        ),
        (
            "encode: features of another width",
            "features of set 0 are 48 wide, the rows 64",
        ),
        ("forward: more than this machine has", "the request needs "),
        ("encode: one pixel made many", "the request needs "),
        ("encode: an estimate that wraps", "the request needs "),
        (
            "pixels: a thin picture",
            "pictures and pixels take more than the 1024 MiB that they may",
        ),
        ("plan: write long lines", "tired of writing"),
        (
            "output: a flood of text",
            "its text for this answer grows too large",
        ),
        ("forward: logits that are no numbers", "logit"),
        (
            "plan: constants for each size",
            "that the host keeps for one request",
        ),
        ("plan: a prompt for days", "3000000 tokens"),
        ("plan: variables without end", "values, more than 131072"),
        ("configure: tokens without end", "`tokenizers.add`: "),
    ];
    for (told, words) in cases {
        match misbehave(told, &good.request) {
            Ok(report) => panic!("{told}: was answered with {:?}", report.output.text),
            Err(error) => assert!(error.contains(words), "{told}: {error}"),
        }
        good.check(told);
    }
}

/// Odd, and the plugin's own affair.
#[test]
fn what_harms_nobody_is_let_pass() {
    let mut good = Good::open();
    for told in [
        "pixels: a far corner",
        "plan: positions at the end",
        "encode: attention of nothing",
        "forward: what is not a number",
    ] {
        let answer = misbehave(told, &good.request);
        assert!(answer.is_ok(), "{told}: {answer:?}");
        good.check(told);
    }
}
