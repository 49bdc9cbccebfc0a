/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What loading gives: defaults, values, masking, merging, and who is believed. */

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "policy/login-defs.h"
#include "support.h"

#define SERVICE(name) "[Service]\nName=" name "\nUrl=https://" name ".test/mcp\n"

static void assert_defaults(const Config *c) {
        assert_string_equal(c->platform_url, "https://api.anthropic.com");
        assert_string_equal(c->platform_version, "2023-06-01");
        assert_string_equal(c->platform_model, "claude-opus-4-5");
        assert_null(c->session_servers);
        assert_int_equal(c->adopt_wait_usec, 10000000);
        assert_null(c->ca_file);
        assert_null(c->proxy);
        assert_null(c->allow_private);
        assert_null(c->external_url);
        assert_int_equal(c->loopback_port, 876);
        assert_true(c->uid_min >= 1 && c->uid_min <= c->uid_max);
        assert_int_equal(c->map_size, 68719476736);
        assert_int_equal(c->leaver_check_usec, 900000000);
        assert_int_equal(c->connections_per_uid, 64);
        assert_int_equal(c->bytes_per_uid, 8388608);
        assert_int_equal(c->calls_per_uid, 32);
        assert_int_equal(c->streams_per_uid, 8);
        assert_int_equal(c->flows_per_uid, 8);
        assert_int_equal(c->flows_per_minute, 20);
        assert_int_equal(c->calls_per_second, 2000);
        assert_int_equal(c->message_timeout_usec, 10000000);
        assert_int_equal(c->flow_lifetime_usec, 600000000);
}

static void missing_folders_give_the_defaults(void **state) {
        Tree t;

        tree_open(&t);
        assert_int_equal(tree_load(&t), 0);
        assert_defaults(t.config);
        assert_int_equal(t.config->n_services, 0);
        assert_int_equal(t.config->n_servers, 0);
        assert_null(config_find_service(t.config, "notion"));
        assert_null(config_find_server(t.config, "notion"));
        tree_close(&t);
}

static char *shipped_read(const char *name) {
        char path[4096], *text = calloc(1, 65536);
        FILE *f;

        (void)snprintf(path, sizeof(path), "%s/%s", SHIPPED_DIR, name);
        f = fopen(path, "re");
        assert_non_null(f);
        assert_true(fread(text, 1, 65535, f) > 0);
        (void)fclose(f);
        return text;
}

static void shipped_files_load(void **state) {
        _cleanup_(freep) char *main_text = shipped_read("vaultd.conf"),
                              *service = shipped_read("services/notion.conf"),
                              *policy = shipped_read("defaults/50-notion.conf");
        Tree t;

        tree_open(&t);
        tree_write(&t, "vendor/vaultd.conf", main_text);
        tree_write(&t, "vendor/services.d/notion.conf", service);
        tree_write(&t, "vendor/policy.d/50-notion.conf", policy);
        assert_int_equal(tree_load(&t), 0);
        assert_defaults(t.config);

        const ServiceProfile *p = config_find_service(t.config, "notion");
        assert_non_null(p);
        assert_string_equal(p->title, "Notion");
        assert_string_equal(p->url, "https://mcp.notion.com/mcp");
        assert_int_equal(p->custody, CUSTODY_AUTO);
        assert_string_equal(p->account_tool, "notion-get-self");

        const ServerPolicy *s = config_find_server(t.config, "notion");
        assert_int_equal(server_policy_tool(s, "notion-search"), TOOL_ON);
        assert_int_equal(server_policy_tool(s, "notion-get-self"), TOOL_ON);
        assert_int_equal(server_policy_tool(s, "notion-create-pages"), TOOL_ASK);
        assert_int_equal(server_policy_tool(s, "notion-delete-page"), TOOL_OFF);
        tree_close(&t);
}

