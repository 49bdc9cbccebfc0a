/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Power cuts, replayed (T27): whatever the disk kept of what was not yet synced, an acknowledged batch is wholly there, any other
 * wholly there or not at all, and the chain fits.
 *
 * One run with many batches in flight is recorded (disk.c): each write, each sync, each acknowledgement. Then, for
 * every instant of it, files are made that a disk may hold after the power failed there: all that was synced, and of the
 * writes since then none, all, each alone, all but each, either half, and the last one torn at sectors of 512 and of 4096 bytes.
 * Each file is opened by the store. What it holds must be the state after some number of batches, as a store in memory has it
 * that was given them one by one; that number is at least that of the last acknowledgement before the cut. The same number always
 * comes with the same chain, and each chain follows from the one before by the batches between.
 *
 * What is assumed of the disk: a sector is written or not, what fdatasync(2) or an O_DSYNC write returned for is there.
 *
 * $VAULTD_TEST_POWER_BATCHES: how many batches are recorded (default: 60). */

#include <fcntl.h>
#include <gcrypt.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "disk.h"
#include "support.h"

#define MAP_SIZE    (UINT64_C(16) << 20)
#define IMAGE_MAX   (UINT64_C(8) << 20)
#define IN_FLIGHT   12U
#define PENDING_MAX 512U

typedef struct State {
        uint8_t digest[32]; /* of all records but the chain */
        StoreChain chain;   /* as it was found with it */
        bool is_seen;
} State;

typedef struct Power {
        Fixture *f;
        uint64_t n_batches;
        State *states; /* after 0 … n_batches batches */
        /* The disk. */
        uint8_t *durable, *image;
        size_t durable_size, image_size;
        const DiskEvent *pending[PENDING_MAX];
        size_t n_pending;
        bool is_named, is_name_pending;
        uint64_t acknowledged;
        /* What was done. */
        char path[96];
        size_t event; /* where we are */
        const char *variant;
        size_t n_cuts, n_files, n_ahead, n_continued;
} Power;

/* Batch i: new records in two kinds, some of several pages; a counter; records of earlier batches go or are replaced. */
static StoreBatch *make_batch(uint64_t i) {
        static uint8_t value[20000];
        StoreBatch *b = batch_new();
        StoreKey left, right, counter, earlier;
        size_t size = i % 7 == 0 ? 9000 + i % 5 * 2000 : 20 + i * 37 % 900;

        memset(value, (int)(i & 0xff), sizeof(value));
        memcpy(value, &i, sizeof(i));
        assert_int_equal(store_key_init(&left, RECORD_AGENT, 1, &i, sizeof(i)), 0);
        assert_int_equal(store_key_init(&right, RECORD_ENVIRONMENT, 2, &i, sizeof(i)), 0);
        assert_int_equal(store_key_init(&counter, RECORD_ACCOUNT, 3, NULL, 0), 0);
        assert_int_equal(store_batch_put(b, &left, value, size), 0);
        assert_int_equal(store_batch_put(b, &counter, &i, sizeof(i)), 0);
        assert_int_equal(store_batch_put(b, &right, &i, sizeof(i)), 0);
        if (i > 8) {
                uint64_t gone = i - 3 - i % 5;

                assert_int_equal(store_key_init(&earlier, RECORD_AGENT, 1, &gone, sizeof(gone)), 0);
                if (i % 3 == 0)
                        assert_int_equal(store_batch_delete(b, &earlier), 0);
                else
                        assert_int_equal(store_batch_put(b, &earlier, value, size / 2), 0);
        }
        return b;
}

static int digest_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        uint8_t bytes[STORE_KEY_MAX];
        size_t n = store_key_encode(key, bytes);
        gcry_md_hd_t md = userdata;

        gcry_md_write(md, &n, sizeof(n));
        gcry_md_write(md, bytes, n);
        gcry_md_write(md, &size, sizeof(size));
        gcry_md_write(md, value, size);
        return 0;
}

static void content_digest(Store *s, uint8_t ret[static 32]) {
        gcry_md_hd_t md;

        assert_int_equal(gcry_md_open(&md, GCRY_MD_SHA256, 0), 0);
        for (RecordKind kind = first_kind(); kind != 0; kind = next_kind(kind))
                if (kind != RECORD_META)
                        assert_int_equal(store_foreach(s, kind, UID_INVALID, digest_visit, md), 0);
        memcpy(ret, gcry_md_read(md, GCRY_MD_SHA256), 32);
        gcry_md_close(md);
}

static void on_model(int result, void *userdata) {
        assert_int_equal(result, 0);
        (*(size_t *)userdata)++;
}

