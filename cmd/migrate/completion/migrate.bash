# bash completion for migrate: the program itself knows its commands and flags.
_migrate() {
    local cur=${COMP_WORDS[COMP_CWORD]}
    local -a asked=("${COMP_WORDS[@]:0:COMP_CWORD}")
    [[ $cur == -* ]] && asked+=("$cur")
    local IFS=$'\n'
    COMPREPLY=($(compgen -W "$("${asked[@]}" --generate-bash-completion 2>/dev/null)" -- "$cur"))
}
complete -o bashdefault -o default -F _migrate migrate
