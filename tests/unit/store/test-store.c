/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The store's promises without faults: what is acknowledged is read back, batches are all or nothing, in order, in groups. */

#include <fcntl.h>
#include <sys/stat.h>

#include "support.h"
#include "util/clock.h"
#include "util/fiber.h"

static void put_is_read_back_after_reopening(void **state) {
        Fixture *f = *state;

        assert_int_equal(put_text(f, 1000, "one", "value"), 0);
        assert_int_equal(put_text(f, 1000, "empty", ""), 0);
        assert_stored(f, 1000, "one", "value");
        fixture_reopen(f, f->map_size);
        assert_stored(f, 1000, "one", "value");
        assert_stored(f, 1000, "empty", "");
        assert_stored(f, 1001, "one", NULL);
        assert_stored(f, 1000, "on", NULL);
        assert_stored(f, 1000, "one ", NULL);
}

static void get_appends(void **state) {
        Fixture *f = *state;
        StoreKey key = key_of(RECORD_AGENT, 1, "x");
        _cleanup_(buffer_done) Buffer b = {};

        assert_int_equal(put_text(f, 1, "x", "def"), 0);
        assert_int_equal(buffer_append_text(&b, "abc"), 0);
        assert_int_equal(store_get(f->store, &key, &b), 0);
        assert_string_equal((char *)b.bytes, "abcdef");
}

static void overlong_id_and_invalid_uid_refused(void **state) {
        uint8_t id[STORE_ID_MAX + 1] = {};
        StoreKey key;

        assert_int_equal(store_key_init(&key, RECORD_AGENT, 1, id, STORE_ID_MAX), 0);
        assert_int_equal(store_key_init(&key, RECORD_AGENT, 1, id, STORE_ID_MAX + 1), -ENAMETOOLONG);
        assert_int_equal(store_key_init(&key, RECORD_AGENT, UID_INVALID, id, 1), -EINVAL);
}

static void longest_id_is_stored(void **state) {
        Fixture *f = *state;
        uint8_t id[STORE_ID_MAX];
        StoreKey key;

        memset(id, 0xab, sizeof(id));
        assert_int_equal(store_key_init(&key, RECORD_AGENT, 1, id, sizeof(id)), 0);
        put_raw(f, &key, "x", 1);
        assert_true(is_stored(f, &key));
}

static void unmet_expectation_writes_nothing(void **state) {
        Fixture *f = *state;
        StoreKey one = key_of(RECORD_AGENT, 1, "one"), two = key_of(RECORD_AGENT, 1, "two");
        StoreBatch *b;

        assert_int_equal(put_text(f, 1, "one", "old"), 0);
        static const char *const wrong[] = { "new", "ol", "olds", "" };
        for (size_t i = 0; i < ELEMENTSOF(wrong); i++) {
                b = batch_put(&two, "x", 1);
                assert_int_equal(store_batch_delete(b, &one), 0);
                assert_int_equal(store_batch_expect(b, &one, wrong[i], strlen(wrong[i])), 0);
                assert_int_equal(commit(f, b), STORE_CONFLICT);
                assert_stored(f, 1, "one", "old");
                assert_stored(f, 1, "two", NULL);
        }
        b = batch_put(&two, "x", 1);
        assert_int_equal(store_batch_expect_absent(b, &one), 0);
        assert_int_equal(commit(f, b), STORE_CONFLICT);
        b = batch_put(&one, "x", 1);
        assert_int_equal(store_batch_expect(b, &two, "", 0), 0);
        assert_int_equal(commit(f, b), STORE_CONFLICT);
        assert_stored(f, 1, "one", "old");
        assert_stored(f, 1, "two", NULL);
}