/* What the content is after each batch, by a store that has no disk. */
static void states_build(Power *p) {
        Store *model = NULL;
        size_t n_done = 0;

        p->states = calloc(p->n_batches + 1, sizeof(State));
        assert_non_null(p->states);
        assert_int_equal(store_open_memory(p->f->event, &model), 0);
        content_digest(model, p->states[0].digest);
        for (uint64_t i = 1; i <= p->n_batches; i++) {
                assert_int_equal(store_commit_async(model, make_batch(i), on_model, &n_done), 0);
                while (n_done < i)
                        assert_true(sd_event_run(p->f->event, UINT64_MAX) >= 0);
                content_digest(model, p->states[i].digest);
        }
        (void)store_free(model);
}

typedef struct Acknowledged {
        uint64_t n;
} Acknowledged;

/* Callbacks come in queue order, so the n-th is batch n's. */
static void on_acknowledged(int result, void *userdata) {
        Acknowledged *a = userdata;

        assert_int_equal(result, 0);
        disk_mark(++a->n);
}

static void run_recorded(Power *p) {
        Acknowledged a = {};
        uint64_t queued = 0;

        fixture_close(p->f);
        assert_int_equal(unlink(p->path), 0);
        disk_record_start();
        assert_int_equal(fixture_open(p->f, MAP_SIZE), 0);
        while (a.n < p->n_batches) {
                /* Bursts of changing size, so that groups have one batch or many. */
                for (uint64_t burst = 1 + queued * 7 % 5; burst > 0 && queued < p->n_batches; burst--)
                        assert_int_equal(store_commit_async(p->f->store, make_batch(++queued),
                                                         on_acknowledged, &a),
                                        0);
                do
                        assert_true(sd_event_run(p->f->event, UINT64_MAX) >= 0);
                while (queued - a.n > queued % IN_FLIGHT || (queued == p->n_batches && a.n < queued));
        }
        fixture_close(p->f);
        disk_record_stop();
}

/* The disk after the cut. */

static void put_bytes(uint8_t *to, size_t *size, uint64_t offset, const uint8_t *bytes, size_t n) {
        assert_true(offset + n <= IMAGE_MAX);
        memcpy(to + offset, bytes, n);
        *size = MAX(*size, offset + n);
}

static void image_begin(Power *p) {
        /* What lies behind the end and is written into is zeros before. */
        if (p->image_size > p->durable_size)
                memset(p->image + p->durable_size, 0, p->image_size - p->durable_size);
        memcpy(p->image, p->durable, p->durable_size);
        p->image_size = p->durable_size;
}

static void image_put(Power *p, size_t i) {
        put_bytes(p->image, &p->image_size, p->pending[i]->offset, p->pending[i]->bytes,
                        p->pending[i]->size);
}

