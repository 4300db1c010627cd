/* change, edit, compare, rename, alter: what a statement makes of a text, and what it needs. */
#include "schema/migrate/change.h"
#include "tests/migrate/world.h"

static arena_t arena;

static void forget(void)
{
    arena_free(&arena);
}

static err_t make(const char *sql, const char *statement, change_t *out)
{
    static alter_t alter;
    static renames_t renames;
    static table_text_t stored;
    /* What the engine holds while it works. */
    tokens_t *tokens = arena_alloc(&arena, sizeof *tokens);
    *tokens = tokens_read(&arena, statement, strlen(statement));
    err_t err = alter_read(&arena, tokens, &alter);
    if (!err)
        err = table_text_read(&arena, sql, &stored);
    if (!err)
        err = renames_plan(&arena, &stored, &alter, &renames);
    return err ? err : change_make(&arena, sql, &alter, &renames, out);
}

/* `place` is "in place", "rebuild" or "nothing". */
static void becomes(const char *sql, const char *statement, const char *expected, const char *place)
{
    change_t change;
    ck_ok(make(sql, statement, &change));
    ck_assert_str_eq(change.text, expected);
    ck_assert_msg(strcmp(change.rebuild               ? "rebuild"
                         : change_is_nothing(&change) ? "nothing"
                                                      : "in place",
                         place) == 0,
                  "%s: %s", statement, change.rebuild ? change.rebuild : "no rebuild");
    forget();
}

static void is_refused(const char *sql, const char *statement, const char *sentence, int line)
{
    change_t change;
    err_t err = make(sql, statement, &change);
    ck_assert_msg(err == ERR_INVALID, "line %d: %s", line, statement);
    world_says(sentence, line);
    forget();
}
#define refused(sql, statement, sentence) is_refused(sql, statement, sentence, __LINE__)

static const char lines[] = "CREATE TABLE t (\n"
                            "  id INTEGER PRIMARY KEY, -- the key\n"
                            "  a TEXT, /* shown */\n"
                            "  -- about b\n"
                            "  b INTEGER CHECK (b > 0), -- more\n"
                            "  c TEXT -- the last\n"
                            ") STRICT";

START_TEST(test_comments_and_layout_stay_where_nothing_is_touched)
{
    becomes(lines, "ALTER TABLE t ALTER a SET NOT NULL",
            "CREATE TABLE t (\n  id INTEGER PRIMARY KEY, -- the key\n  a TEXT NOT NULL, /* shown "
            "*/\n  -- about b\n  b INTEGER CHECK (b > 0), -- more\n  c TEXT -- the last\n) STRICT",
            "in place");
    becomes(
        lines, "ALTER TABLE t DROP COLUMN a",
        "CREATE TABLE t (\n  id INTEGER PRIMARY KEY, -- the key\n  -- about b\n  b INTEGER CHECK "
        "(b > 0), -- more\n  c TEXT -- the last\n) STRICT",
        "rebuild");
    becomes(lines, "ALTER TABLE t DROP COLUMN c",
            "CREATE TABLE t (\n  id INTEGER PRIMARY KEY, -- the key\n  a TEXT, /* shown */\n  -- "
            "about b\n  b INTEGER CHECK (b > 0) -- more\n  \n) STRICT",
            "rebuild");
    becomes(
        lines, "ALTER TABLE t ADD d TEXT",
        "CREATE TABLE t (\n  id INTEGER PRIMARY KEY, -- the key\n  a TEXT, /* shown */\n  -- "
        "about b\n  b INTEGER CHECK (b > 0), -- more\n  c TEXT, -- the last\n  d TEXT\n) STRICT",
        "in place");
    becomes(lines, "ALTER TABLE t ADD CHECK (a <> c)",
            "CREATE TABLE t (\n  id INTEGER PRIMARY KEY, -- the key\n  a TEXT, /* shown */\n  -- "
            "about b\n  b INTEGER CHECK (b > 0), -- more\n  c TEXT, -- the last\n  CHECK (a <> "
            "c)\n) STRICT",
            "in place");
    becomes("CREATE TABLE t (a, -- x\nb)", "ALTER TABLE t DROP b", "CREATE TABLE t (a -- x\n)",
            "rebuild");
    becomes("CREATE TABLE t (a, b)", "ALTER TABLE t ADD c INT FIRST",
            "CREATE TABLE t (c INT, a, b)", "rebuild");
    becomes("CREATE TABLE t (a, b)", "ALTER TABLE t ADD c INT AFTER a",
            "CREATE TABLE t (a, c INT, b)", "rebuild");
    becomes("CREATE TABLE t (a, b)", "ALTER TABLE t ADD c INT AFTER \"B\"",
            "CREATE TABLE t (a, b, c INT)", "in place");
    becomes("CREATE TABLE t (a, b, CHECK (a))", "ALTER TABLE t ADD c INT BEFORE b, ADD d",
            "CREATE TABLE t (a, c INT, b, d, CHECK (a))", "rebuild");
    becomes("CREATE TABLE t (a INT, b INT, CHECK (a) CHECK (b) UNIQUE (a))",
            "ALTER TABLE t DROP CHECK (a)", "CREATE TABLE t (a INT, b INT, CHECK (b) UNIQUE (a))",
            "in place");
    becomes("CREATE TABLE t (a INT, b INT, CHECK (a) CHECK (b) UNIQUE (a))",
            "ALTER TABLE t DROP UNIQUE (a), DROP CHECK ( B )",
            "CREATE TABLE t (a INT, b INT, CHECK (a))", "rebuild");
}
END_TEST

