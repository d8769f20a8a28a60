package RamPipe::SnapshotSync;

# Brings what a snapshot has in RAM to the file on disk, through a redo log of a single file,
# which is committed and applied like any other. All while programs that write are held.
#
# The file on disk is what the snapshot reads where it has nothing itself: so no block of it
# is written that is still read.

use strict;
use warnings;
use Errno qw(ENOSPC EDQUOT EOPNOTSUPP ENOSYS);
use RamPipe::Apply ();
use RamPipe::Attributes qw(attributes_of same_attributes give_attributes);
use RamPipe::Error;
use RamPipe::Linux qw(:all);
use RamPipe::RedoLog qw(NONE ROOT MAX_DATA read_log);
use RamPipe::Snapshot ();
use RamPipe::Staging ();
use RamPipe::Sync ();
use RamPipe::Text qw(shown bytes_text);

our @ISA = ('RamPipe::Sync');

use constant { BLOCK => 4096, FILE => 0, COPY => 1 };

# pin, snapshot (a RamPipe::Snapshot), report, conflict, progress: see RamPipe::Sync.

# alone: whether no program uses it. Only then a copy can be kept beside what others have changed.
sub run {
    my ($self, $alone) = @_;
    my ($pin, $place) = @{$self}{qw(pin place)};
    my $name = $self->{name} = $pin->{target} =~ s{.*/}{}sr;
    # A lease that a dead daemon has left would be in the way of all that follows.
    RamPipe::Snapshot::open_lower($place, $name, O_RDONLY) if is_regular(exists_at($place->{directory}, $name) || {type => 0});
    $self->finish_pending(0);
    $self->remove_leftovers;
    $self->{snapshot}->stored;
    my $s = exists_at($place->{directory}, $name);
    my $same = $s && is_regular($s) && $s->{inode} eq $pin->{attributes}{'file.inode'};
    return $self->beside($same ? $s : undef, $alone)
        if !$same || $self->{drift}->changed($place->{stat}{inode}, $name, $s);
    $self->write($s);
    return;
}

sub applier {
    my ($self, $log) = @_;
    return RamPipe::Apply->new(place => $self->{place}, staging => $self->{staging}, held => {}, log => $log,
        upper => undef, mounted => 0, tell => sub { $self->tell(@_) });
}

sub begin {
    my ($self, $log) = @_;
    my $pin = $self->{pin};
    my $a   = $pin->{attributes};
    $log->write('Header', pin => $pin->{id}, sequence => ++$self->{sequence}, deferred => 0, file => 1,
        device => $a->{'lower.device'}, inode => $a->{'lower.inode'}, handle => $a->{'lower.handle'} // '',
        target => $pin->{target});
    $log->write('Directory', id => ROOT, inode => $self->{place}{stat}{inode}, old_parent => NONE, old_name => '',
        new_parent => NONE, new_name => '', staged => '');
    return;
}

sub write {
    my ($self, $disk) = @_;
    my ($snapshot, $staging) = @{$self}{qw(snapshot staging)};
    my $below = RamPipe::Snapshot::open_lower($self->{place}, $self->{name}, O_RDONLY);
    my $fd;
    my $open = sub { return $fd ||= $staging->create_log };
    my $log  = RamPipe::RedoLog->writer($open);
    @{$self}{qw(log below disk reserve logged written described)} = ($log, $below, $disk, 0, 0, {}, 0);
    my $committed = eval {
        $self->begin($log);
        my $plan = $snapshot->plan;
        $self->hole(@$_, $plan->{size}) for @{ $plan->{holes} };
        $self->data(@$_, $plan->{size}) for @{ $plan->{data} };
        my $attributes = $snapshot->attributes($below);
        my $other = !$snapshot->{is_block} && !same_attributes($attributes, attributes_of($below, $disk), 0);
        if ($self->{described} || $other || $plan->{size} != $disk->{size}) {
            $self->describe;
            $log->write('Size', file => FILE, size => $plan->{size});
            $log->write('FileAttributes', file => FILE, attributes => $attributes);
        }
        my %store = (%{ $plan->{moved} }, map { $plan->{referenced}{$_} ? ($_ => 1) : () } keys %{ $self->{written} });
        $snapshot->store_blocks(keys %store);
        $snapshot->stored;
        $self->commit($open) if $self->{described};
        1;
    };
    $self->abandon($@) if !$committed;
    if (!$self->{described}) {
        $staging->discard_uncommitted;
        $staging->remove_staged;
        return;
    }
    $self->carry_out($fd, $disk);
    $self->{changes} = 1;
    $self->{bytes} += $self->{logged};
    return;
}

