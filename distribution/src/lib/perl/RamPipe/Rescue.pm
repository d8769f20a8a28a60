package RamPipe::Rescue;

# What rampipe-rescue does: pins that a dead daemon has left in RAM, and redo logs on
# disks. Says what it finds and does as a list of items, each a hash:
#   what     pin, log, disk or record
#   name     for people, safe to print
#   lines    what is so, or was done; for people
#   result   done, nothing, todo (dry run), waits (for a pin that is still there) or left
#   problem  why it is left, and what to do
#   conflicts  what others have changed on disk: list of hashes of path, copy (empty if there
#            is none) and what happened

use strict;
use warnings;
use RamPipe::Apply ();
use RamPipe::Conflicts ();
use RamPipe::Disk ();
use RamPipe::Error;
use RamPipe::Linux qw(:all);
use RamPipe::Overlay ();
use RamPipe::Pins ();
use RamPipe::RedoLog qw(read_log);
use RamPipe::Snapshot ();
use RamPipe::SnapshotSync ();
use RamPipe::Staging ();
use RamPipe::Sync ();
use RamPipe::Text qw(shown bytes_text);
use RamPipe::Upper ();

# apply: whether to do anything; runtime: path; report: called with each item when it is
# complete; progress: called with what is being done and bytes so far.
sub new {
    my ($class, %given) = @_;
    return bless { %given, waiting => {}, waiting_for => {} }, $class;
}

sub report {
    my ($self, $item) = @_;
    $self->{report}->($item);
    return;
}

# Runs something for an item; what it throws leaves the item undone, with the reason.
sub guarded {
    my ($self, $item, $work) = @_;
    return if eval { $work->(); 1 };
    my $e = "$@";
    $e =~ s/\s+\z//;
    $item->{result}  = 'left';
    $item->{problem} = ref $@ ? $e : shown($e);
    return;
}

sub progress {
    my ($self, $what) = @_;
    return sub { $self->{progress}->($what, $_[0]) };
}

# Pins

# False if a daemon is running there, which does all of it by itself.
sub pins {
    my $self = shift;
    my $pins = RamPipe::Pins->of($self->{runtime}) or return 1;
    $pins->lock($self->{apply}) or return 0;
    $self->{pins} = $pins;
    my @pins = $pins->load(sub {
        my ($path, $why) = @_;
        $self->report({ what => 'record', name => shown($path), lines => [], result => 'left',
            problem => "it $why; what is in RAM for it is kept: see " . shown($self->{runtime}) . '/pool' });
    });
    for my $pin (@pins) {
        my $item = { what => 'pin', name => shown($pin->{target}), id => $pin->{id}, lines => [], result => 'nothing' };
        my ($look, $do) = RamPipe::Snapshot::is_one($pin) ? qw(look_at_snapshot rescue_snapshot) : qw(look_at rescue);
        $self->guarded($item, sub { my $work = $self->{apply} ? $do : $look; $self->$work($pin, $item) });
        $self->wait_for($pin) if $item->{result} ne 'done';
        $self->report($item);
    }
    $self->strays(@pins);
    $pins->close_pool if $self->{apply};
    return 1;
}

# Logs of pins that are still there are not to be touched.
sub wait_for {
    my ($self, $pin) = @_;
    my $a = $pin->{attributes};
    $self->{waiting}{ $pin->{id} } = 1;
    $self->{waiting_for}{"$a->{'lower.device'} $a->{'lower.inode'}"} = 1
        if defined $a->{'lower.device'} && defined $a->{'lower.inode'};
    return;
}

sub check_format {
    my $pin = shift;
    RamPipe::Error::refused('it was pinned in the form ' . shown($pin->{format})
            . ', which rampipe-rescue does not know; its RAM is kept') if $pin->{format} ne 'overlay';
    for my $key (qw(upper work lower.device lower.inode)) {
        RamPipe::Error::refused("its record has no $key; its RAM is kept") if !defined $pin->{attributes}{$key};
    }
    return;
}

# Whether programs may have written to it: only then there is anything to bring to disk.
sub was_used { my $pin = shift; return $pin->{step} eq 'PINNED' || $pin->{step} eq 'UNMOUNTING' }

