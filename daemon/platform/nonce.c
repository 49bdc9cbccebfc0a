/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Creating exactly one of something at a platform that knows no idempotency keys (V3, threat T35).
 *
 * Before the request, the caller makes a 128-bit nonce durable; the nonce travels in the object's
 * metadata. When the answer is lost, is a server fault or cannot be read, or when the process was killed
 * before it could write the id down, the object may or may not exist, now or in a moment. Then the list
 * is read, again and again for as long as the admin allows (AdoptWait=), and
 *
 *   exactly one object fits  → it is ours, adopted
 *   several fit              → somebody copied our nonce, or a late twin came: a person has to look, nothing is chosen
 *   none fits                → created once more, with the same nonce
 *
 * To fit, it carries the nonce, is not archived, was not created before the nonce was (less five minutes
 * for two clocks that differ) and is as empty as new. Names, tags and user ids are not even looked at:
 * whoever holds a key of the workspace can plant those, but can know the nonce only after our object
 * exists.
 *
 * A refusal (below 500) is not ambiguous and is handed on at once.
 *
 * Who may call: a fiber that holds the gate of what is created. */

#include <stdio.h>

#include "platform/platform-internal.h"
#include "util/clock.h"
#include "util/encode.h"
#include "util/fiber.h"

#define CLOCK_SKEW_USEC   (300U * USEC_PER_SEC)
#define LOOK_FIRST_USEC   (200U * USEC_PER_MSEC)
#define LOOK_LONGEST_USEC (2U * USEC_PER_SEC)
#define CREATES_MAX       2U
#define CANDIDATES_MAX    8U

typedef struct Candidates {
        const Creation *creation;
        json_object *objects[CANDIDATES_MAX];
        size_t n;
} Candidates;

static void candidates_done(Candidates *c) {
        for (size_t i = 0; i < c->n; i++)
                json_object_put(c->objects[i]);
}

char *nonce_new(void) {
        uint8_t bytes[NONCE_SIZE];

        random_bytes(bytes, sizeof(bytes));
        return hex_encode(bytes, sizeof(bytes));
}

static uint64_t creation_since(const Creation *c) {
        return c->nonce_usec > CLOCK_SKEW_USEC ? c->nonce_usec - CLOCK_SKEW_USEC : 0;
}

/* A time that is not told or cannot be read is before everything: it proves nothing. */
static uint64_t object_created(json_object *object) {
        const char *text = json_string(object, "created_at");
        uint64_t usec;

        return text && parse_rfc3339(text, &usec) >= 0 ? usec : 0;
}

static bool candidates_contain(const Candidates *c, const char *id) {
        for (size_t i = 0; i < c->n; i++)
                if (streq_ptr(json_string(c->objects[i], "id"), id))
                        return true;
        return false;
}

static int candidates_visit(json_object *element, void *userdata) {
        Candidates *c = userdata;
        const char *nonce = object_metadata(element, c->creation->key),
                   *id = object_id(element, c->creation->id_prefix);
        uint64_t created_usec = object_created(element);

        if (created_usec < creation_since(c->creation))
                return c->creation->is_newest_first && created_usec > 0;
        if (!streq_ptr(nonce, c->creation->nonce) || !id || object_is_archived(element) ||
                        candidates_contain(c, id))
                return 0;
        c->objects[c->n++] = json_object_get(element);
        return c->n == CANDIDATES_MAX;
}

static int creation_query(const Creation *c, char **ret) {
        _cleanup_(freep) char *encoded = NULL;
        char since[21];
        int n;

        if (!c->has_since_filter)
                return (*ret = strdup(c->query)) ? 0 : -ENOMEM;
        format_rfc3339(creation_since(c), since);
        encoded = percent_encode(since);
        if (!encoded)
                return -ENOMEM;
        n = asprintf(ret, "%s%screated_at%%5Bgte%%5D=%s", c->query, *c->query ? "&" : "", encoded);
        return n < 0 ? -ENOMEM : 0;
}

static int creation_refuse_several(const Creation *c, const Candidates *fit, Failure *failure) {
        _cleanup_(buffer_done) Buffer ids = {};
        int r;

        for (size_t i = 0; i < fit->n; i++) {
                r = buffer_printf(&ids, "%s%s", i > 0 ? ", " : "", json_string(fit->objects[i], "id"));
                if (r < 0)
                        return r;
        }
        r = failure_set(failure, FAILURE_PLATFORM,
                        "Ask the administrator of this host to archive those that should not be there",
                        "Claude Platform: cannot tell which %s is ours, several carry its nonce: %s",
                        c->what, (const char *)ids.bytes);
        return r;
}

