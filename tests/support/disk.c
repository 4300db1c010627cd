#include "tests/support/disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/log.h"

enum { KEPT_MAX = 32, PATH_N = 512 };

/* A write (data), or a new length (no data), since the last sync. */
typedef struct {
    sqlite3_int64 at;
    size_t n;
    uint8_t *data;
} op_t;

typedef struct {
    char path[PATH_N];
    bool there;        /* the name, now */
    bool name_synced;  /* as the directory on the disk has it */
    bool syncs_folder; /* its first sync is one of the directory too */
    uint8_t *old;      /* a file of this name whose removal is not synced; NULL: none */
    size_t old_n;
    uint8_t *bytes; /* as synced */
    size_t n;
    op_t *ops;
    size_t ops_n, ops_capacity;
} kept_t;

static struct {
    sqlite3_vfs vfs, *real;
    sqlite3_io_methods methods;
    disk_fault_t fault;
    unsigned kinds;
    int at, seen;
    char what[96];
    bool power, lie;
    uint64_t random;
    kept_t kept[KEPT_MAX];
    int kept_n;
} disk;

typedef struct {
    sqlite3_file base;
    sqlite3_file *real;
    char name[PATH_N];
    kept_t *kept; /* NULL: not watched */
} file_t;

#define FILE_OF(file) ((file_t *)(file))
#define REAL(file)    (FILE_OF(file)->real)

/* -- faults ------------------------------------------------------------------------------------ */

static const struct {
    unsigned kind;
    const char *name;
    int code;
} kinds[] = {
    {DISK_READ, "read", SQLITE_IOERR_READ},  {DISK_WRITE, "write", SQLITE_IOERR_WRITE},
    {DISK_SYNC, "sync", SQLITE_IOERR_FSYNC}, {DISK_TRUNCATE, "truncate", SQLITE_IOERR_TRUNCATE},
    {DISK_OPEN, "open", SQLITE_CANTOPEN},    {DISK_DELETE, "delete", SQLITE_IOERR_DELETE},
    {DISK_SIZE, "size", SQLITE_IOERR_FSTAT}, {DISK_MAP, "map", SQLITE_IOERR_SHMMAP},
    {DISK_LOCK, "lock", SQLITE_IOERR_LOCK},  {DISK_ACCESS, "access", SQLITE_IOERR_ACCESS}};

static bool comes(void)
{
    bool stays = disk.fault == DISK_FULL || disk.fault == DISK_DEAD;
    return disk.seen == disk.at || (stays && disk.seen > disk.at);
}

static void note_what(const char *name, const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    if (!disk.what[0])
        snprintf(disk.what, sizeof disk.what, "%s %.60s", name,
                 slash  ? slash + 1
                 : path ? path
                        : "a temporary file");
}

static int hit(unsigned kind, const char *path)
{
    if (!(disk.kinds & kind))
        return SQLITE_OK;
    disk.seen++;
    if (disk.fault == DISK_FINE || !comes())
        return SQLITE_OK;
    size_t i = 0;
    while (kinds[i].kind != kind)
        i++;
    note_what(kinds[i].name, path);
    if (disk.fault == DISK_KILLED)
        _exit(9);
    if (disk.fault == DISK_OUT) {
        disk_cut();
        _exit(9);
    }
    if (disk.fault == DISK_FULL)
        return kind == DISK_WRITE ? SQLITE_FULL : SQLITE_OK;
    return kinds[i].code;
}

void disk_fault(disk_fault_t fault, unsigned wanted, int at)
{
    disk.fault = fault;
    disk.kinds = wanted;
    disk.at = at;
    disk.seen = 0;
    disk.what[0] = '\0';
}

int disk_seen(void)
{
    return disk.seen;
}

bool disk_hit(void)
{
    return disk.what[0] != '\0';
}

const char *disk_what(void)
{
    return disk.what;
}

/* -- what the disk has ------------------------------------------------------------------------- */

