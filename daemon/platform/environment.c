/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The environment that our sessions share: a cloud sandbox whose network lets the agent's MCP servers
 * through and nothing else, no package managers either (S3). The platform's default would be an
 * unrestricted network; every member is said, so that a change of a default over there changes nothing
 * here.
 *
 * A session with environment variables may reach the hosts that those are for, since the platform puts
 * the value in only on the way to a host that both the credential and the environment allow. Hosts are
 * put in order and said once, so that sessions with the same hosts share an environment. */

#include "platform/platform-internal.h"

static int text_compare(const void *a, const void *b) {
        return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Each host of the plan's variables once, in order. */
static json_object *environment_hosts(const SessionPlan *plan) {
        _cleanup_(json_putp) json_object *array = json_object_new_array();
        _cleanup_(freep) const char **hosts = NULL;
        size_t n = 0;

        for (size_t i = 0; i < plan->n; i++)
                for (char **h = plan->credentials && plan->credentials[i]
                                                ? plan->credentials[i]->allowed_hosts
                                                : NULL;
                                h && *h; h++) {
                        const char **grown = reallocarray(hosts, n + 1, sizeof(char *));

                        if (!grown)
                                return NULL;
                        hosts = grown;
                        hosts[n++] = *h;
                }
        if (n > 1)
                qsort(hosts, n, sizeof(char *), text_compare);
        for (size_t i = 0; i < n && array; i++)
                if ((i == 0 || !streq(hosts[i - 1], hosts[i])) && json_array_add_string(array, hosts[i]) < 0)
                        return NULL;
        return TAKE_PTR(array);
}

int environment_definition(const SessionPlan *plan, Definition *ret) {
        json_object *networking, *config, *hosts = environment_hosts(plan);

        if (!hosts)
                return -ENOMEM;
        networking = json_build("type", 's', "limited", "allowed_hosts", 'o', hosts, "allow_mcp_servers",
                        'b', true, "allow_package_managers", 'b', false, NULL);
        config = json_build("type", 's', "cloud", "networking", 'o', networking, NULL);
        return definition_init(ret, RECORD_ENVIRONMENT,
                        json_build("name", 's', "vaultd", "config", 'o', config, NULL));
}
