/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A user's credential in the user's platform vault.
 *
 * The vault is ours alone and holds one active credential per server address, which makes this easier
 * than other creates: a second create is answered 409 instead of making a double. A 409 means that
 * something is there that our record does not know: ours from before a crash (its metadata has our
 * credential's id: it is taken over), or drift that nobody of us made (it is archived, and ours is
 * created). An answer that was lost is looked for like every other create (nonce.c).
 *
 * One owner of a refresh token (V4): with custody `platform` the record forgets it in the same commit
 * that writes down where it went. Until then the host has it still, so a crash in between loses nothing.
 * If a credential in that custody is gone from the platform, so is the grant: only connecting anew
 * helps, and that is said.
 *
 * Nobody else works on this credential's platform side meanwhile (gate); a record that changed under us
 * (disconnected, connected anew) wins, and what was just pushed is archived again. */

#include <stdio.h>

#include "platform/platform-internal.h"
#include "util/clock.h"

#define CREATES_MAX 2U
#define STORES_MAX  8U

static char *credential_path(const Vault *v, const char *id, const char *suffix) {
        char *path;

        return asprintf(&path, "/v1/vaults/%s/credentials%s%s%s", v->platform_vault_id, id ? "/" : "",
                               id ?: "", suffix) < 0
                               ? NULL
                               : path;
}

/* *ret NULL: there is none. */
static int credential_fetch(
                Platform *p, const Vault *v, const char *id, json_object **ret, Failure *failure) {
        _cleanup_(freep) char *path = credential_path(v, id, "");
        int r;

        if (!path)
                return -ENOMEM;
        const Request request = { .method = "GET",
                .path = path,
                .what = "read a credential of the vault",
                .is_repeatable = true };
        r = request_perform(p, &request, ret, NULL, failure);
        if (r == FAILED && failure->status == 404) {
                failure_done(failure);
                *ret = NULL;
                return 0;
        }
        return r;
}

static int credential_archive(Platform *p, const Vault *v, const char *id, Failure *failure) {
        _cleanup_(json_putp) json_object *answer = NULL, *there = NULL;
        _cleanup_(freep) char *path = credential_path(v, id, "/archive");
        Failure of_fetch = {};
        int r;

        if (!path)
                return -ENOMEM;
        const Request request = { .method = "POST",
                .path = path,
                .what = "archive a credential of the vault",
                .is_repeatable = true };
        r = request_perform(p, &request, &answer, NULL, failure);
        if (r == FAILED && failure->status == 404) {
                failure_done(failure);
                return 0;
        }
        if (r != FAILED)
                return r;
        if (failure->status < 400 || failure->status > 499)
                return r;
        /* What a second archive is answered is not documented: ask whether it is archived. */
        int q = credential_fetch(p, v, id, &there, &of_fetch);
        failure_done(&of_fetch);
        return q < 0 ? q : q == 0 && (!there || object_is_archived(there)) ? 0 : FAILED;
}

static int credential_is_as_new(
                Platform *p, const Creation *c, json_object *object, bool *ret, Failure *failure) {
        CredentialMatch match = credential_compare(c->userdata, object);

        *ret = match == CREDENTIAL_UPDATE || match == CREDENTIAL_KEEP;
        return 0;
}

typedef struct Duplicates {
        const Credential *credential;
        json_object *found[4];
        size_t n;
} Duplicates;

static void duplicates_done(Duplicates *d) {
        for (size_t i = 0; i < d->n; i++)
                json_object_put(d->found[i]);
}

static int duplicates_visit(json_object *element, void *userdata) {
        Duplicates *d = userdata;
        json_object *auth = NULL;

        if (object_is_archived(element) || !object_id(element, "vcrd_") ||
                        json_get_object(element, "auth", &auth) < 0 ||
                        !credential_is_same_place(d->credential, auth))
                return 0;
        d->found[d->n++] = json_object_get(element);
        return d->n == ELEMENTSOF(d->found);
}