START_TEST(test_pieces_do_not_grow_together)
{
    becomes("CREATE TABLE t (b TEXT DEFAULT'x'NOT NULL)", "ALTER TABLE t ALTER b DROP DEFAULT",
            "CREATE TABLE t (b TEXT NOT NULL)", "in place");
    becomes("CREATE TABLE t (b INT CHECK(b>0)NOT NULL)", "ALTER TABLE t DROP CHECK (b > 0)",
            "CREATE TABLE t (b INT NOT NULL)", "in place");
    becomes("CREATE TABLE t (b VARCHAR(10)NOT NULL)", "ALTER TABLE t ALTER b TYPE TEXT",
            "CREATE TABLE t (b TEXT NOT NULL)", "in place");
    becomes("CREATE TABLE t ([b]NOT NULL)", "ALTER TABLE t ALTER b TYPE BLOB",
            "CREATE TABLE t ([b] BLOB NOT NULL)", "in place");
    becomes("CREATE TABLE t (b VARCHAR(10)DEFAULT'x')", "ALTER TABLE t ALTER b SET NOT NULL",
            "CREATE TABLE t (b VARCHAR(10) NOT NULL DEFAULT'x')", "in place");
    becomes("CREATE TABLE t (\"b\"CHECK(b<>'z'))", "ALTER TABLE t ALTER b SET DEFAULT 5",
            "CREATE TABLE t (\"b\" DEFAULT 5 CHECK(b<>'z'))", "in place");
}
END_TEST

START_TEST(test_what_leaves_the_rows_as_they_are_is_done_in_place)
{
    static const char sql[] =
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a VARCHAR(10), b INT DEFAULT "
        "1 NOT NULL, p REFERENCES q (x), CONSTRAINT ck CHECK (b > 0))";
    static const char *const in_place[] = {
        "ALTER TABLE t ADD CONSTRAINT fk FOREIGN KEY (b) REFERENCES q (x) ON DELETE CASCADE",
        "ALTER TABLE t DROP FOREIGN KEY (p)",
        "ALTER TABLE t ADD CHECK (a <> '')",
        "ALTER TABLE t DROP CONSTRAINT ck",
        "ALTER TABLE t RENAME CONSTRAINT ck TO positive",
        "ALTER TABLE t ALTER a SET NOT NULL, ALTER b DROP NOT NULL",
        "ALTER TABLE t ALTER b SET DEFAULT 2, ALTER a SET DEFAULT ('x' || 'y')",
        "ALTER TABLE t ALTER b DROP DEFAULT",
        "ALTER TABLE t ALTER a TYPE TEXT",
        "ALTER TABLE t ADD c TEXT NOT NULL DEFAULT 'x' CHECK (c <> ''), ADD d INT DEFAULT -1",
        "ALTER TABLE t ADD g INT AS (b * 2)",
        "ALTER TABLE t DROP CONSTRAINT ck, ADD CONSTRAINT ck CHECK (b > 1)"};
    static const char *const rebuilt[] = {"ALTER TABLE t REBUILD",
                                          "ALTER TABLE t ALTER a TYPE INT",
                                          "ALTER TABLE t ALTER a TYPE TEXT USING trim(a)",
                                          "ALTER TABLE t ALTER a TYPE TEXT COLLATE NOCASE",
                                          "ALTER TABLE t ADD UNIQUE (a)",
                                          "ALTER TABLE t ADD c INT UNIQUE",
                                          "ALTER TABLE t ADD c DEFAULT CURRENT_TIMESTAMP",
                                          "ALTER TABLE t ADD c DEFAULT (1 + 1)",
                                          "ALTER TABLE t ADD g INT AS (b * 2) STORED",
                                          "ALTER TABLE t DROP PRIMARY KEY",
                                          "ALTER TABLE t ALTER id TYPE INT", /* the rowid no more */
                                          "ALTER TABLE t DROP COLUMN p"};
    change_t change;
    for (size_t i = 0; i < sizeof in_place / sizeof *in_place; i++) {
        ck_ok(make(sql, in_place[i], &change));
        ck_assert_msg(!change.rebuild && !change_is_nothing(&change), "%s", in_place[i]);
        forget();
    }
    for (size_t i = 0; i < sizeof rebuilt / sizeof *rebuilt; i++) {
        ck_ok(make(sql, rebuilt[i], &change));
        ck_assert_msg(change.rebuild != NULL, "%s", rebuilt[i]);
        forget();
    }
    ck_ok(make(sql,
               "ALTER TABLE t ALTER b SET NOT NULL, DROP CONSTRAINT IF EXISTS x, ALTER a DROP "
               "DEFAULT, ADD COLUMN IF NOT EXISTS a INT",
               &change));
    ck_assert(change_is_nothing(&change));
    forget();
}
END_TEST

