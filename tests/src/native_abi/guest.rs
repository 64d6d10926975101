//! What the crate `monocle-plugin` has where it is no component: types, and functions that go through the host's tables.

use std::fmt::Write;

use wit_parser::{Function, FunctionKind, Interface, Type, TypeId};

use super::{COMMAND, Contract, Kind, function_name, names, resources, types};

/// The file.
pub fn text(contract: &Contract<'_>) -> String {
    let mut text = format!(
        "//! What wit-bindgen makes of the contract for components, for native libraries: written by `{COMMAND}` from\n\
         //! `plugin-api/wit/v0.2`; do not edit.\n\
         #![allow(clippy::too_many_arguments, dead_code, unused_imports, reason = \"it is as the contract has it\")]\n\
         #![allow(clippy::undocumented_unsafe_blocks, reason = \"lifting passes its caller's promise on\")]\n"
    );
    for interface in contract.with_types() {
        let name = interface.name.as_deref().expect("it has a name");
        let _ = write!(text, "\npub mod {} {{\n", names::snake(name));
        text += match interface.types.is_empty() {
            true => "    use monocle_plugin_abi::Lower;\n",
            false => "    use monocle_plugin_abi::{Keep, Lift, Lower, Malformed, v0_2 as abi};\n",
        };
        if !interface.functions.is_empty() {
            text += "    use crate::native::host;\n";
        }
        let handle = |id: TypeId| types::path(contract, id, name);
        types::definitions(&mut text, contract, interface, &handle);
        for (resource, id) in resources(contract, interface) {
            definition(&mut text, contract, interface, resource, id);
        }
        let free = interface.functions.values();
        for function in free.filter(|function| function.kind.resource().is_none()) {
            write_function(&mut text, contract, interface, function, "    ");
        }
        text += "}\n";
    }
    text
}

fn definition(text: &mut String, contract: &Contract<'_>, interface: &Interface, resource: &str, id: TypeId) {
    let (name, table) = (names::camel(resource), names::snake(resource));
    let home = names::snake(interface.name.as_deref().expect("it has a name"));
    let _ = write!(
        text,
        "    #[derive(Debug)]\n    pub struct {name}(u32);\n    impl {name} {{\n        /// # Safety\n        /// It is a handle of such a resource, and nothing else drops it.\n\
         \x20       pub unsafe fn from_handle(handle: u32) -> Self {{\n            Self(handle)\n        }}\n\
         \x20       pub fn handle(&self) -> u32 {{\n            self.0\n        }}\n\
         \x20       pub(crate) fn into_handle(self) -> u32 {{\n            std::mem::ManuallyDrop::new(self).0\n        }}\n"
    );
    let methods = interface.functions.values();
    for method in methods.filter(|function| function.kind.resource() == Some(id)) {
        write_function(text, contract, interface, method, "        ");
    }
    let _ = write!(
        text,
        "    }}\n    impl Drop for {name} {{\n        fn drop(&mut self) {{\n            host::drop(|host| host.{home}, |table| table.{table}_drop, self.0);\n        }}\n    }}\n\
         \x20   impl Lower for {name} {{\n        type Abi = u32;\n        fn lower(&self, _keep: &Keep) -> u32 {{\n            self.0\n        }}\n    }}\n\
         \x20   impl Lift for {name} {{\n        type Abi = u32;\n        unsafe fn lift(abi: &u32) -> Result<Self, Malformed> {{\n            Ok(Self(*abi))\n        }}\n    }}\n"
    );
}

fn write_function(
    text: &mut String,
    contract: &Contract<'_>,
    interface: &Interface,
    function: &Function,
    indent: &str,
) {
    let home = interface.name.as_deref().expect("it has a name");
    let is_method = matches!(function.kind, FunctionKind::Method(_));
    let mut parameters = Vec::new();
    let mut arguments = String::new();
    for (number, parameter) in function.params.iter().enumerate() {
        let name = match is_method && number == 0 {
            true => {
                parameters.push("&self".to_owned());
                "self".to_owned()
            }
            false => {
                let name = names::parameter(&parameter.name);
                parameters.push(format!("{name}: {}", borrowed(contract, &parameter.ty, home)));
                name
            }
        };
        let address = match contract.kind(&parameter.ty) {
            Kind::Structure(_) => "&",
            _ => "",
        };
        let _ = write!(arguments, "{address}{name}.lower(held), ");
    }
    let handle = |id: TypeId| types::path(contract, id, home);
    let own = |kind: Option<Type>| {
        kind.map_or("()".to_owned(), |kind| {
            types::type_name(contract, &kind, home, &handle)
        })
    };
    let (result, fails) = contract.result(function);
    let (call, gives, results) = match (result, fails) {
        (None, false) => ("call_for_nothing", String::new(), ""),
        (result, false) => ("call", format!(" -> {}", own(result)), "result"),
        (result, true) => (
            "call_that_may_fail",
            format!(" -> Result<{}, String>", own(result)),
            "result, words",
        ),
    };
    let taken = match (results, arguments.contains("held")) {
        ("", true) => "host, held",
        ("", false) => "host, _",
        ("result", true) => "host, held, result",
        ("result", false) => "host, _, result",
        (_, true) => "host, held, result, words",
        (_, false) => "host, _, result, words",
    };
    let _ = write!(
        text,
        "{indent}pub fn {}({}){gives} {{\n\
         {indent}    host::{call}(|host| host.{}, |table, {taken}| {{\n\
         {indent}        // SAFETY: the table is the host's, for this call; what it is given lives until it returns.\n\
         {indent}        unsafe {{ (table.{})(host, {arguments}{results}) }}\n\
         {indent}    }})\n\
         {indent}}}\n",
        names::snake(function.item_name()),
        parameters.join(", "),
        names::snake(home),
        function_name(contract, function),
    );
}

/// A parameter's type as wit-bindgen makes it: what is more than its bytes is borrowed.
fn borrowed(contract: &Contract<'_>, kind: &Type, home: &str) -> String {
    let handle = |id: TypeId| types::path(contract, id, home);
    let own = |kind: &Type| types::type_name(contract, kind, home, &handle);
    match contract.kind(kind) {
        Kind::Text => "&str".to_owned(),
        Kind::List(inner) => match contract.kind(&inner) {
            Kind::Handle(id) => format!("&[&{}]", handle(id)),
            _ => format!("&[{}]", own(&inner)),
        },
        Kind::Optional(inner) => match contract.kind(&inner) {
            Kind::Handle(id) => format!("Option<&{}>", handle(id)),
            _ => own(kind),
        },
        Kind::Handle(id) => format!("&{}", handle(id)),
        _ if contract.is_plain(kind) => own(kind),
        _ => format!("&{}", own(kind)),
    }
}