/* Every shipped profile is sound, and says truly what an administrator has to add. */
static void shipped_services_load(void **state) {
        static const struct {
                const char *name, *lacks;
        } rows[] = {
                { "asana", "ClientId= and ClientSecretFile=" },
                { "github", "ClientId= and ClientSecretFile=" },
                { "gitlab", NULL },
                { "google", "ClientId= and ClientSecretFile=" },
                { "jira", NULL },
                { "linear", NULL },
                { "notion", NULL },
                { "sentry", NULL },
                { "slack", "ClientId= and ClientSecretFile=" },
        };
        Tree t;

        tree_open(&t);
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                char from[64], to[64];

                (void)snprintf(from, sizeof(from), "services/%s.conf", rows[i].name);
                (void)snprintf(to, sizeof(to), "vendor/services.d/%s.conf", rows[i].name);
                _cleanup_(freep) char *text = shipped_read(from);
                tree_write(&t, to, text);
        }
        assert_int_equal(tree_load(&t), 0);
        assert_int_equal(t.config->n_services, ELEMENTSOF(rows));
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                const ServiceProfile *p = config_find_service(t.config, rows[i].name);

                assert_non_null(p);
                assert_false(service_lacks_account(p));
                if (rows[i].lacks)
                        assert_string_equal(service_lacks(p), rows[i].lacks);
                else
                        assert_null(service_lacks(p));
        }
        tree_close(&t);
}

/* The comments of the shipped vaultd.conf, made active, are accepted and say the truth about the defaults. */
static void shipped_comments_are_the_defaults(void **state) {
        _cleanup_(freep) char *text = shipped_read("vaultd.conf"),
                              *service = shipped_read("services/notion.conf");
        unsigned n = 0;
        Tree t;

        for (char *p = text; (p = strstr(p, "\n#")); p++)
                if (p[2] >= 'A' && p[2] <= 'Z' && strcspn(p + 2, "=") < strcspn(p + 2, " \n")) {
                        memmove(p + 1, p + 2, strlen(p + 2) + 1);
                        n++;
                }
        assert_int_equal(n, 26); /* every key of the reader */
        tree_open(&t);
        tree_write(&t, "vendor/vaultd.conf", text);
        tree_write(&t, "vendor/services.d/notion.conf", service);
        assert_int_equal(tree_load(&t), 0);
        assert_string_equal(t.config->platform_url, "https://api.anthropic.com");
        assert_string_equal(t.config->platform_version, "2023-06-01");
        assert_string_equal(t.config->platform_model, "claude-opus-4-5");
        assert_int_equal(t.config->adopt_wait_usec, 10000000);
        assert_int_equal(t.config->loopback_port, 876);
        assert_int_equal(t.config->elevated, ELEVATED_AUTO);
        assert_int_equal(t.config->containers, CONTAINERS_ALLOW);
        assert_int_equal(t.config->uid_min, 1000);
        assert_int_equal(t.config->uid_max, 60000);
        assert_int_equal(t.config->map_size, 68719476736);
        assert_int_equal(t.config->connections_per_uid, 64);
        assert_int_equal(t.config->bytes_per_uid, 8388608);
        assert_int_equal(t.config->calls_per_uid, 32);
        assert_int_equal(t.config->flows_per_uid, 8);
        assert_int_equal(t.config->message_timeout_usec, 10000000);
        assert_int_equal(t.config->flow_lifetime_usec, 600000000);
        tree_close(&t);
}

