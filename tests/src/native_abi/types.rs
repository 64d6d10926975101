//! The contract's types as Rust has them, on both sides, and how they are lowered and lifted.

use std::fmt::Write;

use wit_parser::{Interface, Type, TypeDefKind, TypeId};

use super::{Contract, Kind, names};

/// Types and their ways, in the module of an interface. `handle` names a resource's type.
pub fn definitions(
    text: &mut String,
    contract: &Contract<'_>,
    interface: &Interface,
    handle: &dyn Fn(TypeId) -> String,
) {
    let home = interface.name.as_deref().expect("it has a name");
    for id in interface.types.values() {
        let definition = &contract.resolve.types[*id];
        let name = names::camel(contract.name(*id));
        let kind = |kind: &Type| type_name(contract, kind, home, handle);
        match &definition.kind {
            TypeDefKind::Type(_) => {
                let from = contract.home(*id);
                // Handles are named by where they are defined.
                let is_handle = matches!(contract.kind(&Type::Id(*id)), Kind::Handle(_));
                if from != home && !is_handle {
                    let _ = writeln!(text, "    pub use super::{}::{name};", names::snake(from));
                }
            }
            TypeDefKind::Record(record) => {
                let plain = contract.is_plain(&Type::Id(*id));
                let _ = writeln!(
                    text,
                    "    #[derive({})]\n    pub struct {name} {{",
                    derives(plain)
                );
                for field in &record.fields {
                    let _ = writeln!(
                        text,
                        "        pub {}: {},",
                        names::snake(&field.name),
                        kind(&field.ty)
                    );
                }
                *text += "    }\n";
                let fields: Vec<String> = record
                    .fields
                    .iter()
                    .map(|field| names::snake(&field.name))
                    .collect();
                let each = |way: &dyn Fn(&str) -> String| -> String {
                    fields
                        .iter()
                        .map(|field| format!("{field}: {}, ", way(field)))
                        .collect()
                };
                ways(
                    text,
                    &name,
                    &format!("abi::{name}"),
                    &format!(
                        "abi::{name} {{ {} }}",
                        each(&|field| format!("self.{field}.lower(keep)"))
                    ),
                    &format!(
                        "unsafe {{ Ok(Self {{ {} }}) }}",
                        each(&|field| format!("Lift::lift(&abi.{field})?"))
                    ),
                );
            }
            TypeDefKind::Variant(variant) => {
                let plain = contract.is_plain(&Type::Id(*id));
                let _ = writeln!(text, "    #[derive({})]\n    pub enum {name} {{", derives(plain));
                let (mut lower, mut lift) = ("match self { ".to_owned(), "match abi.tag { ".to_owned());
                for (tag, case) in variant.cases.iter().enumerate() {
                    let (case_name, field) = (names::camel(&case.name), names::snake(&case.name));
                    match &case.ty {
                        Some(inner) => {
                            let _ = writeln!(text, "        {case_name}({}),", kind(inner));
                            let _ = write!(
                                lower,
                                "Self::{case_name}(value) => abi::{name} {{ tag: {tag}, value: abi::{name}Value {{ {field}: value.lower(keep) }} }}, "
                            );
                            let _ = write!(
                                lift,
                                "{tag} => unsafe {{ Lift::lift(&abi.value.{field}).map(Self::{case_name}) }}, "
                            );
                        }
                        None => {
                            let _ = writeln!(text, "        {case_name},");
                            let _ = write!(
                                lower,
                                "Self::{case_name} => abi::{name} {{ tag: {tag}, value: abi::{name}Value {{ none: 0 }} }}, "
                            );
                            let _ = write!(lift, "{tag} => Ok(Self::{case_name}), ");
                        }
                    }
                }
                *text += "    }\n";
                let unknown = unknown(contract.name(*id));
                ways(
                    text,
                    &name,
                    &format!("abi::{name}"),
                    &format!("{lower}}}"),
                    &format!("{lift}{unknown} }}"),
                );
            }
            TypeDefKind::Enum(cases) => {
                let _ = writeln!(
                    text,
                    "    #[derive({}, Eq)]\n    pub enum {name} {{",
                    derives(true)
                );
                let mut lift = "match abi { ".to_owned();
                for (tag, case) in cases.cases.iter().enumerate() {
                    let case = names::camel(&case.name);
                    let _ = writeln!(text, "        {case},");
                    let _ = write!(lift, "{tag} => Ok(Self::{case}), ");
                }
                *text += "    }\n";
                let unknown = unknown(contract.name(*id));
                ways(text, &name, "u32", "*self as u32", &format!("{lift}{unknown} }}"));
            }
            _ => {}
        }
    }
}

fn derives(plain: bool) -> &'static str {
    match plain {
        true => "Debug, Clone, Copy, PartialEq",
        false => "Debug, Clone, PartialEq",
    }
}

fn unknown(name: &str) -> String {
    format!("_ => Err(Malformed(\"a `{name}` is none of the contract's\")),")
}

fn ways(text: &mut String, name: &str, abi: &str, lower: &str, lift: &str) {
    let keep = match lower.contains("keep") {
        true => "keep",
        false => "_keep",
    };
    let _ = write!(
        text,
        "    impl Lower for {name} {{\n        type Abi = {abi};\n        fn lower(&self, {keep}: &Keep) -> {abi} {{\n            {lower}\n        }}\n    }}\n\
         \x20   impl Lift for {name} {{\n        type Abi = {abi};\n        unsafe fn lift(abi: &{abi}) -> std::result::Result<Self, Malformed> {{\n"
    );
    if lift.contains("unsafe") {
        *text += "            // SAFETY: the caller's promise.\n";
    }
    let _ = write!(text, "            {lift}\n        }}\n    }}\n");
}

/// A type of one's own, in the module of an interface.
pub fn type_name(
    contract: &Contract<'_>,
    kind: &Type,
    home: &str,
    handle: &dyn Fn(TypeId) -> String,
) -> String {
    let name = |kind: &Type| type_name(contract, kind, home, handle);
    match contract.kind(kind) {
        Kind::Bool => "bool".to_owned(),
        Kind::Plain(name) => name.to_owned(),
        Kind::Text => "String".to_owned(),
        Kind::List(inner) => format!("Vec<{}>", name(&inner)),
        Kind::Optional(inner) => format!("Option<{}>", name(&inner)),
        Kind::Tuple(inner, count) => format!("({})", vec![name(&inner); count].join(", ")),
        Kind::Enum(id) | Kind::Structure(id) => path(contract, id, home),
        Kind::Handle(id) => handle(id),
    }
}

/// Where a named type stands, seen from the module of an interface.
pub fn path(contract: &Contract<'_>, id: TypeId, home: &str) -> String {
    let name = names::camel(contract.name(id));
    match contract.home(id) {
        from if from == home => name,
        from => format!("super::{}::{name}", names::snake(from)),
    }
}
