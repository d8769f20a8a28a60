package RamPipe::Conflicts;

# The names of copies in RAM that are kept beside what others have changed on disk, and the
# list of conflicts on a disk, which the daemon tells: docs/redo-log.md has the format of
# its lines ("Conflicts", "List").

use strict;
use warnings;
use RamPipe::Linux qw(:all);

use constant { NAME => 'conflicts', MOST => 16 << 20 };

# The name of the version in RAM beside that on disk.
sub copy_name {
    my ($pin, $name, $number) = @_;
    my $end = ".rampipe-conflict-$pin" . ($number == 1 ? '' : "-$number");
    return substr($name, 0, 255 - length $end) . $end;
}

# Whether that is the name of a copy of a file of that name.
sub is_copy {
    my ($pin, $name, $copy) = @_;
    return $copy eq copy_name($pin, $name, 1) || $copy =~ /-([1-9][0-9]{0,5})\z/ && $copy eq copy_name($pin, $name, $1);
}

# Whether it is that of any copy of that pin.
sub is_copy_of_pin { my ($pin, $name) = @_; return index($name, ".rampipe-conflict-$pin") >= 0 }

# Adds to the list what is not there yet; durable when this returns. identity: of the
# target's directory, as for RamPipe::Disk::find; conflicts: see RamPipe::Drift.
sub add {
    my ($disk, $identity, $pin, @conflicts) = @_;
    return if !@conflicts;
    my $fd   = open_at($disk->home, NAME, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0600);
    my $end  = stat_of($fd)->{size};
    my $list = read_at($fd, $end < MOST ? $end : MOST, 0);
    # All but when it was.
    my %there = map { (split /\t/, $_, 3)[2] // '' => 1 } split /\n/, $list;
    # A line that somebody who was killed has not finished is none.
    my $more = $end && substr($list, -1) ne "\n" ? "\n" : '';
    for my $c (@conflicts) {
        my $line = join "\t", $pin, $identity->{inode}, $identity->{handle} eq '' ? '-' : $identity->{handle},
            map({ escaped($_) } $identity->{path}, @{$c}{qw(path copy)}), $c->{what};
        $more .= join("\t", 1, int(now() * 1000), $line) . "\n" if !$there{$line}++;
    }
    return if $more !~ /[^\n]/;
    write_at($fd, $more, $end);
    sync_file($fd);
    sync_file($disk->home);
    return;
}

sub escaped {
    my $path = shift;
    return '-'   if $path eq '';
    return '%2d' if $path eq '-';
    return $path =~ s/([^\x21-\x7e]|%)/sprintf '%%%02x', ord $1/ger;
}

1;
