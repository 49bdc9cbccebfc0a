/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "api/manager.h"
#include "audit/audit.h"

/* What the files behind io.vaultd.Admin share. */

/* The two ways to name a vault, as members of a parameters struct: int64_t uid (-1: not given) and const char *user. */
#define ADMIN_SUBJECT_FIELDS(type)                                                                          \
        { "uid", JSON_FIELD_INT64, offsetof(type, uid), false }, {                                          \
                "user", JSON_FIELD_STRING, offsetof(type, user), false, 256                                 \
        }
/* NULL, or the name of the parameter that is wrong: exactly one of the two is wanted. */
const char *admin_check_subject(int64_t uid, const char *user);

/* On a fiber: the uid that is meant, and its vault. FAILED: none, or it is not clear which. */
int admin_find_uid(Manager *m, int64_t uid, const char *user, uid_t *ret, Failure *failure);
int admin_find_vault(Manager *m, int64_t uid, const char *user, Vault **ret, Failure *failure);

json_object *admin_vault_to_json(const Vault *v, const char *present);

/* Records what was done and which administrator did it; user, vault_id and reason may be NULL. */
void admin_record(Call *call, AuditKind kind, uid_t uid, const char *user, const char *vault_id,
                const char *reason);

/* Methods. */
int admin_show_vault(Call *call, json_object *parameters, void *userdata);
int admin_destroy_vault(Call *call, json_object *parameters, void *userdata);
int admin_new_recovery_key(Call *call, json_object *parameters, void *userdata);
int admin_check_records(Call *call, json_object *parameters, void *userdata);
int admin_prepare_rekey(Call *call, json_object *parameters, void *userdata);
int admin_rekey(Call *call, json_object *parameters, void *userdata);
