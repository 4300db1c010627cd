#include "worker/tasks/partial.h"

#include <stddef.h>
#include <string.h>

#include "worker/tasks/pack.h"

static const char magic[] = "stint.transactions";

typedef enum {
    SECTION_COUNTS, /* array of n counters */
    SECTION_SUMS,   /* array of n exact sums */
    SECTION_SPARSE, /* bytes: (varint gap to the next index, varint count) for each counter that is
                       not 0 */
} section_kind_t;

static const struct {
    const char *name;
    section_kind_t kind;
    size_t offset, n;
} sections[] = {
#define SECTION(name, kind, member, n)                                                             \
    {                                                                                              \
        name, SECTION_##kind, offsetof(block_t, member), n                                         \
    }
    SECTION("rows", COUNTS, rows, 1),
    SECTION("positive", COUNTS, positive, 1),
    SECTION("negative", COUNTS, negative, 1),
    SECTION("zero", COUNTS, zero, 1),
    SECTION("sum", SUMS, sum, 1),
    SECTION("weekend", COUNTS, weekend, 1),
    SECTION("after", COUNTS, after_hours, 1),
    SECTION("dow", COUNTS, weekdays, 7),
    SECTION("hours", COUNTS, hours, 24),
    SECTION("r1000", COUNTS, round_1000, 1),
    SECTION("r100", COUNTS, round_100, 1),
    SECTION("below", COUNTS, below, THRESHOLDS_MAX),
    SECTION("above", COUNTS, above, THRESHOLDS_MAX),
    SECTION("f2", COUNTS, first_two, 90),
    SECTION("l2", COUNTS, last_two, 100),
    SECTION("f2sum", SUMS, first_two_sums, 90),
    SECTION("dec", SUMS, digit_sums, DIGITS_N),
    SECTION("f2all", COUNTS, first_two_all, 90),
    SECTION("hist", SPARSE, histogram, HISTOGRAM_N),
    SECTION("months", SPARSE, month_rows, MONTHS_N),
    SECTION("rules", COUNTS, rule_rows, RULES_N),
    SECTION("scores", SPARSE, scores, SCORES_N),
#undef SECTION
};

enum {
    SECTIONS_N = sizeof sections / sizeof *sections,
    /* Beside the table: "range", "monthsum", "hll", "lines". */
    SECTIONS_MORE = 4,
    HLL_DENSE = 0,
    HLL_SPARSE = 1,
};

/* No honest sum of one batch reaches this, and 2^32 of them still fit 128 bit. */
#define SUM_LIMIT ((int128_t)1 << 94)

static uint64_t *counts_of(block_t *block, int i)
{
    return (uint64_t *)(void *)((char *)block + sections[i].offset);
}

static int128_t *sums_of(block_t *block, int i)
{
    return (int128_t *)(void *)((char *)block + sections[i].offset);
}

static void encode_sparse(const uint64_t *counts, size_t n, buffer_t *scratch, buffer_t *out)
{
    buffer_clear(scratch);
    size_t next = 0;
    for (size_t i = 0; i < n; i++) {
        if (counts[i]) {
            pack_varint(scratch, i - next);
            pack_varint(scratch, counts[i]);
            next = i + 1;
        }
    }
    pack_bytes(out, scratch->data, scratch->n);
}

static void encode_registers(const uint8_t *registers, buffer_t *scratch, buffer_t *out)
{
    buffer_clear(scratch);
    uint8_t mode = HLL_SPARSE;
    buffer_add(scratch, &mode, 1);
    size_t next = 0;
    for (size_t i = 0; i < HLL_N; i++) {
        if (registers[i]) {
            pack_varint(scratch, i - next);
            buffer_add(scratch, &registers[i], 1);
            next = i + 1;
        }
    }
    if (scratch->n > HLL_N) {
        buffer_clear(scratch);
        mode = HLL_DENSE;
        buffer_add(scratch, &mode, 1);
        buffer_add(scratch, registers, HLL_N);
    }
    pack_bytes(out, scratch->data, scratch->n);
}

static void encode_month_sums(const block_t *block, buffer_t *out)
{
    uint32_t n = 0;
    for (int i = 0; i < MONTHS_N; i++) {
        n += block->month_rows[i] != 0;
    }
    pack_array(out, n);
    for (int i = 0; i < MONTHS_N; i++) {
        if (block->month_rows[i]) {
            pack_wide(out, block->month_sums[i]);
        }
    }
}

