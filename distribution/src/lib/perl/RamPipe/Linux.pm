package RamPipe::Linux;

# System calls that Perl has no words for, above all those that take a directory's
# descriptor: users own the directories that root works in here, and could put a
# link in place of any path in the middle of the work.
#
# Names are bytes. A name handed to these functions is best a single component. All
# of them throw RamPipe::Error of kind system.

use strict;
use warnings;
use Errno qw(EINTR EAGAIN ENOENT EOPNOTSUPP ENODATA ENXIO EIO EEXIST);
use POSIX ();
use RamPipe::Error;
use RamPipe::Fd;
use RamPipe::Text qw(shown);
use Exporter 'import';

our @EXPORT_OK = qw(
    open_at open_beneath open_beneath_same_mount open_no_links open_directory reopen_path
    stat_of stat_at stat_behind exists_at list_names
    mkdir_at mknod_at symlink_at link_at link_fd unlink_at rmdir_at rename_at rename_new
    readlink_of readlink_at chown_of chmod_of set_times
    xattrs xattr_get xattr_set xattr_remove xattr_supported
    read_at write_at next_data next_hole truncate_to allocate punch_hole sync_file sync_file_system
    room open_handle handle_of clone_tree unmount_at mount_bind attach_mount fs_open fs_config fs_flag fs_mount
    ioctl_on read_aligned write_aligned make_node loop_device
    lease_write let_open now check_machine pause
    O_DIRECT O_RDONLY O_WRONLY O_RDWR O_CREAT O_EXCL O_TRUNC O_APPEND O_NONBLOCK O_NOATIME O_PATH O_DIRECTORY O_NOFOLLOW
    S_IFMT S_IFDIR S_IFREG S_IFLNK S_IFCHR S_IFBLK S_IFIFO S_IFSOCK
    is_directory is_regular is_symlink device_text same_file unchanged MOUNT_ROOT
);
our %EXPORT_TAGS = (all => \@EXPORT_OK);

use constant {
    O_RDONLY   => 0,
    O_WRONLY   => 1,
    O_RDWR     => 2,
    O_CREAT    => 0100,
    O_EXCL     => 0200,
    O_TRUNC    => 01000,
    O_APPEND   => 02000,
    O_NONBLOCK => 04000,
    O_NOATIME  => 01000000,
    O_CLOEXEC  => 02000000,
    O_PATH     => 010000000,

    S_IFMT   => 0170000,
    S_IFDIR  => 0040000,
    S_IFREG  => 0100000,
    S_IFLNK  => 0120000,
    S_IFCHR  => 0020000,
    S_IFBLK  => 0060000,
    S_IFIFO  => 0010000,
    S_IFSOCK => 0140000,

    MOUNT_ROOT => 0x2000,    # statx: STATX_ATTR_MOUNT_ROOT

    AT_FDCWD            => -100,
    AT_SYMLINK_NOFOLLOW => 0x100,
    AT_REMOVEDIR        => 0x200,
    AT_NO_AUTOMOUNT     => 0x800,
    AT_EMPTY_PATH       => 0x1000,

    RESOLVE_NO_XDEV       => 0x01,
    RESOLVE_NO_MAGICLINKS => 0x02,
    RESOLVE_NO_SYMLINKS   => 0x04,
    RESOLVE_BENEATH       => 0x08,
};

