/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The address veto over a table: both ends of each range and the neighbours outside. */

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/un.h>

#include <cmocka.h>

#include "http/guard.h"

static const struct {
        const char *text;
        AddressClass class;
} addresses[] = {
        { "0.0.0.0", ADDRESS_FORBIDDEN },
        { "0.255.255.255", ADDRESS_FORBIDDEN },
        { "1.0.0.0", ADDRESS_PUBLIC },
        { "9.255.255.255", ADDRESS_PUBLIC },
        { "10.0.0.0", ADDRESS_LOCAL },
        { "10.255.255.255", ADDRESS_LOCAL },
        { "11.0.0.0", ADDRESS_PUBLIC },
        { "100.63.255.255", ADDRESS_PUBLIC },
        { "100.64.0.0", ADDRESS_LOCAL },
        { "100.127.255.255", ADDRESS_LOCAL },
        { "100.128.0.0", ADDRESS_PUBLIC },
        { "126.255.255.255", ADDRESS_PUBLIC },
        { "127.0.0.1", ADDRESS_LOCAL },
        { "127.255.255.255", ADDRESS_LOCAL },
        { "128.0.0.0", ADDRESS_PUBLIC },
        { "168.63.129.15", ADDRESS_PUBLIC },
        { "168.63.129.16", ADDRESS_FORBIDDEN },
        { "168.63.129.17", ADDRESS_PUBLIC },
        { "169.253.255.255", ADDRESS_PUBLIC },
        { "169.254.0.0", ADDRESS_FORBIDDEN },
        { "169.254.169.254", ADDRESS_FORBIDDEN },
        { "169.254.255.255", ADDRESS_FORBIDDEN },
        { "169.255.0.0", ADDRESS_PUBLIC },
        { "172.15.255.255", ADDRESS_PUBLIC },
        { "172.16.0.0", ADDRESS_LOCAL },
        { "172.31.255.255", ADDRESS_LOCAL },
        { "172.32.0.0", ADDRESS_PUBLIC },
        { "192.0.0.192", ADDRESS_FORBIDDEN },
        { "192.0.1.0", ADDRESS_PUBLIC },
        { "192.0.2.1", ADDRESS_FORBIDDEN },
        { "192.88.99.1", ADDRESS_FORBIDDEN },
        { "192.167.255.255", ADDRESS_PUBLIC },
        { "192.168.0.0", ADDRESS_LOCAL },
        { "192.168.255.255", ADDRESS_LOCAL },
        { "192.169.0.0", ADDRESS_PUBLIC },
        { "198.17.255.255", ADDRESS_PUBLIC },
        { "198.18.0.0", ADDRESS_FORBIDDEN },
        { "198.19.255.255", ADDRESS_FORBIDDEN },
        { "198.20.0.0", ADDRESS_PUBLIC },
        { "198.51.100.1", ADDRESS_FORBIDDEN },
        { "203.0.113.255", ADDRESS_FORBIDDEN },
        { "203.0.114.0", ADDRESS_PUBLIC },
        { "223.255.255.255", ADDRESS_PUBLIC },
        { "224.0.0.1", ADDRESS_FORBIDDEN },
        { "239.255.255.255", ADDRESS_FORBIDDEN },
        { "240.0.0.1", ADDRESS_FORBIDDEN },
        { "255.255.255.255", ADDRESS_FORBIDDEN },
        { "8.8.8.8", ADDRESS_PUBLIC },

        { "::", ADDRESS_FORBIDDEN },
        { "::1", ADDRESS_LOCAL },
        { "::2", ADDRESS_FORBIDDEN },
        { "::127.0.0.1", ADDRESS_FORBIDDEN },
        { "::8.8.8.8", ADDRESS_FORBIDDEN },
        { "::ffff:127.0.0.1", ADDRESS_LOCAL },
        { "::ffff:10.1.2.3", ADDRESS_LOCAL },
        { "::ffff:169.254.169.254", ADDRESS_FORBIDDEN },
        { "::ffff:0.0.0.0", ADDRESS_FORBIDDEN },
        { "::ffff:8.8.8.8", ADDRESS_PUBLIC },
        { "::ffff:0:127.0.0.1", ADDRESS_FORBIDDEN },
        { "::ffff:0:8.8.8.8", ADDRESS_FORBIDDEN },
        { "64:ff9b::8.8.8.8", ADDRESS_PUBLIC },
        { "64:ff9b::127.0.0.1", ADDRESS_FORBIDDEN },
        { "64:ff9b::10.0.0.1", ADDRESS_FORBIDDEN },
        { "64:ff9b::169.254.169.254", ADDRESS_FORBIDDEN },
        { "64:ff9b:1::8.8.8.8", ADDRESS_FORBIDDEN },
        { "64:ff9b::1:8.8.8.8", ADDRESS_FORBIDDEN },
        { "100::1", ADDRESS_FORBIDDEN },
        { "1fff:ffff::1", ADDRESS_FORBIDDEN },
        { "2000::1", ADDRESS_PUBLIC },
        { "2001::1", ADDRESS_FORBIDDEN },
        { "2001:0:7f00:1::1", ADDRESS_FORBIDDEN },
        { "2001:1ff::1", ADDRESS_FORBIDDEN },
        { "2001:200::1", ADDRESS_PUBLIC },
        { "2001:db7:ffff::1", ADDRESS_PUBLIC },
        { "2001:db8::1", ADDRESS_FORBIDDEN },
        { "2001:db9::1", ADDRESS_PUBLIC },
        { "2001:4860:4860::8888", ADDRESS_PUBLIC },
        { "2002:7f00:1::1", ADDRESS_FORBIDDEN },
        { "2002:808:808::1", ADDRESS_FORBIDDEN },
        { "2003::1", ADDRESS_PUBLIC },
        { "2606:4700::1111", ADDRESS_PUBLIC },
        { "3ffe::1", ADDRESS_FORBIDDEN },
        { "3fff:fff:ffff::1", ADDRESS_FORBIDDEN },
        { "3fff:1000::1", ADDRESS_PUBLIC },
        { "4000::1", ADDRESS_FORBIDDEN },
        { "5f00::1", ADDRESS_FORBIDDEN },
        { "fbff::1", ADDRESS_FORBIDDEN },
        { "fc00::1", ADDRESS_LOCAL },
        { "fd00:ec2::254", ADDRESS_LOCAL },
        { "fdff:ffff::1", ADDRESS_LOCAL },
        { "fe00::1", ADDRESS_FORBIDDEN },
        { "fe80::1", ADDRESS_FORBIDDEN },
        { "febf::1", ADDRESS_FORBIDDEN },
        { "fec0::1", ADDRESS_FORBIDDEN },
        { "ff02::1", ADDRESS_FORBIDDEN },
        { "ff0e::1", ADDRESS_FORBIDDEN },
};

