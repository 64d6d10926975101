//! Each rule on texts that show what it looks for, and on texts that look like it and do not.

use monocle_survey::findings::{Asked, Rule, Said, find};
use proptest::prelude::*;

const INSTRUCTIONS: &str = "Describe this picture for a catalogue in exactly three parts: a title of five to twelve words, a factual description of \
                            one to three sentences, and keywords separated by commas.";
const CONTEXT: &str = "Taken near the harbour of Whitby on 14 August 2019. The ruins of St Hilda's Abbey stand above Church Street.";

fn asked(structured: bool) -> Asked {
    Asked {
        prompt: INSTRUCTIONS.to_owned(),
        context: CONTEXT.to_owned(),
        structured,
        keywords: structured.then_some((3, 6)),
    }
}

fn has(rule: Rule, structured: bool, text: &str) -> bool {
    let said = Said {
        text: text.to_owned(),
        is_cut: false,
    };
    find(&asked(structured), &said)
        .iter()
        .any(|finding| finding.rule == rule)
}

/// The rule finds something in each of the first, and nothing in any of the others.
fn told_apart(rule: Rule, showing: &[&str], alike: &[&str]) {
    for text in showing {
        assert!(has(rule, false, text), "{} is not found in {text:?}", rule.name());
    }
    for text in alike {
        assert!(!has(rule, false, text), "{} is found in {text:?}", rule.name());
    }
}

#[test]
fn empty() {
    told_apart(Rule::Empty, &["", " \n", "***", "…"], &["a", "7", "赤"]);
}

#[test]
fn cut() {
    let said = Said {
        text: "A church stands on".to_owned(),
        is_cut: true,
    };
    assert!(
        find(&asked(false), &said)
            .iter()
            .any(|finding| finding.rule == Rule::Cut)
    );
    assert!(!has(Rule::Cut, false, "A church stands on"));
}

#[test]
fn repeated_token() {
    let graves = format!("A yard with {}", "graves, ".repeat(9));
    told_apart(
        Rule::RepeatedToken,
        &[&graves, "stone stone stone stone stone stone"],
        &[
            "ha ha ha ha ha ha",
            "no no no no",
            "stone, stone, stone, stone, stone",
            "The rows 1 1 1 1 1 1 1 are equal.",
        ],
    );
}

#[test]
fn repeated_phrase() {
    let run = "a red boat on the water and ".repeat(5);
    let list = format!("Keywords: {}", "stone wall, green grass, ".repeat(8));
    let stems = "Keywords: abbey wall, abbey gate, abbey door, abbey yard, abbey roof, abbey arch, abbey view, abbey stone, abbey path";
    let unspaced = "红色的小船在水上。".repeat(5);
    told_apart(
        Rule::RepeatedPhrase,
        &[&run, &list, stems, &unspaced],
        &[
            "row, row, row your boat, gently down the stream",
            "Keywords: blue sky, blue water, red boat, red flag, old wall, old gate, harbour, pier, gull, rope, mast, sail, net",
            "The boat is red. The flag is red. The sky is blue, the water is blue.",
            "红色的小船在水上，天空是蓝色的，远处有一座古老的教堂和几棵大树。",
        ],
    );
}

#[test]
fn repeated_line() {
    let line = "A gull sits on a post.\n";
    told_apart(
        Rule::RepeatedLine,
        &[&line.repeat(3)],
        &[
            &line.repeat(2),
            "----------------------\n----------------------\n----------------------\n",
            "- red\n- red\n- red\n",
        ],
    );
}

#[test]
fn prompt_echo() {
    told_apart(
        Rule::PromptEcho,
        &[
            INSTRUCTIONS,
            "Here is: a title of five to twelve words, a factual description of one to three sentences, then.",
        ],
        &[
            "Title: A harbour at noon. The catalogue has three parts, separated by commas.",
            CONTEXT,
        ],
    );
}

#[test]
fn context_ignored() {
    let blind =
        "A ruined building of stone with pointed arches rises from a green hill under a cloudy sky at noon.";
    let known =
        "The ruined abbey of Whitby, built of stone, rises from a green hill under a cloudy sky at noon.";
    told_apart(Rule::ContextIgnored, &[blind], &[known, "A ruin."]);
}

