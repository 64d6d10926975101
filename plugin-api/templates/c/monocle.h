/* What most adapters need besides the contract's own functions. An instance lives as long as a request, so nothing is given back. */

#pragma once

#include "bindings/adapter.h"

#include <stdlib.h>
#include <string.h>

/* Text that grows. */
typedef struct {
    uint8_t *ptr;
    size_t len, room;
} text_t;

static inline void append(text_t *text, const void *bytes, size_t len) {
    if (text->len + len > text->room) {
        text->room = 2 * (text->len + len);
        text->ptr = realloc(text->ptr, text->room);
    }
    memcpy(text->ptr + text->len, bytes, len);
    text->len += len;
}

static inline void say(text_t *text, const char *words) { append(text, words, strlen(words)); }

static inline adapter_string_t as_string(text_t text) { return (adapter_string_t){text.ptr, text.len}; }

static inline adapter_string_t words(const char *words) {
    text_t text = {0};
    say(&text, words);
    return as_string(text);
}

/* Where `mark` begins in the text from `at` on; the text's end where it does not. */
static inline size_t find(adapter_string_t text, size_t at, const char *mark) {
    size_t len = strlen(mark);
    for (; at + len <= text.len; at++) {
        size_t same = 0;
        while (same < len && text.ptr[at + same] == (uint8_t)mark[same]) same++;
        if (same == len) return at;
    }
    return text.len;
}

/* The conversation by the template in force, with a mark for each picture. Where the template writes no marks, they are put before the text. */
static inline bool render(exports_monocle_plugin_processor_request_t *request, const char *mark, adapter_string_t *text, adapter_string_t *err) {
    for (size_t medium = 0; medium < request->media.len; medium++) {
        if (request->media.ptr[medium].tag != MONOCLE_PLUGIN_TYPES_MEDIUM_PICTURE) {
            *err = words("this model takes pictures only");
            return false;
        }
    }
    monocle_plugin_prompts_render_options_t options = {.variables = words("{}")};
    if (!monocle_plugin_prompts_render(request, &options, text, err)) return false;
    if (request->media.len > 0 && find(*text, 0, mark) == text->len) {
        text_t marked = {0};
        for (size_t medium = 0; medium < request->media.len; medium++) say(&marked, mark);
        append(&marked, text->ptr, text->len);
        *text = as_string(marked);
    }
    return true;
}

/* Ids of a whole prompt: with what the tokenizer puts before every text, unless the template wrote that already. */
static inline adapter_list_u32_t encode_prompt(adapter_string_t text) {
    adapter_list_u32_t plain, special;
    monocle_plugin_tokenizers_encode(&text, false, &plain);
    monocle_plugin_tokenizers_encode(&text, true, &special);
    bool begins = plain.len > 0 && special.len > 0 && plain.ptr[0] == special.ptr[0];
    return begins ? plain : special;
}

/* Pictures that are all treated alike. */
typedef struct {
    uint32_t side, features;
    size_t count;
} picture_plan_t;

static inline void plan_picture(picture_plan_t pictures, monocle_plugin_types_medium_plan_t *plan) {
    uint32_t *shape = malloc(4 * sizeof *shape);
    shape[0] = 1, shape[1] = pictures.side, shape[2] = pictures.side, shape[3] = 3;
    adapter_list_u32_t *tensor = malloc(sizeof *tensor);
    *tensor = (adapter_list_u32_t){shape, 4};
    memset(plan, 0, sizeof *plan);
    plan->used = (monocle_plugin_types_size_t){pictures.side, pictures.side};
    plan->pieces = 1;
    plan->tensors.ptr = tensor;
    plan->tensors.len = 1;
    plan->features = pictures.features;
}

/* Runs of other tokens as they are, each `features` placeholders as a picture. False where there are not as many as there should be. */
static inline bool pieces(adapter_list_u32_t ids, uint32_t placeholder, picture_plan_t pictures, monocle_plugin_types_list_piece_t *ret) {
    ret->ptr = malloc((ids.len + 1) * sizeof *ret->ptr);
    ret->len = 0;
    uint32_t medium = 0;
    for (size_t at = 0; at < ids.len;) {
        size_t end = at;
        monocle_plugin_types_piece_t *piece = &ret->ptr[ret->len++];
        if (ids.ptr[at] != placeholder) {
            while (end < ids.len && ids.ptr[end] != placeholder) end++;
            piece->tag = MONOCLE_PLUGIN_TYPES_PIECE_TOKENS;
            piece->val.tokens = (adapter_list_u32_t){ids.ptr + at, end - at};
        } else {
            while (end < ids.len && ids.ptr[end] == placeholder && end - at < pictures.features) end++;
            if (end - at < pictures.features) return false;
            piece->tag = MONOCLE_PLUGIN_TYPES_PIECE_FEATURES;
            piece->val.features = (monocle_plugin_types_slot_t){medium++, 0, pictures.features, placeholder};
        }
        at = end;
    }
    return medium == pictures.count;
}

/* A plan like most: positions one after another, causal attention, features in the places of the placeholder, which is a token. */
static inline bool plan(adapter_string_t text, const char *placeholder, void (*expansion)(text_t *, size_t), picture_plan_t pictures,
                        exports_monocle_plugin_processor_request_plan_t *ret, adapter_string_t *err) {
    adapter_string_t token = words(placeholder);
    uint32_t id;
    if (!monocle_plugin_tokenizers_token_id(&token, &id)) {
        *err = words("the tokenizer lacks the token that stands for pictures");
        return false;
    }
    text_t expanded = {0};
    size_t at = 0, picture = 0, mark;
    while ((mark = find(text, at, placeholder)) < text.len) {
        append(&expanded, text.ptr + at, mark - at);
        expansion(&expanded, picture++);
        at = mark + strlen(placeholder);
    }
    append(&expanded, text.ptr + at, text.len - at);
    memset(ret, 0, sizeof *ret);
    ret->text = text;
    if (!pieces(encode_prompt(as_string(expanded)), id, pictures, &ret->pieces)) {
        *err = words("the prompt has another number of picture tokens than the pictures have features");
        return false;
    }
    ret->media.len = pictures.count;
    ret->media.ptr = malloc(pictures.count * sizeof *ret->media.ptr);
    for (size_t medium = 0; medium < pictures.count; medium++) plan_picture(pictures, &ret->media.ptr[medium]);
    ret->positions.tag = MONOCLE_PLUGIN_TYPES_POSITION_SCHEME_SEQUENTIAL;
    ret->attention.tag = MONOCLE_PLUGIN_TYPES_ATTENTION_SCHEME_CAUSAL;
    ret->feature_use.tag = MONOCLE_PLUGIN_TYPES_FEATURE_USE_SPLICE;
    return true;
}
