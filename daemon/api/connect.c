/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* io.vaultd.Connect: begin, paste, claim, give up, disconnect. All authority (I10): they widen what the caller's agents
 * can reach. The vault is the caller's by its uid; a flow or service named in a parameter is looked for among the caller's own. */

#include <stdio.h>

#include "api/choice.h"
#include "audit/audit.h"
#include "util/clock.h"

static const char description[] =
#include "daemon/api/io.vaultd.Connect.inc"
                ;

typedef struct StartParameters {
        const char *service, *label, *way, *scope;
        bool replace_account;
} StartParameters;

static const JsonField start_fields[] = {
        { "service", JSON_FIELD_STRING, offsetof(StartParameters, service), true, 64 },
        { "label", JSON_FIELD_STRING, offsetof(StartParameters, label), false, 64 },
        { "way", JSON_FIELD_STRING, offsetof(StartParameters, way), false, 16 },
        { "scope", JSON_FIELD_STRING, offsetof(StartParameters, scope), false, 1024 },
        { "replaceAccount", JSON_FIELD_BOOL, offsetof(StartParameters, replace_account), false },
        {},
};

static json_object *start_reply(Manager *m, const ServiceProfile *p, const Flow *f, const char *state,
                const char *link, const char *url) {
        DevicePrompt prompt = {};
        json_object *o;

        if (f->way == FLOW_WAY_DEVICE && f->state == FLOW_PENDING)
                (void)oauth_device_prompt(m->oauth, f->id, &prompt);
        o = json_build("flow", 's', f->id, "state", 's', state, "service", 's', p->name,
                        "title", 's', p->title, "link", 's', link, "authorizationUrl", 's', url, "userCode", 's',
                        prompt.user_code, "verificationUri", 's', prompt.verification_uri,
                        "verificationUriComplete", 's', prompt.verification_uri_complete, "host", 's',
                        m->hostname, "expires", 'i', (int64_t)f->expires_usec, NULL);

        if (o && (link || url) && !m->config->external_url)
                (void)json_add_int64(o, "port", m->config->loopback_port);
        if (o && f->state == FLOW_QUARANTINED)
                (void)json_add(o, "account", account_to_json(f->account_id, f->account_name));
        return o;
}

/* The first reply: where the user has to go. */
static int start_pending(Manager *m, Call *call, const ServiceProfile *p, const Flow *f, const char *ticket,
                Failure *failure) {
        _cleanup_(freep) char *link = NULL, *url = NULL;
        json_object *reply;
        int r;

        r = f->way == FLOW_WAY_PAGE    ? oauth_page_link(m->oauth, ticket, &link)
            : f->way == FLOW_WAY_PASTE ? oauth_authorization_url(m->oauth, f, &url, failure)
                                       : 0;
        if (r != 0)
                return r;
        reply = start_reply(m, p, f, "pending", link, url);
        if (!reply)
                return -ENOMEM;
        return call_wants_more(call) ? call_notify(call, reply) : call_reply(call, reply);
}

static int start_way(Manager *m, uid_t uid, const StartParameters *p, const ServiceProfile *profile, FlowWay *ret) {
        const char *way = p->way ?: "page";

        if (streq(way, "remote"))
                return oauth_way_from_afar(m->oauth, uid, profile, p->label ?: LABEL_DEFAULT, ret);
        *ret = streq(way, "paste") ? FLOW_WAY_PASTE : streq(way, "device") ? FLOW_WAY_DEVICE : FLOW_WAY_PAGE;
        return 0;
}

static int start_flow(Manager *m, Call *call, const StartParameters *p, const ServiceProfile *profile,
                Failure *failure) {
        _cleanup_(freep) char *user = NULL, *ticket = NULL;
        _cleanup_(vault_freep) Vault *vault = NULL;
        _cleanup_(flow_freep) Flow *flow = NULL, *parked = NULL;
        FlowWay way = FLOW_WAY_PAGE;
        int r;

        r = manager_caller(m, call, &user, &vault, failure);
        if (r == 0)
                r = start_way(m, vault->uid, p, profile, &way);
        if (r == 0)
                r = oauth_begin(m->oauth, vault, user, profile, p->label ?: LABEL_DEFAULT, p->scope, way,
                                p->replace_account, &flow, &ticket, failure);
        manager_audit(m, call,
                        (AuditEvent){ .kind = r == 0 ? AUDIT_CONNECT_BEGUN : AUDIT_CONNECT_REFUSED,
                                        .user = user,
                                        .verdict = r == 0 ? "done" : "failed",
                                        .reason = failure->message,
                                        .service = profile->name });
        if (r == 0)
                r = start_pending(m, call, profile, flow, ticket, failure);
        if (r != 0 || call_is_answered(call))
                return r;
        r = oauth_wait(m->oauth, vault->uid, flow->id, &parked, failure);
        if (r == 0)
                r = call_reply(call, start_reply(m, profile, parked, "quarantined", NULL, NULL));
        return r;
}

