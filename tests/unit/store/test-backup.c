/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Backups: what was in the store comes back on a host with another key, the file gives nothing away and is refused when a byte
 * of it is not as it was written, and a restore that does not come to its end leaves nothing. */

#include <sys/stat.h>

#include "samples.h"
#include "store/backup.h"
#include "store/record.h"
#include "store/replacement.h"
#include "store/restore.h"
#include "store/snapshot.h"

#define UID    ((uid_t)1001)
#define OTHER  ((uid_t)1002)
#define FORMER ((uid_t)1003)
#define NOBODY ((uid_t)1004)

/* A second host, and the recovery key that both know of. */
typedef struct Hosts {
        Fixture *here, *there;
        Secret *private;
        uint8_t public[RECOVERY_KEY_SIZE];
} Hosts;

static int setup(void **state) {
        _cleanup_(secret_freep) Secret *text = NULL;
        Hosts *h = calloc(1, sizeof(Hosts));
        void *fixture;

        assert_non_null(h);
        assert_int_equal(fixture_setup(&fixture), 0);
        h->here = fixture;
        assert_int_equal(fixture_setup(&fixture), 0);
        h->there = fixture;
        assert_int_equal(recovery_new(h->public, &text), 0);
        assert_int_equal(recovery_parse(secret_text(text), text->size, &h->private), 0);
        *state = h;
        return 0;
}

static int teardown(void **state) {
        Hosts *h = *state;

        /* The gate of commits is the later fixture's. */
        (void)fixture_teardown((void *[]){ h->here });
        (void)fixture_teardown((void *[]){ h->there });
        (void)secret_free(h->private);
        free(h);
        return 0;
}

static void arm(Hosts *h) {
        StoreBatch *b = batch_new();

        assert_int_equal(recovery_record_put(b, h->here->keyring, h->public, 17), 0);
        assert_int_equal(commit(h->here, b), 0);
}

static Vault *make_vault(Fixture *f, uid_t uid, const char *user) {
        StoreBatch *b = batch_new();
        Vault *v, *stored;

        assert_int_equal(vault_new(f->keyring, uid, user, &v), 0);
        v->platform_vault_id = strdup("vlt_1");
        assert_int_equal(vault_record_put(b, f->keyring, v), 0);
        assert_int_equal(commit(f, b), 0);
        (void)vault_free(v);
        assert_int_equal(vault_record_read(f->store, f->keyring, uid, &stored), 0);
        return stored;
}

static void give_credential(
                Fixture *f, const Vault *v, const char *service, CredentialState credential_state) {
        Credential *c = sample_credential(v->uid, service, "default");

        c->state = credential_state;
        save_credential(f, v, c);
        (void)credential_free(c);
}

/* One of everything, two vaults, and one that was set aside. */
static void fill(Hosts *h) {
        Fixture *f = h->here;
        Vault *v = make_vault(f, UID, "alice"), *other = make_vault(f, OTHER, "bob"),
              *former = make_vault(f, FORMER, "carol");
        AgentSession *session = sample_agent_session(UID, "sesn_1");
        PlatformObject *agent = sample_platform_object(RECORD_AGENT),
                       *environment = sample_platform_object(RECORD_ENVIRONMENT);
        PinnedAccount *pinned = sample_pinned_account(UID, "notion");
        Flow *flow = sample_flow(v, 7);
        Client *client = sample_client();
        StoreBatch *b = batch_new();

        give_credential(f, v, "notion", CREDENTIAL_ACTIVE);
        give_credential(f, v, "github", CREDENTIAL_DISCONNECTING);
        give_credential(f, other, "notion", CREDENTIAL_ACTIVE);
        give_credential(f, former, "notion", CREDENTIAL_ACTIVE);
        assert_int_equal(vault_set_aside(f->store, b, former), 0);
        assert_int_equal(commit(f, b), 0);
        save_agent_session(f, session);
        save_platform_object(f, agent);
        save_platform_object(f, environment);
        save_pinned_account(f, pinned);
        save_flow(f, v, flow);
        save_client(f, client);
        arm(h);
        (void)vault_free(v);
        (void)vault_free(other);
        (void)vault_free(former);
        (void)agent_session_free(session);
        (void)platform_object_free(agent);
        (void)platform_object_free(environment);
        (void)pinned_account_free(pinned);
        (void)flow_free(flow);
        (void)client_free(client);
}