static void every_key_is_read(void **state) {
        Tree t;

        tree_open(&t);
        tree_write(&t, "admin/vaultd.conf",
                        "[Platform]\nUrl=https://p.test:8443\nVersion=2025-01-01\nModel=m-1\nServers=one "
                        "two\nServers=one\nAdoptWait=1min\n"
                        "[Http]\nCaFile=/ca.pem\nProxy=http://p.test:1\nAllowPrivate=a.test:1 "
                        "b.test:2\nAllowPrivate=c.test:3\n"
                        "[Web]\nExternalUrl=https://V.test:443/\nLoopbackPort=900\n"
                        "[Identity]\nElevated=record\nContainers=refuse\n"
                        "[Vaults]\nUidMin=500\nUidMax=600\nMapSize=1G\nLeaverCheck=2min\n"
                        "[Limits]\nConnections=1\nBytes=1M\nCalls=2\nStreams=4\nFlows=3\nFlowsPerMinute="
                        "5\nCallsPerSecond=6\nMessageTimeout="
                        "500ms\nFlowLifetime=1h\n");
        tree_write(&t, "admin/services.d/1.conf",
                        SERVICE("one") "Title=The One\nCustody=platform\nPasteBack=match\nScopes=a "
                                       "b\nScopes=b c\nClientId=id\nClientSecretFile=/s\n"
                                       "RedirectHost=localhost\nAccountTool=who\nAccountIdField="
                                       "sub\nAccountNameField=login\n");
        tree_write(&t, "admin/services.d/2.conf", "# x\n" SERVICE("two") "Custody=mirror\nPasteBack=no\n");
        assert_int_equal(tree_load(&t), 0);

        const Config *c = t.config;
        assert_string_equal(c->platform_url, "https://p.test:8443");
        assert_string_equal(c->platform_version, "2025-01-01");
        assert_string_equal(c->platform_model, "m-1");
        assert_string_equal(c->session_servers[0], "one");
        assert_string_equal(c->session_servers[1], "two");
        assert_null(c->session_servers[2]);
        assert_int_equal(c->adopt_wait_usec, 60000000);
        assert_string_equal(c->ca_file, "/ca.pem");
        assert_string_equal(c->proxy, "http://p.test:1");
        assert_string_equal(c->allow_private[2], "c.test:3");
        assert_null(c->allow_private[3]);
        assert_string_equal(c->external_url, "https://v.test");
        assert_int_equal(c->loopback_port, 900);
        assert_int_equal(c->elevated, ELEVATED_RECORD);
        assert_int_equal(c->containers, CONTAINERS_REFUSE);
        assert_int_equal(c->uid_min, 500);
        assert_int_equal(c->uid_max, 600);
        assert_int_equal(c->map_size, 1073741824);
        assert_int_equal(c->leaver_check_usec, 120000000);
        assert_int_equal(c->connections_per_uid, 1);
        assert_int_equal(c->bytes_per_uid, 1048576);
        assert_int_equal(c->calls_per_uid, 2);
        assert_int_equal(c->streams_per_uid, 4);
        assert_int_equal(c->flows_per_uid, 3);
        assert_int_equal(c->flows_per_minute, 5);
        assert_int_equal(c->calls_per_second, 6);
        assert_int_equal(c->message_timeout_usec, 500000);
        assert_int_equal(c->flow_lifetime_usec, 3600000000);

        const ServiceProfile *one = config_find_service(c, "one"), *two = config_find_service(c, "two");
        assert_string_equal(one->title, "The One");
        assert_string_equal(one->url, "https://one.test/mcp");
        assert_int_equal(one->custody, CUSTODY_PLATFORM);
        assert_int_equal(one->paste_back, PASTE_BACK_MATCH);
        assert_string_equal(one->scopes[2], "c");
        assert_null(one->scopes[3]);
        assert_string_equal(one->client_id, "id");
        assert_string_equal(one->client_secret_file, "/s");
        assert_string_equal(one->redirect_host, "localhost");
        assert_string_equal(one->account_tool, "who");
        assert_string_equal(one->account_id_field, "sub");
        assert_string_equal(one->account_name_field, "login");

        /* What a profile leaves open. */
        assert_string_equal(two->title, "two");
        assert_int_equal(two->custody, CUSTODY_MIRROR);
        assert_int_equal(two->paste_back, PASTE_BACK_NO);
        assert_null(two->scopes);
        assert_null(two->client_id);
        assert_string_equal(two->redirect_host, "127.0.0.1");
        assert_null(two->account_tool);
        assert_true(!two->account_id_field && !two->account_name_field); /* who is asked decides */
        assert_string_equal(two->scope_parameter, "scope");
        assert_int_equal(two->scope_separator, ' ');
        assert_int_equal(two->line, 2);
        assert_non_null(strstr(two->file, "/admin/services.d/2.conf"));
        tree_close(&t);
}

static void admin_file_masks_by_name(void **state) {
        Tree t;

        tree_open(&t);
        tree_write(&t, "vendor/vaultd.conf", "[Web]\nLoopbackPort=100\n[Limits]\nFlows=5\n");
        tree_write(&t, "vendor/services.d/a.conf", SERVICE("a"));
        tree_write(&t, "vendor/services.d/b.conf", SERVICE("b"));
        tree_write(&t, "vendor/policy.d/50-a.conf", "[Server a]\nDeny=x\n");
        assert_int_equal(tree_load(&t), 0);
        assert_int_equal(t.config->loopback_port, 100);

        tree_write(&t, "admin/vaultd.conf", "[Web]\nLoopbackPort=200\n");
        tree_write(&t, "admin/services.d/a.conf", SERVICE("a") "Title=Mine\n");
        tree_write(&t, "admin/policy.d/50-a.conf", "[Server a]\nTools=x\n");
        assert_int_equal(tree_load(&t), 0);
        assert_int_equal(t.config->loopback_port, 200);
        assert_int_equal(t.config->flows_per_uid, 8); /* the whole file is replaced */
        assert_int_equal(t.config->n_services, 2);
        assert_string_equal(config_find_service(t.config, "a")->title, "Mine");
        assert_int_equal(server_policy_tool(config_find_server(t.config, "a"), "x"), TOOL_ON);
        tree_close(&t);
}

