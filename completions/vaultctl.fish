# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Completion of vaultctl for fish.
#
# Names come from vaultd by calls that it answers by itself: services, status, session list. What would make it ask a service
# or the Claude Platform is never called, a vaultd that does not run is not started by a Tab, and one that does not answer is
# given up after a second. Names are taken only if they are made of letters, digits and ._- so that nothing that a service
# chose gets into a command line.

# The words before the cursor that are neither options nor their values; with --socket the value of that option instead.
function __vaultctl_words
        set -l tokens (commandline -opc)
        set -l found
        set -l socket
        set -l takes_value
        set -l is_past_options
        for token in $tokens[2..-1]
                if test -n "$takes_value"
                        test "$takes_value" = --socket; and set socket $token
                        set takes_value
                        continue
                end
                if test -n "$is_past_options"
                        set -a found $token
                        continue
                end
                switch $token
                        case --
                                set is_past_options yes
                        case '--socket=*'
                                set socket (string replace -- --socket= '' $token)
                        case --socket --server --as --account --title --message --user --uid --reason --kek-file --state-dir
                                set takes_value $token
                        case '-?*'
                        case '*'
                                set -a found $token
                end
        end
        if test "$argv[1]" = --socket
                string match -q -- '~/*' $socket; and set socket $HOME(string sub -s 2 -- $socket)
                test -n "$socket"; and echo $socket
        else
                string join -- \n $found
        end
        true
end

# Whether the words so far are exactly these, or with --then begin with them.
function __vaultctl_is
        set -l found (__vaultctl_words)
        if test "$argv[1]" = --then
                set -e argv[1]
                test (count $found) -ge (count $argv); or return 1
                test (count $argv) -gt 0; and set found $found[1..(count $argv)]
        end
        test "$found" = "$argv"
end

# __vaultctl_names COMMAND ARRAY MEMBER [SERVICE]: the member of each object of the array in the command's answer, with
# SERVICE of those objects alone that are of this service.
function __vaultctl_names
        set -l text '"([^"\\\\]|\\\\.)*"'
        set -l socket (__vaultctl_words --socket)
        set -l arguments
        set -l objects '^'

        if set -q argv[4]
                string match -qr '^[a-z0-9-]+$' -- $argv[4]; or return 0
                set objects "\"service\": *\"$argv[4]\""
        end
        if test -n "$socket"
                set arguments --socket $socket
        else if test -d /run/systemd/system; and begin
                        test -z "$VAULTD_SOCKET"; or string match -q -- 'admin*' $argv[1]
                end
                timeout 1 systemctl --quiet is-active vaultd.service </dev/null &>/dev/null; or return 0
        end
        # Objects and lists inside of the objects go first; strings are read as such, so that what stands in one is no syntax.
        timeout 1 vaultctl $arguments --json (string split ' ' -- $argv[1]) </dev/null 2>/dev/null | head -c 65536 |
                sed -nE "s/\"account\": *\\{($text|[^\"}])*\\}//g; s/\\[($text""[, ]*)*\\]//g
                         s/.*\"$argv[2]\": *\\[(($text|[^]\"])*)\\].*/\\1/p" |
                grep -oE "\\{($text|[^\"}])*\\}" | grep -E $objects |
                sed -nE "s/.*[{,] *\"$argv[3]\": *\"([A-Za-z0-9_][A-Za-z0-9._-]*)\".*/\\1/p" | sort -u
end

# The labels of the service that stands in the command line.
function __vaultctl_labels
        set -l found (__vaultctl_words)
        set -q found[2]; and __vaultctl_names status connections label $found[2]
end

complete -c vaultctl -f
complete -c vaultctl -l json -d 'Answer with JSON'
complete -c vaultctl -l socket -r -F -d 'Where vaultd listens'
complete -c vaultctl -l help -d 'Explain the command'
complete -c vaultctl -l version -d 'Print the version'

