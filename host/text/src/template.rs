//! Chat templates: from a conversation to the prompt's text, the way Hugging Face's templates expect it.
//!
//! Templates are Jinja, written for transformers' environment (`_compile_jinja_template`): `trim_blocks`,
//! `lstrip_blocks`, loop controls, the `generation` tag, `raise_exception`, `strftime_now`, its own `tojson`, and
//! Python's methods on strings, lists and maps.

mod content;
mod environment;
mod filters;
mod globals;
mod guard;
mod json;
mod python;
mod source;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use minijinja::{Environment, ErrorKind, Value};
use serde_json::Map;

use crate::conversation::{Conversation, Message};
use crate::tokenizer::SpecialTokens;
use content::{Accepts, Kind};
use environment::{RaisedByTemplate, to_value};

pub use source::{
    Candidates, TemplateSource, choose_template, made_template, plain_template, read_template_argument,
    repository_template,
};

/// Steps a template may take: a thousand messages take about a hundred thousand.
const FUEL: u64 = 5_000_000;
/// Bytes a prompt may have.
const LONGEST_PROMPT: usize = 16 << 20;
/// The name the engine knows the template by.
const NAME: &str = "chat_template";

/// Variables that every template is given, and nobody else can give.
pub const FIXED_VARIABLES: [&str; 4] = ["messages", "tools", "documents", "add_generation_prompt"];

/// A compiled chat template, and where it came from.
#[derive(Debug)]
pub struct ChatTemplate {
    source: TemplateSource,
    text: String,
    environment: Environment<'static>,
    /// In which forms the template takes content, as far as it was asked.
    accepts: Mutex<HashMap<Kind, Accepts>>,
    /// Variables that it reads.
    variables: OnceLock<HashSet<String>>,
    /// How long a conversation's renders may take.
    longest: Duration,
}

/// What a template is given besides the conversation.
#[derive(Debug, Clone, Default)]
pub struct RenderOptions {
    /// Ask for the text that makes the model answer next.
    pub add_generation_prompt: bool,
    /// Tools the model may call, as JSON schemas.
    pub tools: Option<Vec<serde_json::Value>>,
    /// Documents to answer from.
    pub documents: Option<Vec<serde_json::Value>>,
    /// Further variables (`enable_thinking`, …). Those of [`FIXED_VARIABLES`] have no effect.
    pub variables: Map<String, serde_json::Value>,
}

/// Why there is no prompt.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The template is not valid Jinja.
    #[error("the chat template from {origin} has a syntax error in line {line} (`{code}`): {reason}")]
    Syntax {
        /// Where the template came from.
        origin: TemplateSource,
        /// The line, counted from 1.
        line: usize,
        /// That line.
        code: String,
        /// What is wrong.
        reason: String,
    },
    /// The template refused the conversation.
    #[error("the chat template from {origin} refuses this conversation in line {line}: {message}")]
    Refused {
        /// Where the template came from.
        origin: TemplateSource,
        /// The line, counted from 1.
        line: usize,
        /// What it says.
        message: String,
    },
    /// Rendering failed.
    #[error("the chat template from {origin} fails in line {line} (`{code}`): {reason}")]
    Render {
        /// Where the template came from.
        origin: TemplateSource,
        /// The line, counted from 1.
        line: usize,
        /// That line.
        code: String,
        /// What is wrong.
        reason: String,
    },
    /// The template did not end in time.
    #[error(
        "the chat template from {origin} did not end within {steps} steps; give another with `--template`"
    )]
    OutOfSteps {
        /// Where the template came from.
        origin: TemplateSource,
        /// The limit.
        steps: u64,
    },
    /// The prompt is too long.
    #[error("the chat template from {origin} makes a prompt of more than {limit} bytes")]
    TooLong {
        /// Where the template came from.
        origin: TemplateSource,
        /// The limit.
        limit: usize,
    },
    /// The template makes something larger than any prompt.
    #[error(
        "the chat template from {origin} makes values of more than {limit} bytes in line {line}; give another with `--template`"
    )]
    TooLarge {
        /// Where the template came from.
        origin: TemplateSource,
        /// The line, counted from 1.
        line: usize,
        /// The limit.
        limit: usize,
    },
    /// The template's steps take too long.
    #[error(
        "the chat template from {origin} did not end within {} s, and was stopped in line {line}; give another with `--template`",
        .limit.as_secs_f64()
    )]
    TooSlow {
        /// Where the template came from.
        origin: TemplateSource,
        /// The line, counted from 1.
        line: usize,
        /// The limit.
        limit: Duration,
    },
    /// The template prints a list of parts as if it were text.
    #[error(
        "the chat template from {origin} prints the parts of a message as a list; it takes neither text nor parts for a \
         message like this one; give another with `--template`"
    )]
    PrintsParts {
        /// Where the template came from.
        origin: TemplateSource,
    },
    /// A template file cannot be read.
    #[error("cannot read the chat template `{path}`: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A JSON file does not hold a template.
    #[error("`{path}` holds no chat template: {reason}")]
    NoTemplate {
        /// The file.
        path: PathBuf,
        /// What was expected and what is there.
        reason: String,
    },
}

