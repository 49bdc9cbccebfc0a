/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "api/manager.h"
#include "api/visits.h"

/* The page of services, as far as page.c, web-visit.c and web-cards.c share it. */

/* At the manager's start: the table, which revocations, closed vaults and ended logins take visits out of. */
int page_new(Manager *m);

/* web-visit.c: of io.vaultd.Web. */
int method_web_invitation(Call *call, json_object *parameters, void *userdata);
int method_web_enter(Call *call, json_object *parameters, void *userdata);
int method_web_services(Call *call, json_object *parameters, void *userdata);
int method_web_begin(Call *call, json_object *parameters, void *userdata);
int method_web_offer(Call *call, json_object *parameters, void *userdata);
int method_web_leave(Call *call, json_object *parameters, void *userdata);

/* web-cards.c: the array of Card for that vault. 0, -errno. */
int cards_to_json(Manager *m, const Vault *vault, json_object **ret);
