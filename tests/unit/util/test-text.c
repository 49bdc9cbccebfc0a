/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Buffers, encodings, times, and the filter between foreign text and a person's terminal. */

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "util/buffer.h"
#include "util/clock.h"
#include "util/encode.h"
#include "util/failure.h"

static void buffer_beyond_its_limit_stays_as_it_was(void **state) {
        Buffer b = { .limit = 10 };

        assert_int_equal(buffer_append_text(&b, "12345"), 0);
        assert_int_equal(buffer_append_text(&b, "678901"), -ENOBUFS);
        assert_int_equal(buffer_printf(&b, "%s", "678901"), -ENOBUFS);
        assert_int_equal(buffer_reserve(&b, SIZE_MAX), -ENOBUFS);
        assert_int_equal(b.size, 5);
        assert_string_equal((char *)b.bytes, "12345");
        assert_int_equal(buffer_append_text(&b, "67890"), 0);
        assert_int_equal(buffer_append_text(&b, "x"), -ENOBUFS);
        assert_int_equal(buffer_append(&b, NULL, 0), 0);
        assert_string_equal((char *)b.bytes, "1234567890");
        buffer_done(&b);
        assert_true(!b.bytes && b.size == 0 && b.limit == 10);

        Buffer unlimited = {};
        assert_int_equal(buffer_append_text(&unlimited, "x"), 0);
        assert_int_equal(buffer_reserve(&unlimited, SIZE_MAX), -ENOBUFS);
        assert_int_equal(buffer_reserve(&unlimited, SIZE_MAX - 1), -ENOBUFS);
        buffer_done(&unlimited);
}

static void buffer_keeps_what_was_added_in_order(void **state) {
        Buffer b = {};

        for (unsigned i = 0; i < 5000; i++)
                assert_int_equal(buffer_printf(&b, "%04u", i), 0);
        assert_int_equal(b.size, 20000);
        buffer_consume(&b, 4 * 1234);
        assert_memory_equal(b.bytes, "12341235", 8);
        assert_int_equal(b.bytes[b.size], 0);
        buffer_consume(&b, SIZE_MAX);
        assert_int_equal(b.size, 0);
        assert_int_equal(b.bytes[0], 0);
        buffer_done(&b);
}

static void hex_goes_there_and_back(void **state) {
        static const char *const bad[] = { "", "0", "0001020", "000102030", "0001020g", "00 10203",
                "0x010203", "\xff\xff\xff\xff\xff\xff\xff\xff" };
        uint8_t bytes[256], back[256];
        _cleanup_(freep) char *text = NULL;

        for (size_t i = 0; i < sizeof(bytes); i++)
                bytes[i] = (uint8_t)i;
        text = hex_encode(bytes, sizeof(bytes));
        assert_int_equal(strlen(text), 512);
        assert_int_equal(hex_decode(text, back, sizeof(back)), 0);
        assert_memory_equal(bytes, back, sizeof(bytes));
        assert_int_equal(hex_decode("DEADbeef", back, 4), 0);
        assert_memory_equal(back, "\xde\xad\xbe\xef", 4);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert_int_equal(hex_decode(bad[i], back, 4), -EBADMSG);
}

static void base64_is_that_of_the_rfc(void **state) {
        static const struct {
                const char *bytes, *standard, *url;
        } rows[] = {
                /* RFC 4648 section 10, and the characters in which the alphabets differ */
                { "", "", "" },
                { "f", "Zg==", "Zg" },
                { "fo", "Zm8=", "Zm8" },
                { "foo", "Zm9v", "Zm9v" },
                { "foob", "Zm9vYg==", "Zm9vYg" },
                { "fooba", "Zm9vYmE=", "Zm9vYmE" },
                { "foobar", "Zm9vYmFy", "Zm9vYmFy" },
                { "\xfb\xff\xbf", "+/+/", "-_-_" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(freep) char *standard = base64_encode(rows[i].bytes, strlen(rows[i].bytes));
                _cleanup_(freep) char *url = base64url_encode(rows[i].bytes, strlen(rows[i].bytes));

                assert_string_equal(standard, rows[i].standard);
                assert_string_equal(url, rows[i].url);
        }
}

static void percent_goes_there_and_back(void **state) {
        char every[256];
        char *back = NULL;

        for (int i = 0; i < 255; i++)
                every[i] = (char)(i + 1);
        every[255] = 0;
        _cleanup_(freep) char *encoded = percent_encode(every);
        assert_int_equal(strspn(encoded, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
                                         "%"),
                        strlen(encoded));
        assert_int_equal(percent_decode(encoded, strlen(encoded), false, &back), 0);
        assert_string_equal(back, every);
        free(TAKE_PTR(back));
        assert_int_equal(percent_decode(encoded, strlen(encoded), true, &back), 0);
        assert_string_equal(back, every);
        free(TAKE_PTR(back));

        assert_int_equal(percent_decode("a+b%2B", 6, true, &back), 0);
        assert_string_equal(back, "a b+");
        free(TAKE_PTR(back));
        assert_int_equal(percent_decode("a+b", 3, false, &back), 0);
        assert_string_equal(back, "a+b");
        free(back);
}

static void bad_percent_escapes_are_refused(void **state) {
        static const char *const bad[] = { "%", "%4", "a%4", "%zz", "%4g", "%g4", "%00", "a%00b", "%%41",
                "%-1", "% 1", "%u0041" };
        char *back = NULL;

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                assert_int_equal(percent_decode(bad[i], strlen(bad[i]), true, &back), -EBADMSG);
                assert_null(back);
        }
        assert_int_equal(percent_decode("a\0b", 3, false, &back), -EBADMSG);
        assert_int_equal(percent_decode("%41", 2, false, &back),
                        -EBADMSG); /* the escape is cut by the size */
}

