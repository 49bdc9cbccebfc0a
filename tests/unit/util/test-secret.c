/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Secrets: what was released is zeros at once, whatever its size, and blocks that are given out again bring nothing along. */

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "util/secret.h"

/* Around every size of block, and beyond the largest. */
static const size_t sizes[] = { 0, 1, 32, 46, 47, 48, 49, 174, 175, 176, 177, 495, 496, 497, 2030, 2031,
        2032, 2033, 10000 };
#define LARGEST_OF_A_BLOCK 2031U

static Secret *secret_of(size_t n, uint8_t byte) {
        Secret *s = NULL;
        uint8_t bytes[10000];

        memset(bytes, byte, sizeof(bytes));
        assert_int_equal(secret_new(bytes, n, &s), 0);
        assert_int_equal(s->size, n);
        assert_memory_equal(s->bytes, bytes, n);
        assert_int_equal(s->bytes[n], 0);
        return s;
}

static void released_secret_is_zeros(void **state) {
        static const uint8_t zeros[LARGEST_OF_A_BLOCK];

        for (size_t i = 0; i < ELEMENTSOF(sizes) && sizes[i] <= LARGEST_OF_A_BLOCK; i++) {
                Secret *s = secret_of(sizes[i], 'x');
                uint8_t *bytes = s->bytes;

                (void)secret_free(s);
                assert_memory_equal(bytes, zeros, sizes[i]);
        }
}

static void secrets_do_not_touch(void **state) {
        Secret *all[ELEMENTSOF(sizes)][20];

        for (size_t i = 0; i < ELEMENTSOF(sizes); i++)
                for (uint8_t k = 0; k < 20; k++)
                        all[i][k] = secret_of(sizes[i], (uint8_t)(i * 20 + k));
        for (size_t i = 0; i < ELEMENTSOF(sizes); i++)
                for (uint8_t k = 0; k < 20; k++) {
                        for (size_t n = 0; n < sizes[i]; n++)
                                assert_int_equal(all[i][k]->bytes[n], (uint8_t)(i * 20 + k));
                        assert_int_equal(all[i][k]->bytes[sizes[i]], 0);
                        (void)secret_free(all[i][k]);
                }
}

static void block_is_given_out_again(void **state) {
        Secret *s = secret_of(32, 'a');
        uint8_t *bytes = s->bytes;

        (void)secret_free(s);
        s = secret_of(5, 'b');
        assert_ptr_equal(s->bytes, bytes);
        for (size_t i = 5; i < 32; i++)
                assert_int_equal(s->bytes[i], 0);
        (void)secret_free(s);
}

static void *make_and_release(void *userdata) {
        uint8_t byte = *(const uint8_t *)userdata;

        for (unsigned i = 0; i < 20000; i++) {
                Secret *a = NULL, *b = NULL;
                uint8_t bytes[100];

                memset(bytes, byte, sizeof(bytes));
                if (secret_new(bytes, 1 + i % sizeof(bytes), &a) < 0 || secret_new(bytes, 33, &b) < 0 ||
                                memcmp(a->bytes, bytes, a->size) != 0 ||
                                memcmp(b->bytes, bytes, b->size) != 0)
                        return userdata;
                (void)secret_free(a);
                (void)secret_free(b);
        }
        return NULL;
}

static void threads_share_the_blocks(void **state) {
        static const uint8_t bytes[4] = "abcd";
        pthread_t threads[4];
        void *result;

        for (size_t i = 0; i < 4; i++)
                assert_int_equal(pthread_create(&threads[i], NULL, make_and_release, (void *)&bytes[i]), 0);
        for (size_t i = 0; i < 4; i++) {
                assert_int_equal(pthread_join(threads[i], &result), 0);
                assert_null(result);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(released_secret_is_zeros),
                cmocka_unit_test(secrets_do_not_touch),
                cmocka_unit_test(block_is_given_out_again),
                cmocka_unit_test(threads_share_the_blocks),
        };

        if (secret_global_init() < 0)
                return 1;
        return cmocka_run_group_tests_name("secret", tests, NULL, NULL);
}