sub look_at {
    my ($self, $pin, $item) = @_;
    my $lines   = $item->{lines};
    my $mounted = RamPipe::Overlay::is_mounted($pin);
    push @$lines, $mounted ? 'mounted' : "not mounted ($pin->{step})";
    $item->{mounted} = $mounted ? \1 : \0;
    if ($mounted) {
        my @users = RamPipe::Overlay::users($pin);
        push @$lines, @users ? 'in use by ' . join(', ', @users) : 'not in use';
        $item->{users} = \@users;
    }
    check_format($pin) if $mounted || was_used($pin);
    my $upper = $pin->{attributes}{upper} && RamPipe::Upper->of($pin);
    if ($upper && ($mounted || was_used($pin))) {
        my $seen = eval { $upper->look };
        push @$lines, $seen ? "in RAM: $seen->{files} files, " . bytes_text($seen->{bytes}) : 'changing all the time';
        @{$item}{qw(files bytes)} = @{$seen}{qw(files bytes)} if $seen;
        push @$lines, 'would bring it to disk' . ($mounted && @{ $item->{users} } ? ', and leave it mounted' : '');
    } else {
        push @$lines, 'would remove what is left of it: ' . ($upper || !was_used($pin) ? 'everything is on disk'
            : 'what was in RAM has gone; its redo log has its last checkpoint');
    }
    $item->{result} = 'todo';
    return;
}

# Snapshots

sub snapshot_of {
    my ($self, $pin) = @_;
    my ($directory) = $self->{pins}->pool_directory($pin);
    return RamPipe::Snapshot->of($pin, $directory);
}

sub look_at_snapshot {
    my ($self, $pin, $item) = @_;
    my $lines    = $item->{lines};
    my $snapshot = $self->snapshot_of($pin);
    my $mounted  = RamPipe::Overlay::is_mounted($pin);
    push @$lines, $mounted ? 'mounted' : "not mounted ($pin->{step})";
    $item->{mounted} = $mounted ? \1 : \0;
    my @users = $mounted ? RamPipe::Overlay::users($pin) : ();
    push @users, $snapshot->kernel_users if $mounted || was_used($pin);
    if ($mounted || @users) {
        push @$lines, @users ? 'in use by ' . join(', ', @users) : 'not in use';
        $item->{users} = \@users;
    }
    push @$lines, map { "would end what was begun: $_" } $snapshot->leftovers if $mounted || was_used($pin);
    if (($mounted || was_used($pin)) && $snapshot->exists) {
        my $bytes = eval { $snapshot->stored };
        push @$lines, defined $bytes ? 'in RAM: ' . bytes_text($bytes) . ' of changes' : "broken: $@";
        $item->{bytes} = $bytes if defined $bytes;
        push @$lines, 'would bring it to disk, ' . (@users ? 'and leave it mounted'
            : 'unmount it, and remove its devices and its RAM');
    } else {
        push @$lines, 'would remove what is left of it: ' . (!was_used($pin) ? 'everything is on disk'
            : 'what was in RAM has gone; its redo log has its last checkpoint');
    }
    $item->{result} = 'todo';
    return;
}

sub rescue_snapshot {
    my ($self, $pin, $item) = @_;
    my $pins     = $self->{pins};
    my $snapshot = $self->snapshot_of($pin);
    my $mounted  = RamPipe::Overlay::is_mounted($pin);
    my $lines    = $item->{lines};
    if (!$snapshot->exists) {
        RamPipe::Error::refused("it is mounted, but its device $snapshot->{device} has gone") if $mounted;
        $snapshot->remove;
        $pins->discard($pin);
        push @$lines, was_used($pin) ? 'what was in RAM has gone; its redo log, if there is one, has its last checkpoint'
            : 'removed what was left of it; everything is on disk';
        $item->{result} = 'done';
        return;
    }
    if (!$mounted && !was_used($pin)) {
        $self->removed($snapshot, $item, 'removed what was left of it; everything is on disk');
        return;
    }
    my @begun = $snapshot->leftovers;
    $snapshot->go_on;
    push @$lines, "ended what was begun: $_" for @begun;
    my $sync = RamPipe::SnapshotSync->new(
        pin => $pin, snapshot => $snapshot,
        report => sub { push @$lines, $_[0] },
        conflict => conflicts_of($item, RamPipe::Sync::identity($pin)->{path}),
        progress => $self->progress("writing $item->{name}"),
    );
    my $done = eval { $self->sync_snapshot($sync, $item, $mounted) };
    my $e    = $@;
    $snapshot->close;
    return if defined $done && !$done;
    if (!defined $done) {
        die $e if !RamPipe::Error::is($e, 'lost');
        $e = "$e: what was written to it since its last checkpoint is lost; the disk has that checkpoint";
        RamPipe::Error::refused("$e; stop the programs that use it, and run this again")
            if $mounted && !eval { RamPipe::Overlay::unmount($pin); 1 };
        $sync->tell({ path => $pin->{target} =~ s{.*/}{}sr, copy => '',
            what => 'lost what was written to it after its last checkpoint: its snapshot broke' });
        $self->removed($snapshot, $item, $e);
        return;
    }
    $self->removed($snapshot, $item, 'its changes (' . bytes_text($sync->{bytes}) . ') brought to disk',
        'unmounted, its devices are removed, and its RAM is free');
    @{$item}{qw(files bytes)} = @{$sync}{qw(changes bytes)};
    return;
}

