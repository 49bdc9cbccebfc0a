/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The strict INI reader.
 *
 * Why ours: the libraries that Debian ships drop repeated keys, cut long lines or join what they do not
 * understand, all silently; a policy in which a Deny= line vanished is worse than one that does not load.
 * So each line is exactly one of: blank, comment, [Section], [Section name], Key=value; anything else is a
 * fault with its line number, and reading goes on, so that all faults are seen at once.
 *
 * What systemd's dialect has and this one refuses: continuation lines, empty assignments, quotes; each
 * could be read in two ways by somebody who knows another dialect. A '#' behind white space in a value is
 * refused too: there it would be text.
 *
 * Invariants: pure; what is stored has been checked for UTF-8 and control bytes. Repetition of keys is
 * judged by who knows which keys are lists (schema.c). */

#include "policy/ini.h"
#include "util/encode.h"

#define KEY_MAX 32U

typedef struct IniReader {
        const char *file;
        FaultList *faults;
        IniFile *target;
        unsigned line;
        bool has_cr; /* reported once a file */
} IniReader;

static void ini_section_done(IniSection *s) {
        for (size_t i = 0; i < s->n_entries; i++) {
                free(s->entries[i].key);
                free(s->entries[i].value);
        }
        free(s->entries);
        free(s->name);
        free(s->argument);
}

void ini_file_done(IniFile *f) {
        for (size_t i = 0; i < f->n_sections; i++)
                ini_section_done(&f->sections[i]);
        free(f->sections);
        *f = (IniFile){};
}

static bool is_blank(char c) {
        return c == ' ' || c == '\t';
}

static size_t word_size(const char *text, size_t n, const char *legal) {
        size_t k = 0;

        while (k < n && text[k] != 0 && strchr(legal, text[k]))
                k++;
        return k;
}

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS  "0123456789"

/* Adds a section; name_size 0: one whose entries are to be ignored. */
static int ini_add_section(IniReader *r, const char *name, size_t name_size, const char *argument,
                size_t argument_size) {
        IniFile *f = r->target;
        IniSection *grown = reallocarray(f->sections, f->n_sections + 1, sizeof(IniSection));

        if (!grown)
                return -ENOMEM;
        f->sections = grown;

        IniSection *s = &f->sections[f->n_sections++];
        *s = (IniSection){ .line = r->line };
        if (name_size > 0 && !(s->name = strndup(name, name_size)))
                return -ENOMEM;
        if (argument_size > 0 && !(s->argument = strndup(argument, argument_size)))
                return -ENOMEM;
        return 0;
}

/* "[Name]" or "[Name argument]". */
static int ini_read_heading(IniReader *r, const char *text, size_t n) {
        size_t name = word_size(text + 1, n - 1, LETTERS);
        const char *p = text + 1 + name, *end = text + n;
        const char *argument = p;

        if (p < end && *p == ' ') {
                argument = ++p;
                p += word_size(p, (size_t)(end - p), LETTERS DIGITS "-_.");
                if (p == argument)
                        p = end; /* a space, but no name */
        }
        if (name == 0 || p != end - 1 || *p != ']') {
                fault_add(r->faults, r->file, r->line,
                                "malformed section heading, expected [Section] or [Section name]");
                return ini_add_section(r, NULL, 0, NULL, 0);
        }

        for (size_t i = 0; i < r->target->n_sections; i++) {
                IniSection *other = &r->target->sections[i];
                size_t size = (size_t)(p - argument);

                if (!other->name || strlen(other->name) != name || memcmp(other->name, text + 1, name) != 0)
                        continue;
                if (strlen(other->argument ?: "") != size ||
                                memcmp(other->argument ?: "", argument, size) != 0)
                        continue;
                fault_add(r->faults, r->file, r->line, "section appears twice, first in line %u",
                                other->line);
                return ini_add_section(r, NULL, 0, NULL, 0);
        }
        return ini_add_section(r, text + 1, name, argument, (size_t)(p - argument));
}

