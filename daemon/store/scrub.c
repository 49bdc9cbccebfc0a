/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Erasing what LMDB leaves behind.
 *
 * LMDB never writes over a record: a commit writes changed pages to other places, and the former ones are free, with their content,
 * until some later commit takes them. Inside a page, too, the gap between the index and the nodes keeps what was there. Who
 * destroys a key by deleting its record has destroyed nothing then: whoever gets the file finds it. So this goes through the
 * file and writes zeros over
 *
 *   - pages on LMDB's free list that no reader can see (LMDB's own rule for reusing them),
 *   - the gap of every branch and leaf page, and the end of the last page of a large record,
 *   - what lies behind the last page.
 *
 * It does so with the write lock of LMDB held, some pages at a time, so no commit runs meanwhile and the state is the committed
 * one. None of these bytes is ever read by LMDB, nor by us: a crash or power cut in the middle leaves the store as it is.
 *
 * LMDB keeps the buffers of former commits and uses them for the next, gaps included, so it would write out again what was just
 * erased. They are taken out by a transaction that fills pages with zeros and is given up (wash()).
 *
 * The layout of pages is that of lmdb.h 0.9 with MDB_DATA_VERSION 1 (mdb.c: MDB_page, MDB_node), which LMDB itself cannot change without
 * another version. A page that does not look like one is left alone, and said.
 *
 * What this cannot reach: copies that a file system or an SSD keeps of overwritten blocks. Encrypt the disk.
 *
 * Who may call: the loop's thread; piece_*() run on a thread of their own. */

#include <stdio.h>
#include <sys/stat.h>

#include "store/body-lmdb.h"
#include "store/record.h"
#include "store/scrub.h"
#include "util/clock.h"
#include "util/crash-point.h"
#include "util/fiber.h"
#include "util/worker.h"

#define PIECE_PAGES    512U
#define PAGE_HEAD      16U
#define NODE_HEAD      8U
#define PAGE_BRANCH    0x01U
#define PAGE_LEAF      0x02U
#define PAGE_OVERFLOW  0x04U
#define NODE_BIG       0x01U
#define FIRST_PAGE     2U /* behind the two meta pages */
#define FREE_LIST      0  /* the handle of LMDB's own table of free pages, as mdb_stat(1) uses it */
#define WASH_PAGES_MAX 8192U
#define WAIT_USEC      (UINT64_C(60) * USEC_PER_SEC)
#define WAIT_STEP      (100 * USEC_PER_MSEC)
#define TRIES_MAX      5U
#define NOTE_ID        "scrub"

typedef struct Scrub {
        LmdbBody *body;
        int fd;
        size_t page_size;
        uint64_t next; /* page to go on with */
        uint64_t end;  /* behind the last page, as of this piece */
        bool is_done;
        uint64_t since;             /* the commit after which this began */
        bool is_visible;            /* something that was free then was left, since a reader may see it */
        uint8_t *pages;             /* PIECE_PAGES */
        uint8_t state[PIECE_PAGES]; /* of the same */
} Scrub;

enum {
        STATE_LIVE,
        STATE_FREE,
        STATE_VISIBLE,
        STATE_RECENT, /* freed while we are at it */
};

static uint16_t get16(const uint8_t *p) {
        uint16_t n;

        memcpy(&n, p, sizeof(n));
        return n;
}

static uint32_t get32(const uint8_t *p) {
        uint32_t n;

        memcpy(&n, p, sizeof(n));
        return n;
}

static uint64_t get64(const uint8_t *p) {
        uint64_t n;

        memcpy(&n, p, sizeof(n));
        return n;
}

