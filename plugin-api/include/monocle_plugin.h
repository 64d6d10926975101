/* The native carrier of Monocle's plugins: contract 0.2 for dynamic libraries.
   Written by `cargo run --release -p monocle-tests --example native_abi` from plugin-api/wit/v0.2; do not edit.

   A plugin is a dynamic library that exports one function, `monocle_plugin_0_2` (at the end of this file), and has a stamp. It does what a
   WebAssembly component of the same contract does, through tables of functions: the host's, which it is given with each call, and its own.
   Unlike a component it is held by no sandbox, so the host loads it only where its user trusts exactly this file (`monocle plugins trust`).

   Calls. The host makes an instance (`create`), calls `configure` first, and `destroy` last. It calls one function of an instance at a time, but
   on any thread, and functions of different instances at the same time: what belongs to a request is kept in the instance, not in
   variables of the library. Functions of the host are called with the `host` that the plugin's function was given, on its thread, before it
   returns.

   How calls end. Every function returns a `monocle_status`. After MONOCLE_OK, `*result` holds what it gives. A function with `words`
   may return MONOCLE_REFUSED, and `*words` then says to the user what is wrong; `*result` holds nothing. A function of the host returns
   MONOCLE_ENDED where the contract says "traps": shapes that do not fit, a weight that is not there, a limit, the end of the call's time. The
   host knows why and tells the user; from then on every function of that call returns MONOCLE_ENDED and does nothing, so a plugin may look at
   the status at the end of a sequence of operations, and then returns MONOCLE_ENDED. A plugin returns MONOCLE_BROKEN where it cannot go on because
   of a mistake in it; the last warning that it wrote to the log is shown. No exception or other unwinding may leave a function of the plugin, and none
   leaves one of the host.

   Memory. What is pointed to is read by the side that is given it, never freed or changed. Arguments live until the function returns.
   Results of the host's functions live until the plugin's function returns in which they were asked for. Results of the plugin's functions live until
   the next call of that instance. Texts are UTF-8 and are not ended by a zero. Where a length or count is 0, the pointer may be anything.

   Handles (of tensors, weights, pictures) are numbers of the instance. Those of tensors are valid during one call, those of weights for
   the life of the instance. Pictures and pixels take memory in the host until they are dropped, or returned; others cost nothing.

   Shapes and units: tensors are row-major, dimensions are counted from 0, sizes and places in pictures are pixels, angles are radians.

   Sizes. Every table begins with its size in bytes, as its maker was built. Later hosts may have longer ones; nobody reads beyond the other
   side's. `uint8_t` is also what stands for yes (1) and no (0).

   The library is never unloaded. */

#ifndef MONOCLE_PLUGIN_H
#define MONOCLE_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the carrier, for the fields `abi`. */
#define MONOCLE_ABI 1u

typedef int32_t monocle_status;
enum {
    MONOCLE_OK = 0,
    MONOCLE_REFUSED = 1,
    MONOCLE_ENDED = 2,
    MONOCLE_BROKEN = 3,
};

typedef struct monocle_text {
    const char *data;
    /* In bytes. */
    size_t length;
} monocle_text;

typedef struct monocle_host monocle_host;

/* ---- types ---- */

/* Plain data that both sides speak of. */
typedef struct monocle_optional_text {
    uint8_t present;
    monocle_text value;
} monocle_optional_text;

/* The text files of a model's folder, as they are. Only `config` must exist. */
typedef struct monocle_model_files {
    /* `config.json` */
    monocle_text config;
    /* `preprocessor_config.json`, or the `image_processor` part of `processor_config.json` */
    monocle_optional_text preprocessor;
    /* `processor_config.json` */
    monocle_optional_text processor;
    /* `generation_config.json` */
    monocle_optional_text generation;
    /* The manifest's `plugin.options`, as JSON; `{}` when there are none. */
    monocle_text options;
} monocle_model_files;

/* Width and height in pixels. */
typedef struct monocle_size {
    uint32_t width;
    uint32_t height;
} monocle_size;

typedef struct monocle_f64_list {
    const double *data;
    size_t count;
} monocle_f64_list;

/* Frames that were taken from a video. */
typedef struct monocle_video {
    /* Of each frame. */
    monocle_size size;
    /* When each frame is shown, in seconds from the start, ascending. */
    monocle_f64_list times;
} monocle_video;

/* Sound. */
typedef struct monocle_audio {
    /* Samples a second, of each channel. */
    uint32_t rate;
    uint32_t channels;
    /* Of one channel. */
    uint64_t samples;
} monocle_audio;

/* What a request brings beside words. Media are numbered in the order of the conversation, from 0. */
enum {
    /* A picture, after its EXIF orientation was applied. */
    MONOCLE_MEDIUM_PICTURE = 0,
    /* Frames of a video. Hosts of 0.2 give none; a plugin refuses it with words for the user. */
    MONOCLE_MEDIUM_VIDEO = 1,
    /* Sound. As for `video`. */
    MONOCLE_MEDIUM_AUDIO = 2,
};

typedef struct monocle_medium {
    uint32_t tag;
    union {
        uint8_t none;
        monocle_size picture;
        monocle_video video;
        monocle_audio audio;
    } value;
} monocle_medium;

/* A piece of a message. */
enum {
    MONOCLE_PART_TEXT = 0,
    /* The medium of this number. */
    MONOCLE_PART_MEDIUM = 1,
};

typedef struct monocle_part {
    uint32_t tag;
    union {
        uint8_t none;
        monocle_text text;
        uint32_t medium;
    } value;
} monocle_part;

typedef struct monocle_part_list {
    const monocle_part *data;
    size_t count;
} monocle_part_list;

/* What a message says. */
enum {
    /* One string. Templates see `message.content` as a string, or as a list of one text where they take no strings. */
    MONOCLE_CONTENT_TEXT = 0,
    /* Pieces. Templates see a list of `{"type": "text", "text": ..}` and `{"type": "image"}`; where they take strings only, the texts in
       one, without the pictures. */
    MONOCLE_CONTENT_PARTS = 1,
};

typedef struct monocle_content {
    uint32_t tag;
    union {
        uint8_t none;
        monocle_text text;
        monocle_part_list parts;
    } value;
} monocle_content;

/* A tool that the assistant called in an earlier turn. */
typedef struct monocle_tool_call {
    /* By which a later message's `tool-call` refers to it; absent where the conversation has none. */
    monocle_optional_text id;
    /* The tool's name. */
    monocle_text name;
    /* Its arguments, a JSON object. */
    monocle_text arguments;
} monocle_tool_call;

typedef struct monocle_tool_call_list {
    const monocle_tool_call *data;
    size_t count;
} monocle_tool_call_list;

/* One turn. */
typedef struct monocle_message {
    /* `system`, `user`, `assistant` or `tool`. */
    monocle_text role;
    monocle_content content;
    /* What the assistant thought before it answered; templates see `reasoning_content`. */
    monocle_optional_text reasoning;
    /* Tools that the assistant called; templates see `tool_calls` as transformers 5 has them: a list of `{"type": "function", "id": ..,
       "function": {"name": .., "arguments": {..}}}`. */
    monocle_tool_call_list tool_calls;
    /* Of a message of the role `tool`: the `id` of the call whose result it is; templates see `tool_call_id`. */
    monocle_optional_text tool_call;
    /* Of a message of the role `tool`: the tool's name; templates see `name`. */
    monocle_optional_text name;
} monocle_message;

