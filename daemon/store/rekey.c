/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Rekeying: another key-encryption key and another data key for every vault, while the store serves.
 *
 *   prepare   the old key, sealed under the new one, is noted in the store. A process with either key opens everything.
 *   (root puts the new key in the place of the old one)
 *   begin     one commit: the note of the key in force names the new one. A process with the old key refuses to start.
 *   run       vault after vault, each in one commit: a new data key, every record sealed under it anew.
 *   end       the note of the old key is deleted. Whoever has the old key opens nothing any more.
 *
 * What a crash leaves is decided by the two notes alone (rekey-note.c). A vault is done when the key in force wraps its data key, so a run
 * may be broken off anywhere and begun again. What is read for a vault and what is written is the same state
 * (store_exclusive(), rekey-seal.c), and who has read the vault before and writes after gets STORE_CONFLICT
 * (vault_expect_key()). So no record is left behind under a key that is gone.
 *
 * A record that does not open stops the run, since after the end nothing could mend it. rekey_check() finds it before.
 *
 * Who may call: the loop's thread; all but rekey_open() on a fiber. */

#include "store/recovery.h"
#include "store/rekey-internal.h"
#include "util/clock.h"

#define CHUNK_VAULTS 16U
#define DEFER_USEC   (UINT64_C(180) * USEC_PER_SEC)
#define DEFER_STEP   (100 * USEC_PER_MSEC)

int rekey_prepare(Store *s, Keyring *k, const Secret *kek, Keyring **ret_next) {
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        _cleanup_(keyring_freep) Keyring *next = NULL;
        uint8_t ours[KEYRING_ID_SIZE], theirs[KEYRING_ID_SIZE];
        int r;

        if (keyring_has_previous(k))
                return -EALREADY;
        r = keyring_new(kek, &next);
        if (r < 0)
                return r;
        keyring_id(k, ours);
        keyring_id(next, theirs);
        if (memcmp(ours, theirs, sizeof(ours)) == 0)
                return -EINVAL;
        r = store_batch_new(&batch);
        if (r >= 0)
                r = rekey_note_put(s, batch, k, next);
        if (r >= 0)
                r = store_commit(s, TAKE_PTR(batch));
        if (r < 0)
                return r;
        *ret_next = TAKE_PTR(next);
        return 0;
}

static void on_committed(int result, void *userdata) {
        RekeyPending *p = userdata;

        if (result != 0 && p->result == 0)
                p->result = result == STORE_CONFLICT
                                            ? -EIO
                                            : result; /* nobody could write between our reading and this */
        if (--p->n == 0)
                fiber_resume(p->fiber, 0);
}

int rekey_pending_commit(Store *s, RekeyPending *p, StoreBatch *taken) {
        int r = store_commit_async(s, taken, on_committed, p);

        p->n += r >= 0;
        return r;
}

int rekey_pending_wait(RekeyPending *p, int r) {
        while (p->n > 0)
                (void)fiber_suspend_uncancellable();
        return r < 0 ? r : p->result;
}

typedef struct Begin {
        Store *store;
        Keyring *keyring, *next;
        RekeyPending pending;
} Begin;

/* The recovery key's digest is of the key in force, too. One that is damaged is left to be found. */
static int begin_batch(Begin *begin, StoreBatch *b) {
        uint8_t public[RECOVERY_KEY_SIZE];
        uint64_t created;
        int r;

        r = recovery_record_read(begin->store, begin->keyring, public, &created);
        if (r >= 0)
                r = recovery_record_put(b, begin->next, public, created);
        if (r < 0 && r != -ENOENT && r != -EBADMSG)
                return r;
        return rekey_key_note_put(b, begin->next);
}

static int begin_now(void *userdata) {
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        Begin *begin = userdata;
        int r;

        r = store_batch_new(&batch);
        if (r >= 0)
                r = begin_batch(begin, batch);
        return r < 0 ? r : rekey_pending_commit(begin->store, &begin->pending, TAKE_PTR(batch));
}

