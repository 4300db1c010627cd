/* token: text is cut as SQLite cuts it, whatever the bytes. */
#include "schema/migrate/token.h"
#include "common/random.h"
#include "tests/migrate/world.h"

/* "word(a) sign(,)" of a text. */
static char *kinds(const char *text, size_t n)
{
    static const char *const names[] = {"end",  "word",     "quoted", "string", "number",
                                        "blob", "variable", "sign",   "bad"};
    arena_t arena = {0};
    tokens_t tokens = tokens_read(&arena, text, n);
    char *out = strdup("");
    for (int i = 0; i < tokens.n; i++) {
        char *longer = NULL;
        ck_assert_int_gt(asprintf(&longer, "%s%s%s:%.*s", out, i ? " " : "",
                                  names[tokens.items[i].kind], tokens.items[i].n,
                                  text + tokens.items[i].at),
                         -1);
        free(out);
        out = longer;
    }
    arena_free(&arena);
    return out;
}

static void is_cut(const char *text, const char *expected)
{
    char *got = kinds(text, strlen(text));
    ck_assert_str_eq(got, expected);
    free(got);
}

START_TEST(test_every_kind_of_token)
{
    is_cut("a _b1 naïve_列 $x", "word:a word:_b1 word:naïve_列 variable:$x");
    is_cut("\"a\"\"b\" [c d] `e``f` 'it''s'", "quoted:\"a\"\"b\" quoted:[c d] quoted:`e``f` "
                                              "string:'it''s'");
    is_cut("1 1.5 .5 5. 1e9 1E-9 0x1F 1e", "number:1 number:1.5 number:.5 number:5. number:1e9 "
                                           "number:1E-9 number:0x1F number:1 word:e");
    is_cut("x'00ff' X'' xy", "blob:x'00ff' blob:X'' word:xy");
    is_cut("?1 :a @b ?", "variable:?1 variable::a variable:@b variable:?");
    is_cut("a||b<=c->>'$'!=d", "word:a sign:|| word:b sign:<= word:c sign:->> string:'$' sign:!= "
                               "word:d");
    is_cut("a.b(c,d);", "word:a sign:. word:b sign:( word:c sign:, word:d sign:) sign:;");
}
END_TEST

START_TEST(test_comments_and_white_space_are_left_out)
{
    is_cut("a -- b 'c\nd /* e; \"f */ g\t\f\r\n h --", "word:a word:d word:g word:h");
    is_cut("a /* never closed", "word:a");
    is_cut("a - - b", "word:a sign:- sign:- word:b");
    is_cut("\xef\xbb\xbf"
           "a",
           "word:a");
    is_cut("a,\xef\xbb\xbf"
           "b c\xef\xbb\xbf"
           "d",
           "word:a sign:, word:b word:c\xef\xbb\xbf"
           "d");
    is_cut("", "");
}
END_TEST

START_TEST(test_what_no_token_begins_with_is_bad)
{
    is_cut("a 'open", "word:a bad:'open");
    is_cut("\"open", "bad:\"open");
    is_cut("a # b", "word:a bad:# word:b");
    is_cut("a \\ b ! c", "word:a bad:\\ word:b bad:! word:c");
    is_cut("x'0", "bad:x'0");
    char *nul = kinds("a\0b", 3);
    ck_assert_ptr_nonnull(strstr(nul, "bad"));
    free(nul);
}
END_TEST