static void met_expectation_writes_all(void **state) {
        Fixture *f = *state;
        StoreKey one = key_of(RECORD_AGENT, 1, "one"), two = key_of(RECORD_AGENT, 1, "two");
        StoreBatch *b;

        assert_int_equal(put_text(f, 1, "one", "old"), 0);
        b = batch_put(&two, "2", 1);
        assert_int_equal(store_batch_put(b, &one, "new", 3), 0);
        /* Judged against the state before the batch, although it was added after the puts. */
        assert_int_equal(store_batch_expect(b, &one, "old", 3), 0);
        assert_int_equal(store_batch_expect_absent(b, &two), 0);
        assert_int_equal(commit(f, b), 0);
        assert_stored(f, 1, "one", "new");
        assert_stored(f, 1, "two", "2");

        b = batch_new();
        assert_int_equal(store_batch_delete(b, &one), 0);
        assert_int_equal(store_batch_delete(b, &one), 0);
        assert_int_equal(commit(f, b), 0);
        assert_stored(f, 1, "one", NULL);
        assert_int_equal(commit(f, batch_new()), 0);
}

static void group_shares_one_commit(void **state) {
        Fixture *f = *state;
        Collector collector = {};
        Slot slots[200];
        size_t before = transactions(f);
        writer_hold(f);

        for (size_t i = 0; i < ELEMENTSOF(slots); i++) {
                char id[16];
                (void)snprintf(id, sizeof(id), "%zu", i);
                StoreKey key = key_of(RECORD_AGENT, 1, id);
                slots[i] = (Slot){ &collector, i };
                collect(f, &slots[i], batch_put(&key, id, strlen(id)));
        }
        writer_release(f);
        run_until(f, &collector.n, ELEMENTSOF(slots));
        for (size_t i = 0; i < ELEMENTSOF(slots); i++) {
                assert_int_equal(collector.results[i], 0);
                assert_int_equal(collector.order[i], i);
        }
        /* The writer may have taken the first batches alone before the rest was queued. */
        assert_in_range(transactions(f) - before, 1, 2);
        assert_stored(f, 1, "199", "199");
}

static void later_batch_of_a_group_sees_the_earlier(void **state) {
        Fixture *f = *state;
        Collector collector = {};
        Slot slots[8];
        StoreKey key = key_of(RECORD_VAULT, 1000, "");
        writer_hold(f);

        for (size_t i = 0; i < ELEMENTSOF(slots); i++) {
                char text[2] = { (char)('0' + i), 0 };
                StoreBatch *b = batch_put(&key, text, 1);

                assert_int_equal(store_batch_expect_absent(b, &key), 0);
                slots[i] = (Slot){ &collector, i };
                collect(f, &slots[i], b);
        }
        writer_release(f);
        run_until(f, &collector.n, ELEMENTSOF(slots));
        assert_int_equal(collector.results[0], 0);
        for (size_t i = 1; i < ELEMENTSOF(slots); i++)
                assert_int_equal(collector.results[i], STORE_CONFLICT);
        _cleanup_(buffer_done) Buffer value = stored_value(f, &key);
        assert_string_equal((char *)value.bytes, "0");
}

static void callbacks_come_in_queue_order_across_groups(void **state) {
        Fixture *f = *state;
        Collector *collector = calloc(1, sizeof(Collector));
        Slot *slots = calloc(2000, sizeof(Slot));
        StoreKey key = key_of(RECORD_AGENT, 1, "x");

        assert_non_null(collector);
        assert_non_null(slots);
        for (size_t i = 0; i < 2000; i++) {
                StoreBatch *b = batch_put(&key, &i, sizeof(i));

                if (i % 3 == 2)
                        assert_int_equal(store_batch_expect_absent(b, &key), 0);
                slots[i] = (Slot){ collector, i };
                collect(f, &slots[i], b);
        }
        run_until(f, &collector->n, 2000);
        for (size_t i = 0; i < 2000; i++) {
                assert_int_equal(collector->order[i], i);
                assert_int_equal(collector->results[i], i % 3 == 2 ? STORE_CONFLICT : 0);
        }
        free(collector);
        free(slots);
}

typedef struct Chain {
        Fixture *fixture;
        size_t n;
} Chain;