sub removed {
    my ($self, $snapshot, $item, @lines) = @_;
    my $pin = $snapshot->{pin};
    $self->{pins}->step($pin, 'DISCARDING') if $pin->{step} ne 'DISCARDING';
    $snapshot->remove;
    $self->{pins}->discard($pin);
    push @{ $item->{lines} }, @lines;
    $item->{result} = 'done';
    return;
}

# Returns whether nothing of it is mounted any more. Whoever opens the file meanwhile gets the
# pin, and keeps it, or the one on disk with everything: it is held until then.
sub sync_snapshot {
    my ($self, $sync, $item, $mounted) = @_;
    my ($snapshot, $pin, $pins) = ($sync->{snapshot}, $sync->{pin}, $self->{pins});
    $snapshot->stored;
    $snapshot->open;
    my $settled = $pin->{attributes}{settled};
    # Unmounted with everything on disk: programs have gone on there.
    return 1 if !$mounted && $pin->{step} eq 'UNMOUNTING' && defined $settled && $settled eq $snapshot->version;
    my $in_use = sub {
        my @users = ($mounted ? RamPipe::Overlay::users($pin) : (), $snapshot->kernel_users);
        return @users ? "$item->{name} is in use by " . join(', ', @users) : '';
    };
    my $users = $in_use->();
    $snapshot->hold;
    $sync->run(!$users);
    my $why = $users || $in_use->();
    if ($mounted && !$why) {
        $pins->step($pin, 'UNMOUNTING');
        return 1 if eval { RamPipe::Overlay::unmount($pin); 1 };
        $why = $@;
        $pins->step($pin, 'PINNED');
        die $why if !RamPipe::Error::is($why, 'busy');
    }
    return 1 if !$why;
    $snapshot->release;
    $self->kept($sync, $item, RamPipe::Error->new('busy', "$why"));
    return 0;
}

# Stores without a record: they may have the only copy of something.
sub strays {
    my ($self, @pins) = @_;
    my %known  = map { $_->{id} => 1 } @pins;
    my %stores = RamPipe::Snapshot::stores("$self->{runtime}/pool");
    for my $id (sort grep { !$known{$_} } keys %stores) {
        $self->report({ what => 'record', name => $id, lines => [], result => 'left',
            problem => "there is no record that can be read of the pin with the device rampipe-$id; it is kept, with its RAM in "
                . shown($stores{$id}) . ": dmsetup info rampipe-$id" });
    }
    return;
}

# Overlays

sub rescue {
    my ($self, $pin, $item) = @_;
    my $pins    = $self->{pins};
    my $mounted = RamPipe::Overlay::is_mounted($pin);
    if (!$mounted && !was_used($pin)) {
        RamPipe::Overlay::unmount($pin);
        $pins->discard($pin);
        push @{ $item->{lines} }, 'removed what was left of it; everything is on disk';
        $item->{result} = 'done';
        return;
    }
    check_format($pin);
    my $upper = RamPipe::Upper->of($pin);
    if (!$upper) {
        # RAM went with a reboot, the runtime directory did not.
        RamPipe::Error::refused('it is mounted, but its RAM is not at ' . shown($pin->{attributes}{upper})) if $mounted;
        $pins->forget($pin);
        push @{ $item->{lines} }, 'what was in RAM has gone; its redo log, if there is one, has its last checkpoint';
        $item->{result} = 'done';
        return;
    }
    my $sync = RamPipe::Sync->new(
        pin => $pin, upper => $upper,
        report => sub { push @{ $item->{lines} }, $_[0] },
        conflict => conflicts_of($item, RamPipe::Sync::identity($pin)->{path}),
        progress => $self->progress("writing $item->{name}"),
    );
    if ($mounted) {
        $self->checkpoint($sync, $item);
        $sync->hold(1);
        $pins->step($pin, 'UNMOUNTING');
        if (!eval { RamPipe::Overlay::unmount($pin); 1 }) {
            my $e = $@;
            $pins->step($pin, 'PINNED');
            $self->kept($sync, $item, $e);
            return;
        }
    } else {
        # A file target's overlay may still be there, out of sight.
        RamPipe::Overlay::unmount($pin);
        $sync->hold(0);
    }
    $self->last_sync($sync, $pin, $mounted);
    $pins->step($pin, 'DISCARDING');
    $sync->let_go;
    undef $upper;
    delete $sync->{upper};
    $pins->discard($pin);
    push @{ $item->{lines} },
        "$sync->{changes} changed files and directories (" . bytes_text($sync->{bytes}) . ') brought to disk',
        'unmounted, and its RAM is free';
    @{$item}{qw(files bytes)} = @{$sync}{qw(changes bytes)};
    $item->{result} = 'done';
    return;
}

