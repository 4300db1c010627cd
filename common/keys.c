#include "common/keys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

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

/* A worker's key speaks for several of one machine; nobody else's name means anything. */
static bool speaks_for(uint64_t role, const char *key_name, const char *name)
{
    size_t n = strlen(key_name);
    return role != WIRE_ROLE_WORKER ||
           (n && strncmp(name, key_name, n) == 0 && (name[n] == 0 || name[n] == '-'));
}

static bool is_there(const char *path)
{
    struct stat state;
    return lstat(path, &state) == 0;
}

/* -- secrets
 * ----------------------------------------------------------------------------------------- */

err_t keys_load_peer(link_curve_t *out, const char *path, uint64_t role, const char *name)
{
    certificate_t cert;
    char belongs[LINK_KEY_N + 1] = "";
    memset(out, 0, sizeof *out);
    err_t err = certificate_read(&cert, path, true);
    if (err) {
        return err;
    }
    if (!cert.secret_key[0]) {
        err = err_set(ERR_CONFIG, "%s has no secret key", path);
    } else if (strcmp(cert.role, keys_role_name(role)) != 0) {
        err = err_set(ERR_CONFIG, "%s is the key of %s \"%s\", but this needs one of %s", path,
                      cert.role, cert.name, keys_role_name(role));
    } else if (!speaks_for(role, cert.name, name)) {
        err = err_set(ERR_CONFIG,
                      "%s is the key of \"%s\" and speaks for workers called so, or so and "
                      "\"-anything\", but this one is called \"%.80s\": --name %s",
                      path, cert.name, name, cert.name);
    } else if (zmq_curve_public(belongs, cert.secret_key) != 0 ||
               strcmp(belongs, cert.public_key) != 0) {
        err = err_set(ERR_CONFIG, "%s is damaged: its two halves do not belong together", path);
    } else if (role && !cert.broker[0]) {
        err = err_set(ERR_CONFIG, "%s does not have the brokers' public key", path);
    } else {
        memcpy(out->public_key, cert.public_key, sizeof out->public_key);
        memcpy(out->secret_key, cert.secret_key, sizeof out->secret_key);
        if (role) {
            memcpy(out->server_key, cert.broker, sizeof out->server_key);
        }
    }
    certificate_clear(&cert);
    return err;
}

err_t keys_load_broker(link_curve_t *out, const char *directory)
{
    char *path = path_of(directory, "broker", ".key");
    err_t err = ERR_OK;
    memset(out, 0, sizeof *out);
    if (is_there(path)) {
        err = keys_load_peer(out, path, 0, "");
    } else {
        err = err_set(ERR_CONFIG,
                      "there is no %s: make the fleet's keys with `stint keys init --keys %s`",
                      path, directory);
    }
    free(path);
    return err;
}

/* -- making and removing
 * ------------------------------------------------------------------------------- */

/* The paths of one peer, made by one at a time: the directory is locked. */
typedef struct {
    char *public, *secret;
    int lock;
} place_t;

static void place_close(place_t *self)
{
    if (self->lock >= 0) {
        close(self->lock);
    }
    free(self->public);
    free(self->secret);
}

static err_t place_open(place_t *out, const char *directory, const char *name)
{
    char *authorized = keys_authorized(directory);
    *out = (place_t){.public = path_of(authorized, name, ".pub"),
                     .secret = path_of(directory, name, ".key")};
    free(authorized);
    out->lock = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (out->lock < 0 || flock(out->lock, LOCK_EX) != 0) {
        err_t err =
            err_set(ERR_CONFIG, "%s cannot be opened: %s; `stint keys init --keys %s` makes it",
                    directory, strerror(errno), directory);
        place_close(out);
        return err;
    }
    return ERR_OK;
}

/* The peer's own file first: what is admitted is never without its key. A secret without the other
 * half is what a killed command leaves: it admits nobody, and a new pair takes its place. */
