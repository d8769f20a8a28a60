package RamPipe::Drift;

# What others have changed on disk behind a pin: whatever is not as the pin's baseline has
# it. What a log has put there is told to it when it has been applied (learn).
#
# A conflict is a hash of path and copy, both below the target's directory, and what
# happened; copy is empty if there is none.

use strict;
use warnings;
use Errno qw(ENOENT ENOTDIR ELOOP);
use RamPipe::Baseline ();
use RamPipe::Conflicts ();
use RamPipe::Error;
use RamPipe::Linux qw(:all);
use RamPipe::RedoLog qw(NONE);

# Without a baseline, whatever is on disk is taken to be as it should.
sub of {
    my ($class, $pin) = @_;
    my $path = $pin->{attributes}{baseline};
    return bless { baseline => defined $path ? RamPipe::Baseline->load($path) : undef, pin => $pin->{id},
        frozen => {}, found => [] }, $class;
}

# Another look at everything begins.
sub begin { my $self = shift; @{$self}{qw(frozen found)} = ({}, []); return }

sub known { return defined $_[0]{baseline} }

# Whether others have changed what has that name: now, undef if nothing.
sub changed {
    my ($self, $directory, $name, $now) = @_;
    return $self->{baseline} && !$self->{baseline}->same($directory, $name, $now);
}

# Whether there was anything of that name.
sub had { my ($self, $directory, $name) = @_; return $self->{baseline} && $self->{baseline}->inode($directory, $name) }

# Whether others have changed the file, under whichever name; of a directory, its mode.
sub changed_itself { my ($self, $now) = @_; return $self->{baseline} && !$self->{baseline}->untouched($now) }

# Whether it was there, whichever names it had.
sub knows { my ($self, $now) = @_; return $self->{baseline} && $self->{baseline}->knows($now->{inode}) }

sub had_mode_of { my ($self, $directory, $other) = @_; return $self->{baseline}->had_mode_of($directory, $other) }

# Whether a directory on disk has anything below it that others have changed or added.
# inodes gets the numbers of what is below it.
sub changed_below {
    no warnings 'recursion';
    my ($self, $parent, $name, $inodes) = @_;
    return 0 if !$self->{baseline};
    my $changed = eval {
        my $dir   = open_directory($parent, $name);
        my $inode = stat_of($dir)->{inode};
        scalar grep {
            my $s = stat_at($dir, $_);
            $inodes->{ $s->{inode} } = 1;
            $self->changed($inode, $_, $s) || $self->is_conflict_name($_)
                || is_directory($s) && $self->changed_below($dir, $_, $inodes);
        } list_names($dir);
    };
    return $changed if defined $changed;
    return 1 if RamPipe::Error::failed($@, ENOENT, ENOTDIR, ELOOP);
    die $@;
}

# The name of the version in RAM beside that on disk.
sub conflict_name { my ($self, $name, $number) = @_; return RamPipe::Conflicts::copy_name($self->{pin}, $name, $number) }

# Whether it is one of that pin's.
sub is_conflict_name { my ($self, $name) = @_; return RamPipe::Conflicts::is_copy_of_pin($self->{pin}, $name) }

sub report {
    my ($self, $path, $copy, $what) = @_;
    push @{ $self->{found} }, { path => $path, copy => $copy, what => $what };
    return;
}

# Others changed the directory's mode or owner, and theirs stay.
sub keep_attributes { my ($self, $directory) = @_; $self->{frozen}{$directory} = 1; return }

# What is on disk equals what is in RAM, however it came there.
sub agreed { my ($self, @name) = @_; $self->{baseline}->name(@name); return }

# A name is about to be given to, and taken from, a file on disk.
sub about_to_link {
    my ($self, $inode) = @_;
    return if !$self->{baseline};
    $self->{baseline}->loosen($inode);
    $self->{baseline}->save;
    return;
}

sub save { my $self = shift; $self->{baseline}->save if $self->{baseline}; return }

# Takes what a log has put on disk for what should be there.
sub learn {
    my ($self, $applier) = @_;
    my $baseline = $self->{baseline} or return;
    my $log      = $applier->{log};
    # What has the name there, with the directory's inode number.
    my $at = sub {
        my ($directory, $name) = @_;
        my $dir = $applier->directory($directory) or return;
        return (stat_of($dir)->{inode}, scalar exists_at($dir, $name), $dir);
    };
    for my $d (values %{ $log->{directories} }) {
        my $fd = $d->{new_parent} == NONE ? undef : $applier->directory($d->{id}) or next;
        my $own = stat_of($fd);
        my ($parent, $there) = $at->(@{$d}{qw(new_parent new_name)});
        next if !$there || !same_file($there, $own);
        $baseline->name($parent, $d->{new_name}, $own);
        if ($d->{old_parent} == NONE) {
            $baseline->tree($fd) if $d->{staged} ne '';
            next;
        }
        my ($old, $left) = $at->(@{$d}{qw(old_parent old_name)});
        $baseline->remove($old, $d->{old_name}) if defined $old && !$left;
    }
    for my $f (values %{ $log->{files} }) {
        next if $applier->{lost}{ $f->{id} };
        my $s = $f->{staged} eq '' ? ($at->(@{$f}{qw(home home_name)}))[1] : exists_at($applier->{staged}, $f->{staged});
        $baseline->refresh($s) if $s && $s->{inode} == $f->{inode};
    }
    for my $p (map { @$_ } values %{ $applier->{placed} }) {
        my ($inode, $s) = $at->(@{$p}{qw(directory name)});
        $baseline->name($inode, $p->{name}, $s) if $s && $s->{inode} == $log->{files}{ $p->{file} }{inode};
    }
    for my $r (@{ $applier->{removals} }) {
        my ($inode, $s) = $at->(@{$r}{qw(directory name)});
        $baseline->remove($inode, $r->{name}) if defined $inode && !$s;
    }
    for my $b (@{ $applier->{beside} }) {
        my ($inode, $s, $dir) = $at->(@$b);
        next if !$s;
        $baseline->name($inode, $b->[1], $s);
        $baseline->tree(open_directory($dir, $b->[1])) if is_directory($s);
    }
    for my $id (keys %{ $applier->{attributed} }) {
        my $dir = $applier->directory($id) or next;
        my $s = stat_of($dir);
        $baseline->refresh($s) if !$self->{frozen}{ $s->{inode} };
    }
    return;
}

1;
