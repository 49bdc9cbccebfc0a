/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* vaultd.conf, and the loading of everything.
 *
 * A load reads all files, collects all faults and hands out either a whole Config or none: the caller
 * keeps the old one in force (M4), and a Config is never changed after it was handed out. Defaults are
 * those of this table, not of the shipped vaultd.conf, whose lines are all comments: a missing vendor
 * folder changes nothing.
 *
 * Checks that need several values (a range, a name that must exist) come last, over values that are each
 * sound.
 *
 * Who may call: any thread; it reads files, so not in the loop's turn for long folders. */

#include <stdio.h>

#include "policy/config.h"
#include "policy/login-defs.h"
#include "policy/server-policy.h"
#include "policy/services.h"
#include "policy/source.h"
#include "policy/value.h"

#define KEY(name, parser, member, ...)                                                                      \
        { .key = name, .parse = parser, .offset = offsetof(Config, member), __VA_ARGS__ }

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

static const KeyRule platform_keys[] = {
        KEY("Url", value_url, platform_url),
        KEY("Version", value_date, platform_version),
        KEY("Model", value_token, platform_model),
        KEY("Servers", value_name_list, session_servers, .is_list = true),
        KEY("AdoptWait", value_duration, adopt_wait_usec, .min = 10 * USEC_PER_MSEC,
                        .max = 600 * USEC_PER_SEC),
};

static const KeyRule http_keys[] = {
        KEY("CaFile", value_path, ca_file),
        KEY("Proxy", value_proxy, proxy),
        KEY("AllowPrivate", value_host_port_list, allow_private, .is_list = true),
};

static const KeyRule web_keys[] = {
        KEY("ExternalUrl", value_origin, external_url),
        KEY("ClientMetadata", value_yes_no, has_client_metadata),
        KEY("LoopbackPort", value_number, loopback_port, .min = 1, .max = 65535),
};

static const KeyRule identity_keys[] = {
        KEY("Elevated", value_elevated, elevated),
        KEY("Containers", value_containers, containers),
};

static const KeyRule vault_keys[] = {
        KEY("UidMin", value_number, uid_min, .min = 1, .max = UID_INVALID - 1),
        KEY("UidMax", value_number, uid_max, .min = 1, .max = UID_INVALID - 1),
        KEY("MapSize", value_size, map_size, .min = MIB, .max = 16 * 1024 * GIB),
        KEY("LeaverCheck", value_duration, leaver_check_usec, .min = USEC_PER_SEC,
                        .max = UINT64_C(24) * 3600 * USEC_PER_SEC),
};

static const KeyRule limit_keys[] = {
        KEY("Connections", value_number, connections_per_uid, .min = 1, .max = 65536),
        KEY("Bytes", value_size, bytes_per_uid, .min = 64 * KIB, .max = 4 * GIB),
        KEY("Calls", value_number, calls_per_uid, .min = 1, .max = 65536),
        KEY("CallsPerSecond", value_number, calls_per_second, .min = 1, .max = 1000000),
        KEY("Streams", value_number, streams_per_uid, .min = 1, .max = 65536),
        KEY("Flows", value_number, flows_per_uid, .min = 1, .max = 1024),
        KEY("FlowsPerMinute", value_number, flows_per_minute, .min = 1, .max = 65536),
        KEY("MessageTimeout", value_duration, message_timeout_usec, .min = 100 * USEC_PER_MSEC,
                        .max = 600 * USEC_PER_SEC),
        KEY("FlowLifetime", value_duration, flow_lifetime_usec, .min = USEC_PER_SEC,
                        .max = 3600 * USEC_PER_SEC),
};

static const SectionRule sections[] = {
        { "Platform", platform_keys, ELEMENTSOF(platform_keys) },
        { "Http", http_keys, ELEMENTSOF(http_keys) },
        { "Web", web_keys, ELEMENTSOF(web_keys) },
        { "Identity", identity_keys, ELEMENTSOF(identity_keys) },
        { "Vaults", vault_keys, ELEMENTSOF(vault_keys) },
        { "Limits", limit_keys, ELEMENTSOF(limit_keys) },
};

