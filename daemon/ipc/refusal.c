/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A uid that has as many connections as it may is refused more. Closed at once, its client knows at once and may be back at once: sixty-four
 * clients that do so keep a CPU busy, the daemon with accept(2) and close(2) and themselves with the rest, and whoever else
 * calls waits behind them (T26). So the refused connection stays open for a moment, unread, in no epoll set, at the price of a descriptor
 * that is charged to the uid; and its client waits.
 *
 * There may be several times as many of these as connections: a client that hung up is not noticed before the moment is over, and
 * was there no room for the next one, that one's client would be back at once, and the next. What comes beyond is closed at
 * once. When descriptors run out they are the first to go.
 *
 * Who may call: connection.c and server.c. */

#include "ipc/server-internal.h"
#include "util/clock.h"

struct Refusal {
        Account *account;
        int fd;
        uint64_t until_usec; /* monotonic */
        Refusal *next;
};

int refusal_keep(Server *s, Door door, uid_t payer, int fd) {
        Account *account;
        Refusal *f;
        int r;

        if (s->options.refusal_usec == 0)
                return -EDQUOT;
        f = malloc(sizeof(Refusal));
        if (!f)
                return -ENOMEM;
        r = accounts_refuse(server_accounts(s, door), payer, &account);
        if (r < 0) {
                free(f);
                return r;
        }
        *f = (Refusal){
                .account = account, .fd = fd, .until_usec = now_monotonic() + s->options.refusal_usec
        };
        if (s->refusals_last)
                s->refusals_last->next = f;
        else {
                s->refusals = f;
                server_sync_event(s);
                (void)sd_event_source_set_time(s->refusal_timer, f->until_usec);
                (void)sd_event_source_set_enabled(s->refusal_timer, SD_EVENT_ONESHOT);
        }
        s->refusals_last = f;
        return 0;
}

static void refusal_drop_first(Server *s) {
        Refusal *f = s->refusals;

        s->refusals = f->next;
        if (!s->refusals)
                s->refusals_last = NULL;
        (void)safe_close(f->fd);
        account_release_refused(f->account);
        free(f);
}

bool refusal_drop_all(Server *s) {
        if (!s->refusals)
                return false;
        while (s->refusals)
                refusal_drop_first(s);
        return true;
}

int refusal_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Server *s = userdata;
        uint64_t now = now_monotonic();

        while (s->refusals && s->refusals->until_usec <= now)
                refusal_drop_first(s);
        if (s->refusals) {
                (void)sd_event_source_set_time(source, s->refusals->until_usec);
                (void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
        }
        return 0;
}