static void empty_file_and_link_to_null_mask(void **state) {
        Tree t;

        tree_open(&t);
        tree_write(&t, "vendor/vaultd.conf", "[Web]\nLoopbackPort=100\n");
        tree_write(&t, "vendor/services.d/a.conf", SERVICE("a"));
        tree_write(&t, "vendor/services.d/b.conf", SERVICE("b"));
        tree_write(&t, "vendor/services.d/c.conf", SERVICE("c"));
        tree_write(&t, "admin/vaultd.conf", "");
        tree_write(&t, "admin/services.d/a.conf", "");
        _cleanup_(freep) char *link = tree_path(&t, "admin/services.d/b.conf");
        assert_int_equal(symlink("/dev/null", link), 0);
        assert_int_equal(tree_load(&t), 0);
        assert_int_equal(t.config->loopback_port, 876);
        assert_int_equal(t.config->n_services, 1);
        assert_string_equal(t.config->services[0].name, "c");
        tree_close(&t);
}

/* A masked vendor file is not even looked at, a masking file with faults masks and is a fault. */
static void faulty_admin_file_does_not_fall_back(void **state) {
        Tree t;

        tree_open(&t);
        tree_write(&t, "vendor/policy.d/a.conf", "[Server a]\nTools=x\n");
        tree_write(&t, "admin/policy.d/a.conf", "[Server a]\nTols=\n");
        assert_int_equal(tree_load(&t), -EINVAL);
        assert_single_fault(&t, "admin/policy.d/a.conf:2: Tols= has no value");
        tree_write(&t, "vendor/policy.d/a.conf", "garbage");
        tree_write(&t, "admin/policy.d/a.conf", "[Server a]\nTools=x\n");
        assert_int_equal(tree_load(&t), 0);
        tree_close(&t);
}

static void other_names_are_passed_over(void **state) {
        Tree t;

        tree_open(&t);
        tree_write(&t, "admin/services.d/.a.conf", "garbage");
        tree_write(&t, "admin/services.d/a.conf~", "garbage");
        tree_write(&t, "admin/services.d/a.conf.dpkg-old", "garbage");
        tree_write(&t, "admin/services.d/.conf", "garbage");
        tree_write(&t, "admin/services.d/README", "garbage");
        assert_int_equal(tree_load(&t), 0);
        tree_close(&t);
}

static void one_service_name_twice_is_a_fault(void **state) {
        _cleanup_(freep) char *expected = NULL;
        Tree t;

        tree_open(&t);
        tree_write(&t, "vendor/services.d/a.conf", SERVICE("a"));
        tree_write(&t, "admin/services.d/b.conf", "\n" SERVICE("a"));
        assert_int_equal(tree_load(&t), -EINVAL);
        assert_true(asprintf(&expected,
                                    "admin/services.d/b.conf:2: service 'a' is already defined in "
                                    "%s/vendor/services.d/a.conf:1",
                                    t.root) > 0);
        assert_single_fault(&t, expected);
        tree_close(&t);
}

static void policies_of_all_files_add_up_and_deny_wins(void **state) {
        Tree t;

        tree_open(&t);
        tree_write(&t, "vendor/policy.d/50-a.conf",
                        "[Server a]\nTools=read list\nDeny=wipe\n[Server b]\nTools=z\n");
        tree_write(&t, "admin/policy.d/10-a.conf", "[Server a]\nTools=wipe write\nAsk=list\n");
        tree_write(&t, "admin/policy.d/90-a.conf", "[Server a]\nTools=wipe more\nDeny=write\nAsk=write\n");
        assert_int_equal(tree_load(&t), 0);
        assert_int_equal(t.config->n_servers, 2);

        const ServerPolicy *a = config_find_server(t.config, "a");
        assert_int_equal(server_policy_tool(a, "read"), TOOL_ON);
        assert_int_equal(server_policy_tool(a, "more"), TOOL_ON);
        assert_int_equal(server_policy_tool(a, "list"), TOOL_ASK);  /* ask over on */
        assert_int_equal(server_policy_tool(a, "wipe"), TOOL_OFF);  /* deny over on, wherever it stands */
        assert_int_equal(server_policy_tool(a, "write"), TOOL_OFF); /* deny over ask and on */
        assert_int_equal(server_policy_tool(a, "other"), TOOL_OFF); /* not mentioned */
        assert_int_equal(server_policy_tool(a, "rea"), TOOL_OFF);
        assert_int_equal(server_policy_tool(a, "READ"), TOOL_OFF);
        assert_int_equal(server_policy_tool(a, ""), TOOL_OFF);
        assert_int_equal(server_policy_tool(a, "z"), TOOL_OFF); /* another server's */
        assert_int_equal(server_policy_tool(NULL, "read"), TOOL_OFF);
        assert_non_null(strstr(a->file, "/admin/policy.d/10-a.conf"));
        tree_close(&t);
}

