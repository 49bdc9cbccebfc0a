/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Lists of scopes: words between blanks (RFC 6749 section 3.3), compared byte for byte, whose order means nothing.
 *
 * Which ones are asked for is decided in three steps. The base is what root wrote (Scopes=), else what the server's challenge
 * names, else all that its resource metadata name, else none at all; what the authorization server itself lists is never asked
 * for, since it serves other resources too, except offline_access, which brings a refresh token (MCP authorization, "Scope
 * Selection Strategy"). Then a step-up: what the user names besides. And whatever the place's former connection had asked
 * for at the same authorization server, so that neither a step-up nor a reconnect takes rights away (2026-07-28, "Step-Up
 * Authorization Flow"); where root wrote Scopes=, only a step-up carries that on, so that a list made shorter comes into force.
 *
 * A scope is foreign text that stands on our page and in a command to be copied; what is not printable ASCII is dropped. Pure
 * functions. */

#include "oauth/oauth-internal.h"

#define SCOPE_SIZE_MAX 4096U

bool scope_is_legal(const char *scope) {
        if (!*scope)
                return false;
        for (const char *p = scope; *p; p++)
                if (*p < ' ' || *p > '~' || *p == '"' || *p == '\\')
                        return false;
        return true;
}

/* The next word, NULL at the end. */
static const char *next_word(const char **p, size_t *ret_n) {
        const char *word = *p + strspn(*p, " ");

        *ret_n = strcspn(word, " ");
        *p = word + *ret_n;
        return *ret_n > 0 ? word : NULL;
}

static bool scope_has_word(const char *scope, const char *word, size_t n) {
        const char *other;
        size_t m;

        for (const char *p = scope ?: ""; (other = next_word(&p, &m));)
                if (m == n && memcmp(other, word, n) == 0)
                        return true;
        return false;
}

bool scope_covers(const char *scope, const char *wanted) {
        const char *word;
        size_t n;

        for (const char *p = wanted ?: ""; (word = next_word(&p, &n));)
                if (!scope_has_word(scope, word, n))
                        return false;
        return true;
}

/* Adds the words of a list that are legal, not there yet, and for which there is room. */
static int scope_add(Buffer *b, const char *scope) {
        const char *word;
        size_t n;
        int r = 0;

        for (const char *p = scope ?: ""; r >= 0 && (word = next_word(&p, &n));) {
                _cleanup_(freep) char *copy = strndup(word, n);

                if (!copy)
                        return -ENOMEM;
                if (scope_has_word((char *)b->bytes, word, n) || !scope_is_legal(copy) ||
                                b->size + n + 1 > SCOPE_SIZE_MAX)
                        continue;
                r = buffer_printf(b, "%s%s", b->size > 0 ? " " : "", copy);
        }
        return r;
}

int scope_union(const char *a, const char *b, char **ret) {
        Buffer list = {};
        int r;

        r = scope_add(&list, a);
        if (r >= 0)
                r = scope_add(&list, b);
        if (r < 0) {
                buffer_done(&list);
                return r;
        }
        *ret = (char *)list.bytes; /* NUL terminated; NULL when nothing was added */
        return 0;
}

int scope_base(const ServiceProfile *p, const char *discovered, bool offers_offline, char **ret) {
        Buffer list = {};
        int r = 0;

        if (p->scopes)
                for (char **s = p->scopes; *s && r >= 0; s++)
                        r = scope_add(&list, *s);
        else
                r = scope_add(&list, discovered);
        /* By itself it would take the place of the scopes that the server gives to whoever names none. */
        if (r >= 0 && offers_offline && list.size > 0)
                r = scope_add(&list, "offline_access");
        if (r < 0) {
                buffer_done(&list);
                return r;
        }
        *ret = (char *)list.bytes;
        return 0;
}

int scope_to_ask(const ServiceProfile *p, const Credential *former, const char *issuer, const char *base,
                const char *wanted, char **ret) {
        _cleanup_(freep) char *stepped_up = NULL;
        bool carries_on = former && former->kind == CREDENTIAL_OAUTH &&
                          streq_ptr(former->authority.issuer, issuer) && (wanted || !p->scopes);
        int r;

        r = scope_union(base, wanted, &stepped_up);
        if (r < 0)
                return r;
        return scope_union(stepped_up, carries_on ? former->asked_scope ?: former->scope : NULL, ret);
}
