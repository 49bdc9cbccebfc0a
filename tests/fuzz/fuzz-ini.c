/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Fuzzes policy/: the INI reader and the tables behind it.
 *
 * Properties: no input makes them read outside its bytes; without a fault the text has exactly as many
 * entries as it has lines that are neither blank, comment nor heading, in the order of those lines
 * (nothing is dropped or joined); faults are bounded and lie within the file; what services.d accepts has
 * the parts that it must have. A violated property aborts. */

#include <stdio.h>

#include "policy/ini.h"
#include "policy/server-policy.h"
#include "policy/services.h"
#include "policy/value.h"
#include "util/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds, const char *property) {
        if (!holds) {
                (void)fprintf(stderr, "violated: %s\n", property);
                abort();
        }
}

/* Counted independently of the reader: lines with content, and lines at all. */
static void count_lines(const uint8_t *data, size_t size, size_t *ret_entries, size_t *ret_lines) {
        size_t entries = 0, lines = 0;

        for (size_t i = 0; i < size; lines++) {
                size_t begin = i;
                bool is_blank = true;

                for (; i < size && data[i] != '\n'; i++)
                        is_blank = is_blank && (data[i] == ' ' || data[i] == '\t');
                if (!is_blank && !strchr("#;[", data[begin]))
                        entries++;
                i++;
        }
        *ret_entries = entries;
        *ret_lines = lines;
}

static void check_file(const IniFile *ini, const FaultList *faults, const uint8_t *data, size_t size) {
        size_t entries, lines, n = 0;
        unsigned line = 0;

        count_lines(data, size, &entries, &lines);
        for (size_t i = 0; i < ini->n_sections; i++) {
                check(ini->sections[i].line > line, "sections are in order");
                line = ini->sections[i].line;
                for (size_t k = 0; k < ini->sections[i].n_entries; k++, n++) {
                        check(ini->sections[i].entries[k].line > line, "entries are in order");
                        line = ini->sections[i].entries[k].line;
                        check(ini->sections[i].entries[k].value[0] != 0, "values are not empty");
                }
        }
        check(line <= lines, "lines lie in the file");
        check(faults->list.n_faults > 0 || n == entries, "nothing is dropped");
        check(n <= entries, "nothing is made up");
        check(faults->list.n_faults <= FAULTS_MAX + 1, "faults are bounded");
        for (size_t i = 0; i < faults->list.n_faults; i++)
                check(faults->list.faults[i].line <= lines, "faults lie in the file");
}

static void check_config(const Config *c, const FaultList *faults) {
        for (size_t i = 0; i < c->n_services; i++) {
                const ServiceProfile *p = &c->services[i];
                _cleanup_(http_url_done) HttpUrl url = {};

                check(p->name && p->title && p->url && p->redirect_host && p->scope_parameter &&
                                                p->scope_separator,
                                "profiles are whole");
                check(!p->authorization_endpoint == !p->token_endpoint || faults->list.n_faults > 0,
                                "an authorization server has both addresses");
                check(http_url_parse(p->url, &url) >= 0, "profiles have a good address");
                check(config_find_service(c, p->name) == p, "names are unique");
        }
        for (size_t i = 0; i < c->n_servers; i++) {
                const ServerPolicy *p = &c->servers[i];

                check(config_find_server(c, p->service) == p, "policies are merged");
                for (char **tool = p->deny; tool && *tool; tool++)
                        check(server_policy_tool(p, *tool) == TOOL_OFF, "deny wins");
                for (char **tool = p->ask; tool && *tool; tool++)
                        check(server_policy_tool(p, *tool) != TOOL_ON, "ask wins over on");
        }
}

/* A file and itself as a drop-in: nothing changes its name, and lists do not grow. */
static int read_services(Config *c, const char *path, const IniFile *ini, FaultList *faults) {
        const DropIn same = { path, *ini };
        Config *alone = calloc(1, sizeof(Config));
        int r = alone ? services_read_file(alone, path, ini, NULL, 0, faults) : -ENOMEM;

        if (r >= 0)
                r = services_read_file(c, path, ini, &same, 1, faults);
        if (r >= 0 && faults->list.n_faults == 0 && c->n_services == 1 && alone->n_services == 1)
                check(text_list_size(c->services[0].scopes) == text_list_size(alone->services[0].scopes),
                                "a list of a drop-in takes the place of the file's");
        (void)config_free(alone);
        return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const struct {
                int (*read)(Config *c, const char *path, const IniFile *ini, FaultList *faults);
        } readers[] = { { read_services }, { server_policies_read_file } };
        FaultList faults = {};
        IniFile ini = {};

        if (ini_parse("x.conf", data, size, &faults, &ini) < 0)
                return 0;
        check_file(&ini, &faults, data, size);

        for (size_t i = 0; i < ELEMENTSOF(readers); i++) {
                Config *c = calloc(1, sizeof(Config));

                if (c && readers[i].read(c, "x.conf", &ini, &faults) >= 0)
                        check_config(c, &faults);
                (void)config_free(c);
        }
        ini_file_done(&ini);
        config_faults_done(&faults.list);
        return 0;
}