static void codes_are_of_the_alphabet_and_differ(void **state) {
        unsigned seen[256] = {};
        char text[65], other[65];

        for (unsigned round = 0; round < 200; round++) {
                base32_random(text, 64);
                assert_int_equal(strlen(text), 64);
                for (const char *c = text; *c; c++)
                        seen[(uint8_t)*c]++;
        }
        for (unsigned c = 0; c < 256; c++)
                assert_int_equal(c && strchr("0123456789ABCDEFGHJKMNPQRSTVWXYZ", (int)c) != NULL,
                                seen[c] > 0);
        base32_random(other, 64);
        assert_string_not_equal(text, other);
}

static void printable_is_safe_on_a_terminal(void **state) {
        static const struct {
                const char *text;
                size_t max;
                const char *shown;
        } rows[] = {
                { "plain text, ünïcödé ✓ 漢 😀", 100, "plain text, ünïcödé ✓ 漢 😀" },
                { "\x1b[31mred\x1b]0;title\x07", 100, "?[31mred?]0;title?" },
                { "a\nb\rc\td\be\x7f", 100, "a?b?c?d?e?" },
                { "\xc2\x9b"
                  "31m",
                                100, "?31m" }, /* CSI of C1, in UTF-8 */
                { "\x9b"
                  "31m",
                                100, "?31m" }, /* and raw */
                { "abc\xe2\x80\xae"
                  "fed",
                                100, "abc?fed" },            /* right-to-left override */
                { "\xe2\x81\xa6x\xe2\x81\xa9", 100, "?x?" }, /* isolates */
                { "a\xe2\x80\x8b"
                  "b\xef\xbb\xbf"
                  "c\xc2\xad",
                                100, "a?b?c?" },        /* zero width, byte order mark, soft hyphen */
                { "\xf3\xa0\x81\x81tag", 100, "?tag" }, /* a tag character */
                { "\xe2\x80\xa8line", 100, "?line" },   /* line separator */
                { "\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80\xff", 100,
                                "??????????" }, /* overlong, surrogate, too large, no start */
                { "cut\xe2\x82", 100, "cut??" },
                { "", 5, "" },
                { "abc", 0, "" },
                { "abcdef", 3, "abc" },
                { "ab\xc3\xa9", 3, "ab" },
                { "ab\xc3\xa9", 4, "ab\xc3\xa9" }, /* never half a character */
                { "<6>forged", 100, "<6>forged" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(freep) char *shown = printable(rows[i].text, rows[i].max);

                assert_string_equal(shown, rows[i].shown);
                assert_true(utf8_is_valid(shown, strlen(shown)));
                assert_true(strlen(shown) <= rows[i].max);
        }
}

static void times_are_read_as_rfc3339_says(void **state) {
        static const struct {
                const char *text;
                uint64_t usec;
        } rows[] = {
                { "1970-01-01T00:00:00Z", 0 },
                { "2026-11-21T10:00:00Z", UINT64_C(1795255200000000) },
                { "2026-11-21t10:00:00z", UINT64_C(1795255200000000) },
                { "2026-11-21 10:00:00Z", UINT64_C(1795255200000000) },
                { "2026-11-21T10:00:00.5Z", UINT64_C(1795255200500000) },
                { "2026-11-21T10:00:00.123456789Z", UINT64_C(1795255200123456) },
                { "2026-11-21T12:30:00+02:30", UINT64_C(1795255200000000) },
                { "2026-11-21T09:59:00-00:01", UINT64_C(1795255200000000) },
                { "2024-02-29T00:00:00Z", UINT64_C(1709164800000000) },
                { "9999-12-31T23:59:59Z", UINT64_C(253402300799000000) },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                uint64_t usec = 1;

                if (parse_rfc3339(rows[i].text, &usec) != 0 || usec != rows[i].usec)
                        fail_msg("%s: %" PRIu64, rows[i].text, usec);
        }
}

static void what_is_no_time_is_refused(void **state) {
        static const char *const bad[] = {
                "",
                "now",
                "2026",
                "2026-11-21",
                "2026-11-21T10:00:00",
                "2026-11-21T10:00Z",
                "2026-11-21T10:00:00Zx",
                "2026-11-21T10:00:00 Z",
                "2026-13-21T10:00:00Z",
                "2026-00-21T10:00:00Z",
                "2026-11-00T10:00:00Z",
                "2026-11-32T10:00:00Z",
                "2026-02-30T10:00:00Z",
                "2025-02-29T10:00:00Z",
                "2026-11-21T24:00:00Z",
                "2026-11-21T10:60:00Z",
                "2026-11-21T10:00:61Z",
                "2026-11-21T10:00:00.Z",
                "2026-11-21T10:00:00,5Z",
                "2026-11-21T10:00:00+2:00",
                "2026-11-21T10:00:00+02",
                "2026-11-21T10:00:00+0200",
                "2026-11-21T10:00:00+24:00",
                "2026-11-21T10:00:00+02:60",
                "2026-11-21T10:00:00+-2:00",
                "2026-11-21T10:00:00++2:00",
                "2026-11-21T10:00:00+02:00x",
                "-026-11-21T10:00:00Z",
                "+026-11-21T10:00:00Z",
                "2026- 1-21T10:00:00Z",
                "2026-11-21T-1:00:00Z",
                "2026-11-21T10:00: 1Z",
                "1969-12-31T23:59:59Z",
                "1970-01-01T00:00:00+00:01",
                " 2026-11-21T10:00:00Z",
                "2026-11-21T10:00:00.0000000000000000000000000000000000000000000000000000000Z",
        };

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                uint64_t usec = 77;

                if (parse_rfc3339(bad[i], &usec) != -EBADMSG)
                        fail_msg("taken for a time: %s", bad[i]);
                assert_int_equal(usec, 77);
        }
}

