# Completion of palisade for fish. Each value comes from palisade itself: see `palisade completions`.
function __palisade_complete
    set -l words (commandline -opc)
    set -l word (commandline -ct)
    # Where Debian keeps it, and who is not root does not look.
    set -lx PATH $PATH /usr/sbin
    $words[1] complete fish $words "$word" 2>/dev/null
end
complete --command palisade --no-files --keep-order --arguments '(__palisade_complete)'
