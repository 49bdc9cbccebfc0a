/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which of the caller's credentials is meant, and what is said when it is not clear.
 *
 * Everything that uses a credential on a caller's word comes here: session plans, reading a token. The decision itself is
 * credential_select(), which is pure; this gives it the records of the caller's vault, and words what it found: not configured
 * (the exact text of O10), needs a new connect, or several of equal rank with their names and how to say which (T19). There is
 * no cache: each look reads the vault of the uid that asks, so nothing of one user can be answered to another (T20).
 *
 * Who may call: methods. It waits for nothing. */

#include <stdio.h>

#include "api/choice.h"

bool label_is_valid(const char *label) {
        size_t n = strlen(label);

        return n > 0 && n <= 32 && strspn(label, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

int service_reference_parse(const char *text, char **ret_service, char **ret_label) {
        const char *colon = strchr(text, ':');
        _cleanup_(freep) char *service = NULL, *label = NULL;

        if (colon && !label_is_valid(colon + 1))
                return -EINVAL;
        service = colon ? strndup(text, (size_t)(colon - text)) : strdup(text);
        label = colon ? strdup(colon + 1) : NULL;
        if (!service || (colon && !label))
                return -ENOMEM;
        *ret_service = TAKE_PTR(service);
        *ret_label = TAKE_PTR(label);
        return 0;
}

const char *credential_kind_to_string(CredentialKind kind) {
        static const char *const names[] = { [CREDENTIAL_OAUTH] = "oauth",
                [CREDENTIAL_STATIC_BEARER] = "bearer",
                [CREDENTIAL_ENVIRONMENT] = "environment" };

        return (unsigned)kind < ELEMENTSOF(names) ? names[kind] : "oauth";
}

const char *flow_state_to_string(FlowState state) {
        static const char *const names[] = {
                [FLOW_PENDING] = "pending",
                [FLOW_CONTINUED] = "continued",
                [FLOW_EXCHANGING] = "exchanging",
                [FLOW_QUARANTINED] = "quarantined",
                [FLOW_REVOKING] = "revoking",
        };

        return (unsigned)state < ELEMENTSOF(names) ? names[state] : "revoking";
}

/* The command that connects this account of the service; NULL without memory. */
static char *connect_command(const ServiceProfile *p, const char *label) {
        bool is_default = !label || streq(label, LABEL_DEFAULT);
        char *hint;

        return asprintf(&hint, "Run: vaultctl connect %s%s%s", p->name, is_default ? "" : " --as ",
                               is_default ? "" : label) < 0
                               ? NULL
                               : hint;
}

/* Fills in what NOT_CONNECTED has beside the message. */
static int failure_name_service(Failure *failure, const ServiceProfile *p, const char *label) {
        free(failure->hint);
        failure->hint = connect_command(p, label);
        failure->service = strdup(p->name);
        failure->title = strdup(p->title);
        return failure->hint && failure->service && failure->title ? FAILED : -ENOMEM;
}

int failure_reconnect(Failure *failure, const ServiceProfile *p, const char *label, const char *what) {
        int r = failure_set(failure, FAILURE_NOT_CONNECTED, NULL, "%s credentials %s", p->title, what);

        return r == FAILED ? failure_name_service(failure, p, label) : r;
}

static int failure_unusable(Failure *failure, const ServiceProfile *p, const Credential *c) {
        _cleanup_(freep) char *what = NULL;

        if (asprintf(&what, "need to be connected again%s%s", c->state_reason ? ": " : "",
                            c->state_reason ?: "") < 0) {
                what = NULL;
                return -ENOMEM;
        }
        return failure_reconnect(failure, p, c->label, what);
}

static int failure_several(Failure *failure, const ServiceProfile *p, Credential *const *list, size_t n,
                const CredentialWish *wish, const char *say) {
        _cleanup_(freep) char *labels = credential_select_labels(list, n, wish), *hint = NULL;
        size_t n_labels = 1;

        if (!labels || asprintf(&hint, "Say which one: %s", say) < 0) {
                hint = NULL;
                return -ENOMEM;
        }
        for (const char *c = labels; *c; c++)
                n_labels += *c == ',';
        return failure_set(failure, FAILURE_NOT_ALLOWED, hint, "you have %zu accounts connected for %s: %s",
                        n_labels, p->title, labels);
}

int manager_choose_credential(Manager *m, const Vault *vault, const ServiceProfile *p, const char *label,
                const char *say, Credential **ret, Failure *failure) {
        const CredentialWish wish = { .service = p->name, .label = label, .upstream = p->url };
        Credential **list = NULL;
        size_t n = 0, i = 0;
        int r;

        r = credential_record_list(m->store, vault, p->name, &list, &n);
        if (r < 0)
                return r;
        switch (credential_select(list, n, &wish, &i)) {
        case CREDENTIAL_CHOSEN:
                *ret = list[i];
                list[i] = list[--n];
                r = 0;
                break;
        case CREDENTIAL_NONE:
                r = failure_not_connected(failure, p);
                if (r == FAILED) {
                        free(TAKE_PTR(failure->service));
                        free(TAKE_PTR(failure->title));
                        r = failure_name_service(failure, p, label);
                }
                break;
        case CREDENTIAL_UNUSABLE:
                r = failure_unusable(failure, p, list[i]);
                break;
        case CREDENTIAL_SEVERAL:
                r = failure_several(failure, p, list, n, &wish, say);
                break;
        }
        credential_list_free(list, n);
        return r;
}
