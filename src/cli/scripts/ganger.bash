# bash completion for ganger: asks the program itself, which knows its own words and the apps that run.
_ganger() {
    local line=${COMP_LINE:0:COMP_POINT} word skip=
    local -a words=()
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=('')
    local cur=${words[${#words[@]} - 1]}
    # Where bash takes ":" or "=" for the end of a word, only what follows it is to be replaced.
    [[ $cur == *:* && $COMP_WORDBREAKS == *:* ]] && skip=${cur%"${cur##*:}"}
    [[ $cur == --*=* && $COMP_WORDBREAKS == *=* ]] && skip=${cur%%=*}=
    COMPREPLY=()
    while IFS=$'\t' read -r word _; do
        if [[ $word == :files ]]; then
            compopt -o filenames 2>/dev/null
            while IFS= read -r word; do
                COMPREPLY+=("$word")
            done < <(compgen -f -- "${cur#"$skip"}")
        else
            COMPREPLY+=("${word#"$skip"}")
        fi
    done < <(ganger __complete -- "${words[@]:1}" 2>/dev/null)
}
complete -F _ganger ganger
