# The disk of itests/powercut and itests/droppedcache. Sourced by bash after setup.sh and
# scratch.sh, from the root of the checkout.

image=     # of the guest's disk, with the directories operations and commits
reference= # operations as it was at some moment

# $1: the seed.
make_lab_disk() {
    local modes=(delete wal truncate)
    image=$scratch/data.img
    truncate -s 96M "$image"
    mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 "$image"
    mkdir "$scratch/look"
    mount -o loop "$image" "$scratch/look"
    mkdir "$scratch/look/operations" "$scratch/look/commits"
    itests/lab/operations begin "$scratch/look/operations"
    itests/lab/commits begin "$scratch/look/commits" "${modes[$1 % 3]}"
    umount "$scratch/look"
    # On a disk too, so that it can have the same attributes.
    make_disk 96
    reference=$disk/reference
    mkdir "$reference"
    itests/lab/operations begin "$reference"
}

copy_disk() {
    cp --sparse=always "$1" "$2"
}

# Logs below the mount point $1. Sets $waiting: the targets of committed ones; $unfinished:
# whether there is anything else; $aside: those that were set aside.
find_logs() {
    local file
    waiting=
    unfinished=
    aside=
    for file in "$1"/.rampipe/*; do
        case $file in
            *.redo) waiting="$waiting $(grep -aoE -m 1 '/(operations|commits)' "$file" | head -n 1)" ;;
            *.damaged-* | *.conflict-*) aside="$aside ${file##*/}" ;;
            *) [[ ! -e $file ]] || unfinished=yes ;;
        esac
    done
}
