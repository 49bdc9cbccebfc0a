/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Does a credential work? Valid, invalid or not known, and why (O8).
 *
 * Only the service can say that, so it is asked with the token, the way an agent would ask (mcp-probe.c). A token that is due is refreshed
 * first, and one that is refused is refreshed once (refresh.c says how often at most) before it counts as invalid. "Not known" is everything
 * that says nothing about the token: no answer, a fault of the service's, a refresh that is not possible just now, a token that is not on this
 * host. To call that invalid would send people through a consent that mends nothing.
 *
 * Asking makes a service do work in this host's name, so it counts like the beginning of a connection, for the uid (quota.c).
 *
 * Who may call: api, on fibers. */

#include <stdio.h>

#include "oauth/refresh-internal.h"

void check_done(Check *c) {
        free(c->reason);
        free(c->hint);
        probe_done(&c->probe);
        *c = (Check){};
}

/* Takes over what the failure says. */
static void conclude(Check *check, CheckVerdict verdict, Failure *failure) {
        check->verdict = verdict;
        check->reason = TAKE_PTR(failure->message);
        check->hint = TAKE_PTR(failure->hint);
        failure_done(failure);
}

static int conclude_text(Check *check, CheckVerdict verdict, const char *reason) {
        check->verdict = verdict;
        check->reason = strdup(reason);
        return check->reason ? 0 : -ENOMEM;
}

/* A failure to get a good token, as a verdict. */
static int conclude_failure(Check *check, Failure *failure) {
        conclude(check, failure->kind == FAILURE_NOT_CONNECTED ? CHECK_INVALID : CHECK_UNKNOWN, failure);
        return 0;
}

static int conclude_reconnect(Check *check, const ServiceProfile *p, const Credential *c, const char *what) {
        Failure failure = {};
        int r;

        r = refresh_failure_reconnect(&failure, p->title, p->name, c->label, what);
        if (r == FAILED && c->kind != CREDENTIAL_OAUTH) {
                _cleanup_(freep) char *hint = TAKE_PTR(failure.hint);

                if (asprintf(&failure.hint, "%s --token-stdin", hint) < 0) {
                        failure.hint = NULL;
                        r = -ENOMEM;
                }
        }
        if (r == FAILED)
                return conclude_failure(check, &failure);
        failure_done(&failure);
        return r;
}

/* The rights are too few for what was asked: the token is good, and where a command would widen it, that is named. */
static int conclude_narrow(Check *check, const ServiceProfile *p, const Credential *c) {
        check->verdict = CHECK_VALID;
        return step_up_advice(p, c, check->probe.scope, &check->reason, &check->hint);
}

/* Once with the token as it is, and once more with the one that came in place of a refused one. */
static int check_by_probe(Oauth *o, const ServiceProfile *p, Vault **vault, Credential **c, const char *tool,
                Check *check) {
        Failure failure = {};
        int r;

        r = oauth_probe(o, p, (*c)->upstream, (*c)->access_token, tool, &check->probe);
        if (r == 0 && check->probe.verdict == PROBE_REFUSED && (*c)->kind == CREDENTIAL_OAUTH) {
                r = oauth_token_refused(o, vault, c, &failure);
                if (r == FAILED) {
                        /* Nothing else but the refusal is known, unless the refresh itself could not be made. */
                        conclude(check,
                                        failure.kind == FAILURE_NOT_CONNECTED || oauth_token_is_new(*c)
                                                        ? CHECK_INVALID
                                                        : CHECK_UNKNOWN,
                                        &failure);
                        return 0;
                }
                if (r == 0) {
                        probe_done(&check->probe);
                        r = oauth_probe(o, p, (*c)->upstream, (*c)->access_token, tool, &check->probe);
                }
        }
        if (r < 0) {
                failure_done(&failure);
                return r;
        }
        switch (check->probe.verdict) {
        case PROBE_ACCEPTED:
                check->verdict = CHECK_VALID;
                return 0;
        case PROBE_REFUSED:
                return (*c)->kind == CREDENTIAL_OAUTH
                                       ? conclude_text(check, CHECK_INVALID, check->probe.reason)
                                       : conclude_reconnect(check, p, *c,
                                                         "the service does not accept the token");
        case PROBE_NARROW:
                return conclude_narrow(check, p, *c);
        case PROBE_UNKNOWN:
                break;
        }
        return conclude_text(
                        check, CHECK_UNKNOWN, check->probe.reason ?: "the service said nothing about it");
}

