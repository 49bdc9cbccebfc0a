/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* io.vaultd.Admin, the part about changing all keys (store/rekey.c does it).
 *
 * vaultd cannot write the file that it gets its key from, so root's vaultctl does, between two calls: PrepareRekey announces the
 * new key, root puts it in the place of the old one, Rekey begins. From there on it is vaultd's own work: it goes on when
 * the caller leaves, and after a crash when vaultd is started again.
 *
 * The new key comes in one parameter over the control socket, which root alone can open, and is overwritten where it was read.
 *
 * Who may call: root, by the gate. */

#include "api/admin.h"
#include "store/rekey.h"
#include "store/scrub.h"
#include "util/encode.h"
#include "util/fiber.h"
#include "util/log.h"

#define TELL_EVERY (200 * USEC_PER_MSEC)

static void on_progress(uint64_t n_done, uint64_t n_total, void *userdata) {
        RekeyState *state = userdata;

        state->n_done = n_done;
        state->n_total = n_total;
}

static int rekey_fiber(void *userdata) {
        Manager *m = userdata;
        int r;

        m->rekey.failed_uid = UID_INVALID;
        r = rekey_run(m->store, m->keyring, on_progress, &m->rekey, &m->rekey.failed_uid);
        if (r < 0)
                return r;
        audit_record(&(AuditEvent){ .kind = AUDIT_REKEY_DONE, .uid = 0, .user = "root", .verdict = "done" });
        /* What the former keys opened lies in free pages still. */
        r = store_scrub(m->store, m->event);
        if (r < 0 && r != -ECANCELED)
                log_warning("all keys are changed, but the store's file could not be gone through to erase "
                            "what is left: %s",
                                strerror(-r));
        return r < 0 ? 1 : 0;
}

static void rekey_done(int result, void *userdata) {
        Manager *m = userdata;

        m->rekey.is_running = false;
        m->rekey.result = result;
        if (result < 0 && result != -ECANCELED)
                log_error("changing the keys stopped half-way: %s; vaultctl admin rekey goes on with it",
                                strerror(-result));
}

int manager_start_rekey(Manager *m) {
        int r;

        if (m->rekey.is_running)
                return 0;
        m->rekey.n_done = m->rekey.n_total = 0;
        r = fiber_spawn(m->event, rekey_fiber, rekey_done, m, NULL);
        if (r < 0)
                return r;
        m->rekey.is_running = true;
        log_info("the store gets new keys");
        return 0;
}

static const char *state_word(const Manager *m) {
        return m->rekey.is_running                ? "running"
               : keyring_has_previous(m->keyring) ? "stopped"
               : m->rekey.next                    ? "prepared"
                                                  : "none";
}

int admin_check_records(Call *call, json_object *parameters, void *userdata) {
        static const JsonField fields[] = { {} };
        json_object *damaged = NULL;
        Manager *m = userdata;
        RekeyCheck c = {};
        const char *bad;
        int r;

        if (json_dispatch(parameters, fields, &c, &bad) < 0)
                return call_invalid_parameter(call, bad);
        r = rekey_check(m->store, m->keyring, &c);
        if (r < 0)
                return r;
        damaged = json_object_new_array();
        for (size_t i = 0; i < c.n_damaged && damaged; i++)
                (void)json_object_array_add(damaged, json_object_new_int64((int64_t)c.damaged[i]));
        r = !damaged ? -ENOMEM
                     : call_reply(call, json_build("vaults", 'i', (int64_t)c.n_vaults, "records", 'i',
                                                        (int64_t)c.n_records, "clients", 'i',
                                                        (int64_t)c.n_clients, "setAside", 'i',
                                                        (int64_t)c.n_aside, "damaged", 'o', damaged,
                                                        "otherDamaged", 'i', (int64_t)c.n_other_damaged,
                                                        "unknown", 'b', c.has_unknown, "rekey", 's',
                                                        state_word(m), NULL));
        rekey_check_done(&c);
        return r;
}

typedef struct RekeyParameters {
        const char *key, *id;
} RekeyParameters;

/* The digits as a secret, and zeros in their place. */
static int take_key(const char *digits, Secret **ret) {
        static const uint8_t zero[SEAL_KEY_SIZE];
        _cleanup_(secret_freep) Secret *key = NULL;
        size_t n = strlen(digits);
        int r;

        r = secret_new(zero, sizeof(zero), &key);
        if (r >= 0)
                r = n == 2 * SEAL_KEY_SIZE ? hex_decode(digits, key->bytes, key->size) : -EBADMSG;
        erase((void *)digits, n); /* json-c's, which gives it to nobody else any more */
        if (r < 0)
                return r;
        *ret = TAKE_PTR(key);
        return 0;
}

static int fail_half_done(Failure *failure) {
        return failure_set(failure, FAILURE_LIMIT, "Run: vaultctl admin rekey",
                        "the keys are being changed already");
}