#[test]
fn context_echoed() {
    let asked = Asked {
        context: CONTEXT.to_owned()
            + " Twelve fishing cobles wait beside lobster pots, painted hulls, coiled ropes and yellow floats.",
        ..asked(false)
    };
    let is_echo = |text: &str| {
        let said = Said {
            text: text.to_owned(),
            is_cut: false,
        };
        find(&asked, &said)
            .iter()
            .any(|finding| finding.rule == Rule::ContextEchoed)
    };
    let own = "Gulls circle weathered transepts while tourists carrying bright umbrellas climb steep steps beneath gathering clouds.";
    // The context in other order: all words of meaning are its.
    assert!(is_echo(
        "Yellow floats, coiled ropes, painted hulls and lobster pots beside twelve fishing cobles, with ruins of the Abbey above Church Street."
    ));
    // 35 words in a row, and 15 others: more than a fifth of the words of meaning are new, and it is an echo for all that.
    assert!(is_echo(&format!("{} {own}", asked.context)));
    assert!(!is_echo(&format!(
        "The harbour of Whitby, and the ruins of the Abbey. {own}"
    )));
    // Six words of meaning, or five.
    assert!(is_echo(
        "Ruins of the Abbey above Church Street, and lobster pots."
    ));
    assert!(
        !is_echo("Ruins of the Abbey above Church Street."),
        "too short to tell"
    );
}

#[test]
fn refusal() {
    told_apart(
        Rule::Refusal,
        &[
            "I'm sorry, but I can't help with identifying people.",
            "I am unable to view images directly.",
            "As an AI language model, I cannot see or analyze pictures.",
        ],
        &[
            "I can't see a dog in this picture.",
            "A man who cannot help laughing, and a dog.",
            "A church. It is old. The sky is grey. I cannot identify the flag.",
            "A sign says that visitors cannot access the tower.",
        ],
    );
}

#[test]
fn special_tokens() {
    told_apart(
        Rule::SpecialTokens,
        &[
            "A church.<|im_end|>",
            "[INST] Describe",
            "A cat</s>",
            "<end_of_utterance>",
            "<unk> a",
            "◁think▷ A church",
        ],
        &[
            "HTML has <image href=\"a.png\"> and <b>.",
            "Was <s>5</s> now 4",
            "if a <| b |> c",
            "```\n<|im_end|>\n```",
            "[Image of a church]",
        ],
    );
}

#[test]
fn byte_markers() {
    told_apart(
        Rule::ByteMarkers,
        &[
            "TheĠchurchĠstands",
            "A church.ĊĊIt",
            "<0xE2><0x80>",
            "▁The▁church",
            "caf\u{fffd}",
        ],
        &[
            "Ġorġ lives in Ħaġar Qim, at Ġgantija.",
            "load ▁▂▃▅▇",
            "0xE2 is a byte",
        ],
    );
}

#[test]
fn invented_turn() {
    told_apart(
        Rule::InventedTurn,
        &[
            "A church.\nUser: And the sky?\nAssistant: Blue.",
            "A church.\n\nQuestion: What is it?\nAnswer: A church.",
            "It is red.\n### Human:\nWhat?",
        ],
        &[
            "Question: the whole picture raises it.",
            "The sign reads: user: admin",
            "A poster.\nThe speaker says \"user: go home\".",
            "Title: A question\nDescription: An answer\nKeywords: q, a",
        ],
    );
}

#[test]
fn reasoning_leaked() {
    told_apart(
        Rule::ReasoningLeaked,
        &[
            "<think>Hm</think>A church.",
            "Okay, let's see what is here.",
            "Got it, let me analyze the image.",
            "So the user wants a title.",
        ],
        &[
            "Let it snow: a church in winter.",
            "A user interface with a wait sign.",
            "The wait is over for a bride.",
            "First light over the harbour.",
        ],
    );
}

#[test]
fn language_mixing() {
    told_apart(
        Rule::LanguageMixing,
        &[
            "A church with 美丽的古老教堂 in the background.",
            "The church stands on the hill with a tower. Die Kirche ist auf dem Hügel und mit einem Turm zu sehen.",
        ],
        &[
            "A sign says \"東京都新宿区歌舞伎町\" in red.",
            "A café in the Rue de la Paix with a crème brûlée, à la carte.",
            "The church of St Hilda's stands on the hill. The tower is of stone, and the sky is grey.",
        ],
    );
}

#[test]
fn verbose() {
    told_apart(Rule::Verbose, &[&"word ".repeat(231)], &[&"word ".repeat(230)]);
}

#[test]
fn excessive_markdown() {
    told_apart(
        Rule::ExcessiveMarkdown,
        &[
            "# a\n## b\n## c\n## d\n",
            &"- item\n".repeat(15),
            &"**a** ".repeat(15),
            "| a | b |\n|---|---|\n| 1 | 2 |\n",
        ],
        &[
            "## Title\nx\n## Description\ny\n## Keywords\nz",
            &"- item\n".repeat(14),
            // A keyword a line.
            &format!(
                "Title: A ruin\nDescription: By the sea.\nKeywords:\n{}",
                "- old wall\n".repeat(30)
            ),
            "a | b",
            "#church #tower #sky #grass",
        ],
    );
}