static err_t write_pair(const place_t *place, uint64_t role, const char *name,
                        const link_curve_t *broker)
{
    certificate_t cert;
    if (is_there(place->public)) {
        return err_set(ERR_CONFLICT, "there is a key for \"%s\" already: see %s", name,
                       place->public);
    }
    err_t err = certificate_make(&cert, keys_role_name(role), name);
    if (!err) {
        memcpy(cert.broker, broker->public_key, sizeof cert.broker);
        err = certificate_write(&cert, place->secret, true);
    }
    if (!err) {
        err = certificate_write(&cert, place->public, false);
        if (err) {
            unlink(place->secret);
        }
    }
    certificate_clear(&cert);
    return err;
}

err_t keys_add(const char *directory, uint64_t role, const char *name)
{
    link_curve_t broker;
    place_t place;
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
        err = place_open(&place, directory, name);
    }
    if (!err) {
        err = write_pair(&place, role, name, &broker);
        place_close(&place);
    }
    link_curve_clear(&broker);
    return err;
}

err_t keys_remove(const char *directory, const char *name)
{
    place_t place;
    if (!is_name(name) || strcmp(name, "broker") == 0) {
        return err_set(ERR_USAGE, "\"%.80s\" is not the name of a key", name);
    }
    err_t err = place_open(&place, directory, name);
    if (err) {
        return err;
    }
    if (!is_there(place.public) && !is_there(place.secret)) {
        err = err_set(ERR_NOT_FOUND, "nobody called \"%s\" is admitted: %s is not there", name,
                      place.public);
    } else if (unlink(place.public) != 0 && errno != ENOENT) {
        err = err_set(ERR_IO, "%s cannot be removed: %s", place.public, strerror(errno));
    } else if (unlink(place.secret) != 0 && errno != ENOENT) {
        err = err_set(ERR_IO, "\"%s\" is cut off, but %s cannot be deleted: %s", name, place.secret,
                      strerror(errno));
    }
    place_close(&place);
    return err;
}

static err_t check_directory(const char *path)
{
    struct stat state;
    if (stat(path, &state) != 0 || !S_ISDIR(state.st_mode)) {
        return err_set(ERR_CONFIG, "%s is not a directory", path);
    }
    return certificate_check_owner(&state, path, false);
}

static err_t make_directory(const char *path)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return err_set(ERR_IO, "the directory %s cannot be made: %s", path, strerror(errno));
    }
    return check_directory(path);
}

static err_t make_broker(const char *directory, bool *made)
{
    place_t place;
    certificate_t cert = {0};
    err_t err = place_open(&place, directory, "broker");
    if (err) {
        return err;
    }
    *made = !is_there(place.secret);
    if (*made) {
        err = certificate_make(&cert, "broker", "broker");
    }
    if (*made && !err) {
        err = certificate_write(&cert, place.secret, true);
    }
    certificate_clear(&cert);
    place_close(&place);
    return err;
}

err_t keys_ensure(const char *directory, uint64_t role, const char *name)
{
    err_t err = keys_add(directory, role, name);
    return err == ERR_CONFLICT ? ERR_OK : err;
}

