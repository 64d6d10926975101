//! `monocle-plugin-abi`: structures as the header has them, and tables of functions.

use std::fmt::Write;

use wit_parser::{Function, Interface, Type, TypeDefKind, TypeId};

use super::{COMMAND, Contract, Kind, function_name, names, resources};

/// The file.
pub fn text(contract: &Contract<'_>) -> String {
    let mut text = format!(
        "//! Contract 0.2: written by `{COMMAND}` from `plugin-api/wit/v0.2`; do not edit. What everything means stands there, and in\n\
         //! `plugin-api/include/monocle_plugin.h`.\n\
         #![allow(missing_docs, reason = \"the documentation stands in plugin-api/wit\")]\n\n\
         use std::ffi::c_void;\n\n\
         use crate::{{List, Optional, Status, Text}};\n"
    );
    for interface in contract.with_types() {
        for id in interface.types.values() {
            definition(&mut text, contract, *id);
        }
    }
    for interface in &contract.imports {
        table(&mut text, contract, interface, "*const Host");
    }
    for interface in &contract.exports {
        table(&mut text, contract, interface, "*mut Instance, host: *const Host");
    }
    text += "\n/// What the host gives to a call. Tables are null that a plugin of this kind does not get.\n\
             #[repr(C)]\n#[derive(Debug, Clone, Copy)]\npub struct Host {\n    pub size: usize,\n    pub abi: u32,\n    pub context: *mut c_void,\n";
    for interface in &contract.imports {
        let name = interface.name.as_deref().expect("it has a name");
        let _ = writeln!(
            text,
            "    pub {}: *const {}Table,",
            names::snake(name),
            names::camel(name)
        );
    }
    text += "}\n\n/// What a plugin keeps of one request.\n#[repr(C)]\n#[derive(Debug)]\npub struct Instance {\n    _private: [u8; 0],\n}\n\n\
             /// What a plugin gives.\n#[repr(C)]\n#[derive(Debug, Clone, Copy)]\npub struct Plugin {\n    pub size: usize,\n    pub abi: u32,\n    pub stamp: Text,\n\
             \x20   pub create: unsafe extern \"C\" fn() -> *mut Instance,\n    pub destroy: unsafe extern \"C\" fn(instance: *mut Instance),\n";
    for interface in &contract.exports {
        let name = interface.name.as_deref().expect("it has a name");
        let _ = writeln!(
            text,
            "    pub {}: *const {}Table,",
            names::snake(name),
            names::camel(name)
        );
    }
    text + "}\n"
}

fn definition(text: &mut String, contract: &Contract<'_>, id: TypeId) {
    let name = || names::camel(contract.name(id));
    match &contract.resolve.types[id].kind {
        TypeDefKind::Record(record) => {
            let _ = write!(
                text,
                "\n#[repr(C)]\n#[derive(Clone, Copy)]\npub struct {} {{\n",
                name()
            );
            for field in &record.fields {
                let _ = writeln!(
                    text,
                    "    pub {}: {},",
                    names::snake(&field.name),
                    type_name(contract, &field.ty, "")
                );
            }
            *text += "}\n";
        }
        TypeDefKind::Variant(variant) => {
            let name = name();
            let _ = write!(
                text,
                "\n#[repr(C)]\n#[derive(Clone, Copy)]\npub struct {name} {{\n    pub tag: u32,\n    pub value: {name}Value,\n}}\n\
                 \n#[repr(C)]\n#[derive(Clone, Copy)]\npub union {name}Value {{\n    pub none: u8,\n"
            );
            for case in &variant.cases {
                if let Some(kind) = &case.ty {
                    let _ = writeln!(
                        text,
                        "    pub {}: {},",
                        names::snake(&case.name),
                        type_name(contract, kind, "")
                    );
                }
            }
            *text += "}\n";
        }
        _ => {}
    }
}

/// A type as the structures have it; names of structures stand after `prefix`.
pub fn type_name(contract: &Contract<'_>, kind: &Type, prefix: &str) -> String {
    let name = |kind: &Type| type_name(contract, kind, prefix);
    match contract.kind(kind) {
        Kind::Bool => "u8".to_owned(),
        Kind::Plain(name) => name.to_owned(),
        Kind::Text => "Text".to_owned(),
        Kind::List(inner) => format!("List<{}>", name(&inner)),
        Kind::Optional(inner) => format!("Optional<{}>", name(&inner)),
        Kind::Tuple(inner, count) => format!("[{}; {count}]", name(&inner)),
        Kind::Enum(_) | Kind::Handle(_) => "u32".to_owned(),
        Kind::Structure(id) => format!("{prefix}{}", names::camel(contract.name(id))),
    }
}

/// A function's parameters after those that all have. Structures are handed over by their address.
pub fn parameters(contract: &Contract<'_>, function: &Function, prefix: &str) -> String {
    let mut parameters = String::new();
    for parameter in &function.params {
        let address = match contract.kind(&parameter.ty) {
            Kind::Structure(_) => "*const ",
            _ => "",
        };
        let _ = write!(
            parameters,
            ", {}: {address}{}",
            names::parameter(&parameter.name),
            type_name(contract, &parameter.ty, prefix)
        );
    }
    let (result, fails) = contract.result(function);
    if let Some(result) = result {
        let _ = write!(
            parameters,
            ", result: *mut {}",
            type_name(contract, &result, prefix)
        );
    }
    if fails {
        parameters += ", words: *mut Text";
    }
    parameters
}

fn table(text: &mut String, contract: &Contract<'_>, interface: &Interface, first: &str) {
    let name = interface.name.as_deref().expect("it has a name");
    let _ = write!(
        text,
        "\n/// `interface {name}`\n#[repr(C)]\n#[derive(Debug, Clone, Copy)]\npub struct {}Table {{\n    pub size: usize,\n",
        names::camel(name)
    );
    let first = match first.starts_with("*mut") {
        true => format!("instance: {first}"),
        false => format!("host: {first}"),
    };
    for function in interface.functions.values() {
        let _ = writeln!(
            text,
            "    pub {}: unsafe extern \"C\" fn({first}{}) -> Status,",
            function_name(contract, function),
            parameters(contract, function, "")
        );
    }
    for (name, _) in resources(contract, interface) {
        let name = names::snake(name);
        let _ = writeln!(
            text,
            "    pub {name}_drop: unsafe extern \"C\" fn({first}, this: u32) -> Status,"
        );
    }
    *text += "}\n";
}
