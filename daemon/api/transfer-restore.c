/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* io.vaultd.Store.Restore: a store from a backup, all or nothing.
 *
 * A restore builds a file beside the database (store/restore.c). From the moment its caller has sent all, the store takes
 * no commits, so that none is acknowledged that the new file has not; then the file takes its place and the process ends, to be
 * started on the new one. Whatever fails before that leaves everything as it was.
 *
 * The first frame is the recovery key, the others are the backup, and an empty one says that this was all: an end without it is the
 * peer's breaking off.
 *
 * Who may call: the control door. */

#include <stdio.h>
#include <time.h>

#include "api/history.h"
#include "api/transfer-internal.h"
#include "store/recovery.h"
#include "util/encode.h"
#include "util/log.h"

#define FRAME_MAX    (1024U * 1024U)
#define KEY_TEXT_MAX 1024U

/* The former file is called by the time; of two within a second the other gets a number. */
static int restore_put_in_place(Transfer *t, Restore *restore) {
        size_t n = strlen(t->suffix);
        int r;

        if (!t->is_replacing)
                return restore_install(restore, NULL);
        r = restore_install(restore, t->suffix);
        for (unsigned i = 2; r == -EEXIST && i < 100; i++) {
                (void)snprintf(t->suffix + n, sizeof(t->suffix) - n, "-%u", i);
                r = restore_install(restore, t->suffix);
        }
        return r;
}

static int restore_work(Conveyor *c, void *userdata) {
        _cleanup_(restore_freep) Restore *restore = NULL;
        Transfer *t = userdata;
        uint8_t piece[TRANSFER_PIECE_MAX];
        ssize_t n;
        int r;

        r = restore_new(&t->options, &restore);
        while (r >= 0) {
                n = conveyor_get(c, piece, sizeof(piece), TRANSFER_STALL_USEC);
                if (n <= 0) {
                        r = (int)n;
                        break;
                }
                r = restore_feed(restore, piece, (size_t)n);
        }
        if (r >= 0)
                r = restore_finish(restore, t->least_sequence, &t->result);
        if (r >= 0)
                r = restore_put_in_place(t, restore);
        seal_thread_end();
        return r;
}

static json_object *result_message(const Transfer *t) {
        const RestoreResult *r = &t->result;
        _cleanup_(freep) char *head = hex_encode(r->header.chain.head, sizeof(r->header.chain.head)),
                              *host = printable(r->header.host, 64), *kept = NULL;

        if (t->is_replacing && asprintf(&kept, "vaultd.mdb.%s", t->suffix) < 0)
                kept = NULL;
        return json_build("parameters", 'o',
                        json_build("host", 's', host, "created", 'i', (int64_t)r->header.created_usec,
                                        "sequence", 'i', (int64_t)r->header.chain.sequence, "head", 's',
                                        head, "records", 'i', (int64_t)r->n_records, "vaults", 'i',
                                        (int64_t)r->n_vaults, "credentials", 'i', (int64_t)r->n_credentials,
                                        "damaged", 'i', (int64_t)r->n_damaged, "needsReconnect", 'b',
                                        r->needs_reconnect, "kept", 's', kept, NULL),
                        NULL);
}

/* The thread has ended, or has room. */
static void restore_on_wake(void *userdata) {
        Transfer *t = userdata;
        Manager *m = t->manager;
        int result;

        if (!conveyor_has_ended(t->conveyor, &result)) {
                if (t->is_paused && t->stream && !conveyor_is_full(t->conveyor)) {
                        t->is_paused = false;
                        stream_resume(t->stream);
                }
                return;
        }
        if (result < 0) {
                store_set_frozen(m->store, false);
                transfer_fail(t, result);
                (void)transfer_free(t);
                return;
        }
        t->has_told = true;
        if (t->stream)
                transfer_record(stream_principal(t->stream), AUDIT_RESTORED, "done",
                                t->result.needs_reconnect ? "credentials start as needs-reconnect" : NULL);
        log_notice("the store was restored from a backup of %llu records; starting anew",
                        (unsigned long long)t->result.n_records);
        transfer_tell(t, result_message(t));
        /* The store stays frozen, and the transfer where it is, until the process has ended: nothing is to be served from the old file. */
        manager_restart(m);
}

