/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One HTTPS exchange: what is asked of libcurl, and what it is not allowed to do by itself.
 *
 * libcurl is helpful in ways that a holder of credentials cannot afford: it follows the environment's
 * proxy, reads .netrc, continues on redirects, and sends a request a second time when a kept connection
 * turns out to be dead. The last one matters most: the platform has no idempotency keys, so a repeated
 * POST may be a second vault. The pre-request callback (called each time just before the request's first
 * byte) notes that the request goes out, and refuses a second time for anything but GET.
 *
 * Addresses are judged where the socket is opened (guard.c says why). With a proxy the name is resolved
 * over there: root chose that proxy, so its address is not judged, and only literal targets are.
 *
 * Invariants: the callbacks run in the event loop, touch this Exchange alone, and never after
 * exchange_done(). Bodies are not copied: the request outlives the exchange (http_perform() holds both). */

#include <arpa/inet.h>
#include <assert.h>
#include <strings.h>

#include "http/exchange.h"

#define RESPONSE_SIZE_DEFAULT (1024U * 1024U)
#define TIMEOUT_USEC_DEFAULT  (30U * USEC_PER_SEC)
#define CONNECT_TIMEOUT_MS    10000L
/* Shorter than what servers keep idle: fewer requests meet a closing connection. */
#define REUSE_AGE_MAX_SEC 30L

static curl_socket_t exchange_open_socket(
                void *userdata, curlsocktype purpose, struct curl_sockaddr *address) {
        Exchange *x = userdata;

        if (purpose != CURLSOCKTYPE_IPCXN)
                return CURL_SOCKET_BAD;
        if (!x->settings->proxy) {
                AddressClass class = address_classify(&address->addr);

                if (class == ADDRESS_FORBIDDEN || (class == ADDRESS_LOCAL && !x->is_local_allowed)) {
                        x->is_vetoed = true;
                        return CURL_SOCKET_BAD;
                }
        }
        return socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address->protocol);
}

static int exchange_before_request(
                void *userdata, char *remote, char *local, int remote_port, int local_port) {
        Exchange *x = userdata;

        if (x->is_sent && !streq(x->request->method, "GET")) {
                x->is_repeated = true;
                return CURL_PREREQFUNC_ABORT;
        }
        x->is_sent = true;
        return CURL_PREREQFUNC_OK;
}

static size_t exchange_on_header(char *line, size_t size, size_t n, void *userdata) {
        Exchange *x = userdata;
        long status = 0;

        (void)curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
        int r = header_lines_add(&x->answer, line, size * n, status);
        if (r < 0) {
                x->fault = r;
                return 0;
        }
        return size * n;
}

static size_t exchange_on_body(char *bytes, size_t size, size_t n, void *userdata) {
        Exchange *x = userdata;

        int r = buffer_append(&x->body, bytes, size * n);
        if (r < 0) {
                x->fault = r == -ENOBUFS ? -EMSGSIZE : r;
                return 0;
        }
        return size * n;
}

/* Decides from the URL alone what can be decided. */
static int exchange_check_target(Exchange *x) {
        int r = http_url_parse(x->request->url, &x->url);
        if (r < 0)
                return r == -EINVAL ? -EPERM : r;

        x->is_local_allowed = allowances_contain(
                        x->settings->allowances, x->settings->n_allowances, x->url.host, x->url.port);
        AddressClass class = address_classify_host(x->url.host);
        if (class == ADDRESS_FORBIDDEN || (class == ADDRESS_LOCAL && !x->is_local_allowed))
                return -EPERM;
        return 0;
}

uint64_t exchange_timeout(const HttpRequest *request) {
        return request->timeout_usec ?: TIMEOUT_USEC_DEFAULT;
}

/* Collects the first failure of many curl_easy_setopt() calls. */
#define SET(x, code, option, value)                                                                         \
        do {                                                                                                \
                if ((code) == CURLE_OK)                                                                     \
                        (code) = curl_easy_setopt((x)->easy, (option), (value));                            \
        } while (0)

