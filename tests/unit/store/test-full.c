/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Full maps, full disks and broken disks (T27): what does not fit fails alone, nothing acknowledged is lost, and what is in doubt ends
 * the process. */

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "support.h"

#define BIG_SIZE (400U * 1024U)

static char big[BIG_SIZE];

static void map_full_fails_only_what_does_not_fit(void **state) {
        Fixture *f = *state;
        Collector collector = {};
        Slot slots[5];

        fixture_reopen(f, 256 * 1024);
        writer_hold(f);
        for (size_t i = 0; i < ELEMENTSOF(slots); i++) {
                char id[2] = { (char)('0' + i), 0 };
                StoreKey key = key_of(RECORD_AGENT, 1, id), zero = key_of(RECORD_AGENT, 1, "0");
                StoreBatch *b = batch_put(&key, i % 2 ? big : id, i % 2 ? BIG_SIZE : 1);

                if (i == 3) /* a small put beside the one that does not fit */
                        assert_int_equal(store_batch_put(b, &zero, "half", 4), 0);
                if (i == 4) /* judged without what failed before it */
                        assert_int_equal(store_batch_expect(b, &zero, "0", 1), 0);
                slots[i] = (Slot){ &collector, i };
                collect(f, &slots[i], b);
        }
        writer_release(f);
        run_until(f, &collector.n, ELEMENTSOF(slots));
        for (size_t i = 0; i < ELEMENTSOF(slots); i++) {
                assert_int_equal(collector.order[i], i);
                assert_int_equal(collector.results[i], i % 2 ? -ENOSPC : 0);
        }
        fixture_reopen(f, 256 * 1024);
        assert_stored(f, 1, "0", "0");
        assert_stored(f, 1, "1", NULL);
        assert_stored(f, 1, "2", "2");
        assert_stored(f, 1, "3", NULL);
        assert_stored(f, 1, "4", "4");
}

/* Puts until -ENOSPC; returns how many were acknowledged. */
static int fill(Fixture *f) {
        char value[1000], id[16];
        int n, r;

        memset(value, 'v', sizeof(value) - 1);
        value[sizeof(value) - 1] = 0;
        for (n = 0;; n++) {
                (void)snprintf(id, sizeof(id), "%06d", n);
                r = put_text(f, 1, id, value);
                if (r == -ENOSPC)
                        return n;
                assert_int_equal(r, 0);
                assert_in_range(n, 0, 100000);
        }
}

static void assert_filled(Fixture *f, int from, int to) {
        char id[16];

        for (int i = from; i < to; i++) {
                (void)snprintf(id, sizeof(id), "%06d", i);
                StoreKey key = key_of(RECORD_AGENT, 1, id);
                assert_true(is_stored(f, &key));
        }
}

static void map_full_keeps_all_and_recovers_by_deleting(void **state) {
        Fixture *f = *state;
        int n, n_deleted = 0;

        fixture_reopen(f, 1024 * 1024);
        n = fill(f);
        assert_in_range(n, 100, 1100);
        assert_filled(f, 0, n);
        for (; n_deleted < n / 2; n_deleted++) {
                char id[16];
                (void)snprintf(id, sizeof(id), "%06d", n_deleted);
                StoreKey key = key_of(RECORD_AGENT, 1, id);
                StoreBatch *b = batch_new();
                assert_int_equal(store_batch_delete(b, &key), 0);
                assert_int_equal(commit(f, b), 0);
        }
        assert_filled(f, n_deleted, n);
        assert_int_equal(put_text(f, 1, "new", "fits again"), 0);
        fixture_reopen(f, 1024 * 1024);
        assert_filled(f, n_deleted, n);
        assert_stored(f, 1, "new", "fits again");
        /* A larger map is all it takes. */
        fixture_reopen(f, 8 * 1024 * 1024);
        assert_filled(f, n_deleted, n);
        assert_in_range(fill(f), 2000, 9000);
}

static void plain_done(int result, void *userdata) {
        *(int *)userdata = result;
}

/* commit() without cmocka, for children. value NULL: delete. */
static int plain_commit(Store *s, sd_event *event, const char *id, const void *value, size_t size) {
        StoreBatch *b = NULL;
        StoreKey key;
        int result = 1000;

        CHECK(store_key_init(&key, RECORD_AGENT, 1, id, strlen(id)) == 0);
        CHECK(store_batch_new(&b) == 0);
        CHECK((value ? store_batch_put(b, &key, value, size) : store_batch_delete(b, &key)) == 0);
        CHECK(store_commit_async(s, b, plain_done, &result) == 0);
        while (result == 1000)
                CHECK(sd_event_run(event, UINT64_MAX) >= 0);
        return result;
}