/* There is no consent to ask for. */
static int failure_takes_token(Failure *failure, const ServiceProfile *profile) {
        _cleanup_(freep) char *hint = NULL;

        if (asprintf(&hint, "Run: vaultctl connect %s --token-stdin", profile->name) < 0) {
                hint = NULL;
                return -ENOMEM;
        }
        return failure_set(failure, FAILURE_NOT_ALLOWED, hint,
                        "%s is connected with a token that you get there, and not in the browser",
                        profile->title);
}

int connect_check_grant(const ServiceProfile *profile, Failure *failure) {
        return profile->auth == SERVICE_AUTH_BEARER || profile->auth == SERVICE_AUTH_ENVIRONMENT
                               ? failure_takes_token(failure, profile)
                               : 0;
}

static int method_start(Call *call, json_object *parameters, void *userdata) {
        const ServiceProfile *profile;
        StartParameters p = {};
        Manager *m = userdata;
        Failure failure = {};
        const char *bad;
        int r;

        if (json_dispatch(parameters, start_fields, &p, &bad) < 0)
                return call_invalid_parameter(call, bad);
        if (p.label && !label_is_valid(p.label))
                return call_invalid_parameter(call, "label");
        if (p.scope && !scope_is_legal(p.scope))
                return call_invalid_parameter(call, "scope");
        if (p.way && !streq(p.way, "page") && !streq(p.way, "paste") && !streq(p.way, "device") &&
                        !streq(p.way, "remote"))
                return call_invalid_parameter(call, "way");

        r = manager_service(m, p.service, &profile, &failure);
        if (r == 0)
                r = connect_check_grant(profile, &failure);
        if (r == 0)
                r = start_flow(m, call, &p, profile, &failure);
        r = manager_reply_outcome(call, r, &failure);
        failure_done(&failure);
        return r;
}

typedef struct PasteParameters {
        const char *flow, *url;
} PasteParameters;

static const JsonField paste_fields[] = {
        { "flow", JSON_FIELD_STRING, offsetof(PasteParameters, flow), true, 64 },
        { "redirectUrl", JSON_FIELD_STRING, offsetof(PasteParameters, url), true, 16384 },
        {},
};

static int method_paste(Call *call, json_object *parameters, void *userdata) {
        _cleanup_(flow_freep) Flow *f = NULL;
        _cleanup_(freep) char *user = NULL;
        PasteParameters p = {};
        Manager *m = userdata;
        Failure failure = {};
        const char *bad;
        int r;

        if (json_dispatch(parameters, paste_fields, &p, &bad) < 0)
                return call_invalid_parameter(call, bad);
        _cleanup_(vault_freep) Vault *vault = NULL;
        r = manager_caller(m, call, &user, &vault, &failure);
        if (r == 0)
                r = oauth_paste(m->oauth, vault->uid, p.flow, p.url, &f, &failure);
        if (r == 0) {
                const ServiceProfile *profile = config_find_service(m->config, f->service);

                manager_audit(m, call,
                                (AuditEvent){ .kind = AUDIT_GRANT_QUARANTINED,
                                                .user = user,
                                                .verdict = "done",
                                                .service = f->service,
                                                .account = f->account_name,
                                                .object = f->id });
                r = call_reply(call, json_build("flow", 's', f->id, "state", 's', "quarantined", "service",
                                                     's', f->service, "title", 's',
                                                     profile ? profile->title : f->service, "account", 'o',
                                                     account_to_json(f->account_id, f->account_name), NULL));
        }
        r = manager_reply_outcome(call, r, &failure);
        failure_done(&failure);
        return r;
}

typedef struct ClaimParameters {
        const char *code, *flow, *account;
} ClaimParameters;

static const JsonField claim_fields[] = {
        { "code", JSON_FIELD_STRING, offsetof(ClaimParameters, code), false, 64 },
        { "flow", JSON_FIELD_STRING, offsetof(ClaimParameters, flow), false, 64 },
        { "account", JSON_FIELD_STRING, offsetof(ClaimParameters, account), false, 256 },
        {},
};

/* What the chosen custody cannot serve is said now, not when an agent stumbles over it (V4). */
static const char *custody_notice(Custody custody) {
        return custody == CUSTODY_PLATFORM ? "The Claude Platform keeps this credential: agents on this "
                                             "host cannot use it."
               : custody == CUSTODY_HOST   ? "This host keeps this credential: sessions on the Claude "
                                             "Platform cannot use it."
                                           : NULL;
}

