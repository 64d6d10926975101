/* The native carrier of Monocle's plugins: contract 0.2 for dynamic libraries.
   Written by `COMMAND` from plugin-api/wit/v0.2; do not edit.

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
