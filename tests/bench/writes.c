/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Durable writes of many writers, against LMDB alone, and what they do to a reader.
 *
 * Ours: so many writers, each of which puts its next record when the former one is on disk, through batches, queue, writer
 * thread and chain, as a method does. Peer: one thread that does nothing but take as many of the same puts as there are writers
 * into a transaction and commit it, on the same file system with the same flags: the best group commit there can be.
 *
 * The reader is a thread that wakes the loop through a descriptor, as a client does, and waits until the loop has read a
 * record and said so. Its time is measured with and without the writers.
 *
 * usage: bench-writes OURS-DIR PEER-DIR WRITERS SECONDS ROUNDS
 * Two empty directories. One line of JSON: writes, [ours, peer] puts a second of each round; reader, [beside the writers, alone]
 * p99 in nanoseconds of each round. */

#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <time.h>

#include "store/body-lmdb.h"
#include "util/secret.h"

#define MAP_SIZE        (UINT64_C(4) << 30)
#define VALUE_SIZE      900U /* about that of a grant */
#define UIDS            20000U
#define WRITERS_MAX     1024U
#define READS_MAX       100000U
#define READ_PAUSE_NSEC 300000

typedef struct World {
        sd_event *event;
        Store *store;
        uint64_t until_nsec, n_puts;
        unsigned n_writers, n_in_work;
        uint64_t seed;
        uint8_t value[VALUE_SIZE];
        /* The reader's. */
        int ask_fd, answer_fd;
        uint64_t reads[READS_MAX];
        size_t n_reads;
} World;

static _Noreturn void fail(const char *what, int r) {
        (void)fprintf(stderr, "bench-writes: %s: %s\n", what, strerror(-r));
        exit(EXIT_FAILURE);
}