static uint64_t mixed(uint64_t a, uint64_t b)
{
    uint64_t z = a * UINT64_C(0x9e3779b97f4a7c15) + b * UINT64_C(0xbf58476d1ce4e5b9) + 1;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t draw(uint64_t below)
{
    disk.random = mixed(disk.random, below);
    return disk.random % below;
}

static kept_t *find(const char *path)
{
    for (int i = 0; i < disk.kept_n; i++) {
        if (strcmp(disk.kept[i].path, path) == 0)
            return &disk.kept[i];
    }
    return NULL;
}

static kept_t *find_or_make(const char *path)
{
    kept_t *kept = find(path);
    if (kept)
        return kept;
    INVARIANT(disk.kept_n < KEPT_MAX);
    kept = &disk.kept[disk.kept_n++];
    *kept = (kept_t){0};
    snprintf(kept->path, sizeof kept->path, "%s", path);
    return kept;
}

static void resize(uint8_t **bytes, size_t *n, size_t to)
{
    *bytes = mem_grow(*bytes, to);
    if (to > *n)
        memset(*bytes + *n, 0, to - *n);
    *n = to;
}

static void read_whole(const char *path, uint8_t **bytes, size_t *n)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    *n = 0;
    if (fd < 0 || fstat(fd, &status) < 0) {
        if (fd >= 0)
            close(fd);
        return;
    }
    resize(bytes, n, (size_t)status.st_size);
    ssize_t got = pread(fd, *bytes, *n, 0);
    INVARIANT(got == (ssize_t)*n);
    close(fd);
}

static void forget_ops(kept_t *kept)
{
    for (size_t i = 0; i < kept->ops_n; i++)
        free(kept->ops[i].data);
    kept->ops_n = 0;
}

static void note(kept_t *kept, sqlite3_int64 at, const void *data, size_t n)
{
    if (!disk.power || !kept)
        return;
    if (kept->ops_n == kept->ops_capacity) {
        kept->ops_capacity = kept->ops_capacity ? kept->ops_capacity * 2 : 64;
        kept->ops = mem_grow(kept->ops, kept->ops_capacity * sizeof *kept->ops);
    }
    op_t *op = &kept->ops[kept->ops_n++];
    *op = (op_t){.at = at, .n = n, .data = data ? mem_alloc(n) : NULL};
    if (data)
        memcpy(op->data, data, n);
}

/* How many of the operations since the last sync have reached a block. */
typedef struct {
    enum { ALL, NONE, SAME, EACH, ALL_BUT_FEW } way;
    uint64_t seed;
    size_t same, block;
} survival_t;

static size_t reached(const survival_t *how, size_t ops_n, uint64_t block)
{
    uint64_t dice = mixed(how->seed, block);
    switch (how->way) {
    case ALL:
        return ops_n;
    case NONE:
        return 0;
    case SAME:
        return how->same;
    case EACH:
        return dice % (ops_n + 1);
    case ALL_BUT_FEW:
    default:
        return dice % 8 == 0 ? (dice >> 8) % (ops_n + 1) : ops_n;
    }
}

static void put(uint8_t *bytes, size_t n, const op_t *op, size_t i, size_t ops_n,
                const survival_t *how)
{
    size_t from = (size_t)op->at, to = op->data ? from + op->n : n;
    for (size_t at = from; at < to && at < n;) {
        size_t block = at / how->block, end = (block + 1) * how->block;
        end = end < to ? end : to;
        end = end < n ? end : n;
        if (i < reached(how, ops_n, block) && op->data)
            memcpy(bytes + at, op->data + (at - from), end - at);
        else if (i < reached(how, ops_n, block))
            memset(bytes + at, 0, end - at); /* a shorter file, made longer again */
        at = end;
    }
}

static size_t length_after(size_t n, const op_t *ops, size_t ops_n)
{
    for (size_t i = 0; i < ops_n; i++) {
        size_t end = (size_t)ops[i].at + ops[i].n;
        n = !ops[i].data ? (size_t)ops[i].at : end > n ? end : n;
    }
    return n;
}

/* Brings what survives of the operations into `bytes`. */
static void settle(kept_t *kept, const survival_t *how)
{
    size_t longest = kept->n, length = kept->n;
    for (size_t i = 1; i <= kept->ops_n; i++) {
        size_t n = length_after(kept->n, kept->ops, i);
        longest = n > longest ? n : longest;
    }
    length = length_after(kept->n, kept->ops, reached(how, kept->ops_n, UINT64_MAX));
    resize(&kept->bytes, &kept->n, longest);
    for (size_t i = 0; i < kept->ops_n; i++)
        put(kept->bytes, kept->n, &kept->ops[i], i, kept->ops_n, how);
    kept->n = length;
    forget_ops(kept);
}

static void sync_folder(void)
{
    for (int i = 0; i < disk.kept_n; i++) {
        kept_t *kept = &disk.kept[i];
        kept->name_synced = kept->there;
        free(kept->old);
        kept->old = NULL;
    }
}

static survival_t any_survival(size_t ops_n)
{
    survival_t how = {.seed = draw(UINT64_MAX), .block = draw(2) ? 512 : 4096};
    how.way = (int)draw(5);
    how.same = draw(ops_n + 1);
    return how;
}

