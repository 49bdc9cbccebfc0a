/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* org.varlink.service: what is offered at this door. Other doors' interfaces are not named. */

#include "ipc/server-internal.h"

static const char service_description[] =
#include "daemon/ipc/org.varlink.service.inc"
                ;

bool introspection_takes_nothing(const char *description, const char *method) {
        size_t n = strlen(method);

        for (const char *at = description; (at = strstr(at, "\nmethod "));) {
                at += strlen("\nmethod ");
                if (strncmp(at, method, n) == 0 && startswith(at + n, "()"))
                        return true;
        }
        return false;
}

/* The first member, where none belongs; NULL: there is none. */
static const char *first_member(json_object *parameters) {
        struct json_object_iterator i = json_object_iter_begin(parameters),
                                    end = json_object_iter_end(parameters);

        return json_object_iter_equal(&i, &end) ? NULL : json_object_iter_peek_name(&i);
}

int introspection_refuse_members(Call *call) {
        const char *name = first_member(call->message.parameters);

        return name ? call_invalid_parameter(call, name) : 0;
}

static int introspection_info(Call *call) {
        const ServerOptions *o = &call->server->options;
        _cleanup_(json_putp) json_object *interfaces = json_object_new_array();
        int r;

        r = introspection_refuse_members(call);
        if (r < 0 || call->is_answered)
                return r;
        if (!interfaces)
                return -ENOMEM;
        r = json_array_add_string(interfaces, "org.varlink.service");
        for (const Interface *const *i = o->interfaces; *i && r >= 0; i++)
                if ((*i)->doors & call->door)
                        r = json_array_add_string(interfaces, (*i)->name);
        if (r < 0)
                return r;
        return call_reply(call, json_build("vendor", 's', o->vendor, "product", 's', o->product, "version",
                                                's', o->version, "url", 's', o->url, "interfaces", 'o',
                                                TAKE_PTR(interfaces), NULL));
}

static int introspection_describe(Call *call) {
        static const JsonField fields[] = { { "interface", JSON_FIELD_STRING, 0, true, 256 }, {} };
        const char *name = NULL, *bad;

        if (json_dispatch(call->message.parameters, fields, &name, &bad) < 0)
                return call_invalid_parameter(call, bad);
        if (streq(name, "org.varlink.service"))
                return call_reply(call, json_build("description", 's', service_description, NULL));
        for (const Interface *const *i = call->server->options.interfaces; *i; i++)
                if (((*i)->doors & call->door) && streq((*i)->name, name))
                        return call_reply(call, json_build("description", 's', (*i)->description, NULL));
        return call_error(call, "org.varlink.service.InterfaceNotFound",
                        json_build("interface", 's', name, NULL));
}

int introspection_dispatch(Call *call, const char *method) {
        int r;

        if (call->message.is_upgrade)
                r = call_error(call, "org.varlink.service.MethodNotImplemented",
                                json_build("method", 's', call->message.method, NULL));
        else if (streq(method, "GetInfo"))
                r = introspection_info(call);
        else if (streq(method, "GetInterfaceDescription"))
                r = introspection_describe(call);
        else
                r = call_error(call, "org.varlink.service.MethodNotFound",
                                json_build("method", 's', call->message.method, NULL));
        if (r < 0 && !call->is_answered)
                call->server->options.fault(call, r, call->server->options.userdata);
        return 0;
}
