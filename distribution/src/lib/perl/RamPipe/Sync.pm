package RamPipe::Sync;

# Brings what a pin has in RAM to disk: look, write the log, commit, apply, drop the
# log. docs/redo-log.md says why in this order.

use strict;
use warnings;
use Errno qw(ENOSPC EDQUOT);
use POSIX ();
use RamPipe::Apply ();
use RamPipe::Attributes qw(attributes_of give_attributes);
use RamPipe::Conflicts ();
use RamPipe::Disk ();
use RamPipe::Drift ();
use RamPipe::Error;
use RamPipe::Linux qw(:all);
use RamPipe::Mounts ();
use RamPipe::Plan ();
use RamPipe::PlanWriter ();
use RamPipe::RedoLog qw(NONE read_log);
use RamPipe::Staging ();
use RamPipe::Text qw(shown bytes_text);
use RamPipe::Upper ();

use constant {
    # Files on disk beyond these are not held with leases.
    MOST_HELD         => 20_000,
    OTHER_DESCRIPTORS => 1_000,
    # Coarse change times have the granularity of the timer interrupt: at most 10 ms.
    COARSE => 0.02,
};

# Seconds to wait before each further attempt at a copy during which nothing changes.
my @pauses = (0, 0.02, 0.06, 0.12, 0.3, 0.6, 1, 2);

# A pin's record (RamPipe::Pins), its upper layer, where its directory is on disk.
# report is called with what people should know, conflict with each conflict once (see
# RamPipe::Drift), progress with bytes.
sub new {
    my ($class, %given) = @_;
    my $pin  = $given{pin};
    my $self = bless { %given, held => {}, clean => {}, changes => 0, bytes => 0, sequence => 0, applied => 0, uncertain => 0,
        told => {} }, $class;
    $self->{place} = RamPipe::Disk::find(identity($pin));
    $self->{place}{disk}->writable;
    RamPipe::Error::refused('its mask is not at ' . shown($pin->{attributes}{mask}) . '; its RAM is kept')
        if defined $pin->{attributes}{mask} && !$self->{upper}{mask};
    $self->{staging} = RamPipe::Staging->new($self->{place}{disk}, $pin->{id});
    $self->{drift}   = RamPipe::Drift->of($pin);
    return $self;
}

sub identity {
    my $pin = shift;
    my $a   = $pin->{attributes};
    return {
        device => $a->{'lower.device'},
        inode  => $a->{'lower.inode'},
        handle => $a->{'lower.handle'} // '',
        path   => $pin->{kind} eq 'FILE' ? $pin->{target} =~ s{/[^/]*\z}{}sr || '/' : $pin->{target},
    };
}

# Before Linux 6.13 changes within one tick of the clock have the same time, so that
# what changed a moment ago may have changed again unseen.
sub coarse_times {
    my ($major, $minor) = (POSIX::uname())[2] =~ /^(\d+)\.(\d+)/;
    return !defined $major || $major * 1000 + $minor < 6013;
}

# While the overlay is mounted, and programs perhaps write: a copy during which nothing
# changed. Throws a RamPipe::Error of kind moving if the target never rests.
sub checkpoint {
    my $self = shift;
    my $last;
    for my $pause (@pauses) {
        select undef, undef, undef, $pause;
        my $mapped = RamPipe::Upper::mapped($self->{pin});
        return if eval { $self->run($mapped, 1); 1 };
        $last = $@;
        die $last if !RamPipe::Error::is($last, 'moving');
    }
    die $last;
}

# Once nothing is mounted any more.
sub finish {
    my $self = shift;
    $self->run({}, 0);
    return;
}

sub run {
    my ($self, $mapped, $mounted) = @_;
    $self->finish_pending($mounted);
    # Before files are looked at: those that are linked there change with it.
    $self->remove_leftovers;
    my $settled = now() - COARSE;
    $self->{drift}->begin;
    my $plan = $self->plan($mapped, $self->{clean});
    RamPipe::Error::moving(shown($self->{pin}{target}))
        if $mounted && coarse_times() && $plan->{seen}{newest} >= $settled;
    $self->still($plan);
    $self->write($plan, $mounted);
    return;
}

sub plan {
    my ($self, $mapped, $clean) = @_;
    return RamPipe::Plan->look(place => $self->{place}, upper => $self->{upper}, drift => $self->{drift},
        mapped => $mapped, clean => $clean);
}

sub still {
    my ($self, $plan) = @_;
    RamPipe::Error::moving(shown($self->{pin}{target})) if !RamPipe::Upper::same_look($self->{upper}->look, $plan->{seen});
    return;
}

