/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Every text of tests/fuzz/corpus/json whose name begins with y_ is admitted, every one with n_ refused, each as a
 * test of its own. Admitted ones are cut at every byte too: no proper beginning of an object, array or string is a
 * text, and nothing behind the end is read. */

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "json/object.h"

#include "support.h"

static char *read_case(const char *name, size_t *ret_size) {
        _cleanup_(freep) char *path = NULL;
        char *text;
        struct stat st;
        ssize_t n;

        assert_true(asprintf(&path, "%s/%s", VAULTD_TEST_CORPUS, name) > 0);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_return_code(fstat(fd, &st), errno);
        text = malloc((size_t)st.st_size + (st.st_size == 0));
        assert_non_null(text);
        n = read(fd, text, (size_t)st.st_size);
        assert_int_equal(n, st.st_size);
        (void)close(fd);
        *ret_size = (size_t)n;
        return text;
}

static void test_admitted(void **state) {
        size_t n;
        _cleanup_(freep) char *text = read_case(*state, &n);
        _cleanup_(json_putp) json_object *object = NULL;

        assert_int_equal(json_scan(text, n, &json_limits_mcp, NULL), 0);
        assert_int_equal(json_parse(text, n, &json_limits_mcp, &object), 0);

        size_t end = n, start = 0;
        while (end > 0 && strchr(" \t\r\n", text[end - 1]))
                end--;
        while (start < end && strchr(" \t\r\n", text[start]))
                start++;
        if (!strchr("[{\"", text[start]))
                return;
        for (size_t i = 0; i < end; i++) {
                _cleanup_(freep) char *part = exact_copy(text, i);

                assert_int_not_equal(json_scan(part, i, &json_limits_mcp, NULL), 0);
        }
}

static void test_refused(void **state) {
        size_t n, offset = SIZE_MAX;
        _cleanup_(freep) char *text = read_case(*state, &n);

        assert_true(json_scan(text, n, &json_limits_mcp, &offset) > 0);
        assert_true(offset <= n);
        assert_true(json_scan(text, n, &json_limits_wire, NULL) > 0);
}

int main(void) {
        struct dirent **entries;
        struct CMUnitTest tests[1024] = {};
        int n_tests = 0, n = scandir(VAULTD_TEST_CORPUS, &entries, NULL, alphasort);

        for (int i = 0; i < n; i++) {
                const char *name = entries[i]->d_name;
                bool is_admitted = startswith(name, "y_");

                if ((!is_admitted && !startswith(name, "n_")) || n_tests == (int)ELEMENTSOF(tests))
                        continue;
                tests[n_tests++] = (struct CMUnitTest){
                        .name = name,
                        .test_func = is_admitted ? test_admitted : test_refused,
                        .initial_state = (void *)name,
                };
        }
        if (n_tests < 250) {
                (void)fprintf(stderr, "The corpus in %s is not complete.\n", VAULTD_TEST_CORPUS);
                return 1;
        }
        int failed = _cmocka_run_group_tests("json-suite", tests, (size_t)n_tests, NULL, NULL);
        for (int i = 0; i < n; i++)
                free(entries[i]);
        free(entries);
        return failed;
}
