/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Everything that a configuration file can get wrong: each kind, with the exact file, line and text. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "support.h"

typedef struct FaultRow {
        const char *text;     /* of the file */
        const char *expected; /* "LINE: fault"; NULL: none */
} FaultRow;

static void check_rows(const char *path, const FaultRow *rows, size_t n) {
        for (size_t i = 0; i < n; i++) {
                _cleanup_(freep) char *expected = NULL;
                Tree t;

                tree_open(&t);
                tree_write(&t, path, rows[i].text);
                int r = tree_load(&t);
                if (!rows[i].expected) {
                        if (r < 0)
                                fail_msg("row %zu: refused: %s: %s", i, rows[i].text,
                                                t.faults.faults[0].text);
                } else {
                        if (r == 0)
                                fail_msg("row %zu: accepted: %s", i, rows[i].text);
                        assert_true(asprintf(&expected, "%s:%s", path, rows[i].expected) > 0);
                        assert_single_fault(&t, expected);
                }
                tree_close(&t);
        }
}

static void malformed_lines_are_faults(void **state) {
        static const FaultRow rows[] = {
                { "", NULL },
                { "# a\n; b\n\n  \t\n[Http]\n#CaFile=x\n", NULL },
                { "[Http]\nCaFile = /a \t\n", NULL },
                { "[Http]\nCaFile=/a", NULL }, /* no last line end */
                { "[Http] \t\nCaFile=/a\n", NULL },
                { "CaFile=/a\n", "1: CaFile= stands before the first [Section]" },
                { "[Http]\nCaFile\n", "2: expected Key=value, [Section] or a comment" },
                { "[Http]\n=x\n", "2: expected Key=value, [Section] or a comment" },
                { "[Http]\n9Ca=x\n", "2: expected Key=value, [Section] or a comment" },
                { "[Http]\nCa-File=x\n", "2: expected Key=value, [Section] or a comment" },
                { "[Http]\nCa File=x\n", "2: expected Key=value, [Section] or a comment" },
                { "[Http]\nAbcdefghijklmnopqrstuvwxyzabcdefg=x\n",
                                "2: expected Key=value, [Section] or a comment" },
                { "[Http]\nCaFile=\n", "2: CaFile= has no value" },
                { "[Http]\nCaFile= \t \n", "2: CaFile= has no value" },
                { "[Http]\nCaFile=/a\\\n", "2: CaFile= ends in a backslash: continuation lines are "
                                           "not supported" },
                { "[Http]\nCaFile=/a\n  /b\n", "3: line begins with white space: continuation lines "
                                               "are not supported" },
                { "[Http]\n # x\n", "2: line begins with white space: continuation lines are not "
                                    "supported" },
                { "[Http]\nCaFile=\"/a\"\n", "2: CaFile= is quoted: values are written without quotes" },
                { "[Http]\nCaFile='/a'\n", "2: CaFile= is quoted: values are written without quotes" },
                { "[Http]\nCaFile=/a # x\n", "2: CaFile= is followed by a comment: comments have "
                                             "lines of their own" },
                { "[Http]\nCaFile=/a ; x\n", "2: CaFile= is followed by a comment: comments have "
                                             "lines of their own" },
                { "[Http]\nCaFile=/a#x\n", NULL },
                { "[Http]\r\nCaFile=/a\r\n", "1: line ends in CR LF, expected LF alone (and so may "
                                             "others in this file)" },
                { "[Http]\nCaFile=/a\rb\n", "2: control byte" },
                { "[Http]\nCaFile=/\x1b[0m\n", "2: control byte" },
                { "[Http]\n# \x7f\n", "2: control byte" },
                { "[Http]\n# \xff\n", "2: invalid UTF-8" },
                { "[Http]\nCaFile=/\xc0\xaf\n", "2: invalid UTF-8" },
                { "\xef\xbb\xbf[Http]\n", "1: byte order mark, expected plain UTF-8" },
                { "[Http\n", "1: malformed section heading, expected [Section] or [Section name]" },
                { "[]\nCaFile=/a\n", "1: malformed section heading, expected [Section] or [Section "
                                     "name]" },
                { "[ Http]\n", "1: malformed section heading, expected [Section] or [Section name]" },
                { "[Http ]\n", "1: malformed section heading, expected [Section] or [Section name]" },
                { "[Http] x\n", "1: malformed section heading, expected [Section] or [Section name]" },
                { "[Http a b]\n", "1: malformed section heading, expected [Section] or [Section "
                                  "name]" },
                { "[Http]\n[Web]\n\n[Http]\nUnknown=1\n", "4: section appears twice, first in line 1" },
                { "[Htttp]\nX=1\n", "1: unknown section [Htttp], expected one of Platform Http Web "
                                    "Identity Vaults Limits" },
                { "[Http x]\n", "1: [Http] takes no name, expected [Http]" },
                { "[Service]\nName=x\n", "1: unknown section [Service], expected one of Platform "
                                         "Http Web Identity Vaults Limits" },
        };

        check_rows("admin/vaultd.conf", rows, ELEMENTSOF(rows));
}

