# SPDX-License-Identifier: MIT
# fish completion of agnesfs, which knows all the words itself: fs/cli/complete.h.

function __agnesfs_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in ($words[1] complete-words $words[2..] "$current" 2>/dev/null)
        set -l parts (string split \t -- $line)
        if test -n "$parts[1]"
            echo $line
            continue
        end
        set -l path (string sub -s (math (string length -- "$parts[3]") + 1) -- "$current")
        if test "$parts[2]" = folders
            printf '%s%s\n' "$parts[3]" (__fish_complete_directories "$path")
        else
            printf '%s%s\n' "$parts[3]" (__fish_complete_path "$path")
        end
    end
end

complete -c agnesfs -f -a '(__agnesfs_complete)'
