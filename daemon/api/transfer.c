/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Backup and restore on an upgraded connection.
 *
 * The work (reading or writing gigabytes, sealing, waiting for the disk) is a thread's of its own; the loop only moves bytes
 * between its queue and the stream. Nobody can make it hold much: a backup's next bytes are made when the last ones
 * have left, and a restore's peer is not read from while its bytes wait. A peer that takes or sends nothing for a minute is given
 * up, since a backup in progress pins pages and a restore keeps everybody out.
 *
 * A restore builds a file beside the database (store/restore.c). From the moment its caller has sent all, the store takes
 * no commits, so that none is acknowledged that the new file has not; then the file takes its place and the process ends, to be
 * started on the new one. Whatever fails before that leaves everything as it was.
 *
 * Invariant: m->transfer is this while thread or stream live; whichever ends last frees it.
 *
 * Who may call: the methods, the gate, the manager. */

#include <stdio.h>
#include <time.h>

#include "api/history.h"
#include "api/transfer.h"
#include "ipc/stream.h"
#include "store/backup.h"
#include "store/restore.h"
#include "util/conveyor.h"
#include "util/encode.h"
#include "util/log.h"

#define PIECE_MAX     (32U * 1024U)
#define PIECES_A_TURN 4U
#define ROOM          (256U * 1024U)
#define FRAME_MAX     (1024U * 1024U)
#define KEY_TEXT_MAX  1024U
#define STALL_USEC    (60 * USEC_PER_SEC)
#define LOOK_USEC     (1 * USEC_PER_SEC)

/* Frames that come in: which byte of which frame is next. */
typedef struct Frames {
        uint8_t head[4];
        unsigned n_head;
        uint32_t left; /* of the frame's bytes */
        bool has_key, has_end;
} Frames;

struct Transfer {
        Manager *manager;
        Stream *stream; /* NULL: the peer is gone, or was told everything */
        Conveyor *conveyor;
        bool is_restore, has_told, is_paused;
        Backup *backup;
        /* Restore. What the thread reads is written before it starts, or before conveyor_give_end(). */
        Frames frames;
        Secret *key_text;
        size_t key_size;
        Secret *private;
        Secret *keys;
        RestoreOptions options;
        bool is_replacing;
        char suffix[32];
        uint64_t least_sequence;
        RestoreResult result; /* of the thread, once it has ended */
};

Transfer *transfer_free(Transfer *t) {
        if (!t)
                return NULL;
        if (t->manager->transfer == t)
                t->manager->transfer = NULL;
        (void)conveyor_free(t->conveyor);
        (void)backup_free(t->backup);
        (void)secret_free(t->key_text);
        (void)secret_free(t->private);
        (void)secret_free(t->keys);
        free(t);
        return NULL;
}
DEFINE_CLEANUP(Transfer *, transfer_free)

bool transfer_is_restore(const Transfer *t) {
        return t && t->is_restore;
}

static void record(const Principal *p, AuditKind kind, const char *verdict, const char *reason) {
        const AuditOrigin from = {
                .name = "root", .login_uid = p->login_uid, .audit_session = p->audit_session
        };

        audit_record(&(AuditEvent){ .kind = kind,
                        .uid = p->uid,
                        .verdict = verdict,
                        .reason = reason,
                        .pid = p->pid,
                        .origin = &from });
}

/* The last frame; takes message. Then the stream is the peer's to close. */
static void tell(Transfer *t, json_object *taken) {
        _cleanup_(json_putp) json_object *message = taken;
        const char *text = message ? json_text(message) : NULL;
        size_t n = text ? strlen(text) : 0;
        const uint8_t head[8] = { 0, 0, 0, 0, (uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n >> 16),
                (uint8_t)(n >> 24) };

        if (!t->stream)
                return;
        if (text && stream_write(t->stream, head, sizeof(head)) >= 0)
                (void)stream_write(t->stream, text, n);
        stream_close(TAKE_PTR(t->stream));
}

/* What ended it, for people. */
static const char *backup_words(int error, const char **ret_hint) {
        *ret_hint = NULL;
        switch (error) {
        case -EDQUOT:
                *ret_hint = "Write the backup to a faster place, at a quieter time";
                return "the backup was ended: the store grew too much while it was made";
        case -ETIMEDOUT:
                return "the backup was ended: nothing of it was taken for a minute";
        case -EIO:
                *ret_hint = "Run: journalctl -u vaultd";
                return "the store cannot be read as a whole";
        default:
                *ret_hint = "Run: journalctl -u vaultd";
                return "the backup could not be made";
        }
}

