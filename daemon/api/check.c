/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* io.vaultd.Connect.Check: whether the caller's connections work (O8).
 *
 * A use method: it reveals nothing and widens nothing, and agents may find out why a call of theirs fails. A tool is called
 * only where the host's policy has it on for sessions, and without arguments (M1).
 *
 * Several connections are asked one after the other, for a user has few of them; what did not get its turn in time is not known.
 *
 * Who may call: the gate lets every local user in; the vault is the caller's. */

#include "api/choice.h"
#include "util/clock.h"

/* No connection is begun with after that long: the caller waits two minutes. */
#define TURNS_USEC (60 * USEC_PER_SEC)

typedef struct CheckParameters {
        const char *service, *label, *tool;
} CheckParameters;

static const JsonField fields[] = {
        { "service", JSON_FIELD_STRING, offsetof(CheckParameters, service), false, 64 },
        { "label", JSON_FIELD_STRING, offsetof(CheckParameters, label), false, 64 },
        { "tool", JSON_FIELD_STRING, offsetof(CheckParameters, tool), false, 128 },
        {},
};

static const char *verdict_to_string(CheckVerdict verdict) {
        return verdict == CHECK_VALID ? "valid" : verdict == CHECK_INVALID ? "invalid" : "unknown";
}

static json_object *check_to_json(Manager *m, const Credential *c, const Check *check) {
        const ServiceProfile *p = config_find_service(m->config, c->service);
        const char *ignored;
        json_object *o = json_build("service", 's', c->service, "title", 's', p ? p->title : c->service,
                        "label", 's', c->label, "account", 'o',
                        account_to_json(c->account_id ?: "", c->account_name ?: ""), "verdict", 's',
                        verdict_to_string(check->verdict), "reason", 's', check->reason, "hint", 's',
                        check->hint, "state", 's', oauth_credential_state(c, &ignored), "scope", 's',
                        check->probe.scope, NULL);

        if (o && c->expires_usec > 0)
                (void)json_add_int64(o, "expires", (int64_t)c->expires_usec);
        if (o && check->probe.tools)
                (void)json_add(o, "tools", strv_to_json(check->probe.tools));
        return o;
}

static int check_one(Manager *m, Vault **vault, Credential **c, const char *tool, uint64_t until_usec,
                json_object *results) {
        Check check = {};
        int r = 0;

        if (now_monotonic() < until_usec)
                r = oauth_check(m->oauth, vault, c, tool, &check);
        else {
                check = (Check){ .verdict = CHECK_UNKNOWN,
                        .reason = strdup("others took too long; ask for it by its name") };
        }
        if (r == 0)
                r = json_object_array_add(results, check_to_json(m, *c, &check));
        check_done(&check);
        return r;
}

/* FAILED: there is none that is meant. */
static int check_all(Manager *m, Vault **vault, const ServiceProfile *p, const CheckParameters *q,
                json_object *results, Failure *failure) {
        uint64_t until_usec = now_monotonic() + TURNS_USEC;
        Credential **list = NULL;
        size_t n = 0, n_meant = 0;
        int r;

        r = credential_record_list(m->store, *vault, p ? p->name : NULL, &list, &n);
        for (size_t i = 0; i < n && r == 0; i++) {
                if (q->label && !streq(list[i]->label, q->label))
                        continue;
                n_meant++;
                r = check_one(m, vault, &list[i], q->tool, until_usec, results);
        }
        credential_list_free(list, n);
        if (r == 0 && n_meant == 0 && p)
                r = failure_not_connected(failure, p);
        return r;
}

static int check_tool(Manager *m, const ServiceProfile *p, const char *tool, Failure *failure) {
        const ServerPolicy *policy = config_find_server(m->config, p->name);

        if (policy && server_policy_tool(policy, tool) == TOOL_ON)
                return 0;
        return failure_set(failure, FAILURE_NOT_ALLOWED, NULL, "the tool is not on for %s on this host",
                        p->title);
}

int method_connect_check(Call *call, json_object *parameters, void *userdata) {
        _cleanup_(json_putp) json_object *results = json_object_new_array();
        _cleanup_(vault_freep) Vault *vault = NULL;
        const ServiceProfile *profile = NULL;
        CheckParameters q = {};
        Manager *m = userdata;
        Failure failure = {};
        const char *bad;
        int r;

        if (json_dispatch(parameters, fields, &q, &bad) < 0)
                return call_invalid_parameter(call, bad);
        if (q.label && !label_is_valid(q.label))
                return call_invalid_parameter(call, "label");
        if (!q.service && (q.label || q.tool))
                return call_invalid_parameter(call, "service");
        if (!results)
                return -ENOMEM;
        r = q.service ? manager_service(m, q.service, &profile, &failure) : 0;
        if (r == 0 && profile)
                r = call_uses_service(call, profile->name);
        if (r == 0 && q.tool)
                r = check_tool(m, profile, q.tool, &failure);
        if (r == 0)
                r = manager_caller(m, call, NULL, &vault, &failure);
        if (r == 0)
                r = check_all(m, &vault, profile, &q, results, &failure);
        r = r == 0 ? call_reply(call, json_build("results", 'o', TAKE_PTR(results), NULL))
                   : manager_reply_outcome(call, r, &failure);
        failure_done(&failure);
        return r;
}
