//! What `wit-bindgen` makes of the contract for components, in three parts, so that a plugin carries only what it uses: everything the
//! host gives, and one part for each interface that a plugin gives. An adapter exports the processor alone, and whatever it
//! does not call is not imported. For native libraries, `native.rs` has the same types and functions.

#[cfg(not(target_family = "wasm"))]
#[rustfmt::skip]
pub mod native;

#[cfg(not(target_family = "wasm"))]
pub use native as imports;

/// What the host gives.
#[cfg(target_family = "wasm")]
pub mod imports {
    wit_bindgen::generate!({
        path: "../wit/v0.2",
        inline: "
            package monocle:guest;
            world everything {
                import monocle:plugin/log@0.2.0;
                import monocle:plugin/tokenizers@0.2.0;
                import monocle:plugin/prompts@0.2.0;
                import monocle:plugin/images@0.2.0;
                import monocle:plugin/tensors@0.2.0;
                import monocle:plugin/weights@0.2.0;
                import monocle:plugin/batches@0.2.0;
            }
        ",
        world: "monocle:guest/everything",
        generate_all,
        generate_unused_types: true,
        additional_derives: [PartialEq],
    });
    pub use monocle::plugin::*;
}

/// `interface processor`.
#[cfg(target_family = "wasm")]
pub mod processor {
    wit_bindgen::generate!({
        path: "../wit/v0.2",
        inline: "
            package monocle:guest;
            world processor-exports {
                export monocle:plugin/processor@0.2.0;
            }
        ",
        world: "monocle:guest/processor-exports",
        with: {
            "monocle:plugin/types@0.2.0": super::imports::types,
            "monocle:plugin/images@0.2.0": super::imports::images,
        },
        pub_export_macro: true,
        export_macro_name: "export_processor",
    });
}

/// `interface network`.
#[cfg(target_family = "wasm")]
pub mod network {
    wit_bindgen::generate!({
        path: "../wit/v0.2",
        inline: "
            package monocle:guest;
            world network-exports {
                export monocle:plugin/network@0.2.0;
            }
        ",
        world: "monocle:guest/network-exports",
        with: {
            "monocle:plugin/types@0.2.0": super::imports::types,
            "monocle:plugin/tensors@0.2.0": super::imports::tensors,
            "monocle:plugin/batches@0.2.0": super::imports::batches,
        },
        pub_export_macro: true,
        export_macro_name: "export_network",
    });
}
