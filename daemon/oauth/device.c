/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The device flow (RFC 8628): a code is approved at the service's own page, in any browser anywhere, and we ask until it is.
 *
 * No page of ours is seen and nothing comes back through the browser, so whoever is talked into approving the code gives their
 * account to whoever began (T33). That is why a profile has to allow it, why it has to say whose account it may be, and why the
 * account is looked at before anything is kept for a claim (account-match.c).
 *
 * A fiber of its own polls for each flow, so that the terminal may go away and the claim be made later. The record decides: it is
 * read anew before each poll, and a flow that is gone, or whose vault is closed, is not polled for. Who ends a flow calls
 * watch_notify(), which comes to device_stop() here: a wait ends at once; a poll that is under way is let come to its end, since it may
 * bring tokens, and those are revoked. The one who gave up waits for neither.
 *
 * A restart ends these flows (sweep.c): the terminal that showed the code is gone as well, and a code that nobody asks about any more
 * gives no tokens to anybody.
 *
 * Deadlines are monotonic: a clock that is set makes no code live longer.
 *
 * Who may call: begin.c, on its fiber; watch.c for device_stop(). */

#include <assert.h>
#include <stdio.h>

#include "audit/audit.h"
#include "oauth/device.h"
#include "util/clock.h"
#include "util/log.h"

#define POLL_TIMEOUT_USEC (20 * USEC_PER_SEC)

struct DevicePoll {
        DevicePoll *next;
        Oauth *oauth;
        Fiber *fiber;
        char *flow_id;
        uint8_t state_digest[32];
        DeviceAnswer answer; /* but for the device code, which is in the record alone */
        DevicePace pace;
        uint64_t deadline_usec; /* monotonic */
        bool is_waiting, is_stopped;
};

DevicePoll *device_poll_free(DevicePoll *p) {
        if (!p)
                return NULL;
        for (DevicePoll **each = &p->oauth->polls; *each; each = &(*each)->next)
                if (*each == p) {
                        *each = p->next;
                        break;
                }
        device_answer_done(&p->answer);
        free(p->flow_id);
        free(p);
        return NULL;
}

static int device_post(Oauth *o, Exchange *x, const ServiceProfile *p, const Flow *f, DeviceAnswer *ret,
                Failure *failure) {
        _cleanup_(freep) char *reason = NULL;
        json_object *object = NULL;
        unsigned status = 0;
        Buffer form = {};
        int r;

        if ((r = form_add(&form, "scope", f->scope)) >= 0 &&
                        (r = form_add(&form, "resource", f->resource)) >= 0)
                r = token_post(o, x, &f->authority, f->client_secret, &form, &status, &object, failure);
        buffer_done(&form);
        if (r != 0)
                return r;
        r = object ? device_answer_parse(object, ret, &reason) : FAILED;
        json_scrub(&object);
        if (r == FAILED)
                return exchange_failure(x, failure, "the authorization server gave no code: %s, HTTP %u",
                                reason ?: "no JSON in the answer", status);
        return r;
}

int device_authorize(Oauth *o, const ServiceProfile *profile, const char *endpoint, Flow *f,
                DevicePoll **ret, Failure *failure) {
        _cleanup_(device_poll_freep) DevicePoll *p = calloc(1, sizeof(DevicePoll));
        Exchange x = { profile->title, "asking for a device code",
                { .url = profile->device_endpoint ?: endpoint } };
        uint64_t life = o->config->flow_lifetime_usec;
        int r;

        if (!p)
                return -ENOMEM;
        p->oauth = o;
        if (!x.request.url)
                return failure_set(failure, FAILURE_NOT_CONFIGURED, NULL,
                                "%s: its authorization server names no address for device codes; an "
                                "administrator "
                                "has to set DeviceEndpoint= in services.d/%s.conf",
                                profile->title, profile->name);
        r = device_post(o, &x, profile, f, &p->answer, failure);
        if (r != 0)
                return r;
        if (p->answer.life_usec > 0)
                life = MIN(life, p->answer.life_usec);
        f->expires_usec = now_realtime() + life;
        f->device_code = TAKE_PTR(p->answer.device_code);
        p->deadline_usec = now_monotonic() + life;
        p->pace.interval_usec = p->answer.interval_usec;
        p->flow_id = strdup(f->id);
        if (!p->flow_id)
                return -ENOMEM;
        *ret = TAKE_PTR(p);
        return 0;
}

