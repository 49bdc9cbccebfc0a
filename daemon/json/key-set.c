/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The names of the open objects, so that a second member of the same name is noticed at once.
 *
 * Names are compared by what they decode to, "a" being "\u0061": json-c, and every later reader, would take the last
 * of the two. Comparing each with each is quadratic, which one request of 16 MiB would turn into minutes; so names
 * are hashed. The hash is keyed with bytes that the sender cannot know, otherwise he picks names that collide and we
 * are quadratic again. The kernel gives every process 16 random bytes at exec (getauxval(3), AT_RANDOM), which costs
 * no system call and cannot fail; the hash value never leaves this file.
 *
 * Invariants: keys is a stack, since a name can be added to the innermost open object only and objects end in reverse
 * order. Names are removed in the exact reverse of the order in which they came, so with linear probing a slot can
 * simply be emptied: whatever had to step over it came later and is gone already. At most half of the slots are used.
 * Memory: 16 bytes a name, and 8 to 16 of slots. Up to 16 names no memory is allocated and no slots are kept. */

#include <sys/auxv.h>

#include "json/key-set.h"
#include "json/text.h"

static uint64_t rotate(uint64_t x, unsigned n) {
        return x << n | x >> (64 - n);
}

/* One SipRound (Aumasson, Bernstein: "SipHash: a fast short-input PRF", section 2). */
static void hash_round(uint64_t v[static 4]) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] = rotate(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] = rotate(v[2], 32);
}

static void hash_word(JsonKeyHash *h, uint64_t word) {
        h->v[3] ^= word;
        hash_round(h->v);
        h->v[0] ^= word;
}

void json_key_hash_begin(const JsonKeySet *set, JsonKeyHash *ret) {
        *ret = (JsonKeyHash){
                        .v =
                                        {
                                                        set->seed[0] ^ UINT64_C(0x736f6d6570736575),
                                                        set->seed[1] ^ UINT64_C(0x646f72616e646f6d),
                                                        set->seed[0] ^ UINT64_C(0x6c7967656e657261),
                                                        set->seed[1] ^ UINT64_C(0x7465646279746573),
                                        },
        };
}

void json_key_hash_add(JsonKeyHash *h, const char *bytes, size_t n) {
        for (size_t i = 0; i < n; i++) {
                h->word |= (uint64_t)(unsigned char)bytes[i] << (8 * (h->n_bytes % 8));
                if (++h->n_bytes % 8 == 0) {
                        hash_word(h, h->word);
                        h->word = 0;
                }
        }
}

static uint64_t hash_end(JsonKeyHash *h) {
        hash_word(h, h->word | (uint64_t)h->n_bytes << 56);
        h->v[2] ^= 0xff;
        for (unsigned i = 0; i < 3; i++)
                hash_round(h->v);
        return h->v[0] ^ h->v[1] ^ h->v[2] ^ h->v[3];
}

void json_key_set_init(JsonKeySet *set, const char *text, size_t n) {
        const void *random = (const void *)(uintptr_t)getauxval(AT_RANDOM);

        set->text = text;
        set->n = n;
        set->n_keys = set->n_slots = 0;
        set->slots = NULL;
        set->keys = set->few;
        set->n_allocated = ELEMENTSOF(set->few);
        set->seed[0] = set->seed[1] = 0;
        if (random)
                memcpy(set->seed, random, sizeof(set->seed));
}

void json_key_set_done(JsonKeySet *set) {
        if (set->keys != set->few)
                free(set->keys);
        free(set->slots);
        set->keys = NULL;
        set->slots = NULL;
}

/* Whether the two checked literals decode to the same name. */
static bool key_equal(const JsonKeySet *set, size_t a, size_t b) {
        for (;;) {
                char x[4], y[4];
                size_t n_x, n_y;

                if (json_text_next(set->text, set->n, &a, x, &n_x) != 0 ||
                                json_text_next(set->text, set->n, &b, y, &n_y) != 0)
                        return false;
                if (n_x != n_y || memcmp(x, y, n_x) != 0)
                        return false;
                if (n_x == 0)
                        return true;
        }
}

static void slot_take(JsonKeySet *set, size_t index) {
        size_t i = set->keys[index].hash & (set->n_slots - 1);

        while (set->slots[i] != 0)
                i = (i + 1) & (set->n_slots - 1);
        set->slots[i] = (uint32_t)(index + 1);
}

static void slot_release(JsonKeySet *set, size_t index) {
        size_t i = set->keys[index].hash & (set->n_slots - 1);

        while (set->slots[i] != index + 1)
                i = (i + 1) & (set->n_slots - 1);
        set->slots[i] = 0;
}

/* Makes room for one more name. */
static int key_set_grow(JsonKeySet *set) {
        size_t n = set->n_allocated * 2;
        JsonKey *keys;
        uint32_t *slots;

        if (set->n_keys < set->n_allocated)
                return 0;
        slots = calloc(n * 2, sizeof(uint32_t));
        keys = reallocarray(set->keys == set->few ? NULL : set->keys, n, sizeof(JsonKey));
        if (!keys || !slots) {
                free(slots);
                if (keys && set->keys == set->few)
                        free(keys);
                else if (keys)
                        set->keys = keys;
                return -ENOMEM;
        }
        if (set->keys == set->few)
                memcpy(keys, set->few, sizeof(set->few));
        free(set->slots);
        set->keys = keys;
        set->n_allocated = n;
        set->slots = slots;
        set->n_slots = n * 2;
        for (size_t i = 0; i < set->n_keys; i++)
                slot_take(set, i);
        return 0;
}

static bool key_set_has(const JsonKeySet *set, size_t first, uint64_t hash, size_t start) {
        if (!set->slots) {
                for (size_t i = first; i < set->n_keys; i++)
                        if (set->keys[i].hash == hash && key_equal(set, set->keys[i].start, start))
                                return true;
                return false;
        }
        for (size_t i = hash & (set->n_slots - 1); set->slots[i] != 0; i = (i + 1) & (set->n_slots - 1)) {
                size_t index = set->slots[i] - 1;

                if (index >= first && set->keys[index].hash == hash &&
                                key_equal(set, set->keys[index].start, start))
                        return true;
        }
        return false;
}

int json_key_set_add(JsonKeySet *set, size_t first, JsonKeyHash *hash, size_t start) {
        /* Objects inside each other often repeat their names: first, which no two open objects with names share,
         * spreads them. */
        uint64_t h = hash_end(hash) ^ (uint64_t)first * UINT64_C(0x9e3779b97f4a7c15);
        int r;

        if (key_set_has(set, first, h, start))
                return JSON_FAULT_DUPLICATE_KEY;
        r = key_set_grow(set);
        if (r < 0)
                return r;
        set->keys[set->n_keys++] = (JsonKey){ .hash = h, .start = (uint32_t)start };
        if (set->slots)
                slot_take(set, set->n_keys - 1);
        return 0;
}

void json_key_set_truncate(JsonKeySet *set, size_t first) {
        while (set->n_keys > first) {
                set->n_keys--;
                if (set->slots)
                        slot_release(set, set->n_keys);
        }
}
