/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Damage in LMDB's own pages: the process says so and ends, or goes on and believes no record that was changed.
 *
 * LMDB trusts its pages: lengths, offsets and page numbers are followed as they are. To check all pages at each start
 * would take minutes for a large store, so damage there shows when it is met. What is asked here is that no way of it is silent
 * or endless: for each of many files with a changed byte, a child opens the store, tries every record, writes, and tries again.
 * It may find all in order (the byte was in no use), get an error from a call, or die by the store's own words; it may not crash
 * without them, and not hang.
 *
 * A record may be gone, where the damage is in its key: that it was ever there is known to nobody but the backup.
 *
 * $VAULTD_TEST_PAGES: how many files are tried (default: 300). */

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "samples.h"
#include "store/verify.h"

#define MAP_SIZE (UINT64_C(16) << 20)

typedef struct Pages {
        Fixture *f;
        char path[96];
        uint8_t *sound;
        size_t size;
} Pages;

/* Enough records for a tree of two levels, some of several pages, some freed pages. */
static void pages_build(Pages *p, Fixture *f) {
        _cleanup_(vault_freep) Vault *v = vault_of(f, 1000, "alice");
        struct stat st;
        int fd;

        *p = (Pages){ .f = f };
        (void)snprintf(p->path, sizeof(p->path), "%s/state/vaultd.mdb", f->dir);
        for (int i = 0; i < 40; i++) {
                char service[16];

                (void)snprintf(service, sizeof(service), "service%d", i);
                _cleanup_(credential_freep) Credential *c = sample_credential(1000, service, "default");
                _cleanup_(pinned_account_freep) PinnedAccount *a = sample_pinned_account(1000, service);
                if (i % 8 == 0) {
                        free(c->scope);
                        c->scope = calloc(1, 9001);
                        assert_non_null(c->scope);
                        memset(c->scope, 's', 9000);
                }
                save_credential(f, v, c);
                save_pinned_account(f, a);
        }
        fixture_close(f);
        fd = open(p->path, O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(fstat(fd, &st), 0);
        p->size = (size_t)st.st_size;
        p->sound = malloc(p->size);
        assert_non_null(p->sound);
        assert_int_equal(read(fd, p->sound, p->size), p->size);
        (void)safe_close(fd);
}

static void pages_done(Pages *p) {
        free(p->sound);
}

static void file_write(Pages *p, const uint8_t *bytes, size_t size) {
        _cleanup_(closep) int fd = open(p->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, bytes, size), size);
}

static int try_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        Pages *p = userdata;
        int r = record_verify(p->f->store, p->f->keyring, key, value, size);

        /* Damaged is an answer. */
        return r == -EBADMSG || r == -ENOTSUP ? 0 : r;
}

static int try_all(Pages *p) {
        int r = 0;

        for (RecordKind kind = first_kind(); kind != 0 && r >= 0; kind = next_kind(kind))
                r = store_foreach(p->f->store, kind, UID_INVALID, try_visit, p);
        return r;
}

static void on_plain(int result, void *userdata) {
        *(int *)userdata = result;
}

/* Without cmocka, for the child. */
static int try_write(Pages *p, int i) {
        StoreBatch *b = NULL;
        int result = 1000;
        StoreKey key;

        CHECK(store_key_init(&key, RECORD_AGENT, 0, &i, sizeof(i)) == 0);
        CHECK(store_batch_new(&b) == 0);
        CHECK(store_batch_put(b, &key, p->sound, 3000) == 0);
        if (store_commit_async(p->f->store, b, on_plain, &result) < 0)
                return -EIO;
        while (result == 1000)
                CHECK(sd_event_run(p->f->event, UINT64_MAX) >= 0);
        return result;
}