typedef struct monocle_message_list {
    const monocle_message *data;
    size_t count;
} monocle_message_list;

typedef struct monocle_medium_list {
    const monocle_medium *data;
    size_t count;
} monocle_medium_list;

typedef struct monocle_text_list {
    const monocle_text *data;
    size_t count;
} monocle_text_list;

/* What is asked of the model. */
typedef struct monocle_request {
    /* Oldest first. */
    monocle_message_list messages;
    /* Those of the whole conversation, in its order. */
    monocle_medium_list media;
    /* Tools that the model may call: each a JSON object, as transformers' `tools` takes it. */
    monocle_text_list tools;
    /* Variables for the template that the request brings, a JSON object; `{}` for none. */
    monocle_text variables;
} monocle_request;

/* Consecutive tokens whose embeddings are features of one medium. */
typedef struct monocle_slot {
    /* Which medium. */
    uint32_t medium;
    /* The first of the medium's features that goes here. A medium's slots must use each of its features once, in order. */
    uint32_t offset;
    /* How many tokens; not 0. */
    uint32_t tokens;
    /* The id that stands at these tokens in the list of ids (the model's image token). */
    uint32_t token_id;
} monocle_slot;

typedef struct monocle_u32_list {
    const uint32_t *data;
    size_t count;
} monocle_u32_list;

/* A piece of a prompt as the decoder gets it, or the encoder. */
enum {
    /* Token ids. */
    MONOCLE_PIECE_TOKENS = 0,
    /* Room for features of a medium. */
    MONOCLE_PIECE_FEATURES = 1,
};

typedef struct monocle_piece {
    uint32_t tag;
    union {
        uint8_t none;
        monocle_u32_list tokens;
        monocle_slot features;
    } value;
} monocle_piece;

typedef struct monocle_u32_list_list {
    const monocle_u32_list *data;
    size_t count;
} monocle_u32_list_list;

/* What will be done with one medium. The user sees `used`, `pieces` and `features`. */
typedef struct monocle_medium_plan {
    /* The size that the model gets to see, before it is cut. */
    monocle_size used;
    /* How many pieces it is cut into (tiles), an overview included; 1 when it stays whole. */
    uint32_t pieces;
    /* Shapes of the tensors that `processor.pixels` will return for it; at most 64, of at most 8 dimensions and 2^30 elements. */
    monocle_u32_list_list tensors;
    /* Whatever numbers `network.encode` needs besides the tensors (a grid, say). They are part of its signature. */
    monocle_u32_list layout;
    /* How many features `network.encode` will return for it. The slots' tokens must sum to this. */
    uint32_t features;
} monocle_medium_plan;

typedef struct monocle_i32_list {
    const int32_t *data;
    size_t count;
} monocle_i32_list;

/* Positions on several axes (multimodal rotary embeddings, arXiv:2409.12191). */
typedef struct monocle_explicit_positions {
    /* How many axes, 1 to 8. */
    uint32_t axes;
    /* Row-major `[axes, tokens]`, for the whole prompt. */
    monocle_i32_list values;
    /* Position of the first generated token, on every axis; each further one is 1 greater. */
    int32_t next;
} monocle_explicit_positions;

/* Where tokens are, for rotary embeddings. */
enum {
    /* Token `i` is at position `i`. */
    MONOCLE_POSITION_SCHEME_SEQUENTIAL = 0,
    /* Given for each token of the prompt. */
    MONOCLE_POSITION_SCHEME_EXPLICIT = 1,
};

typedef struct monocle_position_scheme {
    uint32_t tag;
    union {
        uint8_t none;
        monocle_explicit_positions explicit_;
    } value;
} monocle_position_scheme;

/* A number for each token that is no position: of which kind it is, which of two sets of angles holds. */
typedef struct monocle_mark {
    /* By which `batches.batch.mark` asks for it: 1 to 64 bytes, and no other mark of the plan has it. Plans of one model must all have the
       same names: `network.forward` is recorded without seeing a request. */
    monocle_text name;
    /* One for each token of the prompt. */
    monocle_i32_list values;
    /* At every generated token. */
    int32_t generated;
} monocle_mark;

/* Which tokens of the prompt see which. Generated tokens always see everything before them. */
enum {
    /* Each token sees itself and those before it. */
    MONOCLE_ATTENTION_SCHEME_CAUSAL = 0,
    /* The first so many tokens see each other both ways (prefix LM, arXiv:1910.10683); the rest is causal. */
    MONOCLE_ATTENTION_SCHEME_PREFIX = 1,
    /* Tokens of one slot see each other both ways; the rest is causal. */
    MONOCLE_ATTENTION_SCHEME_MEDIUM_BLOCKS = 2,
};

typedef struct monocle_attention_scheme {
    uint32_t tag;
    union {
        uint8_t none;
        uint32_t prefix;
    } value;
} monocle_attention_scheme;

/* Tokens `[from-token, to-token)` of the prompt see rows `[from-row, to-row)` of the context: the media's features, laid one after another,
   or the encoder's results, a row for each token of its prompt. Refused where tokens or rows lie outside. */
typedef struct monocle_context_range {
    uint32_t from_token;
    uint32_t to_token;
    uint32_t from_row;
    uint32_t to_row;
} monocle_context_range;

typedef struct monocle_context_range_list {
    const monocle_context_range *data;
    size_t count;
} monocle_context_range_list;

/* What becomes of features, and which rows of context are seen. */
enum {
    /* They take the place of embeddings, at the slots. With an encoder, its prompt has the slots, and each token of the decoder sees all
       rows of context. */
    MONOCLE_FEATURE_USE_SPLICE = 0,
    /* Without an encoder, features are read by cross attention: no slot holds features. For each range of tokens, the rows of context that
       it sees (tokens in no range see none; generated tokens see what the last prompt token sees). With an encoder, features go into the
       slots of its prompt all the same, and these are the rows of its results that are seen; none named: as `splice`. */
    MONOCLE_FEATURE_USE_CONTEXT = 1,
};

typedef struct monocle_feature_use {
    uint32_t tag;
    union {
        uint8_t none;
        monocle_context_range_list context;
    } value;
} monocle_feature_use;

typedef struct monocle_piece_list {
    const monocle_piece *data;
    size_t count;
} monocle_piece_list;

typedef struct monocle_mark_list {
    const monocle_mark *data;
    size_t count;
} monocle_mark_list;

/* The prompt of an encoder (encoder-decoders: arXiv:1910.13461). `network.encode-prompt` makes one row of context of each token. */
typedef struct monocle_encoder_plan {
    /* Tokens, and slots where features take the place of embeddings. At least one token. The host does not cut it and knows no limit for it
       but memory: a plugin refuses what is too long for the model. */
    monocle_piece_list pieces;
    monocle_position_scheme positions;
    /* As in the plan; `generated` is used nowhere. */
    monocle_mark_list marks;
} monocle_encoder_plan;

typedef struct monocle_medium_plan_list {
    const monocle_medium_plan *data;
    size_t count;
} monocle_medium_plan_list;

typedef struct monocle_optional_encoder_plan {
    uint8_t present;
    monocle_encoder_plan value;
} monocle_optional_encoder_plan;

