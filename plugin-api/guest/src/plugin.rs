//! The two traits that a plugin implements.

use crate::decoders::{Decoder, Step};
use crate::{
    AnswerPart, Batch, Context, Error, Image, ModelFiles, Pixels, Plan, Request, Result, Size, Tensor,
};

/// How a request becomes tokens, and pictures become pixels. One value serves one request.
pub trait Processor: Sized {
    /// What is found out about a picture when it is planned, and needed again for its pixels: how it is cut, say; `()` where all pictures are
    /// treated alike.
    type Picture: 'static;

    /// Reads the model's files. Called first.
    fn configure(files: &ModelFiles) -> Result<Self>;

    /// What becomes of a picture of this size, neither side of which is 0. No pixel is needed for that.
    fn picture(&self, size: Size) -> Result<Self::Picture>;

    /// What the request comes to: the prompt as tokens with slots for features, and for each picture what will be done with it. `pictures`
    /// are those of the request, in its order.
    fn plan(&self, request: &Request, pictures: &[Self::Picture]) -> Result<Plan>;

    /// A picture's pixels, with exactly the shapes that its plan announced. Called after `plan`.
    fn pixels(&self, picture: &Self::Picture, image: &Image) -> Result<Vec<Pixels>>;

    /// Cleans generated text as it streams: given more text, and whether it is the last, returns what can be shown now. Asked only
    /// of plugins exported with `filters_output: true`; special tokens, stop strings and reasoning have been dealt with.
    fn output(&mut self, text: &str, last: bool) -> String {
        let _ = last;
        text.to_owned()
    }

    /// What a whole answer, cleaned, says beside its words: rectangles around things, points, in pixels of the pictures as they were
    /// given. Asked only of plugins exported with `answers_parts: true`.
    fn parts(&self, answer: &str, pictures: &[Self::Picture]) -> Vec<AnswerPart> {
        let _ = (answer, pictures);
        vec![]
    }
}

/// A model's architecture. One value records programs for all requests, and sees none of them.
pub trait Network: Sized {
    /// Asks for the weights. Called after [`Processor::configure`], and only here can weights be asked for.
    fn load(files: &ModelFiles) -> Result<Self>;

    /// Features of one picture: from the tensors of [`Processor::pixels`] and its plan's `layout`, to feature sets
    /// `[features, hidden]`; set 0 is what [`Batch::splice_features`] usually takes. Recorded.
    fn encode(&self, pixels: &[Tensor], layout: &[u32]) -> Result<Vec<Tensor>>;

    /// Rows of context, one for each token of the plan's `encoder`: `[tokens, hidden]`. Its tokens are all in the batch, and see each other
    /// through [`Tensor::attention`]; [`Network::forward`] finds the rows in [`Batch::new_context`]. Recorded.
    fn encode_prompt(&self, batch: &Batch) -> Result<Tensor> {
        let _ = batch;
        Err(Error::new("this model has no encoder for prompts"))
    }

    /// The decoder, for the usual [`Network::forward`].
    fn decoder(&self) -> Option<&Decoder> {
        None
    }

    /// What the decoder's layers have in common in a pass, for the usual [`Network::forward`].
    fn step<'a>(&self, batch: &'a Batch) -> Step<'a> {
        Step::new(batch)
    }

    /// Logits of the rows that [`Batch::select_logits`] picks: `[wanted, vocabulary]`. Recorded. Usually: features of set 0 take the place of
    /// the embeddings at their slots, and the decoder reads all of it.
    fn forward(&self, batch: &Batch) -> Result<Tensor> {
        let decoder = self
            .decoder()
            .context("this model has neither `decoder` nor `forward`")?;
        let x = batch.splice_features(&decoder.embed(batch), 0);
        Ok(decoder.logits(&decoder.forward(x, &self.step(batch)), batch))
    }
}
