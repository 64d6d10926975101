//! Signs that an answer is none: it echoes the request, refuses it, or passes over what it says.

use crate::flags::Flag;

/// Fewer words of the request than this may well be quoted.
const ECHOED_WORDS: usize = 8;
/// The share of the request that an echo has, in percent.
const ECHOED_SHARE: usize = 60;
/// An echo is looked for in so many words of the request.
const ECHO_WORDS: usize = 400;
/// Fewer names than this prove nothing.
const NAMES: usize = 3;
/// A shorter answer than this, in words, has no room for names.
const LONG_ANSWER: usize = 15;
/// A refusal comes at once: within so many words.
const REFUSAL_WORDS: usize = 40;

/// How a refusal begins.
const UNABLE: [&str; 12] = [
    "i'm not able to",
    "i am not able to",
    "i'm unable to",
    "i am unable to",
    "i cannot",
    "i can't",
    "i can not",
    "i won't",
    "i will not",
    "i'm not comfortable",
    "i must decline",
    "i'm sorry, but",
];
/// What is refused; "I cannot see a dog" is an answer.
const DEEDS: [&str; 19] = [
    "answer",
    "assist",
    "comment",
    "comply",
    "create",
    "describe",
    "discuss",
    "do that",
    "engage",
    "fulfil",
    "generate",
    "help",
    "identify",
    "make",
    "name",
    "process",
    "provide",
    "recognise",
    "recognize",
];

/// The flags that an answer's comparison with the user's last words gives.
pub fn find_request_flags(request: &str, answer: &str) -> Vec<Flag> {
    let found = [
        echo(request, answer),
        refusal(answer),
        passed_over(request, answer),
    ];
    found.into_iter().flatten().collect()
}

/// Words in lower case, without punctuation around them.
fn words(text: &str) -> Vec<String> {
    let bare = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    text.split_whitespace()
        .map(bare)
        .filter(|word| !word.is_empty())
        .collect()
}

/// Most of the request, word for word, at the answer's beginning.
fn echo(request: &str, answer: &str) -> Option<Flag> {
    let (mut request, answer) = (words(request), words(answer));
    request.truncate(ECHO_WORDS);
    let beginning = &answer[..answer.len().min(2 * request.len())];
    let enough = ECHOED_WORDS.max(request.len() * ECHOED_SHARE / 100);
    let run = |start: usize, from: usize| {
        let pairs = request[start..].iter().zip(&beginning[from..]);
        pairs.take_while(|(a, b)| a == b).count()
    };
    let starts = (0..request.len()).flat_map(|start| (0..beginning.len()).map(move |from| (start, from)));
    let longest = starts.map(|(start, from)| run(start, from)).max()?;
    (longest >= enough).then_some(Flag::PromptEcho { words: longest })
}

fn refusal(answer: &str) -> Option<Flag> {
    let beginning: Vec<&str> = answer.split_whitespace().take(REFUSAL_WORDS).collect();
    let beginning = beginning.join(" ").replace('\u{2019}', "'");
    let lower = beginning.to_lowercase();
    let sentence = lower.split_inclusive(['.', '!', '?']).find(|sentence| {
        let deed = |rest: &str| DEEDS.iter().any(|deed| rest.contains(deed));
        UNABLE
            .iter()
            .any(|unable| sentence.split_once(unable).is_some_and(|(_, rest)| deed(rest)))
    })?;
    Some(Flag::Refusal {
        sentence: sentence.trim().to_owned(),
    })
}

/// Names and numbers of the request, of which a long answer says none.
fn passed_over(request: &str, answer: &str) -> Option<Flag> {
    let said = words(answer);
    if said.len() < LONG_ANSWER {
        return None;
    }
    let mut names: Vec<String> = Vec::new();
    let mut begins = true;
    for word in request.split_whitespace() {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        let capital = !begins && bare.chars().next().is_some_and(char::is_uppercase);
        let number = bare.chars().filter(char::is_ascii_digit).count() >= 2;
        if (capital || number) && bare.chars().count() >= 3 && !names.iter().any(|name| name == bare) {
            names.push(bare.to_owned());
        }
        begins = word.ends_with(['.', '!', '?', ':', '\u{201d}', '"']);
    }
    let ignored = names.len() >= NAMES && names.iter().all(|name| !said.contains(&name.to_lowercase()));
    ignored.then_some(Flag::ContextIgnored { names })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: &str = "The photo was taken in Whitby on 14 August 2019, near St Mary's Church. Describe it for a catalogue.";

    #[test]
    fn an_echo_is_flagged_and_a_quotation_is_not() {
        let answer =
            "The photo was taken in Whitby on 14 August 2019, near St Mary's Church. Describe it for a";
        assert_eq!(
            find_request_flags(CONTEXT, answer),
            [Flag::PromptEcho { words: 18 }]
        );
        let answer =
            "It was taken in Whitby, near the church on the hill, and shows the sea and a boat at noon.";
        assert_eq!(find_request_flags(CONTEXT, answer), []);
        assert_eq!(find_request_flags("What is this?", "What is this? A cat."), []);
    }

    #[test]
    fn refusals_are_flagged_and_negations_are_not() {
        let refused = |answer: &str| {
            let flags = find_request_flags("Who is this?", answer);
            matches!(flags.as_slice(), [Flag::Refusal { .. }])
        };
        assert!(refused("I'm not able to identify the person in this image."));
        assert!(refused("I\u{2019}m sorry, but I can\u{2019}t help with that."));
        assert!(refused("Sorry. I cannot provide information about people."));
        assert!(!refused("I can't see a dog in this picture."));
        assert!(!refused("A man who cannot help laughing, it seems, and a dog."));
    }

    #[test]
    fn an_answer_that_says_nothing_of_the_context_is_flagged() {
        let answer = "A church stands on a hill above the sea. There are gravestones in front of it, and a boat far out.";
        let names = ["Whitby", "August", "2019", "Mary's", "Church"]
            .map(str::to_owned)
            .to_vec();
        // `church` is in the answer.
        assert_eq!(find_request_flags(CONTEXT, answer), []);
        let answer = answer.replace("church", "building");
        assert_eq!(
            find_request_flags(CONTEXT, &answer),
            [Flag::ContextIgnored { names }]
        );
        assert_eq!(
            find_request_flags(CONTEXT, "A building."),
            [],
            "too short to tell"
        );
        let request = "Describe this picture. Say what is in front. Then say what is behind.";
        assert_eq!(find_request_flags(request, &answer), [], "no names");
    }

    #[test]
    fn nothing_is_found_in_nothing() {
        assert_eq!(find_request_flags("", ""), []);
        assert_eq!(find_request_flags(CONTEXT, ""), []);
        assert_eq!(find_request_flags("", "A cat."), []);
    }
}
