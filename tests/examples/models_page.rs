//! Writes `docs/models.md` from the last parity run.

fn main() -> std::io::Result<()> {
    let page = monocle_tests::models_page::page(&monocle_tests::record::read());
    std::fs::write(monocle_tests::project::root().join("docs/models.md"), page)
}
