//! Reads calls out of an answer as it comes. How the answer is cut into pieces makes no difference to what comes out.

use std::sync::Arc;

use monocle_manifest::schema::{ToolFormat, ToolShape};

use crate::body;
use crate::scan::{Not, literal, tail_that_begins};
use crate::tools::{Called, Tools};

/// What was found in an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// Words.
    Text(String),
    /// A call, the whole.
    Call(Called),
}

/// Where the answer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In words.
    Words,
    /// In calls that are announced together, between two of them.
    Section,
    /// In a call, whose opening text of so many bytes is held back too.
    Call { open: usize, after: After },
}

/// What a call stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    /// Words.
    Words,
    /// Others, announced together.
    Section,
    /// Nothing: the answer begins like one.
    Nothing,
}

/// See the module.
pub struct CallParser {
    format: Arc<ToolFormat>,
    tools: Tools,
    /// The most calls; further ones are left out.
    most: usize,
    state: State,
    /// What came and is not given out.
    held: String,
    calls: usize,
    /// Words were given out.
    has_words: bool,
    /// The answer's own beginning was looked at, and is no call.
    begun: bool,
}

impl CallParser {
    /// At an answer's begin.
    pub fn new(format: Arc<ToolFormat>, tools: Tools, most: usize) -> Self {
        Self {
            format,
            tools,
            most,
            state: State::Words,
            held: String::new(),
            calls: 0,
            has_words: false,
            begun: false,
        }
    }

    /// Takes more of the answer.
    pub fn push(&mut self, text: &str) -> Vec<Found> {
        self.held.push_str(text);
        self.advance(false)
    }

    /// Nothing more comes.
    pub fn finish(&mut self) -> Vec<Found> {
        self.advance(true)
    }

    fn advance(&mut self, last: bool) -> Vec<Found> {
        let mut found = Vec::new();
        while self.step(last, &mut found) {}
        found
    }

    /// Whether there may be more to do.
    fn step(&mut self, last: bool, found: &mut Vec<Found>) -> bool {
        match self.state {
            State::Words => self.words(last, found),
            State::Section => self.section(last),
            State::Call { open, after } => self.call(open, after, last, found),
        }
    }

    /// The texts that open calls, and the one that announces them.
    fn marks(&self) -> Vec<&str> {
        let section = self.format.section.iter().map(|[open, _]| open);
        let marks = section.chain(&self.format.open).map(String::as_str);
        marks.filter(|mark| !mark.is_empty()).collect()
    }

    fn words(&mut self, last: bool, found: &mut Vec<Found>) -> bool {
        if self.format.bare && !self.begun {
            let start = self.held.trim_start();
            let opens = match self.format.shape {
                ToolShape::Python => '[',
                _ => '{',
            };
            if start.starts_with(opens) {
                self.begun = true;
                self.state = State::Call {
                    open: self.held.len() - start.len(),
                    after: After::Nothing,
                };
                return true;
            }
            if start.is_empty() && !last {
                return false;
            }
            self.begun = true;
        }
        let marks = self.marks();
        let first = marks
            .iter()
            .filter_map(|mark| Some((self.held.find(mark)?, std::cmp::Reverse(mark.len()))))
            .min();
        if let Some((place, std::cmp::Reverse(open))) = first {
            let is_section = self.format.section.as_ref().is_some_and(|[section, _]| {
                !section.is_empty() && self.held[place..place + open] == **section
            });
            let longer = tail_that_begins(&self.held[place..], &marks);
            // The mark may be the beginning of a longer one.
            if !last && longer == self.held.len() - place && marks.iter().any(|mark| mark.len() > longer) {
                return false;
            }
            // White space before a call is none of the words.
            let sure = self.held[..place].trim_end().len();
            let words: String = self.held.drain(..sure).collect();
            self.say(&words, found);
            let open = place - sure + open;
            self.state = match is_section {
                true => {
                    self.held.drain(..open);
                    State::Section
                }
                false => State::Call {
                    open,
                    after: After::Words,
                },
            };
            return true;
        }
        let tail = match last {
            true => 0,
            false => tail_that_begins(&self.held, &marks),
        };
        let mut sure = self.held.len() - tail;
        if !last || self.calls > 0 {
            sure = self.held[..sure].trim_end().len();
        }
        let words: String = self.held.drain(..sure).collect();
        self.say(&words, found);
        if last {
            self.held.clear();
        }
        false
    }

    fn say(&mut self, words: &str, found: &mut Vec<Found>) {
        if !words.is_empty() {
            self.has_words = true;
            found.push(Found::Text(words.to_owned()));
        }
    }

    fn section(&mut self, last: bool) -> bool {
        let space = self.held.len() - self.held.trim_start().len();
        self.held.drain(..space);
        let mut may_come = self.held.is_empty();
        if let Some([_, close]) = &self.format.section {
            match literal(&self.held, 0, close) {
                Ok(((), end)) if end > 0 => {
                    self.held.drain(..end);
                    self.state = State::Words;
                    return true;
                }
                Err(Not::Yet) => may_come = true,
                _ => {}
            }
        }
        for open in &self.format.open {
            match literal(&self.held, 0, open) {
                Ok(((), open)) => {
                    self.state = State::Call {
                        open,
                        after: After::Section,
                    };
                    return true;
                }
                Err(Not::Yet) => may_come = true,
                Err(Not::There) => {}
            }
        }
        if may_come && !last {
            return false;
        }
        if may_come {
            self.held.clear();
        }
        self.state = State::Words;
        !self.held.is_empty()
    }

    fn call(&mut self, open: usize, after: After, last: bool, found: &mut Vec<Found>) -> bool {
        let read = body::read(&self.format, &self.tools, &self.held, open, last);
        // An answer that looks like a call by chance is none: there the tool must be one that was offered.
        let is_known = |calls: &[Called]| calls.iter().all(|call| self.tools.has(&call.name));
        match read {
            Ok((calls, end)) if after != After::Nothing || is_known(&calls) => {
                self.held.drain(..end);
                for call in calls {
                    self.calls += 1;
                    if self.calls <= self.most {
                        found.push(Found::Call(call));
                    }
                }
                self.state = match after {
                    After::Section => State::Section,
                    After::Words | After::Nothing => State::Words,
                };
                true
            }
            Err(Not::Yet) if !last => false,
            // What opened it is words like others.
            _ => {
                let words: String = self.held.drain(..open).collect();
                self.say(&words, found);
                self.state = State::Words;
                !self.held.is_empty()
            }
        }
    }
}
