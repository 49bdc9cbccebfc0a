/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Log lines leave through a bounded queue and one thread.
 *
 * Why: sd_journal_send() and a write to a stderr that journald reads both block for good once journald stalls, and
 * the loop must not (design: "The wire"). What finds the queue full is dropped and counted; the count is the first
 * line that gets through again. Nothing here ever holds a secret: callers log names, numbers and verdicts.
 *
 * Who may call: any thread. log_open() before the first line, otherwise lines go straight to stderr. */

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/uio.h>
#include <time.h>

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include "util/buffer.h"
#include "util/clock.h"
#include "util/log.h"

#define LOG_QUEUE_MAX 4096U
/* After a line was written the next ones are gathered for so long: to wake the thread for each costs whoever logs more than the line itself. */
#define LOG_GATHER_USEC (5 * USEC_PER_MSEC)
#define LOG_FIELDS_MAX  24U

typedef struct LogLine {
        struct LogLine *next;
        int level;
        size_t n_fields;
        char *fields[LOG_FIELDS_MAX]; /* NAME=value; the message is the first */
} LogLine;

static struct {
        pthread_mutex_t lock;
        pthread_cond_t wake;
        pthread_t thread;
        LogLine *head, **tail;
        unsigned n_queued;
        unsigned n_dropped;
        LogTarget target;
        int max_level;
        bool is_open, is_closing;
        bool is_gathering; /* the thread comes by itself */
} log_state = {
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .wake = PTHREAD_COND_INITIALIZER,
        .max_level = LOG_INFO,
};

static LogLine *log_line_free(LogLine *line) {
        if (!line)
                return NULL;
        for (size_t i = 0; i < line->n_fields; i++)
                free(line->fields[i]);
        free(line);
        return NULL;
}

DEFINE_CLEANUP(LogLine *, log_line_free)

static void log_write_stderr(const LogLine *line) {
        /* "<6>text" is how a service tells journald the level (sd-daemon(3)); a terminal does not need it. */
        const char *text = line->fields[0] + strlen("MESSAGE=");
        _cleanup_(buffer_done) Buffer b = {};
        int r = 0;

        if (!isatty(STDERR_FILENO))
                r = buffer_printf(&b, "<%d>", line->level);
        if (r >= 0)
                r = buffer_append_text(&b, text);
        for (size_t i = 1; i < line->n_fields && r >= 0; i++)
                r = buffer_printf(&b, " %s", line->fields[i]);
        if (r >= 0)
                r = buffer_append_text(&b, "\n");
        /* Unbuffered, stderr would write each piece by itself, and other programs' lines would get in between. */
        if (r >= 0)
                (void)fwrite(b.bytes, b.size, 1, stderr);
}

static void log_write(const LogLine *line, LogTarget target) {
        struct iovec iov[LOG_FIELDS_MAX + 1];
        char priority[sizeof("PRIORITY=0")];

        if (target == LOG_TARGET_STDERR) {
                log_write_stderr(line);
                return;
        }
        (void)snprintf(priority, sizeof(priority), "PRIORITY=%d", line->level & 7);
        for (size_t i = 0; i < line->n_fields; i++)
                iov[i] = (struct iovec){ line->fields[i], strlen(line->fields[i]) };
        iov[line->n_fields] = (struct iovec){ priority, strlen(priority) };
        (void)sd_journal_sendv(iov, (int)line->n_fields + 1);
}

/* With the lock held: waits, until somebody is waiting to end it all or LOG_GATHER_USEC have passed. */
static void log_gather(void) {
        struct timespec until;

        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += (long)(LOG_GATHER_USEC * 1000);
        if (until.tv_nsec >= 1000000000L) {
                until.tv_nsec -= 1000000000L;
                until.tv_sec++;
        }
        log_state.is_gathering = true;
        while (!log_state.is_closing && pthread_cond_clockwait(&log_state.wake, &log_state.lock,
                                                        CLOCK_MONOTONIC, &until) == 0)
                ;
        log_state.is_gathering = false;
}

