/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* HMAC-SHA256 and HKDF (RFC 5869) on libgcrypt's HMAC.
 *
 * libgcrypt 1.10, which Debian 12 ships, has no HKDF of its own. What lies between the steps (the pseudorandom key, the
 * last block) is key material too: it is kept in secure memory and erased there.
 *
 * Who may call: anybody above util who derives a key or a keyed digest. Nothing here prints. */

#include <gcrypt.h>

#include "util/hkdf.h"
#include "util/secret.h"

#define BLOCKS_MAX 255U

static void mac_closep(gcry_mac_hd_t *mac) {
        if (*mac)
                gcry_mac_close(*mac);
}

int hmac_sha256(const void *key, size_t key_size, const HmacPart *parts, size_t n_parts,
                uint8_t ret[static HKDF_BLOCK_SIZE]) {
        _cleanup_(mac_closep) gcry_mac_hd_t mac = NULL;
        size_t size = HKDF_BLOCK_SIZE;
        gcry_error_t e;

        e = gcry_mac_open(&mac, GCRY_MAC_HMAC_SHA256, GCRY_MAC_FLAG_SECURE, NULL);
        if (e)
                return gcry_err_code(e) == GPG_ERR_ENOMEM ? -ENOMEM : -ENOTSUP;
        e = gcry_mac_setkey(mac, key, key_size);
        for (size_t i = 0; i < n_parts && !e; i++)
                if (parts[i].size > 0)
                        e = gcry_mac_write(mac, parts[i].bytes, parts[i].size);
        if (!e)
                e = gcry_mac_read(mac, ret, &size);
        return e || size != HKDF_BLOCK_SIZE ? -ENOTSUP : 0;
}

/* RFC 5869 section 2.3; out has room for whole blocks. */
static int expand(const Secret *key, const void *info, size_t n_info, size_t n_blocks, uint8_t *out) {
        int r = 0;

        for (size_t i = 0; i < n_blocks && r >= 0; i++) {
                const uint8_t number = (uint8_t)(i + 1);
                const HmacPart parts[] = {
                        { i > 0 ? out + (i - 1) * HKDF_BLOCK_SIZE : NULL, i > 0 ? HKDF_BLOCK_SIZE : 0 },
                        { info, n_info },
                        { &number, 1 },
                };

                r = hmac_sha256(key->bytes, key->size, parts, ELEMENTSOF(parts), out + i * HKDF_BLOCK_SIZE);
        }
        return r;
}

int hkdf_sha256(const void *salt, size_t n_salt, const void *input, size_t n_input, const void *info,
                size_t n_info, void *ret, size_t size) {
        static const uint8_t zero[BLOCKS_MAX * HKDF_BLOCK_SIZE];
        _cleanup_(secret_freep) Secret *key = NULL, *blocks = NULL;
        size_t n_blocks = (size + HKDF_BLOCK_SIZE - 1) / HKDF_BLOCK_SIZE;
        int r;

        if (size == 0 || n_blocks > BLOCKS_MAX)
                return -EINVAL;
        r = secret_new(zero, HKDF_BLOCK_SIZE, &key);
        if (r >= 0)
                r = secret_new(zero, n_blocks * HKDF_BLOCK_SIZE, &blocks);
        if (r >= 0)
                r = hmac_sha256(n_salt > 0 ? salt : zero, n_salt > 0 ? n_salt : HKDF_BLOCK_SIZE,
                                &(HmacPart){ input, n_input }, 1, key->bytes);
        if (r >= 0)
                r = expand(key, info, n_info, n_blocks, blocks->bytes);
        if (r < 0)
                return r;
        memcpy(ret, blocks->bytes, size);
        return 0;
}
