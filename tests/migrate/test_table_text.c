/* table_text: what it reads in a CREATE TABLE is what SQLite makes of it. */
#include "schema/migrate/files.h"
#include "schema/migrate/table_text.h"
#include "common/random.h"
#include "tests/migrate/world.h"

/* Statements of every form the grammar has. */
static const char *const corpus[] = {
    "CREATE TABLE t (a)",
    "CREATE TABLE t(a INTEGER PRIMARY KEY AUTOINCREMENT, b TEXT NOT NULL DEFAULT 'x,)(' UNIQUE)",
    "CREATE TABLE \"t\" (\n  id INTEGER PRIMARY KEY, -- the key, (really)\n  [a b] TEXT /* , x "
    "*/,\n"
    "  `c` INT\n)",
    "CREATE TABLE t (a INT PRIMARY KEY DESC ON CONFLICT REPLACE, b DECIMAL(10, 5) NULL)",
    "CREATE TABLE t (a UNSIGNED BIG INT, b VARYING CHARACTER (255), c, d DOUBLE PRECISION)",
    "CREATE TABLE t (a DEFAULT -1, b DEFAULT +7, c DEFAULT (1 + (2)), d DEFAULT x'00', e DEFAULT "
    "CURRENT_TIMESTAMP, f DEFAULT true, g DEFAULT NULL, h DEFAULT 1.5e3 NOT NULL)",
    "CREATE TABLE t (a CONSTRAINT nn NOT NULL CONSTRAINT uq UNIQUE CONSTRAINT ck CHECK (a > 0), b "
    "COLLATE NOCASE)",
    "CREATE TABLE t (a REFERENCES p, b REFERENCES p (x) ON DELETE SET NULL ON UPDATE CASCADE MATCH "
    "FULL NOT DEFERRABLE INITIALLY IMMEDIATE NOT NULL, c REFERENCES p(y) DEFERRABLE INITIALLY "
    "DEFERRED)",
    "CREATE TABLE t (a, b, g AS (a + b), h INT GENERATED ALWAYS AS (a * b) STORED NOT NULL, i TEXT "
    "AS (a) VIRTUAL)",
    "CREATE TABLE t (a INT, b TEXT, PRIMARY KEY (a, b DESC), UNIQUE (b COLLATE NOCASE) ON CONFLICT "
    "IGNORE, "
    "CHECK (a <> b), CONSTRAINT fk FOREIGN KEY (a, b) REFERENCES t (b, a) ON DELETE NO ACTION) "
    "WITHOUT ROWID, STRICT",
    "CREATE TABLE t (a INT, b INT, CONSTRAINT ck CHECK (b > 0) CONSTRAINT uq UNIQUE (a) CHECK (a "
    "<> "
    "''))",
    "CREATE TABLE t (key TEXT, action TEXT UNIQUE, desc TEXT, match INTEGER CHECK (match > 0), no "
    "TEXT, of TEXT, row TEXT, \"end\" TEXT, generated TEXT, always TEXT, replace TEXT, trigger "
    "TEXT)",
    "CREATE TABLE t (id INTEGER, a TEXT, PRIMARY KEY (id AUTOINCREMENT))",
    "CREATE TABLE t (a CONSTRAINT lonely, b CHECK (CASE WHEN b THEN 1 ELSE (2) END) CONSTRAINT x)",
    "CREATE TABLE 't' ('single' TEXT, \"say \"\"hi\"\"\" TEXT, naïve_列 TEXT)",
    "CREATE TABLE t (a TEXT DEFAULT word, b TEXT DEFAULT \"quoted\")",
    "CREATE TABLE t (a INT NOT NULL ON CONFLICT FAIL, b INT UNIQUE ON CONFLICT ROLLBACK) STRICT",
};
enum { CORPUS_N = sizeof corpus / sizeof *corpus };