# x86_64: asm/unistd_64.h; aarch64: asm-generic/unistd.h. Calls since Linux 5.1 have
# the same number everywhere.
my %numbers = (
    x86_64 => {
        openat => 257, close => 3, pread64 => 17, pwrite64 => 18, lseek => 8, ftruncate => 77, fallocate => 285,
        fsync => 74, syncfs => 306, mkdirat => 258, mknodat => 259, unlinkat => 263, renameat2 => 316,
        linkat => 265, symlinkat => 266, readlinkat => 267, fchownat => 260, fchmodat => 268, utimensat => 280,
        statx => 332, getdents64 => 217, fcntl => 72, name_to_handle_at => 303, open_by_handle_at => 304,
        umount2 => 166, mount => 165, fstatfs => 138, getxattr => 191, setxattr => 188, listxattr => 194,
        removexattr => 197, prlimit64 => 302, clock_gettime => 228, ioctl => 16,
    },
    aarch64 => {
        openat => 56, close => 57, pread64 => 67, pwrite64 => 68, lseek => 62, ftruncate => 46, fallocate => 47,
        fsync => 82, syncfs => 267, mkdirat => 34, mknodat => 33, unlinkat => 35, renameat2 => 276,
        linkat => 37, symlinkat => 36, readlinkat => 78, fchownat => 54, fchmodat => 53, utimensat => 88,
        statx => 291, getdents64 => 61, fcntl => 25, name_to_handle_at => 264, open_by_handle_at => 265,
        umount2 => 39, mount => 40, fstatfs => 44, getxattr => 8, setxattr => 5, listxattr => 11,
        removexattr => 14, prlimit64 => 261, clock_gettime => 113, ioctl => 29,
    },
);
my %everywhere = (openat2 => 437, open_tree => 428, move_mount => 429, fsopen => 430, fsconfig => 431, fsmount => 432);

my $machine = (POSIX::uname())[4];
my %sys     = (%{ $numbers{$machine} || {} }, %everywhere);
my $arm     = $machine eq 'aarch64';

sub O_DIRECTORY () { return $arm ? 040000  : 0200000 }
sub O_NOFOLLOW ()  { return $arm ? 0100000 : 0400000 }
sub O_DIRECT ()    { return $arm ? 0200000 : 040000 }

RamPipe::Fd::closes_with($sys{close} || 0);

# Complains if these system calls cannot be made here.
sub check_machine {
    RamPipe::Error::refused("this is $machine; rampipe-rescue knows the system calls of x86_64 and aarch64 only")
        if !$numbers{$machine};
    RamPipe::Error::refused('this Perl has no 64-bit integers, which rampipe-rescue needs')
        if length pack('J', 0) < 8;
    RamPipe::Error::refused('/proc is not mounted: mount -t proc proc /proc') if !-d '/proc/self/fd';
    return;
}

sub failure {
    my ($what, $subject) = @_;
    my $number = $! + 0;
    RamPipe::Error->throw('system', "cannot $what" . (defined $subject && length "$subject" ? " $subject" : '') . ": $!",
        $number);
}

# syscall() hands over a number as a number and a string as its address, into which
# the kernel may write: so @_ is not copied, and strings must be copies ("$name"), never
# constants, nor have been used as numbers.
sub call {
    my $number = $sys{ +shift };
    my $n;
    do {
        $n = syscall($number, @_);
    } while ($n < 0 && $! == EINTR);
    return $n;
}

sub number { return ref $_[0] ? $_[0]{number} : AT_FDCWD }

# Opening

sub opened {
    my ($n, $name) = @_;
    failure('open', shown($name)) if $n < 0;
    return RamPipe::Fd->new($n, $name);
}

# openat(2), close-on-exec. Follows links unless O_NOFOLLOW is given. Without a
# directory the name is a path.
sub open_at {
    my ($dir, $name, $flags, $mode) = @_;
    my $n = call('openat', number($dir), "$name", $flags | O_CLOEXEC, $mode || 0);
    return opened($n, $name);
}