static Buffer backup_of(Hosts *h) {
        _cleanup_(backup_freep) Backup *b = NULL;
        Buffer bytes = {};
        int r;

        assert_int_equal(backup_new(h->here->store, h->here->keyring, "old-host", &b), 0);
        do
                r = backup_next(b, &bytes);
        while (r == 1);
        assert_int_equal(r, 0);
        return bytes;
}

static Restore *restore_there(Hosts *h, const RestoreOptions *more) {
        _cleanup_(secret_freep) Secret *keys = NULL;
        RestoreOptions o = *more;
        char dir[80];
        Restore *r;

        (void)snprintf(dir, sizeof(dir), "%s/state", h->there->dir);
        assert_int_equal(keyring_export(h->there->keyring, &keys), 0);
        o.dir = dir;
        o.map_size = UINT64_C(64) << 20;
        o.private = o.private ?: h->private;
        o.keys = keys;
        assert_int_equal(restore_new(&o, &r), 0);
        return r;
}

/* All of it, and opens the store on the other side. */
static RestoreResult move_behind(
                Hosts *h, const Buffer *bytes, uint64_t least_sequence, const RestoreOptions *more) {
        _cleanup_(restore_freep) Restore *r = restore_there(h, more);
        RestoreResult result;

        for (size_t i = 0; i < bytes->size; i += 1000)
                assert_int_equal(restore_feed(r, bytes->bytes + i, MIN((size_t)1000, bytes->size - i)), 0);
        assert_int_equal(restore_finish(r, least_sequence, &result), 0);
        fixture_close(h->there);
        assert_int_equal(restore_install(r, NULL), 0);
        assert_int_equal(fixture_open(h->there, UINT64_C(64) << 20), 0);
        return result;
}

static RestoreResult move(Hosts *h, const Buffer *bytes, const RestoreOptions *more) {
        return move_behind(h, bytes, 0, more);
}

static bool file_is_there(const Fixture *f, const char *name) {
        char path[128];

        (void)snprintf(path, sizeof(path), "%s/state/%s", f->dir, name);
        return access(path, F_OK) == 0;
}

typedef struct Comparison {
        Fixture *there;
        size_t n;
} Comparison;

static int same_bytes(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        Comparison *c = userdata;
        _cleanup_(buffer_done) Buffer copy = stored_value(c->there, key);

        assert_int_equal(copy.size, size);
        assert_memory_equal(copy.bytes, value, size);
        c->n++;
        return 0;
}

static int count(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        ++*(size_t *)userdata;
        return 0;
}

static size_t count_of(Fixture *f, RecordKind kind) {
        size_t n = 0;

        assert_int_equal(store_foreach(f->store, kind, UID_INVALID, count, &n), 0);
        return n;
}

static void everything_comes_back_under_another_key(void **state) {
        Hosts *h = *state;
        Fixture *here = h->here, *there = h->there;
        static const RecordKind copied[] = { RECORD_AGENT_SESSION, RECORD_AGENT, RECORD_ENVIRONMENT,
                RECORD_ACCOUNT };
        Comparison comparison = { .there = there };
        _cleanup_(client_freep) Client *client = NULL, *sample = sample_client();
        Credential *before, *after;
        Vault *v, *w;

        fill(h);
        _cleanup_(buffer_done) Buffer bytes = backup_of(h);
        RestoreResult result = move(h, &bytes, &(RestoreOptions){});
        assert_int_equal(result.n_vaults, 2);
        assert_int_equal(result.n_credentials, 3);
        assert_int_equal(result.n_damaged, 0);
        assert_true(result.needs_reconnect);
        assert_string_equal(result.header.host, "old-host");

        assert_int_equal(vault_record_read(here->store, here->keyring, UID, &v), 0);
        assert_int_equal(vault_record_read(there->store, there->keyring, UID, &w), 0);
        assert_string_equal(v->id, w->id);
        assert_string_equal(v->user, w->user);
        assert_string_equal(v->platform_vault_id, w->platform_vault_id);
        assert_int_equal(v->created_usec, w->created_usec);
        assert_true(secret_equal(v->key, w->key->bytes, w->key->size));
        assert_int_equal(credential_record_read(here->store, v, "notion", "default", &before), 0);
        assert_int_equal(credential_record_read(there->store, w, "notion", "default", &after), 0);
        assert_int_equal(after->state, CREDENTIAL_NEEDS_RECONNECT);
        assert_non_null(after->state_reason);
        assert_true(secret_equal(
                        after->access_token, before->access_token->bytes, before->access_token->size));
        assert_true(secret_equal(
                        after->refresh_token, before->refresh_token->bytes, before->refresh_token->size));
        (void)credential_free(before);
        (void)credential_free(after);
        assert_int_equal(credential_record_read(there->store, w, "github", "default", &after), 0);
        assert_int_equal(after->state, CREDENTIAL_DISCONNECTING);
        (void)credential_free(after);
        assert_int_equal(client_record_read(there->store, there->keyring, sample->issuer,
                                         sample->redirect_uri, &client),
                        0);
        assert_true(secret_equal(
                        client->client_secret, sample->client_secret->bytes, sample->client_secret->size));
        for (size_t i = 0; i < ELEMENTSOF(copied); i++)
                assert_int_equal(store_foreach(here->store, copied[i], UID_INVALID, same_bytes, &comparison),
                                0);
        assert_int_equal(comparison.n, 4);
        assert_int_equal(count_of(there, RECORD_FLOW), 0);
        assert_int_equal(count_of(there, RECORD_ASIDE), count_of(here, RECORD_ASIDE));
        assert_true(count_of(there, RECORD_ASIDE) >= 2);
        (void)vault_free(v);
        (void)vault_free(w);
}

