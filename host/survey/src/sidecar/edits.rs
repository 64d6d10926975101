//! Texts that are put into a packet, and taken out of it.

use std::ops::Range;

use quick_xml::escape::escape;

use crate::xmp::{DC, Element, Packet, RDF, list};

/// Changes of a packet, made all at once.
pub struct Edits<'a> {
    packet: &'a Packet<'a>,
    made: Vec<(Range<usize>, String)>,
    /// Whole properties, for the first description.
    properties: String,
}

impl<'a> Edits<'a> {
    pub fn new(packet: &'a Packet<'a>) -> Self {
        Self {
            packet,
            made: Vec::new(),
            properties: String::new(),
        }
    }

    /// Texts in languages that have none; gives what was put in. What people wrote stays: where they wrote without naming a language, it is
    /// taken for the first one asked for.
    pub fn alternatives(&mut self, name: &str, texts: &[(String, String)]) -> Vec<(String, String)> {
        if !self.takes_items(DC, name) {
            return Vec::new();
        }
        let known = self.packet.items(DC, name);
        let is_said = known.iter().any(|(_, item)| !item.text.trim().is_empty());
        let has = |language: &str| {
            let mut known = known.iter();
            known.any(|(known, _)| known.is_some_and(|known| known.eq_ignore_ascii_case(language)))
        };
        // A text without a language, or the default where no named language has the same: somebody's, in a language that nobody names.
        let is_named = |language: Option<&str>| language.is_some_and(|language| language != "x-default");
        let is_unnamed = known.iter().any(|(language, item)| {
            let mut others = known.iter().filter(|(language, _)| is_named(*language));
            !is_named(*language)
                && !item.text.trim().is_empty()
                && !others.any(|(_, other)| other.text == item.text)
        });
        let mut fresh: Vec<(String, String)> = Vec::new();
        for (index, (language, text)) in texts
            .iter()
            .enumerate()
            .filter(|(_, (_, text))| !text.trim().is_empty())
        {
            if index == 0 && !has("x-default") && !is_said {
                fresh.push(("x-default".to_owned(), text.clone()));
            }
            let is_theirs = index == 0 && is_unnamed;
            if !has(language) && !is_theirs && !fresh.iter().any(|(known, _)| known == language) {
                fresh.push((language.clone(), text.clone()));
            }
        }
        let item = |rdf: &str, (language, text): &(String, String)| {
            format!(
                "<{rdf}li xml:lang=\"{}\">{}</{rdf}li>",
                escaped(language),
                escaped(text)
            )
        };
        self.put_items(DC, "dc", name, "Alt", &fresh, &item);
        fresh
    }

    /// Words that a list has not, case aside; gives them.
    pub fn bag(&mut self, space: &str, prefix: &str, name: &str, words: &[String]) -> Vec<String> {
        if !self.takes_items(space, name) {
            return Vec::new();
        }
        let known = self.packet.texts(space, name);
        let mut fresh: Vec<String> = Vec::new();
        for word in words {
            let same = |other: &String| other.to_lowercase() == word.to_lowercase();
            if !word.trim().is_empty() && !known.iter().any(same) && !fresh.iter().any(same) {
                fresh.push(word.clone());
            }
        }
        let item = |rdf: &str, word: &String| format!("<{rdf}li>{}</{rdf}li>", escaped(word));
        self.put_items(space, prefix, name, "Bag", &fresh, &item);
        fresh
    }

    /// A property of one value, where there is none; gives what was put in.
    pub fn once(&mut self, space: &str, prefix: &str, name: &str, value: &str) -> Option<String> {
        let is_there =
            self.packet.property(space, name).is_some() || self.packet.value(space, name).is_some();
        if value.is_empty() || is_there {
            return None;
        }
        self.properties += &format!(
            "   <{prefix}:{name} xmlns:{prefix}=\"{space}\">{}</{prefix}:{name}>\n",
            escaped(value)
        );
        Some(value.to_owned())
    }

    /// Takes texts out, each with its language.
    pub fn remove_alternatives(&mut self, name: &str, texts: &[(String, String)]) {
        let is_ours = |item: &Element| {
            let mut texts = texts.iter();
            texts.any(|(language, text)| {
                item.language() == Some(language.as_str()) && item.text == stored(text)
            })
        };
        self.remove_items(DC, name, &is_ours);
    }

    /// Takes words out.
    pub fn remove_words(&mut self, space: &str, name: &str, words: &[String]) {
        let is_ours = |item: &Element| words.iter().any(|word| item.text == stored(word));
        self.remove_items(space, name, &is_ours);
    }

    /// Takes a property out that has this value.
    pub fn remove_value(&mut self, space: &str, name: &str, value: Option<&str>) {
        if let (Some(value), Some(property)) = (value, self.packet.property(space, name))
            && property.text == stored(value)
        {
            self.remove(property);
        }
    }