static int needs(const change_t *change, need_kind_t kind)
{
    int n = 0;
    for (int i = 0; i < change->needs_n; i++)
        n += change->needs[i].kind == kind;
    return n;
}

START_TEST(test_rows_are_asked_what_the_difference_needs_and_nothing_else)
{
    static const char sql[] = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b INT DEFAULT 1, "
                              "CHECK (a <> ''), UNIQUE (a))";
    change_t change;
    ck_ok(make(sql,
               "ALTER TABLE t ALTER a SET NOT NULL, ADD CHECK (b > 0), ADD UNIQUE (b), ADD "
               "FOREIGN KEY (b) REFERENCES q (x), ALTER b SET DEFAULT 2, ADD c INT NOT NULL",
               &change));
    ck_assert_int_eq(change.needs_n, 6);
    for (need_kind_t kind = NEED_EMPTY; kind <= NEED_DEFAULT; kind++)
        ck_assert_int_eq(needs(&change, kind), 1);
    forget();
    /* Dropped and made again: nothing new. */
    ck_ok(make(sql,
               "ALTER TABLE t DROP CHECK (a <> ''), DROP UNIQUE (a), ADD UNIQUE (a), ADD "
               "CHECK (a <> '')",
               &change));
    ck_assert_int_eq(change.needs_n, 0);
    forget();
    /* New values: what was true of the old ones may not be of these. */
    ck_ok(make(sql, "ALTER TABLE t ALTER a TYPE INT", &change));
    ck_assert_int_eq(needs(&change, NEED_LOSSLESS), 1);
    ck_assert_int_eq(needs(&change, NEED_CHECK), 1);
    forget();
    ck_ok(make(sql, "ALTER TABLE t ALTER a TYPE INT USING 1", &change));
    ck_assert_int_eq(needs(&change, NEED_LOSSLESS), 0);
    forget();
}
END_TEST

