# bash completion for migrate: the program itself knows its commands and flags.
_migrate() {
    local cur=${COMP_WORDS[COMP_CWORD]}
    local -a asked=("${COMP_WORDS[@]:0:COMP_CWORD}")
    # Behind -- the program would take all for words: it is asked for any flag.
    case $cur in
    --) asked+=(-) ;;
    -*) asked+=("$cur") ;;
    esac
    local IFS=$'\n'
    COMPREPLY=($(compgen -W "$("${asked[@]}" --generate-bash-completion 2>/dev/null)" -- "$cur"))
}
complete -o bashdefault -o default -F _migrate migrate
