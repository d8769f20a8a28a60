package RamPipe::Overlay;

# The mounts of a pin: known by their source, rampipe:ID, wherever they are by now. A
# directory is covered by its overlay; a single file by a bind mount of its like in an
# overlay of the parent directory that is mounted out of sight.

use strict;
use warnings;
use Errno qw(EBUSY ENOENT ENOTDIR ELOOP EINVAL EOPNOTSUPP ESTALE);
use RamPipe::Error;
use RamPipe::Linux qw(:all);
use RamPipe::Mounts qw(mounts mount_by_id staying holders);
use RamPipe::Sync ();
use RamPipe::Text qw(shown);

use constant { TRIES => 5, MOST_NAMED => 3 };

# A snapshot's file system has the path of its device as its source.
sub source { my $pin = shift; return $pin->{format} eq 'snapshot' ? $pin->{attributes}{'snapshot.node'} : "rampipe:$pin->{id}" }

# The mount over the target; undef if there is none.
sub over {
    my $pin    = shift;
    my $hidden = $pin->{attributes}{hidden} // '';
    my @found  = grep { $_->{source} eq source($pin) && $_->{path} ne $hidden } mounts();
    my ($known) = grep { $_->{id} == ($pin->{attributes}{mount} // -1) } @found;
    return $known || $found[0];
}

sub hidden {
    my $pin  = shift;
    my $path = $pin->{attributes}{hidden} // return;
    return (grep { $_->{source} eq source($pin) && $_->{path} eq $path } mounts())[-1];
}

sub is_mounted { my $pin = shift; return over($pin) ? 1 : 0 }

# For people: who uses it.
sub users {
    my $pin   = shift;
    my @found = holders(source($pin), MOST_NAMED);
    return map {
        "process $_->{pid} (" . shown($_->{name}) . ", $_->{what}" . ($_->{path} ne '' ? ' ' . shown($_->{path}) : '') . ')'
    } @found;
}

# Takes the mounts away; throws a RamPipe::Error of kind busy, with nothing changed, if
# they are in use or would stay reachable elsewhere.
sub unmount {
    my $pin  = shift;
    my $over = over($pin);
    take_away($pin, $over) if $over;
    my $hidden = hidden($pin) or return;
    return if eval { take_away($pin, $hidden); 1 };
    my $e = $@;
    bind_again($pin) if $over;
    die $e;
}

sub take_away {
    my ($pin, $mount) = @_;
    my $target  = shown($pin->{target});
    my @staying = staying($mount, $pin->{attributes}{hidden});
    RamPipe::Error::busy("$target is mounted in another place too: " . join(', ', @staying)) if @staying;
    for (1 .. TRIES) {
        my $now = mount_by_id($mount->{id}) or return;
        my ($parent, $name) = $now->{path} =~ m{^(.*)/([^/]+)\z}s;
        my $gone = eval {
            my $dir = open_no_links($parent eq '' ? '/' : $parent, O_PATH | O_DIRECTORY);
            my $top = stat_at($dir, $name)->{mount};
            if ($top == $mount->{id}) {
                unmount_at($dir, $name);
                1;
            } else {
                my $cover = mount_by_id($top);
                RamPipe::Error::busy("$target has another mount on top ($cover->{type} " . shown($cover->{source}) . ')')
                    if $cover && $cover->{path} eq $now->{path};
                0;
            }
        };
        return if $gone;
        my $e = $@ or next;
        if (RamPipe::Error::failed($e, EBUSY)) {
            my @users = users($pin);
            RamPipe::Error::busy("$target is in use"
                    . (@users ? ' by ' . join(', ', @users) : ' (nobody found: by the kernel, or for a moment)'));
        }
        # A directory above was renamed between reading the table and opening it.
        die $e if !RamPipe::Error::failed($e, ENOENT, ENOTDIR, ELOOP);
    }
    RamPipe::Error::busy("the directories above $target are renamed faster than they can be opened");
}

# Mounting again

# statx and mountinfo name flags; fsmount(2) has numbers.
my %attributes = (ro => 1, nosuid => 2, nodev => 4, noexec => 8, noatime => 0x10, nodiratime => 0x80, nosymfollow => 0x200000);

# Puts the mounts back from the record alone, wherever the target is by now. What is
# mounted stays.
sub remount {
    my $pin = shift;
    return if over($pin);
    my $lower = lower($pin);
    my $below = mount_by_id(stat_of($lower)->{mount}) or RamPipe::Error::refused('the mount below vanished');
    my $flags = 0;
    $flags |= $attributes{$_} // 0 for keys %{ $below->{flags} };
    $flags |= 0x20 if !$below->{flags}{noatime} && !$below->{flags}{relatime};    # strictatime
    if ($pin->{kind} ne 'FILE') {
        attach_mount(make($pin, $lower, $flags), $lower);
        return;
    }
    attach_mount(make($pin, $lower, $flags), open_no_links($pin->{attributes}{hidden}, O_PATH | O_DIRECTORY))
        if !hidden($pin);
    bind_again($pin);
    return;
}

# The same options, best first, as when it was pinned.
sub make {
    my ($pin, $lower, $flags) = @_;
    my $last;
    my $a    = $pin->{attributes};
    my %open = map { $_ => open_no_links($a->{$_}, O_PATH | O_DIRECTORY) } grep { defined $a->{$_} } qw(upper work mask);
    my $mask = $open{mask} ? in_option($a->{mask}, $open{mask}) . ':' : '';
    for my $options (['on', 'on'], ['on', 'off'], ['off', 'off']) {
        my $fs = fs_open('overlay');
        my $fd = eval {
            fs_config($fs, 'source',       source($pin));
            fs_config($fs, 'lowerdir',     $mask . $lower->magic_path);
            fs_config($fs, 'upperdir',     in_option($a->{upper}, $open{upper}));
            fs_config($fs, 'workdir',      in_option($a->{work}, $open{work}));
            fs_config($fs, 'index',        $options->[0]);
            fs_config($fs, 'nfs_export',   $options->[1]);
            fs_config($fs, 'redirect_dir', 'on');
            fs_config($fs, 'metacopy',     'off');
            fs_config($fs, 'xino',         'off');
            fs_config($fs);
            fs_mount($fs, $flags);
        };
        return $fd if $fd;
        $last = $@;
        die $last if !RamPipe::Error::failed($last, EINVAL, EOPNOTSUPP);
    }
    die $last;
}

# A path that people understand in mountinfo, unless overlayfs would misunderstand it.
sub in_option { my ($path, $fd) = @_; return $path =~ /[,:\\]/ ? $fd->magic_path : $path }

sub bind_again {
    my $pin    = shift;
    my $name   = $pin->{target} =~ s{.*/}{}sr;
    my $merged = open_no_links($pin->{attributes}{hidden}, O_PATH | O_DIRECTORY);
    my $copy   = open_at($merged, $name, O_PATH | O_NOFOLLOW);
    my $over   = open_at(lower($pin), $name, O_PATH | O_NOFOLLOW);
    RamPipe::Error::refused(shown($pin->{target}) . ' is not a regular file any more')
        if !is_regular(stat_of($copy)) || !is_regular(stat_of($over));
    mount_bind($copy, $over);
    return;
}

# The lower directory on a mount through which programs reach it: at its path if it is
# still there, else where its file handle leads.
sub lower {
    my $pin      = shift;
    my $identity = RamPipe::Sync::identity($pin);
    my $at       = sub {
        my $path = shift;
        my $fd   = eval { open_no_links($path, O_PATH | O_DIRECTORY | O_NOFOLLOW) } or return;
        my $s    = stat_of($fd);
        return $s->{inode} == $identity->{inode} && device_text($s) eq $identity->{device} ? $fd : undef;
    };
    my $found = $at->($identity->{path});
    return $found if $found;
    for my $mount (mounts()) {
        next if $mount->{device} ne $identity->{device} && $mount->{type} ne 'btrfs' || $identity->{handle} eq '';
        my $path = eval {
            readlink open_handle(open_no_links($mount->{path}, O_RDONLY | O_DIRECTORY), $identity->{handle}, O_PATH)->magic_path;
        };
        $found = defined $path && $at->($path);
        return $found if $found;
    }
    RamPipe::Error::refused('cannot mount ' . shown($pin->{target}) . ' again: its directory on disk is not to be found');
}

1;
