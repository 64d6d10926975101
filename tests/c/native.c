/* An adapter in C for the native carrier, against monocle_plugin.h alone: what the adapter in Rust (../plugins/plain-adapter) does, for pictures of
 * 56 pixels and four features. ../tests/conformance/adapter_in_c_native.rs builds and runs it. With the option `wrong` it does what no plugin may do. */

#define _POSIX_C_SOURCE 199309L

#include "monocle_plugin.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STAMP                                                                                                                                 \
    MONOCLE_STAMP "{\"name\":\"native-in-c\",\"version\":\"0.1.0\",\"contract\":\"0.2.0\",\"kind\":\"adapter\",\"model-types\":[],"         \
                  "\"filters-output\":true,\"answers-parts\":false}"

#define TEXT(literal) ((monocle_text){literal, sizeof(literal) - 1})

enum { SIDE = 56, FEATURES = 4 };

/* What a request keeps: memory for the last results, and what is to go wrong. */
struct monocle_instance {
    void **blocks;
    size_t count;
    char wrong[64];
};

static monocle_instance *create(void) { return calloc(1, sizeof(monocle_instance)); }

static void let_go(monocle_instance *instance) {
    for (size_t i = 0; i < instance->count; i++) free(instance->blocks[i]);
    free(instance->blocks);
    instance->blocks = NULL;
    instance->count = 0;
}

static void destroy(monocle_instance *instance) {
    let_go(instance);
    free(instance);
}

/* Memory until the next call. */
static void *take(monocle_instance *instance, size_t bytes) {
    instance->blocks = realloc(instance->blocks, (instance->count + 1) * sizeof *instance->blocks);
    void *block = calloc(1, bytes + 1);
    instance->blocks[instance->count++] = block;
    return block;
}

static int is(monocle_text text, const char *word) { return text.length == strlen(word) && memcmp(text.data, word, text.length) == 0; }

static monocle_status configure(monocle_instance *instance, const monocle_host *host, const monocle_model_files *files, monocle_text *words) {
    let_go(instance);
    /* {"wrong":"..."} */
    const char *key = "{\"wrong\":\"";
    monocle_text options = files->options;
    if (options.length > strlen(key) + 2 && memcmp(options.data, key, strlen(key)) == 0) {
        size_t length = options.length - strlen(key) - 2;
        if (length < sizeof instance->wrong) memcpy(instance->wrong, options.data + strlen(key), length);
        return MONOCLE_OK;
    }
    if (is(options, "{}")) return host->log->write(host, MONOCLE_LEVEL_INFO, TEXT("configured"));
    *words = TEXT("this adapter takes no options");
    return MONOCLE_REFUSED;
}

/* Text that grows. */
typedef struct {
    char *data;
    size_t length;
} text_t;

static void append(monocle_instance *instance, text_t *text, const char *data, size_t length) {
    char *longer = take(instance, text->length + length);
    if (text->length) memcpy(longer, text->data, text->length);
    if (length) memcpy(longer + text->length, data, length);
    *text = (text_t){longer, text->length + length};
}

static void say(monocle_instance *instance, text_t *text, const char *words) { append(instance, text, words, strlen(words)); }

static monocle_text as_text(text_t text) { return (monocle_text){text.data, text.length}; }

/* What is said, all turns and parts with a space between. */
static void append_words(monocle_instance *instance, text_t *text, const monocle_request *request) {
    int first = 1;
    for (size_t turn = 0; turn < request->messages.count; turn++) {
        const monocle_content *content = &request->messages.data[turn].content;
        int whole = content->tag == MONOCLE_CONTENT_TEXT;
        size_t parts = whole ? 1 : content->value.parts.count;
        for (size_t i = 0; i < parts; i++) {
            const monocle_part *part = whole ? NULL : &content->value.parts.data[i];
            if (part && part->tag != MONOCLE_PART_TEXT) continue;
            monocle_text said = part ? part->value.text : content->value.text;
            if (!first) say(instance, text, " ");
            append(instance, text, said.data, said.length);
            first = 0;
        }
    }
}

