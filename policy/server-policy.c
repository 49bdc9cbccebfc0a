/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a session may do at a server: lists of tools that are on, asked about, or denied (policy.d, section
 * [Server NAME]).
 *
 * The lists of all files in force are united, and the verdict looks at Deny first, then Ask, then Tools:
 * the order of files cannot matter, and adding a file can only take a denial's place by masking the file
 * that holds it. What nobody mentions is off (M1). Names are exact in this version; '*' is a fault rather
 * than a tool of that name, so that nobody believes in it.
 *
 * TokenReaders= is a right of its own (V6): to have a tool on says nothing about seeing the token, so there is no default and no
 * word for everybody. It names users only in this version: what a group is would have to be asked of the name service.
 *
 * Invariant: server_policy_tool() is pure; everything that decides about a tool calls it and nothing else. */

#include "policy/server-policy.h"
#include "policy/value.h"

#define KEY(name, parser, member)                                                                           \
        { .key = name, .parse = parser, .offset = offsetof(ServerPolicy, member), .is_list = true }

static const KeyRule server_keys[] = {
        KEY("Tools", value_tool_list, tools),
        KEY("Ask", value_tool_list, ask),
        KEY("Deny", value_tool_list, deny),
        KEY("TokenReaders", value_subject_list, token_readers),
};

static const SectionRule sections[] = {
        { "Server", server_keys, ELEMENTSOF(server_keys), .has_argument = true },
};

void server_policy_done(ServerPolicy *p) {
        free(p->service);
        text_list_free(p->tools);
        text_list_free(p->ask);
        text_list_free(p->deny);
        text_list_free(p->token_readers);
        free(p->file);
        *p = (ServerPolicy){};
}

/* The one entry of a service, made when it is first mentioned; NULL: no memory. */
static ServerPolicy *server_policy_get(Config *c, const char *service, const char *path, unsigned line) {
        ServerPolicy *grown, *p;

        for (size_t i = 0; i < c->n_servers; i++)
                if (streq(c->servers[i].service, service))
                        return &c->servers[i];
        grown = reallocarray(c->servers, c->n_servers + 1, sizeof(ServerPolicy));
        if (!grown)
                return NULL;
        c->servers = grown;
        p = &c->servers[c->n_servers++];
        *p = (ServerPolicy){ .service = strdup(service), .file = strdup(path), .line = line };
        return p->service && p->file ? p : NULL;
}

int server_policies_read_file(Config *c, const char *path, const IniFile *ini, FaultList *faults) {
        int r;

        for (size_t i = 0; i < ini->n_sections; i++) {
                const IniSection *section = &ini->sections[i];
                const SectionRule *rule =
                                section_find(path, section, sections, ELEMENTSOF(sections), faults);

                if (!rule)
                        continue;
                if (!name_is_legal(section->argument)) {
                        fault_add(faults, path, section->line,
                                        "[Server] expects the name of a service, characters a-z 0-9 -");
                        continue;
                }
                ServerPolicy *p = server_policy_get(c, section->argument, path, section->line);
                if (!p)
                        return -ENOMEM;
                r = section_apply(path, section, rule, p, faults);
                if (r < 0)
                        return r;
        }
        return 0;
}

const ServerPolicy *config_find_server(const Config *c, const char *service) {
        for (size_t i = 0; i < c->n_servers; i++)
                if (streq(c->servers[i].service, service))
                        return &c->servers[i];
        return NULL;
}

ToolVerdict server_policy_tool(const ServerPolicy *p, const char *tool) {
        if (!p || text_list_contains(p->deny, tool))
                return TOOL_OFF;
        if (text_list_contains(p->ask, tool))
                return TOOL_ASK;
        return text_list_contains(p->tools, tool) ? TOOL_ON : TOOL_OFF;
}

bool server_policy_may_read_token(const ServerPolicy *p, const char *user) {
        if (!p || isempty(user))
                return false;
        for (char **subject = p->token_readers; subject && *subject; subject++) {
                const char *name = startswith(*subject, "user:");

                if (name && streq(name, user))
                        return true;
        }
        return false;
}
