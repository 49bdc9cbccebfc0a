/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Records as bytes, driven by the table of their type (record.h has the format).
 *
 * A stored value is foreign bytes: the disk, a restored backup or somebody with root's friends may have changed it. So the
 * decoder takes nothing for granted (sizes, repeated tags, NUL in text, numbers beyond their type) and answers -EBADMSG; it
 * never asserts on a value. record_decode_fields() is pure and is what the fuzzer drives.
 *
 * Secret fields are in secure memory at all times: they are laid out there, sealed from there, and opened into it.
 *
 * Who may call: the record files. */

#include <assert.h>

#include <gcrypt.h>

#include "store/record.h"

#define FIELD_HEAD_SIZE 5U
#define DIGEST_SIZE     32U

static const uint8_t *member_of(const Field *f, const void *object) {
        return (const uint8_t *)object + f->offset;
}

static Buffer *stored_of(const RecordType *type, const void *object) {
        return (Buffer *)((uint8_t *)object + type->stored_offset);
}

static uint32_t read_u32(const uint8_t *p) {
        return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void write_u32(uint8_t *p, uint32_t n) {
        for (unsigned i = 0; i < 4; i++)
                p[i] = (uint8_t)(n >> (8 * i));
}

static int append_u32(Buffer *b, size_t n) {
        uint8_t bytes[4];

        if (n > UINT32_MAX)
                return -E2BIG;
        write_u32(bytes, (uint32_t)n);
        return buffer_append(b, bytes, sizeof(bytes));
}

static int append_field(Buffer *b, uint8_t tag, const void *bytes, size_t size) {
        int r;

        r = buffer_append(b, &tag, 1);
        if (r >= 0)
                r = append_u32(b, size);
        if (r >= 0)
                r = buffer_append(b, bytes, size);
        return r;
}

/* Takes the next field off *p. */
static int take_field(const uint8_t **p, const uint8_t *end, uint8_t *ret_tag, const uint8_t **ret_bytes,
                size_t *ret_size) {
        size_t left = (size_t)(end - *p), size;

        if (left < FIELD_HEAD_SIZE)
                return -EBADMSG;
        size = read_u32(*p + 1);
        if (size > left - FIELD_HEAD_SIZE)
                return -EBADMSG;
        *ret_tag = **p;
        *ret_bytes = *p + FIELD_HEAD_SIZE;
        *ret_size = size;
        *p += FIELD_HEAD_SIZE + size;
        return 0;
}

static uint64_t number_get(const Field *f, const void *object) {
        const uint8_t *p = member_of(f, object);
        uint32_t n32;
        uint64_t n64;

        switch (f->size) {
        case 1:
                return *p;
        case 4:
                memcpy(&n32, p, sizeof(n32));
                return n32;
        default:
                memcpy(&n64, p, sizeof(n64));
                return n64;
        }
}

static int number_decode(const Field *f, const uint8_t *bytes, size_t size, uint8_t *member) {
        uint64_t n;

        if (size != 8)
                return -EBADMSG;
        n = (uint64_t)read_u32(bytes) | (uint64_t)read_u32(bytes + 4) << 32;
        if (n > f->max)
                return -EBADMSG;
        switch (f->size) {
        case 1:
                *member = (uint8_t)n;
                break;
        case 4:
                memcpy(member, &(uint32_t){ (uint32_t)n }, 4);
                break;
        default:
                memcpy(member, &n, 8);
        }
        return 0;
}

static int text_decode(const uint8_t *bytes, size_t size, char **ret) {
        char *text;

        if (size > 0 && memchr(bytes, 0, size))
                return -EBADMSG;
        text = malloc(size + 1);
        if (!text)
                return -ENOMEM;
        if (size > 0)
                memcpy(text, bytes, size);
        text[size] = 0;
        *ret = text;
        return 0;
}

static void texts_free(char **texts) {
        for (char **t = texts; t && *t; t++)
                free(*t);
        free(texts);
}

static int texts_decode(const uint8_t *bytes, size_t size, char ***ret) {
        const uint8_t *end = bytes + size;
        size_t n = 0;
        char **texts;
        int r;

        for (const uint8_t *p = bytes; p < end; n++) {
                if (end - p < 4 || read_u32(p) > (size_t)(end - p) - 4)
                        return -EBADMSG;
                p += 4 + read_u32(p);
        }
        texts = calloc(n + 1, sizeof(char *));
        if (!texts)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                r = text_decode(bytes + 4, read_u32(bytes), &texts[i]);
                if (r < 0) {
                        texts_free(texts);
                        return r;
                }
                bytes += 4 + read_u32(bytes);
        }
        *ret = texts;
        return 0;
}

