/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Service profiles: how a service is connected (services.d/NAME.conf, section [Service]).
 *
 * One profile a file, so that an administrator replaces or removes exactly one service by a file of the
 * same name. Who only adds something to a shipped one (the id of a client that was registered for this host) writes that
 * into a file of NAME.conf.d/: what is said there takes the place of what the file says, key by key, and the rest
 * goes on coming from the shipped file. Two profiles with one name would make it a matter of order which credentials go where, so
 * that is a fault naming both places. The client secret is not part of the profile, only the path of its
 * file: profiles are shown and logged. */

#include <stdio.h>

#include "policy/account-match.h"
#include "policy/service-values.h"
#include "policy/services.h"
#include "policy/value.h"
#include "util/url.h"

#define ALLOWED_HOSTS_MAX 16U /* of one credential at the Claude Platform */

#define KEY(name, parser, member, ...)                                                                      \
        { .key = name, .parse = parser, .offset = offsetof(ServiceProfile, member), __VA_ARGS__ }

static const KeyRule service_keys[] = {
        KEY("Name", value_name, name, .is_required = true),
        KEY("Title", value_title, title),
        KEY("Url", value_url, url),
        KEY("Auth", value_auth, auth),
        KEY("Variable", value_variable, variable),
        KEY("AllowedHosts", value_host_list, allowed_hosts, .is_list = true),
        KEY("Custody", value_custody, custody),
        KEY("PasteBack", value_paste_back, paste_back),
        KEY("Device", value_yes_no, has_device),
        KEY("DeviceEndpoint", value_url, device_endpoint),
        KEY("AccountMatch", value_account_match, account_match),
        KEY("AccountMatchBy", value_account_match_by, account_match_by),
        KEY("Scopes", value_scope_list, scopes, .is_list = true),
        KEY("ClientId", value_token, client_id),
        KEY("ClientSecretFile", value_path, client_secret_file),
        KEY("ClientMetadataUrl", value_client_metadata_url, client_metadata_url),
        KEY("RedirectHost", value_redirect_host, redirect_host),
        KEY("AccountTool", value_tool, account_tool),
        KEY("AccountUrl", value_url, account_url),
        KEY("AccountIdField", value_fields, account_id_field),
        KEY("AccountNameField", value_fields, account_name_field),
        KEY("Account", value_account_source, account_source),
        KEY("AccountArguments", value_json_object, account_arguments),
        KEY("AccountBody", value_json_object, account_body),
        KEY("AccountIdText", value_phrase, account_id_text),
        KEY("AccountNameText", value_phrase, account_name_text),
        KEY("AuthorizationEndpoint", value_url, authorization_endpoint),
        KEY("TokenEndpoint", value_url, token_endpoint),
        KEY("Issuer", value_issuer, issuer),
        KEY("Resource", value_resource, resource),
        KEY("ScopeParameter", value_parameter_name, scope_parameter),
        KEY("ScopeSeparator", value_scope_separator, scope_separator),
        KEY("AuthorizationParameters", value_parameter_list, authorization_parameters, .is_list = true),
        KEY("ClientAuth", value_client_auth, client_auth),
        KEY("TokenRequest", value_token_request, is_token_request_json),
        KEY("TokenMember", value_parameter_name, token_member),
        KEY("TokenType", value_token, token_type),
        KEY("TokenLife", value_duration, token_life_usec, .min = 60 * USEC_PER_SEC,
                        .max = UINT64_C(365) * 24 * 3600 * USEC_PER_SEC),
        KEY("GrantErrors", value_answer_list, grant_errors, .is_list = true),
        KEY("Revocation", value_revocation, revocation),
        KEY("RevocationEndpoint", value_revocation_endpoint, revocation_endpoint),
        KEY("RevokedAnswers", value_answer_list, revoked_answers, .is_list = true),
};

static const SectionRule sections[] = {
        { "Service", service_keys, ELEMENTSOF(service_keys) },
};

