package RamPipe::Snapshot;

# A pin that is a snapshot in RAM of one file on disk (docs/snapshot-pins.md): the devices
# rampipe-ID and rampipe-ID-snapshot, the store, and what is in them. Two forms: programs see
# a file of a small file system, most of which is the snapshot ("snapshot"), or the snapshot
# itself, a block device ("snapshot-block").

use strict;
use warnings;
use Errno qw(EINVAL ENOENT EAGAIN EBUSY);
use POSIX ();
use RamPipe::Attributes qw(attributes_of);
use RamPipe::DeviceMapper ();
use RamPipe::Disk ();
use RamPipe::Error;
use RamPipe::Linux qw(:all);
use RamPipe::Mounts qw(mounts);
use RamPipe::Overlay ();
use RamPipe::Sync ();
use RamPipe::Text qw(shown);

use constant {
    BLOCK    => 4096,
    SECTORS  => 8,
    MAGIC    => 0x70416e53,
    PAIRS    => 256,         # exceptions in a block of the store
    FREEZE   => 0xc0045877,  # FIFREEZE
    THAW     => 0xc0045878,  # FITHAW
    FIEMAP   => 0xc020660b,
    EXTENTS  => 256,
    UNWRITTEN => 0x800,
    # LAST, MERGED, SHARED, UNWRITTEN: what an extent may be and still be where it says.
    UNDERSTOOD => 0x1 | 0x1000 | 0x2000 | 0x800,
    PATIENCE => 5,
};

sub is_one { my $pin = shift; return $pin->{format} eq 'snapshot' || $pin->{format} eq 'snapshot-block' }