int rekey_begin(Store *s, Keyring *k, Keyring **next) {
        Begin begin = { s, k, *next, { .fiber = fiber_current() } };
        int r;

        r = store_exclusive(s, begin_now, &begin);
        r = rekey_pending_wait(&begin.pending, r);
        if (r < 0)
                return r;
        keyring_become(k, TAKE_PTR(*next));
        return 0;
}

static int chunk_run(RekeyChunk *chunk, int (*function)(void *userdata)) {
        int r;

        chunk->pending = (RekeyPending){ .fiber = fiber_current() };
        r = store_exclusive(chunk->store, function, chunk);
        return rekey_pending_wait(&chunk->pending, r);
}

/* Every vault once. */
static int pass_vaults(RekeyChunk *chunk, RekeyProgress progress, void *userdata) {
        _cleanup_(freep) uid_t *uids = NULL;
        size_t n = 0;
        int r;

        r = rekey_list_vaults(chunk->store, &uids, &n);
        for (size_t i = 0; i < n && r >= 0; i += chunk->n_uids) {
                chunk->uids = uids + i;
                chunk->n_uids = MIN(n - i, (size_t)CHUNK_VAULTS);
                r = chunk_run(chunk, rekey_vaults_now);
                if (r >= 0) /* what is ready goes first */
                        r = fiber_sleep(0);
                if (r >= 0 && progress)
                        progress(i + chunk->n_uids, n, userdata);
        }
        return r;
}

static int pass_rest(RekeyChunk *chunk) {
        uint64_t before;
        int r;

        do {
                before = chunk->n_changed;
                r = chunk_run(chunk, rekey_aside_now);
        } while (r >= 0 && chunk->n_changed > before);
        return r < 0 ? r : chunk_run(chunk, rekey_clients_now);
}

static int note_delete(Store *s) {
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        int r;

        r = store_batch_new(&batch);
        if (r >= 0)
                r = rekey_note_delete(batch);
        return r < 0 ? r : store_commit(s, TAKE_PTR(batch));
}

/* A process that was started between prepare and begin: the note still names the former key. */
static int ensure_begun(Store *s, Keyring *k) {
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        uint8_t public[RECOVERY_KEY_SIZE];
        uint64_t created;
        int r;

        r = rekey_key_note_check(s, k);
        if (r != 0)
                return r < 0 ? r : 0;
        r = store_batch_new(&batch);
        if (r >= 0)
                r = rekey_key_note_put(batch, k);
        if (r < 0)
                return r;
        r = recovery_record_read(s, k, public, &created);
        if (r >= 0)
                r = recovery_record_put(batch, k, public, created);
        if (r < 0 && r != -ENOENT && r != -EBADMSG)
                return r;
        return store_commit(s, TAKE_PTR(batch));
}

int rekey_run(Store *s, Keyring *k, RekeyProgress progress, void *userdata, uid_t *ret_uid) {
        uint64_t deadline = now_monotonic() + DEFER_USEC;
        RekeyChunk chunk = { .store = s, .keyring = k, .failed_uid = UID_INVALID };
        int r;

        if (!keyring_has_previous(k))
                return 0;
        r = ensure_begun(s, k);
        /* Until a pass finds nothing left to do: vaults may have been made in the instant when the key changed. */
        do {
                if (r >= 0 && chunk.n_deferred > 0)
                        r = fiber_sleep(DEFER_STEP);
                chunk.n_changed = chunk.n_deferred = 0;
                chunk.may_defer = now_monotonic() < deadline;
                if (r >= 0)
                        r = pass_vaults(&chunk, progress, userdata);
                if (r >= 0)
                        r = pass_rest(&chunk);
        } while (r >= 0 && (chunk.n_changed > 0 || chunk.n_deferred > 0));
        if (r >= 0)
                r = note_delete(s);
        if (r >= 0)
                keyring_forget_previous(k);
        if (r == -EBADMSG && ret_uid)
                *ret_uid = chunk.failed_uid;
        return r;
}
