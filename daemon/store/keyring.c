/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The key-encryption key and what is derived from it.
 *
 * The key arrives as a file of 32 random bytes from outside the state folder (a systemd credential), so a copy of the database
 * alone opens nothing (V2). It is used for nothing directly: the key that wraps data keys and the keys of the
 * short-code digests are expanded from it (HKDF-Expand, RFC 5869 section 2.3: 32 uniform bytes are a
 * pseudorandom key as they are, section 3.3), so that no two algorithms ever share key bytes.
 *
 * Each vault has a data key of its own: it can be destroyed with its vault, and a new key-encryption key means wrapping
 * few bytes anew instead of every record.
 *
 * Who may call: the loop's thread. The Keyring outlives nothing but what was unwrapped with it. */

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "store/keyring.h"
#include "util/hkdf.h"

#define DATA_KEY_ID  "data-key"
#define HAND_OVER_ID "previous-key"

typedef struct KeyPair {
        Secret *wrap; /* wraps data keys */
        Secret *mac;
        uint8_t id[KEYRING_ID_SIZE];
} KeyPair;

struct Keyring {
        KeyPair current;
        KeyPair previous; /* while rekeying; of it `mac` outlives that (keyring_forget_previous()) */
};

/* Expands one 32-byte block: HMAC-SHA256(key, info ‖ 0x01). */
static int expand(const Secret *key, const char *label, const char *info, uint8_t ret[static 32]) {
        /* With the NUL: label and info cannot run into each other. */
        const HmacPart parts[] = { { label, strlen(label) + 1 }, { info, strlen(info) }, { "\x01", 1 } };

        return hmac_sha256(key->bytes, key->size, parts, ELEMENTSOF(parts), ret);
}

static int expand_secret(const Secret *key, const char *label, const char *info, Secret **ret) {
        static const uint8_t zero[32];
        _cleanup_(secret_freep) Secret *s = NULL;
        int r;

        r = secret_new(zero, sizeof(zero), &s);
        if (r < 0)
                return r;
        r = expand(key, label, info, s->bytes);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(s);
        return 0;
}

/* 1: file lies below dir, both resolved; 0: not, or dir does not exist. */
static int is_inside(const char *file, const char *dir) {
        _cleanup_(freep) char *real_file = NULL, *real_dir = NULL;
        const char *rest;

        real_file = realpath(file, NULL);
        if (!real_file)
                return -errno;
        real_dir = realpath(dir, NULL);
        if (!real_dir)
                return errno == ENOENT ? 0 : -errno;
        rest = startswith(real_file, real_dir);
        return rest && (rest[0] == '/' || streq(real_dir, "/"));
}

/* systemd may hand out a credential through an access control list, whose mask shows as the group's bits. */
static int is_credential(const char *kek_file) {
        const char *dir = getenv("CREDENTIALS_DIRECTORY");

        return isempty(dir) ? 0 : is_inside(kek_file, dir);
}

static int kek_check(const char *kek_file, const char *state_dir, const struct stat *st) {
        int r;

        if (!S_ISREG(st->st_mode) || st->st_size != SEAL_KEY_SIZE)
                return -EINVAL;
        r = state_dir ? is_inside(kek_file, state_dir) : 0;
        if (r != 0)
                return r < 0 ? r : -EPERM;
        r = is_credential(kek_file);
        if (r != 0)
                return r < 0 ? r : 0;
        if ((st->st_mode & 077) != 0)
                return -EPERM;
        return st->st_uid == 0 || st->st_uid == geteuid() ? 0 : -EPERM;
}

static int kek_read(const char *kek_file, const char *state_dir, Secret **ret) {
        static const uint8_t zero[SEAL_KEY_SIZE];
        _cleanup_(secret_freep) Secret *kek = NULL;
        _cleanup_(closep) int fd = -1;
        struct stat st;
        int r;

        /* Non-blocking: somebody may have put a FIFO there. */
        fd = open(kek_file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0)
                return -errno;
        r = kek_check(kek_file, state_dir, &st);
        if (r < 0)
                return r;
        r = secret_new(zero, sizeof(zero), &kek);
        if (r < 0)
                return r;
        ssize_t n = read(fd, kek->bytes, kek->size);
        if (n < 0)
                return -errno;
        if (n != SEAL_KEY_SIZE)
                return -EINVAL;
        *ret = TAKE_PTR(kek);
        return 0;
}

static void pair_done(KeyPair *p) {
        seal_forget(SEAL_WRAP);
        p->wrap = secret_free(p->wrap);
        p->mac = secret_free(p->mac);
}

static int id_make(const Secret *kek, uint8_t ret[static KEYRING_ID_SIZE]) {
        uint8_t block[32];
        int r;

        r = expand(kek, "vaultd id 1", "", block);
        if (r >= 0)
                memcpy(ret, block, KEYRING_ID_SIZE);
        return r;
}