# Notes a conflict; paths are absolute then.
sub conflicts_of {
    my ($item, $directory) = @_;
    return sub {
        my $c    = shift;
        my $full = sub { my $p = shift; return $p eq '' ? $p : $p eq '.' ? $directory : "$directory/$p" };
        push @{ $item->{conflicts} }, { path => $full->($c->{path}), copy => $full->($c->{copy}), what => $c->{what} };
    };
}

sub checkpoint {
    my ($self, $sync, $item) = @_;
    return if eval { $sync->checkpoint; 1 };
    die $@ if !RamPipe::Error::is($@, 'moving');
    my @users = RamPipe::Overlay::users($sync->{pin});
    RamPipe::Error::busy("$item->{name} is written to all the time (by "
            . (@users ? join(', ', @users) : 'nobody who could be found')
            . '), so that there is no moment at which it could be copied whole; nothing was changed, it stays mounted,'
            . ' and its last checkpoint is on disk: stop those programs and run this again');
}

# It is in use: its present state is on disk, or in a committed log there.
sub kept {
    my ($self, $sync, $item, $why) = @_;
    die $why if !RamPipe::Error::is($why, 'busy');
    $sync->let_go;
    push @{ $item->{lines} },
        "$sync->{changes} changed files and directories (" . bytes_text($sync->{bytes}) . ') are safe on disk'
        . ($sync->{deferred}
            ? ', some of them in a redo log that is applied at the next start of RamPipe, or by rampipe-rescue'
            : '');
    @{$item}{qw(files bytes)} = @{$sync}{qw(changes bytes)};
    $item->{deferred} = $sync->{deferred} ? \1 : \0;
    $item->{result}   = 'left';
    $item->{problem}  = "$why; it stays mounted, and what is written to it from now on is in RAM alone:"
        . ' stop those programs and run this again';
    return;
}

# Nobody should meet the old state once the mount is gone. If it cannot be written, the
# mount is put back.
sub last_sync {
    my ($self, $sync, $pin, $was_mounted) = @_;
    for my $attempt (1, 2) {
        return if eval { $sync->finish; 1 };
    }
    my $e = $@;
    $sync->let_go;
    if ($was_mounted && !$sync->{moving}) {
        my $back = eval { RamPipe::Overlay::remount($pin); $self->{pins}->step($pin, 'PINNED'); 1 };
        die $e if $back;
        RamPipe::Error::refused("$e; and it could not be mounted again ($@): do not use "
                . shown($pin->{target}) . ' before this has succeeded; what is in RAM is kept in '
                . shown($pin->{attributes}{upper}));
    }
    die $e;
}

# Redo logs

# On the disks of these directories, or on all.
sub logs {
    my ($self, @directories) = @_;
    my @disks;
    if (@directories) {
        for my $directory (@directories) {
            my @found = eval { RamPipe::Disk::of_directory($directory) };
            $self->report({ what => 'disk', name => shown($directory), lines => [], result => 'left', problem => "$@" })
                if !@found && $@;
            push @disks, @found;
        }
    } else {
        @disks = RamPipe::Disk::all();
    }
    my %seen;
    for my $disk (@disks) {
        my $item = { what => 'disk', name => shown($disk->{shown}), lines => [], result => 'nothing' };
        $self->guarded($item, sub {
            my $home = $disk->existing_home or return;
            my $s    = stat_of($home);
            return if $seen{"$s->{device}:$s->{inode}"}++;
            my %ids = map { /^([0-9a-z]{1,32})\.(?:redo|redo\.tmp|d)\z/ ? ($1 => 1) : () } list_names($home);
            $self->log($disk, $_) for sort keys %ids;
        });
        $self->report($item) if $item->{result} ne 'nothing';
    }
    return;
}