/* What a value may not be, whatever the key; NULL: nothing is wrong. */
static const char *value_fault(const char *value, size_t n) {
        if (n == 0)
                return "has no value";
        if (value[n - 1] == '\\')
                return "ends in a backslash: continuation lines are not supported";
        if (n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n - 1] == value[0])
                return "is quoted: values are written without quotes";
        for (size_t i = 1; i < n; i++)
                if ((value[i] == '#' || value[i] == ';') && is_blank(value[i - 1]))
                        return "is followed by a comment: comments have lines of their own";
        return NULL;
}

/* "Key=value", white space around '=' allowed. */
static int ini_read_entry(IniReader *r, const char *text, size_t n) {
        size_t key = word_size(text, n, LETTERS DIGITS);
        size_t p = key;

        while (p < n && is_blank(text[p]))
                p++;
        if (key == 0 || key > KEY_MAX || strchr(DIGITS, text[0]) || p == n || text[p] != '=') {
                fault_add(r->faults, r->file, r->line, "expected Key=value, [Section] or a comment");
                return 0;
        }
        for (p++; p < n && is_blank(text[p]);)
                p++;
        while (n > p && is_blank(text[n - 1]))
                n--;

        const char *why = value_fault(text + p, n - p);
        if (why) {
                fault_add(r->faults, r->file, r->line, "%.*s= %s", (int)key, text, why);
                return 0;
        }
        if (r->target->n_sections == 0) {
                fault_add(r->faults, r->file, r->line, "%.*s= stands before the first [Section]", (int)key,
                                text);
                return 0;
        }

        IniSection *s = &r->target->sections[r->target->n_sections - 1];
        IniEntry *grown = reallocarray(s->entries, s->n_entries + 1, sizeof(IniEntry));
        if (!grown)
                return -ENOMEM;
        s->entries = grown;
        IniEntry *e = &s->entries[s->n_entries++];
        *e = (IniEntry){ .key = strndup(text, key), .value = strndup(text + p, n - p), .line = r->line };
        return e->key && e->value ? 0 : -ENOMEM;
}

/* What a line may not contain, whatever it is. */
static const char *line_fault(const char *text, size_t n) {
        if (n > INI_LINE_MAX)
                return "line is longer than " STRINGIFY(4096) " bytes";
        if (memchr(text, 0, n))
                return "NUL byte";
        if (!utf8_is_valid(text, n))
                return "invalid UTF-8";
        if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
                return "byte order mark, expected plain UTF-8";
        for (size_t i = 0; i < n; i++)
                if (((uint8_t)text[i] < 0x20 && text[i] != '\t') || text[i] == 0x7f)
                        return "control byte";
        return NULL;
}

static int ini_read_line(IniReader *r, const char *text, size_t n) {
        if (n > 0 && text[n - 1] == '\r') {
                if (!r->has_cr)
                        fault_add(r->faults, r->file, r->line,
                                        "line ends in CR LF, expected LF alone (and so may others in this "
                                        "file)");
                r->has_cr = true;
                n--;
        }
        const char *why = line_fault(text, n);
        if (why) {
                fault_add(r->faults, r->file, r->line, "%s", why);
                return 0;
        }
        if (word_size(text, n, " \t") == n || text[0] == '#' || text[0] == ';')
                return 0;
        if (is_blank(text[0])) {
                fault_add(r->faults, r->file, r->line,
                                "line begins with white space: continuation lines are not supported");
                return 0;
        }
        if (text[0] == '[') {
                while (is_blank(text[n - 1]))
                        n--;
                return ini_read_heading(r, text, n);
        }
        return ini_read_entry(r, text, n);
}

int ini_parse(const char *file, const void *bytes, size_t n, FaultList *faults, IniFile *ret) {
        _cleanup_(ini_file_done) IniFile target = {};
        IniReader reader = { .file = file, .faults = faults, .target = &target };
        const char *p = bytes, *end = p + n;
        int r;

        while (p < end) {
                const char *newline = memchr(p, '\n', (size_t)(end - p));
                size_t size = newline ? (size_t)(newline - p) : (size_t)(end - p);

                reader.line++;
                r = ini_read_line(&reader, p, size);
                if (r < 0)
                        return r;
                p += size + (newline ? 1 : 0);
        }

        *ret = target;
        target = (IniFile){};
        return 0;
}
