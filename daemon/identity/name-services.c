/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* "No such user" or "could not ask"? The C library passes over a name service whose library it cannot load, and then tells what the
 * others said: with "passwd: files sss" and without libnss_sss, that there is no such user (glibc 2.36, nss/XXX-lookup.c). A
 * package that is being replaced or a word that is mistyped would so lock everybody out whom only that directory knows.
 *
 * So when nobody was found, the line is read here and each library is tried, as the C library does; the ones that are part of the C
 * library have none. A file that cannot be read says nothing. On a host whose file names a library that never was there, a removed
 * user goes on for the rest of his day (api/vaults.c), and that is the worst that comes of it.
 *
 * No state. Who may call: users.c, in the worker thread. */

#include <dlfcn.h>
#include <stdio.h>

#include "identity/name-services.h"

#define SPACE " \t\r\n"

static bool is_built_in(const char *service) {
        return streq(service, "files") || streq(service, "dns");
}

static bool can_be_loaded(const char *service) {
        char name[128];
        void *library;

        if (snprintf(name, sizeof(name), "libnss_%s.so.2", service) >= (int)sizeof(name) ||
                        strchr(service, '/'))
                return false;
        library = dlopen(name, RTLD_LAZY | RTLD_LOCAL);
        if (!library)
                return false;
        (void)dlclose(library);
        return true;
}

/* What follows "passwd:" in a line, or NULL. */
static char *passwd_services(char *line) {
        char *comment = strchr(line, '#');

        if (comment)
                *comment = 0;
        line += strspn(line, SPACE);
        if (!startswith(line, "passwd"))
                return NULL;
        line += strlen("passwd");
        line += strspn(line, SPACE);
        return *line == ':' ? line + 1 : NULL;
}

/* "files [NOTFOUND=return] sss": reactions stand in brackets and may hold spaces. */
static int services_check(char *text) {
        while (*(text += strspn(text, SPACE))) {
                char *end = *text == '[' ? strchr(text, ']') : text + strcspn(text, SPACE "[");

                if (*text == '[') {
                        text = end ? end + 1 : text + strlen(text);
                        continue;
                }
                char after = *end;

                *end = 0;
                if (!is_built_in(text) && !can_be_loaded(text))
                        return -EHOSTUNREACH;
                *end = after;
                text = end;
        }
        return 0;
}

int name_services_check(const char *nsswitch_file) {
        _cleanup_(freep) char *line = NULL;
        FILE *file = fopen(nsswitch_file, "re");
        size_t size = 0;
        int r = 0;

        if (!file)
                return errno == ENOMEM ? -ENOMEM : 0; /* the C library then asks its own files alone */
        while (r == 0 && getline(&line, &size, file) >= 0) {
                char *services = passwd_services(line);

                if (services)
                        r = services_check(services);
        }
        (void)fclose(file);
        return r;
}