/* What a request comes to, known before anything is computed. */
typedef struct monocle_plan {
    /* The prompt as rendered, before placeholders were expanded: shown to the user. */
    monocle_text text;
    /* The prompt in tokens and slots; with an encoder, what the decoder begins with, without slots. */
    monocle_piece_list pieces;
    /* One for each medium of the request. */
    monocle_medium_plan_list media;
    /* The encoder's prompt, where the model has an encoder for prompts. A request may have any number of media then, or none. */
    monocle_optional_encoder_plan encoder;
    monocle_position_scheme positions;
    /* At most 16. */
    monocle_mark_list marks;
    monocle_attention_scheme attention;
    monocle_feature_use feature_use;
    /* Tokens that end the output, besides those that the model's files and the manifest name. */
    monocle_u32_list stop_tokens;
    /* Special tokens that are part of the answer (`<loc_879>`): they stay in its text. Others are taken out. */
    monocle_u32_list keep_tokens;
} monocle_plan;

/* A place in a picture, in pixels of the picture as it is after its EXIF orientation was applied, from the upper left corner. */
typedef struct monocle_place {
    float x;
    float y;
} monocle_place;

/* A rectangle, its upper left corner and its lower right. */
typedef struct monocle_answer_rectangle {
    /* Which picture. */
    uint32_t medium;
    /* What is there, where the answer says so. */
    monocle_optional_text label;
    monocle_place upper_left;
    monocle_place lower_right;
} monocle_answer_rectangle;

/* A point. */
typedef struct monocle_answer_point {
    /* Which picture. */
    uint32_t medium;
    /* What is there, where the answer says so. */
    monocle_optional_text label;
    monocle_place at;
} monocle_answer_point;

typedef struct monocle_place_list {
    const monocle_place *data;
    size_t count;
} monocle_place_list;

/* An outline: its last point is joined to its first. */
typedef struct monocle_answer_outline {
    /* Which picture. */
    uint32_t medium;
    /* What is there, where the answer says so. */
    monocle_optional_text label;
    monocle_place_list points;
} monocle_answer_outline;

/* Words for a whole medium. */
typedef struct monocle_answer_label {
    uint32_t medium;
    monocle_text label;
} monocle_answer_label;

/* A piece of an answer that is more than text. */
enum {
    /* Words between the others. */
    MONOCLE_ANSWER_PART_TEXT = 0,
    /* A rectangle. */
    MONOCLE_ANSWER_PART_RECTANGLE = 1,
    /* A point. */
    MONOCLE_ANSWER_PART_POINT = 2,
    /* An outline. */
    MONOCLE_ANSWER_PART_OUTLINE = 3,
    /* Words for a whole medium. */
    MONOCLE_ANSWER_PART_LABEL = 4,
};

typedef struct monocle_answer_part {
    uint32_t tag;
    union {
        uint8_t none;
        monocle_text text;
        monocle_answer_rectangle rectangle;
        monocle_answer_point point;
        monocle_answer_outline outline;
        monocle_answer_label label;
    } value;
} monocle_answer_part;


/* ---- log ---- */

/* Words for the host's log: `warn` is shown with the result and in `--json` (`notes`), the others with `--verbose` (`--json`: `log`). */
/* For whom a line is. */
typedef uint32_t monocle_level;
enum {
    MONOCLE_LEVEL_DEBUG = 0,
    MONOCLE_LEVEL_INFO = 1,
    /* Shown to the user with the result: use it for what they must know (a default that was assumed, a picture ignored). */
    MONOCLE_LEVEL_WARN = 2,
};

typedef struct monocle_log_table {
    size_t size;
    /* One line. Of a line the first 4096 letters are kept, and of all lines the last 256. */
    monocle_status (*write)(const monocle_host *host, monocle_level level, monocle_text text);
} monocle_log_table;

/* ---- tokenizers ---- */

/* The model's tokenizer (`tokenizer.json`). */
typedef struct monocle_optional_u32 {
    uint8_t present;
    uint32_t value;
} monocle_optional_u32;

typedef struct monocle_tokenizers_table {
    size_t size;
    /* Token ids of a text. Special tokens written in the text are recognised. `add-special-tokens` adds what the tokenizer's post-processor
       adds (a beginning-of-text token, say; see `adds-beginning`); chat templates usually have written those already. */
    monocle_status (*encode)(const monocle_host *host, monocle_text text, uint8_t add_special_tokens, monocle_u32_list *result);
    /* Adds tokens that the vocabulary lacks, in this order after its last id, as transformers' `add_tokens` does, and gives the ids of all:
       what is there keeps its id. Special ones are taken out of answers unless the plan keeps them. In `processor.configure` only, the same
       tokens each time. Traps elsewhere, on more than 65536 tokens, and on one that is empty or longer than 256 bytes. */
    monocle_status (*add)(const monocle_host *host, monocle_text_list tokens, uint8_t special, monocle_u32_list *result);
    /* The token that `encode` puts before every text when it adds special tokens; none where it puts none there. */
    monocle_status (*adds_beginning)(const monocle_host *host, monocle_optional_u32 *result);
    /* The id of a token by its exact text, as the vocabulary or the added tokens have it (`▁the`, `<image>`); none where there is no such
       token. */
    monocle_status (*token_id)(const monocle_host *host, monocle_text token, monocle_optional_u32 *result);
    /* The exact text of a token by its id: what `token-id` takes, not what an answer shows of it; none where there is no such id. */
    monocle_status (*token)(const monocle_host *host, uint32_t id, monocle_optional_text *result);
} monocle_tokenizers_table;

/* ---- prompts ---- */

/* Chat templates (Jinja, as Hugging Face's tokenizers use it). */
/* What a plugin has to say about rendering. */
typedef struct monocle_render_options {
    /* A template for when there is no other. */
    monocle_optional_text fallback;
    /* Variables for the template, a JSON object; `{}` for none. The manifest's and the user's of the same name go before them, and the
       request's before these. */
    monocle_text variables;
} monocle_render_options;

typedef struct monocle_prompts_table {
    size_t size;
    /* Renders the conversation with the template in force: the one that the user gave on the command line, else the manifest's, else the
       repository's, else `fallback`, else a plain one. The assistant's turn is opened (`add_generation_prompt`), tools and variables of the
       request are handed over. Media are not looked at. Fails with the template's own words, and where what should be JSON is none. */
    monocle_status (*render)(const monocle_host *host, const monocle_request *request, const monocle_render_options *options, monocle_text *result, monocle_text *words);
} monocle_prompts_table;

/* ---- images ---- */

/* Pictures. Pixels stay in the host: 8-bit RGB, as Pillow's `convert("RGB")` gives it. */
/* How a resize weighs samples; the same numbers as Pillow's `Image.resize` of that name, antialiased when shrinking (except `nearest`). */
typedef uint32_t monocle_filter;
enum {
    MONOCLE_FILTER_NEAREST = 0,
    MONOCLE_FILTER_BOX = 1,
    MONOCLE_FILTER_BILINEAR = 2,
    MONOCLE_FILTER_HAMMING = 3,
    MONOCLE_FILTER_BICUBIC = 4,
    MONOCLE_FILTER_LANCZOS = 5,
    /* As `bilinear`, but with the numbers of PyTorch's antialiased resize on bytes, which are coarser: for the few models whose reference
       processor never used Pillow. */
    MONOCLE_FILTER_TORCH_BILINEAR = 6,
};

