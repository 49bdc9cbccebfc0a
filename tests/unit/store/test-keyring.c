/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which key files are accepted, and what a seal is bound to (V2, T8). */

#include <fcntl.h>
#include <sys/stat.h>

#include "support.h"

static int load(Fixture *f, const char *file) {
        _cleanup_(keyring_freep) Keyring *k = NULL;
        char state[80];

        (void)snprintf(state, sizeof(state), "%s/state", f->dir);
        return keyring_load(file, state, &k);
}

static const char *path_in(Fixture *f, const char *name) {
        static char path[128];

        (void)snprintf(path, sizeof(path), "%s/%s", f->dir, name);
        return path;
}

static void write_key(const char *path, size_t size, char fill, mode_t mode) {
        char bytes[64];
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        memset(bytes, fill, sizeof(bytes));
        assert_true(fd >= 0);
        assert_int_equal(write(fd, bytes, size), size);
        assert_int_equal(fchmod(fd, mode), 0);
        (void)safe_close(fd);
}

static void key_file_of_others_is_refused(void **state) {
        Fixture *f = *state;
        static const mode_t wrong[] = { 0640, 0604, 0620, 0602, 0610, 0601, 0644, 0666 };

        for (size_t i = 0; i < ELEMENTSOF(wrong); i++) {
                write_key(path_in(f, "k"), 32, 'k', wrong[i]);
                assert_int_equal(load(f, path_in(f, "k")), -EPERM);
        }
        write_key(path_in(f, "k"), 32, 'k', 0600);
        assert_int_equal(load(f, path_in(f, "k")), 0);
        write_key(path_in(f, "k"), 32, 'k', 0400);
        assert_int_equal(load(f, path_in(f, "k")), 0);
        if (geteuid() == 0) {
                assert_int_equal(chown(path_in(f, "k"), 1, 0), 0);
                assert_int_equal(load(f, path_in(f, "k")), -EPERM);
        }
}

static void credential_may_have_group_bits(void **state) {
        Fixture *f = *state;
        char dir[128], file[160];

        (void)snprintf(dir, sizeof(dir), "%s", path_in(f, "credentials"));
        assert_int_equal(mkdir(dir, 0700), 0);
        (void)snprintf(file, sizeof(file), "%s/vaultd.kek", dir);
        write_key(file, 32, 'k', 0440);
        assert_int_equal(load(f, file), -EPERM);
        assert_int_equal(setenv("CREDENTIALS_DIRECTORY", dir, 1), 0);
        assert_int_equal(load(f, file), 0);
        /* Not for what merely begins like it, nor for a link that leads out. */
        assert_int_equal(mkdir(path_in(f, "credentials-of-others"), 0700), 0);
        write_key(path_in(f, "credentials-of-others/k"), 32, 'k', 0440);
        assert_int_equal(load(f, path_in(f, "credentials-of-others/k")), -EPERM);
        (void)snprintf(file, sizeof(file), "%s/link", dir);
        assert_int_equal(symlink(path_in(f, "credentials-of-others/k"), file), 0);
        assert_int_equal(load(f, file), -EPERM);
        assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
}

static void key_beside_the_database_is_refused(void **state) {
        Fixture *f = *state;
        char file[128];

        (void)snprintf(file, sizeof(file), "%s", path_in(f, "state/kek"));
        write_key(file, 32, 'k', 0600);
        assert_int_equal(load(f, file), -EPERM);
        assert_int_equal(load(f, path_in(f, "state/../state/kek")), -EPERM);
        assert_int_equal(symlink(file, path_in(f, "link")), 0);
        assert_int_equal(load(f, path_in(f, "link")), -EPERM);
        assert_int_equal(setenv("CREDENTIALS_DIRECTORY", f->dir, 1), 0);
        assert_int_equal(load(f, file), -EPERM);
        assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
        write_key(path_in(f, "state-kek"), 32, 'k', 0600);
        assert_int_equal(load(f, path_in(f, "state-kek")), 0);
}

