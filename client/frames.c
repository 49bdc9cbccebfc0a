/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Frames of a backup, in and out.
 *
 * vaultd may end a restore at any time, to say that the file is damaged, so whoever sends also looks whether something has
 * come. It may be busy for long (the last sync of a large database) and has its own limit for a side that stalls; here
 * nothing is given up before SILENCE_USEC.
 *
 * Who may call: the commands for backup and restore. */

#include <poll.h>
#include <sys/socket.h>

#include "client/frames.h"
#include "json/object.h"
#include "util/buffer.h"
#include "util/clock.h"

#define SILENCE_USEC (30 * 60 * USEC_PER_SEC)
#define END_SIZE_MAX (64U * 1024U)
#define PIECE        (64U * 1024U)

struct Frames {
        Call *call;
        Buffer input;
        size_t given;  /* of the input: handed out by the last call */
        uint32_t left; /* of the frame that is being handed out */
};

Frames *frames_free(Frames *f) {
        if (!f)
                return NULL;
        buffer_done(&f->input);
        free(f);
        return NULL;
}

int frames_new(Call *call, Frames **ret, Fault *fault) {
        _cleanup_(frames_freep) Frames *f = calloc(1, sizeof(Frames));
        size_t n;

        if (!f)
                return fault_set_memory(fault);
        f->call = call;
        do {
                if (buffer_reserve(&f->input, PIECE) < 0)
                        return fault_set_memory(fault);
                n = call_take_rest(call, f->input.bytes + f->input.size, PIECE);
                f->input.size += n;
        } while (n > 0);
        *ret = TAKE_PTR(f);
        return 0;
}

static int fault_set_cut(Fault *fault) {
        return fault_set(fault, EXIT_CODE_UNREACHABLE, "io.vaultd.client.Unreachable",
                        "Look at: journalctl -u vaultd", "vaultd closed the connection in the middle");
}

static uint32_t read_u32(const uint8_t *p) {
        return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Waits for at least one more byte. */
static int fill(Frames *f, Fault *fault) {
        uint64_t deadline = now_monotonic() + SILENCE_USEC;

        if (buffer_reserve(&f->input, PIECE) < 0)
                return fault_set_memory(fault);
        for (;;) {
                struct pollfd p = { .fd = call_fd(f->call), .events = POLLIN };
                ssize_t n = recv(p.fd, f->input.bytes + f->input.size, PIECE, MSG_DONTWAIT);

                if (n > 0) {
                        f->input.size += (size_t)n;
                        return 0;
                }
                if (n == 0 || (errno != EAGAIN && errno != EINTR))
                        return fault_set_cut(fault);
                if (now_monotonic() >= deadline)
                        return fault_set_silence(fault, SILENCE_USEC);
                (void)poll(&p, 1, 1000);
        }
}

static int need(Frames *f, size_t n, Fault *fault) {
        int r = 0;

        while (r >= 0 && f->input.size < n)
                r = fill(f, fault);
        return r;
}

/* The JSON behind the end. */
static int take_end(Frames *f, json_object **ret_parameters, Fault *fault) {
        _cleanup_(json_putp) json_object *message = NULL;
        json_object *parameters = NULL;
        const char *error = NULL;
        size_t n;
        int r;

        r = need(f, 8, fault);
        if (r < 0)
                return r;
        n = read_u32(f->input.bytes + 4);
        if (n > END_SIZE_MAX)
                return fault_set_bad_reply(fault, "its end is too large");
        r = need(f, 8 + n, fault);
        if (r < 0)
                return r;
        r = json_parse((const char *)f->input.bytes + 8, n, &json_limits_wire, &message);
        if (r == -ENOMEM)
                return fault_set_memory(fault);
        if (r != 0 || !json_object_is_type(message, json_type_object) ||
                        json_get_object(message, "parameters", &parameters) == -EINVAL ||
                        json_get_string(message, "error", &error) == -EINVAL)
                return fault_set_bad_reply(fault, "its end is not what an end looks like");
        if (error)
                return fault_set_reply(fault, error, parameters);
        if (!parameters)
                return fault_set_bad_reply(fault, "its end says nothing");
        *ret_parameters = json_object_get(parameters);
        return 0;
}

int frames_receive(Frames *f, const uint8_t **ret_bytes, size_t *ret_n, json_object **ret_parameters,
                Fault *fault) {
        int r;

        buffer_consume(&f->input, f->given);
        f->given = 0;
        if (f->left == 0) {
                r = need(f, 4, fault);
                if (r < 0)
                        return r;
                f->left = read_u32(f->input.bytes);
                if (f->left == 0)
                        return take_end(f, ret_parameters, fault);
                if (f->left > FRAME_SIZE_MAX)
                        return fault_set_bad_reply(fault, "a frame is too large");
                buffer_consume(&f->input, 4);
        }
        r = need(f, 1, fault);
        if (r < 0)
                return r;
        f->given = MIN(f->input.size, (size_t)f->left);
        f->left -= (uint32_t)f->given;
        *ret_bytes = f->input.bytes;
        *ret_n = f->given;
        return 1;
}

bool frames_is_answered(const Frames *f) {
        return f->input.size > 0;
}

static int send_all(Frames *f, const uint8_t *bytes, size_t n, Fault *fault) {
        uint64_t deadline = now_monotonic() + SILENCE_USEC;

        while (n > 0 && !frames_is_answered(f)) {
                struct pollfd p = { .fd = call_fd(f->call), .events = POLLIN | POLLOUT };
                ssize_t k;

                if (poll(&p, 1, 1000) < 0 && errno != EINTR)
                        return fault_set_cut(fault);
                if (p.revents & POLLIN)
                        return fill(f, fault);
                k = send(p.fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
                if (k >= 0) {
                        bytes += k;
                        n -= (size_t)k;
                } else if (errno != EAGAIN && errno != EINTR)
                        return fault_set_cut(fault);
                else if (now_monotonic() >= deadline)
                        return fault_set_silence(fault, SILENCE_USEC);
        }
        return 0;
}

int frames_send(Frames *f, const void *bytes, size_t n, Fault *fault) {
        const uint8_t head[] = { (uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n >> 16), (uint8_t)(n >> 24) };
        int r;

        r = send_all(f, head, sizeof(head), fault);
        return r < 0 ? r : send_all(f, bytes, n, fault);
}
