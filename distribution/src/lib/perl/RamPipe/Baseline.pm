package RamPipe::Baseline;

# What a pin's directory on disk was like when RamPipe last left it, in the file that the
# daemon keeps beside the upper layer: docs/redo-log.md has its format ("Baseline").
# Numbers are all unsigned in here.

use strict;
use warnings;
no warnings 'portable';    # 64 bits are needed anyway
use Errno qw(ENOENT ENOTDIR ELOOP);
use RamPipe::Crc32c qw(crc32c);
use RamPipe::Error;
use RamPipe::Linux qw(:all);

use constant {
    MAGIC   => 'XRAMPSBA',
    VERSION => 1,
    NAME    => 1,
    STATE   => 2,
    LOOSE   => 1 << 63,    # as a change time: not to be compared
};
use constant { SIZE => 0, CHANGE => 1, REST => 2, LINKS => 3 };

my %length = (+NAME, 24, +STATE, 48);

# Undef if there is no such file, or it is of another version. What a writer that was
# killed has not finished is left out.
sub load {
    my ($class, $path) = @_;
    my $fd = eval { open_no_links($path, O_RDWR | O_NOFOLLOW) };
    if (!$fd) {
        return if RamPipe::Error::failed($@, ENOENT);
        die $@;
    }
    my $bytes = read_at($fd, stat_of($fd)->{size}, 0);
    return if length $bytes < 16 || substr($bytes, 0, 8) ne MAGIC || unpack('x8 L<', $bytes) != VERSION;
    my $self = bless { fd => $fd, names => {}, states => {}, directories => 0, pending => '' }, $class;
    my $at = 16;
    while ($at + 8 <= length $bytes) {
        my ($crc, $type) = unpack 'L<2', substr $bytes, $at, 8;
        my $record = substr $bytes, $at, $length{$type} // last;
        last if length $record != $length{$type} || crc32c(substr $record, 4) != $crc;
        my ($key, @values) = unpack 'x8 Q<*', $record;
        if ($type == NAME) {
            $self->{names}{$key} = $values[0];
        } else {
            $self->{states}{$key} = \@values;
            $self->{directories} = $values[SIZE] if $values[CHANGE] == LOOSE && $values[SIZE] > $self->{directories};
        }
        $at += length $record;
    }
    $self->{length} = $at;
    return $self;
}

# Looking

# Inode number that the name had; 0 if there was none, or the directory is not known.
sub inode { my ($self, $directory, $name) = @_; return $self->{names}{ $self->key($directory, $name) } // 0 }

# Whether the name is as it was; now: what has it, or undef. A directory is if it is the
# same one. A file is if nothing but its number of links or its access time has changed.
sub same {
    my ($self, $directory, $name, $now) = @_;
    my $before = $self->inode($directory, $name);
    return !$now && !$before if !$now || !$before;
    return $before == $now->{inode} && (is_directory($now) || $self->untouched($now));
}

# Whether a file, whatever its names, is as it was; of a directory, its owner and mode.
# False if it was not there.
sub untouched {
    my ($self, $now) = @_;
    my $was = $self->{states}{ $now->{inode} };
    return 0 if !$was || $was->[REST] != rest($now);
    return 1 if is_directory($now);
    return 0 if $was->[SIZE] != $now->{size};
    # A link made or removed counts as a change of the file, but is none of its contents.
    return $was->[CHANGE] == LOOSE || $was->[CHANGE] == change($now) || $was->[LINKS] != $now->{links};
}

sub knows { my ($self, $inode) = @_; return exists $self->{states}{$inode} }

# Whether the directory had the mode and owner of another one.
sub had_mode_of {
    my ($self, $directory, $other) = @_;
    my $was = $self->{states}{$directory};
    return $was && $was->[REST] == rest($other);
}

# Learning

# There is this directory now, with no names in it so far.
sub directory { my ($self, $s) = @_; return $self->put($s->{inode}, ++$self->{directories}, LOOSE, rest($s), 0) }

# That is what the file, or the directory's owner and mode, is like now.
sub refresh {
    my ($self, $s) = @_;
    return $self->put($s->{inode}, $s->{size}, change($s), rest($s), $s->{links}) if !is_directory($s);
    my $was = $self->{states}{ $s->{inode} };
    $self->put($s->{inode}, $was->[SIZE], LOOSE, rest($s), 0) if $was;
    return;
}

# The name has that file or directory now.
sub name {
    my ($self, $directory, $name, $s) = @_;
    $self->put_name($directory, $name, $s->{inode});
    $self->refresh($s) if !is_directory($s);
    return;
}

# The name is free now.
sub remove {
    my ($self, $directory, $name) = @_;
    $self->put_name($directory, $name, 0) if $self->inode($directory, $name);
    return;
}

# The file's change time is about to change without the file.
sub loosen {
    my ($self, $inode) = @_;
    my $was = $self->{states}{$inode} or return;
    $self->put($inode, $was->[SIZE], LOOSE, @{$was}[REST, LINKS]);
    return;
}

# Everything below a directory, and the directory itself, is as it is now.
sub tree {
    my ($self, $top) = @_;
    my @waiting = ($top);
    while (my $dir = pop @waiting) {
        my $own = stat_of($dir);
        $self->directory($own);
        for my $name (list_names($dir)) {
            my $s = exists_at($dir, $name) or next;
            $self->name($own->{inode}, $name, $s);
            next if !is_directory($s) || $s->{device} != $own->{device};
            push @waiting, eval { open_directory($dir, $name) } // do {
                die $@ if !RamPipe::Error::failed($@, ENOENT, ENOTDIR, ELOOP);
                ();
            };
        }
    }
    return;
}