sub describe {
    my $self = shift;
    return if $self->{described}++;
    $self->{log}->write('File', id => FILE, inode => $self->{disk}{inode}, file_type => S_IFREG, home => ROOT,
        home_name => $self->{name}, staged => '');
    return;
}

# Blocks [from, to) are zeros.
sub hole {
    my ($self, $from, $to, $size) = @_;
    my ($start, $end) = ($from * BLOCK, $to * BLOCK);
    $end = $size if $end > $size;
    $end = $self->{disk}{size} if $end > $self->{disk}{size};
    return if $start >= $end;
    my $data = next_data($self->{below}, $start);
    return if !defined $data || $data >= $end;
    $self->describe;
    $self->{log}->write('Hole', file => FILE, offset => $start, length => $end - $start);
    $self->{written}{$_} = 1 for $from .. $to - 1;
    return;
}

# Writes those of the blocks [from, to) that differ.
sub data {
    my ($self, $from, $to, $size) = @_;
    my $most = MAX_DATA / BLOCK;
    for (my $first = $from; $first < $to; $first += $most) {
        my $count = $to - $first < $most ? $to - $first : $most;
        my $start = $first * BLOCK;
        my $ram   = $self->{snapshot}->read($count * BLOCK, $start);
        $ram = substr $ram, 0, $size - $start if $start + length $ram > $size;
        my $disk = read_at($self->{below}, length $ram, $start);
        my $run;
        for my $i (0 .. $count) {
            my $differs = $i < $count && $i * BLOCK < length $ram
                && substr($ram, $i * BLOCK, BLOCK) ne ($i * BLOCK < length $disk ? substr($disk, $i * BLOCK, BLOCK) : '');
            if ($differs) {
                $run //= $i;
            } elsif (defined $run) {
                $self->piece($start + $run * BLOCK, substr $ram, $run * BLOCK, ($i - $run) * BLOCK);
                undef $run;
            }
        }
        $self->{progress}->($self->{logged}) if $self->{progress};
    }
    return;
}

sub piece {
    my ($self, $offset, $bytes) = @_;
    my $length = length $bytes;
    $self->describe;
    my $data = $offset < $self->{disk}{size} ? next_data($self->{below}, $offset) : undef;
    $self->{reserve} += $length + 2 * BLOCK
        if !defined $data || $data != $offset || next_hole($self->{below}, $offset) < $offset + $length;
    $self->{log}->write('Data', file => FILE, offset => $offset, length => $length, bytes => $bytes);
    $self->{logged} += $length;
    $self->{written}{$_} = 1 for int($offset / BLOCK) .. int(($offset + $length - 1) / BLOCK);
    return;
}

