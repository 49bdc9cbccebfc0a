/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The store's history in the journal.
 *
 * Whoever puts an old copy of the database back brings back connections that were cut, opens vaults that were locked, and makes a
 * refresh token be used twice. The copy is whole, so nothing in it tells. So the end of the chain goes to the journal as well: at the
 * start, at the stop, and after changes at most once a second. A line is written after its commit is durable, so the
 * store can be ahead of the journal and never behind it.
 *
 * The daemon does not read the journal, which holds what is none of its business: a small unit that runs before it, also
 * after a crash, asks for the newest line that this service wrote and leaves it in /run. That it was this service is the journal's own
 * word (_SYSTEMD_UNIT=); a message id alone anybody can log. What nobody knows of is not held against the store: a
 * journal that forgets (it rotates, or is kept in memory) takes this check with it, and doctor says so. Root, who can
 * put back both, is not found out.
 *
 * A store that is behind is noted so in itself, since the next commits move its number on; and it writes no lines until
 * somebody has accepted it, or its own newer line would hide the difference at the next start.
 *
 * Who may call: the manager, the methods; the loop's thread. */

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "api/history.h"
#include "util/clock.h"
#include "util/encode.h"
#include "util/log.h"

#define MESSAGE_HISTORY "4100a212d16543c69e3a293222cf6b48"
#define MESSAGE_BEHIND  "1a4f387abec94be0ab032fb5367eb36c"

#define EVERY_USEC (1 * USEC_PER_SEC)
#define LINE_MAX   256U

struct History {
        sd_event *event;
        sd_event_source *timer;
        Store *store;
        HistoryKnowledge knowledge;
        StoreChain known;
        StoreChain newest; /* what it is behind of */
        bool is_behind, is_held;
        bool is_written; /* at least once */
        uint64_t written_sequence;
        uint64_t written_usec; /* CLOCK_MONOTONIC */
};

/* "NUMBER HEX", and a line's end. */
static int parse(const char *text, StoreChain *ret) {
        StoreChain chain = {};
        char hex[65] = {};
        int n = -1;

        if (sscanf(text, "%20" SCNu64 " %64[0-9a-f] %n", &chain.sequence, hex, &n) != 2 || n < 0 ||
                        text[n] || text[0] < '0' || text[0] > '9' || strlen(hex) != 64 ||
                        hex_decode(hex, chain.head, sizeof(chain.head)) < 0)
                return -EBADMSG;
        *ret = chain;
        return 0;
}

static HistoryKnowledge known_read(const char *path, bool is_trusting_owner, StoreChain *ret) {
        _cleanup_(closep) int fd =
                        path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW) : -1;
        char text[LINE_MAX + 1] = {};
        struct stat st;
        ssize_t n;

        if (fd < 0)
                return !path || errno == ENOENT ? HISTORY_NOT_ASKED : HISTORY_UNREADABLE;
        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (st.st_mode & 022) != 0 ||
                        (st.st_uid != 0 && !(is_trusting_owner && st.st_uid == geteuid())))
                return HISTORY_UNREADABLE;
        n = read(fd, text, LINE_MAX);
        if (n < 0)
                return HISTORY_UNREADABLE;
        if (n == 0)
                return HISTORY_NOTHING;
        return parse(text, ret) < 0 ? HISTORY_UNREADABLE : HISTORY_KNOWN;
}

static void log_chain(const char *id, int level, const StoreChain *chain, const char *text) {
        _cleanup_(freep) char *hex = hex_encode(chain->head, sizeof(chain->head));
        char value[LINE_MAX];

        if (!hex)
                return;
        (void)snprintf(value, sizeof(value), "%" PRIu64 " %s", chain->sequence, hex);
        const LogField fields[] = { { "MESSAGE_ID", id }, { "VAULTD_CHAIN", value } };
        log_full(level, fields, ELEMENTSOF(fields), "%s%s", text, value);
}

