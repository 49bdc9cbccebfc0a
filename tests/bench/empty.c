/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A program that does nothing: what the kernel and the dynamic linker take for any process. */

int main(void) {
        return 0;
}
