/* The command stint-migrate: see command.c for the table of what it can do. */
#include <signal.h>

#include "schema/migrate/command.h"

int main(int argc, char **argv)
{
    /* A write beyond a file size limit then fails like any other, and is rolled back. */
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    return migrate_main(argc, argv);
}