int keyring_new(const Secret *kek, Keyring **ret) {
        static const uint8_t zero[SEAL_KEY_SIZE];
        _cleanup_(keyring_freep) Keyring *k = NULL;
        int r;

        /* What an empty disk block looks like is not a key. */
        if (kek->size != SEAL_KEY_SIZE || secret_equal(kek, zero, sizeof(zero)))
                return -EINVAL;
        k = calloc(1, sizeof(Keyring));
        if (!k)
                return -ENOMEM;
        r = expand_secret(kek, "vaultd wrap 1", "", &k->current.wrap);
        if (r >= 0)
                r = expand_secret(kek, "vaultd mac 1", "", &k->current.mac);
        if (r >= 0)
                r = id_make(kek, k->current.id);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(k);
        return 0;
}

/* version u8 | wrap key | MAC key | id */
#define EXPORT_VERSION 1U
#define EXPORT_SIZE    (1U + 2U * SEAL_KEY_SIZE + KEYRING_ID_SIZE)

int keyring_export(const Keyring *k, Secret **ret) {
        static const uint8_t zero[EXPORT_SIZE];
        _cleanup_(secret_freep) Secret *s = NULL;
        int r;

        if (keyring_has_previous(k))
                return -EBUSY;
        r = secret_new(zero, sizeof(zero), &s);
        if (r < 0)
                return r;
        s->bytes[0] = EXPORT_VERSION;
        memcpy(s->bytes + 1, k->current.wrap->bytes, SEAL_KEY_SIZE);
        memcpy(s->bytes + 1 + SEAL_KEY_SIZE, k->current.mac->bytes, SEAL_KEY_SIZE);
        memcpy(s->bytes + 1 + 2 * SEAL_KEY_SIZE, k->current.id, KEYRING_ID_SIZE);
        *ret = TAKE_PTR(s);
        return 0;
}

/* From the bytes that keyring_export() and keyring_hand_over() both have. */
static int pair_read(const uint8_t *bytes, KeyPair *ret) {
        _cleanup_(secret_freep) Secret *wrap = NULL, *mac = NULL;
        int r;

        r = secret_new(bytes, SEAL_KEY_SIZE, &wrap);
        if (r >= 0)
                r = secret_new(bytes + SEAL_KEY_SIZE, SEAL_KEY_SIZE, &mac);
        if (r < 0)
                return r;
        pair_done(ret);
        ret->wrap = TAKE_PTR(wrap);
        ret->mac = TAKE_PTR(mac);
        memcpy(ret->id, bytes + 2 * SEAL_KEY_SIZE, KEYRING_ID_SIZE);
        return 0;
}

int keyring_import(const Secret *exported, Keyring **ret) {
        _cleanup_(keyring_freep) Keyring *k = NULL;
        int r;

        if (exported->size != EXPORT_SIZE || exported->bytes[0] != EXPORT_VERSION)
                return -EBADMSG;
        k = calloc(1, sizeof(Keyring));
        if (!k)
                return -ENOMEM;
        r = pair_read(exported->bytes + 1, &k->current);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(k);
        return 0;
}

int keyring_load(const char *kek_file, const char *state_dir, Keyring **ret) {
        _cleanup_(secret_freep) Secret *kek = NULL;
        int r;

        r = secret_global_init();
        if (r >= 0)
                r = kek_read(kek_file, state_dir, &kek);
        return r < 0 ? r : keyring_new(kek, ret);
}

Keyring *keyring_free(Keyring *k) {
        if (!k)
                return NULL;
        pair_done(&k->current);
        pair_done(&k->previous);
        free(k);
        return NULL;
}

void keyring_id(const Keyring *k, uint8_t ret[static KEYRING_ID_SIZE]) {
        memcpy(ret, k->current.id, KEYRING_ID_SIZE);
}

/* wrap ‖ mac ‖ id, sealed as what lies in the one place for it. */
static const SealContext hand_over_context = {
        .kind = RECORD_META,
        .uid = 0,
        .vault_id = "host",
        .record_id = HAND_OVER_ID,
        .record_id_size = sizeof(HAND_OVER_ID) - 1,
};

int keyring_hand_over(const Keyring *from, const Keyring *to, Buffer *ret) {
        static const uint8_t zero[2 * SEAL_KEY_SIZE + KEYRING_ID_SIZE];
        _cleanup_(secret_freep) Secret *plain = NULL;
        int r;

        r = secret_new(zero, sizeof(zero), &plain);
        if (r < 0)
                return r;
        memcpy(plain->bytes, from->current.wrap->bytes, SEAL_KEY_SIZE);
        memcpy(plain->bytes + SEAL_KEY_SIZE, from->current.mac->bytes, SEAL_KEY_SIZE);
        memcpy(plain->bytes + 2 * SEAL_KEY_SIZE, from->current.id, KEYRING_ID_SIZE);
        return seal(to->current.wrap, &hand_over_context, plain->bytes, plain->size, ret);
}

