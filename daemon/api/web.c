/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* io.vaultd.Web: what vaultd-web may ask. Each method takes a ticket or a state that vaultd minted; nothing here tells
 * the web process a uid or lets it choose one, and no token ever goes out this way.
 *
 * Each call is charged to the uid whose flow it concerns as soon as that is known, which is before it waits for anything:
 * all come from vaultd-web's one account, where the callbacks of a single user could use up everybody's (T26). What
 * belongs to nobody stays in that account and is answered at once. */

#include "api/page.h"
#include "audit/audit.h"

static const char description[] =
#include "daemon/api/io.vaultd.Web.inc"
                ;

/* r: what the look-up of *uid said. What is nobody's, or damaged, goes on: the method says what is wrong with it. */
static int charge(Call *call, int r, const uid_t *uid) {
        if (r == -ENOENT || r == -EBADMSG)
                return 0;
        return r < 0 ? r : call_charge_to(call, *uid);
}

/* The ticket, with its owner charged. FAILED: answered already. */
static int take_ticket(Manager *m, Call *call, json_object *parameters, const char **ret) {
        static const JsonField fields[] = { { "ticket", JSON_FIELD_STRING, 0, true, 64 }, {} };
        const char *bad;
        uid_t uid;

        if (json_dispatch(parameters, fields, ret, &bad) < 0) {
                (void)call_invalid_parameter(call, bad);
                return FAILED;
        }
        return charge(call, oauth_ticket_owner(m->oauth, *ret, &uid), &uid);
}

/* The words of a space separated list. */
static json_object *words_to_json(const char *text) {
        json_object *array = json_object_new_array();

        for (const char *p = text; array && p && *p;) {
                size_t n = strcspn(p, " ");
                _cleanup_(freep) char *word = strndup(p, n);

                if (n > 0 && (!word || json_array_add_string(array, word) < 0)) {
                        json_object_put(array);
                        return NULL;
                }
                p += n + (p[n] == ' ');
        }
        return array;
}

static int method_page(Call *call, json_object *parameters, void *userdata) {
        _cleanup_(flow_freep) Flow *f = NULL;
        const char *ticket = NULL;
        Manager *m = userdata;
        Failure failure = {};
        int r;

        r = take_ticket(m, call, parameters, &ticket);
        if (r != 0)
                return MIN(r, 0);
        r = oauth_page(m->oauth, ticket, &f, &failure);
        if (r == 0) {
                const ServiceProfile *p = config_find_service(m->config, f->service);

                r = call_reply(call, json_build("user", 's', f->user, "host", 's', f->host, "service", 's',
                                                     f->service, "title", 's', p ? p->title : f->service,
                                                     "upstream", 's', f->upstream, "scopes", 'o',
                                                     words_to_json(f->scope), "expires", 'i',
                                                     (int64_t)f->expires_usec, NULL));
        } else
                r = manager_reply_outcome(call, r, &failure);
        failure_done(&failure);
        return r;
}

static int method_continue(Call *call, json_object *parameters, void *userdata) {
        _cleanup_(freep) char *location = NULL;
        const char *ticket = NULL;
        Manager *m = userdata;
        Failure failure = {};
        int r;

        r = take_ticket(m, call, parameters, &ticket);
        if (r != 0)
                return MIN(r, 0);
        r = oauth_continue(m->oauth, ticket, &location, &failure);
        r = r == 0 ? call_reply(call, json_build("location", 's', location, NULL))
                   : manager_reply_outcome(call, r, &failure);
        failure_done(&failure);
        return r;
}

static const JsonField callback_fields[] = {
        { "path", JSON_FIELD_STRING, offsetof(CallbackAnswer, path), true, 64 },
        { "state", JSON_FIELD_STRING, offsetof(CallbackAnswer, state), false, 512 },
        { "code", JSON_FIELD_STRING, offsetof(CallbackAnswer, code), false, 4096 },
        { "iss", JSON_FIELD_STRING, offsetof(CallbackAnswer, iss), false, 2048 },
        { "error", JSON_FIELD_STRING, offsetof(CallbackAnswer, error), false, 512 },
        { "errorDescription", JSON_FIELD_STRING, offsetof(CallbackAnswer, error_description), false, 4096 },
        { "local", JSON_FIELD_STRING, offsetof(CallbackAnswer, local), false, 64 },
        { "peer", JSON_FIELD_STRING, offsetof(CallbackAnswer, peer), false, 64 },
        {},
};

static int method_callback(Call *call, json_object *parameters, void *userdata) {
        _cleanup_(freep) char *claim_code = NULL;
        _cleanup_(flow_freep) Flow *f = NULL;
        CallbackAnswer answer = {};
        Manager *m = userdata;
        uid_t uid = UID_INVALID;
        Failure failure = {};
        const char *bad;
        int r;

        if (json_dispatch(parameters, callback_fields, &answer, &bad) < 0)
                return call_invalid_parameter(call, bad);
        if (answer.state) {
                r = charge(call, oauth_state_owner(m->oauth, answer.state, &uid), &uid);
                if (r < 0)
                        return r;
        }
        r = oauth_callback(m->oauth, &answer, &f, &claim_code, &failure);
        if (r == 0) {
                const ServiceProfile *p = config_find_service(m->config, f->service);

                audit_record(&(AuditEvent){ .kind = AUDIT_GRANT_QUARANTINED,
                                .uid = f->uid,
                                .user = f->user,
                                .verdict = "done",
                                .service = f->service,
                                .account = f->account_name,
                                .object = f->id });
                r = call_reply(call, json_build("user", 's', f->user, "host", 's', f->host, "title", 's',
                                                     p ? p->title : f->service, "account", 's',
                                                     f->account_name, "claimCode", 's', claim_code,
                                                     "expires", 'i', (int64_t)f->expires_usec, NULL));
                explicit_bzero(claim_code, strlen(claim_code));
        } else {
                if (r == FAILED)
                        audit_record(&(AuditEvent){ .kind = AUDIT_CONNECT_REFUSED,
                                        .uid = uid,
                                        .verdict = "refused",
                                        .reason = failure.message });
                r = manager_reply_outcome(call, r, &failure);
        }
        failure_done(&failure);
        return r;
}

static const Method methods[] = {
        { "Page", METHOD_WEB, method_page, .is_fiber = true },
        { "Continue", METHOD_WEB, method_continue, .is_fiber = true },
        { "Callback", METHOD_WEB, method_callback, .is_fiber = true },
        { "Invitation", METHOD_WEB, method_web_invitation, .is_fiber = true },
        { "Enter", METHOD_WEB, method_web_enter, .is_fiber = true },
        { "Services", METHOD_WEB, method_web_services, .is_fiber = true },
        { "Begin", METHOD_WEB, method_web_begin, .is_fiber = true },
        { "Offer", METHOD_WEB, method_web_offer, .is_fiber = true },
        { "Leave", METHOD_WEB, method_web_leave },
        {},
};

const Interface interface_web = { "io.vaultd.Web", description, DOOR_WEB, methods };
