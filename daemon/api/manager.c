/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the methods share: how failures become errors on the wire, and small shapes of answers. How a caller gets to its
 * vault is in vaults.c, what it may call at all in gate.c.
 *
 * A failure is for the person who made the call and says what mends it; a fault of this host goes to the journal, and the
 * caller learns only that there was one. */

#include <signal.h>
#include <stdio.h>

#include "api/manager.h"
#include "audit/audit.h"
#include "identity/users.h"
#include "store/verify.h"
#include "util/encode.h"

const Interface *const manager_interfaces[] = {
        &interface_vaultd,
        &interface_connect,
        &interface_token,
        &interface_session,
        &interface_login,
        &interface_admin,
        &interface_store,
        &interface_page,
        &interface_web,
        NULL,
};

static const char *const failure_names[] = {
        [FAILURE_NONE] = "io.vaultd.Internal",
        [FAILURE_NOT_CONNECTED] = "io.vaultd.NotConnected",
        [FAILURE_NOT_ALLOWED] = "io.vaultd.NotAllowed",
        [FAILURE_NOT_FOUND] = "io.vaultd.NotFound",
        [FAILURE_NO_SUCH_SERVICE] = "io.vaultd.NoSuchService",
        [FAILURE_VAULT_CLOSED] = "io.vaultd.VaultClosed",
        [FAILURE_FLOW] = "io.vaultd.FlowFailed",
        [FAILURE_CLAIM] = "io.vaultd.ClaimRejected",
        [FAILURE_ACCOUNT_CHANGED] = "io.vaultd.AccountChanged",
        [FAILURE_PLAN_CHANGED] = "io.vaultd.PlanChanged",
        [FAILURE_UPSTREAM] = "io.vaultd.UpstreamFailed",
        [FAILURE_PLATFORM] = "io.vaultd.PlatformFailed",
        [FAILURE_NOT_CONFIGURED] = "io.vaultd.NotConfigured",
        [FAILURE_LIMIT] = "io.vaultd.LimitExceeded",
        [FAILURE_DAMAGED] = "io.vaultd.Damaged",
};

/* The members that io.vaultd.varlink declares for each error. */
static int failure_members(json_object *o, const Failure *f) {
        int r = json_add_string(o, "message", f->message ?: "out of memory");

        if (r >= 0 && f->hint)
                r = json_add_string(o, "hint", f->hint);
        switch (f->kind) {
        case FAILURE_NOT_CONNECTED:
                if (r >= 0)
                        r = json_add_string(o, "title", f->title ?: "");
                __attribute__((fallthrough));
        case FAILURE_NO_SUCH_SERVICE:
        case FAILURE_UPSTREAM:
                return r < 0 ? r : json_add_string(o, "service", f->service ?: f->title ?: "");
        case FAILURE_VAULT_CLOSED:
                return r < 0 ? r : json_add_string(o, "state", f->state ?: "sealed");
        case FAILURE_CLAIM:
                return r < 0 ? r : json_add_int64(o, "triesLeft", f->tries_left);
        case FAILURE_ACCOUNT_CHANGED:
                if (r >= 0)
                        r = json_add_string(o, "pinned", f->pinned ?: "");
                return r < 0 ? r : json_add_string(o, "offered", f->offered ?: "");
        case FAILURE_DAMAGED:
                return r < 0 ? r : json_add_string(o, "record", f->record ?: "");
        case FAILURE_PLATFORM:
                if (r >= 0 && f->status >= 0)
                        r = json_add_int64(o, "status", f->status);
                if (r >= 0 && f->retry_after >= 0)
                        r = json_add_int64(o, "retryAfter", f->retry_after);
                return r < 0 || !f->request_id ? r : json_add_string(o, "requestId", f->request_id);
        default:
                return r;
        }
}

int manager_reply_failure(Call *call, const Failure *failure) {
        json_object *parameters = json_object_new_object();

        if (!parameters || failure_members(parameters, failure) < 0) {
                json_object_put(parameters);
                return -ENOMEM;
        }
        return call_error(call, failure_names[failure->kind], parameters);
}

void manager_restart(Manager *m) {
        m->exit_status = EXIT_STATUS_RESTART;
        /* Through the loop, as a stop by the service manager. */
        (void)kill(getpid(), SIGTERM);
}

int manager_reply_outcome(Call *call, int r, const Failure *failure) {
        return r == FAILED ? manager_reply_failure(call, failure) : r;
}

