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
 * Who may call: keyring.c, record.c and vault-record.c; the loop's thread. */

#include <gcrypt.h>

#include "store/keyring.h"

#define SEAL_VERSION 1U

/* Ciphers of each thread that seals (until it says seal_thread_end()), made at their first use: gcry_cipher_open() takes system calls.
 * Setting a key takes as long as opening a short record, so the two that open are told apart by what they may keep: the key that wraps,
 * as long as its keyring has it, and the data key of the last vault, as long as that vault is in hand (vault_free()). The third
 * keeps nothing. A cipher without a key holds one of zeros. */
typedef struct Cipher {
        gcry_cipher_hd_t handle;
        Secret *key; /* what the handle has; NULL: zeros */
} Cipher;

static _Thread_local Cipher ciphers[SEAL_SLOTS];

static void cipher_close(Cipher *c) {
        if (c->handle)
                gcry_cipher_close(c->handle);
        (void)secret_free(c->key);
        *c = (Cipher){};
}

static void cipher_forget(Cipher *c) {
        static const uint8_t zeros[SEAL_KEY_SIZE];

        if (!c->key)
                return;
        c->key = secret_free(c->key);
        if (gcry_cipher_setkey(c->handle, zeros, sizeof(zeros)))
                cipher_close(c);
}

void seal_forget(SealSlot slot) {
        cipher_forget(&ciphers[slot]);
}

bool seal_keeps_key(SealSlot slot) {
        return ciphers[slot].key;
}

void seal_thread_end(void) {
        for (size_t i = 0; i < SEAL_SLOTS; i++)
                cipher_close(&ciphers[i]);
}

static int error_of(gcry_error_t e) {
        return !e ? 0 : gcry_err_code(e) == GPG_ERR_ENOMEM ? -ENOMEM : -ENOTSUP;
}

/* The cipher with that key in place. */
static int cipher_with_key(SealSlot slot, const Secret *key, gcry_cipher_hd_t *ret) {
        Cipher *c = &ciphers[slot];
        int r = 0;

        if (!c->handle)
                r = error_of(gcry_cipher_open(
                                &c->handle, GCRY_CIPHER_AES256, GCRY_CIPHER_MODE_GCM, GCRY_CIPHER_SECURE));
        if (r < 0)
                return r;
        /* By its bytes: another key may lie where this one was. Both are ours, so how long that takes tells nobody anything. */
        if (!c->key || memcmp(c->key->bytes, key->bytes, SEAL_KEY_SIZE) != 0) {
                cipher_forget(c);
                if (!c->handle)
                        return -ENOTSUP;
                r = secret_new(key->bytes, key->size, &c->key);
                if (r >= 0)
                        r = error_of(gcry_cipher_setkey(c->handle, key->bytes, key->size));
                if (r < 0) {
                        cipher_close(c);
                        return r;
                }
        }
        *ret = c->handle;
        return 0;
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
static int cipher_begin(SealSlot slot, const Secret *key, const SealContext *context, const uint8_t *nonce,
                gcry_cipher_hd_t *ret) {
        uint8_t authenticated[CONTEXT_SIZE_MAX];
        size_t authenticated_size;
        gcry_cipher_hd_t cipher;
        int r;

        if (key->size != SEAL_KEY_SIZE)
                return -EINVAL;
        r = context_encode(context, authenticated, &authenticated_size);
        if (r >= 0)
                r = cipher_with_key(slot, key, &cipher);
        if (r >= 0)
                r = error_of(gcry_cipher_setiv(cipher, nonce, SEAL_NONCE_SIZE));
        if (r >= 0)
                r = error_of(gcry_cipher_authenticate(cipher, authenticated, authenticated_size));
        if (r < 0)
                return r;
        *ret = cipher;
        return 0;
}

static void forget_oncep(SealSlot *slot) {
        if (*slot == SEAL_ONCE)
                seal_forget(SEAL_ONCE);
}

int seal(const Secret *key, const SealContext *context, const void *plain, size_t size, Buffer *ret) {
        _cleanup_(forget_oncep) _unused_ SealSlot slot = SEAL_ONCE;
        gcry_cipher_hd_t cipher;
        uint8_t nonce[SEAL_NONCE_SIZE], *out;
        size_t total;
        int r;

        if (__builtin_add_overflow(size, SEAL_OVERHEAD, &total))
                return -E2BIG;
        random_bytes(nonce, sizeof(nonce));
        r = cipher_begin(slot, key, context, nonce, &cipher);
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

int unseal_in(SealSlot slot, const Secret *key, const SealContext *context, const void *sealed, size_t size,
                Secret **ret) {
        _cleanup_(forget_oncep) _unused_ SealSlot used = slot;
        _cleanup_(secret_freep) Secret *plain = NULL;
        gcry_cipher_hd_t cipher;
        const uint8_t *bytes = sealed;
        size_t plain_size;
        int r;

        if (size < SEAL_OVERHEAD)
                return -EBADMSG;
        plain_size = size - SEAL_OVERHEAD;
        r = cipher_begin(slot, key, context, bytes, &cipher);
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

int unseal(const Secret *key, const SealContext *context, const void *sealed, size_t size, Secret **ret) {
        return unseal_in(SEAL_ONCE, key, context, sealed, size, ret);
}
