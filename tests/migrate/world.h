/* world: what the tests of the migration engine share: a database in memory, a script that must go
 * through or be refused, and short questions. */
#ifndef STINT_TESTS_MIGRATE_WORLD_H
#define STINT_TESTS_MIGRATE_WORLD_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/migrate/migrate.h"

#define ck_ok(call)  world_ok((call), __LINE__)
#define ck_err(e, c) ck_assert_msg((c) == (e), "expected %s, got \"%s\"", err_code(e), err_text())

static inline void world_ok(err_t err, int line)
{
    ck_assert_msg(err == ERR_OK, "line %d: %s: %s", line, err ? err_code(err) : "", err_text());
}

static inline void world_sql(sqlite3 *db, const char *sql)
{
    ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, "%s: %s", sql,
                  sqlite3_errmsg(db));
}

static inline sqlite3 *world_open(const char *before)
{
    sqlite3 *db = NULL;
    ck_assert_int_eq(sqlite3_open(":memory:", &db), SQLITE_OK);
    world_sql(db, before);
    return db;
}

/* The first column of all rows, with '|' between them; to be freed. */
static inline char *world_text(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    char *out = strdup("");
    ck_assert_msg(sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK, "%s: %s", sql,
                  sqlite3_errmsg(db));
    while (sqlite3_step(statement) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(statement, 0);
        char *longer = NULL;
        ck_assert_int_gt(asprintf(&longer, "%s%s%s", out, *out ? "|" : "", text ? text : "NULL"),
                         -1);
        free(out);
        out = longer;
    }
    sqlite3_finalize(statement);
    return out;
}

#define ck_rows(db, sql, expected)                                                                 \
    do {                                                                                           \
        char *got_ = world_text((db), (sql));                                                      \
        ck_assert_str_eq(got_, (expected));                                                        \
        free(got_);                                                                                \
    } while (0)

static inline err_t world_run(sqlite3 *db, const char *script)
{
    migrate_options_t options = {.lock_timeout_ms = 100};
    return migrate_script(db, script, strlen(script), "change.sql", 1, &options);
}

static inline err_t world_rebuild(sqlite3 *db, const char *script)
{
    migrate_options_t options = {.lock_timeout_ms = 100, .rebuild = true};
    return migrate_script(db, script, strlen(script), "change.sql", 1, &options);
}

static inline void world_says(const char *part, int line)
{
    ck_assert_msg(strstr(err_text(), part), "line %d: \"%s\" does not say \"%s\"", line, err_text(),
                  part);
}
#define says(part) world_says((part), __LINE__)

/* Schema, rows and rowids of the whole database, to see that nothing changed; to be freed. */
static inline char *world_dump(sqlite3 *db)
{
    char *schema = world_text(db, "SELECT rowid || type || name || tbl_name || coalesce(sql, '') "
                                  "FROM sqlite_schema ORDER BY rowid");
    char *tables = world_text(
        db, "SELECT group_concat(format('SELECT ''%w'' || count(*) || coalesce(group_concat(v), "
            "'''') FROM (SELECT %s AS v FROM \"%w\")', name, (SELECT "
            "group_concat(format('quote(\"%w\")', c.name), ' || ') FROM pragma_table_info(s.name) "
            "c), name), ' UNION ALL ') FROM sqlite_schema s WHERE type = 'table'");
    char *rows = world_text(db, strcmp(tables, "NULL") == 0 ? "SELECT 1" : tables);
    char *out = NULL;
    ck_assert_int_gt(asprintf(&out, "%s\n%s", schema, rows), -1);
    free(schema);
    free(tables);
    free(rows);
    return out;
}

/* The script is refused with this sentence, and nothing changed. */
#define ck_refused(db, script, sentence)                                                           \
    do {                                                                                           \
        char *before_ = world_dump(db);                                                            \
        ck_err(ERR_INVALID, world_run((db), (script)));                                            \
        says(sentence);                                                                            \
        char *after_ = world_dump(db);                                                             \
        ck_assert_str_eq(before_, after_);                                                         \
        free(before_);                                                                             \
        free(after_);                                                                              \
    } while (0)

static inline int world_suite(const char *name, const TTest *const *tests, size_t n)
{
    Suite *suite = suite_create(name);
    TCase *rules = tcase_create("rules");
    tcase_set_timeout(rules, 120);
    for (size_t i = 0; i < n; i++)
        tcase_add_test(rules, tests[i]);
    suite_add_tcase(suite, rules);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#define WORLD_MAIN(name, ...)                                                                      \
    int main(void)                                                                                 \
    {                                                                                              \
        const TTest *const tests[] = {__VA_ARGS__};                                                \
        return world_suite(name, tests, sizeof tests / sizeof *tests);                             \
    }

#endif
