//! Names of the contract as C and Rust write them.

/// `max-pool` as `max_pool`.
pub fn snake(name: &str) -> String {
    name.replace('-', "_")
}

/// `max-pool` as `MAX_POOL`.
pub fn shouted(name: &str) -> String {
    snake(name).to_uppercase()
}

/// `max-pool` as `MaxPool`.
pub fn camel(name: &str) -> String {
    let mut camel = String::new();
    for word in name.split('-') {
        let (first, rest) = word.split_at(1);
        camel += &first.to_uppercase();
        camel += rest;
    }
    camel
}

/// A parameter as Rust may call it.
pub fn parameter(name: &str) -> String {
    match name {
        "self" => "this".to_owned(),
        name => snake(name),
    }
}

/// A field or parameter as C and C++ may call it.
pub fn in_c(name: &str) -> String {
    const KEYWORDS: [&str; 10] = [
        "class", "default", "delete", "explicit", "export", "new", "operator", "private", "template", "this",
    ];
    match KEYWORDS.contains(&name) {
        true => format!("{name}_"),
        false => snake(name),
    }
}
