/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* vaultd-web's only way to the rest: the methods of io.vaultd.Web; those of the page of services are in api-visit.c.
 *
 * One connection per call: calls are rare, and a fresh connection cannot carry a late answer of an earlier, timed out
 * call into somebody else's page. Requests are written straight into a buffer that is erased, since they hold
 * authorization codes and json-c would keep copies; claim codes are read from the checked answer for the same reason, and
 * only lists without a secret (scopes) become a tree. Unknown members are ignored, so that an older web
 * process survives a newer vaultd, but a missing one is nonsense.
 *
 * Who may call: routes.c, from any thread; there is no state. */

#include "json/object.h"
#include "json/reader.h"
#include "json/write.h"
#include "util/clock.h"
#include "util/wire-client.h"
#include "web/api-internal.h"

/* The request target is at most 8 KiB, escapes grow it sixfold at worst. */
#define REQUEST_MAX ((size_t)(64 * 1024))
/* As many words as a flow can ask for (4 KiB): what is consented to is shown, all of it. */
#define SCOPES_MAX ((size_t)2048)

char *free_erased(char *text) {
        if (text)
                explicit_bzero(text, strlen(text));
        free(text);
        return NULL;
}

void api_fault_done(ApiFault *f) {
        free(f->error);
        free(f->message);
        free(f->hint);
        *f = (ApiFault){};
}

void api_page_done(ApiPage *p) {
        free(p->user);
        free(p->host);
        free(p->service);
        free(p->title);
        free(p->upstream);
        for (size_t i = 0; i < p->n_scopes; i++)
                free(p->scopes[i]);
        free(p->scopes);
        *p = (ApiPage){};
}

void api_result_done(ApiResult *r) {
        free(r->user);
        free(r->host);
        free(r->title);
        free(r->account);
        free_erased(r->claim_code);
        *r = (ApiResult){};
}

static int request_write(Buffer *b, const char *method, const ApiMember *members, size_t n_members) {
        bool is_first = true;
        int r;

        r = buffer_printf(b, "{\"method\":\"io.vaultd.Web.%s\",\"parameters\":{", method);
        for (size_t i = 0; i < n_members && r >= 0; i++) {
                if (!members[i].value)
                        continue;
                r = buffer_printf(b, "%s\"%s\":", is_first ? "" : ",", members[i].name);
                if (r >= 0)
                        r = json_write_string(b, members[i].value);
                is_first = false;
        }
        if (r >= 0)
                r = buffer_append_text(b, "}}");
        return r < 0 ? r : 0;
}

int api_take_text(const Buffer *answer, const char *name, char **ret) {
        int r = json_read_string((const char *)answer->bytes, answer->size, ret, "parameters", name, NULL);

        return r < 0 && r != -ENOMEM ? -EBADMSG : r;
}

int api_take_time(const Buffer *answer, const char *name, uint64_t *ret) {
        int64_t value;

        if (json_read_int64((const char *)answer->bytes, answer->size, &value, "parameters", name, NULL) <
                                        0 ||
                        value < 0)
                return -EBADMSG;
        *ret = (uint64_t)value;
        return 0;
}

/* An error answer becomes a fault; texts that are absent or of another type are left out. */
static int take_fault(const Buffer *answer, ApiFault *ret_fault) {
        ApiFault fault = {};
        int r;

        r = json_read_string((const char *)answer->bytes, answer->size, &fault.error, "error", NULL);
        if (r < 0)
                return r == -ENOMEM ? r : -EBADMSG;
        if (api_take_text(answer, "message", &fault.message) == -ENOMEM ||
                        api_take_text(answer, "hint", &fault.hint) == -ENOMEM) {
                api_fault_done(&fault);
                return -ENOMEM;
        }
        *ret_fault = fault;
        return API_REFUSED;
}

/* Whether the answer is an error, parameters, or nonsense. 0, API_REFUSED, -EBADMSG, -ENOMEM. */
static int answer_judge(const Buffer *answer, ApiFault *ret_fault) {
        _cleanup_(freep) char *text = NULL;
        int r;

        r = json_scan((const char *)answer->bytes, answer->size, &json_limits_wire, NULL);
        if (r < 0)
                return r;
        if (r > 0)
                return -EBADMSG;
        r = json_read_string((const char *)answer->bytes, answer->size, &text, "error", NULL);
        if (r == -ENOENT)
                return 0;
        return r == -ENOMEM ? r : r < 0 ? -EBADMSG : take_fault(answer, ret_fault);
}

