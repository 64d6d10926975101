//! Working ahead: on an engine that computes while the host does something else, the next step is asked for before this one's tokens are
//! read, where nothing but the device has a say in them.

use monocle_tensor::backend::Tensor;
use monocle_text::SamplingError;

use super::passes::{Logits, Member, is_ready};
use super::policy;
use super::{Scheduler, SessionId};
use crate::device_choice::{Picked, Picker};
use crate::error::RequestError;

/// Tokens that the device has chosen, or will have.
pub struct Ahead {
    /// Whose they are, row by row; rows after these belong to nobody.
    members: Vec<SessionId>,
    picked: Picked,
    /// What they were chosen by.
    logits: Logits,
}

impl Scheduler {
    /// Has the device choose these sessions' tokens, if it may choose all of them; gives the logits back where the host must.
    pub(super) fn choose_ahead(&mut self, members: &[SessionId], logits: Logits) -> Result<(), Logits> {
        // Of the passes of one step, one goes ahead: the others' tokens would be forgotten over it.
        if !self.loaded.backend.is_ahead() || self.ahead.is_some() {
            return Err(logits);
        }
        let may = |id: &SessionId| {
            self.place(*id).is_some_and(|index| {
                let session = &self.running[index];
                session.takes_the_likeliest() && session.limit_reached().is_none()
            })
        };
        if !members.iter().all(may) {
            return Err(logits);
        }
        // If the device cannot, the host can.
        let Ok(picked) = self.pick(&logits.values) else {
            return Err(logits);
        };
        self.ahead = Some(Ahead {
            members: members.to_vec(),
            picked,
            logits,
        });
        Ok(())
    }

    /// Reads the tokens that the device has chosen; before that, the step after them is asked for where that is possible, and then nothing
    /// is left to do in this step.
    pub(super) fn go_ahead(&mut self) -> bool {
        let Some(ahead) = self.ahead.take() else {
            return false;
        };
        let asked = self.may_go_ahead(&ahead) && self.ask_ahead(&ahead).is_ok();
        self.read(ahead);
        asked
    }

    /// Drops what was asked for ahead for sessions that have all ended since.
    pub(super) fn forget_ahead(&mut self) {
        let gone = |ahead: &Ahead| ahead.members.iter().all(|id| self.place(*id).is_none());
        if self.ahead.as_ref().is_some_and(gone) {
            self.ahead = None;
        }
    }

    /// Whether the next step has the same rows as this one, each a token further.
    fn may_go_ahead(&self, ahead: &Ahead) -> bool {
        let ready = self.running.iter().filter(|session| is_ready(session));
        let same = ready.map(|session| session.id).eq(ahead.members.iter().copied());
        let rows = match ahead.members.len() {
            1 => 1,
            several => policy::rounded(several),
        };
        // The chosen tokens must lie as the next step's rows do.
        let aligned = ahead.logits.values.value_type().shape[0] == rows
            && ahead.logits.rows.iter().copied().eq(0..ahead.members.len());
        let goes_on = |id: &SessionId| {
            self.place(*id).is_some_and(|index| {
                let session = &self.running[index];
                // A token after the one that is not read yet, with room for its row.
                session.tokens.len() + 1 < session.most_tokens() && session.tokens.len() < session.reserved
            })
        };
        same && aligned && ahead.members.iter().all(goes_on)
    }

    fn ask_ahead(&mut self, ahead: &Ahead) -> Result<(), RequestError> {
        let step = self.run_unknown(&ahead.members, ahead.picked.ids.clone());
        let picked = step.and_then(|logits| Ok((self.pick(&logits.values)?, logits)));
        match picked {
            Ok((picked, logits)) => {
                for id in &ahead.members {
                    if let Some(index) = self.place(*id) {
                        self.running[index].computed += 1;
                    }
                }
                self.ahead = Some(Ahead {
                    members: ahead.members.clone(),
                    picked,
                    logits,
                });
                Ok(())
            }
            Err(error) => {
                // As if it had not been asked for: with known tokens, it will be found whose fault it was.
                let members = ahead.members.iter().filter_map(|id| {
                    let computed = self.running[self.place(*id)?].computed;
                    Some(Member {
                        id: *id,
                        range: computed..computed + 1,
                    })
                });
                let members: Vec<_> = members.collect();
                self.undo(&members);
                Err(error)
            }
        }
    }

    fn read(&mut self, ahead: Ahead) {
        let tokens = match ahead.picked.read(self.loaded.backend.as_mut()) {
            Ok(tokens) => tokens,
            Err(error) => return self.fail_all(&ahead.members, &error),
        };
        for (id, row) in ahead.members.iter().zip(&ahead.logits.rows) {
            let Some(index) = self.place(*id) else { continue };
            let taken = match tokens[*row] {
                Some(token) => self.running[index].take_token(token),
                None => Err(self.no_usable(&ahead.logits.values, *row)),
            };
            self.took(*id, taken);
        }
    }

    fn pick(&mut self, logits: &Tensor) -> Result<Picked, RequestError> {
        let picker = match self.picker.take().filter(|picker| picker.fits(logits)) {
            Some(picker) => picker,
            None => Picker::new(logits.value_type())
                .map_err(|error| monocle_tensor::backend::BackendError::Input(format!("logits: {error}")))?,
        };
        let picked = picker.pick(self.loaded.backend.as_mut(), logits);
        self.picker = Some(picker);
        Ok(picked?)
    }

    /// Why no token of a row is likely.
    fn no_usable(&mut self, logits: &Tensor, row: usize) -> RequestError {
        let vocabulary = logits.value_type().shape[1];
        match self.loaded.backend.download(logits) {
            Ok(values) => {
                let row = &values[row * vocabulary..][..vocabulary];
                SamplingError::NoUsableLogit {
                    count: row.len(),
                    not_a_number: row.iter().filter(|logit| logit.is_nan()).count(),
                }
                .into()
            }
            Err(error) => error.into(),
        }
    }
}
