/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "store/store.h"

/* The store's chain (store.h) in the journal, and what the journal knows of it at the start: an older database in the place of the
 * newest is found by that (T8). */

typedef struct History History;

/* Reads the newest line of the journal about this store from known_file (vaultd-journal-head.service has put it there), compares, and notes
 * durably in the store when that is older. From now on changes go to the journal. The file is believed when root wrote it, or with
 * is_trusting_owner this process's uid. -EBADMSG, -ENOMEM, -EIO. */
int history_new(sd_event *event, Store *store, const char *known_file, bool is_trusting_owner,
                History **ret);
/* Writes the last line. Before the store goes. */
History *history_free(History *h);
DEFINE_CLEANUP(History *, history_free)

/* The store is older than what the journal knows, and nobody has accepted that yet. *ret_newest (optional): what it knows. */
bool history_is_behind(const History *h, StoreChain *ret_newest);
/* What the journal knew at the start. */
typedef enum HistoryKnowledge {
        HISTORY_KNOWN,
        HISTORY_NOTHING,    /* the journal has no line */
        HISTORY_NOT_ASKED,  /* there is no such file */
        HISTORY_UNREADABLE, /* not root's, or no line of ours */
} HistoryKnowledge;
HistoryKnowledge history_known(const History *h, StoreChain *ret);
/* No more lines: what is written from now on is not to be found again. */
void history_hold(History *h);