Config *config_free(Config *c) {
        if (!c)
                return NULL;
        free(c->platform_url);
        free(c->platform_version);
        free(c->platform_model);
        text_list_free(c->session_servers);
        free(c->ca_file);
        free(c->proxy);
        text_list_free(c->allow_private);
        free(c->external_url);
        free(c->admin_dir);
        for (size_t i = 0; i < c->n_services; i++)
                service_profile_done(&c->services[i]);
        free(c->services);
        for (size_t i = 0; i < c->n_servers; i++)
                server_policy_done(&c->servers[i]);
        free(c->servers);
        free(c);
        return NULL;
}

/* The range of /etc/login.defs if that file can be believed; its faults are not ours to report. */
static int config_default_uids(Config *c) {
        const SourceRoots etc = { .vendor_dir = "/etc", .admin_dir = "/etc" };
        _cleanup_(source_list_done) SourceList list = {};
        FaultList ignored = {};
        int r;

        c->uid_min = 1000;
        c->uid_max = 60000;
        r = source_read_all(&etc, NULL, "login.defs", &ignored, &list);
        config_faults_done(&ignored.list);
        if (r < 0)
                return r;
        if (list.n_sources > 0)
                login_defs_parse(list.sources[0].text, &c->uid_min, &c->uid_max);
        if (c->uid_min > c->uid_max) {
                c->uid_min = 1000;
                c->uid_max = 60000;
        }
        return 0;
}

static int config_new(Config **ret) {
        _cleanup_(config_freep) Config *c = calloc(1, sizeof(Config));
        int r;

        if (!c)
                return -ENOMEM;
        c->platform_url = strdup("https://api.anthropic.com");
        c->platform_version = strdup("2023-06-01");
        c->platform_model = strdup("claude-opus-4-5");
        if (!c->platform_url || !c->platform_version || !c->platform_model)
                return -ENOMEM;
        c->adopt_wait_usec = 10 * USEC_PER_SEC;
        c->loopback_port = 876;
        c->map_size = 64 * GIB;
        c->leaver_check_usec = 15 * 60 * USEC_PER_SEC;
        c->connections_per_uid = 64;
        c->bytes_per_uid = 8 * MIB;
        c->calls_per_uid = 32;
        c->calls_per_second = 2000;
        c->streams_per_uid = 8;
        c->flows_per_uid = 8;
        c->flows_per_minute = 20;
        c->message_timeout_usec = 10 * USEC_PER_SEC;
        c->flow_lifetime_usec = 600 * USEC_PER_SEC;
        r = config_default_uids(c);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(c);
        return 0;
}

static int main_read_file(Config *c, const char *path, const IniFile *ini, FaultList *faults) {
        int r;

        for (size_t i = 0; i < ini->n_sections; i++) {
                const SectionRule *rule = section_find(
                                path, &ini->sections[i], sections, ELEMENTSOF(sections), faults);

                r = rule ? section_apply(path, &ini->sections[i], rule, c, faults) : 0;
                if (r < 0)
                        return r;
        }
        return 0;
}

typedef int (*FileReader)(Config *c, const char *path, const IniFile *ini, FaultList *faults);