/* What was set aside opens again if it is put back, under this host's key, and not before. */
static int put_back(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        StoreBatch *b = userdata;
        StoreKey inner;

        assert_int_equal(store_key_init(&inner, (RecordKind)value[0], key->uid, value + 2, value[1]), 0);
        assert_int_equal(store_batch_put(b, &inner, value + 2 + value[1], size - 2 - value[1]), 0);
        return 0;
}

static void what_was_set_aside_is_restored_too(void **state) {
        Hosts *h = *state;
        StoreBatch *b = batch_new();
        Credential *c;
        Vault *v;

        fill(h);
        _cleanup_(buffer_done) Buffer bytes = backup_of(h);
        (void)move(h, &bytes, &(RestoreOptions){});
        assert_int_equal(vault_record_read(h->there->store, h->there->keyring, FORMER, &v), -ENOENT);
        assert_int_equal(store_foreach(h->there->store, RECORD_ASIDE, FORMER, put_back, b), 0);
        assert_int_equal(commit(h->there, b), 0);
        assert_int_equal(vault_record_read(h->there->store, h->there->keyring, FORMER, &v), 0);
        assert_string_equal(v->user, "carol");
        assert_int_equal(credential_record_read(h->there->store, v, "notion", "default", &c), 0);
        assert_int_equal(c->state, CREDENTIAL_NEEDS_RECONNECT);
        (void)credential_free(c);
        (void)vault_free(v);
}

static void nothing_newer_means_that_grants_go_on(void **state) {
        Hosts *h = *state;
        RestoreOptions o = { .has_head = true };
        CredentialState expected[] = { CREDENTIAL_ACTIVE, CREDENTIAL_ACTIVE, CREDENTIAL_NEEDS_RECONNECT,
                CREDENTIAL_NEEDS_RECONNECT };
        StoreChain chain;

        fill(h);
        _cleanup_(buffer_done) Buffer bytes = backup_of(h);
        assert_int_equal(store_chain(h->here->store, &chain), 0);
        for (size_t i = 0; i < ELEMENTSOF(expected); i++) {
                Credential *c;
                Vault *v;

                o.head = chain;
                if (i == 1)
                        o.head.sequence = 0; /* typed by hand */
                else if (i == 2)
                        o.head.sequence++;
                else if (i == 3)
                        o.head.head[31] ^= 1;
                RestoreResult result = move(h, &bytes, &o);
                assert_int_equal(result.needs_reconnect, expected[i] != CREDENTIAL_ACTIVE);
                assert_int_equal(vault_record_read(h->there->store, h->there->keyring, UID, &v), 0);
                assert_int_equal(credential_record_read(h->there->store, v, "notion", "default", &c), 0);
                assert_int_equal(c->state, expected[i]);
                (void)credential_free(c);
                (void)vault_free(v);
        }
}

