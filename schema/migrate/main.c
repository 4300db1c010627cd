#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include "schema/migrate/migrate.h"
#include "common/buffer.h"
static void trace(void *c, const char *sql) { (void)c; if (getenv("TRACE")) fprintf(stderr, "%s;\n", sql); }
int main(int argc, char **argv)
{
    (void)argc;
    signal(SIGXFSZ, SIG_IGN);
    sqlite3 *db; sqlite3_open_v2(argv[3], &db, SQLITE_OPEN_READWRITE, NULL);
    FILE *f = fopen(argv[4], "r"); static char text[1<<20]; size_t n = fread(text,1,sizeof text,f);
    migrate_options_t o = {.lock_timeout_ms = 1000, .trace = trace};
    err_t err = migrate_script(db, text, n, argv[4], 1, &o);
    if (err) fprintf(stderr, "stint-migrate: %s\n", err_text());
    sqlite3_close(db);
    return err_exit(err);
}
