/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A token whose rights were too few for something (RFC 6750 section 3.1, insufficient_scope): what its user can do about it.
 *
 * More rights are given at the service, by its user, after a command that names them; a refresh cannot widen a grant (RFC 6749
 * section 6), so a refresh token at hand changes nothing here. The command is offered only where it would ask for something new: a
 * server that goes on refusing what was asked for before would otherwise have its user consent again and again (MCP
 * authorization, "Scope Challenge Handling": a limit for each resource and operation; ours is one for each set of scopes, and it
 * outlives a restart since it stands in the credential).
 *
 * The scopes are the server's words and the command is made to be copied into a shell. What would need quoting there is not
 * offered. Pure functions. */

#include <ctype.h>
#include <stdio.h>

#include "oauth/oauth-internal.h"

static bool scope_is_plain(const char *scope) {
        for (const char *p = scope; *p; p++)
                if (!isascii(*p) || (!isalnum((unsigned char)*p) && !strchr(" :/._-+,=@%~", *p)))
                        return false;
        return *scope && *scope != '-';
}

int step_up_advice(const ServiceProfile *p, const Credential *c, const char *wanted, char **ret_reason,
                char **ret_hint) {
        const char *asked = c->asked_scope ?: c->scope;
        bool is_default = streq(c->label, "default");
        bool is_new = wanted && !scope_covers(asked, wanted);
        _cleanup_(freep) char *reason = NULL, *hint = NULL;
        int n;

        n = !wanted  ? asprintf(&reason,
                                       "the token's rights are not enough for this, and %s does not say "
                                        "which it wants",
                                       p->title)
            : is_new ? asprintf(&reason, "%s wants the scope %s for this", p->title, wanted)
                     : asprintf(&reason,
                                       "%s wants the scope %s for this, which it was asked for already and "
                                       "did not give",
                                       p->title, wanted);
        if (n < 0) {
                reason = NULL;
                return -ENOMEM;
        }
        if (is_new && scope_is_plain(wanted) &&
                        asprintf(&hint, "Run: vaultctl connect %s%s%s --scope '%s'", p->name,
                                        is_default ? "" : " --as ", is_default ? "" : c->label,
                                        wanted) < 0) {
                hint = NULL;
                return -ENOMEM;
        }
        *ret_reason = TAKE_PTR(reason);
        *ret_hint = TAKE_PTR(hint);
        return 0;
}