static void the_chain_goes_on_behind_all_that_is_known(void **state) {
        Hosts *h = *state;
        StoreChain before, after;

        fill(h);
        _cleanup_(buffer_done) Buffer bytes = backup_of(h);
        assert_int_equal(store_chain(h->here->store, &before), 0);
        (void)move(h, &bytes, &(RestoreOptions){});
        assert_int_equal(store_chain(h->there->store, &after), 0);
        assert_int_equal(after.sequence, before.sequence + 1);
        assert_memory_not_equal(after.head, before.head, 32);
        (void)move_behind(h, &bytes, 1000000, &(RestoreOptions){});
        assert_int_equal(store_chain(h->there->store, &after), 0);
        assert_int_equal(after.sequence, 1000001);
        (void)vault_free(make_vault(h->there, NOBODY, "dave"));
        assert_int_equal(store_chain(h->there->store, &after), 0);
        assert_int_equal(after.sequence, 1000002);
}

static void the_recovery_key_is_kept_or_comes_along(void **state) {
        Hosts *h = *state;
        RestoreOptions o = { .has_recovery = true, .recovery_created_usec = 5 };
        uint8_t public[RECOVERY_KEY_SIZE];
        uint64_t created;

        fill(h);
        _cleanup_(buffer_done) Buffer bytes = backup_of(h);
        (void)move(h, &bytes, &(RestoreOptions){});
        assert_int_equal(recovery_record_read(h->there->store, h->there->keyring, public, NULL), 0);
        assert_memory_equal(public, h->public, sizeof(public));
        memset(o.recovery_public, 9, sizeof(o.recovery_public));
        (void)move(h, &bytes, &o);
        assert_int_equal(recovery_record_read(h->there->store, h->there->keyring, public, &created), 0);
        assert_memory_equal(public, o.recovery_public, sizeof(public));
        assert_int_equal(created, 5);
}

/* A record that does not open is as it was, and is counted. */
static void damage_is_neither_hidden_nor_mended(void **state) {
        Hosts *h = *state;
        StoreKey vault = key_of(RECORD_VAULT, OTHER, ""), credential;
        Credential *c;
        Vault *v;

        fill(h);
        assert_int_equal(service_key_init(&credential, RECORD_CREDENTIAL, UID, "notion", "default"), 0);
        const StoreKey *keys[] = { &vault, &credential };
        for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
                _cleanup_(buffer_done) Buffer value = stored_value(h->here, keys[i]);

                value.bytes[value.size - 1] ^= 1;
                put_raw(h->here, keys[i], value.bytes, value.size);
        }
        _cleanup_(buffer_done) Buffer bytes = backup_of(h);
        RestoreResult result = move(h, &bytes, &(RestoreOptions){});
        /* The vault, what only opens with it, and the credential. */
        assert_int_equal(result.n_damaged, 3);
        assert_int_equal(vault_record_read(h->there->store, h->there->keyring, OTHER, &v), -EBADMSG);
        assert_int_equal(vault_record_read(h->there->store, h->there->keyring, UID, &v), 0);
        assert_int_equal(credential_record_read(h->there->store, v, "notion", "default", &c), -EBADMSG);
        (void)vault_free(v);
}

static bool holds(const Buffer *b, const void *bytes, size_t n) {
        return memmem(b->bytes, b->size, bytes, n) != NULL;
}

static void no_secret_is_in_the_file(void **state) {
        static const char *const canaries[] = { "token-canary", "client-secret-canary", "alice", "notion" };
        _cleanup_(secret_freep) Secret *keys = NULL;
        Hosts *h = *state;
        Vault *v;

        fill(h);
        _cleanup_(buffer_done) Buffer bytes = backup_of(h);
        for (size_t i = 0; i < ELEMENTSOF(canaries); i++)
                assert_false(holds(&bytes, canaries[i], strlen(canaries[i])));
        assert_int_equal(keyring_export(h->here->keyring, &keys), 0);
        for (size_t i = 0; i + 16 <= keys->size; i++)
                assert_false(holds(&bytes, keys->bytes + i, 16));
        assert_int_equal(vault_record_read(h->here->store, h->here->keyring, UID, &v), 0);
        assert_false(holds(&bytes, v->key->bytes, 16));
        assert_false(holds(&bytes, v->stored.bytes, 32));
        (void)vault_free(v);
}

/* Reading alone, without building anything. */

static int see_header(const BackupHeader *header, void *userdata) {
        return 0;
}

static int see_keys(const Secret *keys, void *userdata) {
        return 0;
}