static void file_write(Power *p) {
        _cleanup_(closep) int fd = open(p->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        ssize_t n;

        assert_true(fd >= 0);
        n = write(fd, p->image, p->image_size);
        assert_int_equal(n, p->image_size);
}

static uint64_t state_find(Power *p, const uint8_t *digest) {
        for (uint64_t i = 0; i <= p->n_batches; i++)
                if (memcmp(p->states[i].digest, digest, 32) == 0)
                        return i;
        fail_msg("event %zu, %s: the content is that of no number of batches", p->event, p->variant);
        return 0;
}

/* Now and then: the store goes on from there. */
static void check_continues(Power *p) {
        if (p->n_files % 101 != 0)
                return;
        assert_int_equal(put_text(p->f, 9, "after", "the cut"), 0);
        fixture_reopen(p->f, MAP_SIZE);
        assert_stored(p->f, 9, "after", "the cut");
        p->n_continued++;
}

static void check_file(Power *p, bool is_named, const char *variant) {
        uint8_t digest[32];
        StoreChain chain;
        uint64_t found;
        int r;

        p->variant = variant;
        p->n_files++;
        if (is_named)
                file_write(p);
        else
                (void)unlink(p->path);
        r = fixture_open(p->f, MAP_SIZE);
        if (r < 0)
                fail_msg("event %zu, %s: the store does not open: %s", p->event, variant, strerror(-r));
        content_digest(p->f->store, digest);
        assert_int_equal(store_chain(p->f->store, &chain), 0);
        found = state_find(p, digest);
        if (found < p->acknowledged)
                fail_msg("event %zu, %s: batch %" PRIu64 " was acknowledged, only %" PRIu64 " are there",
                                p->event, variant, p->acknowledged, found);
        p->n_ahead += found > p->acknowledged;

        State *state = &p->states[found];
        if (state->is_seen && (state->chain.sequence != chain.sequence ||
                                              memcmp(state->chain.head, chain.head, 32) != 0))
                fail_msg("event %zu, %s: two chains for one content", p->event, variant);
        state->chain = chain;
        state->is_seen = true;
        check_continues(p);
        fixture_close(p->f);
}

/* The last pending write, cut at a sector; the others all there, or none. */
static void check_torn(Power *p, size_t sector) {
        const DiskEvent *last = p->pending[p->n_pending - 1];
        size_t n_sectors = (last->size + sector - 1) / sector;
        const size_t cuts[] = { 1, n_sectors / 2, n_sectors - 1 };

        for (size_t c = 0; c < ELEMENTSOF(cuts); c++) {
                size_t head = cuts[c] * sector;

                if (cuts[c] == 0 || cuts[c] >= n_sectors || (c > 0 && cuts[c] == cuts[c - 1]))
                        continue;
                for (int others = 0; others < 2; others++)
                        for (int is_tail = 0; is_tail < 2; is_tail++) {
                                image_begin(p);
                                for (size_t i = 0; others && i + 1 < p->n_pending; i++)
                                        image_put(p, i);
                                put_bytes(p->image, &p->image_size, last->offset + (is_tail ? head : 0),
                                                last->bytes + (is_tail ? head : 0),
                                                is_tail ? last->size - head : head);
                                check_file(p, true,
                                                is_tail ? "tail of a torn write" : "head of a torn write");
                        }
        }
}

/* All choices of pending writes that have the newest, as the others were there to try before it. */
static void check_newest(Power *p) {
        size_t n = p->n_pending;

        p->n_cuts++;
        image_begin(p);
        image_put(p, n - 1);
        check_file(p, true, "the newest write alone");
        if (n > 1) {
                image_begin(p);
                for (size_t i = 0; i < n; i++)
                        image_put(p, i);
                check_file(p, true, "all writes");
        }
        for (size_t without = 0; n > 2 && without + 1 < n; without++) {
                image_begin(p);
                for (size_t i = 0; i < n; i++)
                        if (i != without)
                                image_put(p, i);
                check_file(p, true, "all writes but one");
        }
        if (n > 3) {
                image_begin(p);
                for (size_t i = n; i-- > n / 2;)
                        image_put(p, i);
                check_file(p, true, "the later half");
        }
        check_torn(p, 512);
        check_torn(p, 4096);
}

static void check_none(Power *p, const char *variant) {
        p->n_cuts++;
        image_begin(p);
        check_file(p, p->is_named, variant);
        /* A name that the folder was not synced for may be gone. */
        if (p->is_name_pending)
                check_file(p, false, "the name was lost");
}

static void sync_pending(Power *p) {
        for (size_t i = 0; i < p->n_pending; i++)
                put_bytes(p->durable, &p->durable_size, p->pending[i]->offset, p->pending[i]->bytes,
                                p->pending[i]->size);
        p->n_pending = 0;
}

static void pend(Power *p, const DiskEvent *e) {
        assert_true(p->n_pending < PENDING_MAX);
        p->pending[p->n_pending++] = e;
}

static void replay_event(Power *p, const DiskEvent *e) {
        switch (e->type) {
        case DISK_WRITE:
                pend(p, e);
                if (p->is_named)
                        check_newest(p);
                break;
        case DISK_WRITE_THROUGH:
                /* While it is under way it may be there, torn, or not … */
                pend(p, e);
                if (p->is_named)
                        check_newest(p);
                /* … then it is, whatever became of the others. */
                p->n_pending--;
                put_bytes(p->durable, &p->durable_size, e->offset, e->bytes, e->size);
                check_none(p, "after a write through");
                break;
        case DISK_SYNC:
                sync_pending(p);
                check_none(p, "after a sync");
                break;
        case DISK_RENAME:
                p->is_named = p->is_name_pending = true;
                check_none(p, "after the rename");
                break;
        case DISK_SYNC_DIRECTORY:
                p->is_name_pending = false;
                check_none(p, "the name is durable");
                break;
        case DISK_MARK:
                assert_int_equal(e->offset, p->acknowledged + 1);
                p->acknowledged = e->offset;
                check_none(p, "after an acknowledgement");
                if (p->n_pending > 0)
                        check_newest(p);
                break;
        case DISK_FOREIGN:
                fail_msg("event %zu: the file is written in a way that is not imitated here", p->event);
        }
}

/* Each chain that was seen follows from the one seen before by the batches between: they were one group. */
static size_t check_chains(Power *p) {
        uint64_t last = 0;
        size_t n = 0;

        assert_int_equal(p->states[0].chain.sequence, 0);
        for (uint64_t i = 1; i <= p->n_batches; i++) {
                StoreBatch *first = NULL, **end = &first;
                StoreChain chain = p->states[last].chain;

                if (!p->states[i].is_seen)
                        continue;
                for (uint64_t j = last + 1; j <= i; j++) {
                        *end = make_batch(j);
                        end = &(*end)->next;
                }
                assert_int_equal(chain_advance(&chain, first, NULL), 0);
                assert_int_equal(chain.sequence, p->states[i].chain.sequence);
                assert_memory_equal(chain.head, p->states[i].chain.head, 32);
                while (first) {
                        StoreBatch *next = first->next;

                        (void)store_batch_free(first);
                        first = next;
                }
                last = i;
                n++;
        }
        assert_int_equal(last, p->n_batches);
        return n;
}

static void power_done(Power *p) {
        free(p->states);
        free(p->durable);
        free(p->image);
}

static void power_setup(Power *p, Fixture *f) {
        const char *n = getenv("VAULTD_TEST_POWER_BATCHES");

        *p = (Power){ .f = f, .n_batches = n ? strtoul(n, NULL, 10) : 60 };
        (void)snprintf(p->path, sizeof(p->path), "%s/state/vaultd.mdb", f->dir);
        p->durable = calloc(1, IMAGE_MAX);
        p->image = calloc(1, IMAGE_MAX);
        assert_non_null(p->durable);
        assert_non_null(p->image);
        states_build(p);
        run_recorded(p);
}

static void power_cut_anywhere_loses_nothing_acknowledged(void **state) {
        _cleanup_(power_done) Power p = {};
        const DiskEvent *events;
        size_t n, n_writes = 0, n_groups;

        power_setup(&p, *state);
        events = disk_events(&n);
        for (p.event = 0; p.event < n; p.event++) {
                n_writes += events[p.event].type == DISK_WRITE || events[p.event].type == DISK_WRITE_THROUGH;
                replay_event(&p, &events[p.event]);
        }
        n_groups = check_chains(&p);
        /* The last state is whole without any of what was not synced. */
        assert_int_equal(p.acknowledged, p.n_batches);
        assert_int_equal(p.n_pending, 0);
        print_message("# power cuts: %" PRIu64 " acknowledged batches in %zu commits, %zu writes; %zu cuts, "
                      "%zu files opened (%zu held "
                      "more than was acknowledged), %zu continued\n",
                        p.acknowledged, n_groups, n_writes, p.n_cuts, p.n_files, p.n_ahead, p.n_continued);
        assert_true(p.n_cuts > 3 * p.n_batches);
        assert_true(p.n_ahead > 0);
}

/* The replay itself: a disk that forgets a synced write must be found out. */
static void forgotten_sync_would_be_noticed(void **state) {
        _cleanup_(power_done) Power p = {};
        const DiskEvent *events;
        size_t n, last = 0;
        uint8_t digest[32];
        int r;

        power_setup(&p, *state);
        events = disk_events(&n);
        for (size_t i = 0; i < n; i++)
                if (events[i].type == DISK_WRITE_THROUGH)
                        last = i;
        /* All but the last meta page: the last group was acknowledged and is not there. */
        for (size_t i = 0; i < n; i++)
                if ((events[i].type == DISK_WRITE || events[i].type == DISK_WRITE_THROUGH) && i != last)
                        put_bytes(p.durable, &p.durable_size, events[i].offset, events[i].bytes,
                                        events[i].size);
        image_begin(&p);
        file_write(&p);
        r = fixture_open(p.f, MAP_SIZE);
        assert_int_equal(r, 0);
        content_digest(p.f->store, digest);
        assert_true(state_find(&p, digest) < p.n_batches);
        fixture_close(p.f);
}

/* What all of this rests on. */
static void nothing_is_written_through_the_map_and_nothing_unsynced(void **state) {
        unsigned flags = 0;

        assert_int_equal(mdb_env_get_flags(lmdb_of(*state)->env, &flags), 0);
        assert_int_equal(flags & (MDB_WRITEMAP | MDB_MAPASYNC | MDB_NOSYNC | MDB_NOMETASYNC), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(nothing_is_written_through_the_map_and_nothing_unsynced),
                TEST(forgotten_sync_would_be_noticed),
                TEST(power_cut_anywhere_loses_nothing_acknowledged),
        };

        return RUN_TESTS("power", tests);
}