/* 0: nothing noticed; 1: an error from a call. */
static int try_file(void *userdata) {
        Pages *p = userdata;
        int r;

        (void)alarm(20);
        /* cmocka's own, which would go on after them. */
        for (size_t i = 0; i < 4; i++)
                (void)signal(((const int[]){ SIGSEGV, SIGBUS, SIGABRT, SIGFPE })[i], SIG_DFL);
        p->f->event = NULL; /* the parent's is not for us */
        CHECK(sd_event_new(&p->f->event) >= 0);
        r = fixture_open(p->f, MAP_SIZE);
        if (r >= 0)
                r = try_all(p);
        for (int i = 0; i < 6 && r >= 0; i++)
                r = try_write(p, i);
        if (r >= 0)
                r = try_all(p);
        return r < 0;
}

typedef struct Tally {
        unsigned unnoticed, refused, ended, sanitizer;
} Tally;

static void try_one(Pages *p, const uint8_t *bytes, size_t size, const char *what, size_t at, Tally *tally) {
        char *text = NULL;
        int status;

        file_write(p, bytes, size);
        status = in_child(try_file, p, &text);
        if (WIFEXITED(status) && WEXITSTATUS(status) < 2) {
                *(WEXITSTATUS(status) ? &tally->refused : &tally->unnoticed) += 1;
        } else if (WIFSIGNALED(status) && strstr(text, "store: ") && strstr(text, "admin restore"))
                tally->ended++;
        else if (strstr(text, "AddressSanitizer") && strstr(text, "mdb_"))
                tally->sanitizer++; /* seen in LMDB before it came to a fault */
        else
                fail_msg("%s at %zu: ended by %s%d without a word of the store's: %.300s", what, at,
                                WIFSIGNALED(status) ? "signal " : "exit ",
                                WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), text);
        free(text);
}

static void changed_byte_of_a_page_is_never_silent_or_endless(void **state) {
        const char *wanted = getenv("VAULTD_TEST_PAGES");
        size_t n = wanted ? strtoul(wanted, NULL, 10) : 300;
        _cleanup_(pages_done) Pages p = {};
        _cleanup_(freep) uint8_t *bytes = NULL;
        unsigned seed = 1;
        Tally tally = {};

        pages_build(&p, *state);
        bytes = malloc(p.size);
        assert_non_null(bytes);
        try_one(&p, p.sound, p.size, "nothing changed", 0, &tally);
        assert_int_equal(tally.unnoticed, 1);
        for (size_t i = 0; i < n; i++) {
                size_t page = (size_t)rand_r(&seed) % (p.size / 4096);
                /* Heads and the pointers behind them are what LMDB follows; the rest is mostly our records. */
                size_t at = page * 4096 +
                            (i % 4 == 3 ? (size_t)rand_r(&seed) % 4096 : (size_t)rand_r(&seed) % 96);

                memcpy(bytes, p.sound, p.size);
                bytes[at] = i % 2 ? (uint8_t)(bytes[at] ^ 1U << rand_r(&seed) % 8) : (uint8_t)rand_r(&seed);
                try_one(&p, bytes, p.size, "changed byte", at, &tally);
        }
        print_message("# pages: %zu files: %u unnoticed, %u refused by a call, %u ended the process with "
                      "words, %u seen by the sanitizer\n",
                        n, tally.unnoticed, tally.refused, tally.ended, tally.sanitizer);
        assert_true(tally.refused + tally.ended > 0);
}

static void truncated_file_is_never_silent_or_endless(void **state) {
        _cleanup_(pages_done) Pages p = {};
        Tally tally = {};

        pages_build(&p, *state);
        for (size_t size = 4096; size < p.size; size += p.size / 24)
                try_one(&p, p.sound, size, "truncation", size, &tally);
        print_message("# truncated: %u unnoticed, %u refused by a call, %u ended the process with its "
                      "words\n",
                        tally.unnoticed, tally.refused, tally.ended);
        assert_true(tally.refused + tally.ended > 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(changed_byte_of_a_page_is_never_silent_or_endless),
                TEST(truncated_file_is_never_silent_or_endless),
        };

        return RUN_TESTS("pages", tests);
}