static int see_record(
                const StoreKey *key, const uint8_t *value, size_t size, bool is_in_advance, void *userdata) {
        if (userdata)
                ++*(size_t *)userdata;
        return 0;
}

static const BackupVisitor seeing = { see_header, see_keys, see_record };

static int read_all(const Secret *private, const uint8_t *bytes, size_t n, size_t *ret_n) {
        _cleanup_(backup_reader_freep) BackupReader *r = NULL;
        int k;

        assert_int_equal(backup_reader_new(private, &seeing, ret_n, &r), 0);
        k = backup_reader_feed(r, bytes, n);
        return k < 0 ? k : backup_reader_finish(r);
}

static void each_flipped_byte_is_refused(void **state) {
        Hosts *h = *state;

        fill(h);
        _cleanup_(buffer_done) Buffer bytes = backup_of(h);
        assert_int_equal(read_all(h->private, bytes.bytes, bytes.size, NULL), 0);
        for (size_t i = 0; i < bytes.size; i++) {
                int r;

                bytes.bytes[i] ^= (uint8_t)(1 << i % 8);
                r = read_all(h->private, bytes.bytes, bytes.size, NULL);
                /* Not the magic, another version, another recipient; the rest does not authenticate. */
                if (i < 8)
                        assert_int_equal(r, -EINVAL);
                else if (i < 12)
                        assert_int_equal(r, -EPROTONOSUPPORT);
                else if (i >= 64 && i < 72)
                        assert_int_equal(r, -EKEYREJECTED);
                else
                        assert_int_equal(r, -EBADMSG);
                bytes.bytes[i] ^= (uint8_t)(1 << i % 8);
        }
}

static void each_cut_is_refused(void **state) {
        Hosts *h = *state;

        fill(h);
        _cleanup_(buffer_done) Buffer bytes = backup_of(h);
        for (size_t n = 0; n < bytes.size; n++)
                assert_int_equal(read_all(h->private, bytes.bytes, n, NULL),
                                n < BACKUP_HEADER_SIZE ? -EINVAL : -EBADMSG);
        assert_int_equal(buffer_append(&bytes, "x", 1), 0);
        assert_int_equal(read_all(h->private, bytes.bytes, bytes.size, NULL), -EBADMSG);
}

/* Where each chunk begins; the last is the end of the file. */
static size_t chunks_of(const Buffer *b, size_t starts[static 64]) {
        size_t at = BACKUP_HEADER_SIZE, n = 0;

        while (at < b->size) {
                const uint8_t *p = b->bytes + at;
                size_t size = (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 |
                              (size_t)(p[3] & 0x7f) << 24;

                assert_true(n < 63);
                starts[n++] = at;
                at += 4 + size + 16;
        }
        assert_int_equal(at, b->size);
        starts[n] = at;
        return n;
}

static Buffer big_backup(Hosts *h) {
        AgentSession *session = sample_agent_session(UID, "sesn_big");

        free(session->title);
        session->title = calloc(1, 100001);
        assert_non_null(session->title);
        memset(session->title, 'x', 100000);
        save_agent_session(h->here, session);
        (void)agent_session_free(session);
        return backup_of(h);
}

static void put_together(const Buffer *b, const size_t *starts, const size_t *order, size_t n, Buffer *ret) {
        assert_int_equal(buffer_append(ret, b->bytes, BACKUP_HEADER_SIZE), 0);
        for (size_t i = 0; i < n; i++)
                assert_int_equal(buffer_append(ret, b->bytes + starts[order[i]],
                                                 starts[order[i] + 1] - starts[order[i]]),
                                0);
}

static void chunks_cannot_be_moved_left_out_or_mixed(void **state) {
        Hosts *h = *state;
        size_t starts[64], others[64], order[64], n;

        fill(h);
        _cleanup_(buffer_done) Buffer bytes = big_backup(h), other = backup_of(h);
        n = chunks_of(&bytes, starts);
        assert_true(n >= 5);
        assert_int_equal(chunks_of(&other, others), n);
        for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j < n; j++) {
                        _cleanup_(buffer_done) Buffer moved = {}, twice = {}, mixed = {};

                        for (size_t k = 0; k < n; k++)
                                order[k] = k == i ? j : k == j ? i : k;
                        put_together(&bytes, starts, order, n, &moved);
                        assert_int_equal(read_all(h->private, moved.bytes, moved.size, NULL),
                                        i == j ? 0 : -EBADMSG);
                        /* Chunk i in place of j, which is then missing. */
                        for (size_t k = 0; k < n; k++)
                                order[k] = k == j ? i : k;
                        put_together(&bytes, starts, order, n, &twice);
                        assert_int_equal(read_all(h->private, twice.bytes, twice.size, NULL),
                                        i == j ? 0 : -EBADMSG);
                        /* Chunk j of the other backup of the same store. */
                        assert_int_equal(buffer_append(&mixed, bytes.bytes, starts[j]), 0);
                        assert_int_equal(buffer_append(&mixed, other.bytes + others[j],
                                                         others[j + 1] - others[j]),
                                        0);
                        assert_int_equal(buffer_append(&mixed, bytes.bytes + starts[j + 1],
                                                         bytes.size - starts[j + 1]),
                                        0);
                        assert_int_equal(read_all(h->private, mixed.bytes, mixed.size, NULL), -EBADMSG);
                }
        for (size_t i = 0; i < n; i++) {
                _cleanup_(buffer_done) Buffer shorter = {};
                size_t m = 0;

                for (size_t k = 0; k < n; k++)
                        if (k != i)
                                order[m++] = k;
                put_together(&bytes, starts, order, m, &shorter);
                assert_int_equal(read_all(h->private, shorter.bytes, shorter.size, NULL), -EBADMSG);
        }
}

