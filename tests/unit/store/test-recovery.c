/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The recovery key: what is written down comes back, slips of the pen are told, and both sides come to one key. */

#include <ctype.h>

#include "store/recovery.h"
#include "support.h"
#include "util/encode.h"
#include "util/hkdf.h"

#define CROCKFORD "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

static void unhex(const char *text, uint8_t *ret, size_t n) {
        assert_int_equal(strlen(text), 2 * n);
        assert_int_equal(hex_decode(text, ret, n), 0);
}

/* RFC 5869, appendix A.1 to A.3. */
static void hkdf_has_the_values_of_rfc_5869(void **state) {
        static const struct {
                const char *input, *salt, *info, *output;
        } cases[] = {
                { "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c",
                                "f0f1f2f3f4f5f6f7f8f9",
                                "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b"
                                "887185865" },
                { "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2"
                  "c2d2e2f"
                  "303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f",
                                "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f80818283848"
                                "5868788898a8b8c8d8e8f"
                                "909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
                                "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d"
                                "5d6d7d8d9dadbdcdddedf"
                                "e0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
                                "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac"
                                "7827271cb41c65e590e09"
                                "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87" },
                { "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
                                "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa"
                                "4b61a96c8" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                uint8_t input[128], salt[128], info[128], expected[128], output[128];
                size_t n_input = strlen(cases[i].input) / 2, n_salt = strlen(cases[i].salt) / 2,
                       n_info = strlen(cases[i].info) / 2, n = strlen(cases[i].output) / 2;

                unhex(cases[i].input, input, n_input);
                unhex(cases[i].salt, salt, n_salt);
                unhex(cases[i].info, info, n_info);
                unhex(cases[i].output, expected, n);
                assert_int_equal(hkdf_sha256(salt, n_salt, input, n_input, info, n_info, output, n), 0);
                assert_memory_equal(output, expected, n);
        }
        uint8_t byte;
        static uint8_t many[255 * 32 + 1];
        assert_int_equal(hkdf_sha256("", 0, "", 0, "", 0, &byte, 0), -EINVAL);
        assert_int_equal(hkdf_sha256("", 0, "", 0, "", 0, many, sizeof(many) - 1), 0);
        assert_int_equal(hkdf_sha256("", 0, "", 0, "", 0, many, sizeof(many)), -EINVAL);
}

/* The text of a private key, made here by other means: bits as a string. */
static char *text_of(const uint8_t private[32]) {
        char bits[281] = {}, *text = calloc(1, 128), *p = text;
        uint8_t raw[35], digest[32], labelled[17 + 32];

        assert_non_null(text);
        memcpy(labelled, "vaultd recovery 1", 17);
        memcpy(labelled + 17, private, 32);
        sha256(labelled, sizeof(labelled), digest);
        memcpy(raw, private, 32);
        memcpy(raw + 32, digest, 3);
        for (size_t i = 0; i < 280; i++)
                bits[i] = raw[i / 8] & 1 << (7 - i % 8) ? '1' : '0';
        p = stpcpy(p, "VR1");
        for (size_t i = 0; i < 56; i++) {
                char five[6] = {};

                memcpy(five, bits + 5 * i, 5);
                if (i % 4 == 0)
                        *p++ = '-';
                *p++ = CROCKFORD[strtoul(five, NULL, 2)];
        }
        return text;
}

/* RFC 7748 section 6.1: Alice's and Bob's keys, and the secret that both compute. */
static void agreement_has_the_values_of_rfc_7748(void **state) {
        static const char *const privates[] = {
                "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
                "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        };
        static const char *const publics[] = {
                "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
                "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
        };
        uint8_t shared[32], mine[32], theirs[32], salt[64], made[32], expected[32];

        unhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742", shared, 32);
        for (size_t i = 0; i < 2; i++) {
                _cleanup_(secret_freep) Secret *private = NULL, *key = NULL;

                unhex(privates[i], mine, 32);
                assert_int_equal(secret_new(mine, 32, &private), 0);
                unhex(publics[i], mine, 32);
                unhex(publics[1 - i], theirs, 32);
                assert_int_equal(recovery_public(private, made), 0);
                assert_memory_equal(made, mine, 32);
                memcpy(salt, theirs, 32);
                memcpy(salt + 32, mine, 32);
                assert_int_equal(hkdf_sha256(salt, 64, shared, 32, "vaultd backup 1", 15, expected, 32), 0);
                assert_int_equal(recovery_decapsulate(private, theirs, &key), 0);
                assert_true(secret_equal(key, expected, 32));
        }
}

static void text_reads_back(void **state) {
        for (unsigned i = 0; i < 200; i++) {
                _cleanup_(secret_freep) Secret *text = NULL, *private = NULL;
                _cleanup_(freep) char *expected = NULL;
                uint8_t public[32], again[32];

                assert_int_equal(recovery_new(public, &text), 0);
                assert_int_equal(text->size, 3 + 14 * 5);
                assert_int_equal(recovery_parse(secret_text(text), text->size, &private), 0);
                assert_int_equal(recovery_public(private, again), 0);
                assert_memory_equal(public, again, 32);
                expected = text_of(private->bytes);
                assert_string_equal(secret_text(text), expected);
        }
}

static void lower_case_blanks_and_look_alikes_are_read(void **state) {
        _cleanup_(secret_freep) Secret *private = NULL, *again = NULL;
        uint8_t key[32];
        char loose[512], *p = loose;
        _cleanup_(freep) char *text = NULL;

        /* A key whose text has both 0 and 1. */
        memset(key, 0x08, sizeof(key));
        text = text_of(key);
        assert_non_null(strchr(text + 4, '0'));
        assert_non_null(strchr(text + 4, '1'));
        *p++ = ' ';
        for (const char *c = text; *c; c++) {
                char typed = c > text + 3 ? *c == '0'    ? 'o'
                                             : *c == '1' ? (c - text) % 2 ? 'l' : 'I'
                                                         : *c
                                          : *c;

                p = *c == '-' ? stpcpy(p, " \t\n")
                              : p + sprintf(p, "%c%s", tolower(typed), (c - text) % 7 ? "" : " ");
        }
        assert_int_equal(recovery_parse(loose, (size_t)(p - loose), &private), 0);
        assert_memory_equal(private->bytes, key, 32);
        assert_int_equal(recovery_parse(text, strlen(text), &again), 0);
}

static int parse(const char *text, size_t n) {
        _cleanup_(secret_freep) Secret *private = NULL;

        return recovery_parse(text, n, &private);
}

static void one_wrong_character_is_told(void **state) {
        uint8_t key[32];

        for (size_t i = 0; i < sizeof(key); i++)
                key[i] = (uint8_t)(37 * i + 11);
        _cleanup_(freep) char *text = text_of(key);
        size_t n = strlen(text), n_tried = 0;

        assert_int_equal(parse(text, n), 0);
        for (size_t i = 4; i < n; i++) {
                char right = text[i];

                for (const char *c = CROCKFORD; *c && right != '-'; c++) {
                        if (*c == right)
                                continue;
                        text[i] = *c;
                        assert_int_equal(parse(text, n), -EINVAL);
                        n_tried++;
                }
                text[i] = right;
        }
        assert_int_equal(n_tried, 56 * 31);
}

static void two_swapped_characters_are_told(void **state) {
        uint8_t key[32];

        for (size_t i = 0; i < sizeof(key); i++)
                key[i] = (uint8_t)(91 * i + 5);
        _cleanup_(freep) char *text = text_of(key);
        size_t n = strlen(text), n_tried = 0;

        for (size_t i = 4; i < n; i++)
                for (size_t j = i + 1; j < n; j++) {
                        char a = text[i], b = text[j];

                        if (a == '-' || b == '-' || a == b)
                                continue;
                        text[i] = b;
                        text[j] = a;
                        assert_int_equal(parse(text, n), -EINVAL);
                        text[i] = a;
                        text[j] = b;
                        n_tried++;
                }
        assert_true(n_tried > 1000);
}

static void what_is_no_key_is_refused(void **state) {
        uint8_t key[32] = { 1 };
        _cleanup_(freep) char *text = text_of(key);
        size_t n = strlen(text);
        char longer[2048];

        for (size_t i = 0; i < n; i++)
                assert_int_equal(parse(text, i), -EINVAL);
        (void)snprintf(longer, sizeof(longer), "%s0", text);
        assert_int_equal(parse(longer, n + 1), -EINVAL);
        (void)snprintf(longer, sizeof(longer), "%s ", text);
        assert_int_equal(parse(longer, n + 1), 0);
        assert_int_equal(parse(text, n + 1), -EINVAL); /* with its NUL */
        assert_int_equal(parse("", 0), -EINVAL);
        assert_int_equal(parse(text + 4, n - 4), -EINVAL); /* without VR1 */
        text[2] = '2';
        assert_int_equal(parse(text, n), -EINVAL);
        text[2] = '1';
        text[10] = 'U';
        assert_int_equal(parse(text, n), -EINVAL);
        text[10] = '\x80';
        assert_int_equal(parse(text, n), -EINVAL);
        memset(longer, ' ', sizeof(longer));
        assert_int_equal(parse(longer, sizeof(longer)), -EINVAL);
}

static void both_sides_come_to_one_key(void **state) {
        _cleanup_(secret_freep) Secret *text = NULL, *private = NULL, *key = NULL, *second = NULL,
                                       *same = NULL;
        uint8_t public[32], ephemeral[32], another[32];

        assert_int_equal(recovery_new(public, &text), 0);
        assert_int_equal(recovery_parse(secret_text(text), text->size, &private), 0);
        assert_int_equal(recovery_encapsulate(public, ephemeral, &key), 0);
        assert_int_equal(recovery_decapsulate(private, ephemeral, &same), 0);
        assert_int_equal(key->size, 32);
        assert_true(secret_equal(same, key->bytes, key->size));
        /* Never the same twice. */
        assert_int_equal(recovery_encapsulate(public, another, &second), 0);
        assert_memory_not_equal(ephemeral, another, 32);
        assert_false(secret_equal(second, key->bytes, key->size));
}

static void another_private_key_comes_to_another_key(void **state) {
        _cleanup_(secret_freep) Secret *text = NULL, *other_text = NULL, *other = NULL, *key = NULL,
                                       *wrong = NULL;
        uint8_t public[32], other_public[32], ephemeral[32];

        assert_int_equal(recovery_new(public, &text), 0);
        assert_int_equal(recovery_new(other_public, &other_text), 0);
        assert_int_equal(recovery_parse(secret_text(other_text), other_text->size, &other), 0);
        assert_int_equal(recovery_encapsulate(public, ephemeral, &key), 0);
        assert_int_equal(recovery_decapsulate(other, ephemeral, &wrong), 0);
        assert_false(secret_equal(wrong, key->bytes, key->size));
}

/* RFC 7748 section 6.1: the secret would be all zero, whoever the other side is. */
static void points_of_small_order_are_refused(void **state) {
        static const char *const points[] = {
                "0000000000000000000000000000000000000000000000000000000000000000",
                "0100000000000000000000000000000000000000000000000000000000000000",
                "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
                "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
                "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        };

        for (size_t i = 0; i < ELEMENTSOF(points); i++) {
                _cleanup_(secret_freep) Secret *private = NULL, *key = NULL;
                uint8_t point[32], ephemeral[32];

                unhex(points[i], point, sizeof(point));
                assert_int_equal(secret_new_random(32, &private), 0);
                assert_int_equal(recovery_encapsulate(point, ephemeral, &key), -EINVAL);
                assert_int_equal(recovery_decapsulate(private, point, &key), -EBADMSG);
                assert_null(key);
        }
}

static void store_keeps_the_public_half(void **state) {
        Fixture *f = *state;
        uint8_t public[32], read[32];
        uint64_t created;
        StoreBatch *b;

        random_bytes(public, sizeof(public));
        assert_int_equal(recovery_record_read(f->store, f->keyring, read, NULL), -ENOENT);
        b = batch_new();
        assert_int_equal(recovery_record_expect_none(b), 0);
        assert_int_equal(recovery_record_put(b, f->keyring, public, UINT64_C(0x123456789abcdef0)), 0);
        assert_int_equal(commit(f, b), 0);
        assert_int_equal(recovery_record_read(f->store, f->keyring, read, &created), 0);
        assert_memory_equal(read, public, 32);
        assert_true(created == UINT64_C(0x123456789abcdef0));
        /* Whoever came second is told. */
        b = batch_new();
        assert_int_equal(recovery_record_expect_none(b), 0);
        assert_int_equal(recovery_record_put(b, f->keyring, public, 1), 0);
        assert_int_equal(commit(f, b), STORE_CONFLICT);
}

static void changed_public_half_is_refused(void **state) {
        Fixture *f = *state;
        StoreKey key = key_of(RECORD_META, 0, "recovery");
        uint8_t public[32], read[32];
        StoreBatch *b = batch_new();

        random_bytes(public, sizeof(public));
        assert_int_equal(recovery_record_put(b, f->keyring, public, 77), 0);
        assert_int_equal(commit(f, b), 0);
        _cleanup_(buffer_done) Buffer value = stored_value(f, &key);
        for (size_t i = 0; i < value.size; i++) {
                value.bytes[i] ^= 1;
                put_raw(f, &key, value.bytes, value.size);
                assert_int_equal(recovery_record_read(f->store, f->keyring, read, NULL), -EBADMSG);
                value.bytes[i] ^= 1;
        }
        put_raw(f, &key, value.bytes, value.size - 1);
        assert_int_equal(recovery_record_read(f->store, f->keyring, read, NULL), -EBADMSG);
        put_raw(f, &key, value.bytes, value.size);
        assert_int_equal(recovery_record_read(f->store, f->keyring, read, NULL), 0);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(hkdf_has_the_values_of_rfc_5869),
                cmocka_unit_test(agreement_has_the_values_of_rfc_7748),
                cmocka_unit_test(text_reads_back),
                cmocka_unit_test(lower_case_blanks_and_look_alikes_are_read),
                cmocka_unit_test(one_wrong_character_is_told),
                cmocka_unit_test(two_swapped_characters_are_told),
                cmocka_unit_test(what_is_no_key_is_refused),
                cmocka_unit_test(both_sides_come_to_one_key),
                cmocka_unit_test(another_private_key_comes_to_another_key),
                cmocka_unit_test(points_of_small_order_are_refused),
                cmocka_unit_test_setup_teardown(
                                store_keeps_the_public_half, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(
                                changed_public_half_is_refused, fixture_setup, fixture_teardown),
        };

        if (secret_global_init() < 0)
                return 1;
        return cmocka_run_group_tests(tests, NULL, NULL);
}
