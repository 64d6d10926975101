//! Beginning sessions: their pictures' pixels and features, and what is kept of sequences that began the same way.

use std::rc::Rc;
use std::time::Instant;

use monocle_tensor::backend::BackendError;

use super::features::{ContentKey, content_key};
use super::prefixes;
use super::{Scheduler, SessionId};
use crate::error::RequestError;
use crate::plugin::wasm::recording::PixelTensor;

impl Scheduler {
    /// The next picture of the oldest session that has one to do: a picture a step, so that others' answers go on between.
    pub(super) fn encode(&mut self) {
        let ids: Vec<SessionId> = self.running.iter().map(|session| session.id).collect();
        for id in ids {
            match self.prepare_session(id) {
                Ok(false) => {}
                Ok(true) => return,
                Err(error) => {
                    self.fail(id, error);
                    return;
                }
            }
        }
    }

    /// The next thing to do before rows of a session can be computed; whether that was more than a trifle.
    fn prepare_session(&mut self, id: SessionId) -> Result<bool, RequestError> {
        let Some(index) = self.place(id) else {
            return Ok(false);
        };
        if self.running[index].sequence.is_none() {
            let unknown = self.running[index].picture_keys.iter().position(Option::is_none);
            // What is kept is found by pictures' contents.
            if let Some(picture) = unknown.filter(|_| !self.prefixes.is_off()) {
                let pixels = self.pixels(index, picture)?;
                self.running[index].pixels[picture] = Some(pixels);
                return Ok(true);
            }
            self.begin_sequence(index)?;
        }
        match self.running[index].picture_to_encode() {
            Some(picture) => self.encode_picture(index, picture).map(|()| true),
            None if self.running[index].has_prompt_to_encode() => self.encode_prompt(index).map(|()| true),
            None => Ok(false),
        }
    }

    /// What the encoder makes of its prompt. Pictures' features are in it then, and needed no longer.
    fn encode_prompt(&mut self, index: usize) -> Result<(), RequestError> {
        let started = Instant::now();
        let session = &self.running[index];
        if let Some(encoder) = &session.prepared.prompt_encoder {
            let context = self.loaded.encode_prompt(encoder, &session.features)?;
            self.loaded.backend.wait()?;
            let session = &mut self.running[index];
            session.context = Some(context);
            session.features.fill(None);
            session.progress.timings.encode += started.elapsed();
        }
        Ok(())
    }

    /// A picture's pixels, and its key where something may be kept for later.
    fn pixels(&mut self, index: usize, picture: usize) -> Result<Vec<PixelTensor>, RequestError> {
        let session = &mut self.running[index];
        if let Some(pixels) = session.pixels[picture].take() {
            return Ok(pixels);
        }
        if std::mem::replace(&mut session.pixels_made[picture], true) {
            let reason = format!("picture {picture} is needed again, and its pixels were given up");
            return Err(BackendError::Sequence(reason).into());
        }
        let started = Instant::now();
        let pixels = session.prepared.take_pixels(picture)?;
        if self.options.cache_limit > 0 {
            let layout = &session.prepared.plan.images[picture].layout;
            session.picture_keys[picture] = Some(content_key(&pixels, layout));
        }
        session.progress.timings.images += started.elapsed();
        Ok(pixels)
    }

    fn encode_picture(&mut self, index: usize, picture: usize) -> Result<(), RequestError> {
        let pixels = self.pixels(index, picture)?;
        let key = self.running[index].picture_keys[picture];
        let started = Instant::now();
        let known = key.and_then(|key| self.features.get(&key));
        let features = match known {
            Some(features) => {
                self.running[index].progress.cached_pictures += 1;
                features
            }
            None => self.run_encoder(index, picture, pixels, key)?,
        };
        let session = &mut self.running[index];
        session.features[picture] = Some(features);
        session.progress.timings.encode += started.elapsed();
        Ok(())
    }

    fn run_encoder(
        &mut self,
        index: usize,
        picture: usize,
        pixels: Vec<PixelTensor>,
        key: Option<ContentKey>,
    ) -> Result<Rc<[monocle_tensor::backend::Tensor]>, RequestError> {
        let program = std::sync::Arc::clone(&self.running[index].prepared.encoders[picture]);
        let features = Rc::from(self.loaded.encode(&program, pixels)?);
        self.loaded.backend.wait()?;
        if let Some(key) = key {
            self.features.insert(key, &features);
        }
        Ok(features)
    }

    /// A new sequence, or one that goes on where a kept one, or one that runs, is the same.
    fn begin_sequence(&mut self, index: usize) -> Result<(), RequestError> {
        let session = &self.running[index];
        let mut begun = None;
        if !self.prefixes.is_off() && !session.prepared.has_context() {
            let prompt = &session.prepared.prompt;
            if let Some(keys) = prefixes::token_keys(prompt, &session.tokens, &session.picture_keys) {
                let mut matches = self.prefixes.matches(prompt, &keys);
                for other in self.running.iter().filter(|other| !other.prepared.has_context()) {
                    let computed = other.computed.min(other.tokens.len());
                    let (Some(sequence), true) = (other.sequence, computed > 0) else {
                        continue;
                    };
                    let theirs = prefixes::token_keys(
                        &other.prepared.prompt,
                        &other.tokens[..computed],
                        &other.picture_keys,
                    );
                    let common = theirs.map_or(0, |theirs| prefixes::common(prompt, &keys, &theirs));
                    if common > 0 {
                        matches.push((sequence, common));
                    }
                }
                matches.sort_by_key(|(_, tokens)| std::cmp::Reverse(*tokens));
                for (sequence, tokens) in matches {
                    if let Some(fork) = self.loaded.backend.fork(sequence, tokens)? {
                        self.prefixes.touch(sequence);
                        begun = Some((fork, tokens));
                        break;
                    }
                }
            }
        }
        let (sequence, computed) = match begun {
            Some(begun) => begun,
            None => (self.loaded.backend.new_sequence(), 0),
        };
        let session = &mut self.running[index];
        session.sequence = Some(sequence);
        session.computed = computed;
        // Computing again is not new to the report.
        if session.generated() == 0 {
            session.progress.cached_tokens = computed;
        }
        Ok(())
    }
}
