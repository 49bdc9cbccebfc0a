/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Pinned accounts: which upstream account a user first connected for a service and label (O7). A kind of its own because it
 * outlives the credential: after a disconnect, connecting as somebody else still needs an explicit yes. Not secret and not
 * sealed; the digest finds damage and rows that were moved to another user or service.
 *
 * Who may call: the loop's thread. */

#include "store/record.h"
#include "store/records.h"

static const Field pinned_account_fields[] = {
        FIELD_OF(2, FIELD_NUMBER, PinnedAccount, uid, .max = UINT32_MAX - 1, .is_required = true),
        FIELD_OF(3, FIELD_TEXT, PinnedAccount, service, .is_required = true),
        FIELD_OF(4, FIELD_TEXT, PinnedAccount, label, .is_required = true),
        FIELD_OF(5, FIELD_TEXT, PinnedAccount, account_id, .is_required = true),
        FIELD_OF(6, FIELD_TEXT, PinnedAccount, account_name),
};
const RecordType pinned_account_type = RECORD_TYPE(PinnedAccount, pinned_account_fields, false);

PinnedAccount *pinned_account_free(PinnedAccount *p) {
        return record_free(&pinned_account_type, p);
}

int pinned_account_record_read(
                Store *s, uid_t uid, const char *service, const char *label, PinnedAccount **ret) {
        void *object;
        StoreKey key;
        int r;

        r = service_key_init(&key, RECORD_ACCOUNT, uid, service, label);
        if (r >= 0)
                r = record_read(s, &pinned_account_type, &key, NULL, &object);
        if (r < 0)
                return r;
        *ret = object;
        return 0;
}

int pinned_account_record_put(StoreBatch *b, const PinnedAccount *p) {
        StoreKey key;
        int r;

        if (!p->service || !p->label)
                return -EINVAL;
        r = service_key_init(&key, RECORD_ACCOUNT, p->uid, p->service, p->label);
        return r < 0 ? r : record_put(b, &pinned_account_type, &key, NULL, p);
}
