# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Completion of vaultctl for bash, loaded by bash-completion when it is first needed.
#
# Names come from vaultd by calls that it answers by itself: services, status, session list. What would make it ask a service
# or the Claude Platform is never called, a vaultd that does not run is not started by a Tab, and one that does not answer is
# given up after a second. Names are taken only if they are made of letters, digits and ._- so that nothing that a service
# chose gets into a command line.

declare -gA __vaultctl_options=(
        [connect]="--as --account --scope --page --paste --device --token-stdin --no-browser --replace-account --yes"
        [claim]="--account"
        [check]="--as --tool"
        [disconnect]="--as --yes"
        [token]="--as --yes"
        [web]="--no-browser --confirm --end"
        ["session start"]="--server --title --message --yes"
        ["admin lock"]="--user --uid --reason"
        ["admin unlock"]="--user --uid"
        ["admin unseal"]="--user --uid --rename --new"
        ["admin revoke"]="--user --uid --service"
        ["admin init"]="--new-recovery-key --key-only --kek-file --state-dir"
        ["admin vault"]="--user --uid --set-aside --yes"
        ["admin rekey"]="--dry-run --kek-file"
        ["admin restore"]="--replace --head --recovery-key-stdin"
)
__vaultctl_commands="status whoami services connect claim check disconnect token web session doctor admin"
__vaultctl_session_commands="start list show"
__vaultctl_admin_commands="init users lock unlock unseal vault rekey revoke backup restore accept-store"
__vaultctl_global="--json --socket --help --version"

# __vaultctl_names COMMAND ARRAY MEMBER [SERVICE]: the member of each object of the array in the command's answer,
# with SERVICE of those objects alone that are of this service. Uses the caller's socket.
__vaultctl_names() {
        local text='"([^"\\]|\\.)*"' arguments=()

        [[ -z $4 || $4 =~ ^[a-z0-9-]+$ ]] || return 0
        if [[ -n $socket ]]; then
                arguments=(--socket "${socket/#\~\//$HOME/}")
        elif [[ -d /run/systemd/system && (-z $VAULTD_SOCKET || $1 == admin*) ]]; then
                timeout 1 systemctl --quiet is-active vaultd.service </dev/null &>/dev/null || return 0
        fi
        # Objects and lists inside of the objects go first; strings are read as such, so that what stands in one is no syntax.
        # shellcheck disable=SC2086 # a command may be two words
        timeout 1 vaultctl "${arguments[@]}" --json $1 </dev/null 2>/dev/null | head -c 65536 |
                sed -nE "s/\"account\": *\\{($text|[^\"}])*\\}//g; s/\\[($text[, ]*)*\\]//g
                         s/.*\"$2\": *\\[(($text|[^]\"])*)\\].*/\\1/p" |
                grep -oE "\\{($text|[^\"}])*\\}" | grep -E "\"service\": *\"$4\"|^${4:+\$}" |
                sed -nE "s/.*[{,] *\"$3\": *\"([A-Za-z0-9_][A-Za-z0-9._-]*)\".*/\\1/p" | sort -u
}

# What follows an option that takes a value. Fails for an option that takes none.
__vaultctl_value() {
        case $1 in
        --socket|--kek-file)
                _filedir ;;
        --state-dir)
                _filedir -d ;;
        --server)
                COMPREPLY=($(compgen -W "$(__vaultctl_names services services name)" -- "$cur")) ;;
        --as)
                [[ -z ${found[1]} ]] ||
                        COMPREPLY=($(compgen -W "$(__vaultctl_names status connections label "${found[1]}")" -- "$cur")) ;;
        --user)
                COMPREPLY=($(compgen -W "$(__vaultctl_names "admin users" vaults user)" -- "$cur")) ;;
        --account|--title|--message|--uid|--reason|--service|--head)
                ;;
        *)
                return 1 ;;
        esac
}

_vaultctl() {
        local cur prev words cword split=false
        _init_completion -s || return

        # The words before the cursor that are neither options nor their values.
        local found=() socket= is_past_options=false i command list=
        for ((i = 1; i < cword; i++)); do
                if $is_past_options; then
                        found+=("${words[i]}")
                        continue
                fi
                case ${words[i]} in
                --) is_past_options=true ;;
                --socket=*) socket=${words[i]#*=} ;;
                --socket) socket=${words[++i]} ;;
                --server|--as|--account|--scope|--title|--message|--user|--uid|--reason|--kek-file|--state-dir|--head) ((i++)) ;;
                -?*) ;;
                *) found+=("${words[i]}") ;;
                esac
        done

        $is_past_options || ! __vaultctl_value "$prev" || return 0
        ! $split || return 0

        command=${found[0]}
        if [[ $command == @(session|admin) && -n ${found[1]} ]]; then
                command+=" ${found[1]}"
                found=("$command" "${found[@]:2}")
        fi
        if [[ $cur == -* ]] && ! $is_past_options; then
                list="$__vaultctl_global ${__vaultctl_options[${command:-none}]}"
        else
                case $command:${#found[@]} in
                :0) list=$__vaultctl_commands ;;
                session:1) list=$__vaultctl_session_commands ;;
                admin:1) list=$__vaultctl_admin_commands ;;
                "admin vault:1") list="show destroy" ;;
                "admin backup:1"|"admin restore:1") _filedir; return ;;
                connect:1) list=$(__vaultctl_names services services name) ;;
                check:1|disconnect:1|token:1) list=$(__vaultctl_names status connections service) ;;
                "session show:1") list=$(__vaultctl_names "session list" sessions id) ;;
                esac
        fi
        COMPREPLY=($(compgen -W "$list" -- "$cur"))
} &&
        complete -F _vaultctl vaultctl
