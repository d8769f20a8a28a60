# Set-up that ./run and ./test share: tools, build, private mounts. Sourced by bash,
# from the root of the checkout.

step() {
    printf '== %s\n' "$*"
}

note() {
    printf '   %s\n' "$*"
}

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

need_root() {
    [[ $EUID -eq 0 ]] || die "needs root (mounts, fanotify): sudo $0 $*"
}

# Goes on in a mount namespace of its own, with the same process id: what is mounted
# from here on is seen by nobody else and is gone when the last process in it is.
# $1 is this script, the rest are its arguments.
go_private() {
    if [[ ${RAMPIPE_PRIVATE:-} != "$$" ]]; then
        RAMPIPE_PRIVATE=$$ exec unshare --mount --propagation private -- "$BASH" "$@"
    fi
    unset RAMPIPE_PRIVATE
}

# Sets JAVA_HOME to a JDK (17 or later, with a compiler); false if there is none.
find_jdk() {
    local candidate feature
    for candidate in "${JAVA_HOME:-}" "$(readlink -f "$(type -P javac)" 2>/dev/null)" /usr/lib/jvm/*; do
        candidate=${candidate%/bin/javac}
        [[ -n $candidate && -x $candidate/bin/javac && -r $candidate/release ]] || continue
        feature=$(sed -n 's/^JAVA_VERSION="\([0-9]*\).*/\1/p' "$candidate/release")
        if [[ ${feature:-0} -ge 17 ]]; then
            export JAVA_HOME=$candidate
            return 0
        fi
    done
    return 1
}

# Installs what is missing of JDK, Maven and COMMAND:PACKAGE arguments.
install_tools() {
    local missing=() pair
    for pair in mvn:maven mkfs.ext4:e2fsprogs losetup:mount setpriv:util-linux "$@"; do
        type -P "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
    done
    if [[ ${#missing[@]} -eq 0 ]] && find_jdk; then
        return
    fi
    type -P apt-get >/dev/null ||
        die "no JDK 17 or later, or no ${missing[*]:-apt-get}; without apt-get they have to be installed by hand"
    export DEBIAN_FRONTEND=noninteractive
    step "apt-get update"
    apt-get -qq update || die "apt-get update failed; see above"
    if ! find_jdk; then
        local version
        for version in 17 21 25; do
            # Which of them there is depends on the release.
            if [[ $(apt-cache policy "openjdk-$version-jdk-headless") == *"Candidate: "[0-9]* ]]; then
                missing+=("openjdk-$version-jdk-headless")
                break
            fi
        done
    fi
    step "apt-get install ${missing[*]}"
    # dpkg's triggers say a lot that matters only when they fail.
    local log
    log=$(mktemp)
    if ! apt-get -y --no-install-recommends install "${missing[@]}" >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        rm -f "$log"
        die "apt-get install ${missing[*]} failed; see above"
    fi
    note "$(grep -c '^Setting up ' "$log") packages installed"
    rm -f "$log"
    find_jdk || die "there is still no JDK 17 or later"
}

# Whether the build is there and nothing was changed since it began.
built() {
    [[ -f target/built && -x distribution/target/rampipe/bin/rampiped && -f demo/target/demo.jar ]] &&
        [[ -z $(find pom.xml bnd.bnd cnf bundles distribution demo testkit \
            \( -name target -o -path cnf/cache \) -prune -o -type f -newer target/built -print -quit) ]]
}

# Runs Maven, for at most $2, and shows one line a module; everything goes to the file $1,
# whose errors are shown if it fails.
maven() {
    local log=$1 limit=$2
    shift 2
    # The pipe's reader sees the modules begin; Maven's own status is what counts.
    if ! timeout --foreground --kill-after=30 "$limit" mvn --batch-mode --no-transfer-progress "$@" </dev/null 2>&1 | tee "$log" |
        sed -u -n 's/^\[INFO\] Building \(RamPipe :: \)*\(.*\) 0[^ ]* *\[\(.*\)\]$/   \3 \2/p'; then
        printf '\n' >&2
        grep -E '^\[ERROR\]|^Caused by' "$log" | head -n 40 >&2 || tail -n 40 "$log" >&2
        return 1
    fi
}

# Builds what is not built.
build() {
    find_demo
    if built; then
        note "built already, and no source is newer"
        return
    fi
    step "building (the first time Maven fetches what it needs, which takes minutes)"
    mkdir -p target
    touch target/building
    maven target/build.log 60m -DskipTests package || die "the build failed; all of its output is in target/build.log"
    mv target/building target/built
}

# Makes target/rampiped.jsa, with which daemons start faster: in guests that takes half a
# minute without. Named rampiped.jsa in the daemon's state directory it is used.
class_data() {
    [[ ! target/rampiped.jsa -nt target/built ]] || return 0
    distribution/target/rampipe/bin/rampiped --make-cds "$PWD/target/rampiped.jsa" >target/class-data.log 2>&1 ||
        note "daemons start slowly, without class data: $(tail -n 1 target/class-data.log)"
}

# Sets the array demo: the command of the load generator. Its native library goes where
# files can be executed.
find_demo() {
    mkdir -p demo/target/tmp
    demo=("$JAVA_HOME/bin/java" -XX:+UseSerialGC -Xmx256m -XX:-UsePerfData --enable-native-access=ALL-UNNAMED
        -Dorg.sqlite.tmpdir="$PWD/demo/target/tmp" -jar "$PWD/demo/target/demo.jar")
}