static int texts_encode(char *const *texts, Buffer *ret) {
        int r = 0;

        for (; *texts && r >= 0; texts++) {
                r = append_u32(ret, strlen(*texts));
                if (r >= 0)
                        r = buffer_append_text(ret, *texts);
        }
        return r;
}

static int field_decode(const Field *f, const uint8_t *bytes, size_t size, void *object) {
        uint8_t *member = (uint8_t *)object + f->offset;

        switch (f->type) {
        case FIELD_TEXT:
                return text_decode(bytes, size, (char **)member);
        case FIELD_TEXTS:
                return texts_decode(bytes, size, (char ***)member);
        case FIELD_NUMBER:
                return number_decode(f, bytes, size, member);
        case FIELD_BYTES:
                if (size != f->size)
                        return -EBADMSG;
                memcpy(member, bytes, size);
                return 0;
        case FIELD_SECRET:
                return secret_new(bytes, size, (Secret **)member);
        }
        return -EINVAL;
}

int record_decode_fields(
                const RecordType *type, bool is_secret, const uint8_t *bytes, size_t size, void *object) {
        const uint8_t *p = bytes, *end = bytes + size;
        uint64_t seen = 0;
        size_t next = 0;
        int r;

        assert(type->n_fields <= 64);
        while (p < end) {
                const uint8_t *field_bytes;
                size_t field_size;
                uint8_t tag;

                r = take_field(&p, end, &tag, &field_bytes, &field_size);
                if (r < 0)
                        return r;
                /* We write them in the order of the table, so the field is mostly one of the next; a tag stands there once. */
                for (size_t n = 0, i = next; n < type->n_fields; n++, i++) {
                        i = i >= type->n_fields ? 0 : i;
                        const Field *f = &type->fields[i];

                        if (f->tag != tag || (f->type == FIELD_SECRET) != is_secret)
                                continue;
                        if (seen & UINT64_C(1) << i)
                                return -EBADMSG;
                        seen |= UINT64_C(1) << i;
                        r = field_decode(f, field_bytes, field_size, object);
                        if (r < 0)
                                return r;
                        next = i + 1;
                        break;
                }
        }
        for (size_t i = 0; i < type->n_fields; i++) {
                const Field *f = &type->fields[i];

                if (f->is_required && (f->type == FIELD_SECRET) == is_secret && !(seen & UINT64_C(1) << i))
                        return -EBADMSG;
        }
        return 0;
}

/* Appends a field that is not secret. */
static int field_encode(const Field *f, const void *object, Buffer *ret) {
        _cleanup_(buffer_done) Buffer texts = {};
        const void *pointer;
        uint8_t number[8];
        uint64_t n;
        int r;

        if (f->type == FIELD_BYTES)
                return append_field(ret, f->tag, member_of(f, object), f->size);
        if (f->type == FIELD_NUMBER) {
                n = number_get(f, object);
                if (n > f->max)
                        return -EINVAL;
                write_u32(number, (uint32_t)n);
                write_u32(number + 4, (uint32_t)(n >> 32));
                return append_field(ret, f->tag, number, sizeof(number));
        }
        memcpy(&pointer, member_of(f, object), sizeof(pointer));
        if (!pointer)
                return f->is_required ? -EINVAL : 0;
        if (f->type == FIELD_TEXT)
                return append_field(ret, f->tag, pointer, strlen(pointer));
        r = texts_encode((char *const *)pointer, &texts);
        return r < 0 ? r : append_field(ret, f->tag, texts.bytes, texts.size);
}