/* One look at the list. 0 with *ret or NULL. *ret_is_final: looking again would not help. */
static int creation_look_once(
                Platform *p, const Creation *c, json_object **ret, bool *ret_is_final, Failure *failure) {
        _cleanup_(candidates_done) Candidates carrying = { .creation = c }, fit = { .creation = c };
        _cleanup_(freep) char *query = NULL, *what = NULL;
        int r;

        *ret_is_final = false;
        r = creation_query(c, &query);
        if (r < 0)
                return r;
        if (asprintf(&what, "look for the %s", c->what) < 0) {
                what = NULL;
                return -ENOMEM;
        }
        r = list_walk(p, c->path, query, what, candidates_visit, &carrying, failure);
        if (r == FAILED)
                *ret_is_final = failure->status >= 400 && failure->status < 500 && failure->status != 429;
        if (r != 0)
                return r;
        for (size_t i = 0; i < carrying.n; i++) {
                bool is_as_new = true;

                r = c->is_as_new ? c->is_as_new(p, c, carrying.objects[i], &is_as_new, failure) : 0;
                if (r != 0)
                        return r;
                if (is_as_new)
                        fit.objects[fit.n++] = json_object_get(carrying.objects[i]);
        }
        if (fit.n > 1) {
                *ret_is_final = true;
                return creation_refuse_several(c, &fit, failure);
        }
        *ret = fit.n == 1 ? json_object_get(fit.objects[0]) : NULL;
        return 0;
}

int creation_look(Platform *p, const Creation *c, uint64_t until_usec, json_object **ret, Failure *failure) {
        uint64_t delay_usec = LOOK_FIRST_USEC;
        int r;

        for (;;) {
                uint64_t begin_usec = now_monotonic();
                bool is_final;

                r = creation_look_once(p, c, ret, &is_final, failure);
                if (r < 0 || is_final || (r == 0 && *ret))
                        return r;
                /* The last look begins at the end of the time, not before. */
                if (begin_usec >= until_usec)
                        return r;
                begin_usec = now_monotonic();
                if (begin_usec < until_usec) {
                        int q = fiber_sleep(MIN(delay_usec, until_usec - begin_usec));
                        if (q < 0)
                                return q;
                }
                delay_usec = MIN(delay_usec * 2, LOOK_LONGEST_USEC);
        }
}

/* The create itself. A success without a usable id is as ambiguous as a lost one. */
static int creation_send(Platform *p, const Creation *c, json_object **ret, RequestOutcome *ret_outcome,
                Failure *failure) {
        _cleanup_(json_putp) json_object *object = NULL;
        _cleanup_(freep) char *what = NULL;
        int r;

        if (asprintf(&what, "create the %s", c->what) < 0) {
                what = NULL;
                return -ENOMEM;
        }
        const Request request = { .method = "POST",
                .path = c->path,
                .what = what,
                .body = c->body,
                .body_size = c->body_size,
                .has_secret = c->has_secret };
        r = request_perform(p, &request, &object, ret_outcome, failure);
        if (r != 0)
                return r;
        if (!object_id(object, c->id_prefix)) {
                *ret_outcome = REQUEST_UNKNOWN;
                return platform_failure(failure, what, "its answer has no usable id");
        }
        *ret = TAKE_PTR(object);
        return 0;
}

static void failure_move(Failure *to, Failure *from) {
        failure_done(to);
        *to = *from;
        *from = (Failure){};
}

/* Looks; what the create said is kept in *failure unless the look has a failure of its own. */
static int creation_find(Platform *p, const Creation *c, json_object **ret, Failure *failure) {
        Failure of_look = {};
        int r;

        r = creation_look(p, c, now_monotonic() + p->config->adopt_wait_usec, ret, &of_look);
        if (r == FAILED)
                failure_move(failure, &of_look);
        else if (r == 0 && *ret)
                failure_done(failure); /* it was created after all */
        failure_done(&of_look);
        return r;
}

int creation_run(Platform *p, const Creation *c, bool was_tried, json_object **ret,
                CreationOutcome *ret_outcome, Failure *failure) {
        RequestOutcome outcome = REQUEST_UNKNOWN;
        json_object *object = NULL;
        int r;

        *ret_outcome = CREATION_UNKNOWN;
        if (was_tried) {
                r = creation_find(p, c, &object, failure);
                if (r == 0 && object)
                        *ret = object;
                if (r != 0 || object)
                        return r;
        }
        for (unsigned n = 0; n < CREATES_MAX; n++) {
                r = creation_send(p, c, ret, &outcome, failure);
                if (r <= 0)
                        return r;
                if (outcome == REQUEST_REFUSED) {
                        /* Of this request; an earlier one of the same nonce was looked for and is not
                         * there. */
                        *ret_outcome = CREATION_REFUSED;
                        return FAILED;
                }
                r = creation_find(p, c, &object, failure);
                if (r == 0 && object)
                        *ret = object;
                if (r != 0 || object)
                        return r;
        }
        *ret_outcome = CREATION_NOT_THERE;
        return FAILED;
}
