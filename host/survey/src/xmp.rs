//! XMP packets, read with the place of everything in the text: so that a packet is changed by putting text into it, and all the rest of it stays
//! byte for byte.

use std::ops::Range;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use thiserror::Error;

/// RDF's own names.
pub const RDF: &str = "http://www.w3.org/1999/02/22-rdf-syntax-ns#";
/// Dublin Core: title, description, subject.
pub const DC: &str = "http://purl.org/dc/elements/1.1/";
/// Lightroom: keywords in levels.
pub const LR: &str = "http://ns.adobe.com/lightroom/1.0/";
/// XMP's own properties.
pub const XMP: &str = "http://ns.adobe.com/xap/1.0/";
/// Photoshop's: city, country.
pub const PHOTOSHOP: &str = "http://ns.adobe.com/photoshop/1.0/";
/// IPTC's core schema: the place within a city.
pub const IPTC: &str = "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/";
/// Where a packet's attributes `xml:…` are.
const XML: &str = "http://www.w3.org/XML/1998/namespace";

/// The deepest packet that is read.
const DEEPEST: usize = 64;
/// The longest packet that is read, in bytes.
pub const LONGEST: usize = 16 << 20;

/// Why a packet cannot be read.
#[derive(Debug, Error)]
pub enum XmpError {
    /// More than anybody writes.
    #[error("it has {found} bytes; expected {LONGEST} at most")]
    TooLong {
        /// How many.
        found: usize,
    },
    /// Another encoding, or no text.
    #[error("it is not UTF-8: byte {at} is wrong")]
    NotUtf8 {
        /// Where.
        at: usize,
    },
    /// No XML.
    #[error("it is no XML at byte {at}: {reason}")]
    NotXml {
        /// Where.
        at: u64,
        /// Why.
        reason: String,
    },
    /// Deeper than anybody writes.
    #[error("its elements are nested more than {DEEPEST} deep")]
    TooDeep,
    /// XML of another kind.
    #[error("it has no `rdf:RDF` with an `rdf:Description` in it")]
    NoDescription,
}

/// An element.
#[derive(Debug, Default)]
pub struct Element {
    /// The namespace.
    pub space: String,
    /// The name in it.
    pub name: String,
    /// The prefix that it is written with.
    pub prefix: String,
    /// Attributes: namespace, name, value. Declarations of namespaces are not among them.
    pub attributes: Vec<(String, String, String)>,
    /// What stands directly in it, unescaped.
    pub text: String,
    /// Elements in it.
    pub children: Vec<Element>,
    /// Where its start is.
    pub start: Range<usize>,
    /// Where its end is; the same as the start where it is one (`<a/>`).
    pub end: Range<usize>,
    /// Prefixes that mean something here.
    scope: Vec<(String, String)>,
}

impl Element {
    /// Whether it has this name.
    pub fn is(&self, space: &str, name: &str) -> bool {
        self.space == space && self.name == name
    }

    /// The first element in it of this name.
    pub fn child(&self, space: &str, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.is(space, name))
    }

    /// The value of an attribute.
    pub fn attribute(&self, space: &str, name: &str) -> Option<&str> {
        let mut attributes = self.attributes.iter();
        attributes.find_map(|(s, n, value)| (s == space && n == name).then_some(value.as_str()))
    }

    /// Its language.
    pub fn language(&self) -> Option<&str> {
        self.attribute(XML, "lang")
    }

    /// Whether it is `<a/>`.
    pub fn is_closed_at_once(&self) -> bool {
        self.start == self.end
    }
}

/// A packet.
#[derive(Debug)]
pub struct Packet<'a> {
    /// The text.
    pub text: &'a str,
    /// Everything in it.
    pub root: Element,
}

impl<'a> Packet<'a> {
    /// Reads a packet.
    pub fn read(bytes: &'a [u8]) -> Result<Self, XmpError> {
        if bytes.len() > LONGEST {
            return Err(XmpError::TooLong { found: bytes.len() });
        }
        let text = std::str::from_utf8(bytes).map_err(|error| XmpError::NotUtf8 {
            at: error.valid_up_to(),
        })?;
        let root = tree(text)?;
        let packet = Self { text, root };
        let has_description = packet.descriptions().next().is_some();
        has_description.then_some(packet).ok_or(XmpError::NoDescription)
    }

    /// The elements that properties stand in.
    pub fn descriptions(&self) -> impl Iterator<Item = &Element> {
        let top = self.root.children.iter();
        let inner = self.root.children.iter().flat_map(|top| &top.children);
        let rdf = top.chain(inner).filter(|element| element.is(RDF, "RDF"));
        rdf.flat_map(|rdf| &rdf.children)
            .filter(|element| element.is(RDF, "Description"))
    }

