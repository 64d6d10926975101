//! What a line of a chat asks for: words for the model, or a command that begins with a slash.

use std::path::PathBuf;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Nothing.
    Nothing,
    /// Words for the model.
    Words(String),
    /// A picture for the next message.
    Image(PathBuf),
    /// Another system message; `None`: none.
    System(Option<String>),
    /// The conversation, to a file.
    Save(PathBuf),
    /// Begin again.
    Reset,
    /// Forget the last exchange.
    Drop,
    /// Tell of the commands.
    Help,
    /// End.
    Quit,
}

/// What a line is when it is nothing of that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No such command.
    #[error(
        "there is no command `/{name}`\n\nhint: `/help` lists the commands; words that begin with a slash are written with two: `//{name}`"
    )]
    Unknown {
        /// What it was called.
        name: String,
    },
    /// A file was to be named.
    #[error("`/{command}` needs the name of a file, like `/{command} {example}`")]
    NoFile {
        /// The command.
        command: &'static str,
        /// A name.
        example: &'static str,
    },
    /// More than the command takes.
    #[error("`/{command}` stands alone, found `{found}` behind it")]
    NotAlone {
        /// The command.
        command: &'static str,
        /// What was behind it.
        found: String,
    },
}

/// What `/help` says.
pub const HELP: &str = "\
/image FILE    attach a picture to the next message; an address (https://…) works too
/system TEXT   set the system message; without a text: have none
/save FILE     write the conversation: .json or .md, never over a file that is there
/drop          forget the last question and its answer
/reset         forget the whole conversation, the system message excepted
/help          this
/quit          end (as Ctrl-D does)
//TEXT         a message that begins with a slash
Ctrl-C stops an answer; at the prompt it clears the line.
";

/// Reads a line.
pub fn parse(line: &str) -> Result<Input, CommandError> {
    let line = line.trim();
    let Some(command) = line.strip_prefix('/') else {
        return Ok(match line {
            "" => Input::Nothing,
            words => Input::Words(words.to_owned()),
        });
    };
    if command.starts_with('/') {
        return Ok(Input::Words(command.to_owned()));
    }
    let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let rest = rest.trim();
    let alone = |command, input| match rest {
        "" => Ok(input),
        found => Err(CommandError::NotAlone {
            command,
            found: found.to_owned(),
        }),
    };
    let file = |command, example| match unquoted(rest) {
        "" => Err(CommandError::NoFile { command, example }),
        name => Ok(PathBuf::from(name)),
    };
    match name {
        "image" => file("image", "photo.jpg").map(Input::Image),
        "system" => Ok(Input::System((!rest.is_empty()).then(|| rest.to_owned()))),
        "save" => file("save", "talk.md").map(Input::Save),
        "reset" => alone("reset", Input::Reset),
        "drop" => alone("drop", Input::Drop),
        "help" => alone("help", Input::Help),
        "quit" => alone("quit", Input::Quit),
        name => Err(CommandError::Unknown {
            name: name.to_owned(),
        }),
    }
}

/// Without the quotes that terminals put around a file that is dropped on them.
fn unquoted(name: &str) -> &str {
    ['\'', '"']
        .into_iter()
        .find_map(|quote| name.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_read() {
        let words = |text: &str| Ok(Input::Words(text.to_owned()));
        for (line, expected) in [
            ("", Ok(Input::Nothing)),
            (" \t", Ok(Input::Nothing)),
            (" What is this? ", words("What is this?")),
            ("a /quit", words("a /quit")),
            ("//etc/fstab: what is it?", words("/etc/fstab: what is it?")),
            ("/image a b.png", Ok(Input::Image("a b.png".into()))),
            ("/image 'a b.png'", Ok(Input::Image("a b.png".into()))),
            ("/image \"it's.png\"", Ok(Input::Image("it's.png".into()))),
            ("/image 'odd.png", Ok(Input::Image("'odd.png".into()))),
            ("/image '", Ok(Input::Image("'".into()))),
            (
                "/system  Be brief. ",
                Ok(Input::System(Some("Be brief.".to_owned()))),
            ),
            ("/system", Ok(Input::System(None))),
            ("/save\ttalk.md", Ok(Input::Save("talk.md".into()))),
            ("/reset", Ok(Input::Reset)),
            ("/drop ", Ok(Input::Drop)),
            ("/help", Ok(Input::Help)),
            ("/quit", Ok(Input::Quit)),
        ] {
            assert_eq!(parse(line), expected, "{line:?}");
        }
    }

    #[test]
    fn what_is_no_command_is_told() {
        for (line, part) in [
            ("/etc/fstab", "no command `/etc/fstab`"),
            ("/", "no command `/`"),
            ("/Quit", "no command `/Quit`"),
            ("/image", "like `/image photo.jpg`"),
            ("/save ''", "like `/save talk.md`"),
            ("/quit now", "`/quit` stands alone, found `now`"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(part), "{line:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read(line in "\\PC*", command in "/?/(image|system|save|drop|quit)?['\" \t]*\\PC*") {
            for line in [&line, &command] {
                match parse(line) {
                    Ok(Input::Words(words)) => prop_assert!(line.contains(&words) && !words.is_empty()),
                    Ok(Input::Nothing) => prop_assert_eq!(line.trim(), ""),
                    Ok(Input::Image(path) | Input::Save(path)) => prop_assert!(!path.as_os_str().is_empty()),
                    Ok(_) | Err(_) => prop_assert!(line.trim().starts_with('/')),
                }
            }
        }
    }
}