complete -c vaultctl -n __vaultctl_is -a status -d 'Show your vault, connections and logins'
complete -c vaultctl -n __vaultctl_is -a whoami -d 'Show who vaultd says you are'
complete -c vaultctl -n __vaultctl_is -a services -d 'List the services of this host'
complete -c vaultctl -n __vaultctl_is -a connect -d 'Connect a service to your vault'
complete -c vaultctl -n __vaultctl_is -a claim -d 'Finish a connection with the code from the page'
complete -c vaultctl -n __vaultctl_is -a check -d 'Ask the services whether your connections work'
complete -c vaultctl -n __vaultctl_is -a disconnect -d 'Revoke and erase a connection'
complete -c vaultctl -n __vaultctl_is -a token -d 'Print the token of a connection'
complete -c vaultctl -n __vaultctl_is -a web -d 'Show your services on a page in the browser'
complete -c vaultctl -n __vaultctl_is -a session -d 'Agent sessions'
complete -c vaultctl -n __vaultctl_is -a doctor -d 'Find what is wrong with this installation'
complete -c vaultctl -n __vaultctl_is -a admin -d 'Decide about vaults (root)'
complete -c vaultctl -n '__vaultctl_is session' -a start -d 'Start an agent session with your vault'
complete -c vaultctl -n '__vaultctl_is session' -a list -d 'List your agent sessions'
complete -c vaultctl -n '__vaultctl_is session' -a show -d 'Show one session and its present status'
complete -c vaultctl -n '__vaultctl_is admin' -a users -d 'List all vaults (root)'
complete -c vaultctl -n '__vaultctl_is admin' -a lock -d 'Close a user\'s vault (root)'
complete -c vaultctl -n '__vaultctl_is admin' -a unlock -d 'Open a locked vault again (root)'
complete -c vaultctl -n '__vaultctl_is admin' -a unseal -d 'Decide about a sealed vault (root)'
complete -c vaultctl -n '__vaultctl_is admin' -a revoke -d 'Revoke what a user has connected (root)'
complete -c vaultctl -n '__vaultctl_is admin' -a init -d 'Make the keys of an installation, each once (root)'
complete -c vaultctl -n '__vaultctl_is admin' -a vault -d 'Look at one vault, or erase it for good (root)'
complete -c vaultctl -n '__vaultctl_is admin' -a rekey -d 'Change all keys while vaultd serves (root)'
complete -c vaultctl -n '__vaultctl_is admin' -a backup -d 'Write a backup of the store, sealed to the recovery key (root)'
complete -c vaultctl -n '__vaultctl_is admin' -a restore -d 'Make the store anew from a backup (root)'
complete -c vaultctl -n '__vaultctl_is admin' -a accept-store -d 'Go on with a database that is older than the newest (root)'
complete -c vaultctl -n '__vaultctl_is admin vault' -a show -d 'What is known about it'
complete -c vaultctl -n '__vaultctl_is admin vault' -a destroy -d 'Erase it'

complete -c vaultctl -n '__vaultctl_is connect' -a '(__vaultctl_names services services name)' -d Service
complete -c vaultctl -n '__vaultctl_is --then connect' -l as -x -a '(__vaultctl_labels)' -d 'Name for a second account'
complete -c vaultctl -n '__vaultctl_is --then connect' -l page -d 'By the page of this host, also over SSH'
complete -c vaultctl -n '__vaultctl_is --then connect' -l paste -d 'Paste back the address at which the browser ends'
complete -c vaultctl -n '__vaultctl_is --then connect' -l device -d 'Approve a code at the service'
complete -c vaultctl -n '__vaultctl_is --then connect' -l token-stdin -d 'Read a token from standard input'
complete -c vaultctl -n '__vaultctl_is --then connect' -l scope -x -d 'Ask for this right too'
complete -c vaultctl -n '__vaultctl_is --then connect' -l no-browser -d 'Only print the link'
complete -c vaultctl -n '__vaultctl_is --then connect' -l replace-account -d 'Allow another account than before'
complete -c vaultctl -n '__vaultctl_is --then connect' -l account -x -d 'Accept this account only'
complete -c vaultctl -n '__vaultctl_is --then connect' -l yes -d 'Accept the account that the service names'

complete -c vaultctl -n '__vaultctl_is --then claim' -l account -x -d 'Claim it only if it is this account'

