/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Fuzzes the readers of what token and revocation endpoints answer, as JSON and as a form.
 *
 * Properties: a token exactly on success, and then neither an error member nor ok false was there; what is said for people is
 * printable and bounded; scopes have single blanks between them; a form that was taken reads the same as the JSON it
 * stands for; a revocation is never done with an error that the profile does not count as done. */

#include <stdio.h>

#include "oauth/oauth-internal.h"
#include "util/encode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW (UINT64_C(1800000000) * USEC_PER_SEC)

static void check(bool holds, const char *property) {
        if (!holds) {
                (void)fprintf(stderr, "violated: %s\n", property);
                abort();
        }
}

static void check_shown(const char *text, size_t max) {
        _cleanup_(freep) char *clean = printable(text, max);

        check(!clean || streq(clean, text), "printable and bounded");
}

static void check_answer(json_object *o, const ServiceProfile *p) {
        _cleanup_(freep) char *error = NULL;
        TokenAnswer t = {};
        bool ok = true;
        int r;

        r = token_answer_parse(o, p, NOW, &t, &error);
        if (r < 0)
                return;
        check(r == 0 || r == FAILED, "a documented outcome");
        check((r == 0) == (t.access_token != NULL) && (r == FAILED) == (error != NULL),
                        "a token or an error");
        if (r == FAILED) {
                check_shown(error, 100);
                check(!t.refresh_token && !t.scope && !t.account_id, "nothing beside an error");
                return;
        }
        (void)json_get_bool(o, "ok", &ok);
        check(ok && !json_string(o, "error"), "no yes with a no in it");
        check(*secret_text(t.access_token), "the token is not empty");
        check(t.expires_usec == 0 || t.expires_usec > NOW, "it lives");
        if (t.scope) {
                check_shown(t.scope, 4096);
                check(!strstr(t.scope, "  ") && *t.scope != ' ' && !strchr(t.scope, ','), "single blanks");
        }
        check(!t.account_id || p->account_source == ACCOUNT_SOURCE_TOKEN,
                        "no account unless it is asked for");
        token_answer_done(&t);
}

static void check_revocation(json_object *o) {
        for (unsigned status = 200; status < 600; status += 100) {
                const Authority a = { .revoked_answers = (char *)"404 gone" };
                _cleanup_(freep) char *error = NULL;
                const char *word = o ? json_string(o, "error") : NULL;
                int r = revocation_judge(&a, status, o, &error);

                if (r < 0)
                        return;
                check((r == FAILED) == (error != NULL), "a reason with each refusal");
                if (error)
                        check_shown(error, 100);
                check(r == FAILED || !word || streq(word, "gone"), "an error is no success");
                check(r == FAILED || status == 200 || (word && streq(word, "gone")),
                                "nor is another status");
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const ServiceProfile profiles[] = { {},
                { .token_member = (char *)"authed_user",
                                .token_type = (char *)"user",
                                .account_source = ACCOUNT_SOURCE_TOKEN,
                                .account_id_field = (char *)"data.gid team.id",
                                .token_life_usec = 60 * USEC_PER_SEC } };
        _cleanup_(json_putp) json_object *plain = NULL, *form = NULL, *again = NULL;
        static bool is_ready;

        if (!is_ready && secret_global_init() < 0)
                return 0;
        is_ready = true;

        char *copy = malloc(size + 1);
        if (!copy)
                return 0;
        memcpy(copy, data, size);
        copy[size] = 0;
        (void)json_parse(copy, size, &json_limits_wire, &plain);
        if (form_parse(copy, size, &form) == 0) {
                const char *text = json_text(form);

                check(text && json_parse(text, strlen(text), &json_limits_wire, &again) == 0,
                                "a form is JSON, too");
                check(json_object_equal(form, again), "and says the same");
        }
        free(copy);
        for (size_t i = 0; i < ELEMENTSOF(profiles); i++) {
                if (json_object_is_type(plain, json_type_object))
                        check_answer(plain, &profiles[i]);
                if (form)
                        check_answer(form, &profiles[i]);
        }
        check_revocation(json_object_is_type(plain, json_type_object) ? plain : form);
        return 0;
}