static int prepare(Manager *m, const Secret *key, char **ret_id, Failure *failure) {
        uint8_t id[KEYRING_ID_SIZE];
        Keyring *next = NULL;
        int r;

        r = rekey_prepare(m->store, m->keyring, key, &next);
        if (r == -EALREADY)
                return fail_half_done(failure);
        if (r == -EUSERS)
                return failure_set(failure, FAILURE_LIMIT,
                                "Run: systemctl restart vaultd, and then vaultctl admin rekey again",
                                "several keys were announced and none was used");
        if (r == -EINVAL)
                return failure_set(failure, FAILURE_NOT_ALLOWED, NULL, "that is no new key");
        if (r < 0)
                return r;
        keyring_id(next, id);
        *ret_id = hex_encode(id, sizeof(id));
        (void)keyring_free(m->rekey.next);
        m->rekey.next = next;
        return *ret_id ? 0 : -ENOMEM;
}

int admin_prepare_rekey(Call *call, json_object *parameters, void *userdata) {
        static const JsonField fields[] = {
                { "key", JSON_FIELD_STRING, offsetof(RekeyParameters, key), true, 2 * SEAL_KEY_SIZE }, {}
        };
        _cleanup_(secret_freep) Secret *key = NULL;
        _cleanup_(freep) char *id = NULL;
        RekeyParameters p = {};
        Failure failure = {};
        const char *bad;
        int r;

        if (json_dispatch(parameters, fields, &p, &bad) < 0)
                return call_invalid_parameter(call, bad);
        r = take_key(p.key, &key);
        if (r == -EBADMSG)
                return call_invalid_parameter(call, "key");
        if (r == 0)
                r = prepare(userdata, key, &id, &failure);
        r = r == 0 ? call_reply(call, json_build("id", 's', id, NULL))
                   : manager_reply_outcome(call, r, &failure);
        failure_done(&failure);
        return r;
}

/* Begins with the prepared key of this id. */
static int begin(Manager *m, Call *call, const char *id, Failure *failure) {
        uint8_t ours[KEYRING_ID_SIZE];
        _cleanup_(freep) char *text = NULL;
        int r;

        if (m->rekey.next) {
                keyring_id(m->rekey.next, ours);
                text = hex_encode(ours, sizeof(ours));
                if (!text)
                        return -ENOMEM;
        }
        if (!text || !id || !streq(text, id))
                return failure_set(failure, FAILURE_NOT_FOUND,
                                id ? "Run: systemctl restart vaultd" : "Run: vaultctl admin rekey",
                                id ? "this vaultd does not know the key that was prepared; it was restarted "
                                     "meanwhile"
                                   : "there is nothing to go on with");
        r = rekey_begin(m->store, m->keyring, &m->rekey.next);
        if (r == 0)
                admin_record(call, AUDIT_REKEY_BEGUN, &(Vault){ .user = (char *)"root" }, NULL,
                                NULL); /* no vault's */
        return r;
}

static int fail_stopped(const Manager *m, Failure *failure) {
        if (m->rekey.failed_uid != UID_INVALID)
                return failure_set(failure, FAILURE_VAULT_CLOSED,
                                "Restore it from a backup or destroy it, and run: vaultctl admin rekey",
                                "the vault of uid %u, or a record of it, does not open, so the former key "
                                "cannot be forgotten; "
                                "vaults behind it wait",
                                (unsigned)m->rekey.failed_uid);
        return failure_set(failure, FAILURE_VAULT_CLOSED, "Run: journalctl -u vaultd",
                        "a record of no vault's does not open, so the former key cannot be forgotten");
}

/* Tells how far it is until it is over. */
static int follow(Manager *m, Call *call, Failure *failure) {
        uint64_t told = UINT64_MAX;
        int r = 0;

        while (m->rekey.is_running && r >= 0) {
                if (call_wants_more(call) && !call_is_gone(call) && told != m->rekey.n_done) {
                        told = m->rekey.n_done;
                        r = call_notify(call, json_build("done", 'i', (int64_t)told, "total", 'i',
                                                              (int64_t)m->rekey.n_total, NULL));
                }
                if (r >= 0)
                        r = fiber_sleep(TELL_EVERY);
        }
        if (r < 0)
                return r;
        return m->rekey.result == -EBADMSG ? fail_stopped(m, failure) : MIN(m->rekey.result, 0);
}

int admin_rekey(Call *call, json_object *parameters, void *userdata) {
        static const JsonField fields[] = {
                { "id", JSON_FIELD_STRING, offsetof(RekeyParameters, id), false, 2 * KEYRING_ID_SIZE }, {}
        };
        RekeyParameters p = {};
        Manager *m = userdata;
        Failure failure = {};
        const char *bad;
        int r = 0;

        if (json_dispatch(parameters, fields, &p, &bad) < 0)
                return call_invalid_parameter(call, bad);
        if (!keyring_has_previous(m->keyring))
                r = begin(m, call, p.id, &failure);
        if (r == 0)
                r = manager_start_rekey(m);
        if (r == 0)
                r = follow(m, call, &failure);
        r = r == 0 ? call_reply(call, json_build("done", 'i', (int64_t)m->rekey.n_done, "total", 'i',
                                                      (int64_t)m->rekey.n_total, "erased", 'b',
                                                      m->rekey.result == 0, NULL))
                   : manager_reply_outcome(call, r, &failure);
        failure_done(&failure);
        return r;
}
