/* inflate: gzip and zstd cut anywhere, truncated, damaged, and cheap to refuse. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "api/inflate.h"
#include "common/buffer.h"

static encoding_t encoding; /* each test runs for both */

static void add_frame(buffer_t *out, const void *data, size_t n)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();
    buffer_reserve(out, ZSTD_compressBound(n));
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1); /* so that damage is found */
    size_t made = ZSTD_compress2(context, out->data + out->n, out->capacity - out->n, data, n);
    ck_assert(!ZSTD_isError(made));
    out->n += made;
    ZSTD_freeCCtx(context);
}

static void add_member(buffer_t *out, const void *data, size_t n)
{
    if (encoding == ENCODING_ZSTD) {
        add_frame(out, data, n);
        return;
    }
    z_stream stream = {0};
    ck_assert_int_eq(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    buffer_reserve(out, deflateBound(&stream, n) + 64);
    stream.next_in = (Bytef *)(uintptr_t)data;
    stream.avail_in = (uInt)n;
    stream.next_out = out->data + out->n;
    stream.avail_out = (uInt)(out->capacity - out->n);
    ck_assert_int_eq(deflate(&stream, Z_FINISH), Z_STREAM_END);
    out->n = out->capacity - stream.avail_out;
    deflateEnd(&stream);
}

static err_t feed(inflater_t *inflater, const uint8_t *data, size_t n, buffer_t *out)
{
    for (;;) {
        const uint8_t *piece = NULL;
        size_t piece_n = 0;
        err_t err = inflater_step(inflater, &data, &n, &piece, &piece_n);
        if (err || piece_n == 0) {
            ck_assert(err || n == 0);
            return err;
        }
        buffer_add(out, piece, piece_n);
    }
}

/* Two pieces, cut at `cut`. */
static err_t inflate_cut(const buffer_t *in, size_t n, size_t cut, buffer_t *out)
{
    inflater_t *inflater = inflater_new(encoding);
    err_t err = feed(inflater, in->data, cut, out);
    if (!err) {
        err = feed(inflater, in->data + cut, n - cut, out);
    }
    if (!err) {
        err = inflater_finish(inflater);
    }
    inflater_destroy(&inflater);
    ck_assert_ptr_null(inflater);
    return err;
}

static buffer_t two_members(void)
{
    buffer_t in = {0};
    add_member(&in, "hello, ", 7);
    add_member(&in, "", 0);
    add_member(&in, "two members", 11);
    return in;
}

START_TEST(test_members_one_after_another_cut_at_each_byte)
{
    encoding = (encoding_t)_i;
    buffer_t in = two_members();
    for (size_t cut = 0; cut <= in.n; cut++) {
        buffer_t out = {0};
        ck_assert_int_eq(inflate_cut(&in, in.n, cut, &out), ERR_OK);
        ck_assert_uint_eq(out.n, 18);
        ck_assert_int_eq(memcmp(out.data, "hello, two members", 18), 0);
        buffer_free(&out);
    }
    buffer_free(&in);
}
END_TEST

START_TEST(test_truncated_anywhere_is_malformed_but_between_members)
{
    encoding = (encoding_t)_i;
    buffer_t in = two_members(), one = {0}, empty = {0};
    add_member(&one, "hello, ", 7);
    add_member(&empty, "", 0);
    for (size_t n = 0; n < in.n; n++) {
        buffer_t out = {0};
        err_t wanted = n == one.n || n == one.n + empty.n ? ERR_OK : ERR_MALFORMED;
        ck_assert_int_eq(inflate_cut(&in, n, n / 2, &out), wanted);
        buffer_free(&out);
    }
    buffer_free(&in);
    buffer_free(&one);
    buffer_free(&empty);
}
END_TEST

START_TEST(test_bytes_behind_the_last_member_are_refused)
{
    encoding = (encoding_t)_i;
    static const char *const tails[] = {"x", "\n", "garbage", "\x1f"};
    for (size_t i = 0; i < 5; i++) {
        buffer_t in = two_members(), out = {0};
        buffer_add(&in, i < 4 ? tails[i] : "\0", i < 4 ? strlen(tails[i]) : 1);
        ck_assert_int_eq(inflate_cut(&in, in.n, in.n / 2, &out), ERR_MALFORMED);
        buffer_free(&in);
        buffer_free(&out);
    }
}
END_TEST

START_TEST(test_what_is_not_packed_is_malformed)
{
    encoding = (encoding_t)_i;
    buffer_t in = {0}, out = {0};
    buffer_add_text(&in, "txn_id,ts\n1,2\n");
    ck_assert_int_eq(inflate_cut(&in, in.n, 1, &out), ERR_MALFORMED);
    buffer_free(&in);
    buffer_free(&out);
}
END_TEST

START_TEST(test_each_flipped_byte_is_found_or_harmless)
{
    encoding = (encoding_t)_i;
    for (size_t i = 0;; i++) {
        buffer_t in = two_members(), out = {0};
        if (i == in.n) {
            buffer_free(&in);
            break;
        }
        in.data[i] ^= 0x41;
        err_t err = inflate_cut(&in, in.n, 3, &out);
        /* Time and system of a header say nothing about the data. */
        ck_assert(err == ERR_MALFORMED ||
                  (out.n == 18 && memcmp(out.data, "hello, two members", 18) == 0));
        buffer_free(&in);
        buffer_free(&out);
    }
}
END_TEST

START_TEST(test_a_bomb_comes_in_pieces_that_can_be_stopped)
{
    encoding = (encoding_t)_i;
    size_t n = 32 << 20;
    char *zeros = calloc(1, n);
    buffer_t in = {0};
    add_member(&in, zeros, n);
    inflater_t *inflater = inflater_new(encoding);
    const uint8_t *data = in.data, *piece = NULL;
    size_t rest = in.n, piece_n = 0;
    ck_assert_int_eq(inflater_step(inflater, &data, &rest, &piece, &piece_n), ERR_OK);
    ck_assert_uint_eq(piece_n, 65536);
    ck_assert_uint_gt(rest, in.n / 2);
    inflater_destroy(&inflater);
    buffer_free(&in);
    free(zeros);
}
END_TEST

START_TEST(test_a_large_window_is_refused_with_the_reason)
{
    encoding = ENCODING_ZSTD;
    size_t n = 20 << 20, made;
    char *zeros = calloc(1, n);
    buffer_t in = {0}, out = {0};
    ZSTD_CCtx *context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_enableLongDistanceMatching, 1);
    ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, 24);
    buffer_reserve(&in, ZSTD_compressBound(n));
    made = ZSTD_compress2(context, in.data, in.capacity, zeros, n);
    ck_assert(!ZSTD_isError(made));
    ck_assert_int_eq(inflate_cut(&in, made, 9, &out), ERR_MALFORMED);
    ck_assert_ptr_nonnull(strstr(err_text(), "window is over 8 MiB"));
    ZSTD_freeCCtx(context);
    buffer_free(&in);
    buffer_free(&out);
    free(zeros);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("inflate");
    TCase *test = tcase_create("inflate");
    tcase_set_timeout(test, 60);
    tcase_add_loop_test(test, test_members_one_after_another_cut_at_each_byte, ENCODING_GZIP,
                        ENCODING_ZSTD + 1);
    tcase_add_loop_test(test, test_truncated_anywhere_is_malformed_but_between_members,
                        ENCODING_GZIP, ENCODING_ZSTD + 1);
    tcase_add_loop_test(test, test_bytes_behind_the_last_member_are_refused, ENCODING_GZIP,
                        ENCODING_ZSTD + 1);
    tcase_add_loop_test(test, test_what_is_not_packed_is_malformed, ENCODING_GZIP,
                        ENCODING_ZSTD + 1);
    tcase_add_loop_test(test, test_each_flipped_byte_is_found_or_harmless, ENCODING_GZIP,
                        ENCODING_ZSTD + 1);
    tcase_add_loop_test(test, test_a_bomb_comes_in_pieces_that_can_be_stopped, ENCODING_GZIP,
                        ENCODING_ZSTD + 1);
    tcase_add_test(test, test_a_large_window_is_refused_with_the_reason);
    suite_add_tcase(suite, test);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
