package RamPipe::Staging;

# A pin's corner of RamPipe's directory on a disk: its redo log, and the directory of
# staged files.

use strict;
use warnings;
use Errno qw(ENOENT EEXIST);
use RamPipe::Error;
use RamPipe::Linux qw(:all);
use RamPipe::Text qw(shown);

sub new {
    my ($class, $disk, $pin) = @_;
    return bless { disk => $disk, log => "$pin.redo", uncommitted => "$pin.redo.tmp", name => "$pin.d" }, $class;
}

# Begins the name of an emptied directory.
use constant KEPT => 'kept-';

# What all names of one log's staged files begin with.
sub prefix { my $sequence = shift; return "$sequence-" }

# Keeps room for what will be written in place.
sub reserve { my $sequence = shift; return prefix($sequence) . 'reserve' }

# The directory of staged files, made if need be.
sub fd {
    my $self = shift;
    if (!$self->existing) {
        mkdir_at($self->{disk}->home, $self->{name}, 0700);
        $self->{fd} = open_directory($self->{disk}->home, $self->{name});
    }
    return $self->{fd};
}

# The directory of staged files, or undef if there is none.
sub existing {
    my $self = shift;
    return $self->{fd} if $self->{fd};
    my $home = $self->{disk}->existing_home or return;
    return if !exists_at($home, $self->{name});
    return $self->{fd} = open_directory($home, $self->{name});
}

# The committed log, or undef.
sub open_log {
    my $self = shift;
    my $home = $self->{disk}->existing_home or return;
    return if !exists_at($home, $self->{log});
    # O_NONBLOCK: whatever it is, opening it must not wait.
    my $fd = open_at($home, $self->{log}, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    RamPipe::Error::damaged('it is not a regular file') if !is_regular(stat_of($fd));
    return $fd;
}

sub has_log         { my $self = shift; return $self->has($self->{log}) }
sub has_uncommitted { my $self = shift; return $self->has($self->{uncommitted}) }

sub has {
    my ($self, $name) = @_;
    my $home = $self->{disk}->existing_home or return 0;
    return exists_at($home, $name) ? 1 : 0;
}

# An empty log to be written.
sub create_log {
    my $self = shift;
    return open_at($self->{disk}->home, $self->{uncommitted}, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
}

# The one step before which the disk is as before, and after which it is as after.
sub commit {
    my $self = shift;
    my $home = $self->{disk}->home;
    rename_at($home, $self->{uncommitted}, $home, $self->{log});
    return;
}

# Before anything of a log is applied, a power cut must not take it away any more: neither
# the one that was just committed, nor one that a killed process has left.
sub make_commit_durable { my $self = shift; sync_file($self->{disk}->home); return }

# Ends a log that has been applied durably.
sub drop_log {
    my $self = shift;
    my $home = $self->{disk}->home;
    unlink_at($home, $self->{log});
    sync_file($home);
    return;
}

# Keeps a log under another name, which is returned, with its path.
sub set_aside {
    my ($self, $as) = @_;
    my $home = $self->{disk}->home;
    for (my $i = 1;; $i++) {
        my $aside = "$self->{log}.$as-$i";
        if (eval { rename_new($home, $self->{log}, $home, $aside); 1 }) {
            sync_file($home);
            return "$self->{disk}{shown}/.rampipe/$aside" =~ s{^//}{/}r;
        }
        die $@ if !RamPipe::Error::failed($@, EEXIST);
    }
}

# Removes what was not committed.
sub discard_uncommitted {
    my $self = shift;
    unlink_at($self->{disk}->home, $self->{uncommitted}) if $self->has_uncommitted;
    return;
}

# While an overlay is mounted: directories that were on disk when it was made, and so are in its
# mask, are only emptied. It may have them still as parts of directories that have been absorbed,
# and a directory that is gone cannot be listed (ENOENT).
sub keep_directories { my ($self, $mask) = @_; $self->{mask} = $mask; return }

# Removes the staged files for whose names the test is true; if nothing is left, the
# directory itself.
sub remove_staged {
    my ($self, $test) = @_;
    my $dir = $self->existing or return;
    my $mask = $self->{mask};
    my $left = 0;
    for my $name (list_names($dir)) {
        if ((!$test || $test->($name)) && !($mask && index($name, KEPT) == 0)) {
            $left += remove_tree($dir, $name, $mask ? $mask->paths : {});
        } else {
            $left = 1;
        }
    }
    if (!$left) {
        delete $self->{fd};
        rmdir_at($self->{disk}->home, $self->{name});
    }
    return;
}

# Directories inside are moved up before they are emptied: it takes few descriptors,
# however deep programs have nested them. A mount inside stops it. Those whose inode numbers are
# keys of the last argument are kept, empty; how many are is returned.
sub remove_tree {
    my ($dir, $name, $keep) = @_;
    my @waiting = ($name);
    my ($next, $kept) = (0, 0);
    while (defined(my $top = shift @waiting)) {
        my $s = exists_at($dir, $top) or next;
        if (!is_directory($s)) {
            unlink_at($dir, $top);
            next;
        }
        my $sub = open_directory($dir, $top);
        for my $child (list_names($sub)) {
            if (!is_directory(stat_at($sub, $child))) {
                unlink_at($sub, $child);
                next;
            }
            my $up;
            do {
                $up = "$name-remove-" . $next++;
            } while exists_at($dir, $up);
            rename_new($sub, $child, $dir, $up);
            push @waiting, $up;
        }
        if ($keep && $keep->{ $s->{inode} }) {
            rename_new($dir, $top, $dir, KEPT . $s->{inode});
            $kept++;
        } else {
            rmdir_at($dir, $top);
        }
    }
    return $kept;
}

1;
