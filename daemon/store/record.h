/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "store/keyring.h"
#include "store/store.h"

/* How typed records become bytes: a table per type says which member has which tag, the rest is the same for all.
 *
 *     format version u8 | clear fields | trailer
 *     field   = tag u8 | size u32 LE | bytes
 *     trailer = tag RECORD_TAG_DIGEST | 32       | SHA-256(key ‖ everything before the trailer), or
 *               tag RECORD_TAG_SEALED | size     | seal(the same digest ‖ sealed fields)
 *
 * Nothing may follow the trailer. So one changed byte anywhere makes a record -EBADMSG; in a sealed one also a change made on
 * purpose, clear fields included (the upstream address of a credential is clear, and binding). Unknown tags are passed over: a
 * newer writer may add fields. */

#define RECORD_FORMAT_VERSION 1U
#define RECORD_TAG_WRAPPED    1U /* a data key wrapped by the keyring; clear; read with record_peek() */
#define RECORD_TAG_DIGEST     0xFEU
#define RECORD_TAG_SEALED     0xFFU

typedef enum FieldType {
        FIELD_TEXT,   /* char *, absent when NULL, no NUL inside */
        FIELD_TEXTS,  /* char **, NULL-ended, absent when NULL: {size u32 LE, bytes}… */
        FIELD_NUMBER, /* 1, 4 or 8 bytes of member, u64 LE stored, at most max */
        FIELD_BYTES,  /* an array of exactly size bytes */
        FIELD_SECRET, /* Secret *, absent when NULL; the only type that is sealed */
} FieldType;

typedef struct Field {
        uint8_t tag; /* 2 … 0xFD, never given to something else once used */
        FieldType type;
        bool is_required; /* absent is -EBADMSG when read, -EINVAL when written */
        size_t offset, size;
        uint64_t max;
} Field;

typedef struct RecordType {
        size_t size;          /* of the struct */
        size_t stored_offset; /* of its Buffer "stored" */
        bool is_sealed;
        const Field *fields; /* at most 64 */
        size_t n_fields;
} RecordType;

#define RECORD_TYPE(struct_type, table, sealed)                                                             \
        {                                                                                                   \
                .size = sizeof(struct_type), .stored_offset = offsetof(struct_type, stored),                \
                .is_sealed = (sealed), .fields = (table), .n_fields = ELEMENTSOF(table),                    \
        }
#define FIELD_OF(field_tag, field_type, struct_type, member, ...)                                           \
        {                                                                                                   \
                .tag = (field_tag), .type = (field_type), .offset = offsetof(struct_type, member),          \
                .size = sizeof(((struct_type *)NULL)->member), __VA_ARGS__                                  \
        }

extern const RecordType vault_type, credential_type, flow_type, client_type, agent_session_type,
                platform_object_type, pinned_account_type;

/* The key and binding of a sealed record. */
typedef struct RecordSeal {
        const Secret *key;
        uid_t uid;
        const char *vault_id;
        const Buffer *wrapped; /* optional: goes into the record as RECORD_TAG_WRAPPED */
        SealSlot slot;         /* for opening: SEAL_VAULT when vault_free() will be told of the key */
} RecordSeal;

/* An empty object of the type, and its destructor (fields, stored, the struct itself). */
void *record_new(const RecordType *type);
void *record_free(const RecordType *type, void *object);

/* Appends the whole value. seal: for sealed types only, else NULL. -EINVAL for a missing required field or a number that is out
 * of range. */
int record_encode(const RecordType *type, const StoreKey *key, const RecordSeal *seal, const void *object,
                Buffer *ret);

/* Reading has two steps because the key of a sealed record may be found only through its clear fields. The first is pure; what
 * it yields must not be used before the second has returned 0, which also keeps a copy of the value as `stored`.
 * Both: -EBADMSG, -ENOMEM; object is to be freed either way. */
int record_decode_clear(const RecordType *type, const uint8_t *value, size_t size, void *object);
int record_decode_trailer(const RecordType *type, const StoreKey *key, const RecordSeal *seal,
                const uint8_t *value, size_t size, void *object);
