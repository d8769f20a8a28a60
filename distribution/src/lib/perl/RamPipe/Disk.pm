package RamPipe::Disk;

# A disk seen past everything mounted on it, through a private copy of one of its
# mounts: renames and links work only within one mount. And RamPipe's own directory
# at the root of that mount, with the redo logs and staged files of pins.

use strict;
use warnings;
use Errno qw(ENOENT ENOTDIR ELOOP EACCES ESTALE EINVAL EXDEV EEXIST EOPNOTSUPP EPERM ENOSYS EROFS);
use RamPipe::Error;
use RamPipe::Linux qw(:all);
use RamPipe::Mounts qw(mounts);
use RamPipe::Text qw(shown);

use constant { HOME => '.rampipe', HOME_MODE => 0700 };

# Where no disk can be that RamPipe pins from: the kernel's own, RAM, and what may
# hang because it is elsewhere.
my %elsewhere = map { $_ => 1 } qw(
    proc sysfs devtmpfs devpts cgroup cgroup2 securityfs debugfs tracefs configfs pstore bpf efivarfs mqueue
    hugetlbfs autofs binfmt_misc rpc_pipefs nfsd fusectl selinuxfs nsfs ramfs overlay squashfs iso9660 erofs
    nfs nfs4 cifs smb3 smbfs 9p afs ceph ncpfs coda fuse virtiofs lustre gfs2 ocfs2);

# The disk behind a mount; undef if it cannot be reached, being covered, or is no directory.
sub open {
    my ($class, $mount) = @_;
    my $self = eval {
        my $top = open_no_links($mount->{path}, O_PATH | O_DIRECTORY);
        die RamPipe::Error->new('refused', 'covered') if stat_of($top)->{mount} != $mount->{id};
        my $tree = clone_tree($top);
        my $root = open_at($tree, my $here = '.', O_RDONLY | O_DIRECTORY);
        bless { shown => $mount->{path}, tree => $tree, root => $root, stat => stat_of($root),
            read_only => $mount->{read_only}, mount_device => $mount->{device} }, $class;
    };
    return $self if $self;
    my $e = $@;
    return if RamPipe::Error::is($e, 'refused')
        || RamPipe::Error::failed($e, ENOENT, ENOTDIR, ELOOP, EACCES, ESTALE, EINVAL);
    die $e;
}

# Mounts of a device: those of the whole file system first, and those that may be
# written to. Mounts of btrfs are all taken, because there files have other device
# numbers than mounts.
sub mounts_of {
    my $device = shift;
    return
        sort { ($a->{root} ne '/') <=> ($b->{root} ne '/') || $a->{read_only} <=> $b->{read_only}
            || ($a->{device} ne $device) <=> ($b->{device} ne $device) }
        grep { $_->{device} eq $device || $_->{type} eq 'btrfs' } mounts();
}

# All disks with a directory of RamPipe's that the file system of that directory has.
sub of_directory {
    my $path   = shift;
    my $fd     = open_at(undef, $path, O_PATH | O_DIRECTORY);
    my $device = device_text(stat_of($fd));
    return grep { $_ && exists_at($_->{root}, HOME) } map { RamPipe::Disk->open($_) } mounts_of($device);
}

