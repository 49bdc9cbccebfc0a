/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which credential acts, where several could.
 *
 * The most specific one of a service wins: the user's own before an agent's, that before a project's, that before the host's
 * (V7). Two of equal rank are no choice that vaultd makes: the caller is told both names and picks (T19).
 *
 * Two ways to act as somebody else are shut here. A credential that needs a new connect keeps its place: if it stepped
 * aside, the next wider one, or a second account of the same user, would act in its stead without anybody having said so.
 * And the wider levels count only where the caller named a service account: they never make up for what a person has not
 * connected (I9). What is being disconnected is no candidate at all.
 *
 * Who may call: anybody; it reads nothing but its arguments. */

#include "store/credential-select.h"

static bool is_candidate(const Credential *c, const CredentialWish *wish) {
        if (c->state == CREDENTIAL_DISCONNECTING || !streq(c->service, wish->service))
                return false;
        if (c->level != CREDENTIAL_USER && !wish->is_service_account)
                return false;
        if (wish->label && !streq(c->label, wish->label))
                return false;
        /* Byte for byte: the record holds what the profile said. One that was meant for another address stays where it is (V8). */
        return !wish->upstream || streq_ptr(c->upstream, wish->upstream);
}

/* The level that decides; false: there is no candidate. */
static bool deciding_level(
                Credential *const *list, size_t n, const CredentialWish *wish, CredentialLevel *ret) {
        bool is_found = false;

        for (size_t i = 0; i < n; i++)
                if (is_candidate(list[i], wish) && (!is_found || list[i]->level < *ret)) {
                        *ret = list[i]->level;
                        is_found = true;
                }
        return is_found;
}

CredentialChoice credential_select(
                Credential *const *list, size_t n, const CredentialWish *wish, size_t *ret_index) {
        CredentialLevel level;
        size_t found = n;

        if (!deciding_level(list, n, wish, &level))
                return CREDENTIAL_NONE;
        for (size_t i = 0; i < n; i++) {
                if (!is_candidate(list[i], wish) || list[i]->level != level)
                        continue;
                if (found < n)
                        return CREDENTIAL_SEVERAL;
                found = i;
        }
        *ret_index = found;
        return list[found]->state == CREDENTIAL_ACTIVE ? CREDENTIAL_CHOSEN : CREDENTIAL_UNUSABLE;
}

char *credential_select_labels(Credential *const *list, size_t n, const CredentialWish *wish) {
        CredentialLevel level;
        Buffer labels = {};
        int r;

        r = buffer_append_text(&labels, "");
        if (!deciding_level(list, n, wish, &level))
                n = 0;
        for (size_t i = 0; i < n && r >= 0; i++)
                if (is_candidate(list[i], wish) && list[i]->level == level)
                        r = buffer_printf(&labels, "%s%s", labels.size > 0 ? ", " : "", list[i]->label);
        if (r < 0) {
                buffer_done(&labels);
                return NULL;
        }
        return (char *)labels.bytes;
}
