#compdef ganger
# zsh completion for ganger: asks the program itself, which knows its own words and the apps that run.
_ganger() {
    local line word about files=
    local -a candidates
    for line in "${(@f)$(ganger __complete -- "${(@)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null)}"; do
        word=${line%%$'\t'*}
        about=
        [[ $line == *$'\t'* ]] && about=:${line#*$'\t'}
        [[ -z $word ]] && continue
        if [[ $word == :files ]]; then
            files=yes
        else
            candidates+=("${word//:/\\:}$about")
        fi
    done
    (( $#candidates )) && _describe 'ganger' candidates
    [[ -n $files ]] && _files
}
if [[ $funcstack[1] == _ganger ]]; then
    _ganger "$@"
else
    compdef _ganger ganger
fi
