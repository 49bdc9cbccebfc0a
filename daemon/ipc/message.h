/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "json/object.h"

/* One Varlink call message, parsed. */
typedef struct Message {
        json_object *root;
        const char *method;      /* borrowed from root */
        json_object *parameters; /* borrowed; an empty object when absent or null */
        bool is_more, is_oneway, is_upgrade;
} Message;

/* An upper bound of the memory that the message takes once parsed, if it is JSON, known before any is taken: an empty array is two bytes on
 * the wire and hundreds in json-c. */
size_t message_cost(const char *text, size_t n);

/* 0; -EBADMSG: not a call, the connection is to be closed (UAPI.20: malformed messages, several of more, oneway and upgrade, members
 * that are neither known nor in an extension's name space); -ENOMEM. */
int message_parse(const char *text, size_t n, Message *ret);
void message_done(Message *m);