static void malformed_key_file_is_refused(void **state) {
        Fixture *f = *state;
        static const size_t wrong[] = { 0, 1, 31, 33, 64 };

        for (size_t i = 0; i < ELEMENTSOF(wrong); i++) {
                write_key(path_in(f, "k"), wrong[i], 'k', 0600);
                assert_int_equal(load(f, path_in(f, "k")), -EINVAL);
        }
        write_key(path_in(f, "zero"), 32, 0, 0600);
        assert_int_equal(load(f, path_in(f, "zero")), -EINVAL);
        assert_int_equal(load(f, path_in(f, "absent")), -ENOENT);
        assert_int_equal(mkfifo(path_in(f, "fifo"), 0600), 0);
        assert_int_equal(load(f, path_in(f, "fifo")), -EINVAL);
        assert_int_equal(load(f, f->dir), -EINVAL);
}

static const SealContext base_context = { RECORD_CREDENTIAL, 1000, "v-1", "notion/default", 14 };

static void sealed_value_opens_again(void **state) {
        _cleanup_(secret_freep) Secret *key = NULL;

        assert_int_equal(secret_new_random(32, &key), 0);
        for (size_t n = 0; n < 70; n++) {
                _cleanup_(secret_freep) Secret *plain = NULL;
                _cleanup_(buffer_done) Buffer sealed = {};
                uint8_t bytes[70];

                random_bytes(bytes, sizeof(bytes));
                assert_int_equal(seal(key, &base_context, bytes, n, &sealed), 0);
                assert_int_equal(sealed.size, n + SEAL_OVERHEAD);
                assert_int_equal(unseal(key, &base_context, sealed.bytes, sealed.size, &plain), 0);
                assert_true(secret_equal(plain, bytes, n));
                if (n >= 16)
                        assert_null(memmem(sealed.bytes, sealed.size, bytes, n));
        }
}

static void same_value_never_seals_to_the_same_bytes(void **state) {
        _cleanup_(secret_freep) Secret *key = NULL;
        _cleanup_(buffer_done) Buffer all = {};

        assert_int_equal(secret_new_random(32, &key), 0);
        for (int i = 0; i < 100; i++)
                assert_int_equal(seal(key, &base_context, "token", 5, &all), 0);
        for (size_t i = 0; i < 100; i++)
                for (size_t j = i + 1; j < 100; j++)
                        assert_memory_not_equal(all.bytes + i * 33, all.bytes + j * 33, SEAL_NONCE_SIZE);
}

static void each_part_of_the_context_binds(void **state) {
        _cleanup_(secret_freep) Secret *key = NULL, *other = NULL;
        _cleanup_(buffer_done) Buffer sealed = {};
        SealContext wrong[] = {
                { RECORD_FLOW, 1000, "v-1", "notion/default", 14 },
                { RECORD_CREDENTIAL, 1001, "v-1", "notion/default", 14 },
                { RECORD_CREDENTIAL, 1000, "v-2", "notion/default", 14 },
                { RECORD_CREDENTIAL, 1000, "v-1n", "otion/default", 13 },
                { RECORD_CREDENTIAL, 1000, "v-1", "github/default", 14 },
                { RECORD_CREDENTIAL, 1000, "v-1", "notion/default", 13 },
                { RECORD_CREDENTIAL, 1000, "", "v-1notion/default", 17 },
                { RECORD_CREDENTIAL, 1000, "v-1", "", 0 },
                /* Longer than any that we make: of a record that was changed. */
                { RECORD_CREDENTIAL, 1000,
                                "v-1111111111111111111111111111111111111111111111111111111111111111111", "",
                                0 },
        };
        Secret *plain = NULL;

        assert_int_equal(secret_new_random(32, &key), 0);
        assert_int_equal(secret_new_random(32, &other), 0);
        assert_int_equal(seal(key, &base_context, "token", 5, &sealed), 0);
        for (size_t i = 0; i < ELEMENTSOF(wrong); i++)
                assert_int_equal(unseal(key, &wrong[i], sealed.bytes, sealed.size, &plain), -EBADMSG);
        assert_int_equal(unseal(other, &base_context, sealed.bytes, sealed.size, &plain), -EBADMSG);
        assert_null(plain);
        assert_int_equal(unseal(key, &base_context, sealed.bytes, sealed.size, &plain), 0);
        (void)secret_free(plain);
}