/* Takes the flow over. */
static void poll_end(DevicePoll *p, Flow *flow, const Failure *why) {
        audit_record(&(AuditEvent){ .kind = AUDIT_CONNECT_REFUSED,
                        .uid = flow->uid,
                        .user = flow->user,
                        .verdict = "refused",
                        .reason = why->message,
                        .service = flow->service });
        (void)flow_end(p->oauth, flow, why);
}

static void poll_end_with(
                DevicePoll *p, Flow *flow, FailureKind kind, const char *hint, const char *reason) {
        Failure why = {};

        (void)failure_set(&why, kind, hint, "%s", reason);
        poll_end(p, flow, &why);
        failure_done(&why);
}

/* The tokens are there. Takes the flow over. */
static int poll_park(DevicePoll *p, const Vault *vault, const ServiceProfile *profile, Flow *taken,
                TokenAnswer *tokens) {
        _cleanup_(freep) char *claim_code = NULL; /* nobody sees it: the claim is by the account */
        _cleanup_(flow_freep) Flow *flow = taken;
        Failure failure = {};
        int r;

        flow->state = FLOW_EXCHANGING;
        flow->device_code = secret_free(flow->device_code);
        r = grant_park(p->oauth, vault, profile, &flow, tokens, &claim_code, &failure);
        if (r == 0)
                audit_record(&(AuditEvent){ .kind = AUDIT_GRANT_QUARANTINED,
                                .uid = flow->uid,
                                .user = flow->user,
                                .verdict = "done",
                                .service = flow->service,
                                .account = flow->account_name,
                                .object = flow->id });
        else if (r == FAILED)
                poll_end(p, TAKE_PTR(flow), &failure);
        else if (r != -ECANCELED)
                poll_end_with(p, TAKE_PTR(flow), FAILURE_FLOW, "Run: vaultctl connect",
                                "vaultd failed; its journal says more");
        failure_done(&failure);
        return r;
}

/* One poll. *ret_status 0: no answer. */
static int poll_ask(DevicePoll *p, const ServiceProfile *profile, const Flow *f, unsigned *ret_status,
                json_object **ret_object) {
        Exchange x = { profile->title, "asking whether the code was approved",
                { .url = f->authority.token_endpoint, .timeout_usec = POLL_TIMEOUT_USEC },
                .profile = profile };
        Failure ignored = {};
        Buffer form = {};
        int r;

        *ret_status = 0;
        if ((r = form_add(&form, "grant_type", DEVICE_GRANT)) >= 0 &&
                        (r = form_add(&form, "device_code", secret_text(f->device_code))) >= 0 &&
                        (r = form_add(&form, "resource", f->resource)) >= 0)
                r = token_post(p->oauth, &x, &f->authority, f->client_secret, &form, ret_status, ret_object,
                                &ignored);
        buffer_done(&form);
        failure_done(&ignored);
        return MIN(r, 0);
}

/* Takes the flow over. 0: poll again; else the polling is over. */
static int poll_once(DevicePoll *p, Flow *taken, const Vault *vault) {
        const ServiceProfile *profile = config_find_service(p->oauth->config, taken->service);
        _cleanup_(flow_freep) Flow *flow = taken;
        _cleanup_(freep) char *reason = NULL, *text = NULL;
        _cleanup_(json_putp) json_object *object = NULL;
        DeviceVerdict verdict = DEVICE_BROKEN;
        TokenAnswer tokens = {};
        unsigned status;
        int r;

        if (!profile || !streq(profile->url, flow->upstream)) {
                poll_end_with(p, TAKE_PTR(flow), FAILURE_FLOW, NULL,
                                "the service was taken off this host, or moved");
                return FAILED;
        }
        r = poll_ask(p, profile, flow, &status, &object);
        if (r >= 0)
                r = device_judge(status, object, profile, now_realtime(), &p->pace, &verdict, &tokens,
                                &reason);
        json_scrub(&object);
        if (r < 0)
                return r;
        switch (verdict) {
        case DEVICE_WAITING:
                return 0;
        case DEVICE_GRANTED:
                r = poll_park(p, vault, profile, TAKE_PTR(flow), &tokens);
                token_answer_done(&tokens);
                return r < 0 ? r : FAILED;
        case DEVICE_REFUSED:
                text = strdup("the code was refused at the service");
                break;
        case DEVICE_EXPIRED:
                text = strdup("the code was not approved in time");
                break;
        case DEVICE_BROKEN:
                if (asprintf(&text, "%s: the authorization server did not give a token: %s, HTTP %u",
                                    profile->title, reason, status) < 0)
                        text = NULL;
                break;
        }
        if (!text)
                return -ENOMEM;
        poll_end_with(p, TAKE_PTR(flow), verdict == DEVICE_BROKEN ? FAILURE_UPSTREAM : FAILURE_FLOW,
                        "Run: vaultctl connect", text);
        return FAILED;
}

