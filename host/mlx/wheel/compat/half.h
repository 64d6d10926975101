/* Read before mlx-c's own headers where the processor has no 16-bit floats, so that their accessors are declared. */
#pragma once
#include <stdint.h>
#if !defined(__aarch64__)
typedef uint16_t float16_t;
typedef uint16_t bfloat16_t;
#define HAS_FLOAT16
#define HAS_BFLOAT16
#endif