void service_profile_done(ServiceProfile *p) {
        free(p->name);
        free(p->title);
        free(p->url);
        text_list_free(p->scopes);
        free(p->client_id);
        free(p->client_secret_file);
        free(p->client_metadata_url);
        free(p->redirect_host);
        free(p->device_endpoint);
        free(p->account_match);
        free(p->account_tool);
        free(p->account_url);
        free(p->account_id_field);
        free(p->account_name_field);
        free(p->variable);
        text_list_free(p->allowed_hosts);
        free(p->account_arguments);
        free(p->account_body);
        free(p->account_id_text);
        free(p->account_name_text);
        free(p->authorization_endpoint);
        free(p->token_endpoint);
        free(p->issuer);
        free(p->resource);
        free(p->scope_parameter);
        text_list_free(p->authorization_parameters);
        free(p->token_member);
        free(p->token_type);
        text_list_free(p->grant_errors);
        free(p->revocation_endpoint);
        text_list_free(p->revoked_answers);
        free(p->file);
        *p = (ServiceProfile){};
}

static int default_text(char **field, const char *value) {
        if (*field)
                return 0;
        *field = strdup(value);
        return *field ? 0 : -ENOMEM;
}

/* What the file leaves open. */
static int service_complete(ServiceProfile *p) {
        int r;

        r = default_text(&p->title, p->name);
        if (r < 0)
                return r;
        r = default_text(&p->redirect_host, "127.0.0.1");
        if (r < 0)
                return r;
        if (p->scope_separator == 0)
                p->scope_separator = ' ';
        return default_text(&p->scope_parameter, "scope");
}

/* A variable's service is its first host, unless the file names an address. */
static int environment_complete(ServiceProfile *p, FaultList *faults) {
        if (!p->variable || !p->allowed_hosts) {
                fault_add(faults, p->file, p->line, "Auth=environment needs Variable= and AllowedHosts=");
                return 0;
        }
        if (text_list_size(p->allowed_hosts) > ALLOWED_HOSTS_MAX)
                fault_add(faults, p->file, p->line, "AllowedHosts= takes at most %u hosts",
                                ALLOWED_HOSTS_MAX);
        if (p->account_tool)
                fault_add(faults, p->file, p->line,
                                "Auth=environment has no MCP server, so AccountTool= cannot be asked; use "
                                "AccountUrl=");
        for (char **host = p->allowed_hosts; !p->url && *host; host++)
                if ((*host)[0] != '*' && asprintf(&p->url, "https://%s/", *host) < 0) {
                        p->url = NULL;
                        return -ENOMEM;
                }
        if (!p->url)
                fault_add(faults, p->file, p->line,
                                "Auth=environment needs Url= or a host without '*' in AllowedHosts=");
        else if (!url_is_for_hosts(p->url, p->allowed_hosts))
                fault_add(faults, p->file, p->line, "Url= is at none of AllowedHosts=");
        if (p->account_url && !url_is_for_hosts(p->account_url, p->allowed_hosts))
                fault_add(faults, p->file, p->line,
                                "AccountUrl= is at none of AllowedHosts=, so the value may not be sent "
                                "there");
        return 0;
}

/* What depends on Auth=. */
static int service_check_auth(ServiceProfile *p, FaultList *faults) {
        if (p->auth == SERVICE_AUTH_ENVIRONMENT)
                return environment_complete(p, faults);
        if (!p->url)
                fault_add(faults, p->file, p->line, "[Service] lacks Url=");
        if (p->variable || p->allowed_hosts)
                fault_add(faults, p->file, p->line,
                                "Variable= and AllowedHosts= go with Auth=environment only");
        return 0;
}

/* Whose account it has to be, and the way in that needs to know. */
static void service_check_match(ServiceProfile *p, FaultList *faults) {
        bool is_grant = p->auth == SERVICE_AUTH_OAUTH || p->auth == SERVICE_AUTH_BOTH;

        if (p->has_device && !is_grant)
                fault_add(faults, p->file, p->line, "Device= goes with Auth=oauth or Auth=both only");
        else if (p->has_device && !p->account_match)
                fault_add(faults, p->file, p->line,
                                "Device=yes needs AccountMatch=: a device code has no page of this host, so "
                                "nothing else says whose consent it was");
        if (p->device_endpoint && !p->has_device)
                fault_add(faults, p->file, p->line, "DeviceEndpoint= needs Device=yes");
        if (p->account_match_by != ACCOUNT_MATCH_BY_UNSET && !p->account_match)
                fault_add(faults, p->file, p->line, "AccountMatchBy= needs AccountMatch=");
        /* To guess which of the two is an address that the service has verified would be to guess who somebody is. */
        if (p->account_match_by == ACCOUNT_MATCH_BY_UNSET && p->account_match &&
                        streq(p->account_match, ACCOUNT_MATCH_MAIL))
                fault_add(faults, p->file, p->line,
                                "AccountMatch=mail needs AccountMatchBy=: id or name, whichever is the "
                                "account's verified mail address at this service");
}

