/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "store/keyring.h"
#include "store/store.h"

/* The recovery key: an X25519 key pair whose private half nobody but the administrator has, on paper. Backups are sealed to
 * the public half, so they open on other hardware where the host's own key is not. */

#define RECOVERY_KEY_SIZE 32U

/* A new pair. *ret_text is what a person writes down, the only copy of the private half: "VR1-" and groups of four characters
 * of Crockford's base32, checksum included. -ENOMEM, -ENOTSUP. */
int recovery_new(uint8_t ret_public[static RECOVERY_KEY_SIZE], Secret **ret_text);

/* Reads what was written down: upper or lower case, blanks and hyphens anywhere, O for 0, I and L for 1. -EINVAL: mistyped (a
 * character that cannot be, too few or many, a wrong checksum). -ENOMEM. */
int recovery_parse(const char *text, size_t n, Secret **ret_private);

/* The public half of a private key that recovery_parse() gave. -ENOTSUP. */
int recovery_public(const Secret *private, uint8_t ret_public[static RECOVERY_KEY_SIZE]);

/* A fresh 32-byte key for whoever holds the private half, and the ephemeral public key that goes along with what is sealed
 * under it: HKDF-SHA256 (RFC 5869) over the X25519 secret (RFC 7748), with both public keys as salt and "vaultd backup 1" as
 * info. -EINVAL: public is no key of anybody's (a point of small order). -ENOMEM, -ENOTSUP. */
int recovery_encapsulate(const uint8_t public[static RECOVERY_KEY_SIZE],
                uint8_t ret_ephemeral[static RECOVERY_KEY_SIZE], Secret **ret_key);
/* The same key again. -EBADMSG: ephemeral is a point of small order. A wrong private key gives another key and no error: what
 * was sealed then does not open. */
int recovery_decapsulate(
                const Secret *private, const uint8_t ephemeral[static RECOVERY_KEY_SIZE], Secret **ret_key);

/* The public half as the store keeps it, authenticated under the key-encryption key: whoever could put another one there would
 * read the next backup. ret_created_usec may be NULL. -ENOENT: there is none. -EBADMSG: damaged, or not made by us. */
int recovery_record_read(Store *s, Keyring *k, uint8_t ret_public[static RECOVERY_KEY_SIZE],
                uint64_t *ret_created_usec);
/* Adds the put, in place of any other. */
int recovery_record_put(StoreBatch *b, Keyring *k, const uint8_t public[static RECOVERY_KEY_SIZE],
                uint64_t created_usec);
/* Adds the expectation that there is none. */
int recovery_record_expect_none(StoreBatch *b);
