/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/macro.h"

/* The strict scan (design: "The wire"): admits exactly RFC 8259 texts within limits, so that what it admits has one
 * reading for every later parser. No allocation that grows with the input beyond the key set of the open objects; no json-c. */

typedef struct JsonLimits {
        size_t max_size;      /* bytes of the whole text */
        unsigned max_depth;   /* nested objects and arrays */
        unsigned max_members; /* members of one object; duplicates are found by decoded key */
        bool int64_only; /* integers must fit int64_t exactly; fractions and exponents stay allowed as doubles */
        bool allow_nul; /* \u0000 inside strings */
} JsonLimits;

extern const JsonLimits json_limits_wire; /* 1 MiB, 32, 256, int64, no NUL */
extern const JsonLimits json_limits_mcp;  /* 16 MiB, 128, 65536, any number, NUL allowed */

typedef enum JsonFault {
        JSON_OK = 0,
        JSON_FAULT_SYNTAX,
        JSON_FAULT_UTF8,
        JSON_FAULT_SURROGATE,
        JSON_FAULT_DUPLICATE_KEY,
        JSON_FAULT_DEPTH,
        JSON_FAULT_SIZE,
        JSON_FAULT_MEMBERS,
        JSON_FAULT_NUMBER,
        JSON_FAULT_NUL,
        JSON_FAULT_TRAILING,
} JsonFault;

/* Checks the n bytes at text. Returns 0 when admitted, a JsonFault (> 0) with *ret_offset (optional) set to the byte
 * where it was noticed, or -ENOMEM. */
int json_scan(const char *text, size_t n, const JsonLimits *limits, size_t *ret_offset);
const char *json_fault_to_string(int fault);
