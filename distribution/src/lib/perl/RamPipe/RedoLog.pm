package RamPipe::RedoLog;

# Redo logs, as docs/redo-log.md describes them: how records are written down, how a
# log is read and checked, how one is written.
#
# A record is a hash with its type and the fields that %layout names.

use strict;
use warnings;
no warnings 'portable';    # 64 bits are needed anyway
use RamPipe::Attributes qw(synced);
use RamPipe::Conflicts ();
use RamPipe::Crc32c qw(crc32c);
use RamPipe::Error;
use RamPipe::Linux qw(:all);
use RamPipe::Staging ();
use Exporter 'import';
our @EXPORT_OK = qw(NONE ROOT MAX_DATA is_name was is_as log_reader read_log);

use constant {
    NONE       => -1,            # no directory
    ROOT       => 0,             # the target's directory
    MAX_DATA   => 256 * 1024,
    MAX_RECORD => 512 * 1024,
    FRAME      => 16,
    MAGIC      => "RAMPIPE\n",
    VERSION    => 2,
    MAX_OFFSET => 0x7fffffffffffffff,
};

my @types = qw(none Header Directory File Size Data Hole Detach Remove PlaceDirectory PlaceFile
    FileAttributes DirectoryAttributes Footer);
my %number = map { $types[$_] => $_ } 1 .. $#types;

# Fields in their order, each with its kind.
my %layout = (
    Header => [pin => 'text32', sequence => 'offset', deferred => 'truth', file => 'truth', device => 'text32',
        inode => 'u64', handle => 'text512', target => 'path'],
    Directory => [id => 'number', inode => 'u64', old_parent => 'directory', old_name => 'any_name',
        new_parent => 'directory', new_name => 'any_name', staged => 'staged'],
    File => [id => 'number', inode => 'u64', file_type => 'number', home => 'directory', home_name => 'any_name',
        staged => 'staged'],
    Size                => [file => 'number', size => 'offset'],
    Data                => [file => 'number', offset => 'offset', length => 'number', bytes => 'rest'],
    Hole                => [file => 'number', offset => 'offset', length => 'offset'],
    Detach              => [directory => 'number'],
    Remove              => [directory => 'number', name => 'name', inode => 'u64', is_directory => 'truth',
        was => 'was'],
    PlaceDirectory      => [directory => 'number'],
    PlaceFile           => [file => 'number', directory => 'number', name => 'name', expected => 'u64',
        last => 'truth', was => 'was'],
    FileAttributes      => [file => 'number', attributes => 'attributes'],
    DirectoryAttributes => [directory => 'number', attributes => 'attributes'],
    Footer              => [records => 'u64', sum => 'u64'],
);

# Both in scalar context: a match that fails would be nothing at all among arguments.
sub check ($$) { my ($good, $otherwise) = @_; RamPipe::Error::damaged($otherwise) if !$good; return }

# The sum over all records, after one more; modulo 2**64.
sub sum {
    my ($sum, $crc) = @_;
    use integer;
    return $sum * 0x100000001b3 + $crc;
}

# Reading a payload. A cursor is [bytes, position].

sub take {
    my ($in, $length) = @_;
    check($length <= length($in->[0]) - $in->[1], 'a record is too short');
    my $bytes = substr $in->[0], $in->[1], $length;
    $in->[1] += $length;
    return $bytes;
}

sub take_bytes {
    my ($in, $most) = @_;
    my $length = unpack 'l<', take($in, 4);
    check($length >= 0 && $length <= $most, 'impossible length');
    return take($in, $length);
}

sub take_text {
    my ($in, $most) = @_;
    my $text = take_bytes($in, $most);
    check(index($text, "\0") < 0, 'a NUL in a name');
    return $text;
}

sub is_name {
    my $name = shift;
    return length $name && length $name <= 255 && index($name, '/') < 0 && $name ne '.' && $name ne '..';
}

sub at_least {
    my ($n, $least) = @_;
    check($n >= $least, 'negative number');
    return $n;
}

