/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The mail address in a GECOS text.
 *
 * passwd(5) has no field for it. GECOS is "full name,room,work phone,home phone,other", and most of that belongs to the user:
 * chfn(1) lets people change what login.defs(5) lists in CHFN_RESTRICT. "other" is root's in every chfn(1), and the fields before it
 * take no comma, so nobody but root puts an address behind the fourth one. There it may stand beside what pam_umask(8) reads
 * ("umask=022"), in pieces between commas. Directories are another matter: chfn(1) changes the local file only, and many fill
 * the whole GECOS text with one attribute, so of their users that counts too.
 *
 * Two addresses are none: which is meant would be a guess, and this decides whose account somebody may connect. */

#include "identity/mail.h"

#define MAIL_MAX     254U
#define FIELDS_FIRST 4U /* commas in front of "other" */

static bool mail_is_legal_n(const char *text, size_t n) {
        const char *at = memchr(text, '@', n);

        if (n > MAIL_MAX || !at || at == text || at == text + n - 1 ||
                        memchr(at + 1, '@', (size_t)(text + n - at) - 1))
                return false;
        for (size_t i = 0; i < n; i++)
                if (text[i] <= ' ' || text[i] >= 0x7f || strchr("\"',;:()<>[]\\", text[i]))
                        return false;
        return true;
}

bool mail_is_legal(const char *text) {
        return mail_is_legal_n(text, strlen(text));
}

bool mail_is_equal(const char *a, const char *b) {
        if (!mail_is_legal(a) || strlen(a) != strlen(b))
                return false;
        /* Not strcasecmp(3), which goes by the locale. Of a legal address all is ASCII, so what is equal is legal too. */
        for (; *a; a++, b++) {
                char x = *a >= 'A' && *a <= 'Z' ? (char)(*a + 32) : *a;
                char y = *b >= 'A' && *b <= 'Z' ? (char)(*b + 32) : *b;

                if (x != y)
                        return false;
        }
        return true;
}

int gecos_mail(const char *gecos, bool is_foreign, char **ret) {
        const char *found = NULL, *other = gecos;
        size_t n_found = 0;

        if (is_foreign && mail_is_legal(gecos)) {
                *ret = strdup(gecos);
                return *ret ? 0 : -ENOMEM;
        }
        for (unsigned i = 0; i < FIELDS_FIRST && other; i++) {
                other = strchr(other, ',');
                other = other ? other + 1 : NULL;
        }
        while (other) {
                size_t n = strcspn(other, ",");

                if (mail_is_legal_n(other, n)) {
                        if (found)
                                return -ENOENT;
                        found = other;
                        n_found = n;
                }
                other = other[n] ? other + n + 1 : NULL;
        }
        if (!found)
                return -ENOENT;
        *ret = strndup(found, n_found);
        return *ret ? 0 : -ENOMEM;
}