static void times_go_there_and_back(void **state) {
        static const uint64_t seconds[] = { 0, 951782400, 1709164799, 1709164800, 4102444800, 253402300799 };

        for (size_t i = 0; i < ELEMENTSOF(seconds); i++) {
                uint64_t back = 1;
                char text[21];

                format_rfc3339(seconds[i] * USEC_PER_SEC, text);
                assert_int_equal(parse_rfc3339(text, &back), 0);
                assert_true(back == seconds[i] * USEC_PER_SEC);
        }
}

static void failure_is_replaced_whole(void **state) {
        Failure f = {};

        assert_int_equal(failure_set(&f, FAILURE_UPSTREAM, "Run: this", "first %d", 1), FAILED);
        f.service = strdup("notion");
        assert_int_equal(failure_set(&f, FAILURE_LIMIT, NULL, "second"), FAILED);
        assert_int_equal(f.kind, FAILURE_LIMIT);
        assert_string_equal(f.message, "second");
        assert_true(!f.hint && !f.service);
        failure_done(&f);
        assert_int_equal(f.kind, FAILURE_NONE);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(buffer_beyond_its_limit_stays_as_it_was),
                cmocka_unit_test(buffer_keeps_what_was_added_in_order),
                cmocka_unit_test(hex_goes_there_and_back),
                cmocka_unit_test(base64_is_that_of_the_rfc),
                cmocka_unit_test(percent_goes_there_and_back),
                cmocka_unit_test(bad_percent_escapes_are_refused),
                cmocka_unit_test(codes_are_of_the_alphabet_and_differ),
                cmocka_unit_test(printable_is_safe_on_a_terminal),
                cmocka_unit_test(times_are_read_as_rfc3339_says),
                cmocka_unit_test(what_is_no_time_is_refused),
                cmocka_unit_test(times_go_there_and_back),
                cmocka_unit_test(failure_is_replaced_whole),
        };

        return cmocka_run_group_tests_name("util-text", tests, NULL, NULL);
}