static void wrong_values_are_faults(void **state) {
        static const FaultRow rows[] = {
                { "[Platform]\nUrl=https://a.test:8443/"
                  "base\nVersion=2024-01-31\nModel=claude-x\nAdoptWait=500ms\n",
                                NULL },
                { "[Platform]\nUrl=http://a.test\n",
                                "2: Url= expects an https URL without user, query or fragment" },
                { "[Platform]\nUrl=https://u:p@a.test\n",
                                "2: Url= expects an https URL without user, query or fragment" },
                { "[Platform]\nUrl=https://a.test/?q\n",
                                "2: Url= expects an https URL without user, query or fragment" },
                { "[Platform]\nVersion=2024\n", "2: Version= expects a date YYYY-MM-DD" },
                { "[Platform]\nModel=a b\n", "2: Model= expects one word of at most 256 visible "
                                             "ASCII characters" },
                { "[Platform]\nAdoptWait=10\n", "2: AdoptWait= expects a duration (ms, s, min or h) "
                                                "from 10ms to 10min" },
                { "[Platform]\nAdoptWait=0s\n", "2: AdoptWait= expects a duration (ms, s, min or h) "
                                                "from 10ms to 10min" },
                { "[Platform]\nAdoptWait=10 s\n", "2: AdoptWait= expects a duration (ms, s, min or "
                                                  "h) from 10ms to 10min" },
                { "[Platform]\nAdoptWait=-1s\n", "2: AdoptWait= expects a duration (ms, s, min or h) "
                                                 "from 10ms to 10min" },
                { "[Platform]\nAdoptWait=99999999999999999999s\n",
                                "2: AdoptWait= expects a duration (ms, s, min or h) from 10ms to "
                                "10min" },
                { "[Platform]\nAdoptWait=5124095576030431h\n",
                                "2: AdoptWait= expects a duration (ms, s, min or h) from 10ms to "
                                "10min" }, /* wraps in 64 bits */
                { "[Platform]\nServers=Notion\n",
                                "2: Servers= expects names of services, characters a-z 0-9 -" },
                { "[Platform]\nServers=notion\n",
                                "0: Servers= names 'notion', but no file in services.d defines it" },
                { "[Http]\nCaFile=ca.pem\n", "2: CaFile= expects an absolute path to a file" },
                { "[Http]\nCaFile=/a/../b\n", "2: CaFile= expects an absolute path to a file" },
                { "[Http]\nCaFile=/a/..\n", "2: CaFile= expects an absolute path to a file" },
                { "[Http]\nProxy=http://p.test:3128\n", NULL },
                { "[Http]\nProxy=http://u:secret@p.test:3128\n",
                                "2: Proxy= expects http://host:port or https://host:port, without "
                                "user or password" },
                { "[Http]\nProxy=p.test:3128\n", "2: Proxy= expects http://host:port or "
                                                 "https://host:port, without user or password" },
                { "[Http]\nAllowPrivate=a.test:443 [::1]:8443\nAllowPrivate=127.0.0.1:1\n", NULL },
                { "[Http]\nAllowPrivate=a.test\n",
                                "2: AllowPrivate= expects host:port separated by blanks (an IPv6 "
                                "address in brackets, no wildcards)" },
                /* No plain http, and no range of ports, in whatever build. */
                { "[Http]\nAllowPrivate=http://localhost:1\n",
                                "2: AllowPrivate= expects host:port separated by blanks (an IPv6 "
                                "address in brackets, no wildcards)" },
                { "[Http]\nAllowPrivate=localhost:*\n",
                                "2: AllowPrivate= expects host:port separated by blanks (an IPv6 "
                                "address in brackets, no wildcards)" },
                { "[Http]\nAllowPrivate=*:443\n",
                                "2: AllowPrivate= expects host:port separated by blanks (an IPv6 "
                                "address in brackets, no wildcards)" },
                { "[Web]\nExternalUrl=https://a.test/vault\n",
                                "2: ExternalUrl= expects an https origin: https://host or "
                                "https://host:port" },
                { "[Web]\nExternalUrl=http://a.test\n", "2: ExternalUrl= expects an https origin: "
                                                        "https://host or https://host:port" },
                { "[Web]\nLoopbackPort=0\n", "2: LoopbackPort= expects a number from 1 to 65535" },
                { "[Web]\nLoopbackPort=65536\n", "2: LoopbackPort= expects a number from 1 to 65535" },
                { "[Web]\nLoopbackPort=0x50\n", "2: LoopbackPort= expects a number from 1 to 65535" },
                { "[Identity]\nElevated=yes\n", "2: Elevated= expects auto, refuse, record or allow" },
                { "[Identity]\nContainers=record\n", "2: Containers= expects allow or refuse" },
                { "[Vaults]\nUidMin=0\n", "2: UidMin= expects a number from 1 to 4294967294" },
                { "[Vaults]\nUidMin=2000\nUidMax=1999\n", "0: UidMin=2000 is above UidMax=1999" },
                { "[Vaults]\nMapSize=64X\n",
                                "2: MapSize= expects a size (bytes, K, M, G or T) from 1M to 16T" },
                { "[Vaults]\nMapSize=1048577\n", "0: MapSize= is no multiple of 4096 bytes" },
                { "[Limits]\nBytes=1K\n", "2: Bytes= expects a size (bytes, K, M, G or T) from 64K to 4G" },
                { "[Limits]\nCalls=many\n", "2: Calls= expects a number from 1 to 65536" },
                { "[Limits]\nFlowLifetime=61min\n", "2: FlowLifetime= expects a duration (ms, s, min "
                                                    "or h) from 1s to 1h" },
        };

        check_rows("admin/vaultd.conf", rows, ELEMENTSOF(rows));
}