/* -ECANCELED: stopped meanwhile. */
static int poll_wait(DevicePoll *p, uint64_t now_usec) {
        int r;

        if (p->is_stopped)
                return -ECANCELED;
        p->is_waiting = true;
        r = fiber_sleep(MIN(device_pace_wait(&p->pace), p->deadline_usec - now_usec));
        p->is_waiting = false;
        return p->is_stopped ? -ECANCELED : r;
}

/* The flow, while it waits for this and its vault is open. FAILED: no more. */
static int poll_read(DevicePoll *p, Flow **ret_flow, Vault **ret_vault) {
        Oauth *o = p->oauth;
        int r;

        r = flow_record_read(o->store, o->keyring, p->state_digest, ret_flow);
        if (r < 0)
                return r == -ENOENT ? FAILED : r;
        if ((*ret_flow)->state != FLOW_PENDING)
                return FAILED;
        r = vault_record_read(o->store, o->keyring, (*ret_flow)->uid, ret_vault);
        if (r < 0)
                return r;
        if ((*ret_vault)->state == VAULT_ACTIVE)
                return 0;
        poll_end_with(p, TAKE_PTR(*ret_flow), FAILURE_VAULT_CLOSED, NULL, "the vault is closed");
        return FAILED;
}

static int poll_fiber(void *userdata) {
        DevicePoll *p = userdata;
        int r = 0;

        while (r == 0) {
                _cleanup_(flow_freep) Flow *flow = NULL;
                _cleanup_(vault_freep) Vault *vault = NULL;
                uint64_t now = now_monotonic();

                r = now < p->deadline_usec ? poll_wait(p, now) : 0;
                if (r == 0)
                        r = poll_read(p, &flow, &vault);
                if (r != 0)
                        break;
                if (now_monotonic() >= p->deadline_usec) {
                        poll_end_with(p, TAKE_PTR(flow), FAILURE_FLOW, "Run: vaultctl connect",
                                        "the code was not approved in time");
                        break;
                }
                r = poll_once(p, TAKE_PTR(flow), vault);
        }
        if (r < 0 && r != -ECANCELED)
                log_warning("a device code is not asked about any more: %s", strerror(-r));
        return r;
}

static void poll_done(int result, void *userdata) {
        (void)device_poll_free(userdata);
}

int device_start(DevicePoll *p, const Flow *flow) {
        Oauth *o = p->oauth;
        int r;

        memcpy(p->state_digest, flow->state_digest, sizeof(p->state_digest));
        p->next = o->polls;
        o->polls = p;
        r = fiber_spawn(o->event, poll_fiber, poll_done, p, &p->fiber);
        if (r < 0)
                (void)device_poll_free(p);
        return r;
}

void device_stop(Oauth *o, const char *flow_id) {
        for (DevicePoll *p = o->polls; p; p = p->next) {
                if (!streq(p->flow_id, flow_id) || p->is_stopped)
                        continue;
                p->is_stopped = true;
                if (p->is_waiting)
                        fiber_cancel(p->fiber);
        }
}

int oauth_device_prompt(Oauth *o, const char *flow_id, DevicePrompt *ret) {
        for (const DevicePoll *p = o->polls; p; p = p->next)
                if (streq(p->flow_id, flow_id)) {
                        *ret = (DevicePrompt){ p->answer.user_code, p->answer.verification_uri,
                                p->answer.verification_uri_complete };
                        return 0;
                }
        return -ENOENT;
}