sub put_name {
    my ($self, $directory, $name, $inode) = @_;
    my $key = $self->key($directory, $name) or return;
    return if ($self->{names}{$key} // -1) == $inode;
    $self->{names}{$key} = $inode;
    $self->record(NAME, $key, $inode);
    return;
}

sub put {
    my ($self, $inode, @values) = @_;
    my $was = $self->{states}{$inode};
    return if $was && "@$was" eq "@values";
    $self->{states}{$inode} = \@values;
    $self->record(STATE, $inode, @values);
    return;
}

sub record {
    my ($self, $type, @numbers) = @_;
    my $record = pack 'L< Q<*', $type, @numbers;
    $self->{pending} .= pack('L<', crc32c($record)) . $record;
    return;
}

# Brings the file up to date. Whoever is killed meanwhile leaves what is whole of it.
sub save {
    my $self = shift;
    return if $self->{pending} eq '';
    truncate_to($self->{fd}, $self->{length});
    write_at($self->{fd}, $self->{pending}, $self->{length});
    $self->{length} += length $self->{pending};
    $self->{pending} = '';
    return;
}

# Names are keyed by more than the directory's number, which may be given to another one.
# 0 if the directory is not known.
sub key {
    my ($self, $directory, $name) = @_;
    my $was = $self->{states}{$directory} or return 0;
    my $h = mix(plus(mix($directory), $was->[SIZE]));
    for my $c (unpack 'C*', $name) {
        use integer;
        $h = ($h ^ $c) * 0x100000001b3;
    }
    return mix($h) | 1;
}

sub rest {
    my $s = shift;
    my $h = mix(mix($s->{mode} << 32 ^ $s->{uid}) ^ $s->{gid});
    return is_directory($s) ? $h : mix($h ^ nanoseconds(@{$s}{qw(mtime mtime_ns)}));
}

sub change { my $s = shift; return nanoseconds(@{$s}{qw(ctime ctime_ns)}) }

# Modulo 2**64. Without "use integer", >> brings in zeros, and | makes numbers unsigned.
sub nanoseconds { my ($s, $ns) = @_; return plus(product($s, 1_000_000_000), $ns) }
sub plus        { use integer; my $sum = $_[0] + $_[1]; no integer; return $sum | 0 }
sub product     { use integer; my $p = $_[0] * $_[1]; no integer; return $p | 0 }

sub mix {
    my $z = shift;
    my $x = product($z ^ $z >> 30, 0xbf58476d1ce4e5b9);
    $x = product($x ^ $x >> 27, 0x94d049bb133111eb);
    return $x ^ $x >> 31;
}

1;