# What the log says can be done on a full disk, too, once this has returned.
sub commit {
    my ($self, $open) = @_;
    my $staging = $self->{staging};
    $self->{log}->finish;
    if ($self->{reserve}) {
        my $reserve = open_at($staging->fd, RamPipe::Staging::reserve($self->{sequence}),
            O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
        eval { allocate($reserve, $self->{reserve}); 1 }
            or RamPipe::Error::failed($@, EOPNOTSUPP, ENOSYS)
            or die $@;
    }
    sync_file($staging->fd);
    sync_file($open->());
    $staging->commit;
    return;
}

sub carry_out {
    my ($self, $fd, $expected) = @_;
    my $staging = $self->{staging};
    $staging->make_commit_durable;
    my $log     = read_log($fd);
    my $applier = $self->applier($log);
    $applier->{expected} = { FILE, $expected } if $expected;
    $applier->apply($fd, 0);
    my $lost = %{ $applier->{lost} };
    $applier->tell_loss($_) for sort keys %{ $applier->{lost} };
    $self->learn($applier);
    $staging->drop_log;
    $staging->remove_staged;
    RamPipe::Error::moving(shown($self->{pin}{target}) . ' was changed on disk by others just now: run this again') if $lost;
    return;
}

sub abandon {
    my ($self, $error) = @_;
    eval {
        $self->{staging}->discard_uncommitted;
        $self->{staging}->remove_staged;
    };
    if (RamPipe::Error::failed($error, ENOSPC, EDQUOT)) {
        my $free = eval { bytes_text(room($self->{place}{directory})) . ' are free' } // 'how much is free is unknown';
        RamPipe::Error->throw('system', 'no room on the disk of ' . shown($self->{pin}{target}) . ": more than "
                . bytes_text($self->{logged} + $self->{reserve}) . " are needed, $free; all data is safe in RAM: make room on"
                . " that disk and run this again ($error)", $error->{errno});
    }
    die $error;
}

# Others have changed the file on disk, so that what the snapshot reads from it is theirs. The
# disk's stays, and what programs see is kept beside it, once, when nobody writes any more.
sub beside {
    my ($self, $disk, $alone) = @_;
    my ($snapshot, $staging, $place) = @{$self}{qw(snapshot staging place)};
    my $what = 'was ' . ($disk ? 'changed' : 'removed or replaced') . ' on disk by others while it was pinned';
    if (!$alone) {
        $self->tell({ path => $self->{name}, copy => '', what => $what });
        RamPipe::Error::busy(shown($self->{pin}{target}) . " $what, and is in use; what programs see is kept beside it"
                . ' when nobody uses it any more');
    }
    my ($copy, $number);
    do {
        $copy = $self->{drift}->conflict_name($self->{name}, ++$number);
    } while exists_at($place->{directory}, $copy);
    $self->tell({ path => $self->{name}, copy => $copy, what => "$what; what was in RAM is kept as" });
    my $done = eval {
        my $fd;
        my $log = RamPipe::RedoLog->writer(sub { return $fd ||= $staging->create_log });
        @{$self}{qw(logged reserve)} = (0, 0);
        $self->begin($log);
        my $name = RamPipe::Staging::prefix($self->{sequence}) . '0';
        my $to   = open_at($staging->fd, $name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
        my $size = $snapshot->size;
        $snapshot->plan;
        for (my $at = 0; $at < $size; $at += MAX_DATA) {
            my $bytes = $snapshot->read($size - $at < MAX_DATA ? $size - $at : MAX_DATA, $at);
            write_at($to, $bytes, $at) if $bytes =~ /[^\0]/;
            $self->{logged} += length $bytes;
            $self->{progress}->($at) if $self->{progress};
        }
        truncate_to($to, $size);
        my $below = $disk && RamPipe::Snapshot::open_lower($place, $self->{name}, O_RDONLY);
        give_attributes($snapshot->attributes($below), $to);
        sync_file($to);
        $log->write('File', id => COPY, inode => stat_of($to)->{inode}, file_type => S_IFREG, home => NONE, home_name => '',
            staged => $name);
        $log->write('PlaceFile', file => COPY, directory => ROOT, name => $copy, expected => 0, last => 1,
            was => { size => -1, mtime => 0, mtime_ns => 0 });
        $log->finish;
        sync_file($staging->fd);
        sync_file($fd);
        $staging->commit;
        $self->carry_out($fd);
        $self->{changes} = 1;
        $self->{bytes} += $size;
        1;
    };
    return if $done;
    my $e = $@;
    $self->abandon($e) if !$staging->has_log;
    die $e;
}

1;