    /// A property that is an element.
    pub fn property(&self, space: &str, name: &str) -> Option<&Element> {
        self.descriptions()
            .find_map(|description| description.child(space, name))
    }

    /// A property of one value, element or attribute.
    pub fn value(&self, space: &str, name: &str) -> Option<String> {
        let attribute = self
            .descriptions()
            .find_map(|description| description.attribute(space, name));
        let element = || Some(self.property(space, name)?.text.as_str());
        attribute
            .or_else(element)
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
    }

    /// The items of a list, with their languages.
    pub fn items(&self, space: &str, name: &str) -> Vec<(Option<&str>, &Element)> {
        let Some(list) = self.property(space, name).and_then(|property| list(property)) else {
            return Vec::new();
        };
        let items = list.children.iter().filter(|item| item.is(RDF, "li"));
        items.map(|item| (item.language(), item)).collect()
    }

    /// The texts of a list's items.
    pub fn texts(&self, space: &str, name: &str) -> Vec<String> {
        let items = self
            .items(space, name)
            .into_iter()
            .map(|(_, item)| item.text.trim().to_owned());
        items.filter(|text| !text.is_empty()).collect()
    }
}

/// The list in a property.
pub fn list(property: &Element) -> Option<&Element> {
    let mut children = property.children.iter();
    children.find(|child| child.space == RDF && ["Bag", "Seq", "Alt"].contains(&child.name.as_str()))
}

fn tree(text: &str) -> Result<Element, XmpError> {
    let mut reader = Reader::from_str(text);
    let not_xml = |at: u64, reason: String| XmpError::NotXml { at, reason };
    let mut stack = vec![Element {
        scope: vec![("xml".to_owned(), XML.to_owned())],
        ..Element::default()
    }];
    loop {
        let from = reader.buffer_position() as usize;
        let event = reader
            .read_event()
            .map_err(|error| not_xml(reader.error_position(), error.to_string()))?;
        let to = reader.buffer_position() as usize;
        let top = stack.last_mut().expect("the root stays");
        match event {
            Event::Start(start) => {
                let element = open(&start, top, from..to).map_err(|reason| not_xml(from as u64, reason))?;
                if stack.len() > DEEPEST {
                    return Err(XmpError::TooDeep);
                }
                stack.push(element);
            }
            Event::Empty(start) => {
                let mut element =
                    open(&start, top, from..to).map_err(|reason| not_xml(from as u64, reason))?;
                element.end = from..to;
                top.children.push(element);
            }
            Event::End(_) => {
                let mut element = stack.pop().expect("the reader checks that ends have starts");
                element.end = from..to;
                let top = stack
                    .last_mut()
                    .ok_or_else(|| not_xml(from as u64, "an end without a start".to_owned()))?;
                top.children.push(element);
            }
            Event::Text(content) => top.text.push_str(&content.into_inner()),
            Event::CData(content) => top.text.push_str(&content.into_inner()),
            Event::GeneralRef(_) => {
                let raw = &text[from..to];
                let whole = quick_xml::escape::unescape(raw)
                    .map_err(|error| not_xml(from as u64, error.to_string()))?;
                top.text.push_str(&whole);
            }
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
    match stack.len() {
        1 => Ok(stack.pop().unwrap_or_default()),
        _ => Err(not_xml(text.len() as u64, "an element has no end".to_owned())),
    }
}

fn open(start: &BytesStart, parent: &Element, place: Range<usize>) -> Result<Element, String> {
    let mut scope = parent.scope.clone();
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| error.to_string())?;
        let value = quick_xml::escape::unescape(&attribute.value).map_err(|error| error.to_string())?;
        let key: &str = attribute.key.into_inner();
        match key.split_once(':') {
            None if key == "xmlns" => scope.push((String::new(), value.into_owned())),
            Some(("xmlns", prefix)) => scope.push((prefix.to_owned(), value.into_owned())),
            _ => attributes.push((key.to_owned(), value.into_owned())),
        }
    }
    let meaning = |prefix: &str| {
        let mut known = scope.iter().rev();
        known.find_map(|(known, space)| (known == prefix).then(|| space.clone()))
    };
    let attributes = attributes
        .into_iter()
        .map(|(key, value)| match key.split_once(':') {
            Some((prefix, name)) => (meaning(prefix).unwrap_or_default(), name.to_owned(), value),
            None => (String::new(), key, value),
        });
    let attributes = attributes.collect();
    let name: &str = start.name().into_inner();
    let (prefix, name) = name.split_once(':').unwrap_or(("", name));
    Ok(Element {
        space: meaning(prefix).unwrap_or_default(),
        name: name.to_owned(),
        prefix: prefix.to_owned(),
        attributes,
        start: place,
        scope,
        ..Element::default()
    })
}
