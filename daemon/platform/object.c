/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Agents and environments: things that many sessions share, found by the digest of their definition.
 *
 * The digest covers the exact JSON that is sent, without the nonce, so the same servers with the same
 * policy lead to the same agent and a changed policy to a new one. What is on the platform under the
 * recorded id can be changed by anybody with a key of the workspace; sessions therefore pin the version
 * that we made, which nobody can change.
 *
 * An object that was archived or deleted over there is forgotten here and made anew: otherwise no
 * session with these servers could ever start again.
 *
 * After a crash between create and record, the next session with this definition looks before it
 * creates. The start-up does not, for it has only the digest, and what is adopted must equal the
 * definition. */

#include <stdio.h>

#include "platform/platform-internal.h"
#include "util/clock.h"
#include "util/encode.h"

void definition_done(Definition *d) {
        json_object_put(d->body);
        free(d->digest);
        *d = (Definition){};
}

int definition_init(Definition *ret, RecordKind kind, json_object *body) {
        const char *text = body ? json_text(body) : NULL;
        uint8_t digest[32];
        char *hex;

        if (!text) {
                json_object_put(body);
                return -ENOMEM;
        }
        sha256(text, strlen(text), digest);
        hex = hex_encode(digest, sizeof(digest));
        if (!hex) {
                json_object_put(body);
                return -ENOMEM;
        }
        *ret = (Definition){ kind, body, hex };
        return 0;
}

static const char *kind_what(RecordKind kind) {
        return kind == RECORD_AGENT ? "agent" : "environment";
}

/* In the first version of an agent stands what its create said. */
static int object_is_as_new(
                Platform *p, const Creation *c, json_object *object, bool *ret, Failure *failure) {
        const Definition *d = c->userdata;
        int64_t version = 0;

        *ret = json_covers(d->body, object);
        if (d->kind == RECORD_AGENT)
                *ret = *ret && json_get_int64(object, "version", &version) >= 0 && version == 1 &&
                       isempty(json_string(object, "system"));
        return 0;
}

static Creation object_creation(const Definition *d, const PlatformObject *o, const char *body) {
        bool is_agent = d->kind == RECORD_AGENT;

        return (Creation){
                .what = kind_what(d->kind),
                .path = is_agent ? "/v1/agents" : "/v1/environments",
                .query = "",
                .id_prefix = is_agent ? "agent_" : "env_",
                .has_since_filter = is_agent,
                .key = "vaultd_nonce",
                .nonce = o->nonce,
                .nonce_usec = o->nonce_usec,
                .body = body,
                .body_size = body ? strlen(body) : 0,
                .is_as_new = object_is_as_new,
                .userdata = (void *)(uintptr_t)d,
        };
}

static int object_gate(Platform *p, RecordKind kind, const char *digest, Gate **ret) {
        char name[96];

        (void)snprintf(name, sizeof(name), "%s/%s", kind_what(kind), digest);
        return gate_enter(p, name, ret);
}

static int object_write(Platform *p, PlatformObject **o) {
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        PlatformObject *fresh = NULL;
        int r;

        r = store_batch_new(&batch);
        if (r >= 0)
                r = platform_object_record_put(batch, *o);
        if (r >= 0)
                r = store_commit(p->store, TAKE_PTR(batch));
        if (r != 0)
                return r < 0 ? r : -EBUSY; /* the gate keeps others away */
        r = platform_object_record_read(p->store, (*o)->kind, (*o)->digest, &fresh);
        if (r < 0)
                return r;
        (void)platform_object_free(*o);
        *o = fresh;
        return 0;
}

static int object_forget(Platform *p, const PlatformObject *o) {
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        int r;

        r = store_batch_new(&batch);
        if (r >= 0)
                r = platform_object_record_delete(batch, o);
        if (r >= 0)
                r = store_commit(p->store, TAKE_PTR(batch));
        return r > 0 ? -EBUSY : r;
}

