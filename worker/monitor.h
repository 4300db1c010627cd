/* monitor: what the host is doing, for heartbeats and the optimizer.
 *
 * Lives here: parsers of the kernel's texts (pure: tests feed them fixtures) and the sampler that
 * reads the files. Not here: what a figure means for batch sizes (common/optimizer). A file that is
 * absent or odd leaves its figures 0 = unknown. */
#ifndef STINT_WORKER_MONITOR_H
#define STINT_WORKER_MONITOR_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint32_t cpu_permille;     /* of all cores, since the last sample; 0 in the first */
    uint64_t memory_total;     /* bytes; the cgroup's limit if that is less */
    uint64_t memory_available; /* bytes; or the cgroup's headroom, whichever is less */
    uint64_t load_centi;       /* load average of one minute, times 100 */
    uint64_t disk_read_rate,
        disk_write_rate; /* bytes a second of all whole disks since the last sample */
    uint64_t files_open; /* of the whole host */
} monitor_sample_t;

typedef struct monitor monitor_t;

/* `root` stands before every path ("" for the real host; tests give a directory with their own
 * proc/ and sys/). */
monitor_t *monitor_new(const char *root);
void monitor_destroy(monitor_t **self);
/* Reads the files; rates are those since the last call. */
void monitor_sample(monitor_t *self, int64_t now_ms, monitor_sample_t *out);

/* The pure parts. Each takes the whole text of a file, NUL-terminated, and is false if it is not
 * understood; the out-parameters are untouched then. */

typedef struct {
    uint64_t busy, total; /* ticks of all cores since boot */
} monitor_cpu_t;
bool monitor_parse_stat(const char *text, monitor_cpu_t *out);
/* /proc/meminfo; bytes. Without MemAvailable (old kernels): MemFree. */
bool monitor_parse_meminfo(const char *text, uint64_t *total, uint64_t *available);
bool monitor_parse_loadavg(const char *text, uint64_t *load_centi);
/* /proc/diskstats: bytes read and written since boot by whole disks: no partitions, and no loop,
 * ram, zram, dm or md devices, whose bytes would count twice. */
bool monitor_parse_diskstats(const char *text, uint64_t *read, uint64_t *written);
/* /proc/sys/fs/file-nr */
bool monitor_parse_file_nr(const char *text, uint64_t *open);
/* The path of this process in /proc/self/cgroup: version 2 ("0::/path"), or the memory controller
 * of version 1. */
bool monitor_parse_cgroup(const char *text, bool *version_2, char *path, int size);
/* A limit file: a number, "max" (2) or a huge number (1) = UINT64_MAX. */
bool monitor_parse_limit(const char *text, uint64_t *out);
/* total_inactive_file (1) or inactive_file (2) of memory.stat: cache the kernel gives back, so it
 * is headroom. */
bool monitor_parse_inactive(const char *text, uint64_t *out);
/* Busy share of the ticks between two readings. */
uint32_t monitor_permille(monitor_cpu_t before, monitor_cpu_t now);

#endif