/* SHA-256 of where the record belongs and what it says. */
static int record_digest(
                const StoreKey *key, const uint8_t *bytes, size_t size, uint8_t ret[static DIGEST_SIZE]) {
        uint8_t head[9] = { (uint8_t)key->kind };
        const gcry_buffer_t parts[] = { { .data = head, .len = sizeof(head) },
                { .data = (void *)key->id, .len = key->id_size }, { .data = (void *)bytes, .len = size } };

        write_u32(head + 1, key->uid);
        write_u32(head + 5, (uint32_t)key->id_size);
        return gcry_md_hash_buffers(GCRY_MD_SHA256, 0, ret, parts, ELEMENTSOF(parts)) ? -ENOMEM : 0;
}

static void secure_freep(uint8_t **p) {
        gcry_free(*p); /* erases secure memory */
}

/* Lays out digest and secret fields, and appends them sealed. */
static int append_sealed(const RecordType *type, const StoreKey *key, const RecordSeal *with,
                const uint8_t *digest, const void *object, Buffer *ret) {
        _cleanup_(secure_freep) uint8_t *plain = NULL;
        _cleanup_(buffer_done) Buffer sealed = {};
        SealContext context = { key->kind, with->uid, with->vault_id, key->id, key->id_size };
        size_t size = DIGEST_SIZE;
        uint8_t *p;
        int r;

        for (size_t i = 0; i < type->n_fields; i++) {
                const Field *f = &type->fields[i];
                const Secret *s = f->type == FIELD_SECRET ? *(Secret *const *)member_of(f, object) : NULL;

                if (f->type == FIELD_SECRET && !s && f->is_required)
                        return -EINVAL;
                if (s && (s->size > UINT32_MAX ||
                                         __builtin_add_overflow(size, FIELD_HEAD_SIZE + s->size, &size)))
                        return -E2BIG;
        }
        plain = gcry_malloc_secure(size);
        if (!plain)
                return -ENOMEM;
        memcpy(plain, digest, DIGEST_SIZE);
        p = plain + DIGEST_SIZE;
        for (size_t i = 0; i < type->n_fields; i++) {
                const Field *f = &type->fields[i];
                const Secret *s = f->type == FIELD_SECRET ? *(Secret *const *)member_of(f, object) : NULL;

                if (!s)
                        continue;
                p[0] = f->tag;
                write_u32(p + 1, (uint32_t)s->size);
                memcpy(p + FIELD_HEAD_SIZE, s->bytes, s->size);
                p += FIELD_HEAD_SIZE + s->size;
        }
        r = seal(with->key, &context, plain, size, &sealed);
        return r < 0 ? r : append_field(ret, RECORD_TAG_SEALED, sealed.bytes, sealed.size);
}

int record_encode_prefix(const Buffer *wrapped, Buffer *ret) {
        int r;

        r = buffer_append(ret, &(uint8_t){ RECORD_FORMAT_VERSION }, 1);
        if (r >= 0 && wrapped)
                r = append_field(ret, RECORD_TAG_WRAPPED, wrapped->bytes, wrapped->size);
        return r;
}

int record_encode(const RecordType *type, const StoreKey *key, const RecordSeal *with, const void *object,
                Buffer *ret) {
        _cleanup_(buffer_done) Buffer value = {};
        uint8_t digest[DIGEST_SIZE];
        int r;

        assert(type->is_sealed == !!with);
        r = record_encode_prefix(with ? with->wrapped : NULL, &value);
        for (size_t i = 0; i < type->n_fields && r >= 0; i++)
                if (type->fields[i].type != FIELD_SECRET)
                        r = field_encode(&type->fields[i], object, &value);
        if (r >= 0)
                r = record_digest(key, value.bytes, value.size, digest);
        if (r < 0)
                return r;
        if (with)
                r = append_sealed(type, key, with, digest, object, &value);
        else
                r = append_field(&value, RECORD_TAG_DIGEST, digest, sizeof(digest));
        return r < 0 ? r : buffer_append(ret, value.bytes, value.size);
}