static void *log_thread(void *userdata) {
        pthread_mutex_lock(&log_state.lock);
        for (;;) {
                while (!log_state.head && !log_state.is_closing)
                        pthread_cond_wait(&log_state.wake, &log_state.lock);
                if (!log_state.head)
                        break;

                LogLine *lines = log_state.head;
                unsigned dropped = log_state.n_dropped;
                log_state.head = NULL;
                log_state.tail = &log_state.head;
                log_state.n_queued = 0;
                log_state.n_dropped = 0;
                pthread_mutex_unlock(&log_state.lock);

                if (dropped > 0) {
                        char text[64];
                        LogLine note = { .level = LOG_WARNING, .n_fields = 1, .fields = { text } };

                        (void)snprintf(text, sizeof(text), "MESSAGE=%u log lines were dropped", dropped);
                        log_write(&note, log_state.target);
                }
                while (lines) {
                        LogLine *line = lines;

                        lines = line->next;
                        log_write(line, log_state.target);
                        (void)log_line_free(line);
                }
                pthread_mutex_lock(&log_state.lock);
                log_gather();
        }
        pthread_mutex_unlock(&log_state.lock);
        return NULL;
}

int log_open(LogTarget target, int max_level) {
        sigset_t all, before;
        int r;

        log_state.target = target;
        log_state.max_level = max_level;
        log_state.tail = &log_state.head;
        log_state.is_closing = false;
        /* Signals are the main thread's, which may block them later than now: one left open here would be delivered here, and SIGTERM
         * end the process on the spot instead of in the loop. */
        (void)sigfillset(&all);
        (void)pthread_sigmask(SIG_SETMASK, &all, &before);
        r = pthread_create(&log_state.thread, NULL, log_thread, NULL);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (r > 0)
                return -r;
        log_state.is_open = true;
        return 0;
}

void log_close(void) {
        struct timespec until;

        if (!log_state.is_open)
                return;
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 1;
        pthread_mutex_lock(&log_state.lock);
        log_state.is_closing = true;
        pthread_cond_broadcast(&log_state.wake);
        pthread_mutex_unlock(&log_state.lock);
        /* A stalled journald must not keep the service from stopping. */
        if (pthread_timedjoin_np(log_state.thread, NULL, &until) != 0)
                (void)pthread_detach(log_state.thread);
        log_state.is_open = false;
}

static int log_line_add(LogLine *line, const char *name, const char *value) {
        if (line->n_fields >= LOG_FIELDS_MAX)
                return -ENOBUFS;
        if (asprintf(&line->fields[line->n_fields], "%s=%s", name, value) < 0)
                return -ENOMEM;
        line->n_fields++;
        return 0;
}

void log_full(int level, const LogField *fields, size_t n_fields, const char *format, ...) {
        _cleanup_(log_line_freep) LogLine *line = NULL;
        _cleanup_(freep) char *text = NULL;
        va_list args;
        int n;

        if (level > log_state.max_level)
                return;

        va_start(args, format);
        n = vasprintf(&text, format, args);
        va_end(args);
        if (n < 0) {
                text = NULL;
                return;
        }
        line = calloc(1, sizeof(LogLine));
        if (!line || log_line_add(line, "MESSAGE", text) < 0)
                return;
        line->level = level;
        for (size_t i = 0; i < n_fields; i++)
                if (fields[i].value && log_line_add(line, fields[i].name, fields[i].value) < 0)
                        return;

        if (!log_state.is_open) {
                log_write_stderr(line);
                return;
        }
        pthread_mutex_lock(&log_state.lock);
        if (log_state.n_queued >= LOG_QUEUE_MAX)
                log_state.n_dropped++;
        else {
                *log_state.tail = line;
                log_state.tail = &line->next;
                log_state.n_queued++;
                (void)TAKE_PTR(line);
                if (!log_state.is_gathering)
                        pthread_cond_broadcast(&log_state.wake);
        }
        pthread_mutex_unlock(&log_state.lock);
}
