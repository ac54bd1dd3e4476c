# fish completion for ganger: asks the program itself, which knows its own words and the apps that run.
function __ganger_complete
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    set -q current[1]; or set current ''
    for line in (ganger __complete -- $before[2..-1] $current 2>/dev/null)
        if test "$line" = :files
            __fish_complete_path "$current"
        else
            printf '%s\n' $line
        end
    end
end
complete -c ganger -f -a '(__ganger_complete)'
