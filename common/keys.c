#include "common/keys.h"

#include <czmq.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/wire.h"

static const char *const role_names[] = {
    "broker", [WIRE_ROLE_API] = "api", [WIRE_ROLE_WORKER] = "worker",
    [WIRE_ROLE_SCHEDULER] = "scheduler"};
enum { ROLES_N = sizeof role_names / sizeof *role_names };

const char *keys_role_name(uint64_t role)
{
    return role < ROLES_N ? role_names[role] : "?";
}

bool keys_role_parse(const char *text, uint64_t *role)
{
    for (uint64_t i = 0; i < ROLES_N; i++) {
        if (strcmp(text, role_names[i]) == 0) {
            *role = i;
            return true;
        }
    }
    return false;
}

/* A file's name too: nothing that leads elsewhere or hides. */
static bool is_name(const char *name)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t n = strlen(name);
    return n > 0 && n <= KEYS_NAME_MAX && strspn(name, plain) == n && name[0] != '.' &&
           name[0] != '-';
}

static char *path_of(const char *directory, const char *name, const char *ending)
{
    buffer_t text = {0};
    buffer_printf(&text, "%s/%s%s", directory, name, ending);
    char *out = mem_text_n((const char *)text.data, text.n);
    buffer_free(&text);
    return out;
}

char *keys_authorized(const char *directory)
{
    return path_of(directory, "authorized", "");
}

/* -- writing
 * ------------------------------------------------------------------------------------------- */

/* Under another name first: nobody reads half a certificate. */
static err_t save(zcert_t *cert, bool secret, const char *path)
{
    buffer_t text = {0};
    buffer_printf(&text, "%s.new", path);
    char *aside = mem_text_n((const char *)text.data, text.n);
    buffer_free(&text);
    unlink(aside);
    int rc = secret ? zcert_save_secret(cert, aside) : zcert_save_public(cert, aside);
    err_t err = ERR_OK;
    if (rc != 0 || (secret && chmod(aside, 0600) != 0) || rename(aside, path) != 0) {
        err = err_set(ERR_IO, "%s cannot be written: %s", path, strerror(errno));
        unlink(aside);
    }
    free(aside);
    return err;
}

static err_t make_directory(const char *path)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return err_set(ERR_IO, "the directory %s cannot be made: %s", path, strerror(errno));
    }
    return ERR_OK;
}

static bool is_there(const char *path)
{
    struct stat state;
    return lstat(path, &state) == 0;
}

static err_t make_broker(const char *directory)
{
    char *path = path_of(directory, "broker", ".key");
    err_t err = ERR_OK;
    if (is_there(path)) {
        err = err_set(ERR_CONFLICT, "%s is there already: this fleet has its keys", path);
    } else {
        zcert_t *cert = zcert_new();
        zcert_set_meta(cert, "name", "%s", "broker");
        zcert_set_meta(cert, "role", "%s", "broker");
        err = save(cert, true, path);
        zcert_destroy(&cert);
    }
    free(path);
    return err;
}

err_t keys_init(const char *directory)
{
    char *authorized = keys_authorized(directory);
    err_t err = make_directory(directory);
    if (!err) {
        err = make_directory(authorized);
    }
    if (!err) {
        err = make_broker(directory);
    }
    if (!err) {
        err = keys_add(directory, WIRE_ROLE_API, "api");
    }
    if (!err) {
        err = keys_add(directory, WIRE_ROLE_SCHEDULER, "scheduler");
    }
    free(authorized);
    return err;
}

/* The peer's own file first: what is admitted is never without its key. */
static err_t save_peer(const char *directory, uint64_t role, const char *name,
                       const link_curve_t *broker)
{
    char *authorized = keys_authorized(directory);
    char *public = path_of(authorized, name, ".pub"), *secret = path_of(directory, name, ".key");
    err_t err = ERR_OK;
    if (is_there(public) || is_there(secret)) {
        err = err_set(ERR_CONFLICT, "there is a key for \"%s\" already: see %s", name,
                      is_there(public) ? public : secret);
    } else {
        zcert_t *cert = zcert_new();
        zcert_set_meta(cert, "name", "%s", name);
        zcert_set_meta(cert, "role", "%s", keys_role_name(role));
        zcert_set_meta(cert, "broker", "%s", broker->public_key);
        err = save(cert, true, secret);
        if (!err) {
            err = save(cert, false, public);
            if (err) {
                unlink(secret);
            }
        }
        zcert_destroy(&cert);
    }
    free(public);
    free(secret);
    free(authorized);
    return err;
}

