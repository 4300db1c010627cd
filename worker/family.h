/* family: the processes below a process, as /proc tells them, and the end of orphans.
 *
 * A task may fork, and what it forks may leave its process group (setsid): killing the group does
 * not reach that. What helps is the tree: a child's orphans come to it, and those of a dead child
 * to the fork server, because both are subreapers. Needs /proc/PID/task/TID/children, which
 * Debian's kernels have; without it a family looks empty and only groups are killed. Called by
 * fork_server and pool. */
#ifndef STINT_WORKER_FAMILY_H
#define STINT_WORKER_FAMILY_H

#include <stdbool.h>
#include <sys/types.h>

/* Descendants of a process, zombies included; the counting stops beyond `most`. */
int family_count(pid_t pid, int most);

/* Kill the children of this process that are not among `kept`, and all below them, and reap what
 * comes back to it. They are stopped first: what forks without end would else outrun the killing.
 * False: some are still there after a second (they hang in the kernel); ask again. */
bool family_end_orphans(const pid_t *kept, int kept_n);

#endif