/* After a 409: takes ours over, or clears the place. */
static int credential_resolve(
                Platform *p, const Vault *v, const Credential *c, json_object **ret, Failure *failure) {
        _cleanup_(duplicates_done) Duplicates d = { .credential = c };
        _cleanup_(freep) char *path = credential_path(v, NULL, "");
        int r;

        if (!path)
                return -ENOMEM;
        r = list_walk(p, path, "limit=100", "look into the vault", duplicates_visit, &d, failure);
        for (size_t i = 0; i < d.n && r == 0; i++) {
                bool is_usable = false;
                const Creation creation = { .userdata = (void *)(uintptr_t)c };

                r = credential_is_as_new(p, &creation, d.found[i], &is_usable, failure);
                if (r == 0 && is_usable && !*ret)
                        *ret = json_object_get(d.found[i]);
                else if (r == 0)
                        r = credential_archive(p, v, object_id(d.found[i], "vcrd_"), failure);
        }
        return r;
}

static int credential_update(
                Platform *p, const Vault *v, const Credential *c, const char *id, Failure *failure) {
        _cleanup_(json_putp) json_object *answer = NULL;
        _cleanup_(freep) char *path = credential_path(v, id, "");
        _cleanup_(buffer_done) Buffer body = {};
        int r;

        if (!path)
                return -ENOMEM;
        r = credential_update_body(c, &body);
        if (r < 0)
                return r;
        const Request request = { .method = "POST",
                .path = path,
                .what = "update the credential",
                .body = (const char *)body.bytes,
                .body_size = body.size,
                .is_repeatable = true,
                .has_secret = true };
        return request_perform(p, &request, &answer, NULL, failure);
}

static int credential_create(
                Platform *p, const Vault *v, const Credential *c, char **ret_id, Failure *failure) {
        _cleanup_(freep) char *path = credential_path(v, NULL, "");
        _cleanup_(buffer_done) Buffer body = {};
        CreationOutcome outcome;
        int r;

        if (!path)
                return -ENOMEM;
        r = credential_create_body(c, &body);
        if (r < 0)
                return r;
        const Creation creation = {
                .what = "credential",
                .path = path,
                .query = "limit=100",
                .id_prefix = "vcrd_",
                .is_newest_first = true,
                .key = "vaultd_credential",
                .nonce = c->id,
                .nonce_usec = c->created_usec,
                .body = (const char *)body.bytes,
                .body_size = body.size,
                .has_secret = true,
                .is_as_new = credential_is_as_new,
                .userdata = (void *)(uintptr_t)c,
        };
        for (unsigned n = 0;; n++) {
                _cleanup_(json_putp) json_object *object = NULL;

                r = creation_run(p, &creation, false, &object, &outcome, failure);
                if (r == FAILED && failure->status == 409 && n + 1 < CREATES_MAX) {
                        r = credential_resolve(p, v, c, &object, failure);
                        if (r == 0 && !object)
                                continue;
                        if (r == 0 && credential_compare(c, object) == CREDENTIAL_UPDATE)
                                r = credential_update(p, v, c, object_id(object, "vcrd_"), failure);
                }
                if (r != 0)
                        return r;
                *ret_id = strdup(object_id(object, "vcrd_"));
                return *ret_id ? 0 : -ENOMEM;
        }
}

static int credential_reconnect(Platform *p, const Credential *c, const char *why, Failure *failure) {
        const ServiceProfile *profile = config_find_service(p->config, c->service);
        const char *title = profile ? profile->title : c->service;
        _cleanup_(freep) char *hint = NULL;
        int r;

        if (asprintf(&hint, "Run: vaultctl connect %s", c->service) < 0) {
                hint = NULL;
                return -ENOMEM;
        }
        r = failure_set(failure, FAILURE_NOT_CONNECTED, hint, "%s: %s", title, why);
        if (r != FAILED)
                return r;
        failure->service = strdup(c->service);
        failure->title = strdup(title);
        return failure->service && failure->title ? FAILED : -ENOMEM;
}

/* Nothing is sent that cannot work: an access token that has ended, with nobody over there who could
 * refresh it. */
static int credential_check_alive(Platform *p, const Credential *c, Failure *failure) {
        bool is_refreshed_there = c->custody == CUSTODY_PLATFORM && c->refresh_token;

        if (!c->access_token ||
                        (c->expires_usec > 0 && c->expires_usec <= now_realtime() && !is_refreshed_there))
                return credential_reconnect(p, c, "the access has ended", failure);
        return 0;
}

