# A scratch disk, slowed as a USB stick is, and everything it needs to vanish again.
# Sourced by bash after setup.sh, in a private mount namespace.

write_iops=100                # writes a second
write_bps=$((10 * 1024 * 1024)) # bytes a second
read_bps=$((30 * 1024 * 1024))

scratch=  # directory of everything
disk=     # where the disk is mounted
loop=     # its device
cgroup=   # control group whose members the limits hold for; empty: no limits

# Makes the directory, in RAM where that has room (the machine's own disk may be slower
# than what is measured), and arranges that nothing is left behind.
make_scratch() {
    local base=/var/tmp
    if [[ $(stat -f -c '%T' /dev/shm 2>/dev/null) == tmpfs ]] &&
        [[ $(df --output=avail -k /dev/shm | tail -n 1) -gt 1500000 ]] &&
        [[ $(awk '/^MemAvailable:/ {print $2}' /proc/meminfo) -gt 2500000 ]]; then
        base=/dev/shm
    fi
    trap clean_up EXIT
    trap 'interrupted INT 130' INT
    trap 'interrupted TERM 143' TERM
    trap 'interrupted HUP 129' HUP
    scratch=$(mktemp -d "$base/rampipe-XXXXXX")
    disk=$scratch/disk
    mkdir "$disk"
}

interrupted() {
    printf '\n%s: stopped by SIG%s; cleaning up\n' "${0##*/}" "$1" >&2
    exit "$2"
}

# Makes the disk, of $1 MiB, and mounts it.
make_disk() {
    truncate -s "$1M" "$scratch/disk.img"
    mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 "$scratch/disk.img"
    mount_disk
}

# The loop device detaches itself (autoclear) when the mount goes, even if this shell is
# killed: its mount namespace goes with it.
mount_disk() {
    mount -o loop,relatime "$scratch/disk.img" "$disk"
    loop=$(awk -v point="$disk" '$5 == point {for (i = 7; $i != "-"; i++); print $(i + 2)}' /proc/self/mountinfo)
}

# Takes the disk away, so that the kernel forgets what it knows of it.
unmount_disk() {
    umount "$disk"
    loop=
}