    /// Everything that was put in and taken out.
    pub fn apply(mut self) -> Vec<u8> {
        if !self.properties.is_empty()
            && let Some(description) = self.packet.descriptions().next()
        {
            let properties = std::mem::take(&mut self.properties);
            self.put(description, &properties);
        }
        self.made.sort_by_key(|(range, _)| range.start);
        let mut text = self.packet.text.to_owned();
        for (range, new) in self.made.into_iter().rev() {
            text.replace_range(range, &new);
        }
        text.into_bytes()
    }

    /// Whether a property has a list, or none of it is there; one that stands there in another form is somebody's, and stays.
    fn takes_items(&self, space: &str, name: &str) -> bool {
        let is_attribute = self
            .packet
            .descriptions()
            .any(|description| description.attribute(space, name).is_some());
        let is_other = self
            .packet
            .property(space, name)
            .is_some_and(|property| list(property).is_none() && !is_blank(property));
        !is_attribute && !is_other
    }

    /// Items into a property's list, which is made where it is not there.
    fn put_items<T>(
        &mut self,
        space: &str,
        prefix: &str,
        name: &str,
        kind: &str,
        items: &[T],
        shown: &dyn Fn(&str, &T) -> String,
    ) {
        if items.is_empty() {
            return;
        }
        let lines = |rdf: &str| -> String {
            let lines = items.iter().map(|item| format!("     {}\n", shown(rdf, item)));
            lines.collect()
        };
        let whole = || {
            format!(
                "    <rdf:{kind} xmlns:rdf=\"{RDF}\">\n{}    </rdf:{kind}>\n",
                lines("rdf:")
            )
        };
        let property = self.packet.property(space, name);
        match property.map(|property| (property, list(property))) {
            Some((_, Some(list))) => self.put(list, &lines(&with_colon(&list.prefix))),
            Some((property, None)) => self.put(property, &whole()),
            None => {
                let body = whole();
                self.properties += &format!(
                    "   <{prefix}:{name} xmlns:{prefix}=\"{space}\">\n{body}   </{prefix}:{name}>\n"
                );
            }
        }
    }

    /// Takes items out of a property's list, and the property where nothing else is in it.
    fn remove_items(&mut self, space: &str, name: &str, is_ours: &dyn Fn(&Element) -> bool) {
        let Some(property) = self.packet.property(space, name) else {
            return;
        };
        let Some(list) = list(property) else { return };
        let ours: Vec<&Element> = list
            .children
            .iter()
            .filter(|item| item.is(RDF, "li") && is_ours(item))
            .collect();
        match ours.len() {
            0 => {}
            all if all == list.children.len() && property.children.len() == 1 => self.remove(property),
            _ => ours.into_iter().for_each(|item| self.remove(item)),
        }
    }

    /// Takes an element out, with its line where it stands alone on it.
    fn remove(&mut self, element: &Element) {
        let text = self.packet.text;
        let (mut from, mut to) = (element.start.start, element.end.end);
        let indent = text[..from].trim_end_matches([' ', '\t']).len();
        let rest = &text[to..];
        let is_line_begun = text[..indent].ends_with('\n');
        let end = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n'));
        if let (true, Some(end)) = (is_line_begun, end) {
            (from, to) = (indent, text.len() - end.len());
        }
        self.made.push((from..to, String::new()));
    }

    /// Text before an element's end.
    fn put(&mut self, element: &Element, text: &str) {
        if !element.is_closed_at_once() {
            // Before the white space that indents the end.
            let inside = &self.packet.text[element.start.end..element.end.start];
            let kept = inside.trim_end_matches([' ', '\t']).len();
            let at = element.start.end + kept;
            let line = if inside[..kept].ends_with('\n') { "" } else { "\n" };
            self.made.push((at..at, format!("{line}{text}")));
            return;
        }
        // `<a/>` becomes `<a>…</a>`.
        let start = &self.packet.text[element.start.clone()];
        let slash = start.rfind('/').unwrap_or(start.len() - 1);
        let name = format!("{}{}", with_colon(&element.prefix), element.name);
        let range = element.start.start + slash..element.start.end;
        self.made.push((range, format!(">\n{text}</{name}>")));
    }
}

/// Whether nothing stands in an element.
fn is_blank(element: &Element) -> bool {
    element.children.is_empty() && element.text.trim().is_empty() && element.attributes.is_empty()
}

fn with_colon(prefix: &str) -> String {
    match prefix {
        "" => String::new(),
        prefix => format!("{prefix}:"),
    }
}

/// A text as XML can hold it: without control characters, and the two that are no characters.
fn stored(text: &str) -> String {
    let allowed = |c: &char| !matches!(c, '\0'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    text.chars().filter(allowed).collect()
}

fn escaped(text: &str) -> String {
    escape(stored(text).as_str()).into_owned()
}