# A directory right below another, never through a link.
sub open_directory {
    my ($dir, $name) = @_;
    return open_at($dir, $name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

sub openat2 {
    my ($dir, $path, $flags, $resolve) = @_;
    my $how  = pack('Q3', $flags | O_CLOEXEC, 0, $resolve);
    my $name = length $path ? "$path" : '.';
    my $n;
    do {
        # EAGAIN: something was renamed while the kernel made sure that the path stays beneath.
        $n = call('openat2', number($dir), $name, $how, length $how);
    } while ($n < 0 && $! == EAGAIN && !($flags & O_NONBLOCK));
    return opened($n, $path);
}

# No symbolic link anywhere on the way, no way out of the directory.
sub open_beneath {
    return openat2(@_[0 .. 2], RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
}

# And no mount point on the way either.
sub open_beneath_same_mount {
    return openat2(@_[0 .. 2], RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV);
}

# An absolute path with no symbolic link anywhere.
sub open_no_links {
    my ($path, $flags) = @_;
    return openat2(undef, $path, $flags, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
}

# What is open, perhaps with O_PATH, with other flags.
sub reopen_path {
    my ($fd, $flags) = @_;
    my $n = call('openat', AT_FDCWD, $fd->magic_path, $flags | O_CLOEXEC, 0);
    return opened($n, $fd->{name});
}

# Looking

# A hash with what statx(2) says; times in s and ns.
sub statx {
    my ($dir, $name, $flags, $subject) = @_;
    my $buffer = "\0" x 256;
    # STATX_BASIC_STATS and STATX_MNT_ID
    call('statx', number($dir), "$name", $flags, 0x17ff, $buffer) < 0 and failure('look at', $subject);
    my %s;
    @s{qw(mask attributes links uid gid mode inode size blocks atime atime_ns ctime ctime_ns mtime mtime_ns
            rdev_major rdev_minor dev_major dev_minor mount)}
        = unpack 'L x4 Q L L L S x2 Q Q Q x8 q L x4 x16 q L x4 q L x4 L L L L Q', $buffer;
    $s{mount} = 0 if !($s{mask} & 0x1000);
    $s{device} = $s{dev_major} << 32 | $s{dev_minor};
    $s{type}   = $s{mode} & S_IFMT;
    return \%s;
}

sub stat_of { my $fd = shift; return statx($fd, '', AT_EMPTY_PATH, $fd) }

# A link itself.
sub stat_at {
    my ($dir, $name) = @_;
    return statx($dir, $name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, shown($name));
}

# What a link, as those in /proc, leads to.
sub stat_behind {
    my ($dir, $name) = @_;
    return statx($dir, $name, AT_NO_AUTOMOUNT, shown($name));
}

# As stat_at; undef if there is no such name.
sub exists_at {
    my ($dir, $name) = @_;
    my $s = eval { stat_at($dir, $name) };
    if (!$s) {
        my $e = $@;
        return if RamPipe::Error::failed($e, ENOENT);
        die $e;
    }
    return $s;
}

sub is_directory { return $_[0]{type} == S_IFDIR }
sub is_regular   { return $_[0]{type} == S_IFREG }
sub is_symlink   { return $_[0]{type} == S_IFLNK }
sub device_text  { return "$_[0]{dev_major}:$_[0]{dev_minor}" }
sub same_file    { return $_[0]{device} == $_[1]{device} && $_[0]{inode} == $_[1]{inode} }

# The same file, and no sign of a change.
sub unchanged {
    my ($x, $y) = @_;
    for my $field (qw(device inode mode size mtime mtime_ns ctime ctime_ns)) {
        return 0 if $x->{$field} != $y->{$field};
    }
    return 1;
}

# The names in a directory from its start, sorted, without . and ..
sub list_names {
    my $dir = shift;
    call('lseek', number($dir), 0, 0) < 0 and failure('list', $dir);
    my @names;
    my $buffer = "\0" x 65536;
    while (1) {
        my $n = call('getdents64', number($dir), $buffer, length $buffer);
        failure('list', $dir) if $n < 0;
        last if $n == 0;
        my $at = 0;
        while ($at < $n) {
            my ($length) = unpack 'S', substr $buffer, $at + 16, 2;
            my $name = unpack 'Z*', substr $buffer, $at + 19, $length - 19;
            push @names, $name if $name ne '.' && $name ne '..';
            $at += $length;
        }
    }
    @names = sort @names;
    return @names;
}

sub readlink_at {
    my ($dir, $name) = @_;
    my $buffer = "\0" x 4097;
    my $n = call('readlinkat', number($dir), "$name", $buffer, length $buffer);
    failure('read the link', shown($name)) if $n < 0;
    return substr $buffer, 0, $n;
}

# Of a link that is open with O_PATH and O_NOFOLLOW.
sub readlink_of { return readlink_at($_[0], '') }

# Names

sub mkdir_at {
    my ($dir, $name, $mode) = @_;
    call('mkdirat', number($dir), "$name", $mode) < 0 and failure('make the directory', shown($name));
    return;
}

sub mknod_at {
    my ($dir, $name, $mode, $major, $minor) = @_;
    my $device = ($major & 0xfff) << 8 | ($major & 0xfffff000) << 32 | $minor & 0xff | ($minor & 0xffffff00) << 12;
    call('mknodat', number($dir), "$name", $mode, $device) < 0 and failure('make the special file', shown($name));
    return;
}

sub symlink_at {
    my ($text, $dir, $name) = @_;
    call('symlinkat', "$text", number($dir), "$name") < 0 and failure('make the symbolic link', shown($name));
    return;
}

sub link_at {
    my ($old_dir, $old, $new_dir, $new) = @_;
    call('linkat', number($old_dir), "$old", number($new_dir), "$new", 0) < 0
        and failure('link', shown($old) . ' to ' . shown($new));
    return;
}

# A new name for an open file (CAP_DAC_READ_SEARCH).
sub link_fd {
    my ($fd, $dir, $name) = @_;
    call('linkat', number($fd), my $empty = '', number($dir), "$name", AT_EMPTY_PATH) < 0
        and failure('link', "$fd to " . shown($name));
    return;
}

sub unlink_at {
    my ($dir, $name) = @_;
    call('unlinkat', number($dir), "$name", 0) < 0 and failure('remove', shown($name));
    return;
}

sub rmdir_at {
    my ($dir, $name) = @_;
    call('unlinkat', number($dir), "$name", AT_REMOVEDIR) < 0 and failure('remove the directory', shown($name));
    return;
}

sub rename_with {
    my ($flags, $old_dir, $old, $new_dir, $new) = @_;
    call('renameat2', number($old_dir), "$old", number($new_dir), "$new", $flags) < 0
        and failure('rename', shown($old) . ' to ' . shown($new));
    return;
}

# Over whatever has the new name.
sub rename_at { return rename_with(0, @_) }

# EEXIST if the new name is there.
sub rename_new { return rename_with(1, @_) }

# Attributes. Descriptors of O_PATH will do, those of links included.

# Clears set-user-id bits: set the mode afterwards.
sub chown_of {
    my ($fd, $uid, $gid) = @_;
    call('fchownat', number($fd), my $empty = '', $uid, $gid, AT_EMPTY_PATH) < 0 and failure('change the owner of', $fd);
    return;
}

sub chmod_of {
    my ($fd, $mode) = @_;
    call('fchmodat', AT_FDCWD, $fd->magic_path, $mode) < 0 and failure('change the mode of', $fd);
    return;
}

sub set_times {
    my ($fd, $atime, $atime_ns, $mtime, $mtime_ns) = @_;
    my $times = pack 'q4', $atime, $atime_ns, $mtime, $mtime_ns;
    call('utimensat', AT_FDCWD, $fd->magic_path, $times, 0) < 0 and failure('set the times of', $fd);
    return;
}

sub xattrs {
    my $fd     = shift;
    my $buffer = "\0" x 65536;
    my $n      = call('listxattr', $fd->magic_path, $buffer, length $buffer);
    if ($n < 0) {
        return if $! == EOPNOTSUPP;
        failure('list the attributes of', $fd);
    }
    return split /\0/, substr $buffer, 0, $n;
}

# undef if there is none.
sub xattr_get {
    my ($fd, $name) = @_;
    my $buffer = "\0" x 65536;
    my $n      = call('getxattr', $fd->magic_path, "$name", $buffer, length $buffer);
    if ($n < 0) {
        return if $! == ENODATA || $! == EOPNOTSUPP;
        failure('get the attribute ' . shown($name) . ' of', $fd);
    }
    return substr $buffer, 0, $n;
}

# Whether the file system can hold attributes of that name at all.
sub xattr_supported {
    my ($fd, $name) = @_;
    return call('getxattr', $fd->magic_path, "$name", my $none = '', 0) >= 0 || $! != EOPNOTSUPP;
}

sub xattr_set {
    my ($fd, $name, $value) = @_;
    call('setxattr', $fd->magic_path, "$name", "$value", length $value, 0) < 0
        and failure('set the attribute ' . shown($name) . ' of', $fd);
    return;
}

sub xattr_remove {
    my ($fd, $name) = @_;
    call('removexattr', $fd->magic_path, "$name") < 0
        and $! != ENODATA
        and failure('remove the attribute ' . shown($name) . ' of', $fd);
    return;
}

# Data

# As many bytes as asked for, unless the file ends.
sub read_at {
    my ($fd, $length, $offset) = @_;
    my $bytes = '';
    while (length $bytes < $length) {
        my $buffer = "\0" x ($length - length $bytes);
        my $n      = call('pread64', number($fd), $buffer, length $buffer, $offset + length $bytes);
        failure('read', $fd) if $n < 0;
        last if $n == 0;
        return $buffer if $n == $length;
        $bytes .= substr $buffer, 0, $n;
    }
    return $bytes;
}

sub write_at {
    my ($fd, $bytes, $offset) = @_;
    my $done = 0;
    while ($done < length $bytes) {
        my $rest = $done ? substr $bytes, $done : $bytes;
        my $n    = call('pwrite64', number($fd), $rest, length $rest, $offset + $done);
        if ($n <= 0) {
            $! = EIO if $n == 0;
            failure('write', $fd);
        }
        $done += $n;
    }
    return;
}

# First offset from there that holds data; undef if there is none.
sub next_data {
    my ($fd, $offset) = @_;
    my $n = call('lseek', number($fd), $offset, 3);
    if ($n < 0) {
        return if $! == ENXIO;
        failure('look for data in', $fd);
    }
    return $n + 0;
}

# First offset from there that holds none.
sub next_hole {
    my ($fd, $offset) = @_;
    my $n = call('lseek', number($fd), $offset, 4);
    failure('look for holes in', $fd) if $n < 0;
    return $n + 0;
}

sub truncate_to {
    my ($fd, $size) = @_;
    call('ftruncate', number($fd), $size) < 0 and failure('set the size of', $fd);
    return;
}

sub allocate {
    my ($fd, $length) = @_;
    call('fallocate', number($fd), 0, 0, $length) < 0 and failure('reserve room for', $fd);
    return;
}

sub punch_hole {
    my ($fd, $offset, $length) = @_;
    # FALLOC_FL_KEEP_SIZE and FALLOC_FL_PUNCH_HOLE
    call('fallocate', number($fd), 3, $offset, $length) < 0 and failure('punch a hole into', $fd);
    return;
}

sub sync_file { my $fd = shift; call('fsync', number($fd)) < 0 and failure('fsync', $fd); return }

sub sync_file_system { my $fd = shift; call('syncfs', number($fd)) < 0 and failure('sync the file system of', $fd); return }

# Bytes that root may still write there.
sub room {
    my $fd     = shift;
    my $buffer = "\0" x 256;
    call('fstatfs', number($fd), $buffer) < 0 and failure('ask for the room on the disk of', $fd);
    my ($type, $block, $blocks, $free) = unpack 'q4', $buffer;
    return $free * $block;
}

# File handles: type:hex, as in pin records and redo logs.

sub handle_of {
    my $fd     = shift;
    my $handle = pack('LlL32', 128, 0, (0) x 32);
    my $mount  = pack 'L', 0;
    call('name_to_handle_at', number($fd), my $empty = '', $handle, $mount, AT_EMPTY_PATH) < 0
        and failure('get the file handle of', $fd);
    my ($length, $type) = unpack 'Ll', $handle;
    return "$type:" . unpack 'H*', substr $handle, 8, $length;
}

# The mount: any descriptor on the file system.
sub open_handle {
    my ($mount, $text, $flags) = @_;
    my ($type, $hex) = split /:/, $text, 2;
    my $bytes  = pack 'H*', $hex;
    my $handle = pack('Ll', length $bytes, $type) . $bytes;
    my $n      = call('open_by_handle_at', number($mount), $handle, $flags | O_CLOEXEC);
    return opened($n, "file handle $text");
}

# Mounts

# A private, detached copy of the mount that is open, without the mounts on it:
# through it one sees what they cover. It goes with its descriptor.
sub clone_tree {
    my $fd = shift;
    # OPEN_TREE_CLONE
    my $n = call('open_tree', number($fd), my $empty = '', 1 | O_CLOEXEC | AT_EMPTY_PATH);
    failure('copy the mount of', $fd) if $n < 0;
    return RamPipe::Fd->new($n, $fd->{name});
}

# What is on top at that name; never lazily, never through a link.
sub unmount_at {
    my ($dir, $name) = @_;
    my $path = (ref $dir ? $dir->magic_path . '/' : '') . $name;
    # UMOUNT_NOFOLLOW
    call('umount2', $path, 8) < 0 and failure('unmount', shown($name));
    return;
}

# Both are descriptors of O_PATH.
sub mount_bind {
    my ($from, $over) = @_;
    # MS_BIND
    call('mount', $from->magic_path, $over->magic_path, my $type = '', 4096, 0) < 0 and failure('bind over', $over);
    return;
}

sub fs_open {
    my $type = shift;
    my $n    = call('fsopen', "$type", 1);
    failure('use the file system', $type) if $n < 0;
    return RamPipe::Fd->new($n, $type);
}

# One option of a mount being made; without a name: make it.
sub fs_config {
    my ($fd, $name, $value) = @_;
    # FSCONFIG_SET_STRING, FSCONFIG_CMD_CREATE
    my $n
        = defined $name
        ? call('fsconfig', number($fd), 1, "$name", "$value", 0)
        : call('fsconfig', number($fd), 6, 0, 0, 0);
    failure('mount', (defined $name ? "$name=" . shown($value) . ' of ' : '') . $fd) if $n < 0;
    return;
}

# An option that has no value.
sub fs_flag {
    my ($fd, $name) = @_;
    # FSCONFIG_SET_FLAG
    call('fsconfig', number($fd), 0, "$name", 0, 0) < 0 and failure('mount', "$name of $fd");
    return;
}

# The mount that was made, not attached to anything yet.
sub fs_mount {
    my ($fd, $attributes) = @_;
    # FSMOUNT_CLOEXEC
    my $n = call('fsmount', number($fd), 1, $attributes);
    failure('mount', $fd) if $n < 0;
    return RamPipe::Fd->new($n, $fd->{name});
}

sub attach_mount {
    my ($tree, $over) = @_;
    # MOVE_MOUNT_F_EMPTY_PATH and MOVE_MOUNT_T_EMPTY_PATH
    call('move_mount', number($tree), my $empty = '', number($over), my $too = '', 0x44) < 0
        and failure('mount over', $over);
    return;
}

# Leases (fcntl(2), F_SETLEASE). Whoever opens the file waits, until the descriptor is
# closed or, by default, for 45 s. False if it cannot be had, as when it is open.
sub lease_write {
    my $fd = shift;
    # F_SETSIG: SIGURG, which is ignored by default, instead of SIGIO, which kills.
    return call('fcntl', number($fd), 10, 23) >= 0 && call('fcntl', number($fd), 1024, 1) >= 0;
}

# Seconds since the epoch, with fractions.
sub now {
    my $time = pack 'q2', 0, 0;
    call('clock_gettime', 0, $time) < 0 and failure('read', 'the clock');
    my ($seconds, $nanos) = unpack 'q2', $time;
    return $seconds + $nanos / 1e9;
}

# Room for that many open files if it can be had; returns how many there may be.
sub let_open {
    my $wanted = shift;
    my $limits = "\0" x 16;
    # RLIMIT_NOFILE
    call('prlimit64', 0, 7, 0, $limits) < 0 and failure('ask', 'how many files may be open');
    my ($soft, $hard) = unpack 'Q2', $limits;
    return $soft if $soft >= $wanted;
    my $new = pack 'Q2', $wanted, $hard > $wanted ? $hard : $wanted;
    return $wanted if call('prlimit64', 0, 7, $new, 0) >= 0;
    $new = pack 'Q2', $hard, $hard;
    return call('prlimit64', 0, 7, $new, 0) >= 0 ? $hard : $soft;
}

# Waits a moment: for what the kernel tells nobody of.
sub pause { select undef, undef, undef, $_[0]; return }

# Devices

# A command of a driver. The string is what it reads, and is overwritten with what it answers;
# without one there is none. Returns the kernel's own result, negative on failure, with $! set.
sub ioctl_on {
    my ($fd, $request) = @_;
    return defined $_[2] ? call('ioctl', number($fd), $request + 0, $_[2]) : call('ioctl', number($fd), $request + 0, 0);
}

# A block of an open device past the kernel's own pages of it: with O_DIRECT its address in
# memory has to be a multiple of the block, too.
sub read_aligned {
    my ($fd, $length, $offset) = @_;
    my $buffer = "\0" x ($length + 4096);
    my $pad    = -unpack('J', pack 'p', $buffer) & 4095;
    my $n      = call('pread64', number($fd), unpack('J', pack 'p', $buffer) + $pad, $length, $offset);
    failure('read', $fd) if $n < 0;
    return substr $buffer, $pad, $n;
}

sub write_aligned {
    my ($fd, $bytes, $offset) = @_;
    my $buffer = "\0" x (length($bytes) + 4096);
    my $pad    = -unpack('J', pack 'p', $buffer) & 4095;
    substr($buffer, $pad, length $bytes) = $bytes;
    my $n = call('pwrite64', number($fd), unpack('J', pack 'p', $buffer) + $pad, length $bytes, $offset);
    $! = EIO if $n >= 0 && $n < length $bytes;
    failure('write', $fd) if $n < length $bytes;
    return;
}

# Opens a block device, for which /dev may have no node: by one in that directory, for a moment.
sub make_node {
    my ($dir, $name, $major, $minor, $flags) = @_;
    unlink_at($dir, $name) if exists_at($dir, $name);
    mknod_at($dir, $name, S_IFBLK | 0600, $major, $minor);
    my $fd = eval { open_at($dir, $name, $flags | O_NOFOLLOW) };
    my $e  = $@;
    unlink_at($dir, $name);
    die $e if !$fd;
    return $fd;
}

# A loop device on an open file (loop(4)), for reading only; a directory that may have nodes.
# Clears itself when nobody has it open any more. Returns its descriptor and its minor number.
sub loop_device {
    my ($file, $size, $label, $nodes) = @_;
    my $control = open_at(undef, '/dev/loop-control', O_RDWR);
    for (1 .. 100) {
        # LOOP_CTL_GET_FREE
        my $minor = ioctl_on($control, 0x4c82);
        failure('find a free loop device for', $file) if $minor < 0;
        my $fd = make_node($nodes, 'loop', 7, $minor, O_RDONLY);
        # struct loop_config: LO_FLAGS_READ_ONLY and LO_FLAGS_AUTOCLEAR
        my $config = pack 'L L Q5 L4 a64 a64 a32 Q2 Q8', number($file), 0, 0, 0, 0, 0, $size, 0, 0, 0, 5,
            substr($label, 0, 63), '', '', (0) x 10;
        return ($fd, $minor) if ioctl_on($fd, 0x4c0a, $config) >= 0;
        failure('make a loop device of', $file) if !$!{EBUSY};
    }
    RamPipe::Error::busy('others take each free loop device');
}

1;
