
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
