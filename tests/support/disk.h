/* disk: a disk under SQLite that does what a test asks of it: it fills up, breaks, ends the process
 * at the N-th operation, or loses its power.
 *
 * Lives here: a layer between SQLite and the files. Not here: what is proved with it. Called by the
 * tests of the store and of the migrations; one disk a process, one thread.
 *
 * Power: while disk_power is on, what was written and not synced is known for each file, and
 * disk_cut leaves on the files what a disk may have kept of it: each block (512 or 4,096 bytes)
 * stands as any of its writes since the last sync left it, the length likewise; a name made or
 * removed since the last sync of its directory may be there or not. A sync that fails has lost its
 * pages: they can still be read, but no later sync brings them to the disk. */
#ifndef STINT_TESTS_SUPPORT_DISK_H
#define STINT_TESTS_SUPPORT_DISK_H

#include <stdbool.h>
#include <stdint.h>

enum {
    DISK_READ = 1,
    DISK_WRITE = 2,
    DISK_SYNC = 4,
    DISK_TRUNCATE = 8,
    DISK_OPEN = 16,
    DISK_DELETE = 32,
    DISK_SIZE = 64,
    DISK_MAP = 128,
    DISK_LOCK = 256,
    DISK_ACCESS = 512,
    DISK_ALL = 1023,
};

typedef enum {
    DISK_FINE,
    DISK_KILLED, /* the process ends with status 9 */
    DISK_FULL,   /* from then on no write finds room */
    DISK_BROKEN, /* that operation fails, later ones do not */
    DISK_DEAD,   /* from then on everything fails */
    DISK_OUT     /* the power is cut, and the process ends with status 9 */
} disk_fault_t;

/* Makes the layer "faulty", once; `all`: every database is opened through it by default. */
void disk_make(bool all);
/* The fault comes at the at-th operation of those kinds, counted from now. */
void disk_fault(disk_fault_t fault, unsigned kinds, int at);
/* Operations of those kinds since disk_fault. */
int disk_seen(void);
/* The fault has come. */
bool disk_hit(void);
/* The name of the operation it hit ("write store.db-wal"); "" before. */
const char *disk_what(void);

/* Watch every file from now on (what they hold is taken for synced); syncs reach no real disk. */
void disk_power(uint64_t seed);
/* A sync says ok and does nothing. */
void disk_lie(bool on);
/* Cut the power: the files are what survives. What is open is of no use afterwards. */
void disk_cut(void);

#endif
