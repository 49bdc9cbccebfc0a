/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gcrypt.h>

#include "store/backup-format.h"

/* Header and chunks (backup-format.h): what writer and reader share. For backup-*.c. */

#define BACKUP_CHUNK_HEAD 4U
#define BACKUP_CHUNK_TAG  16U
#define BACKUP_CHUNK_LAST UINT32_C(0x80000000)
#define BACKUP_ITEM_HEAD  5U

typedef enum BackupItem {
        BACKUP_KEYS = 'K',
        BACKUP_IN_ADVANCE = 'U',
        BACKUP_RECORD = 'R',
        BACKUP_END = 'E',
} BackupItem;

/* The cipher of one file, and how many chunks it has gone through. */
typedef struct BackupCipher {
        gcry_cipher_hd_t handle;
        uint8_t header[BACKUP_HEADER_SIZE];
        uint64_t index;
} BackupCipher;

void backup_header_encode(const BackupHeader *header, uint8_t ret[static BACKUP_HEADER_SIZE]);
/* -EINVAL: no header of ours; -EPROTONOSUPPORT: a newer format. */
int backup_header_decode(const uint8_t bytes[static BACKUP_HEADER_SIZE], BackupHeader *ret);
void backup_recipient(const uint8_t public[static RECOVERY_KEY_SIZE], uint8_t ret[static 8]);

int backup_cipher_init(
                BackupCipher *ret, const Secret *key, const uint8_t header[static BACKUP_HEADER_SIZE]);
void backup_cipher_done(BackupCipher *c);
/* Appends the next chunk. */
int backup_chunk_seal(BackupCipher *c, const uint8_t *plain, size_t size, bool is_last, Buffer *ret);
/* Opens the next chunk, ciphertext and tag, into ret_plain, which has room for size. -EBADMSG: nothing in ret_plain is to be used. */
int backup_chunk_open(BackupCipher *c, const uint8_t *sealed, size_t size, bool is_last, uint8_t *ret_plain);

static inline uint64_t backup_get(const uint8_t *p, unsigned n) {
        uint64_t value = 0;

        for (unsigned i = n; i-- > 0;)
                value = value << 8 | p[i];
        return value;
}

static inline uint8_t *backup_put(uint8_t *p, uint64_t value, unsigned n) {
        for (unsigned i = 0; i < n; i++)
                *p++ = (uint8_t)(value >> (8 * i));
        return p;
}
