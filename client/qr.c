/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* QR codes for the telephone beside the terminal.
 *
 * Two modules per character cell with the half blocks of Unicode, colours set explicitly (black on white) because a code
 * drawn with the terminal's own colours is inverted on dark backgrounds, which many readers refuse. Quiet zone of four
 * modules (ISO/IEC 18004), error correction level L: a screen is not scratched. Drawn only where it fits whole; a cut code
 * is worse than none. Drawn are our own short link and the address of a device code (about 60 bytes, 33 modules): an authorization
 * address would be public on the screen and too large anyway.
 *
 * libqrencode is loaded when a code is to be drawn and not linked: the linker would load it, and libpthread with it, for every
 * command, which a short one can feel (tests/bench/run process). Where it is not installed there are no
 * codes. */

#include <dlfcn.h>
#include <qrencode.h>
#include <sys/ioctl.h>

#include "client/qr.h"
#include "client/terminal.h"

#define QUIET 4

/* The name that goes with <qrencode.h> of version 4. */
#define LIBRARY "libqrencode.so.4"

static __typeof__(QRcode_encodeString8bit) *encode_text;
static __typeof__(QRcode_free) *release_code;

/* Stays loaded until the program ends. */
static bool load_library(void) {
        void *library;

        if (encode_text && release_code)
                return true;
        library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
        if (!library)
                return false;
        encode_text = (__typeof__(encode_text))dlsym(library, "QRcode_encodeString8bit");
        release_code = (__typeof__(release_code))dlsym(library, "QRcode_free");
        return encode_text && release_code;
}

static void free_code(QRcode **code) {
        if (*code)
                release_code(*code);
}

static bool is_dark(const QRcode *code, int x, int y) {
        if (x < 0 || y < 0 || x >= code->width || y >= code->width)
                return false;
        return code->data[y * code->width + x] & 1;
}

bool qr_print(const Context *c, const char *url) {
        _cleanup_(free_code) QRcode *code = NULL;
        struct winsize size;
        int side;

        if (!c->human || !c->is_styled || !terminal_is_utf8() ||
                        ioctl(fileno(c->human), TIOCGWINSZ, &size) < 0 || !load_library())
                return false;
        code = encode_text(url, 0, QR_ECLEVEL_L);
        if (!code)
                return false;
        side = code->width + 2 * QUIET;
        if (side > size.ws_col || (side + 1) / 2 + 2 > size.ws_row)
                return false;
        for (int y = -QUIET; y < code->width + QUIET; y += 2) {
                (void)fputs("\033[30;107m", c->human);
                for (int x = -QUIET; x < code->width + QUIET; x++) {
                        bool upper = is_dark(code, x, y), lower = is_dark(code, x, y + 1);

                        (void)fputs(upper ? (lower ? "█" : "▀") : (lower ? "▄" : " "), c->human);
                }
                (void)fputs("\033[0m\n", c->human);
        }
        return true;
}