static void address_class_follows_the_registers(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(addresses); i++) {
                struct sockaddr_storage storage = {};
                struct sockaddr_in *in = (struct sockaddr_in *)&storage;
                struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&storage;

                if (inet_pton(AF_INET, addresses[i].text, &in->sin_addr) == 1)
                        storage.ss_family = AF_INET;
                else if (inet_pton(AF_INET6, addresses[i].text, &in6->sin6_addr) == 1)
                        storage.ss_family = AF_INET6;
                else
                        fail_msg("bad row: %s", addresses[i].text);

                if (address_classify((struct sockaddr *)&storage) != addresses[i].class)
                        fail_msg("wrong class: %s", addresses[i].text);
                assert_int_equal(address_is_public((struct sockaddr *)&storage),
                                addresses[i].class == ADDRESS_PUBLIC);
                assert_int_equal(address_classify_host(addresses[i].text), addresses[i].class);
        }
}

static void other_families_forbidden(void **state) {
        struct sockaddr_storage storage = { .ss_family = AF_UNIX };

        assert_int_equal(address_classify((struct sockaddr *)&storage), ADDRESS_FORBIDDEN);
        storage.ss_family = AF_UNSPEC;
        assert_int_equal(address_classify((struct sockaddr *)&storage), ADDRESS_FORBIDDEN);
}

static void localhost_names_are_local(void **state) {
        assert_int_equal(address_classify_host("localhost"), ADDRESS_LOCAL);
        assert_int_equal(address_classify_host("a.b.localhost"), ADDRESS_LOCAL);
        assert_int_equal(address_classify_host("notlocalhost"), ADDRESS_PUBLIC);
        assert_int_equal(address_classify_host("localhost.test"), ADDRESS_PUBLIC);
}

static void allowance_is_for_exact_host_and_port(void **state) {
        const char *const texts[] = { "Fixture.test:8443", "[::1]:9000", NULL };
        Allowance *allowances;
        size_t n;

        assert_int_equal(allowances_parse(texts, &allowances, &n), 0);
        assert_int_equal(n, 2);
        assert_true(allowances_contain(allowances, n, "fixture.test", 8443));
        assert_true(allowances_contain(allowances, n, "::1", 9000));
        assert_false(allowances_contain(allowances, n, "fixture.test", 8444));
        assert_false(allowances_contain(allowances, n, "fixture.test", 9000));
        assert_false(allowances_contain(allowances, n, "x.fixture.test", 8443));
        assert_false(allowances_contain(allowances, n, "fixture", 8443));
        allowances_free(allowances, n);

        assert_int_equal(allowances_parse(NULL, &allowances, &n), 0);
        assert_int_equal(n, 0);
        allowances_free(allowances, n);
}

static void malformed_allowance_refused(void **state) {
        const char *const rows[][3] = { { "fixture.test", NULL }, { "ok.test:1", "*:443", NULL },
                { "10.0.0.0/8:443", NULL }, { "", NULL } };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                Allowance *allowances = NULL;
                size_t n = 0;

                assert_int_equal(allowances_parse(rows[i], &allowances, &n), -EINVAL);
                assert_null(allowances);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                { "address-class-follows-the-registers", address_class_follows_the_registers },
                { "other-families-forbidden", other_families_forbidden },
                { "localhost-names-are-local", localhost_names_are_local },
                { "allowance-is-for-exact-host-and-port", allowance_is_for_exact_host_and_port },
                { "malformed-allowance-refused", malformed_allowance_refused },
        };

        return cmocka_run_group_tests_name("http-guard", tests, NULL, NULL);
}
