/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A writer that is killed at any instant: every acknowledged batch is there afterwards, and no batch is half there (T27). */

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include "support.h"
#include "util/clock.h"

#define ROUNDS 25

typedef struct Writer {
        const Fixture *fixture;
        int report;
        uint32_t next;
        Store *store;
} Writer;

typedef struct Pending {
        Writer *writer;
        uint32_t number;
} Pending;

static void on_written(int result, void *userdata) {
        Pending *p = userdata;

        CHECK(result == 0);
        CHECK(write(p->writer->report, &p->number, sizeof(p->number)) == sizeof(p->number));
        free(p);
}

/* Each batch writes its number under two keys and moves a counter. */
static void write_next(Writer *w) {
        Pending *p = malloc(sizeof(Pending));
        StoreBatch *b = NULL;
        StoreKey left, right, counter;

        CHECK(p);
        *p = (Pending){ w, w->next++ };
        CHECK(store_batch_new(&b) == 0);
        CHECK(store_key_init(&left, RECORD_AGENT, 1, &p->number, 4) == 0);
        CHECK(store_key_init(&right, RECORD_ENVIRONMENT, 1, &p->number, 4) == 0);
        CHECK(store_key_init(&counter, RECORD_ACCOUNT, 1, NULL, 0) == 0);
        CHECK(store_batch_put(b, &left, &p->number, 4) == 0);
        CHECK(store_batch_put(b, &counter, &p->number, 4) == 0);
        CHECK(store_batch_put(b, &right, &p->number, 4) == 0);
        CHECK(store_commit_async(w->store, b, on_written, p) == 0);
}

static void write_for_ever(Writer *w) {
        sd_event *event = NULL;
        char dir[80];

        (void)snprintf(dir, sizeof(dir), "%s/state", w->fixture->dir);
        CHECK(sd_event_new(&event) >= 0);
        CHECK(store_open(dir, UINT64_C(64) << 20, event, &w->store) == 0);
        for (;;) {
                for (int i = 0; i < 5; i++)
                        write_next(w);
                CHECK(sd_event_run(event, UINT64_MAX) >= 0);
        }
}

/* Reads acknowledgements for a while, kills, reads the rest; returns the last acknowledged number. */
static uint32_t run_and_kill(Fixture *f, uint32_t first, uint64_t usec) {
        uint32_t number, last = 0;
        uint64_t until = now_monotonic() + usec;
        bool is_killed = false;
        int fds[2], status;
        pid_t pid;

        assert_int_equal(pipe(fds), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                write_for_ever(&(Writer){ f, fds[1], first, NULL });
                _exit(99);
        }
        (void)safe_close(fds[1]);
        /* Opening is a good moment too, so the clock runs from the fork. */
        for (;;) {
                if (!is_killed && now_monotonic() >= until) {
                        assert_int_equal(kill(pid, SIGKILL), 0);
                        is_killed = true;
                }
                if (!is_killed && poll(&(struct pollfd){ fds[0], POLLIN, 0 }, 1, 1) == 0)
                        continue;
                if (read(fds[0], &number, sizeof(number)) != sizeof(number))
                        break;
                last = number;
        }
        (void)safe_close(fds[0]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGKILL);
        return last;
}

static bool has_number(Fixture *f, RecordKind kind, uint32_t number) {
        StoreKey key;

        assert_int_equal(store_key_init(&key, kind, 1, &number, 4), 0);
        return is_stored(f, &key);
}

static void killed_writer_loses_nothing_acknowledged(void **state) {
        Fixture *f = *state;
        uint32_t next = 1, last = 0;
        unsigned seed = (unsigned)getpid();

        print_message("# seed %u\n", seed);
        for (int round = 0; round < ROUNDS; round++) {
                uint32_t acknowledged;

                fixture_close(f);
                acknowledged = run_and_kill(f, next, 1000 + (uint64_t)(rand_r(&seed) % 40000));
                last = MAX(last, acknowledged);
                assert_int_equal(fixture_open(f, UINT64_C(64) << 20), 0);

                uint32_t n = 1;
                while (has_number(f, RECORD_AGENT, n)) {
                        assert_true(has_number(f, RECORD_ENVIRONMENT, n));
                        n++;
                }
                assert_false(has_number(f, RECORD_ENVIRONMENT, n));
                assert_true(n > last);
                if (n > 1) {
                        StoreKey key;
                        assert_int_equal(store_key_init(&key, RECORD_ACCOUNT, 1, NULL, 0), 0);
                        _cleanup_(buffer_done) Buffer counter = stored_value(f, &key);
                        assert_memory_equal(counter.bytes, &(uint32_t){ n - 1 }, 4);
                }
                next = n;
        }
        print_message("# %u acknowledged, %u found\n", last, next - 1);
        assert_true(last > 100);
}

static void killed_creation_can_be_repeated(void **state) {
        Fixture *f = *state;
        char path[96];

        for (uint64_t usec = 0; usec < 8000; usec += 400) {
                fixture_close(f);
                (void)snprintf(path, sizeof(path), "%s/state/vaultd.mdb", f->dir);
                (void)unlink(path);
                (void)run_and_kill(f, 1, usec);
                assert_int_equal(fixture_open(f, UINT64_C(64) << 20), 0);
                assert_int_equal(put_text(f, 7, "x", "y"), 0);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(killed_writer_loses_nothing_acknowledged),
                TEST(killed_creation_can_be_repeated),
        };

        return RUN_TESTS("crash", tests);
}