/* Order of dimensions in pixel tensors. */
typedef uint32_t monocle_layout;
enum {
    /* `[n, height, width, 3]`: what `conv2d` takes. */
    MONOCLE_LAYOUT_CHANNELS_LAST = 0,
    /* `[n, 3, height, width]` */
    MONOCLE_LAYOUT_CHANNELS_FIRST = 1,
};

/* `(value · rescale - mean) / deviation` for each channel, in the reference processors' order of arithmetic. */
typedef struct monocle_normalisation {
    /* Multiplies the 8-bit value first; 1/255 normally. */
    double rescale;
    /* Red, green, blue. */
    float mean[3];
    /* Red, green, blue. */
    float deviation[3];
} monocle_normalisation;

/* A picture. */
typedef uint32_t monocle_image;

/* Prepared pixels: a float tensor in host memory that `network.encode` will get. */
typedef uint32_t monocle_pixels;

typedef struct monocle_image_list {
    const monocle_image *data;
    size_t count;
} monocle_image_list;

typedef struct monocle_images_table {
    size_t size;
    /* Width and height in pixels. */
    monocle_status (*image_size)(const monocle_host *host, monocle_image self, monocle_size *result);
    /* To exactly this size. Traps when a side is 0 or the result exceeds the host's limit. */
    monocle_status (*image_resize)(const monocle_host *host, monocle_image self, uint32_t width, uint32_t height, monocle_filter filter, monocle_image *result);
    /* The rectangle with this corner and size, in pixels, as Pillow's `crop`: the corner may lie outside, and what is outside the picture is
       black. Traps as `resize` does. */
    monocle_status (*image_crop)(const monocle_host *host, monocle_image self, int32_t left, int32_t top, uint32_t width, uint32_t height, monocle_image *result);
    /* A border of one colour, so many pixels wide on each side, as Pillow's `ImageOps.expand`. Traps as `resize` does. */
    monocle_status (*image_pad)(const monocle_host *host, monocle_image self, uint32_t left, uint32_t top, uint32_t right, uint32_t bottom, uint8_t red, uint8_t green, uint8_t blue, monocle_image *result);
    /* Its shape. */
    monocle_status (*pixels_shape)(const monocle_host *host, monocle_pixels self, monocle_u32_list *result);
    /* Pictures of one size, one at least, normalised and stacked: `[n, height, width, 3]` or `[n, 3, height, width]`. Traps where sizes
       differ, or the whole exceeds the host's limit. */
    monocle_status (*stack)(const monocle_host *host, monocle_image_list images, const monocle_normalisation *normalisation, monocle_layout layout, monocle_pixels *result);
    /* The plugin needs it no more. */
    monocle_status (*image_drop)(const monocle_host *host, monocle_image self);
    /* The plugin needs it no more. */
    monocle_status (*pixels_drop)(const monocle_host *host, monocle_pixels self);
} monocle_images_table;

/* ---- tensors ---- */

/* Operations on tensors.

   A tensor here is a description: a shape, and whether its elements are floats or integers. Nothing is computed while a plugin runs, and no
   element can be read. The engine chooses the precision of floats (32-bit on a CPU).

   Operands that do not fit end the call with a trap, which names the operation and the shapes. Where nothing is said of kinds, operands are
   floats; what only moves elements (`reshape` to `put-rows`, `concat`) takes ints too. Where no paper is named, the definition stands here,
   or is NumPy's of that name. Angles are radians, sizes and places are counted in elements.

   Dimensions are counted from 0. "Broadcast" is NumPy's rule: aligned at the last dimension, sizes are equal or one is 1. Handles are valid
   during the call in which they were made, and no longer. */
/* What elements are. */
typedef uint32_t monocle_kind;
enum {
    MONOCLE_KIND_FLOAT = 0,
    /* 32-bit; conditions are 0 and 1. */
    MONOCLE_KIND_INT = 1,
};

/* One operand, element by element. Floats only, but `negate`, `absolute` and `square`. */
typedef uint32_t monocle_unary_operation;
enum {
    MONOCLE_UNARY_OPERATION_NEGATE = 0,
    MONOCLE_UNARY_OPERATION_ABSOLUTE = 1,
    MONOCLE_UNARY_OPERATION_EXPONENTIAL = 2,
    MONOCLE_UNARY_OPERATION_LOGARITHM = 3,
    MONOCLE_UNARY_OPERATION_SQUARE_ROOT = 4,
    MONOCLE_UNARY_OPERATION_RECIPROCAL_SQUARE_ROOT = 5,
    MONOCLE_UNARY_OPERATION_SQUARE = 6,
    MONOCLE_UNARY_OPERATION_SINE = 7,
    MONOCLE_UNARY_OPERATION_COSINE = 8,
    MONOCLE_UNARY_OPERATION_HYPERBOLIC_TANGENT = 9,
    MONOCLE_UNARY_OPERATION_SIGMOID = 10,
    MONOCLE_UNARY_OPERATION_RELU = 11,
    /* x · sigmoid(x) (arXiv:1702.03118); SwiGLU's gate. */
    MONOCLE_UNARY_OPERATION_SILU = 12,
    /* x · Φ(x) with the exact error function (arXiv:1606.08415); `gelu` in Hugging Face configs. */
    MONOCLE_UNARY_OPERATION_GELU = 13,
    /* The tanh approximation (same paper); `gelu_pytorch_tanh` and `gelu_new` in Hugging Face configs. */
    MONOCLE_UNARY_OPERATION_GELU_TANH = 14,
    /* x · sigmoid(1.702 x) (same paper); `quick_gelu`. */
    MONOCLE_UNARY_OPERATION_QUICK_GELU = 15,
    /* ln(1 + eˣ) */
    MONOCLE_UNARY_OPERATION_SOFTPLUS = 16,
};

/* Two operands of one kind, element by element, broadcast. */
typedef uint32_t monocle_binary_operation;
enum {
    MONOCLE_BINARY_OPERATION_ADD = 0,
    MONOCLE_BINARY_OPERATION_SUBTRACT = 1,
    MONOCLE_BINARY_OPERATION_MULTIPLY = 2,
    /* Floats only. */
    MONOCLE_BINARY_OPERATION_DIVIDE = 3,
    MONOCLE_BINARY_OPERATION_MAXIMUM = 4,
    MONOCLE_BINARY_OPERATION_MINIMUM = 5,
    /* Floats only. */
    MONOCLE_BINARY_OPERATION_POWER = 6,
    /* The result is int: 1 where true, else 0. */
    MONOCLE_BINARY_OPERATION_EQUAL = 7,
    /* As `equal`. */
    MONOCLE_BINARY_OPERATION_LESS = 8,
    /* As `equal`. */
    MONOCLE_BINARY_OPERATION_GREATER = 9,
};

/* How a reduction combines elements. */
typedef uint32_t monocle_reduction;
enum {
    MONOCLE_REDUCTION_SUM = 0,
    MONOCLE_REDUCTION_MEAN = 1,
    MONOCLE_REDUCTION_MAXIMUM = 2,
};

/* How a pooling window combines elements. */
typedef uint32_t monocle_pooling;
enum {
    /* Padding does not count. */
    MONOCLE_POOLING_AVERAGE = 0,
    MONOCLE_POOLING_MAXIMUM = 1,
};

