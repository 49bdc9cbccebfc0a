/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "policy/schema.h"

/* The kinds of values that only service profiles have; the field's type stands beside each. */

ValueFunction value_revocation;          /* RevocationWay */
ValueFunction value_revocation_endpoint; /* char *: https, "{client_id}" may stand in its path */
ValueFunction value_client_auth;         /* ClientAuth */
ValueFunction value_account_source;      /* AccountSource */
ValueFunction value_client_metadata_url; /* char *: https URL with a path, kept byte for byte */
ValueFunction value_token_request;       /* bool: json */
ValueFunction value_scope_separator;     /* char */
ValueFunction value_resource;            /* char *: https URL, kept byte for byte, or "" for none */
ValueFunction value_issuer;              /* char *: https URL, kept byte for byte */
ValueFunction value_parameter_name;      /* char *: of a request, [A-Za-z0-9_.-]{1,64} */
ValueFunction value_fields;              /* char *: field names, "a.b", one blank between two */
ValueFunction value_json_object;         /* char * */
ValueFunction value_phrase;              /* char *: printable text with exactly one '*' and something else */

/* char **, as the lists of value.h */
ValueFunction value_answer_list;    /* HTTP status numbers and error codes */
ValueFunction value_parameter_list; /* "name=value" of an authorization request, none of ours */