static int visit_any(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        return 1;
}

static bool store_is_empty(Store *s) {
        return store_foreach(s, RECORD_VAULT, UID_INVALID, visit_any, NULL) == 0 &&
               store_foreach(s, RECORD_ASIDE, UID_INVALID, visit_any, NULL) == 0;
}

/* All has been sent. From here on nothing else is written, so what is true of the store now stays true. */
static int restore_all_sent(Transfer *t) {
        Manager *m = t->manager;
        StoreChain chain, known;
        int r;

        store_set_frozen(m->store, true);
        if (!t->is_replacing && !store_is_empty(m->store))
                return -EBUSY;
        r = store_chain(m->store, &chain);
        if (r < 0)
                return r;
        /* With what is still on its way. */
        t->least_sequence = chain.sequence + 1024;
        if (history_known(m->history, &known) == HISTORY_KNOWN)
                t->least_sequence = MAX(t->least_sequence, known.sequence);
        if (history_is_behind(m->history, &known))
                t->least_sequence = MAX(t->least_sequence, known.sequence);
        history_hold(m->history);
        conveyor_give_end(t->conveyor);
        return 0;
}

static int restore_start(Transfer *t) {
        Manager *m = t->manager;
        int r;

        r = recovery_parse(secret_text(t->key_text), t->key_size, &t->private);
        t->key_text = secret_free(t->key_text);
        if (r < 0)
                return r;
        t->options.private = t->private;
        t->options.keys = t->keys;
        return conveyor_new(m->event, TRANSFER_ROOM, restore_work, restore_on_wake, t, &t->conveyor);
}

/* The bytes of the first frame, which are a secret. */
static int take_key(Transfer *t, const uint8_t *bytes, size_t n) {
        if (t->key_size + n > KEY_TEXT_MAX)
                return -EINVAL;
        memcpy(t->key_text->bytes + t->key_size, bytes, n);
        t->key_size += n;
        t->key_text->bytes[t->key_size] = 0;
        /* They lie in a buffer that the connections share. */
        erase((void *)bytes, n);
        return 0;
}

/* Takes what belongs to one frame. The number of bytes, or -errno. */
static ssize_t take_frame(Transfer *t, const uint8_t *bytes, size_t n) {
        Frames *f = &t->frames;
        int r;

        if (f->has_end)
                return -EBADMSG;
        if (f->n_head < 4) {
                f->head[f->n_head++] = bytes[0];
                if (f->n_head < 4)
                        return 1;
                f->left = (uint32_t)f->head[0] | (uint32_t)f->head[1] << 8 | (uint32_t)f->head[2] << 16 |
                          (uint32_t)f->head[3] << 24;
                if (f->left > FRAME_MAX)
                        return -EBADMSG;
                if (f->left > 0)
                        return 1;
                f->has_end = true;
                r = f->has_key ? restore_all_sent(t) : -EBADMSG;
                return r < 0 ? r : 1;
        }
        n = MIN(n, (size_t)f->left);
        r = f->has_key ? conveyor_give(t->conveyor, bytes, n) : take_key(t, bytes, n);
        if (r < 0)
                return r;
        f->left -= (uint32_t)n;
        if (f->left > 0)
                return (ssize_t)n;
        f->n_head = 0;
        if (!f->has_key) {
                f->has_key = true;
                r = restore_start(t);
        }
        return r < 0 ? r : (ssize_t)n;
}

static void restore_fail(Transfer *t, int error) {
        if (!t->frames.has_key || !t->conveyor) {
                /* The key could not be read: that it is none is said in other words than that the file is none. */
                if (error == -EINVAL && !t->has_told) {
                        t->has_told = true;
                        transfer_tell(t, transfer_failure_message("the recovery key is mistyped: its "
                                                                  "checksum does not fit",
                                                         "Type it once more; it begins with VR1-"));
                }
        }
        store_set_frozen(t->manager->store, false);
        transfer_fail(t, error);
        if (!t->conveyor) {
                (void)transfer_free(t);
                return;
        }
        conveyor_cancel(t->conveyor);
        conveyor_wake(t->conveyor);
}

