#include "broker/gate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include "common/buffer.h"
#include "common/clock.h"
#include "common/keys.h"
#include "common/log.h"
#include "common/wire.h"

enum {
    FIELDS_MAX = 8, /* of a question: seven with CURVE */
    FIELD_SIZE = 256,
    QUESTIONS_A_TURN = 64,
    TEST_MS = 5000,
    LOOK_MS = 2000,       /* between looks at the directory, for what inotify does not tell */
    RATE_SPAN_MS = 10000, /* in that time one key may connect that often: */
    RATE_N = 256,
};

struct gate {
    loop_t *loop;
    char *directory;
    link_curve_t curve;
    keys_table_t table;
    struct {
        int64_t since_ms;
        int n;
    } * rates;        /* handshakes, by place in the table */
    struct stat seen; /* the directory, when the table was read */
    loop_timer_t *timer;
    log_quota_t refused;
    char guest[LINK_KEY_N + 1]; /* admitted during the self-test, at either socket */
    bool testing;               /* refusals are no news */
    void *socket;               /* libzmq's questions */
    int watcher;                /* inotify */
    loop_watch_t *questions, *changes;
    gate_changed_t changed;
    void *context;
};

/* -- the table
 * ----------------------------------------------------------------------------------------- */

static void complain(const char *sentence)
{
    log_warn("broker.key_ignored", "detail=\"%s: it admits nobody\"", sentence);
}

static err_t watch_directory(gate_t *self)
{
    char *authorized = keys_authorized(self->directory);
    err_t err = ERR_OK;
    if (self->watcher < 0 ||
        inotify_add_watch(self->watcher, authorized,
                          IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ATTRIB |
                              IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR) < 0) {
        err = err_set(ERR_CONFIG, "%s cannot be watched: %s", authorized, strerror(errno));
    }
    free(authorized);
    return err;
}

static void take_table(gate_t *self, const keys_table_t *table)
{
    keys_table_free(&self->table);
    free(self->rates);
    self->table = *table;
    self->rates = mem_zero((size_t)(table->n + 1) * sizeof *self->rates);
}

static void remember_state(gate_t *self)
{
    char *authorized = keys_authorized(self->directory);
    if (stat(authorized, &self->seen) != 0) {
        self->seen = (struct stat){0};
    }
    free(authorized);
}

void gate_reload(gate_t *self)
{
    keys_table_t table;
    remember_state(self);
    /* The directory may be another one of the same name by now; the same one is watched once. */
    if (watch_directory(self)) {
        log_warn("broker.keys_unwatched", "detail=\"%s\"", err_text());
    }
    err_t err = keys_table_load(&table, self->directory, complain);
    if (err == ERR_IO) {
        self->seen = (struct stat){0}; /* the next look tries again */
        log_warn("broker.keys_kept",
                 "detail=\"%s: those known so far stay, the next try is in %d "
                 "ms\"",
                 err_text(), LOOK_MS);
        return;
    }
    if (err) {
        log_error("broker.keys_lost", "detail=\"%s: nobody is admitted\"", err_text());
    }
    take_table(self, &table);
    log_info("broker.keys", "admitted=%d", table.n);
    self->changed(self->context);
}

static void look(void *context)
{
    gate_t *self = context;
    struct stat before = self->seen;
    loop_timer_arm(self->timer, loop_now_ms(self->loop) + LOOK_MS);
    remember_state(self);
    if (before.st_ino != self->seen.st_ino || before.st_dev != self->seen.st_dev ||
        before.st_mtim.tv_sec != self->seen.st_mtim.tv_sec ||
        before.st_mtim.tv_nsec != self->seen.st_mtim.tv_nsec) {
        gate_reload(self);
    }
}

bool gate_knows(const gate_t *self, const char *public_key)
{
    return keys_table_find(&self->table, public_key) != NULL;
}

bool gate_admits(const gate_t *self, const char *public_key, uint64_t role, const char *name)
{
    return keys_table_admits(&self->table, public_key, role, name);
}

const char *gate_name(const gate_t *self, const char *public_key)
{
    const keys_entry_t *entry = keys_table_find(&self->table, public_key);
    return entry ? entry->name : "?";
}

const link_curve_t *gate_curve(const gate_t *self)
{
    return &self->curve;
}

/* -- questions (ZAP)
 * ----------------------------------------------------------------------------------- */

typedef struct {
    char text[FIELDS_MAX][FIELD_SIZE];
    size_t n[FIELDS_MAX];
    int fields_n;
    bool sound;
} question_t;