err_t keys_add(const char *directory, uint64_t role, const char *name)
{
    link_curve_t broker;
    if (role != WIRE_ROLE_API && role != WIRE_ROLE_WORKER && role != WIRE_ROLE_SCHEDULER) {
        return err_set(ERR_USAGE, "a key is for an api, a scheduler or a worker");
    }
    if (!is_name(name) || strcmp(name, "broker") == 0) {
        return err_set(ERR_USAGE,
                       "\"%.80s\" cannot be the name of a key: 1 to %d letters, digits, '-', '_' "
                       "and '.', not \"broker\"",
                       name, KEYS_NAME_MAX);
    }
    err_t err = keys_load_broker(&broker, directory);
    if (!err) {
        err = save_peer(directory, role, name, &broker);
    }
    link_curve_clear(&broker);
    return err;
}

err_t keys_remove(const char *directory, const char *name)
{
    char *authorized = keys_authorized(directory);
    char *public = path_of(authorized, name, ".pub"), *secret = path_of(directory, name, ".key");
    err_t err = ERR_OK;
    if (!is_name(name)) {
        err = err_set(ERR_USAGE, "\"%.80s\" is not the name of a key", name);
    } else if (unlink(public) != 0) {
        err = errno == ENOENT
                  ? err_set(ERR_NOT_FOUND,
                            "nobody called \"%s\" is admitted: %s is not "
                            "there",
                            name, public)
                  : err_set(ERR_IO, "%s cannot be removed: %s", public, strerror(errno));
    } else if (unlink(secret) != 0 && errno != ENOENT) {
        err = err_set(ERR_IO, "\"%s\" is cut off, but %s cannot be deleted: %s", name, secret,
                      strerror(errno));
    }
    free(public);
    free(secret);
    free(authorized);
    return err;
}

/* -- reading secrets
 * ----------------------------------------------------------------------------------- */