int keyring_take_over(Keyring *k, const void *sealed, size_t size, uint8_t ret_id[static KEYRING_ID_SIZE]) {
        _cleanup_(secret_freep) Secret *plain = NULL;
        int r;

        r = unseal(k->current.wrap, &hand_over_context, sealed, size, &plain);
        if (r < 0)
                return r;
        if (plain->size != 2 * SEAL_KEY_SIZE + KEYRING_ID_SIZE)
                return -EBADMSG;
        r = pair_read(plain->bytes, &k->previous);
        if (r < 0)
                return r;
        memcpy(ret_id, k->previous.id, KEYRING_ID_SIZE);
        return 0;
}

void keyring_become(Keyring *k, Keyring *taken) {
        pair_done(&k->previous);
        k->previous = k->current;
        k->current = taken->current;
        taken->current = (KeyPair){};
        (void)keyring_free(taken);
}

bool keyring_has_previous(const Keyring *k) {
        return k->previous.wrap;
}

void keyring_forget_previous(Keyring *k) {
        seal_forget(SEAL_WRAP);
        k->previous.wrap = secret_free(k->previous.wrap);
}

static SealContext data_key_context(uid_t uid, const char *vault_id) {
        return (SealContext){
                .kind = RECORD_VAULT,
                .uid = uid,
                .vault_id = vault_id,
                .record_id = DATA_KEY_ID,
                .record_id_size = strlen(DATA_KEY_ID),
        };
}

int keyring_wrap(Keyring *k, uid_t uid, const char *vault_id, const Secret *key, Buffer *ret_wrapped) {
        SealContext context = data_key_context(uid, vault_id);

        if (key->size != SEAL_KEY_SIZE)
                return -EINVAL;
        return seal(k->current.wrap, &context, key->bytes, key->size, ret_wrapped);
}

int keyring_new_data_key(
                Keyring *k, uid_t uid, const char *vault_id, Secret **ret_key, Buffer *ret_wrapped) {
        _cleanup_(secret_freep) Secret *key = NULL;
        int r;

        r = secret_new_random(SEAL_KEY_SIZE, &key);
        if (r < 0)
                return r;
        r = keyring_wrap(k, uid, vault_id, key, ret_wrapped);
        if (r < 0)
                return r;
        *ret_key = TAKE_PTR(key);
        return 0;
}

int keyring_unwrap(Keyring *k, uid_t uid, const char *vault_id, const void *wrapped, size_t size,
                Secret **ret_key) {
        SealContext context = data_key_context(uid, vault_id);
        int r;

        if (size != SEAL_KEY_SIZE + SEAL_OVERHEAD)
                return -EBADMSG;
        r = unseal_in(SEAL_WRAP, k->current.wrap, &context, wrapped, size, ret_key);
        return r == -EBADMSG && k->previous.wrap ? unseal(k->previous.wrap, &context, wrapped, size, ret_key)
                                                 : r;
}

int keyring_wraps(Keyring *k, uid_t uid, const char *vault_id, const void *wrapped, size_t size) {
        SealContext context = data_key_context(uid, vault_id);
        _cleanup_(secret_freep) Secret *key = NULL;
        int r;

        r = unseal(k->current.wrap, &context, wrapped, size, &key);
        return r == -EBADMSG ? 0 : r < 0 ? r : 1;
}

static int pair_mac(
                const KeyPair *p, const char *purpose, const void *bytes, size_t n, uint8_t ret[static 32]) {
        _cleanup_(secret_freep) Secret *key = NULL;
        int r;

        r = expand_secret(p->mac, "vaultd purpose 1", purpose, &key);
        return r < 0 ? r : hmac_sha256(key->bytes, key->size, &(HmacPart){ bytes, n }, 1, ret);
}

int keyring_mac(Keyring *k, const char *purpose, const void *bytes, size_t n, uint8_t ret[static 32]) {
        return pair_mac(&k->current, purpose, bytes, n, ret);
}

int keyring_mac_matches(Keyring *k, const char *purpose, const void *bytes, size_t n,
                const uint8_t expected[static 32]) {
        uint8_t mac[32];
        int r;

        r = pair_mac(&k->current, purpose, bytes, n, mac);
        if (r < 0 || bytes_equal_constant_time(mac, expected, sizeof(mac)))
                return r < 0 ? r : 1;
        if (!k->previous.mac)
                return 0;
        r = pair_mac(&k->previous, purpose, bytes, n, mac);
        return r < 0 ? r : bytes_equal_constant_time(mac, expected, sizeof(mac));
}