/* The value of a variable belongs to no MCP server; where the profile says who can be asked, its account is compared. */
static int check_by_account(Oauth *o, const ServiceProfile *p, const Credential *c, Check *check) {
        _cleanup_(freep) char *id = NULL, *name = NULL;
        Failure failure = {};
        int r;

        r = account_ask_for_token(o, p, c->access_token, &id, &name, &failure);
        if (r == FAILED) {
                conclude(check, failure.status == 401 ? CHECK_INVALID : CHECK_UNKNOWN, &failure);
                return 0;
        }
        if (r < 0)
                return r;
        if (!id)
                return conclude_text(check, CHECK_UNKNOWN, "the service cannot be asked about it");
        if (!streq_ptr(id, c->account_id))
                return conclude_reconnect(check, p, c, "the service says now that it is another account's");
        check->verdict = CHECK_VALID;
        return 0;
}

static int check_in_turn(Oauth *o, const ServiceProfile *p, Vault **vault, Credential **c, const char *tool,
                Check *check) {
        Failure failure = {};
        int r;

        r = oauth_fresh_token(o, vault, c, 0, &failure);
        if (r == FAILED)
                return conclude_failure(check, &failure);
        if (r < 0)
                return r;
        if (!credential_token_is_good(*c))
                return conclude_reconnect(check, p, *c, "the access has expired");
        return (*c)->kind == CREDENTIAL_ENVIRONMENT ? check_by_account(o, p, *c, check)
                                                    : check_by_probe(o, p, vault, c, tool, check);
}

/* What was found out may be in the record by now. If that cannot be read, what is in hand is as good as before. */
static void read_again(Oauth *o, Vault **vault, Credential **c) {
        _cleanup_(credential_freep) Credential *fresh = NULL;
        _cleanup_(vault_freep) Vault *v = NULL;

        if (vault_record_read(o->store, o->keyring, (*c)->uid, &v) < 0 || !streq(v->id, (*vault)->id) ||
                        credential_record_read(o->store, v, (*c)->service, (*c)->label, &fresh) < 0 ||
                        !streq(fresh->id, (*c)->id))
                return;
        (void)vault_free(*vault);
        *vault = TAKE_PTR(v);
        (void)credential_free(*c);
        *c = TAKE_PTR(fresh);
}

int oauth_check(Oauth *o, Vault **vault, Credential **c, const char *tool, Check *ret) {
        const ServiceProfile *p = config_find_service(o->config, (*c)->service);
        Failure failure = {};
        Check check = {};
        Work work;
        int r;

        if (!p)
                r = conclude_text(&check, CHECK_UNKNOWN, "the service was taken off this host");
        else if ((*c)->state == CREDENTIAL_NEEDS_RECONNECT)
                r = conclude_reconnect(&check, p, *c, (*c)->state_reason ?: "it cannot be used any more");
        else if ((*c)->state != CREDENTIAL_ACTIVE)
                r = conclude_text(&check, CHECK_INVALID, "it is being disconnected");
        else if ((*c)->custody == CUSTODY_PLATFORM)
                r = conclude_text(&check, CHECK_UNKNOWN,
                                "the Claude Platform keeps it, so this host cannot try it");
        else if (!streq_ptr(p->url, (*c)->upstream))
                r = conclude_reconnect(&check, p, *c, "it was made for another address of the service");
        else {
                r = work_enter(o, &work, WORK_EXCHANGE, (*c)->uid, &failure);
                if (r == 0) {
                        r = pace_beginning(o, (*c)->uid, &failure);
                        if (r == 0)
                                r = check_in_turn(o, p, vault, c, tool, &check);
                        work_leave(o, &work);
                }
                if (r == FAILED)
                        r = conclude_failure(&check, &failure);
                read_again(o, vault, c);
        }
        failure_done(&failure);
        if (r < 0) {
                check_done(&check);
                return r;
        }
        *ret = check;
        return 0;
}
