/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Fuzzes the reader of backups. The first byte says how the rest is taken: as a file as it is, cut into two pieces; or as the content of
 * chunks, which are sealed here to the key, as whoever knows the public half could. No input may crash, and whatever is
 * visited has the shape that the format promises. */

#include "store/backup-chunk.h"
#include "store/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A key that anybody may know, and a file for it as far as it goes without records. */
static Secret *private;
static uint8_t public[RECOVERY_KEY_SIZE];

static void require(bool condition) {
        if (!condition)
                abort();
}

static int see_header(const BackupHeader *header, void *userdata) {
        require(strlen(header->host) <= BACKUP_HOST_SIZE);
        return 0;
}

static int see_keys(const Secret *keys, void *userdata) {
        bool *has_keys = userdata;

        require(!*has_keys && keys->size <= BACKUP_CHUNK_MAX);
        *has_keys = true;
        return 0;
}

static int see_record(
                const StoreKey *key, const uint8_t *value, size_t size, bool is_in_advance, void *userdata) {
        uint8_t sum = 0;

        require(*(bool *)userdata && key->id_size <= STORE_ID_MAX && key->uid != UID_INVALID &&
                        size <= BACKUP_ITEM_MAX);
        for (size_t i = 0; i < size; i++)
                sum ^= value[i]; /* it can be read */
        return sum == 0x5a && size == 0 ? -EIO : 0;
}

static const BackupVisitor visitor = { see_header, see_keys, see_record };

static void read_file(const uint8_t *bytes, size_t size, size_t cut) {
        _cleanup_(backup_reader_freep) BackupReader *r = NULL;
        bool has_keys = false;
        int k;

        cut = MIN(cut, size);
        require(backup_reader_new(private, &visitor, &has_keys, &r) == 0);
        k = backup_reader_feed(r, bytes, cut);
        if (k >= 0)
                k = backup_reader_feed(r, bytes + cut, size - cut);
        if (k >= 0)
                k = backup_reader_finish(r);
        require(k == 0 || k == -EINVAL || k == -EBADMSG || k == -EPROTONOSUPPORT || k == -EKEYREJECTED);
}

/* Content cut into chunks at the places that its own bytes name: {size u8, that many bytes}…, 0: a full one. */
static void read_content(const uint8_t *bytes, size_t size) {
        _cleanup_(buffer_done) Buffer file = {};
        _cleanup_(secret_freep) Secret *key = NULL;
        BackupHeader header = { .schema = 1, .host = "fuzz" };
        uint8_t head[BACKUP_HEADER_SIZE];
        BackupCipher cipher;

        require(recovery_encapsulate(public, header.ephemeral, &key) == 0);
        backup_recipient(public, header.recipient);
        backup_header_encode(&header, head);
        require(backup_cipher_init(&cipher, key, head) == 0);
        require(buffer_append(&file, head, sizeof(head)) == 0);
        while (size > 1) {
                size_t n = MIN(bytes[0] == 0 ? (size_t)BACKUP_CHUNK_MAX : bytes[0], size - 1);

                require(backup_chunk_seal(&cipher, bytes + 1, n, n == size - 1, &file) == 0);
                bytes += 1 + n;
                size -= 1 + n;
        }
        backup_cipher_done(&cipher);
        read_file(file.bytes, file.size, file.size / 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const uint8_t bytes[RECOVERY_KEY_SIZE] = { 1, 2, 3, 4, 5, 6, 7, 8 };

        if (!private) {
                require(secret_global_init() == 0);
                require(secret_new(bytes, sizeof(bytes), &private) == 0);
                require(recovery_public(private, public) == 0);
        }
        if (size == 0)
                return 0;
        if (data[0] & 1)
                read_content(data + 1, size - 1);
        else
                read_file(data + 1, size - 1, data[0]);
        return 0;
}