impl ChatTemplate {
    /// Compiles a template.
    pub fn new(source: TemplateSource, text: impl Into<String>) -> Result<Self, TemplateError> {
        let text = text.into();
        let prepared = environment::prepare(&text);
        if let Err(guard::TooNested { line, reason }) = guard::check_nesting(&prepared) {
            let code = code_of(&text, line);
            return Err(TemplateError::Syntax {
                origin: source,
                line,
                code,
                reason,
            });
        }
        let mut environment = environment::new(guard::fuel(&prepared, FUEL));
        let compiled =
            guard::with_checks(&prepared).and_then(|text| environment.add_template_owned(NAME, text));
        if let Err(error) = compiled {
            if let Some(guard::TooLarge(limit)) = source_of(&error) {
                let (line, limit) = (1, *limit);
                return Err(TemplateError::TooLarge {
                    origin: source,
                    line,
                    limit,
                });
            }
            let line = error.line().unwrap_or(1);
            let code = code_of(&text, line);
            return Err(TemplateError::Syntax {
                origin: source,
                line,
                code,
                reason: reason(&error),
            });
        }
        Ok(Self {
            source,
            text,
            environment,
            accepts: Mutex::default(),
            variables: OnceLock::new(),
            longest: guard::LONGEST,
        })
    }

    /// Where the template came from.
    pub fn source(&self) -> &TemplateSource {
        &self.source
    }

    /// The template's text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the template ever reads a variable of this name.
    pub fn reads(&self, variable: &str) -> bool {
        let variables = self.variables.get_or_init(|| {
            let template = self.environment.get_template(NAME);
            template.map_or_else(
                |_| HashSet::new(),
                |template| template.undeclared_variables(false),
            )
        });
        variables.contains(variable)
    }

    /// The prompt of a conversation. Each message's content is handed over in a form that the template takes: a list of parts where it
    /// takes them, else one string. A string has no place for pictures; who wants them in it writes marks of the model's own into the text.
    pub fn render(
        &self,
        conversation: &Conversation,
        special: &SpecialTokens,
        options: &RenderOptions,
    ) -> Result<String, TemplateError> {
        let time = guard::Time::begin(self.longest);
        let fit = |message: &Message| Message {
            content: self
                .accepts(content::kind(message), special, options, &time)
                .fit(&message.content),
            ..message.clone()
        };
        let fitted = Conversation {
            messages: conversation.messages.iter().map(fit).collect(),
        };
        self.render_as_given(&fitted, special, options)
    }