static void on_chain(int result, void *userdata) {
        Chain *chain = userdata;

        assert_int_equal(result, 0);
        if (++chain->n < 10) {
                StoreKey key = key_of(RECORD_AGENT, 1, "chain");
                assert_int_equal(store_commit_async(chain->fixture->store, batch_put(&key, "x", 1), on_chain,
                                                 chain),
                                0);
        }
}

static size_t n_finished(Fixture *f) {
        size_t n = 0;

        assert_int_equal(pthread_mutex_lock(&f->store->mutex), 0);
        for (const StoreBatch *b = f->store->finished; b; b = b->next)
                n++;
        assert_int_equal(pthread_mutex_unlock(&f->store->mutex), 0);
        return n;
}

/* Queues 32 more and waits until they are committed; the loop does not run. */
static void commit_32(Fixture *f, Slot *slots) {
        StoreKey key = key_of(RECORD_AGENT, 1, "a");

        for (size_t i = 0; i < 32; i++)
                collect(f, &slots[i], batch_put(&key, "v", 1));
        while (n_finished(f) < 32)
                (void)usleep(1000);
}

/* Who calls beside many writers waits for a few of their callbacks, and none of them is forgotten: not those of a second group
 * that was committed while the first one's are called. */
static void callbacks_of_a_large_group_come_in_several_turns(void **state) {
        Fixture *f = *state;
        Collector collector = {};
        size_t before, most = 0;
        Slot slots[64];

        for (size_t i = 0; i < ELEMENTSOF(slots); i++)
                slots[i] = (Slot){ &collector, i };
        commit_32(f, slots);
        run_until(f, &collector.n, 1);
        commit_32(f, slots + 32);
        while (collector.n < ELEMENTSOF(slots)) {
                before = collector.n;
                assert_true(sd_event_run(f->event, 10 * USEC_PER_SEC) > 0);
                most = MAX(most, collector.n - before);
        }
        assert_in_range(most, 1, 8);
        for (size_t i = 0; i < ELEMENTSOF(slots); i++)
                assert_int_equal(collector.order[i], i);
}

static void callback_may_queue_more(void **state) {
        Chain chain = { *state, 0 };
        StoreKey key = key_of(RECORD_AGENT, 1, "chain");

        assert_int_equal(store_commit_async(chain.fixture->store, batch_put(&key, "x", 1), on_chain, &chain),
                        0);
        run_until(chain.fixture, &chain.n, 10);
}

#define SIBLINGS  6U
#define TURNS     100U
#define WORK_USEC 20U /* of each between two writes: all of them together well below the writer's wait */

typedef struct Sibling {
        Fixture *f;
        unsigned *n_in_work, n_left;
        uid_t uid;
} Sibling;

static void sibling_commits(int result, void *userdata) {
        Sibling *s = userdata;
        StoreKey key = key_of(RECORD_CREDENTIAL, s->uid, "x");

        assert_int_equal(result, 0);
        if (s->n_left-- == 0) {
                --*s->n_in_work;
                return;
        }
        for (uint64_t until = now_monotonic() + WORK_USEC; now_monotonic() < until;)
                ;
        assert_int_equal(
                        store_commit_async(s->f->store, batch_put(&key, "value", 5), sibling_commits, s), 0);
}

/* Without the wait of the writer there are four and more commits for each turn. A machine that is busy may take one of them away for a while. */
static void those_who_come_again_share_a_commit(void **state) {
        Fixture *f = *state;
        unsigned n_in_work = SIBLINGS;
        Sibling siblings[SIBLINGS];
        StoreChain chain;

        for (unsigned i = 0; i < SIBLINGS; i++) {
                siblings[i] = (Sibling){ f, &n_in_work, TURNS, 1000 + i };
                sibling_commits(0, &siblings[i]);
        }
        while (n_in_work > 0)
                assert_true(sd_event_run(f->event, UINT64_MAX) >= 0);
        assert_int_equal(store_chain(f->store, &chain), 0);
        assert_in_range(chain.sequence, TURNS, 5 * TURNS / 2);
}

