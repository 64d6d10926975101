//! Writes the native carrier's files from the newest contract.

use monocle_tests::contract_page::contract;
use monocle_tests::native_abi::files;

fn main() -> std::io::Result<()> {
    files(&contract())
        .into_iter()
        .try_for_each(|(path, text)| std::fs::write(path, text))
}
