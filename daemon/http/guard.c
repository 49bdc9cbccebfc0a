/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The address veto: a metadata document may name any host, and any host may resolve to any address.
 *
 * Discovery follows addresses that a foreign server chose (O11). Checking the name before the request is
 * no guard: it is resolved again when the connection is made, and may by then lead to 127.0.0.1 or to the
 * cloud's metadata service. So the decision is made over the resolved address, where the socket is opened
 * (http.c).
 *
 * IPv6 is judged by what is allowed rather than by what is not: only 2000::/3 is global unicast today (RFC
 * 4291 section 2.4), the rest is refused without a list to keep. Forms that carry an IPv4 address are
 * judged by that address where a network may need them (mapped, NAT64's well-known prefix) and refused
 * where not (6to4, Teredo).
 *
 * Local addresses can be allowed by root, for one host and port. Link-local ones cannot: there lives
 * 169.254.169.254.
 *
 * Invariant: pure functions without state; any thread may call them. */

#include <arpa/inet.h>
#include <netinet/in.h>

#include "http/guard.h"
#include "util/url.h"

typedef struct Range4 {
        uint32_t address;
        unsigned bits;
        AddressClass class;
} Range4;

#define IPV4(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

static const Range4 ranges4[] = {
        { IPV4(0, 0, 0, 0), 8, ADDRESS_FORBIDDEN },        /* this network; 0.0.0.0 connects to loopback */
        { IPV4(10, 0, 0, 0), 8, ADDRESS_LOCAL },           /* RFC 1918 */
        { IPV4(100, 64, 0, 0), 10, ADDRESS_LOCAL },        /* RFC 6598, carrier-grade NAT */
        { IPV4(127, 0, 0, 0), 8, ADDRESS_LOCAL },          /* loopback */
        { IPV4(168, 63, 129, 16), 32, ADDRESS_FORBIDDEN }, /* Azure's metadata */
        { IPV4(169, 254, 0, 0), 16, ADDRESS_FORBIDDEN },   /* RFC 3927; 169.254.169.254 is metadata */
        { IPV4(172, 16, 0, 0), 12, ADDRESS_LOCAL },        /* RFC 1918 */
        { IPV4(192, 0, 0, 0), 24, ADDRESS_FORBIDDEN },     /* RFC 6890 */
        { IPV4(192, 0, 2, 0), 24, ADDRESS_FORBIDDEN },     /* RFC 5737, documentation */
        { IPV4(192, 88, 99, 0), 24, ADDRESS_FORBIDDEN },   /* RFC 7526, 6to4 relays */
        { IPV4(192, 168, 0, 0), 16, ADDRESS_LOCAL },       /* RFC 1918 */
        { IPV4(198, 18, 0, 0), 15, ADDRESS_FORBIDDEN },    /* RFC 2544, benchmarks */
        { IPV4(198, 51, 100, 0), 24, ADDRESS_FORBIDDEN },  /* RFC 5737 */
        { IPV4(203, 0, 113, 0), 24, ADDRESS_FORBIDDEN },   /* RFC 5737 */
        { IPV4(224, 0, 0, 0), 4, ADDRESS_FORBIDDEN },      /* multicast */
        { IPV4(240, 0, 0, 0), 4, ADDRESS_FORBIDDEN },      /* reserved, broadcast */
};

typedef struct Range6 {
        uint8_t prefix[8];
        unsigned bits; /* at most 64 */
} Range6;

/* What is not a target although it lies in 2000::/3. */
static const Range6 forbidden6[] = {
        { { 0x20, 0x01, 0x00 }, 23 },       /* RFC 2928: Teredo, ORCHID, benchmarks, protocol assignments */
        { { 0x20, 0x01, 0x0d, 0xb8 }, 32 }, /* RFC 3849, documentation */
        { { 0x20, 0x02 }, 16 },             /* RFC 7526, 6to4 */
        { { 0x3f, 0xfe }, 16 },             /* RFC 3701, 6bone */
        { { 0x3f, 0xff, 0x00 }, 20 },       /* RFC 9637, documentation */
};

static bool has_prefix(const uint8_t *address, const uint8_t *prefix, unsigned bits) {
        unsigned rest = bits % 8;

        if (memcmp(address, prefix, bits / 8) != 0)
                return false;
        return rest == 0 || ((address[bits / 8] ^ prefix[bits / 8]) >> (8 - rest)) == 0;
}

static AddressClass classify4(uint32_t address) {
        for (size_t i = 0; i < ELEMENTSOF(ranges4); i++)
                if ((address ^ ranges4[i].address) >> (32 - ranges4[i].bits) == 0)
                        return ranges4[i].class;
        return ADDRESS_PUBLIC;
}

/* The IPv4 address in the last four bytes. */
static uint32_t embedded4(const uint8_t *address) {
        return IPV4(address[12], address[13], address[14], address[15]);
}

static AddressClass classify6(const struct in6_addr *in6) {
        static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
        static const uint8_t nat64[12] = { 0x00, 0x64, 0xff, 0x9b }; /* RFC 6052 section 2.1 */
        const uint8_t *address = in6->s6_addr;

        if (IN6_IS_ADDR_LOOPBACK(in6) || (address[0] & 0xfe) == 0xfc) /* RFC 4193 */
                return ADDRESS_LOCAL;
        if (memcmp(address, mapped, sizeof(mapped)) == 0)
                return classify4(embedded4(address));
        if (memcmp(address, nat64, sizeof(nat64)) == 0)
                return classify4(embedded4(address)) == ADDRESS_PUBLIC ? ADDRESS_PUBLIC : ADDRESS_FORBIDDEN;
        if (address[0] >> 5 != 1)
                return ADDRESS_FORBIDDEN;
        for (size_t i = 0; i < ELEMENTSOF(forbidden6); i++)
                if (has_prefix(address, forbidden6[i].prefix, forbidden6[i].bits))
                        return ADDRESS_FORBIDDEN;
        return ADDRESS_PUBLIC;
}

AddressClass address_classify(const struct sockaddr *address) {
        if (address->sa_family == AF_INET) {
                struct sockaddr_in in;

                memcpy(&in, address, sizeof(in));
                return classify4(ntohl(in.sin_addr.s_addr));
        }
        if (address->sa_family == AF_INET6) {
                struct sockaddr_in6 in6;

                memcpy(&in6, address, sizeof(in6));
                return classify6(&in6.sin6_addr);
        }
        return ADDRESS_FORBIDDEN;
}

bool address_is_public(const struct sockaddr *address) {
        return address_classify(address) == ADDRESS_PUBLIC;
}

AddressClass address_classify_host(const char *host) {
        struct in_addr in;
        struct in6_addr in6;

        if (inet_pton(AF_INET, host, &in) == 1)
                return classify4(ntohl(in.s_addr));
        if (inet_pton(AF_INET6, host, &in6) == 1)
                return classify6(&in6);
        const char *dot = strrchr(host, '.');
        /* RFC 6761 section 6.3 */
        return streq(dot ? dot + 1 : host, "localhost") ? ADDRESS_LOCAL : ADDRESS_PUBLIC;
}

int allowances_parse(const char *const *texts, Allowance **ret, size_t *ret_n) {
        Allowance *allowances = NULL;
        size_t n = 0;
        int r;

        while (texts && texts[n])
                n++;
        allowances = calloc(MAX(n, (size_t)1), sizeof(Allowance));
        if (!allowances)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                r = http_host_port_parse(texts[i], &allowances[i].host, &allowances[i].port);
                if (r < 0) {
                        allowances_free(allowances, i);
                        return r;
                }
        }
        *ret = allowances;
        *ret_n = n;
        return 0;
}

void allowances_free(Allowance *allowances, size_t n) {
        for (size_t i = 0; i < n; i++)
                free(allowances[i].host);
        free(allowances);
}

bool allowances_contain(const Allowance *allowances, size_t n, const char *host, uint16_t port) {
        for (size_t i = 0; i < n; i++)
                if (allowances[i].port == port && streq(allowances[i].host, host))
                        return true;
        return false;
}