/* With a workspace key the first connect makes the platform vault (V3); the platform being away does not undo a connection. */
static int claim_deliver(Manager *m, Vault **vault, Credential **c, char **ret_notice) {
        const char *notice = custody_notice((Custody)(*c)->custody);
        Failure failure = {};
        int r = 0;

        if (m->platform && (*c)->custody != CUSTODY_HOST)
                r = platform_ensure_vault(m->platform, vault, &failure);
        if (r == 0 && m->platform && (*c)->custody == CUSTODY_PLATFORM)
                r = platform_put_credential(m->platform, vault, c, &failure);
        if (r == FAILED && asprintf(ret_notice,
                                           "Stored on this host. The Claude Platform could not be told yet "
                                           "and will be when a session starts: %s",
                                           failure.message) < 0)
                *ret_notice = NULL;
        else if (r == 0 && notice)
                *ret_notice = strdup(notice);
        failure_done(&failure);
        return r < 0 ? r : 0;
}

int connect_reply(Manager *m, Call *call, AuditKind kind, const char *user, Vault **vault, Credential **c) {
        const ServiceProfile *p = config_find_service(m->config, (*c)->service);
        _cleanup_(freep) char *notice = NULL;
        int r;

        manager_audit(m, call,
                        (AuditEvent){ .kind = kind,
                                        .user = user,
                                        .verdict = "done",
                                        .service = (*c)->service,
                                        .account = (*c)->account_name,
                                        .object = (*c)->id });
        r = claim_deliver(m, vault, c, &notice);
        if (r < 0)
                return r;
        return call_reply(call,
                        json_build("service", 's', (*c)->service, "title", 's', p ? p->title : (*c)->service,
                                        "label", 's', (*c)->label, "account", 'o',
                                        account_to_json((*c)->account_id, (*c)->account_name), "custody",
                                        's', custody_to_string((Custody)(*c)->custody), "notice", 's',
                                        notice, NULL));
}

static int method_claim(Call *call, json_object *parameters, void *userdata) {
        _cleanup_(credential_freep) Credential *c = NULL;
        _cleanup_(vault_freep) Vault *vault = NULL;
        _cleanup_(freep) char *user = NULL;
        ClaimParameters p = {};
        Manager *m = userdata;
        Failure failure = {};
        const char *bad;
        int r;

        if (json_dispatch(parameters, claim_fields, &p, &bad) < 0)
                return call_invalid_parameter(call, bad);
        if (!p.code && !p.account)
                return call_invalid_parameter(call, "code");
        r = manager_caller(m, call, &user, &vault, &failure);
        if (r == 0)
                r = oauth_claim(m->oauth, vault, p.flow, p.code, p.account, m->platform != NULL, &c,
                                &failure);
        if (r == 0)
                r = connect_reply(m, call, AUDIT_GRANT_CLAIMED, user, &vault, &c);
        else if (r == FAILED)
                manager_audit(m, call,
                                (AuditEvent){ .kind = AUDIT_CLAIM_REJECTED,
                                                .user = user,
                                                .verdict = "refused",
                                                .reason = failure.message });
        r = manager_reply_outcome(call, r, &failure);
        failure_done(&failure);
        return r;
}

static int method_cancel(Call *call, json_object *parameters, void *userdata) {
        static const JsonField fields[] = { { "flow", JSON_FIELD_STRING, 0, true, 64 }, {} };
        const char *flow = NULL, *bad;
        Manager *m = userdata;
        Failure failure = {};
        int r;

        if (json_dispatch(parameters, fields, &flow, &bad) < 0)
                return call_invalid_parameter(call, bad);
        r = oauth_cancel(m->oauth, call_principal(call)->uid, flow, &failure);
        r = r == 0 ? call_reply(call, NULL) : manager_reply_outcome(call, r, &failure);
        failure_done(&failure);
        return r;
}

static const Method methods[] = {
        { "Start", METHOD_AUTHORITY, method_start, .is_fiber = true, .is_stream = true,
                        .ends_with_client = true },
        { "Paste", METHOD_AUTHORITY, method_paste, .is_fiber = true },
        { "Claim", METHOD_AUTHORITY, method_claim, .is_fiber = true },
        { "Cancel", METHOD_AUTHORITY, method_cancel, .is_fiber = true },
        { "Identify", METHOD_AUTHORITY, method_connect_identify, .is_fiber = true },
        { "Keep", METHOD_AUTHORITY, method_connect_keep, .is_fiber = true },
        { "Check", METHOD_USE, method_connect_check, .is_fiber = true, .is_recorded = true,
                        .uses_credentials = true },
        { "Disconnect", METHOD_AUTHORITY, method_connect_disconnect, .is_fiber = true },
        {},
};

const Interface interface_connect = { "io.vaultd.Connect", description, DOOR_PUBLIC, methods };