complete -c vaultctl -n '__vaultctl_is check' -a '(__vaultctl_names status connections service)' -d Service
complete -c vaultctl -n '__vaultctl_is --then check' -l as -x -a '(__vaultctl_labels)' -d 'The account with this label'
complete -c vaultctl -n '__vaultctl_is --then check' -l tool -x -d 'Also call this tool'

complete -c vaultctl -n '__vaultctl_is --then web' -l no-browser -d 'Only print the link'
complete -c vaultctl -n '__vaultctl_is --then web' -l confirm -x -d 'Disconnect what the page was asked to'
complete -c vaultctl -n '__vaultctl_is --then web' -l end -d 'Close the page in every browser'

complete -c vaultctl -n '__vaultctl_is disconnect' -a '(__vaultctl_names status connections service)' -d Service
complete -c vaultctl -n '__vaultctl_is --then disconnect' -l as -x -a '(__vaultctl_labels)' -d 'The account with this label'
complete -c vaultctl -n '__vaultctl_is --then disconnect' -l yes -d 'Do not ask'

complete -c vaultctl -n '__vaultctl_is token' -a '(__vaultctl_names status connections service)' -d Service
complete -c vaultctl -n '__vaultctl_is --then token' -l as -x -a '(__vaultctl_labels)' -d 'The account with this label'
complete -c vaultctl -n '__vaultctl_is --then token' -l yes -d 'Do not ask before it is printed on a terminal'

complete -c vaultctl -n '__vaultctl_is --then session start' -l server -x -a '(__vaultctl_names services services name)' -d 'A service that the session may use'
complete -c vaultctl -n '__vaultctl_is --then session start' -l title -x -d 'A name for the session'
complete -c vaultctl -n '__vaultctl_is --then session start' -l message -x -d 'The first message to the agent'
complete -c vaultctl -n '__vaultctl_is --then session start' -l yes -d 'Start without asking'
complete -c vaultctl -n '__vaultctl_is session show' -a '(__vaultctl_names "session list" sessions id)' -d Session

for command in lock unlock unseal vault revoke
        complete -c vaultctl -n "__vaultctl_is --then admin $command" -l user -x -a '(__vaultctl_names "admin users" vaults user)' -d 'The user whose vault it is'
        complete -c vaultctl -n "__vaultctl_is --then admin $command" -l uid -x -d 'The same, by number'
end
complete -c vaultctl -n '__vaultctl_is --then admin lock' -l reason -x -d 'Why, for other administrators'
complete -c vaultctl -n '__vaultctl_is --then admin revoke' -l service -x -d 'Only those of this service'
complete -c vaultctl -n '__vaultctl_is --then admin unseal' -l rename -d 'It is the same person'
complete -c vaultctl -n '__vaultctl_is --then admin unseal' -l new -d 'It is another person'
complete -c vaultctl -n '__vaultctl_is --then admin vault' -l set-aside -d 'Destroy what was set aside, not the vault'
complete -c vaultctl -n '__vaultctl_is --then admin vault' -l yes -d 'Destroy without asking for the name'
complete -c vaultctl -n '__vaultctl_is --then admin init' -l new-recovery-key -d 'Another recovery key, for the backups to come'
complete -c vaultctl -n '__vaultctl_is --then admin init' -l key-only -d 'Only the key that wraps the vaults'
complete -c vaultctl -n '__vaultctl_is --then admin init' -l state-dir -r -F -d 'The store that must be empty when there is no key yet'
complete -c vaultctl -n '__vaultctl_is --then admin backup' -F
complete -c vaultctl -n '__vaultctl_is --then admin restore' -F
complete -c vaultctl -n '__vaultctl_is --then admin restore' -l replace -d 'Although this store has vaults'
complete -c vaultctl -n '__vaultctl_is --then admin restore' -l head -x -d 'The newest head of the store that was backed up'
complete -c vaultctl -n '__vaultctl_is --then admin restore' -l recovery-key-stdin -d 'The key is the first line of standard input'
complete -c vaultctl -n '__vaultctl_is --then admin rekey' -l dry-run -d 'See whether every record opens'
for command in init rekey
        complete -c vaultctl -n "__vaultctl_is --then admin $command" -l kek-file -r -F -d 'The key is this plain file'
end
