/* An adapter in C, against the header that wit-bindgen makes of the contract: what the adapter in Rust (../plugins/plain-adapter) does, for
 * pictures of 56 pixels and four features. No Rust, and of a C library only what the template for C has.
 * ../tests/conformance/adapter_in_c.rs builds and runs it. */

#include "adapter.h"

#include <stdlib.h>
#include <string.h>

/* What the host reads before it compiles any code. */
__asm__(".section \".custom_section.monocle:plugin\",\"\",@\n.incbin \"plain.json\"\n.text\n");

enum { SIDE = 56, FEATURES = 4 };

/* Text that grows. */
typedef struct {
    uint8_t *ptr;
    size_t len, room;
} text_t;

static void append(text_t *text, const void *bytes, size_t len) {
    if (text->len + len > text->room) {
        text->room = 2 * (text->len + len);
        text->ptr = realloc(text->ptr, text->room);
    }
    memcpy(text->ptr + text->len, bytes, len);
    text->len += len;
}

static void say(text_t *text, const char *words) { append(text, words, strlen(words)); }

static adapter_string_t as_string(text_t text) { return (adapter_string_t){text.ptr, text.len}; }

static adapter_string_t words(const char *words) {
    text_t text = {0};
    say(&text, words);
    return as_string(text);
}

bool exports_monocle_plugin_processor_configure(exports_monocle_plugin_processor_model_files_t *files, adapter_string_t *err) {
    bool none = files->options.len == 2 && files->options.ptr[0] == '{' && files->options.ptr[1] == '}';
    if (!none) *err = words("this adapter takes no options");
    return none;
}

/* What is said, all turns and parts with a space between. */
static void append_words(text_t *text, exports_monocle_plugin_processor_request_t *request) {
    bool first = true;
    for (size_t turn = 0; turn < request->messages.len; turn++) {
        monocle_plugin_types_content_t *content = &request->messages.ptr[turn].content;
        bool whole = content->tag == MONOCLE_PLUGIN_TYPES_CONTENT_TEXT;
        size_t parts = whole ? 1 : content->val.parts.len;
        for (size_t part = 0; part < parts; part++) {
            adapter_string_t *said = whole ? &content->val.text : NULL;
            if (!whole && content->val.parts.ptr[part].tag == MONOCLE_PLUGIN_TYPES_PART_TEXT) said = &content->val.parts.ptr[part].val.text;
            if (said == NULL) continue;
            if (!first) say(text, " ");
            append(text, said->ptr, said->len);
            first = false;
        }
    }
}

/* Ids with what begins every text, once. */
static adapter_list_u32_t encode(text_t text) {
    adapter_string_t string = as_string(text);
    adapter_list_u32_t plain, with_beginning;
    monocle_plugin_tokenizers_encode(&string, false, &plain);
    monocle_plugin_tokenizers_encode(&string, true, &with_beginning);
    bool begins = plain.len > 0 && with_beginning.len > 0 && plain.ptr[0] == with_beginning.ptr[0];
    return begins ? plain : with_beginning;
}

/* Runs of other tokens as they are, each FEATURES image tokens as a picture. */
static void pieces(adapter_list_u32_t ids, uint32_t image, monocle_plugin_types_list_piece_t *ret) {
    ret->ptr = malloc((ids.len + 1) * sizeof *ret->ptr);
    ret->len = 0;
    uint32_t medium = 0;
    for (size_t at = 0; at < ids.len;) {
        size_t end = at;
        monocle_plugin_types_piece_t *piece = &ret->ptr[ret->len++];
        if (ids.ptr[at] == image) {
            piece->tag = MONOCLE_PLUGIN_TYPES_PIECE_FEATURES;
            piece->val.features = (monocle_plugin_types_slot_t){medium++, 0, FEATURES, image};
            at += FEATURES;
            continue;
        }
        while (end < ids.len && ids.ptr[end] != image) end++;
        piece->tag = MONOCLE_PLUGIN_TYPES_PIECE_TOKENS;
        piece->val.tokens = (adapter_list_u32_t){ids.ptr + at, end - at};
        at = end;
    }
}

