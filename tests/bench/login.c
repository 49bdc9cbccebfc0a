/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Times logins: pam_start_confdir(3) to pam_open_session(3) and the latter alone, for one user after another.
 *
 * The two are told apart because libpam reads its configuration and loads modules in the first, which takes longer
 * than everything that pam_vaultd.so does. Each login has a handle of its own and is closed again; one that does not
 * set VAULTD_SESSION when it should counts as failed, since a login without a vault is quick.
 *
 * usage: bench-login FOLDER SERVICE PREFIX FIRST COUNT yes|no
 * logs in PREFIX<FIRST>, PREFIX<FIRST+1>, …; yes: VAULTD_SESSION has to be there afterwards. COUNT of 0: PREFIX is the whole
 * name and FIRST how often. One line of JSON: medians of open and whole in microseconds, and how many failed. */

#include <stdio.h>
#include <time.h>

#include <security/pam_appl.h>

#include "util/macro.h"

static uint64_t now_nsec(void) {
        struct timespec t;

        (void)clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int converse(int n, const struct pam_message **messages, struct pam_response **ret, void *userdata) {
        return PAM_CONV_ERR;
}

static bool login_once(const char *folder, const char *service, const char *user, bool wants_session,
                uint64_t *ret_open, uint64_t *ret_whole) {
        const struct pam_conv conversation = { .conv = converse };
        uint64_t started = now_nsec(), opening;
        pam_handle_t *pamh = NULL;
        bool is_good;

        if (pam_start_confdir(service, user, &conversation, folder, &pamh) != PAM_SUCCESS)
                return false;
        opening = now_nsec();
        is_good = pam_open_session(pamh, 0) == PAM_SUCCESS;
        *ret_open = now_nsec() - opening;
        *ret_whole = now_nsec() - started;
        is_good = is_good && !!pam_getenv(pamh, "VAULTD_SESSION") == wants_session;
        (void)pam_close_session(pamh, 0);
        (void)pam_end(pamh, PAM_SUCCESS);
        return is_good;
}

static int compare(const void *a, const void *b) {
        uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

        return x < y ? -1 : x > y;
}

int main(int argc, char *argv[]) {
        if (argc != 7)
                return 2;
        long first = atol(argv[4]), count = atol(argv[5]), n = count > 0 ? count : first, n_failed = 0;
        uint64_t *open = calloc((size_t)MAX(n, 1), sizeof(uint64_t)),
                 *whole = calloc((size_t)MAX(n, 1), sizeof(uint64_t));

        if (n < 1 || !open || !whole)
                return 2;
        for (long i = 0; i < n; i++) {
                char user[64];

                if (count > 0)
                        (void)snprintf(user, sizeof(user), "%s%ld", argv[3], first + i);
                else
                        (void)snprintf(user, sizeof(user), "%s", argv[3]);
                if (!login_once(argv[1], argv[2], user, streq(argv[6], "yes"), &open[i], &whole[i]))
                        n_failed++;
        }
        qsort(open, (size_t)n, sizeof(uint64_t), compare);
        qsort(whole, (size_t)n, sizeof(uint64_t), compare);
        (void)printf("{\"open\":%.1f,\"whole\":%.1f,\"failed\":%ld}\n", (double)open[n / 2] / 1000,
                        (double)whole[n / 2] / 1000, n_failed);
        free(open);
        free(whole);
        return 0;
}
