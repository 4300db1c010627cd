#include "worker/monitor.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/buffer.h"

enum { FILE_MAX = 64 << 10, PATH_SIZE = 512, SECTOR = 512 };
#define HUGE_LIMIT (UINT64_C(1) << 60) /* version 1 says "no limit" as a number near 2^63 */

/* ---- pure
 * -------------------------------------------------------------------------------------------------------
 */

bool monitor_parse_stat(const char *text, monitor_cpu_t *out)
{
    uint64_t ticks[8] = {0};
    /* user nice system idle iowait irq softirq steal; guest time is inside user already. */
    int n = sscanf(text,
                   "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
                   " %" SCNu64 " %" SCNu64,
                   &ticks[0], &ticks[1], &ticks[2], &ticks[3], &ticks[4], &ticks[5], &ticks[6],
                   &ticks[7]);
    if (n < 4) {
        return false;
    }
    monitor_cpu_t sum = {0};
    for (int i = 0; i < n; i++) {
        sum.total += ticks[i];
    }
    sum.busy = sum.total - ticks[3] - ticks[4];
    *out = sum;
    return true;
}

uint32_t monitor_permille(monitor_cpu_t before, monitor_cpu_t now)
{
    /* iowait may run backwards; a share below 0 or above all is none. */
    if (now.total <= before.total || now.busy <= before.busy) {
        return 0;
    }
    uint64_t busy = now.busy - before.busy, total = now.total - before.total;
    return (uint32_t)(busy >= total ? 1000 : busy * 1000 / total);
}

/* The number behind a label at the beginning of a line. */
static bool labelled(const char *text, const char *label, uint64_t *out)
{
    size_t n = strlen(label);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!strncmp(line, label, n)) {
            return sscanf(line + n, "%" SCNu64, out) == 1;
        }
    }
    return false;
}

bool monitor_parse_meminfo(const char *text, uint64_t *total, uint64_t *available)
{
    uint64_t all, left;
    if (!labelled(text, "MemTotal:", &all) ||
        (!labelled(text, "MemAvailable:", &left) && !labelled(text, "MemFree:", &left))) {
        return false;
    }
    *total = all * 1024;
    *available = left * 1024;
    return true;
}

bool monitor_parse_loadavg(const char *text, uint64_t *load_centi)
{
    unsigned whole, hundredths;
    char second;
    if (sscanf(text, "%u.%1u%c", &whole, &hundredths, &second) != 3 || second < '0' ||
        second > '9') {
        return false;
    }
    *load_centi = (uint64_t)whole * 100 + hundredths * 10 + (unsigned)(second - '0');
    return true;
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

/* sda, vdb, xvda, hda, nvme0n1, mmcblk0: whole disks. sda1, nvme0n1p1, loop0, dm-0, md0, sr0: not.
 */
static bool is_whole_disk(const char *name)
{
    static const char *const others[] = {"loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (!strncmp(name, others[i], strlen(others[i]))) {
            return false;
        }
    }
    size_t n = strlen(name);
    if (!n || !is_digit(name[n - 1])) {
        return true;
    }
    if (strncmp(name, "nvme", 4) && strncmp(name, "mmcblk", 6)) {
        return false;
    }
    while (n && is_digit(name[n - 1])) {
        n--;
    }
    return n && name[n - 1] != 'p';
}

bool monitor_parse_diskstats(const char *text, uint64_t *read_n, uint64_t *written_n)
{
    uint64_t in = 0, out = 0;
    bool any = false;
    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        char name[64];
        uint64_t sectors_in, sectors_out;
        if (sscanf(line, "%*u %*u %63s %*u %*u %" SCNu64 " %*u %*u %*u %" SCNu64, name, &sectors_in,
                   &sectors_out) != 3) {
            continue;
        }
        any = true;
        if (is_whole_disk(name)) {
            in += sectors_in * SECTOR;
            out += sectors_out * SECTOR;
        }
    }
    if (any) {
        *read_n = in;
        *written_n = out;
    }
    return any;
}

bool monitor_parse_file_nr(const char *text, uint64_t *open_n)
{
    uint64_t allocated, unused;
    if (sscanf(text, "%" SCNu64 " %" SCNu64, &allocated, &unused) != 2 || unused > allocated) {
        return false;
    }
    *open_n = allocated - unused;
    return true;
}

static bool has_memory(const char *list, size_t n)
{
    for (const char *at = list; at < list + n;) {
        const char *comma = memchr(at, ',', (size_t)(list + n - at));
        size_t word = comma ? (size_t)(comma - at) : (size_t)(list + n - at);
        if (word == 6 && !memcmp(at, "memory", 6)) {
            return true;
        }
        at += word + 1;
    }
    return false;
}

bool monitor_parse_cgroup(const char *text, bool *version_2, char *path, int size)
{
    bool found = false;
    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        const char *controllers = strchr(line, ':');
        const char *at = controllers ? strchr(controllers + 1, ':') : NULL;
        const char *end = strchrnul(line, '\n');
        if (!at || at > end) {
            continue;
        }
        size_t n = (size_t)(at - controllers - 1);
        bool two = n == 0 && !strncmp(line, "0:", 2);
        bool one = has_memory(controllers + 1, n);
        if ((!one && !two) || end - at - 1 >= size || end - at < 2) {
            continue;
        }
        memcpy(path, at + 1, (size_t)(end - at - 1));
        path[end - at - 1] = 0;
        *version_2 = two;
        found = true;
        if (one) { /* where version 1 still has the memory controller, version 2 has none */
            break;
        }
    }
    return found;
}

