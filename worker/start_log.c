/* The file: a first line "stint-starts 1 BOOT_ID UNKNOWN_UNTIL CRC", then a line "BOOT_MS TASK CRC"
 * a start. UNKNOWN_UNTIL is the time up to which starts are not known, -1 if all are. The CRC-32
 * covers the line before it. A last line without its newline is damage like any other: it may have
 * been a start. */
#include "worker/start_log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "common/buffer.h"
#include "common/clock.h"
#include "common/log.h"

enum {
    TASK_SIZE = 65,
    BOOT_ID_SIZE = 37,
    LINE_SIZE = 192,
    PATH_SIZE = 4200,
    COMPACT_BYTES = 64 << 10,
    KEEP_ALWAYS = 64,      /* newest starts of a task, however old */
    KEEP_MOST = 10000,     /* as many as any limit counts */
    KEEP_MS = 3600 * 1000, /* longer than any window with more than KEEP_ALWAYS starts */
    FILE_MAX = 64 << 20,
};

typedef struct {
    char task[TASK_SIZE];
    int64_t boot_ms;
} start_t;

struct start_log {
    char *dir;
    char boot_id[BOOT_ID_SIZE];
    int fd;             /* appends; -1 after a write that could not be taken back */
    int64_t size;       /* of the file */
    int64_t compact_at; /* size at which it is rewritten */
    int64_t unknown_until;
    bool damaged;    /* found so by this process */
    start_t *starts; /* all of the file, oldest first */
    size_t starts_n, capacity;
};

/* ---- lines
 * ------------------------------------------------------------------------------------------------------
 */

static uint32_t sum_of(const char *text, size_t n)
{
    return (uint32_t)crc32(0, (const Bytef *)text, (uInt)n);
}

static void add_line(buffer_t *out, const char *line)
{
    buffer_printf(out, "%s %08" PRIx32 "\n", line, sum_of(line, strlen(line)));
}

/* The line at *at without its checksum; false if it is damaged or not ended. */
static bool take_line(const char **at, const char *end, char line[LINE_SIZE])
{
    const char *newline = memchr(*at, '\n', (size_t)(end - *at));
    size_t n = newline ? (size_t)(newline - *at) : 0;
    if (n < 10 || n - 9 >= LINE_SIZE || (*at)[n - 9] != ' ') {
        return false;
    }
    char sum[9];
    snprintf(sum, sizeof sum, "%08" PRIx32, sum_of(*at, n - 9));
    if (memcmp(sum, *at + n - 8, 8)) {
        return false;
    }
    memcpy(line, *at, n - 9);
    line[n - 9] = 0;
    *at = newline + 1;
    return true;
}

static void remember(start_log_t *self, const char *task, int64_t boot_ms)
{
    if (self->starts_n == self->capacity) {
        self->capacity = self->capacity ? self->capacity * 2 : 64;
        self->starts = mem_grow(self->starts, self->capacity * sizeof *self->starts);
    }
    start_t *start = &self->starts[self->starts_n++];
    snprintf(start->task, sizeof start->task, "%s", task);
    start->boot_ms = boot_ms;
}

typedef enum { READ_GOOD, READ_OTHER_BOOT, READ_DAMAGED } read_t;

static read_t parse(start_log_t *self, const char *text, size_t n)
{
    const char *at = text, *end = text + n;
    char line[LINE_SIZE], boot_id[BOOT_ID_SIZE], task[TASK_SIZE];
    int64_t unknown_until, boot_ms;
    if (!take_line(&at, end, line) ||
        sscanf(line, "stint-starts 1 %36s %" SCNd64, boot_id, &unknown_until) != 2) {
        return READ_DAMAGED;
    }
    if (strcmp(boot_id, self->boot_id)) {
        return READ_OTHER_BOOT;
    }
    while (at < end) {
        if (!take_line(&at, end, line) || sscanf(line, "%" SCNd64 " %64s", &boot_ms, task) != 2) {
            return READ_DAMAGED;
        }
        remember(self, task, boot_ms);
    }
    self->unknown_until = unknown_until;
    return READ_GOOD;
}