# All disks of this machine that have one.
sub all {
    my @disks;
    for my $mount (sort { $a->{root} cmp $b->{root} } mounts()) {
        next if $elsewhere{ $mount->{type} =~ s/\..*//sr };
        my $disk = RamPipe::Disk->open($mount) or next;
        # Only what is certainly RamPipe's: anybody may make a directory of that name elsewhere.
        my $s = exists_at($disk->{root}, HOME) or next;
        push @disks, $disk if is_directory($s) && $s->{uid} == 0 && $s->{gid} == 0 && ($s->{mode} & 07777) == HOME_MODE;
    }
    return @disks;
}

# Where a target's directory is, whatever is mounted over it: its identity is a hash
# of device, inode, handle (perhaps empty) and path (for messages, and where there is
# no handle). Returns the disk with the directory.
sub find {
    my $identity = shift;
    for my $mount (mounts_of($identity->{device})) {
        my $disk = RamPipe::Disk->open($mount) or next;
        my $place = $disk->place($identity, 0);
        return $place if $place;
    }
    RamPipe::Error::refused(shown($identity->{path})
            . " (inode $identity->{inode} on device $identity->{device}) is not to be found on disk;"
            . ' if its disk is not mounted, mount it');
}

# The target's directory on this disk: a hash of disk, directory, stat. undef if it is
# not there.
sub place {
    my ($self, $identity, $search) = @_;
    my $fd = $self->directory($identity, $search) or return;
    my $s = stat_of($fd);
    return if !is_directory($s) || $s->{inode} != $identity->{inode} || $s->{mount} != $self->{stat}{mount};
    return if defined $identity->{device} && device_text($s) ne $identity->{device};
    return { disk => $self, directory => $fd, stat => $s };
}

sub directory {
    my ($self, $identity, $search) = @_;
    my ($handle, $path, $inode) = @{$identity}{qw(handle path inode)};
    if ($handle ne '') {
        my $fd = eval { open_handle($self->{root}, $handle, O_RDONLY | O_DIRECTORY) };
        return $fd if $fd;
        my $e = $@;
        # The file system has handles, and this one leads nowhere: the directory is gone, and its inode number may
        # be another's by now.
        return if RamPipe::Error::failed($e, ESTALE, ENOENT, ENOTDIR);
        die $e if !RamPipe::Error::failed($e, EOPNOTSUPP, EPERM, ENOSYS, EINVAL);
    }
    my $below = below($self->{shown}, $path);
    if (defined $below) {
        my $fd = eval { open_beneath_same_mount($self->{root}, $below, O_RDONLY | O_DIRECTORY) };
        return $fd if $fd && stat_of($fd)->{inode} == $inode;
    }
    return $search ? $self->search($inode) : undef;
}

# What is left of a path behind that of a mount; undef if it is not below it.
sub below {
    my ($mount, $path) = @_;
    $mount =~ s{/\z}{};
    return "$path/" =~ m{^\Q$mount\E/} ? substr($path, length $mount) =~ s{^/+}{}r : undef;
}

# The directory with that inode number, by looking at all: only where the file system,
# or a container, has no file handles.
sub search {
    my ($self, $inode) = @_;
    my @waiting = (open_at($self->{root}, my $here = '.', O_RDONLY | O_DIRECTORY));
    while (my $dir = pop @waiting) {
        return $dir if stat_of($dir)->{inode} == $inode;
        for my $name (list_names($dir)) {
            my $s = exists_at($dir, $name) or next;
            next if !is_directory($s) || $s->{mount} != $self->{stat}{mount} || $s->{device} != $self->{stat}{device};
            my $sub = eval { open_directory($dir, $name) } or next;
            push @waiting, $sub;
        }
    }
    return;
}

# Whether that pin is mounted over something on this disk. The source of a snapshot's mount is the
# path of its device.
sub is_covered_by {
    my ($self, $pin) = @_;
    my @mounts = mounts();
    my %device = map { $_->{id} => $_->{device} } @mounts;
    return scalar
        grep { $_->{source} =~ m{(?:^|/)rampipe:\Q$pin\E\z} && ($device{ $_->{parent} } // '') eq $self->{mount_device} } @mounts;
}

# RamPipe's directory, or undef if there is none. Nobody else can look into it or plant
# anything there: otherwise it is refused.
sub existing_home {
    my $self = shift;
    return $self->{home} if $self->{home};
    return if !exists_at($self->{root}, HOME);
    my $where = shown(($self->{shown} eq '/' ? '' : $self->{shown}) . '/' . HOME);
    my $not   = sub { RamPipe::Error::refused("$where $_[0], so it is not RamPipe's: move it away") };
    my $fd    = eval { open_directory($self->{root}, HOME) };
    if (!$fd) {
        $not->('is not a directory') if RamPipe::Error::failed($@, ELOOP, ENOTDIR);
        die $@;
    }
    my $s = stat_of($fd);
    $not->('is another file system') if $s->{device} != $self->{stat}{device} || $s->{mount} != $self->{stat}{mount};
    $not->("belongs to $s->{uid}:$s->{gid}") if $s->{uid} != 0 || $s->{gid} != 0;
    $not->(sprintf 'has mode %04o', $s->{mode} & 07777) if ($s->{mode} & 07777) != HOME_MODE;
    return $self->{home} = $fd;
}

# The same, made if need be.
sub home {
    my $self = shift;
    if (!exists_at($self->{root}, HOME)) {
        eval { mkdir_at($self->{root}, HOME, HOME_MODE); 1 }
            or RamPipe::Error::failed($@, EEXIST)
            or die $@;
    }
    return $self->existing_home;
}

# The same, to be written to.
sub writable {
    my $self = shift;
    RamPipe::Error::refused(shown($self->{shown}) . ' is mounted read-only: mount -o remount,rw '
            . shown($self->{shown})) if $self->{read_only};
    return $self->existing_home;
}

1;
