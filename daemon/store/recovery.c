/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The recovery key.
 *
 * The key-encryption key is bound to this machine, and a backup that only this machine opens is worth nothing when the
 * machine is lost. So backups are sealed to a public key, and its private half is shown once, to be written down:
 *
 *     VR1-XXXX-XXXX-…    14 groups: 32 bytes of key, 3 bytes of SHA-256("vaultd recovery 1" ‖ key), base32
 *
 * vaultd keeps the public half alone and can therefore make backups and open none. Crockford's alphabet has neither I, L, O
 * nor U, and what is typed in their place is read as what was meant. The checksum tells a slip of the pen from a wrong key
 * with a chance of one in 2²⁴ to be mistaken.
 *
 * The stored record is
 *
 *     version u8 | public key 32 | created u64 LE | keyring_mac("recovery", all before)
 *
 * Who may call: the loop's thread. recovery_parse() is pure and is what the fuzzer drives. */

#include <gcrypt.h>

#include "store/recovery.h"
#include "util/hkdf.h"

#define TEXT_PREFIX   "VR1"
#define CHECKSUM_SIZE 3U
#define RAW_SIZE      (RECOVERY_KEY_SIZE + CHECKSUM_SIZE)
#define N_CHARACTERS  (RAW_SIZE * 8U / 5U) /* 56, without a rest */
#define GROUP_SIZE    4U
#define TEXT_MAX      1024U /* of anything that is looked at */

#define PURPOSE   "vaultd backup 1"
#define RECORD_ID "recovery"

typedef struct RecoveryRecord {
        uint8_t version;
        uint8_t public[RECOVERY_KEY_SIZE];
        uint8_t created_usec[8];
        uint8_t mac[32];
} RecoveryRecord;

#define RECORD_VERSION    1U
#define RECORD_MACED_SIZE offsetof(RecoveryRecord, mac)

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/* RFC 7748 section 5: clamping and masking are libgcrypt's. point NULL: the base point. -EINVAL for a result of all zero, which only
 * points of small order give (section 6.1). */
static int x25519(const uint8_t *scalar, const uint8_t *point, uint8_t ret[static RECOVERY_KEY_SIZE]) {
        static const uint8_t zero[RECOVERY_KEY_SIZE];
        gcry_error_t e = gcry_ecc_mul_point(GCRY_ECC_CURVE25519, ret, scalar, point);

        if (e)
                return gcry_err_code(e) == GPG_ERR_ENOMEM ? -ENOMEM : -ENOTSUP;
        return bytes_equal_constant_time(ret, zero, sizeof(zero)) ? -EINVAL : 0;
}

static int checksum(const uint8_t key[static RECOVERY_KEY_SIZE], uint8_t ret[static CHECKSUM_SIZE]) {
        static const char label[] = "vaultd recovery 1";
        _cleanup_(secret_freep) Secret *all = NULL;
        uint8_t digest[32];
        int r;

        r = secret_new_random(sizeof(label) - 1 + RECOVERY_KEY_SIZE, &all);
        if (r < 0)
                return r;
        memcpy(all->bytes, label, sizeof(label) - 1);
        memcpy(all->bytes + sizeof(label) - 1, key, RECOVERY_KEY_SIZE);
        sha256(all->bytes, all->size, digest);
        memcpy(ret, digest, CHECKSUM_SIZE);
        return 0;
}

/* raw: key and checksum. */
static int text_encode(const Secret *raw, Secret **ret) {
        char blank[sizeof(TEXT_PREFIX) - 1 + N_CHARACTERS + N_CHARACTERS / GROUP_SIZE];
        _cleanup_(secret_freep) Secret *text = NULL;
        char *p;
        int r;

        memset(blank, '-', sizeof(blank));
        r = secret_new(blank, sizeof(blank), &text);
        if (r < 0)
                return r;
        p = (char *)text->bytes;
        memcpy(p, TEXT_PREFIX, strlen(TEXT_PREFIX));
        p += strlen(TEXT_PREFIX);
        for (size_t i = 0; i < N_CHARACTERS; i++) {
                size_t bit = 5 * i;
                unsigned pair = (unsigned)raw->bytes[bit / 8] << 8;

                if (bit / 8 + 1 < raw->size)
                        pair |= raw->bytes[bit / 8 + 1];
                if (i % GROUP_SIZE == 0)
                        p++;
                *p++ = alphabet[pair >> (11 - bit % 8) & 31];
        }
        *ret = TAKE_PTR(text);
        return 0;
}

