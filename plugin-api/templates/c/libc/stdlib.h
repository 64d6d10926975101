/* What the bindings ask of a C library; libc.c has it. */
#pragma once
#include <stddef.h>
void *malloc(size_t size);
void *realloc(void *place, size_t size);
void free(void *place);
_Noreturn void abort(void);