err_t keys_init(const char *directory)
{
    char *authorized = keys_authorized(directory);
    bool made = false;
    err_t err = make_directory(directory);
    if (!err) {
        err = make_directory(authorized);
    }
    free(authorized);
    if (!err) {
        err = make_broker(directory, &made);
    }
    /* What a killed init lacks is made; an api's key that was removed on purpose is not. */
    err_t api = err ? err : keys_add(directory, WIRE_ROLE_API, "api");
    err_t scheduler = err || (api && api != ERR_CONFLICT)
                          ? api
                          : keys_add(directory, WIRE_ROLE_SCHEDULER, "scheduler");
    if (err || (api && api != ERR_CONFLICT) || (scheduler && scheduler != ERR_CONFLICT)) {
        return err ? err : scheduler;
    }
    return !made && api && scheduler
               ? err_set(ERR_CONFLICT, "%s has the keys of a fleet already", directory)
               : ERR_OK;
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
    certificate_t cert;
    *out = (keys_entry_t){0};
    err_t err = certificate_read(&cert, path, false);
    if (err) {
        return err;
    }
    if (strcmp(cert.name, name) != 0 || !keys_role_parse(cert.role, &out->role) || out->role == 0) {
        return err_set(ERR_CONFIG, "%s is for role \"%s\" and name \"%s\"", path, cert.role,
                       cert.name);
    }
    memcpy(out->public_key, cert.public_key, sizeof out->public_key);
    memcpy(out->name, name, strlen(name) + 1);
    out->added_at = cert.changed_at;
    return ERR_OK;
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
            (void)err_set(ERR_CONFIG, "\"%s\" and \"%s\" have the same key", self->items[i].name,
                          self->items[i + 1].name);
            complain(err_text());
        }
        i = same;
    }
    self->n = kept;
}

/* ERR_IO: not now. A file that is gone meanwhile is no news. */
static err_t load_files(keys_table_t *out, const char *authorized, DIR *files,
                        void (*complain)(const char *sentence))
{
    err_t err = ERR_OK;
    struct dirent *file;
    while (err != ERR_IO && (file = readdir(files))) {
        char name[KEYS_NAME_MAX + 1];
        keys_entry_t entry;
        if (!is_public_file(file->d_name, name)) {
            continue;
        }
        char *path = path_of(authorized, file->d_name, "");
        err = load_entry(&entry, path, name);
        if (!err) {
            add_entry(out, &entry);
        } else if (err != ERR_IO && complain && is_there(path)) {
            complain(err_text());
        }
        free(path);
    }
    return err == ERR_IO ? err : ERR_OK;
}

static err_t open_directory(DIR **out, const char *directory, const char *authorized)
{
    *out = opendir(authorized);
    if (!*out && errno == ENOENT) {
        return err_set(ERR_CONFIG,
                       "there are no keys in %s: `stint keys init --keys %s` makes them", directory,
                       directory);
    }
    if (!*out) {
        bool bad = errno == EACCES || errno == ENOTDIR || errno == ELOOP;
        return err_set(bad ? ERR_CONFIG : ERR_IO, "%s cannot be read: %s", authorized,
                       strerror(errno));
    }
    err_t err = check_directory(directory);
    return err ? err : check_directory(authorized);
}

err_t keys_table_load(keys_table_t *out, const char *directory,
                      void (*complain)(const char *sentence))
{
    char *authorized = keys_authorized(directory);
    DIR *files = NULL;
    *out = (keys_table_t){0};
    err_t err = open_directory(&files, directory, authorized);
    if (!err) {
        err = load_files(out, authorized, files, complain);
    }
    if (err) {
        keys_table_free(out);
    } else if (out->n) {
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
    memcpy(wanted.public_key, public_key, LINK_KEY_N);
    return bsearch(&wanted, self->items, (size_t)self->n, sizeof *self->items, by_key);
}

/* Is there a key of a longer name that speaks for it? Then it is that machine's. */
static bool is_anothers(const keys_table_t *self, const keys_entry_t *entry, const char *name)
{
    for (int i = 0; i < self->n; i++) {
        const keys_entry_t *other = &self->items[i];
        if (other->role == WIRE_ROLE_WORKER && strlen(other->name) > strlen(entry->name) &&
            speaks_for(other->role, other->name, name)) {
            return true;
        }
    }
    return false;
}

bool keys_table_admits(const keys_table_t *self, const char *public_key, uint64_t role,
                       const char *name)
{
    const keys_entry_t *entry = keys_table_find(self, public_key);
    return entry && entry->role == role && speaks_for(role, entry->name, name) &&
           (role != WIRE_ROLE_WORKER || !is_anothers(self, entry, name));
}