static void nobody_reads_tokens_unless_named(void **state) {
        const ServerPolicy *a, *b;
        Tree t;

        tree_open(&t);
        tree_write(&t, "vendor/policy.d/50-a.conf",
                        "[Server a]\nTools=x\n[Server b]\nTokenReaders=user:bob\n");
        tree_write(&t, "admin/policy.d/60-a.conf", "[Server a]\nTokenReaders=user:alice\n");
        tree_write(&t, "admin/policy.d/70-a.conf", "[Server a]\nTokenReaders=user:carol\n");
        assert_int_equal(tree_load(&t), 0);
        a = config_find_server(t.config, "a");
        b = config_find_server(t.config, "b");
        assert_true(server_policy_may_read_token(a, "alice"));
        assert_true(server_policy_may_read_token(a, "carol"));
        assert_true(server_policy_may_read_token(b, "bob"));
        assert_false(server_policy_may_read_token(b, "alice")); /* another server's */
        assert_false(server_policy_may_read_token(a, "bob"));
        assert_false(server_policy_may_read_token(a, "alic"));
        assert_false(server_policy_may_read_token(a, "alicex"));
        assert_false(server_policy_may_read_token(a, "Alice"));
        assert_false(server_policy_may_read_token(a, "user:alice"));
        assert_false(server_policy_may_read_token(a, ""));
        assert_false(server_policy_may_read_token(a, NULL));
        assert_false(server_policy_may_read_token(NULL, "alice"));
        tree_close(&t);
}

static void variables_bring_their_hosts(void **state) {
        const ServiceProfile *p;
        Tree t;

        tree_open(&t);
        tree_write(&t, "admin/services.d/gh.conf",
                        "[Service]\nName=gh\nTitle=GitHub\nAuth=environment\nVariable=GH_TOKEN\n"
                        "AllowedHosts=*.github.test api.github.test\nAllowedHosts=uploads.github.test\n"
                        "AccountUrl=https://api.github.test/user\n");
        assert_int_equal(tree_load(&t), 0);
        p = config_find_service(t.config, "gh");
        assert_int_equal(p->auth, SERVICE_AUTH_ENVIRONMENT);
        assert_string_equal(p->variable, "GH_TOKEN");
        assert_string_equal(p->allowed_hosts[0], "*.github.test");
        assert_string_equal(p->allowed_hosts[2], "uploads.github.test");
        assert_null(p->allowed_hosts[3]);
        assert_string_equal(p->url, "https://api.github.test/"); /* the first that is one host */
        assert_string_equal(p->account_url, "https://api.github.test/user");
        tree_close(&t);
}

