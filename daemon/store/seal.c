/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Sealing one value: AES-256-GCM with a random 96-bit nonce (NIST SP 800-38D 8.2.2), nonce ‖ ciphertext ‖ tag.
 *
 * The authenticated data names where the value belongs, so bytes that somebody moved to another user's row, another kind or
 * another record do not open (T8):
 *
 *     format version u8 | kind u8 | uid u32 BE | size u32 BE, vault id | size u32 BE, record id
 *
 * Sizes are part of it, so no two contexts have the same bytes. Random nonces are good for 2³² values under one key; a
 * vault's key seals a few an hour. What is opened lands in secure memory and nowhere else: the plaintext of a
 * value that does not authenticate is erased unread.
 *
 * Who may call: keyring.c and record.c; the loop's thread. */

#include <gcrypt.h>

#include "store/keyring.h"

#define SEAL_VERSION 1U

/* One handle for each thread that seals (until it says seal_thread_end()), made at its first use: gcry_cipher_open() stirs the
 * random pool, which takes several system calls and most of the time of a short record. Between two uses it holds a key of zeros,
 * so that no data key outlives the call it was read for. */
static _Thread_local gcry_cipher_hd_t cipher_kept;

static int cipher_take(gcry_cipher_hd_t *ret) {
        gcry_error_t e = 0;

        if (!cipher_kept)
                e = gcry_cipher_open(
                                &cipher_kept, GCRY_CIPHER_AES256, GCRY_CIPHER_MODE_GCM, GCRY_CIPHER_SECURE);
        if (e)
                return gcry_err_code(e) == GPG_ERR_ENOMEM ? -ENOMEM : -ENOTSUP;
        *ret = TAKE_PTR(cipher_kept);
        return 0;
}

static void cipher_give_backp(gcry_cipher_hd_t *cipher) {
        static const uint8_t zeros[SEAL_KEY_SIZE];

        if (!*cipher)
                return;
        if (gcry_cipher_setkey(*cipher, zeros, sizeof(zeros)) == 0)
                cipher_kept = *cipher;
        else
                gcry_cipher_close(*cipher);
}

void seal_thread_end(void) {
        if (cipher_kept)
                gcry_cipher_close(TAKE_PTR(cipher_kept));
}

/* Of "v-" and 32 digits, with room to spare. */
#define VAULT_ID_MAX     64U
#define CONTEXT_SIZE_MAX (2U + 4U + 4U + VAULT_ID_MAX + 4U + STORE_ID_MAX)

static uint8_t *put_u32(uint8_t *p, uint32_t n) {
        for (unsigned shift = 32; shift > 0; shift -= 8)
                *p++ = (uint8_t)(n >> (shift - 8));
        return p;
}

static uint8_t *put_bytes(uint8_t *p, const void *bytes, size_t n) {
        p = put_u32(p, (uint32_t)n);
        if (n > 0)
                memcpy(p, bytes, n);
        return p + n;
}

/* -E2BIG for ids longer than any that we make. */
static int context_encode(
                const SealContext *context, uint8_t ret[static CONTEXT_SIZE_MAX], size_t *ret_size) {
        size_t vault_id_size = strlen(context->vault_id);
        uint8_t *p = ret;

        if (vault_id_size > VAULT_ID_MAX || context->record_id_size > STORE_ID_MAX)
                return -E2BIG;
        *p++ = SEAL_VERSION;
        *p++ = (uint8_t)context->kind;
        p = put_u32(p, context->uid);
        p = put_bytes(p, context->vault_id, vault_id_size);
        p = put_bytes(p, context->record_id, context->record_id_size);
        *ret_size = (size_t)(p - ret);
        return 0;
}

/* A cipher with key, nonce and authenticated data in place. */
static int cipher_open(
                const Secret *key, const SealContext *context, const uint8_t *nonce, gcry_cipher_hd_t *ret) {
        _cleanup_(cipher_give_backp) gcry_cipher_hd_t cipher = NULL;
        uint8_t authenticated[CONTEXT_SIZE_MAX];
        size_t authenticated_size;
        gcry_error_t e;
        int r;

        if (key->size != SEAL_KEY_SIZE)
                return -EINVAL;
        r = context_encode(context, authenticated, &authenticated_size);
        if (r < 0)
                return r;
        r = cipher_take(&cipher);
        if (r < 0)
                return r;
        e = gcry_cipher_setkey(cipher, key->bytes, key->size);
        if (!e)
                e = gcry_cipher_setiv(cipher, nonce, SEAL_NONCE_SIZE);
        if (!e)
                e = gcry_cipher_authenticate(cipher, authenticated, authenticated_size);
        if (e)
                return gcry_err_code(e) == GPG_ERR_ENOMEM ? -ENOMEM : -ENOTSUP;
        *ret = TAKE_PTR(cipher);
        return 0;
}

int seal(const Secret *key, const SealContext *context, const void *plain, size_t size, Buffer *ret) {
        _cleanup_(cipher_give_backp) gcry_cipher_hd_t cipher = NULL;
        uint8_t nonce[SEAL_NONCE_SIZE], *out;
        size_t total;
        int r;

        if (__builtin_add_overflow(size, SEAL_OVERHEAD, &total))
                return -E2BIG;
        random_bytes(nonce, sizeof(nonce));
        r = cipher_open(key, context, nonce, &cipher);
        if (r < 0)
                return r;
        r = buffer_reserve(ret, total);
        if (r < 0)
                return r;

        out = ret->bytes + ret->size;
        memcpy(out, nonce, sizeof(nonce));
        out += sizeof(nonce);
        if (size > 0 && gcry_cipher_encrypt(cipher, out, size, plain, size) != 0)
                return -ENOTSUP;
        if (gcry_cipher_gettag(cipher, out + size, SEAL_TAG_SIZE) != 0)
                return -ENOTSUP;
        ret->size += total;
        ret->bytes[ret->size] = 0;
        return 0;
}

int unseal(const Secret *key, const SealContext *context, const void *sealed, size_t size, Secret **ret) {
        _cleanup_(cipher_give_backp) gcry_cipher_hd_t cipher = NULL;
        _cleanup_(secret_freep) Secret *plain = NULL;
        const uint8_t *bytes = sealed;
        size_t plain_size;
        int r;

        if (size < SEAL_OVERHEAD)
                return -EBADMSG;
        plain_size = size - SEAL_OVERHEAD;
        r = cipher_open(key, context, bytes, &cipher);
        if (r < 0)
                return r == -E2BIG ? -EBADMSG : r; /* nothing was ever sealed for such an id */
        r = secret_new(bytes + SEAL_NONCE_SIZE, plain_size, &plain);
        if (r < 0)
                return r;
        if (plain_size > 0 && gcry_cipher_decrypt(cipher, plain->bytes, plain_size, NULL, 0) != 0)
                return -EBADMSG;
        if (gcry_cipher_checktag(cipher, bytes + SEAL_NONCE_SIZE + plain_size, SEAL_TAG_SIZE) != 0)
                return -EBADMSG;
        *ret = TAKE_PTR(plain);
        return 0;
}