static bool is_key(const char *text)
{
    uint8_t bytes[LINK_KEY_N];
    static const char z85[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+="
                              "^!/*?&<>()[]{}@%$#";
    return text && strlen(text) == LINK_KEY_N && strspn(text, z85) == LINK_KEY_N &&
           strspn(text, "0") < LINK_KEY_N && zmq_z85_decode(bytes, text);
}

static void copy_key(char *out, const char *text)
{
    memcpy(out, text, LINK_KEY_N);
    out[LINK_KEY_N] = 0;
}

/* A certificate as read; the texts live as long as `config`. */
typedef struct {
    zconfig_t *config;
    const char *name, *role, *broker, *public_key, *secret_key;
} certificate_t;

static const char *value_of(zconfig_t *config, const char *path)
{
    const char *value = zconfig_get(config, path, "");
    return value ? value : "";
}

/* `forbidden`: the bits of the mode that others must not have. ERR_CONFIG with a sentence. */
static err_t open_certificate(certificate_t *out, const char *path, mode_t forbidden)
{
    enum { SIZE_MAX_N = 16384 };
    struct stat state;
    char bytes[SIZE_MAX_N];
    ssize_t n = -1;
    *out = (certificate_t){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    err_t err = ERR_OK;
    if (fd < 0 || fstat(fd, &state) != 0) {
        err = err_set(ERR_CONFIG, "%s cannot be read: %s", path, strerror(errno));
    } else if (!S_ISREG(state.st_mode)) {
        err = err_set(ERR_CONFIG, "%s is not a file", path);
    } else if (state.st_mode & forbidden) {
        err =
            err_set(ERR_CONFIG,
                    "%s has mode %03o: others may %s it, and only its owner should "
                    "(chmod %s)",
                    path, (unsigned)(state.st_mode & 0777),
                    forbidden & 044 ? "read or change" : "change", forbidden & 044 ? "600" : "644");
    } else if (state.st_uid != geteuid() && geteuid() != 0 && state.st_uid != 0) {
        err = err_set(ERR_CONFIG, "%s belongs to another user", path);
    } else if ((n = read(fd, bytes, sizeof bytes)) < 0) {
        err = err_set(ERR_CONFIG, "%s cannot be read: %s", path, strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
    if (err) {
        return err;
    }
    zchunk_t *chunk = zchunk_new(bytes, (size_t)n);
    out->config = n > 0 && n < SIZE_MAX_N ? zconfig_chunk_load(chunk) : NULL;
    zchunk_destroy(&chunk);
    explicit_bzero(bytes, sizeof bytes);
    if (!out->config || !is_key(out->public_key = value_of(out->config, "curve/public-key"))) {
        zconfig_destroy(&out->config);
        return err_set(ERR_CONFIG, "%s is not a key that `stint keys` made", path);
    }
    out->name = value_of(out->config, "metadata/name");
    out->role = value_of(out->config, "metadata/role");
    out->broker = value_of(out->config, "metadata/broker");
    out->secret_key = value_of(out->config, "curve/secret-key");
    return ERR_OK;
}

/* A worker's key speaks for several of one machine; nobody else's name means anything. */
static bool speaks_for(uint64_t role, const char *key_name, const char *name)
{
    size_t n = strlen(key_name);
    return role != WIRE_ROLE_WORKER ||
           (n && strncmp(name, key_name, n) == 0 && (name[n] == 0 || name[n] == '-'));
}

static err_t load_secret(link_curve_t *out, const char *path, uint64_t role, const char *name)
{
    certificate_t cert;
    char belongs[LINK_KEY_N + 1] = "";
    memset(out, 0, sizeof *out);
    err_t err = open_certificate(&cert, path, 077);
    if (err) {
        return err;
    }
    if (!is_key(cert.secret_key)) {
        err = err_set(ERR_CONFIG, "%s has no secret key", path);
    } else if (strcmp(cert.role, keys_role_name(role)) != 0) {
        err = err_set(ERR_CONFIG, "%s is the key of %s \"%.80s\", but this needs one of %s", path,
                      cert.role, cert.name, keys_role_name(role));
    } else if (!speaks_for(role, cert.name, name)) {
        err = err_set(ERR_CONFIG,
                      "%s is the key of \"%.80s\" and speaks for workers called so, or so and "
                      "\"-anything\", but this one is called \"%.80s\": --name %.80s",
                      path, cert.name, name, cert.name);
    } else if (zmq_curve_public(belongs, cert.secret_key) != 0 ||
               strcmp(belongs, cert.public_key) != 0) {
        err = err_set(ERR_CONFIG, "%s is damaged: its two halves do not belong together", path);
    } else if (role && !is_key(cert.broker)) {
        err = err_set(ERR_CONFIG, "%s does not have the brokers' public key", path);
    } else {
        copy_key(out->public_key, cert.public_key);
        copy_key(out->secret_key, cert.secret_key);
        if (role) {
            copy_key(out->server_key, cert.broker);
        }
    }
    zconfig_destroy(&cert.config);
    return err;
}

err_t keys_load_peer(link_curve_t *out, const char *path, uint64_t role, const char *name)
{
    return load_secret(out, path, role, name);
}

err_t keys_load_broker(link_curve_t *out, const char *directory)
{
    char *path = path_of(directory, "broker", ".key");
    err_t err =
        is_there(path)
            ? load_secret(out, path, 0, "")
            : err_set(ERR_CONFIG,
                      "there is no %s: make the fleet's keys with `stint keys init --keys %s`",
                      path, directory);
    if (err) {
        memset(out, 0, sizeof *out);
    }
    free(path);
    return err;
}

/* -- who is admitted
 * ----------------------------------------------------------------------------------- */

static int by_key(const void *a, const void *b)
{
    return strcmp(((const keys_entry_t *)a)->public_key, ((const keys_entry_t *)b)->public_key);
}

/* "NAME.pub" -> true and the name. */
static bool is_public_file(const char *file, char name[KEYS_NAME_MAX + 1])
{
    size_t n = strlen(file);
    if (n <= 4 || n - 4 > KEYS_NAME_MAX || strcmp(file + n - 4, ".pub") != 0) {
        return false;
    }
    memcpy(name, file, n - 4);
    name[n - 4] = 0;
    return is_name(name);
}

static err_t load_entry(keys_entry_t *out, const char *path, const char *name)
{
    struct stat state;
    certificate_t cert;
    *out = (keys_entry_t){0};
    err_t err = open_certificate(&cert, path, 022);
    if (err) {
        return err;
    }
    if (strcmp(cert.name, name) != 0 || !keys_role_parse(cert.role, &out->role) || out->role == 0) {
        err = err_set(ERR_CONFIG, "%s is for role \"%.20s\" and name \"%.80s\"", path, cert.role,
                      cert.name);
    } else if (stat(path, &state) == 0) {
        copy_key(out->public_key, cert.public_key);
        memcpy(out->name, name, strlen(name) + 1);
        out->added_at = (int64_t)state.st_mtim.tv_sec * 1000 + state.st_mtim.tv_nsec / 1000000;
    }
    zconfig_destroy(&cert.config);
    return err;
}

static void add_entry(keys_table_t *self, const keys_entry_t *entry)
{
    self->items = mem_grow(self->items, (size_t)(self->n + 1) * sizeof *self->items);
    self->items[self->n++] = *entry;
}

/* Two names for one key: whom it speaks for would be a matter of luck. */
static void drop_twins(keys_table_t *self, void (*complain)(const char *sentence))
{
    int kept = 0;
    for (int i = 0; i < self->n;) {
        int same = i + 1;
        while (same < self->n && by_key(&self->items[i], &self->items[same]) == 0) {
            same++;
        }
        if (same == i + 1) {
            self->items[kept++] = self->items[i];
        } else if (complain) {
            (void)err_set(ERR_CONFIG, "\"%s\" and \"%s\" have the same key: neither is admitted",
                          self->items[i].name, self->items[i + 1].name);
            complain(err_text());
        }
        i = same;
    }
    self->n = kept;
}

err_t keys_table_load(keys_table_t *out, const char *directory,
                      void (*complain)(const char *sentence))
{
    struct stat state;
    char *authorized = keys_authorized(directory);
    DIR *files = opendir(authorized);
    err_t err = ERR_OK;
    *out = (keys_table_t){0};
    if (!files && errno == ENOENT) {
        err = err_set(ERR_CONFIG, "there are no keys in %s: `stint keys init --keys %s` makes them",
                      directory, directory);
    } else if (!files || fstat(dirfd(files), &state) != 0) {
        err = err_set(ERR_CONFIG, "%s cannot be read: %s", authorized, strerror(errno));
    } else if (state.st_mode & 022) {
        err = err_set(ERR_CONFIG, "others may write to %s (mode %03o): whom would it admit?",
                      authorized, (unsigned)(state.st_mode & 0777));
    }
    struct dirent *file;
    while (!err && (file = readdir(files))) {
        char name[KEYS_NAME_MAX + 1];
        keys_entry_t entry;
        if (!is_public_file(file->d_name, name)) {
            continue;
        }
        char *path = path_of(authorized, file->d_name, "");
        if (!load_entry(&entry, path, name) && entry.name[0]) {
            add_entry(out, &entry);
        } else if (complain && is_there(path)) {
            complain(err_text());
        }
        free(path);
    }
    if (out->n) {
        qsort(out->items, (size_t)out->n, sizeof *out->items, by_key);
        drop_twins(out, complain);
    }
    if (files) {
        closedir(files);
    }
    free(authorized);
    return err;
}

void keys_table_free(keys_table_t *self)
{
    free(self->items);
    *self = (keys_table_t){0};
}

const keys_entry_t *keys_table_find(const keys_table_t *self, const char *public_key)
{
    keys_entry_t wanted = {0};
    if (self->n == 0 || strlen(public_key) != LINK_KEY_N) {
        return NULL;
    }
    copy_key(wanted.public_key, public_key);
    return bsearch(&wanted, self->items, (size_t)self->n, sizeof *self->items, by_key);
}

bool keys_table_admits(const keys_table_t *self, const char *public_key, uint64_t role,
                       const char *name)
{
    const keys_entry_t *entry = keys_table_find(self, public_key);
    if (!entry || entry->role != role) {
        return false;
    }
    return speaks_for(role, entry->name, name);
}