/* The platform was the only one that had it: with its object it is gone. */
static bool credential_is_lost(const Credential *c, json_object *there) {
        json_object *auth = NULL, *refresh = NULL;

        if (c->custody != CUSTODY_PLATFORM || !there ||
                        !streq_ptr(object_metadata(there, "vaultd_credential"), c->id))
                return false;
        if (c->kind != CREDENTIAL_OAUTH)
                return !c->access_token;
        return !c->refresh_token && json_get_object(there, "auth", &auth) >= 0 &&
               json_get_object(auth, "refresh", &refresh) >= 0;
}

#define LOST_REASON "it was removed from the Claude Platform, which held it"

/* Made durable, so that status says it before the next session does. Somebody else's change of the record is as good. */
static int credential_note_lost(Platform *p, const Vault *v, const Credential *c, Failure *failure) {
        _cleanup_(credential_freep) Credential *stored = NULL;
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        int r;

        r = credential_record_read(p->store, v, c->service, c->label, &stored);
        if (r < 0)
                return r;
        free(stored->state_reason);
        stored->state = CREDENTIAL_NEEDS_RECONNECT;
        stored->state_reason = strdup(LOST_REASON);
        if (!stored->state_reason)
                return -ENOMEM;
        r = store_batch_new(&batch);
        if (r >= 0)
                r = credential_record_put(batch, v, stored);
        if (r >= 0)
                r = store_commit(p->store, TAKE_PTR(batch));
        return r < 0 ? r
                     : credential_reconnect(p, c,
                                       "its credential was removed from the Claude Platform, which held the "
                                       "grant",
                                       failure);
}

static int credential_push(
                Platform *p, const Vault *v, const Credential *c, char **ret_id, Failure *failure) {
        _cleanup_(json_putp) json_object *there = NULL;
        const char *id = c->platform_credential_id;
        CredentialMatch match = CREDENTIAL_GONE;
        int r;

        if (id) {
                r = credential_fetch(p, v, id, &there, failure);
                if (r != 0)
                        return r;
                if (there)
                        match = credential_compare(c, there);
        }
        if (match == CREDENTIAL_KEEP)
                return (*ret_id = strdup(id)) ? 0 : -ENOMEM;
        if (credential_is_lost(c, there))
                return credential_note_lost(p, v, c, failure);
        r = credential_check_alive(p, c, failure);
        if (r != 0)
                return r;
        if (match == CREDENTIAL_UPDATE) {
                r = credential_update(p, v, c, id, failure);
                if (r != 0)
                        return r;
                return (*ret_id = strdup(id)) ? 0 : -ENOMEM;
        }
        if (match == CREDENTIAL_REPLACE) {
                r = credential_archive(p, v, id, failure);
                if (r != 0)
                        return r;
        }
        return credential_create(p, v, c, ret_id, failure);
}

static int credential_gate(Platform *p, const Credential *c, Gate **ret) {
        _cleanup_(freep) char *name = NULL;

        if (asprintf(&name, "credential/%u/%s/%s", c->uid, c->service, c->label) < 0) {
                name = NULL;
                return -ENOMEM;
        }
        return gate_enter(p, name, ret);
}

/* The record as it is now; it must be the same credential, still in use. */
static int credential_reread(Platform *p, const Vault *v, Credential **c, Failure *failure) {
        _cleanup_(credential_freep) Credential *fresh = NULL;
        int r;

        r = credential_record_read(p->store, v, (*c)->service, (*c)->label, &fresh);
        if (r < 0 && r != -ENOENT)
                return r;
        if (r == -ENOENT || !streq(fresh->id, (*c)->id) || fresh->state != CREDENTIAL_ACTIVE)
                return credential_reconnect(p, *c, "not connected any more", failure);
        (void)credential_free(*c);
        *c = TAKE_PTR(fresh);
        return 0;
}

static int credential_store(Platform *p, const Vault *v, const Credential *c) {
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        int r;

        r = store_batch_new(&batch);
        if (r >= 0)
                r = credential_record_put(batch, v, c);
        return r < 0 ? r : store_commit(p->store, TAKE_PTR(batch));
}

/* A refresh may have written the record since it was read: what was pushed is then a token that is about to be pushed again, and no reason to take it
 * back. STORE_CONFLICT: it is another one, or none. */
