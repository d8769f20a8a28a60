package RamPipe::Upper;

# A pin's upper directory in RAM, and the index of its overlay, where the data of hard
# links is that have no name in upper (Documentation/filesystems/overlayfs.rst). Read
# only. And the mask below it, if the pin has one (RamPipe::Mask).

use strict;
use warnings;
use Errno qw(ENOENT ENOTDIR ELOOP ENXIO);
use RamPipe::Error;
use RamPipe::Linux qw(:all);
use RamPipe::Mask ();
use RamPipe::Mounts qw(mounts);
use RamPipe::Text qw(shown);

sub READ () { return O_RDONLY | O_NOFOLLOW | O_NOATIME }

# Of a pin's record; undef if the directory is not there.
sub of {
    my ($class, $pin) = @_;
    my $directory = O_RDONLY | O_DIRECTORY | O_NOATIME;
    my $open      = sub {
        my $path = shift;
        my $fd   = eval { open_no_links($path, $directory) };
        die $@ if !$fd && !RamPipe::Error::failed($@, ENOENT);
        return $fd;
    };
    my $root = $open->($pin->{attributes}{upper}) or return;
    my ($work, $mask) = @{ $pin->{attributes} }{qw(work mask)};
    $mask = $open->($mask) if defined $mask;
    return bless {
        root  => $root,
        index => (defined $work ? $open->("$work/index") : undef),
        mask  => ($mask ? RamPipe::Mask->new($mask) : undef),
        # Of a file target's directory only its own name counts.
        only => ($pin->{kind} eq 'FILE' ? $pin->{target} =~ s{.*/}{}sr : undef),
    }, $class;
}

sub whole_directory { return !defined $_[0]{only} }

# Something went away, or became something else, while it was looked at.
sub or_moving {
    my ($what, $name) = @_;
    my @result = eval { $what->() };
    return wantarray ? @result : $result[0] if !$@;
    RamPipe::Error::moving(shown($name)) if RamPipe::Error::failed($@, ENOENT, ENOTDIR, ELOOP, ENXIO);
    die $@;
}

sub stat_in { my ($dir, $name) = @_; return scalar or_moving(sub { stat_at($dir, $name) }, $name) }

sub open_in {
    my ($dir, $name, $flags) = @_;
    return scalar or_moving(sub { open_at($dir, $name, $flags) }, $name);
}

sub open_path {
    my ($self, $path) = @_;
    return scalar or_moving(sub { open_beneath($self->{root}, $path, O_RDONLY | O_DIRECTORY | O_NOATIME) }, $path);
}

# The names in a directory of the layer that are the pin's business.
sub names {
    my ($self, $dir) = @_;
    return list_names($dir) if !defined $self->{only} || $dir->{number} != $self->{root}{number};
    return exists_at($dir, $self->{only}) ? ($self->{only}) : ();
}

# Names in the index of files that have no name in upper.
sub only_in_index {
    my $self = shift;
    return if !$self->{index};
    return grep { $_->[1]{links} == 1 && !is_directory($_->[1]) && !is_whiteout_device($_->[1]) }
        map { [$_, stat_in($self->{index}, $_)] } list_names($self->{index});
}

sub is_whiteout_device { my $s = shift; return $s->{type} == S_IFCHR && $s->{rdev_major} == 0 && $s->{rdev_minor} == 0 }

