/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/types.h>
#include <syslog.h>

#include <systemd/sd-event.h>

#include "util/macro.h"

/* Log lines that a peer can cause at will: some for each uid in a while, then a count (T26). */

#define LOG_BUDGET_LINES 20U
#define LOG_BUDGET_USEC  (10 * USEC_PER_SEC)

typedef struct LogBudget LogBudget;

int log_budget_new(sd_event *event, LogBudget **ret);
/* Writes the counts that are still owed. */
LogBudget *log_budget_free(LogBudget *b);
DEFINE_CLEANUP(LogBudget *, log_budget_free)

/* Who writes the counts, where the usual line (uid N: n_more more lines like these) is not what is wanted. */
typedef void (*LogBudgetTell)(uid_t uid, unsigned n_more);
void log_budget_set_tell(LogBudget *b, LogBudgetTell tell);

/* Counts one line of the uid. False: it has had its lines, and this one is told of in the count only. */
bool log_budget_admits(LogBudget *b, uid_t uid);
/* Logs the line, or counts it when the uid (UID_INVALID: all that share the strangers' account) has had its lines; the count follows as one line when the while is over. */
void log_budget_line(LogBudget *b, int level, uid_t uid, const char *format, ...) _printf_(4, 5);