static void writable_by_others_refused(void **state) {
        static const struct {
                const char *path;
                mode_t mode;
                const char *fault;
        } rows[] = {
                { "admin/policy.d/a.conf", 0646,
                                "admin/policy.d/a.conf:0: file may be written by others than root "
                                "(mode 0646)" },
                { "admin/policy.d/a.conf", 0664,
                                "admin/policy.d/a.conf:0: file may be written by others than root "
                                "(mode 0664)" },
                { "admin/policy.d", 0757,
                                "admin/policy.d:0: folder may be written by others than root (mode "
                                "0757)" },
                { "admin/policy.d", 01777,
                                "admin/policy.d:0: folder may be written by others than root (mode "
                                "1777)" },
                { "admin", 0775, "admin:0: folder may be written by others than root (mode 0775)" },
                { "admin/vaultd.conf", 0666,
                                "admin/vaultd.conf:0: file may be written by others than root (mode "
                                "0666)" },
                { "vendor/services.d/a.conf", 0622,
                                "vendor/services.d/a.conf:0: file may be written by others than "
                                "root (mode 0622)" },
                { "vendor", 0777, "vendor:0: folder may be written by others than root (mode 0777)" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                Tree t;

                tree_open(&t);
                tree_write(&t, "admin/vaultd.conf", "# x\n");
                tree_write(&t, "admin/policy.d/a.conf", "[Server a]\nTools=x\n");
                tree_write(&t, "vendor/services.d/a.conf", SERVICE("a"));
                assert_int_equal(tree_load(&t), 0);
                _cleanup_(freep) char *path = tree_path(&t, rows[i].path);
                assert_int_equal(chmod(path, rows[i].mode), 0);
                assert_int_equal(tree_load(&t), -EINVAL);
                assert_single_fault(&t, rows[i].fault);
                tree_close(&t);
        }
}

static void foreign_owner_refused(void **state) {
        static const char *const paths[] = { "admin/policy.d/a.conf", "admin/policy.d", "admin" };
        ConfigFaults faults = {};
        Config *c = NULL;

        for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
                Tree t;

                tree_open(&t);
                tree_write(&t, "admin/policy.d/a.conf", "[Server a]\nTools=x\n");
                _cleanup_(freep) char *path = tree_path(&t, paths[i]);
                /* As root a file of somebody else; otherwise one's own, which only is_trusting_owner
                 * believes. */
                if (geteuid() == 0) {
                        assert_int_equal(chown(path, 4711, 0), 0);
                        assert_int_equal(tree_load(&t), -EINVAL);
                        assert_non_null(strstr(
                                        t.faults.faults[0].text, "belongs to uid 4711, expected root"));
                }
                assert_int_equal(config_load(t.vendor, t.admin, false, &c, &faults), -EINVAL);
                assert_null(c);
                assert_int_equal(faults.n_faults, 1);
                assert_non_null(strstr(faults.faults[0].text, ", expected root"));
                config_faults_done(&faults);
                tree_close(&t);
        }
}

static void symbolic_link_refused(void **state) {
        Tree t;

        tree_open(&t);
        tree_write(&t, "elsewhere/a.conf", "[Server a]\nTools=x\n");
        tree_write(&t, "admin/policy.d/b.conf", "[Server b]\nTools=x\n");
        _cleanup_(freep) char *target = tree_path(&t, "elsewhere/a.conf"),
                              *link = tree_path(&t, "admin/policy.d/a.conf");
        assert_int_equal(symlink(target, link), 0);
        assert_int_equal(tree_load(&t), -EINVAL);
        assert_single_fault(&t, "admin/policy.d/a.conf:0: file is a symbolic link (only one to /dev/null is "
                                "accepted, it masks)");

        assert_int_equal(unlink(link), 0);
        assert_int_equal(symlink("/dev/nullx", link), 0);
        assert_int_equal(tree_load(&t), -EINVAL);

        assert_int_equal(unlink(link), 0);
        _cleanup_(freep) char *folder = tree_path(&t, "elsewhere"),
                              *services = tree_path(&t, "admin/services.d");
        assert_int_equal(symlink(folder, services), 0);
        assert_int_equal(tree_load(&t), -EINVAL);
        assert_single_fault(&t, "admin/services.d:0: folder cannot be opened: Not a directory");
        tree_close(&t);
}

static void what_is_no_file_refused(void **state) {
        Tree t;

        tree_open(&t);
        tree_write(&t, "admin/policy.d/a.conf/x", "");
        assert_int_equal(tree_load(&t), -EINVAL);
        assert_single_fault(&t, "admin/policy.d/a.conf:0: not a regular file");
        tree_close(&t);

        tree_open(&t);
        tree_write(&t, "admin/vaultd.conf", "# x\n");
        _cleanup_(freep) char *pipe = tree_path(&t, "admin/pipe.conf"),
                              *folder = tree_path(&t, "admin/policy.d");
        assert_int_equal(mkdir(folder, 0755), 0);
        free(TAKE_PTR(pipe));
        pipe = tree_path(&t, "admin/policy.d/p.conf");
        assert_int_equal(mkfifo(pipe, 0644), 0); /* nobody writes: opening it must not wait */
        assert_int_equal(tree_load(&t), -EINVAL);
        assert_single_fault(&t, "admin/policy.d/p.conf:0: not a regular file");
        tree_close(&t);
}

