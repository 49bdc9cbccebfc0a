/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "client/context.h"

/* Aligned columns. Cells are foreign text: they are stripped and cut when they are added. */

typedef struct Table Table;

/* header: n_columns titles, or NULL for a table without a header line. */
Table *table_new(size_t n_columns, const char *const *header);
/* The next cell, left to right; NULL and "" show as "-". Memory faults are kept and told by table_print(). */
void table_add(Table *t, const char *text);
/* The same for a cell that continues the row above and is empty on purpose. */
void table_add_blank(Table *t);
/* indent: spaces before each line. On a terminal the last column wraps at its width. */
void table_print(const Context *c, const Table *t, size_t indent);
Table *table_free(Table *t);
DEFINE_CLEANUP(Table *, table_free)

/* Columns that UTF-8 text takes on a terminal: combining marks none, East Asian wide characters and emoji two. */
size_t display_width(const char *text);
