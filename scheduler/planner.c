#include "scheduler/planner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "scheduler/cron.h"

enum { SENTENCE_N = 512 };
static const uint32_t not_in_heap = UINT32_MAX;

typedef struct {
    char *name;
    const zone_t *zone;
    cron_t cron;
    planner_catch_up_t catch_up;
    int64_t revision;
    int64_t nominal_at;     /* the next tick, or the one in the air */
    int64_t wake_at;        /* when to look at it again */
    int64_t approved_until; /* missed ticks up to here fire: the policy has been asked */
    int64_t retry_ms;
    uint32_t place; /* in the heap */
    bool in_air;    /* emitted, not answered */
} entry_t;

struct planner {
    zones_t *zones;
    entry_t *entries; /* sorted by name */
    size_t entries_n;
    uint32_t *heap; /* entries by (wake_at, index) */
    size_t heap_n;
    size_t broken_n;
    char broken_text[SENTENCE_N];
    int64_t now_ms; /* the latest time heard, to notice a clock set back */
};

/* ---- heap ---- */

static bool is_before(const planner_t *self, uint32_t a, uint32_t b)
{
    int64_t a_at = self->entries[a].wake_at, b_at = self->entries[b].wake_at;
    return a_at != b_at ? a_at < b_at : a < b;
}

static void put(planner_t *self, size_t place, uint32_t index)
{
    self->heap[place] = index;
    self->entries[index].place = (uint32_t)place;
}

