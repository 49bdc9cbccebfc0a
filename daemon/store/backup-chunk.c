/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Header and chunks of a backup.
 *
 * A chunk's place in its file is in its nonce and nowhere in its bytes, so it opens at that place only. The header is
 * authenticated with every chunk, so host, time and chain head are those that the backup was made with. The key is new for
 * each file (an ephemeral X25519 key goes into it), which is what makes counting nonces safe.
 *
 * A public key seals, so a file that opens was made by somebody who knew it, not necessarily by us. The public half is in
 * the store alone; whoever wants certainty compares the head that the backup's own machine printed (restore --head).
 *
 * Who may call: backup-writer.c and backup-reader.c; any one thread. */

#include "store/backup-chunk.h"
#include "store/keyring.h"

#define NONCE_SIZE 12U

void backup_header_encode(const BackupHeader *h, uint8_t ret[static BACKUP_HEADER_SIZE]) {
        uint8_t *p = ret;

        memset(ret, 0, BACKUP_HEADER_SIZE);
        memcpy(p, BACKUP_MAGIC, 8);
        p = backup_put(p + 8, BACKUP_VERSION, 4);
        p = backup_put(p, h->schema, 4);
        p = backup_put(p, h->created_usec, 8);
        p = backup_put(p, h->chain.sequence, 8);
        memcpy(p, h->chain.head, sizeof(h->chain.head));
        p += sizeof(h->chain.head);
        memcpy(p, h->recipient, sizeof(h->recipient));
        p += sizeof(h->recipient);
        memcpy(p, h->ephemeral, sizeof(h->ephemeral));
        p += sizeof(h->ephemeral);
        memcpy(p, h->host, strnlen(h->host, BACKUP_HOST_SIZE));
}

int backup_header_decode(const uint8_t bytes[static BACKUP_HEADER_SIZE], BackupHeader *ret) {
        BackupHeader h = {};
        const uint8_t *p = bytes;

        if (memcmp(p, BACKUP_MAGIC, 8) != 0)
                return -EINVAL;
        if (backup_get(p + 8, 4) != BACKUP_VERSION)
                return -EPROTONOSUPPORT;
        p += 12;
        h.schema = (uint32_t)backup_get(p, 4);
        h.created_usec = backup_get(p + 4, 8);
        h.chain.sequence = backup_get(p + 12, 8);
        p += 20;
        memcpy(h.chain.head, p, sizeof(h.chain.head));
        p += sizeof(h.chain.head);
        memcpy(h.recipient, p, sizeof(h.recipient));
        p += sizeof(h.recipient);
        memcpy(h.ephemeral, p, sizeof(h.ephemeral));
        p += sizeof(h.ephemeral);
        memcpy(h.host, p, BACKUP_HOST_SIZE);
        *ret = h;
        return 0;
}

void backup_recipient(const uint8_t public[static RECOVERY_KEY_SIZE], uint8_t ret[static 8]) {
        static const char label[] = "vaultd recipient 1";
        uint8_t all[sizeof(label) - 1 + RECOVERY_KEY_SIZE], digest[32];

        memcpy(all, label, sizeof(label) - 1);
        memcpy(all + sizeof(label) - 1, public, RECOVERY_KEY_SIZE);
        sha256(all, sizeof(all), digest);
        memcpy(ret, digest, 8);
}

int backup_cipher_init(
                BackupCipher *ret, const Secret *key, const uint8_t header[static BACKUP_HEADER_SIZE]) {
        gcry_cipher_hd_t handle;
        gcry_error_t e;

        if (key->size != SEAL_KEY_SIZE)
                return -EINVAL;
        e = gcry_cipher_open(&handle, GCRY_CIPHER_AES256, GCRY_CIPHER_MODE_GCM, GCRY_CIPHER_SECURE);
        if (e)
                return gcry_err_code(e) == GPG_ERR_ENOMEM ? -ENOMEM : -ENOTSUP;
        if (gcry_cipher_setkey(handle, key->bytes, key->size)) {
                gcry_cipher_close(handle);
                return -ENOTSUP;
        }
        *ret = (BackupCipher){ .handle = handle };
        memcpy(ret->header, header, BACKUP_HEADER_SIZE);
        return 0;
}

void backup_cipher_done(BackupCipher *c) {
        if (c->handle)
                gcry_cipher_close(c->handle); /* erases the key */
        c->handle = NULL;
}

/* Ready for one chunk; counts it. */
static int cipher_next(BackupCipher *c, bool is_last) {
        uint8_t nonce[NONCE_SIZE] = { is_last };

        for (unsigned i = 0; i < 8; i++)
                nonce[4 + i] = (uint8_t)(c->index >> (56 - 8 * i));
        c->index++;
        if (gcry_cipher_setiv(c->handle, nonce, sizeof(nonce)) ||
                        gcry_cipher_authenticate(c->handle, c->header, sizeof(c->header)))
                return -ENOTSUP;
        return 0;
}

int backup_chunk_seal(BackupCipher *c, const uint8_t *plain, size_t size, bool is_last, Buffer *ret) {
        uint8_t *out;
        int r;

        r = buffer_reserve(ret, BACKUP_CHUNK_HEAD + size + BACKUP_CHUNK_TAG);
        if (r >= 0)
                r = cipher_next(c, is_last);
        if (r < 0)
                return r;
        out = backup_put(ret->bytes + ret->size, size | (is_last ? BACKUP_CHUNK_LAST : 0), 4);
        if (gcry_cipher_encrypt(c->handle, out, size, plain, size) ||
                        gcry_cipher_gettag(c->handle, out + size, BACKUP_CHUNK_TAG))
                return -ENOTSUP;
        ret->size += BACKUP_CHUNK_HEAD + size + BACKUP_CHUNK_TAG;
        ret->bytes[ret->size] = 0;
        return 0;
}

int backup_chunk_open(
                BackupCipher *c, const uint8_t *sealed, size_t size, bool is_last, uint8_t *ret_plain) {
        int r = cipher_next(c, is_last);

        if (r < 0)
                return r;
        if (gcry_cipher_decrypt(c->handle, ret_plain, size, sealed, size))
                return -EBADMSG;
        return gcry_cipher_checktag(c->handle, sealed + size, BACKUP_CHUNK_TAG) ? -EBADMSG : 0;
}