sub log {
    my ($self, $disk, $id) = @_;
    my $item = { what => 'log', name => "$id on " . shown($disk->{shown}), id => $id, lines => [], result => 'nothing' };
    my $staging = RamPipe::Staging->new($disk, $id);
    $self->guarded($item, sub {
        if ($self->{waiting}{$id} || $disk->is_covered_by($id)) {
            $item->{result} = 'waits';
            push @{ $item->{lines} }, 'waits: its target is still pinned';
            return;
        }
        $disk->writable if $self->{apply};
        my $fd;
        my $read = eval {
            $fd = $staging->open_log;
            my $log = $fd && read_log($fd, $self->progress("reading redo log $id"));
            RamPipe::Error::damaged("it is the log of $log->{header}{pin}") if $log && $log->{header}{pin} ne $id;
            $self->{read} = $log;
            1;
        };
        if (!$read) {
            my $e = $@;
            die $e if !RamPipe::Error::is($e, 'damaged');
            $self->damaged($staging, $item, $e);
        } elsif (!$fd) {
            $self->unfinished($staging, $item);
        } else {
            $self->replay($disk, $staging, $fd, $self->{read}, $item);
        }
    });
    $self->report($item);
    return;
}

sub damaged {
    my ($self, $staging, $item, $why) = @_;
    if (!$self->{apply}) {
        push @{ $item->{lines} }, "damaged ($why): would set it aside, and apply nothing of it";
        $item->{result} = 'todo';
        return;
    }
    my $aside = $staging->set_aside('damaged');
    $item->{result}  = 'left';
    $item->{problem} = "it is damaged ($why), so nothing of it was applied: its target is as it was at the checkpoint"
        . ' before; the log is kept as ' . shown($aside);
    return;
}

sub unfinished {
    my ($self, $staging, $item) = @_;
    push @{ $item->{lines} }, ($self->{apply} ? 'removed' : 'would remove')
        . ' an unfinished redo log: its target is as it was at the checkpoint before';
    $item->{result} = 'todo';
    return if !$self->{apply};
    $staging->discard_uncommitted;
    $staging->remove_staged;
    $item->{result} = 'done';
    return;
}

sub replay {
    my ($self, $disk, $staging, $fd, $log, $item) = @_;
    my $h      = $log->{header};
    my $target = shown($h->{target});
    # Device numbers change from boot to boot; the log is on the disk that it is about.
    my $device = device_text($disk->{stat});
    if ($self->{waiting_for}{"$device $h->{inode}"}) {
        $item->{result} = 'waits';
        push @{ $item->{lines} }, "waits: its target $target is pinned again";
        return;
    }
    my $path  = $h->{file} ? $h->{target} =~ s{/[^/]*\z}{}sr || '/' : $h->{target};
    my $place = $disk->place({ device => $device, inode => $h->{inode}, handle => $h->{handle}, path => $path }, 1);
    my $much  = keys(%{ $log->{files} }) . ' files written' . ($log->{removals} ? ", $log->{removals} removed" : '')
        . ', ' . bytes_text($log->{bytes}) . ' in place';
    @{$item}{qw(target files bytes)} = ($h->{target}, scalar keys %{ $log->{files} }, $log->{bytes});
    RamPipe::Error::refused("the directory of its target $target (inode $h->{inode}) is not on that disk any more;"
            . ' the log is kept') if !$place;
    if (!$self->{apply}) {
        push @{ $item->{lines} }, "would bring $target to its last checkpoint: $much";
        $item->{result} = 'todo';
        return;
    }
    $staging->make_commit_durable;
    my $note    = conflicts_of($item, $path);
    my $applier = RamPipe::Apply->new(place => $place, staging => $staging, held => {}, log => $log,
        tell => sub {
            my $conflict = shift;
            RamPipe::Conflicts::add($disk, { inode => $h->{inode}, handle => $h->{handle}, path => $path }, $h->{pin},
                $conflict);
            $note->($conflict);
        },
        progress => $self->progress("applying redo log $item->{id}"));
    $applier->apply($fd, 0);
    if (%{ $applier->{lost} }) {
        # Its data has no other place: others replaced the files that it is about.
        $applier->tell_loss($_) for sort keys %{ $applier->{lost} };
        push @{ $item->{lines} },
            'what could not be applied of it is kept as ' . shown($staging->set_aside('conflict'));
    } else {
        $staging->drop_log;
    }
    $staging->discard_uncommitted;
    $staging->remove_staged;
    push @{ $item->{lines} }, "brought $target to its last checkpoint: $much";
    $item->{result} = 'done';
    return;
}

1;