int recovery_new(uint8_t ret_public[static RECOVERY_KEY_SIZE], Secret **ret_text) {
        _cleanup_(secret_freep) Secret *raw = NULL, *text = NULL;
        uint8_t public[RECOVERY_KEY_SIZE];
        int r;

        r = secret_new_random(RAW_SIZE, &raw);
        if (r >= 0)
                r = checksum(raw->bytes, raw->bytes + RECOVERY_KEY_SIZE);
        if (r >= 0)
                r = text_encode(raw, &text);
        if (r >= 0)
                r = x25519(raw->bytes, NULL, public);
        if (r < 0)
                return r;
        memcpy(ret_public, public, sizeof(public));
        *ret_text = TAKE_PTR(text);
        return 0;
}

/* The value of a typed character, or -EINVAL. */
static int character_value(char c) {
        const char *found;

        if (c >= 'a' && c <= 'z')
                c = (char)(c - 'a' + 'A');
        if (c == 'O')
                c = '0';
        if (c == 'I' || c == 'L')
                c = '1';
        found = c ? strchr(alphabet, c) : NULL;
        return found ? (int)(found - alphabet) : -EINVAL;
}

static bool is_separator(char c) {
        return c == '-' || c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The characters behind the prefix into raw, which has RAW_SIZE zero bytes. */
static int text_decode(const char *text, size_t n, Secret *raw) {
        size_t i = 0;

        for (const char *p = text; p < text + n; p++) {
                size_t bit = 5 * i;
                int value;

                if (is_separator(*p))
                        continue;
                value = character_value(*p);
                if (value < 0 || i == N_CHARACTERS)
                        return -EINVAL;
                unsigned pair = (unsigned)value << (11 - bit % 8);
                raw->bytes[bit / 8] |= (uint8_t)(pair >> 8);
                if (bit / 8 + 1 < raw->size)
                        raw->bytes[bit / 8 + 1] |= (uint8_t)pair;
                i++;
        }
        return i == N_CHARACTERS ? 0 : -EINVAL;
}

/* Passes over "VR1", however it is spelled. NULL: it is not there. */
static const char *skip_prefix(const char *text, const char *end) {
        const char *prefix = TEXT_PREFIX;

        while (text < end && *prefix) {
                if (is_separator(*text)) {
                        text++;
                        continue;
                }
                int value = character_value(*text++);
                if (value < 0 || value != character_value(*prefix++))
                        return NULL;
        }
        return *prefix ? NULL : text;
}

int recovery_parse(const char *text, size_t n, Secret **ret_private) {
        static const uint8_t zero[RAW_SIZE];
        _cleanup_(secret_freep) Secret *raw = NULL, *private = NULL;
        uint8_t expected[CHECKSUM_SIZE];
        const char *rest;
        int r;

        rest = n > TEXT_MAX ? NULL : skip_prefix(text, text + n);
        if (!rest)
                return -EINVAL;
        r = secret_new(zero, sizeof(zero), &raw);
        if (r >= 0)
                r = text_decode(rest, (size_t)(text + n - rest), raw);
        if (r >= 0)
                r = checksum(raw->bytes, expected);
        if (r < 0)
                return r;
        if (!bytes_equal_constant_time(expected, raw->bytes + RECOVERY_KEY_SIZE, CHECKSUM_SIZE))
                return -EINVAL;
        r = secret_new(raw->bytes, RECOVERY_KEY_SIZE, &private);
        if (r < 0)
                return r;
        *ret_private = TAKE_PTR(private);
        return 0;
}

int recovery_public(const Secret *private, uint8_t ret_public[static RECOVERY_KEY_SIZE]) {
        uint8_t public[RECOVERY_KEY_SIZE];
        int r;

        if (private->size != RECOVERY_KEY_SIZE)
                return -EINVAL;
        r = x25519(private->bytes, NULL, public);
        if (r >= 0)
                memcpy(ret_public, public, sizeof(public));
        return r;
}

/* The key that both sides come to. */
static int agree(const Secret *scalar, const uint8_t *point, const uint8_t *ephemeral, const uint8_t *public,
                Secret **ret) {
        static const uint8_t zero[RECOVERY_KEY_SIZE];
        _cleanup_(secret_freep) Secret *shared = NULL, *key = NULL;
        uint8_t salt[2 * RECOVERY_KEY_SIZE];
        int r;

        r = secret_new(zero, sizeof(zero), &shared);
        if (r >= 0)
                r = secret_new(zero, sizeof(zero), &key);
        if (r >= 0)
                r = x25519(scalar->bytes, point, shared->bytes);
        if (r < 0)
                return r;
        memcpy(salt, ephemeral, RECOVERY_KEY_SIZE);
        memcpy(salt + RECOVERY_KEY_SIZE, public, RECOVERY_KEY_SIZE);
        r = hkdf_sha256(salt, sizeof(salt), shared->bytes, shared->size, PURPOSE, strlen(PURPOSE),
                        key->bytes, key->size);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(key);
        return 0;
}

int recovery_encapsulate(const uint8_t public[static RECOVERY_KEY_SIZE],
                uint8_t ret_ephemeral[static RECOVERY_KEY_SIZE], Secret **ret_key) {
        _cleanup_(secret_freep) Secret *private = NULL, *key = NULL;
        uint8_t ephemeral[RECOVERY_KEY_SIZE];
        int r;

        r = secret_new_random(RECOVERY_KEY_SIZE, &private);
        if (r >= 0)
                r = x25519(private->bytes, NULL, ephemeral);
        if (r >= 0)
                r = agree(private, public, ephemeral, public, &key);
        if (r < 0)
                return r;
        memcpy(ret_ephemeral, ephemeral, sizeof(ephemeral));
        *ret_key = TAKE_PTR(key);
        return 0;
}

int recovery_decapsulate(
                const Secret *private, const uint8_t ephemeral[static RECOVERY_KEY_SIZE], Secret **ret_key) {
        uint8_t public[RECOVERY_KEY_SIZE];
        int r;

        r = recovery_public(private, public);
        if (r < 0)
                return r;
        r = agree(private, ephemeral, ephemeral, public, ret_key);
        return r == -EINVAL ? -EBADMSG : r;
}

static int recovery_key_init(StoreKey *ret) {
        return store_key_init(ret, RECORD_META, 0, RECORD_ID, strlen(RECORD_ID));
}

int recovery_record_read(Store *s, Keyring *k, uint8_t ret_public[static RECOVERY_KEY_SIZE],
                uint64_t *ret_created_usec) {
        _cleanup_(buffer_done) Buffer value = {};
        RecoveryRecord record;
        uint8_t mac[sizeof(record.mac)];
        uint64_t created = 0;
        bool is_ours;
        StoreKey key;
        int r;

        r = recovery_key_init(&key);
        if (r >= 0)
                r = store_get(s, &key, &value);
        if (r < 0)
                return r;
        if (value.size != sizeof(record))
                return -EBADMSG;
        memcpy(&record, value.bytes, sizeof(record));
        r = keyring_mac(k, RECORD_ID, &record, RECORD_MACED_SIZE, mac);
        if (r < 0)
                return r;
        is_ours = bytes_equal_constant_time(mac, record.mac, sizeof(mac));
        if (!is_ours && keyring_has_previous(k)) {
                r = keyring_mac_matches(k, RECORD_ID, &record, RECORD_MACED_SIZE, record.mac);
                if (r < 0)
                        return r;
                is_ours = r > 0;
        }
        if (record.version != RECORD_VERSION || !is_ours)
                return -EBADMSG;
        for (size_t i = sizeof(record.created_usec); i-- > 0;)
                created = created << 8 | record.created_usec[i];
        memcpy(ret_public, record.public, RECOVERY_KEY_SIZE);
        if (ret_created_usec)
                *ret_created_usec = created;
        return 0;
}

int recovery_record_put(StoreBatch *b, Keyring *k, const uint8_t public[static RECOVERY_KEY_SIZE],
                uint64_t created_usec) {
        RecoveryRecord record = { .version = RECORD_VERSION };
        StoreKey key;
        int r;

        memcpy(record.public, public, RECOVERY_KEY_SIZE);
        for (size_t i = 0; i < sizeof(record.created_usec); i++)
                record.created_usec[i] = (uint8_t)(created_usec >> (8 * i));
        r = keyring_mac(k, RECORD_ID, &record, RECORD_MACED_SIZE, record.mac);
        if (r >= 0)
                r = recovery_key_init(&key);
        return r < 0 ? r : store_batch_put(b, &key, &record, sizeof(record));
}

int recovery_record_expect_none(StoreBatch *b) {
        StoreKey key;
        int r = recovery_key_init(&key);

        return r < 0 ? r : store_batch_expect_absent(b, &key);
}
