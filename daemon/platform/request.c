/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One request to the Claude Platform and its answer.
 *
 * Everything the client says goes through here, so here is decided what may be said twice. A read, an
 * archive or an update to a given state is the same twice as once, and is repeated a few times when the
 * platform is busy or the line breaks, no longer than a small budget. A create is sent once: the
 * platform knows no idempotency keys, so a second request may be a second object. What its caller gets
 * instead is the truth about the first: refused (certainly no effect) or unknown (nonce.c goes looking).
 *
 * Known to be without effect: what never left this host, and answers below 500 (the platform checked the
 * request and said no). Everything else, also a success that cannot be read, leaves the effect unknown. */

#include <stdio.h>

#include "platform/platform-internal.h"
#include "util/fiber.h"

#define BETA             "managed-agents-2026-04-01"
#define ATTEMPTS_MAX     3U
#define WAIT_BUDGET_USEC (10U * USEC_PER_SEC) /* all waits of one request together */
#define WAIT_FIRST_USEC  (500U * USEC_PER_MSEC)
#define RESPONSE_MAX     (16U * 1024U * 1024U) /* a page of other people's agents can be long */

typedef struct Attempt {
        bool is_sent;
        bool is_worth_repeating;
        int64_t retry_after;
} Attempt;

/* x-should-retry overrules the status. */
static bool status_is_passing(const HttpResponse *response) {
        const char *hint = http_response_header(response, "x-should-retry", 0);

        if (hint && streq(hint, "false"))
                return false;
        return (hint && streq(hint, "true")) || response->status == 429 || response->status >= 500;
}

static int attempt_read(Platform *p, const Request *request, const HttpResponse *response, Attempt *attempt,
                json_object **ret, Failure *failure) {
        _cleanup_(json_putp) json_object *answer = NULL;
        int r;

        r = json_parse((const char *)response->body.bytes ?: "", response->body.size, &json_limits_mcp,
                        &answer);
        if (r < 0)
                return r;
        if (r > 0 || !json_object_is_type(answer, json_type_object)) {
                json_putp(&answer);
                answer = NULL;
        }
        if (response->status < 200 || response->status > 299) {
                attempt->is_worth_repeating = status_is_passing(response);
                attempt->retry_after = answer_retry_after(response);
                attempt->is_sent = response->status >= 500; /* below: it had no effect */
                return answer_failure(request, response, answer, p->workspace_key, failure);
        }
        if (!answer)
                return platform_failure(failure, request->what, "its answer cannot be read (%s)",
                                r > 0 ? json_fault_to_string(r) : "not an object");
        *ret = TAKE_PTR(answer);
        return 0;
}

static int attempt_run(Platform *p, const Request *request, const char *url, Attempt *attempt,
                json_object **ret, Failure *failure) {
        const HttpHeader headers[] = {
                { .name = "x-api-key", .secret = p->workspace_key },
                { .name = "anthropic-version", .value = p->config->platform_version },
                { .name = "anthropic-beta", .value = BETA },
                { .name = "accept", .value = "application/json" },
        };
        const HttpRequest http = {
                .method = request->method,
                .url = url,
                .headers = headers,
                .n_headers = ELEMENTSOF(headers),
                .body = request->body,
                .body_size = request->body_size,
                .content_type = request->body ? "application/json" : NULL,
                .max_response = RESPONSE_MAX,
        };
        HttpResponse response = {};
        int r;

        *attempt = (Attempt){ .retry_after = -1 };
        r = http_perform(p->http, &http, &response, &attempt->is_sent);
        if (r == -ENOMEM || r == -ECANCELED)
                return r;
        if (r < 0) {
                attempt->is_worth_repeating = r != -EPERM && r != -EPROTO && r != -EMSGSIZE;
                r = platform_failure(failure, request->what, "%s", http_error_text(r));
                if (r == FAILED && attempt->is_worth_repeating) {
                        failure->hint = strdup("Try again later");
                        if (!failure->hint)
                                return -ENOMEM;
                }
                return r;
        }
        r = attempt_read(p, request, &response, attempt, ret, failure);
        http_response_done(&response);
        return r;
}

/* How long to wait before the next attempt; false: do not make one. */
static bool attempt_next(const Attempt *attempt, unsigned n, uint64_t *budget_usec, uint64_t *ret_usec) {
        uint64_t usec = attempt->retry_after >= 0 ? (uint64_t)attempt->retry_after * USEC_PER_SEC
                                                  : WAIT_FIRST_USEC << n;

        if (!attempt->is_worth_repeating || n + 1 >= ATTEMPTS_MAX || usec > *budget_usec)
                return false;
        *budget_usec -= usec;
        *ret_usec = usec;
        return true;
}

int request_perform(Platform *p, const Request *request, json_object **ret, RequestOutcome *ret_outcome,
                Failure *failure) {
        uint64_t budget_usec = WAIT_BUDGET_USEC, wait_usec;
        _cleanup_(freep) char *url = NULL;
        bool may_have_effect = false;
        Attempt attempt;
        int r;

        if (asprintf(&url, "%s%s", p->base, request->path) < 0) {
                url = NULL;
                return -ENOMEM;
        }
        for (unsigned n = 0;; n++) {
                r = attempt_run(p, request, url, &attempt, ret, failure);
                may_have_effect = may_have_effect || attempt.is_sent;
                if (r != FAILED || !request->is_repeatable ||
                                !attempt_next(&attempt, n, &budget_usec, &wait_usec))
                        break;
                r = fiber_sleep(wait_usec);
                if (r < 0)
                        return r;
        }
        if (r == 0)
                failure_done(failure); /* of attempts before */
        if (r == FAILED && ret_outcome)
                *ret_outcome = may_have_effect ? REQUEST_UNKNOWN : REQUEST_REFUSED;
        return r;
}