static void encode_block(block_t *block, buffer_t *scratch, buffer_t *out)
{
    pack_map(out, SECTIONS_N + SECTIONS_MORE);
    for (int s = 0; s < SECTIONS_N; s++) {
        pack_text(out, sections[s].name);
        if (sections[s].kind == SECTION_SPARSE) {
            encode_sparse(counts_of(block, s), sections[s].n, scratch, out);
            continue;
        }
        pack_array(out, (uint32_t)sections[s].n);
        for (size_t i = 0; i < sections[s].n; i++) {
            if (sections[s].kind == SECTION_SUMS) {
                pack_wide(out, sums_of(block, s)[i]);
            } else {
                pack_uint(out, counts_of(block, s)[i]);
            }
        }
    }
    pack_text(out, "range");
    pack_array(out, 4);
    pack_int(out, block->min);
    pack_int(out, block->max);
    pack_int(out, block->day_min);
    pack_int(out, block->day_max);
    /* One sum for each month that has rows, in the order of "months", which stands before. */
    pack_text(out, "monthsum");
    encode_month_sums(block, out);
    pack_text(out, "hll");
    pack_array(out, HLL_KINDS_N);
    for (int k = 0; k < HLL_KINDS_N; k++) {
        encode_registers(block->registers[k], scratch, out);
    }
    pack_text(out, "lines");
    pack_array(out, block->first_lines_n);
    for (uint32_t i = 0; i < block->first_lines_n; i++) {
        pack_uint(out, block->first_lines[i]);
    }
}

static void encode_faults(const statistics_t *statistics, buffer_t *out)
{
    uint32_t codes_n = 0;
    for (int i = 0; i < ROW_CODES_N; i++) {
        codes_n += statistics->codes[i] != 0;
    }
    pack_text(out, "codes");
    pack_map(out, codes_n);
    for (int i = 0; i < ROW_CODES_N; i++) {
        if (statistics->codes[i]) {
            pack_text(out, row_code_name((row_code_t)i));
            pack_uint(out, statistics->codes[i]);
        }
    }
    pack_text(out, "errors");
    pack_array(out, statistics->errors_n);
    for (uint32_t i = 0; i < statistics->errors_n; i++) {
        pack_array(out, 3);
        pack_uint(out, statistics->errors[i].line);
        pack_text(out, row_code_name(statistics->errors[i].code));
        pack_text(out, statistics->errors[i].field);
    }
}

void partial_encode(const statistics_t *statistics, buffer_t *out)
{
    buffer_t scratch = {0};
    uint32_t blocks_n = 0;
    for (int i = 0; i < CURRENCIES_N; i++) {
        blocks_n += statistics->blocks[i] != NULL;
    }
    pack_array(out, 3);
    pack_text(out, magic);
    pack_uint(out, PARTIAL_VERSION);
    pack_map(out, 4);
    pack_text(out, "rows");
    pack_array(out, 5);
    pack_uint(out, statistics->lines);
    pack_uint(out, statistics->accepted);
    pack_uint(out, statistics->rejected);
    pack_uint(out, statistics->blank);
    pack_uint(out, statistics->formats);
    encode_faults(statistics, out);
    pack_text(out, "ccy");
    pack_map(out, blocks_n);
    for (int i = 0; i < CURRENCIES_N; i++) {
        if (statistics->blocks[i]) {
            pack_text(out, currency_code(i));
            encode_block(statistics->blocks[i], &scratch, out);
        }
    }
    buffer_free(&scratch);
}

static int128_t decode_sum(unpack_t *in)
{
    int128_t value = unpack_wide(in);
    if (value > SUM_LIMIT || value < -SUM_LIMIT) {
        in->failed = true;
        return 0;
    }
    return value;
}

static void decode_sparse(unpack_t *in, uint64_t *counts, size_t n)
{
    slice_t bytes = unpack_bytes(in);
    unpack_t inner = {(const uint8_t *)bytes.data, (const uint8_t *)bytes.data + bytes.n, false};
    size_t next = 0;
    while (inner.at < inner.end && !inner.failed) {
        uint64_t gap = unpack_varint(&inner), count = unpack_varint(&inner);
        if (inner.failed || gap >= n - next) {
            inner.failed = true;
            break;
        }
        next += gap;
        counts[next++] = count;
        if (next == n) {
            inner.failed = inner.at < inner.end;
            break;
        }
    }
    in->failed = in->failed || inner.failed;
}

