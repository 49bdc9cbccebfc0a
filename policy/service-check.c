/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What of a service profile belongs together: the keys about its authorization server and about whose account it is.
 *
 * Each value is sound by itself when this looks at it. What cannot be meant is a fault, because a key that is
 * silently without effect is one that somebody believes to be in force. A profile whose client is not registered yet
 * is whole all the same: it ships so, and service_lacks() says what is to be added before anybody can connect.
 *
 * Who may call: services.c; service_lacks() anybody. */

#include "policy/services.h"
#include "policy/value.h"

static bool service_takes_grants(const ServiceProfile *p) {
        return p->auth == SERVICE_AUTH_OAUTH || p->auth == SERVICE_AUTH_BOTH;
}

static void check_endpoints(ServiceProfile *p, FaultList *faults) {
        bool has_static = p->authorization_endpoint || p->token_endpoint;

        if (!p->authorization_endpoint != !p->token_endpoint)
                fault_add(faults, p->file, p->line, "AuthorizationEndpoint= and TokenEndpoint= go together");
        if ((has_static || p->revocation_endpoint) && !service_takes_grants(p))
                fault_add(faults, p->file, p->line,
                                "AuthorizationEndpoint=, TokenEndpoint= and RevocationEndpoint= go with "
                                "Auth=oauth or Auth=both only");
        if (p->client_metadata_url && (p->client_id || has_static || !service_takes_grants(p)))
                fault_add(faults, p->file, p->line,
                                "ClientMetadataUrl= is for authorization servers that are discovered, and "
                                "has "
                                "no use beside ClientId=");
        if (p->client_auth == CLIENT_AUTH_NONE && p->client_secret_file)
                fault_add(faults, p->file, p->line, "ClientAuth=none has no use for ClientSecretFile=");
        if (p->client_auth >= CLIENT_AUTH_BASIC && p->client_id && !p->client_secret_file)
                fault_add(faults, p->file, p->line,
                                "ClientAuth=basic and ClientAuth=post need ClientSecretFile=");
        for (char **a = p->authorization_parameters; a && *a; a++)
                for (char **b = a + 1; *b; b++)
                        if (strcspn(*a, "=") == strcspn(*b, "=") && strncmp(*a, *b, strcspn(*a, "=")) == 0)
                                fault_add(faults, p->file, p->line,
                                                "AuthorizationParameters= has a parameter twice");
}

static void check_revocation(ServiceProfile *p, FaultList *faults) {
        if ((p->revocation == REVOCATION_DELETE || p->revocation == REVOCATION_BEARER) &&
                        !p->revocation_endpoint)
                fault_add(faults, p->file, p->line,
                                "Revocation=delete and Revocation=bearer need RevocationEndpoint=");
        if (p->revocation == REVOCATION_NONE && p->revocation_endpoint)
                fault_add(faults, p->file, p->line, "Revocation=none has no use for RevocationEndpoint=");
        if (p->revocation == REVOCATION_DELETE && p->client_id && !p->client_secret_file)
                fault_add(faults, p->file, p->line, "Revocation=delete needs ClientSecretFile=");
}

static void check_account(ServiceProfile *p, FaultList *faults) {
        if (p->account_source == ACCOUNT_SOURCE_TOKEN && (p->account_tool || p->account_url))
                fault_add(faults, p->file, p->line,
                                "Account=token asks nobody else: AccountTool= and AccountUrl= are of no "
                                "use");
        if (p->account_source != ACCOUNT_SOURCE_AUTO && !service_takes_grants(p))
                fault_add(faults, p->file, p->line,
                                "Account=token and Account=none go with Auth=oauth or Auth=both only");
        if (p->account_source == ACCOUNT_SOURCE_NONE &&
                        (p->account_tool || p->account_url || p->account_match ||
                                        p->paste_back == PASTE_BACK_MATCH))
                fault_add(faults, p->file, p->line,
                                "Account=none says that nobody knows the account: AccountTool=, "
                                "AccountUrl=, "
                                "AccountMatch= and PasteBack=match need one");
        if (p->account_tool && p->account_url)
                fault_add(faults, p->file, p->line, "AccountTool= and AccountUrl= exclude each other");
        if (p->account_arguments && !p->account_tool)
                fault_add(faults, p->file, p->line, "AccountArguments= needs AccountTool=");
        if (p->account_body && !p->account_url)
                fault_add(faults, p->file, p->line, "AccountBody= needs AccountUrl=");
        if (p->account_id_text && (!p->account_tool || p->account_id_field))
                fault_add(faults, p->file, p->line,
                                "AccountIdText= needs AccountTool=, and no AccountIdField= beside it");
        if (p->account_name_text && !p->account_id_text)
                fault_add(faults, p->file, p->line, "AccountNameText= needs AccountIdText=");
}

void service_check_grant(ServiceProfile *p, FaultList *faults) {
        check_endpoints(p, faults);
        check_revocation(p, faults);
        check_account(p, faults);
}

const char *service_lacks(const ServiceProfile *p) {
        bool needs_secret = p->client_auth >= CLIENT_AUTH_BASIC || p->revocation == REVOCATION_DELETE;

        if (!service_takes_grants(p) || !service_has_endpoints(p) || p->client_id)
                return NULL;
        return needs_secret ? "ClientId= and ClientSecretFile=" : "ClientId=";
}

bool service_lacks_account(const ServiceProfile *p) {
        /* Metadata may name a userinfo endpoint; a profile's own endpoints have none. */
        return service_takes_grants(p) && service_has_endpoints(p) && !p->account_tool && !p->account_url &&
               p->account_source == ACCOUNT_SOURCE_AUTO;
}
