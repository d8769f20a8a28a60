package RamPipe::Pins;

# The daemon's runtime directory: its lock, the records of its pins (pins/ID.pin, small
# text files in the form of Java's Properties), and the thin pool with what is in RAM
# (pool/ID). A record is a hash of id, target, kind, strategy, sync, format, step and
# attributes.

use strict;
use warnings;
use Errno qw(ENOENT);
use Fcntl qw(LOCK_EX LOCK_SH LOCK_NB);
use RamPipe::Crc32c qw(crc32c);
use RamPipe::Error;
use RamPipe::Linux qw(:all);
use RamPipe::Mounts qw(mounts);
use RamPipe::Staging ();
use RamPipe::Text qw(shown);

use constant VERSION => '1';

# Undef if there is no such directory.
sub of {
    my ($class, $path) = @_;
    my $fd = eval { open_at(undef, $path, O_RDONLY | O_DIRECTORY) };
    if (!$fd) {
        return if RamPipe::Error::failed($@, ENOENT);
        die $@;
    }
    my $s = stat_of($fd);
    # Whoever may write there could have root write anywhere.
    RamPipe::Error::refused('the runtime directory ' . shown($path)
            . ' is not root\'s alone (owner ' . $s->{uid} . sprintf(', mode %04o', $s->{mode} & 07777)
            . '), so its records are not to be believed') if $s->{uid} != 0 || $s->{mode} & 022;
    return bless { path => $path, fd => $fd }, $class;
}

# Keeps daemons away while this program runs. False if one is running.
sub lock {
    my ($self, $exclusive) = @_;
    my $lock = $self->{fd}->magic_path . '/lock';
    return 1 if !-e $lock && !$exclusive;
    open $self->{lock}, '>>', $lock
        or RamPipe::Error::refused('cannot open the lock ' . shown($self->{path}) . "/lock: $!");
    return flock $self->{lock}, LOCK_NB | ($exclusive ? LOCK_EX : LOCK_SH);
}

# All records; what cannot be read is handed to the function.
sub load {
    my ($self, $damaged) = @_;
    $self->{pins} = eval { open_directory($self->{fd}, 'pins') };
    if (!$self->{pins}) {
        return if RamPipe::Error::failed($@, ENOENT);
        die $@;
    }
    my @pins;
    for my $file (grep { /\.pin\z/ } list_names($self->{pins})) {
        my $pin = eval {
            my $p = parse(read_at(open_at($self->{pins}, $file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK), 1 << 20, 0));
            RamPipe::Error::damaged('is the record of another pin') if $file ne "$p->{id}.pin";
            $p;
        };
        if ($pin) {
            push @pins, $pin;
        } else {
            $damaged->("$self->{path}/pins/$file", "$@");
        }
    }
    return @pins;
}

my %escapes = (t => "\t", n => "\n", r => "\r", f => "\f");

sub unescape {
    my $text = shift;
    $text =~ s{\\(?:u([0-9a-fA-F]{4})|(.))}{
        defined $1 ? (hex $1 < 256 ? chr hex $1 : RamPipe::Error::damaged('has a character that is no byte'))
        : $escapes{$2} // $2
    }gsex;
    return $text;
}

sub escape {
    my $text = shift;
    $text =~ s/([^0-9A-Za-z.\/_-])/sprintf '\\u%04x', ord $1/ge;
    return $text;
}

