/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "policy/schema.h"

/* The kinds of values. Each is a ValueParser; the field's type stands beside it. */

int value_duration(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]); /* uint64_t µs: "10s", "5min", "1h", "500ms" */
int value_size(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]);     /* uint64_t bytes: "64G", K M G T of 1024, or none */
int value_number(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]);   /* unsigned (also uid_t) */
int value_name(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]);     /* char *: [a-z0-9-]{1,32}, no '-' in front */
int value_title(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]);    /* char *: at most 64 printable bytes */
int value_token(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]);    /* char *: one word of visible ASCII, at most 256 */
int value_field_name(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]); /* char *: [A-Za-z0-9_.-]{1,64} */
int value_tool(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]);     /* char *: an MCP tool's name */
int value_date(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]);     /* char *: YYYY-MM-DD */
int value_path(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]);     /* char *: absolute */
int value_url(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]);      /* char *: https, without query */
int value_origin(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]);   /* char *: "https://host[:port]", in its one form */
int value_proxy(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]);    /* char *: "http[s]://host:port" */
int value_redirect_host(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]); /* char * */
int value_custody(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]);  /* Custody */
int value_paste_back(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]); /* PasteBack */

/* char **, NULL-ended; words between blanks; added to what is there, each once. */
int value_name_list(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]);
int value_tool_list(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]);
int value_scope_list(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]);     /* RFC 6749 section 3.3 */
int value_host_port_list(const KeyRule *rule, const char *value, void *field, char expected[static EXPECTED_MAX]); /* "host:port" */

#define LIST_MAX 1024U
size_t text_list_size(char **list);
bool text_list_contains(char **list, const char *text);
/* Adds a copy unless it is there. -E2BIG beyond LIST_MAX, -ENOMEM. */
int text_list_add(char ***list, const char *text, size_t n);
void text_list_free(char **list);
bool name_is_legal(const char *name);
