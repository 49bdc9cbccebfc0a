/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/macro.h"

/* Key derivation and keyed digests with HMAC-SHA256. Results that are keys belong into secure memory (Secret.bytes): nothing is
 * kept here. Both need secret_global_init(). */

#define HKDF_BLOCK_SIZE 32U

/* HMAC-SHA256 (RFC 2104) of the parts, one behind the other. -ENOMEM, -ENOTSUP. */
typedef struct HmacPart {
        const void *bytes;
        size_t size;
} HmacPart;
int hmac_sha256(const void *key, size_t key_size, const HmacPart *parts, size_t n_parts,
                uint8_t ret[static HKDF_BLOCK_SIZE]);

/* HKDF (RFC 5869): extract with the salt (n_salt 0: none, which is 32 zero bytes), expand to size bytes, at most 255 blocks
 * (-EINVAL). ret is written only on success. -ENOMEM, -ENOTSUP. */
int hkdf_sha256(const void *salt, size_t n_salt, const void *input, size_t n_input, const void *info,
                size_t n_info, void *ret, size_t size);