/* ---- the file
 * ---------------------------------------------------------------------------------------------------
 */

static err_t io_error(const start_log_t *self, const char *what)
{
    return err_set(errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_IO,
                   "%s the start log in %s: %s", what, self->dir, strerror(errno));
}

static bool write_all(int fd, const uint8_t *data, size_t n)
{
    while (n) {
        ssize_t done = write(fd, data, n);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return false;
        }
        data += done;
        n -= (size_t)done;
    }
    return true;
}

/* Beside, synced, then renamed over: at every moment one whole file has the name. */
static err_t rewrite(start_log_t *self)
{
    char path[PATH_SIZE], aside[PATH_SIZE], line[LINE_SIZE];
    snprintf(path, sizeof path, "%s/starts", self->dir);
    snprintf(aside, sizeof aside, "%s/starts.new", self->dir);
    buffer_t text = {0};
    snprintf(line, sizeof line, "stint-starts 1 %s %" PRId64, self->boot_id, self->unknown_until);
    add_line(&text, line);
    for (size_t i = 0; i < self->starts_n; i++) {
        snprintf(line, sizeof line, "%" PRId64 " %s", self->starts[i].boot_ms,
                 self->starts[i].task);
        add_line(&text, line);
    }
    err_t err = ERR_OK;
    int dir = open(self->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (dir < 0 || fd < 0 || !write_all(fd, text.data, text.n) || fsync(fd) ||
        rename(aside, path) || fsync(dir)) {
        err = io_error(self, "cannot write");
        if (fd >= 0) {
            close(fd);
        }
    } else {
        if (self->fd >= 0) {
            close(self->fd);
        }
        self->fd = fd;
        self->size = (int64_t)text.n;
        self->compact_at = self->size * 2 > COMPACT_BYTES ? self->size * 2 : COMPACT_BYTES;
    }
    if (dir >= 0) {
        close(dir);
    }
    buffer_free(&text);
    return err;
}

static err_t read_file(start_log_t *self, buffer_t *text, bool *found)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/starts", self->dir);
    int fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC);
    *found = fd >= 0;
    if (fd < 0) {
        return errno == ENOENT ? ERR_OK : io_error(self, "cannot open");
    }
    for (;;) {
        buffer_reserve(text, 64 << 10);
        ssize_t n = read(fd, text->data + text->n, text->capacity - text->n);
        if (n < 0) {
            err_t err = io_error(self, "cannot read");
            close(fd);
            return err;
        }
        text->n += (size_t)n;
        if (n == 0 || text->n > FILE_MAX) {
            break;
        }
    }
    self->fd = fd;
    self->size = (int64_t)text->n;
    self->compact_at = COMPACT_BYTES;
    return ERR_OK;
}

static err_t read_boot_id(char out[BOOT_ID_SIZE])
{
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    bool got = file && fscanf(file, "%36s", out) == 1;
    if (file) {
        fclose(file);
    }
    return got ? ERR_OK : err_set(ERR_IO, "the kernel's boot id cannot be read");
}

static err_t load_file(start_log_t *self)
{
    buffer_t text = {0};
    bool found;
    err_t err = read_file(self, &text, &found);
    read_t outcome = found && !err ? parse(self, (const char *)text.data, text.n) : READ_GOOD;
    buffer_free(&text);
    if (err || (found && outcome == READ_GOOD)) {
        return err;
    }
    if (outcome == READ_OTHER_BOOT) {
        self->unknown_until = 0;
    } else if (outcome == READ_DAMAGED) {
        self->unknown_until = clock_boot_ms();
        self->starts_n = 0;
        self->damaged = true;
        log_warn("start_log.damaged", "dir=\"%s\" taken_as=full", self->dir);
    }
    return rewrite(self);
}