# The members of the new control group $cgroup can write and read the disk only so fast.
# False, with the reason in $unslowed, where the kernel has no such limits.
slow_disk() {
    local name device top
    name=rampipe-$$
    device=$(cat "/sys/block/${loop##*/}/dev")
    top=$(awk '/ - cgroup / && $NF ~ /(^|,)blkio(,|$)/ {print $5; exit}' /proc/self/mountinfo)
    if [[ -n $top ]]; then
        if ! mkdir "$top/$name" 2>/dev/null; then
            unslowed="no control group can be made in $top"
            return 1
        fi
        cgroup=$top/$name
        if ! { echo "$device $write_iops" >"$cgroup/blkio.throttle.write_iops_device" &&
            echo "$device $write_bps" >"$cgroup/blkio.throttle.write_bps_device" &&
            echo "$device $read_bps" >"$cgroup/blkio.throttle.read_bps_device"; } 2>/dev/null; then
            unslowed="the kernel has no blkio.throttle (CONFIG_BLK_DEV_THROTTLING)"
            drop_cgroup
            return 1
        fi
    else
        top=$(awk '/ - cgroup2 / {print $5; exit}' /proc/self/mountinfo)
        if [[ -z $top ]] || ! grep -qw io "$top/cgroup.controllers" 2>/dev/null; then
            unslowed="there is no block io controller, neither in cgroup v1 nor in v2"
            return 1
        fi
        if ! grep -qw io "$top/cgroup.subtree_control"; then
            if ! echo +io >"$top/cgroup.subtree_control" 2>/dev/null; then
                unslowed="the io controller cannot be enabled in $top"
                return 1
            fi
            io_enabled=$top
        fi
        if ! mkdir "$top/$name" 2>/dev/null; then
            unslowed="no control group can be made in $top"
            return 1
        fi
        cgroup=$top/$name
        if ! echo "$device wiops=$write_iops wbps=$write_bps rbps=$read_bps" 2>/dev/null >"$cgroup/io.max"; then
            unslowed="the kernel has no io.max (CONFIG_BLK_DEV_THROTTLING)"
            drop_cgroup
            return 1
        fi
    fi
    # Half of what an fsync writes comes from ext4's journal thread. It joins too, where
    # the kernel lets it: a stick's speed holds for all that is written to it.
    local comm
    for comm in /proc/[0-9]*/comm; do
        if [[ $(cat "$comm" 2>/dev/null) == "jbd2/${loop##*/}-8" ]]; then
            comm=${comm#/proc/}
            echo "${comm%/comm}" 2>/dev/null >"$cgroup/cgroup.procs" ||
                note "the file system's journal stays at full speed: its thread cannot be moved"
        fi
    done
}

# Lifts the limits: what is still to be written when all is over needs no patience.
full_speed() {
    local device limit
    device=$(cat "/sys/block/${loop##*/}/dev") || return 0
    if [[ -e $cgroup/io.max ]]; then
        echo "$device wiops=max wbps=max rbps=max" >"$cgroup/io.max"
    else
        for limit in write_iops write_bps read_bps; do
            echo "$device 0" >"$cgroup/blkio.throttle.${limit}_device"
        done
    fi
}

drop_cgroup() {
    if [[ -n $cgroup ]]; then
        # Its last members may still be on their way out.
        local i
        for ((i = 0; i < 50; i++)); do
            rmdir "$cgroup" 2>/dev/null && break
            sleep 0.1
        done
        [[ ! -d $cgroup ]] || printf 'could not remove the control group %s\n' "$cgroup" >&2
        cgroup=
    fi
    if [[ -n ${io_enabled:-} ]]; then
        echo -io 2>/dev/null >"$io_enabled/cgroup.subtree_control" || :
        io_enabled=
    fi
}

# Starts a command on the slowed disk; its process id is in $!. It dies with this shell,
# however that ends. Its standard input is empty.
spawn() {
    (
        [[ -z $cgroup ]] || echo 0 >"$cgroup/cgroup.procs"
        trap - EXIT INT TERM HUP
        exec setpriv --pdeathsig KILL "$@"
    ) </dev/null &
}

# Does the same and waits for it, so that a signal is heard at once.
slowly() {
    spawn "$@"
    wait "$!"
}

# Number of writes that the disk has done.
disk_writes() {
    awk '{print $5}' "/sys/block/${loop##*/}/stat"
}

# Mount points below a directory, the latest first.
mounts_below() {
    # mountinfo writes blanks and the like as octal.
    awk -v below="$1/" 'index($5, below) == 1 {print $5}' /proc/self/mountinfo | tac |
        while IFS= read -r point; do printf '%b\n' "${point//\\/\\0}"; done
}

# What is left mounted below a directory: nothing, or this fails and shows it.
none_mounted_below() {
    local left
    left=$(mounts_below "$1")
    [[ -z $left ]] || {
        printf 'still mounted: %s\n' "$left" >&2
        return 1
    }
}

# Waits for the process $1 to end, at most $2 seconds; its exit status is in $status.
# False if it still runs.
await_end() {
    local end=$((SECONDS + $2))
    while [[ -d /proc/$1 && $(awk '{print $3}' "/proc/$1/stat" 2>/dev/null) != Z ]]; do
        ((SECONDS < end)) || return 1
        sleep 0.1
    done
    status=0
    wait "$1" || status=$?
}

clean_up() {
    local code=$? point i left
    trap '' INT TERM HUP
    set +e
    {
        # Of its own, those that still run: numbers are used again in a long run.
        jobs -pr | xargs -r kill -KILL
        if [[ -n $cgroup ]]; then
            # Whatever they started; the journal's thread, which is the kernel's, ignores it.
            xargs -r kill -KILL <"$cgroup/cgroup.procs"
            full_speed
        fi
        wait
    } 2>/dev/null
    if [[ -n $scratch ]]; then
        for ((i = 0; i < 50; i++)); do
            left=
            while IFS= read -r point; do
                umount "$point" 2>/dev/null || left=$point
            done < <(mounts_below "$scratch")
            [[ -n $left ]] || break
            sleep 0.1
        done
        # Only now by force: the namespace goes away, and nobody can write any more.
        mounts_below "$scratch" | while IFS= read -r point; do umount --lazy "$point"; done
    fi
    drop_cgroup
    [[ -z $scratch ]] || rm -rf --one-file-system "$scratch"
    exit "$code"
}