/* SQLite, too, or it is no test of anything. */
static sqlite3 *made(const char *sql)
{
    sqlite3 *db = world_open("CREATE TABLE p (x PRIMARY KEY, y UNIQUE)");
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK)
        return db;
    sqlite3_close(db);
    return NULL;
}

static void agrees(sqlite3 *db, const char *name, const table_text_t *table)
{
    arena_t arena = {0};
    buffer_t names = {0}, keys = {0};
    for (int i = 0; i < table->columns_n; i++)
        buffer_printf(&names, "%s%s", i ? "|" : "", table->columns[i].name);
    buffer_add(&names, "", 1);
    char *quoted = text_quoted(&arena, name);
    ck_rows(db, arena_printf(&arena, "SELECT name FROM pragma_table_xinfo(%s)", quoted),
            (char *)names.data);
    int uniques = 0, references = 0, not_null = 0;
    for (int i = 0; i < table->columns_n; i++) {
        const column_t *column = &table->columns[i];
        /* Columns of the key of a table WITHOUT ROWID are so by themselves: left out on both sides.
         */
        bool in_key = false;
        for (int k = 0; table->without_rowid && k < table_primary_key(table)->columns_n; k++)
            in_key = in_key || name_equal(table_primary_key(table)->columns[k], column->name);
        not_null += !in_key && column_part(column, PART_NOT_NULL) != NULL;
        for (int k = 0; k < column->parts_n; k++) {
            uniques += column->parts[k].kind == PART_UNIQUE;
            references += column->parts[k].kind == PART_FOREIGN_KEY;
        }
    }
    for (int i = 0; i < table->constraints_n; i++) {
        uniques += table->constraints[i].kind == PART_UNIQUE;
        references += table->constraints[i].kind == PART_FOREIGN_KEY;
    }
    buffer_printf(&keys, "%d|%d|%d|%d|%d", uniques, references, not_null, table->without_rowid,
                  table->strict);
    buffer_add(&keys, "", 1);
    ck_rows(
        db,
        arena_printf(&arena,
                     "WITH n (n) AS (SELECT %s) SELECT count(*) FROM n, pragma_index_list(n) WHERE "
                     "origin = 'u' UNION ALL SELECT count(DISTINCT id) FROM n, "
                     "pragma_foreign_key_list(n) UNION ALL SELECT coalesce(sum(\"notnull\" AND NOT "
                     "(wr AND pk)), 0) FROM n, pragma_table_xinfo(n), pragma_table_list(n) UNION "
                     "ALL SELECT wr FROM n, pragma_table_list(n) UNION ALL SELECT strict FROM n, "
                     "pragma_table_list(n)",
                     quoted),
        (char *)keys.data);
    const char *alias = "";
    bool is_alias = table_rowid_alias(table, &alias);
    /* A table whose key is its rowid has no index for it. */
    ck_rows(
        db,
        arena_printf(&arena,
                     "SELECT (SELECT count(*) FROM pragma_table_info(%s) WHERE pk > 0) > 0 AND NOT "
                     "EXISTS (SELECT 1 FROM pragma_index_list(%s) WHERE origin = 'pk')",
                     quoted, quoted),
        is_alias ? "1" : "0");
    buffer_free(&names);
    buffer_free(&keys);
    arena_free(&arena);
}

START_TEST(test_columns_and_constraints_are_those_sqlite_sees)
{
    int seen = 0;
    for (int i = 0; i < CORPUS_N; i++) {
        arena_t arena = {0};
        table_text_t table;
        ck_ok(table_text_read(&arena, corpus[i], &table));
        ck_assert_str_eq(table.name, "t");
        sqlite3 *db = made(corpus[i]);
        if (db)
            agrees(db, "t", &table);
        seen += db != NULL;
        sqlite3_close(db);
        arena_free(&arena);
    }
    ck_assert_int_eq(seen, CORPUS_N);
}
END_TEST