bool monitor_parse_limit(const char *text, uint64_t *out)
{
    if (!strncmp(text, "max", 3)) {
        *out = UINT64_MAX;
        return true;
    }
    uint64_t value;
    if (!is_digit(text[0]) || sscanf(text, "%" SCNu64, &value) != 1) {
        return false;
    }
    *out = value >= HUGE_LIMIT ? UINT64_MAX : value;
    return true;
}

bool monitor_parse_inactive(const char *text, uint64_t *out)
{
    return labelled(text, "total_inactive_file ", out) || labelled(text, "inactive_file ", out);
}

/* ---- files
 * ------------------------------------------------------------------------------------------------------
 */

struct monitor {
    char *root;
    bool seen; /* there is a sample before */
    int64_t seen_ms;
    monitor_cpu_t cpu;
    uint64_t disk_read, disk_written;
    char text[FILE_MAX];
};

monitor_t *monitor_new(const char *root)
{
    monitor_t *self = mem_zero(sizeof *self);
    self->root = mem_text(root);
    return self;
}

void monitor_destroy(monitor_t **self)
{
    if (*self) {
        free((*self)->root);
        free(*self);
        *self = NULL;
    }
}

/* self->text is the file's beginning; "" if there is none. */
static const char *read_text(monitor_t *self, const char *path)
{
    char whole[PATH_SIZE * 3];
    size_t n = 0;
    snprintf(whole, sizeof whole, "%s%s", self->root, path);
    int fd = open(whole, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && n < sizeof self->text - 1) {
        ssize_t got = read(fd, self->text + n, sizeof self->text - 1 - n);
        if (got <= 0) {
            break;
        }
        n += (size_t)got;
    }
    if (fd >= 0) {
        close(fd);
    }
    self->text[n] = 0;
    return self->text;
}

/* The files of one cgroup directory. */
static void apply_cgroup(monitor_t *self, const char *folder, bool version_2, monitor_sample_t *out)
{
    char path[PATH_SIZE * 2];
    uint64_t limit, used, inactive = 0;
    snprintf(path, sizeof path, "%s/%s", folder,
             version_2 ? "memory.max" : "memory.limit_in_bytes");
    if (!monitor_parse_limit(read_text(self, path), &limit) || limit == UINT64_MAX) {
        return;
    }
    snprintf(path, sizeof path, "%s/%s", folder,
             version_2 ? "memory.current" : "memory.usage_in_bytes");
    if (!monitor_parse_limit(read_text(self, path), &used)) {
        return;
    }
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    monitor_parse_inactive(read_text(self, path), &inactive);
    used -= inactive < used ? inactive : used;
    uint64_t headroom = limit > used ? limit - used : 1; /* 0 would mean unknown */
    if (!out->memory_total || limit < out->memory_total) {
        out->memory_total = limit;
    }
    if (!out->memory_available || headroom < out->memory_available) {
        out->memory_available = headroom;
    }
}

/* A limit may stand at this process's group or at any above it; in a container the visible path may
 * not exist below the mount, which then is the group itself. */
static void apply_cgroups(monitor_t *self, monitor_sample_t *out)
{
    char path[PATH_SIZE];
    bool version_2;
    if (!monitor_parse_cgroup(read_text(self, "/proc/self/cgroup"), &version_2, path,
                              sizeof path)) {
        return;
    }
    for (;;) {
        char folder[PATH_SIZE + 32];
        snprintf(folder, sizeof folder, "/sys/fs/cgroup%s%s", version_2 ? "" : "/memory",
                 strcmp(path, "/") ? path : "");
        apply_cgroup(self, folder, version_2, out);
        char *slash = strrchr(path, '/');
        if (!slash || !strcmp(path, "/") || !path[0]) {
            return;
        }
        slash[slash == path] = 0;
    }
}

static uint64_t rate(uint64_t before, uint64_t now, int64_t elapsed_ms)
{
    return now > before && elapsed_ms > 0 ? (now - before) * 1000 / (uint64_t)elapsed_ms : 0;
}

void monitor_sample(monitor_t *self, int64_t now_ms, monitor_sample_t *out)
{
    monitor_sample_t sample = {0};
    monitor_cpu_t cpu;
    uint64_t disk_read, disk_written;
    if (monitor_parse_stat(read_text(self, "/proc/stat"), &cpu)) {
        sample.cpu_permille = self->seen ? monitor_permille(self->cpu, cpu) : 0;
        self->cpu = cpu;
    }
    if (monitor_parse_diskstats(read_text(self, "/proc/diskstats"), &disk_read, &disk_written)) {
        if (self->seen) {
            int64_t elapsed = now_ms - self->seen_ms;
            sample.disk_read_rate = rate(self->disk_read, disk_read, elapsed);
            sample.disk_write_rate = rate(self->disk_written, disk_written, elapsed);
        }
        self->disk_read = disk_read;
        self->disk_written = disk_written;
    }
    monitor_parse_meminfo(read_text(self, "/proc/meminfo"), &sample.memory_total,
                          &sample.memory_available);
    apply_cgroups(self, &sample);
    monitor_parse_loadavg(read_text(self, "/proc/loadavg"), &sample.load_centi);
    monitor_parse_file_nr(read_text(self, "/proc/sys/fs/file-nr"), &sample.files_open);
    self->seen = true;
    self->seen_ms = now_ms;
    *out = sample;
}
