/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Fuzzes store/verify.c and what it opens records with: the chain, the schema, what was set aside, every kind.
 *
 * Input: kind u8 | size of id u8 | id | value. No input may crash or be anything but sound, damaged or unknown; what is sealed
 * cannot be sound, for the fuzzer has no key; a chain that is sound is written back as the same bytes. */

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "store/internal.h"
#include "store/records.h"
#include "store/verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition) {
        if (!condition)
                abort();
}

static Keyring *keyring_make(void) {
        static const char kek[] = "0123456789abcdef0123456789abcdef";
        char path[] = "/tmp/vaultd-fuzz-kek-XXXXXX";
        Keyring *k = NULL;
        int fd = mkstemp(path);

        require(fd >= 0 && write(fd, kek, 32) == 32);
        require(keyring_load(path, NULL, &k) == 0);
        (void)unlink(path);
        (void)safe_close(fd);
        return k;
}

static void on_saved(int result, void *userdata) {
        require(result == 0);
        *(bool *)userdata = true;
}

/* A vault for uid 1000, so that what claims to be sealed under it is tried with a key. */
static Store *store_make(Keyring *k) {
        _cleanup_(vault_freep) Vault *v = NULL;
        sd_event *event = NULL;
        StoreBatch *b = NULL;
        Store *s = NULL;
        bool is_saved = false;

        require(sd_event_new(&event) >= 0 && store_open_memory(event, &s) == 0);
        require(vault_new(k, 1000, "alice", &v) == 0 && store_batch_new(&b) == 0);
        require(vault_record_put(b, k, v) == 0 && store_commit_async(s, b, on_saved, &is_saved) == 0);
        while (!is_saved)
                require(sd_event_run(event, UINT64_MAX) >= 0);
        return s;
}

static void check_chain(const uint8_t *value, size_t size) {
        _cleanup_(buffer_done) Buffer again = {};
        StoreChain chain;

        require(chain_decode(value, size, &chain) == 0 && chain_encode(&chain, &again) == 0);
        require(again.size == size && memcmp(again.bytes, value, size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static Keyring *keyring;
        static Store *store;
        _cleanup_(freep) char *name = NULL;
        StoreKey key;
        int r;

        require(secret_global_init() == 0);
        if (!store) {
                keyring = keyring_make();
                store = store_make(keyring);
        }
        if (size < 2 || size - 2 < data[1] || data[1] > STORE_ID_MAX)
                return 0;
        uid_t uid = data[0] == RECORD_META || data[0] == RECORD_FLOW || data[0] == RECORD_CLIENT ||
                                                    data[0] == RECORD_AGENT || data[0] == RECORD_ENVIRONMENT
                                    ? 0
                                    : 1000;
        require(store_key_init(&key, (RecordKind)data[0], uid, data + 2, data[1]) == 0);
        const uint8_t *value = data + 2 + data[1];
        size_t value_size = size - 2 - data[1];

        r = record_verify(store, keyring, &key, value, value_size);
        require(r == 0 || r == -EBADMSG || r == -ENOTSUP || r == -ENOENT);
        require(r != 0 ||
                        (data[0] != RECORD_VAULT && data[0] != RECORD_CREDENTIAL && data[0] != RECORD_FLOW &&
                                        data[0] != RECORD_CLIENT && data[0] != RECORD_ASIDE));
        if (r == 0 && data[0] == RECORD_META && data[1] == 5 && memcmp(data + 2, "chain", 5) == 0)
                check_chain(value, value_size);
        name = record_name(&key);
        require(name);
        return 0;
}