/// Thresholds of `docs/findings.md`: what just reaches one is found, and what misses it by one is not.
#[test]
fn thresholds_are_those_of_the_page() {
    let list = |items: &[&str]| items.join(", ");
    let own = ["elm", "oak", "ash", "fir", "yew", "bay", "fig", "box", "pine"];
    let repeated = |times: usize| {
        let new = &own[..15 - 1 - times];
        list(&[&vec!["sea"; times + 1], new].concat())
    };
    let stems = |times: usize| {
        let items = &["wall", "gate", "door", "yard", "roof", "arch", "view", "path"][..times];
        let items: Vec<String> = items.iter().map(|item| format!("abbey {item}")).collect();
        items.join(", ")
    };
    let phrase = "a red boat on the water and ";
    let line = |line: &str| format!("{line}\n").repeat(3);
    let bold = |times: usize| "**a** ".repeat(times);
    let foreign = |letters: usize| {
        format!(
            "A sign on an old wooden house: {}",
            &"東京都新宿区"[..3 * letters]
        )
    };
    let late = |words: usize| format!("{} The user wants a title.", "stone ".repeat(words).trim());
    for (rule, reaches, misses) in [
        (
            Rule::PromptEcho,
            // Twelve words of the instructions, and eleven.
            "Describe this picture for a catalogue in exactly three parts: a title!".to_owned(),
            "Describe this picture for a catalogue in exactly three parts: a red one!".to_owned(),
        ),
        (Rule::RepeatedToken, "granite ".repeat(6), "granite ".repeat(5)),
        // Six times and 24 characters, or 23.
        (Rule::RepeatedToken, "wall ".repeat(6), "sea ".repeat(7)),
        (
            Rule::RepeatedPhrase,
            phrase.repeat(4),
            phrase.repeat(3) + "then it sinks",
        ),
        // Four times and 63 characters, or 51.
        (
            Rule::RepeatedPhrase,
            "stone wall, ".repeat(6),
            "old sea, ".repeat(6),
        ),
        // 6 of 15 items are 40 %.
        (Rule::RepeatedPhrase, repeated(6), repeated(5)),
        (Rule::RepeatedPhrase, stems(8), stems(7)),
        (
            Rule::RepeatedLine,
            line("A gull is there."),
            line("A gull is here."),
        ),
        (
            Rule::ContextIgnored,
            // Fifteen words, and fourteen.
            "A ruined building of stone with pointed arches rises from a green hill at noon.".to_owned(),
            "A ruined building of stone with pointed arches rises from a green hill today.".to_owned(),
        ),
        (
            Rule::Refusal,
            "Well. I cannot identify the flag.".to_owned(),
            "Well. It is old. I cannot identify the flag.".to_owned(),
        ),
        (Rule::ExcessiveMarkdown, bold(15), bold(14)),
        (
            Rule::ExcessiveMarkdown,
            "| a | b |\n".repeat(3),
            "| a | b |\n".repeat(2),
        ),
        (Rule::LanguageMixing, foreign(6), foreign(5)),
        // Within 400 characters, or after 402.
        (Rule::ReasoningLeaked, late(60), late(67)),
    ] {
        told_apart(rule, &[&reaches], &[&misses]);
    }
    // Three names of the context, or two.
    let ignored = |context: &str| {
        let asked = Asked {
            context: context.to_owned(),
            ..asked(false)
        };
        let said = Said {
            text: "A ruined building of stone with pointed arches rises from a green hill at noon."
                .to_owned(),
            is_cut: false,
        };
        find(&asked, &said)
            .iter()
            .any(|finding| finding.rule == Rule::ContextIgnored)
    };
    assert!(ignored("Taken at Whitby near Robin Hood in 2019."));
    assert!(!ignored("Taken at Whitby in 2019."));
}

#[test]
fn parts_and_keywords() {
    let entry =
        |keywords: &str| format!("Title: A ruin\nDescription: A ruin by the sea.\nKeywords: {keywords}");
    assert!(has(Rule::StructureMissed, true, "A ruin by the sea."));
    assert!(!has(Rule::StructureMissed, true, &entry("ruin")));
    assert!(!has(Rule::StructureMissed, false, "A ruin by the sea."));
    assert!(has(Rule::KeywordCount, true, &entry("a1, b1")));
    assert!(has(
        Rule::KeywordCount,
        true,
        &entry("a1, b1, c1, d1, e1, f1, g1")
    ));
    assert!(!has(Rule::KeywordCount, true, &entry("a1, b1, c1")));
    assert!(!has(Rule::KeywordCount, true, &entry("a1, b1, c1, d1, e1, f1")));
    assert!(has(Rule::KeywordDuplicates, true, &entry("ruin, sea, Ruin")));
    assert!(!has(Rule::KeywordDuplicates, true, &entry("ruin, ruins, sea")));
}

proptest! {
    #[test]
    fn any_text_can_be_judged(text in "\\PC{0,400}", context in "\\PC{0,200}") {
        let asked = Asked { context, ..asked(true) };
        let said = Said { text, is_cut: false };
        let findings = find(&asked, &said);
        let grade = monocle_survey::grade::grade(&asked, &said, &findings);
        prop_assert!(grade.points <= 100);
    }
}
