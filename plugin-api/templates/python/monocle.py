"""What most adapters need besides the contract's own functions."""

import functools
from itertools import groupby

from componentize_py_types import Err
from wit_world.imports import log, prompts, tokenizers
from wit_world.imports.types import (
    AttentionScheme_Causal,
    FeatureUse_Splice,
    Medium_Picture,
    Piece_Features,
    Piece_Tokens,
    Plan,
    PositionScheme_Sequential,
    Slot,
)


def places(error):
    """Where it arose. The module `traceback` would read the source, and a plugin has no files: it would be a trap."""
    text, step = "", error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        text += f"\n  {code.co_filename}:{step.tb_lineno} in {code.co_name}"
        step = step.tb_next
    return text


def guard(kind):
    """Any exception reaches the user in words; one that leaves the component is a trap without any."""

    def guarded(name, call):
        @functools.wraps(call)
        def wrapper(*values):
            try:
                return call(*values)
            except Err:
                raise
            except Exception as error:
                words = f"{type(error).__name__}: {error}{places(error)}"
                if name in ("output", "parts"):
                    log.write(log.Level.WARN, words)
                raise Err(words) from None

        return wrapper

    for name in ("configure", "plan", "pixels", "output", "parts"):
        setattr(kind, name, guarded(name, getattr(kind, name)))
    return kind


def render(request, mark):
    """The conversation by the template in force, with a mark for each picture, and the pictures' sizes. Where the template writes no marks,
    they are put before the text."""
    for medium in request.media:
        if not isinstance(medium, Medium_Picture):
            raise Err(f"this model takes pictures, not {type(medium).__name__}")
    pictures = [medium.value for medium in request.media]
    text = prompts.render(request, prompts.RenderOptions(fallback=None, variables="{}"))
    if pictures and mark not in text:
        text = mark * len(pictures) + text
    return text, pictures


def expand(text, mark, count, expansion):
    """The text with each mark replaced by what the function gives for that picture."""
    parts = text.split(mark)
    if len(parts) - 1 != count:
        raise Err(f"the prompt has {len(parts) - 1} times {mark} for {count} pictures")
    return parts[0] + "".join(expansion(index) + part for index, part in enumerate(parts[1:]))


def encode_prompt(text):
    """Ids of a whole prompt: with what the tokenizer puts before every text, unless the template wrote that already."""
    plain, special = tokenizers.encode(text, False), tokenizers.encode(text, True)
    return list(plain if plain[:1] == special[:1] else special)


def pieces(ids, placeholder, counts):
    """Ids as runs of text and slots of features; `counts` are the pictures' features."""
    if ids.count(placeholder) != sum(counts):
        raise Err(f"the prompt has {ids.count(placeholder)} picture tokens, the pictures have {sum(counts)} features")
    result, medium, offset = [], 0, 0
    for is_slot, run in groupby(ids, lambda token: token == placeholder):
        run = list(run)
        if not is_slot:
            result.append(Piece_Tokens(run))
            continue
        left = len(run)
        while left:
            tokens = min(left, counts[medium] - offset)
            result.append(Piece_Features(Slot(medium=medium, offset=offset, tokens=tokens, token_id=placeholder)))
            offset, left = offset + tokens, left - tokens
            if offset == counts[medium]:
                medium, offset = medium + 1, 0
    return result


def plan(text, expanded, placeholder, media):
    """A plan like most: positions one after another, causal attention, features in the places of the placeholder."""
    token = tokenizers.token_id(placeholder)
    if token is None:
        raise Err(f"the tokenizer has no token {placeholder}")
    return Plan(
        text=text,
        pieces=pieces(encode_prompt(expanded), token, [medium.features for medium in media]),
        media=media,
        encoder=None,
        positions=PositionScheme_Sequential(),
        marks=[],
        attention=AttentionScheme_Causal(),
        feature_use=FeatureUse_Splice(),
        stop_tokens=[],
        keep_tokens=[],
    )