static bool is_field(const question_t *question, int i, const char *text)
{
    return question->n[i] == strlen(text) && memcmp(question->text[i], text, question->n[i]) == 0;
}

/* False: there is none. All frames are read in any case. */
static bool read_question(void *socket, question_t *out)
{
    int more = 1;
    size_t size = sizeof more;
    *out = (question_t){.sound = true};
    while (more) {
        char field[FIELD_SIZE];
        int n = zmq_recv(socket, field, sizeof field, ZMQ_DONTWAIT);
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return false;
        }
        if (n > FIELD_SIZE || out->fields_n == FIELDS_MAX) {
            out->sound = false;
        } else {
            memcpy(out->text[out->fields_n], field, (size_t)n);
            out->n[out->fields_n++] = (size_t)n;
        }
        zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &size);
    }
    return true;
}

/* May this key open one more connection now? A name that ZeroMQ gives to a connection can be
 * guessed by who holds many: a few hundred are enough for any machine. */
static bool within_rate(gate_t *self, const keys_entry_t *entry)
{
    int64_t now = clock_now_ms();
    int i = (int)(entry - self->table.items);
    if (now - self->rates[i].since_ms >= RATE_SPAN_MS) {
        self->rates[i].since_ms = now;
        self->rates[i].n = 0;
    }
    return self->rates[i].n++ < RATE_N;
}

static void say_refused(gate_t *self, const question_t *question, const char *key,
                        const keys_entry_t *entry)
{
    if (!self->testing && log_quota(&self->refused, "broker.refused", clock_now_ms())) {
        log_warn("broker.refused", "where=%.*s key=\"%s\" name=\"%s\" address=%.*s",
                 (int)question->n[2], question->text[2], key, entry ? entry->name : "?",
                 (int)question->n[3], question->text[3]);
    }
}

/* The public key if it may connect there, else NULL. */
static const char *judge(gate_t *self, const question_t *question, char key[LINK_KEY_N + 1])
{
    if (!question->sound || question->fields_n != 7 || !is_field(question, 0, "1.0") ||
        !is_field(question, 5, "CURVE") || question->n[6] != 32) {
        return NULL;
    }
    bool backend = is_field(question, 2, GATE_BACKEND);
    if ((!backend && !is_field(question, 2, GATE_FRONTEND)) ||
        !zmq_z85_encode(key, (const uint8_t *)question->text[6], 32)) {
        return NULL;
    }
    const keys_entry_t *entry = keys_table_find(&self->table, key);
    bool admitted = entry ? (entry->role == WIRE_ROLE_WORKER) == backend && within_rate(self, entry)
                          : self->guest[0] && strcmp(self->guest, key) == 0;
    if (!admitted) {
        say_refused(self, question, key, entry);
    }
    return admitted ? key : NULL;
}

static void say(void *socket, const void *data, size_t n, bool more)
{
    while (zmq_send(socket, data, n, more ? ZMQ_SNDMORE : 0) < 0 && errno == EINTR) {
    }
}

static bool answer(gate_t *self)
{
    question_t question;
    char buffer[LINK_KEY_N + 1];
    if (!read_question(self->socket, &question)) {
        return false;
    }
    const char *key = judge(self, &question, buffer);
    const char *code = key ? "200" : "400", *text = key ? "OK" : "not admitted";
    say(self->socket, "1.0", 3, true);
    say(self->socket, question.text[1], question.fields_n > 1 ? question.n[1] : 0, true);
    say(self->socket, code, strlen(code), true);
    say(self->socket, text, strlen(text), true);
    say(self->socket, key ? key : "", key ? LINK_KEY_N : 0, true); /* becomes link_id_t.key */
    say(self->socket, "", 0, false);
    return true;
}

static void on_questions(void *context)
{
    gate_t *self = context;
    for (int i = 0; i < QUESTIONS_A_TURN; i++) {
        if (!answer(self)) {
            return;
        }
    }
    loop_again(self->loop);
}

/* -- changes of the directory
 * -------------------------------------------------------------------------- */

static void on_changes(void *context)
{
    gate_t *self = context;
    char events[4096] __attribute__((aligned(8)));
    ssize_t n;
    bool any = false;
    while ((n = read(self->watcher, events, sizeof events)) > 0) {
        any = true;
    }
    if (any) {
        gate_reload(self);
    }
}

/* -- life
 * ---------------------------------------------------------------------------------------------- */