/* The record, made with a fresh nonce where there is none. */
static int object_prepare(Platform *p, const Definition *d, PlatformObject **ret, bool *ret_was_there) {
        _cleanup_(platform_object_freep) PlatformObject *o = NULL;
        int r;

        r = platform_object_record_read(p->store, d->kind, d->digest, &o);
        *ret_was_there = r >= 0;
        if (r == -ENOENT) {
                o = calloc(1, sizeof(PlatformObject));
                if (!o)
                        return -ENOMEM;
                o->kind = d->kind;
                o->digest = strdup(d->digest);
                o->nonce = nonce_new();
                o->nonce_usec = now_realtime();
                if (!o->digest || !o->nonce)
                        return -ENOMEM;
                r = object_write(p, &o);
        }
        if (r < 0)
                return r;
        *ret = TAKE_PTR(o);
        return 0;
}

static int object_finish(Platform *p, PlatformObject **o, json_object *object) {
        const char *id = object_id(object, (*o)->kind == RECORD_AGENT ? "agent_" : "env_");

        (*o)->version = 0;
        if ((*o)->kind == RECORD_AGENT &&
                        (json_get_int64(object, "version", &(*o)->version) < 0 || (*o)->version < 1))
                (*o)->version = 1; /* a new agent's (platform API: "version starts at 1") */
        (*o)->platform_id = strdup(id);
        return (*o)->platform_id ? object_write(p, o) : -ENOMEM;
}

static json_object *definition_with_nonce(const Definition *d, const char *nonce) {
        json_object *body = NULL;

        if (json_object_deep_copy(d->body, &body, NULL) < 0)
                return NULL;
        if (json_add(body, "metadata", json_build("vaultd_nonce", 's', nonce, NULL)) < 0) {
                json_object_put(body);
                return NULL;
        }
        return body;
}

int definition_ensure(Platform *p, const Definition *d, PlatformObject **ret, Failure *failure) {
        _cleanup_(json_putp) json_object *body = NULL, *object = NULL;
        _cleanup_(platform_object_freep) PlatformObject *o = NULL;
        _cleanup_(gate_leavep) Gate *gate = NULL;
        CreationOutcome outcome;
        bool was_there;
        int r;

        r = object_gate(p, d->kind, d->digest, &gate);
        if (r >= 0)
                r = object_prepare(p, d, &o, &was_there);
        if (r < 0)
                return r;
        if (!o->platform_id) {
                body = definition_with_nonce(d, o->nonce);
                const char *text = body ? json_text(body) : NULL;
                if (!text)
                        return -ENOMEM;
                Creation c = object_creation(d, o, text);
                r = creation_run(p, &c, was_there, &object, &outcome, failure);
                if (r == FAILED && outcome == CREATION_REFUSED) {
                        int q = object_forget(p, o);
                        return q < 0 ? q : FAILED;
                }
                if (r == 0)
                        r = object_finish(p, &o, object);
                if (r != 0)
                        return r;
        }
        *ret = TAKE_PTR(o);
        return 0;
}

int definition_check(Platform *p, const Definition *d, bool *ret_is_gone, Failure *failure) {
        _cleanup_(platform_object_freep) PlatformObject *o = NULL;
        _cleanup_(json_putp) json_object *object = NULL;
        _cleanup_(gate_leavep) Gate *gate = NULL;
        _cleanup_(freep) char *path = NULL;
        bool is_gone;
        int r;

        r = object_gate(p, d->kind, d->digest, &gate);
        if (r >= 0)
                r = platform_object_record_read(p->store, d->kind, d->digest, &o);
        if (r < 0)
                return r;
        if (!o->platform_id) {
                *ret_is_gone = true; /* another session has noticed already */
                return 0;
        }
        if (asprintf(&path, "/v1/%s/%s", d->kind == RECORD_AGENT ? "agents" : "environments",
                            o->platform_id) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        const Request request = {
                .method = "GET", .path = path, .what = "read a shared object", .is_repeatable = true
        };
        r = request_perform(p, &request, &object, NULL, failure);
        is_gone = r == FAILED ? failure->status == 404 : r == 0 && object_is_archived(object);
        if (r < 0 || (r == FAILED && !is_gone))
                return r;
        *ret_is_gone = is_gone;
        return is_gone ? object_forget(p, o) : 0;
}