static bool plain_has(Store *s, const char *id) {
        _cleanup_(buffer_done) Buffer value = {};
        StoreKey key;

        CHECK(store_key_init(&key, RECORD_AGENT, 1, id, strlen(id)) == 0);
        return store_get(s, &key, &value) == 0;
}

/* Fills the disk under dir, checks that nothing is lost, that small writes work again when room() was called. */
static int fill_disk(const char *dir, bool is_reserved, void (*room)(void)) {
        static char value[9000];
        sd_event *event = NULL;
        Store *s = NULL;
        char id[16];
        int n, n_full = 0, r;

        CHECK(sd_event_new(&event) >= 0);
        CHECK(store_open(dir, UINT64_C(1) << 30, event, &s) == 0);
        for (n = 0; n_full < 20; n++) {
                /* Odd sizes of several pages, so that some write is cut in its middle. */
                (void)snprintf(id, sizeof(id), "%d", n - n_full);
                r = plain_commit(s, event, id, big, 9000 + (size_t)n % 7 * 3000);
                CHECK(r == 0 || r == -ENOSPC);
                n_full += r != 0;
                CHECK(n < 100000);
        }
        n -= n_full;
        CHECK(n > 10);
        for (int pass = 0; pass < 2; pass++) {
                for (int i = 0; i < n; i++) {
                        (void)snprintf(id, sizeof(id), "%d", i);
                        CHECK(plain_has(s, id));
                }
                (void)snprintf(id, sizeof(id), "%d", n);
                CHECK(!plain_has(s, id));
                (void)store_free(s);
                s = NULL;
                CHECK(store_open(dir, UINT64_C(1) << 30, event, &s) == 0);
        }
        if (is_reserved) {
                /* Replacing and deleting need no room that others could have taken. */
                for (int i = 0; i < 200; i++) {
                        memset(value, i, sizeof(value));
                        CHECK(plain_commit(s, event, "0", value, sizeof(value)) == 0);
                }
                CHECK(plain_commit(s, event, "1", NULL, 0) == 0);
                CHECK(!plain_has(s, "1"));
        }
        room();
        CHECK(plain_commit(s, event, "after", big, BIG_SIZE / 4) == 0);
        CHECK(plain_has(s, "after"));
        CHECK(plain_has(s, "0"));
        (void)store_free(s);
        sd_event_unref(event);
        return 0;
}

static void larger_tmpfs(void) {
        CHECK(mount(NULL, "/tmp", NULL, MS_REMOUNT, "size=8M") == 0);
}

static bool write_map(const char *path, const char *format, unsigned id) {
        _cleanup_(closep) int fd = open(path, O_WRONLY | O_CLOEXEC);

        return fd >= 0 && dprintf(fd, format, id) > 0;
}

/* A mount namespace of our own; who is not root becomes that in a user namespace. */
static bool own_namespace(void) {
        uid_t uid = geteuid();
        gid_t gid = getegid();

        if (unshare(CLONE_NEWNS) == 0)
                return true;
        return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && write_map("/proc/self/setgroups", "deny", 0) &&
               write_map("/proc/self/uid_map", "0 %u 1", uid) &&
               write_map("/proc/self/gid_map", "0 %u 1", gid);
}

/* A tmpfs over /tmp that only this child sees. */
static int on_small_disk(void *userdata) {
        if (!own_namespace())
                return 77;
        if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
                        mount("tmpfs", "/tmp", "tmpfs", 0, "size=2M") < 0)
                return 77;
        CHECK(mkdir("/tmp/state", 0700) == 0);
        return fill_disk("/tmp/state", true, larger_tmpfs);
}

static void disk_full_loses_nothing_and_recovers(void **state) {
        int status;

        fixture_close(*state);
        status = in_child(on_small_disk, NULL, NULL);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
                skip();
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
}

