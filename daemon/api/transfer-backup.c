/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* io.vaultd.Store.Backup: a copy of one committed state, sealed, streamed to root's vaultctl.
 *
 * The thread makes chunks (store/backup.c) and waits until they are taken; the pump moves a few pieces in each turn of the loop, each as a
 * frame of the stream, and nothing while the last ones have not left. The state that is read pins pages: a backup that becomes
 * too dear for the store is ended, rather than the store's growth.
 *
 * Who may call: the control door. */

#include "api/transfer-internal.h"
#include "util/encode.h"

#define PIECES_A_TURN 4U
#define LOOK_USEC     (1 * USEC_PER_SEC)

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
                        if (waited >= TRANSFER_STALL_USEC)
                                return -ETIMEDOUT;
                }
                waited = 0;
                if (k < 0)
                        return k;
        }
        return r;
}

static void backup_pump(Transfer *t) {
        uint8_t piece[4 + TRANSFER_PIECE_MAX];
        int result;

        for (unsigned i = 0; t->stream && stream_pending(t->stream) == 0; i++) {
                size_t n;

                if (i == PIECES_A_TURN) {
                        conveyor_wake(t->conveyor);
                        return;
                }
                n = conveyor_take(t->conveyor, piece + 4, TRANSFER_PIECE_MAX);
                if (n == 0)
                        break;
                for (unsigned k = 0; k < 4; k++)
                        piece[k] = (uint8_t)(n >> (8 * k));
                if (stream_write(t->stream, piece, 4 + n) < 0)
                        return; /* transfer_on_closed() follows */
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
                transfer_record(stream_principal(t->stream), AUDIT_BACKED_UP, "done", NULL);
                transfer_tell(t, json_build("parameters", 'o',
                                                 json_build("records", 'i',
                                                                 (int64_t)backup_written(t->backup), NULL),
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

int transfer_method_backup(Call *call, json_object *parameters, void *userdata) {
        static const StreamHandler handler = { backup_on_bytes, NULL, backup_on_drained,
                transfer_on_closed };
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
                return transfer_refuse(call, FAILURE_LIMIT, "Try again when it has ended",
                                "a backup or restore is under way");
        (void)call_principal_with_audit(call);
        r = transfer_new(m, false, &t);
        if (r >= 0)
                r = backup_new(m->store, m->keyring, m->hostname, &t->backup);
        if (r == -ENOENT)
                return transfer_refuse(call, FAILURE_NOT_CONFIGURED, "Run: sudo vaultctl admin init",
                                "there is no recovery key yet, so nobody could open the backup");
        if (r == -EBUSY)
                return transfer_refuse(call, FAILURE_LIMIT, "Try again when it has ended",
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
        r = conveyor_new(m->event, TRANSFER_ROOM, backup_work, backup_on_wake, t, &t->conveyor);
        if (r < 0) {
                transfer_fail(t, r);
                return 0; /* answered; t goes */
        }
        (void)TAKE_PTR(t);
        return 0;
}
