# shellcheck shell=sh
# The first process of an engine's mount and process namespaces, for `sh -c` and with a cgroup's name as $0. It says its
# process id, waits for the end of its input, which comes with the end of whoever started it, and leaves nothing behind.
set -e
read -r pid _ </proc/self/stat
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/cgroup
mount --rbind /sys/fs/cgroup /run/cgroup
# The new sysfs is that of the network namespace, and covers the cgroups.
mount -t sysfs sysfs /sys
mount --rbind /run/cgroup /sys/fs/cgroup
for folder in etc opt var; do
    mkdir "/run/$folder" "/run/$folder-work"
    mount -t overlay -o "lowerdir=/$folder,upperdir=/run/$folder,workdir=/run/$folder-work" overlay "/$folder"
done
echo "$pid"
cat >/dev/null
kill -9 -1 2>/dev/null || true
for try in 1 2 3 4 5 6 7 8 9 10; do
    find /run/cgroup -depth -type d -path "*/$0*" -exec rmdir {} + 2>/dev/null || true
    [ -n "$(find /run/cgroup -type d -name "$0")" ] || exit 0
    sleep 0.1
done