static err_t open_socket(gate_t *self)
{
    int linger = 0;
    self->socket = zmq_socket(link_context(), ZMQ_REP);
    INVARIANT(self->socket);
    zmq_setsockopt(self->socket, ZMQ_LINGER, &linger, sizeof linger);
    if (zmq_bind(self->socket, "inproc://zeromq.zap.01") != 0) {
        return err_set(ERR_INTERNAL, "the authenticator cannot start: %s", zmq_strerror(errno));
    }
    self->questions = loop_watch_socket(self->loop, self->socket, on_questions, self);
    return ERR_OK;
}

err_t gate_open(gate_t **out, loop_t *loop, const char *directory, gate_changed_t changed,
                void *context)
{
    gate_t *self = mem_zero(sizeof *self);
    self->loop = loop;
    self->watcher = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    self->directory = mem_text(directory);
    self->changed = changed;
    self->context = context;
    err_t err = keys_load_broker(&self->curve, directory);
    if (!err) {
        err = watch_directory(self); /* first: what changes while it is read is seen */
    }
    keys_table_t table = {0};
    if (!err) {
        remember_state(self);
        err = keys_table_load(&table, directory, complain);
        take_table(self, &table);
    }
    if (!err) {
        err = open_socket(self);
    }
    if (err) {
        gate_close(&self);
        return err;
    }
    self->changes = loop_watch_fd(loop, self->watcher, on_changes, self);
    self->timer = loop_timer_new(loop, look, self);
    loop_timer_arm(self->timer, loop_now_ms(loop) + LOOK_MS);
    *out = self;
    return ERR_OK;
}

void gate_close(gate_t **self_ref)
{
    gate_t *self = *self_ref;
    if (!self) {
        return;
    }
    loop_unwatch(self->loop, &self->questions);
    loop_unwatch(self->loop, &self->changes);
    loop_timer_destroy(&self->timer);
    if (self->socket) {
        zmq_close(self->socket);
    }
    if (self->watcher >= 0) {
        close(self->watcher);
    }
    keys_table_free(&self->table);
    free(self->rates);
    link_curve_clear(&self->curve);
    free(self->directory);
    free(self);
    *self_ref = NULL;
}

/* -- the self-test
 * ------------------------------------------------------------------------------------- */

/* How the handshake of one peer ends. The loop does not run yet: questions are answered here. */
static err_t handshake(gate_t *self, const char *endpoint, const link_curve_t *curve,
                       link_news_t *out)
{
    link_t *peer = NULL;
    err_t err = link_connect_curve(&peer, endpoint, curve);
    if (err) {
        return err;
    }
    int64_t until = clock_now_ms() + TEST_MS;
    *out = LINK_NOTHING;
    while (*out == LINK_NOTHING && clock_now_ms() < until) {
        zmq_pollitem_t items[] = {{.socket = self->socket, .events = ZMQ_POLLIN},
                                  {.socket = link_handshakes(peer), .events = ZMQ_POLLIN}};
        zmq_poll(items, 2, until - clock_now_ms());
        while (answer(self)) {
        }
        *out = link_handshake_news(peer);
    }
    link_destroy(&peer);
    return ERR_OK;
}

static err_t must_end(gate_t *self, const char *endpoint, const link_curve_t *curve,
                      link_news_t wanted, const char *who)
{
    link_news_t news;
    err_t err = handshake(self, endpoint, curve, &news);
    if (!err && news != wanted) {
        err = err_set(ERR_INTERNAL, "self-test of %s: %s was %s", endpoint, who,
                      news == LINK_ADMITTED  ? "let in"
                      : news == LINK_REFUSED ? "refused"
                                             : "given no answer (is the loopback interface up?)");
    }
    return err;
}

err_t gate_test(gate_t *self, const char *endpoint)
{
    link_curve_t stranger = {0};
    if (zmq_curve_keypair(stranger.public_key, stranger.secret_key) != 0) {
        return err_set(ERR_CONFIG, "this libzmq was built without CURVE");
    }
    memcpy(stranger.server_key, self->curve.public_key, sizeof stranger.server_key);
    self->testing = true;
    err_t err = must_end(self, endpoint, &stranger, LINK_REFUSED, "a stranger's key");
    if (!err) {
        err = must_end(self, endpoint, NULL, LINK_REFUSED, "a peer without a key");
    }
    if (!err) {
        /* And what looks like refusal is not a door that is shut for all. */
        memcpy(self->guest, stranger.public_key, sizeof self->guest);
        err = must_end(self, endpoint, &stranger, LINK_ADMITTED, "a key that is admitted");
        memset(self->guest, 0, sizeof self->guest);
    }
    self->testing = false;
    link_curve_clear(&stranger);
    return err;
}
