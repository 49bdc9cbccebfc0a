/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A world for one test: see support.h. */

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/unit/platform/support.h"
#include "util/clock.h"
#include "util/encode.h"
#include "util/fiber.h"

#define WORKSPACES 100U

static struct {
        char directory[64];
        char url[64];
        pid_t pid;
        int input;
        unsigned next_workspace;
} server;

const char *server_url(void) {
        return server.url;
}

/* ---- the server ---- */

static int wait_for(pid_t pid) {
        int status = -1;

        return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int make_ca(void) {
        pid_t pid;

        (void)snprintf(server.directory, sizeof(server.directory), "/tmp/vaultd-platform-XXXXXX");
        if (!mkdtemp(server.directory))
                return -1;
        pid = fork();
        if (pid == 0) {
                (void)execl(FIXTURES_PATH "/tls/make-ca", "make-ca", server.directory, (char *)NULL);
                _exit(127);
        }
        return wait_for(pid);
}

static char *at(const char *name) {
        char *path;

        return asprintf(&path, "%s/%s", server.directory, name) < 0 ? NULL : path;
}

static void workspace_key(unsigned n, char ret[static 64]) {
        (void)snprintf(ret, 64, "sk-ant-canary-%04u-%s", n, server.directory + strlen(server.directory) - 6);
}

static char *key_file(unsigned n) {
        char name[16], key[64], *path;
        FILE *f;

        (void)snprintf(name, sizeof(name), "key-%u", n);
        workspace_key(n, key);
        path = at(name);
        f = fopen(path, "we");
        if (!f || fputs(key, f) < 0 || fclose(f) != 0)
                _exit(126);
        return path;
}

static int server_spawn(char **argv) {
        int input[2], output[2];
        char line[128] = "";
        size_t n = 0;

        if (pipe2(input, O_CLOEXEC) < 0 || pipe2(output, O_CLOEXEC) < 0)
                return -1;
        server.pid = fork();
        if (server.pid == 0) {
                char *log = at("log");
                int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

                (void)dup2(input[0], STDIN_FILENO);
                (void)dup2(output[1], STDOUT_FILENO);
                (void)dup2(fd, STDERR_FILENO);
                (void)execv(argv[0], argv);
                _exit(127);
        }
        (void)close(input[0]);
        (void)close(output[1]);
        server.input = input[1];
        for (ssize_t k; n < sizeof(line) - 1 && !strchr(line, '\n') &&
                        (k = read(output[0], line + n, sizeof(line) - 1 - n)) > 0;)
                n += (size_t)k;
        (void)close(output[0]);
        return sscanf(line, "{\"url\":\"%63[^\"]\"}", server.url) == 1 ? 0 : -1;
}

int emulator_start(void **state) {
        char *argv[8 + 2 * WORKSPACES] = { (char *)FIXTURES_PATH "/platform/run", (char *)"--tls-cert", NULL,
                (char *)"--tls-key", NULL };
        size_t n = 5;

        if (make_ca() != 0)
                return -1;
        argv[2] = at("cert.pem");
        argv[4] = at("key.pem");
        for (unsigned i = 0; i < WORKSPACES; i++) {
                argv[n++] = (char *)"--workspace-key-file";
                argv[n++] = key_file(i);
        }
        int r = server_spawn(argv);
        free(argv[2]);
        free(argv[4]);
        for (unsigned i = 0; i < WORKSPACES; i++)
                free(argv[6 + 2 * i]);
        return r;
}

int hostile_start(void **state) {
        if (make_ca() != 0)
                return -1;
        return server_spawn((char *[]){ (char *)HERE_PATH "/hostile.py", server.directory, NULL });
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
        return remove(path);
}

int server_stop(void **state) {
        if (server.pid > 0) {
                (void)kill(server.pid, SIGTERM);
                (void)wait_for(server.pid);
        }
        (void)safe_close(server.input);
        return nftw(server.directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

unsigned hostile_saw(const char *what) {
        _cleanup_(freep) char *path = at("journal");
        char line[4096];
        unsigned n = 0;
        FILE *f = fopen(path, "re");

        assert_non_null(f);
        while (fgets(line, sizeof(line), f))
                n += startswith(line, what) != NULL;
        (void)fclose(f);
        return n;
}

/* ---- the world ---- */

void world_ask_only(World *w) {
        _cleanup_(freep) char *ca = at("ca.pem");
        const char *allowed[] = { strstr(server.url, "//") + 2, NULL };
        const HttpOptions options = { .ca_file = ca, .allow_private = allowed, .user_agent = "vaultd-test" };

        assert_int_equal(http_new(w->fixture->event, &options, &w->http), 0);
}

static void world_connect(World *w, const char *suffix) {
        char *url;

        assert_true(asprintf(&url, "%s%s", server.url, suffix) > 0);
        free(w->config.platform_url);
        w->config.platform_url = url;
        if (!w->http)
                world_ask_only(w);
        const PlatformOptions platform = { .http = w->http,
                .store = w->fixture->store,
                .keyring = w->fixture->keyring,
                .config = &w->config,
                .workspace_key = w->key,
                .hostname = HOST };
        assert_int_equal(platform_new(&platform, &w->platform), 0);
}

void world_close(World *w) {
        w->platform = platform_free(w->platform);
        w->http = http_free(w->http);
        w->vault = vault_free(w->vault);
        fixture_close(w->fixture);
}

void world_open(World *w) {
        assert_int_equal(fixture_open(w->fixture, w->fixture->map_size), 0);
        world_connect(w, "");
        assert_int_equal(vault_record_read(w->fixture->store, w->fixture->keyring, ALICE, &w->vault), 0);
}

void world_restart(World *w) {
        world_close(w);
        world_open(w);
}

void world_aim(World *w, const char *behaviour) {
        _cleanup_(freep) char *suffix = NULL;

        assert_true(asprintf(&suffix, "/%s", behaviour) > 0);
        w->platform = platform_free(w->platform);
        world_connect(w, suffix);
}

Vault *world_vault(World *w, uid_t uid, const char *user) {
        return vault_of(w->fixture, uid, user);
}

int world_setup(void **state) {
        static char *jira_tools[] = { (char *)"search", NULL };
        static char *notion_tools[] = { (char *)"search", (char *)"fetch", (char *)"wipe", NULL };
        static char *notion_ask[] = { (char *)"create", (char *)"fetch", NULL };
        static char *notion_deny[] = { (char *)"wipe", NULL };
        World *w = calloc(1, sizeof(World));
        char key[64];
        void *fixture;

        assert_non_null(w);
        assert_int_equal(fixture_setup(&fixture), 0);
        w->fixture = fixture;
        w->config = (Config){ .platform_version = (char *)"2023-06-01",
                .platform_model = (char *)"claude-opus-4-5",
                .adopt_wait_usec = 1500 * USEC_PER_MSEC,
                .services = w->services,
                .n_services = 2,
                .servers = w->policies,
                .n_servers = 2 };
        w->services[0] = (ServiceProfile){
                .name = (char *)"jira", .title = (char *)"Jira", .url = (char *)"https://mcp.jira.test/mcp"
        };
        w->services[1] = (ServiceProfile){ .name = (char *)"notion",
                .title = (char *)"Notion",
                .url = (char *)"https://mcp.notion.test/mcp" };
        w->policies[0] = (ServerPolicy){ .service = (char *)"jira", .tools = jira_tools };
        w->policies[1] = (ServerPolicy){
                .service = (char *)"notion", .tools = notion_tools, .ask = notion_ask, .deny = notion_deny
        };
        assert_true(server.next_workspace < WORKSPACES);
        workspace_key(server.next_workspace++, key);
        w->key = secret_of(key);
        w->vault = world_vault(w, ALICE, "alice");
        world_connect(w, "");
        *state = w;
        return 0;
}

int world_teardown(void **state) {
        World *w = *state;
        void *fixture = w->fixture;

        failure_done(&w->failure);
        (void)vault_free(w->vault);
        (void)platform_free(w->platform);
        (void)http_free(w->http);
        (void)secret_free(w->key);
        free(w->config.platform_url);
        free(w);
        return fixture_teardown(&fixture);
}

Credential *world_credential(World *w, const char *service, Custody custody) {
        _cleanup_(credential_freep) Credential *c = calloc(1, sizeof(Credential));
        _cleanup_(freep) char *nonce = nonce_new();
        const ServiceProfile *profile = config_find_service(&w->config, service);
        Credential *stored = NULL;
        StoreBatch *batch = batch_new();

        assert_non_null(c);
        assert_non_null(profile);
        c->uid = w->vault->uid;
        c->service = strdup(service);
        c->label = strdup("default");
        assert_true(asprintf(&c->id, "c-%s", nonce) > 0);
        c->upstream = strdup(profile->url);
        c->resource = strdup(profile->url);
        c->authority = (Authority){ .issuer = strdup("https://auth.test"),
                .authorization_endpoint = strdup("https://auth.test/authorize"),
                .token_endpoint = strdup("https://auth.test/token"),
                .client_id = strdup("client-1"),
                .client_auth_method = strdup("client_secret_basic") };
        c->account_id = strdup("a-1");
        c->account_name = strdup("alice@test");
        c->created_usec = now_realtime();
        c->expires_usec = now_realtime() + 3600 * USEC_PER_SEC;
        c->custody = (int)custody;
        c->access_token = secret_of(ACCESS_TOKEN);
        c->refresh_token = secret_of(REFRESH_TOKEN);
        c->client_secret = secret_of(CLIENT_SECRET);
        assert_int_equal(credential_record_put(batch, w->vault, c), 0);
        assert_int_equal(commit(w->fixture, batch), 0);
        assert_int_equal(
                        credential_record_read(w->fixture->store, w->vault, service, "default", &stored), 0);
        return stored;
}

/* ---- fibers ---- */

typedef struct Run {
        World *world;
        OnFiber function;
        void *userdata;
        bool is_done;
        int result;
} Run;

static int run_entry(void *userdata) {
        Run *run = userdata;

        return run->function(run->world, run->userdata);
}

static void run_done(int result, void *userdata) {
        Run *run = userdata;

        run->is_done = true;
        run->result = result;
}

int run(World *w, OnFiber function, void *userdata) {
        Run state = { w, function, userdata, false, 0 };

        assert_int_equal(fiber_spawn(w->fixture->event, run_entry, run_done, &state, NULL), 0);
        while (!state.is_done)
                assert_true(sd_event_run(w->fixture->event, UINT64_MAX) >= 0);
        return state.result;
}

/* A success leaves no failure behind, also after detours. */
static int judged(World *w, int r) {
        assert_true(r != 0 || w->failure.kind == FAILURE_NONE);
        return r;
}

static int on_ensure(World *w, void *userdata) {
        return platform_ensure_vault(w->platform, userdata, &w->failure);
}

int ensure_vault(World *w, Vault **vault) {
        failure_done(&w->failure);
        return judged(w, run(w, on_ensure, vault));
}

static int on_put(World *w, void *userdata) {
        return platform_put_credential(w->platform, &w->vault, userdata, &w->failure);
}

int put_credential(World *w, Credential **c) {
        failure_done(&w->failure);
        return judged(w, run(w, on_put, c));
}

static int on_archive(World *w, void *userdata) {
        return platform_archive_credential(w->platform, w->vault, userdata, &w->failure);
}

int archive_credential(World *w, const Credential *c) {
        failure_done(&w->failure);
        return run(w, on_archive, (void *)(uintptr_t)c);
}

typedef struct Start {
        const SessionPlan *plan;
        const char *message;
        AgentSession **ret;
} Start;

static int on_start(World *w, void *userdata) {
        Start *s = userdata;

        return platform_start_session(
                        w->platform, w->vault, s->plan, "a title", s->message, s->ret, &w->failure);
}

int start_session(World *w, const SessionPlan *plan, const char *message, AgentSession **ret) {
        failure_done(&w->failure);
        return judged(w, run(w, on_start, &(Start){ plan, message, ret }));
}

static int on_recover(World *w, void *userdata) {
        return platform_recover(w->platform);
}

int recover(World *w) {
        return run(w, on_recover, NULL);
}

/* ---- the emulator's side ---- */

typedef struct Ask {
        const char *method, *path, *body;
        HttpResponse response;
} Ask;

static int on_ask(World *w, void *userdata) {
        Ask *a = userdata;
        _cleanup_(freep) char *url = NULL;
        const HttpHeader headers[] = { { .name = "x-api-key", .secret = w->key },
                { .name = "anthropic-version", .value = "2023-06-01" },
                { .name = "anthropic-beta", .value = "managed-agents-2026-04-01" } };
        const HttpRequest request = { .method = a->method,
                .headers = headers,
                .n_headers = 3,
                .body = a->body,
                .body_size = a->body ? strlen(a->body) : 0,
                .content_type = a->body ? "application/json" : NULL,
                .max_response = 1 << 24 };
        HttpRequest with_url = request;

        if (asprintf(&url, "%s%s", server.url, a->path) < 0)
                return -ENOMEM;
        with_url.url = url;
        return http_perform(w->http, &with_url, &a->response, NULL);
}

json_object *ask(World *w, const char *method, const char *path, const char *body, unsigned status) {
        Ask a = { .method = method, .path = path, .body = body };
        json_object *answer = NULL;

        assert_int_equal(run(w, on_ask, &a), 0);
        if (a.response.status != status)
                print_error("%s %s: %u %s\n", method, path, a.response.status,
                                (const char *)a.response.body.bytes);
        assert_int_equal(a.response.status, status);
        assert_int_equal(json_parse((const char *)a.response.body.bytes, a.response.body.size,
                                         &json_limits_mcp, &answer),
                        0);
        http_response_done(&a.response);
        return answer;
}

void fault(World *w, const char *order) {
        _cleanup_(freep) char *body = NULL;

        assert_true(asprintf(&body, "[%s]", order) > 0);
        json_object_put(ask(w, "DELETE", "/_emulator/faults", NULL, 200));
        json_object_put(ask(w, "DELETE", "/_emulator/requests", NULL, 200));
        if (*order)
                json_object_put(ask(w, "POST", "/_emulator/faults", body, 200));
}

void option(World *w, const char *json) {
        json_object_put(ask(w, "POST", "/_emulator/options", json, 200));
}

json_object *listed(World *w, const char *path, size_t *ret_n) {
        _cleanup_(freep) char *target = NULL;
        json_object *data = NULL, *answer;

        assert_true(asprintf(&target, "%s?limit=100&include_archived=true", path) > 0);
        answer = ask(w, "GET", target, NULL, 200);
        assert_int_equal(json_get_array(answer, "data", &data), 0);
        data = json_object_get(data);
        json_object_put(answer);
        *ret_n = json_object_array_length(data);
        return data;
}

unsigned asked(World *w, const char *method, const char *path) {
        json_object *requests = ask(w, "GET", "/_emulator/requests", NULL, 200);
        unsigned n = 0;

        for (size_t i = 0; i < json_object_array_length(requests); i++) {
                json_object *request = json_object_array_get_idx(requests, i);

                n += streq(json_string(request, "method"), method) &&
                     streq(json_string(request, "path"), path);
        }
        json_object_put(requests);
        return n;
}

/* ---- failures ---- */

void assert_no_secret(World *w) {
        const char *secrets[] = { ACCESS_TOKEN, REFRESH_TOKEN, CLIENT_SECRET, secret_text(w->key) };
        const char *texts[] = { w->failure.message, w->failure.hint, w->failure.request_id };

        for (size_t i = 0; i < ELEMENTSOF(secrets); i++)
                for (size_t j = 0; j < ELEMENTSOF(texts); j++)
                        assert_true(!texts[j] || !strstr(texts[j], secrets[i]));
}

void assert_platform_failure(World *w, int64_t status) {
        if (w->failure.kind != FAILURE_PLATFORM || w->failure.status != status)
                print_error("kind %d, status %d: %s\n", (int)w->failure.kind, (int)w->failure.status,
                                w->failure.message ?: "-");
        assert_int_equal(w->failure.kind, FAILURE_PLATFORM);
        assert_int_equal(w->failure.status, status);
        assert_false(isempty(w->failure.message));
        if (status > 0)
                assert_non_null(startswith(w->failure.request_id ?: "", "req_"));
        assert_no_secret(w);
}