#define HEAD "[Service]\nName=x\nUrl=https://x.test/mcp\n"

static void faulty_services_are_faults(void **state) {
        static const FaultRow rows[] = {
                { HEAD, NULL },
                { "[Service]\nUrl=https://x.test/\n", "1: [Service] lacks Name=" },
                { "\n[Service]\nName=x\n", "2: [Service] lacks Url=" },
                { "[Service]\nName=X\nUrl=https://x.test/\n",
                                "2: Name= expects a name of at most 32 characters a-z 0-9 -" },
                { "[Service]\nName=-x\nUrl=https://x.test/\n",
                                "2: Name= expects a name of at most 32 characters a-z 0-9 -" },
                { "[Service]\nName=abcdefghijklmnopqrstuvwxyz0123456\nUrl=https://x.test/\n",
                                "2: Name= expects a name of at most 32 characters a-z 0-9 -" },
                { "[Service]\nName=x\nUrl=http://x.test/\n",
                                "3: Url= expects an https URL without user, query or fragment" },
                { HEAD "Urll=x\n", "4: unknown key 'Urll' in [Service], did you mean 'Url'?" },
                { HEAD "title=x\n", "4: unknown key 'title' in [Service], did you mean 'Title'?" },
                { HEAD "Custodian=host\n",
                                "4: unknown key 'Custodian' in [Service], did you mean 'Custody'?" },
                { HEAD "Elevated=refuse\n",
                                "4: unknown key 'Elevated' in [Service], vaultd.conf(5) has them all" },
                { HEAD "Name=y\n", "4: Name= appears twice, first in line 2" },
                { HEAD "Title=a\nTitle=a\n", "5: Title= appears twice, first in line 4" },
                { HEAD "Title=\xe2\x80\xaetxt\n", "4: Title= expects at most 64 bytes of printable text" },
                { HEAD "Custody=cloud\n", "4: Custody= expects auto, host, platform or mirror" },
                { HEAD "PasteBack=maybe\n", "4: PasteBack= expects yes, match or no" },
                { HEAD "Device=on\n", "4: Device= expects yes or no" },
                { HEAD "Device=yes\n",
                                "1: Device=yes needs AccountMatch=: a device code has no page of this host, "
                                "so nothing else says whose consent it was" },
                { HEAD "Device=yes\nAccountMatch=/etc/x\nAuth=bearer\n",
                                "1: Device= goes with Auth=oauth or Auth=both only" },
                { HEAD "Device=yes\nAccountMatch=/etc/x\nDeviceEndpoint=http://x.test/d\n",
                                "6: DeviceEndpoint= expects an https URL without user, query or fragment" },
                { HEAD "DeviceEndpoint=https://x.test/d\n", "1: DeviceEndpoint= needs Device=yes" },
                { HEAD "AccountMatch=accounts\n",
                                "4: AccountMatch= expects mail, or an absolute path to a file" },
                { HEAD "AccountMatch=mail\n",
                                "1: AccountMatch=mail needs AccountMatchBy=: id or name, whichever is the "
                                "account's verified mail address at this service" },
                { HEAD "AccountMatch=mail\nAccountMatchBy=email\n",
                                "5: AccountMatchBy= expects id or name" },
                { HEAD "AccountMatchBy=id\n", "1: AccountMatchBy= needs AccountMatch=" },
                { HEAD "AccountMatch=mail\nAccountMatchBy=id\nDevice=yes\n", NULL },
                { HEAD "AccountMatch=/etc/vaultd/accounts\n", NULL },
                { HEAD "RedirectHost=0.0.0.0\n", "4: RedirectHost= expects 127.0.0.1 or localhost" },
                { HEAD "Scopes=read \"write\n", "4: Scopes= expects OAuth scopes separated by blanks" },
                { HEAD "AccountTool=get*\n", "4: AccountTool= expects the name of a tool, characters "
                                             "A-Z a-z 0-9 _ - . /" },
                { HEAD "ClientSecretFile=secret\nClientId=x\n",
                                "4: ClientSecretFile= expects an absolute path to a file" },
                { HEAD "ClientSecretFile=/etc/vaultd/x.secret\n",
                                "1: [Service] has ClientSecretFile= but no ClientId=" },
                { HEAD "[Server x]\nTools=a\n", "4: unknown section [Server], expected one of Service" },
        };

        check_rows("vendor/services.d/x.conf", rows, ELEMENTSOF(rows));
}

#define CLIENT    "ClientId=c\nClientSecretFile=/etc/x\n"
#define ENDPOINTS HEAD "AuthorizationEndpoint=https://a.test/authorize\nTokenEndpoint=https://a.test/token\n"
#define METADATA_URL                                                                                        \
        "ClientMetadataUrl= is for authorization servers that are discovered, and has no use beside "       \
        "ClientId="
#define NOBODY                                                                                              \
        "Account=none says that nobody knows the account: AccountTool=, AccountUrl=, AccountMatch= and "    \
        "PasteBack=match need one"
