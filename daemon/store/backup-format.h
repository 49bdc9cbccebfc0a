/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "store/recovery.h"
#include "store/store.h"

/* The file that a backup is, as bytes: writing and reading, without a store and without a file. All numbers are little endian.
 *
 *     file    = header ‖ chunk …
 *     header  = magic 8 | version u32 | schema u32 | created u64 (µs) | sequence u64 | head 32 | recipient 8 | ephemeral key 32 | host 64
 *     chunk   = size of plaintext u32, top bit set in the last one | ciphertext | tag 16
 *     content = item …, cut into chunks anywhere, but for the first item, which is a chunk of its own
 *     item    = type u8 | size u32 | bytes
 *
 *     K  what keyring_export() gave; the first item
 *     U  record: a vault, in advance of records that only open with it; it comes again at its place
 *     R  record: key size u8 | key | value, in key order
 *     E  number of R u64; the last item
 *
 * Chunks are AES-256-GCM under the key of recovery_encapsulate(), which is new for each file. Nonce = last u8 | 0 0 0 | index of the
 * chunk u64 BE, authenticated data = header: so a chunk that is changed, moved, left out, of another file, behind the last one or
 * followed by nothing does not open. recipient = SHA-256("vaultd recipient 1" ‖ recovery public key), its first bytes: it tells a wrong
 * key from a damaged file. Only K is secret by itself; records are as sealed as in the store. */

#define BACKUP_MAGIC       "VAULTDB1"
#define BACKUP_VERSION     1U
#define BACKUP_HOST_SIZE   64U
#define BACKUP_HEADER_SIZE (8U + 4U + 4U + 8U + 8U + 32U + 8U + 32U + BACKUP_HOST_SIZE)
#define BACKUP_CHUNK_MAX   (32U * 1024U) /* of plaintext */
#define BACKUP_ITEM_MAX    (4U * 1024U * 1024U)

typedef struct BackupHeader {
        uint32_t schema;
        uint64_t created_usec;
        StoreChain chain;
        char host[BACKUP_HOST_SIZE + 1];
        uint8_t recipient[8];
        uint8_t ephemeral[RECOVERY_KEY_SIZE];
} BackupHeader;

/* Writing. Each function appends what file bytes have become ready. -ENOMEM, -ENOTSUP; -E2BIG for a record larger than an item.
 * recipient and ephemeral of the header are filled in here. */
typedef struct BackupWriter BackupWriter;
int backup_writer_new(const uint8_t public[static RECOVERY_KEY_SIZE], const BackupHeader *header,
                const Secret *keys, Buffer *ret_bytes, BackupWriter **ret);
int backup_writer_add(
                BackupWriter *w, const StoreKey *key, const uint8_t *value, size_t size, Buffer *ret_bytes);
int backup_writer_add_in_advance(
                BackupWriter *w, const StoreKey *key, const uint8_t *value, size_t size, Buffer *ret_bytes);
int backup_writer_finish(BackupWriter *w, Buffer *ret_bytes);
BackupWriter *backup_writer_free(BackupWriter *w);
DEFINE_CLEANUP(BackupWriter *, backup_writer_free)

/* Reading: the callbacks get what has authenticated, in the file's order; -errno from one ends the reading. All is borrowed. */
typedef struct BackupVisitor {
        int (*header)(const BackupHeader *header, void *userdata); /* not authenticated yet; first */
        int (*keys)(const Secret *keys, void *userdata);           /* once, before any record */
        int (*record)(const StoreKey *key, const uint8_t *value, size_t size, bool is_in_advance,
                        void *userdata);
} BackupVisitor;

/* private: as recovery_parse() gives it; copied. */
typedef struct BackupReader BackupReader;
int backup_reader_new(
                const Secret *private, const BackupVisitor *visitor, void *userdata, BackupReader **ret);
/* Takes the next bytes of the file, cut as they come. -EINVAL: no backup of ours; -EPROTONOSUPPORT: of a newer vaultd; -EKEYREJECTED:
 * sealed to another recovery key; -EBADMSG: changed, cut, put together or longer than it was written; -ENOMEM; what a callback said.
 * After an error nothing more may be fed. */
int backup_reader_feed(BackupReader *r, const uint8_t *bytes, size_t n);
/* The file ends here: 0, or -EBADMSG when it should not; -EINVAL when it has not even a header. */
int backup_reader_finish(BackupReader *r);
BackupReader *backup_reader_free(BackupReader *r);
DEFINE_CLEANUP(BackupReader *, backup_reader_free)