static void another_key_opens_nothing(void **state) {
        _cleanup_(secret_freep) Secret *text = NULL, *private = NULL;
        uint8_t public[RECOVERY_KEY_SIZE];
        Hosts *h = *state;
        size_t n = 0;

        fill(h);
        _cleanup_(buffer_done) Buffer bytes = backup_of(h);
        assert_int_equal(recovery_new(public, &text), 0);
        assert_int_equal(recovery_parse(secret_text(text), text->size, &private), 0);
        assert_int_equal(read_all(private, bytes.bytes, bytes.size, &n), -EKEYREJECTED);
        /* Also when somebody makes the header say that it is for that key. */
        static const char label[] = "vaultd recipient 1";
        uint8_t all[sizeof(label) - 1 + RECOVERY_KEY_SIZE], digest[32];
        memcpy(all, label, sizeof(label) - 1);
        memcpy(all + sizeof(label) - 1, public, sizeof(public));
        sha256(all, sizeof(all), digest);
        memcpy(bytes.bytes + 64, digest, 8);
        assert_int_equal(read_all(private, bytes.bytes, bytes.size, &n), -EBADMSG);
        assert_int_equal(n, 0);
}

static void a_backup_is_the_state_at_its_begin(void **state) {
        Hosts *h = *state;
        Fixture *f = h->here;
        _cleanup_(buffer_done) Buffer bytes = {};
        Backup *b;
        Vault *v;
        int r;

        fill(h);
        assert_int_equal(backup_new(f->store, f->keyring, "old-host", &b), 0);
        StoreChain begun = backup_header(b)->chain, now;
        (void)vault_free(make_vault(f, NOBODY, "dave"));
        StoreBatch *batch = batch_new();
        StoreKey gone = key_of(RECORD_VAULT, OTHER, "");
        assert_int_equal(store_batch_delete(batch, &gone), 0);
        assert_int_equal(commit(f, batch), 0);
        do
                r = backup_next(b, &bytes);
        while (r == 1);
        assert_int_equal(r, 0);
        (void)backup_free(b);
        RestoreResult result = move(h, &bytes, &(RestoreOptions){});
        assert_int_equal(result.n_vaults, 2);
        assert_int_equal(vault_record_read(h->there->store, h->there->keyring, NOBODY, &v), -ENOENT);
        assert_int_equal(vault_record_read(h->there->store, h->there->keyring, OTHER, &v), 0);
        (void)vault_free(v);
        assert_int_equal(store_chain(f->store, &now), 0);
        assert_true(now.sequence > begun.sequence);
        assert_memory_equal(&result.header.chain, &begun, sizeof(begun));
}

static void without_a_recovery_key_there_is_no_backup(void **state) {
        Hosts *h = *state;
        Backup *b;

        assert_int_equal(backup_new(h->here->store, h->here->keyring, "old-host", &b), -ENOENT);
}