/* Takes the profile over. */
static int service_append(Config *c, ServiceProfile *p, FaultList *faults) {
        const ServiceProfile *other = config_find_service(c, p->name);
        ServiceProfile *grown;

        if (other) {
                fault_add(faults, p->file, p->line, "service '%s' is already defined in %s:%u", p->name,
                                other->file, other->line);
                return 0;
        }
        if (p->client_secret_file && !p->client_id)
                fault_add(faults, p->file, p->line, "[Service] has ClientSecretFile= but no ClientId=");

        grown = reallocarray(c->services, c->n_services + 1, sizeof(ServiceProfile));
        if (!grown)
                return -ENOMEM;
        c->services = grown;
        c->services[c->n_services++] = *p;
        *p = (ServiceProfile){};
        return 0;
}

/* What the drop-ins change. A profile's name is its file's. */
static int service_apply_drop_ins(ServiceProfile *p, const DropIn *drop_ins, size_t n, FaultList *faults) {
        int r;

        for (size_t i = 0; i < n; i++)
                for (size_t k = 0; k < drop_ins[i].ini.n_sections; k++) {
                        const IniSection *section = &drop_ins[i].ini.sections[k];
                        const SectionRule *rule = section_find(
                                        drop_ins[i].path, section, sections, ELEMENTSOF(sections), faults);
                        _cleanup_(freep) char *name = p->name ? strdup(p->name) : NULL;

                        if (!rule)
                                continue;
                        if (p->name && !name)
                                return -ENOMEM;
                        r = section_apply_over(drop_ins[i].path, section, rule, p, faults);
                        if (r < 0)
                                return r;
                        if (!streq_ptr(name, p->name))
                                fault_add(faults, drop_ins[i].path, section->line,
                                                "Name= cannot be changed by a drop-in");
                }
        return 0;
}

/* One [Service] from its lines to a profile. */
static int service_read(Config *c, const char *path, const IniSection *section, const SectionRule *rule,
                const DropIn *drop_ins, size_t n_drop_ins, FaultList *faults) {
        _cleanup_(service_profile_done) ServiceProfile p = { .line = section->line,
                .account_match_by = ACCOUNT_MATCH_BY_UNSET };
        size_t n_faults = faults->list.n_faults;
        int r;

        p.file = strdup(path);
        if (!p.file)
                return -ENOMEM;
        r = section_apply(path, section, rule, &p, faults);
        if (r >= 0)
                r = service_apply_drop_ins(&p, drop_ins, n_drop_ins, faults);
        /* What belongs together is looked at where each part is sound by itself. */
        if (r >= 0 && faults->list.n_faults == n_faults)
                r = service_check_auth(&p, faults);
        if (r < 0)
                return r;
        if (faults->list.n_faults == n_faults)
                service_check_match(&p, faults);
        if (faults->list.n_faults == n_faults)
                service_check_grant(&p, faults);
        if (!p.name || !p.url) /* a fault has been added */
                return 0;
        r = service_complete(&p);
        return r < 0 ? r : service_append(c, &p, faults);
}

int services_read_file(Config *c, const char *path, const IniFile *ini, const DropIn *drop_ins,
                size_t n_drop_ins, FaultList *faults) {
        int r;

        for (size_t i = 0; i < ini->n_sections; i++) {
                const SectionRule *rule = section_find(
                                path, &ini->sections[i], sections, ELEMENTSOF(sections), faults);

                r = rule ? service_read(c, path, &ini->sections[i], rule, drop_ins, n_drop_ins, faults) : 0;
                if (r < 0)
                        return r;
        }
        return 0;
}

const ServiceProfile *config_find_service(const Config *c, const char *name) {
        for (size_t i = 0; i < c->n_services; i++)
                if (streq(c->services[i].name, name))
                        return &c->services[i];
        return NULL;
}
