# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# bash completion of agnesfs, which knows all the words itself: fs/cli/complete.h.

_agnesfs() {
    local rest=${COMP_LINE:0:COMP_POINT} words=() quote='' head='' i word line
    COMPREPLY=()

    # Bash has split the words at = and : too; a piece that follows without a blank belongs to the last.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if ((i == 0)) || [[ $rest == [[:blank:]]* ]]; then
            words+=('')
            rest=${rest#"${rest%%[![:blank:]]*}"}
        fi
        ((i < COMP_CWORD)) || word=$rest
        words[-1]+=$word
        rest=${rest#"$word"}
    done
    [[ ${words[-1]} != [\'\"]* ]] || quote=1
    [[ ${words[-1]} != *[=:]* || $quote ]] || head=${words[-1]%"${words[-1]##*[=:]}"}

    # As the program would get them, but for quoting of the rarer kinds.
    words=("${words[@]//[\'\"\\]/}")
    words=("${words[@]/#'~/'/$HOME/}")

    while IFS= read -r line; do
        if [[ $line == $'\t'folders$'\t'* ]]; then
            compopt -o dirnames
        elif [[ $line == $'\t'files$'\t'* ]]; then
            compopt -o default
        else
            word=${line%%$'\t'*}
            word=${word#"$head"}
            [[ $word != *[=/,] ]] || compopt -o nospace
            [[ $quote || $word != *[!A-Za-z0-9_./,:=@%+-]* ]] || printf -v word '%q' "$word"
            COMPREPLY+=("$word")
        fi
    done < <("${words[0]}" complete-words "${words[@]:1}" 2>/dev/null)
}

complete -F _agnesfs agnesfs