# Nothing of a record that is not as RamPipe writes it is believed.
sub of {
    my ($class, $pin, $directory) = @_;
    my $a  = $pin->{attributes};
    my $no = sub { RamPipe::Error::refused("its record $_[0]; its RAM is kept") };
    for my $key (qw(snapshot.device snapshot.node snapshot.blocks file.inode lower.device lower.inode)) {
        $no->("has no $key") if !defined $a->{$key};
    }
    my $device = "rampipe-$pin->{id}";
    $no->('names a device that is not its own') if $a->{'snapshot.device'} ne $device
        || defined $a->{'snapshot.origin'} && $a->{'snapshot.origin'} !~ /^\Q$device\E(?:-snapshot)?\z/;
    $no->('has impossible numbers')
        if grep { defined && !/^[0-9]{1,18}\z/ } @{$a}{qw(snapshot.blocks snapshot.first file.size)};
    my $store = "$directory/store";
    $no->('names a store that is not its own') if $a->{'snapshot.node'} ne "$store/rampipe:$pin->{id}"
        || defined $a->{'snapshot.store'} && $a->{'snapshot.store'} ne "$store/changes";
    $a->{hidden} = "$directory/hidden";
    my $self = bless { pin => $pin, directory => $directory, store => $store, device => $device,
        snapshot => $a->{'snapshot.origin'}, blocks => $a->{'snapshot.blocks'},
        first => $a->{'snapshot.first'} // 0, is_block => $pin->{format} eq 'snapshot-block' }, $class;
    $no->('has no file.size') if $self->{is_block} && !defined $a->{'file.size'};
    return $self;
}

# Whether it is still there: RAM goes with a reboot, the runtime directory need not.
sub exists { my $self = shift; return RamPipe::DeviceMapper::find($self->{device}) ? 1 : 0 }

sub store_directory { my $self = shift; return open_no_links($self->{store}, O_RDONLY | O_DIRECTORY) }

# Bytes in the store of changes. Dies of kind lost if the snapshot is not valid any more.
sub stored {
    my $self = shift;
    return 0 if !$self->{blocks};
    my (undef, $status) = RamPipe::DeviceMapper::status($self->{snapshot});
    my ($used, $meta) = $status =~ m{^(\d+)/\d+ (\d+)\z}
        or RamPipe::Error->throw('lost', "the kernel says of its snapshot: $status");
    return ($used - $meta) * 512;
}

# How often the device is open, by the mount or anything else.
sub users { my $self = shift; my $d = RamPipe::DeviceMapper::find($self->{device}); return $d ? $d->{open} : 0 }

# For people: who uses it, beside processes.
sub kernel_users {
    my $self = shift;
    return if !$self->{is_block};
    my $open = $self->users or return;
    my @loops;
    for my $file (glob '/sys/block/loop*/loop/backing_file') {
        open my $in, '<', $file or next;
        my $path = <$in> // '';
        chomp $path;
        push @loops, $file =~ m{/(loop\d+)/} if $path =~ m{(?:^|/)\Q$self->{pin}{target}\E\z} || $path eq '/file';
    }
    return @loops ? (join ', ', map { "/dev/$_" } @loops) . ' on its device'
        : "something that has its device $self->{device} open ($open), such as a mount or a loop device";
}

# What is wrong at the moment, for people: what a dead daemon has left in the middle of something.
sub leftovers {
    my $self = shift;
    my @left;
    my $top = RamPipe::DeviceMapper::find($self->{device}) or return;
    push @left, 'programs that use it wait, since a dead daemon holds it' if $top->{suspended};
    my $under = $self->{snapshot} && $self->{snapshot} ne $self->{device} && RamPipe::DeviceMapper::find($self->{snapshot});
    if ($under) {
        my ($type) = RamPipe::DeviceMapper::table($self->{snapshot});
        push @left, 'a merge was begun' if $under->{suspended} || $under->{loaded} || $type eq 'snapshot-merge';
    }
    return @left;
}

# Ends what a dead daemon has left in the middle of something: a merge, a device that is
# suspended, a file system that is frozen. In this order: nothing that programs write may reach
# the file on disk before it is in a redo log.
sub go_on {
    my $self = shift;
    my $under = $self->{snapshot} && $self->{snapshot} ne $self->{device} && RamPipe::DeviceMapper::find($self->{snapshot});
    if ($under) {
        my ($type) = RamPipe::DeviceMapper::table($self->{snapshot});
        $self->snapshot_again if $under->{suspended} || $under->{loaded} || $type eq 'snapshot-merge';
    }
    my $top = RamPipe::DeviceMapper::find($self->{device}) or return;
    RamPipe::DeviceMapper::resume($self->{device}) if $top->{suspended};
    return if $self->{is_block};
    my $root = $self->mount;
    thaw(open_at($root, my $here = '.', O_RDONLY | O_DIRECTORY));
    return;
}

# Puts the snapshot back in the place of a merge: what was merged is read from disk, the rest
# from the store. On a loop device of its own, so that the kernel reads the store anew.
sub snapshot_again {
    my $self = shift;
    my $name = $self->{snapshot};
    RamPipe::DeviceMapper::suspend($name);
    my ($type, $table) = RamPipe::DeviceMapper::table($name);
    my ($origin, $store) = split / /, $table;
    my $a    = $self->{pin}{attributes};
    my $size = $self->{is_block} ? $a->{'file.size'} : $self->{blocks} * BLOCK;
    my $file = $self->file_on_disk
        or RamPipe::Error::refused('its file on disk is not to be found, so that the merge cannot be ended');
    my ($loop, $minor) = loop_device($file, $size, $self->{device}, $self->store_directory);
    RamPipe::DeviceMapper::load($name, $size / 512, 'snapshot', "7:$minor $store P " . SECTORS);
    RamPipe::DeviceMapper::resume($name);
    return;
}

# The file on disk that the snapshot is of, open for reading; undef if others have replaced it.
sub file_on_disk {
    my $self  = shift;
    my $pin   = $self->{pin};
    my $place = RamPipe::Disk::find(RamPipe::Sync::identity($pin));
    my $name  = $pin->{target} =~ s{.*/}{}sr;
    my $s     = exists_at($place->{directory}, $name);
    return if !$s || !is_regular($s) || $s->{inode} ne $pin->{attributes}{'file.inode'};
    return open_lower($place, $name, O_RDONLY);
}

# A daemon that was killed in the middle of pinning has left its lease with the loop device,
# which has the same open file. The kernel ends it when somebody has waited long enough.
sub open_lower {
    my ($place, $name, $flags) = @_;
    my $break = 45;
    if (open my $in, '<', '/proc/sys/fs/lease-break-time') {
        $break = <$in> + 0;
    }
    my $until = now() + $break + PATIENCE;
    while (1) {
        my $fd = eval {
            open_beneath_same_mount($place->{directory}, $name, $flags | O_NOFOLLOW | O_NONBLOCK | O_NOATIME);
        };
        return $fd if $fd;
        die $@ if !RamPipe::Error::failed($@, EAGAIN) || now() > $until;
        pause(0.2);
    }
}

# A mount of its file system that nobody sees; of the same file system that programs use.
sub mount {
    my $self = shift;
    my $fs   = fs_open('ext4');
    fs_config($fs, 'source', $self->{pin}{attributes}{'snapshot.node'});
    fs_flag($fs, $_) for qw(noinit_itable nodiscard);
    fs_config($fs);
    # MOUNT_ATTR_NODEV, MOUNT_ATTR_NOATIME
    return fs_mount($fs, 0x4 | 0x10);
}

sub thaw {
    my $root = shift;
    my $none = "\0" x 4;
    ioctl_on($root, THAW, $none) >= 0 || $!{EINVAL}
        or RamPipe::Error->throw('system', "cannot thaw the file system: $!", $! + 0);
    return;
}

# Looking

# Makes what is in it readable.
sub open {
    my $self = shift;
    if (!$self->{is_block}) {
        $self->{root} = open_at($self->mount, my $here = '.', O_RDONLY | O_DIRECTORY);
        $self->{file} = open_at($self->{root}, 'file', O_RDONLY | O_NOFOLLOW);
    }
    return if !$self->{blocks};
    if (!defined $self->{pin}{attributes}{'snapshot.split'}) {
        $self->{changes} = open_at(undef, $self->{pin}{attributes}{'snapshot.store'}, O_RDONLY | O_NOFOLLOW);
        return;
    }
    # A device, of which a part is in RAM and the rest on disk: the one in force, past the kernel's own pages of it.
    my (undef, $table) = RamPipe::DeviceMapper::table($self->{snapshot});
    my ($major, $minor) = $table =~ /^\S+ (\d+):(\d+) / or RamPipe::Error::refused('its snapshot has no store');
    $self->{changes} = make_node($self->store_directory, 'device', $major, $minor, O_RDONLY | O_DIRECT);
    return;
}

# A block of the store.
sub store_block {
    my ($self, $place) = @_;
    return defined $self->{pin}{attributes}{'snapshot.split'}
        ? read_aligned($self->{changes}, BLOCK, $place * BLOCK) : read_at($self->{changes}, BLOCK, $place * BLOCK);
}

sub close {
    my $self = shift;
    $self->release;
    delete @{$self}{qw(file root changes origin)};
    return;
}

# Holds who writes, until release; also if this program dies: a child waits for that.
sub hold {
    my $self = shift;
    return if $self->{held};
    pipe my $ours, my $theirs or RamPipe::Error::refused("cannot make a pipe: $!");
    my $end;
    pipe $end, my $begun or RamPipe::Error::refused("cannot make a pipe: $!");
    my $child = fork // RamPipe::Error::refused("cannot fork: $!");
    if (!$child) {
        eval {
            local @SIG{qw(TERM INT HUP)} = ('IGNORE') x 3;
            CORE::close $theirs;
            CORE::close $end;
            syswrite $begun, 'x';
            CORE::close $begun;
            # Only if the other end is closed without a word.
            $self->let_go if !sysread $ours, my $word, 1;
        };
        POSIX::_exit(0);
    }
    CORE::close $ours;
    CORE::close $begun;
    sysread $end, my $ready, 1;
    @{$self}{qw(guard guard_pipe held)} = ($child, $theirs, 1);
    my $held = eval {
        if ($self->{is_block}) {
            RamPipe::DeviceMapper::suspend($self->{device});
        } else {
            my $none = "\0" x 4;
            ioctl_on($self->{root}, FREEZE, $none) >= 0
                or RamPipe::Error->throw('system', "cannot freeze the file system: $!", $! + 0);
        }
        1;
    };
    return if $held;
    my $e = $@;
    $self->dismiss;
    die $e;
}

sub let_go { my $self = shift; return $self->{is_block} ? RamPipe::DeviceMapper::resume($self->{device}) : thaw($self->{root}) }

sub release {
    my $self = shift;
    return if !$self->{held};
    $self->let_go;
    $self->dismiss;
    return;
}

sub dismiss {
    my $self = shift;
    delete $self->{held};
    syswrite $self->{guard_pipe}, 'x';
    CORE::close delete $self->{guard_pipe};
    waitpid delete $self->{guard}, 0;
    return;
}

sub size { my $self = shift; return $self->{is_block} ? $self->{pin}{attributes}{'file.size'} : stat_of($self->{file})->{size} }

# Stands for what is in it, as the daemon writes it into the record before an unmount (settled).
sub version {
    my $self = shift;
    if ($self->{is_block}) {
        my $d = RamPipe::DeviceMapper::find($self->{device});
        CORE::open my $in, '<', "/sys/dev/block/$d->{major}:$d->{minor}/stat" or return '';
        my @s = split ' ', <$in>;
        return join ':', $s[6], $s[13] // '';
    }
    my $s = stat_of($self->{file});
    return "$s->{size}:$s->{ctime}.$s->{ctime_ns}:$s->{mtime}.$s->{mtime_ns}:" . $self->stored;
}

# Where in the store each block is that has been changed (drivers/md/dm-snap-persistent.c).
sub places {
    my $self = shift;
    return {} if !$self->{changes};
    my ($magic, $valid, $version, $chunk) = unpack 'L<4', $self->store_block(0);
    RamPipe::Error::refused('its store is not that of a snapshot with chunks of 4 KiB')
        if ($magic // 0) != MAGIC || $version != 1 || $chunk != SECTORS;
    RamPipe::Error->throw('lost', 'its store says that it is not valid') if !$valid;
    my %places;
    for (my $area = 0;; $area++) {
        my @pairs = unpack 'Q<*', $self->store_block(1 + $area * (PAIRS + 1));
        while (my ($from, $to) = splice @pairs, 0, 2) {
            return \%places if !$to;
            RamPipe::Error::refused("its store speaks of block $from of $self->{blocks}") if $from >= $self->{blocks};
            $places{$from} = $to;
        }
        return \%places if keys %places < ($area + 1) * PAIRS;
    }
}

# Where the blocks of its file are: list of [logical, physical, length, unwritten], in bytes.
sub extents {
    my $self  = shift;
    my $start = 0;
    my @all;
    while (1) {
        my $map = pack('Q2 L4', $start, ~0 - $start, 0, 0, EXTENTS, 0) . "\0" x (56 * EXTENTS);
        ioctl_on($self->{file}, FIEMAP, $map) >= 0
            or RamPipe::Error->throw('system', "cannot ask where the blocks of its file are: $!", $! + 0);
        my $n = unpack 'x20 L', $map;
        return @all if !$n;
        for my $i (0 .. $n - 1) {
            my ($logical, $physical, $length, $flags) = unpack 'Q3 x16 L', substr $map, 32 + 56 * $i, 56;
            RamPipe::Error::refused('its file has an extent that is not understood')
                if $flags & ~UNDERSTOOD || ($logical | $physical | $length) % BLOCK;
            push @all, [$logical, $physical, $length, $flags & UNWRITTEN];
            return @all if $flags & 1;
            $start = $logical + $length;
        }
    }
}

# What may differ from the file on disk, without reading data: hash of data and holes, lists of
# [from, to] in blocks; referenced and moved, hashes of blocks that are still read from the disk
# at their own and at another place.
sub plan {
    my $self   = shift;
    my $size   = $self->size;
    my $end    = int(($size + BLOCK - 1) / BLOCK);
    my $places = $self->{places} = $self->places;
    my %plan   = (size => $size, data => [], holes => [], referenced => {}, moved => {});
    my $add    = sub {
        my ($list, $from, $to) = @_;
        return if $from >= $to;
        if (@$list && $list->[-1][1] == $from) { $list->[-1][1] = $to } else { push @$list, [$from, $to] }
    };
    if ($self->{is_block}) {
        $add->($plan{data}, $_, $_ + 1) for sort { $a <=> $b } keys %$places;
        return \%plan;
    }
    my $next = 0;
    for my $e ($self->extents) {
        my ($from, $physical, $count, $unwritten) = ($e->[0] / BLOCK, $e->[1] / BLOCK, $e->[2] / BLOCK, $e->[3]);
        my $to = $from + $count;
        $add->($plan{holes}, $next, $from < $end ? $from : $end);
        $next = $to if $to > $next;
        if ($unwritten) {
            $add->($plan{holes}, $from, $to < $end ? $to : $end);
            next;
        }
        for my $b ($from .. $to - 1) {
            my $home = $physical + $b - $from - $self->{first};
            if ($home >= 0 && $home < $self->{blocks} && !$places->{$home}) {
                $plan{referenced}{$home} = 1;
                next if $home == $b && $b < $end;
                $plan{moved}{$home} = 1;
            }
            $add->($plan{data}, $b, $b + 1) if $b < $end;
        }
    }
    $add->($plan{holes}, $next, $end);
    return \%plan;
}

# What programs see, while it is held.
sub read {
    my ($self, $length, $offset) = @_;
    return read_at($self->{file}, $length, $offset) if !$self->{is_block};
    # A device that is suspended answers nobody.
    my $size = $self->size;
    $length = $size - $offset if $offset + $length > $size;
    my $bytes = '';
    while (length $bytes < $length) {
        my $at    = $offset + length $bytes;
        my $in    = $at % BLOCK;
        my $place = $self->{places}{ int($at / BLOCK) };
        my $want  = $length - length $bytes;
        $want = BLOCK - $in if $want > BLOCK - $in;
        my $block = $place ? $self->store_block($place) : $self->origin_block($at - $in);
        RamPipe::Error::refused('the store or the origin of its snapshot is too short') if length $block < $in + $want;
        $bytes .= substr $block, $in, $want;
    }
    return $bytes;
}

# Of the file as the snapshot has it, whatever has its name by now.
sub origin_block {
    my ($self, $at) = @_;
    if (!$self->{origin}) {
        my (undef, $table) = RamPipe::DeviceMapper::table($self->{snapshot});
        my ($major, $minor) = $table =~ /^(\d+):(\d+) / or RamPipe::Error::refused('its snapshot has no origin');
        $self->{origin} = make_node($self->store_directory, 'origin', $major, $minor, O_RDONLY | O_DIRECT);
    }
    return read_aligned($self->{origin}, BLOCK, $at);
}

# Puts blocks into the snapshot's store as they are, so that they are not read from disk any
# more. Only while it is held.
sub store_blocks {
    my ($self, @which) = @_;
    return if !@which;
    my $d = RamPipe::DeviceMapper::find($self->{snapshot});
    my $snapshot = make_node($self->store_directory, 'snapshot', $d->{major}, $d->{minor}, O_RDWR | O_DIRECT);
    for my $b (sort { $a <=> $b } @which) {
        write_aligned($snapshot, read_aligned($snapshot, BLOCK, $b * BLOCK), $b * BLOCK);
    }
    return;
}

# What the file on disk is to have beside its data; below may be missing.
sub attributes {
    my ($self, $below) = @_;
    return attributes_of($self->{file}, stat_of($self->{file})) if !$self->{is_block};
    my $now = now();
    my $a   = $below
        ? attributes_of($below, stat_of($below))
        : { uid => 0, gid => 0, permissions => 0600, atime => int $now, atime_ns => 0, keeps_user => 0, xattrs => {} };
    @{$a}{qw(mtime mtime_ns)} = (int $now, 0);
    return $a;
}

# Taking away. Once nothing of it is mounted over anything, and everything is on disk. What is
# in RAM goes with it. Can be done again.
sub remove {
    my $self = shift;
    $self->close;
    my $directory = eval { open_no_links($self->{directory}, O_RDONLY | O_DIRECTORY) };
    die $@ if !$directory && !RamPipe::Error::failed($@, ENOENT);
    unmount_patiently($directory, 'hidden') if $directory;
    for my $name (map { "$self->{device}$_" } '', qw(-snapshot -store0 -store1)) {
        eval { RamPipe::DeviceMapper::remove($name); 1 } and next;
        die $@ if !RamPipe::Error::failed($@, EBUSY);
        RamPipe::Error::busy("its device $name is in use, perhaps as a loop device (losetup --list) or mounted");
    }
    unmount_patiently($directory, 'store') if $directory;
    return;
}

# What is mounted there, if anything is.
sub unmount_patiently {
    my ($directory, $name) = @_;
    my $until = now() + PATIENCE;
    while (1) {
        my $s = exists_at($directory, $name) or return;
        return if !($s->{attributes} & MOUNT_ROOT);
        next if eval { unmount_at($directory, $name); 1 };
        return if RamPipe::Error::failed($@, EINVAL, ENOENT);
        die $@ if !RamPipe::Error::failed($@, EBUSY) || now() > $until;
        pause(0.01);
    }
}

# Stores in a pool, whether there is a record or not: hash of path, by id.
sub stores {
    my $pool = shift;
    return map { $_->{path} =~ m{^\Q$pool\E/([0-9a-z]{1,32})/store\z} ? ($1 => $_->{path}) : () }
        grep { $_->{source} eq 'rampipe-store' } mounts();
}

1;