#define TOGETHER    "AuthorizationEndpoint= and TokenEndpoint= go together"
#define FIELDS      "at most four names of fields, characters A-Z a-z 0-9 _ - and . between two"
#define PARAMETERS  "name=value separated by blanks, none of the parameters that vaultd sets itself"
#define PHRASE      "the service's words with one * in the place of what is wanted, not at the beginning"
#define REVOCATIONS "an https URL without query, with {client_id} at most once and in its path"

/* What a profile says of its authorization server. */
static void faulty_grants_are_faults(void **state) {
        static const FaultRow rows[] = {
                { ENDPOINTS, NULL },
                { ENDPOINTS "Issuer=https://a.test/\nResource=https://r.test/\nScopeParameter=user_scope\n"
                            "ScopeSeparator=comma\nClientAuth=post\nTokenRequest=json\nTokenMember=authed_"
                            "user\n"
                            "TokenType=user\nTokenLife=8h\nGrantErrors=a "
                            "b\nGrantErrors=c\nRevocation=bearer\n"
                            "RevocationEndpoint=https://a.test/revoke\nRevokedAnswers=404 token_revoked\n"
                            "AuthorizationParameters=prompt=consent access_type=offline\n" CLIENT,
                                NULL },
                { HEAD "AuthorizationEndpoint=https://a.test/authorize\n", "1: " TOGETHER },
                { HEAD "TokenEndpoint=https://a.test/token\n", "1: " TOGETHER },
                { ENDPOINTS "Auth=bearer\n",
                                "1: AuthorizationEndpoint=, TokenEndpoint= and RevocationEndpoint= go "
                                "with Auth=oauth or Auth=both only" },
                { HEAD "Auth=bearer\nRevocationEndpoint=https://a.test/revoke\n",
                                "1: AuthorizationEndpoint=, TokenEndpoint= and RevocationEndpoint= go with "
                                "Auth=oauth or Auth=both only" },
                { HEAD "Issuer=https://a.test\n", NULL },
                { HEAD "ClientMetadataUrl=https://a.test/vaultd.json\n", NULL },
                { HEAD "ClientMetadataUrl=https://a.test\n",
                                "4: ClientMetadataUrl= expects an https URL with a path" },
                { HEAD "ClientMetadataUrl=https://a.test/\n",
                                "4: ClientMetadataUrl= expects an https URL with a path" },
                { HEAD "ClientMetadataUrl=http://a.test/vaultd.json\n",
                                "4: ClientMetadataUrl= expects an https URL with a path" },
                { HEAD "ClientMetadataUrl=https://a.test/vaultd.json\nClientId=x\n", "1: " METADATA_URL },
                { HEAD "ClientMetadataUrl=https://a.test/vaultd.json\nAuth=bearer\n", "1: " METADATA_URL },
                { ENDPOINTS "ClientMetadataUrl=https://a.test/vaultd.json\n", "1: " METADATA_URL },
                { ENDPOINTS "Issuer=a.test\n", "6: Issuer= expects an https URL without query" },
                { ENDPOINTS "Resource=http://r.test/\n", "6: Resource= expects an https URL, or none" },
                { ENDPOINTS "Resource=none\n", NULL },
                { ENDPOINTS "ScopeParameter=user scope\n", "6: ScopeParameter= expects a parameter's name, "
                                                           "characters A-Z a-z 0-9 _ . -" },
                { ENDPOINTS "ScopeSeparator=,\n", "6: ScopeSeparator= expects space or comma" },
                { ENDPOINTS "ClientAuth=jwt\n", "6: ClientAuth= expects auto, none, basic or post" },
                { ENDPOINTS "ClientAuth=none\n" CLIENT,
                                "1: ClientAuth=none has no use for ClientSecretFile=" },
                { ENDPOINTS "ClientAuth=post\nClientId=c\n",
                                "1: ClientAuth=basic and ClientAuth=post need ClientSecretFile=" },
                { ENDPOINTS "ClientAuth=post\n", NULL },
                { ENDPOINTS "TokenRequest=xml\n", "6: TokenRequest= expects form or json" },
                { ENDPOINTS "TokenLife=1s\n",
                                "6: TokenLife= expects a duration (ms, s, min or h) from 1min to "
                                "8760h" },
                { ENDPOINTS "GrantErrors=a,b\n", "6: GrantErrors= expects HTTP status numbers or error "
                                                 "codes, separated by blanks" },
                { ENDPOINTS "AuthorizationParameters=prompt\n",
                                "6: AuthorizationParameters= expects " PARAMETERS },
                { ENDPOINTS "AuthorizationParameters=prompt=\n",
                                "6: AuthorizationParameters= expects " PARAMETERS },
                { ENDPOINTS "AuthorizationParameters=state=x\n",
                                "6: AuthorizationParameters= expects " PARAMETERS },
                { ENDPOINTS "AuthorizationParameters=redirect_uri=https://evil.test/\n",
                                "6: AuthorizationParameters= expects " PARAMETERS },
                { ENDPOINTS "AuthorizationParameters=code_challenge_method=plain\n",
                                "6: AuthorizationParameters= expects " PARAMETERS },
                { ENDPOINTS "AuthorizationParameters=a&b=c\n",
                                "6: AuthorizationParameters= expects " PARAMETERS },
                { ENDPOINTS "AuthorizationParameters=a=1 a=2\n",
                                "1: AuthorizationParameters= has a parameter twice" },
                { HEAD "Revocation=revoke\n", "4: Revocation= expects rfc7009, delete, bearer or none" },
                { HEAD "Revocation=bearer\n",
                                "1: Revocation=delete and Revocation=bearer need RevocationEndpoint=" },
                { HEAD "Revocation=none\nRevocationEndpoint=https://a.test/\n",
                                "1: Revocation=none has no use for RevocationEndpoint=" },
                { HEAD "Revocation=delete\nRevocationEndpoint=https://a.test/x/{client_id}/"
                       "grant\nClientId=c\n",
                                "1: Revocation=delete needs ClientSecretFile=" },
                { HEAD "Revocation=delete\nRevocationEndpoint=https://a.test/x/{client_id}/grant\n" CLIENT,
                                NULL },
                { HEAD "RevocationEndpoint=https://{client_id}/grant\n",
                                "4: RevocationEndpoint= expects " REVOCATIONS },
                { HEAD "RevocationEndpoint=https://a.test{client_id}/grant\n",
                                "4: RevocationEndpoint= expects " REVOCATIONS },
                { HEAD "RevocationEndpoint=https://a.test:4{client_id}/grant\n",
                                "4: RevocationEndpoint= expects " REVOCATIONS },
                { HEAD "RevocationEndpoint=https://a.test/{client_id}/{client_id}\n",
                                "4: RevocationEndpoint= expects " REVOCATIONS },
                { HEAD "RevocationEndpoint=https://a.test/{client_id}?x\n",
                                "4: RevocationEndpoint= expects " REVOCATIONS },
                { HEAD "RevocationEndpoint=http://a.test/\n",
                                "4: RevocationEndpoint= expects " REVOCATIONS },
        };

        check_rows("admin/services.d/x.conf", rows, ELEMENTSOF(rows));
}