my %take = (
    u64       => sub { unpack 'Q<', take($_[0], 8) },
    offset    => sub { at_least(unpack('q<', take($_[0], 8)), 0) },
    number    => sub { at_least(unpack('l<', take($_[0], 4)), 0) },
    directory => sub { at_least(unpack('l<', take($_[0], 4)), NONE) },
    truth     => sub {
        my $n = unpack 'C', take($_[0], 1);
        check($n <= 1, 'neither true nor false');
        return $n;
    },
    text32   => sub { take_text($_[0], 32) },
    text512  => sub { take_text($_[0], 512) },
    path     => sub { take_text($_[0], 4096) },
    any_name => sub {
        my $name = take_text($_[0], 255);
        check($name eq '' || is_name($name), 'not a name of one component');
        return $name;
    },
    name => sub {
        my $name = take_text($_[0], 255);
        check(is_name($name), 'not a name of one component');
        return $name;
    },
    staged => sub {
        my $path = take_text($_[0], 4096);
        for my $component (split m{/}, $path, -1) {
            check(is_name($component), 'not a path below the staging directory');
        }
        return $path;
    },
    was => sub {
        my %was;
        @was{qw(size mtime mtime_ns)} = unpack 'q< q< L<', take($_[0], 20);
        check($was{size} >= -1, 'impossible size');
        check($was{mtime_ns} < 1_000_000_000, 'impossible time');
        return \%was;
    },
    rest       => sub { my $in = shift; take($in, length($in->[0]) - $in->[1]) },
    attributes => \&take_attributes,
);

sub take_attributes {
    my $in = shift;
    my %a;
    @a{qw(uid gid permissions)} = unpack 'L<3', take($in, 12);
    for my $time (qw(atime mtime)) {
        ($a{$time}, $a{"${time}_ns"}) = unpack 'q< L<', take($in, 12);
        check($a{"${time}_ns"} < 1_000_000_000, 'impossible time');
    }
    $a{keeps_user} = $take{truth}->($in);
    check(!($a{permissions} & ~07777), 'impossible mode');
    check($a{uid} != 0xffffffff && $a{gid} != 0xffffffff, 'impossible owner');
    my $count = unpack 'l<', take($in, 4);
    check($count >= 0, 'impossible number of attributes');
    $a{xattrs} = {};
    for (1 .. $count) {
        my $name = take_text($in, 255);
        check(synced($name),              'not an attribute that is synced');
        check(!exists $a{xattrs}{$name}, 'an attribute twice');
        $a{xattrs}{$name} = take_bytes($in, 65536);
    }
    return \%a;
}

# What can be seen to be wrong in a record by itself.
my %sane = (
    Header => sub {
        my $r = shift;
        check($r->{pin} =~ /^[0-9a-z]{1,32}\z/,              'not a pin id');
        check($r->{device} =~ /^[0-9]{1,10}:[0-9]{1,10}\z/, 'not a device');
        check($r->{handle} =~ /^(-?[0-9]{1,9}:([0-9a-f]{2}){1,128})?\z/, 'not a file handle');
        check($r->{target} =~ m{^/}, 'target is not absolute');
        check(!$r->{file} || is_name($r->{target} =~ s{.*/}{}sr), 'target has no name');
    },
    Directory => sub {
        my $r = shift;
        check(($r->{old_parent} == NONE) == ($r->{old_name} eq ''), 'old place without a name');
        check(($r->{new_parent} == NONE) == ($r->{new_name} eq ''), 'new place without a name');
        check($r->{id} == ROOT
            ? $r->{old_name} eq '' && $r->{new_name} eq '' && $r->{staged} eq ''
            : $r->{old_name} ne '' || $r->{new_name} ne '', 'a directory nowhere');
    },
    File => sub {
        my $r = shift;
        check((grep { $r->{file_type} == $_ } S_IFREG, S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK),
            'not a type of file');
        check(($r->{home} == NONE) == ($r->{home_name} eq ''), 'a home without a name');
        check(($r->{home} == NONE) != ($r->{staged} eq ''),    'a file needs one place');
        # A path could lead through a staged symbolic link.
        check(index($r->{staged}, '/') < 0, 'a staged file is not in the staging directory');
    },
    Data => sub {
        my $r = shift;
        check($r->{length} > 0 && $r->{length} <= MAX_DATA,         'impossible length of data');
        check($r->{length} == length $r->{bytes},                   'data of another length than told');
        check($r->{offset} <= MAX_OFFSET - $r->{length}, 'data beyond the end of all files');
    },
    Hole => sub {
        my $r = shift;
        check($r->{length} > 0 && $r->{offset} <= MAX_OFFSET - $r->{length}, 'impossible hole');
    },
);

sub decode {
    my ($number, $payload) = @_;
    my $type = $number > 0 && $number < @types ? $types[$number] : undef;
    check(defined $type, "unknown type of record $number");
    my $in     = [$payload, 0];
    my %record = (type => $type);
    my @layout = @{ $layout{$type} };
    while (my ($field, $kind) = splice @layout, 0, 2) {
        $record{$field} = $take{$kind}->($in);
    }
    check($in->[1] == length $payload, "bytes left over in a record $type");
    $sane{$type}->(\%record) if $sane{$type};
    return \%record;
}

