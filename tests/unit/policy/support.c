/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The folders that the policy tests load from. Each test has its own, so tests run in parallel; files
 * belong to whoever runs the tests, hence is_trusting_owner. */

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "support.h"

char *tree_path(const Tree *t, const char *path) {
        char *whole;

        assert_true(asprintf(&whole, "%s/%s", t->root, path) > 0);
        return whole;
}

void tree_open(Tree *t) {
        *t = (Tree){};
        (void)umask(022);
        (void)snprintf(t->root, sizeof(t->root), "/tmp/vaultd-policy-XXXXXX");
        assert_non_null(mkdtemp(t->root));
        t->vendor = tree_path(t, "vendor");
        t->admin = tree_path(t, "admin");
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
        return remove(path);
}

void tree_close(Tree *t) {
        t->config = config_free(t->config);
        config_faults_done(&t->faults);
        assert_int_equal(nftw(t->root, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
        free(t->vendor);
        free(t->admin);
}

void tree_write_bytes(Tree *t, const char *path, const void *bytes, size_t n) {
        _cleanup_(freep) char *whole = tree_path(t, path);

        for (char *slash = whole + strlen(t->root) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
                *slash = 0;
                assert_true(mkdir(whole, 0755) == 0 || errno == EEXIST);
        }
        int fd = open(whole, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, bytes, n), n);
        (void)close(fd);
}

void tree_write(Tree *t, const char *path, const char *text) {
        tree_write_bytes(t, path, text, strlen(text));
}

int tree_load(Tree *t) {
        t->config = config_free(t->config);
        config_faults_done(&t->faults);
        int r = config_load(t->vendor, t->admin, true, &t->config, &t->faults);
        /* A Config or faults, never both, never neither. */
        assert_int_equal(r == 0, t->config != NULL);
        assert_int_equal(r == -EINVAL, t->faults.n_faults > 0);
        return r;
}

void assert_fault(const Tree *t, size_t n, const char *expected) {
        _cleanup_(freep) char *text = NULL;

        assert_true(t->faults.n_faults > n);
        const ConfigFault *f = &t->faults.faults[n];
        assert_memory_equal(f->file, t->root, strlen(t->root));
        assert_true(asprintf(&text, "%s:%u: %s", f->file + strlen(t->root) + 1, f->line, f->text) > 0);
        assert_string_equal(text, expected);
}

void assert_single_fault(const Tree *t, const char *expected) {
        if (t->faults.n_faults > 0)
                assert_fault(t, 0, expected);
        assert_int_equal(t->faults.n_faults, 1);
}
