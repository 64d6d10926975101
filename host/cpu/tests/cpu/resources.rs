//! Threads and memory of the CPU engine.

use std::sync::Arc;

use monocle_cpu::CpuBackend;
use monocle_tensor::backend::{Backend, MemoryUse};
use monocle_tensor::operation::{Op, WeightId};
use monocle_tensor::stored::{StoredType, Weight};

use crate::batches::{attend, step};
use crate::matrices::dense;
use crate::support::{Operand, Random, program_of, run};

#[test]
fn memory_is_counted_and_reused() {
    let mut engine = CpuBackend::new(Some(1));
    assert_eq!(engine.memory(), MemoryUse::default());
    let sequence = engine.new_sequence();
    let x = engine.upload(&[1024], vec![0.0; 1024]).unwrap();
    assert_eq!(engine.memory().active, 4096);
    drop(x);
    let usage = engine.memory();
    assert_eq!((usage.active, usage.cached, usage.peak), (0, 4096, 4096));
    attend(&mut engine, &step(sequence, 0, 64)).unwrap();
    // Keys and values of 64 tokens, one float each.
    let after_prefill = engine.memory();
    assert_eq!(after_prefill.active, 2 * 64 * 4);
    assert!(after_prefill.peak > after_prefill.active);
    engine.reset_peak();
    assert_eq!(engine.memory().peak, engine.memory().active);
    // Steps that fit in the cache's block take nothing new.
    attend(&mut engine, &step(sequence, 64, 1)).unwrap();
    let all = |usage: MemoryUse| usage.active + usage.cached;
    let steady = all(engine.memory());
    for past in 65..128 {
        attend(&mut engine, &step(sequence, past, 1)).unwrap();
        assert_eq!(all(engine.memory()), steady, "at {past}");
    }
    // What is kept can be given back in the middle of a sequence; its caches stay.
    let before = engine.memory();
    assert!(before.cached > 0);
    engine.clear_cache();
    let after = engine.memory();
    assert_eq!((after.cached, after.active), (0, before.active));
    attend(&mut engine, &step(sequence, 128, 1)).unwrap();
    assert!(engine.memory().cached <= before.cached, "{:?}", engine.memory());
    engine.drop_sequence(sequence);
    assert_eq!(engine.memory().active, 0);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let mut random = Random::new(4);
    let (matrix, _) = dense(&mut random, StoredType::BF16, 700, 320);
    let weights = Arc::new(vec![Weight::Linear { matrix, bias: None }]);
    for tokens in [1, 4, 150] {
        let x = Operand::Floats(vec![tokens, 320], random.floats(tokens * 320));
        let (program, inputs) = program_of(Op::Linear(WeightId(0)), &[x], None, &weights, None);
        let mut results = [1, 2, 5].map(|threads| {
            let mut engine = CpuBackend::new(Some(threads));
            engine.load(Arc::clone(&weights), &mut |_, _| {}).unwrap();
            run(&mut engine, &program, &inputs, None).unwrap()
        });
        let first = std::mem::take(&mut results[0]);
        assert!(first.iter().any(|x| *x != 0.0));
        for other in &results[1..] {
            assert!(
                first.iter().zip(other).all(|(a, b)| a.to_bits() == b.to_bits()),
                "{tokens} tokens"
            );
        }
    }
}

/// Set for the run of this program that may use one processor only.
#[cfg(target_os = "linux")]
const ONE_PROCESSOR: &str = "MONOCLE_TEST_ONE_PROCESSOR";

/// Where a process may use one processor of several, as in a container, the engine has one thread, unless it is told otherwise.
#[test]
#[cfg(target_os = "linux")]
fn there_is_a_thread_for_each_processor_that_may_be_used() {
    let device = |threads| CpuBackend::new(threads).device();
    if std::env::var_os(ONE_PROCESSOR).is_some() {
        assert!(device(None).contains(", 1 threads,"), "{}", device(None));
        assert!(device(Some(3)).contains(", 3 threads,"), "{}", device(Some(3)));
        return;
    }
    let status = std::fs::read_to_string("/proc/self/status").expect("proc is there");
    let allowed = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .expect("the system says which processors may be used");
    let first: String = allowed.trim().chars().take_while(char::is_ascii_digit).collect();
    let this = std::env::current_exe().expect("a test has a program");
    let run = std::process::Command::new("taskset")
        .args(["-c", &first])
        .arg(this)
        .args([
            "--exact",
            "resources::there_is_a_thread_for_each_processor_that_may_be_used",
        ])
        .env(ONE_PROCESSOR, "1")
        .output();
    match run {
        Ok(run) => {
            let said = String::from_utf8_lossy(&run.stdout);
            assert!(run.status.success() && said.contains("1 passed"), "{said}");
        }
        Err(error) => println!("skipped: `taskset` (util-linux) cannot be started: {error}"),
    }
}