/* What it says of whose account a token is. */
static void faulty_accounts_are_faults(void **state) {
        static const FaultRow rows[] = {
                { HEAD "AccountTool=who\nAccountArguments={\"query\":\"me\"}\n", NULL },
                { HEAD "AccountUrl=https://x.test/me\nAccountBody={\"query\":\"{viewer{id name}}\"}\n"
                       "AccountIdField=data.viewer.id\nAccountNameField=data.viewer.name team.name\n",
                                NULL },
                { HEAD "AccountTool=who\nAccountIdText=User ID is *.\nAccountNameText=you are *.\n", NULL },
                { HEAD "Account=token\nAccountIdField=data.gid\n", NULL },
                { HEAD "Account=me\n", "4: Account= expects auto, token or none" },
                { HEAD "Account=token\nAccountTool=who\n", "1: Account=token asks nobody else: AccountTool= "
                                                           "and AccountUrl= are of no use" },
                { HEAD "Account=token\nAuth=bearer\n",
                                "1: Account=token and Account=none go with Auth=oauth or Auth=both only" },
                { HEAD "Account=none\n", NULL },
                { HEAD "Account=none\nAuth=bearer\n",
                                "1: Account=token and Account=none go with Auth=oauth or Auth=both only" },
                { HEAD "Account=none\nAccountTool=who\n", "1: " NOBODY },
                { HEAD "Account=none\nAccountUrl=https://x.test/me\n", "1: " NOBODY },
                { HEAD "Account=none\nAccountMatch=mail\nAccountMatchBy=id\n", "1: " NOBODY },
                { HEAD "Account=none\nPasteBack=match\n", "1: " NOBODY },
                { HEAD "AccountTool=who\nAccountUrl=https://x.test/me\n",
                                "1: AccountTool= and AccountUrl= exclude each other" },
                { HEAD "AccountArguments={}\n", "1: AccountArguments= needs AccountTool=" },
                { HEAD "AccountBody={}\n", "1: AccountBody= needs AccountUrl=" },
                { HEAD "AccountTool=who\nAccountArguments=[]\n",
                                "5: AccountArguments= expects a JSON object on one line of at most 2048 "
                                "bytes" },
                { HEAD "AccountTool=who\nAccountArguments={\"a\":1,\"a\":2}\n",
                                "5: AccountArguments= expects a JSON object on one line of at most 2048 "
                                "bytes" },
                { HEAD "AccountIdText=ID *\n",
                                "1: AccountIdText= needs AccountTool=, and no AccountIdField= beside it" },
                { HEAD "AccountTool=who\nAccountNameText=ID *\n",
                                "1: AccountNameText= needs AccountIdText=" },
                { HEAD "AccountIdText=ID\n", "4: AccountIdText= expects " PHRASE },
                { HEAD "AccountIdText=* is you\n", "4: AccountIdText= expects " PHRASE },
                { HEAD "AccountIdText=ID * or *\n", "4: AccountIdText= expects " PHRASE },
                { HEAD "AccountIdField=a b c d\n", NULL },
                { HEAD "AccountIdField=a b c d e\n", "4: AccountIdField= expects " FIELDS },
                { HEAD "AccountIdField=a/b\n", "4: AccountIdField= expects " FIELDS },
        };

        check_rows("admin/services.d/x.conf", rows, ELEMENTSOF(rows));
}