int api_call(const char *socket, const char *method, const ApiMember *members, size_t n_members,
                uint64_t budget_usec, Buffer *answer, ApiFault *ret_fault) {
        _cleanup_(buffer_done) Buffer request = { .limit = REQUEST_MAX };
        _cleanup_(wire_client_freep) WireClient *client = NULL;
        uint64_t deadline = now_monotonic() + budget_usec;
        const char *text;
        size_t n;
        int r;

        r = request_write(&request, method, members, n_members);
        if (r < 0)
                return r;
        /* At its fixed place the socket is held by the service manager, so whoever else answers there is an impostor. */
        r = wire_client_connect(socket, deadline, streq(socket, VAULTD_SOCKET_WEB), &client);
        if (r < 0)
                return r;
        r = wire_client_send(client, (const char *)request.bytes, request.size, deadline);
        if (r < 0)
                return r;
        r = wire_client_receive(client, deadline, &text, &n);
        if (r < 0)
                return r;
        r = buffer_append(answer, text, n);
        if (r < 0)
                return r;
        return answer_judge(answer, ret_fault);
}

static int take_scopes(const Buffer *answer, ApiPage *page) {
        _cleanup_(json_putp) json_object *o = NULL;
        json_object *parameters, *scopes;
        size_t n;

        if (json_parse((const char *)answer->bytes, answer->size, &json_limits_wire, &o) != 0 ||
                        json_get_object(o, "parameters", &parameters) < 0 ||
                        json_get_array(parameters, "scopes", &scopes) < 0)
                return -EBADMSG;
        n = json_object_array_length(scopes);
        if (n > SCOPES_MAX)
                return -EBADMSG;
        page->scopes = calloc(MAX(n, (size_t)1), sizeof(char *));
        if (!page->scopes)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                json_object *scope = json_object_array_get_idx(scopes, i);

                if (!json_object_is_type(scope, json_type_string))
                        return -EBADMSG;
                page->scopes[i] = strdup(json_object_get_string(scope));
                if (!page->scopes[i])
                        return -ENOMEM;
                page->n_scopes++;
        }
        return 0;
}

int api_page(const char *socket, const char *ticket, ApiPage *ret, ApiFault *ret_fault) {
        const ApiMember members[] = { { "ticket", ticket } };
        _cleanup_(buffer_done) Buffer answer = {};
        ApiPage page = {};
        int r;

        r = api_call(socket, "Page", members, ELEMENTSOF(members), API_QUICK_USEC, &answer, ret_fault);
        if (r != 0)
                return r;
        if ((r = api_take_text(&answer, "user", &page.user)) < 0 ||
                        (r = api_take_text(&answer, "host", &page.host)) < 0 ||
                        (r = api_take_text(&answer, "service", &page.service)) < 0 ||
                        (r = api_take_text(&answer, "title", &page.title)) < 0 ||
                        (r = api_take_text(&answer, "upstream", &page.upstream)) < 0 ||
                        (r = take_scopes(&answer, &page)) < 0 ||
                        (r = api_take_time(&answer, "expires", &page.expires_usec)) < 0) {
                api_page_done(&page);
                return r;
        }
        *ret = page;
        return 0;
}

/* Where a browser may be sent: https, and nothing in it that could end the header or confuse a parser. */
static bool is_location(const char *text) {
        if (!startswith(text, "https://") || strlen(text) > 16384)
                return false;
        for (const char *p = text; *p; p++)
                if (*p <= ' ' || *p > '~' || *p == '"' || *p == '<' || *p == '>' || *p == '\\')
                        return false;
        return true;
}

int api_take_location(const Buffer *answer, char **ret) {
        char *location;
        int r;

        r = api_take_text(answer, "location", &location);
        if (r < 0)
                return r;
        if (!is_location(location)) {
                free(location);
                return -EBADMSG;
        }
        *ret = location;
        return 0;
}

int api_continue(const char *socket, const char *ticket, char **ret_location, ApiFault *ret_fault) {
        const ApiMember members[] = { { "ticket", ticket } };
        _cleanup_(buffer_done) Buffer answer = {};
        int r;

        r = api_call(socket, "Continue", members, ELEMENTSOF(members), API_QUICK_USEC, &answer, ret_fault);
        return r != 0 ? r : api_take_location(&answer, ret_location);
}

int api_callback(const char *socket, const ApiCallback *callback, ApiResult *ret, ApiFault *ret_fault) {
        const ApiMember members[] = {
                { "path", callback->path },
                { "state", callback->state },
                { "code", callback->code },
                { "iss", callback->iss },
                { "error", callback->error },
                { "errorDescription", callback->error_description },
                { "local", callback->local },
                { "peer", callback->peer },
        };
        _cleanup_(buffer_done) Buffer answer = {};
        ApiResult result = {};
        int r;

        r = api_call(socket, "Callback", members, ELEMENTSOF(members), API_UPSTREAM_USEC, &answer,
                        ret_fault);
        if (r != 0)
                return r;
        if ((r = api_take_text(&answer, "user", &result.user)) < 0 ||
                        (r = api_take_text(&answer, "host", &result.host)) < 0 ||
                        (r = api_take_text(&answer, "title", &result.title)) < 0 ||
                        (r = api_take_text(&answer, "account", &result.account)) < 0 ||
                        (r = api_take_text(&answer, "claimCode", &result.claim_code)) < 0 ||
                        (r = api_take_time(&answer, "expires", &result.expires_usec)) < 0) {
                api_result_done(&result);
                return r;
        }
        *ret = result;
        return 0;
}
