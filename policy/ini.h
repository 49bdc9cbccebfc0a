/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "policy/fault.h"

/* Sections of Key=value lines, nothing else: comments (# or ;) at the beginning of a line only, no
 * continuation, no quotes, no CR LF, no NUL, valid UTF-8, lines of at most INI_LINE_MAX bytes. */

#define INI_LINE_MAX 4096U

typedef struct IniEntry {
        char *key;   /* [A-Za-z][A-Za-z0-9]*, at most 32 */
        char *value; /* without white space at both ends, not empty */
        unsigned line;
} IniEntry;

typedef struct IniSection {
        char *name;     /* "Server" of [Server notion]; NULL: the heading was faulty, ignore the entries */
        char *argument; /* "notion", or NULL */
        unsigned line;
        IniEntry *entries;
        size_t n_entries;
} IniSection;

typedef struct IniFile {
        IniSection *sections;
        size_t n_sections;
} IniFile;

/* Pure: no descriptor, no log. Reads on behind each fault, *ret holds what was readable. 0 (look at the
 * faults), -ENOMEM. file is for the faults' texts. */
int ini_parse(const char *file, const void *bytes, size_t n, FaultList *faults, IniFile *ret);
void ini_file_done(IniFile *f);
