/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The module as a file: it loads with nothing but libc and libpam, and shows nothing but what PAM calls. argv[1]. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "util/macro.h"

static const char *module_path;

typedef struct Image {
        const uint8_t *bytes;
        size_t size;
        const ElfW(Ehdr) * header;
        const ElfW(Shdr) * sections;
} Image;

static Image image_map(void) {
        Image image = {};
        struct stat st;
        int fd = open(module_path, O_RDONLY | O_CLOEXEC);

        assert_return_code(fd, errno);
        assert_return_code(fstat(fd, &st), errno);
        image.size = (size_t)st.st_size;
        image.bytes = mmap(NULL, image.size, PROT_READ, MAP_PRIVATE, fd, 0);
        assert_ptr_not_equal(image.bytes, MAP_FAILED);
        (void)close(fd);
        image.header = (const void *)image.bytes;
        assert_memory_equal(image.header->e_ident, ELFMAG, SELFMAG);
        image.sections = (const void *)(image.bytes + image.header->e_shoff);
        return image;
}

static const ElfW(Shdr) * image_section(const Image *image, uint32_t type) {
        for (size_t i = 0; i < image->header->e_shnum; i++)
                if (image->sections[i].sh_type == type)
                        return &image->sections[i];
        fail_msg("no such section");
        return NULL;
}

static const char *image_text(const Image *image, const ElfW(Shdr) * section, size_t offset) {
        return (const char *)image->bytes + image->sections[section->sh_link].sh_offset + offset;
}

static bool is_one_of(const char *text, const char *const *list, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (streq(text, list[i]))
                        return true;
        return false;
}

static void test_loads_with_every_symbol_resolved(void **state) {
        void *module = dlopen(module_path, RTLD_NOW | RTLD_LOCAL);

        if (!module)
                fail_msg("%s", dlerror());
        assert_int_equal(dlclose(module), 0);
}

static void test_exports_what_pam_calls_and_nothing_else(void **state) {
        static const char *const calls[] = {
                "pam_sm_acct_mgmt",
                "pam_sm_authenticate",
                "pam_sm_chauthtok",
                "pam_sm_close_session",
                "pam_sm_open_session",
                "pam_sm_setcred",
        };
        Image image = image_map();
        const ElfW(Shdr) *section = image_section(&image, SHT_DYNSYM);
        const ElfW(Sym) *symbols = (const void *)(image.bytes + section->sh_offset);
        size_t n_exported = 0;

        for (size_t i = 1; i < section->sh_size / sizeof(ElfW(Sym)); i++) {
                const char *name = image_text(&image, section, symbols[i].st_name);

                if (symbols[i].st_shndx == SHN_UNDEF)
                        continue;
                if (!is_one_of(name, calls, ELEMENTSOF(calls)))
                        fail_msg("%s is exported", name);
                n_exported++;
        }
        assert_int_equal(n_exported, ELEMENTSOF(calls));
        (void)munmap((void *)image.bytes, image.size);
}

static void test_needs_libc_and_libpam_only(void **state) {
        Image image = image_map();
        const ElfW(Shdr) *section = image_section(&image, SHT_DYNAMIC);
        const ElfW(Dyn) *entries = (const void *)(image.bytes + section->sh_offset);
        static const char *const allowed[] = { "libpam.so.0", "libc.so.6" };

        for (size_t i = 0; i < section->sh_size / sizeof(ElfW(Dyn)) && entries[i].d_tag != DT_NULL; i++) {
                const char *name = image_text(&image, section, entries[i].d_un.d_val);

                /* A build with sanitizers has their libraries in it as well. */
                if (entries[i].d_tag != DT_NEEDED || startswith(name, "libasan.so") ||
                                startswith(name, "libubsan.so") || startswith(name, "libtsan.so"))
                        continue;
                if (!is_one_of(name, allowed, ELEMENTSOF(allowed)))
                        fail_msg("%s is needed", name);
        }
        (void)munmap((void *)image.bytes, image.size);
}

int main(int argc, char *argv[]) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_loads_with_every_symbol_resolved),
                cmocka_unit_test(test_exports_what_pam_calls_and_nothing_else),
                cmocka_unit_test(test_needs_libc_and_libpam_only),
        };

        if (argc != 2)
                return 2;
        module_path = argv[1];
        return cmocka_run_group_tests_name("pam-module", tests, NULL, NULL);
}
