/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Fuzzes json/: the scan, and everything that trusts it.
 *
 * Properties: no input makes any of them read outside its bytes; what the wire admits, the wider limits admit; what is
 * admitted json-c in strict mode parses too (json-c as oracle), with the same answer from the pull reader and from
 * json-c for a string, an integer and a bool; what json-c writes of it is admitted again and parses to an equal
 * tree. Jansson (oracle-jansson.c) admits what the wider limits admit and refuses what they refuse for the text's own sake,
 * not for a limit's. A violated property aborts. */

#include <stdio.h>

#include "json/object.h"
#include "json/reader.h"
#include "json/write.h"
#include "oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds, const char *property) {
        if (!holds) {
                (void)fprintf(stderr, "violated: %s\n", property);
                abort();
        }
}

static void check_members(const char *text, size_t n, json_object *object) {
        _cleanup_(freep) char *read_text = NULL;
        const char *got_text = NULL;
        int64_t read_int, got_int;
        bool read_bool, got_bool;
        json_object *sub;
        int r, q;

        r = json_read_string(text, n, &read_text, "a", NULL);
        q = json_get_string(object, "a", &got_text);
        check(r == q, "string: same verdict");
        check(r < 0 || streq(read_text, got_text), "string: same value");
        r = json_read_int64(text, n, &read_int, "a", NULL);
        q = json_get_int64(object, "a", &got_int);
        /* json-c cannot tell the ends of the range from what lies beyond, and reads -0 as 0. */
        check(r == q || (r == 0 && read_int == INT64_MIN) || (q == 0 && got_int == 0),
                        "integer: same verdict");
        check(r < 0 || q < 0 || read_int == got_int, "integer: same value");
        r = json_read_bool(text, n, &read_bool, "a", NULL);
        q = json_get_bool(object, "a", &got_bool);
        check(r == q && (r < 0 || read_bool == got_bool), "bool: same verdict and value");

        _cleanup_(freep) char *inner = NULL;
        r = json_read_string(text, n, &inner, "a", "b", NULL);
        q = json_get_object(object, "a", &sub);
        if (q == 0)
                check(r == json_get_string(sub, "b", &got_text) && (r < 0 || streq(inner, got_text)),
                                "inner string: same verdict and value");
        else
                check(r == q, "inner string: same absence");
}

static void check_admitted(const char *text, size_t n, const JsonLimits *limits) {
        _cleanup_(json_putp) json_object *object = NULL, *again = NULL;
        const char *written;

        check(json_parse(text, n, limits, &object) == 0, "json-c parses what the scan admits");
        if (json_object_is_type(object, json_type_object))
                check_members(text, n, object);

        written = json_text(object);
        check(json_parse(written, strlen(written), &json_limits_mcp, &again) == 0,
                        "what is written is admitted");
        check(json_object_equal(object, again), "what is written parses to an equal tree");
}

static void check_unscanned(const char *text, size_t n) {
        _cleanup_(freep) char *string = NULL;
        int64_t i;
        bool b;

        (void)json_read_string(text, n, &string, "a", "b", NULL);
        (void)json_read_int64(text, n, &i, "a", NULL);
        (void)json_read_bool(text, n, &b, NULL);
}

/* The input as a C string, written and read back. */
static void check_written(const char *text, size_t n) {
        _cleanup_(freep) char *string = strndup(text, n), *back = NULL;
        _cleanup_(buffer_done) Buffer b = {};

        if (!string || json_write_string(&b, string) < 0)
                return;
        check(json_scan((char *)b.bytes, b.size, &json_limits_mcp, NULL) == 0,
                        "a written literal is admitted");
        check(json_read_string((char *)b.bytes, b.size, &back, NULL) == 0 && streq(back, string),
                        "a written literal reads back");
}

/* fault: of the wider limits. */
static void check_oracle(const char *text, size_t n, int fault) {
        Verdict verdict = oracle_judge(text, n);

        if (fault == JSON_OK)
                check(verdict != VERDICT_REFUSED, "what is admitted another reader admits");
        else if (fault == JSON_FAULT_SYNTAX || fault == JSON_FAULT_UTF8 || fault == JSON_FAULT_SURROGATE ||
                        fault == JSON_FAULT_DUPLICATE_KEY || fault == JSON_FAULT_TRAILING)
                check(verdict != VERDICT_ADMITTED, "what is refused another reader refuses");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(freep) char *text = malloc(MAX(size, (size_t)1));
        size_t offset = 0;
        int wire, mcp;

        if (!text)
                return 0;
        if (size > 0)
                memcpy(text, data, size);

        wire = json_scan(text, size, &json_limits_wire, &offset);
        check(wire <= 0 || offset <= size, "a fault lies inside the text");
        mcp = json_scan(text, size, &json_limits_mcp, &offset);
        check(mcp <= 0 || offset <= size, "a fault lies inside the text");
        check(wire != 0 || mcp == 0, "the wider limits admit what the wire admits");

        if (wire == 0)
                check_admitted(text, size, &json_limits_wire);
        if (mcp == 0)
                check_admitted(text, size, &json_limits_mcp);
        check_oracle(text, size, mcp);
        check_unscanned(text, size);
        check_written(text, size);
        return 0;
}