/* Writes the line, unless it was written or is not to be. */
static void history_write(History *h) {
        StoreChain chain;

        if (h->is_behind || h->is_held || store_chain(h->store, &chain) < 0)
                return;
        if (h->is_written && chain.sequence == h->written_sequence)
                return;
        log_chain(MESSAGE_HISTORY, LOG_NOTICE, &chain, "the store stands at ");
        h->is_written = true;
        h->written_sequence = chain.sequence;
        h->written_usec = now_monotonic();
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata) {
        history_write(userdata);
        return 0;
}

static void on_changed(void *userdata) {
        History *h = userdata;
        uint64_t now = now_monotonic();
        int enabled;

        if (h->is_behind || h->is_held)
                return;
        if (now - h->written_usec >= EVERY_USEC) {
                history_write(h);
                return;
        }
        if (sd_event_source_get_enabled(h->timer, &enabled) < 0 || enabled != SD_EVENT_OFF)
                return;
        (void)sd_event_source_set_time(h->timer, h->written_usec + EVERY_USEC);
        (void)sd_event_source_set_enabled(h->timer, SD_EVENT_ONESHOT);
}

static void on_noted(int result, void *userdata) {
        if (result != 0)
                log_error("that the store is an older one could not be noted in it: %s",
                                result < 0 ? strerror(-result) : "it was changed");
}

/* Somebody put it there, or it came with a disk that lies. Found anew, or noted at an earlier start. */
static int history_compare(History *h) {
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        StoreChain chain, noted;
        bool is_older;
        int r;

        r = store_chain(h->store, &chain);
        if (r < 0)
                return r;
        is_older = h->knowledge == HISTORY_KNOWN &&
                   (h->known.sequence > chain.sequence ||
                                   (h->known.sequence == chain.sequence &&
                                                   memcmp(h->known.head, chain.head, sizeof(chain.head)) !=
                                                                   0));
        r = store_behind(h->store, &noted);
        if (r < 0 && r != -ENOENT)
                return r;
        h->is_behind = is_older || r >= 0;
        if (!h->is_behind)
                return 0;
        h->newest = is_older && (r < 0 || h->known.sequence > noted.sequence) ? h->known : noted;
        log_chain(MESSAGE_BEHIND, LOG_CRIT, &h->newest,
                        "the database is older than the newest one that the journal knows of; no vault is "
                        "opened. "
                        "Run: vaultctl admin accept-store. The newest: ");
        if (r >= 0 && noted.sequence == h->newest.sequence)
                return 0;
        r = store_batch_new(&batch);
        if (r >= 0)
                r = store_batch_put_behind(batch, &h->newest);
        return r < 0 ? r : store_commit_async(h->store, TAKE_PTR(batch), on_noted, NULL);
}

int history_new(sd_event *event, Store *store, const char *known_file, bool is_trusting_owner,
                History **ret) {
        _cleanup_(history_freep) History *h = calloc(1, sizeof(History));
        int r;

        if (!h)
                return -ENOMEM;
        h->event = sd_event_ref(event);
        h->knowledge = known_read(known_file, is_trusting_owner, &h->known);
        if (h->knowledge == HISTORY_UNREADABLE)
                log_warning("what the journal knows of the store cannot be read from %s", known_file);
        r = sd_event_add_time(event, &h->timer, CLOCK_MONOTONIC, 0, 0, on_time, h);
        if (r >= 0)
                r = sd_event_source_set_enabled(h->timer, SD_EVENT_OFF);
        if (r < 0)
                return r;
        h->store = store;
        r = history_compare(h);
        if (r < 0)
                return r;
        store_watch(store, on_changed, h);
        history_write(h);
        *ret = TAKE_PTR(h);
        return 0;
}

History *history_free(History *h) {
        if (!h)
                return NULL;
        if (h->store) {
                store_watch(h->store, NULL, NULL);
                history_write(h);
        }
        (void)sd_event_source_disable_unref(h->timer);
        sd_event_unref(h->event);
        free(h);
        return NULL;
}

bool history_is_behind(const History *h, StoreChain *ret_newest) {
        if (h->is_behind && ret_newest)
                *ret_newest = h->newest;
        return h->is_behind;
}

HistoryKnowledge history_known(const History *h, StoreChain *ret) {
        if (h->knowledge == HISTORY_KNOWN)
                *ret = h->known;
        return h->knowledge;
}

void history_hold(History *h) {
        h->is_held = true;
}