/* Runs of other tokens as they are, each FEATURES image tokens as a picture. */
static monocle_piece_list pieces(monocle_instance *instance, monocle_u32_list ids, uint32_t image) {
    monocle_piece *all = take(instance, (ids.count + 1) * sizeof *all);
    size_t count = 0;
    uint32_t medium = 0;
    for (size_t at = 0; at < ids.count;) {
        monocle_piece *piece = &all[count++];
        if (ids.data[at] == image) {
            piece->tag = MONOCLE_PIECE_FEATURES;
            piece->value.features = (monocle_slot){medium++, 0, FEATURES, image};
            at += FEATURES;
            continue;
        }
        size_t end = at;
        while (end < ids.count && ids.data[end] != image) end++;
        piece->tag = MONOCLE_PIECE_TOKENS;
        piece->value.tokens = (monocle_u32_list){ids.data + at, end - at};
        at = end;
    }
    return (monocle_piece_list){all, count};
}

static const uint32_t SHAPE[4] = {1, SIDE, SIDE, 3};
static const monocle_u32_list SHAPES[1] = {{SHAPE, 4}};

static monocle_status plan(monocle_instance *instance, const monocle_host *host, const monocle_request *request, monocle_plan *result,
                           monocle_text *words) {
    let_go(instance);
    text_t shown = {0}, expanded = {0};
    monocle_optional_u32 image;
    monocle_status status = host->tokenizers->token_id(host, TEXT("<image>"), &image);
    if (status != MONOCLE_OK) return status;
    if (!image.present) {
        *words = TEXT("the tokenizer has no `<image>`");
        return MONOCLE_REFUSED;
    }
    for (size_t medium = 0; medium < request->media.count; medium++) {
        say(instance, &shown, "<image>");
        for (int feature = 0; feature < FEATURES; feature++) say(instance, &expanded, "<image>");
    }
    for (int i = 0; i < 2; i++) {
        text_t *text = i ? &expanded : &shown;
        say(instance, text, "Question: ");
        append_words(instance, text, request);
        say(instance, text, " Answer:");
    }
    /* Ids with what begins every text, once. */
    monocle_u32_list plain, with_beginning;
    status = host->tokenizers->encode(host, as_text(expanded), 0, &plain);
    if (status != MONOCLE_OK) return status;
    status = host->tokenizers->encode(host, as_text(expanded), 1, &with_beginning);
    if (status != MONOCLE_OK) return status;
    int begins = plain.count > 0 && with_beginning.count > 0 && plain.data[0] == with_beginning.data[0];
    monocle_u32_list ids = begins ? plain : with_beginning;
    /* What the host gave lives until this call is over; the plan lives longer. */
    uint32_t *own = take(instance, ids.count * sizeof *own);
    memcpy(own, ids.data, ids.count * sizeof *own);

    memset(result, 0, sizeof *result);
    result->text = as_text(shown);
    result->pieces = pieces(instance, (monocle_u32_list){own, ids.count}, image.value);
    monocle_medium_plan *media = take(instance, request->media.count * sizeof *media);
    for (size_t medium = 0; medium < request->media.count; medium++) {
        media[medium].used = (monocle_size){SIDE, SIDE};
        media[medium].pieces = 1;
        media[medium].tensors = (monocle_u32_list_list){SHAPES, 1};
        media[medium].features = FEATURES;
    }
    result->media = (monocle_medium_plan_list){media, request->media.count};
    result->positions.tag = MONOCLE_POSITION_SCHEME_SEQUENTIAL;
    result->attention.tag = MONOCLE_ATTENTION_SCHEME_CAUSAL;
    result->feature_use.tag = MONOCLE_FEATURE_USE_SPLICE;

    monocle_text wrong = {instance->wrong, strlen(instance->wrong)};
    if (is(wrong, "tag")) result->attention.tag = 77;
    if (is(wrong, "not UTF-8")) result->text = TEXT("\xff\xfe");
    if (is(wrong, "nowhere")) result->stop_tokens = (monocle_u32_list){NULL, 3};
    if (is(wrong, "status")) return 99;
    if (is(wrong, "ended")) return MONOCLE_ENDED;
    if (is(wrong, "broken")) {
        host->log->write(host, MONOCLE_LEVEL_WARN, TEXT("the last words"));
        return MONOCLE_BROKEN;
    }
    if (is(wrong, "tensors")) return host->tensors == NULL ? MONOCLE_BROKEN : MONOCLE_OK;
    if (is(wrong, "goes on")) {
        /* Resizes a picture that is none, does not look at the status, and goes on. */
        monocle_image ghost = 7;
        host->images->image_resize(host, 4242, 8, 8, MONOCLE_FILTER_BOX, &ghost);
        if (host->log->write(host, MONOCLE_LEVEL_WARN, TEXT("not written")) != MONOCLE_ENDED) abort();
    }
    if (is(wrong, "late")) {
        struct timespec pause = {0, 300000000};
        nanosleep(&pause, NULL);
    }
    if (is(wrong, "level")) return host->log->write(host, 12, TEXT("of no level"));
    if (is(wrong, "no text")) return host->log->write(host, MONOCLE_LEVEL_INFO, (monocle_text){NULL, 12});
    return MONOCLE_OK;
}