/* The second step with a value of one's own, which becomes `stored` instead of a copy; taken when 0 is returned. */
int record_decode_trailer_taking(const RecordType *type, const StoreKey *key, const RecordSeal *seal,
                Buffer *value, void *object);
/* Both steps, for a record that is not sealed or whose seal is known. */
int record_decode(const RecordType *type, const StoreKey *key, const RecordSeal *seal, const uint8_t *value,
                size_t size, void *object);

/* What every value begins with that carries this wrapped key. */
int record_encode_prefix(const Buffer *wrapped, Buffer *ret);
/* The same record under another key: clear fields are kept byte for byte (the wrapped key is replaced, or dropped), as are fields that
 * we do not know. value must open under `from`. -EBADMSG as record_decode(), -ENOMEM. */
int record_reseal(const StoreKey *key, const RecordSeal *from, const RecordSeal *to, const uint8_t *value,
                size_t size, Buffer *ret);
/* Whether a value has a sealed trailer; -EBADMSG. */
int record_is_sealed(const uint8_t *value, size_t size);

/* Finds a clear field without decoding the rest; borrowed from value. -ENODATA, -EBADMSG. Unverified. */
int record_peek(const uint8_t *value, size_t size, uint8_t tag, const uint8_t **ret_bytes, size_t *ret_size);

/* Parses the fields of one section, the secret ones or the others; pure. For record.c and the fuzzer. */
int record_decode_fields(
                const RecordType *type, bool is_secret, const uint8_t *bytes, size_t size, void *object);

/* Adds the put with its expectation (see records.h), and the delete with the same. */
int record_put(StoreBatch *b, const RecordType *type, const StoreKey *key, const RecordSeal *seal,
                const void *object);
int record_delete(StoreBatch *b, const RecordType *type, const StoreKey *key, const void *object);
/* Reads a record that is not sealed or whose seal is known. */
int record_read(Store *s, const RecordType *type, const StoreKey *key, const RecordSeal *seal, void **ret);

/* The kinds whose key is found through themselves, from the value under key. -EBADMSG, -ENOMEM, -EIO; a flow that is of another uid than
 * that (unless UID_INVALID) is -ENOENT. */
struct Vault;
struct Flow;
struct Client;
int vault_decode(Keyring *k, const StoreKey *key, const uint8_t *value, size_t size, struct Vault **ret);
int flow_decode(Store *s, Keyring *k, uid_t uid, const StoreKey *key, const uint8_t *value, size_t size,
                struct Flow **ret);
int client_decode(Keyring *k, const StoreKey *key, const uint8_t *value, size_t size, struct Client *ret);

/* A growing list of objects for the x_list() functions. */
typedef struct RecordList {
        void **objects;
        size_t n, allocated;
} RecordList;
int record_list_add(RecordList *list, void *object);
void record_list_free(const RecordType *type, void **objects, size_t n);

/* The key "service/label" of credentials and pinned accounts. -EINVAL: empty, or a slash in service. */
int service_key_init(StoreKey *ret, RecordKind kind, uid_t uid, const char *service, const char *label);

/* The members of an Authority inside struct_type; tags base … base + 9. */
#define AUTHORITY_FIELDS(base, struct_type, member)                                                         \
        FIELD_OF((base) + 0, FIELD_TEXT, struct_type, member.issuer),                                       \
                        FIELD_OF((base) + 1, FIELD_TEXT, struct_type, member.authorization_endpoint),       \
                        FIELD_OF((base) + 2, FIELD_TEXT, struct_type, member.token_endpoint),               \
                        FIELD_OF((base) + 3, FIELD_TEXT, struct_type, member.revocation_endpoint),          \
                        FIELD_OF((base) + 4, FIELD_TEXT, struct_type, member.userinfo_endpoint),            \
                        FIELD_OF((base) + 5, FIELD_TEXT, struct_type, member.client_id),                    \
                        FIELD_OF((base) + 6, FIELD_TEXT, struct_type, member.client_auth_method),           \
                        FIELD_OF((base) + 7, FIELD_NUMBER, struct_type, member.iss_supported, .max = 1),    \
                        FIELD_OF((base) + 8, FIELD_TEXT, struct_type, member.revocation),                   \
                        FIELD_OF((base) + 9, FIELD_TEXT, struct_type, member.revoked_answers)
