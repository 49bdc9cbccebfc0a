/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "store/records.h"

/* What the vaults of a measured store hold: what a user has who has connected five services. */

#define POPULATION_SERVICES 5U

/* The service of one of the credentials; its label is "default". */
const char *population_service(unsigned i);

/* Adds a new vault of that uid, for the user "bench" + uid, with a credential of each service to the batch; is_expired: its grants' access
 * tokens ended an hour ago. -ENOMEM, and what vault_record_put() and credential_record_put() say. */
int population_add(StoreBatch *b, Keyring *k, uid_t uid, bool is_expired);