/* A drop-in says only what is to be different. */
static void drop_in_takes_the_place_of_single_keys(void **state) {
        Tree t;

        tree_open(&t);
        tree_write(&t, "vendor/services.d/x.conf",
                        HEAD "Title=X\nScopes=a b\nAuthorizationEndpoint=https://a.test/authorize\n"
                             "TokenEndpoint=https://a.test/token\n");
        assert_int_equal(tree_load(&t), 0);
        assert_string_equal(service_lacks(config_find_service(t.config, "x")), "ClientId=");

        tree_write(&t, "vendor/services.d/x.conf.d/10-a.conf", "[Service]\nTitle=Other\nClientId=vendor\n");
        tree_write(&t, "admin/services.d/x.conf.d/20-b.conf",
                        "[Service]\nScopes=c\nScopes=d\nClientId=mine\n");
        tree_write(&t, "admin/services.d/x.conf.d/30-c.conf", "[Service]\nTokenLife=2h\n");
        tree_write(&t, "admin/services.d/x.conf.d/readme", "nothing\n");
        assert_int_equal(tree_load(&t), 0);
        const ServiceProfile *p = config_find_service(t.config, "x");
        assert_string_equal(p->title, "Other");
        assert_string_equal(p->client_id, "mine");
        assert_string_equal(p->token_endpoint, "https://a.test/token");
        assert_true(p->token_life_usec == UINT64_C(7200) * USEC_PER_SEC);
        assert_string_equal(p->scopes[0], "c");
        assert_string_equal(p->scopes[1], "d");
        assert_null(p->scopes[2]);
        assert_null(service_lacks(p));
        assert_true(service_lacks_account(p));
        tree_write(&t, "admin/services.d/x.conf.d/40-d.conf", "[Service]\nAccount=token\n");
        assert_int_equal(tree_load(&t), 0);
        assert_false(service_lacks_account(config_find_service(t.config, "x")));
        tree_close(&t);
}

