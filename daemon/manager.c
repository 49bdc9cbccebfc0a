/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The parts of the daemon, put together in order: configuration, key, store, the outside world, the engines. Whatever
 * fails here ends the start with one clear line: vaultd does not run half. */

#include <stdio.h>

#include "api/history.h"
#include "api/leavers.h"
#include "api/logins.h"
#include "api/page.h"
#include "api/mirror.h"
#include "api/revocation.h"
#include "api/transfer.h"
#include "audit/audit.h"
#include "manager.h"
#include "store/rekey.h"
#include "store/replacement.h"
#include "util/fiber.h"
#include "util/log.h"

static int load_config(Manager *m, const DaemonOptions *o) {
        ConfigFaults faults = {};
        int r;

        r = config_load(o->vendor_dir, o->config_dir, o->is_trusting_owner, &m->config, &faults);
        for (size_t i = 0; i < faults.n_faults; i++)
                log_error("%s:%u: %s", faults.faults[i].file, faults.faults[i].line, faults.faults[i].text);
        if (r < 0)
                log_error("the configuration in %s and %s cannot be used: %s", o->vendor_dir, o->config_dir,
                                strerror(-r));
        config_faults_done(&faults);
        return r;
}

/* A credential of the service manager, or the file named on the command line. *ret NULL: neither is there. */
static int credential_path(const char *file, const char *name, char **ret) {
        const char *folder = getenv("CREDENTIALS_DIRECTORY");

        *ret = NULL;
        if (file)
                *ret = strdup(file);
        else if (folder) {
                if (asprintf(ret, "%s/%s", folder, name) < 0)
                        *ret = NULL;
                else if (access(*ret, F_OK) < 0) {
                        free(*ret);
                        *ret = NULL;
                        return 0;
                }
        } else
                return 0;
        return *ret ? 0 : -ENOMEM;
}

static int load_keyring(Manager *m, const DaemonOptions *o) {
        _cleanup_(freep) char *path = NULL;
        int r;

        r = credential_path(o->kek_file, "vaultd.kek", &path);
        if (r < 0)
                return r;
        if (!path) {
                log_error("no key: give vaultd the credential vaultd.kek, or --kek-file");
                return -ENOKEY;
        }
        r = keyring_load(path, o->state_dir, &m->keyring);
        if (r < 0)
                log_error("the key %s cannot be used: %s", path,
                                r == -EPERM ? "others may read it, or it lies beside the database"
                                            : strerror(-r));
        return r;
}

/* The workspace key is held here alone (S8). */
static int start_platform(Manager *m, const DaemonOptions *o) {
        _cleanup_(secret_freep) Secret *key = NULL;
        _cleanup_(freep) char *path = NULL;
        int r;

        r = credential_path(o->workspace_key_file, "vaultd.workspace-key", &path);
        if (r < 0 || !path)
                return r;
        r = secret_read_file(path, !o->workspace_key_file, &key);
        if (r < 0) {
                log_error("the workspace key %s cannot be used: %s", path,
                                r == -EPERM ? "others may read it" : strerror(-r));
                return r;
        }
        return platform_new(&(PlatformOptions){ .http = m->http,
                                            .store = m->store,
                                            .keyring = m->keyring,
                                            .config = m->config,
                                            .workspace_key = key,
                                            .hostname = m->hostname },
                        &m->platform);
}

static int recover(void *userdata) {
        Manager *m = userdata;
        int r = platform_recover(m->platform);

        if (r < 0 && r != -ECANCELED)
                log_warning("what a former run left on the Claude Platform could not be looked at: %s",
                                strerror(-r));
        return r;
}

static int start_engines(Manager *m, const DaemonOptions *o) {
        int r;

        r = http_new(m->event,
                        &(HttpOptions){ .ca_file = m->config->ca_file,
                                        .proxy = m->config->proxy,
                                        .allow_private = (const char *const *)m->config->allow_private,
                                        .user_agent = "vaultd/" VAULTD_VERSION },
                        &m->http);
        if (r < 0)
                return r;
        r = oauth_new(&(OauthOptions){ .event = m->event,
                                      .http = m->http,
                                      .store = m->store,
                                      .keyring = m->keyring,
                                      .config = m->config,
                                      .hostname = m->hostname,
                                      .users = m->users,
                                      .is_trusting_owner = o->is_trusting_owner,
                                      .is_held = history_is_behind(m->history, NULL) },
                        &m->oauth);
        if (r < 0)
                return r;
        r = start_platform(m, o);
        if (r < 0)
                return r;
        /* Nothing works by itself on a store that nobody vouches for. */
        return m->platform && !history_is_behind(m->history, NULL)
                               ? fiber_spawn(m->event, recover, NULL, m, NULL)
                               : 0;
}

