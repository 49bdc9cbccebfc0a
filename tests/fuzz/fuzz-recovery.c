/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Fuzzes the reader of a typed recovery key. No input may crash. What is read is 32 bytes, and the same input without its
 * separators and in upper case is the same key: how somebody groups the characters means nothing. */

#include <ctype.h>

#include "store/recovery.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition) {
        if (!condition)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(secret_freep) Secret *private = NULL, *again = NULL;
        char plain[1024];
        size_t n = 0;
        int r;

        require(secret_global_init() == 0);
        r = recovery_parse((const char *)data, size, &private);
        require(r == 0 || r == -EINVAL);
        require(!private == (r != 0));
        if (r != 0)
                return 0;
        require(private->size == RECOVERY_KEY_SIZE && size <= sizeof(plain));
        for (size_t i = 0; i < size; i++)
                if (isalnum(data[i]))
                        plain[n++] = (char)toupper(data[i]);
        require(n == 3 + 56);
        require(recovery_parse(plain, n, &again) == 0);
        require(secret_equal(again, private->bytes, private->size));
        return 0;
}
