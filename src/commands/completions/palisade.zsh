#compdef palisade
# Completion of palisade for zsh. Each value comes from palisade itself: see `palisade completions`.
_palisade() {
    local -a values folders
    # Where Debian keeps it, and who is not root does not look.
    values=("${(@f)$(
        PATH=$PATH:/usr/sbin
        "${(Q)words[1]}" complete zsh "${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null
    )}")
    folders=(${(M)values:#*/})
    values=(${values:#*/})
    (( $#folders )) && _describe -V palisade folders -S ''
    (( $#values )) && _describe -V palisade values
}
if [ "$funcstack[1]" = _palisade ]; then
    _palisade "$@"
else
    compdef _palisade palisade
fi
