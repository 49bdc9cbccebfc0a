/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Whether the account that came back may become this user's (O4, O7; T14, T33).
 *
 * Three things are held against what the service says about the account: what root or the name service says is this user's
 * (AccountMatch=), what the same user was connected as before (the pin, which outlives a disconnect), and the way the grant came
 * in. The claim proves that the person at the page and the person at the terminal are one; ways without a page of ours have
 * no such proof, and there the first two are all there is.
 *
 * Every way in ends here twice: when the service has named the account, so that what does not belong is revoked at once, and when
 * it is claimed, since minutes lie in between in which root may have changed his mind or another flow may have pinned an
 * account. A file or name service that cannot be asked refuses: it never means that any account will do.
 *
 * What does not match is told with the account's name: the user has to know whom the browser was logged in as.
 *
 * Who may call: callback.c, device.c, claim.c, static-token.c, on fibers. */

#include <stdio.h>

#include "identity/mail.h"
#include "oauth/oauth-internal.h"
#include "policy/account-match.h"
#include "policy/source.h"

int account_check_pin(Oauth *o, uid_t uid, const ServiceProfile *p, const char *label,
                const char *account_id, const char *account_name, bool *ret_is_pinned, Failure *failure) {
        _cleanup_(pinned_account_freep) PinnedAccount *pin = NULL;
        int r;

        if (ret_is_pinned)
                *ret_is_pinned = false;
        if (p->account_source == ACCOUNT_SOURCE_NONE)
                return 0; /* nothing to compare */
        r = pinned_account_record_read(o->store, uid, p->name, label, &pin);
        if (r < 0 && r != -ENOENT)
                return r;
        if (ret_is_pinned)
                *ret_is_pinned = pin != NULL;
        if (!pin || streq_ptr(pin->account_id, account_id))
                return 0;
        r = failure_set(failure, FAILURE_ACCOUNT_CHANGED, NULL,
                        "%s was connected as %s before, this is %s; nothing was stored", p->title,
                        pin->account_name, account_name ?: "an unknown account");
        if (r != FAILED)
                return r;
        failure->pinned = strdup(pin->account_name);
        failure->offered = strdup(account_name ?: "");
        bool is_default = streq(label, "default");
        if (asprintf(&failure->hint, "Run: vaultctl connect %s%s%s --replace-account", p->name,
                            is_default ? "" : " --as ", is_default ? "" : label) < 0)
                failure->hint = NULL;
        return failure->hint && failure->pinned && failure->offered ? FAILED : -ENOMEM;
}

static int fail_other(
                const ServiceProfile *p, const char *user, const char *account_name, Failure *failure) {
        return failure_set(failure, FAILURE_NOT_ALLOWED,
                        "Log out of the service in the browser and connect with your own account, or ask "
                        "your "
                        "administrator",
                        "%s answered with the account %s, which this host does not know as %s's; nothing "
                        "was "
                        "stored",
                        p->title, account_name, user);
}

static int match_by_file(Oauth *o, uid_t uid, const char *user, const ServiceProfile *p, const char *account,
                const char *account_name, Failure *failure) {
        _cleanup_(freep) char *text = NULL;
        FaultList faults = {};
        unsigned line = 0;
        size_t n = 0;
        int r;

        r = source_read_path(p->account_match, o->is_trusting_owner, &faults, &text, &n);
        if (r == FAILED)
                r = failure_set(failure, FAILURE_NOT_CONFIGURED, NULL,
                                "%s: whose account it is cannot be looked up: %s: %s; nothing was stored",
                                p->title, p->account_match,
                                faults.list.n_faults > 0 ? faults.list.faults[0].text : "out of memory");
        config_faults_done(&faults.list);
        if (r != 0)
                return r;
        switch (account_file_judge(text, n, uid, user, account, &line)) {
        case ACCOUNT_LISTED:
                return 0;
        case ACCOUNT_FILE_FAULTY:
                return failure_set(failure, FAILURE_NOT_CONFIGURED, NULL,
                                "%s: whose account it is cannot be looked up: %s:%u is no \"USER ACCOUNT\"; "
                                "nothing "
                                "was stored",
                                p->title, p->account_match, line);
        case ACCOUNT_OTHER:
        case ACCOUNT_NO_USER:
                break;
        }
        return fail_other(p, user, account_name, failure);
}