# Finishes a log that was committed and not applied, unless it waits for the pin's end:
# then the next one takes its place.
sub finish_pending {
    my ($self, $mounted) = @_;
    my $staging = $self->{staging};
    $staging->keep_directories($mounted ? $self->{upper}{mask} : undef);
    my $done = eval {
        my $fd  = $staging->open_log or return 1;
        my $log = read_log($fd);
        my $h   = $log->{header};
        RamPipe::Error::damaged('it is the log of another target')
            if $h->{pin} ne $self->{pin}{id} || $h->{inode} != $self->{place}{stat}{inode};
        $self->{sequence} = $h->{sequence} + 1 if $h->{sequence} >= $self->{sequence};
        # Nothing of it has been applied. The next one's commit writes the directory again.
        return 1 if $h->{sequence} == $self->{uncertain};
        my $waits = $h->{deferred} && $mounted;
        if (!$waits || $self->{applied} != $h->{sequence}) {
            $staging->make_commit_durable;
            my $applier = $self->applier($log, $mounted);
            $self->apply($applier, $fd, $waits);
            $waits ||= $applier->{skipped};
            $applier->tell_loss($_) for sort keys %{ $applier->{lost} };
            $self->learn($applier);
        }
        if (!$waits) {
            $staging->drop_log;
            $staging->remove_staged;
        }
        1;
    };
    return if $done;
    die $@ if !RamPipe::Error::is($@, 'damaged');
    my $why   = $@;
    my $aside = $staging->set_aside('damaged');
    $staging->remove_staged;
    $self->{report}->("its redo log was damaged ($why) and is kept as " . shown($aside));
    return;
}

sub apply {
    my ($self, $applier, $fd, $data_only) = @_;
    my $done = eval { $applier->apply($fd, $data_only); 1 };
    my $e    = $@;
    # From then on an overlay does not find directories any more that it has under former paths.
    $self->{moving} ||= $applier->{moving};
    die $e if !$done;
    return;
}

sub applier {
    my ($self, $log, $mounted) = @_;
    return RamPipe::Apply->new(
        place => $self->{place}, staging => $self->{staging}, held => $self->{held}, log => $log,
        upper => ($self->{upper}->whole_directory ? $self->{upper} : undef), mounted => $mounted,
        tell  => sub { $self->tell(@_) },
    );
}

# What it has put on disk is not others' doing. Before the log goes: otherwise whoever is
# killed in between takes it for that.
sub learn {
    my ($self, $applier) = @_;
    $self->{drift}->learn($applier);
    $self->{drift}->save;
    $self->{applied} = $applier->{log}{header}{sequence};
    return;
}

# Each conflict once, however often it is met. On the disk's list when this returns.
sub tell {
    my ($self, @conflicts) = @_;
    my @new = grep { !$self->{told}{"$_->{path}\0$_->{copy}\0$_->{what}"}++ } @conflicts;
    RamPipe::Conflicts::add($self->{place}{disk}, identity($self->{pin}), $self->{pin}{id}, @new);
    $self->{conflict}->($_) for @new;
    return;
}

# What an attempt that was cut short has left; a log that waits for the pin's end stays.
sub remove_leftovers {
    my $self    = shift;
    my $staging = $self->{staging};
    my $fd      = $staging->open_log;
    my $keep    = $fd ? RamPipe::Staging::prefix(read_log($fd)->{header}{sequence}) : undef;
    $staging->discard_uncommitted;
    $staging->remove_staged(sub { !defined $keep || index($_[0], $keep) != 0 });
    return;
}

sub write {
    my ($self, $plan, $mounted) = @_;
    my $staging = $self->{staging};
    my $deferred = $plan->leaning ? 1 : 0;
    my $sequence = $self->{sequence} = ($self->{sequence} || 0) + 1;
    my $pin      = $self->{pin};
    my $fd;
    my $open = sub { return $fd ||= $staging->create_log };
    my $out  = RamPipe::PlanWriter->new(
        plan => $plan, drift => $self->{drift}, staging => $staging, held => $self->{held}, log => RamPipe::RedoLog->writer($open),
        sequence => $sequence, mounted => $mounted, progress => $self->{progress},
    );
    my $committed = eval {
        $out->write(
            pin => $pin->{id}, sequence => $sequence, deferred => $deferred, file => $pin->{kind} eq 'FILE',
            device => $pin->{attributes}{'lower.device'}, inode => $pin->{attributes}{'lower.inode'},
            handle => $pin->{attributes}{'lower.handle'} // '', target => $pin->{target},
        );
        $out->{log}->finish if !$out->is_empty;
        $out->check_mapped;
        $self->still($plan);
        if (!$out->is_empty) {
            $out->make_durable($open->());
        }
        $self->tell(@{ $self->{drift}{found} });
        $staging->commit if !$out->is_empty;
        1;
    };
    $self->abandon($@, $out, $sequence) if !$committed;
    if (!$out->is_empty) {
        $self->{uncertain} = $sequence;
        $staging->make_commit_durable;
        $self->{uncertain} = 0;
    }
    $self->{deferred} = 0;
    if ($out->is_empty) {
        $self->{drift}->save;
        if ($staging->has_log) {
            # What it was to do has been undone in RAM.
            $staging->drop_log;
            $staging->remove_staged;
        }
    } else {
        $self->carry_out($fd, $out, $deferred && $mounted, $mounted);
    }
    $self->remember($plan) if !$self->{deferred};
    return;
}

