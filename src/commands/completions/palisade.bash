# Completion of palisade for bash. Each value comes from palisade itself: see `palisade completions`.
_palisade() {
    local line=${COMP_LINE:0:COMP_POINT} words
    read -ra words <<<"$line"
    [[ $line != *[[:space:]] ]] || words+=("")
    # Bash parts words at `:` and `=`, too, and replaces only what is behind the last of them.
    local before=${words[${#words[@]} - 1]}
    before=${before%"$2"}
    mapfile -t COMPREPLY < <(
        # Where Debian keeps it, and who is not root does not look.
        PATH=$PATH:/usr/sbin
        "$1" complete bash "${words[@]}" 2>/dev/null
    )
    COMPREPLY=("${COMPREPLY[@]#"$before"}")
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == */ ]]; then
        compopt -o nospace
    fi
}
complete -F _palisade palisade
