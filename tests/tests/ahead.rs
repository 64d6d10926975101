//! Greedy decoding on an engine that works ahead: each step is asked for before the token of the step before is read.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use monocle::engine::generate::{Flow, GenerateOptions};
use monocle::engine::pictures::PictureInput;
use monocle::engine::prepare::Request;
use monocle::engine::report::Report;
use monocle_tensor::backend::{Backend, BackendError, MemoryUse, SequenceId, Step, Tensor};
use monocle_tensor::program::Program;
use monocle_tensor::stored::Weight;
use monocle_tests::project;
use monocle_text::SamplingOptions;

/// What the engine was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// A step over one token whose id the host knows, or does not.
    Step { known: bool },
    /// A result was read.
    Read,
}

type Events = Rc<RefCell<Vec<Event>>>;

/// An engine that says that it works ahead, or not, and writes down what it is asked for.
struct Watched {
    engine: Box<dyn Backend>,
    ahead: bool,
    events: Events,
}

impl Backend for Watched {
    fn name(&self) -> &'static str {
        self.engine.name()
    }

    fn device(&self) -> String {
        self.engine.device()
    }

    fn load(
        &mut self,
        weights: Arc<Vec<Weight>>,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<(), BackendError> {
        self.engine.load(weights, progress)
    }

    fn new_sequence(&mut self) -> SequenceId {
        self.engine.new_sequence()
    }

    fn drop_sequence(&mut self, sequence: SequenceId) {
        self.engine.drop_sequence(sequence);
    }

    fn upload(&mut self, shape: &[usize], values: Vec<f32>) -> Result<Tensor, BackendError> {
        self.engine.upload(shape, values)
    }

    fn download(&mut self, tensor: &Tensor) -> Result<Vec<f32>, BackendError> {
        self.events.borrow_mut().push(Event::Read);
        self.engine.download(tensor)
    }

    fn run(
        &mut self,
        program: &Program,
        inputs: &[Tensor],
        step: Option<&Step>,
    ) -> Result<Vec<Tensor>, BackendError> {
        if let Some(step) = step
            && step.tokens.len() == 1
        {
            let known = step.device_tokens.is_none();
            self.events.borrow_mut().push(Event::Step { known });
        }
        self.engine.run(program, inputs, step)
    }

    fn memory(&self) -> MemoryUse {
        self.engine.memory()
    }

    fn reset_peak(&mut self) {
        self.engine.reset_peak();
    }

    fn is_ahead(&self) -> bool {
        self.ahead
    }
}

fn answer(ahead: bool, max_tokens: usize, sampling: SamplingOptions) -> (Report, Vec<Event>) {
    let events = Events::default();
    let engine = Watched {
        engine: project::engine(),
        ahead,
        events: Rc::clone(&events),
    };
    let mut model = project::open_with(&project::root().join("models/shapes"), Box::new(engine));
    let picture = project::root().join("models/shapes/pictures/shapes.png");
    let request = Request::single(None, vec![PictureInput::File(picture)], "Describe this picture.");
    let options = GenerateOptions {
        max_tokens,
        sampling,
        stop: Vec::new(),
        prefill_chunk: 512,
        thinking_budget: None,
    };
    let report = model
        .generate(&request, &options, &mut |_| Flow::Continue)
        .unwrap();
    let events = events.borrow().clone();
    (report, events)
}

#[test]
fn the_next_step_is_queued_before_a_token_is_read() {
    let (plain, known) = answer(false, 5, SamplingOptions::default());
    let (ahead, unknown) = answer(true, 5, SamplingOptions::default());
    assert_eq!(ahead.token_ids, plain.token_ids);
    assert_eq!(ahead.output.text, plain.output.text);
    // Plain: read the logits, then step, five tokens in four steps.
    let read_and_step = [Event::Read, Event::Step { known: true }];
    assert_eq!(known, [read_and_step.repeat(4), vec![Event::Read]].concat());
    // Ahead: step, then read the token and its logit; the last token needs no step.
    let step_and_read = [Event::Step { known: false }, Event::Read, Event::Read];
    assert_eq!(unknown, [step_and_read.repeat(4), vec![Event::Read; 2]].concat());
}

#[test]
fn an_answer_that_ends_early_is_the_same() {
    let (plain, _) = answer(false, 200, SamplingOptions::default());
    let (ahead, events) = answer(true, 200, SamplingOptions::default());
    assert!(plain.output.tokens < 200, "{:?}", plain.output);
    assert_eq!(ahead.token_ids, plain.token_ids);
    assert_eq!(ahead.output.finish, plain.output.finish);
    // The step that nobody needed was queued.
    let steps = events.iter().filter(|event| matches!(event, Event::Step { .. }));
    assert_eq!(steps.count(), ahead.output.tokens);
}

#[test]
fn tokens_that_the_host_chooses_are_waited_for() {
    let sampling = SamplingOptions {
        temperature: 1.0,
        seed: 7,
        ..SamplingOptions::default()
    };
    let (plain, _) = answer(false, 5, sampling.clone());
    let (ahead, events) = answer(true, 5, sampling);
    assert_eq!(ahead.token_ids, plain.token_ids);
    assert!(!events.contains(&Event::Step { known: false }), "{events:?}");
}