static int credential_store_id(Platform *p, const Vault *v, Credential **c) {
        int r = credential_store(p, v, *c);

        for (unsigned i = 0; i < STORES_MAX && r == STORE_CONFLICT && (*c)->custody == CUSTODY_MIRROR; i++) {
                _cleanup_(freep) char *id = strdup((*c)->platform_credential_id);
                Failure ignored = {};
                int q = id ? credential_reread(p, v, c, &ignored) : -ENOMEM;

                failure_done(&ignored);
                if (q != 0)
                        break;
                free((*c)->platform_credential_id);
                (*c)->platform_credential_id = TAKE_PTR(id);
                r = credential_store(p, v, *c);
        }
        return r;
}

static int credential_note(Platform *p, const Vault *v, Credential **c, char *id, Failure *failure) {
        Failure ignored = {};
        int r;

        bool is_handed_over = (*c)->custody == CUSTODY_PLATFORM;
        Secret **owned = (*c)->kind == CREDENTIAL_OAUTH ? &(*c)->refresh_token : &(*c)->access_token;

        if (streq_ptr((*c)->platform_credential_id, id) && (!is_handed_over || !*owned)) {
                free(id);
                return 0; /* the record says so already */
        }
        free((*c)->platform_credential_id);
        (*c)->platform_credential_id = id;
        if (is_handed_over)
                *owned = secret_free(*owned);
        r = credential_store_id(p, v, c);
        if (r < 0)
                return r;
        if (r != STORE_CONFLICT)
                return credential_reread(p, v, c, failure);
        r = credential_archive(p, v, (*c)->platform_credential_id, &ignored);
        failure_done(&ignored);
        return r < 0 ? r : credential_reconnect(p, *c, "the connection was changed meanwhile", failure);
}

static int credential_check_custody(const Credential *c, Failure *failure) {
        if (c->custody == CUSTODY_MIRROR || c->custody == CUSTODY_PLATFORM)
                return 0;
        return failure_set(failure, FAILURE_NOT_ALLOWED, NULL,
                        "%s: its credential stays on this host (Custody=host)", c->service);
}

int platform_put_credential(Platform *p, Vault **vault, Credential **credential, Failure *failure) {
        _cleanup_(gate_leavep) Gate *gate = NULL;
        char *id = NULL;
        int r;

        if ((*credential)->uid != (*vault)->uid)
                return -EPERM;
        r = credential_check_custody(*credential, failure);
        if (r != 0)
                return r;
        r = platform_ensure_vault(p, vault, failure);
        if (r != 0)
                return r;
        r = credential_gate(p, *credential, &gate);
        if (r < 0)
                return r;
        r = credential_reread(p, *vault, credential, failure);
        if (r == 0)
                r = credential_check_custody(*credential, failure);
        if (r != 0)
                return r;
        r = credential_push(p, *vault, *credential, &id, failure);
        return r != 0 ? r : credential_note(p, *vault, credential, id, failure);
}

int platform_archive_credential(
                Platform *p, const Vault *vault, const Credential *credential, Failure *failure) {
        _cleanup_(duplicates_done) Duplicates d = { .credential = credential };
        _cleanup_(gate_leavep) Gate *gate = NULL;
        _cleanup_(freep) char *path = NULL;
        int r;

        if (credential->uid != vault->uid)
                return -EPERM;
        if (!vault->platform_vault_id || credential->custody == CUSTODY_HOST)
                return 0;
        r = credential_gate(p, credential, &gate);
        if (r < 0)
                return r;
        if (credential->platform_credential_id) {
                r = credential_archive(p, vault, credential->platform_credential_id, failure);
                if (r != 0)
                        return r;
        }
        /* Also what a crash kept out of our records: ours by the id in its metadata, in a vault of ours. */
        path = credential_path(vault, NULL, "");
        if (!path)
                return -ENOMEM;
        r = list_walk(p, path, "limit=100", "look into the vault", duplicates_visit, &d, failure);
        if (r == FAILED && failure->status == 404)
                return 0;
        for (size_t i = 0; i < d.n && r == 0; i++)
                if (streq_ptr(object_metadata(d.found[i], "vaultd_credential"), credential->id))
                        r = credential_archive(p, vault, object_id(d.found[i], "vcrd_"), failure);
        return r;
}