static void settle_sync(kept_t *kept, bool failed)
{
    if (!disk.power || !kept || disk.lie)
        return;
    survival_t how = {.way = ALL, .block = 4096};
    if (failed) {
        how = any_survival(kept->ops_n);
        if (how.way == ALL)
            how.way = NONE;
    }
    settle(kept, &how);
    if (kept->syncs_folder && !failed) {
        kept->syncs_folder = false;
        sync_folder();
    }
}

void disk_power(uint64_t seed)
{
    disk.power = true;
    disk.random = mixed(seed, 7);
}

void disk_lie(bool on)
{
    disk.lie = on;
}

static void write_whole(const char *path, const uint8_t *bytes, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    INVARIANT(fd >= 0);
    ssize_t written = n ? write(fd, bytes, n) : 0;
    INVARIANT(written == (ssize_t)n);
    close(fd);
}

/* The lock is no file of SQLite's and is never synced: its text may be gone. */
static void forget_lock(const char *database)
{
    char path[PATH_N + 8];
    snprintf(path, sizeof path, "%s", database);
    char *slash = strrchr(path, '/');
    if (slash && draw(2)) {
        strcpy(slash, "/lock");
        (void)!truncate(path, 0);
    }
}

void disk_cut(void)
{
    disk.power = false;
    for (int i = 0; i < disk.kept_n; i++) {
        kept_t *kept = &disk.kept[i];
        survival_t how = any_survival(kept->ops_n);
        bool named = kept->there == kept->name_synced ? kept->there : draw(2);
        unlink(kept->path);
        if (kept->there && named && (!kept->old || draw(2))) {
            settle(kept, &how);
            write_whole(kept->path, kept->bytes, kept->n);
        } else if (kept->old && (named || draw(2))) {
            write_whole(kept->path, kept->old, kept->old_n);
        }
        size_t n = strlen(kept->path);
        if (n > 3 && strcmp(kept->path + n - 3, ".db") == 0) {
            char map[PATH_N + 8];
            snprintf(map, sizeof map, "%s-shm", kept->path);
            unlink(map);
            forget_lock(kept->path);
        }
    }
}

/* -- what SQLite calls ------------------------------------------------------------------------- */

static int do_close(sqlite3_file *file)
{
    int code = REAL(file)->pMethods->xClose(REAL(file));
    sqlite3_free(REAL(file));
    return code;
}
static int do_read(sqlite3_file *file, void *data, int n, sqlite3_int64 at)
{
    int code = hit(DISK_READ, FILE_OF(file)->name);
    return code ? code : REAL(file)->pMethods->xRead(REAL(file), data, n, at);
}
static int do_write(sqlite3_file *file, const void *data, int n, sqlite3_int64 at)
{
    int code = hit(DISK_WRITE, FILE_OF(file)->name);
    if (!code)
        code = REAL(file)->pMethods->xWrite(REAL(file), data, n, at);
    if (!code)
        note(FILE_OF(file)->kept, at, data, (size_t)n);
    return code;
}
static int do_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    int code = hit(DISK_TRUNCATE, FILE_OF(file)->name);
    if (!code)
        code = REAL(file)->pMethods->xTruncate(REAL(file), size);
    if (!code)
        note(FILE_OF(file)->kept, size, NULL, 0);
    return code;
}
static int do_sync(sqlite3_file *file, int flags)
{
    int code = hit(DISK_SYNC, FILE_OF(file)->name);
    settle_sync(FILE_OF(file)->kept, code != SQLITE_OK);
    return code || disk.power ? code : REAL(file)->pMethods->xSync(REAL(file), flags);
}
static int do_size(sqlite3_file *file, sqlite3_int64 *size)
{
    int code = hit(DISK_SIZE, FILE_OF(file)->name);
    return code ? code : REAL(file)->pMethods->xFileSize(REAL(file), size);
}
static int do_lock(sqlite3_file *file, int level)
{
    int code = hit(DISK_LOCK, FILE_OF(file)->name);
    return code ? code : REAL(file)->pMethods->xLock(REAL(file), level);
}
static int do_unlock(sqlite3_file *file, int level)
{
    return REAL(file)->pMethods->xUnlock(REAL(file), level);
}
static int do_reserved(sqlite3_file *file, int *out)
{
    return REAL(file)->pMethods->xCheckReservedLock(REAL(file), out);
}
static int do_control(sqlite3_file *file, int op, void *argument)
{
    return REAL(file)->pMethods->xFileControl(REAL(file), op, argument);
}
static int do_sector(sqlite3_file *file)
{
    return REAL(file)->pMethods->xSectorSize(REAL(file));
}
static int do_traits(sqlite3_file *file)
{
    return REAL(file)->pMethods->xDeviceCharacteristics(REAL(file));
}
static int do_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **out)
{
    int code = hit(DISK_MAP, FILE_OF(file)->name);
    return code ? code : REAL(file)->pMethods->xShmMap(REAL(file), page, size, extend, out);
}
static int do_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    return REAL(file)->pMethods->xShmLock(REAL(file), offset, n, flags);
}
static void do_shm_barrier(sqlite3_file *file)
{
    REAL(file)->pMethods->xShmBarrier(REAL(file));
}
static int do_shm_unmap(sqlite3_file *file, int remove)
{
    return REAL(file)->pMethods->xShmUnmap(REAL(file), remove);
}

