//! The merges that a vocabulary of pairs implies where a file has only the order of its tokens.

/// All ways to make each token of two others, best token first: a pair is merged when its result is the best among
/// all neighbours, which is how tiktoken and SentencePiece go about it.
///
/// `tokens` come in their order; `halves` tells where a token may be cut in two, and `order` whether both halves are
/// tokens and which pair comes first among those with the same result (transformers' `generate_merges`).
pub fn merges<T: Copy>(
    tokens: &[T],
    cuts: impl Fn(T) -> Vec<(T, T)>,
    order: impl Fn(&(T, T)) -> Option<(u64, u64)>,
) -> Vec<(T, T)> {
    let mut merges = Vec::new();
    for &token in tokens {
        let mut pairs: Vec<((u64, u64), (T, T))> = cuts(token)
            .into_iter()
            .filter_map(|pair| order(&pair).map(|order| (order, pair)))
            .collect();
        pairs.sort_by_key(|(order, _)| *order);
        merges.extend(pairs.into_iter().map(|(_, pair)| pair));
    }
    merges
}