static const char *restore_words(int error, const char **ret_hint) {
        *ret_hint = NULL;
        switch (error) {
        case -EINVAL:
                return "this is no backup of vaultd";
        case -EPROTONOSUPPORT:
                *ret_hint = "Restore it with the vaultd that made it, or a newer one";
                return "the backup is of another version of vaultd, which this one does not read";
        case -EKEYREJECTED:
                *ret_hint = "Try the recovery key that was valid when the backup was made";
                return "the backup is sealed to another recovery key";
        case -EBADMSG:
                *ret_hint = "Try another copy of the file";
                return "the backup is damaged: a part of it is missing, changed or of another file";
        case -ENOSPC:
                *ret_hint = "Make room, or raise [Store] MapSize= in /etc/vaultd/vaultd.conf";
                return "the disk or the map is too small for what is in the backup";
        case -ETIMEDOUT:
                return "the restore was ended: nothing came for a minute";
        case -EBUSY:
                *ret_hint = "Say --replace to keep its file aside and restore all the same";
                return "this store has vaults";
        default:
                *ret_hint = "Run: journalctl -u vaultd";
                return "the backup could not be restored";
        }
}

static json_object *failure_message(const char *text, const char *hint) {
        return json_build("error", 's', "io.vaultd.Store.BackupFailed", "parameters", 'o',
                        json_build("message", 's', text, "hint", 's', hint, NULL), NULL);
}

/* Tells the peer and records. */
static void transfer_fail(Transfer *t, int error) {
        const char *hint, *text = t->is_restore ? restore_words(error, &hint) : backup_words(error, &hint);

        if (t->has_told)
                return;
        t->has_told = true;
        if (error == -ECANCELED)
                text = "the other side has left";
        if (t->stream)
                record(stream_principal(t->stream), t->is_restore ? AUDIT_RESTORED : AUDIT_BACKED_UP,
                                "failed", text);
        log_warning("%s: %s", text, strerror(-error));
        tell(t, failure_message(text, hint));
}

/* The peer is gone. */
static void on_closed(Stream *stream, int error, void *userdata) {
        Transfer *t = userdata;

        if (!t->has_told)
                log_notice("%s was ended: the other side has left",
                                t->is_restore ? "a restore" : "a backup");
        t->has_told = true;
        t->stream = NULL;
        if (!t->conveyor) {
                (void)transfer_free(t);
                return;
        }
        /* The thread's end frees it. */
        conveyor_cancel(t->conveyor);
        conveyor_wake(t->conveyor);
}

/* Backup */

static int backup_work(Conveyor *c, void *userdata) {
        Transfer *t = userdata;
        uint64_t waited = 0;
        int r = 1, k;

        while (r == 1) {
                _cleanup_(buffer_done) Buffer piece = {};

                r = backup_next(t->backup, &piece);
                if (r < 0 || piece.size == 0)
                        continue;
                while ((k = conveyor_put(c, piece.bytes, piece.size, LOOK_USEC)) == -ETIMEDOUT) {
                        waited += LOOK_USEC;
                        if (backup_is_too_dear(t->backup))
                                return -EDQUOT;
                        if (waited >= STALL_USEC)
                                return -ETIMEDOUT;
                }
                waited = 0;
                if (k < 0)
                        return k;
        }
        return r;
}

static void backup_pump(Transfer *t) {
        uint8_t piece[4 + PIECE_MAX];
        int result;

        for (unsigned i = 0; t->stream && stream_pending(t->stream) == 0; i++) {
                size_t n;

                if (i == PIECES_A_TURN) {
                        conveyor_wake(t->conveyor);
                        return;
                }
                n = conveyor_take(t->conveyor, piece + 4, PIECE_MAX);
                if (n == 0)
                        break;
                for (unsigned k = 0; k < 4; k++)
                        piece[k] = (uint8_t)(n >> (8 * k));
                if (stream_write(t->stream, piece, 4 + n) < 0)
                        return; /* on_closed() follows */
        }
        /* A peer that is gone takes nothing of what waits, and the thread may have ended before. */
        while (!t->stream && conveyor_take(t->conveyor, piece, sizeof(piece)) > 0)
                ;
        if (!conveyor_has_ended(t->conveyor, &result))
                return;
        if (result < 0)
                transfer_fail(t, result);
        else if (t->stream) {
                t->has_told = true;
                record(stream_principal(t->stream), AUDIT_BACKED_UP, "done", NULL);
                tell(t, json_build("parameters", 'o',
                                        json_build("records", 'i', (int64_t)backup_written(t->backup), NULL),
                                        NULL));
        }
        (void)transfer_free(t);
}