static void faulty_drop_ins_are_faults(void **state) {
        static const FaultRow rows[] = {
                { "[Service]\nTitle=Y\n", NULL },
                { "[Service]\nName=x\n", NULL },
                { "[Service]\nName=y\n", "1: Name= cannot be changed by a drop-in" },
                { "[Service]\nTitlee=Y\n", "2: unknown key 'Titlee' in [Service], did you mean 'Title'?" },
                { "[Service]\nTitle=Y\nTitle=Z\n", "3: Title= appears twice, first in line 2" },
                { "[Services]\n", "1: unknown section [Services], expected one of Service" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(freep) char *expected = NULL;
                Tree t;

                tree_open(&t);
                tree_write(&t, "vendor/services.d/x.conf", HEAD);
                tree_write(&t, "admin/services.d/x.conf.d/a.conf", rows[i].text);
                assert_int_equal(tree_load(&t), rows[i].expected ? -EINVAL : 0);
                if (rows[i].expected) {
                        assert_true(asprintf(&expected, "admin/services.d/x.conf.d/a.conf:%s",
                                                    rows[i].expected) > 0);
                        assert_single_fault(&t, expected);
                }
                tree_close(&t);
        }
        /* A folder that was mistyped would be without effect. One of a file that is masked is. */
        Tree orphan;
        tree_open(&orphan);
        tree_write(&orphan, "vendor/services.d/x.conf", HEAD);
        tree_write(&orphan, "admin/services.d/xx.conf.d/a.conf", "[Service]\nTitle=Y\n");
        assert_int_equal(tree_load(&orphan), -EINVAL);
        assert_single_fault(
                        &orphan, "admin/services.d:0: xx.conf.d belongs to no file: there is no xx.conf");
        tree_write(&orphan, "vendor/services.d/xx.conf", "[Service]\nName=y\nUrl=https://y.test/mcp\n");
        assert_int_equal(tree_load(&orphan), 0);
        tree_write(&orphan, "admin/services.d/xx.conf", "");
        assert_int_equal(tree_load(&orphan), 0);
        tree_close(&orphan);

        /* Two sound halves that do not go together are named at the file that they belong to. */
        Tree t;
        tree_open(&t);
        tree_write(&t, "vendor/services.d/x.conf", HEAD "ClientAuth=none\n");
        tree_write(&t, "admin/services.d/x.conf.d/a.conf", "[Service]\n" CLIENT);
        assert_int_equal(tree_load(&t), -EINVAL);
        assert_single_fault(
                        &t, "vendor/services.d/x.conf:1: ClientAuth=none has no use for ClientSecretFile=");
        tree_close(&t);
}

#define SUBJECTS "user:NAME separated by blanks (no groups and no wildcards in this version)"
#define HOSTS    "host names in lower case or *.domain, without scheme or port, separated by blanks"
#define VARIABLE "the name of an environment variable, characters A-Z 0-9 _, not beginning with a digit"
#define VALUE    "[Service]\nName=x\nAuth=environment\n"

static void faulty_kinds_of_credentials_are_faults(void **state) {
        static const FaultRow rows[] = {
                { HEAD "Auth=oauth\n", NULL },
                { HEAD "Auth=bearer\nAccountUrl=https://x.test/me\n", NULL },
                { HEAD "Auth=both\n", NULL },
                { HEAD "Auth=token\n", "4: Auth= expects oauth, bearer, both or environment" },
                { "[Service]\nName=x\nAuth=bearer\n", "1: [Service] lacks Url=" },
                { HEAD "Variable=A\n", "1: Variable= and AllowedHosts= go with Auth=environment only" },
                { HEAD "Auth=bearer\nAllowedHosts=x.test\n",
                                "1: Variable= and AllowedHosts= go with Auth=environment only" },
                { VALUE "Variable=GH_TOKEN\nAllowedHosts=x.test "
                        "*.x.test\nAccountUrl=https://api.x.test/me\n",
                                NULL },
                { VALUE "Variable=GH_TOKEN\n", "1: Auth=environment needs Variable= and AllowedHosts=" },
                { VALUE "AllowedHosts=x.test\n", "1: Auth=environment needs Variable= and AllowedHosts=" },
                { VALUE "Variable=A\nAllowedHosts=*.x.test\n",
                                "1: Auth=environment needs Url= or a host without '*' in AllowedHosts=" },
                { VALUE "Variable=A\nAllowedHosts=*.x.test\nUrl=https://api.x.test/v1\n", NULL },
                { VALUE "Variable=A\nAllowedHosts=x.test\nUrl=https://evil.test/\n",
                                "1: Url= is at none of AllowedHosts=" },
                { VALUE "Variable=A\nAllowedHosts=x.test\nAccountUrl=https://evil.test/me\n",
                                "1: AccountUrl= is at none of AllowedHosts=, so the value may not be sent "
                                "there" },
                { VALUE "Variable=A\nAllowedHosts=x.test\nAccountTool=who\n",
                                "1: Auth=environment has no MCP server, so AccountTool= cannot be asked; "
                                "use AccountUrl=" },
                { VALUE "Variable=A\nAllowedHosts=a.x b.x c.x d.x e.x f.x g.x h.x i.x j.x k.x l.x m.x n.x "
                        "o.x p.x q.x\n",
                                "1: AllowedHosts= takes at most 16 hosts" },
                { VALUE "Variable=A\nAllowedHosts=https://x.test\n", "5: AllowedHosts= expects " HOSTS },
                { VALUE "Variable=A\nAllowedHosts=x.test:443\n", "5: AllowedHosts= expects " HOSTS },
                { VALUE "Variable=A\nAllowedHosts=X.test\n", "5: AllowedHosts= expects " HOSTS },
                { VALUE "Variable=A\nAllowedHosts=*\n", "5: AllowedHosts= expects " HOSTS },
                { VALUE "Variable=A\nAllowedHosts=*.test\n", "5: AllowedHosts= expects " HOSTS },
                { VALUE "Variable=gh\n", "4: Variable= expects " VARIABLE },
                { VALUE "Variable=1A\n", "4: Variable= expects " VARIABLE },
                { VALUE "Variable=A-B\n", "4: Variable= expects " VARIABLE },
        };

        check_rows("admin/services.d/x.conf", rows, ELEMENTSOF(rows));
}

static void faulty_server_policies_are_faults(void **state) {
        static const FaultRow rows[] = {
                { "[Server x]\nTools=a b\nTools=c\nAsk=d\nDeny=e\n", NULL },
                { "[Server]\nTools=a\n", "1: [Server] needs a name: [Server name]" },
                { "[Server X]\nTools=a\n",
                                "1: [Server] expects the name of a service, characters a-z 0-9 -" },
                { "[Server x]\nTools=get-*\n", "2: Tools= expects exact names of tools (no wildcards "
                                               "in this version), characters A-Z a-z 0-9 _ - . /" },
                { "[Server x]\nDeny=a b?\n", "2: Deny= expects exact names of tools (no wildcards in "
                                             "this version), characters A-Z a-z 0-9 _ - . /" },
                { "[Server x]\nDenny=a\n", "2: unknown key 'Denny' in [Server], did you mean 'Deny'?" },
                { "[Server x]\nAllow=user:alice\n", "2: unknown key 'Allow' in [Server], expected "
                                                    "one of Tools Ask Deny TokenReaders" },
                { "[Server x]\nTokenReaders=user:alice user:EX\\bob\nTokenReaders=user:carol@ex.test\n",
                                NULL },
                { "[Server x]\nTokenReaders=alice\n", "2: TokenReaders= expects " SUBJECTS },
                { "[Server x]\nTokenReaders=*\n", "2: TokenReaders= expects " SUBJECTS },
                { "[Server x]\nTokenReaders=user:*\n", "2: TokenReaders= expects " SUBJECTS },
                { "[Server x]\nTokenReaders=user:\n", "2: TokenReaders= expects " SUBJECTS },
                { "[Server x]\nTokenReaders=group:staff\n", "2: TokenReaders= expects " SUBJECTS },
                { "[Server x]\nTokenReaders=user:alice,user:bob\n", "2: TokenReaders= expects " SUBJECTS },
                { "[Server x]\nTools=a\n[Server y]\n[Server x]\nDeny=a\n",
                                "4: section appears twice, first in line 1" },
        };

        check_rows("admin/policy.d/x.conf", rows, ELEMENTSOF(rows));
}

static void nul_byte_is_a_fault(void **state) {
        static const char text[] = "[Http]\nCaFile=/a\0b\n";
        Tree t;

        tree_open(&t);
        tree_write_bytes(&t, "admin/vaultd.conf", text, sizeof(text) - 1);
        assert_int_equal(tree_load(&t), -EINVAL);
        assert_single_fault(&t, "admin/vaultd.conf:2: NUL byte");
        tree_close(&t);
}

static void overlong_line_is_a_fault(void **state) {
        char text[5000] = "[Http]\n#";
        Tree t;

        tree_open(&t);
        size_t n = strlen(text);
        memset(text + n, 'x', 4095);
        text[n + 4095] = 0; /* 4096 with the '#' */
        tree_write(&t, "admin/vaultd.conf", text);
        assert_int_equal(tree_load(&t), 0);
        text[n + 4095] = 'x';
        text[n + 4096] = 0;
        tree_write(&t, "admin/vaultd.conf", text);
        assert_int_equal(tree_load(&t), -EINVAL);
        assert_single_fault(&t, "admin/vaultd.conf:2: line is longer than 4096 bytes");
        tree_close(&t);
}

static void all_faults_of_all_files_are_reported(void **state) {
        Tree t;

        tree_open(&t);
        tree_write(&t, "admin/vaultd.conf", "[Http]\nCaFile=x\nFoo=1\n[Web]\nLoopbackPort=x\n");
        tree_write(&t, "admin/services.d/b.conf", "[Service]\nName=b\n");
        tree_write(&t, "vendor/services.d/a.conf", "[Service]\nName=A\nUrl=https://a.test\n");
        tree_write(&t, "admin/policy.d/c.conf", "nonsense\n[Server x]\nTools=*\n");
        assert_int_equal(tree_load(&t), -EINVAL);
        assert_int_equal(t.faults.n_faults, 7);
        assert_fault(&t, 0, "admin/vaultd.conf:2: CaFile= expects an absolute path to a file");
        assert_fault(&t, 1,
                        "admin/vaultd.conf:3: unknown key 'Foo' in [Http], expected one of CaFile Proxy "
                        "AllowPrivate");
        assert_fault(&t, 2, "admin/vaultd.conf:5: LoopbackPort= expects a number from 1 to 65535");
        assert_fault(&t, 3,
                        "vendor/services.d/a.conf:2: Name= expects a name of at most 32 characters a-z 0-9 "
                        "-");
        assert_fault(&t, 4, "admin/services.d/b.conf:1: [Service] lacks Url=");
        assert_fault(&t, 5, "admin/policy.d/c.conf:1: expected Key=value, [Section] or a comment");
        assert_fault(&t, 6,
                        "admin/policy.d/c.conf:3: Tools= expects exact names of tools (no wildcards in this "
                        "version), characters A-Z a-z 0-9 _ - . /");
        tree_close(&t);
}

static void faults_are_bounded(void **state) {
        char text[300 * 2 + 1] = "";
        Tree t;

        tree_open(&t);
        for (size_t i = 0; i < 300; i++)
                memcpy(text + 2 * i, "x\n", 2);
        tree_write(&t, "admin/vaultd.conf", text);
        assert_int_equal(tree_load(&t), -EINVAL);
        assert_int_equal(t.faults.n_faults, 101);
        assert_fault(&t, 99, "admin/vaultd.conf:100: expected Key=value, [Section] or a comment");
        assert_fault(&t, 100, "admin/vaultd.conf:0: more faults than these 100");
        tree_close(&t);
}

/* A secret in the wrong place is not repeated into a log. */
static void faults_never_show_values(void **state) {
        static const char *const keys[] = {
                "Name",
                "Title",
                "Url",
                "Custody",
                "PasteBack",
                "Device",
                "DeviceEndpoint",
                "AccountMatch",
                "AccountMatchBy",
                "Scopes",
                "ClientId",
                "ClientSecretFile",
                "RedirectHost",
                "AccountTool",
                "AccountUrl",
                "Auth",
                "Variable",
                "AllowedHosts",
                "AccountIdField",
                "ClientSecret",
                "Bad-Key",
        };

        for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
                char text[128];
                Tree t;

                tree_open(&t);
                (void)snprintf(text, sizeof(text), "[Service]\n%s=canary\"*\xc2\x85 canary\n", keys[i]);
                tree_write(&t, "admin/services.d/x.conf", text);
                assert_int_equal(tree_load(&t), -EINVAL);
                for (size_t k = 0; k < t.faults.n_faults; k++)
                        assert_null(strstr(t.faults.faults[k].text, "canary"));
                tree_close(&t);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                { "malformed-lines-are-faults", malformed_lines_are_faults },
                { "wrong-values-are-faults", wrong_values_are_faults },
                { "faulty-services-are-faults", faulty_services_are_faults },
                { "faulty-grants-are-faults", faulty_grants_are_faults },
                { "faulty-accounts-are-faults", faulty_accounts_are_faults },
                { "drop-in-takes-the-place-of-single-keys", drop_in_takes_the_place_of_single_keys },
                { "faulty-drop-ins-are-faults", faulty_drop_ins_are_faults },
                { "faulty-kinds-of-credentials-are-faults", faulty_kinds_of_credentials_are_faults },
                { "faulty-server-policies-are-faults", faulty_server_policies_are_faults },
                { "nul-byte-is-a-fault", nul_byte_is_a_fault },
                { "overlong-line-is-a-fault", overlong_line_is_a_fault },
                { "all-faults-of-all-files-are-reported", all_faults_of_all_files_are_reported },
                { "faults-are-bounded", faults_are_bounded },
                { "faults-never-show-values", faults_never_show_values },
        };

        return cmocka_run_group_tests_name("policy-faults", tests, NULL, NULL);
}
