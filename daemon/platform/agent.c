/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The agent's definition, from the services of a session and the policy of each.
 *
 * The platform's own defaults are generous: the built-in toolset (a shell, the web) is on and always
 * allowed, and each tool of an MCP server is on. So everything is switched off by name of the default,
 * and what policy names is switched on one by one: Tools= always allowed, Ask= asks a person for each
 * call, the rest is never listed and thus off. The verdict is server_policy_tool()'s, the same that
 * everything else asks (S3).
 *
 * Services are put in the order of their names, since their order means nothing and the definition's
 * digest decides whether an agent is shared. Pure. */

#include "platform/platform-internal.h"

#define SERVERS_MAX    20U  /* of one agent (platform API) */
#define AGENT_NAME_MAX 256U /* bytes; the platform counts characters, ours are ASCII */

typedef struct PlanEntry {
        const ServiceProfile *service;
        const ServerPolicy *policy;
} PlanEntry;

static int entry_compare(const void *a, const void *b) {
        return strcmp(((const PlanEntry *)a)->service->name, ((const PlanEntry *)b)->service->name);
}

static json_object *switched(bool is_enabled, bool is_asking) {
        return json_build("enabled", 'b', is_enabled, "permission_policy", 'o',
                        json_build("type", 's', is_asking ? "always_ask" : "always_allow", NULL), NULL);
}

static bool was_listed(char *const *list, size_t n, const char *tool) {
        for (size_t i = 0; i < n; i++)
                if (streq(list[i], tool))
                        return true;
        return false;
}

static size_t list_size(char *const *list) {
        size_t n = 0;

        while (list && list[n])
                n++;
        return n;
}

static int configs_add(json_object *configs, const ServerPolicy *policy, const char *tool) {
        ToolVerdict verdict = server_policy_tool(policy, tool);
        json_object *config;

        if (verdict == TOOL_OFF)
                return 0;
        config = switched(true, verdict == TOOL_ASK);
        if (!config || json_add_string(config, "name", tool) < 0) {
                json_object_put(config);
                return -ENOMEM;
        }
        if (json_object_array_add(configs, config) < 0) {
                json_object_put(config);
                return -ENOMEM;
        }
        return 0;
}

/* Each tool once, whatever list names it: the platform does not say what it makes of one that is named
 * twice. */
static json_object *agent_configs(const ServerPolicy *policy) {
        _cleanup_(json_putp) json_object *configs = json_object_new_array();
        size_t n_tools = policy ? list_size(policy->tools) : 0, n_ask = policy ? list_size(policy->ask) : 0;

        if (!configs)
                return NULL;
        for (size_t i = 0; i < n_tools; i++)
                if (!was_listed(policy->tools, i, policy->tools[i]) &&
                                configs_add(configs, policy, policy->tools[i]) < 0)
                        return NULL;
        for (size_t i = 0; i < n_ask; i++)
                if (!was_listed(policy->ask, i, policy->ask[i]) &&
                                !was_listed(policy->tools, n_tools, policy->ask[i]) &&
                                configs_add(configs, policy, policy->ask[i]) < 0)
                        return NULL;
        return TAKE_PTR(configs);
}

static int array_take(json_object *array, json_object *value) {
        if (value && json_object_array_add(array, value) >= 0)
                return 0;
        json_object_put(value);
        return -ENOMEM;
}

static int agent_add_server(json_object *servers, json_object *tools, const PlanEntry *e) {
        json_object *configs, *off;
        int r;

        r = array_take(servers, json_build("type", 's', "url", "name", 's', e->service->name, "url", 's',
                                                e->service->url, NULL));
        if (r < 0)
                return r;
        configs = agent_configs(e->policy);
        off = switched(false, true);
        return array_take(tools,
                        json_build("type", 's', "mcp_toolset", "mcp_server_name", 's', e->service->name,
                                        "default_config", 'o', off, "configs", 'o', configs, NULL));
}

/* "vaultd: jira, notion", cut at a name when it would get too long. For people; nothing is found by it. */
static int agent_name(const PlanEntry *entries, size_t n, Buffer *ret) {
        int r;

        r = buffer_append_text(ret, "vaultd");
        for (size_t i = 0; i < n && r >= 0; i++) {
                if (ret->size + strlen(entries[i].service->name) + strlen(", and more") > AGENT_NAME_MAX)
                        return buffer_append_text(ret, " and more");
                r = buffer_printf(ret, "%s %s", i == 0 ? ":" : ",", entries[i].service->name);
        }
        return r;
}

static int agent_body(const PlanEntry *entries, size_t n, const char *model, json_object **ret) {
        _cleanup_(json_putp) json_object *servers = json_object_new_array(),
                                         *tools = json_object_new_array();
        _cleanup_(buffer_done) Buffer name = {};
        json_object *builtin;
        int r;

        if (!servers || !tools)
                return -ENOMEM;
        builtin = json_build("type", 's', "agent_toolset_20260401", "default_config", 'o',
                        json_build("enabled", 'b', false, NULL), "configs", 'o', json_object_new_array(),
                        NULL);
        r = array_take(tools, builtin);
        for (size_t i = 0; i < n && r >= 0; i++)
                r = agent_add_server(servers, tools, &entries[i]);
        if (r >= 0)
                r = agent_name(entries, n, &name);
        if (r < 0)
                return r;
        *ret = json_build("name", 's', (const char *)name.bytes, "model", 's', model, "mcp_servers", 'o',
                        TAKE_PTR(servers), "tools", 'o', TAKE_PTR(tools), NULL);
        return *ret ? 0 : -ENOMEM;
}

int agent_definition(const SessionPlan *plan, Definition *ret, Failure *failure) {
        PlanEntry entries[SERVERS_MAX];
        json_object *body = NULL;
        size_t n = 0;
        int r;

        if (plan->n > SERVERS_MAX)
                return failure_set(failure, FAILURE_LIMIT, NULL, "a session can have at most %u servers",
                                SERVERS_MAX);
        for (size_t i = 0; i < plan->n; i++)
                if (plan->services[i]->auth != SERVICE_AUTH_ENVIRONMENT) /* a variable has no server */
                        entries[n++] = (PlanEntry){ plan->services[i],
                                plan->policies ? plan->policies[i] : NULL };
        if (n > 1)
                qsort(entries, n, sizeof(PlanEntry), entry_compare);
        r = agent_body(entries, n, plan->model, &body);
        return r < 0 ? r : definition_init(ret, RECORD_AGENT, body);
}