/* Before the file is opened: what was there is taken for synced. */
static kept_t *watch(const char *name, int flags)
{
    if (!disk.power || !name || (flags & SQLITE_OPEN_DELETEONCLOSE))
        return NULL;
    kept_t *kept = find(name);
    bool exists = access(name, F_OK) == 0;
    if (!kept && !exists && !(flags & SQLITE_OPEN_CREATE))
        return NULL;
    if (!kept) {
        kept = find_or_make(name);
        kept->there = kept->name_synced = exists;
        read_whole(name, &kept->bytes, &kept->n);
    }
    if (!exists && (flags & SQLITE_OPEN_CREATE)) {
        kept->there = true;
        kept->n = 0;
        forget_ops(kept);
    }
    if ((flags & SQLITE_OPEN_CREATE) && (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)))
        kept->syncs_folder = true;
    return kept;
}

static int do_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
    (void)vfs;
    file_t *self = FILE_OF(file);
    self->base.pMethods = NULL;
    int code = hit(DISK_OPEN, name);
    if (code)
        return code;
    snprintf(self->name, sizeof self->name, "%s", name ? name : "");
    self->kept = watch(name, flags);
    self->real = sqlite3_malloc(disk.real->szOsFile);
    if (!self->real)
        return SQLITE_NOMEM;
    memset(self->real, 0, (size_t)disk.real->szOsFile);
    code = disk.real->xOpen(disk.real, name, self->real, flags, out);
    self->base.pMethods = code == SQLITE_OK ? &disk.methods : NULL;
    if (code)
        sqlite3_free(self->real);
    return code;
}

static int do_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
    (void)vfs;
    int code = hit(DISK_DELETE, name);
    if (!code)
        code = disk.real->xDelete(disk.real, name, disk.power ? 0 : sync);
    kept_t *kept = disk.power && !code ? find(name) : NULL;
    if (kept && kept->there) {
        kept->there = false;
        if (kept->name_synced) {
            free(kept->old);
            kept->old = kept->bytes;
            kept->old_n = kept->n;
            kept->bytes = NULL;
        }
        kept->n = 0;
        forget_ops(kept);
    }
    if (disk.power && !code && sync && !disk.lie)
        sync_folder();
    return code;
}

static int do_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
    (void)vfs;
    int code = hit(DISK_ACCESS, name);
    return code ? code : disk.real->xAccess(disk.real, name, flags, out);
}

void disk_make(bool all)
{
    if (disk.real)
        return;
    disk.real = sqlite3_vfs_find(NULL);
    disk.vfs = *disk.real;
    disk.vfs.zName = "faulty";
    disk.vfs.szOsFile = sizeof(file_t);
    disk.vfs.xOpen = do_open;
    disk.vfs.xDelete = do_delete;
    disk.vfs.xAccess = do_access;
    disk.methods = (sqlite3_io_methods){.iVersion = 2,
                                        .xClose = do_close,
                                        .xRead = do_read,
                                        .xWrite = do_write,
                                        .xTruncate = do_truncate,
                                        .xSync = do_sync,
                                        .xFileSize = do_size,
                                        .xLock = do_lock,
                                        .xUnlock = do_unlock,
                                        .xCheckReservedLock = do_reserved,
                                        .xFileControl = do_control,
                                        .xSectorSize = do_sector,
                                        .xDeviceCharacteristics = do_traits,
                                        .xShmMap = do_shm_map,
                                        .xShmLock = do_shm_lock,
                                        .xShmBarrier = do_shm_barrier,
                                        .xShmUnmap = do_shm_unmap};
    int code = sqlite3_vfs_register(&disk.vfs, all);
    INVARIANT(code == SQLITE_OK);
}
