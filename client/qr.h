/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "client/context.h"

/* A QR code of a link, in half blocks. Two bodies, chosen when building: qr.c with libqrencode, qr-none.c without. */

/* Prints it when the context's stream is a styled UTF-8 terminal on which it fits, otherwise does nothing. Returns whether it was printed. */
bool qr_print(const Context *c, const char *url);
