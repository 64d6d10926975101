//! Beginning sessions: their pictures' pixels and features, and what is kept of sequences that began the same way.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use monocle_tensor::backend::BackendError;

use super::encoding::Encoding;
use super::features::content_key;
use super::passes::is_ready;
use super::prefixes;
use super::{Scheduler, SessionId};
use crate::error::RequestError;
use crate::plugin::state::PixelTensor;
use crate::session::Session;

/// Pieces of an encoder's work in one step where nobody waits for a token: enough that reading results costs nothing that shows, few enough that
/// a request can be cancelled in between.
const PIECES_ALONE: usize = 32;

impl Scheduler {
    /// The next slice of a picture of the oldest session that has one to do, so that others' answers go on between. A picture that is begun is
    /// finished first, and bulk work comes last.
    pub(super) fn encode(&mut self) -> bool {
        let mut order: Vec<&Session> = self.running.iter().collect();
        order.sort_by_key(|session| (session.encoding.is_none(), session.terms.class));
        let ids: Vec<SessionId> = order.iter().map(|session| session.id).collect();
        for id in ids {
            match self.prepare_session(id) {
                Ok(false) => {}
                Ok(true) => return true,
                Err(error) => {
                    self.fail(id, error);
                    return true;
                }
            }
        }
        false
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
            if self.twin_is_on_its_way(index) {
                return Ok(false);
            }
            self.begin_sequence(index)?;
        }
        // One that is begun is finished, needed or not: its pixels cannot be made again.
        let begun = self.running[index].encoding.as_ref();
        let begun = begun.map(|encoding| encoding.picture);
        match begun.or_else(|| self.running[index].picture_to_encode()) {
            Some(picture) => self.encode_picture(index, picture).map(|()| true),
            None if self.running[index].has_prompt_to_encode() => self.encode_prompt(index).map(|()| true),
            None => Ok(false),
        }
    }

    /// What the encoder makes of its prompt. Pictures' features are in it then, and needed no longer.
    fn encode_prompt(&mut self, index: usize) -> Result<(), RequestError> {
        let started = Instant::now();
        let session = &self.running[index];
        self.loaded.backend.stop_at(session.deadline());
        if let Some(encoder) = &session.prepared.prompt_encoder {
            let context = self.loaded.encode_prompt(encoder, &session.features);
            self.loaded.backend.stop_at(None);
            let context = context?;
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

    /// Goes on with a picture, or begins with it.
    fn encode_picture(&mut self, index: usize, picture: usize) -> Result<(), RequestError> {
        let mut encoding = match self.running[index].encoding.take() {
            Some(encoding) => encoding,
            None => {
                let pixels = self.pixels(index, picture)?;
                let session = &mut self.running[index];
                let key = session.picture_keys[picture];
                if let Some(features) = key.and_then(|key| self.features.get(&key)) {
                    session.progress.cached_pictures += 1;
                    session.features[picture] = Some(features);
                    return Ok(());
                }
                session.encoded[picture] = true;
                let encoder = Arc::clone(&session.prepared.encoders[picture]);
                Encoding::new(encoder, picture, pixels, key)
            }
        };
        let started = Instant::now();
        let pieces = match self.running.iter().any(is_ready) {
            true => 1,
            false => PIECES_ALONE,
        };
        self.loaded.backend.stop_at(self.running[index].deadline());
        let features = encoding.advance(&mut self.loaded, pieces);
        self.loaded.backend.stop_at(None);
        let features = features?;
        self.loaded.backend.wait()?;
        let session = &mut self.running[index];
        match features {
            Some(features) => {
                let features = Rc::from(features);
                if let Some(key) = encoding.key {
                    self.features.insert(key, &features);
                }
                session.features[encoding.picture] = Some(features);
            }
            None => session.encoding = Some(encoding),
        }
        session.progress.timings.encode += started.elapsed();
        Ok(())
    }

    /// Whether an older session computes the very same prompt at the moment: once it has done that, this one goes on from there.
    fn twin_is_on_its_way(&self, index: usize) -> bool {
        let session = &self.running[index];
        if self.prefixes.is_off() || session.prepared.has_context() {
            return false;
        }
        let prompt = session.prepared.prompt.ids();
        self.running[..index].iter().any(|other| {
            other.computed < prompt.len()
                && other.prepared.prompt.ids() == prompt
                && other.picture_keys == session.picture_keys
        })
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
