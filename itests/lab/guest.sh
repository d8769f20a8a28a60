# What programs in itests/ do in the guest. Sourced by bash, from the root of the checkout.

daemon= # its process id
load=() # those of the load

# Says something to the host at once, with the time.
say() {
    echo "$(cut -d ' ' -f 1 /proc/uptime) $*" >>"$LAB_OUT/events"
}

client() {
    distribution/target/rampipe/bin/rampipe --runtime /run/rampipe "$@"
}

# Starts the daemon for /mnt/lab, checkpointing every $1 s, and waits until it has recovered.
start_daemon() {
    mkdir -p /run/conf /run/state
    ln -s "$PWD/target/rampiped.jsa" /run/state/
    printf 'watch.directories = /mnt/lab\ncheckpoint.interval = %ds\npool.size = 64M\ncheckpoint.freeze = 2s\n' "$1" >/run/conf/rampipe.cfg
    distribution/target/rampipe/bin/rampiped --conf /run/conf --runtime /run/rampipe --state /run/state \
        > >(while IFS= read -r line; do echo "$line" >>"$LAB_OUT/daemon.log"; done) 2>&1 &
    daemon=$!
    # What is watched, and the syncback, are taken into service when there is nothing to
    # recover any more.
    until client strategies 2>/dev/null | grep -q journal && client status --json | grep -q /mnt/lab; do
        [[ -d /proc/$daemon ]] || return 1
        sleep 0.1
    done
}

# What the daemon does for the first time takes longer, the more so here. Tells how long it
# takes here: the bound of what may be lost has room for it.
rehearse() {
    local from to
    mkdir -p /mnt/lab/rehearsal
    client pin /mnt/lab/rehearsal >>"$LAB_OUT/client.log" 2>&1 || return
    perl -e 'for (1 .. 100) { open my $f, ">", "/mnt/lab/rehearsal/$_" or die; print $f "x" x 20_000 }' || return
    read -r from _ </proc/uptime
    client sync /mnt/lab/rehearsal >>"$LAB_OUT/client.log" 2>&1 || return
    read -r to _ </proc/uptime
    client unpin /mnt/lab/rehearsal >>"$LAB_OUT/client.log" 2>&1 || return
    rm -r /mnt/lab/rehearsal
    say "rehearsed $(awk "BEGIN {print $to - $from}")"
}

pin_all() {
    local target
    for target in operations commits; do
        client pin "/mnt/lab/$target" >>"$LAB_OUT/client.log" 2>&1 || return
    done
}

# $1: seed, $2: milliseconds of rest.
start_load() {
    itests/lab/operations run /mnt/lab/operations "$1" "$LAB_OUT/operations" 0 "$2" 2>>"$LAB_OUT/load.log" &
    load=($!)
    itests/lab/commits run /mnt/lab/commits "$LAB_OUT/commits" "$2" 2>>"$LAB_OUT/load.log" &
    load+=($!)
}

# What is unpinned is written to straight on the disk from then on, and nobody has promised
# anything about that: so the load ends before.
end_load() {
    kill "${load[@]}" || return
    wait "${load[@]}" || :
    while pgrep -x sqlite3 >/dev/null; do
        sleep 0.01
    done
}