static void each_byte_of_a_sealed_value_counts(void **state) {
        _cleanup_(secret_freep) Secret *key = NULL;
        _cleanup_(buffer_done) Buffer sealed = {};
        Secret *plain = NULL;

        assert_int_equal(secret_new_random(32, &key), 0);
        assert_int_equal(seal(key, &base_context, "token", 5, &sealed), 0);
        for (size_t i = 0; i < sealed.size; i++)
                for (int bit = 0; bit < 8; bit++) {
                        sealed.bytes[i] ^= (uint8_t)(1 << bit);
                        assert_int_equal(unseal(key, &base_context, sealed.bytes, sealed.size, &plain),
                                        -EBADMSG);
                        sealed.bytes[i] ^= (uint8_t)(1 << bit);
                }
        for (size_t n = 0; n < sealed.size; n++)
                assert_int_equal(unseal(key, &base_context, sealed.bytes, n, &plain), -EBADMSG);
        assert_int_equal(unseal(key, &base_context, sealed.bytes, sealed.size + 1, &plain), -EBADMSG);
}

/* Each opens what is its own, in whatever order they come, also when one lies where another lay. */
static void kept_key_is_never_taken_for_another(void **state) {
        Buffer sealed[2] = {};
        Secret *keys[2] = {}, *plain = NULL;

        for (size_t i = 0; i < 2; i++) {
                assert_int_equal(secret_new_random(32, &keys[i]), 0);
                assert_int_equal(seal(keys[i], &base_context, "token", 5, &sealed[i]), 0);
        }
        for (size_t i = 0; i < 16; i++) {
                size_t k = i / 4 % 2, n = i % 2;

                assert_int_equal(unseal_in(SEAL_VAULT, keys[k], &base_context, sealed[n].bytes,
                                                 sealed[n].size, &plain),
                                k == n ? 0 : -EBADMSG);
                plain = secret_free(plain);
        }
        /* The bytes change and the place stays. */
        memcpy(keys[0]->bytes, keys[1]->bytes, 32);
        assert_int_equal(unseal_in(SEAL_VAULT, keys[0], &base_context, sealed[0].bytes, sealed[0].size,
                                         &plain),
                        -EBADMSG);
        assert_int_equal(unseal_in(SEAL_VAULT, keys[0], &base_context, sealed[1].bytes, sealed[1].size,
                                         &plain),
                        0);
        (void)secret_free(plain);
        seal_forget(SEAL_VAULT);
        for (size_t i = 0; i < 2; i++) {
                (void)secret_free(keys[i]);
                buffer_done(&sealed[i]);
        }
}

static void key_that_wraps_leaves_with_its_keyring(void **state) {
        _cleanup_(keyring_freep) Keyring *k = NULL;
        _cleanup_(secret_freep) Secret *key = NULL, *again = NULL, *kek = NULL;
        _cleanup_(buffer_done) Buffer wrapped = {};

        assert_int_equal(secret_new_random(32, &kek), 0);
        assert_int_equal(keyring_new(kek, &k), 0);
        assert_int_equal(keyring_new_data_key(k, 1000, "v-1", &key, &wrapped), 0);
        assert_int_equal(keyring_unwrap(k, 1000, "v-1", wrapped.bytes, wrapped.size, &again), 0);
        assert_true(seal_keeps_key(SEAL_WRAP));
        assert_false(seal_keeps_key(SEAL_ONCE));
        k = keyring_free(k);
        assert_false(seal_keeps_key(SEAL_WRAP));
}