# Takes back what is not committed and throws the right error.
sub abandon {
    my ($self, $error, $out, $sequence) = @_;
    my $prefix = RamPipe::Staging::prefix($sequence);
    eval {
        $self->{staging}->discard_uncommitted;
        $self->{staging}->remove_staged(sub { index($_[0], $prefix) == 0 });
    };
    if (RamPipe::Error::failed($error, ENOSPC, EDQUOT)) {
        my $free = eval { bytes_text(room($self->{place}{directory})) . ' are free' } // 'how much is free is unknown';
        RamPipe::Error->throw('system',
            'no room on the disk of ' . shown($self->{pin}{target}) . ': more than ' . bytes_text($out->needed)
                . " are needed, $free; all data is safe in RAM: make room on that disk and run this again ($error)",
            $error->{errno});
    }
    die $error;
}

sub carry_out {
    my ($self, $fd, $out, $deferred, $mounted) = @_;
    my $log     = read_log($fd);
    my $applier = $self->applier($log, $mounted);
    $applier->{expected} = $out->{in_place};
    $self->apply($applier, $fd, $deferred);
    $deferred ||= $applier->{skipped};
    for my $id (sort keys %{ $applier->{lost} }) {
        $self->keep_beside($applier, $log->{files}{$id}, $out->{node}{$id}, $out);
    }
    $self->learn($applier);
    my $prefix = RamPipe::Staging::prefix($out->{sequence});
    if ($deferred) {
        $self->{staging}->remove_staged(sub { index($_[0], $prefix) != 0 });
        $self->{deferred} = 1;
    } else {
        $self->{staging}->drop_log;
        $self->{staging}->remove_staged;
    }
    $self->{changes} += $out->changes;
    $self->{bytes}   += $out->{bytes} + $out->{staged_bytes};
    return;
}

# The file on disk is not the one any more that was to be changed: both versions are kept.
sub keep_beside {
    my ($self, $applier, $file, $n, $out) = @_;
    return $applier->tell_loss($file->{id}) if $file->{home} == NONE || !$n || !is_regular($n->{upper});
    my $name = $out->next_name;
    return if eval {
        my $from = $out->{plan}->open_upper($n, RamPipe::Upper::READ, 1);
        my $to = open_at($self->{staging}->fd, $name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
        $out->copy($n, $from, $to);
        give_attributes(attributes_of($from, $n->{upper}), $to);
        sync_file($to);
        $applier->place_beside($name, @{$file}{qw(home home_name)});
        sync_file_system($self->{place}{directory});
        1;
    };
    # If it changed meanwhile it will be written as what it is next time.
    die $@ if !RamPipe::Error::is($@, 'moving');
    return;
}

# What is on disk now, so that the last syncback need not compare it again while others
# wait for leases.
sub remember {
    my ($self, $plan) = @_;
    return if coarse_times();
    my $same = sub {
        my $was = shift;
        return sub { unchanged($_[0], $was) };
    };
    for my $n ($plan->nodes) {
        next if $n->{mapped} || defined $n->{index_name} || @{ $n->{names} } != 1 || !is_regular($n->{upper});
        my $name = $n->{names}[0];
        my $path = RamPipe::Plan::joined(RamPipe::Plan::new_path($name->{dir}), $name->{name});
        my $fd = eval { open_beneath_same_mount($self->{place}{directory}, $path, O_PATH | O_NOFOLLOW) } or next;
        $self->{clean}{ $n->{upper}{inode} } = { upper => $same->($n->{upper}), lower => $same->(stat_of($fd)) };
    }
    return;
}

# Holds the files on disk that may have to change with leases, so that programs that open
# them wait until it is done. They are open for writing first: a lease of the write kind is
# granted if that is the only way in which the file is open, and the kernel makes no
# exception for its holder's other opens (fcntl(2)).
sub hold {
    my ($self, $mounted) = @_;
    # Before that not everything on disk is where it belongs.
    $self->finish_pending($mounted);
    my $plan = eval { $self->plan({}, {}) };
    if (!$plan) {
        return if RamPipe::Error::is($@, 'moving');
        die $@;
    }
    my @files = grep { is_regular($_->{upper}) && $_->{lower} } $plan->nodes;
    my $most  = let_open((@files < MOST_HELD ? @files : MOST_HELD) + OTHER_DESCRIPTORS) - OTHER_DESCRIPTORS;
    for my $n (@files) {
        last if keys %{ $self->{held} } >= $most || keys %{ $self->{held} } >= MOST_HELD;
        my ($name) = grep { $_->{lower} && $_->{lower}{inode} == $n->{lower}{inode} } @{ $n->{names} };
        next if !$name || $self->{held}{ $n->{lower}{inode} };
        # Running programs, and what somebody has open already: nothing to wait for.
        my $fd = eval {
            my $dir = $plan->open_lower($name->{dir});
            RamPipe::Apply::open_file($self->{place}, {}, $dir, $name->{name}, $n->{lower}{inode});
        } or next;
        $self->{held}{ $n->{lower}{inode} } = $fd if lease_write($fd);
    }
    return;
}

# A lease ends with its descriptor.
sub let_go { my $self = shift; $self->{held} = {}; return }

1;