static void plan_picture(monocle_plugin_types_medium_plan_t *plan) {
    uint32_t *shape = malloc(4 * sizeof *shape);
    memcpy(shape, (uint32_t[]){1, SIDE, SIDE, 3}, 4 * sizeof *shape);
    adapter_list_u32_t *tensor = malloc(sizeof *tensor);
    *tensor = (adapter_list_u32_t){shape, 4};
    memset(plan, 0, sizeof *plan);
    plan->used = (monocle_plugin_types_size_t){SIDE, SIDE};
    plan->pieces = 1;
    plan->tensors.ptr = tensor;
    plan->tensors.len = 1;
    plan->features = FEATURES;
}

bool exports_monocle_plugin_processor_plan(exports_monocle_plugin_processor_request_t *request,
                                           exports_monocle_plugin_processor_request_plan_t *ret, adapter_string_t *err) {
    text_t shown = {0}, expanded = {0};
    adapter_string_t mark = words("<image>");
    uint32_t image;
    if (!monocle_plugin_tokenizers_token_id(&mark, &image)) {
        *err = words("the tokenizer has no `<image>`");
        return false;
    }
    for (size_t medium = 0; medium < request->media.len; medium++) {
        say(&shown, "<image>");
        for (int feature = 0; feature < FEATURES; feature++) say(&expanded, "<image>");
    }
    for (int i = 0; i < 2; i++) {
        text_t *text = i ? &expanded : &shown;
        say(text, "Question: ");
        append_words(text, request);
        say(text, " Answer:");
    }
    memset(ret, 0, sizeof *ret);
    ret->text = as_string(shown);
    pieces(encode(expanded), image, &ret->pieces);
    ret->media.len = request->media.len;
    ret->media.ptr = malloc(request->media.len * sizeof *ret->media.ptr);
    for (size_t medium = 0; medium < request->media.len; medium++) plan_picture(&ret->media.ptr[medium]);
    ret->positions.tag = MONOCLE_PLUGIN_TYPES_POSITION_SCHEME_SEQUENTIAL;
    ret->attention.tag = MONOCLE_PLUGIN_TYPES_ATTENTION_SCHEME_CAUSAL;
    ret->feature_use.tag = MONOCLE_PLUGIN_TYPES_FEATURE_USE_SPLICE;
    return true;
}

bool exports_monocle_plugin_processor_pixels(uint32_t index, exports_monocle_plugin_processor_borrow_image_t picture,
                                             exports_monocle_plugin_processor_list_own_prepared_pixels_t *ret, adapter_string_t *err) {
    monocle_plugin_images_own_image_t whole =
        monocle_plugin_images_method_image_resize(picture, SIDE, SIDE, MONOCLE_PLUGIN_IMAGES_FILTER_LANCZOS);
    monocle_plugin_images_borrow_image_t borrowed = monocle_plugin_images_borrow_image(whole);
    monocle_plugin_images_list_borrow_image_t views = {&borrowed, 1};
    monocle_plugin_images_normalisation_t half = {1.0 / 255.0, {0.5f, 0.5f, 0.5f}, {0.5f, 0.5f, 0.5f}};
    ret->ptr = malloc(sizeof *ret->ptr);
    ret->len = 1;
    ret->ptr[0] = monocle_plugin_images_stack(&views, &half, MONOCLE_PLUGIN_IMAGES_LAYOUT_CHANNELS_LAST);
    monocle_plugin_images_image_drop_own(whole);
    monocle_plugin_images_image_drop_borrow(picture);
    return true;
}

void exports_monocle_plugin_processor_output(adapter_string_t *text, bool last, adapter_string_t *ret) { *ret = *text; }

void exports_monocle_plugin_processor_parts(adapter_string_t *answer, exports_monocle_plugin_processor_list_answer_part_t *ret) {
    ret->ptr = NULL;
    ret->len = 0;
}