/* How interpolation finds values between samples; all as PyTorch's `interpolate`. */
typedef uint32_t monocle_interpolation;
enum {
    /* The sample at floor(i · in / out). */
    MONOCLE_INTERPOLATION_NEAREST = 0,
    MONOCLE_INTERPOLATION_BILINEAR = 1,
    /* Cubic convolution, a = -0.75 (a = -0.5 when antialiased). */
    MONOCLE_INTERPOLATION_BICUBIC = 2,
};

/* Which two elements of a head a rotary embedding turns together. */
typedef uint32_t monocle_pairing;
enum {
    /* Element i with i + n of the 2n that turn (Hugging Face's Llama; `rotate_half`). */
    MONOCLE_PAIRING_HALVES = 0,
    /* Element 2i with 2i + 1 (GPT-J; the original Llama and Mistral releases). */
    MONOCLE_PAIRING_NEIGHBOURS = 1,
};

typedef struct monocle_f32_list {
    const float *data;
    size_t count;
} monocle_f32_list;

typedef struct monocle_u8_list {
    const uint8_t *data;
    size_t count;
} monocle_u8_list;

/* The angles of a rotary embedding (arXiv:2104.09864), made once by the plugin: every scaling rule (linear, NTK, YaRN, Llama 3, LongRoPE) is
   a matter of these numbers. */
typedef struct monocle_rope_angles {
    /* Radians a position step, one for each pair that turns, at most half the head's dimension. Elements beyond pass through. */
    monocle_f32_list frequencies;
    /* Which row of the positions each frequency uses: sections of multimodal rotary embeddings (arXiv:2409.12191), rows and columns of 2-D
       ones. Empty: row 0 for all. */
    monocle_u8_list axes;
    monocle_pairing pairing;
    /* Multiplies sines and cosines; 1 unless the scaling rule says otherwise (YaRN, arXiv:2309.00071). */
    float scale;
} monocle_rope_angles;

typedef struct monocle_optional_f32 {
    uint8_t present;
    float value;
} monocle_optional_f32;

/* Attention without a cache. */
typedef struct monocle_self_attention {
    /* Multiplies the scores, 1/√dim normally. */
    float scale;
    /* softcap · tanh(score / softcap) before the softmax (arXiv:2408.00118). */
    monocle_optional_f32 softcap;
    /* Row i sees rows 0 to i of its segment only. There must be as many keys as queries. */
    uint8_t causal;
    /* Bounds of windows, ascending from 0 to the number of tokens: tokens attend within their segment. There must be as many keys as
       queries. Empty for one segment. */
    monocle_u32_list segments;
} monocle_self_attention;

/* Steps of a window over height and width. */
typedef struct monocle_window {
    /* Height and width; ignored by `conv2d`, whose kernel has them. */
    uint32_t size[2];
    /* Down and right. */
    uint32_t stride[2];
    /* Zeros on both sides: above and below, left and right. Less than the size. */
    uint32_t padding[2];
} monocle_window;

/* See the interface. */
typedef uint32_t monocle_tensor;

typedef struct monocle_optional_tensor {
    uint8_t present;
    monocle_tensor value;
} monocle_optional_tensor;

typedef struct monocle_tensor_list {
    const monocle_tensor *data;
    size_t count;
} monocle_tensor_list;