START_TEST(test_parts_have_their_names_columns_and_places)
{
    arena_t arena = {0};
    table_text_t table;
    const char *sql = corpus[9];
    ck_ok(table_text_read(&arena, sql, &table));
    const part_t *key = &table.constraints[3];
    ck_assert_int_eq(key->kind, PART_FOREIGN_KEY);
    ck_assert_str_eq(key->name, "fk");
    ck_assert_str_eq(key->parent, "t");
    ck_assert_str_eq(key->columns[1], "b");
    ck_assert_str_eq(key->parent_columns[1], "a");
    ck_assert_str_eq(tokens_slice(&arena, &table.tokens, key->from, key->to),
                     "CONSTRAINT fk FOREIGN KEY (a, b) REFERENCES t (b, a) ON DELETE NO ACTION");
    ck_assert_str_eq(tokens_slice(&arena, &table.tokens, table.constraints[2].inner,
                                  table.constraints[2].inner_to),
                     "a <> b");
    ck_ok(table_text_read(&arena, corpus[7], &table));
    const part_t *reference = column_part(&table.columns[1], PART_FOREIGN_KEY);
    ck_assert_str_eq(tokens_slice(&arena, &table.tokens, reference->from, reference->to),
                     "REFERENCES p (x) ON DELETE SET NULL ON UPDATE CASCADE MATCH FULL NOT "
                     "DEFERRABLE INITIALLY IMMEDIATE");
    ck_assert_ptr_nonnull(column_part(&table.columns[1], PART_NOT_NULL));
    arena_free(&arena);
}
END_TEST

START_TEST(test_affinity_is_sqlites)
{
    static const char *const types[] = {"INT",  "FLOATING POINT", "VARCHAR(10)",  "CLOB",   "BLOB",
                                        "",     "JSON",           "DECIMAL(1,2)", "DOUBLE", "REAL",
                                        "DATE", "STRING",         "CHARINT"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char sql[200];
        snprintf(sql, sizeof sql, "CREATE TABLE t (a %s); INSERT INTO t VALUES ('1'), (1), (1.5)",
                 types[i]);
        sqlite3 *db = world_open(sql);
        static const char *const stored[] = {[AFFINITY_BLOB] = "text|integer|real",
                                             [AFFINITY_TEXT] = "text|text|text",
                                             [AFFINITY_NUMERIC] = "integer|integer|real",
                                             [AFFINITY_INTEGER] = "integer|integer|real",
                                             [AFFINITY_REAL] = "real|real|real"};
        ck_rows(db, "SELECT typeof(a) FROM t", stored[type_affinity(types[i])]);
        sqlite3_close(db);
    }
}
END_TEST

START_TEST(test_what_is_no_plain_table_is_refused)
{
    static const char *const bad[] = {"",
                                      "CREATE",
                                      "CREATE TABLE",
                                      "CREATE TABLE t",
                                      "CREATE TABLE t (",
                                      "CREATE TABLE t ()",
                                      "CREATE TABLE t (a",
                                      "CREATE TABLE t (a) NONSENSE",
                                      "CREATE TABLE t AS SELECT 1",
                                      "CREATE VIRTUAL TABLE t USING fts5(a)",
                                      "CREATE VIEW v AS SELECT 1",
                                      "CREATE TABLE t (a CHECK)",
                                      "CREATE TABLE t (a, FOREIGN KEY (a))",
                                      "CREATE TABLE t (a, FOREIGN KEY (a) REFERENCES)",
                                      "CREATE TABLE t (a, UNIQUE ())",
                                      "CREATE TABLE t (a DEFAULT)",
                                      "CREATE TABLE t (a GENERATED ALWAYS AS 1)"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        arena_t arena = {0};
        table_text_t table;
        ck_assert_msg(table_text_read(&arena, bad[i], &table) == ERR_INVALID, "%s", bad[i]);
        arena_free(&arena);
    }
}
END_TEST

