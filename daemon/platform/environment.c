/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The environment that all our sessions share: a cloud sandbox whose network lets the agent's MCP
 * servers through and nothing else, no package managers either (S3). The platform's default would be an
 * unrestricted network; every member is said, so that a change of a default over there changes nothing
 * here. */

#include "platform/platform-internal.h"

int environment_definition(Definition *ret) {
        json_object *networking, *config;

        networking = json_build("type", 's', "limited", "allowed_hosts", 'o', json_object_new_array(),
                        "allow_mcp_servers", 'b', true, "allow_package_managers", 'b', false, NULL);
        config = json_build("type", 's', "cloud", "networking", 'o', networking, NULL);
        return definition_init(ret, RECORD_ENVIRONMENT,
                        json_build("name", 's', "vaultd", "config", 'o', config, NULL));
}