static void data_key_is_bound_to_uid_vault_and_kek(void **state) {
        Fixture *f = *state;
        _cleanup_(secret_freep) Secret *key = NULL, *again = NULL;
        _cleanup_(buffer_done) Buffer wrapped = {}, rewrapped = {};
        _cleanup_(keyring_freep) Keyring *other = NULL;
        Secret *wrong = NULL;

        assert_int_equal(keyring_new_data_key(f->keyring, 1000, "v-1", &key, &wrapped), 0);
        assert_int_equal(key->size, 32);
        assert_null(memmem(wrapped.bytes, wrapped.size, key->bytes, 16));
        assert_int_equal(keyring_unwrap(f->keyring, 1001, "v-1", wrapped.bytes, wrapped.size, &wrong),
                        -EBADMSG);
        assert_int_equal(keyring_unwrap(f->keyring, 1000, "v-2", wrapped.bytes, wrapped.size, &wrong),
                        -EBADMSG);
        assert_int_equal(keyring_unwrap(f->keyring, 1000, "v-1", wrapped.bytes, wrapped.size - 1, &wrong),
                        -EBADMSG);
        write_key(path_in(f, "other"), 32, 'o', 0600);
        assert_int_equal(keyring_load(path_in(f, "other"), NULL, &other), 0);
        assert_int_equal(keyring_unwrap(other, 1000, "v-1", wrapped.bytes, wrapped.size, &wrong), -EBADMSG);
        assert_int_equal(keyring_wrap(f->keyring, 1000, "v-1", key, &rewrapped), 0);
        assert_memory_not_equal(wrapped.bytes, rewrapped.bytes, wrapped.size);
        assert_int_equal(
                        keyring_unwrap(f->keyring, 1000, "v-1", rewrapped.bytes, rewrapped.size, &again), 0);
        assert_true(secret_equal(again, key->bytes, key->size));
}

/* Computed apart from this code with Python's hmac module, for the key "kkk…" (32 times). */
static void mac_is_the_documented_function(void **state) {
        Fixture *f = *state;
        _cleanup_(keyring_freep) Keyring *k = NULL;
        static const uint8_t expected[32] = {
                0x4a,
                0x2e,
                0xe8,
                0x03,
                0xf0,
                0xb7,
                0xe9,
                0x15,
                0xed,
                0xb2,
                0x6c,
                0xe7,
                0x6e,
                0xa9,
                0x18,
                0xf6,
                0xba,
                0xe5,
                0xd7,
                0x0e,
                0x02,
                0x90,
                0x64,
                0xa5,
                0xc3,
                0x8d,
                0x9a,
                0x79,
                0x7f,
                0x42,
                0x60,
                0x11,
        };
        uint8_t mac[32];

        write_key(path_in(f, "k"), 32, 'k', 0600);
        assert_int_equal(keyring_load(path_in(f, "k"), NULL, &k), 0);
        assert_int_equal(keyring_mac(k, "claim", "ABCD-1234", 9, mac), 0);
        assert_memory_equal(mac, expected, 32);
}

static void mac_depends_on_purpose_text_and_kek(void **state) {
        Fixture *f = *state;
        _cleanup_(keyring_freep) Keyring *other = NULL;
        uint8_t a[32], b[32];

        write_key(path_in(f, "other"), 32, 'o', 0600);
        assert_int_equal(keyring_load(path_in(f, "other"), NULL, &other), 0);
        assert_int_equal(keyring_mac(f->keyring, "claim", "code", 4, a), 0);
        assert_int_equal(keyring_mac(f->keyring, "claim", "code", 4, b), 0);
        assert_memory_equal(a, b, 32);
        assert_int_equal(keyring_mac(f->keyring, "ticket", "code", 4, b), 0);
        assert_memory_not_equal(a, b, 32);
        assert_int_equal(keyring_mac(f->keyring, "claim", "codf", 4, b), 0);
        assert_memory_not_equal(a, b, 32);
        assert_int_equal(keyring_mac(f->keyring, "claimc", "ode", 3, b), 0);
        assert_memory_not_equal(a, b, 32);
        assert_int_equal(keyring_mac(other, "claim", "code", 4, b), 0);
        assert_memory_not_equal(a, b, 32);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(key_file_of_others_is_refused),
                TEST(credential_may_have_group_bits),
                TEST(key_beside_the_database_is_refused),
                TEST(malformed_key_file_is_refused),
                TEST(sealed_value_opens_again),
                TEST(same_value_never_seals_to_the_same_bytes),
                TEST(each_part_of_the_context_binds),
                TEST(each_byte_of_a_sealed_value_counts),
                TEST(kept_key_is_never_taken_for_another),
                TEST(key_that_wraps_leaves_with_its_keyring),
                TEST(data_key_is_bound_to_uid_vault_and_kek),
                TEST(mac_is_the_documented_function),
                TEST(mac_depends_on_purpose_text_and_kek),
        };

        return RUN_TESTS("keyring", tests);
}
