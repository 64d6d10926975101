//! `monocle_plugin.h`: all that a plugin in C, or in any language that speaks its conventions, needs.

use std::collections::HashSet;
use std::fmt::Write;

use wit_parser::{Docs, Function, Interface, Type, TypeDefKind, TypeId};

use super::{COMMAND, Contract, Kind, function_name, names, resources};

/// What stands before everything that is written from the contract.
const BEFORE: &str = include_str!("header_before.h");
/// What stands behind it.
const AFTER: &str = include_str!("header_after.h");

/// The file.
pub fn text(contract: &Contract<'_>) -> String {
    let mut header = Header {
        contract,
        text: BEFORE.replace("COMMAND", COMMAND),
        known: HashSet::new(),
    };
    for interface in contract.with_types() {
        let name = interface.name.as_deref().expect("it has a name");
        let _ = write!(header.text, "\n/* ---- {name} ---- */\n\n");
        header.comment(&interface.docs, "");
        for id in interface.types.values() {
            header.define(*id);
        }
        if !interface.functions.is_empty() {
            header.table(interface, "const monocle_host *host");
        }
    }
    header.text += "\n/* ---- what the host gives to a call ---- */\n\n\
        /* Valid until the function of the plugin that was given it returns, on that thread. Tables are NULL that a plugin of this kind does not\n   get: \
        an adapter has no tensors, weights and batches. */\nstruct monocle_host {\n    size_t size;\n    uint32_t abi;\n    /* The host's own. */\n    void *context;\n";
    for interface in &contract.imports {
        let name = names::snake(interface.name.as_deref().expect("it has a name"));
        let _ = writeln!(header.text, "    const monocle_{name}_table *{name};");
    }
    header.text += "};\n\n/* ---- what a plugin gives ---- */\n\n/* What a plugin keeps of one request: the plugin defines it. */\ntypedef struct monocle_instance monocle_instance;\n";
    for interface in &contract.exports {
        header.text.push('\n');
        header.comment(&interface.docs, "");
        header.table(interface, "monocle_instance *instance, const monocle_host *host");
    }
    header.text + AFTER
}

struct Header<'a> {
    contract: &'a Contract<'a>,
    text: String,
    /// Names of types that are defined already.
    known: HashSet<String>,
}