/* Pages that a snapshot sees are not used again: it is to be given up before it fills the map. */
static void a_snapshot_becomes_too_dear_before_the_map_is_full(void **state) {
        Hosts *h = *state;
        Fixture *f = h->here;
        static uint8_t value[1 << 20];
        StoreKey key = key_of(RECORD_AGENT, 0, "big");
        unsigned n_rounds = 0;
        Backup *b;

        arm(h);
        assert_int_equal(backup_new(f->store, f->keyring, "old-host", &b), 0);
        while (!backup_is_too_dear(b)) {
                memset(value, (int)n_rounds, sizeof(value));
                assert_int_equal(commit(f, batch_put(&key, value, sizeof(value))), 0);
                assert_true(++n_rounds < 64);
        }
        assert_true(n_rounds > 8);
        _cleanup_(buffer_done) Buffer bytes = {};
        assert_int_equal(backup_next(b, &bytes), -EDQUOT);
        (void)backup_free(b);
        /* And the pages are used again. */
        for (unsigned i = 0; i < 100; i++)
                assert_int_equal(commit(f, batch_put(&key, value, sizeof(value))), 0);
}

static void an_unfinished_restore_leaves_nothing(void **state) {
        Hosts *h = *state;
        RestoreResult result;
        Restore *r;

        fill(h);
        (void)vault_free(make_vault(h->there, NOBODY, "dave"));
        _cleanup_(buffer_done) Buffer bytes = backup_of(h);
        r = restore_there(h, &(RestoreOptions){});
        assert_int_equal(restore_feed(r, bytes.bytes, bytes.size - 1), 0);
        assert_true(file_is_there(h->there, "vaultd.mdb.restored"));
        assert_int_equal(restore_finish(r, 0, &result), -EBADMSG);
        (void)restore_free(r);
        assert_false(file_is_there(h->there, "vaultd.mdb.restored"));
        assert_false(file_is_there(h->there, "vaultd.mdb.restored-lock"));
        fixture_reopen(h->there, UINT64_C(64) << 20);
        assert_int_equal(count_of(h->there, RECORD_VAULT), 1);
}

static void the_old_file_is_kept_beside(void **state) {
        Hosts *h = *state;
        RestoreResult result;
        char dir[80];
        Restore *r;

        fill(h);
        _cleanup_(buffer_done) Buffer bytes = backup_of(h);
        r = restore_there(h, &(RestoreOptions){});
        assert_int_equal(restore_feed(r, bytes.bytes, bytes.size), 0);
        assert_int_equal(restore_finish(r, 0, &result), 0);
        assert_int_equal(restore_install(r, "before"), 0);
        (void)restore_free(r);
        assert_true(file_is_there(h->there, "vaultd.mdb.before"));
        assert_true(file_is_there(h->there, "vaultd.mdb"));
        assert_false(file_is_there(h->there, "vaultd.mdb.restored-lock"));
        (void)snprintf(dir, sizeof(dir), "%s/state", h->there->dir);
        store_replacement_forget(dir);
        assert_true(file_is_there(h->there, "vaultd.mdb"));
        fixture_reopen(h->there, UINT64_C(64) << 20);
        assert_int_equal(count_of(h->there, RECORD_VAULT), 2);
}

static void a_full_map_ends_a_restore_with_its_name(void **state) {
        Hosts *h = *state;
        _cleanup_(secret_freep) Secret *keys = NULL;
        static uint8_t value[1 << 20];
        char dir[80];
        Restore *r;
        int k = 0;

        arm(h);
        for (unsigned i = 0; i < 40; i++) {
                StoreKey key;
                char id[8];

                (void)snprintf(id, sizeof(id), "b%u", i);
                key = key_of(RECORD_AGENT, 0, id);
                assert_int_equal(commit(h->here, batch_put(&key, value, sizeof(value))), 0);
        }
        _cleanup_(buffer_done) Buffer bytes = backup_of(h);
        (void)snprintf(dir, sizeof(dir), "%s/state", h->there->dir);
        assert_int_equal(keyring_export(h->there->keyring, &keys), 0);
        assert_int_equal(restore_new(&(RestoreOptions){ .dir = dir,
                                                     .map_size = 4096,
                                                     .private = h->private,
                                                     .keys = keys },
                                         &r),
                        0);
        for (size_t i = 0; i < bytes.size && k == 0; i += 65536)
                k = restore_feed(r, bytes.bytes + i, MIN((size_t)65536, bytes.size - i));
        assert_int_equal(k, -ENOSPC);
        (void)restore_free(r);
        assert_false(file_is_there(h->there, "vaultd.mdb.restored"));
}