static void on_late(int result, void *userdata) {
        Chain *chain = userdata;
        StoreKey key = key_of(RECORD_AGENT, 1, "late");

        assert_int_equal(result, 0);
        chain->n++;
        assert_int_equal(store_commit_async(chain->fixture->store, batch_put(&key, "x", 1), on_late, chain),
                        -ESHUTDOWN);
}

static void free_commits_what_is_queued(void **state) {
        Fixture *f = *state;
        Chain chain = { f, 0 };

        for (int i = 0; i < 50; i++) {
                char id[16];
                (void)snprintf(id, sizeof(id), "%d", i);
                StoreKey key = key_of(RECORD_AGENT, 1, id);
                assert_int_equal(store_commit_async(f->store, batch_put(&key, "x", 1), on_late, &chain), 0);
        }
        fixture_reopen(f, f->map_size);
        assert_int_equal(chain.n, 50);
        assert_stored(f, 1, "0", "x");
        assert_stored(f, 1, "49", "x");
        assert_stored(f, 1, "late", NULL);
}

typedef struct Walk {
        Fixture *fixture;
        char text[512];
        int stop_at;
        int n;
} Walk;

static int on_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        Walk *walk = userdata;
        size_t used = strlen(walk->text);

        (void)snprintf(walk->text + used, sizeof(walk->text) - used, "%c/%x/%.*s=%.*s ", key->kind, key->uid,
                        (int)key->id_size, (const char *)key->id, (int)size, (const char *)value);
        return ++walk->n == walk->stop_at ? 42 : 0;
}

static void foreach_visits_exactly_kind_and_uid_in_order(void **state) {
        Fixture *f = *state;
        static const struct {
                RecordKind kind;
                uid_t uid;
                const char *id;
        } rows[] = {
                { RECORD_AGENT, 0x100, "b" },
                { RECORD_AGENT, 0x100, "a" },
                { RECORD_AGENT, 0xff, "z" },
                { RECORD_AGENT, 0x101, "a" },
                { RECORD_AGENT, 0x1000000, "a" },
                { RECORD_AGENT, UID_INVALID - 1, "a" },
                { RECORD_CREDENTIAL, 0x100, "a" },
                { RECORD_AGENT, 0x100, "" },
                { RECORD_AGENT, 0, "a" },
        };
        Walk walk = {};

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                StoreKey key = key_of(rows[i].kind, rows[i].uid, rows[i].id);
                put_raw(f, &key, "v", 1);
        }
        assert_int_equal(store_foreach(f->store, RECORD_AGENT, 0x100, on_visit, &walk), 0);
        assert_string_equal(walk.text, "a/100/=v a/100/a=v a/100/b=v ");
        walk = (Walk){};
        assert_int_equal(store_foreach(f->store, RECORD_AGENT, UID_INVALID, on_visit, &walk), 0);
        assert_string_equal(walk.text, "a/0/a=v a/ff/z=v a/100/=v a/100/a=v a/100/b=v a/101/a=v "
                                       "a/1000000/a=v a/fffffffe/a=v ");
        walk = (Walk){};
        assert_int_equal(store_foreach(f->store, RECORD_FLOW, UID_INVALID, on_visit, &walk), 0);
        assert_int_equal(store_foreach(f->store, RECORD_AGENT, 0x102, on_visit, &walk), 0);
        assert_string_equal(walk.text, "");
        walk = (Walk){ .stop_at = 2 };
        assert_int_equal(store_foreach(f->store, RECORD_AGENT, UID_INVALID, on_visit, &walk), 42);
        assert_int_equal(walk.n, 2);
}

static int on_nested(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        Walk *walk = userdata;

        /* A commit in between is not seen before the walk is over. */
        if (walk->n++ == 0)
                assert_int_equal(put_text(walk->fixture, 1, "b", "new"), 0);
        assert_stored(walk->fixture, 1, "b", "old");
        return 0;
}