typedef struct monocle_tensors_table {
    size_t size;
    /* Its dimensions; empty for a scalar. */
    monocle_status (*tensor_shape)(const monocle_host *host, monocle_tensor self, monocle_u32_list *result);
    /* What its elements are. */
    monocle_status (*tensor_kind)(const monocle_host *host, monocle_tensor self, monocle_kind *result);
    /* Element by element Same shape. */
    monocle_status (*tensor_unary)(const monocle_host *host, monocle_tensor self, monocle_unary_operation operation, monocle_tensor *result);
    /* The broadcast shape. */
    monocle_status (*tensor_binary)(const monocle_host *host, monocle_tensor self, monocle_binary_operation operation, monocle_tensor other, monocle_tensor *result);
    /* x · scale + shift, of the same shape. */
    monocle_status (*tensor_scale_shift)(const monocle_host *host, monocle_tensor self, float scale, float shift, monocle_tensor *result);
    /* min(max(x, low), high), of the same shape. */
    monocle_status (*tensor_clamp)(const monocle_host *host, monocle_tensor self, float low, float high, monocle_tensor *result);
    /* Where this (int) is not 0, `a`, else `b`, which are of one kind; the three are broadcast to one shape. */
    monocle_status (*tensor_select)(const monocle_host *host, monocle_tensor self, monocle_tensor a, monocle_tensor b, monocle_tensor *result);
    /* As float, or as int (towards zero), of the same shape. */
    monocle_status (*tensor_cast)(const monocle_host *host, monocle_tensor self, monocle_kind kind, monocle_tensor *result);
    /* Linear algebra `[.., m, k]` times `[.., k, n]`, or `[.., n, k]` when `transpose-right`; to `[.., m, n]`. Leading dimensions broadcast.
       Traps where an operand has fewer than two dimensions, or the ks differ. */
    monocle_status (*tensor_matmul)(const monocle_host *host, monocle_tensor self, monocle_tensor right, uint8_t transpose_right, monocle_tensor *result);
    /* Over the last dimension x / √(mean(x²) + epsilon) · (weight + offset) (arXiv:1910.07467). Weight `[size]`; offset 1 for families that
       store weights around zero (Gemma). */
    monocle_status (*tensor_rms_norm)(const monocle_host *host, monocle_tensor self, monocle_optional_tensor weight, float epsilon, float offset, monocle_tensor *result);
    /* (x - mean) / √(variance + epsilon) · weight + bias (arXiv:1607.06450). Weight and bias `[size]`. */
    monocle_status (*tensor_layer_norm)(const monocle_host *host, monocle_tensor self, monocle_tensor weight, monocle_optional_tensor bias, float epsilon, monocle_tensor *result);
    /* eˣ / Σ eˣ, of the same shape. The last dimension must not be empty. */
    monocle_status (*tensor_softmax)(const monocle_host *host, monocle_tensor self, monocle_tensor *result);
    /* Indices of the k largest, largest first, the lower index first among equals: `[.., size]` to int `[.., k]`, k from 1 to size. */
    monocle_status (*tensor_top_k)(const monocle_host *host, monocle_tensor self, uint32_t k, monocle_tensor *result);
    /* x[.., indices[.., j]]: `[.., size]` and int `[.., k]` to `[.., k]`; leading dimensions equal. */
    monocle_status (*tensor_gather_last)(const monocle_host *host, monocle_tensor self, monocle_tensor indices, monocle_tensor *result);
    /* Over the dimensions listed: one at least, ascending, none empty; they vanish, or stay with size 1. Floats only: counts of ints are
       sums of what `cast` makes of them, exact to 2^24. */
    monocle_status (*tensor_reduce)(const monocle_host *host, monocle_tensor self, monocle_reduction reduction, monocle_u32_list axes, uint8_t keep, monocle_tensor *result);
    /* Shape The same elements, row-major, in another shape of as many. */
    monocle_status (*tensor_reshape)(const monocle_host *host, monocle_tensor self, monocle_u32_list shape, monocle_tensor *result);
    /* Dimension i of the result is dimension axes[i]. */
    monocle_status (*tensor_permute)(const monocle_host *host, monocle_tensor self, monocle_u32_list axes, monocle_tensor *result);
    /* Elements start, start + step, .. before end along one dimension: one at least, so start is below end, end at most the size, step not
       0. */
    monocle_status (*tensor_slice)(const monocle_host *host, monocle_tensor self, uint32_t axis, uint32_t start, uint32_t end, uint32_t step, monocle_tensor *result);
    /* Repeated to this shape by the broadcasting rule. */
    monocle_status (*tensor_broadcast)(const monocle_host *host, monocle_tensor self, monocle_u32_list shape, monocle_tensor *result);
    /* So many times `value` before and after along one dimension; ints take its whole part. */
    monocle_status (*tensor_pad)(const monocle_host *host, monocle_tensor self, uint32_t axis, uint32_t before, uint32_t after, float value, monocle_tensor *result);
    /* Rows of the first dimension: `[n, ..]` and int `[..i]` to `[..i, ..]`. */
    monocle_status (*tensor_take_rows)(const monocle_host *host, monocle_tensor self, monocle_tensor indices, monocle_tensor *result);
    /* A copy in which row indices[i] is rows[i]: `[n, ..]`, int `[m]`, `[m, ..]` to `[n, ..]`. Indices must differ. */
    monocle_status (*tensor_put_rows)(const monocle_host *host, monocle_tensor self, monocle_tensor indices, monocle_tensor rows, monocle_tensor *result);
    /* Pictures: [batch, height, width, channels] To `[batch, rows, columns, out]`, where rows = ⌊(height + 2 · padding - size) / stride⌋ +
       1. Kernel `[out, in / groups, kernel height, kernel width]` as PyTorch stores it, bias `[out]`; groups divide in and out. Traps where
       padding is not below the size, the stride is 0, or no window fits. */
    monocle_status (*tensor_conv2d)(const monocle_host *host, monocle_tensor self, monocle_tensor kernel, monocle_optional_tensor bias, const monocle_window *window, uint32_t groups, monocle_tensor *result);
    /* Over windows: to `[batch, rows, columns, channels]`, with sizes and traps as of `conv2d`. */
    monocle_status (*tensor_pool2d)(const monocle_host *host, monocle_tensor self, monocle_pooling pooling, const monocle_window *window, monocle_tensor *result);
    /* To another height and width, neither 0. `align-corners`: corner samples coincide, else pixel areas do. `antialias`: when shrinking,
       the filter widens so that every sample counts. */
    monocle_status (*tensor_interpolate)(const monocle_host *host, monocle_tensor self, uint32_t height, uint32_t width, monocle_interpolation method, uint8_t align_corners, uint8_t antialias, monocle_tensor *result);
    /* Attention Turns pairs of elements by position · frequency: this `[tokens, heads, dim]` (or `[batch, tokens, heads, dim]`), positions
       int `[axes, tokens]`. */
    monocle_status (*tensor_rope)(const monocle_host *host, monocle_tensor self, monocle_tensor positions, const monocle_rope_angles *angles, monocle_tensor *result);
    /* softmax(q kᵀ · scale) v without a cache, for vision towers (arXiv:1706.03762; grouped queries arXiv:2305.13245). This is q `[tokens,
       heads, dim]`; k `[keys, kv heads, dim]`, v `[keys, kv heads, value dim]`, to `[tokens, heads, value dim]`; heads a multiple of kv
       heads. All three may have a leading batch dimension. No matrix of tokens by tokens is ever stored. */
    monocle_status (*tensor_attention)(const monocle_host *host, monocle_tensor self, monocle_tensor k, monocle_tensor v, const monocle_self_attention *attention, monocle_tensor *result);
    /* Fixed floats, row-major, as many as the shape has elements. */
    monocle_status (*floats)(const monocle_host *host, monocle_u32_list shape, monocle_f32_list values, monocle_tensor *result);
    /* Fixed integers, row-major, as many as the shape has elements. */
    monocle_status (*ints)(const monocle_host *host, monocle_u32_list shape, monocle_i32_list values, monocle_tensor *result);
    /* One float everywhere. */
    monocle_status (*full)(const monocle_host *host, monocle_u32_list shape, float value, monocle_tensor *result);
    /* One after another along a dimension: one at least, of one kind; other dimensions equal. */
    monocle_status (*concat)(const monocle_host *host, monocle_tensor_list tensors, uint32_t axis, monocle_tensor *result);
    /* The plugin needs it no more. */
    monocle_status (*tensor_drop)(const monocle_host *host, monocle_tensor self);
} monocle_tensors_table;

/* ---- weights ---- */

/* The model's weights, by their names in the checkpoint (after the manifest's `weights.rename`). How a weight is stored (f32, bf16, f16,
   quantised) is the host's business. Asking for one that is not there traps, and the user sees the nearest names.

   Weights can be asked for in `network.load` only; their handles stay valid for the life of the instance. */
/* A weight used as a tensor: norms, position embeddings, kernels. A quantised one is unpacked to floats of its real shape when it is asked
   for, if it has at most 2^26 elements (256 MiB); a larger one traps: it is to be used as a `linear`, `embedding` or `experts`. */
typedef uint32_t monocle_parameter;

/* `NAME.weight` `[out, in]` and, where it exists, `NAME.bias` `[out]`. */
typedef uint32_t monocle_linear;

/* `NAME.weight` `[vocabulary, hidden]`. */
typedef uint32_t monocle_embedding;

/* `NAME.weight` `[experts, out, in]` and, where it exists, `NAME.bias` `[experts, out]` (mixture of experts, arXiv:1701.06538). */
typedef uint32_t monocle_experts;

typedef struct monocle_weights_table {
    size_t size;
    /* Its dimensions. */
    monocle_status (*parameter_shape)(const monocle_host *host, monocle_parameter self, monocle_u32_list *result);
    /* As a tensor of the current call. */
    monocle_status (*parameter_value)(const monocle_host *host, monocle_parameter self, monocle_tensor *result);
    /* `[out, in]` */
    monocle_status (*linear_shape)(const monocle_host *host, monocle_linear self, monocle_u32_list *result);
    /* x Wᵀ + b: `[.., in]` to `[.., out]`. */
    monocle_status (*linear_forward)(const monocle_host *host, monocle_linear self, monocle_tensor x, monocle_tensor *result);
    /* The weight as one matrix W `[out / heads, in]` for each of so many heads, used as it is stored: x Wᵀ, `[tokens, heads, in]` to
       `[tokens, heads, out / heads]`; or, transposed, x W, `[tokens, heads, out / heads]` to `[tokens, heads, in]`. So latent attention
       (arXiv:2405.04434 section 2.1.2) takes its `kv_b_proj` into queries and out of values without unpacking keys. Traps where the layer
       has a bias, or the heads do not divide `out`. */
    monocle_status (*linear_forward_heads)(const monocle_host *host, monocle_linear self, monocle_tensor x, uint32_t heads, uint8_t transposed, monocle_tensor *result);
    /* `[vocabulary, hidden]` */
    monocle_status (*embedding_shape)(const monocle_host *host, monocle_embedding self, monocle_u32_list *result);
    /* Rows by id: int `[..]` to `[.., hidden]`. */
    monocle_status (*embedding_forward)(const monocle_host *host, monocle_embedding self, monocle_tensor ids, monocle_tensor *result);
    /* `[experts, out, in]` */
    monocle_status (*experts_shape)(const monocle_host *host, monocle_experts self, monocle_u32_list *result);
    /* Each row through the experts chosen for it: x `[tokens, in]` or `[tokens, k, in]`, indices int `[tokens, k]`, to `[tokens, k, out]`. */
    monocle_status (*experts_forward)(const monocle_host *host, monocle_experts self, monocle_tensor x, monocle_tensor indices, monocle_tensor *result);
    /* Whether a tensor of this exact name exists. */
    monocle_status (*has)(const monocle_host *host, monocle_text name, uint8_t *result);
    /* All names that start with this prefix, sorted. */
    monocle_status (*names)(const monocle_host *host, monocle_text prefix, monocle_text_list *result);
    /* The tensor of this exact name. */
    monocle_status (*get_parameter)(const monocle_host *host, monocle_text name, monocle_parameter *result);
    /* The layer of this name. An embedding's name gives its table as a layer: a tied output head. */
    monocle_status (*get_linear)(const monocle_host *host, monocle_text name, monocle_linear *result);
    /* The table of this name. */
    monocle_status (*get_embedding)(const monocle_host *host, monocle_text name, monocle_embedding *result);
    /* Layers of these names, 1 to 4096, `[out, in]` each, as the stacked layers of experts: for checkpoints that store experts one by one.
       Traps where they differ in shape or in how they are stored, or some have biases and others none. */
    monocle_status (*stack_experts)(const monocle_host *host, monocle_text_list names, monocle_experts *result);
    /* The stacked layers of this name. */
    monocle_status (*get_experts)(const monocle_host *host, monocle_text name, monocle_experts *result);
    /* The plugin needs it no more. */
    monocle_status (*parameter_drop)(const monocle_host *host, monocle_parameter self);
    /* The plugin needs it no more. */
    monocle_status (*linear_drop)(const monocle_host *host, monocle_linear self);
    /* The plugin needs it no more. */
    monocle_status (*embedding_drop)(const monocle_host *host, monocle_embedding self);
    /* The plugin needs it no more. */
    monocle_status (*experts_drop)(const monocle_host *host, monocle_experts self);
} monocle_weights_table;

