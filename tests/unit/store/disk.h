/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* What was done to the database file, in order, as the C library was asked to do it. Linked into a test program, it stands before
 * the C library for LMDB and for us alike. */

typedef enum DiskEventType {
        DISK_WRITE,          /* may be on disk in part, or not at all, until the next DISK_SYNC */
        DISK_WRITE_THROUGH,  /* by a descriptor with O_DSYNC: on disk once it is over */
        DISK_SYNC,           /* fdatasync(2), fsync(2) of the file */
        DISK_RENAME,         /* the file gets its name … */
        DISK_SYNC_DIRECTORY, /* … for good */
        DISK_MARK,           /* disk_mark() */
        DISK_FOREIGN, /* a way of writing that the replay knows nothing of: a shared writable map, ftruncate(2), msync(2) */
} DiskEventType;

typedef struct DiskEvent {
        DiskEventType type;
        uint64_t offset; /* of DISK_MARK: its number */
        size_t size;
        uint8_t *bytes;
} DiskEvent;

/* Notes whatever concerns files named vaultd.mdb or vaultd.mdb.new that are opened from now on, and the folder they are in. */
void disk_record_start(void);
void disk_record_stop(void);
/* Adds a mark, from any thread. */
void disk_mark(uint64_t number);
/* What was noted; the recorder's own, valid until it is started again. */
const DiskEvent *disk_events(size_t *ret_n);
