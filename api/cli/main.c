/* The command `stint`: see command.c for the table of what it can do. */
#include "api/cli/cli.h"

int main(int argc, char **argv)
{
    return cli_main(argc, argv);
}
