/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Agent-session records: which session on the platform belongs to which uid, and what was shown before it started.
 *
 * Before the create request a record stands under "new-" and a nonce; when the platform has answered, one batch deletes it and puts
 * the one under the platform's id, so a crash leaves one of the two and never both. Nothing here is secret, so nothing is
 * sealed: the digest finds damage and misplaced rows, but not an edit by somebody who can write the database.
 *
 * Who may call: the loop's thread. */

#include "store/record.h"
#include "store/records.h"

static const Field agent_session_fields[] = {
        FIELD_OF(2, FIELD_NUMBER, AgentSession, uid, .max = UINT32_MAX - 1, .is_required = true),
        FIELD_OF(3, FIELD_TEXT, AgentSession, id, .is_required = true),
        FIELD_OF(4, FIELD_TEXT, AgentSession, nonce),
        FIELD_OF(5, FIELD_TEXT, AgentSession, title),
        FIELD_OF(6, FIELD_TEXT, AgentSession, agent_id),
        FIELD_OF(7, FIELD_NUMBER, AgentSession, agent_version, .max = UINT64_MAX),
        FIELD_OF(8, FIELD_TEXT, AgentSession, environment_id),
        FIELD_OF(9, FIELD_TEXT, AgentSession, platform_vault_id),
        FIELD_OF(10, FIELD_TEXTS, AgentSession, servers),
        FIELD_OF(11, FIELD_TEXTS, AgentSession, accounts),
        FIELD_OF(12, FIELD_NUMBER, AgentSession, created_usec, .max = UINT64_MAX),
};
const RecordType agent_session_type = RECORD_TYPE(AgentSession, agent_session_fields, false);

AgentSession *agent_session_free(AgentSession *a) {
        return record_free(&agent_session_type, a);
}

void agent_session_list_free(AgentSession **list, size_t n) {
        record_list_free(&agent_session_type, (void **)list, n);
}

static size_t count(char *const *texts) {
        size_t n = 0;

        while (texts && texts[n])
                n++;
        return n;
}

static int agent_session_key_init(StoreKey *ret, uid_t uid, const char *id) {
        return isempty(id) ? -EINVAL : store_key_init(ret, RECORD_AGENT_SESSION, uid, id, strlen(id));
}

static int agent_session_decode(const StoreKey *key, const uint8_t *value, size_t size, AgentSession **ret) {
        _cleanup_(agent_session_freep) AgentSession *a = NULL;
        int r;

        a = record_new(&agent_session_type);
        if (!a)
                return -ENOMEM;
        r = record_decode(&agent_session_type, key, NULL, value, size, a);
        if (r < 0)
                return r;
        /* Callers walk both lists with one index. */
        if (count(a->servers) != count(a->accounts))
                return -EBADMSG;
        *ret = TAKE_PTR(a);
        return 0;
}

int agent_session_record_read(Store *s, uid_t uid, const char *id, AgentSession **ret) {
        _cleanup_(buffer_done) Buffer value = {};
        StoreKey key;
        int r;

        r = agent_session_key_init(&key, uid, id);
        if (r < 0)
                return r;
        r = store_get(s, &key, &value);
        return r < 0 ? r : agent_session_decode(&key, value.bytes, value.size, ret);
}

int agent_session_record_put(StoreBatch *b, const AgentSession *a) {
        StoreKey key;
        int r;

        if (count(a->servers) != count(a->accounts))
                return -EINVAL;
        r = agent_session_key_init(&key, a->uid, a->id);
        return r < 0 ? r : record_put(b, &agent_session_type, &key, NULL, a);
}

int agent_session_record_delete(StoreBatch *b, const AgentSession *a) {
        StoreKey key;
        int r;

        r = agent_session_key_init(&key, a->uid, a->id);
        return r < 0 ? r : record_delete(b, &agent_session_type, &key, a);
}

#define ID_NEW "new-"

static int list_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        _cleanup_(agent_session_freep) AgentSession *a = NULL;
        RecordList *list = userdata;
        int r;

        r = agent_session_decode(key, value, size, &a);
        if (r >= 0)
                r = record_list_add(list, a);
        if (r < 0)
                return r;
        (void)TAKE_PTR(a);
        return 0;
}

int agent_session_record_list(Store *s, uid_t uid, AgentSession ***ret, size_t *ret_n) {
        RecordList list = {};
        int r;

        r = store_foreach(s, RECORD_AGENT_SESSION, uid, list_visit, &list);
        if (r < 0) {
                record_list_free(&agent_session_type, list.objects, list.n);
                return r;
        }
        *ret = (AgentSession **)list.objects;
        *ret_n = list.n;
        return 0;
}

typedef struct NewWalk {
        RecordList list;
        size_t n_left;
        uid_t uid; /* of the last one that was looked at */
} NewWalk;

static int new_visit(const StoreKey *key, const uint8_t *value, size_t size, void *userdata) {
        NewWalk *walk = userdata;

        if (walk->n_left == 0 && key->uid != walk->uid) {
                walk->uid = key->uid;
                return VAULTS_GO_ON;
        }
        walk->uid = key->uid;
        walk->n_left -= walk->n_left > 0;
        if (key->id_size < strlen(ID_NEW) || memcmp(key->id, ID_NEW, strlen(ID_NEW)) != 0)
                return 0;
        return list_visit(key, value, size, &walk->list);
}

int agent_session_record_walk_new(Store *s, uid_t *from, size_t n_max, AgentSession ***list, size_t *n) {
        NewWalk walk = { .list = { (void **)*list, *n, *n }, .n_left = n_max, .uid = *from };
        int r;

        r = store_foreach_from(s, RECORD_AGENT_SESSION, *from, new_visit, &walk);
        *list = (AgentSession **)walk.list.objects;
        *n = walk.list.n;
        if (r == VAULTS_GO_ON)
                *from = walk.uid;
        return r;
}
