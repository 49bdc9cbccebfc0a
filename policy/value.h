/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "policy/schema.h"

/* The kinds of values; the field's type stands beside each. */

ValueFunction value_duration;      /* uint64_t µs: "10s", "5min", "1h", "500ms" */
ValueFunction value_size;          /* uint64_t bytes: "64G", K M G T of 1024, or none */
ValueFunction value_number;        /* unsigned (also uid_t) */
ValueFunction value_name;          /* char *: [a-z0-9-]{1,32}, no '-' in front */
ValueFunction value_title;         /* char *: at most 64 printable bytes */
ValueFunction value_token;         /* char *: one word of visible ASCII, at most 256 */
ValueFunction value_field_name;    /* char *: [A-Za-z0-9_.-]{1,64} */
ValueFunction value_tool;          /* char *: an MCP tool's name */
ValueFunction value_date;          /* char *: YYYY-MM-DD */
ValueFunction value_path;          /* char *: absolute */
ValueFunction value_url;           /* char *: https, without query */
ValueFunction value_origin;        /* char *: "https://host[:port]", in its one form */
ValueFunction value_variable;      /* char *: [A-Z_][A-Z0-9_]{0,127} */
ValueFunction value_auth;          /* ServiceAuth */
ValueFunction value_proxy;         /* char *: "http[s]://host:port" */
ValueFunction value_redirect_host; /* char *: 127.0.0.1 or localhost */
ValueFunction value_custody;       /* Custody */
ValueFunction value_paste_back;    /* PasteBack */
ValueFunction value_yes_no;        /* bool */
ValueFunction value_elevated;      /* Elevated */
ValueFunction value_containers;    /* Containers */

/* char **, NULL-ended; words between blanks; added to what is there, each once. */
ValueFunction value_name_list;
ValueFunction value_tool_list;
ValueFunction value_scope_list;     /* RFC 6749 section 3.3 */
ValueFunction value_host_port_list; /* "host:port" */
ValueFunction value_host_list;      /* hosts and "*.domain", as url_host_pattern_is_legal() has them */
ValueFunction value_subject_list;   /* "user:NAME" */

#define LIST_MAX 1024U
size_t text_list_size(char **list);
bool text_list_contains(char **list, const char *text);
/* Adds a copy unless it is there. -E2BIG beyond LIST_MAX, -ENOMEM. */
int text_list_add(char ***list, const char *text, size_t n);
void text_list_free(char **list);
bool name_is_legal(const char *name);
