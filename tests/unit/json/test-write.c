/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is written reads back as it was, or nothing is written. */

#include "json/reader.h"
#include "json/scan.h"
#include "json/write.h"

#include "support.h"

static void assert_literal(const char *text, const char *literal) {
        _cleanup_(buffer_done) Buffer b = {};

        assert_int_equal(json_write_string(&b, text), 0);
        assert_string_equal((char *)b.bytes, literal);
        assert_int_equal(b.size, strlen(literal));
}

static void test_only_what_must_be_is_escaped(void **state) {
        assert_literal("", "\"\"");
        assert_literal("a/b'c", "\"a/b'c\"");
        assert_literal("\"\\\b\f\n\r\t", "\"\\\"\\\\\\b\\f\\n\\r\\t\"");
        assert_literal("\x01\x1f\x7f", "\"\\u0001\\u001f\x7f\"");
        assert_literal("\xc3\xa4\xf0\x9f\x98\x80", "\"\xc3\xa4\xf0\x9f\x98\x80\"");
}

static void test_every_character_reads_back(void **state) {
        for (unsigned c = 1; c < 256; c++) {
                _cleanup_(buffer_done) Buffer b = {};
                _cleanup_(freep) char *back = NULL;
                char text[4] = { (char)c };

                if (c >= 0x80)
                        (void)memcpy(text, (char[]){ (char)(0xc0 | c >> 6), (char)(0x80 | (c & 0x3f)), 0 },
                                        3);
                assert_int_equal(json_write_string(&b, text), 0);
                assert_int_equal(json_scan((char *)b.bytes, b.size, &json_limits_wire, NULL), 0);
                assert_int_equal(json_read_string((char *)b.bytes, b.size, &back, NULL), 0);
                assert_string_equal(back, text);
        }
}

static void test_bad_utf8_leaves_the_buffer_alone(void **state) {
        static const char *const bad[] = { "\x80", "a\xff", "\xed\xa0\x80", "\xc0\x80", "\xe2\x82",
                "x\xf4\x90\x80\x80" };
        _cleanup_(buffer_done) Buffer b = {};

        assert_int_equal(buffer_append_text(&b, "before"), 0);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert_int_equal(json_write_string(&b, bad[i]), -EILSEQ);
        assert_string_equal((char *)b.bytes, "before");
        assert_int_equal(b.size, 6);
}

static void test_limit_leaves_the_buffer_alone(void **state) {
        _cleanup_(buffer_done) Buffer b = { .limit = 9 };

        assert_int_equal(json_write_string(&b, "1234\n67"), -ENOBUFS);
        assert_int_equal(b.size, 0);
        assert_int_equal(json_write_string(&b, "1234\n6"), 0);
        assert_string_equal((char *)b.bytes, "\"1234\\n6\"");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_only_what_must_be_is_escaped),
                cmocka_unit_test(test_every_character_reads_back),
                cmocka_unit_test(test_bad_utf8_leaves_the_buffer_alone),
                cmocka_unit_test(test_limit_leaves_the_buffer_alone),
        };

        return cmocka_run_group_tests_name("json-write", tests, NULL, NULL);
}
