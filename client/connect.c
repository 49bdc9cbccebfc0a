/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The common part of connecting.
 *
 * A flow always ends in quarantine: the grant exists, its account is known, and it belongs to nobody until the uid that began
 * claims it over its own socket (O4). So the claim is a call of its own on a fresh connection, made the same way by `connect`
 * and by `claim`, and another account than the expected one gives the flow up instead of leaving it claimable.
 *
 * What vaultd says goes to three places that act on text: the terminal (stripped at the door), the browser's argv, and the
 * user's shell by way of the ssh line that is made to be copied. The latter two are checked here by what is allowed. */

#include <ctype.h>

#include "client/connect.h"
#include "client/output.h"
#include "client/reply.h"
#include "client/terminal.h"
#include "json/object.h"

json_object *connect_parameters(const Connect *connect, const char *way) {
        _cleanup_(json_putp) json_object *parameters = json_build("service", 's', connect->service, "label",
                        's', connect->label, "way", 's', way, "scope", 's', connect->scope, NULL);

        if (!parameters ||
                        (connect->replaces_account && json_add_bool(parameters, "replaceAccount", true) < 0))
                return NULL;
        return TAKE_PTR(parameters);
}

int flow_read(json_object *reply, const char *state, Flow *ret, Fault *fault) {
        Flow flow = {
                .link = json_string(reply, "link"),
                .authorization_url = json_string(reply, "authorizationUrl"),
                .user_code = json_string(reply, "userCode"),
                .verification_uri = json_string(reply, "verificationUri"),
                .verification_uri_complete = json_string(reply, "verificationUriComplete"),
                .host = json_string(reply, "host"),
        };

        if (reply_need_string(reply, "flow", &flow.id, fault) < 0 ||
                        reply_need_string(reply, "state", &flow.state, fault) < 0 ||
                        reply_need_string(reply, "title", &flow.title, fault) < 0)
                return FAULT_SET;
        if (!streq(flow.state, state))
                return fault_set_bad_reply(fault, "the flow is in another state than it can be");
        (void)json_get_int64(reply, "port", &flow.port);
        (void)json_get_int64(reply, "expires", &flow.expires_usec);
        (void)json_get_object(reply, "account", &flow.account);
        if (streq(state, "quarantined") && (!flow.account || !json_string(flow.account, "id") || streq(account_name(flow.account), "-")))
                return fault_set_bad_reply(fault, "a quarantined flow without an account");
        *ret = flow;
        return 0;
}

bool flow_cancel(const Connect *connect, const Flow *flow) {
        _cleanup_(fault_done) Fault ignored = {};
        _cleanup_(json_putp) json_object *reply = NULL;

        return call_method(connect->context, "io.vaultd.Connect.Cancel", json_build("flow", 's', flow->id, NULL),
                               CALL_LOCAL_USEC, &reply, &ignored) >= 0;
}

int flow_check_account(const Connect *connect, const Flow *flow, Fault *fault) {
        _cleanup_(freep) char *text = format_account(flow->account);

        if (!text)
                return fault_set_memory(fault);
        if (connect->account && !streq_ptr(connect->account, json_string(flow->account, "id"))) {
                (void)flow_cancel(connect, flow);
                return fault_set(fault, EXIT_CODE_FAILED, "io.vaultd.client.OtherAccount",
                                "Log out of the service in the browser, or leave --account away",
                                "%s answered with the account %s, not with %s. Nothing was connected",
                                flow->title, text, connect->account);
        }
        say(connect->context, "%s", "");
        say_styled(connect->context, STYLE_BOLD, "Account at %s: %s", flow->title, text);
        return 0;
}

int connected_say(const Context *c, json_object *reply, Fault *fault) {
        _cleanup_(freep) char *text = NULL;
        const char *title, *custody, *service;
        json_object *account;

        if (reply_need_string(reply, "title", &title, fault) < 0 ||
                        reply_need_object(reply, "account", &account, fault) < 0 ||
                        reply_need_string(reply, "service", &service, fault) < 0 ||
                        reply_need_string(reply, "custody", &custody, fault) < 0)
                return FAULT_SET;
        if (c->is_json) {
                _cleanup_(json_putp) json_object *document = json_build("state", 's', "connected", NULL);

                json_object_object_foreach(reply, name, value) {
                        if (!streq(name, "state") && json_add(document, name, json_object_get(value)) < 0)
                                return fault_set_memory(fault);
                }
                output_json(document);
                return 0;
        }
        text = format_account(account);
        if (!text)
                return fault_set_memory(fault);
        if (streq(text, "-")) /* a token whose account nobody knows */
                say_styled(c, STYLE_GOOD, "%s is connected.", title);
        else
                say_styled(c, STYLE_GOOD, "%s is connected as %s.", title, text);
        if (json_string(reply, "notice"))
                say(c, "%s", json_string(reply, "notice"));
        return 0;
}