/* The entry's wake_at has changed: move it to where it belongs. */
static void settle(planner_t *self, uint32_t index)
{
    size_t place = self->entries[index].place;
    while (place > 0 && is_before(self, index, self->heap[(place - 1) / 2])) {
        put(self, place, self->heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    for (;;) {
        size_t child = 2 * place + 1;
        if (child + 1 < self->heap_n && is_before(self, self->heap[child + 1], self->heap[child]))
            child++;
        if (child >= self->heap_n || !is_before(self, self->heap[child], index))
            break;
        put(self, place, self->heap[child]);
        place = child;
    }
    put(self, place, index);
}

static void heap_add(planner_t *self, uint32_t index)
{
    self->heap_n++;
    put(self, self->heap_n - 1, index);
    settle(self, index);
}

/* ---- life ---- */

planner_t *planner_new(zones_t *zones)
{
    planner_t *self = mem_zero(sizeof *self);
    self->zones = zones;
    self->now_ms = INT64_MIN;
    return self;
}

static void forget(planner_t *self)
{
    for (size_t i = 0; i < self->entries_n; i++)
        free(self->entries[i].name);
    free(self->entries);
    free(self->heap);
    self->entries = NULL;
    self->heap = NULL;
    self->entries_n = self->heap_n = 0;
}

void planner_destroy(planner_t **self)
{
    if (*self == NULL)
        return;
    forget(*self);
    free(*self);
    *self = NULL;
}

/* ---- snapshot ---- */

static int compare_names(const void *a, const void *b)
{
    const planner_schedule_t *const *left = a, *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

static entry_t *find(const planner_t *self, const char *name)
{
    size_t low = 0, high = self->entries_n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(self->entries[middle].name, name);
        if (order == 0)
            return &self->entries[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static void plan_after(entry_t *entry, int64_t after_ms)
{
    entry->nominal_at = schedule_next(&entry->cron, entry->zone, after_ms);
    entry->wake_at = entry->nominal_at;
    entry->in_air = false;
    entry->retry_ms = PLANNER_RETRY_MS;
}

static err_t make_entry(planner_t *self, entry_t *out, const planner_schedule_t *row,
                        int64_t now_ms)
{
    entry_t entry = {.catch_up = row->catch_up,
                     .revision = row->revision,
                     .approved_until = INT64_MIN,
                     .place = not_in_heap};
    err_t err = cron_parse(&entry.cron, row->expression);
    if (err == ERR_OK)
        err = zones_find(self->zones, row->zone, &entry.zone);
    if (err != ERR_OK)
        return err_context(err, "schedule %s", row->name);
    int64_t after_ms = row->last_tick_at > row->since_at ? row->last_tick_at : row->since_at;
    const entry_t *old = find(self, row->name);
    /* The snapshot may be older than what is known here. A tick that was seen in time must not
     * become a missed one, so one that is due stays as it is; the future is planned again from the
     * ledger, should the clock have been wrong. */
    if (old != NULL && old->revision == row->revision && old->nominal_at > after_ms &&
        old->nominal_at <= now_ms) {
        entry.nominal_at = old->nominal_at;
        entry.wake_at = old->wake_at;
        entry.approved_until = old->approved_until;
        entry.retry_ms = old->retry_ms;
        entry.in_air = old->in_air;
    } else {
        plan_after(&entry, after_ms > 0 ? after_ms : now_ms);
    }
    entry.name = mem_text(row->name);
    *out = entry;
    return ERR_OK;
}

/* Pointers to the rows in the order of their names; the caller frees *out. */
static err_t sort_rows(const planner_schedule_t *rows, size_t n, const planner_schedule_t ***out)
{
    if (n > PLANNER_SCHEDULES_MAX)
        return err_set(ERR_LIMIT, "%zu schedules; expected at most %d", n, PLANNER_SCHEDULES_MAX);
    for (size_t i = 0; i < n; i++) {
        size_t length = strnlen(rows[i].name, PLANNER_TEXT_N + 1);
        if (length == 0 || length > PLANNER_TEXT_N)
            return err_set(ERR_INVALID, "schedule %zu has a name of no or over %d bytes", i,
                           PLANNER_TEXT_N);
    }
    const planner_schedule_t **sorted = mem_alloc((n + 1) * sizeof(*sorted));
    for (size_t i = 0; i < n; i++)
        sorted[i] = &rows[i];
    qsort(sorted, n, sizeof *sorted, compare_names);
    for (size_t i = 1; i < n; i++) {
        if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0) {
            err_t err = err_set(ERR_INVALID, "schedule %s is there twice", sorted[i]->name);
            free(sorted);
            return err;
        }
    }
    *out = sorted;
    return ERR_OK;
}

err_t planner_snapshot(planner_t *self, const planner_schedule_t *rows, size_t n, int64_t now_ms)
{
    const planner_schedule_t **sorted = NULL;
    err_t err = sort_rows(rows, n, &sorted);
    if (err != ERR_OK)
        return err;
    entry_t *entries = mem_alloc((n + 1) * sizeof *entries);
    size_t entries_n = 0;
    self->broken_n = 0;
    self->broken_text[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        if (sorted[i]->paused)
            continue;
        if (make_entry(self, &entries[entries_n], sorted[i], now_ms) == ERR_OK)
            entries_n++;
        else if (self->broken_n++ == 0)
            snprintf(self->broken_text, sizeof self->broken_text, "%s", err_text());
    }
    free(sorted);
    forget(self);
    self->entries = entries;
    self->entries_n = entries_n;
    self->heap = mem_alloc((n + 1) * sizeof *self->heap);
    for (uint32_t i = 0; i < entries_n; i++)
        heap_add(self, i);
    return ERR_OK;
}

/* ---- ticks ---- */

/* PLANNER_ALL: the first instant to look from so that at most PLANNER_CATCH_UP_N ticks lie in (it,
 * now]. */
static int64_t catch_up_start(const entry_t *entry, int64_t from_ms, int64_t now_ms)
{
    int64_t low = from_ms, high = now_ms, middle = from_ms;
    for (;;) {
        int64_t at = middle;
        int count = 0;
        while (count <= PLANNER_CATCH_UP_N) {
            at = schedule_next(&entry->cron, entry->zone, at);
            if (at > now_ms)
                break;
            count++;
        }
        if (count > PLANNER_CATCH_UP_N)
            low = middle + 1;
        else
            high = middle;
        if (low >= high)
            return high;
        middle = low + (high - low) / 2;
    }
}

/* The entry's tick is due and was never emitted: ask the policy if it was missed. Afterwards
 * nominal_at is the tick to emit, or lies in the future. */
static void judge(entry_t *entry, int64_t now_ms)
{
    if (entry->nominal_at <= entry->approved_until || now_ms - entry->nominal_at <= PLANNER_LATE_MS)
        return;
    int64_t before = entry->nominal_at - 1;
    int64_t newest;
    switch (entry->catch_up) {
    case PLANNER_NONE:
        plan_after(entry, now_ms - PLANNER_LATE_MS - 1);
        break;
    case PLANNER_LAST:
        newest = schedule_newest(&entry->cron, entry->zone, before, now_ms);
        plan_after(entry, newest - 1);
        entry->approved_until = newest;
        break;
    case PLANNER_ALL:
        if (before < now_ms - PLANNER_HORIZON_MS)
            before = now_ms - PLANNER_HORIZON_MS;
        plan_after(entry, catch_up_start(entry, before, now_ms));
        entry->approved_until = now_ms;
        break;
    }
}

/* Deadlines were set by a clock that has been set back: nothing in the air waits longer than its
 * pause. */
static void clock_set_back(planner_t *self, int64_t now_ms)
{
    for (uint32_t i = 0; i < self->entries_n; i++) {
        entry_t *entry = &self->entries[i];
        if (entry->in_air && entry->wake_at > now_ms + entry->retry_ms) {
            entry->wake_at = now_ms + entry->retry_ms;
            settle(self, i);
        }
    }
}

void planner_due(planner_t *self, int64_t now_ms, planner_emit_t *emit, void *context)
{
    /* Small steps are the estimate settling; a pass over everything is for real ones. */
    if (self->now_ms != INT64_MIN && now_ms < self->now_ms - PLANNER_RETRY_MS)
        clock_set_back(self, now_ms);
    self->now_ms = now_ms;
    for (int i = 0; i < PLANNER_TURN_N && self->heap_n > 0;) {
        uint32_t index = self->heap[0];
        entry_t *entry = &self->entries[index];
        if (entry->wake_at > now_ms)
            break;
        if (!entry->in_air) {
            judge(entry, now_ms);
            if (entry->nominal_at > now_ms) {
                settle(self, index);
                continue;
            }
        }
        if (entry->in_air && entry->retry_ms < PLANNER_RETRY_MAX_MS)
            entry->retry_ms *= 2;
        entry->in_air = true;
        entry->wake_at = now_ms + entry->retry_ms;
        settle(self, index);
        planner_tick_t tick = {entry->name, entry->revision, entry->nominal_at,
                               entry->nominal_at <= entry->approved_until};
        emit(context, &tick);
        i++;
    }
}

bool planner_answer(planner_t *self, const char *schedule, int64_t nominal_at,
                    planner_answer_t answer)
{
    entry_t *entry = find(self, schedule);
    if (entry == NULL || !entry->in_air || entry->nominal_at != nominal_at)
        return false;
    if (answer == PLANNER_REFUSED) {
        /* Moving on would lose the tick if only the clocks disagreed; asking at once would be a
         * storm. */
        entry->retry_ms = PLANNER_RETRY_MAX_MS;
        entry->wake_at = self->now_ms + PLANNER_RETRY_MAX_MS;
    } else {
        plan_after(entry, nominal_at);
    }
    settle(self, (uint32_t)(entry - self->entries));
    return true;
}

int64_t planner_next_at(const planner_t *self)
{
    return self->heap_n > 0 ? self->entries[self->heap[0]].wake_at : INT64_MAX;
}

size_t planner_broken_n(const planner_t *self)
{
    return self->broken_n;
}

const char *planner_broken_text(const planner_t *self)
{
    return self->broken_text;
}