static uint64_t now_nsec(void) {
        struct timespec t;

        (void)clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* The key of the next put: any of so many users' credentials. */
static void next_key(World *w, StoreKey *ret) {
        static const char id[] = "notion/default";

        w->seed = w->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        if (store_key_init(ret, RECORD_CREDENTIAL, 1000 + (uid_t)((w->seed >> 33) % UIDS), id, strlen(id)) <
                        0)
                fail("key", -EINVAL);
        memcpy(w->value, &w->seed, sizeof(w->seed));
}

static void put_next(World *w);

static void on_committed(int result, void *userdata) {
        World *w = userdata;

        if (result != 0)
                fail("commit", result < 0 ? result : -EBUSY);
        w->n_puts++;
        w->n_in_work--;
        if (now_nsec() < w->until_nsec)
                put_next(w);
}

static void put_next(World *w) {
        StoreBatch *b = NULL;
        StoreKey key;
        int r;

        next_key(w, &key);
        r = store_batch_new(&b);
        if (r >= 0)
                r = store_batch_put(b, &key, w->value, sizeof(w->value));
        if (r >= 0)
                r = store_commit_async(w->store, b, on_committed, w);
        if (r < 0)
                fail("batch", r);
        w->n_in_work++;
}

static void turn(World *w) {
        int r = sd_event_run(w->event, UINT64_C(1000));

        if (r < 0)
                fail("event loop", r);
}

/* Puts a second; n_writers 0: only the loop runs, for the reader. */
static uint64_t run_ours(World *w, unsigned n_writers, double seconds) {
        uint64_t started = now_nsec();

        w->n_puts = 0;
        w->until_nsec = started + (uint64_t)(seconds * 1e9);
        for (unsigned i = 0; i < n_writers; i++)
                put_next(w);
        while (now_nsec() < w->until_nsec || w->n_in_work > 0)
                turn(w);
        return (uint64_t)((double)w->n_puts * 1e9 / (double)(now_nsec() - started));
}

static uint64_t run_peer(World *w, LmdbBody *peer, double seconds) {
        uint64_t started = now_nsec(), n = 0;

        while ((double)(now_nsec() - started) < seconds * 1e9) {
                MDB_txn *txn;
                int r;

                r = mdb_txn_begin(peer->env, NULL, 0, &txn);
                for (unsigned i = 0; i < w->n_writers && r == 0; i++) {
                        uint8_t bytes[STORE_KEY_MAX];
                        MDB_val k, value = { sizeof(w->value), w->value };
                        StoreKey key;

                        next_key(w, &key);
                        k = (MDB_val){ store_key_encode(&key, bytes), bytes };
                        r = mdb_put(txn, peer->dbi, &k, &value, 0);
                }
                if (r == 0)
                        r = mdb_txn_commit(txn);
                if (r != 0)
                        fail("LMDB", store_errno(r));
                n += w->n_writers;
        }
        return (uint64_t)((double)n * 1e9 / (double)(now_nsec() - started));
}

static int on_asked(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        _cleanup_(buffer_done) Buffer value = {};
        World *w = userdata;
        eventfd_t n;
        StoreKey key;

        (void)eventfd_read(fd, &n);
        if (store_key_init(&key, RECORD_CREDENTIAL, 1000 + (uid_t)(w->n_reads % UIDS), "notion/default",
                            14) < 0 ||
                        store_get(w->store, &key, &value) < 0)
                fail("read", -EIO);
        (void)eventfd_write(w->answer_fd, 1);
        return 0;
}

static void *reader_thread(void *userdata) {
        World *w = userdata;

        for (w->n_reads = 0; w->n_reads < READS_MAX && now_nsec() < w->until_nsec; w->n_reads++) {
                uint64_t started = now_nsec();
                eventfd_t n;

                (void)eventfd_write(w->ask_fd, 1);
                if (poll(&(struct pollfd){ .fd = w->answer_fd, .events = POLLIN }, 1, 2000) <= 0)
                        break;
                (void)eventfd_read(w->answer_fd, &n);
                w->reads[w->n_reads] = now_nsec() - started;
                (void)nanosleep(&(struct timespec){ .tv_nsec = READ_PAUSE_NSEC }, NULL);
        }
        return NULL;
}

static int compare(const void *a, const void *b) {
        uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

        return x < y ? -1 : x > y;
}

/* Of a hundred reads at least, for which a busy machine needs its time. */
static uint64_t reader_p99(World *w, unsigned n_writers, double seconds) {
        pthread_t thread;

        if (seconds < 1.5)
                seconds = 1.5;

        w->until_nsec = now_nsec() + (uint64_t)(seconds * 1e9);
        if (pthread_create(&thread, NULL, reader_thread, w) != 0)
                fail("thread", -EAGAIN);
        (void)run_ours(w, n_writers, seconds);
        (void)pthread_join(thread, NULL);
        if (w->n_reads < 100)
                fail("reader", -ETIMEDOUT);
        qsort(w->reads, w->n_reads, sizeof(uint64_t), compare);
        return w->reads[w->n_reads * 99 / 100];
}

/* Every key once, so that the measured puts replace what is there: the file does not grow. */
static void fill(World *w) {
        for (uid_t uid = 1000; uid < 1000 + UIDS;) {
                StoreBatch *b = NULL;
                StoreKey key;
                int r;

                r = store_batch_new(&b);
                for (unsigned i = 0; i < 1000 && r >= 0 && uid < 1000 + UIDS; i++, uid++) {
                        r = store_key_init(&key, RECORD_CREDENTIAL, uid, "notion/default", 14);
                        if (r >= 0)
                                r = store_batch_put(b, &key, w->value, sizeof(w->value));
                }
                w->until_nsec = 0;
                if (r >= 0)
                        r = store_commit_async(w->store, b, on_committed, w);
                if (r < 0)
                        fail("fill", r);
                for (w->n_in_work = 1; w->n_in_work > 0;)
                        turn(w);
        }
}

static void open_one(World *w, const char *dir) {
        int r = store_open(dir, MAP_SIZE, w->event, &w->store);

        if (r < 0)
                fail(dir, r);
        fill(w);
}

int main(int argc, char *argv[]) {
        static World w;
        double seconds = argc == 6 ? atof(argv[4]) : 0;
        unsigned rounds = argc == 6 ? (unsigned)atol(argv[5]) : 0;
        Store *peer;

        w.n_writers = argc == 6 ? (unsigned)atol(argv[3]) : 0;
        if (w.n_writers == 0 || w.n_writers > WRITERS_MAX || seconds <= 0 || rounds == 0) {
                (void)fputs("usage: bench-writes OURS-DIR PEER-DIR WRITERS SECONDS ROUNDS\n", stderr);
                return 2;
        }
        w.ask_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        w.answer_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (secret_global_init() < 0 || sd_event_new(&w.event) < 0 || w.ask_fd < 0 || w.answer_fd < 0 ||
                        sd_event_add_io(w.event, NULL, w.ask_fd, EPOLLIN, on_asked, &w) < 0)
                fail("set up", -ENOMEM);
        /* The peer's file is made by us and then left to LMDB: the same flags, the same rows. */
        open_one(&w, argv[2]);
        peer = TAKE_PTR(w.store);
        open_one(&w, argv[1]);

        (void)printf("{\"writes\":[");
        for (unsigned i = 0; i <= rounds; i++) {
                uint64_t a = i % 2 ? run_ours(&w, w.n_writers, seconds) : 0,
                         b = run_peer(&w, peer->data, seconds);

                a = a ?: run_ours(&w, w.n_writers, seconds);
                if (i > 0)
                        (void)printf("%s[%llu,%llu]", i > 1 ? "," : "", (unsigned long long)a,
                                        (unsigned long long)b);
        }
        (void)printf("],\"reader\":[");
        for (unsigned i = 0; i <= rounds; i++) {
                uint64_t a = i % 2 ? reader_p99(&w, w.n_writers, seconds) : 0,
                         b = reader_p99(&w, 0, seconds);

                a = a ?: reader_p99(&w, w.n_writers, seconds);
                if (i > 0)
                        (void)printf("%s[%llu,%llu]", i > 1 ? "," : "", (unsigned long long)a,
                                        (unsigned long long)b);
        }
        (void)printf("]}\n");
        (void)store_free(w.store);
        (void)store_free(peer);
        (void)sd_event_unref(w.event);
        return 0;
}
