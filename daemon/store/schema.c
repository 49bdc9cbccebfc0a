/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The schema record and the way from older versions to ours.
 *
 *     schema = "vaultd\0\0" | version u32 LE
 *
 * A file without this record is not ours, whatever it holds. Each migration is a row of the table and runs in one
 * transaction with the new version, so whoever is killed in its middle begins it again from the same bytes; several
 * rows are several transactions. A transaction may be as large as the whole database: LMDB writes pages out early
 * when there are too many to hold.
 *
 * Fields and kinds that older files do not have need no migration: readers take what is absent for its default
 * (records.h), and unknown fields are passed over. The table is therefore empty until bytes change their meaning. Files of every
 * version that was ever released are kept with the unit tests and must open.
 *
 * Who may call: store_open(), before there is a reader or a writer. */

#include <assert.h>

#include "store/body-lmdb.h"

#define SCHEMA_ID    "schema"
#define SCHEMA_MAGIC "vaultd"

typedef struct Schema {
        char magic[8];
        uint8_t version[4];
} Schema;

static MDB_val schema_key(uint8_t bytes[static STORE_KEY_MAX]) {
        StoreKey key;
        int r;

        r = store_key_init(&key, RECORD_META, 0, SCHEMA_ID, strlen(SCHEMA_ID));
        assert(r == 0);
        size_t size = store_key_encode(&key, bytes);
        return (MDB_val){ size, bytes };
}

static int schema_put(MDB_txn *txn, MDB_dbi dbi, uint32_t version) {
        uint8_t bytes[STORE_KEY_MAX];
        MDB_val key = schema_key(bytes);
        Schema schema = { SCHEMA_MAGIC,
                { (uint8_t)version, (uint8_t)(version >> 8), (uint8_t)(version >> 16),
                                (uint8_t)(version >> 24) } };
        MDB_val value = { sizeof(schema), &schema };

        return mdb_put(txn, dbi, &key, &value, 0);
}

int schema_decode(const uint8_t *value, size_t size, uint32_t *ret_version) {
        Schema schema;

        if (size != sizeof(schema))
                return -EINVAL;
        memcpy(&schema, value, sizeof(schema));
        if (memcmp(schema.magic, (const char[8]){ SCHEMA_MAGIC }, sizeof(schema.magic)) != 0)
                return -EINVAL;
        *ret_version = (uint32_t)schema.version[0] | (uint32_t)schema.version[1] << 8 |
                       (uint32_t)schema.version[2] << 16 | (uint32_t)schema.version[3] << 24;
        return 0;
}

static int schema_get(MDB_txn *txn, MDB_dbi dbi, uint32_t *ret_version) {
        uint8_t bytes[STORE_KEY_MAX];
        MDB_val key = schema_key(bytes), value;
        int r;

        r = mdb_get(txn, dbi, &key, &value);
        if (r != 0)
                return r == MDB_NOTFOUND ? -EINVAL : store_errno(r);
        return schema_decode(value.mv_data, value.mv_size, ret_version);
}

static int schema_begin(MDB_env *env, unsigned flags, MDB_txn **ret_txn, MDB_dbi *ret_dbi) {
        MDB_txn *txn;
        int r;

        r = mdb_txn_begin(env, NULL, flags, &txn);
        if (r != 0)
                return store_errno(r);
        r = mdb_dbi_open(txn, NULL, 0, ret_dbi);
        if (r != 0) {
                mdb_txn_abort(txn);
                return store_errno(r);
        }
        *ret_txn = txn;
        return 0;
}

int schema_write(MDB_env *env, uint32_t version) {
        MDB_txn *txn;
        MDB_dbi dbi;
        int r;

        r = schema_begin(env, 0, &txn, &dbi);
        if (r < 0)
                return r;
        r = schema_put(txn, dbi, version);
        if (r != 0) {
                mdb_txn_abort(txn);
                return store_errno(r);
        }
        return store_errno(mdb_txn_commit(txn));
}

static int schema_read(MDB_env *env, uint32_t *ret_version) {
        MDB_txn *txn;
        MDB_dbi dbi;
        int r;

        r = schema_begin(env, MDB_RDONLY, &txn, &dbi);
        if (r < 0)
                return r;
        r = schema_get(txn, dbi, ret_version);
        mdb_txn_abort(txn);
        return r;
}

static int migration_run(MDB_env *env, const SchemaMigration *step) {
        MDB_txn *txn;
        MDB_dbi dbi;
        int r;

        r = schema_begin(env, 0, &txn, &dbi);
        if (r < 0)
                return r;
        r = step->function(txn, dbi);
        if (r == 0)
                r = schema_put(txn, dbi, step->to);
        if (r != 0) {
                mdb_txn_abort(txn);
                return store_errno(r);
        }
        return store_errno(mdb_txn_commit(txn));
}

static const SchemaMigration *migration_find(const SchemaMigration *table, size_t n, uint32_t from) {
        for (size_t i = 0; i < n; i++)
                if (table[i].from == from)
                        return &table[i];
        return NULL;
}

int schema_migrate(MDB_env *env, uint32_t version, const SchemaMigration *table, size_t n) {
        uint32_t now;
        int r;

        r = schema_read(env, &now);
        while (r >= 0 && now != version) {
                const SchemaMigration *step = now < version ? migration_find(table, n, now) : NULL;

                if (!step)
                        return now > version ? -EPROTONOSUPPORT : -EINVAL;
                assert(step->to > step->from);
                r = migration_run(env, step);
                now = step->to;
        }
        return r;
}

int schema_upgrade(MDB_env *env) {
        /* {from, to, function}, in any order; see STORE_SCHEMA_VERSION. */
        static const SchemaMigration migrations[] = {};

        return schema_migrate(env, STORE_SCHEMA_VERSION, migrations, ELEMENTSOF(migrations));
}