/* Finds the trailer: the clear fields are [1, *ret_clear), the trailer's content follows its head. */
static int record_split(const uint8_t *value, size_t size, size_t *ret_clear, uint8_t *ret_tag,
                const uint8_t **ret_bytes, size_t *ret_size) {
        const uint8_t *p, *end = value + size, *start;
        int r;

        if (size < 1 || value[0] != RECORD_FORMAT_VERSION)
                return -EBADMSG;
        for (p = value + 1; p < end;) {
                const uint8_t *bytes;
                size_t n;
                uint8_t tag;

                start = p;
                r = take_field(&p, end, &tag, &bytes, &n);
                if (r < 0)
                        return r;
                if (tag != RECORD_TAG_DIGEST && tag != RECORD_TAG_SEALED)
                        continue;
                if (p != end)
                        return -EBADMSG;
                *ret_clear = (size_t)(start - value);
                *ret_tag = tag;
                *ret_bytes = bytes;
                *ret_size = n;
                return 0;
        }
        return -EBADMSG;
}

int record_decode_clear(const RecordType *type, const uint8_t *value, size_t size, void *object) {
        const uint8_t *bytes;
        size_t clear, n;
        uint8_t tag;
        int r;

        r = record_split(value, size, &clear, &tag, &bytes, &n);
        if (r < 0)
                return r;
        if (tag != (type->is_sealed ? RECORD_TAG_SEALED : RECORD_TAG_DIGEST))
                return -EBADMSG;
        return record_decode_fields(type, false, value + 1, clear - 1, object);
}

/* Opens a sealed trailer and holds what it says against the clear fields. *ret: digest ‖ sealed fields. */
static int trailer_unseal(const StoreKey *key, const RecordSeal *with, const uint8_t *value, size_t clear,
                const uint8_t *bytes, size_t n, Secret **ret) {
        SealContext context = { key->kind, with->uid, with->vault_id, key->id, key->id_size };
        _cleanup_(secret_freep) Secret *plain = NULL;
        uint8_t digest[DIGEST_SIZE];
        int r;

        r = record_digest(key, value, clear, digest);
        if (r >= 0)
                r = unseal_in(with->slot, with->key, &context, bytes, n, &plain);
        if (r < 0)
                return r;
        if (plain->size < DIGEST_SIZE || !bytes_equal_constant_time(plain->bytes, digest, DIGEST_SIZE))
                return -EBADMSG;
        *ret = TAKE_PTR(plain);
        return 0;
}

/* Checks the trailer and reads the secret fields. */
static int trailer_decode(const RecordType *type, const StoreKey *key, const RecordSeal *with,
                const uint8_t *value, size_t size, void *object) {
        _cleanup_(secret_freep) Secret *plain = NULL;
        uint8_t digest[DIGEST_SIZE], tag;
        const uint8_t *bytes;
        size_t clear, n;
        int r;

        assert(type->is_sealed == !!with);
        r = record_split(value, size, &clear, &tag, &bytes, &n);
        if (r < 0)
                return r;
        if (tag != (with ? RECORD_TAG_SEALED : RECORD_TAG_DIGEST))
                return -EBADMSG;
        if (!with) {
                r = record_digest(key, value, clear, digest);
                if (r < 0)
                        return r;
                if (n != DIGEST_SIZE || memcmp(bytes, digest, DIGEST_SIZE) != 0)
                        return -EBADMSG;
                return 0;
        }
        r = trailer_unseal(key, with, value, clear, bytes, n, &plain);
        if (r < 0)
                return r;
        return record_decode_fields(
                        type, true, plain->bytes + DIGEST_SIZE, plain->size - DIGEST_SIZE, object);
}

