#include "common/certificate.h"

#include <czmq.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/buffer.h"

enum { FILE_MAX = 16384 };

err_t certificate_make(certificate_t *out, const char *role, const char *name)
{
    *out = (certificate_t){0};
    if (zmq_curve_keypair(out->public_key, out->secret_key) != 0) {
        return err_set(ERR_CONFIG, "this libzmq was built without CURVE");
    }
    str_copy(out->role, sizeof out->role, str_of(role));
    str_copy(out->name, sizeof out->name, str_of(name));
    return ERR_OK;
}

void certificate_clear(certificate_t *self)
{
    explicit_bzero(self, sizeof *self);
}

/* -- reading
 * ----------------------------------------------------------------------------------------- */

static bool is_transient(int problem)
{
    return problem == EMFILE || problem == ENFILE || problem == ENOMEM || problem == EIO;
}

err_t certificate_check_owner(const struct stat *state, const char *path, bool secret)
{
    mode_t forbidden = secret ? 077 : 022;
    if (state->st_mode & forbidden) {
        return err_set(ERR_CONFIG, "%s has mode %03o: others may %s it (chmod %s)", path,
                       (unsigned)(state->st_mode & 0777), secret ? "read or change" : "change",
                       secret                    ? "600"
                       : S_ISDIR(state->st_mode) ? "700"
                                                 : "644");
    }
    if (state->st_uid != geteuid() && state->st_uid != 0) {
        return err_set(ERR_CONFIG,
                       "%s belongs to user %u, who could change it: it must belong to the user "
                       "this runs as, or to root",
                       path, (unsigned)state->st_uid);
    }
    return ERR_OK;
}

/* The whole file in `bytes`; its state is looked at through the same descriptor. */
static err_t read_file(const char *path, bool secret, char bytes[FILE_MAX], size_t *n,
                       struct stat *state)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t got = -1;
    err_t err = ERR_OK;
    if (fd < 0 || fstat(fd, state) != 0) {
        err = err_set(is_transient(errno) ? ERR_IO : ERR_CONFIG, "%s cannot be read: %s", path,
                      strerror(errno));
    } else if (!S_ISREG(state->st_mode)) {
        err = err_set(ERR_CONFIG, "%s is not a file", path);
    } else {
        err = certificate_check_owner(state, path, secret);
    }
    if (!err && (got = read(fd, bytes, FILE_MAX)) < 0) {
        err = err_set(ERR_IO, "%s cannot be read: %s", path, strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
    *n = got > 0 ? (size_t)got : 0;
    return err;
}

static bool is_key(const char *text)
{
    static const char z85[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+="
                              "^!/*?&<>()[]{}@%$#";
    uint8_t bytes[LINK_KEY_N];
    return strlen(text) == LINK_KEY_N && strspn(text, z85) == LINK_KEY_N &&
           strspn(text, "0") < LINK_KEY_N && zmq_z85_decode(bytes, text);
}

/* A text that does not fit is none. */
static void take(char *out, size_t size, zconfig_t *config, const char *path)
{
    const char *value = zconfig_get(config, path, "");
    bool fits = value && strlen(value) < size;
    str_copy(out, size, str_of(fits ? value : ""));
}

static void take_key(char out[LINK_KEY_N + 1], zconfig_t *config, const char *path)
{
    take(out, LINK_KEY_N + 1, config, path);
    if (!is_key(out)) {
        out[0] = 0;
    }
}

err_t certificate_read(certificate_t *out, const char *path, bool secret)
{
    char bytes[FILE_MAX];
    size_t n = 0;
    struct stat state;
    *out = (certificate_t){0};
    err_t err = read_file(path, secret, bytes, &n, &state);
    if (err) {
        return err;
    }
    zchunk_t *chunk = zchunk_new(bytes, n);
    zconfig_t *config = n > 0 && n < FILE_MAX ? zconfig_chunk_load(chunk) : NULL;
    zchunk_destroy(&chunk);
    explicit_bzero(bytes, sizeof bytes);
    if (config) {
        take(out->name, sizeof out->name, config, "metadata/name");
        take(out->role, sizeof out->role, config, "metadata/role");
        take_key(out->broker, config, "metadata/broker");
        take_key(out->public_key, config, "curve/public-key");
        take_key(out->secret_key, config, "curve/secret-key");
        out->changed_at = (int64_t)state.st_mtim.tv_sec * 1000 + state.st_mtim.tv_nsec / 1000000;
        zconfig_destroy(&config);
    }
    return out->public_key[0] ? ERR_OK
                              : err_set(ERR_CONFIG, "%s is not a key that `stint keys` made", path);
}

/* -- writing
 * ----------------------------------------------------------------------------------------- */

static err_t write_file(const char *path, const char *text, mode_t mode)
{
    size_t n = strlen(text);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    bool written =
        fd >= 0 && fchmod(fd, mode) == 0 && write(fd, text, n) == (ssize_t)n && fsync(fd) == 0;
    int problem = errno;
    if (fd >= 0) {
        close(fd);
    }
    return written ? ERR_OK : err_set(ERR_IO, "%s cannot be written: %s", path, strerror(problem));
}

static void sync_directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *directory = slash ? mem_text_n(path, (size_t)(slash - path)) : mem_text(".");
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    free(directory);
}

/* NULL: out of memory. */
static char *as_text(const certificate_t *cert, bool secret)
{
    zconfig_t *root = zconfig_new("root", NULL);
    zconfig_set_comment(root, secret
                                  ? "   SECRET key of Stint (CZMQ certificate): only its owner may "
                                    "read this file"
                                  : "   Public key of Stint (CZMQ certificate)");
    zconfig_put(root, "/metadata/name", cert->name);
    zconfig_put(root, "/metadata/role", cert->role);
    if (cert->broker[0]) {
        zconfig_put(root, "/metadata/broker", cert->broker);
    }
    zconfig_put(root, "/curve/public-key", cert->public_key);
    if (secret) {
        zconfig_put(root, "/curve/secret-key", cert->secret_key);
    }
    char *text = zconfig_str_save(root);
    zconfig_destroy(&root);
    return text;
}

err_t certificate_write(const certificate_t *cert, const char *path, bool secret)
{
    /* Under another name first: nobody reads half a certificate. */
    buffer_t name = {0};
    buffer_printf(&name, "%s.new", path);
    buffer_add(&name, "", 1);
    const char *aside = (const char *)name.data;
    char *text = as_text(cert, secret);
    unlink(aside); /* of one that was killed */
    err_t err = text ? write_file(aside, text, secret ? 0600 : 0644)
                     : err_set(ERR_INTERNAL, "%s cannot be made", path);
    if (!err && rename(aside, path) != 0) {
        err = err_set(ERR_IO, "%s cannot be written: %s", path, strerror(errno));
    }
    if (err) {
        unlink(aside);
    } else {
        sync_directory_of(path);
    }
    if (text) {
        explicit_bzero(text, strlen(text));
        freen(text);
    }
    buffer_free(&name);
    return err;
}