/* Every CREATE TABLE that lies about: our own schema and, where they are, the conformance cases. */
START_TEST(test_every_table_within_reach_is_read_as_sqlite_reads_it)
{
    FILE *list = popen("ls schema/versions/*.sql ../shared/migrations/cases/*/before.sql "
                       "../../schema/versions/*.sql 2>/dev/null",
                       "r");
    char path[512];
    int seen = 0;
    while (fgets(path, sizeof path, list)) {
        path[strcspn(path, "\n")] = '\0';
        arena_t arena = {0};
        char *sql = NULL;
        size_t n = 0;
        ck_ok(file_read(&arena, path, &sql, &n));
        char *down = strstr(sql, "-- migrate:down");
        if (down)
            *down = '\0';
        sqlite3 *db = world_open("");
        (void)sqlite3_exec(db, sql, NULL, NULL, NULL); /* 0002 is no SQL of SQLite's */
        sqlite3_stmt *each = NULL;
        ck_assert_int_eq(sqlite3_prepare_v2(db,
                                            "SELECT name, sql FROM sqlite_schema WHERE type = "
                                            "'table' AND sql NOT LIKE 'CREATE VIRTUAL%'",
                                            -1, &each, NULL),
                         SQLITE_OK);
        while (sqlite3_step(each) == SQLITE_ROW) {
            table_text_t table;
            char *text = arena_printf(&arena, "%s", sqlite3_column_text(each, 1));
            ck_ok(table_text_read(&arena, text, &table));
            agrees(db, (const char *)sqlite3_column_text(each, 0), &table);
            seen++;
        }
        sqlite3_finalize(each);
        sqlite3_close(db);
        arena_free(&arena);
    }
    pclose(list);
    ck_assert_int_ge(seen, 10);
}
END_TEST

/* Cut at each byte, and with bytes changed: a sentence or a table, never harm. What SQLite takes is
 * understood, and in the same way. */
START_TEST(test_mutated_statements_are_read_as_sqlite_reads_them)
{
    uint64_t state = 11;
    int taken = 0, tried = 0;
    for (int i = 0; i < CORPUS_N; i++) {
        size_t n = strlen(corpus[i]);
        for (size_t cut = 0; cut <= n; cut++) {
            arena_t arena = {0};
            table_text_t table;
            char *part = arena_text(&arena, corpus[i], cut);
            err_t err = table_text_read(&arena, part, &table);
            ck_assert(err == ERR_OK || err == ERR_INVALID);
            arena_free(&arena);
        }
        for (int round = 0; round < 1000; round++, tried++) {
            arena_t arena = {0};
            table_text_t table;
            char *text = arena_text(&arena, corpus[i], n);
            for (uint64_t k = random_below(&state, 3) + 1; k > 0; k--) {
                size_t at = random_below(&state, n);
                text[at] = " (),'\"[]ab-;"[random_below(&state, 12)];
            }
            sqlite3 *db = NULL;
            err_t err = table_text_read(&arena, text, &table);
            if (!strchr(text, ';') && !strstr(text, " AS SELECT"))
                db = made(text);
            char *name =
                db ? world_text(db, "SELECT count(*) FROM sqlite_schema WHERE name = 't'") : NULL;
            if (name && *name == '1') {
                taken++;
                ck_assert_msg(err == ERR_OK, "%s: %s", text, err_text());
                agrees(db, "t", &table);
            }
            free(name);
            sqlite3_close(db);
            arena_free(&arena);
        }
    }
    ck_assert_int_gt(taken, tried / 20); /* or it proves little */
}
END_TEST

WORLD_MAIN("table_text", test_columns_and_constraints_are_those_sqlite_sees,
           test_parts_have_their_names_columns_and_places, test_affinity_is_sqlites,
           test_what_is_no_plain_table_is_refused,
           test_mutated_statements_are_read_as_sqlite_reads_them,
           test_every_table_within_reach_is_read_as_sqlite_reads_it)