static bool is_zero(const uint8_t *p, size_t n) {
        return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

static int write_zeros(const Scrub *s, uint64_t offset, size_t n) {
        static const uint8_t zeros[65536];

        while (n > 0) {
                ssize_t written = pwrite(s->fd, zeros, MIN(n, sizeof(zeros)), (off_t)offset);

                if (written < 0)
                        return -errno;
                offset += (uint64_t)written;
                n -= (size_t)written;
        }
        return 0;
}

/* bytes: what the file holds at the offset. What is zero stays unwritten. */
static int erase_bytes(const Scrub *s, uint64_t offset, const uint8_t *bytes, size_t n) {
        return is_zero(bytes, n) ? 0 : write_zeros(s, offset, n);
}

/* The end of the last page of a large record's value. */
static int erase_tail(const Scrub *s, uint64_t page, size_t value_size) {
        size_t used = (PAGE_HEAD + value_size) % s->page_size;
        uint64_t end = page * s->page_size + PAGE_HEAD + value_size;
        uint8_t tail[65536];

        if (used == 0 || s->page_size - used > sizeof(tail))
                return used == 0 ? 0 : -EBADMSG;
        if (page < FIRST_PAGE || end > s->end * s->page_size)
                return -EBADMSG;
        ssize_t n = pread(s->fd, tail, s->page_size - used, (off_t)end);
        if (n != (ssize_t)(s->page_size - used))
                return n < 0 ? -errno : -EIO;
        return erase_bytes(s, end, tail, (size_t)n);
}

static int leaf_erase_tails(const Scrub *s, const uint8_t *page, size_t lower) {
        int r = 0;

        for (size_t at = PAGE_HEAD; at < lower && r >= 0; at += 2) {
                size_t node = get16(page + at);

                if (node < lower || node + NODE_HEAD > s->page_size)
                        return -EBADMSG;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
                size_t size = (size_t)get16(page + node) | (size_t)get16(page + node + 2) << 16;
#else
                size_t size = (size_t)get16(page + node + 2) | (size_t)get16(page + node) << 16;
#endif
                if (!(get16(page + node + 4) & NODE_BIG))
                        continue;
                size_t data = node + NODE_HEAD + get16(page + node + 6);
                if (data + sizeof(uint64_t) > s->page_size)
                        return -EBADMSG;
                r = erase_tail(s, get64(page + data), size);
        }
        return r;
}

/* A page that holds records. *ret_n: how many pages it takes. */
static int live_erase(const Scrub *s, uint64_t number, const uint8_t *page, uint64_t *ret_n) {
        unsigned flags = get16(page + 10);
        size_t lower = get16(page + 12), upper = get16(page + 14);
        int r = 0;

        if (get64(page) != number)
                return -EBADMSG;
        *ret_n = 1;
        if (flags == PAGE_OVERFLOW) {
                *ret_n = get32(page + 12);
                return *ret_n == 0 || *ret_n > s->end - number ? -EBADMSG : 0;
        }
        if ((flags != PAGE_LEAF && flags != PAGE_BRANCH) || lower < PAGE_HEAD || lower % 2 != 0 ||
                        upper < lower || upper > s->page_size)
                return -EBADMSG;
        if (flags == PAGE_LEAF)
                r = leaf_erase_tails(s, page, lower);
        return r < 0 ? r : erase_bytes(s, number * s->page_size + lower, page + lower, upper - lower);
}

/* "pid thread txnid" of each reader, "-" for one that reads nothing. */
static int reader_visit(const char *line, void *userdata) {
        unsigned long long pid, txnid;
        uint64_t *oldest = userdata;
        char thread[64];

        if (sscanf(line, "%llu %63s %llu", &pid, thread, &txnid) == 3 && txnid < *oldest)
                *oldest = txnid;
        return 0;
}

/* Which pages of the piece are free, and of those which nobody sees: freed by a commit before the oldest state that is read. */
static int piece_read_free_list(Scrub *s, MDB_txn *reader, uint64_t first, size_t n) {
        uint64_t oldest = mdb_txn_id(reader);
        MDB_cursor *cursor;
        MDB_val key, data;
        int r;

        memset(s->state, STATE_LIVE, sizeof(s->state));
        r = mdb_reader_list(s->body->env, reader_visit, &oldest);
        if (r < 0)
                return -EIO;
        r = mdb_cursor_open(reader, FREE_LIST, &cursor);
        if (r != 0)
                return store_errno(r);
        while ((r = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) == 0) {
                const uint8_t *list = data.mv_data;
                uint64_t count = data.mv_size >= sizeof(uint64_t) ? get64(list) : 0;

                if (key.mv_size != sizeof(uint64_t) || count > data.mv_size / sizeof(uint64_t) - 1) {
                        r = MDB_CORRUPTED;
                        break;
                }
                uint64_t freed_by = get64(key.mv_data);
                for (uint64_t i = 1; i <= count; i++) {
                        uint64_t page = get64(list + i * sizeof(uint64_t));

                        if (page >= first && page - first < n)
                                s->state[page - first] = freed_by < oldest      ? STATE_FREE
                                                         : freed_by <= s->since ? STATE_VISIBLE
                                                                                : STATE_RECENT;
                }
        }
        mdb_cursor_close(cursor);
        return r == MDB_NOTFOUND ? 0 : store_errno(r);
}

/* Behind the last page: what a commit wrote that then failed. */
static int erase_behind(const Scrub *s) {
        uint64_t offset = s->end * s->page_size;
        struct stat st;

        if (fstat(s->fd, &st) < 0)
                return -errno;
        if ((uint64_t)st.st_size <= offset)
                return 0;
        /* Mostly there is nothing, or a hole. */
        for (uint64_t left = (uint64_t)st.st_size - offset; left > 0;) {
                ssize_t n = pread(s->fd, s->pages, MIN(left, (uint64_t)PIECE_PAGES * s->page_size),
                                (off_t)offset);

                if (n <= 0)
                        return n < 0 ? -errno : 0;
                int r = erase_bytes(s, offset, s->pages, (size_t)n);
                if (r < 0)
                        return r;
                offset += (uint64_t)n;
                left -= (uint64_t)n;
        }
        return 0;
}

static int piece_erase(Scrub *s, MDB_txn *reader) {
        uint64_t first = s->next;
        MDB_envinfo info;
        size_t n;
        int r;

        if (mdb_env_info(s->body->env, &info) != 0)
                return -EIO;
        s->end = info.me_last_pgno + 1;
        n = first < s->end ? (size_t)MIN(s->end - first, (uint64_t)PIECE_PAGES) : 0;
        if (n == 0) {
                s->is_done = true;
                r = erase_behind(s);
                return r < 0 ? r : fdatasync(s->fd) < 0 ? -errno : 0;
        }
        r = piece_read_free_list(s, reader, first, n);
        if (r < 0)
                return r;
        ssize_t size = pread(s->fd, s->pages, n * s->page_size, (off_t)(first * s->page_size));
        if (size != (ssize_t)(n * s->page_size))
                return size < 0 ? -errno : -EIO;
        while (s->next - first < n) {
                size_t i = (size_t)(s->next - first);
                const uint8_t *page = s->pages + i * s->page_size;
                uint64_t n_pages = 1;

                if (s->state[i] == STATE_LIVE)
                        r = live_erase(s, s->next, page, &n_pages);
                else if (s->state[i] == STATE_FREE)
                        r = erase_bytes(s, s->next * s->page_size, page, s->page_size);
                else if (s->state[i] == STATE_VISIBLE)
                        s->is_visible = true;
                if (r < 0)
                        return r;
                s->next += n_pages;
        }
        return 0;
}

/* A piece, on its thread. The transaction that writes is there for its lock; the free list is shown to readers alone. */
static int piece_run(void *userdata) {
        MDB_txn *lock, *reader;
        Scrub *s = userdata;
        int r;

        r = mdb_txn_begin(s->body->env, NULL, 0, &lock);
        if (r != 0)
                return store_errno(r);
        r = store_errno(mdb_txn_begin(s->body->env, NULL, MDB_RDONLY, &reader));
        if (r >= 0) {
                crash_point("store-erase");
                r = piece_erase(s, reader);
                mdb_txn_abort(reader);
        }
        mdb_txn_abort(lock);
        return r;
}

/* Fills LMDB's buffers with zeros: a value of this size takes a page to the last byte. As many as any commit can have left; when the map
 * has no room for more, no commit had. */
static int wash_run(void *userdata) {
        Scrub *s = userdata;
        MDB_txn *txn;
        int r;

        r = mdb_txn_begin(s->body->env, NULL, 0, &txn);
        if (r != 0)
                return store_errno(r);
        memset(s->pages, 0, s->page_size);
        for (uint64_t i = 0; i < WASH_PAGES_MAX && i < s->body->dirty_max && r == 0; i++) {
                uint8_t bytes[STORE_KEY_HEAD + sizeof(i)] = { 0xFF };
                MDB_val key = { sizeof(bytes), bytes }, value = { s->page_size - PAGE_HEAD, s->pages };

                memcpy(bytes + STORE_KEY_HEAD, &i, sizeof(i));
                r = mdb_put(txn, s->body->dbi, &key, &value, 0);
        }
        mdb_txn_abort(txn);
        return r == 0 || r == MDB_MAP_FULL || r == MDB_TXN_FULL ? 0 : store_errno(r);
}

/* META "scrub" */
typedef struct ScrubNote {
        uint64_t begun_usec;
        Buffer stored;
} ScrubNote;

static const Field scrub_fields[] = {
        FIELD_OF(2, FIELD_NUMBER, ScrubNote, begun_usec, .max = UINT64_MAX, .is_required = true),
};
static const RecordType scrub_type = RECORD_TYPE(ScrubNote, scrub_fields, false);

int scrub_note_put(StoreBatch *b) {
        ScrubNote note = { .begun_usec = now_realtime() };
        _cleanup_(buffer_done) Buffer value = {};
        StoreKey key;
        int r;

        r = store_key_init(&key, RECORD_META, 0, NOTE_ID, strlen(NOTE_ID));
        if (r >= 0)
                r = record_encode(&scrub_type, &key, NULL, &note, &value);
        return r < 0 ? r : store_batch_put(b, &key, value.bytes, value.size);
}

int scrub_note_verify(const StoreKey *key, const uint8_t *value, size_t size) {
        ScrubNote note = {};
        int r = record_decode(&scrub_type, key, NULL, value, size, &note);

        buffer_done(&note.stored);
        return r;
}

/* A commit that changes nothing that matters: pages that the one before freed are no part of the last state then. */
static int nudge(Store *store) {
        _cleanup_(store_batch_freep) StoreBatch *batch = NULL;
        int r;

        r = store_batch_new(&batch);
        if (r >= 0)
                r = scrub_note_put(batch);
        return r < 0 ? r : store_commit(store, TAKE_PTR(batch));
}

/* Once through the file. */
static int scrub_once(Worker *worker, Scrub *s) {
        int r;

        s->next = FIRST_PAGE;
        s->is_done = s->is_visible = false;
        r = worker_run(worker, wash_run, s);
        while (r >= 0 && !s->is_done) {
                r = worker_run(worker, piece_run, s);
                if (r >= 0)
                        r = fiber_sleep(0);
        }
        return r;
}

/* Between two pieces a large record may come to lie where the next one begins; then its middle is no page. So only what is so again and
 * again is damage. */
static int scrub_pass(Store *store, Worker *worker, Scrub *s) {
        int r = 0;

        for (unsigned i = 0; i < 2 && r >= 0; i++)
                r = nudge(store);
        if (r >= 0)
                r = scrub_once(worker, s);
        for (unsigned i = 0; i < TRIES_MAX && r == -EBADMSG; i++)
                r = scrub_once(worker, s);
        return r;
}

int scrub_lmdb(Store *store, sd_event *event) {
        _cleanup_(worker_freep) Worker *worker = NULL;
        uint64_t deadline = now_monotonic() + WAIT_USEC;
        Scrub s = { .body = store->data };
        MDB_envinfo info = {};
        MDB_stat stat;
        int r;

        if (mdb_env_get_fd(s.body->env, &s.fd) != 0 || mdb_env_stat(s.body->env, &stat) != 0)
                return -EIO;
        s.page_size = stat.ms_psize;
        s.pages = malloc(PIECE_PAGES * s.page_size);
        if (!s.pages)
                return -ENOMEM;
        r = mdb_env_info(s.body->env, &info) != 0 ? -EIO : worker_new(event, &worker);
        s.since = info.me_last_txnid;
        /* Pages that were live in the first pass, with their gaps erased by it, may be free by now: hence a second one. */
        for (unsigned n_passes = 1; r >= 0; n_passes++) {
                r = scrub_pass(store, worker, &s);
                if (r < 0 || (n_passes > 1 && !s.is_visible))
                        break;
                if (s.is_visible)
                        r = now_monotonic() > deadline ? -EAGAIN : fiber_sleep(WAIT_STEP);
        }
        free(s.pages);
        return r;
}