START_TEST(test_names_lose_their_quotes_and_get_them_again)
{
    static const char *const names[][2] = {{"abc", "abc"},
                                           {"\"a\"\"b\"", "a\"b"},
                                           {"[a]", "a"},
                                           {"`a``b`", "a`b"},
                                           {"'it''s'", "it's"},
                                           {"\"\"", ""},
                                           {"\"two words\"", "two words"}};
    arena_t arena = {0};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        tokens_t tokens = tokens_read(&arena, names[i][0], strlen(names[i][0]));
        ck_assert(token_is_name(&tokens, 0));
        char *name = token_name(&arena, &tokens, 0);
        ck_assert_str_eq(name, names[i][1]);
        char *quoted = name_quoted(&arena, name);
        tokens_t again = tokens_read(&arena, quoted, strlen(quoted));
        ck_assert_int_eq(again.n, 1);
        ck_assert_str_eq(token_name(&arena, &again, 0), name);
    }
    ck_assert_str_eq(text_quoted(&arena, "it's"), "'it''s'");
    ck_assert(name_equal("Ab", "aB") && !name_equal("a", "ab"));
    arena_free(&arena);
}
END_TEST

START_TEST(test_one_normal_form_for_what_means_the_same)
{
    arena_t arena = {0};
    const char *a = "CREATE table \"T\" (A int, -- c\n b TEXT DEFAULT 'X')";
    const char *b = "create TABLE t(a INT,[B] text default 'X')";
    const char *c = "create TABLE t(a INT,[B] text default 'x')";
    tokens_t ta = tokens_read(&arena, a, strlen(a)), tb = tokens_read(&arena, b, strlen(b)),
             tc = tokens_read(&arena, c, strlen(c));
    char *na = tokens_normal(&arena, &ta, 0, ta.n), *nb = tokens_normal(&arena, &tb, 0, tb.n);
    ck_assert_str_eq(na, nb);
    ck_assert_str_ne(nb, tokens_normal(&arena, &tc, 0, tc.n));
    static const char *const pairs[][2] = {{"\"a > b\"", "a > b"}, {"\"null\" > 0", "null > 0"}};
    for (int i = 0; i < 2; i++) { /* a name that is no bare word stays one */
        tokens_t quoted = tokens_read(&arena, pairs[i][0], strlen(pairs[i][0])),
                 bare = tokens_read(&arena, pairs[i][1], strlen(pairs[i][1]));
        ck_assert_str_ne(tokens_normal(&arena, &quoted, 0, quoted.n),
                         tokens_normal(&arena, &bare, 0, bare.n));
    }
    arena_free(&arena);
}
END_TEST

/* Tokens are in order, inside the text, and what is between them is white space or comment. */
static void is_sound(const char *text, size_t n)
{
    arena_t arena = {0};
    char *copy = malloc(n + 1); /* exactly as long as it says: the sanitizer watches */
    memcpy(copy, text, n);
    copy[n] = '\0';
    tokens_t tokens = tokens_read(&arena, copy, n);
    int at = 0;
    for (int i = 0; i < tokens.n; i++) {
        ck_assert_int_ge(token_start(&tokens, i), at);
        ck_assert_int_gt(tokens.items[i].n, 0);
        at = token_stop(&tokens, i);
        if (token_is_name(&tokens, i))
            (void)token_name(&arena, &tokens, i);
    }
    ck_assert_int_le(at, (int)n);
    (void)tokens_normal(&arena, &tokens, 0, tokens.n);
    free(copy);
    arena_free(&arena);
}

START_TEST(test_any_bytes_are_cut_without_harm)
{
    static const char pieces[] = "'\"`[]()-*/;,.x0e\n \xff\xc3\xa9"
                                 "aB_$#!|<>=?:@\\";
    uint64_t state = 7;
    for (int round = 0; round < 20000; round++) {
        char text[64];
        size_t n = random_below(&state, sizeof text);
        for (size_t i = 0; i < n; i++)
            text[i] = pieces[random_below(&state, sizeof pieces)]; /* the NUL too */
        is_sound(text, n);
    }
}
END_TEST

WORLD_MAIN("token", test_every_kind_of_token, test_comments_and_white_space_are_left_out,
           test_what_no_token_begins_with_is_bad, test_names_lose_their_quotes_and_get_them_again,
           test_one_normal_form_for_what_means_the_same, test_any_bytes_are_cut_without_harm)
