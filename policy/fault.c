/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The list of faults that a load collects.
 *
 * All faults at once, since an admin who mends one line at a time over ten reloads gives up checking.
 * fault_add() returns nothing, so that a parser reads as its grammar; running out of memory is remembered
 * in the list and ends the load (fail closed), see config_load(). */

#include <stdarg.h>
#include <stdio.h>

#include "policy/fault.h"

/* Takes text over. The same fault twice (a folder that is opened for several kinds of files) is kept once. */
static int fault_store(ConfigFaults *f, const char *file, unsigned line, char *text) {
        for (size_t i = 0; i < f->n_faults; i++)
                if (f->faults[i].line == line && streq(f->faults[i].file, file) &&
                                streq(f->faults[i].text, text)) {
                        free(text);
                        return 0;
                }

        ConfigFault *grown = reallocarray(f->faults, f->n_faults + 1, sizeof(ConfigFault));

        if (!grown)
                return -ENOMEM;
        f->faults = grown;

        char *copy = strdup(file);
        if (!copy)
                return -ENOMEM;
        f->faults[f->n_faults++] = (ConfigFault){ .file = copy, .line = line, .text = text };
        return 0;
}

void fault_add(FaultList *l, const char *file, unsigned line, const char *format, ...) {
        _cleanup_(freep) char *text = NULL;
        va_list args;
        int n;

        if (l->list.n_faults > FAULTS_MAX)
                return;
        va_start(args, format);
        if (l->list.n_faults == FAULTS_MAX) {
                line = 0;
                n = asprintf(&text, "more faults than these %u", FAULTS_MAX);
        } else
                n = vasprintf(&text, format, args);
        va_end(args);

        if (n < 0) {
                text = NULL; /* asprintf(3) leaves it undefined */
                l->is_out_of_memory = true;
        } else if (fault_store(&l->list, file, line, text) < 0)
                l->is_out_of_memory = true;
        else
                text = NULL;
}

void config_faults_done(ConfigFaults *f) {
        for (size_t i = 0; i < f->n_faults; i++) {
                free(f->faults[i].file);
                free(f->faults[i].text);
        }
        free(f->faults);
        *f = (ConfigFaults){};
}