/* ---- batches ---- */

/* What a forward pass runs on. Batches are flat: rows of several sequences lie one after another, and the host knows which is whose. Layers
   that work row by row need not care; attention and convolution over a sequence are asked of the batch. */
/* Attention over what a sequence has seen so far. */
typedef struct monocle_cached_attention {
    /* Which cache: any number below 4096 that is the same at every step, by custom the decoder layer's number. `attend`, `cross-attend`,
       `short-conv` and `recurrent` have caches of their own: number 3 of one is not number 3 of another. Two calls of one of them must not
       write to one number in one forward pass: the second traps. */
    uint32_t layer;
    /* Multiplies the scores, 1/√dim normally. */
    float scale;
    /* softcap · tanh(score / softcap) before the softmax (arXiv:2408.00118). */
    monocle_optional_f32 softcap;
    /* Sliding window (arXiv:2310.06825): a row sees itself and the `window - 1` tokens before it. */
    monocle_optional_u32 window;
    /* For `attend` where no v is given: values are the first so many elements of each key, 1 to all of them, and are stored once with it
       (latent attention, arXiv:2405.04434: one head of keys, the compressed latent and behind it the rotary part that all heads share). */
    monocle_optional_u32 value_dim;
} monocle_cached_attention;

/* The rows of one step. */
typedef uint32_t monocle_batch;

typedef struct monocle_batches_table {
    size_t size;
    /* How many rows. */
    monocle_status (*batch_tokens)(const monocle_host *host, monocle_batch self, uint32_t *result);
    /* Token ids: int `[tokens]`. */
    monocle_status (*batch_ids)(const monocle_host *host, monocle_batch self, monocle_tensor *result);
    /* Positions: int `[axes, tokens]`, one axis unless the plan gave explicit positions. */
    monocle_status (*batch_positions)(const monocle_host *host, monocle_batch self, monocle_tensor *result);
    /* A mark of the plan: int `[tokens]`. Traps where the sequences' plans have no mark of this name. */
    monocle_status (*batch_mark)(const monocle_host *host, monocle_batch self, monocle_text name, monocle_tensor *result);
    /* 1 at rows that hold a medium's feature: int `[tokens]`. */
    monocle_status (*batch_medium_mask)(const monocle_host *host, monocle_batch self, monocle_tensor *result);
    /* x `[tokens, hidden]` with features in place of the rows at slots. `set` is the index into what `network.encode` returned; 0 unless
       there are several. */
    monocle_status (*batch_splice_features)(const monocle_host *host, monocle_batch self, monocle_tensor x, uint32_t set, monocle_tensor *result);
    /* As `splice-features`, but added to the rows (DeepStack, arXiv:2406.04334). */
    monocle_status (*batch_add_features)(const monocle_host *host, monocle_batch self, monocle_tensor x, uint32_t set, monocle_tensor *result);
    /* The rows whose logits the host wants (the last of each sequence, normally): `[tokens, ..]` to `[wanted, ..]`. */
    monocle_status (*batch_select_logits)(const monocle_host *host, monocle_batch self, monocle_tensor x, monocle_tensor *result);
    /* Appends k and v to the caches of the rows' sequences, then attends: q `[tokens, heads, dim]`, k `[tokens, kv heads, dim]`, v `[tokens,
       kv heads, value dim]`, to `[tokens, heads, value dim]`; heads a multiple of kv heads. Without v, `attention.value-dim` says which part
       of k the values are; with v it must be absent. The host masks as the plan's attention scheme says. */
    monocle_status (*batch_attend)(const monocle_host *host, monocle_batch self, monocle_tensor q, monocle_tensor k, monocle_optional_tensor v, const monocle_cached_attention *attention, monocle_tensor *result);
    /* Attends to a cache that an earlier `attend` of the same call has written, and stores nothing: layers that share their keys and values
       (arXiv:2405.12981). `attention.layer` is the cache. This q `[tokens, heads, dim]` fits the keys that were written, to `[tokens, heads,
       value dim]`. Scale and softcap may be others than the writer's; the window must not reach further back, and `value-dim` is the
       writer's: it must be absent here. Traps where nobody has written to the cache, or the window is wider. */
    monocle_status (*batch_attend_shared)(const monocle_host *host, monocle_batch self, monocle_tensor q, const monocle_cached_attention *attention, monocle_tensor *result);
    /* Causal depthwise convolution along each sequence, its state kept: x `[tokens, channels]`, kernel `[channels, taps]` (the last tap
       weighs the row itself), bias `[channels]`, to `[tokens, channels]`. */
    monocle_status (*batch_short_conv)(const monocle_host *host, monocle_batch self, monocle_tensor x, monocle_tensor kernel, monocle_optional_tensor bias, uint32_t layer, monocle_tensor *result);
    /* The gated delta rule along each sequence (arXiv:2412.06464), its state kept: for each value head, from S = 0 `[value dim, key dim]`, S
       ← eᵍ S (I - beta k kᵀ) + beta v kᵀ, and S q is the result. q and k `[tokens, heads, key dim]`, v `[tokens, value heads, value dim]`,
       gate (g, the decay's logarithm, not above 0) and beta `[tokens, value heads]`; value heads a multiple of heads, neighbours share one.
       To `[tokens, value heads, value dim]`. The plugin normalises and scales q and k. The state has 32 bits whatever the engine computes
       in. `layer` counts as for `attend`, and recurrences have numbers of their own. Such a sequence can be continued only from its end. */
    monocle_status (*batch_recurrent)(const monocle_host *host, monocle_batch self, monocle_tensor q, monocle_tensor k, monocle_tensor v, monocle_tensor gate, monocle_tensor beta, uint32_t layer, monocle_tensor *result);
    /* Whether these sequences have context to attend to: their plans have an `encoder`, or their `feature-use` is `context` and there are
       media. */
    monocle_status (*batch_has_context)(const monocle_host *host, monocle_batch self, uint8_t *result);
    /* The context, where this step is the first to see it: `[context, hidden]`. It is what `network.encode-prompt` gave, or set 0 of the
       media's features, one after another. Later steps find in the cache what `cross-attend` stored. */
    monocle_status (*batch_new_context)(const monocle_host *host, monocle_batch self, monocle_optional_tensor *result);
    /* 1 at rows that see any context: int `[tokens]`. */
    monocle_status (*batch_context_mask)(const monocle_host *host, monocle_batch self, monocle_tensor *result);
    /* q `[tokens, heads, dim]` attends to the context (arXiv:1706.03762 section 3.2.3); k and v `[context, kv heads, dim]` are given exactly
       when `new-context` is, heads a multiple of kv heads. Rows that see nothing get zeros. To `[tokens, heads, dim]`. Window and
       `value-dim` must be absent. */
    monocle_status (*batch_cross_attend)(const monocle_host *host, monocle_batch self, monocle_tensor q, monocle_optional_tensor k, monocle_optional_tensor v, const monocle_cached_attention *attention, monocle_tensor *result);
    /* The plugin needs it no more. */
    monocle_status (*batch_drop)(const monocle_host *host, monocle_batch self);
} monocle_batches_table;