static void backup_on_wake(void *userdata) {
        backup_pump(userdata);
}

static void backup_on_drained(Stream *stream, void *userdata) {
        Transfer *t = userdata;

        /* Not from here: the pump may close the stream. */
        if (t->conveyor)
                conveyor_wake(t->conveyor);
}

static void backup_on_bytes(Stream *stream, const uint8_t *bytes, size_t n, void *userdata) {
        /* Nothing is to be said on this side. */
}

static int refuse(Call *call, FailureKind kind, const char *hint, const char *text) {
        Failure failure = {};
        int r = failure_set(&failure, kind, hint, "%s", text);

        if (r == FAILED)
                r = manager_reply_failure(call, &failure);
        failure_done(&failure);
        return r;
}

static int transfer_new(Manager *m, bool is_restore, Transfer **ret) {
        Transfer *t = calloc(1, sizeof(Transfer));

        if (!t)
                return -ENOMEM;
        t->manager = m;
        t->is_restore = is_restore;
        *ret = t;
        return 0;
}

int transfer_method_backup(Call *call, json_object *parameters, void *userdata) {
        static const StreamHandler handler = { backup_on_bytes, NULL, backup_on_drained, on_closed };
        static const JsonField fields[] = { {} };
        _cleanup_(transfer_freep) Transfer *t = NULL;
        _cleanup_(freep) char *head = NULL;
        const BackupHeader *h;
        Manager *m = userdata;
        const char *bad;
        int r;

        if (json_dispatch(parameters, fields, &(char){ 0 }, &bad) < 0)
                return call_invalid_parameter(call, bad);
        if (m->transfer)
                return refuse(call, FAILURE_LIMIT, "Try again when it has ended",
                                "a backup or restore is under way");
        (void)call_principal_with_audit(call);
        r = transfer_new(m, false, &t);
        if (r >= 0)
                r = backup_new(m->store, m->keyring, m->hostname, &t->backup);
        if (r == -ENOENT)
                return refuse(call, FAILURE_NOT_CONFIGURED, "Run: sudo vaultctl admin init",
                                "there is no recovery key yet, so nobody could open the backup");
        if (r == -EBUSY)
                return refuse(call, FAILURE_LIMIT, "Try again when it has ended",
                                "the keys are being changed");
        if (r < 0)
                return r;
        h = backup_header(t->backup);
        head = hex_encode(h->chain.head, sizeof(h->chain.head));
        if (!head)
                return -ENOMEM;
        r = call_upgrade(call,
                        json_build("host", 's', h->host, "created", 'i', (int64_t)h->created_usec,
                                        "sequence", 'i', (int64_t)h->chain.sequence, "head", 's', head,
                                        "records", 'i', (int64_t)backup_total(t->backup), NULL),
                        &handler, t, &t->stream);
        if (r < 0)
                return r == -EPIPE ? 0 : r;
        m->transfer = t;
        r = conveyor_new(m->event, ROOM, backup_work, backup_on_wake, t, &t->conveyor);
        if (r < 0) {
                transfer_fail(t, r);
                return 0; /* answered; t goes */
        }
        (void)TAKE_PTR(t);
        return 0;
}

/* Restore */

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
        uint8_t piece[PIECE_MAX];
        ssize_t n;
        int r;

        r = restore_new(&t->options, &restore);
        while (r >= 0) {
                n = conveyor_get(c, piece, sizeof(piece), STALL_USEC);
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
                record(stream_principal(t->stream), AUDIT_RESTORED, "done",
                                t->result.needs_reconnect ? "credentials start as needs-reconnect" : NULL);
        log_notice("the store was restored from a backup of %llu records; starting anew",
                        (unsigned long long)t->result.n_records);
        tell(t, result_message(t));
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
        return conveyor_new(m->event, ROOM, restore_work, restore_on_wake, t, &t->conveyor);
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
                        tell(t, failure_message("the recovery key is mistyped: its checksum does not fit",
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
        static const StreamHandler handler = { restore_on_bytes, restore_on_end, NULL, on_closed };
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
                return refuse(call, FAILURE_LIMIT, "Try again when it has ended",
                                "a backup or restore is under way");
        if (!p.replace && !store_is_empty(m->store))
                return refuse(call, FAILURE_NOT_ALLOWED,
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
                return refuse(call, FAILURE_LIMIT, "Try again when it has ended",
                                "the keys are being changed");
        if (r < 0)
                return r;
        r = call_upgrade(call, NULL, &handler, t, &t->stream);
        if (r < 0)
                return r == -EPIPE ? 0 : r;
        m->transfer = TAKE_PTR(t);
        return 0;
}