static void decode_registers(unpack_t *in, uint8_t *registers)
{
    slice_t bytes = unpack_bytes(in);
    unpack_t inner = {(const uint8_t *)bytes.data, (const uint8_t *)bytes.data + bytes.n, false};
    uint64_t mode = unpack_varint(&inner), next = 0;
    if (mode == HLL_DENSE && bytes.n != HLL_N + 1) {
        inner.failed = true;
    }
    while (inner.at < inner.end && !inner.failed) {
        uint64_t gap = mode == HLL_SPARSE ? unpack_varint(&inner) : 0;
        uint64_t rank = inner.at < inner.end ? *inner.at++ : HLL_RANK_MAX + 1;
        if (inner.failed || mode > HLL_SPARSE || rank > HLL_RANK_MAX || next >= HLL_N ||
            gap >= HLL_N - next) {
            inner.failed = true;
            break;
        }
        next += gap;
        registers[next++] = (uint8_t)rank;
    }
    in->failed = in->failed || inner.failed;
}

static void decode_range(unpack_t *in, block_t *block)
{
    static const civil_t first = {1900, 1, 1}, last = {2199, 12, 31};
    if (unpack_array(in) != 4) {
        in->failed = true;
        return;
    }
    block->min = unpack_int(in);
    block->max = unpack_int(in);
    int64_t day_min = unpack_int(in), day_max = unpack_int(in);
    if (block->min > block->max || day_min > day_max || day_min < day_from_civil(first) ||
        day_max > day_from_civil(last)) {
        in->failed = true;
        return;
    }
    block->day_min = (int32_t)day_min;
    block->day_max = (int32_t)day_max;
}

static void decode_month_sums(unpack_t *in, block_t *block)
{
    uint32_t n = unpack_array(in);
    for (int i = 0; i < MONTHS_N && !in->failed; i++) {
        if (block->month_rows[i]) {
            block->month_sums[i] = decode_sum(in);
            n--;
        }
    }
    in->failed = in->failed || n != 0;
}

static void decode_lines(unpack_t *in, block_t *block)
{
    uint32_t n = unpack_array(in);
    if (n > FAULTS_MAX) {
        in->failed = true;
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        block->first_lines[i] = unpack_uint(in);
    }
    block->first_lines_n = n;
}

static void decode_table_section(unpack_t *in, block_t *block, int s)
{
    if (sections[s].kind == SECTION_SPARSE) {
        decode_sparse(in, counts_of(block, s), sections[s].n);
        return;
    }
    if (unpack_array(in) != sections[s].n) {
        in->failed = true;
    }
    for (size_t i = 0; i < sections[s].n && !in->failed; i++) {
        if (sections[s].kind == SECTION_SUMS) {
            sums_of(block, s)[i] = decode_sum(in);
        } else {
            counts_of(block, s)[i] = unpack_uint(in);
        }
    }
}

static void decode_section(unpack_t *in, block_t *block)
{
    slice_t name = unpack_text(in);
    for (int s = 0; s < SECTIONS_N; s++) {
        if (slice_is(name, sections[s].name)) {
            decode_table_section(in, block, s);
            return;
        }
    }
    if (slice_is(name, "range")) {
        decode_range(in, block);
    } else if (slice_is(name, "monthsum")) {
        decode_month_sums(in, block);
    } else if (slice_is(name, "lines")) {
        decode_lines(in, block);
    } else if (slice_is(name, "hll")) {
        if (unpack_array(in) != HLL_KINDS_N) {
            in->failed = true;
        }
        for (int k = 0; k < HLL_KINDS_N; k++) {
            decode_registers(in, block->registers[k]);
        }
    } else {
        unpack_skip(in);
    }
}

static void decode_blocks(unpack_t *in, statistics_t *out)
{
    uint32_t n = unpack_map(in);
    for (uint32_t i = 0; i < n && !in->failed; i++) {
        int currency = currency_find(unpack_text(in));
        if (currency < 0 || out->blocks[currency]) {
            in->failed = true;
            break;
        }
        block_t *block = statistics_block(out, currency);
        uint32_t sections_n = unpack_map(in);
        for (uint32_t s = 0; s < sections_n && !in->failed; s++) {
            decode_section(in, block);
        }
    }
}

