/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "policy/fault.h"

/* Where configuration text comes from: two folders, the vendor's below the admin's, believed only if
 * nobody but root can write them. */

#define SOURCE_SIZE_MAX  (1024U * 1024U)
#define SOURCE_FILES_MAX 256U

typedef struct SourceRoots {
        const char *vendor_dir, *admin_dir; /* absolute; may be missing on disk */
        bool is_trusting_owner;             /* also believe files of the calling uid (tests) */
} SourceRoots;

typedef struct Source {
        char *name; /* "50-notion.conf": what masks by */
        char *path; /* for people */
        char *text; /* NUL-ended for convenience; may hold NUL bytes, size counts */
        size_t size;
} Source;

typedef struct SourceList {
        Source *sources; /* sorted by name */
        size_t n_sources;
} SourceList;

/* Reads the files that are in force: of `folder` every *.conf, or with folder NULL the one called name. A
 * file of the admin's replaces the vendor's of the same name; an empty one, or a link to /dev/null, leaves
 * nothing. What cannot be believed or read is a fault. 0 (look at the faults), -ENOMEM. */
int source_read_all(const SourceRoots *roots, const char *folder, const char *name, FaultList *faults,
                SourceList *ret);
void source_list_done(SourceList *l);

/* Whether each NAME.conf.d of that folder, in either root, has a NAME.conf in one of them, masked or not: one that has none was mistyped, and what it
 * says would be without effect. Faults; -ENOMEM. */
int source_check_drop_in_folders(const SourceRoots *roots, const char *folder, FaultList *faults);

/* Reads one file that a setting names, by an absolute path. Believed like the others, and so is every folder on the way (a sticky one, as
 * /tmp is, may be writable, but not the last). Nothing is followed. 0 with a malloc()ed, NUL-ended text; FAILED with one fault; -ENOMEM. */
int source_read_path(const char *path, bool is_trusting_owner, FaultList *faults, char **ret_text,
                size_t *ret_size);
