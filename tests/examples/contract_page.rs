//! Writes `docs/contract-reference.md` from the newest contract.

use monocle_tests::contract_page::{contract, page, path};

fn main() -> std::io::Result<()> {
    std::fs::write(path(), page(&contract()))
}