START_TEST(test_a_column_takes_its_own_constraints_along_and_no_others)
{
    becomes(
        "CREATE TABLE t (a INT CHECK (a > 0) UNIQUE, b INT, CHECK (a <> 7), UNIQUE (a), FOREIGN "
        "KEY (a) REFERENCES q (x))",
        "ALTER TABLE t DROP a", "CREATE TABLE t (b INT)", "rebuild");
    refused("CREATE TABLE t (a INT, b INT, CONSTRAINT ck CHECK (a < b))", "ALTER TABLE t DROP a",
            "t.a cannot be dropped: ck CHECK (a < b) still needs it; add DROP CONSTRAINT ck first");
    refused("CREATE TABLE t (a INT, b INT, UNIQUE (a, b))", "ALTER TABLE t DROP a",
            "UNIQUE (a, b) still needs it; add DROP UNIQUE (a, b) first");
    refused("CREATE TABLE t (a INT, b INT CHECK (\"A\" < b))", "ALTER TABLE t DROP a", "CHECK");
    refused("CREATE TABLE t (a INT, b INT AS (a))", "ALTER TABLE t DROP a",
            "the generated column b is made from it");
    /* As PostgreSQL orders them: constraints go first. */
    becomes("CREATE TABLE t (a INT, b INT, CONSTRAINT ck CHECK (a < b))",
            "ALTER TABLE t DROP a, DROP CONSTRAINT ck", "CREATE TABLE t (b INT)", "rebuild");
    refused("CREATE TABLE t (a)", "ALTER TABLE t DROP a", "the only column");
    becomes("CREATE TABLE t (a INT, b INT, c INT, g AS (a), UNIQUE (a, b))",
            "ALTER TABLE t DROP a, DROP g, DROP b", "CREATE TABLE t (c INT)", "rebuild");
    becomes(
        "CREATE TABLE t (\"desc\" INT, \"text\" INT, nocase INT, a TEXT CHECK (CAST(a AS text) <> "
        "'' AND a COLLATE nocase > 'b' AND a IS NOT NULL), \"not\" INT)",
        "ALTER TABLE t DROP \"text\", DROP nocase, DROP \"not\", DROP \"desc\"",
        "CREATE TABLE t (a TEXT CHECK (CAST(a AS text) <> '' AND a COLLATE nocase > 'b' AND a IS "
        "NOT "
        "NULL))",
        "rebuild");
}
END_TEST

START_TEST(test_dropping_by_what_it_is)
{
    static const char sql[] =
        "CREATE TABLE t (a INT REFERENCES p (x) REFERENCES q (x), b INT, UNIQUE "
        "(a, b), CHECK (a IN (1, 2)), CONSTRAINT twin CHECK (b), CONSTRAINT "
        "twin CHECK (a))";
    becomes(sql,
            "ALTER TABLE t DROP UNIQUE (b, A), DROP FOREIGN KEY (a) REFERENCES q, DROP CHECK (A "
            "in(1,2))",
            "CREATE TABLE t (a INT REFERENCES p (x), b INT, CONSTRAINT twin CHECK (b), CONSTRAINT "
            "twin CHECK (a))",
            "rebuild");
    refused(sql, "ALTER TABLE t DROP FOREIGN KEY (a)", "2 constraints that this names");
    refused(sql, "ALTER TABLE t DROP CONSTRAINT twin", "2 constraints that this names");
    refused(sql, "ALTER TABLE t DROP CONSTRAINT nobody", "t has no constraint \"nobody\"; it has");
    refused(sql, "ALTER TABLE t DROP UNIQUE (b)", "t has no UNIQUE (b); it has UNIQUE (a, b)");
    refused(sql, "ALTER TABLE t DROP CHECK (a > 1)", "t has no CHECK (a > 1)");
    refused(sql, "ALTER TABLE t DROP PRIMARY KEY", "t has no PRIMARY KEY");
    becomes(
        "CREATE TABLE t (a INT CONSTRAINT nn NOT NULL CONSTRAINT fk REFERENCES q (x) DEFERRABLE "
        "INITIALLY DEFERRED DEFAULT 1)",
        "ALTER TABLE t DROP CONSTRAINT fk",
        "CREATE TABLE t (a INT CONSTRAINT nn NOT NULL DEFAULT 1)", "in place");
}
END_TEST

