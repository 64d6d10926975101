//! Paths in the variables of the environment, as all Hugging Face tools read them.

/// `~` at the beginning, then `$NAME` and `${NAME}` anywhere, in the way of Python's `os.path.expanduser` and `os.path.expandvars`: what
/// is not set stays as it stands, and what was put in is not read again.
pub fn expand(path: &str, home: Option<&str>, variable: impl Fn(&str) -> Option<String>) -> String {
    // `~name`, another user's home, is left alone: only the system's user list knows it.
    let rest = path
        .strip_prefix('~')
        .filter(|rest| rest.is_empty() || rest.starts_with(std::path::is_separator));
    let path = match (rest, home) {
        (Some(rest), Some(home)) => format!("{}{rest}", home.trim_end_matches(std::path::is_separator)),
        _ => path.to_owned(),
    };
    if path.is_empty() {
        return std::path::MAIN_SEPARATOR_STR.to_owned();
    }
    let mut expanded = String::with_capacity(path.len());
    let mut rest = path.as_str();
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        let (name, length) = name(after);
        match variable(name).filter(|_| !name.is_empty()) {
            Some(value) => expanded.push_str(&value),
            None => {
                expanded.push('$');
                expanded.push_str(&after[..length]);
            }
        }
        rest = &after[length..];
    }
    expanded.push_str(rest);
    expanded
}

/// The name that stands behind a `$`, and how many bytes it takes with its braces; nothing where no name stands.
fn name(after: &str) -> (&str, usize) {
    if let Some((name, _)) = after.strip_prefix('{').and_then(|after| after.split_once('}')) {
        return (name, name.len() + 2);
    }
    let letter = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let length = after.find(|character| !letter(character)).unwrap_or(after.len());
    (&after[..length], length)
}
