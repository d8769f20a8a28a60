package RamPipe::Mounts;

# The mounts of this machine: /proc/PID/mountinfo (proc_pid_mountinfo(5)), and who
# keeps them busy.

use strict;
use warnings;
use Errno qw(ENOENT ESRCH EACCES EPERM ENOTDIR ESTALE EINVAL ELOOP);
use RamPipe::Error;
use RamPipe::Linux qw(:all);
use RamPipe::Text qw(shown);
use Exporter 'import';
our @EXPORT_OK = qw(mounts mount_by_id staying holders);

# All mounts that a process sees, in mount order: a later one at the same path covers
# an earlier one. A list of hashes.
sub mounts {
    my $process = shift || 'self';
    open my $in, '<', "/proc/$process/mountinfo" or return;
    my @mounts;
    while (my $line = <$in>) {
        chomp $line;
        my ($front, $back) = split / - /, $line, 2;
        my ($id, $parent, $device, $root, $path, $flags, @optional) = split / /, $front;
        my ($type, $source, $options) = split / /, $back;
        # The kernel writes space, tab, newline and backslash as three octal digits.
        s/\\([0-7]{3})/chr oct $1/ge for $root, $path, $source;
        push @mounts, {
            id => $id + 0, parent => $parent + 0, device => $device, root => $root, path => $path, type => $type,
            source => $source, read_only => scalar(grep { $_ eq 'ro' } split /,/, "$flags,$options"),
            flags => { map { $_ => 1 } split /,/, $flags },
            shared => (map { /^shared:(\d+)/ ? $1 + 0 : () } @optional)[0] || 0,
            master => (map { /^master:(\d+)/ ? $1 + 0 : () } @optional)[0] || 0,
        };
    }
    return @mounts;
}

sub mount_by_id { my $id = shift; return (grep { $_->{id} == $id } mounts())[0] }

# One process of each mount namespace, this one first, with its mounts.
sub namespaces {
    my $own    = readlink '/proc/self/ns/mnt';
    my @spaces = ({ pid => $$, own => 1, mounts => [mounts()] });
    my %seen   = (defined $own ? ($own => 1) : ());
    for my $pid (processes()) {
        my $space = readlink "/proc/$pid/ns/mnt";
        next if !defined $space || $seen{$space}++;
        push @spaces, { pid => $pid, own => 0, mounts => [mounts($pid)] };
    }
    return @spaces;
}

sub processes {
    opendir my $proc, '/proc' or return;
    my @processes = sort { $a <=> $b } grep { /^[0-9]+\z/ } readdir $proc;
    return @processes;
}

# Copies of a mount that stay when it is unmounted: bound elsewhere, or in a mount
# namespace that receives no propagation (mount_namespaces(7), shared subtrees).
# Programs there would write on where nobody looks any more. For people.
sub staying {
    my ($mount, $hidden) = @_;
    my @spaces = namespaces();
    my ($parent) = grep { $_->{id} == $mount->{parent} } @{ $spaces[0]{mounts} };
    my %groups = ($parent && $parent->{shared} ? ($parent->{shared} => 1) : ());
    my $more = %groups;
    while ($more) {
        $more = 0;
        for my $m (map { @{ $_->{mounts} } } @spaces) {
            $more = $groups{ $m->{shared} } = 1 if $m->{shared} && $groups{ $m->{master} } && !$groups{ $m->{shared} };
        }
    }
    my @staying;
    for my $space (@spaces) {
        my %by_id = map { $_->{id} => $_ } @{ $space->{mounts} };
        for my $m (@{ $space->{mounts} }) {
            next if $m->{source} ne $mount->{source} || $space->{own} && $m->{id} == $mount->{id};
            next if defined $hidden && $m->{path} eq $hidden;
            my $below = $by_id{ $m->{parent} };
            next if $below && ($groups{ $below->{shared} } || $groups{ $below->{master} });
            push @staying,
                shown($m->{path}) . ($space->{own} ? '' : " in the mount namespace of process $space->{pid}");
        }
    }
    return @staying;
}

# Who keeps the mounts of that source busy, in any namespace: stands in one, has a file
# of it open or mapped. At most so many; a list of hashes. Best effort: processes come
# and go.
sub holders {
    my ($source, $most) = @_;
    my %ids;
    for my $m (map { @{ $_->{mounts} } } namespaces()) {
        $ids{ $m->{id} } = 1 if $m->{source} eq $source;
    }
    my @found;
    for my $pid (processes()) {
        last if @found >= $most;
        my ($what, $path) = eval { holds($pid, \%ids) };
        next if !defined $what;
        my $name = '?';
        if (open my $in, '<', "/proc/$pid/comm") {
            chomp($name = <$in> // '?');
        }
        push @found, { pid => $pid, name => $name, what => $what, path => $path };
    }
    return @found;
}

sub holds {
    my ($pid, $ids) = @_;
    my $process = open_at(undef, "/proc/$pid", O_PATH | O_DIRECTORY);
    my @places  = (['cwd', 'working directory'], ['root', 'root directory']);
    # A thread may have a working directory of its own (unshare(2), CLONE_FS).
    if (opendir my $tasks, "/proc/$pid/task") {
        for my $task (grep { /^[0-9]+\z/ && $_ != $pid } readdir $tasks) {
            push @places, ["task/$task/cwd", q{a thread's working directory}];
        }
    }
    for my $directory (['fd', 'descriptor'], ['map_files', 'mapping']) {
        opendir my $d, "/proc/$pid/$directory->[0]" or next;
        push @places, map { ["$directory->[0]/$_", "$directory->[1] $_"] } grep { !/^\./ } readdir $d;
    }
    for my $place (@places) {
        my ($link, $what) = @$place;
        my $s = eval { stat_behind($process, $link) } or next;
        next if !$ids->{ $s->{mount} };
        return ($what, eval { readlink_at($process, $link) } // '');
    }
    return;
}

1;