START_TEST(test_names_mean_what_they_meant_where_they_stand)
{
    /* Renames are the last steps: until then everything has the names of before. */
    becomes(
        "CREATE TABLE t (a INT, b INT)",
        "ALTER TABLE t ADD CHECK (b > a AND b(1) IS NULL), ALTER b SET DEFAULT 3, ADD FOREIGN KEY "
        "(b) REFERENCES q (b), RENAME b TO qty, ADD UNIQUE (qty), ALTER b SET NOT NULL, ADD CHECK "
        "(t.qty > 0 AND CAST(a AS qty) <> 1)",
        "CREATE TABLE t (a INT, b INT NOT NULL DEFAULT 3, CHECK (b > a AND b(1) IS NULL), FOREIGN "
        "KEY (b) REFERENCES q (b), UNIQUE (\"b\"), CHECK (t.\"b\" > 0 AND CAST(a AS qty) <> 1))",
        "rebuild");
    /* Words that are no columns stay words. */
    becomes(
        "CREATE TABLE t (id INT, date TEXT, \"current_date\" TEXT)",
        "ALTER TABLE t RENAME date TO created, ADD due DATE, ALTER id SET DEFAULT current_date, "
        "RENAME \"current_date\" TO today, ADD CONSTRAINT created CHECK (created COLLATE created > "
        "1)",
        "CREATE TABLE t (id INT DEFAULT current_date, date TEXT, \"current_date\" TEXT, due DATE, "
        "CONSTRAINT created CHECK (\"date\" COLLATE created > 1))",
        "in place");
    /* A name that becomes free in the same statement. */
    becomes(
        "CREATE TABLE t (a INT)",
        "ALTER TABLE t RENAME a TO a_old, ADD a TEXT CHECK (a <> ''), ADD UNIQUE (a, a_old)",
        "CREATE TABLE t (a INT, \"_stint_added_1\" TEXT CHECK (\"_stint_added_1\" <> ''), UNIQUE "
        "(\"_stint_added_1\", \"a\"))",
        "rebuild");
}
END_TEST

/* "a>b b>c": the steps SQLite is asked for. */
static void steps_are(const char *sql, const char *statement, const char *expected)
{
    alter_t alter;
    renames_t renames;
    table_text_t stored;
    buffer_t steps = {0};
    tokens_t tokens = tokens_read(&arena, statement, strlen(statement));
    ck_ok(alter_read(&arena, &tokens, &alter));
    ck_ok(table_text_read(&arena, sql, &stored));
    ck_ok(renames_plan(&arena, &stored, &alter, &renames));
    for (int i = 0; i < renames.steps_n; i++)
        buffer_printf(&steps, "%s%s>%s", i ? " " : "", renames.steps[i].from, renames.steps[i].to);
    buffer_add(&steps, "", 1);
    ck_assert_str_eq((char *)steps.data, expected);
    buffer_free(&steps);
    forget();
}

START_TEST(test_columns_may_swap_their_names_or_take_over_a_dropped_one)
{
    steps_are("CREATE TABLE t (a, b, c)", "ALTER TABLE t RENAME a TO x", "a>x");
    steps_are("CREATE TABLE t (a, b, c)", "ALTER TABLE t RENAME a TO A", "a>A");
    steps_are("CREATE TABLE t (a, b, c)", "ALTER TABLE t RENAME a TO a", "");
    steps_are("CREATE TABLE t (a, b, c)", "ALTER TABLE t RENAME a TO b, RENAME b TO a",
              "a>_stint_renamed_0 b>_stint_renamed_1 _stint_renamed_0>b _stint_renamed_1>a");
    steps_are("CREATE TABLE t (a, b, c)", "ALTER TABLE t RENAME a TO b, RENAME b TO d",
              "a>_stint_renamed_0 b>d _stint_renamed_0>b");
    steps_are("CREATE TABLE t (a, b, c)", "ALTER TABLE t DROP b, RENAME a TO b", "a>b");
    steps_are("CREATE TABLE t (a, b)", "ALTER TABLE t RENAME a TO x, RENAME x TO y", "a>y");
    steps_are("CREATE TABLE t (a, b)",
              "ALTER TABLE t RENAME a TO tmp, RENAME b TO a, RENAME tmp TO b",
              "a>_stint_renamed_0 b>_stint_renamed_1 _stint_renamed_0>b _stint_renamed_1>a");
    steps_are("CREATE TABLE t (a, b, c)", "ALTER TABLE t RENAME b TO c, DROP c", "b>c");
    steps_are("CREATE TABLE t (c, b, a)", "ALTER TABLE t RENAME b TO c, DROP c", "b>c");
    becomes("CREATE TABLE t (c, b, a)", "ALTER TABLE t RENAME b TO c, DROP c",
            "CREATE TABLE t (b, a)", "rebuild");
    becomes("CREATE TABLE t (u INT UNIQUE, v INT UNIQUE)",
            "ALTER TABLE t RENAME u TO v, RENAME v TO u, ADD FOREIGN KEY (u) REFERENCES t (v)",
            "CREATE TABLE t (u INT UNIQUE, v INT UNIQUE, FOREIGN KEY (\"v\") REFERENCES t (\"u\"))",
            "in place");
    becomes("CREATE TABLE t (a INT)",
            "ALTER TABLE t RENAME a TO z, ADD b INT CHECK (o.z > 0 AND t.z > b)",
            "CREATE TABLE t (a INT, b INT CHECK (o.z > 0 AND t.\"a\" > b))", "in place");
    refused("CREATE TABLE t (a, b)", "ALTER TABLE t RENAME a TO B", "has a column \"B\" already");
    refused("CREATE TABLE t (a, b)", "ALTER TABLE t RENAME z TO y",
            "t has no column \"z\"; it has a, b");
    steps_are("CREATE TABLE t (a)", "ALTER TABLE t ADD b INT, RENAME b TO c", "b>c");
    steps_are("CREATE TABLE t (a)", "ALTER TABLE t RENAME a TO b, ADD a INT",
              "_stint_added_1>_stint_renamed_1 a>b _stint_renamed_1>a");
}
END_TEST