int manager_damage(Manager *m, uid_t uid, Failure *failure) {
        _cleanup_(freep) char *names = NULL;
        int r;

        r = store_find_damage(m->store, m->keyring, uid, &names);
        if (r == -EIO) { /* LMDB itself cannot follow its pages */
                names = strdup("database");
                r = names ? 1 : -ENOMEM;
        }
        if (r <= 0)
                return r;
        audit_line(LOG_ERR, uid,
                        "stored records that uid %u needs are damaged or were changed by others, and are "
                        "not used: %s",
                        (unsigned)uid, names);
        r = failure_set(failure, FAILURE_DAMAGED,
                        "Ask your administrator to restore a backup: vaultctl admin restore",
                        "what vaultd has stored for uid %u is damaged and is not used: %s", (unsigned)uid,
                        names);
        if (r == FAILED)
                failure->record = TAKE_PTR(names);
        return r;
}

/* Whether it was damage that made the call fail; then it is answered. */
static bool fault_is_damage(Manager *m, Call *call) {
        Failure failure = {};
        bool is_damage;

        is_damage = manager_damage(m, call_principal(call)->uid, &failure) == FAILED &&
                    manager_reply_failure(call, &failure) >= 0;
        failure_done(&failure);
        return is_damage;
}

void manager_fault(Call *call, int error, void *userdata) {
        bool is_full = error == -ENOSPC;

        if (error == -EKEYREVOKED) {
                (void)call_error(call, "io.vaultd.Revoked",
                                json_build("message", 's',
                                                "your credentials were revoked, or your vault was closed, "
                                                "while this was under way",
                                                "hint", 's', "Run: vaultctl status", NULL));
                return;
        }

        if ((error == -EBADMSG || error == -EIO) && fault_is_damage(userdata, call))
                return;

        if (error == -EDQUOT) {
                (void)call_error(call, "io.vaultd.LimitExceeded",
                                json_build("message", 's', "you have too many calls under way at once",
                                                "hint", 's', "Try again later", NULL));
                return;
        }
        /* A client that does not take its answers is no fault of ours. */
        bool is_client_lost = call_is_gone(call) && (error == -EPIPE || error == -ECONNRESET);
        if (error != -ECANCELED && !is_client_lost)
                audit_line(LOG_ERR, call_principal(call)->uid, "a call of uid %u failed: %s",
                                (unsigned)call_principal(call)->uid, strerror(-error));
        (void)call_error(call, is_full ? "io.vaultd.StoreFull" : "io.vaultd.Internal",
                        json_build("message", 's',
                                        is_full ? "vaultd cannot store more: its disk or its map is full; "
                                                  "nothing was lost"
                                                : "vaultd failed; its journal says more",
                                        "hint", 's',
                                        is_full ? "Ask your administrator to make room where vaultd keeps "
                                                  "its state, or to raise MapSize= in vaultd.conf"
                                                : "Run: journalctl -u vaultd",
                                        NULL));
}

int manager_service(Manager *m, const char *name, const ServiceProfile **ret, Failure *failure) {
        _cleanup_(freep) char *shown = NULL;
        int r;

        *ret = config_find_service(m->config, name);
        if (*ret)
                return 0;
        shown = printable(name, 64);
        if (!shown)
                return -ENOMEM;
        r = failure_set(failure, FAILURE_NO_SUCH_SERVICE, "Run: vaultctl services",
                        "this host has no service named %s", shown);
        if (r == FAILED)
                failure->service = TAKE_PTR(shown);
        return r;
}

int failure_not_connected(Failure *failure, const ServiceProfile *profile) {
        _cleanup_(freep) char *hint = NULL;
        int r;

        if (asprintf(&hint, "Run: vaultctl connect %s", profile->name) < 0) {
                hint = NULL;
                return -ENOMEM;
        }
        r = failure_set(failure, FAILURE_NOT_CONNECTED, hint, "%s credentials not configured",
                        profile->title);
        if (r == FAILED) {
                failure->service = strdup(profile->name);
                failure->title = strdup(profile->title);
        }
        return r;
}

const char *custody_to_string(Custody custody) {
        static const char *const names[] = {
                [CUSTODY_AUTO] = "auto",
                [CUSTODY_HOST] = "host",
                [CUSTODY_PLATFORM] = "platform",
                [CUSTODY_MIRROR] = "mirror",
        };

        return (unsigned)custody < ELEMENTSOF(names) ? names[custody] : "host";
}

json_object *account_to_json(const char *id, const char *name) {
        return json_build("id", 's', id, "name", 's', name, NULL);
}

json_object *strv_to_json(char *const *list) {
        json_object *array = json_object_new_array();

        for (char *const *s = list; array && s && *s; s++)
                if (json_array_add_string(array, *s) < 0) {
                        json_object_put(array);
                        return NULL;
                }
        return array;
}