    /// In which forms the template takes the content of such a message. Asked once.
    fn accepts(
        &self,
        kind: Kind,
        special: &SpecialTokens,
        options: &RenderOptions,
        time: &guard::Time,
    ) -> Accepts {
        let known = |kind: &Kind| {
            let accepts = self.accepts.lock().unwrap_or_else(PoisonError::into_inner);
            accepts.get(kind).copied()
        };
        if let Some(accepts) = known(&kind) {
            return accepts;
        }
        let user = match kind.0.as_str() {
            "user" => Accepts::default(),
            _ => self.accepts(("user".to_owned(), false), special, options, time),
        };
        let takes = |parts: bool| {
            for probe in content::probes(&kind, parts, user) {
                match self.render_as_given(&probe, special, options) {
                    Ok(prompt) if prompt.contains(content::PROBE) => return true,
                    // What took all its time once would do so again.
                    Err(TemplateError::OutOfSteps { .. } | TemplateError::TooLarge { .. }) => return false,
                    _ => {}
                }
            }
            false
        };
        let accepts = Accepts {
            text: takes(false),
            parts: takes(true),
        };
        if time.is_over() {
            // The answers are not the template's.
            return accepts;
        }
        let mut all = self.accepts.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(kind, accepts);
        accepts
    }

    fn render_as_given(
        &self,
        conversation: &Conversation,
        special: &SpecialTokens,
        options: &RenderOptions,
    ) -> Result<String, TemplateError> {
        let list = |list: &Option<Vec<serde_json::Value>>| match list {
            Some(list) => list.iter().map(to_value).collect(),
            None => Value::from(()),
        };
        let fixed = [
            (
                "messages".to_owned(),
                conversation.messages.iter().map(content::message_value).collect(),
            ),
            ("tools".to_owned(), list(&options.tools)),
            ("documents".to_owned(), list(&options.documents)),
            (
                "add_generation_prompt".to_owned(),
                Value::from(options.add_generation_prompt),
            ),
        ];
        let special = special
            .variables()
            .map(|(key, token)| (key.to_owned(), Value::from(token)));
        let further = options
            .variables
            .iter()
            .map(|(key, value)| (key.clone(), to_value(value)));
        self.render_variables(Value::from_pairs(special.chain(further).chain(fixed)))
    }

    fn render_variables(&self, variables: Value) -> Result<String, TemplateError> {
        let mut output = Capped {
            bytes: Vec::new(),
            full: false,
        };
        // The engine is given templates that nobody here has read; should one find a way to make it panic, that is
        // an error of the template like any other.
        let run = std::panic::AssertUnwindSafe(|| {
            guard::start();
            content::start();
            let template = self.environment.get_template(NAME)?;
            template.render_captured_to(variables, &mut output).map(drop)
        });
        let origin = self.source.clone();
        match std::panic::catch_unwind(run) {
            Ok(Ok(())) if content::was_printed() => Err(TemplateError::PrintsParts { origin }),
            Ok(Ok(())) => Ok(String::from_utf8_lossy(&output.bytes).into_owned()),
            Ok(Err(_)) if output.full => Err(TemplateError::TooLong {
                origin,
                limit: LONGEST_PROMPT,
            }),
            Ok(Err(error)) => Err(self.explain(&error)),
            Err(_) => Err(TemplateError::Render {
                origin,
                line: 1,
                code: code_of(&self.text, 1),
                reason: "the template engine gave up".to_owned(),
            }),
        }
    }

