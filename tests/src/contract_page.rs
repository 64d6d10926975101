//! `docs/contract-reference.md`: written from the newest folder of `plugin-api/wit`.

use std::fmt::Write;
use std::path::PathBuf;

use wit_parser::{
    Docs, Function, FunctionKind, Handle, Interface, Resolve, Type, TypeDef, TypeDefKind, WorldItem,
};

use crate::project;

/// How to write the page anew.
pub const COMMAND: &str = "cargo run --release -p monocle-tests --example contract_page";

/// The newest version of the contract, as its folder is called.
const NEWEST: &str = "v0.2";

/// Where the page is.
pub fn path() -> PathBuf {
    project::root().join("docs/contract-reference.md")
}

/// The newest contract.
pub fn contract() -> Resolve {
    let mut resolve = Resolve::default();
    let folder = project::root().join("plugin-api/wit").join(NEWEST);
    resolve
        .push_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error:#}", folder.display()));
    resolve
}

/// The page.
pub fn page(resolve: &Resolve) -> String {
    let (_, package) = resolve.packages.iter().next().expect("the contract is a package");
    let mut page = format!(
        "# The contract, function by function\n\n\
         Written by `{COMMAND}` from [`plugin-api/wit/{NEWEST}`](../plugin-api/wit/{NEWEST}); do not edit. This is `{}`. What versions mean is in \
         [contract.md](contract.md); how a plugin is written, in [plugin-guide.md](plugin-guide.md).\n\n",
        package.name
    );
    let interfaces = || {
        package
            .interfaces
            .iter()
            .map(|(name, id)| (name, &resolve.interfaces[*id]))
    };
    for (name, _) in interfaces() {
        let _ = writeln!(page, "- [{name}](#{name})");
    }
    page += "- [Worlds](#worlds)\n";
    for (name, interface) in interfaces() {
        let _ = write!(page, "\n## {name}\n\n{}", paragraph(&interface.docs));
        write_interface(&mut page, resolve, interface);
    }
    page += "\n## Worlds\n";
    for (name, id) in &package.worlds {
        let world = &resolve.worlds[*id];
        let items = |items: Vec<&WorldItem>| -> String {
            let names = items.into_iter().filter_map(|item| match item {
                WorldItem::Interface { id, .. } => resolve.interfaces[*id].name.clone(),
                _ => None,
            });
            names
                .map(|name| format!("[{name}](#{name})"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let _ = write!(
            page,
            "\n### `{name}`\n\n{}Imports {}. Exports {}.\n",
            paragraph(&world.docs),
            items(world.imports.values().collect()),
            items(world.exports.values().collect())
        );
    }
    page
}

fn write_interface(page: &mut String, resolve: &Resolve, interface: &Interface) {
    for (name, id) in &interface.types {
        let definition = &resolve.types[*id];
        if let TypeDefKind::Type(_) = definition.kind {
            continue; // Of another interface.
        }
        let kind = definition.kind.as_str();
        let _ = write!(page, "\n### {kind} `{name}`\n\n{}", paragraph(&definition.docs));
        write_members(page, resolve, definition);
        let methods = interface
            .functions
            .values()
            .filter(|function| function.kind.resource() == Some(*id));
        for function in methods {
            write_function(page, resolve, function);
        }
    }
    let mut free = interface
        .functions
        .values()
        .filter(|function| function.kind.resource().is_none())
        .peekable();
    if free.peek().is_some() && !interface.types.is_empty() {
        page.push_str("\n### Functions\n\n");
    }
    for function in free {
        write_function(page, resolve, function);
    }
}

fn write_members(page: &mut String, resolve: &Resolve, definition: &TypeDef) {
    let mut member = |name: &str, kind: Option<&Type>, docs: &Docs| {
        let kind = kind.map_or(String::new(), |kind| format!(": `{}`", type_name(resolve, kind)));
        let _ = writeln!(page, "- **`{name}`**{kind}{}", after_dash(docs));
    };
    match &definition.kind {
        TypeDefKind::Record(record) => {
            for field in &record.fields {
                member(&field.name, Some(&field.ty), &field.docs);
            }
        }
        TypeDefKind::Variant(variant) => {
            for case in &variant.cases {
                member(&case.name, case.ty.as_ref(), &case.docs);
            }
        }
        TypeDefKind::Enum(cases) => {
            for case in &cases.cases {
                member(&case.name, None, &case.docs);
            }
        }
        _ => {}
    }
}

fn write_function(page: &mut String, resolve: &Resolve, function: &Function) {
    let is_method = matches!(function.kind, FunctionKind::Method(_));
    let parameters = function.params.iter().skip(usize::from(is_method));
    let parameters: Vec<String> = parameters
        .map(|parameter| format!("{}: {}", parameter.name, type_name(resolve, &parameter.ty)))
        .collect();
    let result = function.result.as_ref().map_or(String::new(), |result| {
        format!(" -> {}", type_name(resolve, result))
    });
    let name = function.item_name();
    let _ = writeln!(
        page,
        "- **`{name}`**`({}){result}`{}",
        parameters.join(", "),
        after_dash(&function.docs)
    );
}

/// Documentation as a paragraph of its own.
fn paragraph(docs: &Docs) -> String {
    docs.contents
        .as_deref()
        .map_or(String::new(), |text| format!("{}\n\n", text.trim()))
}

/// Documentation behind an item of a list.
fn after_dash(docs: &Docs) -> String {
    let words = docs.contents.as_deref().unwrap_or_default();
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.is_empty() {
        words
    } else {
        format!(" — {words}")
    }
}

fn type_name(resolve: &Resolve, kind: &Type) -> String {
    let Type::Id(id) = kind else {
        return format!("{kind:?}").to_lowercase();
    };
    let definition = &resolve.types[*id];
    let name = |kind: &Type| type_name(resolve, kind);
    let or_none = |kind: &Option<Type>| kind.as_ref().map_or("_".to_owned(), name);
    match (&definition.name, &definition.kind) {
        (Some(name), _) => name.clone(),
        (None, TypeDefKind::List(inner)) => format!("list<{}>", name(inner)),
        (None, TypeDefKind::Option(inner)) => format!("option<{}>", name(inner)),
        (None, TypeDefKind::Tuple(tuple)) => {
            format!(
                "tuple<{}>",
                tuple.types.iter().map(name).collect::<Vec<_>>().join(", ")
            )
        }
        (None, TypeDefKind::Result(result)) => {
            format!("result<{}, {}>", or_none(&result.ok), or_none(&result.err))
        }
        (None, TypeDefKind::Handle(Handle::Borrow(inner))) => format!("borrow<{}>", name(&Type::Id(*inner))),
        (None, TypeDefKind::Handle(Handle::Own(inner))) => name(&Type::Id(*inner)),
        (None, other) => other.as_str().to_owned(),
    }
}
