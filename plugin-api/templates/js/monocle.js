// What most adapters need besides the contract's own functions.

import { write } from 'monocle:plugin/log@0.2.0';
import { render as renderTemplate } from 'monocle:plugin/prompts@0.2.0';
import { encode, tokenId } from 'monocle:plugin/tokenizers@0.2.0';

// Functions of the contract, with what the tools leave out: any exception reaches the user in words, `output` and `parts` may be left out.
export function guard(processor) {
  const whole = { output: (text) => text, parts: () => [], ...processor };
  const guarded = {};
  for (const [name, call] of Object.entries(whole)) {
    guarded[name] = (...values) => {
      try {
        return call(...values);
      } catch (error) {
        // The contract's errors are strings; an Error that leaves the component is a trap without words.
        const words = error instanceof Error ? `${error.message}\n${error.stack}` : String(error);
        if (name === 'output' || name === 'parts') write('warn', words);
        throw words;
      }
    };
  }
  return guarded;
}

// The conversation by the template in force, with a mark for each picture, and the pictures' sizes. Where the template writes no marks,
// they are put before the text.
export function render(request, mark) {
  const pictures = request.media.map((medium) => {
    if (medium.tag !== 'picture') throw `this model takes pictures, not ${medium.tag}`;
    return medium.val;
  });
  let text = renderTemplate(request, { fallback: undefined, variables: '{}' });
  if (pictures.length > 0 && !text.includes(mark)) text = mark.repeat(pictures.length) + text;
  return { text, pictures };
}

// The text with each mark replaced by what the function gives for that picture.
export function expand(text, mark, count, expansion) {
  const parts = text.split(mark);
  if (parts.length - 1 !== count) throw `the prompt has ${parts.length - 1} times ${mark} for ${count} pictures`;
  return parts.reduce((before, after, index) => before + expansion(index - 1) + after);
}

// Ids of a whole prompt: with what the tokenizer puts before every text, unless the template wrote that already.
export function encodePrompt(text) {
  const plain = encode(text, false);
  const special = encode(text, true);
  return Array.from(plain[0] === special[0] ? plain : special);
}

// Ids as runs of text and slots of features; `counts` are the pictures' features.
export function pieces(ids, placeholder, counts) {
  const found = ids.filter((id) => id === placeholder).length;
  const planned = counts.reduce((sum, count) => sum + count, 0);
  if (found !== planned) throw `the prompt has ${found} picture tokens, the pictures have ${planned} features`;
  const result = [];
  let words = [], medium = 0, offset = 0;
  const flush = () => {
    if (words.length > 0) result.push({ tag: 'tokens', val: Uint32Array.from(words) });
    words = [];
  };
  for (let at = 0; at < ids.length; ) {
    if (ids[at] !== placeholder) {
      words.push(ids[at++]);
      continue;
    }
    flush();
    let run = at;
    while (ids[run] === placeholder && run - at < counts[medium] - offset) run++;
    result.push({ tag: 'features', val: { medium, offset, tokens: run - at, tokenId: placeholder } });
    offset += run - at;
    at = run;
    if (offset === counts[medium]) [medium, offset] = [medium + 1, 0];
  }
  flush();
  return result;
}

// A plan like most: positions one after another, causal attention, features in the places of the placeholder.
export function plan(text, expanded, placeholder, media) {
  const id = tokenId(placeholder);
  if (id === undefined) throw `the tokenizer has no token ${placeholder}`;
  return {
    text,
    pieces: pieces(encodePrompt(expanded), id, media.map((medium) => medium.features)),
    media: media.map((medium) => ({
      pieces: 1,
      ...medium,
      tensors: medium.tensors.map((shape) => Uint32Array.from(shape)),
      layout: Uint32Array.from(medium.layout ?? []),
    })),
    encoder: undefined,
    positions: { tag: 'sequential' },
    marks: [],
    attention: { tag: 'causal' },
    featureUse: { tag: 'splice' },
    stopTokens: new Uint32Array(),
    keepTokens: new Uint32Array(),
  };
}