static int decode_code(unpack_t *in)
{
    slice_t name = unpack_text(in);
    for (int i = 0; i < ROW_CODES_N; i++) {
        if (slice_is(name, row_code_name((row_code_t)i))) {
            return i;
        }
    }
    in->failed = true;
    return 0;
}

static void decode_codes(unpack_t *in, statistics_t *out)
{
    uint32_t n = unpack_map(in);
    for (uint32_t i = 0; i < n && !in->failed; i++) {
        int code = decode_code(in);
        out->codes[code] = unpack_uint(in);
    }
}

static void decode_errors(unpack_t *in, statistics_t *out)
{
    uint32_t n = unpack_array(in);
    for (uint32_t i = 0; i < n && !in->failed; i++) {
        row_error_t error = {0};
        if (unpack_array(in) != 3) {
            in->failed = true;
            break;
        }
        error.line = unpack_uint(in);
        error.code = (row_code_t)decode_code(in);
        slice_t field = unpack_text(in);
        if (in->failed || field.n > FIELD_NAME_MAX || !row_utf8(field)) {
            in->failed = true;
            break;
        }
        memcpy(error.field, field.data, field.n);
        statistics_note(out, &error);
    }
}

static void decode_top(unpack_t *in, statistics_t *out)
{
    slice_t name = unpack_text(in);
    if (slice_is(name, "rows")) {
        if (unpack_array(in) != 5) {
            in->failed = true;
        }
        out->lines = unpack_uint(in);
        out->accepted = unpack_uint(in);
        out->rejected = unpack_uint(in);
        out->blank = unpack_uint(in);
        out->formats = (uint32_t)unpack_uint(in);
    } else if (slice_is(name, "codes")) {
        decode_codes(in, out);
    } else if (slice_is(name, "errors")) {
        decode_errors(in, out);
    } else if (slice_is(name, "ccy")) {
        decode_blocks(in, out);
    } else {
        unpack_skip(in);
    }
}

static uint64_t total(const uint64_t *counts, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += counts[i];
    }
    return sum;
}

/* A row is counted once in each of these: bytes that were changed on the way rarely keep all of it
 * true. */
static bool agrees(const statistics_t *statistics)
{
    uint64_t rows = 0;
    for (int i = 0; i < CURRENCIES_N; i++) {
        const block_t *block = statistics->blocks[i];
        if (!block) {
            continue;
        }
        rows += block->rows;
        if (block->rows == 0 || block->rows != block->positive + block->negative + block->zero ||
            total(block->histogram, HISTOGRAM_N) != block->positive ||
            total(block->first_two_all, 90) != block->positive ||
            total(block->first_two, 90) != total(block->last_two, 100) ||
            total(block->weekdays, 7) != block->rows ||
            total(block->month_rows, MONTHS_N) != block->rows ||
            total(block->scores, SCORES_N) != block->rows) {
            return false;
        }
    }
    return rows == statistics->accepted &&
           total(statistics->codes, ROW_CODES_N) == statistics->rejected &&
           statistics->lines == statistics->accepted + statistics->rejected + statistics->blank;
}

err_t partial_decode(statistics_t *out, const uint8_t *bytes, size_t n)
{
    static const uint8_t nothing[1];
    unpack_t in = {n ? bytes : nothing, (n ? bytes : nothing) + n, false};
    if (unpack_array(&in) != 3 || !slice_is(unpack_text(&in), magic)) {
        return err_set(ERR_CORRUPT, "not a partial result of process_transaction_batch");
    }
    uint64_t version = unpack_uint(&in);
    if (!in.failed && version != PARTIAL_VERSION) {
        return err_set(ERR_UNSUPPORTED, "partial result of version %llu, this worker reads %d",
                       (unsigned long long)version, PARTIAL_VERSION);
    }
    uint32_t tops = unpack_map(&in);
    for (uint32_t i = 0; i < tops && !in.failed; i++) {
        decode_top(&in, out);
    }
    if (in.failed || in.at != in.end || !agrees(out)) {
        statistics_clear(out);
        return err_set(ERR_CORRUPT, "partial result of %zu bytes is cut or damaged", n);
    }
    return ERR_OK;
}
