/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/buffer.h"

/* Appends a JSON string literal with all needed escapes; text that is not UTF-8 → -EILSEQ. Libc only. */
int json_write_string(Buffer *b, const char *text);
