/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The platform vault of a local vault: made at the first need, found again by its nonce, never by its
 * name (V3).
 *
 * Order of what is durable: nonce and time → create → id. A crash anywhere in between leaves a record
 * with a nonce and without an id, which is enough to go on: whoever needs the vault next looks before
 * creating. After a refusal the nonce is forgotten, since nothing exists under it; after an unknown
 * outcome it stays.
 *
 * A platform vault fits only while it holds no credential, archived ones included: one that was ever
 * used is not new. */

#include <stdio.h>

#include "audit/audit.h"
#include "platform/platform-internal.h"
#include "util/clock.h"

#define COMMITS_MAX 8U

static int vault_reread(Platform *p, Vault **vault) {
        Vault *fresh = NULL;
        int r;

        r = vault_record_read(p->store, p->keyring, (*vault)->uid, &fresh);
        if (r < 0)
                return r;
        (void)vault_free(*vault);
        *vault = fresh;
        return 0;
}

static int text_replace(char **text, const char *value) {
        char *copy = value ? strdup(value) : NULL;

        if (value && !copy)
                return -ENOMEM;
        free(*text);
        *text = copy;
        return 0;
}

/* Writes our three members into the record, whatever else changes in it meanwhile (state, user name). */
static int vault_write(Platform *p, Vault **vault, const char *nonce, uint64_t nonce_usec, const char *id) {
        int r;

        for (unsigned n = 0; n < COMMITS_MAX; n++) {
                _cleanup_(store_batch_freep) StoreBatch *batch = NULL;

                r = text_replace(&(*vault)->platform_nonce, nonce);
                if (r >= 0)
                        r = text_replace(&(*vault)->platform_vault_id, id);
                (*vault)->platform_nonce_usec = nonce ? nonce_usec : 0;
                if (r >= 0)
                        r = store_batch_new(&batch);
                if (r >= 0)
                        r = vault_record_put(batch, p->keyring, *vault);
                if (r >= 0)
                        r = store_commit(p->store, TAKE_PTR(batch));
                if (r < 0)
                        return r;
                int outcome = r;
                r = vault_reread(p, vault);
                if (r < 0 || outcome == 0)
                        return r;
        }
        return -EBUSY;
}

static int found_credential(json_object *element, void *userdata) {
        *(bool *)userdata = true;
        return 1;
}