static CURLcode exchange_set_timeout(Exchange *x, uint64_t timeout_usec) {
        uint64_t timeout_ms = MIN(timeout_usec / USEC_PER_MSEC + (timeout_usec % USEC_PER_MSEC != 0),
                        (uint64_t)INT32_MAX);
        CURLcode code = CURLE_OK;

        SET(x, code, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
        SET(x, code, CURLOPT_CONNECTTIMEOUT_MS, MIN((long)timeout_ms, CONNECT_TIMEOUT_MS));
        return code;
}

static CURLcode exchange_set_limits(Exchange *x) {
        CURLcode code = exchange_set_timeout(x, exchange_timeout(x->request));

        SET(x, code, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)x->body.limit);
        SET(x, code, CURLOPT_MAXAGE_CONN, REUSE_AGE_MAX_SEC);
        SET(x, code, CURLOPT_NOSIGNAL, 1L);
        return code;
}

static CURLcode exchange_set_guards(Exchange *x) {
        CURLcode code = CURLE_OK;

        SET(x, code, CURLOPT_PROTOCOLS_STR, "https");
        SET(x, code, CURLOPT_REDIR_PROTOCOLS_STR, "https");
        SET(x, code, CURLOPT_FOLLOWLOCATION, 0L);
        SET(x, code, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
        SET(x, code, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
        SET(x, code, CURLOPT_PATH_AS_IS, 1L);
        /* Both set, also when empty: otherwise libcurl asks the environment. */
        SET(x, code, CURLOPT_PROXY, x->settings->proxy ?: "");
        SET(x, code, CURLOPT_NOPROXY, "");
        SET(x, code, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
        SET(x, code, CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE);
        SET(x, code, CURLOPT_SSL_VERIFYPEER, 1L);
        SET(x, code, CURLOPT_SSL_VERIFYHOST, 2L);
        SET(x, code, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
        /* The system's authorities come from one file. With a folder beside it, which Debian builds in as well, libcurl parses that file
         * anew for each connection, some 20 ms in the loop; otherwise once a day (CURLOPT_CA_CACHE_TIMEOUT(3)). */
        SET(x, code, CURLOPT_CAPATH, (char *)NULL);
        SET(x, code, CURLOPT_PROXY_CAPATH, (char *)NULL);
        if (x->settings->ca_file) {
                /* In place of the system's authorities, not beside them. */
                SET(x, code, CURLOPT_CAINFO, x->settings->ca_file);
                SET(x, code, CURLOPT_PROXY_CAINFO, x->settings->ca_file);
        }
        SET(x, code, CURLOPT_OPENSOCKETFUNCTION, exchange_open_socket);
        SET(x, code, CURLOPT_OPENSOCKETDATA, x);
        SET(x, code, CURLOPT_PREREQFUNCTION, exchange_before_request);
        SET(x, code, CURLOPT_PREREQDATA, x);
        return code;
}

static CURLcode exchange_set_request(Exchange *x) {
        const HttpRequest *request = x->request;
        bool is_get = streq(request->method, "GET");
        CURLcode code = CURLE_OK;

        SET(x, code, CURLOPT_URL, request->url);
        if (request->body || streq(request->method, "POST")) {
                SET(x, code, CURLOPT_POST, 1L);
                SET(x, code, CURLOPT_POSTFIELDS, request->body ? (const char *)request->body : "");
                SET(x, code, CURLOPT_POSTFIELDSIZE_LARGE,
                                (curl_off_t)(request->body ? request->body_size : 0));
        } else
                SET(x, code, CURLOPT_HTTPGET, 1L);
        if (!is_get && !streq(request->method, "POST"))
                SET(x, code, CURLOPT_CUSTOMREQUEST, request->method);
        SET(x, code, CURLOPT_HTTPHEADER, x->lines);
        if (x->settings->user_agent)
                SET(x, code, CURLOPT_USERAGENT, x->settings->user_agent);
        SET(x, code, CURLOPT_HEADERFUNCTION, exchange_on_header);
        SET(x, code, CURLOPT_HEADERDATA, x);
        SET(x, code, CURLOPT_WRITEFUNCTION, exchange_on_body);
        SET(x, code, CURLOPT_WRITEDATA, x);
        SET(x, code, CURLOPT_PRIVATE, x);
        return code;
}

static bool method_is_legal(const HttpRequest *request) {
        if (streq(request->method, "GET"))
                return !request->body;
        return streq(request->method, "POST") || streq(request->method, "DELETE");
}

int exchange_init(Exchange *x, const HttpSettings *settings, const HttpRequest *request, void *userdata) {
        CURLcode code;
        int r;

        *x = (Exchange){
                .settings = settings,
                .request = request,
                .userdata = userdata,
                .body.limit = request->max_response ?: RESPONSE_SIZE_DEFAULT,
        };
        if (!method_is_legal(request))
                return -EINVAL;
        r = exchange_check_target(x);
        if (r < 0)
                return r;
        r = header_lines_new(request, &x->lines);
        if (r < 0)
                return r;

        x->easy = curl_easy_init();
        if (!x->easy)
                return -ENOMEM;
        code = exchange_set_limits(x);
        if (code == CURLE_OK)
                code = exchange_set_guards(x);
        if (code == CURLE_OK)
                code = exchange_set_request(x);
        if (code != CURLE_OK) /* fail closed: a libcurl that lacks a guard makes no request at all */
                return code == CURLE_OUT_OF_MEMORY ? -ENOMEM : -EOPNOTSUPP;
        return 0;
}

const char *exchange_peer(const Exchange *x) {
        const char *host = x->settings->proxy_host ?: x->url.host;
        struct in6_addr address;

        return inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1 ? NULL
                                                                                                   : host;
}

int exchange_set_addresses(Exchange *x, const char *addresses, uint64_t timeout_usec) {
        _cleanup_(freep) char *entry = NULL;
        CURLcode code;

        /* "+": the next exchange may say otherwise. */
        if (asprintf(&entry, "+%s:%u:%s", exchange_peer(x),
                            (unsigned)(x->settings->proxy_host ? x->settings->proxy_port : x->url.port),
                            addresses) < 0)
                return -ENOMEM;
        x->addresses = curl_slist_append(NULL, entry);
        if (!x->addresses)
                return -ENOMEM;
        code = exchange_set_timeout(x, timeout_usec);
        SET(x, code, CURLOPT_RESOLVE, x->addresses);
        if (code != CURLE_OK)
                return code == CURLE_OUT_OF_MEMORY ? -ENOMEM : -EOPNOTSUPP;
        return 0;
}

void *exchange_userdata(CURL *easy) {
        Exchange *x = NULL;

        (void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&x);
        return x ? x->userdata : NULL;
}

static int exchange_connect_error(const Exchange *x) {
        long number = 0;

        if (x->is_vetoed)
                return -EPERM;
        (void)curl_easy_getinfo(x->easy, CURLINFO_OS_ERRNO, &number);
        if (number == ETIMEDOUT)
                return -ETIMEDOUT;
        if (number == ENETUNREACH || number == EHOSTUNREACH || number == ENETDOWN || number == EADDRNOTAVAIL)
                return -EHOSTUNREACH;
        return number == EMFILE || number == ENFILE ? -(int)number : -ECONNREFUSED;
}

int exchange_result(const Exchange *x, CURLcode code) {
        if (code != CURLE_OK && x->fault < 0)
                return x->fault;
        if (x->is_repeated)
                return -ECONNRESET;

        switch (code) {
        case CURLE_OK:
                return 0;
        case CURLE_UNSUPPORTED_PROTOCOL:
        case CURLE_URL_MALFORMAT:
                return x->is_sent ? -EPROTO : -EPERM; /* an answer that is not HTTP/1 also gets the first */
        case CURLE_COULDNT_RESOLVE_HOST:
        case CURLE_COULDNT_RESOLVE_PROXY:
                return -ENXIO;
        case CURLE_COULDNT_CONNECT:
                return exchange_connect_error(x);
        case CURLE_OPERATION_TIMEDOUT:
                return -ETIMEDOUT;
        case CURLE_SEND_ERROR:
        case CURLE_RECV_ERROR:
        case CURLE_GOT_NOTHING:
        case CURLE_PARTIAL_FILE:
                return -ECONNRESET;
        case CURLE_FILESIZE_EXCEEDED:
                return -EMSGSIZE;
        case CURLE_OUT_OF_MEMORY:
                /* libcurl 7.88 also says this of a header line beyond its own limit. */
                return x->is_sent ? -EMSGSIZE : -ENOMEM;
        default:
                return -EPROTO;
        }
}

void exchange_take_response(Exchange *x, HttpResponse *ret) {
        long status = 0;

        (void)curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
        assert(status >= 0);
        *ret = (HttpResponse){
                .status = (unsigned)status,
                .body = x->body,
                .headers = x->answer.lines,
        };
        x->body = (Buffer){};
        x->answer = (HeaderLines){};
}

void exchange_done(Exchange *x) {
        curl_easy_cleanup(x->easy);
        x->lines = header_lines_free(x->lines);
        curl_slist_free_all(TAKE_PTR(x->addresses));
        header_lines_done(&x->answer);
        buffer_done(&x->body);
        http_url_done(&x->url);
        x->easy = NULL;
}