# Whether the entry says that the name below is gone.
sub is_whiteout {
    my ($dir, $name, $s) = @_;
    return 1 if is_whiteout_device($s);
    # Linux 6.7 knows whiteouts that are empty files; only in directories marked so.
    return 0 if !is_regular($s) || $s->{size} != 0 || (xattr_get($dir, 'trusted.overlay.opaque') // '') ne 'x';
    return defined xattr_get(open_in($dir, $name, O_PATH | O_NOFOLLOW), 'trusted.overlay.whiteout');
}

sub is_opaque { my $dir = shift; return (xattr_get($dir, 'trusted.overlay.opaque') // '') eq 'y' }

# The path that a directory merges with: absolute from the target, or a name beside it.
sub redirect { my $dir = shift; return xattr_get($dir, 'trusted.overlay.redirect') }

sub refuse_metacopy {
    my $fd = shift;
    RamPipe::Error::refused("$fd is in RAM without its data (metacopy=on), so it cannot be brought to disk")
        if defined xattr_get($fd, 'trusted.overlay.metacopy');
    return;
}

# The lower file from which this was copied up, as a handle; undef if none is told.
sub origin {
    my $fd = shift;
    my $b  = xattr_get($fd, 'trusted.overlay.origin');
    return if !defined $b || length $b <= 21;
    # Version 0, magic 0xfb, length; flags: 1 for big endian, 2 for any, 4 for upper; type; UUID; handle.
    my ($version, $magic, $length, $flags, $type) = unpack 'C5', $b;
    return if $version != 0 || $magic != 0xfb || $length > length $b || $length <= 21 || $flags & ~3;
    return "$type:" . unpack 'H*', substr $b, 21, $length - 21;
}

# What there is to see of all names and attributes in the layer: a text that differs if
# anything changed (all writes but those through shared mappings show in change times),
# the newest change, and how much there is.
sub look {
    my $self = shift;
    my $seen = { entries => [], newest => 0, files => 0, bytes => 0 };
    my $top  = stat_of($self->{root});
    add($seen, 0, '', $top);
    $self->look_in($self->{root}, $top->{inode}, $seen);
    for my $entry ($self->only_in_index) {
        add($seen, -1, @$entry);
        $seen->{files}++;
        $seen->{bytes} += $entry->[1]{size};
    }
    return $seen;
}

sub look_in {
    no warnings 'recursion';
    my ($self, $dir, $inode, $seen) = @_;
    for my $name ($self->names($dir)) {
        my $s = stat_in($dir, $name);
        add($seen, $inode, $name, $s);
        if (is_directory($s)) {
            $self->look_in(open_in($dir, $name, READ | O_DIRECTORY), $s->{inode}, $seen);
        } else {
            $seen->{files}++;
            $seen->{bytes} += $s->{size} if is_regular($s);
        }
    }
    return;
}

sub add {
    my ($seen, $parent, $name, $s) = @_;
    push @{ $seen->{entries} }, join ' ', $parent,
        @{$s}{qw(inode device size mode links mtime mtime_ns ctime ctime_ns)}, $name;
    my $change = $s->{ctime} + $s->{ctime_ns} / 1e9;
    $seen->{newest} = $change if $change > $seen->{newest};
    return;
}

sub same_look { return join("\0", sort @{ $_[0]{entries} }) eq join "\0", sort @{ $_[1]{entries} } }

# Files that programs have mapped shared and writable through the overlay of this pin,
# as /proc/PID/maps shows them: by the overlay's inode numbers, which are those of the
# lower or of the upper file; before Linux 6.8 as the upper file itself. Writing through a mapping changes a tmpfs file's times only
# with the first write to each page.
sub mapped {
    my $pin     = shift;
    my %devices = map { sprintf('%02x:%02x', split /:/, $_->{device}) => 1 } grep { $_->{source} eq "rampipe:$pin->{id}" } mounts();
    my %mapped;
    return \%mapped if !%devices;
    if (my $upper = RamPipe::Upper->of($pin)) {
        my $s = stat_of($upper->{root});
        $devices{ sprintf '%02x:%02x', $s->{dev_major}, $s->{dev_minor} } = 1;
    }
    opendir my $proc, '/proc' or return \%mapped;
    for my $process (grep { /^[0-9]+\z/ } readdir $proc) {
        open my $maps, '<', "/proc/$process/maps" or next;
        while (my $line = <$maps>) {
            my (undef, $rights, undef, $device, $inode) = split / +/, $line, 6;
            $mapped{ $inode + 0 } = 1 if $rights =~ /^.w.s/ && $devices{$device};
        }
    }
    return \%mapped;
}

1;
