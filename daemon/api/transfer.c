/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Backup and restore on an upgraded connection: what both have in common.
 *
 * The work (reading or writing gigabytes, sealing, waiting for the disk) is a thread's of its own; the loop only moves bytes
 * between its queue and the stream. Nobody can make it hold much: a backup's next bytes are made when the last ones
 * have left, and a restore's peer is not read from while its bytes wait. A peer that takes or sends nothing for a minute is given
 * up, since a backup in progress pins pages and a restore keeps everybody out.
 *
 * Invariant: m->transfer is this while thread or stream live; whichever ends last frees it.
 *
 * Who may call: transfer-backup.c, transfer-restore.c; the gate and the manager what transfer.h has. */

#include "api/transfer-internal.h"
#include "util/log.h"

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

bool transfer_is_restore(const Transfer *t) {
        return t && t->is_restore;
}

void transfer_record(const Principal *p, AuditKind kind, const char *verdict, const char *reason) {
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

void transfer_tell(Transfer *t, json_object *taken) {
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

json_object *transfer_failure_message(const char *text, const char *hint) {
        return json_build("error", 's', "io.vaultd.Store.BackupFailed", "parameters", 'o',
                        json_build("message", 's', text, "hint", 's', hint, NULL), NULL);
}

void transfer_fail(Transfer *t, int error) {
        const char *hint, *text = t->is_restore ? restore_words(error, &hint) : backup_words(error, &hint);

        if (t->has_told)
                return;
        t->has_told = true;
        if (error == -ECANCELED)
                text = "the other side has left";
        if (t->stream)
                transfer_record(stream_principal(t->stream),
                                t->is_restore ? AUDIT_RESTORED : AUDIT_BACKED_UP, "failed", text);
        log_warning("%s: %s", text, strerror(-error));
        transfer_tell(t, transfer_failure_message(text, hint));
}

void transfer_on_closed(Stream *stream, int error, void *userdata) {
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

int transfer_refuse(Call *call, FailureKind kind, const char *hint, const char *text) {
        Failure failure = {};
        int r = failure_set(&failure, kind, hint, "%s", text);

        if (r == FAILED)
                r = manager_reply_failure(call, &failure);
        failure_done(&failure);
        return r;
}

int transfer_new(Manager *m, bool is_restore, Transfer **ret) {
        Transfer *t = calloc(1, sizeof(Transfer));

        if (!t)
                return -ENOMEM;
        t->manager = m;
        t->is_restore = is_restore;
        *ret = t;
        return 0;
}
