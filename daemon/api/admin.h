/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "api/manager.h"
#include "audit/audit.h"

/* What the methods of io.vaultd.Admin share. */

/* Adds the members that name a vault to a table of fields: uid and user of the struct. */
#define ADMIN_SUBJECT_FIELDS(struct_type)                                                                   \
        { "uid", JSON_FIELD_INT64, offsetof(struct_type, uid), false }, {                                   \
                "user", JSON_FIELD_STRING, offsetof(struct_type, user), false, 256                          \
        }

/* The field that names no vault properly, or NULL. uid is -1 when it was not said. */
const char *admin_check_subject(int64_t uid, const char *user);
/* On a fiber: the uid that is meant, and its vault. FAILED: there is none, or it is not clear which. */
int admin_find_uid(Manager *m, int64_t uid, const char *user, uid_t *ret, Failure *failure);
int admin_find_vault(Manager *m, int64_t uid, const char *user, Vault **ret, Failure *failure);
/* The record that says which administrator did it; service and reason may be NULL. */
void admin_record(Call *call, AuditKind kind, const Vault *v, const char *service, const char *reason);
json_object *admin_vault_to_json(const Vault *v, const char *present);

int admin_method_revoke(Call *call, json_object *parameters, void *userdata);
int admin_method_account_closed(Call *call, json_object *parameters, void *userdata);
int admin_show_vault(Call *call, json_object *parameters, void *userdata);
int admin_destroy_vault(Call *call, json_object *parameters, void *userdata);
int admin_new_recovery_key(Call *call, json_object *parameters, void *userdata);
int admin_check_records(Call *call, json_object *parameters, void *userdata);
int admin_prepare_rekey(Call *call, json_object *parameters, void *userdata);
int admin_rekey(Call *call, json_object *parameters, void *userdata);