static void on_revoked(uid_t uid, const char *service, void *userdata) {
        Manager *m = userdata;

        oauth_end_refresh_waits(m->oauth, uid, service);
}

/* On a store that nobody vouches for nothing works by itself, but what ends goes on ending. */
static int start_revocation(Manager *m) {
        bool is_held = history_is_behind(m->history, NULL);
        int r;

        logins_watch(m->logins, manager_end_login, m);
        r = manager_on_revoked(m, on_revoked, m);
        if (r >= 0)
                r = page_new(m);
        if (r < 0)
                return r;
        r = revocations_new(m, is_held, &m->revocations);
        if (r < 0) {
                log_error("what is still to be revoked cannot be read: %s", strerror(-r));
                return r;
        }
        r = mirrors_new(m, is_held, &m->mirrors);
        if (r < 0)
                return r;
        return is_held ? 0 : leavers_new(m, &m->leavers);
}

int manager_new(sd_event *event, const DaemonOptions *o, Manager **ret) {
        _cleanup_(manager_freep) Manager *m = calloc(1, sizeof(Manager));
        int r, half_done;

        if (!m)
                return -ENOMEM;
        m->event = sd_event_ref(event);
        if (gethostname(m->hostname, sizeof(m->hostname) - 1) < 0)
                return -errno;
        r = load_config(m, o);
        if (r >= 0)
                r = audit_open(event, m->config->uid_max + 1);
        if (r >= 0)
                r = load_keyring(m, o);
        if (r < 0)
                return r;
        m->state_dir = o->state_dir;
        store_replacement_forget(o->state_dir);
        r = store_open(o->state_dir, m->config->map_size, event, &m->store);
        if (r < 0) {
                log_error("the store in %s cannot be opened: %s", o->state_dir,
                                r == -EBUSY             ? "another vaultd has it open"
                                : r == -EPROTONOSUPPORT ? "a newer vaultd wrote it"
                                : r == -EINVAL ? "vaultd.mdb is no database of vaultd's, or its head is "
                                                 "damaged; restore a backup: vaultctl admin restore"
                                : r == -EIO || r == -EBADMSG ? "the database is damaged; restore a backup: "
                                                               "vaultctl admin restore"
                                                             : strerror(-r));
                return r;
        }
        half_done = rekey_open(m->store, m->keyring);
        if (half_done < 0) {
                log_error("the store in %s cannot be opened with this key: %s", o->state_dir,
                                half_done == -EKEYREJECTED ? "it was made with another one, or rekeyed since"
                                : half_done == -EBADMSG    ? "its note about the key is damaged; restore it "
                                                             "from a backup"
                                                           : strerror(-half_done));
                return half_done;
        }
        r = history_new(event, m->store, o->journal_head_file, o->is_trusting_owner, &m->history);
        if (r < 0) {
                log_error("the history of the store cannot be read: %s", strerror(-r));
                return r;
        }
        r = logins_new(event, o->runtime_dir, &m->logins);
        if (r < 0) {
                log_error("the folder of logins %s cannot be used: %s", o->runtime_dir, strerror(-r));
                return r;
        }
        r = worker_new(event, &m->worker);
        if (r >= 0)
                r = users_new(m->worker, "/etc/passwd", &m->users);
        if (r >= 0)
                r = start_engines(m, o);
        if (r >= 0)
                r = start_revocation(m);
        if (r >= 0 && half_done > 0)
                r = manager_start_rekey(m);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(m);
        return 0;
}

Manager *manager_free(Manager *m) {
        if (!m)
                return NULL;
        /* Every fiber comes to its end before what it works on goes. After a whole run none is left; after a failed start the loop still turns. */
        while (m->event && sd_event_get_state(m->event) != SD_EVENT_FINISHED && fiber_cancel_all() > 0)
                if (sd_event_run(m->event, UINT64_MAX) < 0)
                        break;
        (void)leavers_free(m->leavers);
        (void)mirrors_free(m->mirrors);
        (void)revocations_free(m->revocations);
        manager_forget_listeners(m);
        (void)platform_free(m->platform);
        (void)oauth_free(m->oauth);
        (void)http_free(m->http);
        (void)users_free(m->users);
        (void)worker_free(m->worker);
        (void)logins_free(m->logins);
        (void)visits_free(m->visits);
        (void)transfer_free(m->transfer);
        (void)history_free(m->history);
        (void)store_free(m->store);
        (void)keyring_free(m->rekey.next);
        (void)keyring_free(m->keyring);
        (void)config_free(m->config);
        audit_close();
        sd_event_unref(m->event);
        free(m);
        return NULL;
}