    fn explain(&self, error: &minijinja::Error) -> TemplateError {
        let origin = self.source.clone();
        let line = error.line().unwrap_or(1);
        if error.kind() == ErrorKind::OutOfFuel {
            let steps = self.environment.fuel().unwrap_or(FUEL);
            return TemplateError::OutOfSteps { origin, steps };
        }
        if let Some(guard::TooLarge(limit)) = source_of(error) {
            let limit = *limit;
            return TemplateError::TooLarge { origin, line, limit };
        }
        if source_of::<guard::TooSlow>(error).is_some() {
            let limit = self.longest;
            return TemplateError::TooSlow { origin, line, limit };
        }
        if let Some(raised) = source_of::<RaisedByTemplate>(error) {
            return TemplateError::Refused {
                origin,
                line,
                message: raised.0.clone(),
            };
        }
        TemplateError::Render {
            origin,
            line,
            code: code_of(&self.text, line),
            reason: reason(error),
        }
    }
}

/// What an error was made from, when it is of this type.
fn source_of<T: std::error::Error + 'static>(error: &minijinja::Error) -> Option<&T> {
    std::error::Error::source(error).and_then(|source| source.downcast_ref())
}

/// What an engine's error says, without the template's name.
fn reason(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

/// A line of a template, short enough for a message.
fn code_of(text: &str, line: usize) -> String {
    let code = text.lines().nth(line.saturating_sub(1)).unwrap_or("").trim();
    match code.char_indices().nth(100) {
        Some((end, _)) => format!("{}…", &code[..end]),
        None => code.to_owned(),
    }
}

/// Output up to a limit.
struct Capped {
    bytes: Vec<u8>,
    full: bool,
}

impl io::Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > LONGEST_PROMPT {
            self.full = true;
            return Err(io::Error::other("the prompt is too long"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::{Content, Message};

    fn render(template: &str) -> Result<String, TemplateError> {
        let conversation = Conversation {
            messages: vec![Message::new("user", Content::Text("Hi".into()))],
        };
        ChatTemplate::new(TemplateSource::Manifest, template)?.render(
            &conversation,
            &SpecialTokens::default(),
            &RenderOptions::default(),
        )
    }

    #[test]
    fn a_syntax_error_names_source_line_and_code() {
        let error = render("a\n{% for m in messages %}\n{{ m.role }\n{% endfor %}")
            .unwrap_err()
            .to_string();
        assert!(error.contains("the manifest"), "{error}");
        assert!(error.contains("line 3 (`{{ m.role }`)"), "{error}");
    }

    #[test]
    fn a_refusal_carries_the_templates_words() {
        match render("\n{{ raise_exception('only ' ~ 2 ~ ' roles') }}") {
            Err(TemplateError::Refused { line: 2, message, .. }) => assert_eq!(message, "only 2 roles"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_failure_names_line_and_code() {
        match render("a\n\n{{ messages[0].missing.deeper }}") {
            Err(TemplateError::Render { line: 3, code, .. }) => {
                assert_eq!(code, "{{ messages[0].missing.deeper }}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn endless_work_is_cut_off() {
        let nested = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}";
        assert!(matches!(render(nested), Err(TemplateError::OutOfSteps { .. })));
        let recursion = "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}";
        assert!(matches!(render(recursion), Err(TemplateError::Render { .. })));
    }

    #[test]
    fn work_that_takes_few_steps_and_long_is_cut_off() {
        let set = "{% set a = 'a' * 6000000 %}{% set b = 'a' * 6000000 %}{% set l = range(9999)|list %}";
        let bodies = [
            "{% if a == b %}{% endif %}",
            "{% if 'b' in a %}{% endif %}",
            "{% if a is eq b %}{% endif %}",
            "{% if -1 in l %}{% endif %}",
            "{% if a|length %}{% endif %}",
            "{% set x = range(99999)|sum %}",
            "{% set x = a.find('b') %}",
            "{% if a[1:] %}{% endif %}",
        ];
        for body in bodies {
            let text = format!("{set}{{% for i in range(99999) %}}{body}{{% endfor %}}");
            let mut template = ChatTemplate::new(TemplateSource::Flag, text).unwrap();
            template.longest = Duration::from_millis(200);
            let begun = std::time::Instant::now();
            let error = template
                .render(
                    &Conversation { messages: Vec::new() },
                    &SpecialTokens::default(),
                    &RenderOptions::default(),
                )
                .unwrap_err();
            assert!(matches!(error, TemplateError::TooSlow { .. }), "{body}: {error}");
            assert!(begun.elapsed() < Duration::from_secs(20), "{body}");
        }
    }

    #[test]
    fn endless_output_is_cut_off() {
        let long = "{% for a in range(99999) %}{{ 'x' * 99999 }}{% endfor %}";
        assert!(matches!(render(long), Err(TemplateError::TooLong { .. })));
    }

    #[test]
    fn memory_is_not_doubled_away() {
        let looped = |start: &str, body: &str| {
            format!("{{% set ns = namespace(x={start}) %}}{{% for i in range(60) %}}{body}{{% endfor %}}")
        };
        let templates = [
            looped("'aa'", "{% set ns.x = ns.x ~ ns.x %}"),
            looped("'aa'", "{% set ns.x = ns.x + ns.x %}"),
            looped("'aa'", "{% set ns.x = ns.x * 2 %}"),
            looped("['aa']", "{% set ns.x = ns.x + ns.x %}"),
            looped("['aa']", "{% set ns.x = [ns.x, ns.x] %}"),
            looped("['aa']", "{% set ns.x = dict(a=ns.x, b=ns.x) %}"),
            looped("['aa']", "{% set ns.x = ns.x|chain(ns.x)|list %}"),
            looped("'aa'", "{% set ns.x = ns.x|replace('a', ns.x) %}"),
            looped("'aa'", "{% set ns.x = ns.x.replace('a', ns.x) %}"),
            looped("'aa'", "{% set ns.x = ns.x|join(ns.x) %}"),
            looped("'aa'", "{% set ns.x = ns.x.join([ns.x, ns.x]) %}"),
            looped("'aa'", "{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}"),
            looped("'aa'", "{% set ns.x = '%s%s'|format(ns.x, ns.x) %}"),
            looped("'aa'", "{% set ns.x = '{}{}'.format(ns.x, ns.x) %}"),
            "{% set x = 'aa' %}".to_owned() + &"{% set x = x ~ x %}".repeat(60),
            "{% macro m(x) %}{{ m(x ~ x) }}{% endmacro %}{{ m('aa') }}".to_owned(),
            "{{ '\n'|indent(2000000000, true) }}".to_owned(),
            "{{ '%2000000000d'|format(1) }}".to_owned(),
            "{{ '{:2000000000}'.format(1) }}".to_owned(),
            format!("{{% set x = [{}] %}}", "'a' * 16000000, ".repeat(40)),
            "{{ 'a'|center(2000000000) }}".to_owned(),
            "{{ 'a'.center(2000000000) }}".to_owned(),
            "{{ 'a'.ljust(2000000000) }}{{ 'a'.rjust(2000000000) }}".to_owned(),
            "{{ 'a'.zfill(2000000000) }}".to_owned(),
            "{{ 'a\t'.expandtabs(2000000000) }}".to_owned(),
            "{{ '%2000000000d' % 1 }}".to_owned(),
            "{{ '%*d' % (2000000000, 1) }}".to_owned(),
            "{{ '%.*f' % (2000000000, 1) }}".to_owned(),
            "{{ '%.2000000000d' % 1 }}".to_owned(),
            "{{ 'a,b'.split(',') * 9999999 }}".to_owned(),
            looped("'aa'", "{% set ns.x = '%s%s' % (ns.x, ns.x) %}"),
            looped("'aa'", "{% set ns.x = ns.x.join([ns.x, ns.x, ns.x]) %}"),
            looped("'aa'", "{% set ns.x = ns.x|wordwrap(1, wrapstring=ns.x) %}"),
            looped("'aa'", "{% set ns.x = ns.x|indent(ns.x, true) %}"),
            "{{ ('a,' * 8000000).rsplit(',') }}".to_owned(),
            "{{ ('a ' * 8000000).split() }}".to_owned(),
            "{{ ('a\n' * 8000000).splitlines() }}".to_owned(),
            "{{ (1, 2, 3)|tojson(separators=('x' * 16000000, ':')) }}".to_owned(),
            "{{ [[[1, 2]]]|tojson(indent='x' * 5000000) }}".to_owned(),
            "{{ [1]|tojson(indent=2000000000) }}".to_owned(),
            "{{ [1]|slice(2000000000) }}".to_owned(),
            "{{ [1]|batch(2000000000, 0) }}".to_owned(),
            "{{ dict.fromkeys(range(99999), 'x' * 16000000) }}".to_owned(),
            "{% set c = joiner('x' * 16000000) %}{% for i in range(9999) %}{% set x = c() ~ c() %}{% endfor %}"
                .to_owned(),
        ];
        for template in templates {
            let error = render(&template).unwrap_err();
            assert!(
                matches!(error, TemplateError::TooLarge { .. }),
                "{template}: {error}"
            );
        }
    }

    #[test]
    fn what_is_forgotten_counts_too() {
        // Half a megabyte each time, in values of which none is large.
        let template = "{% set ns = namespace(x='') %}{% for i in range(99999) %}{% set ns.x = i ~ 'a' * 500000 %}{% endfor %}";
        assert!(matches!(render(template), Err(TemplateError::TooLarge { .. })));
        let capture = format!(
            "{{% set x %}}{{% for i in range(99999) %}}{}{{% endfor %}}{{% endset %}}",
            "a".repeat(500_000)
        );
        assert!(matches!(render(&capture), Err(TemplateError::OutOfSteps { steps, .. }) if steps < 101));
    }

    #[test]
    fn what_is_kept_or_captured_counts_before_it_is_much() {
        let loops = "{% for i in range(99999) %}";
        let each = (0..200).map(|index| format!("{{% set v{index} = 'a' * n ~ {index} %}}"));
        let variables = format!("{{% set n = 900000 %}}{}", each.collect::<String>());
        let error = render(&variables).unwrap_err();
        assert!(
            matches!(error, TemplateError::TooLarge { limit, .. } if limit == 24 << 20),
            "{error}"
        );
        for template in [
            // Values that are kept in one.
            format!(
                "{{% set ns = namespace(l=[]) %}}{loops}{{% set ns.l = ns.l + ['a' * 4000000 ~ i] %}}{{% endfor %}}"
            ),
            format!(
                "{{% set ns = namespace(l=[]) %}}{loops}{{% set ns.l = [ns.l, 'a' * 900000 ~ i] %}}{{% endfor %}}"
            ),
            format!(
                "{{% set ns = namespace(m={{}}) %}}{loops}{{% set ns.m = dict(m=ns.m, x='a' * 900000 ~ i) %}}{{% endfor %}}"
            ),
            // One value printed again and again, into another.
            format!(
                "{{% set b = 'a' * 4000000 %}}{{% set x %}}{loops}{{{{ b }}}}{{% endfor %}}{{% endset %}}"
            ),
            format!(
                "{{% set b = 'a' * 4000000 %}}{{% macro m() %}}{loops}{{{{ b }}}}{{% endfor %}}{{% endmacro %}}{{{{ m()|length }}}}"
            ),
            format!(
                "{{% set b = 'a' * 4000000 %}}{{% filter upper %}}{loops}{{{{ b }}}}{{% endfor %}}{{% endfilter %}}"
            ),
        ] {
            let error = render(&template).unwrap_err();
            assert!(
                matches!(error, TemplateError::TooLarge { limit, .. } if limit <= 48 << 20),
                "{template}: {error}"
            );
        }
        // What is let go makes room: forty times as much as there may be at once.
        let honest = format!(
            "{{% set ns = namespace(x='') %}}{loops}{{% if i < 1000 %}}{{% set ns.x = 'a' * 1000000 ~ i %}}{{% endif %}}{{% endfor %}}ok"
        );
        assert_eq!(render(&honest).unwrap(), "ok");
    }

    #[test]
    fn the_guards_own_filters_give_nothing_away() {
        for template in [
            "{{ 'aaaa'|__replace('a', 'b') }}",
            "{{ ['a']|__join('b') }}",
            "{{ '%9d'|__format(1) }}",
            "{{ 'a'|__indent(9) }}",
        ] {
            let error = render(template).unwrap_err().to_string();
            assert!(error.contains("unknown filter"), "{template}: {error}");
        }
        let bomb = render("{{ '%2000000000d'|__remainder(1) }}");
        assert!(matches!(bomb, Err(TemplateError::TooLarge { .. })));
    }

    #[test]
    fn long_chains_are_refused_before_the_stack_is_gone() {
        for (begin, piece, end) in [
            ("{{ a", ".b", " }}"),
            ("{{ 1", "+1", " }}"),
            ("{{ ", "not ", "a }}"),
            ("{{ ", "-", "1 }}"),
            ("{{ a", "[0]", " }}"),
            ("{{ a", "|string", " }}"),
            ("{{ a", " if a else a", " }}"),
            ("{% if a %}", "{% elif a %}", "{% endif %}"),
        ] {
            let template = format!("\n{begin}{}{end}", piece.repeat(100_000));
            match render(&template) {
                Err(TemplateError::Syntax { line: 2, code, .. }) => assert!(code.len() < 400),
                other => panic!("{begin}{piece}{end}: {other:?}"),
            }
        }
    }

    #[test]
    fn variables_that_are_read_are_known() {
        let template = "{% if enable_thinking is defined and enable_thinking %}{{ messages }}{% endif %}{% set x = 1 %}{{ x }}";
        let template = ChatTemplate::new(TemplateSource::Plain, template).unwrap();
        assert!(template.reads("enable_thinking"));
        assert!(!template.reads("enable_thinkin") && !template.reads("x"));
    }

    #[test]
    fn a_list_of_parts_is_never_printed() {
        let conversation = Conversation::single(None, 1, "What?");
        let render = |template: &str| {
            let template = ChatTemplate::new(TemplateSource::Flag, template).unwrap();
            template.render(
                &conversation,
                &SpecialTokens::default(),
                &RenderOptions::default(),
            )
        };
        // The words are taken as a string.
        assert_eq!(render("{{ messages[0].content }}").unwrap(), "What?");
        // Neither form is: a list is printed, or the words are lost.
        let prints = "{{ [messages[0].content] if messages[0].content is not string }}";
        let error = render(prints).unwrap_err();
        assert!(matches!(error, TemplateError::PrintsParts { .. }), "{error}");
    }

    #[test]
    fn nothing_outside_the_template_can_be_reached() {
        assert!(render("{% include '/etc/passwd' %}").is_err());
    }

    #[test]
    fn variables_given_by_the_caller_are_seen_but_do_not_hide_the_conversation() {
        let conversation = Conversation::single(None, 1, "What?");
        let special = SpecialTokens {
            bos: Some("<s>".into()),
            ..SpecialTokens::default()
        };
        let mut options = RenderOptions {
            add_generation_prompt: true,
            ..RenderOptions::default()
        };
        options.variables.insert("enable_thinking".into(), false.into());
        options.variables.insert("messages".into(), "hidden".into());
        let template = "{{ bos_token }}{{ enable_thinking }}{{ messages[0].content[0].type }}\
                        {{ add_generation_prompt }}{{ tools }}{{ date_string is defined }}";
        let template = ChatTemplate::new(TemplateSource::Plain, template).unwrap();
        assert_eq!(
            template.render(&conversation, &special, &options).unwrap(),
            "<s>FalseimageTrueNoneFalse"
        );
    }
}
