//! The native carrier's files, written from the newest contract: the header for C, the structures and tables of `monocle-plugin-abi`, what the
//! crate `monocle-plugin` has in place of wit-bindgen's types, and what the host has in place of wasmtime's.

mod abi;
mod guest;
mod header;
mod host;
mod names;
mod types;

use std::path::PathBuf;

use wit_parser::{Function, Interface, Resolve, Type, TypeDefKind, TypeId};

use crate::project;

/// How to write the files anew.
pub const COMMAND: &str = "cargo run --release -p monocle-tests --example native_abi";

/// Each file and what stands in it.
pub fn files(resolve: &Resolve) -> [(PathBuf, String); 4] {
    let contract = Contract::new(resolve);
    let root = project::root();
    [
        (
            root.join("plugin-api/include/monocle_plugin.h"),
            header::text(&contract),
        ),
        (root.join("plugin-api/abi/src/v0_2.rs"), abi::text(&contract)),
        (
            root.join("plugin-api/guest/src/bindings/native.rs"),
            guest::text(&contract),
        ),
        (
            root.join("host/runtime/src/plugin/native/v0_2/bindings.rs"),
            host::text(&contract),
        ),
    ]
}

/// The contract's interfaces: what the host gives, and what a plugin gives.
struct Contract<'a> {
    resolve: &'a Resolve,
    types: &'a Interface,
    imports: Vec<&'a Interface>,
    exports: Vec<&'a Interface>,
}

impl<'a> Contract<'a> {
    fn new(resolve: &'a Resolve) -> Self {
        let (_, package) = resolve.packages.iter().next().expect("the contract is a package");
        let of = |name: &str| &resolve.interfaces[package.interfaces[name]];
        Self {
            resolve,
            types: of("types"),
            imports: [
                "log",
                "tokenizers",
                "prompts",
                "images",
                "tensors",
                "weights",
                "batches",
            ]
            .map(of)
            .to_vec(),
            exports: ["processor", "network"].map(of).to_vec(),
        }
    }

    /// Interfaces with types of their own, those first that others use.
    fn with_types(&self) -> impl Iterator<Item = &'a Interface> {
        [self.types].into_iter().chain(self.imports.iter().copied())
    }

    /// The type behind aliases and handles: of which resource a handle is, is a matter of types, not of how it crosses.
    fn kind(&self, kind: &Type) -> Kind {
        let Type::Id(id) = kind else {
            return match kind {
                Type::Bool => Kind::Bool,
                Type::U8 => Kind::Plain("u8"),
                Type::U32 => Kind::Plain("u32"),
                Type::S32 => Kind::Plain("i32"),
                Type::U64 => Kind::Plain("u64"),
                Type::F32 => Kind::Plain("f32"),
                Type::F64 => Kind::Plain("f64"),
                Type::String => Kind::Text,
                other => {
                    panic!("the contract has a type {other:?}, of which the native carrier knows nothing")
                }
            };
        };
        match &self.resolve.types[*id].kind {
            TypeDefKind::Type(inner) => self.kind(inner),
            TypeDefKind::Handle(wit_parser::Handle::Own(id) | wit_parser::Handle::Borrow(id)) => {
                Kind::Handle(self.original(*id))
            }
            TypeDefKind::Resource => Kind::Handle(*id),
            TypeDefKind::List(inner) => Kind::List(*inner),
            TypeDefKind::Option(inner) => Kind::Optional(*inner),
            TypeDefKind::Tuple(tuple) => Kind::Tuple(tuple.types[0], tuple.types.len()),
            TypeDefKind::Enum(_) => Kind::Enum(*id),
            TypeDefKind::Record(_) | TypeDefKind::Variant(_) => Kind::Structure(*id),
            other => panic!(
                "the contract has a {}, of which the native carrier knows nothing",
                other.as_str()
            ),
        }
    }

    fn original(&self, id: TypeId) -> TypeId {
        match &self.resolve.types[id].kind {
            TypeDefKind::Type(Type::Id(inner)) => self.original(*inner),
            _ => id,
        }
    }

    /// A type's name, as the contract has it.
    fn name(&self, id: TypeId) -> &'a str {
        self.resolve.types[self.original(id)]
            .name
            .as_deref()
            .expect("it has a name")
    }

    /// The interface in which a type is defined.
    fn home(&self, id: TypeId) -> &'a str {
        let owner = self.resolve.types[self.original(id)].owner;
        let wit_parser::TypeOwner::Interface(id) = owner else {
            panic!("types stand in interfaces")
        };
        self.resolve.interfaces[id]
            .name
            .as_deref()
            .expect("it has a name")
    }

    /// Whether a value of this type is nothing but its bytes.
    fn is_plain(&self, kind: &Type) -> bool {
        match self.kind(kind) {
            Kind::Bool | Kind::Plain(_) | Kind::Enum(_) => true,
            Kind::Text | Kind::List(_) | Kind::Handle(_) => false,
            Kind::Optional(inner) | Kind::Tuple(inner, _) => self.is_plain(&inner),
            Kind::Structure(id) => match &self.resolve.types[id].kind {
                TypeDefKind::Record(record) => record.fields.iter().all(|field| self.is_plain(&field.ty)),
                TypeDefKind::Variant(variant) => variant
                    .cases
                    .iter()
                    .all(|case| case.ty.is_none_or(|kind| self.is_plain(&kind))),
                _ => false,
            },
        }
    }

    /// What a function gives, and whether it may fail with words instead.
    fn result(&self, function: &Function) -> (Option<Type>, bool) {
        if let Some(Type::Id(id)) = function.result
            && let TypeDefKind::Result(result) = &self.resolve.types[id].kind
        {
            return (result.ok, true);
        }
        (function.result, false)
    }
}

/// What the native carrier knows of types.
enum Kind {
    Bool,
    /// As Rust calls it.
    Plain(&'static str),
    Text,
    List(Type),
    Optional(Type),
    /// So many of one type.
    Tuple(Type, usize),
    Enum(TypeId),
    /// A record or variant.
    Structure(TypeId),
    /// Of a resource.
    Handle(TypeId),
}

/// A function's name in tables: `tensor_rms_norm`, `get_linear`.
fn function_name(contract: &Contract<'_>, function: &Function) -> String {
    let name = names::snake(function.item_name());
    match function.kind.resource() {
        Some(resource) => format!("{}_{name}", names::snake(contract.name(resource))),
        None => name,
    }
}

/// The resources of an interface.
fn resources<'a>(contract: &Contract<'a>, interface: &'a Interface) -> Vec<(&'a str, TypeId)> {
    let all = interface.types.iter().map(|(name, id)| (name.as_str(), *id));
    all.filter(|(_, id)| matches!(contract.resolve.types[*id].kind, TypeDefKind::Resource))
        .collect()
}