int record_decode_trailer(const RecordType *type, const StoreKey *key, const RecordSeal *with,
                const uint8_t *value, size_t size, void *object) {
        int r;

        r = trailer_decode(type, key, with, value, size, object);
        return r < 0 ? r : buffer_append(stored_of(type, object), value, size);
}

int record_decode_trailer_taking(const RecordType *type, const StoreKey *key, const RecordSeal *with,
                Buffer *value, void *object) {
        int r;

        r = trailer_decode(type, key, with, value->bytes, value->size, object);
        if (r < 0)
                return r;
        *stored_of(type, object) = *value;
        *value = (Buffer){};
        return 0;
}

int record_is_sealed(const uint8_t *value, size_t size) {
        const uint8_t *bytes;
        size_t clear, n;
        uint8_t tag;
        int r;

        r = record_split(value, size, &clear, &tag, &bytes, &n);
        return r < 0 ? r : tag == RECORD_TAG_SEALED;
}

/* The clear fields of a value without its wrapped key. */
static int append_clear(const uint8_t *value, size_t clear, Buffer *ret) {
        int r = 0;

        for (const uint8_t *p = value + 1; p < value + clear && r >= 0;) {
                const uint8_t *start = p, *bytes;
                size_t n;
                uint8_t tag;

                r = take_field(&p, value + clear, &tag, &bytes, &n);
                if (r >= 0 && tag != RECORD_TAG_WRAPPED)
                        r = buffer_append(ret, start, (size_t)(p - start));
        }
        return r;
}

int record_reseal(const StoreKey *key, const RecordSeal *from, const RecordSeal *to, const uint8_t *value,
                size_t size, Buffer *ret) {
        SealContext context = { key->kind, to->uid, to->vault_id, key->id, key->id_size };
        _cleanup_(buffer_done) Buffer fresh = {}, sealed = {};
        _cleanup_(secret_freep) Secret *plain = NULL;
        const uint8_t *bytes;
        size_t clear, n;
        uint8_t tag;
        int r;

        r = record_split(value, size, &clear, &tag, &bytes, &n);
        if (r < 0)
                return r;
        if (tag != RECORD_TAG_SEALED)
                return -EBADMSG;
        r = trailer_unseal(key, from, value, clear, bytes, n, &plain);
        if (r >= 0)
                r = record_encode_prefix(to->wrapped, &fresh);
        if (r >= 0)
                r = append_clear(value, clear, &fresh);
        if (r >= 0) /* of the clear fields, which have another wrapped key now */
                r = record_digest(key, fresh.bytes, fresh.size, plain->bytes);
        if (r >= 0)
                r = seal(to->key, &context, plain->bytes, plain->size, &sealed);
        if (r >= 0)
                r = append_field(&fresh, RECORD_TAG_SEALED, sealed.bytes, sealed.size);
        return r < 0 ? r : buffer_append(ret, fresh.bytes, fresh.size);
}

int record_decode(const RecordType *type, const StoreKey *key, const RecordSeal *with, const uint8_t *value,
                size_t size, void *object) {
        int r;

        r = record_decode_clear(type, value, size, object);
        return r < 0 ? r : record_decode_trailer(type, key, with, value, size, object);
}

int record_peek(const uint8_t *value, size_t size, uint8_t tag, const uint8_t **ret_bytes,
                size_t *ret_size) {
        const uint8_t *p, *bytes;
        size_t clear, n;
        uint8_t found;
        int r;

        r = record_split(value, size, &clear, &found, &bytes, &n);
        if (r < 0)
                return r;
        for (p = value + 1; p < value + clear;) {
                r = take_field(&p, value + clear, &found, &bytes, &n);
                if (r < 0)
                        return r;
                if (found == tag) {
                        *ret_bytes = bytes;
                        *ret_size = n;
                        return 0;
                }
        }
        return -ENODATA;
}