/* Whoever knows the public key can make a file that opens: what is in it is judged like anything foreign. */
static int restore_forged(Hosts *h, const StoreKey *first, const StoreKey *second, bool is_in_advance,
                uint32_t schema) {
        _cleanup_(backup_writer_freep) BackupWriter *w = NULL;
        _cleanup_(restore_freep) Restore *r = NULL;
        _cleanup_(secret_freep) Secret *keys = NULL;
        _cleanup_(buffer_done) Buffer bytes = {};
        RestoreResult result;
        int k;

        assert_int_equal(keyring_export(h->here->keyring, &keys), 0);
        assert_int_equal(backup_writer_new(h->public, &(BackupHeader){ .schema = schema }, keys, &bytes, &w),
                        0);
        if (is_in_advance)
                assert_int_equal(backup_writer_add_in_advance(w, first, (const uint8_t *)"x", 1, &bytes), 0);
        else
                assert_int_equal(backup_writer_add(w, first, (const uint8_t *)"x", 1, &bytes), 0);
        if (second)
                assert_int_equal(backup_writer_add(w, second, (const uint8_t *)"x", 1, &bytes), 0);
        assert_int_equal(backup_writer_finish(w, &bytes), 0);
        r = restore_there(h, &(RestoreOptions){});
        k = restore_feed(r, bytes.bytes, bytes.size);
        return k < 0 ? k : restore_finish(r, 0, &result);
}

static void a_forged_file_is_judged_like_any(void **state) {
        Hosts *h = *state;
        StoreKey a = key_of(RECORD_AGENT, 0, "a"), b = key_of(RECORD_AGENT, 0, "b"),
                 meta = key_of(RECORD_META, 0, "chain"), flow = key_of(RECORD_FLOW, 0, "f"),
                 strange = key_of((RecordKind)'q', 0, "q"), vault = key_of(RECORD_VAULT, 1001, "");

        assert_int_equal(restore_forged(h, &a, &b, false, STORE_SCHEMA_VERSION), 0);
        assert_int_equal(restore_forged(h, &b, &a, false, STORE_SCHEMA_VERSION), -EBADMSG);
        assert_int_equal(restore_forged(h, &a, &a, false, STORE_SCHEMA_VERSION), -EBADMSG);
        assert_int_equal(restore_forged(h, &meta, NULL, false, STORE_SCHEMA_VERSION), -EPROTONOSUPPORT);
        assert_int_equal(restore_forged(h, &flow, NULL, false, STORE_SCHEMA_VERSION), -EPROTONOSUPPORT);
        assert_int_equal(restore_forged(h, &strange, NULL, false, STORE_SCHEMA_VERSION), -EPROTONOSUPPORT);
        assert_int_equal(restore_forged(h, &a, NULL, true, STORE_SCHEMA_VERSION), -EBADMSG);
        assert_int_equal(restore_forged(h, &vault, NULL, true, STORE_SCHEMA_VERSION), 0);
        assert_int_equal(restore_forged(h, &a, &b, false, STORE_SCHEMA_VERSION + 1), -EPROTONOSUPPORT);
}

int main(void) {
#undef TEST
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        static const struct CMUnitTest tests[] = {
                TEST(everything_comes_back_under_another_key),
                TEST(what_was_set_aside_is_restored_too),
                TEST(nothing_newer_means_that_grants_go_on),
                TEST(the_chain_goes_on_behind_all_that_is_known),
                TEST(the_recovery_key_is_kept_or_comes_along),
                TEST(damage_is_neither_hidden_nor_mended),
                TEST(no_secret_is_in_the_file),
                TEST(each_flipped_byte_is_refused),
                TEST(each_cut_is_refused),
                TEST(chunks_cannot_be_moved_left_out_or_mixed),
                TEST(another_key_opens_nothing),
                TEST(a_backup_is_the_state_at_its_begin),
                TEST(without_a_recovery_key_there_is_no_backup),
                TEST(a_snapshot_becomes_too_dear_before_the_map_is_full),
                TEST(an_unfinished_restore_leaves_nothing),
                TEST(the_old_file_is_kept_beside),
                TEST(a_full_map_ends_a_restore_with_its_name),
                TEST(a_forged_file_is_judged_like_any),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