static void restore_on_bytes(Stream *stream, const uint8_t *bytes, size_t n, void *userdata) {
        Transfer *t = userdata;

        while (n > 0) {
                ssize_t k = take_frame(t, bytes, n);

                if (k < 0) {
                        restore_fail(t, (int)k);
                        return;
                }
                bytes += k;
                n -= (size_t)k;
        }
        if (t->conveyor && conveyor_is_full(t->conveyor)) {
                t->is_paused = true;
                stream_pause(stream);
                conveyor_wake(t->conveyor);
        }
}

/* An end without the frame that says so is the peer's breaking off. */
static void restore_on_end(Stream *stream, void *userdata) {
        Transfer *t = userdata;

        if (!t->frames.has_end)
                restore_fail(t, -ECANCELED);
}

static int read_head(const char *text, StoreChain *ret) {
        *ret = (StoreChain){};
        return strlen(text) == 64 ? hex_decode(text, ret->head, sizeof(ret->head)) : -EINVAL;
}

static int restore_options(Transfer *t, const char *head) {
        Manager *m = t->manager;
        RestoreOptions *o = &t->options;
        time_t now = time(NULL);
        struct tm tm;
        int r;

        o->dir = m->state_dir;
        o->map_size = m->config->map_size;
        if (head) {
                o->has_head = true;
                r = read_head(head, &o->head);
                if (r < 0)
                        return r;
        } else if (!history_is_behind(m->history, &o->head))
                o->has_head = history_known(m->history, &o->head) == HISTORY_KNOWN;
        else
                o->has_head = true;
        (void)gmtime_r(&now, &tm);
        (void)strftime(t->suffix, sizeof(t->suffix), "%Y%m%dT%H%M%SZ", &tm);
        r = recovery_record_read(m->store, m->keyring, o->recovery_public, &o->recovery_created_usec);
        o->has_recovery = r >= 0;
        r = keyring_export(m->keyring, &t->keys);
        return r < 0 ? r : secret_new_random(KEY_TEXT_MAX, &t->key_text);
}

int transfer_method_restore(Call *call, json_object *parameters, void *userdata) {
        static const StreamHandler handler = { restore_on_bytes, restore_on_end, NULL, transfer_on_closed };
        struct RestoreParameters {
                bool replace;
                const char *head;
        } p = {};
        static const JsonField fields[] = {
                { "replace", JSON_FIELD_BOOL, offsetof(struct RestoreParameters, replace), false },
                { "head", JSON_FIELD_STRING, offsetof(struct RestoreParameters, head), false, 64 },
                {},
        };
        _cleanup_(transfer_freep) Transfer *t = NULL;
        Manager *m = userdata;
        const char *bad;
        int r;

        if (json_dispatch(parameters, fields, &p, &bad) < 0)
                return call_invalid_parameter(call, bad);
        if (m->transfer)
                return transfer_refuse(call, FAILURE_LIMIT, "Try again when it has ended",
                                "a backup or restore is under way");
        if (!p.replace && !store_is_empty(m->store))
                return transfer_refuse(call, FAILURE_NOT_ALLOWED,
                                "Say --replace to keep its file aside and restore all the same",
                                "this store has vaults");
        (void)call_principal_with_audit(call);
        r = transfer_new(m, true, &t);
        if (r < 0)
                return r;
        t->is_replacing = p.replace;
        r = restore_options(t, p.head);
        if (r == -EINVAL || r == -EBADMSG)
                return call_invalid_parameter(call, "head");
        if (r == -EBUSY)
                return transfer_refuse(call, FAILURE_LIMIT, "Try again when it has ended",
                                "the keys are being changed");
        if (r < 0)
                return r;
        r = call_upgrade(call, NULL, &handler, t, &t->stream);
        if (r < 0)
                return r == -EPIPE ? 0 : r;
        m->transfer = TAKE_PTR(t);
        return 0;
}