static int config_read(Config *c, const SourceRoots *roots, const char *folder, const char *name,
                FileReader reader, FaultList *faults) {
        _cleanup_(source_list_done) SourceList list = {};
        int r;

        r = source_read_all(roots, folder, name, faults, &list);
        if (r < 0)
                return r;
        for (size_t i = 0; i < list.n_sources; i++) {
                _cleanup_(ini_file_done) IniFile ini = {};

                r = ini_parse(list.sources[i].path, list.sources[i].text, list.sources[i].size, faults,
                                &ini);
                if (r < 0)
                        return r;
                r = reader(c, list.sources[i].path, &ini, faults);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* The parsed files of one drop-in folder; the texts' paths belong to the list. */
typedef struct DropIns {
        SourceList list;
        DropIn *items;
        size_t n;
} DropIns;

static void drop_ins_done(DropIns *d) {
        for (size_t i = 0; i < d->n; i++)
                ini_file_done(&d->items[i].ini);
        free(d->items);
        source_list_done(&d->list);
}

static int drop_ins_read(const SourceRoots *roots, const char *file_name, FaultList *faults, DropIns *ret) {
        _cleanup_(freep) char *folder = NULL;
        int r;

        if (asprintf(&folder, "services.d/%s.d", file_name) < 0) {
                folder = NULL;
                return -ENOMEM;
        }
        r = source_read_all(roots, folder, NULL, faults, &ret->list);
        if (r < 0 || ret->list.n_sources == 0)
                return r;
        ret->items = calloc(ret->list.n_sources, sizeof(DropIn));
        if (!ret->items)
                return -ENOMEM;
        for (; ret->n < ret->list.n_sources; ret->n++) {
                const Source *source = &ret->list.sources[ret->n];

                ret->items[ret->n].path = source->path;
                r = ini_parse(source->path, source->text, source->size, faults, &ret->items[ret->n].ini);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int config_read_services(Config *c, const SourceRoots *roots, FaultList *faults) {
        _cleanup_(source_list_done) SourceList list = {};
        int r;

        r = source_read_all(roots, "services.d", NULL, faults, &list);
        if (r >= 0)
                r = source_check_drop_in_folders(roots, "services.d", faults);
        for (size_t i = 0; i < list.n_sources && r >= 0; i++) {
                _cleanup_(drop_ins_done) DropIns drop_ins = {};
                _cleanup_(ini_file_done) IniFile ini = {};

                r = ini_parse(list.sources[i].path, list.sources[i].text, list.sources[i].size, faults,
                                &ini);
                if (r >= 0)
                        r = drop_ins_read(roots, list.sources[i].name, faults, &drop_ins);
                if (r >= 0)
                        r = services_read_file(
                                        c, list.sources[i].path, &ini, drop_ins.items, drop_ins.n, faults);
        }
        return r;
}

/* What only shows once all is read. admin_dir/vaultd.conf is named, since what was written there decides. */
static void config_check_whole(const Config *c, const char *path, FaultList *faults) {
        if (c->uid_min > c->uid_max)
                fault_add(faults, path, 0, "UidMin=%u is above UidMax=%u", (unsigned)c->uid_min,
                                (unsigned)c->uid_max);
        if (c->map_size % 4096 != 0)
                fault_add(faults, path, 0, "MapSize= is no multiple of 4096 bytes");
        if (c->has_client_metadata && !c->external_url)
                fault_add(faults, path, 0,
                                "ClientMetadata=yes needs ExternalUrl=: authorization servers fetch the "
                                "document from the Internet");
        for (char **name = c->session_servers; name && *name; name++)
                if (!config_find_service(c, *name))
                        fault_add(faults, path, 0,
                                        "Servers= names '%s', but no file in services.d defines it", *name);
}

int config_load(const char *vendor_dir, const char *admin_dir, bool is_trusting_owner, Config **ret,
                ConfigFaults *ret_faults) {
        const SourceRoots roots = {
                .vendor_dir = vendor_dir, .admin_dir = admin_dir, .is_trusting_owner = is_trusting_owner
        };
        _cleanup_(config_freep) Config *c = NULL;
        _cleanup_(freep) char *path = NULL;
        FaultList faults = {};
        int r;

        *ret_faults = (ConfigFaults){};
        r = config_new(&c);
        if (r >= 0 && !(c->admin_dir = strdup(admin_dir)))
                r = -ENOMEM;
        if (r >= 0)
                r = config_read(c, &roots, NULL, "vaultd.conf", main_read_file, &faults);
        if (r >= 0)
                r = config_read_services(c, &roots, &faults);
        if (r >= 0)
                r = config_read(c, &roots, "policy.d", NULL, server_policies_read_file, &faults);
        if (r >= 0 && asprintf(&path, "%s/vaultd.conf", admin_dir) < 0) {
                path = NULL;
                r = -ENOMEM;
        }
        if (r >= 0 && faults.list.n_faults == 0)
                config_check_whole(c, path, &faults);
        if (r >= 0 && faults.is_out_of_memory)
                r = -ENOMEM;
        if (r < 0) {
                config_faults_done(&faults.list);
                return r;
        }
        if (faults.list.n_faults > 0) {
                *ret_faults = faults.list;
                return -EINVAL;
        }
        *ret = TAKE_PTR(c);
        return 0;
}