static int visit_ids(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        Buffer *ids = userdata;

        assert_int_equal(key->uid, 2);
        return buffer_printf(ids, "%.*s ", (int)key->id_size, (const char *)key->id);
}

static void foreach_id_visits_exactly_what_begins_so(void **state) {
        static const char *const ids[] = { "a/1", "a/2", "a", "ab/1", "b/1", "a0", "" };
        static const char *const wanted[][2] = { { "a/", "a/1 a/2 " }, { "a", "a a/1 a/2 a0 ab/1 " },
                { "b/", "b/1 " }, { "b/1", "b/1 " }, { "c", "" }, { "", " a a/1 a/2 a0 ab/1 b/1 " } };
        Fixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(ids); i++)
                for (uid_t uid = 1; uid <= 3; uid++)
                        assert_int_equal(put_text(f, uid, ids[i], "v"), 0);
        for (size_t i = 0; i < ELEMENTSOF(wanted); i++) {
                _cleanup_(buffer_done) Buffer found = {};

                assert_int_equal(buffer_append_text(&found, ""), 0);
                assert_int_equal(store_foreach_id(f->store, RECORD_AGENT, 2, wanted[i][0],
                                                 strlen(wanted[i][0]), visit_ids, &found),
                                0);
                assert_string_equal((char *)found.bytes, wanted[i][1]);
        }
        assert_int_equal(store_foreach_id(f->store, RECORD_AGENT, 2, ids, STORE_ID_MAX + 1, visit_ids, NULL),
                        -ENAMETOOLONG);
}

static void nested_read_sees_the_same_state(void **state) {
        Walk walk = { .fixture = *state };

        assert_int_equal(put_text(walk.fixture, 1, "a", "x"), 0);
        assert_int_equal(put_text(walk.fixture, 1, "b", "old"), 0);
        assert_int_equal(store_foreach(walk.fixture->store, RECORD_AGENT, 1, on_nested, &walk), 0);
        assert_int_equal(walk.n, 2);
        assert_stored(walk.fixture, 1, "b", "new");
}

static void no_reader_keeps_old_pages(void **state) {
        Fixture *f = *state;
        char path[96], value[2000];
        struct stat st;
        Walk walk = {};

        memset(value, 'x', sizeof(value) - 1);
        value[sizeof(value) - 1] = 0;
        for (int i = 0; i < 500; i++) {
                assert_int_equal(put_text(f, 1, "x", value), 0);
                assert_stored(f, 1, "x", value);
                (void)store_foreach(f->store, RECORD_FLOW, UID_INVALID, on_visit, &walk);
        }
        (void)snprintf(path, sizeof(path), "%s/state/vaultd.mdb", f->dir);
        assert_int_equal(stat(path, &st), 0);
        assert_in_range(st.st_size, 1, 128 * 1024);
        assert_int_equal(st.st_mode & 07777, 0600);
}

static void second_opener_is_refused(void **state) {
        Fixture *f = *state;
        Store *second = NULL;
        char path[80];

        (void)snprintf(path, sizeof(path), "%s/state", f->dir);
        assert_int_equal(store_open(path, f->map_size, f->event, &second), -EBUSY);
        assert_null(second);
        assert_int_equal(put_text(f, 1, "x", "still works"), 0);
        fixture_close(f);
        assert_int_equal(store_open(path, f->map_size, f->event, &second), 0);
        (void)store_free(second);
}

static void newer_schema_is_refused(void **state) {
        Fixture *f = *state;
        StoreKey key = key_of(RECORD_META, 0, "schema");
        _cleanup_(buffer_done) Buffer schema = stored_value(f, &key);

        assert_int_equal(schema.size, 12);
        schema.bytes[8]++;
        put_raw(f, &key, schema.bytes, schema.size);
        fixture_close(f);
        assert_int_equal(fixture_open(f, f->map_size), -EPROTONOSUPPORT);
        assert_null(f->store);
        schema.bytes[8]--;
        schema.bytes[11] = 1; /* the highest byte counts */
        assert_int_equal(fixture_open(f, f->map_size), -EPROTONOSUPPORT);
}