int claim_call(const Context *c, json_object *parameters, Fault *fault) {
        _cleanup_(json_putp) json_object *reply = NULL;
        int r;

        r = call_method(c, "io.vaultd.Connect.Claim", parameters, CALL_REMOTE_USEC, &reply, fault);
        return r < 0 ? r : connected_say(c, reply, fault);
}

int connect_ask_account(const Connect *connect, const Flow *flow, const char *how, Fault *fault) {
        _cleanup_(freep) char *question = NULL, *account = format_account(flow->account), *hint = NULL;
        int r;

        if (connect->is_yes || connect->account)
                return 0;
        if (!account || asprintf(&question, "Connect %s as %s? [y/N]", flow->title, account) < 0)
                return fault_set_memory(fault);
        r = terminal_ask_yes(question);
        if (r > 0)
                return 0;
        if (r == -EINTR)
                return connect_interrupted(connect, flow, fault);
        (void)flow_cancel(connect, flow);
        if (r == 0)
                return fault_set(fault, EXIT_CODE_FAILED, "io.vaultd.client.Declined", NULL,
                                "%s was not connected", flow->title);
        if (asprintf(&hint, "Run: vaultctl connect %s %s --account ID", connect->service, how) < 0)
                hint = NULL;
        return fault_set(fault, EXIT_CODE_NOT_CONNECTED, "io.vaultd.client.NotClaimed", hint,
                        "%s was not connected: nobody said yes to the account", flow->title);
}

int connect_claim(const Connect *connect, const Flow *flow, const char *code, const char *account, Fault *fault) {
        _cleanup_(json_putp) json_object *reply = NULL;
        int r;

        r = connect_call(connect, flow, "io.vaultd.Connect.Claim",
                        json_build("flow", 's', flow->id, "code", 's', code, "account", 's', account, NULL), &reply,
                        fault);
        return r < 0 ? r : connected_say(connect->context, reply, fault);
}

int connect_claim_account(const Connect *connect, const Flow *flow, Fault *fault) {
        return connect_claim(connect, flow, NULL, json_string(flow->account, "id"), fault);
}

/* The part of url behind the host of an http address on loopback, or NULL. */
static const char *behind_loopback(const char *url) {
        const char *rest = startswith(url, "http://127.0.0.1") ?: startswith(url, "http://localhost") ?: startswith(url, "http://[::1]");

        if (rest && *rest == ':')
                for (rest++; isdigit((unsigned char)*rest);)
                        rest++;
        return rest && (*rest == '/' || *rest == 0) ? rest : NULL;
}

bool link_is_loopback(const char *url) {
        const char *rest = startswith(url, "https://");

        return behind_loopback(url) || (rest && (startswith(rest, "127.") || startswith(rest, "localhost") ||
                                                                startswith(rest, "[::1]")));
}

bool link_is_acceptable(const char *url, size_t max) {
        const char *rest = startswith(url, "https://");

        if (strlen(url) > max)
                return false;
        for (const char *p = url; *p; p++)
                if (*p <= ' ' || *p >= 0x7f || strchr("\"'<>\\`", *p))
                        return false;
        if (rest) {
                size_t n = strcspn(rest, "/?#");

                return n > 0 && !memchr(rest, '@', n);
        }
        return behind_loopback(url);
}

/* Characters that a shell takes as they are. */
static bool is_plain(const char *text, const char *also) {
        for (const char *p = text; *p; p++)
                if (!isascii(*p) || (!isalnum((unsigned char)*p) && !strchr(also, *p)))
                        return false;
        return !isempty(text) && text[0] != '-';
}

int format_ssh_command(const char *user, const char *host, int64_t port, char **ret) {
        bool needs_quotes = isempty(user) || !is_plain(user, "._-");
        char *text;

        if (port < 1 || port > UINT16_MAX || isempty(host) || isempty(user) || !is_plain(host, ".-:"))
                return -EINVAL;
        if (user[0] == '-')
                return -EINVAL;
        for (const char *p = user; *p; p++)
                if ((unsigned char)*p < 0x20 || *p == 0x7f || *p == '\'')
                        return -EINVAL;
        if (asprintf(&text, "ssh -L %d:127.0.0.1:%d %s%s%s@%s", (int)port, (int)port,
                            needs_quotes ? "'" : "", user, needs_quotes ? "'" : "", host) < 0)
                return -ENOMEM;
        *ret = text;
        return 0;
}