sub properties {
    my $text = shift;
    my %p;
    for my $line (split /\r?\n/, $text) {
        next if $line =~ /^\s*(?:[#!]|\z)/;
        my ($key, $value) = $line =~ /^\s*((?:[^\\=:\s]|\\.)+)\s*[=:\s]?\s*(.*)\z/s
            or RamPipe::Error::damaged('has a line that is none');
        $p{ unescape($key) } = unescape($value);
    }
    return \%p;
}

sub checksum {
    my $p = shift;
    return sprintf '%x', crc32c(join '', map { "$_=$p->{$_}\0" } grep { $_ ne 'checksum' } sort keys %$p);
}

sub parse {
    my $text = shift;
    my $p    = properties($text);
    RamPipe::Error::damaged('has version ' . shown($p->{version} // 'none') . ', not ' . VERSION)
        if ($p->{version} // '') ne VERSION;
    RamPipe::Error::damaged('has a wrong checksum') if checksum($p) ne ($p->{checksum} // '');
    for my $key (qw(id target kind strategy sync format step)) {
        RamPipe::Error::damaged("has no $key") if !defined $p->{$key};
    }
    RamPipe::Error::damaged('has an impossible id')     if $p->{id} !~ /^[0-9a-z]{1,32}\z/;
    RamPipe::Error::damaged('has an impossible target') if $p->{target} !~ m{^/} || $p->{target} =~ /\0/;
    RamPipe::Error::damaged('has an unknown kind')      if $p->{kind} !~ /^(DIRECTORY|FILE)\z/;
    my %attributes = map { /^attribute\.(.*)/s ? ($1 => $p->{$_}) : () } keys %$p;
    return { (map { $_ => $p->{$_} } qw(id target kind strategy sync format step)), attributes => \%attributes,
        properties => $p };
}

# Notes how far it has come, in one step.
sub step {
    my ($self, $pin, $step) = @_;
    my $p = $pin->{properties};
    $p->{step}     = $pin->{step} = $step;
    $p->{checksum} = checksum($p);
    my $fresh = "$pin->{id}.new";
    my $fd    = open_at($self->{pins}, $fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
    write_at($fd, join('', map { escape($_) . '=' . escape($p->{$_}) . "\n" } sort keys %$p), 0);
    rename_at($self->{pins}, $fresh, $self->{pins}, "$pin->{id}.pin");
    return;
}

# The pin's directory in the pool, where upper layer and work directory are; undef if it
# is gone.
sub pool_directory {
    my ($self, $pin) = @_;
    my $path = $pin->{attributes}{upper} // '';
    $path =~ s{/[^/]+\z}{};
    $path = $1 if ($pin->{attributes}{'snapshot.node'} // '') =~ m{^(/.*)/store/rampipe:\Q$pin->{id}\E\z}s;
    RamPipe::Error::refused('the record of ' . shown($pin->{target}) . ' names no directory of its own in RAM')
        if $path !~ m{/\Q$pin->{id}\E\z};
    my $fd = eval { open_no_links($path, O_RDONLY | O_DIRECTORY) };
    die $@ if !$fd && !RamPipe::Error::failed($@, ENOENT);
    return ($path, $fd);
}

# Gives the RAM back: only once everything is on disk, nothing is mounted, and the record
# says so. The record goes last.
sub discard {
    my ($self, $pin) = @_;
    my ($path, $fd) = $self->pool_directory($pin);
    if ($fd) {
        RamPipe::Staging::remove_tree($fd, $_) for list_names($fd);
        my ($parent, $name) = $path =~ m{^(.*)/([^/]+)\z}s;
        rmdir_at(open_no_links($parent, O_RDONLY | O_DIRECTORY), $name);
    }
    $self->forget($pin);
    return;
}

sub forget { my ($self, $pin) = @_; unlink_at($self->{pins}, "$pin->{id}.pin"); return }

# Takes away the thin pool, if there are no pins and nothing is in it any more.
sub close_pool {
    my $self = shift;
    return if !$self->{pins} || grep { /\.pin\z/ } list_names($self->{pins});
    my $pool = eval { open_directory($self->{fd}, 'pool') } or return;
    return if list_names($pool) > 0;
    my $id = stat_of($pool)->{mount};
    $pool->close;
    eval { unmount_at($self->{fd}, 'pool') } if grep { $_->{id} == $id && $_->{source} eq 'rampipe-pool' } mounts();
    return;
}

1;