static void damaged_schema_is_refused(void **state) {
        Fixture *f = *state;
        StoreKey key = key_of(RECORD_META, 0, "schema");

        put_raw(f, &key, "vaultd", 6);
        fixture_close(f);
        assert_int_equal(fixture_open(f, f->map_size), -EINVAL);
}

static void schema_record_is_required(void **state) {
        Fixture *f = *state;
        StoreKey key = key_of(RECORD_META, 0, "schema");
        StoreBatch *b = batch_new();

        assert_int_equal(store_batch_delete(b, &key), 0);
        assert_int_equal(commit(f, b), 0);
        fixture_close(f);
        assert_int_equal(fixture_open(f, f->map_size), -EINVAL);
}

static void write_file(Fixture *f, const char *name, const char *text, size_t size) {
        char path[128];
        int fd;

        (void)snprintf(path, sizeof(path), "%s/state/%s", f->dir, name);
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, size), size);
        (void)safe_close(fd);
}

static void foreign_file_is_refused_and_kept(void **state) {
        Fixture *f = *state;
        char zero[8192] = {}, path[96];
        struct stat st;

        fixture_close(f);
        write_file(f, "vaultd.mdb", "not a database", 14);
        assert_int_equal(fixture_open(f, f->map_size), -EINVAL);
        write_file(f, "vaultd.mdb", "", 0);
        assert_int_equal(fixture_open(f, f->map_size), -EINVAL);
        write_file(f, "vaultd.mdb", zero, sizeof(zero));
        assert_int_equal(fixture_open(f, f->map_size), -EINVAL);
        (void)snprintf(path, sizeof(path), "%s/state/vaultd.mdb", f->dir);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_size, sizeof(zero));
        assert_int_equal(unlink(path), 0);
        assert_int_equal(mkfifo(path, 0600), 0);
        assert_int_equal(fixture_open(f, f->map_size), -EINVAL);
}

static void unfinished_creation_is_begun_anew(void **state) {
        Fixture *f = *state;
        char path[96];

        fixture_close(f);
        (void)snprintf(path, sizeof(path), "%s/state/vaultd.mdb", f->dir);
        assert_int_equal(unlink(path), 0);
        write_file(f, "vaultd.mdb.new", "half", 4);
        assert_int_equal(fixture_open(f, f->map_size), 0);
        assert_int_equal(put_text(f, 1, "x", "y"), 0);
        (void)snprintf(path, sizeof(path), "%s/state/vaultd.mdb.new", f->dir);
        assert_int_equal(access(path, F_OK), -1);
}

static void missing_folder_is_an_error(void **state) {
        Fixture *f = *state;
        Store *store = NULL;

        assert_int_equal(store_open("/nonexistent/vaultd", f->map_size, f->event, &store), -ENOENT);
        assert_null(store);
}

typedef struct FiberCommit {
        Fixture *fixture;
        size_t n_done;
        int result, suspended;
        Fiber *fiber;
} FiberCommit;

static int fiber_commits(void *userdata) {
        FiberCommit *c = userdata;
        StoreKey key = key_of(RECORD_AGENT, 1, "fiber");

        c->fiber = fiber_current();
        c->result = store_commit(c->fixture->store, batch_put(&key, "x", 1));
        c->suspended = fiber_is_cancelled(c->fiber) ? fiber_suspend() : 0;
        return 0;
}

static void fiber_is_done(int result, void *userdata) {
        ((FiberCommit *)userdata)->n_done++;
}

static void fiber_waits_for_its_commit(void **state) {
        FiberCommit c = { .fixture = *state, .result = -1 };

        assert_true(fiber_spawn(c.fixture->event, fiber_commits, fiber_is_done, &c, NULL) >= 0);
        run_until(c.fixture, &c.n_done, 1);
        assert_int_equal(c.result, 0);
        assert_stored(c.fixture, 1, "fiber", "x");
}

