/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Fuzzes store/record.c: the decoding of what the disk, a backup or somebody else made of a stored value.
 *
 * The first byte of the input chooses the record type and what the rest is: the clear fields, the secret fields, or a
 * whole value. No input may crash; what decodes must be encodable, must then open under its own key and under no other,
 * and must be the same record: the second encoding has the same clear bytes. */

#include "store/record.h"
#include "store/records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct {
        const RecordType *type;
        RecordKind kind;
} types[] = {
        { &vault_type, RECORD_VAULT },
        { &credential_type, RECORD_CREDENTIAL },
        { &flow_type, RECORD_FLOW },
        { &client_type, RECORD_CLIENT },
        { &agent_session_type, RECORD_AGENT_SESSION },
        { &platform_object_type, RECORD_AGENT },
        { &pinned_account_type, RECORD_ACCOUNT },
};

static void require(bool condition) {
        if (!condition)
                abort();
}

/* The bytes behind the clear fields: the trailer's head and content. */
static size_t trailer_size(const RecordType *type, const void *object) {
        size_t size = 5 + 32;

        if (!type->is_sealed)
                return size;
        for (size_t i = 0; i < type->n_fields; i++) {
                const Field *f = &type->fields[i];
                const Secret *s = f->type == FIELD_SECRET
                                                  ? *(Secret *const *)((const uint8_t *)object + f->offset)
                                                  : NULL;

                if (s)
                        size += 5 + s->size;
        }
        return size + SEAL_OVERHEAD;
}

/* object was decoded from its clear fields: it must survive the way through a value. */
static void check_round_trip(const RecordType *type, RecordKind kind, const void *object) {
        static const uint8_t key_bytes[SEAL_KEY_SIZE] = "0123456789abcdef0123456789abcdef";
        _cleanup_(secret_freep) Secret *data_key = NULL;
        _cleanup_(buffer_done) Buffer first = {}, second = {};
        StoreKey key, other;
        void *again = record_new(type), *wrong = record_new(type);

        require(again && wrong && secret_new(key_bytes, sizeof(key_bytes), &data_key) == 0);
        RecordSeal binding = { data_key, 1000, "v-1", NULL }, *with = type->is_sealed ? &binding : NULL;
        require(store_key_init(&key, kind, 1000, "id", 2) == 0 &&
                        store_key_init(&other, kind, 1001, "id", 2) == 0);

        require(record_encode(type, &key, with, object, &first) == 0);
        require(record_decode(type, &key, with, first.bytes, first.size, again) == 0);
        require(record_encode(type, &key, with, again, &second) == 0);
        require(first.size == second.size);
        require(memcmp(first.bytes, second.bytes, first.size - trailer_size(type, object)) == 0);
        require(record_decode(type, &other, with, first.bytes, first.size, wrong) == -EBADMSG);
        (void)record_free(type, again);
        (void)record_free(type, wrong);
}

static void fuzz_value(const RecordType *type, RecordKind kind, const uint8_t *data, size_t size) {
        static const uint8_t key_bytes[SEAL_KEY_SIZE];
        _cleanup_(secret_freep) Secret *data_key = NULL;
        void *object = record_new(type);
        const uint8_t *bytes;
        StoreKey key;
        size_t n;

        require(object && secret_new(key_bytes, sizeof(key_bytes), &data_key) == 0);
        RecordSeal binding = { data_key, 1000, "v-1", NULL };
        require(store_key_init(&key, kind, 1000, "id", 2) == 0);
        for (unsigned tag = 0; tag < 256; tag += 51)
                if (record_peek(data, size, (uint8_t)tag, &bytes, &n) == 0)
                        require(bytes >= data && n <= size && bytes + n <= data + size);
        (void)record_decode(type, &key, type->is_sealed ? &binding : NULL, data, size, object);
        (void)record_free(type, object);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        void *object;

        require(secret_global_init() == 0);
        if (size < 1)
                return 0;
        const RecordType *type = types[data[0] % ELEMENTSOF(types)].type;
        RecordKind kind = types[data[0] % ELEMENTSOF(types)].kind;
        unsigned part = data[0] / ELEMENTSOF(types) % 3;

        if (part == 2) {
                fuzz_value(type, kind, data + 1, size - 1);
                return 0;
        }
        object = record_new(type);
        require(object);
        if (record_decode_fields(type, part == 1, data + 1, size - 1, object) == 0 && part == 0)
                check_round_trip(type, kind, object);
        (void)record_free(type, object);
        return 0;
}