static int vault_is_as_new(
                Platform *p, const Creation *c, json_object *object, bool *ret, Failure *failure) {
        const char *id = object_id(object, c->id_prefix);
        _cleanup_(freep) char *path = NULL;
        bool has_credential = false;
        int r;

        if (asprintf(&path, "/v1/vaults/%s/credentials", id) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        r = list_walk(p, path, "limit=1&include_archived=true", "look into the vault", found_credential,
                        &has_credential, failure);
        if (r == 0)
                *ret = !has_credential;
        return r;
}

static json_object *vault_body(Platform *p, const Vault *v, const char *nonce) {
        _cleanup_(freep) char *name = NULL;

        if (asprintf(&name, "vaultd %.150s/%.90s", p->hostname, v->user) < 0) {
                name = NULL;
                return NULL;
        }
        return json_build("display_name", 's', name, "metadata", 'o',
                        json_build("vaultd_nonce", 's', nonce, NULL), NULL);
}

static Creation vault_creation(const Vault *v, const char *body) {
        return (Creation){
                .what = "vault",
                .path = "/v1/vaults",
                .query = "limit=100",
                .id_prefix = "vlt_",
                .is_newest_first = true,
                .key = "vaultd_nonce",
                .nonce = v->platform_nonce,
                .nonce_usec = v->platform_nonce_usec,
                .body = body,
                .body_size = body ? strlen(body) : 0,
                .is_as_new = vault_is_as_new,
        };
}

static int vault_gate(Platform *p, uid_t uid, Gate **ret) {
        char name[32];

        (void)snprintf(name, sizeof(name), "vault/%u", uid);
        return gate_enter(p, name, ret);
}

static void vault_audit(const Vault *v) {
        audit_record(&(AuditEvent){ .kind = AUDIT_PLATFORM_VAULT,
                        .uid = v->uid,
                        .user = v->user,
                        .verdict = "done",
                        .object = v->platform_vault_id });
}

/* Under the gate, with a nonce in the record. */
static int vault_create(Platform *p, Vault **vault, bool was_tried, Failure *failure) {
        _cleanup_(json_putp) json_object *body = NULL, *object = NULL;
        _cleanup_(freep) char *nonce = strdup((*vault)->platform_nonce);
        uint64_t nonce_usec = (*vault)->platform_nonce_usec;
        CreationOutcome outcome;
        int r;

        body = nonce ? vault_body(p, *vault, nonce) : NULL;
        const char *text = body ? json_text(body) : NULL;
        if (!text)
                return -ENOMEM;
        Creation c = vault_creation(*vault, text);
        c.nonce = nonce;
        r = creation_run(p, &c, was_tried, &object, &outcome, failure);
        if (r == FAILED && outcome == CREATION_REFUSED) {
                int q = vault_write(p, vault, NULL, 0, NULL);
                return q < 0 ? q : FAILED;
        }
        if (r != 0)
                return r;
        r = vault_write(p, vault, nonce, nonce_usec, object_id(object, "vlt_"));
        if (r == 0)
                vault_audit(*vault);
        return r;
}

int platform_ensure_vault(Platform *p, Vault **vault, Failure *failure) {
        _cleanup_(gate_leavep) Gate *gate = NULL;
        _cleanup_(freep) char *id = NULL, *nonce = NULL;
        bool was_tried;
        int r;

        if ((*vault)->platform_vault_id)
                return 0;
        r = vault_gate(p, (*vault)->uid, &gate);
        if (r < 0)
                return r;
        id = strdup((*vault)->id);
        if (!id)
                return -ENOMEM;
        r = vault_reread(p, vault);
        if (r < 0)
                return r;
        if (!streq(id, (*vault)->id) || (*vault)->state != VAULT_ACTIVE)
                return failure_set(failure, FAILURE_VAULT_CLOSED, NULL, "the vault was closed meanwhile");
        if ((*vault)->platform_vault_id)
                return 0;

        was_tried = (*vault)->platform_nonce != NULL;
        if (!was_tried) {
                nonce = nonce_new();
                if (!nonce)
                        return -ENOMEM;
                r = vault_write(p, vault, nonce, now_realtime(), NULL);
                if (r < 0)
                        return r;
        }
        return vault_create(p, vault, was_tried, failure);
}

int vault_adopt_only(Platform *p, uid_t uid, uint64_t until_usec, Failure *failure) {
        _cleanup_(json_putp) json_object *object = NULL;
        _cleanup_(vault_freep) Vault *vault = NULL;
        _cleanup_(gate_leavep) Gate *gate = NULL;
        _cleanup_(freep) char *nonce = NULL;
        int r;

        r = vault_gate(p, uid, &gate);
        if (r < 0)
                return r;
        r = vault_record_read(p->store, p->keyring, uid, &vault);
        if (r < 0)
                return r;
        if (vault->platform_vault_id || !vault->platform_nonce)
                return 0;
        nonce = strdup(vault->platform_nonce);
        if (!nonce)
                return -ENOMEM;
        uint64_t nonce_usec = vault->platform_nonce_usec;
        Creation c = vault_creation(vault, NULL);
        c.nonce = nonce;
        r = creation_look(p, &c, until_usec, &object, failure);
        if (r != 0 || !object)
                return r;
        r = vault_write(p, &vault, nonce, nonce_usec, object_id(object, "vlt_"));
        if (r == 0)
                vault_audit(vault);
        return r;
}
