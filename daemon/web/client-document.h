/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/buffer.h"

/* The last part of a callback's path: 16 lower-case hex digits. */
bool client_digest_is_legal(const char *digest);
/* Appends the JSON document at EXTERNAL/client/DIGEST. external: "https://host[:port]". 0, -ENOMEM. */
int client_document_write(const char *external, const char *digest, Buffer *b);