static void no_limit(void) {
        struct rlimit limit;

        CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
        limit.rlim_cur = limit.rlim_max;
        CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

static int with_file_limit(void *userdata) {
        struct rlimit limit;

        CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
        limit.rlim_cur = 1024 * 1024 + 1234;
        CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
        return fill_disk(userdata, false, no_limit);
}

/* On a real file system the limit is met inside a write, which LMDB reports as EIO. */
static void file_size_limit_is_a_full_disk(void **state) {
        static const char *const files[] = { "lock", "vaultd.mdb", "vaultd.mdb-lock", "" };
        char dir[] = "/tmp/vaultd-limit-XXXXXX", path[64];
        int status;

        fixture_close(*state);
        assert_non_null(mkdtemp(dir));
        status = in_child(with_file_limit, dir, NULL);
        for (size_t i = 0; i < ELEMENTSOF(files); i++) {
                (void)snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
                (void)remove(path);
        }
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
}

/* Puts another file under the descriptors that LMDB writes through: the synchronous one is for the meta page. */
static void replace_descriptors(const char *dir, bool is_meta, int with) {
        DIR *fds = opendir("/proc/self/fd");
        struct dirent *entry;
        char link[300], target[300], file[300];
        int n_replaced = 0;

        CHECK(fds);
        (void)snprintf(file, sizeof(file), "%s/vaultd.mdb", dir);
        while ((entry = readdir(fds))) {
                int fd = atoi(entry->d_name);

                (void)snprintf(link, sizeof(link), "/proc/self/fd/%s", entry->d_name);
                ssize_t n = readlink(link, target, sizeof(target) - 1);
                if (n < 0)
                        continue;
                target[n] = 0;
                if (!streq(target, file) || ((fcntl(fd, F_GETFL) & O_DSYNC) != 0) != is_meta)
                        continue;
                CHECK(dup2(with, fd) == fd);
                n_replaced++;
        }
        closedir(fds);
        CHECK(n_replaced == 1);
}

typedef struct Breakage {
        const Fixture *fixture;
        bool is_meta;
        const char *with;
        int flags;
} Breakage;

static int with_broken_disk(void *userdata) {
        const Breakage *breakage = userdata;
        sd_event *event = NULL;
        Store *s = NULL;
        char dir[80];
        int with, r;

        (void)snprintf(dir, sizeof(dir), "%s/state", breakage->fixture->dir);
        CHECK(sd_event_new(&event) >= 0);
        CHECK(store_open(dir, 1 << 20, event, &s) == 0);
        CHECK(plain_commit(s, event, "before", "x", 1) == 0);
        with = open(breakage->with, breakage->flags | O_CLOEXEC);
        CHECK(with >= 0);
        replace_descriptors(dir, breakage->is_meta, with);
        r = plain_commit(s, event, "during", "x", 1);
        return r == -ENOSPC ? 28 : 1;
}

static void assert_aborts(Fixture *f, const Breakage *breakage) {
        char *text = NULL;
        int status;

        status = in_child(with_broken_disk, (void *)breakage, &text);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGABRT);
        assert_non_null(strstr(text, "memory and disk may disagree"));
        free(text);
        assert_int_equal(fixture_open(f, 1 << 20), 0);
        assert_stored(f, 1, "before", "x");
        assert_stored(f, 1, "during", NULL);
}

static void broken_disk_ends_the_process(void **state) {
        Fixture *f = *state;

        fixture_close(f);
        assert_aborts(f, &(Breakage){ f, false, "/dev/null", O_RDONLY });
}

static void failure_at_the_meta_page_ends_the_process(void **state) {
        Fixture *f = *state;

        fixture_close(f);
        assert_aborts(f, &(Breakage){ f, true, "/dev/full", O_WRONLY });
}

static void full_disk_does_not_end_the_process(void **state) {
        Fixture *f = *state;
        int status;

        fixture_close(f);
        status = in_child(with_broken_disk, &(Breakage){ f, false, "/dev/full", O_WRONLY }, NULL);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 28);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(map_full_fails_only_what_does_not_fit),
                TEST(map_full_keeps_all_and_recovers_by_deleting),
                TEST(disk_full_loses_nothing_and_recovers),
                TEST(file_size_limit_is_a_full_disk),
                TEST(broken_disk_ends_the_process),
                TEST(failure_at_the_meta_page_ends_the_process),
                TEST(full_disk_does_not_end_the_process),
        };

        for (size_t i = 0; i < sizeof(big); i++)
                big[i] = (char)i;
        return RUN_TESTS("full", tests);
}
