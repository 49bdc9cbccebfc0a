/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Tables for people: columns as wide as their widest cell, two spaces apart, the last one wrapped at the terminal's edge.
 *
 * Width is counted in display columns by a small table of ours: wcwidth() would need a locale, and loading one costs a
 * short-lived program more than everything else it does. Cells are stripped by printable() and cut at a fixed size, so a
 * service that names itself with a megabyte or with escape sequences costs one crooked cell, not the screen.
 * When output is not a terminal nothing is wrapped: a line is a record, and grep finds it. */

#include "client/output.h"
#include "client/table.h"
#include "client/terminal.h"
#include "util/encode.h"

#define CELL_MAX_BYTES   96
#define LAST_MAX_BYTES   4000 /* the last column may be a list of tools */
#define LAST_LEAST_WIDTH 24   /* narrower than this wrapping helps nobody */
#define COLUMNS_MAX      8

struct Table {
        size_t n_columns;
        char *header[COLUMNS_MAX];
        char **cells;
        size_t n_cells;
        bool is_out_of_memory;
};

Table *table_free(Table *t) {
        if (!t)
                return NULL;
        for (size_t i = 0; i < t->n_columns; i++)
                free(t->header[i]);
        for (size_t i = 0; i < t->n_cells; i++)
                free(t->cells[i]);
        free(t->cells);
        free(t);
        return NULL;
}

Table *table_new(size_t n_columns, const char *const *header) {
        Table *t = calloc(1, sizeof(Table));

        if (!t || n_columns == 0 || n_columns > COLUMNS_MAX)
                return table_free(t);
        t->n_columns = n_columns;
        for (size_t i = 0; header && i < n_columns; i++)
                if (!(t->header[i] = strdup(header[i])))
                        return table_free(t);
        return t;
}

static void table_put(Table *t, char *cell) {
        char **cells = cell ? reallocarray(t->cells, t->n_cells + 1, sizeof(char *)) : NULL;

        if (!cells) {
                free(cell);
                t->is_out_of_memory = true;
                return;
        }
        t->cells = cells;
        t->cells[t->n_cells++] = cell;
}

void table_add(Table *t, const char *text) {
        bool is_last = t->n_cells % t->n_columns == t->n_columns - 1;

        table_put(t, isempty(text) ? strdup("-")
                                   : printable(text, is_last ? LAST_MAX_BYTES : CELL_MAX_BYTES));
}

void table_add_blank(Table *t) {
        table_put(t, strdup(""));
}

/* Unicode 15, East_Asian_Width W and F in coarse ranges, and the marks that take no column of their own. */
static size_t character_width(uint32_t c) {
        if ((c >= 0x300 && c <= 0x36f) || (c >= 0x1ab0 && c <= 0x1aff) || (c >= 0x20d0 && c <= 0x20ff) ||
                        (c >= 0xfe00 && c <= 0xfe0f) || (c >= 0xfe20 && c <= 0xfe2f))
                return 0;
        if ((c >= 0x1100 && c <= 0x115f) || (c >= 0x2e80 && c <= 0xa4cf) || (c >= 0xac00 && c <= 0xd7a3) ||
                        (c >= 0xf900 && c <= 0xfaff) || (c >= 0xfe30 && c <= 0xfe6f) ||
                        (c >= 0xff00 && c <= 0xff60) || (c >= 0xffe0 && c <= 0xffe6) ||
                        (c >= 0x1f300 && c <= 0x1faff) || (c >= 0x20000 && c <= 0x3fffd))
                return 2;
        return 1;
}

/* The character at p and its length in bytes; p is valid UTF-8. */
static size_t character_at(const uint8_t *p, uint32_t *ret_character) {
        size_t length = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
        uint32_t c = length == 1 ? p[0] : p[0] & (0x7fU >> length);

        for (size_t i = 1; i < length; i++) {
                if (!p[i]) { /* cut at a limit in mid-character: cannot be valid, count what is there */
                        length = i;
                        break;
                }
                c = c << 6 | (p[i] & 0x3fU);
        }
        *ret_character = c;
        return length;
}

size_t display_width(const char *text) {
        const uint8_t *p = (const uint8_t *)text;
        size_t width = 0;

        while (*p) {
                uint32_t c;

                p += character_at(p, &c);
                width += character_width(c);
        }
        return width;
}

static void print_padding(FILE *stream, size_t n) {
        (void)fprintf(stream, "%*s", (int)MIN(n, (size_t)512), "");
}

/* Prints text word by word; a word that does not fit begins a new line behind indent. */
static void print_wrapped(FILE *stream, const char *text, size_t indent, size_t width) {
        size_t used = 0;

        for (const char *word = text; *word;) {
                size_t n = strcspn(word, " ");
                char *copy = strndup(word, n);
                size_t needed = copy ? display_width(copy) : n;

                free(copy);
                if (used > 0 && used + 1 + needed > width) {
                        (void)fputc('\n', stream);
                        print_padding(stream, indent);
                        used = 0;
                } else if (used > 0) {
                        (void)fputc(' ', stream);
                        used++;
                }
                (void)fwrite(word, 1, n, stream);
                used += needed;
                word += n + strspn(word + n, " ");
        }
        (void)fputc('\n', stream);
}

static void print_row(
                const Context *c, const Table *t, char *const *row, const size_t *widths, size_t indent) {
        size_t columns = terminal_columns(c->human), before = indent;

        print_padding(c->human, indent);
        for (size_t i = 0; i + 1 < t->n_columns; i++) {
                (void)fputs(row[i], c->human);
                print_padding(c->human, widths[i] - display_width(row[i]) + 2);
                before += widths[i] + 2;
        }
        if (columns >= before + LAST_LEAST_WIDTH)
                print_wrapped(c->human, row[t->n_columns - 1], before, columns - before);
        else
                (void)fprintf(c->human, "%s\n", row[t->n_columns - 1]);
}

void table_print(const Context *c, const Table *t, size_t indent) {
        size_t widths[COLUMNS_MAX] = {};

        if (!c->human)
                return;
        if (t->is_out_of_memory || t->n_cells % t->n_columns != 0) {
                complain("Out of memory");
                return;
        }
        for (size_t i = 0; i < t->n_columns; i++)
                widths[i] = t->header[i] ? display_width(t->header[i]) : 0;
        for (size_t i = 0; i < t->n_cells; i++)
                widths[i % t->n_columns] = MAX(widths[i % t->n_columns], display_width(t->cells[i]));
        if (t->header[0]) {
                (void)fputs(c->is_styled ? "\033[1m" : "", c->human);
                print_row(c, t, t->header, widths, indent);
                (void)fputs(c->is_styled ? "\033[0m" : "", c->human);
        }
        for (size_t i = 0; i < t->n_cells; i += t->n_columns)
                print_row(c, t, t->cells + i, widths, indent);
}
