package RamPipe::Mask;

# The layer of a pin's overlay between upper and lower, in RAM: all directories that were on
# disk, nothing in them but whiteouts. A name that is put on disk while the overlay is mounted
# gets a whiteout here first. So an overlay shows it as long as its upper layer has it, and
# never again after a program has deleted it there, although overlayfs leaves no whiteout where
# it sees nothing below (docs/redo-log.md, "The mask").
#
# Paths are those on disk as the overlay knows them, below the target.

use strict;
use warnings;
use Errno qw(ENOENT ENOTDIR EEXIST);
use RamPipe::Error;
use RamPipe::Linux qw(:all);

# Inode number of the directory on disk, 8 bytes, big endian.
sub INODE () { return 'trusted.overlay.rampipe.inode' }

# Its file handle as text (see RamPipe::Linux::handle_of), if it has one.
sub HANDLE () { return 'trusted.overlay.rampipe.handle' }

# An existing one, open.
sub new {
    my ($class, $root) = @_;
    return bless { root => $root }, $class;
}

# Inode number of the directory that was on disk at a path when it was pinned; 0 if there
# was none.
sub inode {
    my ($self, $path) = @_;
    my $dir = $self->directory($path) or return 0;
    return number_of($dir);
}

sub number_of {
    my $dir   = shift;
    my $bytes = xattr_get($dir, INODE);
    return defined $bytes && length $bytes == 8 ? unpack 'Q>', $bytes : 0;
}

# File handle of the directory that was on disk at a path when it was pinned; undef if none is
# known.
sub handle {
    my ($self, $path) = @_;
    my $dir    = $self->directory($path) or return;
    my $handle = xattr_get($dir, HANDLE);
    return defined $handle && $handle =~ /^\d+:(?:[0-9a-f]{2})+\z/ ? $handle : undef;
}

# Paths of all directories that were on disk when it was pinned, but for the target, by inode
# number.
sub paths {
    my $self = shift;
    return $self->{paths} ||= do {
        my %paths;
        my @waiting = ([$self->{root}, '']);
        while (my $next = pop @waiting) {
            my ($dir, $path) = @$next;
            for my $name (list_names($dir)) {
                next if !is_directory(stat_at($dir, $name));
                my $sub    = open_directory($dir, $name);
                my $child  = $path eq '' ? $name : "$path/$name";
                my $number = number_of($sub);
                $paths{$number} = $child if $number;
                push @waiting, [$sub, $child];
            }
        }
        \%paths;
    };
}

# The names in a directory that have a whiteout here.
sub hidden {
    my ($self, $path) = @_;
    my $dir = $self->directory($path) or return;
    return grep { is_whiteout($dir, $_) } list_names($dir);
}

# Hides what is, or will be, on disk under a name. False where it cannot be hidden: in
# directories that have come to the disk later, which the overlay shows as they are.
sub hide {
    my ($self, $path, $name) = @_;
    my $dir = $self->directory($path) or return $self->is_hidden($path);
    return 1 if eval { mknod_at($dir, $name, S_IFCHR, 0, 0); 1 };
    return 1 if RamPipe::Error::failed($@, EEXIST);
    die $@;
}

# Undef if it has none of that path.
sub directory {
    my ($self, $path) = @_;
    my $dir = eval { open_beneath($self->{root}, $path, O_RDONLY | O_DIRECTORY) };
    return $dir if $dir || RamPipe::Error::failed($@, ENOENT, ENOTDIR);
    die $@;
}

# Whether a directory, or one that it is in, has a whiteout.
sub is_hidden {
    my ($self, $path) = @_;
    while ($path ne '') {
        my ($parent, $name) = $path =~ m{^(?:(.*)/)?([^/]+)\z}s;
        $path = $parent // '';
        my $dir = $self->directory($path);
        return is_whiteout($dir, $name) if $dir;
    }
    return 0;
}

sub is_whiteout {
    my ($dir, $name) = @_;
    my $s = exists_at($dir, $name);
    return $s && $s->{type} == S_IFCHR && !$s->{rdev_major} && !$s->{rdev_minor};
}

1;
