/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "client/fault.h"

/* The file of the key-encryption key, which root makes and replaces and vaultd is given when it starts. */

#define KEK_SIZE       32U
#define KEK_CREDENTIAL "/etc/credstore.encrypted/vaultd.kek"

typedef struct KekFile {
        const char *path;
        bool is_plain; /* 32 bytes as they are, for a vaultd that is started with --kek-file; otherwise a credential of systemd-creds(1) */
} KekFile;

/* Makes 32 random bytes and a file of them at path (plain or encrypted as `like` says), readable by its owner alone, on disk when
 * this returns, never in the place of another file (-EEXIST is a fault). owner (optional) is the file whose owner it gets. The key
 * goes to ret_key, which may be NULL; the caller erases it. 0 or FAULT_SET. */
int kek_make(const KekFile *like, const char *path, const char *owner, uint8_t ret_key[static KEK_SIZE],
                Fault *fault);

/* Puts the file at path in the place of k->path, on disk when this returns. 0 or FAULT_SET. */
int kek_replace(const KekFile *k, const char *path, Fault *fault);

/* 1: there is one; 0: there is none; FAULT_SET. */
int kek_exists(const KekFile *k, Fault *fault);

/* What the key is bound to: "host", "tpm2", "host+tpm2", "none" (a plain file), "unknown". */
const char *kek_binding(const KekFile *k, const char *path);
