/* Each picture is squeezed into one square: the model sees less, and answers sooner.
 *
 * `bindings/adapter.h` is made of the contract; `monocle.h` has what most adapters need besides. */

#include "bindings/adapter.h"

#include "monocle.h"

/* What the model of `model` takes: pictures of 96 pixels, and of each 4 x 4 features. */
enum { SIDE = 96, FEATURES = 16 };

bool exports_monocle_plugin_processor_configure(exports_monocle_plugin_processor_model_files_t *files, adapter_string_t *err) {
    (void)files, (void)err;
    return true;
}

/* What stands in the place of a picture's mark. */
static void expansion(text_t *text, size_t picture) {
    (void)picture;
    say(text, "<fake_token_around_image><global-img>");
    for (int feature = 0; feature < FEATURES; feature++) say(text, "<image>");
    say(text, "<fake_token_around_image>");
}

bool exports_monocle_plugin_processor_plan(exports_monocle_plugin_processor_request_t *request,
                                           exports_monocle_plugin_processor_request_plan_t *ret, adapter_string_t *err) {
    adapter_string_t text;
    if (!render(request, "<image>", &text, err)) return false;
    return plan(text, "<image>", expansion, (picture_plan_t){SIDE, FEATURES, request->media.len}, ret, err);
}

bool exports_monocle_plugin_processor_pixels(uint32_t index, exports_monocle_plugin_processor_borrow_image_t picture,
                                             exports_monocle_plugin_processor_list_own_prepared_pixels_t *ret, adapter_string_t *err) {
    (void)index, (void)err;
    monocle_plugin_images_own_image_t square =
        monocle_plugin_images_method_image_resize(picture, SIDE, SIDE, MONOCLE_PLUGIN_IMAGES_FILTER_LANCZOS);
    monocle_plugin_images_borrow_image_t borrowed = monocle_plugin_images_borrow_image(square);
    monocle_plugin_images_list_borrow_image_t views = {&borrowed, 1};
    monocle_plugin_images_normalisation_t half = {1.0 / 255.0, {0.5f, 0.5f, 0.5f}, {0.5f, 0.5f, 0.5f}};
    ret->ptr = malloc(sizeof *ret->ptr);
    ret->len = 1;
    ret->ptr[0] = monocle_plugin_images_stack(&views, &half, MONOCLE_PLUGIN_IMAGES_LAYOUT_CHANNELS_LAST);
    monocle_plugin_images_image_drop_own(square);
    monocle_plugin_images_image_drop_borrow(picture);
    return true;
}

void exports_monocle_plugin_processor_output(adapter_string_t *text, bool last, adapter_string_t *ret) {
    (void)last;
    *ret = *text;
}

void exports_monocle_plugin_processor_parts(adapter_string_t *answer, exports_monocle_plugin_processor_list_answer_part_t *ret) {
    (void)answer;
    ret->ptr = NULL;
    ret->len = 0;
}
