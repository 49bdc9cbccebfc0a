/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Platform objects that many sessions share: agents and environments, found by the digest of what we wrote.
 *
 * Same content, same digest, same object: so a second session makes no second agent. The nonce is durable before the create
 * request, so an answer that was cut is found again instead of doubled (V3's rule, for all creates).
 *
 * Who may call: the loop's thread. */

#include "store/record.h"
#include "store/records.h"

static const Field platform_object_fields[] = {
        FIELD_OF(2, FIELD_NUMBER, PlatformObject, kind, .max = UINT8_MAX, .is_required = true),
        FIELD_OF(3, FIELD_TEXT, PlatformObject, digest, .is_required = true),
        FIELD_OF(4, FIELD_TEXT, PlatformObject, nonce),
        FIELD_OF(5, FIELD_NUMBER, PlatformObject, nonce_usec, .max = UINT64_MAX),
        FIELD_OF(6, FIELD_TEXT, PlatformObject, platform_id),
        FIELD_OF(7, FIELD_NUMBER, PlatformObject, version, .max = UINT64_MAX),
};
const RecordType platform_object_type = RECORD_TYPE(PlatformObject, platform_object_fields, false);

PlatformObject *platform_object_free(PlatformObject *o) {
        return record_free(&platform_object_type, o);
}

static int platform_object_key_init(StoreKey *ret, RecordKind kind, const char *digest) {
        if ((kind != RECORD_AGENT && kind != RECORD_ENVIRONMENT) || isempty(digest))
                return -EINVAL;
        return store_key_init(ret, kind, 0, digest, strlen(digest));
}

int platform_object_record_read(Store *s, RecordKind kind, const char *digest, PlatformObject **ret) {
        void *object;
        StoreKey key;
        int r;

        r = platform_object_key_init(&key, kind, digest);
        if (r >= 0)
                r = record_read(s, &platform_object_type, &key, NULL, &object);
        if (r < 0)
                return r;
        *ret = object;
        return 0;
}

int platform_object_record_put(StoreBatch *b, const PlatformObject *o) {
        StoreKey key;
        int r;

        r = platform_object_key_init(&key, o->kind, o->digest);
        return r < 0 ? r : record_put(b, &platform_object_type, &key, NULL, o);
}

int platform_object_record_delete(StoreBatch *b, const PlatformObject *o) {
        StoreKey key;
        int r;

        r = platform_object_key_init(&key, o->kind, o->digest);
        return r < 0 ? r : record_delete(b, &platform_object_type, &key, o);
}
