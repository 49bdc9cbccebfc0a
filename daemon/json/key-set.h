/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "json/scan.h"

/* The member names of all objects that are open at one point of a scan, found by what they decode to. */

#define JSON_KEY_SET_INLINE 16

typedef struct JsonKey {
        uint64_t hash;  /* of the decoded name */
        uint32_t start; /* of the literal, behind its opening quote */
} JsonKey;

typedef struct JsonKeySet {
        const char *text;
        size_t n;
        uint64_t seed[2];
        JsonKey *keys; /* a stack: the innermost object's names are on top */
        size_t n_keys;
        size_t n_allocated;
        uint32_t *slots; /* open addressing: index into keys plus one, 0 when free; NULL while keys are few */
        size_t n_slots;  /* power of two */
        JsonKey few[JSON_KEY_SET_INLINE];
} JsonKeySet;

/* The hash of a name, computed byte by byte while it is decoded (SipHash-1-3). */
typedef struct JsonKeyHash {
        uint64_t v[4];
        uint64_t word;
        size_t n_bytes;
} JsonKeyHash;

/* text must stay as it is, at most UINT32_MAX bytes, until json_key_set_done(). */
void json_key_set_init(JsonKeySet *set, const char *text, size_t n);
void json_key_set_done(JsonKeySet *set);

void json_key_hash_begin(const JsonKeySet *set, JsonKeyHash *ret);
void json_key_hash_add(JsonKeyHash *h, const char *bytes, size_t n);

/* Adds the checked literal at start to the innermost object, whose names are those from index first on.
 * 0; JSON_FAULT_DUPLICATE_KEY; -ENOMEM. */
int json_key_set_add(JsonKeySet *set, size_t first, JsonKeyHash *hash, size_t start);
/* Forgets all names from index first on: the object has ended. */
void json_key_set_truncate(JsonKeySet *set, size_t first);