impl Header<'_> {
    fn comment(&mut self, docs: &Docs, indent: &str) {
        let words = docs.contents.as_deref().unwrap_or_default();
        if words.trim().is_empty() {
            return;
        }
        let mut line = format!("{indent}/*");
        let mut paragraphs = words.trim().split("\n\n").peekable();
        while let Some(paragraph) = paragraphs.next() {
            for word in paragraph.split_whitespace() {
                // What would end a comment.
                let word = word.replace("*/", "* /");
                if line.chars().count() + word.chars().count() > 140 {
                    let _ = writeln!(self.text, "{line}");
                    line = format!("{indent}  ");
                }
                line += " ";
                line += &word;
            }
            if paragraphs.peek().is_some() {
                let _ = write!(self.text, "{line}\n\n");
                line = format!("{indent}  ");
            }
        }
        let _ = writeln!(self.text, "{line} */");
    }

    /// Defines a named type, after those that it is made of.
    fn define(&mut self, id: TypeId) {
        let contract = self.contract;
        if contract.original(id) != id || !self.known.insert(names::snake(contract.name(id))) {
            return;
        }
        let definition = &contract.resolve.types[id];
        let name = names::snake(contract.name(id));
        match &definition.kind {
            TypeDefKind::Record(record) => {
                let mut fields = String::new();
                for field in &record.fields {
                    let kind = self.type_name(&field.ty);
                    let before = std::mem::take(&mut self.text);
                    self.comment(&field.docs, "    ");
                    fields += &std::mem::replace(&mut self.text, before);
                    let size = match contract.kind(&field.ty) {
                        Kind::Tuple(_, count) => format!("[{count}]"),
                        _ => String::new(),
                    };
                    let _ = writeln!(fields, "    {kind} {}{size};", names::in_c(&field.name));
                }
                self.comment(&definition.docs, "");
                let _ = write!(
                    self.text,
                    "typedef struct monocle_{name} {{\n{fields}}} monocle_{name};\n\n"
                );
            }
            TypeDefKind::Variant(variant) => {
                let (mut tags, mut values) = (String::new(), String::new());
                for (tag, case) in variant.cases.iter().enumerate() {
                    let kind = case.ty.map(|kind| self.type_name(&kind));
                    let before = std::mem::take(&mut self.text);
                    self.comment(&case.docs, "    ");
                    tags += &std::mem::replace(&mut self.text, before);
                    let _ = writeln!(
                        tags,
                        "    MONOCLE_{}_{} = {tag},",
                        names::shouted(&name),
                        names::shouted(&case.name)
                    );
                    if let Some(kind) = kind {
                        let _ = writeln!(values, "        {kind} {};", names::in_c(&case.name));
                    }
                }
                self.comment(&definition.docs, "");
                let _ = write!(
                    self.text,
                    "enum {{\n{tags}}};\n\ntypedef struct monocle_{name} {{\n    uint32_t tag;\n    union {{\n        uint8_t none;\n{values}    }} value;\n}} monocle_{name};\n\n"
                );
            }
            TypeDefKind::Enum(cases) => {
                self.comment(&definition.docs, "");
                let _ = writeln!(self.text, "typedef uint32_t monocle_{name};\nenum {{");
                for (tag, case) in cases.cases.iter().enumerate() {
                    self.comment(&case.docs, "    ");
                    let _ = writeln!(
                        self.text,
                        "    MONOCLE_{}_{} = {tag},",
                        names::shouted(&name),
                        names::shouted(&case.name)
                    );
                }
                self.text += "};\n\n";
            }
            TypeDefKind::Resource => {
                self.comment(&definition.docs, "");
                let _ = write!(self.text, "typedef uint32_t monocle_{name};\n\n");
            }
            _ => {}
        }
    }

    /// A type's name, after everything that it needs was defined.
    fn type_name(&mut self, kind: &Type) -> String {
        match self.contract.kind(kind) {
            Kind::Bool | Kind::Plain("u8") => "uint8_t".to_owned(),
            Kind::Plain("u32") => "uint32_t".to_owned(),
            Kind::Plain("i32") => "int32_t".to_owned(),
            Kind::Plain("u64") => "uint64_t".to_owned(),
            Kind::Plain("f32") => "float".to_owned(),
            Kind::Plain(_) => "double".to_owned(),
            Kind::Text => "monocle_text".to_owned(),
            Kind::Tuple(inner, _) => self.type_name(&inner),
            Kind::List(inner) => {
                let (of, item) = (self.short(&inner), self.type_name(&inner));
                let name = format!("{of}_list");
                if self.known.insert(name.clone()) {
                    let _ = write!(
                        self.text,
                        "typedef struct monocle_{name} {{\n    const {item} *data;\n    size_t count;\n}} monocle_{name};\n\n"
                    );
                }
                format!("monocle_{name}")
            }
            Kind::Optional(inner) => {
                let (of, item) = (self.short(&inner), self.type_name(&inner));
                let name = format!("optional_{of}");
                if self.known.insert(name.clone()) {
                    let _ = write!(
                        self.text,
                        "typedef struct monocle_{name} {{\n    uint8_t present;\n    {item} value;\n}} monocle_{name};\n\n"
                    );
                }
                format!("monocle_{name}")
            }
            Kind::Enum(id) | Kind::Structure(id) | Kind::Handle(id) => {
                self.define(id);
                format!("monocle_{}", names::snake(self.contract.name(id)))
            }
        }
    }

    /// What a type is called within another's name.
    fn short(&mut self, kind: &Type) -> String {
        match self.contract.kind(kind) {
            Kind::Plain(name) => name.to_owned(),
            Kind::Bool => "bool".to_owned(),
            _ => self.type_name(kind).trim_start_matches("monocle_").to_owned(),
        }
    }

    fn table(&mut self, interface: &Interface, first: &str) {
        let name = names::snake(interface.name.as_deref().expect("it has a name"));
        let mut entries = String::new();
        for function in interface.functions.values() {
            let parameters = self.parameters(function);
            let before = std::mem::take(&mut self.text);
            self.comment(&function.docs, "    ");
            entries += &std::mem::replace(&mut self.text, before);
            let _ = writeln!(
                entries,
                "    monocle_status (*{})({first}{parameters});",
                function_name(self.contract, function)
            );
        }
        for (resource, _) in resources(self.contract, interface) {
            let resource = names::snake(resource);
            let _ = writeln!(
                entries,
                "    /* The plugin needs it no more. */\n    monocle_status (*{resource}_drop)({first}, monocle_{resource} self);"
            );
        }
        let _ = write!(
            self.text,
            "typedef struct monocle_{name}_table {{\n    size_t size;\n{entries}}} monocle_{name}_table;\n"
        );
    }

    fn parameters(&mut self, function: &Function) -> String {
        let mut parameters = String::new();
        for parameter in &function.params {
            let kind = self.type_name(&parameter.ty);
            let kind = match self.contract.kind(&parameter.ty) {
                Kind::Structure(_) => format!("const {kind} *"),
                _ => format!("{kind} "),
            };
            let _ = write!(parameters, ", {kind}{}", names::in_c(&parameter.name));
        }
        let (result, fails) = self.contract.result(function);
        if let Some(result) = result {
            let _ = write!(parameters, ", {} *result", self.type_name(&result));
        }
        if fails {
            parameters += ", monocle_text *words";
        }
        parameters
    }
}
