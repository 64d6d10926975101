//! What cannot fit is refused with the numbers before anything is allocated; what comes after is as if nothing had been.

use monocle_runtime::error::RequestError;
use monocle_runtime::request::Request;
use monocle_tests::oracle::Oracle;
use monocle_tests::pictures::grey;
use monocle_tests::project;
use monocle_tests::scratch::Scratch;

use super::{generate, manifest};

#[test]
fn a_refused_request_leaves_no_trace() {
    let oracle = Oracle::open(&project::oracle("smolvlm"));
    let request = oracle.request("image");
    let text = manifest("smolvlm", &oracle.folder, "");
    let expected = generate(&mut project::open_manifest(&text), &request, 12, 512).unwrap();

    let limit = expected.memory.estimate.total() + 100_000;
    let mut model = project::open_manifest_within(&text, limit);
    let first = generate(&mut model, &request, 12, 512).unwrap();
    assert_eq!(first.token_ids, expected.token_ids);
    let before = model.backend().memory();

    // A hundred thousand tokens more would need 50 MB of caches: 2 layers, keys and values of 2 heads of 16, in 4 bytes.
    let error = generate(&mut model, &request, 100_000, 512).unwrap_err();
    let RequestError::TooLarge {
        estimate,
        limit: told,
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(told.bytes, limit);
    assert!(
        (51_200_000..52_000_000).contains(&estimate.cache_bytes),
        "{estimate:?}"
    );
    let words = error.to_string();
    assert!(
        words.contains(" of caches") && words.contains("`--memory-limit`"),
        "{words}"
    );
    assert_eq!(
        model.backend().memory(),
        before,
        "nothing was allocated, nothing freed"
    );

    let second = generate(&mut model, &request, 12, 512).unwrap();
    assert_eq!(second.token_ids, expected.token_ids);
    assert_eq!(second.output.text, expected.output.text);
    assert_eq!(model.backend().memory().active, before.active);
}

#[test]
fn a_request_that_fails_midway_leaves_nothing_behind() {
    let oracle = Oracle::open(&project::oracle("smolvlm"));
    // The tests' hostile plugin: layer 0's heads get narrower in decode, which only shows when that step runs.
    let text = format!(
        "schema = 1\nname = \"hostile\"\nsource = {{ path = {:?} }}\n\
         plugin = {{ name = \"hostile\", options = {{ misbehave = \"forward: narrower heads when decoding\" }} }}\n",
        oracle.folder
    );
    let mut model = project::open_manifest(&text);
    let request = oracle.request("image");
    let one = generate(&mut model, &request, 1, 512).unwrap();
    let before = model.backend().memory().active;
    for _ in 0..3 {
        generate(&mut model, &request, 3, 512).unwrap_err();
        assert_eq!(model.backend().memory().active, before);
    }
    let again = generate(&mut model, &request, 1, 512).unwrap();
    assert_eq!(again.token_ids, one.token_ids);
}

#[test]
fn weights_beyond_the_limit_are_refused_before_they_are_loaded() {
    let text = manifest("smolvlm", &project::oracle("smolvlm"), "");
    let mut model = project::open_manifest_within(&text, 100_000);
    let error = model.load_weights(&mut |_, _| {}).unwrap_err();
    assert!(error.to_string().starts_with("the weights take "), "{error}");
    assert_eq!(model.backend().memory().active, 0);
}

#[test]
fn a_picture_shrunk_to_the_cap_fits_where_it_would_be_refused() {
    // Rules under which a picture takes as many tokens as it has squares of 28 pixels.
    let folder = Scratch::checkpoint("qwen2_vl");
    folder.edit("preprocessor_config.json", |rules| {
        rules.replace("31360", "12845056")
    });
    let request = Request::single(None, vec![grey(1400, 1400)], "Describe this picture.");
    let limit = 24_000_000;
    let free = manifest("qwen-vl", folder.path(), "");
    let error = generate(&mut project::open_manifest_within(&free, limit), &request, 4, 512).unwrap_err();
    assert!(matches!(error, RequestError::TooLarge { .. }), "{error}");

    let capped = manifest("qwen-vl", folder.path(), "[image]\nmax_pixels = 100000");
    let mut model = project::open_manifest_within(&capped, limit);
    let report = generate(&mut model, &request, 4, 512).unwrap();
    assert!(
        report.images[0]
            .steps
            .iter()
            .any(|step| step.starts_with("shrunk from 1400x1400"))
    );
    assert!(report.memory.engine_peak() < limit);
}

#[test]
fn what_is_kept_for_reuse_goes_when_little_is_left() {
    let oracle = Oracle::open(&project::oracle("smolvlm"));
    let (text, request) = (manifest("smolvlm", &oracle.folder, ""), oracle.request("image"));
    let mut roomy = project::open_manifest(&text);
    let free = generate(&mut roomy, &request, 12, 512).unwrap();
    assert!(roomy.backend().memory().cached > 0);

    let mut tight = project::open_manifest_within(&text, free.memory.estimate.total() + 1000);
    let report = generate(&mut tight, &request, 12, 512).unwrap();
    assert_eq!(report.token_ids, free.token_ids);
    let usage = tight.backend().memory();
    let estimate = &report.memory.estimate;
    let in_place = estimate
        .weights_bytes
        .saturating_sub(estimate.engine_weights_bytes);
    let used = in_place + usage.active + usage.cached;
    assert!(
        used <= free.memory.estimate.total() / 5 * 4 || usage.cached == 0,
        "{usage:?}"
    );
}