err_t start_log_open(start_log_t **out, const char *dir)
{
    start_log_t *self = mem_zero(sizeof *self);
    self->dir = mem_text(dir);
    self->fd = -1;
    self->unknown_until = -1;
    err_t err = read_boot_id(self->boot_id);
    if (!err) {
        err = load_file(self);
    }
    if (err) {
        start_log_destroy(&self);
        return err;
    }
    *out = self;
    return ERR_OK;
}

void start_log_destroy(start_log_t **self)
{
    start_log_t *log = *self;
    *self = NULL;
    if (log) {
        if (log->fd >= 0) {
            close(log->fd);
        }
        free(log->starts);
        free(log->dir);
        free(log);
    }
}

/* ---- verbs
 * ------------------------------------------------------------------------------------------------------
 */

err_t start_log_load(const start_log_t *self, const char *task, int64_t *out, int n, int *count)
{
    int found = 0;
    for (size_t i = self->starts_n; i-- > 0 && found < n;) {
        if (!strcmp(self->starts[i].task, task)) {
            out[n - 1 - found++] = self->starts[i].boot_ms;
        }
    }
    if (self->unknown_until >= 0) {
        while (found < n) {
            out[n - 1 - found++] = self->unknown_until;
        }
    }
    memmove(out, out + n - found, (size_t)found * sizeof *out);
    *count = found;
    return self->damaged ? err_set(ERR_CORRUPT, "the start log in %s was damaged", self->dir)
                         : ERR_OK;
}

typedef struct {
    char task[TASK_SIZE];
    size_t n;
} count_t;

/* Count one more of that task; how many there were before. */
static size_t count_one(buffer_t *counts, const char *task)
{
    count_t *all = (count_t *)(void *)counts->data;
    for (size_t i = 0; i < counts->n / sizeof *all; i++) {
        if (!strcmp(all[i].task, task)) {
            return all[i].n++;
        }
    }
    count_t first = {.n = 1};
    snprintf(first.task, sizeof first.task, "%s", task);
    buffer_add(counts, &first, sizeof first);
    return 0;
}

/* Drop what no window counts any more. */
static void forget_old(start_log_t *self, int64_t now)
{
    size_t kept = self->starts_n;
    buffer_t counts = {0};
    for (size_t i = self->starts_n; i-- > 0;) {
        start_t start = self->starts[i];
        size_t newer = count_one(&counts, start.task);
        bool old = now - start.boot_ms > KEEP_MS;
        if (newer < (old ? (size_t)KEEP_ALWAYS : (size_t)KEEP_MOST)) {
            self->starts[--kept] = start;
        }
    }
    buffer_free(&counts);
    memmove(self->starts, self->starts + kept, (self->starts_n - kept) * sizeof *self->starts);
    self->starts_n -= kept;
}

err_t start_log_append(start_log_t *self, const char *task, int64_t boot_ms)
{
    INVARIANT(strlen(task) < TASK_SIZE && task[0] && !strpbrk(task, " \n\t"));
    if (self->fd < 0) {
        return err_set(ERR_IO, "the start log in %s could not be repaired", self->dir);
    }
    char text[LINE_SIZE];
    buffer_t line = {0};
    snprintf(text, sizeof text, "%" PRId64 " %s", boot_ms, task);
    add_line(&line, text);
    err_t err = ERR_OK;
    if (!write_all(self->fd, line.data, line.n)) {
        err = io_error(self, "cannot append to");
        /* Half a line must not stay: the next one would stand behind it. */
        if (ftruncate(self->fd, self->size)) {
            close(self->fd);
            self->fd = -1;
        }
    } else {
        self->size += (int64_t)line.n;
        remember(self, task, boot_ms);
    }
    buffer_free(&line);
    if (!err && self->size > self->compact_at) {
        forget_old(self, boot_ms);
        if (rewrite(self) != ERR_OK) {
            /* The start is written down; only the file stays long. */
            log_warn("start_log.not_compacted", "error=\"%s\"", err_text());
            self->compact_at = self->size * 2;
        }
    }
    return err;
}