START_TEST(test_what_makes_no_sense_is_told)
{
    static const char sql[] =
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, g AS (a), CONSTRAINT ck "
        "CHECK (a))";
    refused(sql, "ALTER TABLE t", "ADD, DROP, ALTER, RENAME or REBUILD is expected");
    refused(sql, "ALTER TABLE t FROB a", "near FROB: expected ADD, DROP");
    refused(sql, "ALTER TABLE t DROP a CASCADE", "does not take CASCADE");
    refused(sql, "ALTER TABLE t ALTER a", "TYPE, SET or DROP");
    refused(sql, "ALTER TABLE t ALTER a SET", "DEFAULT, NOT NULL or DATA TYPE");
    refused(sql, "ALTER TABLE t ALTER a TYPE", "a type");
    refused(sql, "ALTER TABLE t ALTER a TYPE TEXT USING", "an expression");
    refused(sql, "ALTER TABLE t ALTER a SET DEFAULT", "a default value");
    refused(sql, "ALTER TABLE t ADD", "a column's name");
    refused(sql, "ALTER TABLE t ADD b INT CHECK", "parentheses");
    refused(sql, "ALTER TABLE t ADD b INT AFTER zz", "no column \"zz\"");
    refused(sql, "ALTER TABLE t ADD CONSTRAINT x", "UNIQUE, CHECK, PRIMARY KEY or FOREIGN KEY");
    refused(sql, "ALTER TABLE t ADD A INT", "has a column \"A\" already");
    refused(sql, "ALTER TABLE t ADD CONSTRAINT CK UNIQUE (a)", "a constraint \"CK\" already");
    refused(sql, "ALTER TABLE t ADD PRIMARY KEY (a)", "DROP PRIMARY KEY before it");
    refused(sql, "ALTER TABLE t ADD UNIQUE (zz)", "no column \"zz\"");
    refused(sql, "ALTER TABLE t ALTER id DROP NOT NULL", "in the primary key");
    refused(sql, "ALTER TABLE t ALTER g SET DEFAULT 1", "generated column: it has no default");
    refused(sql, "ALTER TABLE t ALTER g TYPE INT USING 1", "USING makes no sense");
    refused(sql, "ALTER TABLE t RENAME a", "TO");
    refused(sql, "ALTER TABLE t REBUILD now", "a comma or the end");
    refused(sql, "ALTER TABLE t RENAME TO u, RENAME TO w", "one new name, not 2");
    refused(sql, "ALTER TABLE t RENAME a TO z, ALTER id TYPE INT USING (SELECT z FROM o)",
            "USING with a SELECT stands behind a RENAME");
    refused(sql, "ALTER TABLE temp.t REBUILD", "only tables of main");
    refused(sql, "ALTER TABLE t ALTER a TYPE INT USING a), (a", "parentheses do not match");
    refused(sql, "ALTER TABLE t ADD CHECK (a, RENAME a TO b", "parentheses do not match");
}
END_TEST

WORLD_MAIN("change", test_pieces_do_not_grow_together,
           test_comments_and_layout_stay_where_nothing_is_touched,
           test_what_leaves_the_rows_as_they_are_is_done_in_place,
           test_rows_are_asked_what_the_difference_needs_and_nothing_else,
           test_a_column_takes_its_own_constraints_along_and_no_others, test_dropping_by_what_it_is,
           test_names_mean_what_they_meant_where_they_stand,
           test_columns_may_swap_their_names_or_take_over_a_dropped_one,
           test_what_makes_no_sense_is_told)