static int match_by_mail(Oauth *o, uid_t uid, const char *user, const ServiceProfile *p, const char *account,
                const char *account_name, Failure *failure) {
        _cleanup_(freep) char *name = NULL, *mail = NULL;
        int r;

        r = o->users ? users_mail(o->users, uid, &name, &mail) : -EHOSTUNREACH;
        if (r == -ENOMEM || r == -ECANCELED)
                return r;
        if (r < 0 || !streq(name, user))
                return failure_set(failure, FAILURE_NOT_CONFIGURED, "Try again later",
                                "%s: the name service does not say which mail address is %s's; nothing was "
                                "stored",
                                p->title, user);
        if (!mail)
                return failure_set(failure, FAILURE_NOT_ALLOWED, "Ask your administrator",
                                "%s: the name service has no mail address of %s, and only that account may "
                                "be "
                                "connected here; nothing was stored",
                                p->title, user);
        return mail_is_equal(mail, account) ? 0 : fail_other(p, user, account_name, failure);
}

int account_check_match(Oauth *o, uid_t uid, const char *user, const ServiceProfile *p,
                const char *account_id, const char *account_name, Failure *failure) {
        const char *account = p->account_match_by == ACCOUNT_MATCH_BY_NAME ? account_name : account_id;

        if (!p->account_match)
                return 0;
        if (isempty(account))
                return failure_set(failure, FAILURE_NOT_ALLOWED, "Ask your administrator",
                                "%s does not say whose account it is, and only %s's may be connected here; "
                                "nothing "
                                "was stored",
                                p->title, user);
        return streq(p->account_match, ACCOUNT_MATCH_MAIL)
                               ? match_by_mail(o, uid, user, p, account, account_name, failure)
                               : match_by_file(o, uid, user, p, account, account_name, failure);
}

int way_is_allowed(const ServiceProfile *p, FlowWay way, Failure *failure) {
        if (way == FLOW_WAY_PASTE && p->paste_back == PASTE_BACK_NO)
                return failure_set(failure, FAILURE_NOT_ALLOWED, NULL,
                                "paste-back is switched off for %s on this host", p->title);
        if (way == FLOW_WAY_DEVICE && (!p->has_device || !p->account_match))
                return failure_set(failure, FAILURE_NOT_ALLOWED, NULL,
                                "device codes are switched off for %s on this host", p->title);
        return 0;
}

int failure_way_needs_pin(const ServiceProfile *p, Failure *failure) {
        return failure_set(failure, FAILURE_NOT_ALLOWED, NULL,
                        "%s: paste-back is allowed for a known account only; connect through the page once",
                        p->title);
}

int flow_check_account(Oauth *o, const Flow *f, const ServiceProfile *p, Failure *failure) {
        bool is_pinned = false;
        int r;

        r = way_is_allowed(p, f->way, failure);
        if (r == 0)
                r = account_check_match(o, f->uid, f->user, p, f->account_id, f->account_name, failure);
        if (r != 0)
                return r;
        r = account_check_pin(o, f->uid, p, f->label, f->account_id, f->account_name, &is_pinned, failure);
        /* Root's word makes an account known as well as the pin does. Another one than the pinned is not known, whatever the user says. */
        bool needs_known =
                        f->way == FLOW_WAY_PASTE && p->paste_back == PASTE_BACK_MATCH && !p->account_match;
        if (r == 0)
                return needs_known && !is_pinned ? failure_way_needs_pin(p, failure) : 0;
        if (r != FAILED || !f->is_replacing_account)
                return r;
        failure_done(failure);
        return needs_known ? failure_way_needs_pin(p, failure) : 0;
}
