/* The way a target fails. */
#include "tests/fuzz/fuzz.h"

#include <stdarg.h>

const char *fuzz_input;

void fuzz_broken(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s:%d: ", file, line);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    abort();
}