static void cancelled_fiber_still_learns_the_outcome(void **state) {
        FiberCommit c = { .fixture = *state, .result = -1 };
        writer_hold(c.fixture);

        assert_true(fiber_spawn(c.fixture->event, fiber_commits, fiber_is_done, &c, NULL) >= 0);
        while (!c.fiber)
                assert_true(sd_event_run(c.fixture->event, UINT64_MAX) >= 0);
        fiber_cancel(c.fiber);
        for (int i = 0; i < 5; i++)
                assert_true(sd_event_run(c.fixture->event, 1000) >= 0);
        assert_int_equal(c.n_done, 0);
        assert_int_equal(c.result, -1);
        writer_release(c.fixture);
        run_until(c.fixture, &c.n_done, 1);
        assert_int_equal(c.result, 0);
        assert_int_equal(c.suspended, -ECANCELED);
        assert_stored(c.fixture, 1, "fiber", "x");
}

static void fiber_cancelled_before_still_commits(void **state) {
        FiberCommit c = { .fixture = *state, .result = -1 };
        Fiber *fiber = NULL;

        assert_true(fiber_spawn(c.fixture->event, fiber_commits, fiber_is_done, &c, &fiber) >= 0);
        fiber_cancel(fiber);
        run_until(c.fixture, &c.n_done, 1);
        assert_int_equal(c.result, 0);
        assert_stored(c.fixture, 1, "fiber", "x");
}

static int fiber_parks(void *userdata) {
        FiberCommit *c = userdata;

        c->fiber = fiber_current();
        c->result = fiber_suspend_uncancellable();
        return 0;
}

static void uncancellable_wait_ends_by_resume_alone(void **state) {
        FiberCommit c = { .fixture = *state, .result = -1 };

        assert_true(fiber_spawn(c.fixture->event, fiber_parks, fiber_is_done, &c, NULL) >= 0);
        while (!c.fiber)
                assert_true(sd_event_run(c.fixture->event, UINT64_MAX) >= 0);
        fiber_cancel(c.fiber);
        (void)fiber_cancel_all();
        for (int i = 0; i < 3; i++)
                assert_true(sd_event_run(c.fixture->event, 1000) >= 0);
        assert_int_equal(c.n_done, 0);
        fiber_resume(c.fiber, 7);
        run_until(c.fixture, &c.n_done, 1);
        assert_int_equal(c.result, 7);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(put_is_read_back_after_reopening),
                TEST(get_appends),
                TEST(overlong_id_and_invalid_uid_refused),
                TEST(longest_id_is_stored),
                TEST(unmet_expectation_writes_nothing),
                TEST(met_expectation_writes_all),
                TEST(group_shares_one_commit),
                TEST(those_who_come_again_share_a_commit),
                TEST(later_batch_of_a_group_sees_the_earlier),
                TEST(callbacks_come_in_queue_order_across_groups),
                TEST(callbacks_of_a_large_group_come_in_several_turns),
                TEST(callback_may_queue_more),
                TEST_ON_DISK(free_commits_what_is_queued),
                TEST(foreach_visits_exactly_kind_and_uid_in_order),
                TEST(foreach_id_visits_exactly_what_begins_so),
                TEST(nested_read_sees_the_same_state),
                TEST_ON_DISK(no_reader_keeps_old_pages),
                TEST_ON_DISK(second_opener_is_refused),
                TEST_ON_DISK(newer_schema_is_refused),
                TEST_ON_DISK(damaged_schema_is_refused),
                TEST_ON_DISK(schema_record_is_required),
                TEST_ON_DISK(foreign_file_is_refused_and_kept),
                TEST_ON_DISK(unfinished_creation_is_begun_anew),
                TEST_ON_DISK(missing_folder_is_an_error),
                TEST(fiber_waits_for_its_commit),
                TEST(cancelled_fiber_still_learns_the_outcome),
                TEST(fiber_cancelled_before_still_commits),
                TEST(uncancellable_wait_ends_by_resume_alone),
        };

        return RUN_TESTS("store", tests);
}