static void huge_file_refused(void **state) {
        _cleanup_(freep) char *text = malloc(1024 * 1024 + 1);
        Tree t;

        tree_open(&t);
        memset(text, '\n', 1024 * 1024 + 1);
        tree_write_bytes(&t, "admin/vaultd.conf", text, 1024 * 1024);
        assert_int_equal(tree_load(&t), 0);
        tree_write_bytes(&t, "admin/vaultd.conf", text, 1024 * 1024 + 1);
        assert_int_equal(tree_load(&t), -EINVAL);
        assert_single_fault(&t, "admin/vaultd.conf:0: file is larger than 1 MiB");
        tree_close(&t);
}

static void too_many_files_refused(void **state) {
        Tree t;

        tree_open(&t);
        for (unsigned i = 0; i < 257; i++) {
                char path[64];

                (void)snprintf(path, sizeof(path), "admin/policy.d/%03u.conf", i);
                tree_write(&t, path, "# x\n");
        }
        assert_int_equal(tree_load(&t), -EINVAL);
        assert_single_fault(&t, "admin/policy.d:0: folder has more than 256 files");
        tree_close(&t);
}

static void loading_leaves_no_descriptor(void **state) {
        Tree t;

        tree_open(&t);
        tree_write(&t, "admin/policy.d/a.conf", "[Server a]\nTools=x\n");
        tree_write(&t, "vendor/services.d/a.conf", SERVICE("a"));
        int before = dup(0);
        (void)close(before);
        for (unsigned i = 0; i < 20; i++)
                assert_int_equal(tree_load(&t), 0);
        int after = dup(0);
        (void)close(after);
        assert_int_equal(before, after);
        tree_close(&t);
}

static void login_defs_give_the_range(void **state) {
        static const struct {
                const char *text;
                uid_t min, max;
        } rows[] = {
                { "UID_MIN\t\t\t 500\nUID_MAX 600\n", 500, 600 },
                { "#UID_MIN 500\n  UID_MAX\t600 # x", 1000, 600 },
                { "UID_MIN 0x10\nUID_MAX -1\n", 1000, 60000 },
                { "UID_MIN 99999999999\nUID_MAX 4294967295\n", 1000, 60000 },
                { "SYS_UID_MIN 100\nUID_MINIMUM 7\nUID_MIN\nUID_MAX \n", 1000, 60000 },
                { "", 1000, 60000 },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                uid_t min = 1000, max = 60000;

                login_defs_parse(rows[i].text, &min, &max);
                assert_int_equal(min, rows[i].min);
                assert_int_equal(max, rows[i].max);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                { "missing-folders-give-the-defaults", missing_folders_give_the_defaults },
                { "shipped-files-load", shipped_files_load },
                { "shipped-services-load", shipped_services_load },
                { "shipped-comments-are-the-defaults", shipped_comments_are_the_defaults },
                { "every-key-is-read", every_key_is_read },
                { "admin-file-masks-by-name", admin_file_masks_by_name },
                { "empty-file-and-link-to-null-mask", empty_file_and_link_to_null_mask },
                { "faulty-admin-file-does-not-fall-back", faulty_admin_file_does_not_fall_back },
                { "other-names-are-passed-over", other_names_are_passed_over },
                { "one-service-name-twice-is-a-fault", one_service_name_twice_is_a_fault },
                { "policies-of-all-files-add-up-and-deny-wins", policies_of_all_files_add_up_and_deny_wins },
                { "nobody-reads-tokens-unless-named", nobody_reads_tokens_unless_named },
                { "variables-bring-their-hosts", variables_bring_their_hosts },
                { "writable-by-others-refused", writable_by_others_refused },
                { "foreign-owner-refused", foreign_owner_refused },
                { "symbolic-link-refused", symbolic_link_refused },
                { "what-is-no-file-refused", what_is_no_file_refused },
                { "huge-file-refused", huge_file_refused },
                { "too-many-files-refused", too_many_files_refused },
                { "loading-leaves-no-descriptor", loading_leaves_no_descriptor },
                { "login-defs-give-the-range", login_defs_give_the_range },
        };

        return cmocka_run_group_tests_name("policy-config", tests, NULL, NULL);
}