# Returns a function that gives the next record, each checked, and undef behind the
# footer, which must be the end of the file.
sub log_reader {
    my $fd   = shift;
    my $size = stat_of($fd)->{size};
    my ($buffer, $position, $start) = ('', 0, 0);
    my ($records, $sum, $ended) = (0, 0, 0);
    my $need = sub {
        my ($bytes, $what) = @_;
        return if length($buffer) - $start >= $bytes;
        $buffer = substr($buffer, $start) . read_at($fd, 2 * MAX_RECORD, $position + length $buffer);
        $position += $start;
        $start = 0;
        check(length $buffer >= $bytes, "the file ends within $what");
    };
    $need->(16, 'the preamble');
    my ($magic, $version, $zero) = unpack 'a8 L< L<', $buffer;
    check($magic eq MAGIC, 'this is no redo log');
    check($version == VERSION && $zero == 0, "version $version of the redo log's format is not known");
    $start = 16;
    return sub {
        return if $ended;
        $need->(FRAME, 'a record');
        my ($type, $length, $crc, $null) = unpack 'l< l< L< L<', substr $buffer, $start, FRAME;
        check($length >= 0 && $length <= MAX_RECORD - FRAME && $null == 0, "impossible frame of record $records");
        my $whole = FRAME + $length + 7 & ~7;
        $need->($whole, "record $records");
        my $bytes = substr $buffer, $start, $whole;
        substr($bytes, 8, 4) = "\0\0\0\0";
        check(crc32c($bytes) == $crc, "wrong checksum of record $records");
        my $record = decode($type, substr $bytes, FRAME, $length);
        $start += $whole;
        if ($record->{type} eq 'Footer') {
            $ended = 1;
            my $told = pack('Q< Q<', $record->{records}, $record->{sum});
            check($told eq pack('Q< q<', $records, $sum),   'the footer does not fit');
            check($position + $start == $size, 'something is behind the footer');
        }
        $records++;
        $sum = sum($sum, $crc);
        return $record;
    };
}

# What a file that others may have changed since was like when the log was written:
# removing and replacing do not change these of any other file.
sub was {
    my $stat = shift;
    return { size => -1, mtime => 0, mtime_ns => 0 } if !$stat || is_directory($stat);
    return { map { $_ => $stat->{$_} } qw(size mtime mtime_ns) };
}

# Whether it still is like that.
sub is_as {
    my ($was, $now) = @_;
    return $was->{size} < 0
        || $was->{size} == $now->{size} && $was->{mtime} == $now->{mtime} && $was->{mtime_ns} == $now->{mtime_ns};
}