static monocle_status pixels(monocle_instance *instance, const monocle_host *host, uint32_t index, monocle_image picture,
                             monocle_pixels_list *result, monocle_text *words) {
    (void)index, (void)words;
    let_go(instance);
    static const monocle_normalisation HALF = {1.0 / 255.0, {0.5f, 0.5f, 0.5f}, {0.5f, 0.5f, 0.5f}};
    monocle_image whole;
    monocle_pixels *stacked = take(instance, sizeof *stacked);
    monocle_status status = host->images->image_resize(host, picture, SIDE, SIDE, MONOCLE_FILTER_LANCZOS, &whole);
    if (status != MONOCLE_OK) return status;
    status = host->images->stack(host, (monocle_image_list){&whole, 1}, &HALF, MONOCLE_LAYOUT_CHANNELS_LAST, stacked);
    if (status != MONOCLE_OK) return status;
    *result = (monocle_pixels_list){stacked, 1};
    return host->images->image_drop(host, whole);
}

static monocle_status output(monocle_instance *instance, const monocle_host *host, monocle_text text, uint8_t last, monocle_text *result) {
    (void)host, (void)last;
    let_go(instance);
    char *clean = take(instance, text.length);
    for (size_t i = 0; i < text.length; i++) clean[i] = text.data[i] == '\n' ? ' ' : text.data[i];
    *result = (monocle_text){clean, text.length};
    return MONOCLE_OK;
}

static monocle_status parts(monocle_instance *instance, const monocle_host *host, monocle_text answer, monocle_answer_part_list *result) {
    (void)host, (void)answer;
    let_go(instance);
    *result = (monocle_answer_part_list){NULL, 0};
    return MONOCLE_OK;
}

static const monocle_processor_table PROCESSOR = {sizeof(monocle_processor_table), configure, plan, pixels, output, parts};

#ifndef SAID
#define SAID STAMP
#endif
#ifndef VERSION
#define VERSION MONOCLE_ABI
#endif
#ifndef TABLE
#define TABLE &PROCESSOR
#endif

static const monocle_plugin PLUGIN = {sizeof(monocle_plugin), VERSION, {SAID, sizeof(SAID) - 1}, create, destroy, TABLE, NULL};

MONOCLE_EXPORT const monocle_plugin *monocle_plugin_0_2(void) { return &PLUGIN; }
