/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <syslog.h>

#include "util/macro.h"

/* Logging that never blocks the caller: lines go into a bounded queue and a thread hands them to journald or
 * stderr (sd_journal_send() blocks for good when journald stalls). What does not fit is counted and reported. */

typedef enum LogTarget {
        LOG_TARGET_STDERR,
        LOG_TARGET_JOURNAL,
} LogTarget;

typedef struct LogField {
        const char *name; /* journal field name, upper case */
        const char *value;
} LogField;

int log_open(LogTarget target, int max_level);
/* Writes out what is queued, waiting at most a second, and ends the thread. */
void log_close(void);
/* One line; fields become journal fields (on stderr they follow the message as NAME=value). Copies everything. */
void log_full(int level, const LogField *fields, size_t n_fields, const char *format, ...) _printf_(4, 5);
#define log_debug(...)   log_full(LOG_DEBUG, NULL, 0, __VA_ARGS__)
#define log_info(...)    log_full(LOG_INFO, NULL, 0, __VA_ARGS__)
#define log_notice(...)  log_full(LOG_NOTICE, NULL, 0, __VA_ARGS__)
#define log_warning(...) log_full(LOG_WARNING, NULL, 0, __VA_ARGS__)
#define log_error(...)   log_full(LOG_ERR, NULL, 0, __VA_ARGS__)
