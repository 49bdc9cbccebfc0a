/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A program that logs in, for tests of pam_vaultd.so: starts PAM with a configuration folder of the test's own
 * (pam_start_confdir(3); the host's is never read), opens and closes a session and reports on one line of JSON what
 * came of it and how long it took. What libpam sends to syslog is caught by this program's own syslog functions,
 * which is why it exports its symbols.
 *
 * usage: pam-driver FOLDER SERVICE USER [tty=T] [rhost=R] [repeat=N] [threads=N] [real-uid=U] [nofile=N] [alarm] [silent]
 *   repeat: sessions in a row, each with a handle of its own · real-uid: like a setuid program started by that uid ·
 *   nofile: soft RLIMIT_NOFILE once PAM has started · alarm: a signal every few milliseconds */

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/time.h>

#include <security/pam_appl.h>

#include "json/write.h"
#include "util/clock.h"

typedef struct Setup {
        const char *folder, *service, *user, *tty, *rhost;
        int repeat;
        const char *nofile;
        bool is_silent; /* PAM_SILENT: nothing is to be shown */
} Setup;

typedef struct Result {
        int start, open, close;
        uint64_t open_usec, close_usec;
        char session[256];
        int n_success;
} Result;

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static Buffer log_lines; /* JSON strings with commas between */
static int n_log_lines;

/* Not from <syslog.h>, which makes macros of them in fortified builds. */
_public_ void syslog(int priority, const char *format, ...) _printf_(2, 3);
_public_ void __syslog_chk(int priority, int flag, const char *format, ...) _printf_(3, 4);

static void log_line(int priority, const char *format, va_list args) {
        _cleanup_(freep) char *text = NULL;

        if (vasprintf(&text, format, args) < 0)
                abort();
        (void)pthread_mutex_lock(&log_lock);
        if (n_log_lines++ < 50 && (buffer_append_text(&log_lines, log_lines.size ? "," : "") < 0 ||
                                                  json_write_string(&log_lines, text) < 0))
                abort();
        (void)pthread_mutex_unlock(&log_lock);
}

void __syslog_chk(int priority, int flag, const char *format, ...) {
        va_list args;

        va_start(args, format);
        log_line(priority, format, args);
        va_end(args);
}

void syslog(int priority, const char *format, ...) {
        va_list args;

        va_start(args, format);
        log_line(priority, format, args);
        va_end(args);
}

/* What was said to the user: JSON strings with commas between. Nothing is ever asked. */
static Buffer shown_lines;

static int converse(int n, const struct pam_message **messages, struct pam_response **ret, void *userdata) {
        int r = PAM_SUCCESS;

        (void)pthread_mutex_lock(&log_lock);
        for (int i = 0; i < n; i++)
                if (messages[i]->msg_style != PAM_TEXT_INFO)
                        r = PAM_CONV_ERR;
                else if (buffer_append_text(&shown_lines, shown_lines.size ? "," : "") < 0 ||
                                json_write_string(&shown_lines, messages[i]->msg) < 0)
                        abort();
        (void)pthread_mutex_unlock(&log_lock);
        *ret = r == PAM_SUCCESS ? calloc((size_t)n, sizeof(struct pam_response)) : NULL;
        return r == PAM_SUCCESS && !*ret ? PAM_BUF_ERR : r;
}

/* Sets the soft limit and returns what it was. */
static rlim_t set_nofile(rlim_t n) {
        struct rlimit limit;
        rlim_t before;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                abort();
        before = limit.rlim_cur;
        limit.rlim_cur = MIN(n, limit.rlim_max);
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
                abort();
        return before;
}

static void run_session(const Setup *setup, Result *result) {
        const struct pam_conv conversation = { .conv = converse };
        pam_handle_t *pamh = NULL;
        const char *session;
        uint64_t started;
        rlim_t before = 0;

        result->start = pam_start_confdir(setup->service, setup->user, &conversation, setup->folder, &pamh);
        if (result->start != PAM_SUCCESS)
                return;
        if (setup->nofile)
                before = set_nofile((rlim_t)atol(setup->nofile));
        if (setup->tty)
                (void)pam_set_item(pamh, PAM_TTY, setup->tty);
        if (setup->rhost)
                (void)pam_set_item(pamh, PAM_RHOST, setup->rhost);

        started = now_monotonic();
        result->open = pam_open_session(pamh, setup->is_silent ? PAM_SILENT : 0);
        result->open_usec = now_monotonic() - started;
        if (result->open == PAM_SUCCESS)
                result->n_success++;
        session = pam_getenv(pamh, "VAULTD_SESSION");
        (void)snprintf(result->session, sizeof(result->session), "%s", session ? session : "");

        started = now_monotonic();
        result->close = pam_close_session(pamh, 0);
        result->close_usec = now_monotonic() - started;
        (void)pam_end(pamh, PAM_SUCCESS);
        if (setup->nofile)
                (void)set_nofile(before);
}

static void *run_sessions(void *userdata) {
        const Setup *setup = userdata;
        Result *result = calloc(1, sizeof(Result));

        for (int i = 0; result && i < setup->repeat; i++)
                run_session(setup, result);
        return result;
}

static int count_descriptors(void) {
        DIR *d = opendir("/proc/self/fd");
        int n = 0;

        if (!d)
                return -1;
        while (readdir(d))
                n++;
        (void)closedir(d);
        return n - 3; /* ".", ".." and the folder itself */
}

/* The classic signals only: the threads library takes one of the others for itself when the first thread starts. */
static void read_dispositions(struct sigaction ret[static 32]) {
        for (int i = 1; i < 32; i++)
                if (sigaction(i, NULL, &ret[i]) < 0)
                        abort();
}

static bool dispositions_equal(const struct sigaction *a, const struct sigaction *b) {
        for (int i = 1; i < 32; i++)
                if (a[i].sa_handler != b[i].sa_handler || a[i].sa_flags != b[i].sa_flags)
                        return false;
        return true;
}

static void on_alarm(int signal) {
}

static int start_alarms(void) {
        const struct sigaction action = { .sa_handler = on_alarm }; /* no SA_RESTART */
        const struct itimerval interval = { .it_interval.tv_usec = 3000, .it_value.tv_usec = 3000 };

        return sigaction(SIGALRM, &action, NULL) < 0 || setitimer(ITIMER_REAL, &interval, NULL) < 0 ? -errno
                                                                                                    : 0;
}

static int take_option(const char *option, Setup *setup, int *threads) {
        const char *value;

        if ((value = startswith(option, "tty=")))
                setup->tty = value;
        else if ((value = startswith(option, "rhost=")))
                setup->rhost = value;
        else if ((value = startswith(option, "repeat=")))
                setup->repeat = atoi(value);
        else if ((value = startswith(option, "threads=")))
                *threads = MIN(atoi(value), 64);
        else if ((value = startswith(option, "real-uid=")))
                return setresuid((uid_t)atoi(value), geteuid(), geteuid()) < 0 ? -errno : 0;
        else if ((value = startswith(option, "nofile=")))
                setup->nofile = value;
        else if (streq(option, "silent"))
                setup->is_silent = true;
        else if (streq(option, "alarm"))
                return start_alarms();
        else
                return -EINVAL;
        return 0;
}

static int report(const Result *result, int leaked, bool is_changed) {
        Buffer b = {};
        int r;

        if (buffer_append_text(&b, "{\"session\":") < 0 || json_write_string(&b, result->session) < 0)
                return -ENOMEM;
        r = buffer_printf(&b,
                        ",\"start\":%d,\"open\":%d,\"close\":%d,\"open_usec\":%llu,\"close_usec\":%llu,"
                        "\"successes\":%d,\"leaked\":%d,\"signals_changed\":%s,\"log\":[%s],\"shown\":[%s]}"
                        "\n",
                        result->start, result->open, result->close, (unsigned long long)result->open_usec,
                        (unsigned long long)result->close_usec, result->n_success, leaked,
                        is_changed ? "true" : "false", log_lines.bytes ? (char *)log_lines.bytes : "",
                        shown_lines.bytes ? (char *)shown_lines.bytes : "");
        if (r >= 0)
                (void)fputs((char *)b.bytes, stdout);
        buffer_done(&b);
        return r;
}

int main(int argc, char *argv[]) {
        struct sigaction before[32], after[32];
        Setup setup = { .repeat = 1 };
        Result total = {};
        pthread_t ids[64];
        int threads = 1, n_before, r;

        if (argc < 4)
                return 2;
        setup.folder = argv[1];
        setup.service = argv[2];
        setup.user = argv[3];
        for (int i = 4; i < argc; i++) {
                r = take_option(argv[i], &setup, &threads);
                if (r < 0) {
                        (void)fprintf(stderr, "%s: %s\n", argv[i], strerror(-r));
                        return 2;
                }
        }

        /* The name service keeps descriptors of its own from the first look-up on. */
        if (setup.repeat > 1)
                run_session(&setup, &total);
        total.n_success = 0;
        n_before = count_descriptors();
        read_dispositions(before);

        for (int i = 0; i < threads; i++)
                if (pthread_create(&ids[i], NULL, run_sessions, &setup) != 0)
                        abort();
        /* The alarms are for the others. */
        sigset_t alarms;
        (void)sigemptyset(&alarms);
        (void)sigaddset(&alarms, SIGALRM);
        (void)pthread_sigmask(SIG_BLOCK, &alarms, NULL);
        for (int i = 0; i < threads; i++) {
                void *value;

                if (pthread_join(ids[i], &value) != 0 || !value)
                        abort();
                int n_success = total.n_success;
                total = *(Result *)value;
                total.n_success += n_success;
                free(value);
        }

        read_dispositions(after);
        r = report(&total, count_descriptors() - n_before, !dispositions_equal(before, after));
        buffer_done(&log_lines);
        buffer_done(&shown_lines);
        return r < 0;
}
