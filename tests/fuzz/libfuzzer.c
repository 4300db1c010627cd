/* One target behind libFuzzer: built by `make fuzz` with -DFUZZ_TARGET=fuzz_NAME, by clang only. */
#include "common/log.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    /* STINT_FUZZ_LOG=1: what the product says while one input runs. */
    log_open("fuzz", getenv("STINT_FUZZ_LOG") ? LOG_DEBUG : LOG_ERROR + 1);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    FUZZ_TARGET(data, n);
    return 0;
}
