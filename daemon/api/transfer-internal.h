/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "api/transfer.h"
#include "ipc/stream.h"
#include "store/backup.h"
#include "store/restore.h"
#include "util/conveyor.h"

/* What the files of backup and restore have in common. Nobody else includes this. */

#define TRANSFER_PIECE_MAX  (32U * 1024U)
#define TRANSFER_ROOM       (256U * 1024U)
#define TRANSFER_STALL_USEC (60 * USEC_PER_SEC)

/* Frames that come in: which byte of which frame is next. */
typedef struct Frames {
        uint8_t head[4];
        unsigned n_head;
        uint32_t left; /* of the frame's bytes */
        bool has_key, has_end;
} Frames;

struct Transfer {
        Manager *manager;
        Stream *stream; /* NULL: the peer is gone, or was told everything */
        Conveyor *conveyor;
        bool is_restore, has_told, is_paused;
        Backup *backup;
        /* Restore. What the thread reads is written before it starts, or before conveyor_give_end(). */
        Frames frames;
        Secret *key_text;
        size_t key_size;
        Secret *private;
        Secret *keys;
        RestoreOptions options;
        bool is_replacing;
        char suffix[32];
        uint64_t least_sequence;
        RestoreResult result; /* of the thread, once it has ended */
};

int transfer_new(Manager *m, bool is_restore, Transfer **ret);
DEFINE_CLEANUP(Transfer *, transfer_free)

/* Answers a call that begins none. */
int transfer_refuse(Call *call, FailureKind kind, const char *hint, const char *text);
void transfer_record(const Principal *p, AuditKind kind, const char *verdict, const char *reason);
json_object *transfer_failure_message(const char *text, const char *hint);
/* The last frame; takes message. Then the stream is the peer's to close. */
void transfer_tell(Transfer *t, json_object *taken);
/* Tells the peer and records, once. */
void transfer_fail(Transfer *t, int error);
/* StreamHandler.closed: the peer is gone. */
void transfer_on_closed(Stream *stream, int error, void *userdata);