# Reads a log to its end and checks that it makes sense. Returns its header, the
# directories and files that it speaks of, and how much there is to do.
sub read_log {
    my ($fd, $progress) = @_;
    my $next   = log_reader($fd);
    my $header = $next->();
    check($header->{type} eq 'Header', 'no header');
    my $log = { header => $header, directories => {}, files => {}, bytes => 0, removals => 0, records => 0 };
    my ($directories, $files) = @{$log}{qw(directories files)};
    my %used = (ROOT, 1);
    my $file = sub {
        my $f = $files->{ +shift };
        check(defined $f, 'a file that is not described');
        return $f;
    };
    my $regular = sub { check($file->(shift)->{file_type} == S_IFREG, 'data for a file that has none') };
    my $moved   = sub {
        my $d = $directories->{ +shift };
        check(defined $d, 'a directory that is not described');
        check($d->{staged} ne '' && index($d->{staged}, '/') < 0 && $d->{new_name} ne '',
            'a directory is moved that has no place to go to');
    };
    my $prefix       = RamPipe::Staging::prefix($header->{sequence});
    my $of_this_log  = sub { check($_[0] eq '' || index($_[0], $prefix) == 0, 'a staged file of another log') };
    my $of_directory = sub { check(!$header->{file}, 'a directory in the log of a single file') };
    # Of a single file's directory nothing else is the log's business, but copies beside it.
    my $only      = $header->{file} ? $header->{target} =~ s{.*/}{}sr : undef;
    my $of_target = sub { check(!defined $only || $_[0] eq $only || RamPipe::Conflicts::is_copy($header->{pin}, $only, $_[0]),
        'a name beside the single file') };
    while (my $r = $next->()) {
        my $type = $r->{type};
        $log->{records}++;
        check($type ne 'Header', 'a second header');
        if ($type eq 'Directory') {
            check(!$directories->{ $r->{id} }, 'a directory twice');
            check($r->{id} != ROOT || $r->{inode} == $header->{inode}, q{another directory than the target's});
            $of_directory->() if $r->{id} != ROOT;
            $of_this_log->($r->{staged});
            $directories->{ $r->{id} } = $r;
            @used{ @{$r}{qw(old_parent new_parent)} } = ();
        } elsif ($type eq 'File') {
            check(!$files->{ $r->{id} }, 'a file twice');
            $of_this_log->($r->{staged});
            $of_target->($r->{home_name}) if $r->{home} != NONE;
            $files->{ $r->{id} } = $r;
            $used{ $r->{home} } = 1;
        } elsif ($type eq 'Size' || $type eq 'Data' || $type eq 'Hole') {
            $regular->($r->{file});
            $log->{bytes} += $r->{length} if $type eq 'Data';
            $progress->($log->{bytes}) if $progress;
        } elsif ($type eq 'Detach' || $type eq 'PlaceDirectory') {
            $moved->($r->{directory});
        } elsif ($type eq 'Remove') {
            $of_target->($r->{name});
            $used{ $r->{directory} } = 1;
            $log->{removals}++;
        } elsif ($type eq 'PlaceFile') {
            check($file->($r->{file})->{staged} ne '', 'a file is placed that was not staged');
            $of_target->($r->{name});
            $used{ $r->{directory} } = 1;
        } elsif ($type eq 'FileAttributes') {
            $file->($r->{file});
        } elsif ($type eq 'DirectoryAttributes') {
            $of_directory->();
            $used{ $r->{directory} } = 1;
        }
    }
    delete $used{ +NONE };
    for my $id (keys %used) {
        check($directories->{$id}, 'a directory that is not described');
    }
    return $log;
}

# Writing

my %put = (
    u64       => sub { pack 'Q<', $_[0] },
    offset    => sub { pack 'q<', $_[0] },
    number    => sub { pack 'l<', $_[0] },
    directory => sub { pack 'l<', $_[0] },
    truth     => sub { $_[0] ? "\1" : "\0" },
    (map { $_ => sub { pack 'l</a*', $_[0] } } qw(text32 text512 path any_name name staged)),
    was        => sub { pack 'q< q< L<', @{ $_[0] }{qw(size mtime mtime_ns)} },
    rest       => sub { $_[0] },
    attributes => sub {
        my $a = shift;
        my $x = $a->{xattrs};
        return pack('L<3 q<L< q<L< C l<', @{$a}{qw(uid gid permissions atime atime_ns mtime mtime_ns keeps_user)},
            scalar keys %$x)
            . join '', map { pack 'l</a* l</a*', $_, $x->{$_} } sort keys %$x;
    },
);

# Begins a log; open: a function that gives the descriptor once there is something to
# write.
sub writer {
    my ($class, $open) = @_;
    return bless { open => $open, buffer => pack('a8 L< L<', MAGIC, VERSION, 0), flushed => 0, records => 0, sum => 0 },
        $class;
}

sub write {
    my ($self, $type, %fields) = @_;
    my @layout = @{ $layout{$type} };
    my $payload = '';
    while (my ($field, $kind) = splice @layout, 0, 2) {
        $payload .= $put{$kind}->($fields{$field});
    }
    RamPipe::Error::refused('the attributes of a file are too large for the redo log')
        if length $payload > MAX_RECORD - FRAME;
    my $record = pack('L< L< L< L<', $number{$type}, length $payload, 0, 0) . $payload;
    $record .= "\0" x (-length($record) & 7);
    my $crc = crc32c($record);
    substr($record, 8, 4) = pack 'L<', $crc;
    $self->{buffer} .= $record;
    $self->{records}++;
    $self->{sum} = sum($self->{sum}, $crc);
    $self->flush if length $self->{buffer} >= 2 * MAX_RECORD;
    return;
}

sub length_so_far { my $self = shift; return $self->{flushed} + length $self->{buffer} }

# Writes the footer. What the log says is durable only after an fsync.
sub finish {
    my $self = shift;
    # The sum is a signed number here.
    $self->write('Footer', records => $self->{records}, sum => unpack 'Q<', pack 'q<', $self->{sum});
    $self->flush;
    return;
}

sub flush {
    my $self = shift;
    write_at($self->{open}->(), $self->{buffer}, $self->{flushed});
    $self->{flushed} += length $self->{buffer};
    $self->{buffer} = '';
    return;
}

1;