/* ---- what the host gives to a call ---- */

/* Valid until the function of the plugin that was given it returns, on that thread. Tables are NULL that a plugin of this kind does not
   get: an adapter has no tensors, weights and batches. */
struct monocle_host {
    size_t size;
    uint32_t abi;
    /* The host's own. */
    void *context;
    const monocle_log_table *log;
    const monocle_tokenizers_table *tokenizers;
    const monocle_prompts_table *prompts;
    const monocle_images_table *images;
    const monocle_tensors_table *tensors;
    const monocle_weights_table *weights;
    const monocle_batches_table *batches;
};

/* ---- what a plugin gives ---- */

/* What a plugin keeps of one request: the plugin defines it. */
typedef struct monocle_instance monocle_instance;

/* What every plugin gives: how requests become tokens, and pictures become pixels. */
typedef struct monocle_pixels_list {
    const monocle_pixels *data;
    size_t count;
} monocle_pixels_list;

typedef struct monocle_answer_part_list {
    const monocle_answer_part *data;
    size_t count;
} monocle_answer_part_list;

typedef struct monocle_processor_table {
    size_t size;
    /* Reads the model's files. Called once, before anything else. */
    monocle_status (*configure)(monocle_instance *instance, const monocle_host *host, const monocle_model_files *files, monocle_text *words);
    /* What the request comes to. No pixel is needed for that, and none is read. */
    monocle_status (*plan)(monocle_instance *instance, const monocle_host *host, const monocle_request *request, monocle_plan *result, monocle_text *words);
    /* The pixels of the medium of this number, a picture, with exactly the shapes that its plan announced. Called after `plan`, for each
       picture in order, once. */
    monocle_status (*pixels)(monocle_instance *instance, const monocle_host *host, uint32_t index, monocle_image image, monocle_pixels_list *result, monocle_text *words);
    /* Cleans generated text as it streams: given more text (and whether it is the last), returns what can be shown now. Called only when the
       plugin's section says `filters-output`. Special tokens, stop strings and reasoning are handled by the host before. */
    monocle_status (*output)(monocle_instance *instance, const monocle_host *host, monocle_text text, uint8_t last, monocle_text *result);
    /* What a whole answer, cleaned, says beside its words, in order: rectangles around things, points. Called once, when the answer is over,
       and only when the plugin's section says `answers-parts`. `--json` shows them (`parts`). Coordinates must be numbers, and media those
       of the request. */
    monocle_status (*parts)(monocle_instance *instance, const monocle_host *host, monocle_text answer, monocle_answer_part_list *result);
} monocle_processor_table;

/* What a model gives besides. */
typedef struct monocle_network_table {
    size_t size;
    /* Asks for the weights. Called once, after `processor.configure`. In an adapter's model the files are the same. */
    monocle_status (*load)(monocle_instance *instance, const monocle_host *host, const monocle_model_files *files, monocle_text *words);
    /* Features of one medium: from the tensors that `processor.pixels` returned and the plan's `layout`, to one or more feature sets
       `[features, hidden]`. Set 0 is what `splice-features` usually takes. Recorded. */
    monocle_status (*encode)(monocle_instance *instance, const monocle_host *host, monocle_tensor_list pixels, monocle_u32_list layout, monocle_tensor_list *result, monocle_text *words);
    /* Rows of context: `[tokens, hidden]`, one for each token of the plan's `encoder`. The batch has that prompt's ids, positions, marks and
       slots (`splice-features`), all tokens at once, and they see each other through `tensor.attention`: `attend`, `attend-shared`,
       `short-conv`, `recurrent` and `select-logits` trap. `forward` finds the rows in `new-context`. Asked only where a plan has an
       `encoder`; a model that has none fails with words. Recorded. */
    monocle_status (*encode_prompt)(monocle_instance *instance, const monocle_host *host, monocle_batch batch, monocle_tensor *result, monocle_text *words);
    /* Logits of the wanted rows: `[wanted, vocabulary]`. Recorded. */
    monocle_status (*forward)(monocle_instance *instance, const monocle_host *host, monocle_batch batch, monocle_tensor *result, monocle_text *words);
} monocle_network_table;

/* What a plugin gives: constant, and there as long as the library. */
typedef struct monocle_plugin {
    /* sizeof(monocle_plugin) */
    size_t size;
    /* MONOCLE_ABI */
    uint32_t abi;
    /* See MONOCLE_STAMP. */
    monocle_text stamp;
    /* A new instance; NULL where there is no memory for one. */
    monocle_instance *(*create)(void);
    /* Frees an instance. No function of the host can be called. */
    void (*destroy)(monocle_instance *instance);
    const monocle_processor_table *processor;
    /* NULL in an adapter. */
    const monocle_network_table *network;
} monocle_plugin;

/* The stamp, which the host finds in the file before it loads it: a text that begins so, and goes on with one JSON object. Its keys are "name",
   "version" (as 1.2.3), "contract" ("0.2.0"), "kind" ("adapter" or "model"), "model-types" (a list of texts), "filters-output" and
   "answers-parts" (whether `output` and `parts` are to be called). The library must hold no other text that begins so.

       static const char stamp[] = MONOCLE_STAMP "{\"name\":\"mine\",\"version\":\"0.1.0\",\"contract\":\"0.2.0\",\"kind\":\"adapter\"}"; */
#define MONOCLE_STAMP "monocle:plugin:stamp:"

#if defined(_WIN32)
#define MONOCLE_EXPORT __declspec(dllexport)
#else
#define MONOCLE_EXPORT __attribute__((visibility("default")))
#endif

/* The one function that a plugin exports. */
MONOCLE_EXPORT const monocle_plugin *monocle_plugin_0_2(void);

#ifdef __cplusplus
}
#endif

#endif
